/* saves.c: is a save old or new, whatever happens?  For every format: each system call of a save
 * fails once with each error, writes are cut short, the process ends at each call, and is killed at
 * random moments.  After each: the target holds the old bytes or the new ones, and after an error
 * no temporary file is left.
 *
 * Built with -Wl,--wrap for write, fsync, rename, close, mkostemp, fchmod and the memory requests
 * (saves_test.sh). */
#define _GNU_SOURCE
#include "formats/fmt.h"
#include "npy/npy.h"
#include "pickle/pickle.h"
#include "safetensors/safetensors.h"
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- system calls that fail on demand ---- */
static long count, fail_at = -1;
static int fail_with, short_writes;      /* fail_with < 0: the process ends instead */
static bool strike(void) {
  if (count++ != fail_at) return false;
  if (fail_with < 0) _exit(0);
  errno = fail_with;
  return true;
}

ssize_t __real_write(int, const void *, size_t);
int __real_fsync(int), __real_close(int), __real_fchmod(int, mode_t), __real_mkostemp(char *, int);
int __real_rename(const char *, const char *);
ssize_t __wrap_write(int fd, const void *p, size_t n);
int __wrap_fsync(int fd), __wrap_close(int fd), __wrap_fchmod(int fd, mode_t m),
    __wrap_mkostemp(char *t, int f);
int __wrap_rename(const char *a, const char *b);
void *__real_mt_malloc(size_t), *__real_mt_calloc(size_t), *__real_mt_realloc(void *, size_t);
void *__wrap_mt_malloc(size_t n), *__wrap_mt_calloc(size_t n),
    *__wrap_mt_realloc(void *p, size_t n);
void *__wrap_mt_malloc(size_t n) { return strike() ? NULL : __real_mt_malloc(n); }
void *__wrap_mt_calloc(size_t n) { return strike() ? NULL : __real_mt_calloc(n); }
void *__wrap_mt_realloc(void *p, size_t n) { return strike() ? NULL : __real_mt_realloc(p, n); }
ssize_t __wrap_write(int fd, const void *p, size_t n) {
  if (strike()) return -1;
  return __real_write(fd, p, short_writes && n > 1 ? n / 2 : n);
}
int __wrap_fsync(int fd) { return strike() ? -1 : __real_fsync(fd); }
int __wrap_fchmod(int fd, mode_t m) { return strike() ? -1 : __real_fchmod(fd, m); }
int __wrap_mkostemp(char *t, int f) { return strike() ? -1 : __real_mkostemp(t, f); }
int __wrap_rename(const char *a, const char *b) { return strike() ? -1 : __real_rename(a, b); }
int __wrap_close(int fd) {
  int r = __real_close(fd);
  return strike() ? -1 : r;
}

/* ---- what is saved ---- */
enum { N = 300000 };
static uint8_t *payload[2];              /* the old content's bytes and the new one's */
static const char *const names[] = {"t.safetensors", "t.npy", "t.npz", "t.pt"};
static char dir[] = "/tmp/moth-saves-XXXXXX";
static int failed, passed;

static bool save(int kind, int version, sys_err *e) {
  static const int64_t shape[1] = {N / 4};
  char path[128];
  fmt_tensor t = {.name = "w",
                  .dtype = FMT_F32,
                  .ndim = 1,
                  .shape = shape,
                  .data = payload[version],
                  .nbytes = N,
                  .quant = -1,
                  .storage = -1};
  fmt_list l = {.v = &t, .n = 1};
  snprintf(path, sizeof path, "%s/%s", dir, names[kind]);
  if (kind == 0) return st_save(path, &l, e);
  if (kind == 1) return npy_save(path, &t, e);
  if (kind == 2) return npz_save(path, &l, e);
  pk_writer w = {.n = 0};
  pk_storage s = {payload[version], N, FMT_F32};
  pk_put_tensor(&w, &t, 0, N / 4, 0, false);
  bool ok = pk_save(path, &w, &s, 1, e);
  pk_writer_free(&w);
  return ok;
}

/* 0: the old content, 1: the new one, -1: neither.  The readers check form and CRC, the bytes are
 * compared here. */
