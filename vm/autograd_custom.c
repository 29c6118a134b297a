/* autograd_custom.c: the C half of torch.autograd.Function (stdlib/torch/autograd/function.lua has
 * the class) and of saved tensor hooks.
 *
 * Invariant: a custom node keeps its tensors as other nodes do (AgSaved): versions are checked, the
 * function's own results do not keep their node alive, and a backward without retain_graph lets
 * them go. */
#include "host.h"
#include "vm_autograd.h"
#include <stdio.h>
#include <string.h>

#define ENTER Ctx *c = vm_ctx(L); Scope sc = mt_open(c)

typedef struct { LuaRef *backward; int nin; bool materialize; } Custom;
static void custom_free(AgNode *n) {
  Custom *u = n->ud;
  vm_ref_free(u->backward);
  mt_free(u);
  mt_free((char *)n->name);
}

static void count_error(Ctx *c, AgNode *n, int got) {
  const Custom *u = n->ud;
  mt_fail(c, "function %s returned an incorrect number of gradients (expected %d, got %d)", n->name,
          u->nin, got);
}

/* Calls backward(node, needs..., g1, ..., gk); its results are the inputs' gradients. */
static void custom_apply(Ctx *c, AgNode *n, Tensor **g) {
  Custom *u = n->ud;
  lua_State *L = vm_ref_push(u->backward);
  if (!L || !lua_checkstack(L, n->nout + n->nedge + 8)) {
    if (L) lua_pop(L, 1);
    mt_nomem(c);
    return;
  }
  int top = lua_gettop(L) - 1;
  vm_push_node(L, n);
  lua_createtable(L, n->nedge, 0);
  for (int i = 0; i < n->nedge; i++) {
    lua_pushboolean(L, n->edge[i].node && n->edge[i].node->needed);
    lua_rawseti(L, -2, i + 1);
  }
  for (int i = 0; i < n->nout; i++)
    vm_pushtensor(L, g[i] ? g[i] : u->materialize ? ag_grad(c, n, g, i) : NULL);
  if (!vm_call_back(c, L, n->nout + 2, LUA_MULTRET)) return;
  int got = lua_gettop(L) - top;
  bool extra = false, wanted = false;
  for (int i = u->nin; i < got; i++) extra |= vm_totensor(L, top + 1 + i) != NULL;
  for (int i = got; i < u->nin; i++) wanted |= n->edge[i].node != NULL;
  if (extra || wanted) count_error(c, n, got);
  for (int i = 0; i < got && i < u->nin && !c->err; i++) {
    Tensor *t = vm_totensor(L, top + 1 + i);
    if (!t && !lua_isnil(L, top + 1 + i) && !vm_isnone(L, top + 1 + i))
      mt_fail(c, "function %s: backward must return tensors or nil, result %d is %s", n->name,
              i + 1, luaL_typename(L, top + 1 + i));
    else if (t && n->edge[i].node) n->gin[i] = mt_own(c, mt_retain(t));
  }
  lua_settop(L, top);
}

static int index_of(Tensor **v, int n, const Tensor *t) {
  for (int i = 0; i < n; i++) if (v[i] == t) return i;
  return -1;
}

static void save_all(Ctx *c, AgNode *n, Tensor **v, int nv, Tensor **out, int nout, bool *own) {
  if (!nv) return;
  n->extra = mt_calloc(sizeof(AgSaved) * (size_t)nv);
  if (!n->extra) { mt_nomem(c); return; }
  n->nextra = nv;
  for (int i = 0; i < nv && !c->err; i++) {
    int k = v[i] ? index_of(out, nout, v[i]) : -1;
    if (!v[i]) continue;
    if (k < 0 || !own[k]) { ag_save(c, &n->extra[i], v[i], false); continue; }
    n->extra[i].kind = 3;
    n->extra[i].nr = k;
    n->extra[i].version = v[i]->st->version;
    ag_keep(c, &n->extra[i], mt_alias(c, v[i]));
  }
}

