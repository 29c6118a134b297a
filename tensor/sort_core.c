/* sort_core.c: rows in order by radix sort of (key, index) pairs (see sort_core.h). */
#include "sort_core.h"
#include "cpu.h"
#include "kern_order.h"

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
#define NAME(f) CAT(f, RN)

typedef struct { uint64_t key, idx; } Pair64;

#define RN 32
#define P uint64_t                         /* key in the high half, index in the low one */
#define COUNT uint32_t
#define DIGIT(p, shift, mask) ((unsigned)((p) >> (32 + (shift))) & (mask))
#include "radix.inc"
#define RN 64
#define P Pair64
#define COUNT uint64_t
#define DIGIT(p, shift, mask) ((unsigned)((p).key >> (shift)) & (mask))
#include "radix.inc"

static const OrderKern *kern(void) { return MT_AT_LEVEL(&mt_orderkern); }

static int key_bits(Elem e) {
  static const uint8_t bits[] = {1, 8, 8, 16, 32, 64, 17, 17, 32, 64};
  return bits[e];
}
static bool wide(Elem e) { return e == EL_i64 || e == EL_f64; }

/* ---- a sorted row, in either pair type ---- */

typedef struct {
  Elem e;
  int64_t n;
  bool big;                                /* Pair64 */
  void *a, *b, *sorted;                    /* two buffers of n pairs; sorted is one of them */
} Row;

static bool row_open(Row *r, Elem e, int64_t n) {
  r->e = e;
  r->n = n;
  r->big = wide(e) || n > UINT32_MAX;
  r->a = mt_malloc((size_t)n * (r->big ? 32 : 16));
  r->b = r->a ? (char *)r->a + n * (r->big ? 16 : 8) : NULL;
  r->sorted = r->a;
  return r->a != NULL;
}

static void row_close(Row *r) { mt_free(r->a); }
static inline int64_t row_idx(const Row *r, int64_t i) {
  return r->big ? (int64_t)((Pair64 *)r->sorted)[i].idx
                : (int64_t)(uint32_t)((uint64_t *)r->sorted)[i];
}
static inline uint64_t row_key(const Row *r, int64_t i) {
  return r->big ? ((Pair64 *)r->sorted)[i].key : ((uint64_t *)r->sorted)[i] >> 32;
}

typedef struct { Row *r; const void *in; bool desc; } Encode;

static void encode(void *ctx, int64_t lo, int64_t hi) {
  Encode *c = ctx;
  Row *r = c->r;
  KeyFn fn = kern()->keys[r->e];
  size_t size = el_size(r->e);
  union { uint32_t w[1024]; uint64_t d[1024]; } k;
  for (int64_t i = lo; i < hi && !mt_interrupted; i += 1024) {
    int64_t m = hi - i < 1024 ? hi - i : 1024;
    fn((const char *)c->in + (size_t)i * size, m, c->desc, &k);
    if (!r->big)
      for (int64_t j = 0; j < m; j++)
        ((uint64_t *)r->a)[i + j] = (uint64_t)k.w[j] << 32 | (uint64_t)(i + j);
    else for (int64_t j = 0; j < m; j++)
      ((Pair64 *)r->a)[i + j] = (Pair64){wide(r->e) ? k.d[j] : k.w[j], (uint64_t)(i + j)};
  }
}

static void
insertion32(uint64_t *a,
            int64_t n) { /* keys then indices: whole words compare, and that is stable */
  for (int64_t i = 1; i < n; i++) {
    uint64_t v = a[i];
    int64_t p = i;
    for (; p > 0 && a[p - 1] > v; p--) a[p] = a[p - 1];
    a[p] = v;
  }
}

static void insertion64(Pair64 *a, int64_t n) {
  for (int64_t i = 1; i < n; i++) {
    Pair64 v = a[i];
    int64_t p = i;
    for (; p > 0 && a[p - 1].key > v.key; p--) a[p] = a[p - 1];
    a[p] = v;
  }
}

