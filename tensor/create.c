/* create.c: kernels of ops_core.def: creation, fills, clones, casts, resize. */
#include "expr_rt.h"
#include "iter.h"
#include "kern_index.h"
#include "op.h"
#include <math.h>
#include <string.h>

enum { FMT_CONTIGUOUS, FMT_CHANNELS_LAST, FMT_CHANNELS_LAST_3D, FMT_PRESERVE };

static DType pick_dtype(Ctx *c, int dtype) { return dtype < 0 ? c->default_dtype : (DType)dtype; }
static Device pick_device(int device) { return device < 0 ? MT_CPU : (Device)device; }
static Tensor *flag_grad(Ctx *c, Tensor *t, bool requires_grad) {
  if (t && requires_grad) {
    if (mt_is_int(t->dtype))
      return mt_fail(c, "only tensors of floating point or complex dtype can require gradients");
    t->flags |= MT_REQ_GRAD;
  }
  return t;
}

/* Strides of channels_last (4 dims) or channels_last_3d (5): dim 1 runs fastest. */
static bool channels_last(Ctx *c, int fmt, IntList size, int64_t *stride) {
  int n = (int)size.n;
  if (n != (fmt == FMT_CHANNELS_LAST ? 4 : 5)) {
    mt_fail(c, "required rank %d tensor to use %s format", fmt == FMT_CHANNELS_LAST ? 4 : 5,
            fmt == FMT_CHANNELS_LAST ? "channels_last" : "channels_last_3d");
    return false;
  }
  uint64_t acc = size.v[1] > 1 ? (uint64_t)size.v[1] : 1; /* beside a size of 0 it may wrap */
  stride[1] = 1;
  for (int i = n - 1; i >= 2; i--) {
    stride[i] = (int64_t)acc;
    acc *= size.v[i] > 1 ? (uint64_t)size.v[i] : 1;
  }
  stride[0] = (int64_t)acc;
  return true;
}

/* Do the strides read as channels_last (_3d)?  PyTorch's test, which leaves sizes of 1 some
 * freedom. */
static bool like_channels_last(const Tensor *t, int n) {
  int64_t least = 0;
  if (t->ndim != n || t->stride[1] == 0) return false;
  for (int i = 0; i < n; i++) {
    int d = i == 0 ? 1 : i == n - 1 ? 0 : n - i;
    if (t->size[d] == 0 || t->stride[d] < least || (d == 0 && least == t->stride[1])) return false;
    least = t->stride[d] * (t->size[d] > 1 ? t->size[d] : 1);
  }
  return true;
}

bool mt_suggests(const Tensor *t, int fmt) {
  bool cl = like_channels_last(t, 4), cl3 = like_channels_last(t, 5);
  if (fmt < 0 || fmt == FMT_PRESERVE) return true;
  return fmt == FMT_CHANNELS_LAST ? cl : fmt == FMT_CHANNELS_LAST_3D ? cl3 : !cl && !cl3;
}

static Tensor *new_format(Ctx *c, IntList size, DType d, Device dev, int fmt) {
  int64_t st[MT_MAXDIM];
  if (fmt != FMT_CHANNELS_LAST && fmt != FMT_CHANNELS_LAST_3D) return mt_new(c, size, d, dev);
  if (!channels_last(c, fmt, size, st)) return NULL;
  return mt_new_strided(c, size, mt_il(st, size.n), d, dev);
}

Tensor *k_empty(Ctx *c, IntList size, int dtype, int layout, int device, int pin,
                bool requires_grad, int fmt) {
  if (fmt == FMT_PRESERVE) return mt_fail(c, "preserve_format needs a tensor to follow");
  return flag_grad(c, new_format(c, size, pick_dtype(c, dtype), pick_device(device), fmt),
                   requires_grad);
}
Tensor *k_empty_strided(Ctx *c, IntList size, IntList stride, int dtype, int layout, int device,
                        int pin, bool requires_grad) {
  if (size.n != stride.n)
    return mt_fail(c, "size %s and stride %s differ in length", mt_list_str(c, size),
                   mt_list_str(c, stride));
  for (int64_t i = 0; i < stride.n; i++)
    if (stride.v[i] < 0)
      return mt_fail(c, "strides must be 0 or more, got %s", mt_list_str(c, stride));
  return flag_grad(c, mt_new_strided(c, size, stride, pick_dtype(c, dtype), pick_device(device)),
                   requires_grad);
}

