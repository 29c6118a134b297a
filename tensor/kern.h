/* kern.h: how a line of unary.inc, binary.inc or ternary.inc becomes loops.
 *
 * A line is KIND(name, expression of x, y, z and the op's scalars K0, K1, K2): U, B or T3 by arity;
 * _B: the loop stores a bool; _R: it stores the real part's type; _H, _HB: the expression is long
 * and gets one loop only; U_V(name, fn): fn does a whole array (sin, whose large arguments are
 * looked for block by block); B_Q: the expression has a quick form and says by `quick, bad` whether
 * it may be used.  Sections of the file (#if KF floats, KI integers, KC complex, KB bool) say for
 * which dtypes.  kern_types.inc reads the file once per dtype, first to make the loops, then to
 * fill the table, and the Makefile builds the whole once per CPU level (KLEVEL).  T is the element
 * type, M(exp) its version of a function of vmath.h, special.h or (cexp) cmath.h, DTV the dtype. */
#ifndef MT_KERN_H
#define MT_KERN_H
#include "half.h"
#include "iter.h"
#include <complex.h>
#include <math.h>
#undef I
#include "kern_math.h"

#define CAT_(a, b, c) a##_##b##_##c
#define CAT(a, b, c) CAT_(a, b, c)
#define VEC _Pragma("GCC ivdep")
#define UNUSED __attribute__((unused))

#define LOOP_HEAD(pre, name)                                                                  \
  static void CAT(pre, name, CODE)(char **p, const int64_t *s, int64_t n, const void *par_) { \
    static const KPar none_;                                                                  \
    const KPar *par = par_ ? par_ : &none_;                                                   \
    const T K0 UNUSED = KARG(0), K1 UNUSED = KARG(1), K2 UNUSED = KARG(2);

#define LOOP1(name, TO, expr)                    \
  LOOP_HEAD(un, name)                            \
  if (s[0] == sizeof(TO) && s[1] == sizeof(T)) { \
    TO *o = (TO *)p[0];                          \
    const T *a = (const T *)p[1];                \
    VEC for (int64_t i = 0; i < n; i++) {        \
      T x = a[i];                                \
      o[i] = (TO)(expr);                         \
    }                                            \
  } else {                                       \
    char *o = p[0];                              \
    const char *a = p[1];                        \
    for (int64_t i = 0; i < n; i++) {            \
      T x = *(const T *)(a + i * s[1]);          \
      *(TO *)(o + i * s[0]) = (TO)(expr);        \
    }                                            \
  }                                              \
  }
/* ---- lines with long expressions: one loop, over elements in a row ----
 * Operands that do not lie so are brought there a block at a time, which costs less than their
 * expression and leaves one loop to compile. */
enum { KBLOCK = 256 };
#define ROW_COPY(at, to, from)                                        \
  for (int64_t i = 0; i < m; i++) __builtin_memcpy(to, from, (size_t)(at))
#define ROW_SIZES(to, from)                 \
  switch (size) {                           \
    case 1: ROW_COPY(1, to, from); break;   \
    case 4: ROW_COPY(4, to, from); break;   \
    case 8: ROW_COPY(8, to, from); break;   \
    default: ROW_COPY(16, to, from); break; \
  }
UNUSED static __attribute__((noinline)) void row_in(char *to, const char *from, int64_t stride,
                                                    int64_t m, int size) {
  ROW_SIZES(to + i * size, from + i * stride)
}
UNUSED static __attribute__((noinline)) void row_out(char *to, int64_t stride, const char *from,
                                                     int64_t m, int size) {
  ROW_SIZES(to + i * stride, from + i * size)
}
/* Operand k's elements from `at` on; a single value stays in its block. */
#define ROW_IN(k, block)                                                                     \
  (s[k] == sizeof(T)                                                                         \
       ? (const T *)p[k] + at                                                                \
       : (s[k] == 0 && at ? (void)0                                                          \
                          : row_in((char *)block, p[k] + at * s[k], s[k], m, (int)sizeof(T)), \
          block))
#define ROW_OUT(block) \
  if (s[0] != sizeof *(block)) \
    row_out(p[0] + at * s[0], s[0], (const char *)(block), m, (int)sizeof *(block));

