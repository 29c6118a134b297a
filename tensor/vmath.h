/* vmath.h: elementary functions that a plain loop vectorises, for float and double, to 1-2 ulp.
 *
 * Invariants.  Every function named ...f, and every double function of the first group, has no
 * branch, call or table, so `for (i...) y[i] = mt_expf(x[i]);` becomes SIMD code at -O3 for
 * whatever CPU level the file is compiled for
 * (-fno-math-errno -fno-trapping-math -ffp-contract=off; never -ffast-math: 0, -0, inf, nan and
 * subnormals are right). mt_sin, mt_cos, mt_tan (and ...f) are fast only for |x| <= MT_TRIG_MAX(F);
 * array code calls the mt_v* loops at the end, which look at blocks of arguments and hand a block
 * with a larger one to libm.  Doubles of the last group call libm.
 *
 * Two habits keep the float code short.  Functions that are rare or hard (pow, sinh, asinh, erfc,
 * ...) compute in double with polynomials just good enough for float: no compensated arithmetic is
 * needed, and the result is nearly correctly rounded.  Rounding to an integer adds and
 * subtracts 1.5 * 2^23 (or 2^52): one instruction everywhere, and the low bits of the sum are the
 * integer.  Coefficients are minimax fits of ours (Remez exchange at 60 digits). */
#ifndef MT_VMATH_H
#define MT_VMATH_H
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define MT_HAS_FMA 1
#define MT_FMAF(a, b, c) __builtin_fmaf(a, b, c)
#define MT_FMA(a, b, c) __builtin_fma(a, b, c)
#else
#define MT_HAS_FMA 0
#define MT_FMAF(a, b, c) ((a) * (b) + (c))
#define MT_FMA(a, b, c) ((a) * (b) + (c))
#endif
#define MT_VM static inline __attribute__((always_inline, unused))

#define MT_TRIG_MAXF 1e5f
#define MT_TRIG_MAX 1e6

MT_VM int32_t mt_bitsf(float x) { int32_t i; memcpy(&i, &x, 4); return i; }
MT_VM float mt_fbits(int32_t i) { float x; memcpy(&x, &i, 4); return x; }
MT_VM int64_t mt_bits(double x) { int64_t i; memcpy(&i, &x, 8); return i; }
MT_VM double mt_dbits(int64_t i) { double x; memcpy(&x, &i, 8); return x; }
/* Shifts and sums of bit patterns may leave the signed range (nan, negative): unsigned numbers. */
MT_VM int32_t mt_shlf_(int32_t i, int n) { return (int32_t)((uint32_t)i << n); }
MT_VM int64_t mt_shl_(int64_t i, int n) { return (int64_t)((uint64_t)i << n); }
MT_VM float mt_absf(float x) { return mt_fbits(mt_bitsf(x) & 0x7fffffff); }
MT_VM double mt_absd(double x) { return mt_dbits(mt_bits(x) & INT64_MAX); }
MT_VM float mt_signf(float mag, float s) {          /* mag >= 0 with the sign of s */
  return mt_fbits(mt_bitsf(mag) | (mt_bitsf(s) & INT32_MIN));
}
MT_VM double mt_signd(double mag, double s) {
  return mt_dbits(mt_bits(mag) | (mt_bits(s) & INT64_MIN));
}

#define MT_RNDF 12582912.0f /* 1.5 * 2^23: adding it rounds to an integer */
#define MT_RNDD 6755399441055744.0                   /* 1.5 * 2^52 */
#define MT_LN2 0.69314718055994530942
#define MT_LOG2E 1.44269504088896340736
#define MT_PI 3.14159265358979323846

/* ---- rounding ---- */

MT_VM float mt_fabsf(float x) { return mt_absf(x); }
MT_VM double mt_fabs(double x) { return mt_absd(x); }
MT_VM float mt_sqrtf(float x) { return __builtin_sqrtf(x); }
MT_VM double mt_sqrt(double x) { return __builtin_sqrt(x); }
#if defined(__SSE4_1__) || !defined(__x86_64__)
#define MT_ROUND_(name) \
  MT_VM float mt_##name##f(float x) { return __builtin_##name##f(x); } \
  MT_VM double mt_##name(double x) { return __builtin_##name(x); }
MT_ROUND_(rint)
MT_ROUND_(floor)
MT_ROUND_(ceil)
MT_ROUND_(trunc)
#else /* no instruction: 2^23 (2^52) has no room for a fraction */
#define MT_ROUND_(T, S, ABS, SIGN, big) \
  MT_VM T mt_rint##S(T x) { T a = ABS(x), r = (a + big) - big; return SIGN(a < big ? r : a, x); } \
  MT_VM T mt_floor##S(T x) { T r = mt_rint##S(x); return r > x ? r - 1 : r; } \
  MT_VM T mt_ceil##S(T x) { T r = mt_rint##S(x); return SIGN(ABS(r < x ? r + 1 : r), x); } \
  MT_VM T mt_trunc##S(T x) { return SIGN(mt_floor##S(ABS(x)), x); }
MT_ROUND_(float, f, mt_absf, mt_signf, 8388608.f)
MT_ROUND_(double, , mt_absd, mt_signd, 4503599627370496.)
#endif

/* Polynomials by Horner's rule, lowest coefficient first. */
#define MT_P2(F, x, a, b) F(b, x, a)
#define MT_P3(F, x, a, b, c) F(MT_P2(F, x, b, c), x, a)
#define MT_P4(F, x, a, b, c, d) F(MT_P3(F, x, b, c, d), x, a)
#define MT_P5(F, x, a, b, c, d, e) F(MT_P4(F, x, b, c, d, e), x, a)
#define MT_P6(F, x, a, b, c, d, e, f) F(MT_P5(F, x, b, c, d, e, f), x, a)
#define MT_P7(F, x, a, b, c, d, e, f, g) F(MT_P6(F, x, b, c, d, e, f, g), x, a)
#define MT_P8(F, x, a, b, c, d, e, f, g, h) F(MT_P7(F, x, b, c, d, e, f, g, h), x, a)
#define MT_P9(F, x, a, b, c, d, e, f, g, h, i) F(MT_P8(F, x, b, c, d, e, f, g, h, i), x, a)
#define MT_P10(F, x, a, b, c, d, e, f, g, h, i, j) F(MT_P9(F, x, b, c, d, e, f, g, h, i, j), x, a)
#define MT_P11(F, x, a, b, c, d, e, f, g, h, i, j, k) \
  F(MT_P10(F, x, b, c, d, e, f, g, h, i, j, k), x, a)
