/* module.c: the module tree: entries, walks, and what is done to a whole tree. */
#include "nn.h"
#include <string.h>

static _Thread_local uint64_t walk;                      /* stamps of NnModule.mark */

uint64_t nn_serial(void) {
  static uint64_t made;
  return ++made;
}

NnModule *nn_new(Ctx *c) {
  NnModule *m = mt_calloc(sizeof *m);
  if (!m) return mt_nomem(c);
  m->ref = 1;
  m->training = true;
  m->serial = nn_serial();
  return m;
}

static void drop(NnKind k, NnEntry *e) {
  if (k == NN_CHILD) nn_release(e->m);
  else if (e->t) mt_release(e->t);
  mt_free(e->name);
}

/* A deep chain must not recurse: modules whose count fell to zero wait in a list linked through
 * `box`. */
void nn_release(NnModule *m) {
  static _Thread_local NnModule *waiting;
  static _Thread_local bool running;
  if (!m || --m->ref > 0) return;
  m->box = waiting;
  waiting = m;
  if (running) return;
  running = true;
  while ((m = waiting)) {
    waiting = m->box;
    for (int k = 0; k < NN_KINDS; k++) {
      for (int i = 0; i < m->n[k]; i++) drop((NnKind)k, &m->e[k][i]);
      mt_free(m->e[k]);
    }
    mt_free(m);
  }
  running = false;
}

/* ---- entries ---- */
NnEntry *nn_find(const NnModule *m, NnKind k, const char *name) {
  for (int i = 0; i < m->n[k]; i++) if (!strcmp(m->e[k][i].name, name)) return &m->e[k][i];
  return NULL;
}
NnEntry *nn_find_any(const NnModule *m, const char *name, NnKind *k) {
  for (int i = 0; i < NN_KINDS; i++) {
    NnEntry *e = nn_find(m, (NnKind)i, name);
    if (e) { *k = (NnKind)i; return e; }
  }
  return NULL;
}

static bool valid_name(Ctx *c, NnKind k, const char *name) {
  static const char *const what[] = {"parameter", "buffer", "module"};
  if (!*name) mt_fail(c, "%s name can't be empty string \"\"", what[k]);
  else if (strchr(name, '.')) mt_fail(c, "%s name can't contain \".\", got: %s", what[k], name);
  return !c->err;
}

static bool room(Ctx *c, NnModule *m, NnKind k) {
  if (m->n[k] < m->cap[k]) return true;
  int cap = m->cap[k] ? 2 * m->cap[k] : 2;
  NnEntry *e = mt_realloc(m->e[k], sizeof *e * (size_t)cap);
  if (!e) { mt_nomem(c); return false; }
  m->e[k] = e;
  m->cap[k] = cap;
  return true;
}

/* The entry to be filled: the one of that name and kind, emptied, or a new one at the end. */
static NnEntry *slot(Ctx *c, NnModule *m, NnKind k, const char *name) {
  if (!valid_name(c, k, name)) return NULL;
  NnEntry *e = nn_find(m, k, name);
  if (e) {
    if (k == NN_CHILD) nn_release(e->m); else if (e->t) mt_release(e->t);
    e->t = NULL;
    return e;
  }
  size_t size = strlen(name) + 1;
  char *copy = mt_malloc(size);
  if (!copy || !room(c, m, k)) { mt_free(copy); return mt_nomem(c); }
  nn_remove(m, name);
  e = &m->e[k][m->n[k]++];
  memset(e, 0, sizeof *e);
  e->name = memcpy(copy, name, size);
  return e;
}

bool nn_set_tensor(Ctx *c, NnModule *m, NnKind k, const char *name, Tensor *t, bool persistent) {
  mt_retain(t);
  NnEntry *e = slot(c, m, k, name);
  if (!e) { if (t) mt_release(t); return false; }
  e->t = t;
  e->persistent = persistent;
  return true;
}

bool nn_set_child(Ctx *c, NnModule *m, const char *name, NnModule *child) {
  if (child) {
    NnList l = nn_modules(c, child, "", true);
    for (int64_t i = 0; i < l.n; i++)
      if (l.v[i].m == m) {
        mt_fail(c, "module '%s' cannot be registered: it contains the module it would belong to",
                name);
        break;
      }
    if (c->err) return false;
    nn_retain(child);
  }
  NnEntry *e = slot(c, m, NN_CHILD, name);
  if (!e) { nn_release(child); return false; }
  e->m = child;
  return true;
}

void nn_move_last(NnModule *m, NnKind k, int to) {
  int n = m->n[k];
  if (to < 0 || to >= n) return;
  NnEntry e = m->e[k][n - 1];
  memmove(m->e[k] + to + 1, m->e[k] + to, sizeof e * (size_t)(n - 1 - to));
  m->e[k][to] = e;
}

