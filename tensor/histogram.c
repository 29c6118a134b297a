/* histogram.c: histograms of values and of points in several dimensions. */
#include "expr_rt.h"
#include "op.h"
#include <math.h>
#include <string.h>

#define LIST(...)                            \
  mt_il((const int64_t[]){__VA_ARGS__},      \
        (int64_t)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))
enum { ANY, SEARCHED, COMPUTED };          /* how the cell of a value is found */

typedef struct Axis { const void *edges; int64_t n; double lo, hi; } Axis;

/* The interval of v, or -1: the last edge at or below it, the right end belonging to the last
 * interval. */
#define CELL(T, name)                                                            \
  static int64_t name(const Axis *a, T v, int how) {                             \
    const T *e = a->edges, lo = e[0], hi = e[a->n - 1];                          \
    int64_t from = 0, to = a->n;                                                 \
    if (!(v >= lo && v <= hi)) return -1;                                        \
    if (how != ANY) {                                                            \
      const T where = (v - lo) * (T)(a->n - 1) / (hi - lo);                      \
      int64_t at = where >= 0 && where <= (T)a->n ? (int64_t)where : 0;          \
      if (how == COMPUTED) return at >= a->n - 1 ? a->n - 2 : at;                \
      from = at > 0 ? at - 1 : 0;                                                \
      to = at + 2 < a->n ? at + 2 : a->n;                                        \
    }                                                                            \
    while (from < to) {                                                          \
      int64_t mid = (from + to) / 2;                                             \
      if (e[mid] <= v) from = mid + 1; else to = mid;                            \
    }                                                                            \
    return from - 1 >= a->n - 1 ? a->n - 2 : from - 1;                           \
  }
CELL(float, cell_f32)
CELL(double, cell_f64)

Tensor *k__histogramdd(Ctx *c, Tensor *self, TensorList edges, Tensor *weight, bool density,
                       int64_t how) {
  int64_t d = edges.n, size[MT_MAXDIM], n = d && self->ndim == 2 ? self->size[0] : 0;
  Axis axis[MT_MAXDIM];
  bool f32 = self->dtype == MT_float32;
  Tensor *x = mt_contig(c, self),
         *w = weight ? mt_contig_as(c, t_reshape(c, weight, LIST(-1)), (DType)self->dtype) : NULL;
  if (!x) return NULL;
  for (int64_t k = 0; k < d; k++) {
    Tensor *e = mt_contig(c, edges.v[k]);
    if (!e) return NULL;
    axis[k] = (Axis){.edges = mt_data(e), .n = e->numel};
    size[k] = e->numel - 1;
  }
  Tensor *h = t_zeros(c, mt_il(size, d), self->dtype, -1, -1, -1, false);
  if (!h || c->err || !h->numel) return h;
  double *sums = mt_tmp(c, sizeof(double) * (size_t)h->numel);
  if (!sums) return NULL;
  memset(sums, 0, sizeof(double) * (size_t)h->numel);
  for (int64_t i = 0; i < n; i++) {
    int64_t at = 0;
    for (int64_t k = 0; k < d && at >= 0; k++) {
      int64_t j = f32 ? cell_f32(&axis[k], ((const float *)mt_data(x))[i * d + k], (int)how)
                      : cell_f64(&axis[k], ((const double *)mt_data(x))[i * d + k], (int)how);
      at = j < 0 ? -1 : at * size[k] + j;
    }
    if (at >= 0)
      sums[at] += !w ? 1 : f32 ? ((const float *)mt_data(w))[i] : ((const double *)mt_data(w))[i];
    if (!(i & 0xfffff) && mt_poll(c)) return NULL;
  }
  for (int64_t i = 0; i < h->numel; i++)
    mt_store((char *)mt_data(h) + (size_t)i * mt_dsize(h->dtype), (DType)h->dtype, mt_sd(sums[i]));
  if (!density) return h;
  h = t_div(c, h, t_sum(c, h, -1), NULL);
  for (int64_t k = 0; k < d && h; k++) {
    int64_t shape[MT_MAXDIM];
    for (int64_t i = 0; i < d; i++) shape[i] = i == k ? size[k] : 1;
    h = t_div(c, h, t_reshape(c, t_diff(c, edges.v[k], 1, -1, NULL, NULL), mt_il(shape, d)), NULL);
  }
  return h;
}

