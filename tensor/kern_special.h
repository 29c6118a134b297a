/* kern_special.h: special functions over arrays by the tables of special_table.h, in kernel files.
 *
 * Each works on blocks of at most BLOCK doubles: a loop makes the tables' arguments u, tables are
 * looked up, a loop makes the results; arguments that neither serves (counted while at it) are left
 * to special.h's functions afterwards.  Floats are computed as doubles with the shorter tables. */
#ifndef MT_KERN_SPECIAL_H
#define MT_KERN_SPECIAL_H
#include "special.h"
#include "special_table.h"
#include "vmath.h"
#ifdef __AVX512F__
#include <immintrin.h>
#endif
#define SV static __attribute__((unused, noinline)) void
#define SVI static __attribute__((noinline)) int
/* n is a multiple of 8, which spares every loop its last elements. */
#define EACH for (int64_t i = 0; i < (n & ~(int64_t)7); i++)

enum { SPECIAL_BLOCK = 256 };
/* lo: whether float's precision will do. */
typedef void SpecialFn(int64_t n, const double *restrict x, double *restrict y, int lo);

/* g = the table's function of u, held in [0, 16); nan stays.  Arrays are SPECIAL_BLOCK long. */
SV special_lookup(int64_t n, double *restrict u, int which, int lo, double *restrict g) {
  const MtTable *f = mt_table(which, lo);
  const double below = 15.999999999999996, half = MT_RNDD;
#ifdef __AVX512F__
  enum { V = 4 };
  for (int64_t i = 0; i < n; i += 8 * V) {
    __m512d t[V], sum[V];
    __m512i at[V];
    for (int v = 0; v < V; v++) {
      t[v] = _mm512_min_pd(_mm512_set1_pd(below), _mm512_loadu_pd(u + i + 8 * v));
      t[v] = _mm512_max_pd(_mm512_setzero_pd(), t[v]);
      __m512d s = _mm512_add_pd(_mm512_sub_pd(t[v], _mm512_set1_pd(0.5)), _mm512_set1_pd(half));
      at[v] = _mm512_castpd_si512(s); /* instructions use its four low bits: the unit */
      t[v] = _mm512_sub_pd(t[v], _mm512_sub_pd(s, _mm512_set1_pd(half)));
      t[v] = _mm512_fmadd_pd(t[v], _mm512_set1_pd(2), _mm512_set1_pd(-1));
      sum[v] = _mm512_permutex2var_pd(_mm512_load_pd(f->c[f->degree]), at[v],
                                      _mm512_load_pd(f->c[f->degree] + 8));
    }
    for (int k = f->degree - 1; k >= 0; k--) {
      __m512d a = _mm512_load_pd(f->c[k]), b = _mm512_load_pd(f->c[k] + 8);
      for (int v = 0; v < V; v++)
        sum[v] = _mm512_fmadd_pd(sum[v], t[v], _mm512_permutex2var_pd(a, at[v], b));
    }
    for (int v = 0; v < V; v++) _mm512_storeu_pd(g + i + 8 * v, sum[v]);
  }
#else
  double t[SPECIAL_BLOCK];
  int64_t at[SPECIAL_BLOCK];
  EACH {
    double v = u[i] > below ? below : u[i] < 0 ? 0 : u[i], s = (v - 0.5) + half;
    at[i] = mt_bits(s) & 15;
    t[i] = 2 * (v - (s - half)) - 1;
    g[i] = f->c[f->degree][at[i]];
  }
  for (int k = f->degree - 1; k >= 0; k--) EACH g[i] = MT_FMA(g[i], t[i], f->c[k][at[i]]);
#endif
}
/* n rounded up, the elements added being 1 */
static inline int64_t special_fill(int64_t n, double *a) {
  for (; n & 7; n++) a[n] = 1;
  return n;
}
SV special_run(SpecialFn *fn, int64_t n, const double *x, double *y) {
  double a[SPECIAL_BLOCK], r[SPECIAL_BLOCK]; /* y may be x */
  for (int64_t i = 0; i < n; i += SPECIAL_BLOCK) {
    int64_t m = n - i < SPECIAL_BLOCK ? n - i : SPECIAL_BLOCK;
    memcpy(a, x + i, sizeof *a * (size_t)m);
    fn(special_fill(m, a), a, r, 0);
    memcpy(y + i, r, sizeof *a * (size_t)m);
  }
}
SV special_runf(SpecialFn *fn, int64_t n, const float *x, float *y) {
  double a[SPECIAL_BLOCK], r[SPECIAL_BLOCK];
  for (int64_t i = 0; i < n; i += SPECIAL_BLOCK) {
    int64_t m = n - i < SPECIAL_BLOCK ? n - i : SPECIAL_BLOCK;
    for (int64_t j = 0; j < m; j++) a[j] = x[i + j];
    fn(special_fill(m, a), a, r, 1);
    for (int64_t j = 0; j < m; j++) y[i + j] = (float)r[j];
  }
}
#define SPECIAL_ARRAYS(name)                                                              \
  UNUSED static void mt_v##name(int64_t n, const double *x, double *y) {                  \
    special_run(sp_##name, n, x, y);                                                      \
  }                                                                                       \
  UNUSED static void mt_v##name##f(int64_t n, const float *x, float *y) {                 \
    special_runf(sp_##name, n, x, y);                                                     \
  }
