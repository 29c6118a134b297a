/* kern.h: how a line of unary.inc, binary.inc or ternary.inc becomes loops.
 *
 * A line is KIND(name, expression of x, y, z and the op's scalars K0, K1, K2): U, B or T3 by arity;
 * _B: the loop stores a bool; _R: it stores the real part's type; U_V(name, fn, expression): fn
 * does a whole array (sin, whose large arguments are looked for block by block); B_Q: the
 * expression has a quick form and says by `quick, bad` whether it may be used.  Sections of the
 * file (#if KF floats, KI integers, KC complex, KB bool) say for which dtypes.  kern_types.inc
 * reads the file once per dtype, first to make the loops, then to fill the table, and the Makefile
 * builds the whole once per CPU level (KLEVEL).  T is the element type, M(exp) its version of a
 * function of vmath.h, special.h or (cexp) cmath.h, DTV the dtype. */
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
/* For functions that look at whole blocks (sin of large arguments): fn(n, in, out) where memory is
 * contiguous. */
#define LOOP1V(name, fn, expr)                                                   \
  LOOP_HEAD(un, name)                                                            \
  if (s[0] == sizeof(T) && s[1] == sizeof(T)) fn(n, (const T *)p[1], (T *)p[0]); \
  else {                                                                         \
    char *o = p[0];                                                              \
    const char *a = p[1];                                                        \
    for (int64_t i = 0; i < n; i++) {                                            \
      T x = *(const T *)(a + i * s[1]);                                          \
      *(T *)(o + i * s[0]) = (T)(expr);                                          \
    }                                                                            \
  }                                                                              \
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
/* For lines with a quick form (see mt_quick_mod): blocks are tried quick, and done again where that
 * would be wrong.  xs, ys: 1 or 0 elements from one x, y to the next. */
#define LOOP2Q_BLOCK(name, expr)                                                           \
  static inline __attribute__((always_inline)) void CAT(binq, name, CODE)(                 \
      int64_t n, const T *a, int xs, const T *b, int ys, T *o) {                           \
    T out[256];                                                                            \
    for (int64_t at = 0; at < n; at += 256, o += 256, a += 256 * xs, b += 256 * ys) {      \
      int64_t m = n - at < 256 ? n - at : 256, bad_ = 0, *bad = &bad_;                     \
      {                                                                                    \
        const bool quick = true;                                                           \
        VEC for (int64_t i = 0; i < m; i++) {                                              \
          T x = a[i * xs], y = b[i * ys];                                                  \
          out[i] = (T)(expr);                                                              \
        }                                                                                  \
      }                                                                                    \
      const bool quick = false;                                                            \
      for (int64_t i = 0; i < m && *bad; i++) {                                            \
        T x = a[i * xs], y = b[i * ys];                                                    \
        out[i] = (T)(expr);                                                                \
      }                                                                                    \
      __builtin_memcpy(o, out, sizeof(T) * (size_t)m);                                     \
    }                                                                                      \
  }
#define LOOP2Q(name, expr)                                                                 \
  LOOP2Q_BLOCK(name, expr)                                                                 \
  LOOP_HEAD(bin, name)                                                                     \
  const int64_t w = sizeof(T);                                                             \
  const T *a = (const T *)p[1], *b = (const T *)p[2];                                      \
  if (s[0] == w && s[1] == w && s[2] == w)                                                 \
    CAT(binq, name, CODE)(n, a, 1, b, 1, (T *)p[0]);                                       \
  else if (s[0] == w && s[1] == w && s[2] == 0)                                            \
    CAT(binq, name, CODE)(n, a, 1, b, 0, (T *)p[0]);                                       \
  else if (s[0] == w && s[1] == 0 && s[2] == w)                                            \
    CAT(binq, name, CODE)(n, a, 0, b, 1, (T *)p[0]);                                       \
  else {                                                                                   \
    int64_t *bad = NULL;                                                                   \
    const bool quick = false;                                                              \
    for (int64_t i = 0; i < n; i++) {                                                      \
      T x = *(const T *)(p[1] + i * s[1]), y = *(const T *)(p[2] + i * s[2]);              \
      *(T *)(p[0] + i * s[0]) = (T)(expr);                                                 \
    }                                                                                      \
  }                                                                                        \
  }
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
