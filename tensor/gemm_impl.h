/* gemm_impl.h: what the files of the matrix product share among themselves.
 *
 * Invariant: scratch is 64-byte aligned; a block taken is given back on every path. */
#ifndef MT_GEMM_IMPL_H
#define MT_GEMM_IMPL_H
#include "gemm.h"
#include "gemm_kern.h"

const MtGemmKerns *mt_gemm_kerns(void);
MtGemmStatus mt_gemm_other(const MtGemm *g);     /* types without a tile kernel of their own */
MtGemmStatus mt_gemm_serial(const MtGemm *g);    /* one float or double product on the calling thread */

void *mt_scratch_take(size_t size);              /* NULL: no memory */
void mt_scratch_give(void *p);
void mt_gemm_release(void);                      /* drops the cached block (for ledgers at exit) */
void *mt_malloc_aligned(size_t n);
void mt_free_aligned(void *p);
#endif
