/* gather.c: gathers and scatters along one dimension, masks, where, take, put.
 *
 * The shared walk (each_line): index, and the tensors beside it, are cut into lines along their
 * last dimension, whose indices are checked and then handed to a loop of kern_index.h. */
#include "cpu.h"
#include "gather.h"
#include "iter.h"
#include "kern_index.h"
#include "kern_move.h"
#include "op.h"
#include <math.h>
#include <stdatomic.h>
#include <string.h>

const MtIndexKerns *mt_index_kerns(void) {
  return MT_AT_LEVEL(&mt_index_kerns);
}

static bool check_index(Ctx *c, const Tensor *index) {
  if (index->dtype == MT_int64 || index->dtype == MT_int32 || !index->numel) return true;
  mt_fail(c, "index must be an int64 tensor, got %s", mt_dtypes[index->dtype].name);
  return false;
}
static bool outside(Ctx *c, int64_t v, int dim, int64_t size) {
  mt_fail(c, "index %lld is out of bounds for dimension %d with size %lld", (long long)v, dim,
          (long long)size);
  return false;
}

/* A walk over all lines; f NULL: elements are folded one by one as Scalars.  dry: indices are only
 * checked. */
typedef struct {
  const Tensor *self, *index, *src;
  int dim;
  MtIndexFn f;
  MtFold fold;
  bool dry;
  _Atomic bool failed;
  _Atomic int64_t bad;
} Walk;
static Scalar fold(Scalar a, Scalar b, MtFold f);

static void fold_line(const MtIndexLine *l, DType d, MtFold f) {
  int64_t es = (int64_t)mt_dsize(d);
  for (int64_t i = 0; i < l->n; i++) {
    char *p = l->self + (l->ix[i * l->is] * l->ss + i * l->sj) * es;
    mt_store(p, d, fold(mt_load(p, d), mt_load(l->with + i * l->ws * es, d), f));
  }
}
static void walk_lines(void *ctx, int64_t lo, int64_t hi) {
  Walk *w = ctx;
  const Tensor *self = w->self, *index = w->index, *src = w->src;
  int nd = index->ndim, e = nd - 1;
  int64_t pos[MT_MAXDIM], es = (int64_t)mt_dsize(self->dtype), rest = lo;
  int64_t size = self->ndim ? self->size[w->dim] : 1;
  MtIndexLine l = {.n = nd ? index->size[e] : 1};
  l.ss = self->ndim ? self->stride[w->dim] : 0;
  l.sj = self->ndim && e != w->dim ? self->stride[e] : 0;
  l.is = nd ? index->stride[e] : 1;
  l.ws = src->ndim && nd ? src->stride[e] : 0;
  for (int d = e - 1; d >= 0; d--) {
    pos[d] = rest % index->size[d];
    rest /= index->size[d];
  }
  for (int64_t k = lo; k < hi; k++) {
    int64_t so = 0, io = 0, to = 0;
    for (int d = 0; d < e; d++) {
      if (d != w->dim) so += pos[d] * self->stride[d];
      io += pos[d] * index->stride[d];
      if (src->ndim) to += pos[d] * src->stride[d];
    }
    l.self = (char *)mt_data(self) + so * es;
    l.ix = (const int64_t *)mt_data(index) + io;
    l.with = (char *)mt_data(src) + to * es;
    int64_t at = mt_index_kerns()->check(l.ix, l.is, l.is ? l.n : 1, size);
    if (at >= 0) {
      atomic_store(&w->bad, l.ix[at * l.is]);
      atomic_store(&w->failed, true);
      return;
    }
    if (w->dry) /* nothing to do */;
    else if (w->f) w->f(&l);
    else fold_line(&l, (DType)self->dtype, w->fold);
    if (!(k & 255) && mt_interrupted) return;
    for (int d = e - 1; d >= 0; d--) {
      if (++pos[d] < index->size[d]) break;
      pos[d] = 0;
    }
  }
}

static bool walk(Ctx *c, Walk *w, bool parallel) {
  const Tensor *index = w->index;
  int64_t n = index->ndim ? index->size[index->ndim - 1] : 1, lines = index->numel / n;
  atomic_init(&w->failed, false);
  atomic_init(&w->bad, 0);
  if (parallel) mt_parallel(lines, 16384 / n + 1, walk_lines, w);
  else walk_lines(w, 0, lines);
  if (atomic_load(&w->failed))
    return outside(c, atomic_load(&w->bad), w->dim, w->self->ndim ? w->self->size[w->dim] : 1);
  return !mt_poll(c);
}
/* What is written in place must be left alone when an index turns out wrong. */
static bool all_inside(Ctx *c, const Tensor *self, int dim, const Tensor *index) {
  Walk w = {.self = self, .index = index, .src = index, .dim = dim, .dry = true};
  return !index->numel || walk(c, &w, true);
}
/* Threads share the lines where no two of them write to one place. */
static bool each_line(Ctx *c, Tensor *self, int dim, Tensor *index, Tensor *src, MtIndexFn f,
                      MtFold how, bool apart) {
  if (!index->numel) return true;
  Walk w = {.self = self, .index = index, .src = src, .dim = dim, .f = f, .fold = how};
  return walk(c, &w, apart || dim == index->ndim - 1);
}

/* The shape rule of gather and scatter: index's sizes within self's (and src's). */
static bool check_shapes(Ctx *c, const Tensor *self, int dim, const Tensor *index,
                         const Tensor *src, bool all_dims) {
  int sn = self->ndim ? self->ndim : 1, in = index->ndim ? index->ndim : 1;
  if (!index->numel) return true;
  if (sn != in) {
    mt_fail(c, "index must have as many dimensions as self (%d), got %d", self->ndim, index->ndim);
    return false;
  }
  if (src && (src->ndim ? src->ndim : 1) != in) {
    mt_fail(c, "index must have as many dimensions as src (%d), got %d", src->ndim, index->ndim);
    return false;
  }
  for (int d = 0; d < in; d++) {
    int64_t s = self->ndim ? self->size[d] : 1, i = index->ndim ? index->size[d] : 1,
            t = src ? (src->ndim ? src->size[d] : 1) : INT64_MAX;
    if ((i > s && d != dim) || i > t) {
      mt_fail(c, "index of shape %s does not fit self of shape %s%s%s apart from dimension %d",
              mt_list_str(c, mt_sizes(index)), mt_list_str(c, mt_sizes(self)),
              src ? " and src of shape " : "", src ? mt_list_str(c, mt_sizes(src)) : "", dim);
      return false;
    }
  }
  return true;
}