#define MT_P12(F, x, a, b, c, d, e, f, g, h, i, j, k, l) \
  F(MT_P11(F, x, b, c, d, e, f, g, h, i, j, k, l), x, a)
#define MT_P13(F, x, a, b, c, d, e, f, g, h, i, j, k, l, m) \
  F(MT_P12(F, x, b, c, d, e, f, g, h, i, j, k, l, m), x, a)

/* By Estrin's scheme, for functions so long that the latency of a chain would count: y = x^2. */
#define MT_E9_(x, y, a, b, c, d, e, f, g, h, i) \
  MT_FMAF((y) * (y), MT_FMAF(y, MT_FMAF(y, i, MT_FMAF(x, h, g)), MT_FMAF(x, f, e)), \
          MT_FMAF(y, MT_FMAF(x, d, c), MT_FMAF(x, b, a)))
#define MT_E6_(x, y, a, b, c, d, e, f) \
  MT_FMAF(y, MT_FMAF(y, MT_FMAF(x, f, e), MT_FMAF(x, d, c)), MT_FMAF(x, b, a))

/* ---- exponentials ---- */

/* p * 2^n, the power in two halves so that results may be subnormal or infinite. */
#define MT_RNDF2 (MT_RNDF + 254.f) /* twice the exponent's bias ends in the low bits of the sum */
MT_VM float mt_scalef_(float p,
                       float t) { /* t = n + MT_RNDF2; MT_RNDF's own bits leave by the shifts */
  uint32_t m = (uint32_t)mt_bitsf(t), h = m >> 1;
  return p * mt_fbits((int32_t)(h << 23)) * mt_fbits((int32_t)((m - h) << 23));
}
MT_VM double mt_scaled_(
    double p, int64_t n2) { /* n2 = n + 2^20, >= 0: SSE2 has no arithmetic shift of int64 */
  int64_t h = n2 >> 1;
  return p * mt_dbits(mt_shl_(h - (1 << 19) + 1023, 52)) *
         mt_dbits(mt_shl_(n2 - h - (1 << 19) + 1023, 52));
}
/* e^r - 1 - r over r^2 for |r| <= ln2 / 2 */
MT_VM float mt_expqf_(float r) {
  return MT_P5(MT_FMAF, r, 0.49999994f, 0.166665211f, 0.0416684002f, 0.00836873986f, 0.0013813664f);
}
MT_VM double mt_expq_(double r) {
  return MT_P11(MT_FMA, r, 0.5, 0.16666666666666677, 0.041666666666666505, 0.0083333333333216603,
                0.0013888888888964296, 0.00019841269886057832, 2.4801587168438056e-05,
                2.7557244271572931e-06, 2.7557406393191162e-07, 2.5109017873622071e-08,
                2.0874097737432879e-09);
}
#define MT_LN2HIF 0.693359375f
#define MT_LN2LOF -2.12194440e-4f
#define MT_LN2HI 6.93147180369123816490e-01
#define MT_LN2LO 1.90821492927058770002e-10

MT_VM float mt_expf(float x) {
  float t = MT_FMAF(x, (float)MT_LOG2E, MT_RNDF2), n = t - MT_RNDF2;
  float r = MT_FMAF(n, -MT_LN2LOF, MT_FMAF(n, -MT_LN2HIF, x));
  float v = mt_scalef_(1.f + MT_FMAF(r * r, mt_expqf_(r), r), t);
  v = x > 104.f ? INFINITY : v;
  return x < -104.f ? 0.f : v;
}
/* 2^bias e^x for x <= 0 (nan stays nan), exactly 0 below the least argument whose result is held:
 * bias 0: -87, all results normal; bias 32: -104, where e^x itself would round to 0. */
#define MT_EXP_LEAST(bias) ((bias) ? -104.f : -87.f)
MT_VM float mt_exp_biasf_(float x, int bias) {
  const float round = MT_RNDF + 127.f + (float)bias; /* the exponent ends in the sum's low bits */
  float t = MT_FMAF(x, (float)MT_LOG2E, round), n = t - round;
  float r = MT_FMAF(n, -MT_LN2LOF, MT_FMAF(n, -MT_LN2HIF, x));
  float p = 1.f + MT_FMAF(r * r, mt_expqf_(r), r);
  p *= mt_fbits((int32_t)((uint32_t)mt_bitsf(t) << 23));
  return x < MT_EXP_LEAST(bias) ? 0.f : p;
}
/* e^x for x <= 0. */
MT_VM float mt_exp_negf_(float x) { return mt_exp_biasf_(x, 32) * 0x1p-32f; }
/* The same for arguments known to lie in [-87, 88]: one multiplication fewer. */
MT_VM float mt_exp_midf_(float x) {
  float t = MT_FMAF(x, (float)MT_LOG2E, MT_RNDF), n = t - MT_RNDF;
  float r = MT_FMAF(n, -MT_LN2LOF, MT_FMAF(n, -MT_LN2HIF, x));
  float p = 1.f + MT_FMAF(r * r, mt_expqf_(r), r);
  return mt_fbits((int32_t)((uint32_t)mt_bitsf(p) + ((uint32_t)mt_bitsf(t) << 23)));
}
MT_VM double mt_exp(double x) {
  x = x > 710. ? 710. : x;
  x = x < -746. ? -746. : x;
  double t = MT_FMA(x, MT_LOG2E, MT_RNDD + (1 << 20)), n = t - (MT_RNDD + (1 << 20));
  double hi = MT_FMA(n, -MT_LN2HI, x), lo = n * MT_LN2LO, r = hi - lo;
  double p = 1. + (hi + MT_FMA(r * r, mt_expq_(r), -lo));
  return mt_scaled_(p, mt_bits(t) - mt_bits(MT_RNDD));
}
MT_VM float mt_exp2qf_(float r) {                     /* (2^r - 1) / r for |r| <= 1/2 */
  return MT_P6(MT_FMAF, r, 0.693147182f, 0.240226477f, 0.0555033237f, 0.00961844437f,
               0.00133989053f, 0.000153514964f);
}
MT_VM float mt_exp2f(float x) {
  float t = x + MT_RNDF2, r = x - (t - MT_RNDF2);
  float v = mt_scalef_(MT_FMAF(r, mt_exp2qf_(r), 1.f), t);
  v = x > 151.f ? INFINITY : v;
  return x < -151.f ? 0.f : v;
}
MT_VM double mt_exp2(double x) {
  x = x > 1025. ? 1025. : x;
  x = x < -1076. ? -1076. : x;
  double t = x + (MT_RNDD + (1 << 20)), r = x - (t - (MT_RNDD + (1 << 20)));
  double q = MT_P12(MT_FMA, r, 0.69314718055994529, 0.24022650695910072, 0.055504108664821687,
                    0.0096181291076283277, 0.0013333558146392608, 0.00015403530393644707,
                    1.5252733854407744e-05, 1.3215486591639767e-06, 1.0178051900779461e-07,
                    7.054975699821682e-09, 4.4565772616080787e-10, 2.5623723003516033e-11);
  return mt_scaled_(MT_FMA(r, q, 1.), mt_bits(t) - mt_bits(MT_RNDD));
}
/* 2^n (e^r - 1) + (2^n - 1), with n = 128 reached as 2 * 2^127; what r lost by rounding is added to
 * its square term. */
