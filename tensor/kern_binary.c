/* kern_binary.c: loops and table of the binary kernels; the lines are in binary.inc. */
#include "kern.h"
#include "kern_poly.h"
/* A polynomial: of one degree for all elements by poly_block, else as B_H. */
#define LOOP2N(name, expr, poly)                                                          \
  LOOP2H(name##_each, T, expr)                                                            \
  static void CAT(bin, name, CODE)(char **p, const int64_t *s, int64_t n, const void *par) { \
    double x[POLY_BLOCK], y[POLY_BLOCK];                                                  \
    if (s[2] || !n || !poly_takes(poly, (double)*(const T *)p[2])) {                      \
      CAT(bin, name##_each, CODE)(p, s, n, par);                                          \
      return;                                                                             \
    }                                                                                     \
    const int64_t degree = (int64_t)*(const T *)p[2];                                     \
    for (int64_t at = 0, m; at < n; at += m) {                                            \
      m = n - at < POLY_BLOCK ? n - at : POLY_BLOCK;                                      \
      for (int64_t i = 0; i < m; i++) x[i] = (double)*(const T *)(p[1] + (at + i) * s[1]); \
      poly_block(poly, degree, m, x, y);                                                  \
      for (int64_t i = 0; i < m; i++) *(T *)(p[0] + (at + i) * s[0]) = (T)y[i];           \
    }                                                                                     \
  }
#define KFILE "binary.inc"
#define B(name, expr) LOOP2(name, T, expr)
#define B_H(name, expr) LOOP2H(name, T, expr)
#define B_N(name, expr, poly) LOOP2N(name, expr, poly)
#define B_HB(name, expr) LOOP2H(name, uint8_t, expr)
#define B_B(name, expr) LOOP2(name, uint8_t, expr)
#define B_R(name, expr) LOOP2(name, TR, expr)
#define B_Q(name, expr) LOOP2Q(name, expr)
#include "kern_types.inc"
#undef B
#undef B_H
#undef B_N
#undef B_HB
#undef B_B
#undef B_R
#undef B_Q

#define B(name, expr) [B_##name][DTV] = CAT(bin, name, CODE),
#define B_H(name, expr) B(name, expr)
#define B_N(name, expr, poly) B(name, expr)
#define B_HB(name, expr) B(name, expr)
#define B_B(name, expr) B(name, expr)
#define B_R(name, expr) B(name, expr)
#define B_Q(name, expr) B(name, expr)
extern const Loop CAT(mt, bin, KLEVEL)[][MT_NDTYPES];
const Loop CAT(mt, bin, KLEVEL)[B_COUNT_ + 1][MT_NDTYPES] = {
#include "kern_types.inc"
};
