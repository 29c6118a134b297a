/* json.c: the Lua module `json`.
 *
 * A decoded object is an ordered table (ordered.h): pairs follows the order of the text.  Arrays
 * are plain lists; {} encodes as [], an empty object as {}.  Both directions keep a stack of
 * frames: no recursion. */
#include "json/json.h"
#include "none.h"
#include "ordered.h"
#include <lauxlib.h>
#include <math.h>
#include <string.h>

int luaopen_json(lua_State *L);
int luaopen_json_text(lua_State *L);

#define BIG "json.bigint"
enum { MAX_DEPTH = 1000 };

/* ---- decode ---- */
typedef struct frame { uint32_t left; int slot; bool obj; lua_Integer n; } frame;
typedef struct reading { js_doc doc; frame stack[MAX_DEPTH + 1]; } reading;

static int reading_gc(lua_State *L) {
  js_free(&((reading *)lua_touserdata(L, 1))->doc);
  return 0;
}

static void push_scalar(lua_State *L, const js_node *nd) {
  switch (nd->type) {
    case JS_FALSE: case JS_TRUE: lua_pushboolean(L, nd->type == JS_TRUE); break;
    case JS_INT: lua_pushinteger(L, nd->u.i); break;
    case JS_REAL: lua_pushnumber(L, nd->u.d); break;
    case JS_STR: lua_pushlstring(L, nd->u.s, nd->n); break;
    case JS_BIG: { /* a float when that is the same number, else its digits */
      char text[400];
      double d = js_read_real(nd->u.s, nd->n);
      if (isfinite(d) && snprintf(text, sizeof text, "%.0f", d) == (int)nd->n &&
          !memcmp(text, nd->u.s, nd->n)) {
        lua_pushnumber(L, d);
        break;
      }
      lua_createtable(L, 0, 1);
      lua_pushlstring(L, nd->u.s, nd->n);
      lua_setfield(L, -2, "digits");
      luaL_setmetatable(L, BIG);
      break;
    }
    default: vm_pushnone(L);
  }
}

/* Stack of an open object: table, its list of keys.  Of an open array: table, nil. */
static void push_open(lua_State *L, frame *f, const js_node *nd) {
  int n = nd->n < 1u << 26 ? (int)nd->n : 0;
  luaL_checkstack(L, 10, "JSON nested too deeply");
  *f = (frame){.left = nd->n, .slot = lua_gettop(L) + 1, .obj = nd->type == JS_OBJ};
  if (f->obj) {
    vm_ordered_open(L, n);
  } else {
    lua_createtable(L, n, 0);
    lua_pushnil(L);
  }
}

/* Puts the value on the top into the container below; of an object the key lies under it. */
static void store(lua_State *L, frame *f) {
  if (f->obj) f->n = vm_ordered_put(L, f->slot, f->n);
  else lua_rawseti(L, f->slot, ++f->n);
  f->left--;
}

static void build(lua_State *L, reading *r) {
  const js_doc *d = &r->doc;
  frame *f = NULL;
  for (uint32_t i = 0; i < d->n; i++) {
    const js_node *nd = &d->v[i];
    if (f && f->obj) push_scalar(L, nd), nd = &d->v[++i];          /* the key */
    if (nd->type >= JS_ARR) {
      f = f ? f + 1 : r->stack;
      push_open(L, f, nd);
    } else {
      push_scalar(L, nd);
      if (!f) return;
      store(L, f);
    }
    while (!f->left) {                                              /* closes what is complete */
      if (f->obj) vm_ordered_close(L, f->slot);
      else lua_pop(L, 1);
      if (f == r->stack) return;
      store(L, --f);
    }
  }
}

static bool bool_field(lua_State *L, int t, const char *name) {
  if (!lua_istable(L, t)) return false;
  lua_getfield(L, t, name);
  bool b = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return b;
}

/* Decodes text with the options in argument 2; path, if any, goes into the message. */
static int decode(lua_State *L, const char *text, size_t n, const char *path) {
  sys_err e = {{0}, 0};
  js_limits lim = {.depth = MAX_DEPTH, .allow_nan = bool_field(L, 2, "allow_nan")};
  reading *r = lua_newuserdatauv(L, sizeof *r, 0);
  r->doc = (js_doc){0};
  if (luaL_newmetatable(L, "json.reading"))
    lua_pushcfunction(L, reading_gc), lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  if (!js_parse(&r->doc, text, n, &lim, &e)) 
    return luaL_error(L, "%s%s%s", path ? path : "", path ? ": " : "", e.msg);
  build(L, r);
  js_free(&r->doc);
  return 1;
}

