/* lstsq.c: least squares (row: _lstsq of ops_linalg.def).
 *
 * A matrix with as many rows as columns or more is factored first (qr.h): |A X - B| is least where
 * |R X - Q^H B| is, over the first rows.  LAPACK's drivers then have R to look at; gelsy, which
 * takes its time with pivots to find the rank, is spared where R is plainly of full rank. */
#include "expr_rt.h"
#include "linalg_job.h"
#include "op.h"
#include "qr.h"
#include <math.h>
#include <string.h>

static double cube(const Job *j) { return 2.0 * (double)j->m * (double)j->n * (double)j->n; }

/* Sums of squares of a matrix; and y = R x, then x = R^H y, for an upper triangle R. */
#define SQUARE_REAL(x) ((double)(x) * (double)(x))
#define SQUARE_COMPLEX(x) (SQUARE_REAL(creal(x)) + SQUARE_REAL(cimag(x)))
#define CONJ_REAL(x) (x)
#define LOOPS(T, S, SQUARE, CONJ)                                                \
  static double squares_##S(int64_t n, const T *x) {                             \
    double s = 0;                                                                \
    for (int64_t i = 0; i < n; i++) s += SQUARE(x[i]);                           \
    return s;                                                                    \
  }                                                                              \
  static void forth_back_##S(int n, const T *r, T *x, T *y) {                    \
    memset(y, 0, (size_t)n * sizeof(T));                                         \
    for (int64_t q = 0; q < n; q++)                                              \
      for (int64_t p = 0; p <= q; p++) y[p] += r[q * n + p] * x[q];              \
    for (int64_t q = 0; q < n; q++) {                                            \
      T s = 0;                                                                   \
      for (int64_t p = 0; p <= q; p++) s += CONJ(r[q * n + p]) * y[p];           \
      x[q] = s;                                                                  \
    }                                                                            \
  }                                                                              \
  /* The largest singular value, or up to a few times less: by power iteration. */ \
  static double largest_##S(int n, const T *r, T *x) {                           \
    for (int i = 0; i < n; i++) x[i] = (T)(1 + 0.3 * (i % 7)) * (i % 3 ? 1 : -1); \
    double from = 1, to = 0;                                                     \
    for (int times = 0; times < 4; times++) {                                    \
      from = sqrt(squares_##S(n, x));                                            \
      for (int i = 0; i < n; i++) x[i] = (T)(x[i] * (1 / from));                 \
      forth_back_##S(n, r, x, x + n);                                            \
      to = sqrt(squares_##S(n, x));                                              \
    }                                                                            \
    return sqrt(to);                                                             \
  }
LOOPS(float, f32, SQUARE_REAL, CONJ_REAL)
LOOPS(double, f64, SQUARE_REAL, CONJ_REAL)
LOOPS(cfloat, c64, SQUARE_COMPLEX, conjf)
LOOPS(cdouble, c128, SQUARE_COMPLEX, conj)
#define BY_TYPE(t, f, n, ...)                                                    \
  ((t) == MT_GEMM_F32 ? f##_f32(n, __VA_ARGS__) : (t) == MT_GEMM_F64 ? f##_f64(n, __VA_ARGS__) \
   : (t) == MT_GEMM_C64 ? f##_c64(n, __VA_ARGS__) : f##_c128(n, __VA_ARGS__))

/* Is the least singular value of R certainly more than rcond times the largest?  The first is at
 * least 1 / |R^-1|; four times what the iteration finds is more than the second. */
static bool full_rank(const Job *j, const char *r, int *err) {
  int n = j->n;
  size_t bytes = (size_t)n * (size_t)n * j->size;
  char *inv = mt_malloc(bytes + 2 * (size_t)n * j->size + mt_lapack_slack(n));
  if (!inv) { *err = MT_LAPACK_NOMEM; return false; }
  memcpy(inv, r, bytes);
  int info = mt_trtri(j->type, 'U', n, inv, n);
  double least = info ? 0 : 1 / sqrt(BY_TYPE(j->type, squares, (int64_t)n * n, (void *)inv)),
         most = 4 * BY_TYPE(j->type, largest, n, (const void *)r, (void *)(inv + bytes));
  mt_free(inv);
  if (info < -1000) *err = info;
  return least > 0 && most > 0 && least > j->rcond * most && isfinite(most);
}

/* X of A = Q R for j's matrix i, b being B.  Values as LAPACK's. */
static int through_qr(Job *j, int64_t i, int *rank) {
  MtQr q;
  int n = j->n, err = mt_qr_factor(&q, j->type, j->m, n, BLOCK(j, a));
  if (!err) err = mt_qr_apply(&q, true, j->nrhs, BLOCK(j, b));
  mt_qr_free(&q);
  char *r = err ? NULL : mt_qr_triangle(j->type, j->m, n, BLOCK(j, a));
  if (!r) return err ? err : MT_LAPACK_NOMEM;
  if (j->how == 'l' || (j->how == 'y' && full_rank(j, r, &err))) {
    MtColumns s = {.type = j->type, .uplo = 'U', .trans = 'N', .diag = 'N', .n = n, .a = r,
                   .b = BLOCK(j, b), .ldb = j->m};
    err = mt_solve_columns(&s, j->nrhs);
    *rank = n;
  } else if (!err && j->how == 'y')
    err = mt_gelsy(j->type, n, n, j->nrhs, r, n, BLOCK(j, b), j->m, j->rcond, rank);
  else if (!err)
    err = mt_gelsd(j->type, n, n, j->nrhs, r, n, BLOCK(j, b), j->m, BLOCK(j, s), j->rcond, rank);
  mt_free(r);
  return err;
}
/* b holds max(m, n) rows a column; piv the ranks, s the singular values where the driver has
 * them. */
static void one_lstsq(Job *j, int64_t i) {
  int lda = j->m > 1 ? j->m : 1, ldb = j->m > j->n ? j->m : j->n, info;
  int m = j->m, n = j->n, *rank = j->piv + i;
  void *a = BLOCK(j, a), *b = BLOCK(j, b);
  bool gains = j->how == 'd' ? m >= 2 * n : m >= n;
  if (gains && mt_qr_pays(m, n)) info = through_qr(j, i, rank);
  else if (j->how == 'l') info = mt_gels(j->type, m, n, j->nrhs, a, lda, b, ldb);
  else if (j->how == 'y')
    info = mt_gelsy(j->type, m, n, j->nrhs, a, lda, b, ldb, j->rcond, rank);
  else info = mt_gelsd(j->type, m, n, j->nrhs, a, lda, b, ldb, BLOCK(j, s), j->rcond, rank);
  mt_job_note(j, i, info);
}
/* Copies the right-hand sides below each other, with room for the solution; false: no memory. */
static bool load_tall(Ctx *c, Job *j, Tensor *B) {
  Tensor *t = t_transpose(c, B, -2, -1), *flat = t ? mt_contig(c, t) : NULL;
  size_t from = (size_t)j->m * j->size, to = (size_t)(j->m > j->n ? j->m : j->n) * j->size;
  j->nrhs = (int)B->size[B->ndim - 1];
  if (!flat || !mt_job_room(c, j, &j->b, &j->bs, to * (size_t)j->nrhs)) return false;
  memset(j->b, 0, (size_t)j->batch * j->bs);
  for (int64_t k = 0; from && k < j->batch * j->nrhs; k++)
    memcpy(j->b + (size_t)k * to, (char *)mt_data(flat) + (size_t)k * from, from);
  return true;
}
static Job *lstsq_job(Ctx *c, Tensor *A, Tensor *B, double rcond, const char *driver) {
  Job *j = mt_job_new(c, A, true);
  if (!j) return NULL;
  j->how = !strcmp(driver, "gels") ? 'l' : !strcmp(driver, "gelsy") ? 'y' : 'd';
  j->rcond = rcond;
  j->one = one_lstsq;
  j->piv = mt_calloc((size_t)j->batch * sizeof(int) + 1);
  bool ok = j->piv || mt_nomem(c);
  if (ok && load_tall(c, j, B) && mt_job_finite(c, j, 0) &&
      mt_job_room(c, j, &j->s, &j->ss, (size_t)j->k * j->real))
    return j;
  mt_job_free(j);
  return NULL;
}
void k__lstsq(Ctx *c, Tensor *A, Tensor *B, double rcond, const char *driver, Val *r) {
  if (!mt_job_takes(c, A, false)) return;
  Job none = {0}, *j = &none;
  int64_t n = A->size[A->ndim - 1], nrhs = B->size[B->ndim - 1], size[MT_MAXDIM];
  if (!mt_meta(A)) {
    if (!(j = lstsq_job(c, A, B, rcond, driver))) return;
    if (j->k && j->nrhs) {
      if (!mt_job_finish(c, j, 4 * cube(j))) return;
      for (int64_t i = 0; i < j->batch && !c->err; i++)
        if (j->info[i])
          mt_fail(c, j->how == 'l' ? "the matrix (batch element %lld) does not have full rank"
                                   : "the singular values of batch element %lld did not converge",
                  (long long)i);
    } else if (j->ss) memset(j->s, 0, (size_t)j->batch * j->ss);
  }
  int64_t tall = A->size[A->ndim - 2] > n ? A->size[A->ndim - 2] : n;
  Tensor *x = mt_job_unload(c, A, 2, (DType)A->dtype, j->b, j->bs, tall, nrhs);
  r[0].t = x && tall != n ? t_clone(c, t_narrow(c, x, -2, 0, n), -1) : x;
  memcpy(size, A->size, sizeof(int64_t) * (size_t)(A->ndim - 2));
  r[1].t = mt_new(c, mt_il(size, A->ndim - 2), MT_int64, mt_meta(A) ? MT_META : MT_CPU);
  for (int64_t i = 0; r[1].t && !mt_meta(A) && i < j->batch; i++)
    ((int64_t *)mt_data(r[1].t))[i] = j->piv[i];
  r[2].t = mt_job_unload(c, A, 2, mt_real_dtype((DType)A->dtype), j->s, j->ss,
                  A->size[A->ndim - 2] < n ? A->size[A->ndim - 2] : n, -1);
  if (j != &none) mt_job_free(j);
}
