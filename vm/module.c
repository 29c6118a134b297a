/* module.c: nn.Module as Lua sees it: objects, classes, attribute access, calls, walks.
 *
 * Invariants.  A module is a userdata (MBox) over one NnModule; its first user value is the table
 * of its fields (parameters, buffers, children and plain values by name), its second the table of
 * its hooks.  Every write passes through m_newindex, so the fields and the C tree agree.  A box is
 * the only one of its module and is found again through a weak table.  References between modules
 * are Lua's own (fields), so its collector sees every cycle; the C tree refuses them.  A class is a
 * table with `__instance`, the metatable of its objects; layers written in Lua (stdlib/torch/nn)
 * extend these. */
#include "host.h"
#include "module.h"
#include "vm.h"
#include <string.h>

typedef struct MBox { const void *magic; NnModule *m; } MBox;
static const char module_magic = 0, boxes_key = 0;
const char vm_hook_call_key = 0, vm_forward_names_key = 0, vm_registration_key = 0;
bool vm_hooks_everywhere;
static const char marked_key = 0; /* registry: tensor made by nn.Buffer -> is it persistent? */

#define ENTER Ctx *c = vm_ctx(L); Scope sc = mt_open(c)

NnModule *vm_tomodule(lua_State *L, int i) {
  MBox *b = lua_touserdata(L, i);
  return b && lua_type(L, i) == LUA_TUSERDATA && lua_rawlen(L, i) == sizeof *b &&
                 b->magic == &module_magic
             ? b->m
             : NULL;
}
NnModule *vm_checkmodule(lua_State *L, int i) {
  NnModule *m = vm_tomodule(L, i);
  if (!m) luaL_typeerror(L, i, "Module");
  return m;
}
void vm_push_module(lua_State *L, NnModule *m) {
  if (!m) { lua_pushnil(L); return; }
  lua_rawgetp(L, LUA_REGISTRYINDEX, &boxes_key);
  lua_rawgetp(L, -1, m);
  lua_remove(L, -2);
}
/* The class's name of the object at i. */
const char *vm_module_name(lua_State *L, int i) {
  const char *name = "Module";
  if (luaL_getmetafield(L, i, "__name") == LUA_TSTRING)
    name = lua_tostring(L, -1); /* anchored by the metatable */
  return name;
}

/* ---- arguments: self, then values by position or by keyword in a trailing table ---- */
void vm_spread(lua_State *L, const char *fn, const char *const *names) {
  int n = 0, top = lua_gettop(L), kw = 0;
  while (names[n]) n++;
  if (top > 1 && lua_istable(L, top)) {
    if (!lua_getmetatable(L, top)) kw = top; else lua_pop(L, 1);
  }
  int given = kw ? top - 1 : top;
  if (given - 1 > n)
    luaL_error(L, "%s: takes at most %d argument%s, got %d", fn, n, n == 1 ? "" : "s", given - 1);
  if (!kw) { lua_settop(L, n + 1); return; }
  luaL_checkstack(L, n + 4, NULL);
  lua_settop(L, top);
  for (int i = given; i <= n; i++) lua_pushnil(L);            /* behind the table */
  lua_pushvalue(L, kw);
  lua_remove(L, kw); /* values are in place now, the table is last */
  int t = lua_gettop(L);
  for (lua_pushnil(L); lua_next(L, t); lua_pop(L, 1)) {
    const char *k = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
    int i = 0;
    while (k && names[i] && strcmp(names[i], k)) i++;
    if (!k || !names[i])
      luaL_error(L, "%s: unknown keyword '%s'", fn, k ? k : luaL_tolstring(L, -2, NULL));
    if (!lua_isnil(L, i + 2)) luaL_error(L, "%s: got multiple values for argument '%s'", fn, k);
    lua_pushvalue(L, -1);
    lua_replace(L, i + 2);
  }
  lua_settop(L, n + 1);
}
bool vm_flag(lua_State *L, int i, bool dflt) {
  return lua_isnil(L, i) ? dflt : lua_toboolean(L, i);
}
static const char *text(lua_State *L, const char *fn, int i, const char *what, const char *dflt) {
  if (lua_isnil(L, i) && dflt) return dflt;
  if (lua_type(L, i) != LUA_TSTRING)
    luaL_error(L, "%s: %s must be a string, got %s", fn, what, luaL_typename(L, i));
  return lua_tostring(L, i);
}

