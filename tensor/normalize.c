/* normalize.c: norms over rows, groups and channels (rows: ops_normalize.def).
 *
 * A norm is a fused primitive that also gives the statistics it used.  Its gradient is fused too;
 * while a graph is made of the backward pass it is composed of ops instead, with the statistics
 * computed again so that they are part of it. */
#include "cpu.h"
#include "expr_rt.h"
#include "iter.h"
#include "kern_normalize.h"
#include <float.h>

#define LIST(...) mt_il((const int64_t[]){__VA_ARGS__}, \
                        (int64_t)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))
#define SHAPE(t) mt_list_str(c, mt_sizes(t))
static Tensor *num(Ctx *c, double x) { return mt_wrap(c, mt_sd(x)); }
static Tensor *add(Ctx *c, Tensor *a, Tensor *b) { return t_add(c, a, b, mt_si(1)); }
static Tensor *sub(Ctx *c, Tensor *a, Tensor *b) { return t_sub(c, a, b, mt_si(1)); }
static Tensor *to(Ctx *c, Tensor *t, int dtype) {
  return t && t->dtype != dtype ? t_to_dtype(c, t, dtype, false, -1) : t;
}
static const MtNormKerns *kerns(void) {
  return MT_AT_LEVEL(&mt_norm_kerns);
}
static DType working(const Tensor *x) { return x->dtype == MT_float64 ? MT_float64 : MT_float32; }
static void *data_of(const Tensor *t) { return t ? mt_data(t) : NULL; }
static Tensor *ready(Ctx *c, Tensor *t, DType d) { return t ? mt_contig_as(c, t, d) : NULL; }

/* What the loops below share: a runs x len layout of x, dy, y (dx) with statistics per row, group
 * or channel. parts: pieces in which the rows are summed for the weights, each with its own totals.
 */
typedef struct {
  const void *x, *dy, *w, *b;
  void *y, *mean, *rstd, *gw, *gb;
  int64_t rows, groups, channels, len, samples, parts;
  double eps;
} Job;