static Tensor *fill_raw(Ctx *c, Tensor *t, Scalar v) {
  if (!t || mt_meta(t) || !t->numel) return t;
  Tensor *s = mt_scalar_tensor(c, v, (DType)t->dtype);
  return s ? mt_copy_raw(c, t, s) : NULL;
}
typedef struct { char *p; size_t bytes; } Clear;
enum { CLEAR = 1 << 18 };
static void clear_job(void *ctx, int64_t lo, int64_t hi) {
  const Clear *j = ctx;
  size_t from = (size_t)lo * CLEAR, to = (size_t)hi * CLEAR;
  memset(j->p + from, 0, (to < j->bytes ? to : j->bytes) - from);
}
Tensor *k_zeros(Ctx *c, IntList size, int dtype, int layout, int device, int pin,
                bool requires_grad) {
  Tensor *t = mt_new(c, size, pick_dtype(c, dtype), pick_device(device));
  if (t && !mt_meta(t) && t->numel) {
    Clear j = {mt_data(t), (size_t)t->numel * mt_dsize(t->dtype)};
    mt_parallel((int64_t)((j.bytes + CLEAR - 1) / CLEAR), 4, clear_job, &j);
  }
  return flag_grad(c, t, requires_grad);
}
Tensor *k_ones(Ctx *c, IntList size, int dtype, int layout, int device, int pin,
               bool requires_grad) {
  return flag_grad(
      c, fill_raw(c, mt_new(c, size, pick_dtype(c, dtype), pick_device(device)), mt_si(1)),
      requires_grad);
}

/* A value that must fit the dtype it is stored in. */
static bool fits(Ctx *c, Scalar v, DType d) {
  if (mt_is_int(d) && v.kind == K_COMPLEX && v.im != 0) {
    mt_fail(c, "a complex value cannot be stored as %s", mt_dtypes[d].name);
    return false;
  }
  if (mt_is_float(d) && v.kind == K_COMPLEX && v.im != 0) {
    mt_fail(c, "a complex value cannot be stored as %s", mt_dtypes[d].name);
    return false;
  }
  if (d == MT_bool || !mt_is_int(d)) return true;
  static const double lo[] = {0, 0, -128, -32768, -2147483648.0, -9223372036854775808.0};
  static const double hi[] = {1, 255, 127, 32767, 2147483647.0, 9223372036854775807.0};
  double x = mt_sre(v);
  if (d == MT_uint8 && x >= -255 && x <= 255) return true;
  if (!(x >= lo[d] && x <= hi[d])) {
    mt_fail(c, "value %g cannot be converted to type %s without overflow", x, mt_dtypes[d].name);
    return false;
  }
  return true;
}

Tensor *k_full(Ctx *c, IntList size, Scalar v, int dtype, int layout, int device, int pin,
               bool requires_grad) {
  DType d = dtype >= 0          ? (DType)dtype
            : v.kind == K_BOOL  ? MT_bool
            : v.kind == K_INT   ? MT_int64
            : v.kind == K_FLOAT ? c->default_dtype
                                : mt_complex_dtype(c->default_dtype);
  if (!fits(c, v, d)) return NULL;
  return flag_grad(c, fill_raw(c, mt_new(c, size, d, pick_device(device)), v), requires_grad);
}
Tensor *k_scalar_tensor(Ctx *c, Scalar s, int dtype, int layout, int device, int pin,
                        bool requires_grad) {
  return t_full(c, mt_il(NULL, 0), s, pick_dtype(c, dtype), layout, device, pin, requires_grad);
}

