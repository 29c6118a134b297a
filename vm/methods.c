/* methods.c: what a Tensor is to Lua beside its ops: attributes, sizes, values, casts, printing,
 * indexing events. */
#include "vm.h"
#include <stdio.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#define SELF Tensor *x = vm_checktensor(L, 1)
#define ENTER Ctx *c = vm_ctx(L); Scope sc = mt_open(c)

static int m_size(lua_State *L) {
  SELF;
  if (lua_isnoneornil(L, 2)) { vm_pushsize(L, x->size, x->ndim); return 1; }
  ENTER;
  int64_t d;
  if (lua_istable(L, 2)) { lua_getfield(L, 2, "dim"); lua_replace(L, 2); }
  if (!vm_toint(L, 2, &d)) return luaL_error(L, "size: dim must be an integer");
  int k = mt_dim(c, d, x->ndim);
  if (k >= 0 && x->ndim == 0)
    mt_fail(c, "size: dimension specified as %lld but tensor has no dimensions", (long long)d);
  lua_pushinteger(L, k < 0 || !x->ndim ? 0 : x->size[k]);
  return vm_leave(L, c, sc, 1);
}
static int m_stride(lua_State *L) {
  SELF;
  if (lua_isnoneornil(L, 2)) { /* a tuple: printed as a list, compared like one */
    vm_pushsize(L, x->stride, x->ndim);
    return 1;
  }
  ENTER;
  int k = mt_dim(c, luaL_checkinteger(L, 2), x->ndim);
  lua_pushinteger(L, k < 0 || !x->ndim ? 0 : x->stride[k]);
  return vm_leave(L, c, sc, 1);
}
static int m_dim(lua_State *L) { SELF; lua_pushinteger(L, x->ndim); return 1; }
static int m_numel(lua_State *L) { SELF; lua_pushinteger(L, x->numel); return 1; }
static int m_len(lua_State *L) {
  SELF;
  if (!x->ndim) return luaL_error(L, "# of a 0-dim tensor");
  lua_pushinteger(L, x->size[0]);
  return 1;
}
static int m_storage_offset(lua_State *L) { SELF; lua_pushinteger(L, x->offset); return 1; }
static int m_element_size(lua_State *L) {
  SELF;
  lua_pushinteger(L, (lua_Integer)mt_dsize(x->dtype));
  return 1;
}
static int m_nbytes(lua_State *L) {
  SELF;
  lua_pushinteger(L, x->numel * (lua_Integer)mt_dsize(x->dtype));
  return 1;
}
static int m_data_ptr(lua_State *L) {
  SELF;
  lua_pushinteger(L, (lua_Integer)(intptr_t)mt_data(x));
  return 1;
}
static int m_storage_ptr(lua_State *L) {
  SELF;
  lua_pushinteger(L, (lua_Integer)(intptr_t)x->st->data);
  return 1;
}
static int m_storage_size(lua_State *L) {
  SELF;
  lua_pushinteger(L, x->st->nbytes / (lua_Integer)mt_dsize(x->dtype));
  return 1;
}
static int m_version(lua_State *L) {
  SELF;
  if (x->flags & MT_INFERENCE)
    return luaL_error(L, "Inference tensors do not track version counter");
  lua_pushinteger(L, x->st->version); return 1; }