MT_VM float mt_expm1f(float x) {
  float y = x > 89.f ? 89.f : x;
  y = y < -20.f ? -20.f : y;
  float t = MT_FMAF(y, (float)MT_LOG2E, MT_RNDF), n = t - MT_RNDF;
  float h = MT_FMAF(n, -MT_LN2HIF, y), l = n * MT_LN2LOF, r = h - l, c = (h - r) - l;
  float q = MT_P6(MT_FMAF, r, 0.5f, 0.166666657f, 0.0416663624f, 0.00833339151f, 0.00139406603f,
                  0.000198444337f);
  float s = mt_fbits(mt_shlf_(mt_bitsf(t) - 0x4b400000 + 126, 23));
  float p = MT_FMAF(r * r, q, c);
  float v = 2.f * (MT_FMAF(s, r, s - 0.5f) + s * p);
  v = n == 0.f ? r + p : v;
  return x == 0.f ? x : v;
}
MT_VM double mt_expm1(double x) {
  double y = x > 710. ? 710. : x;
  y = y < -40. ? -40. : y;
  double t = MT_FMA(y, MT_LOG2E, MT_RNDD), n = t - MT_RNDD;
  double h = MT_FMA(n, -MT_LN2HI, y), l = n * MT_LN2LO, r = h - l, c = (h - r) - l;
  double s = mt_dbits(mt_shl_(mt_bits(t) - mt_bits(MT_RNDD) + 1022, 52));
  double p = MT_FMA(r * r, mt_expq_(r), c);
  double v = 2. * (MT_FMA(s, r, s - 0.5) + s * p);
  v = n == 0. ? r + p : v;
  return x == 0. ? x : v;
}
/* e^x to 2^-39 for |x| < 700: the exponential inside float functions that compute in double. */
MT_VM double mt_exp_lo_(double x) {
  double t = MT_FMA(x, MT_LOG2E, MT_RNDD), r = MT_FMA(t - MT_RNDD, -MT_LN2, x);
  double q = MT_P7(MT_FMA, r, 0.50000000004307255, 0.16666666784739362, 0.041666664382044097,
                   0.0083332817214677897, 0.0013889200755016463, 0.00019908995751964856,
                   2.4706609735916431e-05);
  double p = 1. + MT_FMA(r * r, q, r);
  return mt_dbits((int64_t)((uint64_t)mt_bits(p) + ((uint64_t)mt_bits(t) << 52)));
}

/* ---- logarithms ---- */

