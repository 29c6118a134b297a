/* engine.c: the walk back: nodes in descending order of their sequence number, each run once with
 * its gradients complete. */
#include "autograd.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ag_free_saved(AgNode *n);
static uint64_t run_id,
    next_run; /* the walk under way; a walk may start another (a hook, a checkpoint) */
uint64_t ag_last_walk;
uint64_t ag_run_id(void) { return run_id; }

typedef struct { AgNode **v; int64_t n, cap; } Nodes;
/* What an outer walk knew of a node that an inner one visits too. */
typedef struct { AgNode *node; uint64_t run; Tensor **gbuf; bool needed, target; } Mark;
static bool push(Ctx *c, Nodes *l, AgNode *n) {
  if (l->n == l->cap) {
    int64_t cap = l->cap ? 2 * l->cap : 64;
    AgNode **v = mt_realloc(l->v, sizeof *v * (size_t)cap);
    if (!v) { mt_nomem(c); return false; }
    l->v = v;
    l->cap = cap;
  }
  l->v[l->n++] = n;
  return true;
}

static int by_seq(const void *a, const void *b) {
  uint64_t x = (*(AgNode *const *)a)->seq, y = (*(AgNode *const *)b)->seq;
  return x < y ? 1 : x > y ? -1 : 0;
}

/* Marks n as seen by this walk; an inner walk keeps the outer one's marks to put them back. */
static bool visit(Ctx *c, Nodes *all, Mark **marks, AgNode *n) {
  if (n->run == run_id) return true;
  int64_t cap = all->cap;
  if (!push(c, all, n)) return false;
  if (c->busy > 1) {
    if (all->cap != cap || !*marks) {
      Mark *m = mt_realloc(*marks, sizeof *m * (size_t)all->cap);
      if (!m) { all->n--; mt_nomem(c); return false; }
      *marks = m;
    }
    (*marks)[all->n - 1] = (Mark){n, n->run, n->gbuf, n->needed, n->target};
  }
  n->run = run_id;
  n->needed = n->target = false;
  n->gbuf = NULL;
  return true;
}

/* Every node reachable from the roots, in the order they will run. */
static bool collect(Ctx *c, Nodes *all, Mark **marks, AgNode **roots, int nroots) {
  for (int i = 0; i < nroots; i++)
    if (roots[i] && !visit(c, all, marks, roots[i])) return false;
  for (int64_t k = 0; k < all->n; k++) {
    AgNode *n = all->v[k];
    for (int i = 0; i < n->nedge; i++)
      if (n->edge[i].node && !visit(c, all, marks, n->edge[i].node)) return false;
  }
  bool sorted = true;
  for (int64_t k = 1; k < all->n && sorted; k++) sorted = all->v[k - 1]->seq >= all->v[k]->seq;
  if (!sorted) qsort(all->v, (size_t)all->n, sizeof *all->v, by_seq);
  return true;
}

static bool same_shape(const Tensor *t, const AgShape *s) {
  return t->ndim == s->ndim &&
         !memcmp(t->size, s->more ? s->more : s->size, sizeof(int64_t) * s->ndim);
}

/* Brings a gradient to the shape and dtype of what it is the gradient of. */
static Tensor *conform(Ctx *c, AgNode *from, Tensor *g, AgNode *to, int nr) {
  const AgShape *s = &to->shape[nr];
  char a[96];
  if (!same_shape(g, s)) {
    IntList want = mt_il(s->more ? s->more : s->size, s->ndim);
    bool fits = g->ndim >= s->ndim;
    for (int i = 0; fits && i < s->ndim; i++) {
      int64_t have = g->size[g->ndim - s->ndim + i];
      fits = want.v[i] == have || want.v[i] == 1;
    }
    if (!fits)
      return mt_fail(c, "%s returned a gradient of shape %s where the input has shape %s",
                     ag_node_name(from, a, sizeof a), mt_list_str(c, mt_sizes(g)),
                     mt_list_str(c, want));
    g = t_sum_to_size(c, g, want);
  }
  if (g && g->dtype != s->dtype) {
    if (mt_is_complex(g->dtype) && !mt_is_complex(s->dtype)) g = t_real(c, g);
    if (g && g->dtype != s->dtype) g = t_to_dtype(c, g, s->dtype, false, -1);
  }
  return g;
}

/* Adds g to what output nr of node n has received; takes no ownership of g. */
static bool receive(Ctx *c, AgNode *n, int nr, Tensor *g) {
  if (!n->gbuf && !(n->gbuf = mt_calloc(sizeof(Tensor *) * n->nout))) { mt_nomem(c); return false; }
  Tensor *have = n->gbuf[nr];
  if (have) {
    Tensor *sum = t_add(c, have, g, mt_si(1));
    if (!sum) return false;
    mt_retain(sum);
    mt_release(have);
    n->gbuf[nr] = sum;
  } else n->gbuf[nr] = mt_retain(g);
  return true;
}

