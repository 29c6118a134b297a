/* gemm_kern.h: the kernel tables of each CPU level, as kern_gemm.c exports them. */
#ifndef MT_GEMM_KERN_H
#define MT_GEMM_KERN_H
#include "gemm.h"

typedef struct { const MtGemmKernF32 *f32; const MtGemmKernF64 *f64; } MtGemmKerns;
extern const MtGemmKerns mt_gemm_kerns_base, mt_gemm_kerns_avx2, mt_gemm_kerns_avx512;
#endif
