/* linalg.c: the public ops of ops_linalg.def made of other ops: error reports, broadcasting of
 * batches, chains.
 *
 * Everything here is written with t_ calls and so differentiates by itself; meta tensors pass
 * through (their info is not looked at). */
#include "expr_rt.h"
#include "op.h"
#include <string.h>

#define LIST(...)                                                            \
  mt_il((const int64_t[]){__VA_ARGS__},                                      \
        (int64_t)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))

/* Raises what a nonzero info means. */
static bool info_ok(Ctx *c, Tensor *info, const char *what) {
  if (c->err || !info) return false;
  if (mt_meta(info)) return true;
  Tensor *x = mt_contig(c, info);
  for (int64_t i = 0; x && i < x->numel; i++) {
    int v = ((int32_t *)mt_data(x))[i];
    if (!v) continue;
    if (info->ndim) mt_fail(c, "(batch element %lld): %s (at %d)", (long long)i, what, v);
    else mt_fail(c, "%s (at %d)", what, v);
    return false;
  }
  return x != NULL;
}
static const char *const singular = "the diagonal element is zero, the solve could not be "
                                    "completed because the input matrix is singular";
static const char *const not_positive =
    "the factorization could not be completed because the input is not positive-definite";

static bool square(Ctx *c, const Tensor *a) {
  if (a->ndim >= 2 && a->size[a->ndim - 1] == a->size[a->ndim - 2]) return true;
  mt_fail(c, "expected square matrices, got shape %s", mt_list_str(c, mt_sizes(a)));
  return false;
}

/* a and b with their batch dimensions (all but the last two) broadcast against each other. */
static bool same_batches(Ctx *c, Tensor **a, Tensor **b) {
  int64_t shape[MT_MAXDIM + 2];
  int n;
  if (c->err || !*a || !*b) return false;
  if (!mt_broadcast(c, (*a)->ndim - 2, (*a)->size, (*b)->ndim - 2, (*b)->size, &n, shape))
    return false;
  for (Tensor **t = a;; t = b) {
    memcpy(shape + n, (*t)->size + (*t)->ndim - 2, 2 * sizeof(int64_t));
    if ((*t)->ndim != n + 2 || memcmp(shape, (*t)->size, sizeof(int64_t) * (size_t)n))
      *t = t_expand(c, *t, mt_il(shape, n + 2), false);
    if (t == b) break;
  }
  return !c->err;
}

/* ---- Cholesky ---- */
Tensor *k_linalg_cholesky(Ctx *c, Tensor *self, bool upper) {
  Val r[2];
  t_linalg_cholesky_ex(c, self, upper, false, r);
  return info_ok(c, r[1].t, not_positive) ? r[0].t : NULL;
}
Tensor *k_cholesky(Ctx *c, Tensor *self, bool upper) { return t_linalg_cholesky(c, self, upper); }
Tensor *k_cholesky_solve(Ctx *c, Tensor *self, Tensor *input2, bool upper) {
  if (!square(c, input2) || self->ndim < 2)
    return c->err ? NULL : mt_fail(c, "expected a matrix of right-hand sides");
  Tensor *first = upper ? t_mH(c, input2) : input2, *second = upper ? input2 : t_mH(c, input2);
  return t_linalg_solve_triangular(
      c, second, t_linalg_solve_triangular(c, first, self, false, true, false), true, true, false);
}
Tensor *k_cholesky_inverse(Ctx *c, Tensor *self, bool upper) {
  if (!square(c, self)) return NULL;
  return t_cholesky_solve(c, t__eye_like(c, self, self->size[self->ndim - 1]), self, upper);
}

