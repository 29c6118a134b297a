/* norm.c: kernels of ops_norm.def.
 *
 * Every vector norm is _vnorm, a reduction in double (of float16 and bfloat16 too), so norms are as
 * exact as the result's type. */
#include "expr_rt.h"
#include "op.h"
#include "reduce.h"
#include <float.h>
#include <string.h>

#define LIST(...)                                                            \
  mt_il((const int64_t[]){__VA_ARGS__},                                      \
        (int64_t)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))
static Tensor *num(Ctx *c, double x) { return mt_wrap(c, mt_sd(x)); }
static Tensor *sub(Ctx *c, Tensor *a, Tensor *b) { return t_sub(c, a, b, mt_si(1)); }
static Tensor *add(Ctx *c, Tensor *a, Tensor *b) { return t_add(c, a, b, mt_si(1)); }
static Tensor *over(Ctx *c, Tensor *a, Tensor *b) { return t_div(c, a, b, NULL); }

Tensor *k__vnorm(Ctx *c, Tensor *self, double ord, IntList dim, bool keepdim) {
  uint64_t mask = 0;
  int64_t len = 1, rows = 1;
  for (int64_t i = 0; i < dim.n; i++) mask |= 1ull << dim.v[i];
  for (int i = 0; i < self->ndim; i++) *(mask >> i & 1 ? &len : &rows) *= self->size[i];
  if (!len && rows && (ord < 0 || isinf(ord)))
    return mt_fail(c, "the norm of order %g of no elements has no value", ord);
  RedKind k = ord == 2                                            ? R_sumsq
              : ord == 1                                          ? R_sumabs
              : ord == 0                                          ? R_nnz
              : isinf(ord)                                        ? ord > 0 ? R_absmax : R_absmin
              : ord == 3 && !mt_is_complex((DType)self->dtype)    ? R_sumcube
                                                                  : R_sumpow;
  bool plain = ord == 0 || ord == 1 || isinf(ord);
  return mt_reduce_as(c, k, self, mask, keepdim, mt_real_dtype((DType)self->dtype), ord,
                      plain ? RE_none : ord == 2 ? RE_root : RE_power);
}

/* Zero where the norm is zero: the subgradient PyTorch chooses. */
static Tensor *masked(Ctx *c, Tensor *x, Tensor *where_zero) {
  return t_masked_fill(c, x, t_eq(c, where_zero, num(c, 0)), mt_si(0));
}
Tensor *k__vnorm_backward(Ctx *c, Tensor *grad, Tensor *self, Tensor *norm, double ord, IntList dim,
                          bool keepdim) {
  if (!keepdim) {
    bool gone[MT_MAXDIM] = {false};
    for (int64_t i = 0; i < dim.n; i++) gone[dim.v[i]] = true;
    for (int i = 0; i < self->ndim && !c->err; i++)
      if (gone[i]) {
        grad = t_unsqueeze(c, grad, i);
        norm = t_unsqueeze(c, norm, i);
      }
  }
  if (ord == 0) return NULL;
  Tensor *safe = norm;                         /* no 0 / 0 in second derivatives */
  if (c->grad_mode)
    safe =
        t_where(c, t_eq(c, norm, num(c, 0)), t_ones_like(c, norm, -1, -1, -1, -1, false, -1), norm);
  if (ord == 1) return t_mul(c, t_sgn(c, self), grad);
  if (ord == 2) return t_mul(c, self, masked(c, over(c, grad, safe), norm));
  Tensor *a = t_abs(c, self);
  if (isinf(ord)) {                            /* shared evenly among the elements that reach it */
    Tensor *hit = t_logical_or(c, t_eq(c, a, norm), t_isnan(c, a));
    hit = t_to_dtype(c, hit, norm->dtype, false, -1);
    return t_mul(c, t_mul(c, t_sgn(c, self), hit), over(c, grad, t_sum_dim(c, hit, dim, true, -1)));
  }
  if (ord < 2) {
    Tensor *scaled = t_mul(c, t_sgn(c, self), masked(c, t_pow(c, a, num(c, ord - 1)), a));
    Tensor *scale = ord < 1 ? t_mul(c, grad, t_pow(c, norm, num(c, 1 - ord)))
                            : masked(c, over(c, grad, t_pow(c, safe, num(c, ord - 1))), norm);
    return t_mul(c, scaled, scale);
  }
  Tensor *scaled = t_mul(c, self, t_pow(c, a, num(c, ord - 2)));
  return t_mul(c, scaled, masked(c, over(c, grad, t_pow(c, safe, num(c, ord - 1))), norm));
}