#define SPECIAL_TEMPS double u[SPECIAL_BLOCK], v[SPECIAL_BLOCK], g[SPECIAL_BLOCK]
#define SPECIAL_FIX(odd, fn) \
  if (odd) EACH if (v[i] != 0) y[i] = fn(x[i])

MT_VM double special_least(double x, double most) { return x > most ? most : x; } /* nan stays */
/* x^2 as a double and the rest. */
MT_VM double special_square(double x, double *rest) {
  double h = mt_dbits(mt_bits(x) & ~(int64_t)0x7ffffff);
  *rest = (x - h) * (x + h);
  return h * h;
}
/* e^(-x^2), e^(x^2) */
MT_VM double special_gauss(double x) {
  double r, h = special_square(x, &r), e = mt_exp(-h);
  return e - e * (r * (1 - r * (0.5 - r * (1. / 6))));
}
MT_VM double special_inverse_gauss(double x) {
  double r, h = special_square(x, &r), e = mt_exp(h);
  return e > 1e308 ? e : e + e * (r * (1 + r * (0.5 + r * (1. / 6))));
}

/* v = 1 / sqrt(a), 1 <= a <= 1e300. */
static inline void special_rsqrt(int64_t n, const double *a, int lo, double *v) {
#ifdef __AVX512F__
  if (lo) {
    for (int64_t i = 0; i < n; i += 8) { /* from 14 bits to 27 by one step of Newton's */
      __m512d x = _mm512_loadu_pd(a + i), r = _mm512_rsqrt14_pd(x), h = _mm512_mul_pd(x, r);
      h = _mm512_fnmadd_pd(h, r, _mm512_set1_pd(1));
      h = _mm512_mul_pd(h, _mm512_set1_pd(0.5));
      _mm512_storeu_pd(v + i, _mm512_fmadd_pd(r, h, r));
    }
    return;
  }
#endif
  (void)lo;
  EACH v[i] = 1 / mt_sqrt(a[i]);
}

/* ---- modified Bessel functions ---- */

#define SPECIAL_BESSEL_IK(name, kind, m, scaled)                                          \
  SV sp_##name(int64_t n, const double *restrict x, double *restrict y, int lo) {         \
    special_##kind(n, x, y, lo, m, scaled);                                               \
  }                                                                                       \
  SPECIAL_ARRAYS(name)

SV special_i(int64_t n, const double *restrict x, double *restrict y, int lo, int m, int scaled) {
  SPECIAL_TEMPS;
  EACH {
    g[i] = special_least(mt_absd(x[i]), 1e300) + 3;
  }
  special_rsqrt(n, g, lo, v);
  EACH u[i] = 16 * special_least(mt_absd(x[i]), 1e300) * (v[i] * v[i]);
  special_lookup(n, u, m ? MT_T_i1e : MT_T_i0e, lo, g);
  if (m) EACH g[i] *= v[i] * (mt_absd(x[i]) * v[i]);
  EACH {
    double e = mt_absd(x[i]) == (double)INFINITY ? 0 : v[i] * g[i];
    y[i] = e;
  }
  if (!scaled) EACH {
    double h = mt_exp(0.5 * mt_absd(x[i]));
    y[i] *= h * h;
  }
  if (m) EACH y[i] = mt_signd(y[i], x[i]);
}
SPECIAL_BESSEL_IK(i0, i, 0, 0)
SPECIAL_BESSEL_IK(i0e, i, 0, 1)
SPECIAL_BESSEL_IK(i1, i, 1, 0)
SPECIAL_BESSEL_IK(i1e, i, 1, 1)

