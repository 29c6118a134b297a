/* random.c: kernels of ops_random.def: fills in PyTorch's order of memory, samplers, dropout. */
#include "random.h"
#include "iter.h"
#include "op.h"
#include "sort_core.h"
#include <math.h>
#include <string.h>

Rng *mt_default_rng(Ctx *c) {
  if (!c->rng) {
    if (!(c->rng = mt_malloc(sizeof(Rng)))) return mt_nomem(c);
    mt_rng_manual_seed(c->rng, MT_DEFAULT_SEED);
  }
  return c->rng;
}
static Rng *pick(Ctx *c, const char *generator) {
  return generator ? (Rng *)(uintptr_t)generator : mt_default_rng(c);
}

/* ---- filling a tensor ---- */

typedef enum {
  R_UNIFORM,
  R_NORMAL,
  R_LOG_NORMAL,
  R_CAUCHY,
  R_EXPONENTIAL,
  R_GEOMETRIC,
  R_BERNOULLI,
  R_RANGE,
  R_RANDOM,
  R_FULL
} Dist;
typedef struct { Dist dist; double a, b; uint64_t range; int64_t base; } Draw;

static bool draw_row(Rng *g, const Draw *d, Elem e, void *p, int64_t n, bool contiguous) {
  switch (d->dist) {
  case R_UNIFORM: return mt_rng_uniform(g, e, p, n, d->a, d->b);
  case R_NORMAL: return (contiguous ? mt_rng_normal : mt_rng_normal_serial)(g, e, p, n, d->a, d->b);
  case R_LOG_NORMAL: return mt_rng_log_normal(g, e, p, n, d->a, d->b);
  case R_CAUCHY: return mt_rng_cauchy(g, e, p, n, d->a, d->b);
  case R_EXPONENTIAL: return mt_rng_exponential(g, e, p, n, d->a);
  case R_GEOMETRIC: return mt_rng_geometric(g, e, p, n, d->a);
  case R_BERNOULLI: return mt_rng_bernoulli(g, e, p, n, d->a);
  case R_RANGE: return mt_rng_randint(g, e, p, n, d->range, d->base);
  case R_RANDOM: return mt_rng_random(g, e, p, n);
  default: return mt_rng_random_full64(g, p, n);
  }
}

/* self with its dimensions in order of memory, the slowest first. */
static Tensor *memory_order(Ctx *c, Tensor *t) {
  int64_t size[MT_MAXDIM], stride[MT_MAXDIM];
  for (int i = 0; i < t->ndim; i++) {
    int p = i;
    for (; p > 0 && stride[p - 1] < t->stride[i]; p--)
      stride[p] = stride[p - 1], size[p] = size[p - 1];
    stride[p] = t->stride[i];
    size[p] = t->size[i];
  }
  return mt_view(c, t, t->ndim, size, stride, t->offset);
}

static Tensor *fill(Ctx *c, Tensor *t, const char *generator, const Draw *d) {
  Rng *g = t ? pick(c, generator) : NULL;
  if (!t || !g || mt_meta(t) || !t->numel) return g ? t : NULL;
  if (mt_is_complex(t->dtype)) {           /* parts side by side, each with half the variance */
    Draw half = *d;
    if (d->dist == R_NORMAL) half.b = d->b * sqrt(0.5);
    Tensor *parts = t_view_as_real(c, t);
    return parts && fill(c, parts, generator, &half) ? t : NULL;
  }
  bool contiguous = mt_is_contiguous(t);
  if (contiguous || mt_is_dense(t)) {
    if (draw_row(g, d, (Elem)t->dtype, mt_data(t), t->numel, contiguous)) return t;
  } else {
    Tensor *v = memory_order(c, t),
           *tmp = v ? mt_new(c, mt_sizes(v), (DType)t->dtype, MT_CPU) : NULL;
    if (!tmp) return NULL;
    if (draw_row(g, d, (Elem)t->dtype, mt_data(tmp), tmp->numel, false))
      return mt_copy_raw(c, v, tmp) ? t : NULL;
  }
  mt_poll(c);
  return NULL;
}

static bool floating(Ctx *c, const Tensor *t, const char *what) {
  if (t->dtype >= MT_float16) return true;
  mt_fail(c, "%s needs a floating point tensor, got %s", what, mt_dtypes[t->dtype].name);
  return false;
}