/* ---- the public norms ---- */
static int wrap_dims(Ctx *c, const Tensor *t, IntList dim, int64_t *out) {
  bool seen[MT_MAXDIM] = {false};
  int n = 0;
  if (dim.n <= 0) { for (; n < t->ndim; n++) out[n] = n; return n; }
  for (int64_t i = 0; i < dim.n; i++) {
    int d = mt_dim(c, dim.v[i], t->ndim);
    if (d < 0) return -1;
    if (t->ndim == 0) continue;
    if (seen[d]) { mt_fail(c, "dim %d appears twice", d); return -1; }
    seen[d] = true;
    out[n++] = d;
  }
  return n;
}
static Tensor *as_dtype(Ctx *c, Tensor *t, int dtype) {
  if (dtype >= 0) {
    if (mt_is_int(dtype))
      return mt_fail(c, "dtype must be floating point or complex, got %s", mt_dtypes[dtype].name);
    if (mt_is_complex(t->dtype) != mt_is_complex(dtype))
      return mt_fail(c, "dtype %s does not fit an input of %s", mt_dtypes[dtype].name,
                     mt_dtypes[t->dtype].name);
    return t->dtype == dtype ? t : t_to_dtype(c, t, dtype, false, -1);
  }
  if (mt_is_int(t->dtype))
    return mt_fail(c, "expected a floating point or complex tensor, got %s",
                   mt_dtypes[t->dtype].name);
  return t;
}
Tensor *k_linalg_vector_norm(Ctx *c, Tensor *self, Scalar ord, IntList dim, bool keepdim,
                             int dtype) {
  int64_t dims[MT_MAXDIM];
  if (ord.kind == K_COMPLEX) return mt_fail(c, "ord must be real");
  if (!(self = as_dtype(c, self, dtype))) return NULL;
  int n = wrap_dims(c, self, dim, dims);
  return n < 0 ? NULL : t__vnorm(c, self, mt_sre(ord), mt_il(dims, n), keepdim);
}

