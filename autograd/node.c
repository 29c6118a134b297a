/* node.c: nodes and what they save: making, freeing without recursion, unpacking with version
 * checks. */
#include "autograd.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

extern void (*mt_ag_free)(Tensor *t);
bool ag_anomaly, ag_check_nan = true;
const char *(*ag_where)(void);
void *(*ag_pack)(Ctx *c, Tensor *t);
Tensor *(*ag_unpack_packed)(Ctx *c, void *packed);
void (*ag_free_packed)(void *packed);
static uint64_t next_seq = 1;

/* ---- node memory: one block each, recycled by size ---- */
enum { CLASSES = 24, STEP = 64 };
typedef struct FreeBlock { struct FreeBlock *next; } FreeBlock;
static __thread FreeBlock *blocks[CLASSES];
static void *block_get(size_t n) {
  size_t k = (n + STEP - 1) / STEP;
  if (k < CLASSES && blocks[k]) { void *p = blocks[k]; blocks[k] = blocks[k]->next; return p; }
  return mt_malloc(k * STEP);
}
static void block_put(void *p, size_t n) {
  size_t k = (n + STEP - 1) / STEP;
  if (k < CLASSES) { FreeBlock *f = p; f->next = blocks[k]; blocks[k] = f; } else mt_free(p);
}

AgNode *ag_node_new(Ctx *c, const OpRow *op, int nedge, int nout) {
  int np = op ? op->nparam : 0, nr = op ? op->nret : 0;
  size_t at = (sizeof(AgNode) + 15) & ~(size_t)15, edges = at, shapes, args, saved, rets, lists,
         starts;
  if (c->err) return NULL;
  at += sizeof(AgEdge) * (size_t)nedge; shapes = at = (at + 15) & ~(size_t)15;
  at += sizeof(AgShape) * (size_t)nout; args = at = (at + 15) & ~(size_t)15;
  at += sizeof(Val) * (size_t)np; saved = at;
  at += sizeof(AgSaved) * (size_t)np; rets = at;
  at += sizeof(AgSaved) * (size_t)nr; lists = at;
  at += sizeof(AgSaved *) * (size_t)np; starts = at;
  at += sizeof(int32_t) * (size_t)np;
  char *p = block_get(at);
  if (!p) return mt_nomem(c);
  memset(p, 0, at);
  AgNode *n = (AgNode *)p;
  n->ref = 1;
  n->nedge = nedge;
  n->nout = nout;
  n->seq = next_seq++;
  n->op = op;
  n->edge = (AgEdge *)(p + edges);
  n->shape = (AgShape *)(p + shapes);
  n->args = (Val *)(p + args);
  n->saved = (AgSaved *)(p + saved);
  n->saved_ret = (AgSaved *)(p + rets);
  n->saved_list = (AgSaved **)(p + lists);
  n->edge_at = (int32_t *)(p + starts);
  n->bytes = at;
  if (ag_anomaly && ag_where) {
    const char *w = ag_where();
    if (w && (n->where = mt_malloc(strlen(w) + 1))) strcpy(n->where, w);
  }
  return n;
}

static void drop_saved(AgSaved *s) {
  if (s->t) mt_release(s->t);
  if (s->node) ag_node_release(s->node);
  if (s->packed) ag_free_packed(s->packed);
  s->packed = NULL;
  s->t = NULL;
  s->node = NULL;
}

void ag_free_saved(AgNode *n);
void ag_free_saved(AgNode *n) {
  int np = n->op ? n->op->nparam : 0, nr = n->op ? n->op->nret : 0;
  for (int i = 0; i < np; i++) {
    drop_saved(&n->saved[i]);
    if (n->saved_list[i]) {
      for (int64_t k = 0; k < n->args[i].tl.n; k++) drop_saved(&n->saved_list[i][k]);
      mt_free(n->saved_list[i]);
      n->saved_list[i] = NULL;
    }
  }
  for (int i = 0; i < nr; i++) drop_saved(&n->saved_ret[i]);
  for (int i = 0; i < n->nextra; i++) drop_saved(&n->extra[i]);
  n->released = true;
  if (n->inner) ag_free_saved(n->inner);
}

void ag_hooks_free(AgHook *h);
void ag_hooks_free(AgHook *h) {
  while (h) {
    AgHook *next = h->next;
    if (h->free_fn) h->free_fn(h->ud);
    mt_free(h);
    h = next;
  }
}

