/* conv_input.c: the input's gradient of float and double convolutions, as forward passes.
 *
 * With stride 1 it is the convolution of dy with the kernel turned round and its channels
 * exchanged.  With a stride s the elements of dx fall into s classes along each dimension; each is
 * such a convolution with the taps that reach it, and the classes are interleaved afterwards. */
#include "conv_impl.h"
#include "gemm_impl.h"
#include <string.h>

enum { MOST = 8 }; /* phases along a dimension */

/* One class along one dimension: elements first, first + stride, ... and the taps tap, tap + next,
 * ... that reach it. */
typedef struct { int64_t first, count, tap, next, taps, dil, pad; } Phase;

static int64_t common(int64_t a, int64_t b) { return b ? common(b, a % b) : a; }

static Phase phase_of(const MtConv *c, int d, int64_t f) {
  int64_t s = c->stride[d], pad = c->pad[d], g = common(s, c->dil[d]),
          last = c->in[d] - 1 + pad - f;
  int64_t q = pad > f ? (pad - f + s - 1) / s : 0; /* elements are s * q + f - pad */
  Phase p = {.first = q * s + f - pad, .next = s / g, .dil = c->dil[d] / g};
  p.count = last < 0 || last / s < q ? 0 : last / s - q + 1;
  while (p.tap < p.next && p.tap * c->dil[d] % s != f) p.tap++;
  if (p.tap >= p.next || p.tap >= c->k[d]) return p;
  p.taps = (c->k[d] - 1 - p.tap) / p.next + 1;
  p.pad = (p.tap * c->dil[d] - f) / s + (p.taps - 1) * p.dil - q;
  return p;
}

/* The kernel's taps of a class, last first: [cin][cout / groups][taps]. */
#define TURN(T, SUF)                                                                            \
  static void turn_##SUF(const MtConv *c, const Phase p[3], const T *w, T *dst) {               \
    int64_t ci = c->cin / c->groups, co = c->cout / c->groups, all = mt_conv_prod(c->k),        \
            taps = p[0].taps * p[1].taps * p[2].taps;                                           \
    for (int64_t g = 0; g < c->groups; g++, w += co * ci * all, dst += co * ci * taps)          \
      for (int64_t i0 = 0; i0 < ci; i0 += 8)                                                    \
        for (int64_t o = 0; o < co; o++)                                                        \
          for (int64_t i = i0; i < ci && i < i0 + 8; i++) {                                     \
            const T *from = w + (o * ci + i) * all;                                             \
            T *to = dst + (i * co + o) * taps;                                                  \
            for (int64_t z = p[0].taps - 1; z >= 0; z--)                                        \
              for (int64_t y = p[1].taps - 1; y >= 0; y--) {                                    \
                const T *row = from + ((p[0].tap + z * p[0].next) * c->k[1] + p[1].tap +        \
                                       y * p[1].next) * c->k[2] + p[2].tap;                     \
                for (int64_t x = p[2].taps - 1; x >= 0; x--) *to++ = row[x * p[2].next];        \
              }                                                                                 \
          }                                                                                     \
  }                                                                                             \
  static void spread_##SUF(const T *from, int64_t n, int64_t step, T *to) {                     \
    if (step == 2) for (int64_t i = 0; i < n; i++) to[2 * i] = from[i];                         \
    else for (int64_t i = 0; i < n; i++) to[step * i] = from[i];                                \
  }
TURN(float, f32)
TURN(double, f64)

typedef struct {
  const MtConv *c;
  const char *dy;
  char *dx, *w, *part;
  int64_t image, images;
  Phase z, y, x[MOST];          /* the classes at hand */
  size_t part_bytes;            /* of a class */
} Pass;

/* Interleaves the classes along the last dimension, for some planes of all images. */
static void interleave(void *ctx, int64_t lo, int64_t hi) {
  const Pass *s = ctx;
  const MtConv *c = s->c;
  int64_t size = mt_conv_sizes[c->type], ny = s->y.count, rows = s->z.count * ny;
  for (int64_t ch = lo; ch < hi; ch++)
    for (int64_t r = 0; r < rows; r++) {
      int64_t z = s->z.first + r / ny * c->stride[0], y = s->y.first + r % ny * c->stride[1];
      char *to = s->dx + size * ((s->image * c->cin + ch) * mt_conv_prod(c->in) +
                                 (z * c->in[1] + y) * c->in[2]);
      for (int64_t f = 0; f < c->stride[2]; f++) {
        const Phase *p = s->x + f;
        const char *from = s->part + (size_t)f * s->part_bytes + (ch * rows + r) * p->count * size;
        void *at = to + p->first * size;
        if (!p->taps) continue;
        if (size == 4) spread_f32((const void *)from, p->count, c->stride[2], at);
        else spread_f64((const void *)from, p->count, c->stride[2], at);
      }
    }
}

