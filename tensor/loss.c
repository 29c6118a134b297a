/* loss.c: kernels of ops_loss.def.
 *
 * All but the parts named there are made of ops, so that they can be differentiated any number of
 * times.  Inputs of 16 bits are summed in float. */
#include "expr_rt.h"
#include "iter.h"

#define LIST(...)                                                            \
  mt_il((const int64_t[]){__VA_ARGS__},                                      \
        (int64_t)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))
#define STOP(...) { mt_fail(c, __VA_ARGS__); return NULL; }
#define SHAPE(t) mt_list_str(c, mt_sizes(t))
static Tensor *num(Ctx *c, double x) { return mt_wrap(c, mt_sd(x)); }
static Tensor *whole(Ctx *c, int64_t x) { return mt_wrap(c, mt_si(x)); }
static Tensor *add(Ctx *c, Tensor *a, Tensor *b) { return t_add(c, a, b, mt_si(1)); }
static Tensor *sub(Ctx *c, Tensor *a, Tensor *b) { return t_sub(c, a, b, mt_si(1)); }
static Tensor *mul(Ctx *c, Tensor *a, Tensor *b) { return t_mul(c, a, b); }
static Tensor *over(Ctx *c, Tensor *a, Tensor *b) { return t_div(c, a, b, NULL); }
static Tensor *to(Ctx *c, Tensor *t, int dtype) {
  return t && t->dtype != dtype ? t_to_dtype(c, t, dtype, false, -1) : t;
}
static bool small(int d) { return d == MT_float16 || d == MT_bfloat16; }
static bool same_shape(const Tensor *a, const Tensor *b) {
  return a->ndim == b->ndim && !memcmp(a->size, b->size, sizeof(int64_t) * a->ndim);
}
static bool floating(Ctx *c, const Tensor *t) {
  if (mt_is_float(t->dtype)) return true;
  mt_fail(c, "not implemented for '%s'", mt_type_word((DType)t->dtype));
  return false;
}

/* ---- reduction ---- */
/* The old arguments decide where one of them is given. */
static const char *resolved(const char *how, int average, int reduce) {
  return average >= 0 || reduce >= 0 ? (reduce == 0 ? "none" : average == 0 ? "sum" : "mean") : how;
}
static Tensor *reduced(Ctx *c, Tensor *t, const char *how) {
  if (!strcmp(how, "mean")) return t_mean(c, t, -1);
  if (!strcmp(how, "sum")) return t_sum(c, t, -1);
  return !strcmp(how, "none") ? t : mt_fail(c, "%s is not a valid value for reduction", how);
}
Tensor *k__reduced(Ctx *c, Tensor *self, const char *how, int average, int reduce) {
  return reduced(c, self, resolved(how, average, reduce));
}
#define REDUCED(t) reduced(c, t, resolved(how, average, reduce))

/* ---- differences ---- */
static Tensor *weighted(Ctx *c, Tensor *l, Tensor *input, Tensor *weight) {
  if (weight && !same_shape(weight, input))
    STOP("weights and input must have the same size, got %s and %s", SHAPE(weight), SHAPE(input))
  return weight ? mul(c, l, weight) : l;
}
Tensor *k_F_mse_loss(Ctx *c, Tensor *x, Tensor *y, int average, int reduce, const char *how,
                     Tensor *weight) {
  return REDUCED(weighted(c, t__squared_difference(c, x, y), x, weight));
}
Tensor *k_F_l1_loss(Ctx *c, Tensor *x, Tensor *y, int average, int reduce, const char *how,
                    Tensor *weight) {
  return REDUCED(weighted(c, t_abs(c, sub(c, x, y)), x, weight));
}
Tensor *k_F_smooth_l1_loss(Ctx *c, Tensor *x, Tensor *y, int average, int reduce, const char *how,
                           double beta) {
  if (beta < 0) STOP("smooth_l1_loss does not support negative values for beta, got %g", beta)
  return REDUCED(beta == 0 ? t_abs(c, sub(c, x, y)) : t__smooth_l1(c, x, y, beta));
}
Tensor *k_F_huber_loss(Ctx *c, Tensor *x, Tensor *y, const char *how, double delta,
                       Tensor *weight) {
  if (!(delta > 0)) STOP("huber_loss does not support non-positive values for delta, got %g", delta)
  return reduced(c, weighted(c, t__huber(c, x, y, delta), x, weight), how);
}

