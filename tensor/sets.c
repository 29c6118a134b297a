/* sets.c: kernels of ops_order.def that group, search and count: unique, searchsorted, isin,
 * bincount, histc. */
#include "iter.h"
#include "op.h"
#include "reduce.h"
#include "sort_core.h"
#include <math.h>
#include <string.h>

static bool done(Ctx *c, CoreStatus s) {
  if (s == CORE_NOMEM) mt_nomem(c);
  if (s == CORE_INTERRUPTED) mt_poll(c);
  return s == CORE_OK && !c->err;
}
static Tensor *vec(Ctx *c, int64_t n, DType d) { return mt_new(c, mt_il(&n, 1), d, MT_CPU); }

/* ---- unique ---- */

/* Groups of equal elements: order lists the elements group by group, start where each group
 * begins. */
typedef struct { int64_t n, groups, *order, *start; } Groups;

static bool groups_new(Ctx *c, Groups *g, int64_t n) {
  g->n = n;
  g->groups = 0;
  g->order = mt_tmp(c, sizeof(int64_t) * (size_t)(n + 1));
  g->start = mt_tmp(c, sizeof(int64_t) * (size_t)(n + 1));
  return g->order && g->start;
}

/* The first element of each group, from x with n pieces of `bytes` bytes. */
static void take_first(const Groups *g, const char *x, size_t bytes, char *out) {
  for (int64_t i = 0; i < g->groups; i++)
    memcpy(out + (size_t)i * bytes, x + (size_t)g->order[g->start[i]] * bytes, bytes);
}
static Tensor *inverse_of(Ctx *c, const Groups *g, IntList size) {
  Tensor *t = mt_new(c, size, MT_int64, MT_CPU);
  if (!t) return NULL;
  int64_t *v = mt_data(t);
  for (int64_t i = 0; i < g->groups; i++)
    for (int64_t k = g->start[i]; k < g->start[i + 1]; k++) v[g->order[k]] = i;
  return t;
}
static Tensor *counts_of(Ctx *c, const Groups *g) {
  Tensor *t = vec(c, g->groups, MT_int64);
  for (int64_t i = 0; t && i < g->groups; i++)
    ((int64_t *)mt_data(t))[i] = g->start[i + 1] - g->start[i];
  return t;
}

/* Complex numbers and slices are compared element by element. */
typedef struct { DType d; const char *x; int64_t m; size_t bytes; } Slices;
static int cmp_num(double a, double b) {
  return a < b ? -1 : a > b ? 1 : a == b ? 0 : (a != a) - (b != b) ? (a != a) - (b != b) : 1;
}
static int cmp_slice(const Slices *s, int64_t i, int64_t j) {
  const char *a = s->x + (size_t)i * s->bytes, *b = s->x + (size_t)j * s->bytes;
  size_t size = mt_dsize(s->d);
  for (int64_t k = 0; k < s->m; k++, a += size, b += size) {
    Scalar p = mt_load(a, s->d), q = mt_load(b, s->d);
    int r = p.kind <= K_INT ? (p.i > q.i) - (p.i < q.i) : cmp_num(p.d, q.d);
    if (!r && p.kind == K_COMPLEX) r = cmp_num(p.im, q.im);
    if (r) return r;
  }
  return 0;
}
static void merge_sort(const Slices *s, int64_t *a, int64_t *tmp, int64_t n) {
  for (int64_t w = 1; w < n && !mt_interrupted; w *= 2) {
    for (int64_t lo = 0; lo < n; lo += 2 * w) {
      int64_t mid = lo + w < n ? lo + w : n, hi = lo + 2 * w < n ? lo + 2 * w : n, i = lo, j = mid,
              k = lo;
      while (i < mid || j < hi)
        tmp[k++] = j >= hi || (i < mid && cmp_slice(s, a[i], a[j]) <= 0) ? a[i++] : a[j++];
    }
    memcpy(a, tmp, sizeof *a * (size_t)n);
  }
}
static void groups_adjacent(const Slices *s, Groups *g) {
  for (int64_t i = 0; i < g->n; i++)
    if (i == 0 || cmp_slice(s, g->order[i - 1], g->order[i])) g->start[g->groups++] = i;
  g->start[g->groups] = g->n;
}
static bool group_slices(Ctx *c, const Slices *s, Groups *g, bool sort) {
  for (int64_t i = 0; i < g->n; i++) g->order[i] = i;
  int64_t *tmp = sort ? mt_tmp(c, sizeof *tmp * (size_t)(g->n + 1)) : g->order;
  if (!tmp) return false;
  if (sort) merge_sort(s, g->order, tmp, g->n);
  groups_adjacent(s, g);
  return !mt_poll(c);
}

