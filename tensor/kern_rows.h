/* kern_rows.h: kernels over one contiguous row, built once per CPU level. */
#ifndef MT_KERN_ROWS_H
#define MT_KERN_ROWS_H
#include <stdbool.h>
#include <stdint.h>

typedef struct {
  void (*softmax_f32)(int64_t n, const float *x, float *y, bool log_);
  void (*softmax_f64)(int64_t n, const double *x, double *y, bool log_);
} MtRowKerns;
extern const MtRowKerns mt_row_kerns_base, mt_row_kerns_avx2, mt_row_kerns_avx512;
#endif