/* ---- binary cross entropy ---- */
Tensor *k_F_binary_cross_entropy(Ctx *c, Tensor *x, Tensor *y, Tensor *weight, int average,
                                 int reduce, const char *how) {
  if (!same_shape(x, y))
    STOP("Using a target size (%s) that is different to the input size (%s) is deprecated. Please "
         "ensure they have the same size.",
         SHAPE(y), SHAPE(x))
  if (!floating(c, x)) return NULL;
  if (!mt_meta(x)) {
    Tensor *in = t_logical_and(c, t_ge(c, x, whole(c, 0)), t_le(c, x, whole(c, 1)));
    Tensor *fine = t_all(c, t_logical_or(c, in, t_isnan(c, x)));
    if (!fine || !mt_sint(mt_item(c, fine))) STOP("all elements of input should be between 0 and 1")
  }
  Tensor *l = t__bce(c, x, y);
  return REDUCED(weight ? mul(c, l, weight) : l);
}
Tensor *k_F_binary_cross_entropy_with_logits(Ctx *c, Tensor *x, Tensor *y, Tensor *weight,
                                             int average, int reduce, const char *how,
                                             Tensor *pos_weight) {
  if (!same_shape(x, y)) STOP("Target size (%s) must be the same as input size (%s)", SHAPE(y),
                              SHAPE(x))
  Tensor *l;
  if (pos_weight || small(x->dtype)) {     /* (1 - y) x - (1 + (pos_weight - 1) y) logsigmoid(x) */
    Tensor *part = t_log_sigmoid(c, x);
    if (pos_weight) part = mul(c, add(c, mul(c, sub(c, pos_weight, whole(c, 1)), y), whole(c, 1)),
                               part);
    l = sub(c, mul(c, sub(c, whole(c, 1), y), x), part);
  } else l = t__bce_logits(c, x, y);
  return REDUCED(weight ? mul(c, l, weight) : l);
}
Tensor *k_F_multilabel_soft_margin_loss(Ctx *c, Tensor *x, Tensor *y, Tensor *weight, int average,
                                        int reduce, const char *how) {
  if (!x->ndim) STOP("input must have at least 1 dimension")
  Tensor *yes = mul(c, y, t_log_sigmoid(c, x)),
      *no = mul(c, sub(c, whole(c, 1), y), t_log_sigmoid(c, t_neg(c, x)));
  Tensor *l = t_neg(c, add(c, yes, no));
  if (weight) l = mul(c, l, weight);
  return REDUCED(over(c, t_sum_dim(c, l, LIST(-1), false, -1), whole(c, x->size[x->ndim - 1])));
}

/* ---- likelihoods and divergences ---- */
Tensor *k_F_kl_div(Ctx *c, Tensor *x, Tensor *y, int average, int reduce, const char *how,
                   bool log_target) {
  how = resolved(how, average, reduce);
  Tensor *l = log_target ? mul(c, t_exp(c, y), sub(c, y, x))
      : sub(c, t_xlogy(c, y, y), mul(c, y, x));
  if (strcmp(how, "batchmean")) return reduced(c, l, how);
  l = t_sum(c, l, -1);
  return x->ndim ? over(c, l, whole(c, x->size[0])) : l;
}
Tensor *k_F_poisson_nll_loss(Ctx *c, Tensor *x, Tensor *y, bool log_input, bool full, int average,
                             double eps, int reduce,
                             const char *how) {
  Tensor *l = log_input ? sub(c, t_exp(c, x), mul(c, y, x))
      : sub(c, x, mul(c, y, t_log(c, add(c, x, num(c, eps)))));
  if (full) {                              /* Stirling's approximation of log(y!), for y > 1 */
    Tensor *s = add(c, sub(c, mul(c, y, t_log(c, y)), y),
                    mul(c, num(c, 0.5), t_log(c, mul(c, y, num(c, 6.283185307179586)))));
    l = add(c, l, t_masked_fill(c, s, t_le(c, y, whole(c, 1)), mt_si(0)));
  }
  return REDUCED(l);
}
/* var with a last dimension where it lacks one; it must fit input but for one dimension of size 1.
 */
