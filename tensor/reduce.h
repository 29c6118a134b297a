/* reduce.h: reductions over any set of dimensions.
 *
 * Invariant: kernels see rows or columns of contiguous elements of a type they have (int64,
 * float16, bfloat16, float32, float64, complex64, complex128); the driver casts and gathers into
 * cache-sized buffers.  Accumulators are wide (double, int64, complex double), partial results are
 * cut at places that follow from the shape, so the same input gives the same bits whatever the
 * number of threads. */
#ifndef MT_REDUCE_H
#define MT_REDUCE_H
#include "op.h"

typedef union { double d; int64_t i; } RVal;
/* Many accumulators of up to three numbers, each number of all of them in a plane: d the result or
 * its real part, e the imaginary part.  R_var: mean, squared deviations, count; R_lse: the sum is
 * e * exp(d); R_sumpow: sum, -, power. */
typedef struct { RVal *d, *e, *n; } RAcc;
typedef enum {
  R_sum,
  R_prod,
  R_max,
  R_min,
  R_any,
  R_all,
  R_nnz,
  R_sumnum, /* the sum of what is not nan */
  R_nums,   /* how many are not nan */
  R_absmax,
  R_absmin,
  R_sumsq,
  R_sumabs,
  R_sumcube,
  R_sumpow,
  R_var,
  R_lse,
  R_COUNT
} RedKind;
/* Both fold into accumulators that already hold something.
 * rows: n contiguous elements of each row, rows lying rs elements apart, row r into acc[r].
 * col: element j of all rows into acc[j], n <= MT_RED_COLS; NULL where there is only rows.
 * join: accumulator i of b into accumulator i * as of a. */
enum { MT_RED_COLS = 512 };
typedef struct RedLoops {
  void (*rows)(const void *x, int64_t rows, int64_t rs, int64_t n, RAcc acc);
  void (*col)(const void *x, int64_t n, int64_t rows, int64_t rs, RAcc acc);
  void (*join)(RAcc a, int64_t as, RAcc b, int64_t n);
} RedLoops;
enum { RD_i64, RD_bf16, RD_f16, RD_f32, RD_f64, RD_c64, RD_c128, RD_COUNT };

/* Folds x over the dims in mask; the result has x's shape without them (or with size 1, keepdim)
 * and dtype out. */
Tensor *mt_reduce(Ctx *c, RedKind k, Tensor *x, uint64_t mask, bool keepdim, DType out);
/* The same with real results made of the accumulators: d / par, its root, its 1/par-th power, the
 * variance with correction par, the logarithm of R_lse; par is also the power of R_sumpow. */
typedef enum { RE_none, RE_mean, RE_root, RE_power, RE_var, RE_lse, RE_COUNT } RedEnd;
typedef void (*RedEndFn)(RAcc a, int64_t n, double par); /* into plane d */
Tensor *mt_reduce_as(Ctx *c, RedKind k, Tensor *x, uint64_t mask, bool keepdim, DType out,
                     double par, RedEnd end);
/* Shape of a reduction's result. */
int mt_reduced_shape(const Tensor *x, uint64_t mask, bool keepdim, int64_t *shape);
/* Calls f for each slice of x along the last of its dims after those in mask were moved there and
 * gathered (contiguous, cast to d): row holds n elements; i is the output's linear index.  For
 * reductions without a fold. */
typedef void (*RowFn)(void *ctx, void *row, int64_t n, int64_t i);
bool mt_each_row(Ctx *c, Tensor *x, uint64_t mask, DType d, RowFn f, void *ctx);
#endif