Tensor *k_gather(Ctx *c, Tensor *self, int64_t dim, Tensor *index, bool sparse_grad) {
  int d = mt_dim(c, dim, self->ndim);
  if (d < 0 || !check_index(c, index) || !check_shapes(c, self, d, index, NULL, false)) return NULL;
  index = mt_cast(c, index, MT_int64);
  Tensor *out = index ? mt_new_like(c, index, (DType)self->dtype) : NULL;
  MtIndexFn f = mt_index_kerns()->take[mt_size_class(mt_dsize(self->dtype))];
  return out && each_line(c, self, d, index, out, f, MT_FOLD_SET, true) ? out : NULL;
}

static int64_t t_size_of(Ctx *c, const Tensor *t, int64_t dim) {
  int d = mt_dim(c, dim, t->ndim);
  return d < 0 || !t->ndim ? 1 : t->size[d];
}
Tensor *k_take_along_dim(Ctx *c, Tensor *self, Tensor *indices, int64_t dim) {
  int64_t a[MT_MAXDIM], b[MT_MAXDIM];
  if (!check_index(c, indices)) return NULL;
  int64_t len = dim == MT_NONE_INT ? self->numel : t_size_of(c, self, dim);
  if (c->err) return NULL;
  indices = t_where(c, t_lt(c, indices, mt_wrap(c, mt_si(0))),
                    t_add(c, indices, mt_wrap(c, mt_si(len)), mt_si(1)), indices);
  if (!indices) return NULL;
  if (dim == MT_NONE_INT)
    return t_gather(c, t_reshape(c, self, mt_il((int64_t[]){-1}, 1)), 0,
                    t_reshape(c, indices, mt_il((int64_t[]){-1}, 1)), false);
  if (self->ndim != indices->ndim)
    return mt_fail(c, "self and indices must have as many dimensions, got %d and %d", self->ndim,
                   indices->ndim);
  int d = mt_dim(c, dim, self->ndim), n;
  if (d < 0) return NULL;
  if (!self->ndim) return t_gather(c, self, 0, indices, false);
  memcpy(a, self->size, sizeof(int64_t) * self->ndim);
  memcpy(b, indices->size, sizeof(int64_t) * self->ndim);
  a[d] = indices->size[d];
  int64_t out[MT_MAXDIM];
  if (!mt_broadcast(c, self->ndim, a, self->ndim, b, &n, out)) return NULL;
  memcpy(a, out, sizeof(int64_t) * (size_t)n);
  memcpy(b, out, sizeof(int64_t) * (size_t)n);
  a[d] = self->size[d];
  b[d] = indices->size[d];
  return t_gather(c, t_expand(c, self, mt_il(a, n), false), d,
                  t_expand(c, indices, mt_il(b, n), false), false);
}

Tensor *k_gather_backward(Ctx *c, Tensor *grad, Tensor *like, int64_t dim, Tensor *index) {
  return t_scatter_add(c, t_new_zeros(c, grad, mt_sizes(like), -1, -1, -1, -1, false), dim, index,
                       grad);
}

/* ---- folding scatters ---- */
static Scalar fold(Scalar a, Scalar b, MtFold f) {
  if (a.kind == K_COMPLEX) {
    if (f == MT_FOLD_ADD) { a.d += b.d; a.im += b.im;
    } else if (f == MT_FOLD_MUL) {
      double re = a.d * b.d - a.im * b.im;
      a.im = a.d * b.im + a.im * b.d;
      a.d = re;
    }
    return a;
  }
  if (a.kind == K_FLOAT) {
    if (f == MT_FOLD_ADD) a.d += b.d;
    else if (f == MT_FOLD_MUL) a.d *= b.d;
    else if (f == MT_FOLD_MAX) a.d = b.d > a.d || b.d != b.d ? b.d : a.d;
    else if (f == MT_FOLD_MIN) a.d = b.d < a.d || b.d != b.d ? b.d : a.d;
    return a;
  }
  if (f == MT_FOLD_ADD)
    a.i = a.kind == K_BOOL ? (a.i | b.i) : (int64_t)((uint64_t)a.i + (uint64_t)b.i);
  else if (f == MT_FOLD_MUL) a.i = (int64_t)((uint64_t)a.i * (uint64_t)b.i);
  else if (f == MT_FOLD_MAX) a.i = b.i > a.i ? b.i : a.i;
  else if (f == MT_FOLD_MIN) a.i = b.i < a.i ? b.i : a.i;
  return a;
}
static MtIndexFn folder(int d, MtFold f) {
  return f == MT_FOLD_SET ? mt_index_kerns()->put[mt_size_class(mt_dsize(d))]
                          : mt_index_kerns()->fold[d][f];
}

/* The tensor to write: the op's out when it is self (in place), else a copy. */
static Tensor *target(Ctx *c, Tensor *self, Tensor **in, int n) {
  Tensor *t = mt_take_out(c, self->ndim, self->size, in, n);
  return t == self ? t : t_clone(c, self, -1);
}

static Tensor *scatter_fold(Ctx *c, Tensor *self, int64_t dim, Tensor *index, Tensor *src,
                            MtFold f) {
  int d = mt_dim(c, dim, self->ndim);
  if (d < 0 || !check_index(c, index)) return NULL;
  if (src->dtype != self->dtype)
    return mt_fail(c, "src must have self's dtype %s, got %s", mt_dtypes[self->dtype].name,
                   mt_dtypes[src->dtype].name);
  if (!check_shapes(c, self, d, index, src, true)) return NULL;
  index = mt_cast(c, index, MT_int64);
  Tensor *in[2] = {index, src}, *t = target(c, self, in, 2);
  if (!t || !index || (t == self && !all_inside(c, t, d, index))) return NULL;
  if (f == MT_FOLD_SET || self->dtype == MT_float32 || self->dtype == MT_float64 ||
      mt_is_int(self->dtype) || mt_is_complex(self->dtype))
    return each_line(c, t, d, index, src, folder(self->dtype, f), f, false) ? t : NULL;
  Tensor *wide = mt_cast(c, t, MT_float32);                /* halves accumulate in float */
  src = mt_cast(c, src, MT_float32);
  if (!wide || !src ||
      !each_line(c, wide, d, index, src, folder(MT_float32, f), f, false))
    return NULL;
  return mt_copy_raw(c, t, wide);
}

