/* linalg_grad.c: the longer derivatives of linear algebra, written with ops and so differentiable
 * themselves.
 *
 * In each, H is the conjugate transpose and the matrices are the last two dimensions; a gradient
 * that is NULL was not asked for and counts as zero. */
#include "expr_rt.h"
#include "op.h"
#include <string.h>

#define LIST(...)                                                            \
  mt_il((const int64_t[]){__VA_ARGS__},                                      \
        (int64_t)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))

static Tensor *add(Ctx *c, Tensor *a, Tensor *b) {
  return !a ? b : !b ? a : t_add(c, a, b, mt_si(1));
}
static Tensor *sub(Ctx *c, Tensor *a, Tensor *b) { return t_sub(c, a, b, mt_si(1)); }
static Tensor *dot(Ctx *c, Tensor *a, Tensor *b) { return t_matmul(c, a, b); }
static Tensor *H(Ctx *c, Tensor *a) { return t_mH(c, a); }
static Tensor *times(Ctx *c, Tensor *a, double x) { return t_mul(c, a, mt_wrap(c, mt_sd(x))); }
static Tensor *lower(Ctx *c, Tensor *a, int64_t d) { return t__tri(c, a, d, false); }
static Tensor *upper(Ctx *c, Tensor *a, int64_t d) { return t__tri(c, a, d, true); }
static Tensor *diag(Ctx *c, Tensor *a) { return t_diagonal(c, a, 0, -2, -1); }
static Tensor *over(Ctx *c, Tensor *a, Tensor *b) { return t_div(c, a, b, NULL); }
static Tensor *row(Ctx *c, Tensor *a) { return t_unsqueeze(c, a, -2); }
static Tensor *col(Ctx *c, Tensor *a) { return t_unsqueeze(c, a, -1); }
static Tensor *eye(Ctx *c, Tensor *like) {
  return t__eye_like(c, like, like->size[like->ndim - 1]);
}
static Tensor *solve_tri(Ctx *c, Tensor *a, Tensor *b, bool up, bool left, bool unit) {
  return t_linalg_solve_triangular(c, a, b, up, left, unit);
}
/* X with half of its diagonal. */
static Tensor *half_diag(Ctx *c, Tensor *x) {
  return c->err ? NULL : sub(c, x, times(c, t__diag_matrix(c, diag(c, x)), 0.5));
}

Tensor *k__cholesky_backward(Ctx *c, Tensor *grad, Tensor *L, bool up) {
  if (up) { L = H(c, L); grad = H(c, grad); }
  Tensor *x = dot(c, H(c, L), grad);
  Tensor *phi = times(c, add(c, lower(c, x, 0), H(c, lower(c, x, -1))), 0.5);
  return solve_tri(c, L, solve_tri(c, H(c, L), phi, true, true, false), false, false, false);
}

Tensor *k__solve_adjoint(Ctx *c, Tensor *A, Tensor *B, bool left) {
  return t_linalg_solve(c, H(c, A), B, left);
}
Tensor *k__solve_backward(Ctx *c, Tensor *gB, Tensor *X, bool left) {
  return t_neg(c, left ? dot(c, gB, H(c, X)) : dot(c, H(c, X), gB));
}
Tensor *k__tri_grad(Ctx *c, Tensor *gB, Tensor *X, bool up, bool left, bool unit) {
  Tensor *g = t_neg(c, left ? dot(c, gB, H(c, X)) : dot(c, H(c, X), gB));
  return up ? upper(c, g, unit) : lower(c, g, unit ? -1 : 0);
}

Tensor *k__lu_solve_backward(Ctx *c, Tensor *g, Tensor *X, Tensor *LU, Tensor *pivots, bool left,
                             bool adjoint) {
  Val p[3];
  t_lu_unpack(c, LU, pivots, true, true, p);
  if (c->err) return NULL;
  Tensor *P = p[0].t, *L = p[1].t, *U = p[2].t;
  if (left != adjoint) {
    Tensor *r = t_neg(c, left ? dot(c, g, H(c, X)) : dot(c, H(c, g), X));
    r = solve_tri(c, H(c, U), r, false, true, false);
    Tensor *l = solve_tri(c, H(c, L), dot(c, r, H(c, U)), true, true, true);
    return add(c, lower(c, l, -1), upper(c, r, 0));
  }
  Tensor *r = t_neg(c, left ? dot(c, X, H(c, g)) : dot(c, H(c, X), g));
  r = dot(c, dot(c, t_mT(c, P), r), P);
  r = solve_tri(c, H(c, L), r, true, false, true);
  Tensor *u = solve_tri(c, H(c, U), dot(c, H(c, L), r), false, false, false);
  return add(c, lower(c, r, -1), upper(c, u, 0));
}

