/* literal.c: tensors from nested Lua lists and back. */
#include "vm.h"
#include <string.h>

typedef struct { int ndim; int64_t size[MT_MAXDIM]; Kind kind; int dtype; bool seen; } Shape;

/* Measures the nested list at i; dims by the first elements, all others must agree. */
static bool measure(lua_State *L, Ctx *c, int i, int depth, Shape *s) {
  Scalar v;
  Tensor *t = vm_totensor(L, i);
  luaL_checkstack(L, 4, "nested too deeply");
  if (lua_type(L, i) == LUA_TTABLE) {
    bool pop = vm_issize(L, i);
    if (pop) { vm_size_values(L, i); i = lua_gettop(L); }
    lua_Integer n = (lua_Integer)lua_rawlen(L, i);
    if (depth >= MT_MAXDIM) {
      mt_fail(c, "tensor: nested more than %d deep", MT_MAXDIM);
      return false;
    }
    if (!pop) {
      lua_pushnil(L);
      lua_Integer count = 0;
      while (lua_next(L, i)) {
        lua_pop(L, 1);
        if (!lua_isinteger(L, -1)) {
          lua_pop(L, 1);
          mt_fail(c, "tensor: data must be a list; found the key '%s'",
                  lua_isstring(L, -1) ? "?" : luaL_typename(L, -1));
          return false;
        }
        count++;
      }
      if (count != n) {
        mt_fail(c, "tensor: a list must have the keys 1 to n without holes");
        return false;
      }
    }
    if (depth == s->ndim && !s->seen) s->size[s->ndim++] = n;
    else if (depth >= s->ndim || s->size[depth] != n) {
      mt_fail(c, "tensor: expected a list of length %lld at dim %d, got %lld",
              depth < s->ndim ? (long long)s->size[depth] : -1LL, depth, (long long)n);
      if (pop) lua_pop(L, 1);
      return false;
    }
    bool ok = true;
    for (lua_Integer k = 1; ok && k <= n; k++) {
      lua_rawgeti(L, i, k);
      ok = measure(L, c, lua_gettop(L), depth + 1, s);
      lua_pop(L, 1);
    }
    if (n == 0) s->seen = true;
    if (pop) lua_pop(L, 1);
    return ok;
  }
  if (t) {
    if (!s->seen) {
      for (int d = 0; d < t->ndim; d++) s->size[s->ndim++] = t->size[d];
      s->seen = true;
    } else if (s->ndim != depth + t->ndim ||
               memcmp(s->size + depth, t->size, sizeof(int64_t) * t->ndim)) {
      mt_fail(c, "tensor: the tensors in the list have different shapes");
      return false;
    }
    s->dtype = s->dtype < 0 ? t->dtype : (int)mt_promote((DType)s->dtype, (DType)t->dtype);
    return true;
  }
  if (!vm_toscalar(L, i, &v)) {
    mt_fail(c, "tensor: cannot make a tensor of a %s",
            lua_isnil(L, i) ? "nil" : luaL_typename(L, i));
    return false;
  }
  if (s->seen && depth != s->ndim) {
    mt_fail(c, "tensor: expected a list of length %lld at dim %d, got a number",
            (long long)s->size[depth], depth);
    return false;
  }
  s->seen = true;
  if (v.kind > s->kind) s->kind = v.kind;
  return true;
}

static bool fill(lua_State *L, Ctx *c, int i, Tensor *x, char **p) {
  size_t es = mt_dsize(x->dtype);
  Tensor *t = vm_totensor(L, i);
  if (lua_type(L, i) == LUA_TTABLE) {
    bool pop = vm_issize(L, i);
    if (pop) { vm_size_values(L, i); i = lua_gettop(L); }
    lua_Integer n = (lua_Integer)lua_rawlen(L, i);
    for (lua_Integer k = 1; k <= n; k++) {
      lua_rawgeti(L, i, k);
      bool ok = fill(L, c, lua_gettop(L), x, p);
      lua_pop(L, 1);
      if (!ok) return false;
    }
    if (pop) lua_pop(L, 1);
    return true;
  }
  if (t) {
    Tensor *d = mt_contig_as(c, t, (DType)x->dtype);
    if (!d) return false;
    memcpy(*p, mt_data(d), (size_t)d->numel * es);
    *p += (size_t)d->numel * es;
    return true;
  }
  Scalar s;
  vm_toscalar(L, i, &s);
  if (mt_is_int(x->dtype) && x->dtype != MT_bool && s.kind == K_INT) {
    static const int64_t lo[] = {0, 0, -128, -32768, INT32_MIN, INT64_MIN},
                         hi[] = {1, 255, 127, 32767, INT32_MAX, INT64_MAX};
    if (s.i < lo[x->dtype] || s.i > hi[x->dtype]) {
      mt_fail(c, "tensor: value %lld does not fit %s", (long long)s.i, mt_dtypes[x->dtype].name);
      return false;
    }
  }
  if (s.kind == K_COMPLEX && !mt_is_complex(x->dtype)) {
    mt_fail(c, "tensor: a complex value does not fit %s", mt_dtypes[x->dtype].name);
    return false;
  }
  mt_store(*p, (DType)x->dtype, s);
  *p += es;
  return true;
}

Tensor *vm_build_tensor(lua_State *L, Ctx *c, int i, int dtype) {
  Shape s = {.ndim = 0, .kind = K_NONE, .dtype = -1, .seen = false};
  i = lua_absindex(L, i);
  if (!measure(L, c, i, 0, &s)) return NULL;
  DType d;
  if (dtype >= 0) d = (DType)dtype;
  else {
    int k = s.kind == K_BOOL      ? (int)MT_bool
            : s.kind == K_INT     ? (int)MT_int64
            : s.kind == K_COMPLEX ? (int)mt_complex_dtype(c->default_dtype)
                                  : (int)c->default_dtype;
    if (s.kind == K_NONE && s.dtype >= 0) k = s.dtype;
    else if (s.dtype >= 0) k = (int)mt_promote((DType)k, (DType)s.dtype);
    d = (DType)k;
  }
  Tensor *x = mt_new(c, mt_il(s.size, s.ndim), d, MT_CPU);
  if (!x) return NULL;
  char *p = mt_data(x);
  return fill(L, c, i, x, &p) ? x : NULL;
}
