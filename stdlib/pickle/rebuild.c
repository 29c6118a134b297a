/* rebuild.c: the names that a checkpoint's pickle may use, and what applying each does.  There is
 * no other call. */
#include "pickle/machine.h"
#include <inttypes.h>
#include <string.h>

typedef struct name { const char *module, *name; int id; } name;

static const name names[] = {
  {"collections", "OrderedDict", G_ORDERED_DICT},
  {"torch", "Size", G_SIZE},
  {"torch", "device", G_DEVICE},
  {"torch._utils", "_rebuild_tensor_v2", G_REBUILD2},
  {"torch._utils", "_rebuild_tensor_v3", G_REBUILD3},
  {"torch._utils", "_rebuild_parameter", G_PARAMETER},
  {"torch.storage", "UntypedStorage", G_UNTYPED},
  {"torch.storage", "TypedStorage", G_UNTYPED},
  {"__builtin__", "set", G_SET},
  {"builtins", "set", G_SET},
};

static bool is(const char *s, size_t n, const char *text) {
  return n == strlen(text) && !memcmp(s, text, n);
}

/* torch.FloatStorage (or torch.cuda.FloatStorage) -> G_STORAGE + dtype; torch.float32 -> G_DTYPE +
 * dtype; -1: none. */
static int typed_name(const char *module, size_t nm, const char *s, size_t n) {
  bool torch = is(module, nm, "torch");
  for (int i = 0; i < FMT_NTYPES; i++) {
    const char *storage = fmt_types[i].pt;
    if (storage && (torch || is(module, nm, "torch.cuda")) && is(s, n, storage))
      return G_STORAGE + i;
    if (torch && is(s, n, fmt_types[i].name)) return G_DTYPE + i;
  }
  return -1;
}

bool pk_global(pk_machine *m, const char *module, size_t nm, const char *s, size_t n,
               uint32_t *out) {
  int id = -1;
  char a[80], b[80];
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (is(module, nm, names[i].module) && is(s, n, names[i].name)) id = names[i].id;
  if (id < 0) id = typed_name(module, nm, s, n);
  if (id < 0)
    return sys_fail(m->e,
                    "pickle: the name '%s.%s' is not allowed in a checkpoint (nothing was run) at "
                    "byte %" PRIu64,
                    sys_quote(a, sizeof a, module, nm), sys_quote(b, sizeof b, s, n),
                    m->base + (uint64_t)(m->p - m->start));
  *out = pk_new(m, id >= G_DTYPE ? PK_DTYPE : PK_GLOBAL);
  if (*out == UINT32_MAX) return false;
  m->f->v[*out].u.i = id >= G_DTYPE ? id - G_DTYPE : id;
  return true;
}

static const pk_value *kid(pk_machine *m, const pk_value *v, uint32_t i) {
  return &m->f->v[v->u.kids[i]];
}
static bool is_seq(const pk_value *v) {
  return v->type == PK_TUPLE || v->type == PK_LIST || v->type == PK_SIZE;
}
static bool is_text(const pk_value *v) { return v->type == PK_STR || v->type == PK_BYTES; }

static int global_id(const pk_value *v) { return v->type == PK_GLOBAL ? (int)v->u.i : -1; }

static size_t slot_of(const pk_machine *m, const char *key, uint32_t n) {
  uint64_t h = 1469598103934665603u;
  for (uint32_t i = 0; i < n; i++) h = (h ^ (uint8_t)key[i]) * 1099511628211u;
  size_t at = (size_t)(h ^ h >> 32) & (m->ntable - 1);
  while (m->table[at]) {
    const pk_store *s = &m->stores[m->table[at] - 1];
    if (s->key_len == n && !memcmp(s->key, key, n)) break;
    at = (at + 1) & (m->ntable - 1);
  }
  return at;
}

pk_store *pk_find_store(pk_machine *m, const char *key, uint32_t n) {
  uint32_t i = m->ntable ? m->table[slot_of(m, key, n)] : 0;
  return i ? &m->stores[i - 1] : NULL;
}

static bool grow_stores(pk_machine *m) {
  size_t cap = m->cap_stores ? 2 * m->cap_stores : 32;
  pk_store *v = mt_realloc(m->stores, cap * sizeof *v);
  if (!v) return pk_bad(m, "not enough memory");
  m->stores = v;
  uint32_t *table = mt_calloc(2 * cap * sizeof *table);
  if (!table) return pk_bad(m, "not enough memory");
  mt_free(m->table);
  m->table = table, m->ntable = 2 * cap, m->cap_stores = cap;
  for (size_t i = 0; i < m->nstores; i++)
    m->table[slot_of(m, v[i].key, v[i].key_len)] = (uint32_t)i + 1;
  return true;
}

