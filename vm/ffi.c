/* ffi.c: require "ffi": C libraries, declarations and memory from Lua.
 *
 *   local ffi = require "ffi"
 *   ffi.cdef "double pow(double, double); struct point { double x, y; };"
 *   ffi.C.pow(2, 10)                       --> 1024.0
 *   local p = ffi.new("struct point", {x = 1, y = 2})
 *   local lib = ffi.load("./libmine.so", "void scale(float *x, size_t n, float k);")
 *   lib.scale(tensor, tensor:numel(), 2)
 *
 * Invariant: a function taken from a library keeps the library's object, and raises once it was
 * closed. */
#include "ffi_int.h"
#include <dlfcn.h>
#include <string.h>

static const char state_key = 0, cache_key = 0;
typedef struct Lib { void *handle; bool closed; char name[200]; } Lib;
typedef struct Fn { CType *type; void *address; Lib *lib; char name[]; } Fn;
typedef struct TypeBox { const void *magic; CType *type; } TypeBox;
static const char type_magic = 0;

Ffi *ffi_state(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &state_key);
  Ffi *f = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return f;
}
static int state_gc(lua_State *L) {
  Ffi *f = lua_touserdata(L, 1);
  ffi_release_callbacks(f);
  ct_free(f->space);
  f->space = NULL;
  return 0;
}

CType *ffi_pointer_to(lua_State *L, CType *t, bool to_const) {
  CType *p = ct_pointer(ffi_state(L)->space, t, to_const);
  if (!p) luaL_error(L, "not enough memory");
  return p;
}

/* ---- types ---- */
static CType *type_of_text(lua_State *L, int i) {
  sys_err e = {{0}, 0};
  lua_rawgetp(L, LUA_REGISTRYINDEX, &cache_key);
  lua_pushvalue(L, i);
  if (lua_rawget(L, -2) == LUA_TLIGHTUSERDATA) {
    CType *t = lua_touserdata(L, -1);
    lua_pop(L, 2);
    return t;
  }
  lua_pop(L, 1);
  size_t n;
  const char *s = lua_tolstring(L, i, &n);
  CType *t = ct_parse(ffi_state(L)->space, s, n, NULL, &e);
  if (!t) luaL_error(L, "%s", e.msg[0] ? e.msg : "not enough memory");
  lua_pushvalue(L, i);
  lua_pushlightuserdata(L, t);
  lua_rawset(L, -3);
  lua_pop(L, 1);
  return t;
}
static TypeBox *to_type(lua_State *L, int i) {
  TypeBox *b = lua_touserdata(L, i);
  return b && lua_type(L, i) == LUA_TUSERDATA && lua_rawlen(L, i) == sizeof *b &&
                 b->magic == &type_magic
             ? b
             : NULL;
}
CType *ffi_type_at(lua_State *L, int i) {
  i = lua_absindex(L, i);
  if (lua_type(L, i) == LUA_TSTRING) return type_of_text(L, i);
  TypeBox *b = to_type(L, i);
  CData *d = ffi_todata(L, i);
  if (!b && !d) luaL_typeerror(L, i, "C type");
  return b ? b->type : d->type;
}
static int type_tostring(lua_State *L) {
  char buf[160];
  lua_pushfstring(L, "ctype<%s>", ct_show(ffi_type_at(L, 1), false, "", buf, sizeof buf));
  return 1;
}
static int l_new(lua_State *L);
static int type_eq(lua_State *L) {
  TypeBox *a = to_type(L, 1), *b = to_type(L, 2);
  lua_pushboolean(L, a && b && ct_same(a->type, b->type));
  return 1;
}
void ffi_push_type(lua_State *L, CType *t) {
  TypeBox *b = lua_newuserdatauv(L, sizeof *b, 0);
  b->magic = &type_magic;
  b->type = t;
  if (luaL_newmetatable(L, "ctype")) {
    static const luaL_Reg events[] = {
        {"__tostring", type_tostring}, {"__call", l_new}, {"__eq", type_eq}, {NULL, NULL}};
    luaL_setfuncs(L, events, 0);
  }
  lua_setmetatable(L, -2);
}
static int l_typeof(lua_State *L) { ffi_push_type(L, ffi_type_at(L, 1)); return 1; }
static int l_istype(lua_State *L) {
  CType *t = ffi_type_at(L, 1);
  CData *d = ffi_todata(L, 2);
  lua_pushboolean(L, d && ct_same(d->type, t));
  return 1;
}
static CType *sized(lua_State *L, CType *t) {
  char buf[120];
  if (!t->complete && !t->flexible)
    luaL_error(L, "the size of '%s' is not known", ct_show(t, false, "", buf, sizeof buf));
  return t;
}
static size_t flexible_size(lua_State *L, CType *t, lua_Integer n) {
  CType *of = t->kind == CT_ARRAY ? t->to : t->fields[t->nfields - 1].type->to;
  size_t base = t->kind == CT_ARRAY ? 0 : t->size;
  if (n < 0 || (of->size && (uint64_t)n > ((uint64_t)1 << 46) / of->size))
    luaL_error(L, "a C array of %I elements cannot be made", (LUAI_UACINT)n);
  return base + (size_t)n * of->size;
}
static int l_sizeof(lua_State *L) {
  CData *d = ffi_todata(L, 1);
  CType *t = sized(L, ffi_type_at(L, 1));
  if (d && t->kind != CT_PTR && d->lo) lua_pushinteger(L, d->hi - d->p);
  else
    lua_pushinteger(
        L, (lua_Integer)(t->flexible ? flexible_size(L, t, luaL_optinteger(L, 2, 0)) : t->size));
  return 1;
}
static int l_alignof(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)sized(L, ffi_type_at(L, 1))->align);
  return 1;
}
static int l_offsetof(lua_State *L) {
  CType *t = ffi_type_at(L, 1);
  size_t at;
  if (t->kind != CT_STRUCT || !ct_field(t, luaL_checkstring(L, 2), &at))
    return luaL_error(L, "offsetof: no member '%s'", luaL_checkstring(L, 2));
  lua_pushinteger(L, (lua_Integer)at);
  return 1;
}

