/* autograd.c: gradients as Lua sees them: attributes and methods of tensors, modes, torch.autograd, nodes, custom functions. */
#include "autograd.h"
#include "vm.h"
#include "vm_print.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SELF Tensor *x = vm_checktensor(L, 1)
#define ENTER Ctx *c = vm_ctx(L); Scope sc = mt_open(c)

void vm_push_setters(lua_State *L);
void vm_open_autograd(lua_State *L, int torch);
void vm_modes_settle(lua_State *L);

/* ---- Lua values that C holds on to ---- */
typedef struct { lua_State *L; int ref; } LuaRef;
static lua_State *main_state(lua_State *L) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  lua_State *m = lua_tothread(L, -1);
  lua_pop(L, 1);
  return m;
}
static void ref_free(void *ud) {
  LuaRef *r = ud;
  luaL_unref(r->L, LUA_REGISTRYINDEX, r->ref);
  mt_free(r);
}
static LuaRef *ref_new(lua_State *L, int i) {
  LuaRef *r = mt_malloc(sizeof *r);
  if (!r) luaL_error(L, "not enough memory");
  r->L = main_state(L);
  lua_pushvalue(L, i);
  r->ref = luaL_ref(L, LUA_REGISTRYINDEX);
  return r;
}

/* A Lua error inside a callback becomes the context's error, with its own text. */
static bool call_back(Ctx *c, lua_State *L, int nargs, int nres) {
  Scope s = mt_open(c);
  (void)s;
  if (lua_pcall(L, nargs, nres, 0) == LUA_OK) return true;
  const char *msg = luaL_tolstring(L, -1, NULL);
  c->op = NULL;
  mt_fail(c, "%s", msg);
  lua_pop(L, 2);
  return false;
}

/* ---- requires_grad and friends ---- */
static int m_requires_grad_(lua_State *L) {
  SELF;
  ENTER;
  bool on = lua_isnoneornil(L, 2) || lua_toboolean(L, 2);
  if (lua_istable(L, 2)) { lua_getfield(L, 2, "requires_grad"); on = lua_isnil(L, -1) || lua_toboolean(L, -1); }
  ag_set_requires_grad(c, x, on);
  vm_keep(L, 1);
  lua_pushvalue(L, 1);
  return vm_leave(L, c, sc, 1);
}
static int a_requires_grad(lua_State *L) { SELF; ENTER; lua_pushboolean(L, ag_requires_grad(c, x)); return vm_leave(L, c, sc, 1); }
static int a_is_leaf(lua_State *L) { SELF; ENTER; lua_pushboolean(L, ag_is_leaf(c, x)); return vm_leave(L, c, sc, 1); }
static int a_grad(lua_State *L) { SELF; vm_pushtensor(L, ag_grad_of(x)); return 1; }
static int a_data(lua_State *L) { SELF; ENTER; vm_pushtensor(L, mt_alias(c, x)); return vm_leave(L, c, sc, 1); }
static int a_base(lua_State *L) { SELF; vm_pushtensor(L, x->flags & MT_LEAFVIEW ? NULL : x->base); return 1; }
static int a_retains_grad(lua_State *L) { SELF; lua_pushboolean(L, x->ag && x->ag->retain); return 1; }
static int a_output_nr(lua_State *L) { SELF; lua_pushinteger(L, x->ag && x->ag->node ? x->ag->nr : 0); return 1; }
static int s_requires_grad(lua_State *L) { SELF; ENTER; ag_set_requires_grad(c, x, lua_toboolean(L, 2)); vm_keep(L, 1); return vm_leave(L, c, sc, 0); }
static int s_grad(lua_State *L) {
  SELF;
  ENTER;
  Tensor *g = vm_totensor(L, 2);
  if (!g && !lua_isnil(L, 2) && !vm_isnone(L, 2)) mt_fail(c, "grad can be set to a Tensor or nil, got %s", luaL_typename(L, 2));
  else ag_set_grad(c, x, g);
  if (g && !c->err) vm_keep(L, 2);
  return vm_leave(L, c, sc, 0);
}
/* x.data = y: x takes y's storage and shape, its history stays. */
static int s_data(lua_State *L) {
  SELF;
  ENTER;
  Tensor *y = vm_totensor(L, 2);
  if (!y) mt_fail(c, "data can be set to a Tensor, got %s", luaL_typename(L, 2));
  else if (y->ndim > MT_INLINE_DIMS || x->ndim > MT_INLINE_DIMS) mt_fail(c, "data: at most %d dimensions", MT_INLINE_DIMS);
  else if (x != y) {
    Storage *old = x->st;
    y->st->ref++;
    x->st = y->st;
    x->dtype = y->dtype; x->ndim = y->ndim; x->numel = y->numel; x->offset = y->offset; x->device = y->device;
    memcpy(x->dims, y->dims, sizeof x->dims);
    mt_storage_release(old);
    if (x->ag && x->ag->accum) ag_node_shape(c, x->ag->accum, 0, x);
  }
  return vm_leave(L, c, sc, 0);
}
static int m_detach_(lua_State *L) { SELF; ENTER; ag_detach_(c, x); lua_pushvalue(L, 1); return vm_leave(L, c, sc, 1); }
static int m_retain_grad(lua_State *L) { SELF; ENTER; ag_retain_grad(c, x); vm_keep(L, 1); return vm_leave(L, c, sc, 0); }

