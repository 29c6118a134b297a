/* pooling.c: pools over windows: kernels of ops_pool.def.
 *
 * Max pools give values and places; the gradient puts each value back at its place.  Average pools
 * are linear maps (resample.c); Lp pools are made of them. */
#include "cpu.h"
#include "expr_rt.h"
#include "windows.h"
#include <string.h>

const MtPlaneKerns *mt_plane_kerns(MtPlaneType t) {
  return MT_AT_LEVEL(mt_plane_kerns) + t;
}

/* ---- arguments ---- */
bool mt_spread(Ctx *c, IntList l, int n, const char *what, int64_t least, int64_t *out) {
  if (l.n != 1 && l.n != n) {
    mt_fail(c, "%s must have 1 or %d elements, got %lld", what, n, (long long)l.n);
    return false;
  }
  for (int i = 0; i < 3; i++) {
    int j = i - (3 - n);
    out[i] = j < 0 ? least : l.v[l.n == 1 ? 0 : j];
    if (out[i] < least) {
      mt_fail(c, "%s must be at least %lld, got %lld", what, (long long)least, (long long)out[i]);
      return false;
    }
    if (out[i] > INT32_MAX) {
      mt_fail(c, "%s must be below 2^31, got %lld", what, (long long)out[i]);
      return false;
    }
  }
  return true;
}

bool mt_check_planes(Ctx *c, const Tensor *x, int n) {
  if (x->ndim != n + 1 && x->ndim != n + 2) {
    mt_fail(c, "expected input of %d (unbatched) or %d dimensions, got shape %s", n + 1, n + 2,
            mt_list_str(c, mt_sizes(x)));
    return false;
  }
  for (int i = x->ndim - n - 1; i < x->ndim; i++)
    if (x->size[i] == 0) {
      mt_fail(c, "expected input with non-zero sizes apart from the batch, got shape %s",
              mt_list_str(c, mt_sizes(x)));
      return false;
    }
  return true;
}

static bool out_size(Ctx *c, MtWindows *w, int i, bool ceil_, const Tensor *x) {
  int64_t span = w->d[i] * (w->k[i] - 1) + 1, room = w->in[i] + 2 * w->p[i] - span, s = w->s[i];
  if (2 * w->p[i] > w->k[i]) {
    mt_fail(c,
            "padding should be at most half of the kernel size, but got padding %lld and kernel "
            "size %lld",
            (long long)w->p[i], (long long)w->k[i]);
    return false;
  }
  int64_t up = ceil_ ? room + s - 1 : room;
  w->out[i] = (up >= 0 ? up / s : -((-up + s - 1) / s)) + 1;
  if (ceil_ && (w->out[i] - 1) * s >= w->in[i] + w->p[i]) w->out[i]--;
  if (w->out[i] < 1) {
    mt_fail(c, "the output would be too small for input of shape %s", mt_list_str(c, mt_sizes(x)));
    return false;
  }
  return true;
}

bool mt_windows(Ctx *c, MtWindows *w, const Tensor *x, int n, IntList k, IntList s, IntList p,
                IntList d, bool ceil_) {
  if (!mt_check_planes(c, x, n) || !mt_spread(c, k, n, "kernel_size", 1, w->k) ||
      !mt_spread(c, s.n > 0 ? s : k, n, "stride", 1, w->s) ||
      !mt_spread(c, p, n, "padding", 0, w->p) || !mt_spread(c, d, n, "dilation", 1, w->d))
    return false;
  for (int i = 0; i < 3; i++) {
    w->in[i] = i < 3 - n ? 1 : x->size[x->ndim - 3 + i];
    w->out[i] = 1;
    if (i >= 3 - n && !out_size(c, w, i, ceil_, x)) return false;
  }
  return true;
}

IntList mt_resized(const Tensor *x, int n, const int64_t *last, int64_t *size) {
  memcpy(size, x->size, sizeof(int64_t) * x->ndim);
  memcpy(size + x->ndim - n, last, sizeof(int64_t) * (size_t)n);
  return mt_il(size, x->ndim);
}

/* ---- max ---- */
typedef struct {
  const MtWindows *w;
  const MtPlaneKerns *kern;
  const char *x;
  char *y, *rows;
  int64_t *at, in, out, row;
  size_t es;
} Max;

