/* data.c: kernels of ops_data.def: segments, indices, layouts, rounding to grids, products of
 * groups.  All but the fake quantization's are made of other ops. */
#include "expr_rt.h"
#include "op.h"
#include <math.h>
#include <string.h>

#define LIST(...)                            \
  mt_il((const int64_t[]){__VA_ARGS__},      \
        (int64_t)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))
#define SHAPE(t) mt_list_str(c, mt_sizes(t))

static Tensor *whole(Ctx *c, int64_t v) { return mt_wrap(c, mt_si(v)); }

/* ---- segments ---- */
typedef struct Segments {
  int64_t rows, count, each;
} Segments; /* of each batch: positions, segments */

/* For every position of the flattened axes up to axis, its segment's number, or that of a spare
 * last one. */
static Tensor *segment_ids(Ctx *c, const Tensor *data, Tensor *given, bool lengths, int axis,
                           bool unsafe, Segments *s) {
  int64_t batch = 1, per = given->size[axis];
  for (int i = 0; i < axis; i++) batch *= data->size[i];
  *s = (Segments){data->size[axis], lengths ? per : per - 1, batch};
  Tensor *v = mt_contig_as(c, given, MT_int64),
         *ids = mt_new(c, LIST(batch * s->rows), MT_int64, MT_CPU);
  if (!v || !ids) return NULL;
  int64_t *id = mt_data(ids), spare = batch * s->count;
  for (int64_t b = 0; b < batch; b++) {
    const int64_t *x = (const int64_t *)mt_data(v) + b * per;
    int64_t at = 0, from, to, *row = id + b * s->rows;
    for (int64_t i = 0; i < s->rows; i++) row[i] = spare;
    for (int64_t k = 0; k < s->count; k++) {
      from = lengths ? at : x[k];
      to = lengths ? at + x[k] : x[k + 1];
      if (lengths && x[k] < 0) return mt_fail(c, "lengths contains negative value!");
      if (from < 0 || to > s->rows || (!lengths && to < from))
        return mt_fail(c,
                       lengths ? "Expected all rows of lengths along axis to sum to "
                                 "data.size(lengths.dim()-1) when !unsafe."
                               : "offsets must not decrease nor leave the axis of size %lld",
                       (long long)s->rows);
      for (int64_t i = from; i < to; i++) row[i] = b * s->count + k;
      at = to;
    }
    if (lengths && !unsafe && at != s->rows)
      return mt_fail(c, "Expected all rows of lengths along axis to sum to "
                        "data.size(lengths.dim()-1) when !unsafe.");
  }
  return ids;
}
Tensor *k_segment_reduce(Ctx *c, Tensor *data, const char *reduce, Tensor *lengths, Tensor *indices,
                         Tensor *offsets, int64_t axis, bool unsafe, Scalar initial) {
  static const struct { const char *name, *how; double start;
  } kinds[] = {{"sum", "sum", 0},
               {"mean", "sum", 0},
               {"max", "amax", -INFINITY},
               {"min", "amin", INFINITY},
               {"prod", "prod", 1}};
  int kind = 0;
  while (kind < 5 && !mt_streq(reduce, kinds[kind].name)) kind++;
  if (kind == 5)
    return mt_fail(
        c, "Expected reduction to be one of 'sum', 'mean', 'max', 'min', 'prod', got '%s'", reduce);
  if (indices) return mt_fail(c, "indices based reduction is not supported yet.");
  if (!lengths && !offsets) return mt_fail(c, "Either lengths or offsets must be defined.");
  if (data->numel == 0) return mt_fail(c, "data must not be empty");
  Tensor *given = lengths ? lengths : offsets;
  int ax = mt_dim(c, axis, data->ndim);
  if (ax < 0) return NULL;
  if (given->ndim != ax + 1 || memcmp(given->size, data->size, sizeof(int64_t) * (size_t)ax))
    return mt_fail(c,
                   "Expected axis to be the last dimension of %s (shape %s) and the ones before to "
                   "be data's (%s)",
                   lengths ? "lengths" : "offsets", SHAPE(given), SHAPE(data));
  if (!lengths && given->size[ax] < 1) return mt_fail(c, "offsets needs at least one entry");
  Segments s;
  Tensor *ids = segment_ids(c, data, given, lengths != NULL, ax, unsafe, &s);
  if (!ids) return NULL;
  int64_t n = s.each * s.count, width = data->numel / (s.each * s.rows), size[MT_MAXDIM];
  Scalar start = mt_has(initial) ? initial : mt_sd(kinds[kind].start);
  Tensor *from = t_new_full(c, data, LIST(n + 1, width), start, data->dtype, -1, -1, -1, false);
  Tensor *rows = t_reshape(c, data, LIST(s.each * s.rows, width));
  Tensor *r = kind < 2 ? t_index_add(c, from, 0, ids, rows, mt_si(1))
                       : t_scatter_reduce(c, from, 0,
                                          t_expand(c, t_unsqueeze(c, ids, -1),
                                                   LIST(s.each * s.rows, width), false),
                                          rows, kinds[kind].how, true);
  if (kind == 1) {
    Tensor *one = t_new_full(c, ids, LIST(ids->numel), mt_si(1), data->dtype, -1, -1, -1, false);
    Tensor *count = t_index_add(c, t_new_zeros(c, data, LIST(n + 1), -1, -1, -1, -1, false), 0, ids,
                                one, mt_si(1));
    if (mt_has(initial))
      count = t_clamp(c, count, whole(c, 1), NULL); /* an empty segment keeps the initial value */
    r = t_div(c, r, t_unsqueeze(c, count, -1), NULL);
  }
  for (int i = 0; i < data->ndim; i++) size[i] = i == ax ? s.count : data->size[i];
  return t_reshape(c, t_narrow(c, r, 0, 0, n), mt_il(size, data->ndim));
}