static __thread AgNode *dying;
static __thread bool draining;
static void node_destroy(AgNode *n) {
  if (n->free_fn) n->free_fn(n);
  ag_free_saved(n);
  for (int i = 0; i < n->nedge; i++) if (n->edge[i].node) ag_node_release(n->edge[i].node);
  for (int i = 0; i < n->nout; i++) if (n->shape[i].more) mt_free(n->shape[i].more);
  if (n->op) for (int i = 0; i < n->op->nparam; i++) {
    int t = n->op->params[i].type;
    if (t == P_IntList) mt_free((void *)n->args[i].il.v);
    else if (t == P_ScalarList) mt_free((void *)n->args[i].sl.v);
    else if (t == P_str) mt_free((void *)n->args[i].str);
  }
  if (n->var) {
    if (n->var->ag && n->var->ag->accum == n) n->var->ag->accum = NULL;
    mt_release(n->var);
  }
  ag_hooks_free(n->hooks);
  mt_free(n->extra);
  while (n->retain) { struct AgRetain *r = n->retain; n->retain = r->next; mt_free(r); }
  mt_free(n->where);
  block_put(n, n->bytes);
}

/* Whatever dies while another dies waits in a list, so that a chain of any length frees in a loop.
 */
void ag_node_release(AgNode *n) {
  if (!n || --n->ref > 0) return;
  n->link = dying;
  dying = n;
  if (draining) return;
  draining = true;
  while (dying) { AgNode *m = dying; dying = m->link; node_destroy(m); }
  draining = false;
}

static void meta_free(Tensor *t) {
  AgMeta *m = t->ag;
  if (!m) return;
  t->ag = NULL;
  if (m->retain && m->node)
    for (struct AgRetain **r = &m->node->retain; *r;) {
      if ((*r)->t == t) { struct AgRetain *dead = *r; *r = dead->next; mt_free(dead); }
      else r = &(*r)->next;
    }
  ag_hooks_free(m->hooks);
  if (m->grad) mt_release(m->grad);
  if (m->node) ag_node_release(m->node);
  block_put(m, sizeof *m);
}

AgMeta *ag_meta(Ctx *c, Tensor *t) {
  if (t->ag) return t->ag;
  AgMeta *m = block_get(sizeof *m);
  if (!m) return mt_nomem(c);
  memset(m, 0, sizeof *m);
  return t->ag = m;
}

void ag_meta_init(void);
void ag_meta_init(void) { mt_ag_free = meta_free; }

void ag_node_shape(Ctx *c, AgNode *n, int nr, Tensor *t) {
  AgShape *s = &n->shape[nr];
  s->dtype = t->dtype;
  s->ndim = t->ndim;
  s->device = t->device;
  int64_t *p = s->size;
  mt_free(s->more);
  s->more = NULL;
  if (t->ndim > 4 && !(p = s->more = mt_malloc(sizeof(int64_t) * t->ndim))) {
    mt_nomem(c);
    s->ndim = 0;
    return;
  }
  memcpy(p, t->size, sizeof(int64_t) * t->ndim);
}

/* ---- saving ---- */
void ag_keep(Ctx *c, AgSaved *s, Tensor *alias) {
  if (!alias) return;
  if (!ag_pack) { s->t = mt_retain(alias); return; }
  bool mode = c->grad_mode;
  c->grad_mode = false;
  s->packed = ag_pack(c, alias);
  c->grad_mode = mode;
}

static Tensor *unpacked(Ctx *c, AgNode *n, AgSaved *s) {
  AgNode *from = s->kind == 3 ? n : s->node;
  Tensor *t = ag_unpack_packed(c, s->packed), *v = t ? mt_alias(c, t) : NULL;
  if (v && from && c->grad_mode) ag_set_history(c, v, from, s->nr);
  return v;
}

void ag_save(Ctx *c, AgSaved *s, Tensor *t, bool shape_only) {
  if (!t || c->err) return;
  if (t->flags & MT_INFERENCE && !shape_only) {
    mt_fail(c, "Inference tensors cannot be saved for backward; clone() the tensor to get a normal "
               "one and use that");
    return;
  }
  s->kind = shape_only ? 2 : 1;
  s->version = t->st->version;
  if (shape_only) {
    Tensor *z = mt_new(c, mt_il(NULL, 0), (DType)t->dtype, MT_META);
    Tensor *v = z ? mt_view(c, z, t->ndim, t->size, t->stride, t->offset) : NULL;
    if (v) { v->flags |= t->flags & MT_WRAPPED; s->t = mt_retain(v); }
    return;
  }
  bool leaf = (t->flags & MT_REQ_GRAD) && !(t->ag && t->ag->node) && !t->base;
  if (leaf && !ag_pack) { s->t = mt_retain(t); return; }
  AgEdge e = ag_edge(c, t);
  s->node = e.node;
  if (e.node) e.node->ref++;
  s->nr = e.nr;
  ag_keep(c, s, mt_alias(c, t));
}