#define LOOPS(T, S, SQRT, FMA)                                                                     \
  static void layer_##S(void *ctx, int64_t lo, int64_t hi) {                                       \
    const Job *j = ctx;                                                                            \
    const int64_t n = j->len;                                                                      \
    for (int64_t i = lo; i < hi && !mt_interrupted; i++) {                                         \
      const T *x = (const T *)j->x + i * n;                                                        \
      T m = (T)(kerns()->total_##S(n, x) / (double)n);                                             \
      T r = 1 / SQRT((T)(kerns()->spread_##S(n, x, m) / (double)n) + (T)j->eps);                   \
      kerns()->scale_by_##S(n, x, (T *)j->y + i * n, m, r, j->w, j->b);                            \
      ((T *)j->mean)[i] = m;                                                                       \
      ((T *)j->rstd)[i] = r;                                                                       \
    }                                                                                              \
  }                                                                                                \
  static void rms_##S(void *ctx, int64_t lo, int64_t hi) {                                         \
    const Job *j = ctx;                                                                            \
    const int64_t n = j->len;                                                                      \
    for (int64_t i = lo; i < hi && !mt_interrupted; i++) {                                         \
      const T *x = (const T *)j->x + i * n;                                                        \
      T r = 1 / SQRT((T)(kerns()->spread_##S(n, x, 0) / (double)n) + (T)j->eps);                   \
      kerns()->scale_by_##S(n, x, (T *)j->y + i * n, 0, r, j->w, NULL);                            \
      ((T *)j->rstd)[i] = r;                                                                       \
    }                                                                                              \
  }                                                                                                \
  /* Part p of the rows: their dx, and what they add to the gradients of weight and bias.  Without \
   * a mean the norm was by the root mean square.  In a row of one element the weight's gradient   \
   * is what rounding leaves of 0: PyTorch's rounding. */                                          \
  static void layer_back_##S(void *ctx, int64_t lo, int64_t hi) {                                  \
    const Job *j = ctx;                                                                            \
    const int64_t n = j->len;                                                                      \
    for (int64_t p = lo; p < hi; p++) {                                                            \
      T *gw = (T *)j->gw + p * n, *gb = (T *)j->gb + p * n;                                        \
      int64_t end = j->rows * (p + 1) / j->parts;                                                  \
      for (int64_t i = j->rows * p / j->parts; i < end && !mt_interrupted; i++) {                  \
        const T *x = (const T *)j->x + i * n, *dy = (const T *)j->dy + i * n;                      \
        const T m = j->mean ? ((T *)j->mean)[i] : 0, r = ((T *)j->rstd)[i];                        \
        double s[2] = {0, 0};                                                                      \
        kerns()->dots_##S(n, dy, j->w, x, m, s);                                                   \
        T b = -(T)s[1] * r * r * r / (T)n, c = j->mean ? -((T)s[0] * r) / (T)n : 0;                \
        kerns()->row_##S(n, dy, j->w, x, (T *)j->y + i * n, m, r, b, c);                           \
        if (n == 1) {                                                                              \
          gw[0] += dy[0] * FMA(r, x[0], -(r * m));                                                 \
          gb[0] += dy[0];                                                                          \
        } else kerns()->gather_##S(n, dy, x, m, r, gw, gb);                                        \
      }                                                                                            \
    }                                                                                              \
  }                                                                                                \
  static void group_##S(void *ctx, int64_t lo, int64_t hi) {                                       \
    const Job *j = ctx;                                                                            \
    const int64_t n = j->len * j->channels;                                                        \
    for (int64_t i = lo; i < hi && !mt_interrupted; i++) {                                         \
      const T *x = (const T *)j->x + i * n, *w = j->w, *b = j->b;                                  \
      T m = (T)(kerns()->total_##S(n, x) / (double)n);                                             \
      T r = 1 / SQRT((T)(kerns()->spread_##S(n, x, m) / (double)n) + (T)j->eps);                   \
      for (int64_t k = 0; k < j->channels; k++) {                                                  \
        int64_t ch = i % j->groups * j->channels + k, at = k * j->len;                             \
        kerns()->scale_##S(j->len, x + at, (T *)j->y + i * n + at, m, w ? r * w[ch] : r,           \
                           b ? b[ch] : 0);                                                         \
      }                                                                                            \
      ((T *)j->mean)[i] = m;                                                                       \
      ((T *)j->rstd)[i] = r;                                                                       \
    }                                                                                              \
  }                                                                                                \
  /* Groups lo .. hi - 1 of every sample. */                                                       \
  static void group_back_##S(void *ctx, int64_t lo, int64_t hi) {                                  \
    const Job *j = ctx;                                                                            \
    const int64_t len = j->len, n = len * j->channels;                                             \
    const T *w = j->w;                                                                             \
    for (int64_t g = lo; g < hi; g++)                                                              \
      for (int64_t s = 0; s < j->samples && !mt_interrupted; s++) {                                \
        const int64_t i = s * j->groups + g;                                                       \
        const T *x = (const T *)j->x + i * n, *dy = (const T *)j->dy + i * n;                      \
        const T m = ((T *)j->mean)[i], r = ((T *)j->rstd)[i];                                      \
        double db = 0, ds = 0;                                                                     \
        for (int64_t k = 0; k < j->channels; k++) {                                                \
          int64_t ch = g * j->channels + k;                                                        \
          double d[2] = {0, 0};                                                                    \
          kerns()->dots_##S(len, dy + k * len, NULL, x + k * len, m, d);                           \
          if (j->gw) ((T *)j->gw)[ch] += (T)d[1] * r;                                              \
          if (j->gb) ((T *)j->gb)[ch] += (T)d[0];                                                  \
          db += (double)((T)d[0] * (w ? w[ch] : 1));                                               \
          ds += (double)((T)d[1] * (w ? w[ch] : 1));                                               \
        }                                                                                          \
        T b = -(T)ds * r * r * r / (T)n, c = -((T)db * r) / (T)n;                                  \
        for (int64_t k = 0; k < j->channels; k++) {                                                \
          T a = w ? r * w[g * j->channels + k] : r;                                                \
          kerns()->row_##S(len, dy + k * len, NULL, x + k * len, (T *)j->y + i * n + k * len, m,   \
                           a, b, c);                                                               \
        }                                                                                          \
      }                                                                                            \
  }                                                                                                \
  static void channel_##S(void *ctx, int64_t lo, int64_t hi) {                                     \
    const Job *j = ctx;                                                                            \
    const int64_t n = j->len, step = j->channels * n;                                              \
    const double count = (double)(n * j->samples);                                                 \
    for (int64_t ch = lo; ch < hi && !mt_interrupted; ch++) {                                      \
      const T *x = (const T *)j->x + ch * n;                                                       \
      double s = 0, v = 0;                                                                         \
      for (int64_t i = 0; i < j->samples; i++) s += kerns()->total_##S(n, x + i * step);           \
      T m = (T)(s / count);                                                                        \
      for (int64_t i = 0; i < j->samples; i++) v += kerns()->spread_##S(n, x + i * step, m);       \
      T var = (T)(v / count), a = 1 / SQRT(var + (T)j->eps), b = j->b ? ((const T *)j->b)[ch] : 0; \
      if (j->w) a *= ((const T *)j->w)[ch];                                                        \
      for (int64_t i = 0; i < j->samples; i++)                                                     \
        kerns()->scale_##S(n, x + i * step, (T *)j->y + ch * n + i * step, m, a, b);               \
      ((T *)j->mean)[ch] = m;                                                                      \
      ((T *)j->rstd)[ch] = var;                                                                    \
    }                                                                                              \
  }                                                                                                \
  static void fixed_##S(void *ctx, int64_t lo, int64_t hi) {                                       \
    const Job *j = ctx;                                                                            \
    for (int64_t i = lo; i < hi && !mt_interrupted; i++) {                                         \
      int64_t ch = i % j->channels;                                                                \
      T m = ((T *)j->mean)[ch], a = 1 / SQRT(((T *)j->rstd)[ch] + (T)j->eps);                      \
      if (j->w) a *= ((const T *)j->w)[ch];                                                        \
      kerns()->scale_##S(j->len, (const T *)j->x + i * j->len, (T *)j->y + i * j->len, m, a,       \
                         j->b ? ((const T *)j->b)[ch] : 0);                                        \
    }                                                                                              \
  }                                                                                                \
  static void channel_back_##S(void *ctx, int64_t lo, int64_t hi) {                                \
    const Job *j = ctx;                                                                            \
    const int64_t n = j->len, step = j->channels * n;                                              \
    const double count = (double)(n * j->samples);                                                 \
    for (int64_t ch = lo; ch < hi && !mt_interrupted; ch++) {                                      \
      const T *x = (const T *)j->x + ch * n, *dy = (const T *)j->dy + ch * n;                      \
      const T m = ((T *)j->mean)[ch], r = 1 / SQRT(((T *)j->rstd)[ch] + (T)j->eps);                \
      const T w = j->w ? ((const T *)j->w)[ch] : 1;                                                \
      double s[2] = {0, 0};                                                                        \
      for (int64_t i = 0; i < j->samples; i++)                                                     \
        kerns()->dots_##S(n, dy + i * step, NULL, x + i * step, m, s);                             \
      T g = (T)(s[0] / count), k = (T)(s[1] * (double)r * (double)r / count);                      \
      for (int64_t i = 0; i < j->samples; i++)                                                     \
        kerns()->channel_##S(n, dy + i * step, x + i * step, (T *)j->y + ch * n + i * step, m, g,  \
                             k, r, w);                                                             \
      if (j->gw) ((T *)j->gw)[ch] = (T)(s[1] * (double)r);                                         \
      if (j->gb) ((T *)j->gb)[ch] = (T)s[0];                                                       \
    }                                                                                              \
  }
