/* files.c: torch.save and torch.load, which choose the format by the extension (reading also by the
 * content). */
#include "formats.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { PT, ST, NPY, NPZ, GGUF, UNKNOWN };

static int by_extension(const char *path) {
  static const struct {
    const char *ext;
    int kind;
  } table[] = {{".safetensors", ST}, {".npy", NPY}, {".npz", NPZ}, {".gguf", GGUF},
               {".pt", PT},          {".pth", PT},  {".bin", PT},  {".ckpt", PT}};
  size_t n = strlen(path);
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    size_t k = strlen(table[i].ext);
    if (n >= k && !strcasecmp(path + n - k, table[i].ext)) return table[i].kind;
  }
  return UNKNOWN;
}

/* Of a file without a known extension the first bytes tell. */
static int by_content(lua_State *L, const char *path) {
  unsigned char b[9] = {0};
  FILE *f = fopen(path, "rb");
  size_t n = f ? fread(b, 1, sizeof b, f) : 0;
  if (!f) luaL_error(L, "cannot open '%s'", path);
  fclose(f);
  if (n >= 6 && !memcmp(b, "\x93NUMPY", 6)) return NPY;
  if (n >= 4 && !memcmp(b, "GGUF", 4)) return GGUF;
  if (n == 9 && b[8] == '{' && !b[4] && !b[5] && !b[6] && !b[7]) return ST;
  return PT;
}

/* Calls module.fn with the values on the stack from `from` on; leaves nresults. */
static void call(lua_State *L, lua_CFunction open, const char *fn, int nargs, int nresults) {
  lua_pushcfunction(L, open);
  lua_call(L, 0, 1);
  lua_getfield(L, -1, fn);
  lua_remove(L, -2);
  lua_insert(L, -1 - nargs);
  lua_call(L, nargs, nresults);
}

/* torch.load(path, {map_location =, weights_only =, mmap =}) */
static int t_load(lua_State *L) {
  const char *path = vm_check_path(L, 1);
  if (lua_istable(L, 2)) {
    lua_getfield(L, 2, "weights_only");
    if (lua_isboolean(L, -1) && !lua_toboolean(L, -1))
      return luaL_error(
          L, "torch.load: weights_only = false would run a file's code, which Moth never does");
  }
  int kind = by_extension(path);
  if (kind == UNKNOWN) kind = by_content(L, path);
  lua_settop(L, 1);
  switch (kind) {
    case ST: call(L, luaopen_safetensors, "load_file", 1, 1); break;
    case NPY: call(L, luaopen_npy, "load", 1, 1); break;
    case NPZ: call(L, luaopen_npy, "loadz", 1, 1); break;
    case GGUF: call(L, luaopen_gguf, "load_file", 1, 1); break;
    default: vm_load_checkpoint(L, path);
  }
  return 1;
}

/* torch.save(value, path) */
static int t_save(lua_State *L) {
  luaL_checkany(L, 1);
  if (lua_type(L, 1) == LUA_TSTRING && lua_type(L, 2) != LUA_TSTRING)
    return luaL_error(L, "torch.save: the value comes first: torch.save(value, path)");
  const char *path = vm_check_path(L, 2);
  int kind = by_extension(path);
  lua_settop(L, 2);
  if (kind != PT && kind != UNKNOWN && kind != NPY && !lua_istable(L, 1))
    return luaL_error(L, "torch.save: a %s file holds a table of tensors by name, got %s",
                      strrchr(path, '.'), luaL_typename(L, 1));
  if (kind == NPY && !vm_totensor(L, 1))
    return luaL_error(L, "torch.save: a .npy file holds one tensor, got %s (.npz holds several)",
                      luaL_typename(L, 1));
  switch (kind) {
    case ST: call(L, luaopen_safetensors, "save_file", 2, 0); break;
    case NPY: lua_insert(L, 1), call(L, luaopen_npy, "save", 2, 0); break;
    case NPZ: lua_insert(L, 1), call(L, luaopen_npy, "savez", 2, 0); break;
    case GGUF: return luaL_error(L, "torch.save: GGUF files are read, not written");
    default: vm_save_checkpoint(L, 1, path);
  }
  return 0;
}

static void preload(lua_State *L, const char *name, lua_CFunction f) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, f);
  lua_setfield(L, -2, name);
  lua_pop(L, 1);
}

void vm_open_files(lua_State *L, int torch) {
  static const luaL_Reg fns[] = {{"load", t_load}, {"save", t_save}, {NULL, NULL}};
  preload(L, "safetensors", luaopen_safetensors);
  preload(L, "npy", luaopen_npy);
  preload(L, "gguf", luaopen_gguf);
  preload(L, "image", luaopen_image);
  preload(L, "audio", luaopen_audio);
  lua_pushvalue(L, torch);
  luaL_setfuncs(L, fns, 0);
  lua_pop(L, 1);
}