static int m_is_contiguous(lua_State *L) {
  SELF;
  int fmt = 0;
  if (lua_istable(L, 2)) {
    lua_getfield(L, 2, "memory_format");
    fmt = vm_toconst(L, -1, "memory_format");
  }
  if (fmt <= 0) lua_pushboolean(L, mt_is_contiguous(x));
  else {
    int n = fmt == 1 ? 4 : 5;
    bool yes = x->ndim == n;
    int64_t acc = 1;
    for (int k = 0; yes && k < n; k++) {
      int d = k == 0 ? 1 : k == n - 1 ? 0 : n - k;
      if (x->size[d] != 1) { yes = x->stride[d] == acc; acc *= x->size[d]; }
    }
    lua_pushboolean(L, yes);
  }
  return 1;
}
static int m_is_floating_point(lua_State *L) {
  SELF;
  lua_pushboolean(L, mt_is_float(x->dtype));
  return 1;
}
static int m_is_complex(lua_State *L) {
  SELF;
  lua_pushboolean(L, mt_is_complex(x->dtype));
  return 1;
}
static int m_is_signed(lua_State *L) { SELF; lua_pushboolean(L, x->dtype > MT_uint8); return 1; }
static int m_is_conj(lua_State *L) {
  SELF;
  lua_pushboolean(L, x->flags & MT_CONJ && mt_is_complex(x->dtype));
  return 1;
}
static int m_is_neg(lua_State *L) { SELF; lua_pushboolean(L, x->flags & MT_NEG); return 1; }
static int m_is_inference(lua_State *L) {
  SELF;
  lua_pushboolean(L, x->flags & MT_INFERENCE);
  return 1;
}
static int m_is_same_size(lua_State *L) {
  SELF;
  Tensor *y = vm_checktensor(L, 2);
  lua_pushboolean(L, x->ndim == y->ndim && !memcmp(x->size, y->size, sizeof(int64_t) * x->ndim));
  return 1;
}
static int m_is_set_to(lua_State *L) {
  SELF;
  Tensor *y = vm_checktensor(L, 2);
  lua_pushboolean(L, x->st == y->st && x->offset == y->offset && x->ndim == y->ndim &&
                         !memcmp(x->size, y->size, sizeof(int64_t) * x->ndim) &&
                         !memcmp(x->stride, y->stride, sizeof(int64_t) * x->ndim));
  return 1;
}

static int m_item(lua_State *L) {
  SELF;
  ENTER;
  Scalar s = mt_item(c, x);
  if (!c->err) vm_pushscalar(L, s);
  return vm_leave(L, c, sc, 1);
}

static void push_list(lua_State *L, const Tensor *x, int d, const char *p) {
  if (d == x->ndim) { vm_pushscalar(L, mt_load(p, (DType)x->dtype)); return; }
  luaL_checkstack(L, 4, "nested too deeply");
  lua_createtable(L, (int)(x->size[d] < INT_MAX ? x->size[d] : INT_MAX), 0);
  for (int64_t i = 0; i < x->size[d] && !mt_interrupted; i++) {
    int64_t step = i && x->numel ? x->stride[d] * (int64_t)mt_dsize(x->dtype) : 0;
    push_list(L, x, d + 1, p + i * step);
    lua_rawseti(L, -2, i + 1);
  }
}
/* Would the tables of tolist fill this machine's memory?  Sizes beside a 0 make tables too. */
static bool lists_too_large(const Tensor *x) {
  double tables = 1, bytes = 0,
         have = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
  for (int d = 0; d < x->ndim; d++) {
    bytes += tables * (56 + 16 * (double)x->size[d]);
    tables *= (double)x->size[d];
  }
  return bytes > have;
}
static int m_tolist(lua_State *L) {
  SELF;
  ENTER;
  if (mt_meta(x)) mt_fail(c, "tolist: a meta tensor has no values");
  else if (lists_too_large(x))
    mt_fail(c, "tolist: the tables of a tensor of shape %s would fill this machine's memory",
            mt_list_str(c, mt_sizes(x)));
  Tensor *r = t_detach(c, t_resolve_neg(c, t_resolve_conj(c, x)));
  if (r) push_list(L, r, 0, mt_data(r));
  mt_poll(c);
  return vm_leave(L, c, sc, 1);
}

