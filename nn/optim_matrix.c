/* optim_matrix.c: the optimizers that look at a whole matrix at once: Adafactor and Muon, in the
 * order of PyTorch's operations.
 *
 * Adafactor on contiguous float32 or float64 matrices is three passes over the gradient without
 * temporary matrices. */
#include "optim.h"
#include <math.h>
#include <string.h>

static Tensor *num(Ctx *c, double v) { return mt_wrap(c, mt_sd(v)); }
static double item(Ctx *c, Tensor *t) { return t ? mt_sre(mt_item(c, t)) : 0; }
static double norm2(Ctx *c, Tensor *t) {
  return item(c, t_norm(c, t, mt_si(2), mt_ilnone(), false, -1));
}
static double root(double x) { return pow(x, 0.5); }

/* The mean of g * g along the dim-th dimension from the end; row or column factor. */
static Tensor *mean_square(Ctx *c, Tensor *g, int64_t dim) {
  Tensor *n = t_norm(c, g, mt_si(2), mt_il(&dim, 1), true, -1);
  return t_div_(c, t_square_(c, n), mt_wrap(c, mt_si(g->size[g->ndim + dim])), NULL);
}
static Tensor *variance(Ctx *c, Tensor *g, Tensor **s, double keep, double eps1) {
  const int64_t rows = -2;
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
  return dtype == MT_float64   ? 0x1p-52
         : dtype == MT_float32 ? 0x1p-23
         : dtype == MT_float16 ? 0x1p-10
                               : 0x1p-7;
}

static bool whole(Ctx *c, const char *name, Tensor *p, Tensor *g) {
  if (!mt_is_float(p->dtype))
    mt_fail(c, "%s: parameters must be floating point, got %s", name, mt_dtypes[p->dtype].name);
  else if (g->dtype != p->dtype)
    mt_fail(c, "%s: the gradient is %s but the parameter is %s", name, mt_dtypes[g->dtype].name,
            mt_dtypes[p->dtype].name);
  return !c->err;
}

/* ---- the passes over contiguous matrices ---- */
typedef struct {
  const MtOptRowKerns *k;
  char *p;
  const char *g, *col; /* col: the columns' state of this matrix */
  const double *row_var;
  double *part, *cols; /* per piece: a sum; column sums */
  double *row_mean;
  int64_t n, width, esize, piece; /* width: elements of a row; piece: rows of a piece */
  MtOptRow q;
} Pass;

static void sums_pass(void *ctx, int64_t lo, int64_t hi) {
  Pass *x = ctx;
  for (int64_t piece = lo; piece < hi; piece++) {
    double *col = x->cols + piece * x->width;
    for (int64_t r = piece * x->piece; r < x->n && r < (piece + 1) * x->piece; r++)
      x->row_mean[r] =
          x->k->row_col(x->width, x->g + r * x->width * x->esize, col) / (double)x->width;
  }
}
static void update_pass(void *ctx, int64_t lo, int64_t hi) {
  Pass *x = ctx;
  for (int64_t piece = lo; piece < hi; piece++) {
    MtOptRow q = x->q;
    for (int64_t r = piece * x->piece; r < x->n && r < (piece + 1) * x->piece; r++) {
      q.row = x->row_var[r];
      x->part[piece] += x->k->update_squares(x->width, x->g + r * x->width * x->esize, x->col, &q);
    }
  }
}
static void apply_pass(void *ctx, int64_t lo, int64_t hi) {
  Pass *x = ctx;
  for (int64_t r = lo; r < hi; r++) {
    MtOptRow q = x->q;
    int64_t at = r * x->width * x->esize;
    q.row = x->row_var[r];
    x->k->apply(x->width, x->p + at, x->g + at, x->col, &q);
  }
}
static void norm_pass(void *ctx, int64_t lo, int64_t hi) {
  Pass *x = ctx;
  for (int64_t i = lo; i < hi; i++) {
    int64_t from = i * x->piece, len = x->n - from < x->piece ? x->n - from : x->piece;
    x->part[i] = x->k->squares(len, x->p + from * x->esize);
  }
}

