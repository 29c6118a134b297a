/* blas.h: LAPACK through OpenBLAS, loaded at run time.
 *
 * Invariants.  blas.c is the only file that knows OpenBLAS: it is opened at the first factorisation
 * (start-up stays instant), told the kernels this CPU wants, and keeps to one thread.  Matrices are
 * column-major with leading dimension ld; type is MT_GEMM_F32, F64, C64 or C128.  A wrapper returns
 * LAPACK's info (0: fine, > 0: singular, not converged), MT_LAPACK_MISSING where no library is
 * found, MT_LAPACK_NOMEM, or MT_LAPACK_INTERRUPTED. */
#ifndef MT_BLAS_H
#define MT_BLAS_H
#include "gemm.h"

/* OpenBLAS's complex kernels read past a matrix's end: up to a vector (zgemv of 0.3.21), and a
 * number of the column that would follow.  Matrices of ld rows and workspaces have that more. */
static inline size_t mt_lapack_slack(int64_t ld) { return 64 + 16 * (size_t)ld; }
enum { MT_LAPACK_MISSING = -1001, MT_LAPACK_NOMEM = -1002, MT_LAPACK_INTERRUPTED = -1003 };

bool mt_lapack_available(void);
const char *mt_blas_describe(void);            /* for torch.show_config() */

int mt_getrf(MtGemmType t, int m, int n, void *a, int lda, int *ipiv);
int mt_getrs(MtGemmType t, char trans, int n, int nrhs, const void *a, int lda, const int *ipiv,
             void *b, int ldb);
int mt_potrf(MtGemmType t, char uplo, int n, void *a, int lda);
int mt_potrs(MtGemmType t, char uplo, int n, int nrhs, const void *a, int lda, void *b, int ldb);
int mt_potri(MtGemmType t, char uplo, int n, void *a, int lda);
int mt_geqrf(MtGemmType t, int m, int n, void *a, int lda, void *tau);
/* Recursive, for m >= n; t (n x n, its lower part left alone) makes Q = I - V T V^H. */
int mt_geqrt3(MtGemmType t, int m, int n, void *a, int lda, void *tau, int ldt);
int mt_orgqr(MtGemmType t, int m, int n, int k, void *a, int lda, const void *tau);
int mt_ormqr(MtGemmType t, char side, char trans, int m, int n, int k, const void *a, int lda,
             const void *tau, void *c, int ldc);
int mt_gesdd(MtGemmType t, char jobz, int m, int n, void *a, int lda, void *s, void *u, int ldu,
             void *vt, int ldvt);
int mt_syevd(MtGemmType t, char jobz, char uplo, int n, void *a, int lda, void *w);
int mt_geev(MtGemmType t, bool vectors, int n, void *a, int lda, void *w, void *v,
            int ldv); /* w, v complex */
int mt_gels(MtGemmType t, int m, int n, int nrhs, void *a, int lda, void *b, int ldb);
int mt_gelsd(MtGemmType t, int m, int n, int nrhs, void *a, int lda, void *b, int ldb, void *s,
             double rcond, int *rank);
int mt_gelsy(MtGemmType t, int m, int n, int nrhs, void *a, int lda, void *b, int ldb, double rcond,
             int *rank);
int mt_trtrs(MtGemmType t, char uplo, char trans, char diag, int n, int nrhs, const void *a,
             int lda, void *b, int ldb);
int mt_trtri(MtGemmType t, char uplo, int n, void *a, int lda);
int mt_sytrf(MtGemmType t, bool hermitian, char uplo, int n, void *a, int lda, int *ipiv);
int mt_sytrs(MtGemmType t, bool hermitian, char uplo, int n, int nrhs, const void *a, int lda,
             const int *ipiv, void *b, int ldb);

/* Runs run(job).  When flops say that it may take long, on a thread of its own while this one
 * watches for Ctrl-C: then MT_LAPACK_INTERRUPTED, and the thread drops the job with release(job)
 * when it gets there; otherwise 0, and the caller releases it.  So a job must own all the memory it
 * touches. */
int mt_run_detached(void (*run)(void *job), void *job, void (*release)(void *job), double flops);
#endif
