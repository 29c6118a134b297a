/* tensor.c: the life of tensors and storages: free lists, the caching allocator, construction over
 * storages.
 *
 * Invariant: a Tensor's sizes and strides never reach outside its storage (mt_from_storage checks,
 * all else derives). */
#include "moth.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

const DTypeRow mt_dtypes[MT_NDTYPES] = {
#define DT(name, ctype, kind, tname, code) {#name, tname, sizeof(ctype), K_##kind},
#include "dtype.def"
#undef DT
};

/* Autograd fills this in; it frees a tensor's gradient state. */
void (*mt_ag_free)(Tensor *t);

/* ---- storages ---- */
/* A sanitizer build keeps nothing: each tensor and storage is a request of its own, data end where
 * they end, so that the first byte read beyond or after its time is seen (and every request can
 * fail in the test that makes them fail). */
#ifdef MT_SAN
#include <sanitizer/asan_interface.h>
enum { SMALL = 0, KEEP = 0, EXACT = 1 };
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p))
enum { SMALL = 128, KEEP = 8192, EXACT = 0 };
#endif
enum { MIN_SHIFT = 8, NCLASS = 160, ALIGN = 64 };
/* Freed blocks are kept up to CACHE_CAP, or as much as brings memory back to the most that was ever
 * live: a training loop's activations come from warm pages each time, and no program uses more than
 * its peak and CACHE_CAP. */
#define CACHE_CAP ((int64_t)32 << 20)
#define CACHE_MOST ((int64_t)1 << 30)
typedef struct Free { struct Free *next; } Free;
static __thread Free *small_free, *tensor_free;
static __thread int nsmall_free, ntensor_free;
static __thread Free *cache[NCLASS];
static __thread int64_t cached_bytes;
static int64_t live_bytes, live_tensors, peak_bytes;

int64_t mt_live_bytes(void) { return live_bytes; }
int64_t mt_live_tensors(void) { return live_tensors; }

/* Four classes per power of two, so at most a quarter of a block is lost. */
static int size_class(int64_t n, int64_t *rounded) {
  int64_t base = 1 << MIN_SHIFT;
  int k = 0;
  while (base < n) {
    for (int q = 1; q <= 4; q++) {
      int64_t s = base + base * q / 4;
      if (n <= s) { *rounded = s; return k + q; }
    }
    base *= 2;
    k += 4;
  }
  *rounded = base;
  return k;
}

/* The class's first words of a cached block link it; the block itself keeps no header. */
static void *block_get(int64_t n, int32_t *cls) {
  int64_t rounded;
  int k = size_class(n, &rounded);
  if (k >= NCLASS) return NULL;
  *cls = k;
  if (cache[k]) {
    Free *f = cache[k];
    cache[k] = f->next;
    cached_bytes -= rounded;
    return f;
  }
  if (EXACT) rounded = n;
  char *raw = mt_malloc((size_t)rounded + ALIGN);
  if (!raw) return NULL;
  char *p = (char *)(((uintptr_t)raw + ALIGN) & ~(uintptr_t)(ALIGN - 1));
  ((unsigned char *)p)[-1] = (unsigned char)(p - raw);
  ASAN_POISON_MEMORY_REGION(p + n, raw + rounded + ALIGN - (p + n));
  return p;
}

static void block_free(void *p, int64_t n) {
  char *raw = (char *)p - ((unsigned char *)p)[-1];
  ASAN_UNPOISON_MEMORY_REGION(raw, n + ALIGN);
  mt_free(raw);
}

static int64_t class_bytes(int k) {
  int64_t base = (int64_t)1 << (MIN_SHIFT + k / 4);
  return base + base * (k % 4) / 4;
}

static int64_t cache_limit(void) {
  int64_t room = peak_bytes - live_bytes;
  return room < CACHE_CAP ? CACHE_CAP : room > CACHE_MOST ? CACHE_MOST : room;
}

static void cache_trim(int64_t want) {
  for (int k = NCLASS - 1; k >= 0 && cached_bytes > want; k--)
    while (cache[k] && cached_bytes > want) {
      Free *f = cache[k];
      cache[k] = f->next;
      cached_bytes -= class_bytes(k);
      block_free(f, class_bytes(k));
    }
}

static void block_put(void *p, int32_t cls, int64_t n) {
  int64_t bytes = class_bytes(cls), limit = cache_limit();
  if (EXACT || bytes > limit) { block_free(p, n); return; }
  Free *f = p;
  f->next = cache[cls];
  cache[cls] = f;
  cached_bytes += bytes;
  if (cached_bytes > limit) cache_trim(limit);
}

