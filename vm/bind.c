/* bind.c: the one path from a Lua call to an op: arguments read by the row's schema, dispatch,
 * results pushed.
 *
 * An OpSet is what one Lua function stands for: the overloads (rows) of a name, as function, method
 * or in-place method. The first row whose parameters accept the arguments is called; if none does,
 * the error is that of the row that got furthest, with the signatures. */
#include "vm.h"
#include "hidden.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAXROWS = 8, MAXARGS = 32 };
typedef struct OpSet {
  const char *shown;                       /* the name in messages */
  bool inplace, method;
  int n;
  const OpRow *rows[MAXROWS];
} OpSet;

typedef struct Call {
  lua_State *L;
  Ctx *c;
  const OpSet *set;
  const OpRow *op;
  int nargs, first; /* positional arguments sit at first .. first + nargs - 1 */
  int kw;                                  /* stack index of the keyword table, or 0 */
  Val v[MAXARGS];
  int where[MAXARGS];                      /* stack index each parameter came from, 0: default */
  Tensor *out[4];
  int nout, out_index;
  char err[512];
  int progress;
} Call;

static const char *type_name(int t) {
  static const char *const n[] = {
      "Tensor",           "list of tensors", "number",        "list of numbers", "integer",
      "list of integers", "number",          "boolean",       "string",          "dtype",
      "device",           "layout",          "memory format", "generator"};
  return n[t];
}

/* What a Lua value is called in messages. */
static const char *value_name(lua_State *L, int i, char *buf, size_t n) {
  Tensor *t = vm_totensor(L, i);
  if (t) return "a Tensor";
  switch (lua_type(L, i)) {
    case LUA_TNUMBER:
      snprintf(buf, n, lua_isinteger(L, i) ? "the integer %s" : "the number %s",
               luaL_tolstring(L, i, NULL));
      lua_pop(L, 1);
      return buf;
    case LUA_TSTRING: snprintf(buf, n, "the string '%.40s'", lua_tostring(L, i)); return buf;
    case LUA_TBOOLEAN: return lua_toboolean(L, i) ? "true" : "false";
    case LUA_TNIL: case LUA_TNONE: return "nil";
    case LUA_TTABLE: return vm_issize(L, i) ? "a torch.Size" : "a table";
    case LUA_TFUNCTION: return "a function";
    default:
      if (vm_isnone(L, i)) return "None";
      snprintf(buf, n, "%s", luaL_tolstring(L, i, NULL));
      lua_pop(L, 1);
      return buf;
  }
}

static bool mismatch(Call *k, const ParamRow *p, int i) {
  char buf[96];
  const char *want =
      p->type == P_IntList && p->list_len ? "integer or list of integers" : type_name(p->type);
  snprintf(k->err, sizeof k->err, "argument '%s' must be a%s %s%s, got %s", p->name,
           strchr("aeiou", want[0]) ? "n" : "", want, p->optional ? " or None" : "",
           value_name(k->L, i, buf, sizeof buf));
  return false;
}

static bool tensor_list(Call *k, const ParamRow *p, int i, TensorList *l) {
  lua_State *L = k->L;
  lua_Integer n = (lua_Integer)lua_rawlen(L, i);
  l->v = mt_tmp(k->c, sizeof(Tensor *) * (size_t)(n + 1));
  l->n = n;
  if (!l->v) return false;
  for (lua_Integer j = 1; j <= n; j++) {
    lua_rawgeti(L, i, j);
    Tensor *t = vm_totensor(L, -1);
    bool none = !t && p->opt_elems && (vm_isnone(L, -1));
    Scalar s;
    if (!t && !none && lua_type(L, -1) == LUA_TNUMBER && vm_toscalar(L, -1, &s))
      t = mt_wrap(k->c, s);
    if (!t && !none) {
      char buf[96];
      snprintf(k->err, sizeof k->err,
               "argument '%s' must be a list of tensors, but element %lld is %s", p->name,
               (long long)j, value_name(L, -1, buf, sizeof buf));
      lua_pop(L, 1);
      return false;
    }
    l->v[j - 1] = t;
    lua_pop(L, 1);
  }
  return true;
}

static bool is_list(lua_State *L, int i) {
  if (lua_type(L, i) != LUA_TTABLE) return false;
  if (!lua_getmetatable(L, i)) return true;
  lua_pop(L, 1);
  return false;
}