/* Below 1 by the series, whose logarithm stands apart. */
SV special_k(int64_t n, const double *restrict x, double *restrict y, int lo, int m, int scaled) {
  SPECIAL_TEMPS;
  double s[SPECIAL_BLOCK], small[SPECIAL_BLOCK];
  int64_t any = 0;
  EACH {
    double a = x[i] < 0 ? 0 : x[i];
    v[i] = 1 / mt_sqrt(a);
    u[i] = a > 1 ? 16 - 16 / a : 0;
    s[i] = a < 1 ? 16 * a * a : 0;
  }
  EACH any |= mt_bits(x[i] - 1);       /* below 0: some x is below 1 */
  if (any < 0) {
    special_lookup(n, s, m ? MT_T_i1z : MT_T_i0z, lo, small);
    special_lookup(n, s, m ? MT_T_k1z : MT_T_k0z, lo, g);
    EACH {
      double l = mt_log(x[i]);
      double k = m ? 1 / x[i] + x[i] * (l * small[i] + g[i]) : g[i] - l * small[i];
      k = x[i] == 0 ? INFINITY : k;
      small[i] = k;
    }
    if (scaled) EACH small[i] *= mt_exp(x[i] < 1 ? x[i] : 0);
  }
  special_lookup(n, u, m ? MT_T_k1e : MT_T_k0e, lo, g);
  if (!scaled) EACH g[i] *= mt_exp(-x[i]);
  EACH {
    double k = g[i] * v[i];
    k = x[i] == INFINITY ? 0 : k;
    y[i] = x[i] < 0 ? NAN : k;
  }
  if (any < 0) EACH y[i] = x[i] < 1 && x[i] >= 0 ? small[i] : y[i];
}
SPECIAL_BESSEL_IK(k0, k, 0, 0)
SPECIAL_BESSEL_IK(k0e, k, 0, 1)
SPECIAL_BESSEL_IK(k1, k, 1, 0)
SPECIAL_BESSEL_IK(k1e, k, 1, 1)

/* ---- the error function's kin ---- */

/* g = erfcx(|x scale|) */
SV special_erfcx(int64_t n, const double *restrict x, double scale, int lo, double *restrict g) {
  double u[SPECIAL_BLOCK], v[SPECIAL_BLOCK];
  EACH {
    double a = special_least(mt_absd(x[i] * scale), 1e300);
    v[i] = 1 / (a + 3.75);
    u[i] = 16 * a * v[i];
  }
  special_lookup(n, u, MT_T_erfcx, lo, g);
  EACH g[i] = mt_absd(x[i]) == (double)INFINITY ? 0 : g[i] * v[i];
}
SV sp_erfcx(int64_t n, const double *restrict x, double *restrict y, int lo) {
  double g[SPECIAL_BLOCK];
  special_erfcx(n, x, 1, lo, g);
  EACH {
    double e = 2 * special_inverse_gauss(x[i] < -30 ? -30 : x[i]) - g[i];
    y[i] = x[i] < 0 ? e : g[i];
  }
}
SPECIAL_ARRAYS(erfcx)
SV sp_erfc(int64_t n, const double *restrict x, double *restrict y, int lo) {
  double g[SPECIAL_BLOCK];
  special_erfcx(n, x, 1, lo, g);
  EACH {
    double e = g[i] * special_gauss(x[i] > 30 ? 30 : x[i] < -30 ? -30 : x[i]);
    y[i] = x[i] < 0 ? 2 - e : e;
  }
}
SPECIAL_ARRAYS(erfc)
SV sp_log_ndtr(int64_t n, const double *restrict x, double *restrict y, int lo) {
  double g[SPECIAL_BLOCK];
  special_erfcx(n, x, 0.70710678118654752440, lo, g);
  EACH {
    double t = x[i] * 0.70710678118654752440, a = t > 30 ? 30 : t, low = mt_log(0.5 * g[i]) - t * t;
    double high = mt_log1p(-0.5 * g[i] * mt_exp(-a * a));
    y[i] = x[i] < 0 ? low : high;
  }
}
SPECIAL_ARRAYS(log_ndtr)
SV special_erf(int64_t n, const double *restrict x, double scale, int lo, double *restrict y) {
  SPECIAL_TEMPS;
  EACH {
    v[i] = x[i] * scale;
    u[i] = 2 * special_least(mt_absd(v[i]), 8);
  }
  special_lookup(n, u, MT_T_erf, lo, g);
  EACH {
    double a = mt_absd(v[i]), e = a * g[i];
    y[i] = mt_signd(a > 5.93 ? 1 : e, v[i]);
  }
}
SV sp_erf(int64_t n, const double *restrict x, double *restrict y, int lo) {
  special_erf(n, x, 1, lo, y);
}
/* PyTorch's formula, which cancels for negative x, so that the long table is needed. */
SV sp_ndtr(int64_t n, const double *restrict x, double *restrict y, int lo) {
  (void)lo;
  special_erf(n, x, 0.70710678118654752440, 0, y);
  EACH y[i] = (1 + y[i]) * 0.5;
}
SPECIAL_ARRAYS(erf)
SPECIAL_ARRAYS(ndtr)

