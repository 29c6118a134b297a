/* ffi_value.c: C values in Lua: conversion both ways, and the metamethods of pointers, arrays,
 * structs and unions. */
#include "ffi_int.h"
#include <math.h>
#include <string.h>

static const char data_magic = 0, data_meta = 0;

CData *ffi_todata(lua_State *L, int i) {
  CData *d = lua_touserdata(L, i);
  return d && lua_type(L, i) == LUA_TUSERDATA && lua_rawlen(L, i) >= sizeof *d &&
                 d->magic == &data_magic
             ? d
             : NULL;
}
CData *ffi_check(lua_State *L, int i) {
  CData *d = ffi_todata(L, i);
  if (!d) luaL_typeerror(L, i, "C value");
  return d;
}

static CData *push_data(lua_State *L, CType *t, size_t extra) {
  CData *d = lua_newuserdatauv(L, sizeof *d + extra, 3);
  memset(d, 0, sizeof *d);
  d->magic = &data_magic;
  d->type = t;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &data_meta);
  lua_setmetatable(L, -2);
  return d;
}

CData *ffi_new_owned(lua_State *L, CType *t, size_t size) {
  size_t align = t->align > 16 ? t->align : 16;
  CData *d = push_data(L, t, size + align);
  uintptr_t at = ((uintptr_t)(d + 1) + align - 1) / align * align;
  d->p = d->lo = (char *)at;
  d->hi = d->p + size;
  memset(d->p, 0, size);
  return d;
}

CData *ffi_push_pointer(lua_State *L, CType *ptr, void *address) {
  if (!address) { lua_pushnil(L); return NULL; }
  CData *d = push_data(L, ptr, 0);
  d->p = address;
  d->is_const = ptr->to_const;
  return d;
}

static void set_owner(lua_State *L, int owner) {           /* of the data on top */
  lua_pushvalue(L, owner);
  lua_setiuservalue(L, -2, CD_OWNER);
}

/* ---- from C ---- */
static lua_Integer load_int(const CType *t, const void *p) {
  switch (t->size) {
    case 1: return t->is_unsigned ? *(const uint8_t *)p : *(const int8_t *)p;
    case 2: { uint16_t v; memcpy(&v, p, 2); return t->is_unsigned ? v : (int16_t)v; }
    case 4: { uint32_t v; memcpy(&v, p, 4); return t->is_unsigned ? (lua_Integer)v : (int32_t)v; }
    default: { int64_t v; memcpy(&v, p, 8); return v; }
  }
}
static void load_float(lua_State *L, const CType *t, const void *p) {
  float f;
  double d;
  long double l;
  if (t->size == 4) memcpy(&f, p, 4), d = (double)f;
  else if (t->size == 8) memcpy(&d, p, 8);
  else memcpy(&l, p, sizeof l), d = (double)l;
  lua_pushnumber(L, d);
}
static void load_complex(lua_State *L, const CType *t, const void *p) {
  float f[2];
  double d[2];
  if (t->size == 8) memcpy(f, p, 8), d[0] = (double)f[0], d[1] = (double)f[1];
  else memcpy(d, p, 16);
  vm_pushscalar(L, mt_sc(d[0], d[1]));
}

void ffi_push(lua_State *L, CType *t, void *src, bool is_const, int owner, const CData *bounds) {
  void *address;
  switch (t->kind) {
    case CT_VOID: lua_pushnil(L); return;
    case CT_BOOL: lua_pushboolean(L, *(const uint8_t *)src != 0); return;
    case CT_INT: lua_pushinteger(L, load_int(t, src)); return;
    case CT_FLOAT: load_float(L, t, src); return;
    case CT_COMPLEX: load_complex(L, t, src); return;
    case CT_PTR:
      memcpy(&address, src, sizeof address);
      ffi_push_pointer(L, t, address);
      return;
    default: break;
  }
  if (!owner) {
    CData *d = ffi_new_owned(L, t, t->size);
    memcpy(d->p, src, t->size);
    return;
  }
  owner = lua_absindex(L, owner);
  CData *d = push_data(L, t, 0);
  d->p = src;
  d->is_const = is_const;
  if (bounds && bounds->lo) {
    d->lo = src;
    d->hi = t->flexible ? bounds->hi : (char *)src + t->size;
  } else if (!t->flexible) d->lo = src, d->hi = (char *)src + t->size;
  set_owner(L, owner);
}

