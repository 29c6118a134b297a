/* conv_weight.c: the weights' gradient of float and double convolutions.
 *
 * dw[o, i, t] sums dy[o, j] * x[i, j + t] over positions j and images.  The taps of one channel of
 * x read the same padded image, each at its own offset, so no columns are made: dy is transposed in
 * blocks of positions that fit the cache (channels side by side in vectors), x is broadcast from
 * where it lies.  Where a group has few output channels, each pair of planes gives its taps as dot
 * products instead.  Units of work write apart, and every element sums blocks of positions in an
 * order that does not depend on the threads. */
#include "conv_impl.h"
#include "gemm_impl.h"
#include <stdatomic.h>
#include <string.h>

enum { BLOCK = MT_CONV_BLOCK };

typedef struct {
  const MtConv *c;
  MtPadded p;
  const char *x, *dy;
  char *dw, *ragged, *mem;
  int64_t *off;                                /* of the taps */
  int64_t images, rows, cols;                  /* a block: of several images all positions, or */
  int64_t ci_units, co_units, units;
  size_t per_thread, ragged_bytes;             /* ragged: of one group */
  bool in_place, dots;
  _Atomic int64_t next;
  _Atomic int status;
} Job;

static int64_t up(int64_t x, int64_t to) { return (x + to - 1) / to * to; }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Channels of x at a distance of several KB would meet in the same sets of the cache. */
static bool clash(int64_t bytes) { return bytes % 2048 == 0; }

/* Is the image its own padded copy? */
static bool unpadded(const MtConv *c, MtPadded *p) {
  for (int d = 0; d < 3; d++) if (c->pad[d] || p->size[d] > c->in[d]) return false;
  if (p->phases > 1 || clash(mt_conv_prod(c->in) * mt_conv_sizes[c->type])) return false;
  p->row = c->in[2]; p->plane = p->row * c->in[1]; p->channel = p->plane * c->in[0];
  return true;
}

#define T float
#define N(x) x##F32
#define KERN f32
#include "conv_weight.inc"
#define T double
#define N(x) x##F64
#define KERN f64
#include "conv_weight.inc"

static void work(void *ctx, int64_t lo, int64_t hi) {
  Job *j = ctx;
  int64_t u;
  char *mem = j->mem + (size_t)lo * j->per_thread;
  bool single = j->c->type == MT_GEMM_F32;
  (void)hi;
  while ((u = atomic_fetch_add(&j->next, 1)) < j->units && !atomic_load(&j->status)) {
    bool done;
    if (j->dots) done = single ? dotsF32(j, u, (void *)mem) : dotsF64(j, u, (void *)mem);
    else done = single ? unitF32(j, u, (void *)mem) : unitF64(j, u, (void *)mem);
    if (!done) atomic_store(&j->status, MT_GEMM_INTERRUPTED);
  }
}

static void turn(void *ctx, int64_t lo, int64_t hi) {
  Job *j = ctx;
  int64_t u;
  char *mem = j->mem + (size_t)lo * j->per_thread;
  (void)hi;
  while ((u = atomic_fetch_add(&j->next, 1)) < j->units) {
    if (j->c->type == MT_GEMM_F32) turnF32(j, u, (void *)mem);
    else turnF64(j, u, (void *)mem);
  }
}

static void blocks(Job *j) {
  const MtConv *c = j->c;
  int64_t plane = mt_conv_prod(c->out), cin = c->cin / c->groups;
  j->images = 1; j->rows = 1; j->cols = c->out[2];
  if (plane <= BLOCK) {
    int64_t fit = j->in_place ? BLOCK : MT_CONV_FIT / (cin * j->p.channel);
    j->images = least(BLOCK / plane, fit);
    j->images = j->images < 1 ? 1 : least(j->images, c->n);
    j->rows = c->out[0] * c->out[1];
  } else if (c->out[2] > BLOCK) j->cols = up(c->out[2], up(c->out[2], BLOCK) / BLOCK);
  else j->rows = BLOCK / c->out[2];
}