static AgNode *custom_node(lua_State *L, Ctx *c, Tensor **in, int nin, int nout) {
  AgNode *n = ag_custom(c, NULL, nin, in, nout);
  Custom *u = n ? mt_calloc(sizeof *u) : NULL;
  char *name = u ? mt_malloc(strlen(luaL_checkstring(L, 1)) + 10) : NULL;
  if (!name) { mt_nomem(c); if (u) mt_free(u); if (n) ag_node_release(n); return NULL; }
  strcpy(name, lua_tostring(L, 1));
  strcat(name, "Backward");
  n->name = name;
  n->ud = u;
  u->nin = nin;
  u->materialize = lua_toboolean(L, 6);
  u->backward = vm_ref_new(L, 5);
  n->apply = custom_apply;
  n->free_fn = custom_free;
  return n;
}

static bool listed(lua_State *L, int list, Tensor *t) {
  bool found = false;
  lua_Integer n = lua_istable(L, list) ? (lua_Integer)lua_rawlen(L, list) : 0;
  for (lua_Integer i = 1; !found && i <= n; i++) {
    lua_rawgeti(L, list, i);
    found = vm_totensor(L, -1) == t;
    lua_pop(L, 1);
  }
  return found;
}

/* Gives output k its history: written in place (dirty), an input handed through (an alias carries
 * it), or new. */
static void tie(Ctx *c, AgNode *n, Tensor **out, int k, Tensor **in, int nin, bool dirty) {
  int from = index_of(in, nin, out[k]);
  if (dirty && out[k]->base && !(out[k]->flags & MT_LEAFVIEW)) {
    if (from != 0) mt_fail(c, "%s: a view marked dirty must be the first argument", n->name);
    else ag_rebase(c, out[k], n);
    return;
  }
  if (from >= 0 && !dirty) {
    bool mode = c->grad_mode;
    c->grad_mode = false;
    out[k] = t_alias(c, out[k]);
    c->grad_mode = mode;
    if (!out[k]) return;
  }
  ag_set_history(c, out[k], n, k);
}

/* _custom(name, inputs, outputs, nondiff, backward, materialize, [saved, [dirty]]): ties outputs to
 * a node.  Lists of tensors with None; returns the list of outputs. */
static int f_custom(lua_State *L) {
  ENTER;
  Tensor **in = NULL, **out = NULL, **saved = NULL;
  int nin = vm_tensors_at(L, c, 2, &in, true, "Function: inputs"),
      nout = vm_tensors_at(L, c, 3, &out, true, "Function: outputs");
  lua_settop(L, 8);
  int nsaved = c->err || lua_isnil(L, 7)
                   ? 0
                   : vm_tensors_at(L, c, 7, &saved, true, "save_for_backward: arguments");
  bool need = false, own[64] = {false};
  if (nout > 64) mt_fail(c, "a Function returns at most 64 outputs");
  for (int i = 0; i < nin && !c->err; i++) need |= in[i] && ag_requires_grad(c, in[i]);
  for (int i = 0; i < nin && !c->err; i++)
    if (in[i] && need && c->grad_mode && listed(L, 8, in[i])) ag_may_write(c, in[i]);
  lua_pushvalue(L, 3);
  if (c->err || !need || !c->grad_mode) return vm_leave(L, c, sc, 1);
  AgNode *n = custom_node(L, c, in, nin, nout);
  for (int i = 0; i < nout && !c->err; i++) {
    if (!out[i]) continue;
    ag_node_shape(c, n, i, out[i]);
    own[i] = !listed(L, 4, out[i]) && !mt_is_int(out[i]->dtype) &&
             (index_of(in, nin, out[i]) < 0 || listed(L, 8, out[i]));
  }
  if (!c->err) save_all(c, n, saved, nsaved, out, nout, own);
  for (int i = 0; i < nout && !c->err; i++) {
    if (!out[i]) continue;
    bool skip = listed(L, 4, out[i]) || mt_is_int(out[i]->dtype);
    if (skip) { out[i]->flags &= (uint8_t)~MT_REQ_GRAD; continue; }
    Tensor *before = out[i];
    tie(c, n, out, i, in, nin, listed(L, 8, out[i]));
    if (out[i] != before && out[i]) { vm_pushtensor(L, out[i]); lua_rawseti(L, -2, i + 1); }
  }
  if (n) ag_node_release(n);
  return vm_leave(L, c, sc, 1);
}

