/* special_table.h: special functions as piecewise polynomials, made at first use from special.h.
 *
 * A table holds sixteen polynomials over [0, 16), one for each unit, of a smooth function of one
 * double u: polynomial k is in t = 2 (u - k) - 1, its coefficients c[0][k] (constant) and on.
 * Sixteen, because that is what one instruction can choose among (kern_special.h).  What u and the
 * function are is told by the line of MT_TABLES and by its function in special_table.c; both
 * precisions come from one fit, the float one's error below 2^-31, the double one's about that of
 * special.h.  Tables are made once, under a lock, and then never change. */
#ifndef MT_SPECIAL_TABLE_H
#define MT_SPECIAL_TABLE_H
enum { MT_TABLE_DEGREE = 21 };
typedef struct {
  int degree;
  _Alignas(64) double c[MT_TABLE_DEGREE + 1][16];
} MtTable;

/* How x becomes u: near 0 for x = a, towards 16 for x without bound: 16 - 16 (a + c) / (x + c). */
#define MT_TABLES(X)                                                                       \
  X(i0e) X(i1e)     /* x >= 0, c = 3: i0e sqrt(x + c), i1e / x sqrt(x + c)^3 */             \
  X(k0e) X(k1e)     /* x >= 1, a = 1, c = 0: k0e sqrt(x), k1e sqrt(x) */                    \
  X(i0z) X(i1z)     /* u = 16 x^2, x <= 1: I0, I1 / x */                                   \
  X(k0z) X(k1z)     /* the same u: K0 + log(x) I0, (K1 - 1 / x - log(x) I1) / x */          \
  X(erfcx)          /* x >= 0, c = 3.75: erfcx (x + c) */                                   \
  X(erf)            /* u = 2 x: erf / x */                                            \
  X(tail)           /* s = sqrt(-2 log q), q <= 1/4, u as MT_TAIL_U says: -ndtri(q) / s */  \
  X(centre)         /* u = 256 d^2, |d| <= 1/4: ndtri(1/2 + d) / d */                       \
  X(digamma)        /* x >= 0, c = 1/2: (digamma(1 + x) - log(x + c)) (x + c)^2 */          \
  X(trigamma)       /* the same: trigamma(1 + x) (x + c) */                                 \
  X(airy)           /* r = sqrt(x), u = MT_AIRY_U r / (r + c): Ai e^(2/3 r^3) (x + 1)^(1/4) */ \
  X(airy_neg)       /* u = -x <= 16: Ai(x) */                                               \
  X(j0) X(j1)       /* u = x <= 16: J0, J1 / x */                                           \
  X(y0) X(y1)       /* Y0 - 2/pi log(x) J0, Y1 - 2/pi (log(x) J1 - 1/x) */                  \
  X(p0) X(q0)       /* x >= 16, a = 16, c = 0: P, Q of the expansions of J0 and Y0, */    \
  X(p1) X(q1)       /* and of J1 and Y1 */
#define X(name) MT_T_##name,
enum { MT_TABLES(X) MT_T_COUNT };
#undef X
#define MT_TAIL_A 1.6651092223153954 /* sqrt(-2 log(1/4)) */
#define MT_TAIL_END 39.
#define MT_TAIL_C 1.
#define MT_AIRY_C 2.
#define MT_AIRY_U (16 * (10.2 + MT_AIRY_C) / 10.2)
#define MT_TAIL_U (16 * (MT_TAIL_END + MT_TAIL_C) / (MT_TAIL_END - MT_TAIL_A))

double mt_airy_ai_e(double x); /* x >= 0: Ai times e^(2/3 x^(3/2)) */
const MtTable *mt_table(int which, int is_float);
#endif
