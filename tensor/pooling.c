/* pooling.c: kernels of ops_pool.def.
 *
 * Max pooling is one loop over windows; average pooling is a depthwise convolution with ones divided by the window's
 * size, and so differentiates by itself. */
#include "expr_rt.h"
#include "op.h"
#include <string.h>

typedef struct { int n; int64_t k[3], s[3], p[3], d[3], in[3], out[3]; } Win;

static bool spread(Ctx *c, IntList l, int n, const char *what, int64_t least, int64_t *out) {
  if (l.n != 1 && l.n != n) { mt_fail(c, "%s must have 1 or %d elements, got %lld", what, n, (long long)l.n); return false; }
  for (int i = 0; i < n; i++) {
    out[i] = l.v[l.n == 1 ? 0 : i];
    if (out[i] < least) { mt_fail(c, "%s must be at least %lld, got %lld", what, (long long)least, (long long)out[i]); return false; }
  }
  return true;
}

/* Checks the arguments of a pool over n dimensions and computes the output size. */
static bool windows(Ctx *c, Win *w, const Tensor *x, int n, IntList k, IntList s, IntList p, IntList d, bool ceil_) {
  w->n = n;
  if (x->ndim != n + 1 && x->ndim != n + 2) { mt_fail(c, "expected %d or %d dimensions, got shape %s", n + 1, n + 2, mt_list_str(c, mt_sizes(x))); return false; }
  if (!spread(c, k, n, "kernel_size", 1, w->k) || !spread(c, s.n > 0 ? s : k, n, "stride", 1, w->s) ||
      !spread(c, p, n, "padding", 0, w->p) || !spread(c, d, n, "dilation", 1, w->d)) return false;
  for (int i = 0; i < n; i++) {
    int64_t in = w->in[i] = x->size[x->ndim - n + i], span = w->d[i] * (w->k[i] - 1) + 1, room = in + 2 * w->p[i] - span;
    if (2 * w->p[i] > span) { mt_fail(c, "padding must be at most half of the kernel size, got %lld", (long long)w->p[i]); return false; }
    w->out[i] = (room >= 0 ? room : room - w->s[i] + 1) / w->s[i] + 1;
    if (ceil_ && room >= 0 && room % w->s[i]) w->out[i]++;
    if (ceil_ && room < 0) w->out[i] = (room + w->s[i] - 1) / w->s[i] + 1;
    if (ceil_ && (w->out[i] - 1) * w->s[i] >= in + w->p[i]) w->out[i]--;
    if (w->out[i] < 1) { mt_fail(c, "the output would be too small for input %s", mt_list_str(c, mt_sizes(x))); return false; }
  }
  return true;
}

typedef struct { const void *x; void *y; int64_t *at; Win w; int64_t in, out; int dtype; } Max;

#define MAX_RANGE(T, name)                                                                                          \
static void name(const Max *m, int64_t lo, int64_t hi) {                                                            \
  const Win *w = &m->w;                                                                                             \
  for (int64_t r = lo; r < hi; r++) {                                                                               \
    const T *x = (const T *)m->x + r * m->in;                                                                       \
    for (int64_t o = 0; o < m->out; o++) {                                                                          \
      int64_t c0 = o / (w->out[1] * w->out[2]) * w->s[0] - w->p[0], c1 = o / w->out[2] % w->out[1] * w->s[1] - w->p[1], \
              c2 = o % w->out[2] * w->s[2] - w->p[2], best = -1;                                                    \
      T v = 0;                                                                                                      \
      for (int64_t i = 0; i < w->k[0]; i++, c0 += w->d[0]) {                                                        \
        if (c0 < 0 || c0 >= w->in[0]) continue;                                                                     \
        for (int64_t j = 0, y = c1; j < w->k[1]; j++, y += w->d[1]) {                                               \
          if (y < 0 || y >= w->in[1]) continue;                                                                     \
          const T *row = x + (c0 * w->in[1] + y) * w->in[2];                                                        \
          for (int64_t q = 0, z = c2; q < w->k[2]; q++, z += w->d[2]) {                                             \
            if (z < 0 || z >= w->in[2]) continue;                                                                   \
            if (best < 0 || row[z] > v || row[z] != row[z]) { v = row[z]; best = row + z - x; }                     \
          }                                                                                                         \
        }                                                                                                           \
      }                                                                                                             \
      ((T *)m->y)[r * m->out + o] = v;                                                                              \
      m->at[r * m->out + o] = best < 0 ? 0 : best;                                                                  \
    }                                                                                                               \
  }                                                                                                                 \
}
MAX_RANGE(float, max_f32)
MAX_RANGE(double, max_f64)
MAX_RANGE(int64_t, max_i64)
static void max_range(void *ctx, int64_t lo, int64_t hi) {
  const Max *m = ctx;
  for (int64_t r = lo; r < hi && !mt_interrupted; r++)
    if (m->dtype == MT_float32) max_f32(m, r, r + 1);
    else if (m->dtype == MT_float64) max_f64(m, r, r + 1);
    else max_i64(m, r, r + 1);
}

