/* places.c: pools that give places (adaptive, fractional) and what puts values back there
 * (unpooling, every max pool's gradient).
 *
 * A place is the position of an element in its plane, the last one to three dimensions.
 * _scatter_planes and _gather_planes are each other's derivatives. */
#include "expr_rt.h"
#include "random.h"
#include "windows.h"
#include <stdatomic.h>
#include <string.h>

static const int64_t none = INT64_MIN;

/* ---- moving values ---- */
typedef struct {
  const char *x;
  const int64_t *at;
  char *y;
  int64_t large, small;
  _Atomic int64_t bad;
} Move;

#define LOOP(T, name, ystep, xstep, zero, body)                  \
  static void name(void *ctx, int64_t lo, int64_t hi) {          \
    Move *m = ctx;                                               \
    for (int64_t r = lo; r < hi && !mt_interrupted; r++) {       \
      const T *x = (const T *)(const void *)m->x + r * m->xstep; \
      T *y = (T *)(void *)m->y + r * m->ystep;                   \
      const int64_t *at = m->at + r * m->small;                  \
      if (zero) memset(y, 0, sizeof(T) * (size_t)m->ystep);      \
      for (int64_t o = 0; o < m->small; o++) {                   \
        int64_t i = at[o];                                       \
        if (i < 0 || i >= m->large) atomic_store(&m->bad, i);    \
        else body;                                               \
      }                                                          \
    }                                                            \
  }
#define PUT(T, name) LOOP(T, name, large, small, true, y[i] = x[o])
#define ADD(T, name) LOOP(T, name, large, small, true, y[i] = (T)(y[i] + x[o]))
#define GET(T, name) LOOP(T, name, small, large, false, y[o] = x[i])
PUT(uint8_t, put_1)
PUT(uint16_t, put_2) PUT(uint32_t, put_4) PUT(uint64_t, put_8) PUT(cdouble, put_16)
    GET(uint8_t, get_1) GET(uint16_t, get_2) GET(uint32_t, get_4) GET(uint64_t, get_8)
        GET(cdouble, get_16) ADD(float, add_f32) ADD(double, add_f64) ADD(uint64_t, add_i64)
            ADD(cfloat, add_c64) ADD(cdouble, add_c128)

                static mt_range_fn sized(const mt_range_fn f[5], size_t es) {
  return f[es == 1 ? 0 : es == 2 ? 1 : es == 4 ? 2 : es == 8 ? 3 : 4];
}
static const mt_range_fn put[5] = {put_1, put_2, put_4, put_8, put_16},
                         get[5] = {get_1, get_2, get_4, get_8, get_16};

static mt_range_fn adder(int d) {
  switch (d) {
    case MT_float32: return add_f32;
    case MT_float64: return add_f64;
    case MT_complex64: return add_c64;
    case MT_complex128: return add_c128;
    default: return add_i64;
  }
}
static int64_t tail(const Tensor *t, int n) {
  int64_t p = 1;
  for (int i = t->ndim - n; i < t->ndim; i++) p *= t->size[i];
  return p;
}
static Tensor *move(Ctx *c, Tensor *x, Tensor *at, Tensor *y, int n, bool gather, mt_range_fn fn) {
  x = mt_contig(c, x);
  at = mt_contig(c, at);
  if (c->err || mt_meta(y) || !at->numel) {
    if (y && !mt_meta(y) && !c->err && y->numel)
      memset(mt_data(y), 0, (size_t)y->numel * mt_dsize(y->dtype));
    return y;
  }
  const Tensor *big = gather ? x : y;
  Move m = {.x = mt_data(x),
            .at = mt_data(at),
            .y = mt_data(y),
            .large = tail(big, n),
            .small = tail(at, n)};
  atomic_init(&m.bad, none);
  mt_parallel(at->numel / m.small, 1 + 8192 / (m.small + 1), fn, &m);
  int64_t bad = atomic_load(&m.bad);
  if (bad != none)
    return mt_fail(c, "found an invalid index %lld (a plane has %lld elements)", (long long)bad,
                   (long long)m.large);
  return mt_poll(c) ? NULL : y;
}
static Device device_of(const Tensor *a, const Tensor *b) {
  return mt_meta(a) || mt_meta(b) ? MT_META : MT_CPU;
}

