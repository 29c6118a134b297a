/* embedding.c: rows of a table by index, bags of rows, one-hot rows (rows: ops_embedding.def).
 *
 * Sums over rows run in the order of the indices whatever the number of threads, in float for
 * 16-bit tables. */
#include "cpu.h"
#include "expr_rt.h"
#include "kern_index.h"
#include "iter.h"
#include "kern_vectors.h"

#define LIST(...) mt_il((const int64_t[]){__VA_ARGS__}, \
                        (int64_t)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))
#define SHAPE(t) mt_list_str(c, mt_sizes(t))

/* ---- one row an index ---- */
typedef struct { const int64_t *ix; const char *w; char *o; size_t bytes; } Rows;
static void rows_job(void *ctx, int64_t lo, int64_t hi) {
  Rows *r = ctx;
  for (int64_t i = lo; i < hi && !mt_interrupted; i++) memcpy(r->o + (size_t)i * r->bytes,
                                           r->w + (size_t)r->ix[i] * r->bytes, r->bytes);
}
Tensor *k_embedding_rows(Ctx *c, Tensor *weight, Tensor *indices, int64_t padding_idx, bool scale) {
  int64_t shape[MT_MAXDIM];
  if (weight->ndim != 2)
    return mt_fail(c, "weight must have 2 dimensions, got shape %s",
                   mt_list_str(c, mt_sizes(weight)));
  if (indices->dtype != MT_int64 && indices->dtype != MT_int32)
    return mt_fail(c, "indices must be an int64 or int32 tensor, got %s",
                   mt_dtypes[indices->dtype].name);
  if (indices->ndim >= MT_MAXDIM) return mt_fail(c, "indices have too many dimensions");
  Tensor *ix = mt_contig_as(c, indices, MT_int64), *w = mt_contig(c, weight);
  if (!ix || !w) return NULL;
  memcpy(shape, indices->size, sizeof(int64_t) * indices->ndim);
  shape[indices->ndim] = weight->size[1];
  Tensor *out = mt_new(c, mt_il(shape, indices->ndim + 1), (DType)weight->dtype, MT_CPU);
  if (!out) return NULL;
  const int64_t *p = mt_data(ix);
  int64_t bad = mt_index_kerns()->check(p, 1, ix->numel, weight->size[0]);
  if (bad >= 0)
    return mt_fail(c, "index %lld is out of range for %lld embeddings", (long long)p[bad],
                   (long long)weight->size[0]);
  Rows r = {p, mt_data(w), mt_data(out), (size_t)weight->size[1] * mt_dsize(weight->dtype)};
  mt_parallel(ix->numel, 32768 / (weight->size[1] + 1) + 1, rows_job, &r);
  return out;
}
/* Sums grad's rows into the table's rows lo .. hi - 1. */
typedef struct { const int64_t *ix; const char *g; char *o; int64_t n, width, padding, *count;
bool single; } Sums;
static void sums_job(void *ctx, int64_t lo, int64_t hi) {
  const Sums *s = ctx;
  for (int64_t i = 0; i < s->n && !mt_interrupted; i++) {
    int64_t at = s->ix[i];
    if (at < lo || at >= hi || at == s->padding) continue;
    double k = s->count ? 1.0 / (double)s->count[at] : 1;
    if (s->single) mt_vectors()->axpy_f32(s->width, (float)k,
                                          (const float *)(const void *)s->g + i * s->width,
                                              (float *)(void *)s->o + at * s->width);
    else mt_vectors()->axpy_f64(s->width, k, (const double *)(const void *)s->g + i * s->width,
                                (double *)(void *)s->o + at * s->width);
  }
}
Tensor *k_embedding_backward(Ctx *c, Tensor *grad, Tensor *indices, int64_t num_weights,
                             int64_t padding_idx, bool scale) {
  int64_t width = grad->size[grad->ndim - 1];
  DType d = (DType)grad->dtype, w = d == MT_float64 || mt_is_complex(d) ? d : MT_float32;
  Tensor *ix = mt_contig_as(c, indices, MT_int64), *g = mt_contig_as(c, grad, w);
  Tensor *out = t_zeros(c, LIST(num_weights, width), w, -1, -1, -1, false);
  if (!ix || !g || !out) return NULL;
  Sums s = {mt_data(ix), mt_data(g), mt_data(out), ix->numel, width * (mt_is_complex(w) ? 2 : 1),
            padding_idx, NULL,
            mt_real_dtype(w) == MT_float32};
  if (scale) {
    if (!(s.count = mt_calloc(sizeof(int64_t) * (size_t)(num_weights + 1)))) return mt_nomem(c);
    for (int64_t i = 0; i < s.n; i++) s.count[s.ix[i]]++;
  }
  int64_t threads = mt_num_threads();
  mt_parallel(num_weights, MT_TOO_LITTLE(s.n * width, 32768) ? num_weights
              : (num_weights + threads - 1) / threads, sums_job, &s);
  mt_free(s.count);
  return mt_cast(c, out, d);
}
/* The rows that embedding_backward reads, each times what it was scaled by. */
Tensor *k__embedding_backward_backward(Ctx *c, Tensor *grad, Tensor *indices, int64_t padding_idx,
                                       bool scale) {
  Tensor *rows = t_embedding_rows(c, grad, indices, -1, false);
  if (padding_idx >= 0)
    rows = t_masked_fill(c, rows, t_unsqueeze(c, t_eq(c, indices, mt_wrap(c, mt_si(padding_idx))),
                                              -1), mt_si(0));
  if (!scale) return rows;
  Tensor *flat = t_reshape(c, indices, LIST(-1)),
      *none = t_new_zeros(c, grad, LIST(grad->size[0]), -1, -1, -1, -1, false);
  Tensor *ones = flat ? t_new_ones(c, grad, LIST(flat->numel), -1, -1, -1, -1, false) : NULL;
  Tensor *count = t_index_select(c, t_index_add(c, none, 0, flat, ones, mt_si(1)), 0, flat);
  return t_div(c, rows, t_unsqueeze(c, t_reshape(c, count, mt_sizes(indices)), -1), NULL);
}
/* max_norm: rows that are used and longer than it are scaled down in place. */
static bool shorten_rows(Ctx *c, Tensor *weight, Tensor *input, double max_norm, double p) {
  if (mt_meta(weight) || mt_meta(input)) return true;
  Tensor *ix = mt_contig_as(c, input, MT_int64);
  if (!ix) return false;
  const int64_t *v = mt_data(ix);
  int64_t n = weight->size[1], es = (int64_t)mt_dsize(weight->dtype);
  for (int64_t i = 0; i < ix->numel; i++) /* all before the first row changes */
    if (v[i] < 0 || v[i] >= weight->size[0]) {
      mt_fail(c, "index %lld is out of range for %lld embeddings", (long long)v[i],
              (long long)weight->size[0]);
      return false;
    }
  for (int64_t i = 0; i < ix->numel; i++) {
    char *row = (char *)mt_data(weight) + v[i] * weight->stride[0] * es;
    double sum = 0;
    for (int64_t k = 0; k < n; k++) {
      double x = fabs(mt_sre(mt_load(row + k * weight->stride[1] * es, (DType)weight->dtype)));
      sum = isinf(p) ? fmax(sum, x) : sum + pow(x, p);
    }
    double norm = isinf(p) ? sum : pow(sum, 1 / p);
    if (norm <= max_norm) continue;
    for (int64_t k = 0; k < n; k++) {
      char *q = row + k * weight->stride[1] * es;
      mt_store(q, (DType)weight->dtype, mt_sd(mt_sre(mt_load(q,
          (DType)weight->dtype)) * (max_norm / (norm + 1e-7))));
    }
  }
  weight->st->version++;
  return true;
}
Tensor *k_F_embedding(Ctx *c, Tensor *input, Tensor *weight, int64_t padding_idx, Scalar max_norm,
                      double norm_type, bool scale, bool sparse) {
  if (input->dtype != MT_int64 && input->dtype != MT_int32)
    return mt_fail(c, "input must be an int64 tensor, got %s", mt_dtypes[input->dtype].name);
  if (weight->ndim != 2) return mt_fail(c, "weight must have 2 dimensions, got shape %s",
                                        mt_list_str(c, mt_sizes(weight)));
  if (padding_idx != MT_NONE_INT && (padding_idx >= weight->size[0] ||
                                     padding_idx < -weight->size[0]))
    return mt_fail(c, "padding_idx %lld must be within the %lld embeddings",
                   (long long)padding_idx, (long long)weight->size[0]);
  if (padding_idx != MT_NONE_INT && padding_idx < 0) padding_idx += weight->size[0];
  if (mt_has(max_norm) && !shorten_rows(c, weight, input, mt_sre(max_norm), norm_type)) return NULL;
  return t_embedding_rows(c, weight, input, padding_idx, scale);
}

