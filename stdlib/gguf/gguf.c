/* gguf.c: the reader.  Header, key-value pairs, descriptions of tensors, padding, data. */
#include "gguf/gguf.h"
#include "gguf/quant.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct reader {
  gg_file *f;
  const uint8_t *start, *p, *end;
  sys_err *e;
  uint64_t alignment;
} reader;

static bool bad(reader *r, const char *what) {
  return sys_fail(r->e, "gguf: %s at byte %zu", what, (size_t)(r->p - r->start));
}

static const uint8_t *bytes(reader *r, uint64_t n) {
  if (n > (uint64_t)(r->end - r->p)) return bad(r, "the file ends early"), NULL;
  r->p += n;
  return r->p - n;
}

static bool u32(reader *r, uint32_t *v) {
  const uint8_t *s = bytes(r, 4);
  return s && (*v = fmt_u32(s), true);
}

static bool u64(reader *r, uint64_t *v) {
  const uint8_t *s = bytes(r, 8);
  return s && (*v = fmt_u64(s), true);
}

static const char *string(reader *r, uint64_t *n) {
  return u64(r, n) ? (const char *)bytes(r, *n) : NULL;
}

static const uint8_t size_of[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

/* Walks n values of a type that is not an array. */
static bool skip_values(reader *r, uint32_t type, uint64_t n) {
  uint64_t len;
  if (type > GG_F64 || type == GG_ARR)
    return bad(r, type == GG_ARR ? "an array of arrays" : "an unknown type of value");
  if (type != GG_STR) {
    if (n > (uint64_t)(r->end - r->p) / size_of[type]) return bad(r, "the file ends early");
    const uint8_t *s = bytes(r, n * size_of[type]);
    for (uint64_t i = 0; type == GG_BOOL && i < n; i++)
      if (s[i] > 1) return bad(r, "a truth value that is neither 0 nor 1");
    return true;
  }
  if (n > (uint64_t)(r->end - r->p) / 8) return bad(r, "the file ends early");
  while (n--)
    if (!string(r, &len)) return false;
  return true;
}

static bool read_pair(reader *r, gg_pair *kv) {
  uint64_t n;
  const char *key = string(r, &n);
  if (!key) return false;
  if (n == 0 || n > 65535) return bad(r, "a key's length is not 1 to 65535");
  if (!fmt_check_name(key, n, r->e)) return false;
  *kv = (gg_pair){.key = key, .key_len = (size_t)n};
  if (!u32(r, &kv->type)) return false;
  kv->value = r->p;
  if (kv->type != GG_ARR) return skip_values(r, kv->type, 1);
  if (!u32(r, &kv->elem) || !u64(r, &kv->count)) return false;
  kv->value = r->p;
  return skip_values(r, kv->elem, kv->count);
}

static int by_key(const void *a, const void *b) {
  const gg_pair *x = *(gg_pair *const *)a, *y = *(gg_pair *const *)b;
  size_t n = x->key_len < y->key_len ? x->key_len : y->key_len;
  int c = memcmp(x->key, y->key, n);
  return c ? c : x->key_len < y->key_len ? -1 : x->key_len > y->key_len;
}

static bool check_keys(reader *r) {
  gg_file *f = r->f;
  char q[120];
  gg_pair **v = mt_malloc((f->nkv + 1) * sizeof *v);
  if (!v) return bad(r, "not enough memory");
  for (size_t i = 0; i < f->nkv; i++) v[i] = &f->kv[i];
  if (f->nkv > 1) qsort(v, f->nkv, sizeof *v, by_key);
  bool ok = true;
  for (size_t i = 1; ok && i < f->nkv; i++)
    if (!by_key(&v[i - 1], &v[i]))
      ok = sys_fail(r->e, "gguf: the key '%s' twice",
                    sys_quote(q, sizeof q, v[i]->key, v[i]->key_len));
  mt_free(v);
  return ok;
}

static bool read_alignment(reader *r) {
  static const char name[] = "general.alignment";
  r->alignment = 32;
  for (size_t i = 0; i < r->f->nkv; i++) {
    const gg_pair *kv = &r->f->kv[i];
    if (kv->key_len != sizeof name - 1 || memcmp(kv->key, name, kv->key_len)) continue;
    if (kv->type != GG_U32) return bad(r, "general.alignment is not a uint32");
    r->alignment = fmt_u32(kv->value);
    if (!r->alignment || r->alignment > 65536 || (r->alignment & (r->alignment - 1)))
      return bad(r, "general.alignment is not a power of two up to 65536");
  }
  return true;
}

/* ggml counts dims from the fastest; a tensor's shape here begins with the slowest. */
static bool read_info(reader *r) {
  uint64_t n, dim;
  uint32_t ndim, type;
  const char *name = string(r, &n);
  fmt_tensor *t = name && fmt_check_name(name, n, r->e) ? fmt_add(&r->f->list, r->e) : NULL;
  if (!t) return false;
  if (!(t->name = fmt_copy(&r->f->list, name, n))) return bad(r, "not enough memory");
  if (!u32(r, &ndim)) return false;
  if (ndim > 4) return bad(r, "more than 4 dimensions");
  int64_t *shape = fmt_alloc(&r->f->list, 4 * sizeof *shape);
  if (!shape) return bad(r, "not enough memory");
  for (uint32_t i = ndim; i-- > 0;) {
    if (!u64(r, &dim)) return false;
    if (dim > INT64_MAX) return bad(r, "a dimension is too large");
    shape[i] = (int64_t)dim;
  }
  t->shape = shape, t->ndim = (int)ndim;
  if (!u32(r, &type)) return false;
  const gg_type *ty = type < GG_NTYPES ? &gg_types[type] : NULL;
  if (!ty || !ty->name) return bad(r, "an unknown type of tensor");
  int64_t numel, row = ndim ? shape[ndim - 1] : 1;
  if (!fmt_nbytes(FMT_F32, shape, t->ndim, &t->nbytes) || !fmt_numel(shape, t->ndim, &numel))
    return bad(r, "the shape is too large");
  if (row % ty->block) return bad(r, "a row is not a whole number of blocks");
  t->dtype = ty->dtype < 0 ? FMT_F32 : ty->dtype;
  t->quant = ty->dtype < 0 ? (int)type : -1;
  t->nbytes = (uint64_t)(numel / ty->block) * (uint64_t)ty->bytes;
  return u64(r, &t->at);
}

static bool place(reader *r) {
  uint64_t start = (uint64_t)(r->p - r->start), mask = r->alignment - 1, at = 0,
           size = (uint64_t)(r->end - r->start);
  uint64_t data = (start + mask) & ~mask;
  char q[120];
  if (!r->f->list.n) return true;
  if (data > size) return bad(r, "the file ends before the data");
  for (size_t i = 0; i < r->f->list.n; i++) {
    fmt_tensor *t = &r->f->list.v[i];
    sys_quote(q, sizeof q, t->name, strlen(t->name));
    if (t->at != at)
      return sys_fail(r->e,
                      "gguf: tensor '%s' begins at %" PRIu64 ", expected %" PRIu64 " of the data",
                      q, t->at, at);
    if (t->nbytes > size - data - at)
      return sys_fail(r->e,
                      "gguf: tensor '%s' needs %" PRIu64 " bytes from byte %" PRIu64
                      " on, past the end of the file",
                      q, t->nbytes, data + at);
    t->at = data + at;
    t->data = r->start + t->at;
    at += t->nbytes;
    uint64_t pad = -at & mask;                          /* only the last tensor's may be missing */
    if (pad > size - data - at) pad = size - data - at;
    at += pad;
  }
  return data + at == size ||
         sys_fail(r->e, "gguf: %" PRIu64 " bytes after the last tensor at byte %" PRIu64,
                  size - data - at, data + at);
}

bool gg_parse(gg_file *f, const uint8_t *p, size_t n, sys_err *e) {
  reader r = {.f = f, .start = p, .p = p, .end = p + n, .e = e};
  uint64_t ntensors = 0, npairs = 0;
  const uint8_t *magic = bytes(&r, 4);
  if (!magic) return false;
  if (memcmp(magic, "GGUF", 4)) return sys_fail(e, "gguf: no magic bytes at byte 0");
  if (!u32(&r, &f->version)) return false;
  if (f->version != 2 && f->version != 3)
    return bad(&r, f->version == 1 ? "version 1 is not read" : "an unknown version or byte order");
  if (!u64(&r, &ntensors) || !u64(&r, &npairs)) return false;
  /* A pair has at least 13 bytes, a tensor's description 24. */
  uint64_t left = (uint64_t)(r.end - r.p);
  if (npairs > left / 13 || ntensors > left / 24)
    return bad(&r, "more entries than the file can hold");
  f->kv = mt_malloc((npairs + 1) * sizeof *f->kv);
  if (!f->kv) return bad(&r, "not enough memory");
  while (f->nkv < npairs)
    if (!read_pair(&r, &f->kv[f->nkv++])) return false;
  if (!check_keys(&r) || !read_alignment(&r)) return false;
  while (f->list.n < ntensors)
    if (!read_info(&r)) return false;
  return place(&r) && fmt_check_unique(&f->list, e);
}

bool gg_open(gg_file *f, const char *path, sys_err *e) {
  sys_err inner = {{0}, 0};
  char q[200];
  *f = (gg_file){0};
  if (!(f->list.map = sys_map_open(path, e))) return false;
  if (gg_parse(f, f->list.map->data, f->list.map->size, &inner)) return true;
  gg_free(f);
  return sys_fail(e, "%s: %s", sys_quote(q, sizeof q, path, strlen(path)), inner.msg);
}

void gg_free(gg_file *f) {
  mt_free(f->kv);
  fmt_free(&f->list);
  *f = (gg_file){0};
}