void mt_cache_release(void);
void mt_cache_release(void) {
  cache_trim(0);
  while (small_free) { Free *f = small_free; small_free = f->next; mt_free(f); }
  while (tensor_free) { Free *f = tensor_free; tensor_free = f->next; mt_free(f); }
  nsmall_free = ntensor_free = 0;
}

Storage *mt_storage_new(Ctx *c, int64_t nbytes, Device dev) {
  Storage *s;
  bool small = nbytes <= SMALL || dev == MT_META;
  if (small_free) {
    s = (Storage *)small_free;
    small_free = small_free->next;
    nsmall_free--;
  } else if (!(s = mt_malloc(sizeof *s + SMALL + ALIGN))) return mt_nomem(c);
  s->ref = 1;
  s->device = (uint8_t)dev;
  s->small = small;
  s->cls = -1;
  s->nbytes = nbytes;
  s->version = 0;
  s->free_fn = NULL;
  s->owner = NULL;
  if (dev == MT_META) { s->data = NULL; return s; }
  if (small) s->data = (char *)(((uintptr_t)(s + 1) + ALIGN - 1) & ~(uintptr_t)(ALIGN - 1));
  else {
    s->data = block_get(nbytes, &s->cls);
    if (!s->data) { cache_trim(0); s->data = block_get(nbytes, &s->cls); }
    if (!s->data) {
      s->small = 1; s->data = NULL; s->nbytes = 0;
      mt_storage_release(s);
      return mt_fail_kind(c, MT_NOMEM, "not enough memory: could not allocate %lld bytes",
                          (long long)nbytes);
    }
  }
  live_bytes += nbytes;
  if (small) return s;
  if (live_bytes > peak_bytes) peak_bytes = live_bytes;
  if (cached_bytes > CACHE_CAP && cached_bytes > cache_limit()) cache_trim(cache_limit());
  return s;
}

Storage *mt_storage_foreign(Ctx *c, void *data, int64_t nbytes, void (*free_fn)(void *),
                            void *owner) {
  Storage *s = mt_storage_new(c, 0, MT_CPU);
  if (!s) return NULL;
  s->small = 0;
  s->data = data;
  s->nbytes = nbytes;
  s->free_fn = free_fn;
  s->owner = owner;
  return s;
}

/* Gives the bytes back, keeps the header. */
static void storage_drop(Storage *s) {
  if (s->free_fn) { s->free_fn(s->owner); s->free_fn = NULL; }
  else if (!s->small && s->cls >= 0) {
    live_bytes -= s->nbytes;
    block_put(s->data, s->cls, s->nbytes);
  }
  else if (s->data && s->small) live_bytes -= s->nbytes;
}

void mt_storage_release(Storage *s) {
  if (!s || --s->ref > 0) return;
  storage_drop(s);
  if (nsmall_free < KEEP) {
    ((Free *)s)->next = small_free;
    small_free = (Free *)s;
    nsmall_free++;
  } else mt_free(s);
}

/* Grows or shrinks in place for every view; contents up to the smaller size are kept. */
bool mt_storage_resize(Ctx *c, Storage *s, int64_t nbytes) {
  if (s->device == MT_META) { s->nbytes = nbytes; return true; }
  if (s->free_fn) {
    mt_fail(c, "storage of %lld bytes is mapped or foreign and cannot be resized",
            (long long)s->nbytes);
    return false;
  }
  if (s->nbytes >= nbytes) return true;
  Storage *n = mt_storage_new(c, nbytes, MT_CPU);
  if (!n) return false;
  if (n->small) {                          /* small headers own their bytes: copy within limits */
    if (!s->small) { mt_storage_release(n); return true; }
    live_bytes += nbytes - s->nbytes;
    s->nbytes = nbytes;
    mt_storage_release(n);
    return true;
  }
  memcpy(n->data, s->data, (size_t)s->nbytes);
  int64_t version = s->version;
  storage_drop(s);
  s->small = 0; s->cls = n->cls; s->data = n->data; s->nbytes = nbytes; s->version = version;
  n->small = 1; n->cls = -1; n->data = NULL; n->nbytes = 0;
  mt_storage_release(n);
  return true;
}

