/* blas.c: the only file that knows OpenBLAS (see blas.h).
 *
 * Debian's 0.3.21 does not recognise recent cores and falls to its slowest kernels, so the core
 * type is chosen here from CPUID and put into the environment while the library loads.  A LAPACK
 * symbol is sgetrf_, dgetrf_, cgetrf_ or zgetrf_; Fortran passes the lengths of strings behind the
 * arguments, which the calls below append for every character. */
#define _GNU_SOURCE
#include "blas.h"
#include "cpu.h"
#include "kern_small.h"
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef void (*Fn)(); /* arguments differ by routine: declared without a prototype */

static void *library;
static char description[160] = "LAPACK: not loaded yet";
static pthread_once_t once = PTHREAD_ONCE_INIT;

static const char *core_type(void) {
#ifdef __x86_64__
  switch (mt_cpu_level()) {
    case MT_CPU_AVX512: return mt_cpu_has_bf16() ? "Cooperlake" : "SkylakeX";
    case MT_CPU_AVX2: return mt_cpu_is_intel() ? "Haswell" : "Zen";
    default: return NULL;
  }
#else
  return NULL;
#endif
}

static void set_once(const char *name, const char *value, bool *set) {
  *set = value && !getenv(name) && setenv(name, value, 1) == 0;
}

static void load(void) {
  static const char *const names[] = {"libopenblas.so.0", "libopenblas.so", "liblapack.so.3",
                                      "libopenblas.dylib"};
  bool core_set, threads_set;
  set_once("OPENBLAS_CORETYPE", core_type(), &core_set);
  set_once("OPENBLAS_NUM_THREADS", "1", &threads_set);
  const char *found = NULL;
  for (size_t i = 0; i < sizeof names / sizeof *names && !library; i++)
    if ((library = dlopen(found = names[i], RTLD_NOW | RTLD_LOCAL)) && !dlsym(library, "dgetrf_"))
      library = NULL;
  if (core_set) unsetenv("OPENBLAS_CORETYPE");
  if (threads_set) unsetenv("OPENBLAS_NUM_THREADS");
  if (!library) {
    snprintf(description, sizeof description, "LAPACK: none found (linear algebra needs OpenBLAS)");
    return;
  }
  void (*set)(int) = (void (*)(int))dlsym(library, "openblas_set_num_threads");
  char *(*corename)(void) = (char *(*)(void))dlsym(library, "openblas_get_corename");
  if (set) set(1);
  snprintf(description, sizeof description, "LAPACK: %s%s%s", found, corename ? ", core " : "",
           corename ? corename() : "");
}

bool mt_lapack_available(void) {
  pthread_once(&once, load);
  return library != NULL;
}

const char *mt_blas_describe(void) {
  pthread_once(&once, load);
  return description;
}

static Fn look_up(MtGemmType t, const char *real_name, const char *complex_name) {
  static const char letters[] = {
      [MT_GEMM_F32] = 's', [MT_GEMM_F64] = 'd', [MT_GEMM_C64] = 'c', [MT_GEMM_C128] = 'z'};
  char name[16];
  if (!mt_lapack_available()) return NULL;
  snprintf(name, sizeof name, "%c%s_", letters[t], t >= MT_GEMM_C64 ? complex_name : real_name);
  Fn f = NULL;
  *(void **)&f = dlsym(library, name);
  return f;
}
/* A thread's first call tells OpenMP that one thread is enough: an OpenBLAS built with it goes by
 * a number that every calling thread has for itself (openblas_set_num_threads set the loader's),
 * and would share each of a batch's small products between the cores that the batch keeps busy. */
static void alone(void) {
  static _Thread_local bool told;
  if (told) return;
  told = true;
  void (*set)(int) = (void (*)(int))dlsym(library, "omp_set_num_threads");
  if (set) set(1);
}

