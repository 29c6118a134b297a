/* amp.c: torch.autocast and the switches around it: mixed precision as a function, a guard, or by
 * hand. */
#include "vm.h"
#include <string.h>

typedef struct {
  bool on, cache, open;
  DType dtype;
} Guard;

static void restore(Ctx *c, const Guard *g) {
  c->autocast = g->on;
  c->autocast_dtype = g->dtype;
  c->autocast_cache = g->cache;
  if (--c->autocast_depth <= 0) {
    c->autocast_depth = 0;
    mt_autocast_clear(c);
  }
}
static int guard_close(lua_State *L) {
  Guard *g = lua_touserdata(L, 1);
  if (!g || !g->open) return 0;
  g->open = false;
  restore(vm_ctx(L), g);
  return 0;
}

static void check_device(lua_State *L, int i) {
  const char *s = lua_type(L, i) == LUA_TSTRING ? lua_tostring(L, i) : NULL;
  if (vm_todevice(L, i) == MT_CPU || (s && !strcmp(s, "cpu"))) return;
  luaL_error(L, "autocast: device_type must be \"cpu\", got %s",
             s ? s : luaL_tolstring(L, i, NULL));
}
static bool flag(lua_State *L, int kw, const char *name, bool otherwise) {
  bool v = otherwise;
  if (kw && lua_getfield(L, kw, name) != LUA_TNIL && !vm_isnone(L, -1)) v = lua_toboolean(L, -1);
  if (kw) lua_pop(L, 1);
  return v;
}
static void check_keywords(lua_State *L, int kw) {
  for (lua_pushnil(L); kw && lua_next(L, kw); lua_pop(L, 1)) {
    const char *k = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
    if (strcmp(k, "dtype") && strcmp(k, "enabled") && strcmp(k, "cache_enabled"))
      luaL_error(L, "autocast: unknown keyword '%s' (dtype, enabled, cache_enabled)", k);
  }
}