/* ---- tensors ---- */
static Tensor *tensor_raw(Ctx *c, int ndim) {
  Tensor *t;
  if (c->err) return NULL;
  if (tensor_free) {
    t = (Tensor *)tensor_free;
    tensor_free = tensor_free->next;
    ntensor_free--;
  } else if (!(t = mt_malloc(sizeof *t))) return mt_nomem(c);
  if (ndim <= MT_INLINE_DIMS) t->size = t->dims;
  else if (!(t->size = mt_malloc(2 * sizeof(int64_t) * (size_t)ndim))) {
    mt_free(t);
    return mt_nomem(c);
  }
  t->stride = t->size + (ndim <= MT_INLINE_DIMS ? MT_INLINE_DIMS : ndim);
  t->ref = 1;
  t->ndim = (uint8_t)ndim;
  t->flags = c->inference ? MT_INFERENCE : 0;
  t->why = 0;
  t->offset = 0;
  t->base = NULL;
  t->ag = NULL;
  t->box = NULL;
  t->st = NULL;
  live_tensors++;
  return t;
}

static void tensor_recycle(Tensor *t) {
  if (t->size != t->dims) mt_free(t->size);
  live_tensors--;
  if (ntensor_free < KEEP) {
    ((Free *)t)->next = tensor_free;
    tensor_free = (Free *)t;
    ntensor_free++;
  } else mt_free(t);
}

bool mt_become(Ctx *c, Tensor *t, const Tensor *v) {
  int64_t *dims = NULL;
  if (v->ndim > MT_INLINE_DIMS && !(dims = mt_malloc(2 * sizeof(int64_t) * (size_t)v->ndim))) {
    mt_nomem(c);
    return false;
  }
  if (t->size != t->dims) mt_free(t->size);
  t->size = dims ? dims : t->dims;
  t->stride = t->size + (dims ? v->ndim : MT_INLINE_DIMS);
  memcpy(t->size, v->size, sizeof(int64_t) * v->ndim);
  memcpy(t->stride, v->stride, sizeof(int64_t) * v->ndim);
  v->st->ref++;
  mt_storage_release(t->st);
  t->st = v->st;
  t->ndim = v->ndim; t->numel = v->numel; t->offset = v->offset; t->device = v->device;
  return true;
}

void mt_release(Tensor *t) {
  while (t && --t->ref <= 0) {             /* a view's base may go with it: a loop, not recursion */
    Tensor *base = t->base;
    if (t->ag && mt_ag_free) { t->ref = 1; mt_ag_free(t); }
    mt_storage_release(t->st);
    tensor_recycle(t);
    t = base;
  }
}

bool mt_numel(Ctx *c, IntList size, int64_t *numel) {
  int64_t n = 1;
  bool zero = false;
  for (int64_t i = 0; i < size.n; i++) {
    if (size.v[i] < 0) {
      mt_fail(c, "negative dimension %lld in size %s", (long long)size.v[i], mt_list_str(c, size));
      return false;
    }
    if (size.v[i] == 0) zero = true;
    else if (__builtin_mul_overflow(n, size.v[i], &n) || n > (INT64_MAX >> 8)) {
      n = 1;
      for (int64_t j = 0; j < size.n; j++) zero |= size.v[j] == 0;
      if (zero) break;
      mt_fail(c, "size %s has too many elements", mt_list_str(c, size));
      return false;
    }
  }
  *numel = zero ? 0 : n;
  return true;
}

Tensor *mt_new(Ctx *c, IntList size, DType d, Device dev) {
  int64_t numel;
  if (c->err) return NULL;
  if (size.n > MT_MAXDIM)
    return mt_fail(c, "%lld dimensions are more than the %d supported", (long long)size.n,
                   MT_MAXDIM);
  if (!mt_numel(c, size, &numel)) return NULL;
  Tensor *t = tensor_raw(c, (int)size.n);
  if (!t) return NULL;
  t->dtype = (uint8_t)d;
  t->device = (uint8_t)dev;
  t->numel = numel;
  int64_t acc = 1;
  for (int64_t i = size.n - 1; i >= 0; i--) {
    t->size[i] = size.v[i];
    t->stride[i] = acc;
    acc = (int64_t)((uint64_t)acc * (uint64_t)(size.v[i] > 1 ? size.v[i] : 1)); /* 0 x huge */
  }
  t->st = mt_storage_new(c, numel * (int64_t)mt_dsize(d), dev);
  if (!t->st) { tensor_recycle(t); return NULL; }
  return mt_own(c, t);
}

Tensor *mt_new_like(Ctx *c, const Tensor *t, DType d) {
  return t ? mt_new(c, mt_sizes(t), d, t->device) : NULL;
}

