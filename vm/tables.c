/* tables.c: table.sort, concat and move that answer Ctrl-C; the rest of the table library is
 * Lua's.
 *
 * Sort is quicksort down to short runs, the shorter side first on the C stack (so depth is at
 * most log2 n), the pivot a median of three; a comparison function that contradicts itself is an
 * error, never an access outside the table. */
#include "host.h"
#include <limits.h>
#include <string.h>

/* A table, or something whose metatable has what the operation needs. */
static void check_table(lua_State *L, int arg, bool read, bool write, bool length) {
  if (lua_type(L, arg) == LUA_TTABLE) return;
  const char *const need[3] = {read ? "__index" : NULL, write ? "__newindex" : NULL,
                               length ? "__len" : NULL};
  bool ok = lua_getmetatable(L, arg);
  for (int i = 0; ok && i < 3; i++)
    if (need[i]) {
      lua_pushstring(L, need[i]);
      ok = lua_rawget(L, -2) != LUA_TNIL;
      lua_pop(L, 1);
    }
  if (!ok) luaL_checktype(L, arg, LUA_TTABLE);
  lua_pop(L, 1);
}

/* ---- concat ---- */
static void add_field(lua_State *L, luaL_Buffer *b, lua_Integer i) {
  lua_geti(L, 1, i);
  if (!lua_isstring(L, -1))
    luaL_error(L, "invalid value (%s) at index %I in table for 'concat'", luaL_typename(L, -1),
               (LUAI_UACINT)i);
  luaL_addvalue(b);
}

static int l_concat(lua_State *L) {
  luaL_Buffer b;
  size_t nsep;
  check_table(L, 1, true, false, true);
  lua_Integer last = luaL_len(L, 1);
  const char *sep = luaL_optlstring(L, 2, "", &nsep);
  lua_Integer i = luaL_optinteger(L, 3, 1);
  last = luaL_optinteger(L, 4, last);
  luaL_buffinit(L, &b);
  for (; i < last; i++) {
    if ((i & 1023) == 0) vm_poll(L);
    add_field(L, &b, i);
    luaL_addlstring(&b, sep, nsep);
  }
  if (i == last) add_field(L, &b, i);
  luaL_pushresult(&b);
  return 1;
}

/* ---- move ---- */
static int l_move(lua_State *L) {
  lua_Integer f = luaL_checkinteger(L, 2), e = luaL_checkinteger(L, 3), t = luaL_checkinteger(L, 4);
  int to = lua_isnoneornil(L, 5) ? 1 : 5;
  check_table(L, 1, true, false, false);
  check_table(L, to, false, true, false);
  if (e >= f) {
    luaL_argcheck(L, f > 0 || e < LUA_MAXINTEGER + f, 3, "too many elements to move");
    lua_Integer n = e - f + 1;
    luaL_argcheck(L, t <= LUA_MAXINTEGER - n + 1, 4, "destination wrap around");
    bool forward = t > e || t <= f || (to != 1 && !lua_compare(L, 1, to, LUA_OPEQ));
    for (lua_Integer k = 0; k < n; k++) {
      lua_Integer i = forward ? k : n - 1 - k;
      if ((k & 1023) == 0) vm_poll(L);
      lua_geti(L, 1, f + i);
      lua_seti(L, to, t + i);
    }
  }
  lua_pushvalue(L, to);
  return 1;
}

/* ---- sort ---- */
typedef unsigned int Idx;
typedef struct { lua_State *L; unsigned polls; } Sorter;

/* Stack slots are absolute: 1 the table, 2 the comparison function or nil. */
static bool less(Sorter *s, int a, int b) {
  lua_State *L = s->L;
  if ((++s->polls & 255) == 0) vm_poll(L);
  if (lua_isnil(L, 2)) return lua_compare(L, a, b, LUA_OPLT);
  a = lua_absindex(L, a);
  b = lua_absindex(L, b);
  lua_pushvalue(L, 2);
  lua_pushvalue(L, a);
  lua_pushvalue(L, b);
  lua_call(L, 2, 1);
  bool r = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return r;
}

/* Stores the two values on top at i (the topmost) and j. */
static void store_two(lua_State *L, Idx i, Idx j) {
  lua_seti(L, 1, i);
  lua_seti(L, 1, j);
}

/* Puts t[i] and t[j] (i < j) in order. */
static void order_two(Sorter *s, Idx i, Idx j) {
  lua_geti(s->L, 1, i);
  lua_geti(s->L, 1, j);
  if (less(s, -1, -2)) store_two(s->L, i, j);
  else lua_pop(s->L, 2);
}

/* The pivot is t[hi-1] and on the stack; t[lo] <= pivot <= t[hi].  Returns the pivot's place. */
static Idx partition(Sorter *s, Idx lo, Idx hi) {
  lua_State *L = s->L;
  Idx i = lo, j = hi - 1;
  for (;;) {
    while (lua_geti(L, 1, ++i), less(s, -1, -2)) {
      if (i == hi - 1) luaL_error(L, "invalid order function for sorting");
      lua_pop(L, 1);
    }
    while (lua_geti(L, 1, --j), less(s, -3, -1)) {
      if (j < i) luaL_error(L, "invalid order function for sorting");
      lua_pop(L, 1);
    }
    /* t[i] and the pivot change places; stack: pivot, t[i], t[j] */
    if (j < i) {
      lua_pop(L, 1);
      store_two(L, hi - 1, i);
      return i;
    }
    store_two(L, i, j);
  }
}

/* A middle element that moves from call to call, against inputs made to be slow. */
static Idx choose_pivot(Idx lo, Idx hi, unsigned seed) {
  Idx quarter = (hi - lo) / 4;
  return hi - lo < 100 ? lo + (hi - lo) / 2 : lo + quarter + seed % (quarter * 2);
}

static void sort_range(Sorter *s, Idx lo, Idx hi, unsigned seed) {
  lua_State *L = s->L;
  while (lo < hi) {
    order_two(s, lo, hi);
    if (hi - lo == 1) return;
    Idx p = choose_pivot(lo, hi, seed);
    order_two(s, lo, p);
    order_two(s, p, hi);
    if (hi - lo == 2) return;
    lua_geti(L, 1, p);                     /* pivot stays on the stack, and goes to hi - 1 */
    lua_pushvalue(L, -1);
    lua_geti(L, 1, hi - 1);
    store_two(L, p, hi - 1);
    p = partition(s, lo, hi);
    Idx left = p - lo, right = hi - p;
    if (left < right) {
      sort_range(s, lo, p - 1, seed);
      lo = p + 1;
    } else {
      sort_range(s, p + 1, hi, seed);
      hi = p - 1;
    }
    if ((left < right ? left : right) < (left + right) / 128) seed = seed * 1664525u + 1013904223u;
  }
}

static int l_sort(lua_State *L) {
  check_table(L, 1, true, true, true);
  lua_Integer n = luaL_len(L, 1);
  if (n < 2) return 0;
  luaL_argcheck(L, n < INT_MAX, 1, "array too big");
  if (!lua_isnoneornil(L, 2)) luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  luaL_checkstack(L, 200, "");
  Sorter s = {L, 0};
  sort_range(&s, 1, (Idx)n, 0);
  return 0;
}

void vm_open_tables(lua_State *L) {
  static const luaL_Reg fns[] = {
      {"concat", l_concat}, {"move", l_move}, {"sort", l_sort}, {NULL, NULL}};
  if (lua_getglobal(L, LUA_TABLIBNAME) == LUA_TTABLE) luaL_setfuncs(L, fns, 0);
  lua_pop(L, 1);
}
