/* rnn_layer.c: the fused recurrent layer (see rnn_layer.h).
 *
 * The input's share of all steps is one product.  Then each unit of work, a direction and some rows
 * of the batch, walks through time on its own: no thread waits for another.  The state's share is a
 * product of a few rows with weights packed once in panels as wide as a tile; a single row takes
 * dot products.  The backward pass walks the other way and leaves what reaches the gates of all
 * steps, from which the gradients of weights and input are one product each. */
#include "rnn_layer.h"
#include "gemm_impl.h"
#include "kern_attn.h"
#include "product.h"
#include <stdatomic.h>
#include <string.h>

NnRnnMode nn_rnn_mode(Ctx *c, const char *name) {
  static const char *const names[] = {"lstm", "gru", "tanh", "relu"};
  for (int i = 0; i < NN_RNN_MODES; i++) if (!strcmp(names[i], name)) return (NnRnnMode)i;
  mt_fail(c, "unknown mode '%s'", name);
  return NN_RNN_MODES;
}

typedef struct {
  const float *wih, *whh, *bhn;            /* weights; GRU: the state's bias of the new gate */
  float *panels;                           /* whh packed, or NULL */
  float *x, *r; /* [rows][ld] shares of input and state before activation (LSTM: x is gates) */
  float *gates, *cells;                    /* what is kept: [rows][ldg], [rows][H] */
  float *h, *c; /* states [B][H]; in the backward pass: what reaches them */
  const float *h0, *c0;                    /* initial states, for the backward pass */
  float *dx, *dr,
      *prev; /* backward: what reaches the shares [rows][GH], the states before each step */
} Side;
typedef struct {
  const MtGemmKernF32 *g;
  const MtSeqKerns *k;
  NnRnnMode mode;
  int64_t T, B, N, H, I, GH, ld, ldg, ldh; /* ld: GH, ldh: H, up to whole tiles */
  int64_t sides, chunk, chunks;
  const int64_t *bs;
  int64_t *off;
  float *out;                              /* [rows][sides * H] */
  const float *gout;
  bool small;                              /* few steps: plain products instead of packed panels */
  Side side[2];
  _Atomic int64_t next;
  _Atomic int status;
} Layer;

static int64_t up(int64_t x, int64_t to) { return (x + to - 1) / to * to; }
static int64_t step_at(const Layer *l, int side, int64_t s) { return side ? l->T - 1 - s : s; }

/* y[rows][ldy] = beta * y + x[rows][ldx] * w, w is k x n: through `panels`, or a plain product. */
typedef struct { int64_t k, n, rs, cs; const float *w, *panels; } Weight;
static void recur(Layer *l, const Weight *w, int64_t rows, const float *x, int64_t ldx, float *y,
                  int64_t ldy, int beta) {
  int wide = 2 * l->g->vl;
  if (rows == 1 && w->panels) {
    l->g->gemv_panels(w->k, (w->n + wide - 1) / wide, x, w->panels, y, beta != 0);
    return;
  }
  if (w->panels) {               /* a panel of weights serves all rows while it is near */
    int64_t parts = (rows + l->g->mr - 1) / l->g->mr, high = (rows + parts - 1) / parts;
    for (int64_t j = 0; j < w->n; j += wide)
      for (int64_t i = 0; i < rows; i += high) {
        int m = (int)(rows - i < high ? rows - i : high);
        l->g->tile[0][1][m - 1](w->k, x + i * ldx, ldx, w->panels + j * w->k, wide, y + i * ldy + j,
                                ldy, 1, (float)beta, NULL);
      }
    return;
  }
  MtGemm g = {.type = MT_GEMM_F32,
              .m = rows,
              .n = w->n,
              .k = w->k,
              .a = x,
              .ars = ldx,
              .acs = 1,
              .b = w->w,
              .brs = w->rs,
              .bcs = w->cs,
              .c = y,
              .crs = ldy,
              .ccs = 1,
              .alpha = 1,
              .beta = beta};
  MtGemmStatus s = l->sides * l->chunks == 1 ? mt_gemm(&g) : mt_gemm_serial(&g);
  if (s) atomic_store(&l->status, (int)s);
}
/* w (rs, cs: strides along k and n) in panels [n / wide][k][wide], the last one filled up with
 * zeros. */