/* Largest and smallest element offset a shape reaches; false on overflow. */
static bool extent(IntList size, IntList stride, int64_t *lo, int64_t *hi) {
  *lo = *hi = 0;
  for (int64_t i = 0; i < size.n; i++) {
    int64_t far;
    if (size.v[i] == 0) { *lo = 0; *hi = -1; return true; }
    if (__builtin_mul_overflow(size.v[i] - 1, stride.v[i], &far)) return false;
    if (__builtin_add_overflow(*(far < 0 ? lo : hi), far, far < 0 ? lo : hi)) return false;
  }
  return true;
}

Tensor *mt_new_strided(Ctx *c, IntList size, IntList stride, DType d, Device dev) {
  int64_t numel, lo, hi, bytes;
  if (c->err || !mt_numel(c, size, &numel)) return NULL;
  if (size.n > MT_MAXDIM)
    return mt_fail(c, "%lld dimensions are more than the %d supported", (long long)size.n,
                   MT_MAXDIM);
  if (!extent(size, stride, &lo, &hi) ||
      __builtin_mul_overflow(hi + 1, (int64_t)mt_dsize(d), &bytes))
    return mt_fail(c, "strides %s for size %s overflow", mt_list_str(c, stride),
                   mt_list_str(c, size));
  Storage *s = mt_storage_new(c, bytes, dev);
  if (!s) return NULL;
  Tensor *t = mt_from_storage(c, s, size, stride, 0, d);
  mt_storage_release(s);
  return t;
}

Tensor *mt_from_storage(Ctx *c, Storage *st, IntList size, IntList stride, int64_t offset,
                        DType d) {
  int64_t numel, lo, hi, end;
  if (c->err || !mt_numel(c, size, &numel)) return NULL;
  if (size.n > MT_MAXDIM)
    return mt_fail(c, "%lld dimensions are more than the %d supported", (long long)size.n,
                   MT_MAXDIM);
  if (size.n != stride.n)
    return mt_fail(c, "size %s and stride %s differ in length", mt_list_str(c, size),
                   mt_list_str(c, stride));
  for (int64_t i = 0; i < stride.n; i++)
    if (stride.v[i] < 0)
      return mt_fail(c, "negative stride %lld; strides must be 0 or more", (long long)stride.v[i]);
  if (offset < 0)
    return mt_fail(c, "storage_offset must be 0 or more, got %lld", (long long)offset);
  if (!extent(size, stride, &lo, &hi) || __builtin_add_overflow(hi, offset, &end) ||
      __builtin_add_overflow(end, 1, &end) ||
      end > INT64_MAX / (int64_t)mt_dsize(d) ||
      (hi >= 0 && end * (int64_t)mt_dsize(d) > st->nbytes))
    return mt_fail(c, "size %s, stride %s, offset %lld need more than the storage's %lld bytes",
                   mt_list_str(c, size), mt_list_str(c, stride), (long long)offset,
                   (long long)st->nbytes);
  Tensor *t = tensor_raw(c, (int)size.n);
  if (!t) return NULL;
  t->dtype = (uint8_t)d;
  t->device = st->device;
  t->numel = numel;
  t->offset = offset;
  if (size.n) {
    memcpy(t->size, size.v, (size_t)size.n * sizeof(int64_t));
    memcpy(t->stride, stride.v, (size_t)size.n * sizeof(int64_t));
  }
  t->st = st;
  st->ref++;
  return mt_own(c, t);
}

/* Trusted: the caller derived the geometry from t's. */
Tensor *mt_view(Ctx *c, Tensor *t, int ndim, const int64_t *size, const int64_t *stride,
                int64_t offset) {
  if (c->err) return NULL;
  if (ndim > MT_MAXDIM)
    return mt_fail(c, "%d dimensions are more than the %d supported", ndim, MT_MAXDIM);
  Tensor *v = tensor_raw(c, ndim);
  if (!v) return NULL;
  v->dtype = t->dtype;
  v->device = t->device;
  v->flags = t->flags & (MT_CONJ | MT_NEG | MT_INFERENCE);
  v->why = t->why;
  v->offset = offset;
  uint64_t n = 1;                            /* beside a size of 0 it may wrap on the way */
  for (int i = 0; i < ndim; i++) {
    v->size[i] = size[i];
    v->stride[i] = stride[i];
    n *= (uint64_t)size[i];
  }
  v->numel = (int64_t)n;
  v->st = t->st;
  v->st->ref++;
  v->base = mt_retain(t->base ? t->base : t);
  return mt_own(c, v);
}

