/* rnn.c: kernels of ops_rnn.def: recurrent networks of many layers, packed or not, and their cells.
 *
 * Everything is brought to rows step by step with the number of rows of each step.  Layers of
 * float32 run fused (rnn_layer.c); other types, and projections, run as the formula of ops below.
 */
#include "autograd.h"
#include "rnn_layer.h"
#include <string.h>

typedef struct {
  NnRnnMode mode;
  const char *name;
  TensorList params;
  bool biases, train, two;
  int64_t layers, per;                     /* per: parameters of one layer and direction */
  double dropout;
} Net;

static Tensor *add(Ctx *c, Tensor *a, Tensor *b) { return t_add(c, a, b, mt_si(1)); }
static Tensor *part(Ctx *c, Tensor *t, int64_t from, int64_t n) {
  return t && from == 0 && t->size[0] == n ? t : t_narrow(c, t, 0, from, n);
}
static Tensor *gate(Ctx *c, Tensor *t, int64_t i, int64_t h) { return t_narrow(c, t, 1, i * h, h); }
static Tensor *join(Ctx *c, Tensor *a, Tensor *b) {
  Tensor *v[2] = {a, b};
  return !b || !b->size[0] ? a : t_cat(c, (TensorList){v, 2}, 0);
}

/* ---- the formula ---- */
/* One step: x is the input's share of the gates, h the state (and *cell), p the weights from w_hh
 * on. */
static Tensor *cell(Ctx *c, NnRnnMode mode, Tensor *x, Tensor *h, Tensor **cells, Tensor *whh,
                    Tensor *bhh) {
  Tensor *r = t_F_linear(c, h, whh, bhh);
  if (mt_bad(c)) return NULL;
  if (mode == NN_RNN_TANH) return t_tanh(c, add(c, x, r));
  if (mode == NN_RNN_RELU) return t_relu(c, add(c, x, r));
  int64_t n = whh->size[0] / nn_rnn_gates(mode);
  if (mode == NN_GRU) {
    Tensor *a = t_sigmoid(c, add(c, gate(c, x, 0, n), gate(c, r, 0, n))),
           *z = t_sigmoid(c, add(c, gate(c, x, 1, n), gate(c, r, 1, n)));
    Tensor *u = t_tanh(c, add(c, gate(c, x, 2, n), t_mul(c, a, gate(c, r, 2, n))));
    return add(c, t_mul(c, t_sub(c, h, u, mt_si(1)), z), u);
  }
  Tensor *g = add(c, x, r),
         *u = t_mul(c, t_sigmoid(c, gate(c, g, 0, n)), t_tanh(c, gate(c, g, 2, n)));
  *cells = add(c, t_mul(c, t_sigmoid(c, gate(c, g, 1, n)), *cells), u);
  return t_mul(c, t_sigmoid(c, gate(c, g, 3, n)), t_tanh(c, *cells));
}
/* One direction; h and *cells enter as initial states and leave as final ones. */
static Tensor *direction(Ctx *c, const Net *n, Tensor *x, IntList bs, Tensor **h, Tensor **cells,
                         Tensor **p, bool back) {
  Tensor *share = t_F_linear(c, x, p[0], n->biases ? p[2] : NULL),
         *proj = n->per == 2 * n->biases + 3 ? p[n->per - 1] : NULL;
  TensorList outs = {mt_tmp(c, sizeof(Tensor *) * (size_t)(bs.n + 1)), bs.n};
  int64_t row = back ? x->size[0] : 0;
  if (mt_bad(c)) return NULL;
  for (int64_t s = 0; s < bs.n && !mt_bad(c); s++) {
    int64_t t = back ? bs.n - 1 - s : s, m = bs.v[t], B = (*h)->size[0];
    if (back) row -= m;
    Tensor *hs = part(c, *h, 0, m), *cs = n->mode == NN_LSTM ? part(c, *cells, 0, m) : NULL;
    hs = cell(c, n->mode, part(c, share, row, m), hs, &cs, p[1], n->biases ? p[3] : NULL);
    if (proj) hs = t_F_linear(c, hs, proj, NULL);
    outs.v[t] = hs;
    *h = m == B ? hs : join(c, hs, part(c, *h, m, B - m));
    if (n->mode == NN_LSTM) *cells = m == B ? cs : join(c, cs, part(c, *cells, m, B - m));
    if (!back) row += m;
    if (mt_poll(c)) return NULL;
  }
  return t_cat(c, outs, 0);
}
static Tensor *formula(Ctx *c, const Net *n, Tensor *x, IntList bs, Tensor **h, Tensor **cells,
                       Tensor **p) {
  Tensor *outs[2] = {NULL}, *hs[2] = {NULL}, *cs[2] = {NULL};
  int sides = n->two ? 2 : 1;
  for (int d = 0; d < sides && !mt_bad(c); d++) {
    hs[d] = t_select(c, *h, 0, d);
    if (n->mode == NN_LSTM) cs[d] = t_select(c, *cells, 0, d);
    outs[d] = direction(c, n, x, bs, &hs[d], &cs[d], p + d * n->per, d == 1);
  }
  *h = t_stack(c, (TensorList){hs, sides}, 0);
  if (n->mode == NN_LSTM) *cells = t_stack(c, (TensorList){cs, sides}, 0);
  return sides == 1 ? outs[0] : t_cat(c, (TensorList){outs, 2}, 1);
}