bool nn_remove(NnModule *m, const char *name) {
  NnKind k;
  NnEntry *e = nn_find_any(m, name, &k);
  if (!e) return false;
  NnEntry gone = *e;
  int i = (int)(e - m->e[k]);
  m->n[k]--;
  memmove(e, e + 1, sizeof *e * (size_t)(m->n[k] - i));
  drop(k, &gone);
  return true;
}
void nn_remove_all(NnModule *m, NnKind k) {
  while (m->n[k]) nn_remove(m, m->e[k][m->n[k] - 1].name);
}

/* ---- walks ---- */
static bool push(Ctx *c, NnList *l, int64_t *cap, NnPath p) {
  if (l->n == *cap) {
    int64_t want = *cap ? 2 * *cap : 16;
    NnPath *v = mt_tmp(c, sizeof *v * (size_t)want);
    if (!v) return false;
    if (l->n) memcpy(v, l->v, sizeof *v * (size_t)l->n);
    l->v = v;
    *cap = want;
  }
  l->v[l->n++] = p;
  return true;
}
static const char *join(Ctx *c, const char *prefix, const char *name) {
  size_t a = strlen(prefix), b = strlen(name);
  if (!a) return name;
  char *s = mt_tmp(c, a + b + 2);
  if (!s) return NULL;
  memcpy(s, prefix, a);
  s[a] = '.';
  memcpy(s + a + 1, name, b + 1);
  return s;
}

NnList nn_modules(Ctx *c, NnModule *m, const char *prefix, bool unique) {
  NnList out = {NULL, 0}, stack = {NULL, 0}, bad = {NULL, -1};
  int64_t cap = 0, scap = 0;
  uint64_t mark = ++walk;
  if (!push(c, &stack, &scap, (NnPath){.name = prefix, .m = m})) return bad;
  while (stack.n) {
    NnPath p = stack.v[--stack.n];
    if (unique && p.m->mark == mark) continue;
    p.m->mark = mark;
    if (!push(c, &out, &cap, p)) return bad;
    for (int i = p.m->n[NN_CHILD] - 1; i >= 0; i--) {
      NnEntry *e = &p.m->e[NN_CHILD][i];
      if (!e->m) continue;
      const char *name = join(c, p.name, e->name);
      if (!name || !push(c, &stack, &scap, (NnPath){.name = name, .m = e->m})) return bad;
    }
  }
  return out;
}

/* A set of pointers in scratch memory, of fixed size: at most half of it is used. */
typedef struct { const void **v; size_t mask; } Set;
static bool set_open(Ctx *c, Set *s, size_t n) {
  size_t size = 16;
  while (size < 2 * n) size *= 2;
  s->v = mt_tmp(c, sizeof *s->v * size);
  if (!s->v) return false;
  memset(s->v, 0, sizeof *s->v * size);
  s->mask = size - 1;
  return true;
}
static bool set_add(Set *s, const void *p) {
  size_t h = ((uintptr_t)p >> 4) * 0x9E3779B97F4A7C15u >> 20;
  for (;; h++) {
    const void **e = &s->v[h & s->mask];
    if (*e == p) return false;
    if (!*e) { *e = p; return true; }
  }
}

NnList nn_tensors(Ctx *c, NnModule *m, NnKind k, const char *prefix, bool recurse, bool unique) {
  NnPath self = {.name = prefix, .m = m};
  NnList mods = {&self, 1}, out = {NULL, 0}, bad = {NULL, -1};
  if (recurse) mods = nn_modules(c, m, prefix, unique);
  if (mods.n < 0) return bad;
  size_t total = 0;
  for (int64_t i = 0; i < mods.n; i++) total += (size_t)mods.v[i].m->n[k];
  Set seen;
  if (!set_open(c, &seen, total) || !(out.v = mt_tmp(c, sizeof *out.v * (total + 1)))) return bad;
  for (int64_t i = 0; i < mods.n; i++)
    for (int j = 0; j < mods.v[i].m->n[k]; j++) {
      NnEntry *e = &mods.v[i].m->e[k][j];
      if (!e->t || (unique && !set_add(&seen, e->t))) continue;
      const char *name = join(c, mods.v[i].name, e->name);
      if (!name) return bad;
      out.v[out.n++] =
          (NnPath){.name = name, .m = mods.v[i].m, .t = e->t, .persistent = e->persistent};
    }
  return out;
}

