/* ffi_call.c: calls into C and callbacks out of it, on libffi.
 *
 * Invariants.  A call's frame lives on the C stack while C runs; a callback runs on the Lua state
 * of the innermost frame of its thread.  When a callback's Lua code raises, the error waits in the
 * frame, C gets zeros, further callbacks of that frame return zeros at once, and the error is
 * raised after C has returned.  A callback from another thread, after it was freed, or outside of
 * any call is refused in the same way.  Memory of freed callbacks is reused only after many others,
 * so that a late call finds a refusal, not other code. */
#include "ffi_int.h"
#include <errno.h>
#include <ffi.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ARGS = 64, IDLE = 64 };
typedef union Slot {
  ffi_arg word;
  int64_t i;
  double d;
  float f;
  void *p;
  long double l;
  double c[2];
} Slot;
typedef struct Native { ffi_cif cif; ffi_type *args[]; } Native;       /* of a function type */

typedef struct Frame {
  struct Frame *up;
  lua_State *L;
  bool failed;                             /* the error is on L's stack */
  const char *refused;
} Frame;
static _Thread_local Frame *frame;
static _Thread_local int last_errno;
static _Atomic int foreign;      /* callbacks that came from a thread that is not Lua's */

typedef struct CBack {
  struct CBack *next;
  ffi_closure *closure;
  void *code;
  CType *type;                             /* the function's */
  Ffi *state;
  pthread_t thread;
  int function;                            /* reference; LUA_NOREF: freed */
} CBack;

/* ---- C types as libffi's ---- */
static ffi_type *native(lua_State *L, CType *t);

static ffi_type *native_int(const CType *t) {
  switch (t->size) {
    case 1: return t->is_unsigned ? &ffi_type_uint8 : &ffi_type_sint8;
    case 2: return t->is_unsigned ? &ffi_type_uint16 : &ffi_type_sint16;
    case 4: return t->is_unsigned ? &ffi_type_uint32 : &ffi_type_sint32;
    default: return t->is_unsigned ? &ffi_type_uint64 : &ffi_type_sint64;
  }
}

/* What the bytes of t hold, for passing unions: 1 float, 2 anything else, per byte. */
static void classify(const CType *t, size_t at, uint8_t *cls, size_t n) {
  if (t->kind == CT_STRUCT) {
    for (int i = 0; i < t->nfields; i++)
      classify(t->fields[i].type, at + t->fields[i].offset, cls, n);
  } else if (t->kind == CT_ARRAY) {
    for (int64_t i = 0; i < t->count && at < n; i++, at += t->to->size) classify(t->to, at, cls, n);
  } else
    for (size_t k = at; k < at + t->size && k < n; k++)
      if (cls[k] < 2) cls[k] = t->kind == CT_FLOAT || t->kind == CT_COMPLEX ? 1 : 2;
}

static bool has_union(const CType *t) {
  if (t->kind == CT_ARRAY) return has_union(t->to);
  if (t->kind != CT_STRUCT) return false;
  if (t->is_union) return true;
  for (int i = 0; i < t->nfields; i++) if (has_union(t->fields[i].type)) return true;
  return false;
}

static int count_parts(const CType *t) {
  if (t->kind == CT_ARRAY) return (int)t->count;
  return 1;
}

/* libffi knows no unions: each eight bytes become what their members would be passed as. */
static int union_parts(const CType *t, ffi_type **out) {
  uint8_t cls[16] = {0};
  int n = 0;
  if (t->size > 16) {                      /* in memory: any filling does */
    for (size_t at = 0; at < t->size; at += t->align)
      out[n++] = t->align == 8   ? &ffi_type_uint64
                 : t->align == 4 ? &ffi_type_uint32
                 : t->align == 2 ? &ffi_type_uint16
                                 : &ffi_type_uint8;
    return n;
  }
  classify(t, 0, cls, t->size);
  for (size_t at = 0; at < t->size;) {
    size_t left = t->size - at < 8 ? t->size - at : 8;
    bool all_float = true, lower = true;
    for (size_t k = at; k < at + left; k++)
      all_float &= cls[k] != 2, lower &= k >= at + 4 || cls[k] == 1;
    if (all_float && lower && left == 8 && t->align == 8) out[n++] = &ffi_type_double, at += 8;
    else if (all_float && left >= 4) out[n++] = &ffi_type_float, at += 4;
    else if (left == 8 && t->align == 8) out[n++] = &ffi_type_uint64, at += 8;
    else if (left >= 4 && t->align >= 4) out[n++] = &ffi_type_uint32, at += 4;
    else if (left >= 2 && t->align >= 2) out[n++] = &ffi_type_uint16, at += 2;
    else out[n++] = &ffi_type_uint8, at += 1;
  }
  return n;
}