static int l_decode(lua_State *L) {
  size_t n;
  const char *text = luaL_checklstring(L, 1, &n);
  if (!lua_isnoneornil(L, 2)) luaL_checktype(L, 2, LUA_TTABLE);
  return decode(L, text, n, NULL);
}

/* ---- encode ---- */
typedef struct out { char *p; size_t n, cap; } out;

static int out_gc(lua_State *L) {
  out *o = lua_touserdata(L, 1);
  mt_free(o->p);
  *o = (out){0};
  return 0;
}

static void put(lua_State *L, out *o, const char *s, size_t n) {
  if (o->cap - o->n < n) {
    size_t cap = (o->n + n) * 2 < 256 ? 256 : (o->n + n) * 2;
    char *p = mt_realloc(o->p, cap);
    if (!p) luaL_error(L, "not enough memory");
    o->p = p, o->cap = cap;
  }
  memcpy(o->p + o->n, s, n);
  o->n += n;
}

typedef struct writing {
  out *o;
  bool ascii, allow_nan, sort;
  int indent;                     /* < 0: one line without spaces */
} writing;

typedef struct level { lua_Integer i, n; bool obj; } level;

static void newline(lua_State *L, const writing *w, int depth) {
  if (w->indent < 0) return;
  put(L, w->o, "\n", 1);
  for (int k = 0; k < depth * w->indent; k++) put(L, w->o, " ", 1);
}

static uint32_t code_point(const uint8_t *p, int *n) {
  *n = p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
  uint32_t c = p[0] & (0x7F >> *n);
  for (int i = 1; i < *n; i++) c = c << 6 | (p[i] & 63);
  return c;
}