/* x with ndtr(x) = 1/2 + d, where q = 1/2 - |d| is given too. */
SV special_ndtri(int64_t n, double *restrict d, double *restrict q, int lo, double *restrict y) {
  SPECIAL_TEMPS;
  double tail[SPECIAL_BLOCK];
  EACH {
    double s = mt_sqrt(-2 * mt_log(q[i])), r = (s - MT_TAIL_A) / (s + MT_TAIL_C) * MT_TAIL_U;
    v[i] = s;
    u[i] = r < 0 ? 0 : s == INFINITY ? 16 : r;
  }
  special_lookup(n, u, MT_T_tail, lo, tail);
  EACH u[i] = mt_absd(d[i]) > 0.25 ? 16 : 256 * d[i] * d[i];
  special_lookup(n, u, MT_T_centre, lo, g);
  EACH {
    double t = mt_signd(mt_absd(tail[i] * v[i]), d[i]), c = g[i] * d[i];
    y[i] = mt_absd(d[i]) <= 0.25 ? c : t;
  }
}
SV sp_ndtri(int64_t n, const double *restrict x, double *restrict y, int lo) {
  double d[SPECIAL_BLOCK], q[SPECIAL_BLOCK];
  EACH {
    d[i] = x[i] - 0.5;
    q[i] = x[i] > 0.5 ? 1 - x[i] : x[i];
  }
  special_ndtri(n, d, q, lo, y);
}
SV sp_erfinv(int64_t n, const double *restrict x, double *restrict y, int lo) {
  double d[SPECIAL_BLOCK], q[SPECIAL_BLOCK];
  EACH {
    d[i] = 0.5 * x[i];
    q[i] = 0.5 - 0.5 * mt_absd(x[i]);
  }
  special_ndtri(n, d, q, lo, y);
  EACH y[i] *= 0.70710678118654752440;
}
SPECIAL_ARRAYS(ndtri)
SPECIAL_ARRAYS(erfinv)

/* ---- polygamma ---- */

/* Both functions of 1 + |x| come from the table: positive x need one step down, negative ones the
 * reflection formula. */