/* Complemented keys of narrow types have all 32 bits set above their own; one sort handles the
 * bits that differ. */
static CoreStatus row_sort(Row *r, const void *in, bool desc, bool parallel) {
  Encode c = {r, in, desc};
  int bits = key_bits(r->e);
  bool pool = parallel && !MT_TOO_LITTLE(r->n, 65536) && mt_num_threads() > 1;
  if (pool) mt_parallel(r->n, 16384, encode, &c);
  else encode(&c, 0, r->n);
  if (mt_interrupted) return CORE_INTERRUPTED;
  r->sorted = r->a;
  if (r->n < 48) {
    if (r->big) insertion64(r->a, r->n);
    else insertion32(r->a, r->n);
    return CORE_OK;
  }
  if (pool && r->big) {
    Pair64 *p = r->a;
    CoreStatus s = radix_parallel_64(&p, r->b, r->n, bits);
    r->sorted = p;
    return s;
  }
  if (pool) {
    uint64_t *p = r->a;
    CoreStatus s = radix_parallel_32(&p, r->b, r->n, bits);
    r->sorted = p;
    return s;
  }
  r->sorted =
      r->big ? (void *)radix_64(r->a, r->b, r->n, bits) : (void *)radix_32(r->a, r->b, r->n, bits);
  return r->sorted ? CORE_OK : CORE_INTERRUPTED;
}

/* ---- values by index ---- */

typedef struct { Elem e; const void *in; const int64_t *idx; void *out; } Gather;

static void gather(void *ctx, int64_t lo, int64_t hi) {
  Gather *g = ctx;
  switch (el_size(g->e)) {
#define CASE(size, T) \
  case size: \
    for (int64_t i = lo; i < hi; i++) ((T *)g->out)[i] = ((const T *)g->in)[g->idx[i]]; \
    break;
    CASE(1, uint8_t) CASE(2, uint16_t) CASE(4, uint32_t) CASE(8, uint64_t)
#undef CASE
  }
}

/* Keys decode to values but for zeros and nans, whose sign and payload lie with the input only. */
typedef struct { Row *r; const void *in; bool desc; void *values; int64_t *index; } Emit;

static void emit_f32(Emit *m, int64_t lo, int64_t hi) {
  const uint64_t *p = m->r->sorted;
  const uint32_t *in = m->in;
  uint32_t flip = m->desc ? ~0u : 0, *v = m->values;
  for (int64_t i = lo; i < hi; i++) {
    uint32_t k = (uint32_t)(p[i] >> 32) ^ flip;
    uint32_t u = k & 0x80000000u ? k ^ 0x80000000u : (0x80000000u - k) | 0x80000000u;
    v[i] = k == 0x80000000u || k == 0xffffffffu ? in[(uint32_t)p[i]] : u;
  }
}

static void emit_piece(Emit *m, int64_t lo, int64_t hi) {
  Row *r = m->r;
  if (m->index) {
    if (r->big)
      for (int64_t i = lo; i < hi; i++) m->index[i] = (int64_t)((Pair64 *)r->sorted)[i].idx;
    else
      for (int64_t i = lo; i < hi; i++) m->index[i] = (int64_t)(uint32_t)((uint64_t *)r->sorted)[i];
  }
  if (!m->values) return;
  if (r->e == EL_f32 && !r->big) { emit_f32(m, lo, hi); return; }
  for (int64_t i = lo; i < hi; i++) {
    int64_t at = row_idx(r, i);
    switch (el_size(r->e)) {
    case 1: ((uint8_t *)m->values)[i] = ((const uint8_t *)m->in)[at]; break;
    case 2: ((uint16_t *)m->values)[i] = ((const uint16_t *)m->in)[at]; break;
    case 4: ((uint32_t *)m->values)[i] = ((const uint32_t *)m->in)[at]; break;
    default: ((uint64_t *)m->values)[i] = ((const uint64_t *)m->in)[at]; break;
    }
  }
}