Tensor *k__lu_factor_backward(Ctx *c, Tensor *grad, Tensor *LU, Tensor *pivots) {
  Val p[3];
  t_lu_unpack(c, LU, pivots, true, true, p);
  if (c->err) return NULL;
  Tensor *P = p[0].t, *L = p[1].t, *U = p[2].t;
  int64_t m = LU->size[LU->ndim - 2], n = LU->size[LU->ndim - 1], k = m < n ? m : n;
  Tensor *gU = upper(c, k < m ? t_narrow(c, grad, -2, 0, k) : grad, 0);
  Tensor *gL = lower(c, k < n ? t_narrow(c, grad, -1, 0, k) : grad, -1);
  Tensor *L1 = k < m ? t_narrow(c, L, -2, 0, k) : L, *U1 = k < n ? t_narrow(c, U, -1, 0, k) : U,
         *out;
  if (m <= n) {
    Tensor *gU1 = k < n ? t_narrow(c, gU, -1, 0, k) : gU, *low = dot(c, H(c, L), gL), *gU2 = NULL;
    if (k < n) {
      gU2 = t_narrow(c, gU, -1, k, n - k);
      low = sub(c, low, dot(c, gU2, H(c, t_narrow(c, U, -1, k, n - k))));
    }
    Tensor *phi = add(c, lower(c, low, -1), upper(c, dot(c, gU1, H(c, U1)), 0));
    Tensor *a = solve_tri(c, H(c, U1), phi, false, false, false);
    out = gU2 ? t_cat(c, (TensorList){(Tensor *[]){a, gU2}, 2}, -1) : a;
    out = solve_tri(c, H(c, L), out, true, true, true);
  } else {
    Tensor *gL1 = t_narrow(c, gL, -2, 0, k), *gL2 = t_narrow(c, gL, -2, k, m - k),
           *L2 = t_narrow(c, L, -2, k, m - k);
    Tensor *up = sub(c, dot(c, gU, H(c, U)), dot(c, H(c, L2), gL2));
    Tensor *phi = add(c, lower(c, dot(c, H(c, L1), gL1), -1), upper(c, up, 0));
    Tensor *a = solve_tri(c, H(c, L1), phi, true, true, true);
    out = solve_tri(c, H(c, U), t_cat(c, (TensorList){(Tensor *[]){a, gL2}, 2}, -2), false, false,
                    false);
  }
  return dot(c, P, out);
}

/* LU with a small number in place of exact zeros on U's diagonal: the determinant of a singular
 * matrix still has a gradient. */
static Tensor *nudged(Ctx *c, Tensor *LU) {
  Tensor *d = diag(c, LU), *zero = t_eq(c, d, mt_wrap(c, mt_si(0)));
  bool single = mt_real_dtype((DType)LU->dtype) == MT_float32;
  Tensor *eps = times(c, t_to_dtype(c, zero, LU->dtype, false, -1),
                      single ? 1.1920928955078125e-07 : 2.220446049250313e-16);
  return add(c, LU, t__diag_matrix(c, eps));
}
/* A^-H times a number for each matrix. */
static Tensor *scaled_inverse_adjoint(Ctx *c, Tensor *scale, Tensor *A, Tensor *LU, Tensor *pivots,
                                      bool nudge) {
  Tensor *d = t_mul(c, col(c, col(c, scale)), eye(c, LU));
  if (c->grad_mode && A->flags & MT_REQ_GRAD) return t_linalg_solve(c, H(c, A), d, true);
  return t_linalg_lu_solve(c, nudge ? nudged(c, LU) : LU, pivots, d, true, true);
}
Tensor *k__det_backward(Ctx *c, Tensor *grad, Tensor *det, Tensor *A, Tensor *LU, Tensor *pivots) {
  return scaled_inverse_adjoint(c, t_mul(c, grad, t_conj(c, det)), A, LU, pivots, true);
}
Tensor *k__slogdet_backward(Ctx *c, Tensor *gsign, Tensor *glog, Tensor *sign, Tensor *A,
                            Tensor *LU, Tensor *pivots) {
  Tensor *g = glog ? t_to_dtype(c, glog, A->dtype, false, -1) : NULL;
  if (gsign && mt_is_complex(A->dtype)) {
    Tensor *im = t_imag(c, t_mul(c, t_conj(c, gsign), sign));
    g = add(c, g, t_mul(c, t_neg(c, im), mt_wrap(c, mt_sc(0, 1))));
  }
  if (!g || c->err) return c->err ? NULL : t_zeros_like(c, A, -1, -1, -1, -1, false, -1);
  return scaled_inverse_adjoint(c, g, A, LU, pivots, false);
}