Tensor *k__scatter_planes(Ctx *c, Tensor *self, Tensor *indices, IntList size, int64_t n,
                          bool add) {
  int dt = self->dtype;
  DType w = !add                                    ? (DType)dt
            : dt == MT_float16 || dt == MT_bfloat16 ? MT_float32
            : mt_is_int(dt)                         ? MT_int64
                                                    : (DType)dt;
  Device dev = device_of(self, indices);
  Tensor *y = mt_new(c, size, dev == MT_META ? (DType)dt : w, dev);
  if (!y || dev == MT_META) return y;
  y = move(c, mt_cast(c, self, w), indices, y, (int)n, false,
           add ? adder(w) : sized(put, mt_dsize(dt)));
  return y ? mt_cast(c, y, (DType)dt) : NULL;
}
Tensor *k__gather_planes(Ctx *c, Tensor *self, Tensor *indices, int64_t n) {
  Tensor *y = mt_new(c, mt_sizes(indices), (DType)self->dtype, device_of(self, indices));
  return y ? move(c, self, indices, y, (int)n, true, sized(get, mt_dsize(self->dtype))) : NULL;
}

/* ---- windows of changing size ---- */
/* Output i of dimension d looks at [from[d][i], to[d][i]); fractional pools have windows of their
 * own for every plane. */
typedef struct {
  const char *x; char *y; int64_t *at;
  int64_t in[3], out[3], k[3];
  const int64_t *from[3], *to[3];              /* to NULL: from + k */
  bool per_plane;
  int dtype;
} Cells;

#define CELL(T, name, LOW)                                                                         \
  static void name(const Cells *p, int64_t r, const int64_t a[3], const int64_t b[3], int64_t o) { \
    const T *x = (const T *)(const void *)p->x + r * p->in[0] * p->in[1] * p->in[2];               \
    T best = LOW;                                                                                  \
    int64_t at = (a[0] * p->in[1] + a[1]) * p->in[2] + a[2];                                       \
    for (int64_t z = a[0]; z < b[0]; z++)                                                          \
      for (int64_t y = a[1]; y < b[1]; y++) {                                                      \
        const T *row = x + (z * p->in[1] + y) * p->in[2];                                          \
        for (int64_t q = a[2]; q < b[2]; q++)                                                      \
          if (row[q] > best || row[q] != row[q]) {                                                 \
            best = row[q];                                                                         \
            at = row + q - x;                                                                      \
          }                                                                                        \
      }                                                                                            \
    ((T *)(void *)p->y)[o] = best;                                                                 \
    p->at[o] = at;                                                                                 \
  }
CELL(float, cell_f32, -INFINITY)
CELL(double, cell_f64, -INFINITY)
CELL(int64_t, cell_i64, INT64_MIN)

static void cells_range(void *ctx, int64_t lo, int64_t hi) {
  const Cells *p = ctx;
  for (int64_t r = lo; r < hi && !mt_interrupted; r++) {
    int64_t o = r * p->out[0] * p->out[1] * p->out[2], i[3], a[3], b[3], shift[3];
    for (int d = 0; d < 3; d++) shift[d] = p->per_plane ? r * p->out[d] : 0;
    for (i[0] = 0; i[0] < p->out[0]; i[0]++)
      for (i[1] = 0; i[1] < p->out[1]; i[1]++)
        for (i[2] = 0; i[2] < p->out[2]; i[2]++, o++) {
          for (int d = 0; d < 3; d++) {
            a[d] = p->from[d][shift[d] + i[d]];
            b[d] = p->to[d] ? p->to[d][i[d]] : a[d] + p->k[d];
          }
          if (p->dtype == MT_float32) cell_f32(p, r, a, b, o);
          else if (p->dtype == MT_float64) cell_f64(p, r, a, b, o);
          else cell_i64(p, r, a, b, o);
        }
  }
}

