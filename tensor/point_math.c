/* point_math.c: elementwise mathematics that needs a word before (or instead of) its kernel line:
 * dtype rules beyond the common ones, checks of arguments, several kernels in one op. */
#include "iter.h"
#include "op.h"
#include <float.h>
#include <math.h>
#include <string.h>

static DType common(Ctx *c, Tensor *a, Tensor *b) {
  return mt_result_type(c, (Tensor *[]){a, b}, 2);
}

/* ---- division ---- */

static void zero_loop(char **p, const int64_t *s, int64_t n, const void *par) {
  _Atomic int *found = *(_Atomic int *const *)par;
  for (int64_t i = 0; i < n; i++)
    if (*(const int64_t *)(p[0] + i * s[0]) == 0) {
      *found = 1;
      return;
    }
}
/* Integers divide by zero nowhere: an error before the loop. */
static bool divisor_ok(Ctx *c, Tensor *other, DType d) {
  if (!mt_is_int(d) || mt_meta(other)) return true;
  _Atomic int found = 0, *at = &found;
  Iter it;
  if (!mt_iter_init(c, &it, 0, 1, &other, (const DType[]){MT_int64})) return false;
  mt_iter_run(c, &it, zero_loop, &at);
  if (found) mt_fail(c, "ZeroDivisionError");
  return !found;
}
static Tensor *int_checked(Ctx *c, int kernel, Tensor *x, Tensor *y) {
  DType d = common(c, x, y);
  if (d == MT_bool) return mt_fail(c, "not implemented for 'Bool'");
  return divisor_ok(c, y, d) ? mt_binary(c, kernel, MT_P_ARITH, x, y, NULL, 0) : NULL;
}
Tensor *k_div(Ctx *c, Tensor *self, Tensor *other, const char *rounding_mode) {
  if (!rounding_mode) return mt_binary(c, B_div_true, MT_P_FLOAT, self, other, NULL, 0);
  if (!strcmp(rounding_mode, "trunc")) return int_checked(c, B_div_trunc, self, other);
  if (!strcmp(rounding_mode, "floor")) return int_checked(c, B_div_floor, self, other);
  return mt_fail(c,
                 "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '%s'",
                 rounding_mode);
}
Tensor *k_floor_divide(Ctx *c, Tensor *self, Tensor *other) {
  return int_checked(c, B_div_floor, self, other);
}
Tensor *k_fmod(Ctx *c, Tensor *self, Tensor *other) { return int_checked(c, B_fmod, self, other); }
Tensor *k_remainder(Ctx *c, Tensor *self, Tensor *other) {
  return int_checked(c, B_remainder, self, other);
}

/* ---- powers ---- */

Tensor *k_pow(Ctx *c, Tensor *self, Tensor *exponent) {
  DType d = common(c, self, exponent);
  if (!(exponent->flags & MT_WRAPPED) || mt_meta(exponent) || self->flags & MT_WRAPPED)
    return mt_binary(c, B_pow, MT_P_ARITH, self, exponent, NULL, 0);
  Scalar e = mt_item(c, exponent);
  if (c->err) return NULL;
  if (mt_is_int(d) && mt_sre(e) < 0)
    return mt_fail(c, "Integers to negative integer powers are not allowed.");
  /* an exponent that changes the dtype goes the general way */
  if (d != (DType)self->dtype || d == MT_bool)
    return mt_binary(c, B_pow, MT_P_ARITH, self, exponent, NULL, 0);
  if (mt_is_complex(d) && e.im == 0 && mt_sre(e) == 2)
    return mt_binary(c, B_mul, MT_P_ARITH, self, self, NULL, 0);
  if (mt_is_complex(d) && e.im == 0 && mt_sre(e) == 0.5)
    return mt_unary(c, U_sqrt, MT_P_SAME, self, NULL, 0);
  return mt_unary(c, U_pow_scalar, MT_P_SAME, self, &e, 1);
}
Tensor *k_float_power(Ctx *c, Tensor *self, Tensor *exponent) {
  DType d = mt_is_complex(common(c, self, exponent)) ? MT_complex128 : MT_float64;
  Tensor *e = exponent->flags & MT_WRAPPED ? exponent : t_to_dtype(c, exponent, d, false, -1);
  return t_pow(c, t_to_dtype(c, self, d, false, -1), e);
}
Tensor *k_ldexp(Ctx *c, Tensor *self, Tensor *other) {
  return t_mul(c, self, t_pow(c, mt_wrap(c, mt_sd(2)), other));
}

