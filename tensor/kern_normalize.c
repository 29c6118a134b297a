/* kern_normalize.c: see kern_normalize.h. */
#include "kern_normalize.h"

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
#define VEC _Pragma("GCC ivdep")
enum { LANES = 32, BLOCK = 4096 };

/* Adds expr(i) over the run: lanes within a block, double over blocks and over the rest. */
#define SUM(T, out, expr)                                                                     \
  for (int64_t at_ = 0; at_ < n; at_ += BLOCK) {                                              \
    int64_t end_ = n - at_ < BLOCK ? n : at_ + BLOCK, i = at_;                                \
    T acc_[LANES] = {0};                                                                      \
    double s_ = 0;                                                                            \
    for (; i + LANES <= end_; i += LANES)                                                     \
      for (int l = 0; l < LANES; l++) { const int64_t j = i + l; acc_[l] += (expr); }         \
    for (; i < end_; i++) { const int64_t j = i; s_ += (double)(expr); }                      \
    for (int h = LANES / 2; h; h /= 2) for (int l = 0; l < h; l++) acc_[l] += acc_[l + h];    \
    s_ += (double)acc_[0];                                                                    \
    (out) += s_;                                                                              \
  }

#define NORMS(T, S)                                                                              \
  static double CAT(total_, S)(int64_t n, const T *x) {                                          \
    double s = 0;                                                                                \
    SUM(T, s, x[j])                                                                              \
    return s;                                                                                    \
  }                                                                                              \
  static double CAT(spread_, S)(int64_t n, const T *x, T m) {                                    \
    double s = 0;                                                                                \
    SUM(T, s, (x[j] - m) * (x[j] - m))                                                           \
    return s;                                                                                    \
  }                                                                                              \
  static void CAT(dots_, S)(int64_t n, const T *dy, const T *w, const T *x, T m, double *s) {    \
    if (w) {                                                                                     \
      SUM(T, s[0], dy[j] * w[j])                                                                 \
      SUM(T, s[1], dy[j] * w[j] * (x[j] - m))                                                    \
    } else {                                                                                     \
      SUM(T, s[0], dy[j])                                                                        \
      SUM(T, s[1], dy[j] * (x[j] - m))                                                           \
    }                                                                                            \
  }                                                                                              \
  static void CAT(scale_, S)(int64_t n, const T *x, T *y, T m, T a, T b) {                       \
    VEC for (int64_t i = 0; i < n; i++) y[i] = (x[i] - m) * a + b;                               \
  }                                                                                              \
  static void CAT(scale_by_, S)(int64_t n, const T *x, T *y, T m, T r, const T *w, const T *b) { \
    if (w && b) {                                                                                \
      VEC for (int64_t i = 0; i < n; i++) y[i] = (x[i] - m) * r * w[i] + b[i];                   \
    } else if (w) {                                                                              \
      VEC for (int64_t i = 0; i < n; i++) y[i] = (x[i] - m) * r * w[i];                          \
    } else if (b) {                                                                              \
      VEC for (int64_t i = 0; i < n; i++) y[i] = (x[i] - m) * r + b[i];                          \
    } else {                                                                                     \
      VEC for (int64_t i = 0; i < n; i++) y[i] = (x[i] - m) * r;                                 \
    }                                                                                            \
  }                                                                                              \
  static void CAT(channel_, S)(int64_t n, const T *dy, const T *x, T *dx, T m, T g, T k, T a,    \
                               T w) {                                                            \
    VEC for (int64_t i = 0; i < n; i++) dx[i] = (dy[i] - g - (x[i] - m) * k) * a * w;            \
  }                                                                                              \
  static void CAT(row_, S)(int64_t n, const T *dy, const T *w, const T *x, T *dx, T m, T a, T b, \
                           T c) {                                                                \
    if (w) {                                                                                     \
      VEC for (int64_t i = 0; i < n; i++) dx[i] = a * dy[i] * w[i] + (x[i] - m) * b + c;         \
    } else {                                                                                     \
      VEC for (int64_t i = 0; i < n; i++) dx[i] = a * dy[i] + (x[i] - m) * b + c;                \
    }                                                                                            \
  }                                                                                              \
  static void CAT(gather_, S)(int64_t n, const T *dy, const T *x, T m, T r, T *gw, T *gb) {      \
    if (gw && gb) {                                                                              \
      VEC for (int64_t i = 0; i < n; i++) {                                                      \
        gw[i] += dy[i] * (x[i] - m) * r;                                                         \
        gb[i] += dy[i];                                                                          \
      }                                                                                          \
    } else if (gw) {                                                                             \
      VEC for (int64_t i = 0; i < n; i++) gw[i] += dy[i] * (x[i] - m) * r;                       \
    } else if (gb) {                                                                             \
      VEC for (int64_t i = 0; i < n; i++) gb[i] += dy[i];                                        \
    }                                                                                            \
  }
NORMS(float, f32)
NORMS(double, f64)

#define ROW(S) CAT(total_, S), CAT(spread_, S), CAT(dots_, S), CAT(scale_, S), CAT(scale_by_, S), \
               CAT(channel_, S), CAT(row_, S), CAT(gather_, S)
const MtNormKerns CAT(mt_norm_kerns_, KLEVEL) = {ROW(f32), ROW(f64)};
