/* special.c: the gamma family, error functions and their kin (see special.h; Bessel functions:
 * bessel.c). */
#define _GNU_SOURCE
#include "special.h"
#include "vmath.h"
#include <math.h>
#include <stdint.h>

#define PI 3.14159265358979323846
#define EPS 1.1102230246251565e-16

double mt_lgamma(double x) {
  int sign;
  return isinf(x) ? INFINITY : lgamma_r(x, &sign);
}

/* ---- digamma, trigamma, polygamma, zeta --------------------------------------------------------
 */

/* Sum of c[k] z^(k+1), lowest first. */
static double tail(const double *c, int n, double z) {
  double s = 0;
  for (int i = n - 1; i >= 0; i--) s = (s + c[i]) * z;
  return s;
}

static double digamma_pos(double x) {
  /* B_2k / 2k of the asymptotic series */
  static const double c[] = {1. / 12,  -1. / 120,     1. / 252, -1. / 240,
                             1. / 132, -691. / 32760, 1. / 12};
  double r = 0;
  if (x == 10) return 2.25175258906672110764;
  for (; x < 10; x++) r -= 1 / x;
  return r + log(x) - 0.5 / x - (x < 1e17 ? tail(c, 7, 1 / (x * x)) : 0);
}
double mt_digamma(double x) {
  if (x == 0) return copysign(INFINITY, -x);
  if (x > 0 || x != x) return digamma_pos(x);
  double r = x - rint(x);            /* reflection; tan loses nothing near the poles this way */
  if (r == 0 || isinf(x)) return NAN;
  return digamma_pos(1 - x) - PI / tan(PI * r);
}

static double trigamma_pos(double x) {
  static const double c[] = {1. / 6, -1. / 30, 1. / 42, -1. / 30, 5. / 66, -691. / 2730, 7. / 6};
  double r = 0;
  for (; x < 12; x++) r += 1 / (x * x);
  double z = 1 / (x * x);
  return r + (1 + 0.5 / x + tail(c, 7, z)) / x;
}
double mt_trigamma(double x) {
  if (x >= 0.5 || x != x) return trigamma_pos(x);
  double r = x - rint(x), s = PI / sin(PI * (r == 0 ? x : r));
  /* as PyTorch: huge, not infinite, at the negative integers */
  return s * s - trigamma_pos(1 - x);
}
float mt_trigammaf(float x) {
  if (!(x < 0.5f)) return (float)trigamma_pos(x);
  float s = sinf((float)PI * x);
  double p = x == truncf(x) ? (double)s : sin(PI * (x - rint(x)));
  return (float)(PI / p * (PI / p) - trigamma_pos(1. - x));
}

double mt_zeta(double x, double q) {
  /* (2k)! / B_2k of the Euler-Maclaurin series */
  static const double a[] = {12.,
                             -720.,
                             30240.,
                             -1209600.,
                             47900160.,
                             -1.8924375803183791606e9,
                             7.47242496e10,
                             -2.950130727918164224e12,
                             1.1646782814350067249e14,
                             -4.5979787224074726105e15,
                             1.8152105401943546773e17,
                             -7.1661652561756670113e18};
  if (x == 1) return INFINITY;
  if (!(x > 1) || q != q) return NAN;
  if (q <= 0) {
    if (q == floor(q)) return INFINITY;
    if (x != floor(x)) return NAN;
  }
  double s = pow(q, -x), b = 0, k = q;
  for (int i = 0; i < 9 || k <= 9; i++) {
    k++;
    b = pow(k, -x);
    s += b;
    if (fabs(b) < EPS * fabs(s)) return s;
  }
  s += b * k / (x - 1) - 0.5 * b;
  double f = 1;
  for (int i = 0, j = 0; i < 12; i++, j++) {
    f *= x + j;
    b /= k;
    double t = f * b / a[i];
    s += t;
    if (fabs(t) < EPS * fabs(s)) return s;
    f *= x + ++j;
    b /= k;
  }
  return s;
}

double mt_polygamma(double x, double n) {
  if (n == 0) return mt_digamma(x);
  if (n == 1) return mt_trigamma(x);
  return (fmod(n, 2) != 0 ? 1 : -1) * exp(mt_lgamma(n + 1)) * mt_zeta(n + 1, x);
}

/* ---- incomplete gamma functions ----------------------------------------------------------------
 */

