/* stats.c: products, extremes, variances and their kin: the rest of ops_reduce.def. */
#include "iter.h"
#include "op.h"
#include "reduce.h"
#include <math.h>
#include <string.h>

static Tensor *num(Ctx *c, double v) { return mt_wrap(c, mt_sd(v)); }
static int64_t count(const Tensor *x, uint64_t mask) {
  int64_t n = 1;
  for (int i = 0; i < x->ndim; i++) if (mask >> i & 1) n *= x->size[i];
  return n;
}

static Tensor *product(Ctx *c, Tensor *self, uint64_t mask, bool keepdim, int dtype) {
  DType d = dtype >= 0 ? (DType)dtype : mt_is_int(self->dtype) ? MT_int64 : (DType)self->dtype;
  if (c->err) return NULL;
  if (dtype >= 0) self = mt_cast(c, self, d);
  return self ? mt_reduce(c, R_prod, self, mask, keepdim, d) : NULL;
}
Tensor *k_prod(Ctx *c, Tensor *self, int dtype) {
  return product(c, self, mt_dim_mask(c, mt_ilnone(), self->ndim), false, dtype);
}
Tensor *k_prod_dim(Ctx *c, Tensor *self, int64_t dim, bool keepdim, int dtype) {
  return product(c, self, mt_dim_mask(c, mt_il(&dim, 1), self->ndim), keepdim, dtype);
}
/* Each gradient is grad times the product of the others, from the products before and after it. */
Tensor *k_prod_backward(Ctx *c, Tensor *grad, Tensor *self, int64_t dim, bool keepdim,
                        Tensor *result) {
  if (dim == MT_NONE_INT) {
    Tensor *flat = t_reshape(c, self, mt_il((int64_t[]){-1}, 1));
    return t_reshape(c, k_prod_backward(c, grad, flat, 0, false, result), mt_sizes(self));
  }
  if (!self->ndim) return grad;
  int d = mt_dim(c, dim, self->ndim);
  if (d < 0) return NULL;
  if (!keepdim) grad = t_unsqueeze(c, grad, d);
  int64_t n = self->size[d], one = 1;
  if (n == 0) return t_zeros_like(c, self, -1, -1, -1, -1, false, -1);
  Tensor *zero = t_any(c, t_eq(c, self, mt_wrap(c, mt_si(0))));
  if (zero && !mt_meta(zero) && !mt_sint(mt_item(c, zero)))
    return t_mul(c, grad, t_conj(c, t_div(c, keepdim ? result : t_unsqueeze(c, result, d), self,
                                          NULL)));
  int64_t shape[MT_MAXDIM];
  memcpy(shape, self->size, sizeof(int64_t) * self->ndim);
  shape[d] = one;
  Tensor *ones = t_new_ones(c, self, mt_il(shape, self->ndim), -1, -1, -1, -1, false);
  Tensor *before[2] = {ones, t_narrow(c, self, d, 0, n - 1)},
         *rest = t_flip(c, t_narrow(c, self, d, 1, n - 1), mt_il((int64_t[]){d}, 1)),
         *after[2] = {ones, rest};
  Tensor *a = t_cumprod(c, t_cat(c, (TensorList){before, 2}, d), d, -1);
  Tensor *b =
      t_flip(c, t_cumprod(c, t_cat(c, (TensorList){after, 2}, d), d, -1), mt_il((int64_t[]){d}, 1));
  return t_mul(c, grad, t_conj(c, t_mul(c, a, b)));
}

