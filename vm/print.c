/* print.c: tostring(tensor) and the print options, over tensor/print.c. */
#include "print.h"
#include <math.h>
#include <string.h>
#include "vm.h"
#include "vm_print.h"

const char *(*vm_grad_fn_name)(Tensor *t);

static char *format(Ctx *c, Tensor *t) {
  PrintSpec s = {
      .data = mt_meta(t) ? NULL : mt_data(t),
      .dtype = (DType)t->dtype,
      .default_dtype = c->default_dtype,
      .ndim = t->ndim,
      .size = t->size,
      .stride = t->stride,
      .conj = (t->flags & MT_CONJ) != 0,
      .neg = (t->flags & MT_NEG) != 0,
      .meta = mt_meta(t),
      .requires_grad = (t->flags & MT_REQ_GRAD) != 0,
      .grad_fn = vm_grad_fn_name ? vm_grad_fn_name(t) : NULL,
  };
  return mt_tensor_format(&s, &mt_print_opts);
}

int vm_tensor_tostring(lua_State *L) {
  Tensor *t = vm_checktensor(L, 1);
  Ctx *c = vm_ctx(L);
  Scope sc = mt_open(c);
  char *text = format(c, t);
  if (!text) {
    if (!mt_poll(c)) mt_nomem(c);
    vm_raise(L, c, sc);
  }
  luaL_Buffer b; /* held by Lua before anything can raise: the text must not leak */
  size_t n = strlen(text);
  char *room = luaL_buffinitsize(L, &b, n + 32);
  const char *head = t->flags & MT_PARAM ? "Parameter containing:\n" : "";
  memcpy(room, head, strlen(head));
  memcpy(room + strlen(head), text, n);
  mt_free(text);
  luaL_pushresultsize(&b, strlen(head) + n);
  return vm_leave(L, c, sc, 1);
}

/* ---- options: set_printoptions(precision, threshold, edgeitems, linewidth, profile, sci_mode)
 * ---- */
static const char *const names[] = {"precision", "threshold", "edgeitems", "linewidth",
                                    "profile",   "sci_mode",  NULL};
enum { PRECISION, THRESHOLD, EDGEITEMS, LINEWIDTH, PROFILE, SCI_MODE, NOPTS };

static int64_t whole(lua_State *L, int i, int which, int64_t most) {
  if (which == THRESHOLD && lua_type(L, i) == LUA_TNUMBER && lua_tonumber(L, i) >= 9e18)
    return INT64_MAX;
  int exact;
  lua_Integer v = lua_tointegerx(L, i, &exact);
  if (!exact)
    return luaL_error(L, "set_printoptions: %s must be an integer, got %s", names[which],
                      luaL_typename(L, i));
  if (v < 0 || v > most)
    return luaL_error(L, "set_printoptions: %s must lie in 0..%I, got %I", names[which], most, v);
  return v;
}

static int set_printoptions(lua_State *L) {
  int n = lua_gettop(L);
  bool table = n > 0 && lua_istable(L, n);
  luaL_argcheck(L, n - table <= NOPTS, n, "set_printoptions takes at most 6 arguments");
  lua_settop(L, n);
  int kw = table ? n : 0, base = lua_gettop(L);
  for (int k = 0; k < NOPTS; k++) {
    if (k < n - table) lua_pushvalue(L, k + 1); else lua_pushnil(L);
    if (kw && lua_getfield(L, kw, names[k]) != LUA_TNIL) lua_replace(L, -2);
    else if (kw) lua_pop(L, 1);
    if (vm_isnone(L, -1)) { lua_pop(L, 1); lua_pushnil(L); }
  }
  if (kw) for (lua_pushnil(L); lua_next(L, kw); lua_pop(L, 1)) {
      if (lua_type(L, -2) != LUA_TSTRING)
        return luaL_error(L, "set_printoptions: a list part is not expected");
      const char *key = lua_tostring(L, -2);
      int k = 0;
      while (k < NOPTS && strcmp(key, names[k])) k++;
      if (k == NOPTS) return luaL_error(L, "set_printoptions: unknown option '%s'", key);
  }
  PrintOpts o = mt_print_opts;
  int at = base + 1;
  if (!lua_isnil(L, at + PROFILE) && (lua_type(L, at + PROFILE) != LUA_TSTRING
      || !mt_print_profile(&o, lua_tostring(L, at + PROFILE))))
    return luaL_error(L, "set_printoptions: profile must be 'default', 'short' or 'full'");
  if (!lua_isnil(L, at + PRECISION))
    o.precision = (int)whole(L, at + PRECISION, PRECISION, MT_PRINT_MAXPREC);
  if (!lua_isnil(L, at + THRESHOLD)) o.threshold = whole(L, at + THRESHOLD, THRESHOLD, INT64_MAX);
  if (!lua_isnil(L, at + EDGEITEMS)) o.edgeitems = whole(L, at + EDGEITEMS, EDGEITEMS, INT32_MAX);
  if (!lua_isnil(L, at + LINEWIDTH)) o.linewidth = whole(L, at + LINEWIDTH, LINEWIDTH, INT32_MAX);
  o.sci_mode = lua_isnil(L, at + SCI_MODE) ? -1 : lua_toboolean(L, at + SCI_MODE);
  mt_print_opts = o;
  return 0;
}

static int get_printoptions(lua_State *L) {
  const PrintOpts *o = &mt_print_opts;
  lua_createtable(L, 0, 5);
  lua_pushinteger(L, o->precision);
  lua_setfield(L, -2, "precision");
  if (o->threshold == INT64_MAX) lua_pushnumber(L, (lua_Number)INFINITY);
  else lua_pushinteger(L, o->threshold);
  lua_setfield(L, -2, "threshold");
  lua_pushinteger(L, o->edgeitems);
  lua_setfield(L, -2, "edgeitems");
  lua_pushinteger(L, o->linewidth);
  lua_setfield(L, -2, "linewidth");
  if (o->sci_mode >= 0) lua_pushboolean(L, o->sci_mode); else vm_pushnone(L);
  lua_setfield(L, -2, "sci_mode");
  return 1;
}

void vm_open_print(lua_State *L, int torch) {
  torch = lua_absindex(L, torch);
  lua_pushcfunction(L, set_printoptions);
  lua_setfield(L, torch, "set_printoptions");
  lua_pushcfunction(L, get_printoptions);
  lua_setfield(L, torch, "get_printoptions");
}