static void pack(const Layer *l, const Weight *w, float *to) {
  int wide = 2 * l->g->vl;
  for (int64_t j = 0; j < w->n; j += wide, to += wide * w->k) {
    if (w->rs == 1 && w->n - j >= wide) {
      l->g->pack_t(w->k, wide, w->w + j * w->cs, w->cs, to);
      continue;
    }
    for (int64_t p = 0; p < w->k; p++)
      for (int i = 0; i < wide; i++)
        to[p * wide + i] = j + i < w->n ? w->w[p * w->rs + (j + i) * w->cs] : 0;
  }
}
static Weight forward_weight(const Layer *l, const Side *s) {
  return (Weight){l->H, l->GH, 1, l->H, s->whh, s->panels};
}
static Weight backward_weight(const Layer *l, const Side *s) {
  return (Weight){l->GH, l->H, l->H, 1, s->whh, s->panels};
}

/* One step of one unit: rows [b0, b0 + n) of step t. */
static void forward_step(Layer *l, int which, int64_t t, int64_t b0, int64_t n) {
  Side *s = &l->side[which];
  Weight w = forward_weight(l, s);
  int64_t H = l->H, row = l->off[t] + b0, ldo = l->sides * H;
  float *h = s->h + b0 * H, *x = s->x + row * l->ld, *r = s->r ? s->r + b0 * l->ld : x;
  recur(l, &w, n, h, H, r, l->ld, l->mode != NN_GRU);
  for (int64_t i = 0; i < n; i++, x += l->ld, h += H) {
    float *out = l->out + (row + i) * ldo + which * H;
    if (l->mode == NN_LSTM) {
      float *cell = s->cells + (row + i) * H, *c = s->c + (b0 + i) * H;
      l->k->lstm(H, x, c, cell, out);
      memcpy(c, cell, sizeof(float) * (size_t)H);
    } else if (l->mode == NN_GRU)
      l->k->gru(H, x, r + i * l->ld, s->bhn, h, s->gates + (row + i) * l->ldg, out);
    else {
      if (l->mode == NN_RNN_TANH) l->k->tanh(H, x); else l->k->relu(H, x);
      memcpy(out, x, sizeof(float) * (size_t)H);
    }
    memcpy(h, out, sizeof(float) * (size_t)H);
  }
}

/* The row of the step before (in the direction's order) of the sequence b; -1: the initial state.
 */
static int64_t before(const Layer *l, int which, int64_t t, int64_t b) {
  int64_t p = which ? t + 1 : t - 1;
  return p < 0 || p >= l->T || b >= l->bs[p] ? -1 : l->off[p] + b;
}

static void backward_step(Layer *l, int which, int64_t t, int64_t b0, int64_t n) {
  Side *s = &l->side[which];
  Weight w = backward_weight(l, s);
  int64_t H = l->H, row = l->off[t] + b0, ldo = l->sides * H;
  for (int64_t i = 0; i < n; i++) {
    int64_t at = row + i, p = before(l, which, t, b0 + i);
    const float *gate = s->gates ? s->gates + at * l->ldg : NULL,
                *out = l->out + at * ldo + which * H;
    const float *hp = p < 0 ? s->h0 + (b0 + i) * H : l->out + p * ldo + which * H;
    float *dh = s->h + (b0 + i) * l->ldh, *dx = s->dx + at * l->GH;
    memcpy(s->prev + at * H, hp, sizeof(float) * (size_t)H);
    l->k->add(H, dh, l->gout + at * ldo + which * H);
    if (l->mode == NN_LSTM) {
      const float *cp = p < 0 ? s->c0 + (b0 + i) * H : s->cells + p * H;
      l->k->lstm_grad(H, gate, cp, s->cells + at * H, dh, s->c + (b0 + i) * H, dx);
    } else if (l->mode == NN_GRU) l->k->gru_grad(H, gate, hp, dh, dx, s->dr + at * l->GH);
    else if (l->mode == NN_RNN_TANH) l->k->tanh_grad(H, out, dh, dx);
    else l->k->relu_grad(H, out, dh, dx);
  }
  float *d = l->mode == NN_GRU ? s->dr : s->dx;
  recur(l, &w, n, d + row * l->GH, l->GH, s->h + b0 * l->ldh, l->ldh, l->mode == NN_GRU);
}

