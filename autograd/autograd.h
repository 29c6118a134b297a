/* autograd.h: the tape: nodes recorded by ops, and the walk back over them.
 *
 * Invariants.
 *  - A node's edges lead to nodes with smaller sequence numbers (accumulators have 0), so
 * descending order is an order in which every gradient is complete before it is used; all walks are
 * loops.
 *  - What a node saves never holds the node: results and inputs are saved as detached aliases with
 * the (node, output) they came from beside them; only leaves are saved themselves.  A saved tensor
 * carries its storage's version.
 *  - A tensor with MT_REQ_GRAD and no node is a leaf.  A view's node is remade when its base was
 * written to in place.
 *  - Formulas (derivs_*.def) are ops, so gradients of gradients need nothing further; shapes and
 * dtypes are brought back to the input's by the engine alone. */
#ifndef AG_AUTOGRAD_H
#define AG_AUTOGRAD_H
#include "op.h"

typedef struct AgNode AgNode;
typedef struct AgEdge { AgNode *node; int32_t nr; } AgEdge;
typedef struct AgShape { uint8_t dtype, ndim, device; int64_t size[4], *more; } AgShape;
/* kind: 0 none, 1 full, 2 shape, 3 own result; packed: what a pack hook made of it, then t is NULL
 */
typedef struct AgSaved {
  Tensor *t;
  AgNode *node;
  int32_t nr;
  int8_t kind;
  int64_t version;
  void *packed;
} AgSaved;
typedef struct AgHook {
  struct AgHook *next;
  int64_t id;
  int nr;                                  /* output the hook watches, or one of the kinds below */
  Tensor *(*fn)(Ctx *c, void *ud, Tensor *g);   /* a replacement gradient or NULL */
  void (*node_fn)(Ctx *c, void *ud, Tensor **gin, int nin, Tensor **gout, int nout);
  void (*free_fn)(void *ud);
  void *ud;
} AgHook;
/* POST sees a node's gradients after it ran, PRE those that reach it, ACCUM a leaf after
 * accumulation; OWNED only lives with the node. */
enum { AG_HOOK_POST = -1, AG_HOOK_PRE = -2, AG_HOOK_ACCUM = -3, AG_HOOK_OWNED = -4 };

struct AgNode {
  int32_t ref;
  int32_t nedge, nout;
  uint64_t seq, run;                       /* run: the walk that last marked it */
  const OpRow *op;                         /* NULL: custom */
  const char *name;
  void (*apply)(Ctx *c, AgNode *n, Tensor **g);     /* fills n->gin */
  void (*free_fn)(AgNode *n);
  void *ud;
  AgEdge *edge;
  AgShape *shape;                          /* per output */
  Val *args;                               /* copies; tensors live in saved */
  AgSaved *saved, *saved_ret;
  AgSaved **saved_list;                    /* per parameter: saved entries of a tensor list */
  AgSaved *extra;                          /* what a custom function saved */
  int nextra;
  AgNode *inner;                           /* a node this one runs itself (borrowed; ud owns it) */
  int32_t *edge_at;                        /* first edge of each parameter, -1 none */
  Tensor **gin, **gbuf;
  Tensor *var;                             /* accumulator: the leaf */
  AgHook *hooks;
  struct AgRetain { struct AgRetain *next; Tensor *t; int nr; } *retain;
  char *where;                             /* anomaly mode: the script's line */
  AgNode *link;                            /* list of nodes waiting to be freed */
  size_t bytes;
  bool needed, released, target;
  uint32_t cut; /* Tensor.why of an input without history, and its storage (an address only) */
  const void *cut_st;
};

typedef struct AgMeta {
  AgNode *node;                            /* retained */
  int32_t nr;
  uint32_t rebased,
      seen; /* as a base: times written through; as a view: the count its node stands for */
  AgNode *accum;                           /* not counted */
  Tensor *grad;
  AgHook *hooks;                           /* of a leaf */
  bool retain, cleared;                    /* cleared: its gradient was taken away by hand */
} AgMeta;

typedef struct DerivRow {
  void (*fn)(Ctx *c, AgNode *n, Tensor **g);
  const char *args, *rets, *diff, *text;
} DerivRow;
extern const DerivRow ag_derivs[OP_COUNT];