static void put_string(lua_State *L, const writing *w, const char *s, size_t n) {
  size_t bad = js_utf8_check(s, n), from = 0;
  char esc[16];
  if (bad < n) luaL_error(L, "json.encode: a string has invalid UTF-8 at its byte %d", (int)bad);
  put(L, w->o, "\"", 1);
  for (size_t i = 0; i < n; i++) {
    uint8_t c = (uint8_t)s[i];
    int skip = 1, k;
    if (c == '"' || c == '\\') k = snprintf(esc, sizeof esc, "\\%c", c);
    else if (c == '\n' || c == '\r' || c == '\t')
      k = snprintf(esc, sizeof esc, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
    else if (c < 0x20) k = snprintf(esc, sizeof esc, "\\u%04x", c);
    else if (c >= 0x80 && w->ascii) {
      uint32_t u = code_point((const uint8_t *)s + i, &skip);
      if (u < 0x10000) k = snprintf(esc, sizeof esc, "\\u%04x", u);
      else
        k = snprintf(esc, sizeof esc, "\\u%04x\\u%04x", 0xD800 + ((u - 0x10000) >> 10),
                     0xDC00 + (u & 0x3FF));
    } else continue;
    put(L, w->o, s + from, i - from);
    put(L, w->o, esc, (size_t)k);
    i += (size_t)skip - 1;
    from = i + 1;
  }
  put(L, w->o, s + from, n - from);
  put(L, w->o, "\"", 1);
}

static void put_number(lua_State *L, const writing *w, int i) {
  char text[64];
  int n;
  if (lua_isinteger(L, i)) {
    n = snprintf(text, sizeof text, "%lld", (long long)lua_tointeger(L, i));
  } else {
    double d = lua_tonumber(L, i);
    if (isfinite(d)) n = js_print_real(text, d);
    else if (!w->allow_nan)
      luaL_error(L, "json.encode: %s is not JSON (option allow_nan writes it as Python does)",
                 d != d  ? "nan"
                 : d > 0 ? "inf"
                         : "-inf"),
          n = 0;
    else n = snprintf(text, sizeof text, "%s", d != d ? "NaN" : d > 0 ? "Infinity" : "-Infinity");
  }
  put(L, w->o, text, (size_t)n);
}

/* A scalar at the top of the stack, popped; false: it is a container and stays. */
static bool put_scalar(lua_State *L, const writing *w) {
  size_t n;
  const char *s;
  switch (lua_type(L, -1)) {
    case LUA_TNUMBER: put_number(L, w, -1); break;
    case LUA_TBOOLEAN:
      s = lua_toboolean(L, -1) ? "true" : "false";
      put(L, w->o, s, strlen(s));
      break;
    case LUA_TSTRING: s = lua_tolstring(L, -1, &n); put_string(L, w, s, n); break;
    case LUA_TLIGHTUSERDATA:
      if (!vm_isnone(L, -1)) luaL_error(L, "json.encode: cannot encode a userdata");
      put(L, w->o, "null", 4);
      break;
    case LUA_TTABLE:
      if (!luaL_getmetafield(L, -1, "__name")) return false;
      s = lua_tostring(L, -1);
      lua_pop(L, 1);
      if (!s || strcmp(s, BIG)) return false;
      if (lua_getfield(L, -1, "digits") != LUA_TSTRING)
        luaL_error(L, "json.encode: broken json.bigint");
      s = lua_tolstring(L, -1, &n);
      if (n < 1 || strspn(s + (*s == '-'), "0123456789") != n - (*s == '-'))
        luaL_error(L, "json.encode: broken json.bigint");
      put(L, w->o, s, n);
      lua_pop(L, 1);
      break;
    default: luaL_error(L, "json.encode: cannot encode a %s", luaL_typename(L, -1));
  }
  lua_pop(L, 1);
  return true;
}

/* Pushes the list of keys of the table t in writing order; returns their count. */
static lua_Integer list_keys(lua_State *L, bool sort, int t) {
  if (sort) {                                          /* a plain copy sorts */
    lua_newtable(L);
    for (lua_pushnil(L); lua_next(L, t); lua_pop(L, 1))
      lua_pushvalue(L, -2), lua_pushboolean(L, 1), lua_rawset(L, -5);
  } else {
    lua_pushvalue(L, t);
  }
  lua_Integer n = vm_keys(L, -1);
  lua_remove(L, -2);
  for (lua_Integer i = 1; i <= n; i++) {
    if (lua_rawgeti(L, -1, i) != LUA_TSTRING)
      luaL_error(L, "json.encode: an object's key must be a string, got %s", luaL_typename(L, -1));
    lua_pop(L, 1);
  }
  return n;
}

/* Is the table at the top a list?  Sets *n; raises on holes and mixtures. */
static bool is_list(lua_State *L, lua_Integer *n) {
  int t = lua_gettop(L);
  lua_Integer count = 0;
  *n = (lua_Integer)lua_rawlen(L, t);
  if (luaL_getmetafield(L, t, "__pairs") != LUA_TNIL) return lua_settop(L, t), false;
  bool named = false;
  for (lua_pushnil(L); lua_next(L, t); lua_pop(L, 1)) {
    named |= lua_type(L, -2) == LUA_TSTRING;
    lua_Integer k = lua_isinteger(L, -2) ? lua_tointeger(L, -2) : 0;
    count += k >= 1 && k <= *n ? 1 : 2; /* 2: a key outside 1..n makes the counts differ */
  }
  if (named && !*n) return false;
  if (named) luaL_error(L, "json.encode: a table has both a list and named parts");
  if (count != *n) luaL_error(L, "json.encode: a list has holes or keys that are not 1..n");
  return true;
}

/* Opens the container at the top: it and its list of keys (or nil) stay on the stack. */
static void open_level(lua_State *L, const writing *w, level *v) {
  int t = lua_gettop(L);
  luaL_checkstack(L, 10, "json.encode: nested too deeply");
  v->i = 0;
  v->obj = !is_list(L, &v->n);
  if (v->obj) v->n = list_keys(L, w->sort, t);
  else lua_pushnil(L);
  put(L, w->o, v->obj ? "{" : "[", 1);
}

/* Pushes the next member of the container whose table is at slot. */
static void next_member(lua_State *L, const writing *w, level *v, int slot, int depth) {
  if (v->i) put(L, w->o, ",", 1);
  newline(L, w, depth);
  v->i++;
  if (!v->obj) {
    lua_rawgeti(L, slot, v->i);
    return;
  }
  size_t n;
  lua_rawgeti(L, slot + 1, v->i);
  const char *s = lua_tolstring(L, -1, &n);
  put_string(L, w, s, n);
  put(L, w->o, w->indent < 0 ? ":" : ": ", w->indent < 0 ? 1 : 2);
  lua_gettable(L, slot);
}

static void encode(lua_State *L, const writing *w) {
  level *stack = lua_newuserdatauv(L, (MAX_DEPTH + 1) * sizeof *stack, 0);
  int depth = 0, base = lua_gettop(L);
  lua_pushvalue(L, 1);
  if (put_scalar(L, w)) return;
  open_level(L, w, &stack[depth++]);
  while (depth) {
    level *v = &stack[depth - 1];
    int slot = base + 1 + 2 * (depth - 1);
    if (v->i == v->n) {
      if (v->n) newline(L, w, depth - 1);
      put(L, w->o, v->obj ? "}" : "]", 1);
      lua_settop(L, slot - 1);
      depth--;
      continue;
    }
    next_member(L, w, v, slot, depth);
    if (put_scalar(L, w)) continue;
    if (depth == MAX_DEPTH)
      luaL_error(L, "json.encode: nested too deeply (does a table contain itself?)");
    open_level(L, w, &stack[depth++]);
  }
}

static out *push_encoded(lua_State *L) {
  writing w = {.indent = -1};
  luaL_checkany(L, 1);
  lua_settop(L, 2);
  if (!lua_isnil(L, 2)) {
    luaL_checktype(L, 2, LUA_TTABLE);
    w.ascii = bool_field(L, 2, "ascii"), w.allow_nan = bool_field(L, 2, "allow_nan"),
    w.sort = bool_field(L, 2, "sort_keys");
    if (lua_getfield(L, 2, "indent") != LUA_TNIL) {
      w.indent = (int)luaL_checkinteger(L, -1);
      luaL_argcheck(L, w.indent >= 0 && w.indent <= 32, 2, "option 'indent' is 0 to 32");
    }
  }
  w.o = lua_newuserdatauv(L, sizeof *w.o, 0);
  *w.o = (out){0};
  if (luaL_newmetatable(L, "json.out")) lua_pushcfunction(L, out_gc), lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  encode(L, &w);
  return w.o;
}

static int l_encode(lua_State *L) {
  out *o = push_encoded(L);
  lua_pushlstring(L, o->p, o->n);
  mt_free(o->p);
  *o = (out){0};
  return 1;
}

/* ---- files ---- */
static int l_load(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  out *o = lua_newuserdatauv(L, sizeof *o, 0);
  sys_err e = {{0}, 0};
  *o = (out){0};
  if (luaL_newmetatable(L, "json.out")) lua_pushcfunction(L, out_gc), lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  if (!sys_read_file(path, &o->p, &o->n, &e)) return luaL_error(L, "%s", e.msg);
  return decode(L, o->p, o->n, path);
}

static int l_save(lua_State *L) {            /* json.save(path, value, options), atomically */
  const char *path = luaL_checkstring(L, 1);
  sys_err e = {{0}, 0};
  sys_save s;
  lua_settop(L, 3);
  lua_rotate(L, 1, -1);                      /* value, options, path */
  lua_pushcfunction(L, l_encode);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 2);
  lua_call(L, 2, 1);
  size_t n;
  const char *text = lua_tolstring(L, -1, &n);
  if (sys_save_begin(&s, path, &e)) {
    sys_save_write(&s, text, n, &e);
    sys_save_write(&s, "\n", 1, &e);
    sys_save_commit(&s, &e);
  }
  return e.msg[0] ? luaL_error(L, "%s", e.msg) : 0;
}