/* ---- new tensors ---- */

static Tensor *new_as(Ctx *c, IntList size, DType dflt, int dtype, int device, bool grad) {
  Tensor *t =
      mt_new(c, size, dtype < 0 ? dflt : (DType)dtype, device < 0 ? MT_CPU : (Device)device);
  if (t && grad) {
    if (mt_is_int(t->dtype))
      return mt_fail(c, "only tensors of floating point or complex dtype can require gradients");
    t->flags |= MT_REQ_GRAD;
  }
  return t;
}
static const Draw unit = {.dist = R_UNIFORM, .b = 1}, bell = {.dist = R_NORMAL, .b = 1};

Tensor *k_rand(Ctx *c, IntList size, const char *generator, int dtype, int layout, int device,
               int pin, bool grad) {
  Tensor *t = new_as(c, size, c->default_dtype, dtype, device, grad);
  return t && floating(c, t, "rand") ? fill(c, t, generator, &unit) : NULL;
}
Tensor *k_randn(Ctx *c, IntList size, const char *generator, int dtype, int layout, int device,
                int pin, bool grad) {
  Tensor *t = new_as(c, size, c->default_dtype, dtype, device, grad);
  return t && floating(c, t, "randn") ? fill(c, t, generator, &bell) : NULL;
}

/* The least and greatest whole numbers a dtype holds, one after another. */
static void limits(DType d, int64_t *lo, int64_t *hi) {
  static const int64_t top[] = {1,         255,  127, 32767,   2147483647,
                                INT64_MAX, 2048, 256, 1 << 24, 1ll << 53};
  *hi = top[d];
  *lo = d == MT_bool || d == MT_uint8 ? 0 : mt_is_int(d) ? -top[d] - 1 : -top[d];
}

static Tensor *fill_range(Ctx *c, Tensor *t, const char *generator, int64_t from, int64_t to) {
  int64_t lo, hi;
  if (!t) return NULL;
  if (mt_is_complex(t->dtype))
    return mt_fail(c, "random integers are not defined for %s", mt_dtypes[t->dtype].name);
  if (from >= to)
    return mt_fail(c, "expected from < to, got from=%lld and to=%lld", (long long)from,
                   (long long)to);
  limits((DType)t->dtype, &lo, &hi);
  if (mt_is_int(t->dtype) && (from < lo || to - 1 > hi))
    return mt_fail(c, "the range %lld to %lld does not fit %s", (long long)from, (long long)to,
                   mt_dtypes[t->dtype].name);
  return fill(c, t, generator,
              &(Draw){.dist = R_RANGE, .range = (uint64_t)to - (uint64_t)from, .base = from});
}
Tensor *k_randint_low(Ctx *c, int64_t low, int64_t high, IntList size, const char *generator,
                      int dtype, int layout, int device, int pin, bool grad) {
  return fill_range(c, new_as(c, size, MT_int64, dtype, device, grad), generator, low, high);
}
Tensor *k_randint(Ctx *c, int64_t high, IntList size, const char *generator, int dtype, int layout,
                  int device, int pin, bool grad) {
  return k_randint_low(c, 0, high, size, generator, dtype, layout, device, pin, grad);
}
Tensor *k_randperm(Ctx *c, int64_t n, const char *generator, int dtype, int layout, int device,
                   int pin, bool grad) {
  int64_t lo, hi;
  if (n < 0) return mt_fail(c, "n must not be negative, got %lld", (long long)n);
  DType d = dtype < 0 ? MT_int64 : (DType)dtype;
  if (mt_is_complex(d) || d == MT_bool)
    return mt_fail(c, "randperm is not defined for %s", mt_dtypes[d].name);
  limits(d, &lo, &hi);
  if (n - 1 > hi)
    return mt_fail(c, "n is too large for result tensor type: %lld does not fit %s", (long long)n,
                   mt_dtypes[d].name);
  Tensor *t = new_as(c, mt_il(&n, 1), MT_int64, dtype, device, grad);
  Tensor *p = t && d != MT_int64 ? mt_new(c, mt_il(&n, 1), MT_int64, MT_CPU) : t;
  Rng *g = p ? pick(c, generator) : NULL;
  if (!g || mt_meta(t)) return t;
  if (!mt_rng_randperm(g, mt_data(p), n)) return mt_poll(c), NULL;
  return p == t ? t : mt_copy_raw(c, t, p);
}