/* ---- LU ---- */
void k_linalg_lu_factor(Ctx *c, Tensor *A, bool pivot, Val *r) {
  Val e[3];
  t_linalg_lu_factor_ex(c, A, pivot, false, e);
  r[0] = e[0];
  r[1] = e[1];
}
void k_lu_unpack(Ctx *c, Tensor *LU, Tensor *pivots, bool data, bool perm, Val *r) {
  int64_t m, n, k;
  if (LU->ndim < 2) {
    mt_fail(c, "expected a matrix, got shape %s", mt_list_str(c, mt_sizes(LU)));
    return;
  }
  m = LU->size[LU->ndim - 2];
  n = LU->size[LU->ndim - 1];
  k = m < n ? m : n;
  Tensor *none = t_new_empty(c, LU, LIST(0), -1, -1, -1, -1, false);
  r[0].t = perm ? t__pivots_to_permutation(c, pivots, LU, m) : none;
  r[1].t = r[2].t = none;
  if (!data) return;
  Tensor *l = t__tri(c, k < n ? t_narrow(c, LU, -1, 0, k) : LU, -1, false);
  r[1].t =
      t_add(c, l, t_eye(c, m, k, LU->dtype, -1, mt_meta(LU) ? MT_META : -1, -1, false), mt_si(1));
  r[2].t = t__tri(c, k < m ? t_narrow(c, LU, -2, 0, k) : LU, 0, true);
}
void k_linalg_lu(Ctx *c, Tensor *A, bool pivot, Val *r) {
  Val e[3];
  t_linalg_lu_factor_ex(c, A, pivot, false, e);
  if (!c->err) t_lu_unpack(c, e[0].t, e[1].t, true, true, r);
}
Tensor *k_linalg_lu_solve(Ctx *c, Tensor *LU, Tensor *pivots, Tensor *B, bool left, bool adjoint) {
  int64_t shape[MT_MAXDIM + 1];
  if (!square(c, LU)) return NULL;
  if (B->ndim < 2 || B->size[B->ndim - (left ? 2 : 1)] != LU->size[LU->ndim - 1] ||
      pivots->ndim < 1)
    return mt_fail(c, "B of shape %s does not fit LU of shape %s", mt_list_str(c, mt_sizes(B)),
                   mt_list_str(c, mt_sizes(LU)));
  if (!same_batches(c, &LU, &B)) return NULL;
  memcpy(shape, LU->size, sizeof(int64_t) * LU->ndim);
  return t__lu_solve(c, LU, t_expand(c, pivots, mt_il(shape, LU->ndim - 1), false), B, left,
                     adjoint);
}

/* ---- solve and inverse ---- */
/* PyTorch's rule: B is a batch of vectors when it has one dimension, or one less than A and A's
 * sizes without the last. */
static bool is_vector(const Tensor *A, const Tensor *B) {
  return B->ndim == 1 ||
         (A->ndim - 1 == B->ndim && !memcmp(A->size, B->size, sizeof(int64_t) * B->ndim));
}
void k_linalg_solve_ex(Ctx *c, Tensor *A, Tensor *B, bool left, bool check, Val *r) {
  if (!square(c, A)) return;
  bool vec = is_vector(A, B);
  if (vec && !left) { mt_fail(c, "a vector of right-hand sides needs left=True"); return; }
  Tensor *b = vec ? t_unsqueeze(c, B, -1) : B;
  if (!b || b->ndim < 2 || b->size[b->ndim - (left ? 2 : 1)] != A->size[A->ndim - 1]) {
    mt_fail(c, "B of shape %s does not fit A of shape %s", mt_list_str(c, mt_sizes(B)),
            mt_list_str(c, mt_sizes(A)));
    return;
  }
  if (!same_batches(c, &A, &b)) return;
  t__solve(c, A, b, left, r);
  if (vec) r[0].t = t_squeeze_dim(c, r[0].t, LIST(-1));
  if (check) info_ok(c, r[1].t, singular);
}
Tensor *k_linalg_solve(Ctx *c, Tensor *A, Tensor *B, bool left) {
  Val r[2];
  t_linalg_solve_ex(c, A, B, left, false, r);
  return info_ok(c, r[1].t, singular) ? r[0].t : NULL;
}
/* ---- least squares ---- */
static bool lstsq_args(Ctx *c, const Tensor *A, const Tensor *B, const char *driver) {
  if (A->ndim < 2) mt_fail(c, "input must have at least 2 dimensions");
  else if (B->ndim < 1) mt_fail(c, "other must have at least 1 dimension");
  else if (A->ndim < B->ndim || A->ndim - B->ndim > 1)
    mt_fail(c, "other must have as many dimensions as input, or one less; got %d and %d", B->ndim,
            A->ndim);
  else if (A->dtype != B->dtype)
    mt_fail(c, "input is %s but other is %s", mt_dtypes[A->dtype].name, mt_dtypes[B->dtype].name);
  else if (strcmp(driver, "gels") && strcmp(driver, "gelsy") && strcmp(driver, "gelsd") &&
           strcmp(driver, "gelss"))
    mt_fail(c, "driver must be 'gels', 'gelsy', 'gelsd' or 'gelss', got '%s'", driver);
  return !c->err;
}
/* Sums of squares of what is left over, where the driver finds them: full rank, more rows than
 * columns. */
