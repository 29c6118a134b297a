/* module.h: nn.Module's objects, for the files of vm/ that bind them (module.c has the invariants).
 */
#ifndef VM_MODULE_H
#define VM_MODULE_H
#include <lauxlib.h>
#include <lua.h>
#include "nn.h"

extern const char vm_hook_call_key;        /* registry: the function around a hooked forward */
/* in the registry: fn(module, kind, name, value) -> value, or nil */
extern const char vm_registration_key;
extern bool vm_hooks_everywhere;       /* are there hooks around the forward of every module? */
extern const char vm_forward_names_key; /* registry: forward function -> names of its arguments */
NnModule *vm_tomodule(lua_State *L, int i);                   /* NULL: no module */
NnModule *vm_checkmodule(lua_State *L, int i);
void vm_push_module(lua_State *L, NnModule *m);               /* its one object; nil for NULL */
const char *vm_module_name(lua_State *L, int i);              /* the class's name */
void vm_module_new(lua_State *L, int cls); /* pushes an object of the class, without init */
void vm_push_module_class(lua_State *L);
/* fields[name] = value (0: nil); the module is at 1, indices are absolute. */
void vm_module_field(lua_State *L, int name, int value);
/* nn.Buffer: whether the value at v was made by it, and then if it is persistent. */
bool vm_module_is_buffer(lua_State *L, int v, bool *persistent);
void vm_module_mark_buffer(lua_State *L, int v, bool persistent);
/* Registers the value at v under the name at k, and sets the field; the module is at 1. */
void vm_module_put_tensor(lua_State *L, NnModule *m, NnKind kind, int k, int v, bool persistent);
void vm_module_put_child(lua_State *L, NnModule *m, int k, int v);
/* Arguments after self, by position or by a trailing table of keywords, in the order of names. */
void vm_spread(lua_State *L, const char *fn, const char *const *names);
bool vm_flag(lua_State *L, int i, bool dflt);
/* module_order.c */
void vm_module_made_param(const Tensor *t);                /* by nn.Parameter */
/* the last entry of kind k is new and came from `self.name = value` */
void vm_module_in_order(lua_State *L, NnModule *m, NnKind k);
#endif
