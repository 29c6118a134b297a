/* multihead.c: F.multi_head_attention_forward: projections, extra keys and masks around scaled
 * dot-product attention. */
#include "expr_rt.h"
#include "op.h"
#include <string.h>

#define LIST(...)                                                            \
  mt_il((const int64_t[]){__VA_ARGS__},                                      \
        (int64_t)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))

typedef struct {
  Tensor *q, *k,
      *v; /* [length, batch, features], after the heads are cut [batch, heads, length, width] */
  Tensor *mask, *padding; /* addends: mask [L, S] or [batch * heads, L, S]; padding [batch, S] */
  int64_t L, S, B, E, heads, width;
} Mha;

static Tensor *add(Ctx *c, Tensor *a, Tensor *b) { return t_add(c, a, b, mt_si(1)); }
static Tensor *cat2(Ctx *c, Tensor *a, Tensor *b, int64_t dim) {
  Tensor *v[2] = {a, b};
  return t_cat(c, (TensorList){v, 2}, dim);
}

/* A mask as addend: true becomes -inf. */
static Tensor *addend(Ctx *c, Tensor *mask, int dtype, const char *what) {
  if (!mask) return NULL;
  if (mask->dtype == MT_bool) {
    Tensor *z = t_zeros(c, mt_sizes(mask), dtype, -1, mask->device, -1, false);
    return t_masked_fill(c, z, mask, mt_sd(-INFINITY));
  }
  if (!mt_is_float(mask->dtype))
    return mt_fail(c, "%s must be of bool or floating point dtype, got %s", what,
                   mt_dtypes[mask->dtype].name);
  return mask->dtype == dtype ? mask : t_to_dtype(c, mask, dtype, false, -1);
}

static bool shapes(Ctx *c, const Mha *m, int64_t embed, const Tensor *key, const Tensor *value,
                   const Tensor *padding, const Tensor *mask) {
  if (m->E != embed) {
    mt_fail(c, "was expecting embedding dimension of %lld, but got %lld", (long long)embed,
            (long long)m->E);
    return false;
  }
  if (m->heads < 1 || m->E % m->heads) {
    mt_fail(c, "embed_dim %lld not divisible by num_heads %lld", (long long)m->E,
            (long long)m->heads);
    return false;
  }
  if (key->size[0] != value->size[0] || key->size[1] != value->size[1] || key->size[1] != m->B) {
    mt_fail(c, "key of shape %s and value of shape %s do not fit together and to a batch of %lld",
            mt_list_str(c, mt_sizes(key)), mt_list_str(c, mt_sizes(value)), (long long)m->B);
    return false;
  }
  if (padding && (padding->ndim != 2 || padding->size[0] != m->B || padding->size[1] != m->S)) {
    mt_fail(c, "expected key_padding_mask of shape [%lld, %lld], got %s", (long long)m->B,
            (long long)m->S, mt_list_str(c, mt_sizes(padding)));
    return false;
  }
  if (mask && !((mask->ndim == 2 && mask->size[0] == m->L && mask->size[1] == m->S) ||
                (mask->ndim == 3 && mask->size[0] == m->B * m->heads && mask->size[1] == m->L &&
                 mask->size[2] == m->S))) {
    mt_fail(c, "expected attn_mask of shape [%lld, %lld] or [%lld, %lld, %lld], got %s",
            (long long)m->L, (long long)m->S, (long long)(m->B * m->heads), (long long)m->L,
            (long long)m->S, mt_list_str(c, mt_sizes(mask)));
    return false;
  }
  return true;
}

static Tensor *rows_of(Ctx *c, Tensor *t, int64_t i, int64_t n) {
  return t ? t_narrow(c, t, 0, i * n, n) : NULL;
}
/* The packed weight serves queries, keys and values in one product where they are one tensor, in
 * two where the latter are. */
