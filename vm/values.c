/* values.c: dtypes, devices, memory formats, complex numbers and torch.Size as Lua values. */
#include "vm.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- constants: one userdata each, kept in the registry, compared by identity ---- */
typedef struct { const void *magic; char kind[16]; char name[32]; int value; } Const;
static const char const_magic = 0, const_key = 0, const_meta = 0;

static Const *toconst(lua_State *L, int i) {
  Const *k = lua_touserdata(L, i);
  return k && lua_type(L, i) == LUA_TUSERDATA && lua_rawlen(L, i) == sizeof *k &&
                 k->magic == &const_magic
             ? k
             : NULL;
}
static int const_tostring(lua_State *L) {
  Const *k = toconst(L, 1);
  if (!k) return luaL_typeerror(L, 1, "constant");
  if (!strcmp(k->kind, "device")) lua_pushfstring(L, "device(type='%s')", k->name);
  else lua_pushfstring(L, "torch.%s", k->name);
  return 1;
}
static int const_index(lua_State *L) {
  Const *k = toconst(L, 1);
  const char *f = lua_tostring(L, 2);
  if (!k || !f) return 0;
  if (!strcmp(k->kind, "device")) {
    if (!strcmp(f, "type")) { lua_pushstring(L, k->name); return 1; }
    if (!strcmp(f, "index")) { lua_pushnil(L); return 1; }
  } else if (!strcmp(k->kind, "dtype")) {
    if (!strcmp(f, "is_floating_point")) { lua_pushboolean(L, mt_is_float(k->value)); return 1; }
    if (!strcmp(f, "is_complex")) { lua_pushboolean(L, mt_is_complex(k->value)); return 1; }
    if (!strcmp(f, "is_signed")) { lua_pushboolean(L, k->value > MT_uint8); return 1; }
    if (!strcmp(f, "itemsize")) { lua_pushinteger(L, (lua_Integer)mt_dsize(k->value)); return 1; }
    if (!strcmp(f, "name")) { lua_pushstring(L, k->name); return 1; }
  }
  return luaL_error(L, "torch.%s has no field '%s'", k->name, f);
}

void vm_pushconst(lua_State *L, const char *kind, const char *name, int value) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &const_key);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &const_key);
    lua_newtable(L);
    lua_pushcfunction(L, const_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushcfunction(L, const_index);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "torch.constant");
    lua_setfield(L, -2, "__name");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &const_meta);
  }
  lua_pushfstring(L, "%s:%s", kind, name);
  lua_pushvalue(L, -1);
  if (lua_rawget(L, -3) == LUA_TNIL) {
    lua_pop(L, 1);
    Const *k = lua_newuserdatauv(L, sizeof *k, 0);
    memset(k, 0, sizeof *k);
    k->magic = &const_magic;
    snprintf(k->kind, sizeof k->kind, "%s", kind);
    snprintf(k->name, sizeof k->name, "%s", name);
    k->value = value;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &const_meta);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_rawset(L, -5);
  }
  lua_replace(L, -3);
  lua_pop(L, 1);
}
int vm_toconst(lua_State *L, int i, const char *kind) {
  Const *k = toconst(L, i);
  return k && !strcmp(k->kind, kind) ? k->value : -1;
}
void vm_pushdtype(lua_State *L, DType d) { vm_pushconst(L, "dtype", mt_dtypes[d].name, d); }
int vm_todtype(lua_State *L, int i) { return vm_toconst(L, i, "dtype"); }
void vm_pushdevice(lua_State *L, int d) {
  vm_pushconst(L, "device", d == MT_META ? "meta" : "cpu", d);
}
int vm_todevice(lua_State *L, int i) {
  if (lua_type(L, i) == LUA_TSTRING) {
    const char *s = lua_tostring(L, i);
    return !strcmp(s, "cpu") || !strcmp(s, "cpu:0") ? MT_CPU : !strcmp(s, "meta") ? MT_META : -1;
  }
  return vm_toconst(L, i, "device");
}