LOOPS(float, f32, sqrtf, fmaf)
LOOPS(double, f64, sqrt, fma)
#define LOOP(name, d) ((d) == MT_float64 ? name##_f64 : name##_f32)
static int64_t grain(int64_t n) { return 1 + 8192 / (n > 0 ? n : 1); }

/* ---- gradients made of ops ---- */
/* Of (x - mean) rstd w + b, statistics over `over`, w varying over the dimensions not in wover;
 * mean: none for rms. */
static void composed(Ctx *c, Tensor *dy, Tensor *x, Tensor *w, IntList over, IntList wover,
                     double eps, bool centre,
                     Val *r) {
  Tensor *d = centre ? sub(c, x, t_mean_dim(c, x, over, true, -1)) : x;
  Tensor *rstd = t_rsqrt(c, add(c, t_mean_dim(c, t_mul(c, d, d), over, true, -1), num(c, eps)));
  Tensor *hat = t_mul(c, d, rstd), *g = w ? t_mul(c, dy, w) : dy;
  Tensor *dx = sub(c, g, t_mul(c, hat, t_mean_dim(c, t_mul(c, g, hat), over, true, -1)));
  if (centre) dx = sub(c, dx, t_mean_dim(c, g, over, true, -1));
  r[0].t = t_mul(c, dx, rstd);
  r[1].t = t_sum_dim(c, t_mul(c, dy, hat), wover, false, -1);
  if (centre) r[2].t = t_sum_dim(c, dy, wover, false, -1);
}
static void finish(Ctx *c, Val *r, const Tensor *x, Tensor *w, int n) {
  if (c->err) return;
  r[0].t = to(c, r[0].t, x->dtype);
  for (int i = 1; i < n; i++) {
    if (w && r[i].t) r[i].t = t_reshape(c, r[i].t, mt_sizes(w));
    else if (r[i].t) r[i].t = t_reshape(c, r[i].t, LIST(r[i].t->numel));
  }
}

