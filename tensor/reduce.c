/* reduce.c: the driver of reductions: see reduce.h.
 *
 * The kept and the reduced dimensions are sorted by stride and merged, so that the memory's order
 * and not the dimensions' decides.  Then one of two plans: rows (a reduced dimension is innermost)
 * or columns (a kept one is, or an inner reduced one is so short that it is better kept and folded
 * in the end: the group).  Units of work are tiles of kept elements, or pieces of a long reduction
 * where there are few of those. */
#include "reduce.h"
#include "cpu.h"
#include "iter.h"
#include <math.h>
#include <string.h>

extern const RedLoops mt_red_base[R_COUNT][RD_COUNT];
extern const RedEndFn mt_red_end_base[RE_COUNT];
#if defined(__x86_64__)
extern const RedLoops mt_red_avx2[R_COUNT][RD_COUNT], mt_red_avx512[R_COUNT][RD_COUNT];
extern const RedEndFn mt_red_end_avx2[RE_COUNT], mt_red_end_avx512[RE_COUNT];
#endif

static const RedLoops *loops(RedKind k) { return MT_AT_LEVEL(mt_red)[k]; }
static RedEndFn end_of(RedEnd e) { return MT_AT_LEVEL(mt_red_end)[e]; }

static const DType rd_dtype[RD_COUNT] = {MT_int64,   MT_bfloat16,  MT_float16,   MT_float32,
                                         MT_float64, MT_complex64, MT_complex128};
static int rd_of(DType d) {
  for (int i = 1; i < RD_COUNT; i++) if (rd_dtype[i] == d) return i;
  return RD_i64;
}

int mt_reduced_shape(const Tensor *x, uint64_t mask, bool keepdim, int64_t *shape) {
  int n = 0;
  for (int i = 0; i < x->ndim; i++) {
    bool red = mask >> i & 1;
    if (!red) shape[n++] = x->size[i];
    else if (keepdim) shape[n++] = 1;
  }
  return n;
}

/* ---- dimensions ---- */

typedef struct { int64_t size, stride, out; } Dim; /* out: the result's stride */
/* Never empty; the last is the fastest. */
typedef struct { int n; int64_t numel; Dim d[MT_MAXDIM]; } Dims;

static void add_dim(Dims *s, int64_t size, int64_t stride, int64_t out) {
  s->numel *= size;
  if (size != 1) s->d[s->n++] = (Dim){size, stride, out};
}
static bool outside(Dim a, Dim b) {                /* is a the slower one?  Repeats are slowest. */
  return b.stride && (!a.stride || a.stride > b.stride);
}
static void sort_dims(Dims *s) {
  for (int i = 1; i < s->n; i++)
    for (int k = i; k > 0 && outside(s->d[k], s->d[k - 1]); k--) {
      Dim t = s->d[k];
      s->d[k] = s->d[k - 1];
      s->d[k - 1] = t;
    }
}
static void merge_dims(Dims *s) {
  int n = 0;
  for (int i = 0; i < s->n; i++) {
    Dim b = s->d[i], *a = &s->d[n - 1];
    if (n && a->stride == b.size * b.stride && a->out == b.size * b.out)
      *a = (Dim){a->size * b.size, b.stride, b.out};
    else s->d[n++] = b;
  }
  if (!n) s->d[n++] = (Dim){1, 1, 1};
  s->n = n;
}
static void split(const Tensor *x, uint64_t mask, bool sorted, Dims *kept, Dims *red) {
  int64_t out = 1;
  for (int i = 0; i < x->ndim; i++) if (!(mask >> i & 1)) out *= x->size[i];
  kept->n = red->n = 0;
  kept->numel = red->numel = 1;
  for (int i = 0; i < x->ndim; i++)
    if (mask >> i & 1) add_dim(red, x->size[i], x->stride[i], 0);
    else add_dim(kept, x->size[i], x->stride[i], out /= x->size[i] ? x->size[i] : 1);
  if (sorted) { sort_dims(kept); sort_dims(red); }
  merge_dims(kept);
  merge_dims(red);
}

