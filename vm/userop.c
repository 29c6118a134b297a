/* userop.c: ops with a schema that are written in Lua: the row behind torch.library.custom_op,
 * whose other half is stdlib/torch/library.lua.
 *
 * Invariant: a row and everything it points to live in one userdata, kept by the op's function. */
#include "vm.h"
#include <string.h>

typedef struct UserOp { OpRow row; ParamRow params[]; } UserOp;

static const char *text_field(lua_State *L, int i, const char *name) {
  lua_getfield(L, i, name);                /* the table keeps the string */
  const char *s = lua_tostring(L, -1);
  lua_pop(L, 1);
  return s;
}
static lua_Integer int_field(lua_State *L, int i, const char *name) {
  lua_getfield(L, i, name);
  lua_Integer v = lua_isboolean(L, -1) ? lua_toboolean(L, -1) : lua_tointeger(L, -1);
  lua_pop(L, 1);
  return v;
}

static int type_named(lua_State *L, const char *name) {
  static const char *const names[] = {"Tensor", "Tensor[]", "Scalar", "Scalar[]", "int", "int[]",
                                      "float", "bool", "str", "dtype", "device", NULL};
  for (int i = 0; names[i]; i++)
    if (name && !strcmp(names[i], name)) return i;
  return luaL_error(L, "unknown type '%s' in a schema", name ? name : "?");
}

/* op{name = "my::scale", params = {{name =, type =, optional =, kwonly =, has_default =,
 * default_text =}}}, run
 * -> function */
static int l_op(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  lua_getfield(L, 1, "params");
  int n = (int)lua_rawlen(L, 3);
  if (n > 31) return luaL_error(L, "an op of %d parameters: at most 31", n);
  UserOp *u = lua_newuserdatauv(L, sizeof *u + sizeof(ParamRow) * (size_t)(n + 1), 1);
  memset(u, 0, sizeof *u + sizeof(ParamRow) * (size_t)(n + 1));
  for (int i = 0; i < n; i++) {
    ParamRow *p = &u->params[i];
    lua_rawgeti(L, 3, i + 1);
    int at = lua_gettop(L);
    p->name = text_field(L, at, "name");
    p->type = (uint8_t)type_named(L, text_field(L, at, "type"));
    p->optional = (uint8_t)int_field(L, at, "optional");
    p->kwonly = (uint8_t)int_field(L, at, "kwonly");
    p->has_default = (uint8_t)int_field(L, at, "has_default");
    p->list_len = (uint8_t)int_field(L, at, "length");
    p->opt_elems = (uint8_t)int_field(L, at, "none_elements");
    p->def_text = text_field(L, at, "default");
    lua_pop(L, 1);
  }
  u->row.id = -1;
  u->row.name = u->row.path = u->row.base = text_field(L, 1, "name");
  u->row.params = u->params;
  u->row.nparam = (uint8_t)n;
  u->row.flags = OF_FUNCTION;
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);             /* the strings' owner */
  lua_pushvalue(L, 2);
  vm_push_user_op(L, &u->row, u->row.name, 4);
  return 1;
}

/* A function of the library that loads its module when it is first called. */
static int lazy(lua_State *L) {
  lua_getglobal(L, "require");
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_call(L, 1, 1);
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_gettable(L, -2);
  lua_replace(L, -2);
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

void vm_open_dlpack(lua_State *L);
void vm_open_library(lua_State *L, int torch) {
  static const char *const names[] = {"custom_op", "register_autograd", "opcheck", NULL};
  torch = lua_absindex(L, torch);
  lua_newtable(L);
  for (int i = 0; names[i]; i++) {
    lua_pushliteral(L, "torch.library");
    lua_pushstring(L, names[i]);
    lua_pushcclosure(L, lazy, 2);
    lua_setfield(L, -2, names[i]);
  }
  lua_pushcfunction(L, l_op);
  lua_setfield(L, -2, "_op");
  lua_setfield(L, torch, "library");
  lua_newtable(L);
  lua_setfield(L, torch, "ops");
  lua_getfield(L, torch, "utils");
  vm_open_dlpack(L);
  lua_setfield(L, -2, "dlpack");
  lua_pop(L, 1);
}
