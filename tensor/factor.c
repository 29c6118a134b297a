/* factor.c: kernels of ops_factor.def.
 *
 * A Work owns column-major copies of all matrices, so that a long factorisation may be left behind
 * when it is interrupted (blas.h).  Where a gradient is wanted, reflectors are applied one by one
 * with other ops instead. */
#include "blas.h"
#include "expr_rt.h"
#include "op.h"
#include "product.h"
#include <stdatomic.h>
#include <string.h>

#define SHAPE(t) mt_list_str(c, mt_sizes(t))

typedef struct Work {
  MtGemmType type;
  int64_t batch;
  int m, n, k, rhs;
  size_t as, ts, bs;                       /* bytes from one matrix to the next */
  char *a, *t, *b;                         /* matrices, factors, right-hand sides */
  int *piv, *info;
  bool hermitian;
  char side, trans;
  _Atomic int failure;
  int (*one)(struct Work *w, int64_t i);
} Work;

static void work_free(void *p) {
  Work *w = p;
  if (!w) return;
  mt_free(w->a);
  mt_free(w->t);
  mt_free(w->b);
  mt_free(w->piv);
  mt_free(w->info);
  mt_free(w);
}
static void work_range(void *ctx, int64_t lo, int64_t hi) {
  Work *w = ctx;
  for (int64_t i = lo; i < hi && !atomic_load(&w->failure); i++) {
    int info = w->one(w, i);
    if (info < -1000) atomic_store(&w->failure, info);
    else w->info[i] = info;
  }
}
static void work_run(void *ctx) {
  Work *w = ctx;
  mt_parallel(w->batch, w->n > 16 ? 1 : 64, work_range, w);
}
/* Runs w; false, and w is gone, when it failed as a whole. */
static bool run(Ctx *c, Work *w) {
  int st = w->batch && w->m && w->n ? mt_run_detached(work_run, w, work_free,
                                                      2.0 * (double)w->batch * w->m * w->n * w->n)
                                    : 0;
  if (st == MT_LAPACK_INTERRUPTED) { mt_fail_kind(c, MT_INTERRUPTED, "interrupted"); return false; }
  int failure = atomic_load(&w->failure);
  if (failure == MT_LAPACK_MISSING)
    mt_fail(c, "needs LAPACK, which is not installed (libopenblas)");
  else if (failure) mt_nomem(c);
  if (failure) work_free(w);
  return !failure;
}

static bool matrices(Ctx *c, const Tensor *a, bool square) {
  if (a->ndim < 2) mt_fail(c, "expected a matrix or a batch of matrices, got shape %s", SHAPE(a));
  else if (square && a->size[a->ndim - 1] != a->size[a->ndim - 2])
    mt_fail(c, "expected square matrices, got shape %s", SHAPE(a));
  else if (!mt_is_complex(a->dtype) && a->dtype != MT_float32 && a->dtype != MT_float64)
    mt_fail(c, "expected a float32, float64 or complex tensor, got %s", mt_dtypes[a->dtype].name);
  else if (a->size[a->ndim - 1] > INT32_MAX / 4 || a->size[a->ndim - 2] > INT32_MAX / 4)
    mt_fail(c, "the matrix is too large");
  else if (mt_meta(a)) mt_fail(c, "is not implemented for meta tensors");
  return !c->err;
}
static int64_t count_of(const Tensor *a, int last) {
  int64_t n = 1;
  for (int i = 0; i < a->ndim - last; i++) n *= a->size[i];
  return n;
}
/* A copy of x's elements as they lie when contiguous; turned: column by column. */
static char *copied(Ctx *c, Tensor *x, bool turned) {
  Tensor *flat = mt_contig(c, turned ? t_transpose(c, x, -2, -1) : x);
  size_t bytes = flat ? (size_t)flat->numel * mt_dsize(flat->dtype) : 0;
  int64_t ld = flat && flat->ndim ? flat->size[flat->ndim - 1] : 0;
  char *p = flat ? mt_malloc(bytes + mt_lapack_slack(ld)) : NULL;
  if (!p) { mt_nomem(c); return NULL; }
  if (bytes) memcpy(p, mt_data(flat), bytes);
  return p;
}
static Work *work(Ctx *c, Tensor *a) {
  Work *w = c->err ? NULL : mt_calloc(sizeof *w);
  if (!w) return c->err ? NULL : mt_nomem(c);
  w->type = mt_product_type(a->dtype);
  w->batch = count_of(a, 2);
  w->m = (int)a->size[a->ndim - 2];
  w->n = (int)a->size[a->ndim - 1];
  w->k = w->m < w->n ? w->m : w->n;
  w->as = (size_t)w->m * (size_t)w->n * mt_dsize(a->dtype);
  w->a = copied(c, a, true);
  w->info = mt_calloc((size_t)(w->batch + 1) * sizeof(int));
  if (w->a && w->info) return w;
  work_free(w);
  return mt_nomem(c);
}
/* The matrices at p, of m x n column by column, with like's batch dimensions; n < 0: vectors of m.
 */
