/* record.c: what happens when an op runs whose arguments require gradients: its node, its saved
 * tensors, and history for in-place writes, on plain tensors and through views (the base's history
 * is rewritten, as PyTorch does). */
#include "autograd.h"
#include <string.h>

void ag_meta_init(void);

/* ---- state of tensors ---- */
static AgNode *accumulator(Ctx *c, Tensor *t) {
  AgMeta *m = ag_meta(c, t);
  if (!m) return NULL;
  if (!m->accum) {
    AgNode *n = ag_node_new(c, NULL, 0, 1);
    if (!n) return NULL;
    n->seq = 0;
    n->var = mt_retain(t);
    ag_node_shape(c, n, 0, t);
    m->accum = n;
    n->ref = 0;                            /* the first edge that points here counts it */
    return n;
  }
  return m->accum;
}

static void view_apply(Ctx *c, AgNode *n, Tensor **g);

/* Geometry of a view over its base, kept by nodes that need it. */
typedef struct {
  int ndim, base_ndim;
  uint8_t base_dtype, view_dtype;
  uint8_t flags;
  int64_t offset, base_offset, *v;
} Geometry;
static Geometry *geometry(Ctx *c, const Tensor *view, const Tensor *base) {
  size_t n = 2 * (size_t)(view->ndim + base->ndim);
  Geometry *q = mt_malloc(sizeof *q + sizeof(int64_t) * (n + 1));
  if (!q) return mt_nomem(c);
  q->v = (int64_t *)(q + 1);
  q->ndim = view->ndim;
  q->base_ndim = base->ndim;
  q->base_dtype = base->dtype;
  q->view_dtype = view->dtype;
  q->flags = (uint8_t)((view->flags ^ base->flags) & (MT_CONJ | MT_NEG));
  q->offset = view->offset;
  q->base_offset = base->offset;
  memcpy(q->v, view->size, sizeof(int64_t) * view->ndim);
  memcpy(q->v + view->ndim, view->stride, sizeof(int64_t) * view->ndim);
  memcpy(q->v + 2 * view->ndim, base->size, sizeof(int64_t) * base->ndim);
  memcpy(q->v + 2 * view->ndim + base->ndim, base->stride, sizeof(int64_t) * base->ndim);
  return q;
}
static IntList g_size(const Geometry *q) { return mt_il(q->v, q->ndim); }
static IntList g_stride(const Geometry *q) { return mt_il(q->v + q->ndim, q->ndim); }
static IntList g_bsize(const Geometry *q) { return mt_il(q->v + 2 * q->ndim, q->base_ndim); }
static IntList g_bstride(const Geometry *q) {
  return mt_il(q->v + 2 * q->ndim + q->base_ndim, q->base_ndim);
}
static void free_geometry(AgNode *n) { mt_free(n->ud); }

/* A tensor laid out like the base, and the view's window into it. */
static Tensor *base_like(Ctx *c, const Geometry *q, DType d) {
  Tensor *t = t_empty_strided(c, g_bsize(q), g_bstride(q), d, -1, -1, -1, false);
  return t ? t_zero_(c, t) : NULL;
}
static Tensor *window(Ctx *c, const Geometry *q, Tensor *base) {
  int64_t off = q->offset - q->base_offset;
  Tensor *t = base;
  if (q->view_dtype !=
      q->base_dtype) { /* view_as_real and back: read the base in the view's dtype */
    if (mt_is_complex(q->base_dtype)) {
      t = t_view_as_real(c, base);
      off = q->offset - 2 * q->base_offset;
    } else {
      t = t_view_as_complex(c, base);
      off = q->offset - q->base_offset / 2;
    }
  }
  t = t_as_strided(c, t, g_size(q), g_stride(q), off);
  if (q->flags & MT_CONJ && t && mt_is_complex(t->dtype)) t = t__conj(c, t);
  if (q->flags & MT_NEG) t = t__neg_view(c, t);
  return t;
}