/* The strides clone and *_like give: the tensor's own order when it is dense, else the order its
 * strides suggest. */
static Tensor *new_like_format(Ctx *c, Tensor *t, DType d, Device dev, int fmt) {
  if (fmt < 0) fmt = FMT_PRESERVE;
  if (fmt != FMT_PRESERVE) return new_format(c, mt_sizes(t), d, dev, fmt);
  if (mt_is_contiguous(t)) return mt_new(c, mt_sizes(t), d, dev);
  if (mt_is_dense(t)) return mt_new_strided(c, mt_sizes(t), mt_il(t->stride, t->ndim), d, dev);
  Tensor *in[2] = {NULL, t};
  DType ct[2] = {d, (DType)t->dtype};
  Iter it;
  Tensor *m = mt_iter_init(c, &it, 1, 2, in, ct) ? in[0] : NULL;
  return m && dev == MT_META && !mt_meta(m)
             ? mt_new_strided(c, mt_sizes(m), mt_il(m->stride, m->ndim), d, MT_META)
             : m;
}
static Tensor *like(Ctx *c, Tensor *t, int dtype, int device, int fmt, bool rg) {
  return flag_grad(c,
                   new_like_format(c, t, dtype < 0 ? (DType)t->dtype : (DType)dtype,
                                   device < 0 ? (Device)t->device : (Device)device, fmt),
                   rg);
}
Tensor *k_empty_like(Ctx *c, Tensor *s, int dtype, int layout, int device, int pin, bool rg,
                     int fmt) {
  return like(c, s, dtype, device, fmt, rg);
}
Tensor *k_zeros_like(Ctx *c, Tensor *s, int dtype, int layout, int device, int pin, bool rg,
                     int fmt) {
  return fill_raw(c, like(c, s, dtype, device, fmt, rg), mt_si(0));
}
Tensor *k_ones_like(Ctx *c, Tensor *s, int dtype, int layout, int device, int pin, bool rg,
                    int fmt) {
  return fill_raw(c, like(c, s, dtype, device, fmt, rg), mt_si(1));
}
Tensor *k_full_like(Ctx *c, Tensor *s, Scalar v, int dtype, int layout, int device, int pin,
                    bool rg, int fmt) {
  if (!fits(c, v, dtype < 0 ? (DType)s->dtype : (DType)dtype)) return NULL;
  return fill_raw(c, like(c, s, dtype, device, fmt, rg), v);
}
static int own(const Tensor *t, int dtype) { return dtype < 0 ? t->dtype : dtype; }
static int own_dev(const Tensor *t, int dev) { return dev < 0 ? t->device : dev; }
Tensor *k_new_empty(Ctx *c, Tensor *s, IntList size, int dtype, int layout, int device, int pin,
                    bool rg) {
  return k_empty(c, size, own(s, dtype), layout, own_dev(s, device), pin, rg, -1);
}
Tensor *k_new_empty_strided(Ctx *c, Tensor *s, IntList size, IntList stride, int dtype, int layout,
                            int device, int pin, bool rg) {
  return k_empty_strided(c, size, stride, own(s, dtype), layout, own_dev(s, device), pin, rg);
}
Tensor *k_new_zeros(Ctx *c, Tensor *s, IntList size, int dtype, int layout, int device, int pin,
                    bool rg) {
  return k_zeros(c, size, own(s, dtype), layout, own_dev(s, device), pin, rg);
}
Tensor *k_new_ones(Ctx *c, Tensor *s, IntList size, int dtype, int layout, int device, int pin,
                   bool rg) {
  return k_ones(c, size, own(s, dtype), layout, own_dev(s, device), pin, rg);
}
Tensor *k_new_full(Ctx *c, Tensor *s, IntList size, Scalar v, int dtype, int layout, int device,
                   int pin, bool rg) {
  return k_full(c, size, v, own(s, dtype), layout, own_dev(s, device), pin, rg);
}