static void walk(Layer *l, bool back) {
  int64_t u;
  while ((u = atomic_fetch_add(&l->next, 1)) < l->sides * l->chunks) {
    int which = (int)(u / l->chunks);
    int64_t b0 = u % l->chunks * l->chunk, b1 = b0 + l->chunk < l->B ? b0 + l->chunk : l->B;
    for (int64_t i = 0; i < l->T && !mt_interrupted && !atomic_load(&l->status); i++) {
      int64_t t = step_at(l, which, back ? l->T - 1 - i : i),
              n = (b1 < l->bs[t] ? b1 : l->bs[t]) - b0;
      if (n <= 0) continue;
      if (back) backward_step(l, which, t, b0, n); else forward_step(l, which, t, b0, n);
    }
  }
}
static void forward_work(void *ctx, int64_t lo, int64_t hi) { walk(ctx, false); }
static void backward_work(void *ctx, int64_t lo, int64_t hi) { walk(ctx, true); }

static void go(Layer *l, mt_range_fn fn) {
  int64_t units = l->sides * l->chunks, threads = mt_num_threads();
  if (units < threads) threads = units;
  if (threads <= 1) fn(l, 0, 1); else mt_parallel(threads, 1, fn, l);
}

/* The layer's sizes, and its cut into units. */
static bool plan(Ctx *c, Layer *l, NnRnnMode mode, const Tensor *input, IntList bs,
                 const Tensor *hx, int sides) {
  *l = (Layer){.g = mt_gemm_kerns()->f32,
               .k = mt_seq_kerns(),
               .mode = mode,
               .T = bs.n,
               .B = hx->size[1],
               .N = input->size[0],
               .H = hx->size[2],
               .I = input->size[1],
               .sides = sides,
               .bs = bs.v};
  int wide = 2 * l->g->vl, threads = mt_num_threads();
  l->GH = nn_rnn_gates(mode) * l->H;
  l->ld = up(l->GH, wide);
  l->ldh = up(l->H, wide);
  l->ldg = mode == NN_LSTM ? l->ld : 4 * l->H;
  l->off = mt_tmp(c, sizeof(int64_t) * (size_t)(l->T + 1));
  if (!l->off) return false;
  l->off[0] = 0;
  for (int64_t t = 0; t < l->T; t++) l->off[t + 1] = l->off[t] + bs.v[t];
  double work = 2.0 * (double)l->N * (double)l->GH * (double)l->H;
  int64_t parts = work < 4e5 || threads == 1 ? 1 : (threads + sides - 1) / sides;
  if (parts > l->B / 2) parts = l->B / 2 > 0 ? l->B / 2 : 1;
  l->chunk = (l->B + parts - 1) / parts;
  if (!l->chunk) l->chunk = 1;
  l->chunks = (l->B + l->chunk - 1) / l->chunk;
  if (work < 4e5) l->chunks = 1, l->chunk = l->B;
  l->small = l->T < 4;
  return true;
}

