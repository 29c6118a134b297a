/* iter.c: see iter.h. */
#include "iter.h"
#include <string.h>

enum { GRAIN = 32768, BLOCK = 1024, PIECE = 1 << 18 };

static bool same_contig(const Tensor *t, const Tensor *ref) {
  return t->ndim == ref->ndim && !memcmp(t->size, ref->size, sizeof(int64_t) * t->ndim) &&
         mt_is_contiguous(t);
}

/* All operands have one shape and are row-major, or are single elements: one dimension. */
static bool init_flat(Ctx *c, Iter *it, Tensor **t) {
  Tensor *ref = NULL;
  for (int i = it->nout; i < it->nop; i++)
    if (!ref || t[i]->ndim > ref->ndim || t[i]->numel > ref->numel) ref = t[i];
  if (!ref || !mt_is_contiguous(ref)) return false;
  for (int i = 0; i < it->nop; i++)
    if (t[i] && t[i] != ref && !same_contig(t[i], ref) &&
        !(i >= it->nout && t[i]->numel == 1 && t[i]->ndim <= ref->ndim))
      return false;
  for (int i = 0; i < it->nout; i++)
    if (!t[i] && !(t[i] = mt_new(c, mt_sizes(ref), (DType)it->ct[i], it->meta ? MT_META : MT_CPU)))
      return true;
  it->ndim = 1;
  it->numel = it->size[0] = ref->numel;
  for (int i = 0; i < it->nop; i++)
    it->stride[i][0] = t[i]->numel == 1 && ref->numel != 1 ? 0 : (int64_t)mt_dsize(t[i]->dtype);
  return true;
}

/* Should dim a lie inside (run faster than) dim b?  1 yes, -1 no, 0 undecided; the outputs' strides
 * decide first. */
static int closer(Iter *it, int a, int b) {
  for (int i = 0; i < it->nop; i++) {
    if (!it->t[i]) continue;
    int64_t x = it->stride[i][a], y = it->stride[i][b];
    if (!x || !y) continue;
    if (x < y) return 1;
    if (x > y) return -1;
    if (it->size[a] > it->size[b]) return -1;
  }
  return 0;
}

/* perm[k] is the original dim that becomes k-th fastest. */
static void order_dims(Iter *it, int *perm) {
  int n = it->ndim;
  for (int i = 0; i < n; i++) perm[i] = n - 1 - i;
  for (int i = 1; i < n; i++) {
    int d1 = i;
    for (int d0 = i - 1; d0 >= 0; d0--) {
      int cmp = closer(it, perm[d0], perm[d1]);
      if (cmp < 0) { int t = perm[d0]; perm[d0] = perm[d1]; perm[d1] = t; d1 = d0; }
      else if (cmp > 0) break;
    }
  }
}

static Tensor *alloc_out(Ctx *c, Iter *it, int i, const int *perm) {
  int64_t stride[MT_MAXDIM], acc = 1;
  bool plain = true;
  for (int k = 0; k < it->ndim; k++) plain &= perm[k] == it->ndim - 1 - k;
  if (plain)
    return mt_new(c, mt_il(it->size, it->ndim), (DType)it->ct[i], it->meta ? MT_META : MT_CPU);
  for (int k = 0; k < it->ndim; k++) {
    stride[perm[k]] = acc;
    acc *= it->size[perm[k]] > 1 ? it->size[perm[k]] : 1;
  }
  return mt_new_strided(c, mt_il(it->size, it->ndim), mt_il(stride, it->ndim), (DType)it->ct[i],
                        it->meta ? MT_META : MT_CPU);
}