Tensor *mt_alias(Ctx *c, Tensor *t) {
  if (!t || c->err) return NULL;
  Tensor *v = mt_view(c, t, t->ndim, t->size, t->stride, t->offset);
  if (!v) return NULL;
  mt_release(v->base);
  v->base = NULL;
  v->flags |= t->flags & MT_WRAPPED;
  return v;
}

bool mt_is_contiguous(const Tensor *t) {
  if (t->numel == 0) return true;
  int64_t acc = 1;
  for (int i = t->ndim - 1; i >= 0; i--) {
    if (t->size[i] != 1) {
      if (t->stride[i] != acc) return false;
      acc *= t->size[i];
    }
  }
  return true;
}

bool mt_overlaps_itself(const Tensor *t) {
  if (t->numel <= 1) return false;
  for (int i = 0; i < t->ndim; i++) if (t->size[i] > 1 && t->stride[i] == 0) return true;
  return false;
}

bool mt_is_dense(const Tensor *t) {
  int order[MT_MAXDIM], n = 0;
  if (t->numel <= 1) return true;
  for (int i = 0; i < t->ndim; i++) if (t->size[i] != 1) {
    int j = n++;
    while (j > 0 && t->stride[order[j - 1]] > t->stride[i]) { order[j] = order[j - 1]; j--; }
    order[j] = i;
  }
  int64_t acc = 1;
  for (int j = 0; j < n; j++) {
    if (t->stride[order[j]] != acc) return false;
    acc *= t->size[order[j]];
  }
  return true;
}

/* ---- dims and text ---- */
int mt_dim(Ctx *c, int64_t dim, int ndim) {
  int n = ndim ? ndim : 1;
  if (dim < -n || dim >= n) {
    mt_fail_kind(
        c, MT_ERROR,
        "dimension out of range: expected %d to %d for a tensor of %d dimensions, got %lld", -n,
        n - 1, ndim, (long long)dim);
    return -1;
  }
  return (int)(dim < 0 ? dim + n : dim);
}

uint64_t mt_dim_mask(Ctx *c, IntList dims, int ndim) {
  uint64_t m = 0;
  if (ndim > 64) {
    mt_fail(c, "only tensors with up to 64 dims are supported, got %d", ndim);
    return 0;
  }
  if (dims.n <= 0) return ndim == 64 ? ~0ull : (1ull << ndim) - 1;
  for (int64_t i = 0; i < dims.n; i++) {
    int d = mt_dim(c, dims.v[i], ndim);
    if (d < 0) return 0;
    if (m >> d & 1) {
      mt_fail(c, "dim %d appears more than once in the list of dims", d);
      return 0;
    }
    m |= 1ull << d;
  }
  return ndim ? m : 0;
}

static const char *join(Ctx *c, IntList l, const char *open, const char *sep, const char *close) {
  size_t cap = 8 + (size_t)(l.n > 0 ? l.n : 0) * 24, at = 0;
  char *s = mt_tmp(c, cap);
  if (!s) return "?";
  at += (size_t)snprintf(s, cap, "%s", open);
  for (int64_t i = 0; i < l.n; i++)
    at += (size_t)snprintf(s + at, cap - at, "%s%lld", i ? sep : "", (long long)l.v[i]);
  snprintf(s + at, cap - at, "%s", close);
  return s;
}

const char *mt_list_str(Ctx *c, IntList l) { return l.n < 0 ? "None" : join(c, l, "[", ", ", "]"); }
const char *mt_shape_str(Ctx *c, const Tensor *t) {
  return t->ndim ? join(c, mt_sizes(t), "", "x", "") : "scalar";
}

bool mt_broadcast(Ctx *c, int na, const int64_t *a, int nb, const int64_t *b, int *n,
                  int64_t *out) {
  int m = na > nb ? na : nb;
  int64_t tmp[MT_MAXDIM];
  for (int i = 0; i < m; i++) {
    int64_t x = i < na ? a[na - 1 - i] : 1, y = i < nb ? b[nb - 1 - i] : 1;
    if (x != y && x != 1 && y != 1) {
      mt_fail(c,
              "the sizes %s and %s cannot be broadcast together: dimension %d is %lld in one and "
              "%lld in the other",
              mt_list_str(c, mt_il(a, na)), mt_list_str(c, mt_il(b, nb)), m - 1 - i, (long long)x,
              (long long)y);
      return false;
    }
    tmp[m - 1 - i] = x == 1 ? y : x;
  }
  memcpy(out, tmp, sizeof(int64_t) * (size_t)m);
  *n = m;
  return true;
}
