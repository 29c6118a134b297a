/* rock.c: Moth as a C module of a plain lua5.4: `local torch = require "moth"`.
 *
 * Invariant: no global of the host is set and none of its functions is replaced.  What comes: the
 * modules torch, safetensors, json, sys, ... by require under the names that they have in our own
 * program, and generational collection.  What does not: the prompt, the sandbox and Ctrl-C inside
 * an op, which belong to a program that owns its signals. */
#include "host.h"
#include "vm.h"

int luaopen_moth(lua_State *L);
int luaopen_moth(lua_State *L) {
  luaL_checkversion(L);
  vm_set_hosted();
  vm_open_embedded(L);
  vm_open_torch(L);
  return 1;
}