static Tensor *like(Ctx *c, Tensor *s, int dtype, int layout, int device, int pin, bool grad,
                    int fmt) {
  return t_empty_like(c, s, dtype, layout, device, pin, grad, fmt);
}
#define LIKE_ARGS \
  const char *generator, int dtype, int layout, int device, int pin, bool grad, int fmt
#define LIKE like(c, s, dtype, layout, device, pin, grad, fmt)
Tensor *k_rand_like(Ctx *c, Tensor *s, LIKE_ARGS) {
  Tensor *t = LIKE;
  return t && floating(c, t, "rand_like") ? fill(c, t, generator, &unit) : NULL;
}
Tensor *k_randn_like(Ctx *c, Tensor *s, LIKE_ARGS) {
  Tensor *t = LIKE;
  return t && floating(c, t, "randn_like") ? fill(c, t, generator, &bell) : NULL;
}
Tensor *k_randint_like(Ctx *c, Tensor *s, int64_t high, LIKE_ARGS) {
  return fill_range(c, LIKE, generator, 0, high);
}
Tensor *k_randint_like_low(Ctx *c, Tensor *s, int64_t low, int64_t high, LIKE_ARGS) {
  return fill_range(c, LIKE, generator, low, high);
}

static bool deviation(Ctx *c, double std) {
  if (std >= 0) return true;
  mt_fail(c, "std must be 0 or more, got %g", std);
  return false;
}
Tensor *k_normal_size(Ctx *c, double mean, double std, IntList size, const char *generator,
                      int dtype, int layout, int device, int pin, bool grad) {
  if (!deviation(c, std)) return NULL;
  Tensor *t = new_as(c, size, c->default_dtype, dtype, device, grad);
  return t && floating(c, t, "normal")
             ? fill(c, t, generator, &(Draw){.dist = R_NORMAL, .a = mean, .b = std})
             : NULL;
}
Tensor *k_normal_Tensor_float(Ctx *c, Tensor *mean, double std, const char *generator) {
  if (!deviation(c, std) || !floating(c, mean, "normal")) return NULL;
  Tensor *t = fill(c, t_empty_like(c, mean, -1, -1, -1, -1, false, 0), generator,
                   &(Draw){.dist = R_NORMAL, .b = std});
  return t_add(c, t, mean, mt_si(1));
}
static bool deviations(Ctx *c, Tensor *std) {
  if (mt_is_complex(std->dtype)) {
    mt_fail(c, "normal expects standard deviation to be non-complex");
    return false;
  }
  if (!floating(c, std, "normal")) return false;
  Tensor *s = std->numel && !mt_meta(std) ? mt_contig_as(c, std, MT_float64) : NULL;
  const double *v = s ? mt_data(s) : NULL;
  for (int64_t i = 0; v && i < s->numel; i++) if (!(v[i] >= 0)) return deviation(c, v[i]);
  return !c->err;
}
Tensor *k_normal_Tensor_Tensor(Ctx *c, Tensor *mean, Tensor *std, const char *generator) {
  int n;
  int64_t size[MT_MAXDIM];
  if (!deviations(c, std) || !floating(c, mean, "normal")) return NULL;
  if (!mt_broadcast(c, mean->ndim, mean->size, std->ndim, std->size, &n, size)) return NULL;
  Tensor *t = fill(c, mt_new(c, mt_il(size, n), (DType)mean->dtype, MT_CPU), generator, &bell);
  return t_to_dtype(c, t_add(c, t_mul(c, t, std), mean, mt_si(1)), mean->dtype, false, -1);
}
Tensor *k_normal_float_Tensor(Ctx *c, double mean, Tensor *std, const char *generator) {
  if (!deviations(c, std)) return NULL;
  Tensor *t = fill(c, t_empty_like(c, std, -1, -1, -1, -1, false, 0), generator, &bell);
  return t_add(c, t_mul(c, t, std), mt_wrap(c, mt_sd(mean)), mt_si(1));
}

/* ---- in place ---- */

