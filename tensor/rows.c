/* rows.c: kernels of ops_rows.def: softmax, layer norm, attention, triangles. */
#include "cpu.h"
#include "expr_rt.h"
#include "kern_rows.h"
#include "op.h"
#include <string.h>

#define LIST(...) mt_il((const int64_t[]){__VA_ARGS__}, (int64_t)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))
static Tensor *num(Ctx *c, double x) { return mt_wrap(c, mt_sd(x)); }
static Tensor *add(Ctx *c, Tensor *a, Tensor *b) { return t_add(c, a, b, mt_si(1)); }
static Tensor *sub(Ctx *c, Tensor *a, Tensor *b) { return t_sub(c, a, b, mt_si(1)); }
static Tensor *to(Ctx *c, Tensor *t, int dtype) { return t && t->dtype != dtype ? t_to_dtype(c, t, dtype, false, -1) : t; }

static const MtRowKerns *kerns(void) {
#ifdef __x86_64__
  static const MtRowKerns *const by_level[] = {&mt_row_kerns_base, &mt_row_kerns_avx2, &mt_row_kerns_avx512};
  return by_level[mt_cpu_level()];
#else
  return &mt_row_kerns_base;
#endif
}

/* A job over rows of n elements in float or double. */
typedef struct { const char *x, *w, *b; char *y, *mean, *rstd; int64_t n; bool single, log_; double eps; } Rows;

static void softmax_rows(void *ctx, int64_t lo, int64_t hi) {
  const Rows *r = ctx;
  for (int64_t i = lo; i < hi && !mt_interrupted; i++)
    if (r->single) kerns()->softmax_f32(r->n, (const float *)(const void *)r->x + i * r->n, (float *)(void *)r->y + i * r->n, r->log_);
    else kerns()->softmax_f64(r->n, (const double *)(const void *)r->x + i * r->n, (double *)(void *)r->y + i * r->n, r->log_);
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
  if (!mt_is_float(self->dtype)) return mt_fail(c, "softmax is not implemented for %s", mt_dtypes[self->dtype].name);
  if (!self->numel) return mt_new_like(c, self, (DType)self->dtype);
  Tensor *x = self->ndim ? rows_of(c, self, d) : mt_contig_as(c, self, self->dtype == MT_float64 ? MT_float64 : MT_float32);
  Tensor *y = x ? mt_new_like(c, x, (DType)x->dtype) : NULL;
  if (!y) return NULL;
  Rows r = {.x = mt_data(x), .y = mt_data(y), .n = x->ndim ? x->size[x->ndim - 1] : 1, .single = x->dtype == MT_float32, .log_ = log_};
  mt_parallel(x->numel / r.n, 1 + 8192 / r.n, softmax_rows, &r);
  if (mt_poll(c)) return NULL;
  y = mt_cast(c, y, (DType)self->dtype);
  return self->ndim && d != self->ndim - 1 && y ? mt_contig(c, t_transpose(c, y, d, -1)) : y;
}
static Tensor *softmax(Ctx *c, Tensor *x, int64_t dim, int dtype, bool log_) {
  if (dtype < 0 && mt_is_int(x->dtype)) return mt_fail(c, "softmax is not implemented for %s", mt_dtypes[x->dtype].name);
  return t__softmax(c, dtype < 0 ? x : to(c, x, dtype), dim, log_);
}
Tensor *k_softmax(Ctx *c, Tensor *self, int64_t dim, int dtype) { return softmax(c, self, dim, dtype, false); }
Tensor *k_log_softmax(Ctx *c, Tensor *self, int64_t dim, int dtype) { return softmax(c, self, dim, dtype, true); }
/* PyTorch's old choice of a dim that was not given. */
static int64_t old_dim(const Tensor *x, int64_t dim) { return dim != MT_NONE_INT ? dim : x->ndim == 0 || x->ndim == 1 || x->ndim == 3 ? 0 : 1; }
Tensor *k_F_softmax(Ctx *c, Tensor *x, int64_t dim, int64_t level, int dtype) { return softmax(c, x, old_dim(x, dim), dtype, false); }
Tensor *k_F_log_softmax(Ctx *c, Tensor *x, int64_t dim, int64_t level, int dtype) { return softmax(c, x, old_dim(x, dim), dtype, true); }
Tensor *k_F_softmin(Ctx *c, Tensor *x, int64_t dim, int64_t level, int dtype) { return softmax(c, t_neg(c, x), old_dim(x, dim), dtype, false); }