static int64_t offset_of(const Dims *s, int n, int64_t i) {
  int64_t o = 0;
  for (int k = n - 1; k > 0; k--) { o += i % s->d[k].size * s->d[k].stride; i /= s->d[k].size; }
  return n ? o + i * s->d[0].stride : 0;
}

/* ---- jobs ---- */

enum { BUF = 1024, COLBUF = 1 << 16, TILE = MT_RED_COLS, WORK = MT_CUT_ALL ? 512 : 32768,
       GROUP = 64 };
typedef struct {
  const RedLoops *f;
  Dims kept, red;
  const char *x;
  DType have, want;                                /* in memory, as the loops take it */
  int64_t es, ws;                                  /* their sizes */
  bool cols;
  int64_t group;   /* columns per kept element, neighbours; 1 but for short inner reductions */
  int64_t tile;    /* kept elements per unit */
  int64_t run;     /* tiles do not cross multiples of this many kept elements */
  int64_t tiles, pieces, chunk;                    /* chunk: reduced elements per piece */
  RVal init[3];
  bool wide;                                       /* accumulators of more than one number */
  RVal *acc;                                       /* [pieces][3][kept] when several pieces */
  DType store;                                     /* of the values made from accumulators */
  double par;
  RedEndFn end;
  Tensor *out;
} Job;

static RAcc planes(RVal *v, int64_t n) { return (RAcc){v, v + n, v + 2 * n}; }
static RAcc from(RAcc a, int64_t i) { return (RAcc){a.d + i, a.e + i, a.n + i}; }
static void fill(RVal *a, RVal v, int64_t n) {
  if (v.i == 0) memset(a, 0, sizeof *a * (size_t)n);
  else for (int64_t i = 0; i < n; i++) a[i] = v;
}
static void start(const Job *j, RAcc a, int64_t n) {
  fill(a.d, j->init[0], n);
  if (!j->wide) return;
  fill(a.e, j->init[1], n);
  fill(a.n, j->init[2], n);
}

static void cast_to(const Job *j, char *to, const char *p, int64_t stride, int64_t n) {
  mt_cast_loop(j->want, j->have)((char *[]){to, (char *)p}, (int64_t[]){j->ws, stride * j->es}, n,
                                 NULL);
}

/* `rows` rows of n elements st apart, which the loops cannot take as they lie. */
static void gather_rows(const Job *j, const char *p, int64_t rows, int64_t rs, int64_t n,
                        int64_t st, RAcc acc) {
  _Alignas(64) char buf[BUF * 16];
  if (rs == n && st == 1 && n <= BUF / 2) {
    for (int64_t k = BUF / n, r = 0; r < rows; r += k) {
      if (k > rows - r) k = rows - r;
      cast_to(j, buf, p + r * n * j->es, 1, k * n);
      j->f->rows(buf, k, n, n, from(acc, r));
    }
    return;
  }
  for (int64_t r = 0; r < rows; r++)
    for (int64_t d = 0; d < n; d += BUF) {
      int64_t m = n - d < BUF ? n - d : BUF;
      cast_to(j, buf, p + (r * rs + d * st) * j->es, st, m);
      j->f->rows(buf, 1, 0, m, from(acc, r));
    }
}
/* The reduced elements lo..hi of `rows` kept elements that lie rs apart. */
static void fold_rows(const Job *j, const char *x, int64_t rows, int64_t rs, int64_t lo, int64_t hi,
                      RAcc acc) {
  int last = j->red.n - 1;
  int64_t n0 = j->red.d[last].size, st = j->red.d[last].stride;
  bool direct = j->have == j->want && (st == 1 || n0 == 1);
  for (int64_t n; lo < hi; lo += n) {
    int64_t in = lo % n0;
    n = n0 - in < hi - lo ? n0 - in : hi - lo;
    const char *p = x + (offset_of(&j->red, last, lo / n0) + in * st) * j->es;
    if (direct) j->f->rows(p, rows, rs, n, acc);
    else gather_rows(j, p, rows, rs, n, st, acc);
  }
}