Tensor *k_uniform_(Ctx *c, Tensor *s, double from, double to, const char *generator) {
  if (!floating(c, s, "uniform_")) return NULL;
  if (!(from <= to)) return mt_fail(c, "expected from <= to, got from=%g and to=%g", from, to);
  return fill(c, s, generator, &(Draw){.dist = R_UNIFORM, .a = from, .b = to});
}
Tensor *k_normal_(Ctx *c, Tensor *s, double mean, double std, const char *generator) {
  if (!deviation(c, std) || !floating(c, s, "normal_")) return NULL;
  return fill(c, s, generator, &(Draw){.dist = R_NORMAL, .a = mean, .b = std});
}
static bool real_float(Ctx *c, const Tensor *s, const char *what) {
  if (mt_is_float(s->dtype)) return true;
  mt_fail(c, "%s needs a floating point tensor, got %s", what, mt_dtypes[s->dtype].name);
  return false;
}
Tensor *k_log_normal_(Ctx *c, Tensor *s, double mean, double std, const char *generator) {
  if (!(std > 0)) return mt_fail(c, "std must be positive, got %g", std);
  if (!real_float(c, s, "log_normal_")) return NULL;
  return fill(c, s, generator, &(Draw){.dist = R_LOG_NORMAL, .a = mean, .b = std});
}
Tensor *k_cauchy_(Ctx *c, Tensor *s, double median, double sigma, const char *generator) {
  if (!(sigma > 0)) return mt_fail(c, "sigma must be positive, got %g", sigma);
  if (!real_float(c, s, "cauchy_")) return NULL;
  return fill(c, s, generator, &(Draw){.dist = R_CAUCHY, .a = median, .b = sigma});
}
Tensor *k_exponential_(Ctx *c, Tensor *s, double lambd, const char *generator) {
  if (!(lambd > 0)) return mt_fail(c, "lambd must be positive, got %g", lambd);
  if (!real_float(c, s, "exponential_")) return NULL;
  return fill(c, s, generator, &(Draw){.dist = R_EXPONENTIAL, .a = lambd});
}
Tensor *k_geometric_(Ctx *c, Tensor *s, double p, const char *generator) {
  if (!(p > 0 && p < 1)) return mt_fail(c, "p must lie between 0 and 1, got %g", p);
  if (mt_is_complex(s->dtype) || s->dtype == MT_bool)
    return mt_fail(c, "geometric_ is not defined for %s", mt_dtypes[s->dtype].name);
  return fill(c, s, generator, &(Draw){.dist = R_GEOMETRIC, .a = p});
}
Tensor *k_random__from(Ctx *c, Tensor *s, int64_t from, int64_t to, const char *generator) {
  int64_t lo, hi;
  if (to != MT_NONE_INT) return fill_range(c, s, generator, from, to);
  if (mt_is_complex(s->dtype))
    return mt_fail(c, "random_ is not defined for %s", mt_dtypes[s->dtype].name);
  limits((DType)s->dtype, &lo, &hi);
  if (s->dtype == MT_int64 && from == INT64_MIN)
    return fill(c, s, generator, &(Draw){.dist = R_FULL});
  if (from < lo || from > hi)
    return mt_fail(c, "from is out of bounds for %s", mt_dtypes[s->dtype].name);
  return fill(c, s, generator,
              &(Draw){.dist = R_RANGE, .range = (uint64_t)hi - (uint64_t)from + 1, .base = from});
}
Tensor *k_random__to(Ctx *c, Tensor *s, int64_t to, const char *generator) {
  return fill_range(c, s, generator, 0, to);
}
Tensor *k_random_(Ctx *c, Tensor *s, const char *generator) {
  if (mt_is_complex(s->dtype))
    return mt_fail(c, "random_ is not defined for %s", mt_dtypes[s->dtype].name);
  return fill(c, s, generator, &(Draw){.dist = R_RANDOM});
}

/* ---- bernoulli and samplers with parameters in tensors ---- */

static bool probability(Ctx *c, double p) {
  if (p >= 0 && p <= 1) return true;
  mt_fail(c, "expected 0 <= p <= 1, got p = %g", p);
  return false;
}
Tensor *k_bernoulli__float(Ctx *c, Tensor *s, double p, const char *generator) {
  if (!probability(c, p)) return NULL;
  if (mt_is_complex(s->dtype))
    return mt_fail(c, "bernoulli_ is not defined for %s", mt_dtypes[s->dtype].name);
  return fill(c, s, generator, &(Draw){.dist = R_BERNOULLI, .a = p});
}

