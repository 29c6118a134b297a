/* resample.h: the tables of a linear map along one dimension, for pooling means and interpolation.
 *
 * Invariant.  A Map lists, for each output, the inputs it takes and their weights, as doubles;
 * places lie inside the input.  `by` is NULL or what each output's sum is divided by in the end.
 * All memory is the context's scratch memory. */
#ifndef MT_RESAMPLE_H
#define MT_RESAMPLE_H
#include "moth.h"

typedef struct { int64_t in, out; int32_t *first, *idx; double *w, *by; } Map;

/* Table for dimension i of n: kind, args and scales as in _resample's row; wide: weights are
 * computed in double. */
bool mt_resample_map(Ctx *c, Map *m, const char *kind, int64_t in, int64_t out, int i, int n,
                     IntList args, ScalarList scales, bool wide);
/* Where element i of a dimension of n padded by a and b (negative: cropped) comes from; mode:
 * reflect, replicate, circular. */
int64_t mt_pad_source(const char *mode, int64_t i, int64_t n, int64_t a, int64_t b);
/* The map of the gradient. */
bool mt_resample_turn(Ctx *c, const Map *m, Map *t);
#endif