static void emit(void *ctx, int64_t lo, int64_t hi) {
  for (int64_t i = lo; i < hi && !mt_interrupted; i += 65536)
    emit_piece(ctx, i, hi - i < 65536 ? hi : i + 65536);
}

/* ---- drivers over rows ---- */

/* One job over many rows: each piece of rows owns a Row; the worst status of all pieces is the
 * job's. */
typedef struct Job {
  Elem e;
  const char *in;
  int64_t n, k;
  bool desc, flag, parallel;               /* parallel: the row itself may use the pool */
  char *values;
  int64_t *index;
  CoreStatus (*one)(struct Job *j, Row *r, const void *in, void *values, int64_t *index);
  int64_t wvalues, windex;                 /* outputs a row */
  bool needs_row;
  _Atomic CoreStatus status;
} Job;

static void job_rows(void *ctx, int64_t lo, int64_t hi) {
  Job *j = ctx;
  size_t size = el_size(j->e);
  Row r = {.a = NULL};
  CoreStatus s = !j->needs_row || row_open(&r, j->e, j->n) ? CORE_OK : CORE_NOMEM;
  for (int64_t i = lo; i < hi && s == CORE_OK; i++)
    s = mt_interrupted ? CORE_INTERRUPTED
                       : j->one(j, &r, j->in + (size_t)(i * j->n) * size,
                                j->values ? j->values + (size_t)(i * j->wvalues) * size : NULL,
                                j->index ? j->index + i * j->windex : NULL);
  if (r.a) row_close(&r);
  if (s != CORE_OK) j->status = s;
}

static CoreStatus job_run(Job *j, int64_t rows) {
  int64_t grain = j->n > 0 ? 16384 / j->n + 1 : rows;
  j->status = CORE_OK;
  if (rows == 0) return CORE_OK;
  j->parallel = rows < mt_num_threads();
  if (j->parallel) job_rows(j, 0, rows);
  else mt_parallel(rows, grain, job_rows, j);
  return j->status;
}

static CoreStatus sort_one(Job *j, Row *r, const void *in, void *values, int64_t *index) {
  CoreStatus s = row_sort(r, in, j->desc, j->parallel);
  Emit m = {r, in, j->desc, values, index};
  if (s != CORE_OK) return s;
  if (j->parallel && !MT_TOO_LITTLE(j->n, 65536)) mt_parallel(j->n, 16384, emit, &m);
  else emit(&m, 0, j->wvalues);
  return mt_interrupted ? CORE_INTERRUPTED : s;
}

CoreStatus mt_sort_rows(Elem e, const void *in, int64_t rows, int64_t n, bool desc, void *values,
                        int64_t *index) {
  Job j = {.e = e,
           .in = in,
           .n = n,
           .desc = desc,
           .values = values,
           .index = index,
           .one = sort_one,
           .wvalues = n,
           .windex = n,
           .needs_row = true};
  return n == 0 ? CORE_OK : job_run(&j, rows);
}

/* ---- the first k ---- */

#define SMALL_K 64

static CoreStatus least_one(Job *j, Row *r, const void *in, void *values, int64_t *index) {
  const OrderKern *kn = kern();
  uint64_t top[2 * SMALL_K];
  int64_t have = 0, idx[SMALL_K];
  union { uint32_t w[1024]; uint64_t d[1024]; } key;
  for (int64_t i = 0; i < j->n; i += 1024) {
    int64_t m = j->n - i < 1024 ? j->n - i : 1024;
    kn->keys[j->e]((const char *)in + (size_t)i * el_size(j->e), m, j->desc, &key);
    if (wide(j->e)) kn->least64(key.d, m, i, top, j->k, &have);
    else kn->least32(key.w, m, i, top, j->k, &have);
    if (mt_interrupted) return CORE_INTERRUPTED;
  }
  for (int64_t i = 0; i < j->k; i++) idx[i] = (int64_t)top[2 * i + 1];
  if (index) memcpy(index, idx, (size_t)j->k * sizeof *idx);
  if (values) gather(&(Gather){j->e, in, idx, values}, 0, j->k);
  return CORE_OK;
}

