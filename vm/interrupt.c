/* interrupt.c: Ctrl-C.  The handler sets a flag for C code and a hook for Lua code.
 *
 * Lua's hooks belong to one coroutine, so the one that runs is remembered (baselib.c's resume
 * keeps it right); the hook raises the error there, resume passes it on.  lua_sethook is the one
 * call that Lua allows from a handler. */
#include "host.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

static lua_State *volatile running;
static volatile sig_atomic_t unanswered;   /* presses since the last answer */
static bool interactive, passing;

static void hook(lua_State *L, lua_Debug *ar) {
  (void)ar;
  lua_sethook(L, NULL, 0, 0);
  if (mt_interrupted) vm_raise_interrupt(L, NULL);
}

static void on_sigint(int sig) {
  (void)sig;
  mt_interrupted = 1;
  if (running)
    lua_sethook(running, hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
  /* A script deaf to two presses can be killed by a third; a session never dies of it. */
  if (!interactive && ++unanswered > 2) signal(SIGINT, SIG_DFL);
}

void vm_int_install(lua_State *L) {
  struct sigaction sa;
  memset(&sa, 0, sizeof sa);
  sa.sa_handler = on_sigint;               /* no SA_RESTART: a blocked read must return */
  sigemptyset(&sa.sa_mask);
  running = L;
  sigaction(SIGINT, &sa, NULL);
}

lua_State *vm_int_running(void) { return running; }
void vm_int_interactive(bool on) { interactive = on; }
bool vm_int_passing(void) { return passing && interactive; }

void vm_int_settle(lua_State *L) {
  mt_interrupted = 0;
  unanswered = 0;
  passing = false;
  running = L;
  if (lua_gethook(L) == hook) lua_sethook(L, NULL, 0, 0);
}

lua_State *vm_int_enter(lua_State *L) {
  lua_State *before = running;
  running = L;
  return before;
}

void vm_int_answered(lua_State *L) {
  mt_interrupted = 0;
  unanswered = 0;
  passing = true;
  if (lua_gethook(L) == hook) lua_sethook(L, NULL, 0, 0);
}

int vm_raise_interrupt(lua_State *L, const char *what) {
  vm_int_answered(L);
  if (what) return luaL_error(L, "%s: interrupted", what);
  return luaL_error(L, "interrupted!");
}
