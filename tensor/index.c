/* index.c: advanced indexing: index, index_put and nonzero.
 *
 * Index tensors become one tensor of byte offsets; the iterator then walks result, self (stride 0
 * over the index space) and offsets together, so the loops only add an offset. */
#include "gather.h"
#include "iter.h"
#include "kern_index.h"
#include "op.h"
#include <stdio.h>
#include <string.h>

typedef struct {
  Tensor *self;                            /* restrided over the result's shape */
  Tensor *off;                             /* int64 byte offsets, broadcastable to it */
  int ndim;
  int64_t shape[MT_MAXDIM];
} Plan;

/* A bool mask of k dims stands for k index tensors. */
static int expand_masks(Ctx *c, Tensor *self, TensorList in, Tensor **ix) {
  int n = 0;
  for (int64_t i = 0; i < in.n; i++) {
    Tensor *t = in.v[i];
    if (n + (t ? t->ndim : 1) > MT_MAXDIM) {
      mt_fail(c, "too many indices for tensor of dimension %d", self->ndim);
      return -1;
    }
    if (!t) { ix[n++] = NULL; continue; }
    if (t->dtype == MT_bool || t->dtype == MT_uint8) {
      if (t->ndim == 0) {
        ix[n++] =
            t_reshape(c, t_nonzero(c, t_unsqueeze(c, t, 0), false), mt_il((int64_t[]){-1}, 1));
        continue;
      }
      for (int d = 0; d < t->ndim; d++)
        if (n + d >= self->ndim || t->size[d] != self->size[n + d]) {
          mt_fail(c,
                  "the shape of the mask %s at index %d does not match the shape of the indexed "
                  "tensor %s at index %d",
                  mt_list_str(c, mt_sizes(t)), d, mt_list_str(c, mt_sizes(self)), n + d);
          return -1;
        }
      Tensor *nz = t_nonzero(c, t, false);
      for (int d = 0; nz && d < t->ndim; d++) ix[n++] = t_select(c, nz, 1, d);
      if (!nz) return -1;
    } else if (t->dtype == MT_int64 || t->dtype == MT_int32 || t->dtype == MT_int16 ||
               t->dtype == MT_int8)
      ix[n++] = t;
    else {
      mt_fail(c, "tensors used as indices must be long, int, byte or bool tensors, got %s",
              mt_dtypes[t->dtype].name);
      return -1;
    }
  }
  if (n > self->ndim) {
    mt_fail(c, "too many indices for tensor of dimension %d (got %d)", self->ndim, n);
    return -1;
  }
  while (n < self->ndim) ix[n++] = NULL;
  return n;
}

typedef struct { int64_t size, stride; bool bad; int64_t badv; } AddPar;
static void add_offsets(char **p, const int64_t *s, int64_t n, const void *par_) {
  AddPar *par = (AddPar *)par_;
  for (int64_t i = 0; i < n; i++) {
    int64_t v = *(int64_t *)(p[1] + i * s[1]);
    if (v < -par->size || v >= par->size) { par->bad = true; par->badv = v; continue; }
    int64_t *o = (int64_t *)(p[0] + i * s[0]);
    /* of a tensor without elements the strides may be too large to multiply */
    *o = (int64_t)((uint64_t)*o + (uint64_t)(v < 0 ? v + par->size : v) * (uint64_t)par->stride);
  }
}