static Tensor *lstsq_residuals(Ctx *c, Tensor *A, Tensor *B, const char *driver, const Val *v) {
  int64_t m = A->size[A->ndim - 2], n = A->size[A->ndim - 1];
  bool full = m > n && strcmp(driver, "gelsy");
  const int64_t *rank = full && !mt_meta(A) && driver[4] ? mt_data(v[1].t) : NULL;
  for (int64_t i = 0; rank && i < v[1].t->numel; i++) full &= rank[i] == n;
  if (!full) {
    DType d = mt_real_dtype((DType)A->dtype);
    return mt_new(c, mt_il((int64_t[]){0}, 1), d, mt_meta(A) ? MT_META : MT_CPU);
  }
  Tensor *left = t_sub(c, t_matmul(c, A, v[0].t), B, mt_si(1));
  if (left && mt_is_complex(left->dtype)) left = t_abs(c, left);
  return t_sum_dim(c, t_mul(c, left, left), LIST(-2), false, -1);
}
void k_linalg_lstsq(Ctx *c, Tensor *A, Tensor *B, Scalar rcond, const char *driver, Val *r) {
  if (!driver) driver = "gelsy";
  if (!lstsq_args(c, A, B, driver)) return;
  bool vec = A->ndim - 1 == B->ndim && is_vector(A, B);
  Tensor *b = vec ? t_unsqueeze(c, B, -1) : B;
  if (!b || b->ndim != A->ndim || b->size[b->ndim - 2] != A->size[A->ndim - 2]) {
    mt_fail(c, "other of shape %s does not fit input of shape %s", mt_list_str(c, mt_sizes(B)),
            mt_list_str(c, mt_sizes(A)));
    return;
  }
  if (!same_batches(c, &A, &b)) return;
  int64_t m = A->size[A->ndim - 2], n = A->size[A->ndim - 1];
  double eps = mt_real_dtype((DType)A->dtype) == MT_float32 ? 0x1p-23 : 0x1p-52;
  Val v[3] = {{0}};
  t__lstsq(c, A, b, mt_has(rcond) ? mt_sre(rcond) : eps * (double)(m > n ? m : n), driver, v);
  if (c->err) return;
  Tensor *none = mt_new(c, mt_il((int64_t[]){0}, 1), MT_int64, mt_meta(A) ? MT_META : MT_CPU);
  r[0].t = vec ? t_squeeze_dim(c, v[0].t, LIST(-1)) : v[0].t;
  r[1].t = lstsq_residuals(c, A, b, driver, v);
  r[2].t = driver[4] ? v[1].t : none;
  r[3].t = driver[4] && driver[4] != 'y'
               ? v[2].t
               : mt_new(c, mt_il((int64_t[]){0}, 1), mt_real_dtype((DType)A->dtype),
                        mt_meta(A) ? MT_META : MT_CPU);
}
Tensor *k_linalg_inv(Ctx *c, Tensor *A) {
  Val r[2];
  t_linalg_inv_ex(c, A, false, r);
  return info_ok(c, r[1].t, singular) ? r[0].t : NULL;
}
Tensor *k_inverse(Ctx *c, Tensor *self) { return t_linalg_inv(c, self); }
Tensor *k_linalg_solve_triangular(Ctx *c, Tensor *self, Tensor *B, bool upper, bool left,
                                  bool unitriangular) {
  if (!square(c, self)) return NULL;
  if (B->ndim < 2 || B->size[B->ndim - (left ? 2 : 1)] != self->size[self->ndim - 1])
    return mt_fail(c, "B of shape %s does not fit A of shape %s", mt_list_str(c, mt_sizes(B)),
                   mt_list_str(c, mt_sizes(self)));
  if (!same_batches(c, &self, &B)) return NULL;
  return t__solve_triangular(c, self, B, upper, left, unitriangular);
}
void k_triangular_solve(Ctx *c, Tensor *self, Tensor *A, bool upper, bool transpose,
                        bool unitriangular, Val *r) {
  r[0].t = t_linalg_solve_triangular(c, transpose ? t_mT(c, A) : A, self, upper != transpose, true,
                                     unitriangular);
  r[1].t = t_clone(c, A, -1);
}

