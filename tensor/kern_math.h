/* kern_math.h: small functions that the lines of the *.inc files name: integer division and powers
 * with Python's or C's rounding that never trap (division by zero is refused before the loop runs),
 * floored division of floats, complex helpers. */
#ifndef MT_KERN_MATH_H
#define MT_KERN_MATH_H
#include "cmath.h"
#include "special.h"
#include "vmath.h"
#define MT_KM static inline __attribute__((always_inline, unused))

/* atan2 in vectors for doubles too.  The angle is k pi / 4 plus or minus that of z, which is
 * the smaller of |x|, |y| over the greater, turned by an eighth where it is great. */
MT_KM float mt_atan2_f(float y, float x) { return mt_atan2f(y, x); }
MT_KM double mt_atan2_(double y, double x) {
  double ax = mt_absd(x), ay = mt_absd(y), n = ay < ax ? ay : ax, d = ay < ax ? ax : ay;
  double s = d > 0x1p1000 ? 0x1p-8 : 1.;   /* n + d may not overflow */
  n *= s;
  d *= s;
  bool same = n == d, great = (n > 0.41421356237309503 * d) | (same & (d > 0.));
  double num = great ? n - d : n, den = great ? n + d : d, z = same ? 0. : num / den, u = z * z;
  double p = MT_P12(MT_FMA, u, -0.3333333333333333, 0.19999999999999804, -0.14285714285659779,
                    0.11111111105150588, -0.09090908753259112, 0.07692296368042296,
                    -0.0666642476020052, 0.05878927554473807, -0.05230443640686948,
                    0.045515447340221615, -0.03456931506332609, 0.016284375050043393);
  p = MT_FMA(z * u, p, z);
  double k = great ? 1. : 0.;
  k = ay > ax ? 2. - k : k;
  p = ay > ax ? -p : p;
  bool left = mt_bits(x) < 0;
  k = left ? 4. - k : k;
  p = left ? -p : p;
  double hi = k == 3. ? 2.356194490192345 : k * 0.78539816339744830962;
  double lo = k == 3. ? 9.184850993605148e-17 : k * 3.061616997868383e-17, r = hi + (p + lo);
  r = mt_signd(r, y);
  return (x != x) | (y != y) ? x + y : r;
}
MT_KM float mt_gelu_tanh_slopef(float x) {
  float t = mt_tanhf(0.797884561f * MT_FMAF(0.044715f * x * x, x, x));
  float inner = MT_FMAF(0.134145f * x, x, 1.f) * 0.398942280f;
  return MT_FMAF(x * (1.f - t * t), inner, MT_FMAF(0.5f, t, 0.5f));
}
MT_KM double mt_gelu_tanh_slope(double x) {
  double t = mt_tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x));
  return 0.5 + 0.5 * t + x * (1. - t * t) * (1. + 0.134145 * x * x) * 0.39894228040143267794;
}

/* -1 is apart because INT64_MIN / -1 traps. */
MT_KM int64_t mt_imod(int64_t x, int64_t y) { return y == 0 || y == -1 ? 0 : x % y; }
MT_KM int64_t mt_irem(int64_t x, int64_t y) {
  int64_t r = mt_imod(x, y);
  return r != 0 && (r < 0) != (y < 0) ? r + y : r;
}
MT_KM int64_t mt_idiv(int64_t x, int64_t y) {
  return y == 0 ? 0 : y == -1 ? (int64_t)(0 - (uint64_t)x) : x / y;
}
MT_KM int64_t mt_ifdiv(int64_t x, int64_t y) {
  return mt_idiv(x, y) - (mt_imod(x, y) != 0 && (x < 0) != (y < 0));
}
MT_KM int64_t mt_ipow(int64_t x, int64_t y) {
  if (y < 0) return x == 1 ? 1 : x == -1 ? (y & 1 ? -1 : 1) : 0;
  uint64_t r = 1;
  for (uint64_t b = (uint64_t)x; y; y >>= 1, b *= b) if (y & 1) r *= b;
  return (int64_t)r;
}
MT_KM int64_t mt_igcd(int64_t a, int64_t b) {
  uint64_t x = a < 0 ? 0 - (uint64_t)a : (uint64_t)a, y = b < 0 ? 0 - (uint64_t)b : (uint64_t)b;
  while (y) {
    uint64_t t = x % y;
    x = y;
    y = t;
  }
  return (int64_t)x;
}
MT_KM int64_t mt_ilcm(int64_t a, int64_t b) {
  int64_t g = mt_igcd(a, b);
  if (!g) return 0;
  uint64_t r = (uint64_t)mt_idiv(a, g) * (uint64_t)b;
  return (int64_t)r < 0 ? (int64_t)(0 - r) : (int64_t)r;
}