/* The node of a view whose base was written to: the gradient goes into the window of zeros. */
static void view_apply(Ctx *c, AgNode *n, Tensor **g) {
  const Geometry *q = n->ud;
  Tensor *b = base_like(c, q, (DType)q->base_dtype);
  t_copy_(c, window(c, q, b), ag_grad(c, n, g, 0), false);
  n->gin[0] = b;
}

static void refresh_view(Ctx *c, Tensor *t) {
  Tensor *base = t->base;
  if (!base || !base->ag || t->flags & MT_LEAFVIEW) return;
  AgMeta *m = ag_meta(c, t);
  if (!m || m->seen == base->ag->rebased) return;
  AgEdge e = ag_edge(c, base);
  if (!e.node) { m->seen = base->ag->rebased; return; }
  AgNode *n = ag_node_new(c, NULL, 1, 1);
  if (!n) return;
  n->name = "AsStridedBackward0";
  n->apply = view_apply;
  n->free_fn = free_geometry;
  n->ud = geometry(c, t, base);
  n->edge[0] = e;
  e.node->ref++;
  ag_node_shape(c, n, 0, t);
  if (m->node) ag_node_release(m->node);
  m->node = n;
  m->nr = 0;
  m->seen = base->ag->rebased;
  t->flags |= MT_REQ_GRAD;
}

AgEdge ag_edge(Ctx *c, Tensor *t) {
  AgEdge e = {NULL, 0};
  if (c->err) return e;
  refresh_view(c, t);
  if (!(t->flags & MT_REQ_GRAD)) return e;
  if (t->ag && t->ag->node) { e.node = t->ag->node; e.nr = t->ag->nr; return e; }
  e.node = accumulator(c, t);
  return e;
}

AgNode *ag_grad_fn(Ctx *c, Tensor *t) {
  refresh_view(c, t);
  return t->ag ? t->ag->node : NULL;
}
bool ag_requires_grad(Ctx *c, Tensor *t) { refresh_view(c, t); return t->flags & MT_REQ_GRAD; }
bool ag_is_leaf(Ctx *c, Tensor *t) { return !ag_grad_fn(c, t); }

void ag_set_requires_grad(Ctx *c, Tensor *t, bool on) {
  if (on && mt_is_int(t->dtype)) {
    mt_fail(c, "only tensors of floating point or complex dtype can require gradients, got %s",
            mt_dtypes[t->dtype].name);
    return;
  }
  if (!on && ag_grad_fn(c, t)) {
    mt_fail(c, "requires_grad can only be turned off for leaf tensors; use detach() for a tensor "
               "without history");
    return;
  }
  if (on && t->flags & MT_INFERENCE && !c->inference) {
    mt_fail(c, "Setting requires_grad=True on inference tensor outside InferenceMode is not "
               "allowed; clone() it first");
    return;
  }
  if (on) t->flags |= MT_REQ_GRAD; else t->flags &= (uint8_t)~MT_REQ_GRAD;
}

Tensor *ag_grad_of(Tensor *t) { return t->ag ? t->ag->grad : NULL; }
void ag_set_grad(Ctx *c, Tensor *t, Tensor *g) {
  if (g) {
    if (g->dtype != t->dtype) {
      mt_fail(c, "assigned grad has dtype %s, but the tensor is %s", mt_dtypes[g->dtype].name,
              mt_dtypes[t->dtype].name);
      return;
    }
    if (g->ndim != t->ndim || memcmp(g->size, t->size, sizeof(int64_t) * t->ndim)) {
      mt_fail(c, "assigned grad has shape %s, but the tensor has shape %s",
              mt_list_str(c, mt_sizes(g)), mt_list_str(c, mt_sizes(t)));
      return;
    }
    if (g == t) { mt_fail(c, "a tensor cannot be its own grad"); return; }
  } else if (!t->ag) return;
  AgMeta *m = ag_meta(c, t);
  if (!m) return;
  mt_retain(g);
  if (m->grad) mt_release(m->grad);
  m->cleared = !g && (m->grad || m->cleared);
  m->grad = g;
}