/* ---- rows ---- */
static void rows_forward(Ctx *c, Tensor *input, Tensor *weight, Tensor *bias, double eps,
                         bool centre, Val *out) {
  DType d = working(input);
  int64_t m = input->size[0], n = input->size[1];
  Tensor *x = ready(c, input, d), *w = ready(c, weight, d), *b = ready(c, bias, d);
  Tensor *y = mt_new(c, LIST(m, n), d, MT_CPU), *rstd = mt_new(c, LIST(m, 1), d, MT_CPU);
  Tensor *mean = centre ? mt_new(c, LIST(m, 1), d, MT_CPU) : NULL;
  if (c->err) return;
  Job j = {.x = mt_data(x), .w = data_of(w), .b = data_of(b), .y = mt_data(y),
           .mean = data_of(mean),
           .rstd = mt_data(rstd), .len = n, .eps = eps};
  if (n) mt_parallel(m, grain(n), centre ? LOOP(layer, d) : LOOP(rms, d), &j);
  if (mt_poll(c)) return;
  out[0].t = mt_cast(c, y, (DType)input->dtype);
  if (centre) out[1].t = mean;
  out[1 + centre].t = rstd;
}
void k__layer_norm(Ctx *c, Tensor *input, Tensor *weight, Tensor *bias, double eps, Val *out) {
  rows_forward(c, input, weight, bias, eps, true, out);
}
void k__rms_norm(Ctx *c, Tensor *input, Tensor *weight, double eps, Val *out) {
  rows_forward(c, input, weight, NULL, eps, false, out);
}
void k__norm_rows_backward(Ctx *c, Tensor *grad, Tensor *input, Tensor *weight, Tensor *mean,
                           Tensor *rstd, Val *r) {
  DType d = working(input);
  int64_t m = input->size[0], n = input->size[1], parts = mt_num_threads();
  if (parts > m) parts = m;
  if (parts < 1 || MT_TOO_LITTLE(m * n, 16384)) parts = 1;
  Tensor *x = ready(c, input, d), *dy = ready(c, grad, d), *w = ready(c, weight, d);
  Tensor *dx = mt_new(c, LIST(m, n), d, MT_CPU);
  mean = ready(c, mean, d);
  rstd = ready(c, rstd, d);
  Tensor *gw = t_zeros(c, LIST(parts, n), d, -1, -1, -1, false),
      *gb = t_zeros(c, LIST(parts, n), d, -1, -1, -1, false);
  if (c->err) return;
  Job j = {.x = mt_data(x), .dy = mt_data(dy), .w = data_of(w), .y = mt_data(dx),
           .mean = data_of(mean), .parts = parts,
           .rstd = mt_data(rstd), .gw = mt_data(gw), .gb = mt_data(gb), .rows = m, .len = n};
  if (n) mt_parallel(parts, 1, LOOP(layer_back, d), &j);
  if (mt_poll(c)) return;
  r[0].t = mt_cast(c, dx, (DType)input->dtype);
  r[1].t = parts == 1 ? t_squeeze_dim(c, gw, LIST(0)) : t_sum_dim(c, gw, LIST(0), false, -1);
  r[2].t = parts == 1 ? t_squeeze_dim(c, gb, LIST(0)) : t_sum_dim(c, gb, LIST(0), false, -1);
}
void k__layer_norm_backward(Ctx *c, Tensor *grad, Tensor *input, Tensor *weight, Tensor *mean,
                            Tensor *rstd, double eps,
                            Val *r) {
  if (c->grad_mode) composed(c, grad, input, weight, LIST(1), LIST(0), eps, true, r);
  else t__norm_rows_backward(c, grad, input, weight, mean, rstd, r);
  finish(c, r, input, weight, 3);
}
void k__rms_norm_backward(Ctx *c, Tensor *grad, Tensor *input, Tensor *weight, Tensor *rstd,
                          double eps, Val *r) {
  Val all[3];
  if (c->grad_mode) composed(c, grad, input, weight, LIST(1), LIST(0), eps, false, all);
  else t__norm_rows_backward(c, grad, input, weight, NULL, rstd, all);
  if (c->err) return;
  r[0] = all[0];
  r[1] = all[1];
  finish(c, r, input, weight, 2);
}
/* The product of the sizes in shape, which must be the input's last ones; -1 and an error. */
static int64_t inner_size(Ctx *c, const Tensor *x, IntList shape, const Tensor *w, const Tensor *b,
                          Kind most) {
  int64_t n = 1;
  bool ok = shape.n >= 1 && shape.n <= x->ndim;
  for (int64_t i = 0; ok && i < shape.n; i++) {
    ok = shape.v[i] == x->size[x->ndim - shape.n + i];
    if (ok) n *= shape.v[i];
  }
  for (int k = 0; ok && k < 2; k++) {
    const Tensor *t = k ? b : w;
    if (t) ok = t->ndim == shape.n && !memcmp(t->size, shape.v, sizeof(int64_t) * (size_t)shape.n);
  }
  if (ok && !mt_is_int(x->dtype) && mt_dkind(x->dtype) <= most) return n;
  mt_fail(c, "input of shape %s (%s), normalized_shape %s and weight do not fit", SHAPE(x),
          mt_dtypes[x->dtype].name, mt_list_str(c, shape));
  return -1;
}
Tensor *k_F_layer_norm(Ctx *c, Tensor *input, IntList shape, Tensor *weight, Tensor *bias,
                       double eps) {
  Val r[3];
  int64_t n = inner_size(c, input, shape, weight, bias, K_FLOAT);
  if (n < 0) return NULL;
  Tensor *x = t_reshape(c, input, LIST(n ? input->numel / n : 0, n));
  t__layer_norm(c, x, weight ? t_reshape(c, weight, LIST(n)) : NULL, bias
                ? t_reshape(c, bias, LIST(n)) : NULL, eps, r);
  return c->err ? NULL : t_reshape(c, r[0].t, mt_sizes(input));
}
Tensor *k_F_rms_norm(Ctx *c, Tensor *input, IntList shape, Tensor *weight, Scalar eps) {
  Val r[2];
  int64_t n = inner_size(c, input, shape, weight, NULL, K_COMPLEX);
  if (n < 0) return NULL;
  double e = mt_has(eps) ? mt_sre(eps) : mt_real_dtype((DType)input->dtype) == MT_float64
      ? DBL_EPSILON : FLT_EPSILON;
  Tensor *x = t_reshape(c, input, LIST(n ? input->numel / n : 0, n));
  if (mt_is_complex(input->dtype)) {                       /* without conjugation, as PyTorch */
    Tensor *y = t_reshape(c, t_mul(c, x, t_rsqrt(c,
                                                 add(c,
                                                     t_mean_dim(c, t_mul(c, x, x), LIST(1), true,
                                                         -1), num(c, e)))),
                          mt_sizes(input));
    return weight ? t_mul(c, y, weight) : y;
  }
  t__rms_norm(c, x, weight ? t_reshape(c, weight, LIST(n)) : NULL, e, r);
  return c->err ? NULL : t_reshape(c, r[0].t, mt_sizes(input));
}