/* autocast(device_type, [dtype, [enabled, [cache_enabled]]], [keywords], [f, ...]) */
static int a_autocast(lua_State *L) {
  Ctx *c = vm_ctx(L);
  int n = lua_gettop(L), f = 2, kw = 0;
  check_device(L, 1);
  while (f <= n && !lua_isfunction(L, f)) f++;
  for (int i = 2; i < f; i++)
    if (lua_istable(L, i) && i == f - 1) kw = i;
  check_keywords(L, kw);
  int dtype = c->autocast_dtype;
  bool enabled = true;
  for (int i = 2; i < f; i++) {
    if (i == kw || lua_isnil(L, i) || vm_isnone(L, i)) continue;
    if (i == 2 && vm_todtype(L, i) >= 0) dtype = vm_todtype(L, i);
    else if (i == 3 && lua_isboolean(L, i)) enabled = lua_toboolean(L, i);
    else if (!(i == 4 && lua_isboolean(L, i)))
      return luaL_error(L, "autocast: argument %d must be a %s, got %s", i,
                        i == 2 ? "dtype" : "boolean", luaL_typename(L, i));
  }
  if (kw && lua_getfield(L, kw, "dtype") != LUA_TNIL && !vm_isnone(L, -1) &&
      (dtype = vm_todtype(L, -1)) < 0)
    return luaL_error(L, "autocast: dtype must be a dtype, got %s", luaL_typename(L, -1));
  lua_settop(L, n);
  enabled = flag(L, kw, "enabled", enabled);
  bool cache = flag(L, kw, "cache_enabled",
                    f > 4 && lua_isboolean(L, 4) ? lua_toboolean(L, 4) : c->autocast_cache);
  if (enabled && dtype != MT_bfloat16 && dtype != MT_float16) {
    lua_warning(L,
                "In CPU autocast, but the target dtype is not supported. Disabling autocast.\n"
                "CPU Autocast only supports dtype of torch.bfloat16, torch.float16 currently.",
                0);
    enabled = false;
  }
  Guard before = {c->autocast, c->autocast_cache, true, c->autocast_dtype};
  Guard *g = f <= n ? NULL : lua_newuserdatauv(L, sizeof *g, 0);
  if (g) {
    *g = before;
    if (luaL_newmetatable(L, "torch.autocast")) {
      lua_pushcfunction(L, guard_close);
      lua_setfield(L, -2, "__close");
      lua_pushcfunction(L, guard_close);
      lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
  }
  c->autocast_depth++;
  c->autocast = enabled;
  c->autocast_dtype = (DType)dtype;
  c->autocast_cache = cache;
  if (g) return 1;
  int status = lua_pcall(L, n - f, LUA_MULTRET, 0);
  restore(c, &before);
  if (status != LUA_OK) return lua_error(L);
  return lua_gettop(L) - f + 1;
}

static int a_is_enabled(lua_State *L) {
  lua_pushboolean(L, vm_ctx(L)->autocast);
  return 1;
}
static int a_get_dtype(lua_State *L) {
  check_device(L, 1);
  vm_pushdtype(L, vm_ctx(L)->autocast_dtype);
  return 1;
}
static int a_set_enabled(lua_State *L) {
  int i = lua_gettop(L) > 1 ? 2 : 1; /* torch.set_autocast_enabled([device_type,] enabled) */
  luaL_checktype(L, i, LUA_TBOOLEAN);
  vm_ctx(L)->autocast = lua_toboolean(L, i);
  return 0;
}
static int a_set_dtype(lua_State *L) {
  int d = vm_todtype(L, 2);
  check_device(L, 1);
  if (d != MT_bfloat16 && d != MT_float16)
    return luaL_error(L, "set_autocast_dtype: expected torch.bfloat16 or torch.float16");
  vm_ctx(L)->autocast_dtype = (DType)d;
  return 0;
}
static int a_clear(lua_State *L) {
  mt_autocast_clear(vm_ctx(L));
  return 0;
}
static int a_cache_enabled(lua_State *L) {
  lua_pushboolean(L, vm_ctx(L)->autocast_cache);
  return 1;
}
static int a_set_cache(lua_State *L) {
  luaL_checktype(L, 1, LUA_TBOOLEAN);
  vm_ctx(L)->autocast_cache = lua_toboolean(L, 1);
  return 0;
}

/* torch.amp.GradScaler is Lua and loads when first asked for. */
static int amp_index(lua_State *L) {
  if (lua_type(L, 2) != LUA_TSTRING || strcmp(lua_tostring(L, 2), "GradScaler")) return 0;
  lua_getglobal(L, "require");
  lua_pushliteral(L, "torch.amp.grad_scaler");
  lua_call(L, 1, 1);
  lua_pushvalue(L, 2);
  lua_pushvalue(L, -2);
  lua_rawset(L, 1);
  return 1;
}

static int a_available(lua_State *L) { /* (device_type) */
  lua_pushboolean(L, !strcmp(luaL_checkstring(L, 1), "cpu"));
  return 1;
}

void vm_open_amp(lua_State *L, int torch) {
  static const luaL_Reg fns[] = {{"autocast", a_autocast},
                                 {"is_autocast_enabled", a_is_enabled},
                                 {"get_autocast_dtype", a_get_dtype},
                                 {"set_autocast_enabled", a_set_enabled},
                                 {"set_autocast_dtype", a_set_dtype},
                                 {"clear_autocast_cache", a_clear},
                                 {"is_autocast_cache_enabled", a_cache_enabled},
                                 {"set_autocast_cache_enabled", a_set_cache},
                                 {NULL, NULL}};
  lua_pushvalue(L, torch);
  luaL_setfuncs(L, fns, 0);
  lua_createtable(L, 0, 2);
  lua_getfield(L, torch, "autocast");
  lua_setfield(L, -2, "autocast");
  lua_pushcfunction(L, a_available);
  lua_setfield(L, -2, "is_autocast_available");
  lua_createtable(L, 0, 2);
  lua_pushcfunction(L, amp_index);
  lua_setfield(L, -2, "__index");
  lua_createtable(L, 0, 1);
  lua_pushboolean(L, 1);
  lua_setfield(L, -2, "GradScaler");
  lua_setfield(L, -2, "__fields");
  lua_setmetatable(L, -2);
  lua_setfield(L, -2, "amp");
  lua_pop(L, 1);
}