static bool plan(Ctx *c, Tensor *self, TensorList indices, Plan *pl) {
  Tensor *ix[MT_MAXDIM];
  int64_t bshape[MT_MAXDIM], stride[MT_MAXDIM], oshape[MT_MAXDIM];
  int bn = 0, first = -1, last = -1, groups = 0;
  if (expand_masks(c, self, indices, ix) < 0) return false;
  for (int d = 0; d < self->ndim; d++) {
    if (!ix[d]) continue;
    if (!mt_broadcast(c, bn, bshape, ix[d]->ndim, ix[d]->size, &bn, bshape)) {
      snprintf(c->msg, sizeof c->msg, "index: the index tensors cannot be broadcast together");
      return false;
    }
    if (first < 0) first = d;
    if (last != d - 1 || groups == 0) groups++;
    last = d;
  }
  if (first < 0) { mt_fail(c, "at least one index tensor is needed"); return false; }
  int at = groups == 1 ? first : 0; /* adjacent indices stay in place, others move to the front */
  int m = 0, es = (int)mt_dsize(self->dtype), d = 0;
  for (; m < at; d++) {
    pl->shape[m] = self->size[d];
    stride[m] = self->stride[d];
    oshape[m++] = 1;
  }
  for (int b = 0; b < bn; b++) { pl->shape[m] = bshape[b]; stride[m] = 0; oshape[m++] = bshape[b]; }
  for (; d < self->ndim; d++)
    if (!ix[d]) {
      pl->shape[m] = self->size[d];
      stride[m] = self->stride[d];
      oshape[m++] = 1;
    }
  pl->ndim = m;
  Tensor *off = t_zeros(c, mt_il(bshape, bn), MT_int64, -1, -1, -1, false);
  if (!off) return false;
  for (d = 0; d < self->ndim; d++) {
    if (!ix[d]) continue;
    if (off->numel && self->size[d] == 0 && self->numel == 0 && off->numel) {
      mt_fail(c, "index is out of bounds for dimension %d with size 0", d);
      return false;
    }
    AddPar par = {self->size[d], self->stride[d] * es, false, 0};
    Tensor *t[2] = {off, mt_cast(c, ix[d], MT_int64)};
    DType ct[2] = {MT_int64, MT_int64};
    Iter it;
    if (!t[1] || !mt_iter_init(c, &it, 1, 2, t, ct)) return false;
    mt_iter_run_serial(&it, add_offsets, &par);
    if (par.bad) {
      mt_fail(c, "index %lld is out of bounds for dimension %d with size %lld", (long long)par.badv,
              d, (long long)self->size[d]);
      return false;
    }
  }
  pl->off = t_view(c, off, mt_il(oshape, m));
  pl->self = mt_view(c, self, m, pl->shape, stride, self->offset);
  return pl->off && pl->self;
}

#define COPY_LOOP(name, TY, DST, SRC)                                        \
  static void name(char **p, const int64_t *s, int64_t n, const void *par) { \
    for (int64_t i = 0; i < n; i++) {                                        \
      int64_t o = *(int64_t *)(p[2] + i * s[2]);                             \
      *(TY *)(DST) = *(const TY *)(SRC);                                     \
    }                                                                        \
  }
