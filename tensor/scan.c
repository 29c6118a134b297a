/* scan.c: kernels of ops_scan.def.
 *
 * Sums and products run in the wider type (double for float32, float64 and complex64's parts),
 * as PyTorch's do.  A long float row is cut: the sums of its pieces first, then all pieces at
 * once from their starts, on the pool, by kern_scan.c. */
#include "cpu.h"
#include "half.h"
#include "kern_scan.h"
#include "op.h"
#include <math.h>
#include <string.h>

typedef struct Scan {
  const void *in;
  void *out;
  int64_t *index, outer, n, inner;
  bool back;                               /* from the end */
  void (*line)(const struct Scan *s, int64_t from, int64_t stride);
} Scan;

/* ---- lines: n elements, stride apart, from element `from` on ---- */

/* A line may be the whole tensor, so its loops look for Ctrl-C themselves. */
#define POLL(k) if (!((k) & 0xfffff) && mt_interrupted) return

/* The usual line, forward and dense, as a loop of its own. */
#define LINE(name, T, A, INIT, LOAD, STEP, STORE) \
  static void name(const Scan *s, int64_t from, int64_t stride) { \
    const T *x = (const T *)s->in + from; \
    T *y = (T *)s->out + from; \
    A a = INIT; \
    if (stride == 1 && !s->back) \
      for (int64_t n = s->n; n > 0; n--, x++, y++) { \
        POLL(n); \
        A v = LOAD(*x); \
        a = STEP; \
        *y = (T)STORE(a); \
      } \
    else \
      for (int64_t k = 0; k < s->n; k++) { \
        POLL(k); \
        int64_t i = (s->back ? s->n - 1 - k : k) * stride; \
        A v = LOAD(x[i]); \
        a = STEP; \
        y[i] = (T)STORE(a); \
      } \
  }
#define SAME(v) (v)
LINE(sum_u8, uint8_t, uint64_t, 0, SAME, a + v, SAME)
LINE(sum_i16, uint16_t, uint64_t, 0, SAME, a + v, SAME)
LINE(sum_i32, uint32_t, uint64_t, 0, SAME, a + v, SAME)
LINE(sum_i64, uint64_t, uint64_t, 0, SAME, a + v, SAME)
LINE(sum_f32, float, double, 0, SAME, a + v, SAME)
LINE(sum_f64, double, double, 0, SAME, a + v, SAME)
LINE(sum_c64, cfloat, cdouble, 0, SAME, a + v, SAME)
LINE(sum_c128, cdouble, cdouble, 0, SAME, a + v, SAME)
LINE(prod_u8, uint8_t, uint64_t, 1, SAME, a * v, SAME)
LINE(prod_i16, uint16_t, uint64_t, 1, SAME, a * v, SAME)
LINE(prod_i32, uint32_t, uint64_t, 1, SAME, a * v, SAME)
LINE(prod_i64, uint64_t, uint64_t, 1, SAME, a * v, SAME)
LINE(prod_f32, float, double, 1, SAME, a * v, SAME)
LINE(prod_f64, double, double, 1, SAME, a * v, SAME)
LINE(prod_c64, cfloat, cdouble, 1, SAME, a * v, SAME)
LINE(prod_c128, cdouble, cdouble, 1, SAME, a * v, SAME)

static double log_add(double x, double y) {
  double lo = y != y ? y : x < y ? x : y, hi = y != y ? y : x < y ? y : x;
  if (x != x) lo = hi = x;
  return lo != hi || isfinite(lo) ? log1p(exp(lo - hi)) + hi : x;
}
/* log(exp(x) + exp(y)), the greater real part taken out. */
static cdouble log_add_c(cdouble x, cdouble y) {
  double xr = creal(x), yr = creal(y);
  if (xr != xr || yr != yr || cimag(x) != cimag(x) || cimag(y) != cimag(y)) return CMPLX(NAN, NAN);
  cdouble lo = xr < yr ? x : y, hi = xr < yr ? y : x;
  if (!isfinite(creal(lo)) && creal(lo) == creal(hi))
    return creal(lo) < 0 ? lo : clog(cexp(lo) + cexp(hi));
  if (creal(lo) == -INFINITY) return hi;
  cdouble z = cexp(lo - hi);
  double a = creal(z), b = cimag(z);
  return hi + CMPLX(0.5 * log1p(a * (2 + a) + b * b), atan2(b, 1 + a));
}
#define LOW -(double)INFINITY
LINE(lse_f32, float, double, LOW, SAME, log_add(v, a), SAME)
LINE(lse_f64, double, double, LOW, SAME, log_add(v, a), SAME)
LINE(lse_c64, cfloat, cdouble, CMPLX(LOW, 0), SAME, log_add_c(v, a), SAME)
LINE(lse_c128, cdouble, cdouble, CMPLX(LOW, 0), SAME, log_add_c(v, a), SAME)

