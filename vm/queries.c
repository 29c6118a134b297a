/* queries.c: questions to tensors that are functions of torch too, the default device, and members
 * of tensors written in Lua.
 *
 * A member of torch/members.lua is a stub until it is first called: then it loads the file, puts
 * the real function in the table of methods and calls that. */
#include "vm.h"
#include <string.h>

static const char device_key = 0;

/* -1 (the CPU) unless torch.set_default_device said otherwise. */
int vm_default_device(lua_State *L) {
  int d = -1;
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &device_key) == LUA_TNUMBER) d = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  return d;
}
/* _default_device() reads it, _default_device(device) sets it. */
static int q_default_device(lua_State *L) {
  if (lua_isnoneornil(L, 1)) {
    int d = vm_default_device(L);
    vm_pushdevice(L, d < 0 ? MT_CPU : d);
    return 1;
  }
  int d = vm_todevice(L, 1);
  if (d < 0)
    return luaL_error(L, "set_default_device: expected 'cpu' or 'meta', got %s",
                      luaL_tolstring(L, 1, NULL));
  if (d == MT_CPU) lua_pushnil(L); else lua_pushinteger(L, d);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &device_key);
  return 0;
}
/* _from_bytes(string, dtype): a 1-D tensor of the string's bytes, copied. */
static int q_from_bytes(lua_State *L) {
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);
  int d = vm_todtype(L, 2);
  if (d < 0) return luaL_error(L, "expected a dtype, got %s", luaL_typename(L, 2));
  Ctx *c = vm_ctx(L);
  Scope sc = mt_open(c);
  int64_t count = (int64_t)(n / mt_dsize(d));
  Tensor *t = mt_new(c, mt_il(&count, 1), (DType)d, MT_CPU);
  if (t && count) memcpy(mt_data(t), s, (size_t)count * mt_dsize(d));
  if (d == MT_bool) /* any byte but 0 is true */
    for (int64_t i = 0; t && i < count; i++) ((uint8_t *)mt_data(t))[i] = s[i] != 0;
  vm_pushtensor(L, t);
  return vm_leave(L, c, sc, 1);
}

static int q_is_nonzero(lua_State *L) {
  Tensor *x = vm_checktensor(L, 1);
  Ctx *c = vm_ctx(L);
  Scope sc = mt_open(c);
  if (x->numel != 1)
    mt_fail(c, "is_nonzero: boolean value of a tensor with %s is ambiguous",
            x->numel ? "more than one value" : "no values");
  Scalar s = c->err ? mt_snone() : mt_item(c, x);
  lua_pushboolean(L, s.kind < K_FLOAT ? s.i != 0 : s.d != 0 || s.im != 0);
  return vm_leave(L, c, sc, 1);
}
static int q_get_device(lua_State *L) {
  vm_checktensor(L, 1);
  lua_pushinteger(L, -1);
  return 1;
}
static int a_no(lua_State *L) { lua_pushboolean(L, 0); return 1; }
static int a_nothing(lua_State *L) { lua_pushnil(L); return 1; }

/* upvalues: the member's name */
static int member(lua_State *L) {
  int n = lua_gettop(L);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "torch.members");
  lua_call(L, 1, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_gettable(L, -2);
  vm_push_methods(L);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushvalue(L, -3);
  lua_rawset(L, -3);
  lua_pop(L, 1);
  lua_remove(L, -2);
  lua_insert(L, 1);
  lua_call(L, n, LUA_MULTRET);
  return lua_gettop(L);
}

void vm_open_queries(lua_State *L, int torch) {
  static const char *const shared[] = {"is_complex",
                                       "is_floating_point",
                                       "is_signed",
                                       "is_conj",
                                       "is_neg",
                                       "is_inference",
                                       "is_same_size",
                                       "numel",
                                       "get_device",
                                       "is_nonzero",
                                       NULL};
  static const char *const members[] = {"apply_",
                                        "map_",
                                        "map2_",
                                        "new_tensor",
                                        "new",
                                        "untyped_storage",
                                        "storage",
                                        "is_shared",
                                        "is_pinned",
                                        "pin_memory",
                                        "dim_order",
                                        "const_data_ptr",
                                        "is_distributed",
                                        "dequantize",
                                        "cpu",
                                        "cuda",
                                        "xpu",
                                        "ipu",
                                        "mtia",
                                        "numpy",
                                        "chalf",
                                        "to_sparse",
                                        "to_sparse_coo",
                                        "to_sparse_csr",
                                        "to_sparse_csc",
                                        "to_sparse_bsr",
                                        "to_sparse_bsc",
                                        "coalesce",
                                        "is_coalesced",
                                        "crow_indices",
                                        "col_indices",
                                        "ccol_indices",
                                        "row_indices",
                                        "to_dense",
                                        "dense_dim",
                                        "sparse_dim",
                                        "eig",
                                        "symeig",
                                        "solve",
                                        "lstsq",
                                        NULL};
  static const char *const never[] = {"is_mps",    "is_xla",    "is_xpu",    "is_ipu",
                                      "is_vulkan", "is_mkldnn", "is_nested", "is_sparse_csr",
                                      "is_maia",   "is_mtia",   NULL};
  static const luaL_Reg methods[] = {
      {"is_nonzero", q_is_nonzero}, {"get_device", q_get_device}, {NULL, NULL}};
  static const luaL_Reg fns[] = {
      {"_default_device", q_default_device}, {"_from_bytes", q_from_bytes}, {NULL, NULL}};
  vm_push_methods(L);
  luaL_setfuncs(L, methods, 0);
  for (int i = 0; shared[i]; i++) {
    lua_getfield(L, -1, shared[i]);
    lua_setfield(L, torch, shared[i]);
  }
  for (int i = 0; members[i]; i++) {
    lua_pushstring(L, members[i]);
    lua_pushcclosure(L, member, 1);
    lua_setfield(L, -2, members[i]);
  }
  vm_push_attrs(L);
  for (int i = 0; never[i]; i++) {
    lua_pushcfunction(L, a_no);
    lua_setfield(L, -2, never[i]);
  }
  lua_pushcfunction(L, a_nothing);
  lua_setfield(L, -2, "name");
  lua_pushvalue(L, torch);
  luaL_setfuncs(L, fns, 0);
  lua_pop(L, 3);
}
