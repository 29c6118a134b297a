/* fft.c: kernels of ops_fft.def: three primitives over the rows of fft_core, and PyTorch's
 * functions made of them. */
#include "fft_core.h"
#include "op.h"
#include <math.h>
#include <string.h>

typedef enum { NORM_NONE, NORM_ROOT, NORM_N } Norm;

static bool done(Ctx *c, CoreStatus s) {
  if (s == CORE_NOMEM) mt_nomem(c);
  if (s == CORE_INTERRUPTED) mt_poll(c);
  return s == CORE_OK && !c->err;
}

/* ---- primitives ---- */

/* One dimension: transformed where it lies, or brought last, transformed and brought back as a
 * view. */
static Tensor *along(Ctx *c, Tensor *x, int dim, FftKind kind, bool inverse, int64_t n,
                     int64_t norm) {
  int last = x->ndim - 1;
  int64_t size[MT_MAXDIM], outer = 1, inner = 1;
  for (int i = dim + 1; i < x->ndim; i++) inner *= x->size[i];
  bool stay = dim == last || mt_fft_columns(n, inner);
  Tensor *in = mt_contig(c, stay ? x : t_transpose(c, x, dim, last));
  if (!in) return NULL;
  int d = stay ? dim : last;
  for (int i = 0; i < x->ndim; i++) size[i] = in->size[i];
  for (int i = 0; i < d; i++) outer *= size[i];
  if (!stay) inner = 1;
  DType t = (DType)x->dtype, ot = kind == FFT_R2C   ? mt_complex_dtype(t)
                                  : kind == FFT_C2R ? mt_real_dtype(t)
                                                    : t;
  size[d] = kind == FFT_R2C ? n / 2 + 1 : n;
  Tensor *out = mt_new(c, mt_il(size, x->ndim), ot, MT_CPU);
  double scale = norm == NORM_N ? 1.0 / (double)n : norm == NORM_ROOT ? 1 / sqrt((double)n) : 1;
  bool wide = mt_real_dtype(t) == MT_float64;
  if (!out || !done(c, mt_fft_lines(kind, wide, inverse, mt_data(in), mt_data(out), outer, n, inner,
                                    scale)))
    return NULL;
  return stay ? out : t_transpose(c, out, dim, last);
}
static int at(Ctx *c, const Tensor *x, int64_t dim) { return x ? mt_dim(c, dim, x->ndim) : -1; }

Tensor *k__fft_c2c(Ctx *c, Tensor *x, IntList dim, int64_t norm, bool forward) {
  if (!x) return NULL;                     /* no memory for the cast of a caller */
  if (!mt_is_complex(x->dtype))
    return mt_fail(c, "expected a complex tensor, got %s", mt_dtypes[x->dtype].name);
  for (int64_t i = dim.n; i-- > 0 && x;) {
    int d = at(c, x, dim.v[i]);
    x = d < 0 ? NULL : along(c, x, d, FFT_C2C, !forward, x->size[d], norm);
  }
  return x && dim.n ? mt_contig(c, x) : x ? t_clone(c, x, -1) : NULL;
}

/* The half spectrum x along the last dimension, completed to n by the conjugates of what lies
 * opposite in every dimension of mask. */
typedef struct {
  const Tensor *x;
  const char *in;
  char *out;
  int64_t n;
  uint64_t mask;
} Mirror;

#define OPPOSITE(T, name)                                           \
  static void name(const T *a, const T *b, T *o, int64_t n) {       \
    int64_t h = n / 2 + 1;                                          \
    memcpy(o, a, sizeof(T) * 2 * (size_t)h);                        \
    for (int64_t k = h; k < n; k++) {                               \
      o[2 * k] = b[2 * (n - k)];                                    \
      o[2 * k + 1] = -b[2 * (n - k) + 1];                           \
    }                                                               \
  }
OPPOSITE(float, opposite_f32)
OPPOSITE(double, opposite_f64)

