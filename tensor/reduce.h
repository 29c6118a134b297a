/* reduce.h: reductions over any set of dimensions.
 *
 * Invariant: block kernels see contiguous elements of a compute dtype (int64, float32, float64,
 * complex64, complex128); the driver casts and gathers into cache-sized buffers.  Accumulators are
 * wide (double, int64, complex double), partial results are cut at fixed places, so the same input
 * gives the same bits whatever the number of threads. */
#ifndef MT_REDUCE_H
#define MT_REDUCE_H
#include "op.h"

typedef union RAcc { double d; int64_t i; struct { double re, im; } z; } RAcc;
typedef enum {
  R_sum,
  R_prod,
  R_max,
  R_min,
  R_any,
  R_all,
  R_absmax,
  R_absmin,
  R_sumsq,
  R_sumabs,
  R_nnz,
  R_COUNT
} RedKind;
/* block: folds n elements into *acc; col: folds element j into acc[j]; both in the compute dtype.
 */
typedef struct RedLoops {
  void (*block)(const void *x, int64_t n, RAcc *acc);
  void (*col)(const void *x, int64_t n, int64_t rows, int64_t row_stride, RAcc *acc);
} RedLoops;
enum { RD_i64, RD_f32, RD_f64, RD_c64, RD_c128, RD_COUNT };

/* Folds x over the dims in mask; the result has x's shape without them (or with size 1, keepdim)
 * and dtype out. */
Tensor *mt_reduce(Ctx *c, RedKind k, Tensor *x, uint64_t mask, bool keepdim, DType out);
/* Shape of a reduction's result. */
int mt_reduced_shape(const Tensor *x, uint64_t mask, bool keepdim, int64_t *shape);
/* Calls f for each slice of x along the last of its dims after those in mask were moved there and
 * gathered (contiguous, cast to d): row holds n elements; i is the output's linear index.  For
 * reductions without a fold (median, sort-like). */
typedef void (*RowFn)(void *ctx, void *row, int64_t n, int64_t i);
bool mt_each_row(Ctx *c, Tensor *x, uint64_t mask, DType d, RowFn f, void *ctx);
#endif
