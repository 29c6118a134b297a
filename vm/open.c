/* open.c: opens Lua's libraries and ours: the torch table and its namespaces, the globals torch,
 * nn, F, optim. */
#include "host.h"
#include "vm.h"
#include "vm_print.h"
#include "formats.h"
#include <string.h>

int vm_open_tensor(lua_State *L);
int vm_open_methods(lua_State *L);
int vm_open_size(lua_State *L);
int vm_open_index(lua_State *L);
void vm_open_autograd(lua_State *L, int torch);

#define ENTER Ctx *c = vm_ctx(L); Scope sc = mt_open(c)

/* A keyword of the trailing table at i: pushes it and returns true. */
static bool kwarg(lua_State *L, int i, const char *name) {
  if (!lua_istable(L, i)) return false;
  lua_getfield(L, i, name);
  if (!lua_isnil(L, -1)) return true;
  lua_pop(L, 1);
  return false;
}

/* torch.tensor(data, {dtype =, device =, requires_grad =}); a table with both parts is a whole
 * call. */
static int t_tensor_new(lua_State *L) {
  ENTER;
  int kw = 2, dtype = -1;
  bool grad = false, whole = false;
  if (lua_gettop(L) == 0) return luaL_error(L, "tensor: argument 'data' is missing");
  if (lua_gettop(L) == 1 && lua_istable(L, 1) && !lua_getmetatable(L, 1)) {
    lua_pushnil(L);
    bool strings = false;
    while (lua_next(L, 1)) { lua_pop(L, 1); strings |= lua_type(L, -1) == LUA_TSTRING; }
    if (strings) { /* torch.tensor{{1, 2}, dtype = d}: the list part is the data */
      whole = true;
      kw = 1;
    }
  }
  lua_settop(L, whole ? 1 : 2);
  if (!lua_isnoneornil(L, kw) && !lua_istable(L, kw))
    return luaL_error(L, "tensor: keywords must be a table, got %s", luaL_typename(L, kw));
  if (lua_istable(L, kw)) {
    lua_pushnil(L);
    while (lua_next(L, kw)) {
      if (lua_type(L, -2) == LUA_TSTRING) {
        const char *k = lua_tostring(L, -2);
        if (strcmp(k, "dtype") && strcmp(k, "device") && strcmp(k, "requires_grad") &&
            strcmp(k, "pin_memory"))
          return luaL_error(L, "tensor: unknown keyword '%s' (dtype, device, requires_grad)", k);
      }
      lua_pop(L, 1);
    }
  }
  if (kwarg(L, kw, "dtype")) {
    if (!vm_isnone(L, -1) && (dtype = vm_todtype(L, -1)) < 0)
      return luaL_error(L, "tensor: dtype must be a dtype, got %s", luaL_typename(L, -1));
    lua_pop(L, 1);
  }
  if (kwarg(L, kw, "requires_grad")) { grad = lua_toboolean(L, -1); lua_pop(L, 1); }
  int device = -1;
  if (kwarg(L, kw, "device")) {
    if (!vm_isnone(L, -1) && (device = vm_todevice(L, -1)) < 0)
      return luaL_error(L, "tensor: unknown device");
    lua_pop(L, 1);
  }
  int data = 1;
  if (whole) {
    lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
    if (n == 0) return luaL_error(L, "tensor: argument 'data' is missing");
    lua_createtable(L, (int)n, 0);
    for (lua_Integer i = 1; i <= n; i++) { lua_rawgeti(L, 1, i); lua_rawseti(L, -2, i); }
    data = lua_gettop(L);
  }
  Tensor *src = vm_totensor(L, data);
  bool mode = c->grad_mode;
  c->grad_mode = false;
  Tensor *x = src ? t_clone(c, dtype >= 0 ? t_to_dtype(c, src, dtype, false, -1) : src, -1)
                  : vm_build_tensor(L, c, data, dtype);
  c->grad_mode = mode;
  if (device < 0 && !src) device = vm_default_device(L);
  if (x && device == MT_META) x = t_empty(c, mt_sizes(x), x->dtype, -1, MT_META, -1, false, -1);
  if (x && grad) {
    if (mt_is_int(x->dtype))
      mt_fail(c, "tensor: only tensors of floating point or complex dtype can require gradients");
    else x->flags |= MT_REQ_GRAD;
  }
  vm_pushtensor(L, c->err ? NULL : x);
  return vm_leave(L, c, sc, 1);
}

