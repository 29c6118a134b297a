/* linalg_core.c: the kernels of ops_linalg.def that run LAPACK.
 *
 * Every kernel copies its matrices column by column into a Job, runs it (on a thread of its own
 * when it may take long, so that Ctrl-C can abandon it, see blas.h), and copies the results into
 * new tensors.  A batch is spread over the threads. */
#include "expr_rt.h"
#include "linalg_job.h"
#include "op.h"
#include "qr.h"
#include <math.h>
#include <string.h>

static Tensor *shape_only(Ctx *c, const Tensor *a, DType d, int64_t m, int64_t n) {
  return mt_job_unload(c, a, 2, d, NULL, 0, m, n);
}
static double cube(const Job *j) { return 2.0 * (double)j->m * (double)j->n * (double)j->n; }

/* ---- triangles and diagonals ---- */
typedef struct { const char *from; char *to; int64_t m, n, diagonal, size; bool upper; } Tri;
static void tri_rows(void *ctx, int64_t lo, int64_t hi) {
  const Tri *t = ctx;
  int64_t n = t->n, size = t->size;
  for (int64_t i = lo; i < hi; i++) {
    const char *from = t->from + i * n * size;
    char *to = t->to + i * n * size;
    int64_t cut; /* first column kept (upper), first dropped (lower) */
    if (__builtin_add_overflow(i % t->m + (t->upper ? 0 : 1), t->diagonal, &cut)) cut = n;
    cut = cut < 0 ? 0 : cut > n ? n : cut;
    if (t->upper) {
      memset(to, 0, (size_t)(cut * size));
      memcpy(to + cut * size, from + cut * size, (size_t)((n - cut) * size));
    } else {
      memcpy(to, from, (size_t)(cut * size));
      memset(to + cut * size, 0, (size_t)((n - cut) * size));
    }
  }
}
Tensor *k__tri(Ctx *c, Tensor *self, int64_t diagonal, bool upper) {
  if (self->ndim < 2)
    return mt_fail(c, "expected at least 2 dimensions, got shape %s",
                   mt_list_str(c, mt_sizes(self)));
  Tensor *x = mt_contig(c, self->flags & MT_CONJ ? t_resolve_conj(c, self) : self),
         *r = mt_new_like(c, self, (DType)self->dtype);
  if (!x || !r || mt_meta(r) || !r->numel) return r;
  Tri t = {mt_data(x), mt_data(r), self->size[self->ndim - 2], self->size[self->ndim - 1],
           diagonal, (int64_t)mt_dsize(self->dtype), upper};
  mt_parallel(mt_batch_of(self, 2) * t.m, 1 + (1 << 14) / (t.n * t.size), tri_rows, &t);
  return r;
}
Tensor *k__eye_like(Ctx *c, Tensor *self, int64_t n) {
  return t_eye(c, n, n, self->dtype, -1, mt_meta(self) ? MT_META : -1, -1, false);
}
Tensor *k__diag_matrix(Ctx *c, Tensor *self) {
  int64_t size[MT_MAXDIM], n = self->size[self->ndim - 1];
  memcpy(size, self->size, sizeof(int64_t) * self->ndim);
  size[self->ndim] = n;
  Tensor *r = t_zeros(c, mt_il(size, self->ndim + 1), self->dtype, -1, mt_meta(self) ? MT_META : -1,
                      -1, false);
  Tensor *x = mt_contig(c, self->flags & MT_CONJ ? t_resolve_conj(c, self) : self);
  if (!r || !x || mt_meta(r)) return r;
  size_t es = mt_dsize(self->dtype);
  for (int64_t i = 0; i < self->numel; i++)
    memcpy((char *)mt_data(r) + (size_t)(i / n * n * n + i % n * (n + 1)) * es,
           (char *)mt_data(x) + (size_t)i * es, es);
  return r;
}

