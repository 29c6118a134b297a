/* lapack_test.c: the LAPACK wrappers reproduce the matrices they factor; a long call can be
 * abandoned; small matrices have kernels of their own, which are held to the same. */
#include "blas.h"
#include <complex.h>
#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int passed, failed;
static void check(const char *name, bool ok) {
  if (ok) passed++;
  else { failed++; printf("FAIL %s: condition is false\n", name); }
}

typedef double _Complex Z;
enum { N = 6 };
static unsigned rng = 7;
static double rnd(void) {
  rng = rng * 1664525u + 1013904223u;
  return (double)(int32_t)rng / 2147483648.0;
}

static Z get(MtGemmType t, const void *p, int i) {
  switch (t) {
    case MT_GEMM_F32: return ((const float *)p)[i];
    case MT_GEMM_F64: return ((const double *)p)[i];
    case MT_GEMM_C64: return ((const float _Complex *)p)[i];
    default: return ((const Z *)p)[i];
  }
}
static void put(MtGemmType t, void *p, int i, Z v) {
  switch (t) {
    case MT_GEMM_F32: ((float *)p)[i] = (float)creal(v); break;
    case MT_GEMM_F64: ((double *)p)[i] = creal(v); break;
    case MT_GEMM_C64: ((float _Complex *)p)[i] = (float _Complex)v; break;
    default: ((Z *)p)[i] = v;
  }
}
static double tol(MtGemmType t) { return t == MT_GEMM_F32 || t == MT_GEMM_C64 ? 1e-4 : 1e-10; }
static MtGemmType real_of(MtGemmType t) {
  return t == MT_GEMM_C64 ? MT_GEMM_F32 : t == MT_GEMM_C128 ? MT_GEMM_F64 : t;
}
static MtGemmType complex_of(MtGemmType t) {
  return t == MT_GEMM_F32 ? MT_GEMM_C64 : t == MT_GEMM_F64 ? MT_GEMM_C128 : t;
}

static void all(MtGemmType t) {
  Z a[N * N], h[N * N], work[N * N], b[N * N], v[N * N], u[N * N], w[N];
  double s[N];
  int piv[N];
  char store[N * N * 16], rhs[N * N * 16];
  bool cplx = t >= MT_GEMM_C64;
  for (int i = 0; i < N * N; i++) a[i] = rnd() + (cplx ? rnd() * I : 0) + (i % (N + 1) ? 0 : 3);
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) h[i + j * N] = a[i + j * N] + conj(a[j + i * N]) + (i == j ? 8 : 0);
  for (int i = 0; i < N * N; i++) { put(t, store, i, a[i]); put(t, rhs, i, h[i]); }
  double err = 0;
  check("getrf", mt_getrf(t, N, N, store, N, piv) == 0 &&
                     mt_getrs(t, 'N', N, N, store, N, piv, rhs, N) == 0);
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) {
      Z sum = -h[i + j * N];
      for (int p = 0; p < N; p++) sum += a[i + p * N] * get(t, rhs, p + j * N);
      err = fmax(err, cabs(sum));
    }
  check("solve", err < tol(t));
  for (int i = 0; i < N * N; i++) put(t, store, i, h[i]);
  check("syevd", mt_syevd(t, 'V', 'L', N, store, N, s) == 0);
  err = 0;
  for (int j = 0; j < N; j++)
    for (int i = 0; i < N; i++) {
      Z sum = -get(real_of(t), s, j) * get(t, store, i + j * N);
      for (int p = 0; p < N; p++) sum += h[i + p * N] * get(t, store, p + j * N);
      err = fmax(err, cabs(sum));
    }
  check("eigenvectors", err < tol(t));
  for (int i = 0; i < N * N; i++) put(t, store, i, a[i]);
  MtGemmType c = complex_of(t);
  check("geev", mt_geev(t, true, N, store, N, w, v, N) == 0);
  err = 0;
  for (int j = 0; j < N; j++)
    for (int i = 0; i < N; i++) {
      Z sum = -get(c, w, j) * get(c, v, i + j * N);
      for (int p = 0; p < N; p++) sum += a[i + p * N] * get(c, v, p + j * N);
      err = fmax(err, cabs(sum));
    }
  check("general eigenvectors", err < tol(t));
  for (int i = 0; i < N * N; i++) put(t, store, i, a[i]);
  check("gesdd", mt_gesdd(t, 'A', N, N, store, N, s, u, N, v, N) == 0);
  err = 0;
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) {
      Z sum = -a[i + j * N];
      for (int p = 0; p < N; p++)
        sum += get(t, u, i + p * N) * get(real_of(t), s, p) * get(t, v, p + j * N);
      err = fmax(err, cabs(sum));
    }
  check("svd", err < tol(t));
  for (int i = 0; i < N * N; i++) put(t, store, i, a[i]);
  check("qr", mt_geqrf(t, N, N, store, N, b) == 0);
  memcpy(work, store, sizeof store);
  check("orgqr", mt_orgqr(t, N, N, N, work, N, b) == 0);
  err = 0;
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) {
      Z sum = -a[i + j * N];
      for (int p = 0; p <= j; p++) sum += get(t, work, i + p * N) * get(t, store, p + j * N);
      err = fmax(err, cabs(sum));
    }
  check("QR = A", err < tol(t));
}

