/* resample.c: linear maps along the last dimensions: average pools and interpolation: kernels of
 * ops_resample.def.
 *
 * Every map is separable: a table per dimension (resample_map.c), applied one dimension after the
 * other to a plane while it is in the cache.  The gradient is the map turned round, in the same
 * code, so it needs no atomic additions and has derivatives of every order. */
#include "expr_rt.h"
#include "resample.h"
#include "windows.h"
#include <string.h>

typedef struct {
  MtPlaneType type;
  bool back;                                   /* divide first, not last */
  int n;
  MtAxis axis[3];
  int order[3], used;    /* dimensions in the order they are applied; unchanged ones are left out */
  int64_t in[3], out[3]; /* sizes before and after, as applied (turned when back) */
  const void *by[3];                           /* divisors along the windows' dimensions, or NULL */
  const char *x; char *y, *mem;
  int64_t step;                                /* scratch bytes a thread */
  int64_t from, to;                            /* elements of a plane before and after */
} Plan;

/* The longest run of outputs that copy neighbouring inputs, if it is most of the row. */
static void find_run(const Map *m, MtAxis *a) {
  for (int64_t o = 0, lo = 0; o < m->out; o++) {
    int64_t e = m->first[o];
    if (m->first[o + 1] != e + 1 || m->w[e] != 1) { lo = o + 1; continue; }
    if (o > lo && m->idx[e] != m->idx[e - 1] + 1) lo = o;
    if (o + 1 - lo > a->hi - a->lo) { a->lo = lo; a->hi = o + 1; }
  }
  if (a->hi - a->lo < m->out / 2) a->lo = a->hi = 0;
}

/* The table in the plane's type. */
static bool axis_of(Ctx *c, const Map *m, MtPlaneType t, MtAxis *a) {
  int64_t n = m->first[m->out], taps = m->out ? m->first[1] : 0;
  size_t es = t == MT_PLANE_F32 ? 4 : 8;
  for (int64_t o = 0; o < m->out; o++) if (m->first[o + 1] - m->first[o] != taps) taps = 0;
  if (taps > 16) taps = 0;
  char *w = mt_tmp(c, es * (size_t)(2 * n + 1));
  int32_t *tidx = mt_tmp(c, sizeof(int32_t) * (size_t)(n + 1));
  if (!w || !tidx) return false;
  for (int64_t e = 0; e < n; e++)
    if (t == MT_PLANE_F32) ((float *)(void *)w)[e] = (float)m->w[e];
    else if (t == MT_PLANE_F64) ((double *)(void *)w)[e] = m->w[e];
    else ((int64_t *)(void *)w)[e] = (int64_t)m->w[e];
  for (int64_t o = 0; taps && o < m->out; o++)
    for (int64_t k = 0; k < taps; k++) {
      tidx[k * m->out + o] = m->idx[o * taps + k];
      memcpy(w + (size_t)(n + k * m->out + o) * es, w + (size_t)(o * taps + k) * es, es);
    }
  *a = (MtAxis){m->in,  m->out, 0, 0, taps, m->first, m->idx, tidx, w, w + (size_t)n * es,
                false, false};
  find_run(m, a);
  a->plain = m->out > 0 && n == m->out;
  a->twice = m->out == 2 * m->in;
  for (int64_t o = 0; a->plain && o < m->out; o++) {
    a->plain = m->first[o] == o && m->w[o] == 1;
    a->twice = a->twice && m->idx[o] == o / 2;
  }
  return true;
}
static const void *numbers(Ctx *c, const double *v, int64_t n, MtPlaneType t) {
  size_t es = t == MT_PLANE_F32 ? 4 : 8;
  char *w = mt_tmp(c, es * (size_t)(n + 1));
  for (int64_t i = 0; w && i < n; i++)
    if (t == MT_PLANE_F32) ((float *)(void *)w)[i] = (float)v[i];
    else if (t == MT_PLANE_F64) ((double *)(void *)w)[i] = v[i];
    else ((int64_t *)(void *)w)[i] = (int64_t)v[i];
  return w;
}

static bool changes(const Map *m) {
  if (m->in != m->out) return true;
  for (int64_t o = 0; o < m->out; o++)
    if (m->first[o] != o || m->first[o + 1] != o + 1 || m->idx[o] != o || m->w[o] != 1) return true;
  return false;
}

/* Shrinking dimensions first and from the outermost, which are whole rows to add; growing ones
 * after, from the innermost. */
static void choose_order(Plan *p, const bool *needed) {
  p->used = 0;
  for (int i = 0; i < p->n; i++) if (needed[i] && p->out[i] <= p->in[i]) p->order[p->used++] = i;
  for (int i = p->n - 1; i >= 0; i--)
    if (needed[i] && p->out[i] > p->in[i]) p->order[p->used++] = i;
  if (!p->used) p->order[p->used++] = 0;       /* a copy */
}