static float *room(Ctx *c, int64_t n) {
  Tensor *t = mt_new(c, mt_il(&n, 1), MT_float32, MT_CPU);
  return t ? mt_data(t) : NULL;
}
static bool panels(Ctx *c, Layer *l, Side *s, bool back) {
  Weight w = back ? backward_weight(l, s) : forward_weight(l, s);
  if (l->small || (l->B < 2 && l->T < 12)) return true;
  s->panels = room(c, up(w.n, 2 * l->g->vl) * w.k);
  if (!s->panels) return false;
  pack(l, &w, s->panels);
  return true;
}
/* The bias of the input's share: both biases, except that the GRU's new gate keeps the state's
 * apart. */
static const float *joint_bias(Ctx *c, const Layer *l, Side *s, const Tensor *bih,
                               const Tensor *bhh) {
  float *b = room(c, l->ld);
  if (!b) return NULL;
  memset(b, 0, sizeof(float) * (size_t)l->ld);
  const float *x = bih ? mt_data(bih) : NULL, *h = bhh ? mt_data(bhh) : NULL;
  int64_t joint = l->mode == NN_GRU ? 2 * l->H : l->GH;
  for (int64_t i = 0; i < l->GH; i++) b[i] = (x ? x[i] : 0) + (h && i < joint ? h[i] : 0);
  if (l->mode != NN_GRU) return b;
  float *n = room(c, l->H);
  if (!n) return NULL;
  if (h) memcpy(n, h + joint, sizeof(float) * (size_t)l->H);
  else memset(n, 0, sizeof(float) * (size_t)l->H);
  s->bhn = n;
  return b;
}
static bool product(Ctx *c, int64_t m, int64_t n, int64_t k, const float *a, int64_t ar, int64_t ac,
                    const float *b, int64_t br, int64_t bc, float *y, int64_t yr, double beta,
                    const float *bias) {
  MtGemm g = {.type = MT_GEMM_F32,
              .m = m,
              .n = n,
              .k = k,
              .a = a,
              .ars = ar,
              .acs = ac,
              .b = b,
              .brs = br,
              .bcs = bc,
              .c = y,
              .crs = yr,
              .ccs = 1,
              .alpha = 1,
              .beta = beta,
              .bias = bias};
  mt_product_status(c, mt_gemm(&g));
  return !mt_bad(c);
}

static bool forward_side(Ctx *c, Layer *l, int which, const Tensor *x, TensorList params,
                         bool biases) {
  Side *s = &l->side[which];
  int per = biases ? 4 : 2;
  Tensor **p = params.v + which * per;
  s->wih = mt_data(p[0]); s->whh = mt_data(p[1]);
  const float *bias = joint_bias(c, l, s, biases ? p[2] : NULL, biases ? p[3] : NULL);
  if (!bias || !panels(c, l, s, false)) return false;
  if (l->mode != NN_LSTM && !(s->x = room(c, l->N * l->ld))) return false;
  if (l->mode == NN_GRU && !(s->r = room(c, l->B * l->ld))) return false;
  if (l->ld != l->GH)
    for (int64_t i = 0; i < l->N; i++)
      memset(s->x + i * l->ld + l->GH, 0, sizeof(float) * (size_t)(l->ld - l->GH));
  return product(c, l->N, l->GH, l->I, mt_data(x), l->I, 1, s->wih, 1, l->I, s->x, l->ld, 0, bias);
}

static bool contiguous_params(Ctx *c, TensorList *l) {
  Tensor **v = mt_tmp(c, sizeof(Tensor *) * (size_t)(l->n + 1));
  if (!v) return false;
  for (int64_t i = 0; i < l->n; i++) v[i] = mt_contig(c, l->v[i]);
  l->v = v;
  return !mt_bad(c);
}