/* ---- bags ---- */
/* Bag b of the indices ends at ends[b] and begins where the one before it ends. */
typedef struct {
  const int64_t *ix, *ends;
  const char *w, *psw;
  char *out;
  int64_t *rows, width, padding, count;    /* count of indices */
} Bags;
#define BAGS(T, S)                                                                              \
static void sum_##S(void *ctx, int64_t lo, int64_t hi) {                                        \
  const Bags *b = ctx;                                                                          \
  const T *psw = (const T *)(const void *)b->psw;                                               \
  for (int64_t k = lo; k < hi && !mt_interrupted; k++) {                                        \
    int64_t from = k ? b->ends[k - 1] : 0;                                                      \
    mt_index_kerns()->bag_##S((T *)(void *)b->out + k * b->width, b->width,                     \
                              (const T *)(const void *)b->w, b->ix + from, b->ends[k] - from,   \
                              b->count - from, b->padding, psw ? psw + from : NULL);            \
  }                                                                                             \
}                                                                                               \
static void max_##S(void *ctx, int64_t lo, int64_t hi) {                                        \
  const Bags *b = ctx;                                                                          \
  const T *w = (const T *)(const void *)b->w;                                                   \
  for (int64_t k = lo; k < hi && !mt_interrupted; k++) {                                        \
    T *o = (T *)(void *)b->out + k * b->width;                                                  \
    int64_t *row = b->rows + k * b->width;                                                      \
    for (int64_t j = 0; j < b->width; j++) { o[j] = 0; row[j] = -1; }                           \
    for (int64_t i = k ? b->ends[k - 1] : 0; i < b->ends[k]; i++) {                             \
      if (b->ix[i] == b->padding) continue;                                                     \
      const T *x = w + b->ix[i] * b->width;                                                     \
      for (int64_t j = 0; j < b->width; j++)                                                    \
        if (row[j] < 0 || x[j] > o[j]) { o[j] = x[j]; row[j] = b->ix[i]; }                      \
    }                                                                                           \
  }                                                                                             \
}
BAGS(float, f32)
BAGS(double, f64)
static DType working(const Tensor *t) { return t->dtype == MT_float64 ? MT_float64 : MT_float32; }
Tensor *k__embedding_bag(Ctx *c, Tensor *weight, Tensor *indices, Tensor *ends, Tensor *psw,
                         int64_t padding, bool scale) {
  DType d = working(weight);
  Tensor *w = mt_contig_as(c, weight, d), *p = psw ? mt_contig_as(c, psw, d) : NULL;
  Tensor *out = mt_new(c, LIST(ends->numel, weight->size[1]), d, MT_CPU);
  if (c->err) return NULL;
  Bags b = {mt_data(indices), mt_data(ends), mt_data(w), p ? mt_data(p) : NULL, mt_data(out), NULL,
            weight->size[1], padding, indices->numel};
  mt_parallel(ends->numel, 1 + 1024 / (b.width + 1), d == MT_float64 ? sum_f64 : sum_f32, &b);
  return mt_cast(c, out, (DType)weight->dtype);
}
void k__embedding_bag_max(Ctx *c, Tensor *weight, Tensor *indices, Tensor *ends, int64_t padding,
                          Val *r) {
  DType d = working(weight);
  Tensor *w = mt_contig_as(c, weight, d), *out = mt_new(c, LIST(ends->numel, weight->size[1]), d,
                                                        MT_CPU);
  Tensor *rows = mt_new(c, LIST(ends->numel, weight->size[1]), MT_int64, MT_CPU);
  if (c->err) return;
  Bags b = {mt_data(indices), mt_data(ends), mt_data(w), NULL, mt_data(out), mt_data(rows),
            weight->size[1], padding, indices->numel};
  mt_parallel(ends->numel, 1 + 1024 / (b.width + 1), d == MT_float64 ? max_f64 : max_f32, &b);
  r[0].t = mt_cast(c, out, (DType)weight->dtype);
  r[1].t = rows;
}
/* The bag of every index. */
static Tensor *bag_of(Ctx *c, Tensor *ends, int64_t n) {
  Tensor *t = mt_new(c, LIST(n), MT_int64, MT_CPU);
  int64_t at = 0;
  if (!t) return NULL;
  for (int64_t k = 0; k < ends->numel; k++)
    for (; at < ((int64_t *)mt_data(ends))[k]; at++) ((int64_t *)mt_data(t))[at] = k;
  return t;
}
Tensor *k__embedding_bag_backward(Ctx *c, Tensor *grad, Tensor *indices, Tensor *ends, Tensor *psw,
                                  int64_t num_weights,
                                  int64_t padding, bool scale) {
  Tensor *g = t_index_select(c, grad, 0, bag_of(c, ends, indices->numel));
  if (psw) g = t_mul(c, g, t_unsqueeze(c, psw, -1));
  return t_embedding_backward(c, g, indices, num_weights, padding, scale);
}
Tensor *k__embedding_bag_weights(Ctx *c, Tensor *grad, Tensor *weight, Tensor *indices,
                                 Tensor *ends, int64_t padding) {
  Tensor *g = t_index_select(c, grad, 0, bag_of(c, ends, indices->numel));
  Tensor *s = t_sum_dim(c, t_mul(c, g, t_index_select(c, weight, 0, indices)), LIST(1), false, -1);
  return padding < 0 ? s : t_masked_fill(c, s, t_eq(c, indices, mt_wrap(c, mt_si(padding))),
                                         mt_si(0));
}
Tensor *k__embedding_bag_max_backward(Ctx *c, Tensor *grad, Tensor *rows, int64_t num_weights) {
  Tensor *none = t_lt(c, rows, mt_wrap(c, mt_si(0))),
      *at = t_masked_fill(c, rows, none, mt_si(num_weights));
  Tensor *z = t_new_zeros(c, grad, LIST(num_weights + 1, grad->size[1]), -1, -1, -1, -1, false);
  return t_narrow(c, t_scatter_add(c, z, 0, at, grad), 0, 0, num_weights);
}
/* Where each bag ends, from where it begins; false and an error when they are no bags of n indices.
 */
