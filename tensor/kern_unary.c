/* kern_unary.c: loops and table of the unary kernels; the lines are in unary.inc. */
#include "kern.h"
#include "kern_pow.h"
#include "kern_special.h"
#define KFILE "unary.inc"
#define U(name, expr) LOOP1(name, T, expr)
#define U_H(name, expr) LOOP1H(name, T, expr)
#define U_B(name, expr) LOOP1(name, uint8_t, expr)
#define U_R(name, expr) LOOP1(name, TR, expr)
#define U_V(name, fn) LOOP1V(name, fn)
#include "kern_types.inc"
#undef U
#undef U_H
#undef U_B
#undef U_R
#undef U_V

/* A sign is one bit of a half number as it lies. */
#define HALF_LOOP(name, expr)                                                             \
  static void un_##name##_half(char **p, const int64_t *s, int64_t n, const void *par) {  \
    (void)par;                                                                            \
    if (s[0] == 2 && s[1] == 2) {                                                         \
      uint16_t *o = (uint16_t *)p[0];                                                     \
      const uint16_t *a = (const uint16_t *)p[1];                                         \
      VEC for (int64_t i = 0; i < n; i++) { uint16_t x = a[i]; o[i] = (uint16_t)(expr); } \
    } else                                                                                \
      for (int64_t i = 0; i < n; i++) {                                                   \
        uint16_t x = *(const uint16_t *)(p[1] + i * s[1]);                                \
        *(uint16_t *)(p[0] + i * s[0]) = (uint16_t)(expr);                                \
      }                                                                                   \
  }
HALF_LOOP(neg, x ^ 0x8000)
HALF_LOOP(abs, x & 0x7fff)

#define U(name, expr) [U_##name][DTV] = CAT(un, name, CODE),
#define U_H(name, expr) U(name, expr)
#define U_B(name, expr) U(name, expr)
#define U_R(name, expr) U(name, expr)
#define U_V(name, fn) U(name, fn)
extern const Loop CAT(mt, un, KLEVEL)[][MT_NDTYPES];
const Loop CAT(mt, un, KLEVEL)[U_COUNT_ + 1][MT_NDTYPES] = {
#include "kern_types.inc"
    [U_neg][MT_float16] = un_neg_half, [U_neg][MT_bfloat16] = un_neg_half,
    [U_abs][MT_float16] = un_abs_half, [U_abs][MT_bfloat16] = un_abs_half,
};
