/* index.c: x[key] and x[key] = value: integers, Python's subscript text, lists of entries, tensors.
 *
 * Every form becomes a list of Entry; the basic ones make a view step by step, tensors among them
 * are collected for one gather (or scatter) at the end, as PyTorch does. */
#include "vm.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum { E_INT, E_SLICE, E_NONE, E_ELLIPSIS, E_BOOL, E_TENSOR } EntryKind;
typedef struct { EntryKind k; int64_t a, b, step; Tensor *t; } Entry;
enum { MAXENT = 80 };
typedef struct { Entry e[MAXENT]; int n; } Key;

static const char slice_magic = 0;
typedef struct { const void *magic; int64_t a, b, step; } Slice;

static Slice *toslice(lua_State *L, int i) {
  Slice *s = lua_touserdata(L, i);
  return s && lua_type(L, i) == LUA_TUSERDATA && lua_rawlen(L, i) == sizeof *s &&
                 s->magic == &slice_magic
             ? s
             : NULL;
}

static bool bound(lua_State *L, int i, int64_t *v) {
  if (lua_isnoneornil(L, i) || vm_isnone(L, i)) { *v = MT_NONE_INT; return true; }
  return vm_toint(L, i, v);
}
static int slice_tostring(lua_State *L) {
  Slice *s = toslice(L, 1);
  char b[3][24];
  int64_t v[3] = {s->a, s->b, s->step};
  for (int i = 0; i < 3; i++)
    if (v[i] == MT_NONE_INT) strcpy(b[i], "None"); else snprintf(b[i], 24, "%lld", (long long)v[i]);
  lua_pushfstring(L, "slice(%s, %s, %s)", b[0], b[1], b[2]);
  return 1;
}
/* torch.slice(stop) or torch.slice(start, stop, step) */
static int slice_new(lua_State *L) {
  int64_t v[3] = {MT_NONE_INT, MT_NONE_INT, MT_NONE_INT};
  int n = lua_gettop(L);
  for (int i = 0; i < n && i < 3; i++)
    if (!bound(L, i + 1, &v[i]))
      return luaL_error(L, "slice: bound %d must be an integer or None, got %s", i + 1,
                        luaL_typename(L, i + 1));
  if (n == 1) { v[1] = v[0]; v[0] = MT_NONE_INT; }
  Slice *s = lua_newuserdatauv(L, sizeof *s, 0);
  s->magic = &slice_magic;
  s->a = v[0];
  s->b = v[1];
  s->step = v[2];
  if (luaL_newmetatable(L, "torch.slice")) {
    lua_pushcfunction(L, slice_tostring);
    lua_setfield(L, -2, "__tostring");
  }
  lua_setmetatable(L, -2);
  return 1;
}
int vm_open_index(lua_State *L);
int vm_open_index(lua_State *L) {
  lua_pushcfunction(L, slice_new);
  return 1;
} /* leaves torch.slice */

static Entry *add(Ctx *c, Key *k, EntryKind kind) {
  if (k->n == MAXENT) { mt_fail(c, "too many indices"); return NULL; }
  Entry *e = &k->e[k->n++];
  memset(e, 0, sizeof *e);
  e->k = kind;
  return e;
}

/* One entry of subscript text, without blanks around it. */
static bool text_entry(Ctx *c, Key *k, const char *s, size_t n, const char *all) {
  char buf[96];
  if (n >= sizeof buf) { mt_fail(c, "cannot read the index '%s'", all); return false; }
  memcpy(buf, s, n);
  buf[n] = 0;
  if (!strcmp(buf, "...") || !strcmp(buf, "Ellipsis")) return add(c, k, E_ELLIPSIS) != NULL;
  if (!strcmp(buf, "None")) return add(c, k, E_NONE) != NULL;
  if (!strcmp(buf, "True") || !strcmp(buf, "False")) {
    Entry *e = add(c, k, E_BOOL);
    if (e) e->a = buf[0] == 'T';
    return e != NULL;
  }
  int64_t v[3] = {MT_NONE_INT, MT_NONE_INT, MT_NONE_INT};
  int part = 0;
  for (char *p = buf; *p;) {
    if (isspace((unsigned char)*p)) { p++; continue; }
    if (*p == ':') { if (++part > 2) goto bad; p++; continue; }
    if (!strncmp(p, "None", 4)) { p += 4; continue; }
    char *end;
    if (v[part] != MT_NONE_INT) goto bad;
    v[part] = strtoll(p, &end, 10);
    if (end == p) goto bad;
    p = end;
  }
  if (part == 0 && v[0] == MT_NONE_INT) goto bad;
  Entry *e = add(c, k, part ? E_SLICE : E_INT);
  if (!e) return false;
  e->a = v[0];
  e->b = v[1];
  e->step = v[2];
  return true;
bad:
  mt_fail(
      c, "cannot read '%s' in the index \"%s\"; use integers, slices a:b:c, ..., None, True, False",
      buf, all);
  return false;
}