/* log(1 + d) - d without cancellation, |d| <= 0.3. */
static double log1pmx(double d) {
  double t = d / (2 + d), z = t * t, s = 0;          /* log1p(d) = 2 atanh(t); d = 2 t + t d */
  for (int k = 21; k >= 3; k -= 2) s = (s + 2. / k) * z;
  return t * (s - d);
}
/* lgamma(a) - (a - 1/2) log(a) + a - log(2 pi) / 2 for a >= 10 */
static double stirling(double a) {
  static const double c[] = {1. / 12,   -1. / 360,      1. / 1260, -1. / 1680,
                             1. / 1188, -691. / 360360, 1. / 156};
  return tail(c, 7, 1 / (a * a)) * a;
}
/* x^a e^-x / Gamma(a) */
static double prefix(double a, double x) {
  if (a < 10) return exp(a * log(x) - x - mt_lgamma(a));
  double d = (x - a) / a, l = fabs(d) > 0.3 ? log(x / a) - d : log1pmx(d);
  return sqrt(a / (2 * PI)) * exp(a * l - stirling(a));
}
static double lower_series(double a, double x) {      /* P(a, x) */
  double s = 1, t = 1;
  for (double k = a + 1; t > EPS * s && k < a + 1e6; k++) s += t *= x / k;
  return prefix(a, x) * s / a;
}
static double upper_fraction(double a, double x) { /* Q(a, x) by Lentz's scheme, x > a - 1 or so */
  double b = x + 1 - a, c = 1e300, d = 1 / b, h = d;
  for (int i = 1; i < 1000000; i++) {
    double an = -i * (i - a);
    b += 2;
    d = an * d + b;
    c = b + an / c;
    d = 1 / (d == 0 ? 1e-300 : d);
    if (c == 0) c = 1e-300;
    h *= c * d;
    if (fabs(c * d - 1) < EPS) break;
  }
  return prefix(a, x) * h;
}
/* Q(a, x) for small x and a: 1 - x^a / Gamma(a + 1) + the rest of the alternating series, each part
 * by itself. */
static double upper_series(double a, double x) {
  double s = 0, f = 1;
  for (int n = 1; n < 2000; n++) {
    f *= -x / n;
    double t = f / (a + n);
    s += t;
    if (fabs(t) <= EPS * fabs(s)) break;
  }
  double l = a * log(x), g = -expm1(l - mt_lgamma(1 + a));
  return g - exp(l - mt_lgamma(a)) * s;
}
/* Q(a, x) for a so large that the series would crawl: the first terms of Temme's expansion. */
static double upper_far(double a, double x) {
  double d = (x - a) / a, half = d <= -1 ? INFINITY : fabs(d) > 0.3 ? d - log1p(d) : -log1pmx(d),
         eta = copysign(sqrt(2 * half), d);
  double near = exp(-a * half) / sqrt(2 * PI * a) * (-1. / 3 + eta / 12 - eta * eta * 2 / 135);
  return 0.5 * erfc(eta * sqrt(a / 2)) + (near == near ? near : 0);
}
/* What is 0 or 1 or outside the domain: nan is "compute"; `at0` is the value at x = 0. */
static int igamma_edge(double a, double x, double at0, double *r) {
  if (x < 0 || a < 0) return *r = NAN, 1;
  if (a == 0) return *r = x > 0 ? 1 - at0 : NAN, 1;
  if (x == 0) return *r = at0, 1;
  if (isinf(a)) return *r = isinf(x) ? NAN : at0, 1;
  if (isinf(x)) return *r = 1 - at0, 1;
  return x != x || a != a ? *r = NAN, 1 : 0;
}
double mt_igamma(double a, double x) {
  double r;
  if (igamma_edge(a, x, 0, &r)) return r;
  if (a > 1e8) return 1 - upper_far(a, x);
  if (x > 1 && x > a) return 1 - mt_igammac(a, x);
  return lower_series(a, x);
}
double mt_igammac(double a, double x) {
  double r;
  if (igamma_edge(a, x, 1, &r)) return r;
  if (a > 1e8) return upper_far(a, x);
  if (x > 1.1) return x < a ? 1 - lower_series(a, x) : upper_fraction(a, x);
  if (x <= 0.5) return -0.4 / log(x) < a ? 1 - lower_series(a, x) : upper_series(a, x);
  return x * 1.1 < a ? 1 - lower_series(a, x) : upper_series(a, x);
}

/* ---- error functions ---------------------------------------------------------------------------
 */

/* (1 + 2 x) erfcx(x) is smooth in t = (x - 3.75) / (x + 3.75), -1..1 for x >= 0: its Chebyshev
 * series. */