/* A list of integers with absent ones (None). */
static bool sparse_ints(Call *k, int i, IntList *l) {
  lua_Integer n = (lua_Integer)lua_rawlen(k->L, i);
  int64_t *x = mt_tmp(k->c, sizeof(int64_t) * (size_t)(n + 1));
  for (lua_Integer j = 0; x && j < n; j++) {
    lua_rawgeti(k->L, i, j + 1);
    bool ok = vm_isnone(k->L, -1) || vm_toint(k->L, -1, &x[j]);
    if (vm_isnone(k->L, -1)) x[j] = MT_NONE_INT;
    lua_pop(k->L, 1);
    if (!ok) return false;
  }
  *l = mt_il(x, n);
  return x != NULL;
}

/* Reads the value at i as parameter p. */
static bool take(Call *k, const ParamRow *p, int i, Val *v) {
  lua_State *L = k->L;
  if (vm_isnone(L, i)) {
    if (!p->optional) return mismatch(k, p, i);
    switch (p->type) {                     /* an explicit None is the optional's absent value */
      case P_Tensor: v->t = NULL; break;
      case P_TensorList: v->tl = (TensorList){NULL, -1}; break;
      case P_IntList: v->il = mt_ilnone(); break;
      case P_ScalarList: v->sl = (ScalarList){NULL, -1}; break;
      case P_Scalar: case P_float: v->s = mt_snone(); break;
      case P_int: v->i = MT_NONE_INT; break;
      case P_str: case P_generator: v->str = NULL; break;
      default: v->i = -1;
    }
    return true;
  }
  switch (p->type) {
    case P_Tensor: {
      Scalar s;
      if ((v->t = vm_totensor(L, i))) return true;
      if (p->number && vm_toscalar(L, i, &s)) {
        if (p->number == 1 && k->op->params[0].number && k->v != v && k->where[0] && k->v[0].t
            && k->v[0].t->flags & MT_WRAPPED) {
          snprintf(k->err, sizeof k->err, "needs a Tensor among its arguments, got two numbers");
          return false;
        }
        return (v->t = mt_wrap(k->c, s)) != NULL;
      }
      return mismatch(k, p, i);
    }
    case P_TensorList:
      if (is_list(L, i)) return tensor_list(k, p, i, &v->tl);
      return mismatch(k, p, i);
    case P_Scalar: {
      Tensor *t;
      if (vm_toscalar(L, i, &v->s)) return true;
      if ((t = vm_totensor(L, i)) && t->ndim == 0 && !mt_meta(t) && !(t->flags & MT_REQ_GRAD)) {
        v->s = mt_item(k->c, t);
        return true;
      }
      return mismatch(k, p, i);
    }
    case P_int: return vm_toint(L, i, &v->i) ? true : mismatch(k, p, i);
    case P_IntList:
      if (p->list_len && lua_type(L, i) == LUA_TNUMBER) {
        int64_t *x = mt_tmp(k->c, sizeof(int64_t) * (size_t)p->list_len);
        if (!x || !vm_toint(L, i, x)) return mismatch(k, p, i);
        for (int j = 1; j < p->list_len; j++) x[j] = x[0];
        v->il = mt_il(x, p->list_len);
        return true;
      }
      if (p->opt_elems && is_list(L, i))
        return sparse_ints(k, i, &v->il) ? true : mismatch(k, p, i);
      if ((is_list(L, i) || vm_issize(L, i) || vm_totensor(L, i)) &&
          vm_tointlist(L, k->c, i, &v->il)) {
        if (p->list_len > 1 && v->il.n == 1) {      /* one value stands for all, as in PyTorch */
          int64_t *x = mt_tmp(k->c, sizeof(int64_t) * (size_t)p->list_len);
          if (!x) return false;
          for (int j = 0; j < p->list_len; j++) x[j] = v->il.v[0];
          v->il = mt_il(x, p->list_len);
        }
        return true;
      }
      return mismatch(k, p, i);
    case P_ScalarList: {
      if (p->list_len && lua_type(L, i) == LUA_TNUMBER) {
        Scalar *x = mt_tmp(k->c, sizeof(Scalar));
        if (!x || !vm_toscalar(L, i, x)) return mismatch(k, p, i);
        v->sl = (ScalarList){x, 1};
        return true;
      }
      if (!is_list(L, i)) return mismatch(k, p, i);
      lua_Integer n = (lua_Integer)lua_rawlen(L, i);
      Scalar *s = mt_tmp(k->c, sizeof(Scalar) * (size_t)(n + 1));
      if (!s) return false;
      for (lua_Integer j = 1; j <= n; j++) {
        lua_rawgeti(L, i, j);
        bool ok = vm_toscalar(L, -1, &s[j - 1]);
        lua_pop(L, 1);
        if (!ok) return mismatch(k, p, i);
      }
      v->sl = (ScalarList){s, n};
      return true;
    }
    case P_float: {
      Scalar s;
      Tensor *t = vm_totensor(L, i);
      if (t && t->ndim == 0 && !mt_meta(t)) s = mt_item(k->c, t);
      else if (lua_type(L, i) != LUA_TNUMBER || !vm_toscalar(L, i, &s)) return mismatch(k, p, i);
      if (p->optional) v->s = mt_sd(mt_sre(s)); else v->d = mt_sre(s);
      return true;
    }
    case P_bool:
      if (lua_type(L, i) != LUA_TBOOLEAN) return mismatch(k, p, i);
      v->i = lua_toboolean(L, i);
      if (p->form != PF_FIXED || v->i == p->def.i) return true;
      snprintf(k->err, sizeof k->err, "argument '%s' cannot be %s here", p->name,
               v->i ? "true" : "false");
      return false;
    case P_str:
      if (lua_type(L, i) != LUA_TSTRING) return mismatch(k, p, i);
      v->str = lua_tostring(L, i);
      return true;
    case P_dtype: return (v->i = vm_todtype(L, i)) >= 0 ? true : mismatch(k, p, i);
    case P_device: return (v->i = vm_todevice(L, i)) >= 0 ? true : mismatch(k, p, i);
    case P_memfmt:
      return (v->i = vm_toconst(L, i, "memory_format")) >= 0 ? true : mismatch(k, p, i);
    case P_layout: return (v->i = vm_toconst(L, i, "layout")) >= 0 ? true : mismatch(k, p, i);
    case P_generator:
      if (!(v->str = vm_togenerator(L, i)))
        return vm_isdefaultgenerator(L, i) ? true : mismatch(k, p, i);
      return true;
    default: v->str = NULL; return true;
  }
}