/* ---- nodes ---- */
static const char node_magic = 0;
typedef struct { const void *magic; AgNode *n; } NodeBox;
static void push_node(lua_State *L, AgNode *n) {
  if (!n) { lua_pushnil(L); return; }
  NodeBox *b = lua_newuserdatauv(L, sizeof *b, 1);
  b->magic = NULL;
  b->n = NULL;
  luaL_setmetatable(L, "torch.autograd.Node");
  n->ref++;
  b->n = n;
  b->magic = &node_magic;
}
static AgNode *check_node(lua_State *L, int i) { return ((NodeBox *)luaL_checkudata(L, i, "torch.autograd.Node"))->n; }
static int node_gc(lua_State *L) {
  NodeBox *b = lua_touserdata(L, 1);
  if (b->n) ag_node_release(b->n);
  b->n = NULL;
  return 0;
}
static int node_name(lua_State *L) {
  char buf[128];
  AgNode *n = check_node(L, 1);
  lua_pushstring(L, ag_node_name(n, buf, sizeof buf));
  return 1;
}
static int node_tostring(lua_State *L) {
  node_name(L);
  lua_pushfstring(L, "<%s>", lua_tostring(L, -1));
  return 1;
}
static int node_eq(lua_State *L) { lua_pushboolean(L, check_node(L, 1) == check_node(L, 2)); return 1; }
static int node_index(lua_State *L) {
  AgNode *n = check_node(L, 1);
  const char *k = luaL_checkstring(L, 2);
  if (!strcmp(k, "name")) lua_pushcfunction(L, node_name);
  else if (!strcmp(k, "variable")) vm_pushtensor(L, n->var);
  else if (!strcmp(k, "where")) lua_pushstring(L, n->where);
  else if (!strcmp(k, "sequence")) lua_pushinteger(L, (lua_Integer)n->seq);
  else if (!strcmp(k, "next_functions")) {
    lua_createtable(L, n->nedge, 0);
    for (int i = 0; i < n->nedge; i++) {
      lua_createtable(L, 2, 0);
      if (n->edge[i].node) push_node(L, n->edge[i].node); else vm_pushnone(L);
      lua_rawseti(L, -2, 1);
      lua_pushinteger(L, n->edge[i].nr);
      lua_rawseti(L, -2, 2);
      lua_rawseti(L, -2, i + 1);
    }
  } else return luaL_error(L, "a grad_fn has no field '%s' (name(), next_functions, variable)", k);
  return 1;
}
static int a_grad_fn(lua_State *L) { SELF; ENTER; push_node(L, ag_grad_fn(c, x)); return vm_leave(L, c, sc, 1); }
static const char *grad_fn_name(Tensor *t) {
  static char buf[128];
  return t->ag && t->ag->node ? ag_node_name(t->ag->node, buf, sizeof buf) : NULL;
}