/* ---- indices, powers, correlations ---- */
TensorList k_unravel_index(Ctx *c, Tensor *indices, IntList shape) {
  TensorList l = {mt_tmp(c, sizeof(Tensor *) * (size_t)(shape.n + 1)), shape.n};
  int64_t total = 1;
  if (!l.v) return (TensorList){NULL, 0};
  if (!mt_is_int(indices->dtype) || indices->dtype == MT_bool)
    mt_fail(c, "expected 'indices' to be integer dtype, but got %s",
            mt_dtypes[indices->dtype].name);
  for (int64_t i = 0; i < shape.n; i++)
    if (shape.v[i] < 0)
      mt_fail(c, "'shape' cannot have negative values, but got %s", mt_list_str(c, shape));
  for (int64_t i = shape.n - 1; i >= 0 && !c->err; i--) {
    int64_t size = shape.v[i] > 0 ? shape.v[i] : 1;
    l.v[i] = t_remainder(c, t_div(c, indices, whole(c, total), "floor"), whole(c, size));
    if (__builtin_mul_overflow(total, size, &total))
      mt_fail(c, "shape %s has too many elements", mt_list_str(c, shape));
  }
  return c->err ? (TensorList){NULL, 0} : l;
}
Tensor *k_vander(Ctx *c, Tensor *x, int64_t N, bool increasing) {
  if (x->ndim != 1) return mt_fail(c, "x must be a one-dimensional tensor.");
  int64_t n = N == MT_NONE_INT ? x->size[0] : N;
  if (n < 0) return mt_fail(c, "N must be non-negative.");
  DType d = mt_promote((DType)x->dtype, MT_int64);
  Tensor *one = t_new_full(c, x, LIST(x->size[0], n > 0), mt_si(1), d, -1, -1, -1, false), *r = one;
  if (n > 1) {
    Tensor *wide = t_expand(c, t_unsqueeze(c, t_to_dtype(c, x, d, false, -1), 1),
                            LIST(x->size[0], n - 1), false);
    r = t_cat(c, (TensorList){(Tensor *[]){one, t_cumprod(c, wide, 1, -1)}, 2}, 1);
  }
  return increasing ? r : t_flip(c, r, LIST(1));
}
static Tensor *within_one(Ctx *c, Tensor *x) { return t_clamp(c, x, whole(c, -1), whole(c, 1)); }
Tensor *k__corrcoef(Ctx *c, Tensor *x) {
  if (x->ndim == 0) return t_div(c, x, x, NULL);
  Tensor *d = t_diag(c, x, 0), *s = t_sqrt(c, mt_is_complex(x->dtype) ? t_real(c, d) : d);
  Tensor *r = t_div(c, t_div(c, x, t_unsqueeze(c, s, 1), NULL), t_unsqueeze(c, s, 0), NULL);
  if (!r || !mt_is_complex(x->dtype)) return within_one(c, r);
  return t_complex(c, within_one(c, t_real(c, r)), within_one(c, t_imag(c, r)));
}