void k__max_pool(Ctx *c, Tensor *self, IntList k, IntList s, IntList p, IntList d, IntList out, Val *r) {
  int n = (int)k.n, nb = self->ndim - n;
  int64_t size[MT_MAXDIM], rows = 1;
  if (mt_is_complex(self->dtype) || self->dtype == MT_bool) { mt_fail(c, "max pooling is not implemented for %s", mt_dtypes[self->dtype].name); return; }
  DType w = mt_is_int(self->dtype) ? MT_int64 : self->dtype == MT_float64 ? MT_float64 : MT_float32;
  Max m = {.dtype = w, .in = 1, .out = 1};
  for (int i = 0; i < 3; i++) {
    int j = i - (3 - n);
    m.w.k[i] = j < 0 ? 1 : k.v[j]; m.w.s[i] = j < 0 ? 1 : s.v[j]; m.w.p[i] = j < 0 ? 0 : p.v[j]; m.w.d[i] = j < 0 ? 1 : d.v[j];
    m.in *= m.w.in[i] = j < 0 ? 1 : self->size[nb + j];
    m.out *= m.w.out[i] = j < 0 ? 1 : out.v[j];
  }
  for (int i = 0; i < nb; i++) rows *= size[i] = self->size[i];
  memcpy(size + nb, out.v, sizeof(int64_t) * (size_t)n);
  Tensor *x = mt_contig_as(c, self, w), *y = mt_new(c, mt_il(size, self->ndim), w, MT_CPU), *at = mt_new(c, mt_il(size, self->ndim), MT_int64, MT_CPU);
  if (c->err) return;
  m.x = mt_data(x); m.y = mt_data(y); m.at = mt_data(at);
  mt_parallel(rows, 1 + 4096 / (m.out + 1), max_range, &m);
  if (mt_poll(c)) return;
  r[0].t = mt_cast(c, y, (DType)self->dtype);
  r[1].t = at;
}
Tensor *k__max_pool_backward(Ctx *c, Tensor *grad, Tensor *indices, IntList size, IntList kernel) {
  int64_t in = 1, out = 1, rows = 1;
  int nb = (int)(size.n - kernel.n);
  for (int i = 0; i < size.n; i++) { if (i < nb) rows *= size.v[i]; else { in *= size.v[i]; out *= grad->size[i]; } }
  Tensor *zero = t_zeros(c, mt_il((int64_t[]){rows, in}, 2), grad->dtype, -1, -1, -1, false);
  IntList flat = mt_il((int64_t[]){rows, out}, 2);
  return t_reshape(c, t_scatter_add(c, zero, 1, t_reshape(c, indices, flat), t_reshape(c, grad, flat)), size);
}

static void max_pool(Ctx *c, int n, Tensor *x, IntList k, IntList s, IntList p, IntList d, bool ceil_, Val *r) {
  Win w;
  if (windows(c, &w, x, n, k, s, p, d, ceil_))
    t__max_pool(c, x, mt_il(w.k, n), mt_il(w.s, n), mt_il(w.p, n), mt_il(w.d, n), mt_il(w.out, n), r);
}

