/* gemm_types.c: products of the types without tile kernels of their own. */
#include "gemm_impl.h"
MtGemmStatus mt_gemm_other(const MtGemm *g) { (void)g; return MT_GEMM_OK; }