static CoreStatus first_one(Job *j, Row *r, const void *in, void *values, int64_t *index) {
  CoreStatus s = row_sort(r, in, j->desc, j->parallel);
  Emit m = {r, in, j->desc, values, index};
  if (s == CORE_OK) emit(&m, 0, j->k);
  return s;
}

CoreStatus mt_topk_rows(Elem e, const void *in, int64_t rows, int64_t n, int64_t k, bool largest,
                        void *values, int64_t *index) {
  bool small = k <= SMALL_K;
  Job j = {.e = e, .in = in, .n = n, .k = k, .desc = largest, .values = values, .index = index,
           .one = small ? least_one : first_one, .wvalues = k, .windex = k, .needs_row = !small};
  return n == 0 || k == 0 ? CORE_OK : job_run(&j, rows);
}

/* ---- one element by rank ---- */

/* Quickselect as PyTorch does it (median of three, both scans strict), for among equal elements
 * the one it ends on is part of the result. */
#define QUICKSELECT(fname, P, KEY) \
  static bool fname(P *a, int64_t n, int64_t k) { \
    int64_t l = 0, r = n - 1; \
    P t; \
    while (r > l) { \
      if (mt_interrupted) return false; \
      if (r == l + 1) { \
        if (KEY(a[l]) > KEY(a[r])) SWAP(l, r); \
        break; \
      } \
      SWAP(l + (r - l) / 2, l + 1); \
      if (KEY(a[l + 1]) > KEY(a[r])) SWAP(l + 1, r); \
      if (KEY(a[l]) > KEY(a[r])) SWAP(l, r); \
      if (KEY(a[l + 1]) > KEY(a[l])) SWAP(l + 1, l); \
      int64_t i = l + 1, j = r; \
      P pivot = a[l]; \
      for (;;) { \
        do i++; while (KEY(pivot) > KEY(a[i])); \
        do j--; while (KEY(a[j]) > KEY(pivot)); \
        if (j < i) break; \
        SWAP(i, j); \
      } \
      SWAP(l, j); \
      if (j <= k) l = i; \
      if (j >= k) r = j - 1; \
    } \
    return true; \
  }
#define SWAP(x, y) (t = a[x], a[x] = a[y], a[y] = t)
#define KEY32(p) ((p) >> 32)
#define KEY64(p) ((p).key)
QUICKSELECT(quickselect32, uint64_t, KEY32)
QUICKSELECT(quickselect64, Pair64, KEY64)

static CoreStatus kth_one(Job *j, Row *r, const void *in, void *values, int64_t *index) {
  encode(&(Encode){r, in, false}, 0, r->n);
  r->sorted = r->a;
  if (!(r->big ? quickselect64(r->a, r->n, j->k) : quickselect32(r->a, r->n, j->k)))
    return CORE_INTERRUPTED;
  int64_t at = row_idx(r, j->k);
  if (index) *index = at;
  if (values) gather(&(Gather){j->e, in, &at, values}, 0, 1);
  return CORE_OK;
}

CoreStatus mt_kth_rows(Elem e, const void *in, int64_t rows, int64_t n, int64_t k, void *values,
                       int64_t *index) {
  Job j = {.e = e,
           .in = in,
           .n = n,
           .k = k,
           .values = values,
           .index = index,
           .one = kth_one,
           .wvalues = 1,
           .windex = 1,
           .needs_row = true};
  return job_run(&j, rows);
}

static bool is_nan(Elem e, const void *in, int64_t i) {
  switch (e) {
  case EL_f64: return ((const double *)in)[i] != ((const double *)in)[i];
  case EL_f32: return ((const float *)in)[i] != ((const float *)in)[i];
  case EL_f16: return (((const uint16_t *)in)[i] & 0x7fff) > 0x7c00;
  case EL_bf16: return (((const uint16_t *)in)[i] & 0x7fff) > 0x7f80;
  default: return false;
  }
}

