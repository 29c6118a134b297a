/* state.c: a new interpreter: its memory, and what it says when something is wrong.
 *
 * A tensor's handle, a closure, a small table: a script makes and drops them by the million, so
 * blocks of up to SMALL bytes come from free lists by size, cut from slabs that live as long as the
 * process.  Lua tells the size when it frees, so blocks carry no header.  Larger blocks are libc's;
 * so are all in a sanitizer build, which wants to see each one. */
#include "host.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef MT_SAN
enum { UNIT = 16, SMALL = 256, SLAB = 32768 };
typedef struct Block { struct Block *next; } Block;
typedef struct Pool { Block *free[SMALL / UNIT + 1]; char *at, *end; } Pool;

static size_t class_of(size_t n) { return (n + UNIT - 1) / UNIT; }

static void *take(Pool *p, size_t n) {
  size_t k = class_of(n);
  Block *b = p->free[k];
  if (b) { p->free[k] = b->next; return b; }
  if ((size_t)(p->end - p->at) < k * UNIT) {
    char *slab = malloc(SLAB); /* what is left of the last one is lost: less than one block */
    if (!slab) return NULL;
    p->at = slab;
    p->end = slab + SLAB;
  }
  p->at += k * UNIT;
  return p->at - k * UNIT;
}
static void give(Pool *p, void *v, size_t n) {
  Block *b = v;
  size_t k = class_of(n);
  b->next = p->free[k];
  p->free[k] = b;
}

static void *pooled(void *ud, void *old, size_t was, size_t n) {
  Pool *p = ud;
  if (!old) return n == 0 ? NULL : n <= SMALL ? take(p, n) : malloc(n);
  bool small = was <= SMALL;
  if (n == 0) {
    if (small) give(p, old, was); else free(old);
    return NULL;
  }
  if (small ? class_of(was) == class_of(n) : n > SMALL) return small ? old : realloc(old, n);
  void *v = n <= SMALL ? take(p, n) : malloc(n);
  if (!v) return NULL;
  memcpy(v, old, was < n ? was : n);
  if (small) give(p, old, was); else free(old);
  return v;
}

/* warn(): off until "@on"; a message may come in pieces. */
static void warning(void *ud, const char *text, int more) {
  static bool on, inside;
  (void)ud;
  if (!inside && !more && *text == '@') {
    if (!strcmp(text, "@on")) on = true;
    else if (!strcmp(text, "@off")) on = false;
    return;
  }
  if (on) {
    fprintf(stderr, "%s%s%s", inside ? "" : "Lua warning: ", text, more ? "" : "\n");
    fflush(stderr);
  }
  inside = more;
}

static int panic(lua_State *L) {
  const char *m = lua_tostring(L, -1);
  fprintf(stderr, "moth: an error outside of every protected call: %s\n", m ? m : "(no message)");
  return 0;
}
#endif

lua_State *vm_new_state(void) {
#ifdef MT_SAN
  return luaL_newstate();
#else
  static Pool pool; /* one: a second state of the process would share it without a lock */
  static bool taken;
  if (taken) return luaL_newstate();
  taken = true;
  lua_State *L = lua_newstate(pooled, &pool);
  if (!L) return NULL;
  lua_atpanic(L, panic);
  lua_setwarnf(L, warning, NULL);
  return L;
#endif
}
