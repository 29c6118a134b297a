/* formats.c: tensors over files, and lists of tensors for writers. */
#include "formats.h"
#include "gguf/gguf.h"
#include "ordered.h"
#include <string.h>

/* ---- what a reader gave ---- */
static void held_release(void *p) {
  Held *h = p;
  if (!h || __atomic_sub_fetch(&h->refs, 1, __ATOMIC_ACQ_REL)) return;
  fmt_free(&h->list);
  mt_free(h);
}

static void drop_shared(Held *h) {
  for (int64_t i = 0; i < h->nshared; i++) mt_storage_release(h->shared[i]);
  mt_free(h->shared);
  h->shared = NULL, h->nshared = 0;
}

static int held_gc(lua_State *L) {
  Held **p = lua_touserdata(L, 1);
  if (*p) drop_shared(*p);
  held_release(*p);
  *p = NULL;
  return 0;
}

Held *vm_held_push(lua_State *L) {
  Held **p = lua_newuserdatauv(L, sizeof *p, 0);
  *p = NULL;
  if (luaL_newmetatable(L, "moth.held")) lua_pushcfunction(L, held_gc), lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  if (!(*p = mt_calloc(sizeof **p))) luaL_error(L, "not enough memory");
  (*p)->refs = 1;
  return *p;
}

const char *vm_check_path(lua_State *L, int i) {
  size_t n;
  const char *s = luaL_checklstring(L, i, &n);
  luaL_argcheck(L, strlen(s) == n, i, "a path cannot contain a zero byte");
  return s;
}

/* ---- element types ---- */
static const int8_t moth_type[FMT_NTYPES] = {
    [FMT_BOOL] = MT_bool,   [FMT_U8] = MT_uint8,      [FMT_I8] = MT_int8,
    [FMT_I16] = MT_int16,   [FMT_I32] = MT_int32,     [FMT_I64] = MT_int64,
    [FMT_F16] = MT_float16, [FMT_BF16] = MT_bfloat16, [FMT_F32] = MT_float32,
    [FMT_F64] = MT_float64, [FMT_C64] = MT_complex64, [FMT_C128] = MT_complex128,
    [FMT_U16] = MT_int32,   [FMT_U32] = MT_int64,     [FMT_U64] = MT_int64,
    [FMT_F8A] = MT_float32, [FMT_F8B] = MT_float32,   [FMT_F8C] = MT_float32,
    [FMT_F8D] = MT_float32, [FMT_F8E] = MT_float32,   [FMT_C32] = MT_complex64,
    [FMT_F4] = -1,          [FMT_F6A] = -1,           [FMT_F6B] = -1};

static bool is_native(int d) {
  return moth_type[d] >= 0 && !strcmp(fmt_types[d].name, mt_dtypes[moth_type[d]].name);
}

static int file_type(int dtype) { return fmt_type_named(mt_dtypes[dtype].name); }

/* An IEEE-like number of `bits` bits, `mbits` of them mantissa; the caller has taken out what is
 * not finite. */
static float bits_float(unsigned v, int bits, int mbits, int bias) {
  int e = (int)(v & ((1u << (bits - 1)) - 1)) >> mbits, m = (int)(v & ((1u << mbits) - 1));
  float x = e ? __builtin_ldexpf((float)(m | 1 << mbits), e - bias - mbits)
              : __builtin_ldexpf((float)m, 1 - bias - mbits);
  return v >> (bits - 1) ? -x : x;
}

/* The 8-bit floats: e5m2 has infinities; e4m3fn only NaN, the fnuz kinds one NaN in place of -0;
 * e8m0 is a power of two. */
static float small_float(int dtype, uint8_t v) {
  const float nan = __builtin_nanf(""), inf = __builtin_inff();
  switch (dtype) {
    case FMT_F8C: return v == 255 ? nan : __builtin_ldexpf(1, v - 127);
    case FMT_F8D: return v == 128 ? nan : bits_float(v, 8, 3, 8);
    case FMT_F8E: return v == 128 ? nan : bits_float(v, 8, 2, 16);
    case FMT_F8B: return (v & 127) == 127 ? nan : bits_float(v, 8, 3, 7);
    default: break;
  }
  if ((v & 124) != 124) return bits_float(v, 8, 2, 15);
  return v & 3 ? nan : v & 128 ? -inf : inf;
}

static float half_float(uint16_t v) {
  if ((v & 0x7C00) != 0x7C00) return bits_float(v, 16, 10, 15);
  return v & 0x3FF ? __builtin_nanf("") : v & 0x8000 ? -__builtin_inff() : __builtin_inff();
}

