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

const MtRowKerns CAT(mt_row_kerns_, KLEVEL) = {softmax_f32, softmax_f64};
