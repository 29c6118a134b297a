/* host.h: the program around Lua: command line, interrupts, embedded modules, polling library
 * functions, terminal.
 *
 * Invariants.  mt_interrupted is set by SIGINT and cleared only by whoever raises the Lua error
 * for it (vm_raise_interrupt), so that one key press stops one thing.  At the prompt that error
 * passes through every pcall of the user's code; in a script pcall catches it as it does in lua.
 * Nothing here runs before it is needed: a start costs Lua's own libraries and a few closures. */
#ifndef VM_HOST_H
#define VM_HOST_H
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdbool.h>
#include "base.h"

/* ---- open.c ---- */
void vm_openlibs(lua_State *L);   /* Lua's libraries and torch's, the globals torch, nn, F, optim */
void vm_open_torch(lua_State *L); /* torch's modules alone; pushes torch and sets no global */

/* ---- interrupt.c ---- */
void vm_int_install(lua_State *L);         /* SIGINT from now on interrupts the Lua code run by L */
void vm_int_interactive(bool on);          /* on: an interrupt passes through pcall */
bool vm_int_passing(void);                 /* an interrupt's error is on its way to the prompt */
void vm_int_settle(lua_State *L);          /* at the prompt: forget what was pending */
/* L runs now; returns who ran before, to be entered again after */
lua_State *vm_int_enter(lua_State *L);
lua_State *vm_int_running(void); /* the coroutine that runs; NULL before the program starts */
/* who raises an error of their own for an interrupt calls this first */
void vm_int_answered(lua_State *L);
/* "interrupted!", or "WHAT: interrupted" */
int vm_raise_interrupt(lua_State *L, const char *what);
static inline void vm_poll(lua_State *L) {
  if (__builtin_expect(mt_interrupted, 0)) vm_raise_interrupt(L, NULL);
}

/* ---- tensor.c ---- */
/* A protected call remembers which C calls were under way; when it fails, tensors still owned by
 * those that Lua's error has left (a lack of memory passes through any of them) are released. */
typedef struct VmMark { const void *op; int scopes, busy; } VmMark;
VmMark vm_mark(lua_State *L);
void vm_unwind(lua_State *L, VmMark m);

/* ---- baselib.c, strings.c, tables.c: our own versions of library functions, put over Lua's
 * ---- */
void vm_open_base(lua_State *L, bool bytecode);
#define VM_CATCH_ALL "moth.xpcall"         /* registry: an xpcall that stops interrupts too */
void vm_open_strings(lua_State *L);
void vm_open_tables(lua_State *L);
/* mode with binary chunks taken out unless allowed */
const char *vm_load_mode(lua_State *L, const char *mode);

/* ---- embed.c: the standard library inside the binary ---- */
typedef struct { const char *name; const char *data; size_t size; } VmEmbedded;
extern const VmEmbedded vm_embedded[];     /* sorted by name: "repl/init.lua"; made by embed.lua */
extern const size_t vm_embedded_count;
void vm_open_embedded(lua_State *L);       /* its searcher comes before the file system's */

/* ---- profile.c ---- */
int vm_open_profile(lua_State *L);         /* loader of "moth.profile" */

/* ---- sandbox.c ---- */
void vm_enter_sandbox(lua_State *L);       /* after the libraries, before any of the user's code */

/* ---- repl.c: the prompt without a terminal; term.c: the module "moth.term" ---- */
int vm_plain_repl(lua_State *L);           /* what `lua -i` does on pipes */
int vm_open_term(lua_State *L);            /* loader of "moth.term" */

/* ---- report.c ---- */
int vm_docall(lua_State *L, int narg, int nres);           /* protected call with a traceback */
int vm_report(lua_State *L, int status);                   /* prints the error on top, if any */
extern const char *vm_progname;
/* msg, with the module whose forward is running added unless it names one; module.c */
const char *vm_name_layer(lua_State *L, const char *msg);
/* The interpreter with its own memory (state.c). */
lua_State *vm_new_state(void);
#endif