/* ---- hooks ---- */
static Tensor *hook_call(Ctx *c, void *ud, Tensor *g) {
  LuaRef *r = ud;
  lua_State *L = r->L;
  if (!lua_checkstack(L, 8)) return mt_nomem(c);
  lua_rawgeti(L, LUA_REGISTRYINDEX, r->ref);
  vm_pushtensor(L, g);
  if (!call_back(c, L, 1, 1)) return NULL;
  Tensor *out = vm_totensor(L, -1);
  if (!out && !lua_isnil(L, -1) && !vm_isnone(L, -1)) mt_fail(c, "a hook must return a Tensor or nothing, got %s", luaL_typename(L, -1));
  if (out) mt_own(c, mt_retain(out));
  lua_pop(L, 1);
  return out;
}
static int handle_remove(lua_State *L) {
  lua_settop(L, 1);
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_getfield(L, 1, "_tensor");
  lua_getfield(L, 1, "_node");
  lua_getfield(L, 1, "_id");
  Tensor *t = vm_totensor(L, 2);
  AgNode *n = lua_isnil(L, 3) ? NULL : check_node(L, 3);
  if (lua_isinteger(L, 4)) ag_remove_hook(t, n, lua_tointeger(L, 4));
  lua_pushnil(L);
  lua_setfield(L, 1, "_id");
  return 0;
}
static int m_register_hook(lua_State *L) {
  SELF;
  ENTER;
  luaL_checktype(L, 2, LUA_TFUNCTION);
  AgHook *h = mt_calloc(sizeof *h);
  if (!h) return luaL_error(L, "not enough memory");
  h->fn = hook_call;
  h->free_fn = ref_free;
  h->ud = ref_new(L, 2);
  int64_t id = ag_add_hook(c, x, h);
  if (c->err) { ref_free(h->ud); mt_free(h); return vm_leave(L, c, sc, 0); }
  vm_keep(L, 1);
  lua_createtable(L, 0, 4);
  lua_pushinteger(L, id);
  lua_setfield(L, -2, "_id");
  if (ag_grad_fn(c, x)) { push_node(L, ag_grad_fn(c, x)); lua_setfield(L, -2, "_node"); }
  else { lua_pushvalue(L, 1); lua_setfield(L, -2, "_tensor"); }
  lua_pushcfunction(L, handle_remove);
  lua_setfield(L, -2, "remove");
  return vm_leave(L, c, sc, 1);
}

/* ---- the walk ---- */
static bool kw_bool(lua_State *L, int i, const char *name, bool dflt) {
  if (!lua_istable(L, i)) return dflt;
  lua_getfield(L, i, name);
  bool v = lua_isnil(L, -1) ? dflt : lua_toboolean(L, -1);
  lua_pop(L, 1);
  return v;
}
static void check_keys(lua_State *L, int i, const char *fn, const char *allowed) {
  if (!lua_istable(L, i)) return;
  lua_pushnil(L);
  while (lua_next(L, i)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) != LUA_TSTRING) continue;
    char key[64];
    snprintf(key, sizeof key, " %s ", lua_tostring(L, -1));
    if (!strstr(allowed, key)) luaL_error(L, "%s: unknown keyword '%s' (%s)", fn, lua_tostring(L, -1), allowed);
  }
}
/* A tensor or a list of tensors (None allowed where `none`) at i. */
static int tensors_at(lua_State *L, Ctx *c, int i, Tensor ***out, bool none, const char *what) {
  Tensor *t = vm_totensor(L, i);
  int n = t ? 1 : lua_istable(L, i) ? (int)lua_rawlen(L, i) : -1;
  if (n < 0) { mt_fail(c, "%s must be a Tensor or a list of tensors, got %s", what, luaL_typename(L, i)); return 0; }
  Tensor **v = mt_tmp(c, sizeof *v * (size_t)(n + 1));
  if (!v) return 0;
  *out = v;
  if (t) { v[0] = t; return 1; }
  for (int k = 0; k < n; k++) {
    lua_rawgeti(L, i, k + 1);
    v[k] = vm_totensor(L, -1);
    if (!v[k] && !(none && (vm_isnone(L, -1)))) mt_fail(c, "%s must be tensors, but element %d is %s", what, k + 1, luaL_typename(L, -1));
    lua_pop(L, 1);
  }
  return n;
}

