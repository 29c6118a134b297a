/* optim.c: the module torch.optim.core: one step of a parameter group, for the Lua classes of
 * stdlib/torch/optim.
 *
 * Invariants.  A group and the state are plain Lua tables that are read anew at every step, so what
 * a script writes into them takes effect; parameters and their state's tensors are the values
 * themselves.  State is made where it is missing, before anything is written. */
#include "optim.h"
#include "ordered.h"
#include "vm.h"
#include <math.h>
#include <stddef.h>
#include <string.h>

/* ---- options ---- */
enum { NUM, FLAG, PAIR, TRIPLE, COUNT, EPS, ADJUST };
#define BIT(k) (1u << (k))
#define ALL (~0u)
#define MOMENTS (BIT(NN_ADAM) | BIT(NN_ADAMAX) | BIT(NN_NADAM) | BIT(NN_RADAM))
#define AT(f) offsetof(NnOptions, f)
static const struct {
  const char *name;
  uint32_t kinds;
  uint16_t at;
  uint8_t type;
} fields[] = {{"lr", ALL, AT(lr), NUM},
              {"weight_decay", ALL & ~BIT(NN_RPROP), AT(weight_decay), NUM},
              {"maximize", ALL & ~BIT(NN_MUON), AT(maximize), FLAG},
              {"betas", MOMENTS, AT(beta1), PAIR},
              {"eps", MOMENTS | BIT(NN_ADAGRAD) | BIT(NN_ADADELTA) | BIT(NN_RMSPROP) | BIT(NN_MUON),
               AT(eps), NUM},
              {"eps", BIT(NN_ADAFACTOR), AT(eps), EPS},
              {"momentum", BIT(NN_SGD) | BIT(NN_RMSPROP) | BIT(NN_MUON), AT(momentum), NUM},
              {"dampening", BIT(NN_SGD), AT(dampening), NUM},
              {"nesterov", BIT(NN_SGD) | BIT(NN_MUON), AT(nesterov), FLAG},
              {"amsgrad", BIT(NN_ADAM), AT(amsgrad), FLAG},
              {"decoupled_weight_decay", BIT(NN_ADAM) | BIT(NN_NADAM) | BIT(NN_RADAM),
               AT(decoupled_weight_decay), FLAG},
              {"momentum_decay", BIT(NN_NADAM), AT(momentum_decay), NUM},
              {"lr_decay", BIT(NN_ADAGRAD), AT(lr_decay), NUM},
              {"initial_accumulator_value", BIT(NN_ADAGRAD), AT(initial_accumulator_value), NUM},
              {"rho", BIT(NN_ADADELTA), AT(rho), NUM},
              {"alpha", BIT(NN_RMSPROP) | BIT(NN_ASGD), AT(alpha), NUM},
              {"centered", BIT(NN_RMSPROP), AT(centered), FLAG},
              {"lambd", BIT(NN_ASGD), AT(lambd), NUM},
              {"t0", BIT(NN_ASGD), AT(t0), NUM},
              {"etas", BIT(NN_RPROP), AT(eta_minus), PAIR},
              {"step_sizes", BIT(NN_RPROP), AT(step_min), PAIR},
              {"beta2_decay", BIT(NN_ADAFACTOR), AT(beta2_decay), NUM},
              {"d", BIT(NN_ADAFACTOR), AT(d), NUM},
              {"ns_coefficients", BIT(NN_MUON), AT(ns), TRIPLE},
              {"ns_steps", BIT(NN_MUON), AT(ns_steps), COUNT},
              {"adjust_lr_fn", BIT(NN_MUON), AT(adjust_lr_fn), ADJUST}};

static double number(lua_State *L, Ctx *c, int i, const char *opt, const char *name) {
  int ok;
  double v = lua_tonumberx(L, i, &ok);
  Tensor *t = ok ? NULL : vm_totensor(L, i);
  if (ok && lua_type(L, i) == LUA_TNUMBER) return v;
  if (t && t->numel == 1 && !mt_meta(t) && !mt_is_complex(t->dtype))
    return mt_sre(mt_load(mt_data(t), (DType)t->dtype));
  if (lua_isnil(L, i)) mt_fail(c, "%s: the parameter group has no '%s'", opt, name);
  else mt_fail(c, "%s: the group's '%s' must be a number, got %s", opt, name, luaL_typename(L, i));
  return 0;
}
static void numbers(lua_State *L, Ctx *c, int n, double *v, const char *opt, const char *name) {
  int list = lua_gettop(L);
  if (!lua_istable(L, list) || (int)lua_rawlen(L, list) != n) {
    mt_fail(c, "%s: the group's '%s' must be a list of %d numbers", opt, name, n);
    return;
  }
  for (int i = 0; i < n; i++) {
    lua_rawgeti(L, list, i + 1);
    v[i] = number(L, c, -1, opt, name);
    lua_pop(L, 1);
  }
}
/* Adafactor's pair, whose first may be None. */
static void factor_eps(lua_State *L, Ctx *c, NnOptions *o, const char *opt) {
  int list = lua_gettop(L);
  if (!lua_istable(L, list)) {
    mt_fail(c, "%s: the group's 'eps' must be a list of two values", opt);
    return;
  }
  lua_rawgeti(L, list, 1);
  o->no_eps1 = lua_isnil(L, -1) || vm_isnone(L, -1);
  if (!o->no_eps1) o->eps = number(L, c, -1, opt, "eps");
  lua_rawgeti(L, list, 2);
  o->eps2 = number(L, c, -1, opt, "eps");
  lua_pop(L, 2);
}

