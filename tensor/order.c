/* order.c: kernels of ops_order.def over the rows of sort_core: the dimension asked for is
 * brought last, worked on as contiguous rows, and brought back. */
#include "iter.h"
#include "op.h"
#include "sort_core.h"
#include <math.h>
#include <string.h>

static bool done(Ctx *c, CoreStatus s) {
  if (s == CORE_NOMEM) mt_nomem(c);
  if (s == CORE_INTERRUPTED) mt_poll(c);
  return s == CORE_OK && !c->err;
}
static bool ordered(Ctx *c, const Tensor *t) {
  if (!mt_is_complex(t->dtype)) return true;
  mt_fail(c, "complex numbers have no order");
  return false;
}

/* A tensor seen as rows along dim. */
typedef struct { Tensor *x; int dim, last; int64_t rows, n, size[MT_MAXDIM]; } Rows;

static bool rows_of(Ctx *c, Tensor *t, int64_t dim, Rows *r) {
  if (!t) return false;
  r->dim = mt_dim(c, dim, t->ndim);
  if (r->dim < 0 || !ordered(c, t)) return false;
  r->last = t->ndim ? t->ndim - 1 : 0;
  Tensor *x = t->ndim && r->dim != r->last ? t_transpose(c, t, r->dim, r->last) : t;
  if (!x || !(r->x = mt_contig(c, x))) return false;
  for (int i = 0; i < t->ndim; i++) r->size[i] = r->x->size[i];
  r->n = t->ndim ? r->size[r->last] : 1;
  r->rows = r->n ? r->x->numel / r->n : 0;
  return true;
}

/* A new tensor of rows, k elements each. */
static Tensor *rows_new(Ctx *c, Rows *r, int64_t k, DType d) {
  if (r->x->ndim) r->size[r->last] = k;
  return mt_new(c, mt_il(r->size, r->x->ndim), d, MT_CPU);
}
static Tensor *rows_back(Ctx *c, Rows *r, Tensor *t) {
  return t && r->dim != r->last ? mt_contig(c, t_transpose(c, t, r->dim, r->last)) : t;
}
/* Rows of one element each, without their dimension unless keep. */
static Tensor *rows_reduced(Ctx *c, Rows *r, Tensor *t, bool keep) {
  t = rows_back(c, r, t);
  if (!t || keep || !t->ndim) return t;
  int64_t size[MT_MAXDIM];
  int n = 0;
  for (int i = 0; i < t->ndim; i++) if (i != r->dim) size[n++] = t->size[i];
  Tensor *u = mt_new(c, mt_il(size, n), (DType)t->dtype, MT_CPU);
  if (u && t->numel) memcpy(mt_data(u), mt_data(t), (size_t)t->numel * mt_dsize(t->dtype));
  return u;
}

/* ---- sort ---- */

static void sorted(Ctx *c, Tensor *s, int64_t dim, bool desc, bool values, Val *r) {
  Rows w;
  r[0].t = r[1].t = NULL;
  if (!rows_of(c, s, dim, &w)) return;
  Tensor *v = values ? rows_new(c, &w, w.n, (DType)s->dtype) : NULL,
         *i = rows_new(c, &w, w.n, MT_int64);
  if (c->err || !done(c, mt_sort_rows((Elem)s->dtype, mt_data(w.x), w.rows, w.n, desc,
                                      v ? mt_data(v) : NULL, mt_data(i))))
    return;
  r[0].t = rows_back(c, &w, v);
  r[1].t = rows_back(c, &w, i);
}
void k_sort(Ctx *c, Tensor *s, int64_t dim, bool desc, Val *r) { sorted(c, s, dim, desc, true, r); }
void k_sort_stable(Ctx *c, Tensor *s, int stable, int64_t dim, bool desc, Val *r) {
  sorted(c, s, dim, desc, true, r);
}
Tensor *k_argsort(Ctx *c, Tensor *s, int64_t dim, bool desc) {
  Val r[2];
  sorted(c, s, dim, desc, false, r);
  return r[1].t;
}
Tensor *k_argsort_stable(Ctx *c, Tensor *s, bool stable, int64_t dim, bool desc) {
  return k_argsort(c, s, dim, desc);
}
Tensor *k_msort(Ctx *c, Tensor *s) {
  Val r[2] = {{.t = NULL}, {.t = NULL}};
  t_sort(c, s, 0, false, r);
  return r[0].t;
}