/* A list of two lists for the pair of parameters that starts at pi. */
static bool take_pair(Call *k, int pi, int i) {
  lua_State *L = k->L;
  if (k->op->params[pi].form != PF_PAIR || !is_list(L, i) || lua_rawlen(L, i) != 2) return false;
  bool ok = true;
  for (int j = 0; ok && j < 2; j++) {
    ok = lua_rawgeti(L, i, j + 1) == LUA_TTABLE &&
         take(k, &k->op->params[pi + j], lua_gettop(L), &k->v[pi + j]);
    lua_pop(L, 1);
    k->where[pi + j] = i;
  }
  return ok;
}

/* int[] as last positional parameter takes the rest of the numbers: x:view(2, 3). */
static bool last_positional(const OpRow *op, int pi) {
  return pi + 1 >= op->nparam || op->params[pi + 1].kwonly;
}
static bool take_varargs(Call *k, int pi, int *used, int i) {
  const ParamRow *p = &k->op->params[pi];
  lua_State *L = k->L;
  int left = k->first + k->nargs - i;
  if (p->type == P_IntList && p->list_len == 0 &&
      (last_positional(k->op, pi) || left > 1 || k->nargs == 1) && lua_type(L, i) == LUA_TNUMBER) {
    int m = 0;
    int64_t *x = mt_tmp(k->c, sizeof(int64_t) * (size_t)left);
    if (!x) return false;
    if (!last_positional(k->op, pi)) return false;
    while (m < left && vm_toint(L, i + m, &x[m])) m++;
    if (m < left) return false;
    k->v[pi].il = mt_il(x, m);
    *used = m;
    return true;
  }
  if (p->type == P_TensorList && last_positional(k->op, pi) && vm_totensor(L, i)) {
    int m = 0;
    TensorList l = {mt_tmp(k->c, sizeof(Tensor *) * (size_t)left), left};
    if (!l.v) return false;
    for (; m < left; m++) if (!(l.v[m] = vm_totensor(L, i + m))) return false;
    k->v[pi].tl = l;
    *used = m;
    return true;
  }
  return false;
}

static int find_param(const OpRow *op, const char *name) {
  for (int i = 0; i < op->nparam; i++) if (!strcmp(op->params[i].name, name)) return i;
  if (!strcmp(name, "end_")) return find_param(op, "end");
  if (!strcmp(name, "axis") || !strcmp(name, "axes")) return find_param(op, "dim");
  if (!strcmp(name, "keepdims")) return find_param(op, "keepdim");
  if (!strcmp(name, "input") && op->nparam && !strcmp(op->params[0].name, "self")) return 0;
  for (int i = 0; i < op->nparam; i++)
    if (op->params[i].form == PF_PAIR && !strncmp(op->params[i].name, name, strlen(name))) return i;
  if (!strcmp(name, "tensor") && op->nparam && !strcmp(op->params[0].name, "self")) return 0;
  return -1;
}