/* Into out (contiguous) with probabilities p of the same number of elements. */
static Tensor *bernoulli_by(Ctx *c, Tensor *out, Tensor *p, const char *generator) {
  if (!mt_is_float(p->dtype))
    return mt_fail(c, "probabilities must be floating point numbers, got %s",
                   mt_dtypes[p->dtype].name);
  bool wide = p->dtype == MT_float64;
  Tensor *q = mt_contig_as(c, p, wide ? MT_float64 : MT_float32);
  Rng *g = q ? pick(c, generator) : NULL;
  if (!g) return NULL;
  for (int64_t i = 0; i < q->numel; i++)
    if (!probability(c, wide ? ((double *)mt_data(q))[i] : (double)((float *)mt_data(q))[i]))
      return NULL;
  if (!mt_rng_bernoulli_p(g, (Elem)out->dtype, mt_data(out), out->numel, mt_data(q),
                          wide ? mt_data(q) : NULL))
    return mt_poll(c), NULL;
  return out;
}
Tensor *k_bernoulli(Ctx *c, Tensor *s, const char *generator) {
  Tensor *out = mt_new(c, mt_sizes(s), (DType)s->dtype, MT_CPU);
  return out ? bernoulli_by(c, out, s, generator) : NULL;
}
Tensor *k_bernoulli_p(Ctx *c, Tensor *s, double p, const char *generator) {
  return k_bernoulli__float(c, t_empty_like(c, s, -1, -1, -1, -1, false, 0), p, generator);
}
Tensor *k_bernoulli__Tensor(Ctx *c, Tensor *s, Tensor *p, const char *generator) {
  if (mt_is_complex(s->dtype))
    return mt_fail(c, "bernoulli_ is not defined for %s", mt_dtypes[s->dtype].name);
  if (mt_meta(s)) return s;
  Tensor *q = t_expand(c, p, mt_sizes(s), false),
         *out = q ? mt_new(c, mt_sizes(s), (DType)s->dtype, MT_CPU) : NULL;
  return out && bernoulli_by(c, out, q, generator) ? mt_copy_raw(c, s, out) : NULL;
}

typedef enum { S_POISSON, S_GAMMA, S_BINOMIAL } Sampler;
static Tensor *sample(Ctx *c, Tensor *s, Tensor *second, const char *generator, Sampler kind) {
  static const double tiny[] = {[MT_float16] = 0x1p-14,
                                [MT_bfloat16] = 0x1p-126,
                                [MT_float32] = 0x1p-126,
                                [MT_float64] = 0x1p-1022};
  Tensor *x = mt_contig_as(c, s, MT_float64), *y = second ? mt_contig_as(c, second, MT_float64) : x;
  Tensor *out = y ? mt_new(c, mt_sizes(s), MT_float64, MT_CPU) : NULL;
  Rng *g = out ? pick(c, generator) : NULL;
  if (!g) return NULL;
  const double *a = mt_data(x), *b = mt_data(y);
  for (int64_t i = 0; i < s->numel; i++) {
    double *o = (double *)mt_data(out) + i;
    if (mt_interrupted) return mt_poll(c), NULL;
    if (kind == S_POISSON && !(a[i] >= 0))
      return mt_fail(c, "rates must be 0 or more, got %g", a[i]);
    if (kind == S_POISSON) *o = mt_rng_poisson1(g, a[i]);
    else if (kind == S_BINOMIAL) *o = (double)mt_rng_binomial1(g, a[i], b[i]);
    else *o = fmax(tiny[s->dtype], mt_rng_gamma1(g, a[i]));
  }
  return mt_cast(c, out, (DType)s->dtype);
}
Tensor *k_poisson(Ctx *c, Tensor *s, const char *generator) {
  return real_float(c, s, "poisson") ? sample(c, s, NULL, generator, S_POISSON) : NULL;
}
Tensor *k__standard_gamma(Ctx *c, Tensor *s, const char *generator) {
  return real_float(c, s, "_standard_gamma") ? sample(c, s, NULL, generator, S_GAMMA) : NULL;
}
Tensor *k_binomial(Ctx *c, Tensor *count, Tensor *prob, const char *generator) {
  int n;
  int64_t size[MT_MAXDIM];
  if (!real_float(c, count, "binomial") || !real_float(c, prob, "binomial")) return NULL;
  if (count->dtype != prob->dtype)
    return mt_fail(c, "count and prob must have one dtype, got %s and %s",
                   mt_dtypes[count->dtype].name, mt_dtypes[prob->dtype].name);
  if (!mt_broadcast(c, count->ndim, count->size, prob->ndim, prob->size, &n, size)) return NULL;
  return sample(c, t_expand(c, count, mt_il(size, n), false),
                t_expand(c, prob, mt_il(size, n), false), generator, S_BINOMIAL);
}