void ag_set_history(Ctx *c, Tensor *t, AgNode *n, int nr) {
  AgMeta *m = ag_meta(c, t);
  if (!m) return;
  n->ref++;
  if (m->node) ag_node_release(m->node);
  m->node = n;
  m->nr = nr;
  if (t->base && t->base->ag) m->seen = t->base->ag->rebased;
  t->flags |= MT_REQ_GRAD;
}

void ag_detach_(Ctx *c, Tensor *t) {
  if (t->base && !(t->flags & MT_LEAFVIEW)) {
    mt_fail(c, "detach_: a view cannot be detached in place; use detach()");
    return;
  }
  if (t->ag && t->ag->node) { ag_node_release(t->ag->node); t->ag->node = NULL; }
  t->flags &= (uint8_t)~MT_REQ_GRAD;
}

void ag_retain_grad(Ctx *c, Tensor *t) {
  AgNode *n = ag_grad_fn(c, t);
  if (!(t->flags & MT_REQ_GRAD)) {
    mt_fail(c, "retain_grad: the tensor does not require gradients");
    return;
  }
  if (!n || t->ag->retain) return;
  struct AgRetain *r = mt_malloc(sizeof *r);
  if (!r) { mt_nomem(c); return; }
  r->t = t;
  r->nr = t->ag->nr;
  r->next = n->retain;
  n->retain = r;
  t->ag->retain = true;
}

static int64_t next_hook = 1;
AgHook *ag_node_add_hook(AgNode *n, AgHook *h) {
  AgHook **at = &n->hooks;
  h->id = next_hook++;
  h->next = NULL;
  while (*at) at = &(*at)->next;
  return *at = h;
}
int64_t ag_add_hook(Ctx *c, Tensor *t, AgHook *h) {
  if (!ag_requires_grad(c, t)) {
    mt_fail(c, "register_hook: cannot register a hook on a tensor that does not require gradients");
    return 0;
  }
  AgNode *n = ag_grad_fn(c, t);
  AgMeta *m = ag_meta(c, t);
  if (!m) return 0;
  h->id = next_hook++;
  h->next = NULL;
  if (h->nr >= 0) h->nr = n ? m->nr : 0;
  AgHook **at = n ? &n->hooks : &m->hooks;
  while (*at) at = &(*at)->next;
  *at = h;
  return h->id;
}
static bool unlink_hook(AgHook **at, int64_t id) {
  for (; *at; at = &(*at)->next)
    if ((*at)->id == id) {
      AgHook *dead = *at;
      *at = dead->next;
      if (dead->free_fn) dead->free_fn(dead->ud);
      mt_free(dead);
      return true;
    }
  return false;
}
bool ag_remove_hook(Tensor *t, AgNode *n, int64_t id) {
  if (n && unlink_hook(&n->hooks, id)) return true;
  return t && t->ag && unlink_hook(&t->ag->hooks, id);
}

/* ---- recording ---- */
static void *copy_mem(Ctx *c, const void *p, size_t n) {
  void *q = mt_malloc(n);
  if (!q) mt_nomem(c); else if (n) memcpy(q, p, n);
  return q;
}

static int count_edges(const OpRow *op, const Val *a) {
  int n = 0;
  for (int i = 0; i < op->nparam; i++) {
    if (op->params[i].type == P_Tensor) n++;
    else if (op->params[i].type == P_TensorList && a[i].tl.n > 0) n += (int)a[i].tl.n;
  }
  return n;
}

static void link_edge(Ctx *c, AgNode *n, int at, Tensor *t) {
  if (!t) return;
  AgEdge e = ag_edge(c, t);
  if (!e.node) {
    if (t->why) { n->cut = t->why; n->cut_st = t->st; }
    return;
  }
  n->edge[at] = e;
  e.node->ref++;
}

/* Copies the arguments a derivative may ask for; `self_old` stands for the first when the op
 * overwrites it. */