static void read_options(lua_State *L, Ctx *c, int group, NnOptKind k, NnOptions *o) {
  const char *opt = nn_opt_rows[k].name;
  for (size_t i = 0; i < sizeof fields / sizeof *fields && !c->err; i++) {
    if (!(fields[i].kinds & BIT(k))) continue;
    const char *name = fields[i].name;
    char *at = (char *)o + fields[i].at;
    lua_getfield(L, group, name);
    switch (fields[i].type) {
      case NUM: *(double *)(void *)at = number(L, c, -1, opt, name); break;
      case FLAG: *(bool *)at = lua_toboolean(L, -1) && !vm_isnone(L, -1); break;
      case PAIR: numbers(L, c, 2, (double *)(void *)at, opt, name); break;
      case TRIPLE: numbers(L, c, 3, (double *)(void *)at, opt, name); break;
      case COUNT: *(int64_t *)(void *)at = (int64_t)number(L, c, -1, opt, name); break;
      case EPS: factor_eps(L, c, o, opt); break;
      default: *at = lua_type(L, -1) == LUA_TSTRING ? *lua_tostring(L, -1) : 'o';
    }
    lua_pop(L, 1);
  }
}

/* What cannot be honoured here, in PyTorch's words where it has some. */
static void check_flags(lua_State *L, Ctx *c, int group, const char *opt) {
  lua_getfield(L, group, "differentiable");
  lua_getfield(L, group, "capturable");
  if (lua_toboolean(L, -2) && !vm_isnone(L, -2))
    mt_fail(c, "%s: differentiable = true is not supported: steps are not recorded", opt);
  else if (lua_toboolean(L, -1) && !vm_isnone(L, -1))
    mt_fail(c,
            "%s: If capturable=True, params and state_steps must be on supported devices (cuda, "
            "xpu, hpu, xla); this one is cpu",
            opt);
  lua_pop(L, 2);
}

/* ---- a step ---- */
/* The state's tensors of the parameter on the top of the stack; its table is left there (made when
 * missing). */
static void load_state(lua_State *L, Ctx *c, int state, const NnOptRow *row, Tensor **s) {
  int p = lua_gettop(L);
  lua_pushvalue(L, p);
  if (lua_rawget(L, state) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_createtable(L, 0, NN_OPT_STATES);
    lua_pushvalue(L, p);
    lua_pushvalue(L, -2);
    lua_rawset(L, state);
  }
  for (int i = 0; i < NN_OPT_STATES; i++) {
    s[i] = NULL;
    if (!row->state[i]) continue;
    int type = lua_getfield(L, p + 1, row->state[i]);
    s[i] = type == LUA_TUSERDATA ? vm_totensor(L, -1) : NULL;
    if (!s[i] &&
        type == LUA_TNUMBER) { /* checkpoints of old versions of PyTorch have plain counters */
      s[i] = mt_scalar_tensor(c, mt_sd(lua_tonumber(L, -1)), MT_float32);
      vm_pushtensor(L, s[i]);
      lua_setfield(L, p + 1, row->state[i]);
    } else if (!s[i] && type != LUA_TNIL && !vm_isnone(L, -1))
      mt_fail(c, "%s: the state's '%s' must be a tensor, got %s", row->name, row->state[i],
              luaL_typename(L, -1));
    lua_pop(L, 1);
  }
}
static void store_state(lua_State *L, int table, const NnOptRow *row, Tensor **before, Tensor **s) {
  for (int i = 0; i < NN_OPT_STATES; i++) {
    if (!s[i] || s[i] == before[i]) continue;
    vm_pushtensor(L, s[i]);
    lua_setfield(L, table, row->state[i]);
  }
}

