/* gguf.c: the Lua module `gguf`: tensors (unpacked to float32 where quantised), metadata, a table
 * of contents. */
#include "formats.h"
#include "gguf/gguf.h"
#include "gguf/quant.h"
#include "ordered.h"
#include <string.h>

static int file_gc(lua_State *L) {
  gg_free(lua_touserdata(L, 1));
  return 0;
}

static gg_file *open_file(lua_State *L) {
  const char *path = vm_check_path(L, 1);
  sys_err e = {{0}, 0};
  gg_file *f = lua_newuserdatauv(L, sizeof *f, 0);
  *f = (gg_file){.nkv = 0};
  if (luaL_newmetatable(L, "gguf.file")) lua_pushcfunction(L, file_gc), lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  if (!gg_open(f, path, &e)) luaL_error(L, "%s", e.msg);
  return f;
}

/* load_file(path) -> ordered table name -> tensor */
static int load_file(lua_State *L) {
  gg_file *f = open_file(L);
  for (size_t i = 0; i < f->list.n; i++) {
    const fmt_tensor *t = &f->list.v[i];
    if (t->quant >= 0 && !gg_types[t->quant].unpack)
      return luaL_error(L, "%s: tensor '%s' has the type %s, which is not read", lua_tostring(L, 1),
                        t->name, gg_type_name(t->quant));
  }
  Held *h = vm_held_push(L);
  h->list = f->list;
  f->list = (fmt_list){0};
  vm_push_tensors(L, h);
  return 1;
}

/* Pushes one value and moves past it. */
static void push_value(lua_State *L, uint32_t type, const uint8_t **pp) {
  const uint8_t *p = *pp;
  uint64_t n;
  float f;
  double d;
  switch (type) {
    case GG_U8: lua_pushinteger(L, *p), p += 1; break;
    case GG_I8: lua_pushinteger(L, (int8_t)*p), p += 1; break;
    case GG_U16: lua_pushinteger(L, fmt_u16(p)), p += 2; break;
    case GG_I16: lua_pushinteger(L, (int16_t)fmt_u16(p)), p += 2; break;
    case GG_U32: lua_pushinteger(L, fmt_u32(p)), p += 4; break;
    case GG_I32: lua_pushinteger(L, (int32_t)fmt_u32(p)), p += 4; break;
    case GG_F32: memcpy(&f, p, 4), lua_pushnumber(L, (lua_Number)f), p += 4; break;
    case GG_BOOL: lua_pushboolean(L, *p), p += 1; break;
    case GG_STR: n = fmt_u64(p), lua_pushlstring(L, (const char *)p + 8, n), p += 8 + n; break;
    case GG_F64: memcpy(&d, p, 8), lua_pushnumber(L, d), p += 8; break;
    default:
      lua_pushinteger(L, (lua_Integer)fmt_u64(p)),
          p += 8; /* int64; a uint64 past it wraps, as Lua's do */
  }
  *pp = p;
}

/* metadata(path) -> ordered table key -> value; arrays are lists */
static int metadata(lua_State *L) {
  gg_file *f = open_file(L);
  lua_Integer n = 0;
  vm_ordered_open(L, f->nkv < 1 << 20 ? (int)f->nkv : 0);
  int slot = lua_gettop(L) - 1;
  for (size_t i = 0; i < f->nkv; i++) {
    const gg_pair *kv = &f->kv[i];
    const uint8_t *p = kv->value;
    lua_pushlstring(L, kv->key, kv->key_len);
    if (kv->type == GG_ARR) {
      lua_createtable(L, kv->count < 1 << 26 ? (int)kv->count : 0, 0);
      for (uint64_t k = 0; k < kv->count; k++)
        push_value(L, kv->elem, &p), lua_rawseti(L, -2, (lua_Integer)k + 1);
    } else {
      push_value(L, kv->type, &p);
    }
    n = vm_ordered_put(L, slot, n);
  }
  vm_ordered_close(L, slot);
  return 1;
}

/* info(path) -> ordered table name -> {type =, shape =} */
static int info(lua_State *L) {
  gg_file *f = open_file(L);
  lua_Integer n = 0;
  vm_ordered_open(L, (int)f->list.n);
  int slot = lua_gettop(L) - 1;
  for (size_t i = 0; i < f->list.n; i++) {
    const fmt_tensor *t = &f->list.v[i];
    lua_pushstring(L, t->name);
    lua_createtable(L, 0, 2);
    lua_pushstring(L, t->quant >= 0 ? gg_type_name(t->quant) : fmt_types[t->dtype].name),
        lua_setfield(L, -2, "type");
    vm_pushsize(L, t->shape, t->ndim), lua_setfield(L, -2, "shape");
    n = vm_ordered_put(L, slot, n);
  }
  vm_ordered_close(L, slot);
  return 1;
}

int luaopen_gguf(lua_State *L) {
  static const luaL_Reg fns[] = {
      {"load_file", load_file}, {"metadata", metadata}, {"info", info}, {NULL, NULL}};
  luaL_newlib(L, fns);
  return 1;
}
