/* lazy.c: names of torch's namespaces that live in Lua files and load when first asked for.
 *
 * Invariant: a name listed here is looked up at most once; after that it is a plain field of its
 * namespace.  An empty list of names stands for the module itself under its last word. */
#include "vm.h"
#include <string.h>

static const struct { const char *space, *module, *names;
} rows[] = {
    {"utils", "torch.utils.data", ""},
    {"utils", "torch.utils.checkpoint", ""},
    {"autograd", "torch.autograd.function", ""},
    {"autograd", "torch.autograd.function", "Function"},
    {"autograd", "torch.autograd.functional", ""},
    {"autograd", "torch.autograd.gradcheck", "gradcheck gradgradcheck GradcheckError"},
    {"autograd", "torch.autograd.graph", ""},
    {"autograd", "torch.autograd.explain", "explain"},
    {"autograd", "torch.autograd.modes", "detect_anomaly forward_ad"},
    {"func", "torch.func",
     "grad grad_and_value value_and_grad vjp jvp linearize jacrev jacfwd hessian vmap "
     "functional_call stack_module_state "
     "functionalize"},
    {"", "torch.func", "vmap"},
    {"", "torch.settings",
     "use_deterministic_algorithms are_deterministic_algorithms_enabled "
     "is_deterministic_algorithms_warn_only_enabled get_deterministic_debug_mode "
     "set_deterministic_debug_mode get_float32_matmul_precision set_float32_matmul_precision "
     "get_num_interop_threads set_num_interop_threads set_flush_denormal set_warn_always "
     "is_warn_always_enabled is_anomaly_enabled is_anomaly_check_nan_enabled set_anomaly_enabled "
     "get_default_device set_default_device set_default_tensor_type is_autocast_cpu_enabled "
     "set_autocast_cpu_enabled get_autocast_cpu_dtype set_autocast_cpu_dtype is_vulkan_available "
     "eig symeig solve lstsq matrix_rank"},
    {"", "torch.control", "compile cond while_loop"},
    {"", "torch.convert",
     "as_tensor asarray frombuffer from_file from_numpy from_dlpack to_dlpack typename is_storage"},
    {"", "torch.lowrank", "svd_lowrank pca_lowrank lobpcg"},
    {"nn.functional", "torch.nn.functional",
     "triplet_margin_with_distance_loss linear_cross_entropy"},
    {"", "torch.summary", ""},
};

static bool listed(const char *names, const char *name) {
  size_t n = strlen(name);
  for (const char *p = names; (p = strstr(p, name)); p += n)
    if ((p == names || p[-1] == ' ') && (p[n] == ' ' || !p[n])) return true;
  return false;
}

/* From now on torch[name] stays nil (the sandbox's wish). */
static const char barred;
void vm_bar_lazy(lua_State *L, const char *name) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &barred) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &barred);
  }
  lua_pushboolean(L, 1);
  lua_setfield(L, -2, name);
  lua_pop(L, 1);
}

static int lazy_index(lua_State *L) {
  const char *space = lua_tostring(L, lua_upvalueindex(1));
  if (lua_type(L, 2) != LUA_TSTRING) return 0;
  if (!*space && lua_rawgetp(L, LUA_REGISTRYINDEX, &barred) == LUA_TTABLE) {
    lua_pushvalue(L, 2);
    if (lua_rawget(L, -2) != LUA_TNIL) return 0;
  }
  lua_settop(L, 2);
  const char *name = lua_tostring(L, 2);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    bool whole = !*rows[i].names;
    if (strcmp(rows[i].space, space)) continue;
    if (whole ? strcmp(strrchr(rows[i].module, '.') + 1, name) != 0 : !listed(rows[i].names, name))
      continue;
    lua_getglobal(L, "require");
    lua_pushstring(L, rows[i].module);
    lua_call(L, 1, 1);
    if (!whole) lua_getfield(L, -1, name);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, -2);
    lua_rawset(L, 1);
    return 1;
  }
  return 0;
}

/* The names of a space, for completion. */
static void push_names(lua_State *L, const char *space) {
  lua_newtable(L);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const char *p = *rows[i].names ? rows[i].names : strrchr(rows[i].module, '.') + 1;
    while (!strcmp(rows[i].space, space) && *p) {
      size_t n = strcspn(p, " ");
      lua_pushlstring(L, p, n);
      lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
      p += n + (p[n] == ' ');
    }
  }
}

/* The table of a space such as "nn.functional"; "" is torch itself. */
static void push_space(lua_State *L, int torch, const char *space) {
  const char *dot = strchr(space, '.');
  lua_pushvalue(L, torch);
  if (!*space) return;
  if (dot) {
    lua_pushlstring(L, space, (size_t)(dot - space));
    lua_gettable(L, -2);
  }
  if (lua_istable(L, -1)) lua_getfield(L, -1, dot ? dot + 1 : space);
}
/* Makes the namespaces of the rows lazy; torch itself too, where nothing else has given it a
 * metatable. */
void vm_open_lazy(lua_State *L, int torch) {
  torch = lua_absindex(L, torch);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    push_space(L, torch, rows[i].space);
    if (lua_istable(L, -1) && !lua_getmetatable(L, -1)) {
      lua_createtable(L, 0, 1);
      lua_pushstring(L, rows[i].space);
      lua_pushcclosure(L, lazy_index, 1);
      lua_setfield(L, -2, "__index");
      push_names(L, rows[i].space);
      lua_setfield(L, -2, "__fields");
      lua_setmetatable(L, -2);
    }
    lua_settop(L, torch);
  }
}