/* Fills in the tensors and runs; p's sizes and windows are set. */
static void run_cells(Ctx *c, Cells *p, Tensor *self, int n, Val *r) {
  int64_t size[MT_MAXDIM];
  IntList shape = mt_resized(self, n, p->out + 3 - n, size);
  bool meta = mt_meta(self);
  DType w = meta ? (DType)self->dtype : mt_plane_dtype(mt_plane_type(self->dtype));
  Tensor *y = mt_new(c, shape, w, meta ? MT_META : MT_CPU),
         *at = mt_new(c, shape, MT_int64, meta ? MT_META : MT_CPU);
  if (c->err) return;
  if (!meta && y->numel) {
    Tensor *x = mt_contig_as(c, self, w);
    if (!x) return;
    p->x = mt_data(x); p->y = mt_data(y); p->at = mt_data(at); p->dtype = w;
    int64_t plane = p->in[0] * p->in[1] * p->in[2];
    mt_parallel(x->numel / plane, 1 + 8192 / (plane + 1), cells_range, p);
    if (mt_poll(c)) return;
  }
  r[0].t = mt_cast(c, y, (DType)self->dtype);
  r[1].t = at;
}
static void set_in(int64_t *in, const Tensor *x, int n) {
  for (int i = 0; i < 3; i++) in[i] = i < 3 - n ? 1 : x->size[x->ndim - 3 + i];
}

/* ---- adaptive ---- */
bool mt_adaptive_size(Ctx *c, const Tensor *x, IntList size, int n, int64_t *out) {
  if (x->ndim != n + 1 && x->ndim != n + 2) {
    mt_fail(c, "expected input of %d or %d dimensions, got shape %s", n + 1, n + 2,
            mt_list_str(c, mt_sizes(x)));
    return false;
  }
  if (size.n != 1 && size.n != n) {
    mt_fail(c, "output_size must have 1 or %d elements, got %lld", n, (long long)size.n);
    return false;
  }
  for (int i = 0; i < 3; i++) {
    int64_t v = i < 3 - n ? 1 : size.v[size.n == 1 ? 0 : i - (3 - n)];
    out[i] = v == MT_NONE_INT ? x->size[x->ndim - 3 + i] : v;
    if (out[i] < 0 || out[i] > INT32_MAX) {
      mt_fail(c, "output_size must not be negative, got %lld", (long long)out[i]);
      return false;
    }
  }
  return mt_check_planes(c, x, n);
}

void k__adaptive_max_pool(Ctx *c, Tensor *self, IntList out, Val *r) {
  Cells p = {.per_plane = false};
  int n = (int)out.n;
  set_in(p.in, self, n);
  for (int d = 0; d < 3; d++) {
    int64_t m = p.out[d] = d < 3 - n ? 1 : out.v[d - (3 - n)], in = p.in[d];
    int64_t *w = mt_tmp(c, sizeof(int64_t) * 2 * (size_t)(m + 1));
    if (!w) return;
    for (int64_t o = 0; o < m; o++) {
      w[o] = (int64_t)((__int128)o * in / m);
      w[m + o] = (int64_t)(((__int128)(o + 1) * in + m - 1) / m);
    }
    p.from[d] = w;
    p.to[d] = w + m;
  }
  run_cells(c, &p, self, n, r);
}

static void adaptive_max(Ctx *c, int n, Tensor *x, IntList size, bool places, Val *r) {
  int64_t out[3];
  r[0].t = r[1].t = NULL;
  if (!mt_adaptive_size(c, x, size, n, out)) return;
  if (!mt_is_float(x->dtype)) {
    mt_fail(c, "adaptive max pooling is not implemented for %s", mt_dtypes[x->dtype].name);
    return;
  }
  t__adaptive_max_pool(c, x, mt_last(out, n), r);
  if (!places) r[1].t = NULL;
}

/* ---- fractional ---- */
/* Where the windows of k out of `in` elements begin, by one random number: uneven steps whose mean
 * is alpha. */
static void intervals(double u, int64_t in, int64_t out, int64_t k, bool single, int64_t *from) {
  double alpha =
      out > 1 ? single ? (float)(in - k) / (float)(out - 1) : (double)(in - k) / (double)(out - 1)
              : 0;
  for (int64_t i = 0; i + 1 < out; i++)
    from[i] = single ? (int64_t)(((float)i + (float)u) * (float)alpha) -
                           (int64_t)((float)u * (float)alpha)
                     : (int64_t)(((double)i + u) * alpha) - (int64_t)(u * alpha);
  if (out > 0) from[out - 1] = in - k;
}