static void run_hooks(Ctx *c, AgHook *h, Tensor **g, int nout) {
  for (AgHook *next; h && !c->err; h = next) {
    next = h->next;                        /* a hook may remove itself */
    if (!h->fn || h->nr < 0 || h->nr >= nout || !g[h->nr]) continue;
    Tensor *old = g[h->nr], *r = h->fn(c, h->ud, old);
    if (c->err || !r || r == old) continue;
    if (r->ndim != old->ndim || memcmp(r->size, old->size, sizeof(int64_t) * old->ndim)) {
      mt_fail(c, "a hook changed the gradient's shape from %s to %s", mt_list_str(c, mt_sizes(old)),
              mt_list_str(c, mt_sizes(r)));
      return;
    }
    mt_retain(r);
    mt_release(old);
    g[h->nr] = r;
  }
}

/* Hooks of a node: PRE before it runs, POST after. */
static void node_hooks(Ctx *c, AgNode *n, int kind, Tensor **gin, int nin) {
  for (AgHook *h = n->hooks, *next; h && !c->err; h = next) {
    next = h->next;                        /* a hook may remove itself */
    if (h->nr == kind && h->node_fn) h->node_fn(c, h->ud, gin, nin, n->gbuf, n->nout);
  }
}

/* The leaf takes its gradient: the tensor itself when nobody else holds it, else a copy. */
static void accumulate(Ctx *c, AgNode *n, Tensor *g, bool create_graph) {
  Tensor *v = n->var, *have = ag_grad_of(v);
  bool mode = c->grad_mode;
  if (!have) {
    bool sole = g->ref == 1 && !g->base && g->st->ref == 1 &&
                mt_is_contiguous(g) == mt_is_contiguous(v) && mt_is_dense(g);
    if (!create_graph) c->grad_mode = false;
    Tensor *keep = sole && !create_graph ? g
                   : create_graph        ? t_clone(c, g, -1)
                                         : t_clone(c, t_detach(c, g), mt_is_contiguous(v) ? 0 : -1);
    if (keep) ag_set_grad(c, v, keep);
  } else if (!create_graph) {
    c->grad_mode = false;
    t_add_(c, have, g, mt_si(1));
  } else ag_set_grad(c, v, t_add(c, have, g, mt_si(1)));
  c->grad_mode = mode;
}

static void retain_grads(Ctx *c, AgNode *n, bool create_graph) {
  for (struct AgRetain *r = n->retain; r && !c->err; r = r->next) {
    Tensor *g = n->gbuf[r->nr];
    if (!g) continue;
    Tensor *have = ag_grad_of(r->t);
    bool mode = c->grad_mode;
    if (!create_graph) c->grad_mode = false;
    ag_set_grad(c, r->t, have ? t_add(c, have, g, mt_si(1)) : t_clone(c, g, -1));
    c->grad_mode = mode;
  }
}

static void leaf_done(Ctx *c, AgNode *n, bool create_graph) {
  accumulate(c, n, n->gbuf[0], create_graph);
  if (n->hooks) node_hooks(c, n, AG_HOOK_POST, NULL, 0);
  AgHook *h = n->var->ag ? n->var->ag->hooks : NULL;
  for (AgHook *next; h && !c->err; h = next) {
    next = h->next;
    if (h->nr == AG_HOOK_ACCUM) h->fn(c, h->ud, n->var);
  }
}

static void drop_gbuf(AgNode *n) {
  if (!n->gbuf) return;
  for (int i = 0; i < n->nout; i++) mt_release(n->gbuf[i]);
  mt_free(n->gbuf);
  n->gbuf = NULL;
}

static void check_anomaly(Ctx *c, AgNode *n, Tensor **gin) {
  char name[96];
  for (int i = 0; i < n->nedge && !c->err; i++) {
    if (!gin[i] || mt_is_int(gin[i]->dtype)) continue;
    bool mode = c->grad_mode;
    c->grad_mode = false;
    Tensor *bad = t_any(c, t_isnan(c, gin[i]));
    c->grad_mode = mode;
    if (bad && mt_sint(mt_item(c, bad)))
      mt_fail(c, "%s returned nan values in gradient %d; its forward ran at %s",
              ag_node_name(n, name, sizeof name), i, n->where ? n->where : "an unknown line");
  }
}