/* ---- to C ---- */
static _Noreturn void bad_value(lua_State *L, int i, CType *t, const Where *w, const char *why) {
  char want[160], got[200];
  CData *d = ffi_todata(L, i);
  Tensor *x = vm_totensor(L, i);
  if (d) ct_show(d->type, d->is_const && d->type->kind != CT_PTR, "", got, sizeof got);
  else if (x) snprintf(got, sizeof got, "a tensor of %s", mt_dtypes[x->dtype].name);
  else if (lua_type(L, i) == LUA_TNUMBER || lua_type(L, i) == LUA_TBOOLEAN) {
    snprintf(got, sizeof got, "%.100s", luaL_tolstring(L, i, NULL));
    lua_pop(L, 1);
  } else snprintf(got, sizeof got, "%s", luaL_typename(L, i));
  ct_show(t, false, "", want, sizeof want);
  if (w->arg)
    luaL_error(L, "%s: argument %d must be '%s', got %s%s%s", w->what, w->arg, want, got,
               why ? ": " : "", why ? why : "");
  luaL_error(L, "%s%s%s: expected '%s', got %s%s%s", w->what, w->name ? ": " : "",
             w->name ? w->name : "", want, got, why ? ": " : "", why ? why : "");
  __builtin_unreachable();
}

/* Whole numbers in the range of the type, signed or unsigned. */
static void store_int(lua_State *L, int i, CType *t, void *dst, const Where *w) {
  int ok = 0;
  lua_Integer v = lua_type(L, i) == LUA_TNUMBER ? lua_tointegerx(L, i, &ok) : 0;
  int64_t whole;
  if (!ok && lua_type(L, i) == LUA_TSTRING && (t->is_char || !strcmp(t->name, "int")) &&
      lua_rawlen(L, i) == 1)
    v = *lua_tostring(L, i), ok = 1;
  if (!ok && lua_type(L, i) == LUA_TNUMBER && t->size == 8 &&
      t->is_unsigned) { /* 2^63 and above are floats in Lua */
    double d = lua_tonumber(L, i);
    if (d >= 0 && d < 18446744073709551616.0 && d == floor(d)) v = (lua_Integer)(uint64_t)d, ok = 1;
  }
  if (!ok && vm_totensor(L, i) && vm_toint(L, i, &whole)) v = whole, ok = 1;
  if (!ok)
    bad_value(L, i, t, w, lua_type(L, i) == LUA_TNUMBER ? "it is no whole number that fits" : NULL);
  int bits = (int)t->size * 8;
  if (bits < 64 && (v < -((lua_Integer)1 << (bits - 1)) || v >= (lua_Integer)1 << bits))
    bad_value(L, i, t, w, "out of range");
  memcpy(dst, &v, t->size); /* little endian; big-endian machines take the last bytes */
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  memcpy(dst, (char *)&v + 8 - t->size, t->size);
#endif
}

static void store_float(lua_State *L, int i, CType *t, void *dst, const Where *w) {
  if (lua_type(L, i) != LUA_TNUMBER) {
    Tensor *x = vm_totensor(L, i);
    if (!x || x->numel != 1 || mt_is_complex(x->dtype)) bad_value(L, i, t, w, NULL);
    luaL_checkstack(L, 2, NULL);
    vm_pushscalar(L, mt_item(vm_ctx(L), x));
  } else lua_pushvalue(L, i);
  double d = lua_isboolean(L, -1) ? lua_toboolean(L, -1) : lua_tonumber(L, -1);
  float f = (float)d;
  long double l = (long double)d;
  lua_pop(L, 1);
  if (t->size == 4) memcpy(dst, &f, 4);
  else if (t->size == 8) memcpy(dst, &d, 8);
  else memcpy(dst, &l, sizeof l);
}

/* May a tensor's elements be seen as this type? */
static bool dtype_fits(int d, const CType *to) {
  switch (to->kind) {
    case CT_VOID: return true;
    case CT_FLOAT:
      return (mt_is_float(d) && mt_dsize(d) == to->size && to->size >= 4) ||
             (mt_is_complex(d) && mt_dsize(d) == 2 * to->size);
    case CT_COMPLEX: return mt_is_complex(d) && mt_dsize(d) == to->size;
    case CT_BOOL: return d == MT_bool;
    case CT_INT:
      if (d == MT_float16 || d == MT_bfloat16) return to->size == 2;
      if (d == MT_bool || d == MT_uint8) return to->size == 1 && (to->is_unsigned || to->is_char);
      if (d == MT_int8) return to->size == 1 && (!to->is_unsigned || to->is_char);
      return mt_is_int(d) && mt_dsize(d) == to->size && !to->is_unsigned;
    default: return false;
  }
}

