/* autograd.c: gradients as Lua sees them: attributes and methods of tensors, backward and grad,
 * modes, anomaly mode. */
#include "autograd.h"
#include "vm_autograd.h"
#include "vm_print.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SELF Tensor *x = vm_checktensor(L, 1)
#define ENTER Ctx *c = vm_ctx(L); Scope sc = mt_open(c)

void vm_push_setters(lua_State *L);
void vm_open_autograd(lua_State *L, int torch);
void vm_modes_settle(lua_State *L);

/* ---- requires_grad and friends ---- */
static int m_requires_grad_(lua_State *L) {
  SELF;
  ENTER;
  bool on = lua_isnoneornil(L, 2) || lua_toboolean(L, 2);
  if (lua_istable(L, 2)) {
    lua_getfield(L, 2, "requires_grad");
    on = lua_isnil(L, -1) || lua_toboolean(L, -1);
  }
  ag_set_requires_grad(c, x, on);
  vm_keep(L, 1);
  lua_pushvalue(L, 1);
  return vm_leave(L, c, sc, 1);
}
static int a_requires_grad(lua_State *L) {
  SELF;
  ENTER;
  lua_pushboolean(L, ag_requires_grad(c, x));
  return vm_leave(L, c, sc, 1);
}
static int a_is_leaf(lua_State *L) {
  SELF;
  ENTER;
  lua_pushboolean(L, ag_is_leaf(c, x));
  return vm_leave(L, c, sc, 1);
}
static int a_grad_fn(lua_State *L) {
  SELF;
  ENTER;
  vm_push_node(L, ag_grad_fn(c, x));
  return vm_leave(L, c, sc, 1);
}
static const char *grad_fn_name(Tensor *t) {
  static char buf[128];
  return t->ag && t->ag->node ? ag_node_name(t->ag->node, buf, sizeof buf) : NULL;
}
static int a_grad(lua_State *L) { SELF; vm_pushtensor(L, ag_grad_of(x)); return 1; }
static int a_data(lua_State *L) {
  SELF;
  ENTER;
  vm_pushtensor(L, mt_alias(c, x));
  return vm_leave(L, c, sc, 1);
}
static int a_base(lua_State *L) {
  SELF;
  vm_pushtensor(L, x->flags & MT_LEAFVIEW ? NULL : x->base);
  return 1;
}
static int a_retains_grad(lua_State *L) {
  SELF;
  lua_pushboolean(L, x->ag && x->ag->retain);
  return 1;
}
static int a_output_nr(lua_State *L) {
  SELF;
  lua_pushinteger(L, x->ag && x->ag->node ? x->ag->nr : 0);
  return 1;
}
static int s_requires_grad(lua_State *L) {
  SELF;
  ENTER;
  ag_set_requires_grad(c, x, lua_toboolean(L, 2));
  vm_keep(L, 1);
  return vm_leave(L, c, sc, 0);
}
static int s_grad(lua_State *L) {
  SELF;
  ENTER;
  Tensor *g = vm_totensor(L, 2);
  if (!g && !lua_isnil(L, 2) && !vm_isnone(L, 2))
    mt_fail(c, "grad can be set to a Tensor or nil, got %s", luaL_typename(L, 2));
  else ag_set_grad(c, x, g);
  if (g && !c->err) vm_keep(L, 2);
  return vm_leave(L, c, sc, 0);
}
/* x.data = y: x takes y's storage and shape, its history stays. */
static int s_data(lua_State *L) {
  SELF;
  ENTER;
  Tensor *y = vm_totensor(L, 2);
  if (!y) mt_fail(c, "data can be set to a Tensor, got %s", luaL_typename(L, 2));
  else if (x != y && mt_become(c, x, y)) {
    x->dtype = y->dtype;
    if (x->ag && x->ag->accum) ag_node_shape(c, x->ag->accum, 0, x);
  }
  return vm_leave(L, c, sc, 0);
}
static int m_detach_(lua_State *L) {
  SELF;
  ENTER;
  ag_detach_(c, x);
  lua_pushvalue(L, 1);
  return vm_leave(L, c, sc, 1);
}
static int m_retain_grad(lua_State *L) {
  SELF;
  ENTER;
  ag_retain_grad(c, x);
  vm_keep(L, 1);
  return vm_leave(L, c, sc, 0);
}