SV sp_digamma(int64_t n, const double *restrict x, double *restrict y, int lo) {
  SPECIAL_TEMPS;
  int64_t negative = 0;
  EACH {
    double a = special_least(mt_absd(x[i]), 1e300);
    negative |= -(int64_t)(x[i] < 0);
    v[i] = 1 / (mt_absd(x[i]) + 0.5);
    u[i] = 16 * a * v[i];
  }
  special_lookup(n, u, MT_T_digamma, lo, g);
  EACH {
    double a = mt_absd(x[i]), l = mt_log(a + 0.5) + v[i] * v[i] * g[i];
    u[i] = l;
    l -= 1 / x[i];
    y[i] = l;
  }
  if (negative) EACH {
    double w = x[i], r = w - mt_rint(w), z = MT_PI * r, s = mt_sin_core_(z), c = mt_cos_core_(z);
    w = u[i] - MT_PI * c / s;
    w = r == 0 ? NAN : w;
    y[i] = x[i] < 0 ? w : y[i];
  }
}
SV sp_trigamma(int64_t n, const double *restrict x, double *restrict y, int lo) {
  SPECIAL_TEMPS;
  int64_t odd = 0, negative = 0;
  EACH {
    double a = special_least(mt_absd(x[i]), 1e300);
    v[i] = 1 / (mt_absd(x[i]) + 0.5);
    u[i] = 16 * a * v[i];
    negative |= -(int64_t)(x[i] < 0);
  }
  special_lookup(n, u, MT_T_trigamma, lo, g);
  EACH {
    double r = 1 / x[i];
    g[i] *= v[i];
    y[i] = g[i] + r * r;
  }
  if (negative) {
    EACH {
      double w = x[i], r = w - mt_rint(w), s = MT_PI / mt_sin_core_(MT_PI * r);
      s = s * s - g[i];
      y[i] = w < 0 ? s : y[i];
      v[i] = (w < 0) & (r == 0) ? 1. : 0.;
    }
    EACH odd |= mt_bits(v[i]);
    if (odd && lo) EACH { if (v[i] != 0) y[i] = mt_trigammaf((float)x[i]); }
    SPECIAL_FIX(odd && !lo, mt_trigamma);
  }
}
SPECIAL_ARRAYS(digamma)
SPECIAL_ARRAYS(trigamma)

/* log of the multivariate gamma function of dimension p. */
SV mt_vlgammaf(int64_t n, const float *x, float *y) {
  VEC for (int64_t i = 0; i < n; i++) y[i] = mt_lgammaf(x[i]);
}
SV mt_vlgamma(int64_t n, const double *x, double *y) {
  for (int64_t i = 0; i < n; i++) y[i] = mt_lgamma(x[i]);
}
#define SPECIAL_MVLGAMMA(T, S)                                                            \
  SV mt_vmvlgamma##S(int64_t n, const T *x, double p, T *y) {                             \
    double s[SPECIAL_BLOCK];                                                              \
    T at[SPECIAL_BLOCK], g[SPECIAL_BLOCK];                                                \
    for (int64_t b = 0, m; b < n; b += m) {                                               \
      m = n - b < SPECIAL_BLOCK ? n - b : SPECIAL_BLOCK;                                  \
      for (int64_t i = 0; i < m; i++) s[i] = p * (p - 1) / 4 * 1.14472988584940017414;    \
      for (int j = 0; j < (int)p; j++) {                                                  \
        for (int64_t i = 0; i < m; i++) at[i] = x[b + i] - (T)0.5 * (T)j;                 \
        mt_vlgamma##S(m, at, g);                                                          \
        for (int64_t i = 0; i < m; i++) s[i] += (double)g[i];                             \
      }                                                                                   \
      for (int64_t i = 0; i < m; i++) y[b + i] = (T)s[i];                                 \
    }                                                                                     \
  }
SPECIAL_MVLGAMMA(double, )
SPECIAL_MVLGAMMA(float, f)

/* ---- Bessel functions ---- */

