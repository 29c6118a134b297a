/* kern_gemm.c: the register tiles of the matrix product, built once per CPU level (see gemm.h).
 *
 * 14 x 2 vectors of accumulators with AVX-512 (28 of 32 registers), 6 x 2 elsewhere (12 of 16):
 * each step of k loads two vectors of B, broadcasts one number of A per row and issues two
 * multiply-adds for it. */
#include "gemm.h"
#include "gemm_kern.h"

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)

#if defined __AVX512F__
#include <immintrin.h>
enum { MR = 14 };
#define MORE_ROWS(X, nv, l)                                                                \
  X(7, nv, l)                                                                              \
  X(8, nv, l) X(9, nv, l) X(10, nv, l) X(11, nv, l) X(12, nv, l) X(13, nv, l) X(14, nv, l)
#define BYTES 64
#define FMA_F32(a, b, c) _mm512_fmadd_ps(a, b, c)
#define FMA_F64(a, b, c) _mm512_fmadd_pd(a, b, c)
#elif defined __FMA__
#include <immintrin.h>
enum { MR = 6 };
#define MORE_ROWS(X, nv, l)
#define BYTES 32
#define FMA_F32(a, b, c) _mm256_fmadd_ps(a, b, c)
#define FMA_F64(a, b, c) _mm256_fmadd_pd(a, b, c)
#elif defined __ARM_NEON && defined __aarch64__
#include <arm_neon.h>
enum { MR = 14 };
#define MORE_ROWS(X, nv, l)                                                                \
  X(7, nv, l)                                                                              \
  X(8, nv, l) X(9, nv, l) X(10, nv, l) X(11, nv, l) X(12, nv, l) X(13, nv, l) X(14, nv, l)
#define BYTES 16
#define FMA_F32(a, b, c) vfmaq_f32(c, a, b)
#define FMA_F64(a, b, c) vfmaq_f64(c, a, b)
#else
enum { MR = 6 };
#define MORE_ROWS(X, nv, l)
#define BYTES 16
#define FMA_F32(a, b, c) ((a) * (b) + (c))
#define FMA_F64(a, b, c) ((a) * (b) + (c))
#endif

#define T float
#define SUF F32
#define VL (BYTES / 4)
#define VFMA FMA_F32
#define INT int32_t
#ifdef __AVX512F__
#define PART_LOAD(p, n) _mm512_maskz_loadu_ps((__mmask16)((1u << (n)) - 1), p)
#define PART_STORE(p, n, v) _mm512_mask_storeu_ps(p, (__mmask16)((1u << (n)) - 1), v)
#elif defined __AVX2__
#define PART_MASK(n) (__m256i)((__v8si){0, 1, 2, 3, 4, 5, 6, 7} < (n))
#define PART_LOAD(p, n) _mm256_maskload_ps(p, PART_MASK(n))
#define PART_STORE(p, n, v) _mm256_maskstore_ps(p, PART_MASK(n), v)
#endif
#include "gemm_tile.inc"

#define T double
#define SUF F64
#define VL (BYTES / 8)
#define VFMA FMA_F64
#define INT int64_t
#ifdef __AVX512F__
#define PART_LOAD(p, n) _mm512_maskz_loadu_pd((__mmask8)((1u << (n)) - 1), p)
#define PART_STORE(p, n, v) _mm512_mask_storeu_pd(p, (__mmask8)((1u << (n)) - 1), v)
#endif
#include "gemm_tile.inc"

const MtGemmKerns CAT(mt_gemm_kerns_, KLEVEL) = {&kernF32, &kernF64};