/* ---- Cholesky ---- */
/* Rows of A are columns of its transpose, whose upper factor is the lower one's transpose. */
static void one_potrf(Job *j, int64_t i) {
  size_t n = (size_t)j->n;
  mt_job_note(j, i, mt_potrf(j->type, j->how, j->n, BLOCK(j, a), j->n > 1 ? j->n : 1));
  char *col = BLOCK(j, a);
  for (size_t q = 0; q < n; q++, col += n * j->size)
    if (j->how == 'L') memset(col, 0, q * j->size);
    else memset(col + (q + 1) * j->size, 0, (n - 1 - q) * j->size);
}
void k_linalg_cholesky_ex(Ctx *c, Tensor *self, bool upper, bool check, Val *r) {
  if (!mt_job_takes(c, self, true)) return;
  Job none = {0}, *j = &none;
  if (!mt_meta(self)) {
    if (!(j = mt_job_new(c, self, false))) return;
    j->how = upper ? 'L' : 'U';
    j->one = one_potrf;
    if (!mt_job_finish(c, j, cube(j) / 6)) return;
  }
  r[0].t = mt_job_unload_rows(c, self, j->a);
  r[1].t = mt_job_infos(c, self, j);
  for (int64_t i = 0; check && i < j->batch; i++)
    if (j->info[i]) {
      mt_fail(c, "the matrix (batch element %lld) is not positive-definite (leading minor %d)",
              (long long)i, j->info[i]);
      break;
    }
  if (j != &none) mt_job_free(j);
}

/* ---- LU ---- */
static void one_getrf(Job *j, int64_t i) {
  int lda = j->m > 1 ? j->m : 1;
  mt_job_note(j, i, mt_getrf(j->type, j->m, j->n, BLOCK(j, a), lda, j->piv + i * j->k));
}
static bool run_lu(Ctx *c, Job *j) {
  j->piv = mt_malloc((size_t)j->batch * (size_t)j->k * sizeof(int));
  if (!j->piv) { mt_job_free(j); mt_nomem(c); return false; }
  j->one = one_getrf;
  return mt_job_finish(c, j, cube(j) / 3);
}
static Tensor *pivots_of(Ctx *c, const Tensor *a, const Job *j) {
  int64_t m = a->size[a->ndim - 2], n = a->size[a->ndim - 1], k = m < n ? m : n;
  return mt_job_unload(c, a, 2, MT_int32, (const char *)j->piv, (size_t)k * sizeof(int), k, -1);
}
void k_linalg_lu_factor_ex(Ctx *c, Tensor *A, bool pivot, bool check, Val *r) {
  if (!mt_job_takes(c, A, false)) return;
  if (!pivot) { mt_fail(c, "LU without pivoting is not implemented on the CPU"); return; }
  Job none = {0}, *j = &none;
  if (!mt_meta(A) && (!(j = mt_job_new(c, A, true)) || !run_lu(c, j))) return;
  r[0].t =
      mt_job_unload(c, A, 2, (DType)A->dtype, j->a, j->as, A->size[A->ndim - 2],
                    A->size[A->ndim - 1]);
  r[1].t = pivots_of(c, A, j);
  r[2].t = mt_job_infos(c, A, j);
  for (int64_t i = 0; check && i < j->batch; i++)
    if (j->info[i]) {
      mt_fail(c, "U[%d, %d] is zero", j->info[i], j->info[i]);
      break;
    }
  if (j != &none) mt_job_free(j);
}
Tensor *k__pivots_to_permutation(Ctx *c, Tensor *pivots, Tensor *like, int64_t m) {
  int64_t size[MT_MAXDIM + 1], k = pivots->ndim ? pivots->size[pivots->ndim - 1] : 0;
  if (pivots->ndim < 1 || pivots->ndim >= MT_MAXDIM || k > m)
    return mt_fail(c, "pivots must have at most %lld entries in the last dimension, got shape %s",
                   (long long)m, mt_list_str(c, mt_sizes(pivots)));
  memcpy(size, pivots->size, sizeof(int64_t) * pivots->ndim);
  size[pivots->ndim - 1] = size[pivots->ndim] = m;
  Tensor *r = t_zeros(c, mt_il(size, pivots->ndim + 1), like->dtype, -1,
                      mt_meta(like) ? MT_META : -1, -1, false);
  Tensor *p = mt_contig_as(c, pivots, MT_int32);
  if (!r || !p || mt_meta(r) || mt_meta(p)) return r;
  int64_t *perm = mt_tmp(c, sizeof(int64_t) * (size_t)(m + 1));
  if (!perm) return NULL;
  for (int64_t i = 0; i < mt_batch_of(pivots, 1); i++) {
    const int32_t *x = (const int32_t *)mt_data(p) + i * k;
    for (int64_t q = 0; q < m; q++) perm[q] = q;
    for (int64_t q = 0; q < k; q++) {
      if (x[q] < 1 || x[q] > m)
        return mt_fail(c, "pivots must be between 1 and %lld, got %d", (long long)m, x[q]);
      int64_t t = perm[q]; perm[q] = perm[x[q] - 1]; perm[x[q] - 1] = t;
    }
    for (int64_t q = 0; q < m; q++)
      mt_store((char *)mt_data(r) + (size_t)(i * m * m + perm[q] * m + q) * mt_dsize(r->dtype),
               (DType)r->dtype, mt_si(1));
  }
  return r;
}

