/* kern_optim.c: the loops of the optimizers for each dtype (see kern_optim.h; the lines are in
 * kern_optim.inc).
 *
 * Products that PyTorch's kernels fuse with a sum (add's alpha, lerp) are fused here where the CPU
 * level can. */
#include "kern_optim.h"
#include "half.h"
#include <math.h>
#include <stddef.h>

#define CAT_(a, b) a##_##b
#define CAT(a, b) CAT_(a, b)
#define TABLE_(a, b) a##b
#define TABLE(a, b) TABLE_(a, b)
#ifdef __FMA__
#define FUSED_F(a, b, c) __builtin_fmaf(a, b, c)
#define FUSED_D(a, b, c) __builtin_fma(a, b, c)
#else
#define FUSED_F(a, b, c) ((a) * (b) + (c))
#define FUSED_D(a, b, c) ((a) * (b) + (c))
#endif

/* Each loop is there with and without its conditions (RUN), so the compiler need not split them
 * further; the emulated half precision of the base level is not worth that room. */
#ifdef __AVX2__
#define PLAIN_HALF false
#else
#define PLAIN_HALF true
#endif
#ifndef __clang__
#pragma GCC optimize("no-unswitch-loops")
#endif

#define CODE f32
#define T float
#define C float
#define LD(x) (x)
#define ST(x) (x)
#define R(x) (x)
#define SQRT sqrtf
#define ABS fabsf
#define FUSED FUSED_F
#define PLAIN false
#include "kern_optim.inc"

#define CODE f64
#define T double
#define C double
#define LD(x) (x)
#define ST(x) (x)
#define R(x) (x)
#define SQRT sqrt
#define ABS fabs
#define FUSED FUSED_D
#define PLAIN false
#include "kern_optim.inc"

#define CODE f16
#define T uint16_t
#define C float
#define LD(x) mt_half_to_float(x)
#define ST(x) mt_float_to_half(x)
#define R(x) mt_half_to_float(mt_float_to_half(x))
#define SQRT sqrtf
#define ABS fabsf
#define FUSED FUSED_F
#define PLAIN PLAIN_HALF
#include "kern_optim.inc"

#define CODE bf16
#define T uint16_t
#define C float
#define LD(x) mt_bf16_to_float(x)
#define ST(x) mt_float_to_bf16(x)
#define R(x) mt_bf16_to_float(mt_float_to_bf16(x))
#define SQRT sqrtf
#define ABS fabsf
#define FUSED FUSED_F
#define PLAIN PLAIN_HALF
#include "kern_optim.inc"

/* ---- Adafactor's rows ---- */
enum { LANES = 16 };
#define ROWS(S, C, SQRT, FUSED)                                                                \
static double squares_##S(int64_t n, const void *x_) {                                         \
  const C *x = x_;                                                                             \
  double acc[LANES] = {0}, s = 0;                                                              \
  int64_t i = 0;                                                                               \
  for (; i + LANES <= n; i += LANES)                                                           \
    for (int l = 0; l < LANES; l++) { double d = (double)x[i + l]; acc[l] += d * d; }          \
  for (; i < n; i++) { double d = (double)x[i]; s += d * d; }                                  \
  for (int l = 0; l < LANES; l++) s += acc[l];                                                 \
  return s;                                                                                    \
}                                                                                              \
static double row_col_##S(int64_t n, const void *g_, double *restrict col) {                   \
  const C *restrict g = g_;                                                                    \
  for (int64_t i = 0; i < n; i++) { double d = (double)g[i]; col[i] += d * d; }                \
  return squares_##S(n, g);                                                                    \
}                                                                                              \
static double update_squares_##S(int64_t n, const void *g_, const void *col_, const MtOptRow *q) { \
  const C *restrict g = g_, *restrict col = col_;                                              \
  const C row = (C)q->row, mean = (C)q->mean, least = (C)q->least;                             \
  C u[512];                                                                                    \
  double s = 0;                                                                                \
  for (int64_t i = 0; i < n; i += 512) {                                                       \
    int64_t k = n - i < 512 ? n - i : 512;                                                     \
    for (int64_t j = 0; j < k; j++) {                                                          \
      C v = row * col[i + j] / mean;                                                           \
      v = v < least ? least : v;                                                               \
      u[j] = 1 / SQRT(v) * g[i + j];                                                           \
    }                                                                                          \
    s += squares_##S(k, u);                                                                    \
  }                                                                                            \
  return s;                                                                                    \
}                                                                                              \
static void apply_##S(int64_t n, void *p_, const void *g_, const void *col_, const MtOptRow *q) { \
  C *restrict p = p_;                                                                          \
  const C *restrict g = g_, *restrict col = col_;                                              \
  const C row = (C)q->row, mean = (C)q->mean, least = (C)q->least;                             \
  const C decay = (C)q->decay, step = (C)q->step;                                              \
  for (int64_t i = 0; i < n; i++) {                                                            \
    C v = row * col[i] / mean;                                                                 \
    v = v < least ? least : v;                                                                 \
    p[i] = FUSED(1 / SQRT(v) * g[i], step, p[i] * decay);                                      \
  }                                                                                            \
}
ROWS(f32, float, sqrtf, FUSED_F)
ROWS(f64, double, sqrt, FUSED_D)
#define ROW_KERNS(S) {squares_##S, row_col_##S, update_squares_##S, apply_##S}

#define ROW(c) {sgd_##c, sgd_first_##c, sgd_momentum_##c, adam_##c, amsgrad_##c, adamax_##c,  \
  nadam_##c, radam_##c, adagrad_##c, adadelta_##c, rmsprop_##c, rmsprop_m_##c, rmsprop_c_##c,      \
  rmsprop_cm_##c, rprop_##c, asgd_##c}
const MtOptKerns TABLE(mt_opt_kerns_, KLEVEL) = {{ROW(f32), ROW(f64), ROW(f16), ROW(bf16)},
                                             {ROW_KERNS(f32), ROW_KERNS(f64)}};