static int m_backward(lua_State *L) {
  SELF;
  ENTER;
  static const char keys[] = " gradient retain_graph create_graph inputs ";
  int kw = lua_gettop(L);
  if (!(kw > 1 && lua_istable(L, kw))) kw = 0;
  check_keys(L, kw ? kw : 1, "backward", keys);
  Tensor *g = kw == 2 ? NULL : vm_totensor(L, 2), **inputs = NULL;
  if (!g && kw) { lua_getfield(L, kw, "gradient"); g = vm_totensor(L, -1); }
  int nin = 0;
  if (kw) {
    lua_getfield(L, kw, "inputs");
    if (!lua_isnil(L, -1)) nin = tensors_at(L, c, lua_gettop(L), &inputs, false, "backward: inputs");
  }
  if (!kw && lua_gettop(L) >= 2 && !g && !lua_isnil(L, 2) && !vm_isnone(L, 2)) mt_fail(c, "backward: gradient must be a Tensor, got %s", luaL_typename(L, 2));
  bool create = kw && kw_bool(L, kw, "create_graph", false);
  bool retain = kw ? kw_bool(L, kw, "retain_graph", create) : false;
  ag_backward(c, 1, &x, g ? &g : NULL, nin, inputs, NULL, retain, create, true);
  return vm_leave(L, c, sc, 0);
}

/* torch.autograd.backward(tensors, grad_tensors, {retain_graph, create_graph, inputs}) */
static int f_backward(lua_State *L) {
  ENTER;
  Tensor **roots = NULL, **seeds = NULL, **inputs = NULL;
  int kw = lua_gettop(L), nin = 0;
  if (!(kw > 1 && lua_istable(L, kw) && lua_rawlen(L, kw) == 0)) kw = 0;
  int n = tensors_at(L, c, 1, &roots, false, "backward: tensors");
  if (!c->err && lua_gettop(L) >= 2 && kw != 2 && !lua_isnil(L, 2)) {
    int m = tensors_at(L, c, 2, &seeds, true, "backward: grad_tensors");
    if (!c->err && m != n) mt_fail(c, "backward: got %d tensors and %d gradients", n, m);
  }
  if (kw) {
    lua_getfield(L, kw, "inputs");
    if (!lua_isnil(L, -1)) nin = tensors_at(L, c, lua_gettop(L), &inputs, false, "backward: inputs");
  }
  bool create = kw && kw_bool(L, kw, "create_graph", false);
  if (!c->err) ag_backward(c, n, roots, seeds, nin, inputs, NULL, kw ? kw_bool(L, kw, "retain_graph", create) : false, create, true);
  return vm_leave(L, c, sc, 0);
}