/* ---- creation ---- */
Tensor *k_range(Ctx *c, Scalar start, Scalar end, Scalar step, int dtype, int layout, int device,
                int pin, bool grad) {
  double a = mt_sre(start), z = mt_sre(end), by = mt_sre(step), count = floor((z - a) / by) + 1;
  if (by == 0) return mt_fail(c, "step must be nonzero");
  if (!isfinite(a) || !isfinite(z)) return mt_fail(c, "unsupported range: %g -> %g", a, z);
  if ((by > 0) != (a <= z) && a != z)
    return mt_fail(c, "upper bound and lower bound inconsistent with step sign");
  if (count > 1e15) return mt_fail(c, "the range has too many elements");
  DType d = dtype < 0 ? c->default_dtype : (DType)dtype;
  Tensor *r = t_empty(c, LIST((int64_t)count), d, layout, device, pin, grad, -1);
  if (!r || mt_meta(r)) return r;
  bool ints = mt_is_int(d) && start.kind < K_FLOAT && step.kind < K_FLOAT;
  for (int64_t i = 0; i < r->numel; i++)
    mt_store((char *)mt_data(r) + (size_t)i * mt_dsize(d), d,
             ints ? mt_si(start.i + i * step.i) : mt_sd(a + (double)i * by));
  return r;
}
Tensor *k_empty_permuted(Ctx *c, IntList size, IntList order, int dtype, int layout, int device,
                         int pin, bool grad) {
  int64_t stride[MT_MAXDIM], acc = 1;
  bool seen[MT_MAXDIM] = {false};
  if (size.n != order.n || size.n > MT_MAXDIM)
    return mt_fail(c,
                   "Number of dimensions in size does not match the length of the physical_layout; "
                   "i.e. len(size) = %lld is not equal to len(physical_layout) = %lld",
                   (long long)size.n, (long long)order.n);
  for (int64_t i = order.n - 1; i >= 0; i--) {
    int64_t d = order.v[i];
    if (d < 0 || d >= size.n)
      return mt_fail(c, "Dimension out of range (expected to be between 0 and %lld, but got %lld)",
                     (long long)size.n - 1, (long long)d);
    if (seen[d]) return mt_fail(c, "Duplicate dim not allowed");
    seen[d] = true;
    stride[d] = acc;
    if (__builtin_mul_overflow(acc, size.v[d] > 1 ? size.v[d] : 1, &acc)) acc = INT64_MAX;
  }
  return t_empty_strided(c, size, mt_il(stride, size.n), dtype, layout, device, pin, grad);
}
Tensor *k_nonzero_static(Ctx *c, Tensor *self, int64_t size, int64_t fill) {
  if (size < 0) return mt_fail(c, "'size' must be an non-negative integer");
  Tensor *at = t_nonzero(c, self, false);
  if (!at) return NULL;
  if (at->size[0] >= size) return t_clone(c, t_narrow(c, at, 0, 0, size), 0);
  Tensor *rest =
      t_new_full(c, at, LIST(size - at->size[0], at->size[1]), mt_si(fill), -1, -1, -1, -1, false);
  return t_cat(c, (TensorList){(Tensor *[]){at, rest}, 2}, 0);
}

