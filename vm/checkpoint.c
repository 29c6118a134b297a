/* checkpoint.c: PyTorch's .pt files to Lua values and back.
 *
 * Reading: dictionaries become ordered tables, lists and tuples lists, None inside them torch.None;
 * what the file shares is shared here (a container or tensor that occurs twice is one object).
 * Writing: the reverse; views of one storage stay views.  Both keep a stack of frames: no
 * recursion. */
#include "formats.h"
#include "ordered.h"
#include "pickle/pickle.h"
#include <string.h>

enum { MAX_DEPTH = 500 };

/* ---- reading ---- */
static int file_gc(lua_State *L) {
  pk_free(lua_touserdata(L, 1));
  return 0;
}

typedef struct frame { uint32_t value, i; int slot; lua_Integer n; } frame;

typedef struct reading {
  pk_file *f;
  Held *h;
  int memo;                      /* index of the table value number -> Lua object */
  frame *top, *stack;
} reading;

/* Opens a container: a dictionary's table and key list, else a list and nil. */
static void open_frame(lua_State *L, reading *r, uint32_t i) {
  const pk_value *v = &r->f->v[i];
  int n = v->n < 1 << 24 ? (int)v->n : 0;
  frame *f = r->top ? r->top + 1 : r->stack;
  if (f == r->stack + MAX_DEPTH) luaL_error(L, "torch.load: nested too deeply");
  luaL_checkstack(L, 12, "torch.load: nested too deeply");
  *f = (frame){.value = i, .slot = lua_gettop(L) + 1};
  if (v->type == PK_DICT) vm_ordered_open(L, n / 2);
  else lua_createtable(L, n, 0), lua_pushnil(L);
  lua_pushvalue(L, f->slot);
  lua_rawseti(L, r->memo, i);
  r->top = f;
}

static void push_tensor(lua_State *L, reading *r, uint32_t i) {
  Ctx *c = vm_ctx(L);
  Scope sc = mt_open(c);
  vm_pushtensor(L, vm_held_tensor(c, r->h, &r->h->list.v[r->f->v[i].u.i]));
  vm_leave(L, c, sc, 0);
  lua_pushvalue(L, -1);
  lua_rawseti(L, r->memo, i);
}

static void push_size(lua_State *L, reading *r, const pk_value *v) {
  int64_t dims[FMT_MAX_DIMS];
  if (v->n > FMT_MAX_DIMS) luaL_error(L, "torch.load: a torch.Size of %d dimensions", (int)v->n);
  for (uint32_t k = 0; k < v->n; k++) {
    const pk_value *d = &r->f->v[v->u.kids[k]];
    if (d->type != PK_INT) luaL_error(L, "torch.load: a torch.Size of what is no integer");
    dims[k] = d->u.i;
  }
  vm_pushsize(L, dims, v->n);
}

static void push_dtype(lua_State *L, const pk_value *v) {
  for (int d = 0; d < MT_NDTYPES; d++)
    if (!strcmp(mt_dtypes[d].name, fmt_types[v->u.i].name)) return vm_pushdtype(L, (DType)d);
  lua_pushstring(L, fmt_types[v->u.i].name);
}

/* Pushes a value; false: a container was opened instead. */
static bool push_value(lua_State *L, reading *r, uint32_t i) {
  const pk_value *v = &r->f->v[i];
  if (v->type >= PK_TUPLE && v->type <= PK_TENSOR) {
    if (lua_rawgeti(L, r->memo, i) != LUA_TNIL) return true;
    lua_pop(L, 1);
  }
  switch (v->type) {
    case PK_NONE: vm_pushnone(L); break;
    case PK_BOOL: lua_pushboolean(L, v->u.i != 0); break;
    case PK_INT: lua_pushinteger(L, v->u.i); break;
    case PK_FLOAT: lua_pushnumber(L, v->u.f); break;
    case PK_STR: case PK_BYTES: lua_pushlstring(L, v->u.s, v->n); break;
    case PK_DEVICE: lua_pushlstring(L, v->u.s, v->n); break;
    case PK_DTYPE: push_dtype(L, v); break;
    case PK_TENSOR: push_tensor(L, r, i); break;
    case PK_SIZE: push_size(L, r, v); break;
    case PK_TUPLE: case PK_LIST: case PK_SET: case PK_DICT: open_frame(L, r, i); return false;
    default: luaL_error(L, "torch.load: the file holds a value that has no meaning outside it");
  }
  return true;
}

/* The value on the top goes into the innermost container. */
static void store(lua_State *L, reading *r) {
  frame *f = r->top;
  if (r->f->v[f->value].type == PK_DICT) f->n = vm_ordered_put(L, f->slot, f->n);
  else lua_rawseti(L, f->slot, ++f->n);
}

