/* autograd_nodes.c: the tape as Lua sees it: grad_fn objects, hooks on tensors and nodes, and the
 * lines of the script that the tape remembers.
 *
 * Invariant: one Lua object per node while any reference to it lives, so grad_fn == grad_fn and
 * nodes may be table keys. */
#include "host.h"
#include "vm_autograd.h"
#include <stdio.h>
#include <string.h>

#define SELF Tensor *x = vm_checktensor(L, 1)
#define ENTER Ctx *c = vm_ctx(L); Scope sc = mt_open(c)

/* ---- Lua values that C holds on to ---- */
static lua_State *main_state(lua_State *L) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  lua_State *m = lua_tothread(L, -1);
  lua_pop(L, 1);
  return m;
}
static lua_State *home;
/* The coroutine that runs, when it belongs to the same interpreter. */
static lua_State *runner(lua_State *L) {
  lua_State *r = vm_int_running();
  return r && vm_ctx(r) == vm_ctx(L) ? r : L;
}
void vm_ref_free(void *ref) {
  LuaRef *r = ref;
  luaL_unref(r->L, LUA_REGISTRYINDEX, r->ref);
  mt_free(r);
}
LuaRef *vm_ref_new(lua_State *L, int i) {
  LuaRef *r = mt_malloc(sizeof *r);
  if (!r) luaL_error(L, "not enough memory");
  r->L = main_state(L);
  lua_pushvalue(L, i);
  r->ref = luaL_ref(L, LUA_REGISTRYINDEX);
  return r;
}
lua_State *vm_ref_push(const LuaRef *r) {
  lua_State *L = runner(r->L);
  if (!lua_checkstack(L, 16)) return NULL;
  lua_rawgeti(L, LUA_REGISTRYINDEX, r->ref);
  return L;
}

bool vm_call_back(Ctx *c, lua_State *L, int nargs, int nres) {
  if (lua_pcall(L, nargs, nres, 0) == LUA_OK) return true;
  const char *msg = luaL_tolstring(L, -1, NULL);
  c->op = NULL;
  mt_fail(c, "%s", msg);
  lua_pop(L, 2);
  return false;
}

/* A tensor that stands for output nr of node n: what a gradient edge is to the walk. */
static Tensor *stand_in(Ctx *c, AgNode *n, int nr) {
  if (nr < 0 || nr >= n->nout) return mt_fail(c, "the node has no output %d", nr);
  if (n->var) return n->var;
  const AgShape *s = &n->shape[nr];
  Tensor *t = mt_new(c, mt_il(s->more ? s->more : s->size, s->ndim), (DType)s->dtype, MT_META);
  if (t) ag_set_history(c, t, n, nr);
  return t;
}
static Tensor *edge_at(lua_State *L, Ctx *c, int i) {
  Tensor *t = NULL;
  if (!lua_istable(L, i) || luaL_getmetafield(L, i, "__name") != LUA_TSTRING) return NULL;
  if (!strcmp(lua_tostring(L, -1), "GradientEdge")) {
    lua_getfield(L, i, "node");
    lua_getfield(L, i, "output_nr");
    AgNode *n = vm_check_node(L, -2);
    t = stand_in(c, n, (int)lua_tointeger(L, -1));
    lua_pop(L, 2);
  }
  lua_pop(L, 1);
  return t;
}

int vm_tensors_at(lua_State *L, Ctx *c, int i, Tensor ***out, bool none, const char *what) {
  Tensor *t = vm_totensor(L, i);
  if (!t) t = edge_at(L, c, i);
  int n = t ? 1 : lua_istable(L, i) ? (int)lua_rawlen(L, i) : -1;
  if (n < 0) {
    mt_fail(c, "%s must be a Tensor or a list of tensors, got %s", what, luaL_typename(L, i));
    return 0;
  }
  Tensor **v = mt_tmp(c, sizeof *v * (size_t)(n + 1));
  if (!v) return 0;
  *out = v;
  if (t) { v[0] = t; return 1; }
  for (int k = 0; k < n; k++) {
    lua_rawgeti(L, i, k + 1);
    v[k] = vm_totensor(L, -1);
    if (!v[k]) v[k] = edge_at(L, c, lua_gettop(L));
    if (!v[k] && !(none && (vm_isnone(L, -1))))
      mt_fail(c, "%s must be tensors, but element %d is %s", what, k + 1, luaL_typename(L, -1));
    lua_pop(L, 1);
  }
  return n;
}

