/* autocast.c: mixed precision: which ops run in the lower dtype, which in float32, which in their
 * widest argument's dtype.
 *
 * Invariants.  The lists are PyTorch's for the CPU.  Casts are ops, so gradients flow through them;
 * the op itself and what it is made of run with autocast off.  A parameter's cast is made once per
 * region (while gradients are recorded) and again when the parameter was written to;
 * mt_autocast_clear forgets them all. */
#include "op.h"
#include <string.h>

enum { NONE, LOWER, FULL, WIDEST, APART, PADS, POWER, LISTS };
/* Last names of the ops' paths; all of torch.fft too. */
static const char *const lists[LISTS] = {
    [LOWER] = " linear mm bmm matmul addmm addbmm baddbmm vecdot conv1d conv2d conv3d "
              "conv_transpose1d conv_transpose2d"
              " conv_transpose3d prelu scaled_dot_product_attention lstm rnn_tanh rnn_relu "
              "rnn_tanh_cell rnn_relu_cell ",
    [FULL] =
        " avg_pool3d binary_cross_entropy grid_sample grid_sampler polar prod quantile nanquantile "
        "stft cdist trace"
        " view_as_complex cholesky cholesky_inverse cholesky_solve inverse lu_solve orgqr ormqr "
        "pinverse max_pool3d"
        " max_pool3d_with_indices max_unpool2d max_unpool3d adaptive_avg_pool3d adaptive_max_pool3d"
        " adaptive_max_pool3d_with_indices mse_loss cosine_embedding_loss nll_loss "
        "hinge_embedding_loss poisson_nll_loss"
        " smooth_l1_loss cross_entropy l1_loss huber_loss margin_ranking_loss soft_margin_loss "
        "triplet_margin_loss"
        " multi_margin_loss ctc_loss kl_div multilabel_margin_loss "
        "binary_cross_entropy_with_logits cond matrix_rank solve"
        " cholesky_ex svdvals eigvals eigvalsh inv inv_ex householder_product tensorinv "
        "tensorsolve geqrf qr svd eig eigh lstsq"
        " triangular_solve fractional_max_pool2d fractional_max_pool3d "
        "fractional_max_pool2d_with_indices"
        " fractional_max_pool3d_with_indices ",
    [WIDEST] = " stack cat index_copy ",
    [PADS] = " pad ", /* by mode, see pad_policy */
    [POWER] = " matrix_power ", /* products, unless the exponent asks for none */
    [APART] =
        " mv dot vdot addmv addr bilinear matrix_exp det slogdet "}; /* in no list of
                                                                                     PyTorch's; made
                                                                                     of products
                                                                                     here */

static int find_policy(const OpRow *op) {
  const char *last = strrchr(op->path, '.');
  char word[80];
  size_t n = last ? strlen(last + 1) : 0;
  if (!n || n > sizeof word - 3 || last[1] == '_') return NONE;
  if (!strncmp(op->path, "torch.fft.", 10))
    return strstr(last, "shift") || strstr(last, "freq") ? NONE : FULL;
  word[0] = word[n + 1] = ' ';
  memcpy(word + 1, last + 1, n);
  word[n + 2] = 0;
  for (int k = LOWER; k < LISTS; k++)
    if (strstr(lists[k], word)) return k;
  return NONE;
}
static int policy(const OpRow *op) {
  static uint8_t known[OP_COUNT]; /* 1 + policy */
  if (op->id < 0 || op->id >= OP_COUNT) return NONE;
  if (!known[op->id]) known[op->id] = (uint8_t)(1 + find_policy(op));
  return known[op->id] - 1;
}

/* PyTorch lists kernels of padding: reflection in one and two dimensions, replication in all. */
static int pad_policy(const Val *a) {
  const char *mode = a[2].str;
  if (!mode) return NONE;
  if (!strcmp(mode, "replicate")) return FULL;
  return !strcmp(mode, "reflect") && a[1].il.n <= 4 ? FULL : NONE;
}

/* ---- the casts of parameters ---- */
typedef struct {
  Tensor *from, *to;
  int64_t version;
} Kept;
struct MtCasts {
  Kept *v;
  int64_t n, cap;
};