/* The right-hand sides of a job, column by column; X A = B is solved as A^T X^T = B^T. */
static bool load_rhs(Ctx *c, Job *j, Tensor *B, bool left) {
  j->nrhs = (int)B->size[B->ndim - (left ? 1 : 2)];
  if (mt_batch_of(B, 2) != j->batch)
    return mt_fail(c, "B of shape %s has another number of matrices than A (%lld)",
                   mt_list_str(c, mt_sizes(B)), (long long)j->batch);
  return mt_job_room(c, j, &j->b, &j->bs, (size_t)j->n * (size_t)j->nrhs * j->size) &&
         mt_job_fill(c, j->b, j->bs, B, left);
}
static Tensor *unload_rhs(Ctx *c, const Tensor *B, const Job *j, bool left) {
  if (left)
    return mt_job_unload(c, B, 2, (DType)B->dtype, j->b, j->bs, B->size[B->ndim - 2],
                  B->size[B->ndim - 1]);
  return mt_job_unload_rows(c, B, j->b);      /* columns of X^T are rows of X */
}
static bool fit_rhs(Ctx *c, const Tensor *A, const Tensor *B, bool left) {
  if (B->ndim >= 2 && B->dtype == A->dtype &&
      B->size[B->ndim - (left ? 2 : 1)] == A->size[A->ndim - 1])
    return true;
  if (B->dtype != A->dtype)
    mt_fail(c, "A is %s but B is %s", mt_dtypes[A->dtype].name, mt_dtypes[B->dtype].name);
  else
    mt_fail(c, "B of shape %s does not fit A of shape %s", mt_list_str(c, mt_sizes(B)),
            mt_list_str(c, mt_sizes(A)));
  return false;
}

/* Pivots name rows of a matrix of n, from 1. */
static bool check_pivots(Ctx *c, Tensor *p, int64_t count, int64_t n) {
  const int32_t *x = mt_data(p);
  bool ok = true;
  for (int64_t i = 0; i < p->numel; i++) ok &= x[i] >= 1 && x[i] <= n;
  if (p->numel != count)
    mt_fail(c, "pivots must have %lld entries, got %lld", (long long)count, (long long)p->numel);
  else if (!ok) mt_fail(c, "pivots must be between 1 and %lld", (long long)n);
  return !c->err;
}
static int solve_lu(Job *j, int64_t i) {
  MtColumns s = {.type = j->type, .trans = j->how, .n = j->n, .a = BLOCK(j, a),
                 .piv = j->piv + i * j->n, .b = BLOCK(j, b), .ldb = j->n > 1 ? j->n : 1};
  return mt_solve_columns(&s, j->nrhs);
}
static void one_lu_solve(Job *j, int64_t i) {
  mt_job_note(j, i, solve_lu(j, i));
}
static void conj_block(const Job *j) {
  size_t n = j->bs / j->real * (size_t)j->batch;
  if (j->real == 4)
    for (size_t i = 1; i < n; i += 2) ((float *)(void *)j->b)[i] = -((float *)(void *)j->b)[i];
  else for (size_t i = 1; i < n; i += 2) ((double *)(void *)j->b)[i] = -((double *)(void *)j->b)[i];
}
Tensor *k__lu_solve(Ctx *c, Tensor *LU, Tensor *pivots, Tensor *B, bool left, bool adjoint) {
  if (!mt_job_takes(c, LU, true) || !fit_rhs(c, LU, B, left)) return NULL;
  if (mt_meta(LU) || mt_meta(B)) return mt_new_like(c, B, (DType)B->dtype);
  Job *j = mt_job_new(c, LU, true);
  Tensor *p = mt_contig_as(c, pivots, MT_int32);
  if (!j || !p) { mt_job_free(j); return NULL; }
  if (!check_pivots(c, p, j->batch * j->n, j->n)) { mt_job_free(j); return NULL; }
  j->piv = mt_malloc((size_t)p->numel * sizeof(int) + 1);
  if (!j->piv || !load_rhs(c, j, B, left)) { mt_job_free(j); return c->err ? NULL : mt_nomem(c); }
  memcpy(j->piv, mt_data(p), (size_t)p->numel * sizeof(int));
  /* right, adjoint: X A^H = B is conj(A) X^T = B^T, solved between two conjugations */
  bool between = !left && adjoint && mt_is_complex(LU->dtype);
  j->how = left ? (adjoint ? 'C' : 'N') : (adjoint ? 'N' : 'T');
  j->one = one_lu_solve;
  if (between) conj_block(j);
  if (!mt_job_finish(c, j, 2.0 * j->n * (double)j->n * j->nrhs)) return NULL;
  if (between) conj_block(j);
  Tensor *r = unload_rhs(c, B, j, left);
  mt_job_free(j);
  return r;
}