static Tensor *extreme(Ctx *c, Tensor *self, RedKind k, IntList dim, bool keepdim) {
  uint64_t m = mt_dim_mask(c, dim, self->ndim);
  if (c->err) return NULL;
  if (mt_is_complex(self->dtype))
    return mt_fail(c, "not implemented for '%s'", mt_type_word((DType)self->dtype));
  if (count(self, m) == 0) {
    for (int i = 0; i < self->ndim; i++)
      if ((m >> i & 1) && self->size[i] == 0)
        return mt_fail(c, "dimension %d has no elements to choose from", i);
  }
  return mt_reduce(c, k, self, m, keepdim, (DType)self->dtype);
}
Tensor *k_amax(Ctx *c, Tensor *self, IntList dim, bool keepdim) {
  return extreme(c, self, R_max, dim, keepdim);
}
Tensor *k_amin(Ctx *c, Tensor *self, IntList dim, bool keepdim) {
  return extreme(c, self, R_min, dim, keepdim);
}
void k_aminmax(Ctx *c, Tensor *self, int64_t dim, bool keepdim, Val *r) {
  IntList l = dim == MT_NONE_INT ? mt_il(NULL, 0) : mt_il(&dim, 1);
  r[0].t = t_amin(c, self, l, keepdim);
  r[1].t = t_amax(c, self, l, keepdim);
}
static Tensor *unreduce(Ctx *c, Tensor *t, uint64_t mask, int ndim, bool keepdim) {
  for (int i = 0; i < ndim && !keepdim && t; i++) if (mask >> i & 1) t = t_unsqueeze(c, t, i);
  return t;
}
Tensor *k_extreme_backward(Ctx *c, Tensor *grad, Tensor *self, IntList dim, bool keepdim,
                           Tensor *result) {
  uint64_t m = mt_dim_mask(c, dim, self->ndim);
  int64_t dims[MT_MAXDIM];
  int n = 0;
  for (int i = 0; i < self->ndim; i++) if (m >> i & 1) dims[n++] = i;
  grad = unreduce(c, grad, m, self->ndim, keepdim);
  result = unreduce(c, result, m, self->ndim, keepdim);
  Tensor *hit = t_to_dtype(c, t_eq(c, self, result), grad ? grad->dtype : MT_float32, false, -1);
  if (!self->ndim) return t_mul(c, grad, hit);
  return t_mul(c, t_div(c, grad, t_sum_dim(c, hit, mt_il(dims, n), true, -1), NULL), hit);
}

Tensor *k_count_nonzero(Ctx *c, Tensor *self, IntList dim) {
  uint64_t m = mt_dim_mask(c, dim, self->ndim);
  return c->err ? NULL : mt_reduce(c, R_nnz, self, m, false, MT_int64);
}
Tensor *k_nan_to_zero(Ctx *c, Tensor *self) {
  if (mt_is_complex(self->dtype)) return mt_fail(c, "does not support complex inputs");
  return mt_is_int(self->dtype) ? self : t_masked_fill(c, self, t_isnan(c, self), mt_si(0));
}
/* The expression of nansum in one pass. */
Tensor *k_nansum(Ctx *c, Tensor *self, IntList dim, bool keepdim, int dtype) {
  if (mt_is_complex(self->dtype)) return mt_fail(c, "does not support complex inputs");
  if (mt_is_int(self->dtype) || dtype >= 0)
    return t_sum_dim(c, t_nan_to_zero(c, self), dim, keepdim, dtype);
  uint64_t m = mt_dim_mask(c, dim, self->ndim);
  return c->err ? NULL : mt_reduce(c, R_sumnum, self, m, keepdim, (DType)self->dtype);
}
Tensor *k__count_numbers(Ctx *c, Tensor *self, IntList dim, bool keepdim) {
  uint64_t m = mt_dim_mask(c, dim, self->ndim);
  return c->err ? NULL : mt_reduce(c, R_nums, self, m, keepdim, MT_int64);
}
Tensor *k_nansum_backward(Ctx *c, Tensor *grad, Tensor *self, IntList dim, bool keepdim) {
  grad = unreduce(c, grad, mt_dim_mask(c, dim, self->ndim), self->ndim, keepdim);
  return t_masked_fill(c, t_expand(c, grad, mt_sizes(self), false), t_isnan(c, self), mt_si(0));
}
Tensor *k_nanmean(Ctx *c, Tensor *self, IntList dim, bool keepdim, int dtype) {
  if (mt_is_int(self->dtype))
    return mt_fail(c, "expects a floating point or complex tensor, got %s",
                   mt_dtypes[self->dtype].name);
  Tensor *n = t__count_numbers(c, self, dim, keepdim), *s = t_nansum(c, self, dim, keepdim, dtype);
  return t_div(c, s, n, NULL);
}