enum { BLOCK = 65536 }; /* elements of a piece at least */
static double load(const Tensor *t, int64_t i) {
  return mt_sre(mt_load((char *)mt_data(t) + i * (int64_t)mt_dsize(t->dtype), (DType)t->dtype));
}
static void store(Tensor *t, int64_t i, double v) {
  mt_store((char *)mt_data(t) + i * (int64_t)mt_dsize(t->dtype), (DType)t->dtype, mt_sd(v));
}
static double toward(double from, double to, double w,
                     bool single) { /* lerp in the state's dtype */
  if (single) {
    float a = (float)from, b = (float)to, c = (float)w;
    return c < 0.5f ? a + c * (b - a) : b + (c - 1) * (b - a);
  }
  return w < 0.5 ? from + w * (to - from) : to + (w - 1) * (to - from);
}

static double whole_norm(Ctx *c, Tensor *p, const MtOptRowKerns *k) {
  Pass x = {
      .k = k, .p = mt_data(p), .n = p->numel, .esize = (int64_t)mt_dsize(p->dtype), .piece = BLOCK};
  int64_t pieces = (x.n + BLOCK - 1) / BLOCK;
  double s = 0;
  if (!(x.part = mt_tmp(c, sizeof(double) * (size_t)(pieces + 1)))) return 0;
  mt_parallel(pieces, 1, norm_pass, &x);
  for (int64_t i = 0; i < pieces; i++) s += x.part[i];
  return sqrt(s);
}

/* Row and column state of matrix m take the gradient in; the rows' values (as doubles) and their
 * mean go to x. */
static void factors(Pass *x, Tensor **s, int64_t m, double keep, double eps1, double *row_value) {
  int64_t pieces = (x->n + x->piece - 1) / x->piece;
  bool single = s[1]->dtype == MT_float32;
  double sum = 0;
  mt_parallel(pieces, 1, sums_pass, x);
  for (int64_t r = 0; r < x->n; r++) {
    row_value[r] = toward(load(s[1], m * x->n + r), x->row_mean[r], keep, single);
    store(s[1], m * x->n + r, row_value[r]);
    sum += row_value[r];
  }
  for (int64_t j = 0; j < x->width; j++) {
    double t = 0;
    for (int64_t i = 0; i < pieces; i++) t += x->cols[i * x->width + j];
    store(s[2], m * x->width + j,
          toward(load(s[2], m * x->width + j), t / (double)x->n, keep, single));
  }
  sum /= (double)x->n;
  x->q.mean = sum < eps1 ? eps1 : sum;
  x->row_var = row_value;
}

typedef struct {
  double keep, eps1, alpha, decay, d;
} Factored;
static void factored(Ctx *c, const Factored *f, Tensor *p, Tensor *g, Tensor **s,
                     const MtOptRowKerns *k, bool negate) {
  int64_t rows = g->size[g->ndim - 2], width = g->size[g->ndim - 1], size = rows * width,
          count = size ? g->numel / size : 0;
  if (!count) return;
  int64_t piece = BLOCK / width + 1, pieces = (rows + piece - 1) / piece;
  Pass *x = mt_tmp(c, sizeof *x * (size_t)count);
  double *value = mt_tmp(c, sizeof(double) * (size_t)(count * rows)), sum = 0;
  double *room = mt_tmp(c, sizeof(double) * (size_t)(pieces * width + rows + pieces));
  if (!x || !value || !room) return;
  for (int64_t m = 0; m < count; m++) {
    int64_t es = (int64_t)mt_dsize(p->dtype), at = m * size * es;
    memset(room, 0, sizeof(double) * (size_t)(pieces * width + rows + pieces));
    x[m] = (Pass){.k = k,
                  .p = (char *)mt_data(p) + at,
                  .g = (char *)mt_data(g) + at,
                  .col = (char *)mt_data(s[2]) + m * width * es,
                  .cols = room,
                  .row_mean = room + pieces * width,
                  .part = room + pieces * width + rows,
                  .n = rows,
                  .width = width,
                  .esize = es,
                  .piece = piece,
                  .q = {.least = f->eps1 * f->eps1, .decay = f->decay}};
    factors(&x[m], s, m, f->keep, f->eps1, value + m * rows);
    mt_parallel(pieces, 1, update_pass, &x[m]);
    for (int64_t i = 0; i < pieces; i++) sum += x[m].part[i];
  }
  double over = sqrt(sum) / (root((double)p->numel) * f->d),
         step = -f->alpha / (over > 1 ? over : 1);
  for (int64_t m = 0; m < count; m++) {
    x[m].q.step = negate ? -step : step;
    mt_parallel(rows, piece, apply_pass, &x[m]);
  }
  p->st->version++;
  s[1]->st->version++;
  s[2]->st->version++;
}