static void mirror_rows(void *ctx, int64_t lo, int64_t hi) {
  const Mirror *m = ctx;
  int64_t h = m->n / 2 + 1;
  bool wide = m->x->dtype == MT_complex128;
  size_t e = wide ? 16 : 8;
  for (int64_t r = lo; r < hi && !mt_interrupted; r++) {
    int64_t from = 0, rest = r, step = 1;
    for (int d = m->x->ndim - 2; d >= 0; d--) {
      int64_t n = m->x->size[d], i = rest % n;
      from += (m->mask >> d & 1 && i ? n - i : i) * step;
      rest /= n;
      step *= n;
    }
    const void *a = m->in + (size_t)(r * h) * e, *b = m->in + (size_t)(from * h) * e;
    void *o = m->out + (size_t)(r * m->n) * e;
    if (wide) opposite_f64(a, b, o, m->n);
    else opposite_f32(a, b, o, m->n);
  }
}
static Tensor *completed(Ctx *c, Tensor *x, int64_t n, uint64_t mask) {
  int64_t size[MT_MAXDIM];
  if (!x) return NULL;
  memcpy(size, x->size, sizeof(int64_t) * (size_t)x->ndim);
  size[x->ndim - 1] = n;
  Tensor *y = mt_new(c, mt_il(size, x->ndim), (DType)x->dtype, MT_CPU);
  if (!y || !y->numel) return y;
  Mirror m = {x, mt_data(x), mt_data(y), n, mask};
  mt_parallel(x->numel / (n / 2 + 1), 8192 / n + 1, mirror_rows, &m);
  return mt_poll(c) ? NULL : y;
}

/* The whole spectrum of real input is its half and the half's conjugate mirror. */
Tensor *k__fft_r2c(Ctx *c, Tensor *x, IntList dim, int64_t norm, bool onesided) {
  if (!x) return NULL;                     /* no memory for the cast of a caller */
  if (x->dtype != MT_float32 && x->dtype != MT_float64)
    return mt_fail(c, "expected a float32 or float64 tensor, got %s", mt_dtypes[x->dtype].name);
  int d = at(c, x, dim.v[dim.n - 1]);
  if (d >= 0 && !onesided && d != x->ndim - 1)
    return k__fft_c2c(c, mt_cast(c, x, mt_complex_dtype((DType)x->dtype)), dim, norm, true);
  Tensor *y = d < 0 ? NULL : along(c, x, d, FFT_R2C, false, x->size[d], norm);
  if (!y) return NULL;
  y = dim.n > 1 ? k__fft_c2c(c, y, mt_il(dim.v, dim.n - 1), norm, true) : mt_contig(c, y);
  return onesided ? y : completed(c, y, x->size[d], mt_dim_mask(c, dim, x->ndim));
}
Tensor *k__fft_c2r(Ctx *c, Tensor *x, IntList dim, int64_t norm, int64_t last) {
  if (!mt_is_complex(x->dtype))
    return mt_fail(c, "expected a complex tensor, got %s", mt_dtypes[x->dtype].name);
  if (dim.n > 1) x = k__fft_c2c(c, x, mt_il(dim.v, dim.n - 1), norm, false);
  int d = x ? at(c, x, dim.v[dim.n - 1]) : -1;
  if (d >= 0 && x->size[d] != last / 2 + 1)
    return mt_fail(c, "expected %lld values along dim %d, got %lld", (long long)(last / 2 + 1), d,
                   (long long)x->size[d]);
  Tensor *y = d < 0 ? NULL : along(c, x, d, FFT_C2R, true, last, norm);
  return y ? mt_contig(c, y) : NULL;
}

/* x cut or padded with zeros to n along d; differentiable. */
static Tensor *fit(Ctx *c, Tensor *x, int d, int64_t n) {
  if (!x || x->size[d] == n) return x;
  if (x->size[d] > n) return t_narrow(c, x, d, 0, n);
  int64_t size[MT_MAXDIM];
  memcpy(size, x->size, sizeof(int64_t) * (size_t)x->ndim);
  size[d] = n - x->size[d];
  Tensor *list[2] = {x, t_zeros(c, mt_il(size, x->ndim), x->dtype, -1, x->device, -1, false)};
  return t_cat(c, (TensorList){list, 2}, d);
}
Tensor *k__fft_r2c_backward(Ctx *c, Tensor *grad, IntList sizes, IntList dim, int64_t norm,
                            bool onesided) {
  int d = at(c, grad, dim.v[dim.n - 1]);
  if (d < 0) return NULL;
  Tensor *g = onesided ? fit(c, grad, d, sizes.v[d]) : grad;
  return t_real(c, t__fft_c2c(c, g, dim, norm, false));
}
Tensor *k__fft_c2r_backward(Ctx *c, Tensor *grad, IntList dim, int64_t norm) {
  Tensor *g = t__fft_r2c(c, grad, dim, norm, true);
  int d = g ? at(c, g, dim.v[dim.n - 1]) : -1;
  if (d < 0) return NULL;
  int64_t twice = grad->size[d] - g->size[d], size[MT_MAXDIM];
  for (int i = 0; i < g->ndim; i++) size[i] = i == d ? g->size[d] : 1;
  Tensor *w =
      t_ones(c, mt_il(size, g->ndim), mt_real_dtype((DType)g->dtype), -1, g->device, -1, false);
  for (int64_t i = 1; w && !mt_meta(w) && i <= twice; i++)
    mt_store((char *)mt_data(w) + (size_t)i * mt_dsize(w->dtype), (DType)w->dtype, mt_sd(2));
  return t_mul(c, g, w);
}