static double erfcx_pos(double x) {
  static const double c[] = {
      1.1775789345674017,      -0.0045900545806464776,  -0.084249133366517917,
      0.059209939998191893,    -0.026658668435305753,   0.0090749976707052652,
      -0.0024131635404176081,  0.00049077583652580863,  -6.916973302501207e-05,
      4.1390279860730102e-06,  7.7403830661984914e-07,  -2.1886401049234399e-07,
      1.0764999465670759e-08,  4.5219598112180559e-09,  -7.7544002088340092e-10,
      -6.3180883409116003e-11, 2.8687950109122241e-11,  1.9455868537343689e-13,
      -9.6546967481161016e-13, 3.2525481622729248e-14,  3.3478119705881691e-14,
      -1.8645626191082274e-15, -1.2507948041998103e-15, 7.4182540847339944e-17,
      5.0681580516630206e-17,  -2.2370793184630285e-18};
  if (x > 1e8) return 0.56418958354775628695 / x;
  double t = (x - 3.75) / (x + 3.75), b0 = 0, b1 = 0, b2 = 0;
  for (int i = 25; i >= 0; i--) {
    b2 = b1;
    b1 = b0;
    b0 = 2 * t * b1 - b2 + c[i];
  }
  return (b0 - t * b1) / (1 + 2 * x);
}
double mt_erfcx(double x) {
  if (x != x || x >= 0) return x != x ? x : erfcx_pos(x);
  if (x < -26.7) return INFINITY;
  double h = x * x, l = fma(x, x, -h), e = exp(h);
  return 2 * (e + e * l) - erfcx_pos(-x);
}

/* The x with erfc(x) = q, 0 < q <= 1: a start from a fit or the tail's leading term, then Halley's
 * steps on log erfc, which is nearly a parabola. */
static double erfcinv_pos(double q) {
  if (q > 0.5) {                                     /* centre: Halley on erf(x) = 1 - q */
    double y = 1 - q, x = y * mt_erfinv_ratio_(-log(q * (2 - q)));
    for (int i = 0; i < 2; i++) {
      double d = (erf(x) - y) * 0.886226925452758 * exp(x * x);
      x -= d / (1 + x * d);
    }
    return x;
  }
  double lq = log(q), x = sqrt(-lq);
  x = lq > -16. ? (1 - q) * mt_erfinv_ratio_(-lq - log1p(1 - q))
                : sqrt(-lq - log(1.7724538509055159 * x));
  for (int i = 0; i < 8; i++) {
    double e = erfcx_pos(x), f = log(e) - x * x - lq,
           g = -1.1283791670955126 / e;              /* f of log erfc, its slope */
    double d = f / g, h = g * (-2 * x - g);          /* second derivative */
    double step = d / (1 - 0.5 * d * h / g);
    x -= step;
    if (fabs(step) <= 1e-16 * x) break;
  }
  return x;
}
double mt_erfinv(double x) {
  double a = fabs(x);
  if (!(a < 1)) return a == 1 ? copysign(INFINITY, x) : NAN;
  if (a < 1e-8) return x * 0.88622692545275801365;
  if (a <= 0.5) {                                    /* 1 - a would lose digits */
    double y = a * mt_erfinv_ratio_(-log1p(-a * a));
    for (int i = 0; i < 2; i++) {
      double d = (erf(y) - a) * 0.886226925452758 * exp(y * y);
      y -= d / (1 + y * d);
    }
    return copysign(y, x);
  }
  return copysign(erfcinv_pos(1 - a), x);
}
double mt_ndtr(double x) {
  return (1 + erf(x * 0.70710678118654752440)) * 0.5;
} /* PyTorch's formula */
double mt_log_ndtr(double x) {
  double t = x * 0.70710678118654752440;
  return x < -1 ? log(mt_erfcx(-t) / 2) - t * t : log1p(-erfc(t) / 2);
}
double mt_ndtri(double p) {
  if (p == 0) return -INFINITY;
  if (p == 1) return INFINITY;
  if (!(p > 0 && p < 1)) return NAN;
  if (p > 0.25 && p < 0.75) return 1.41421356237309504880 * mt_erfinv(2 * (p - 0.5));
  return p < 0.5 ? -1.41421356237309504880 * erfcinv_pos(2 * p)
                 : 1.41421356237309504880 * erfcinv_pos(2 * (1 - p));
}

/* ---- small ones --------------------------------------------------------------------------------
 */

double mt_entr(double x) { return x != x ? x : x > 0 ? -x * log(x) : x == 0 ? 0 : -INFINITY; }
double mt_xlogy(double x, double y) { return y != y ? NAN : x == 0 ? 0 : x * log(y); }
double mt_xlog1py(double x, double y) { return y != y ? NAN : x == 0 ? 0 : x * log1p(y); }
double mt_sinc(double x) { return x == 0 ? 1 : sin(PI * x) / (PI * x); }
double mt_logit(double x) { return log(x / (1 - x)); }