static Kept *slot(struct MtCasts *k, const Tensor *t) {
  uint64_t h = (uint64_t)(uintptr_t)t * 0x9e3779b97f4a7c15u;
  for (int64_t i = (int64_t)(h >> 32) & (k->cap - 1);; i = (i + 1) & (k->cap - 1))
    if (!k->v[i].from || k->v[i].from == t) return &k->v[i];
}
static bool grow(struct MtCasts *k) {
  struct MtCasts old = *k, new = {NULL, k->n, k->cap ? 2 * k->cap : 64};
  if (!(new.v = mt_calloc(sizeof(Kept) * (size_t)new.cap))) return false;
  for (int64_t i = 0; i < old.cap; i++)
    if (old.v[i].from) *slot(&new, old.v[i].from) = old.v[i];
  mt_free(old.v);
  *k = new;
  return true;
}
void mt_autocast_clear(Ctx *c) {
  struct MtCasts *k = c->casts;
  if (!k) return;
  c->casts = NULL;
  for (int64_t i = 0; i < k->cap; i++)
    if (k->v[i].from) {
      mt_release(k->v[i].from);
      mt_release(k->v[i].to);
    }
  mt_free(k->v);
  mt_free(k);
}
static void keep(Ctx *c, Tensor *from, Tensor *to) {
  if (!c->casts && !(c->casts = mt_calloc(sizeof *c->casts))) return;
  struct MtCasts *k = c->casts;
  if (2 * k->n >= k->cap && !grow(k)) return; /* without memory it is only cast again */
  Kept *s = slot(k, from);
  if (!s->from) {
    k->n++;
    s->from = mt_retain(from);
  } else mt_release(s->to);
  s->to = mt_retain(to);
  s->version = from->st->version;
}

/* ---- casting arguments ---- */
static bool eligible(const Tensor *t) {
  return t && mt_is_float(t->dtype) && t->dtype != MT_float64 && !(t->flags & MT_WRAPPED);
}

static Tensor *lowered(Ctx *c, Tensor *t, DType d) {
  if (!eligible(t) || t->dtype == d) return t;
  bool keepable = c->autocast_cache && c->grad_mode && d != MT_float32 && t->dtype == MT_float32 &&
                  t->flags & MT_PARAM && t->flags & MT_REQ_GRAD && !t->base;
  if (keepable && c->casts) {
    Kept *s = slot(c->casts, t);
    if (s->from && s->version == t->st->version && s->to->dtype == d) return s->to;
  }
  Tensor *low = t_to_dtype(c, t, d, false, -1);
  if (low && keepable) keep(c, t, low);
  return low;
}

static DType widest(const OpRow *op, const Val *a, DType d) {
  for (int i = 0; i < op->nparam; i++) {
    if (op->tmask >> i & 1 && eligible(a[i].t)) d = mt_promote(d, (DType)a[i].t->dtype);
    if (op->lmask >> i & 1)
      for (int64_t k = 0; k < a[i].tl.n; k++)
        if (eligible(a[i].tl.v[k])) d = mt_promote(d, (DType)a[i].tl.v[k]->dtype);
  }
  return d;
}

static void cast_args(Ctx *c, const OpRow *op, Val *a, DType d) {
  for (int i = 0; i < op->nparam && !c->err; i++) {
    if (op->tmask >> i & 1 && a[i].t) a[i].t = lowered(c, a[i].t, d);
    if (!(op->lmask >> i & 1) || a[i].tl.n <= 0) continue;
    TensorList l = {mt_tmp(c, sizeof(Tensor *) * (size_t)a[i].tl.n), a[i].tl.n};
    if (!l.v) return;
    for (int64_t k = 0; k < l.n; k++) l.v[k] = lowered(c, a[i].tl.v[k], d);
    a[i].tl = l;
  }
}

bool mt_autocast_call(Ctx *c, const OpRow *op, Val *a, Val *r) {
  int p = policy(op);
  Val local[32];
  if (p == PADS) p = pad_policy(a);
  else if (p == POWER) p = a[1].i >= 2 ? LOWER : APART;
  if (p == NONE || c->err) return false;
  memcpy(local, a, sizeof(Val) * op->nparam);
  c->autocast = false;
  if (p != APART)
    cast_args(c, op, local,
              p == LOWER  ? c->autocast_dtype
              : p == FULL ? MT_float32
                          : widest(op, a, c->autocast_dtype));
  mt_call(c, op, local, r);
  c->autocast = true;
  return true;
}
