/* point.c: pointwise ops that need a word before their kernel line. */
#include "iter.h"
#include "op.h"
#include <string.h>

Tensor *k_sub(Ctx *c, Tensor *self, Tensor *other, Scalar alpha) {
  if (self->dtype == MT_bool && other->dtype == MT_bool)
    return mt_fail(c, "subtraction with two bool tensors is not supported; use `~` (bitwise xor) "
                      "or logical_xor() instead");
  if (self->dtype == MT_bool || other->dtype == MT_bool)
    return mt_fail(c, "subtraction with a bool tensor is not supported; invert it with "
                      "bitwise_not() or logical_not() instead");
  return mt_binary(c, B_sub, MT_P_ARITH, self, other, (const Scalar[]){alpha}, 1);
}

Tensor *k_square(Ctx *c, Tensor *self) {      /* self ** 2, and the exponent is an integer */
  if (self->dtype == MT_bool) self = mt_cast(c, self, MT_int64);
  return mt_unary(c, U_square, MT_P_SAME, self, NULL, 0);
}
