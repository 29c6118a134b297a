/* arrange.c: stacking, tiling, flipping, diagonals, padding: ops of ops_shape.def made of other
 * ops, so that they are differentiable through them. */
#include "kern_index.h"
#include "op.h"
#include "resample.h"
#include <string.h>

#define IL(...)                                                                             \
  mt_il((const int64_t[]){__VA_ARGS__}, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

static TensorList map(Ctx *c, TensorList in, Tensor *(*f)(Ctx *, Tensor *)) {
  TensorList l = {mt_tmp(c, sizeof(Tensor *) * (size_t)(in.n + 1)), in.n};
  if (!l.v) l.n = 0;
  for (int64_t i = 0; i < l.n; i++) l.v[i] = f(c, in.v[i]);
  return l;
}
Tensor *k_hstack(Ctx *c, TensorList tensors) {
  if (tensors.n <= 0) return mt_fail(c, "expects a non-empty list of tensors");
  TensorList l = map(c, tensors, t_atleast_1d);
  return c->err ? NULL : t_cat(c, l, l.v[0]->ndim == 1 ? 0 : 1);
}
Tensor *k_vstack(Ctx *c, TensorList tensors) {
  if (tensors.n <= 0) return mt_fail(c, "expects a non-empty list of tensors");
  TensorList l = map(c, tensors, t_atleast_2d);
  return c->err ? NULL : t_cat(c, l, 0);
}
Tensor *k_dstack(Ctx *c, TensorList tensors) {
  if (tensors.n <= 0) return mt_fail(c, "expects a non-empty list of tensors");
  TensorList l = map(c, tensors, t_atleast_3d);
  return c->err ? NULL : t_cat(c, l, 2);
}
static Tensor *as_column(Ctx *c, Tensor *t) {
  return t->ndim < 2 ? t_reshape(c, t, IL(t->numel, 1)) : t;
}
Tensor *k_column_stack(Ctx *c, TensorList tensors) {
  if (tensors.n <= 0) return mt_fail(c, "expects a non-empty list of tensors");
  TensorList l = map(c, tensors, as_column);
  return c->err ? NULL : t_cat(c, l, 1);
}

Tensor *k_block_diag(Ctx *c, TensorList tensors) {
  int64_t cols = 0, k = 0;
  for (int64_t i = 0; i < tensors.n; i++)
    if (tensors.v[i]->ndim > 2)
      return mt_fail(c, "expects tensors of at most 2 dimensions, got %d at position %lld",
                     tensors.v[i]->ndim, (long long)i);
  if (tensors.n <= 0) return t_zeros(c, IL(1, 0), -1, -1, -1, -1, false);
  TensorList l = map(c, tensors, t_atleast_2d);
  if (c->err) return NULL;
  for (int64_t i = 0; i < l.n; i++) cols += l.v[i]->size[1];
  Tensor **band = mt_tmp(c, sizeof(Tensor *) * (size_t)l.n);
  DType d = mt_result_type(c, tensors.v, (int)tensors.n);
  for (int64_t i = 0; band && i < l.n; i++) {
    Tensor *t = l.v[i];
    int64_t h = t->size[0], w = t->size[1];
    Tensor *row[3] = {t_zeros(c, IL(h, k), d, -1, -1, -1, false), t_to_dtype(c, t, d, false, -1),
                      t_zeros(c, IL(h, cols - k - w), d, -1, -1, -1, false)};
    band[i] = t_cat(c, (TensorList){row, 3}, 1);
    k += w;
  }
  return c->err ? NULL : t_cat(c, (TensorList){band, l.n}, 0);
}

TensorList k_meshgrid(Ctx *c, TensorList tensors, const char *indexing) {
  TensorList l = {mt_tmp(c, sizeof(Tensor *) * (size_t)(tensors.n + 1)), 0};
  int64_t shape[MT_MAXDIM];
  int n = (int)tensors.n;
  bool xy = indexing && !strcmp(indexing, "xy") && n >= 2;
  if (n <= 0 || n > MT_MAXDIM) {
    mt_fail(c, "expects 1 to %d tensors, got %d", MT_MAXDIM, n);
    return l;
  }
  if (indexing && strcmp(indexing, "xy") && strcmp(indexing, "ij")) {
    mt_fail(c, "indexing must be 'ij' or 'xy', got '%s'", indexing);
    return l;
  }
  for (int i = 0; i < n; i++) {
    Tensor *t = tensors.v[i];
    if (t->ndim > 1) {
      mt_fail(c, "expects tensors of 0 or 1 dimensions, got shape %s", mt_list_str(c, mt_sizes(t)));
      return l;
    }
    if (t->dtype != tensors.v[0]->dtype) { mt_fail(c, "expects tensors of one dtype"); return l; }
    shape[xy && i < 2 ? 1 - i : i] = t->numel;
  }
  for (int i = 0; l.v && i < n && !c->err; i++) {
    int64_t own[MT_MAXDIM];
    int at = xy && i < 2 ? 1 - i : i;
    for (int k = 0; k < n; k++) own[k] = k == at ? tensors.v[i]->numel : 1;
    l.v[l.n++] = t_expand(c, t_view(c, tensors.v[i], mt_il(own, n)), mt_il(shape, n), false);
  }
  return l;
}
Tensor *k_cartesian_prod(Ctx *c, TensorList tensors) {
  for (int64_t i = 0; i < tensors.n; i++)
    if (tensors.v[i]->ndim != 1)
      return mt_fail(c, "expects vectors, got shape %s", mt_list_str(c, mt_sizes(tensors.v[i])));
  if (tensors.n == 1) return tensors.v[0];
  TensorList g = t_meshgrid(c, tensors, "ij");
  if (c->err) return NULL;
  for (int64_t i = 0; i < g.n; i++) g.v[i] = t_reshape(c, g.v[i], IL(-1));
  return c->err ? NULL : t_stack(c, g, 1);
}
Tensor *k_combinations(Ctx *c, Tensor *input, int64_t r, bool with_replacement) {
  if (input->ndim != 1)
    return mt_fail(c, "expects a vector, got shape %s", mt_list_str(c, mt_sizes(input)));
  if (r < 0) return mt_fail(c, "r must be 0 or more, got %lld", (long long)r);
  if (r == 0) return t_new_empty(c, input, IL(0), -1, -1, -1, -1, false);
  int64_t n = input->numel, count = 0, cap = 64, idx[MT_MAXDIM];
  if (r > MT_MAXDIM) return mt_fail(c, "r must be at most %d", MT_MAXDIM);
  int64_t *rows = mt_malloc(sizeof(int64_t) * (size_t)(cap * r));
  for (int64_t k = 0; k < r; k++) idx[k] = with_replacement ? 0 : k;
  bool more = rows && n > 0 && (with_replacement || r <= n);
  while (more && !mt_poll(c)) {
    if (count == cap) {
      int64_t *p = mt_realloc(rows, sizeof(int64_t) * (size_t)(2 * cap * r));
      if (!p) { mt_free(rows); return mt_nomem(c); }
      rows = p;
      cap *= 2;
    }
    memcpy(rows + count++ * r, idx, sizeof(int64_t) * (size_t)r);
    int64_t k = r - 1;
    while (k >= 0 && idx[k] == (with_replacement ? n - 1 : n - r + k)) k--;
    if (k < 0) break;
    idx[k]++;
    for (int64_t j = k + 1; j < r; j++) idx[j] = with_replacement ? idx[k] : idx[j - 1] + 1;
  }
  if (!rows) return mt_nomem(c);
  Tensor *ix = mt_new(c, mt_il((int64_t[]){count * r}, 1), MT_int64, MT_CPU);
  if (ix && count) memcpy(mt_data(ix), rows, sizeof(int64_t) * (size_t)(count * r));
  mt_free(rows);
  return ix ? t_reshape(c, t_index_select(c, input, 0, ix), IL(count, r)) : NULL;
}

/* ---- tiling ---- */
Tensor *k_repeat(Ctx *c, Tensor *self, IntList repeats) {
  int64_t a[2 * MT_MAXDIM], e[2 * MT_MAXDIM], s[MT_MAXDIM];
  int n = (int)repeats.n, lead = n - self->ndim;
  if (lead < 0)
    return mt_fail(
        c, "repeats %s must have at least as many entries as the tensor has dimensions (%d)",
        mt_list_str(c, repeats), self->ndim);
  if (n > MT_MAXDIM / 2) return mt_fail(c, "too many dimensions");
  for (int i = 0; i < n; i++) {
    int64_t sz = i < lead ? 1 : self->size[i - lead];
    if (repeats.v[i] < 0)
      return mt_fail(c, "repeats must be 0 or more, got %s", mt_list_str(c, repeats));
    a[2 * i] = 1;
    a[2 * i + 1] = e[2 * i + 1] = sz;
    e[2 * i] = repeats.v[i];
    if (__builtin_mul_overflow(sz, repeats.v[i], &s[i]))
      return mt_fail(c, "the result of repeating by %s is too large", mt_list_str(c, repeats));
  }
  if (!n) return t_clone(c, self, -1);
  Tensor *v = t_expand(c, t_reshape(c, self, mt_il(a, 2 * n)), mt_il(e, 2 * n), false);
  return t_reshape(c, t_clone(c, v, 0), mt_il(s, n));
}
Tensor *k_tile(Ctx *c, Tensor *self, IntList dims) {
  int64_t r[MT_MAXDIM];
  int lead = self->ndim - (int)dims.n;
  if (dims.n > MT_MAXDIM) return mt_fail(c, "too many dimensions");
  if (lead <= 0) return t_repeat(c, self, dims);
  for (int i = 0; i < self->ndim; i++) r[i] = i < lead ? 1 : dims.v[i - lead];
  return t_repeat(c, self, mt_il(r, self->ndim));
}

/* ---- flips and shifts ---- */
/* A line of the last dimension, or a piece of it: out's elements from `at` on. */
typedef struct {
  const Tensor *x;
  char *out;
  uint64_t dims;
  int64_t n, size, pieces;                 /* of a line: elements, those of a piece, pieces */
} Flip;
static void flip_pieces(void *ctx, int64_t lo, int64_t hi) {
  const Flip *f = ctx;
  const Tensor *x = f->x;
  const int last = x->ndim - 1;
  const int64_t es = (int64_t)mt_dsize(x->dtype);
  for (int64_t u = lo; u < hi && !mt_interrupted; u++) {
    int64_t line = u / f->pieces, at = u % f->pieces * f->size, rest = line, off = 0;
    int64_t m = f->n - at < f->size ? f->n - at : f->size;
    for (int d = last - 1; d >= 0; d--) {
      int64_t i = rest % x->size[d];
      rest /= x->size[d];
      off += (f->dims >> d & 1 ? x->size[d] - 1 - i : i) * x->stride[d];
    }
    bool back = f->dims >> last & 1;
    const char *from = (const char *)mt_data(x) + (off + (back ? f->n - at - m : at)) * es;
    char *to = f->out + (line * f->n + at) * es;
    if (!back) memcpy(to, from, (size_t)(m * es));
    else mt_index_kerns()->flip[mt_size_class((size_t)es)](to, from, m);
  }
}
Tensor *k_flip(Ctx *c, Tensor *self, IntList dims) {
  uint64_t m = dims.n ? mt_dim_mask(c, dims, self->ndim) : 0;
  Tensor *x = c->err ? NULL : mt_contig(c, self);
  Tensor *out = x ? mt_new_like(c, x, (DType)x->dtype) : NULL;
  if (!out || !x->numel || !x->ndim) return x && out && !x->ndim ? t_clone(c, self, -1) : out;
  enum { PART = 1 << 15 };
  int64_t n = x->size[x->ndim - 1], size = n < PART ? n : PART, pieces = (n + size - 1) / size;
  Flip f = {x, mt_data(out), m, n, size, pieces};
  mt_parallel(x->numel / n * pieces, PART / size, flip_pieces, &f);
  return mt_poll(c) ? NULL : out;
}
Tensor *k_fliplr(Ctx *c, Tensor *self) {
  if (self->ndim < 2) return mt_fail(c, "needs at least 2 dimensions, got %d", self->ndim);
  return t_flip(c, self, IL(1));
}
Tensor *k_flipud(Ctx *c, Tensor *self) {
  if (self->ndim < 1) return mt_fail(c, "needs at least 1 dimension");
  return t_flip(c, self, IL(0));
}
Tensor *k_roll(Ctx *c, Tensor *self, IntList shifts, IntList dims) {
  if (shifts.n == 0) return mt_fail(c, "shifts must not be empty");
  if (dims.n == 0 && shifts.n == 1)
    return t_view(c, t_roll(c, t_reshape(c, t_contiguous(c, self, -1), IL(-1)), shifts, IL(0)),
                  mt_sizes(self));
  if (dims.n != shifts.n)
    return mt_fail(c, "shifts %s and dims %s must have one length", mt_list_str(c, shifts),
                   mt_list_str(c, dims));
  Tensor *x = self;
  if (!self->ndim)
    return mt_fail(c, "dimension %lld was given for a tensor without dimensions",
                   (long long)dims.v[0]);
  for (int64_t i = 0; i < dims.n && x; i++) {
    int d = mt_dim(c, dims.v[i], self->ndim);
    if (d < 0) return NULL;
    if (!self->numel) return t_clone(c, self, -1);
    int64_t n = self->size[d], k = ((shifts.v[i] % n) + n) % n;
    Tensor *part[2] = {t_narrow(c, x, d, n - k, k), t_narrow(c, x, d, 0, n - k)};
    x = t_cat(c, (TensorList){part, 2}, d);
  }
  return x;
}
Tensor *k_rot90(Ctx *c, Tensor *self, int64_t k, IntList dims) {
  if (dims.n != 2) return mt_fail(c, "dims must have 2 entries, got %s", mt_list_str(c, dims));
  if (self->ndim < 2) return mt_fail(c, "needs at least 2 dimensions, got %d", self->ndim);
  int a = mt_dim(c, dims.v[0], self->ndim), b = a < 0 ? -1 : mt_dim(c, dims.v[1], self->ndim);
  if (b < 0) return NULL;
  if (a == b) return mt_fail(c, "dims must differ, got %s", mt_list_str(c, dims));
  switch (((k % 4) + 4) % 4) {
    case 1: return t_transpose(c, t_flip(c, self, IL(b)), a, b);
    case 2: return t_flip(c, self, IL(a, b));
    case 3: return t_transpose(c, t_flip(c, self, IL(a)), a, b);
    default: return t_clone(c, self, 0);
  }
}

/* ---- diagonals and scatters into copies ---- */
Tensor *k_diag_embed(Ctx *c, Tensor *self, int64_t offset, int64_t dim1, int64_t dim2) {
  int64_t shape[MT_MAXDIM], n = self->ndim ? self->size[self->ndim - 1] : 1;
  if (offset == INT64_MIN || __builtin_add_overflow(n, offset < 0 ? -offset : offset, &n))
    return mt_fail(c, "offset %lld is too large", (long long)offset);
  int nd = self->ndim + 1, a = mt_dim(c, dim1, nd), b = a < 0 ? -1 : mt_dim(c, dim2, nd), k = 0;
  if (b < 0) return NULL;
  if (a == b)
    return mt_fail(c, "diagonal dimensions cannot be identical (%lld, %lld)", (long long)dim1,
                   (long long)dim2);
  if (!self->ndim) return mt_fail(c, "needs at least 1 dimension");
  for (int i = 0; i < nd; i++) shape[i] = i == a || i == b ? n : self->size[k++];
  Tensor *z = t_new_zeros(c, self, mt_il(shape, nd), -1, -1, -1, -1, false);
  return t_copy_(c, t_diagonal(c, z, offset, a, b), self, false) ? z : NULL;
}
Tensor *k_diag(Ctx *c, Tensor *self, int64_t diagonal) {
  if (self->ndim == 1) return t_diag_embed(c, self, diagonal, -2, -1);
  if (self->ndim != 2)
    return mt_fail(c, "expects a vector or a matrix, got shape %s", mt_list_str(c, mt_sizes(self)));
  return t_clone(c, t_diagonal(c, self, diagonal, 0, 1), -1);
}
Tensor *k_diagflat(Ctx *c, Tensor *self, int64_t offset) {
  return t_diag_embed(c, t_reshape(c, t_contiguous(c, self, -1), IL(-1)), offset, -2, -1);
}

/* A copy of self whose window w was given src. */
static Tensor *fill_window(Ctx *c, Tensor *copy, Tensor *w, Tensor *src) {
  if (c->err || !w) return NULL;
  if (w->ndim != src->ndim || memcmp(w->size, src->size, sizeof(int64_t) * w->ndim))
    return mt_fail(c, "src must have the slice's shape %s, got %s", mt_list_str(c, mt_sizes(w)),
                   mt_list_str(c, mt_sizes(src)));
  return t_copy_(c, w, src, false) ? copy : NULL;
}
Tensor *k_diagonal_scatter(Ctx *c, Tensor *self, Tensor *src, int64_t offset, int64_t dim1,
                           int64_t dim2) {
  Tensor *t = t_clone(c, self, -1);
  return fill_window(c, t, t_diagonal(c, t, offset, dim1, dim2), src);
}
Tensor *k_select_scatter(Ctx *c, Tensor *self, Tensor *src, int64_t dim, int64_t index) {
  Tensor *t = t_clone(c, self, -1);
  return fill_window(c, t, t_select(c, t, dim, index), src);
}
Tensor *k_slice_scatter(Ctx *c, Tensor *self, Tensor *src, int64_t dim, int64_t start, int64_t end,
                        int64_t step) {
  Tensor *t = t_clone(c, self, -1);
  return fill_window(c, t, t_slice(c, t, dim, start, end, step), src);
}
/* The window counts from the start of self's storage, so the whole storage is copied, not what self
 * sees of it. */
Tensor *k_as_strided_scatter(Ctx *c, Tensor *self, Tensor *src, IntList size, IntList stride,
                             int64_t storage_offset) {
  if (mt_overlaps_itself(self) && !(self = t_clone(c, self, -1))) return NULL;
  int64_t n = (int64_t)(self->st->nbytes / mt_dsize(self->dtype)),
          off = storage_offset == MT_NONE_INT ? self->offset : storage_offset;
  Tensor *all = t_clone(c, mt_from_storage(c, self->st, IL(n), IL(1), 0, (DType)self->dtype), -1);
  Tensor *t = t_as_strided(c, all, mt_sizes(self), mt_il(self->stride, self->ndim), self->offset);
  return fill_window(c, t, t_as_strided(c, all, size, stride, off), src);
}
Tensor *k_trace(Ctx *c, Tensor *self) {
  if (self->ndim != 2)
    return mt_fail(c, "expects a matrix, got shape %s", mt_list_str(c, mt_sizes(self)));
  return t_sum(c, t_diagonal(c, self, 0, 0, 1), -1);
}

/* How many elements of a matrix lie on and below the diagonal offset. */
typedef __int128 wide_t;
static wide_t below(wide_t rows, wide_t cols, wide_t offset) {
  wide_t first = -offset < 0 ? 0 : -offset < rows ? -offset : rows; /* first row with any */
  wide_t full = cols - offset - 1;                                  /* first row with all */
  full = full < first ? first : full < rows ? full : rows;
  return (full - first) * (first + full + 1 + 2 * offset) / 2 + (rows - full) * cols;
}
enum { FILL = 1 << 20 };                   /* elements between two looks for Ctrl-C */
/* Rows without any are never walked: a request of 2^40 rows and no column ends at once. */
static Tensor *triangle(Ctx *c, int64_t rows, int64_t cols, int64_t offset, int dtype, bool lower) {
  if (rows < 0 || cols < 0)
    return mt_fail(c, "row and col must be 0 or more, got %lld and %lld", (long long)rows,
                   (long long)cols);
  if (dtype >= 0 && dtype != MT_int64 && dtype != MT_int32)
    return mt_fail(c, "dtype must be int32 or int64, got %s", mt_dtypes[dtype].name);
  wide_t all = lower ? below(rows, cols, offset)
                     : (wide_t)rows * cols - below(rows, cols, (wide_t)offset - 1);
  if (all > (wide_t)1 << 58) return mt_fail(c, "the result is too large");
  int64_t n = (int64_t)all, k = 0;
  Tensor *t = mt_new(c, IL(2, n), MT_int64, MT_CPU);
  if (!t) return NULL;
  int64_t *p = mt_data(t);
  int64_t i = lower && offset < 0 ? (-(wide_t)offset < rows ? -offset : rows) : 0;
  for (; k < n; i++) {
    wide_t edge = (wide_t)i + offset + (lower ? 1 : 0);
    int64_t in = edge < 0 ? 0 : edge > cols ? cols : (int64_t)edge;
    for (int64_t j = lower ? 0 : in, end = lower ? in : cols; j < end;) {
      int64_t stop = end - j > FILL ? j + FILL : end;
      if (mt_interrupted && mt_poll(c)) return NULL;
      for (; j < stop; j++, k++) {
        p[k] = i;
        p[n + k] = j;
      }
    }
  }
  return dtype == MT_int32 ? mt_cast(c, t, MT_int32) : t;
}
Tensor *k_tril_indices(Ctx *c, int64_t row, int64_t col, int64_t offset, int dtype, int layout,
                       int device, int pin) {
  return triangle(c, row, col, offset, dtype, true);
}
Tensor *k_triu_indices(Ctx *c, int64_t row, int64_t col, int64_t offset, int dtype, int layout,
                       int device, int pin) {
  return triangle(c, row, col, offset, dtype, false);
}

/* ---- repeat_interleave ---- */
Tensor *k_repeat_interleave_Tensor(Ctx *c, Tensor *repeats, int64_t output_size) {
  if (repeats->ndim != 1)
    return mt_fail(c, "repeats must be a vector, got shape %s", mt_list_str(c, mt_sizes(repeats)));
  if (repeats->dtype != MT_int64 && repeats->dtype != MT_int32)
    return mt_fail(c, "repeats must be an int32 or int64 tensor, got %s",
                   mt_dtypes[repeats->dtype].name);
  Tensor *r = mt_contig_as(c, repeats, MT_int64);
  if (!r) return NULL;
  const int64_t *p = mt_data(r);
  int64_t n = 0, k = 0;
  for (int64_t i = 0; i < r->numel; i++) {
    if (p[i] < 0) return mt_fail(c, "repeats must be 0 or more, got %lld", (long long)p[i]);
    if (__builtin_add_overflow(n, p[i], &n)) return mt_fail(c, "the result is too large");
  }
  if (output_size != MT_NONE_INT && output_size != n)
    return mt_fail(c, "output_size %lld is not the sum of repeats, %lld", (long long)output_size,
                   (long long)n);
  Tensor *out = mt_new(c, IL(n), MT_int64, MT_CPU);
  for (int64_t i = 0; out && i < r->numel; i++)
    for (int64_t j = 0; j < p[i]; j++) {
      if (!(k & (FILL - 1)) && mt_poll(c)) return NULL;
      ((int64_t *)mt_data(out))[k++] = i;
    }
  return out ? mt_cast(c, out, (DType)repeats->dtype) : NULL;
}
Tensor *k_repeat_interleave_self_Tensor(Ctx *c, Tensor *self, Tensor *repeats, int64_t dim,
                                        int64_t output_size) {
  Tensor *x = dim == MT_NONE_INT ? t_reshape(c, self, IL(-1)) : self;
  int64_t d = dim == MT_NONE_INT ? 0 : dim;
  int k = x ? mt_dim(c, d, x->ndim) : -1;
  if (k < 0) return NULL;
  int64_t n = x->ndim ? x->size[k] : 1;
  if (repeats->ndim == 0 || (repeats->ndim == 1 && repeats->numel == 1))
    repeats = t_expand(c, t_reshape(c, repeats, IL(1)), IL(n), false);
  else if (repeats->ndim != 1 || repeats->numel != n)
    return mt_fail(
        c, "repeats must have one entry or as many as dimension %d of self (%lld), got shape %s", k,
        (long long)n, mt_list_str(c, mt_sizes(repeats)));
  return t_index_select(c, x, k, t_repeat_interleave_Tensor(c, repeats, output_size));
}
Tensor *k_repeat_interleave(Ctx *c, Tensor *self, int64_t repeats, int64_t dim,
                            int64_t output_size) {
  if (repeats < 0) return mt_fail(c, "repeats must be 0 or more, got %lld", (long long)repeats);
  Tensor *x = dim == MT_NONE_INT ? t_reshape(c, self, IL(-1)) : self;
  int d = !x ? -1 : dim == MT_NONE_INT ? 0 : mt_dim(c, dim, x->ndim);
  if (d < 0) return NULL;
  if (!x->ndim || x->ndim == MT_MAXDIM)
    return t_repeat_interleave_self_Tensor(
        c, x, t_full(c, IL(1), mt_si(repeats), MT_int64, -1, -1, -1, false), d, output_size);
  int64_t n, shape[MT_MAXDIM];
  if (__builtin_mul_overflow(x->size[d], repeats, &n)) return mt_fail(c, "the result is too large");
  if (output_size != MT_NONE_INT && output_size != n)
    return mt_fail(c, "output_size %lld is not the sum of repeats, %lld", (long long)output_size,
                   (long long)n);
  /* each slice beside itself in a dimension of its own, which the copy joins with d */
  memcpy(shape, x->size, sizeof(int64_t) * (size_t)(d + 1));
  shape[d + 1] = repeats;
  memcpy(shape + d + 2, x->size + d + 1, sizeof(int64_t) * (size_t)(x->ndim - d - 1));
  Tensor *wide = t_expand(c, t_unsqueeze(c, x, d + 1), mt_il(shape, x->ndim + 1), false);
  memcpy(shape, x->size, sizeof(int64_t) * (size_t)x->ndim);
  shape[d] = n;
  return t_view(c, t_clone(c, wide, 0), mt_il(shape, x->ndim));
}

/* ---- padding ---- */
/* A border of one value around contiguous elements: each row is written once. */
typedef struct {
  const char *x, *row;                     /* row: one row of the value */
  char *out;
  int nd;
  const int64_t *in, *size;
  int64_t before[MT_MAXDIM];
  bool wide;
} Border;
#define BORDER_ROW(T)                                                                       \
  {                                                                                         \
    T *o = (T *)(void *)b->out + r * w;                                                     \
    const T *v = (const T *)(const void *)b->row, *x = (const T *)(const void *)b->x;       \
    if (!inside) memcpy(o, v, sizeof(T) * (size_t)w);                                       \
    else {                                                                                  \
      for (int64_t i = 0; i < a; i++) o[i] = *v;                                            \
      memcpy(o + a, x + from * n, sizeof(T) * (size_t)n);                                   \
      for (int64_t i = a + n; i < w; i++) o[i] = *v;                                        \
    }                                                                                       \
  }
static void border_rows(void *ctx, int64_t lo, int64_t hi) {
  const Border *b = ctx;
  int e = b->nd - 1;
  int64_t pos[MT_MAXDIM], n = b->in[e], w = b->size[e], a = b->before[e], rest = lo;
  for (int d = e - 1; d >= 0; d--) { pos[d] = rest % b->size[d]; rest /= b->size[d]; }
  for (int64_t r = lo; r < hi && !mt_interrupted; r++) {
    int64_t from = 0;
    bool inside = true;
    for (int d = 0; d < e; d++) {
      int64_t i = pos[d] - b->before[d];
      inside = inside && i >= 0 && i < b->in[d];
      from = from * b->in[d] + i;
    }
    if (b->wide) BORDER_ROW(uint64_t) else BORDER_ROW(uint32_t)
    for (int d = e - 1; d >= 0; d--) { if (++pos[d] < b->size[d]) break; pos[d] = 0; }
  }
}
static Tensor *border(Ctx *c, Tensor *self, IntList pad, Scalar value, const int64_t *shape) {
  int nd = self->ndim;
  if (!nd) return t_clone(c, self, 0);
  Tensor *x = mt_contig(c, self), *out = mt_new(c, mt_il(shape, nd), (DType)self->dtype, MT_CPU),
         *row = t_full(c, mt_il(shape + nd - 1, 1), value, self->dtype, -1, -1, -1, false);
  if (!x || !out || !row) return NULL;
  Border b = {mt_data(x), mt_data(row), mt_data(out), nd,
              x->size,    shape,        {0},          mt_dsize(x->dtype) == 8};
  for (int64_t i = 0; i < pad.n / 2; i++) b.before[nd - 1 - i] = pad.v[2 * i];
  mt_parallel(out->numel / shape[nd - 1], 1 + 16384 / shape[nd - 1], border_rows, &b);
  return mt_poll(c) ? NULL : out;
}
Tensor *k_constant_pad_nd(Ctx *c, Tensor *self, IntList pad, Scalar value) {
  int64_t shape[MT_MAXDIM];
  int n = (int)(pad.n / 2);
  if (pad.n % 2 || n > self->ndim)
    return mt_fail(c,
                   "pad must have an even number of entries, at most 2 per dimension (%d), got %s",
                   self->ndim, mt_list_str(c, pad));
  Tensor *src = self;
  memcpy(shape, self->size, sizeof(int64_t) * self->ndim);
  for (int i = 0; i < n; i++) {
    int d = self->ndim - 1 - i;
    if (__builtin_add_overflow(shape[d], pad.v[2 * i], &shape[d]) ||
        __builtin_add_overflow(shape[d], pad.v[2 * i + 1], &shape[d]))
      return mt_fail(c, "the padding %s is too large", mt_list_str(c, pad));
    if (shape[d] < 0)
      return mt_fail(c, "the padding %s leaves dimension %d with the negative size %lld",
                     mt_list_str(c, pad), d, (long long)shape[d]);
  }
  size_t es = mt_dsize(self->dtype);
  bool grows = self->numel && (es == 4 || es == 8) && !mt_meta(self);
  for (int64_t i = 0; i < pad.n; i++) grows = grows && pad.v[i] >= 0;
  if (grows) return border(c, self, pad, value, shape);
  Tensor *out = t_full(c, mt_il(shape, self->ndim), value, self->dtype, -1, -1, -1, false),
         *w = out;
  for (int i = 0; i < n && w && src; i++) {
    int d = self->ndim - 1 - i;
    int64_t a = pad.v[2 * i], b = pad.v[2 * i + 1], lo = a < 0 ? -a : 0, hi = b < 0 ? -b : 0;
    src = t_narrow(c, src, d, lo, self->size[d] - lo - hi);
    w = t_narrow(c, w, d, a > 0 ? a : 0, shape[d] - (a > 0 ? a : 0) - (b > 0 ? b : 0));
  }
  return w && src && mt_copy_raw(c, w, src) ? out : NULL;
}

/* One dimension by an index of its source positions. */
static Tensor *pad_dim(Ctx *c, Tensor *x, int d, int64_t a, int64_t b, const char *mode) {
  int64_t m = x->size[d] + a + b;
  if (a == 0 && b == 0) return x;
  Tensor *ix = mt_new(c, IL(m), MT_int64, MT_CPU);
  if (!ix) return NULL;
  for (int64_t i = 0; i < m; i++)
    ((int64_t *)mt_data(ix))[i] = mt_pad_source(mode, i, x->size[d], a, b);
  return t_index_select(c, x, d, ix);
}
static bool check_pad(Ctx *c, const Tensor *x, int d, int64_t a, int64_t b, const char *mode) {
  int64_t n = x->size[d];
  bool reflect = !strcmp(mode, "reflect"), circular = *mode == 'c';
  if (a > INT32_MAX || b > INT32_MAX || n + a < 0 || n + b < 0 || n + a + b < 0)
    mt_fail(c, "the padding (%lld, %lld) does not fit the size %lld of dimension %d", (long long)a,
            (long long)b, (long long)n, d);
  else if (reflect && (a >= n || b >= n))
    mt_fail(c, "reflection padding (%lld, %lld) must be smaller than the size %lld of dimension %d",
            (long long)a, (long long)b, (long long)n, d);
  else if (circular && (a > n || b > n))
    mt_fail(c, "circular padding (%lld, %lld) must be at most the size %lld of dimension %d",
            (long long)a, (long long)b, (long long)n, d);
  return !c->err;
}
Tensor *k_F_pad(Ctx *c, Tensor *input, IntList pad, const char *mode, Scalar value) {
  int64_t size[3], left[6];
  if (!strcmp(mode, "constant"))
    return t_constant_pad_nd(c, input, pad, mt_has(value) ? value : mt_si(0));
  if (mt_has(value) && mt_sre(value) != 0)
    return mt_fail(c, "padding mode '%s' takes no value", mode);
  if (strcmp(mode, "reflect") && strcmp(mode, "replicate") && strcmp(mode, "circular"))
    return mt_fail(c, "mode must be 'constant', 'reflect', 'replicate' or 'circular', got '%s'",
                   mode);
  int n = (int)(pad.n / 2);
  if (pad.n % 2 || n < 1 || n > 3 || (input->ndim != n + 1 && input->ndim != n + 2))
    return mt_fail(c,
                   "mode '%s' pads the last 1 to 3 dimensions of a tensor with 1 or 2 more; got "
                   "pad %s for shape %s",
                   mode, mt_list_str(c, pad), mt_list_str(c, mt_sizes(input)));
  for (int i = input->ndim - n - (*mode == 'r'); i < input->ndim; i++)
    if (input->size[i] == 0)
      return mt_fail(c, "expects non-zero sizes apart from the batch, got shape %s",
                     mt_list_str(c, mt_sizes(input)));
  bool some = false;
  for (int i = 0; i < n; i++) {
    int d = input->ndim - 1 - i;
    int64_t a = left[n - 1 - i] = pad.v[2 * i], b = left[2 * n - 1 - i] = pad.v[2 * i + 1];
    if (!check_pad(c, input, d, a, b, mode)) return NULL;
    size[n - 1 - i] = input->size[d] + a + b;
    some |= size[n - 1 - i] > 0;
  }
  if (!some)
    return mt_fail(c, "the padding %s leaves shape %s empty", mt_list_str(c, pad),
                   mt_list_str(c, mt_sizes(input)));
  if (mt_is_float(input->dtype))
    return t__resample(c, input, mt_il(size, n), mode, mt_il(left, 2 * n), (ScalarList){NULL, 0});
  Tensor *x = input;
  for (int i = 0; i < n && x; i++)
    x = pad_dim(c, x, input->ndim - 1 - i, pad.v[2 * i], pad.v[2 * i + 1], mode);
  return x == input ? t_clone(c, input, -1) : x;
}

/* ---- pixel shuffles ---- */
Tensor *k_pixel_shuffle_impl(Ctx *c, Tensor *x, int64_t r) {
  int64_t s[MT_MAXDIM], p[MT_MAXDIM];
  int n = x->ndim, b = n - 3;
  if (n < 3) return mt_fail(c, "needs at least 3 dimensions, got %d", n);
  if (r <= 0 || r > INT32_MAX)
    return mt_fail(c, "upscale_factor must be positive and below 2^31, got %lld", (long long)r);
  if (x->size[b] % (r * r))
    return mt_fail(c, "the channels (%lld) must divide by the squared factor %lld",
                   (long long)x->size[b], (long long)(r * r));
  int64_t ch = x->size[b] / (r * r), h = x->size[b + 1], w = x->size[b + 2];
  for (int i = 0; i < b; i++) { s[i] = x->size[i]; p[i] = i; }
  s[b] = ch; s[b + 1] = r; s[b + 2] = r; s[b + 3] = h; s[b + 4] = w;
  p[b] = b; p[b + 1] = b + 3; p[b + 2] = b + 1; p[b + 3] = b + 4; p[b + 4] = b + 2;
  Tensor *t = t_permute(c, t_reshape(c, x, mt_il(s, n + 2)), mt_il(p, n + 2));
  s[b] = ch; s[b + 1] = h * r; s[b + 2] = w * r;
  return t_reshape(c, t, mt_il(s, n));
}
Tensor *k_pixel_unshuffle_impl(Ctx *c, Tensor *x, int64_t r) {
  int64_t s[MT_MAXDIM], p[MT_MAXDIM];
  int n = x->ndim, b = n - 3;
  if (n < 3) return mt_fail(c, "needs at least 3 dimensions, got %d", n);
  if (r <= 0 || r > INT32_MAX)
    return mt_fail(c, "downscale_factor must be positive and below 2^31, got %lld", (long long)r);
  if (x->size[b + 1] % r || x->size[b + 2] % r)
    return mt_fail(c, "height and width (%lld, %lld) must divide by the factor %lld",
                   (long long)x->size[b + 1], (long long)x->size[b + 2], (long long)r);
  if (!x->numel) return t_clone(c, x, -1);         /* as PyTorch, which keeps the shape */
  int64_t ch = x->size[b], h = x->size[b + 1] / r, w = x->size[b + 2] / r;
  for (int i = 0; i < b; i++) { s[i] = x->size[i]; p[i] = i; }
  s[b] = ch; s[b + 1] = h; s[b + 2] = r; s[b + 3] = w; s[b + 4] = r;
  p[b] = b; p[b + 1] = b + 2; p[b + 2] = b + 4; p[b + 3] = b + 1; p[b + 4] = b + 3;
  Tensor *t = t_permute(c, t_reshape(c, x, mt_il(s, n + 2)), mt_il(p, n + 2));
  s[b] = ch * r * r; s[b + 1] = h; s[b + 2] = w;
  return t_reshape(c, t, mt_il(s, n));
}
Tensor *k_F_channel_shuffle(Ctx *c, Tensor *x, int64_t groups) {
  int64_t s[MT_MAXDIM];
  if (x->ndim < 3) return mt_fail(c, "needs at least 3 dimensions, got %d", x->ndim);
  if (groups <= 0 || x->size[1] % groups)
    return mt_fail(c, "the channels (%lld) must divide by groups %lld", (long long)x->size[1],
                   (long long)groups);
  s[0] = x->size[0]; s[1] = groups; s[2] = x->size[1] / groups;
  memcpy(s + 3, x->size + 2, sizeof(int64_t) * (size_t)(x->ndim - 2));
  return t_reshape(c, t_transpose(c, t_reshape(c, x, mt_il(s, x->ndim + 1)), 1, 2), mt_sizes(x));
}
Tensor *k_pad_backward(Ctx *c, Tensor *grad, IntList pad) {
  int64_t *n = mt_tmp(c, sizeof(int64_t) * (size_t)(pad.n + 1));
  for (int64_t i = 0; n && i < pad.n; i++) n[i] = -(pad.v[i] > INT64_MIN ? pad.v[i] : -INT64_MAX);
  return n ? t_constant_pad_nd(c, grad, mt_il(n, pad.n), mt_si(0)) : NULL;
}