/* Slices are ordered by their elements in row-major order: dim goes first, the others stay. */
static Tensor *to_front(Ctx *c, Tensor *t, int d) {
  return t_movedim(c, t, mt_il((int64_t[]){d}, 1), mt_il((int64_t[]){0}, 1));
}
static Tensor *from_front(Ctx *c, Tensor *t, int d) {
  return t_movedim(c, t, mt_il((int64_t[]){0}, 1), mt_il((int64_t[]){d}, 1));
}

/* The whole tensor, flattened, or the slices of dim. */
static void unique(Ctx *c, Tensor *s, bool sort, bool inverse, bool counts, int64_t dim, Val *r) {
  Groups g;
  bool flat = dim == MT_NONE_INT;
  int d = flat ? 0 : mt_dim(c, dim, s->ndim);
  r[0].t = r[1].t = r[2].t = NULL;
  if (d < 0) return;
  bool move = !flat && d != 0;
  Tensor *x = mt_contig(c, move ? to_front(c, s, d) : s);
  if (!x) return;
  int64_t n = flat ? x->numel : x->ndim ? x->size[0] : 1;
  if (!flat && n == 0 && x->ndim > 1 && x->numel == 0) {
    for (int i = 1; i < x->ndim; i++)
      if (x->size[i] == 0) {
        mt_fail(
            c,
            "there are 0 sized dimensions, and they aren't selected, so unique cannot be applied");
        return;
      }
  }
  if (!flat && n > 0 && x->numel == 0) {
    mt_fail(c,
            "there are 0 sized dimensions, and they aren't selected, so unique cannot be applied");
    return;
  }
  Slices sl = {(DType)s->dtype, mt_data(x), n ? x->numel / n : 0,
               n ? (size_t)(x->numel / n) * mt_dsize(s->dtype) : 0};
  if (!groups_new(c, &g, n)) return;
  bool ok = flat && sort && !mt_is_complex(s->dtype)
                ? done(c, mt_group_row((Elem)s->dtype, sl.x, n, g.order, g.start, &g.groups))
                : group_slices(c, &sl, &g, sort);
  if (!ok) return;
  int64_t size[MT_MAXDIM] = {g.groups};
  for (int i = 1; !flat && i < x->ndim; i++) size[i] = x->size[i];
  Tensor *out = mt_new(c, mt_il(size, flat || !x->ndim ? 1 : x->ndim), (DType)s->dtype, MT_CPU);
  if (!out) return;
  if (out->numel) take_first(&g, sl.x, sl.bytes, mt_data(out));
  r[0].t = move ? mt_contig(c, from_front(c, out, d)) : out;
  if (inverse) r[1].t = inverse_of(c, &g, flat ? mt_sizes(s) : mt_il(&n, 1));
  if (counts) r[2].t = counts_of(c, &g);
}
void k_unique(Ctx *c, Tensor *s, bool sort, bool inverse, bool counts, int64_t dim, Val *r) {
  unique(c, s, true, inverse, counts, dim, r);
}
/* Runs of the flattened tensor: an element that differs from the one before begins one. */
static void runs(Ctx *c, Tensor *s, bool inverse, bool counts, Val *r) {
  const IntList flat = mt_il((int64_t[]){-1}, 1);
  const int64_t n = s->numel;
  Tensor *x = t_reshape(c, s, flat), *one = mt_wrap(c, mt_si(1));
  Tensor *first = t_ones(c, mt_il(&n, 1), MT_bool, -1, -1, -1, false);
  Tensor *differs = t_ne(c, t_narrow(c, x, 0, 1, n - 1), t_narrow(c, x, 0, 0, n - 1));
  if (!t_copy_(c, t_narrow(c, first, 0, 1, n - 1), differs, false)) return;
  r[0].t = t_masked_select(c, x, first);
  r[1].t = r[2].t = NULL;
  if (inverse)
    r[1].t = t_reshape(c, t_sub(c, t_cumsum(c, first, 0, -1), one, mt_si(1)), mt_sizes(s));
  if (!counts) return;
  Tensor *end = t_full(c, mt_il((int64_t[]){1}, 1), mt_si(n), MT_int64, -1, -1, -1, false);
  r[2].t = t_diff(c, t_reshape(c, t_nonzero(c, first, false), flat), 1, 0, NULL, end);
}
void k_unique_consecutive(Ctx *c, Tensor *s, bool inverse, bool counts, int64_t dim, Val *r) {
  if (dim == MT_NONE_INT && s->numel) { runs(c, s, inverse, counts, r); return; }
  unique(c, s, false, inverse, counts, dim, r);
}