/* torch.autograd.grad(outputs, inputs, [grad_outputs], {retain_graph, create_graph, allow_unused, materialize_grads}) -> list */
static int f_grad(lua_State *L) {
  ENTER;
  Tensor **roots = NULL, **seeds = NULL, **inputs = NULL;
  int kw = lua_gettop(L);
  if (!(kw > 2 && lua_istable(L, kw) && lua_rawlen(L, kw) == 0)) kw = 0;
  check_keys(L, kw ? kw : 0, "grad", " grad_outputs retain_graph create_graph allow_unused materialize_grads is_grads_batched only_inputs ");
  int n = tensors_at(L, c, 1, &roots, false, "grad: outputs"), m = tensors_at(L, c, 2, &inputs, false, "grad: inputs");
  int at = 0;
  if (!c->err && lua_gettop(L) >= 3 && kw != 3 && !lua_isnil(L, 3) && !vm_isnone(L, 3)) at = 3;
  if (!at && kw) { lua_getfield(L, kw, "grad_outputs"); if (!lua_isnil(L, -1)) at = lua_gettop(L); }
  if (at && !c->err) {
    int k = tensors_at(L, c, at, &seeds, true, "grad: grad_outputs");
    if (!c->err && k != n) mt_fail(c, "grad: got %d outputs and %d grad_outputs", n, k);
  }
  bool create = kw && kw_bool(L, kw, "create_graph", false), mat = kw && kw_bool(L, kw, "materialize_grads", false);
  bool unused = kw && (kw_bool(L, kw, "allow_unused", false) || mat);
  Tensor **res = mt_tmp(c, sizeof *res * (size_t)(m + 1));
  if (res && !c->err) {
    memset(res, 0, sizeof *res * (size_t)(m + 1));
    ag_backward(c, n, roots, seeds, m, inputs, res, kw ? kw_bool(L, kw, "retain_graph", create) : false, create, false);
  }
  if (!c->err) {
    lua_createtable(L, m, 0);
    for (int i = 0; i < m; i++) {
      if (!res[i] && mat) res[i] = t_zeros_like(c, inputs[i], -1, -1, -1, -1, false, -1);
      if (!res[i] && !unused) {
        mt_fail(c, "grad: input %d appears not to have been used in the graph; pass allow_unused=true if that is intended", i + 1);
        break;
      }
      if (res[i]) vm_pushtensor(L, res[i]); else vm_pushnone(L);
      lua_rawseti(L, -2, i + 1);
    }
  }
  return vm_leave(L, c, sc, 1);
}

/* ---- modes: no_grad and its kin as functions and guards ---- */
typedef struct { bool grad, inference, open; } Guard;
static int open_guards;
static int guard_close(lua_State *L) {
  Guard *g = lua_touserdata(L, 1);
  Ctx *c = vm_ctx(L);
  if (!g || !g->open) return 0;
  g->open = false;
  open_guards--;
  c->grad_mode = g->grad;
  c->inference = g->inference;
  return 0;
}
/* At the end of a chunk: a guard nobody closed is undone. */
void vm_modes_settle(lua_State *L) {
  Ctx *c = vm_ctx(L);
  if (!c || !open_guards) return;
  open_guards = 0;
  c->grad_mode = true;
  c->inference = false;
  lua_warning(L, "a torch.no_grad() (or similar) guard was never closed; write `local _ <close> = torch.no_grad()`", 0);
}
static int with_mode(lua_State *L, bool grad, bool inference, int first) {
  Ctx *c = vm_ctx(L);
  int n = lua_gettop(L);
  bool og = c->grad_mode, oi = c->inference;
  if (n >= first && lua_isfunction(L, first)) {
    c->grad_mode = grad;
    c->inference = inference;
    int status = lua_pcall(L, n - first, LUA_MULTRET, 0);
    c->grad_mode = og;
    c->inference = oi;
    if (status != LUA_OK) return lua_error(L);
    return lua_gettop(L) - first + 1;
  }
  if (n >= first && !lua_isnil(L, first)) return luaL_error(L, "expected a function to call, got %s", luaL_typename(L, first));
  Guard *g = lua_newuserdatauv(L, sizeof *g, 0);
  g->grad = og;
  g->inference = oi;
  g->open = true;
  if (luaL_newmetatable(L, "torch.guard")) {
    lua_pushcfunction(L, guard_close);
    lua_setfield(L, -2, "__close");
    lua_pushcfunction(L, guard_close);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  open_guards++;
  c->grad_mode = grad;
  c->inference = inference;
  return 1;
}
static int f_no_grad(lua_State *L) { return with_mode(L, false, vm_ctx(L)->inference, 1); }
static int f_enable_grad(lua_State *L) { return with_mode(L, true, vm_ctx(L)->inference, 1); }
static int f_inference_mode(lua_State *L) {
  bool on = true;
  if (lua_isboolean(L, 1)) { on = lua_toboolean(L, 1); lua_remove(L, 1); }
  return with_mode(L, !on, on, 1);
}
static int f_set_grad_enabled(lua_State *L) {
  luaL_checktype(L, 1, LUA_TBOOLEAN);
  return with_mode(L, lua_toboolean(L, 1), vm_ctx(L)->inference, 2);
}
static int f_is_grad_enabled(lua_State *L) { lua_pushboolean(L, vm_ctx(L)->grad_mode); return 1; }
static int f_is_inference(lua_State *L) { lua_pushboolean(L, vm_ctx(L)->inference); return 1; }

/* ---- anomaly mode ---- */
static lua_State *where_state;
static const char *where(void) {
  static char buf[300];
  lua_Debug ar;
  lua_State *L = where_state;
  for (int level = 0; L && lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "Sl", &ar);
    if (ar.currentline > 0) { snprintf(buf, sizeof buf, "%s:%d", ar.short_src, ar.currentline); return buf; }
  }
  return NULL;
}
static int f_set_detect_anomaly(lua_State *L) {
  luaL_checktype(L, 1, LUA_TBOOLEAN);
  ag_anomaly = lua_toboolean(L, 1);
  where_state = main_state(L);
  ag_where = where;
  return 0;
}
static int f_is_anomaly(lua_State *L) { lua_pushboolean(L, ag_anomaly); return 1; }