static bool text_key(Ctx *c, Key *k, const char *s) {
  const char *all = s;
  for (;;) {
    while (isspace((unsigned char)*s)) s++;
    const char *e = s + strcspn(s, ",");
    const char *t = e;
    while (t > s && isspace((unsigned char)t[-1])) t--;
    if (t == s) {
      if (!*e && k->n) return true;                  /* a comma at the end */
      mt_fail(c, "empty entry in the index \"%s\"", all);
      return false;
    }
    if (!text_entry(c, k, s, (size_t)(t - s), all)) return false;
    if (!*e) return true;
    s = e + 1;
  }
}

static bool tensor_entry(Ctx *c, Key *k, Tensor *t) {
  if (t->ndim == 0 && t->dtype != MT_bool && mt_is_int(t->dtype) && !mt_meta(t)) {
    Entry *e = add(c, k, E_INT);
    if (e) e->a = mt_sint(mt_item(c, t));
    return e != NULL;
  }
  if (!mt_is_int(t->dtype)) {
    mt_fail(c, "tensors used as indices must be integer or bool tensors, got %s",
            mt_dtypes[t->dtype].name);
    return false;
  }
  Entry *e = add(c, k, E_TENSOR);
  if (e) e->t = t;
  return e != NULL;
}

static bool one_entry(lua_State *L, Ctx *c, Key *k, int i) {
  Tensor *t = vm_totensor(L, i);
  Slice *s;
  if (t) return tensor_entry(c, k, t);
  if (vm_isnone(L, i)) return add(c, k, E_NONE) != NULL;
  if ((s = toslice(L, i))) {
    Entry *e = add(c, k, E_SLICE);
    if (e) { e->a = s->a; e->b = s->b; e->step = s->step; }
    return e != NULL;
  }
  switch (lua_type(L, i)) {
    case LUA_TNUMBER: {
      int64_t v;
      if (!vm_toint(L, i, &v)) {
        mt_fail(c, "an index must be an integer, got %g", lua_tonumber(L, i));
        return false;
      }
      Entry *e = add(c, k, E_INT);
      if (e) e->a = v;
      return e != NULL;
    }
    case LUA_TBOOLEAN: {
      Entry *e = add(c, k, E_BOOL);
      if (e) e->a = lua_toboolean(L, i);
      return e != NULL;
    }
    case LUA_TSTRING: {
      const char *text = lua_tostring(L, i);
      if (strchr(text, ',')) {
        mt_fail(c, "an entry of an index list is one dimension; got \"%s\"", text);
        return false;
      }
      return text_key(c, k, text);
    }
    case LUA_TTABLE: {
      Tensor *x = vm_build_tensor(L, c, i, -1);
      if (x && x->numel == 0) x = t_to_dtype(c, x, MT_int64, false, -1);
      return x && tensor_entry(c, k, x);
    }
    default:
      mt_fail(c, "an index must be an integer, slice, None, list or tensor, got %s",
              luaL_typename(L, i));
      return false;
  }
}

static bool read_key(lua_State *L, Ctx *c, Key *k, int i) {
  k->n = 0;
  i = lua_absindex(L, i);
  if (lua_isnil(L, i)) {
    mt_fail(c, "x[nil]: a tensor cannot be indexed with nil (torch.None inserts a dimension)");
    return false;
  }
  if (lua_type(L, i) == LUA_TSTRING) return text_key(c, k, lua_tostring(L, i));
  if (lua_type(L, i) != LUA_TTABLE) return one_entry(L, c, k, i);
  lua_Integer n = (lua_Integer)lua_rawlen(L, i);
  for (lua_Integer j = 1; j <= n; j++) {
    lua_rawgeti(L, i, j);
    bool ok = one_entry(L, c, k, lua_gettop(L));
    lua_pop(L, 1);
    if (!ok) return false;
  }
  return true;
}