static Tensor *result(Ctx *c, const Tensor *like, DType d, const void *p, int64_t m, int64_t n) {
  int64_t size[MT_MAXDIM];
  int nb = like->ndim - 2;
  memcpy(size, like->size, sizeof(int64_t) * (size_t)nb);
  if (n >= 0) { size[nb] = n; size[nb + 1] = m; } else size[nb] = m;
  Tensor *r = mt_new(c, mt_il(size, nb + (n < 0 ? 1 : 2)), d, MT_CPU);
  if (r && r->numel) memcpy(mt_data(r), p, (size_t)r->numel * mt_dsize(d));
  return r && n >= 0 ? t_transpose(c, r, -2, -1) : r;
}
#define AT(w, x, i) ((void *)((w)->x + (size_t)(i) * (w)->x##s))
static int ld(int n) { return n > 1 ? n : 1; }

/* ---- QR in reflectors ---- */
static int one_geqrf(Work *w, int64_t i) {
  return mt_geqrf(w->type, w->m, w->n, AT(w, a, i), ld(w->m), AT(w, t, i));
}
void k_geqrf(Ctx *c, Tensor *self, Val *r) {
  Work *w = matrices(c, self, false) ? work(c, self) : NULL;
  if (!w) return;
  w->ts = (size_t)w->k * mt_dsize(self->dtype);
  w->one = one_geqrf;
  if (!(w->t = mt_calloc((size_t)w->batch * w->ts + 1))) { work_free(w); mt_nomem(c); return; }
  if (!run(c, w)) return;
  r[0].t = result(c, self, (DType)self->dtype, w->a, w->m, w->n);
  r[1].t = result(c, self, (DType)self->dtype, w->t, w->k, -1);
  work_free(w);
}
static int one_orgqr(Work *w, int64_t i) {
  return mt_orgqr(w->type, w->m, w->n, w->k, AT(w, a, i), ld(w->m), AT(w, t, i));
}
Tensor *k__householder(Ctx *c, Tensor *A, Tensor *tau) {
  Work *w = work(c, A);
  if (!w) return NULL;
  w->k = (int)tau->size[tau->ndim - 1];
  w->ts = (size_t)w->k * mt_dsize(A->dtype);
  w->one = one_orgqr;
  if (!(w->t = copied(c, tau, false))) { work_free(w); return NULL; }
  if (!run(c, w)) return NULL;
  Tensor *r = result(c, A, (DType)A->dtype, w->a, w->m, w->n);
  work_free(w);
  return r;
}
static int one_ormqr(Work *w, int64_t i) {
  return mt_ormqr(w->type, w->side, w->trans, w->m, w->rhs, w->k, AT(w, a, i), ld(w->n),
                  AT(w, t, i), AT(w, b, i), ld(w->m));
}
Tensor *k__apply_reflectors(Ctx *c, Tensor *A, Tensor *tau, Tensor *C, bool left, bool transpose) {
  Work *w = work(c, A);
  if (!w) return NULL;
  w->n = (int)A->size[A->ndim - 2];          /* of Q; m x rhs is C */
  w->m = (int)C->size[C->ndim - 2];
  w->rhs = (int)C->size[C->ndim - 1];
  w->k = (int)tau->size[tau->ndim - 1];
  w->ts = (size_t)w->k * mt_dsize(A->dtype);
  w->bs = (size_t)w->m * (size_t)w->rhs * mt_dsize(A->dtype);
  w->side = left ? 'L' : 'R';
  w->trans = !transpose ? 'N' : mt_is_complex(A->dtype) ? 'C' : 'T';
  w->one = one_ormqr;
  if (!(w->t = copied(c, tau, false)) || !(w->b = copied(c, C, true))) {
    work_free(w);
    return NULL;
  }
  if (!w->rhs) w->batch = 0;
  if (!run(c, w)) return NULL;
  Tensor *r = result(c, C, (DType)C->dtype, w->b, w->m, w->rhs);
  work_free(w);
  return r;
}