/* Splits the channels so that there is a unit for every thread. */
static void share(Job *j, int threads, int64_t panels) {
  const MtConv *c = j->c;
  int64_t cin = c->cin / c->groups, want = threads > 1 ? 2 * threads : 1;
  j->ci_units = j->co_units = 1;
  if (j->dots) j->ci_units = cin;
  else {
    int64_t each = (want + c->groups - 1) / c->groups;
    j->ci_units = least(each, cin < 8 ? 1 : cin / 4);
    j->co_units = least((each + j->ci_units - 1) / j->ci_units, panels);
  }
  j->units = c->groups * j->ci_units * j->co_units;
}

MtGemmStatus mt_conv_weight_real(const MtConv *c, const void *x, const void *dy, void *dw) {
  const MtGemmKerns *k = mt_gemm_kerns();
  int vl = c->type == MT_GEMM_F32 ? k->f32->vl : k->f64->vl, threads = mt_num_threads();
  int64_t size = mt_conv_sizes[c->type], taps = mt_conv_prod(c->k), klen = mt_conv_klen(c),
          cin = c->cin / c->groups, cout = c->cout / c->groups,
          panels = (cout + 2 * vl - 1) / (2 * vl);
  memset(dw, 0, (size_t)(c->cout * klen * size));
  if (c->n * mt_conv_prod(c->out) * klen * c->cout == 0) return MT_GEMM_OK;
  Job j = {.c = c, .p = mt_conv_padded(c), .x = x, .dy = dy, .dw = dw};
  if (MT_TOO_LITTLE((double)(c->n * c->cout * mt_conv_prod(c->out)) * (double)klen, 1e5))
    threads = 1;
  j.in_place = unpadded(c, &j.p);
  if (!j.in_place) {
    j.p.channel = up(j.p.channel, 64 / size);
    if (clash(j.p.channel * size)) j.p.channel += 64 / size;
  }
  j.dots = cout < vl / 2 || (cin == 1 && cout <= 2 * vl);
  blocks(&j);
  share(&j, threads, panels);
  threads = (int)least(threads, j.units);
  int64_t ci = (cin + j.ci_units - 1) / j.ci_units, co = (panels + j.co_units - 1) / j.co_units,
          at = up(j.rows, 1) * j.cols * j.images;
  int64_t image = j.in_place ? 0 : (j.dots ? 1 : j.images * ci) * j.p.channel;
  int64_t elems = image + MT_CONV_SLACK;
  if (!j.dots) {
    elems += (co + 1) * 2 * vl * at + MT_CONV_SLACK;
    if (elems < klen * 2 * vl) elems = klen * 2 * vl;
    if (cout % vl) j.ragged_bytes = (size_t)up(klen * 2 * vl * size, 64);
  }
  j.per_thread = (size_t)up(elems * size, 64) + 64;
  size_t threads_bytes = j.per_thread * (size_t)threads,
         ragged = j.ragged_bytes * (size_t)c->groups;
  j.mem = mt_scratch_take(threads_bytes + ragged + (size_t)taps * sizeof(int64_t));
  if (!j.mem) return MT_GEMM_NOMEM;
  j.ragged = j.mem + threads_bytes;
  memset(j.ragged, 0, ragged);
  j.off = (int64_t *)(void *)(j.ragged + ragged);
  for (int64_t t = 0; t < taps; t++) j.off[t] = mt_conv_tap(c, &j.p, t);
  if (threads > 1) mt_parallel(threads, 1, work, &j);
  else work(&j, 0, 1);
  j.units = c->groups * panels;
  atomic_store(&j.next, 0);
  if (!j.dots && threads > 1) mt_parallel(threads, 1, turn, &j);
  else if (!j.dots) turn(&j, 0, 1);
  mt_scratch_give(j.mem);
  return (MtGemmStatus)atomic_load(&j.status);
}