/* ---- determinants ---- */
Tensor *k_linalg_det(Ctx *c, Tensor *A) {
  Val r[3];
  t__det(c, A, r);
  return c->err ? NULL : r[0].t;
}
Tensor *k_det(Ctx *c, Tensor *self) { return t_linalg_det(c, self); }
void k_linalg_slogdet(Ctx *c, Tensor *A, Val *r) {
  Val e[4];
  t__slogdet(c, A, e);
  r[0] = e[0];
  r[1] = e[1];
}
void k_slogdet(Ctx *c, Tensor *self, Val *r) { t_linalg_slogdet(c, self, r); }
/* log(sign) is 0, nan where negative, i * angle for complex determinants. */
Tensor *k_logdet(Ctx *c, Tensor *self) {
  Val r[2];
  t_linalg_slogdet(c, self, r);
  return t_add(c, t_log(c, r[0].t), r[1].t, mt_si(1));
}

/* ---- eigenvalues and singular values ---- */
void k_linalg_eigh(Ctx *c, Tensor *A, const char *uplo, Val *r) { t__eigh(c, A, uplo, true, r); }
static bool wants_grad(const Ctx *c, const Tensor *t) {
  return c->grad_mode && t->flags & MT_REQ_GRAD;
}
Tensor *k_linalg_eigvalsh(Ctx *c, Tensor *A, const char *uplo) {
  Val r[2];
  t__eigh(c, A, uplo, wants_grad(c, A), r);
  return c->err ? NULL : r[0].t;
}
void k_linalg_eig(Ctx *c, Tensor *A, Val *r) { t__eig(c, A, true, r); }
Tensor *k_linalg_eigvals(Ctx *c, Tensor *A) {
  Val r[2];
  t__eig(c, A, wants_grad(c, A), r);
  return c->err ? NULL : r[0].t;
}
static bool driver_ok(Ctx *c, const char *driver) {
  if (!driver) return true;
  mt_fail(c, "the keyword driver is for CUDA tensors only");
  return false;
}
void k_linalg_svd(Ctx *c, Tensor *A, bool full, const char *driver, Val *r) {
  if (driver_ok(c, driver)) t__svd(c, A, full, true, r);
}
Tensor *k_linalg_svdvals(Ctx *c, Tensor *A, const char *driver) {
  Val r[3];
  if (!driver_ok(c, driver)) return NULL;
  t__svd(c, A, false, wants_grad(c, A), r);
  return c->err ? NULL : r[1].t;
}
void k_svd(Ctx *c, Tensor *self, bool some, bool compute_uv, Val *r) {
  t__svd(c, self, !some, true, r);
  if (c->err) return;
  r[2].t = t_mH(c, r[2].t);
  if (!compute_uv) {
    r[0].t = t_zeros_like(c, r[0].t, -1, -1, -1, -1, false, -1);
    r[2].t = t_zeros_like(c, r[2].t, -1, -1, -1, -1, false, -1);
  }
}
void k_qr(Ctx *c, Tensor *self, bool some, Val *r) {
  t_linalg_qr(c, self, some ? "reduced" : "complete", r);
}

/* ---- powers ---- */
Tensor *k_linalg_matrix_power(Ctx *c, Tensor *self, int64_t n) {
  if (!square(c, self)) return NULL;
  int64_t d = self->size[self->ndim - 1];
  if (n == 0)
    return t_add(c, t__tri(c, self, d, true), t__eye_like(c, self, d),
                 mt_si(1)); /* zeros, on the tape */
  Tensor *base = n < 0 ? t_linalg_inv(c, self) : self, *r = NULL;
  uint64_t e = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
  if (e == 1) return n < 0 ? base : t_clone(c, base, -1);
  for (; e && !c->err; e >>= 1) {
    if (e & 1) r = r ? t_matmul(c, r, base) : base;
    if (e > 1) base = t_matmul(c, base, base);
  }
  return r;
}
Tensor *k_matrix_power(Ctx *c, Tensor *self, int64_t n) {
  return t_linalg_matrix_power(c, self, n);
}