static void max_range(void *ctx, int64_t lo, int64_t hi) {
  const Max *m = ctx;
  for (int64_t r = lo; r < hi && !mt_interrupted; r++)
    m->kern->max(m->w, m->x + (size_t)(r * m->in) * m->es, m->y + (size_t)(r * m->out) * m->es,
                 m->at ? m->at + r * m->out : NULL,
                 m->rows + (size_t)mt_thread_id() * (size_t)m->row);
}

static bool read_windows(MtWindows *w, const Tensor *x, IntList k, IntList s, IntList p, IntList d,
                         IntList out) {
  int n = (int)k.n;
  for (int i = 0; i < 3; i++) {
    int j = i - (3 - n);
    w->k[i] = j < 0 ? 1 : k.v[j];
    w->s[i] = j < 0 ? 1 : s.v[j];
    w->p[i] = j < 0 ? 0 : p.v[j];
    w->d[i] = j < 0 ? 1 : d.v[j];
    w->in[i] = j < 0 ? 1 : x->size[x->ndim - n + j];
    w->out[i] = j < 0 ? 1 : out.v[j];
  }
  return true;
}
static int64_t prod(const int64_t *v) { return v[0] * v[1] * v[2]; }

/* r[0]: values, r[1]: places when wanted. */
static void max_planes(Ctx *c, Tensor *self, const MtWindows *w, int n, bool places, Val *r) {
  int64_t size[MT_MAXDIM], in = prod(w->in), out = prod(w->out);
  if (mt_is_complex(self->dtype) || self->dtype == MT_bool) {
    mt_fail(c, "max pooling is not implemented for %s", mt_dtypes[self->dtype].name);
    return;
  }
  IntList shape = mt_resized(self, n, w->out + 3 - n, size);
  MtPlaneType t = in > INT32_MAX
                      ? MT_PLANE_F64
                      : mt_plane_type(self->dtype); /* the float kernel's places are 32 bits */
  if (mt_is_int(self->dtype)) t = MT_PLANE_I64;
  Device dev = mt_meta(self) ? MT_META : MT_CPU;
  Tensor *y = mt_new(c, shape, dev == MT_META ? (DType)self->dtype : mt_plane_dtype(t), dev),
         *at = places ? mt_new(c, shape, MT_int64, dev) : NULL;
  if (y && dev == MT_CPU && y->numel) {
    Tensor *x = mt_contig_as(c, self, mt_plane_dtype(t));
    int64_t planes = y->numel / out, es = (int64_t)mt_dsize(y->dtype), row = 4 * mt_max_row(w) * es;
    char *rows = x && !c->err ? mt_malloc((size_t)row * (size_t)mt_num_threads()) : NULL;
    if (!rows) { if (!c->err) mt_nomem(c); return; }
    Max m = {.w = w,
             .kern = mt_plane_kerns(t),
             .x = mt_data(x),
             .y = mt_data(y),
             .rows = rows,
             .at = at ? mt_data(at) : NULL,
             .in = in,
             .out = out,
             .row = row,
             .es = (size_t)es};
    mt_parallel(planes, 1 + 16384 / (in + 1), max_range, &m);
    mt_free(rows);
    if (mt_poll(c)) return;
  }
  r[0].t = mt_cast(c, y, (DType)self->dtype);
  if (at) r[1].t = at;
}

void k__max_pool(Ctx *c, Tensor *self, IntList k, IntList s, IntList p, IntList d, IntList out,
                 Val *r) {
  MtWindows w;
  if (read_windows(&w, self, k, s, p, d, out)) max_planes(c, self, &w, (int)k.n, true, r);
}
Tensor *k__max_pool_values(Ctx *c, Tensor *self, IntList k, IntList s, IntList p, IntList d,
                           IntList out) {
  MtWindows w;
  Val r[1] = {{.t = NULL}};
  if (read_windows(&w, self, k, s, p, d, out)) max_planes(c, self, &w, (int)k.n, false, r);
  return r[0].t;
}

/* Without indices and gradient the places need not be found. */
static void max_pool(Ctx *c, int n, Tensor *x, IntList k, IntList s, IntList p, IntList d,
                     bool ceil_, bool places, Val *r) {
  MtWindows w;
  r[0].t = r[1].t = NULL;
  if (!mt_windows(c, &w, x, n, k, s, p, d, ceil_)) return;
  if (n == 1 && !places && mt_is_int(x->dtype)) {
    mt_fail(c, "max_pool1d is not implemented for %s", mt_dtypes[x->dtype].name);
    return;
  }
#define ARGS mt_last(w.k, n), mt_last(w.s, n), mt_last(w.p, n), mt_last(w.d, n), mt_last(w.out, n)
  if (places || (c->grad_mode && x->flags & MT_REQ_GRAD)) t__max_pool(c, x, ARGS, r);
  else r[0].t = t__max_pool_values(c, x, ARGS);
#undef ARGS
  if (!places) r[1].t = NULL;
}

