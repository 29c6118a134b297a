/* safetensors.c: the Lua modules `safetensors` and `npy`: whole files, and single tensors of a
 * large one. */
#include "formats.h"
#include "npy/npy.h"
#include "ordered.h"
#include "safetensors/safetensors.h"
#include <string.h>

typedef bool (*opener)(fmt_list *, const char *, sys_err *);

static Held *open_held(lua_State *L, int i, opener open) {
  const char *path = vm_check_path(L, i);
  sys_err e = {{0}, 0};
  Held *h = vm_held_push(L);
  if (!open(&h->list, path, &e)) luaL_error(L, "%s", e.msg);
  return h;
}

static void push_metadata(lua_State *L, const fmt_list *l) {
  vm_ordered_open(L, (int)l->nmeta);
  int slot = lua_gettop(L) - 1;
  lua_Integer n = 0;
  for (size_t i = 0; i < l->nmeta; i++) {
    lua_pushstring(L, l->meta[i].key);
    lua_pushstring(L, l->meta[i].value);
    n = vm_ordered_put(L, slot, n);
  }
  vm_ordered_close(L, slot);
}

/* load_file(path) -> ordered table name -> tensor, over the mapped file */
static int load_file(lua_State *L) {
  vm_push_tensors(L, open_held(L, 1, st_open));
  return 1;
}

static int metadata(lua_State *L) {
  push_metadata(L, &open_held(L, 1, st_open)->list);
  return 1;
}

/* save_file(tensors, path[, metadata]) */
static int save_file(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  const char *path = vm_check_path(L, 2);
  sys_err e = {{0}, 0};
  lua_settop(L, 3);
  Held *h = vm_held_push(L);
  if (!lua_isnil(L, 3) && !vm_isnone(L, 3)) {
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_Integer n = vm_keys(L, 3);
    for (lua_Integer i = 1; i <= n; i++, lua_pop(L, 2)) {
      size_t nk, nv;
      lua_rawgeti(L, -1, i);
      lua_pushvalue(L, -1);
      lua_gettable(L, 3);
      if (lua_type(L, -1) != LUA_TSTRING || lua_type(L, -2) != LUA_TSTRING)
        return luaL_error(L, "save_file: metadata must be a table of strings by name");
      const char *k = lua_tolstring(L, -2, &nk), *v = lua_tolstring(L, -1, &nv);
      if (!fmt_add_meta(&h->list, k, nk, v, nv, &e)) return luaL_error(L, "%s", e.msg);
    }
  }
  Ctx *c = vm_ctx(L);
  Scope sc = mt_open(c);
  vm_collect(L, c, 1, h, "save_file");
  if (!c->err) st_save(path, &h->list, &e);
  vm_check_saved(L, c, sc, &e);
  return 0;
}

/* ---- safe_open: names first, tensors one by one ---- */
static Held *check_file(lua_State *L) {
  Held *h = *(Held **)luaL_checkudata(L, 1, "safetensors.file");
  if (!h) luaL_error(L, "the file is closed");
  return h;
}

static int f_keys(lua_State *L) {
  Held *h = check_file(L);
  lua_createtable(L, (int)h->list.n, 0);
  for (size_t i = 0; i < h->list.n; i++)
    lua_pushstring(L, h->list.v[i].name), lua_rawseti(L, -2, (lua_Integer)i + 1);
  return 1;
}

static const fmt_tensor *find(lua_State *L, Held *h) {
  const char *name = luaL_checkstring(L, 2);
  for (size_t i = 0; i < h->list.n; i++)
    if (!strcmp(h->list.v[i].name, name)) return &h->list.v[i];
  luaL_error(L, "no tensor named '%s' in the file", name);
  return NULL;
}

static int f_get_tensor(lua_State *L) {
  Held *h = check_file(L);
  const fmt_tensor *t = find(L, h);
  Ctx *c = vm_ctx(L);
  Scope sc = mt_open(c);
  vm_pushtensor(L, vm_held_tensor(c, h, t));
  return vm_leave(L, c, sc, 1);
}

static int f_info(lua_State *L) { /* get_info(name) -> {dtype =, shape =} without its data */
  const fmt_tensor *t = find(L, check_file(L));
  lua_createtable(L, 0, 2);
  lua_pushstring(L, fmt_types[t->dtype].name), lua_setfield(L, -2, "dtype");
  vm_pushsize(L, t->shape, t->ndim), lua_setfield(L, -2, "shape");
  return 1;
}

static int f_metadata(lua_State *L) { return push_metadata(L, &check_file(L)->list), 1; }

/* The userdata is the Held's own, under another metatable whose __gc is the same. */
static int safe_open(lua_State *L) {
  static const luaL_Reg methods[] = {{"keys", f_keys},
                                     {"get_tensor", f_get_tensor},
                                     {"get_info", f_info},
                                     {"metadata", f_metadata},
                                     {NULL, NULL}};
  open_held(L, 1, st_open);
  if (luaL_newmetatable(L, "safetensors.file")) {
    luaL_getmetatable(L, "moth.held");
    lua_getfield(L, -1, "__gc");
    lua_pushvalue(L, -1);
    lua_setfield(L, -4, "__gc");
    lua_setfield(L, -3, "__close");
    lua_pop(L, 1);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
  }
  lua_setmetatable(L, -2);
  return 1;
}

int luaopen_safetensors(lua_State *L) {
  static const luaL_Reg fns[] = {{"load_file", load_file},
                                 {"save_file", save_file},
                                 {"metadata", metadata},
                                 {"safe_open", safe_open},
                                 {NULL, NULL}};
  luaL_newlib(L, fns);
  return 1;
}

/* ---- npy ---- */
static int npy_load(lua_State *L) {
  Held *h = open_held(L, 1, npy_open);
  Ctx *c = vm_ctx(L);
  Scope sc = mt_open(c);
  vm_pushtensor(L, vm_held_tensor(c, h, &h->list.v[0]));
  return vm_leave(L, c, sc, 1);
}

static int npz_load(lua_State *L) {
  vm_push_tensors(L, open_held(L, 1, npz_open));
  return 1;
}

/* save(path, tensor) as numpy.save orders them */
static int npy_save_(lua_State *L) {
  const char *path = vm_check_path(L, 1);
  Tensor *x = vm_checktensor(L, 2);
  sys_err e = {{0}, 0};
  fmt_tensor t = {.name = ""};
  Held *h = vm_held_push(L);
  Ctx *c = vm_ctx(L);
  Scope sc = mt_open(c);
  if (vm_describe(c, x, &t, h, "")) npy_save(path, &t, &e);
  vm_check_saved(L, c, sc, &e);
  return 0;
}

static int npz_save_(lua_State *L) {
  const char *path = vm_check_path(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  sys_err e = {{0}, 0};
  Held *h = vm_held_push(L);
  Ctx *c = vm_ctx(L);
  Scope sc = mt_open(c);
  vm_collect(L, c, 2, h, "savez");
  if (!c->err) npz_save(path, &h->list, &e);
  vm_check_saved(L, c, sc, &e);
  return 0;
}

int luaopen_npy(lua_State *L) {
  static const luaL_Reg fns[] = {{"load", npy_load},
                                 {"save", npy_save_},
                                 {"loadz", npz_load},
                                 {"savez", npz_save_},
                                 {NULL, NULL}};
  luaL_newlib(L, fns);
  return 1;
}