void k_topk(Ctx *c, Tensor *s, int64_t k, int64_t dim, bool largest, bool order, Val *r) {
  Rows w;
  r[0].t = r[1].t = NULL;
  if (!rows_of(c, s, dim, &w)) return;
  if (k < 0 || k > w.n) {
    mt_fail(c, "selected index k out of range: k is %lld, the dimension has %lld elements",
            (long long)k, (long long)w.n);
    return;
  }
  if (!s->ndim) k = 1;                     /* a number stays one, whatever k says */
  Tensor *v = rows_new(c, &w, k, (DType)s->dtype), *i = rows_new(c, &w, k, MT_int64);
  if (c->err || !done(c, mt_topk_rows((Elem)s->dtype, mt_data(w.x), w.rows, w.n, k, largest,
                                      mt_data(v), mt_data(i))))
    return;
  r[0].t = rows_back(c, &w, v);
  r[1].t = rows_back(c, &w, i);
}

/* ---- one element a row ---- */

typedef enum { ONE_KTH, ONE_MEDIAN, ONE_NANMEDIAN, ONE_MODE, ONE_MAX, ONE_MIN } One;

static CoreStatus one_rows(One what, Elem e, const Rows *w, int64_t k, void *v, int64_t *i) {
  const void *x = mt_data(w->x);
  switch (what) {
  case ONE_KTH: return mt_kth_rows(e, x, w->rows, w->n, k, v, i);
  case ONE_MEDIAN: return mt_median_rows(e, x, w->rows, w->n, false, v, i);
  case ONE_NANMEDIAN: return mt_median_rows(e, x, w->rows, w->n, true, v, i);
  case ONE_MODE: return mt_mode_rows(e, x, w->rows, w->n, v, i);
  default: return mt_argext_rows(e, x, w->rows, w->n, what == ONE_MAX, v, i);
  }
}

static bool nonempty(Ctx *c, const Tensor *s, int dim) {
  if (!s->ndim || s->size[dim] > 0) return true;
  mt_fail(c, "expected reduction dim %d to have non-zero size", dim);
  return false;
}

static void one(Ctx *c, Tensor *s, One what, int64_t k, int64_t dim, bool keep, Val *r) {
  Rows w;
  r[0].t = r[1].t = NULL;
  if (!rows_of(c, s, dim, &w) || !nonempty(c, s, w.dim)) return;
  if (what == ONE_KTH && (k < 1 || k > w.n)) {
    mt_fail(c, "selected number k out of range for dimension %d: k is %lld", w.dim, (long long)k);
    return;
  }
  Tensor *v = rows_new(c, &w, 1, (DType)s->dtype), *i = rows_new(c, &w, 1, MT_int64);
  if (c->err || !done(c, one_rows(what, (Elem)s->dtype, &w, k - 1, mt_data(v), mt_data(i)))) return;
  r[0].t = rows_reduced(c, &w, v, keep);
  r[1].t = rows_reduced(c, &w, i, keep);
}
void k_kthvalue(Ctx *c, Tensor *s, int64_t k, int64_t dim, bool keep, Val *r) {
  one(c, s, ONE_KTH, k, dim, keep, r);
}
void k_median_dim(Ctx *c, Tensor *s, int64_t dim, bool keep, Val *r) {
  one(c, s, ONE_MEDIAN, 0, dim, keep, r);
}
void k_nanmedian_dim(Ctx *c, Tensor *s, int64_t dim, bool keep, Val *r) {
  one(c, s, ONE_NANMEDIAN, 0, dim, keep, r);
}
void k_mode(Ctx *c, Tensor *s, int64_t dim, bool keep, Val *r) {
  one(c, s, ONE_MODE, 0, dim, keep, r);
}

static Tensor *median_all(Ctx *c, Tensor *s, One what) {
  Val r[2] = {{.t = NULL}, {.t = NULL}};
  if (!ordered(c, s)) return NULL;
  if (!s->numel)
    return mt_scalar_tensor(
        c, mt_is_int(s->dtype) ? mt_si(s->dtype == MT_int64 ? INT64_MIN : 0) : mt_sd(NAN),
        (DType)s->dtype);
  one(c, t_reshape(c, s, mt_il((const int64_t[]){-1}, 1)), what, 0, 0, false, r);
  return r[0].t;
}
Tensor *k_median(Ctx *c, Tensor *s) { return median_all(c, s, ONE_MEDIAN); }
Tensor *k_nanmedian(Ctx *c, Tensor *s) { return median_all(c, s, ONE_NANMEDIAN); }