/* ---- normalisation ---- */
static void norm_rows(void *ctx, int64_t lo, int64_t hi) {
  const Rows *r = ctx;
  for (int64_t i = lo; i < hi && !mt_interrupted; i++)
    if (r->single)
      kerns()->norm_f32(r->n, (const float *)(const void *)r->x + i * r->n, (const float *)(const void *)r->w,
                        (const float *)(const void *)r->b, (float *)(void *)r->y + i * r->n, r->eps, (float *)(void *)r->mean + i,
                        (float *)(void *)r->rstd + i);
    else
      kerns()->norm_f64(r->n, (const double *)(const void *)r->x + i * r->n, (const double *)(const void *)r->w,
                        (const double *)(const void *)r->b, (double *)(void *)r->y + i * r->n, r->eps, (double *)(void *)r->mean + i,
                        (double *)(void *)r->rstd + i);
}
void k__layer_norm(Ctx *c, Tensor *input, Tensor *weight, Tensor *bias, double eps, Val *out) {
  DType d = input->dtype == MT_float64 ? MT_float64 : MT_float32;
  int64_t m = input->size[0], n = input->size[1];
  Tensor *x = mt_contig_as(c, input, d), *w = weight ? mt_contig_as(c, weight, d) : NULL, *b = bias ? mt_contig_as(c, bias, d) : NULL;
  Tensor *y = mt_new(c, LIST(m, n), d, MT_CPU), *mean = mt_new(c, LIST(m, 1), d, MT_CPU), *rstd = mt_new(c, LIST(m, 1), d, MT_CPU);
  if (c->err) return;
  Rows r = {mt_data(x), w ? mt_data(w) : NULL, b ? mt_data(b) : NULL, mt_data(y), mt_data(mean), mt_data(rstd), n, d == MT_float32, false, eps};
  if (n) mt_parallel(m, 1 + 8192 / n, norm_rows, &r);
  if (mt_poll(c)) return;
  out[0].t = mt_cast(c, y, (DType)input->dtype);
  out[1].t = mean;
  out[2].t = rstd;
}
/* While a graph is made of the backward pass, the statistics are computed again so that they are part of it. */
static void fresh_stats(Ctx *c, Tensor *x, double eps, Tensor **mean, Tensor **rstd) {
  if (!c->grad_mode) return;
  *mean = t_mean_dim(c, x, LIST(1), true, -1);
  Tensor *d = sub(c, x, *mean);
  *rstd = t_rsqrt(c, add(c, t_mean_dim(c, t_mul(c, d, d), LIST(1), true, -1), num(c, eps)));
}
Tensor *k__layer_norm_hat(Ctx *c, Tensor *input, Tensor *mean, Tensor *rstd, double eps) {
  int dt = input->dtype;
  fresh_stats(c, input, eps, &mean, &rstd);
  return to(c, t_mul(c, sub(c, input, mean), rstd), dt);
}
Tensor *k__layer_norm_backward(Ctx *c, Tensor *grad, Tensor *input, Tensor *weight, Tensor *mean, Tensor *rstd, double eps) {
  int dt = input->dtype;
  fresh_stats(c, input, eps, &mean, &rstd);
  Tensor *g = weight ? t_mul(c, grad, weight) : grad, *hat = t_mul(c, sub(c, input, mean), rstd);
  Tensor *a = t_mean_dim(c, g, LIST(1), true, -1), *b = t_mean_dim(c, t_mul(c, g, hat), LIST(1), true, -1);
  return to(c, t_mul(c, sub(c, sub(c, g, a), t_mul(c, hat, b)), rstd), dt);
}
/* The product of the sizes in shape, which must be the input's last ones; -1 and an error. */
static int64_t inner_size(Ctx *c, const Tensor *x, IntList shape, const Tensor *w, const Tensor *b) {
  int64_t n = 1;
  bool ok = shape.n >= 1 && shape.n <= x->ndim;
  for (int64_t i = 0; ok && i < shape.n; i++) { ok = shape.v[i] == x->size[x->ndim - shape.n + i]; n *= shape.v[i]; }
  for (int k = 0; ok && k < 2; k++) {
    const Tensor *t = k ? b : w;
    if (t) ok = t->ndim == shape.n && !memcmp(t->size, shape.v, sizeof(int64_t) * (size_t)shape.n);
  }
  if (ok && !mt_is_int(x->dtype)) return n;
  mt_fail(c, "input of shape %s (%s), normalized_shape %s and weight do not fit", mt_list_str(c, mt_sizes(x)), mt_dtypes[x->dtype].name, mt_list_str(c, shape));
  return -1;
}
Tensor *k_F_layer_norm(Ctx *c, Tensor *input, IntList shape, Tensor *weight, Tensor *bias, double eps) {
  Val r[3];
  int64_t n = inner_size(c, input, shape, weight, bias);
  if (n < 0) return NULL;
  if (mt_is_complex(input->dtype)) return mt_fail(c, "layer norm is not implemented for %s", mt_dtypes[input->dtype].name);
  Tensor *x = t_reshape(c, input, LIST(n ? input->numel / n : 0, n));
  t__layer_norm(c, x, weight ? t_reshape(c, weight, LIST(n)) : NULL, bias ? t_reshape(c, bias, LIST(n)) : NULL, eps, r);
  return c->err ? NULL : t_reshape(c, r[0].t, mt_sizes(input));
}
Tensor *k_F_rms_norm(Ctx *c, Tensor *input, IntList shape, Tensor *weight, Scalar eps) {
  int64_t n = inner_size(c, input, shape, weight, NULL), dims[MT_MAXDIM];
  if (n < 0) return NULL;
  for (int64_t i = 0; i < shape.n; i++) dims[i] = input->ndim - shape.n + i;
  bool half = input->dtype == MT_float16 || input->dtype == MT_bfloat16;
  Tensor *x = half ? to(c, input, MT_float32) : input;
  double e = mt_has(eps) ? mt_sre(eps) : input->dtype == MT_float64 ? 2.220446049250313e-16 : 1.1920928955078125e-07;
  Tensor *ms = t_mean_dim(c, t_mul(c, x, x), mt_il(dims, shape.n), true, -1);
  Tensor *y = t_mul(c, x, t_rsqrt(c, add(c, ms, num(c, e))));
  return to(c, weight ? t_mul(c, y, weight) : y, input->dtype);
}
Tensor *k_F_group_norm(Ctx *c, Tensor *input, int64_t groups, Tensor *weight, Tensor *bias, double eps) {
  Val r[3];
  if (input->ndim < 2 || groups < 1 || input->size[1] % groups)
    return mt_fail(c, "input of shape %s cannot be cut into %lld groups of channels", mt_list_str(c, mt_sizes(input)), (long long)groups);
  int64_t ch = input->size[1], rows = input->size[0] * groups, per[MT_MAXDIM];
  for (int i = 0; i < input->ndim; i++) per[i] = i == 1 ? ch : 1;
  if ((weight && (weight->ndim != 1 || weight->numel != ch)) || (bias && (bias->ndim != 1 || bias->numel != ch)))
    return mt_fail(c, "weight and bias must have %lld elements", (long long)ch);
  t__layer_norm(c, t_reshape(c, input, LIST(rows, rows ? input->numel / rows : 0)), NULL, NULL, eps, r);
  Tensor *y = c->err ? NULL : t_reshape(c, r[0].t, mt_sizes(input));
  if (weight) y = t_mul(c, y, t_reshape(c, weight, mt_il(per, input->ndim)));
  return bias ? add(c, y, t_reshape(c, bias, mt_il(per, input->ndim))) : y;
}

Tensor *k_tril(Ctx *c, Tensor *self, int64_t diagonal) { return t__tri(c, self, diagonal, false); }
Tensor *k_triu(Ctx *c, Tensor *self, int64_t diagonal) { return t__tri(c, self, diagonal, true); }