/* The part that is C alone: neither recorded nor cast. */
static bool advance(Ctx *c, NnOptBatch *b, Tensor *p, Tensor *g, Tensor **s, bool step) {
  bool mode = c->grad_mode, cast = c->autocast;
  c->grad_mode = c->autocast = false;
  if (nn_opt_init(c, b, p, g, s) && step) {
    if (b->kind == NN_ADAFACTOR) nn_opt_adafactor(c, b->o, p, g, s);
    else if (b->kind == NN_MUON) nn_opt_muon(c, b->o, p, g, s);
    else if (nn_opt_add(c, b, p, g, s) && b->serial) {
      nn_opt_run(c, b);
      b->n = 0;
    }
  }
  c->grad_mode = mode;
  c->autocast = cast;
  return !c->err;
}

static void step_one(lua_State *L, Ctx *c, NnOptBatch *b, int state, Tensor *p, Tensor *g) {
  const NnOptRow *row = &nn_opt_rows[b->kind];
  Tensor *s[NN_OPT_STATES], *before[NN_OPT_STATES];
  load_state(L, c, state, row, s);
  memcpy(before, s, sizeof s);
  if (advance(c, b, p, g, s, true)) store_state(L, lua_gettop(L), row, before, s);
  lua_pop(L, 1);
}

static void step_group(lua_State *L, Ctx *c, NnOptBatch *b, int group, int state) {
  if (lua_getfield(L, group, "params") != LUA_TTABLE)
    mt_fail(c, "%s: the parameter group has no list 'params'", nn_opt_rows[b->kind].name);
  int list = lua_gettop(L);
  for (lua_Integer i = 1; !c->err && lua_rawgeti(L, list, i) != LUA_TNIL; i++) {
    Tensor *p = vm_totensor(L, -1), *g = p ? ag_grad_of(p) : NULL;
    if (!p)
      mt_fail(c, "%s: entry %d of 'params' is not a tensor", nn_opt_rows[b->kind].name, (int)i);
    else if (g) step_one(L, c, b, state, p, g);
    lua_pop(L, 1);
  }
  lua_settop(L, list - 1);
}

/* After an error: buffers that only the step would have filled go. */
static void forget_fresh(lua_State *L, const NnOptBatch *b, int group, int state) {
  const char *name = nn_opt_rows[b->kind].state[0];
  lua_getfield(L, group, "params");
  int list = lua_gettop(L);
  for (lua_Integer i = 1; lua_rawgeti(L, list, i) != LUA_TNIL; i++, lua_settop(L, list)) {
    if (lua_rawget(L, state) != LUA_TTABLE) continue;
    lua_getfield(L, -1, name);
    Tensor *t = vm_totensor(L, -1);
    for (int64_t k = 0; t && k < b->n; k++) {
      if (!b->v[k].fresh || b->v[k].touched[2] != t) continue;
      lua_pushnil(L);
      lua_setfield(L, list + 1, name);
    }
  }
  lua_settop(L, list - 1);
}

static NnOptKind check_kind(lua_State *L, int i) {
  const char *name = luaL_checkstring(L, i);
  for (int k = 0; k < NN_OPT_KINDS; k++)
    if (!strcmp(name, nn_opt_rows[k].name)) return (NnOptKind)k;
  luaL_error(L, "no optimizer '%s'", name);
  return NN_SGD;
}

/* step(kind, group, state, serial) */
static int o_step(lua_State *L) {
  Ctx *c = vm_ctx(L);
  Scope sc = mt_open(c);
  NnOptions o = {0};
  NnOptBatch b = {.kind = check_kind(L, 1), .o = &o, .serial = lua_toboolean(L, 4)};
  luaL_checktype(L, 2, LUA_TTABLE);
  luaL_checktype(L, 3, LUA_TTABLE);
  luaL_checkstack(L, 16, "optimizer step");
  o.wide_step = c->default_dtype == MT_float64;
  read_options(L, c, 2, b.kind, &o);
  if (!c->err) check_flags(L, c, 2, nn_opt_rows[b.kind].name);
  if (!c->err) step_group(L, c, &b, 2, 3);
  if (c->err && b.kind == NN_SGD) forget_fresh(L, &b, 2, 3);
  nn_opt_run(c, &b);
  return vm_leave(L, c, sc, 0);
}

/* init(kind, group, state): state before the first step, as Adagrad has it. */
static int o_init(lua_State *L) {
  Ctx *c = vm_ctx(L);
  Scope sc = mt_open(c);
  NnOptions o = {0};
  NnOptBatch b = {.kind = check_kind(L, 1), .o = &o};
  luaL_checktype(L, 2, LUA_TTABLE);
  luaL_checktype(L, 3, LUA_TTABLE);
  o.wide_step = c->default_dtype == MT_float64;
  read_options(L, c, 2, b.kind, &o);
  lua_getfield(L, 2, "params");
  for (lua_Integer i = 1; !c->err && lua_rawgeti(L, 4, i) != LUA_TNIL; i++) {
    Tensor *p = vm_totensor(L, -1), *s[NN_OPT_STATES] = {0}, *before[NN_OPT_STATES];
    if (!p) break;
    load_state(L, c, 3, &nn_opt_rows[b.kind], s);
    memcpy(before, s, sizeof s);
    if (advance(c, &b, p, p, s, false))
      store_state(L, lua_gettop(L), &nn_opt_rows[b.kind], before, s);
    lua_pop(L, 2);
  }
  return vm_leave(L, c, sc, 0);
}

