/* attention.c: scaled dot-product attention: the fused kernels, the formula of plain ops they stand
 * for, and the rows.
 *
 * The forward pass never holds the L x S matrix: a unit of work takes some hundred query rows of
 * one head and goes over the keys in blocks: panels of as many rows as a tile of the matrix product
 * has meet the packed block, are turned into exp(score - running maximum) where they lie, and
 * multiply the values; sums and results are rescaled when the maximum grows.  Kept for the backward
 * pass is one number a row, log(sum exp(score)).  The backward pass makes each block of
 * probabilities again.  A query or two (decoding) use dot products instead of tiles. */
#include "expr_rt.h"
#include "cpu.h"
#include "gemm_impl.h"
#include "kern_attn.h"
#include "op.h"
#include "product.h"
#include <stdatomic.h>
#include <string.h>

enum { BK = 512, FEW = 3, GQ = 128, GK = 384 };

const MtSeqKerns *mt_seq_kerns(void) {
  return MT_AT_LEVEL(&mt_seq_kerns);
}

/* Where the matrices of each head begin, and the distance of their rows; in floats. */
typedef struct { float *p; int64_t *off, row; } Side;
typedef struct {
  const MtGemmKernF32 *g;
  const MtSeqKerns *k;
  Side q, key, v, o, mask, go, gq, gk, gv;
  float *lse;
  int64_t heads, share, L, S, E, Ev, part, parts;  /* share: query heads per key head */
  bool causal;
  float scale;
  size_t bytes;
  _Atomic int64_t next;
  _Atomic int status;
} Attn;

static int64_t up(int64_t x, int64_t to) { return (x + to - 1) / to * to; }

/* The keys a row may see within the block that begins at k0 and has n. */
static int64_t visible(const Attn *a, int64_t row, int64_t k0, int64_t n) {
  int64_t lim = a->causal ? row + 1 - k0 : n;
  return lim < 0 ? 0 : lim < n ? lim : n;
}

/* Rows from r0 of head h.  k, v: packed blocks, NULL where the few rows take dot products; m, l:
 * each row's maximum and sum so far. */
typedef struct { const float *q; float *k, *v, *s, *o, *m, *l, *spare; int64_t ldo; } Unit;

/* Keys side by side, as many as a tile is wide; `spare` has room for that many. */
static void pack_keys(const Attn *a, const float *key, int64_t n, float *spare, float *to) {
  int w = 2 * a->g->vl;
  for (int64_t j = 0; j < n; j += w, to += w * a->E, key += w * a->key.row) {
    const float *from = key;
    int64_t row = a->key.row, have = n - j;
    if (have < w) {
      for (int64_t i = 0; i < have; i++)
        memcpy(spare + i * a->E, key + i * row, sizeof(float) * (size_t)a->E);
      memset(spare + have * a->E, 0, sizeof(float) * (size_t)((w - have) * a->E));
      from = spare;
      row = a->E;
    }
    a->g->pack_t(a->E, w, from, row, to);
  }
}

/* Scores of the rows [i, i + rows) with the first lim keys of the block. */
static void scores(const Attn *a, const Unit *u, const float *key, int64_t i, int rows,
                   int64_t lim) {
  int w = 2 * a->g->vl;
  if (!u->k) {
    for (int r = 0; r < rows; r++)
      a->g->gemv_rows(lim, a->E, key, a->key.row, u->q + (i + r) * a->q.row, u->s + r * BK,
                      a->scale, 0);
    return;
  }
  for (int64_t j = 0; j < lim; j += w)
    a->g->tile[0][lim - j > w / 2][rows - 1](a->E, u->q + i * a->q.row, a->q.row, u->k + j * a->E,
                                             w, u->s + j, BK, a->scale, 0, NULL);
}