/* ---- fields ---- */
/* upvalues: the class, "training" */
static int m_index(lua_State *L) {
  NnModule *m = vm_tomodule(L, 1);
  if (lua_type(L, 2) == LUA_TSTRING && m) {
    if (lua_rawequal(L, 2, lua_upvalueindex(2))) { lua_pushboolean(L, m->training); return 1; }
    lua_settop(L, 2);
    lua_getiuservalue(L, 1, 1);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, 3) != LUA_TNIL) return 1;
    lua_pushvalue(L, 2);
    lua_gettable(L, lua_upvalueindex(1));
    return 1;
  }
  if (lua_getfield(L, lua_upvalueindex(1), "_getitem") != LUA_TFUNCTION)
    return luaL_error(L, "%s cannot be indexed with a %s", vm_module_name(L, 1),
                      luaL_typename(L, 2));
  lua_insert(L, 1);
  lua_settop(L, 3);
  lua_call(L, 2, 1);
  return 1;
}

void vm_module_field(lua_State *L, int name,
                      int value) { /* fields[name] = value (0: nil); indices are absolute */
  lua_getiuservalue(L, 1, 1);
  lua_pushvalue(L, name);
  if (value) lua_pushvalue(L, value); else lua_pushnil(L);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}
bool vm_module_is_buffer(lua_State *L, int v, bool *persistent) {
  bool is = false;
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &marked_key) == LUA_TTABLE) {
    lua_pushvalue(L, v);
    is = lua_rawget(L, -2) == LUA_TBOOLEAN;
    if (is && persistent) *persistent = lua_toboolean(L, -1);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return is;
}
void vm_module_mark_buffer(lua_State *L, int v, bool persistent) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &marked_key) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &marked_key);
  }
  lua_pushvalue(L, v);
  lua_pushboolean(L, persistent);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}
/* The value at v may be replaced by the hooks of nn.modules.module. */
static void ask_hooks(lua_State *L, NnKind kind, int k, int v) {
  static const char *const kinds[] = {"parameter", "buffer", "module"};
  if (lua_isnil(L, v) || vm_isnone(L, v)) return;
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &vm_registration_key) != LUA_TFUNCTION) {
    lua_pop(L, 1);
    return;
  }
  lua_pushvalue(L, 1);
  lua_pushstring(L, kinds[kind]);
  lua_pushvalue(L, k);
  lua_pushvalue(L, v);
  lua_call(L, 4, 1);
  Tensor *t = vm_totensor(L, -1);
  bool fits = kind == NN_CHILD ? vm_tomodule(L, -1) != NULL
                               : t && (kind == NN_BUFFER || t->flags & MT_PARAM);
  if (!fits)
    luaL_error(L, "a registration hook gave a %s for the %s '%s'", luaL_typename(L, -1),
               kinds[kind], lua_tostring(L, k));
  lua_replace(L, v);
}
/* Registers the value at stack index v (nil: an empty entry) under the name at index k, and sets
 * the field. */
void vm_module_put_tensor(lua_State *L, NnModule *m, NnKind kind, int k, int v, bool persistent) {
  ask_hooks(L, kind, k, v);
  ENTER;
  Tensor *t = vm_totensor(L, v);
  nn_set_tensor(c, m, kind, lua_tostring(L, k), t, persistent);
  if (!c->err) {
    if (t) vm_keep(L, v);
    vm_module_field(L, k, t ? v : 0);
  }
  vm_leave(L, c, sc, 0);
}
void vm_module_put_child(lua_State *L, NnModule *m, int k, int v) {
  ask_hooks(L, NN_CHILD, k, v);
  ENTER;
  NnModule *child = vm_tomodule(L, v);
  nn_set_child(c, m, lua_tostring(L, k), child);
  if (!c->err) vm_module_field(L, k, child ? v : 0);
  vm_leave(L, c, sc, 0);
}
static const char *type_name(lua_State *L, int i) {
  if (vm_totensor(L, i)) return "Tensor";
  if (vm_tomodule(L, i)) return vm_module_name(L, i);
  return luaL_typename(L, i);
}
static int bad_value(lua_State *L, NnKind kind, const char *name, int v) {
  static const char *const what[] = {"parameter", "buffer", "child module"};
  static const char *const want[] = {"torch.nn.Parameter or None",
                                     "torch.Tensor, torch.nn.Buffer, or None",
                                     "torch.nn.Module or None"};
  return luaL_error(L, "cannot assign '%s' as %s '%s' (%s expected)", type_name(L, v), what[kind],
                    name, want[kind]);
}