/* ---- custom functions: the C half; class sugar is in stdlib/torch/function.lua ---- */
typedef struct { LuaRef *backward; int nin; bool materialize; } Custom;
static void custom_free(AgNode *n) {
  Custom *u = n->ud;
  ref_free(u->backward);
  mt_free(u);
  mt_free((char *)n->name);
}
/* Calls backward(g1, ..., gk) kept with the node; its results are the inputs' gradients. */
static void custom_apply(Ctx *c, AgNode *n, Tensor **g) {
  Custom *u = n->ud;
  lua_State *L = u->backward->L;
  if (!lua_checkstack(L, n->nout + n->nedge + 8)) { mt_nomem(c); return; }
  int top = lua_gettop(L);
  lua_rawgeti(L, LUA_REGISTRYINDEX, u->backward->ref);
  for (int i = 0; i < n->nout; i++) vm_pushtensor(L, g[i] ? g[i] : u->materialize ? ag_grad(c, n, g, i) : NULL);
  for (int i = 0; i < n->nedge; i++) lua_pushboolean(L, n->edge[i].node != NULL);
  if (!call_back(c, L, n->nout + n->nedge, LUA_MULTRET)) return;
  int got = lua_gettop(L) - top;
  if (got > u->nin) {
    bool extra = false;
    for (int i = u->nin; i < got; i++) extra |= vm_totensor(L, top + 1 + i) != NULL;
    if (extra) mt_fail(c, "%s: backward returned %d gradients, forward took %d arguments", n->name, got, u->nin);
  } else if (got < u->nin) {
    bool wanted = false;
    for (int i = got; i < u->nin; i++) wanted |= n->edge[i].node != NULL;
    if (wanted) mt_fail(c, "%s: backward returned %d gradients, forward took %d arguments", n->name, got, u->nin);
  }
  for (int i = 0; i < got && i < u->nin && !c->err; i++) {
    Tensor *t = vm_totensor(L, top + 1 + i);
    if (!t && !lua_isnil(L, top + 1 + i) && !vm_isnone(L, top + 1 + i))
      mt_fail(c, "%s: backward must return tensors or nil, result %d is %s", n->name, i + 1, luaL_typename(L, top + 1 + i));
    else if (t && n->edge[i].node) n->gin[i] = mt_own(c, mt_retain(t));
  }
  lua_settop(L, top);
}
/* _custom(name, inputs (list with None), outputs (list), nondiff (set by index), backward, materialize): ties outputs to a node. */
static int f_custom(lua_State *L) {
  ENTER;
  Tensor **in = NULL, **out = NULL;
  int nin = tensors_at(L, c, 2, &in, true, "Function: inputs"), nout = tensors_at(L, c, 3, &out, true, "Function: outputs");
  bool need = false;
  for (int i = 0; i < nin && !c->err; i++) need |= in[i] && ag_requires_grad(c, in[i]);
  if (c->err || !need || !c->grad_mode) return vm_leave(L, c, sc, 0);
  AgNode *n = ag_custom(c, NULL, nin, in, nout);
  Custom *u = n ? mt_calloc(sizeof *u) : NULL;
  char *name = u ? mt_malloc(strlen(luaL_checkstring(L, 1)) + 10) : NULL;
  if (!name) { mt_nomem(c); if (u) mt_free(u); if (n) ag_node_release(n); return vm_leave(L, c, sc, 0); }
  strcpy(name, lua_tostring(L, 1));
  strcat(name, "Backward");
  n->name = name;
  n->ud = u;
  u->nin = nin;
  u->materialize = lua_toboolean(L, 6);
  u->backward = ref_new(L, 5);
  n->apply = custom_apply;
  n->free_fn = custom_free;
  for (int i = 0; i < nout && !c->err; i++) {
    if (!out[i]) continue;
    ag_node_shape(c, n, i, out[i]);
    lua_rawgeti(L, 4, i + 1);
    bool skip = lua_toboolean(L, -1) || mt_is_int(out[i]->dtype);
    lua_pop(L, 1);
    if (!skip) ag_set_history(c, out[i], n, i);
  }
  ag_node_release(n);
  lua_pushboolean(L, 1);
  return vm_leave(L, c, sc, 1);
}