/* ---- LU and Cholesky of every size, small ones by kernels of their own ---- */
enum { MOST = 18 };
static Z at(MtGemmType t, const void *p, int n, int i, int j) { return get(t, p, i + j * n); }
static double lu_error(MtGemmType t, const Z *a, const void *lu, const int *piv, int n) {
  int row[MOST];
  double err = 0;
  for (int i = 0; i < n; i++) row[i] = i;
  for (int i = 0; i < n; i++) { int p = piv[i] - 1, x = row[i]; row[i] = row[p]; row[p] = x; }
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      Z sum = -a[row[i] + j * n];
      for (int k = 0; k <= i && k <= j; k++)
        sum += (k == i ? 1 : at(t, lu, n, i, k)) * at(t, lu, n, k, j);
      err = fmax(err, cabs(sum));
    }
  return err;
}
static void lu_of(MtGemmType t, int n) {
  Z a[MOST * MOST], b[MOST * MOST];
  int piv[MOST];
  char lu[MOST * MOST * 16], x[MOST * MOST * 16];
  bool cplx = t >= MT_GEMM_C64, ok = true;
  for (int i = 0; i < n * n; i++) {
    a[i] = rnd() + (cplx ? rnd() * I : 0) + (i % n == (i / n + 1) % n ? 2 : 0);
    put(t, lu, i, a[i]);
  }
  check("LU: info", mt_getrf(t, n, n, lu, n, piv) == 0);
  check("LU: P A = L U", lu_error(t, a, lu, piv, n) < tol(t));
  for (int i = 0; i < n; i++)
    for (int j = i + 1; j < n; j++) ok &= cabs(at(t, lu, n, j, i)) < 1.5; /* the largest pivots */
  check("LU: multipliers", ok);
  for (int turned = 0; turned < 2; turned++)
    for (int cols = 1; cols <= n; cols += n > 4 ? 3 : 1) {
      double err = 0;
      for (int i = 0; i < n * cols; i++) {
        b[i] = rnd() + (cplx ? rnd() * I : 0);
        put(t, x, i, b[i]);
      }
      mt_getrs(t, turned ? 'T' : 'N', n, cols, lu, n, piv, x, n);
      for (int i = 0; i < n; i++)
        for (int j = 0; j < cols; j++) {
          Z sum = -b[i + j * n];
          for (int k = 0; k < n; k++) sum += a[turned ? k + i * n : i + k * n] * at(t, x, n, k, j);
          err = fmax(err, cabs(sum));
        }
      check(turned ? "LU: solve turned" : "LU: solve", err < 20 * tol(t));
    }
  for (int i = 0; i < n * n; i++) put(t, lu, i, i / n == n / 2 ? 0 : a[i]);
  check("LU: a column of zeros", mt_getrf(t, n, n, lu, n, piv) == n / 2 + 1);
}
static void cholesky_of(MtGemmType t, int n, char uplo) {
  Z a[MOST * MOST], h[MOST * MOST];
  char f[MOST * MOST * 16];
  double err = 0;
  for (int i = 0; i < n * n; i++) a[i] = rnd() + (t >= MT_GEMM_C64 ? rnd() * I : 0);
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      h[i + j * n] = i == j;
      for (int k = 0; k < n; k++) h[i + j * n] += a[i + k * n] * conj(a[j + k * n]);
      bool read = uplo == 'L' ? i >= j : i <= j;
      put(t, f, i + j * n, read ? h[i + j * n] : NAN);
    }
  check("Cholesky: info", mt_potrf(t, uplo, n, f, n) == 0);
  for (int i = 0; i < n; i++)
    for (int j = 0; j <= i; j++) {
      Z sum = -h[i + j * n];
      for (int k = 0; k <= j; k++)
        sum += uplo == 'L' ? at(t, f, n, i, k) * conj(at(t, f, n, j, k))
                           : conj(at(t, f, n, k, i)) * at(t, f, n, k, j);
      err = fmax(err, cabs(sum));
    }
  check("Cholesky: A = L L^H", err < 20 * tol(t));
  for (int i = 0; i < n * n; i++) put(t, f, i, i == n * n - 1 ? -1 : i % (n + 1) == 0);
  check("Cholesky: not positive", mt_potrf(t, uplo, n, f, n) == n);
}

