/* kern_optim.h: one pass of each optimizer over contiguous memory, built once per CPU level.
 *
 * Invariant: a loop reads and writes n elements of every pointer: ptr[0] the parameter, ptr[1] the
 * gradient (read only), ptr[2..4] the state.  Every intermediate that PyTorch's step of single
 * tensor operations would store is rounded to the parameter's dtype, so that float16 and bfloat16
 * give PyTorch's numbers too. */
#ifndef MT_KERN_OPTIM_H
#define MT_KERN_OPTIM_H
#include <stdbool.h>
#include <stdint.h>

enum { MT_OPT_PTRS = 5, MT_OPT_SCALARS = 8 };
/* What scalars k[] mean stands at each loop in kern_optim.inc. */
typedef struct MtOptPar {
  double k[MT_OPT_SCALARS];
  double wd; /* added to the gradient, times the parameter (l2) */
  double decay; /* the parameter is first multiplied by this (shrink) */
  bool negate, l2, shrink, flag; /* negate: the gradient's sign turns; flag: the loop's own */
} MtOptPar;
typedef void (*MtOptLoop)(int64_t n, void *const *ptr, const MtOptPar *par);
enum {
  MT_OPT_SGD,
  MT_OPT_SGD_FIRST,
  MT_OPT_SGD_MOMENTUM,
  MT_OPT_ADAM,
  MT_OPT_AMSGRAD,
  MT_OPT_ADAMAX,
  MT_OPT_NADAM,
  MT_OPT_RADAM,
  MT_OPT_ADAGRAD,
  MT_OPT_ADADELTA,
  MT_OPT_RMSPROP,
  MT_OPT_RMSPROP_M,
  MT_OPT_RMSPROP_C,
  MT_OPT_RMSPROP_CM,
  MT_OPT_RPROP,
  MT_OPT_ASGD,
  MT_OPT_LOOPS
};
/* One row of a matrix, for Adafactor; sums are in double.  The update of element j is g /
 * sqrt(max(row * col[j] / mean, least)). */
typedef struct MtOptRow {
  double row, mean, least, decay, step;
} MtOptRow;
typedef struct MtOptRowKerns {
  double (*squares)(int64_t n, const void *x); /* sum of x * x */
  double (*row_col)(int64_t n, const void *g,
                    double *col); /* the same, and col[j] += g[j] * g[j] */
  double (*update_squares)(int64_t n, const void *g, const void *col, const MtOptRow *q);
  void (*apply)(int64_t n, void *p, const void *g, const void *col,
                const MtOptRow *q); /* p = p * decay + step * update */
} MtOptRowKerns;
typedef struct {
  MtOptLoop f[4][MT_OPT_LOOPS]; /* float32, float64, float16, bfloat16 */
  MtOptRowKerns rows[2]; /* float32, float64 */
} MtOptKerns;
extern const MtOptKerns mt_opt_kerns_base, mt_opt_kerns_avx2, mt_opt_kerns_avx512;
#endif
