/* signal.c: kernels of ops_signal.def. */
#include "iter.h"
#include "op.h"
#include "special.h"
#include <math.h>
#include <string.h>

#define PI 3.14159265358979323846

/* ---- windows: one formula each, evaluated in double, a block of points at a time ---- */

enum { POINTS = 256 };
typedef struct {
  double a, b;
  const Scalar *list;
  int64_t n;
  double span;
  bool single;
  double (*turn)[POINTS];
} Shape; /* span: intervals in the window; turn: cosines and sines of the first POINTS angles */
/* w: the numbers of the n points, replaced by the window there; POINTS numbers long. */
typedef void (*WindowFn)(const Shape *s, int64_t n, double *w);
#define EACH for (int64_t i = 0; i < n; i++)

static void apply(int unary, int64_t n, double *w) {
  DType d = MT_float64;
  mt_unary_loop(unary, &d)((char *[]){(char *)w, (char *)w}, (int64_t[]){8, 8}, n, NULL);
}
/* cos(k t) by the recurrence in k, cos(t) by turning on from the block's first point.  Whole blocks
 * with a constant count: those the compiler vectorises at -O2. */
static void w_cosines(const Shape *s, int64_t n, double *restrict w) {
  const double t = w[0] * (2 * PI / s->span), c0 = cos(t), s0 = sin(t);
  const double *restrict tc = s->turn[0], *restrict ts = s->turn[1];
  double c[POINTS], x[POINTS], last[POINTS], a = s->n > 0 ? mt_sre(s->list[0]) : 0,
                                             b = s->n > 1 ? -mt_sre(s->list[1]) : 0;
  (void)n;
  for (int i = 0; i < POINTS; i++) {
    c[i] = c0 * tc[i] - s0 * ts[i];
    w[i] = a + b * c[i];
  }
  for (int64_t k = 2; k < s->n; k++) {
    const double by = (k % 2 ? -1 : 1) * mt_sre(s->list[k]);
    if (k == 2) for (int i = 0; i < POINTS; i++) x[i] = c[i], last[i] = 1;
    for (int i = 0; i < POINTS; i++) {
      double next = 2 * c[i] * x[i] - last[i];
      w[i] += by * next;
      last[i] = x[i];
      x[i] = next;
    }
  }
}
static void w_bartlett(const Shape *s, int64_t n, double *w) {
  EACH w[i] = 1 - fabs(-1 + w[i] * (2 / s->span));
}
static void w_cosine(const Shape *s, int64_t n, double *w) {
  EACH w[i] = (0.5 + w[i]) * (PI / (s->span + 1));
  apply(U_sin, n, w);
}
static void w_exponential(const Shape *s, int64_t n, double *w) {
  EACH w[i] = -fabs((w[i] - s->a) / s->b);
  apply(U_exp, n, w);
}
static void w_gaussian(const Shape *s, int64_t n, double *w) {
  EACH {
    double k = (w[i] - s->span / 2) / (s->a * 1.4142135623730951);
    w[i] = -k * k;
  }
  apply(U_exp, n, w);
}
static void w_kaiser(const Shape *s, int64_t n, double *w) {
  double limit = s->single ? 88.722839 : INFINITY, x[POINTS]; /* where float's exp ends */
  double whole = s->a > limit ? INFINITY : mt_i0(s->a);
  EACH {
    double k = -s->a + w[i] * (2 * s->a / s->span), z = s->a * s->a - k * k;
    w[i] = x[i] = sqrt(z > 0 ? z : 0);
  }
  apply(U_i0, n, w);
  EACH w[i] = (x[i] > limit ? INFINITY : w[i]) / whole;
}