static int m_newindex(lua_State *L) {
  NnModule *m = vm_checkmodule(L, 1), *child = vm_tomodule(L, 3);
  if (lua_type(L, 2) != LUA_TSTRING) {
    if (luaL_getmetafield(L, 1, "__class") != LUA_TTABLE ||
        lua_getfield(L, -1, "_setitem") != LUA_TFUNCTION)
      return luaL_error(L, "%s: a field's name must be a string, got %s", vm_module_name(L, 1),
                        luaL_typename(L, 2));
    lua_insert(L, 1);
    lua_settop(L, 4);
    lua_call(L, 3, 0);
    return 0;
  }
  const char *name = lua_tostring(L, 2);
  Tensor *t = vm_totensor(L, 3);
  NnKind kind;
  NnEntry *e = nn_find_any(m, name, &kind);
  bool persistent = true;
  if (child || (t && t->flags & MT_PARAM)) {
    NnKind k = child ? NN_CHILD : NN_PARAM;
    if (child) vm_module_put_child(L, m, 2, 3);
    else vm_module_put_tensor(L, m, NN_PARAM, 2, 3, false);
    if (!e || kind != k) vm_module_in_order(L, m, k);
  }
  else if (t && vm_module_is_buffer(L, 3, &persistent))
    vm_module_put_tensor(L, m, NN_BUFFER, 2, 3, persistent);
  else if (lua_isnil(L, 3)) { vm_module_field(L, 2, 0); if (e) nn_remove(m, name); }
  else if (e && vm_isnone(L, 3)) {
    if (kind == NN_CHILD) vm_module_put_child(L, m, 2, 3);
    else vm_module_put_tensor(L, m, kind, 2, 3, e->persistent);
  }
  else if (e && kind == NN_BUFFER && t) vm_module_put_tensor(L, m, NN_BUFFER, 2, 3, e->persistent);
  else if (e) return bad_value(L, kind, name, 3);
  else if (!strcmp(name, "training")) {
    if (!lua_isboolean(L, 3))
      return luaL_error(L, "training must be true or false, got %s", luaL_typename(L, 3));
    m->training = lua_toboolean(L, 3);
  }
  else vm_module_field(L, 2, vm_isnone(L, 3) ? 0 : 3);
  return 0;
}

/* ---- calls ---- */
static int call_done(lua_State *L, int status, lua_KContext n) { return lua_gettop(L) - (int)n; }
/* Keywords of a layer's forward, `linear{input = x}`: the table at n becomes values by the names (a
 * list) that core.names gave for the forward function at f.  Returns the new count of arguments;
 * they follow from index 2. */
static int spread_keywords(lua_State *L, int n, int f) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &vm_forward_names_key);
  lua_pushvalue(L, f);
  if (lua_rawget(L, -2) != LUA_TTABLE) { lua_pop(L, 2); return n; }
  int names = lua_gettop(L), count = (int)lua_rawlen(L, names);
  lua_pushnil(L);
  if (!lua_next(L, n) || lua_type(L, -2) != LUA_TSTRING) { lua_settop(L, f); return n; }
  lua_pop(L, 2);
  luaL_checkstack(L, count + n + 8, NULL);
  for (int i = 1; i <= count; i++) {                          /* values above names */
    lua_rawgeti(L, names, i);
    if (i < n - 1) { lua_pushvalue(L, i + 1); lua_replace(L, -2); } else lua_rawget(L, n);
  }
  for (lua_pushnil(L); lua_next(L, n); lua_pop(L, 1)) {
    bool known = false;
    for (int i = n - 1; i <= count && !known; i++) {
      lua_rawgeti(L, names, i);
      known = lua_rawequal(L, -1, -3);
      lua_pop(L, 1);
    }
    if (!known)
      return luaL_error(L, "%s: unknown keyword '%s'", vm_module_name(L, 1),
                        luaL_tolstring(L, -2, NULL));
  }
  lua_pushvalue(L, f);
  for (int i = 2; i <= names; i++) lua_remove(L, 2);          /* self, values, forward */
  return count + 1;
}
static void too_many(lua_State *L, int n,
                     int f) { /* a layer whose arguments have names takes no more of them */
  lua_rawgetp(L, LUA_REGISTRYINDEX, &vm_forward_names_key);
  lua_pushvalue(L, f);
  int count = lua_rawget(L, -2) == LUA_TTABLE ? (int)lua_rawlen(L, -1) : n;
  lua_pop(L, 2);
  if (n - 1 > count)
    luaL_error(L, "%s: forward takes %d argument%s, got %d", vm_module_name(L, 1), count,
               count == 1 ? "" : "s", n - 1);
}
static int m_call(lua_State *L) { /* self stays at index 1: error messages look for it there */
  NnModule *m = vm_checkmodule(L, 1);
  int n = lua_gettop(L);
  luaL_checkstack(L, n + 4, "too many arguments");
  lua_getfield(L, 1, "forward");
  if (lua_isnil(L, -1))
    return luaL_error(L, "Module [%s] is missing the required \"forward\" function",
                      vm_module_name(L, 1));
  if (n > 1 && lua_istable(L, n)) {
    if (lua_getmetatable(L, n)) lua_pop(L, 1); else n = spread_keywords(L, n, n + 1);
  }
  if (n > 2) too_many(L, n, n + 1);
  int extra = 0;
  if (m->hooked || vm_hooks_everywhere) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &vm_hook_call_key);
    lua_insert(L, -2);
    extra = 1;
  }
  if (extra) { lua_pushvalue(L, 1); lua_insert(L, -2); }      /* around(self, forward, ...) */
  else lua_pushvalue(L, 1);
  for (int i = 2; i <= n; i++) lua_pushvalue(L, i);
  lua_callk(L, n + extra, LUA_MULTRET, n, call_done);
  return call_done(L, LUA_OK, n);
}