void k__fractional_max_pool(Ctx *c, Tensor *self, IntList kernel, IntList out, Tensor *samples,
                            Val *r) {
  Cells p = {.per_plane = true};
  int n = (int)out.n;
  set_in(p.in, self, n);
  int64_t planes = 1;
  for (int i = 0; i < self->ndim - n; i++) planes *= self->size[i];
  Tensor *u = mt_meta(self) ? NULL : mt_contig_as(c, samples, MT_float64);
  if (!u && !mt_meta(self)) return;
  for (int d = 0; d < 3; d++) {
    int j = d - (3 - n);
    p.out[d] = j < 0 ? 1 : out.v[j];
    p.k[d] = j < 0 ? 1 : kernel.v[j];
    if (mt_meta(self)) continue;
    int64_t *from = mt_tmp(c, sizeof(int64_t) * (size_t)(planes * p.out[d] + 1));
    if (!from) return;
    for (int64_t q = 0; q < planes;
         q++) /* in two dimensions the samples are those of width, height */
      intervals(j < 0 ? 0 : ((double *)mt_data(u))[q * n + (n == 2 ? 1 - j : j)], p.in[d], p.out[d],
                p.k[d], self->dtype != MT_float64, from + q * p.out[d]);
    p.from[d] = from;
  }
  run_cells(c, &p, self, n, r);
}

static bool fractional_sizes(Ctx *c, const Tensor *x, int n, const int64_t *k, IntList size,
                             ScalarList ratio, int64_t *out) {
  if ((size.n < 0) == (ratio.n < 0)) {
    mt_fail(c, size.n < 0 ? "requires specifying either an output_size or an output_ratio"
                          : "only one of output_size and output_ratio can be specified");
    return false;
  }
  if (size.n >= 0 && !mt_spread(c, size, n, "output_size", 0, out)) return false;
  if (ratio.n >= 0 && ratio.n != 1 && ratio.n != n) {
    mt_fail(c, "output_ratio must have 1 or %d elements, got %lld", n, (long long)ratio.n);
    return false;
  }
  for (int d = 0; d < 3; d++) {
    int j = d - (3 - n);
    if (j < 0) { out[d] = 1; continue; }
    int64_t in = x->size[x->ndim - n + j];
    if (ratio.n >= 0) {
      double q = mt_sre(ratio.v[ratio.n == 1 ? 0 : j]);
      if (!(q > 0 && q < 1)) {
        mt_fail(c, "output_ratio must be between 0 and 1, got %g", q);
        return false;
      }
      out[d] = (int64_t)((double)in * q);
    }
    if (out[d] + k[d] - 1 > in - (n == 3)) {
      mt_fail(c, "kernel_size %lld and output_size %lld are too large for input of size %lld",
              (long long)k[d], (long long)out[d], (long long)in);
      return false;
    }
  }
  return true;
}
static void fractional(Ctx *c, int n, Tensor *x, IntList kernel, IntList size, ScalarList ratio,
                       bool places, Tensor *samples, Val *r) {
  int64_t k[3], out[3];
  r[0].t = r[1].t = NULL;
  if (!mt_check_planes(c, x, n) || !mt_spread(c, kernel, n, "kernel_size", 1, k) ||
      !fractional_sizes(c, x, n, k, size, ratio, out)) return;
  if (!mt_is_float(x->dtype)) {
    mt_fail(c, "fractional max pooling is not implemented for %s", mt_dtypes[x->dtype].name);
    return;
  }
  int64_t batch = x->ndim == n + 1 ? 1 : x->size[0], ch = x->size[x->ndim - n - 1];
  IntList want = mt_il((int64_t[]){batch, ch, n}, 3);
  if (!samples) samples = t_rand(c, want, NULL, x->dtype, -1, x->device, -1, false);
  if (!samples) return;
  if (samples->ndim != 3 || samples->size[0] < batch || samples->size[1] != ch ||
      samples->size[2] != n || samples->dtype != x->dtype) {
    mt_fail(c, "_random_samples must have shape %s and the input's dtype, got %s of %s",
            mt_list_str(c, want), mt_list_str(c, mt_sizes(samples)),
            mt_dtypes[samples->dtype].name);
    return;
  }
  t__fractional_max_pool(c, x, mt_last(k, n), mt_last(out, n), samples, r);
  if (!places) r[1].t = NULL;
}