/* For 2/3 <= 1 + f < 4/3: (log(1 + f) - f + f^2 / 2) / f^3, and log(1 + f) - f. */
MT_VM float mt_log_tailf_(float f) {
  return MT_P9(MT_FMAF, f, 0.333333343f, -0.249998197f, 0.19999592f, -0.166795969f, 0.143046275f,
               -0.121954791f, 0.107520692f, -0.128465474f, 0.120163746f);
}
MT_VM float mt_logqf_(float f) {
  float z = f * f;
  return MT_FMAF(z * f, mt_log_tailf_(f), -0.5f * z);
}
MT_VM float mt_logf(float x) {
  float y = x < 1.17549435e-38f ? x * 8388608.f : x, k = x < 1.17549435e-38f ? -23.f : 0.f;
  int32_t b = (int32_t)((uint32_t)mt_bitsf(y) -
                        0x3f2aaaabu); /* may wrap for x < 0, whose result is nan anyway */
  float f = mt_fbits((b & 0x7fffff) + 0x3f2aaaab) - 1.f, e = (float)(b >> 23) + k;
  float v = MT_FMAF(e, MT_LN2HIF, f + MT_FMAF(e, MT_LN2LOF, mt_logqf_(f)));
  v = x == INFINITY ? x : v;
  v = x == 0.f ? -INFINITY : v;
  return x < 0.f || x != x ? NAN : v;
}
/* u = 1 + x is rounded; what it lost is added to the mantissa's distance from 1. */
MT_VM float mt_log1p_coref_(float x) {
  float u = 1.f + x, c = x > 1.f ? 1.f - (u - x) : x - (u - 1.f);
  int32_t b = (int32_t)((uint32_t)mt_bitsf(u) - 0x3f2aaaabu), e = b >> 23;
  float f = mt_fbits((b & 0x7fffff) + 0x3f2aaaab) - 1.f, s = mt_fbits(mt_shlf_(127 - e, 23)),
        n = (float)e;
  float d = x > 1e20f ? 0.f : c * s, g = f + d;        /* there 2^-e may not exist */
  d = (f - g) + d;
  return MT_FMAF(n, MT_LN2HIF, g + (d + MT_FMAF(n, MT_LN2LOF, mt_logqf_(g))));
}
MT_VM float mt_log1pf(float x) {
  float v = mt_log1p_coref_(x);
  v = x == INFINITY ? x : v;
  v = x == -1.f ? -INFINITY : v;
  v = mt_absf(x) < 1e-12f ? x : v;
  return x < -1.f || x != x ? NAN : v;
}
/* The pieces of a positive normal double: x = 2^e (1 + f), sqrt(1/2) <= 1 + f < sqrt(2). */
MT_VM double mt_frexp_(double x, double *e) {
  int64_t b = (int64_t)((uint64_t)mt_bits(x) - 0x3fe6a09e00000000u + ((uint64_t)1 << 62));
  *e = mt_dbits((int64_t)((uint64_t)b >> 52) | 0x4330000000000000) - (4503599627370496. + 1024.);
  return mt_dbits((b & 0xfffffffffffff) + 0x3fe6a09e00000000) - 1.;
}
/* s (hfsq + R): log(1 + f) = f - hfsq + s (hfsq + R), s = f / (2 + f), hfsq = f^2 / 2 */
MT_VM double mt_logr_(double f, double hfsq) {
  double s = f / (2. + f), z = s * s;
  double r =
      MT_P7(MT_FMA, z, 0.66666666666667096, 0.39999999999517177, 0.28571428730011333,
            0.22222199005393076, 0.1818357643089106, 0.15313030178560308, 0.14811936241135093);
  return s * MT_FMA(z, r, hfsq);
}
MT_VM double mt_log_fix_(double x, double v) {
  v = x == INFINITY ? x : v;
  v = x == 0. ? -INFINITY : v;
  return x < 0. || x != x ? NAN : v;
}
#define MT_LOG_HEAD_(x) \
  double e, k = (x) < 2.2250738585072014e-308 ? -54. : 0.; \
  double f = mt_frexp_((x) < 2.2250738585072014e-308 ? (x) * 18014398509481984. : (x), &e); \
  double hfsq = 0.5 * f * f, sr = mt_logr_(f, hfsq); \
  e += k
MT_VM double mt_log(double x) {
  MT_LOG_HEAD_(x);
  return mt_log_fix_(x, MT_FMA(e, MT_LN2HI, f - (hfsq - MT_FMA(e, MT_LN2LO, sr))));
}
/* log(1 + f) as hi + lo (hi of 21 bits) times the constant chi + clo, plus e times (ehi + elo). */
MT_VM double mt_log_base_(double f, double hfsq, double sr, double e, double chi, double clo,
                          double ehi, double elo) {
  double hi = mt_dbits(mt_bits(f - hfsq) & ~(int64_t)0xffffffff), lo = (f - hi) - hfsq + sr;
  double vh = hi * chi, vl = e * elo + (lo + hi) * clo + lo * chi, y = e * ehi, w = y + vh;
  return vl + ((y - w) + vh) + w;
}
MT_VM double mt_log2(double x) {
  MT_LOG_HEAD_(x);
  return mt_log_fix_(x, mt_log_base_(f, hfsq, sr, e, 1.44269504072144627571e+00,
                                     1.67517131648865118353e-10, 1., 0.));
}
MT_VM double mt_log10(double x) {
  MT_LOG_HEAD_(x);
  return mt_log_fix_(x, mt_log_base_(f, hfsq, sr, e, 4.34294481878168880939e-01,
                                     2.50829467116452752298e-11, 3.01029995663611771306e-01,
                                     3.69423907715893078616e-13));
}
MT_VM double mt_log1p(double x) {
  double u = 1. + x, c = x > 1. ? 1. - (u - x) : x - (u - 1.), e;
  double f = mt_frexp_(u, &e), hfsq = 0.5 * f * f;
  double v = MT_FMA(e, MT_LN2HI, f - (hfsq - MT_FMA(e, MT_LN2LO, mt_logr_(f, hfsq) + c / u)));
  v = x == INFINITY ? x : v;
  v = x == -1. ? -INFINITY : v;
  v = mt_absd(x) < 1e-17 ? x : v;
  return x < -1. || x != x ? NAN : v;
}
/* log2 of a float >= 0 to 2^-33, right at 0, inf and nan: the series' first terms in double, the
 * rest, too small to matter, in float. */
MT_VM double mt_log2_lo_(float x) {
  float y = x < 1.17549435e-38f ? x * 8388608.f : x, k = x < 1.17549435e-38f ? -23.f : 0.f;
  k = x == 0.f ? -INFINITY : k;
  k = x < INFINITY ? k : x;
  int32_t b = (int32_t)((uint32_t)mt_bitsf(y) -
                        0x3f2aaaabu); /* may wrap for x < 0, whose result is nan anyway */
  float f = mt_fbits((b & 0x7fffff) + 0x3f2aaaab) - 1.f;
  float g = f * f,
        q = MT_E9_(f, g, 0.288539082f, -0.240445271f, 0.206090301f, -0.180565834f, 0.160638198f,
                   -0.139607996f, 0.125597343f, -0.159153789f, 0.151441634f);
  double d = f, e = (float)(b >> 23) + k, d2 = d * d;
  double p =
      MT_FMA(d2, MT_FMA(d, -0.25 * MT_LOG2E, MT_LOG2E / 3), MT_FMA(d, -0.5 * MT_LOG2E, MT_LOG2E));
  return MT_FMA(d, MT_FMA(d2 * d2, (double)q, p), e);
}
MT_VM float mt_log2f(float x) { return (float)mt_log2_lo_(x < 0.f ? NAN : x); }
MT_VM float mt_log10f(float x) {
  return (float)(mt_log2_lo_(x < 0.f ? NAN : x) * 0.30102999566398119521);
}
/* log(1 + t) to 2^-36 for -1 < t < 1e100, t a double: for asinh, acosh, atanh of floats. */
MT_VM double mt_log1p_lo_(double t) {
  double u = 1. + t, c = t > 1. ? 1. - (u - t) : t - (u - 1.), e, f = mt_frexp_(u, &e);
  double s = f / (2. + f), z = s * s;
  double p = MT_P5(MT_FMA, z, 2.8853900817902027 * MT_LN2, 0.96179667320018036 * MT_LN2,
                   0.5770836115707918 * MT_LN2, 0.41167113461150251 * MT_LN2,
                   0.34075936184665451 * MT_LN2);
  return MT_FMA(e, MT_LN2, MT_FMA(s, p, c / u));
}