/* Row `row` of the unit: its scores become weights; what was summed before is rescaled. */
static void weigh(const Attn *a, const Unit *u, int64_t h, int64_t r0, int64_t row, float *s,
                  int64_t k0, int64_t n, int64_t lim) {
  float sum = 0, old = u->m[row];
  int64_t see = visible(a, r0 + row, k0, n);
  if (see > lim) see = lim;
  if (a->mask.p) a->k->add(see, s, a->mask.p + a->mask.off[h] + (r0 + row) * a->mask.row + k0);
  float m = a->k->soft(see, s, old, &sum);
  if (see < lim) memset(s + see, 0, sizeof(float) * (size_t)(lim - see));
  if (m != old) {
    float by = old == -INFINITY ? 0 : expf(old - m);
    u->l[row] *= by;
    if (old != -INFINITY) a->k->times(u->ldo, u->o + row * u->ldo, u->o + row * u->ldo, by);
    u->m[row] = m;
  }
  u->l[row] += sum;
}

static void gather_values(const Attn *a, const Unit *u, int64_t i, int rows, int64_t lim,
                          const float *v, int64_t vs, bool first) {
  int vl = a->g->vl;
  if (!u->k) {
    for (int r = 0; r < rows; r++)
      a->g->gemv_cols(lim, a->Ev, u->s + r * BK, 1, v, vs, u->o + (i + r) * u->ldo);
    return;
  }
  for (int64_t j = 0; j < u->ldo; j += 2 * vl) {
    int two = u->ldo - j > vl;
    a->g->tile[0][two][rows - 1](lim, u->s, BK, v + j, vs, u->o + i * u->ldo + j, u->ldo, 1,
                                 !first, NULL);
  }
}

/* One block of keys against all rows of the unit. */
static void block(const Attn *a, const Unit *u, int64_t h, int64_t r0, int64_t r1, int64_t k0) {
  int64_t n = a->S - k0 < BK ? a->S - k0 : BK, vs = a->v.row;
  const float *key = a->key.p + a->key.off[h] + k0 * a->key.row,
              *v = a->v.p + a->v.off[h] + k0 * vs;
  if (u->k) pack_keys(a, key, n, u->spare, u->k);
  if (u->k && u->ldo != a->Ev) {                     /* rows of whole vectors */
    for (int64_t j = 0; j < n; j++) {
      memcpy(u->v + j * u->ldo, v + j * vs, sizeof(float) * (size_t)a->Ev);
      memset(u->v + j * u->ldo + a->Ev, 0, sizeof(float) * (size_t)(u->ldo - a->Ev));
    }
    v = u->v;
    vs = u->ldo;
  }
  int64_t panels = (r1 - r0 + a->g->mr - 1) / a->g->mr, high = (r1 - r0 + panels - 1) / panels;
  for (int64_t i = 0; i < r1 - r0; i += high) {
    int rows = (int)(r1 - r0 - i < high ? r1 - r0 - i : high);
    int64_t lim = visible(a, r0 + i + rows - 1, k0, n);
    if (!lim) continue;
    scores(a, u, key, i, rows, lim);
    for (int r = 0; r < rows; r++) weigh(a, u, h, r0, i + r, u->s + r * BK, k0, n, lim);
    gather_values(a, u, i, rows, lim, v, vs, k0 == 0);
  }
}

/* The unit's memory, in floats. */
static size_t unit_floats(const Attn *a, bool few) {
  int64_t ldo = few ? a->Ev : up(a->Ev, a->g->vl), rows = a->part + a->g->mr;
  int64_t n = rows * (ldo + 3) + a->g->mr * BK + 7 * 64, w = 2 * a->g->vl;
  if (!few) n += up(a->S < BK ? a->S : BK, w) * (a->E + ldo) + w * a->E;
  return (size_t)n;
}
static float *take(float **mem, int64_t n) {
  float *p = *mem;
  *mem += up(n, 16);
  return p;
}

