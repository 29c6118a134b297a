/* base.c: the allocator entry points (with a fail-the-n-th-request mode for tests) and the
 * interrupt flag. */
#include "base.h"
#include <stdlib.h>
#include <string.h>

_Atomic sig_atomic_t mt_interrupted;

/* Test builds (-DMT_FAULTS) count requests and fail the chosen one, or every one from it on. */
#ifdef MT_FAULTS
long mt_fault_at = -1, mt_fault_count;
int mt_fault_forever;
int (*mt_fault_hook)(void); /* a test's own choice, asked at every request */
static int fault(void) {
  if (mt_fault_hook) return mt_fault_hook();
  long n = __atomic_add_fetch(&mt_fault_count, 1, __ATOMIC_RELAXED);
  return mt_fault_at >= 0 && (mt_fault_forever ? n >= mt_fault_at : n == mt_fault_at);
}
#else
#define fault() 0
#endif

void *mt_malloc(size_t n) { return fault() ? NULL : malloc(n ? n : 1); }
void *mt_calloc(size_t n) { return fault() ? NULL : calloc(1, n ? n : 1); }
void *mt_realloc(void *p, size_t n) { return fault() ? NULL : realloc(p, n ? n : 1); }
void mt_free(void *p) { free(p); }