/* Pushes "in encoder.layer.0 (Linear): " for the modules whose forward is running, "" outside of
 * any. */
void vm_push_layer(lua_State *L, Ctx *c) {
  lua_Debug ar;
  int boxes = 0, base = lua_gettop(L);
  for (int level = 0; level < 2000 && lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "f", &ar);
    bool ours = lua_tocfunction(L, -1) == m_call;
    lua_pop(L, 1);
    if (!ours || !lua_checkstack(L, 8) || !lua_getlocal(L, &ar, 1)) continue;
    if (vm_tomodule(L, -1)) boxes++; else lua_pop(L, 1);
  }
  if (!boxes) { lua_pushliteral(L, ""); return; }
  luaL_Buffer b;
  const char *name = vm_module_name(L, base + 1);                 /* the innermost came first */
  luaL_buffinit(L, &b);
  luaL_addstring(&b, "in ");
  bool any = false;
  int outer = base + boxes;
  for (int i = outer - 1; i > base; i--) {
    const char *p = nn_path_of(c, vm_tomodule(L, outer), vm_tomodule(L, i));
    if (p && *p) {
      if (any) luaL_addchar(&b, '.');
      luaL_addstring(&b, p);
      any = true;
    }
    outer = i;
  }
  luaL_addstring(&b, any ? " (" : "");
  luaL_addstring(&b, name);
  luaL_addstring(&b, any ? "): " : ": ");
  luaL_pushresult(&b);
  lua_replace(L, base + 1);
  lua_settop(L, base + 1);
}
/* For errors that no op raised: the layer's name is added behind the message. */
const char *vm_name_layer(lua_State *L, const char *msg) {
  Ctx *c = vm_ctx(L);
  if (!c || c->err) return msg;
  Scope sc = mt_open(c);
  vm_push_layer(L, c);
  mt_clear(c);
  mt_leave(c, sc);
  size_t n;
  const char *layer = lua_tolstring(L, -1, &n);
  if (!n || strstr(msg, layer)) return msg;
  lua_pushlstring(L, layer, n - 2);                           /* without ": " */
  return lua_pushfstring(L, "%s\n\t(%s)", msg, lua_tostring(L, -1));
}

/* ---- construction ---- */
static int m_gc(lua_State *L) {
  NnModule *m = vm_tomodule(L, 1);
  if (!m) return 0;
  ((MBox *)lua_touserdata(L, 1))->m = NULL;
  m->box = NULL;
  nn_release(m);
  return 0;
}
/* An object of the class at index cls, without init. */
void vm_module_new(lua_State *L, int cls) {
  cls = lua_absindex(L, cls);
  ENTER;
  MBox *b = lua_newuserdatauv(L, sizeof *b, 2);
  b->magic = &module_magic;
  b->m = NULL;
  lua_newtable(L);
  lua_setiuservalue(L, -2, 1);
  lua_pushliteral(L, "__instance");
  if (lua_rawget(L, cls) != LUA_TTABLE) luaL_error(L, "not a class of modules (made by :extend)");
  b->m = nn_new(c);
  vm_leave(L, c, sc, 0);
  lua_setmetatable(L, -2);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &boxes_key);
  lua_pushvalue(L, -2);
  lua_rawsetp(L, -2, b->m);
  lua_pop(L, 1);
  b->m->box = b;
}
static int class_call(lua_State *L) {                         /* Net(...) */
  int n = lua_gettop(L);
  luaL_checkstack(L, n + 6, "too many arguments");
  vm_module_new(L, 1);
  int self = n + 1;
  lua_getfield(L, 1, "init");
  if (lua_isnil(L, -1)) {
    if (n > 1) {
      lua_getfield(L, 1, "__name");
      return luaL_error(L, "%s takes no arguments, got %d", lua_tostring(L, -1), n - 1);
    }
    lua_settop(L, self);
    return 1;
  }
  lua_pushvalue(L, self);
  for (int i = 2; i <= n; i++) lua_pushvalue(L, i);
  lua_call(L, n, 0);
  lua_settop(L, self);
  return 1;
}

