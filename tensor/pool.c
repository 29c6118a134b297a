/* pool.c: the thread pool behind mt_parallel.
 *
 * Invariants.  One job runs at a time; its fields are written before `ticket` publishes it and read
 * only by a thread that has claimed one of its pieces, so a late thread can never touch a finished
 * job.  The pieces of [0, n) depend on n, grain and the thread count alone (results that add per
 * piece repeat bit for bit); who runs a piece does not: the caller takes over pieces that no worker
 * has claimed, so a sleeping worker never costs more than the serial run. A second thread that
 * calls while a job runs, and any nested call, runs serially.  After fork the child has no workers
 * and starts its own at need. */
#define _GNU_SOURCE
#include "base.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { MAX_THREADS = 256, SPIN_NS = 200000 };

/* ticket = epoch << 32 | pieces << 16 | next piece to claim */
static _Atomic uint64_t ticket;
static _Atomic int done_pieces;
static struct { mt_range_fn fn; void *ctx; int64_t n, size; } job;

static struct worker {
  pthread_t thread;
  pthread_cond_t wake;
  _Atomic int asleep;
} workers[MAX_THREADS];                        /* [0] is never used: piece owner 0 is the caller */

static pthread_mutex_t job_lock = PTHREAD_MUTEX_INITIALIZER;    /* held while a job runs */
static pthread_mutex_t sleep_lock = PTHREAD_MUTEX_INITIALIZER;  /* guards going to sleep */
static pthread_cond_t job_done = PTHREAD_COND_INITIALIZER;
static _Atomic int caller_asleep;
static int started = 1; /* threads there are, the caller included; under job_lock */
static _Atomic int wanted;                     /* 0: not yet asked */
static _Thread_local int thread_id, in_job;

static int from_env(const char *name) {
  const char *s = getenv(name);
  long n = s ? strtol(s, NULL, 10) : 0;
  return n < 0 ? 0 : n > MAX_THREADS ? MAX_THREADS : (int)n;
}

static int default_threads(void) {
  int n = from_env("MOTH_NUM_THREADS");
  if (!n) n = from_env("OMP_NUM_THREADS");
#ifdef __linux__
  cpu_set_t set;
  if (!n && sched_getaffinity(0, sizeof set, &set) == 0) n = CPU_COUNT(&set);
#endif
  if (!n) n = (int)sysconf(_SC_NPROCESSORS_ONLN);
  return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : n;
}

int mt_num_threads(void) {
  int n = atomic_load_explicit(&wanted, memory_order_relaxed);
  if (n) return n;
  int fresh = default_threads();
  return atomic_compare_exchange_strong(&wanted, &n, fresh) ? fresh : n;
}

void mt_set_num_threads(int n) {
  atomic_store(&wanted, n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : n);
}

int mt_thread_id(void) { return thread_id; }

static inline void relax(void) {
#if defined __x86_64__ || defined __i386__
  __builtin_ia32_pause();
#elif defined __aarch64__
  __asm__ volatile("yield");
#endif
}

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Spins until cond holds or SPIN_NS have passed; the value is whether it held. */
#define SPIN_UNTIL(cond) ({                                                  \
  int64_t end_ = now_ns() + SPIN_NS; bool ok_;                               \
  for (int i_ = 0; !(ok_ = (cond)) && (++i_ & 63 || now_ns() < end_);) relax(); \
  ok_; })

static void run_piece(int64_t i) {
  int64_t lo = i * job.size, hi = lo + job.size < job.n ? lo + job.size : job.n;
  int pieces = (int)(atomic_load_explicit(&ticket, memory_order_relaxed) >> 16 & 0xffff);
  job.fn(job.ctx, lo, hi);
  if (atomic_fetch_add(&done_pieces, 1) + 1 < pieces || !atomic_load(&caller_asleep)) return;
  pthread_mutex_lock(&sleep_lock);
  pthread_cond_signal(&job_done);
  pthread_mutex_unlock(&sleep_lock);
}

/* Claims pieces of the published job until none is left.  A claim succeeds only while its job is
 * unfinished. */
static void help(int id) {
  uint64_t t = atomic_load(&ticket);
  for (;;) {
    int pieces = t >> 16 & 0xffff, next = t & 0xffff;
    if (next >= pieces || id >= pieces) return;
    if (!atomic_compare_exchange_weak(&ticket, &t, t + 1)) continue;
    run_piece(next);
    if (MT_CUT_ALL) return;       /* a piece each: no claim orders one piece after another */
    t = atomic_load(&ticket);
  }
}