static Tensor *spread(Ctx *c, Tensor *self, Tensor *index,
                      Scalar value) { /* value in the shape of index */
  Tensor *v = mt_scalar_tensor(c, value, (DType)self->dtype);
  return t_expand(c, v, mt_sizes(index), false);
}
Tensor *k_scatter(Ctx *c, Tensor *self, int64_t dim, Tensor *index, Tensor *src) {
  if (src->flags & MT_WRAPPED)
    return scatter_fold(c, self, dim, index, spread(c, self, index, mt_item(c, src)), MT_FOLD_SET);
  return scatter_fold(c, self, dim, index, src, MT_FOLD_SET);
}
Tensor *k_scatter_value(Ctx *c, Tensor *self, int64_t dim, Tensor *index, Scalar value) {
  Tensor *v = spread(c, self, index, value);
  return v ? scatter_fold(c, self, dim, index, v, MT_FOLD_SET) : NULL;
}
static bool fold_name(Ctx *c, const char *s, MtFold *f) {
  if (!strcmp(s, "add")) *f = MT_FOLD_ADD;
  else if (!strcmp(s, "multiply")) *f = MT_FOLD_MUL;
  else { mt_fail(c, "reduce argument must be 'add' or 'multiply', got '%s'", s); return false; }
  return true;
}
Tensor *k_scatter_fold(Ctx *c, Tensor *self, int64_t dim, Tensor *index, Tensor *src,
                       const char *reduce) {
  MtFold f;
  return fold_name(c, reduce, &f) ? scatter_fold(c, self, dim, index, src, f) : NULL;
}
Tensor *k_scatter_value_fold(Ctx *c, Tensor *self, int64_t dim, Tensor *index, Scalar value,
                             const char *reduce) {
  MtFold f;
  Tensor *v = spread(c, self, index, value);
  return v && fold_name(c, reduce, &f) ? scatter_fold(c, self, dim, index, v, f) : NULL;
}
Tensor *k_scatter_add(Ctx *c, Tensor *self, int64_t dim, Tensor *index, Tensor *src) {
  return scatter_fold(c, self, dim, index, src, MT_FOLD_ADD);
}

/* ---- scatter_reduce and index_reduce ---- */
static bool reduce_name(Ctx *c, const char *s, MtFold *f, bool *mean, bool sum_ok) {
  *mean = !strcmp(s, "mean");
  if ((!strcmp(s, "sum") && sum_ok) || *mean) *f = MT_FOLD_ADD;
  else if (!strcmp(s, "prod")) *f = MT_FOLD_MUL;
  else if (!strcmp(s, "amax")) *f = MT_FOLD_MAX;
  else if (!strcmp(s, "amin")) *f = MT_FOLD_MIN;
  else {
    mt_fail(c, "reduce argument must be %s'prod', 'mean', 'amax' or 'amin', got '%s'",
            sum_ok ? "'sum', " : "", s);
    return false;
  }
  return true;
}
static Scalar fold_identity(DType d, MtFold f) {
  bool ints = mt_is_int(d);
  if (f == MT_FOLD_MUL) return mt_si(1);
  if (f == MT_FOLD_MAX)
    return ints ? mt_si(d == MT_bool || d == MT_uint8 ? 0 : INT64_MIN >> (64 - mt_dsize(d) * 8))
                : mt_sd(-INFINITY);
  if (f == MT_FOLD_MIN)
    return ints ? mt_si(d == MT_bool    ? 1
                        : d == MT_uint8 ? 255
                                        : (int64_t)(((uint64_t)1 << (mt_dsize(d) * 8 - 1)) - 1))
                : mt_sd(INFINITY);
  return mt_si(0);
}
static bool fill_lines(Ctx *c, Tensor *t, int d, Tensor *index, Scalar v) {
  Tensor *one = mt_scalar_tensor(c, v, (DType)t->dtype);
  return one && each_line(c, t, d, index, one, folder(t->dtype, MT_FOLD_SET), MT_FOLD_SET, false);
}

static Tensor *fold_into(Ctx *c, Tensor *self, int d, Tensor *index, Tensor *src, MtFold f,
                         bool mean, bool include_self) {
  DType own = (DType)self->dtype;
  bool half = own == MT_float16 || own == MT_bfloat16;
  Tensor *t = half ? mt_cast(c, self, MT_float32) : t_clone(c, self, 0);
  if (half) src = mt_cast(c, src, MT_float32);
  if (!t || !src) return NULL;
  Scalar id = fold_identity((DType)t->dtype, f);
  if (!include_self && !fill_lines(c, t, d, index, id)) return NULL;
  if (!each_line(c, t, d, index, src, folder(t->dtype, f), f, false)) return NULL;
  if (mean) {
    Tensor *n = t_full_like(c, t, mt_si(1), MT_int64, -1, -1, -1, false, 0),
           *ones = t_ones_like(c, index, MT_int64, -1, -1, -1, false, 0);
    MtFold add = MT_FOLD_ADD;
    if (!n || !ones) return NULL;
    if (!include_self && !fill_lines(c, n, d, index, mt_si(0))) return NULL;
    if (!each_line(c, n, d, index, ones, folder(MT_int64, add), add, false)) return NULL;
    n = t_masked_fill(c, n, t_eq(c, n, mt_wrap(c, mt_si(0))), mt_si(1));
    t = mt_is_int(t->dtype)
            ? t_div(c, t, t_to_dtype(c, n, t->dtype, false, -1), "floor")
            : t_div(c, t, t_to_dtype(c, n, mt_real_dtype((DType)t->dtype), false, -1), NULL);
  }
  return t ? mt_cast(c, t, own) : NULL;
}
Tensor *k_scatter_reduce(Ctx *c, Tensor *self, int64_t dim, Tensor *index, Tensor *src,
                         const char *reduce, bool include_self) {
  MtFold f;
  bool mean;
  int d = mt_dim(c, dim, self->ndim);
  if (d < 0 || !check_index(c, index) || !reduce_name(c, reduce, &f, &mean, true)) return NULL;
  if (src->dtype != self->dtype)
    return mt_fail(c, "src must have self's dtype %s, got %s", mt_dtypes[self->dtype].name,
                   mt_dtypes[src->dtype].name);
  if (!check_shapes(c, self, d, index, src, true)) return NULL;
  index = mt_cast(c, index, MT_int64);
  return index ? fold_into(c, self, d, index, src, f, mean, include_self) : NULL;
}

