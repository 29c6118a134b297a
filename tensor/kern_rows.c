/* kern_rows.c: softmax of one row (see kern_rows.h).
 *
 * Largest elements run in parallel accumulators, which plain loops vectorise; sums in a
 * vector's lanes over PART elements at a time, which is faster and more exact than one. */
#include "kern_rows.h"
#include "kern_exp.h"

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
enum { PART = 1024 };

/* The powers carry a common factor SCALE = 2^BIAS, so that rounding to subnormal numbers waits for
 * the division. */
#define ROWS(T, S, BIAS, SCALE, LOG)                                                           \
  static void CAT(softmax_, S)(int64_t n, const T *x, T *y, bool log_) {                       \
    T m = CAT(mt_largest_, S)(n, x, -INFINITY), s = 0, part[PART];                             \
    for (int64_t i = 0; i < n; i += PART)                                                      \
      s += CAT(mt_powers_, S)(n - i < PART ? n - i : PART, x + i, m, log_ ? part : y + i,      \
                              BIAS);                                                           \
    if (log_) {                                                                                \
      s = m + LOG(s / SCALE);                                                                  \
      for (int64_t i = 0; i < n; i++) y[i] = x[i] - s;                                         \
    } else {                                                                                   \
      s = 1 / s;                                                                               \
      for (int64_t i = 0; i < n; i++) y[i] *= s;                                               \
    }                                                                                          \
  }
ROWS(float, f32, 32, 0x1p32f, logf)
ROWS(double, f64, 0, 1, log)

/* Three walks over a strip of columns, each row of it a few vectors. */
enum { RUN = 64 };
#define COLS(T, S, EXP, SCALE, LOG)                                                            \
  static void CAT(cols_, S)(int64_t n, int64_t w, int64_t step, const T *x, T *y, bool log_) { \
    T m[MT_SOFTMAX_COLS], s[MT_SOFTMAX_COLS] = {0}, part[MT_SOFTMAX_COLS];                     \
    for (int64_t j = 0; j < w; j++) m[j] = -INFINITY;                                          \
    for (int64_t i = 0; i < n; i++)                                                            \
      for (int64_t j = 0; j < w; j++) m[j] = x[i * step + j] > m[j] ? x[i * step + j] : m[j];  \
    for (int64_t at = 0; at < n; at += RUN) {                                                  \
      int64_t end = n - at < RUN ? n : at + RUN;                                               \
      for (int64_t j = 0; j < w; j++) part[j] = 0;                                             \
      for (int64_t i = at; i < end; i++) {                                                     \
        const T *a = x + i * step;                                                             \
        T *restrict b = y + i * step;                                                          \
        if (log_) for (int64_t j = 0; j < w; j++) part[j] += EXP(a[j] - m[j]);                 \
        else for (int64_t j = 0; j < w; j++) part[j] += b[j] = EXP(a[j] - m[j]);               \
      }                                                                                        \
      for (int64_t j = 0; j < w; j++) s[j] += part[j];                                         \
    }                                                                                          \
    for (int64_t j = 0; j < w; j++) s[j] = log_ ? m[j] + LOG(s[j] / SCALE) : 1 / s[j];         \
    for (int64_t i = 0; i < n; i++) {                                                          \
      const T *a = x + i * step;                                                               \
      T *restrict b = y + i * step;                                                            \
      if (log_) for (int64_t j = 0; j < w; j++) b[j] = a[j] - s[j];                            \
      else for (int64_t j = 0; j < w; j++) b[j] *= s[j];                                       \
    }                                                                                          \
  }
#define EXPF(v) mt_exp_biasf_(v, 32)
COLS(float, f32, EXPF, 0x1p32f, logf)
COLS(double, f64, mt_exp, 1, log)

const MtRowKerns CAT(mt_row_kerns_, KLEVEL) = {softmax_f32, softmax_f64, cols_f32, cols_f64};