/* ---- layers ---- */
static bool all_float(const Net *n, const Tensor *x, const Tensor *h, const Tensor *cells,
                      Tensor **p, int64_t np) {
  if (x->dtype != MT_float32 || h->dtype != MT_float32 || (cells && cells->dtype != MT_float32) ||
      mt_meta(x))
    return false;
  for (int64_t i = 0; i < np; i++) if (p[i]->dtype != MT_float32 || mt_meta(p[i])) return false;
  return n->per == 2 + 2 * n->biases && x->numel && h->numel;
}
static bool fits(const Tensor *t, int nd, int64_t a, int64_t b, int64_t d) {
  return t && t->ndim == nd && t->size[0] == a && (nd < 2 || t->size[1] == b) &&
         (nd < 3 || t->size[2] == d);
}
/* Do the parameters of layer `at` belong to an input of width in and states of width hidden
 * (projected: P)? */
static bool check_params(Ctx *c, const Net *n, Tensor **p, int64_t at, int64_t in, int64_t P) {
  for (int d = 0; d < (n->two ? 2 : 1); d++, p += n->per) {
    bool proj = n->per == 2 * n->biases + 3;
    int64_t G = nn_rnn_gates(n->mode), GH = p[1]->ndim == 2 ? p[1]->size[0] : -1,
            H = proj ? GH / G : P;
    bool ok = GH == G * H && fits(p[0], 2, GH, in, 0) && fits(p[1], 2, GH, P, 0);
    if (ok && n->biases) ok = fits(p[2], 1, GH, 0, 0) && fits(p[3], 1, GH, 0, 0);
    if (ok && proj) ok = fits(p[n->per - 1], 2, P, H, 0);
    if (ok) continue;
    mt_fail(c,
            "layer %lld: weights of shapes %s and %s do not fit an input of %lld features and a "
            "state of %lld",
            (long long)at, mt_list_str(c, mt_sizes(p[0])), mt_list_str(c, mt_sizes(p[1])),
            (long long)in, (long long)P);
    return false;
  }
  return true;
}
static Tensor *layer(Ctx *c, const Net *n, Tensor *x, IntList bs, Tensor **h, Tensor **cells,
                     Tensor **p) {
  int64_t np = n->per * (n->two ? 2 : 1);
  if (!all_float(n, x, *h, *cells, p, np)) return formula(c, n, x, bs, h, cells, p);
  Val r[5];
  t__rnn_layer(c, x, bs, *h, *cells, (TensorList){p, np}, n->name, n->biases, r);
  if (mt_bad(c)) return NULL;
  *h = r[1].t;
  if (n->mode == NN_LSTM) *cells = r[2].t;
  return r[0].t;
}

/* ---- gradients ---- */
/* While a graph is made of the backward pass: the formula over aliases of the inputs, and a walk
 * back over that alone. */