/* S_j - S_i off the diagonal, 1 on it. */
static Tensor *gaps(Ctx *c, Tensor *S) {
  Tensor *e = sub(c, row(c, S), col(c, S));
  return c->err ? NULL : add(c, e, t__eye_like(c, e, e->size[e->ndim - 1]));
}
static Tensor *no_diag(Ctx *c, Tensor *x) { return sub(c, x, t__diag_matrix(c, diag(c, x))); }

Tensor *k__eigh_backward(Ctx *c, Tensor *gL, Tensor *gV, Tensor *L, Tensor *V) {
  if (!gL && !gV) return NULL;
  if (!gV) return dot(c, t_mul(c, V, row(c, gL)), H(c, V));
  Tensor *x = over(c, no_diag(c, dot(c, H(c, V), gV)), gaps(c, L));
  if (gL) x = add(c, x, t__diag_matrix(c, t_to_dtype(c, gL, x ? x->dtype : gL->dtype, false, -1)));
  return dot(c, V, dot(c, x, H(c, V)));
}
Tensor *k__eig_backward(Ctx *c, Tensor *gL, Tensor *gV, Tensor *L, Tensor *V, Tensor *A) {
  Tensor *x = NULL;
  if (gV) {
    Tensor *vhg = dot(c, H(c, V), gV);
    x = sub(c, vhg,
            dot(c, dot(c, H(c, V), V),
                t__diag_matrix(c, t_to_dtype(c, t_real(c, diag(c, vhg)), V->dtype, false, -1))));
    x = over(c, no_diag(c, x), t_conj(c, gaps(c, L)));
  }
  if (gL) x = add(c, x, t__diag_matrix(c, gL));
  if (!x) return NULL;
  x = t_linalg_solve(c, H(c, V), dot(c, x, H(c, V)), true);
  return mt_is_complex(A->dtype) ? x : t_real(c, x);
}

Tensor *k__svd_backward(Ctx *c, Tensor *gU, Tensor *gS, Tensor *gVh, Tensor *U, Tensor *S,
                        Tensor *Vh) {
  if (!gU && !gS && !gVh) return NULL;
  int64_t m = U->size[U->ndim - 2], n = Vh->size[Vh->ndim - 1], k = S->size[S->ndim - 1];
  if (U->size[U->ndim - 1] != k) {
    U = t_narrow(c, U, -1, 0, k);
    gU = gU ? t_narrow(c, gU, -1, 0, k) : NULL;
  }
  if (Vh->size[Vh->ndim - 2] != k) {
    Vh = t_narrow(c, Vh, -2, 0, k);
    gVh = gVh ? t_narrow(c, gVh, -2, 0, k) : NULL;
  }
  if (!gU && !gVh)
    return m >= n ? dot(c, U, t_mul(c, col(c, gS), Vh)) : dot(c, t_mul(c, U, row(c, gS)), Vh);
  Tensor *e = gaps(c, t_mul(c, S, S)), *x = NULL;
  if (gU) {
    Tensor *w = dot(c, H(c, U), gU);
    x = t_mul(c, over(c, sub(c, w, H(c, w)), e), row(c, S));
    if (w && mt_is_complex(w->dtype)) {          /* the phase that U and Vh share */
      Tensor *im = over(c, t_imag(c, diag(c, w)), S);
      x = add(c, x, t__diag_matrix(c, t_mul(c, im, mt_wrap(c, mt_sc(0, 1)))));
    }
  }
  if (gVh) {
    Tensor *w = dot(c, Vh, H(c, gVh));
    x = add(c, x, t_mul(c, col(c, S), over(c, sub(c, w, H(c, w)), e)));
  }
  if (gS) x = add(c, x, t__diag_matrix(c, x ? t_to_dtype(c, gS, x->dtype, false, -1) : gS));
  if (m > k && gU) {
    Tensor *y = over(c, gU, row(c, S));
    x = add(c, dot(c, U, x), sub(c, y, dot(c, U, dot(c, H(c, U), y))));
    return dot(c, x, Vh);
  }
  if (n > k && gVh) {
    Tensor *y = over(c, gVh, col(c, S));
    x = add(c, dot(c, x, Vh), sub(c, y, dot(c, dot(c, y, H(c, Vh)), Vh)));
    return dot(c, U, x);
  }
  return m >= n ? dot(c, U, dot(c, x, Vh)) : dot(c, dot(c, U, x), Vh);
}