static void *tensor_address(lua_State *L, int i, Tensor *x, CType *t, const Where *w) {
  if (mt_meta(x)) bad_value(L, i, t, w, "a meta tensor has no data");
  if (!dtype_fits(x->dtype, t->to))
    bad_value(L, i, t, w, "the dtype is another; convert it with x:to(dtype)");
  if (!mt_is_contiguous(x)) bad_value(L, i, t, w, "it is not contiguous; pass x:contiguous()");
  if (x->flags & (MT_CONJ | MT_NEG))
    bad_value(L, i, t, w, "it is a lazy conjugate; pass x:resolve_conj():resolve_neg()");
  if (!t->to_const) {
    if (x->flags & MT_REQ_GRAD && vm_ctx(L)->grad_mode)
      bad_value(L, i, t, w,
                "it requires grad and C may write to it; declare the parameter const, pass "
                "x:detach(), or use torch.no_grad");
    x->st->version++;
  }
  return mt_data(x);
}

/* Would C take a pointer to `from` where one to `to` is wanted?  void is anything; chars of any
 * sign are alike. */
static bool points_alike(const CType *from, const CType *to) {
  if (to->kind == CT_VOID || from->kind == CT_VOID || ct_same(from, to)) return true;
  return from->kind == CT_INT && to->kind == CT_INT && from->size == to->size &&
         (from->size == 1 || from->is_unsigned == to->is_unsigned);
}

static void *data_address(lua_State *L, int i, CData *d, CType *t, const Where *w) {
  CType *from = d->type->kind == CT_PTR || d->type->kind == CT_ARRAY ? d->type->to : d->type;
  bool is_const = d->type->kind == CT_PTR ? d->type->to_const : d->is_const || d->type->to_const;
  bool fits = points_alike(from, t->to);
  if (!fits && d->type->kind != CT_PTR && points_alike(d->type, t->to))
    fits = true; /* int (*)[3] from an int[3] */
  if (!fits) bad_value(L, i, t, w, NULL);
  if (is_const && !t->to_const && t->to->kind != CT_FUNC)
    bad_value(L, i, t, w, "it would lose const; use ffi.cast");
  return d->p;
}

/* The address that the value at i stands for; the value that keeps it alive is the value itself (or
 * what is pushed). */
static void *pointer_value(lua_State *L, int i, CType *t, const Where *w) {
  CData *d;
  Tensor *x;
  switch (lua_type(L, i)) {
    case LUA_TNIL: return NULL;
    case LUA_TSTRING:
      if (!(t->to->kind == CT_VOID || (t->to->kind == CT_INT && t->to->size == 1)))
        bad_value(L, i, t, w, NULL);
      if (!t->to_const)
        bad_value(
            L, i, t, w,
            "C may write to it and Lua's strings cannot change; use ffi.new('char[?]', n, text)");
      return (void *)(uintptr_t)lua_tostring(L, i);
    case LUA_TLIGHTUSERDATA:
      if (vm_isnone(L, i)) return NULL;
      if (t->to->kind == CT_VOID) return lua_touserdata(L, i);
      break;
    case LUA_TUSERDATA:
      if ((d = ffi_todata(L, i))) return data_address(L, i, d, t, w);
      if ((x = vm_totensor(L, i))) return tensor_address(L, i, x, t, w);
      luaL_Stream *file = luaL_testudata(L, i, LUA_FILEHANDLE);
      if (file && file->closef &&
          (t->to->kind == CT_VOID || (t->to->name && !strcmp(t->to->name, "FILE"))))
        return file->f;
      if (luaL_getmetafield(L, i, "__pointer") ==
          LUA_TFUNCTION) { /* our own objects that stand for an address */
        lua_pushvalue(L, i);
        lua_call(L, 1, 1);
        void *p = lua_touserdata(L, -1);
        lua_pop(L, 1);
        if (p) return p;
      }
      break;
    default: break;
  }
  bad_value(L, i, t, w, NULL);
}

