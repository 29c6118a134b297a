/* cmath.h: complex arithmetic and functions with PyTorch's values at zeros, infinities and branch
 * cuts.
 *
 * Invariants.  mt_cNAME takes and gives cdouble, mt_cNAMEf cfloat.  What C99 defines as PyTorch
 * does comes from libm; here stands what differs: products do not repair nan into infinity,
 * quotients scale by the larger part, log2 and friends scale the parts of log, powers of zero and
 * of real exponents follow std::pow. */
#ifndef MT_CMATH_H
#define MT_CMATH_H
#include <complex.h>
#undef I
#include <math.h>

#define MT_CM static inline __attribute__((unused))
/* A product rounded before it is added: gcc 12 contracts pairs of them whatever -ffp-contract
 * says. */
#if defined __has_builtin
#if __has_builtin(__builtin_assoc_barrier)
#define MT_ROUNDED(x) __builtin_assoc_barrier(x)
#endif
#endif
#ifndef MT_ROUNDED
#define MT_ROUNDED(x) (x)
#endif
#define MT_CDEFS(C, R, S, MK, HYPOT)                                                        \
  MT_CM C mt_cmul##S(C x, C y) {                                                            \
    R a = __real__ x, b = __imag__ x, c = __real__ y, d = __imag__ y;                       \
    R ac = MT_ROUNDED(a * c), bd = MT_ROUNDED(b * d), ad = MT_ROUNDED(a * d);               \
    return MK(ac - bd, ad + MT_ROUNDED(b * c));                                             \
  }                                                                                         \
  MT_CM C mt_cdiv##S(C x, C y) {                                                            \
    R a = __real__ x, b = __imag__ x, c = __real__ y, d = __imag__ y;                       \
    R ac = fabs##S(c), ad = fabs##S(d);                                                     \
    if (ac >= ad) {                                                                         \
      if (ac == 0 && ad == 0) return MK(a / ac, b / ad);                                    \
      R rat = d / c, scl = 1 / (c + d * rat);                                               \
      return MK((a + b * rat) * scl, (b - a * rat) * scl);                                  \
    }                                                                                       \
    R rat = c / d, scl = 1 / (c * rat + d);                                                 \
    return MK((a * rat + b) * scl, (b * rat - a) * scl);                                    \
  }                                                                                         \
  MT_CM C mt_crecip##S(C x) { return mt_cdiv##S(MK(1, 0), x); }                             \
  MT_CM C mt_cscale##S(C x, R k) { return MK(__real__ x * k, __imag__ x * k); }             \
  MT_CM C mt_cexp##S(C x) { return cexp##S(x); }                                            \
  MT_CM C mt_cexp2##S(C x) { return cexp##S(mt_cscale##S(x, (R)0.69314718055994530942)); }  \
  MT_CM C mt_cexpm1##S(C x) {                                                               \
    R a = __real__ x, b = __imag__ x, s = sin##S(b / 2), e = exp##S(a);                     \
    return MK(expm1##S(a) * cos##S(b) - 2 * s * s, e * sin##S(b));                          \
  }                                                                                         \
  MT_CM C mt_clog##S(C x) { return clog##S(x); }                                            \
  MT_CM C mt_clog2##S(C x) { return mt_cscale##S(clog##S(x), (R)1.44269504088896340736); }  \
  MT_CM C mt_clog10##S(C x) { return mt_cscale##S(clog##S(x), (R)0.43429448190325182765); } \
  MT_CM C mt_clog1p##S(C x) {                                                               \
    R a = __real__ x, b = __imag__ x, t = atan2##S(b, 1 + a);                               \
    if (a != a || b != b) return MK(NAN, NAN);                                              \
    if (!(HYPOT(a, b) < (R)0.5)) {                                                          \
      C l = clog##S(MK(1 + a, b));                                                          \
      return MK(__real__ l, t);                                                             \
    }                                                                                       \
    return MK((R)0.5 * log1p##S(a * (2 + a) + b * b), t);                                   \
  }                                                                                         \
  MT_CM C mt_csqrt##S(C x) { return csqrt##S(x); }                                          \
  MT_CM C mt_crsqrt##S(C x) { return mt_crecip##S(csqrt##S(x)); }                           \
  MT_CM C mt_csin##S(C x) { return csin##S(x); }                                            \
  MT_CM C mt_ccos##S(C x) { return ccos##S(x); }                                            \
  MT_CM C mt_ctan##S(C x) { return ctan##S(x); }                                            \
  MT_CM C mt_csinh##S(C x) { return csinh##S(x); }                                          \
  MT_CM C mt_ccosh##S(C x) { return ccosh##S(x); }                                          \
  MT_CM C mt_ctanh##S(C x) { return ctanh##S(x); }                                          \
  MT_CM C mt_casin##S(C x) { return casin##S(x); }                                          \
  MT_CM C mt_cacos##S(C x) { return cacos##S(x); }                                          \
  MT_CM C mt_catan##S(C x) { return catan##S(x); }                                          \
  MT_CM C mt_casinh##S(C x) { return casinh##S(x); }                                        \
  MT_CM C mt_cacosh##S(C x) { return cacosh##S(x); }                                        \
  MT_CM C mt_catanh##S(C x) { return catanh##S(x); }                                        \
  MT_CM C mt_csigmoid##S(C x) {                                                             \
    C e = cexp##S(-x);                                                                      \
    return mt_crecip##S(MK(1 + __real__ e, __imag__ e));                                    \
  }                                                                                         \
  MT_CM C mt_csilu##S(C x) { return mt_cmul##S(x, mt_csigmoid##S(x)); }                     \
  MT_CM C mt_csilu_slope##S(C x) {                                                          \
    C s = mt_csigmoid##S(x);                                                                \
    return mt_cmul##S(s, 1 + mt_cmul##S(x, 1 - s));                                         \
  }                                                                                         \
  MT_CM C mt_csinc##S(C x) {                                                                \
    if (__real__ x == 0 && __imag__ x == 0) return 1;                                       \
    C p = mt_cscale##S(x, (R)3.14159265358979323846);                                       \
    return mt_cdiv##S(csin##S(p), p);                                                       \
  }                                                                                         \
  MT_CM R mt_cabs##S(C x) { return HYPOT(__real__ x, __imag__ x); }                         \
  MT_CM R mt_cangle##S(C x) { return atan2##S(__imag__ x, __real__ x); }                    \
  MT_CM C mt_csgn##S(C x) {                                                                 \
    R a = mt_cabs##S(x);                                                                    \
    return a == 0 ? MK(0, 0) : MK(__real__ x / a, __imag__ x / a);                          \
  }                                                                                         \
  MT_CM C mt_cpow##S(C x, C y) {                                                            \
    if (__real__ y == 0 && __imag__ y == 0) return 1;                                       \
    if (__real__ x == 0 && __imag__ x == 0 && __imag__ y == 0)                              \
      return __real__ y > 0 ? MK(0, 0) : MK(INFINITY, NAN);                                 \
    return cpow##S(x, y);                                                                   \
  }                                                                                         \
  MT_CM C mt_cxlogy##S(C x, C y) {                                                          \
    R c = __real__ y, d = __imag__ y;                                                       \
    if (c != c || d != d) return MK(NAN, NAN);                                              \
    return __real__ x == 0 && __imag__ x == 0 ? MK(0, 0) : mt_cmul##S(x, clog##S(y));       \
  }
MT_CDEFS(double _Complex, double, , CMPLX, hypot)
MT_CDEFS(float _Complex, float, f, CMPLXF, hypotf)
#endif