static ffi_type *native_struct(lua_State *L, CType *t) {
  char buf[120];
  bool is_union = has_union(t);
  int64_t total =
      is_union ? (int64_t)(t->size / (t->align < 8 && t->size > 16 ? t->align : 1)) + 1 : 0;
  if (!t->complete || t->flexible || t->packed || !t->size)
    luaL_error(L, "'%s' cannot be passed by value%s", ct_show(t, false, "", buf, sizeof buf),
               t->packed ? ": it is packed" : "");
  for (int i = 0; !is_union && i < t->nfields; i++) total += count_parts(t->fields[i].type);
  if (total > 65536)
    luaL_error(L, "'%s' is too big to be passed by value", ct_show(t, false, "", buf, sizeof buf));
  ffi_type *f = ct_alloc(ffi_state(L)->space, sizeof *f + sizeof(ffi_type *) * (size_t)(total + 1));
  if (!f) luaL_error(L, "not enough memory");
  f->type = FFI_TYPE_STRUCT;
  f->elements = (ffi_type **)(f + 1);
  int n = 0;
  if (is_union) n = union_parts(t, f->elements);
  else
    for (int i = 0; i < t->nfields; i++) {
      CType *m = t->fields[i].type;
      bool array = m->kind == CT_ARRAY;
      for (int64_t k = array ? m->count : 1; k > 0; k--)
        f->elements[n++] = native(L, array ? m->to : m);
    }
  f->elements[n] = NULL;
  f->size = t->size;
  f->alignment = (unsigned short)t->align;
  return f;
}

static ffi_type *native(lua_State *L, CType *t) {
  char buf[120];
  switch (t->kind) {
    case CT_VOID: return &ffi_type_void;
    case CT_BOOL: return &ffi_type_uint8;
    case CT_INT: return native_int(t);
    case CT_FLOAT:
      return t->size == 4   ? &ffi_type_float
             : t->size == 8 ? &ffi_type_double
                            : &ffi_type_longdouble;
    case CT_PTR: return &ffi_type_pointer;
#ifdef FFI_TARGET_HAS_COMPLEX_TYPE
    case CT_COMPLEX: return t->size == 8 ? &ffi_type_complex_float : &ffi_type_complex_double;
#endif
    case CT_STRUCT:
      if (!t->native) t->native = native_struct(L, t);
      return t->native;
    case CT_ARRAY: /* inside a struct, of arrays: one by one through a struct of its own */
      if (!t->native) {
        CType wrap = {.kind = CT_STRUCT,
                      .complete = true,
                      .size = t->size,
                      .align = t->align,
                      .nfields = 1,
                      .name = "array"};
        CField field = {.name = "a", .type = t};
        wrap.fields = &field;
        t->native = native_struct(L, &wrap);
      }
      return t->native;
    default:
      luaL_error(L, "'%s' cannot be passed by value", ct_show(t, false, "", buf, sizeof buf));
      return NULL;
  }
}

void ffi_prepare(lua_State *L, CType *fn) {
  if (fn->native) return;
  if (fn->nfields > MAX_ARGS) luaL_error(L, "more than %d parameters", MAX_ARGS);
  ffi_type *result = native(L, fn->to);
  Native *n =
      ct_alloc(ffi_state(L)->space, sizeof *n + sizeof(ffi_type *) * (size_t)(fn->nfields + 1));
  if (!n) luaL_error(L, "not enough memory");
  for (int i = 0; i < fn->nfields; i++) n->args[i] = native(L, fn->fields[i].type);
  if (ffi_prep_cif(&n->cif, FFI_DEFAULT_ABI, (unsigned)fn->nfields, result, n->args) != FFI_OK)
    luaL_error(L, "libffi cannot call a function of this type");
  fn->native = n;
}

/* ---- arguments ---- */
static void wrong_count(lua_State *L, CType *fn, int got, const char *name) {
  char buf[200];
  luaL_error(L, "%s takes %s%d argument%s, got %d: %s", name, fn->variadic ? "at least " : "",
             fn->nfields, fn->nfields == 1 ? "" : "s", got,
             ct_show(fn, false, name, buf, sizeof buf));
}

