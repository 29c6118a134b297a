/* none.h: torch.None, the same value as json.null: a light userdata, hence equal in every Lua state
 * and free to make. */
#ifndef VM_NONE_H
#define VM_NONE_H
#include <lua.h>

extern char vm_none_tag;
void vm_pushnone(lua_State *L);
#define vm_isnone(L, i) (lua_touserdata(L, (i)) == (void *)&vm_none_tag)
#endif