/* The largest 1-norm over the batch (a is float64 or complex128), for choosing the scaling; nan
 * where there is one, and where memory ran out. */
static double largest_norm(Ctx *c, Tensor *a) {
  Tensor *x = mt_contig(c, mt_is_complex(a->dtype) ? t_abs(c, a) : a);
  int64_t n = a->size[a->ndim - 1], batch = n ? a->numel / (n * n) : 0;
  double worst = 0, *sum = mt_tmp(c, sizeof(double) * (size_t)(n + 1));
  if (!x || !sum) return NAN;
  const double *row = mt_data(x);
  for (int64_t i = 0; i < batch; i++) {
    memset(sum, 0, sizeof(double) * (size_t)n);
    for (int64_t p = 0; p < n; p++, row += n)
      for (int64_t q = 0; q < n; q++) sum[q] += fabs(row[q]);
    for (int64_t q = 0; q < n; q++) if (sum[q] > worst || sum[q] != sum[q]) worst = sum[q];
  }
  return worst;
}
/* Taylor polynomials in Paterson-Stockmeyer form: powers up to `powers`, and one product less than
 * there are blocks of so many terms.  After s halvings the norm x leaves a relative error of
 * x^degree / (degree + 1)! in what is exponentiated. */
typedef struct { int powers, blocks, halvings; } Taylor;
static Taylor cheapest(double norm, double eps) {
  static const Taylor kinds[] = {{2, 1, 0}, {2, 2, 0}, {3, 2, 0}, {3, 3, 0},
                                 {4, 3, 0}, {4, 4, 0}, {5, 4, 0}};
  Taylor best = kinds[6];
  int least = INT32_MAX;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds && norm <= 1e300; i++) {
    Taylor t = kinds[i];
    int degree = t.powers * t.blocks;
    double most = exp((log(eps) + lgamma(degree + 2)) / degree);
    for (double x = norm; x > most; x /= 2) t.halvings++;
    int products = t.powers + t.blocks - 2 + t.halvings;
    if (products <= least) { least = products; best = t; } /* few halvings lose few digits */
  }
  return best;
}
/* sum of terms[i] p[i], i < n; p[0] is the identity. */
static Tensor *combine(Ctx *c, Tensor *const *p, const double *terms, int n) {
  Tensor *sum = t_mul(c, p[0], mt_wrap(c, mt_sd(terms[0])));
  for (int i = 1; i < n; i++) sum = t_add(c, sum, p[i], mt_sd(terms[i]));
  return sum;
}
/* Scaling and squaring.  Squaring doubles every rounding error: matrices that cost little are
 * raised in double precision. */
Tensor *k_linalg_matrix_exp(Ctx *c, Tensor *self) {
  enum { LITTLE = 32 };
  if (!square(c, self)) return NULL;
  if (mt_is_int(self->dtype))
    return mt_fail(c, "expected a floating point or complex tensor, got %s",
                   mt_dtypes[self->dtype].name);
  int64_t n = self->size[self->ndim - 1];
  if (!self->numel) return t_clone(c, self, -1);
  if (mt_meta(self)) return mt_new_like(c, self, (DType)self->dtype);
  DType d = (DType)self->dtype, wide = mt_is_complex(d) ? MT_complex128 : MT_float64;
  Tensor *x = mt_cast(c, self, wide);
  if (!x) return NULL;
  double terms[26] = {1}, eps = mt_real_dtype(d) == MT_float64 ? 0x1p-53 : 0x1p-25;
  for (int i = 1; i < 26; i++) terms[i] = terms[i - 1] / i;
  Taylor t = cheapest(largest_norm(c, x), eps);
  if (n > LITTLE && mt_real_dtype(d) == MT_float32) x = self;
  int k = t.powers;
  Tensor *p[6] = {t__eye_like(c, x, n),
                  t.halvings ? t_mul(c, x, mt_wrap(c, mt_sd(ldexp(1, -t.halvings)))) : x};
  for (int i = 2; i <= k; i++) p[i] = t_matmul(c, p[i - 1], p[1]);
  Tensor *r = combine(c, p, terms + (t.blocks - 1) * k, k + 1);
  for (int block = t.blocks - 2; block >= 0 && !c->err; block--)
    r = t_add(c, t_matmul(c, r, p[k]), combine(c, p, terms + block * k, k), mt_si(1));
  for (int s = t.halvings; s > 0 && !c->err; s--) r = t_matmul(c, r, r);
  return mt_cast(c, r, d);
}

