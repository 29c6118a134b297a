/* gemm_bf16.h: blocks of bfloat16 products by the CPU's dot instructions (AVX-512 BF16): two
 * products a lane, summed in float. */
#ifndef MT_GEMM_BF16_H
#define MT_GEMM_BF16_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A block of A (m x k) or B (k x n) and its strides in elements. */
typedef struct { const uint16_t *p; int64_t rs, cs; } MtBf16;

bool mt_bf16_usable(void);
/* Scratch that one block needs, and how far its rows of results are apart. */
size_t mt_bf16_bytes(int64_t m, int64_t n, int64_t k);
int64_t mt_bf16_ld(int64_t n);
/* out[i * ld + j] = sum over p of a[i, p] b[p, j]; aligned scratch. */
void mt_bf16_block(int64_t m, int64_t n, int64_t k, MtBf16 a, MtBf16 b, float *out, void *scratch);
#endif