Tensor *ag_unpack(Ctx *c, AgNode *n, AgSaved *s, const char *what) {
  if (c->err || s->kind == 0) return NULL;
  char name[96];
  if (s->packed) return unpacked(c, n, s);
  if (!s->t) {
    mt_fail(c,
            "trying to backward through the graph a second time: what %s saved was freed by the "
            "first backward; pass retain_graph=true to it",
            ag_node_name(n, name, sizeof name));
    return NULL;
  }
  if (s->kind == 2) return s->t;
  if (s->t->st->version != s->version) {
    mt_fail(c,
            "a tensor needed for the gradient of %s (its %s, %s %s) was modified by an in-place "
            "operation: it is at version %lld, version %lld was saved%s%s",
            ag_node_name(n, name, sizeof name), what, mt_dtypes[s->t->dtype].name,
            mt_list_str(c, mt_sizes(s->t)), (long long)s->t->st->version, (long long)s->version,
            n->where ? "; recorded at " : "", n->where ? n->where : "");
    return NULL;
  }
  AgNode *from = s->kind == 3 ? n : s->node;
  if (!from) return s->t;
  Tensor *v = mt_alias(c, s->t);
  if (v && c->grad_mode) ag_set_history(c, v, from, s->nr);
  return v;
}

/* ---- what generated derivatives call ---- */
bool ag_needs(AgNode *n, int param) {
  int at = n->edge_at[param];
  if (at < 0) return false;
  int cnt = n->op->params[param].type == P_TensorList ? (int)n->args[param].tl.n : 1;
  for (int i = 0; i < cnt; i++)
    if (n->edge[at + i].node && (!n->gin || n->edge[at + i].node->needed)) return true;
  return false;
}
void ag_put(Ctx *c, AgNode *n, int param, Tensor *g) {
  if (n->edge_at[param] >= 0 && !c->err) n->gin[n->edge_at[param]] = g;
}
void ag_put_list(Ctx *c, AgNode *n, int param, TensorList l) {
  int at = n->edge_at[param];
  for (int64_t i = 0; at >= 0 && !c->err && i < l.n && i < n->args[param].tl.n; i++)
    n->gin[at + i] = l.v[i];
}
Tensor *ag_saved(Ctx *c, AgNode *n, int param) {
  return n->saved[param].kind ? ag_unpack(c, n, &n->saved[param], n->op->params[param].name) : NULL;
}
Tensor *ag_saved_ret(Ctx *c, AgNode *n, int ret) {
  return ag_unpack(c, n, &n->saved_ret[ret], n->op->ret_names[ret]);
}
TensorList ag_saved_list(Ctx *c, AgNode *n, int param) {
  int64_t cnt = n->args[param].tl.n;
  TensorList l = {mt_tmp(c, sizeof(Tensor *) * (size_t)(cnt > 0 ? cnt : 1)), cnt};
  if (!l.v) { l.n = 0; return l; }
  if (!n->saved_list[param] && cnt > 0) {
    mt_fail(c, "trying to backward through the graph a second time; pass retain_graph=true to the "
               "first backward");
    l.n = 0;
    return l;
  }
  for (int64_t i = 0; i < cnt; i++)
    l.v[i] = ag_unpack(c, n, &n->saved_list[param][i], n->op->params[param].name);
  return l;
}
static Tensor *zeros_of(Ctx *c, const AgShape *s) {
  return t_zeros(c, mt_il(s->more ? s->more : s->size, s->ndim), s->dtype, -1, s->device, -1,
                 false);
}
Tensor *ag_grad(Ctx *c, AgNode *n, Tensor **g, int i) {
  return g[i] || c->err ? g[i] : zeros_of(c, &n->shape[i]);
}
TensorList ag_grads(Ctx *c, AgNode *n, Tensor **g) {
  TensorList l = {mt_tmp(c, sizeof(Tensor *) * (size_t)(n->nout + 1)), n->nout};
  if (!l.v) l.n = 0;
  for (int64_t i = 0; i < l.n; i++) l.v[i] = ag_grad(c, n, g, (int)i);
  return l;
}

/* "max_dim" -> "MaxBackward1": PyTorch's style of name. */
const char *ag_node_name(AgNode *n, char *buf, size_t size) {
  if (n->name) { snprintf(buf, size, "%s", n->name); return buf; }
  if (n->var) { snprintf(buf, size, "AccumulateGrad"); return buf; }
  if (!n->op) { snprintf(buf, size, "Node"); return buf; }
  size_t at = 0;
  bool up = true;
  for (const char *p = n->op->base; *p && at + 16 < size; p++) {
    if (*p == '_') { up = true; continue; }
    buf[at++] = up ? (char)toupper((unsigned char)*p) : *p;
    up = false;
  }
  snprintf(buf + at, size - at, "Backward%d", n->op->overload[0] ? 1 : 0);
  return buf;
}

AgNode *ag_custom(Ctx *c, const char *name, int nin, Tensor **in, int nout) {
  AgNode *n = ag_node_new(c, NULL, nin, nout);
  if (!n) return NULL;
  n->name = name;
  for (int i = 0; i < nin; i++) {
    if (!in[i]) continue;
    n->edge[i] = ag_edge(c, in[i]);
    if (n->edge[i].node) n->edge[i].node->ref++;
  }
  return n;
}