static void one_solve(Job *j, int64_t i) {
  int ld = j->n > 1 ? j->n : 1,
      info = mt_getrf(j->type, j->n, j->n, BLOCK(j, a), ld, j->piv + i * j->n);
  mt_job_note(j, i, info ? info : solve_lu(j, i));
}
void k__solve(Ctx *c, Tensor *A, Tensor *B, bool left, Val *r) {
  if (!mt_job_takes(c, A, true) || !fit_rhs(c, A, B, left)) return;
  Job none = {0}, *j = &none;
  if (mt_meta(A) || mt_meta(B)) {
    r[0].t = mt_new_like(c, B, (DType)B->dtype);
    r[1].t = mt_job_infos(c, A, j);
    return;
  }
  if (!(j = mt_job_new(c, A, true))) return;
  j->piv = mt_malloc((size_t)j->batch * (size_t)j->n * sizeof(int) + 1);
  if (!j->piv || !load_rhs(c, j, B, left)) { mt_job_free(j); if (!c->err) mt_nomem(c); return; }
  j->how = left ? 'N' : 'T';
  j->one = one_solve;
  if (!mt_job_finish(c, j, cube(j) / 3 + 2.0 * j->n * (double)j->n * j->nrhs)) return;
  r[0].t = unload_rhs(c, B, j, left);
  r[1].t = mt_job_infos(c, A, j);
  mt_job_free(j);
}

static void set_identity(char *p, int64_t d, const Job *j) {
  memset(p, 0, (size_t)(d * d) * j->size);
  for (int64_t q = 0; q < d; q++) {
    char *e = p + (size_t)(q * (d + 1)) * j->size;
    if (j->real == 4) *(float *)(void *)e = 1;
    else *(double *)(void *)e = 1;
  }
}
void k_linalg_inv_ex(Ctx *c, Tensor *A, bool check, Val *r) {
  if (!mt_job_takes(c, A, true)) return;
  Job none = {0}, *j = &none;
  int64_t n = A->size[A->ndim - 1];
  if (mt_meta(A)) {
    r[0].t = shape_only(c, A, (DType)A->dtype, n, n);
    r[1].t = mt_job_infos(c, A, j);
    return;
  }
  if (!(j = mt_job_new(c, A, true))) return;
  j->nrhs = j->n;
  j->piv = mt_malloc((size_t)j->batch * (size_t)j->n * sizeof(int) + 1);
  if (!j->piv || !mt_job_room(c, j, &j->b, &j->bs, (size_t)n * (size_t)n * j->size)) {
    mt_job_free(j);
    if (!c->err) mt_nomem(c);
    return;
  }
  for (int64_t i = 0; i < j->batch; i++) set_identity(j->b + (size_t)i * j->bs, n, j);
  j->how = 'N';
  j->one = one_solve;
  if (!mt_job_finish(c, j, cube(j))) return;
  r[0].t = mt_job_unload(c, A, 2, (DType)A->dtype, j->b, j->bs, n, n);
  r[1].t = mt_job_infos(c, A, j);
  for (int64_t i = 0; check && i < j->batch; i++)
    if (j->info[i]) {
      mt_fail(c, "the matrix (batch element %lld) is singular: U[%d, %d] is zero", (long long)i,
              j->info[i], j->info[i]);
      break;
    }
  mt_job_free(j);
}

/* Substitution that divides by the zeros of a singular matrix, which LAPACK refuses: infinities
 * and nan as a multiplication by the reciprocal gives them. */