/* ---- ranges ---- */
/* Values are computed in double (integers in int64) and stored as d. */
typedef struct {
  void *o;
  DType d;
  double start, step;
  int64_t istart, istep;
} Ramp;
static void ramp_range(void *ctx, int64_t lo, int64_t hi) {
  const Ramp *r = ctx;
  const MtIndexKerns *k = mt_index_kerns();
  if (r->d == MT_int64)
    k->ramp_i64((int64_t *)r->o + lo, hi - lo,
                (int64_t)((uint64_t)r->istart + (uint64_t)lo * (uint64_t)r->istep), r->istep);
  else if (r->d == MT_float32) k->ramp_f32((float *)r->o + lo, lo, hi - lo, r->start, r->step);
  else k->ramp_f64((double *)r->o + lo, lo, hi - lo, r->start, r->step);
}
static Tensor *ramp(Ctx *c, int64_t n, DType d, Device dev, double start, double step,
                    int64_t istart, int64_t istep) {
  DType w = mt_is_int(d) ? MT_int64 : d == MT_float32 ? d : MT_float64;
  Tensor *t = mt_new(c, mt_il(&n, 1), w, dev);
  if (!t || mt_meta(t)) return t ? mt_new(c, mt_il(&n, 1), d, dev) : NULL;
  Ramp r = {mt_data(t), w, start, step, istart, istep};
  mt_parallel(n, 65536, ramp_range, &r);
  return mt_poll(c) ? NULL : mt_cast(c, t, d);
}
Tensor *k_arange(Ctx *c, Scalar a, Scalar b, Scalar s, int dtype, int layout, int device, int pin,
                 bool rg) {
  if (a.kind == K_COMPLEX || b.kind == K_COMPLEX || s.kind == K_COMPLEX)
    return mt_fail(c, "complex bounds are not supported");
  bool ints = a.kind < K_FLOAT && b.kind < K_FLOAT && s.kind < K_FLOAT;
  DType d = dtype >= 0 ? (DType)dtype : ints ? MT_int64 : c->default_dtype;
  double x = mt_sre(a), y = mt_sre(b), st = mt_sre(s);
  if (!isfinite(x) || !isfinite(y) || st != st)
    return mt_fail(c, "unsupported range: %g to %g", x, y);
  if (d == MT_int64 && !ints && fabs(x) < 9e18 && fabs(y) < 9e18 &&
      fabs(st) < 9e18) { /* cut to integers first */
    a = mt_si((int64_t)x); b = mt_si((int64_t)y); s = mt_si((int64_t)st);
    x = (double)a.i; y = (double)b.i; st = (double)s.i;
    ints = true;
  }
  if (st == 0) return mt_fail(c, "step must be nonzero");
  if ((st > 0 && y < x) || (st < 0 && y > x))
    return mt_fail(c, "upper bound and lower bound inconsistent with step sign (%g to %g by %g)", x,
                   y, st);
  double count;
  if (ints) {
    __int128 span = (__int128)b.i - a.i, step = s.i, q = span / step + (span % step != 0);
    count = (double)q;
  } else count = ceil((y - x) / st);
  if (!(count < 1e15)) return mt_fail(c, "range of %g elements is too large", count);
  return flag_grad(
      c, ramp(c, (int64_t)count, d, pick_device(device), x, st, mt_sint(a), mt_sint(s)), rg);
}
Tensor *k_arange_end(Ctx *c, Scalar end, int dtype, int layout, int device, int pin, bool rg) {
  return t_arange(c, mt_si(0), end, mt_si(1), dtype, layout, device, pin, rg);
}

