/* vm_print.h: tostring(tensor) for the metatable, and torch.set_printoptions. */
#ifndef VM_PRINT_H
#define VM_PRINT_H
#include "vm.h"

int vm_tensor_tostring(lua_State *L);
void vm_open_print(lua_State *L,
                   int torch); /* set_printoptions, get_printoptions into table torch */
extern const char *(*vm_grad_fn_name)(
    Tensor *t); /* name of a tensor's node or NULL; set by autograd's binding */
#endif