static Tensor *vnorm(Ctx *c, Tensor *t, double ord, int64_t d0, int64_t d1, bool keepdim) {
  int64_t d[2] = {d0, d1};
  return t_linalg_vector_norm(c, t, mt_sd(ord), mt_il(d, d1 == MT_NONE_INT ? 1 : 2), keepdim, -1);
}
static bool two_dims(Ctx *c, Tensor *self, IntList dim, int64_t *d) {
  if (self->ndim < 2) {
    mt_fail(c, "expected a matrix or a batch of matrices, got shape %s",
            mt_list_str(c, mt_sizes(self)));
    return false;
  }
  if (dim.n != 2) {
    mt_fail(c, "dim must have 2 elements, got %lld", (long long)dim.n);
    return false;
  }
  d[0] = mt_dim(c, dim.v[0], self->ndim);
  d[1] = mt_dim(c, dim.v[1], self->ndim);
  if (d[0] >= 0 && d[0] == d[1]) mt_fail(c, "the dims must differ");
  return !c->err;
}
/* The singular values of the matrices in dims d as last dimension. */
static Tensor *values(Ctx *c, Tensor *t, const int64_t *d) {
  int64_t perm[MT_MAXDIM];
  int n = 0;
  for (int i = 0; i < t->ndim; i++) if (i != d[0] && i != d[1]) perm[n++] = i;
  perm[n++] = d[0];
  perm[n++] = d[1];
  return t_linalg_svdvals(c, t_permute(c, t, mt_il(perm, n)), NULL);
}
static Tensor *put_back(Ctx *c, Tensor *r, const int64_t *d, bool keepdim) {
  if (!keepdim) return r;
  int64_t lo = d[0] < d[1] ? d[0] : d[1], hi = d[0] < d[1] ? d[1] : d[0];
  return t_unsqueeze(c, t_unsqueeze(c, r, lo), hi);
}
/* The largest or least along dim; equal ones share the gradient. */
static Tensor *extreme(Ctx *c, Tensor *x, double p, int64_t dim, bool keepdim) {
  IntList l = mt_il(&dim, 1);
  if (x && x->size[dim < 0 ? dim + x->ndim : dim] == 0)
    return t_sum_dim(c, x, l, keepdim, -1); /* the largest of nothing is 0 */
  return p < 0 ? t_amin(c, x, l, keepdim) : t_amax(c, x, l, keepdim);
}
Tensor *k_linalg_matrix_norm(Ctx *c, Tensor *self, Scalar ord, IntList dim, bool keepdim,
                             int dtype) {
  int64_t d[2];
  double p = mt_sre(ord), a = fabs(p);
  if (!(self = as_dtype(c, self, dtype)) || !two_dims(c, self, dim, d)) return NULL;
  if (a != 1 && a != 2 && !isinf(a)) return mt_fail(c, "order %g is not a matrix norm", p);
  if (a == 2) return put_back(c, extreme(c, values(c, self, d), p, -1, false), d, keepdim);
  int64_t sum = isinf(a) ? d[1] : d[0], best = isinf(a) ? d[0] : d[1];
  Tensor *s = vnorm(c, self, 1, sum, MT_NONE_INT, keepdim);
  if (!keepdim && best > sum) best--;
  return extreme(c, s, p, best, keepdim);
}
Tensor *k_linalg_matrix_norm_str(Ctx *c, Tensor *self, const char *ord, IntList dim, bool keepdim,
                                 int dtype) {
  int64_t d[2], last = -1;
  if (!(self = as_dtype(c, self, dtype)) || !two_dims(c, self, dim, d)) return NULL;
  if (!strcmp(ord, "fro")) return vnorm(c, self, 2, d[0], d[1], keepdim);
  if (strcmp(ord, "nuc")) return mt_fail(c, "order '%s' is not a matrix norm", ord);
  return put_back(c, t_sum_dim(c, values(c, self, d), mt_il(&last, 1), false, -1), d, keepdim);
}
Tensor *k_linalg_norm(Ctx *c, Tensor *self, Scalar ord, IntList dim, bool keepdim, int dtype) {
  if (!mt_has(ord)) return t_linalg_vector_norm(c, self, mt_si(2), dim, keepdim, dtype);
  if (dim.n > 2 || (dim.n <= 0 && self->ndim > 2))
    return mt_fail(c, "a norm of an order is over 1 or 2 dimensions");
  if (dim.n == 2 || (dim.n <= 0 && self->ndim == 2))
    return t_linalg_matrix_norm(c, self, ord, dim.n == 2 ? dim : LIST(-2, -1), keepdim, dtype);
  return t_linalg_vector_norm(c, self, ord, dim, keepdim, dtype);
}
Tensor *k_linalg_norm_str(Ctx *c, Tensor *self, const char *ord, IntList dim, bool keepdim,
                          int dtype) {
  if (dim.n > 0 ? dim.n != 2 : self->ndim != 2)
    return mt_fail(c, "order '%s' is a norm of matrices", ord);
  return t_linalg_matrix_norm_str(c, self, ord, dim.n > 0 ? dim : LIST(-2, -1), keepdim, dtype);
}
Tensor *k_norm(Ctx *c, Tensor *self, Scalar p, IntList dim, bool keepdim, int dtype) {
  return t_linalg_vector_norm(c, self, mt_has(p) ? p : mt_si(2), dim, keepdim, dtype);
}
Tensor *k_norm_str(Ctx *c, Tensor *self, const char *p, IntList dim, bool keepdim, int dtype) {
  if (!strcmp(p, "fro")) return t_linalg_vector_norm(c, self, mt_si(2), dim, keepdim, dtype);
  return t_linalg_matrix_norm_str(c, self, p, dim.n > 0 ? dim : LIST(-2, -1), keepdim, dtype);
}