/* node:saved_tensors() -> the tensors a custom function saved, as several values */
int vm_node_saved_tensors(lua_State *L) {
  AgNode *n = vm_check_node(L, 1);
  ENTER;
  if (!n->free_fn || n->free_fn != custom_free)
    mt_fail(c, "only the grad_fn of a custom function has saved_tensors");
  if (!lua_checkstack(L, n->nextra + 4)) mt_nomem(c);
  for (int i = 0; i < n->nextra && !c->err; i++) {
    Tensor *t = ag_unpack(c, n, &n->extra[i], "saved tensor");
    if (!c->err) vm_pushtensor(L, t);
  }
  return vm_leave(L, c, sc, n->nextra);
}

/* ---- saved tensor hooks: a stack of {pack, unpack} in the registry ---- */
static const char hooks_key = 0;
static lua_State *hook_state;

/* What a pack hook returned is kept with the unpack hook that goes with it. */
static void *pack(Ctx *c, Tensor *t) {
  lua_State *L = vm_int_running() ? vm_int_running() : hook_state;
  if (!lua_checkstack(L, 8)) return mt_nomem(c);
  int top = lua_gettop(L);
  LuaRef *r = NULL;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &hooks_key);
  lua_rawgeti(L, -1, (lua_Integer)lua_rawlen(L, -1));
  lua_createtable(L, 2, 0);
  lua_getfield(L, -2, "unpack");
  lua_rawseti(L, -2, 2);
  lua_getfield(L, -2, "pack");
  vm_pushtensor(L, t);
  void *(*outer)(Ctx *, Tensor *) = ag_pack;
  ag_pack = NULL;                          /* what the hook computes is not packed again */
  if (vm_call_back(c, L, 1, 1)) {
    lua_rawseti(L, -2, 1);
    r = vm_ref_new(L, -1);
  }
  ag_pack = outer;
  lua_settop(L, top);
  return r;
}
static Tensor *unpack(Ctx *c, void *packed) {
  lua_State *L = vm_ref_push(packed);
  if (!L) return mt_nomem(c);
  int top = lua_gettop(L) - 1;
  lua_rawgeti(L, -1, 2);
  lua_rawgeti(L, -2, 1);
  Tensor *t = NULL;
  if (vm_call_back(c, L, 1, 1)) {
    t = vm_totensor(L, -1);
    if (t) mt_own(c, mt_retain(t));
    else
      mt_fail(c, "a saved tensor's unpack hook must return a Tensor, got %s", luaL_typename(L, -1));
  }
  lua_settop(L, top);
  return t;
}
/* _push_saved_hooks(pack, unpack); _pop_saved_hooks() */
static int f_push_hooks(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &hooks_key) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &hooks_key);
  }
  lua_createtable(L, 0, 2);
  lua_pushvalue(L, 1);
  lua_setfield(L, -2, "pack");
  lua_pushvalue(L, 2);
  lua_setfield(L, -2, "unpack");
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  hook_state = L;
  ag_pack = pack;
  return 0;
}
static int f_pop_hooks(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &hooks_key) != LUA_TTABLE) return 0;
  lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
  lua_pushnil(L);
  if (n > 0) lua_rawseti(L, -2, n); else lua_pop(L, 1);
  if (n <= 1) ag_pack = NULL;
  return 0;
}

void vm_open_custom(lua_State *L, int space) {
  static const luaL_Reg fns[] = {{"_custom", f_custom},
                                 {"_push_saved_hooks", f_push_hooks},
                                 {"_pop_saved_hooks", f_pop_hooks},
                                 {NULL, NULL}};
  lua_pushvalue(L, space);
  luaL_setfuncs(L, fns, 0);
  lua_pop(L, 1);
  ag_unpack_packed = unpack;
  ag_free_packed = vm_ref_free;
}