/* index of one dimension, seen as an index for every element of source */
static Tensor *wide_index(Ctx *c, Tensor *index, Tensor *source, int d) {
  int64_t shape[MT_MAXDIM];
  for (int i = 0; i < source->ndim; i++) shape[i] = i == d ? index->numel : 1;
  if (!source->ndim) return t_reshape(c, index, mt_il(NULL, 0));
  return t_expand(c, t_reshape(c, index, mt_il(shape, source->ndim)), mt_sizes(source), false);
}
static bool check_slices(Ctx *c, Tensor *self, int d, Tensor *index, Tensor *source) {
  if (!check_index(c, index)) return false;
  if (index->ndim > 1) {
    mt_fail(c, "index must have 0 or 1 dimensions, got %d", index->ndim);
    return false;
  }
  if (source->dtype != self->dtype) {
    mt_fail(c, "source must have self's dtype %s, got %s", mt_dtypes[self->dtype].name,
            mt_dtypes[source->dtype].name);
    return false;
  }
  bool same = source->ndim == self->ndim;
  for (int i = 0; same && i < self->ndim; i++) same = i == d || source->size[i] == self->size[i];
  if (source->ndim == 0 && self->ndim == 1) same = true;
  if (!same) {
    mt_fail(c, "source of shape %s does not match self of shape %s apart from dimension %d",
            mt_list_str(c, mt_sizes(source)), mt_list_str(c, mt_sizes(self)), d);
    return false;
  }
  if (index->numel != (source->ndim ? source->size[d] : 1)) {
    mt_fail(c, "index has %lld elements, but source has size %lld at dimension %d",
            (long long)index->numel, (long long)(source->ndim ? source->size[d] : 1), d);
    return false;
  }
  return true;
}
Tensor *k_index_reduce(Ctx *c, Tensor *self, int64_t dim, Tensor *index, Tensor *source,
                       const char *reduce, bool include_self) {
  MtFold f;
  bool mean;
  int d = mt_dim(c, dim, self->ndim);
  if (d < 0 || !reduce_name(c, reduce, &f, &mean, false) ||
      !check_slices(c, self, d, index, source))
    return NULL;
  index = mt_cast(c, index, MT_int64);
  Tensor *w = index ? wide_index(c, index, source, d) : NULL;
  return w ? fold_into(c, self, d, w, source, f, mean, include_self) : NULL;
}
Tensor *k_index_add(Ctx *c, Tensor *self, int64_t dim, Tensor *index, Tensor *source,
                    Scalar alpha) {
  int d = mt_dim(c, dim, self->ndim);
  if (d < 0 || !check_slices(c, self, d, index, source)) return NULL;
  if (mt_is_int(self->dtype) && alpha.kind >= K_FLOAT && self->dtype != MT_bool)
    return mt_fail(c, "for integral tensors alpha must not be a floating point number");
  Tensor *out = c->out;                    /* calls of other ops forget it */
  if (!(alpha.kind == K_INT && alpha.i == 1))
    source = t_to_dtype(c, t_mul(c, source, mt_wrap(c, alpha)), self->dtype, false, -1);
  if (!source) return NULL;
  if (source->ndim == 0 && self->ndim == 1) source = t_unsqueeze(c, source, 0);
  index = wide_index(c, mt_cast(c, index, MT_int64), source, d);
  c->out = out;
  return index ? scatter_fold(c, self, d, index, source, MT_FOLD_ADD) : NULL;
}
Tensor *k_index_copy(Ctx *c, Tensor *self, int64_t dim, Tensor *index, Tensor *source) {
  int d = mt_dim(c, dim, self->ndim);
  if (d < 0 || !check_slices(c, self, d, index, source)) return NULL;
  if (index->dtype != MT_int64)
    return mt_fail(c, "index must be an int64 tensor, got %s", mt_dtypes[index->dtype].name);
  Tensor *out = c->out;
  if (source->ndim == 0 && self->ndim == 1) source = t_unsqueeze(c, source, 0);
  index = wide_index(c, index, source, d);
  c->out = out;
  return index ? scatter_fold(c, self, d, index, source, MT_FOLD_SET) : NULL;
}
typedef struct { uint64_t a, b; } Wide;
/* Whole slices of a contiguous tensor; a unit is a piece of one outer element's slices, so that no
 * two threads meet where indices repeat. */
