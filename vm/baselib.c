/* baselib.c: basic and coroutine functions that differ from Lua's own.
 *
 * load, loadfile, dofile and require take text only unless the program was started with
 * --bytecode (crafted bytecode can crash any Lua); pcall, xpcall, resume and wrap let an
 * interrupt through at the prompt; resume and wrap tell the interrupt handler which coroutine
 * runs; load and print poll it. */
#include "host.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool binary_allowed;

const char *vm_load_mode(lua_State *L, const char *mode) {
  (void)L;
  if (binary_allowed) return mode;
  return !mode || strchr(mode, 't') ? "t" : "n";
}

/* ---- load ---- */
enum { READER_SLOT = 5 };                  /* keeps the last piece alive for the parser */
typedef struct { const char *s; size_t n; } Piece;

/* Hands a string over in pieces, so that an interrupt stops even the parsing of 100 MB. */
static const char *string_reader(lua_State *L, void *ud, size_t *size) {
  Piece *p = ud;
  vm_poll(L);
  if (p->n == 0) return NULL;
  const char *s = p->s;
  *size = p->n < 65536 ? p->n : 65536;
  p->s += *size;
  p->n -= *size;
  return s;
}

static const char *function_reader(lua_State *L, void *ud, size_t *size) {
  (void)ud;
  vm_poll(L);
  luaL_checkstack(L, 2, "too many nested functions");
  lua_pushvalue(L, 1);
  lua_call(L, 0, 1);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    *size = 0;
    return NULL;
  }
  if (!lua_isstring(L, -1)) luaL_error(L, "reader function must return a string");
  lua_replace(L, READER_SLOT);
  return lua_tolstring(L, READER_SLOT, size);
}

/* The chunk on top with env (an index, 0 for none) as its first upvalue, or nil and the message. */
static int loaded(lua_State *L, int status, int env) {
  if (status == LUA_OK) {
    if (env) {
      lua_pushvalue(L, env);
      if (!lua_setupvalue(L, -2, 1)) lua_pop(L, 1);
    }
    return 1;
  }
  if (vm_int_passing()) return lua_error(L);
  lua_pushnil(L);
  lua_insert(L, -2);
  return 2;
}

static int l_load(lua_State *L) {
  Piece p;
  const char *mode = vm_load_mode(L, luaL_optstring(L, 3, NULL));
  int status, env = lua_isnone(L, 4) ? 0 : 4;
  if ((p.s = lua_tolstring(L, 1, &p.n)) != NULL) {
    const char *chunk = luaL_optstring(L, 2, p.s);
    status = lua_load(L, string_reader, &p, chunk, mode);
  } else {
    const char *chunk = luaL_optstring(L, 2, "=(load)");
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, READER_SLOT);
    status = lua_load(L, function_reader, NULL, chunk, mode);
  }
  return loaded(L, status, env);
}

static int l_loadfile(lua_State *L) {
  const char *name = luaL_optstring(L, 1, NULL);
  int env = lua_isnone(L, 3) ? 0 : 3;
  return loaded(L, luaL_loadfilex(L, name, vm_load_mode(L, luaL_optstring(L, 2, NULL))), env);
}

static int after_dofile(lua_State *L, int status, lua_KContext k) {
  (void)status, (void)k;
  return lua_gettop(L) - 1;
}

static int l_dofile(lua_State *L) {
  const char *name = luaL_optstring(L, 1, NULL);
  lua_settop(L, 1);
  if (luaL_loadfilex(L, name, vm_load_mode(L, NULL)) != LUA_OK) return lua_error(L);
  lua_callk(L, 0, LUA_MULTRET, 0, after_dofile);
  return after_dofile(L, 0, 0);
}

/* The file searcher of require, for text. */
static int search_file(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  lua_getfield(L, lua_upvalueindex(1), "searchpath");
  lua_pushvalue(L, 1);
  if (lua_getfield(L, lua_upvalueindex(1), "path") != LUA_TSTRING)
    return luaL_error(L, "'package.path' must be a string");
  lua_call(L, 2, 2);
  const char *file = lua_tostring(L, -2);
  if (!file) return 1;                     /* the message lists the files tried */
  lua_pop(L, 1);
  if (luaL_loadfilex(L, file, vm_load_mode(L, NULL)) == LUA_OK) return lua_pushstring(L, file), 2;
  return luaL_error(L, "error loading module '%s' from file '%s':\n\t%s", name, file,
                    lua_tostring(L, -1));
}

/* ---- protected calls ---- */
static int after_pcall(lua_State *L, int status, lua_KContext below) {
  if (status == LUA_OK || status == LUA_YIELD) return lua_gettop(L) - (int)below;
  if (vm_int_passing()) return lua_error(L);
  lua_pushboolean(L, 0);
  lua_pushvalue(L, -2);
  return 2;
}