/* ---- tensors as matrices ---- */
Tensor *k_linalg_tensorinv(Ctx *c, Tensor *self, int64_t ind) {
  if (ind <= 0 || ind > self->ndim)
    return mt_fail(c, "ind must be between 1 and the number of dimensions, got %lld",
                   (long long)ind);
  int64_t size[MT_MAXDIM], rows = 1, cols = 1;
  int n = 0;
  for (int i = (int)ind; i < self->ndim; i++) cols *= size[n++] = self->size[i];
  for (int i = 0; i < ind; i++) rows *= size[n++] = self->size[i];
  if (rows != cols)
    return mt_fail(c, "the first %lld sizes of %s must multiply to the same as the rest",
                   (long long)ind, mt_list_str(c, mt_sizes(self)));
  return t_reshape(c, t_linalg_inv(c, t_reshape(c, self, LIST(rows, cols))), mt_il(size, n));
}
Tensor *k_linalg_tensorsolve(Ctx *c, Tensor *self, Tensor *other, IntList dims) {
  int64_t perm[MT_MAXDIM], size[MT_MAXDIM], k = 1;
  if (dims.n > 0) {                             /* these dimensions go to the end */
    bool moved[MT_MAXDIM] = {false};
    int n = 0;
    for (int64_t i = 0; i < dims.n; i++) {
      int d = mt_dim(c, dims.v[i], self->ndim);
      if (d < 0) return NULL;
      moved[d] = true;
    }
    for (int i = 0; i < self->ndim; i++) if (!moved[i]) perm[n++] = i;
    for (int64_t i = 0; i < dims.n && n < MT_MAXDIM; i++)
      perm[n++] = mt_dim(c, dims.v[i], self->ndim);
    self = t_permute(c, self, mt_il(perm, n));
    if (!self) return NULL;
  }
  int n = self->ndim - other->ndim;
  for (int i = 0; i < n; i++) k *= size[i] = self->size[other->ndim + i];
  if (n < 0 || k != other->numel)
    return mt_fail(c, "self of shape %s does not fit other of shape %s",
                   mt_list_str(c, mt_sizes(self)), mt_list_str(c, mt_sizes(other)));
  Tensor *x = t_linalg_solve(c, t_reshape(c, self, LIST(k, k)), t_reshape(c, other, LIST(k)), true);
  return t_reshape(c, x, mt_il(size, n));
}

Tensor *k_linalg_vecdot(Ctx *c, Tensor *x, Tensor *y, int64_t dim) {
  if (x->dtype != y->dtype || x->dtype == MT_bool)
    return mt_fail(c, "expected two tensors of the same numeric dtype, got %s and %s",
                   mt_dtypes[x->dtype].name, mt_dtypes[y->dtype].name);
  Tensor *z = t_mul(c, t_conj(c, x), y);
  int d = z ? mt_dim(c, dim, z->ndim) : -1;
  return d < 0 ? NULL : t_sum_dim(c, z, LIST(d), false, -1);
}
Tensor *k_linalg_vander(Ctx *c, Tensor *x, int64_t N) {
  if (!x->ndim) x = t_unsqueeze(c, x, 0);
  if (!x) return NULL;
  if (N == MT_NONE_INT) N = x->size[x->ndim - 1];
  if (N <= 1) return mt_fail(c, "N must be greater than 1, got %lld", (long long)N);
  Tensor *e = t_arange_end(c, mt_si(N), mt_is_int(x->dtype) ? MT_int64 : x->dtype, -1,
                           mt_meta(x) ? MT_META : -1, -1, false);
  Tensor *base = mt_is_int(x->dtype) ? t_to_dtype(c, x, MT_int64, false, -1) : x;
  return t_pow(c, t_unsqueeze(c, base, -1), e);
}
