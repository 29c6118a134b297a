/* ordered.h: tables whose pairs follow the order in which keys came: JSON objects, checkpoints,
 * state dictionaries.
 *
 * The metatable of such a table is its own list of keys; the list part holds keys only, so no key
 * of a file can become a metamethod.  New keys join at the end, removed ones are skipped, # counts.
 */
#ifndef VM_ORDERED_H
#define VM_ORDERED_H
#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>

/* Pushes a table and its list of keys (room for n); while both are open, put fills them; close
 * leaves the table alone. */
void vm_ordered_open(lua_State *L, int n);
/* Key and value are on the top, popped; slot: the table's index (the list follows it); n: keys so
 * far.  A repeated key keeps its place and takes the new value.  Returns the new count. */
lua_Integer vm_ordered_put(lua_State *L, int slot, lua_Integer n);
void vm_ordered_close(lua_State *L, int slot);
bool vm_is_ordered(lua_State *L, int i);
/* Pushes the list of table t's keys in writing order: as its __pairs gives them, else numbers and
 * then strings, sorted, so that equal tables give equal files.  Returns their count; keys of other
 * types raise. */
lua_Integer vm_keys(lua_State *L, int t);
#endif