/* Applies the basic entries; tensors land in idx at the dimensions they index. */
static Tensor *apply(Ctx *c, Tensor *x, Key *k, TensorList *idx) {
  int used = 0, ell = -1;
  for (int i = 0; i < k->n; i++) {
    Entry *e = &k->e[i];
    if (e->k == E_ELLIPSIS) {
      if (ell >= 0) return mt_fail(c, "an index can have only one ellipsis ('...')");
      ell = i;
    } else if (e->k == E_TENSOR) used += e->t->dtype == MT_bool ? e->t->ndim : 1;
    else if (e->k == E_INT || e->k == E_SLICE) used++;
  }
  if (used > x->ndim)
    return mt_fail(c, "too many indices for a tensor of %d dimensions: %d", x->ndim, used);
  idx->v = mt_tmp(c, sizeof(Tensor *) * (MAXENT + MT_MAXDIM));
  idx->n = 0;
  if (!idx->v) return NULL;
  memset(idx->v, 0, sizeof(Tensor *) * (MAXENT + MT_MAXDIM));
  Tensor *v = x;
  int dim = 0, left = x->ndim - used;
  for (int i = 0; i < k->n && v; i++) {
    Entry *e = &k->e[i];
    switch (e->k) {
      case E_INT: v = t_select(c, v, dim, e->a); break;
      case E_SLICE:
        if (!(e->a == MT_NONE_INT && e->b == MT_NONE_INT && e->step == MT_NONE_INT))
          v = t_slice(c, v, dim, e->a, e->b, e->step == MT_NONE_INT ? 1 : e->step);
        dim++;
        break;
      case E_NONE: v = t_unsqueeze(c, v, dim++); break;
      case E_ELLIPSIS: dim += left; break;
      case E_BOOL:
        v = t_unsqueeze(c, v, dim);
        idx->v[dim++] =
            t_full(c, mt_il((int64_t[]){1}, 1), mt_sb(e->a != 0), MT_bool, -1, -1, -1, false);
        idx->n = dim;
        break;
      case E_TENSOR:
        if (e->t->dtype == MT_bool && e->t->ndim == 0) {
          v = t_unsqueeze(c, v, dim);
          idx->v[dim++] = t_reshape(c, e->t, mt_il((int64_t[]){1}, 1));
        } else {
          idx->v[dim] = e->t;
          dim += e->t->dtype == MT_bool ? e->t->ndim : 1;
        }
        idx->n = dim;
        break;
    }
  }
  /* The list op wants one entry per indexed dimension, a bool mask of n dims counting once. */
  if (idx->n) {
    int m = 0;
    for (int d = 0; d < idx->n;) {
      Tensor *t = idx->v[d];
      idx->v[m++] = t;
      d += t && t->dtype == MT_bool && t->ndim > 1 ? t->ndim : 1;
    }
    idx->n = m;
  }
  return v;
}

Tensor *vm_index(lua_State *L, Ctx *c, Tensor *x, int key) {
  if (lua_isinteger(L, key)) return t_select(c, x, 0, lua_tointeger(L, key));
  Key k;
  TensorList idx;
  if (!read_key(L, c, &k, key)) return NULL;
  Tensor *v = apply(c, x, &k, &idx);
  if (!v) return NULL;
  if (idx.n) return t_index(c, v, idx);
  return v == x ? t_alias(c, x) : v;
}

/* Leading dimensions of size 1 of the value do not count. */
static Tensor *trim_value(Ctx *c, Tensor *v, int ndim) {
  int lead = 0;
  while (v->ndim - lead > ndim && v->size[lead] == 1) lead++;
  return lead ? t_view(c, t_reshape(c, v, mt_sizes(v)), mt_il(v->size + lead, v->ndim - lead)) : v;
}

void vm_setindex(lua_State *L, Ctx *c, Tensor *x, int key, int value) {
  Key k;
  TensorList idx;
  Scalar s;
  Tensor *val = vm_totensor(L, value);
  if (!val && !vm_toscalar(L, value, &s)) {
    if (lua_type(L, value) == LUA_TTABLE) val = vm_build_tensor(L, c, value, x->dtype);
    else {
      mt_fail(c, "a tensor's elements can be set to a number or a tensor, got %s",
              luaL_typename(L, value));
      return;
    }
    if (!val) return;
  }
  if (!read_key(L, c, &k, key)) return;
  Tensor *v = apply(c, x, &k, &idx);
  if (!v) return;
  if (!val) {
    if (idx.n == 0) { t_fill_(c, v, s); return; }
    val = mt_scalar_tensor(c, s, (DType)x->dtype);
    if (s.kind == K_COMPLEX && !mt_is_complex(x->dtype)) {
      mt_fail(c, "a complex value cannot be stored in a %s tensor", mt_dtypes[x->dtype].name);
      return;
    }
  }
  if (idx.n) t_index_put_(c, v, idx, val, false);
  else t_copy_(c, v, trim_value(c, val, v->ndim), false);
}