static bool take_out(Call *k, int i) {
  lua_State *L = k->L;
  Tensor *t = vm_totensor(L, i);
  if (vm_isnone(L, i)) return true;
  if (!(k->op->flags & OF_OUT)) {
    snprintf(k->err, sizeof k->err, "takes no keyword 'out'");
    return false;
  }
  k->out_index = i;
  if (t) { k->out[0] = t; k->nout = 1; }
  else if (is_list(L, i)) {
    int n = (int)lua_rawlen(L, i);
    if (n != k->op->nret || n > 4) {
      snprintf(k->err, sizeof k->err, "out must hold %d tensors, got %d", k->op->nret, n);
      return false;
    }
    for (int j = 0; j < n; j++) {
      lua_rawgeti(L, i, j + 1);
      if (!(k->out[j] = vm_totensor(L, -1))) {
        snprintf(k->err, sizeof k->err, "out must hold tensors");
        return false;
      }
      lua_pop(L, 1);
    }
    k->nout = n;
  } else {
    snprintf(k->err, sizeof k->err, "out must be a Tensor or a list of tensors");
    return false;
  }
  if (k->nout != k->op->nret) {
    snprintf(k->err, sizeof k->err, "out must hold %d tensors, got %d", k->op->nret, k->nout);
    return false;
  }
  return true;
}

static bool keywords(Call *k) {
  lua_State *L = k->L;
  lua_pushnil(L);
  while (lua_next(L, k->kw)) {
    if (lua_type(L, -2) != LUA_TSTRING) {
      lua_pop(L, 1);
      continue;
    } /* the list part was taken before */
    const char *name = lua_tostring(L, -2);
    int vi = lua_gettop(L), pi = find_param(k->op, name);
    bool ok;
    if (!strcmp(name, "out") && pi < 0) ok = take_out(k, vi);
    else if (pi < 0) { snprintf(k->err, sizeof k->err, "unknown keyword '%s'", name); ok = false;
    } else if (k->where[pi] > 0) {
      snprintf(k->err, sizeof k->err, "got multiple values for argument '%s'", name);
      ok = false;
    } else if (take_pair(k, pi, vi)) ok = true;
    else { ok = take(k, &k->op->params[pi], vi, &k->v[pi]); if (ok) k->where[pi] = -1; }
    if (!ok) { lua_settop(L, vi - 2); k->progress += 1; return false; }
    k->progress += 2;
    lua_pop(L, 1);
  }
  return true;
}

static bool parse(Call *k, const OpRow *op) {
  lua_State *L = k->L;
  int i = k->first, end = k->first + k->nargs, pi = 0;
  k->op = op;
  k->nout = 0;
  k->progress = 0;
  k->err[0] = 0;
  for (int j = 0; j < op->nparam; j++) k->where[j] = 0;
  for (; i < end; pi++) {
    int used = 1;
    if (pi >= op->nparam || op->params[pi].kwonly) {
      if (lua_isnil(L, i)) { i++; pi--; continue; }
      int want = 0;
      while (want < op->nparam && !op->params[want].kwonly) want++;
      snprintf(k->err, sizeof k->err, "takes at most %d positional argument%s, got %d",
               want - k->set->method, want - k->set->method == 1 ? "" : "s",
               k->nargs - k->set->method);
      k->progress += 1;
      return false;
    }
    if (lua_isnil(L, i)) { i++; continue; }
    if (take_pair(k, pi, i)) { pi++; i++; continue; }
    if (take_varargs(k, pi, &used, i)) {}
    else if (!take(k, &op->params[pi], i, &k->v[pi])) return false;
    k->where[pi] = i;
    k->progress += 2;
    i += used;
  }
  if (k->kw && !keywords(k)) return false;
  for (int j = 0; j < op->nparam; j++) {
    const ParamRow *p = &op->params[j];
    if (k->where[j]) continue;
    if (p->has_default) k->v[j] = p->def;
    if (p->type == P_device && op->params[0].type != P_Tensor) k->v[j].i = vm_default_device(L);
    if (p->has_default) continue;
    snprintf(k->err, sizeof k->err, "argument '%s' (%s) is missing", p->name, type_name(p->type));
    return false;
  }
  return true;
}