static Tensor *fitting(Ctx *c, Tensor *x, Tensor *var) {
  if (same_shape(x, var) || !var->ndim) return var;
  if (var->ndim == x->ndim - 1 && !memcmp(x->size, var->size, sizeof(int64_t) * var->ndim))
    return t_unsqueeze(c, var, -1);
  int64_t off = 0;
  for (int i = 0; i < x->ndim && var->ndim == x->ndim; i++)
    if (var->size[i] != x->size[i]) off += var->size[i];
  return var->ndim == x->ndim && off == 1 ? var
      : mt_fail(c, "var is of incorrect size: %s for an input of %s", SHAPE(var), SHAPE(x));
}
Tensor *k_F_gaussian_nll_loss(Ctx *c, Tensor *x, Tensor *y, Tensor *var, bool full, double eps,
                              const char *how) {
  if (!mt_meta(var)) {
    Tensor *bad = t_any(c, t_lt(c, var, whole(c, 0)));
    if (!bad || mt_sint(mt_item(c, bad))) STOP("var has negative entry/entries")
  }
  if (!(var = fitting(c, x, var))) return NULL;
  Tensor *least = t_clamp_min(c, t_detach(c, var), num(c, eps)), *d = sub(c, x, y);
  var = add(c, sub(c, var, t_detach(c, var)), least);   /* held at eps, but with var's gradient */
  Tensor *l = mul(c, num(c, 0.5), add(c, t_log(c, var), over(c, mul(c, d, d), var)));
  return reduced(c, full ? add(c, l, num(c, 0.9189385332046727)) : l, how);
}