static const char *bad_weights(Ctx *c, Tensor *w, int64_t rows, int64_t n) {
  Tensor *d = mt_contig_as(c, w, MT_float64);
  const double *v = d ? mt_data(d) : NULL;
  for (int64_t r = 0; v && r < rows; r++) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++, v++) {
      if (!(*v >= 0) || isinf(*v))
        return "probability tensor contains either `inf`, `nan` or element < 0";
      sum += *v;
    }
    if (sum == 0) return "invalid multinomial distribution (sum of probabilities <= 0)";
  }
  return NULL;
}

/* Without replacement: the places of the greatest weight / exponential number. */
static Tensor *multinomial_once(Ctx *c, Tensor *w, Tensor *out, int64_t rows, int64_t n, int64_t k,
                                const char *generator) {
  const char *why = bad_weights(c, w, rows, n);
  if (why) return mt_fail(c, "%s", why);
  Tensor *q = fill(c, mt_new(c, mt_sizes(w), (DType)w->dtype, MT_CPU), generator,
                   &(Draw){.dist = R_EXPONENTIAL, .a = 1});
  q = mt_contig(c, t_div(c, w, q, NULL));
  if (!q) return NULL;
  CoreStatus s =
      k == 1 ? mt_argext_rows((Elem)q->dtype, mt_data(q), rows, n, true, NULL, mt_data(out))
             : mt_topk_rows((Elem)q->dtype, mt_data(q), rows, n, k, true, NULL, mt_data(out));
  return s == CORE_OK ? out : s == CORE_NOMEM ? mt_nomem(c) : (mt_poll(c), NULL);
}
Tensor *k_multinomial(Ctx *c, Tensor *s, int64_t k, bool replacement, const char *generator) {
  if (c->out && c->out->dtype != MT_int64)
    return mt_fail(c, "multinomial expects Long tensor out, got: %s",
                   mt_type_word((DType)c->out->dtype));
  if (s->ndim < 1 || s->ndim > 2)
    return mt_fail(c, "prob_dist must be 1 or 2 dim, got %d dims", s->ndim);
  if (!mt_is_float(s->dtype))
    return mt_fail(c, "multinomial only supports floating-point dtypes for input, got: %s",
                   mt_dtypes[s->dtype].name);
  int64_t n = s->size[s->ndim - 1], rows = s->ndim == 2 ? s->size[0] : 1, size[2] = {rows, k};
  if (k <= 0) return mt_fail(c, "cannot sample num_samples <= 0 samples");
  if (n == 0 && rows > 0) return mt_fail(c, "there must be at least one category");
  if (!replacement && k > n)
    return mt_fail(c, "cannot sample num_samples > prob_dist.size(-1) samples without replacement");
  if (n > 1 << 24) return mt_fail(c, "number of categories cannot exceed 2^24");
  Tensor *w = mt_contig(c, s),
         *out = mt_new(c, s->ndim == 2 ? mt_il(size, 2) : mt_il(size + 1, 1), MT_int64, MT_CPU);
  Rng *g = out ? pick(c, generator) : NULL;
  if (!g || !w || !rows) return out;
  if (!replacement || k == 1) return multinomial_once(c, w, out, rows, n, k, generator);
  double *cum = mt_tmp(c, sizeof(double) * (size_t)n);
  for (int64_t r = 0; cum && r < rows; r++) {
    const char *why = mt_rng_multinomial(g, (Elem)w->dtype,
                                         (char *)mt_data(w) + (size_t)(r * n) * mt_dsize(w->dtype),
                                         n, (int64_t *)mt_data(out) + r * k, k, cum);
    if (why) return mt_fail(c, "%s", why);
    if (mt_poll(c)) return NULL;
  }
  return cum ? out : NULL;
}

/* ---- dropout ---- */