#define LOOP1H(name, TO, expr)                                     \
  LOOP_HEAD(un, name)                                              \
  T xs[KBLOCK];                                                    \
  TO os[KBLOCK];                                                   \
  const bool direct = s[0] == sizeof(TO) && s[1] == sizeof(T);     \
  for (int64_t at = 0, m; at < n; at += m) {                       \
    m = direct || n - at < KBLOCK ? n - at : KBLOCK;               \
    const T *a = ROW_IN(1, xs);                                    \
    TO *o = s[0] == sizeof(TO) ? (TO *)p[0] + at : os;             \
    VEC for (int64_t i = 0; i < m; i++) {                          \
      T x = a[i];                                                  \
      o[i] = (TO)(expr);                                           \
    }                                                              \
    ROW_OUT(os)                                                    \
  }                                                                \
  }
/* For functions that look at whole blocks (sin of large arguments): fn(n, in, out). */
#define LOOP1V(name, fn)                                           \
  LOOP_HEAD(un, name)                                              \
  T xs[KBLOCK], os[KBLOCK];                                        \
  const bool direct = s[0] == sizeof(T) && s[1] == sizeof(T);      \
  for (int64_t at = 0, m; at < n; at += m) {                       \
    m = direct || n - at < KBLOCK ? n - at : KBLOCK;               \
    const T *a = ROW_IN(1, xs);                                    \
    fn(m, a, s[0] == sizeof(T) ? (T *)p[0] + at : os);             \
    ROW_OUT(os)                                                    \
  }                                                                \
  }
#define LOOP2H(name, TO, expr)                                                           \
  LOOP_HEAD(bin, name)                                                                   \
  T xs[KBLOCK], ys[KBLOCK];                                                              \
  TO os[KBLOCK];                                                                         \
  const bool direct = s[0] == sizeof(TO) && s[1] == sizeof(T) && s[2] == sizeof(T);      \
  for (int64_t at = 0, m; at < n; at += m) {                                             \
    m = direct || n - at < KBLOCK ? n - at : KBLOCK;                                     \
    const T *a = ROW_IN(1, xs), *b = ROW_IN(2, ys);                                      \
    TO *o = s[0] == sizeof(TO) ? (TO *)p[0] + at : os;                                   \
    VEC for (int64_t i = 0; i < m; i++) {                                                \
      T x = a[i], y = b[i];                                                              \
      o[i] = (TO)(expr);                                                                 \
    }                                                                                    \
    ROW_OUT(os)                                                                          \
  }                                                                                      \
  }
/* For lines with a quick form (see mt_quick_mod): blocks are tried quick, and done again where that
 * would be wrong; compiled once more for a single y, whose reciprocal is then taken once. */
#define TRY_QUICK(expr, Y)                          \
  int64_t bad_ = 0, *bad = &bad_;                   \
  {                                                 \
    const bool quick = true;                        \
    VEC for (int64_t i = 0; i < m; i++) {           \
      T x = a[i], y = Y;                            \
      os[i] = (T)(expr);                            \
    }                                               \
  }                                                 \
  const bool quick = false;                         \
  for (int64_t i = 0; i < m && *bad; i++) {         \
    T x = a[i], y = Y;                              \
    os[i] = (T)(expr);                              \
  }
#define LOOP2Q(name, expr)                                                                \
  LOOP_HEAD(bin, name)                                                                    \
  T xs[KBLOCK], ys[KBLOCK], os[KBLOCK];                                                   \
  for (int64_t at = 0, m; at < n; at += m) {                                              \
    m = n - at < KBLOCK ? n - at : KBLOCK;                                                \
    const T *a = ROW_IN(1, xs);                                                           \
    if (s[2] == 0) {                                                                      \
      const T single = *(const T *)p[2];                                                  \
      TRY_QUICK(expr, single)                                                             \
    } else {                                                                              \
      const T *b = ROW_IN(2, ys);                                                         \
      TRY_QUICK(expr, b[i])                                                               \
    }                                                                                     \
    if (s[0] == sizeof(T)) __builtin_memcpy((T *)p[0] + at, os, sizeof(T) * (size_t)m);    \
    ROW_OUT(os)                                                                           \
  }                                                                                       \
  }