/* ---- in place ---- */
Tensor *k_fill_diagonal_(Ctx *c, Tensor *self, Scalar value, bool wrap) {
  if (self->ndim < 2) return mt_fail(c, "dimensions must larger than 1");
  int64_t n = self->size[0], step = 0;
  for (int i = 0; i < self->ndim; i++) {
    if (self->ndim > 2 && self->size[i] != n)
      return mt_fail(c, "all dimensions of input must be of equal length");
    if (self->size[i] < n) n = self->size[i];
    step += self->stride[i];
  }
  t_fill_(c, t_as_strided(c, self, LIST(n), LIST(step), self->offset), value);
  int64_t m = self->size[0], w = self->size[1];
  if (wrap && self->ndim == 2 && m > w + 1) {          /* a tall matrix: again from row w + 1 on */
    int64_t left = m * w - w * (w + 1), count = (left + w) / (w + 1);
    if (self->stride[0] == self->stride[1] * w)
      t_fill_(
          c,
          t_as_strided(c, self, LIST(count), LIST(step), self->offset + self->stride[0] * (w + 1)),
          value);
    else
      for (int64_t i = 0; i < count && !c->err; i++) {
        int64_t k = w * (w + 1) + i * (w + 1);
        t_fill_(c, t_select(c, t_select(c, self, 0, k / w), 0, k % w), value);
      }
  }
  return c->err ? NULL : self;
}
Tensor *k_resize_as_(Ctx *c, Tensor *self, Tensor *like, int fmt) {
  return t_resize_(c, self, mt_sizes(like), fmt) ? self : NULL;
}
Tensor *k__same_count(Ctx *c, Tensor *self, IntList size) {
  int64_t n = 0;
  if (!mt_numel(c, size, &n)) return NULL;
  if (n != self->numel)
    return mt_fail(c,
                   "requested resize to %s (%lld elements), but the given tensor has a size of %s "
                   "(%lld elements)",
                   mt_list_str(c, size), (long long)n, SHAPE(self), (long long)self->numel);
  return t_reshape(c, self, size);
}

/* ---- rounding to a grid ---- */
/* The grid's number of each element before it is cut to the range; in float, as the scale is. */
static Tensor *grid(Ctx *c, Tensor *x, Tensor *scale, Tensor *zero) {
  Tensor *q = t_round(c, t_mul(c, x, t_reciprocal(c, scale)), 0);
  return t_add(c, q, zero, mt_si(1));
}
Tensor *k__fake_quantize(Ctx *c, Tensor *x, Tensor *scale, Tensor *zero, int64_t lo, int64_t hi) {
  Tensor *q = t_clamp(c, grid(c, x, scale, zero), whole(c, lo), whole(c, hi));
  return t_to_dtype(c, t_mul(c, t_sub(c, q, zero, mt_si(1)), scale), x->dtype, false, -1);
}
Tensor *k__fake_quantize_mask(Ctx *c, Tensor *x, Tensor *scale, Tensor *zero, int64_t lo,
                              int64_t hi) {
  Tensor *q = grid(c, x, scale, zero);
  return t_logical_and(c, t_ge(c, q, whole(c, lo)), t_le(c, q, whole(c, hi)));
}
static bool grid_ok(Ctx *c, const Tensor *x, int64_t lo, int64_t hi, int64_t zero, bool check) {
  if (!mt_is_float(x->dtype))
    mt_fail(c, "expected a floating point tensor, got %s", mt_dtypes[x->dtype].name);
  else if (lo > hi)
    mt_fail(c, "`quant_min` should be less than or equal to `quant_max`.");
  else if (check && (zero < lo || zero > hi))
    mt_fail(c, "`zero_point` must be between `quant_min` and `quant_max`.");
  return !c->err;
}
Tensor *k_fake_quantize_per_tensor_affine(Ctx *c, Tensor *x, double scale, int64_t zero, int64_t lo,
                                          int64_t hi) {
  if (!grid_ok(c, x, lo, hi, zero, true)) return NULL;
  IntList one =
      x->ndim ? LIST(1) : mt_il(NULL, 0); /* not 0-dim beside half types: these compute in float */
  return t__fake_quantize(c, x, t_full(c, one, mt_sd(scale), MT_float32, -1, -1, -1, false),
                          t_full(c, one, mt_si(zero), MT_int32, -1, -1, -1, false), lo, hi);
}
Tensor *k_fake_quantize_per_tensor_affine_tensor_qparams(Ctx *c, Tensor *x, Tensor *scale,
                                                         Tensor *zero, int64_t lo, int64_t hi) {
  if (!grid_ok(c, x, lo, hi, 0, false)) return NULL;
  if (scale->numel != 1 || zero->numel != 1)
    return mt_fail(c, "scale and zero_point must hold one element each");
  IntList one = x->ndim ? LIST(1) : mt_il(NULL, 0);
  return t__fake_quantize(c, x, t_reshape(c, scale, one), t_reshape(c, zero, one), lo, hi);
}
Tensor *k_fake_quantize_per_channel_affine(Ctx *c, Tensor *x, Tensor *scale, Tensor *zero,
                                           int64_t axis, int64_t lo, int64_t hi) {
  int64_t size[MT_MAXDIM];
  if (!grid_ok(c, x, lo, hi, 0, false)) return NULL;
  if (axis < 0 || axis >= x->ndim)
    return mt_fail(c, "`axis` must be between 0 and number of dimensions of input");
  if (scale->ndim != 1 || zero->ndim != 1 || scale->numel != zero->numel ||
      scale->numel != x->size[axis])
    return mt_fail(
        c, "scale and zero_point need one entry for each of the %lld slices, got shapes %s and %s",
        (long long)x->size[axis], SHAPE(scale), SHAPE(zero));
  Val v[2];
  t_aminmax(c, t_detach(c, zero), MT_NONE_INT, false, v);
  if (c->err) return NULL;
  if (zero->numel &&
      (mt_sre(mt_item(c, v[0].t)) < (double)lo || mt_sre(mt_item(c, v[1].t)) > (double)hi))
    return mt_fail(c, "`zero_point` must be between `quant_min` and `quant_max`.");
  for (int i = 0; i < x->ndim; i++) size[i] = i == axis ? x->size[i] : 1;
  return t__fake_quantize(c, x, t_reshape(c, scale, mt_il(size, x->ndim)),
                          t_reshape(c, zero, mt_il(size, x->ndim)), lo, hi);
}