/* log(1 + e^-a), a >= 0 */
MT_KM double mt_log1p_expneg(double a) { return mt_log1p(mt_exp(-a)); }
MT_KM float mt_log1p_expnegf(float a) { return mt_log1pexpf_(-a); }

/* Remainders, quick or not.  Quick ones have no branch or call, so that a loop over them
 * vectorises; they are right unless they set a bit of *bad, and then the block is done again with
 * quick = false (LOOP2Q of kern.h): enormous quotients, infinities, zero divisors. */
MT_KM float mt_quick_modf(float x, float y, int64_t *bad) { /* products of 24 bits are exact here */
  double a = x, b = y, f = a / b, q = mt_trunc(f);
  *bad |= -(int64_t)!((mt_absd(f) < 0x1p24) & (mt_absd(b) < (double)INFINITY));
  return mt_signf(mt_absf((float)(a - q * b)), x);
}
MT_KM double mt_quick_mod(double x, double y, int64_t *bad) { /* the quotient may be 1 too large */
  double f = x / y, q = mt_trunc(f), r = MT_FMA(-q, y, x), a = mt_absd(y);
  *bad |= -(int64_t)!((mt_absd(f) < 0x1p51) & (a < (double)INFINITY) & MT_HAS_FMA);
  r = (r < 0) != (x < 0) && r != 0 ? r + (x < 0 ? -a : a) : r;
  return mt_signd(mt_absd(r), x);
}
/* x - q y; where *bad gets set these wrap around. */
MT_KM int64_t mt_rest(int64_t x, int64_t q, int64_t y) {
  return (int64_t)((uint64_t)x - (uint64_t)q * (uint64_t)y);
}
MT_KM int64_t mt_iadd(int64_t x, int64_t y) { return (int64_t)((uint64_t)x + (uint64_t)y); }
MT_KM int64_t mt_quick_idiv(int64_t x, int64_t y, int64_t *bad) {
  int64_t q = (int64_t)((double)x / (double)y), r = mt_rest(x, q, y), far = INT64_C(1) << 51;
  *bad |= -(int64_t)((y == 0) | (x > far) | (x < -far) | (y > far) | (y < -far));
  int64_t by = (x < 0) == (y < 0) ? -1 : 1;
  return r != 0 && (r < 0) != (x < 0) ? mt_iadd(q, by) : q;
}
MT_KM int64_t mt_idivq(int64_t x, int64_t y, bool quick, int64_t *bad) {
  return quick ? mt_quick_idiv(x, y, bad) : mt_idiv(x, y);
}
MT_KM int64_t mt_imodq(int64_t x, int64_t y, bool quick, int64_t *bad) {
  return quick ? mt_rest(x, mt_quick_idiv(x, y, bad), y) : mt_imod(x, y);
}
MT_KM int64_t mt_iremq(int64_t x, int64_t y, bool quick, int64_t *bad) {
  if (!quick) return mt_irem(x, y);
  int64_t r = mt_imodq(x, y, quick, bad);
  return r != 0 && (r < 0) != (y < 0) ? mt_iadd(r, y) : r;
}
MT_KM int64_t mt_ifdivq(int64_t x, int64_t y, bool quick, int64_t *bad) {
  if (!quick) return mt_ifdiv(x, y);
  int64_t q = mt_quick_idiv(x, y, bad), r = mt_rest(x, q, y);
  return r != 0 && (r < 0) != (y < 0) ? mt_iadd(q, -1) : q;
}