/* x:to(dtype | device | other, {dtype=, device=, copy=, memory_format=}) */
static int m_to(lua_State *L) {
  SELF;
  ENTER;
  int dtype = -1, device = -1, fmt = -1, n = lua_gettop(L);
  bool copy = false, any = false;
  for (int i = 2; i <= n; i++) {
    Tensor *o = vm_totensor(L, i);
    int d = vm_todtype(L, i), dev = vm_todevice(L, i);
    if (lua_isnil(L, i) || vm_isnone(L, i)) continue;
    if (o) { dtype = o->dtype; device = o->device; }
    else if (d >= 0) dtype = d;
    else if (dev >= 0) device = dev;
    else if (lua_isboolean(L, i)) {
      if (any) copy = lua_toboolean(L, i);
      any = true;
    } /* non_blocking, copy */
    else if (lua_istable(L, i)) {
      lua_pushnil(L);
      while (lua_next(L, i)) {
        const char *k = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        int v = lua_gettop(L);
        if (!strcmp(k, "dtype")) {
          if (!vm_isnone(L, v) && (dtype = vm_todtype(L, v)) < 0)
            mt_fail(c, "to: dtype must be a dtype");
        } else if (!strcmp(k, "device")) {
          if (!vm_isnone(L, v) && (device = vm_todevice(L, v)) < 0)
            mt_fail(c, "to: unknown device");
        } else if (!strcmp(k, "copy")) copy = lua_toboolean(L, v);
        else if (!strcmp(k, "memory_format")) {
          if (!vm_isnone(L, v)) fmt = vm_toconst(L, v, "memory_format");
        } else if (strcmp(k, "non_blocking")) mt_fail(c, "to: unknown keyword '%s'", k);
        lua_pop(L, 1);
      }
    } else {
      mt_fail(c, "to: expected a dtype, a device or a tensor as argument %d, got %s", i - 1,
              luaL_typename(L, i));
    }
    if (c->err) return vm_leave(L, c, sc, 0);
  }
  if (dtype < 0) dtype = x->dtype;
  if (device >= 0 && device != x->device) {
    if (device != MT_META) {
      mt_fail(c, "to: a meta tensor has no data to copy to another device");
      return vm_leave(L, c, sc, 0);
    }
    vm_pushtensor(L, t_empty_strided(c, mt_sizes(x), mt_il(x->stride, x->ndim), dtype, -1, device,
                                     -1, false));
    return vm_leave(L, c, sc, 1);
  }
  bool same = x->dtype == dtype && !copy;
  if (same && fmt > 0 && fmt < 3) {
    Tensor *r = t_contiguous(c, x, fmt);
    if (r == x) lua_pushvalue(L, 1); else vm_pushtensor(L, r);
    return vm_leave(L, c, sc, 1);
  }
  if (same && mt_suggests(x, fmt)) { lua_pushvalue(L, 1); return vm_leave(L, c, sc, 1); }
  vm_pushtensor(L, t_to_dtype(c, x, dtype, copy, fmt));
  return vm_leave(L, c, sc, 1);
}