typedef struct { uint64_t a, b; } U128;
#define PAIR(TY, sz)                                            \
  COPY_LOOP(get_##sz, TY, p[0] + i * s[0], p[1] + i * s[1] + o) \
  COPY_LOOP(put_##sz, TY, p[0] + i * s[0] + o, p[1] + i * s[1])
PAIR(uint8_t, 1)
PAIR(uint16_t, 2)
PAIR(uint32_t, 4)
PAIR(uint64_t, 8)
PAIR(U128, 16)
static Loop by_size(size_t n, bool put) {
  switch (n) {
    case 1: return put ? put_1 : get_1;
    case 2: return put ? put_2 : get_2;
    case 4: return put ? put_4 : get_4;
    case 8: return put ? put_8 : get_8;
    default: return put ? put_16 : get_16;
  }
}

/* The dimension that the only index is for, if it is of int64 and self is contiguous; else -1. */
static int64_t lone(const Tensor *self, TensorList indices) {
  int64_t at = -1;
  if (indices.n > self->ndim || !mt_is_contiguous(self)) return -1;
  for (int64_t i = 0; i < indices.n; i++) {
    if (!indices.v[i]) continue;
    if (at >= 0 || indices.v[i]->dtype != MT_int64) return -1;
    at = i;
  }
  return at;
}
/* self[:, .., ix]: whole slices move. */
static Tensor *slices(Ctx *c, Tensor *self, int d, Tensor *ix) {
  int64_t shape[MT_MAXDIM], outer = 1, inner = 1;
  int n = 0;
  if (self->ndim - 1 + ix->ndim > MT_MAXDIM)
    return mt_fail(c, "the result has more than %d dimensions", MT_MAXDIM);
  for (int i = 0; i < d; i++) outer *= shape[n++] = self->size[i];
  for (int i = 0; i < ix->ndim; i++) shape[n++] = ix->size[i];
  for (int i = d + 1; i < self->ndim; i++) inner *= shape[n++] = self->size[i];
  Tensor *out = mt_new(c, mt_il(shape, n), (DType)self->dtype, MT_CPU), *at = mt_contig(c, ix);
  at = at ? mt_from_end(c, at, d, self->size[d]) : NULL;
  return at && out && mt_take_slices(c, self, outer, self->size[d], inner, at, d, out) ? out : NULL;
}

Tensor *k_index(Ctx *c, Tensor *self, TensorList indices) {
  Tensor *mask = indices.n ? indices.v[0] : NULL;      /* x[x > 0]: packed straight from the mask */
  if (mask && indices.n == 1 && mask->dtype == MT_bool && mask->ndim == self->ndim && mask->ndim &&
      !memcmp(mask->size, self->size, sizeof(int64_t) * self->ndim))
    return k_masked_select(c, self, mask);
  int64_t at = lone(self, indices);
  if (at >= 0) return slices(c, self, (int)at, indices.v[at]);
  Plan pl;
  if (!plan(c, self, indices, &pl)) return NULL;
  Tensor *t[3] = {mt_new(c, mt_il(pl.shape, pl.ndim), (DType)self->dtype, MT_CPU), pl.self, pl.off};
  DType ct[3] = {(DType)self->dtype, (DType)self->dtype, MT_int64};
  Iter it;
  if (!t[0] || !mt_iter_init(c, &it, 1, 3, t, ct)) return NULL;
  return mt_iter_run(c, &it, by_size(mt_dsize(self->dtype), false), NULL) ? t[0] : NULL;
}

/* Adding goes through a Scalar: rare, and exact for every dtype. */
static void put_add(char **p, const int64_t *s, int64_t n, const void *par) {
  DType d = *(const DType *)par;
  for (int64_t i = 0; i < n; i++) {
    char *q = p[0] + i * s[0] + *(int64_t *)(p[2] + i * s[2]);
    if (d == MT_float32) { *(float *)q += *(float *)(p[1] + i * s[1]); continue; }
    if (d == MT_float64) { *(double *)q += *(double *)(p[1] + i * s[1]); continue; }
    Scalar a = mt_load(q, d), b = mt_load(p[1] + i * s[1], d);
    if (a.kind >= K_FLOAT) {
      a.d += b.d;
      a.im += b.im;
    } else a.i = (int64_t)((uint64_t)a.i + (uint64_t)b.i);
    mt_store(q, d, a);
  }
}

/* Whole rows of values, to the byte offsets off. */
static void put_rows(Tensor *dst, const Tensor *off, const Tensor *values) {
  const int64_t *o = mt_data(off);
  if (!off->numel) return;
  size_t bytes = (size_t)(values->numel / off->numel) * mt_dsize(dst->dtype);
  for (int64_t i = 0; i < off->numel; i++)
    memcpy((char *)mt_data(dst) + o[i], (char *)mt_data(values) + (size_t)i * bytes, bytes);
}
Tensor *k_index_put(Ctx *c, Tensor *self, TensorList indices, Tensor *values, bool accumulate) {
  Plan pl;
  Tensor *dst = mt_take_out(c, self->ndim, self->size, &values, 1);
  if (dst != self) dst = t_clone(c, self, -1);
  if (!dst) return NULL;
  if (values->dtype != self->dtype && !(values->flags & MT_WRAPPED))
    return mt_fail(c, "source and destination dtypes must match, got %s for a destination of %s",
                   mt_dtypes[values->dtype].name, mt_dtypes[self->dtype].name);
  values = mt_cast(c, values, (DType)self->dtype);
  if (!values || !plan(c, dst, indices, &pl)) return NULL;
  int64_t shape[MT_MAXDIM];
  int n;
  while (values->ndim > pl.ndim && values->size[0] == 1)
    values = t_squeeze_dim(c, values, mt_il((int64_t[]){0}, 1));
  if (!values || !mt_broadcast(c, pl.ndim, pl.shape, values->ndim, values->size, &n, shape))
    return NULL;
  if (n != pl.ndim || memcmp(shape, pl.shape, sizeof(int64_t) * (size_t)n))
    return mt_fail(c, "values of shape %s cannot be broadcast to the indexed shape %s",
                   mt_list_str(c, mt_sizes(values)), mt_list_str(c, mt_il(pl.shape, pl.ndim)));
  if (dst->st == values->st) values = t_clone(c, values, -1);
  int64_t at = values ? lone(dst, indices) : -1;
  if (at == 0 && !accumulate && dst->numel && mt_is_contiguous(values) && values->ndim == pl.ndim &&
      !memcmp(values->size, pl.shape, sizeof(int64_t) * (size_t)n)) {
    put_rows(dst, mt_contig(c, pl.off), values);
    return dst;
  }
  Tensor *t[3] = {pl.self, values, pl.off};
  DType ct[3] = {(DType)self->dtype, (DType)self->dtype, MT_int64}, d = (DType)self->dtype;
  Iter it;
  if (!values || !mt_iter_init(c, &it, 1, 3, t, ct)) return NULL;
  mt_iter_run_serial(&it, accumulate ? put_add : by_size(mt_dsize(self->dtype), true), &d);
  return dst;
}

/* The places of what is not 0, in pieces of the flat mask: counted first, then written. */
typedef struct {
  const uint8_t *mask;
  const int64_t *size;
  int64_t n, *count, *out;                 /* count[k]: the hits before piece k */
  int nd;
} Nonzero;
enum { HITS = 1024, NZ_PIECE = 16 * HITS };
static void count_hits(void *ctx, int64_t lo, int64_t hi) {
  const Nonzero *z = ctx;
  for (int64_t k = lo; k < hi && !mt_interrupted; k++) {
    int64_t at = k * NZ_PIECE, m = z->n - at < NZ_PIECE ? z->n - at : NZ_PIECE;
    z->count[k + 1] = mt_index_kerns()->count(z->mask + at, m);
  }
}
/* The places of m <= HITS elements of a row from `from` on, the row's own index being idx. */
static int64_t write_hits(const uint8_t *p, int64_t from, int64_t m, const int64_t *idx, int nd,
                          int64_t *o) {
  int32_t at[HITS + 1];
  int64_t k = 0;
  for (int64_t j = 0; j < m; j++) { at[k] = (int32_t)j; k += p[j]; }
  if (nd == 1) for (int64_t j = 0; j < k; j++) o[j] = from + at[j];
  else if (nd == 2)
    for (int64_t j = 0; j < k; j++) { o[2 * j] = idx[0]; o[2 * j + 1] = from + at[j]; }
  else
    for (int64_t j = 0; j < k; j++) {
      for (int d = 0; d < nd - 1; d++) o[j * nd + d] = idx[d];
      o[j * nd + nd - 1] = from + at[j];
    }
  return k;
}
static void find_hits(void *ctx, int64_t lo, int64_t hi) {
  const Nonzero *z = ctx;
  const int64_t n = z->size[z->nd - 1];
  int64_t i = lo * NZ_PIECE, end = hi * NZ_PIECE < z->n ? hi * NZ_PIECE : z->n;
  int64_t idx[MT_MAXDIM], rest = i / n, from = i % n, *o = z->out + z->count[lo] * z->nd;
  for (int d = z->nd - 2; d >= 0; d--) { idx[d] = rest % z->size[d]; rest /= z->size[d]; }
  while (i < end && !mt_interrupted) {
    int64_t m = n - from < HITS ? n - from : HITS;
    if (m > end - i) m = end - i;
    o += write_hits(z->mask + i, from, m, idx, z->nd, o) * z->nd;
    i += m;
    if ((from += m) < n) continue;
    from = 0;
    for (int d = z->nd - 2; d >= 0; d--) { if (++idx[d] < z->size[d]) break; idx[d] = 0; }
  }
}
Tensor *k_nonzero(Ctx *c, Tensor *self, bool as_tuple) {
  Tensor *b = mt_contig_as(c, self, MT_bool);
  if (!b) return NULL;
  int64_t pieces = (b->numel + NZ_PIECE - 1) / NZ_PIECE;
  Nonzero z = {mt_data(b), self->size, b->numel, NULL, NULL, self->ndim};
  if (!(z.count = mt_tmp(c, sizeof(int64_t) * (size_t)(pieces + 1)))) return NULL;
  z.count[0] = 0;
  mt_parallel(pieces, 2, count_hits, &z);
  if (mt_poll(c)) return NULL;
  for (int64_t k = 0; k < pieces; k++) z.count[k + 1] += z.count[k];
  Tensor *out = mt_new(c, mt_il((int64_t[]){z.count[pieces], self->ndim}, 2), MT_int64, MT_CPU);
  if (!out || !out->numel) return out;
  z.out = mt_data(out);
  mt_parallel(pieces, 2, find_hits, &z);
  return mt_poll(c) ? NULL : out;
}
