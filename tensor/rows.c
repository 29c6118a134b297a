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
/* x in float or double with dim last and contiguous. */
static Tensor *rows_of(Ctx *c, Tensor *x, int d) {
  Tensor *t = d == x->ndim - 1 ? x : t_transpose(c, x, d, -1);
  if (!t) return NULL;
  return mt_contig_as(c, t, x->dtype == MT_float64 ? MT_float64 : MT_float32);
}
Tensor *k__softmax(Ctx *c, Tensor *self, int64_t dim, bool log_) {
  int d = mt_dim(c, dim, self->ndim);
  if (d < 0) return NULL;
  if (!mt_is_float(self->dtype))
    return mt_fail(c, "softmax is not implemented for %s", mt_dtypes[self->dtype].name);
  if (!self->numel) return mt_new_like(c, self, (DType)self->dtype);
  Tensor *x = self->ndim
                  ? rows_of(c, self, d)
                  : mt_contig_as(c, self, self->dtype == MT_float64 ? MT_float64 : MT_float32);
  Tensor *y = x ? mt_new_like(c, x, (DType)x->dtype) : NULL;
  if (!y) return NULL;
  Rows r = {.x = mt_data(x),
            .y = mt_data(y),
            .n = x->ndim ? x->size[x->ndim - 1] : 1,
            .single = x->dtype == MT_float32,
            .log_ = log_};
  mt_parallel(x->numel / r.n, 1 + 8192 / r.n, softmax_rows, &r);
  if (mt_poll(c)) return NULL;
  y = mt_cast(c, y, (DType)self->dtype);
  return self->ndim && d != self->ndim - 1 && y ? mt_contig(c, t_transpose(c, y, d, -1)) : y;
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