/* x:float(), x:long(), ...: the upvalue is the dtype. */
static int m_cast(lua_State *L) {
  SELF;
  int d = (int)lua_tointeger(L, lua_upvalueindex(1)), fmt = -1;
  if (lua_istable(L, 2)) {
    lua_getfield(L, 2, "memory_format");
    fmt = vm_toconst(L, -1, "memory_format");
    lua_pop(L, 1);
  }
  ENTER;
  if (x->dtype == d && mt_suggests(x, fmt)) { lua_pushvalue(L, 1); return vm_leave(L, c, sc, 1); }
  vm_pushtensor(L, t_to_dtype(c, x, d, false, fmt));
  return vm_leave(L, c, sc, 1);
}
static int m_type(lua_State *L) {
  SELF;
  if (lua_isnoneornil(L, 2)) {
    lua_pushfstring(L, "torch.%s", mt_dtypes[x->dtype].tname);
    return 1;
  }
  int d = vm_todtype(L, 2);
  if (d < 0) return luaL_error(L, "type: expected a dtype, got %s", luaL_typename(L, 2));
  ENTER;
  if (d == x->dtype) lua_pushvalue(L, 1); else vm_pushtensor(L, t_to_dtype(c, x, d, false, -1));
  return vm_leave(L, c, sc, 1);
}
static int m_type_as(lua_State *L) {
  SELF;
  Tensor *y = vm_checktensor(L, 2);
  if (x->dtype == y->dtype) { lua_pushvalue(L, 1); return 1; }
  ENTER;
  vm_pushtensor(L, t_to_dtype(c, x, y->dtype, false, -1));
  return vm_leave(L, c, sc, 1);
}
static int m_copy_(lua_State *L) {
  SELF;
  ENTER;
  Scalar s;
  Tensor *y = vm_totensor(L, 2);
  if (!y && vm_toscalar(L, 2, &s)) y = mt_wrap(c, s);
  if (!y) mt_fail(c, "copy_: expected a Tensor as source, got %s", luaL_typename(L, 2));
  else t_copy_(c, x, y, false);
  lua_pushvalue(L, 1);
  return vm_leave(L, c, sc, 1);
}
/* x:set_(source [, offset, size, stride]): x becomes a view of source's storage. */
static int m_set_(lua_State *L) {
  SELF;
  ENTER;
  Tensor *y = vm_totensor(L, 2), *v = NULL;
  IntList size = mt_ilnone(), stride = mt_ilnone();
  if (!y) {
    mt_fail(c, "set_: expected a Tensor whose storage is shared");
    return vm_leave(L, c, sc, 0);
  }
  if (x->base || x->flags & MT_REQ_GRAD) {
    mt_fail(c, "set_: a view or a tensor that requires grad cannot change its storage");
    return vm_leave(L, c, sc, 0);
  }
  if (lua_isnoneornil(L, 3))
    v = mt_from_storage(c, y->st, mt_sizes(y), mt_il(y->stride, y->ndim), y->offset,
                        (DType)x->dtype);
  else {
    int64_t st[MT_MAXDIM], acc = 1, off = luaL_checkinteger(L, 3);
    if (!vm_tointlist(L, c, 4, &size)) {
      mt_fail(c, "set_: size must be a list of integers");
      return vm_leave(L, c, sc, 0);
    }
    if (!lua_isnoneornil(L, 5) && !vm_tointlist(L, c, 5, &stride))
      mt_fail(c, "set_: stride must be a list of integers");
    if (stride.n < 0 && size.n <= MT_MAXDIM) {
      for (int64_t i = size.n - 1; i >= 0; i--) {
        st[i] = acc;
        acc *= size.v[i] > 1 ? size.v[i] : 1;
      }
      stride = mt_il(st, size.n);
    }
    v = mt_from_storage(c, y->st, size, stride, off, (DType)x->dtype);
  }
  if (v && x->dtype != y->dtype)
    mt_fail(c, "set_: dtypes differ (%s and %s)", mt_dtypes[x->dtype].name,
            mt_dtypes[y->dtype].name);
  if (v && !c->err) {
    mt_become(c, x, v);
  }
  lua_pushvalue(L, 1);
  return vm_leave(L, c, sc, 1);
}

/* ---- attributes ---- */
static int a_shape(lua_State *L) { SELF; vm_pushsize(L, x->size, x->ndim); return 1; }
static int a_dtype(lua_State *L) { SELF; vm_pushdtype(L, (DType)x->dtype); return 1; }
static int a_device(lua_State *L) { SELF; vm_pushdevice(L, x->device); return 1; }
static int a_layout(lua_State *L) { vm_pushconst(L, "layout", "strided", 0); return 1; }
static int a_is_cpu(lua_State *L) { SELF; lua_pushboolean(L, !mt_meta(x)); return 1; }
static int a_is_meta(lua_State *L) { SELF; lua_pushboolean(L, mt_meta(x)); return 1; }
static int a_false(lua_State *L) { lua_pushboolean(L, 0); return 1; }
static int a_real(lua_State *L) {
  SELF;
  ENTER;
  Tensor *r = t_real(c, x);
  if (r == x) lua_pushvalue(L, 1); else vm_pushtensor(L, r);
  return vm_leave(L, c, sc, 1);
}
static int a_imag(lua_State *L) {
  SELF;
  ENTER;
  vm_pushtensor(L, t_imag(c, x));
  return vm_leave(L, c, sc, 1);
}

