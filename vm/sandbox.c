/* sandbox.c: `moth --sandbox`: a script that computes and prints, and reaches nothing else.
 *
 * Invariant: what a script can reach is built up from a list, never taken away from a full
 * state: new tables for io, os, debug and package, only listed globals, only listed modules for
 * require.  Chunks are text.  The address space is limited (MOTH_SANDBOX_MEMORY in MB, 4096 by
 * default), and MOTH_SANDBOX_SECONDS limits the time: first an interrupt, a second later the
 * end. */
#include "host.h"
#include "vm.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

int luaopen_json_text(lua_State *L);

static const char *const globals[] = {"assert",
                                      "collectgarbage",
                                      "error",
                                      "getmetatable",
                                      "ipairs",
                                      "load",
                                      "next",
                                      "pairs",
                                      "pcall",
                                      "print",
                                      "rawequal",
                                      "rawget",
                                      "rawlen",
                                      "rawset",
                                      "require",
                                      "select",
                                      "setmetatable",
                                      "tonumber",
                                      "tostring",
                                      "type",
                                      "warn",
                                      "xpcall",
                                      "_VERSION",
                                      "string",
                                      "table",
                                      "math",
                                      "utf8",
                                      "coroutine",
                                      "torch",
                                      "nn",
                                      "F",
                                      "optim",
                                      "arg",
                                      NULL};
static const char *const os_names[] = {"clock", "date", "difftime", "time", NULL};
static const char *const debug_names[] = {"traceback", NULL};
static const char *const modules[] = {"string",    "table", "math", "utf8",
                                      "coroutine", "torch", "_G",   NULL};
static const char *const preloads[] = {"json", "moth.ops", "torch.nn.core", NULL};
static const char *const torch_files[] = {"save",       "load",     "from_file", "from_dlpack",
                                          "to_dlpack",  "ops",      "_ops",      "hub",
                                          "jit",        NULL};

/* A new table with the listed fields of the table at index `from`; pushed. */
static void selected(lua_State *L, int from, const char *const *names) {
  from = lua_absindex(L, from);
  lua_newtable(L);
  for (; *names; names++) {
    if (!lua_istable(L, from)) return;
    lua_pushstring(L, *names);
    lua_pushstring(L, *names);
    lua_rawget(L, from);
    lua_rawset(L, -3);
  }
}

static int l_exit(lua_State *L) {
  int status = lua_isboolean(L, 1) ? !lua_toboolean(L, 1) : (int)luaL_optinteger(L, 1, 0);
  fflush(stdout);
  exit(status);
}

static int l_write(lua_State *L) {
  int n = lua_gettop(L);
  for (int i = 1; i <= n; i++) {
    size_t len;
    const char *s = luaL_checklstring(L, i, &len);
    fwrite(s, 1, len, stdout);
    vm_poll(L);
  }
  return 0;
}

static int no_searcher(lua_State *L) {
  lua_pushfstring(L, "module '%s' is not available in the sandbox", luaL_checkstring(L, 1));
  return 1;
}

/* package: loaded holds the listed modules, searchers find preloaded and embedded ones only. */
static void restrict_package(lua_State *L, int fresh) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  selected(L, -1, preloads);
  lua_pushcfunction(L, luaopen_json_text);   /* json without its files */
  lua_setfield(L, -2, "json");
  lua_setfield(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  int loaded = lua_gettop(L);
  lua_getfield(L, loaded, LUA_LOADLIBNAME);
  /* require keeps the package table, so change its own list */
  lua_getfield(L, -1, "searchers");
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_setfield(L, -3, "preload");
  for (lua_Integer i = luaL_len(L, -1); i > 2; i--) {
    if (i == 3) lua_pushcfunction(L, no_searcher); else lua_pushnil(L);
    lua_rawseti(L, -2, i);
  }
  lua_settop(L, loaded);
  lua_pushnil(L);                          /* forget the modules that are not listed */
  while (lua_next(L, loaded)) {
    lua_pop(L, 1);
    bool keep = false;
    for (int i = 0; modules[i]; i++)
      keep |= lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), modules[i]) == 0;
    if (keep) continue;
    lua_pushvalue(L, -1);
    lua_pushnil(L);
    lua_rawset(L, loaded);
  }
  lua_pushvalue(L, fresh);
  lua_setfield(L, loaded, "_G");
  lua_settop(L, loaded - 2);
}