typedef struct {
  char *o;
  const char *value;
  const int64_t *ix;
  int64_t n, size, inner, es, parts;
} Slab;
enum { SLAB = 4096 };
static void fill_slabs(void *ctx, int64_t lo, int64_t hi) {
  const Slab *f = ctx;
  for (int64_t u = lo; u < hi && !mt_interrupted; u++) {
    int64_t at = u % f->parts * SLAB, m = f->inner - at < SLAB ? f->inner - at : SLAB;
    for (int64_t i = 0; i < f->n; i++) {
      char *to = f->o + ((u / f->parts * f->size + f->ix[i]) * f->inner + at) * f->es;
      if (f->es < 16) mt_move_kerns()->repeat[mt_size_class((size_t)f->es)](to, f->value, 0, 1, m);
      else for (int64_t j = 0; j < m; j++) ((Wide *)to)[j] = *(const Wide *)f->value;
    }
  }
}
static Tensor *fill_slices(Ctx *c, Tensor *t, int d, Tensor *index, Tensor *value) {
  const int64_t *ix = mt_data(index);
  int64_t n = index->numel, size = t->size[d], inner = 1;
  int64_t bad = mt_index_kerns()->check(ix, 1, n, size);
  if (bad >= 0) { outside(c, ix[bad], d, size); return NULL; }
  for (int i = d + 1; i < t->ndim; i++) inner *= t->size[i];
  Slab f = {mt_data(t), mt_data(value), ix, n, size, inner, (int64_t)mt_dsize(t->dtype),
            (inner + SLAB - 1) / SLAB};
  mt_parallel(t->numel / (size * inner) * f.parts, 1 + 16384 / (n * (inner < SLAB ? inner : SLAB)),
              fill_slabs, &f);
  return mt_poll(c) ? NULL : t;
}
Tensor *k_index_fill(Ctx *c, Tensor *self, int64_t dim, Tensor *index, Scalar value) {
  int64_t shape[MT_MAXDIM];
  int d = mt_dim(c, dim, self->ndim);
  if (d < 0) return NULL;
  if (index->dtype != MT_int64)
    return mt_fail(c, "index must be an int64 tensor, got %s", mt_dtypes[index->dtype].name);
  if (index->ndim > 1) return mt_fail(c, "index must have 0 or 1 dimensions, got %d", index->ndim);
  if (value.kind == K_COMPLEX && !mt_is_complex(self->dtype))
    return mt_fail(c, "a complex value cannot fill a %s tensor", mt_dtypes[self->dtype].name);
  if (!self->ndim) {
    Tensor *line = t_reshape(c, self, mt_il((int64_t[]){1}, 1)),
           *r = line ? k_index_fill(c, line, 0, index, value) : NULL;
    return t_reshape(c, r, mt_il(shape, 0));
  }
  memcpy(shape, self->size, sizeof(int64_t) * self->ndim);
  shape[d] = index->numel;
  Tensor *out = c->out;
  Tensor *v = mt_scalar_tensor(c, value, (DType)self->dtype);
  Tensor *src = t_expand(c, v, mt_il(shape, self->ndim), false),
         *neg = t_lt(c, index, mt_wrap(c, mt_si(0)));
  index = t_where(c, neg, t_add(c, index, mt_wrap(c, mt_si(self->size[d])), mt_si(1)), index);
  if (index && index->numel && self->numel && d < self->ndim - 1 && mt_is_contiguous(self)) {
    Tensor *flat = mt_contig(c, index);
    c->out = out;
    Tensor *t = flat ? target(c, self, &flat, 1) : NULL;
    return t ? fill_slices(c, t, d, flat, v) : NULL;
  }
  index = src && index ? wide_index(c, index, src, d) : NULL;
  c->out = out;
  return index ? scatter_fold(c, self, d, index, src, MT_FOLD_SET) : NULL;
}
Tensor *k_index_fill_Tensor(Ctx *c, Tensor *self, int64_t dim, Tensor *index, Tensor *value) {
  if (value->ndim)
    return mt_fail(c, "value must be a 0-dim tensor, got shape %s",
                   mt_list_str(c, mt_sizes(value)));
  return k_index_fill(c, self, dim, index, mt_item(c, value));
}

/* ---- index_select ---- */
typedef struct {
  const char *x;
  char *out;
  const int64_t *ix;
  int64_t n, k;
  size_t bytes;
} Slices;
static void take_slices(void *ctx, int64_t lo, int64_t hi) {
  const Slices *s = ctx;
  for (int64_t r = lo; r < hi && !mt_interrupted;) { /* from row r / k as far as it goes */
    int64_t from = r % s->k, n = s->k - from < hi - r ? s->k - from : hi - r;
    const char *x = s->x + (size_t)(r / s->k * s->n) * s->bytes;
    char *o = s->out + (size_t)r * s->bytes;
    const int64_t *ix = s->ix + from;
    if (s->bytes <= 16 && !(s->bytes & (s->bytes - 1))) {
      MtIndexLine l = {.self = (char *)x, .with = o, .ix = ix, .ss = 1, .ws = 1, .is = 1, .n = n};
      mt_index_kerns()->take[mt_size_class(s->bytes)](&l);
    } else
      for (int64_t i = 0; i < n; i++, o += s->bytes)
        memcpy(o, x + (size_t)ix[i] * s->bytes, s->bytes);
    r += n;
  }
}
Tensor *mt_from_end(Ctx *c, Tensor *ix, int dim, int64_t n) {
  const int64_t *p = mt_data(ix);
  if (mt_index_kerns()->check(p, 1, ix->numel, INT64_MAX) < 0) return ix;
  Tensor *t = mt_new_like(c, ix, MT_int64);
  for (int64_t i = 0; t && i < ix->numel; i++) {
    if (p[i] < -n) { outside(c, p[i], dim, n); return NULL; }
    ((int64_t *)mt_data(t))[i] = p[i] < 0 ? p[i] + n : p[i];
  }
  return t;
}
/* out <- the slices ix of the middle dimension of x, outer x n x inner, all contiguous. */
bool mt_take_slices(Ctx *c, const Tensor *x, int64_t outer, int64_t n, int64_t inner,
                    const Tensor *ix, int dim, Tensor *out) {
  const int64_t *p = mt_data(ix);
  int64_t at = mt_index_kerns()->check(p, 1, ix->numel, n);
  if (at >= 0) return outside(c, p[at], dim, n);
  Slices s = {mt_data(x), mt_data(out), p, n, ix->numel, (size_t)inner * mt_dsize(x->dtype)};
  if (out->numel)
    mt_parallel(outer * ix->numel, 1 + (int64_t)(65536 / s.bytes), take_slices, &s);
  return !mt_poll(c);
}
Tensor *k_index_select(Ctx *c, Tensor *self, int64_t dim, Tensor *index) {
  int64_t shape[MT_MAXDIM], inner = 1, outer = 1;
  int d = mt_dim(c, dim, self->ndim);
  if (d < 0 || !check_index(c, index)) return NULL;
  if (index->ndim > 1) return mt_fail(c, "index must have 0 or 1 dimensions, got %d", index->ndim);
  if (!self->ndim && index->numel != 1)
    return mt_fail(c, "index must have one element for a 0-dim tensor");
  Tensor *ix = mt_contig_as(c, index, MT_int64);
  memcpy(shape, self->size, sizeof(int64_t) * self->ndim);
  if (self->ndim) shape[d] = index->numel;
  Tensor *x = mt_contig(c, self),
         *out = mt_new(c, mt_il(shape, self->ndim), (DType)self->dtype, MT_CPU);
  if (!x || !out || !ix) return NULL;
  for (int i = 0; i < self->ndim; i++) {
    if (i < d) outer *= self->size[i];
    else if (i > d) inner *= self->size[i];
  }
  int64_t n = self->ndim ? self->size[d] : 1;
  return mt_take_slices(c, x, outer, n, inner, ix, d, out) ? out : NULL;
}