static void gather_cols(const Job *j, const char *p, int64_t n, int64_t st, int64_t rows,
                        int64_t rs, RAcc acc) {
  _Alignas(64) char buf[COLBUF];
  int64_t k = COLBUF / (n * j->ws);
  for (int64_t r = 0; r < rows; r += k) {
    if (k > rows - r) k = rows - r;
    if (rs == n && st == 1) cast_to(j, buf, p + r * rs * j->es, 1, k * n);
    else
      for (int64_t i = 0; i < k; i++)
        cast_to(j, buf + i * n * j->ws, p + (r + i) * rs * j->es, st, n);
    j->f->col(buf, n, k, n, acc);
  }
}
static void cols_run(const Job *j, const char *p, int64_t n, int64_t st, int64_t rows, int64_t rs,
                     RAcc acc) {
  if (j->have == j->want && st == 1) j->f->col(p, n, rows, rs, acc);
  else gather_cols(j, p, n, st, rows, rs, acc);
}
/* Narrow rows without gaps: as many beside each other as fit, met in the end. */
static void cols_wide(const Job *j, const char *p, int64_t n, int64_t rows, RAcc acc) {
  RVal space[3 * MT_RED_COLS];
  RAcc wide = planes(space, MT_RED_COLS);
  int64_t k = MT_RED_COLS / n, whole = rows / k * k;
  start(j, wide, k * n);
  cols_run(j, p, k * n, 1, rows / k, k * n, wide);
  for (int64_t i = 0; i < k; i++) j->f->join(acc, 1, from(wide, i * n), n);
  if (whole < rows) cols_run(j, p + whole * n * j->es, n, 1, rows - whole, n, acc);
}
/* The reduced elements lo..hi of n columns st apart. */
static void fold_cols(const Job *j, const char *x, int64_t n, int64_t st, int64_t lo, int64_t hi,
                      RAcc acc) {
  int last = j->red.n - 1;
  int64_t n0 = j->red.d[last].size, rs = j->red.d[last].stride;
  for (int64_t m; lo < hi; lo += m) {
    int64_t in = lo % n0;
    m = n0 - in < hi - lo ? n0 - in : hi - lo;
    const char *p = x + (offset_of(&j->red, last, lo / n0) + in * rs) * j->es;
    if (rs == n && st == 1 && n <= MT_RED_COLS / 4 && m >= 16 * MT_RED_COLS / n)
      cols_wide(j, p, n, m, acc);
    else cols_run(j, p, n, st, m, rs, acc);
  }
}

/* The kept elements k0..k1, within one run, over the reduced elements lo..hi. */
static void fold_tile(const Job *j, int64_t k0, int64_t k1, int64_t lo, int64_t hi, RAcc acc) {
  int64_t n = k1 - k0, st = j->kept.d[j->kept.n - 1].stride;
  const char *x = j->x + offset_of(&j->kept, j->kept.n, k0) * j->es;
  start(j, acc, n);
  if (lo >= hi) return;
  if (!j->cols) fold_rows(j, x, n, st, lo, hi, acc);
  else if (j->group == 1) fold_cols(j, x, n, st, lo, hi, acc);
  else {
    RVal space[3 * MT_RED_COLS];
    RAcc part = planes(space, MT_RED_COLS);
    start(j, part, n * j->group);
    fold_cols(j, x, n * j->group, 1, lo, hi, part);
    for (int64_t i = 0; i < n; i++)
      j->f->join(from(acc, i), 0, from(part, i * j->group), j->group);
  }
}

/* Results k0..k1 from their accumulators, which are used up. */
static void store(const Job *j, int64_t k0, int64_t k1, RAcc acc) {
  const Dims *s = &j->kept;
  RVal pairs[2 * TILE];
  int64_t n = k1 - k0, o = 0, i = k0;
  for (int k = s->n - 1; k >= 0; k--) { o += i % s->d[k].size * s->d[k].out; i /= s->d[k].size; }
  if (j->end) j->end(acc, n, j->par);
  if (j->store == MT_complex128)
    for (i = 0; i < n; i++) { pairs[2 * i] = acc.d[i]; pairs[2 * i + 1] = acc.e[i]; }
  DType d = (DType)j->out->dtype;
  int64_t es = (int64_t)mt_dsize(d);
  char *from_ = (char *)(j->store == MT_complex128 ? pairs : acc.d);
  mt_cast_loop(d, j->store)((char *[]){(char *)mt_data(j->out) + o * es, from_},
                            (int64_t[]){s->d[s->n - 1].out * es, (int64_t)mt_dsize(j->store)}, n,
                            NULL);
}