static void anchor_value(lua_State *L, int anchor, const void *dst, int i) {
  CData *d = ffi_todata(L, anchor);
  i = lua_absindex(L, i);
  if (!d) return;
  anchor = lua_absindex(L, anchor);
  if (lua_getiuservalue(L, anchor, CD_OWNER) == LUA_TUSERDATA &&
      ffi_todata(L, -1)) { /* a part: the whole keeps it */
    anchor_value(L, lua_gettop(L), dst, i);
    lua_pop(L, 1);
    return;
  }
  lua_pop(L, 1);
  if (lua_getiuservalue(L, anchor, CD_ANCHORS) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, anchor, CD_ANCHORS);
  }
  lua_pushvalue(L, i);
  lua_rawsetp(L, -2, dst);
  lua_pop(L, 1);
}

static void store_aggregate(lua_State *L, int i, CType *t, void *dst, int anchor, const Where *w) {
  CData *d = ffi_todata(L, i);
  Tensor *x = vm_totensor(L, i);
  if (d && ct_same(d->type, t) && !t->flexible) { memmove(dst, d->p, t->size); return; }
  if (t->kind == CT_ARRAY && lua_type(L, i) == LUA_TSTRING && t->to->kind == CT_INT &&
      t->to->size == 1) {
    size_t n = lua_rawlen(L, i);
    if (n > t->size) bad_value(L, i, t, w, "the string is too long");
    memset(dst, 0, t->size);
    memcpy(dst, lua_tostring(L, i), n);
    return;
  }
  if (t->kind == CT_ARRAY && x && !mt_meta(x) && mt_is_contiguous(x) &&
      !(x->flags & (MT_CONJ | MT_NEG)) && dtype_fits(x->dtype, t->to)) {
    if ((size_t)x->numel * mt_dsize(x->dtype) != t->size)
      bad_value(L, i, t, w, "it has another number of elements");
    memcpy(dst, mt_data(x), t->size);
    return;
  }
  if (lua_type(L, i) != LUA_TTABLE) bad_value(L, i, t, w, NULL);
  CData whole = {.type = t, .p = dst, .lo = dst, .hi = (char *)dst + t->size};
  lua_pushvalue(L, i);
  ffi_fill(L, &whole, anchor, lua_gettop(L), 1);
  lua_pop(L, 1);
}

void ffi_store(lua_State *L, int i, CType *t, void *dst, int anchor, const Where *w) {
  i = lua_absindex(L, i);
  if (anchor) anchor = lua_absindex(L, anchor);
  switch (t->kind) {
    case CT_BOOL:
      if (lua_isboolean(L, i)) *(uint8_t *)dst = (uint8_t)lua_toboolean(L, i);
      else if (lua_isinteger(L, i)) *(uint8_t *)dst = lua_tointeger(L, i) != 0;
      else bad_value(L, i, t, w, NULL);
      return;
    case CT_INT: store_int(L, i, t, dst, w); return;
    case CT_FLOAT: store_float(L, i, t, dst, w); return;
    case CT_COMPLEX: {
      Scalar s;
      if (!vm_toscalar(L, i, &s)) bad_value(L, i, t, w, NULL);
      double d[2] = {mt_sre(s), s.kind == K_COMPLEX ? s.im : 0};
      float f[2] = {(float)d[0], (float)d[1]};
      memcpy(dst, t->size == 8 ? (void *)f : (void *)d, t->size);
      return;
    }
    case CT_PTR: {
      luaL_checkstack(L, 4, NULL);
      if (lua_type(L, i) == LUA_TFUNCTION && t->to->kind == CT_FUNC) {
        if (!anchor) bad_value(L, i, t, w, "make a callback of it with ffi.callback and keep it");
        void *code = ffi_push_callback(L, t, i)->p;
        anchor_value(L, anchor, dst, -1);
        lua_pop(L, 1);
        memcpy(dst, &code, sizeof code);
        return;
      }
      void *p = pointer_value(L, i, t, w);
      if (anchor && p) anchor_value(L, anchor, dst, i);
      memcpy(dst, &p, sizeof p);
      return;
    }
    case CT_ARRAY: case CT_STRUCT:
      if (!t->complete) bad_value(L, i, t, w, "its size is not known");
      store_aggregate(L, i, t, dst, anchor, w);
      return;
    default: bad_value(L, i, t, w, NULL);
  }
}