/* ---- margins ---- */
Tensor *k_F_soft_margin_loss(Ctx *c, Tensor *x, Tensor *y, int average, int reduce,
                             const char *how) {
  return REDUCED(t_log1p(c, t_exp(c, mul(c, t_neg(c, y), x))));
}
Tensor *k_F_margin_ranking_loss(Ctx *c, Tensor *x1, Tensor *x2, Tensor *y, double margin,
                                int average, int reduce, const char *how) {
  if (x1->ndim != x2->ndim || x1->ndim != y->ndim)
    STOP("margin_ranking_loss : All input tensors should have same dimension but got sizes: "
         "input1: %s, input2: %s, target: %s",
         SHAPE(x1), SHAPE(x2), SHAPE(y))
  return REDUCED(t_clamp_min(c, add(c, mul(c, t_neg(c, y), sub(c, x1, x2)), num(c, margin)),
                             whole(c, 0)));
}
Tensor *k_F_hinge_embedding_loss(Ctx *c, Tensor *x, Tensor *y, double margin, int average,
                                 int reduce, const char *how) {
  Tensor *far = t_clamp_min(c, sub(c, num(c, margin), x), whole(c, 0)), *one = whole(c, 1),
      *minus = whole(c, -1), *zero = whole(c, 0);
  return REDUCED(add(c, t_where(c, t_ne(c, y, one), far, zero),
                     t_where(c, t_ne(c, y, minus), x, zero)));
}
Tensor *k_F_cosine_embedding_loss(Ctx *c, Tensor *x1, Tensor *x2, Tensor *y, double margin,
                                  int average, int reduce, const char *how) {
  if (y->ndim > 1) STOP("0D or 1D target tensor expected, multi-target not supported")
  if (y->ndim == 1 ? x1->ndim != 2 || x2->ndim != 2 : x1->ndim != 1 || x2->ndim != 1)
    STOP("%dD target tensor expects %dD input tensors, but found inputs with sizes %s and %s.",
         y->ndim, y->ndim + 1, SHAPE(x1), SHAPE(x2))
  Tensor *eps = num(c, 1e-12), *zero = whole(c, 0);
  Tensor *dot = t_sum_dim(c, mul(c, x1, x2), LIST(-1), false, -1);
  Tensor *a = add(c, t_sum_dim(c, mul(c, x1, x1), LIST(-1), false, -1), eps);
  Tensor *b = add(c, t_sum_dim(c, mul(c, x2, x2), LIST(-1), false, -1), eps);
  Tensor *cosine = over(c, dot, t_sqrt(c, mul(c, a, b)));
  Tensor *near = sub(c, t_ones_like(c, cosine, -1, -1, -1, -1, false, -1), cosine);
  Tensor *far = t_clamp_min(c, sub(c, cosine, num(c, margin)), zero);
  return REDUCED(add(c, t_where(c, t_eq(c, y, whole(c, 1)), near, zero),
                     t_where(c, t_eq(c, y, whole(c, -1)), far, zero)));
}
Tensor *k_F_triplet_margin_loss(Ctx *c, Tensor *a, Tensor *p, Tensor *n, double margin, double ord,
                                double eps, bool swap, int average,
                                int reduce, const char *how) {
  if (!(margin > 0)) STOP("margin must be greater than 0, got %g", margin)
  if (a->ndim != p->ndim || a->ndim != n->ndim)
    STOP("The anchor, positive, and negative tensors are expected to have the same number of "
         "dimensions, but got: anchor %dD, "
         "positive %dD, and negative %dD inputs",
         a->ndim, p->ndim, n->ndim)
  Tensor *near = t_F_pairwise_distance(c, a, p, ord, eps, false),
      *far = t_F_pairwise_distance(c, a, n, ord, eps, false);
  if (swap) far = t_minimum(c, far, t_F_pairwise_distance(c, p, n, ord, eps, false));
  return REDUCED(t_clamp_min(c, sub(c, add(c, near, num(c, margin)), far), whole(c, 0)));
}
/* Every target a whole number of 0 .. classes - 1 (or -1 where open is set). */
static bool in_range(Ctx *c, Tensor *target, int64_t classes, int64_t least, int64_t ignore) {
  Tensor *t = mt_contig_as(c, target, MT_int64);
  const int64_t *v = t && !mt_meta(t) ? mt_data(t) : NULL;
  for (int64_t i = 0; v && i < t->numel; i++)
    if ((v[i] < least || v[i] >= classes) && v[i] != ignore) {
      mt_fail(c, "Target %lld is out of bounds (%lld classes).", (long long)v[i],
              (long long)classes);
      return false;
    }
  return !c->err;
}
/* x as [rows, classes] and target as [rows (, classes)]; single: the result is a number. */
static bool as_rows(Ctx *c, Tensor **x, Tensor **target, bool per_class, bool *single) {
  Tensor *t = *x, *y = *target;
  int64_t rows = t->ndim < 2 ? 1 : t->size[0];
  *single = per_class ? t->ndim < 2 : y->ndim == 0;
  if (t->ndim > 2 || (t->ndim && !t->size[t->ndim - 1]) ||
      (per_class ? !same_shape(t, y) : y->ndim > 1 || y->numel != rows)) {
    mt_fail(c, "inconsistent target size: %s for an input of %s", SHAPE(y), SHAPE(t));
    return false;
  }
  int64_t classes = t->ndim ? t->size[t->ndim - 1] : 1;
  *x = t_reshape(c, t, LIST(-1, classes));
  *target = per_class ? t_reshape(c, y, LIST(-1, classes)) : t_reshape(c, y, LIST(-1));
  return !c->err;
}
Tensor *k_F_multi_margin_loss(Ctx *c, Tensor *x, Tensor *y, Scalar p, Scalar margin,
                              Tensor *weight, int average, int reduce, const char *how) {
  bool single;
  double ord = mt_sre(p);
  if (ord != 1 && ord != 2) STOP("only p == 1 and p == 2 supported")
  if (y->dtype != MT_int64) STOP("expected a target of int64, got %s", mt_dtypes[y->dtype].name)
  if (!floating(c, x) || !as_rows(c, &x, &y, false, &single)) return NULL;
  int64_t classes = x->size[1];
  if (weight && weight->numel != classes) STOP("inconsistent weight size: %s for %lld classes",
                                               SHAPE(weight), (long long)classes)
  if (!in_range(c, y, classes, 0, 0)) return NULL;
  Tensor *at = t_unsqueeze(c, y, 1);
  Tensor *z = add(c, sub(c, x, t_gather(c, x, 1, at, false)), mt_wrap(c, margin));
  z = t_masked_fill(c, z, t_logical_not(c, t_gt(c, z, whole(c, 0))), mt_si(0)); /* nan counts 0 */
  if (ord == 2) z = mul(c, z, z);
  if (weight) z = mul(c, z, t_unsqueeze(c, t_index_select(c, t_reshape(c, weight, LIST(-1)), 0, y),
                                        1));
  z = t_scatter_value(c, z, 1, at, mt_si(0));
  z = over(c, t_sum_dim(c, z, LIST(1), false, -1), whole(c, classes));
  return REDUCED(single ? t_squeeze_dim(c, z, LIST(0)) : z);
}
/* The rows of doubles or floats: loss 1/n sum over targets t and other classes i of max(0, 1 - x[t]
 * + x[i]). */