static int64_t tile_at(const Job *j, int64_t u, int64_t *end) {
  int64_t per = (j->run + j->tile - 1) / j->tile, k0 = u / per * j->run + u % per * j->tile,
          stop = (u / per + 1) * j->run;
  *end = k0 + j->tile < stop ? k0 + j->tile : stop;
  return k0;
}
static RAcc piece(const Job *j, int64_t i) {
  return planes(j->acc + i * 3 * j->kept.numel, j->kept.numel);
}
static void units(void *ctx, int64_t lo, int64_t hi) {
  const Job *j = ctx;
  RVal space[3 * TILE];
  RAcc acc = planes(space, TILE);
  for (int64_t u = lo; u < hi && !mt_interrupted; u++) {
    int64_t k1, k0 = tile_at(j, u / j->pieces, &k1), a = u % j->pieces * j->chunk,
                b = a + j->chunk < j->red.numel ? a + j->chunk : j->red.numel;
    if (j->pieces > 1) fold_tile(j, k0, k1, a, b, from(piece(j, u % j->pieces), k0));
    else {
      fold_tile(j, k0, k1, a, b, acc);
      store(j, k0, k1, acc);
    }
  }
}

static void identity(RedKind k, bool i, double par, RVal *init) {
  init[0].i = init[1].i = init[2].i = 0;
  switch (k) {
    case R_prod: case R_all: if (i) init->i = 1; else init->d = 1; break;
    case R_max: if (i) init->i = INT64_MIN; else init->d = -INFINITY; break;
    case R_min: if (i) init->i = INT64_MAX; else init->d = INFINITY; break;
    case R_absmin: init->d = INFINITY; break;
    case R_lse: init->d = -INFINITY; break;
    case R_sumpow: init[2].d = par; break;
    default: break;
  }
}

/* Which of the two plans, from the fastest dimensions. */
static void plan(Job *j) {
  Dims *k = &j->kept, *r = &j->red;
  Dim kd = k->d[k->n - 1], rd = r->d[r->n - 1];
  j->group = 1;
  j->cols = k->numel > 1 && kd.stride && (!rd.stride || kd.stride < rd.stride || rd.size == 1);
  if (!j->cols && rd.stride == 1 && rd.size > 1 && rd.size <= GROUP && r->n > 1 &&
      r->numel >= 32 * rd.size && (k->numel == 1 || kd.stride == rd.size)) {
    j->cols = true;
    j->group = rd.size;
    r->n--;
    r->numel /= rd.size;
  }
  int64_t work = r->numel * j->group;
  j->run = kd.size;
  j->tile = j->cols ? MT_RED_COLS / j->group : 1 + WORK / (work + 1);
  if (j->tile > TILE) j->tile = TILE;
  if (j->group == 1 && j->cols && j->run > j->tile) { /* strips of about the same width */
    int64_t strips = (j->run + j->tile - 1) / j->tile;
    j->tile = ((j->run + strips - 1) / strips + 15) / 16 * 16;
  }
  j->tiles = k->numel / j->run * ((j->run + j->tile - 1) / j->tile);
  /* Few tiles over many elements: the reduction is cut, at places the shape alone decides. */
  int64_t per = j->tile < j->run ? j->tile : j->run, step = j->cols ? 64 : BUF,
          chunk = 4 * WORK / (per * j->group) + 1;
  if (chunk < r->numel / 128) chunk = r->numel / 128;
  chunk = (chunk + step - 1) / step * step;
  if (j->tiles >= 16 || r->numel < 2 * chunk) chunk = r->numel;
  j->chunk = chunk;
  j->pieces = chunk ? (r->numel + chunk - 1) / chunk : 1;
}

