/* vm_autograd.h: what the binding files of autograd share: Lua values that C keeps, call-backs,
 * nodes, lists of tensors.
 *
 * Invariant: a Lua error inside a call-back becomes the context's error with its own text; nothing
 * jumps through the walk. */
#ifndef VM_AUTOGRAD_H
#define VM_AUTOGRAD_H
#include "autograd.h"
#include "vm.h"

typedef struct { lua_State *L; int ref; } LuaRef;
LuaRef *vm_ref_new(lua_State *L, int i);
void vm_ref_free(void *ref);
lua_State *vm_ref_push(
    const LuaRef *r); /* pushed on the running coroutine, which is returned; NULL without memory */
bool vm_call_back(Ctx *c, lua_State *L, int nargs, int nres);
void vm_push_node(lua_State *L, AgNode *n);
AgNode *vm_check_node(lua_State *L, int i);
/* A tensor or a list of tensors (None allowed where `none`) at i. */
int vm_tensors_at(lua_State *L, Ctx *c, int i, Tensor ***out, bool none, const char *what);
const char *vm_script_line(void); /* "script.lua:12" of the line that runs, NULL when unknown */
uint32_t vm_site(void);                    /* a number for that line, 0 when unknown */
const char *vm_site_name(uint32_t site);
int vm_node_saved_tensors(lua_State *L);
void vm_open_nodes(lua_State *L, int space);
void vm_open_custom(lua_State *L, int space);
#endif