/* The schema as users see it: `sum(self, dim, keepdim=False, *, dtype=None)`. */
static void signature(luaL_Buffer *b, const OpSet *set, const OpRow *op) {
  luaL_addstring(b, set->shown);
  luaL_addchar(b, '(');
  bool star = false, first = true;
  for (int i = set->method ? 1 : 0; i < op->nparam; i++) {
    const ParamRow *p = &op->params[i];
    if (!first) luaL_addstring(b, ", ");
    first = false;
    if (p->kwonly && !star) { luaL_addstring(b, "{"); star = true; }
    luaL_addstring(b, p->name);
    luaL_addstring(b, p->kwonly ? " = " : ": ");
    luaL_addstring(b, type_name(p->type));
    if (p->def_text && !p->kwonly) { luaL_addstring(b, " = "); luaL_addstring(b, p->def_text); }
  }
  if (star) luaL_addchar(b, '}');
  luaL_addchar(b, ')');
}

static _Noreturn void no_match(Call *k, const char *best, Scope s) {
  lua_State *L = k->L;
  const OpSet *set = k->set;
  luaL_Buffer b;
  bool oom = k->c->err == MT_NOMEM;
  char text[600];
  snprintf(text, sizeof text, "%.590s", oom ? k->c->msg : best);
  mt_clear(k->c);
  lua_settop(L, 0);
  vm_where(L);
  vm_push_layer(L, k->c);
  lua_concat(L, 2);
  mt_clear(k->c);
  mt_leave(k->c, s);
  luaL_buffinit(L, &b);
  lua_pushvalue(L, 1);
  luaL_addvalue(&b);
  luaL_addstring(&b, set->shown);
  luaL_addstring(&b, ": ");
  luaL_addstring(&b, text);
  for (int i = 0; !oom && i < set->n; i++) {
    luaL_addstring(&b, i ? "\n     or  " : "\n  usage: ");
    signature(&b, set, set->rows[i]);
  }
  luaL_pushresult(&b);
  lua_error(L);
  abort();
}

/* Splits the arguments into positional ones and keywords. */
static void split_args(Call *k) {
  lua_State *L = k->L;
  int top = lua_gettop(L);
  k->first = 1;
  k->nargs = top;
  k->kw = 0;
  if (!is_list(L, top) || top == 0) return;
  lua_pushnil(L);
  bool strings = false, other = false;
  size_t len = lua_rawlen(L, top);
  while (lua_next(L, top)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) == LUA_TSTRING) strings = true;
    else if (lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 1 &&
             lua_tointeger(L, -1) <= (lua_Integer)len)
      continue;
    else other = true;
    if (len == 0 && !other) { lua_pop(L, 1); break; }        /* a string key decides */
  }
  if (other) {
    luaL_error(L, "%s: a list must have the keys 1 to n without holes; found another key",
               k->set->shown);
  }
  if (!strings) {
    /* {} alone: an empty list unless no list fits, which parse decides by trying the call without
     * it. */
    return;
  }
  k->kw = top;
  k->nargs = top - 1;
  if (len > 0) { /* a whole call: the list part is the positional arguments, or the first list */
    if (k->nargs > (k->set->method ? 1 : 0))
      luaL_error(L, "%s: a table with both values and keywords must be the only argument",
                 k->set->shown);
    const OpRow *op = k->set->rows[0];
    int pi = k->set->method ? 1 : 0;
    int pt = pi < op->nparam ? op->params[pi].type : -1;
    if (pt == P_TensorList || pt == P_IntList || pt == P_ScalarList) {
      lua_createtable(L, (int)len, 0);
      for (size_t j = 1; j <= len; j++) {
        lua_rawgeti(L, top, (lua_Integer)j);
        lua_rawseti(L, -2, (lua_Integer)j);
      }
      if (k->nargs) { lua_pushvalue(L, 1); lua_insert(L, -2); }
      k->first = top + 1;
      k->nargs = k->nargs + 1;
    } else {
      luaL_checkstack(L, (int)len + 2, "too many arguments");
      int self = k->nargs;
      k->first = lua_gettop(L) + 1;
      if (self) lua_pushvalue(L, 1);
      for (size_t j = 1; j <= len; j++) lua_rawgeti(L, top, (lua_Integer)j);
      k->nargs = self + (int)len;
    }
  }
}

/* Pushes the value at i, or the element of the list there, whose tensor is t. */
static bool push_if_holds(lua_State *L, int i, const Tensor *t) {
  i = lua_absindex(L, i);
  if (vm_totensor(L, i) == t) { lua_pushvalue(L, i); return true; }
  if (!is_list(L, i)) return false;
  for (lua_Integer j = 1, n = (lua_Integer)lua_rawlen(L, i); j <= n; j++) {
    lua_rawgeti(L, i, j);
    if (vm_totensor(L, -1) == t) return true;
    lua_pop(L, 1);
  }
  return false;
}