/* ---- marks ---- */
/* json.object([t]): an object that keeps the order of its keys; those of t (sorted) come first. */
static int l_object(lua_State *L) {
  lua_Integer n = 0, kept = 0;
  lua_settop(L, 1);
  bool from = !lua_isnil(L, 1);
  if (from) luaL_checktype(L, 1, LUA_TTABLE), n = list_keys(L, false, 1);
  else lua_pushnil(L);
  vm_ordered_open(L, (int)(n < 1 << 26 ? n : 0));
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, 2, i);
    lua_pushvalue(L, -1), lua_gettable(L, 1);
    kept = vm_ordered_put(L, 3, kept);
  }
  vm_ordered_close(L, 3);
  return 1;
}

static int l_is_object(lua_State *L) {
  lua_pushboolean(L, vm_is_ordered(L, 1));
  return 1;
}

static int big_tostring(lua_State *L) { return lua_getfield(L, 1, "digits"), 1; }
static int big_eq(lua_State *L) {
  lua_getfield(L, 1, "digits");
  lua_getfield(L, 2, "digits");
  lua_pushboolean(L, lua_rawequal(L, -1, -2));
  return 1;
}

/* The module without files: what a sandboxed script may have. */
int luaopen_json_text(lua_State *L) {
  static const luaL_Reg functions[] = {{"decode", l_decode},
                                       {"encode", l_encode},
                                       {"object", l_object},
                                       {"is_object", l_is_object},
                                       {NULL, NULL}};
  if (luaL_newmetatable(L, BIG)) {
    lua_pushcfunction(L, big_tostring), lua_setfield(L, -2, "__tostring");
    lua_pushcfunction(L, big_eq), lua_setfield(L, -2, "__eq");
  }
  lua_pop(L, 1);
  luaL_newlib(L, functions);
  vm_pushnone(L);
  lua_setfield(L, -2, "null");
  return 1;
}

int luaopen_json(lua_State *L) {
  static const luaL_Reg files[] = {{"load", l_load}, {"save", l_save}, {NULL, NULL}};
  luaopen_json_text(L);
  luaL_setfuncs(L, files, 0);
  return 1;
}
