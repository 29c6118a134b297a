/* embed.c: finds modules and data inside the binary.  `require "a.b"` looks for a/b.lua, then
 * a/b/init.lua.
 *
 * MOTH_STDLIB=DIR puts a folder before the embedded copy, so that stdlib can be worked on
 * without building. Sources are named "@<moth>/a/b.lua": the prompt hides such frames. */
#include "host.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const VmEmbedded *find(const char *name) {
  size_t lo = 0, hi = vm_embedded_count;
  while (lo < hi) {
    size_t mid = (lo + hi) / 2;
    int c = strcmp(name, vm_embedded[mid].name);
    if (c == 0) return &vm_embedded[mid];
    if (c < 0) hi = mid; else lo = mid + 1;
  }
  return NULL;
}

/* Pushes the file's content from MOTH_STDLIB; false when there is none. */
static bool push_from_dir(lua_State *L, const char *name) {
  const char *dir = getenv("MOTH_STDLIB");
  if (!dir || !*dir) return false;
  const char *path = lua_pushfstring(L, "%s/%s", dir, name);
  FILE *f = fopen(path, "rb");
  lua_pop(L, 1);
  if (!f) return false;
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  size_t n;
  do {
    char *p = luaL_prepbuffer(&b);
    n = fread(p, 1, LUAL_BUFFERSIZE, f);
    luaL_addsize(&b, n);
  } while (n == LUAL_BUFFERSIZE);
  fclose(f);
  luaL_pushresult(&b);
  return true;
}

/* Loads file `name` as a chunk; LUA_OK, an error status with its message, or -1 when there is no
 * such file. */
static int load_file(lua_State *L, const char *name) {
  const char *chunk = lua_pushfstring(L, "@<moth>/%s", name);
  int status = -1;
  if (push_from_dir(L, name)) {
    size_t n;
    const char *s = lua_tolstring(L, -1, &n);
    status = luaL_loadbufferx(L, s, n, chunk, "t");
    lua_remove(L, -2);
  } else {
    const VmEmbedded *e = find(name);
    if (e) status = luaL_loadbufferx(L, e->data, e->size, chunk, "t");
  }
  lua_remove(L, status < 0 ? -1 : -2);
  return status;
}

static int searcher(lua_State *L) {
  const char *module = luaL_checkstring(L, 1);
  const char *path = luaL_gsub(L, module, ".", "/");
  const char *names[2] = {lua_pushfstring(L, "%s.lua", path),
                          lua_pushfstring(L, "%s/init.lua", path)};
  for (int i = 0; i < 2; i++) {
    int status = load_file(L, names[i]);
    if (status == LUA_OK) return lua_pushfstring(L, "<moth>/%s", names[i]), 2;
    if (status > 0)
      return luaL_error(L, "error loading built-in module '%s':\n\t%s", module,
                        lua_tostring(L, -1));
  }
  lua_pushfstring(L, "no built-in module '%s'", module);
  return 1;
}

/* read(name) -> content or nil */
static int l_read(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  if (push_from_dir(L, name)) return 1;
  const VmEmbedded *e = find(name);
  if (!e) return 0;
  lua_pushlstring(L, e->data, e->size);
  return 1;
}

/* list() -> names of all embedded files */
static int l_list(lua_State *L) {
  lua_createtable(L, (int)vm_embedded_count, 0);
  for (size_t i = 0; i < vm_embedded_count; i++) {
    lua_pushstring(L, vm_embedded[i].name);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

static int open_embed(lua_State *L) {
  static const luaL_Reg fns[] = {{"read", l_read}, {"list", l_list}, {NULL, NULL}};
  luaL_newlib(L, fns);
  return 1;
}

void vm_open_embedded(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, open_embed);
  lua_setfield(L, -2, "moth.embed");
  lua_pushcfunction(L, vm_open_term);
  lua_setfield(L, -2, "moth.term");
  lua_pushcfunction(L, vm_open_profile);
  lua_setfield(L, -2, "moth.profile");
  lua_pop(L, 1);
  if (lua_getglobal(L, LUA_LOADLIBNAME) == LUA_TTABLE &&
      lua_getfield(L, -1, "searchers") == LUA_TTABLE) {
    lua_Integer n = luaL_len(L, -1);
    for (lua_Integer i = n; i >= 2; i--) {         /* after preload, before the file system */
      lua_rawgeti(L, -1, i);
      lua_rawseti(L, -2, i + 1);
    }
    lua_pushcfunction(L, searcher);
    lua_rawseti(L, -2, 2);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}