static CoreStatus median_one(Job *j, Row *r, const void *in, void *values, int64_t *index) {
  int64_t nans = 0, first = -1;
  if (j->e >= EL_f16)
    for (int64_t i = 0; i < j->n; i++)
      if (is_nan(j->e, in, i)) {
        if (first < 0) first = i;
        nans++;
      }
  if (nans && (!j->flag || nans == j->n)) {
    if (index) *index = first;
    if (values) gather(&(Gather){j->e, in, &first, values}, 0, 1);
    return CORE_OK;
  }
  Job kth = *j;
  kth.k = (j->n - nans - 1) / 2;
  return kth_one(&kth, r, in, values, index);
}

CoreStatus mt_median_rows(Elem e, const void *in, int64_t rows, int64_t n, bool skip_nan,
                          void *values, int64_t *index) {
  Job j = {.e = e,
           .in = in,
           .n = n,
           .flag = skip_nan,
           .values = values,
           .index = index,
           .one = median_one,
           .wvalues = 1,
           .windex = 1,
           .needs_row = true};
  return job_run(&j, rows);
}

/* ---- runs of equal elements ---- */

/* The introsort of the C++ library PyTorch is built with: not stable, and mode's index is the
 * place it leaves the last of the most frequent elements. */
#define INTROSORT(sfx, P, KEY) \
  static void linear_insert_##sfx(P *a, int64_t i) { \
    P v = a[i]; \
    for (; KEY(v) < KEY(a[i - 1]); i--) a[i] = a[i - 1]; \
    a[i] = v; \
  } \
  static void insertion_##sfx(P *a, int64_t lo, int64_t hi) { \
    for (int64_t i = lo + 1; i < hi; i++) { \
      P v = a[i]; \
      if (KEY(v) < KEY(a[lo])) { \
        memmove(a + lo + 1, a + lo, sizeof(P) * (size_t)(i - lo)); \
        a[lo] = v; \
      } else linear_insert_##sfx(a, i); \
    } \
  } \
  static void sift_##sfx(P *a, int64_t hole, int64_t n, P v) { \
    int64_t top = hole, child = hole; \
    while (child < (n - 1) / 2) { \
      child = 2 * (child + 1); \
      if (KEY(a[child]) < KEY(a[child - 1])) child--; \
      a[hole] = a[child]; \
      hole = child; \
    } \
    if (n % 2 == 0 && child == (n - 2) / 2) { \
      child = 2 * (child + 1); \
      a[hole] = a[child - 1]; \
      hole = child - 1; \
    } \
    for (int64_t up = (hole - 1) / 2; hole > top && KEY(a[up]) < KEY(v); up = (hole - 1) / 2) { \
      a[hole] = a[up]; \
      hole = up; \
    } \
    a[hole] = v; \
  } \
  static void heapsort_##sfx(P *a, int64_t n) { \
    for (int64_t i = (n - 2) / 2; n > 1 && i >= 0; i--) sift_##sfx(a, i, n, a[i]); \
    for (int64_t last = n - 1; last > 0; last--) { \
      P v = a[last]; \
      a[last] = a[0]; \
      sift_##sfx(a, 0, last, v); \
    } \
  } \
  static int64_t cut_##sfx(P *a, int64_t lo, int64_t hi) { \
    int64_t x = lo + 1, y = lo + (hi - lo) / 2, z = hi - 1, m, i = lo + 1, j = hi; \
    P t; \
    if (KEY(a[x]) < KEY(a[y])) m = KEY(a[y]) < KEY(a[z]) ? y : KEY(a[x]) < KEY(a[z]) ? z : x; \
    else m = KEY(a[x]) < KEY(a[z]) ? x : KEY(a[y]) < KEY(a[z]) ? z : y; \
    SWAP(lo, m); \
    for (;;) { \
      while (KEY(a[i]) < KEY(a[lo])) i++; \
      j--; \
      while (KEY(a[lo]) < KEY(a[j])) j--; \
      if (!(i < j)) return i; \
      SWAP(i, j); \
      i++; \
    } \
  } \
  static void intro_loop_##sfx(P *a, int64_t lo, int64_t hi, int depth) { \
    while (hi - lo > 16 && !mt_interrupted) { \
      if (depth-- == 0) { \
        heapsort_##sfx(a + lo, hi - lo); \
        return; \
      } \
      int64_t cut = cut_##sfx(a, lo, hi); \
      intro_loop_##sfx(a, cut, hi, depth); \
      hi = cut; \
    } \
  } \
  static void introsort_##sfx(P *a, int64_t n) { \
    intro_loop_##sfx(a, 0, n, 2 * (63 - __builtin_clzll((uint64_t)n))); \
    if (mt_interrupted) return; \
    insertion_##sfx(a, 0, n < 16 ? n : 16); \
    for (int64_t i = 16; i < n; i++) linear_insert_##sfx(a, i); \
  }