static bool plain(const Tensor *t, DType d) {
  return t && t->dtype == d && !(t->flags & (MT_CONJ | MT_NEG)) && mt_is_contiguous(t);
}
static const MtOptRowKerns *rows_of(Tensor *p, Tensor *g, Tensor **s) {
  DType d = (DType)p->dtype;
  if ((d != MT_float32 && d != MT_float64) || g->ndim < 2 || !plain(p, d) || !plain(g, d) ||
      !plain(s[1], d) || !plain(s[2], d))
    return NULL;
  int64_t w = g->size[g->ndim - 1], h = g->size[g->ndim - 2];
  if (!g->numel || s[1]->numel != g->numel / w || s[2]->numel != g->numel / h) return NULL;
  return &nn_opt_kernels()->rows[d == MT_float64];
}

void nn_opt_adafactor(Ctx *c, const NnOptions *o, Tensor *p, Tensor *g, Tensor **s) {
  if (!whole(c, "Adafactor", p, g)) return;
  const MtOptRowKerns *k = rows_of(p, g, s);
  double step = item(c, s[0]) + 1, keep = pow(step, o->beta2_decay), rho = 1 / root(step);
  double eps1 = o->no_eps1 ? machine_eps(p->dtype) : o->eps,
         size = (k ? whole_norm(c, p, k) : norm2(c, p)) / root((double)p->numel);
  if (c->err) return;
  mt_store(mt_data(s[0]), (DType)s[0]->dtype, mt_sd(step));
  double alpha = (size > o->eps2 ? size : o->eps2) * (o->lr < rho ? o->lr : rho);
  double decay = o->weight_decay != 0 ? 1 - o->lr * o->weight_decay : 1;
  if (k) {
    Factored f = {keep, eps1, alpha, decay, o->d};
    factored(c, &f, p, g, s, k, o->maximize);
    return;
  }
  if (o->maximize) g = t_neg(c, g);
  if (o->weight_decay != 0) t_mul_(c, p, num(c, decay));
  Tensor *var = variance(c, g, s, keep, eps1);
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
  t_div_(c, x, t_clamp_min(c, t_norm(c, x, mt_si(2), mt_ilnone(), false, -1), num(c, o->eps)),
         NULL);
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
  if (g->ndim != 2) {
    mt_fail(c, "Muon: the gradient must be a 2D matrix, got shape %s", mt_list_str(c, mt_sizes(g)));
    return;
  }
  if (o->ns_steps >= 100) {
    mt_fail(c, "Muon: ns_steps must be less than 100, got %lld", (long long)o->ns_steps);
    return;
  }
  double rows = (double)p->size[0], cols = (double)p->size[1], lr = o->lr;
  t_lerp_(c, s[0], g, num(c, 1 - o->momentum));
  Tensor *update = orthogonal(c, o, o->nesterov ? t_lerp(c, g, s[0], num(c, o->momentum)) : s[0]);
  if (o->adjust_lr_fn == 'o') lr *= sqrt(rows / cols > 1 ? rows / cols : 1);
  else if (o->adjust_lr_fn == 'm') lr *= 0.2 * sqrt(rows > cols ? rows : cols);
  t_mul_(c, p, num(c, 1 - o->lr * o->weight_decay));
  t_add_(c, p, update, mt_sd(-lr));
}