static int version_of(int kind) {
  char path[128];
  sys_err e = {{0}, 0};
  fmt_list l = {.n = 0};
  pk_file f = {.n = 0};
  int version = -1;
  snprintf(path, sizeof path, "%s/%s", dir, names[kind]);
  bool ok = kind == 0 ? st_open(&l, path, &e) : kind == 1 ? npy_open(&l, path, &e)
          : kind == 2 ? npz_open(&l, path, &e) : pk_open(&f, path, &e);
  const fmt_list *got = kind == 3 ? &f.list : &l;
  for (int v = 0; ok && v < 2; v++)
    if (got->n == 1 && got->v[0].nbytes == N && !memcmp(got->v[0].data, payload[v], N)) version = v;
  if (kind == 3) pk_free(&f);
  else fmt_free(&l);
  return version;
}

static int files(void) {
  int n = 0;
  DIR *d = opendir(dir);
  for (struct dirent *x; d && (x = readdir(d));) n += x->d_name[0] != '.';
  if (d) closedir(d);
  return n;
}

static void sweep_temporaries(void) {
  char path[400];
  DIR *d = opendir(dir);
  for (struct dirent *x; d && (x = readdir(d));)
    if (strstr(x->d_name, ".tmp-"))
      snprintf(path, sizeof path, "%s/%s", dir, x->d_name), unlink(path);
  if (d) closedir(d);
}

static void expect(bool ok, const char *what, int kind, long at) {
  if (ok) passed++;
  else failed++, printf("FAIL %s: %s, call %ld\n", names[kind], what, at);
}

static void set_old(int kind) {
  sys_err e = {{0}, 0};
  fail_at = -1, short_writes = 0;
  if (!save(kind, 0, &e)) printf("FAIL %s: %s\n", names[kind], e.msg), failed++;
}

/* Every call fails once, with each error; then the process ends at every call. */
static void sweep(int kind) {
  static const int errors[] = {ENOSPC, EIO, EINTR, EDQUOT, -1};
  for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
    for (long at = 0;; at++) {
      sys_err e = {{0}, 0};
      set_old(kind);
      int before = files();
      fail_with = errors[i];
      if (fail_with < 0) {
        pid_t pid = fork();
        if (pid == 0) {
          fail_at = at, count = 0;
          save(kind, 1, &e);
          _exit(count > at ? 0 : 1);                 /* 1: there was no such call */
        }
        int status;
        waitpid(pid, &status, 0);
        sweep_temporaries();
        expect(version_of(kind) >= 0, "neither old nor new after an end of the process", kind, at);
        if (WEXITSTATUS(status)) break;
        continue;
      }
      fail_at = at, count = 0, short_writes = at & 1;
      bool ok = save(kind, 1, &e);
      bool over = count <= at;
      fail_at = -1, short_writes = 0;
      int v = version_of(kind);
      /* An error after the rename (the folder's flush) may come with the new content in place. */
      expect(ok ? v == 1 : v >= 0 && e.msg[0], "a failed call", kind, at);
      expect(files() == before, "a temporary file is left", kind, at);
      if (over) break;
    }
}

static void kill_at_random(int kind, int kills) {
  int seen[2] = {0, 0}, now = 0;
  unsigned seed = 12345;
  set_old(kind);
  for (int i = 0; i < kills; i++) {
    pid_t pid = fork();
    if (pid == 0)
      for (int v = 1 - now;; v ^= 1) {
        sys_err e = {{0}, 0};
        save(kind, v, &e);
      }
    seed = seed * 1103515245u + 12345u;
    usleep(200 + seed / 65536u % 12000);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    int v = version_of(kind);
    expect(v >= 0, "neither old nor new after a kill", kind, i);
    if (v >= 0) seen[v != now]++, now = v;
    sweep_temporaries();
  }
  printf("%-14s killed %d times: %d old, %d new\n", names[kind], kills, seen[0], seen[1]);
}

int main(int argc, char **argv) {
  int kills = argc > 1 ? atoi(argv[1]) : 50;
  if (!mkdtemp(dir)) return 2;
  for (int v = 0; v < 2; v++) {
    payload[v] = malloc(N);
    for (int i = 0; payload[v] && i < N; i++) payload[v][i] = (uint8_t)(i * 7 + v * 101);
  }
  for (int k = 0; k < 4; k++) sweep(k), kill_at_random(k, kills);
  for (int k = 0; k < 4; k++) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, names[k]);
    unlink(path);
  }
  rmdir(dir);
  for (int v = 0; v < 2; v++) free(payload[v]);
  printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