typedef struct { const Shape *s; WindowFn f; char *to; DType d; } WindowJob;
static void window_range(void *ctx, int64_t from, int64_t to) {
  const WindowJob *j = ctx;
  Loop cast = mt_cast_loop(j->d, MT_float64);
  const int64_t size = (int64_t)mt_dsize(j->d);
  for (int64_t at = from, n; at < to; at += n) {
    double w[POINTS];
    n = to - at < POINTS ? to - at : POINTS;
    for (int i = 0; i < POINTS; i++) w[i] = (double)at + i;
    j->f(j->s, n, w);
    cast((char *[]){j->to + at * size, (char *)w}, (int64_t[]){size, 8}, n, NULL);
  }
}
/* sym: the window of m points; else one period of it, that of m + 1 points without the last. */
static Tensor *window(Ctx *c, int64_t m, bool sym, WindowFn f, Shape s, int dtype, int layout,
                      int device, bool grad) {
  DType d = dtype < 0 ? c->default_dtype : (DType)dtype;
  if (m < 0) return mt_fail(c, "the window's length must be 0 or more, got %lld", (long long)m);
  if (d != MT_float32 && d != MT_float64 && !(mt_is_float(d) && layout == -2))
    return mt_fail(c, "expected float32 or float64 dtype, got %s", mt_dtypes[d].name);
  Tensor *t = mt_new(c, mt_il(&m, 1), d, device < 0 ? MT_CPU : (Device)device);
  s.span = (double)(sym ? m - 1 : m);
  s.single = d != MT_float64;
  if (t && !mt_meta(t)) {
    double turn[2][POINTS] = {{0}};
    s.turn = turn;
    for (int i = 0; i < POINTS && f == w_cosines && i < m; i++) {
      turn[0][i] = cos(i * (2 * PI / s.span));
      turn[1][i] = sin(i * (2 * PI / s.span));
    }
    WindowJob j = {&s, f, mt_data(t), d};
    if (m == 1) mt_store(j.to, d, mt_sd(1));
    else mt_parallel(m, 4096, window_range, &j);
  }
  if (t && grad) t->flags |= MT_REQ_GRAD;
  return t;
}
#define COSINES(...) \
  (Shape) { \
    .list = (const Scalar[]){__VA_ARGS__}, \
    .n = sizeof((const Scalar[]){__VA_ARGS__}) / sizeof(Scalar) \
  }
#define N(x) {.kind = K_FLOAT, .d = x}
#define OPTS bool sym, int dtype, int layout, int device, int pin, bool grad
#define GIVE(f, ...) window(c, m, sym, f, __VA_ARGS__, dtype, layout, device, grad)

Tensor *k_signal_windows_bartlett(Ctx *c, int64_t m, OPTS) { return GIVE(w_bartlett, (Shape){0}); }
Tensor *k_signal_windows_blackman(Ctx *c, int64_t m, OPTS) {
  return GIVE(w_cosines, COSINES(N(0.42), N(0.5), N(0.08)));
}
Tensor *k_signal_windows_cosine(Ctx *c, int64_t m, OPTS) { return GIVE(w_cosine, (Shape){0}); }
Tensor *k_signal_windows_exponential(Ctx *c, int64_t m, Scalar center, double tau, OPTS) {
  if (!(tau > 0)) return mt_fail(c, "tau must be positive, got %g", tau);
  if (sym && mt_has(center)) return mt_fail(c, "center must be None for symmetric windows");
  return GIVE(w_exponential, (Shape){.a = mt_has(center) ? mt_sre(center)
                                                         : ((double)m - (sym || m <= 1)) / 2,
                                     .b = tau});
}
Tensor *k_signal_windows_gaussian(Ctx *c, int64_t m, double std, OPTS) {
  if (!(std > 0)) return mt_fail(c, "standard deviation must be positive, got %g", std);
  return GIVE(w_gaussian, (Shape){.a = std});
}
Tensor *k_signal_windows_general_cosine(Ctx *c, int64_t m, ScalarList a, OPTS) {
  if (a.n <= 0) return mt_fail(c, "coefficients cannot be empty");
  return GIVE(w_cosines, (Shape){.list = a.v, .n = a.n});
}
Tensor *k_signal_windows_general_hamming(Ctx *c, int64_t m, double alpha, OPTS) {
  return GIVE(w_cosines, COSINES(N(alpha), N(1 - alpha)));
}
Tensor *k_signal_windows_hamming(Ctx *c, int64_t m, OPTS) {
  return GIVE(w_cosines, COSINES(N(0.54), N(1 - 0.54)));
}
Tensor *k_signal_windows_hann(Ctx *c, int64_t m, OPTS) {
  return GIVE(w_cosines, COSINES(N(0.5), N(0.5)));
}
Tensor *k_signal_windows_kaiser(Ctx *c, int64_t m, double beta, OPTS) {
  if (!(beta >= 0)) return mt_fail(c, "beta must be 0 or more, got %g", beta);
  return GIVE(w_kaiser, (Shape){.a = beta});
}
Tensor *k_signal_windows_nuttall(Ctx *c, int64_t m, OPTS) {
  return GIVE(w_cosines, COSINES(N(0.3635819), N(0.4891775), N(0.1365995), N(0.0106411)));
}

