/* act.c: activation functions (rows: ops_act.def): torch.nn.functional's forms with `inplace`, and
 * those with more than a kernel line. */
#include "iter.h"
#include "op.h"
#include <string.h>

#define PICK(name, ...)                                                                \
  (inplace ? t_##name##_(c, input, ##__VA_ARGS__) : t_##name(c, input, ##__VA_ARGS__))
Tensor *k_F_relu(Ctx *c, Tensor *input, bool inplace) { return PICK(relu); }
Tensor *k_F_relu6(Ctx *c, Tensor *input, bool inplace) {
  return PICK(hardtanh, mt_si(0), mt_si(6));
}
Tensor *k_F_hardtanh(Ctx *c, Tensor *input, Scalar min_val, Scalar max_val, bool inplace) {
  if (mt_sre(min_val) > mt_sre(max_val))
    return mt_fail(c, "min_val cannot be greater than max_val");
  return PICK(hardtanh, min_val, max_val);
}
Tensor *k_F_leaky_relu(Ctx *c, Tensor *input, Scalar negative_slope, bool inplace) {
  return PICK(leaky_relu, negative_slope);
}
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
Tensor *k_F_gelu(Ctx *c, Tensor *input, const char *approximate) {
  return t_gelu(c, input, approximate);
}
Tensor *k_F_logsigmoid(Ctx *c, Tensor *input) { return t_log_sigmoid(c, input); }
Tensor *k_F_tanh(Ctx *c, Tensor *input) { return t_tanh(c, input); }
Tensor *k_F_sigmoid(Ctx *c, Tensor *input) { return t_sigmoid(c, input); }

/* x where positive times scale, else alpha * scale * (exp(x * inner) - 1): kernel scalars alpha *
 * scale, scale, inner. */
static Tensor *elu(Ctx *c, Tensor *x, double alpha, double scale, double inner) {
  const Scalar s[3] = {mt_sd(alpha * scale), mt_sd(scale), mt_sd(inner)};
  return mt_unary(c, U_elu, MT_P_SAME, x, s, 3);
}
Tensor *k_elu(Ctx *c, Tensor *self, Scalar alpha) { return elu(c, self, mt_sre(alpha), 1, 1); }
Tensor *k_celu(Ctx *c, Tensor *self, Scalar alpha) {
  double a = mt_sre(alpha);
  return a == 0 ? mt_fail(c, "ZeroDivisionError: alpha cannot be 0 for CELU")
                : elu(c, self, a, 1, 1 / a);
}
Tensor *k_selu(Ctx *c, Tensor *self) {
  return elu(c, self, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946, 1);
}
Tensor *k_gelu(Ctx *c, Tensor *self, const char *approximate) {
  bool tanh = !strcmp(approximate, "tanh");
  if (!tanh && strcmp(approximate, "none"))
    return mt_fail(c, "approximate argument must be either none or tanh.");
  return mt_unary(c, tanh ? U_gelu_tanh : U_gelu, MT_P_SAME, self, NULL, 0);
}
Tensor *k_F_softshrink(Ctx *c, Tensor *input, Scalar lambd) {
  if (!(mt_sre(lambd) >= 0))
    return mt_fail(c, "lambda must be greater or equal to 0, but found to be %g.", mt_sre(lambd));
  return mt_unary(c, U_softshrink, MT_P_SAME, input, &lambd, 1);
}
Tensor *k_prelu(Ctx *c, Tensor *self, Tensor *weight) {
  if (self->dtype != weight->dtype)
    return mt_fail(c, "prelu: Type promoting not supported. Got %s and %s",
                   mt_dtypes[self->dtype].name, mt_dtypes[weight->dtype].name);
  if (weight->ndim > 1)
    return mt_fail(c, "prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = %d",
                   weight->ndim);
  if (weight->numel != 1) {
    if (self->ndim == 0) return mt_fail(c, "Not allow zero-dim input tensor.");
    int64_t channels = self->ndim > 1 ? self->size[1] : 1;
    if (channels != weight->numel)
      return mt_fail(c,
                     "Mismatch of parameter numbers and input channel size. Found parameter "
                     "numbers = %lld and channel size = %lld.",
                     (long long)weight->numel, (long long)channels);
  }
  int64_t size[MT_MAXDIM];
  for (int i = 0; i < self->ndim; i++) size[i] = 1;
  if (weight->numel != 1) size[1] = weight->numel;
  return t_prelu_kernel(c, self, t_reshape(c, weight, mt_il(size, self->ndim)));
}
/* While training every element <= 0 draws its slope. */
Tensor *k_rrelu(Ctx *c, Tensor *self, Scalar lower, Scalar upper, bool training) {
  double lo = mt_sre(lower), hi = mt_sre(upper);
  if (!(lo <= hi)) return mt_fail(c, "Lower bound should be less than or equal to the upper bound");
  if (!mt_is_float(self->dtype))
    return mt_fail(c, "not implemented for '%s'", mt_type_word((DType)self->dtype));
  if (!training) return t_leaky_relu(c, self, mt_sd((lo + hi) / 2));
  Tensor *slope = t_uniform_(c, mt_new_like(c, self, (DType)self->dtype), lo, hi, NULL);
  return t_mul(c, self,
               t_where(c, t_le(c, self, mt_wrap(c, mt_si(0))), slope, mt_wrap(c, mt_si(1))));
}
Tensor *k_F_glu(Ctx *c, Tensor *input, int64_t dim) {
  if (input->ndim == 0) return mt_fail(c, "glu does not support 0-dimensional tensors");
  int d = mt_dim(c, dim, input->ndim);
  if (d < 0) return NULL;
  int64_t n = input->size[d];
  if (n % 2)
    return mt_fail(c, "Halving dimension must be even, but dimension %d is size %lld", d,
                   (long long)n);
  return t__glu(c, input, d);
}
Tensor *k__glu(Ctx *c, Tensor *self, int64_t dim) {
  int d = self->ndim ? mt_dim(c, dim, self->ndim) : -1;
  int64_t n = d < 0 ? 0 : self->size[d];
  if (d < 0) return c->err ? NULL : mt_fail(c, "needs at least 1 dimension");
  return t_glu_kernel(c, t_narrow(c, self, d, 0, n / 2), t_narrow(c, self, d, n / 2, n - n / 2));
}
Tensor *k__glu_backward(Ctx *c, Tensor *grad, Tensor *self, int64_t dim) {
  int d = self->ndim ? mt_dim(c, dim, self->ndim) : -1;
  int64_t n = d < 0 ? 0 : self->size[d];
  if (d < 0) return c->err ? NULL : mt_fail(c, "needs at least 1 dimension");
  Tensor *a = t_narrow(c, self, d, 0, n / 2), *one = mt_wrap(c, mt_si(1));
  Tensor *gate = t_sigmoid(c, t_narrow(c, self, d, n / 2, n - n / 2)), *g = t_mul(c, grad, gate);
  Tensor *slope = t_mul(c, t_mul(c, g, a), t_sub(c, one, gate, mt_si(1)));
  Tensor *both[2] = {g, slope};
  return t_cat(c, (TensorList){both, 2}, d);
}

Tensor *k_F_relu_(Ctx *c, Tensor *input) { return t_relu_(c, input); }
Tensor *k_F_hardtanh_(Ctx *c, Tensor *input, Scalar min_val, Scalar max_val) {
  return t_F_hardtanh(c, input, min_val, max_val, true);
}
Tensor *k_F_leaky_relu_(Ctx *c, Tensor *input, Scalar slope) {
  return t_leaky_relu_(c, input, slope);
}
Tensor *k_F_elu_(Ctx *c, Tensor *input, Scalar alpha) { return t_elu_(c, input, alpha); }
Tensor *k_F_celu_(Ctx *c, Tensor *input, Scalar alpha) { return t_celu_(c, input, alpha); }
Tensor *k_F_selu_(Ctx *c, Tensor *input) { return t_selu_(c, input); }
Tensor *k_F_threshold_(Ctx *c, Tensor *input, Scalar threshold, Scalar value) {
  return t_threshold_(c, input, threshold, value);
}
Tensor *k_F_rrelu_(Ctx *c, Tensor *input, Scalar lower, Scalar upper, bool training) {
  return t_rrelu_(c, input, lower, upper, training);
}
Tensor *k_F_gumbel_softmax(Ctx *c, Tensor *logits, double tau, bool hard, double eps, int64_t dim) {
  if (!mt_is_float(logits->dtype))
    return mt_fail(c, "not implemented for '%s'", mt_type_word((DType)logits->dtype));
  int d = mt_dim(c, dim, logits->ndim);
  if (d < 0) return NULL;
  Tensor *e = t_exponential_(c, mt_new_like(c, logits, (DType)logits->dtype), 1, NULL);
  Tensor *noisy = t_div(c, t_sub(c, logits, t_log(c, e), mt_si(1)), mt_wrap(c, mt_sd(tau)), NULL);
  Tensor *soft = t_softmax(c, noisy, d, -1);
  if (!hard || !soft) return soft;
  Tensor *fixed = t_detach(c, soft), *zeros = t_zeros_like(c, fixed, -1, -1, -1, -1, false, -1);
  Tensor *one = t_scatter_value(c, zeros, d, t_argmax(c, fixed, d, true), mt_si(1));
  return t_add(c, t_sub(c, one, fixed, mt_si(1)), soft, mt_si(1));
}
