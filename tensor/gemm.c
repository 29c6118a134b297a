/* gemm.c: the driver of matrix products: roles, blocking, threads.  The kernels are in kern_gemm.c,
 * the other types (complex, half, integers) in gemm_types.c.
 *
 * How a product runs.  One operand is broadcast number by number, the other is read as vectors;
 * only the latter is ever packed (transposed where k is its contiguous dimension), and when it is
 * small and already contiguous not even that.  So the weights of a linear layer, k-contiguous like
 * the activations, stream straight from memory while the smaller activations are packed; C is then
 * produced transposed and turned in registers on its way out. The work is cut in units (a range of
 * rows x a range of columns x all of k) that threads claim one by one. */
#include "gemm.h"
#include "cpu.h"
#include "gemm_impl.h"
#include "gemm_kern.h"
#include <stdatomic.h>
#include <string.h>

const MtGemmKerns *mt_gemm_kerns(void) {
  return MT_AT_LEVEL(&mt_gemm_kerns);
}

/* One cached scratch block per thread of the pool: a product takes it out of the slot and puts it
 * back, so repeated products do not touch fresh pages, and a concurrent one that finds the slot
 * empty simply allocates. */
enum { KEEP_BYTES = 64 << 20, ALIGN = 64, SLOTS = 64 };
static _Atomic(void *) slots[SLOTS];
typedef struct { size_t size; char pad[ALIGN - sizeof(size_t)]; } Block;

void *mt_scratch_take(size_t size) {
  void *raw = atomic_exchange(&slots[mt_thread_id() % SLOTS], NULL);
  Block *b = raw;
  if (b && b->size >= size) return b + 1;
  mt_free_aligned(raw);
  b = mt_malloc_aligned(sizeof(Block) + size);
  if (!b) return NULL;
  b->size = size;
  return b + 1;
}

void mt_scratch_give(void *p) {
  Block *b = p ? (Block *)p - 1 : NULL, *old = b;
  if (b && b->size <= KEEP_BYTES) old = atomic_exchange(&slots[mt_thread_id() % SLOTS], b);
  if (old) mt_free_aligned(old);
}

void mt_gemm_release(void) {
  for (int i = 0; i < SLOTS; i++) mt_free_aligned(atomic_exchange(&slots[i], NULL));
}

/* Aligned blocks over mt_malloc: the distance to the raw pointer is kept in front. */
void *mt_malloc_aligned(size_t n) {
  if (n > SIZE_MAX - 2 * ALIGN) return NULL;
  char *raw = mt_malloc(n + 2 * ALIGN);
  if (!raw) return NULL;
  char *p = (char *)(((uintptr_t)raw + 2 * ALIGN - 1) & ~(uintptr_t)(ALIGN - 1));
  memcpy(p - sizeof raw, &raw, sizeof raw);
  return p;
}
void mt_free_aligned(void *p) {
  char *raw;
  if (!p) return;
  memcpy(&raw, (char *)p - sizeof raw, sizeof raw);
  mt_free(raw);
}

#define T float
#define N(x) x##F32
#define KERN f32
#include "gemm_driver.inc"
#define T double
#define N(x) x##F64
#define KERN f64
#include "gemm_driver.inc"

MtGemmStatus mt_gemm_gather(MtGemmType type, int64_t m, int64_t n, int64_t k, const void *a,
                            const void *src, const MtGather *gather, void *c, const void *bias,
                            int threads) {
  return type == MT_GEMM_F32 ? gatherF32(m, n, k, a, src, gather, c, bias, threads)
                             : gatherF64(m, n, k, a, src, gather, c, bias, threads);
}

MtGemmStatus mt_gemm_serial(const MtGemm *g) {
  return g->type == MT_GEMM_F32 ? oneF32(g, 1) : oneF64(g, 1);
}

MtGemmStatus mt_gemm(const MtGemm *g) {
  if (g->m <= 0 || g->n <= 0) return MT_GEMM_OK;
  if (mt_interrupted) return MT_GEMM_INTERRUPTED;
  switch (g->type) {
    case MT_GEMM_F32: return runF32(g);
    case MT_GEMM_F64: return runF64(g);
    default: return mt_gemm_other(g);
  }
}