/* ---- search ---- */

static DType search_type(DType d) {
  return mt_is_int(d) ? MT_int64 : d == MT_float64 ? d : MT_float32;
}

static bool search_args(Ctx *c, Tensor *edges, Tensor *x, bool scalar, bool *right,
                        const char *side, Tensor *sorter) {
  if (mt_is_complex(edges->dtype) || mt_is_complex(x->dtype)) {
    mt_fail(c, "complex numbers have no order");
    return false;
  }
  if (side && strcmp(side, "left") && strcmp(side, "right")) {
    mt_fail(c, "side can only be 'left' or 'right' but got %s", side);
    return false;
  }
  if (side && *right && !strcmp(side, "left")) {
    mt_fail(c, "side and right can't be set to opposites, got side of left while right was True");
    return false;
  }
  if (side) *right = !strcmp(side, "right");
  if (edges->ndim == 0) {
    mt_fail(c, "the boundaries must have at least one dimension");
    return false;
  }
  if (edges->ndim != 1 && scalar) {
    mt_fail(c, "a number can be searched for in one row of boundaries only, got %d dimensions",
            edges->ndim);
    return false;
  }
  bool match =
      edges->ndim == 1 || (edges->ndim == x->ndim &&
                           !memcmp(edges->size, x->size, sizeof(int64_t) * (size_t)(x->ndim - 1)));
  if (!match) {
    mt_fail(c, "boundaries %s and input %s must match in all dimensions but the last",
            mt_shape_str(c, edges), mt_shape_str(c, x));
    return false;
  }
  if (!sorter) return true;
  if (sorter->ndim != edges->ndim ||
      memcmp(sorter->size, edges->size, sizeof(int64_t) * (size_t)edges->ndim)) {
    mt_fail(c, "boundary and sorter must have the same size");
    return false;
  }
  if (sorter->dtype != MT_int64) {
    mt_fail(c, "sorter must be a tensor of dtype int64, got %s", mt_dtypes[sorter->dtype].name);
    return false;
  }
  return true;
}

