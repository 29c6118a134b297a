/* point.c: pointwise ops that need a word before their kernel line. */
#include "iter.h"
#include "op.h"
#include <string.h>

Tensor *k_sub(Ctx *c, Tensor *self, Tensor *other, Scalar alpha) {
  if (self->dtype == MT_bool && other->dtype == MT_bool)
    return mt_fail(c, "subtraction with two bool tensors is not supported; use `~` (bitwise xor) "
                      "or logical_xor() instead");
  if (self->dtype == MT_bool || other->dtype == MT_bool) {
    Tensor *in[2] = {self, other};
    if (mt_result_type(c, in, 2) == MT_bool ||
        (self->dtype == MT_bool && !(self->flags & MT_WRAPPED) && other->flags & MT_WRAPPED &&
         other->dtype == MT_bool))
      return mt_fail(c, "subtraction with a bool tensor is not supported; invert it with "
                        "bitwise_not() or logical_not() instead");
  }
  return mt_binary(c, B_sub, MT_P_ARITH, self, other, (const Scalar[]){alpha}, 1);
}