static void *worker_main(void *arg) {
  int id = (int)(intptr_t)arg;
  struct worker *w = &workers[id];
  thread_id = id;
  in_job = 1;
  uint64_t seen = 0;
  for (;;) {
    if (!SPIN_UNTIL(atomic_load_explicit(&ticket, memory_order_relaxed) >> 32 != seen)) {
      pthread_mutex_lock(&sleep_lock);
      atomic_store(&w->asleep, 1);
      while (atomic_load(&ticket) >> 32 == seen) pthread_cond_wait(&w->wake, &sleep_lock);
      atomic_store(&w->asleep, 0);
      pthread_mutex_unlock(&sleep_lock);
    }
    seen = atomic_load(&ticket) >> 32;
    help(id);
  }
  return NULL;
}

static void before_fork(void) { pthread_mutex_lock(&job_lock); pthread_mutex_lock(&sleep_lock); }
static void in_parent(void) { pthread_mutex_unlock(&sleep_lock); pthread_mutex_unlock(&job_lock); }
static void in_child(void) {
  started = 1;
  atomic_store(&ticket, 0);
  for (int i = 0; i < MAX_THREADS; i++) atomic_store(&workers[i].asleep, 0);
  pthread_mutex_init(&sleep_lock, NULL);
  pthread_mutex_init(&job_lock, NULL);
}

/* Workers see no signal, so that Ctrl-C reaches the thread that runs the interpreter. */
static bool start_worker(int id) {
  sigset_t all, old;
  sigfillset(&all);
  sigdelset(&all, SIGBUS);          /* a mapped file that shrank: see stdlib/sys/map.c */
  pthread_sigmask(SIG_SETMASK, &all, &old);
  pthread_cond_init(&workers[id].wake, NULL);
  int err = pthread_create(&workers[id].thread, NULL, worker_main, (void *)(intptr_t)id);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (!err) pthread_detach(workers[id].thread);
  return !err;
}

/* Makes sure of n threads if it can; the value is how many there are for this job. */
static int ensure(int n) {
  static bool hooked;
  if (!hooked) hooked = pthread_atfork(before_fork, in_parent, in_child) == 0;
  while (started < n && start_worker(started)) started++;
  return started < n ? started : n;
}

static void wait_done(int pieces) {
  if (SPIN_UNTIL(atomic_load(&done_pieces) == pieces)) return;
  pthread_mutex_lock(&sleep_lock);
  atomic_store(&caller_asleep, 1);
  while (atomic_load(&done_pieces) < pieces) pthread_cond_wait(&job_done, &sleep_lock);
  atomic_store(&caller_asleep, 0);
  pthread_mutex_unlock(&sleep_lock);
}

static void publish(int pieces) {
  uint64_t epoch = (atomic_load_explicit(&ticket, memory_order_relaxed) >> 32) + 1;
  atomic_store(&done_pieces, 0);
  atomic_store(&ticket, epoch << 32 | (uint64_t)pieces << 16);
  for (int i = 1; i < pieces; i++) {
    if (!atomic_load(&workers[i].asleep)) continue;
    pthread_mutex_lock(&sleep_lock);
    pthread_cond_signal(&workers[i].wake);
    pthread_mutex_unlock(&sleep_lock);
  }
}

static void run_job(int64_t n, int64_t size, int pieces, mt_range_fn fn, void *ctx) {
  job.fn = fn; job.ctx = ctx; job.n = n; job.size = size;
  in_job = 1;
  publish(pieces);
  help(0);
  wait_done(pieces);
  in_job = 0;
}

void mt_parallel(int64_t n, int64_t grain, mt_range_fn fn, void *ctx) {
  if (n <= 0) return;
  int threads = in_job ? 1 : mt_num_threads();
  if (grain < 1 || MT_CUT_ALL) grain = 1;
  if (threads > n / grain) threads = (int)(n / grain);
  if (threads <= 1 || pthread_mutex_trylock(&job_lock)) { fn(ctx, 0, n); return; }
  threads = ensure(threads);
  int64_t size = (n + threads - 1) / threads;
  if (threads > 1) run_job(n, size, (int)((n + size - 1) / size), fn, ctx);
  pthread_mutex_unlock(&job_lock);
  if (threads <= 1) fn(ctx, 0, n);
}
