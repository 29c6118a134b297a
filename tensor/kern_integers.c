/* kern_integers.c: products of integer matrices, built once per CPU level (see gemm_kern.h).
 *
 * They wrap as in two's complement: U, the unsigned type of the same width, does so without
 * undefined behaviour; 1u * x keeps narrow types out of signed promotion. */
#include "base.h"
#include "gemm_kern.h"

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
enum { BLOCK = MT_INT_BLOCK };

#define INT_UNIT(U, name)                                                                          \
  /* acc += row p of A's row x times B, where B's rows are contiguous; four at a time. */          \
  static void name##_row(const MtGemm *g, const U *x, const U *b, int64_t n, U *restrict acc) {    \
    int64_t p = 0;                                                                                 \
    for (; p + 4 <= g->k; p += 4, b += 4 * g->brs) {                                               \
      U x0 = x[p * g->acs], x1 = x[(p + 1) * g->acs], x2 = x[(p + 2) * g->acs],                    \
        x3 = x[(p + 3) * g->acs];                                                                  \
      const U *b1 = b + g->brs, *b2 = b1 + g->brs, *b3 = b2 + g->brs;                              \
      for (int64_t j = 0; j < n; j++)                                                              \
        acc[j] = (U)(acc[j] + 1u * x0 * b[j] + 1u * x1 * b1[j] + 1u * x2 * b2[j] +                 \
                     1u * x3 * b3[j]);                                                             \
    }                                                                                              \
    for (; p < g->k; p++, b += g->brs) {                                                           \
      U x0 = x[p * g->acs];                                                                        \
      for (int64_t j = 0; j < n; j++) acc[j] = (U)(acc[j] + 1u * x0 * b[j]);                       \
    }                                                                                              \
  }                                                                                                \
  static void name(const MtGemm *g, const char *pa, const char *pb, char *pc, int64_t i0,          \
                   int64_t i1, int64_t j0, int64_t j1) {                                           \
    const U *a = (const U *)(const void *)pa, *b = (const U *)(const void *)pb;                    \
    U alpha = (U)g->alpha_int, beta = (U)g->beta_int;                                              \
    for (int64_t i = i0; i < i1 && !mt_interrupted; i++) {                                         \
      U acc[BLOCK] = {0};                                                                          \
      int64_t n = j1 - j0;                                                                         \
      const U *x = a + i * g->ars;                                                                 \
      if (g->bcs == 1) name##_row(g, x, b + j0, n, acc);                                           \
      else                                                                                         \
        for (int64_t j = 0; j < n; j++) {                                                          \
          const U *y = b + (j0 + j) * g->bcs;                                                      \
          U s = 0;                                                                                 \
          if (g->acs == 1 && g->brs == 1)                                                          \
            for (int64_t p = 0; p < g->k; p++) s = (U)(s + 1u * x[p] * y[p]);                      \
          else                                                                                     \
            for (int64_t p = 0; p < g->k; p++) s = (U)(s + 1u * x[p * g->acs] * y[p * g->brs]);    \
          acc[j] = s;                                                                              \
        }                                                                                          \
      for (int64_t j = 0; j < n; j++) {                                                            \
        U *d = (U *)(void *)pc + i * g->crs + (j0 + j) * g->ccs;                                   \
        U v = (U)(1u * alpha * acc[j] + (g->bias ? ((const U *)g->bias)[j0 + j] : (U)0));          \
        *d = beta ? (U)(v + 1u * beta * *d) : v;                                                   \
      }                                                                                            \
    }                                                                                              \
  }
INT_UNIT(uint8_t, unit_8)
INT_UNIT(uint16_t, unit_16)
INT_UNIT(uint32_t, unit_32)
INT_UNIT(uint64_t, unit_64)

const MtIntUnit CAT(mt_int_units_, KLEVEL)[4] = {unit_8, unit_16, unit_32, unit_64};