/* ---- groups ---- */
void k__group_norm(Ctx *c, Tensor *input, Tensor *weight, Tensor *bias, double eps, Val *out) {
  DType d = working(input);
  int64_t rows = input->size[0] * input->size[1];
  Tensor *x = ready(c, input, d), *w = ready(c, weight, d), *b = ready(c, bias, d);
  Tensor *y = mt_new_like(c, input, d), *mean = mt_new(c, LIST(rows), d, MT_CPU),
      *rstd = mt_new(c, LIST(rows), d, MT_CPU);
  if (c->err) return;
  Job j = {.x = mt_data(x), .w = data_of(w), .b = data_of(b), .y = mt_data(y),
           .mean = mt_data(mean), .eps = eps,
           .rstd = mt_data(rstd), .groups = input->size[1], .channels = input->size[2],
               .len = input->size[3]};
  if (x->numel) mt_parallel(rows, grain(j.len * j.channels), LOOP(group, d), &j);
  if (mt_poll(c)) return;
  out[0].t = mt_cast(c, y, (DType)input->dtype);
  out[1].t = mean;
  out[2].t = rstd;
}
void k__norm_groups_backward(Ctx *c, Tensor *grad, Tensor *input, Tensor *weight, Tensor *mean,
                             Tensor *rstd, Val *r) {
  DType d = working(input);
  int64_t channels = input->size[1] * input->size[2];
  Tensor *x = ready(c, input, d), *dy = ready(c, grad, d), *w = ready(c, weight, d),
      *dx = mt_new_like(c, input, d);
  Tensor *gw = t_zeros(c, LIST(channels), d, -1, -1, -1, false),
      *gb = t_zeros(c, LIST(channels), d, -1, -1, -1, false);
  if (c->err) return;
  Job j = {.x = mt_data(x), .dy = mt_data(dy), .w = data_of(w), .y = mt_data(dx),
           .mean = mt_data(mean),
           .rstd = mt_data(rstd), .gw = mt_data(gw), .gb = mt_data(gb), .samples = input->size[0],
           .groups = input->size[1], .channels = input->size[2], .len = input->size[3]};
  if (x->numel) mt_parallel(j.groups, grain(j.len * j.channels * j.samples), LOOP(group_back, d),
                            &j);
  if (mt_poll(c)) return;
  r[0].t = mt_cast(c, dx, (DType)input->dtype);
  r[1].t = gw;
  r[2].t = gb;
}
void k__group_norm_backward(Ctx *c, Tensor *grad, Tensor *input, Tensor *weight, Tensor *mean,
                            Tensor *rstd, double eps,
                            Val *r) {
  if (c->grad_mode) {
    Tensor *w = weight ? t_reshape(c, weight, LIST(1, input->size[1], input->size[2], 1)) : NULL;
    composed(c, grad, input, w, LIST(2, 3), LIST(0, 3), eps, true, r);
  } else t__norm_groups_backward(c, grad, input, weight, mean, rstd, r);
  finish(c, r, input, weight, 3);
}
/* weight and bias: one element a channel, and a floating point input; else an error. */
static bool fits(Ctx *c, const Tensor *x, const Tensor *t, const char *name) {
  int64_t channels = x->size[1];
  if (!t || (t->ndim == 1 && t->numel == channels)) return true;
  mt_fail(c,
          "Expected %s to be a vector of size equal to the number of channels in input, but got %s "
          "of shape %s and "
          "input of shape %s",
          name, name, SHAPE(t), SHAPE(x));
  return false;
}
static bool floats(Ctx *c, const Tensor *x) {
  if (mt_is_float(x->dtype)) return true;
  mt_fail(c, "not implemented for '%s'", mt_type_word((DType)x->dtype));
  return false;
}
Tensor *k_F_group_norm(Ctx *c, Tensor *input, int64_t groups, Tensor *weight, Tensor *bias,
                       double eps) {
  Val r[3];
  if (input->ndim < 2)
    return mt_fail(c, "Expected at least 2 dimensions for input tensor but received %d",
                   input->ndim);
  if (groups < 1 || input->size[1] % groups)
    return mt_fail(c,
                   "Expected number of channels in input to be divisible by num_groups, but got "
                   "input of shape %s and "
                   "num_groups=%lld",
                   SHAPE(input), (long long)groups);
  if (!fits(c, input, weight, "weight") || !fits(c, input, bias, "bias") || !floats(c, input))
    return NULL;
  int64_t n = input->size[0], ch = input->size[1], len = n > 0 && ch > 0 ? input->numel / (n * ch)
      : 0;
  t__group_norm(c, t_reshape(c, input, LIST(n, groups, ch / groups, len)), weight, bias, eps, r);
  return c->err ? NULL : t_reshape(c, r[0].t, mt_sizes(input));
}