static Tensor *bag_ends(Ctx *c, Tensor *offsets, int64_t n, bool last) {
  Tensor *o = mt_contig_as(c, offsets, MT_int64);
  if (!o) return NULL;
  const int64_t *v = mt_data(o);
  int64_t bags = o->numel - last;
  if (bags < 0) return mt_fail(c, "include_last_offset: number of offsets should be at least 1");
  if (o->numel && v[0] != 0)
    return mt_fail(c,
                   "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to "
                   "start from position 0. However, got %lld",
                   (long long)v[0]);
  for (int64_t i = 0; i < o->numel; i++)
    if (v[i] > n || (i && v[i] < v[i - 1]))
      return mt_fail(c,
                     "offsets must not decrease nor exceed input's length of %lld, but got %lld",
                         (long long)n,
                     (long long)v[i]);
  Tensor *ends = mt_new(c, LIST(bags), MT_int64, MT_CPU);
  for (int64_t i = 0; ends && i < bags; i++) ((int64_t *)mt_data(ends))[i] = i + 1 < o->numel
      ? v[i + 1] : n;
  return ends;
}
/* The number of indices in each bag that are not padding, at least 1, as [bags, 1]. */
static Tensor *bag_sizes(Ctx *c, Tensor *indices, Tensor *ends, int64_t padding, DType d) {
  Tensor *t = mt_new(c, LIST(ends->numel, 1), MT_float64, MT_CPU);
  const int64_t *ix = mt_data(indices), *e = mt_data(ends);
  for (int64_t k = 0, at = 0; t && k < ends->numel; k++) {
    int64_t n = 0;
    for (; at < e[k]; at++) n += ix[at] != padding;
    ((double *)mt_data(t))[k] = n ? (double)n : 1;
  }
  return t ? mt_cast(c, t, d) : NULL;
}
/* input as a flat list of indices that are inside the table, and where its bags end. */
static bool bags_of(Ctx *c, Tensor **input, Tensor *weight, Tensor *offsets, bool last,
                    Tensor **psw, Tensor **ends) {
  Tensor *x = *input;
  if (x->dtype != MT_int64 && x->dtype != MT_int32)
    { mt_fail(c, "input must be an int64 tensor, got %s", mt_dtypes[x->dtype].name); return false; }
  if (x->ndim == 2 && offsets)
    {
    mt_fail(c, "if input is 2D, then offsets has to be None, as input is treated is a mini-batch "
               "of fixed length sequences");
    return false;
  }
  if (x->ndim == 1 && (!offsets || offsets->ndim != 1))
    { mt_fail(c, "offsets has to be a 1D Tensor%s", offsets ? "" : " but got None"); return false; }
  if (x->ndim != 1 && x->ndim != 2) {
    mt_fail(c, "input has to be 1D or 2D Tensor, but got Tensor of dimension %d", x->ndim);
    return false;
  }
  if (x->ndim == 1 && offsets->dtype != MT_int64 && offsets->dtype != MT_int32)
    { mt_fail(c, "offsets must be an int64 tensor, got %s", mt_dtypes[offsets->dtype].name);
    return false; }
  if (x->ndim == 2) {
    Tensor *e = *ends = mt_new(c, LIST(x->size[0]), MT_int64, MT_CPU);
    for (int64_t i = 0; e && i < e->numel; i++) ((int64_t *)mt_data(e))[i] = (i + 1) * x->size[1];
  } else *ends = bag_ends(c, offsets, x->numel, last);
  if (!*ends) return false;
  int64_t n = (*ends)->numel ? ((int64_t *)mt_data(*ends))[(*ends)->numel - 1] : 0;
  x = t_reshape(c, mt_contig_as(c, x, MT_int64), LIST(-1));
  int64_t bad = x ? mt_index_kerns()->check(mt_data(x), 1, x->numel, weight->size[0]) : -1;
  if (bad >= 0) {
    mt_fail(c, "index %lld is out of range for %lld embeddings",
            (long long)((int64_t *)mt_data(x))[bad], (long long)weight->size[0]);
    return false;
  }
  if (*psw) *psw = t_narrow(c, t_reshape(c, *psw, LIST(-1)), 0, 0, n);
  *input = x ? mt_contig(c, t_narrow(c, x, 0, 0, n)) : NULL;
  return !c->err;
}
Tensor *k_F_embedding_bag(Ctx *c, Tensor *input, Tensor *weight, Tensor *offsets, Scalar max_norm,
                          double norm_type, bool scale,
                          const char *mode, bool sparse, Tensor *psw, bool last, int64_t padding) {
  Tensor *ends;
  Val r[2];
  bool most = !strcmp(mode, "max"), mean = !strcmp(mode, "mean");
  if (mt_is_float(input->dtype) && weight->dtype == MT_int64)
    { Tensor *t = input; input = weight; weight = t; }  /* the old order */
  if (!most && !mean && strcmp(mode, "sum"))
    return mt_fail(c, "mode has to be one of sum, mean or max");
  if (most && scale)
    return mt_fail(c, "max mode does not support scaling the gradient by the frequency");
  if (weight->ndim != 2)
    return mt_fail(c, "weight has to be a 2D Tensor, but got Tensor of dimension %d", weight->ndim);
  if (!mt_is_float(weight->dtype)) return mt_fail(c, "not implemented for '%s'",
                                                  mt_type_word((DType)weight->dtype));
  if (psw && (psw->ndim != input->ndim || memcmp(psw->size, input->size,
                                                 sizeof(int64_t) * psw->ndim)))
    return mt_fail(c, "per_sample_weights %s must have the same shape as the input %s", SHAPE(psw),
                   SHAPE(input));
  if (psw && psw->dtype != weight->dtype)
    return mt_fail(c, "expected per_sample_weights of weight's dtype %s, got %s",
                   mt_dtypes[weight->dtype].name, mt_dtypes[psw->dtype].name);
  if (psw && (most || mean))
    return mt_fail(c, "per_sample_weights is only supported for mode='sum' (got mode='%s')", mode);
  if (padding != MT_NONE_INT && (padding >= weight->size[0] || padding < -weight->size[0]))
    return mt_fail(c,
                   "padding_idx must be within the number of embeddings, -%lld through %lld but "
                   "got padding_idx %lld",
                   (long long)weight->size[0], (long long)weight->size[0] - 1, (long long)padding);
  if (padding == MT_NONE_INT) padding = -1;
  else if (padding < 0) padding += weight->size[0];
  if (mt_meta(weight) || mt_meta(input) || (offsets && mt_meta(offsets))) { /* the shape alone */
    int64_t bags = input->ndim == 2 ? input->size[0] : offsets ? offsets->numel - last : 0;
    return t_index_select(c, weight, 0, mt_new(c, LIST(bags > 0 ? bags : 0), MT_int64, MT_META));
  }
  Tensor *all = input;
  if (!bags_of(c, &input, weight, offsets, last, &psw, &ends)) return NULL;
  if (mt_has(max_norm) && !shorten_rows(c, weight, all, mt_sre(max_norm), norm_type)) return NULL;
  if (most) {
    t__embedding_bag_max(c, weight, input, ends, padding, r);
    return c->err ? NULL : r[0].t;
  }
  Tensor *s = t__embedding_bag(c, weight, input, ends, psw, padding, scale);
  return mean ? t_div(c, s, bag_sizes(c, input, ends, padding, (DType)weight->dtype), NULL) : s;
}