/* Struct arguments are read where they lie, or made from a table (left on the stack). */
static void *struct_arg(lua_State *L, int i, CType *t, const Where *w) {
  CData *d = ffi_todata(L, i);
  if (d && ct_same(d->type, t)) return d->p;
  d = ffi_new_owned(L, t, t->size);
  ffi_store(L, i, t, d->p, lua_gettop(L), w);
  return d->p;
}

static void *fixed_arg(lua_State *L, int i, CType *t, Slot *s, const char *name, int number) {
  if (t->kind == CT_FLOAT && t->size == 8 && lua_type(L, i) == LUA_TNUMBER) {
    s->d = lua_tonumber(L, i);
    return s;
  }
  if (t->kind == CT_INT && lua_isinteger(L, i)) { /* the common case without the general path */
    lua_Integer v = lua_tointeger(L, i);
    if (t->size == 8) { s->i = v; return s; }
    if (t->size == 4 && v >= INT32_MIN && v <= INT32_MAX) {
      int32_t half = (int32_t)v;
      memcpy(s, &half, 4);
      return s;
    }
  }
  Where w = {.what = name, .arg = number};
  luaL_checkstack(L, 6, "too many arguments");
  if (t->kind == CT_STRUCT) return struct_arg(L, i, t, &w);
  if (t->kind == CT_PTR && t->to->kind == CT_FUNC && lua_type(L, i) == LUA_TFUNCTION) {
    s->p = ffi_push_callback(L, t, i)->p;  /* stays on the stack, is freed after the call */
    return s;
  }
  ffi_store(L, i, t, s, 0, &w);
  return s;
}

/* What stands for `...`: C's promotions of what Lua has. */
static ffi_type *variadic_arg(lua_State *L, int i, Slot *s, void **at, const char *name,
                              int number) {
  CData *d = ffi_todata(L, i);
  Tensor *x = vm_totensor(L, i);
  *at = s;
  switch (lua_type(L, i)) {
    case LUA_TNUMBER:
      if (lua_isinteger(L, i)) { s->i = lua_tointeger(L, i); return &ffi_type_sint64; }
      s->d = lua_tonumber(L, i);
      return &ffi_type_double;
    case LUA_TBOOLEAN: s->i = lua_toboolean(L, i); return &ffi_type_sint64;
    case LUA_TNIL: s->p = NULL; return &ffi_type_pointer;
    case LUA_TSTRING: s->p = (void *)(uintptr_t)lua_tostring(L, i); return &ffi_type_pointer;
    default: break;
  }
  if (d && d->type->kind == CT_STRUCT) { *at = d->p; return native(L, d->type); }
  if (!d && !x)
    luaL_error(L, "%s: argument %d: a %s cannot be passed to '...'", name, number,
               luaL_typename(L, i));
  CType *void_ptr = ffi_pointer_to(L, ct_basic(ffi_state(L)->space, "void"), false);
  Where w = {.what = name, .arg = number};
  if (d) s->p = d->p;
  else ffi_store(L, i, void_ptr, s, 0, &w);
  return &ffi_type_pointer;
}

/* ---- the call ---- */
static void push_result(lua_State *L, CType *t, Slot *s) {
  if (t->kind == CT_INT || t->kind == CT_BOOL) {       /* libffi widens small results to a word */
    int64_t v = (int64_t)s->word;
    if (t->kind == CT_BOOL) { lua_pushboolean(L, (v & 255) != 0); return; }
    if (t->size < 8) {
      int shift = 64 - 8 * (int)t->size;
      v = t->is_unsigned ? (int64_t)((uint64_t)v << shift >> shift)
                         : (int64_t)((uint64_t)v << shift) >> shift;
    }
    lua_pushinteger(L, v);
    return;
  }
  ffi_push(L, t, s, false, 0, NULL);
}

static void free_temporary(lua_State *L, int from, int to) {
  for (int i = from; i <= to; i++) {
    CData *d = ffi_todata(L, i);
    if (!d || d->type->kind != CT_PTR || d->type->to->kind != CT_FUNC) continue;
    lua_pushcfunction(L, ffi_free_callback);
    lua_pushvalue(L, i);
    lua_call(L, 1, 0);
  }
}