#define OLD_OPTS int dtype, int layout, int device, int pin, bool grad
#define OLD(f, ...) \
  window(c, m, !periodic, f, __VA_ARGS__, dtype, -2, device, grad) /* -2: half types are welcome */
Tensor *k_hann_window(Ctx *c, int64_t m, bool periodic, OLD_OPTS) {
  return OLD(w_cosines, COSINES(N(0.5), N(0.5)));
}
Tensor *k_hamming_window(Ctx *c, int64_t m, bool periodic, double alpha, double beta, OLD_OPTS) {
  return OLD(w_cosines, COSINES(N(alpha), N(beta)));
}
Tensor *k_bartlett_window(Ctx *c, int64_t m, bool periodic, OLD_OPTS) {
  return OLD(w_bartlett, (Shape){0});
}
Tensor *k_blackman_window(Ctx *c, int64_t m, bool periodic, OLD_OPTS) {
  return OLD(w_cosines, COSINES(N(0.42), N(0.5), N(0.08)));
}
Tensor *k_kaiser_window(Ctx *c, int64_t m, bool periodic, double beta, OLD_OPTS) {
  return OLD(w_kaiser, (Shape){.a = beta});
}

/* ---- short-time transforms ---- */

/* The last dimension continued by p on both sides. */
static Tensor *pad_last(Ctx *c, Tensor *x, int64_t p, const char *mode) {
  int64_t n = x->size[x->ndim - 1], m;
  if (p > INT64_MAX / 8)
    return mt_fail(c, "padding of %lld on both sides is too much", (long long)p);
  m = n + 2 * p;
  if (!strcmp(mode, "constant")) {
    int64_t size[MT_MAXDIM];
    memcpy(size, x->size, sizeof(int64_t) * (size_t)x->ndim);
    size[x->ndim - 1] = p;
    Tensor *z = t_zeros(c, mt_il(size, x->ndim), x->dtype, -1, x->device, -1, false),
           *list[3] = {z, x, z};
    return t_cat(c, (TensorList){list, 3}, -1);
  }
  int kind = !strcmp(mode, "reflect")     ? 0
             : !strcmp(mode, "replicate") ? 1
             : !strcmp(mode, "circular")  ? 2
                                          : -1;
  if (kind < 0) return mt_fail(c, "unknown pad_mode '%s'", mode);
  if (kind != 1 && p >= n + (kind == 2))
    return mt_fail(c, "padding of %lld is too much for a signal of length %lld", (long long)p,
                   (long long)n);
  Tensor *index = mt_new(c, mt_il(&m, 1), MT_int64, MT_CPU);
  for (int64_t i = 0; index && i < m; i++) {
    int64_t k = i - p;
    if (kind == 0) k = k < 0 ? -k : k >= n ? 2 * (n - 1) - k : k;
    else if (kind == 1) k = k < 0 ? 0 : k >= n ? n - 1 : k;
    else k = (k + n) % n;
    ((int64_t *)mt_data(index))[i] = k;
  }
  return t_index_select(c, x, x->ndim - 1, index);
}

/* The window, in the middle of n_fft points; ones when none is given. */
static Tensor *window_of(Ctx *c, Tensor *w, int64_t win, int64_t n_fft, DType d) {
  if (w && (w->ndim != 1 || w->size[0] != win))
    return mt_fail(c, "expected a 1D window tensor of size equal to win_length=%lld",
                   (long long)win);
  if (!w) w = t_ones(c, mt_il(&win, 1), d, -1, -1, -1, false);
  if (!w || win == n_fft) return w;
  int64_t left = (n_fft - win) / 2, right = n_fft - win - left;
  Tensor *list[3] = {t_zeros(c, mt_il(&left, 1), w->dtype, -1, -1, -1, false), w,
                     t_zeros(c, mt_il(&right, 1), w->dtype, -1, -1, -1, false)};
  return t_cat(c, (TensorList){list, 3}, 0);
}
static Tensor *drop_batch(Ctx *c, Tensor *t) {
  return t_squeeze_dim(c, t, mt_il((const int64_t[]){0}, 1));
}

