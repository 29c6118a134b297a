/* linalg_job.h: a batch of matrices on its way through LAPACK.
 *
 * Invariants.  A Job owns all the memory that its run touches, so that a long one may be left
 * behind when it is interrupted (blas.h).  Its matrices are dense and column-major, one after the
 * other; a batch is spread over the threads, and Ctrl-C is looked at between matrices. */
#ifndef MT_LINALG_JOB_H
#define MT_LINALG_JOB_H
#include "blas.h"
#include "moth.h"
#include <stdatomic.h>

typedef struct Job {
  MtGemmType type;
  size_t size, real;                          /* bytes of an element and of its real part */
  int64_t batch;
  int m, n, nrhs, k;
  char *a, *b, *s, *u, *v; /* column-major batches; what each means is the kernel's matter */
  size_t as, bs, ss, us, vs;                  /* bytes from one matrix to the next */
  int *piv, *info;
  bool flag, flag2;
  char how, mode;
  double rcond;
  _Atomic int failure;
  void (*one)(struct Job *j, int64_t i);
} Job;

#define BLOCK(j, x) ((void *)((j)->x + (size_t)i * (j)->x##s))

int64_t mt_batch_of(const Tensor *t, int last);  /* matrices: the product of all but `last` sizes */

bool mt_job_takes(Ctx *c, const Tensor *a, bool square); /* or why not */

/* A job whose block a holds the matrices of a column by column; or row by row, which is LAPACK's
 * view of their transposes. */
Job *mt_job_new(Ctx *c, Tensor *a, bool columns);
void mt_job_free(void *p);
bool mt_job_fill(Ctx *c, char *to, size_t step, Tensor *t, bool columns);
/* A block of so many bytes a matrix; *step becomes that. */
bool mt_job_room(Ctx *c, const Job *j, char **p, size_t *step, size_t bytes);

/* LAPACK's iterations neither end nor stay within their memory on infinities and nans, so these
 * never reach it. part: 'L' or 'U' where it reads one triangle, else 0. */
bool mt_job_finite(Ctx *c, const Job *j, char part);

void mt_job_note(Job *j, int64_t i, int info);   /* a matrix's info, or why all must end */

/* Runs a job; false (and the job is gone) when it failed as a whole. each: operations a matrix. */
bool mt_job_finish(Ctx *c, Job *j, double each);

/* A tensor with a's batch dimensions and the last sizes m, n (n < 0: none), filled from
 * column-major blocks; and a contiguous one of like's shape from rows. */
Tensor *mt_job_unload(Ctx *c, const Tensor *a, int last, DType d, const char *p, size_t step,
                      int64_t m, int64_t n);
Tensor *mt_job_unload_rows(Ctx *c, const Tensor *like, const char *p);
Tensor *mt_job_infos(Ctx *c, const Tensor *a, const Job *j);

/* Right-hand sides b (columns ldb apart) of the factors a (n x n) that getrf left, where there are
 * pivots, or of a triangle; shared by the threads.  The value is LAPACK's info. */
typedef struct {
  MtGemmType type;
  char trans, uplo, diag;
  int n;
  const void *a;
  const int *piv;
  void *b;
  int ldb;
  _Atomic int info;
} MtColumns;
int mt_solve_columns(MtColumns *s, int nrhs);
#endif
