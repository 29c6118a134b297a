/* bessel.c: Bessel functions and Airy's Ai (see special.h). */
#define _GNU_SOURCE
#include "special.h"
#include "special_table.h"
#include <math.h>

#define PI 3.14159265358979323846

/* Sum of (x^2/4)^k / (k! (k + m)!) times (x/2)^m: all terms are positive. */
static double in_series(double x, int m) {
  long double z = 0.25L * x * x, t = 1, s = 1;
  for (int k = 1; k < 500 && t > 1e-19L * s; k++) s += t *= z / (k * (long double)(k + m));
  return (double)(m ? 0.5L * x * s : s);
}
/* Hankel's expansion: sum over k of sign^k prod(4 m^2 - (2j-1)^2) / (k! (8x)^k), to its smallest
 * term. */
static double hankel(double x, int m, double sign) {
  double s = 1, t = 1, mu = 4. * m * m;
  for (int k = 1; k < 60; k++) {
    double o = 2. * k - 1, u = t * sign * (mu - o * o) / (8 * x * k);
    if (fabs(u) >= fabs(t) || fabs(u) < 1e-17 * fabs(s)) break;
    s += t = u;
  }
  return s;
}
static double ine(double x, int m) {               /* exp(-x) I_m(x), x >= 0 */
  if (x < 20) return in_series(x, m) * exp(-x);
  return hankel(x, m, -1) / sqrt(2 * PI * x);
}
double mt_i0e(double x) { return ine(fabs(x), 0); }
double mt_i1e(double x) { return copysign(ine(fabs(x), 1), x); }
double mt_i0(double x) {
  double a = fabs(x);
  if (isinf(a)) return NAN;                        /* as PyTorch: inf / inf */
  return a < 20 ? in_series(a, 0) : exp(0.5 * a) * (ine(a, 0) * exp(0.5 * a));
}
double mt_i1(double x) {
  double a = fabs(x);
  if (isinf(a)) return NAN;
  return copysign(a < 20 ? in_series(a, 1) : exp(0.5 * a) * (ine(a, 1) * exp(0.5 * a)), x);
}

/* K by its logarithmic series below 2, by the trapezoid rule on integral exp(-x cosh t) cosh(m t)
 * dt above (the rule converges geometrically for such integrands). */
static double kn_series(double x, int m) {
  const double euler = 0.57721566490153286061;
  double z = 0.25 * x * x, l = log(0.5 * x), t = 1, s = 0, psi = -euler;
  if (m == 0) {
    for (int k = 0; k < 60; k++) {
      s += t * (psi - l);
      psi += 1. / (k + 1);
      t *= z / ((k + 1.) * (k + 1.));
    }
    return s;
  }
  double psi1 = 1 - euler;                          /* psi(k + 2) */
  for (int k = 0; k < 60; k++) {
    s += t * (l - 0.5 * (psi + psi1));
    psi += 1. / (k + 1);
    psi1 += 1. / (k + 2);
    t *= z / ((k + 1.) * (k + 2.));
  }
  return 1 / x + 0.5 * x * s;
}
static double kne(double x, int m) {                /* exp(x) K_m(x), x > 0 */
  if (x <= 2) return exp(x) * kn_series(x, m);
  if (x > 30) return hankel(x, m, 1) * sqrt(PI / (2 * x));
  double h = 0.0625, s = 0.5;
  for (int k = 1; k < 200; k++) {
    double u = sinh(0.5 * h * k), e = exp(-2 * x * u * u);
    s += m ? e * cosh(h * k) : e;
    if (e < 1e-19) break;
  }
  return h * s;
}
static double kn(double x, int m, int scaled) {
  if (x == 0) return INFINITY;
  if (!(x > 0)) return NAN;
  if (isinf(x)) return 0;
  return scaled ? kne(x, m) : x <= 2 ? kn_series(x, m) : kne(x, m) * exp(-x);
}
double mt_k0(double x) { return kn(x, 0, 0); }
double mt_k0e(double x) { return kn(x, 0, 1); }
double mt_k1(double x) { return kn(x, 1, 0); }
double mt_k1e(double x) { return kn(x, 1, 1); }