static void push_tensors(lua_State *L, Tensor **v, int n) {
  lua_createtable(L, n, 0);
  for (int i = 0; i < n; i++) {
    if (v[i]) vm_pushtensor(L, v[i]); else vm_pushnone(L);
    lua_rawseti(L, -2, i + 1);
  }
}

/* ---- lines of the script ---- */
/* The innermost line that is the user's: the standard library's own frames are passed over. */
static bool user_line(lua_Debug *ar) {
  lua_State *L = vm_int_running();
  if (!L) L = home;
  for (int level = 0; L && lua_getstack(L, level, ar); level++) {
    lua_getinfo(L, "Sl", ar);
    if (ar->currentline > 0 && strncmp(ar->source, "@<moth>", 7)) return true;
  }
  return false;
}
const char *vm_script_line(void) {
  static char buf[300];
  lua_Debug ar;
  if (!user_line(&ar)) return NULL;
  snprintf(buf, sizeof buf, "%s:%d", ar.short_src, ar.currentline);
  return buf;
}

enum { SITES = 1 << 12 };
static struct { char name[64]; } *sites;
/* Lines get numbers by their hash; a table that is full forgets which line it was, never that there
 * was one. */
uint32_t vm_site(void) {
  lua_Debug ar;
  char name[64];
  if (!user_line(&ar)) return 0;
  const char *src = ar.short_src;
  size_t n = strlen(src);
  if (n > 44) src += n - 44;
  snprintf(name, sizeof name, "%s:%d", src, ar.currentline);
  uint32_t h = 2166136261u;
  for (const char *p = name; *p; p++) h = (h ^ (uint8_t)*p) * 16777619u;
  if (!sites && !(sites = mt_calloc(sizeof *sites * SITES))) return 0;
  for (uint32_t k = 0; k < 16; k++) {
    uint32_t at = (h + k) % SITES;
    if (at == 0) continue;
    if (!sites[at].name[0]) strcpy(sites[at].name, name);
    if (!strcmp(sites[at].name, name)) return at;
  }
  return 0;
}
const char *vm_site_name(uint32_t site) {
  return sites && site > 0 && site < SITES && sites[site].name[0] ? sites[site].name : NULL;
}

/* ---- nodes ---- */
static const char node_magic = 0, boxes_key = 0;
typedef struct { const void *magic; AgNode *n; } NodeBox;
void vm_push_node(lua_State *L, AgNode *n) {
  if (!n) { lua_pushnil(L); return; }
  lua_rawgetp(L, LUA_REGISTRYINDEX, &boxes_key);
  if (lua_rawgetp(L, -1, n) == LUA_TUSERDATA) { lua_remove(L, -2); return; }
  lua_pop(L, 1);
  NodeBox *b = lua_newuserdatauv(L, sizeof *b, 1);
  b->magic = NULL;
  b->n = NULL;
  luaL_setmetatable(L, "torch.autograd.Node");
  n->ref++;
  b->n = n;
  b->magic = &node_magic;
  lua_pushvalue(L, -1);
  lua_rawsetp(L, -3, n);
  lua_remove(L, -2);
}
AgNode *vm_check_node(lua_State *L, int i) {
  NodeBox *b = luaL_checkudata(L, i, "torch.autograd.Node");
  if (!b->n) luaL_error(L, "the node is gone");
  return b->n;
}
static int node_gc(lua_State *L) {
  NodeBox *b = lua_touserdata(L, 1);
  AgNode *n = b->n;
  b->n = NULL;
  if (!n) return 0;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &boxes_key);
  if (lua_istable(L, -1)) {
    if (lua_rawgetp(L, -1, n) == LUA_TUSERDATA && lua_touserdata(L, -1) == (void *)b) {
      lua_pushnil(L);
      lua_rawsetp(L, -3, n);
    }
    lua_pop(L, 1);
  }
  ag_node_release(n);
  return 0;
}
static int node_name(lua_State *L) {
  char buf[128];
  AgNode *n = vm_check_node(L, 1);
  lua_pushstring(L, ag_node_name(n, buf, sizeof buf));
  return 1;
}
static int node_tostring(lua_State *L) {
  node_name(L);
  lua_pushfstring(L, "<%s>", lua_tostring(L, -1));
  return 1;
}
static void push_edges(lua_State *L, AgNode *n) {
  lua_createtable(L, n->nedge, 0);
  for (int i = 0; i < n->nedge; i++) {
    lua_createtable(L, 2, 0);
    if (n->edge[i].node) vm_push_node(L, n->edge[i].node); else vm_pushnone(L);
    lua_rawseti(L, -2, 1);
    lua_pushinteger(L, n->edge[i].nr);
    lua_rawseti(L, -2, 2);
    lua_rawseti(L, -2, i + 1);
  }
}