#define MULTILABEL(T)                                                                        \
static void multilabel_##T(int64_t n, const T *x, const int64_t *y, T *loss, T *slope, char *is) { \
  double s = 0;                                                                              \
  memset(is, 0, (size_t)n);                                                                  \
  for (int64_t i = 0; i < n; i++) slope[i] = 0;                                              \
  for (int64_t k = 0; k < n && y[k] >= 0; k++) is[y[k]] = 1;                                 \
  for (int64_t k = 0; k < n && y[k] >= 0; k++)                                               \
    for (int64_t i = 0; i < n; i++) {                                                        \
      T z = 1 - x[y[k]] + x[i];                                                              \
      if (is[i] || !(z > 0)) continue;                                                       \
      s += (double)z;                                                                        \
      slope[i] += (T)1 / (T)n;                                                               \
      slope[y[k]] -= (T)1 / (T)n;                                                            \
    }                                                                                        \
  *loss = (T)(s / (double)n);                                                                \
}
MULTILABEL(float)
MULTILABEL(double)
void k__multilabel_margin(Ctx *c, Tensor *self, Tensor *target, Val *r) {
  DType d = self->dtype == MT_float64 ? MT_float64 : MT_float32;
  int64_t rows = self->size[0], n = self->size[1];
  Tensor *x = mt_contig_as(c, self, d), *y = mt_contig(c, target),
      *loss = mt_new(c, LIST(rows), d, MT_CPU);
  Tensor *slope = mt_new(c, LIST(rows, n), d, MT_CPU);
  char *is = mt_tmp(c, (size_t)n + 1);
  if (c->err) return;
  for (int64_t i = 0; i < rows; i++) {
    const int64_t *at = (int64_t *)mt_data(y) + i * n;
    if (d == MT_float64) multilabel_double(n, (double *)mt_data(x) + i * n, at,
                                           (double *)mt_data(loss) + i,
                                               (double *)mt_data(slope) + i * n, is);
    else multilabel_float(n, (float *)mt_data(x) + i * n, at, (float *)mt_data(loss) + i,
                          (float *)mt_data(slope) + i * n, is);
    if (mt_poll(c)) return;
  }
  r[0].t = mt_cast(c, loss, (DType)self->dtype);
  r[1].t = mt_cast(c, slope, (DType)self->dtype);
}
Tensor *k_F_multilabel_margin_loss(Ctx *c, Tensor *x, Tensor *y, int average, int reduce,
                                   const char *how) {
  bool single;
  Val r[2];
  if (y->dtype != MT_int64) STOP("expected a target of int64, got %s", mt_dtypes[y->dtype].name)
  if (!floating(c, x) || !as_rows(c, &x, &y, true, &single) || !in_range(c, y, x->size[1], -1, 0))
    return NULL;
  t__multilabel_margin(c, x, y, r);
  return c->err ? NULL : REDUCED(single ? t_squeeze_dim(c, r[0].t, LIST(0)) : r[0].t);
}

/* ---- classes ---- */
/* Log-probabilities [n, classes, ...] and targets: the negative weighted log-probability of each
 * target, and its weight. */
