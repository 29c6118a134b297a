/* optim_matrix.c: the optimizers that look at a whole matrix at once: Adafactor and Muon, in the order of PyTorch's operations. */
#include "optim.h"
#include <math.h>

static Tensor *num(Ctx *c, double v) { return mt_wrap(c, mt_sd(v)); }
static double item(Ctx *c, Tensor *t) { return t ? mt_sre(mt_item(c, t)) : 0; }
static double norm2(Ctx *c, Tensor *t) { return item(c, t_norm(c, t, mt_si(2), mt_ilnone(), false, -1)); }
static double root(double x) { return pow(x, 0.5); }

/* The mean of g * g along the dim-th dimension from the end; row or column factor. */
static Tensor *mean_square(Ctx *c, Tensor *g, int64_t dim) {
  Tensor *n = t_norm(c, g, mt_si(2), mt_il(&dim, 1), true, -1);
  return t_div_(c, t_square_(c, n), mt_wrap(c, mt_si(g->size[g->ndim + dim])), NULL);
}
static Tensor *variance(Ctx *c, const NnOptions *o, Tensor *g, Tensor **s, double keep, double eps1) {
  const int64_t rows = -2;
  (void)o;
  if (g->ndim <= 1) {
    t_lerp_(c, s[3], t_mul(c, g, g), num(c, keep));
    return t_clone(c, s[3], -1);
  }
  t_lerp_(c, s[1], mean_square(c, g, -1), num(c, keep));
  t_lerp_(c, s[2], mean_square(c, g, -2), num(c, keep));
  Tensor *mean = t_mean_dim(c, s[1], mt_il(&rows, 1), true, -1);
  return t_div_(c, t_matmul(c, s[1], s[2]), t_clamp_min_(c, mean, num(c, eps1)), NULL);
}

static double machine_eps(int dtype) {
  return dtype == MT_float64 ? 0x1p-52 : dtype == MT_float32 ? 0x1p-23 : dtype == MT_float16 ? 0x1p-10 : 0x1p-7;
}

static bool whole(Ctx *c, const char *name, Tensor *p, Tensor *g) {
  if (!mt_is_float(p->dtype)) mt_fail(c, "%s: parameters must be floating point, got %s", name, mt_dtypes[p->dtype].name);
  else if (g->dtype != p->dtype) mt_fail(c, "%s: the gradient is %s but the parameter is %s", name, mt_dtypes[g->dtype].name,
                                         mt_dtypes[p->dtype].name);
  return !c->err;
}

void nn_opt_adafactor(Ctx *c, const NnOptions *o, Tensor *p, Tensor *g, Tensor **s) {
  if (!whole(c, "Adafactor", p, g)) return;
  double step = item(c, s[0]) + 1, keep = pow(step, o->beta2_decay), rho = 1 / root(step);
  double eps1 = o->no_eps1 ? machine_eps(p->dtype) : o->eps, size = norm2(c, p) / root((double)p->numel);
  if (c->err) return;
  mt_store(mt_data(s[0]), (DType)s[0]->dtype, mt_sd(step));
  if (o->maximize) g = t_neg(c, g);
  double alpha = (size > o->eps2 ? size : o->eps2) * (o->lr < rho ? o->lr : rho);
  if (o->weight_decay != 0) t_mul_(c, p, num(c, 1 - o->lr * o->weight_decay));
  Tensor *var = variance(c, o, g, s, keep, eps1);
  Tensor *update = t_mul_(c, t_rsqrt_(c, t_clamp_min_(c, var, num(c, eps1 * eps1))), g);
  if (!update) return;
  double over = norm2(c, update) / (root((double)update->numel) * o->d);
  t_add_(c, p, update, mt_sd(-alpha / (over > 1 ? over : 1)));
}

/* The nearest matrix with singular values near one, by Newton-Schulz iterations in bfloat16. */
static Tensor *orthogonal(Ctx *c, const NnOptions *o, Tensor *g) {
  bool tall = g->size[0] > g->size[1];
  Tensor *x = t_to_dtype(c, g, MT_bfloat16, g->dtype == MT_bfloat16, -1);
  if (tall) x = t_t(c, x);
  t_div_(c, x, t_clamp_min(c, t_norm(c, x, mt_si(2), mt_ilnone(), false, -1), num(c, o->eps)), NULL);
  for (int64_t i = 0; i < o->ns_steps && !c->err; i++) {
    Scope sc = mt_open(c);
    Tensor *gram = t_mm(c, x, t_t(c, x));
    Tensor *poly = t_addmm(c, gram, gram, gram, mt_sd(o->ns[1]), mt_sd(o->ns[2]));
    x = mt_close_with(c, sc, t_addmm(c, x, poly, x, mt_sd(o->ns[0]), mt_si(1)));
  }
  return tall ? t_t(c, x) : x;
}

void nn_opt_muon(Ctx *c, const NnOptions *o, Tensor *p, Tensor *g, Tensor **s) {
  if (!whole(c, "Muon", p, g)) return;
  if (g->ndim != 2) { mt_fail(c, "Muon: the gradient must be a 2D matrix, got shape %s", mt_list_str(c, mt_sizes(g))); return; }
  if (o->ns_steps >= 100) { mt_fail(c, "Muon: ns_steps must be less than 100, got %lld", (long long)o->ns_steps); return; }
  double rows = (double)p->size[0], cols = (double)p->size[1], lr = o->lr;
  t_lerp_(c, s[0], g, num(c, 1 - o->momentum));
  Tensor *update = orthogonal(c, o, o->nesterov ? t_lerp(c, g, s[0], num(c, o->momentum)) : s[0]);
  if (o->adjust_lr_fn == 'o') lr *= sqrt(rows / cols > 1 ? rows / cols : 1);
  else if (o->adjust_lr_fn == 'm') lr *= 0.2 * sqrt(rows > cols ? rows : cols);
  t_mul_(c, p, num(c, 1 - o->lr * o->weight_decay));
  t_add_(c, p, update, mt_sd(-lr));
}
