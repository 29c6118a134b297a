/* ctc.c: connectionist temporal classification (rows at the end of ops_loss.def).
 *
 * The label sequence of a sample is its targets with a blank before, between and after: 2 S + 1
 * states.  alpha[t][s] is the
 * log-probability of having said the first s states' labels by time t, beta that of what is
 * left.  All sums are in double. */
#include "expr_rt.h"
#include "iter.h"

#define LIST(...) mt_il((const int64_t[]){__VA_ARGS__}, \
                        (int64_t)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))
#define SHAPE(t) mt_list_str(c, mt_sizes(t))

typedef struct {
  const double *lp, *loss, *gr;            /* [T, N, C], [N], [N] */
  const int64_t *targets, *lengths, *labels;    /* targets [N, S];
  time steps and labels of each sample */
  double *alpha, *out, *grad;              /* [N, T, 2 S + 1], [N], [T, N, C] */
  int64_t T, N, C, S, blank;
  bool zero_infinity;
} Ctc;

static int64_t label(const Ctc *k, int64_t n, int64_t s) {
  return s & 1 ? k->targets[n * k->S + s / 2] : k->blank;
}
/* May state s follow s - 2 at once?  Only over a blank between different labels. */
static bool skips(const Ctc *k, int64_t n, int64_t s) {
  return s & 1 && s >= 2 && label(k, n, s) != label(k, n, s - 2);
}

/* A thread's arrays, as long as a row of states: of the sample, what s - 2 adds (0, or -inf where
 * it may not be followed) and the states' labels; of the step, the arguments of exponentials and
 * logarithms.  rows: two states of -inf before and after each of the rows of two steps. */
typedef struct { double *over, *e, *top, *row[2]; int64_t *label; void *memory; } Room;
static bool make_room(const Ctc *k, Room *r) {
  const int64_t w = 2 * k->S + 1;
  double *p = mt_malloc(sizeof *p * (size_t)(8 * w + 10) + sizeof(int64_t) * (size_t)w);
  if (!p) return false;
  *r = (Room){p, p + w + 2, p + 4 * w + 2, {p + 5 * w + 4, p + 6 * w + 8}, NULL, p};
  r->label = (int64_t *)(p + 8 * w + 10);
  return true;
}
static void enter(const Ctc *k, int64_t n, int64_t states, Room *r) {
  for (int64_t s = 0; s < states; s++) {
    r->label[s] = label(k, n, s);
    r->over[s] = skips(k, n, s) ? 0 : -INFINITY;
  }
  r->over[states] = r->over[states + 1] = -INFINITY;
  for (int i = 0; i < 2; i++)
    for (int s = 1; s <= 2; s++) r->row[i][-s] = r->row[i][states - 1 + s] = -INFINITY;
}
static void apply(int unary, int64_t n, double *x) {
  DType d = MT_float64;
  mt_unary_loop(unary, &d)((char *[]){(char *)x, (char *)x}, (int64_t[]){8, 8}, n, NULL);
}
/* to[s] = log(e^was[s] + e^was[s + by] + e^(was[s + 2 by] + over[s])) + lp[label[s]] */
static void step(const Room *r, int64_t states, const double *was, int by, const double *over,
                 const double *lp, double *to) {
  double *e = r->e, *top = r->top;
  for (int64_t s = 0; s < states; s++) {
    double x = was[s], y = was[s + by], z = was[s + 2 * by] + over[s];
    double m = x > y ? x : y;
    m = m > z ? m : z;
    top[s] = m = m == -INFINITY ? 0 : m;
    e[s] = x - m;
    e[states + s] = y - m;
    e[2 * states + s] = z - m;
  }
  apply(U_exp, 3 * states, e);
  for (int64_t s = 0; s < states; s++) e[s] += e[states + s] + e[2 * states + s];
  apply(U_log, states, e);
  for (int64_t s = 0; s < states; s++) to[s] = top[s] + e[s] + lp[r->label[s]];
}
static double log_add(double a, double b) {
  double m = a > b ? a : b;
  return m == -INFINITY ? m : m + log1p(exp((a > b ? b : a) - m));
}
static const double *logp(const Ctc *k, int64_t t, int64_t n) {
  return k->lp + (t * k->N + n) * k->C;
}

