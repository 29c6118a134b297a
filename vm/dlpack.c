/* dlpack.c: torch.utils.dlpack: tensors to and from other libraries of the same process, without a
 * copy.
 *
 *   local capsule = dlpack.to_dlpack(x)              -- DLManagedTensor; {versioned = true}:
 * DLManagedTensorVersioned capsule:pointer()                                -- its address, as a
 * light userdata; ffi takes the capsule itself local y = dlpack.from_dlpack(capsule)            --
 * or an address, {versioned = true} where it is the versioned one
 *
 * Invariant: a capsule owns its managed tensor until somebody consumes it (from_dlpack, or
 * capsule:release() for a consumer outside); whoever owns it last calls its deleter exactly once.
 * The structs are DLPack's, version 1. */
#include "vm.h"
#include <string.h>

typedef struct { int32_t type, id; } DLDevice;
typedef struct { uint8_t code, bits; uint16_t lanes; } DLDataType;
typedef struct {
  void *data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t *shape, *strides;
  uint64_t byte_offset;
} DLTensor;
typedef struct DLManaged {
  DLTensor t;
  void *manager;
  void (*deleter)(struct DLManaged *self);
} DLManaged;
typedef struct DLVersioned {
  struct { uint32_t major, minor; } version;
  void *manager;
  void (*deleter)(struct DLVersioned *self);
  uint64_t flags;
  DLTensor t;
} DLVersioned;
enum {
  DL_CPU = 1,
  DL_INT = 0,
  DL_UINT = 1,
  DL_FLOAT = 2,
  DL_BFLOAT = 4,
  DL_COMPLEX = 5,
  DL_BOOL = 6,
  DL_READ_ONLY = 1
};

/* ---- export ---- */
typedef struct Exported {
  DLManaged plain;
  DLVersioned versioned;
  Tensor *x;
  int64_t dims[];
} Exported;
static void drop_exported(Exported *e) { mt_release(e->x); mt_free(e); }
static void drop_plain(DLManaged *m) { drop_exported(m->manager); }
static void drop_versioned(DLVersioned *m) { drop_exported(m->manager); }

static DLDataType code_of(int d) {
  int bits = 8 * (int)mt_dsize(d);
  int code = d == MT_bool       ? DL_BOOL
             : d == MT_uint8    ? DL_UINT
             : d == MT_bfloat16 ? DL_BFLOAT
             : mt_is_complex(d) ? DL_COMPLEX
             : mt_is_float(d)   ? DL_FLOAT
                                : DL_INT;
  return (DLDataType){(uint8_t)code, (uint8_t)bits, 1};
}
static int dtype_of(DLDataType t) {
  for (int d = 0; d < MT_NDTYPES; d++) {
    DLDataType c = code_of(d);
    if (t.lanes == 1 && t.code == c.code && t.bits == c.bits) return d;
  }
  return -1;
}

static Exported *export_tensor(Ctx *c, Tensor *x) {
  Exported *e = mt_calloc(sizeof *e + 2 * sizeof(int64_t) * (size_t)(x->ndim + 1));
  if (!e) return mt_nomem(c);
  DLTensor t = {.data = mt_data(x),
                .device = {DL_CPU, 0},
                .ndim = x->ndim,
                .dtype = code_of(x->dtype),
                .shape = e->dims,
                .strides = e->dims + x->ndim};
  memcpy(t.shape, x->size, sizeof(int64_t) * x->ndim);
  memcpy(t.strides, x->stride, sizeof(int64_t) * x->ndim);
  e->x = mt_retain(x);
  e->plain = (DLManaged){t, e, drop_plain};
  e->versioned = (DLVersioned){{1, 0}, e, drop_versioned, 0, t};
  return e;
}

/* ---- capsules ---- */
typedef struct Capsule { void *managed; bool versioned; } Capsule;
static const char capsule_name[] = "torch.dlpack.capsule";