/* ---- arguments ---- */

static int norm_of(Ctx *c, const char *s, bool forward) {
  if (!s || !strcmp(s, "backward")) return forward ? NORM_NONE : NORM_N;
  if (!strcmp(s, "forward")) return forward ? NORM_N : NORM_NONE;
  if (!strcmp(s, "ortho")) return NORM_ROOT;
  mt_fail(c, "invalid normalization mode: \"%s\"", s);
  return -1;
}

/* Integers become the default dtype; half types have no transform here. */
static Tensor *promoted(Ctx *c, Tensor *x, bool want_complex) {
  DType d = mt_is_int(x->dtype) ? c->default_dtype : (DType)x->dtype;
  if (d == MT_float16 || d == MT_bfloat16)
    return mt_fail(c, "unsupported dtype %s", mt_dtypes[d].name);
  if (want_complex) d = mt_complex_dtype(d);
  return d == (DType)x->dtype ? x : t_to_dtype(c, x, d, false, -1);
}
static bool points(Ctx *c, int64_t n) {
  if (n >= 1) return true;
  mt_fail(c, "invalid number of data points (%lld) specified", (long long)n);
  return false;
}
static int one_dim(Ctx *c, const Tensor *x, int64_t dim) {
  if (x && x->ndim) return mt_dim(c, dim, x->ndim);
  if (x) mt_fail(c, "dimension specified as %lld but the tensor has no dimensions", (long long)dim);
  return -1;
}
#define D1(d) mt_il((const int64_t[]){d}, 1)

static Tensor *c2c(Ctx *c, Tensor *s, int64_t n, int64_t dim, const char *norm, bool forward) {
  Tensor *x = promoted(c, s, !forward);
  int d = one_dim(c, x, dim), m = norm_of(c, norm, forward);
  if (d < 0 || m < 0) return NULL;
  if (n == MT_NONE_INT) n = x->size[d];
  if (!points(c, n)) return NULL;
  x = fit(c, x, d, n);
  if (!x) return NULL;
  return mt_is_complex(x->dtype) ? t__fft_c2c(c, x, D1(d), m, forward)
                                 : t__fft_r2c(c, x, D1(d), m, false);
}
Tensor *k_fft_fft(Ctx *c, Tensor *s, int64_t n, int64_t dim, const char *norm) {
  return c2c(c, s, n, dim, norm, true);
}
Tensor *k_fft_ifft(Ctx *c, Tensor *s, int64_t n, int64_t dim, const char *norm) {
  return c2c(c, s, n, dim, norm, false);
}

static Tensor *r2c(Ctx *c, Tensor *s, int64_t n, int64_t dim, const char *norm, bool forward) {
  if (mt_is_complex(s->dtype))
    return mt_fail(c, "expected a real input tensor, got %s", mt_dtypes[s->dtype].name);
  Tensor *x = promoted(c, s, false);
  int d = one_dim(c, x, dim), m = norm_of(c, norm, forward);
  if (d < 0 || m < 0) return NULL;
  if (n == MT_NONE_INT) n = x->size[d];
  if (!points(c, n)) return NULL;
  Tensor *y = t__fft_r2c(c, fit(c, x, d, n), D1(d), m, true);
  return forward ? y : t_conj_physical(c, y);
}
Tensor *k_fft_rfft(Ctx *c, Tensor *s, int64_t n, int64_t dim, const char *norm) {
  return r2c(c, s, n, dim, norm, true);
}
Tensor *k_fft_ihfft(Ctx *c, Tensor *s, int64_t n, int64_t dim, const char *norm) {
  return r2c(c, s, n, dim, norm, false);
}