INTROSORT(32, uint64_t, KEY32)
INTROSORT(64, Pair64, KEY64)

static CoreStatus mode_one(Job *j, Row *r, const void *in, void *values, int64_t *index) {
  int64_t best = 0, at = 0, start = 0;
  encode(&(Encode){r, in, false}, 0, r->n);
  r->sorted = r->a;
  if (r->big) introsort_64(r->a, r->n);
  else introsort_32(r->a, r->n);
  if (mt_interrupted) return CORE_INTERRUPTED;
  for (int64_t i = 0; i < j->n; i++) {
    bool nan = is_nan(j->e, in, row_idx(r, i));      /* nan equals nothing, itself included */
    if (i + 1 < j->n && !nan && row_key(r, i + 1) == row_key(r, i)) continue;
    if (i + 1 - start > best) best = i + 1 - start, at = row_idx(r, i);
    start = i + 1;
  }
  if (index) *index = at;
  if (values) gather(&(Gather){j->e, in, &at, values}, 0, 1);
  return CORE_OK;
}

CoreStatus mt_mode_rows(Elem e, const void *in, int64_t rows, int64_t n, void *values,
                        int64_t *index) {
  Job j = {.e = e,
           .in = in,
           .n = n,
           .values = values,
           .index = index,
           .one = mode_one,
           .wvalues = 1,
           .windex = 1,
           .needs_row = true};
  return job_run(&j, rows);
}

CoreStatus mt_group_row(Elem e, const void *in, int64_t n, int64_t *order, int64_t *start,
                        int64_t *groups) {
  Row r;
  int64_t g = 0;
  if (!row_open(&r, e, n)) return CORE_NOMEM;
  CoreStatus s = n ? row_sort(&r, in, false, true) : CORE_OK;
  for (int64_t i = 0; i < n && s == CORE_OK; i++) {
    order[i] = row_idx(&r, i);
    if (i == 0 || row_key(&r, i) != row_key(&r, i - 1) || is_nan(e, in, order[i])) start[g++] = i;
  }
  start[g] = n;
  *groups = g;
  row_close(&r);
  return s;
}

/* ---- extrema ---- */

static CoreStatus argext_one(Job *j, Row *r, const void *in, void *values, int64_t *index) {
  int64_t at = (j->desc ? kern()->argmax : kern()->argmin)[j->e](in, j->n);
  if (index) *index = at;
  if (values) gather(&(Gather){j->e, in, &at, values}, 0, 1);
  return CORE_OK;
}

CoreStatus mt_argext_rows(Elem e, const void *in, int64_t rows, int64_t n, bool max, void *values,
                          int64_t *index) {
  Job j = {.e = e,
           .in = in,
           .n = n,
           .desc = max,
           .values = values,
           .index = index,
           .one = argext_one,
           .wvalues = 1,
           .windex = 1};
  return job_run(&j, rows);
}

