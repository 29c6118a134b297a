/* product.h: between tensors and the raw products of gemm.h.
 *
 * Invariant: a status becomes the Ctx's error exactly once. */
#ifndef MT_PRODUCT_H
#define MT_PRODUCT_H
#include "gemm.h"
#include "moth.h"

MtGemmType mt_product_type(int dtype);              /* MT_GEMM_TYPES: no products of this dtype */
void mt_product_status(Ctx *c, MtGemmStatus s);
#endif