/* ---- masks ---- */
static Tensor *as_mask(Ctx *c, Tensor *mask) {
  if (mask->dtype == MT_bool) return mask;
  return mt_fail(c, "mask must be a bool tensor, got %s", mt_dtypes[mask->dtype].name);
}
#define WHERE(TY, name)                                                                            \
  static void name(char **p, const int64_t *s, int64_t n, const void *par) {                       \
    if (s[0] == sizeof(TY) && s[1] == 1 && s[2] == sizeof(TY) && s[3] == sizeof(TY)) {             \
      TY *o = (TY *)p[0];                                                                          \
      const uint8_t *m = (const uint8_t *)p[1];                                                    \
      const TY *a = (const TY *)p[2], *b = (const TY *)p[3];                                       \
      _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) o[i] = m[i] ? a[i] : b[i];              \
    } else                                                                                         \
      for (int64_t i = 0; i < n; i++)                                                              \
        *(TY *)(p[0] + i * s[0]) = *(uint8_t *)(p[1] + i * s[1]) ? *(const TY *)(p[2] + i * s[2])  \
                                                                 : *(const TY *)(p[3] + i * s[3]); \
  }
WHERE(uint8_t, where_1)
WHERE(uint16_t, where_2)
WHERE(uint32_t, where_4)
WHERE(uint64_t, where_8)
WHERE(Wide, where_16)
static Loop where_loop(size_t n) {
  return n == 1 ? where_1 : n == 2 ? where_2 : n == 4 ? where_4 : n == 8 ? where_8 : where_16;
}

static Tensor *choose(Ctx *c, Tensor *out, Tensor *mask, Tensor *a, Tensor *b, DType d) {
  Tensor *t[4] = {out, mask, a, b};
  DType ct[4] = {d, MT_bool, d, d};
  Iter it;
  if (!mt_iter_init(c, &it, 1, 4, t, ct)) return NULL;
  return mt_iter_run(c, &it, where_loop(mt_dsize(d)), NULL) ? t[0] : NULL;
}
Tensor *k_where_method(Ctx *c, Tensor *self, Tensor *condition, Tensor *other) {
  return t_where(c, condition, self, other);
}
TensorList k_where_indices(Ctx *c, Tensor *condition) {
  if (!condition->ndim) condition = t_unsqueeze(c, condition, 0);
  return t_unbind(c, t_nonzero(c, condition, false), 1);
}
TensorList k_nonzero_tuple(Ctx *c, Tensor *self, bool as_tuple) {
  TensorList one = {mt_tmp(c, sizeof(Tensor *)), 1};
  if (!as_tuple && one.v) { one.v[0] = t_nonzero(c, self, false); return one; }
  return t_where_indices(c, self);
}
Tensor *k_argwhere(Ctx *c, Tensor *self) { return t_nonzero(c, self, false); }

static Tensor *fill_where(Ctx *c, Tensor *self, Tensor *mask, Tensor *v) {
  if (!as_mask(c, mask)) return NULL;
  int64_t shape[MT_MAXDIM];
  int n;
  if (!mt_broadcast(c, self->ndim, self->size, mask->ndim, mask->size, &n, shape)) return NULL;
  Tensor *o = mt_take_out(c, n, shape, &mask, 1);
  return choose(c, o == self ? o : NULL, mask, v, self, (DType)self->dtype);
}
Tensor *k_masked_fill(Ctx *c, Tensor *self, Tensor *mask, Scalar value) {
  if (value.kind == K_COMPLEX && !mt_is_complex(self->dtype))
    return mt_fail(c, "a complex value cannot fill a %s tensor", mt_dtypes[self->dtype].name);
  if (value.kind == K_FLOAT && mt_is_int(self->dtype) && self->dtype != MT_bool &&
      value.d != floor(value.d))
    return mt_fail(c, "value %g cannot be converted to type %s without overflow", value.d,
                   mt_dtypes[self->dtype].name);
  Tensor *v = mt_scalar_tensor(c, value, (DType)self->dtype);
  return v ? fill_where(c, self, mask, v) : NULL;
}
Tensor *k_masked_fill_Tensor(Ctx *c, Tensor *self, Tensor *mask, Tensor *value) {
  if (value->ndim)
    return mt_fail(c, "value must be a 0-dim tensor, got shape %s",
                   mt_list_str(c, mt_sizes(value)));
  if (!mt_can_cast((DType)value->dtype, (DType)self->dtype) && !(value->flags & MT_WRAPPED) &&
      mt_dkind(value->dtype) > mt_dkind(self->dtype))
    return mt_fail(c, "value of dtype %s cannot fill a %s tensor", mt_dtypes[value->dtype].name,
                   mt_dtypes[self->dtype].name);
  Tensor *v = mt_cast(c, value, (DType)self->dtype);
  return v ? fill_where(c, self, mask, v) : NULL;
}