static int l_cdef(lua_State *L) {
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);
  sys_err e = {{0}, 0};
  if (!ct_declare(ffi_state(L)->space, s, n, &e)) return luaL_error(L, "%s", e.msg);
  return 0;
}

/* ---- memory ---- */
/* new(type[, n][, initialisers...]): a scalar or pointer type makes an array of one. */
static int l_new(lua_State *L) {
  CType *t = sized(L, ffi_type_at(L, 1));
  sys_err e = {{0}, 0};
  int first = 2, n = lua_gettop(L);
  size_t size = t->size;
  if (t->kind == CT_VOID || t->kind == CT_FUNC)
    return luaL_error(L, "ffi.new: a value of this type cannot be made");
  if (t->kind != CT_ARRAY && t->kind != CT_STRUCT &&
      !(t = ct_array(ffi_state(L)->space, t, 1, false, &e)))
    return luaL_error(L, "%s", e.msg);
  if (t->flexible) {
    lua_Integer count;
    if (t->kind == CT_ARRAY && lua_type(L, 2) == LUA_TSTRING)
      count = (lua_Integer)lua_rawlen(L, 2) + 1;
    else if (t->kind == CT_ARRAY && lua_type(L, 2) == LUA_TTABLE)
      count = (lua_Integer)lua_rawlen(L, 2);
    else count = luaL_checkinteger(L, 2), first = 3;
    size = flexible_size(L, t, count);
  }
  if (size > (size_t)1 << 40)
    return luaL_error(L, "ffi.new: %I bytes cannot be had", (LUAI_UACINT)size);
  CData *d = ffi_new_owned(L, t, size);
  if (n >= first) ffi_fill(L, d, lua_gettop(L), first, n - first + 1);
  return 1;
}