/* Q and R of equal inner size m <= rows of Q. */
static Tensor *qr_square(Ctx *c, Tensor *gQ, Tensor *gR, Tensor *Q, Tensor *R) {
  Tensor *x = gR ? dot(c, gR, H(c, R)) : NULL;
  if (gQ) { Tensor *q = dot(c, H(c, Q), gQ); x = x ? sub(c, x, q) : t_neg(c, q); }
  x = upper(c, x, 0);
  x = add(c, x, H(c, x));
  if (c->err) return NULL;
  if (mt_is_complex(x->dtype))
    x = sub(c, x,
            t__diag_matrix(
                c, t_to_dtype(c, times(c, t_real(c, diag(c, x)), 0.5), x->dtype, false, -1)));
  else x = half_diag(c, x);
  x = add(c, dot(c, Q, x), gQ);
  return solve_tri(c, H(c, R), x, false, false, false);
}
Tensor *k__qr_backward(Ctx *c, Tensor *gQ, Tensor *gR, Tensor *Q, Tensor *R, const char *mode) {
  if (!gQ && !gR) return NULL;
  if (mode[0] == 'r' && !mode[1])
    return mt_fail(c,
                   "the derivative of linalg.qr depends on Q, which is not computed when mode='r'");
  int64_t m = Q->size[Q->ndim - 2], n = R->size[R->ndim - 1];
  if (mode[0] == 'c' && m > n)
    return mt_fail(c, "the derivative of linalg.qr is not defined for mode='complete' and more "
                      "rows than columns");
  if (m >= n) return qr_square(c, gQ, gR, Q, R);
  /* A = [X Y], R = [U V], Y = Q V: Y's share goes through Q */
  Tensor *gU = gR ? t_narrow(c, gR, -1, 0, m) : NULL,
         *gV = gR ? t_narrow(c, gR, -1, m, n - m) : NULL;
  Tensor *U = t_narrow(c, R, -1, 0, m), *V = t_narrow(c, R, -1, m, n - m);
  if (!gV) {
    Tensor *gX = qr_square(c, gQ, NULL, Q, U);
    return t_cat(
        c,
        (TensorList){(Tensor *[]){gX, t_zeros_like(c, dot(c, Q, V), -1, -1, -1, -1, false, -1)}, 2},
        -1);
  }
  Tensor *gY = dot(c, Q, gV), *through = dot(c, dot(c, Q, V), H(c, gV));
  Tensor *gX = qr_square(c, add(c, gQ, through), gU, Q, U);
  return t_cat(c, (TensorList){(Tensor *[]){gX, gY}, 2}, -1);
}

/* exp of [[A^H, G], [0, A^H]] holds the derivative in its upper right block. */
Tensor *k__matrix_exp_backward(Ctx *c, Tensor *self, Tensor *grad) {
  Tensor *a = H(c, self), *zero = t_zeros_like(c, a, -1, -1, -1, -1, false, -1);
  int64_t n = self->size[self->ndim - 1];
  Tensor *top = t_cat(c, (TensorList){(Tensor *[]){a, grad}, 2}, -1),
         *bottom = t_cat(c, (TensorList){(Tensor *[]){zero, a}, 2}, -1);
  Tensor *e = t_linalg_matrix_exp(c, t_cat(c, (TensorList){(Tensor *[]){top, bottom}, 2}, -2));
  return c->err ? NULL : t_narrow(c, t_narrow(c, e, -2, 0, n), -1, n, n);
}

/* X = P B with P the pseudo-inverse of A (the driver's own idea of the rank is left aside, as in
 * PyTorch): with Q = P^H gX, gA = -Q X^H + (B - A X) (P Q)^H + P^H X (gX - P A gX)^H. */
Tensor *k__lstsq_backward(Ctx *c, Tensor *grad, Tensor *A, Tensor *B) {
  Tensor *P = t__pinv(c, A, NULL, NULL, false), *X = dot(c, P, B);
  Tensor *Q = dot(c, H(c, P), grad), *first = dot(c, Q, H(c, X));
  Tensor *second = dot(c, sub(c, B, dot(c, A, X)), H(c, dot(c, P, Q)));
  Tensor *rest = sub(c, grad, dot(c, P, dot(c, A, grad)));
  return add(c, sub(c, second, first), dot(c, dot(c, H(c, P), X), H(c, rest)));
}