/* Runs one node and passes its results on. */
static void run_node(Ctx *c, AgNode *n, bool retain_graph, bool create_graph) {
  Tensor *local[16] = {NULL}, **gin = local;
  Scope s = mt_open(c);
  char name[96];
  if (n->nedge > 16 && !(gin = mt_calloc(sizeof *gin * n->nedge))) { mt_nomem(c); return; }
  if (n->released && n->op && !retain_graph && n->bytes && n->apply == NULL)
    mt_fail(c, "internal: node without a derivative");
  n->gin = gin;
  if (n->apply) n->apply(c, n, n->gbuf);
  n->gin = NULL;
  if (!c->err && ag_anomaly && ag_check_nan) check_anomaly(c, n, gin);
  if (n->hooks) node_hooks(c, n, AG_HOOK_POST, gin, n->nedge);
  for (int i = 0; i < n->nedge && !c->err; i++) {
    AgEdge e = n->edge[i];
    if (!gin[i] || !e.node || !e.node->needed || e.node->run != run_id) continue;
    Tensor *g = conform(c, n, gin[i], e.node, e.nr);
    if (g) receive(c, e.node, e.nr, g);
  }
  if (c->err && ag_anomaly && n->where && !strstr(c->msg, n->where)) {
    size_t at = strlen(c->msg);
    snprintf(c->msg + at, sizeof c->msg - at, " (in %s, whose forward ran at %s)",
             ag_node_name(n, name, sizeof name), n->where);
  }
  if (gin != local) mt_free(gin);
  drop_gbuf(n);
  mt_close(c, s);
  if (!retain_graph && !c->err) ag_free_saved(n);
}

/* The seed of a root: given, or 1 for a single element. */
static Tensor *seed(Ctx *c, Tensor *root, Tensor *given) {
  if (given) {
    if (given->ndim != root->ndim || memcmp(given->size, root->size, sizeof(int64_t) * root->ndim))
      return mt_fail(c, "the gradient has shape %s but the output has shape %s",
                     mt_list_str(c, mt_sizes(given)), mt_list_str(c, mt_sizes(root)));
    return given;
  }
  if (root->numel != 1)
    return mt_fail(c,
                   "grad can be implicitly created only for scalar outputs; the output has shape "
                   "%s, pass a gradient",
                   mt_list_str(c, mt_sizes(root)));
  if (mt_is_complex(root->dtype))
    return mt_fail(c, "grad can be computed only for real scalar outputs but got %s",
                   mt_dtypes[root->dtype].name);
  return t_ones_like(c, root, -1, -1, -1, -1, false, -1);
}

typedef struct { Nodes all; AgNode **roots; AgEdge *want; Mark *marks; uint64_t outer; } Walk;
static void finish(Walk *w) {
  for (int64_t k = 0; k < w->all.n; k++) drop_gbuf(w->all.v[k]);
  for (int64_t k = 0; w->marks && k < w->all.n; k++) {
    const Mark *m = &w->marks[k];
    m->node->run = m->run;
    m->node->gbuf = m->gbuf;
    m->node->needed = m->needed;
    m->node->target = m->target;
  }
  for (int64_t k = 0; k < w->all.n; k++) ag_node_release(w->all.v[k]);
  run_id = w->outer;
  mt_free(w->marks);
  mt_free(w->all.v);
  mt_free(w->roots);
  mt_free(w->want);
}

/* Does the graph of roots reach a leaf that is not among inputs without passing through one of
 * them? */
bool ag_leads_elsewhere(Ctx *c, int nroots, Tensor **roots, int ninputs, Tensor **inputs) {
  Nodes all = {NULL, 0, 0};
  bool found = false;
  uint64_t outer = run_id;
  if (c->err || c->busy) return true;      /* a walk's marks are in use: the safe answer */
  run_id = ++next_run;
  for (int i = 0; i < ninputs && !c->err; i++) {
    AgEdge e = ag_edge(c, inputs[i]);
    if (!e.node) continue;
    e.node->run = run_id;
    if (!e.node->ref) { e.node->ref = 1; ag_node_release(e.node); }
  }
  for (int i = 0; i < nroots && !c->err; i++) {
    AgEdge e = ag_edge(c, roots[i]);
    if (e.node && e.node->run != run_id) { e.node->run = run_id; push(c, &all, e.node); }
  }
  for (int64_t k = 0; k < all.n && !c->err && !found; k++) {
    AgNode *n = all.v[k];
    found = n->var != NULL;
    for (int i = 0; i < n->nedge && !found; i++) {
      AgNode *m = n->edge[i].node;
      if (m && m->run != run_id) { m->run = run_id; if (!push(c, &all, m)) break; }
    }
  }
  mt_free(all.v);
  run_id = outer;
  return found;
}