static Tensor *c2r(Ctx *c, Tensor *s, int64_t n, int64_t dim, const char *norm, bool forward) {
  Tensor *x = promoted(c, s, true);
  int d = one_dim(c, x, dim), m = norm_of(c, norm, forward);
  if (d < 0 || m < 0) return NULL;
  if (n == MT_NONE_INT) n = 2 * (x->size[d] - 1);
  if (!points(c, n)) return NULL;
  x = fit(c, x, d, n / 2 + 1);
  return t__fft_c2r(c, forward ? t_conj(c, x) : x, D1(d), m, n);
}
Tensor *k_fft_irfft(Ctx *c, Tensor *s, int64_t n, int64_t dim, const char *norm) {
  return c2r(c, s, n, dim, norm, false);
}
Tensor *k_fft_hfft(Ctx *c, Tensor *s, int64_t n, int64_t dim, const char *norm) {
  return c2r(c, s, n, dim, norm, true);
}

/* The dims of an n-dimensional transform and their lengths; half: the last length stands for
 * half as many values. */
typedef struct { int n; int64_t dim[MT_MAXDIM], len[MT_MAXDIM]; } Axes;

static bool axes_of(Ctx *c, const Tensor *x, IntList s, IntList dim, bool half, Axes *a) {
  if (s.n >= 0 && dim.n >= 0 && s.n != dim.n) {
    mt_fail(c, "when given, dim and shape arguments must have the same length");
    return false;
  }
  if (s.n > x->ndim) {
    mt_fail(c, "got shape with %lld values but input tensor only has %d dimensions", (long long)s.n,
            x->ndim);
    return false;
  }
  bool seen[MT_MAXDIM] = {false};
  a->n = (int)(dim.n >= 0 ? dim.n : s.n >= 0 ? s.n : x->ndim);
  for (int i = 0; i < a->n; i++) {
    int d = one_dim(c, x, dim.n >= 0 ? dim.v[i] : x->ndim - a->n + i);
    if (d < 0) return false;
    if (seen[d]) { mt_fail(c, "FFT dims must be unique"); return false; }
    seen[d] = true;
    a->dim[i] = d;
    bool last = half && i == a->n - 1;
    a->len[i] = s.n >= 0 && s.v[i] != -1 ? s.v[i] : last ? 2 * (x->size[d] - 1) : x->size[d];
    if (!points(c, a->len[i])) return false;
  }
  return true;
}
static Tensor *fit_axes(Ctx *c, Tensor *x, const Axes *a, bool half) {
  for (int i = 0; x && i < a->n; i++)
    x = fit(c, x, (int)a->dim[i], half && i == a->n - 1 ? a->len[i] / 2 + 1 : a->len[i]);
  return x;
}

static Tensor *c2c_n(Ctx *c, Tensor *t, IntList s, IntList dim, const char *norm, bool forward) {
  Axes a;
  Tensor *x = promoted(c, t, true);
  int m = norm_of(c, norm, forward);
  if (!x || m < 0 || !axes_of(c, x, s, dim, false, &a)) return NULL;
  return a.n ? t__fft_c2c(c, fit_axes(c, x, &a, false), mt_il(a.dim, a.n), m, forward)
             : t_clone(c, x, -1);
}
static Tensor *r2c_n(Ctx *c, Tensor *t, IntList s, IntList dim, const char *norm, bool forward) {
  Axes a;
  if (mt_is_complex(t->dtype))
    return mt_fail(c, "expected a real input tensor, got %s", mt_dtypes[t->dtype].name);
  Tensor *x = promoted(c, t, false);
  int m = norm_of(c, norm, forward);
  if (!x || m < 0 || !axes_of(c, x, s, dim, false, &a)) return NULL;
  if (!a.n) return mt_fail(c, "must transform at least one axis");
  x = fit_axes(c, x, &a, false);
  if (forward) return t__fft_r2c(c, x, mt_il(a.dim, a.n), m, true);
  x = t_conj_physical(c, t__fft_r2c(c, x, mt_il(a.dim + a.n - 1, 1), m, true));
  return a.n > 1 ? t__fft_c2c(c, x, mt_il(a.dim, a.n - 1), m, false) : x;
}
static Tensor *c2r_n(Ctx *c, Tensor *t, IntList s, IntList dim, const char *norm, bool forward) {
  Axes a;
  Tensor *x = promoted(c, t, true);
  int m = norm_of(c, norm, forward);
  if (!x || m < 0 || !axes_of(c, x, s, dim, true, &a)) return NULL;
  if (!a.n) return mt_fail(c, "must transform at least one axis");
  x = fit_axes(c, x, &a, true);
  if (!forward) return t__fft_c2r(c, x, mt_il(a.dim, a.n), m, a.len[a.n - 1]);
  if (a.n > 1) x = t__fft_c2c(c, x, mt_il(a.dim, a.n - 1), m, true);
  return t__fft_c2r(c, t_conj(c, x), mt_il(a.dim + a.n - 1, 1), m, a.len[a.n - 1]);
}
#define FAMILY(name, fn, forward) \
  Tensor *k_fft_##name##n(Ctx *c, Tensor *t, IntList s, IntList dim, const char *norm) { \
    return fn(c, t, s, dim, norm, forward); \
  } \
  Tensor *k_fft_##name##2(Ctx * c, Tensor * t, IntList s, IntList dim, const char *norm) { \
    return fn(c, t, s, dim, norm, forward); \
  }
