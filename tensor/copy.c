/* copy.c: moving elements: copies with broadcast and cast, contiguous forms, resolved conjugates. */
#include "iter.h"
#include "op.h"
#include <string.h>

/* A 2-D transposed copy of 4- or 8-byte elements in 16x16 blocks, so that both sides stay in cache lines. */
typedef struct { char *d, *s; int64_t rows, cols, ds, ss; int es; } Trans;
#define TRANS(TY) { \
  for (int64_t i0 = lo * 16; i0 < hi * 16 && i0 < j->rows; i0 += 16) { \
    int64_t in = j->rows - i0 < 16 ? j->rows - i0 : 16; \
    for (int64_t k0 = 0; k0 < j->cols; k0 += 16) { \
      int64_t kn = j->cols - k0 < 16 ? j->cols - k0 : 16; \
      TY tmp[16][16]; \
      for (int64_t k = 0; k < kn; k++) { \
        const TY *s = (const TY *)j->s + (k0 + k) * j->ss + i0; \
        for (int64_t i = 0; i < in; i++) tmp[i][k] = s[i]; } \
      for (int64_t i = 0; i < in; i++) memcpy((TY *)j->d + (i0 + i) * j->ds + k0, tmp[i], sizeof(TY) * (size_t)kn); \
    } } }
static void transpose_job(void *ctx, int64_t lo, int64_t hi) {
  Trans *j = ctx;
  if (j->es == 4) TRANS(uint32_t) else TRANS(uint64_t)
}

/* dst[i][k] (k fastest) <- src[i][k] where i is fastest in src. */
static bool try_transpose(Tensor *dst, const Tensor *src) {
  int es = (int)mt_dsize(dst->dtype);
  if (dst->ndim != 2 || src->ndim != 2 || dst->dtype != src->dtype || (es != 4 && es != 8) || dst->size[0] != src->size[0] ||
      dst->size[1] != src->size[1] || dst->stride[1] != 1 || src->stride[0] != 1 || dst->numel < 1024 || src->stride[1] < src->size[0])
    return false;
  Trans j = {mt_data(dst), mt_data(src), dst->size[0], dst->size[1], dst->stride[0], src->stride[1], es};
  int64_t blocks = (j.rows + 15) / 16, grain = 32768 / (16 * j.cols) + 1;
  mt_parallel(blocks, grain, transpose_job, &j);
  return true;
}

static bool shares(const Tensor *a, const Tensor *b) { return a->st == b->st && a->numel && b->numel; }
static bool same_layout(const Tensor *a, const Tensor *b) {
  return a->offset == b->offset && a->dtype == b->dtype && a->ndim == b->ndim &&
         !memcmp(a->size, b->size, sizeof(int64_t) * a->ndim) && !memcmp(a->stride, b->stride, sizeof(int64_t) * a->ndim);
}

static Tensor *physical(Ctx *c, Tensor *t, int flags) {
  Tensor *p = mt_alias(c, t);
  if (!p) return NULL;
  p->flags &= (uint8_t)~(MT_CONJ | MT_NEG);
  c->out = NULL;
  if (flags & MT_CONJ && mt_is_complex(t->dtype)) p = mt_unary(c, U_conj_physical, MT_P_SAME, p, NULL, 0);
  if (flags & MT_NEG) p = mt_unary(c, U_neg, MT_P_SAME, p, NULL, 0);
  return p;
}

Tensor *mt_copy_raw(Ctx *c, Tensor *dst, Tensor *src) {
  if (c->err || !dst || !src) return NULL;
  if (mt_meta(dst) || mt_meta(src)) return dst;
  int flip = (dst->flags ^ src->flags) & (MT_CONJ | MT_NEG);
  if (!mt_is_complex(src->dtype)) flip = (dst->flags & MT_NEG ? MT_NEG : 0) ^ (src->flags & MT_NEG);
  if (flip) src = physical(c, src, flip);
  if (!src) return NULL;
  if (shares(dst, src)) {
    if (same_layout(dst, src)) return dst;
    Tensor *copy = mt_new_like(c, src, (DType)src->dtype), *plain = mt_alias(c, src);
    if (!copy || !plain) return NULL;
    plain->flags &= (uint8_t)~(MT_CONJ | MT_NEG);
    mt_copy_raw(c, copy, plain);
    src = copy;
  }
  if (try_transpose(dst, src)) return dst;
  Tensor *t[2] = {dst, src};
  DType ct[2] = {dst->dtype, src->dtype};
  Iter it;
  if (!mt_iter_init(c, &it, 1, 2, t, ct)) return NULL;
  return mt_iter_run(c, &it, mt_cast_loop((DType)dst->dtype, (DType)src->dtype), NULL) ? dst : NULL;
}

Tensor *mt_contig_as(Ctx *c, Tensor *t, DType d) {
  if (c->err || !t) return NULL;
  if (t->dtype == d && mt_is_contiguous(t) && !(t->flags & (MT_CONJ | MT_NEG))) return t;
  Tensor *n = mt_new(c, mt_sizes(t), d, (Device)t->device);
  return n ? mt_copy_raw(c, n, t) : NULL;
}
Tensor *mt_contig(Ctx *c, Tensor *t) { return t ? mt_contig_as(c, t, (DType)t->dtype) : NULL; }

/* A cast copy that keeps a dense tensor's memory order. */
Tensor *mt_cast(Ctx *c, Tensor *t, DType d) {
  if (c->err || !t) return NULL;
  if (t->dtype == d) return t;
  Tensor *n = mt_is_dense(t) && !mt_is_contiguous(t) ? mt_new_strided(c, mt_sizes(t), mt_il(t->stride, t->ndim), d, (Device)t->device)
                                                     : mt_new(c, mt_sizes(t), d, (Device)t->device);
  return n ? mt_copy_raw(c, n, t) : NULL;
}