/* Which nodes lead to a wanted one: ascending order, so successors are known. */
static void mark_needed(Nodes *all, bool everything) {
  for (int64_t k = all->n - 1; k >= 0; k--) {
    AgNode *n = all->v[k];
    n->needed = everything || n->target;
    for (int i = 0; i < n->nedge && !n->needed; i++)
      n->needed = n->edge[i].node && n->edge[i].node->needed;
  }
}

bool ag_backward(Ctx *c, int nroots, Tensor **roots, Tensor **seeds, int ninputs, Tensor **inputs,
                 Tensor **result, bool retain_graph, bool create_graph, bool accum) {
  if (c->err) return false;
  Walk w = {{NULL, 0, 0},
            mt_calloc(sizeof(AgNode *) * (size_t)(nroots + 1)),
            mt_calloc(sizeof(AgEdge) * (size_t)(ninputs + 1)),
            NULL,
            run_id};
  bool mode = c->grad_mode;
  c->busy++;
  run_id = ++next_run;
  if (c->busy == 1) ag_last_walk = run_id;
  if (!w.roots || !w.want) { mt_nomem(c); finish(&w); c->busy--; return false; }
  for (int i = 0; i < nroots && !c->err; i++) {
    AgEdge e = ag_edge(c, roots[i]);
    if (!e.node) {
      mt_fail(c, "element %d of tensors does not require grad and does not have a grad_fn", i);
      break;
    }
    w.roots[i] = e.node;
  }
  for (int i = 0; i < nroots && w.roots[i]; i++)
    w.roots[i]->ref++; /* a fresh accumulator has no other owner */
  if (!c->err) collect(c, &w.all, &w.marks, w.roots, nroots);
  for (int64_t k = 0; k < w.all.n; k++) w.all.v[k]->ref++;
  for (int i = 0; i < nroots && w.roots[i]; i++) { AgNode *r = w.roots[i]; ag_node_release(r); }
  for (int i = 0; i < ninputs && !c->err; i++) {
    w.want[i] = ag_edge(c, inputs[i]);
    if (accum && inputs[i]->ag && inputs[i]->ag->node)
      ag_retain_grad(c, inputs[i]); /* as PyTorch */
    if (!w.want[i].node) mt_fail(c, "one of the inputs (number %d) does not require grad", i);
    else if (w.want[i].node->run == run_id) w.want[i].node->target = true;
    else if (w.want[i].node->ref == 0) {
      w.want[i].node->ref = 1;
      ag_node_release(w.want[i].node);
      w.want[i].node = NULL;
    }
  }
  if (!c->err) mark_needed(&w.all, ninputs == 0);
  c->grad_mode = create_graph;
  for (int i = 0; i < nroots && !c->err; i++) {
    Tensor *s = seed(c, roots[i], seeds ? seeds[i] : NULL);
    AgEdge e = {w.roots[i], roots[i]->ag && roots[i]->ag->node ? roots[i]->ag->nr : 0};
    if (s && e.node->needed) {
      s = conform(c, e.node, s, e.node, e.nr);
      if (s) receive(c, e.node, e.nr, s);
    }
  }
  for (int64_t k = 0; k < w.all.n && !c->err; k++) {
    AgNode *n = w.all.v[k];
    if (!n->gbuf || !n->needed) { drop_gbuf(n); continue; }
    if (mt_poll(c)) break;
    run_hooks(c, n->hooks, n->gbuf, n->nout);
    if (n->var && n->var->ag) run_hooks(c, n->var->ag->hooks, n->gbuf, n->nout);
    if (n->retain) retain_grads(c, n, create_graph);
    if (n->target && result)
      for (int i = 0; i < ninputs; i++)
        if (w.want[i].node == n && n->gbuf[w.want[i].nr])
          result[i] = mt_own(c, mt_retain(n->gbuf[w.want[i].nr]));
    if (n->var) {
      if (n->hooks) node_hooks(c, n, AG_HOOK_PRE, NULL, 0);
      if (!c->err && accum && (!ninputs || n->target)) leaf_done(c, n, create_graph);
      drop_gbuf(n);
      continue;
    }
    if (!c->err) {
      bool on = false;
      for (int i = 0; i < n->nedge; i++) on |= n->edge[i].node && n->edge[i].node->needed;
      if (on && n->hooks) node_hooks(c, n, AG_HOOK_PRE, NULL, 0);
      if (on && !c->err) run_node(c, n, retain_graph, create_graph); else { drop_gbuf(n); }
    }
  }
  c->grad_mode = mode;
  finish(&w);
  c->busy--;
  return !c->err;
}