static Tensor *search(Ctx *c, Tensor *edges, Tensor *x, bool int32, bool right, Tensor *sorter) {
  int64_t n = edges->size[edges->ndim - 1], nx = x->ndim ? x->size[x->ndim - 1] : 1;
  DType d = search_type(mt_promote((DType)edges->dtype, (DType)x->dtype));
  Tensor *e = mt_contig_as(c, edges, d), *v = mt_contig_as(c, x, d),
         *so = sorter ? mt_contig(c, sorter) : NULL;
  Tensor *out = mt_new(c, mt_sizes(x), MT_int64, MT_CPU);
  if (c->err) return NULL;
  const int64_t *order = so ? mt_data(so) : NULL;
  for (int64_t i = 0; order && i < so->numel; i++)
    if (order[i] < 0 || order[i] >= n) return mt_fail(c, "sorter index out of range");
  bool shared = edges->ndim == 1;
  if (x->numel && !done(c, mt_searchsorted((Elem)d, mt_data(e), order, n, shared, mt_data(v),
                                           x->numel / nx, nx, right, mt_data(out))))
    return NULL;
  return int32 ? mt_cast(c, out, MT_int32) : out;
}
Tensor *k_searchsorted(Ctx *c, Tensor *edges, Tensor *x, bool int32, bool right, const char *side,
                       Tensor *sorter) {
  if (!search_args(c, edges, x, false, &right, side, sorter)) return NULL;
  if (edges->dtype != x->dtype && x->ndim > 0)
    return mt_fail(
        c, "boundary tensor and input value tensor should have same dtype, but got %s and %s",
        mt_dtypes[edges->dtype].name, mt_dtypes[x->dtype].name);
  return search(c, edges, x, int32, right, sorter);
}
Tensor *k_searchsorted_Scalar(Ctx *c, Tensor *edges, Scalar v, bool int32, bool right,
                              const char *side, Tensor *sorter) {
  Tensor *x = mt_wrap(c, v);
  return x && search_args(c, edges, x, true, &right, side, sorter)
             ? search(c, edges, x, int32, right, sorter)
             : NULL;
}
Tensor *k_bucketize(Ctx *c, Tensor *x, Tensor *edges, bool int32, bool right) {
  if (edges->ndim != 1)
    return mt_fail(c, "boundaries tensor must be 1 dimension, but got dim(%d)", edges->ndim);
  return search_args(c, edges, x, false, &right, NULL, NULL)
             ? search(c, edges, x, int32, right, NULL)
             : NULL;
}
Tensor *k_bucketize_Scalar(Ctx *c, Scalar v, Tensor *edges, bool int32, bool right) {
  Tensor *x = mt_wrap(c, v);
  return x ? k_bucketize(c, x, edges, int32, right) : NULL;
}

/* ---- membership: sorted test elements, searched ---- */

/* A set of numbers by their bits: those close together as flags, others in a hash table of twice
 * their count (a slot holds a place in the set + 1).  Both zeros are one number, nan is in no set.
 */
typedef struct {
  const uint64_t *x, *set;
  uint8_t *o, *seen;
  int64_t *slot;
  int64_t low, span;
  int shift;
  bool real, invert;
} Members;

static inline uint64_t member_bits(uint64_t v, bool real) {
  return real && v == 1ull << 63 ? 0 : v;
}
static inline bool member_is_nan(uint64_t v) { return v << 1 > 0xffe0000000000000u; }
static inline uint64_t member_place(const Members *m, uint64_t v) {
  return v * 0x9e3779b97f4a7c15u >> m->shift;
}
static inline uint64_t member_next(const Members *m, uint64_t p) {
  return (p + 1) & (((uint64_t)1 << (64 - m->shift)) - 1);
}