/* Reorders the dims by perm and merges neighbours that all operands step through evenly. */
static void coalesce(Iter *it, const int *perm) {
  int64_t size[MT_MAXDIM], stride[MT_MAXOPS][MT_MAXDIM];
  int n = it->ndim, m = 0;
  for (int k = 0; k < n; k++) {
    int d = perm[k];
    if (it->size[d] == 1) continue;
    bool merge = m > 0;
    for (int i = 0; merge && i < it->nop; i++)
      merge = stride[i][m - 1] * size[m - 1] == it->stride[i][d];
    if (merge) { size[m - 1] *= it->size[d]; continue; }
    size[m] = it->size[d];
    for (int i = 0; i < it->nop; i++) stride[i][m] = it->stride[i][d];
    m++;
  }
  if (m == 0) {
    size[0] = 1;
    for (int i = 0; i < it->nop; i++) stride[i][0] = (int64_t)mt_dsize(it->dt[i]);
    m = 1;
  }
  it->ndim = m;
  memcpy(it->size, size, sizeof(int64_t) * (size_t)m);
  for (int i = 0; i < it->nop; i++) memcpy(it->stride[i], stride[i], sizeof(int64_t) * (size_t)m);
}

/* A stride in bytes: that of a dimension of one element may wrap, nobody goes there. */
static int64_t bytes(int64_t stride, int64_t size) {
  return (int64_t)((uint64_t)stride * (uint64_t)size);
}

static bool init_general(Ctx *c, Iter *it, Tensor **t) {
  int n = 0, perm[MT_MAXDIM];
  for (int i = 0; i < it->nop; i++) /* a given output takes part: copies broadcast into it */
    if (t[i] && !mt_broadcast(c, n, it->size, t[i]->ndim, t[i]->size, &n, it->size)) return false;
  it->ndim = n;
  it->numel = 1;
  for (int d = 0; d < n; d++) it->numel *= it->size[d];
  for (int i = 0; i < it->nop; i++) {
    if (!t[i]) continue;
    int lead = n - t[i]->ndim;
    if (i < it->nout && (lead != 0 || memcmp(t[i]->size, it->size, sizeof(int64_t) * (size_t)n))) {
      mt_fail(c, "the output of shape %s cannot hold a result of shape %s",
              mt_list_str(c, mt_sizes(t[i])), mt_list_str(c, mt_il(it->size, n)));
      return false;
    }
    int64_t es = (int64_t)mt_dsize(t[i]->dtype);
    for (int d = 0; d < n; d++)
      it->stride[i][d] = d < lead || (t[i]->size[d - lead] == 1 && it->size[d] != 1)
                             ? 0
                             : bytes(t[i]->stride[d - lead], es);
  }
  order_dims(it, perm);
  for (int i = 0; i < it->nout; i++) {
    if (t[i]) continue;
    if (!(t[i] = alloc_out(c, it, i, perm))) return false;
    for (int d = 0; d < n; d++)
      it->stride[i][d] = bytes(t[i]->stride[d], (int64_t)mt_dsize(t[i]->dtype));
  }
  for (int i = 0; i < it->nop; i++) it->dt[i] = t[i]->dtype;
  if (it->numel) coalesce(it, perm);
  return true;
}

/* An operand of one number, of another dtype than the loop's, is cast once and not per block. */
static bool cast_numbers(Ctx *c, Iter *it) {
  it->cast = false;
  for (int i = 0; i < it->nop; i++) {
    bool other = it->dt[i] != it->ct[i];
    if (other && i >= it->nout && it->t[i]->numel == 1 && it->numel > BLOCK && !it->meta) {
      char *one = mt_tmp(c, 16);
      if (!one) return false;
      mt_cast_loop((DType)it->ct[i], (DType)it->dt[i])((char *[]){one, it->data[i]},
                                                       (int64_t[]){16, 16}, 1, NULL);
      it->data[i] = one;
      it->dt[i] = it->ct[i];
      other = false;
    }
    it->cast |= other;
  }
  return true;
}