/* The metatables of C objects hold functions that trust their arguments: out of reach. */
static int l_getmetatable(lua_State *L) {
  luaL_checkany(L, 1);
  int type = lua_type(L, 1);
  if (type == LUA_TUSERDATA || type == LUA_TLIGHTUSERDATA || !lua_getmetatable(L, 1))
    lua_pushnil(L);
  else luaL_getmetafield(L, 1, "__metatable");
  return 1;
}

static void remove_torch_files(lua_State *L, int fresh) {
  if (lua_getfield(L, fresh, "torch") == LUA_TTABLE)
    for (int i = 0; torch_files[i]; i++) {
      lua_pushnil(L);
      lua_setfield(L, -2, torch_files[i]);
      vm_bar_lazy(L, torch_files[i]);
    }
  if (lua_istable(L, -1) && lua_getfield(L, -1, "utils") == LUA_TTABLE) {
    lua_pushnil(L);
    lua_setfield(L, -2, "dlpack");         /* tensors over any address */
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  if (lua_getfield(L, fresh, "string") == LUA_TTABLE) {
    lua_pushnil(L);
    lua_setfield(L, -2, "dump");
  }
  lua_pop(L, 1);
}

/* ---- time and memory ---- */
static void on_alarm(int sig) {
  static volatile sig_atomic_t rang;
  static const char message[] = "moth: the sandbox's time is up\n";
  (void)sig;
  if (rang++) {
    if (write(STDERR_FILENO, message, sizeof message - 1) < 0) _exit(1);
    _exit(1);
  }
  raise(SIGINT);
  alarm(1);
}

static long setting(const char *name, long otherwise) {
  const char *s = getenv(name);
  long v = s ? strtol(s, NULL, 10) : 0;
  return v > 0 ? v : otherwise;
}

/* Lua's allocator with a ceiling. */
static struct { lua_Alloc f; void *ud; size_t used, most; } heap;
static void *capped(void *ud, void *p, size_t old, size_t n) {
  (void)ud;
  size_t was = p ? old : 0;
  if (n > was && heap.used + (n - was) > heap.most) return NULL;
  void *r = heap.f(heap.ud, p, old, n);
  if (r || n == 0) heap.used += n - was;
  return r;
}

static void set_limits(lua_State *L) {
  rlim_t bytes = (rlim_t)setting("MOTH_SANDBOX_MEMORY", 4096) << 20;
  struct rlimit memory = {bytes, bytes}, core = {0, 0};
  heap.f = lua_getallocf(L, &heap.ud);
  heap.used = (size_t)lua_gc(L, LUA_GCCOUNT) * 1024;
  heap.most = bytes;
  lua_setallocf(L, capped, NULL);
#ifdef MT_SAN                              /* the sanitizers need terabytes of addresses */
  (void)memory;
#else
  setrlimit(RLIMIT_AS, &memory);
#endif
  setrlimit(RLIMIT_CORE, &core);
  long seconds = setting("MOTH_SANDBOX_SECONDS", 0);
  if (seconds) {
    signal(SIGALRM, on_alarm);
    alarm((unsigned)seconds);
  }
}

void vm_enter_sandbox(lua_State *L) {
  static const luaL_Reg out[] = {{"write", l_write}, {NULL, NULL}};
  lua_pushglobaltable(L);
  int old = lua_gettop(L);
  selected(L, old, globals);
  int fresh = lua_gettop(L);
  lua_getfield(L, old, LUA_OSLIBNAME);
  selected(L, -1, os_names);
  lua_pushcfunction(L, l_exit);
  lua_setfield(L, -2, "exit");
  lua_setfield(L, fresh, LUA_OSLIBNAME);
  lua_getfield(L, old, LUA_DBLIBNAME);
  selected(L, -1, debug_names);
  lua_setfield(L, fresh, LUA_DBLIBNAME);
  luaL_newlib(L, out);
  lua_setfield(L, fresh, LUA_IOLIBNAME);
  lua_pushcfunction(L, l_getmetatable);
  lua_setfield(L, fresh, "getmetatable");
  remove_torch_files(L, fresh);
  restrict_package(L, fresh);
  lua_pushvalue(L, fresh);
  lua_setfield(L, fresh, "_G");
  lua_pushvalue(L, fresh);
  lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
  lua_settop(L, old - 1);
  set_limits(L);
}