/* cast(type, value): pointers from anything with an address, numbers as C converts them. */
static int l_cast(lua_State *L) {
  CType *t = ffi_type_at(L, 1);
  CData *d = ffi_todata(L, 2);
  Where w = {.what = "ffi.cast"};
  luaL_checkany(L, 2);
  if (t->kind == CT_PTR) {
    CData *r;
    if (lua_isinteger(L, 2)) {
      ffi_push_pointer(L, t, (void *)(uintptr_t)lua_tointeger(L, 2));
      return 1;
    }
    if (lua_isfunction(L, 2)) { ffi_push_callback(L, t, 2); return 1; }
    if (d) {
      r = ffi_push_pointer(L, t, d->p);
      if (r && d->lo) r->lo = d->lo, r->hi = d->hi;
    } else {
      void *p;
      ffi_store(L, 2, ffi_pointer_to(L, ct_basic(ffi_state(L)->space, "void"), true), &p, 0, &w);
      r = ffi_push_pointer(L, t, p);
    }
    if (r) { lua_pushvalue(L, 2); lua_setiuservalue(L, -2, CD_OWNER); }
    return 1;
  }
  int64_t v[2] = {0, 0};
  if (t->kind == CT_INT || t->kind == CT_BOOL) {
    if (d) v[0] = (int64_t)(uintptr_t)d->p;
    else if (lua_isinteger(L, 2)) v[0] = lua_tointeger(L, 2);
    else {
      double x = luaL_checknumber(L, 2);
      luaL_argcheck(L, x >= -9223372036854775808.0 && x < 18446744073709551616.0, 2,
                    "out of range");
      v[0] = x < 9223372036854775808.0 ? (int64_t)x : (int64_t)(uint64_t)x;
    }
    if (t->kind == CT_BOOL) v[0] = v[0] != 0;
  } else if (t->kind == CT_FLOAT || t->kind == CT_COMPLEX) ffi_store(L, 2, t, v, 0, &w);
  else return luaL_error(L, "ffi.cast: only to numbers and pointers");
  ffi_push(L, t, v, false, 0, NULL);
  return 1;
}

/* Address and known length (SIZE_MAX: unknown) of memory at i. */
static char *memory(lua_State *L, int i, bool write, size_t *n) {
  CData *d = ffi_todata(L, i);
  Tensor *x = vm_totensor(L, i);
  char *p = NULL;
  Where w = {.what = "ffi", .arg = i};
  *n = SIZE_MAX;
  if (d && d->type->kind != CT_PTR && write && (d->is_const || d->type->to_const))
    luaL_argerror(L, i, "it is const");
  if (d && d->type->kind == CT_PTR && write && d->type->to_const)
    luaL_argerror(L, i, "it points to const");
  if (d) { p = d->p; if (d->lo) *n = d->p >= d->lo && d->p <= d->hi ? (size_t)(d->hi - d->p) : 0; }
  else {
    if (lua_type(L, i) == LUA_TSTRING) *n = lua_rawlen(L, i) + 1;
    else if (x) *n = (size_t)x->numel * mt_dsize(x->dtype);
    ffi_store(L, i, ffi_pointer_to(L, ct_basic(ffi_state(L)->space, "void"), !write), &p, 0, &w);
  }
  if (!p) luaL_argerror(L, i, "NULL pointer");
  return p;
}
static size_t checked_count(lua_State *L, int i, size_t a, size_t b) {
  lua_Integer n = luaL_checkinteger(L, i);
  if (n < 0 || (size_t)n > a || (size_t)n > b) luaL_argerror(L, i, "more bytes than there are");
  return (size_t)n;
}
static int l_string(lua_State *L) {
  size_t known;
  CData *d = ffi_todata(L, 1);
  if (lua_isnil(L, 1)) return luaL_argerror(L, 1, "NULL pointer");
  char *p = memory(L, 1, false, &known);
  if (!lua_isnoneornil(L, 2)) {
    lua_pushlstring(L, p, checked_count(L, 2, known, SIZE_MAX));
    return 1;
  }
  CType *to = d && (d->type->kind == CT_PTR || d->type->kind == CT_ARRAY) ? d->type->to : NULL;
  if (to && !(to->kind == CT_INT && to->size == 1))
    return luaL_error(L, "ffi.string: a length is needed for what does not point to chars");
  lua_pushlstring(L, p, known == SIZE_MAX ? strlen(p) : strnlen(p, known));
  return 1;
}
static int l_copy(lua_State *L) {
  size_t to, from;
  char *dst = memory(L, 1, true, &to), *src = memory(L, 2, false, &from);
  size_t n =
      lua_isnoneornil(L, 3) && lua_type(L, 2) == LUA_TSTRING ? from : checked_count(L, 3, to, from);
  if (n > to) return luaL_argerror(L, 2, "more bytes than there is room");
  memmove(dst, src, n);
  return 0;
}
static int l_fill(lua_State *L) {
  size_t to;
  char *dst = memory(L, 1, true, &to);
  memset(dst, (int)luaL_optinteger(L, 3, 0), checked_count(L, 2, to, SIZE_MAX));
  return 0;
}
static int l_addressof(lua_State *L) {
  CData *d = ffi_check(L, 1);
  if (d->type->kind == CT_PTR)
    return luaL_error(
        L,
        "ffi.addressof: a pointer has no address in C's memory; put it into ffi.new('T *[1]', p)");
  CData *r = ffi_push_pointer(L, ffi_pointer_to(L, d->type, d->is_const), d->p);
  r->lo = d->lo, r->hi = d->hi;
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, CD_OWNER);
  return 1;
}
static int l_gc(lua_State *L) {
  ffi_check(L, 1);
  if (!lua_isnil(L, 2) && !lua_isfunction(L, 2) && !luaL_getmetafield(L, 2, "__call"))
    return luaL_typeerror(L, 2, "function or nil");
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, CD_GC);
  return 1;
}