Tensor *k_stft(Ctx *c, Tensor *s, int64_t n_fft, int64_t hop, int64_t win, Tensor *w, bool center,
               const char *mode, bool normalized, int onesided, int as_complex, int align) {
  bool cplx = mt_is_complex(s->dtype) || (w && mt_is_complex(w->dtype)), flat = s->ndim == 1;
  if (mt_is_int(s->dtype))
    return mt_fail(c, "expected a tensor of floating point or complex values");
  if (s->ndim < 1 || s->ndim > 2)
    return mt_fail(c, "expected a 1D or 2D tensor, got %d dimensions", s->ndim);
  if (as_complex < 0 && !cplx) return mt_fail(c, "return_complex must be given for real inputs");
  if (as_complex < 0) as_complex = 1;
  if (hop == MT_NONE_INT) hop = n_fft / 4;
  if (win == MT_NONE_INT) win = n_fft;
  if (onesided < 0) onesided = !cplx;
  if (onesided && cplx)
    return mt_fail(c, "cannot have onesided output if window or input is complex");
  if (align == 1 && center) return mt_fail(c, "align_to_window is only for center = false");
  Tensor *x = flat ? t_unsqueeze(c, s, 0) : s;
  if (x && center && n_fft > 0) x = pad_last(c, x, n_fft / 2, mode);
  if (!x) return NULL;
  int64_t len = x->size[1];
  if (n_fft <= 0 || n_fft > len)
    return mt_fail(c, "expected 0 < n_fft <= %lld, but got n_fft=%lld", (long long)len,
                   (long long)n_fft);
  if (hop <= 0)
    return mt_fail(c, "expected hop_length > 0, but got hop_length=%lld", (long long)hop);
  if (win <= 0 || win > n_fft)
    return mt_fail(c, "expected 0 < win_length <= n_fft, but got win_length=%lld", (long long)win);
  Tensor *wn = window_of(c, w, win, n_fft, mt_real_dtype((DType)s->dtype));
  x = t_unfold(c, x, 1, n_fft, hop);
  if (w || win != n_fft) x = t_mul(c, x, wn);
  IntList last = mt_il((const int64_t[]){2}, 1);
  x = cplx ? t__fft_c2c(c, t_to_dtype(c, x, mt_complex_dtype((DType)s->dtype), false, -1), last,
                        normalized, true)
           : t__fft_r2c(c, x, last, normalized, onesided);
  x = t_transpose(c, x, 1, 2);
  if (flat) x = drop_batch(c, x);
  return as_complex ? x : t_view_as_real(c, x);
}

static bool istft_args(Ctx *c, Tensor *s, int64_t n_fft, int64_t hop, int64_t win, bool onesided) {
  if (!mt_is_complex(s->dtype)) {
    mt_fail(c, "istft requires a complex-valued input tensor matching the output from stft with "
               "return_complex=True");
    return false;
  }
  if (s->ndim < 2 || s->ndim > 3) {
    mt_fail(c, "expected a tensor with 2 or 3 dimensions, got %d", s->ndim);
    return false;
  }
  if (!s->numel) { mt_fail(c, "input tensor cannot be empty"); return false; }
  int64_t have = s->size[s->ndim - 2], want = onesided ? n_fft / 2 + 1 : n_fft;
  if (have != want) {
    mt_fail(c, "expected the frequency dimension to have %lld values for n_fft=%lld, got %lld",
            (long long)want, (long long)n_fft, (long long)have);
    return false;
  }
  if (hop <= 0 || hop > win) {
    mt_fail(c, "expected 0 < hop_length <= win_length, got hop_length=%lld", (long long)hop);
    return false;
  }
  if (win <= 0 || win > n_fft) {
    mt_fail(c, "expected 0 < win_length <= n_fft, got win_length=%lld", (long long)win);
    return false;
  }
  return true;
}