static bool plan(Ctx *c, Plan *p, const char *kind, const int64_t *in, IntList out, IntList args,
                 ScalarList scales) {
  p->n = (int)out.n;
  p->from = p->to = 1;
  bool needed[3];
  for (int i = 0; i < p->n; i++) {
    Map m, t;
    if (!mt_resample_map(c, &m, kind, in[i], out.v[i], i, p->n, args, scales,
                         p->type == MT_PLANE_F64))
      return false;
    needed[i] = changes(&m);
    if (p->back && !mt_resample_turn(c, &m, &t)) return false;
    if (!axis_of(c, p->back ? &t : &m, p->type, &p->axis[i])) return false;
    p->by[i] = m.by ? numbers(c, m.by, m.out, p->type) : NULL;
    p->from *= p->in[i] = p->axis[i].in;
    p->to *= p->out[i] = p->axis[i].out;
  }
  choose_order(p, needed);
  return !c->err;
}

/* dst <- src divided by the windows' sizes; both have the sizes of the windows' side. */
static void divide(const Plan *p, const int64_t *size, const char *src, char *dst) {
  const MtPlaneKerns *k = mt_plane_kerns(p->type);
  int64_t es = p->type == MT_PLANE_F32 ? 4 : 8, row = size[p->n - 1], rows = 1;
  for (int i = 0; i < p->n - 1; i++) rows *= size[i];
  for (int64_t r = 0; r < rows; r++) {
    double f = 1;
    int64_t left = r;
    for (int i = p->n - 2; i >= 0; left /= size[i], i--) {
      const char *by = (const char *)p->by[i] + left % size[i] * es;
      f *= p->type == MT_PLANE_F32   ? *(const float *)(const void *)by
           : p->type == MT_PLANE_F64 ? *(const double *)(const void *)by
                                     : (double)*(const int64_t *)(const void *)by;
    }
    k->divide(row, src + r * row * es, p->by[p->n - 1], f, dst + r * row * es);
  }
}

static void plane_range(void *ctx, int64_t lo, int64_t hi) {
  const Plan *p = ctx;
  int64_t es = p->type == MT_PLANE_F32 ? 4 : 8;
  char *buf[2];
  buf[0] = p->mem + mt_thread_id() * p->step;
  buf[1] = buf[0] + p->step / 2;
  bool plain = !p->by[0];
  static const int32_t zero[2] = {0, 1};
  const MtAxis one = {.in = 1, .out = 1, .first = zero, .idx = zero, .plain = true}, *a[3];
  for (int d = 0; d < 3; d++) {
    a[d] = d < 3 - p->n ? &one : &p->axis[d - (3 - p->n)];
    plain = plain && a[d]->plain;
  }
  for (int64_t r = lo; plain && r < hi && !mt_interrupted; r++)
    mt_plane_kerns(p->type)->copies(a, p->x + r * p->from * es, p->y + r * p->to * es);
  for (int64_t r = lo; !plain && r < hi && !mt_interrupted; r++) {
    const char *x = p->x + r * p->from * es;
    char *y = p->y + r * p->to * es;
    int64_t size[3], flip = 0;
    memcpy(size, p->in, sizeof size);
    if (p->back && p->by[0]) { divide(p, p->in, x, buf[1]); x = buf[1]; }
    for (int s = 0; s < p->used; s++) {
      int d = p->order[s];
      int64_t outer = 1, inner = 1;
      for (int i = 0; i < d; i++) outer *= size[i];
      for (int i = d + 1; i < p->n; i++) inner *= size[i];
      char *to = s == p->used - 1 ? y : buf[flip];
      mt_plane_kerns(p->type)->along(&p->axis[d], outer, inner, x, to);
      size[d] = p->out[d];
      x = to;
      flip = !flip;
    }
    if (!p->back && p->by[0]) divide(p, p->out, y, y);
  }
}

/* Bytes of the largest intermediate result. */
static int64_t largest(const Plan *p) {
  int64_t size[3], most = p->from, es = p->type == MT_PLANE_F32 ? 4 : 8;
  memcpy(size, p->in, sizeof size);
  for (int s = 0; s < p->used; s++) {
    int64_t all = 1;
    size[p->order[s]] = p->out[p->order[s]];
    for (int i = 0; i < p->n; i++) all *= size[i];
    if (all > most) most = all;
  }
  return (most * es + 127) / 64 * 64;
}

static Tensor *run(Ctx *c, Plan *p, Tensor *x, IntList size) {
  DType w = mt_plane_dtype(p->type);
  Tensor *y = mt_new(c, size, w, MT_CPU), *in = mt_contig_as(c, x, w);
  if (c->err || !y->numel) return y;
  if (!in->numel) return mt_copy_raw(c, y, mt_scalar_tensor(c, mt_si(0), w)) ? y : NULL;
  p->x = mt_data(in);
  p->y = mt_data(y);
  p->step = 2 * largest(p);
  p->mem = mt_malloc((size_t)p->step * (size_t)mt_num_threads());
  if (!p->mem) return mt_nomem(c);
  mt_parallel(y->numel / p->to, 1 + 16384 / (p->from + p->to), plane_range, p);
  mt_free(p->mem);
  return mt_poll(c) ? NULL : y;
}