/* f = J_m (Y_m if y) of |x|; beyond MT_TRIG_MAX the arguments are marked in v. */
SVI special_jy(int64_t n, const double *restrict x, int lo, int m, int second,
                double *restrict f) {
  SPECIAL_TEMPS;
  double q[SPECIAL_BLOCK];
  int64_t large = 0, odd = 0;
  EACH {
    double a = mt_absd(x[i]);
    large |= -(int64_t)(a > 16);
    u[i] = a > 16 ? 16 : a;
  }
  special_lookup(n, u, m ? MT_T_j1 : MT_T_j0, lo, f);
  if (m) EACH f[i] *= u[i];
  if (second) {
    special_lookup(n, u, m ? MT_T_y1 : MT_T_y0, lo, g);
    EACH {
      double l = mt_log(x[i]) * f[i];
      if (m) l -= 1 / x[i];
      f[i] = g[i] + (2 / MT_PI) * l;
    }
  }
  if (!large) return 0;
  EACH {
    double a = mt_absd(x[i]);
    v[i] = 1 / a;
    u[i] = a > 16 ? 16 - 256 * v[i] : 0;
  }
  special_lookup(n, u, m ? MT_T_p1 : MT_T_p0, lo, g);
  special_lookup(n, u, m ? MT_T_q1 : MT_T_q0, lo, q);
  EACH {
    double a = mt_absd(x[i]), b = a > MT_TRIG_MAX ? 0 : a, s = mt_sin_core_(b), c = mt_cos_core_(b);
    /* cos and sin of x - pi/4 (- pi/2), times sqrt(2) */
    double cs = m ? s - c : c + s, sn = m ? -s - c : s - c;
    double r = second ? g[i] * sn + q[i] * cs : g[i] * cs - q[i] * sn;
    r *= mt_sqrt(v[i] * (1 / MT_PI));
    f[i] = a > 16 ? r : f[i];
    odd |= -(int64_t)(a > MT_TRIG_MAX);
  }
  return odd != 0;
}
#define SPECIAL_BESSEL(name, m, second, expr)                                             \
  SV sp_##name(int64_t n, const double *x, double *y, int lo) {                           \
    double f[SPECIAL_BLOCK];                                                              \
    int odd = special_jy(n, x, lo, m, second, f);                                         \
    EACH {                                                                                \
      double a = x[i], r = f[i];                                                          \
      y[i] = expr;                                                                        \
    }                                                                                     \
    if (odd) EACH if (!(mt_absd(x[i]) <= MT_TRIG_MAX)) y[i] = mt_##name(x[i]);            \
  }                                                                                       \
  SPECIAL_ARRAYS(name)
SPECIAL_BESSEL(bessel_j0, 0, 0, a != a ? a : r)
SPECIAL_BESSEL(bessel_j1, 1, 0, a != a ? a : mt_bits(a) < 0 ? -r : r)
SPECIAL_BESSEL(bessel_y0, 0, 1, a == 0 ? -INFINITY : a < 0 ? NAN : r)
SPECIAL_BESSEL(bessel_y1, 1, 1, a == 0 ? -INFINITY : a < 0 ? NAN : r)
SV sp_spherical_j0(int64_t n, const double *restrict x, double *restrict y, int lo) {
  int64_t odd = 0;
  (void)lo;
  EACH {
    double a = x[i], z = a * a, s = mt_sin_core_(a) / a;
    double p = MT_P7(MT_FMA, z, 1., -1. / 6, 1. / 120, -1. / 5040, 1. / 362880, -1. / 39916800,
                     1. / 6227020800.);
    y[i] = mt_absd(a) < 0.5 ? p : s;
    odd |= -(int64_t)(mt_absd(a) > MT_TRIG_MAX);
  }
  if (odd) EACH if (mt_absd(x[i]) > MT_TRIG_MAX) y[i] = mt_spherical_j0(x[i]);
}
SPECIAL_ARRAYS(spherical_j0)
SV sp_airy_ai(int64_t n, const double *restrict x, double *restrict y, int lo) {
  SPECIAL_TEMPS;
  double far[SPECIAL_BLOCK];
  int64_t negative = 0, large = 0;
  EACH {
    double a = mt_sqrt(special_least(mt_absd(x[i]), 104));
    u[i] = MT_AIRY_U * a / (a + MT_AIRY_C);
    v[i] = a;
  }
  special_lookup(n, u, MT_T_airy, lo, g);
  EACH {
    double x2 = v[i] * v[i], e = mt_exp(x2 * v[i] * (-2. / 3));
    y[i] = x[i] > 103.892 ? 0 : g[i] * e / mt_sqrt(mt_sqrt(x2 + 1));
  }
  EACH negative |= mt_bits(x[i]);
  if (negative < 0) {
    EACH u[i] = special_least(mt_absd(x[i]), 16);
    special_lookup(n, u, MT_T_airy_neg, lo, far);
    EACH y[i] = x[i] < 0 ? far[i] : y[i];
  }
  EACH large |= mt_bits(x[i] + 16);
  if (large < 0) EACH if (!(x[i] >= -16)) y[i] = mt_airy_ai(x[i]);
  EACH y[i] = mt_absd(x[i]) == (double)INFINITY ? NAN : y[i];
}
SPECIAL_ARRAYS(airy_ai)
#endif