static void forward_unit(const Attn *a, int64_t h, int64_t r0, int64_t r1, float *mem) {
  bool few = a->L <= FEW;
  int64_t rows = r1 - r0, n = up(a->S < BK ? a->S : BK, 2 * a->g->vl);
  Unit u = {.q = a->q.p + a->q.off[h] + r0 * a->q.row, .ldo = few ? a->Ev : up(a->Ev, a->g->vl)};
  u.o = take(&mem, rows * u.ldo);
  u.m = take(&mem, rows);
  u.l = take(&mem, rows);
  u.s = take(&mem, a->g->mr * BK);
  if (!few) {
    u.k = take(&mem, n * a->E);
    u.v = take(&mem, n * u.ldo);
    u.spare = take(&mem, 2 * a->g->vl * a->E);
  }
  for (int64_t r = 0; r < rows; r++) u.m[r] = -INFINITY;
  memset(u.l, 0, sizeof(float) * (size_t)rows);
  if (few || !a->S) memset(u.o, 0, sizeof(float) * (size_t)(rows * u.ldo));
  for (int64_t k0 = 0; k0 < a->S && (!a->causal || k0 < r1) && !mt_interrupted; k0 += BK)
    block(a, &u, h, r0, r1, k0);
  for (int64_t r = 0; r < rows; r++) {
    float l = u.l[r];
    a->lse[h * a->L + r0 + r] = l == 0 ? INFINITY : u.m[r] + logf(l);
    u.l[r] = l == 0 ? 0 : 1 / l;
  }
  a->k->scale_rows(rows, a->Ev, u.o, u.ldo, u.l, a->o.p + a->o.off[h] + r0 * a->o.row, a->o.row);
}

static void forward_work(void *ctx, int64_t lo, int64_t hi) {
  Attn *a = ctx;
  float *mem = mt_scratch_take(a->bytes);
  int64_t u;
  if (!mem) { atomic_store(&a->status, MT_GEMM_NOMEM); return; }
  while ((u = atomic_fetch_add(&a->next, 1)) < a->heads * a->parts && !mt_interrupted) {
    int64_t r0 = u % a->parts * a->part, r1 = r0 + a->part < a->L ? r0 + a->part : a->L;
    if (r0 < r1) forward_unit(a, u / a->parts, r0, r1, mem);
  }
  mt_scratch_give(mem);
}

/* ---- backward: five products a block ---- */
static bool times(const Attn *a, int64_t m, int64_t n, int64_t k, const float *x, int64_t xr,
                  int64_t xc, const float *y, int64_t yr, int64_t yc, float *z, int64_t zr,
                  double alpha, double beta) {
  MtGemm g = {.type = MT_GEMM_F32,
              .m = m,
              .n = n,
              .k = k,
              .a = x,
              .ars = xr,
              .acs = xc,
              .b = y,
              .brs = yr,
              .bcs = yc,
              .c = z,
              .crs = zr,
              .ccs = 1,
              .alpha = alpha,
              .beta = beta};
  return mt_gemm_serial(&g) == MT_GEMM_OK;
}