FAMILY(fft, c2c_n, true)
FAMILY(ifft, c2c_n, false)
FAMILY(rfft, r2c_n, true)
FAMILY(ihfft, r2c_n, false)
FAMILY(irfft, c2r_n, false)
FAMILY(hfft, c2r_n, true)

/* ---- helpers ---- */

/* x with its first half (of size at) moved behind the rest. */
static Tensor *rotate(Ctx *c, Tensor *x, int d, int64_t first) {
  int64_t n = x->size[d];
  if (first == 0 || first == n) return x;
  Tensor *list[2] = {t_narrow(c, x, d, first, n - first), t_narrow(c, x, d, 0, first)};
  return c->err ? NULL : t_cat(c, (TensorList){list, 2}, d);
}
static Tensor *shift(Ctx *c, Tensor *x, IntList dim, bool inverse) {
  Tensor *y = x;
  int64_t n = dim.n < 0 ? x->ndim : dim.n;
  for (int64_t i = 0; y && i < n; i++) {
    int d = dim.n < 0 ? (int)i : mt_dim(c, dim.v[i], x->ndim);
    if (d < 0) return NULL;
    y = rotate(c, y, d, inverse ? x->size[d] / 2 : (x->size[d] + 1) / 2);
  }
  return y == x ? t_clone(c, x, -1) : y;
}
Tensor *k_fft_fftshift(Ctx *c, Tensor *x, IntList dim) { return shift(c, x, dim, false); }
Tensor *k_fft_ifftshift(Ctx *c, Tensor *x, IntList dim) { return shift(c, x, dim, true); }

static Tensor *freq(Ctx *c, int64_t n, double d, int dtype, int device, bool grad, bool half) {
  if (n < 0) return mt_fail(c, "n must not be negative, got %lld", (long long)n);
  int64_t m = half ? n / 2 + 1 : n;
  DType t = dtype < 0 ? c->default_dtype : (DType)dtype;
  if (t < MT_float16)
    return mt_fail(c, "frequencies need a floating point or complex dtype, got %s",
                   mt_dtypes[t].name);
  Tensor *x = mt_new(c, mt_il(&m, 1), t, device < 0 ? MT_CPU : (Device)device);
  for (int64_t i = 0; x && !mt_meta(x) && i < m; i++) {
    double k = (double)(half || i < (n + 1) / 2 ? i : i - n) * (1.0 / ((double)n * d));
    mt_store((char *)mt_data(x) + (size_t)i * mt_dsize(t), t, mt_sd(k));
  }
  if (x && grad) x->flags |= MT_REQ_GRAD;
  return x;
}
Tensor *k_fft_fftfreq(Ctx *c, int64_t n, double d, int dtype, int layout, int device, int pin,
                      bool grad) {
  return freq(c, n, d, dtype, device, grad, false);
}
Tensor *k_fft_rfftfreq(Ctx *c, int64_t n, double d, int dtype, int layout, int device, int pin,
                       bool grad) {
  return freq(c, n, d, dtype, device, grad, true);
}