/* ---- channels ---- */
/* [samples, channels, elements] in which runs are long: where they are not, channels come first,
 * [1, channels, all]. */
static bool by_channel(const Tensor *x) { return x->size[2] < 16 && x->size[0] > 1; }
static Tensor *channel_runs(Ctx *c, Tensor *x, DType d) {
  return by_channel(x) ? ready(c, t_transpose(c, x, 0, 1), d) : ready(c, x, d);
}
static Tensor *from_runs(Ctx *c, Tensor *y, const Tensor *x) {
  if (by_channel(x)) y = mt_contig(c, t_transpose(c, y, 0, 1));
  return y ? mt_cast(c, y, (DType)x->dtype) : NULL;
}
static Job channel_job(const Tensor *input, Tensor *x, Tensor *w) {
  bool flip = by_channel(input);
  return (Job){.x = mt_data(x), .w = data_of(w), .channels = input->size[1], .samples = flip ? 1
               : input->size[0],
               .len = flip ? input->size[0] * input->size[2] : input->size[2]};
}
void k__batch_norm(Ctx *c, Tensor *input, Tensor *weight, Tensor *bias, double eps, Val *out) {
  DType d = working(input);
  Tensor *x = channel_runs(c, input, d), *w = ready(c, weight, d), *b = ready(c, bias, d);
  Tensor *y = x ? mt_new_like(c, x, d) : NULL;
  Tensor *mean = mt_new(c, LIST(input->size[1]), d, MT_CPU),
      *var = mt_new(c, LIST(input->size[1]), d, MT_CPU);
  if (c->err) return;
  Job j = channel_job(input, x, w);
  j.b = data_of(b);
  j.y = mt_data(y);
  j.mean = mt_data(mean);
  j.rstd = mt_data(var);
  j.eps = eps;
  if (x->numel) mt_parallel(j.channels, grain(j.len * j.samples), LOOP(channel, d), &j);
  if (mt_poll(c)) return;
  out[0].t = from_runs(c, y, input);
  out[1].t = mean;
  out[2].t = var;
}
void k__norm_channels_backward(Ctx *c, Tensor *grad, Tensor *input, Tensor *weight, Tensor *mean,
                               Tensor *var, double eps,
                               Val *r) {
  DType d = working(input);
  Tensor *x = channel_runs(c, input, d), *dy = channel_runs(c, grad, d), *w = ready(c, weight, d);
  Tensor *dx = x ? mt_new_like(c, x, d) : NULL;
  Tensor *gw = t_zeros(c, LIST(input->size[1]), d, -1, -1, -1, false);
  Tensor *gb = t_zeros(c, LIST(input->size[1]), d, -1, -1, -1, false);
  if (c->err) return;
  Job j = channel_job(input, x, w);
  j.dy = mt_data(dy);
  j.y = mt_data(dx);
  j.mean = mt_data(mean);
  j.rstd = mt_data(var);
  j.gw = mt_data(gw);
  j.gb = mt_data(gb);
  j.eps = eps;
  if (x->numel) mt_parallel(j.channels, grain(j.len * j.samples), LOOP(channel_back, d), &j);
  if (mt_poll(c)) return;
  r[0].t = from_runs(c, dx, input);
  r[1].t = gw;
  r[2].t = gb;
}
void k__batch_norm_backward(Ctx *c, Tensor *grad, Tensor *input, Tensor *weight, Tensor *mean,
                            Tensor *var, double eps,
                            Val *r) {
  if (c->grad_mode) {
    Tensor *w = weight ? t_reshape(c, weight, LIST(1, input->size[1], 1)) : NULL;
    composed(c, grad, input, w, LIST(0, 2), LIST(0, 2), eps, true, r);
  } else t__norm_channels_backward(c, grad, input, weight, mean, var, eps, r);
  finish(c, r, input, weight, 3);
}
Tensor *k__fixed_norm(Ctx *c, Tensor *input, Tensor *weight, Tensor *bias, Tensor *mean,
                      Tensor *var, double eps) {
  DType d = working(input);
  Tensor *x = ready(c, input, d), *w = ready(c, weight, d), *b = ready(c, bias, d),
      *y = mt_new_like(c, input, d);
  mean = ready(c, mean, d);
  var = ready(c, var, d);
  if (c->err) return NULL;
  Job j = {.x = mt_data(x), .w = data_of(w), .b = data_of(b), .y = mt_data(y),
           .mean = mt_data(mean), .eps = eps,
           .rstd = mt_data(var), .channels = input->size[1], .len = input->size[2]};
  if (x->numel) mt_parallel(input->size[0] * j.channels, grain(j.len), LOOP(fixed, d), &j);
  return mt_poll(c) ? NULL : mt_cast(c, y, (DType)input->dtype);
}
void k__fixed_norm_backward(Ctx *c, Tensor *grad, Tensor *input, Tensor *weight, Tensor *mean,
                            Tensor *var, double eps,
                            Val *r) {
  int64_t ch = input->size[1];
  Tensor *rstd = t_rsqrt(c, add(c, t_reshape(c, var, LIST(1, ch, 1)), num(c, eps)));
  Tensor *scale = weight ? t_mul(c, rstd, t_reshape(c, weight, LIST(1, ch, 1))) : rstd;
  r[0].t = t_mul(c, grad, scale);
  r[1].t = t_sum_dim(c, t_mul(c, grad, t_mul(c, sub(c, input, t_reshape(c, mean, LIST(1, ch, 1))),
                                             rstd)), LIST(0, 2),
                     false, -1);
  r[2].t = t_sum_dim(c, grad, LIST(0, 2), false, -1);
  finish(c, r, input, weight, 3);
}