/* A later element replaces an equal one; nan is kept once met, its place still moving with
 * further nans. */
#define EXTREME(name, T, A, LOAD, CMP) \
  static void name(const Scan *s, int64_t from, int64_t stride) { \
    const T *x = (const T *)s->in + from; \
    T *y = (T *)s->out + from, best = x[0]; \
    A a = LOAD(x[0]); \
    int64_t at = 0; \
    for (int64_t k = 0; k < s->n; k++) { \
      POLL(k); \
      A v = LOAD(x[k * stride]); \
      if (v != v || (a == a && v CMP a)) a = v, best = x[k * stride], at = k; \
      y[k * stride] = best; \
      s->index[from + k * stride] = at; \
    } \
  }
#define EXTREMES(sfx, T, A, LOAD) \
  EXTREME(max_##sfx, T, A, LOAD, >=) EXTREME(min_##sfx, T, A, LOAD, <=)
EXTREMES(u8, uint8_t, uint8_t, SAME)
EXTREMES(i8, int8_t, int8_t, SAME)
EXTREMES(i16, int16_t, int16_t, SAME)
EXTREMES(i32, int32_t, int32_t, SAME)
EXTREMES(i64, int64_t, int64_t, SAME)
EXTREMES(f16, uint16_t, float, mt_half_to_float)
EXTREMES(bf16, uint16_t, float, mt_bf16_to_float)
EXTREMES(f32, float, float, SAME)
EXTREMES(f64, double, double, SAME)

typedef void (*LineFn)(const Scan *s, int64_t from, int64_t stride);
static const LineFn sums[MT_NDTYPES] = {sum_u8,  sum_u8,   sum_u8,  sum_i16, sum_i32, sum_i64,
                                        NULL,    NULL,     sum_f32, sum_f64, sum_c64, sum_c128};
static const LineFn prods[MT_NDTYPES] = {prod_u8,  prod_u8,  prod_u8,  prod_i16,
                                         prod_i32, prod_i64, NULL,     NULL,
                                         prod_f32, prod_f64, prod_c64, prod_c128};
static const LineFn lses[MT_NDTYPES] = {
    [MT_float32] = lse_f32, lse_f64, lse_c64, lse_c128};
static const LineFn maxs[MT_NDTYPES] = {max_u8,  max_u8,  max_i8,   max_i16, max_i32,
                                        max_i64, max_f16, max_bf16, max_f32, max_f64};
static const LineFn mins[MT_NDTYPES] = {min_u8,  min_u8,  min_i8,   min_i16, min_i32,
                                        min_i64, min_f16, min_bf16, min_f32, min_f64};

static void lines(void *ctx, int64_t lo, int64_t hi) {
  const Scan *s = ctx;
  for (int64_t i = lo; i < hi && !mt_interrupted; i++)
    s->line(s, i / s->inner * s->n * s->inner + i % s->inner, s->inner);
}

/* ---- long float rows ---- */

static const ScanKerns *kerns(void) { return MT_AT_LEVEL(&mt_scan_kerns); }

typedef struct { const float *x; float *y; int64_t n, size; double *start; } Pieces;
static int64_t piece(const Pieces *p, int64_t i) {
  return i * p->size + p->size < p->n ? p->size : p->n - i * p->size;
}
static void sum_pieces(void *ctx, int64_t lo, int64_t hi) {
  Pieces *p = ctx;
  for (int64_t i = lo; i < hi; i++)
    p->start[i + 1] = kerns()->sum(p->x + i * p->size, piece(p, i));
}
static void scan_pieces(void *ctx, int64_t lo, int64_t hi) {
  Pieces *p = ctx;
  for (int64_t i = lo; i < hi && !mt_interrupted; i++)
    kerns()->scan(p->x + i * p->size, p->y + i * p->size,
                  piece(p, i), p->start[i]);
}
static bool long_row(Ctx *c, const float *x, float *y, int64_t n) {
  int threads = mt_num_threads();
  bool alone = MT_TOO_LITTLE(n, 32768) || threads == 1;
  int64_t most = 1 << 22, share = (n + threads - 1) / threads;
  Pieces p = {x, y, n, alone || share > most ? most : share, NULL};
  int64_t k = (n + p.size - 1) / p.size;
  if (alone) {
    double sum = 0;
    for (int64_t i = 0; i < k && !mt_interrupted; i++)
      sum = kerns()->scan(x + i * p.size, y + i * p.size, piece(&p, i), sum);
    return true;
  }
  if (!(p.start = mt_tmp(c, sizeof(double) * (size_t)(k + 1)))) return false;
  p.start[0] = 0;
  mt_parallel(k, 1, sum_pieces, &p);
  for (int64_t i = 1; i <= k; i++) p.start[i] += p.start[i - 1];
  mt_parallel(k, 1, scan_pieces, &p);
  return true;
}

/* ---- ops ---- */

static Tensor *scan(Ctx *c, Tensor *self, int64_t dim_, DType d, const LineFn *table, bool back,
                    Tensor **index) {
  int dim = self ? mt_dim(c, dim_, self->ndim) : -1;
  if (dim < 0) return NULL;
  if ((d == MT_float16 || d == MT_bfloat16) && !index) /* in float, which has vectors */
    return mt_cast(c, scan(c, mt_cast(c, self, d), dim_, MT_float32, table, back, NULL), d);
  if (!table[d]) return mt_fail(c, "not implemented for %s", mt_dtypes[d].name);
  Tensor *x = mt_contig_as(c, self, d), *y = mt_new_like(c, self, d);
  if (index) *index = mt_new_like(c, self, MT_int64);
  if (c->err || !self->numel) return y;
  Scan s = {mt_data(x),
            mt_data(y),
            index ? mt_data(*index) : NULL,
            1,
            self->ndim ? self->size[dim] : 1,
            1,
            back,
            table[d]};
  for (int i = 0; i < self->ndim; i++)
    *(i < dim ? &s.outer : i > dim ? &s.inner : &(int64_t){0}) *= self->size[i];
  if (table == sums && d == MT_float32 && !back && s.inner == 1 && s.n >= 1024) {
    for (int64_t i = 0; i < s.outer && !mt_interrupted; i++)
      if (!long_row(c, (const float *)s.in + i * s.n, (float *)s.out + i * s.n, s.n)) return NULL;
  } else mt_parallel(s.outer * s.inner, 32768 / s.n + 1, lines, &s);
  return mt_poll(c) ? NULL : y;
}
static DType wide(const Tensor *t, int dtype) {
  return dtype >= 0 ? (DType)dtype : mt_is_int(t->dtype) ? MT_int64 : (DType)t->dtype;
}

Tensor *k_cumsum(Ctx *c, Tensor *s, int64_t dim, int dtype) {
  return scan(c, s, dim, wide(s, dtype), sums, false, NULL);
}
Tensor *k_cumprod(Ctx *c, Tensor *s, int64_t dim, int dtype) {
  return scan(c, s, dim, wide(s, dtype), prods, false, NULL);
}
Tensor *k__rcumsum(Ctx *c, Tensor *s, int64_t dim) {
  return scan(c, s, dim, wide(s, -1), sums, true, NULL);
}
Tensor *k__rlogcumsumexp(Ctx *c, Tensor *s, int64_t dim) {
  return scan(c, s, dim, (DType)s->dtype, lses, true, NULL);
}
Tensor *k_logcumsumexp(Ctx *c, Tensor *s, int64_t dim) {
  return scan(c, s, dim, (DType)s->dtype, lses, false, NULL);
}
void k_cummax(Ctx *c, Tensor *s, int64_t dim, Val *r) {
  r[0].t = scan(c, s, dim, (DType)s->dtype, maxs, false, &r[1].t);
}
void k_cummin(Ctx *c, Tensor *s, int64_t dim, Val *r) {
  r[0].t = scan(c, s, dim, (DType)s->dtype, mins, false, &r[1].t);
}

/* ---- derivatives ---- */

static bool has_zero(Ctx *c, Tensor *t) {
  Scalar any = t->numel && !mt_meta(t) ? mt_item(c, t_any(c, t_eq(c, t, mt_wrap(c, mt_si(0)))))
                                       : mt_sb(false);
  return any.i != 0;
}

/* Without zeros: sums of grad * result from the end, over self.  With one: product by product,
 * leaving self[k] out. */
Tensor *k__cumprod_backward(Ctx *c, Tensor *grad, Tensor *s, int64_t dim_, Tensor *result) {
  int dim = mt_dim(c, dim_, s->ndim);
  if (dim < 0) return NULL;
  if (!s->numel) return t_zeros_like(c, s, -1, -1, -1, -1, false, -1);
  if (s->ndim == 0) return grad;
  Tensor *x = t_conj(c, s);
  if (!has_zero(c, s))
    return t_div(c, t__rcumsum(c, t_mul(c, t_conj(c, result), grad), dim), x, NULL);
  int64_t n = s->size[dim];
  Tensor **parts = mt_tmp(c, sizeof *parts * (size_t)n), *before = NULL;
  for (int64_t k = 0; parts && k < n && !c->err; k++) {
    Tensor *xk = t_narrow(c, x, dim, k, 1);
    Tensor *left = before ? before : t_ones_like(c, xk, -1, -1, -1, -1, false, -1);
    Tensor *after =
        k + 1 < n ? t_mul(c, left, t_cumprod(c, t_narrow(c, x, dim, k + 1, n - k - 1), dim, -1))
                  : NULL;
    Tensor *list[2] = {left, after}, *omitted = after ? t_cat(c, (TensorList){list, 2}, dim) : left;
    parts[k] = t_sum_dim(c, t_mul(c, t_narrow(c, grad, dim, k, n - k), omitted),
                         mt_il(&(int64_t){dim}, 1), true, -1);
    before = t_mul(c, left, xk);
  }
  return parts && !c->err ? t_cat(c, (TensorList){parts, n}, dim) : NULL;
}

static Tensor *other_way(Ctx *c, Tensor *t, int64_t dim, bool back) {
  return back ? t_logcumsumexp(c, t, dim) : t__rlogcumsumexp(c, t, dim);
}
/* grad is split by sign so that its logarithm exists; a complex one has a logarithm. */
Tensor *k__logcumsumexp_backward(Ctx *c, Tensor *grad, Tensor *s, Tensor *result, int64_t dim,
                                 bool back) {
  if (!grad->numel) return grad;
  if (mt_is_complex(grad->dtype)) {
    Tensor *g = t_sub(c, t_log(c, t_conj(c, grad)), result, mt_si(1));
    return t_conj(c, t_exp(c, t_add(c, other_way(c, g, dim, back), s, mt_si(1))));
  }
  double least = grad->dtype == MT_float64   ? -1.7976931348623157e308
                 : grad->dtype == MT_float16 ? -65504
                                             : -3.3895313892515355e38;
  Tensor *zero = mt_wrap(c, mt_si(0)), *low = mt_scalar_tensor(c, mt_sd(least), (DType)grad->dtype),
         *l = t_log(c, t_abs(c, grad));
  Tensor *pos = t_where(c, t_gt(c, grad, zero), l, low),
         *neg = t_where(c, t_lt(c, grad, zero), l, low);
  pos = t_exp(c, t_add(c, other_way(c, t_sub(c, pos, result, mt_si(1)), dim, back), s, mt_si(1)));
  neg = t_exp(c, t_add(c, other_way(c, t_sub(c, neg, result, mt_si(1)), dim, back), s, mt_si(1)));
  return t_sub(c, pos, neg, mt_si(1));
}