extern const char *(*vm_derivative_text)(int op);
static const char *derivative_text(int op) { return ag_derivs[op].text; }

void vm_open_autograd(lua_State *L, int torch) {
  static const luaL_Reg methods[] = {
    {"requires_grad_", m_requires_grad_}, {"detach_", m_detach_}, {"retain_grad", m_retain_grad}, {"register_hook", m_register_hook},
    {"backward", m_backward}, {NULL, NULL}};
  static const luaL_Reg attrs[] = {
    {"requires_grad", a_requires_grad}, {"is_leaf", a_is_leaf}, {"grad", a_grad}, {"grad_fn", a_grad_fn}, {"data", a_data}, {"_base", a_base},
    {"retains_grad", a_retains_grad}, {"output_nr", a_output_nr}, {NULL, NULL}};
  static const luaL_Reg setters[] = {{"requires_grad", s_requires_grad}, {"grad", s_grad}, {"data", s_data}, {NULL, NULL}};
  static const luaL_Reg top[] = {
    {"no_grad", f_no_grad}, {"enable_grad", f_enable_grad}, {"inference_mode", f_inference_mode}, {"set_grad_enabled", f_set_grad_enabled},
    {"is_grad_enabled", f_is_grad_enabled}, {"is_inference_mode_enabled", f_is_inference}, {NULL, NULL}};
  static const luaL_Reg space[] = {
    {"grad", f_grad}, {"backward", f_backward}, {"set_detect_anomaly", f_set_detect_anomaly}, {"is_anomaly_enabled", f_is_anomaly},
    {"_custom", f_custom}, {NULL, NULL}};
  static const luaL_Reg node[] = {{"__gc", node_gc}, {"__tostring", node_tostring}, {"__eq", node_eq}, {"__index", node_index}, {NULL, NULL}};
  torch = lua_absindex(L, torch);
  vm_push_methods(L);
  luaL_setfuncs(L, methods, 0);
  vm_push_attrs(L);
  luaL_setfuncs(L, attrs, 0);
  vm_push_setters(L);
  luaL_setfuncs(L, setters, 0);
  lua_pushvalue(L, torch);
  luaL_setfuncs(L, top, 0);
  lua_getfield(L, torch, "autograd");
  luaL_setfuncs(L, space, 0);
  luaL_newmetatable(L, "torch.autograd.Node");
  luaL_setfuncs(L, node, 0);
  lua_pop(L, 6);
  vm_grad_fn_name = grad_fn_name;
  vm_derivative_text = derivative_text;
}