/* ---- initialisers ---- */
static const CField *named_field(lua_State *L, CType *t, const char *name, size_t *offset) {
  const CField *f = ct_field(t, name, offset);
  if (f) return f;
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (int i = 0; t->complete && i < t->nfields; i++)
    if (t->fields[i].name) { luaL_addstring(&b, " "); luaL_addstring(&b, t->fields[i].name); }
  luaL_pushresult(&b);
  luaL_error(L, "%s has no member '%s'%s%s", t->name, name,
             t->complete ? "; it has" : ": it was not declared in full", lua_tostring(L, -1));
  return NULL;
}

/* One element or member by position; false when there is no such place. */
static bool place(CData *d, int64_t k, CType **t, char **at, const char **name) {
  if (d->type->kind == CT_ARRAY) {
    *t = d->type->to;
    *at = d->p + (size_t)k * (*t)->size;
    *name = NULL;
    return *at + (*t)->size <= d->hi;
  }
  if (k >= d->type->nfields || (d->type->is_union && k > 0)) return false;
  *t = d->type->fields[k].type;
  *at = d->p + d->type->fields[k].offset;
  *name = d->type->fields[k].name;
  return true;
}

static void fill_at(lua_State *L, CData *d, int self, int64_t k, int value) {
  CType *t = NULL;
  char *at = NULL;
  const char *name;
  char text[100];
  if (!place(d, k, &t, &at, &name))
    luaL_error(L, "too many initialisers for '%s'", ct_show(d->type, false, "", text, sizeof text));
  Where w = {.what = ct_show(d->type, false, "", text, sizeof text), .name = name};
  ffi_store(L, value, t, at, self, &w);
}

/* The list part fills from 0 on (key 0 as well), names fill members. */
static void fill_table(lua_State *L, CData *d, int self, int table) {
  table = lua_absindex(L, table);
  luaL_checkstack(L, 8, "initialisers nested too deeply");
  int64_t base = lua_rawgeti(L, table, 0) == LUA_TNIL;
  lua_pop(L, 1);
  lua_pushnil(L);
  while (lua_next(L, table)) {
    if (lua_isinteger(L, -2)) {
      lua_Integer k = lua_tointeger(L, -2) - base;
      if (k < 0) luaL_error(L, "an initialiser list begins at 1 (or 0)");
      fill_at(L, d, self, k, lua_gettop(L));
    } else if (lua_type(L, -2) == LUA_TSTRING && d->type->kind == CT_STRUCT) {
      size_t offset;
      const CField *f = named_field(L, d->type, lua_tostring(L, -2), &offset);
      Where w = {.what = d->type->name, .name = f->name};
      ffi_store(L, -1, f->type, d->p + offset, self, &w);
    } else luaL_error(L, "an initialiser's key must be a whole number or a member's name");
    lua_pop(L, 1);
  }
}

void ffi_fill(lua_State *L, CData *d, int self, int first, int n) {
  bool plain = n == 1 && lua_type(L, first) == LUA_TTABLE && !lua_getmetatable(L, first);
  if (n == 1 && lua_type(L, first) == LUA_TTABLE && !plain) lua_pop(L, 1);
  if (plain) { fill_table(L, d, self, first); return; }
  bool text = d->type->kind == CT_ARRAY && d->type->to->kind == CT_INT && d->type->to->size == 1 &&
              lua_type(L, first) == LUA_TSTRING;
  CData *same = n == 1 ? ffi_todata(L, first) : NULL;
  Tensor *x = n == 1 ? vm_totensor(L, first) : NULL;
  if (n == 1 && (text || (same && ct_same(same->type, d->type)) ||
                 (x && d->type->kind == CT_ARRAY && x->numel != 1))) {
    CType whole = *d->type;                /* a flexible array as long as it was made */
    char buf[100];
    Where w = {.what = ct_show(d->type, false, "", buf, sizeof buf)};
    whole.size = (size_t)(d->hi - d->p);
    whole.flexible = false;
    store_aggregate(L, first, &whole, d->p, self, &w);
    return;
  }
  for (int k = 0; k < n; k++) fill_at(L, d, self, k, first + k);
}

/* ---- metamethods ---- */
static void check_inside(lua_State *L, const CData *d, const char *at, size_t n) {
  if (d->lo && (at < d->lo || at + n > d->hi || at + n < at)) {
    char buf[120];
    luaL_error(L, "'%s': outside of its %d bytes", ct_show(d->type, false, "", buf, sizeof buf),
               (int)(d->hi - d->lo));
  }
}