static DType range_dtype(Ctx *c, int dtype, Scalar a, Scalar b) {
  if (dtype >= 0) return (DType)dtype;
  return a.kind == K_COMPLEX || b.kind == K_COMPLEX ? mt_complex_dtype(c->default_dtype)
                                                    : c->default_dtype;
}
/* Symmetric from both ends, as PyTorch: the second half counts down from the end. */
#define LIN(TY, STEPT)                                                                        \
  do {                                                                                        \
    TY *p = mt_data(t), s0 = (TY)x0, e0 = (TY)x1;                                             \
    STEPT h = n > 1 ? (STEPT)((STEPT)e0 - (STEPT)s0) / (STEPT)(n - 1) : 0;                    \
    for (int64_t i = 0; i < n; i++)                                                           \
      p[i] = (TY)(i < n / 2 ? (STEPT)s0 + h * (STEPT)i : (STEPT)e0 - h * (STEPT)(n - 1 - i)); \
  } while (0)
static Tensor *spaced(Ctx *c, Scalar a, Scalar b, int64_t n, DType d, Device dev) {
  if (n < 0) return mt_fail(c, "number of steps must be non-negative, got %lld", (long long)n);
  if (n == 1) b = a;
  if (mt_is_complex(d)) {
    Tensor *t = mt_new(c, mt_il(&n, 1), MT_complex128, dev);
    if (!t || mt_meta(t)) return t ? mt_new(c, mt_il(&n, 1), d, dev) : NULL;
    double re = mt_sre(a), im = a.im, hr = n > 1 ? (mt_sre(b) - re) / (double)(n - 1) : 0,
           hi = n > 1 ? (b.im - im) / (double)(n - 1) : 0;
    for (int64_t i = 0; i < n; i++) {
      ((double *)mt_data(t))[2 * i] = re + hr * (double)i;
      ((double *)mt_data(t))[2 * i + 1] = im + hi * (double)i;
    }
    return mt_cast(c, t, d);
  }
  double x0 = mt_sre(a), x1 = mt_sre(b);
  DType w = d == MT_float32   ? MT_float32
            : mt_is_int(d)    ? MT_int64
            : d == MT_float64 ? MT_float64
                              : MT_float32;
  Tensor *t = mt_new(c, mt_il(&n, 1), w, dev);
  if (!t || mt_meta(t)) return t ? mt_new(c, mt_il(&n, 1), d, dev) : NULL;
  if (w == MT_float32) LIN(float, float); else if (w == MT_float64) LIN(double, double); else {
    int64_t *p = mt_data(t), s0 = mt_sint(a), e0 = mt_sint(b);
    double h = n > 1 ? ((double)e0 - (double)s0) / (double)(n - 1) : 0;
    for (int64_t i = 0; i < n; i++)
      p[i] = i < n / 2 ? (int64_t)((double)s0 + h * (double)i)
                       : (int64_t)((double)e0 - h * (double)(n - 1 - i));
  }
  return mt_cast(c, t, d);
}
Tensor *k_linspace(Ctx *c, Scalar a, Scalar b, int64_t n, int dtype, int layout, int device,
                   int pin, bool rg) {
  return flag_grad(c, spaced(c, a, b, n, range_dtype(c, dtype, a, b), pick_device(device)), rg);
}
Tensor *k_logspace(Ctx *c, Scalar a, Scalar b, int64_t n, double base, int dtype, int layout,
                   int device, int pin, bool rg) {
  DType d = range_dtype(c, dtype, a, b);
  if (n < 0) return mt_fail(c, "number of steps must be non-negative, got %lld", (long long)n);
  if (n == 1) b = a;
  if (mt_is_complex(d)) {
    Tensor *e = spaced(c, a, b, n, d, pick_device(device));
    return flag_grad(c, t_to_dtype(c, t_pow(c, mt_wrap(c, mt_sd(base)), e), d, false, -1), rg);
  }
  Tensor *t = mt_new(c, mt_il(&n, 1), MT_float64, pick_device(device));
  if (!t || mt_meta(t)) return t ? mt_new(c, mt_il(&n, 1), d, pick_device(device)) : NULL;
  double x0 = mt_sre(a), x1 = mt_sre(b), *p = mt_data(t);
  if (mt_is_int(d)) { x0 = trunc(x0); x1 = trunc(x1); }
  double h = n > 1 ? (x1 - x0) / (double)(n - 1) : 0;
  if (mt_is_int(d)) h = (double)(float)h;
  for (int64_t i = 0; i < n; i++)
    p[i] = pow(base, i < n / 2 ? x0 + h * (double)i : x1 - h * (double)(n - 1 - i));
  return flag_grad(c, mt_cast(c, t, d), rg);
}