/* ---- powers ---- */

/* 2^t for a double t, as a float; |t| may be anything. */
MT_VM float mt_exp2_of_(double t) {
  float s = (float)t, m = s + MT_RNDF2, r = (float)(t - (double)(m - MT_RNDF2));
  float q = MT_E6_(r, r * r, 0.693147182f, 0.240226477f, 0.0555033237f, 0.00961844437f,
                   0.00133989053f, 0.000153514964f);
  float v = mt_scalef_(MT_FMAF(r, q, 1.f), m);
  v = s > 151.f ? INFINITY : v;
  return s < -151.f ? 0.f : v;
}
/* |x|^c with the sign and nan of a negative base given as masks: all ones where the exponent is an
 * odd integer, where it is no integer.  Masks and not conditionals, because exponents are often
 * loop-invariant and the compiler would then split the loop on them instead of vectorising it. */
MT_VM float mt_pow_sign_(float v, float x, int32_t odd, int32_t nonint) {
  int32_t neg = -(int32_t)((x < 0.f) & (x > -INFINITY));
  return mt_fbits((mt_bitsf(v) ^ (mt_bitsf(x) & INT32_MIN & odd)) | (neg & nonint & 0x7fc00000));
}
MT_VM float mt_powf_masked_(float x, float c, int32_t odd, int32_t nonint) {
  return mt_pow_sign_(mt_exp2_of_((double)c * mt_log2_lo_(mt_absf(x))), x, odd, nonint);
}
MT_VM int32_t mt_pow_odd_(float y, int32_t *nonint) {
  int32_t a = mt_bitsf(mt_absf(y));
  float b = mt_fbits(a < 0x4b800000 ? a : 0x4b800000);     /* 2^24 and more are even */
  int32_t i = (int32_t)b;
  *nonint = -(int32_t)((float)i != b);
  return -(i & 1) & ~*nonint;
}
MT_VM float mt_pow_clamp_(float y) {                 /* finite, so that 1^inf is 1 */
  int32_t a = mt_bitsf(mt_absf(y));
  return mt_signf(mt_fbits(a < 0x7f7fffff ? a : 0x7f7fffff), y);
}
MT_VM float mt_powf(float x, float y) {
  int32_t nonint, odd = mt_pow_odd_(y, &nonint), one = -(int32_t)((y == 0.f) | (x == 1.f));
  int32_t v = mt_bitsf(mt_powf_masked_(x, mt_pow_clamp_(y), odd, nonint)) |
              (-(int32_t)(y != y) & 0x7fc00000);
  return mt_fbits((v & ~one) | (one & 0x3f800000));
}

/* ---- trigonometry ---- */

/* x - n pi/2: exact products by fma, or in double. */
MT_VM float mt_pio2_remf_(float x, float n) {
#if MT_HAS_FMA
  float r = MT_FMAF(n, -1.57079637f, x);
  r = MT_FMAF(n, 4.37113883e-08f, r);
  return MT_FMAF(n, 1.71512451e-15f, r);
#else
  double d = n;
  return (float)(((double)x - d * 1.57079632673412561417) - d * 6.07710050650619224932e-11);
#endif
}
/* sin(x + shift pi/2): both polynomials on [-pi/4, pi/4], then the quadrant picks one and its sign.
 */
MT_VM float mt_sincosf_(float x, int32_t shift) {
  float t = MT_FMAF(x, (float)(2 / MT_PI), MT_RNDF), r = mt_pio2_remf_(x, t - MT_RNDF), z = r * r;
  float s = MT_FMAF(r * z, MT_P3(MT_FMAF, z, -0.166666552f, 0.0083321603f, -0.000195152141f), r);
  float c = MT_FMAF(z * z, MT_P3(MT_FMAF, z, 0.0416666456f, -0.00138873677f, 2.44384082e-05f),
                    MT_FMAF(-0.5f, z, 1.f));
  int32_t q = mt_bitsf(t) + shift, odd = -(q & 1);
  return mt_fbits(((mt_bitsf(c) & odd) | (mt_bitsf(s) & ~odd)) ^
                  (int32_t)((uint32_t)(q & 2) << 30));
}
MT_VM float mt_sinf_core_(float x) {
  float v = mt_sincosf_(x, 0);
  return x == 0.f ? x : v;
}
MT_VM float mt_cosf_core_(float x) { return mt_sincosf_(x, 1); }
MT_VM float mt_tanf_core_(float x) {
  double d = x, t = MT_FMA(d, 2 / MT_PI, MT_RNDD), n = t - MT_RNDD;
  double r = (d - n * 1.57079632673412561417) - n * 6.07710050650619224932e-11, z = r * r;
  double p = MT_P7(MT_FMA, z, 0.33333349742331664, 0.13332663618518054, 0.054059904741509582,
                   0.021282138077000214, 0.010836216927586115, 8.8702414950484948e-05,
                   0.0043768282062298857);
  double v = MT_FMA(r * z, p, r), h = 0.5 * n;
  v = (h + MT_RNDD) - MT_RNDD != h ? -1. / v : v;
  return x == 0.f ? x : (float)v;
}
/* x - n pi/2 as hi + lo (three 33-bit parts of pi/2, products exact for n < 2^20); the bits of n
 * come back. */