/* callback("int (*)(int)", function) */
static int l_callback(lua_State *L) {
  CType *t = ffi_type_at(L, 1);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  if (t->kind == CT_FUNC) t = ffi_pointer_to(L, t, false);
  if (t->kind != CT_PTR || t->to->kind != CT_FUNC)
    return luaL_argerror(
        L, 1, "a function type is expected, such as 'int (*)(const void *, const void *)'");
  ffi_push_callback(L, t, 2);
  return 1;
}

/* ---- foreign memory as a tensor ---- */
typedef struct Kept { lua_State *L; int ref; } Kept;
static void kept_free(void *ud) {
  Kept *k = ud;
  luaL_unref(k->L, LUA_REGISTRYINDEX, k->ref);
  mt_free(k);
}
static int dtype_of(const CType *t) {
  if (t->kind == CT_BOOL) return MT_bool;
  if (t->kind == CT_FLOAT) return t->size == 4 ? MT_float32 : t->size == 8 ? MT_float64 : -1;
  if (t->kind == CT_COMPLEX) return t->size == 8 ? MT_complex64 : MT_complex128;
  if (t->kind != CT_INT) return -1;
  if (t->size == 1) return t->is_unsigned ? MT_uint8 : MT_int8;
  return t->is_unsigned ? -1 : t->size == 2 ? MT_int16 : t->size == 4 ? MT_int32 : MT_int64;
}
/* tensor(pointer or array, shape[, dtype]): the memory itself, which stays C's. */
static int l_tensor(lua_State *L) {
  CData *d = ffi_check(L, 1);
  CType *of = d->type->kind == CT_PTR || d->type->kind == CT_ARRAY ? d->type->to : d->type;
  int dtype = lua_isnoneornil(L, 3) ? dtype_of(of) : vm_todtype(L, 3);
  if (dtype < 0)
    return luaL_argerror(L, 3,
                         "a dtype is needed: what the pointer points to is no tensor element");
  Ctx *c = vm_ctx(L);
  Scope sc = mt_open(c);
  IntList shape;
  int64_t numel = 0, one;
  if (vm_toint(L, 2, &one)) shape = mt_il(&one, 1);
  else if (!vm_tointlist(L, c, 2, &shape)) {
    mt_fail(c, "ffi.tensor: the shape must be a list of integers");
    return vm_leave(L, c, sc, 0);
  }
  if (!mt_numel(c, shape, &numel)) return vm_leave(L, c, sc, 0);
  int64_t bytes = numel * (int64_t)mt_dsize(dtype);
  if (d->lo && bytes > d->hi - d->p)
    mt_fail(c, "ffi.tensor: %lld bytes are wanted, there are %lld", (long long)bytes,
            (long long)(d->hi - d->p));
  if ((uintptr_t)d->p % mt_dsize(mt_real_dtype((DType)dtype)))
    mt_fail(c, "ffi.tensor: the address is not aligned for %s", mt_dtypes[dtype].name);
  Kept *k = c->err ? NULL : mt_malloc(sizeof *k);
  if (!k) { if (!c->err) mt_nomem(c); return vm_leave(L, c, sc, 0); }
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  k->L = lua_tothread(L, -1);
  lua_pushvalue(L, 1);
  k->ref = luaL_ref(L, LUA_REGISTRYINDEX);
  Storage *st = mt_storage_foreign(c, d->p, bytes, kept_free, k);
  if (!st) { kept_free(k); return vm_leave(L, c, sc, 0); }
  int64_t stride[MT_MAXDIM], acc = 1;
  if (shape.n > MT_MAXDIM) mt_fail(c, "ffi.tensor: too many dimensions");
  for (int64_t i = shape.n - 1; i >= 0 && !c->err; i--) {
    stride[i] = acc;
    acc *= shape.v[i] > 1 ? shape.v[i] : 1;
  }
  Tensor *x =
      c->err ? NULL : mt_from_storage(c, st, shape, mt_il(stride, shape.n), 0, (DType)dtype);
  mt_storage_release(st);
  vm_pushtensor(L, x);
  return vm_leave(L, c, sc, 1);
}