/* running <- (1 - momentum) running + momentum fresh, outside every graph */
static void move(Ctx *c, Tensor *running, Tensor *fresh, double momentum) {
  if (!running || !fresh || c->err) return;
  Tensor *now = add(c, t_mul(c, t_detach(c, running), num(c, 1 - momentum)),
                    t_mul(c, t_detach(c, fresh), num(c, momentum)));
  t_copy_(c, running, now, false);
}
/* input is [samples, channels, elements]. */
static Tensor *batch_norm(Ctx *c, Tensor *x, Tensor *mean, Tensor *var, Tensor *weight,
                          Tensor *bias, bool training,
                          double momentum, double eps) {
  Val r[3];
  if (!training) return t__fixed_norm(c, x, weight, bias, t_detach(c, mean), t_detach(c, var), eps);
  if ((mean && mt_overlaps_itself(mean)) || (var && mt_overlaps_itself(var)))
    return mt_fail(c, "running_mean and running_var must not share memory among their elements");
  t__batch_norm(c, x, weight, bias, eps, r);
  if (c->err) return NULL;
  if (!x->numel) return r[0].t; /* an empty batch leaves the running statistics alone */
  double n = (double)(x->size[0] * x->size[2]);
  move(c, mean, r[1].t, momentum);
  if (var) move(c, var, t_mul(c, t_detach(c, r[2].t), num(c, n / (n - 1))), momentum);
  return r[0].t;
}
static bool counts(Ctx *c, const Tensor *t, int64_t n, const char *name) {
  if (!t || t->numel == n) return true;
  mt_fail(c, "%s should contain %lld elements not %lld", name, (long long)n, (long long)t->numel);
  return false;
}
Tensor *k_F_batch_norm(Ctx *c, Tensor *input, Tensor *mean, Tensor *var, Tensor *weight,
                       Tensor *bias, bool training,
                       double momentum, double eps) {
  if (input->ndim == 1 && !input->numel) return t_clone(c, input, -1);
  if (input->ndim < 2) return mt_fail(c, "expected at least 2 dimensions, got shape %s",
                                      SHAPE(input));
  int64_t n = input->size[0], ch = input->size[1], len = n > 0 && ch > 0 ? input->numel / (n * ch)
      : 0;
  if (!floats(c, input) || !counts(c, mean, ch, "running_mean") ||
      !counts(c, var, ch, "running_var") ||
      !counts(c, weight, ch, "weight") || !counts(c, bias, ch, "bias")) return NULL;
  if (!training && (!mean || !var))
    return mt_fail(c, "running_mean and running_var must be defined in evaluation mode");
  if (training && n * len <= 1 && n > 0 && ch > 0)
    return mt_fail(c, "Expected more than 1 value per channel when training, got input size %s",
                   SHAPE(input));
  Tensor *y = batch_norm(c, t_reshape(c, input, LIST(n, ch, len)), mean, var, weight, bias,
                         training, momentum, eps);
  return y ? t_reshape(c, y, mt_sizes(input)) : NULL;
}
/* A vector of one element a channel, once for each sample. */
static Tensor *times(Ctx *c, Tensor *t, int64_t samples) {
  return t ? t_reshape(c, t_expand(c, t, LIST(samples, t->numel), false),
                       LIST(samples * t->numel)) : NULL;
}
Tensor *k_F_instance_norm(Ctx *c, Tensor *input, Tensor *mean, Tensor *var, Tensor *weight,
                          Tensor *bias, bool own,
                          double momentum, double eps) {
  if (input->ndim < 2) return mt_fail(c, "expected at least 2 dimensions, got shape %s",
                                      SHAPE(input));
  int64_t n = input->size[0], ch = input->size[1], len = n > 0 && ch > 0 ? input->numel / (n * ch)
      : 0;
  if (!own && (!mean || !var))
    return mt_fail(
        c, "Expected running_mean and running_var to be defined when use_input_stats is false");
  if (own && len == 1)
    return mt_fail(c, "Expected more than 1 spatial element when training, got input size %s",
                   SHAPE(input));
  if (!floats(c, input) || !counts(c, mean, ch, "running_mean") ||
      !counts(c, var, ch, "running_var") ||
      !counts(c, weight, ch, "weight") || !counts(c, bias, ch, "bias")) return NULL;
  Tensor *rm = mean ? t_clone(c, times(c, t_detach(c, mean), n), -1) : NULL;
  Tensor *rv = var ? t_clone(c, times(c, t_detach(c, var), n), -1) : NULL;
  Tensor *y = batch_norm(c, t_reshape(c, input, LIST(1, n * ch, len)), rm, rv, times(c, weight, n),
                         times(c, bias, n), own,
                         momentum, eps);
  if (own && mean && !c->err) t_copy_(c, mean,
                                      t_mean_dim(c, t_reshape(c, rm, LIST(n, ch)), LIST(0), false,
                                                 -1), false);
  if (own && var && !c->err) t_copy_(c, var, t_mean_dim(c, t_reshape(c, rv, LIST(n, ch)), LIST(0),
                                                        false, -1), false);
  return y && !c->err ? t_reshape(c, y, mt_sizes(input)) : NULL;
}
Tensor *k_F_local_response_norm(Ctx *c, Tensor *input, int64_t size, double alpha, double beta,
                                double k) {
  if (input->ndim < 3)
    return mt_fail(c, "Expected 3D or higher dimensionality input (got %d dimensions)",
                   input->ndim);
  if (size < 1) return mt_fail(c, "size must be positive, got %lld", (long long)size);
  int64_t channels = input->size[1], edge[MT_MAXDIM];
  if (!input->numel) return t_clone(c, input, -1);
  if (size / 2 + (size - 1) / 2 > 1 << 20) return mt_fail(c, "size is too large: %lld",
                                                          (long long)size);
  memcpy(edge, input->size, sizeof(int64_t) * input->ndim);
  Tensor *square = t_mul(c, input, input), *pieces[3] = {NULL, square, NULL};
  for (int side = 0; side < 2; side++)
    {                   /* zeros beside the first and the last channel */
    edge[1] = side ? (size - 1) / 2 : size / 2;
    pieces[2 * side] = t_new_zeros(c, input, mt_il(edge, input->ndim), -1, -1, -1, -1, false);
  }
  Tensor *wide = t_cat(c, (TensorList){pieces, 3}, 1), *s = t_narrow(c, wide, 1, 0, channels);
  for (int64_t i = 1; i < size && !c->err; i++) s = add(c, s, t_narrow(c, wide, 1, i, channels));
  s = t_div(c, s, mt_wrap(c, mt_si(size)), mt_is_int(input->dtype) ? "trunc" : NULL);
  s = add(c, t_mul(c, s, num(c, alpha)), num(c, k));
  return t_div(c, input, t_pow(c, s, num(c, beta)), NULL);
}