static bool backward_block(const Attn *a, int64_t h, int64_t kh, int64_t r0, int64_t k0, float *s,
                           float *dp, const float *d, bool first) {
  int64_t m = a->L - r0 < GQ ? a->L - r0 : GQ, n = a->S - k0 < GK ? a->S - k0 : GK;
  const float *q = a->q.p + a->q.off[h] + r0 * a->q.row,
              *key = a->key.p + a->key.off[h] + k0 * a->key.row;
  const float *v = a->v.p + a->v.off[h] + k0 * a->v.row,
              *go = a->go.p + a->go.off[h] + r0 * a->go.row;
  bool ok = times(a, m, n, a->E, q, a->q.row, 1, key, 1, a->key.row, s, GK, a->scale, 0) &&
            times(a, m, n, a->Ev, go, a->go.row, 1, v, 1, a->v.row, dp, GK, 1, 0);
  for (int64_t r = 0; ok && r < m; r++) {
    int64_t see = visible(a, r0 + r, k0, n);
    if (a->mask.p)
      a->k->add(see, s + r * GK, a->mask.p + a->mask.off[h] + (r0 + r) * a->mask.row + k0);
    a->k->grad(see, s + r * GK, dp + r * GK, a->lse[h * a->L + r0 + r], d[r0 + r]);
    for (int64_t j = see; j < n; j++) s[r * GK + j] = dp[r * GK + j] = 0;
  }
  return ok &&
         times(a, n, a->Ev, m, s, 1, GK, go, a->go.row, 1, a->gv.p + a->gv.off[kh] + k0 * a->gv.row,
               a->gv.row, 1, !first) &&
         times(a, n, a->E, m, dp, 1, GK, q, a->q.row, 1, a->gk.p + a->gk.off[kh] + k0 * a->gk.row,
               a->gk.row, a->scale, !first) &&
         times(a, m, a->E, n, dp, GK, 1, key, a->key.row, 1,
               a->gq.p + a->gq.off[h] + r0 * a->gq.row, a->gq.row, a->scale, k0 != 0);
}

/* One key head with the query heads it serves; heads are numbered query heads, those of a group
 * side by side. */
static bool backward_unit(const Attn *a, int64_t kh, float *mem) {
  float *s = take(&mem, GQ * GK), *dp = take(&mem, GQ * GK), *d = take(&mem, a->L);
  for (int64_t h = kh * a->share; h < (kh + 1) * a->share; h++) {
    for (int64_t r = 0; r < a->L; r++)
      d[r] = a->k->dot(a->Ev, a->go.p + a->go.off[h] + r * a->go.row,
                       a->o.p + a->o.off[h] + r * a->o.row);
    for (int64_t k0 = 0; k0 < a->S; k0 += GK) {
      bool first = h == kh * a->share;
      int64_t r0 = a->causal && !first && k0
                       ? k0 / GQ * GQ
                       : 0; /* rows above the diagonal see none of these keys */
      for (; r0 < a->L; r0 += GQ, first = false) {
        if (mt_interrupted) return true;
        if (!backward_block(a, h, kh, r0, k0, s, dp, d, first)) return false;
      }
    }
  }
  return true;
}
static void backward_work(void *ctx, int64_t lo, int64_t hi) {
  Attn *a = ctx;
  float *mem = mt_malloc_aligned(a->bytes);            /* the scratch slot is the products' */
  int64_t u;
  if (!mem) { atomic_store(&a->status, MT_GEMM_NOMEM); return; }
  while ((u = atomic_fetch_add(&a->next, 1)) < a->heads / a->share && !mt_interrupted)
    if (!backward_unit(a, u, mem)) {
      atomic_store(&a->status, mt_interrupted ? MT_GEMM_INTERRUPTED : MT_GEMM_NOMEM);
      break;
    }
  mt_free_aligned(mem);
}

/* ---- tensors to heads ---- */
/* Offsets of t's matrices for the heads of `like`; a dimension of size 1 repeats, and the last
 * leading one may serve several heads each. */