static void project_packed(Ctx *c, Mha *m, Tensor *w, Tensor *b) {
  int64_t E = m->E;
  if (w->ndim != 2 || w->size[0] != 3 * E) {
    mt_fail(c, "in_proj_weight of shape %s does not hold three matrices of %lld rows",
            mt_list_str(c, mt_sizes(w)), (long long)E);
    return;
  }
  if (m->q == m->k && m->k == m->v) {
    Tensor *all = t_F_linear(c, m->q, w, b);
    m->q = t_narrow(c, all, 2, 0, E);
    m->k = t_narrow(c, all, 2, E, E);
    m->v = t_narrow(c, all, 2, 2 * E, E);
    return;
  }
  m->q = t_F_linear(c, m->q, rows_of(c, w, 0, E), rows_of(c, b, 0, E));
  if (m->k == m->v) {
    Tensor *both =
        t_F_linear(c, m->k, t_narrow(c, w, 0, E, 2 * E), b ? t_narrow(c, b, 0, E, 2 * E) : NULL);
    m->k = t_narrow(c, both, 2, 0, E); m->v = t_narrow(c, both, 2, E, E);
    return;
  }
  m->k = t_F_linear(c, m->k, rows_of(c, w, 1, E), rows_of(c, b, 1, E));
  m->v = t_F_linear(c, m->v, rows_of(c, w, 2, E), rows_of(c, b, 2, E));
}
static void project(Ctx *c, Mha *m, Tensor *wq, Tensor *wk, Tensor *wv, Tensor *b) {
  int64_t E = m->E;
  if (!wq || !wk || !wv) {
    mt_fail(c, "use_separate_proj_weight needs q_proj_weight, k_proj_weight and v_proj_weight");
    return;
  }
  m->q = t_F_linear(c, m->q, wq, rows_of(c, b, 0, E));
  m->k = t_F_linear(c, m->k, wk, rows_of(c, b, 1, E));
  m->v = t_F_linear(c, m->v, wv, rows_of(c, b, 2, E));
}

/* One more key that every query may see. */
static void widen_masks(Ctx *c, Mha *m) {
  m->S++;
  if (m->mask) m->mask = t_F_pad(c, m->mask, LIST(0, 1), "constant", mt_snone());
  if (m->padding) m->padding = t_F_pad(c, m->padding, LIST(0, 1), "constant", mt_snone());
}
/* [length, batch, heads * width] -> [batch, heads, length, width] */
static Tensor *cut(Ctx *c, const Mha *m, Tensor *t) {
  return t ? t_permute(c, t_reshape(c, t, LIST(t->size[0], m->B, m->heads, m->width)),
                       LIST(1, 2, 0, 3))
           : NULL;
}
static Tensor *given(Ctx *c, const Mha *m, Tensor *t, const char *what) {
  if (t->ndim != 3 || t->size[0] != m->B * m->heads || t->size[2] != m->width)
    return mt_fail(c, "expected %s of shape [%lld, *, %lld], got %s", what,
                   (long long)(m->B * m->heads), (long long)m->width, mt_list_str(c, mt_sizes(t)));
  return t_reshape(c, t, LIST(m->B, m->heads, t->size[1], m->width));
}
/* The masks as one addend that fits [batch, heads, L, S]. */
static Tensor *joint_mask(Ctx *c, const Mha *m) {
  Tensor *a = m->mask;
  if (a && a->ndim == 3) a = t_reshape(c, a, LIST(m->B, m->heads, m->L, m->S));
  if (!m->padding) return a;
  Tensor *p = t_reshape(c, m->padding, LIST(m->B, 1, 1, m->S));
  return a ? add(c, a, p) : p;
}

static Tensor *with_weights(Ctx *c, const Mha *m, Tensor *mask, double dropout, Tensor **weights) {
  Tensor *q = t_mul(c, m->q, mt_wrap(c, mt_sd(sqrt(1.0 / (double)m->width))));
  Tensor *w = t_matmul(c, q, t_transpose(c, m->k, -2, -1));
  w = t_softmax(c, mask ? add(c, w, mask) : w, -1, -1);
  if (dropout > 0) w = t_F_dropout(c, w, dropout, true, false);
  *weights = w;
  return t_matmul(c, w, m->v);
}