static int l_pcall(lua_State *L) {
  luaL_checkany(L, 1);
  lua_pushboolean(L, 1);
  lua_insert(L, 1);
  VmMark m = vm_mark(L);
  int status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, after_pcall);
  if (status != LUA_OK) vm_unwind(L, m);
  return after_pcall(L, status, 0);
}

static int l_xpcall(lua_State *L) {
  int n = lua_gettop(L);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_pushboolean(L, 1);
  lua_pushvalue(L, 1);
  lua_rotate(L, 3, 2);
  VmMark m = vm_mark(L);
  int status = lua_pcallk(L, n - 2, LUA_MULTRET, 2, 2, after_pcall);
  if (status != LUA_OK) vm_unwind(L, m);
  return after_pcall(L, status, 2);
}

/* ---- coroutines ---- */
static lua_State *check_coroutine(lua_State *L) {
  lua_State *co = lua_tothread(L, 1);
  luaL_argexpected(L, co, 1, "thread");
  return co;
}

/* Resumes co with the narg values on top of L; number of results moved to L, or -1 and the error
 * there. */
static int resume(lua_State *L, lua_State *co, int narg) {
  int nres;
  if (!lua_checkstack(co, narg)) {
    lua_pushliteral(L, "too many arguments to resume");
    return -1;
  }
  lua_xmove(L, co, narg);
  lua_State *before = vm_int_enter(co);
  int status = lua_resume(co, L, narg, &nres);
  vm_int_enter(before);
  if (status != LUA_OK && status != LUA_YIELD) {
    lua_xmove(co, L, 1);
    return -1;
  }
  if (!lua_checkstack(L, nres + 1)) {
    lua_pop(co, nres);
    lua_pushliteral(L, "too many results to resume");
    return -1;
  }
  lua_xmove(co, L, nres);
  vm_poll(L);
  return nres;
}

static int l_resume(lua_State *L) {
  lua_State *co = check_coroutine(L);
  int n = resume(L, co, lua_gettop(L) - 1);
  if (n < 0 && vm_int_passing()) return lua_error(L);
  lua_pushboolean(L, n >= 0);
  lua_insert(L, n < 0 ? -2 : -(n + 1));
  return n < 0 ? 2 : n + 1;
}

static int call_wrapped(lua_State *L) {
  lua_State *co = lua_tothread(L, lua_upvalueindex(1));
  int n = resume(L, co, lua_gettop(L));
  if (n >= 0) return n;
  int status = lua_status(co);
  /* an error inside: close its variables */
  if (status != LUA_OK && status != LUA_YIELD) {
    status = lua_resetthread(co);
    lua_xmove(co, L, 1);
  }
  if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
  }
  return lua_error(L);
}

static int l_wrap(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_State *co = lua_newthread(L);
  lua_pushvalue(L, 1);
  lua_xmove(L, co, 1);
  lua_pushcclosure(L, call_wrapped, 1);
  return 1;
}

/* ---- print ---- */
static void write_polling(lua_State *L, const char *s, size_t n) {
  while (n > 0) {
    size_t k = n < 65536 ? n : 65536;
    size_t done = fwrite(s, 1, k, stdout);
    if (done < k) {
      bool again = errno == EINTR;
      clearerr(stdout);
      vm_poll(L);
      if (!again) return;
    }
    s += done;
    n -= done;
    vm_poll(L);
  }
}

static int l_print(lua_State *L) {
  int n = lua_gettop(L);
  for (int i = 1; i <= n; i++) {
    size_t len;
    const char *s = luaL_tolstring(L, i, &len);
    if (i > 1) write_polling(L, "\t", 1);
    write_polling(L, s, len);
    lua_pop(L, 1);
  }
  write_polling(L, "\n", 1);
  if (fflush(stdout) != 0) clearerr(stdout);
  return 0;
}

/* ---- set-up ---- */
static void replace_file_searcher(lua_State *L) {
  if (lua_getglobal(L, LUA_LOADLIBNAME) == LUA_TTABLE &&
      lua_getfield(L, -1, "searchers") == LUA_TTABLE) {
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, search_file, 1);
    lua_rawseti(L, -2, 2);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

void vm_open_base(lua_State *L, bool bytecode) {
  static const luaL_Reg base[] = {
      {"load", l_load},     {"loadfile", l_loadfile}, {"dofile", l_dofile}, {"pcall", l_pcall},
      {"xpcall", l_xpcall}, {"print", l_print},       {NULL, NULL}};
  static const luaL_Reg co[] = {{"resume", l_resume}, {"wrap", l_wrap}, {NULL, NULL}};
  binary_allowed = bytecode;
  lua_getglobal(L, "xpcall");              /* the prompt itself must catch everything */
  lua_setfield(L, LUA_REGISTRYINDEX, VM_CATCH_ALL);
  lua_pushglobaltable(L);
  luaL_setfuncs(L, base, 0);
  lua_pop(L, 1);
  if (lua_getglobal(L, LUA_COLIBNAME) == LUA_TTABLE) luaL_setfuncs(L, co, 0);
  lua_pop(L, 1);
  if (!bytecode) replace_file_searcher(L);
}