void ag_init(void);
/* ---- tensors ---- */
AgMeta *ag_meta(Ctx *c, Tensor *t);        /* made when missing; NULL and an error without memory */
AgEdge ag_edge(Ctx *c, Tensor *t); /* where t's gradient goes; {NULL, 0} when it needs none */
AgNode *ag_grad_fn(Ctx *c, Tensor *t);     /* borrowed, up to date for views; NULL for leaves */
bool ag_requires_grad(Ctx *c, Tensor *t);
bool ag_is_leaf(Ctx *c, Tensor *t);
void ag_set_requires_grad(Ctx *c, Tensor *t, bool on);
Tensor *ag_grad_of(Tensor *t);
void ag_set_grad(Ctx *c, Tensor *t, Tensor *g);
void ag_retain_grad(Ctx *c, Tensor *t);
int64_t ag_add_hook(Ctx *c, Tensor *t, AgHook *h);          /* takes h; returns its id */
AgHook *ag_node_add_hook(AgNode *n, AgHook *h);               /* takes h, numbers it */
bool ag_remove_hook(Tensor *t, AgNode *n, int64_t id);
void ag_set_history(Ctx *c, Tensor *t, AgNode *n, int nr);  /* t becomes output nr of n */
void ag_detach_(Ctx *c, Tensor *t);
void ag_rebase(Ctx *c, Tensor *view,
               AgNode *n); /* n wrote through view: its first input is the view's old value */
bool ag_may_write(Ctx *c, Tensor *t);
/* ---- nodes ---- */
AgNode *ag_node_new(Ctx *c, const OpRow *op, int nedge, int nout);
void ag_node_release(AgNode *n);
AgNode *ag_custom(Ctx *c, const char *name, int nin, Tensor **in,
                  int nout); /* a node with edges to in's gradients */
void ag_node_shape(Ctx *c, AgNode *n, int nr, Tensor *t);
const char *ag_node_name(AgNode *n, char *buf, size_t size);  /* "AddBackward0" */
void ag_save(Ctx *c, AgSaved *s, Tensor *t, bool shape_only);
void ag_keep(Ctx *c, AgSaved *s,
             Tensor *alias); /* the last step of saving: packed when a hook wants it */
Tensor *ag_unpack(Ctx *c, AgNode *n, AgSaved *s, const char *what);
/* ---- for generated derivatives ---- */
bool ag_needs(AgNode *n, int param);
void ag_put(Ctx *c, AgNode *n, int param, Tensor *g);
void ag_put_list(Ctx *c, AgNode *n, int param, TensorList l);
Tensor *ag_saved(Ctx *c, AgNode *n, int param);
TensorList ag_saved_list(Ctx *c, AgNode *n, int param);
Tensor *ag_saved_ret(Ctx *c, AgNode *n, int ret);
Tensor *ag_grad(Ctx *c, AgNode *n, Tensor **g, int i);       /* g[i], zeros when no gradient came */
TensorList ag_grads(Ctx *c, AgNode *n, Tensor **g);
/* ---- the walk ---- */
/* Gradients of sum <roots[i], seeds[i]>.  inputs NULL: accumulated into the leaves; else written to
 * result[i] (NULL where none arrives), owned by the scope. */
bool ag_backward(Ctx *c, int nroots, Tensor **roots, Tensor **seeds, int ninputs, Tensor **inputs,
                 Tensor **result, bool retain_graph, bool create_graph, bool accumulate);
bool ag_leads_elsewhere(Ctx *c, int nroots, Tensor **roots, int ninputs, Tensor **inputs);
extern bool ag_anomaly, ag_check_nan;
extern const char *(*ag_where)(void);      /* the script's current line, for anomaly mode */
/* While ag_pack is set, what is saved is given to it and what it returns is kept instead; the other
 * two take that back. */
extern void *(*ag_pack)(Ctx *c, Tensor *t);
extern Tensor *(*ag_unpack_packed)(Ctx *c, void *packed);
extern void (*ag_free_packed)(void *packed);
uint64_t ag_run_id(void);                  /* the walk under way */
extern uint64_t
    ag_last_walk; /* the number of the last backward; accumulators it reached carry it */
#endif