/* ---- bytes: fixed-point weights, rounded after each dimension ---- */
typedef struct { const Map *m; int16_t *w; int bits; } ByteMap;

static bool byte_map(Ctx *c, const Map *m, ByteMap *b) {
  int64_t n = m->first[m->out];
  double most = 0;
  b->m = m;
  b->w = mt_tmp(c, sizeof(int16_t) * (size_t)(n + 1));
  if (!b->w) return false;
  for (int64_t o = 0; o < m->out; o++)
    for (int64_t e = m->first[o]; e < m->first[o + 1]; e++) {
      double w = m->w[e]; /* repeats of one place at the border count together */
      for (int64_t f = e + 1; f < m->first[o + 1] && m->idx[f] == m->idx[e]; f++) w += m->w[f];
      if (w > most) most = w;
    }
  for (b->bits = 0; b->bits < 22; b->bits++)
    if ((int)(0.5 + most * (double)(1 << (b->bits + 1))) >= 1 << 15) break;
  for (int64_t o = 0; o < m->out; o++)
    for (int64_t e = m->first[o]; e < m->first[o + 1]; e++) {
      double w = m->w[e];
      bool again = e > m->first[o] && m->idx[e - 1] == m->idx[e];
      for (int64_t f = e + 1; f < m->first[o + 1] && m->idx[f] == m->idx[e]; f++) w += m->w[f];
      w *= (double)(1 << b->bits);
      b->w[e] = again ? 0 : (int16_t)(w < 0 ? w - 0.5 : w + 0.5);
    }
  return true;
}
static void bytes_along(const ByteMap *b, int64_t outer, int64_t inner, const uint8_t *x,
                        uint8_t *y) {
  const Map *m = b->m;
  for (int64_t q = 0; q < outer && !mt_interrupted; q++, x += m->in * inner)
    for (int64_t o = 0; o < m->out; o++)
      for (int64_t i = 0; i < inner; i++) {
        int32_t s = 1 << (b->bits - 1);
        for (int64_t e = m->first[o]; e < m->first[o + 1]; e++)
          s += b->w[e] * x[m->idx[e] * inner + i];
        s >>= b->bits;
        *y++ = (uint8_t)(s < 0 ? 0 : s > 255 ? 255 : s);
      }
}
static Tensor *resample_bytes(Ctx *c, Tensor *self, IntList out, const char *kind, IntList args,
                              ScalarList scales, IntList size) {
  Tensor *x = mt_contig(c, self);
  int n = (int)out.n, nb = self->ndim - n;
  for (int i = n - 1; x && i >= 0; i--) {
    Map m;
    ByteMap b;
    int64_t now[MT_MAXDIM], outer = 1, inner = 1;
    if (x->size[nb + i] == out.v[i]) continue;
    memcpy(now, x->size, sizeof(int64_t) * x->ndim);
    now[nb + i] = out.v[i];
    for (int d = 0; d < nb + i; d++) outer *= now[d];
    for (int d = nb + i + 1; d < x->ndim; d++) inner *= now[d];
    Tensor *y = mt_new(c, mt_il(now, x->ndim), MT_uint8, MT_CPU);
    if (!y || !mt_resample_map(c, &m, kind, x->size[nb + i], out.v[i], i, n, args, scales, true) ||
        !byte_map(c, &m, &b))
      return NULL;
    bytes_along(&b, outer, inner, mt_data(x), mt_data(y));
    x = y;
  }
  return mt_poll(c) ? NULL : x == self ? t_clone(c, x, 0) : x;
}

Tensor *k__resample(Ctx *c, Tensor *self, IntList out, const char *kind, IntList args,
                    ScalarList scales) {
  int64_t size[MT_MAXDIM];
  int n = (int)out.n;
  IntList shape = mt_resized(self, n, out.v, size);
  if (mt_meta(self)) return mt_new(c, shape, (DType)self->dtype, MT_META);
  if (self->dtype == MT_uint8 && strncmp(kind, "nearest", 7))
    return resample_bytes(c, self, out, kind, args, scales, shape);
  Plan p = {.type = self->dtype == MT_uint8 ? MT_PLANE_F32 : mt_plane_type(self->dtype)};
  if (!plan(c, &p, kind, self->size + self->ndim - n, out, args, scales)) return NULL;
  Tensor *y = run(c, &p, self, shape);
  return y ? mt_cast(c, y, (DType)self->dtype) : NULL;
}
Tensor *k__resample_backward(Ctx *c, Tensor *gy, IntList sizes, IntList out, const char *kind,
                             IntList args, ScalarList scales) {
  if (mt_meta(gy)) return mt_new(c, sizes, (DType)gy->dtype, MT_META);
  Plan p = {.type = mt_plane_type(gy->dtype), .back = true};
  if (!plan(c, &p, kind, sizes.v + sizes.n - out.n, out, args, scales)) return NULL;
  Tensor *y = run(c, &p, gy, sizes);
  return y ? mt_cast(c, y, (DType)gy->dtype) : NULL;
}