static int finish_failed(lua_State *L, Frame *f, const char *name) {
  if (f->failed) return lua_error(L);
  return luaL_error(L, "%s: %s", name, f->refused);
}

int ffi_invoke(lua_State *L, CType *fn, void *address, int first, const char *name) {
  int given = lua_gettop(L) - first + 1, fixed = fn->nfields;
  Slot slot[MAX_ARGS], result;
  void *arg[MAX_ARGS], *to = &result;
  ffi_type *types[MAX_ARGS];
  ffi_cif var, *cif;
  if (given < fixed || (given > fixed && !fn->variadic)) wrong_count(L, fn, given, name);
  if (given > MAX_ARGS) luaL_error(L, "%s: more than %d arguments", name, MAX_ARGS);
  ffi_prepare(L, fn);
  Native *n = fn->native;
  cif = &n->cif;
  for (int i = 0; i < fixed; i++)
    arg[i] = fixed_arg(L, first + i, fn->fields[i].type, &slot[i], name, i + 1);
  if (fn->variadic) {
    for (int i = 0; i < fixed; i++) types[i] = n->args[i];
    for (int i = fixed; i < given; i++)
      types[i] = variadic_arg(L, first + i, &slot[i], &arg[i], name, i + 1);
    if (ffi_prep_cif_var(&var, FFI_DEFAULT_ABI, (unsigned)fixed, (unsigned)given, cif->rtype,
                         types) != FFI_OK)
      luaL_error(L, "%s: libffi cannot pass these arguments", name);
    cif = &var;
  }
  int temporary = lua_gettop(L);
  if (fn->to->kind == CT_STRUCT) to = ffi_new_owned(L, fn->to, fn->to->size)->p;
  int top = lua_gettop(L), seen = foreign;
  Frame f = {.up = frame, .L = L};
  frame = &f;
  errno = last_errno;
  ffi_call(cif, FFI_FN(address), to, arg);
  last_errno = errno;
  frame = f.up;
  if (foreign != seen)
    f.refused = "a callback came from a thread that is not Lua's and was refused";
  if (f.failed || f.refused) return finish_failed(L, &f, name);
  if (temporary > first + given - 1) free_temporary(L, first + given, temporary);
  if (fn->to->kind == CT_VOID) return 0;
  if (fn->to->kind == CT_STRUCT) lua_settop(L, top);
  else push_result(L, fn->to, &result);
  return 1;
}

int ffi_errno(lua_State *L) {
  lua_pushinteger(L, last_errno);
  if (!lua_isnoneornil(L, 1)) last_errno = (int)luaL_checkinteger(L, 1);
  return 1;
}

/* ---- callbacks ---- */
typedef struct Incoming { CBack *cb; void *result; void **args; } Incoming;

/* Protected: arguments in, call, result out. */
static int run_callback(lua_State *L) {
  Incoming *in = lua_touserdata(L, 1);
  CType *fn = in->cb->type;
  luaL_checkstack(L, fn->nfields + 8, "callback");
  lua_rawgeti(L, LUA_REGISTRYINDEX, in->cb->function);
  for (int i = 0; i < fn->nfields; i++)
    ffi_push(L, fn->fields[i].type, in->args[i], false, 0, NULL);
  lua_call(L, fn->nfields, 1);
  CType *t = fn->to;
  if (t->kind == CT_VOID) return 0;
  Where w = {.what = "callback's result"};
  Slot s = {.c = {0, 0}};
  if (t->kind == CT_PTR && lua_type(L, -1) == LUA_TSTRING)
    return luaL_error(L, "a callback cannot return a Lua string: C would read it after it is gone; "
                         "return memory of ffi.new that you keep");
  if (t->kind == CT_STRUCT) { ffi_store(L, -1, t, in->result, 0, &w); return 0; }
  ffi_store(L, -1, t, &s, 0, &w);
  if (t->kind == CT_INT || t->kind == CT_BOOL) {
    ffi_arg word = 0;
    int shift = 64 - 8 * (int)t->size;
    uint64_t v = (uint64_t)s.i << shift;
    word = t->is_unsigned ? (ffi_arg)(v >> shift) : (ffi_arg)((int64_t)v >> shift);
    memcpy(in->result, &word, sizeof word);
  } else memcpy(in->result, &s, t->size);
  return 0;
}