/* ---- complex numbers ---- */
static const char complex_meta = 0;
typedef struct { const void *magic; double re, im; } Complex;
static Complex *tocomplex(lua_State *L, int i) {
  Complex *z = lua_touserdata(L, i);
  return z && lua_type(L, i) == LUA_TUSERDATA && lua_rawlen(L, i) == sizeof *z &&
                 z->magic == &complex_meta
             ? z
             : NULL;
}
static int complex_index(lua_State *L) {
  Complex *z = tocomplex(L, 1);
  const char *k = lua_tostring(L, 2);
  if (!z || !k) return 0;
  if (!strcmp(k, "real")) lua_pushnumber(L, z->re);
  else if (!strcmp(k, "imag")) lua_pushnumber(L, z->im);
  else return luaL_error(L, "a complex number has fields real and imag, not '%s'", k);
  return 1;
}
static int complex_eq(lua_State *L) {
  Complex *a = tocomplex(L, 1), *b = tocomplex(L, 2);
  lua_pushboolean(L, a && b && a->re == b->re && a->im == b->im);
  return 1;
}
static int complex_tostring(lua_State *L) {
  Complex *z = tocomplex(L, 1);
  if (!z) return 0;
  char b[96];
  snprintf(b, sizeof b, "(%.17g%+.17gj)", z->re, z->im);
  lua_pushstring(L, b);
  return 1;
}
static int complex_arith(lua_State *L) {
  Scalar a, b;
  static const char ops[] = "+-*/^";
  int op = (int)lua_tointeger(L, lua_upvalueindex(1));
  if (op == 5) {
    if (!vm_toscalar(L, 1, &a)) return 0;
    vm_pushscalar(L, mt_sc(-mt_sre(a), -a.im));
    return 1;
  }
  if (vm_totensor(L, 2)) {                  /* number op tensor is the tensor's business */
    static const char *const ev[] = {"__add", "__sub", "__mul", "__div", "__pow"};
    luaL_getmetafield(L, 2, ev[op]);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_call(L, 2, 1);
    return 1;
  }
  if (!vm_toscalar(L, 1, &a) || !vm_toscalar(L, 2, &b))
    return luaL_error(L, "a complex number can be combined with numbers only");
  cdouble x = CMPLX(mt_sre(a), a.im), y = CMPLX(mt_sre(b), b.im), z;
  switch (ops[op]) {
    case '+': z = x + y; break;
    case '-': z = x - y; break;
    case '*': z = x * y; break;
    case '/': z = x / y; break;
    default: z = cpow(x, y);
  }
  vm_pushscalar(L, mt_sc(creal(z), cimag(z)));
  return 1;
}

void vm_pushscalar(lua_State *L, Scalar s) {
  if (s.kind == K_BOOL) lua_pushboolean(L, s.i != 0);
  else if (s.kind == K_INT) lua_pushinteger(L, s.i);
  else if (s.kind == K_FLOAT) lua_pushnumber(L, s.d);
  else if (s.kind == K_NONE) lua_pushnil(L);
  else {
    Complex *z = lua_newuserdatauv(L, sizeof *z, 0);
    z->magic = &complex_meta;
    z->re = s.d;
    z->im = s.im;
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &complex_meta) == LUA_TNIL) {
      static const char *const ev[] = {"__add", "__sub", "__mul", "__div", "__pow", "__unm"};
      lua_pop(L, 1);
      lua_newtable(L);
      lua_pushcfunction(L, complex_index);
      lua_setfield(L, -2, "__index");
      lua_pushcfunction(L, complex_eq);
      lua_setfield(L, -2, "__eq");
      lua_pushcfunction(L, complex_tostring);
      lua_setfield(L, -2, "__tostring");
      lua_pushliteral(L, "complex");
      lua_setfield(L, -2, "__name");
      for (int i = 0; i < 6; i++) {
        lua_pushinteger(L, i);
        lua_pushcclosure(L, complex_arith, 1);
        lua_setfield(L, -2, ev[i]);
      }
      lua_pushvalue(L, -1);
      lua_rawsetp(L, LUA_REGISTRYINDEX, &complex_meta);
    }
    lua_setmetatable(L, -2);
  }
}

bool vm_toscalar(lua_State *L, int i, Scalar *s) {
  switch (lua_type(L, i)) {
    case LUA_TNUMBER:
      if (lua_isinteger(L, i)) *s = mt_si(lua_tointeger(L, i));
      else *s = mt_sd(lua_tonumber(L, i));
      return true;
    case LUA_TBOOLEAN: *s = mt_sb(lua_toboolean(L, i)); return true;
    case LUA_TUSERDATA: {
      Complex *z = tocomplex(L, i);
      if (!z) return false;
      *s = mt_sc(z->re, z->im);
      return true;
    }
    default: return false;
  }
}

bool vm_toint(lua_State *L, int i, int64_t *v) {
  if (lua_type(L, i) == LUA_TNUMBER) {
    int ok;
    *v = lua_tointegerx(L, i, &ok);
    return ok != 0;
  }
  Tensor *t = vm_totensor(L, i);
  if (!t || t->numel != 1 || !mt_is_int(t->dtype) || t->dtype == MT_bool || mt_meta(t))
    return false;
  *v = mt_sint(mt_load(mt_data(t), (DType)t->dtype));
  return true;
}

bool vm_tointlist(lua_State *L, Ctx *c, int i, IntList *l) {
  bool pop = vm_issize(L, i);
  if (pop) { vm_size_values(L, i); i = lua_gettop(L); }
  else if (lua_type(L, i) != LUA_TTABLE) {
    Tensor *t = vm_totensor(L, i);
    if (!t || t->ndim != 1 || !mt_is_int(t->dtype) || t->dtype == MT_bool || mt_meta(t))
      return false;
    Tensor *f = mt_contig_as(c, t, MT_int64);
    if (!f) return false;
    *l = mt_il(mt_data(f), f->numel);
    return true;
  }
  lua_Integer n = (lua_Integer)lua_rawlen(L, i);
  int64_t *v = mt_tmp(c, sizeof(int64_t) * (size_t)(n + 1));
  if (!v) { if (pop) lua_pop(L, 1); return false; }
  for (lua_Integer k = 1; k <= n; k++) {
    lua_rawgeti(L, i, k);
    bool ok = vm_toint(L, -1, &v[k - 1]);
    lua_pop(L, 1);
    if (!ok) { if (pop) lua_pop(L, 1); return false; }
  }
  *l = mt_il(v, n);
  if (pop) lua_pop(L, 1);
  return true;
}
