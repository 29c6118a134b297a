/* gemm_impl.h: what the files of the matrix product share among themselves.
 *
 * Invariant: scratch is 64-byte aligned; a block taken is given back on every path. */
#ifndef MT_GEMM_IMPL_H
#define MT_GEMM_IMPL_H
#include "gemm.h"
#include "gemm_kern.h"

const MtGemmKerns *mt_gemm_kerns(void);
MtGemmStatus mt_gemm_other(const MtGemm *g);     /* types without a tile kernel of their own */
MtGemmStatus mt_gemm_serial(
    const MtGemm *g); /* one float or double product on the calling thread */

/* A vector operand that is gathered while it is packed: element (q, j) lies at src[off[q] + row[j /
 * width] + j % width]. src must be readable, and the packed block writable, a vector past the end.
 */
typedef struct { const int64_t *off, *row; int64_t width; } MtGather;

/* C (m x n, row stride n) = A (m x k, rows contiguous) * gathered B + bias along the rows; type F32
 * or F64. */
MtGemmStatus mt_gemm_gather(MtGemmType type, int64_t m, int64_t n, int64_t k, const void *a,
                            const void *src, const MtGather *gather, void *c, const void *bias,
                            int threads);

void *mt_scratch_take(size_t size);              /* NULL: no memory */
void mt_scratch_give(void *p);
void mt_gemm_release(void);                      /* drops the cached block (for ledgers at exit) */
void *mt_malloc_aligned(size_t n);
void mt_free_aligned(void *p);
#endif
