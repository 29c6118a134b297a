/* kern_rows.c: softmax of one row (see kern_rows.h).
 *
 * Sums run in LANES parallel accumulators, which plain loops vectorise and which are more exact
 * than one. */
#include "kern_rows.h"
#include "vmath.h"

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
enum { LANES = 32 };

#define ROWS(T, S, EXP, LOG)                                                          \
  static T CAT(largest_, S)(int64_t n, const T *x) {                                  \
    T acc[LANES], m = -INFINITY;                                                      \
    int64_t i = 0;                                                                    \
    for (int l = 0; l < LANES; l++) acc[l] = -INFINITY;                               \
    for (; i + LANES <= n; i += LANES)                                                \
      for (int l = 0; l < LANES; l++) acc[l] = x[i + l] > acc[l] ? x[i + l] : acc[l]; \
    for (int l = 0; l < LANES; l++) m = acc[l] > m ? acc[l] : m;                      \
    for (; i < n; i++) m = x[i] > m ? x[i] : m;                                       \
    return m;                                                                         \
  }                                                                                   \
  static T CAT(total_, S)(int64_t n, const T *x) {                                    \
    T acc[LANES] = {0}, s = 0;                                                        \
    int64_t i = 0;                                                                    \
    for (; i + LANES <= n; i += LANES)                                                \
      for (int l = 0; l < LANES; l++) acc[l] += x[i + l];                             \
    for (; i < n; i++) s += x[i];                                                     \
    for (int l = 0; l < LANES; l++) s += acc[l];                                      \
    return s;                                                                         \
  }                                                                                   \
  static void CAT(softmax_, S)(int64_t n, const T *x, T *y, bool log_) {              \
    T m = CAT(largest_, S)(n, x), s = 0;                                              \
    if (log_) {                                                                       \
      T part[256];                                                                    \
      for (int64_t i = 0; i < n; i += 256) {                                          \
        int64_t k = n - i < 256 ? n - i : 256;                                        \
        for (int64_t j = 0; j < k; j++) part[j] = EXP(x[i + j] - m);                  \
        s += CAT(total_, S)(k, part);                                                 \
      }                                                                               \
      s = m + LOG(s);                                                                 \
      for (int64_t i = 0; i < n; i++) y[i] = x[i] - s;                                \
      return;                                                                         \
    }                                                                                 \
    for (int64_t i = 0; i < n; i++) y[i] = EXP(x[i] - m);                             \
    s = 1 / CAT(total_, S)(n, y);                                                     \
    for (int64_t i = 0; i < n; i++) y[i] *= s;                                        \
  }
ROWS(float, f32, mt_expf, logf)
ROWS(double, f64, mt_exp, log)

const MtRowKerns CAT(mt_row_kerns_, KLEVEL) = {softmax_f32, softmax_f64};