/* zero_grad(params, set_to_none) */
static int o_zero_grad(lua_State *L) {
  Ctx *c = vm_ctx(L);
  Scope sc = mt_open(c);
  bool none = lua_toboolean(L, 2), mode = c->grad_mode;
  luaL_checktype(L, 1, LUA_TTABLE);
  c->grad_mode = false;
  for (lua_Integer i = 1; !c->err && lua_rawgeti(L, 1, i) != LUA_TNIL; i++) {
    Tensor *p = vm_totensor(L, -1), *g = p ? ag_grad_of(p) : NULL;
    if (g && none) ag_set_grad(c, p, NULL);
    else if (g) {
      if (ag_requires_grad(c, g)) ag_detach_(c, g);
      t_zero_(c, g);
    }
    lua_pop(L, 1);
  }
  c->grad_mode = mode;
  return vm_leave(L, c, sc, 0);
}

/* keep(p): p's Lua object is found again when C gives p out */
static int o_keep(lua_State *L) {
  vm_checktensor(L, 1);
  vm_keep(L, 1);
  return 0;
}

/* unscale(params, factor) -> true when a gradient is infinite or not a number; gradients are
 * multiplied by factor in place */
static int o_unscale(lua_State *L) {
  Ctx *c = vm_ctx(L);
  Scope sc = mt_open(c);
  Tensor *f = mt_wrap(c, mt_sd(luaL_checknumber(L, 2)));
  bool mode = c->grad_mode, bad = false;
  luaL_checktype(L, 1, LUA_TTABLE);
  c->grad_mode = false;
  for (lua_Integer i = 1; !c->err && lua_rawgeti(L, 1, i) != LUA_TNIL; i++) {
    Tensor *p = vm_totensor(L, -1), *g = p ? ag_grad_of(p) : NULL;
    lua_pop(L, 1);
    if (!g) continue;
    Scope inner = mt_open(c);
    Tensor *ok = t_all(c, t_isfinite(c, g));
    bad |= ok && !mt_sint(mt_item(c, ok));
    t_mul_(c, g, f);
    mt_close(c, inner);
  }
  c->grad_mode = mode;
  lua_pushboolean(L, bad);
  return vm_leave(L, c, sc, 1);
}

/* ordered() -> an empty table whose pairs follow the order of its keys */
static int o_ordered(lua_State *L) {
  vm_ordered_open(L, 0);
  vm_ordered_close(L, lua_gettop(L) - 1);
  return 1;
}

static const char *const names[] = {
    "Optimizer", "SGD",        "Adam",         "AdamW",     "Adamax",    "NAdam",     "RAdam",
    "Adagrad",   "Adadelta",   "RMSprop",      "Rprop",     "ASGD",      "Adafactor", "Muon",
    "LBFGS",     "SparseAdam", "lr_scheduler", "swa_utils", "optimizer", NULL};

/* The first use of a name loads stdlib/torch/optim, which fills the table. */
static int load_all(lua_State *L) {
  bool known = false;
  for (int i = 0; names[i] && lua_type(L, 2) == LUA_TSTRING; i++)
    known |= !strcmp(names[i], lua_tostring(L, 2));
  if (!known) return 0;
  lua_getglobal(L, "require");
  lua_pushliteral(L, "torch.optim");
  lua_call(L, 1, 0);
  lua_gettable(L, 1);
  return 1;
}

void vm_open_optim(lua_State *L, int torch) {
  static const luaL_Reg fns[] = {
      {"step", o_step}, {"init", o_init},       {"zero_grad", o_zero_grad},
      {"keep", o_keep}, {"unscale", o_unscale}, {"ordered", o_ordered},
      {NULL, NULL}};
  lua_getfield(L, torch, "optim");
  luaL_newlib(L, fns);
  lua_setfield(L, -2, "_core");
  lua_createtable(L, 0, 2);
  lua_pushcfunction(L, load_all);
  lua_setfield(L, -2, "__index");
  lua_createtable(L, 0, 20); /* for completion at the prompt */
  for (int i = 0; names[i]; i++) {
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, names[i]);
  }
  lua_setfield(L, -2, "__fields");
  lua_setmetatable(L, -2);
  lua_pop(L, 1);
}