static int t_is_tensor(lua_State *L) { lua_pushboolean(L, vm_totensor(L, 1) != NULL); return 1; }
static int t_complex_number(lua_State *L) {            /* of two numbers; tensors go to the op */
  if (lua_type(L, 1) == LUA_TNUMBER && lua_type(L, 2) == LUA_TNUMBER) {
    vm_pushscalar(L, mt_sc(lua_tonumber(L, 1), lua_tonumber(L, 2)));
    return 1;
  }
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  if (lua_isnil(L, 1)) return luaL_error(L, "complex: expected two numbers or two tensors");
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}
static int t_device_new(lua_State *L) {
  int d = vm_todevice(L, 1);
  if (d < 0)
    return luaL_error(L, "device: expected 'cpu' or 'meta', got %s", luaL_tolstring(L, 1, NULL));
  vm_pushdevice(L, d);
  return 1;
}
static int t_get_default_dtype(lua_State *L) {
  vm_pushdtype(L, vm_ctx(L)->default_dtype);
  return 1;
}
static int t_set_default_dtype(lua_State *L) {
  int d = vm_todtype(L, 1);
  if (d < 0 || !mt_is_float(d))
    return luaL_error(L, "set_default_dtype: expected a floating point dtype");
  vm_ctx(L)->default_dtype = (DType)d;
  return 0;
}
static int t_get_num_threads(lua_State *L) { lua_pushinteger(L, mt_num_threads()); return 1; }
static int t_set_num_threads(lua_State *L) {
  lua_Integer n = luaL_checkinteger(L, 1);
  if (n < 1)
    return luaL_error(L, "set_num_threads: expected a positive integer, got %I", (LUAI_UACINT)n);
  mt_set_num_threads((int)n);
  return 0;
}
static int t_promote_types(lua_State *L) {
  int a = vm_todtype(L, 1), b = vm_todtype(L, 2);
  if (a < 0 || b < 0) return luaL_error(L, "promote_types: expected two dtypes");
  vm_pushdtype(L, mt_promote((DType)a, (DType)b));
  return 1;
}
static int t_can_cast(lua_State *L) {
  int a = vm_todtype(L, 1), b = vm_todtype(L, 2);
  if (a < 0 || b < 0) return luaL_error(L, "can_cast: expected two dtypes");
  lua_pushboolean(L, mt_can_cast((DType)a, (DType)b));
  return 1;
}
static int t_result_type(lua_State *L) {
  ENTER;
  Tensor *v[2];
  Scalar s;
  for (int i = 0; i < 2; i++) {
    v[i] = vm_totensor(L, i + 1);
    if (!v[i] && vm_toscalar(L, i + 1, &s)) v[i] = mt_wrap(c, s);
    if (!v[i]) mt_fail(c, "result_type: argument %d must be a tensor or a number", i + 1);
  }
  if (!c->err) vm_pushdtype(L, mt_result_type(c, v, 2));
  return vm_leave(L, c, sc, 1);
}
static int t_broadcast_shapes(lua_State *L) {
  ENTER;
  int64_t shape[MT_MAXDIM];
  int n = 0;
  for (int i = 1; i <= lua_gettop(L); i++) {
    IntList l;
    int64_t one;
    if (vm_toint(L, i, &one)) l = mt_il(&one, 1);
    else if (!vm_tointlist(L, c, i, &l)) {
      mt_fail(c, "broadcast_shapes: argument %d must be a shape", i);
      break;
    }
    for (int64_t k = 0; k < l.n; k++)
      if (l.v[k] < 0) mt_fail(c, "broadcast_shapes: negative size %lld", (long long)l.v[k]);
    if (l.n > MT_MAXDIM || !mt_broadcast(c, n, shape, (int)l.n, l.v, &n, shape)) break;
  }
  vm_pushsize(L, shape, n);
  return vm_leave(L, c, sc, 1);
}
static int t_is_storage_shared(lua_State *L) {
  lua_pushboolean(L, vm_checktensor(L, 1)->st == vm_checktensor(L, 2)->st);
  return 1;
}
static int t_live(lua_State *L) {
  lua_pushinteger(L, mt_live_bytes());
  lua_pushinteger(L, mt_live_tensors());
  return 2;
}