/* ---- hooks ---- */
static Tensor *hook_call(Ctx *c, void *ud, Tensor *g) {
  lua_State *L = vm_ref_push(ud);
  if (!L) return mt_nomem(c);
  vm_pushtensor(L, g);
  if (!vm_call_back(c, L, 1, 1)) return NULL;
  Tensor *out = vm_totensor(L, -1);
  if (!out && !lua_isnil(L, -1) && !vm_isnone(L, -1))
    mt_fail(c, "a hook must return a Tensor or nothing, got %s", luaL_typename(L, -1));
  if (out) mt_own(c, mt_retain(out));
  lua_pop(L, 1);
  return out;
}
static Tensor *accum_call(Ctx *c, void *ud, Tensor *x) {
  lua_State *L = vm_ref_push(ud);
  if (!L) return mt_nomem(c);
  vm_pushtensor(L, x);
  if (vm_call_back(c, L, 1, 0)) return NULL;
  return NULL;
}
/* Writes the list a node hook returned over v; owned entries are exchanged, borrowed ones replaced.
 */
static void take_list(Ctx *c, lua_State *L, Tensor **v, int n, bool owned) {
  if (lua_isnil(L, -1) || vm_isnone(L, -1)) return;
  Tensor *one = vm_totensor(L, -1);
  if (!one && !lua_istable(L, -1)) {
    mt_fail(c, "a node hook must return a list of tensors or nothing, got %s",
            luaL_typename(L, -1));
    return;
  }
  int got = one ? 1 : (int)lua_rawlen(L, -1);
  if (got != n) {
    mt_fail(c, "a node hook returned %d gradients where %d are expected", got, n);
    return;
  }
  for (int i = 0; i < n && !c->err; i++) {
    if (one) lua_pushvalue(L, -1); else lua_rawgeti(L, -1, i + 1);
    Tensor *t = vm_totensor(L, -1);
    if (!t && !vm_isnone(L, -1) && !lua_isnil(L, -1))
      mt_fail(c, "a node hook must return tensors, entry %d is %s", i + 1, luaL_typename(L, -1));
    else if (t != v[i]) {
      if (owned) { mt_retain(t); mt_release(v[i]); } else if (t) mt_own(c, mt_retain(t));
      v[i] = t;
    }
    lua_pop(L, 1);
  }
}
static void post_call(Ctx *c, void *ud, Tensor **gin, int nin, Tensor **gout, int nout) {
  lua_State *L = vm_ref_push(ud);
  if (!L) { mt_nomem(c); return; }
  push_tensors(L, gin, nin);
  push_tensors(L, gout, nout);
  if (!vm_call_back(c, L, 2, 1)) return;
  if (nin) take_list(c, L, gin, nin, false);
  lua_pop(L, 1);
}
static void pre_call(Ctx *c, void *ud, Tensor **gin, int nin, Tensor **gout, int nout) {
  (void)gin;
  (void)nin;
  lua_State *L = vm_ref_push(ud);
  if (!L) { mt_nomem(c); return; }
  push_tensors(L, gout, nout);
  if (!vm_call_back(c, L, 1, 1)) return;
  take_list(c, L, gout, nout, true);
  lua_pop(L, 1);
}