static Side side(Ctx *c, Tensor *t, const Tensor *like) {
  Side s = {NULL, NULL, 0};
  int nd = like->ndim - 2, td = t ? t->ndim - 2 : 0;
  int64_t heads = 1, at[MT_MAXDIM] = {0};
  if (!t) return s;
  for (int i = 0; i < nd; i++) heads *= like->size[i];
  s.off = mt_tmp(c, sizeof(int64_t) * (size_t)(heads ? heads : 1));
  if (!s.off) return s;
  s.p = mt_data(t);
  s.row = t->size[td] == 1 && like->size[nd] != 1 ? 0 : t->stride[td];
  for (int64_t h = 0; h < heads; h++) {
    s.off[h] = 0;
    for (int i = 0; i < td; i++) {
      int j = i + nd - td;
      int64_t n = t->size[i], share = n ? like->size[j] / n : 1;
      s.off[h] += (n == 1 ? 0 : at[j] / (share ? share : 1)) * t->stride[i];
    }
    for (int j = nd - 1; j >= 0; j--) { if (++at[j] < like->size[j]) break; at[j] = 0; }
  }
  return s;
}
/* t in float with its last dimension contiguous. */
static Tensor *floats(Ctx *c, Tensor *t) {
  if (!t) return NULL;
  if (t->dtype != MT_float32) return mt_contig_as(c, t, MT_float32);
  return t->stride[t->ndim - 1] == 1 ? t : mt_contig(c, t);
}
/* An addend of the scores, in float, its last dimension as long as the keys. */
static Tensor *addend(Ctx *c, Tensor *mask, int64_t S) {
  if (!mask) return NULL;
  if (mask->dtype == MT_bool)
    mask = t_where(c, mask, mt_scalar_tensor(c, mt_si(0), MT_float32),
                   mt_scalar_tensor(c, mt_sd(-INFINITY), MT_float32));
  if (mask && mask->ndim < 2) mask = t_expand(c, mask, mt_il((int64_t[]){1, S}, 2), false);
  if (!mask || mask->size[mask->ndim - 1] == S) return floats(c, mask);
  int64_t size[MT_MAXDIM];
  for (int i = 0; i < mask->ndim; i++) size[i] = i == mask->ndim - 1 ? S : mask->size[i];
  return mt_contig_as(c, t_expand(c, mask, mt_il(size, mask->ndim), false), MT_float32);
}
/* An uninitialised float tensor; four dimensions lie as [batch, row, head, element], where the
 * heads join for free. */
static Tensor *fresh(Ctx *c, const Tensor *t, int64_t rows, int64_t last) {
  int64_t size[MT_MAXDIM];
  for (int i = 0; i < t->ndim; i++) size[i] = t->size[i];
  size[t->ndim - 2] = rows;
  size[t->ndim - 1] = last;
  if (t->ndim != 4) return mt_new(c, mt_il(size, t->ndim), MT_float32, MT_CPU);
  int64_t stride[4] = {size[1] * rows * last, last, size[1] * last, 1};
  return mt_new_strided(c, mt_il(size, 4), mt_il(stride, 4), MT_float32, MT_CPU);
}

static Attn job(Ctx *c, Tensor *q, Tensor *k, Tensor *v, Tensor *mask, bool causal, double scale) {
  Attn a = {.g = mt_gemm_kerns()->f32,
            .k = mt_seq_kerns(),
            .causal = causal,
            .scale = (float)scale,
            .heads = 1,
            .share = 1};
  int nd = q->ndim;
  for (int i = 0; i < nd - 2; i++) a.heads *= q->size[i];
  if (nd > 2 && k->size[nd - 3]) a.share = q->size[nd - 3] / k->size[nd - 3];
  a.L = q->size[nd - 2]; a.S = k->size[nd - 2]; a.E = q->size[nd - 1]; a.Ev = v->size[nd - 1];
  a.q = side(c, q, q); a.key = side(c, k, q); a.v = side(c, v, q); a.mask = side(c, mask, q);
  if (mask && mask->size[mask->ndim - 2] == 1) a.mask.row = 0;
  return a;
}