/* ---- unpooling ---- */
/* The output size asked for must lie less than a stride from the natural one. */
static bool unpool_size(Ctx *c, const Tensor *x, int n, const int64_t *k, const int64_t *s,
                        const int64_t *p, IntList want, int64_t *out) {
  if (want.n == n + 2) want = mt_il(want.v + want.n - n, n);
  if (want.n >= 0 && want.n != n) {
    mt_fail(c, "output_size must have %d or %d elements, got %lld", n, n + 2, (long long)want.n);
    return false;
  }
  for (int i = 3 - n; i < 3; i++) {
    int64_t natural = (x->size[x->ndim - 3 + i] - 1) * s[i] + k[i] - 2 * p[i];
    out[i] = want.n < 0 ? natural : want.v[i - (3 - n)];
    if (want.n >= 0 && (out[i] <= natural - s[i] || out[i] >= natural + s[i])) {
      mt_fail(c, "invalid output_size %s (dimension %d must be between %lld and %lld)",
              mt_list_str(c, want), i - (3 - n), (long long)(natural - s[i]),
              (long long)(natural + s[i]));
      return false;
    }
    if (out[i] < 1) {
      mt_fail(c, "the output would have size %lld", (long long)out[i]);
      return false;
    }
  }
  return true;
}
static Tensor *unpool(Ctx *c, int n, Tensor *x, Tensor *at, IntList kernel, IntList stride,
                      IntList padding, IntList want) {
  int64_t k[3], s[3], p[3], out[3], size[MT_MAXDIM];
  if (!mt_spread(c, kernel, n, "kernel_size", 1, k) ||
      !mt_spread(c, stride.n > 0 ? stride : kernel, n, "stride", 1, s) ||
      !mt_spread(c, padding, n, "padding", 0, p))
    return NULL;
  if (at->dtype != MT_int64)
    return mt_fail(c, "indices must be int64, got %s", mt_dtypes[at->dtype].name);
  if (at->ndim != x->ndim || memcmp(at->size, x->size, sizeof(int64_t) * x->ndim))
    return mt_fail(c,
                   "expected shape of indices to be same as that of the input tensor (%s) but got "
                   "indices tensor with shape: %s",
                   mt_list_str(c, mt_sizes(x)), mt_list_str(c, mt_sizes(at)));
  if (!mt_check_planes(c, x, n) || !unpool_size(c, x, n, k, s, p, want, out)) return NULL;
  if (mt_is_complex(x->dtype) || x->dtype == MT_bool)
    return mt_fail(c, "max unpooling is not implemented for %s", mt_dtypes[x->dtype].name);
  return t__scatter_planes(c, x, at, mt_resized(x, n, out + 3 - n, size), n, false);
}

#define POOLS(N)                                                                               \
  void k_F_adaptive_max_pool##N##d(Ctx *c, Tensor *x, IntList size, bool both, Val *r) {       \
    adaptive_max(c, N, x, size, both, r);                                                      \
  }                                                                                            \
  void k_F_adaptive_max_pool##N##d_with_indices(Ctx *c, Tensor *x, IntList size, bool both,    \
                                                Val *r) {                                      \
    adaptive_max(c, N, x, size, true, r);                                                      \
  }                                                                                            \
  Tensor *k_F_max_unpool##N##d(Ctx *c, Tensor *x, Tensor *at, IntList k, IntList s, IntList p, \
                               IntList out) {                                                  \
    return unpool(c, N, x, at, k, s, p, out);                                                  \
  }
POOLS(1)
POOLS(2)
POOLS(3)
#define FRACTIONAL(N)                                                                              \
  void k_F_fractional_max_pool##N##d(Ctx *c, Tensor *x, IntList k, IntList size, ScalarList ratio, \
                                     bool both, Tensor *u, Val *r) {                               \
    fractional(c, N, x, k, size, ratio, both, u, r);                                               \
  }                                                                                                \
  void k_F_fractional_max_pool##N##d_with_indices(Ctx *c, Tensor *x, IntList k, IntList size,      \
                                                  ScalarList ratio, bool both, Tensor *u,          \
                                                  Val *r) {                                        \
    fractional(c, N, x, k, size, ratio, true, u, r);                                               \
  }
FRACTIONAL(2)
FRACTIONAL(3)