static void forward(void *ctx, int64_t lo, int64_t hi) {
  const Ctc *k = ctx;
  const int64_t width = 2 * k->S + 1;
  Room r;
  if (!make_room(k, &r)) { for (int64_t n = lo; n < hi; n++) k->out[n] = NAN; return; }
  for (int64_t n = lo; n < hi && !mt_interrupted; n++) {
    int64_t states = 2 * k->labels[n] + 1, steps = k->lengths[n];
    double *a = k->alpha + n * k->T * width;
    for (int64_t i = 0; i < k->T * width; i++) a[i] = -INFINITY;
    if (!steps) { k->out[n] = k->labels[n] ? INFINITY : 0; continue; }
    enter(k, n, states, &r);
    for (int64_t s = 0; s < states; s++)
      r.row[0][s] = s < 2 ? logp(k, 0, n)[r.label[s]] : -INFINITY;
    for (int64_t t = 0; t < steps && !mt_interrupted; t++) {
      double *row = r.row[t & 1];
      if (t) step(&r, states, r.row[~t & 1], -1, r.over, logp(k, t, n), row);
      memcpy(a + t * width, row, sizeof *row * (size_t)states);
    }
    const double *end = a + (steps - 1) * width + states - 1;
    k->out[n] = -(states > 1 ? log_add(end[0], end[-1]) : end[0]);
  }
  mt_free(r.memory);
}
/* exp(lp) - the sum over the states of a label of exp(alpha + beta + loss - lp), times the sample's
 * grad. */
static void backward_sample(const Ctc *k, int64_t n, Room *r) {
  const int64_t width = 2 * k->S + 1, states = 2 * k->labels[n] + 1, steps = k->lengths[n];
  const double loss = k->loss[n], gr = k->gr[n];
  if (k->zero_infinity && loss == INFINITY) return;        /* grad is zero from the start */
  enter(k, n, states, r);
  for (int64_t t = steps - 1; t >= 0 && !mt_interrupted; t--) {
    double *now = r->row[t & 1], *grad = k->grad + (t * k->N + n) * k->C;
    const double *a = k->alpha + (n * k->T + t) * width, *lp = logp(k, t, n);
    if (t < steps - 1) step(r, states, r->row[~t & 1], 1, r->over + 2, lp, now);
    else
      for (int64_t s = 0; s < states; s++)
        now[s] = s >= states - 2 ? lp[r->label[s]] : -INFINITY;
    for (int64_t s = 0; s < states; s++) r->e[s] = a[s] + now[s] + loss - lp[r->label[s]];
    apply(U_exp, states, r->e);
    for (int64_t i = 0; i < k->C; i++) grad[i] = 0;
    for (int64_t s = 0; s < states; s++) grad[r->label[s]] += r->e[s];
    for (int64_t i = 0; i < k->C; i++) {
      double impossible = loss - lp[i];                     /* infinite: nan, as PyTorch */
      grad[i] = (exp(lp[i]) - (impossible == INFINITY ? NAN : grad[i])) * gr;
    }
  }
}
static void backward(void *ctx, int64_t lo, int64_t hi) {
  const Ctc *k = ctx;
  Room r;
  if (!make_room(k, &r)) { k->grad[0] = NAN; return; }
  for (int64_t n = lo; n < hi; n++) backward_sample(k, n, &r);
  mt_free(r.memory);
}
static Ctc job(Tensor *lp, Tensor *targets, IntList lengths, IntList labels, Tensor *alpha,
               int64_t blank) {
  return (Ctc){.lp = mt_data(lp), .targets = mt_data(targets), .lengths = lengths.v,
      .labels = labels.v,
               .alpha = mt_data(alpha), .T = lp->size[0], .N = lp->size[1], .C = lp->size[2],
                   .S = targets->size[1],
               .blank = blank};
}
void k__ctc_loss(Ctx *c, Tensor *log_probs, Tensor *targets, IntList lengths, IntList labels,
                 int64_t blank,
                 bool zero_infinity, Val *r) {
  Tensor *lp = mt_contig_as(c, log_probs, MT_float64);
  int64_t T = log_probs->size[0], N = log_probs->size[1];
  Tensor *alpha = mt_new(c, LIST(N, T, 2 * targets->size[1] + 1), MT_float64, MT_CPU);
  Tensor *out = mt_new(c, LIST(N), MT_float64, MT_CPU);
  if (c->err) return;
  Ctc k = job(lp, targets, lengths, labels, alpha, blank);
  k.out = mt_data(out);
  mt_parallel(N, 1, forward, &k);
  if (mt_poll(c)) return;
  r[0].t = mt_cast(c, out, (DType)log_probs->dtype);
  r[1].t = alpha;
}
Tensor *k__ctc_loss_backward(Ctx *c, Tensor *grad, Tensor *log_probs, Tensor *targets,
                             IntList lengths, IntList labels,
                             Tensor *loss, Tensor *alpha, int64_t blank, bool zero_infinity) {
  Tensor *lp = mt_contig_as(c, log_probs, MT_float64), *gr = mt_contig_as(c, grad, MT_float64);
  Tensor *l = mt_contig_as(c, loss, MT_float64);
  Tensor *g = t_zeros(c, mt_sizes(log_probs), MT_float64, -1, -1, -1, false);
  if (c->err || !g->numel) return g;
  Ctc k = job(lp, targets, lengths, labels, alpha, blank);
  k.loss = mt_data(l);
  k.gr = mt_data(gr);
  k.grad = mt_data(g);
  k.zero_infinity = zero_infinity;
  mt_parallel(k.N, 1, backward, &k);
  return mt_poll(c) ? NULL : mt_cast(c, g, (DType)log_probs->dtype);
}

