/* random.c: torch.manual_seed and its kin, and torch.Generator objects. */
#include "random.h"
#include "vm.h"

static const char generator_meta = 0;
typedef struct { Rng rng; } GBox;

/* The generator at i, else NULL. */
const char *vm_togenerator(lua_State *L, int i) {
  void *p = lua_touserdata(L, i);
  bool ok = false;
  if (!p || !lua_getmetatable(L, i)) return NULL;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &generator_meta);
  ok = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return ok ? p : NULL;
}

bool vm_isdefaultgenerator(lua_State *L, int i) {
  lua_getfield(L, LUA_REGISTRYINDEX, "moth.default_generator");
  bool same = lua_rawequal(L, -1, i < 0 ? i - 1 : i);
  lua_pop(L, 1);
  return same;
}

/* A method's own generator, or for the functions of torch the default one; first is the index of
 * the arguments. */
static Rng *target(lua_State *L, int *first) {
  Rng *g = (Rng *)(uintptr_t)vm_togenerator(L, 1);
  *first = g ? 2 : 1;
  if (!g) {
    Ctx *c = vm_ctx(L);
    Scope s = mt_open(c);
    g = mt_default_rng(c);
    vm_leave(L, c, s, 0);
  }
  return g;
}

static int r_manual_seed(lua_State *L) {
  int i;
  Rng *g = target(L, &i);
  lua_Number f;
  if (lua_isinteger(L, i)) mt_rng_manual_seed(g, (uint64_t)lua_tointeger(L, i));
  else if (lua_type(L, i) == LUA_TNUMBER &&
           (f = lua_tonumber(L, i), f >= -0x1p63 && f < 0x1p64 && f == (lua_Number)(int64_t)f))
    mt_rng_manual_seed(g, f < 0 ? (uint64_t)(int64_t)f : (uint64_t)f);
  else
    return luaL_error(L, "manual_seed: argument 'seed' must be an integer, got %s",
                      luaL_typename(L, i));
  if (i == 2) lua_pushvalue(L, 1);
  else lua_getfield(L, LUA_REGISTRYINDEX, "moth.default_generator");
  return 1;
}
static int r_initial_seed(lua_State *L) {
  int i;
  lua_pushinteger(L, (lua_Integer)target(L, &i)->seed);
  return 1;
}
static int r_seed(lua_State *L) {
  int i;
  lua_pushinteger(L, (lua_Integer)mt_rng_entropy_seed(target(L, &i)));
  return 1;
}
static int r_get_state(lua_State *L) {
  int i;
  Rng *g = target(L, &i);
  Ctx *c = vm_ctx(L);
  Scope s = mt_open(c);
  Tensor *t = mt_new(c, mt_il((const int64_t[]){MT_RNG_STATE_BYTES}, 1), MT_uint8, MT_CPU);
  if (t) mt_rng_get_state(g, mt_data(t));
  vm_pushtensor(L, t);
  return vm_leave(L, c, s, 1);
}
static int r_set_state(lua_State *L) {
  int i;
  Rng *g = target(L, &i);
  Tensor *t = vm_checktensor(L, i);
  Ctx *c = vm_ctx(L);
  Scope s = mt_open(c);
  Tensor *d = t->dtype == MT_uint8 && !mt_meta(t) ? mt_contig(c, t) : NULL;
  if (!c->err && (!d || !mt_rng_set_state(g, mt_data(d), (size_t)d->numel)))
    mt_fail(c, "set_rng_state: expected a generator's state, a uint8 tensor of %d bytes",
            MT_RNG_STATE_BYTES);
  if (i == 2) lua_pushvalue(L, 1);
  return vm_leave(L, c, s, i == 2);
}
static int r_new(lua_State *L) {
  if (!lua_isnoneornil(L, 1) && vm_todevice(L, 1) != MT_CPU)
    return luaL_error(L, "Generator: expected device 'cpu', got %s", luaL_tolstring(L, 1, NULL));
  GBox *b = lua_newuserdatauv(L, sizeof *b, 0);
  mt_rng_manual_seed(&b->rng, MT_DEFAULT_SEED);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &generator_meta);
  lua_setmetatable(L, -2);
  return 1;
}
static int r_tostring(lua_State *L) {
  lua_pushfstring(L, "torch.Generator (seed %I)",
                  (LUAI_UACINT)((GBox *)lua_touserdata(L, 1))->rng.seed);
  return 1;
}
/* torch.default_generator stands for the context's own: a Generator whose methods are the functions
 * of torch. */
static int r_default(lua_State *L) {
  lua_remove(L, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

static const luaL_Reg funcs[] = {{"manual_seed", r_manual_seed},
                                 {"initial_seed", r_initial_seed},
                                 {"seed", r_seed},
                                 {"get_rng_state", r_get_state},
                                 {"set_rng_state", r_set_state},
                                 {"Generator", r_new},
                                 {NULL, NULL}};
static const luaL_Reg methods[] = {
    {"manual_seed", r_manual_seed}, {"initial_seed", r_initial_seed}, {"seed", r_seed},
    {"get_state", r_get_state},     {"set_state", r_set_state},       {NULL, NULL}};

void vm_open_random(lua_State *L, int torch) {
  torch = lua_absindex(L, torch);
  lua_createtable(L, 0, 4);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, r_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushliteral(L, "Generator");
  lua_setfield(L, -2, "__name");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &generator_meta);
  lua_pushvalue(L, torch);
  luaL_setfuncs(L, funcs, 0);
  lua_pop(L, 1);
  lua_createtable(L, 0, 5);
  for (const luaL_Reg *r = methods; r->name; r++) {
    lua_pushcfunction(L, r->func);
    lua_pushcclosure(L, r_default, 1);
    lua_setfield(L, -2, r->name);
  }
  lua_pushvalue(L, -1);
  lua_setfield(L, LUA_REGISTRYINDEX, "moth.default_generator");
  lua_setfield(L, torch, "default_generator");
}