static int open_torch(lua_State *L) {
  static const luaL_Reg fns[] = {{"tensor", t_tensor_new},
                                 {"is_tensor", t_is_tensor},
                                 {"device", t_device_new},
                                 {"get_default_dtype", t_get_default_dtype},
                                 {"set_default_dtype", t_set_default_dtype},
                                 {"get_num_threads", t_get_num_threads},
                                 {"set_num_threads", t_set_num_threads},
                                 {"promote_types", t_promote_types},
                                 {"can_cast", t_can_cast},
                                 {"result_type", t_result_type},
                                 {"broadcast_shapes", t_broadcast_shapes},
                                 {"_shares_storage", t_is_storage_shared},
                                 {"_live", t_live},
                                 {NULL, NULL}};
  static const struct { const char *name; DType d;
  } alias[] = {{"half", MT_float16},     {"float", MT_float32},     {"double", MT_float64},
               {"short", MT_int16},      {"int", MT_int32},         {"long", MT_int64},
               {"cfloat", MT_complex64}, {"cdouble", MT_complex128}};
  static const char *const formats[] = {"contiguous_format", "channels_last", "channels_last_3d",
                                        "preserve_format"};
  vm_open_tensor(L);
  lua_newtable(L);
  int torch = lua_gettop(L);
  vm_open_ops(L, torch);
  vm_open_random(L, torch);
  luaL_setfuncs(L, fns, 0);
  for (int d = 0; d < MT_NDTYPES; d++) {
    vm_pushdtype(L, (DType)d);
    lua_setfield(L, torch, mt_dtypes[d].name);
  }
  for (size_t i = 0; i < sizeof alias / sizeof *alias; i++) {
    vm_pushdtype(L, alias[i].d);
    lua_setfield(L, torch, alias[i].name);
  }
  for (int i = 0; i < 4; i++) {
    vm_pushconst(L, "memory_format", formats[i], i);
    lua_setfield(L, torch, formats[i]);
  }
  vm_pushconst(L, "layout", "strided", 0);
  lua_setfield(L, torch, "strided");
  static const char *const sparse[] = {"sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr",
                                       "sparse_bsc"};
  for (size_t i = 0; i < sizeof sparse / sizeof *sparse; i++) { /* known by name, refused */
    vm_pushconst(L, "layout", sparse[i], -2);
    lua_setfield(L, torch, sparse[i]);
  }
  vm_pushnone(L);
  lua_setfield(L, torch, "None");
  lua_pushnumber(L, 3.141592653589793);
  lua_setfield(L, torch, "pi");
  lua_pushnumber(L, 2.718281828459045);
  lua_setfield(L, torch, "e");
  lua_pushnumber(L, (lua_Number)__builtin_inf());
  lua_setfield(L, torch, "inf");
  lua_pushnumber(L, (lua_Number)__builtin_nan(""));
  lua_setfield(L, torch, "nan");
  lua_getfield(L, torch, "complex");
  lua_pushcclosure(L, t_complex_number, 1);
  lua_setfield(L, torch, "complex");
  vm_open_size(L);
  lua_setfield(L, torch, "Size");
  vm_open_index(L);
  lua_setfield(L, torch, "slice");
  vm_open_methods(L);
  vm_open_queries(L, torch);
  vm_open_print(L, torch);
  vm_push_tensor_meta(L);
  lua_pushcfunction(L, vm_tensor_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pop(L, 1);
  static const char *const spaces[] = {"nn",    "optim", "linalg", "fft",    "special", "autograd",
                                       "utils", "func",  "signal", "random", NULL};
  for (int i = 0; spaces[i]; i++) {
    if (lua_getfield(L, torch, spaces[i]) == LUA_TNIL) {
      lua_newtable(L);
      lua_setfield(L, torch, spaces[i]);
    }
    lua_pop(L, 1);
  }
  vm_open_nn(L, torch);
  vm_open_files(L, torch);
  vm_open_autograd(L, torch);
  vm_open_optim(L, torch);
  vm_open_amp(L, torch);
  vm_open_lazy(L, torch);
  vm_open_library(L, torch);
  vm_push_methods(L);
  lua_getfield(L, -1, "detach_");
  lua_setfield(L, torch, "detach_");
  lua_setfield(L, torch, "_methods");
  vm_push_attrs(L);
  lua_setfield(L, torch, "_attrs");
  lua_settop(L, torch);
  return 1;
}

static void preload(lua_State *L, const char *name, lua_CFunction f) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, f);
  lua_setfield(L, -2, name);
  lua_pop(L, 1);
}

static int open_moth(lua_State *L) { return lua_getglobal(L, "torch"), 1; }

void vm_open_torch(lua_State *L) {
  preload(L, "sys", luaopen_sys);
  preload(L, "json", luaopen_json);
  preload(L, "moth.ops", luaopen_moth_ops);
  preload(L, "torch.nn.core", luaopen_nn_core);
  preload(L, "tokenizers.core", luaopen_tokenizers_core);
  preload(L, "ffi", luaopen_ffi);
  preload(L, "plot.raster", luaopen_plot_raster);
  preload(L, "kernel.sockets", luaopen_kernel_sockets);
  lua_gc(L, LUA_GCGEN, 0, 0);              /* what the steps of tensor.c are measured for */
  luaL_requiref(L, "torch", open_torch, 0);
  lua_getfield(L, -1, "nn");
  if (lua_getfield(L, -1, "functional") == LUA_TNIL) {
    lua_newtable(L);
    lua_setfield(L, -3, "functional");
  }
  lua_pop(L, 2);
}

void vm_openlibs(lua_State *L) {
  luaL_openlibs(L);
  vm_open_torch(L);
  preload(L, "moth", open_moth);           /* a script written for the C module runs here too */
  lua_getfield(L, -1, "optim");
  lua_setglobal(L, "optim");
  lua_getfield(L, -1, "nn");
  lua_getfield(L, -1, "functional");
  lua_setglobal(L, "F");
  lua_setglobal(L, "nn");
  lua_setglobal(L, "torch");
  lua_settop(L, 0);
}