void k__sdpa(Ctx *c, Tensor *query, Tensor *key, Tensor *value, Tensor *attn_mask, bool is_causal,
             double scale, Val *out) {
  Tensor *q = floats(c, query), *k = floats(c, key), *v = floats(c, value);
  Tensor *mask = addend(c, attn_mask, key->size[key->ndim - 2]);
  Tensor *o = fresh(c, query, query->size[query->ndim - 2], value->size[value->ndim - 1]);
  Tensor *lse = mt_new(c, mt_il(query->size, query->ndim - 1), MT_float32, MT_CPU);
  if (mt_bad(c)) return;
  Attn a = job(c, q, k, v, mask, is_causal, scale);
  a.o = side(c, o, q);
  if (mt_bad(c)) return;
  a.lse = mt_data(lse);
  int threads = mt_num_threads();
  if (MT_TOO_LITTLE((double)a.heads * (double)a.L * (double)a.S * (double)a.E, 2e5)) threads = 1;
  int64_t most = 36 * a.g->mr,
          want = threads == 1 ? a.L : (a.heads * a.L + 8 * threads - 1) / (8 * threads);
  a.part = up(want < 4 * a.g->mr ? 4 * a.g->mr : want, a.g->mr);
  if (a.part > most) a.part = most;
  if (a.part > a.L) a.part = a.L;
  a.parts = a.part ? (a.L + a.part - 1) / a.part : 0;
  a.bytes = sizeof(float) * unit_floats(&a, a.L <= FEW);
  if (threads == 1) forward_work(&a, 0, 1);
  else mt_parallel(threads, 1, forward_work, &a);
  mt_product_status(c, (MtGemmStatus)atomic_load(&a.status));
  if (mt_poll(c)) return;
  out[0].t = mt_cast(c, o, (DType)query->dtype);
  out[1].t = lse;
}

void k__sdpa_grads(Ctx *c, Tensor *grad, Tensor *query, Tensor *key, Tensor *value,
                   Tensor *attn_mask, Tensor *result, Tensor *lse, bool is_causal, double scale,
                   Val *out) {
  Tensor *q = floats(c, query), *k = floats(c, key), *v = floats(c, value), *go = floats(c, grad),
         *o = floats(c, result);
  Tensor *mask = addend(c, attn_mask, key->size[key->ndim - 2]);
  int nd = query->ndim;
  Tensor *gq = fresh(c, query, query->size[nd - 2], query->size[nd - 1]);
  Tensor *gk = fresh(c, key, key->size[nd - 2], key->size[nd - 1]),
         *gv = fresh(c, value, value->size[nd - 2], value->size[nd - 1]);
  if (mt_bad(c)) return;
  Attn a = job(c, q, k, v, mask, is_causal, scale);
  a.o = side(c, o, q); a.go = side(c, go, q); a.gq = side(c, gq, q);
  a.gk = side(c, gk, k); a.gv = side(c, gv, k);
  if (mt_bad(c)) return;
  a.lse = mt_data(lse);
  a.bytes = sizeof(float) * (size_t)(2 * GQ * GK + a.L + 64);
  int threads = mt_num_threads();
  if (MT_TOO_LITTLE((double)a.heads * (double)a.L * (double)a.S * (double)a.E, 1e5)) threads = 1;
  if (threads == 1) backward_work(&a, 0, 1);
  else mt_parallel(threads, 1, backward_work, &a);
  mt_product_status(c, (MtGemmStatus)atomic_load(&a.status));
  if (mt_poll(c)) return;
  out[0].t = mt_cast(c, gq, (DType)query->dtype);
  out[1].t = mt_cast(c, gk, (DType)key->dtype);
  out[2].t = mt_cast(c, gv, (DType)value->dtype);
}

/* ---- the formula ---- */
static Tensor *num(Ctx *c, double x) { return mt_wrap(c, mt_sd(x)); }
static Tensor *to(Ctx *c, Tensor *t, int dtype) {
  return t && t->dtype != dtype ? t_to_dtype(c, t, dtype, false, -1) : t;
}