/* Where key i of the value at 1 lies. */
static char *element(lua_State *L, CData *d, int key, CType **t, bool *is_const,
                     const char **name) {
  CType *of = d->type;
  char buf[120];
  *name = NULL;
  if (lua_type(L, key) == LUA_TNUMBER && (of->kind == CT_PTR || of->kind == CT_ARRAY)) {
    int ok;
    lua_Integer k = lua_tointegerx(L, key, &ok);
    if (!ok) luaL_error(L, "a C array's index must be a whole number");
    *t = of->to;
    *is_const = of->to_const || (of->kind == CT_ARRAY && d->is_const);
    if (!(*t)->complete || !(*t)->size)
      luaL_error(L, "'%s' cannot be indexed: the size of an element is not known",
                 ct_show(of, false, "", buf, sizeof buf));
    if (k > INT64_MAX / (int64_t)(*t)->size || k < INT64_MIN / (int64_t)(*t)->size)
      luaL_error(L, "index out of range");
    char *at = (char *)((uintptr_t)d->p + (uintptr_t)(k * (lua_Integer)(*t)->size));
    if (of->kind == CT_ARRAY && d->lo && (at < d->p || at + (*t)->size > d->hi))
      luaL_error(L, "index %I is outside of the array's %I elements", (LUAI_UACINT)k,
                 (LUAI_UACINT)((size_t)(d->hi - d->p) / (*t)->size));
    check_inside(L, d, at, (*t)->size);
    return at;
  }
  CType *s = of->kind == CT_PTR ? of->to : of;
  if (lua_type(L, key) == LUA_TSTRING && s->kind == CT_STRUCT) {
    size_t offset;
    const CField *f = named_field(L, s, lua_tostring(L, key), &offset);
    *t = f->type;
    *is_const = f->is_const || d->is_const || (of->kind == CT_PTR && of->to_const);
    *name = f->name;
    check_inside(L, d, d->p + offset, f->type->size);
    return d->p + offset;
  }
  luaL_error(L, "a C value of type '%s' has no '%s'", ct_show(of, d->is_const, "", buf, sizeof buf),
             luaL_tolstring(L, key, NULL));
  return NULL;
}

static bool is_callback(lua_State *L, const CData *d) {
  bool yes = d->type->kind == CT_PTR && d->type->to->kind == CT_FUNC &&
             lua_getiuservalue(L, 1, CD_OWNER) == LUA_TUSERDATA;
  return yes;
}

static int data_index(lua_State *L) {
  CData *d = ffi_check(L, 1);
  CType *t;
  bool is_const;
  const char *name;
  if (lua_type(L, 2) == LUA_TSTRING && !strcmp(lua_tostring(L, 2), "free") && is_callback(L, d)) {
    lua_pushcfunction(L, ffi_free_callback);
    return 1;
  }
  char *at = element(L, d, 2, &t, &is_const, &name);
  if (t->kind == CT_FUNC) { ffi_push_pointer(L, ffi_pointer_to(L, t, false), at); return 1; }
  ffi_push(L, t, at, is_const, 1, d);
  return 1;
}

static int data_newindex(lua_State *L) {
  CData *d = ffi_check(L, 1);
  CType *t;
  bool is_const;
  const char *name;
  char buf[120];
  char *at = element(L, d, 2, &t, &is_const, &name);
  if (is_const)
    return luaL_error(L, "'%s': const cannot be written",
                      ct_show(t, true, name ? name : "", buf, sizeof buf));
  Where w = {.what = ct_show(d->type, d->is_const && d->type->kind != CT_PTR, "", buf, sizeof buf),
             .name = name};
  ffi_store(L, 3, t, at, 1, &w);
  return 0;
}

/* The address arithmetic starts from, and what it points to. */
static CType *decayed(lua_State *L, CData *d) {
  if (d->type->kind == CT_PTR) return d->type;
  if (d->type->kind == CT_ARRAY)
    return ffi_pointer_to(L, d->type->to, d->type->to_const || d->is_const);
  char buf[120];
  luaL_error(L, "arithmetic on '%s': only pointers and arrays have it",
             ct_show(d->type, false, "", buf, sizeof buf));
  return NULL;
}