/* ---- extrema: a middle dimension is folded where it lies ---- */

static void extremum(Ctx *c, Tensor *s, int64_t dim_, bool keep, bool max, bool values, Val *r) {
  int dim = mt_dim(c, dim_, s->ndim), n = 0;
  int64_t outer = 1, inner = 1, size[MT_MAXDIM];
  r[0].t = r[1].t = NULL;
  if (dim < 0 || !ordered(c, s) || !nonempty(c, s, dim)) return;
  Tensor *x = mt_contig(c, s);
  for (int i = 0; i < s->ndim; i++) {
    if (i < dim) outer *= s->size[i];
    if (i > dim) inner *= s->size[i];
    if (i != dim) size[n++] = s->size[i];
    else if (keep) size[n++] = 1;
  }
  Tensor *v = values ? mt_new(c, mt_il(size, n), (DType)s->dtype, MT_CPU) : NULL,
         *i = mt_new(c, mt_il(size, n), MT_int64, MT_CPU);
  if (c->err) return;
  if (outer * inner > 0)
    done(c, mt_argext_cols((Elem)s->dtype, mt_data(x), outer, s->ndim ? s->size[dim] : 1, inner,
                           max, v ? mt_data(v) : NULL, mt_data(i)));
  r[0].t = v;
  r[1].t = i;
}
void k_max_dim(Ctx *c, Tensor *s, int64_t dim, bool keep, Val *r) {
  extremum(c, s, dim, keep, true, true, r);
}
void k_min_dim(Ctx *c, Tensor *s, int64_t dim, bool keep, Val *r) {
  extremum(c, s, dim, keep, false, true, r);
}

/* A long row: the best of each piece, then the best of those. */
static Tensor *arg_all(Ctx *c, Tensor *s, bool keep, bool max) {
  int64_t ones[MT_MAXDIM], piece = 1 << 15, at;
  if (!s->numel) return mt_fail(c, "expected reduction dim to be specified for an empty tensor");
  if (!ordered(c, s)) return NULL;
  Tensor *x = mt_contig(c, s);
  for (int i = 0; i < s->ndim; i++) ones[i] = 1;
  Tensor *out = mt_new(c, mt_il(ones, keep ? s->ndim : 0), MT_int64, MT_CPU);
  int64_t k = s->numel / piece, *idx = mt_tmp(c, sizeof *idx * (size_t)(k + 2));
  char *val = mt_tmp(c, 8 * (size_t)(k + 2)), *data = x ? mt_data(x) : NULL;
  size_t size = mt_dsize(s->dtype);
  if (c->err || !done(c, mt_argext_rows((Elem)s->dtype, data, k, piece, max, val, idx)))
    return NULL;
  int64_t rest = s->numel - k * piece, m = k;
  for (int64_t i = 0; i < k; i++) idx[i] += i * piece;
  if (rest) {
    mt_argext_rows((Elem)s->dtype, data + (size_t)(k * piece) * size, 1, rest, max,
                   val + (size_t)k * size, idx + k);
    idx[m++] += k * piece;
  }
  mt_argext_rows((Elem)s->dtype, val, 1, m, max, NULL, &at);
  *(int64_t *)mt_data(out) = idx[at];
  return out;
}
static Tensor *arg(Ctx *c, Tensor *s, int64_t dim, bool keep, bool max) {
  Val r[2];
  if (s->dtype == MT_bool) return mt_fail(c, "not implemented for bool");
  if (dim == MT_NONE_INT) return arg_all(c, s, keep, max);
  extremum(c, s, dim, keep, max, false, r);
  return r[1].t;
}
Tensor *k_argmax(Ctx *c, Tensor *s, int64_t dim, bool keep) { return arg(c, s, dim, keep, true); }
Tensor *k_argmin(Ctx *c, Tensor *s, int64_t dim, bool keep) { return arg(c, s, dim, keep, false); }

/* ---- derivatives: reading and adding at indices along dim ---- */

