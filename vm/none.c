/* none.c: the value None.  The first push in a state gives light userdata a metatable, so that it
 * prints as None; any other light userdata keeps Lua's text. */
#include "none.h"
#include <lauxlib.h>

char vm_none_tag;

static int none_tostring(lua_State *L) {
  if (vm_isnone(L, 1)) lua_pushliteral(L, "None");
  else lua_pushfstring(L, "userdata: %p", lua_topointer(L, 1));
  return 1;
}

void vm_pushnone(lua_State *L) {
  lua_pushlightuserdata(L, &vm_none_tag);
  if (lua_getmetatable(L, -1)) {
    lua_pop(L, 1);
    return;
  }
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, none_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_setmetatable(L, -2);
}
