/* conv_impl.h: what the files of the convolution share among themselves.
 *
 * Invariant: whole-vector reads may touch MT_CONV_SLACK elements past the end of a padded image. */
#ifndef MT_CONV_IMPL_H
#define MT_CONV_IMPL_H
#include "conv_core.h"

enum {
  MT_CONV_SLACK = 64,
  MT_CONV_BLOCK = 448,                         /* positions that make a good block of a product */
  MT_CONV_FIT = 256 << 10                      /* elements of small images that go together */
};
extern const uint8_t mt_conv_sizes[MT_GEMM_TYPES]; /* bytes of an element */

static inline int64_t mt_conv_prod(const int64_t d[3]) { return d[0] * d[1] * d[2]; }
static inline int64_t mt_conv_klen(const MtConv *c) {
  return c->cin / c->groups * mt_conv_prod(c->k);
}

/* An image with its padding, float or double; rows are split by the stride's phase. */
typedef struct {
  int64_t size[3];                     /* planes and rows; size[2] is the length of one phase */
  int64_t phases, row, plane, channel; /* elements of a row (all phases), a plane, a channel */
} MtPadded;

MtPadded mt_conv_padded(const MtConv *c);
void mt_conv_pad(const MtConv *c, const MtPadded *p, const char *x, char *dst); /* one channel */

/* Offset of kernel tap t inside a channel, and of output row r: their sum plus the column is the
 * element. */
static inline int64_t mt_conv_tap(const MtConv *c, const MtPadded *p, int64_t t) {
  int64_t z = t / (c->k[1] * c->k[2]), y = t / c->k[2] % c->k[1], x = t % c->k[2] * c->dil[2];
  return z * c->dil[0] * p->plane + y * c->dil[1] * p->row + x % p->phases * p->size[2] +
         x / p->phases;
}
static inline int64_t mt_conv_row(const MtConv *c, const MtPadded *p, int64_t r) {
  return r / c->out[1] * c->stride[0] * p->plane + r % c->out[1] * c->stride[1] * p->row;
}

/* dw of a float or double convolution: every element of dw is written. */
MtGemmStatus mt_conv_weight_real(const MtConv *c, const void *x, const void *dy, void *dw);
/* dx where it is taken as forward passes; false: the geometry asks for columns. */
bool mt_conv_input_real(const MtConv *c, const void *dy, const void *w, void *dx,
                        MtGemmStatus *status);
#endif