Tensor *k_istft(Ctx *c, Tensor *s, int64_t n_fft, int64_t hop, int64_t win, Tensor *w, bool center,
                bool normalized, int onesided, int64_t length, bool as_complex) {
  bool flat = s->ndim == 2;
  if (hop == MT_NONE_INT) hop = n_fft / 4;
  if (win == MT_NONE_INT) win = n_fft;
  if (onesided < 0) onesided = s->ndim >= 2 && s->size[s->ndim - 2] != n_fft;
  if (as_complex && onesided)
    return mt_fail(c, "cannot have onesided input when the output is complex");
  if (w && mt_is_complex(w->dtype) && !as_complex)
    return mt_fail(c, "complex windows are incompatible with return_complex=False");
  if (!istft_args(c, s, n_fft, hop, win, onesided)) return NULL;
  Tensor *x = t_transpose(c, flat ? t_unsqueeze(c, s, 0) : s, 1, 2),
         *wn = window_of(c, w, win, n_fft, mt_real_dtype((DType)s->dtype));
  if (!x || !wn) return NULL;
  int64_t frames = x->size[1], total = n_fft + hop * (frames - 1), norm = normalized ? 1 : 2;
  IntList last = mt_il((const int64_t[]){2}, 1);
  if (as_complex) x = t__fft_c2c(c, x, last, norm, false);
  else x = t__fft_c2r(c, onesided ? x : t_slice(c, x, 2, 0, n_fft / 2 + 1, 1), last, norm, n_fft);
  if (!x) return NULL;
  const int64_t out_size[2] = {x->size[0], total}, env_size[2] = {1, total},
                wide[3] = {1, frames, n_fft};
  Tensor *y = t_unfold_backward(c, t_mul(c, x, wn), mt_il(out_size, 2), 1, n_fft, hop);
  Tensor *env =
      t_unfold_backward(c, t_expand(c, t_mul(c, wn, wn), mt_il(wide, 3), false),
                        mt_il(env_size, 2), 1, n_fft, hop);
  if (length != MT_NONE_INT && (length < 0 || length > INT64_MAX / 2))
    return mt_fail(c, "length must be between 0 and 2^62, got %lld", (long long)length);
  int64_t from = center ? n_fft / 2 : 0, to = length != MT_NONE_INT ? from + length
                                              : center              ? total - n_fft / 2
                                                                    : total;
  int64_t stop = to < total ? to : total;
  y = t_slice(c, y, 1, from, stop, 1);
  env = t_slice(c, env, 1, from, stop, 1);
  Tensor *least = t_any(c, t_lt(c, t_abs(c, env), mt_wrap(c, mt_sd(1e-11))));
  if (!least || (!mt_meta(least) && mt_item(c, least).i))
    return mt_fail(c,
                   "the window does not cover the signal: overlapping windows add to 0 somewhere");
  y = t_div(c, y, env, NULL);
  if (y && to > total) {
    const int64_t more[2] = {y->size[0], to - total};
    Tensor *list[2] = {y, t_zeros(c, mt_il(more, 2), y->dtype, -1, y->device, -1, false)};
    y = t_cat(c, (TensorList){list, 2}, 1);
  }
  return flat ? drop_batch(c, y) : y;
}

/* ---- trapezoids ---- */

static Tensor *ends(Ctx *c, Tensor *y, int dim) {            /* y[1:] + y[:-1] */
  int64_t n = y->size[dim];
  return t_add(c, t_narrow(c, y, dim, 1, n - 1), t_narrow(c, y, dim, 0, n - 1), mt_si(1));
}
static Tensor *steps(Ctx *c, Tensor *x, int dim) {           /* x[1:] - x[:-1] */
  int64_t n = x->size[dim];
  return t_sub(c, t_narrow(c, x, dim, 1, n - 1), t_narrow(c, x, dim, 0, n - 1), mt_si(1));
}
static Tensor *total(Ctx *c, Tensor *areas, int64_t dim, bool running) {
  return running ? t_cumsum(c, areas, dim, -1) : t_sum_dim(c, areas, mt_il(&dim, 1), false, -1);
}
/* PyTorch's result for an empty dimension: zeros without it. */
static Tensor *nothing(Ctx *c, Tensor *y, int dim) {
  int64_t size[MT_MAXDIM];
  int n = 0;
  for (int i = 0; i < y->ndim; i++) if (i != dim) size[n++] = y->size[i];
  return t_zeros(c, mt_il(size, n), y->dtype, -1, y->device, -1, false);
}
static Tensor *halves(Ctx *c, Tensor *t) { return t_div(c, t, mt_wrap(c, mt_sd(2)), NULL); }