/* Counts and copies in pieces, so that two threads can work on one mask. */
typedef struct {
  const uint8_t *m;
  const char *x;
  char *o;
  int64_t *count;
  int64_t n, piece, es;
} Pick;
enum { PIECE = 16384 };
static void count_job(void *ctx, int64_t lo, int64_t hi) {
  Pick *p = ctx;
  for (int64_t k = lo; k < hi && !mt_interrupted; k++) {
    int64_t a = k * PIECE, b = a + PIECE < p->n ? a + PIECE : p->n, s = 0;
    for (int64_t i = a; i < b; i++) s += p->m[i];
    p->count[k + 1] = s;
  }
}
static void pick_job(void *ctx, int64_t lo, int64_t hi) {
  Pick *p = ctx;
  for (int64_t k = lo; k < hi && !mt_interrupted; k++) {
    int64_t a = k * PIECE, b = a + PIECE < p->n ? a + PIECE : p->n, at = p->count[k];
    if (p->es < 16)
      mt_move_kerns()->pick[__builtin_ctz((unsigned)p->es)](p->x + a * p->es, p->m + a, b - a,
                                                            p->o + at * p->es);
    else
      for (int64_t i = a; i < b; i++)
        if (p->m[i]) ((Wide *)p->o)[at++] = ((const Wide *)p->x)[i];
  }
}
Tensor *k_masked_select(Ctx *c, Tensor *self, Tensor *mask) {
  int64_t shape[MT_MAXDIM], n;
  int nd;
  if (!as_mask(c, mask) ||
      !mt_broadcast(c, self->ndim, self->size, mask->ndim, mask->size, &nd, shape))
    return NULL;
  Tensor *m = mt_contig(c, t_expand(c, mask, mt_il(shape, nd), false)),
         *x = mt_contig(c, t_expand(c, self, mt_il(shape, nd), false));
  if (!m || !x) return NULL;
  int64_t pieces = (x->numel + PIECE - 1) / PIECE;
  Pick p = {mt_data(m),
            mt_data(x),
            NULL,
            mt_calloc(sizeof(int64_t) * (size_t)(pieces + 1)),
            x->numel,
            PIECE,
            (int64_t)mt_dsize(x->dtype)};
  if (!p.count) return mt_nomem(c);
  mt_parallel(pieces, 2, count_job, &p);
  for (int64_t k = 0; k < pieces; k++) p.count[k + 1] += p.count[k];
  n = p.count[pieces];
  Tensor *out = mt_poll(c) ? NULL : mt_new(c, mt_il(&n, 1), (DType)self->dtype, MT_CPU);
  if (out) { p.o = mt_data(out); mt_parallel(pieces, 2, pick_job, &p); }
  mt_free(p.count);
  return out;
}
Tensor *k_masked_scatter(Ctx *c, Tensor *self, Tensor *mask, Tensor *source) {
  int64_t shape[MT_MAXDIM];
  int nd;
  if (!as_mask(c, mask)) return NULL;
  if (source->dtype != self->dtype)
    return mt_fail(c, "source must have self's dtype %s, got %s", mt_dtypes[self->dtype].name,
                   mt_dtypes[source->dtype].name);
  if (!mt_broadcast(c, self->ndim, self->size, mask->ndim, mask->size, &nd, shape)) return NULL;
  Tensor *out = t_clone(c, t_expand(c, self, mt_il(shape, nd), false), 0),
         *m = mt_contig(c, t_expand(c, mask, mt_il(shape, nd), false)), *s = mt_contig(c, source);
  if (!out || !m || !s) return NULL;
  if (mt_index_kerns()->count(mt_data(m), m->numel) > s->numel)
    return mt_fail(c, "source has %lld elements, fewer than the mask has true ones",
                   (long long)s->numel);
  mt_index_kerns()->lay[mt_size_class(mt_dsize(self->dtype))](mt_data(out), mt_data(m), m->numel,
                                                              mt_data(s), s->numel);
  return out;
}

/* ---- take, put ---- */
Tensor *k_take(Ctx *c, Tensor *self, Tensor *index) {
  if (index->dtype != MT_int64)
    return mt_fail(c, "index must be an int64 tensor, got %s", mt_dtypes[index->dtype].name);
  if (!self->numel && index->numel) return mt_fail(c, "cannot take from an empty tensor");
  Tensor *flat = t_reshape(c, self, mt_il((int64_t[]){-1}, 1));
  if (!index->numel) return mt_new_like(c, index, (DType)self->dtype);
  Tensor *at = mt_contig(c, index), *x = mt_contig(c, flat);
  Tensor *out = mt_new(c, mt_sizes(index), (DType)self->dtype, MT_CPU);
  at = at ? mt_from_end(c, at, 0, x->numel) : NULL;
  return at && out && mt_take_slices(c, x, 1, x->numel, 1, at, 0, out) ? out : NULL;
}
Tensor *k_put(Ctx *c, Tensor *self, Tensor *index, Tensor *source, bool accumulate) {
  if (index->dtype != MT_int64)
    return mt_fail(c, "index must be an int64 tensor, got %s", mt_dtypes[index->dtype].name);
  if (source->dtype != self->dtype)
    return mt_fail(c, "source must have self's dtype %s, got %s", mt_dtypes[self->dtype].name,
                   mt_dtypes[source->dtype].name);
  if (index->numel != source->numel)
    return mt_fail(c, "source and index must have as many elements, got %lld and %lld",
                   (long long)source->numel, (long long)index->numel);
  if (!self->numel && index->numel) return mt_fail(c, "cannot put elements into an empty tensor");
  Tensor *t = t_clone(c, self, 0);
  if (!t || !index->numel) return t;
  Tensor *flat = t_view(c, t, mt_il((int64_t[]){-1}, 1)),
         *ix[1] = {t_reshape(c, index, mt_il((int64_t[]){-1}, 1))};
  return t_index_put_(c, flat, (TensorList){ix, 1}, t_reshape(c, source, mt_il((int64_t[]){-1}, 1)),
                      accumulate)
             ? t
             : NULL;
}