static int by_method(lua_State *L, const char *name, int nargs, int nres) {
  if (luaL_getmetafield(L, 1, "__class") != LUA_TTABLE ||
      lua_getfield(L, -1, name) != LUA_TFUNCTION)
    return luaL_error(
        L, "%s is no container: # and pairs need one; see children(), named_parameters()",
        vm_module_name(L, 1));
  lua_settop(L, lua_gettop(L));
  lua_insert(L, 1);
  lua_settop(L, 1 + nargs);
  lua_call(L, nargs, nres);
  return nres;
}
static int m_len(lua_State *L) { return by_method(L, "_len", 1, 1); }
static int m_pairs(lua_State *L) { return by_method(L, "_pairs", 1, 3); }
static int m_tostring(lua_State *L) { return by_method(L, "__repr", 1, 1); }
static int m_add(lua_State *L) {
  if (!vm_tomodule(L, 1)) return luaL_typeerror(L, 1, "Module");
  return by_method(L, "_add", 2, 1);
}

/* The class's names, its bases' too, and the object's fields: for completion. */
static int m_dir(lua_State *L) {
  vm_checkmodule(L, 1);
  lua_settop(L, 1);
  lua_newtable(L);
  lua_Integer n = 0;
  lua_getiuservalue(L, 1, 1);
  for (int level = 0; level < 50 && lua_istable(L, 3); level++) {
    for (lua_pushnil(L); lua_next(L, 3); lua_pop(L, 1))
      if (lua_type(L, -2) == LUA_TSTRING && lua_tostring(L, -2)[0] != '_') {
        lua_pushvalue(L, -2);
        lua_rawseti(L, 2, ++n);
      }
    if (level == 0) luaL_getmetafield(L, 1, "__class");
    else { lua_pushliteral(L, "__base"); lua_rawget(L, 3); }
    lua_replace(L, 3);
  }
  lua_pushliteral(L, "training");
  lua_rawseti(L, 2, ++n);
  lua_settop(L, 2);
  return 1;
}

/* Fills the class table on top: its instances' metatable and its own; base (0: none) is an absolute
 * index. */
static void make_class(lua_State *L, const char *name, int base) {
  static const luaL_Reg meta[] = {
      {"__newindex", m_newindex}, {"__call", m_call},   {"__gc", m_gc},
      {"__len", m_len},           {"__pairs", m_pairs}, {"__tostring", m_tostring},
      {"__dir", m_dir},           {"__add", m_add},     {NULL, NULL}};
  int cls = lua_gettop(L);
  lua_pushstring(L, name);
  lua_setfield(L, cls, "__name");
  if (base) { lua_pushvalue(L, base); lua_setfield(L, cls, "__base"); }
  lua_createtable(L, 0, 12);
  luaL_setfuncs(L, meta, 0);
  lua_pushvalue(L, cls);
  lua_pushliteral(L, "training");
  lua_pushcclosure(L, m_index, 2);
  lua_setfield(L, -2, "__index");
  lua_pushstring(L, name);
  lua_setfield(L, -2, "__name");
  lua_pushvalue(L, cls);
  lua_setfield(L, -2, "__class");
  lua_pushliteral(L, "__instance");
  lua_insert(L, -2);
  lua_rawset(L, cls);
  lua_createtable(L, 0, 4);
  if (base) { lua_pushvalue(L, base); lua_setfield(L, -2, "__index"); }
  lua_pushcfunction(L, class_call);
  lua_setfield(L, -2, "__call");
  lua_pushfstring(L, "<class '%s'>", name);
  lua_setfield(L, -2, "__name");
  lua_setmetatable(L, cls);
}
static int class_extend(lua_State *L) {                       /* Base:extend("Net") */
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_pushliteral(L, "__instance");
  if (lua_rawget(L, 1) != LUA_TTABLE)
    return luaL_error(
        L,
        "extend: called on something that is no class of modules; write nn.Module:extend(\"Net\")");
  const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : NULL;
  if (!name || !*name)
    return luaL_error(L, "extend: expected the class's name, got %s", luaL_typename(L, 2));
  lua_newtable(L);
  make_class(L, name, 1);
  return 1;
}