/* Each head of t serves `times` heads. */
static Tensor *repeat_heads(Ctx *c, Tensor *t, int64_t by) {
  int64_t size[MT_MAXDIM + 1], flat[MT_MAXDIM];
  int n = t ? t->ndim : 0;
  if (!t || by == 1) return t;
  memcpy(flat, t->size, sizeof(int64_t) * (size_t)n);
  memcpy(size, flat, sizeof(int64_t) * (size_t)(n - 2));
  size[n - 2] = by; size[n - 1] = flat[n - 2]; size[n] = flat[n - 1];
  flat[n - 3] *= by;
  return t_reshape(c, t_expand(c, t_unsqueeze(c, t, -3), mt_il(size, n + 1), false),
                   mt_il(flat, n));
}
/* softmax(query key^T scale + mask); a row with nothing allowed is 0. */
static Tensor *weights(Ctx *c, Tensor *q, Tensor *k, Tensor *mask, bool causal, double s) {
  int64_t L = q->size[q->ndim - 2], S = k->size[k->ndim - 2];
  Tensor *w = t_matmul(c, t_mul(c, q, num(c, s)), t_transpose(c, k, -2, -1));
  Tensor *allowed = mask && mask->dtype == MT_bool ? mask : NULL;
  if (causal)
    allowed = t_tril(c, t_ones(c, mt_il((int64_t[]){L, S}, 2), MT_bool, -1, -1, -1, false), 0);
  if (allowed) w = t_masked_fill(c, w, t_logical_not(c, allowed), mt_sd(-INFINITY));
  else if (mask) w = t_add(c, w, to(c, mask, q->dtype), mt_si(1));
  if (!mask || !w || !w->numel) return t_softmax(c, w, -1, -1);
  bool mode = c->grad_mode;
  c->grad_mode = false;
  Tensor *dead = t_eq(c, t_amax(c, w, mt_il((int64_t[]){-1}, 1), true), num(c, -INFINITY));
  c->grad_mode = mode;
  return t_masked_fill(c, t_softmax(c, w, -1, -1), dead, mt_si(0));
}

/* Gradients; while a graph is made of the backward pass, in terms of ops that have derivatives. */
void k__sdpa_backward(Ctx *c, Tensor *grad, Tensor *query, Tensor *key, Tensor *value,
                      Tensor *attn_mask, Tensor *result, Tensor *lse, bool is_causal, double scale,
                      Val *out) {
  if (!c->grad_mode) {
    t__sdpa_grads(c, grad, query, key, value, attn_mask, result, lse, is_causal, scale, out);
    return;
  }
  int64_t by = query->ndim > 2 && key->size[key->ndim - 3]
                   ? query->size[query->ndim - 3] / key->size[key->ndim - 3]
                   : 1;
  Tensor *k = repeat_heads(c, key, by), *v = repeat_heads(c, value, by);
  Tensor *w = weights(c, query, k, attn_mask, is_causal, scale);
  Tensor *gv = t_matmul(c, t_transpose(c, w, -2, -1), grad),
         *gw = t_matmul(c, grad, t_transpose(c, v, -2, -1));
  Tensor *sum = t_sum_dim(c, t_mul(c, gw, w), mt_il((int64_t[]){-1}, 1), true, -1);
  Tensor *gs = t_mul(c, t_mul(c, w, t_sub(c, gw, sum, mt_si(1))), num(c, scale));
  Tensor *gq = t_matmul(c, gs, k), *gk = t_matmul(c, t_transpose(c, gs, -2, -1), query);
  if (by != 1 && !mt_bad(c)) {
    int64_t size[MT_MAXDIM + 1];
    for (int s = 0; s < 2; s++) {
      Tensor **t = s ? &gv : &gk;
      int n = (*t)->ndim;
      memcpy(size, (*t)->size, sizeof(int64_t) * (size_t)n);
      size[n - 3] /= by;
      size[n] = size[n - 1]; size[n - 1] = size[n - 2]; size[n - 2] = by;
      *t = t_sum_dim(c, t_reshape(c, *t, mt_il(size, n + 1)), mt_il((int64_t[]){-3}, 1), false, -1);
      if (mt_bad(c)) return;
    }
  }
  out[0].t = gq; out[1].t = gk; out[2].t = gv;
}

