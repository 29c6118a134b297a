/* conv_core.h: convolutions of one to three dimensions on contiguous buffers.
 *
 * Invariants.  x is [n, cin, in...], w [cout, cin / groups, k...], y [n, cout, out...], all
 * row-major; fewer than three dimensions are padded in front with size 1, stride 1, padding 0.  out
 * is consistent with the rest; padding is what comes before, what is needed behind follows from
 * out.  The caller owns every buffer, has checked every size, and passes half types as float. */
#ifndef MT_CONV_CORE_H
#define MT_CONV_CORE_H
#include "gemm.h"

typedef struct {
  MtGemmType type;
  int64_t n, groups, cin, cout;
  int64_t in[3], out[3], k[3], stride[3], pad[3], dil[3];
} MtConv;

/* y = x (*) w + bias; bias may be NULL. */
MtGemmStatus mt_conv_forward(const MtConv *c, const void *x, const void *w, const void *bias,
                             void *y);
/* dx of the above for a given dy: also the forward pass of a transposed convolution. */
MtGemmStatus mt_conv_input(const MtConv *c, const void *dy, const void *w, void *dx);
/* dw of the above. */
MtGemmStatus mt_conv_weight(const MtConv *c, const void *x, const void *dy, void *dw);
#endif
