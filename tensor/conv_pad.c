/* conv_pad.c: copies of images with their padding, for the passes that read every tap of the kernel
 * as a contiguous run (see conv_impl.h). */
#include "conv_impl.h"
#include "gemm_impl.h"
#include <string.h>

const uint8_t mt_conv_sizes[MT_GEMM_TYPES] = {4, 8, 8, 16, 2, 2, 1, 1, 2, 4, 8};

MtPadded mt_conv_padded(const MtConv *c) {
  MtPadded p;
  for (int d = 0; d < 3; d++)
    p.size[d] = (c->out[d] - 1) * c->stride[d] + (c->k[d] - 1) * c->dil[d] + 1;
  p.phases = c->stride[2] < p.size[2] ? c->stride[2] : p.size[2];
  p.size[2] = (p.size[2] + p.phases - 1) / p.phases;
  p.row = p.size[2] * p.phases;
  p.plane = p.row * p.size[1];
  p.channel = p.plane * p.size[0];
  return p;
}

/* Where the stride has several phases, they lie behind each other in a row. */
#define PAD_ROW(T, SUF)                                                              \
  static void phases_##SUF(const MtConv *c, const MtPadded *p, int64_t rows, const T *x, \
                           T *dst) {                                                 \
    for (int64_t f = 0; f < p->phases; f++, dst += p->size[2]) {                     \
      int64_t first = f - c->pad[2], left = 0; /* column of phase element 0 */       \
      if (first < 0) left = (-first + p->phases - 1) / p->phases;                    \
      if (left > p->size[2]) left = p->size[2];                                      \
      int64_t end = (c->in[2] - first + p->phases - 1) / p->phases;                  \
      if (end > p->size[2]) end = p->size[2];                                        \
      int64_t n = end > left ? end - left : 0;                                       \
      mt_gemm_kerns()->SUF->phase_rows(rows, left, n, p->size[2], p->phases,         \
                                       x + (n ? first + left * p->phases : 0),       \
                                       c->in[2], dst, p->row);                       \
    }                                                                                \
  }                                                                                  \
  /* Rows of one plane that lie inside the image. */                                 \
  static void rows_##SUF(const MtConv *c, const MtPadded *p, int64_t rows, const T *x, \
                         T *dst) {                                                   \
    if (p->phases == 1) {                                                            \
      int64_t left = c->pad[2] < p->row ? c->pad[2] : p->row, n = p->row - left;     \
      if (n > c->in[2]) n = c->in[2];                                                \
      mt_gemm_kerns()->SUF->pad_rows(rows, left, n, p->row, x, c->in[2], dst);       \
    } else phases_##SUF(c, p, rows, x, dst);                                         \
  }
PAD_ROW(float, f32)
PAD_ROW(double, f64)

void mt_conv_pad(const MtConv *c, const MtPadded *p, const char *x, char *dst) {
  int64_t size = mt_conv_sizes[c->type], plane = p->plane * size, row = p->row * size;
  int64_t top = c->pad[1] < p->size[1] ? c->pad[1] : p->size[1], rows = p->size[1] - top;
  if (rows > c->in[1]) rows = c->in[1];
  for (int64_t z = -c->pad[0]; z < p->size[0] - c->pad[0]; z++, dst += plane) {
    if (z < 0 || z >= c->in[0]) { memset(dst, 0, (size_t)plane); continue; }
    const void *from = x + z * c->in[1] * c->in[2] * size;
    char *to = dst + top * row;
    memset(dst, 0, (size_t)(top * row));
    if (c->type == MT_GEMM_F32) rows_f32(c, p, rows, from, (void *)to);
    else rows_f64(c, p, rows, from, (void *)to);
    memset(to + rows * row, 0, (size_t)(plane - (top + rows) * row));
  }
}
