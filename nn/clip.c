/* clip.c: kernels of ops_clip.def: one pass over many tensors.
 *
 * Invariant.  Elements are summed in blocks of a fixed size, and the blocks in order, so the result
 * has the same bits for every thread count. */
#include "kern_attn.h"
#include "op.h"
#include <math.h>

enum { BLOCK = 16384 };
typedef struct { float *x; int64_t n; } Piece;
typedef struct { Piece *piece; double *sum; float by; } Pieces;

/* The tensors cut into blocks; -1 and an error: no memory, or a tensor of another kind. */
static int64_t cut(Ctx *c, TensorList l, Pieces *p) {
  int64_t n = 0, at = 0;
  for (int64_t i = 0; i < l.n; i++) {
    Tensor *t = l.v[i];
    if (t->dtype != MT_float32 || mt_meta(t) || !mt_is_dense(t)) {
      mt_fail(c, "expected dense float32 tensors");
      return -1;
    }
    n += (t->numel + BLOCK - 1) / BLOCK;
  }
  p->piece = mt_tmp(c, sizeof(Piece) * (size_t)(n + 1));
  p->sum = mt_tmp(c, sizeof(double) * (size_t)(n + 1));
  if (!p->piece || !p->sum) return -1;
  for (int64_t i = 0; i < l.n; i++)
    for (int64_t k = 0; k < l.v[i]->numel; k += BLOCK) {
      int64_t left = l.v[i]->numel - k;
      p->piece[at++] = (Piece){(float *)mt_data(l.v[i]) + k, left < BLOCK ? left : BLOCK};
    }
  return n;
}

static void squares(void *ctx, int64_t lo, int64_t hi) {
  const Pieces *p = ctx;
  for (int64_t i = lo; i < hi && !mt_interrupted; i++)
    p->sum[i] = mt_seq_kerns()->dot(p->piece[i].n, p->piece[i].x, p->piece[i].x);
}
Tensor *k__total_norm(Ctx *c, TensorList tensors) {
  Pieces p = {0};
  int64_t n = cut(c, tensors, &p);
  double sum = 0;
  if (n < 0) return NULL;
  mt_parallel(n, 8, squares, &p);
  if (mt_poll(c)) return NULL;
  for (int64_t i = 0; i < n; i++) sum += p.sum[i];
  return mt_scalar_tensor(c, mt_sd(sqrt(sum)), MT_float32);
}

static void scale(void *ctx, int64_t lo, int64_t hi) {
  const Pieces *p = ctx;
  for (int64_t i = lo; i < hi; i++)
    mt_seq_kerns()->times(p->piece[i].n, p->piece[i].x, p->piece[i].x, p->by);
}
Tensor *k__scale_all(Ctx *c, TensorList tensors, double by) {
  Pieces p = {.by = (float)by};
  int64_t n = cut(c, tensors, &p);
  if (n < 0) return NULL;
  mt_parallel(n, 8, scale, &p);
  for (int64_t i = 0; i < tensors.n; i++) tensors.v[i]->st->version++;
  return mt_scalar_tensor(c, mt_sd(by), MT_float32);
}