static void graph_backward(Ctx *c, const Net *n, Tensor **seeds, Tensor *x, IntList bs, Tensor *hx,
                           Tensor *cx, Val *out) {
  int64_t np = n->params.n, total = np + 3;
  Tensor **own = mt_tmp(c, 4 * sizeof(Tensor *) * (size_t)total), **in = own + total,
         **got = in + total, **all = got + total;
  int nin = 0, nroots = 0;
  if (!own) return;
  all[0] = x; all[1] = hx; all[2] = cx;
  memcpy(all + 3, n->params.v, sizeof(Tensor *) * (size_t)np);
  for (int64_t i = 0; i < total; i++) {
    own[i] = all[i] ? t_alias(c, all[i]) : NULL;
    if (mt_bad(c)) return;
    if (own[i] && ag_requires_grad(c, own[i])) { got[nin] = NULL; in[nin++] = own[i]; }
  }
  Tensor *h = own[1], *cells = own[2], *y = formula(c, n, own[0], bs, &h, &cells, own + 3);
  Tensor *outs[3] = {y, h, n->mode == NN_LSTM ? cells : NULL}, *roots[3], *from[3];
  for (int i = 0; i < 3 && !mt_bad(c); i++)
    if (outs[i] && ag_requires_grad(c, outs[i])) {
      roots[nroots] = outs[i];
      from[nroots++] = seeds[i];
    }
  if (mt_bad(c) || !ag_backward(c, nroots, roots, from, nin, in, got, true, true, false)) return;
  for (int64_t i = 0, k = 0; i < total; i++) {
    Tensor *g = NULL;
    if (k < nin && in[k] == own[i]) g = got[k++];
    all[i] = !own[i] ? NULL : g ? g : t_zeros_like(c, own[i], -1, -1, -1, -1, false, -1);
  }
  out[0].t = all[0]; out[1].t = all[1]; out[2].t = all[2];
  out[3].tl = (TensorList){all + 3, np};
}
void k__rnn_backward(Ctx *c, Tensor *grad, Tensor *grad_h, Tensor *grad_c, Tensor *input,
                     IntList batch_sizes, Tensor *hx, Tensor *cx, TensorList params,
                     const char *mode, bool has_biases, bool need_input, Tensor *output,
                     Tensor *gates, Tensor *cells, Val *out) {
  if (!c->grad_mode) {
    nn_rnn_layer_backward(c, grad, grad_h, grad_c, input, batch_sizes, hx, cx, params, mode,
                          has_biases, need_input, output, gates, cells, out);
    return;
  }
  Net n = {nn_rnn_mode(c, mode), mode, params, has_biases, false, hx->size[0] == 2, 1,
           has_biases ? 4 : 2,   0};
  Tensor *seeds[3] = {grad, grad_h, grad_c};
  if (!mt_bad(c)) graph_backward(c, &n, seeds, input, batch_sizes, hx, cx, out);
}

static bool open_net(Ctx *c, Net *n, const char *name, TensorList params, bool biases,
                     int64_t layers, double dropout, bool train, bool two) {
  *n = (Net){nn_rnn_mode(c, name), name, params, biases, train, two, layers, 0, dropout};
  int64_t parts = layers > 0 && layers <= params.n ? layers * (two ? 2 : 1) : 0;
  n->per = parts > 0 ? params.n / parts : 0;
  bool ok = layers > 0 && n->per * parts == params.n &&
            (n->per == 2 + 2 * biases || (n->mode == NN_LSTM && n->per == 3 + 2 * biases));
  if (!ok)
    mt_fail(c, "%lld parameters do not make %lld layer%s of %s%s", (long long)params.n,
            (long long)layers, layers == 1 ? "" : "s", two ? "two directions " : "one direction ",
            biases ? "with biases" : "without biases");
  return ok && !mt_bad(c);
}
/* Rows in, rows out; out[1], out[2]: final states of all layers and directions. */
static void run(Ctx *c, const Net *n, Tensor *x, IntList bs, Tensor *hx, Tensor *cx, Val *out) {
  int64_t sides = n->two ? 2 : 1, B = bs.n ? bs.v[0] : 0;
  Tensor **hs = mt_tmp(c, 2 * sizeof(Tensor *) * (size_t)n->layers),
         **cs = hs ? hs + n->layers : NULL;
  if (!fits(hx, 3, n->layers * sides, B, hx->ndim == 3 ? hx->size[2] : 0) ||
      (n->mode == NN_LSTM &&
       !fits(cx, 3, n->layers * sides, B, cx && cx->ndim == 3 ? cx->size[2] : 0)))
    mt_fail(c, "expected hidden states of shape [%lld, %lld, *], got %s",
            (long long)(n->layers * sides), (long long)B,
            mt_list_str(c, mt_sizes(n->mode == NN_LSTM && cx ? cx : hx)));
  if (mt_bad(c)) return;
  for (int64_t i = 0; i < n->layers && !mt_bad(c); i++) {
    Tensor **p = n->params.v + i * sides * n->per, *h = part(c, hx, i * sides, sides),
           *cell_ = n->mode == NN_LSTM ? part(c, cx, i * sides, sides) : NULL;
    if (mt_bad(c) || !check_params(c, n, p, i, x->size[1], hx->size[2])) return;
    if (cell_ && cell_->size[2] != p[1]->size[0] / 4) {
      mt_fail(c, "expected cell states of %lld features, got %lld", (long long)(p[1]->size[0] / 4),
              (long long)cell_->size[2]);
      return;
    }
    x = layer(c, n, x, bs, &h, &cell_, p);
    hs[i] = h;
    cs[i] = cell_;
    if (n->train && n->dropout > 0 && i + 1 < n->layers)
      x = t_F_dropout(c, x, n->dropout, true, false);
  }
  if (mt_bad(c)) return;
  out[0].t = x;
  out[1].t = n->layers == 1 ? hs[0] : t_cat(c, (TensorList){hs, n->layers}, 0);
  if (n->mode == NN_LSTM)
    out[2].t = n->layers == 1 ? cs[0] : t_cat(c, (TensorList){cs, n->layers}, 0);
}