/* Threads of this process; 0 where the system does not tell. */
static int threads(void) {
  DIR *d = opendir("/proc/self/task");
  int n = 0;
  while (d && readdir(d)) n++;
  if (d) closedir(d);
  return d ? n : 0;
}
/* A factorisation large enough for OpenBLAS to share it, on a thread that never called before. */
static void *elsewhere(void *arg) {
  enum { B = 200 };
  float *a = calloc(B * B, sizeof *a);
  int piv[B];
  for (int i = 0; a && i < B * B; i++) a[i] = (float)rnd() + (i % (B + 1) ? 0 : 30);
  bool ok = a && mt_getrf(MT_GEMM_F32, B, B, a, B, piv) == 0;
  free(a);
  *(int *)arg = ok ? threads() : -1;
  return NULL;
}
static void no_threads_of_its_own(void) {
#ifdef __SANITIZE_THREAD__
  printf("SKIP counting threads: ThreadSanitizer starts one of its own\n");
  return;
#endif
  pthread_t t;
  int inside = -1, before = threads();
  if (pthread_create(&t, NULL, elsewhere, &inside)) return;
  pthread_join(t, NULL);
  check("LAPACK on a new thread starts no threads", inside == (before ? before + 1 : 0));
}

static void slow(void *job) {
  struct timespec t = {0, 50000000};
  nanosleep(&t, NULL);
  *(int *)job = 1;
}
static void release(void *job) { free(job); }

int main(void) {
  if (!mt_lapack_available()) { printf("0 passed, 0 failed (%s)\n", mt_blas_describe()); return 0; }
  for (int t = MT_GEMM_F32; t <= MT_GEMM_C128; t++) all((MtGemmType)t);
  for (int t = MT_GEMM_F32; t <= MT_GEMM_C128; t++)
    for (int n = 1; n <= MOST; n++) {
      lu_of((MtGemmType)t, n);
      cholesky_of((MtGemmType)t, n, 'L');
      cholesky_of((MtGemmType)t, n, 'U');
    }
  no_threads_of_its_own();
  int *job = calloc(1, sizeof *job);
  check("detached", mt_run_detached(slow, job, release, 1e9) == 0 && *job == 1);
  mt_interrupted = 1;
  check("abandoned", mt_run_detached(slow, job, release, 1e9) == MT_LAPACK_INTERRUPTED);
  mt_interrupted = 0;
  struct timespec t = {0, 100000000};
  nanosleep(&t, NULL);
  printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