#define SUBSTITUTE(T, name)                                                               \
  static void name(const Job *j, const T *a, T *b, bool back) {                           \
    for (int r = 0; r < j->nrhs; r++, b += j->n)                                          \
      for (int s = 0; s < j->n; s++) {                                                    \
        int k = back ? j->n - 1 - s : s;                                                  \
        T sum = b[k];                                                                     \
        for (int q = 0; q < s; q++) {                                                     \
          int i = back ? j->n - 1 - q : q;                                                \
          size_t at = j->how == 'N' ? (size_t)i * (size_t)j->n + (size_t)k                \
                                    : (size_t)k * (size_t)j->n + (size_t)i;               \
          sum -= a[at] * b[i];                                                            \
        }                                                                                 \
        b[k] = j->flag ? sum : sum * (1 / a[(size_t)k * (size_t)(j->n + 1)]);             \
      }                                                                                   \
  }
SUBSTITUTE(float, substitute_f)
SUBSTITUTE(double, substitute_d)
SUBSTITUTE(cfloat, substitute_cf)
SUBSTITUTE(cdouble, substitute_cd)
static void substitute(const Job *j, int64_t i) {
  const void *a = BLOCK(j, a);
  void *b = BLOCK(j, b);
  bool back = (j->mode == 'U') == (j->how == 'N');
  if (j->size == j->real)
    j->real == 4 ? substitute_f(j, a, b, back) : substitute_d(j, a, b, back);
  else j->real == 4 ? substitute_cf(j, a, b, back) : substitute_cd(j, a, b, back);
}
static void one_trtrs(Job *j, int64_t i) {
  MtColumns s = {.type = j->type, .trans = j->how, .uplo = j->mode, .diag = j->flag ? 'U' : 'N',
                 .n = j->n, .a = BLOCK(j, a), .b = BLOCK(j, b), .ldb = j->n > 1 ? j->n : 1};
  int info = j->nrhs ? mt_solve_columns(&s, j->nrhs) : 0;
  if (info > 0) substitute(j, i);
  else mt_job_note(j, i, info);
}
Tensor *k__solve_triangular(Ctx *c, Tensor *A, Tensor *B, bool upper, bool left,
                            bool unitriangular) {
  if (!mt_job_takes(c, A, true) || !fit_rhs(c, A, B, left)) return NULL;
  if (mt_meta(A) || mt_meta(B)) return mt_new_like(c, B, (DType)B->dtype);
  Job *j = mt_job_new(c, A, true);
  if (!j) return NULL;
  if (!load_rhs(c, j, B, left)) { mt_job_free(j); return NULL; }
  j->mode = upper ? 'U' : 'L';
  j->how = left ? 'N' : 'T';
  j->flag = unitriangular;
  j->one = one_trtrs;
  if (!mt_job_finish(c, j, (double)j->n * j->n * j->nrhs)) return NULL;
  Tensor *r = unload_rhs(c, B, j, left);
  mt_job_free(j);
  return r;
}

/* ---- determinants ---- */
/* The determinant; or, with flag, its sign and the logarithm of its absolute value. */
#define DET(T, RE, abs_, log_, name)                                       \
  static void name(const Job *j, int64_t i, T *det, T *sign, RE *logabs) { \
    const T *a = (const T *)(const void *)(j->a + (size_t)i * j->as);      \
    T d = 1, s = 1;                                                        \
    RE l = 0;                                                              \
    for (int q = 0; q < j->n; q++) {                                       \
      T x = a[(size_t)q * (size_t)(j->n + 1)];                             \
      if (j->piv[i * j->n + q] != q + 1) {                                 \
        d = -d;                                                            \
        s = -s;                                                            \
      }                                                                    \
      if (!j->flag) { d *= x; continue; }                                  \
      RE v = abs_(x);                                                      \
      s = v > 0 || v != v ? s * (x / v) : (T)0;                            \
      l += log_(v);                                                        \
    }                                                                      \
    *det = d;                                                              \
    *sign = s;                                                             \
    *logabs = l;                                                           \
  }