/* How many elements each window averages over, as [1, 1, out...]. */
static Tensor *counts(Ctx *c, const Win *w, bool with_pad, int64_t override, int dtype) {
  int64_t size[5] = {1, 1}, total = 1;
  for (int i = 0; i < w->n; i++) total *= size[2 + i] = w->out[i];
  Tensor *t = mt_new(c, mt_il(size, w->n + 2), MT_float64, MT_CPU);
  for (int64_t o = 0; t && o < total; o++) {
    int64_t left = o, count = 1;
    for (int i = w->n - 1; i >= 0; left /= w->out[i], i--) {
      int64_t a = left % w->out[i] * w->s[i] - w->p[i], b = a + w->k[i];
      if (b > w->in[i] + w->p[i]) b = w->in[i] + w->p[i];
      if (!with_pad) { if (a < 0) a = 0; if (b > w->in[i]) b = w->in[i]; }
      count *= b - a;
    }
    ((double *)mt_data(t))[o] = (double)(override != MT_NONE_INT ? override : count);
  }
  return t ? mt_cast(c, t, (DType)dtype) : NULL;
}
static Tensor *avg_pool(Ctx *c, int n, Tensor *x, IntList k, IntList s, IntList p, bool ceil_, bool with_pad, int64_t override) {
  Win w;
  int64_t flat[5], full[5] = {0, 0}, ones[5] = {1, 1}, size[MT_MAXDIM];
  if (!windows(c, &w, x, n, k, s, p, mt_il((int64_t[]){1}, 1), ceil_)) return NULL;
  if (override == 0) return mt_fail(c, "divisor must not be zero");
  if (!mt_is_float(x->dtype)) return mt_fail(c, "average pooling is not implemented for %s", mt_dtypes[x->dtype].name);
  int nb = x->ndim - n, dt = x->dtype;
  bool half = dt == MT_float16 || dt == MT_bfloat16;
  flat[0] = flat[1] = 1;
  for (int i = 0; i < nb; i++) flat[0] *= size[i] = x->size[i];
  for (int i = 0; i < n; i++) { flat[2 + i] = w.in[i]; full[2 + i] = size[nb + i] = w.out[i]; ones[2 + i] = w.k[i]; w.d[i] = 1; }
  if (half) x = t_to_dtype(c, x, MT_float32, false, -1);
  Tensor *weight = t_ones(c, mt_il(ones, n + 2), half ? MT_float32 : dt, -1, -1, -1, false);
  Tensor *y = t__conv(c, t_reshape(c, x, mt_il(flat, n + 2)), weight, NULL, mt_il(w.s, n), mt_il(w.p, n), mt_il(w.d, n), 1, mt_il(full, n + 2));
  y = t_div(c, y, counts(c, &w, with_pad, override, half ? MT_float32 : dt), NULL);
  y = t_reshape(c, y, mt_il(size, nb + n));
  return half && y ? t_to_dtype(c, y, dt, false, -1) : y;
}

#define POOL(N)                                                                                                              \
  Tensor *k_F_max_pool##N##d(Ctx *c, Tensor *x, IntList k, IntList s, IntList p, IntList d, bool ceil_, bool both) {         \
    Val r[2] = {{.t = NULL}};                                                                                                \
    if (both) return mt_fail(c, "with return_indices call max_pool" #N "d_with_indices");                                    \
    max_pool(c, N, x, k, s, p, d, ceil_, r);                                                                                 \
    return r[0].t;                                                                                                           \
  }                                                                                                                          \
  void k_F_max_pool##N##d_with_indices(Ctx *c, Tensor *x, IntList k, IntList s, IntList p, IntList d, bool ceil_, Val *r) {  \
    max_pool(c, N, x, k, s, p, d, ceil_, r);                                                                                 \
  }
POOL(1)
POOL(2)
POOL(3)
Tensor *k_F_avg_pool1d(Ctx *c, Tensor *x, IntList k, IntList s, IntList p, bool ceil_, bool pad) {
  return avg_pool(c, 1, x, k, s, p, ceil_, pad, MT_NONE_INT);
}
Tensor *k_F_avg_pool2d(Ctx *c, Tensor *x, IntList k, IntList s, IntList p, bool ceil_, bool pad, int64_t divisor) {
  return avg_pool(c, 2, x, k, s, p, ceil_, pad, divisor);
}
Tensor *k_F_avg_pool3d(Ctx *c, Tensor *x, IntList k, IntList s, IntList p, bool ceil_, bool pad, int64_t divisor) {
  return avg_pool(c, 3, x, k, s, p, ceil_, pad, divisor);
}