/* ---- variances ---- */

/* Complex numbers vary by both their parts; two passes over each slice, as seen from its first
 * number: a slice of equal ones has no deviation at all.  The whole tensor's is as PyTorch's, where
 * the mean's rounding shows. */
typedef struct { double correction; bool shift; Tensor *out; } VarCtx;
static void var_row(void *ctx, void *row, int64_t n, int64_t i) {
  VarCtx *v = ctx;
  const double *x = row;
  double dev = 0, div = (double)n - v->correction;
  for (int k = 0; k < 2; k++) {
    double from = n && v->shift ? x[k] : 0, mean = 0;
    for (int64_t j = 0; j < n; j++) mean += x[j * 2 + k] - from;
    mean /= (double)n;
    for (int64_t j = 0; j < n; j++) {
      double d = x[j * 2 + k] - from - mean;
      dev += d * d;
    }
  }
  mt_store((char *)mt_data(v->out) + i * (int64_t)mt_dsize(v->out->dtype), (DType)v->out->dtype,
           mt_sd(dev / (div > 0 ? div : 0)));
}
Tensor *k_var(Ctx *c, Tensor *self, IntList dim, Scalar correction, bool keepdim) {
  int64_t shape[MT_MAXDIM];
  if (mt_is_int(self->dtype))
    return mt_fail(c, "only floating point and complex dtypes are supported, got %s",
                   mt_dtypes[self->dtype].name);
  uint64_t m = mt_dim_mask(c, dim, self->ndim);
  if (c->err) return NULL;
  double less = mt_has(correction) ? mt_sre(correction) : 1;
  DType real = mt_real_dtype((DType)self->dtype);
  if (mt_is_complex(self->dtype)) {
    int nd = mt_reduced_shape(self, m, keepdim, shape);
    VarCtx v = {less, m != mt_dim_mask(c, mt_ilnone(), self->ndim),
                mt_new(c, mt_il(shape, nd), real, MT_CPU)};
    return v.out && mt_each_row(c, self, m, MT_complex128, var_row, &v) ? v.out : NULL;
  }
  return mt_reduce_as(c, R_var, self, m, keepdim, real, less, RE_var);
}
static Scalar corr(bool unbiased) { return mt_si(unbiased ? 1 : 0); }
Tensor *k_var_unbiased(Ctx *c, Tensor *self, bool u) {
  return t_var(c, self, mt_ilnone(), corr(u), false);
}
Tensor *k_var_dim(Ctx *c, Tensor *self, IntList dim, bool u, bool keepdim) {
  return t_var(c, self, dim, corr(u), keepdim);
}
Tensor *k_std(Ctx *c, Tensor *self, IntList dim, Scalar correction, bool keepdim) {
  return t_sqrt(c, t_var(c, self, dim, correction, keepdim));
}
Tensor *k_std_unbiased(Ctx *c, Tensor *self, bool u) {
  return t_std(c, self, mt_ilnone(), corr(u), false);
}
Tensor *k_std_dim(Ctx *c, Tensor *self, IntList dim, bool u, bool keepdim) {
  return t_std(c, self, dim, corr(u), keepdim);
}
void k_var_mean(Ctx *c, Tensor *self, IntList dim, Scalar correction, bool keepdim, Val *r) {
  r[0].t = t_var(c, self, dim, correction, keepdim);
  r[1].t = t_mean_dim(c, self, dim, keepdim, -1);
}
void k_var_mean_unbiased(Ctx *c, Tensor *self, bool u, Val *r) {
  k_var_mean(c, self, mt_ilnone(), corr(u), false, r);
}
void k_var_mean_dim(Ctx *c, Tensor *self, IntList dim, bool u, bool keepdim, Val *r) {
  k_var_mean(c, self, dim, corr(u), keepdim, r);
}
void k_std_mean(Ctx *c, Tensor *self, IntList dim, Scalar correction, bool keepdim, Val *r) {
  r[0].t = t_std(c, self, dim, correction, keepdim);
  r[1].t = t_mean_dim(c, self, dim, keepdim, -1);
}
void k_std_mean_unbiased(Ctx *c, Tensor *self, bool u, Val *r) {
  k_std_mean(c, self, mt_ilnone(), corr(u), false, r);
}
void k_std_mean_dim(Ctx *c, Tensor *self, IntList dim, bool u, bool keepdim, Val *r) {
  k_std_mean(c, self, dim, corr(u), keepdim, r);
}
Tensor *k_var_backward(Ctx *c, Tensor *grad, Tensor *self, IntList dim, Scalar correction,
                       bool keepdim) {
  uint64_t m = mt_dim_mask(c, dim, self->ndim);
  double n = (double)count(self, m) - (mt_has(correction) ? mt_sre(correction) : 1);
  grad = unreduce(c, grad, m, self->ndim, keepdim);
  return t_mul(
      c, grad,
      t_mul(c, t_sub(c, self, t_mean_dim(c, self, dim, true, -1), mt_si(1)), num(c, 2 / n)));
}

