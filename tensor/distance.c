/* distance.c: distances between rows (rows: ops_distance.def).
 *
 * A distance is summed from the differences themselves, also where PyTorch takes products of
 * matrices: it costs no memory and loses no digits.  Gradients are made of ops; where they would
 * need all differences at once and p is 2, of products. */
#include "cpu.h"
#include "expr_rt.h"
#include "iter.h"
#include "kern_vectors.h"

#define LIST(...) mt_il((const int64_t[]){__VA_ARGS__}, \
                        (int64_t)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))
#define SHAPE(t) mt_list_str(c, mt_sizes(t))
static Tensor *num(Ctx *c, double x) { return mt_wrap(c, mt_sd(x)); }
static Tensor *sub(Ctx *c, Tensor *a, Tensor *b) { return t_sub(c, a, b, mt_si(1)); }
static Tensor *mul(Ctx *c, Tensor *a, Tensor *b) { return t_mul(c, a, b); }

const MtVectorKerns *mt_vectors(void) {
  return MT_AT_LEVEL(&mt_vector_kerns);
}

typedef struct { const char *a, *b; char *out; int64_t rows, other, len; double p; bool single;
} Job;
/* The distances of row r1 of a from rows r2 to r2 + n - 1 of b, n <= 4. */
static void put(const Job *j, int64_t at, int64_t r1, int64_t r2, int64_t n) {
  const float *x = (const float *)(const void *)j->a + r1 * j->len,
              *y = (const float *)(const void *)j->b + r2 * j->len;
  const double *u = (const double *)(const void *)j->a + r1 * j->len,
               *v = (const double *)(const void *)j->b + r2 * j->len;
  double d[4];
  int64_t last = n - 1, k = j->len, i1 = (last < 1 ? last : 1) * k, i2 = (last < 2 ? last : 2) * k,
          i3 = last * k;
  if (j->p == 2 && j->single)
    mt_vectors()->euclid_f32(k, x, (const float *const[]){y, y + i1, y + i2, y + i3}, d);
  else if (j->p == 2)
    mt_vectors()->euclid_f64(k, u, (const double *const[]){v, v + i1, v + i2, v + i3}, d);
  else
    for (int64_t i = 0; i < n; i++)
      d[i] = j->single ? mt_vectors()->apart_f32(k, x, y + i * k, j->p)
                       : mt_vectors()->apart_f64(k, u, v + i * k, j->p);
  for (int64_t i = 0; i < n; i++)
    if (j->single) ((float *)(void *)j->out)[at + i] = (float)d[i];
    else ((double *)(void *)j->out)[at + i] = d[i];
}
/* Four rows of b stay in the cache while those of a pass. */
static void cdist_rows(void *ctx, int64_t lo, int64_t hi) {
  const Job *j = ctx;
  while (lo < hi) {
    int64_t batch = lo / j->rows, end = (batch + 1) * j->rows < hi ? (batch + 1) * j->rows : hi;
    for (int64_t k = 0; k < j->other && !mt_interrupted; k += 4)
      for (int64_t r = lo; r < end; r++)
        put(j, r * j->other + k, r, batch * j->other + k, j->other - k < 4 ? j->other - k : 4);
    lo = end;
  }
}
/* Row i's distances begin behind those of the rows before it. */
static void pdist_rows(void *ctx, int64_t lo, int64_t hi) {
  const Job *j = ctx;
  for (int64_t i = lo; i < hi && !mt_interrupted; i++)
    for (int64_t k = i + 1; k < j->rows; k += 4)
      put(j, i * (2 * j->rows - i - 1) / 2 + k - i - 1, i, k, j->rows - k < 4 ? j->rows - k : 4);
}
Tensor *k__cdist(Ctx *c, Tensor *x1, Tensor *x2, double p) {
  DType d = x1->dtype == MT_float64 ? MT_float64 : MT_float32;
  Tensor *a = mt_contig_as(c, x1, d), *b = mt_contig_as(c, x2, d);
  Tensor *out = mt_new(c, LIST(x1->size[0], x1->size[1], x2->size[1]), d, MT_CPU);
  if (c->err) return NULL;
  Job j = {mt_data(a), mt_data(b), mt_data(out), x1->size[1], x2->size[1], x1->size[2], p,
           d == MT_float32};
  if (out->numel) mt_parallel(x1->size[0] * j.rows, 1 + 8192 / (j.len * j.other + 1), cdist_rows,
                              &j);
  return mt_poll(c) ? NULL : mt_cast(c, out, (DType)x1->dtype);
}
Tensor *k__pdist(Ctx *c, Tensor *self, double p) {
  DType d = self->dtype == MT_float64 ? MT_float64 : MT_float32;
  int64_t n = self->size[0];
  Tensor *a = mt_contig_as(c, self, d), *out = mt_new(c, LIST(n ? n * (n - 1) / 2 : 0), d, MT_CPU);
  if (c->err) return NULL;
  Job j = {mt_data(a), mt_data(a), mt_data(out), n, n, self->size[1], p, d == MT_float32};
  if (out->numel) mt_parallel(n, 1 + 8192 / (j.len * n + 1), pdist_rows, &j);
  return mt_poll(c) ? NULL : mt_cast(c, out, (DType)self->dtype);
}