/* ---- events ---- */
static const char *skip_letters(const char *s) {
  while (*s == '_' || (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
         (*s >= '0' && *s <= '9'))
    s++;
  return s;
}
static bool is_identifier(const char *s) {
  if (!(*s == '_' || (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z'))) return false;
  return !*skip_letters(s) && strcmp(s, "None") && strcmp(s, "True") && strcmp(s, "False");
}

size_t vm_distance(const char *a, const char *b) {
  size_t row[64], n = strlen(b);
  if (strlen(a) > 60 || n > 60) return 99;
  for (size_t j = 0; j <= n; j++) row[j] = j;
  for (size_t i = 1; a[i - 1]; i++) {
    size_t diag = row[0];
    row[0] = i;
    for (size_t j = 1; j <= n; j++) {
      size_t up = row[j], best = diag + (a[i - 1] != b[j - 1]);
      if (up + 1 < best) best = up + 1;
      if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
      diag = up;
      row[j] = best;
    }
  }
  return row[n];
}
/* The nearest string key of the table on top (left there), or NULL. */
static const char *nearest(lua_State *L, const char *name, size_t *best) {
  const char *found = NULL;
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) != LUA_TSTRING) continue;
    const char *k = lua_tostring(L, -1);
    size_t d = vm_distance(name, k);
    if (d < *best || (d == *best && found && strcmp(k, found) < 0)) { *best = d; found = k; }
  }
  return found;
}
static int unknown_field(lua_State *L, const char *k) {
  size_t best = strlen(k) / 3 + 1;
  vm_push_methods(L);
  const char *m = nearest(L, k, &best);
  vm_push_attrs(L);
  size_t was = best;
  const char *a = nearest(L, k, &best);
  if (a && (best < was || !m)) m = a;
  if (m) return luaL_error(L, "Tensor has no method or attribute '%s' (did you mean '%s'?)", k, m);
  return luaL_error(L, "Tensor has no method or attribute '%s'", k);
}

/* upvalues: methods, attributes */
static int m_index(lua_State *L) {
  if (lua_type(L, 2) == LUA_TSTRING) {
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
    lua_pop(L, 1);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(2)) != LUA_TNIL) {
      lua_pushvalue(L, 1);
      lua_call(L, 1, 1);
      return 1;
    }
    lua_pop(L, 1);
    const char *k = lua_tostring(L, 2);
    if (is_identifier(k)) return unknown_field(L, k);
  }
  SELF;
  ENTER;
  Tensor *r = vm_index(L, c, x, 2);
  vm_pushtensor(L, r);
  return vm_leave(L, c, sc, 1);
}

static const char setters_key = 0;
static int m_newindex(lua_State *L) {
  SELF;
  if (lua_type(L, 2) == LUA_TSTRING) {
    const char *k = lua_tostring(L, 2);
    if (is_identifier(k)) {
      lua_rawgetp(L, LUA_REGISTRYINDEX, &setters_key);
      lua_getfield(L, -1, k);
      if (lua_isfunction(L, -1)) {
        lua_pushvalue(L, 1);
        lua_pushvalue(L, 3);
        lua_call(L, 2, 0);
        return 0;
      }
      return luaL_error(L, "Tensor has no attribute '%s' that can be set", k);
    }
  }
  ENTER;
  vm_setindex(L, c, x, 2, 3);
  return vm_leave(L, c, sc, 0);
}

/* <, <=: one-element tensors by value. */
static int compare(lua_State *L, bool or_equal) {
  Scalar a, b;
  for (int i = 1; i <= 2; i++) {
    Tensor *t = vm_totensor(L, i);
    Ctx *c = vm_ctx(L);
    Scalar *s = i == 1 ? &a : &b;
    if (t && t->numel != 1)
      return luaL_error(
          L, "a tensor of %d elements cannot be ordered by < or <=; use x:lt(y), x:le(y)",
          (int)t->numel);
    if (t) { *s = mt_item(c, t); if (c->err) vm_raise(L, c, c->npool);
    } else if (!vm_toscalar(L, i, s))
      return luaL_error(L, "attempt to compare a Tensor with %s", luaL_typename(L, i));
  }
  bool ints = a.kind < K_FLOAT && b.kind < K_FLOAT;
  double x = mt_sre(a), y = mt_sre(b);
  lua_pushboolean(L, ints ? (or_equal ? a.i <= b.i : a.i < b.i) : (or_equal ? x <= y : x < y));
  return 1;
}
static int m_lt(lua_State *L) { return compare(L, false); }
static int m_le(lua_State *L) { return compare(L, true); }