/* The routine, looked up once a type. */
static Fn routine(_Atomic(Fn) *known, MtGemmType t, const char *real_name, const char *complex) {
  Fn f = atomic_load_explicit(known + t, memory_order_acquire);
  if (!f && (f = look_up(t, real_name, complex)))
    atomic_store_explicit(known + t, f, memory_order_release);
  if (f) alone();
  return f;
}
#define GET(f, real, cplx)                          \
  static _Atomic(Fn) known_##f[MT_GEMM_C128 + 1];   \
  Fn f = routine(known_##f, t, real, cplx);         \
  if (!f) return MT_LAPACK_MISSING

static bool is_complex(MtGemmType t) { return t >= MT_GEMM_C64; }
static size_t size_of(MtGemmType t) { return t == MT_GEMM_F32 ? 4 : t == MT_GEMM_C128 ? 16 : 8; }
static size_t real_size(MtGemmType t) { return t == MT_GEMM_F32 || t == MT_GEMM_C64 ? 4 : 8; }

static size_t slack(int m, int n) { return mt_lapack_slack(m > n ? m : n); }

/* The size a workspace query wrote into its first element. */
typedef union { float f; double d; char room[16]; } Query;
static int queried(MtGemmType t, const Query *q) {
  double n = real_size(t) == 4 ? (double)q->f : q->d;
  return n < 1
             ? 1
             : (int)(n * (real_size(t) == 4 ? 1.0000003 : 1) + 0.5); /* floats round large sizes */
}

/* Small dense real matrices have kernels of their own. */
const MtSmallKerns *mt_small(void) { return MT_AT_LEVEL(&mt_small_kerns); }
static bool is_small(MtGemmType t, int m, int n, int lda) {
  return !is_complex(t) && m == n && n <= MT_SMALL && lda == n;
}
static bool single(MtGemmType t) { return t == MT_GEMM_F32; }

int mt_getrf(MtGemmType t, int m, int n, void *a, int lda, int *ipiv) {
  if (is_small(t, m, n, lda))
    return single(t) ? mt_small()->lu_f32(n, a, ipiv) : mt_small()->lu_f64(n, a, ipiv);
  GET(f, "getrf", "getrf");
  int info = 0;
  f(&m, &n, a, &lda, ipiv, &info);
  return info;
}

int mt_getrs(MtGemmType t, char trans, int n, int nrhs, const void *a, int lda, const int *ipiv,
             void *b, int ldb) {
  if (is_small(t, n, n, lda) && ldb == n) {
    if (single(t)) mt_small()->lu_solve_f32(n, nrhs, trans != 'N', a, ipiv, b);
    else mt_small()->lu_solve_f64(n, nrhs, trans != 'N', a, ipiv, b);
    return 0;
  }
  GET(f, "getrs", "getrs");
  int info = 0;
  f(&trans, &n, &nrhs, a, &lda, ipiv, b, &ldb, &info, (size_t)1);
  return info;
}

int mt_potrf(MtGemmType t, char uplo, int n, void *a, int lda) {
  if (is_small(t, n, n, lda))
    return single(t) ? mt_small()->cholesky_f32(n, uplo == 'U', a)
                     : mt_small()->cholesky_f64(n, uplo == 'U', a);
  GET(f, "potrf", "potrf");
  int info = 0;
  f(&uplo, &n, a, &lda, &info, (size_t)1);
  return info;
}

int mt_potrs(MtGemmType t, char uplo, int n, int nrhs, const void *a, int lda, void *b, int ldb) {
  GET(f, "potrs", "potrs");
  int info = 0;
  f(&uplo, &n, &nrhs, a, &lda, b, &ldb, &info, (size_t)1);
  return info;
}

int mt_potri(MtGemmType t, char uplo, int n, void *a, int lda) {
  GET(f, "potri", "potri");
  int info = 0;
  f(&uplo, &n, a, &lda, &info, (size_t)1);
  return info;
}

int mt_geqrf(MtGemmType t, int m, int n, void *a, int lda, void *tau) {
  GET(f, "geqrf", "geqrf");
  int info = 0, lwork = -1;
  Query q;
  f(&m, &n, a, &lda, tau, &q, &lwork, &info);
  void *work = mt_malloc((size_t)(lwork = queried(t, &q)) * size_of(t) + slack(m, n));
  if (!work) return MT_LAPACK_NOMEM;
  f(&m, &n, a, &lda, tau, work, &lwork, &info);
  mt_free(work);
  return info;
}

int mt_geqrt3(MtGemmType t, int m, int n, void *a, int lda, void *tau, int ldt) {
  GET(f, "geqrt3", "geqrt3");
  int info = 0;
  f(&m, &n, a, &lda, tau, &ldt, &info);
  return info;
}

int mt_orgqr(MtGemmType t, int m, int n, int k, void *a, int lda, const void *tau) {
  GET(f, "orgqr", "ungqr");
  int info = 0, lwork = -1;
  Query q;
  f(&m, &n, &k, a, &lda, tau, &q, &lwork, &info);
  void *work = mt_malloc((size_t)(lwork = queried(t, &q)) * size_of(t) + slack(m, n));
  if (!work) return MT_LAPACK_NOMEM;
  f(&m, &n, &k, a, &lda, tau, work, &lwork, &info);
  mt_free(work);
  return info;
}

int mt_ormqr(MtGemmType t, char side, char trans, int m, int n, int k, const void *a, int lda,
             const void *tau, void *c, int ldc) {
  GET(f, "ormqr", "unmqr");
  int info = 0, lwork = -1;
  Query q;
  f(&side, &trans, &m, &n, &k, a, &lda, tau, c, &ldc, &q, &lwork, &info, (size_t)1, (size_t)1);
  void *work = mt_malloc((size_t)(lwork = queried(t, &q)) * size_of(t) + slack(m, n));
  if (!work) return MT_LAPACK_NOMEM;
  f(&side, &trans, &m, &n, &k, a, &lda, tau, c, &ldc, work, &lwork, &info, (size_t)1, (size_t)1);
  mt_free(work);
  return info;
}

int mt_gesdd(MtGemmType t, char jobz, int m, int n, void *a, int lda, void *s, void *u, int ldu,
             void *vt, int ldvt) {
  GET(f, "gesdd", "gesdd");
  int info = 0, lwork = -1;
  size_t mn = (size_t)(m < n ? m : n), mx = (size_t)(m < n ? n : m);
  size_t nr = !is_complex(t) ? 0
              : jobz == 'N'
                  ? 7 * mn
                  : mn * (5 * mn + 7 > 2 * mx + 2 * mn + 1 ? 5 * mn + 7 : 2 * mx + 2 * mn + 1);
  Query q;
  int *iwork = mt_malloc(8 * (mn + 1) * sizeof(int));
  void *rwork = mt_malloc((nr + 1) * real_size(t)), *work = NULL;
  if (iwork && rwork) {
    if (is_complex(t))
      f(&jobz, &m, &n, a, &lda, s, u, &ldu, vt, &ldvt, &q, &lwork, rwork, iwork, &info, (size_t)1);
    else f(&jobz, &m, &n, a, &lda, s, u, &ldu, vt, &ldvt, &q, &lwork, iwork, &info, (size_t)1);
    work = mt_malloc((size_t)(lwork = queried(t, &q)) * size_of(t) + slack(m, n));
  }
  if (!work) info = MT_LAPACK_NOMEM;
  else if (is_complex(t))
    f(&jobz, &m, &n, a, &lda, s, u, &ldu, vt, &ldvt, work, &lwork, rwork, iwork, &info, (size_t)1);
  else f(&jobz, &m, &n, a, &lda, s, u, &ldu, vt, &ldvt, work, &lwork, iwork, &info, (size_t)1);
  mt_free(work); mt_free(rwork); mt_free(iwork);
  return info;
}

int mt_syevd(MtGemmType t, char jobz, char uplo, int n, void *a, int lda, void *w) {
  GET(f, "syevd", "heevd");
  int info = 0, lwork = -1, liwork = -1, lrwork = -1, iq = 1;
  Query q = {0}, rq = {0};
  if (is_complex(t))
    f(&jobz, &uplo, &n, a, &lda, w, &q, &lwork, &rq, &lrwork, &iq, &liwork, &info, (size_t)1,
      (size_t)1);
  else f(&jobz, &uplo, &n, a, &lda, w, &q, &lwork, &iq, &liwork, &info, (size_t)1, (size_t)1);
  lwork = queried(t, &q); lrwork = queried(t, &rq); liwork = iq > 1 ? iq : 1;
  void *work = mt_malloc((size_t)lwork * size_of(t) + slack(n, n)),
       *rwork = mt_malloc((size_t)lrwork * real_size(t));
  int *iwork = mt_malloc((size_t)liwork * sizeof(int));
  if (!work || !rwork || !iwork) info = MT_LAPACK_NOMEM;
  else if (is_complex(t))
    f(&jobz, &uplo, &n, a, &lda, w, work, &lwork, rwork, &lrwork, iwork, &liwork, &info, (size_t)1,
      (size_t)1);
  else f(&jobz, &uplo, &n, a, &lda, w, work, &lwork, iwork, &liwork, &info, (size_t)1, (size_t)1);
  mt_free(work); mt_free(rwork); mt_free(iwork);
  return info;
}

/* LAPACK's real geev packs a conjugate pair of vectors into two real columns: unpacks to complex.
 */
#define UNPACK(T, name)                                                                       \
static void name(int n, const T *wr, const T *wi, const T *pv, T *w, T *v, int ldv) {         \
  for (int j = 0; j < n; j++) { w[2 * j] = wr[j]; w[2 * j + 1] = wi[j]; }                     \
  for (int j = 0; v && j < n; j++) {                                                          \
    bool pair = wi[j] != 0 && j + 1 < n;                                                      \
    T *x = v + 2 * (size_t)j * (size_t)ldv, *y = x + 2 * (size_t)ldv;                         \
    const T *re = pv + (size_t)j * (size_t)n, *im = re + n;                                   \
    for (int i = 0; i < n; i++) {                                                             \
      x[2 * i] = re[i]; x[2 * i + 1] = pair ? im[i] : 0;                                      \
      if (pair) { y[2 * i] = re[i]; y[2 * i + 1] = -im[i]; }                                  \
    }                                                                                         \
    j += pair;                                                                                \
  }                                                                                           \
}
UNPACK(float, unpack_f32)
UNPACK(double, unpack_f64)

static int geev_real(MtGemmType t, Fn f, char jobv, int n, void *a, int lda, void *w, void *v,
                     int ldv) {
  int info = 0, lwork = -1, one = 1, ld = n > 0 ? n : 1;
  char no = 'N';
  Query q;
  size_t size = size_of(t), count = (size_t)n * (size_t)n + 2 * (size_t)n + 1;
  f(&no, &jobv, &n, a, &lda, &q, &q, &q, &one, &q, &ld, &q, &lwork, &info, (size_t)1, (size_t)1);
  char *mem = mt_malloc((count + (size_t)(lwork = queried(t, &q))) * size + slack(n, n));
  if (!mem) return MT_LAPACK_NOMEM;
  char *wr = mem, *wi = wr + (size_t)n * size, *pv = wi + (size_t)n * size,
       *work = mem + count * size;
  f(&no, &jobv, &n, a, &lda, wr, wi, &q, &one, pv, &ld, work, &lwork, &info, (size_t)1, (size_t)1);
  if (t == MT_GEMM_F32)
    unpack_f32(n, (float *)(void *)wr, (float *)(void *)wi, (float *)(void *)pv, w, v, ldv);
  else unpack_f64(n, (double *)(void *)wr, (double *)(void *)wi, (double *)(void *)pv, w, v, ldv);
  mt_free(mem);
  return info;
}

int mt_geev(MtGemmType t, bool vectors, int n, void *a, int lda, void *w, void *v, int ldv) {
  GET(f, "geev", "geev");
  char no = 'N', jobv = vectors ? 'V' : 'N';
  if (!is_complex(t)) return geev_real(t, f, jobv, n, a, lda, w, vectors ? v : NULL, ldv);
  int info = 0, lwork = -1, one = 1;
  Query q, dummy;
  void *rwork = mt_malloc((2 * (size_t)n + 1) * real_size(t)), *work = NULL;
  if (!rwork) return MT_LAPACK_NOMEM;
  f(&no, &jobv, &n, a, &lda, w, &dummy, &one, v, &ldv, &q, &lwork, rwork, &info, (size_t)1,
    (size_t)1);
  if ((work = mt_malloc((size_t)(lwork = queried(t, &q)) * size_of(t) + slack(n, n))))
    f(&no, &jobv, &n, a, &lda, w, &dummy, &one, v, &ldv, work, &lwork, rwork, &info, (size_t)1,
      (size_t)1);
  else info = MT_LAPACK_NOMEM;
  mt_free(work); mt_free(rwork);
  return info;
}

int mt_gels(MtGemmType t, int m, int n, int nrhs, void *a, int lda, void *b, int ldb) {
  GET(f, "gels", "gels");
  int info = 0, lwork = -1;
  char no = 'N';
  Query q;
  f(&no, &m, &n, &nrhs, a, &lda, b, &ldb, &q, &lwork, &info, (size_t)1);
  void *work = mt_malloc((size_t)(lwork = queried(t, &q)) * size_of(t) + slack(m, n));
  if (!work) return MT_LAPACK_NOMEM;
  f(&no, &m, &n, &nrhs, a, &lda, b, &ldb, work, &lwork, &info, (size_t)1);
  mt_free(work);
  return info;
}

int mt_gelsd(MtGemmType t, int m, int n, int nrhs, void *a, int lda, void *b, int ldb, void *s,
             double rcond, int *rank) {
  GET(f, "gelsd", "gelsd");
  int info = 0, lwork = -1, iq = 1;
  Query q = {0}, rq = {0}, rc;
  if (real_size(t) == 4) rc.f = (float)rcond;
  else rc.d = rcond;
  if (is_complex(t)) f(&m, &n, &nrhs, a, &lda, b, &ldb, s, &rc, rank, &q, &lwork, &rq, &iq, &info);
  else f(&m, &n, &nrhs, a, &lda, b, &ldb, s, &rc, rank, &q, &lwork, &iq, &info);
  void *work = mt_malloc((size_t)(lwork = queried(t, &q)) * size_of(t) + slack(m, n)),
       *rwork = mt_malloc((size_t)queried(t, &rq) * real_size(t));
  int *iwork = mt_malloc((size_t)(iq > 1 ? iq : 1) * sizeof(int));
  if (!work || !rwork || !iwork) info = MT_LAPACK_NOMEM;
  else if (is_complex(t))
    f(&m, &n, &nrhs, a, &lda, b, &ldb, s, &rc, rank, work, &lwork, rwork, iwork, &info);
  else f(&m, &n, &nrhs, a, &lda, b, &ldb, s, &rc, rank, work, &lwork, iwork, &info);
  mt_free(work); mt_free(rwork); mt_free(iwork);
  return info;
}

int mt_gelsy(MtGemmType t, int m, int n, int nrhs, void *a, int lda, void *b, int ldb, double rcond,
             int *rank) {
  GET(f, "gelsy", "gelsy");
  int info = 0, lwork = -1;
  Query q = {0}, rc;
  if (real_size(t) == 4) rc.f = (float)rcond;
  else rc.d = rcond;
  int *jpvt = mt_calloc((size_t)(n + 1) * sizeof(int));
  void *rwork = mt_malloc((2 * (size_t)n + 1) * real_size(t)), *work = NULL;
  if (jpvt && rwork) {
    if (is_complex(t))
      f(&m, &n, &nrhs, a, &lda, b, &ldb, jpvt, &rc, rank, &q, &lwork, rwork, &info);
    else f(&m, &n, &nrhs, a, &lda, b, &ldb, jpvt, &rc, rank, &q, &lwork, &info);
    work = mt_malloc((size_t)(lwork = queried(t, &q)) * size_of(t) + slack(m, n));
  }
  if (!work) info = MT_LAPACK_NOMEM;
  else if (is_complex(t))
    f(&m, &n, &nrhs, a, &lda, b, &ldb, jpvt, &rc, rank, work, &lwork, rwork, &info);
  else f(&m, &n, &nrhs, a, &lda, b, &ldb, jpvt, &rc, rank, work, &lwork, &info);
  mt_free(work); mt_free(rwork); mt_free(jpvt);
  return info;
}

int mt_trtrs(MtGemmType t, char uplo, char trans, char diag, int n, int nrhs, const void *a,
             int lda, void *b, int ldb) {
  GET(f, "trtrs", "trtrs");
  int info = 0;
  f(&uplo, &trans, &diag, &n, &nrhs, a, &lda, b, &ldb, &info, (size_t)1, (size_t)1, (size_t)1);
  return info;
}

int mt_trtri(MtGemmType t, char uplo, int n, void *a, int lda) {
  GET(f, "trtri", "trtri");
  char diag = 'N';
  int info = 0;
  f(&uplo, &diag, &n, a, &lda, &info, (size_t)1, (size_t)1);
  return info;
}

int mt_sytrf(MtGemmType t, bool hermitian, char uplo, int n, void *a, int lda, int *ipiv) {
  GET(f, "sytrf", hermitian ? "hetrf" : "sytrf");
  int info = 0, lwork = -1;
  Query q;
  f(&uplo, &n, a, &lda, ipiv, &q, &lwork, &info, (size_t)1);
  void *work = mt_malloc((size_t)(lwork = queried(t, &q)) * size_of(t) + slack(n, n));
  if (!work) return MT_LAPACK_NOMEM;
  f(&uplo, &n, a, &lda, ipiv, work, &lwork, &info, (size_t)1);
  mt_free(work);
  return info;
}

int mt_sytrs(MtGemmType t, bool hermitian, char uplo, int n, int nrhs, const void *a, int lda,
             const int *ipiv, void *b, int ldb) {
  GET(f, "sytrs", hermitian ? "hetrs" : "sytrs");
  int info = 0;
  f(&uplo, &n, &nrhs, a, &lda, ipiv, b, &ldb, &info, (size_t)1);
  return info;
}

/* --- long calls --- */
typedef struct {
  void (*run)(void *); void *job; void (*release)(void *);
  pthread_mutex_t lock;
  pthread_cond_t done_cond;
  bool done, dropped;
} Detached;

static void drop(Detached *d) {
  pthread_mutex_destroy(&d->lock);
  pthread_cond_destroy(&d->done_cond);
  mt_free(d);
}

static void *detached_main(void *arg) {
  Detached *d = arg;
  d->run(d->job);
  pthread_mutex_lock(&d->lock);
  bool dropped = d->dropped;
  d->done = true;
  pthread_cond_signal(&d->done_cond);
  pthread_mutex_unlock(&d->lock);
  if (dropped) { d->release(d->job); drop(d); }
  return NULL;
}

static bool start(Detached *d) {
  pthread_t thread;
  pthread_attr_t attr;
  sigset_t all, old;
  sigfillset(&all);
  sigdelset(&all, SIGBUS);
  pthread_attr_init(&attr);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  int err = pthread_create(&thread, &attr, detached_main, d);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  pthread_attr_destroy(&attr);
  return err == 0;
}

/* Waits for the thread, looking at the flag every few milliseconds; true when the job is done. */
static bool await(Detached *d) {
  pthread_mutex_lock(&d->lock);
  while (!d->done && !mt_interrupted) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_nsec += 5000000;
    if (t.tv_nsec >= 1000000000) { t.tv_nsec -= 1000000000; t.tv_sec++; }
    pthread_cond_timedwait(&d->done_cond, &d->lock, &t);
  }
  bool done = d->done;
  d->dropped = !done;
  pthread_mutex_unlock(&d->lock);
  return done;
}

int mt_run_detached(void (*run)(void *job), void *job, void (*release)(void *job), double flops) {
  Detached *d = flops > 2e7 ? mt_malloc(sizeof *d) : NULL;
  if (!d) { run(job); return 0; }
  *d = (Detached){.run = run, .job = job, .release = release};
  pthread_mutex_init(&d->lock, NULL);
  pthread_cond_init(&d->done_cond, NULL);
  if (!start(d)) { drop(d); run(job); return 0; }
  if (!await(d)) return MT_LAPACK_INTERRUPTED;
  drop(d);
  return 0;
}