/* The reflectors of A as unit lower triangular columns; k of them. */
static Tensor *reflectors(Ctx *c, Tensor *A, int64_t k) {
  Tensor *V = t_narrow(c, A, -1, 0, k);
  int64_t m = A->size[A->ndim - 2];
  Tensor *one = t_eye(c, m, k, A->dtype, -1, -1, -1, false);
  return t_add(c, t_tril(c, V, -1), one, mt_si(1));
}
/* X with one reflector taken off: X - factor v (v^H X). */
static Tensor *reflect(Ctx *c, Tensor *V, Tensor *tau, int64_t i, bool conj, Tensor *X) {
  Tensor *v = t_narrow(c, V, -1, i, 1), *f = t_unsqueeze(c, t_narrow(c, tau, -1, i, 1), -1);
  if (conj) f = t_conj(c, f);
  return t_sub(c, X, t_mul(c, f, t_matmul(c, v, t_matmul(c, t_mH(c, v), X))), mt_si(1));
}
static bool wants_grad(const Ctx *c, const Tensor *t) {
  return c->grad_mode && t->flags & MT_REQ_GRAD;
}
static bool reflectors_ok(Ctx *c, const Tensor *A, const Tensor *tau) {
  if (!matrices(c, A, false)) return false;
  int nd = A->ndim;
  if (tau->ndim != nd - 1 || memcmp(tau->size, A->size, sizeof(int64_t) * (size_t)(nd - 2)))
    mt_fail(c,
            "expected tau to have one dimension less than the reflectors and their batch "
            "dimensions (%s), got shape %s",
            SHAPE(A), SHAPE(tau));
  else if (tau->dtype != A->dtype)
    mt_fail(c, "tau dtype %s does not match input dtype %s", mt_dtypes[tau->dtype].name,
            mt_dtypes[A->dtype].name);
  else if (tau->size[nd - 2] > A->size[nd - 1])
    mt_fail(c,
            "input.shape[-1] must be greater than or equal to tau.shape[-1], got shapes %s and %s",
            SHAPE(A), SHAPE(tau));
  return !c->err;
}
Tensor *k_linalg_householder_product(Ctx *c, Tensor *A, Tensor *tau) {
  if (!reflectors_ok(c, A, tau)) return NULL;
  int nd = A->ndim;
  int64_t m = A->size[nd - 2], n = A->size[nd - 1], k = tau->size[nd - 2];
  if (m < n)
    return mt_fail(c,
                   "input.shape[-2] must be greater than or equal to input.shape[-1], got shape %s",
                   SHAPE(A));
  if (!wants_grad(c, A) && !wants_grad(c, tau)) return t__householder(c, A, tau);
  Tensor *V = reflectors(c, A, k),
         *Q = t_expand(c, t_eye(c, m, n, A->dtype, -1, -1, -1, false), mt_sizes(A), false);
  for (int64_t i = k - 1; i >= 0 && !c->err; i--) Q = reflect(c, V, tau, i, false, Q);
  return Q;
}
Tensor *k_ormqr(Ctx *c, Tensor *A, Tensor *tau, Tensor *C, bool left, bool transpose) {
  if (!reflectors_ok(c, A, tau)) return NULL;
  int nd = A->ndim;
  int64_t k = tau->size[nd - 2];
  if (C->ndim != nd || C->dtype != A->dtype ||
      memcmp(C->size, A->size, sizeof(int64_t) * (size_t)(nd - 2)))
    return mt_fail(
        c, "expected other of %s with the reflectors' batch dimensions (%s), got shape %s of %s",
        mt_dtypes[A->dtype].name, SHAPE(A), SHAPE(C), mt_dtypes[C->dtype].name);
  if (C->size[nd - (left ? 2 : 1)] != A->size[nd - 2])
    return mt_fail(c, "other.shape[%d] must be equal to input.shape[-2], got shapes %s and %s",
                   left ? -2 : -1, SHAPE(C), SHAPE(A));
  if (k > A->size[nd - 2])
    return mt_fail(
        c, "input.shape[-2] must be greater than or equal to tau.shape[-1], got shapes %s and %s",
        SHAPE(A), SHAPE(tau));
  if (!wants_grad(c, A) && !wants_grad(c, tau) && !wants_grad(c, C))
    return t__apply_reflectors(c, A, tau, C, left, transpose);
  /* C Q = (Q^H C^H)^H */
  Tensor *V = reflectors(c, A, k), *X = left ? C : t_mH(c, C);
  bool turned = left == transpose;           /* is Q^H applied to X? */
  for (int64_t i = 0; i < k && !c->err; i++)
    X = reflect(c, V, tau, turned ? i : k - 1 - i, turned, X);
  return left ? X : t_mH(c, X);
}

