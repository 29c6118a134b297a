/* gemm_kern.h: the kernel tables of each CPU level, as kern_gemm.c exports them. */
#ifndef MT_GEMM_KERN_H
#define MT_GEMM_KERN_H
#include "gemm.h"

typedef struct { const MtGemmKernF32 *f32; const MtGemmKernF64 *f64; } MtGemmKerns;

/* C's rows i0 to i1 - 1 and columns j0 to j1 - 1 (at most MT_INT_BLOCK) of an integer product; by
 * the size of an element: 1, 2, 4, 8 bytes. */
enum { MT_INT_BLOCK = 256 };
typedef void (*MtIntUnit)(const MtGemm *g, const char *a, const char *b, char *c, int64_t i0,
                          int64_t i1, int64_t j0, int64_t j1);
extern const MtIntUnit mt_int_units_base[4], mt_int_units_avx2[4], mt_int_units_avx512[4];
extern const MtGemmKerns mt_gemm_kerns_base, mt_gemm_kerns_avx2, mt_gemm_kerns_avx512;
#endif