static void push_key(lua_State *L, const pk_value *k) {
  switch (k->type) {
    case PK_STR: case PK_BYTES: lua_pushlstring(L, k->u.s, k->n); break;
    case PK_INT: lua_pushinteger(L, k->u.i); break;
    case PK_FLOAT:
      if (k->u.f != k->u.f) luaL_error(L, "torch.load: a dictionary's key is NaN");
      lua_pushnumber(L, k->u.f);
      break;
    default: luaL_error(L, "torch.load: a dictionary's key is neither a string nor a number");
  }
}

static void build(lua_State *L, reading *r) {
  if (push_value(L, r, r->f->root)) return;
  while (r->top) {
    frame *f = r->top;
    const pk_value *v = &r->f->v[f->value];
    if (f->i == v->n) {
      if (v->type == PK_DICT) vm_ordered_close(L, f->slot);
      else lua_pop(L, 1);
      r->top = f == r->stack ? NULL : f - 1;
      if (r->top) store(L, r);
      continue;
    }
    if (v->type == PK_DICT) push_key(L, &r->f->v[v->u.kids[f->i++]]);
    if (push_value(L, r, v->u.kids[f->i++])) store(L, r);
  }
}

void vm_load_checkpoint(lua_State *L, const char *path) {
  sys_err e = {{0}, 0};
  reading r = {.top = NULL};
  r.f = lua_newuserdatauv(L, sizeof *r.f, 0);
  *r.f = (pk_file){.n = 0};
  if (luaL_newmetatable(L, "pickle.file"))
    lua_pushcfunction(L, file_gc), lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  if (!pk_open(r.f, path, &e)) luaL_error(L, "%s", e.msg);
  r.h = vm_held_push(L);
  /* Strings of the values lie in the list's memory, which the Held keeps while this function runs.
   */
  r.h->list = r.f->list;
  r.f->list = (fmt_list){0};
  r.stack = lua_newuserdatauv(L, MAX_DEPTH * sizeof *r.stack, 0);
  lua_newtable(L);
  r.memo = lua_gettop(L);
  build(L, &r);
  if (vm_isnone(L, -1)) lua_pushnil(L);
}

/* ---- writing ---- */
typedef struct level { lua_Integer i, n; int slot; bool dict; } level;

typedef struct writing {
  pk_writer w;
  pk_storage *stores;
  size_t n, cap;
} writing;

static int writing_gc(lua_State *L) {
  writing *w = lua_touserdata(L, 1);
  pk_writer_free(&w->w);
  mt_free(w->stores);
  w->stores = NULL;
  return 0;
}

/* The number of the storage whose bytes these are; -1: out of memory.  seen: table pointer ->
 * number. */
static int64_t number_of(lua_State *L, Ctx *c, writing *w, int seen, const void *data,
                         uint64_t nbytes, int dtype) {
  lua_pushfstring(L, "%p:%d", data, dtype);
  lua_pushvalue(L, -1);
  if (lua_rawget(L, seen) == LUA_TNUMBER) {
    int64_t known = lua_tointeger(L, -1);
    lua_pop(L, 2);
    return known;
  }
  if (w->n == w->cap) {
    size_t cap = w->cap ? 2 * w->cap : 32;
    pk_storage *v = mt_realloc(w->stores, cap * sizeof *v);
    if (!v) return mt_nomem(c), -1;
    w->stores = v, w->cap = cap;
  }
  w->stores[w->n] = (pk_storage){data, nbytes, dtype};
  lua_pop(L, 1);
  lua_pushinteger(L, (lua_Integer)w->n);
  lua_rawset(L, seen);
  return (int64_t)w->n++;
}

/* A tensor as a view of its whole storage, so that tensors that share one still do when loaded. */
static void put_tensor(lua_State *L, Ctx *c, writing *w, int seen, Tensor *x) {
  fmt_tensor t = {.quant = -1};
  bool mode = c->grad_mode, parameter = x->flags & MT_PARAM;
  int dtype = fmt_type_named(mt_dtypes[x->dtype].name);
  uint64_t size = mt_dsize(x->dtype);
  t.requires_grad = x->flags & MT_REQ_GRAD;
  if (mt_meta(x)) {
    mt_fail(c, "torch.save: a tensor is on the meta device and has no data");
    return;
  }
  c->grad_mode = false;
  x = t_resolve_neg(c, t_resolve_conj(c, x));
  if (x && ((uint64_t)x->st->nbytes % size || !fmt_types[dtype].pt)) x = t_clone(c, x, -1);
  c->grad_mode = mode;
  if (!x) return;
  t.dtype = dtype, t.ndim = x->ndim, t.shape = x->size, t.strides = x->stride;
  const void *data = x->st->nbytes ? x->st->data : (const void *)x->st;
  int64_t k = number_of(L, c, w, seen, data, (uint64_t)x->st->nbytes, dtype);
  if (k >= 0)
    pk_put_tensor(&w->w, &t, k, (uint64_t)x->st->nbytes / size, (uint64_t)x->offset, parameter);
}

