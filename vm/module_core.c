/* module_core.c: "torch.nn.core": what the half of nn.Module that is written in Lua
 * (stdlib/torch/nn) needs of the C half. */
#include "module.h"
#include "ordered.h"
#include "vm.h"

#define ENTER Ctx *c = vm_ctx(L); Scope sc = mt_open(c)

/* ---- for the layers written in Lua ---- */
static const char *const kinds[] = {"parameter", "buffer", "child", NULL};
static int f_entries(lua_State *L) { /* (m, kind) -> list of { name, value or None, persistent } */
  NnModule *m = vm_checkmodule(L, 1);
  NnKind k = (NnKind)luaL_checkoption(L, 2, NULL, kinds);
  lua_createtable(L, m->n[k], 0);
  for (int i = 0; i < m->n[k]; i++) {
    NnEntry *e = &m->e[k][i];
    lua_createtable(L, 3, 0);
    lua_pushstring(L, e->name);
    lua_rawseti(L, -2, 1);
    if (!e->t) vm_pushnone(L);
    else if (k == NN_CHILD) vm_push_module(L, e->m);
    else vm_pushtensor(L, e->t);
    lua_rawseti(L, -2, 2);
    lua_pushboolean(L, e->persistent);
    lua_rawseti(L, -2, 3);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}
static int f_entry(lua_State *L) { /* (m, kind, i) -> value, name of the i-th entry (0-based) */
  NnModule *m = vm_checkmodule(L, 1);
  NnKind k = (NnKind)luaL_checkoption(L, 2, NULL, kinds);
  lua_Integer i = luaL_checkinteger(L, 3);
  if (i < 0 || i >= m->n[k]) return 0;
  NnEntry *e = &m->e[k][i];
  if (k == NN_CHILD) vm_push_module(L, e->m); else vm_pushtensor(L, e->t);
  lua_pushstring(L, e->name);
  return 2;
}
static int f_count(lua_State *L) {
  NnModule *m = vm_checkmodule(L, 1);
  lua_pushinteger(L, m->n[luaL_checkoption(L, 2, NULL, kinds)]);
  return 1;
}
static int f_has(lua_State *L) { /* (m, kind, name): is there such an entry, even an empty one? */
  NnModule *m = vm_checkmodule(L, 1);
  lua_pushboolean(
      L, nn_find(m, (NnKind)luaL_checkoption(L, 2, NULL, kinds), luaL_checkstring(L, 3)) != NULL);
  return 1;
}
static int f_clear(lua_State *L) { /* (m, kind): all entries of the kind go, with their fields */
  NnModule *m = vm_checkmodule(L, 1);
  NnKind k = (NnKind)luaL_checkoption(L, 2, NULL, kinds);
  for (int i = 0; i < m->n[k]; i++) {
    lua_pushstring(L, m->e[k][i].name);
    vm_module_field(L, lua_gettop(L), 0);
    lua_pop(L, 1);
  }
  nn_remove_all(m, k);
  return 0;
}
static int f_put(lua_State *L) { /* (m, kind, name, value): without the checks of attributes */
  NnModule *m = vm_checkmodule(L, 1);
  NnKind k = (NnKind)luaL_checkoption(L, 2, NULL, kinds);
  luaL_checkstring(L, 3);
  NnEntry *e = nn_find(m, k, lua_tostring(L, 3));
  lua_settop(L, 5);
  if (k == NN_CHILD) vm_module_put_child(L, m, 3, 4);
  else
    vm_module_put_tensor(L, m, k, 3, 4,
                         lua_isnil(L, 5) ? !e || e->persistent : lua_toboolean(L, 5));
  return 0;
}
static int f_fields(lua_State *L) { vm_checkmodule(L, 1); lua_getiuservalue(L, 1, 1); return 1; }
static int f_hooks(lua_State *L) { vm_checkmodule(L, 1); lua_getiuservalue(L, 1, 2); return 1; }
static int f_set_hooks(lua_State *L) { /* (m, table or nil, around forward?) */
  NnModule *m = vm_checkmodule(L, 1);
  m->hooked = lua_toboolean(L, 3);
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, 2);
  return 0;
}
static int f_set_hook_call(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &vm_hook_call_key);
  return 0;
}
static int f_hook_everywhere(lua_State *L) { /* (any?): are there hooks for every module? */
  vm_hooks_everywhere = lua_toboolean(L, 1);
  return 0;
}
static int f_set_registration(lua_State *L) { /* (fn(module, kind, name, value) -> value, or nil) */
  lua_settop(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &vm_registration_key);
  return 0;
}
static int f_is_module(lua_State *L) { lua_pushboolean(L, vm_tomodule(L, 1) != NULL); return 1; }
static int f_class_of(lua_State *L) {
  vm_checkmodule(L, 1);
  luaL_getmetafield(L, 1, "__class");
  return 1;
}
static int f_is_parameter(lua_State *L) {
  Tensor *t = vm_totensor(L, 1);
  lua_pushboolean(L, t && t->flags & MT_PARAM);
  return 1;
}
static int f_set_data(lua_State *L) {                         /* (x, y): x takes over y's storage */
  Tensor *x = vm_checktensor(L, 1), *y = vm_checktensor(L, 2);
  ENTER;
  nn_take_data(c, x, y);
  return vm_leave(L, c, sc, 0);
}
/* The forward of a linear layer without Lua in between; the tensors are the fields', which
 * functional_call changes.  Anything unusual goes to the Lua function.  Upvalues: that function,
 * "weight", "bias". */
