/* fmt.c: element types, checked sizes, and the list of tensors with the memory that its names and
 * shapes lie in. */
#include "formats/fmt.h"
#include "json/json.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define FMT_ROW(id, name, bits, st, np, pt) {name, bits, st, np, pt},
const fmt_type fmt_types[FMT_NTYPES] = {FMT_TYPES(FMT_ROW)};

int fmt_type_named(const char *name) {
  for (int i = 0; i < FMT_NTYPES; i++)
    if (!strcmp(fmt_types[i].name, name)) return i;
  return -1;
}

/* Small requests share a chunk; a large one gets its own, put behind the one in use. */
typedef struct fmt_chunk { struct fmt_chunk *next; void *base; size_t used, size; } fmt_chunk;
enum { CHUNK = 16384 };

void *fmt_alloc(fmt_list *l, size_t n) {
  fmt_chunk *c = l->chunks;
  if (n > FMT_MAX_BYTES) return NULL;
  n = (n + 15) & ~(size_t)15;
  if (c && c->size - c->used >= n) return c->used += n, (uint8_t *)c->base + c->used - n;
  size_t size = n > CHUNK / 4 ? n : CHUNK;
  fmt_chunk *fresh = mt_malloc(sizeof *fresh + size + 64);
  if (!fresh) return NULL;
  fresh->base = (void *)(((uintptr_t)(fresh + 1) + 63) & ~(uintptr_t)63);
  fresh->used = n, fresh->size = size;
  if (c && size != CHUNK) fresh->next = c->next, c->next = fresh;
  else fresh->next = c, l->chunks = fresh;
  return fresh->base;
}

char *fmt_copy(fmt_list *l, const char *s, size_t n) {
  char *p = fmt_alloc(l, n + 1);
  if (!p) return NULL;
  if (n) memcpy(p, s, n);
  p[n] = 0;
  return p;
}

fmt_tensor *fmt_add(fmt_list *l, sys_err *e) {
  if (l->n >= FMT_MAX_TENSORS) return sys_fail(e, "more than %d tensors", FMT_MAX_TENSORS), NULL;
  if (l->n == l->cap) {
    size_t cap = l->cap ? 2 * l->cap : 16;
    fmt_tensor *v = mt_realloc(l->v, cap * sizeof *v);
    if (!v) return sys_fail(e, "not enough memory"), NULL;
    l->v = v, l->cap = cap;
  }
  fmt_tensor *t = &l->v[l->n++];
  *t = (fmt_tensor){.quant = -1, .storage = -1};
  return t;
}

bool fmt_add_meta(fmt_list *l, const char *key, size_t nk, const char *value, size_t nv,
                  sys_err *e) {
  if (l->nmeta == l->cap_meta) {
    size_t cap = l->cap_meta ? 2 * l->cap_meta : 8;
    fmt_pair *v = mt_realloc(l->meta, cap * sizeof *v);
    if (!v) return sys_fail(e, "not enough memory");
    l->meta = v, l->cap_meta = cap;
  }
  char *k = fmt_copy(l, key, nk), *v = fmt_copy(l, value, nv);
  if (!k || !v) return sys_fail(e, "not enough memory");
  l->meta[l->nmeta++] = (fmt_pair){k, v};
  return true;
}

void fmt_free(fmt_list *l) {
  for (fmt_chunk *c = l->chunks, *next; c; c = next) {
    next = c->next;
    mt_free(c);
  }
  mt_free(l->v);
  mt_free(l->meta);
  sys_map_close(l->map);
  *l = (fmt_list){0};
}

bool fmt_check_name(const char *s, size_t n, sys_err *e) {
  char q[120];
  if (n > 65535) return sys_fail(e, "a tensor's name has %zu bytes", n);
  if (js_utf8_check(s, n) != n)
    return sys_fail(e, "the name '%s' is not valid UTF-8", sys_quote(q, sizeof q, s, n));
  if (memchr(s, 0, n))
    return sys_fail(e, "the name '%s' contains a zero byte", sys_quote(q, sizeof q, s, n));
  return true;
}

static int by_name(const void *a, const void *b) {
  const fmt_tensor *x = *(const fmt_tensor *const *)a, *y = *(const fmt_tensor *const *)b;
  int d = strcmp(x->name, y->name);
  return d ? d : (x->at > y->at) - (x->at < y->at);
}

bool fmt_check_unique(const fmt_list *l, sys_err *e) {
  char q[120];
  if (l->n < 2) return true;
  const fmt_tensor **v = mt_malloc(l->n * sizeof *v);
  if (!v) return sys_fail(e, "not enough memory");
  for (size_t i = 0; i < l->n; i++) v[i] = &l->v[i];
  qsort(v, l->n, sizeof *v, by_name);
  bool ok = true;
  for (size_t i = 1; ok && i < l->n; i++)
    if (!strcmp(v[i - 1]->name, v[i]->name))
      ok = sys_fail(e, "two tensors are named '%s': the second's data are at byte %" PRIu64,
                    sys_quote(q, sizeof q, v[i]->name, strlen(v[i]->name)), v[i]->at);
  mt_free(v);
  return ok;
}

/* A zero dim makes the product zero, but not the others' overflow acceptable: their strides would
 * overflow too. */
bool fmt_numel(const int64_t *shape, int ndim, int64_t *numel) {
  int64_t n = 1;
  bool empty = false;
  for (int i = 0; i < ndim; i++) {
    if (shape[i] < 0) return false;
    if (shape[i] == 0) empty = true;
    else if (__builtin_mul_overflow(n, shape[i], &n)) return false;
  }
  *numel = empty ? 0 : n;
  return true;
}

bool fmt_nbytes(int dtype, const int64_t *shape, int ndim, uint64_t *nbytes) {
  int64_t n;
  uint64_t bits;
  if (!fmt_numel(shape, ndim, &n)) return false;
  if (__builtin_mul_overflow((uint64_t)n, (uint64_t)fmt_types[dtype].bits, &bits) || bits % 8)
    return false;
  *nbytes = bits / 8;
  return *nbytes <= FMT_MAX_BYTES;
}

bool fmt_extent(int dtype, const int64_t *shape, const int64_t *strides, int ndim,
                uint64_t *nbytes) {
  uint64_t last = 0, step;
  int64_t n;
  if (!fmt_numel(shape, ndim, &n)) return false;
  *nbytes = 0;
  for (int i = 0; i < ndim; i++) {
    if (strides[i] < 0) return false;
    if (shape[i] < 2) continue;
    if (__builtin_mul_overflow((uint64_t)strides[i], (uint64_t)shape[i] - 1, &step)) return false;
    if (__builtin_add_overflow(last, step, &last) || last > FMT_MAX_BYTES) return false;
  }
  if (n) *nbytes = (last + 1) * (uint64_t)fmt_types[dtype].bits / 8;
  return *nbytes <= FMT_MAX_BYTES;
}

void fmt_put(uint8_t *p, uint64_t v, int bytes) {
  for (int i = 0; i < bytes; i++) p[i] = (uint8_t)(v >> 8 * i);
}

void fmt_swap(int dtype, uint8_t *dst, const uint8_t *src, uint64_t n) {
  int size = fmt_types[dtype].bits / 8;
  bool complex_type = dtype == FMT_C32 || dtype == FMT_C64 || dtype == FMT_C128;
  int part = complex_type ? size / 2 : size;
  for (uint64_t i = 0; i < n * (uint64_t)(size / part); i++, dst += part, src += part)
    for (int k = 0; k < part; k++) dst[k] = src[part - 1 - k];
}