/* A result that is an argument is pushed as the very object that was given. */
static void push_tensor(Call *k, Tensor *t) {
  lua_State *L = k->L;
  if (t && t->box) {
    for (int i = k->first; i < k->first + k->nargs; i++) if (push_if_holds(L, i, t)) return;
    if (k->kw) for (lua_pushnil(L); lua_next(L, k->kw); lua_pop(L, 1))
      if (push_if_holds(L, -1, t)) { lua_replace(L, -3); lua_pop(L, 1); return; }
  }
  vm_pushtensor(L, t);
}

static void push_result(Call *k, int type, Val *r) {
  lua_State *L = k->L;
  switch (type) {
    case P_Tensor: push_tensor(k, r->t); return;
    case P_TensorList:
      lua_createtable(L, (int)r->tl.n, 0);
      for (int64_t i = 0; i < r->tl.n; i++) {
        if (r->tl.v[i]) push_tensor(k, r->tl.v[i]); else vm_pushnone(L);
        lua_rawseti(L, -2, i + 1);
      }
      return;
    case P_bool: lua_pushboolean(L, r->i != 0); return;
    case P_int: lua_pushinteger(L, r->i); return;
    case P_float: lua_pushnumber(L, r->d); return;
    case P_Scalar: vm_pushscalar(L, r->s); return;
    case P_IntList: vm_pushsize(L, r->il.v, r->il.n); return;
    case P_dtype: vm_pushdtype(L, (DType)r->i); return;
    case P_str: lua_pushstring(L, r->str); return;
    default: lua_pushnil(L);
  }
}

/* A list as a plain table, None as nil: what a forward function written in Lua is given. */
static void push_argument(Call *k, const ParamRow *p, Val *v) {
  lua_State *L = k->L;
  switch (p->type) {
    case P_float: if (p->optional) vm_pushscalar(L, v->s); else lua_pushnumber(L, v->d); return;
    case P_int: if (v->i == MT_NONE_INT) lua_pushnil(L); else lua_pushinteger(L, v->i); return;
    case P_IntList:
      if (v->il.n < 0) { lua_pushnil(L); return; }
      lua_createtable(L, (int)v->il.n, 0);
      for (int64_t i = 0; i < v->il.n; i++) {
        lua_pushinteger(L, v->il.v[i]);
        lua_rawseti(L, -2, i + 1);
      }
      return;
    case P_ScalarList:
      if (v->sl.n < 0) { lua_pushnil(L); return; }
      lua_createtable(L, (int)v->sl.n, 0);
      for (int64_t i = 0; i < v->sl.n; i++) {
        vm_pushscalar(L, v->sl.v[i]);
        lua_rawseti(L, -2, i + 1);
      }
      return;
    case P_bool: case P_dtype: if (p->optional && v->i < 0) { lua_pushnil(L); return; } break;
    case P_device: if (v->i < 0) lua_pushnil(L); else vm_pushdevice(L, (int)v->i); return;
    case P_TensorList: if (v->tl.n < 0) { lua_pushnil(L); return; } break;
    default: break;
  }
  push_result(k, p->type, v);
}

/* An op of the user's: its arguments as Lua values to the function in upvalue 2; an argument not
 * given is nil. */
static int call_user(Call *k, Scope s) {
  lua_State *L = k->L;
  int n = k->op->nparam, top = lua_gettop(L);
  luaL_checkstack(L, n + 4, "too many arguments");
  lua_pushvalue(L, lua_upvalueindex(2));
  for (int i = 0; i < n; i++)
    if (k->where[i]) push_argument(k, &k->op->params[i], &k->v[i]); else lua_pushnil(L);
  if (k->c->err) vm_raise(L, k->c, s);
  mt_leave(k->c, s);
  lua_call(L, n, LUA_MULTRET);
  return lua_gettop(L) - top;
}