static bool members_of(Members *m, const uint64_t *set, int64_t n) {
  int64_t low = INT64_MAX, high = INT64_MIN;
  for (int64_t i = 0; i < n; i++) {
    int64_t v = (int64_t)set[i];
    if (v < low) low = v;
    if (v > high) high = v;
  }
  m->set = set;
  uint64_t span = n ? (uint64_t)high - (uint64_t)low : 0;
  if (!m->real && span < 65536 + 8 * (uint64_t)n) {
    m->low = n ? low : 0;
    m->span = (int64_t)span + 1;
    m->seen = mt_calloc((size_t)m->span);
    for (int64_t i = 0; m->seen && i < n; i++) m->seen[(int64_t)set[i] - low] = 1;
    return m->seen != NULL;
  }
  int bits = 4;
  while ((int64_t)1 << bits < 2 * n) bits++;
  m->shift = 64 - bits;
  m->slot = mt_calloc(sizeof *m->slot << bits);
  for (int64_t i = 0; m->slot && i < n; i++) {
    uint64_t v = member_bits(set[i], m->real), p = member_place(m, v);
    if (m->real && member_is_nan(v)) continue;
    while (m->slot[p] && member_bits(set[m->slot[p] - 1], m->real) != v) p = member_next(m, p);
    if (!m->slot[p]) m->slot[p] = i + 1;
  }
  return m->slot != NULL;
}
static void member_near(void *ctx, int64_t lo, int64_t hi) {
  const Members *m = ctx;
  for (int64_t i = lo; i < hi; i++) {
    uint64_t at = m->x[i] - (uint64_t)m->low;
    bool in = at < (uint64_t)m->span;
    m->o[i] = (in & m->seen[in ? at : 0]) != m->invert;
  }
}
static void member_hashed(void *ctx, int64_t lo, int64_t hi) {
  const Members *m = ctx;
  for (int64_t i = lo; i < hi; i++) {
    uint64_t v = member_bits(m->x[i], m->real), p = member_place(m, v);
    int64_t k;
    while ((k = m->slot[p]) && member_bits(m->set[k - 1], m->real) != v) p = member_next(m, p);
    m->o[i] = (k != 0) != m->invert;
  }
}
Tensor *k_isin(Ctx *c, Tensor *x, Tensor *set, bool assume_unique, bool invert) {
  DType p = mt_promote((DType)x->dtype, (DType)set->dtype);
  if (mt_is_complex(p)) return mt_fail(c, "isin is not defined for complex numbers");
  DType d = mt_is_int(p) ? MT_int64 : MT_float64;
  Tensor *e = mt_contig_as(c, t_reshape(c, set, mt_il((const int64_t[]){-1}, 1)), d),
         *v = mt_contig_as(c, x, d);
  if (p != MT_float64 && d == MT_float64) { /* numbers are compared in the common dtype */
    e = mt_contig_as(c, mt_cast(c, e, p), d);
    v = mt_contig_as(c, mt_cast(c, v, p), d);
  }
  Tensor *out = mt_new(c, mt_sizes(x), MT_bool, MT_CPU);
  if (c->err) return NULL;
  Members m = {.x = mt_data(v), .o = mt_data(out), .real = d == MT_float64, .invert = invert};
  bool ok = members_of(&m, mt_data(e), e->numel);
  if (ok) mt_parallel(x->numel, 16384, m.seen ? member_near : member_hashed, &m);
  mt_free(m.seen);
  mt_free(m.slot);
  return !ok ? mt_nomem(c) : mt_poll(c) ? NULL : out;
}
Tensor *k_isin_Tensor_Scalar(Ctx *c, Tensor *x, Scalar v, bool unique_, bool invert) {
  Tensor *t = mt_wrap(c, v);
  return t ? k_isin(c, x, t, unique_, invert) : NULL;
}
Tensor *k_isin_Scalar_Tensor(Ctx *c, Scalar v, Tensor *set, bool unique_, bool invert) {
  Tensor *t = mt_wrap(c, v);
  return t ? k_isin(c, t, set, unique_, invert) : NULL;
}

/* ---- counting ---- */

/* Four tables in turn, where they are small: counts of equal neighbours do not wait for each
 * other. */
static void count_values(Ctx *c, const int64_t *v, int64_t many, int64_t n, int64_t *out) {
  enum { TABLES = 4, SMALL = 4096 };
  bool small = n <= SMALL && many >= TABLES * n;
  int64_t *t = small ? mt_tmp(c, sizeof *t * (size_t)(TABLES * n)) : NULL, i = 0;
  if (t) {
    memset(t, 0, sizeof *t * (size_t)(TABLES * n));
    for (; i + TABLES <= many; i += TABLES)
      for (int k = 0; k < TABLES; k++) t[k * n + v[i + k]]++;
    for (int64_t k = 0; k < TABLES * n; k++) out[k % n] += t[k];
  }
  for (; i < many; i++) out[v[i]]++;
}