#define LOOP2(name, TO, expr) LOOP_HEAD(bin, name)                                            \
  if (s[0] == sizeof(TO) && s[1] == sizeof(T) && s[2] == sizeof(T)) {                         \
    TO *o = (TO *)p[0]; const T *a = (const T *)p[1], *b = (const T *)p[2];                   \
    VEC for (int64_t i = 0; i < n; i++) { T x = a[i], y = b[i]; o[i] = (TO)(expr); }          \
  } else if (s[0] == sizeof(TO) && s[1] == sizeof(T) && s[2] == 0) {                          \
    TO *o = (TO *)p[0]; const T *a = (const T *)p[1]; const T y = *(const T *)p[2];           \
    VEC for (int64_t i = 0; i < n; i++) { T x = a[i]; o[i] = (TO)(expr); }                    \
  } else if (s[0] == sizeof(TO) && s[1] == 0 && s[2] == sizeof(T)) {                          \
    TO *o = (TO *)p[0]; const T *b = (const T *)p[2]; const T x = *(const T *)p[1];           \
    VEC for (int64_t i = 0; i < n; i++) { T y = b[i]; o[i] = (TO)(expr); }                    \
  } else {                                                                                    \
    char *o = p[0]; const char *a = p[1], *b = p[2];                                          \
    for (int64_t i = 0; i < n; i++) {                                                         \
      T x = *(const T *)(a + i * s[1]), y = *(const T *)(b + i * s[2]);                       \
      *(TO *)(o + i * s[0]) = (TO)(expr);                                                     \
    }                                                                                         \
  } }
#define LOOP3(name, TO, expr)                                                              \
  LOOP_HEAD(ter, name)                                                                     \
  if (s[0] == sizeof(TO) && s[1] == sizeof(T) && s[2] == sizeof(T) && s[3] == sizeof(T)) { \
    TO *o = (TO *)p[0];                                                                    \
    const T *a = (const T *)p[1], *b = (const T *)p[2], *d = (const T *)p[3];              \
    VEC for (int64_t i = 0; i < n; i++) {                                                  \
      T x = a[i], y = b[i], z = d[i];                                                      \
      o[i] = (TO)(expr);                                                                   \
    }                                                                                      \
  } else if (s[0] == sizeof(TO) && s[1] == sizeof(T) && s[2] == sizeof(T) && s[3] == 0) {  \
    TO *o = (TO *)p[0];                                                                    \
    const T *a = (const T *)p[1], *b = (const T *)p[2];                                    \
    const T z = *(const T *)p[3];                                                          \
    VEC for (int64_t i = 0; i < n; i++) {                                                  \
      T x = a[i], y = b[i];                                                                \
      o[i] = (TO)(expr);                                                                   \
    }                                                                                      \
  } else if (s[0] == sizeof(TO) && s[1] == sizeof(T) && s[2] == 0 && s[3] == 0) {          \
    TO *o = (TO *)p[0];                                                                    \
    const T *a = (const T *)p[1];                                                          \
    const T y = *(const T *)p[2], z = *(const T *)p[3];                                    \
    VEC for (int64_t i = 0; i < n; i++) {                                                  \
      T x = a[i];                                                                          \
      o[i] = (TO)(expr);                                                                   \
    }                                                                                      \
  } else {                                                                                 \
    char *o = p[0];                                                                        \
    const char *a = p[1], *b = p[2], *d = p[3];                                            \
    for (int64_t i = 0; i < n; i++) {                                                      \
      T x = *(const T *)(a + i * s[1]), y = *(const T *)(b + i * s[2]),                    \
        z = *(const T *)(d + i * s[3]);                                                    \
      *(TO *)(o + i * s[0]) = (TO)(expr);                                                  \
    }                                                                                      \
  }                                                                                        \
  }

/* Sign-exact helpers on any integer or float type. */
#define MT_SGN(x) ((T)(((x) > 0) - ((x) < 0)))
#endif