static pk_store *add_store(pk_machine *m, const pk_store *s) {
  if (m->nstores == m->cap_stores && !grow_stores(m)) return NULL;
  m->stores[m->nstores++] = *s;
  m->table[slot_of(m, s->key, s->key_len)] = (uint32_t)m->nstores;
  return &m->stores[m->nstores - 1];
}

/* ('storage', class, key, location, count[, view]): a reference to bytes outside the pickle, looked
 * up afterwards. */
bool pk_persistent(pk_machine *m, uint32_t id, uint32_t *out) {
  const pk_value *t = &m->f->v[id];
  if (t->type != PK_TUPLE || t->n < 5 || t->n > 6 || !is_text(kid(m, t, 0)) ||
      !is(kid(m, t, 0)->u.s, kid(m, t, 0)->n, "storage"))
    return pk_bad(m, "a persistent id that is no storage");
  const pk_value *class = kid(m, t, 1), *key = kid(m, t, 2), *count = kid(m, t, 4);
  int g = global_id(class);
  if ((g < G_STORAGE && g != G_UNTYPED) || !is_text(key) || count->type != PK_INT || count->u.i < 0)
    return pk_bad(m, "an invalid storage");
  if (t->n == 6 && kid(m, t, 5)->type != PK_NONE)
    return pk_bad(m, "a storage that is a view of another is not read");
  pk_store s = {.key = key->u.s,
                .key_len = key->n,
                .dtype = g == G_UNTYPED ? -1 : g - G_STORAGE,
                .count = count->u.i};
  pk_store *known = pk_find_store(m, s.key, s.key_len);
  if (known && (known->dtype != s.dtype || known->count != s.count))
    return pk_bad(m, "one storage described in two ways");
  if (!known && !(known = add_store(m, &s))) return false;
  int64_t number = known - m->stores;
  *out = pk_new(m, PK_STORAGE);
  if (*out == UINT32_MAX) return false;
  m->f->v[*out].u.i = number;
  return true;
}

/* Numbers of a tuple into memory of the list. */
static bool read_dims(pk_machine *m, const pk_value *v, int64_t *dims) {
  if (!is_seq(v) || v->n > FMT_MAX_DIMS) return pk_bad(m, "invalid sizes of a tensor");
  for (uint32_t i = 0; i < v->n; i++) {
    if (kid(m, v, i)->type != PK_INT || kid(m, v, i)->u.i < 0)
      return pk_bad(m, "invalid sizes of a tensor");
    dims[i] = kid(m, v, i)->u.i;
  }
  return true;
}

static bool read_flags(pk_machine *m, fmt_tensor *t, const pk_value *d) {
  if (d->type == PK_NONE) return true;
  if (d->type != PK_DICT) return pk_bad(m, "invalid metadata of a tensor");
  for (uint32_t i = 0; i < d->n; i += 2) {
    const pk_value *k = kid(m, d, i), *v = kid(m, d, i + 1);
    if (!is_text(k) || v->type != PK_BOOL) return pk_bad(m, "unknown metadata of a tensor");
    if (is(k->u.s, k->n, "conj")) t->conj = v->u.i;
    else if (is(k->u.s, k->n, "neg")) t->neg = v->u.i;
    else return pk_bad(m, "unknown metadata of a tensor");
  }
  return true;
}

/* (storage, offset, size, stride, requires_grad, hooks[, dtype][, metadata]).  `at` holds the
 * offset until the storage's bytes are known (pt.c). */
static bool rebuild_tensor(pk_machine *m, const pk_value *a, bool v3, uint32_t *out) {
  uint32_t most = v3 ? 8 : 7;
  if (a->type != PK_TUPLE || a->n < most - 1 || a->n > most)
    return pk_bad(m, "wrong arguments of a tensor");
  const pk_value *st = kid(m, a, 0), *offset = kid(m, a, 1), *size = kid(m, a, 2),
                 *stride = kid(m, a, 3);
  if (st->type != PK_STORAGE || offset->type != PK_INT || offset->u.i < 0 ||
      kid(m, a, 4)->type != PK_BOOL || !is_seq(size) || !is_seq(stride) || size->n != stride->n ||
      size->n > FMT_MAX_DIMS)
    return pk_bad(m, "wrong arguments of a tensor");
  if (v3 && kid(m, a, 6)->type != PK_DTYPE) return pk_bad(m, "a tensor without a dtype");
  fmt_tensor *t = fmt_add(&m->f->list, m->e);
  int64_t *dims = t ? fmt_alloc(&m->f->list, (2 * size->n + 1) * sizeof *dims) : NULL;
  char number[24];
  int k = snprintf(number, sizeof number, "%zu", m->f->list.n - 1);
  if (!dims || !(t->name = fmt_copy(&m->f->list, number, (size_t)k)))
    return pk_bad(m, "not enough memory");
  if (!read_dims(m, size, dims) || !read_dims(m, stride, dims + size->n)) return false;
  t->shape = dims, t->strides = dims + size->n, t->ndim = (int)size->n;
  t->storage = st->u.i;
  t->at = (uint64_t)offset->u.i;
  t->requires_grad = kid(m, a, 4)->u.i;
  t->dtype = v3 ? (int)kid(m, a, 6)->u.i : m->stores[t->storage].dtype;
  if (t->dtype < 0) return pk_bad(m, "a tensor without a dtype");
  if (a->n == most && !read_flags(m, t, kid(m, a, most - 1))) return false;
  *out = pk_new(m, PK_TENSOR);
  if (*out == UINT32_MAX) return false;
  m->f->v[*out].u.i = (int64_t)m->f->list.n - 1;
  return true;
}