/* ---- libraries ---- */
static Lib *check_lib(lua_State *L, int i) {
  Lib *l = luaL_checkudata(L, i, "ffi.library");
  if (l->closed) luaL_error(L, "library '%s' was closed", l->name);
  return l;
}
static int lib_gc(lua_State *L) {
  Lib *l = lua_touserdata(L, 1);
  if (!l->closed && l->handle) dlclose(l->handle);
  l->closed = true;
  return 0;
}
static int l_close(lua_State *L) {
  Lib *l = check_lib(L, 1);
  if (!strcmp(l->name, "C")) return luaL_error(L, "the C library stays open");
  return lib_gc(L);
}
static void *symbol(lua_State *L, Lib *l, const char *name) {
  dlerror();
  void *p = dlsym(l->handle, name);
  const char *why = p ? NULL : dlerror();
  if (!p)
    luaL_error(L, "library '%s' has no symbol '%s'%s%s", l->name, name, why ? ": " : "",
               why ? why : "");
  return p;
}

static int call_function(lua_State *L) {
  Fn *f = lua_touserdata(L, lua_upvalueindex(1));
  if (f->lib->closed) return luaL_error(L, "%s: library '%s' was closed", f->name, f->lib->name);
  return ffi_invoke(L, f->type, f->address, 1, f->name);
}
static void push_function(lua_State *L, CType *t, void *address, const char *name, int lib) {
  lib = lua_absindex(L, lib);
  ffi_prepare(L, t);
  Fn *f = lua_newuserdatauv(L, sizeof *f + strlen(name) + 1, 0);
  f->type = t;
  f->address = address;
  f->lib = lua_touserdata(L, lib);
  strcpy(f->name, name);
  lua_pushvalue(L, lib);
  lua_pushcclosure(L, call_function, 2);
}

static const CDecl *declared(lua_State *L, const Lib *l, const char *name) {
  Ffi *f = ffi_state(L);
  const CDecl *d = ct_find(f->space, name);
  if (d && d->kind != CD_TYPEDEF) return d;
  const char *near = NULL;
  size_t best = strlen(name) / 3 + 1;
  for (const CDecl *o = ct_decls(f->space); o; o = o->next)
    if (o->kind != CD_TYPEDEF && vm_distance(name, o->name) <= best)
      best = vm_distance(name, o->name), near = o->name;
  if (near) luaL_error(L, "'%s' is not declared (did you mean '%s'?)", name, near);
  luaL_error(
      L, "'%s' is not declared: tell ffi.cdef its C declaration, then take it from library '%s'",
      name, l->name);
  return NULL;
}

static int lib_index(lua_State *L) {
  Lib *l = check_lib(L, 1);
  const char *name = luaL_checkstring(L, 2);
  lua_getiuservalue(L, 1, 1);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, -2) != LUA_TNIL) return 1;
  lua_pop(L, 1);
  const CDecl *d = declared(L, l, name);
  if (d->kind == CD_CONST) { lua_pushinteger(L, d->value); return 1; }
  void *p = symbol(L, l, d->symbol);
  if (d->kind == CD_VAR) { ffi_push(L, d->type, p, d->is_const, 1, NULL); return 1; }
  push_function(L, d->type, p, d->name, 1);
  lua_pushvalue(L, 2);
  lua_pushvalue(L, -2);
  lua_rawset(L, -4);
  return 1;
}
static int lib_newindex(lua_State *L) {
  Lib *l = check_lib(L, 1);
  const CDecl *d = declared(L, l, luaL_checkstring(L, 2));
  if (d->kind != CD_VAR || d->is_const)
    return luaL_error(L, "'%s' is no variable that can be written", d->name);
  Where w = {.what = d->name};
  ffi_store(L, 3, d->type, symbol(L, l, d->symbol), 0, &w);
  return 0;
}
static int lib_tostring(lua_State *L) {
  Lib *l = luaL_checkudata(L, 1, "ffi.library");
  lua_pushfstring(L, "ffi.library<%s>%s", l->name, l->closed ? " (closed)" : "");
  return 1;
}
static int lib_dir(lua_State *L) {
  int n = 0;
  lua_newtable(L);
  for (const CDecl *d = ct_decls(ffi_state(L)->space); d; d = d->next)
    if (d->kind != CD_TYPEDEF) { lua_pushstring(L, d->name); lua_rawseti(L, -2, ++n); }
  return 1;
}