static int handle_remove(lua_State *L) {
  lua_settop(L, 1);
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_getfield(L, 1, "_tensor");
  lua_getfield(L, 1, "_node");
  lua_getfield(L, 1, "_id");
  Tensor *t = vm_totensor(L, 2);
  AgNode *n = lua_isnil(L, 3) ? NULL : vm_check_node(L, 3);
  if (lua_isinteger(L, 4)) ag_remove_hook(t, n, lua_tointeger(L, 4));
  for (const char *const *k = (const char *const[]){"_id", "_node", "_tensor", NULL}; *k; k++) {
    lua_pushnil(L);
    lua_setfield(L, 1, *k);
  }
  return 0;
}
/* The handle with remove(), which a `<close>` variable calls too.  Held weakly would lose leaves;
 * the node is what counts. */
static void push_handle(lua_State *L, int64_t id, AgNode *n, int tensor) {
  lua_createtable(L, 0, 4);
  lua_pushinteger(L, id);
  lua_setfield(L, -2, "_id");
  if (n) { vm_push_node(L, n); lua_setfield(L, -2, "_node"); }
  else if (tensor) { lua_pushvalue(L, tensor); lua_setfield(L, -2, "_tensor"); }
  lua_pushcfunction(L, handle_remove);
  lua_setfield(L, -2, "remove");
  if (luaL_newmetatable(L, "torch.hook_handle")) {
    lua_pushcfunction(L, handle_remove);
    lua_setfield(L, -2, "__close");
  }
  lua_setmetatable(L, -2);
}
static AgHook *new_hook(lua_State *L, int fn, int nr) {
  luaL_checktype(L, fn, LUA_TFUNCTION);
  AgHook *h = mt_calloc(sizeof *h);
  if (!h) luaL_error(L, "not enough memory");
  h->nr = nr;
  h->free_fn = vm_ref_free;
  h->ud = vm_ref_new(L, fn);
  return h;
}
static int add_tensor_hook(lua_State *L, int nr) {
  SELF;
  ENTER;
  AgHook *h = new_hook(L, 2, nr);
  h->fn = nr == AG_HOOK_ACCUM ? accum_call : hook_call;
  AgNode *n = ag_grad_fn(c, x);
  if (nr == AG_HOOK_ACCUM && n)
    mt_fail(c, "post accumulate grad hooks cannot be registered on non-leaf tensors");
  int64_t id = c->err ? 0 : ag_add_hook(c, x, h);
  if (c->err) { vm_ref_free(h->ud); mt_free(h); return vm_leave(L, c, sc, 0); }
  vm_keep(L, 1);
  push_handle(L, id, n, 1);
  return vm_leave(L, c, sc, 1);
}
static int m_register_hook(lua_State *L) { return add_tensor_hook(L, 0); }
static int m_register_accum_hook(lua_State *L) { return add_tensor_hook(L, AG_HOOK_ACCUM); }
static int add_node_hook(lua_State *L, int nr,
                         void (*fn)(Ctx *, void *, Tensor **, int, Tensor **, int)) {
  AgNode *n = vm_check_node(L, 1);
  AgHook *h = new_hook(L, 2, nr);
  h->node_fn = fn;
  push_handle(L, ag_node_add_hook(n, h)->id, n, 0);
  return 1;
}
static int node_register_hook(lua_State *L) { return add_node_hook(L, AG_HOOK_POST, post_call); }
static int node_register_prehook(lua_State *L) { return add_node_hook(L, AG_HOOK_PRE, pre_call); }