DET(float, float, fabsf, logf, det_f32)
DET(double, double, fabs, log, det_f64)
DET(cfloat, float, cabsf, logf, det_c64)
DET(cdouble, double, cabs, log, det_c128)
static void det_of(Job *j, int64_t i) {
  void *d = BLOCK(j, u), *s = BLOCK(j, v), *l = BLOCK(j, s);
  switch (j->type) {
    case MT_GEMM_F32: det_f32(j, i, d, s, l); break;
    case MT_GEMM_F64: det_f64(j, i, d, s, l); break;
    case MT_GEMM_C64: det_c64(j, i, d, s, l); break;
    default: det_c128(j, i, d, s, l);
  }
}
static void one_det(Job *j, int64_t i) {
  one_getrf(j, i);
  if (!atomic_load(&j->failure)) det_of(j, i);
}
/* A tensor of a's batch dimensions from blocks of one element. */
static Tensor *unload_scalars(Ctx *c, const Tensor *a, DType d, const char *p) {
  Tensor *t = mt_new(c, mt_il(a->size, a->ndim - 2), d, mt_meta(a) ? MT_META : MT_CPU);
  if (t && !mt_meta(t)) memcpy(mt_data(t), p, (size_t)t->numel * mt_dsize(d));
  return t;
}
static Job *run_det(Ctx *c, Tensor *A, bool logs) {
  Job *j = mt_job_new(c, A, true);
  if (!j) return NULL;
  j->flag = logs;
  j->one = one_det;
  j->piv = mt_malloc((size_t)j->batch * (size_t)j->k * sizeof(int) + 1);
  if (!j->piv || !mt_job_room(c, j, &j->u, &j->us, j->size) ||
      !mt_job_room(c, j, &j->v, &j->vs, j->size) ||
      !mt_job_room(c, j, &j->s, &j->ss, j->real)) {
    mt_job_free(j);
    return c->err ? NULL : mt_nomem(c);
  }
  for (int64_t i = 0; !j->n && i < j->batch; i++) det_of(j, i);
  return mt_job_finish(c, j, cube(j) / 3) ? j : NULL;
}
void k__det(Ctx *c, Tensor *A, Val *r) {
  Job none = {0}, *j = &none;
  if (!mt_job_takes(c, A, true) || (!mt_meta(A) && !(j = run_det(c, A, false)))) return;
  int64_t n = A->size[A->ndim - 1];
  r[0].t = unload_scalars(c, A, (DType)A->dtype, j->u);
  r[1].t = mt_job_unload(c, A, 2, (DType)A->dtype, j->a, j->as, n, n);
  r[2].t = pivots_of(c, A, j);
  if (j != &none) mt_job_free(j);
}
void k__slogdet(Ctx *c, Tensor *A, Val *r) {
  Job none = {0}, *j = &none;
  if (!mt_job_takes(c, A, true) || (!mt_meta(A) && !(j = run_det(c, A, true)))) return;
  int64_t n = A->size[A->ndim - 1];
  r[0].t = unload_scalars(c, A, (DType)A->dtype, j->v);
  r[1].t = unload_scalars(c, A, mt_real_dtype((DType)A->dtype), j->s);
  r[2].t = mt_job_unload(c, A, 2, (DType)A->dtype, j->a, j->as, n, n);
  r[3].t = pivots_of(c, A, j);
  if (j != &none) mt_job_free(j);
}

/* ---- eigenvalues ---- */
static void one_syevd(Job *j, int64_t i) {
  if (j->n)
    mt_job_note(j, i,
         mt_syevd(j->type, j->flag ? 'V' : 'N', j->how, j->n, BLOCK(j, a), j->n, BLOCK(j, s)));
}
static bool converged(Ctx *c, const Job *j) {
  for (int64_t i = 0; i < j->batch; i++)
    if (j->info[i]) {
      mt_fail(c, "the algorithm failed to converge (batch element %lld, error code %d)",
              (long long)i, j->info[i]);
      return false;
    }
  return true;
}
void k__eigh(Ctx *c, Tensor *A, const char *uplo, bool vectors, Val *r) {
  if (!mt_job_takes(c, A, true)) return;
  char u = uplo[0] & ~32;
  if ((u != 'L' && u != 'U') || uplo[1]) {
    mt_fail(c, "UPLO must be 'L' or 'U', got '%s'", uplo);
    return;
  }
  int64_t n = A->size[A->ndim - 1];
  DType real = mt_real_dtype((DType)A->dtype);
  Job none = {0}, *j = &none;
  if (!mt_meta(A)) {
    if (!(j = mt_job_new(c, A, true))) return;
    if (!mt_job_room(c, j, &j->s, &j->ss, (size_t)n * j->real) || !mt_job_finite(c, j, u)) {
      mt_job_free(j);
      return;
    }
    j->how = u;
    j->flag = vectors;
    j->one = one_syevd;
    if (!mt_job_finish(c, j, 4 * cube(j))) return;
    if (!converged(c, j)) { mt_job_free(j); return; }
  }
  r[0].t = mt_job_unload(c, A, 2, real, j->s, j->ss, n, -1);
  r[1].t = mt_job_unload(c, A, 2, (DType)A->dtype, j->a, j->as, vectors ? n : 0, vectors ? n : 0);
  if (j != &none) mt_job_free(j);
}
static void one_geev(Job *j, int64_t i) {
  if (j->n)
    mt_job_note(j, i, mt_geev(j->type, j->flag, j->n, BLOCK(j, a), j->n, BLOCK(j, s), BLOCK(j, v),
                              j->n));
}
void k__eig(Ctx *c, Tensor *A, bool vectors, Val *r) {
  if (!mt_job_takes(c, A, true)) return;
  int64_t n = A->size[A->ndim - 1];
  DType d = mt_complex_dtype((DType)A->dtype);
  Job none = {0}, *j = &none;
  if (!mt_meta(A)) {
    if (!(j = mt_job_new(c, A, true))) return;
    if (!mt_job_room(c, j, &j->s, &j->ss, (size_t)n * 2 * j->real) ||
        !mt_job_room(c, j, &j->v, &j->vs, (size_t)(n * n) * 2 * j->real) ||
        !mt_job_finite(c, j, 0)) {
      mt_job_free(j);
      return;
    }
    j->flag = vectors;
    j->one = one_geev;
    if (!mt_job_finish(c, j, 10 * cube(j))) return;
    if (!converged(c, j)) { mt_job_free(j); return; }
  }
  r[0].t = mt_job_unload(c, A, 2, d, j->s, j->ss, n, -1);
  r[1].t = mt_job_unload(c, A, 2, d, j->v, j->vs, vectors ? n : 0, vectors ? n : 0);
  if (j != &none) mt_job_free(j);
}