/* ---- registration by name ---- */
static const char *new_name(lua_State *L, NnModule *m, const char *fn, NnKind kind) {
  if (lua_type(L, 2) != LUA_TSTRING)
    luaL_error(L, "%s: name must be a string, got %s", fn, luaL_typename(L, 2));
  const char *name = lua_tostring(L, 2);
  if (!nn_find(m, kind, name)) {
    lua_getfield(L, 1, name);
    if (!lua_isnil(L, -1)) luaL_error(L, "attribute '%s' already exists", name);
    lua_pop(L, 1);
  }
  return name;
}
static int m_register_parameter(lua_State *L) {
  static const char *const names[] = {"name", "param", NULL};
  NnModule *m = vm_checkmodule(L, 1);
  vm_spread(L, "register_parameter", names);
  const char *name = new_name(L, m, "register_parameter", NN_PARAM);
  Tensor *t = vm_totensor(L, 3);
  if (!(t && t->flags & MT_PARAM) && !lua_isnil(L, 3) && !vm_isnone(L, 3))
    return luaL_error(
        L, "cannot assign '%s' object to parameter '%s' (torch.nn.Parameter or None required)",
        type_name(L, 3), name);
  if (t && t->ag && t->ag->node)
    return luaL_error(L,
                      "Cannot assign non-leaf Tensor to parameter '%s'. Model parameters must be "
                      "created explicitly. To express '%s' as a "
                      "function of another Tensor, compute the value in the forward() method.",
                      name, name);
  vm_module_put_tensor(L, m, NN_PARAM, 2, 3, false);
  return 0;
}
static int m_register_buffer(lua_State *L) {
  static const char *const names[] = {"name", "tensor", "persistent", NULL};
  NnModule *m = vm_checkmodule(L, 1);
  vm_spread(L, "register_buffer", names);
  const char *name = new_name(L, m, "register_buffer", NN_BUFFER);
  if (!vm_totensor(L, 3) && !lua_isnil(L, 3) && !vm_isnone(L, 3))
    return luaL_error(L, "cannot assign '%s' object to buffer '%s' (torch Tensor or None required)",
                      type_name(L, 3), name);
  vm_module_put_tensor(L, m, NN_BUFFER, 2, 3, vm_flag(L, 4, true));
  return 0;
}
static int m_register_module(lua_State *L) {
  static const char *const names[] = {"name", "module", NULL};
  NnModule *m = vm_checkmodule(L, 1);
  vm_spread(L, "register_module", names);
  new_name(L, m, "register_module", NN_CHILD);
  if (!vm_tomodule(L, 3) && !lua_isnil(L, 3) && !vm_isnone(L, 3))
    return luaL_error(L, "%s is not a Module subclass", type_name(L, 3));
  vm_module_put_child(L, m, 2, 3);
  return 0;
}