/* ---- LDL ---- */
static int one_sytrf(Work *w, int64_t i) {
  return mt_sytrf(w->type, w->hermitian, 'L', w->n, AT(w, a, i), ld(w->n), w->piv + i * w->n);
}
void k_linalg_ldl_factor_ex(Ctx *c, Tensor *self, bool hermitian, bool check, Val *r) {
  Work *w = matrices(c, self, true) ? work(c, self) : NULL;
  if (!w) return;
  w->hermitian = hermitian && mt_is_complex(self->dtype);
  w->one = one_sytrf;
  if (!(w->piv = mt_calloc((size_t)w->batch * (size_t)w->n * sizeof(int) + 1))) {
    work_free(w);
    mt_nomem(c);
    return;
  }
  if (!run(c, w)) return;
  Tensor *LD = result(c, self, (DType)self->dtype, w->a, w->n, w->n);
  r[0].t = LD ? t_tril(c, LD, 0) : NULL;
  r[1].t = result(c, self, MT_int32, w->piv, w->n, -1);
  r[2].t = mt_new(c, mt_il(self->size, self->ndim - 2), MT_int32, MT_CPU);
  for (int64_t i = 0; r[2].t && i < w->batch; i++) {
    ((int *)mt_data(r[2].t))[i] = w->info[i];
    if (check && w->info[i] && !c->err)
      mt_fail(c,
              "(Batch element %lld): The factorization has been completed, but the block diagonal "
              "matrix D is exactly singular.",
              (long long)i);
  }
  work_free(w);
}
void k_linalg_ldl_factor(Ctx *c, Tensor *self, bool hermitian, Val *r) {
  Val v[3];
  t_linalg_ldl_factor_ex(c, self, hermitian, true, v);
  if (c->err) return;
  r[0] = v[0];
  r[1] = v[1];
}
static int one_sytrs(Work *w, int64_t i) {
  return mt_sytrs(w->type, w->hermitian, 'L', w->n, w->rhs, AT(w, a, i), ld(w->n),
                  w->piv + i * w->n, AT(w, b, i), ld(w->n));
}
/* LAPACK follows pivots without a look.  Blocks of two rows have two negative ones. */
static bool pivots_ok(const Work *w, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    int p = w->piv[i], paired = 0;
    if (p < 0) {
      paired = (i + 1) % w->n ? w->piv[i + 1] : 0;
      if (paired >= 0 || paired < -w->n) return false;
      i++;
    }
    if (p == 0 || p > w->n || p < -w->n) return false;
  }
  return true;
}
Tensor *k__ldl_solve(Ctx *c, Tensor *LD, Tensor *pivots, Tensor *B, bool hermitian) {
  Work *w = work(c, LD);
  if (!w) return NULL;
  Tensor *p = mt_contig_as(c, pivots, MT_int32);
  w->hermitian = hermitian && mt_is_complex(LD->dtype);
  w->rhs = (int)B->size[B->ndim - 1];
  w->bs = (size_t)w->n * (size_t)w->rhs * mt_dsize(B->dtype);
  w->one = one_sytrs;
  w->b = p ? copied(c, B, true) : NULL;
  w->piv = w->b ? (int *)(void *)copied(c, p, false) : NULL;
  if (!w->piv) { work_free(w); return NULL; }
  if (!pivots_ok(w, p->numel)) {
    int64_t n = w->n;
    work_free(w);
    return mt_fail(c, "pivots must be between 1 and %lld, or pairs of their negatives",
                   (long long)n);
  }
  if (!w->rhs) w->batch = 0;
  if (!run(c, w)) return NULL;
  Tensor *r = result(c, B, (DType)B->dtype, w->b, w->n, w->rhs);
  work_free(w);
  return r;
}
Tensor *k_linalg_ldl_solve(Ctx *c, Tensor *LD, Tensor *pivots, Tensor *B, bool hermitian) {
  if (!matrices(c, LD, true)) return NULL;
  int nd = LD->ndim, n;
  int64_t size[MT_MAXDIM];
  if (B->ndim < 2 || B->dtype != LD->dtype || B->size[B->ndim - 2] != LD->size[nd - 1])
    return mt_fail(c, "B of shape %s (%s) does not fit LD of shape %s (%s)", SHAPE(B),
                   mt_dtypes[B->dtype].name, SHAPE(LD), mt_dtypes[LD->dtype].name);
  if (pivots->ndim != nd - 1 ||
      memcmp(pivots->size, LD->size, sizeof(int64_t) * (size_t)(nd - 1)) ||
      !mt_is_int(pivots->dtype))
    return mt_fail(c,
                   "expected LD.shape[:-1] and pivots.shape to be the same and pivots to be "
                   "integers, got pivots of shape %s",
                   SHAPE(pivots));
  if (!mt_broadcast(c, nd - 2, LD->size, B->ndim - 2, B->size, &n, size)) return NULL;
  size[n] = LD->size[nd - 1];
  Tensor *p = t_expand(c, pivots, mt_il(size, n + 1), false);
  size[n + 1] = LD->size[nd - 1];
  Tensor *a = t_expand(c, LD, mt_il(size, n + 2), false);
  size[n + 1] = B->size[B->ndim - 1];
  return t__ldl_solve(c, a, p, t_expand(c, B, mt_il(size, n + 2), false), hermitian);
}

/* ---- LU as torch.lu gives it ---- */
void k_lu(Ctx *c, Tensor *self, bool pivot, bool infos, Val *r) {
  Val v[3];
  t_linalg_lu_factor_ex(c, self, pivot, !infos, v);
  if (c->err) return;
  r[0] = v[0];
  r[1] = v[1];
  r[2].t = infos ? v[2].t : NULL;
}