/* With keepdim false, index lacks dim and stands for one place there. */
static bool pick_shape(Ctx *c, IntList size, int64_t dim_, const Tensor *index, bool keep,
                       int64_t *outer, int64_t *n, int64_t *k, int64_t *inner) {
  int dim = mt_dim(c, dim_, (int)size.n);
  if (dim < 0) return false;
  *outer = *inner = 1;
  for (int i = 0; i < dim; i++) *outer *= size.v[i];
  for (int i = dim + 1; i < size.n; i++) *inner *= size.v[i];
  *n = size.n ? size.v[dim] : 1;
  bool fits = !keep || !index->ndim || index->ndim == size.n;
  *k = keep && index->ndim && fits ? index->size[dim] : 1;
  if (fits && index->numel == *outer * *k * *inner) return true;
  mt_fail(c, "an index of shape %s does not fit size %s", mt_list_str(c, mt_sizes(index)),
          mt_list_str(c, size));
  return false;
}
Tensor *k__pick(Ctx *c, Tensor *s, int64_t dim, Tensor *index, bool keep) {
  int64_t outer, n, k, inner;
  Tensor *x = mt_contig(c, s), *ix = mt_contig_as(c, index, MT_int64),
         *out = mt_new(c, mt_sizes(index), (DType)s->dtype, MT_CPU);
  if (c->err || !pick_shape(c, mt_sizes(s), dim, index, keep, &outer, &n, &k, &inner)) return NULL;
  size_t size = mt_dsize(s->dtype);
  const int64_t *at = mt_data(ix);
  char *o = mt_data(out), *d = mt_data(x);
  for (int64_t a = 0, p = 0; a < outer; a++)
    for (int64_t i = 0; i < k; i++)
      for (int64_t j = 0; j < inner; j++, p++) {
        if (at[p] < 0 || at[p] >= n)
          return mt_fail(c, "index %lld is out of bounds for size %lld", (long long)at[p],
                         (long long)n);
        memcpy(o + (size_t)p * size, d + (size_t)((a * n + at[p]) * inner + j) * size, size);
      }
  return out;
}
#define ADD(T) \
  for (int64_t a = 0, p = 0; a < outer; a++) for (int64_t i = 0; i < k; i++) \
  for (int64_t j = 0; j < inner; j++, p++) { \
    if (at[p] < 0 || at[p] >= n) \
      return mt_fail(c, "index %lld is out of bounds for size %lld", (long long)at[p], \
                     (long long)n); \
    ((T *)o)[(a * n + at[p]) * inner + j] += ((const T *)d)[p]; }
Tensor *k__place(Ctx *c, Tensor *grad, IntList sizes, int64_t dim, Tensor *index, bool keep) {
  int64_t outer, n, k, inner;
  DType dt = (DType)grad->dtype, w = dt == MT_float16 || dt == MT_bfloat16 ? MT_float32
                                     : mt_is_int(dt)                       ? MT_int64
                                                                           : dt;
  Tensor *x = mt_contig_as(c, grad, w), *ix = mt_contig_as(c, index, MT_int64);
  Tensor *out = t_zeros(c, sizes, w, -1, -1, -1, false);
  if (c->err || !pick_shape(c, sizes, dim, index, keep, &outer, &n, &k, &inner)) return NULL;
  if (grad->numel != index->numel) return mt_fail(c, "grad and index differ in size");
  const int64_t *at = mt_data(ix);
  void *o = mt_data(out), *d = mt_data(x);
  switch (w) {
  case MT_float32: ADD(float) break;
  case MT_float64: ADD(double) break;
  case MT_complex64: ADD(cfloat) break;
  case MT_complex128: ADD(cdouble) break;
  default: ADD(int64_t) break;
  }
  return w == dt ? out : mt_cast(c, out, dt);
}
Tensor *k__spread(Ctx *c, Tensor *grad, Tensor *s, Tensor *value) {
  Tensor *hit = t_eq(c, s, value);
  if (mt_is_float(s->dtype))
    hit = t_logical_or(c, hit, t_logical_and(c, t_isnan(c, s), t_isnan(c, value)));
  Tensor *m = t_to_dtype(c, hit, s->dtype, false, -1);
  return t_mul(c, m, t_div(c, grad, t_sum(c, m, -1), NULL));
}