/* ---- rounding and parts ---- */

static Tensor *need_real(Ctx *c, Tensor *t) {
  if (mt_is_complex(t->dtype)) return mt_fail(c, "not supported for complex inputs");
  return t;
}
Tensor *k_round(Ctx *c, Tensor *self, int64_t decimals) {
  if (!need_real(c, self)) return NULL;
  if (decimals == 0 || mt_is_int(self->dtype))
    return mt_unary(c, U_round, MT_P_SAME, self, NULL, 0);
  Scalar ten = mt_sd(pow(10, fabs((double)decimals)));
  return mt_unary(c, decimals < 0 ? U_round_div : U_round_mul, MT_P_SAME, self, &ten, 1);
}
Tensor *k_angle(Ctx *c, Tensor *self) {
  if (mt_is_int(self->dtype)) self = mt_cast(c, self, c->default_dtype);
  return self ? mt_unary(c, U_angle, MT_P_ABS, self, NULL, 0) : NULL;
}
Tensor *k_nan_to_num(Ctx *c, Tensor *self, Scalar nan, Scalar posinf, Scalar neginf) {
  static const double max[] = {[MT_float16] = 65504,     [MT_bfloat16] = 3.3895313892515355e38,
                               [MT_float32] = FLT_MAX,   [MT_float64] = DBL_MAX,
                               [MT_complex64] = FLT_MAX, [MT_complex128] = DBL_MAX};
  double m = self->dtype >= MT_float16 ? max[self->dtype] : 0;
  Scalar s[3] = {mt_sd(mt_has(nan) ? mt_sre(nan) : 0), mt_sd(mt_has(posinf) ? mt_sre(posinf) : m),
                 mt_sd(mt_has(neginf) ? mt_sre(neginf) : -m)};
  return mt_unary(c, U_nan_to_num, MT_P_SAME, self, s, 3);
}
static void frexp_loop(char **p, const int64_t *s, int64_t n, const void *par) {
  for (int64_t i = 0; i < n; i++) {
    int e = 0;
    double x = *(const double *)(p[2] + i * s[2]);
    *(double *)(p[0] + i * s[0]) = frexp(x, &e);
    *(int32_t *)(p[1] + i * s[1]) = isfinite(x) ? e : 0;
  }
}
void k_frexp(Ctx *c, Tensor *self, Val *r) {
  if (!mt_is_float(self->dtype)) {
    mt_fail(c, "torch.frexp() only supports floating-point dtypes");
    return;
  }
  Tensor *t[3] = {mt_new_like(c, self, (DType)self->dtype), mt_new_like(c, self, MT_int32), self};
  Iter it;
  if (!t[0] || !t[1] ||
      !mt_iter_init(c, &it, 2, 3, t, (const DType[]){MT_float64, MT_int32, MT_float64}))
    return;
  mt_iter_run(c, &it, frexp_loop, NULL);
  r[0].t = t[0];
  r[1].t = t[1];
}

/* ---- two arguments ---- */