/* ---- distances ---- */
Tensor *k_dist(Ctx *c, Tensor *self, Tensor *other, Scalar p) {
  return t_norm(c, sub(c, self, other), p, mt_ilnone(), false, -1);
}
Tensor *k_renorm(Ctx *c, Tensor *self, Scalar p, int64_t dim, Scalar maxnorm) {
  int64_t dims[MT_MAXDIM];
  int d = mt_dim(c, dim, self->ndim), n = 0;
  if (d < 0) return NULL;
  if (self->ndim < 2) return mt_fail(c, "expected at least 2 dimensions, got %d", self->ndim);
  if (mt_sre(p) <= 0 || mt_sre(maxnorm) < 0)
    return mt_fail(c, "p must be positive and maxnorm not negative");
  for (int i = 0; i < self->ndim; i++) if (i != d) dims[n++] = i;
  Tensor *s = t_linalg_vector_norm(c, self, p, mt_il(dims, n), true, -1),
         *most = mt_wrap(c, maxnorm);
  Tensor *scale = over(c, most, add(c, s, num(c, 1e-7)));
  return c->err ? NULL
                : t_mul(c, self,
                        t_where(c, t_gt(c, s, most), scale,
                                t_ones_like(c, s, -1, -1, -1, -1, false, -1)));
}
Tensor *k_F_normalize(Ctx *c, Tensor *input, double p, int64_t dim, double eps) {
  return over(c, input,
              t_clamp_min(c, t_linalg_vector_norm(c, input, mt_sd(p), mt_il(&dim, 1), true, -1),
                          num(c, eps)));
}
Tensor *k_F_pairwise_distance(Ctx *c, Tensor *x1, Tensor *x2, double p, double eps, bool keepdim) {
  return t_norm(c, add(c, sub(c, x1, x2), num(c, eps)), mt_sd(p), LIST(-1), keepdim, -1);
}
Tensor *k_F_cosine_similarity(Ctx *c, Tensor *x1, Tensor *x2, int64_t dim, double eps) {
  DType d = mt_promote((DType)x1->dtype, (DType)x2->dtype);
  if (mt_is_int(d)) return mt_fail(c, "expected floating point tensors, got %s", mt_dtypes[d].name);
  if (x1->dtype != d) x1 = t_to_dtype(c, x1, d, false, -1);
  if (x2->dtype != d) x2 = t_to_dtype(c, x2, d, false, -1);
  int64_t shape[MT_MAXDIM];
  int n;
  if (c->err || !mt_broadcast(c, x1->ndim, x1->size, x2->ndim, x2->size, &n, shape)) return NULL;
  x1 = t_expand(c, x1, mt_il(shape, n), false);
  x2 = t_expand(c, x2, mt_il(shape, n), false);
  Tensor *a =
      t_clamp_min(c, t_linalg_vector_norm(c, x1, mt_si(2), mt_il(&dim, 1), true, -1), num(c, eps));
  Tensor *b =
      t_clamp_min(c, t_linalg_vector_norm(c, x2, mt_si(2), mt_il(&dim, 1), true, -1), num(c, eps));
  return t_sum_dim(c, t_mul(c, over(c, x1, a), over(c, x2, b)), mt_il(&dim, 1), false, -1);
}
/* ---- cross products ---- */
Tensor *k_linalg_cross(Ctx *c, Tensor *self, Tensor *other, int64_t dim) {
  int64_t shape[MT_MAXDIM];
  int n;
  if (self->ndim != other->ndim)
    return mt_fail(c, "both tensors must have the same number of dimensions, got %d and %d",
                   self->ndim, other->ndim);
  int d = mt_dim(c, dim, self->ndim);
  if (d < 0 || !self->ndim) return c->err ? NULL : mt_fail(c, "expected at least 1 dimension");
  if (self->size[d] != 3 || other->size[d] != 3)
    return mt_fail(c, "dimension %d must have size 3", d);
  if (!mt_broadcast(c, self->ndim, self->size, other->ndim, other->size, &n, shape)) return NULL;
  Tensor *a[3], *b[3], *r[3];
  for (int i = 0; i < 3; i++) {
    a[i] = t_narrow(c, self, d, i, 1);
    b[i] = t_narrow(c, other, d, i, 1);
  }
  for (int i = 0; i < 3; i++) {
    int j = (i + 1) % 3, k = (i + 2) % 3;
    r[i] = sub(c, t_mul(c, a[j], b[k]), t_mul(c, a[k], b[j]));
  }
  return c->err ? NULL : t_cat(c, (TensorList){r, 3}, d);
}
Tensor *k_cross(Ctx *c, Tensor *self, Tensor *other, int64_t dim) {
  for (int i = 0; dim == MT_NONE_INT && i < self->ndim; i++) if (self->size[i] == 3) dim = i;
  if (dim == MT_NONE_INT)
    return mt_fail(c, "no dimension of size 3 in %s", mt_list_str(c, mt_sizes(self)));
  return t_linalg_cross(c, self, other, dim);
}