double mt_bessel_j0(double x) { return isinf(x) ? NAN : j0(x); }     /* nan as PyTorch's */
double mt_bessel_j1(double x) { return isinf(x) ? NAN : j1(x); }
double mt_bessel_y0(double x) { return x == 0 ? -INFINITY : x < 0 || isinf(x) ? NAN : y0(x); }
double mt_bessel_y1(double x) { return x == 0 ? -INFINITY : x < 0 || isinf(x) ? NAN : y1(x); }
double mt_spherical_j0(double x) {
  if (isinf(x)) return 0;
  if (fabs(x) < 0.5) {
    double z = x * x;
    return 1 + z * (-1. / 6 +
                    z * (1. / 120 + z * (-1. / 5040 + z * (1. / 362880 + z * (-1. / 39916800 +
                                                                              z / 6227020800.)))));
  }
  return sin(x) / x;
}

/* Ai: Maclaurin series near 0 (in long double, its two halves cancel), asymptotic series outside.
 */
static double airy_series(double x) {
  const long double c1 = 0.355028053887817239260L, c2 = 0.258819403792806798405L;
  long double z = (long double)x * x * x, f = 1, g = x, tf = 1, tg = x;
  for (int k = 1; k < 120; k++) {
    tf *= z / ((3.L * k - 1) * (3 * k));
    tg *= z / ((3.L * k) * (3 * k + 1));
    f += tf;
    g += tg;
    if (fabsl(tf) < 1e-21L * fabsl(f) && fabsl(tg) < 1e-21L * fabsl(g)) break;
  }
  return (double)(c1 * f - c2 * g);
}
/* For negative x, where that series cancels: Taylor's of y'' = x y in steps from 0. */
static double airy_steps(double x) {
  long double at = 0, y = 0.355028053887817239260L, slope = -0.258819403792806798405L;
  while (at > x) {
    long double h = fmaxl(x - at, -0.5L), a = y, b = slope, before = 0, power = h;
    y += b * h;
    for (int k = 2; k < 40; k++) {              /* a, b: terms k - 2 and k - 1; before: k - 3 */
      long double c = (at * a + before) / (k * (k - 1));
      slope += k * c * power;
      power *= h;
      y += c * power;
      before = a;
      a = b;
      b = c;
    }
    at += h;
  }
  return (double)y;
}
/* For x >= 1, Ai(x) = sqrt(x / 3) / pi K_1/3(xi), xi = 2/3 x^(3/2), K by the trapezoid rule as
 * above. */
static double airy_pos_e(double x) { /* times e^xi */
  double xi = x * sqrt(x) / 1.5, h = fmin(0.0625, 0.6 / sqrt(xi)), s = 0.5;
  for (int k = 1; k < 200; k++) {
    double u = sinh(0.5 * h * k), e = exp(-2 * xi * u * u);
    s += e * cosh(h * k / 3);
    if (e < 1e-19) break;
  }
  return h * s * sqrt(x / 3) / PI;
}
static double airy_pos(double x) { return airy_pos_e(x) * exp(x * sqrt(x) / -1.5); }
double mt_airy_ai_e(double x) {
  return x < 1 ? airy_series(x) * exp(x * sqrt(x) / 1.5) : airy_pos_e(x);
}
double mt_airy_ai(double x) {
  if (isinf(x)) return NAN;
  if (x > 103.892) return 0;
  if (x > -16) return x < 0 ? airy_steps(x) : x < 1 ? airy_series(x) : airy_pos(x);
  double a = fabs(x), xi = a * sqrt(a) / 1.5, t = 1, p = 1, q = 0;
  for (int k = 1; k < 40; k++) {
    double u = t * (6 * k - 5.) * (6 * k - 1.) / (72. * k * xi);
    if (fabs(u) >= fabs(t)) break;
    t = u;
    if (k & 1) q += k & 2 ? -t : t; else p += k & 2 ? -t : t;
  }
  return (p * cos(xi - PI / 4) + q * sin(xi - PI / 4)) / (sqrt(PI) * sqrt(sqrt(a)));
}