#define COLS 256 /* columns folded at a time: their extrema stay in cache */
typedef struct {
  Elem e;
  const char *in;
  int64_t n, inner;
  bool max;
  char *values;
  int64_t *index;
} Cols;

static void argext_cols(void *ctx, int64_t lo, int64_t hi) {
  Cols *c = ctx;
  size_t size = el_size(c->e);
  ArgColsFn fn = (c->max ? kern()->argmax_cols : kern()->argmin_cols)[c->e];
  int64_t strips = (c->inner + COLS - 1) / COLS, at[COLS];
  double best[COLS];
  for (int64_t i = lo; i < hi && !mt_interrupted; i++) {
    int64_t o = i / strips, first = i % strips * COLS,
            m = c->inner - first < COLS ? c->inner - first : COLS;
    const char *in = c->in + (size_t)(o * c->n * c->inner + first) * size;
    int64_t to = o * c->inner + first;
    fn(in, c->n, m, c->inner, best, at);
    if (c->index) memcpy(c->index + to, at, (size_t)m * sizeof *at);
    if (!c->values) continue;
    for (int64_t j = 0; j < m; j++)
      memcpy(c->values + (size_t)(to + j) * size, in + (size_t)(at[j] * c->inner + j) * size, size);
  }
}

CoreStatus mt_argext_cols(Elem e, const void *in, int64_t outer, int64_t n, int64_t inner, bool max,
                          void *values, int64_t *index) {
  Cols c = {e, in, n, inner, max, values, index};
  int64_t pieces = outer * ((inner + COLS - 1) / COLS);
  if (inner == 1) return mt_argext_rows(e, in, outer, n, max, values, index);
  mt_parallel(pieces, 16384 / (n * (inner < COLS ? inner : COLS)) + 1, argext_cols, &c);
  return mt_interrupted ? CORE_INTERRUPTED : CORE_OK;
}

/* ---- binary search ---- */

typedef struct {
  Elem e;
  const char *edges, *x;
  const int64_t *sorter;
  int64_t nedge, nx;
  bool shared, right;
  int64_t *out;
} Search;

#define SEARCH(fname, T) \
  static int64_t fname(const T *a, const int64_t *sorter, int64_t n, T v, bool right) { \
    int64_t lo = 0, hi = n; \
    while (lo < hi) { \
      int64_t mid = lo + (hi - lo) / 2; \
      T m = a[sorter ? sorter[mid] : mid]; \
      if (right ? !(m > v) : !(m >= v)) lo = mid + 1; \
      else hi = mid; \
    } \
    return lo; \
  }
SEARCH(search_i64, int64_t)
SEARCH(search_f32, float)
SEARCH(search_f64, double)

static void search(void *ctx, int64_t lo, int64_t hi) {
  Search *s = ctx;
  for (int64_t i = lo; i < hi; i++) {
    int64_t base = s->shared ? 0 : i / s->nx * s->nedge;
    const int64_t *so = s->sorter ? s->sorter + base : NULL;
    if (i % 4096 == 0 && mt_interrupted) return;
    switch (s->e) {
    case EL_i64:
      s->out[i] = search_i64((const int64_t *)s->edges + base, so, s->nedge,
                             ((const int64_t *)s->x)[i], s->right);
      break;
    case EL_f32:
      s->out[i] = search_f32((const float *)s->edges + base, so, s->nedge, ((const float *)s->x)[i],
                             s->right);
      break;
    default:
      s->out[i] = search_f64((const double *)s->edges + base, so, s->nedge,
                             ((const double *)s->x)[i], s->right);
    }
  }
}

CoreStatus mt_searchsorted(Elem e, const void *edges, const int64_t *sorter, int64_t nedge,
                           bool shared, const void *x, int64_t rows, int64_t nx, bool right,
                           int64_t *out) {
  Search s = {e, edges, x, sorter, nedge, nx, shared, right, out};
  mt_parallel(rows * nx, 4096, search, &s);
  return mt_interrupted ? CORE_INTERRUPTED : CORE_OK;
}
