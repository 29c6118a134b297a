/* differ.c: differences, numerical gradients and quantiles: composites of ops_shape.def and
 * ops_reduce.def. */
#include "op.h"
#include <string.h>

#define IL(...)                                                                             \
  mt_il((const int64_t[]){__VA_ARGS__}, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

Tensor *k_diff(Ctx *c, Tensor *self, int64_t n, int64_t dim, Tensor *prepend, Tensor *append) {
  int d = mt_dim(c, dim, self->ndim), m = 0;
  Tensor *part[3];
  if (d < 0) return NULL;
  if (!self->ndim) return mt_fail(c, "needs at least 1 dimension");
  if (n < 0) return mt_fail(c, "n must be 0 or more, got %lld", (long long)n);
  if (n == 0) return t_clone(c, self, -1);
  if (prepend) part[m++] = prepend;
  part[m++] = self;
  if (append) part[m++] = append;
  for (int i = 0; i < m; i++)
    if (part[i]->ndim != self->ndim)
      return mt_fail(c, "prepend and append must have self's %d dimensions, got %d", self->ndim,
                     part[i]->ndim);
  Tensor *x = m > 1 ? t_cat(c, (TensorList){part, m}, d) : self;
  for (int64_t i = 0; i < n && x; i++) {
    int64_t len = x->size[d];
    if (len == 0) return x;
    Tensor *hi = t_narrow(c, x, d, 1, len - 1), *lo = t_narrow(c, x, d, 0, len - 1);
    x = x->dtype == MT_bool ? t_logical_xor(c, hi, lo) : t_sub(c, hi, lo, mt_si(1));
  }
  return x;
}

/* ---- gradient: central differences inside, one-sided ones of the given order at both ends ---- */
typedef struct Slope { Tensor *x; int dim; int64_t n; int order; } Slope;

static Tensor *at(Ctx *c, const Slope *s, int64_t i) {
  return t_narrow(c, s->x, s->dim, i < 0 ? s->n + i : i, 1);
}
/* a x[i] + b x[i + 1] + d x[i + 2] of slices of length len; a, b and d broadcast. */
static Tensor *three(Ctx *c, const Slope *s, int64_t i, int64_t len, Tensor *a, Tensor *b,
                     Tensor *d) {
  Tensor *x = t_mul(c, a, t_narrow(c, s->x, s->dim, i, len));
  x = t_add(c, x, t_mul(c, b, t_narrow(c, s->x, s->dim, i + 1, len)), mt_si(1));
  return t_add(c, x, t_mul(c, d, t_narrow(c, s->x, s->dim, i + 2, len)), mt_si(1));
}
static Tensor *join(Ctx *c, const Slope *s, Tensor *pre, Tensor *mid, Tensor *post) {
  Tensor *part[3] = {pre, mid, post};
  return c->err ? NULL : t_cat(c, (TensorList){part, 3}, s->dim);
}

static Tensor *slope_even(Ctx *c, const Slope *s, Scalar h) {
  Tensor *step = mt_wrap(c, h), *pre, *post;
  Tensor *mid = t_sub(c, t_narrow(c, s->x, s->dim, 2, s->n - 2),
                      t_narrow(c, s->x, s->dim, 0, s->n - 2), mt_si(1));
  mid = t_div(c, t_div(c, mid, step, NULL), mt_wrap(c, mt_sd(2)), NULL);
  if (s->order == 1) {
    pre = t_div(c, t_sub(c, at(c, s, 1), at(c, s, 0), mt_si(1)), step, NULL);
    post = t_div(c, t_sub(c, at(c, s, -1), at(c, s, -2), mt_si(1)), step, NULL);
  } else {
    Tensor *half = t_div(c, mt_wrap(c, mt_sd(0.5)), step, NULL),
           *two = t_div(c, mt_wrap(c, mt_sd(2)), step, NULL);
    Tensor *more = t_div(c, mt_wrap(c, mt_sd(1.5)), step, NULL);
    pre = three(c, s, 0, 1, t_neg(c, more), two, t_neg(c, half));
    post = three(c, s, s->n - 3, 1, half, t_neg(c, two), more);
  }
  return join(c, s, pre, mid, post);
}

/* The weights of a slope through three points whose distances are p and q, at the first, middle or
 * last of them. */
static Tensor *through(Ctx *c, const Slope *s, int64_t i, int64_t len, Tensor *p, Tensor *q,
                       int where) {
  Scalar one = mt_si(1);
  Tensor *sum = t_add(c, p, q, one), *pq = t_mul(c, p, q), *psum = t_mul(c, p, sum),
         *qsum = t_mul(c, q, sum);
  Tensor *a, *b, *d;
  if (where < 0) {
    a = t_neg(c, t_div(c, t_add(c, sum, p, one), psum, NULL));
    b = t_div(c, sum, pq, NULL);
    d = t_neg(c, t_div(c, p, qsum, NULL));
  } else if (where > 0) {
    a = t_div(c, q, psum, NULL);
    b = t_neg(c, t_div(c, sum, pq, NULL));
    d = t_div(c, t_add(c, sum, q, one), qsum, NULL);
  } else {
    a = t_neg(c, t_div(c, q, psum, NULL));
    b = t_div(c, t_sub(c, q, p, one), pq, NULL);
    d = t_div(c, p, qsum, NULL);
  }
  return three(c, s, i, len, a, b, d);
}
static Tensor *slope_at(Ctx *c, const Slope *s, Tensor *coords) {
  int64_t shape[MT_MAXDIM], n = s->n;
  if (coords->ndim != 1 || coords->numel != n)
    return mt_fail(c, "the coordinates of dimension %d must be a vector of %lld, got shape %s",
                   s->dim, (long long)n, mt_list_str(c, mt_sizes(coords)));
  for (int i = 0; i < s->x->ndim; i++) shape[i] = i == s->dim ? n - 1 : 1;
  Tensor *h = t_reshape(c, t_diff(c, coords, 1, 0, NULL, NULL), mt_il(shape, s->x->ndim)), *pre,
         *post;
  int d = s->dim;
  if (!h) return NULL;
  Tensor *mid =
      through(c, s, 0, n - 2, t_narrow(c, h, d, 0, n - 2), t_narrow(c, h, d, 1, n - 2), 0);
  if (s->order == 1) {
    pre = t_div(c, t_sub(c, at(c, s, 1), at(c, s, 0), mt_si(1)), t_narrow(c, h, d, 0, 1), NULL);
    post =
        t_div(c, t_sub(c, at(c, s, -1), at(c, s, -2), mt_si(1)), t_narrow(c, h, d, n - 2, 1), NULL);
  } else {
    pre = through(c, s, 0, 1, t_narrow(c, h, d, 0, 1), t_narrow(c, h, d, 1, 1), -1);
    post = through(c, s, n - 3, 1, t_narrow(c, h, d, n - 3, 1), t_narrow(c, h, d, n - 2, 1), 1);
  }
  return join(c, s, pre, mid, post);
}

/* The steps come as one number, a number per dim, or a tensor of coordinates per dim. */
typedef struct Steps { Scalar all; const Scalar *each; Tensor **coords; int64_t n; } Steps;
static TensorList gradient(Ctx *c, Tensor *self, Steps steps, IntList dim, int64_t order) {
  TensorList l = {NULL, 0};
  bool seen[MT_MAXDIM] = {false};
  int64_t all = dim.n < 0 ? self->ndim : dim.n;
  if (self->dtype == MT_uint8) mt_fail(c, "does not support uint8 tensors");
  if (order != 1 && order != 2) mt_fail(c, "edge_order must be 1 or 2, got %lld", (long long)order);
  if ((steps.each || steps.coords) && steps.n != all)
    mt_fail(c, "spacing must have one entry for each of the %lld dimensions, got %lld",
            (long long)all, (long long)steps.n);
  if (c->err || !(l.v = mt_tmp(c, sizeof(Tensor *) * (size_t)(all + 1)))) return l;
  for (int64_t i = 0; i < all; i++) {
    int d = mt_dim(c, dim.n < 0 ? i : dim.v[i], self->ndim);
    if (d < 0) return l;
    if (seen[d]) { mt_fail(c, "dim %d appears twice in dim", d); return l; }
    seen[d] = true;
    Slope s = {self, d, self->ndim ? self->size[d] : 1, (int)order};
    if (s.n < order + 1) {
      mt_fail(c, "dimension %d must have at least edge_order + 1 = %lld elements, got %lld", d,
              (long long)order + 1, (long long)s.n);
      return l;
    }
    Tensor *t = steps.coords ? slope_at(c, &s, steps.coords[i])
                             : slope_even(c, &s, steps.each ? steps.each[i] : steps.all);
    if (!t) return l;
    l.v[l.n++] = t;
  }
  return l;
}
TensorList k_gradient(Ctx *c, Tensor *self, Scalar spacing, IntList dim, int64_t edge_order) {
  return gradient(c, self, (Steps){mt_has(spacing) ? spacing : mt_si(1), NULL, NULL, 0}, dim,
                  edge_order);
}
TensorList k_gradient_array(Ctx *c, Tensor *self, ScalarList spacing, IntList dim,
                            int64_t edge_order) {
  return gradient(c, self, (Steps){mt_si(1), spacing.v, NULL, spacing.n}, dim, edge_order);
}
TensorList k_gradient_coords(Ctx *c, Tensor *self, TensorList spacing, IntList dim,
                             int64_t edge_order) {
  return gradient(c, self, (Steps){mt_si(1), NULL, spacing.v, spacing.n}, dim, edge_order);
}

/* ---- quantiles: sort, then read between the two neighbours of each rank ---- */
static Tensor *quantile(Ctx *c, Tensor *self, Tensor *q, int64_t dim, bool keepdim, const char *how,
                        bool skip_nan) {
  static const char *const modes[] = {"linear", "lower", "higher", "midpoint", "nearest"};
  int mode = -1, d = dim == MT_NONE_INT ? 0 : mt_dim(c, dim, self->ndim);
  for (int i = 0; i < 5; i++) if (!strcmp(how, modes[i])) mode = i;
  if (d < 0) return NULL;
  if (self->dtype != MT_float32 && self->dtype != MT_float64)
    return mt_fail(c, "self must be float32 or float64, got %s", mt_dtypes[self->dtype].name);
  if (mode < 0)
    return mt_fail(
        c, "interpolation must be one of linear, lower, higher, midpoint and nearest, got '%s'",
        how);
  if (!self->numel) return mt_fail(c, "self must not be empty");
  if (q->ndim > 1)
    return mt_fail(c, "q must be a number or a vector, got shape %s", mt_list_str(c, mt_sizes(q)));
  if (q->dtype != self->dtype)
    return mt_fail(c, "q must have self's dtype %s, got %s", mt_dtypes[self->dtype].name,
                   mt_dtypes[q->dtype].name);
  Tensor *out_of = t_logical_not(
      c, t_logical_and(c, t_ge(c, q, mt_wrap(c, mt_si(0))), t_le(c, q, mt_wrap(c, mt_si(1)))));
  out_of = t_any(c, out_of);
  if (!out_of) return NULL;
  if (mt_sint(mt_item(c, out_of))) return mt_fail(c, "q must be between 0 and 1");

  Tensor *x = dim == MT_NONE_INT ? t_reshape(c, self, IL(-1))
              : self->ndim       ? t_movedim(c, self, IL(d), IL(-1))
                                 : t_reshape(c, self, IL(1));
  if (!x) return NULL;
  Val sorted[2];
  t_sort(c, x, -1, false, sorted);
  if (c->err) return NULL;
  Tensor *nan = t_isnan(c, x), *ranks, *last;
  int64_t n = x->size[x->ndim - 1];
  q = t_reshape(c, q, IL(-1));
  if (skip_nan) {
    last = t_sub(c, t_sum_dim(c, t_logical_not(c, nan), IL(-1), true, -1), mt_wrap(c, mt_si(1)),
                 mt_si(1));
    ranks = t_clamp_min(c, t_mul(c, q, last), mt_wrap(c, mt_si(0)));
  } else {
    last = mt_wrap(c, mt_si(n - 1));
    Tensor *bad = t_any_dim(c, nan, IL(-1), true);
    ranks = t_masked_fill(c, t_expand_as(c, t_mul(c, q, last), t_add(c, bad, q, mt_si(1))), bad,
                          mt_si(n - 1));
  }
  if (mode == 1) ranks = t_floor(c, ranks);
  if (mode == 2) ranks = t_ceil(c, ranks);
  if (mode == 4) ranks = t_round(c, ranks, 0);
  Tensor *below = t_to_dtype(c, ranks, MT_int64, false, -1);
  Tensor *out = t_gather(c, sorted[0].t, -1, below, false);
  if (mode == 0 || mode == 3) {
    Tensor *w = mode == 3 ? t_full_like(c, ranks, mt_sd(0.5), -1, -1, -1, -1, false, -1)
                          : t_sub(c, ranks, below, mt_si(1));
    Tensor *above =
        t_gather(c, sorted[0].t, -1, t_to_dtype(c, t_ceil(c, ranks), MT_int64, false, -1), false);
    out = t_lerp(c, out, above, w);
  }
  return out;
}
/* Brings the ranks' dimension (last) to its place: away for one q, in front for several; the
 * reduced one comes back on request. */
static Tensor *placed(Ctx *c, Tensor *out, const Tensor *self, bool many, int64_t dim,
                      bool keepdim) {
  if (!out) return NULL;
  if (keepdim) {
    int64_t shape[MT_MAXDIM];
    if (dim == MT_NONE_INT) {
      for (int i = 0; i < self->ndim; i++) shape[i] = 1;
      shape[self->ndim] = out->numel;
      out = t_reshape(c, out, mt_il(shape, self->ndim + 1));
    } else if (self->ndim) out = t_unsqueeze(c, out, mt_dim(c, dim, self->ndim));
  } else if (!self->ndim) out = t_reshape(c, out, IL(-1));
  return many ? t_movedim(c, out, IL(-1), IL(0)) : t_squeeze_dim(c, out, IL(-1));
}
Tensor *k_quantile(Ctx *c, Tensor *self, Tensor *q, int64_t dim, bool keepdim,
                   const char *interpolation) {
  return placed(c, quantile(c, self, q, dim, keepdim, interpolation, false), self, q->ndim > 0, dim,
                keepdim);
}
Tensor *k_nanquantile(Ctx *c, Tensor *self, Tensor *q, int64_t dim, bool keepdim,
                      const char *interpolation) {
  return placed(c, quantile(c, self, q, dim, keepdim, interpolation, true), self, q->ndim > 0, dim,
                keepdim);
}
static Tensor *rank_of(Ctx *c, Tensor *self, double q) {
  if (!(q >= 0 && q <= 1)) return mt_fail(c, "q must be between 0 and 1, got %g", q);
  return mt_cast(c, mt_wrap(c, mt_sd(q)),
                 mt_is_float(self->dtype) ? (DType)self->dtype : MT_float32);
}
Tensor *k_quantile_number(Ctx *c, Tensor *self, double q, int64_t dim, bool keepdim,
                          const char *interpolation) {
  return t_quantile(c, self, rank_of(c, self, q), dim, keepdim, interpolation);
}
Tensor *k_nanquantile_number(Ctx *c, Tensor *self, double q, int64_t dim, bool keepdim,
                             const char *interpolation) {
  return t_nanquantile(c, self, rank_of(c, self, q), dim, keepdim, interpolation);
}