/* OrderedDict() or OrderedDict([(k, v), ...]) */
static bool ordered_dict(pk_machine *m, uint32_t args, uint32_t *out) {
  const pk_value *a = &m->f->v[args];
  if (a->type != PK_TUPLE || a->n > 1 || (a->n && !is_seq(kid(m, a, 0))))
    return pk_bad(m, "wrong arguments of OrderedDict");
  uint32_t items = a->n ? a->u.kids[0] : args, n = a->n ? m->f->v[items].n : 0;
  *out = pk_new(m, PK_DICT);
  if (*out == UINT32_MAX) return false;
  for (uint32_t i = 0; i < n; i++) {
    const pk_value *pair = kid(m, &m->f->v[items], i);
    if (!is_seq(pair) || pair->n != 2) return pk_bad(m, "wrong arguments of OrderedDict");
    uint32_t k = pair->u.kids[0], v = pair->u.kids[1];
    if (!pk_append(m, *out, k) || !pk_append(m, *out, v)) return false;
  }
  return true;
}

/* A container of another type with the children of the sequence that is the only argument. */
static bool copy_as(pk_machine *m, uint32_t args, int type, uint32_t *out) {
  const pk_value *a = &m->f->v[args];
  if (a->type != PK_TUPLE || a->n != 1 || !is_seq(kid(m, a, 0)))
    return pk_bad(m, "wrong arguments");
  uint32_t from = a->u.kids[0];
  *out = pk_new(m, type);
  if (*out == UINT32_MAX) return false;
  for (uint32_t i = 0; i < m->f->v[from].n; i++)
    if (!pk_append(m, *out, m->f->v[from].u.kids[i])) return false;
  return true;
}

static bool make_device(pk_machine *m, const pk_value *a, uint32_t *out) {
  if (a->type != PK_TUPLE || a->n < 1 || a->n > 2 || kid(m, a, 0)->type != PK_STR)
    return pk_bad(m, "wrong arguments of device");
  const pk_value v = *kid(m, a, 0);
  *out = pk_new(m, PK_DEVICE);
  if (*out == UINT32_MAX) return false;
  m->f->v[*out].u.s = v.u.s;
  m->f->v[*out].n = v.n;
  return true;
}

/* (tensor, requires_grad, hooks): the tensor itself, marked. */
static bool parameter(pk_machine *m, const pk_value *a, uint32_t *out) {
  if (a->type != PK_TUPLE || a->n < 2 || a->n > 4 || kid(m, a, 0)->type != PK_TENSOR ||
      kid(m, a, 1)->type != PK_BOOL)
    return pk_bad(m, "wrong arguments of a parameter");
  *out = a->u.kids[0];
  m->f->list.v[kid(m, a, 0)->u.i].requires_grad = kid(m, a, 1)->u.i;
  return true;
}

bool pk_reduce(pk_machine *m, uint32_t fn, uint32_t args, uint32_t *out) {
  const pk_value *a = &m->f->v[args];
  switch (global_id(&m->f->v[fn])) {
    case G_ORDERED_DICT: return ordered_dict(m, args, out);
    case G_SIZE: return copy_as(m, args, PK_SIZE, out);
    case G_SET: return copy_as(m, args, PK_SET, out);
    case G_DEVICE: return make_device(m, a, out);
    case G_REBUILD2: return rebuild_tensor(m, a, false, out);
    case G_REBUILD3: return rebuild_tensor(m, a, true, out);
    case G_PARAMETER: return parameter(m, a, out);
    default: return pk_bad(m, "a call of what cannot be called");
  }
}