/* ---- average ---- */
/* args of the resampling kind "mean": kernel, stride, padding, whether padding counts, the divisor
 * (0: the window's size). */
static Tensor *avg_pool(Ctx *c, int n, Tensor *x, IntList k, IntList s, IntList p, bool ceil_,
                        bool with_pad, int64_t divisor) {
  MtWindows w;
  int64_t args[11];
  if (!mt_windows(c, &w, x, n, k, s, p, mt_il((int64_t[]){1}, 1), ceil_)) return NULL;
  for (int i = 0; n == 3 && i < 3; i++)
    if (w.in[i] < w.k[i])
      return mt_fail(c, "input of size %s is smaller than the kernel %s",
                     mt_list_str(c, mt_il(w.in, 3)), mt_list_str(c, mt_il(w.k, 3)));
  if (divisor == 0) return mt_fail(c, "divisor_override must not be zero");
  if (!mt_is_float(x->dtype) && x->dtype != MT_int64)
    return mt_fail(c, "average pooling is not implemented for %s", mt_dtypes[x->dtype].name);
  for (int i = 0; i < n; i++) {
    args[i] = w.k[3 - n + i];
    args[n + i] = w.s[3 - n + i];
    args[2 * n + i] = w.p[3 - n + i];
  }
  args[3 * n] = with_pad;
  args[3 * n + 1] = divisor == MT_NONE_INT ? 0 : divisor;
  return t__resample(c, x, mt_last(w.out, n), "mean", mt_il(args, 3 * n + 2),
                     (ScalarList){NULL, 0});
}

/* (sum of x ^ p over the window) ^ (1 / p) */
static Tensor *lp_pool(Ctx *c, int n, Tensor *x, double p, IntList k, IntList s, bool ceil_) {
  int64_t volume = 1, kernel[3];
  if (!mt_spread(c, k, n, "kernel_size", 1, kernel)) return NULL;
  for (int i = 0; i < n; i++) volume *= kernel[3 - n + i];
  Tensor *y = avg_pool(c, n, t_pow(c, x, mt_wrap(c, mt_sd(p))), k, s, mt_il((int64_t[]){0}, 1),
                       ceil_, true, MT_NONE_INT);
  y = t_mul(c, t_sign(c, y), t_relu(c, t_abs(c, y)));
  return t_pow(c, t_mul(c, y, mt_wrap(c, mt_si(volume))), mt_wrap(c, mt_sd(1 / p)));
}

#define POOL(N)                                                                              \
  void k_F_max_pool##N##d(Ctx *c, Tensor *x, IntList k, IntList s, IntList p, IntList d,     \
                          bool ceil_, bool both, Val *r) {                                   \
    max_pool(c, N, x, k, s, p, d, ceil_, both, r);                                           \
  }                                                                                          \
  void k_F_max_pool##N##d_with_indices(Ctx *c, Tensor *x, IntList k, IntList s, IntList p,   \
                                       IntList d, bool ceil_, bool both, Val *r) {           \
    max_pool(c, N, x, k, s, p, d, ceil_, true, r);                                           \
  }                                                                                          \
  Tensor *k_F_lp_pool##N##d(Ctx *c, Tensor *x, double p, IntList k, IntList s, bool ceil_) { \
    return lp_pool(c, N, x, p, k, s, ceil_);                                                 \
  }
POOL(1)
POOL(2)
POOL(3)
Tensor *k_F_avg_pool1d(Ctx *c, Tensor *x, IntList k, IntList s, IntList p, bool ceil_, bool pad) {
  return avg_pool(c, 1, x, k, s, p, ceil_, pad, MT_NONE_INT);
}
Tensor *k_F_avg_pool2d(Ctx *c, Tensor *x, IntList k, IntList s, IntList p, bool ceil_, bool pad,
                       int64_t divisor) {
  return avg_pool(c, 2, x, k, s, p, ceil_, pad, divisor);
}
Tensor *k_F_avg_pool3d(Ctx *c, Tensor *x, IntList k, IntList s, IntList p, bool ceil_, bool pad,
                       int64_t divisor) {
  return avg_pool(c, 3, x, k, s, p, ceil_, pad, divisor);
}
