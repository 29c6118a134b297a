/* special.h: special functions of one or two real arguments, in double, with PyTorch's values at
 * poles, infinities and outside the domain.
 *
 * Invariants.  No function touches errno or global state (lgamma's sign included), so all may run
 * on any thread.  The float version of mt_NAME is mt_NAMEf: the double one rounded, unless
 * PyTorch's float result differs visibly.  Accuracy is a few ulp of double away from zeros of the
 * function, absolute near them. */
#ifndef MT_SPECIAL_H
#define MT_SPECIAL_H

double mt_lgamma(double x);
double mt_digamma(double x);
double mt_trigamma(double x);
float mt_trigammaf(float x);
double mt_polygamma(double x, double n);          /* n a whole number >= 0 */
double mt_zeta(double x, double q);               /* Hurwitz: sum of (k + q)^-x over k >= 0 */
double mt_igamma(double a, double x);             /* regularised, lower */
double mt_igammac(double a, double x);            /* regularised, upper */

double mt_i0(double x);                           /* modified Bessel; e: times exp(-|x|) */
double mt_i0e(double x);
double mt_i1(double x);
double mt_i1e(double x);
double mt_k0(double x);                           /* e: times exp(x) */
double mt_k0e(double x);
double mt_k1(double x);
double mt_k1e(double x);
double mt_bessel_j0(double x);
double mt_bessel_j1(double x);
double mt_bessel_y0(double x);
double mt_bessel_y1(double x);
double mt_spherical_j0(double x);
double mt_airy_ai(double x);

double mt_erfcx(double x);                        /* exp(x^2) erfc(x) */
double mt_erfinv(double x);
double mt_ndtr(double x);
double mt_log_ndtr(double x);
double mt_ndtri(double p);
double mt_entr(double x);
double mt_xlogy(double x, double y);
double mt_xlog1py(double x, double y);
double mt_sinc(double x);                         /* sin(pi x) / (pi x) */
double mt_logit(double x);

/* Polynomials of degree n (rounded towards zero); negative degrees give 0. */
double mt_chebyshev_t(double x, double n);
double mt_chebyshev_u(double x, double n);
double mt_chebyshev_v(double x, double n);
double mt_chebyshev_w(double x, double n);
double mt_hermite_h(double x, double n);
double mt_hermite_he(double x, double n);
double mt_laguerre_l(double x, double n);
double mt_legendre_p(double x, double n);

#define MT_SPECIAL_ONE(X)                                                                     \
  X(digamma)                                                                                  \
  X(i0) X(i0e) X(i1) X(i1e) X(k0) X(k0e) X(k1) X(k1e) X(bessel_j0) X(bessel_j1) X(bessel_y0)  \
      X(bessel_y1) X(spherical_j0) X(airy_ai) X(erfcx) X(ndtr) X(log_ndtr) X(ndtri) \
          X(entr) X(sinc) X(logit)
#define MT_SPECIAL_TWO(X)                                                                       \
  X(polygamma)                                                                                  \
  X(zeta) X(igamma) X(igammac) X(xlogy) X(xlog1py) X(chebyshev_t) X(chebyshev_u) X(chebyshev_v) \
      X(chebyshev_w) X(hermite_h) X(hermite_he) X(laguerre_l) X(legendre_p)
#define MT_F1(name) static inline float mt_##name##f(float x) { return (float)mt_##name(x); }
#define MT_F2(name)                                                                     \
  static inline float mt_##name##f(float x, float y) { return (float)mt_##name(x, y); }
MT_SPECIAL_ONE(MT_F1)
MT_SPECIAL_TWO(MT_F2)
#undef MT_F1
#undef MT_F2
#endif
