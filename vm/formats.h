/* formats.h: between lists of tensors (stdlib/formats) and Lua.
 *
 * Invariants.  A Held owns what a reader gave: mapping, buffers, names.  Every storage made from it
 * holds a count, so the file stays mapped as long as one of its tensors lives, and no longer.  A
 * writer's list borrows from tensors that the open scope owns. */
#ifndef VM_FORMATS_H
#define VM_FORMATS_H
#include "vm.h"
#include "formats/fmt.h"

typedef struct Held {
  int refs;
  fmt_list list;
  Storage **shared;              /* by fmt_tensor.storage: made already, counted; NULL: none yet */
  int64_t nshared;
} Held;

Held *vm_held_push(lua_State *L); /* a userdata that owns a new, empty one */
/* The tensor of one entry: over the file's bytes where type, alignment and byte order allow, else a
 * converted copy (uint16 and uint32 widen, 8-bit floats become float32, quantised blocks are
 * unpacked). */
Tensor *vm_held_tensor(Ctx *c, Held *h, const fmt_tensor *t);
/* Pushes an ordered table name -> tensor of all entries. */
void vm_push_tensors(lua_State *L, Held *h);
const char *vm_check_path(lua_State *L, int i);

/* ---- writing ---- */
/* Fills t from a tensor: contiguous, its flags resolved; `what` names it in errors. */
bool vm_describe(Ctx *c, Tensor *x, fmt_tensor *t, Held *h, const char *what);
/* A list of all tensors of the table at i (name -> tensor, or a list: arr_0, arr_1, ...). */
void vm_collect(lua_State *L, Ctx *c, int i, Held *h, const char *fn);
/* Raises e's message (closing the scope first) unless it is empty. */
void vm_check_saved(lua_State *L, Ctx *c, Scope s, const sys_err *e);

void vm_open_files(lua_State *L,
                   int torch); /* torch.save, torch.load, torch.utils.data on demand */
int luaopen_safetensors(lua_State *L);
int luaopen_npy(lua_State *L);
int luaopen_gguf(lua_State *L);
int luaopen_audio(lua_State *L);
int luaopen_image(lua_State *L);
void vm_load_checkpoint(lua_State *L, const char *path);   /* pushes the value of a .pt file */
void vm_save_checkpoint(lua_State *L, int value, const char *path);
#endif