/* targets as int64 [N, S], S the longest sample, from padded rows or one after another. */
static Tensor *padded(Ctx *c, Tensor *targets, IntList labels, int64_t classes, int64_t blank) {
  int64_t S = 0, total = 0, at = 0;
  for (int64_t i = 0; i < labels.n; i++) {
    if (labels.v[i] < 0 || labels.v[i] > targets->numel)
      return mt_fail(c, "target_lengths: %lld labels are not in targets of shape %s",
                     (long long)labels.v[i], SHAPE(targets));
    if (labels.v[i] > S) S = labels.v[i];
    total += labels.v[i];
  }
  if (targets->ndim == 1 ? targets->numel != total : targets->size[0] != labels.n
      || targets->size[1] < S)
    return mt_fail(c, "targets of shape %s do not hold the %lld labels of target_lengths",
                   SHAPE(targets), (long long)total);
  Tensor *from = mt_contig_as(c, targets, MT_int64), *out = mt_new(c, LIST(labels.n, S), MT_int64,
      MT_CPU);
  if (!from || !out) return NULL;
  for (int64_t i = 0; i < labels.n; i++)
    for (int64_t s = 0; s < S; s++) {
      int64_t v = blank;
      if (s < labels.v[i]) {
        v = ((int64_t *)mt_data(from))[targets->ndim == 1 ? at++ : i * targets->size[1] + s];
        if (v < 0 || v >= classes) return mt_fail(c, "target %lld is no class of %lld",
                                                  (long long)v, (long long)classes);
      }
      ((int64_t *)mt_data(out))[i * S + s] = v;
    }
  return out;
}
static bool whole(int d) { return d == MT_int64 || d == MT_int32; }
Tensor *k_F_ctc_loss(Ctx *c, Tensor *log_probs, Tensor *targets, IntList lengths, IntList labels,
                     int64_t blank,
                     const char *how, bool zero_infinity) {
  Val r[2];
  bool single = log_probs->ndim == 2;
  if (single) {
    log_probs = t_unsqueeze(c, log_probs, 1);
    if (targets->ndim == 1) targets = t_unsqueeze(c, targets, 0);
  }
  if (c->err) return NULL;
  if (log_probs->ndim != 3) return mt_fail(c,
                                           "log_probs must be [steps, samples, classes], got %s",
      SHAPE(log_probs));
  if (log_probs->dtype != MT_float32 && log_probs->dtype != MT_float64)
    return mt_fail(c, "not implemented for '%s'", mt_type_word((DType)log_probs->dtype));
  if (!whole(targets->dtype) || targets->ndim < 1 || targets->ndim > 2)
    return mt_fail(c, "targets must be integers in 1 or 2 dimensions, got %s of shape %s",
                   mt_dtypes[targets->dtype].name, SHAPE(targets));
  int64_t T = log_probs->size[0], N = log_probs->size[1], C = log_probs->size[2];
  if (blank < 0 || blank >= C) return mt_fail(c,
                                              "blank must be in label range 0 to %lld, got %lld",
      (long long)C - 1, (long long)blank);
  if (lengths.n != N) return mt_fail(c, "input_lengths must be of size batch_size %lld, got %lld",
                                     (long long)N, (long long)lengths.n);
  if (labels.n != N) return mt_fail(c, "target_lengths must be of size batch_size %lld, got %lld",
                                    (long long)N, (long long)labels.n);
  for (int64_t i = 0; i < N; i++)
    if (lengths.v[i] < 0 || lengths.v[i] > T)
      return mt_fail(c, "Expected input_lengths to have value at most %lld, but got value %lld",
                     (long long)T, (long long)lengths.v[i]);
  if (strcmp(how, "mean") && strcmp(how, "sum") && strcmp(how, "none")) return mt_fail(c,
      "%s is not a valid value for reduction", how);
  if (mt_meta(log_probs) || mt_meta(targets)) {            /* the shape alone */
    Tensor *s = t_sum_dim(c, log_probs, LIST(0, 2), false, -1);
    return strcmp(how, "none") ? t_sum(c, s, -1) : single ? t_squeeze_dim(c, s, LIST(0)) : s;
  }
  if (!(targets = padded(c, targets, labels, C, blank))) return NULL;
  t__ctc_loss(c, log_probs, targets, lengths, labels, blank, zero_infinity, r);
  Tensor *l = c->err ? NULL : r[0].t;
  if (zero_infinity) l = t_masked_fill(c, l, t_isinf(c, l), mt_si(0));
  if (!strcmp(how, "sum")) return t_sum(c, l, -1);
  if (!strcmp(how, "none")) return single ? t_squeeze_dim(c, l, LIST(0)) : l;
  Tensor *count = mt_new(c, LIST(N), MT_float64, MT_CPU);
  for (int64_t i = 0; count && i < N; i++) ((double *)mt_data(count))[i] = labels.v[i]
      ? (double)labels.v[i] : 1;
  return t_mean(c, t_div(c, l, count ? mt_cast(c, count, (DType)log_probs->dtype) : NULL, NULL),
                -1);
}
static bool lengths_of(Ctx *c, Tensor *t, const char *name, IntList *out) {
  if (!whole(t->dtype) || t->ndim > 1) {
    mt_fail(c, "%s must be a vector of integers, got %s of shape %s", name,
            mt_dtypes[t->dtype].name, SHAPE(t));
    return false;
  }
  if (mt_meta(t)) {
    mt_fail(c, "%s must hold numbers, got a meta tensor", name);
    return false;
  }
  t = mt_contig_as(c, t, MT_int64);
  if (t) *out = mt_il(mt_data(t), t->numel);
  return t != NULL;
}
Tensor *k_F_ctc_loss_Tensor(Ctx *c, Tensor *log_probs, Tensor *targets, Tensor *input_lengths,
                            Tensor *target_lengths,
                            int64_t blank, const char *how, bool zero_infinity) {
  IntList lengths, labels;
  if (!lengths_of(c, input_lengths, "input_lengths", &lengths) || !lengths_of(c, target_lengths,
      "target_lengths", &labels))
    return NULL;
  return t_F_ctc_loss(c, log_probs, targets, lengths, labels, blank, how, zero_infinity);
}