const char *nn_path_of(Ctx *c, NnModule *m, const NnModule *inner) {
  NnList l = nn_modules(c, m, "", true);
  for (int64_t i = 0; i < l.n; i++) if (l.v[i].m == inner) return l.v[i].name;
  return NULL;
}

/* ---- on the whole tree ---- */
void nn_train(Ctx *c, NnModule *m, bool on) {
  NnList l = nn_modules(c, m, "", true);
  for (int64_t i = 0; i < l.n; i++) l.v[i].m->training = on;
}

void nn_requires_grad(Ctx *c, NnModule *m, bool on) {
  NnList l = nn_tensors(c, m, NN_PARAM, "", true, true);
  for (int64_t i = 0; i < l.n; i++) ag_set_requires_grad(c, l.v[i].t, on);
}

void nn_zero_grad(Ctx *c, NnModule *m, bool to_none) {
  NnList l = nn_tensors(c, m, NN_PARAM, "", true, true);
  bool mode = c->grad_mode;
  c->grad_mode = false;
  for (int64_t i = 0; i < l.n; i++) {
    Tensor *g = ag_grad_of(l.v[i].t);
    if (!g) continue;
    if (to_none) ag_set_grad(c, l.v[i].t, NULL);
    else { ag_detach_(c, g); t_zero_(c, g); }
  }
  c->grad_mode = mode;
}

bool nn_take_data(Ctx *c, Tensor *x, Tensor *y) {
  if (!y || x == y) return !c->err;
  if (x->ndim > MT_INLINE_DIMS || y->ndim > MT_INLINE_DIMS) {
    mt_fail(c, "data: at most %d dimensions", MT_INLINE_DIMS);
    return false;
  }
  Storage *old = x->st;
  y->st->ref++;
  x->st = y->st;
  x->dtype = y->dtype;
  x->ndim = y->ndim;
  x->numel = y->numel;
  x->offset = y->offset;
  x->device = y->device;
  memcpy(x->dims, y->dims, sizeof x->dims);
  mt_storage_release(old);
  if (x->ag && x->ag->accum) ag_node_shape(c, x->ag->accum, 0, x);
  return true;
}

/* The tensor with the wanted dtype and device; x itself when it has them. */
static Tensor *converted(Ctx *c, Tensor *x, int dtype, bool only_float, int device) {
  if (dtype < 0 || (only_float && !mt_is_float(x->dtype) && !mt_is_complex(x->dtype)))
    dtype = x->dtype;
  if (device >= 0 && device != x->device) {
    if (device != MT_META) return mt_fail(c, "Cannot copy out of meta tensor; no data!");
    return t_empty_strided(c, mt_sizes(x), mt_il(x->stride, x->ndim), dtype, -1, device, -1, false);
  }
  return dtype == x->dtype ? x : t_to_dtype(c, x, dtype, false, -1);
}

/* Everything is converted before anything is replaced: an error leaves the tree as it was. */
static void convert_list(Ctx *c, NnList l, int dtype, bool only_float, int device) {
  if (l.n <= 0) return;
  Tensor **v = mt_tmp(c, sizeof *v * 2 * (size_t)l.n);
  if (!v) return;
  for (int64_t i = 0; i < l.n && !c->err; i++) {
    Tensor *t = l.v[i].t, *g = ag_grad_of(t);
    v[2 * i] = converted(c, t, dtype, only_float, device);
    v[2 * i + 1] = g ? converted(c, g, dtype, only_float, device) : NULL;
  }
  if (c->err) return;
  for (int64_t i = 0; i < l.n; i++) {
    Tensor *t = l.v[i].t, *g = ag_grad_of(t);
    nn_take_data(c, t, v[2 * i]);
    if (g) nn_take_data(c, g, v[2 * i + 1]);
  }
}
void nn_to(Ctx *c, NnModule *m, int dtype, bool only_float, int device) {
  bool mode = c->grad_mode;
  c->grad_mode = false;
  Scope s = mt_open(c);
  convert_list(c, nn_tensors(c, m, NN_PARAM, "", true, true), dtype, only_float, device);
  if (!c->err)
    convert_list(c, nn_tensors(c, m, NN_BUFFER, "", true, true), dtype, only_float, device);
  mt_close(c, s);
  c->grad_mode = mode;
}

Tensor *nn_parameter(Ctx *c, Tensor *t, bool requires_grad) {
  if (requires_grad && mt_is_int(t->dtype))
    return mt_fail(c, "Only Tensors of floating point and complex dtype can require gradients");
  Tensor *p = mt_alias(c, t);
  if (!p) return NULL;
  p->flags |= MT_PARAM;
  if (requires_grad) p->flags |= MT_REQ_GRAD;
  return p;
}