/* ---- singular values ---- */
/* A = Q R, R = U S V, so Q U S V. */
static int tall_svd(Job *j, int64_t i) {
  MtQr q;
  char *u = BLOCK(j, u), *r = NULL;
  size_t n = (size_t)j->n, col = n * j->size;
  int err = mt_qr_factor(&q, j->type, j->m, j->n, BLOCK(j, a));
  if (!err && !(r = mt_qr_triangle(j->type, j->m, j->n, BLOCK(j, a)))) err = MT_LAPACK_NOMEM;
  if (!err) err = mt_gesdd(j->type, j->how, j->n, j->n, r, j->n, BLOCK(j, s), u, j->m, BLOCK(j, v),
                           j->n);
  for (size_t k = 0; !err && j->how == 'S' && k < n; k++) {
    size_t below = (size_t)(j->m - j->n) * j->size;
    memset(u + k * (col + below) + col, 0, below);
  }
  if (!err && j->how == 'S') err = mt_qr_apply(&q, false, j->n, u);
  mt_free(r);
  mt_qr_free(&q);
  return err;
}
static void one_gesdd(Job *j, int64_t i) {
  if (j->m >= 2 * j->n && mt_qr_pays(j->m, j->n) && j->how != 'A') {
    mt_job_note(j, i, tall_svd(j, i));
    return;
  }
  int ldvt = j->how == 'S' ? j->k : j->n;
  if (j->k)
    mt_job_note(j, i,
         mt_gesdd(j->type, j->how, j->m, j->n, BLOCK(j, a), j->m, BLOCK(j, s), BLOCK(j, u), j->m,
                  BLOCK(j, v), ldvt));
}
void k__svd(Ctx *c, Tensor *A, bool full, bool vectors, Val *r) {
  if (!mt_job_takes(c, A, false)) return;
  int64_t m = A->size[A->ndim - 2], n = A->size[A->ndim - 1], k = m < n ? m : n;
  int64_t uc = !vectors ? 0 : full ? m : k, vr = !vectors ? 0 : full ? n : k;
  DType d = (DType)A->dtype;
  Job none = {0}, *j = &none;
  if (!mt_meta(A)) {
    if (!(j = mt_job_new(c, A, true))) return;
    if (!mt_job_room(c, j, &j->s, &j->ss, (size_t)k * j->real) ||
        !mt_job_room(c, j, &j->u, &j->us, (size_t)(m * uc) * j->size) ||
        !mt_job_room(c, j, &j->v, &j->vs, (size_t)(vr * n) * j->size) ||
        !mt_job_finite(c, j, 0)) {
      mt_job_free(j);
      return;
    }
    j->how = !vectors ? 'N' : full ? 'A' : 'S';
    j->one = one_gesdd;
    if (!mt_job_finish(c, j, 8.0 * (double)m * (double)n * (double)k)) return;
    if (!converged(c, j)) { mt_job_free(j); return; }
    for (int64_t i = 0; !k && full && vectors && i < j->batch;
         i++) { /* LAPACK has nothing to say */
      set_identity(j->u + (size_t)i * j->us, m, j);
      set_identity(j->v + (size_t)i * j->vs, n, j);
    }
  }
  r[0].t = mt_job_unload(c, A, 2, d, j->u, j->us, vectors ? m : 0, uc);
  r[1].t = mt_job_unload(c, A, 2, mt_real_dtype(d), j->s, j->ss, k, -1);
  r[2].t = mt_job_unload(c, A, 2, d, j->v, j->vs, vr, vectors ? n : 0);
  if (j != &none) mt_job_free(j);
}

