/* base.h: what every C file of Moth may rely on: memory that can fail, the interrupt flag, threads.
 *
 * Invariants.  All heap memory of Moth comes from mt_malloc and friends, which return NULL when
 * there is none (and in a test build when told to fail the n-th request); nobody aborts.
 * mt_interrupted is set by Ctrl-C and polled by every loop that may run longer than about 20 ms.
 * mt_parallel is the only source of threads for kernels. */
#ifndef MT_BASE_H
#define MT_BASE_H
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *mt_malloc(size_t n);
void *mt_calloc(size_t n);                 /* n zero bytes */
void *mt_realloc(void *p, size_t n);
void  mt_free(void *p);

extern _Atomic sig_atomic_t mt_interrupted;      /* a handler writes it, workers read it */

/* Calls fn(ctx, lo, hi) over pieces of [0, n), none shorter than grain except the last; on the
 * calling thread alone when n <= grain or one thread is set.  fn must not touch Lua or allocate
 * tensors.  Nested calls run serially. */
typedef void (*mt_range_fn)(void *ctx, int64_t lo, int64_t hi);
void mt_parallel(int64_t n, int64_t grain, mt_range_fn fn, void *ctx);
int  mt_num_threads(void);
void mt_set_num_threads(int n);
int  mt_thread_id(void);                   /* 0..mt_num_threads()-1 inside mt_parallel */

/* Whether work is too little to be shared between threads.  Under ThreadSanitizer none is: tests of
 * a few numbers run every kernel side by side (see also mt_parallel). */
#ifdef __SANITIZE_THREAD__
enum { MT_CUT_ALL = 1 };
#else
enum { MT_CUT_ALL = 0 };
#endif
#define MT_TOO_LITTLE(work, least) (!MT_CUT_ALL && (work) < (least))
#endif
