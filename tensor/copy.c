/* copy.c: moving elements: copies with broadcast and cast, contiguous forms, resolved conjugates.
 */
#include "cpu.h"
#include "iter.h"
#include "kern_move.h"
#include "op.h"
#include <string.h>

const MtMoveKerns *mt_move_kerns(void) {
  return MT_AT_LEVEL(&mt_move_kerns);
}

/* Whether bits move unchanged between tensors of one shape, enough of them to plan for. */
static bool plain_move(const Tensor *dst, const Tensor *src) {
  int n = dst->ndim;
  return n >= 2 && src->ndim == n && dst->dtype == src->dtype && mt_dsize(dst->dtype) <= 8 &&
         dst->numel >= 1024 && !memcmp(dst->size, src->size, sizeof(int64_t) * (size_t)n);
}
/* Adds the offsets of element k of the batch, the dims before the last two. */
static void add_batch(const Tensor *d, const Tensor *s, int64_t k, int64_t *od, int64_t *os) {
  for (int i = d->ndim - 3; i >= 0; i--) {
    *od += k % d->size[i] * d->stride[i];
    *os += k % d->size[i] * s->stride[i];
    k /= d->size[i];
  }
}

/* A transposed copy: in dst the last dim is contiguous, in src the one before it; the dims before
 * those are a batch.  Jobs are bands of 64 rows of dst. */
enum { BAND = 64 };
typedef struct { Tensor *d; const Tensor *s; int es; int64_t rows, cols, bands; } Trans;
static void transpose_job(void *ctx, int64_t lo, int64_t hi) {
  const Trans *j = ctx;
  int n = j->d->ndim;
  for (int64_t k = lo; k < hi && !mt_interrupted; k++) {
    int64_t row = k % j->bands * BAND, od = row * j->d->stride[n - 2], os = row;
    add_batch(j->d, j->s, k / j->bands, &od, &os);
    int64_t rows = j->rows - row < BAND ? j->rows - row : BAND;
    mt_move_kerns()->transpose[__builtin_ctz((unsigned)j->es)](
        (char *)mt_data(j->d) + od * j->es, j->d->stride[n - 2], (char *)mt_data(j->s) + os * j->es,
        j->s->stride[n - 1], rows, j->cols);
  }
}
static bool try_transpose(Tensor *dst, const Tensor *src) {
  int es = (int)mt_dsize(dst->dtype), n = dst->ndim;
  if (!plain_move(dst, src)) return false;
  if (dst->stride[n - 1] != 1 || src->stride[n - 2] != 1 || src->stride[n - 1] < src->size[n - 2] ||
      dst->size[n - 1] < 2 || dst->size[n - 2] < 4 || dst->stride[n - 2] < dst->size[n - 1])
    return false;
  Trans j = {
      dst, src, es, dst->size[n - 2], dst->size[n - 1], (dst->size[n - 2] + BAND - 1) / BAND};
  mt_parallel(dst->numel / (j.rows * j.cols) * j.bands, 32768 / (BAND * j.cols) + 1, transpose_job,
              &j);
  return true;
}

/* A copy whose last dim repeats each element of src, which the iterator would take one by one.
 * Jobs are pieces of the dim before it; the dims before those are a batch. */
enum { PART = 4096 };
typedef struct { Tensor *d; const Tensor *s; int es; int64_t pieces; } Repeat;
static void repeat_job(void *ctx, int64_t lo, int64_t hi) {
  const Repeat *j = ctx;
  const Tensor *d = j->d, *s = j->s;
  const int n = d->ndim;
  for (int64_t k = lo; k < hi && !mt_interrupted; k++) {
    int64_t at = k % j->pieces * PART, rest = d->size[n - 2] - at;
    int64_t od = at * d->stride[n - 2], os = at * s->stride[n - 2];
    add_batch(d, s, k / j->pieces, &od, &os);
    mt_move_kerns()->repeat[__builtin_ctz((unsigned)j->es)](
        (char *)mt_data(d) + od * j->es, (char *)mt_data(s) + os * j->es, s->stride[n - 2],
        rest < PART ? rest : PART, d->size[n - 1]);
  }
}
static bool try_repeat(Tensor *dst, const Tensor *src) {
  int es = (int)mt_dsize(dst->dtype), n = dst->ndim;
  if (!plain_move(dst, src)) return false;
  if (src->stride[n - 1] || dst->stride[n - 1] != 1 || dst->stride[n - 2] != dst->size[n - 1] ||
      dst->size[n - 1] < 2 || dst->size[n - 1] > 64 || dst->size[n - 2] < 16)
    return false;
  int64_t rows = dst->size[n - 2], r = dst->size[n - 1];
  Repeat j = {dst, src, es, (rows + PART - 1) / PART};
  mt_parallel(dst->numel / (rows * r) * j.pieces, 32768 / ((rows < PART ? rows : PART) * r) + 1,
              repeat_job, &j);
  return true;
}

static bool shares(const Tensor *a, const Tensor *b) {
  return a->st == b->st && a->numel && b->numel;
}
static bool same_layout(const Tensor *a, const Tensor *b) {
  return a->offset == b->offset && a->dtype == b->dtype && a->ndim == b->ndim &&
         !memcmp(a->size, b->size, sizeof(int64_t) * a->ndim) &&
         !memcmp(a->stride, b->stride, sizeof(int64_t) * a->ndim);
}

static Tensor *physical(Ctx *c, Tensor *t, int flags) {
  Tensor *p = mt_alias(c, t);
  if (!p) return NULL;
  p->flags &= (uint8_t)~(MT_CONJ | MT_NEG);
  c->out = NULL;
  if (flags & MT_CONJ && mt_is_complex(t->dtype))
    p = mt_unary(c, U_conj_physical, MT_P_SAME, p, NULL, 0);
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
  if (try_transpose(dst, src) || try_repeat(dst, src)) return mt_poll(c) ? NULL : dst;
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
  Tensor *n = mt_is_dense(t) && !mt_is_contiguous(t)
                  ? mt_new_strided(c, mt_sizes(t), mt_il(t->stride, t->ndim), d, (Device)t->device)
                  : mt_new(c, mt_sizes(t), d, (Device)t->device);
  return n ? mt_copy_raw(c, n, t) : NULL;
}
