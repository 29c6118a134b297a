/* size.c: torch.Size: an immutable list of integers, 0-based as in PyTorch, equal to plain Lua
 * lists of the same values.
 *
 * It is a table (so that == with a table reaches __eq) that keeps its values in a plain 1-based
 * list under a private key. */
#include "vm.h"
#include <stdlib.h>
#include <string.h>

static const char meta_key = 0, list_key = 0;

/* A table that only wears the metatable counts as empty. */
void vm_size_values(lua_State *L, int i) {
  if (lua_rawgetp(L, i, &list_key) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_newtable(L);
}

bool vm_issize(lua_State *L, int i) {
  if (lua_type(L, i) != LUA_TTABLE || !lua_getmetatable(L, i)) return false;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &meta_key);
  bool yes = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return yes;
}

/* Takes the plain list on top of the stack, leaves the Size. */
static void wrap(lua_State *L) {
  lua_createtable(L, 0, 1);
  lua_insert(L, -2);
  lua_rawsetp(L, -2, &list_key);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &meta_key);
  lua_setmetatable(L, -2);
}

void vm_pushsize(lua_State *L, const int64_t *v, int64_t n) {
  lua_createtable(L, (int)n, 0);
  for (int64_t i = 0; i < n; i++) {
    lua_pushinteger(L, v[i]);
    lua_rawseti(L, -2, i + 1);
  }
  wrap(L);
}

/* Pushes the plain list behind argument i, a Size or a list table; raises otherwise. */
static lua_Integer plain(lua_State *L, int i) {
  if (vm_issize(L, i)) vm_size_values(L, i);
  else if (lua_type(L, i) == LUA_TTABLE) lua_pushvalue(L, i);
  else luaL_typeerror(L, i, "torch.Size or list of integers");
  return (lua_Integer)lua_rawlen(L, -1);
}

static int size_len(lua_State *L) { lua_pushinteger(L, plain(L, 1)); return 1; }

static int size_eq(lua_State *L) {
  if (lua_type(L, 1) != LUA_TTABLE || lua_type(L, 2) != LUA_TTABLE) {
    lua_pushboolean(L, 0);
    return 1;
  }
  lua_Integer n = plain(L, 1), m = plain(L, 2);
  bool same = n == m;
  for (lua_Integer k = 1; same && k <= n; k++) {
    lua_rawgeti(L, -2, k);
    lua_rawgeti(L, -2, k);
    same = lua_compare(L, -1, -2, LUA_OPEQ);
    lua_pop(L, 2);
  }
  lua_pushboolean(L, same);
  return 1;
}

static int size_tostring(lua_State *L) {
  lua_Integer n = plain(L, 1);
  int list = lua_gettop(L);
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  luaL_addstring(&b, "torch.Size([");
  for (lua_Integer k = 1; k <= n; k++) {
    lua_rawgeti(L, list, k);
    if (k > 1) luaL_addstring(&b, ", ");
    luaL_addvalue(&b);
  }
  luaL_addstring(&b, "])");
  luaL_pushresult(&b);
  return 1;
}