static void drop(void *managed, bool versioned) {
  DLManaged *m = managed;
  DLVersioned *v = managed;
  if (versioned ? v->deleter != NULL : m->deleter != NULL) {
    if (versioned) v->deleter(v);
    else m->deleter(m);
  }
}
static int capsule_gc(lua_State *L) {
  Capsule *k = luaL_checkudata(L, 1, capsule_name);
  void *m = k->managed;
  k->managed = NULL;
  if (m) drop(m, k->versioned);
  return 0;
}
static Capsule *live(lua_State *L) {
  Capsule *k = luaL_checkudata(L, 1, capsule_name);
  if (!k->managed)
    luaL_error(L, "this DLPack capsule was consumed already: a capsule can be used once");
  return k;
}
static int capsule_pointer(lua_State *L) { lua_pushlightuserdata(L, live(L)->managed); return 1; }
/* The consumer outside owns it from now on: its address. */
static int capsule_release(lua_State *L) {
  Capsule *k = live(L);
  lua_pushlightuserdata(L, k->managed);
  k->managed = NULL;
  return 1;
}
static int capsule_tostring(lua_State *L) {
  Capsule *k = luaL_checkudata(L, 1, capsule_name);
  lua_pushfstring(L, "<capsule \"%s%s\">", k->managed ? "dltensor" : "used_dltensor",
                  k->versioned ? "_versioned" : "");
  return 1;
}
static Capsule *push_capsule(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"pointer", capsule_pointer}, {"release", capsule_release}, {NULL, NULL}};
  Capsule *k = lua_newuserdatauv(L, sizeof *k, 0);
  memset(k, 0, sizeof *k);
  if (luaL_newmetatable(L, capsule_name)) {
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, capsule_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, capsule_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushcfunction(L, capsule_pointer);
    lua_setfield(L, -2, "__pointer");
  }
  lua_setmetatable(L, -2);
  return k;
}
static bool wants_versioned(lua_State *L, int i) {
  if (!lua_istable(L, i)) return false;
  lua_getfield(L, i, "versioned");
  bool on = lua_toboolean(L, -1);
  lua_getfield(L, i, "max_version");
  if (lua_istable(L, -1)) { lua_rawgeti(L, -1, 1); on = lua_tointeger(L, -1) >= 1; lua_pop(L, 1); }
  lua_pop(L, 2);
  return on;
}

static int l_to_dlpack(lua_State *L) {
  Tensor *x = vm_checktensor(L, 1);
  bool versioned = wants_versioned(L, 2);
  Capsule *k = push_capsule(L);
  Ctx *c = vm_ctx(L);
  Scope s = mt_open(c);
  if (x->flags & MT_REQ_GRAD)
    mt_fail(c, "to_dlpack: a tensor that requires gradients cannot be exported; use x:detach()");
  else if (x->flags & (MT_CONJ | MT_NEG))
    mt_fail(c,
            "to_dlpack: a lazy conjugate cannot be exported; use x:resolve_conj():resolve_neg()");
  else if (mt_meta(x)) mt_fail(c, "to_dlpack: a meta tensor has no data");
  Exported *e = c->err ? NULL : export_tensor(c, x);
  if (e) {
    k->versioned = versioned;
    k->managed = versioned ? (void *)&e->versioned : (void *)&e->plain;
  }
  return vm_leave(L, c, s, 1);
}

/* ---- import ---- */
typedef struct Imported { void *managed; bool versioned; } Imported;
static void drop_imported(void *ud) {
  Imported *o = ud;
  drop(o->managed, o->versioned);
  mt_free(o);
}

/* Checks all of the foreign struct before anything is owned. */
static bool acceptable(Ctx *c, const DLTensor *t) {
  int d = dtype_of(t->dtype);
  if (t->device.type != DL_CPU)
    return mt_fail(c, "from_dlpack: the data are on device %d, not on the CPU", t->device.type),
           false;
  if (t->ndim < 0 || t->ndim > MT_MAXDIM)
    return mt_fail(c, "from_dlpack: %d dimensions", t->ndim), false;
  if (d < 0)
    return mt_fail(c, "from_dlpack: dtype code %d of %d bits and %d lanes is not one of Moth's",
                   t->dtype.code, t->dtype.bits, t->dtype.lanes),
           false;
  if (t->ndim && !t->shape) return mt_fail(c, "from_dlpack: the shape is missing"), false;
  for (int i = 0; i < t->ndim; i++) {
    if (t->shape[i] < 0) return mt_fail(c, "from_dlpack: a negative size"), false;
    if (t->strides && t->strides[i] < 0 && t->shape[i] > 1)
      return mt_fail(c, "from_dlpack: negative strides are not supported; copy the array first"),
             false;
  }
  if (((uintptr_t)t->data + t->byte_offset) % mt_dsize(mt_real_dtype((DType)d)))
    return mt_fail(c, "from_dlpack: the data are not aligned for %s", mt_dtypes[d].name), false;
  return true;
}