/* ---- logsumexp ---- */
Tensor *k_logsumexp(Ctx *c, Tensor *self, IntList dim, bool keepdim) {
  if (mt_is_int(self->dtype)) self = mt_cast(c, self, c->default_dtype);
  uint64_t m = mt_dim_mask(c, dim, self->ndim);
  if (c->err) return NULL;
  bool empty = count(self, m) == 0;
  if (empty || mt_is_complex(self->dtype)) {
    Tensor *re = mt_is_complex(self->dtype) ? t_real(c, self) : self;
    if (empty) return t_log(c, t_sum_dim(c, t_exp(c, self), dim, keepdim, -1));
    Tensor *big = t_amax(c, re, dim, true);
    big = t_masked_fill(c, big, t_eq(c, t_abs(c, big), num(c, INFINITY)), mt_si(0));
    Tensor *s = t_log(c, t_sum_dim(c, t_exp(c, t_sub(c, self, big, mt_si(1))), dim, true, -1));
    s = t_add(c, s, big, mt_si(1));
    return keepdim || !self->ndim ? s : t_squeeze_dim(c, s, dim);
  }
  return mt_reduce_as(c, R_lse, self, m, keepdim, (DType)self->dtype, 0, RE_lse);
}
Tensor *k_logsumexp_backward(Ctx *c, Tensor *grad, Tensor *self, IntList dim, bool keepdim,
                             Tensor *result) {
  uint64_t m = mt_dim_mask(c, dim, self->ndim);
  grad = unreduce(c, grad, m, self->ndim, keepdim);
  result = unreduce(c, result, m, self->ndim, keepdim);
  return t_mul(c, grad, t_conj(c, t_exp(c, t_sub(c, self, result, mt_si(1)))));
}

