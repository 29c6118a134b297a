/* profile.c: the module "moth.profile": time by op, counted through the core's observer.
 *
 * start() begins, stop() ends and returns the rows and, when asked for, the events of a trace.
 * The observer is called on the interpreter's thread around every kernel; nested ops keep a
 * stack, so that self time excludes what was called. */
#include "host.h"
#include "op.h"
#include <time.h>

enum { DEPTH = 128 };
typedef struct { int64_t calls; double total, self; } Row;
typedef struct { int op; double from, took; } Event;

static struct {
  Row *rows;
  Event *events;
  int64_t nevents, cap;                    /* cap: events wanted at most */
  int depth;
  struct { int op; double from, inner; } open[DEPTH];
  double began;
} P;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void observe(Ctx *c, const OpRow *op, int begin) {
  (void)c;
  double t = now();
  if (begin) {
    if (P.depth < DEPTH) {
      P.open[P.depth].op = op->id;
      P.open[P.depth].from = t;
      P.open[P.depth].inner = 0;
    }
    P.depth++;
    return;
  }
  if (P.depth == 0 || --P.depth >= DEPTH) return;
  double took = t - P.open[P.depth].from;
  Row *r = &P.rows[P.open[P.depth].op];
  r->calls++;
  r->total += took;
  r->self += took - P.open[P.depth].inner;
  if (P.depth > 0) P.open[P.depth - 1].inner += took;
  if (P.nevents < P.cap)
    P.events[P.nevents++] = (Event){P.open[P.depth].op, P.open[P.depth].from - P.began, took};
}

static void forget(void) {
  mt_op_observer = NULL;
  mt_free(P.rows);
  mt_free(P.events);
  P.rows = NULL;
  P.events = NULL;
  P.nevents = P.cap = P.depth = 0;
}

/* start([events]): begins; keeps that many events for a trace */
static int l_start(lua_State *L) {
  lua_Integer cap = luaL_optinteger(L, 1, 0);
  luaL_argcheck(L, cap >= 0 && cap <= 100000000, 1, "a number of events");
  forget();
  P.rows = mt_calloc(sizeof(Row) * (size_t)(mt_nops + 1));
  P.events = cap ? mt_malloc(sizeof(Event) * (size_t)cap) : NULL;
  if (!P.rows || (cap && !P.events)) {
    forget();
    return luaL_error(L, "not enough memory");
  }
  P.cap = cap;
  P.began = now();
  mt_op_observer = observe;
  return 0;
}

static void push_rows(lua_State *L) {
  lua_newtable(L);
  lua_Integer n = 0;
  for (int i = 0; P.rows && i < mt_nops; i++) {
    if (!P.rows[i].calls) continue;
    lua_createtable(L, 0, 4);
    lua_pushstring(L, mt_ops[i].name);
    lua_setfield(L, -2, "name");
    lua_pushinteger(L, P.rows[i].calls);
    lua_setfield(L, -2, "calls");
    lua_pushnumber(L, P.rows[i].total);
    lua_setfield(L, -2, "total");
    lua_pushnumber(L, P.rows[i].self);
    lua_setfield(L, -2, "self");
    lua_rawseti(L, -2, ++n);
  }
}

/* stop() -> rows {name, calls, total, self}, events {name, from, took}, seconds */
static int l_stop(lua_State *L) {
  double seconds = P.rows ? now() - P.began : 0;
  mt_op_observer = NULL;
  push_rows(L);
  lua_createtable(L, (int)P.nevents, 0);
  for (int64_t i = 0; i < P.nevents; i++) {
    lua_createtable(L, 3, 0);
    lua_pushstring(L, mt_ops[P.events[i].op].name);
    lua_rawseti(L, -2, 1);
    lua_pushnumber(L, P.events[i].from);
    lua_rawseti(L, -2, 2);
    lua_pushnumber(L, P.events[i].took);
    lua_rawseti(L, -2, 3);
    lua_rawseti(L, -2, i + 1);
  }
  forget();
  lua_pushnumber(L, seconds);
  return 3;
}

int vm_open_profile(lua_State *L) {
  static const luaL_Reg fns[] = {{"start", l_start}, {"stop", l_stop}, {NULL, NULL}};
  luaL_newlib(L, fns);
  return 1;
}