MT_VM double mt_pio2_rem_(double x, double *lo, int64_t *bits) {
  double t = x * (2 / MT_PI) + MT_RNDD, n = t - MT_RNDD;
  double r0 = x - n * 1.57079632673412561417, w = n * 6.07710050630396597660e-11;
  double r1 = r0 - w, e1 = (r0 - r1) - w;
  w = n * 2.02226624871116645580e-21;
  double r2 = r1 - w, e2 = (r1 - r2) - w, l = (e1 + e2) - n * 8.47842766036889956997e-32,
         y = r2 + l;
  *lo = (r2 - y) + l;
  *bits = mt_bits(t);
  return y;
}
MT_VM double mt_sin_quart_(double x, double y) {
  double z = x * x;
  double r = MT_P6(MT_FMA, z, 0.0083333333333333228, -0.00019841269841254803, 2.75573192140651e-06,
                   -2.5052104881570694e-08, 1.6058363088804623e-10, -7.5785347452850557e-13);
  double v = z * x;
  return x - ((z * (0.5 * y - v * r) - y) - v * -0.16666666666666666);
}
MT_VM double mt_cos_quart_(double x, double y) {
  double z = x * x, h = 0.5 * z, w = 1. - h;
  double r =
      z * MT_P6(MT_FMA, z, 0.041666666666666602, -0.0013888888888874129, 2.480158728948439e-05,
                -2.755731435278237e-07, 2.0875723316021793e-09, -1.1359649325332958e-11);
  return w + (((1. - w) - h) + (z * r - x * y));
}
MT_VM double mt_sincos_pick_(double y, double lo, int64_t q) {    /* sin(y + q pi/2) */
  double s = mt_sin_quart_(y, lo), c = mt_cos_quart_(y, lo);
  double odd = mt_dbits((q & 1) * 0x3ff0000000000000), v = odd != 0. ? c : s;
  return mt_dbits(mt_bits(v) ^ (int64_t)((uint64_t)(q & 2) << 62));
}
MT_VM double mt_sin_core_(double x) {
  double lo; int64_t q;
  double y = mt_pio2_rem_(x, &lo, &q), v = mt_sincos_pick_(y, lo, q);
  return x == 0. ? x : v;
}
MT_VM double mt_cos_core_(double x) {
  double lo; int64_t q;
  double y = mt_pio2_rem_(x, &lo, &q);
  return mt_sincos_pick_(y, lo, q + 1);
}
MT_VM float mt_sinf(float x) { return mt_absf(x) <= MT_TRIG_MAXF ? mt_sinf_core_(x) : sinf(x); }
MT_VM float mt_cosf(float x) { return mt_absf(x) <= MT_TRIG_MAXF ? mt_cosf_core_(x) : cosf(x); }
MT_VM float mt_tanf(float x) { return mt_absf(x) <= MT_TRIG_MAXF ? mt_tanf_core_(x) : tanf(x); }
MT_VM double mt_sin(double x) { return mt_absd(x) <= MT_TRIG_MAX ? mt_sin_core_(x) : sin(x); }
MT_VM double mt_cos(double x) { return mt_absd(x) <= MT_TRIG_MAX ? mt_cos_core_(x) : cos(x); }

/* asin(x) = x + x z P(z) for z = x^2 <= 1/4; above, pi/2 - 2 asin(sqrt((1 - x) / 2)). */
MT_VM float mt_asin_pf_(float z) {
  return z *
         MT_P5(MT_FMAF, z, 0.166667521f, 0.0749530047f, 0.0454700924f, 0.024180565f, 0.0421650261f);
}
MT_VM float mt_asinf(float x) {
  float a = mt_absf(x), z = a > 0.5f ? 0.5f * (1.f - a) : a * a, s = a > 0.5f ? sqrtf(z) : a;
  float p = mt_asin_pf_(z), v = MT_FMAF(s, p, s);
  v = a > 0.5f ? (1.57079637f - 2.f * s) - MT_FMAF(2.f * s, p, 4.37113883e-08f) : v;
  return mt_signf(v, x);
}
MT_VM float mt_acosf(float x) {
  float a = mt_absf(x), z = a > 0.5f ? 0.5f * (1.f - a) : a * a, s = a > 0.5f ? sqrtf(z) : a;
  float p = s * mt_asin_pf_(z), v = 2.f * (s + p);
  v = x < 0.f ? 3.14159274f - (v + 8.74227766e-08f) : v;
  float m = mt_signf(s, x);
  float w =
      1.57079637f - (m + (mt_fbits(mt_bitsf(p) ^ (mt_bitsf(x) & INT32_MIN)) + 4.37113883e-08f));
  return a > 0.5f ? v : a <= 0.5f ? w : NAN;
}
MT_VM float mt_atanf(float x) {
  float a = mt_absf(x), u = a > 1.f ? 1.f / a : a;
  double d = u, z = d * d;
  double p = MT_P9(MT_FMA, z, -0.33333299090522944, 0.19998548327846346, -0.14264242133930133,
                   0.10952188010435149, -0.084034563603902102, 0.057957688156317202,
                   -0.031177931931569394, 0.010914647942442783, -0.0017936303258762514);
  double v = MT_FMA(d * z, p, d);
  v = a > 1.f ? 0.5 * MT_PI - v : v;
  return mt_signf((float)v, x);
}
MT_VM float mt_atan2f(float y, float x) {
  float ay = mt_absf(y), ax = mt_absf(x);
  double mx = ay > ax ? ay : ax, mn = ay > ax ? ax : ay, d = mn / mx;
  d = mx == 0. ? 0. : d;
  d = mn == INFINITY ? 1. : d;
  double z = d * d;
  double p = MT_P9(MT_FMA, z, -0.33333299090522944, 0.19998548327846346, -0.14264242133930133,
                   0.10952188010435149, -0.084034563603902102, 0.057957688156317202,
                   -0.031177931931569394, 0.010914647942442783, -0.0017936303258762514);
  double v = MT_FMA(d * z, p, d);
  v = ay > ax ? 0.5 * MT_PI - v : v;
  v = mt_bitsf(x) < 0 ? MT_PI - v : v;
  float r = mt_signf((float)v, y);
  return x != x || y != y ? NAN : r;
}

/* ---- hyperbolic functions ---- */

