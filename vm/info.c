/* info.c: require "moth.ops": the op rows as Lua data, for help, completion, documentation, the
 * fuzzer and the converter.
 *
 * The result has every row in order (1..n) and, under each public name without "torch." ("softmax",
 * "linalg.inv"), the first row of that name; its `overloads` lists all rows that share it. */
#include "vm.h"
#include <string.h>

/* Derivative texts by op id; autograd's binding fills this in. */
const char *(*vm_derivative_text)(int op);

static const char *const type_words[] = {"Tensor", "Tensor[]", "Scalar",        "Scalar[]", "int",
                                         "int[]",  "float",    "bool",          "str",      "dtype",
                                         "device", "layout",   "memory_format", "generator"};

static void str_field(lua_State *L, const char *k, const char *v) {
  if (!v) return;
  lua_pushstring(L, v);
  lua_setfield(L, -2, k);
}
static void flag_field(lua_State *L, const char *k, bool v) {
  if (!v) return;
  lua_pushboolean(L, 1);
  lua_setfield(L, -2, k);
}

static void push_params(lua_State *L, const OpRow *op) {
  lua_createtable(L, op->nparam, 0);
  for (int i = 0; i < op->nparam; i++) {
    const ParamRow *p = &op->params[i];
    lua_createtable(L, 0, 6);
    str_field(L, "name", p->name);
    str_field(L, "type", type_words[p->type]);
    str_field(L, "default", p->def_text);
    flag_field(L, "kwonly", p->kwonly);
    flag_field(L, "optional", p->optional);
    flag_field(L, "none_elements", p->opt_elems);
    if (p->list_len) { lua_pushinteger(L, p->list_len); lua_setfield(L, -2, "length"); }
    lua_rawseti(L, -2, i + 1);
  }
}

/* softmax(dim: int, dtype = None): the call as a person writes it. */
static void push_signature(lua_State *L, const OpRow *op, const char *name) {
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  luaL_addstring(&b, name);
  luaL_addchar(&b, '(');
  bool brace = false;
  for (int i = 0; i < op->nparam; i++) {
    const ParamRow *p = &op->params[i];
    if (i) luaL_addstring(&b, ", ");
    if (p->kwonly && !brace) { luaL_addchar(&b, '{'); brace = true; }
    luaL_addstring(&b, p->name);
    if (p->def_text) {
      luaL_addstring(&b, "=");
      luaL_addstring(&b, strcmp(p->def_text, "None") ? p->def_text : "nil");
    } else if (p->kwonly) luaL_addchar(&b, '=');
  }
  if (brace) luaL_addchar(&b, '}');
  luaL_addstring(&b, ") -> ");
  for (int i = 0; i < op->nret; i++) {
    if (i) luaL_addstring(&b, ", ");
    luaL_addstring(&b, type_words[op->ret_types[i]]);
    if (op->nret > 1) { luaL_addchar(&b, ' '); luaL_addstring(&b, op->ret_names[i]); }
  }
  luaL_pushresult(&b);
}

static void push_row(lua_State *L, const OpRow *op) {
  const char *shown = strncmp(op->path, "torch.", 6) ? op->path : op->path + 6;
  lua_createtable(L, 0, 20);
  str_field(L, "id", op->name);
  str_field(L, "path", op->path);
  str_field(L, "name", shown);
  str_field(L, "base", op->base);
  str_field(L, "overload", op->overload);
  str_field(L, "schema", op->schema);
  str_field(L, "doc", op->doc);
  str_field(L, "example", op->example);
  str_field(L, "see", op->see);
  str_field(L, "meta", op->meta);
  str_field(L, "expr", op->expr);
  if (vm_derivative_text) str_field(L, "derivative", vm_derivative_text(op->id));
  push_signature(L, op, op->flags & OF_FUNCTION ? shown : op->base);
  lua_setfield(L, -2, "signature");
  static const struct { const char *name; uint32_t bit;
  } bits[] = {{"method", OF_METHOD},
              {"fn", OF_FUNCTION},
              {"inplace", OF_INPLACE},
              {"inplace_only", OF_INPLACE_ONLY},
              {"out", OF_OUT},
              {"attr", OF_ATTR},
              {"view", OF_VIEW},
              {"hidden", OF_HIDDEN},
              {"composite", OF_COMPOSITE},
              {"nodiff", OF_NODIFF},
              {"pending", OF_PENDING},
              {"random", OF_RANDOM},
              {"pointwise", OF_POINTWISE}};
  for (size_t i = 0; i < sizeof bits / sizeof *bits; i++)
    flag_field(L, bits[i].name, op->flags & bits[i].bit);
  push_params(L, op);
  lua_setfield(L, -2, "params");
  lua_createtable(L, op->nret, 0);
  for (int i = 0; i < op->nret; i++) {
    lua_createtable(L, 0, 2);
    str_field(L, "name", op->ret_names[i]);
    str_field(L, "type", type_words[op->ret_types[i]]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "returns");
  lua_newtable(L);
  int n = 0;
  for (const char *p = op->aliases; *p;) {
    size_t len = strcspn(p, " ");
    lua_pushlstring(L, p, len);
    lua_rawseti(L, -2, ++n);
    p += len + (p[len] == ' ');
  }
  lua_setfield(L, -2, "aliases");
}

/* rows[name] = row on top, or appended to the overloads of the row already there. */
static void name_row(lua_State *L, int rows, const char *name) {
  if (!strncmp(name, "torch.", 6)) name += 6;
  if (lua_getfield(L, rows, name) == LUA_TNIL) {
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_setfield(L, rows, name);
    if (lua_getfield(L, -1, "overloads") == LUA_TNIL) {
      lua_newtable(L);
      lua_pushvalue(L, -3);
      lua_rawseti(L, -2, 1);
      lua_setfield(L, -3, "overloads");
    }
    lua_pop(L, 1);
    return;
  }
  lua_getfield(L, -1, "overloads");
  lua_pushvalue(L, -3);
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  lua_pop(L, 2);
}

int luaopen_moth_ops(lua_State *L) {
  lua_createtable(L, mt_nops, mt_nops);
  int rows = lua_gettop(L);
  for (int i = 0; i < mt_nops; i++) {
    push_row(L, &mt_ops[i]);
    lua_pushvalue(L, -1);
    lua_rawseti(L, rows, i + 1);
    if (!(mt_ops[i].flags & OF_HIDDEN)) {
      name_row(L, rows, mt_ops[i].path);
      lua_getfield(L, -1, "aliases");
      for (lua_Integer k = 1; lua_rawgeti(L, -1, k) == LUA_TSTRING; k++) {
        const char *alias = lua_tostring(L, -1);
        lua_pushvalue(L, -3);
        name_row(L, rows, alias);
        lua_pop(L, 2);
      }
      lua_pop(L, 2);
    }
    lua_pop(L, 1);
  }
  return 1;
}