static AgNode *make_node(Ctx *c, const OpRow *op, Val *a, const DerivRow *d, Tensor *written) {
  AgNode *n = ag_node_new(c, op, count_edges(op, a), op->flags & OF_LISTRET ? 0 : op->nret);
  if (!n) return NULL;
  n->apply = d->fn;
  int at = 0;
  for (int i = 0; i < op->nparam && !c->err; i++) {
    char save = d->args ? d->args[i] : '0';
    n->edge_at[i] = -1;
    switch (op->params[i].type) {
      case P_Tensor:
        n->edge_at[i] = at;
        link_edge(c, n, at++, a[i].t);
        if (save != '0' && a[i].t) {
          if (save == '1' && a[i].t == written) {
            Tensor *copy =
                t_clone(c, a[i].t, -1); /* the value before the write, with its history */
            ag_save(c, &n->saved[i], copy, false);
          } else ag_save(c, &n->saved[i], a[i].t, save == 's');
        }
        break;
      case P_TensorList:
        n->args[i].tl.n = a[i].tl.n;
        if (a[i].tl.n <= 0) break;
        n->edge_at[i] = at;
        for (int64_t k = 0; k < a[i].tl.n; k++) link_edge(c, n, at++, a[i].tl.v[k]);
        if (save == '0') break;
        n->saved_list[i] = mt_calloc(sizeof(AgSaved) * (size_t)a[i].tl.n);
        if (!n->saved_list[i]) { mt_nomem(c); break; }
        for (int64_t k = 0; k < a[i].tl.n; k++)
          ag_save(c, &n->saved_list[i][k], a[i].tl.v[k], save == 's');
        break;
      case P_IntList:
        n->args[i].il = a[i].il;
        n->args[i].il.v =
            a[i].il.n >= 0 ? copy_mem(c, a[i].il.v, sizeof(int64_t) * (size_t)a[i].il.n) : NULL;
        break;
      case P_ScalarList:
        n->args[i].sl = a[i].sl;
        n->args[i].sl.v =
            a[i].sl.n >= 0 ? copy_mem(c, a[i].sl.v, sizeof(Scalar) * (size_t)a[i].sl.n) : NULL;
        break;
      case P_str:
        n->args[i].str = a[i].str ? copy_mem(c, a[i].str, strlen(a[i].str) + 1) : NULL;
        break;
      default: n->args[i] = a[i];
    }
  }
  if (c->err) { ag_node_release(n); return NULL; }
  return n;
}

static bool differentiable(const Tensor *t) { return t && !mt_is_int(t->dtype); }

static void save_result(Ctx *c, AgNode *n, int k, Tensor *t, bool shape_only) {
  AgSaved *s = &n->saved_ret[k];
  if (shape_only) { ag_save(c, s, t, true); return; }
  if (t->flags & MT_INFERENCE) { ag_save(c, s, t, false); return; }
  Tensor *alias = mt_alias(c, t);
  s->kind = differentiable(t) ? 3 : 1;
  s->nr = k;
  s->version = t->st->version;
  ag_keep(c, s, alias);
}

static void no_derivative(Ctx *c, AgNode *n, Tensor **g) {
  (void)g;
  mt_fail(c, "the derivative of %s is not implemented", n->op->path);
}

/* An in-place op without a derivative (uniform_, eq_) overwrites: the old value's gradient is zero.
 */
static void zero_derivative(Ctx *c, AgNode *n, Tensor **g) {
  ag_put(c, n, 0, t_zeros_like(c, ag_grad(c, n, g, 0), -1, -1, -1, -1, false, -1));
}

static bool is_arg(const OpRow *op, const Val *a, const Tensor *t) {
  for (int i = 0; i < op->nparam; i++)
    if (op->params[i].type == P_Tensor && a[i].t == t) return true;
  return false;
}