static bool run(Ctx *c, Job *j) {
  int64_t n = j->tiles * j->pieces, size = j->kept.numel * j->red.numel * j->group / (n ? n : 1),
          kept = j->kept.numel;
  if (n == 1) units(j, 0, 1);
  else if (j->pieces == 1) mt_parallel(n, WORK / (size + 1) + 1, units, j);
  else {
    j->acc = mt_malloc(3 * sizeof(RVal) * (size_t)(kept * j->pieces));
    if (!j->acc) { mt_nomem(c); return false; }
    mt_parallel(n, WORK / (size + 1) + 1, units, j);
    for (int64_t w = 1; w < j->pieces; w *= 2)     /* pairwise over the fixed pieces */
      for (int64_t i = 0; i + w < j->pieces; i += 2 * w)
        j->f->join(piece(j, i), 1, piece(j, i + w), kept);
    for (int64_t u = 0, k1; u < j->tiles; u++) {
      int64_t k0 = tile_at(j, u, &k1);
      store(j, k0, k1, from(piece(j, 0), k0));
    }
    mt_free(j->acc);
  }
  return !mt_poll(c);
}

Tensor *mt_reduce_as(Ctx *c, RedKind k, Tensor *x, uint64_t mask, bool keepdim, DType out,
                     double par, RedEnd end) {
  int64_t shape[MT_MAXDIM];
  if (c->err) return NULL;
  int nd = mt_reduced_shape(x, mask, keepdim, shape), rd = rd_of((DType)x->dtype);
  Job j;
  if (!(j.out = mt_new(c, mt_il(shape, nd), out, MT_CPU)) || !j.out->numel) return j.out;
  split(x, mask, true, &j.kept, &j.red);
  plan(&j);
  const RedLoops *table = loops(k);
  bool half = rd == RD_bf16 || rd == RD_f16;
  if (half && (!table[rd].rows || (j.cols && !table[rd].col))) rd = RD_f32;
  if (out == MT_float64 && rd >= RD_bf16 && rd < RD_f64) rd = RD_f64; /* adds what it returns */
  if (out == MT_complex128) rd = RD_c128;
  j.f = &table[rd];
  if (!j.f->rows) return mt_fail(c, "not implemented for '%s'", mt_type_word((DType)x->dtype));
  j.x = mt_data(x);
  j.have = (DType)x->dtype;
  j.want = rd_dtype[rd];
  j.es = (int64_t)mt_dsize(j.have);
  j.ws = (int64_t)mt_dsize(j.want);
  identity(k, rd == RD_i64, par, j.init);
  j.wide = rd >= RD_c64 || k >= R_sumpow;
  bool parts = rd >= RD_c64 && (k == R_sum || k == R_prod);
  j.store = end ? MT_float64 : rd == RD_i64 ? MT_int64 : parts ? MT_complex128 : MT_float64;
  j.par = par;
  j.end = end_of(end);
  return run(c, &j) ? j.out : NULL;
}
Tensor *mt_reduce(Ctx *c, RedKind k, Tensor *x, uint64_t mask, bool keepdim, DType out) {
  return mt_reduce_as(c, k, x, mask, keepdim, out, 0, RE_none);
}

bool mt_each_row(Ctx *c, Tensor *x, uint64_t mask, DType d, RowFn f, void *ctx) {
  Dims kept, red;
  if (c->err || mt_meta(x)) return !c->err;
  split(x, mask, false, &kept, &red);
  size_t es = mt_dsize(d);
  char *row = mt_malloc(es * (size_t)(red.numel ? red.numel : 1));
  if (!row) { mt_nomem(c); return false; }
  Loop cast = mt_cast_loop(d, (DType)x->dtype);
  int64_t xs = (int64_t)mt_dsize(x->dtype), n0 = red.d[red.n - 1].size;
  for (int64_t i = 0; i < kept.numel && !mt_poll(c); i++) {
    const char *base = (const char *)mt_data(x) + offset_of(&kept, kept.n, i) * xs;
    for (int64_t at = 0; at < red.numel; at += n0)
      cast((char *[]){row + at * (int64_t)es,
                      (char *)base + offset_of(&red, red.n - 1, at / n0) * xs},
           (int64_t[]){(int64_t)es, red.d[red.n - 1].stride * xs}, n0, NULL);
    f(ctx, row, red.numel, i);
  }
  mt_free(row);
  return !c->err;
}