static Tensor *import_tensor(Ctx *c, const DLTensor *t, void *managed, bool versioned) {
  int64_t stride[MT_MAXDIM], acc = 1, last = 0, numel;
  int d = dtype_of(t->dtype);
  if (!mt_numel(c, mt_il(t->shape, t->ndim), &numel)) return NULL;
  for (int i = t->ndim - 1; i >= 0; i--) {
    stride[i] = t->strides ? t->strides[i] : acc;
    acc *= t->shape[i] > 1 ? t->shape[i] : 1;
    if (t->shape[i] > 1 && __builtin_mul_overflow(stride[i], t->shape[i] - 1, &acc))
      return mt_fail(c, "from_dlpack: strides too big");
    if (t->shape[i] > 1) last += stride[i] * (t->shape[i] - 1);
    acc = 1;
    for (int k = i; k < t->ndim; k++) acc *= t->shape[k] > 1 ? t->shape[k] : 1;
  }
  Imported *o = mt_malloc(sizeof *o);
  if (!o) return mt_nomem(c);
  *o = (Imported){NULL, versioned};
  Storage *st = mt_storage_foreign(c, (char *)t->data + t->byte_offset,
                                   numel ? (last + 1) * (int64_t)mt_dsize(d) : 0, drop_imported, o);
  if (!st) { mt_free(o); return NULL; }
  Tensor *x = mt_from_storage(c, st, mt_il(t->shape, t->ndim), mt_il(stride, t->ndim), 0, (DType)d);
  if (x) o->managed = managed;
  else st->free_fn = mt_free;
  mt_storage_release(st);
  return x;
}

static int l_from_dlpack(lua_State *L) {
  Capsule *k = luaL_testudata(L, 1, capsule_name);
  bool versioned = k ? k->versioned : wants_versioned(L, 2);
  void *m = NULL;
  if (k) m = live(L)->managed;
  else if (lua_islightuserdata(L, 1) && !vm_isnone(L, 1)) m = lua_touserdata(L, 1);
  else if (lua_isinteger(L, 1)) m = (void *)(uintptr_t)lua_tointeger(L, 1);
  else if (vm_totensor(L, 1)) {            /* as in PyTorch, a tensor gives an alias */
    Ctx *tc = vm_ctx(L);
    Scope ts = mt_open(tc);
    vm_pushtensor(L, mt_alias(tc, vm_totensor(L, 1)));
    return vm_leave(L, tc, ts, 1);
  }
  if (!m)
    return luaL_error(
        L,
        "from_dlpack: expected a capsule of to_dlpack or the address of a DLManagedTensor, got %s",
        luaL_typename(L, 1));
  Ctx *c = vm_ctx(L);
  Scope s = mt_open(c);
  DLVersioned *v = m;
  if (versioned && v->version.major != 1)
    mt_fail(c, "from_dlpack: DLPack version %u.%u, Moth knows version 1", v->version.major,
            v->version.minor);
  else if (versioned && v->flags & DL_READ_ONLY)
    mt_fail(c, "from_dlpack: the data are read-only; copy them first");
  const DLTensor *t = versioned ? &v->t : &((DLManaged *)m)->t;
  Tensor *x = !c->err && acceptable(c, t) ? import_tensor(c, t, m, versioned) : NULL;
  if (x && k) k->managed = NULL;
  vm_pushtensor(L, x);
  return vm_leave(L, c, s, 1);
}

void vm_open_dlpack(lua_State *L);
void vm_open_dlpack(lua_State *L) {
  static const luaL_Reg fns[] = {
      {"to_dlpack", l_to_dlpack}, {"from_dlpack", l_from_dlpack}, {NULL, NULL}};
  luaL_newlib(L, fns);
}
