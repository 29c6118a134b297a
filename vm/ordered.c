/* ordered.c: tables that remember the order of their keys. */
#include "ordered.h"
#include <string.h>

static const char order_key; /* marks an order list; in the registry: the shared metamethods */

/* Upvalues: 1 the next position in the list of keys, 2 the list. */
static int step(lua_State *L) {
  lua_Integer i = lua_tointeger(L, lua_upvalueindex(1));
  for (;;) {
    int t = lua_rawgeti(L, lua_upvalueindex(2), ++i);
    if (t == LUA_TNIL) return 1;
    if (t != LUA_TBOOLEAN) {
      lua_pushvalue(L, -1);
      if (lua_rawget(L, 1) != LUA_TNIL) break;
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
  lua_pushinteger(L, i);
  lua_copy(L, -1, lua_upvalueindex(1));
  lua_pop(L, 1);
  return 2;
}

static void push_list(lua_State *L, int i) {
  luaL_checktype(L, i, LUA_TTABLE);
  if (!lua_getmetatable(L, i)) luaL_argerror(L, i, "expected an ordered table");
}

static int meta_pairs(lua_State *L) {
  lua_pushinteger(L, 0);
  push_list(L, 1);
  lua_pushcclosure(L, step, 2);
  lua_pushvalue(L, 1);
  return 2;
}

static int meta_len(lua_State *L) {
  lua_Integer count = 0;
  push_list(L, 1);
  int list = lua_gettop(L);
  for (lua_Integer i = 1, n = (lua_Integer)lua_rawlen(L, list); i <= n; i++) {
    bool there = lua_rawgeti(L, list, i) != LUA_TBOOLEAN && lua_rawget(L, 1) != LUA_TNIL;
    count += there;
    lua_pop(L, 1);
  }
  lua_pushinteger(L, count);
  return 1;
}

/* A key that is not there is set.  `pos` (made by the first such write) tells whether it was there
 * before and was removed: its old place becomes false, so that it appears once. */
static int meta_newindex(lua_State *L) {
  lua_settop(L, 3);
  if (lua_isnil(L, 3)) return 0;
  if (lua_isboolean(L, 2)) return luaL_error(L, "an ordered table's key cannot be a boolean");
  push_list(L, 1);
  lua_Integer n = (lua_Integer)lua_rawlen(L, 4);
  if (lua_getfield(L, 4, "pos") != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_newtable(L);
    for (lua_Integer i = 1; i <= n; i++) {
      lua_rawgeti(L, 4, i);
      lua_pushinteger(L, i);
      lua_rawset(L, 5);
    }
    lua_pushvalue(L, 5);
    lua_setfield(L, 4, "pos");
  }
  lua_pushvalue(L, 2);
  if (lua_rawget(L, 5) == LUA_TNUMBER) {
    lua_pushboolean(L, 0);
    lua_rawseti(L, 4, lua_tointeger(L, -2));
  }
  lua_pushvalue(L, 2);
  lua_rawseti(L, 4, n + 1);
  lua_pushvalue(L, 2);
  lua_pushinteger(L, n + 1);
  lua_rawset(L, 5);
  lua_settop(L, 3);
  lua_rawset(L, 1);
  return 0;
}

static void push_shared(lua_State *L) {
  static const lua_CFunction fns[] = {meta_pairs, meta_newindex, meta_len};
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &order_key) != LUA_TNIL) return;
  lua_pop(L, 1);
  lua_createtable(L, 3, 0);
  for (int i = 0; i < 3; i++) lua_pushcfunction(L, fns[i]), lua_rawseti(L, -2, i + 1);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &order_key);
}

void vm_ordered_open(lua_State *L, int n) {
  static const char *const names[] = {"__pairs", "__newindex", "__len"};
  lua_createtable(L, 0, n);
  lua_createtable(L, n, 6);
  push_shared(L);
  for (int i = 0; i < 3; i++) lua_rawgeti(L, -1, i + 1), lua_setfield(L, -3, names[i]);
  lua_pop(L, 1);
  lua_pushliteral(L, "ordered table"), lua_setfield(L, -2, "__name");
  lua_pushboolean(L, 1), lua_rawsetp(L, -2, &order_key);
}

lua_Integer vm_ordered_put(lua_State *L, int slot, lua_Integer n) {
  lua_pushvalue(L, -2);
  if (lua_rawget(L, slot) == LUA_TNIL) {
    lua_pushvalue(L, -3);
    lua_rawseti(L, slot + 1, ++n);
  }
  lua_pop(L, 1);
  lua_rawset(L, slot);
  return n;
}

void vm_ordered_close(lua_State *L, int slot) {
  lua_settop(L, slot + 1);
  lua_setmetatable(L, slot);
}

bool vm_is_ordered(lua_State *L, int i) {
  if (!lua_istable(L, i) || !lua_getmetatable(L, i)) return false;
  bool yes = lua_rawgetp(L, -1, &order_key) != LUA_TNIL;
  lua_pop(L, 2);
  return yes;
}

/* Numbers before strings; strings by bytes, in every locale. */
static bool key_less(lua_State *L, int a, int b) {
  if (lua_type(L, a) == LUA_TNUMBER)
    return lua_type(L, b) == LUA_TNUMBER ? lua_compare(L, a, b, LUA_OPLT) : true;
  if (lua_type(L, b) == LUA_TNUMBER) return false;
  size_t na, nb;
  const char *x = lua_tolstring(L, a, &na), *y = lua_tolstring(L, b, &nb);
  int c = memcmp(x, y, na < nb ? na : nb);
  return c ? c < 0 : na < nb;
}

static void sort_keys(lua_State *L, int list,
                      lua_Integer n) { /* Shell's sort: no recursion, no memory */
  lua_Integer gap = 1;
  while (gap < n / 3) gap = 3 * gap + 1;
  for (; gap > 0; gap /= 3)
    for (lua_Integer i = gap + 1; i <= n; i++) {
      lua_rawgeti(L, list, i);
      int key = lua_gettop(L);
      lua_Integer k = i;
      for (; k > gap; k -= gap) {
        lua_rawgeti(L, list, k - gap);
        if (!key_less(L, key, key + 1)) break;
        lua_rawseti(L, list, k);
      }
      lua_settop(L, key);
      lua_rawseti(L, list, k);
    }
}

static void add_key(lua_State *L, int list, lua_Integer n) {       /* the key on the top, popped */
  if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER)
    luaL_error(L, "a key must be a string or a number, got %s", luaL_typename(L, -1));
  lua_rawseti(L, list, n);
}

lua_Integer vm_keys(lua_State *L, int t) {
  lua_Integer n = 0;
  t = lua_absindex(L, t);
  lua_newtable(L);
  int list = lua_gettop(L);
  if (luaL_getmetafield(L, t, "__pairs") == LUA_TNIL) {
    for (lua_pushnil(L); lua_next(L, t);) {
      lua_pop(L, 1);
      lua_pushvalue(L, -1);
      add_key(L, list, ++n);
    }
    sort_keys(L, list, n);
    return n;
  }
  lua_pushvalue(L, t);
  lua_call(L, 1, 3);
  for (;;) {
    lua_pushvalue(L, -3), lua_pushvalue(L, -3), lua_pushvalue(L, -3);
    lua_call(L, 2, 1);
    if (lua_isnil(L, -1)) break;
    lua_copy(L, -1, -2);
    add_key(L, list, ++n);
  }
  lua_settop(L, list);
  return n;
}