/* ---- QR ---- */
/* a becomes R (upper part), u the first columns of Q. */
static int large_qr(Job *j, int64_t i) {
  MtQr q;
  int err = mt_qr_factor(&q, j->type, j->m, j->n, BLOCK(j, a));
  if (!err && !j->flag) err = mt_qr_columns(&q, j->nrhs, BLOCK(j, u));
  mt_qr_free(&q);
  return err;
}
static void one_qr(Job *j, int64_t i) {
  int lda = j->m > 1 ? j->m : 1, info;
  if (mt_qr_pays(j->m, j->n)) { mt_job_note(j, i, large_qr(j, i)); return; }
  char *tau = j->s + (size_t)i * j->ss, *q = j->u + (size_t)i * j->us;
  if ((info = mt_geqrf(j->type, j->m, j->n, BLOCK(j, a), lda, tau)) || j->flag) {
    mt_job_note(j, i, info);
    return;
  }
  memcpy(q, BLOCK(j, a), (size_t)j->m * (size_t)(j->nrhs < j->n ? j->nrhs : j->n) * j->size);
  mt_job_note(j, i, mt_orgqr(j->type, j->m, j->nrhs, j->k, q, lda, tau));
}
/* Leaves the first rows of each matrix of a, with zeros below the diagonal. */
static void keep_upper(Job *j, int rows) {
  char *from = j->a, *to = j->a;
  size_t size = j->size, m = (size_t)j->m, k = (size_t)rows;
  for (int64_t i = 0; i < j->batch; i++)
    for (size_t q = 0; q < (size_t)j->n; q++, from += m * size, to += k * size) {
      size_t kept = q + 1 < k ? q + 1 : k;
      memmove(to, from, kept * size);
      memset(to + kept * size, 0, (k - kept) * size);
    }
}
void k_linalg_qr(Ctx *c, Tensor *A, const char *mode, Val *r) {
  if (!mt_job_takes(c, A, false)) return;
  if (strcmp(mode, "reduced") && strcmp(mode, "complete") && strcmp(mode, "r")) {
    mt_fail(c, "mode must be 'reduced', 'complete' or 'r', got '%s'", mode);
    return;
  }
  int64_t m = A->size[A->ndim - 2], n = A->size[A->ndim - 1], k = m < n ? m : n;
  bool only_r = !strcmp(mode, "r");
  int64_t qc = mode[0] == 'c' ? m : k, rows = qc;
  DType d = (DType)A->dtype;
  Job none = {0}, *j = &none;
  if (!mt_meta(A)) {
    if (!(j = mt_job_new(c, A, true))) return;
    j->flag = only_r;
    j->nrhs = (int)qc;
    if (!mt_job_room(c, j, &j->s, &j->ss, (size_t)(k + 1) * j->size) ||
        !mt_job_room(c, j, &j->u, &j->us, (size_t)(m * qc) * j->size)) {
      mt_job_free(j);
      return;
    }
    j->one = one_qr;
    if (m && n && !mt_job_finish(c, j, 4 * cube(j))) return;
    for (int64_t i = 0; !(m && n) && qc == m && i < j->batch; i++)
      set_identity(j->u + (size_t)i * j->us, m, j);
  }
  r[0].t = only_r ? mt_new(c, mt_il((int64_t[]){0}, 1), d, mt_meta(A) ? MT_META : MT_CPU)
                  : mt_job_unload(c, A, 2, d, j->u, j->us, m, qc);
  if (j != &none) keep_upper(j, (int)rows);
  r[1].t = mt_job_unload(c, A, 2, d, j->a, (size_t)(rows * n) * j->size, rows, n);
  if (j != &none) mt_job_free(j);
}