static Tensor *picked(Ctx *c, Tensor *x, Tensor *target, Tensor *weight, int64_t ignore,
                      Tensor **weights) {
  int64_t ch = x->ndim > 1 ? 1 : 0;
  int acc = small(x->dtype) ? MT_float32 : x->dtype;
  if (target->ndim != x->ndim - 1 || (target->dtype != MT_int64 && target->dtype != MT_uint8))
    STOP("target of shape %s (%s) does not fit input of shape %s", SHAPE(target),
         mt_dtypes[target->dtype].name, SHAPE(x))
  for (int i = 0, j = 0; i < x->ndim; i++)
    if (i != ch && x->size[i] != target->size[j++])
      STOP("size mismatch (got input: %s, target: %s)", SHAPE(x), SHAPE(target))
  if (weight && (weight->ndim != 1 || weight->size[0] != x->size[ch]))
    STOP("weight tensor should be defined either for all %lld classes or no classes but got weight "
         "tensor of shape: %s",
         (long long)x->size[ch], SHAPE(weight))
  if (!in_range(c, target, x->size[ch], 0, ignore)) return NULL;
  Tensor *skip = t_eq(c, target, whole(c, ignore));
  Tensor *safe = to(c, t_masked_fill(c, target, skip, mt_si(0)), MT_int64);
  Tensor *w = weight && safe ? to(c, t_reshape(c,
                                               t_index_select(c, weight, 0,
                                                   t_reshape(c, safe, LIST(safe->numel))),
                                                       mt_sizes(target)), acc)
                             : t_ones(c, mt_sizes(target), acc, -1, -1, -1, false);
  *weights = t_masked_fill(c, w, skip, mt_si(0));
  Tensor *p = to(c, t_squeeze_dim(c, t_gather(c, x, ch, t_unsqueeze(c, safe, ch), false),
                                  LIST(ch)), acc);
  return t_neg(c, t_masked_fill(c, mul(c, p, *weights), skip, mt_si(0)));
}
Tensor *k_F_nll_loss(Ctx *c, Tensor *x, Tensor *target, Tensor *weight, int average,
                     int64_t ignore, int reduce, const char *how) {
  Tensor *w = NULL, *l = x->ndim ? picked(c, x, target, weight, ignore, &w)
      : mt_fail(c, "expected at least 1 dimension");
  how = resolved(how, average, reduce);
  if (!l) return NULL;
  return to(c, strcmp(how, "mean") ? reduced(c, l, how)
            : over(c, t_sum(c, l, -1), t_sum(c, w, -1)), x->dtype);
}
/* Targets that are probabilities. */
static Tensor *soft_targets(Ctx *c, Tensor *x, Tensor *lp, Tensor *target, Tensor *wc, int64_t ch,
                            const char *how, double smoothing) {
  int64_t n = x->size[ch];
  if (!same_shape(x, target)) STOP("input and target shapes differ: %s and %s", SHAPE(x),
                                   SHAPE(target))
  if (smoothing > 0) target = add(c, mul(c, target, num(c, 1 - smoothing)),
                                  num(c, smoothing / (double)n));
  Tensor *l = mul(c, lp, target);
  l = t_neg(c, t_sum_dim(c, wc ? mul(c, l, wc) : l, LIST(ch), false, -1));
  if (strcmp(how, "mean")) return reduced(c, l, how);
  return over(c, t_sum(c, l, -1), num(c, (double)(n ? x->numel / n : 0)));
}
Tensor *k_F_cross_entropy(Ctx *c, Tensor *x, Tensor *target, Tensor *weight, int average,
                          int64_t ignore, int reduce, const char *how,
                          double smoothing) {
  if (!x->ndim) STOP("expected at least 1 dimension")
  if (smoothing < 0 || smoothing > 1) STOP("label_smoothing must be between 0.0 and 1.0. Got: %g",
                                           smoothing)
  int64_t ch = x->ndim > 1 ? 1 : 0, n = x->size[ch], per[MT_MAXDIM];
  for (int i = 0; i < x->ndim; i++) per[i] = i == ch ? n : 1;
  how = resolved(how, average, reduce);
  Tensor *lp = t_log_softmax(c, x, ch, -1), *wc = weight && weight->numel == n
      ? t_reshape(c, weight, mt_il(per, x->ndim)) : NULL;
  if (target->ndim == x->ndim && mt_is_float(target->dtype))
    return soft_targets(c, x, lp, target, wc, ch, how, smoothing);
  Tensor *w = NULL, *l = lp ? picked(c, lp, target, weight, ignore, &w) : NULL;
  if (!l) return NULL;
  if (smoothing > 0) {
    Tensor *all = to(c, t_neg(c, t_sum_dim(c, wc ? mul(c, lp, wc) : lp, LIST(ch), false, -1)),
                     l->dtype);
    all = t_masked_fill(c, all, t_eq(c, target, whole(c, ignore)), mt_si(0));
    l = add(c, mul(c, l, num(c, 1 - smoothing)), mul(c, all, num(c, smoothing / (double)n)));
  }
  return to(c, strcmp(how, "mean") ? reduced(c, l, how)
            : over(c, t_sum(c, l, -1), t_sum(c, w, -1)), x->dtype);
}