static int linear_forward(lua_State *L) {
  NnModule *m = vm_tomodule(L, 1);
  Tensor *x = vm_totensor(L, 2), *w = NULL, *b = NULL;
  NnEntry *none;
  int n = lua_gettop(L);
  if (m && x && n == 2) {
    lua_getiuservalue(L, 1, 1);
    for (int i = 2; i <= 3; i++) { lua_pushvalue(L, lua_upvalueindex(i)); lua_rawget(L, 3); }
    w = vm_totensor(L, 4);
    b = vm_totensor(L, 5);
    if (!b && (!lua_isnil(L, 5) || !(none = nn_find(m, NN_PARAM, "bias")) || none->t)) w = NULL;
  }
  if (!w) {
    lua_settop(L, n);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, n, LUA_MULTRET);
    return lua_gettop(L);
  }
  vm_gc_before(L);
  ENTER;
  vm_pushtensor(L, t_F_linear(c, x, w, b));
  return vm_leave(L, c, sc, 1);
}
static int f_linear(lua_State *L) {                           /* (forward in Lua) -> the fast one */
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_pushliteral(L, "weight");
  lua_pushliteral(L, "bias");
  lua_pushcclosure(L, linear_forward, 3);
  return 1;
}

/* Sequential's forward: the children one after the other; what the last one returns is the result.
 */
static int sequential_from(lua_State *L, int status, lua_KContext i) {
  NnModule *m = vm_checkmodule(L, 1);
  while (i < m->n[NN_CHILD]) { /* self, then what the last child gave */
    int n = lua_gettop(L) - 1;
    NnModule *child = m->e[NN_CHILD][i++].m;
    if (!child) continue;
    vm_push_module(L, child);
    lua_insert(L, 2);
    lua_callk(L, n, i < m->n[NN_CHILD] ? 1 : LUA_MULTRET, i, sequential_from);
  }
  return lua_gettop(L) - 1;
}
static int f_sequential(lua_State *L) { return sequential_from(L, LUA_OK, 0); }

