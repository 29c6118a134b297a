/* act.c: activation functions (rows: ops_act.def): torch.nn.functional's forms with `inplace`, and those with more than a
 * kernel line. */
#include "iter.h"
#include "op.h"
#include "rng.h"
#include <string.h>

#define PICK(name, ...) (inplace ? t_##name##_(c, input, ##__VA_ARGS__) : t_##name(c, input, ##__VA_ARGS__))
Tensor *k_F_relu(Ctx *c, Tensor *input, bool inplace) { return PICK(relu); }
Tensor *k_F_relu6(Ctx *c, Tensor *input, bool inplace) { return PICK(hardtanh, mt_si(0), mt_si(6)); }
Tensor *k_F_hardtanh(Ctx *c, Tensor *input, Scalar min_val, Scalar max_val, bool inplace) {
  if (mt_sre(min_val) > mt_sre(max_val)) return mt_fail(c, "min_val cannot be greater than max_val");
  return PICK(hardtanh, min_val, max_val);
}
Tensor *k_F_leaky_relu(Ctx *c, Tensor *input, Scalar negative_slope, bool inplace) { return PICK(leaky_relu, negative_slope); }
Tensor *k_F_elu(Ctx *c, Tensor *input, Scalar alpha, bool inplace) { return PICK(elu, alpha); }
Tensor *k_F_celu(Ctx *c, Tensor *input, Scalar alpha, bool inplace) { return PICK(celu, alpha); }
Tensor *k_F_selu(Ctx *c, Tensor *input, bool inplace) { return PICK(selu); }
Tensor *k_F_silu(Ctx *c, Tensor *input, bool inplace) { return PICK(silu); }
Tensor *k_F_mish(Ctx *c, Tensor *input, bool inplace) { return PICK(mish); }
Tensor *k_F_hardsigmoid(Ctx *c, Tensor *input, bool inplace) { return PICK(hardsigmoid); }
Tensor *k_F_hardswish(Ctx *c, Tensor *input, bool inplace) { return PICK(hardswish); }
Tensor *k_F_threshold(Ctx *c, Tensor *input, Scalar threshold, Scalar value, bool inplace) {
  return PICK(threshold, threshold, value);
}
Tensor *k_F_rrelu(Ctx *c, Tensor *input, Scalar lower, Scalar upper, bool training, bool inplace) {
  return PICK(rrelu, lower, upper, training);
}
Tensor *k_F_gelu(Ctx *c, Tensor *input, const char *approximate) { return t_gelu(c, input, approximate); }
Tensor *k_F_logsigmoid(Ctx *c, Tensor *input) { return t_log_sigmoid(c, input); }
Tensor *k_F_tanh(Ctx *c, Tensor *input) { return t_tanh(c, input); }
Tensor *k_F_sigmoid(Ctx *c, Tensor *input) { return t_sigmoid(c, input); }