Tensor *k_eye(Ctx *c, int64_t n, int64_t m, int dtype, int layout, int device, int pin, bool rg) {
  if (m == MT_NONE_INT) m = n;
  if (n < 0 || m < 0)
    return mt_fail(c, "n and m must be 0 or more, got %lld and %lld", (long long)n, (long long)m);
  Tensor *t = k_zeros(c, mt_il((int64_t[]){n, m}, 2), dtype, layout, device, pin, rg);
  if (!t || mt_meta(t)) return t;
  for (int64_t i = 0; i < n && i < m; i++)
    mt_store((char *)mt_data(t) + (i * m + i) * (int64_t)mt_dsize(t->dtype), (DType)t->dtype,
             mt_si(1));
  return t;
}

/* ---- copies ---- */
Tensor *k_clone(Ctx *c, Tensor *self, int fmt) {
  Tensor *n = new_like_format(c, self, (DType)self->dtype, (Device)self->device, fmt);
  return n ? mt_copy_raw(c, n, self) : NULL;
}
static bool has_format(Ctx *c, const Tensor *t, int fmt) {
  int64_t st[MT_MAXDIM];
  if (fmt < 0 || fmt == FMT_CONTIGUOUS) return mt_is_contiguous(t);
  if (fmt == FMT_PRESERVE) {
    mt_fail(c, "preserve memory format is unsupported by contiguous");
    return true;
  }
  if (!channels_last(c, fmt, mt_sizes(t), st)) return true;
  for (int i = 0; i < t->ndim; i++) if (t->size[i] > 1 && t->stride[i] != st[i]) return false;
  return true;
}
Tensor *k_contiguous(Ctx *c, Tensor *self, int fmt) {
  bool yes = has_format(c, self, fmt);
  return c->err ? NULL : yes ? self : t_clone(c, self, fmt < 0 ? FMT_CONTIGUOUS : fmt);
}
Tensor *k_copy_(Ctx *c, Tensor *self, Tensor *src, bool non_blocking) {
  int64_t shape[MT_MAXDIM];
  int n;
  if (!mt_broadcast(c, self->ndim, self->size, src->ndim, src->size, &n, shape)) return NULL;
  if (n != self->ndim || memcmp(shape, self->size, sizeof(int64_t) * (size_t)n))
    return mt_fail(c, "a source of shape %s cannot be broadcast to the destination's shape %s",
                   mt_list_str(c, mt_sizes(src)), mt_list_str(c, mt_sizes(self)));
  return mt_copy_raw(c, self, src);
}
Tensor *k_to_dtype(Ctx *c, Tensor *self, int dtype, bool copy, int fmt) {
  if (self->dtype == dtype && !copy && (fmt < 0 || fmt == FMT_PRESERVE || has_format(c, self, fmt)))
    return t_alias(c, self);
  Tensor *n = new_like_format(c, self, (DType)dtype, (Device)self->device, fmt);
  return n ? mt_copy_raw(c, n, self) : NULL;
}
Tensor *k_fill(Ctx *c, Tensor *self, Scalar value) {
  if (value.kind == K_COMPLEX && !mt_is_complex(self->dtype) && value.im != 0)
    return mt_fail(c, "value cannot be converted to type %s without overflow",
                   mt_dtypes[self->dtype].name);
  Tensor *o = mt_take_out(c, self->ndim, self->size, NULL, 0);
  return fill_raw(c, o ? o : new_like_format(c, self, (DType)self->dtype, (Device)self->device, -1),
                  value);
}
Tensor *k_zero(Ctx *c, Tensor *self) { return k_fill(c, self, mt_si(0)); }
Tensor *k_fill_Tensor(Ctx *c, Tensor *self, Tensor *value) {
  if (value->ndim)
    return mt_fail(c, "value must be a 0-dim tensor, got shape %s",
                   mt_list_str(c, mt_sizes(value)));
  Tensor *n = new_like_format(c, self, (DType)self->dtype, (Device)self->device, -1);
  return n ? mt_copy_raw(c, n, value) : NULL;
}
Tensor *k_conj_physical(Ctx *c, Tensor *self) {
  return mt_is_complex(self->dtype) ? t__conj_physical(c, self) : self;
}

