/* kernel.c: require "kernel.sockets": the notebook kernel's sockets (stdlib/kernel/zmq.c) for the
 * kernel written in Lua, and a file descriptor's catch of what C code prints.
 *
 *   local k = sockets.open{transport =, ip =, key =, shell =, control =, stdin =, iopub =,
 * heartbeat =} local channel, frames = k:receive{"shell", "control"}       -- nil when a signal
 * came k:send("iopub", frames)   k:busy(true)   k:ports()   k:close() */
#define _GNU_SOURCE
#include "kernel/zmq.h"
#include "host.h"
#include "vm.h"
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char kernel_name[] = "kernel.sockets";
static const char *const channels[] = {"shell", "control", "stdin", "iopub", "heartbeat", NULL};
typedef struct Box { kn_kernel *k; int ports[KN_CHANNELS]; } Box;

static kn_kernel *check_kernel(lua_State *L) {
  Box *b = luaL_checkudata(L, 1, kernel_name);
  if (!b->k) luaL_error(L, "the kernel's sockets are closed");
  return b->k;
}
static int k_close(lua_State *L) {
  Box *b = luaL_checkudata(L, 1, kernel_name);
  kn_close(b->k);
  b->k = NULL;
  return 0;
}

static int l_open(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  sys_err e = {{0}, 0};
  Box *b = lua_newuserdatauv(L, sizeof *b, 0);
  memset(b, 0, sizeof *b);
  luaL_setmetatable(L, kernel_name);
  for (int i = 0; channels[i]; i++) {
    lua_getfield(L, 1, channels[i]);
    b->ports[i] = (int)luaL_optinteger(L, -1, 0);
  }
  lua_getfield(L, 1, "transport");
  lua_getfield(L, 1, "ip");
  lua_getfield(L, 1, "key");
  int top = lua_gettop(L);
  b->k = kn_open(luaL_optstring(L, top - 2, "tcp"), luaL_optstring(L, top - 1, "127.0.0.1"),
                 b->ports, luaL_optstring(L, top, ""), &e);
  if (!b->k) return luaL_error(L, "%s", e.msg);
  vm_int_interactive(true);                /* an interrupt passes through pcall, as at the prompt */
  lua_pushvalue(L, 2);
  return 1;
}

static int k_ports(lua_State *L) {
  Box *b = luaL_checkudata(L, 1, kernel_name);
  lua_newtable(L);
  for (int i = 0; channels[i]; i++) {
    lua_pushinteger(L, b->ports[i]);
    lua_setfield(L, -2, channels[i]);
  }
  return 1;
}

/* receive(list of channels[, milliseconds]) -> channel, list of frames */
static int k_receive(lua_State *L) {
  kn_kernel *k = check_kernel(L);
  bool want[KN_CHANNELS] = {false};
  luaL_checktype(L, 2, LUA_TTABLE);
  int wait = (int)luaL_optinteger(L, 3, -1);
  for (lua_Integer i = 1; lua_rawgeti(L, 2, i) != LUA_TNIL; i++)
    want[luaL_checkoption(L, -1, NULL, channels)] = true;
  sys_err e = {{0}, 0};
  kn_message m = {NULL, 0};
  int channel = kn_receive(k, want[KN_SHELL], want[KN_CONTROL], want[KN_STDIN], wait, &m, &e);
  if (channel == -1) return luaL_error(L, "%s", e.msg);
  if (channel < 0) return 0;
  lua_pushstring(L, channels[channel]);
  lua_createtable(L, (int)m.n, 0);
  for (size_t i = 0; i < m.n; i++) {
    lua_pushlstring(L, (const char *)m.v[i].p, m.v[i].n);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  kn_message_free(&m);
  return 2;
}

static int k_send(lua_State *L) {
  kn_kernel *k = check_kernel(L);
  int channel = luaL_checkoption(L, 2, NULL, channels);
  kn_frame v[64];
  sys_err e = {{0}, 0};
  size_t n = 0;
  luaL_checktype(L, 3, LUA_TTABLE);
  luaL_checkstack(L, 70, NULL);
  for (; n < 64 && lua_rawgeti(L, 3, (lua_Integer)n + 1) != LUA_TNIL; n++)
    v[n].p = (uint8_t *)(uintptr_t)luaL_checklstring(L, -1, &v[n].n);
  if (channel == KN_HEARTBEAT || n == 0) return luaL_error(L, "send: nothing to send there");
  if (!kn_send(k, channel, v, n, &e)) return luaL_error(L, "%s", e.msg);
  return 0;
}
static int k_busy(lua_State *L) {
  kn_busy(check_kernel(L), lua_toboolean(L, 2));
  return 0;
}

/* ---- what C code and child processes print ---- */
static int caught = -1;
static off_t taken;
/* catch(): standard output and errors go to memory from now on; -> the real standard error's
 * descriptor */
static int l_catch(lua_State *L) {
  if (caught >= 0) return 0;
  fflush(stdout);
  int err = dup(2);
  caught = memfd_create("moth-output", MFD_CLOEXEC);
  if (caught < 0 || err < 0) return luaL_error(L, "cannot catch standard output");
  dup2(caught, 1);
  dup2(caught, 2);
  lua_pushinteger(L, err);
  return 1;
}
/* caught() -> what came since */
static int l_caught(lua_State *L) {
  luaL_Buffer b;
  fflush(stdout);
  fflush(stderr);
  luaL_buffinit(L, &b);
  for (ssize_t n = 1; caught >= 0 && n > 0;) {
    char *p = luaL_prepbuffsize(&b, 4096);
    n = pread(caught, p, 4096, taken);
    if (n > 0) luaL_addsize(&b, (size_t)n), taken += n;
  }
  if (taken > 1 << 20 && ftruncate(caught, 0) == 0) { /* start over, so that memory stays small */
    lseek(caught, 0, SEEK_SET);
    taken = 0;
  }
  luaL_pushresult(&b);
  return 1;
}

int luaopen_kernel_sockets(lua_State *L) {
  static const luaL_Reg methods[] = {{"receive", k_receive}, {"send", k_send},   {"busy", k_busy},
                                     {"ports", k_ports},     {"close", k_close}, {NULL, NULL}};
  static const luaL_Reg fns[] = {
      {"open", l_open}, {"catch", l_catch}, {"caught", l_caught}, {NULL, NULL}};
  luaL_newmetatable(L, kernel_name);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, k_close);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  luaL_newlib(L, fns);
  return 1;
}