/* x where positive times scale, else alpha * scale * (exp(x * inner) - 1): kernel scalars alpha * scale, scale, inner. */
static Tensor *elu(Ctx *c, Tensor *x, double alpha, double scale, double inner) {
  const Scalar s[3] = {mt_sd(alpha * scale), mt_sd(scale), mt_sd(inner)};
  return mt_unary(c, U_elu, MT_P_SAME, x, s, 3);
}
Tensor *k_elu(Ctx *c, Tensor *self, Scalar alpha) { return elu(c, self, mt_sre(alpha), 1, 1); }
Tensor *k_celu(Ctx *c, Tensor *self, Scalar alpha) {
  double a = mt_sre(alpha);
  return a == 0 ? mt_fail(c, "ZeroDivisionError: alpha cannot be 0 for CELU") : elu(c, self, a, 1, 1 / a);
}
Tensor *k_selu(Ctx *c, Tensor *self) {
  return elu(c, self, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946, 1);
}
Tensor *k_gelu(Ctx *c, Tensor *self, const char *approximate) {
  bool tanh = !strcmp(approximate, "tanh");
  if (!tanh && strcmp(approximate, "none")) return mt_fail(c, "approximate argument must be either none or tanh.");
  return mt_unary(c, tanh ? U_gelu_tanh : U_gelu, MT_P_SAME, self, NULL, 0);
}
Tensor *k_F_softshrink(Ctx *c, Tensor *input, Scalar lambd) {
  if (!(mt_sre(lambd) >= 0)) return mt_fail(c, "lambda must be greater or equal to 0, but found to be %g.", mt_sre(lambd));
  return mt_unary(c, U_softshrink, MT_P_SAME, input, &lambd, 1);
}
Tensor *k_prelu(Ctx *c, Tensor *self, Tensor *weight) {
  if (self->dtype != weight->dtype)
    return mt_fail(c, "prelu: Type promoting not supported. Got %s and %s", mt_dtypes[self->dtype].name, mt_dtypes[weight->dtype].name);
  if (weight->ndim > 1)
    return mt_fail(c, "prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = %d", weight->ndim);
  if (weight->numel != 1) {
    if (self->ndim == 0) return mt_fail(c, "Not allow zero-dim input tensor.");
    int64_t channels = self->ndim > 1 ? self->size[1] : 1;
    if (channels != weight->numel)
      return mt_fail(c, "Mismatch of parameter numbers and input channel size. Found parameter numbers = %lld and channel size = %lld.",
                     (long long)weight->numel, (long long)channels);
  }
  int64_t size[MT_MAXDIM], stride[MT_MAXDIM];
  for (int i = 0; i < self->ndim; i++) size[i] = 1, stride[i] = 0;
  if (weight->numel != 1) size[1] = weight->numel, stride[1] = weight->stride[0];
  Tensor *w = mt_view(c, weight, self->ndim, size, stride, weight->offset);
  return w ? mt_binary(c, B_prelu, MT_P_ARITH, self, w, NULL, 0) : NULL;
}
/* The context's generator, made on first use with PyTorch's default seed. */
static Rng *generator(Ctx *c) {
  if (!c->rng) {
    c->rng = mt_calloc(sizeof(Rng));
    if (c->rng) mt_rng_manual_seed(c->rng, 67280421310721u);
    else mt_nomem(c);
  }
  return c->rng;
}
/* While training each element <= 0 draws its slope (PyTorch's order of draws: memory order). */
Tensor *k_rrelu(Ctx *c, Tensor *self, Scalar lower, Scalar upper, bool training) {
  double lo = mt_sre(lower), hi = mt_sre(upper);
  if (!(lo <= hi)) return mt_fail(c, "Lower bound should be less than or equal to the upper bound");
  if (!mt_is_float(self->dtype)) return mt_fail(c, "not implemented for '%s'", mt_type_word((DType)self->dtype));
  Scalar mean = mt_sd((lo + hi) / 2);
  if (!training) return mt_unary(c, U_leaky_relu, MT_P_SAME, self, &mean, 1);
  Tensor *x = mt_contig_as(c, self, MT_float64), *out = mt_new_like(c, self, MT_float64);
  if (!x || !out || mt_meta(self)) return out ? mt_cast(c, out, (DType)self->dtype) : NULL;
  Rng *g = generator(c);
  if (!g) return NULL;
  const double *a = mt_data(x);
  double *o = mt_data(out);
  for (int64_t i = 0; i < self->numel; i++) o[i] = a[i] <= 0 ? a[i] * (lo + (hi - lo) * mt_rng_unit(g)) : a[i];
  return mt_cast(c, out, (DType)self->dtype);
}
Tensor *k_F_glu(Ctx *c, Tensor *input, int64_t dim) {
  if (input->ndim == 0) return mt_fail(c, "glu does not support 0-dimensional tensors");
  int d = mt_dim(c, dim, input->ndim);
  if (d < 0) return NULL;
  int64_t n = input->size[d];
  if (n % 2) return mt_fail(c, "Halving dimension must be even, but dimension %d is size %lld", d, (long long)n);
  int64_t size[MT_MAXDIM];
  memcpy(size, input->size, sizeof(int64_t) * input->ndim);
  size[d] = n / 2;
  Tensor *a = mt_view(c, input, input->ndim, size, input->stride, input->offset);
  Tensor *b = mt_view(c, input, input->ndim, size, input->stride, input->offset + n / 2 * input->stride[d]);
  return a && b ? mt_binary(c, B_glu, MT_P_ARITH, a, b, NULL, 0) : NULL;
}