static int size_unpack(lua_State *L) {
  lua_Integer n = plain(L, 1);
  int at = lua_gettop(L);
  luaL_checkstack(L, (int)n, "too many dimensions");
  for (lua_Integer k = 1; k <= n; k++) lua_rawgeti(L, at, k);
  return (int)n;
}
static int size_totable(lua_State *L) {
  lua_Integer n = plain(L, 1);
  lua_createtable(L, (int)n, 0);
  for (lua_Integer k = 1; k <= n; k++) {
    lua_rawgeti(L, -2, k);
    lua_rawseti(L, -2, k);
  }
  return 1;
}
static int size_numel(lua_State *L) {
  lua_Integer n = plain(L, 1), p = 1;
  for (lua_Integer k = 1; k <= n; k++) {
    lua_rawgeti(L, -1, k);
    p *= lua_tointeger(L, -1);
    lua_pop(L, 1);
  }
  lua_pushinteger(L, p);
  return 1;
}
static int size_concat(lua_State *L) {
  lua_Integer n = plain(L, 1), m = plain(L, 2);
  lua_createtable(L, (int)(n + m), 0);
  for (lua_Integer k = 1; k <= n; k++) { lua_rawgeti(L, -3, k); lua_rawseti(L, -2, k); }
  for (lua_Integer k = 1; k <= m; k++) { lua_rawgeti(L, -2, k); lua_rawseti(L, -2, n + k); }
  wrap(L);
  return 1;
}
/* Python's slice of a list of n: "a:b:c". */
static int size_slice(lua_State *L, const char *text, lua_Integer n) {
  long v[3] = {0, 0, 1};
  bool given[3] = {false, false, false};
  int part = 0;
  for (const char *p = text; *p;) {
    if (*p == ':') {
      if (++part > 2) return luaL_error(L, "cannot read the slice '%s'", text);
      p++;
      continue;
    }
    if (*p == ' ') { p++; continue; }
    char *end;
    v[part] = strtol(p, &end, 10);
    if (end == p) return luaL_error(L, "torch.Size has no field '%s'", text);
    given[part] = true;
    p = end;
  }
  if (part == 0) return luaL_error(L, "torch.Size has no field '%s'", text);
  lua_Integer step = v[2];
  if (step == 0) return luaL_error(L, "slice step cannot be zero");
  lua_Integer a = given[0]   ? v[0]
                  : step > 0 ? 0
                             : n - 1,
              b = given[1]   ? v[1]
                  : step > 0 ? n
                             : -1 - n;
  if (given[0] && a < 0) a += n;
  if (b < 0) b += n;
  if (a < 0) a = step > 0 ? 0 : -1;
  if (a > n) a = n;
  if (step < 0 && a >= n) a = n - 1;
  if (b > n) b = n;
  lua_newtable(L);
  lua_Integer m = 0;
  for (lua_Integer k = a; step > 0 ? k < b : k > (b < -1 ? -1 : b); k += step) {
    lua_rawgeti(L, -2, k + 1);
    lua_rawseti(L, -2, ++m);
  }
  wrap(L);
  return 1;
}
static int size_index(lua_State *L) {
  if (lua_type(L, 2) == LUA_TNUMBER) {
    lua_Integer n = plain(L, 1), k = luaL_checkinteger(L, 2);
    if (k < -n || k >= n)
      return luaL_error(L, "index %I is out of range for torch.Size of length %I", (LUAI_UACINT)k,
                        (LUAI_UACINT)n);
    lua_rawgeti(L, -1, (k < 0 ? k + n : k) + 1);
    return 1;
  }
  if (lua_type(L, 2) == LUA_TSTRING) {
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
    lua_pop(L, 1);
    lua_Integer n = plain(L, 1);
    return size_slice(L, lua_tostring(L, 2), n);
  }
  return luaL_error(L, "torch.Size is indexed by integers or slice text, got %s",
                    luaL_typename(L, 2));
}
static int size_newindex(lua_State *L) { return luaL_error(L, "torch.Size cannot be changed"); }
static int size_next(lua_State *L) {
  lua_Integer n = plain(L, 1), k = lua_isnil(L, 2) ? 0 : lua_tointeger(L, 2) + 1;
  if (k >= n) return 0;
  lua_pushinteger(L, k);
  lua_rawgeti(L, -2, k + 1);
  return 2;
}
static int size_pairs(lua_State *L) {
  lua_pushcfunction(L, size_next);
  lua_pushvalue(L, 1);
  lua_pushnil(L);
  return 3;
}
/* torch.Size{2, 3} */
static int size_new(lua_State *L) {
  lua_Integer n = lua_gettop(L) < 1 ? 0 : plain(L, 1);
  if (lua_gettop(L) < 1) lua_newtable(L);
  lua_createtable(L, (int)n, 0);
  for (lua_Integer k = 1; k <= n; k++) {
    int64_t v;
    lua_rawgeti(L, -2, k);
    if (!vm_toint(L, -1, &v))
      return luaL_error(L, "torch.Size: entry %I is not an integer", (LUAI_UACINT)k);
    lua_pop(L, 1);
    lua_pushinteger(L, v);
    lua_rawseti(L, -2, k);
  }
  wrap(L);
  return 1;
}

int vm_open_size(lua_State *L);
/* Leaves the constructor on the stack. */
int vm_open_size(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"unpack", size_unpack}, {"totable", size_totable}, {"numel", size_numel}, {NULL, NULL}};
  static const luaL_Reg events[] = {{"__len", size_len},
                                    {"__eq", size_eq},
                                    {"__tostring", size_tostring},
                                    {"__concat", size_concat},
                                    {"__newindex", size_newindex},
                                    {"__pairs", size_pairs},
                                    {NULL, NULL}};
  luaL_newlib(L, events);
  luaL_newlib(L, methods);
  lua_pushcclosure(L, size_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pushliteral(L, "torch.Size");
  lua_setfield(L, -2, "__name");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &meta_key);
  lua_pushcfunction(L, size_new);
  return 1;
}