static void on_call(ffi_cif *cif, void *result, void **args, void *ud) {
  CBack *cb = ud;
  size_t n = cif->rtype->type == FFI_TYPE_VOID ? 0
             : cif->rtype->size < sizeof(ffi_arg) && cif->rtype->type != FFI_TYPE_STRUCT
                 ? sizeof(ffi_arg)
                 : cif->rtype->size;
  memset(result, 0, n);
  if (!pthread_equal(pthread_self(), cb->thread)) { foreign++; return; }
  if (!frame || frame->failed || frame->refused) return;
  lua_State *L = frame->L;
  if (cb->function == LUA_NOREF) {
    frame->refused =
        "C called a callback that was freed; keep it with ffi.callback as long as C may call it";
    return;
  }
  if (!lua_checkstack(L, 8)) { frame->refused = "a callback found no room on Lua's stack"; return; }
  Incoming in = {cb, result, args};
  Frame *mine = frame;
  lua_pushcfunction(L, run_callback);
  lua_pushlightuserdata(L, &in);
  mine->failed = lua_pcall(L, 1, 0, 0) != LUA_OK;
  frame = mine;
}

/* A box owns the callback; when it goes, or by :free(), the callback is retired. */
static void retire(lua_State *L, CBack *cb) {
  if (cb->function == LUA_NOREF) return;
  luaL_unref(L, LUA_REGISTRYINDEX, cb->function);
  cb->function = LUA_NOREF;
  Ffi *f = cb->state;
  cb->next = NULL;
  if (f->idle_last) f->idle_last->next = cb; else f->idle_first = cb;
  f->idle_last = cb;
  f->idle++;
}
static int box_gc(lua_State *L) {
  CBack **box = lua_touserdata(L, 1);
  if (*box) retire(L, *box);
  *box = NULL;
  return 0;
}
int ffi_free_callback(lua_State *L) {
  CData *d = ffi_check(L, 1);
  if (d->type->kind != CT_PTR || lua_getiuservalue(L, 1, CD_OWNER) != LUA_TUSERDATA)
    return luaL_error(L, "this is no callback");
  CBack **box = luaL_testudata(L, -1, "ffi.callback");
  if (!box) return luaL_error(L, "this is no callback");
  if (*box) retire(L, *box);
  *box = NULL;
  return 0;
}

static CBack *idle_callback(Ffi *f) {
  CBack *cb = f->idle > IDLE ? f->idle_first : NULL;
  if (cb) {
    f->idle_first = cb->next;
    if (!f->idle_first) f->idle_last = NULL;
    f->idle--;
    return cb;
  }
  cb = mt_calloc(sizeof *cb);
  if (!cb) return NULL;
  cb->function = LUA_NOREF;
  cb->state = f;
  cb->closure = ffi_closure_alloc(sizeof *cb->closure, &cb->code);
  if (cb->closure) return cb;
  mt_free(cb);
  return NULL;
}

CData *ffi_push_callback(lua_State *L, CType *fn_ptr, int function) {
  CType *fn = fn_ptr->to;
  function = lua_absindex(L, function);
  if (fn->variadic) luaL_error(L, "a callback cannot take '...'");
  ffi_prepare(L, fn);
  luaL_checkstack(L, 6, NULL);
  CBack **box = lua_newuserdatauv(L, sizeof *box, 0);
  *box = NULL;
  if (luaL_newmetatable(L, "ffi.callback")) {
    lua_pushcfunction(L, box_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  CBack *cb = idle_callback(ffi_state(L));
  if (!cb) luaL_error(L, "not enough memory for a callback");
  lua_pushvalue(L, function);
  cb->function = luaL_ref(L, LUA_REGISTRYINDEX);
  cb->type = fn;
  cb->thread = pthread_self();
  *box = cb;
  if (ffi_prep_closure_loc(cb->closure, &((Native *)fn->native)->cif, on_call, cb, cb->code) !=
      FFI_OK)
    luaL_error(L, "libffi cannot make a callback of this type");
  CData *d = ffi_push_pointer(L, fn_ptr, cb->code);
  lua_insert(L, -2);
  lua_setiuservalue(L, -2, CD_OWNER);
  return d;
}

void ffi_release_callbacks(Ffi *f) {
  for (CBack *cb = f->idle_first, *next; cb; cb = next) {
    next = cb->next;
    ffi_closure_free(cb->closure);
    mt_free(cb);
  }
  f->idle_first = f->idle_last = NULL;
}