/* ---- products of groups ---- */
Tensor *k_F_grouped_mm(Ctx *c, Tensor *a, Tensor *b, Tensor *offs, Tensor *bias, int dtype) {
  bool fa = a->ndim == 2, fb = b->ndim == 2;
  if (a->ndim < 2 || a->ndim > 3 || b->ndim < 2 || b->ndim > 3)
    return mt_fail(c, "mat_a and mat_b must have 2 or 3 dimensions, got shapes %s and %s", SHAPE(a),
                   SHAPE(b));
  if (bias) return mt_fail(c, "Bias not supported yet");
  if ((fa || fb) != (offs != NULL))
    return mt_fail(
        c, "Have to provide offsets if there is a 2d matrix, or no offset if both matrices are 3d");
  Tensor *r = NULL;
  if (!offs) r = t_bmm(c, a, b);
  else {
    Tensor *o = offs->ndim == 1 ? mt_contig_as(c, offs, MT_int64)
                                : mt_fail(c, "offs has to be 1D, got shape %s", SHAPE(offs));
    int64_t g = o ? o->numel : 0, at = 0, most = fa ? fb ? a->size[1] : a->size[0] : b->size[1];
    Tensor **part = mt_tmp(c, sizeof(Tensor *) * (size_t)(g + 1));
    if (!o || !part) return NULL;
    if ((!fa && a->size[0] != g) || (!fb && b->size[0] != g))
      return mt_fail(c, "matrix batch sizes have to match: %lld offsets, shapes %s and %s",
                     (long long)g, SHAPE(a), SHAPE(b));
    for (int64_t i = 0; i < g; i++) {
      int64_t end = ((const int64_t *)mt_data(o))[i], n = end - at;
      if (n < 0 || end > most)
        return mt_fail(c, "offs must not decrease nor exceed %lld, got %lld", (long long)most,
                       (long long)end);
      Tensor *x = !fa ? t_select(c, a, 0, i) : t_narrow(c, a, fb ? 1 : 0, at, n);
      Tensor *y = !fb ? t_select(c, b, 0, i) : t_narrow(c, b, fa ? 0 : 1, at, n);
      part[i] = t_mm(c, x, y);
      at = end;
    }
    TensorList l = {part, g};
    if (fa && fb) r = t_stack(c, l, 0);
    else {
      if (at < most) { /* what lies behind the last offset belongs to no group */
        Tensor *rest = fa ? t_new_zeros(c, a, LIST(most - at, b->size[2]), -1, -1, -1, -1, false)
                          : t_new_zeros(c, a, LIST(a->size[1], most - at), -1, -1, -1, -1, false);
        part[g] = rest;
        l.n++;
      }
      r = t_cat(c, l, fa ? 0 : 1);
    }
  }
  return r && dtype >= 0 ? t_to_dtype(c, r, dtype, false, -1) : r;
}