Tensor *k_nextafter(Ctx *c, Tensor *self, Tensor *other) {
  DType d = common(c, self, other);
  return mt_binary(c, d == MT_bfloat16 ? B_nextafter_bf16 : B_nextafter, MT_P_ARITH, self, other,
                   NULL, 0);
}
Tensor *k_max_other(Ctx *c, Tensor *self, Tensor *other) { return t_maximum(c, self, other); }
Tensor *k_min_other(Ctx *c, Tensor *self, Tensor *other) { return t_minimum(c, self, other); }
Tensor *k_heaviside(Ctx *c, Tensor *self, Tensor *values) {
  if (mt_is_complex(self->dtype) || mt_is_complex(values->dtype))
    return mt_fail(c, "heaviside is not yet implemented for complex tensors.");
  if (self->dtype != values->dtype)
    return mt_fail(c, "heaviside is not yet implemented for tensors with different dtypes.");
  return mt_binary(c, B_heaviside, MT_P_ARITH, self, values, NULL, 0);
}
static Tensor *shift(Ctx *c, int kernel, Tensor *x, Tensor *y) {
  if (!mt_is_int(common(c, x, y)) || common(c, x, y) == MT_bool)
    return mt_fail(c, "not implemented for '%s'", mt_type_word(common(c, x, y)));
  return mt_binary(c, kernel, MT_P_ARITH, x, y, NULL, 0);
}
Tensor *k_bitwise_left_shift(Ctx *c, Tensor *self, Tensor *other) {
  return shift(c, B_shl, self, other);
}
Tensor *k_bitwise_right_shift(Ctx *c, Tensor *self, Tensor *other) {
  return shift(c, B_shr, self, other);
}

Tensor *k_isclose(Ctx *c, Tensor *self, Tensor *other, double rtol, double atol, bool equal_nan) {
  if (self->dtype != other->dtype)
    return mt_fail(c, "%s did not match %s", mt_type_word((DType)self->dtype),
                   mt_type_word((DType)other->dtype));
  if (!(rtol >= 0))
    return mt_fail(c, "rtol must be greater than or equal to zero, but got %g", rtol);
  if (!(atol >= 0))
    return mt_fail(c, "atol must be greater than or equal to zero, but got %g", atol);
  Tensor *close = t_eq(c, self, other);
  if (equal_nan && self->dtype >= MT_float16)
    close = t_logical_or(c, close, t_logical_and(c, t_isnan(c, self), t_isnan(c, other)));
  if (rtol == 0 && atol == 0) return close;
  if (mt_is_int(self->dtype)) {
    self = t_to_dtype(c, self, c->default_dtype, false, -1);
    other = t_to_dtype(c, other, c->default_dtype, false, -1);
  }
  Tensor *allowed = t_add(c, t_abs(c, t_mul(c, other, mt_wrap(c, mt_sd(rtol)))),
                          mt_wrap(c, mt_sd(atol)), mt_si(1));
  Tensor *gap = t_abs(c, t_sub(c, self, other, mt_si(1)));
  return t_logical_or(c, close, t_logical_and(c, t_isfinite(c, gap), t_le(c, gap, allowed)));
}

/* ---- complex from two reals ---- */

#define PAIR_LOOP(name, T, re, im)                                            \
  static void name(char **p, const int64_t *s, int64_t n, const void *par) {  \
    for (int64_t i = 0; i < n; i++) {                                         \
      T x = *(const T *)(p[1] + i * s[1]), y = *(const T *)(p[2] + i * s[2]), \
        *o = (T *)(p[0] + i * s[0]);                                          \
      T a = re, b = im;                                                       \
      o[0] = a;                                                               \
      o[1] = b;                                                               \
    }                                                                         \
  }
PAIR_LOOP(complex_f, float, x, y)
PAIR_LOOP(complex_d, double, x, y)
PAIR_LOOP(polar_f, float, x * cosf(y), x * sinf(y))
PAIR_LOOP(polar_d, double, x * cos(y), x * sin(y))