/* ---- walks: lists, and iterators of name and value over a list of pairs ---- */
static int next_pair(lua_State *L) { /* upvalues: names, values, position */
  lua_Integer i = lua_tointeger(L, lua_upvalueindex(3)) + 1;
  lua_pushinteger(L, i);
  lua_replace(L, lua_upvalueindex(3));
  if (lua_rawgeti(L, lua_upvalueindex(1), i) == LUA_TNIL) return 1;
  lua_rawgeti(L, lua_upvalueindex(2), i);
  return 2;
}
static int push_walk(lua_State *L, Ctx *c, Scope sc, NnList l, bool named) {
  if (c->err) vm_raise(L, c, sc);
  if (named) lua_createtable(L, (int)l.n, 0);
  lua_createtable(L, (int)l.n, 0);
  for (int64_t i = 0; i < l.n; i++) {
    if (l.v[i].t) vm_pushtensor(L, l.v[i].t); else vm_push_module(L, l.v[i].m);
    lua_rawseti(L, -2, i + 1);
    if (named) { lua_pushstring(L, l.v[i].name); lua_rawseti(L, -3, i + 1); }
  }
  if (named) {
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, next_pair, 3);
  }
  return vm_leave(L, c, sc, 1);
}
static int tensors(lua_State *L, NnKind kind, const char *fn, bool named) {
  static const char *const plain[] = {"recurse", NULL}, *const full[] = {"prefix", "recurse",
                                                                         "remove_duplicate", NULL};
  NnModule *m = vm_checkmodule(L, 1);
  vm_spread(L, fn, named ? full : plain);
  const char *prefix = named ? text(L, fn, 2, "prefix", "") : "";
  bool recurse = vm_flag(L, named ? 3 : 2, true), unique = named ? vm_flag(L, 4, true) : true;
  ENTER;
  return push_walk(L, c, sc, nn_tensors(c, m, kind, prefix, recurse, unique), named);
}
static int m_parameters(lua_State *L) { return tensors(L, NN_PARAM, "parameters", false); }
static int m_buffers(lua_State *L) { return tensors(L, NN_BUFFER, "buffers", false); }
static int m_named_parameters(lua_State *L) {
  return tensors(L, NN_PARAM, "named_parameters", true);
}
static int m_named_buffers(lua_State *L) { return tensors(L, NN_BUFFER, "named_buffers", true); }
static int m_modules(lua_State *L) {
  static const char *const none[] = {NULL};
  NnModule *m = vm_checkmodule(L, 1);
  vm_spread(L, "modules", none);
  ENTER;
  return push_walk(L, c, sc, nn_modules(c, m, "", true), false);
}
static int m_named_modules(lua_State *L) {
  static const char *const names[] = {"prefix", "remove_duplicate", NULL};
  NnModule *m = vm_checkmodule(L, 1);
  vm_spread(L, "named_modules", names);
  const char *prefix = text(L, "named_modules", 2, "prefix", "");
  ENTER;
  return push_walk(L, c, sc, nn_modules(c, m, prefix, vm_flag(L, 3, true)), true);
}
static int children(lua_State *L, bool named) {
  NnModule *m = vm_checkmodule(L, 1);
  ENTER;
  NnList l = {mt_tmp(c, sizeof(NnPath) * (size_t)(m->n[NN_CHILD] + 1)), 0};
  for (int i = 0; !c->err && i < m->n[NN_CHILD]; i++) {
    NnEntry *e = &m->e[NN_CHILD][i];
    bool seen = !e->m;
    for (int64_t j = 0; j < l.n && !seen; j++) seen = l.v[j].m == e->m;
    if (!seen) l.v[l.n++] = (NnPath){.name = e->name, .m = e->m};
  }
  return push_walk(L, c, sc, l, named);
}
static int m_children(lua_State *L) { return children(L, false); }
static int m_named_children(lua_State *L) { return children(L, true); }

/* ---- on the whole tree ---- */
static int m_train(lua_State *L) {
  static const char *const names[] = {"mode", NULL};
  NnModule *m = vm_checkmodule(L, 1);
  vm_spread(L, "train", names);
  if (!lua_isnil(L, 2) && !lua_isboolean(L, 2))
    return luaL_error(L, "training mode is expected to be boolean");
  ENTER;
  nn_train(c, m, vm_flag(L, 2, true));
  lua_settop(L, 1);
  return vm_leave(L, c, sc, 1);
}
static int m_eval(lua_State *L) {
  NnModule *m = vm_checkmodule(L, 1);
  ENTER;
  nn_train(c, m, false);
  lua_settop(L, 1);
  return vm_leave(L, c, sc, 1);
}
static int m_requires_grad_(lua_State *L) {
  static const char *const names[] = {"requires_grad", NULL};
  NnModule *m = vm_checkmodule(L, 1);
  vm_spread(L, "requires_grad_", names);
  ENTER;
  nn_requires_grad(c, m, vm_flag(L, 2, true));
  lua_settop(L, 1);
  return vm_leave(L, c, sc, 1);
}
static int m_zero_grad(lua_State *L) {
  static const char *const names[] = {"set_to_none", NULL};
  NnModule *m = vm_checkmodule(L, 1);
  vm_spread(L, "zero_grad", names);
  ENTER;
  nn_zero_grad(c, m, vm_flag(L, 2, true));
  return vm_leave(L, c, sc, 0);
}
/* m:to(dtype | device | tensor, {dtype =, device =}) */
static void to_argument(lua_State *L, Ctx *c, int i, int *dtype, int *device) {
  Tensor *o = vm_totensor(L, i);
  int d = o ? o->dtype : vm_todtype(L, i), dev = o ? o->device : vm_todevice(L, i);
  if (d >= 0) *dtype = d;
  if (dev >= 0) *device = dev;
  if (d < 0 && dev < 0 && !vm_isnone(L, i) && !lua_isboolean(L, i) && !lua_isnil(L, i))
    mt_fail(c, "to: expected a dtype, a device or a tensor, got %s",
            lua_type(L, i) == LUA_TSTRING ? lua_tostring(L, i) : luaL_typename(L, i));
}
static int m_to(lua_State *L) {
  NnModule *m = vm_checkmodule(L, 1);
  int dtype = -1, device = -1, n = lua_gettop(L);
  ENTER;
  for (int i = 2; i <= n && !c->err; i++) {
    if (!lua_istable(L, i) || vm_todtype(L, i) >= 0) {
      to_argument(L, c, i, &dtype, &device);
      continue;
    }
    for (lua_pushnil(L); lua_next(L, i) && !c->err; lua_pop(L, 1)) {
      const char *k = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
      if (!strcmp(k, "dtype") || !strcmp(k, "device") || !strcmp(k, "tensor"))
        to_argument(L, c, lua_gettop(L), &dtype, &device);
      else if (strcmp(k, "non_blocking") && strcmp(k, "memory_format"))
        mt_fail(c, "to: unknown keyword '%s'", k);
    }
  }
  if (dtype >= 0 && !mt_is_float(dtype) && !mt_is_complex(dtype))
    mt_fail(c,
            "nn.Module.to only accepts floating point or complex dtypes, but got desired "
            "dtype=torch.%s",
            mt_dtypes[dtype].name);
  nn_to(c, m, dtype, true, device);
  lua_settop(L, 1);
  return vm_leave(L, c, sc, 1);
}
static int m_cast(lua_State *L) { /* half, float, ...: the upvalue is the dtype */
  NnModule *m = vm_checkmodule(L, 1);
  ENTER;
  nn_to(c, m, (int)lua_tointeger(L, lua_upvalueindex(1)), true, -1);
  lua_settop(L, 1);
  return vm_leave(L, c, sc, 1);
}
static int m_type(lua_State *L) {
  NnModule *m = vm_checkmodule(L, 1);
  int d = vm_todtype(L, 2);
  if (d < 0) return luaL_error(L, "type: expected a dtype, got %s", luaL_typename(L, 2));
  ENTER;
  nn_to(c, m, d, false, -1);
  lua_settop(L, 1);
  return vm_leave(L, c, sc, 1);
}

