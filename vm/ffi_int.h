/* ffi_int.h: what the files of the ffi module share: C values as Lua objects, and calls.
 *
 * Invariants.  A CData is either a pointer (type of kind CT_PTR: p is the address it holds) or a
 * reference to the bytes of an array, struct or union at p.  lo..hi are the bytes known to be good
 * (NULL: not known), and its first user value keeps their owner alive.  NULL is nil in Lua.  All of
 * a Lua state's C types live in its Ffi, which is collected last; errors of Lua never cross a C
 * frame that is not ours. */
#ifndef VM_FFI_INT_H
#define VM_FFI_INT_H
#include "ffi/ctype.h"
#include "vm.h"

typedef struct Ffi {
  CSpace *space;
  struct CBack *idle_first, *idle_last;    /* callbacks that were freed, in that order */
  int idle;
} Ffi;

typedef struct CData {
  const void *magic;
  CType *type;
  char *p, *lo, *hi;
  bool is_const;
} CData;
enum { CD_OWNER = 1, CD_ANCHORS = 2, CD_GC = 3 };            /* user values */

/* Where a value goes, for messages: "pow: argument 2", "struct point: member x". */
typedef struct Where { const char *what, *name; int arg; } Where;

Ffi *ffi_state(lua_State *L);
CData *ffi_todata(lua_State *L, int i);    /* NULL when it is none */
CData *ffi_check(lua_State *L, int i);
CType *ffi_type_at(lua_State *L, int i);   /* of C text, a type object, or a C value; raises */
CType *ffi_pointer_to(lua_State *L, CType *t, bool to_const);
void ffi_push_type(lua_State *L, CType *t);

/* ---- ffi_value.c ---- */
CData *ffi_new_owned(lua_State *L, CType *t, size_t size); /* zeroed memory of its own */
CData *ffi_push_pointer(lua_State *L, CType *ptr, void *address);      /* nil for NULL */
/* The value of type t at src; structs and arrays become references kept alive by the value at
 * owner (0: a copy). */
void ffi_push(lua_State *L, CType *t, void *src, bool is_const, int owner, const CData *bounds);
/* Writes the Lua value at i as a t to dst.  anchor: index of the CData that owns dst (0: none). */
void ffi_store(lua_State *L, int i, CType *t, void *dst, int anchor, const Where *w);
void ffi_fill(lua_State *L, CData *d, int self, int first, int n);     /* initialisers */
void ffi_open_values(lua_State *L);

/* ---- ffi_call.c ---- */
int ffi_invoke(lua_State *L, CType *fn, void *address, int first, const char *name);
void ffi_prepare(lua_State *L, CType *fn); /* raises when it cannot be called */
CData *ffi_push_callback(lua_State *L, CType *fn_ptr, int function);
int ffi_free_callback(lua_State *L);
void ffi_release_callbacks(Ffi *f);
int ffi_errno(lua_State *L);
#endif