static int moved(lua_State *L, int at, int by, int sign) {
  CData *d = ffi_check(L, at);
  int ok;
  lua_Integer k = lua_tointegerx(L, by, &ok);
  if (!ok || lua_type(L, by) != LUA_TNUMBER)
    return luaL_error(L, "a pointer moves by a whole number, got %s", luaL_typename(L, by));
  CType *t = decayed(L, d);
  if (!t->to->size)
    return luaL_error(
        L, "pointer arithmetic needs the size of what it points to; use ffi.cast('char *', p)");
  CData *r = ffi_push_pointer(
      L, t, (void *)((uintptr_t)d->p + (uintptr_t)(sign * k * (lua_Integer)t->to->size)));
  if (r) r->lo = d->lo, r->hi = d->hi, set_owner(L, at);
  return 1;
}
static int data_add(lua_State *L) {
  return ffi_todata(L, 1) ? moved(L, 1, 2, 1) : moved(L, 2, 1, 1);
}
static int data_sub(lua_State *L) {
  CData *a = ffi_check(L, 1), *b = ffi_todata(L, 2);
  if (!b) return moved(L, 1, 2, -1);
  CType *t = decayed(L, a);
  if (!ct_same(t->to, decayed(L, b)->to) || !t->to->size)
    return luaL_error(L, "these pointers have no distance: they point to different types");
  lua_pushinteger(L, (lua_Integer)(a->p - b->p) / (lua_Integer)t->to->size);
  return 1;
}
static int data_eq(lua_State *L) {
  CData *a = ffi_todata(L, 1), *b = ffi_todata(L, 2);
  lua_pushboolean(L, a && b && a->p == b->p);
  return 1;
}
static int data_lt(lua_State *L) {
  lua_pushboolean(L, ffi_check(L, 1)->p < ffi_check(L, 2)->p);
  return 1;
}
static int data_le(lua_State *L) {
  lua_pushboolean(L, ffi_check(L, 1)->p <= ffi_check(L, 2)->p);
  return 1;
}
static int data_len(lua_State *L) {
  CData *d = ffi_check(L, 1);
  if (d->type->kind != CT_ARRAY) return luaL_error(L, "only C arrays have a length");
  lua_pushinteger(L, (lua_Integer)((size_t)(d->hi - d->p) / d->type->to->size));
  return 1;
}
static int data_tostring(lua_State *L) {
  CData *d = ffi_check(L, 1);
  char buf[160];
  lua_pushfstring(L, "cdata<%s>: %p",
                  ct_show(d->type, d->is_const && d->type->kind != CT_PTR, "", buf, sizeof buf),
                  (void *)d->p);
  return 1;
}
static int data_call(lua_State *L) {
  CData *d = ffi_check(L, 1);
  if (d->type->kind != CT_PTR || d->type->to->kind != CT_FUNC) {
    char buf[120];
    return luaL_error(L, "a C value of type '%s' cannot be called",
                      ct_show(d->type, d->is_const, "", buf, sizeof buf));
  }
  return ffi_invoke(L, d->type->to, d->p, 2, "function pointer");
}
static int data_gc(lua_State *L) {
  if (lua_getiuservalue(L, 1, CD_GC) == LUA_TNIL) return 0;
  lua_pushvalue(L, 1);
  lua_pushnil(L);
  lua_setiuservalue(L, 1, CD_GC);
  lua_call(L, 1, 0);
  return 0;
}
/* Members for completion at the prompt. */
static int data_dir(lua_State *L) {
  CData *d = ffi_check(L, 1);
  CType *t = d->type->kind == CT_PTR ? d->type->to : d->type;
  lua_newtable(L);
  for (int i = 0, n = 0; t->kind == CT_STRUCT && i < t->nfields; i++)
    if (t->fields[i].name) { lua_pushstring(L, t->fields[i].name); lua_rawseti(L, -2, ++n); }
  return 1;
}

void ffi_open_values(lua_State *L) {
  static const luaL_Reg events[] = {{"__index", data_index},
                                    {"__newindex", data_newindex},
                                    {"__add", data_add},
                                    {"__sub", data_sub},
                                    {"__eq", data_eq},
                                    {"__lt", data_lt},
                                    {"__le", data_le},
                                    {"__len", data_len},
                                    {"__tostring", data_tostring},
                                    {"__call", data_call},
                                    {"__gc", data_gc},
                                    {"__dir", data_dir},
                                    {NULL, NULL}};
  luaL_newlib(L, events);
  lua_pushliteral(L, "cdata");
  lua_setfield(L, -2, "__name");
  lua_pushliteral(L, "cdata");
  lua_setfield(L, -2, "__metatable");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &data_meta);
}