static void weak_table(lua_State *L, const void *key) {
  lua_newtable(L);
  lua_newtable(L);
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}

/* Pushes the base class; once for each Lua state. */
void vm_push_module_class(lua_State *L) {
  static const luaL_Reg methods[] = {{"extend", class_extend},
                                     {"register_parameter", m_register_parameter},
                                     {"register_buffer", m_register_buffer},
                                     {"register_module", m_register_module},
                                     {"add_module", m_register_module},
                                     {"parameters", m_parameters},
                                     {"buffers", m_buffers},
                                     {"named_parameters", m_named_parameters},
                                     {"named_buffers", m_named_buffers},
                                     {"modules", m_modules},
                                     {"named_modules", m_named_modules},
                                     {"children", m_children},
                                     {"named_children", m_named_children},
                                     {"train", m_train},
                                     {"eval", m_eval},
                                     {"requires_grad_", m_requires_grad_},
                                     {"zero_grad", m_zero_grad},
                                     {"to", m_to},
                                     {"type", m_type},
                                     {NULL, NULL}};
  static const struct { const char *name; DType d; } casts[] = {
    {"half", MT_float16}, {"bfloat16", MT_bfloat16}, {"float", MT_float32}, {"double", MT_float64}};
  weak_table(L, &boxes_key);
  lua_newtable(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &vm_forward_names_key);
  lua_newtable(L);
  luaL_setfuncs(L, methods, 0);
  for (int i = 0; i < 4; i++) {
    lua_pushinteger(L, casts[i].d);
    lua_pushcclosure(L, m_cast, 1);
    lua_setfield(L, -2, casts[i].name);
  }
  make_class(L, "Module", 0);
}

/* nn.NAME loads the file that defines it on first use. */
static int nn_lazy(lua_State *L) {
  lua_settop(L, 2);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "torch.nn");
  lua_call(L, 1, 0);                                          /* puts its own loader here */
  lua_gettable(L, 1);
  return 1;
}
static int nn_dir(lua_State *L) {                             /* the same for completion */
  lua_settop(L, 1);
  lua_getfield(L, 1, "Module");
  lua_settop(L, 1);
  luaL_getmetafield(L, 1, "__dir");
  if (lua_tocfunction(L, -1) == nn_dir) { lua_newtable(L); return 1; }
  lua_call(L, 0, 1);
  return 1;
}
void vm_open_nn(lua_State *L, int torch) {
  lua_getfield(L, torch, "nn");
  lua_createtable(L, 0, 2);
  lua_pushcfunction(L, nn_lazy);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, nn_dir);
  lua_setfield(L, -2, "__dir");
  lua_setmetatable(L, -2);
  lua_pop(L, 1);
}