static Tensor *pair(Ctx *c, Tensor *x, Tensor *y, Loop f, Loop d) {
  if (x->flags & MT_WRAPPED || y->flags & MT_WRAPPED)
    return mt_fail(c, "both arguments must be tensors, got a number");
  if (!mt_is_float(x->dtype) || x->dtype == MT_bfloat16 || !mt_is_float(y->dtype) ||
      y->dtype == MT_bfloat16)
    return mt_fail(c, "Expected both inputs to be Half, Float or Double tensors but got %s and %s",
                   mt_type_word((DType)x->dtype), mt_type_word((DType)y->dtype));
  if (x->dtype != y->dtype)
    return mt_fail(c,
                   "Expected object of scalar type %s but got scalar type %s for second argument",
                   mt_type_word((DType)x->dtype), mt_type_word((DType)y->dtype));
  DType z = x->dtype == MT_float64 ? MT_complex128 : MT_complex64, real = mt_real_dtype(z);
  if (c->out && c->out->dtype != z)
    return mt_fail(c, "Expected object of scalar type %s but got scalar type %s for argument 'out'",
                   mt_type_word(z), mt_type_word((DType)c->out->dtype));
  Tensor *t[3] = {NULL, x, y};
  Iter it;
  if (!mt_iter_init(c, &it, 1, 3, t, (const DType[]){z, real, real})) return NULL;
  mt_iter_run(c, &it, z == MT_complex128 ? d : f, NULL);
  return t[0];
}
Tensor *k_complex(Ctx *c, Tensor *real, Tensor *imag) {
  return pair(c, real, imag, complex_f, complex_d);
}
Tensor *k_polar(Ctx *c, Tensor *abs, Tensor *angle) {
  return pair(c, abs, angle, polar_f, polar_d);
}

/* ---- three arguments ---- */

static Tensor *triple(Ctx *c, int kernel, Tensor *self, Tensor *a, Tensor *b, Scalar value) {
  DType d = mt_result_type(c, (Tensor *[]){self, a, b}, 3);
  if (mt_is_int(d) && value.kind >= K_FLOAT)
    return mt_fail(
        c, "For integral input tensors, argument value must not be a floating point number.");
  return mt_ternary(c, kernel, MT_P_ARITH, self, a, b, &value, 1);
}
Tensor *k_addcmul(Ctx *c, Tensor *self, Tensor *tensor1, Tensor *tensor2, Scalar value) {
  return triple(c, T_addcmul, self, tensor1, tensor2, value);
}
Tensor *k_addcdiv(Ctx *c, Tensor *self, Tensor *tensor1, Tensor *tensor2, Scalar value) {
  if (mt_is_int(tensor1->dtype) && mt_is_int(tensor2->dtype))
    return mt_fail(c, "Integer division with addcdiv is no longer supported; cast one of the "
                      "tensors to a floating dtype");
  return triple(c, T_addcdiv, self, tensor1, tensor2, value);
}
Tensor *k_lerp(Ctx *c, Tensor *self, Tensor *end, Tensor *weight) {
  if (self->dtype != end->dtype)
    return mt_fail(c, "expected dtype %s for `end` but got dtype %s", mt_dtypes[self->dtype].name,
                   mt_dtypes[end->dtype].name);
  if (!(weight->flags & MT_WRAPPED) && weight->ndim && weight->dtype != self->dtype)
    return mt_fail(c, "expected dtype %s for `weight` but got dtype %s",
                   mt_dtypes[self->dtype].name, mt_dtypes[weight->dtype].name);
  return mt_ternary(c, T_lerp, MT_P_ARITH, self, end, weight, NULL, 0);
}
Tensor *k_clamp(Ctx *c, Tensor *self, Tensor *min, Tensor *max) {
  if (!min && !max) return mt_fail(c, "At least one of 'min' or 'max' must not be None");
  if (mt_is_complex(self->dtype)) return mt_fail(c, "clamp is not supported for complex types");
  if (!max) return mt_binary(c, B_maximum, MT_P_ARITH, self, min, NULL, 0);
  if (!min) return mt_binary(c, B_minimum, MT_P_ARITH, self, max, NULL, 0);
  return mt_ternary(c, T_clamp, MT_P_ARITH, self, min, max, NULL, 0);
}
Tensor *k_clamp_min(Ctx *c, Tensor *self, Tensor *min) {
  return mt_binary(c, B_maximum, MT_P_ARITH, self, min, NULL, 0);
}
Tensor *k_clamp_max(Ctx *c, Tensor *self, Tensor *max) {
  return mt_binary(c, B_minimum, MT_P_ARITH, self, max, NULL, 0);
}

