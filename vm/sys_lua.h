/* sys_lua.h: what the two halves of the Lua module `sys` share. */
#ifndef VM_SYS_LUA_H
#define VM_SYS_LUA_H
#include <lauxlib.h>
#include <lua.h>
#include "sys/sys.h"

int luaopen_sys(lua_State *L);
int sys_lua_fail(lua_State *L, const sys_err *e);     /* pushes nil, message, errno */
int sys_lua_spawn(lua_State *L);
int sys_lua_run(lua_State *L);
int sys_lua_fork(lua_State *L);
void sys_lua_proc_init(lua_State *L);                  /* the process object's metatable */
#endif