Tensor *k_bincount(Ctx *c, Tensor *s, Tensor *weights, int64_t least) {
  if (s->ndim != 1 || !mt_is_int(s->dtype) || s->dtype == MT_bool)
    return mt_fail(c, "bincount only supports 1-d non-negative integral inputs");
  if (least < 0) return mt_fail(c, "minlength should be >= 0");
  if (weights && (weights->ndim != 1 || weights->numel != s->numel))
    return mt_fail(c, "weights should be 1-d and have the same length as input");
  if (weights && mt_is_complex(weights->dtype)) return mt_fail(c, "weights must be real");
  Tensor *x = mt_contig_as(c, s, MT_int64);
  DType d = !weights ? MT_int64 : weights->dtype == MT_float32 ? MT_float32 : MT_float64;
  Tensor *w = weights ? mt_contig_as(c, weights, d) : NULL;
  if (c->err) return NULL;
  const int64_t *v = mt_data(x);
  int64_t n = least, lo = 0, hi = -1;
  if (s->numel) {
    Tensor *a = mt_reduce(c, R_min, x, 1, false, MT_int64),
           *b = mt_reduce(c, R_max, x, 1, false, MT_int64);
    if (!a || !b) return NULL;
    lo = *(int64_t *)mt_data(a);
    hi = *(int64_t *)mt_data(b);
  }
  if (lo < 0) return mt_fail(c, "bincount only supports 1-d non-negative integral inputs");
  if (hi > INT64_MAX / 16)
    return mt_fail(c, "bincount's result for the value %lld is too large", (long long)hi);
  if (hi >= n) n = hi + 1;
  Tensor *out = t_zeros(c, mt_il(&n, 1), d, -1, -1, -1, false);
  if (!out) return NULL;
  void *o = mt_data(out);
  if (d == MT_int64) count_values(c, v, s->numel, n, o);
  else if (d == MT_float32) {
    const float *by = mt_data(w);
    for (int64_t i = 0; i < s->numel; i++) ((float *)o)[v[i]] += by[i];
  } else {
    const double *by = mt_data(w);
    for (int64_t i = 0; i < s->numel; i++) ((double *)o)[v[i]] += by[i];
  }
  return out;
}

Tensor *k_histc(Ctx *c, Tensor *s, int64_t bins, Scalar min, Scalar max) {
  if (!mt_is_float(s->dtype))
    return mt_fail(c, "histc is not implemented for %s", mt_dtypes[s->dtype].name);
  if (bins <= 0) return mt_fail(c, "bins must be > 0, but got %lld", (long long)bins);
  Tensor *x = mt_contig_as(c, s, MT_float64),
         *out = x ? t_zeros(c, mt_il(&bins, 1), s->dtype, -1, -1, -1, false) : NULL;
  int64_t *count = mt_tmp(c, sizeof *count * (size_t)bins);
  double lo = mt_sre(min), hi = mt_sre(max);
  if (!out || !count) return NULL;
  const double *v = mt_data(x);
  memset(count, 0, sizeof *count * (size_t)bins);
  if (lo > hi) return mt_fail(c, "max must be larger than min, got min %g and max %g", lo, hi);
  if (lo == hi && s->numel) {
    lo = hi = v[0];
    for (int64_t i = 1; i < s->numel; i++) {
      if (v[i] < lo || isnan(v[i])) lo = v[i];
      if (v[i] > hi || isnan(v[i])) hi = v[i];
    }
  }
  if (lo == hi) { lo -= 1; hi += 1; }
  if (!isfinite(lo) || !isfinite(hi)) return mt_fail(c, "range of [%g, %g] is not finite", lo, hi);
  for (int64_t i = 0; i < s->numel; i++) {
    if (!(v[i] >= lo && v[i] <= hi)) continue;
    double at = s->dtype == MT_float64
                    ? (v[i] - lo) / (hi - lo) * (double)bins
                    : ((float)v[i] - (float)lo) / ((float)hi - (float)lo) * (float)bins;
    count[at >= (double)bins ? bins - 1 : at > 0 ? (int64_t)at : 0]++; /* nan of a range too wide */
  }
  for (int64_t i = 0; i < bins; i++)
    mt_store((char *)mt_data(out) + (size_t)i * mt_dsize(out->dtype), (DType)out->dtype,
             mt_sd((double)count[i]));
  return out;
}
