/* gather.h: what gather.c offers to the other files of indexing. */
#ifndef MT_GATHER_H
#define MT_GATHER_H
#include "moth.h"

/* Indices (contiguous int64) of dimension dim, of size n: those below 0 count from the end. */
Tensor *mt_from_end(Ctx *c, Tensor *ix, int dim, int64_t n);
/* out <- the slices ix (contiguous int64) of the middle dimension of x, outer x n x inner, all
 * contiguous; dim is for the message. */
bool mt_take_slices(Ctx *c, const Tensor *x, int64_t outer, int64_t n, int64_t inner,
                    const Tensor *ix, int dim, Tensor *out);
#endif