/* A list result: outputs are numbered over the list. */
static AgNode *with_outputs(Ctx *c, AgNode *n, int64_t nout) {
  AgShape *s = mt_calloc(sizeof(AgShape) * (size_t)(nout ? nout : 1));
  if (!s) { mt_nomem(c); return n; }
  n->shape = s;                            /* freed with ud */
  n->ud = s;
  n->nout = (int32_t)nout;
  return n;
}
static void free_shapes(AgNode *n) {
  for (int i = 0; i < n->nout; i++) mt_free(n->shape[i].more);
  mt_free(n->ud);
  n->nout = 0;
}

static void attach(Ctx *c, const OpRow *op, const Val *a, Val *r, AgNode *n, const DerivRow *d) {
  if (op->flags & OF_LISTRET) {
    with_outputs(c, n, r[0].tl.n);
    n->free_fn = free_shapes;
    for (int64_t k = 0; k < r[0].tl.n && !c->err; k++) {
      ag_node_shape(c, n, (int)k, r[0].tl.v[k]);
      if (differentiable(r[0].tl.v[k])) ag_set_history(c, r[0].tl.v[k], n, (int)k);
    }
    return;
  }
  for (int k = 0; k < op->nret && !c->err; k++) {
    Tensor *t = op->ret_types[k] == P_Tensor ? r[k].t : NULL;
    if (!t) continue;
    if (is_arg(op, a, t)) { /* a kernel that returns its argument: history must not land on it */
      t = r[k].t = mt_alias(c, t);
      if (!t) return;
    }
    ag_node_shape(c, n, k, t);
    if (t->base && !(op->flags & OF_VIEW)) { mt_release(t->base); t->base = NULL; }
    char save = d->rets ? d->rets[k] : '0';
    if (save != '0') save_result(c, n, k, t, save == 's');
    if (differentiable(t)) ag_set_history(c, t, n, k);
  }
}

/* ---- in place ---- */
/* Wraps the node of an op that wrote through a view into one that rewrites the base's history. */
typedef struct { Geometry *q; AgNode *fn; } Slices;
static void slices_free(AgNode *n) {
  Slices *s = n->ud;
  n->inner = NULL;
  ag_node_release(s->fn);
  mt_free(s->q);
  mt_free(s);
}
static void slices_apply(Ctx *c, AgNode *n, Tensor **g) {
  Slices *s = n->ud;
  Tensor *gin[64] = {NULL};
  Tensor *base =
      t_empty_strided(c, g_bsize(s->q), g_bstride(s->q), s->q->base_dtype, -1, -1, -1, false);
  t_copy_(c, base, g[0], false);
  Tensor *win = window(c, s->q, base), *gw[1] = {t_clone(c, win, -1)};
  if (c->err) return;
  if (s->fn->nedge > 64) { mt_fail(c, "too many inputs"); return; }
  s->fn->gin = gin;
  if (n->edge[0].node && s->fn->edge[0].node)
    s->fn->edge[0].node->needed = true; /* it stands for the base's part */
  s->fn->apply(c, s->fn, gw);
  s->fn->gin = NULL;
  if (c->err) return;
  if (gin[0]) {
    Tensor *gs = gin[0];
    if (gs->ndim != win->ndim || memcmp(gs->size, win->size, sizeof(int64_t) * win->ndim))
      gs = t_sum_to_size(c, gs, mt_sizes(win));
    t_copy_(c, win, gs, false);
  } else t_zero_(c, win);
  n->gin[0] = base;
  for (int i = 1; i < n->nedge; i++) n->gin[i] = gin[i];
}

void ag_rebase(Ctx *c, Tensor *out, AgNode *fn) {
  Tensor *base = out->base;
  AgNode *n = ag_node_new(c, NULL, fn->nedge, 1);
  Slices *s = n ? mt_malloc(sizeof *s) : NULL;
  if (!s) { mt_nomem(c); if (n) ag_node_release(n); return; }
  n->name = "CopySlices";
  s->q = geometry(c, out, base);
  s->fn = n->inner = fn;
  fn->ref++;
  n->ud = s;
  n->free_fn = slices_free;
  n->apply = slices_apply;
  ag_node_shape(c, n, 0, base);
  n->edge[0] = ag_edge(c, base);
  if (n->edge[0].node) n->edge[0].node->ref++;
  for (int i = 1; i < fn->nedge; i++) {
    n->edge[i] = fn->edge[i];
    if (n->edge[i].node) n->edge[i].node->ref++;
  }
  ag_set_history(c, base, n, 0);
  if (base->ag) base->ag->rebased++;
  ag_node_release(n);
  refresh_view(c, out);
}

