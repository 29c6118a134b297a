/* tensor.c: tensors as Lua objects: boxes, identity, collection, error exit. */
#include "vm.h"
#include "host.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char vm_tensor_magic = 0;
static const char meta_key = 0, box_key = 0, ctx_key = 0;

/* In our own program every coroutine inherits the context from the main one; a host may have made
 * coroutines before it loaded us, so there the registry is asked. */
static bool hosted;
void vm_set_hosted(void) { hosted = true; }
static Ctx *hosted_ctx(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &ctx_key);
  Ctx *c = *(Ctx **)lua_touserdata(L, -1);
  lua_pop(L, 1);
  return c;
}
Ctx *vm_ctx(lua_State *L) {
  if (__builtin_expect(hosted, 0)) return hosted_ctx(L);
  return *(Ctx **)lua_getextraspace(L);
}

VmMark vm_mark(lua_State *L) {
  Ctx *c = vm_ctx(L);
  return (VmMark){c->op, c->npool, c->busy};
}
void vm_unwind(lua_State *L, VmMark m) {
  Ctx *c = vm_ctx(L);
  mt_clear(c);
  c->op = m.op;
  c->busy = m.busy;
  mt_leave(c, m.scopes);
}

/* The line of the script that led here: that of the innermost Lua function outside the embedded
 * library. */
void vm_where(lua_State *L) {
  lua_Debug ar;
  for (int level = 1; level < 200 && lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "Sl", &ar);
    if (ar.currentline > 0 && strncmp(ar.source, "@<moth>/", 8)) {
      lua_pushfstring(L, "%s:%d: ", ar.short_src, ar.currentline);
      return;
    }
  }
  luaL_where(L, 1);
}

_Noreturn void vm_raise(lua_State *L, Ctx *c, Scope s) {
  vm_where(L);
  lua_pushstring(L, c->msg[0] ? c->msg : "unknown error");
  bool interrupted = c->err == MT_INTERRUPTED;
  mt_clear(c);
  if (!interrupted) { vm_push_layer(L, c); lua_insert(L, -2); mt_clear(c); }
  lua_concat(L, interrupted ? 2 : 3);
  mt_leave(c, s);
  if (interrupted) vm_int_answered(L);
  lua_error(L);
  abort();
}

int vm_leave(lua_State *L, Ctx *c, Scope s, int n) {
  if (c->err) vm_raise(L, c, s);
  mt_leave(c, s);
  return n;
}

void vm_push_tensor_meta(lua_State *L) { lua_rawgetp(L, LUA_REGISTRYINDEX, &meta_key); }

/* ---- the collector hears of C bytes ----
 * An op calls before it allocates, when the last op's discarded result is no longer on Lua's stack:
 * a young step there (0.2 us) hands its memory to the next result, which finds it in the cache.
 * Whoever pushes a tensor calls too, with a longer leash, since a step while values are on the
 * stack makes them old.  Old garbage goes with a full collection for each SLACK, and after many
 * young steps: small models leave little of it, but for ever. */
enum { BEFORE_BYTES = 3 << 20, PUSHED_BYTES = 24 << 20, YOUNG_STEPS = 100 };
#define SLACK ((int64_t)32 << 20)
static int64_t last_live, after_full;
static int young;
static void collect(lua_State *L, int64_t live, int64_t leash) {
  if (live < last_live) last_live = live;
  if (live - last_live < leash) return;
  if (live - after_full > SLACK || ++young >= YOUNG_STEPS) {
    lua_gc(L, LUA_GCCOLLECT);
    after_full = mt_live_bytes();
    young = 0;
  } else lua_gc(L, LUA_GCSTEP, 0);
  last_live = mt_live_bytes();
  if (last_live < after_full) after_full = last_live;
}
void vm_gc_before(lua_State *L) { collect(L, mt_live_bytes(), BEFORE_BYTES); }

void vm_pushtensor(lua_State *L, Tensor *t) {
  if (!t) { lua_pushnil(L); return; }
  if (t->box) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &box_key);
    if (lua_rawgetp(L, -1, t) == LUA_TUSERDATA) { lua_remove(L, -2); return; }
    lua_pop(L, 2);
  }
  TBox *b = lua_newuserdatauv(L, sizeof *b, 0);
  b->magic = &vm_tensor_magic;
  b->t = mt_retain(t);
  t->box = b;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &meta_key);
  lua_setmetatable(L, -2);
  if (t->ref > 2 || (t->flags & MT_REQ_GRAD && !t->ag))
    vm_keep(L, -1); /* C holds it, or will (a leaf): it may be pushed again */
  collect(L, mt_live_bytes(), PUSHED_BYTES);
}

void vm_keep(lua_State *L, int i) {
  TBox *b = lua_touserdata(L, i);
  i = lua_absindex(L, i);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &box_key);
  lua_pushvalue(L, i);
  lua_rawsetp(L, -2, b->t);
  lua_pop(L, 1);
}

static int box_gc(lua_State *L) {
  TBox *b = lua_touserdata(L, 1);
  Tensor *t = b->t;
  b->t = NULL;
  if (!t) return 0;
  if (t->box == b) t->box = NULL;
  mt_release(t);
  return 0;
}

Tensor *vm_checktensor(lua_State *L, int i) {
  Tensor *t = vm_totensor(L, i);
  if (!t) luaL_typeerror(L, i, "Tensor");
  return t;
}

static int ctx_gc(lua_State *L) {
  Ctx **owner = lua_touserdata(L, 1);
  mt_ctx_free(*owner);
  *owner = NULL;
  return 0;
}

int vm_open_tensor(lua_State *L);
int vm_open_tensor(lua_State *L) {
  Ctx *c = mt_ctx_new();
  if (!c) return luaL_error(L, "not enough memory");
  *(Ctx **)lua_getextraspace(L) = c;
  Ctx **owner = lua_newuserdatauv(L, sizeof *owner, 0);    /* made first, so collected last */
  *owner = c;
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, ctx_gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &ctx_key);
  lua_newtable(L);
  lua_pushcfunction(L, box_gc);
  lua_setfield(L, -2, "__gc");
  lua_pushliteral(L, "Tensor");
  lua_setfield(L, -2, "__name");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &meta_key);
  lua_newtable(L);
  lua_newtable(L);
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &box_key);
  return 0;
}