/* ---- condition, rank, pseudo-inverse ---- */
static bool square(Ctx *c, const Tensor *a) {
  if (a->ndim >= 2 && a->size[a->ndim - 1] == a->size[a->ndim - 2]) return true;
  mt_fail(c, "expected square matrices, got shape %s", mt_list_str(c, mt_sizes(a)));
  return false;
}
/* The norm of the inverse; infinite where there is none. */
static Tensor *times_inverse(Ctx *c, Tensor *self, Tensor *own, Scalar p, const char *name) {
  Val r[2];
  t_linalg_inv_ex(c, self, false, r);
  if (c->err) return NULL;
  Tensor *other = name ? t_linalg_matrix_norm_str(c, r[0].t, name, LIST(-2, -1), false, -1)
                       : t_linalg_matrix_norm(c, r[0].t, p, LIST(-2, -1), false, -1);
  return t_masked_fill(c, t_mul(c, own, other), t_ne(c, r[1].t, num(c, 0)), mt_sd(INFINITY));
}
Tensor *k_linalg_cond(Ctx *c, Tensor *self, Scalar p) {
  double o = mt_has(p) ? mt_sre(p) : 2;
  if (self->ndim < 2)
    return mt_fail(c, "expected a matrix or a batch of matrices, got shape %s",
                   mt_list_str(c, mt_sizes(self)));
  if (fabs(o) == 2) {
    Tensor *s = t_linalg_svdvals(c, self, NULL);
    if (!s) return NULL;
    Tensor *most = t_select(c, s, -1, 0), *least = t_select(c, s, -1, -1);
    return o > 0 ? over(c, most, least) : over(c, least, most);
  }
  if (!square(c, self)) return NULL;
  return times_inverse(c, self, t_linalg_matrix_norm(c, self, p, LIST(-2, -1), false, -1), p, NULL);
}
Tensor *k_linalg_cond_str(Ctx *c, Tensor *self, const char *p) {
  if (!square(c, self)) return NULL;
  return times_inverse(c, self, t_linalg_matrix_norm_str(c, self, p, LIST(-2, -1), false, -1),
                       mt_si(0), p);
}

/* max(atol, rtol * the largest value), one for each matrix, with a last dimension of 1. */
static Tensor *tolerance(Ctx *c, Tensor *A, Tensor *largest, Tensor *atol, Tensor *rtol) {
  int64_t m = A->size[A->ndim - 2], n = A->size[A->ndim - 1];
  double eps = mt_real_dtype((DType)A->dtype) == MT_float32 ? FLT_EPSILON : DBL_EPSILON;
  Tensor *standard = num(c, eps * (double)(m > n ? m : n));
  if (!rtol && !atol) rtol = standard;
  else if (!rtol) rtol = t_where(c, t_gt(c, atol, num(c, 0)), num(c, 0), standard);
  if (c->err) return NULL;
  if (rtol->ndim) rtol = t_unsqueeze(c, rtol, -1);
  Tensor *t = t_mul(c, rtol, largest);
  if (atol && atol->ndim) atol = t_unsqueeze(c, atol, -1);
  return atol ? t_maximum(c, t, atol) : t;
}
static Tensor *sizes_of(Ctx *c, Tensor *A, bool hermitian) {
  Tensor *s = hermitian ? t_abs(c, t_linalg_eigvalsh(c, A, "L")) : t_linalg_svdvals(c, A, NULL);
  return s;
}
static bool matrix(Ctx *c, const Tensor *A) {
  if (A->ndim >= 2) return true;
  mt_fail(c, "expected a matrix or a batch of matrices, got shape %s", mt_list_str(c, mt_sizes(A)));
  return false;
}
static Tensor *rank(Ctx *c, Tensor *A, Tensor *atol, Tensor *rtol, bool hermitian) {
  if (!matrix(c, A)) return NULL;
  if (!A->numel) return t_zeros(c, mt_il(A->size, A->ndim - 2), MT_int64, -1, -1, -1, false);
  Tensor *s = sizes_of(c, A, hermitian);
  if (!s) return NULL;
  Tensor *cut = tolerance(c, A, vnorm(c, s, INFINITY, -1, MT_NONE_INT, true), atol, rtol);
  return t_sum_dim(c, t_gt(c, s, cut), LIST(-1), false, -1);
}
static Tensor *maybe(Ctx *c, Scalar s) { return mt_has(s) ? mt_wrap(c, s) : NULL; }
Tensor *k_linalg_matrix_rank(Ctx *c, Tensor *A, Scalar atol, Scalar rtol, bool hermitian) {
  return rank(c, A, maybe(c, atol), maybe(c, rtol), hermitian);
}
Tensor *k_linalg_matrix_rank_Tensor(Ctx *c, Tensor *A, Tensor *atol, Tensor *rtol, bool hermitian) {
  return rank(c, A, atol, rtol, hermitian);
}
Tensor *k_linalg_matrix_rank_tol(Ctx *c, Tensor *A, double tol, bool hermitian) {
  return rank(c, A, num(c, tol), num(c, 0), hermitian);
}
Tensor *k_linalg_matrix_rank_tol_Tensor(Ctx *c, Tensor *A, Tensor *tol, bool hermitian) {
  return rank(c, A, tol, num(c, 0), hermitian);
}

