/* windows.h: the argument checks that pooling and unpooling share.
 *
 * Invariant.  Spatial arguments stand right-aligned in arrays of three (unused leading dimensions:
 * size, kernel, stride and dilation 1, padding 0) and are below 2^31, so that products of two of
 * them do not overflow. */
#ifndef MT_WINDOWS_H
#define MT_WINDOWS_H
#include "kern_planes.h"
#include "moth.h"

/* n numbers out of a list of 1 or n, each at least `least`, to the end of out[3]. */
bool mt_spread(Ctx *c, IntList l, int n, const char *what, int64_t least, int64_t *out);
/* x has n spatial dimensions behind channels and perhaps a batch, and none but the batch is empty.
 */
bool mt_check_planes(Ctx *c, const Tensor *x, int n);
/* Everything about a pool's windows over the last n dimensions of x. */
bool mt_windows(Ctx *c, MtWindows *w, const Tensor *x, int n, IntList k, IntList s, IntList p,
                IntList d, bool ceil_);
/* The output sizes of an adaptive pool, None meaning the input's. */
bool mt_adaptive_size(Ctx *c, const Tensor *x, IntList size, int n, int64_t *out);
static inline IntList mt_last(const int64_t *v, int n) { return mt_il(v + 3 - n, n); }
/* The shape of x with its last n sizes replaced, in size[MT_MAXDIM]. */
IntList mt_resized(const Tensor *x, int n, const int64_t *last, int64_t *size);
/* The plane kernels' type for dtype d. */
static inline MtPlaneType mt_plane_type(int d) {
  return mt_is_int(d) ? MT_PLANE_I64 : d == MT_float64 ? MT_PLANE_F64 : MT_PLANE_F32;
}
static inline DType mt_plane_dtype(MtPlaneType t) {
  return t == MT_PLANE_I64 ? MT_int64 : t == MT_PLANE_F64 ? MT_float64 : MT_float32;
}
#endif