bool mt_iter_init(Ctx *c, Iter *it, int nout, int nop, Tensor **t, const DType *ct) {
  if (c->err) return false;
  it->nop = nop;
  it->nout = nout;
  it->meta = false;
  for (int i = 0; i < nop; i++) {
    it->ct[i] = (uint8_t)ct[i];
    it->t[i] = t[i];
    if (!t[i] && i >= nout) { mt_fail(c, "a required tensor is missing"); return false; }
    if (t[i] && mt_meta(t[i])) it->meta = true;
  }
  if (!init_flat(c, it, t) && !init_general(c, it, t)) return false;
  if (c->err) return false;
  for (int i = 0; i < nop; i++) {
    it->t[i] = t[i];
    it->dt[i] = t[i]->dtype;
    it->data[i] = mt_data(t[i]);
  }
  return cast_numbers(c, it);
}

/* ---- running ---- */
static void run_cast(const Iter *it, Loop loop, const void *par, char **p, const int64_t *s,
                     int64_t n) {
  _Alignas(64) char buf[MT_MAXOPS][BLOCK * 16];
  char *q[MT_MAXOPS];
  int64_t qs[MT_MAXOPS];
  char *at[MT_MAXOPS];
  for (int i = 0; i < it->nop; i++) at[i] = p[i];
  for (int64_t done = 0; done < n; done += BLOCK) {
    int64_t m = n - done < BLOCK ? n - done : BLOCK;
    for (int i = 0; i < it->nop; i++) {
      bool conv = it->dt[i] != it->ct[i];
      q[i] = conv ? buf[i] : at[i];
      qs[i] = conv ? (int64_t)mt_dsize(it->ct[i]) : s[i];
      if (conv && i >= it->nout) {
        int64_t one = s[i] == 0 ? 1 : m;
        if (s[i] == 0) qs[i] = 0;
        mt_cast_loop((DType)it->ct[i], (DType)it->dt[i])(
            (char *[]){buf[i], at[i]}, (int64_t[]){(int64_t)mt_dsize(it->ct[i]), s[i]}, one, NULL);
      }
    }
    loop(q, qs, m, par);
    for (int i = 0; i < it->nout; i++)
      if (it->dt[i] != it->ct[i])
        mt_cast_loop((DType)it->dt[i], (DType)it->ct[i])(
            (char *[]){at[i], buf[i]}, (int64_t[]){s[i], (int64_t)mt_dsize(it->ct[i])}, m, NULL);
    for (int i = 0; i < it->nop; i++) at[i] += s[i] * m;
  }
}

static inline void run_1d(const Iter *it, Loop loop, const void *par, char **p, const int64_t *s,
                          int64_t n) {
  if (it->cast) run_cast(it, loop, par, p, s, n);
  else loop(p, s, n, par);
}

static void run_range(const Iter *it, Loop loop, const void *par, int64_t lo, int64_t hi) {
  char *p[MT_MAXOPS];
  int64_t s[MT_MAXOPS], idx[MT_MAXDIM], n0 = it->size[0];
  for (int i = 0; i < it->nop; i++) s[i] = it->stride[i][0];
  if (it->ndim == 1) {
    for (int i = 0; i < it->nop; i++) p[i] = it->data[i] + lo * s[i];
    run_1d(it, loop, par, p, s, hi - lo);
    return;
  }
  int64_t rest = lo;
  for (int d = 0; d < it->ndim; d++) { idx[d] = rest % it->size[d]; rest /= it->size[d]; }
  for (int i = 0; i < it->nop; i++) {
    p[i] = it->data[i];
    for (int d = 0; d < it->ndim; d++) p[i] += idx[d] * it->stride[i][d];
  }
  while (lo < hi) {
    int64_t n = n0 - idx[0];
    if (n > hi - lo) n = hi - lo;
    run_1d(it, loop, par, p, s, n);
    lo += n;
    if (lo >= hi) break;
    for (int i = 0; i < it->nop; i++) p[i] -= idx[0] * s[i];
    idx[0] = 0;
    for (int d = 1; d < it->ndim; d++) {
      for (int i = 0; i < it->nop; i++) p[i] += it->stride[i][d];
      if (++idx[d] < it->size[d]) break;
      for (int i = 0; i < it->nop; i++) p[i] -= it->size[d] * it->stride[i][d];
      idx[d] = 0;
    }
  }
}