static int finish(Call *k, Scope s) {
  lua_State *L = k->L;
  if (k->op->id < 0) return call_user(k, s);
  Ctx *c = k->c;
  Val r[8];
  int pushed = 0;
  if (k->op->flags & OF_HIDDEN && !mt_hidden_args(c, k->op, k->v)) vm_raise(L, c, s);
  if (k->set->inplace && !(k->op->flags & OF_INPLACE_ONLY)) {
    k->out[0] = k->v[0].t;
    if (k->op->nparam && k->op->params[0].type == P_Tensor && k->v[0].t &&
        k->v[0].t->flags & MT_WRAPPED)
      mt_fail(c, "an in-place op needs a tensor as self");
    mt_call_out(c, k->op, k->v, r, k->out, 1, true);
  } else if (k->op->flags & OF_INPLACE_ONLY) {
    k->out[0] = k->v[0].t;
    mt_call_out(c, k->op, k->v, r, k->out, 1, true);
  } else if (k->nout) mt_call_out(c, k->op, k->v, r, k->out, k->nout, false);
  else mt_call(c, k->op, k->v, r);
  if (c->err) vm_raise(L, c, s);
  if (k->nout && k->out_index) {
    for (int i = 0; i < k->op->nret; i++) push_tensor(k, r[i].t);
  } else {
    luaL_checkstack(L, k->op->nret + 2, NULL);
    for (int i = 0; i < k->op->nret; i++) {
      if (k->op->flags & OF_COMPACT && k->op->ret_types[i] == P_Tensor && !r[i].t) continue;
      push_result(k, k->op->ret_types[i], &r[i]);
      pushed++;
    }
    mt_close(c, s);
    return pushed;
  }
  mt_leave(c, s);
  return k->op->nret;
}

static int op_call(lua_State *L) {
  Call k;
  k.L = L;
  k.c = vm_ctx(L);
  k.set = lua_touserdata(L, lua_upvalueindex(1));
  k.out_index = 0;
  vm_gc_before(L);
  Scope s = mt_open(k.c);
  lua_settop(L, lua_gettop(L));
  luaL_checkstack(L, 40, NULL);
  split_args(&k);
  char best[512];
  int got = -1;
  for (int i = 0; i < k.set->n; i++) {
    int top = lua_gettop(L);
    if (parse(&k, k.set->rows[i])) return finish(&k, s);
    lua_settop(L, top);
    if (k.progress > got) { got = k.progress; memcpy(best, k.err, sizeof best); }
    if (k.c->err) break;
  }
  /* A last {} that fits nowhere means no keywords. */
  int last = k.first + k.nargs - 1;
  if (!k.kw && k.nargs > 0 && is_list(L, last) && lua_rawlen(L, last) == 0 && !k.c->err) {
    k.nargs--;
    for (int i = 0; i < k.set->n; i++) if (parse(&k, k.set->rows[i])) return finish(&k, s);
    k.nargs++;
  }
  no_match(&k, best, s);
}

void vm_push_user_op(lua_State *L, const OpRow *row, const char *shown, int owner) {
  owner = lua_absindex(L, owner);
  OpSet *set = lua_newuserdatauv(L, sizeof *set, 1);
  memset(set, 0, sizeof *set);
  set->shown = shown;
  set->rows[set->n++] = row;
  lua_pushvalue(L, owner);
  lua_setiuservalue(L, -2, 1);
  lua_insert(L, -2);
  lua_pushcclosure(L, op_call, 2);
}

/* Binary operators, the hot path: two tensors, or a tensor and a number. */
static int op_meta(lua_State *L) {
  const OpSet *set = lua_touserdata(L, lua_upvalueindex(1));
  const OpRow *op = set->rows[0];
  Ctx *c = vm_ctx(L);
  vm_gc_before(L);
  Scope s = mt_open(c);
  Val a[8], r[1];
  for (int i = 0; i < op->nparam; i++) {
    if (i < 2) {
      Scalar x;
      Tensor *t = vm_totensor(L, i + 1);
      if (!t && vm_toscalar(L, i + 1, &x)) t = mt_wrap(c, x);
      if (!t) {
        char buf[96];
        if (c->err) vm_raise(L, c, s);
        value_name(L, i + 1, buf, sizeof buf);
        mt_fail(c, "%s: expected a Tensor or a number, got %s", set->shown,
                value_name(L, i + 1, buf, sizeof buf));
        vm_raise(L, c, s);
      }
      a[i].t = t;
    } else a[i] = op->params[i].def;
  }
  mt_call(c, op, a, r);
  if (c->err) vm_raise(L, c, s);
  vm_pushtensor(L, r[0].t);
  mt_leave(c, s);
  return 1;
}

/* ---- building the tables ---- */
static const char methods_key = 0, attrs_key = 0;
void vm_push_methods(lua_State *L) { lua_rawgetp(L, LUA_REGISTRYINDEX, &methods_key); }
void vm_push_attrs(lua_State *L) { lua_rawgetp(L, LUA_REGISTRYINDEX, &attrs_key); }