#define MT_SIGNf mt_signf
#define MT_SIGN mt_signd
#define MT_FLOAT_HELPERS(T, S)                                                              \
  MT_KM T mt_modq##S(T x, T y, bool quick, int64_t *bad) {                                  \
    return quick ? mt_quick_mod##S(x, y, bad) : __builtin_fmod##S(x, y);                    \
  }                                                                                         \
  MT_KM T mt_remq##S(T x, T y, bool quick, int64_t *bad) {                                  \
    T r = mt_modq##S(x, y, quick, bad);                                                     \
    return r != 0 && (r < 0) != (y < 0) ? r + y : r;                                        \
  }                                                                                         \
  /* The quotient that goes with the remainder, as Python rounds it. */                     \
  MT_KM T mt_fdivq##S(T x, T y, bool quick, int64_t *bad) {                                 \
    T m = mt_modq##S(x, y, quick, bad), d = (x - m) / y, plain = x / y;                     \
    d = m != 0 && (y < 0) != (m < 0) ? d - 1 : d;                                           \
    T f = mt_floor##S(d);                                                                   \
    f = d - f > (T)0.5 ? f + 1 : f;                                                         \
    f = d == 0 ? MT_SIGN##S(0, plain) : f;                                               \
    return y == 0 ? plain : f;                                                              \
  }                                                                                         \
  MT_KM T mt_bce##S(T x, T y) { /* binary cross entropy, its logarithms held at -100 */     \
    T q = mt_log1p##S(-x), p = mt_log##S(x);                                                \
    return (y - 1) * (q < -100 ? -100 : q) - y * (p < -100 ? -100 : p);                     \
  }                                                                                         \
  MT_KM T mt_copysign##S(T x, T y) { return __builtin_copysign##S(x, y); }                  \
  MT_KM T mt_lae##S(T x, T y) {                                                             \
    T m = x > y ? x : y, d = mt_fabs##S(x - y);                                             \
    return x == y ? x + (T)MT_LN2 : m + mt_log1p_expneg##S(d);                              \
  }                                                                                         \
  MT_KM T mt_lae2##S(T x, T y) {                                                            \
    T m = x > y ? x : y, d = mt_fabs##S(x - y) * (T)MT_LN2;                                 \
    return x == y ? x + 1 : m + mt_log1p_expneg##S(d) * (T)MT_LOG2E;                        \
  }                                                                                         \
  MT_KM T mt_lerp##S(T x, T y, T w) {                                                       \
    return mt_fabs##S(w) < (T)0.5 ? x + w * (y - x) : y - (y - x) * (1 - w);                \
  }                                                                                         \
  MT_KM T mt_clampp##S(T x, T lo, T hi) { /* a nan anywhere wins */                         \
    T t = x < lo ? lo : x, r = t > hi ? hi : t;                                             \
    return x != x ? x : lo != lo ? lo : hi != hi ? hi : r;                                  \
  }
MT_FLOAT_HELPERS(double, )
MT_FLOAT_HELPERS(float, f)

MT_KM double mt_hypot(double x, double y) { return hypot(x, y); }
MT_KM float mt_hypotf(float x, float y) {          /* in double nothing overflows */
  double d = (double)x * x + (double)y * y;
  float v = (float)__builtin_sqrt(d);
  return mt_absf(x) == INFINITY || mt_absf(y) == INFINITY ? INFINITY : v;
}
/* One up or down in the bits, whose sign of a zero is y's: no branch, no call. */
#define MT_NEXTAFTER(name, T, I, U, bits, from, sign)                                      \
  MT_KM T name(T x, T y) {                                                                 \
    I b = bits(x);                                                                         \
    T v = from((I)((U)b + (U)((x < y) == (x > 0) ? 1 : -1)));                              \
    v = x == 0 ? sign(from(1), y) : v;                                                     \
    v = x == y ? y : v;                                                                    \
    return x != x || y != y ? x + y : v;                                                   \
  }