typedef struct { const Iter *it; Loop loop; const void *par; } Job;
static void run_job(void *ctx, int64_t lo, int64_t hi) {
  Job *j = ctx;
  for (; lo < hi && !mt_interrupted; lo += PIECE)
    run_range(j->it, j->loop, j->par, lo, lo + PIECE < hi ? lo + PIECE : hi);
}

/* Whether elements of output o may share memory (an expanded or strided view written in place): the
 * last write then decides, so one thread makes it the same one each time. */
static bool overlaps_itself(const Iter *it, int o) {
  const int64_t *stride = it->stride[o];
  int order[MT_MAXDIM];
  for (int d = 0; d < it->ndim; d++) {
    int k = d;
    for (; k > 0 && stride[order[k - 1]] > stride[d]; k--) order[k] = order[k - 1];
    order[k] = d;
  }
  int64_t reach = (int64_t)mt_dsize(it->dt[o]);          /* bytes that the dims so far span */
  for (int k = 0; k < it->ndim; k++) {
    int64_t n = it->size[order[k]], step = stride[order[k]];
    if (n > 1 && step < reach) return true;
    reach += (n - 1) * step;
  }
  return false;
}

/* Loops of a few elements each (points of three numbers plus one) cost more than steps apart. */
enum { SHORT = 8 };
static void swap_inner(Iter *it) {
  int64_t n = it->size[0];
  it->size[0] = it->size[1];
  it->size[1] = n;
  for (int i = 0; i < it->nop; i++) {
    int64_t step = it->stride[i][0];
    it->stride[i][0] = it->stride[i][1];
    it->stride[i][1] = step;
  }
}

bool mt_iter_run(Ctx *c, Iter *it, Loop loop, const void *par) {
  if (it->numel == 0 || it->meta) return true;
  bool little = MT_TOO_LITTLE(it->numel, GRAIN + 1), apart = true;
  bool brief = it->ndim > 1 && it->size[0] <= SHORT && it->size[1] >= 8 * it->size[0];
  if (little && !brief) { run_range(it, loop, par, 0, it->numel); return true; }
  Job j = {it, loop, par};
  for (int i = 0; i < it->nout; i++) apart = apart && !overlaps_itself(it, i);
  if (brief && apart) swap_inner(it);
  if (little) { run_range(it, loop, par, 0, it->numel); return true; }
  if (apart) mt_parallel(it->numel, GRAIN, run_job, &j);
  else run_job(&j, 0, it->numel);
  return !mt_poll(c);
}

void mt_iter_run_serial(Iter *it, Loop loop, const void *par) {
  if (it->numel && !it->meta) run_range(it, loop, par, 0, it->numel);
}

/* Exactly the same memory walked in the same order is fine; any other sharing is not. */
static bool clash(const Tensor *out, const Tensor *in) {
  if (out->st != in->st || out->numel == 0 || in->numel == 0) return false;
  if (out->offset == in->offset && out->ndim == in->ndim && out->dtype == in->dtype &&
      !memcmp(out->size, in->size, sizeof(int64_t) * out->ndim) &&
      !memcmp(out->stride, in->stride, sizeof(int64_t) * out->ndim))
    return false;
  return true;
}

Tensor *mt_take_out(Ctx *c, int ndim, const int64_t *size, Tensor **in, int nin) {
  Tensor *o = c->out;
  c->out = NULL;
  if (!o || o->ndim != ndim || memcmp(o->size, size, sizeof(int64_t) * (size_t)ndim) ||
      (o->flags & (MT_CONJ | MT_NEG)))
    return NULL;
  for (int i = 0; i < nin; i++) if (in[i] && clash(o, in[i])) return NULL;
  return o;
}