static void padded(Ctx *c, const char *name, Tensor *input, Tensor *hx, Tensor *cx,
                   TensorList params, bool biases, int64_t layers, double dropout, bool train,
                   bool two, bool batch_first, Val *out) {
  Net n;
  if (input->ndim != 3) {
    mt_fail(c, "expected an input of 3 dimensions, got %s", mt_list_str(c, mt_sizes(input)));
    return;
  }
  if (!open_net(c, &n, name, params, biases, layers, dropout, train, two)) return;
  Tensor *x = batch_first ? t_transpose(c, input, 0, 1) : input;
  int64_t T = x->size[0], B = x->size[1];
  int64_t *bs = mt_tmp(c, sizeof(int64_t) * (size_t)(T + 1));
  if (!bs) return;
  if (!T) { mt_fail(c, "expected sequence length to be larger than 0 in RNN"); return; }
  for (int64_t t = 0; t < T; t++) bs[t] = B;
  run(c, &n, t_reshape(c, x, mt_il((int64_t[]){T * B, x->size[2]}, 2)), mt_il(bs, T), hx, cx, out);
  if (mt_bad(c)) return;
  Tensor *y = t_reshape(c, out[0].t, mt_il((int64_t[]){T, B, out[0].t->size[1]}, 3));
  out[0].t = batch_first ? t_transpose(c, y, 0, 1) : y;
}
static void packed(Ctx *c, const char *name, Tensor *data, Tensor *sizes, Tensor *hx, Tensor *cx,
                   TensorList params, bool biases, int64_t layers, double dropout, bool train,
                   bool two, Val *out) {
  Net n;
  if (data->ndim != 2 || sizes->ndim != 1 || sizes->dtype != MT_int64) {
    mt_fail(c, "a packed sequence has data of 2 dimensions and batch_sizes of int64, got %s and %s",
            mt_list_str(c, mt_sizes(data)), mt_dtypes[sizes->dtype].name);
    return;
  }
  if (!open_net(c, &n, name, params, biases, layers, dropout, train, two)) return;
  Tensor *s = mt_contig(c, sizes);
  int64_t *bs = s ? mt_tmp(c, sizeof(int64_t) * (size_t)(s->numel + 1)) : NULL, total = 0;
  if (!bs) return;
  for (int64_t t = 0; t < s->numel; t++) {
    bs[t] = ((int64_t *)mt_data(s))[t];
    total += bs[t];
    if (bs[t] < 1 || (t && bs[t] > bs[t - 1])) {
      mt_fail(c, "batch_sizes must be positive and must not grow");
      return;
    }
  }
  if (!s->numel || total != data->size[0]) {
    mt_fail(c, "batch_sizes add up to %lld but data has %lld rows", (long long)total,
            (long long)data->size[0]);
    return;
  }
  run(c, &n, data, mt_il(bs, s->numel), hx, cx, out);
}
static bool pair(Ctx *c, TensorList hx) {
  if (hx.n == 2 && hx.v[0] && hx.v[1]) return true;
  mt_fail(c, "hx must hold two tensors, the hidden and the cell state, got %lld", (long long)hx.n);
  return false;
}