Tensor *k_cov(Ctx *c, Tensor *self, int64_t correction, Tensor *fw, Tensor *aw) {
  if (self->ndim > 2) return mt_fail(c, "expects at most 2 dimensions, got %d", self->ndim);
  if (self->dtype == MT_bool) return mt_fail(c, "bool dtype is not supported");
  Tensor *x = self->ndim < 2
                  ? t_view(c, t_contiguous(c, self, -1), mt_il((int64_t[]){1, self->numel}, 2))
                  : self;
  if (!x) return NULL;
  int64_t n = x->size[1];
  Tensor *w = NULL;
  for (int k = 0; k < 2; k++) {
    Tensor *t = k ? aw : fw;
    if (!t) continue;
    if (t->ndim > 1)
      return mt_fail(c, "%s must have at most 1 dimension", k ? "aweights" : "fweights");
    if (k ? !mt_is_float(t->dtype) : !mt_is_int(t->dtype) || t->dtype == MT_bool)
      return mt_fail(c, "%s must be %s, got %s", k ? "aweights" : "fweights",
                     k ? "floating point" : "integers", mt_dtypes[t->dtype].name);
    if (t->numel != n)
      return mt_fail(c, "%s must have one entry per observation (%lld), got %lld",
                     k ? "aweights" : "fweights", (long long)n, (long long)t->numel);
    Tensor *low = t_any(c, t_lt(c, t, mt_wrap(c, mt_si(0))));
    if (low && mt_sint(mt_item(c, low)))
      return mt_fail(c, "%s cannot be negative", k ? "aweights" : "fweights");
    w = w ? t_mul(c, w, t) : t;
  }
  if (mt_is_int(x->dtype)) x = t_to_dtype(c, x, c->default_dtype, false, -1);
  Tensor *total = w ? t_sum(c, w, -1) : mt_wrap(c, mt_si(n)), *mean, *norm;
  if (w && n && mt_sre(mt_item(c, total)) == 0) return mt_fail(c, "the weights sum to zero");
  mean = w ? t_div(c, t_sum_dim(c, t_mul(c, x, w), mt_il((int64_t[]){1}, 1), true, -1), total, NULL)
           : t_div(c, t_sum_dim(c, x, mt_il((int64_t[]){1}, 1), true, -1), num(c, (double)n), NULL);
  if (aw && correction != 0)
    norm = t_sub(c, total,
                 t_div(c, t_mul(c, t_sum(c, t_mul(c, w, aw), -1), mt_wrap(c, mt_si(correction))),
                       total, NULL),
                 mt_si(1));
  else norm = t_sub(c, total, mt_wrap(c, mt_si(correction)), mt_si(1));
  norm = t_clamp_min(c, norm, mt_wrap(c, mt_si(0)));
  Tensor *d = t_sub(c, x, mean, mt_si(1));
  Tensor *m = t_mm(c, d, t_t(c, t_conj(c, w ? t_mul(c, d, w) : d)));
  return t_squeeze(c, t_div(c, m, norm, NULL));
}

bool k_allclose(Ctx *c, Tensor *self, Tensor *other, double rtol, double atol, bool equal_nan) {
  Tensor *t = t_all(c, t_isclose(c, self, other, rtol, atol, equal_nan));
  return t && mt_sint(mt_item(c, t));
}
bool k_equal(Ctx *c, Tensor *self, Tensor *other) {
  if (self->ndim != other->ndim || memcmp(self->size, other->size, sizeof(int64_t) * self->ndim))
    return false;
  /* in growing parts, of which the first that differs ends it */
  bool flat = mt_is_contiguous(self) && mt_is_contiguous(other) && self->numel > 1 << 15;
  IntList all = mt_il((int64_t[]){-1}, 1);
  Tensor *a = flat ? t_view(c, self, all) : self, *b = flat ? t_view(c, other, all) : other;
  for (int64_t at = 0, n = flat ? 1 << 14 : self->numel; !at || at < self->numel; at += n, n *= 8) {
    if (n > self->numel - at) n = self->numel - at;
    Tensor *x = flat ? t_narrow(c, a, 0, at, n) : a, *y = flat ? t_narrow(c, b, 0, at, n) : b;
    Tensor *t = t_all(c, t_eq(c, x, y));
    if (!t || !mt_sint(mt_item(c, t))) return false;
    if (!flat) break;
  }
  return true;
}