/* ---- gradients of the folding scatters ---- */
static void fold_grads(Ctx *c, Tensor *grad, Tensor *self, int64_t dim, Tensor *index, Tensor *src,
                       const char *reduce, bool include, Tensor *result, Val *r) {
  Tensor *gself = NULL, *gsrc = NULL;
  if (!strcmp(reduce, "sum")) { gself = grad; gsrc = t_gather(c, grad, dim, index, false); }
  else if (!strcmp(reduce, "prod")) {
    /* Zeros: the product of the others is needed, so they are counted and masked out. */
    Tensor *zero = mt_wrap(c, mt_si(0)), *one = mt_wrap(c, mt_si(1));
    Tensor *ms = t_where(c, t_eq(c, self, zero), one, self),
           *mres = t_scatter_reduce(c, ms, dim, index, t_where(c, t_eq(c, src, zero), one, src),
                                    "prod", include);
    Tensor *zs = t_to_dtype(c, t_eq(c, self, zero), self->dtype, false, -1),
           *zsrc = t_to_dtype(c, t_eq(c, src, zero), self->dtype, false, -1);
    Tensor *n = t_scatter_reduce(c, include ? zs : t_zeros_like(c, zs, -1, -1, -1, -1, false, -1),
                                 dim, index, zsrc, "sum", true);
    Tensor *n_other = t_sub(c, n, include ? zs : mt_wrap(c, mt_si(0)), mt_si(1));
    gself = t_where(c, t_eq(c, n_other, zero), t_div(c, t_mul(c, grad, mres), ms, NULL), zero);
    Tensor *ns = t_sub(c, t_gather(c, n, dim, index, false), zsrc, mt_si(1)),
           *msrc = t_where(c, t_eq(c, src, zero), one, src);
    gsrc =
        t_where(c, t_eq(c, ns, zero),
                t_div(c, t_gather(c, t_mul(c, grad, mres), dim, index, false), msrc, NULL), zero);
  } else if (!strcmp(reduce, "mean")) {
    Tensor *n = include ? t_ones_like(c, grad, -1, -1, -1, -1, false, -1)
                        : t_zeros_like(c, grad, -1, -1, -1, -1, false, -1);
    n = t_scatter_add(c, n, dim, index, t_ones_like(c, src, -1, -1, -1, -1, false, -1));
    n = t_masked_fill(c, n, t_eq(c, n, mt_wrap(c, mt_si(0))), mt_si(1));
    gself = t_div(c, grad, n, NULL);
    gsrc = t_div(c, t_gather(c, grad, dim, index, false), t_gather(c, n, dim, index, false), NULL);
  } else {
    Tensor *val = t_gather(c, result, dim, index, false);
    Tensor *hit_self = t_to_dtype(c, t_eq(c, self, result), self->dtype, false, -1),
           *hit_src = t_to_dtype(c, t_eq(c, src, val), self->dtype, false, -1);
    Tensor *n =
        t_scatter_add(c, include ? hit_self : t_zeros_like(c, hit_self, -1, -1, -1, -1, false, -1),
                      dim, index, hit_src);
    Tensor *share =
        t_div(c, grad, t_masked_fill(c, n, t_eq(c, n, mt_wrap(c, mt_si(0))), mt_si(1)), NULL);
    gself = t_mul(c, hit_self, share);
    gsrc = t_mul(c, t_gather(c, share, dim, index, false), hit_src);
  }
  if (!include) {
    Tensor *touched = t_scatter_value(c, t_ones_like(c, grad, MT_bool, -1, -1, -1, false, -1), dim,
                                      index, mt_sb(false));
    gself = t_where(c, touched, strcmp(reduce, "sum") ? grad : gself, mt_wrap(c, mt_si(0)));
  }
  r[0].t = gself;
  r[1].t = gsrc;
}
void k_scatter_reduce_backward(Ctx *c, Tensor *grad, Tensor *self, int64_t dim, Tensor *index,
                               Tensor *src, const char *reduce, bool include, Tensor *result,
                               Val *r) {
  Tensor *s = src;
  for (int d = 0; d < index->ndim; d++)
    s = t_narrow(c, s, d, 0, index->size[d]); /* only the part that index covers took part */
  fold_grads(c, grad, self, dim, index, s, reduce, include, result, r);
  if (s && r[1].t && src->numel != s->numel) {
    Tensor *full = t_zeros_like(c, src, -1, -1, -1, -1, false, 0), *w = full;
    for (int d = 0; d < index->ndim; d++) w = t_narrow(c, w, d, 0, index->size[d]);
    if (c->grad_mode) full = t_copy_(c, w, r[1].t, false) ? full : NULL;
    else mt_copy_raw(c, w, r[1].t);
    r[1].t = full;
  }
}
void k_index_reduce_backward(Ctx *c, Tensor *grad, Tensor *self, int64_t dim, Tensor *index,
                             Tensor *source, const char *reduce, bool include, Tensor *result,
                             Val *r) {
  int d = mt_dim(c, dim, self->ndim);
  if (d < 0) return;
  if (source->ndim == 0 && self->ndim == 1) source = t_unsqueeze(c, source, 0);
  fold_grads(c, grad, self, d, wide_index(c, index, source, d), source, reduce, include, result, r);
}
Tensor *k_masked_scatter_backward(Ctx *c, Tensor *grad, Tensor *mask, IntList sizes) {
  int64_t want = 1;
  for (int64_t i = 0; i < sizes.n; i++) want *= sizes.v[i];
  Tensor *got = t_masked_select(c, grad, mask);
  if (!got) return NULL;
  if (got->numel < want) { /* elements of source that were not used */
    int64_t rest = want - got->numel;
    Tensor *l[2] = {got, t_new_zeros(c, grad, mt_il(&rest, 1), -1, -1, -1, -1, false)};
    got = t_cat(c, (TensorList){l, 2}, 0);
  }
  return t_view(c, t_contiguous(c, got, -1), sizes);
}
Tensor *k_masked_select_backward(Ctx *c, Tensor *grad, Tensor *like, Tensor *mask) {
  int64_t shape[MT_MAXDIM];
  int n;
  if (!mt_broadcast(c, like->ndim, like->size, mask->ndim, mask->size, &n, shape)) return NULL;
  return t_masked_scatter(c, t_new_zeros(c, grad, mt_il(shape, n), -1, -1, -1, -1, false),
                          t_expand(c, mask, mt_il(shape, n), false), grad);
}
