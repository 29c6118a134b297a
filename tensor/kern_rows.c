/* kern_rows.c: softmax and layer norm of one row (see kern_rows.h).
 *
 * Sums run in LANES parallel accumulators, which plain loops vectorise and which are more exact than one. */
#include "kern_rows.h"
#include "vmath.h"

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
enum { LANES = 32 };

#define ROWS(T, S, EXP, LOG, SQRT)                                                                             \
static T CAT(largest_, S)(int64_t n, const T *x) {                                                             \
  T acc[LANES], m = -INFINITY;                                                                                 \
  int64_t i = 0;                                                                                               \
  for (int l = 0; l < LANES; l++) acc[l] = -INFINITY;                                                          \
  for (; i + LANES <= n; i += LANES)                                                                           \
    for (int l = 0; l < LANES; l++) acc[l] = x[i + l] > acc[l] ? x[i + l] : acc[l];                            \
  for (int l = 0; l < LANES; l++) m = acc[l] > m ? acc[l] : m;                                                 \
  for (; i < n; i++) m = x[i] > m ? x[i] : m;                                                                  \
  return m;                                                                                                    \
}                                                                                                              \
static T CAT(total_, S)(int64_t n, const T *x) {                                                               \
  T acc[LANES] = {0}, s = 0;                                                                                   \
  int64_t i = 0;                                                                                               \
  for (; i + LANES <= n; i += LANES) for (int l = 0; l < LANES; l++) acc[l] += x[i + l];                       \
  for (; i < n; i++) s += x[i];                                                                                \
  for (int l = 0; l < LANES; l++) s += acc[l];                                                                 \
  return s;                                                                                                    \
}                                                                                                              \
static T CAT(spread_, S)(int64_t n, const T *x, T mean) {                                                      \
  T acc[LANES] = {0}, s = 0;                                                                                   \
  int64_t i = 0;                                                                                               \
  for (; i + LANES <= n; i += LANES)                                                                           \
    for (int l = 0; l < LANES; l++) { T d = x[i + l] - mean; acc[l] += d * d; }                                \
  for (; i < n; i++) { T d = x[i] - mean; s += d * d; }                                                        \
  for (int l = 0; l < LANES; l++) s += acc[l];                                                                 \
  return s;                                                                                                    \
}                                                                                                              \
static void CAT(softmax_, S)(int64_t n, const T *x, T *y, bool log_) {                                         \
  T m = CAT(largest_, S)(n, x), s = 0;                                                                         \
  if (log_) {                                                                                                  \
    T part[256];                                                                                               \
    for (int64_t i = 0; i < n; i += 256) {                                                                     \
      int64_t k = n - i < 256 ? n - i : 256;                                                                   \
      for (int64_t j = 0; j < k; j++) part[j] = EXP(x[i + j] - m);                                             \
      s += CAT(total_, S)(k, part);                                                                            \
    }                                                                                                          \
    s = m + LOG(s);                                                                                            \
    for (int64_t i = 0; i < n; i++) y[i] = x[i] - s;                                                           \
    return;                                                                                                    \
  }                                                                                                            \
  for (int64_t i = 0; i < n; i++) y[i] = EXP(x[i] - m);                                                        \
  s = 1 / CAT(total_, S)(n, y);                                                                                \
  for (int64_t i = 0; i < n; i++) y[i] *= s;                                                                   \
}                                                                                                              \
static void CAT(norm_, S)(int64_t n, const T *x, const T *w, const T *b, T *y, double eps, T *mean, T *rstd) { \
  T m = CAT(total_, S)(n, x) / (T)n;                                                                           \
  T r = 1 / SQRT(CAT(spread_, S)(n, x, m) / (T)n + (T)eps);                                                    \
  if (w && b) for (int64_t i = 0; i < n; i++) y[i] = (x[i] - m) * r * w[i] + b[i];                             \
  else if (w) for (int64_t i = 0; i < n; i++) y[i] = (x[i] - m) * r * w[i];                                    \
  else if (b) for (int64_t i = 0; i < n; i++) y[i] = (x[i] - m) * r + b[i];                                    \
  else for (int64_t i = 0; i < n; i++) y[i] = (x[i] - m) * r;                                                  \
  *mean = m;                                                                                                   \
  *rstd = r;                                                                                                   \
}
ROWS(float, f32, mt_expf, logf, sqrtf)
ROWS(double, f64, mt_exp, log, sqrt)

const MtRowKerns CAT(mt_row_kerns_, KLEVEL) = {softmax_f32, softmax_f64, norm_f32, norm_f64};