/* ---- orthogonal polynomials --------------------------------------------------------------------
 */

/* f(n) from f(0) = 1, f(1) = p1 and f(k+1) = (a(k) x + b(k)) f(k) - c(k) f(k-1), with constant a =
 * 2, b = 0, c = 1. */
static double cheb(double x, int64_t n, double p1) {
  double a = 1, b = p1;
  if (n == 0) return a;
  for (int64_t k = 1; k < n && !isnan(b); k++) {
    double t = 2 * x * b - a;
    a = b;
    b = t;
  }
  return b;
}
double mt_chebyshev_t(double x, double dn) {
  int64_t n = (int64_t)dn;
  if (n < 0) return 0;
  if (fabs(x) == 1) return x > 0 || n % 2 == 0 ? 1 : -1;
  if (n > 6 && fabs(x) < 1) return cos((double)n * acos(x));
  return cheb(x, n, x);
}
double mt_chebyshev_u(double x, double dn) {
  int64_t n = (int64_t)dn;
  if (n < 0) return 0;
  if (fabs(x) == 1) return x > 0 || n % 2 == 0 ? (double)n + 1 : -((double)n + 1);
  if (n > 8 && fabs(x) < 1) {
    double a = acos(x), s = sin(a);
    return s != 0 ? sin((double)(n + 1) * a) / s : ((double)n + 1) * cos((double)(n + 1) * a) / x;
  }
  return cheb(x, n, 2 * x);
}
double mt_chebyshev_v(double x, double dn) {
  int64_t n = (int64_t)dn;
  if (n < 0) return 0;
  if (fabs(x) == 1) return x > 0 ? 1 : n % 2 == 0 ? 2 * (double)n + 1 : -(2 * (double)n + 1);
  if (n > 8 && fabs(x) < 1) {
    double a = acos(x), c = cos(a / 2);
    return c != 0       ? cos(((double)n + 0.5) * a) / c
           : n % 2 == 0 ? 2 * (double)n + 1
                        : -(2 * (double)n + 1);
  }
  return cheb(x, n, 2 * x - 1);
}
double mt_chebyshev_w(double x, double dn) {
  int64_t n = (int64_t)dn;
  if (n < 0) return 0;
  if (fabs(x) == 1) return x > 0 ? 2 * (double)n + 1 : n % 2 == 0 ? 1 : -1;
  if (n > 8 && fabs(x) < 1) {
    double a = acos(x), s = sin(a / 2);
    return s != 0 ? sin(((double)n + 0.5) * a) / s : 2 * (double)n + 1;
  }
  return cheb(x, n, 2 * x + 1);
}
double mt_hermite_h(double x, double dn) {
  int64_t n = (int64_t)dn;
  if (n < 0 || n > 100000) return n < 0 ? 0 : NAN;
  double a = 1, b = 2 * x;
  if (n == 0) return 1;
  for (int64_t k = 2; k < 2 * n && !isnan(b); k += 2) {
    double t = 2 * x * b - (double)k * a;
    a = b;
    b = t;
  }
  return b;
}
double mt_hermite_he(double x, double dn) {
  int64_t n = (int64_t)dn;
  if (n < 0 || n > 100000) return n < 0 ? 0 : NAN;
  double a = 1, b = x;
  if (n == 0) return 1;
  for (int64_t k = 1; k < n && !isnan(b); k++) {
    double t = x * b - (double)k * a;
    a = b;
    b = t;
  }
  return b;
}
double mt_laguerre_l(double x, double dn) {
  int64_t n = (int64_t)dn;
  if (n < 0) return 0;
  if (x == 0 || n == 0) return 1;
  double a = 1, b = 1 - x;
  for (int64_t k = 1; k < n && !isnan(b); k++) {
    double t = ((double)(2 * k + 1) - x) * b - (double)k * a;
    a = b;
    b = t / (double)(k + 1);
  }
  return b;
}
double mt_legendre_p(double x, double dn) {
  int64_t n = (int64_t)dn;
  if (n < 0) return 0;
  if (fabs(x) == 1) return x > 0 || n % 2 == 0 ? 1 : -1;
  if (n == 0) return 1;
  double a = 1, b = x;
  for (int64_t k = 1; k < n && !isnan(b); k++) {
    double t = (double)(2 * k + 1) * x * b - (double)k * a;
    a = b;
    b = t / (double)(k + 1);
  }
  return b;
}