static Lib *new_lib(lua_State *L, const char *name) {
  static const luaL_Reg events[] = {{"__index", lib_index}, {"__newindex", lib_newindex},
                                    {"__gc", lib_gc},       {"__tostring", lib_tostring},
                                    {"__dir", lib_dir},     {NULL, NULL}};
  Lib *l = lua_newuserdatauv(L, sizeof *l, 1);
  memset(l, 0, sizeof *l);
  snprintf(l->name, sizeof l->name, "%s", name);
  lua_newtable(L);
  lua_setiuservalue(L, -2, 1);
  if (luaL_newmetatable(L, "ffi.library")) luaL_setfuncs(L, events, 0);
  lua_setmetatable(L, -2);
  return l;
}

/* load(name or path[, declarations[, {global = true}]]): global lets libraries opened later see its
 * symbols. */
static int l_load(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  char full[300], why[300];
  if (!lua_isnoneornil(L, 2)) {
    lua_pushcfunction(L, l_cdef);
    lua_pushvalue(L, 2);
    lua_call(L, 1, 0);
  }
  int scope = RTLD_LOCAL;
  if (lua_istable(L, 3)) {
    lua_getfield(L, 3, "global");
    if (lua_toboolean(L, -1)) scope = RTLD_GLOBAL;
  }
  Lib *l = new_lib(L, name);
  l->handle = dlopen(name, RTLD_NOW | scope);
  snprintf(why, sizeof why, "%s", l->handle ? "" : dlerror());
  if (!l->handle && !strchr(name, '/')) {
    snprintf(full, sizeof full, "lib%s.so", name);
    l->handle = dlopen(full, RTLD_NOW | scope);
  }
  if (!l->handle) {
    l->closed = true;
    return luaL_error(L, "ffi.load: cannot open '%s': %s", name, why);
  }
  return 1;
}

/* fn(library, "double pow(double, double)"): one function, declared here and nowhere else. */
static int l_fn(lua_State *L) {
  Lib *l = check_lib(L, 1);
  size_t n;
  const char *s = luaL_checklstring(L, 2, &n), *name = NULL;
  sys_err e = {{0}, 0};
  CType *t = ct_parse(ffi_state(L)->space, s, n, &name, &e);
  if (!t) return luaL_error(L, "%s", e.msg[0] ? e.msg : "not enough memory");
  if (t->kind != CT_FUNC) return luaL_error(L, "ffi.fn: '%s' declares no function", name);
  push_function(L, t, symbol(L, l, name), name, 1);
  return 1;
}

int luaopen_ffi(lua_State *L) {
  static const luaL_Reg fns[] = {{"cdef", l_cdef},
                                 {"load", l_load},
                                 {"close", l_close},
                                 {"fn", l_fn},
                                 {"new", l_new},
                                 {"cast", l_cast},
                                 {"typeof", l_typeof},
                                 {"istype", l_istype},
                                 {"sizeof", l_sizeof},
                                 {"alignof", l_alignof},
                                 {"offsetof", l_offsetof},
                                 {"string", l_string},
                                 {"copy", l_copy},
                                 {"fill", l_fill},
                                 {"addressof", l_addressof},
                                 {"gc", l_gc},
                                 {"callback", l_callback},
                                 {"errno", ffi_errno},
                                 {"tensor", l_tensor},
                                 {NULL, NULL}};
  Ffi *f = lua_newuserdatauv(L, sizeof *f, 0);
  memset(f, 0, sizeof *f);
  lua_newtable(L);
  lua_pushcfunction(L, state_gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  if (!(f->space = ct_new())) return luaL_error(L, "not enough memory");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &state_key);
  lua_newtable(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &cache_key);
  ffi_open_values(L);
  luaL_newlib(L, fns);
  Lib *l = new_lib(L, "C");
  l->handle = dlopen(NULL, RTLD_NOW);
  lua_setfield(L, -2, "C");
  return 1;
}