static int f_arity(lua_State *L) { /* a function's count of parameters; -1 when it takes more */
  lua_Debug ar;
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_getinfo(L, ">u", &ar);
  lua_pushinteger(L, ar.isvararg ? -1 : ar.nparams);
  return 1;
}
static int f_names(lua_State *L) { /* (forward, list): its arguments may be given by name */
  luaL_checktype(L, 1, LUA_TFUNCTION);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &vm_forward_names_key);
  lua_insert(L, 1);
  lua_rawset(L, 1);
  return 0;
}
static int f_become(lua_State *L) { /* (m, class): m is an object of that class from now on */
  vm_checkmodule(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  lua_pushliteral(L, "__instance");
  if (lua_rawget(L, 2) != LUA_TTABLE) return luaL_error(L, "become: not a class of modules");
  lua_setmetatable(L, 1);
  return 0;
}
static int f_ordered(lua_State *L) {
  vm_ordered_open(L, 0);
  vm_ordered_close(L, lua_gettop(L) - 1);
  return 1;
}

/* nn.Parameter(data, requires_grad = true) */
static int f_parameter(lua_State *L) {
  static const char *const names[] = {"data", "requires_grad", NULL};
  lua_pushnil(L);
  lua_insert(L, 1);
  vm_spread(L, "nn.Parameter", names);
  if (lua_isnil(L, 2)) return luaL_error(L, "nn.Parameter: argument 'data' (a Tensor) is missing");
  Tensor *t = vm_totensor(L, 2);
  if (!t) return luaL_error(L, "nn.Parameter: data must be a Tensor, got %s", luaL_typename(L, 2));
  ENTER;
  Tensor *made = nn_parameter(c, t, vm_flag(L, 3, true));
  vm_pushtensor(L, made);
  if (!c->err) vm_keep(L, -1), vm_module_made_param(made);
  return vm_leave(L, c, sc, 1);
}

/* nn.Buffer(data, persistent = true): becomes a buffer of the module it is assigned to */
static int f_buffer(lua_State *L) {
  static const char *const names[] = {"data", "persistent", NULL};
  lua_pushnil(L);
  lua_insert(L, 1);
  vm_spread(L, "nn.Buffer", names);
  if (lua_isnil(L, 2)) return luaL_error(L, "nn.Buffer: argument 'data' (a Tensor) is missing");
  Tensor *t = vm_totensor(L, 2);
  if (!t) return luaL_error(L, "nn.Buffer: data must be a Tensor, got %s", luaL_typename(L, 2));
  ENTER;
  vm_pushtensor(L, mt_alias(c, t));
  if (!c->err) vm_module_mark_buffer(L, lua_gettop(L), vm_flag(L, 3, true));
  return vm_leave(L, c, sc, 1);
}
static int f_is_buffer(lua_State *L) {
  lua_pushboolean(L, vm_totensor(L, 1) && vm_module_is_buffer(L, 1, NULL));
  return 1;
}

static int f_layer(lua_State *L) {                            /* where we are, as errors say it */
  ENTER;
  vm_push_layer(L, c);
  return vm_leave(L, c, sc, 1);
}
static int f_new(lua_State *L) { luaL_checktype(L, 1, LUA_TTABLE); vm_module_new(L, 1); return 1; }

int luaopen_nn_core(lua_State *L) {
  static const luaL_Reg fns[] = {{"entries", f_entries},
                                 {"entry", f_entry},
                                 {"count", f_count},
                                 {"has", f_has},
                                 {"clear", f_clear},
                                 {"put", f_put},
                                 {"fields", f_fields},
                                 {"hooks", f_hooks},
                                 {"set_hooks", f_set_hooks},
                                 {"set_hook_call", f_set_hook_call},
                                 {"hook_everywhere", f_hook_everywhere},
                                 {"set_registration", f_set_registration},
                                 {"is_module", f_is_module},
                                 {"class_of", f_class_of},
                                 {"is_parameter", f_is_parameter},
                                 {"set_data", f_set_data},
                                 {"ordered", f_ordered},
                                 {"become", f_become},
                                 {"names", f_names},
                                 {"arity", f_arity},
                                 {"sequential", f_sequential},
                                 {"linear", f_linear},
                                 {"Parameter", f_parameter},
                                 {"Buffer", f_buffer},
                                 {"is_buffer", f_is_buffer},
                                 {"layer", f_layer},
                                 {"new", f_new},
                                 {NULL, NULL}};
  luaL_newlib(L, fns);
  vm_push_module_class(L);
  lua_setfield(L, -2, "Module");
  return 1;
}