/* Elements [0, n) into their Moth type. */
static bool widen(Ctx *c, const fmt_tensor *t, char *dst, const uint8_t *src, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    switch (t->dtype) {
      case FMT_U16: ((int32_t *)dst)[i] = fmt_u16(src + 2 * i); break;
      case FMT_U32: ((int64_t *)dst)[i] = fmt_u32(src + 4 * i); break;
      case FMT_U64:
        if (fmt_u64(src + 8 * i) > INT64_MAX)
          return mt_fail(c, "tensor '%s': an uint64 element does not fit int64", t->name), false;
        ((int64_t *)dst)[i] = (int64_t)fmt_u64(src + 8 * i);
        break;
      case FMT_C32:
        ((float *)dst)[2 * i] = half_float(fmt_u16(src + 4 * i));
        ((float *)dst)[2 * i + 1] = half_float(fmt_u16(src + 4 * i + 2));
        break;
      default: ((float *)dst)[i] = small_float(t->dtype, src[i]);
    }
  }
  return true;
}

/* A one-dimensional copy of all that the entry's strides reach, in Moth's type and byte order. */
static Tensor *convert(Ctx *c, const fmt_tensor *t) {
  int64_t n = (int64_t)(t->nbytes / ((uint64_t)fmt_types[t->dtype].bits / 8));
  if (t->quant >= 0) fmt_numel(t->shape, t->ndim, &n);
  Tensor *x = mt_new(c, mt_il(&n, 1), (DType)moth_type[t->dtype], MT_CPU);
  if (!x) return NULL;
  if (t->quant >= 0) {
    gg_dequantize(t->quant, mt_data(x), t->data, (uint64_t)n);
  } else if (is_native(t->dtype)) {
    if (t->swapped) fmt_swap(t->dtype, mt_data(x), t->data, (uint64_t)n);
    else if (n) memcpy(mt_data(x), t->data, t->nbytes);
  } else if (t->swapped) {
    Tensor *plain = mt_new(c, mt_il((int64_t[]){(int64_t)t->nbytes}, 1), MT_uint8, MT_CPU);
    if (!plain) return NULL;
    fmt_swap(t->dtype, mt_data(plain), t->data, (uint64_t)n);
    if (!widen(c, t, mt_data(x), mt_data(plain), n)) return NULL;
  } else if (!widen(c, t, mt_data(x), t->data, n)) {
    return NULL;
  }
  return x;
}

/* ---- storages over the file ---- */
static Storage *foreign(Ctx *c, Held *h, const uint8_t *p, uint64_t n) {
  Storage *s = mt_storage_foreign(c, (char *)(uintptr_t)p, (int64_t)n, held_release, h);
  if (s) __atomic_add_fetch(&h->refs, 1, __ATOMIC_RELAXED);
  return s;
}

/* The storage that several entries share, made by the first; counted for the caller. */
static Storage *shared(Ctx *c, Held *h, const fmt_tensor *t) {
  if (t->storage >= h->nshared) {
    int64_t n = 2 * t->storage + 16;
    Storage **v = mt_realloc(h->shared, (size_t)n * sizeof *v);
    if (!v) return mt_nomem(c);
    memset(v + h->nshared, 0, (size_t)(n - h->nshared) * sizeof *v);
    h->shared = v, h->nshared = n;
  }
  Storage **s = &h->shared[t->storage];
  if (!*s && !(*s = foreign(c, h, t->storage_data, t->storage_bytes))) return NULL;
  (*s)->ref++;
  return *s;
}

static Tensor *place(Ctx *c, Held *h, const fmt_tensor *t, IntList size, IntList stride) {
  uint64_t item = (uint64_t)fmt_types[t->dtype].bits / 8;
  uintptr_t align = item > 8 ? 8 : item;
  const uint8_t *base = t->storage >= 0 ? t->storage_data : t->data;
  bool direct = is_native(t->dtype) && !t->swapped && t->quant < 0 &&
                (uintptr_t)base % align == 0 && (uint64_t)(t->data - base) % item == 0;
  if (!direct) {
    Tensor *flat = convert(c, t);
    return flat ? mt_from_storage(c, flat->st, size, stride, 0, (DType)flat->dtype) : NULL;
  }
  Storage *s = t->storage >= 0 ? shared(c, h, t) : foreign(c, h, t->data, t->nbytes);
  if (!s) return NULL;
  Tensor *x = mt_from_storage(c, s, size, stride, (int64_t)((uint64_t)(t->data - base) / item),
                              (DType)moth_type[t->dtype]);
  mt_storage_release(s);
  return x;
}