void k__rnn_layer(Ctx *c, Tensor *input, IntList batch_sizes, Tensor *hx, Tensor *cx,
                  TensorList params, const char *mode, bool has_biases, Val *out) {
  Layer l;
  NnRnnMode m = nn_rnn_mode(c, mode);
  int sides = (int)hx->size[0];
  Tensor *x = mt_contig(c, input), *h0 = mt_contig(c, hx), *c0 = cx ? mt_contig(c, cx) : NULL;
  if (mt_bad(c) || !contiguous_params(c, &params) || !plan(c, &l, m, x, batch_sizes, hx, sides))
    return;
  bool lstm = m == NN_LSTM, gru = m == NN_GRU;
  Tensor *y = mt_new(c, mt_il((int64_t[]){l.N, sides * l.H}, 2), MT_float32, MT_CPU);
  Tensor *hn = mt_new_like(c, h0, MT_float32), *cn = lstm ? mt_new_like(c, c0, MT_float32) : NULL;
  Tensor *gates =
      mt_new(c, mt_il((int64_t[]){sides, lstm || gru ? l.N : 0, l.ldg}, 3), MT_float32, MT_CPU);
  Tensor *cells = mt_new(c, mt_il((int64_t[]){sides, lstm ? l.N : 0, l.H}, 3), MT_float32, MT_CPU);
  if (!lstm) cn = mt_new(c, mt_il((int64_t[]){0}, 1), MT_float32, MT_CPU);
  if (mt_bad(c)) return;
  memcpy(mt_data(hn), mt_data(h0), sizeof(float) * (size_t)h0->numel);
  if (lstm) memcpy(mt_data(cn), mt_data(c0), sizeof(float) * (size_t)c0->numel);
  l.out = mt_data(y);
  for (int d = 0; d < sides; d++) {
    Side *s = &l.side[d];
    s->h = (float *)mt_data(hn) + d * l.B * l.H;
    if (lstm) s->c = (float *)mt_data(cn) + d * l.B * l.H;
    if (lstm || gru) s->gates = (float *)mt_data(gates) + d * l.N * l.ldg;
    if (lstm) { s->cells = (float *)mt_data(cells) + d * l.N * l.H; s->x = s->gates; }
    if (!forward_side(c, &l, d, x, params, has_biases)) return;
  }
  go(&l, forward_work);
  mt_product_status(c, (MtGemmStatus)atomic_load(&l.status));
  if (mt_poll(c)) return;
  out[0].t = y; out[1].t = hn; out[2].t = cn; out[3].t = gates; out[4].t = cells;
}

/* ---- backward ---- */
static void load_states(const Layer *l, float *to, const Tensor *from, int which) {
  const float *f = (const float *)mt_data(from) + which * l->B * l->H;
  for (int64_t b = 0; b < l->B; b++) {
    memcpy(to + b * l->ldh, f + b * l->H, sizeof(float) * (size_t)l->H);
    memset(to + b * l->ldh + l->H, 0, sizeof(float) * (size_t)(l->ldh - l->H));
  }
}
static float *zero_rows(Ctx *c, int64_t n) {
  float *p = room(c, n);
  if (p) memset(p, 0, sizeof(float) * (size_t)n);
  return p;
}
static const float *ones(Ctx *c, int64_t n) {
  float *p = room(c, n);
  for (int64_t i = 0; p && i < n; i++) p[i] = 1;
  return p;
}
/* After the walk: gradients of one direction's weights and of the input. */
static bool gather_grads(Ctx *c, const Layer *l, int which, const Tensor *x, Tensor **gp,
                         bool biases, Tensor *gx) {
  const Side *s = &l->side[which];
  const float *dr = l->mode == NN_GRU ? s->dr : s->dx, *one = biases ? ones(c, l->N) : NULL;
  if (mt_bad(c)) return false;
  bool ok =
      product(c, l->GH, l->I, l->N, s->dx, 1, l->GH, mt_data(x), l->I, 1, mt_data(gp[0]), l->I, 0,
              NULL) &&
      product(c, l->GH, l->H, l->N, dr, 1, l->GH, s->prev, l->H, 1, mt_data(gp[1]), l->H, 0, NULL);
  if (ok && biases)
    ok =
        product(c, 1, l->GH, l->N, one, l->N, 1, s->dx, l->GH, 1, mt_data(gp[2]), l->GH, 0, NULL) &&
        product(c, 1, l->GH, l->N, one, l->N, 1, dr, l->GH, 1, mt_data(gp[3]), l->GH, 0, NULL);
  return ok && (!gx || product(c, l->N, l->I, l->GH, s->dx, l->GH, 1, s->wih, l->I, 1, mt_data(gx),
                               l->I, which != 0, NULL));
}