/* The node's own table; it lives as long as the node. */
static int node_metadata(lua_State *L, AgNode *n) {
  for (AgHook *h = n->hooks; h; h = h->next)
    if (h->nr == AG_HOOK_OWNED) { vm_ref_push(h->ud); return 1; }
  lua_newtable(L);
  AgHook *h = mt_calloc(sizeof *h);
  if (!h) return luaL_error(L, "not enough memory");
  h->nr = AG_HOOK_OWNED;
  h->free_fn = vm_ref_free;
  h->ud = vm_ref_new(L, -1);
  ag_node_add_hook(n, h);
  return 1;
}

/* _saved_NAME: what the op saved, unpacked (versions checked). */
static int node_saved(lua_State *L, AgNode *n, const char *name) {
  ENTER;
  Tensor *t = NULL;
  bool found = false;
  for (int i = 0; n->op && i < n->op->nparam && !found; i++)
    if (!strcmp(n->op->params[i].name, name) && n->saved[i].kind) {
      found = true;
      t = ag_saved(c, n, i);
    }
  for (int i = 0; n->op && i < n->op->nret && !found; i++)
    if ((!strcmp(n->op->ret_names[i], name) || (i == 0 && !strcmp(name, "result"))) &&
        n->saved_ret[i].kind) {
      found = true;
      t = ag_saved_ret(c, n, i);
    }
  if (!found && !c->err) mt_fail(c, "this grad_fn saved nothing called '%s'", name);
  if (t) vm_pushtensor(L, t);
  return vm_leave(L, c, sc, t ? 1 : 0);
}

static int push_why(lua_State *L, uint32_t why) {
  int kind = (int)(why >> 30), op = (int)(why >> 18 & 0xfff);
  if (!kind) return 0;
  lua_pushstring(L, kind == MT_CUT_NOGRAD ? "no_grad" : "op");
  lua_pushstring(L, op < mt_nops ? mt_ops[op].path : NULL);
  lua_pushstring(L, vm_site_name(why & 0x3ffff));
  return 3;
}
/* node:_cut(x) -> does an input without history share x's data, then as _why; nothing when no
 * input's history was cut */
static int node_cut(lua_State *L) {
  AgNode *n = vm_check_node(L, 1);
  Tensor *x = vm_checktensor(L, 2);
  if (!n->cut) return 0;
  lua_pushboolean(L, n->cut_st == x->st);
  return 1 + push_why(L, n->cut);
}

static int node_index(lua_State *L) {
  static const luaL_Reg fns[] = {{"name", node_name},
                                 {"register_hook", node_register_hook},
                                 {"register_prehook", node_register_prehook},
                                 {"_cut", node_cut},
                                 {NULL, NULL}};
  AgNode *n = vm_check_node(L, 1);
  const char *k = luaL_checkstring(L, 2);
  for (const luaL_Reg *f = fns; f->name; f++)
    if (!strcmp(k, f->name)) {
      lua_pushcfunction(L, f->func);
      return 1;
    }
  if (!strcmp(k, "op")) lua_pushstring(L, n->op ? n->op->name : NULL);
  else if (!strcmp(k, "variable")) vm_pushtensor(L, n->var);
  else if (!strcmp(k, "where")) lua_pushstring(L, n->where);
  else if (!strcmp(k, "sequence")) lua_pushinteger(L, (lua_Integer)n->seq);
  else if (!strcmp(k, "released")) lua_pushboolean(L, n->released);
  else if (!strcmp(k, "metadata")) return node_metadata(L, n);
  else if (!strcmp(k, "next_functions")) push_edges(L, n);
  else if (!strcmp(k, "output_shapes")) {
    lua_createtable(L, n->nout, 0);
    for (int i = 0; i < n->nout; i++) {
      const AgShape *s = &n->shape[i];
      vm_pushsize(L, s->more ? s->more : s->size, s->ndim);
      lua_rawseti(L, -2, i + 1);
    }
  } else if (!strncmp(k, "_saved_", 7)) return node_saved(L, n, k + 7);
  else if (!strcmp(k, "saved_tensors")) { lua_pushcfunction(L, vm_node_saved_tensors);
  } else
    return luaL_error(L,
                      "a grad_fn has no field '%s' (name(), next_functions, metadata, variable, "
                      "register_hook(), register_prehook())",
                      k);
  return 1;
}