static Tensor *trapezoid(Ctx *c, Tensor *y, Tensor *x, int64_t dim_, bool running) {
  int dim = mt_dim(c, dim_, y->ndim);
  if (dim < 0) return NULL;
  if (!y->ndim || y->dtype == MT_bool || x->dtype == MT_bool)
    return mt_fail(c, "expected tensors of numbers with at least one dimension");
  if (y->size[dim] == 0) return running ? t_clone(c, y, -1) : nothing(c, y, dim);
  Tensor *dx;
  if (x->ndim == 1) {
    if (x->size[0] != y->size[dim])
      return mt_fail(c, "there must be one x value for each sample point: %lld and %lld",
                     (long long)x->size[0], (long long)y->size[dim]);
    int64_t size[MT_MAXDIM];
    for (int i = 0; i < y->ndim; i++) size[i] = i == dim ? x->size[0] - 1 : 1;
    dx = t_reshape(c, steps(c, x, 0), mt_il(size, y->ndim));
  } else {
    Tensor *wide = x;
    while (wide && wide->ndim < y->ndim) wide = t_unsqueeze(c, wide, 0);
    int d = wide ? dim + wide->ndim - y->ndim : -1;
    if (d < 0 || !wide->ndim) return mt_fail(c, "x must have at least one dimension");
    if (wide->ndim > y->ndim) {
      while (y && y->ndim < wide->ndim) y = t_unsqueeze(c, y, 0);
      dim = d;
    }
    dx = steps(c, wide, d);
  }
  return total(c, halves(c, t_mul(c, dx, ends(c, y, dim))), dim, running);
}
static Tensor *trapezoid_dx(Ctx *c, Tensor *y, Scalar dx, int64_t dim_, bool running) {
  int dim = mt_dim(c, dim_, y->ndim);
  if (dim < 0) return NULL;
  if (!y->ndim || y->dtype == MT_bool)
    return mt_fail(c, "expected a tensor of numbers with at least one dimension");
  if (y->size[dim] == 0) return running ? t_clone(c, y, -1) : nothing(c, y, dim);
  bool cplx = mt_is_complex(y->dtype) || dx.kind == K_COMPLEX;
  Tensor *half = mt_wrap(c, mt_sd(0.5)), *step = mt_wrap(c, cplx ? mt_sc(mt_sre(dx), dx.im) : dx);
  if (running) return t_mul(c, t_mul(c, total(c, ends(c, y, dim), dim, true), half), step);
  Tensor *last = t_add(c, t_select(c, y, dim, 0), t_select(c, y, dim, -1), mt_si(1));
  Tensor *sum = t_sum_dim(c, y, mt_il(&(int64_t){dim}, 1), false, -1);
  return t_mul(c, t_sub(c, sum, t_mul(c, last, half), mt_si(1)), step);
}
Tensor *k_trapezoid(Ctx *c, Tensor *y, Tensor *x, int64_t dim) {
  return trapezoid(c, y, x, dim, false);
}
Tensor *k_trapezoid_dx(Ctx *c, Tensor *y, Scalar dx, int64_t dim) {
  return trapezoid_dx(c, y, dx, dim, false);
}
Tensor *k_cumulative_trapezoid(Ctx *c, Tensor *y, Tensor *x, int64_t dim) {
  return trapezoid(c, y, x, dim, true);
}
Tensor *k_cumulative_trapezoid_dx(Ctx *c, Tensor *y, Scalar dx, int64_t dim) {
  return trapezoid_dx(c, y, dx, dim, true);
}