/* grad times the slope of a distance of p by its difference, 0 where there is none. */
static Tensor *slope(Ctx *c, Tensor *grad, Tensor *diff, Tensor *dist, double p) {
  Tensor *zero = mt_wrap(c, mt_si(0));
  if (p == 0) return t_zeros_like(c, diff, -1, -1, -1, -1, false, -1);
  if (p == 1) return mul(c, t_sgn(c, diff), grad);
  if (isinf(p)) return mul(c, t_sgn(c, diff), mul(c, grad,
                                                  t_to_dtype(c, t_eq(c, t_abs(c, diff), dist),
                                                      diff->dtype, false, -1)));
  Tensor *none = t_eq(c, dist, zero), *safe = t_masked_fill(c, dist, none, mt_si(1));
  if (p == 2) return mul(c, diff, t_masked_fill(c, t_div(c, grad, safe, NULL), none, mt_si(0)));
  Tensor *a = t_abs(c, diff), *flat = t_eq(c, diff, zero);
  Tensor *power = t_pow(c, t_masked_fill(c, a, flat, mt_si(1)), num(c, p - 1));
  Tensor *scale = t_masked_fill(c, t_div(c, grad, t_pow(c, safe, num(c, p - 1)), NULL), none,
                                mt_si(0));
  return mul(c, t_masked_fill(c, mul(c, t_sgn(c, diff), power), flat, mt_si(0)), scale);
}
void k__cdist_backward(Ctx *c, Tensor *grad, Tensor *x1, Tensor *x2, double p, Tensor *result,
                       Val *r) {
  if (p == 2 && (double)result->numel * (double)x1->size[2] > 1 << 24) {
    Tensor *none = t_eq(c, result, mt_wrap(c, mt_si(0)));
    Tensor *g = t_masked_fill(c, t_div(c, grad, t_masked_fill(c, result, none, mt_si(1)), NULL),
                              none, mt_si(0));
    r[0].t = sub(c, mul(c, x1, t_sum_dim(c, g, LIST(-1), true, -1)), t_matmul(c, g, x2));
    Tensor *back = t_transpose(c, g, 1, 2);
    r[1].t = sub(c, mul(c, x2, t_sum_dim(c, back, LIST(-1), true, -1)), t_matmul(c, back, x1));
    return;
  }
  /* a few rows of x1 at a time: all differences at once would take len times grad's memory */
  int64_t rows = x1->size[1], each = x2->numel ? (1 << 19) / x2->numel : rows, parts = 0;
  if (each < 1) each = 1;
  Tensor **one = mt_tmp(c, sizeof *one * (size_t)(rows / each + 1)), *two = NULL;
  for (int64_t i = 0, n; one && !c->err && (i < rows || !parts); i += n) {
    Scope sc = mt_open(c);
    n = rows - i < each ? rows - i : each;
    Tensor *diff = sub(c, t_unsqueeze(c, t_narrow(c, x1, 1, i, n), 2), t_unsqueeze(c, x2, 1));
    Tensor *g = slope(c, t_unsqueeze(c, t_narrow(c, grad, 1, i, n), -1), diff,
                      t_unsqueeze(c, t_narrow(c, result, 1, i, n), -1), p);
    Tensor *sum = t_sum_dim(c, g, LIST(1), false, -1);
    Tensor *left = t_sum_dim(c, g, LIST(2), false, -1);
    two = two ? t_add(c, two, sum, mt_si(1)) : sum;
    if (c->err) { mt_close(c, sc); break; }
    mt_retain(two);
    one[parts++] = mt_close_with(c, sc, left);
    two = mt_own(c, two);
    if (!n) break;
  }
  if (!one || c->err) return;
  r[0].t = parts == 1 ? one[0] : t_cat(c, (TensorList){one, parts}, 1);
  r[1].t = t_neg(c, two);
}
Tensor *k__pdist_backward(Ctx *c, Tensor *grad, Tensor *self, double p, Tensor *result) {
  int64_t n = self->size[0], at = 0;
  Tensor *i = mt_new_like(c, result, MT_int64), *j = mt_new_like(c, result, MT_int64);
  if (!i || !j) return NULL;
  for (int64_t a = 0; a < n; a++)
    for (int64_t b = a + 1; b < n; b++, at++) { ((int64_t *)mt_data(i))[at] = a;
    ((int64_t *)mt_data(j))[at] = b; }
  Tensor *diff = sub(c, t_index_select(c, self, 0, i), t_index_select(c, self, 0, j));
  Tensor *g = slope(c, t_unsqueeze(c, grad, -1), diff, t_unsqueeze(c, result, -1), p);
  Tensor *z = t_zeros_like(c, self, -1, -1, -1, -1, false, -1);
  return t_index_add(c, t_index_add(c, z, 0, i, g, mt_si(1)), 0, j, g, mt_si(-1));
}
Tensor *k_cdist(Ctx *c, Tensor *x1, Tensor *x2, double p, const char *mode) {
  int64_t shape[MT_MAXDIM], len = x1->ndim ? x1->size[x1->ndim - 1] : 0;
  int n;
  if (x1->ndim < 2 || x2->ndim < 2 || len != x2->size[x2->ndim - 1])
    return mt_fail(c, "expected two batches of rows of one length, got %s and %s", SHAPE(x1),
                   SHAPE(x2));
  if (!(p >= 0)) return mt_fail(c, "cdist only supports non-negative p values, got %g", p);
  if (!mt_is_float(x1->dtype) || !mt_is_float(x2->dtype))
    return mt_fail(c, "expected floating point tensors, got %s and %s", mt_dtypes[x1->dtype].name,
                   mt_dtypes[x2->dtype].name);
  if (!mt_broadcast(c, x1->ndim - 2, x1->size, x2->ndim - 2, x2->size, &n, shape)) return NULL;
  int64_t P = x1->size[x1->ndim - 2], R = x2->size[x2->ndim - 2], batch = 1;
  for (int i = 0; i < n; i++) batch *= shape[i];
  shape[n] = P; shape[n + 1] = len;
  Tensor *a = t_reshape(c, t_expand(c, x1, mt_il(shape, n + 2), false), LIST(batch, P, len));
  shape[n] = R;
  Tensor *b = t_reshape(c, t_expand(c, x2, mt_il(shape, n + 2), false), LIST(batch, R, len));
  DType d = mt_promote((DType)x1->dtype, (DType)x2->dtype);
  if (x1->dtype != d) a = t_to_dtype(c, a, d, false, -1);
  if (x2->dtype != d) b = t_to_dtype(c, b, d, false, -1);
  shape[n] = P; shape[n + 1] = R;
  return t_reshape(c, t__cdist(c, a, b, p), mt_il(shape, n + 2));
}
Tensor *k_F_pdist(Ctx *c, Tensor *self, double p) {
  if (self->ndim != 2) return mt_fail(c, "expected a matrix, got shape %s", SHAPE(self));
  if (!mt_is_float(self->dtype)) return mt_fail(c, "not implemented for '%s'",
                                                mt_type_word((DType)self->dtype));
  if (!(p >= 0)) return mt_fail(c, "p must not be negative, got %g", p);
  return t__pdist(c, self, p);
}