/* _edge(t) -> node, output number; the accumulator for leaves; nil when t needs no gradient. */
static int f_edge(lua_State *L) {
  SELF;
  ENTER;
  AgEdge e = ag_edge(c, x);
  if (!e.node) return vm_leave(L, c, sc, 0);
  e.node->ref++;
  vm_push_node(L, e.node);
  ag_node_release(e.node);
  lua_pushinteger(L, e.nr);
  return vm_leave(L, c, sc, 2);
}
/* _will_run(node): does the walk under way run it? */
static int f_will_run(lua_State *L) {
  AgNode *n = vm_check_node(L, 1);
  lua_pushboolean(L, vm_ctx(L)->busy && n->run == ag_run_id() && n->needed);
  return 1;
}
/* _walk(): the number of the walk under way. */
static int f_walk(lua_State *L) { lua_pushinteger(L, (lua_Integer)ag_run_id()); return 1; }
static int f_increment_version(lua_State *L) {
  if (lua_istable(L, 1)) {
    for (lua_Integer i = 1; lua_rawgeti(L, 1, i) != LUA_TNIL; i++) {
      vm_checktensor(L, -1)->st->version++;
      lua_pop(L, 1);
    }
    return 0;
  }
  vm_checktensor(L, 1)->st->version++;
  return 0;
}

/* _leads_elsewhere(outputs, inputs): do other leaves take part in the graph of outputs? */
static int f_leads_elsewhere(lua_State *L) {
  ENTER;
  Tensor **roots = NULL, **inputs = NULL;
  int n = vm_tensors_at(L, c, 1, &roots, false, "outputs"),
      m = vm_tensors_at(L, c, 2, &inputs, false, "inputs");
  lua_pushboolean(L, ag_leads_elsewhere(c, n, roots, m, inputs));
  return vm_leave(L, c, sc, 1);
}

/* _why(t) -> kind ("no_grad", "op" or nil), op's path, the script's line */
static int f_why(lua_State *L) {
  SELF;
  return push_why(L, x->why);
}
/* _reached(t) -> has any backward run, did the last one reach this leaf, was its gradient taken
 * away by hand */
static int f_reached(lua_State *L) {
  SELF;
  lua_pushboolean(L, ag_last_walk > 0);
  lua_pushboolean(L, x->ag && x->ag->accum && x->ag->accum->run == ag_last_walk && ag_last_walk);
  lua_pushboolean(L, x->ag && x->ag->cleared);
  return 3;
}

static uint32_t site_hook(void) { return vm_site(); }

void vm_open_nodes(lua_State *L, int space) {
  static const luaL_Reg methods[] = {{"register_hook", m_register_hook},
                                     {"register_post_accumulate_grad_hook", m_register_accum_hook},
                                     {NULL, NULL}};
  static const luaL_Reg node[] = {
      {"__gc", node_gc}, {"__tostring", node_tostring}, {"__index", node_index}, {NULL, NULL}};
  static const luaL_Reg fns[] = {
      {"_edge", f_edge},       {"_will_run", f_will_run},
      {"_walk", f_walk},       {"_increment_version", f_increment_version},
      {"_why", f_why},         {"_leads_elsewhere", f_leads_elsewhere},
      {"_reached", f_reached}, {NULL, NULL}};
  lua_pushvalue(L, space);
  luaL_setfuncs(L, fns, 0);
  lua_pop(L, 1);
  vm_push_methods(L);
  luaL_setfuncs(L, methods, 0);
  lua_pop(L, 1);
  luaL_newmetatable(L, "torch.autograd.Node");
  luaL_setfuncs(L, node, 0);
  lua_pop(L, 1);
  lua_newtable(L);
  lua_newtable(L);
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &boxes_key);
  home = main_state(L);
  mt_site = site_hook;
}