/* ---- the walk ---- */
static bool kw_bool(lua_State *L, int i, const char *name, bool dflt) {
  if (!lua_istable(L, i)) return dflt;
  lua_getfield(L, i, name);
  bool v = lua_isnil(L, -1) ? dflt : lua_toboolean(L, -1);
  lua_pop(L, 1);
  return v;
}
static void check_keys(lua_State *L, int i, const char *fn, const char *allowed) {
  if (i <= 0 || !lua_istable(L, i)) return;
  lua_pushnil(L);
  while (lua_next(L, i)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) != LUA_TSTRING) continue;
    char key[64];
    snprintf(key, sizeof key, " %s ", lua_tostring(L, -1));
    if (!strstr(allowed, key))
      luaL_error(L, "%s: unknown keyword '%s' (%s)", fn, lua_tostring(L, -1), allowed);
  }
}
static int m_backward(lua_State *L) {
  SELF;
  ENTER;
  static const char keys[] = " gradient retain_graph create_graph inputs ";
  int kw = lua_gettop(L);
  if (!(kw > 1 && lua_istable(L, kw))) kw = 0;
  check_keys(L, kw ? kw : 1, "backward", keys);
  Tensor *g = kw == 2 ? NULL : vm_totensor(L, 2), **inputs = NULL;
  if (!g && kw) { lua_getfield(L, kw, "gradient"); g = vm_totensor(L, -1); }
  int nin = 0;
  if (kw) {
    lua_getfield(L, kw, "inputs");
    if (!lua_isnil(L, -1))
      nin = vm_tensors_at(L, c, lua_gettop(L), &inputs, false, "backward: inputs");
  }
  if (!kw && lua_gettop(L) >= 2 && !g && !lua_isnil(L, 2) && !vm_isnone(L, 2))
    mt_fail(c, "backward: gradient must be a Tensor, got %s", luaL_typename(L, 2));
  bool create = kw && kw_bool(L, kw, "create_graph", false);
  bool retain = kw ? kw_bool(L, kw, "retain_graph", create) : false;
  ag_backward(c, 1, &x, g ? &g : NULL, nin, inputs, NULL, retain, create, true);
  return vm_leave(L, c, sc, 0);
}

/* torch.autograd.backward(tensors, grad_tensors, {retain_graph, create_graph, inputs}) */
static int f_backward(lua_State *L) {
  ENTER;
  Tensor **roots = NULL, **seeds = NULL, **inputs = NULL;
  int kw = lua_gettop(L), nin = 0;
  if (!(kw > 1 && lua_istable(L, kw) && lua_rawlen(L, kw) == 0)) kw = 0;
  check_keys(L, kw, "backward", " retain_graph create_graph inputs grad_tensors ");
  int n = vm_tensors_at(L, c, 1, &roots, false, "backward: tensors");
  int at = lua_gettop(L) >= 2 && kw != 2 && !lua_isnil(L, 2) ? 2 : 0;
  if (!at && kw) { lua_getfield(L, kw, "grad_tensors"); if (!lua_isnil(L, -1)) at = lua_gettop(L); }
  if (!c->err && at) {
    int m = vm_tensors_at(L, c, at, &seeds, true, "backward: grad_tensors");
    if (!c->err && m != n) mt_fail(c, "backward: got %d tensors and %d gradients", n, m);
  }
  if (kw) {
    lua_getfield(L, kw, "inputs");
    if (!lua_isnil(L, -1))
      nin = vm_tensors_at(L, c, lua_gettop(L), &inputs, false, "backward: inputs");
  }
  bool create = kw && kw_bool(L, kw, "create_graph", false);
  if (!c->err)
    ag_backward(c, n, roots, seeds, nin, inputs, NULL,
                kw ? kw_bool(L, kw, "retain_graph", create) : false, create, true);
  return vm_leave(L, c, sc, 0);
}

/* torch.autograd.grad(outputs, inputs, [grad_outputs], {retain_graph, create_graph, allow_unused,
 * materialize_grads}) -> list */