Tensor *k_resize_(Ctx *c, Tensor *self, IntList size, int fmt) {
  int64_t n, st[MT_MAXDIM];
  uint64_t acc = 1;                          /* beside a size of 0 it may wrap */
  if (self->flags & MT_REQ_GRAD) return mt_fail(c, "cannot resize a tensor that requires grad");
  if (size.n > MT_MAXDIM || !mt_numel(c, size, &n)) return mt_fail(c, "too many dimensions");
  if (fmt == FMT_PRESERVE) return mt_fail(c, "preserve_format is not a format to resize to");
  for (int64_t i = size.n - 1; i >= 0; i--) {
    st[i] = (int64_t)acc;
    acc *= size.v[i] > 1 ? (uint64_t)size.v[i] : 1;
  }
  if ((fmt == FMT_CHANNELS_LAST || fmt == FMT_CHANNELS_LAST_3D) && !channels_last(c, fmt, size, st))
    return NULL;
  if (size.n == self->ndim && !memcmp(size.v, self->size, sizeof(int64_t) * (size_t)size.n) &&
      fmt < 0)
    return self;
  int64_t need = (self->offset + n) * (int64_t)mt_dsize(self->dtype);
  int64_t *dims = NULL;
  if (size.n > MT_INLINE_DIMS && size.n > self->ndim &&
      !(dims = mt_malloc(2 * sizeof(int64_t) * (size_t)size.n)))
    return mt_nomem(c);
  if (n && need > self->st->nbytes && !mt_storage_resize(c, self->st, need)) {
    mt_free(dims);
    return NULL;
  }
  int64_t keep[MT_MAXDIM];
  memcpy(keep, size.v, sizeof(int64_t) * (size_t)size.n);             /* size may be self's own */
  if (dims) {
    if (self->size != self->dims) mt_free(self->size);
    self->size = dims;
    self->stride = dims + size.n;
  }
  self->ndim = (uint8_t)size.n;
  self->numel = n;
  memcpy(self->size, keep, sizeof(int64_t) * (size_t)size.n);
  memcpy(self->stride, st, sizeof(int64_t) * (size_t)size.n);
  return self;
}

Scalar mt_sneg(Scalar a) {
  if (a.kind >= K_FLOAT) { a.d = -a.d; a.im = -a.im; } else { a.i = -a.i; a.kind = K_INT; }
  return a;
}
Scalar mt_sop(Scalar a, char op, Scalar b) {
  if (a.kind == K_COMPLEX || b.kind == K_COMPLEX) {
    cdouble x = CMPLX(mt_sre(a), a.im), y = CMPLX(mt_sre(b), b.im);
    cdouble z = op == '+'   ? x + y
                : op == '-' ? x - y
                : op == '*' ? x * y
                : op == '/' ? x / y
                            : cpow(x, y);
    return mt_sc(creal(z), cimag(z));
  }
  if (a.kind < K_FLOAT && b.kind < K_FLOAT && op != '/' && op != '^')
    return mt_si((int64_t)(op == '+'   ? (uint64_t)a.i + (uint64_t)b.i
                           : op == '-' ? (uint64_t)a.i - (uint64_t)b.i
                                       : (uint64_t)a.i * (uint64_t)b.i));
  double x = mt_sre(a), y = mt_sre(b);
  return mt_sd(op == '+'   ? x + y
               : op == '-' ? x - y
               : op == '*' ? x * y
               : op == '/' ? x / y
                           : pow(x, y));
}