Tensor *k_where(Ctx *c, Tensor *condition, Tensor *self, Tensor *other) {
  if (condition->dtype != MT_bool && condition->dtype != MT_uint8)
    return mt_fail(
        c, "where expected condition to be a boolean tensor, but got a tensor with dtype %s",
        mt_type_word((DType)condition->dtype));
  DType d = common(c, self, other);
  Tensor *t[4] = {NULL, condition, self, other};
  Iter it;
  if (!mt_iter_init(c, &it, 1, 4, t, (const DType[]){d, MT_bool, d, d})) return NULL;
  mt_iter_run(c, &it, mt_where_loop(d), NULL);
  return t[0];
}

/* ---- special functions ---- */

Tensor *k_polygamma(Ctx *c, int64_t n, Tensor *self) {
  if (n < 0) return mt_fail(c, "polygamma(n, x) does not support negative n.");
  Scalar k = mt_sd((double)n);
  if (n == 0) return mt_unary(c, U_digamma, MT_P_FLOAT, self, NULL, 0);
  if (n == 1) return mt_unary(c, U_trigamma, MT_P_FLOAT, self, NULL, 0);
  return mt_unary(c, U_polygamma, MT_P_FLOAT, self, &k, 1);
}
/* The sum of digamma(self - i / 2). */
Tensor *k_mvdigamma(Ctx *c, Tensor *self, int64_t p) {
  Tensor *sum = t_digamma(c, self);
  for (int64_t i = 1; i < p && !c->err; i++)
    sum = t_add(c, sum, t_digamma(c, t_sub(c, self, mt_wrap(c, mt_sd(0.5 * (double)i)), mt_si(1))),
                mt_si(1));
  return sum;
}
Tensor *k_mvlgamma(Ctx *c, Tensor *self, int64_t p) {
  if (p < 1) return mt_fail(c, "p has to be greater than or equal to 1");
  if (p > 1 << 20) return mt_fail(c, "p of %lld is too large: 2^20 at most", (long long)p);
  if (self->dtype == MT_bool) return mt_fail(c, "The input tensor may not be a boolean tensor.");
  if (self->dtype == MT_float16 || self->dtype == MT_bfloat16) { /* as PyTorch: every step rounds */
    Tensor *shift = t_arange(c, mt_sd(0.5 - 0.5 * (double)p), mt_sd(0.5), mt_sd(0.5),
                             self->dtype, -1, -1, -1, false),
           *terms = t_lgamma(c, t_add(c, t_unsqueeze(c, self, -1), shift, mt_si(1)));
    return t_add(c, t_sum_dim(c, terms, mt_il((int64_t[]){-1}, 1), false, -1),
                 mt_wrap(c, mt_sd((double)(p * (p - 1)) / 4 * 1.14472988584940017414)), mt_si(1));
  }
  Scalar k = mt_sd((double)p);
  return mt_unary(c, U_mvlgamma, MT_P_FLOAT, self, &k, 1);
}
Tensor *k_logit(Ctx *c, Tensor *self, Scalar eps) {
  if (mt_has(eps) && mt_sre(eps) >= 0) {
    Tensor *x = mt_is_int(self->dtype) ? mt_cast(c, self, c->default_dtype) : self, *out = c->out;
    c->out = NULL;
    x = x ? mt_unary(c, U_clamp_unit, MT_P_SAME, x, &eps, 1) : NULL;
    c->out = out;
    self = x;
  }
  return self ? mt_unary(c, U_logit, MT_P_FLOAT, self, NULL, 0) : NULL;
}