MT_VM float mt_sinhf(float x) {
  double d = mt_absf(x) > 91.f ? (double)mt_signf(91.f, x) : (double)x, z = d * d;
  double e = mt_exp_lo_(d), v = 0.5 * (e - 1. / e);
  double s = MT_FMA(d * z, MT_P3(MT_FMA, z, 1. / 6, 1. / 120, 1. / 5040), d);
  return x == 0.f ? x : (float)(z < 0.04 ? s : v);
}
MT_VM float mt_coshf(float x) {
  double d = mt_absf(x) > 91.f ? 91. : (double)x, e = mt_exp_lo_(d);
  return (float)(0.5 * (e + 1. / e));
}
MT_VM float mt_tanhf(float x) {
  float a = mt_absf(x), z = x * x, y = a > 10.f ? 10.f : a;
  float p =
      MT_P5(MT_FMAF, z, -0.333333164f, 0.13332586f, -0.053852357f, 0.0210718121f, -0.00627436396f);
  float s = MT_FMAF(a * z, p, a), v = 1.f - 2.f / (mt_exp_midf_(y + y) + 1.f);
  return mt_signf(a >= 0.55f ? v : s, x);        /* a nan takes s */
}
MT_VM double mt_tanh(double x) {
  double a = mt_absd(x), t = mt_expm1(a > 22. ? 44. : a + a), q = (a >= 0.55 ? -2. : t) / (t + 2.);
  return mt_signd(a >= 0.55 ? 1. + q : q, x);
}
MT_VM float mt_asinhf(float x) {
  double a = mt_absf(x), z = a * a;
  float v = (float)mt_log1p_lo_(a + z / (1. + sqrt(z + 1.)));
  v = x == INFINITY || x == -INFINITY ? INFINITY : v;
  return x == 0.f || x != x ? x : mt_signf(v, x);
}
MT_VM float mt_acoshf(float x) {
  double t = (double)x - 1.;
  float v = (float)mt_log1p_lo_(t + sqrt(t * (t + 2.)));
  v = x == INFINITY ? x : v;
  return x >= 1.f ? v : NAN;
}
MT_VM float mt_atanhf(float x) {
  double a = mt_absf(x);
  float v = (float)(0.5 * mt_log1p_lo_(2. * a / (1. - a)));
  v = a == 1. ? INFINITY : v;
  v = mt_signf(v, x);
  return x == 0.f ? x : a <= 1. ? v : NAN;
}

/* ---- error function ---- */

/* x + x P(x^2) below 0.95; above, 1 - exp(-P(x)) with P = -log(erfc). */
MT_VM float mt_erff(float x) {
  float a = mt_absf(x), z = x * x, y = a > 4.f ? 4.f : a;
  float p = MT_P7(MT_FMAF, z, 0.128379166f, -0.376126319f, 0.112836659f, -0.0268577784f,
                  0.0051970873f, -0.000809888414f, 8.18906628e-05f);
  float q = MT_P8(MT_FMAF, y, -0.00018246648f, 1.12955213f, 0.63327235f, 0.108361639f,
                  -0.0251718666f, 0.00419087894f, -0.000438534917f, 2.14460069e-05f);
  float s = MT_FMAF(a, p, a), v = 1.f - mt_exp_midf_(-q);
  v = a > 3.95f ? 1.f : v;
  return mt_signf(a >= 0.95f ? v : s, x);
}
MT_VM float mt_erfcf(float x) {
  double a = mt_absf(x), c = a > 10.3 ? 10.3 : a, t = (c - 2.) / (c + 2.);
  double q = MT_P12(MT_FMA, t, 0.25539567658048895, -0.4271858530918346, 0.24165817304219106,
                    -0.078978359410511345, 0.0037331834379434013, 0.0069951332536564966,
                    -0.00084896273230744036, -0.00097193843115727459, 5.0351021180570555e-05,
                    0.00015469921596677246, 1.3125450821113488e-05, -1.2136482948611799e-05);
  double v = mt_exp_lo_(-c * c) * q;
  float r = (float)(x < 0.f ? 2. - v : v);
  return x != x ? x : r;
}

/* erfinv(x) / x to 2e-9 where w = -log(1 - x^2) <= 16.8, which holds for every float but 1; our own
 * fits over w and sqrt(w). */
MT_VM double mt_erfinv_ratio_(double w) {
  double t = w - 2.5, s = mt_sqrt(w) - 3.1680339887498947;
  double low = MT_P11(MT_FMA, t, 1.5014093535139363, 0.24664028763588858, -0.004177339404991958,
                      -0.0012527446624959792, 0.00021828263101183692, -4.9619107895330064e-06,
                      -3.4346114310678166e-06, 4.6589185065609175e-07, 1.803712737412416e-08,
                      -8.772804734494352e-09, 3.3554609207658306e-10);
  double high = MT_P11(MT_FMA, s, 3.0015268070319165, 1.0042969920885063, 0.006404045763533252,
                       -0.004692208167356483, 0.003282641882602536, -0.002209654460719221,
                       0.0011735715832204207, -0.00034667691506986816, -7.218938244424113e-05,
                       0.00011095732870683266, -2.95155476964021e-05);
  return w < 5. ? low : high;
}
MT_VM float mt_erfinvf(float x) {
  double a = x;
  float r = (float)(a * mt_erfinv_ratio_(-mt_log((1 - a) * (1 + a))));
  return mt_absf(x) == 1.f ? x * INFINITY : r;
}

/* ---- activations (PyTorch's formulas) ---- */