void k_F_multi_head_attention_forward(Ctx *c, Tensor *query, Tensor *key, Tensor *value,
                                      int64_t embed, int64_t heads, Tensor *w_in, Tensor *b_in,
                                      Tensor *bias_k, Tensor *bias_v, bool zero, double dropout,
                                      Tensor *w_out, Tensor *b_out, bool training, Tensor *padding,
                                      bool need, Tensor *mask, bool separate, Tensor *wq,
                                      Tensor *wk, Tensor *wv, Tensor *static_k, Tensor *static_v,
                                      bool average, bool causal, Val *out) {
  bool batched = query->ndim == 3;
  if ((query->ndim != 3 && query->ndim != 2) || key->ndim != query->ndim ||
      value->ndim != query->ndim) {
    mt_fail(c, "query, key and value must all have 2 or all 3 dimensions, got %s, %s and %s",
            mt_list_str(c, mt_sizes(query)), mt_list_str(c, mt_sizes(key)),
            mt_list_str(c, mt_sizes(value)));
    return;
  }
  if (!batched) {
    Tensor *q = t_unsqueeze(c, query, 1), *k = key == query ? q : t_unsqueeze(c, key, 1);
    value = value == key ? k : value == query ? q : t_unsqueeze(c, value, 1);
    query = q; key = k;
    if (padding) padding = t_unsqueeze(c, padding, 0);
  }
  if (mt_bad(c)) return;
  Mha m = {query,          key,   value, NULL, NULL, query->size[0], key->size[0], query->size[1],
           query->size[2], heads, 0};
  if (causal && !mask) { mt_fail(c, "need attn_mask if specifying the is_causal hint"); return; }
  if (!shapes(c, &m, embed, key, value, padding, mask)) return;
  if (causal && !padding && !need) mask = NULL;
  else causal = false;
  m.mask = addend(c, mask, query->dtype, "attn_mask");
  m.padding = addend(c, padding, query->dtype, "key_padding_mask");
  m.width = m.E / heads;
  if (separate) project(c, &m, wq, wk, wv, b_in);
  else if (w_in) project_packed(c, &m, w_in, b_in);
  else mt_fail(c, "in_proj_weight is needed unless use_separate_proj_weight");
  if (mt_bad(c)) return;
  if (!bias_k != !bias_v) { mt_fail(c, "bias_k and bias_v must be given together"); return; }
  if (bias_k) {
    if (static_k || static_v) { mt_fail(c, "bias cannot be added to static key or value"); return; }
    m.k = cat2(c, m.k, t_repeat(c, bias_k, LIST(1, m.B, 1)), 0);
    m.v = cat2(c, m.v, t_repeat(c, bias_v, LIST(1, m.B, 1)), 0);
    widen_masks(c, &m);
  }
  m.q = cut(c, &m, m.q);
  m.k = static_k ? given(c, &m, static_k, "static_k") : cut(c, &m, m.k);
  m.v = static_v ? given(c, &m, static_v, "static_v") : cut(c, &m, m.v);
  if (zero && !mt_bad(c)) {
    Tensor *z = t_zeros(c, LIST(m.B, heads, 1, m.width), m.k->dtype, -1, m.k->device, -1, false);
    m.k = cat2(c, m.k, z, 2);
    m.v = cat2(c, m.v, z, 2);
    widen_masks(c, &m);
  }
  if (mt_bad(c)) return;
  Tensor *joint = joint_mask(c, &m), *weights = NULL;
  if (!training) dropout = 0;
  Tensor *y = need ? with_weights(c, &m, joint, dropout, &weights)
                   : t_F_scaled_dot_product_attention(c, m.q, m.k, m.v, joint, dropout, causal,
                                                      mt_snone(), false);
  y = t_reshape(c, t_permute(c, y, LIST(2, 0, 1, 3)), LIST(m.L, m.B, m.E));
  y = t_F_linear(c, y, w_out, b_out);
  if (weights && average) weights = t_mean_dim(c, weights, LIST(1), false, -1);
  out[0].t = batched ? y : t_squeeze_dim(c, y, LIST(1));
  out[1].t = batched || !weights ? weights : t_squeeze_dim(c, weights, LIST(0));
}