static bool points_ok(Ctx *c, const Tensor *x, const Tensor *w, int64_t dims) {
  if (x->dtype != MT_float32 && x->dtype != MT_float64)
    mt_fail(c, "not implemented for %s", mt_dtypes[x->dtype].name);
  else if (x->ndim < 2)
    mt_fail(c, "input tensor should have at least 2 dimensions, but got %d", x->ndim);
  else if (dims != x->size[x->ndim - 1])
    mt_fail(
        c, "the size of bins (%lld) should be equal to the innermost dimension of the input (%lld)",
        (long long)dims, (long long)x->size[x->ndim - 1]);
  else if (w && w->dtype != x->dtype)
    mt_fail(c,
            "if weight tensor is provided, input tensor and weight tensor should have the same "
            "dtype, but got input(%s), and weight(%s)",
            mt_dtypes[x->dtype].name, mt_dtypes[w->dtype].name);
  else if (w && w->numel != (x->size[x->ndim - 1] ? x->numel / x->size[x->ndim - 1] : 0))
    mt_fail(c, "if weight tensor is provided it should have the same shape as the input tensor "
               "excluding its innermost dimension");
  return !c->err;
}
static bool edges_ok(Ctx *c, const Tensor *x, TensorList l) {
  for (int64_t k = 0; k < l.n && !c->err; k++) {
    Tensor *e = l.v[k];
    if (e->dtype != x->dtype)
      mt_fail(c,
              "input tensor and bins tensors should have the same dtype, but got input with dtype "
              "%s and bins with dtype %s",
              mt_dtypes[x->dtype].name, mt_dtypes[e->dtype].name);
    else if (e->ndim != 1 || e->numel < 1)
      mt_fail(c, "bins tensor should have one dimension and at least one element, got shape %s",
              mt_list_str(c, mt_sizes(e)));
  }
  return !c->err;
}
/* Even edges in each dimension of points [n, d]. */
static TensorList even_edges(Ctx *c, Tensor *x, const int64_t *bins, int64_t d, ScalarList range) {
  TensorList l = {mt_tmp(c, sizeof(Tensor *) * (size_t)(d + 1)), d}, none = {NULL, 0};
  Val v[2];
  if (!l.v) return none;
  if (range.n >= 0 && range.n != 2 * d) {
    mt_fail(c, "for a %lld-dimensional histogram range should have %lld elements, but got %lld",
            (long long)d, (long long)(2 * d), (long long)range.n);
    return none;
  }
  bool own = range.n < 0 && x->numel;
  if (own) t_aminmax(c, x, 0, false, v);
  for (int64_t k = 0; k < d && !c->err; k++) {
    double lo = 0, hi = 1;
    if (range.n >= 0) { lo = mt_sre(range.v[2 * k]); hi = mt_sre(range.v[2 * k + 1]);
    } else if (own) {
      lo = mt_sre(mt_item(c, t_select(c, v[0].t, 0, k)));
      hi = mt_sre(mt_item(c, t_select(c, v[1].t, 0, k)));
    }
    if (bins[k] <= 0) mt_fail(c, "bins must be > 0, but got %lld", (long long)bins[k]);
    else if (bins[k] > INT64_MAX / 16)
      mt_fail(c, "%lld bins are more than any memory holds", (long long)bins[k]);
    else if (!isfinite(lo) || !isfinite(hi))
      mt_fail(c, "dimension %lld's range [%g, %g] is not finite", (long long)k, lo, hi);
    else if (lo > hi)
      mt_fail(c, "min should not exceed max, but got min %g max %g for dimension %lld", lo, hi,
              (long long)k);
    if (c->err) return none;
    if (lo == hi) { lo -= 0.5; hi += 0.5; }
    l.v[k] = t_linspace(c, mt_sd(lo), mt_sd(hi), bins[k] + 1, x->dtype, -1, -1, -1, false);
  }
  return c->err ? none : l;
}
static Tensor *points(Ctx *c, Tensor *x) {
  int64_t d = x->size[x->ndim - 1];
  return t_reshape(c, t_detach(c, x), LIST(d ? x->numel / d : 0, d));
}
static void give(Ctx *c, Tensor *x, TensorList edges, Tensor *w, bool density, int how, Val *r) {
  if (c->err) return;
  r[0].t = t__histogramdd(c, x, edges, w ? t_detach(c, w) : NULL, density, how);
}

void k_histogramdd(Ctx *c, Tensor *self, IntList bins, ScalarList range, Tensor *w, bool density,
                   Val *r) {
  if (!points_ok(c, self, w, bins.n)) return;
  Tensor *x = points(c, self);
  r[1].tl = even_edges(c, x, bins.v, bins.n, range);
  give(c, x, r[1].tl, w, density, COMPUTED, r);
}
void k_histogramdd_bins(Ctx *c, Tensor *self, int64_t bins, ScalarList range, Tensor *w,
                        bool density, Val *r) {
  int64_t all[MT_MAXDIM], d = self->ndim ? self->size[self->ndim - 1] : 0;
  if (d > MT_MAXDIM) { mt_fail(c, "too many dimensions (%lld)", (long long)d); return; }
  for (int64_t i = 0; i < d; i++) all[i] = bins;
  k_histogramdd(c, self, mt_il(all, d), range, w, density, r);
}
void k_histogramdd_edges(Ctx *c, Tensor *self, TensorList bins, ScalarList range, Tensor *w,
                         bool density, Val *r) {
  if (!points_ok(c, self, w, bins.n) || !edges_ok(c, self, bins)) return;
  TensorList l = {mt_tmp(c, sizeof(Tensor *) * (size_t)(bins.n + 1)), bins.n};
  if (!l.v) return;
  for (int64_t i = 0; i < bins.n; i++) l.v[i] = t_clone(c, bins.v[i], -1);
  r[1].tl = l;
  give(c, points(c, self), l, w, density, ANY, r);
}
void k_histogram(Ctx *c, Tensor *self, int64_t bins, ScalarList range, Tensor *w, bool density,
                 Val *r) {
  Tensor *x = t_reshape(c, self, LIST(self->numel, 1)),
         *flat = w ? t_reshape(c, w, LIST(w->numel)) : NULL;
  if (c->err || !points_ok(c, x, flat, 1)) return;
  TensorList l = even_edges(c, points(c, x), &bins, 1, range);
  give(c, points(c, x), l, flat, density, SEARCHED, r);
  if (!c->err) r[1].t = l.v[0];
}
void k_histogram_edges(Ctx *c, Tensor *self, Tensor *bins, Tensor *w, bool density, Val *r) {
  Tensor *x = t_reshape(c, self, LIST(self->numel, 1)),
         *flat = w ? t_reshape(c, w, LIST(w->numel)) : NULL;
  TensorList l = {(Tensor *[]){bins}, 1};
  if (c->err || !points_ok(c, x, flat, 1) || !edges_ok(c, x, l)) return;
  give(c, points(c, x), l, flat, density, ANY, r);
  if (!c->err) r[1].t = t_clone(c, bins, -1);
}
