/* kern_attn.h: row kernels of attention and of recurrent cells, in float, built once per CPU level.
 *
 * Invariant.  Every function works on n contiguous elements; what is saved for the backward pass
 * are activated values. */
#ifndef MT_KERN_ATTN_H
#define MT_KERN_ATTN_H
#include <stdint.h>

typedef struct {
  /* s <- exp(s - m) with m = max(old, max s), returned; *sum gets the sum.  All -inf: s <- 0, *sum
   * <- 0. */
  float (*soft)(int64_t n, float *s, float old, float *sum);
  void (*times)(int64_t n, float *y, const float *x, float a);      /* y = a x; y may be x */
  /* y row = x row * by[row] */
  void (*scale_rows)(int64_t rows, int64_t n, const float *x, int64_t xs, const float *by, float *y,
                     int64_t ys);
  void (*add)(int64_t n, float *x, const float *y);
  float (*dot)(int64_t n, const float *x, const float *y);
  /* s <- p = exp(s - lse), dp <- p * (dp - d) */
  void (*grad)(int64_t n, float *s, float *dp, float lse, float d);
  /* g: the four gates i f g o of width n side by side, activated in place; c <- f c + i g; h = o
   * tanh(c) */
  void (*lstm)(int64_t n, float *g, const float *c0, float *c, float *h);
  /* dh, dc: what reaches h and c (dc becomes what reaches c0); dg: what reaches the gates before
   * activation */
  void (*lstm_grad)(int64_t n, const float *g, const float *c0, const float *c, const float *dh,
                    float *dc, float *dg);
  /* x: input's share of r z n (biases in it), r: the state's share; g <- r z n and the state's
   * share of n; h may be h0 */
  void (*gru)(int64_t n, const float *x, const float *r, const float *bn, const float *h0, float *g,
              float *h);
  /* dx, dr: what reaches the two shares; dh becomes what reaches h0 directly */
  void (*gru_grad)(int64_t n, const float *g, const float *h0, float *dh, float *dx, float *dr);
  void (*tanh)(int64_t n, float *x);
  void (*relu)(int64_t n, float *x);
  void (*tanh_grad)(int64_t n, const float *y, const float *dy, float *dx);
  void (*relu_grad)(int64_t n, const float *y, const float *dy, float *dx);
} MtSeqKerns;
extern const MtSeqKerns mt_seq_kerns_base, mt_seq_kerns_avx2, mt_seq_kerns_avx512;
const MtSeqKerns *mt_seq_kerns(void);
#endif