Tensor *k__pinv(Ctx *c, Tensor *A, Tensor *atol, Tensor *rtol, bool hermitian) {
  int64_t size[MT_MAXDIM];
  memcpy(size, A->size, sizeof(int64_t) * A->ndim);
  size[A->ndim - 2] = A->size[A->ndim - 1];
  size[A->ndim - 1] = A->size[A->ndim - 2];
  if (!A->numel || mt_meta(A))
    return mt_new(c, mt_il(size, A->ndim), (DType)A->dtype, (Device)A->device);
  Val r[3];
  Tensor *left, *right, *s;
  if (hermitian) {
    t__eigh(c, A, "L", true, r);
    if (c->err) return NULL;
    s = r[0].t; left = r[1].t; right = t_mH(c, r[1].t);
  } else {
    t__svd(c, A, false, true, r);
    if (c->err) return NULL;
    s = r[1].t; left = t_mH(c, r[2].t); right = t_mH(c, r[0].t);
  }
  Tensor *a = t_abs(c, s),
         *cut = tolerance(c, A, vnorm(c, a, INFINITY, -1, MT_NONE_INT, true), atol, rtol);
  Tensor *inv = t_masked_fill(c, t_reciprocal(c, s), t_le(c, a, cut), mt_si(0));
  inv = inv && inv->dtype != mt_real_dtype((DType)A->dtype)
            ? t_to_dtype(c, inv, mt_real_dtype((DType)A->dtype), false, -1)
            : inv;
  return t_matmul(c, t_mul(c, left, t_unsqueeze(c, inv, -2)), right);
}
Tensor *k__pinv_backward(Ctx *c, Tensor *grad, Tensor *P, Tensor *A) {
  Tensor *gh = t_mH(c, grad), *Ph = t_mH(c, P);
  if (A->size[A->ndim - 2] <= A->size[A->ndim - 1]) {
    Tensor *K = t_matmul(c, gh, P), *KP = t_matmul(c, K, Ph);
    Tensor *r = sub(c, KP, t_mH(c, t_matmul(c, P, K)));
    r = sub(c, r, t_matmul(c, t_matmul(c, A, P), KP));
    return add(c, r, t_matmul(c, t_matmul(c, Ph, P), sub(c, gh, t_matmul(c, K, A))));
  }
  Tensor *K = t_matmul(c, P, gh), *PK = t_matmul(c, Ph, K);
  Tensor *r = sub(c, PK, t_mH(c, t_matmul(c, K, P)));
  r = add(c, r, t_matmul(c, t_matmul(c, sub(c, gh, t_matmul(c, A, K)), P), Ph));
  return sub(c, r, t_matmul(c, t_matmul(c, PK, P), A));
}
static Tensor *pinv(Ctx *c, Tensor *A, Tensor *atol, Tensor *rtol, bool hermitian) {
  return !matrix(c, A) || (hermitian && !square(c, A)) ? NULL
                                                       : t__pinv(c, A, atol, rtol, hermitian);
}
Tensor *k_linalg_pinv(Ctx *c, Tensor *A, Scalar atol, Scalar rtol, bool hermitian) {
  return pinv(c, A, maybe(c, atol), maybe(c, rtol), hermitian);
}
Tensor *k_linalg_pinv_Tensor(Ctx *c, Tensor *A, Tensor *atol, Tensor *rtol, bool hermitian) {
  return pinv(c, A, atol, rtol, hermitian);
}
Tensor *k_linalg_pinv_rcond(Ctx *c, Tensor *A, double rcond, bool hermitian) {
  return pinv(c, A, NULL, num(c, rcond), hermitian);
}
Tensor *k_linalg_pinv_rcond_Tensor(Ctx *c, Tensor *A, Tensor *rcond, bool hermitian) {
  return pinv(c, A, NULL, rcond, hermitian);
}
Tensor *k_pinverse(Ctx *c, Tensor *self, double rcond) {
  return pinv(c, self, NULL, num(c, rcond), false);
}
