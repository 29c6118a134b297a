/* pool_test.c: mt_parallel covers every index once, nests serially, survives fork and a change of
 * the thread count. */
#include "base.h"
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <pthread.h>

static int passed, failed;
static void check(const char *name, bool ok) {
  if (ok) passed++;
  else { failed++; printf("FAIL %s: condition is false\n", name); }
}

enum { N = 100003 };
static unsigned char hits[N];
static _Atomic int bad_id;

static void touch(void *ctx, int64_t lo, int64_t hi) {
  if (mt_thread_id() >= *(int *)ctx) atomic_store(&bad_id, 1);
  for (int64_t i = lo; i < hi; i++) hits[i]++;
}
static bool covers(int threads, int64_t n, int64_t grain) {
  memset(hits, 0, sizeof hits);
  mt_set_num_threads(threads);
  mt_parallel(n, grain, touch, &threads);
  for (int64_t i = 0; i < N; i++) if (hits[i] != (i < n)) return false;
  return true;
}

static void inner(void *ctx, int64_t lo, int64_t hi) { *(int64_t *)ctx += hi - lo; }
static void outer(void *ctx, int64_t lo, int64_t hi) {
  for (int64_t i = lo; i < hi; i++) {
    int64_t sum = 0;
    mt_parallel(1000, 1, inner, &sum);
    if (sum != 1000) atomic_store((_Atomic int *)ctx, 1);
  }
}

static void add(void *ctx, int64_t lo, int64_t hi) {
  atomic_fetch_add((_Atomic int64_t *)ctx, hi - lo);
}
static void *many_jobs(void *out) {
  for (int i = 0; i < 500; i++) {
    _Atomic int64_t sum = 0;
    mt_parallel(64, 1, add, &sum);
    if (sum != 64) *(int *)out = 1;
  }
  return NULL;
}

#ifndef __SANITIZE_THREAD__    /* it does not support threads after fork */
static bool child_works(void) {
  pid_t pid = fork();
  if (pid == 0) {
    _Atomic int64_t sum = 0;
    mt_parallel(1000, 1, add, &sum);
    _exit(sum == 1000 ? 0 : 1);
  }
  int status;
  return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
#endif

int main(void) {
  int64_t sizes[] = {1, 2, 3, 17, 1000, N};
  for (int t = 1; t <= 5; t++)
    for (int s = 0; s < 6; s++)
      for (int64_t grain = 1; grain < 3000; grain = grain * 7 + 1)
        check("covers once", covers(t, sizes[s], grain));
  check("shrinks again", covers(2, N, 1) && covers(5, N, 1) && covers(3, N, 1));
  check("thread ids below the count", !bad_id);
  _Atomic int nested_bad = 0;
  mt_set_num_threads(3);
  mt_parallel(100, 1, outer, (void *)&nested_bad);
  check("nested is serial and complete", !nested_bad);
  pthread_t a, b;
  int bad_a = 0, bad_b = 0, bad_c = 0;
  pthread_create(&a, NULL, many_jobs, &bad_a);
  pthread_create(&b, NULL, many_jobs, &bad_b);
  many_jobs(&bad_c);
  pthread_join(a, NULL);
  pthread_join(b, NULL);
  check("several callers", !bad_a && !bad_b && !bad_c);
#ifndef __SANITIZE_THREAD__
  check("fork", child_works());
#endif
  check("parent after fork", covers(3, N, 1));
  for (int i = 0; i < 20; i++) { usleep(200); check("after sleep", covers(4, 1000, 1)); }
  printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