void k_lstm(Ctx *c, Tensor *input, TensorList hx, TensorList params, bool b, int64_t n, double p,
            bool train, bool two, bool first, Val *out) {
  if (pair(c, hx))
    padded(c, "lstm", input, hx.v[0], hx.v[1], params, b, n, p, train, two, first, out);
}
void k_lstm_data(Ctx *c, Tensor *data, Tensor *bs, TensorList hx, TensorList params, bool b,
                 int64_t n, double p, bool train, bool two, Val *out) {
  if (pair(c, hx)) packed(c, "lstm", data, bs, hx.v[0], hx.v[1], params, b, n, p, train, two, out);
}
#define RNN(op, mode)                                                                            \
  void k_##op(Ctx *c, Tensor *input, Tensor *hx, TensorList params, bool b, int64_t n, double p, \
              bool train, bool two, bool first, Val *out) {                                      \
    padded(c, mode, input, hx, NULL, params, b, n, p, train, two, first, out);                   \
  }                                                                                              \
  void k_##op##_data(Ctx *c, Tensor *data, Tensor *bs, Tensor *hx, TensorList params, bool b,    \
                     int64_t n, double p, bool train, bool two, Val *out) {                      \
    packed(c, mode, data, bs, hx, NULL, params, b, n, p, train, two, out);                       \
  }
RNN(gru, "gru")
RNN(rnn_tanh, "tanh")
RNN(rnn_relu, "relu")

/* ---- cells ---- */
static Tensor *one_step(Ctx *c, const char *name, Tensor *x, Tensor *h, Tensor **cells, Tensor *wih,
                        Tensor *whh, Tensor *bih, Tensor *bhh) {
  Tensor *p[4] = {wih, whh, bih, bhh};
  Net n = {nn_rnn_mode(c, name), name, {p, bih && bhh ? 4 : 2}, bih && bhh, false, false, 1,
           bih && bhh ? 4 : 2,   0};
  if (x->ndim != 2 || h->ndim != 2 || x->size[0] != h->size[0] ||
      (*cells &&
       ((*cells)->ndim != 2 || (*cells)->size[0] != x->size[0] || (*cells)->size[1] != h->size[1])))
    return mt_fail(c, "expected input [batch, features] and state [batch, hidden], got %s and %s",
                   mt_list_str(c, mt_sizes(x)), mt_list_str(c, mt_sizes(h)));
  if (wih->ndim != 2 || whh->ndim != 2) return mt_fail(c, "weights must be matrices");
  if (!bih != !bhh) {                      /* PyTorch allows one of them: the formula does */
    return cell(c, n.mode, t_F_linear(c, x, wih, bih), h, cells, whh, bhh);
  }
  if (!check_params(c, &n, p, 0, x->size[1], h->size[1])) return NULL;
  if (!all_float(&n, x, h, *cells, p, n.per))
    return cell(c, n.mode, t_F_linear(c, x, wih, bih), h, cells, whh, bhh);
  Tensor *hs = t_unsqueeze(c, h, 0), *cs = *cells ? t_unsqueeze(c, *cells, 0) : NULL;
  Tensor *y = layer(c, &n, x, mt_il(&x->size[0], 1), &hs, &cs, p);
  if (cs) *cells = t_select(c, cs, 0, 0);
  return y;
}
void k_lstm_cell(Ctx *c, Tensor *x, TensorList hx, Tensor *wih, Tensor *whh, Tensor *bih,
                 Tensor *bhh, Val *out) {
  if (!pair(c, hx)) return;
  Tensor *cells = hx.v[1];
  out[0].t = one_step(c, "lstm", x, hx.v[0], &cells, wih, whh, bih, bhh);
  out[1].t = cells;
}
#define CELL(op, mode)                                                                 \
  Tensor *k_##op(Ctx *c, Tensor *x, Tensor *hx, Tensor *wih, Tensor *whh, Tensor *bih, \
                 Tensor *bhh) {                                                        \
    Tensor *none = NULL;                                                               \
    return one_step(c, mode, x, hx, &none, wih, whh, bih, bhh);                        \
  }
CELL(gru_cell, "gru")
CELL(rnn_tanh_cell, "tanh")
CELL(rnn_relu_cell, "relu")