/* ---- one-hot ---- */
Tensor *k_F_one_hot(Ctx *c, Tensor *input, int64_t num_classes) {
  int64_t shape[MT_MAXDIM], most = -1;
  if (input->dtype != MT_int64) return mt_fail(c, "needs an int64 tensor of classes, got %s",
                                               mt_dtypes[input->dtype].name);
  Tensor *x = mt_contig(c, input);
  if (!x) return NULL;
  const int64_t *p = mt_data(x);
  if (!x->numel && num_classes <= 0)
    return mt_fail(c, "cannot tell the number of classes from an empty tensor; pass num_classes");
  if (num_classes < -1 || (num_classes == 0 && x->numel))
    return mt_fail(c, "num_classes must be positive, got %lld", (long long)num_classes);
  for (int64_t i = 0; i < x->numel; i++) {
    if (p[i] < 0) return mt_fail(c, "class values must be 0 or more, got %lld", (long long)p[i]);
    if (p[i] > most) most = p[i];
  }
  if (num_classes == -1) num_classes = most + 1;
  else if (most >= num_classes)
    return mt_fail(c, "class values must be smaller than num_classes %lld, got %lld",
                   (long long)num_classes, (long long)most);
  memcpy(shape, input->size, sizeof(int64_t) * input->ndim);
  shape[input->ndim] = num_classes;
  Tensor *out = t_zeros(c, mt_il(shape, input->ndim + 1), MT_int64, -1, -1, -1, false);
  if (!out) return NULL;
  for (int64_t i = 0; i < x->numel; i++) ((int64_t *)mt_data(out))[i * num_classes + p[i]] = 1;
  return out;
}