static int f_grad(lua_State *L) {
  ENTER;
  Tensor **roots = NULL, **seeds = NULL, **inputs = NULL;
  int kw = lua_gettop(L);
  if (!(kw > 2 && lua_istable(L, kw) && lua_rawlen(L, kw) == 0)) kw = 0;
  check_keys(L, kw ? kw : 0, "grad",
             " grad_outputs retain_graph create_graph allow_unused materialize_grads "
             "is_grads_batched only_inputs ");
  int n = vm_tensors_at(L, c, 1, &roots, false, "grad: outputs"),
      m = vm_tensors_at(L, c, 2, &inputs, false, "grad: inputs");
  int at = 0;
  if (!c->err && lua_gettop(L) >= 3 && kw != 3 && !lua_isnil(L, 3) && !vm_isnone(L, 3)) at = 3;
  if (!at && kw) { lua_getfield(L, kw, "grad_outputs"); if (!lua_isnil(L, -1)) at = lua_gettop(L); }
  if (at && !c->err) {
    int k = vm_tensors_at(L, c, at, &seeds, true, "grad: grad_outputs");
    if (!c->err && k != n) mt_fail(c, "grad: got %d outputs and %d grad_outputs", n, k);
  }
  if (kw && kw_bool(L, kw, "is_grads_batched", false))
    mt_fail_kind(c, MT_NOTIMPL,
                 "grad: is_grads_batched is not implemented; call grad once per row");
  bool create = kw && kw_bool(L, kw, "create_graph", false),
       mat = kw && kw_bool(L, kw, "materialize_grads", false);
  bool unused = kw && (kw_bool(L, kw, "allow_unused", false) || mat);
  Tensor **res = mt_tmp(c, sizeof *res * (size_t)(m + 1));
  if (res && !c->err) {
    memset(res, 0, sizeof *res * (size_t)(m + 1));
    ag_backward(c, n, roots, seeds, m, inputs, res,
                kw ? kw_bool(L, kw, "retain_graph", create) : false, create, false);
  }
  if (!c->err) {
    lua_createtable(L, m, 0);
    for (int i = 0; i < m; i++) {
      if (!res[i] && mat) res[i] = t_zeros_like(c, inputs[i], -1, -1, -1, -1, false, -1);
      if (!res[i] && !unused) {
        mt_fail(c,
                "grad: input %d appears not to have been used in the graph; pass allow_unused=true "
                "if that is intended",
                i + 1);
        break;
      }
      if (res[i]) vm_pushtensor(L, res[i]); else vm_pushnone(L);
      lua_rawseti(L, -2, i + 1);
    }
  }
  return vm_leave(L, c, sc, 1);
}