MT_VM float mt_sigmoidf(float x) { return 1.f / (1.f + mt_expf(-x)); }
MT_VM double mt_sigmoid(double x) { return 1. / (1. + mt_exp(-x)); }
MT_VM float mt_silu_slopef(float x) {
  float s = mt_sigmoidf(x);
  return s * (1.f + x * (1.f - s));
}
MT_VM double mt_silu_slope(double x) {
  double s = mt_sigmoid(x);
  return s * (1. + x * (1. - s));
}
MT_VM float mt_siluf(float x) { return x / (1.f + mt_expf(-x)); }
MT_VM double mt_silu(double x) { return x / (1. + mt_exp(-x)); }
/* log(1 + e^x) = max(x, 0) + log1p(e^-|x|): the inner functions meet no special value */
MT_VM float mt_log1pexpf_(float x) {
  float e = mt_exp_negf_(-mt_absf(x)), u = 1.f + e;
  int32_t big = -(int32_t)(u > 1.3333333f); /* then log(1 + e) = log 2 + log(1 + (e - 1) / 2) */
  float f = mt_fbits((mt_bitsf(0.5f * e - 0.5f) & big) | (mt_bitsf(e) & ~big));
  float n = mt_fbits(mt_bitsf(MT_LN2HIF) & big), l = mt_fbits(mt_bitsf(MT_LN2LOF) & big);
  return (x > 0.f ? x : 0.f) + (n + (f + (l + mt_logqf_(f))));
}
MT_VM float mt_log_sigmoidf(float x) { return -mt_log1pexpf_(-x); }
MT_VM double mt_log_sigmoid(double x) { return (x > 0. ? 0. : x) - mt_log1p(mt_exp(-mt_absd(x))); }
MT_VM float mt_softplusf(float x, float beta, float threshold) {
  return x * beta > threshold ? x : mt_log1pexpf_(x * beta) / beta;
}
MT_VM double mt_softplus(double x, double beta, double threshold) {
  double z = x * beta;
  return z > threshold ? x : ((z > 0. ? z : 0.) + mt_log1p(mt_exp(-mt_absd(z)))) / beta;
}
/* tanh(log(1 + e^x)) = n / (n + 2) with n = e^x (e^x + 2) */
MT_VM float mt_mishf(float x) {
  float e = mt_expf(x > 30.f ? 30.f : x), n = e * (e + 2.f);
  return x * (n / (n + 2.f));
}
MT_VM double mt_mish(double x) {
  double e = mt_exp(x > 50. ? 50. : x), n = e * (e + 2.);
  return x * (n / (n + 2.));
}
/* The normal distribution's share below x: 1/2 + a P(a^2) / Q(a^2), the fraction exactly 1/2 from
 * 5.42 on: erf in float is 1 there. */
MT_VM float mt_below_(float x) {
  float a = mt_absf(x), u = x * x;
  float p = MT_P7(MT_FMAF, u, 0.398942292f, 0.0327065289f, 0.0047871382f, 0.00016904861f,
                  8.25748884e-06f, 5.00279818e-08f, -6.82695775e-11f);
  float q = MT_P6(MT_FMAF, u, 1.f, 0.248649806f, 0.0284411013f, 0.00192401349f, 8.09189878e-05f,
                  1.92620928e-06f);
  float r = a * (p / q);
  return 0.5f + mt_signf(a > 5.42f ? 0.5f : r, x);
}
MT_VM float mt_geluf(float x) { return x * mt_below_(x); }
MT_VM float mt_gelu_slopef(float x) {
  return mt_below_(x) + x * mt_exp_negf_(-0.5f * x * x) * 0.3989422804f;
}
MT_VM double mt_gelu_slope(double x) {
  return 0.5 * (1. + erf(x * 0.70710678118654752440)) +
         x * mt_exp(-0.5 * x * x) * 0.39894228040143267794;
}
MT_VM double mt_gelu(double x) { return 0.5 * x * (1. + erf(x * 0.70710678118654752440)); }
MT_VM float mt_gelu_tanhf(float x) {
  return 0.5f * x * (1.f + mt_tanhf(0.797884561f * MT_FMAF(0.044715f * x * x, x, x)));
}
MT_VM double mt_gelu_tanh(double x) {
  return 0.5 * x * (1. + mt_tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
}

/* ---- doubles that libm does well and no workload needs faster ---- */

MT_VM double mt_tan(double x) { return tan(x); }
static inline __attribute__((unused)) void mt_vtan(int64_t n, const double *x, double *y) {
  for (int64_t i = 0; i < n; i++) y[i] = tan(x[i]);
}
MT_VM double mt_asin(double x) { return asin(x); }
MT_VM double mt_acos(double x) { return acos(x); }
MT_VM double mt_atan(double x) { return atan(x); }
MT_VM double mt_atan2(double y, double x) { return atan2(y, x); }
MT_VM double mt_sinh(double x) { return sinh(x); }
MT_VM double mt_cosh(double x) { return cosh(x); }
MT_VM double mt_asinh(double x) { return asinh(x); }
MT_VM double mt_acosh(double x) { return acosh(x); }
MT_VM double mt_atanh(double x) { return atanh(x); }
MT_VM double mt_erf(double x) { return erf(x); }
MT_VM double mt_erfc(double x) { return erfc(x); }
MT_VM double mt_pow(double x, double y) { return pow(x, y); }

/* ---- loops over contiguous arrays (y may be x) for functions with a slow range ---- */

#define MT_TRIG_LOOP_(name, T, core, slow, absf_, limit) \
  static inline __attribute__((unused)) void name(int64_t n, const T *x, T *y) { \
    for (int64_t i = 0; i < n; i += 1024) { \
      int64_t m = n - i < 1024 ? n - i : 1024; \
      int big = 0; \
      for (int64_t j = 0; j < m; j++) big |= absf_(x[i + j]) > limit; \
      if (!big) for (int64_t j = 0; j < m; j++) y[i + j] = core(x[i + j]); \
      else for (int64_t j = 0; j < m; j++) y[i + j] = slow(x[i + j]); \
    } \
  }
MT_TRIG_LOOP_(mt_vsinf, float, mt_sinf_core_, mt_sinf, mt_absf, MT_TRIG_MAXF)
MT_TRIG_LOOP_(mt_vcosf, float, mt_cosf_core_, mt_cosf, mt_absf, MT_TRIG_MAXF)
MT_TRIG_LOOP_(mt_vtanf, float, mt_tanf_core_, mt_tanf, mt_absf, MT_TRIG_MAXF)
MT_TRIG_LOOP_(mt_vsin, double, mt_sin_core_, mt_sin, mt_absd, MT_TRIG_MAX)
MT_TRIG_LOOP_(mt_vcos, double, mt_cos_core_, mt_cos, mt_absd, MT_TRIG_MAX)
#endif
