/* optim.c: steps of the elementwise optimizers: state, scalars, and the run over all parameters
 * (see optim.h). */
#include "optim.h"
#include "cpu.h"
#include <math.h>
#include <string.h>

const NnOptRow nn_opt_rows[NN_OPT_KINDS] = {
    [NN_SGD] = {"SGD", {"momentum_buffer"}},
    [NN_ADAM] = {"Adam", {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"}},
    [NN_ADAMAX] = {"Adamax", {"step", "exp_avg", "exp_inf"}},
    [NN_NADAM] = {"NAdam", {"step", "mu_product", "exp_avg", "exp_avg_sq"}},
    [NN_RADAM] = {"RAdam", {"step", "exp_avg", "exp_avg_sq"}},
    [NN_ADAGRAD] = {"Adagrad", {"step", "sum"}},
    [NN_ADADELTA] = {"Adadelta", {"step", "square_avg", "acc_delta"}},
    [NN_RMSPROP] = {"RMSprop", {"step", "square_avg", "momentum_buffer", "grad_avg"}},
    [NN_RPROP] = {"Rprop", {"step", "prev", "step_size"}},
    [NN_ASGD] = {"ASGD", {"step", "eta", "mu", "ax"}},
    [NN_ADAFACTOR] = {"Adafactor", {"step", "row_var", "col_var", "variance"}},
    [NN_MUON] = {"Muon", {"momentum_buffer"}}};

const MtOptKerns *nn_opt_kernels(void) {
  return MT_AT_LEVEL(&mt_opt_kerns);
}

/* ---- state ---- */
static Tensor *counter(Ctx *c, const NnOptions *o, double v) {
  return mt_scalar_tensor(c, mt_sd(v), o->wide_step ? MT_float64 : MT_float32);
}
static Tensor *filled(Ctx *c, Tensor *p, double v) {
  Scalar s = mt_is_complex(p->dtype) ? mt_sc(v, v) : mt_sd(v);
  return t_full_like(c, p, s, -1, -1, -1, -1, false, -1);
}
static Tensor *zeros(Ctx *c, Tensor *p) { return t_zeros_like(c, p, -1, -1, -1, -1, false, -1); }
/* Zeros of g's shape with size 1 in the dim-th dimension from the end. */
static Tensor *factor(Ctx *c, Tensor *g, int from_end) {
  int64_t size[MT_MAXDIM];
  memcpy(size, g->size, sizeof(int64_t) * g->ndim);
  size[g->ndim - from_end] = 1;
  Tensor *t = mt_new(c, mt_il(size, g->ndim), (DType)g->dtype, (Device)g->device);
  return t_zero_(c, t);
}

bool nn_opt_init(Ctx *c, const NnOptBatch *b, Tensor *p, Tensor *g, Tensor **s) {
  const NnOptions *o = b->o;
#define WANT(i, make) \
  if (!s[i]) s[i] = (make)
  if (b->kind != NN_SGD && b->kind != NN_MUON) WANT(0, counter(c, o, 0));
  switch (b->kind) {
    case NN_ADAM:
      WANT(1, zeros(c, p));
      WANT(2, zeros(c, p));
      if (o->amsgrad) WANT(3, zeros(c, p));
      break;
    case NN_NADAM:
      WANT(1, counter(c, o, 1));
      WANT(2, zeros(c, p));
      WANT(3, zeros(c, p));
      break;
    case NN_ADAMAX:
    case NN_RADAM:
    case NN_ADADELTA:
      WANT(1, zeros(c, p));
      WANT(2, zeros(c, p));
      break;
    case NN_ADAGRAD: WANT(1, filled(c, p, o->initial_accumulator_value)); break;
    case NN_RMSPROP:
      WANT(1, zeros(c, p));
      if (o->momentum > 0) WANT(2, zeros(c, p));
      if (o->centered) WANT(3, zeros(c, p));
      break;
    case NN_RPROP:
      WANT(1, zeros(c, p));
      WANT(2, filled(c, g, o->lr));
      break;
    case NN_ASGD:
      WANT(1, counter(c, o, o->lr));
      WANT(2, counter(c, o, 1));
      WANT(3, zeros(c, p));
      break;
    case NN_ADAFACTOR:
      if (g->ndim > 1) {
        WANT(1, factor(c, g, 1));
        WANT(2, factor(c, g, 2));
      } else WANT(3, zeros(c, g));
      break;
    case NN_MUON: WANT(0, zeros(c, g)); break;
    default: break;
  }
#undef WANT
  return !c->err;
}

/* ---- plans ---- */
static double value(Ctx *c, Tensor *t, const char *what, NnOptKind k) {
  if (t && t->numel == 1 && !mt_meta(t) && !mt_is_complex(t->dtype))
    return mt_sre(mt_load(mt_data(t), (DType)t->dtype));
  mt_fail(c, "%s: the state's '%s' must be a tensor of one number", nn_opt_rows[k].name, what);
  return 0;
}

/* A later value of a counter, and its value once stored in the counter's dtype. */
static double planned(NnOptItem *it, int i, Tensor *t, double v) {
  it->set[i].t = t;
  it->set[i].v = v;
  return t->dtype == MT_float64 ? v : (double)(float)v;
}

static MtOptLoop pick(int dtype, int loop) {
  static const int8_t row[MT_NDTYPES] = {[MT_float32] = 1,   [MT_float64] = 2,
                                         [MT_float16] = 3,   [MT_bfloat16] = 4,
                                         [MT_complex64] = 1, [MT_complex128] = 2};
  return row[dtype] ? nn_opt_kernels()->f[row[dtype] - 1][loop] : NULL;
}

static bool same_order(const Tensor *a, const Tensor *b) {
  for (int d = 0; d < a->ndim; d++)
    if (a->stride[d] != b->stride[d] && a->size[d] != 1) return false;
  return true;
}

/* Pointer i of the item: t's own memory where it lies in p's order without gaps, else that of a
 * contiguous copy. */
static bool operand(Ctx *c, NnOptItem *it, int i, Tensor *p, Tensor *t, bool dense, bool written,
                    NnOptKind k, const char *what) {
  if (!t) {
    mt_fail(c, "%s: the state lacks '%s'", nn_opt_rows[k].name, what);
    return false;
  }
  if (t->dtype != p->dtype || t->ndim != p->ndim ||
      memcmp(t->size, p->size, sizeof(int64_t) * p->ndim)) {
    mt_fail(c, "%s: '%s' is %s of shape %s, but the parameter is %s of shape %s",
            nn_opt_rows[k].name, what, mt_dtypes[t->dtype].name, mt_list_str(c, mt_sizes(t)),
            mt_dtypes[p->dtype].name, mt_list_str(c, mt_sizes(p)));
    return false;
  }
  if (mt_meta(t)) {
    mt_fail(c, "%s: '%s' is on the meta device and has no data", nn_opt_rows[k].name, what);
    return false;
  }
  Tensor *m = t;
  if (t->flags & (MT_CONJ | MT_NEG) || !dense || !same_order(p, t)) {
    Tensor *r = t_resolve_neg(c, t_resolve_conj(c, t));
    m = r && !mt_is_contiguous(r) ? mt_contig(c, r) : r;
    if (!m) return false;
    if (written && m != t) {
      it->back[i].to = t;
      it->back[i].from = m;
    }
  }
  it->ptr[i] = mt_data(m);
  if (written) it->touched[i] = t;
  return true;
}

static NnOptItem *grow(Ctx *c, NnOptBatch *b) {
  if (b->n == b->cap) {
    int64_t cap = b->cap ? 2 * b->cap : 64;
    NnOptItem *v = mt_tmp(c, sizeof *v * (size_t)cap);
    if (!v) return NULL;
    if (b->n) memcpy(v, b->v, sizeof *v * (size_t)b->n);
    b->v = v;
    b->cap = cap;
  }
  NnOptItem *it = &b->v[b->n];
  memset(it, 0, sizeof *it);
  return it;
}

/* Which loop, which state tensors in which order, which scalars. */
typedef struct {
  int loop;
  int state[3];
} Plan;
#define SCALARS(...)                   \
  do {                                 \
    const double k_[] = {__VA_ARGS__}; \
    memcpy(it->par.k, k_, sizeof k_);  \
  } while (0)

static Plan plan_sgd(const NnOptions *o, NnOptItem *it, Tensor **s, bool *first) {
  it->par.flag = o->nesterov;
  SCALARS(-o->lr, o->momentum, 1 - o->dampening);
  if (o->momentum == 0) return (Plan){MT_OPT_SGD, {-1, -1, -1}};
  *first = !s[0];
  return (Plan){*first ? MT_OPT_SGD_FIRST : MT_OPT_SGD_MOMENTUM, {0, -1, -1}};
}
static Plan plan_adam(const NnOptions *o, NnOptItem *it, double step) {
  double bc1 = 1 - pow(o->beta1, step), bc2 = 1 - pow(o->beta2, step);
  SCALARS(1 - o->beta1, o->beta2, 1 - o->beta2, pow(bc2, 0.5), o->eps, -(o->lr / bc1));
  return o->amsgrad ? (Plan){MT_OPT_AMSGRAD, {1, 2, 3}} : (Plan){MT_OPT_ADAM, {1, 2, -1}};
}
static Plan plan_nadam(Ctx *c, const NnOptions *o, NnOptItem *it, Tensor **s, double step) {
  double mu = o->beta1 * (1.0 - 0.5 * pow(0.96, step * o->momentum_decay));
  double next = o->beta1 * (1.0 - 0.5 * pow(0.96, (step + 1) * o->momentum_decay));
  double product = value(c, s[1], "mu_product", NN_NADAM);
  if (c->err) return (Plan){-1, {-1, -1, -1}};
  product =
      planned(it, 1, s[1], s[1]->dtype == MT_float64 ? product * mu : (float)product * (float)mu);
  SCALARS(1 - o->beta1, o->beta2, 1 - o->beta2, 1 - pow(o->beta2, step), o->eps,
          -o->lr * (1.0 - mu) / (1.0 - product), (-o->lr * next) / (1.0 - product * next));
  return (Plan){MT_OPT_NADAM, {2, 3, -1}};
}
static Plan plan_radam(const NnOptions *o, NnOptItem *it, double step) {
  double bc1 = 1 - pow(o->beta1, step), bc2 = 1 - pow(o->beta2, step), top = 2 / (1 - o->beta2) - 1;
  double rho = top - 2 * step * pow(o->beta2, step) / bc2;
  it->par.flag = rho > 5;
  double rect =
      it->par.flag ? pow((rho - 4) * (rho - 2) * top / ((top - 4) * (top - 2) * rho), 0.5) : 1;
  SCALARS(1 - o->beta1, o->beta2, 1 - o->beta2, bc1, o->eps, o->lr, pow(bc2, 0.5), rect);
  return (Plan){MT_OPT_RADAM, {1, 2, -1}};
}
static Plan plan_rmsprop(const NnOptions *o, NnOptItem *it) {
  SCALARS(o->alpha, 1 - o->alpha, o->eps, -o->lr, o->momentum);
  if (o->centered)
    return o->momentum > 0 ? (Plan){MT_OPT_RMSPROP_CM, {1, 2, 3}}
                           : (Plan){MT_OPT_RMSPROP_C, {1, 3, -1}};
  return o->momentum > 0 ? (Plan){MT_OPT_RMSPROP_M, {1, 2, -1}}
                         : (Plan){MT_OPT_RMSPROP, {1, -1, -1}};
}
static Plan plan_asgd(Ctx *c, const NnOptions *o, NnOptItem *it, Tensor **s, double step) {
  double eta = value(c, s[1], "eta", NN_ASGD), mu = value(c, s[2], "mu", NN_ASGD),
         late = step - o->t0;
  if (c->err) return (Plan){-1, {-1, -1, -1}};
  planned(it, 1, s[1], o->lr / pow(1 + o->lambd * o->lr * step, o->alpha));
  planned(it, 2, s[2], 1 / (late > 1 ? late : 1));
  it->par.shrink = true;
  it->par.decay = 1 - o->lambd * eta;
  it->par.flag = mu != 1;
  SCALARS(-eta, mu);
  return (Plan){MT_OPT_ASGD, {3, -1, -1}};
}

static Plan plan(Ctx *c, NnOptBatch *b, NnOptItem *it, Tensor **s, bool *first) {
  const NnOptions *o = b->o;
  double step = 0;
  it->par.negate = o->maximize;
  if (o->decoupled_weight_decay && o->weight_decay != 0) {
    it->par.shrink = true;
    it->par.decay = 1 - o->lr * o->weight_decay;
  } else if (b->kind != NN_RPROP) {
    it->par.l2 = o->weight_decay != 0;
    it->par.wd = o->weight_decay;
  }
  if (b->kind == NN_SGD) return plan_sgd(o, it, s, first);
  step = value(c, s[0], "step", b->kind);
  if (c->err) return (Plan){-1, {-1, -1, -1}};
  step = planned(it, 0, s[0], step + 1);
  switch (b->kind) {
    case NN_ADAM: return plan_adam(o, it, step);
    case NN_NADAM: return plan_nadam(c, o, it, s, step);
    case NN_RADAM: return plan_radam(o, it, step);
    case NN_RMSPROP: return plan_rmsprop(o, it);
    case NN_ASGD: return plan_asgd(c, o, it, s, step);
    case NN_ADAMAX:
      SCALARS(1 - o->beta1, o->beta2, o->eps, -(o->lr / (1 - pow(o->beta1, step))));
      return (Plan){MT_OPT_ADAMAX, {1, 2, -1}};
    case NN_ADAGRAD:
      SCALARS(o->eps, -(o->lr / (1 + (step - 1) * o->lr_decay)));
      return (Plan){MT_OPT_ADAGRAD, {1, -1, -1}};
    case NN_ADADELTA:
      SCALARS(o->rho, 1 - o->rho, o->eps, -o->lr);
      return (Plan){MT_OPT_ADADELTA, {1, 2, -1}};
    default:
      SCALARS(o->eta_minus, o->eta_plus, o->step_min, o->step_max);
      return (Plan){MT_OPT_RPROP, {1, 2, -1}};
  }
}

bool nn_opt_add(Ctx *c, NnOptBatch *b, Tensor *p, Tensor *g, Tensor **s) {
  const NnOptRow *row = &nn_opt_rows[b->kind];
  NnOptItem *it = c->err ? NULL : grow(c, b);
  if (!it) return false;
  bool first = false;
  Plan pl = plan(c, b, it, s, &first);
  if (c->err) return false;
  if (!(it->loop = pick(p->dtype, pl.loop))) {
    mt_fail(c, "%s: parameters must be floating point or complex, got %s", row->name,
            mt_dtypes[p->dtype].name);
    return false;
  }
  it->fresh = first;
  if (first) s[0] = t_empty_like(c, p, -1, -1, -1, -1, false, -1);
  bool dense = mt_is_dense(p) && !(p->flags & (MT_CONJ | MT_NEG));
  it->n = p->numel * (1 + mt_is_complex(p->dtype));
  it->esize = (int64_t)mt_dsize(p->dtype) / (1 + mt_is_complex(p->dtype));
  Tensor *in[MT_OPT_PTRS] = {p, g};
  const char *what[MT_OPT_PTRS] = {"parameter", "grad"};
  int np = 2;
  for (int i = 0; i < 3 && pl.state[i] >= 0; i++, np++) {
    in[np] = s[pl.state[i]];
    what[np] = row->state[pl.state[i]];
  }
  for (int i = 1; i < np; i++)
    dense = dense && in[i] && in[i]->ndim == p->ndim && same_order(p, in[i]);
  for (int i = 0; i < np; i++)
    if (!operand(c, it, i, p, in[i], dense, i != 1, b->kind, what[i])) return false;
  b->n++;
  return true;
}

/* ---- the run ---- */
typedef struct {
  const NnOptItem *v;
  const int64_t *start;
  int64_t n;
} Job;

static void piece(const NnOptItem *it, int64_t lo, int64_t hi) {
  void *ptr[MT_OPT_PTRS];
  for (int i = 0; i < MT_OPT_PTRS; i++)
    ptr[i] = it->ptr[i] ? (char *)it->ptr[i] + lo * it->esize : NULL;
  it->loop(hi - lo, ptr, &it->par);
}
static void run_range(void *ctx, int64_t lo, int64_t hi) {
  const Job *j = ctx;
  int64_t a = 0, z = j->n - 1;
  while (a < z) { /* the last item that starts at or before lo */
    int64_t m = (a + z + 1) / 2;
    if (j->start[m] <= lo) a = m;
    else z = m - 1;
  }
  for (; a < j->n && j->start[a] < hi; a++) {
    int64_t from = lo > j->start[a] ? lo - j->start[a] : 0, to = hi - j->start[a];
    if (to > j->v[a].n) to = j->v[a].n;
    if (to > from) piece(&j->v[a], from, to);
  }
}

static void settle(Ctx *c, NnOptItem *it) {
  for (int i = 0; i < MT_OPT_PTRS; i++)
    if (it->back[i].to) mt_copy_raw(c, it->back[i].to, it->back[i].from);
  for (int i = 0; i < MT_OPT_PTRS; i++)
    if (it->touched[i]) it->touched[i]->st->version++;
  for (int i = 0; i < 3; i++) {
    Tensor *t = it->set[i].t;
    if (!t) continue;
    mt_store(mt_data(t), (DType)t->dtype, mt_sd(it->set[i].v));
    t->st->version++;
  }
}

enum { GRAIN = 16384 };
bool nn_opt_run(Ctx *c, NnOptBatch *b) {
  if (c->err) return false;
  if (b->serial || b->n == 1) {
    for (int64_t i = 0; i < b->n; i++) {
      int64_t start = 0;
      Job j = {&b->v[i], &start, 1};
      mt_parallel(b->v[i].n, GRAIN, run_range, &j);
      settle(c, &b->v[i]);
    }
    return !c->err;
  }
  int64_t *start = mt_tmp(c, sizeof *start * (size_t)(b->n + 1)), total = 0;
  if (!start) return false;
  for (int64_t i = 0; i < b->n; i++) {
    start[i] = total;
    total += b->v[i].n;
  }
  Job j = {b->v, start, b->n};
  if (total) mt_parallel(total, GRAIN, run_range, &j);
  for (int64_t i = 0; i < b->n; i++) settle(c, &b->v[i]);
  return !c->err;
}