/* Finds or makes the set behind a function already in the table on top under key; adds the row. */
static void add_row(lua_State *L, const char *key, const char *shown, const OpRow *op, bool method,
                    bool inplace) {
  lua_pushstring(L, key);
  lua_rawget(L, -2);
  OpSet *set = NULL;
  if (lua_iscfunction(L, -1) && lua_tocfunction(L, -1) == op_call && lua_getupvalue(L, -1, 1)) {
    set = lua_touserdata(L, -1);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  if (!set) {
    lua_pushstring(L, key);
    set = lua_newuserdatauv(L, sizeof *set, 1);
    lua_pushstring(L, shown);
    set->shown = lua_tostring(L, -1);
    lua_setiuservalue(L, -2, 1);
    set->n = 0;
    set->method = method;
    set->inplace = inplace;
    lua_pushcclosure(L, op_call, 1);
    lua_rawset(L, -3);
  }
  if (set->n < MAXROWS) set->rows[set->n++] = op;
}

/* Pushes the table for a dotted path's namespace below torch, creating it; returns the last name.
 */
static const char *namespace(lua_State *L, int torch, const char *path) {
  lua_pushvalue(L, torch);
  const char *dot;
  if (!strncmp(path, "torch.", 6)) path += 6;
  while ((dot = strchr(path, '.'))) {
    lua_pushlstring(L, path, (size_t)(dot - path));
    if (lua_rawget(L, -2) != LUA_TTABLE) {
      lua_pop(L, 1);
      lua_newtable(L);
      lua_pushlstring(L, path, (size_t)(dot - path));
      lua_pushvalue(L, -2);
      lua_rawset(L, -4);
    }
    lua_remove(L, -2);
    path = dot + 1;
  }
  return path;
}

static void bind_path(lua_State *L, int torch, const char *path, const OpRow *op) {
  const char *key = namespace(L, torch, path);
  char shown[160];
  snprintf(shown, sizeof shown, "%s", strncmp(path, "torch.", 6) ? path : path + 6);
  add_row(L, key, shown, op, false, false);
  if (op->flags & OF_INPLACE) {
    char k2[100];
    snprintf(k2, sizeof k2, "%s_", key);
    snprintf(shown + strlen(shown), 2, "_");
    add_row(L, k2, shown, op, false, true);
  }
  lua_pop(L, 1);
}

static void bind_method(lua_State *L, const char *name, const OpRow *op) {
  char k2[100];
  vm_push_methods(L);
  if (op->flags & OF_ATTR) { lua_pop(L, 1); vm_push_attrs(L); }
  add_row(L, name, name, op, true, false);
  if (op->flags & OF_INPLACE) {
    snprintf(k2, sizeof k2, "%s_", name);
    add_row(L, k2, k2, op, true, true);
  }
  lua_pop(L, 1);
}

static void bind_words(lua_State *L, int torch, const OpRow *op) {
  char word[160];
  for (const char *p = op->aliases; *p;) {
    size_t n = strcspn(p, " ");
    snprintf(word, sizeof word, "%.*s", (int)n, p);
    if (op->flags & OF_FUNCTION) bind_path(L, torch, word, op);
    const char *tail = word + 6;                       /* after "torch." */
    if (op->flags & OF_METHOD && !strchr(tail, '.') && strcmp(tail, op->base))
      bind_method(L, tail, op);
    p += n + (p[n] == ' ');
  }
}

void vm_open_ops(lua_State *L, int torch) {
  torch = lua_absindex(L, torch);
  lua_newtable(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &methods_key);
  lua_newtable(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &attrs_key);
  for (int i = 0; i < mt_nops; i++) {
    const OpRow *op = &mt_ops[i];
    if (op->flags & OF_HIDDEN) { /* reachable for our own Lua code as torch._ops.NAME */
      char path[128];
      snprintf(path, sizeof path, "torch._ops.%s", op->name);
      bind_path(L, torch, path, op);
      if (!(op->meta && *op->meta)) continue;
    } else {
      if (op->flags & OF_FUNCTION) bind_path(L, torch, op->path, op);
      if (op->flags & OF_METHOD) bind_method(L, op->base, op);
      bind_words(L, torch, op);
    }
    if (op->meta) {
      vm_push_tensor_meta(L);
      OpSet *set = lua_newuserdatauv(L, sizeof *set, 0);
      memset(set, 0, sizeof *set);
      set->shown = op->base;
      set->rows[set->n++] = op;
      lua_pushcclosure(L, op_meta, 1);
      lua_setfield(L, -2, op->meta);
      lua_pop(L, 1);
    }
  }
}
