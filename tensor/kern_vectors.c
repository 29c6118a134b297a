/* kern_vectors.c: see kern_vectors.h.  Sums run in float lanes over 4096 elements at most, and in
 * double beyond. */
#include "kern_pow.h"
#include "kern_vectors.h"
#include "vmath.h"
#include <math.h>

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
enum { LANES = 32, BLOCK = 4096 };

/* Folds expr(d), d = x[j] - y[j], into lanes with `op`, then into s. */
#define FOLD(T, fold, expr)                                                               \
  for (int64_t at = 0; at < n; at += BLOCK) {                                             \
    int64_t end = n - at < BLOCK ? n : at + BLOCK, i = at;                                \
    T lane[LANES] = {0};                                                                  \
    for (; i + LANES <= end; i += LANES)                                                  \
      for (int l = 0; l < LANES; l++) {                                                   \
        T d = x[i + l] - y[i + l], a = lane[l];                                           \
        lane[l] = fold(a, expr);                                                          \
      }                                                                                   \
    for (; i < end; i++) { T d = x[i] - y[i]; s = fold(s, (double)(expr)); }              \
    for (int h = LANES / 2; h; h /= 2)                                                    \
      for (int l = 0; l < h; l++) lane[l] = fold(lane[l], lane[l + h]);                   \
    s = fold(s, (double)lane[0]);                                                         \
  }
#define PLUS(a, b) ((a) + (b))
#define LARGER(a, b) ((b) > (a) || (b) != (b) ? (b) : (a))

/* The sum of the n <= POWERS numbers >= 0 to the power p, which may be done in d. */
enum { POWERS = 256 };
static double powers_f64(int64_t n, double *d, double p) {
  double s = 0;
  if (p == 3) for (int64_t i = 0; i < n; i++) d[i] *= d[i] * d[i];
  else for (int64_t i = 0; i < n; i++) d[i] = pow(d[i], p);
  _Pragma("omp simd reduction(+ : s)") for (int64_t i = 0; i < n; i++) s += d[i];
  return s;
}
/* In float unless the largest power is too large or too small for it. */
static double powers_f32(int64_t n, float *d, double p) {
  double wide[POWERS], s = 0;
  float largest = 0;
  _Pragma("omp simd reduction(max : largest)") for (int64_t i = 0; i < n; i++)
    largest = d[i] > largest ? d[i] : largest;
  double size = fabs(p * log2((double)largest));
  if (p != 3 && p <= 8 && size < 60) {
    mt_vpow_small_(n, d, (float)p, 0, 0, d);
    _Pragma("omp simd reduction(+ : s)") for (int64_t i = 0; i < n; i++) s += (double)d[i];
    return s;
  }
  for (int64_t i = 0; i < n; i++) wide[i] = (double)d[i];
  return powers_f64(n, wide, p);
}

/* Sums of squares of differences run in a vector's lanes. */
#define VECTORS(T, S, ABS, FMA)                                                           \
static void CAT(euclid_, S)(int64_t n, const T *x, const T *const y[4], double out[4]) {  \
  double s[4] = {0};                                                                      \
  for (int64_t at = 0; at < n; at += BLOCK) {                                             \
    int64_t end = n - at < BLOCK ? n : at + BLOCK;                                        \
    const T *a = y[0], *b = y[1], *c = y[2], *d = y[3];                                   \
    T s0 = 0, s1 = 0, s2 = 0, s3 = 0;                                                     \
    _Pragma("omp simd reduction(+ : s0, s1, s2, s3)")                                     \
    for (int64_t i = at; i < end; i++) {                                                  \
      T d0 = x[i] - a[i], d1 = x[i] - b[i], d2 = x[i] - c[i], d3 = x[i] - d[i];           \
      s0 = FMA(d0, d0, s0); s1 = FMA(d1, d1, s1);                                         \
      s2 = FMA(d2, d2, s2); s3 = FMA(d3, d3, s3);                                         \
    }                                                                                     \
    s[0] += (double)s0; s[1] += (double)s1; s[2] += (double)s2; s[3] += (double)s3;       \
  }                                                                                       \
  for (int i = 0; i < 4; i++) out[i] = sqrt(s[i]);                                        \
}                                                                                         \
static void CAT(axpy_, S)(int64_t n, T a, const T *x, T *y) {                             \
  _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) y[i] += a * x[i];                  \
}                                                                                         \
static double CAT(apart_, S)(int64_t n, const T *x, const T *y, double p) {               \
  double s = 0;                                                                           \
  if (p == 1) { FOLD(T, PLUS, ABS(d)) return s; }                                         \
  if (p == 0) { FOLD(T, PLUS, d != d ? d : (T)(d != 0)) return s; }                         \
  if (isinf(p)) { FOLD(T, LARGER, ABS(d)) return s; }                                     \
  for (int64_t at = 0; at < n; at += POWERS) {                                            \
    T d[POWERS];                                                                          \
    int64_t m = n - at < POWERS ? n - at : POWERS;                                        \
    for (int64_t i = 0; i < m; i++) d[i] = ABS(x[at + i] - y[at + i]);                    \
    s += CAT(powers_, S)(m, d, p);                                                        \
  }                                                                                       \
  return pow(s, 1 / p);                                                                   \
}
VECTORS(float, f32, fabsf, MT_FMAF)
VECTORS(double, f64, fabs, MT_FMA)
const MtVectorKerns CAT(mt_vector_kerns_, KLEVEL) = {axpy_f32, euclid_f32, apart_f32,
                                                      axpy_f64, euclid_f64, apart_f64};