void nn_rnn_layer_backward(Ctx *c, Tensor *grad, Tensor *grad_h, Tensor *grad_c, Tensor *input,
                           IntList batch_sizes, Tensor *hx, Tensor *cx, TensorList params,
                           const char *mode, bool has_biases, bool need_input, Tensor *output,
                           Tensor *gates, Tensor *cells, Val *out) {
  Layer l;
  NnRnnMode m = nn_rnn_mode(c, mode);
  int sides = (int)hx->size[0], per = has_biases ? 4 : 2;
  Tensor *x = mt_contig(c, input), *h0 = mt_contig(c, hx), *c0 = cx ? mt_contig(c, cx) : NULL,
         *go_ = mt_contig(c, grad);
  Tensor *gh = mt_contig(c, grad_h), *gc = cx ? mt_contig(c, grad_c) : NULL;
  if (mt_bad(c) || !contiguous_params(c, &params) || !plan(c, &l, m, x, batch_sizes, hx, sides))
    return;
  bool lstm = m == NN_LSTM, gru = m == NN_GRU;
  Tensor *gx = need_input ? mt_new_like(c, x, MT_float32) : NULL,
         *ghx = mt_new_like(c, h0, MT_float32);
  Tensor *gcx = lstm ? mt_new_like(c, c0, MT_float32) : NULL;
  TensorList gp = {mt_tmp(c, sizeof(Tensor *) * (size_t)params.n), params.n};
  for (int64_t i = 0; gp.v && i < params.n; i++) gp.v[i] = mt_new_like(c, params.v[i], MT_float32);
  if (mt_bad(c)) return;
  l.out = mt_data(output);
  l.gout = mt_data(go_);
  for (int d = 0; d < sides; d++) {
    Side *s = &l.side[d];
    s->wih = mt_data(params.v[d * per]);
    s->whh = mt_data(params.v[d * per + 1]);
    s->h0 = (const float *)mt_data(h0) + d * l.B * l.H;
    if (lstm) s->c0 = (const float *)mt_data(c0) + d * l.B * l.H;
    if (lstm || gru) s->gates = (float *)mt_data(gates) + d * l.N * l.ldg;
    if (lstm) {
      s->cells = (float *)mt_data(cells) + d * l.N * l.H;
      s->c = (float *)mt_data(gcx) + d * l.B * l.H;
      memcpy(s->c, (const float *)mt_data(gc) + d * l.B * l.H, sizeof(float) * (size_t)(l.B * l.H));
    }
    s->h = zero_rows(c, l.B * l.ldh);
    s->dx = room(c, l.N * l.GH);
    s->dr = gru ? room(c, l.N * l.GH) : NULL;
    s->prev = room(c, l.N * l.H);
    if (mt_bad(c) || !panels(c, &l, s, true)) return;
    load_states(&l, s->h, gh, d);
  }
  go(&l, backward_work);
  mt_product_status(c, (MtGemmStatus)atomic_load(&l.status));
  if (mt_poll(c)) return;
  for (int d = 0; d < sides; d++) {
    for (int64_t b = 0; b < l.B; b++)
      memcpy((float *)mt_data(ghx) + (d * l.B + b) * l.H, l.side[d].h + b * l.ldh,
             sizeof(float) * (size_t)l.H);
    if (!gather_grads(c, &l, d, x, gp.v + d * per, has_biases, gx)) return;
  }
  out[0].t = gx; out[1].t = ghx; out[2].t = gcx; out[3].tl = gp;
}
