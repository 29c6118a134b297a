/* kern_normalize.h: sums and maps over one contiguous run of the normalisations, built once per CPU
 * level.
 *
 * Sums run in float lanes of at most 4096 elements each and in double beyond; a run of one element
 * is exact.  The maps keep PyTorch's order of rounding, which shows where everything cancels. */
#ifndef MT_KERN_NORMALIZE_H
#define MT_KERN_NORMALIZE_H
#include <stdint.h>

#define MT_NORM_KERNS(T, S)                                                                   \
  double (*total_##S)(int64_t n, const T *x);                                                 \
  double (*spread_##S)(int64_t n, const T *x, T m); /* sum (x - m)^2 */                       \
  /* s[0] += sum dy w, s[1] += sum dy w (x - m); w may be NULL */                             \
  void (*dots_##S)(int64_t n, const T *dy, const T *w, const T *x, T m, double *s);           \
  void (*scale_##S)(int64_t n, const T *x, T *y, T m, T a, T b); /* (x - m) a + b */          \
  /* (x - m) r w + b; w and b may be NULL */                                                  \
  void (*scale_by_##S)(int64_t n, const T *x, T *y, T m, T r, const T *w, const T *b);        \
  /* (dy - g - (x - m) k) a w */                                                              \
  void (*channel_##S)(int64_t n, const T *dy, const T *x, T *dx, T m, T g, T k, T a, T w);    \
  /* (a dy) w + (x - m) b + c; w may be NULL */                                               \
  void (*row_##S)(int64_t n, const T *dy, const T *w, const T *x, T *dx, T m, T a, T b, T c); \
  /* gw += dy (x - m) r, gb += dy; either may be NULL */                                      \
  void (*gather_##S)(int64_t n, const T *dy, const T *x, T m, T r, T *gw, T *gb);
typedef struct {
  MT_NORM_KERNS(float, f32)
  MT_NORM_KERNS(double, f64)
} MtNormKerns;
extern const MtNormKerns mt_norm_kerns_base, mt_norm_kerns_avx2, mt_norm_kerns_avx512;
#endif
