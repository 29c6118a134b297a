/* nn.h: the module tree: ordered parameters, buffers and children with names, and what is done to
 * all of them at once.
 *
 * Invariants.
 *  - A module counts its tensors and its children; the tree has no cycles (a child that contains
 * its new parent is refused), so counting frees it.  One name stands for one entry, of one kind.
 *  - An entry may be empty (a parameter that is None): it keeps its place and name, and walks pass
 * over it.
 *  - Walks give modules in PyTorch's order (a module, then its children in the order of
 * registration) and are loops; their results lie in scratch memory and stay valid until the tree
 * changes.
 *  - Nothing here knows Lua: what a module computes belongs to the binding's object (`box`). */
#ifndef NN_NN_H
#define NN_NN_H
#include "autograd.h"

typedef enum { NN_PARAM, NN_BUFFER, NN_CHILD, NN_KINDS } NnKind;
struct NnModule;
typedef struct NnEntry {
  char *name;
  bool persistent;                         /* buffers: part of the state_dict */
  union { Tensor *t; struct NnModule *m; };
} NnEntry;
typedef struct NnModule {
  int32_t ref;
  bool training, hooked; /* hooked: the binding has something to do around forward */
  uint64_t mark;                           /* the walk that last met it */
  uint64_t serial;                         /* modules made later have a greater one */
  int32_t n[NN_KINDS], cap[NN_KINDS];
  NnEntry *e[NN_KINDS];
  void *box;                               /* the binding's object for this module */
} NnModule;

uint64_t nn_serial(void);                  /* the next of the numbers that order what is made */
NnModule *nn_new(Ctx *c);
static inline NnModule *nn_retain(NnModule *m) { m->ref++; return m; }
void nn_release(NnModule *m);

/* ---- entries ---- */
NnEntry *nn_find(const NnModule *m, NnKind k, const char *name);      /* NULL: none */
NnEntry *nn_find_any(const NnModule *m, const char *name, NnKind *k);
/* Add or replace; an entry of another kind under that name goes.  False and an error: unchanged. */
bool nn_set_tensor(Ctx *c, NnModule *m, NnKind k, const char *name, Tensor *t, bool persistent);
bool nn_set_child(Ctx *c, NnModule *m, const char *name, NnModule *child);
bool nn_remove(NnModule *m, const char *name);
void nn_remove_all(NnModule *m, NnKind k);
void nn_move_last(NnModule *m, NnKind k, int to);  /* the last entry becomes number `to` */

/* ---- walks ---- */
typedef struct NnPath { const char *name; NnModule *m; Tensor *t; bool persistent; } NnPath;
typedef struct NnList { NnPath *v; int64_t n; } NnList;               /* n < 0: an error */
/* name: the dotted path below prefix; unique: what several names reach comes once. */
NnList nn_modules(Ctx *c, NnModule *m, const char *prefix, bool unique);
NnList nn_tensors(Ctx *c, NnModule *m, NnKind k, const char *prefix, bool recurse, bool unique);
/* "layer.0.fc" of the module `inner` below m; NULL when it is not there. */
const char *nn_path_of(Ctx *c, NnModule *m, const NnModule *inner);

/* ---- on the whole tree ---- */
void nn_train(Ctx *c, NnModule *m, bool on);
void nn_requires_grad(Ctx *c, NnModule *m, bool on);
void nn_zero_grad(Ctx *c, NnModule *m, bool to_none);
/* Parameters, their gradients and buffers take dtype (-1: keep; only_float: integers keep theirs)
 * and device (-1: keep). */
void nn_to(Ctx *c, NnModule *m, int dtype, bool only_float, int device);
/* x takes over y's storage, shape and dtype, as `x.data = y` does. */
bool nn_take_data(Ctx *c, Tensor *x, Tensor *y);
/* A parameter over t's data (shared), without its history. */
Tensor *nn_parameter(Ctx *c, Tensor *t, bool requires_grad);
#endif