Tensor *vm_held_tensor(Ctx *c, Held *h, const fmt_tensor *t) {
  int64_t stride[FMT_MAX_DIMS], step = 1;
  if (c->err) return NULL;
  if (moth_type[t->dtype] < 0)
    return mt_fail(c, "tensor '%s': elements of type %s are not supported", t->name,
                   fmt_types[t->dtype].name);
  for (int i = t->ndim; i-- > 0; step *= t->shape[i] > 1 ? t->shape[i] : 1)
    stride[i] = t->strides ? t->strides[i] : step;
  Tensor *x = place(c, h, t, mt_il(t->shape, t->ndim), mt_il(stride, t->ndim));
  if (x && t->conj) x = t_conj_physical(c, x);
  if (x && t->neg) x = t_neg(c, x);
  if (x && t->requires_grad && !mt_is_int(x->dtype)) x->flags |= MT_REQ_GRAD;
  return x;
}

void vm_push_tensors(lua_State *L, Held *h) {
  Ctx *c = vm_ctx(L);
  lua_Integer n = 0;
  vm_ordered_open(L, h->list.n < 1 << 24 ? (int)h->list.n : 0);
  int slot = lua_gettop(L) - 1;
  for (size_t i = 0; i < h->list.n; i++) {
    Scope sc = mt_open(c);
    lua_pushstring(L, h->list.v[i].name);
    vm_pushtensor(L, vm_held_tensor(c, h, &h->list.v[i]));
    vm_leave(L, c, sc, 0);
    n = vm_ordered_put(L, slot, n);
  }
  vm_ordered_close(L, slot);
}

/* ---- writing ---- */
bool vm_describe(Ctx *c, Tensor *x, fmt_tensor *t, Held *h, const char *what) {
  if (mt_meta(x))
    return mt_fail(c, "save: tensor '%s' is on the meta device and has no data", what), false;
  bool mode = c->grad_mode;
  c->grad_mode = false;
  x = mt_contig(c, t_resolve_neg(c, t_resolve_conj(c, x)));
  c->grad_mode = mode;
  if (!x) return false;
  int64_t *shape = fmt_alloc(&h->list, (size_t)x->ndim * sizeof *shape);
  if (!shape) return mt_nomem(c), false;
  if (x->ndim) memcpy(shape, x->size, (size_t)x->ndim * sizeof *shape);
  t->dtype = file_type(x->dtype);
  t->ndim = x->ndim;
  t->shape = shape;
  t->data = mt_data(x);
  t->nbytes = (uint64_t)x->numel * mt_dsize(x->dtype);
  return true;
}

void vm_collect(lua_State *L, Ctx *c, int i, Held *h, const char *fn) {
  sys_err e = {{0}, 0};
  i = lua_absindex(L, i);
  lua_Integer n = vm_keys(L, i);
  int keys = lua_gettop(L);
  for (lua_Integer k = 1; k <= n && !c->err; k++) {
    size_t len;
    lua_settop(L, keys);
    if (lua_rawgeti(L, keys, k) == LUA_TNUMBER) {
      lua_pushfstring(L, "arr_%I", (LUAI_UACINT)(lua_tointeger(L, -1) - 1));
      lua_pushvalue(L, -2);
    } else {
      lua_pushvalue(L, -1);
      lua_pushvalue(L, -1);
    }
    lua_gettable(L, i);
    const char *name = lua_tolstring(L, -2, &len);
    Tensor *x = vm_totensor(L, -1);
    fmt_tensor *t = x ? fmt_add(&h->list, &e) : NULL;
    if (!x) mt_fail(c, "%s: '%s' is a %s, not a tensor", fn, name, luaL_typename(L, -1));
    else if (!t || !(t->name = fmt_copy(&h->list, name, len))) mt_nomem(c);
    else if (strlen(name) != len) mt_fail(c, "%s: a name contains a zero byte", fn);
    else vm_describe(c, x, t, h, t->name);
  }
  lua_settop(L, keys - 1);
}

void vm_check_saved(lua_State *L, Ctx *c, Scope s, const sys_err *e) {
  if (e->msg[0]) mt_fail_kind(c, mt_interrupted ? MT_INTERRUPTED : MT_ERROR, "%s", e->msg);
  vm_leave(L, c, s, 0);
}
