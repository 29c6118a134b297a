/* faults.c: a Lua module for test builds (-DMT_FAULTS) that fails memory requests one by one.
 *
 * sweep(session, check, forever, stride) runs session() once.  At every stride-th memory request
 * the process forks: in the child that request fails (and, with forever, every later one until the
 * session ends), the tail of the session runs, then check(ok, message) says whether the state is
 * sound; the parent goes on without the failure.  So each request is tried with its own head and
 * tail at the cost of one run and its tails. Returns requests, raised, absorbed, broken, first
 * broken text.  Threads must be set to one before.
 *
 * sweep(session, check, forever, stride, "lua") fails Lua's own requests (tables, strings, stack)
 * instead of the engine's: Lua then collects garbage and asks again, so one failure is absorbed. */
#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern int (*mt_fault_hook)(void);
extern long mt_live_tensors(void);
extern long mt_live_bytes(void);
int luaopen_faults(lua_State *L);

enum { RAISED = 0, ABSORBED = 3, BROKEN = 4 };
static struct {
  int in_child, forever, armed;
  long stride, n, raised, absorbed, broken, skip_until;
  char first[300];
} sw;

static void tally(int status) {
  int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  if (code == RAISED) sw.raised++;
  else if (code == ABSORBED) sw.absorbed++;
  else if (sw.broken++ == 0 || sw.broken < 8) {
    if (code >= 0)
      snprintf(sw.first, sizeof sw.first, "request %ld: child exits with %d", sw.n, code);
    else
      snprintf(sw.first, sizeof sw.first, "request %ld: child ended by signal %d", sw.n,
               WTERMSIG(status));
    fprintf(stderr, "faults: %s\n", sw.first);
  }
}

static int on_request(void) {
  if (!sw.armed) return 0;
  if (sw.in_child) return sw.forever;
  if (++sw.n % sw.stride) return 0;
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) { sw.in_child = 1; return 1; }
  if (pid < 0) { fprintf(stderr, "faults: fork failed\n"); return 0; }
  int status = 0;
  sw.armed = 0;
  waitpid(pid, &status, 0);
  sw.armed = 1;
  tally(status);
  return 0;
}

static lua_Alloc lua_alloc;
static void *lua_request(void *ud, void *old, size_t was, size_t n) {
  bool grows = n && (!old || n > was);
  return grows && on_request() ? NULL : lua_alloc(ud, old, was, n);
}
static void arm(lua_State *L, bool of_lua, bool on) {
  void *ud;
  sw.armed = 0;
  if (of_lua && on) { lua_alloc = lua_getallocf(L, &ud); lua_setallocf(L, lua_request, ud); }
  else if (of_lua) { lua_getallocf(L, &ud); lua_setallocf(L, lua_alloc, ud); }
  else mt_fault_hook = on ? on_request : NULL;
  sw.armed = on;
}

static int sweep(lua_State *L) {
  memset(&sw, 0, sizeof sw);
  bool of_lua = !strcmp(luaL_optstring(L, 5, ""), "lua");
  sw.forever = lua_toboolean(L, 3);
  sw.stride = (long)luaL_optinteger(L, 4, 1);
  lua_settop(L, 2);
  lua_pushvalue(L, 1);
  arm(L, of_lua, true);
  int status = lua_pcall(L, 0, 0, 0);
  arm(L, of_lua, false);
  if (sw.in_child) { /* the session's end in a child: judge and leave */
    char msg[300];
    snprintf(msg, sizeof msg, "%.299s", status == LUA_OK ? "" : luaL_tolstring(L, -1, NULL));
    lua_pushvalue(L, 2);
    lua_pushboolean(L, status == LUA_OK);
    lua_pushstring(L, msg);
    int check = lua_pcall(L, 2, 0, 0);
    if (check != LUA_OK)
      fprintf(stderr, "faults: request %ld (%s): %s\n", sw.n, msg, lua_tostring(L, -1));
    fflush(NULL);
    _exit(check != LUA_OK ? BROKEN : status == LUA_OK ? ABSORBED : RAISED);
  }
  if (status != LUA_OK) return lua_error(L);
  lua_pushinteger(L, sw.n);
  lua_pushinteger(L, sw.raised);
  lua_pushinteger(L, sw.absorbed);
  lua_pushinteger(L, sw.broken);
  lua_pushstring(L, sw.first);
  return 5;
}

static int live(lua_State *L) {
  lua_pushinteger(L, mt_live_tensors());
  lua_pushinteger(L, mt_live_bytes());
  return 2;
}

int luaopen_faults(lua_State *L) {
  static const luaL_Reg fns[] = {{"sweep", sweep}, {"live", live}, {NULL, NULL}};
  luaL_newlib(L, fns);
  return 1;
}