bool ag_may_write(Ctx *c, Tensor *t) {
  if ((t->flags & MT_REQ_GRAD) && ag_is_leaf(c, t) && !(t->base && !(t->flags & MT_LEAFVIEW))) {
    mt_fail(c, "a leaf tensor that requires grad is being used in an in-place operation; use "
               "torch.no_grad or x.data");
    return false;
  }
  if (t->base && !(t->flags & MT_LEAFVIEW) && ((t->base->flags | t->flags) & MT_REQ_GRAD) &&
      ag_is_leaf(c, t->base)) {
    mt_fail(c, "a view of a leaf tensor that requires grad is being used in an in-place operation; "
               "use torch.no_grad or x.data");
    return false;
  }
  return !c->err;
}

static void call_inplace(Ctx *c, const OpRow *op, Val *a, Val *r, Tensor **out, const DerivRow *d) {
  Tensor *t = out[0];
  bool need = false;
  if (!ag_may_write(c, t)) return;
  for (int i = 0; i < op->nparam && !need; i++) {
    if (op->params[i].type == P_Tensor) need = a[i].t && ag_requires_grad(c, a[i].t);
    else if (op->params[i].type == P_TensorList)
      for (int64_t k = 0; k < a[i].tl.n; k++)
        need |= a[i].tl.v[k] && ag_requires_grad(c, a[i].tl.v[k]);
  }
  AgNode *n = need && differentiable(t) ? make_node(c, op, a, d, t) : NULL;
  if (need && !differentiable(t)) n = NULL;
  if (c->err) return;
  bool mode = c->grad_mode;
  c->grad_mode = false;
  mt_run_kernel_out(c, op, a, r, out, 1, true);
  c->grad_mode = mode;
  if (n && !c->err) {
    ag_node_shape(c, n, 0, t);
    if (d->rets && d->rets[0] != '0') save_result(c, n, 0, t, d->rets[0] == 's');
    if (t->base && !(t->flags & MT_LEAFVIEW)) ag_rebase(c, t, n);
    else ag_set_history(c, t, n, 0);
  }
  if (n) ag_node_release(n);
}

static void record(Ctx *c, const OpRow *op, Val *a, Val *r, Tensor **out, int nout, bool inplace) {
  static const DerivRow missing = {no_derivative, NULL, NULL, NULL, NULL};
  static const DerivRow nothing = {zero_derivative, NULL, NULL, NULL, NULL};
  const DerivRow *d = ag_derivs[op->id].fn               ? &ag_derivs[op->id]
                      : op->flags & OF_NODIFF && inplace ? &nothing
                                                         : &missing;
  (void)nout;
  if (inplace) { call_inplace(c, op, a, r, out, d); return; }
  AgNode *n = make_node(c, op, a, d, NULL);
  if (!n) { memset(r, 0, sizeof(Val) * op->nret); return; }
  bool mode = c->grad_mode;
  c->grad_mode = false;
  mt_run_kernel(c, op, a, r);
  c->grad_mode = mode;
  if (!c->err) attach(c, op, a, r, n, d);
  ag_node_release(n);
  if (c->err) memset(r, 0, sizeof(Val) * op->nret);
}

/* t became its own view v: v's node stands for t's former self and leads to t's former node. */
static bool adopt(Ctx *c, Tensor *t, Tensor *v) {
  if (!v) return ag_may_write(c, t);
  if (v->ag && v->ag->node) ag_set_history(c, t, v->ag->node, v->ag->nr);
  return !c->err;
}

__attribute__((constructor)) void ag_init(void) {
  mt_autograd_adopt = adopt;
  mt_autograd_call = record;
  ag_meta_init();
}