static MtConv as_forward(const Pass *s, const Phase p[3]) {
  MtConv r = *s->c;
  r.n = s->images; r.cin = s->c->cout; r.cout = s->c->cin;
  for (int d = 0; d < 3; d++) {
    r.in[d] = s->c->out[d]; r.out[d] = p[d].count; r.k[d] = p[d].taps;
    r.stride[d] = 1; r.pad[d] = p[d].pad; r.dil[d] = p[d].dil;
  }
  return r;
}

/* All classes along the last dimension. */
static MtGemmStatus pass(Pass *s, const void *w) {
  const MtConv *c = s->c;
  int64_t size = mt_conv_sizes[c->type];
  const char *dy = s->dy + s->image * c->cout * mt_conv_prod(c->out) * size;
  for (int64_t f = 0; f < c->stride[2]; f++) {
    Phase p[3] = {s->z, s->y, s->x[f]};
    MtConv r = as_forward(s, p);
    if (!mt_conv_prod(r.k) || !mt_conv_prod(r.out)) continue;
    if (size == 4) turn_f32(c, p, w, (void *)s->w);
    else turn_f64(c, p, w, (void *)s->w);
    MtGemmStatus st = mt_conv_forward(&r, dy, s->w, NULL,
                                      s->part ? s->part + (size_t)f * s->part_bytes : s->dx);
    if (st) return st;
  }
  if (s->part && s->z.taps && s->y.taps)
    mt_parallel(s->images * c->cin, 1 + 16384 / (mt_conv_prod(c->in) + 1), interleave, s);
  return MT_GEMM_OK;
}

/* Where few taps reach each element, or few channels lie beside each other, one product and columns
 * are quicker; padding beyond the kernel is theirs too. */
static bool suits(const MtConv *c) {
  bool overlap = false, straight = c->stride[0] * c->stride[1] * c->stride[2] == 1;
  int64_t ci = c->cin / c->groups, co = c->cout / c->groups;
  if (c->type != MT_GEMM_F32 && c->type != MT_GEMM_F64) return false;
  for (int d = 0; d < 3; d++) {
    if (c->stride[d] > MOST) return false;
    overlap |= c->k[d] > c->stride[d];
    for (int64_t f = 0; f < c->stride[d]; f++) {
      Phase p = phase_of(c, d, f);
      if (p.taps && p.pad < 0) return false;
    }
  }
  if (!straight && (!overlap || (ci < 8 && co > 1))) return false;
  return mt_conv_prod(c->out) > 0;
}

static void all_classes(Pass *s, const void *w, MtGemmStatus *status) {
  const MtConv *c = s->c;
  int64_t step = s->images;
  for (; s->image < c->n; s->image += step) {
    s->images = c->n - s->image < step ? c->n - s->image : step;
    for (int64_t f = 0; f < c->stride[2]; f++) s->x[f] = phase_of(c, 2, f);
    for (int64_t u = 0; u < c->stride[0] * c->stride[1]; u++) {
      s->z = phase_of(c, 0, u / c->stride[1]);
      s->y = phase_of(c, 1, u % c->stride[1]);
      if ((*status = pass(s, w))) return;
    }
  }
}

bool mt_conv_input_real(const MtConv *c, const void *dy, const void *w, void *dx,
                        MtGemmStatus *status) {
  if (!suits(c)) return false;
  int64_t size = mt_conv_sizes[c->type], wbytes = (c->cout * mt_conv_klen(c) * size + 63) / 64 * 64,
          part = c->cin, phases = c->stride[0] * c->stride[1] * c->stride[2];
  bool gaps = false;
  for (int d = 0; d < 3; d++) {
    part *= (c->in[d] + c->stride[d] - 1) / c->stride[d];
    for (int64_t f = 0; f < c->stride[d]; f++) gaps |= phase_of(c, d, f).taps == 0;
  }
  Pass s = {.c = c, .dy = dy, .dx = dx, .images = c->n};
  if (phases > 1) {
    s.images = (int64_t)MT_CONV_FIT * mt_num_threads() / (part * c->stride[2] + 1);
    s.images = s.images < 1 ? 1 : s.images > c->n ? c->n : s.images;
    s.part_bytes = (size_t)((s.images * part * size + 63) / 64 * 64);
  }
  if (gaps) memset(dx, 0, (size_t)(c->n * c->cin * mt_conv_prod(c->in) * size));
  s.w = mt_malloc_aligned((size_t)wbytes + s.part_bytes * (size_t)c->stride[2]);
  *status = s.w ? MT_GEMM_OK : MT_GEMM_NOMEM;
  if (!s.w) return true;
  if (phases > 1) s.part = s.w + wbytes;
  all_classes(&s, w, status);
  mt_free_aligned(s.w);
  return true;
}