void vm_push_setters(lua_State *L) ;
void vm_push_setters(lua_State *L) { lua_rawgetp(L, LUA_REGISTRYINDEX, &setters_key); }

int vm_open_methods(lua_State *L);
int vm_open_methods(lua_State *L) {
  static const luaL_Reg methods[] = {{"size", m_size},
                                     {"stride", m_stride},
                                     {"dim", m_dim},
                                     {"ndimension", m_dim},
                                     {"numel", m_numel},
                                     {"nelement", m_numel},
                                     {"storage_offset", m_storage_offset},
                                     {"element_size", m_element_size},
                                     {"data_ptr", m_data_ptr},
                                     {"storage_ptr", m_storage_ptr},
                                     {"storage_size", m_storage_size},
                                     {"is_contiguous", m_is_contiguous},
                                     {"is_floating_point", m_is_floating_point},
                                     {"is_complex", m_is_complex},
                                     {"is_signed", m_is_signed},
                                     {"is_conj", m_is_conj},
                                     {"is_neg", m_is_neg},
                                     {"is_inference", m_is_inference},
                                     {"is_same_size", m_is_same_size},
                                     {"is_set_to", m_is_set_to},
                                     {"item", m_item},
                                     {"tolist", m_tolist},
                                     {"to", m_to},
                                     {"type", m_type},
                                     {"type_as", m_type_as},
                                     {"copy_", m_copy_},
                                     {"set_", m_set_},
                                     {NULL, NULL}};
  static const luaL_Reg attrs[] = {{"shape", a_shape},      {"dtype", a_dtype},
                                   {"device", a_device},    {"layout", a_layout},
                                   {"ndim", m_dim},         {"real", a_real},
                                   {"imag", a_imag},        {"is_cpu", a_is_cpu},
                                   {"is_meta", a_is_meta},  {"is_cuda", a_false},
                                   {"is_sparse", a_false},  {"is_quantized", a_false},
                                   {"nbytes", m_nbytes},    {"itemsize", m_element_size},
                                   {"_version", m_version}, {NULL, NULL}};
  static const struct { const char *name; DType d;
  } casts[] = {{"bool", MT_bool},      {"byte", MT_uint8},        {"char", MT_int8},
               {"short", MT_int16},    {"int", MT_int32},         {"long", MT_int64},
               {"half", MT_float16},   {"bfloat16", MT_bfloat16}, {"float", MT_float32},
               {"double", MT_float64}, {"cfloat", MT_complex64},  {"cdouble", MT_complex128}};
  static const luaL_Reg events[] = {
      {"__len", m_len}, {"__newindex", m_newindex}, {"__lt", m_lt}, {"__le", m_le}, {NULL, NULL}};
  vm_push_methods(L);
  luaL_setfuncs(L, methods, 0);
  for (size_t i = 0; i < sizeof casts / sizeof *casts; i++) {
    lua_pushinteger(L, casts[i].d);
    lua_pushcclosure(L, m_cast, 1);
    lua_setfield(L, -2, casts[i].name);
  }
  lua_getfield(L, -1, "repeat");                     /* a reserved word in Lua */
  lua_setfield(L, -2, "rep");
  vm_push_attrs(L);
  luaL_setfuncs(L, attrs, 0);
  vm_push_tensor_meta(L);
  luaL_setfuncs(L, events, 0);
  lua_insert(L, -3);
  lua_pushcclosure(L, m_index, 2);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  lua_newtable(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &setters_key);
  return 0;
}