/* ---- the row ---- */
static bool same_lead(const Tensor *a, const Tensor *b, int n) {
  return a->ndim == b->ndim && !memcmp(a->size, b->size, sizeof(int64_t) * (size_t)(n < 0 ? 0 : n));
}
/* Do the fused kernels serve this call? */
static bool fused(Ctx *c, const Tensor *q, const Tensor *k, const Tensor *v, const Tensor *mask,
                  int64_t by) {
  int nd = q->ndim;
  if (q->dtype != MT_float32 && q->dtype != MT_float16 && q->dtype != MT_bfloat16) return false;
  if (mt_meta(q) || mt_meta(k) || mt_meta(v) || !q->numel || !k->numel || !v->numel) return false;
  if (!same_lead(k, v, nd - 1) || k->ndim != nd || !same_lead(q, k, by == 1 ? nd - 2 : nd - 3))
    return false;
  if (q->size[nd - 1] > 512 || v->size[nd - 1] > 512) return false;
  if (!mask) return true;
  if ((c->grad_mode && mask->flags & MT_REQ_GRAD) || mask->ndim > nd ||
      (mask->dtype != MT_bool && mask->dtype != q->dtype && mask->dtype != MT_float32))
    return false;
  for (int i = 0; i < mask->ndim; i++) {
    int j = nd - 1 - i;
    int64_t m = mask->size[mask->ndim - 1 - i],
            want = i == 0 ? k->size[nd - 2] : q->size[i == 1 ? nd - 2 : j];
    if (m != want && m != 1) return false;
  }
  return true;
}

Tensor *k_F_scaled_dot_product_attention(Ctx *c, Tensor *q, Tensor *k, Tensor *v, Tensor *mask,
                                         double dropout, bool causal, Scalar scale, bool gqa) {
  int64_t by = 1;
  if (q->ndim < 2 || k->ndim < 2 || v->ndim < 2)
    return mt_fail(c, "query, key and value need at least 2 dimensions");
  if (q->dtype != k->dtype || q->dtype != v->dtype)
    return mt_fail(c, "query, key and value must have the same dtype");
  if (mask && causal) return mt_fail(c, "attn_mask cannot be given together with is_causal=True");
  if (gqa && q->ndim >= 3 && k->ndim >= 3 && v->ndim >= 3 && k->size[k->ndim - 3]) {
    by = q->size[q->ndim - 3] / k->size[k->ndim - 3];
    if (by * k->size[k->ndim - 3] != q->size[q->ndim - 3] ||
        k->size[k->ndim - 3] != v->size[v->ndim - 3])
      return mt_fail(c,
                     "enable_gqa: the heads of query (%lld) must be a multiple of those of key and "
                     "value (%lld, %lld)",
                     (long long)q->size[q->ndim - 3], (long long)k->size[k->ndim - 3],
                     (long long)v->size[v->ndim - 3]);
  }
  double s = mt_has(scale) ? mt_sre(scale) : 1 / sqrt((double)q->size[q->ndim - 1]);
  if (dropout == 0 && q->size[q->ndim - 1] == k->size[k->ndim - 1] && fused(c, q, k, v, mask, by)) {
    Val r[2];
    t__sdpa(c, q, k, v, mask, causal, s, r);
    return r[0].t;
  }
  k = repeat_heads(c, k, by);
  v = repeat_heads(c, v, by);
  int given = q->dtype;                              /* half types are rounded once, at the end */
  if (given == MT_float16 || given == MT_bfloat16) {
    q = to(c, q, MT_float32);
    k = to(c, k, MT_float32);
    v = to(c, v, MT_float32);
  }
  if (mt_bad(c)) return NULL;
  Tensor *w = weights(c, q, k, mask, causal, s);
  if (dropout > 0 && w) {
    Tensor *keep = t_rand_like(c, w, NULL, -1, -1, -1, -1, false, -1);
    w = t_mul(c, w,
              t_div(c, to(c, t_ge(c, keep, num(c, dropout)), w->dtype), num(c, 1 - dropout), NULL));
  }
  return to(c, t_matmul(c, w, v), given);
}