/* A value that is no table, popped; false: it is one. */
static bool put_scalar(lua_State *L, Ctx *c, writing *w, int seen) {
  size_t n;
  const char *s;
  int dtype;
  Tensor *x = vm_totensor(L, -1);
  if (vm_issize(L, -1)) {
    vm_size_values(L, -1);
    lua_replace(L, -2);
    return false;
  }
  switch (lua_type(L, -1)) {
    case LUA_TNUMBER:
      if (lua_isinteger(L, -1)) pk_put_int(&w->w, lua_tointeger(L, -1));
      else pk_put_float(&w->w, lua_tonumber(L, -1));
      break;
    case LUA_TBOOLEAN: pk_put_bool(&w->w, lua_toboolean(L, -1)); break;
    case LUA_TSTRING:
      s = lua_tolstring(L, -1, &n);
      pk_put_str(&w->w, s, n);
      break;
    case LUA_TTABLE: return false;
    case LUA_TNIL: pk_put_none(&w->w); break;
    default:
      if (vm_isnone(L, -1)) pk_put_none(&w->w);
      else if (x) put_tensor(L, c, w, seen, x);
      else if ((dtype = vm_todtype(L, -1)) >= 0)
        pk_put_dtype(&w->w, fmt_type_named(mt_dtypes[dtype].name));
      else
        mt_fail(c, "torch.save: cannot save a %s (a module: save its state_dict())",
                luaL_typename(L, -1));
  }
  lua_pop(L, 1);
  return true;
}

/* Opens the table on the top: it and its keys (or nil) stay on the stack. */
static void open_level(lua_State *L, Ctx *c, writing *w, level *v) {
  int t = lua_gettop(L);
  luaL_checkstack(L, 12, "torch.save: nested too deeply");
  bool pairs = luaL_getmetafield(L, t, "__pairs") != LUA_TNIL;
  lua_settop(L, t);
  *v = (level){.slot = t, .n = (lua_Integer)lua_rawlen(L, t)};
  v->dict = pairs || (v->n == 0 && (lua_pushnil(L), lua_next(L, t)));
  lua_settop(L, t);
  if (lua_getmetatable(L, t) && !pairs)
    mt_fail(c, "torch.save: cannot save an object (a module: save its state_dict())");
  lua_settop(L, t);
  if (v->dict) v->n = vm_keys(L, t);
  else lua_pushnil(L);
  if (v->dict) pk_begin_dict(&w->w, pairs);
  else pk_begin_list(&w->w);
  if (v->dict) return;
  lua_Integer count = 0;
  for (lua_pushnil(L); lua_next(L, t); lua_pop(L, 1)) count++;
  if (count != v->n) mt_fail(c, "torch.save: a table has both a list and named parts, or holes");
}

/* The memo that a pickle would need for a table that contains itself is not written: depth ends
 * such a loop. */
static void encode(lua_State *L, Ctx *c, writing *w, int value, int seen) {
  level *stack = lua_newuserdatauv(L, MAX_DEPTH * sizeof *stack, 0);
  int depth = 0;
  lua_pushvalue(L, value);
  if (put_scalar(L, c, w, seen)) return;
  open_level(L, c, w, &stack[depth++]);
  while (depth && !c->err) {
    level *v = &stack[depth - 1];
    if (v->i == v->n) {
      if (v->dict) pk_end_dict(&w->w);
      else pk_end_list(&w->w);
      lua_settop(L, v->slot - 1);
      depth--;
      continue;
    }
    v->i++;
    if (v->dict) {
      lua_rawgeti(L, v->slot + 1, v->i);
      lua_pushvalue(L, -1);
      put_scalar(L, c, w, seen);
      lua_gettable(L, v->slot);
    } else {
      lua_rawgeti(L, v->slot, v->i);
    }
    if (put_scalar(L, c, w, seen)) continue;
    if (depth == MAX_DEPTH)
      mt_fail(c, "torch.save: nested too deeply (does a table contain itself?)");
    else open_level(L, c, w, &stack[depth++]);
  }
}

void vm_save_checkpoint(lua_State *L, int value, const char *path) {
  sys_err e = {{0}, 0};
  writing *w = lua_newuserdatauv(L, sizeof *w, 0);
  *w = (writing){.n = 0};
  if (luaL_newmetatable(L, "pickle.writing"))
    lua_pushcfunction(L, writing_gc), lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_newtable(L);
  int seen = lua_gettop(L);
  Ctx *c = vm_ctx(L);
  Scope sc = mt_open(c);
  encode(L, c, w, value, seen);
  if (!c->err) pk_save(path, &w->w, w->stores, w->n, &e);
  vm_check_saved(L, c, sc, &e);
}
