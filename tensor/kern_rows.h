/* kern_rows.h: softmax of one contiguous row, or of columns side by side, built once per CPU
 * level. */
#ifndef MT_KERN_ROWS_H
#define MT_KERN_ROWS_H
#include <stdbool.h>
#include <stdint.h>

enum { MT_SOFTMAX_COLS = 128 };
typedef struct {
  void (*softmax_f32)(int64_t n, const float *x, float *y, bool log_);
  void (*softmax_f64)(int64_t n, const double *x, double *y, bool log_);
  /* w <= MT_SOFTMAX_COLS columns of n elements, step apart */
  void (*cols_f32)(int64_t n, int64_t w, int64_t step, const float *x, float *y, bool log_);
  void (*cols_f64)(int64_t n, int64_t w, int64_t step, const double *x, double *y, bool log_);
} MtRowKerns;
extern const MtRowKerns mt_row_kerns_base, mt_row_kerns_avx2, mt_row_kerns_avx512;
#endif