/* One factor an element, or one a channel: 0 with probability p, else 1. */
static Tensor *noise(Ctx *c, Tensor *x, double p, bool feature) {
  int64_t size[MT_MAXDIM];
  for (int i = 0; i < x->ndim; i++) size[i] = i < 2 ? x->size[i] : 1;
  Tensor *t = feature ? mt_new(c, mt_il(size, x->ndim), (DType)x->dtype, (Device)x->device)
                      : t_empty_like(c, x, -1, -1, -1, -1, false, -1);
  if (mt_is_complex(x->dtype)) {
    Tensor *r = fill(c, mt_new(c, mt_sizes(x), mt_real_dtype((DType)x->dtype), (Device)x->device),
                     NULL, &(Draw){.dist = R_BERNOULLI, .a = 1 - p});
    return t_to_dtype(c, r, x->dtype, false, -1);
  }
  return fill(c, t, NULL, &(Draw){.dist = R_BERNOULLI, .a = 1 - p});
}

static Tensor *times(Ctx *c, Tensor *x, double v) { return t_mul(c, x, mt_wrap(c, mt_sd(v))); }
static Tensor *plus(Ctx *c, Tensor *x, double v) {
  return t_add(c, x, mt_wrap(c, mt_sd(v)), mt_si(1));
}

static Tensor *drop(Ctx *c, Tensor *x, double p, bool train, bool feature, bool alpha) {
  if (!probability(c, p)) return NULL;
  if (p == 0 || !train || x->numel == 0) return x;
  if (p == 1) return t_mul(c, x, t_zeros_like(c, x, -1, -1, -1, -1, false, -1));
  if (feature && x->ndim < 2)
    return mt_fail(c, "feature dropout requires at least 2 dimensions in the input");
  Tensor *m = noise(c, x, p, feature);
  if (!alpha) return t_mul(c, x, t_div(c, m, mt_wrap(c, mt_sd(1 - p)), NULL));
  double al = 1.7580993408473766, a = 1 / sqrt((al * al * p + 1) * (1 - p));
  Tensor *shift = plus(c, times(c, plus(c, m, -1), al * a), al * a * p);
  return t_add(c, t_mul(c, x, times(c, m, a)), shift, mt_si(1));
}
static Tensor *give(Ctx *c, Tensor *x, Tensor *y, bool inplace) {
  return inplace && y && y != x ? t_copy_(c, x, y, false) : y;
}

Tensor *k_dropout(Ctx *c, Tensor *x, double p, bool train) {
  return drop(c, x, p, train, false, false);
}
Tensor *k_F_dropout(Ctx *c, Tensor *x, double p, bool training, bool inplace) {
  return give(c, x, drop(c, x, p, training, false, false), inplace);
}
static Tensor *channels(Ctx *c, Tensor *x, double p, bool training, bool inplace, int batched) {
  if (batched && x->ndim != batched && x->ndim != batched - 1)
    return mt_fail(c, "expected %d or %d dimensions, got %d", batched - 1, batched, x->ndim);
  if (!batched || x->ndim == batched)
    return give(c, x, drop(c, x, p, training, true, false), inplace);
  Tensor *y = drop(c, t_unsqueeze(c, x, 0), p, training, true, false);
  return give(c, x, t_squeeze_dim(c, y, mt_il((const int64_t[]){0}, 1)), inplace);
}
Tensor *k_F_dropout1d(Ctx *c, Tensor *x, double p, bool training, bool inplace) {
  return channels(c, x, p, training, inplace, 3);
}
Tensor *k_F_dropout2d(Ctx *c, Tensor *x, double p, bool training, bool inplace) {
  return channels(c, x, p, training, inplace, 0);
}
Tensor *k_F_dropout3d(Ctx *c, Tensor *x, double p, bool training, bool inplace) {
  return channels(c, x, p, training, inplace, 5);
}
Tensor *k_F_alpha_dropout(Ctx *c, Tensor *x, double p, bool training, bool inplace) {
  return give(c, x, drop(c, x, p, training, false, true), inplace);
}
Tensor *k_F_feature_alpha_dropout(Ctx *c, Tensor *x, double p, bool training, bool inplace) {
  return give(c, x, drop(c, x, p, training, true, true), inplace);
}
Tensor *k_feature_dropout(Ctx *c, Tensor *x, double p, bool train) {
  return drop(c, x, p, train, true, false);
}
