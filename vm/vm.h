/* vm.h: the binding's common ground: tensors as Lua objects, errors out of the context, argument
 * parsing by schema.
 *
 * Invariants.  A box (userdata) holds one counted reference to its tensor and is the tensor's only
 * box while it lives (Tensor.box points to it).  Every C function that calls the engine opens a
 * scope and leaves it through vm_leave, which raises the context's error after the scope is closed.
 * Only vm/ sees lua.h. */
#ifndef VM_VM_H
#define VM_VM_H
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include "none.h"
#include "op.h"

typedef struct TBox { const void *magic; Tensor *t; } TBox;
extern const char vm_tensor_magic;

Ctx *vm_ctx(lua_State *L);
void vm_set_hosted(void);                  /* this process is a host's, not our own program */
/* Closes the scope; raises the context's error, if any, else returns n. */
int vm_leave(lua_State *L, Ctx *c, Scope s, int n);
void vm_where(lua_State *L);                             /* pushes "script.lua:12: " */
_Noreturn void vm_raise(lua_State *L, Ctx *c, Scope s);

static inline Tensor *vm_totensor(lua_State *L, int i) {
  TBox *b = lua_touserdata(L, i);
  return b && lua_type(L, i) == LUA_TUSERDATA && lua_rawlen(L, i) == sizeof(TBox) &&
                 b->magic == &vm_tensor_magic
             ? b->t
             : NULL;
}
Tensor *vm_checktensor(lua_State *L, int i);             /* raises naming argument i */
void vm_pushtensor(lua_State *L, Tensor *t);             /* nil for NULL; the box retains */
void vm_keep(lua_State *L, int i); /* C keeps the tensor of box i: its box can be found again */
void vm_push_tensor_meta(lua_State *L);

/* ---- values ---- */
void vm_pushscalar(lua_State *L,
                   Scalar s); /* boolean, integer, float, or a complex number object */
bool vm_toscalar(lua_State *L, int i,
                 Scalar *s); /* numbers, booleans, complex objects; no tensors */
void vm_pushdtype(lua_State *L, DType d);
int vm_todtype(lua_State *L, int i);                     /* -1 when it is none */
void vm_pushdevice(lua_State *L, int device);
int vm_todevice(lua_State *L, int i);                    /* -1 when it is none */
void vm_pushconst(lua_State *L, const char *kind, const char *name,
                  int value);                            /* memory formats, layouts */
int vm_toconst(lua_State *L, int i, const char *kind);   /* -1 when it is none */
void vm_pushsize(lua_State *L, const int64_t *v, int64_t n);                      /* torch.Size */
bool vm_issize(lua_State *L, int i);
void vm_size_values(lua_State *L, int i);                /* pushes the Size's plain 1-based list */
/* An integer from an integer, a float with an integer value, or a one-element integer tensor. */
bool vm_toint(lua_State *L, int i, int64_t *v);
/* A list of integers from a table, a Size; values in context scratch memory. */
bool vm_tointlist(lua_State *L, Ctx *c, int i, IntList *l);

/* ---- random generators (random.c) ---- */
const char *vm_togenerator(lua_State *L,
                           int i); /* an op's generator argument; NULL when it is none */
bool vm_isdefaultgenerator(lua_State *L,
                           int i); /* torch.default_generator, which stands for no argument */
void vm_open_random(lua_State *L, int torch); /* manual_seed, Generator, ... into the torch table */

/* Edits between two names, for "did you mean"; 99 where they are long. */
size_t vm_distance(const char *a, const char *b);

/* ---- ops ---- */
void vm_open_ops(lua_State *L,
                 int torch); /* binds every row under torch and into the method table */
void vm_push_methods(lua_State *L);                      /* name -> function */
void vm_push_attrs(lua_State *L);                        /* name -> getter(self) */
Tensor *vm_build_tensor(lua_State *L, Ctx *c, int i,
                        int dtype); /* nested lists, numbers -> tensor */
Tensor *vm_index(lua_State *L, Ctx *c, Tensor *x, int key);        /* x[key], key at stack index */
void vm_setindex(lua_State *L, Ctx *c, Tensor *x, int key, int value);
void vm_open_queries(lua_State *L, int torch); /* questions to tensors, members in Lua */
int vm_default_device(lua_State *L);     /* of tensors made without a device */
void vm_open_lazy(lua_State *L, int torch); /* names that load when asked for (lazy.c) */
void vm_bar_lazy(lua_State *L, const char *name);
void vm_gc_before(lua_State *L); /* before an op allocates: frees what the last ones left */

/* ---- modules (module.c) ---- */
void vm_open_nn(lua_State *L, int torch);
int luaopen_nn_core(lua_State *L);
void vm_push_layer(lua_State *L,
                   Ctx *c); /* "in encoder.layer.0 (Linear): " inside a forward, else "" */
/* The function on top becomes the op's Lua function: it reads arguments by row's schema (id < 0),
 * then calls what was on top with them.  The value at owner keeps row and shown alive. */
void vm_push_user_op(lua_State *L, const OpRow *row, const char *shown, int owner);
void vm_open_library(lua_State *L, int torch); /* torch.library, torch.ops, torch.utils.dlpack */

void vm_open_amp(lua_State *L, int torch);               /* torch.autocast, torch.amp */
void vm_open_optim(lua_State *L, int torch); /* torch.optim, which loads when first used */

int luaopen_sys(lua_State *L);
int luaopen_json(lua_State *L);
int luaopen_moth_ops(lua_State *L);
int luaopen_tokenizers_core(lua_State *L);
int luaopen_ffi(lua_State *L);
int luaopen_plot_raster(lua_State *L);
int luaopen_kernel_sockets(lua_State *L);
#endif