MT_NEXTAFTER(mt_nextafterf, float, int32_t, uint32_t, mt_bitsf, mt_fbits, mt_signf)
MT_NEXTAFTER(mt_nextafter, double, int64_t, uint64_t, mt_bits, mt_dbits, mt_signd)
/* Arguments are bfloat16 values: the neighbour in that format. */
MT_KM float mt_nextafter_bf16(float x, float y) {
  if (x != x || y != y) return x + y;
  if (x == y) return y;
  if (x == 0) return mt_signf(mt_fbits(0x10000), y);
  return mt_fbits(mt_bitsf(x) + ((x < y) == (x > 0) ? 0x10000 : -0x10000));
}
/* a where the mask is all ones, else b: a conditional that the compiler cannot turn into branches.
 */
MT_KM double mt_pick(int64_t m, double a, double b) {
  return mt_dbits((mt_bits(a) & m) | (mt_bits(b) & ~m));
}
/* lgamma of a float by Stirling's series in double, branch-free: y = x, or 1 - x with the
 * reflection formula, moved up by 8 where it is small; the product of the move and the sine share
 * one logarithm. */
MT_KM float mt_lgammaf(float xf) {
  double x = xf;
  int64_t low = -(int64_t)(x < 0.5), small;
  double y = mt_pick(low, 1 - x, x);
  double q = y * (y + 7), p = q * (q + 6) * (q + 10) * (q + 12);     /* y (y + 1) ... (y + 7) */
  small = -(int64_t)(y < 8);
  double w = mt_pick(small, y + 8, y), r = x - mt_rint(x), s = mt_absd(mt_sin_core_(MT_PI * r));
  p = mt_pick(small, p, 1);
  p = mt_pick(low, MT_PI * p / s, p);
  double e1, e2, f1 = mt_frexp_(p, &e1),
                 f2 = mt_frexp_(w, &e2); /* both normal: no special case of log is met */
  double h1 = 0.5 * f1 * f1, h2 = 0.5 * f2 * f2;
  double l = MT_FMA(e1, MT_LN2, f1 - (h1 - mt_logr_(f1, h1))),
         lw = MT_FMA(e2, MT_LN2, f2 - (h2 - mt_logr_(f2, h2))), u = 1 / w, z = u * u;
  double t = MT_P7(MT_FMA, z, 1. / 12, -1. / 360, 1. / 1260, -1. / 1680, 1. / 1188, -691. / 360360,
                   1. / 156);
  double g = (w - 0.5) * lw - w + 0.91893853320467274178 + t * u;
  double v = mt_pick(low, l - g, g - l);
  v = mt_pick(low & -(int64_t)(s == 0.), INFINITY, v);
  v = mt_pick(-(int64_t)((x == 1.) | (x == 2.)), 0., v);
  v = mt_pick(-(int64_t)(mt_absd(x) == (double)INFINITY), INFINITY, v);
  return (float)mt_pick(-(int64_t)(x != x), x, v);
}

#define MT_COMPLEX_HELPERS(C, R, S, MK)                                                     \
  MT_KM C mt_clae##S(C x, C y) {                                                            \
    if (__real__ x != __real__ x || __imag__ x != __imag__ x || __real__ y != __real__ y || \
        __imag__ y != __imag__ y)                                                           \
      return MK(NAN, NAN);                                                                  \
    C hi = __real__ x < __real__ y ? y : x, lo = __real__ x < __real__ y ? x : y;           \
    if (isinf(__real__ hi) && __real__ hi == __real__ lo)                                   \
      return __real__ hi < 0 ? lo : mt_clog##S(mt_cexp##S(lo) + mt_cexp##S(hi));            \
    return hi + mt_clog1p##S(mt_cexp##S(lo - hi));                                          \
  }                                                                                         \
  MT_KM C mt_clerp##S(C x, C y, C w) {                                                      \
    C d = y - x;                                                                            \
    return mt_cabs##S(w) < (R)0.5 ? x + mt_cmul##S(w, d) : y - mt_cmul##S(d, 1 - w);        \
  }
MT_COMPLEX_HELPERS(double _Complex, double, , CMPLX)
MT_COMPLEX_HELPERS(float _Complex, float, f, CMPLXF)
#endif