/* ---- modes: no_grad and its kin as functions and guards ---- */
typedef struct { uint32_t site; bool grad, inference, open; } Guard;
static int open_guards;
static int guard_close(lua_State *L) {
  Guard *g = lua_touserdata(L, 1);
  Ctx *c = vm_ctx(L);
  if (!g || !g->open) return 0;
  g->open = false;
  open_guards--;
  c->grad_mode = g->grad;
  c->inference = g->inference;
  c->site = g->site;
  return 0;
}
/* At the end of a chunk: a guard nobody closed is undone. */
void vm_modes_settle(lua_State *L) {
  Ctx *c = vm_ctx(L);
  if (!c || !open_guards) return;
  open_guards = 0;
  c->grad_mode = true;
  c->inference = false;
  lua_warning(L,
              "a torch.no_grad() (or similar) guard was never closed; write `local _ <close> = "
              "torch.no_grad()`",
              0);
}
static int with_mode(lua_State *L, bool grad, bool inference, int first) {
  Ctx *c = vm_ctx(L);
  int n = lua_gettop(L);
  bool og = c->grad_mode, oi = c->inference;
  uint32_t os = c->site, ns = grad ? os : vm_site();
  if (n >= first && lua_isfunction(L, first)) {
    c->grad_mode = grad;
    c->inference = inference;
    c->site = ns;
    int status = lua_pcall(L, n - first, LUA_MULTRET, 0);
    c->grad_mode = og;
    c->inference = oi;
    c->site = os;
    if (status != LUA_OK) return lua_error(L);
    return lua_gettop(L) - first + 1;
  }
  if (n >= first && !lua_isnil(L, first))
    return luaL_error(L, "expected a function to call, got %s", luaL_typename(L, first));
  Guard *g = lua_newuserdatauv(L, sizeof *g, 0);
  g->grad = og;
  g->inference = oi;
  g->site = os;
  g->open = true;
  if (luaL_newmetatable(L, "torch.guard")) {
    lua_pushcfunction(L, guard_close);
    lua_setfield(L, -2, "__close");
    lua_pushcfunction(L, guard_close);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  open_guards++;
  c->grad_mode = grad;
  c->inference = inference;
  c->site = ns;
  return 1;
}
static int f_no_grad(lua_State *L) { return with_mode(L, false, vm_ctx(L)->inference, 1); }
static int f_enable_grad(lua_State *L) { return with_mode(L, true, vm_ctx(L)->inference, 1); }
static int f_inference_mode(lua_State *L) {
  bool on = true;
  if (lua_isboolean(L, 1)) { on = lua_toboolean(L, 1); lua_remove(L, 1); }
  return with_mode(L, !on, on, 1);
}
static int f_set_grad_enabled(lua_State *L) {
  luaL_checktype(L, 1, LUA_TBOOLEAN);
  return with_mode(L, lua_toboolean(L, 1), vm_ctx(L)->inference, 2);
}
static int f_is_grad_enabled(lua_State *L) { lua_pushboolean(L, vm_ctx(L)->grad_mode); return 1; }
static int f_is_inference(lua_State *L) { lua_pushboolean(L, vm_ctx(L)->inference); return 1; }

/* ---- anomaly mode ---- */
static void set_anomaly(bool on) {
  ag_anomaly = on;
  ag_where = vm_script_line;
}
static int f_set_detect_anomaly(lua_State *L) {
  luaL_checktype(L, 1, LUA_TBOOLEAN);
  ag_check_nan = lua_istable(L, 2) ? kw_bool(L, 2, "check_nan", true)
                                   : !lua_isboolean(L, 2) || lua_toboolean(L, 2);
  set_anomaly(lua_toboolean(L, 1));
  return 0;
}
static int f_is_anomaly(lua_State *L) { lua_pushboolean(L, ag_anomaly); return 1; }

extern const char *(*vm_derivative_text)(int op);
static const char *derivative_text(int op) { return ag_derivs[op].text; }

void vm_open_autograd(lua_State *L, int torch) {
  static const luaL_Reg methods[] = {
    {"requires_grad_", m_requires_grad_}, {"detach_", m_detach_}, {"retain_grad", m_retain_grad},
    {"backward", m_backward}, {NULL, NULL}};
  static const luaL_Reg attrs[] = {{"requires_grad", a_requires_grad},
                                   {"is_leaf", a_is_leaf},
                                   {"grad", a_grad},
                                   {"grad_fn", a_grad_fn},
                                   {"data", a_data},
                                   {"_base", a_base},
                                   {"retains_grad", a_retains_grad},
                                   {"output_nr", a_output_nr},
                                   {NULL, NULL}};
  static const luaL_Reg setters[] = {
      {"requires_grad", s_requires_grad}, {"grad", s_grad}, {"data", s_data}, {NULL, NULL}};
  static const luaL_Reg top[] = {{"no_grad", f_no_grad},
                                 {"enable_grad", f_enable_grad},
                                 {"inference_mode", f_inference_mode},
                                 {"set_grad_enabled", f_set_grad_enabled},
                                 {"is_grad_enabled", f_is_grad_enabled},
                                 {"is_inference_mode_enabled", f_is_inference},
                                 {NULL, NULL}};
  static const luaL_Reg space[] = {{"grad", f_grad},
                                   {"backward", f_backward},
                                   {"set_detect_anomaly", f_set_detect_anomaly},
                                   {"is_anomaly_enabled", f_is_anomaly},
                                   {NULL, NULL}};
  torch = lua_absindex(L, torch);
  vm_push_methods(L);
  luaL_setfuncs(L, methods, 0);
  vm_push_attrs(L);
  luaL_setfuncs(L, attrs, 0);
  vm_push_setters(L);
  luaL_setfuncs(L, setters, 0);
  lua_pushvalue(L, torch);
  luaL_setfuncs(L, top, 0);
  lua_getfield(L, torch, "autograd");
  luaL_setfuncs(L, space, 0);
  vm_open_nodes(L, lua_gettop(L));
  vm_open_custom(L, lua_gettop(L));
  lua_pop(L, 5);
  vm_grad_fn_name = grad_fn_name;
  vm_derivative_text = derivative_text;
}
