/* rows.c: kernels of ops_rows.def: softmax, triangles. */
#include "cpu.h"
#include "expr_rt.h"
#include "kern_rows.h"
#include "op.h"
#include <string.h>

#define LIST(...)                                                            \
  mt_il((const int64_t[]){__VA_ARGS__},                                      \
        (int64_t)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))
static Tensor *to(Ctx *c, Tensor *t, int dtype) {
  return t && t->dtype != dtype ? t_to_dtype(c, t, dtype, false, -1) : t;
}

static const MtRowKerns *kerns(void) {
  return MT_AT_LEVEL(&mt_row_kerns);
}

/* A job over rows of n elements in float or double. */
typedef struct { const char *x; char *y; int64_t n; bool single, log_; } Rows;

static void softmax_rows(void *ctx, int64_t lo, int64_t hi) {
  const Rows *r = ctx;
  for (int64_t i = lo; i < hi && !mt_interrupted; i++)
    if (r->single)
      kerns()->softmax_f32(r->n, (const float *)(const void *)r->x + i * r->n,
                           (float *)(void *)r->y + i * r->n, r->log_);
    else
      kerns()->softmax_f64(r->n, (const double *)(const void *)r->x + i * r->n,
                           (double *)(void *)r->y + i * r->n, r->log_);
}
/* A dim before others: columns, a strip of them at a time. */
typedef struct { const char *x; char *y; int64_t n, inner, strips, width; bool single, log_; } Cols;
static void softmax_cols(void *ctx, int64_t lo, int64_t hi) {
  const Cols *k = ctx;
  for (int64_t u = lo; u < hi && !mt_interrupted; u++) {
    int64_t from = u % k->strips * k->width, at = u / k->strips * k->n * k->inner + from;
    int64_t w = k->inner - from < k->width ? k->inner - from : k->width;
    if (k->single)
      kerns()->cols_f32(k->n, w, k->inner, (const float *)(const void *)k->x + at,
                        (float *)(void *)k->y + at, k->log_);
    else
      kerns()->cols_f64(k->n, w, k->inner, (const double *)(const void *)k->x + at,
                        (double *)(void *)k->y + at, k->log_);
  }
}
static void run_cols(const Tensor *x, Tensor *y, int d, bool log_) {
  Cols k = {.x = mt_data(x), .y = mt_data(y), .n = x->size[d], .inner = 1,
            .single = x->dtype == MT_float32, .log_ = log_};
  for (int i = d + 1; i < x->ndim; i++) k.inner *= x->size[i];
  int64_t fits = 32768 / k.n / 16 * 16;    /* both strips in the second cache */
  k.width = fits < 16 ? 16 : fits < MT_SOFTMAX_COLS ? fits : MT_SOFTMAX_COLS;
  k.strips = (k.inner + k.width - 1) / k.width;
  mt_parallel(x->numel / k.n / k.inner * k.strips, 1 + 8192 / (k.n * k.width), softmax_cols, &k);
}
Tensor *k__softmax(Ctx *c, Tensor *self, int64_t dim, bool log_) {
  int d = mt_dim(c, dim, self->ndim);
  if (d < 0) return NULL;
  if (!mt_is_float(self->dtype))
    return mt_fail(c, "softmax is not implemented for %s", mt_dtypes[self->dtype].name);
  if (!self->numel) return mt_new_like(c, self, (DType)self->dtype);
  Tensor *x = mt_contig_as(c, self, self->dtype == MT_float64 ? MT_float64 : MT_float32);
  Tensor *y = x ? mt_new_like(c, x, (DType)x->dtype) : NULL;
  if (!y) return NULL;
  int64_t inner = 1;
  for (int i = d + 1; i < x->ndim; i++) inner *= x->size[i];
  if (inner > 1) {
    run_cols(x, y, d, log_);
    return mt_poll(c) ? NULL : mt_cast(c, y, (DType)self->dtype);
  }
  Rows r = {.x = mt_data(x),
            .y = mt_data(y),
            .n = x->ndim ? x->size[d] : 1,
            .single = x->dtype == MT_float32,
            .log_ = log_};
  mt_parallel(x->numel / r.n, 1 + 8192 / r.n, softmax_rows, &r);
  return mt_poll(c) ? NULL : mt_cast(c, y, (DType)self->dtype);
}
static Tensor *softmax(Ctx *c, Tensor *x, int64_t dim, int dtype, bool log_) {
  if (!x) return NULL;
  if (dtype < 0 && mt_is_int(x->dtype))
    return mt_fail(c, "softmax is not implemented for %s", mt_dtypes[x->dtype].name);
  return t__softmax(c, dtype < 0 ? x : to(c, x, dtype), dim, log_);
}
Tensor *k_softmax(Ctx *c, Tensor *self, int64_t dim, int dtype) {
  return softmax(c, self, dim, dtype, false);
}
Tensor *k_log_softmax(Ctx *c, Tensor *self, int64_t dim, int dtype) {
  return softmax(c, self, dim, dtype, true);
}
/* PyTorch's old choice of a dim that was not given. */
static int64_t old_dim(const Tensor *x, int64_t dim) {
  return dim != MT_NONE_INT ? dim : x->ndim == 0 || x->ndim == 1 || x->ndim == 3 ? 0 : 1;
}
Tensor *k_F_softmax(Ctx *c, Tensor *x, int64_t dim, int64_t level, int dtype) {
  return softmax(c, x, old_dim(x, dim), dtype, false);
}
Tensor *k_F_log_softmax(Ctx *c, Tensor *x, int64_t dim, int64_t level, int dtype) {
  return softmax(c, x, old_dim(x, dim), dtype, true);
}
Tensor *k_F_softmin(Ctx *c, Tensor *x, int64_t dim, int64_t level, int dtype) {
  return softmax(c, t_neg(c, x), old_dim(x, dim), dtype, false);
}

Tensor *k_tril(Ctx *c, Tensor *self, int64_t diagonal) { return t__tri(c, self, diagonal, false); }
Tensor *k_triu(Ctx *c, Tensor *self, int64_t diagonal) { return t__tri(c, self, diagonal, true); }
