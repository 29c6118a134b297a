/* reduce.c: the driver of reductions: see reduce.h. */
#include "reduce.h"
#include "cpu.h"
#include "iter.h"
#include <math.h>
#include <string.h>

extern const RedLoops mt_red_base[R_COUNT][RD_COUNT];
#if defined(__x86_64__)
extern const RedLoops mt_red_avx2[R_COUNT][RD_COUNT], mt_red_avx512[R_COUNT][RD_COUNT];
#endif

static const RedLoops *loops(RedKind k, int rd) {
#if defined(__x86_64__)
  int level = mt_cpu_level();
  if (level == MT_CPU_AVX512) return &mt_red_avx512[k][rd];
  if (level == MT_CPU_AVX2) return &mt_red_avx2[k][rd];
#endif
  return &mt_red_base[k][rd];
}

static DType compute_dtype(DType d, int *rd) {
  switch (d) {
    case MT_float16: case MT_bfloat16: case MT_float32: *rd = RD_f32; return MT_float32;
    case MT_float64: *rd = RD_f64; return MT_float64;
    case MT_complex64: *rd = RD_c64; return MT_complex64;
    case MT_complex128: *rd = RD_c128; return MT_complex128;
    default: *rd = RD_i64; return MT_int64;
  }
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

/* Kept and reduced dims as two merged groups, the last of each the fastest. */
typedef struct {
  int nk, nr;
  int64_t ks[MT_MAXDIM], kst[MT_MAXDIM], rs[MT_MAXDIM], rst[MT_MAXDIM], kept, red;
} Split;
static void add_dim(int *n, int64_t *s, int64_t *st, int64_t size, int64_t stride) {
  if (size == 1) return;
  if (*n && st[*n - 1] == size * stride) { s[*n - 1] *= size; st[*n - 1] = stride; return; }
  s[*n] = size;
  st[(*n)++] = stride;
}
static void split(const Tensor *x, uint64_t mask, Split *sp) {
  sp->nk = sp->nr = 0;
  sp->kept = sp->red = 1;
  for (int i = 0; i < x->ndim; i++) {
    if (mask >> i & 1) {
      sp->red *= x->size[i];
      add_dim(&sp->nr, sp->rs, sp->rst, x->size[i], x->stride[i]);
    } else {
      sp->kept *= x->size[i];
      add_dim(&sp->nk, sp->ks, sp->kst, x->size[i], x->stride[i]);
    }
  }
  if (sp->nr == 0) { sp->rs[0] = 1; sp->rst[0] = 1; sp->nr = 1; }
  if (sp->nk == 0) { sp->ks[0] = 1; sp->kst[0] = 1; sp->nk = 1; }
}

static int64_t offset_of(int n, const int64_t *s, const int64_t *st, int64_t i) {
  int64_t o = 0;
  for (int d = n - 1; d >= 0; d--) { o += i % s[d] * st[d]; i /= s[d]; }
  return o;
}

typedef struct {
  const RedLoops *f;
  Split sp;
  const char *x;
  int64_t es;                              /* element size in memory */
  DType have, compute;
  RAcc init, *acc; /* one per kept element, or per chunk of a long single one */
  int64_t chunk;                           /* reduced elements per piece when kept == 1 */
} Job;

enum { BUF = 1024 };
/* Folds the reduced elements lo..hi of the slice at base. */
static void fold_row(const Job *j, const char *base, int64_t lo, int64_t hi, RAcc *acc) {
  _Alignas(64) char buf[BUF * 16];
  const Split *sp = &j->sp;
  int last = sp->nr - 1;
  int64_t n0 = sp->rs[last], st = sp->rst[last];
  Loop cast = mt_cast_loop(j->compute, j->have);
  while (lo < hi) {
    int64_t outer = lo / n0, in = lo % n0, n = n0 - in < hi - lo ? n0 - in : hi - lo;
    const char *p = base + (offset_of(last, sp->rs, sp->rst, outer) + in * st) * j->es;
    if (j->have == j->compute && st == 1) j->f->block(p, n, acc);
    else
      for (int64_t d = 0; d < n; d += BUF) {
        int64_t m = n - d < BUF ? n - d : BUF;
        cast((char *[]){buf, (char *)p + d * st * j->es},
             (int64_t[]){(int64_t)mt_dsize(j->compute), st * j->es}, m, NULL);
        j->f->block(buf, m, acc);
      }
    lo += n;
  }
}

static void rows_job(void *ctx, int64_t lo, int64_t hi) {
  Job *j = ctx;
  for (int64_t i = lo; i < hi && !mt_interrupted; i++) {
    j->acc[i] = j->init;
    fold_row(j, j->x + offset_of(j->sp.nk, j->sp.ks, j->sp.kst, i) * j->es, 0, j->sp.red,
             &j->acc[i]);
  }
}
static void pieces_job(void *ctx, int64_t lo, int64_t hi) {
  Job *j = ctx;
  for (int64_t i = lo; i < hi && !mt_interrupted; i++) {
    int64_t a = i * j->chunk, b = a + j->chunk < j->sp.red ? a + j->chunk : j->sp.red;
    j->acc[i] = j->init;
    fold_row(j, j->x, a, b, &j->acc[i]);
  }
}
/* Kept elements lie side by side: whole strips of columns are folded row by row. */
enum { STRIP = 512 };
static void cols_job(void *ctx, int64_t lo, int64_t hi) {
  Job *j = ctx;
  const Split *sp = &j->sp;
  int64_t inner = sp->ks[sp->nk - 1], strips = (inner + STRIP - 1) / STRIP;
  for (int64_t u = lo; u < hi && !mt_interrupted; u++) {
    int64_t o = u / strips, c0 = u % strips * STRIP, n = inner - c0 < STRIP ? inner - c0 : STRIP;
    RAcc *acc = j->acc + o * inner + c0;
    for (int64_t k = 0; k < n; k++) acc[k] = j->init;
    const char *base = j->x + (offset_of(sp->nk - 1, sp->ks, sp->kst, o) + c0) * j->es;
    int last = sp->nr - 1;
    int64_t rows = sp->rs[last], outer = sp->red / rows;
    for (int64_t r = 0; r < outer; r++)
      j->f->col(base + offset_of(last, sp->rs, sp->rst, r) * j->es, n, rows, sp->rst[last], acc);
  }
}

static RAcc identity(RedKind k, int rd) {
  RAcc a = {.z = {0, 0}};
  bool i = rd == RD_i64;
  switch (k) {
    case R_prod: case R_all: if (i) a.i = 1; else a.d = 1; break;
    case R_max: if (i) a.i = INT64_MIN; else a.d = -INFINITY; break;
    case R_min: if (i) a.i = INT64_MAX; else a.d = INFINITY; break;
    case R_absmin: a.d = INFINITY; break;
    default: break;
  }
  return a;
}

static RAcc join(RedKind k, int rd, RAcc a, RAcc b) {
  bool i = rd == RD_i64;
  switch (k) {
    case R_sum: case R_sumsq: case R_sumabs: case R_nnz:
      if (i) a.i = (int64_t)((uint64_t)a.i + (uint64_t)b.i);
      else {
        a.z.re += b.z.re;
        if (rd >= RD_c64) a.z.im += b.z.im;
      }
      return a;
    case R_prod:
      if (i) a.i = (int64_t)((uint64_t)a.i * (uint64_t)b.i);
      else if (rd >= RD_c64) {
        double t = a.z.re * b.z.re - a.z.im * b.z.im;
        a.z.im = a.z.re * b.z.im + a.z.im * b.z.re;
        a.z.re = t;
      } else a.d *= b.d;
      return a;
    case R_max:
    case R_absmax:
      if (i) return b.i > a.i ? b : a;
      return b.d > a.d || b.d != b.d ? b : a;
    case R_min:
    case R_absmin:
      if (i) return b.i < a.i ? b : a;
      return b.d < a.d || b.d != b.d ? b : a;
    case R_any: if (i) a.i |= b.i; else a.d = a.d != 0 || b.d != 0; return a;
    default: if (i) a.i &= b.i; else a.d = a.d != 0 && b.d != 0; return a;
  }
}

static void store(const RAcc *acc, int64_t n, int rd, bool real, Tensor *out) {
  char *p = mt_data(out);
  size_t es = mt_dsize(out->dtype);
  if (rd == RD_f32 && out->dtype == MT_float32) {
    for (int64_t i = 0; i < n; i++) ((float *)p)[i] = (float)acc[i].d;
    return;
  }
  for (int64_t i = 0; i < n; i++, p += es) {
    Scalar s = rd == RD_i64            ? mt_si(acc[i].i)
               : rd >= RD_c64 && !real ? mt_sc(acc[i].z.re, acc[i].z.im)
                                       : mt_sd(acc[i].d);
    mt_store(p, (DType)out->dtype, s);
  }
}

Tensor *mt_reduce(Ctx *c, RedKind k, Tensor *x, uint64_t mask, bool keepdim, DType out_dtype) {
  int64_t shape[MT_MAXDIM];
  int rd, nd = mt_reduced_shape(x, mask, keepdim, shape);
  if (c->err) return NULL;
  Job j;
  j.compute = compute_dtype((DType)x->dtype, &rd);
  j.f = loops(k, rd);
  if (!j.f->block) return mt_fail(c, "not implemented for '%s'", mt_type_word((DType)x->dtype));
  Tensor *out = mt_new(c, mt_il(shape, nd), out_dtype, MT_CPU);
  if (!out || out->numel == 0) return out;
  split(x, mask, &j.sp);
  j.x = mt_data(x);
  j.es = (int64_t)mt_dsize(x->dtype);
  j.have = (DType)x->dtype;
  j.init = identity(k, rd);
  bool real = k == R_any || k == R_all || k == R_nnz || k >= R_absmax;
  int64_t slots = j.sp.kept;
  bool single = j.sp.kept == 1 && j.sp.red > 65536;
  j.chunk = 32768;
  if (single) slots = (j.sp.red + j.chunk - 1) / j.chunk;
  RAcc one, *acc = slots == 1 ? &one : mt_malloc(sizeof(RAcc) * (size_t)slots);
  if (!acc) return mt_nomem(c);
  j.acc = acc;
  if (j.sp.red == 0) for (int64_t i = 0; i < slots; i++) acc[i] = j.init;
  else if (single) {
    mt_parallel(slots, 2, pieces_job, &j);
    for (int64_t w = 1; w < slots; w *= 2)            /* pairwise over the fixed pieces */
      for (int64_t i = 0; i + w < slots; i += 2 * w) acc[i] = join(k, rd, acc[i], acc[i + w]);
  } else if (j.have == j.compute && j.sp.kst[j.sp.nk - 1] == 1 && j.sp.ks[j.sp.nk - 1] > 1 &&
             j.sp.rst[j.sp.nr - 1] != 1) {
    int64_t inner = j.sp.ks[j.sp.nk - 1],
            strips = j.sp.kept / inner * ((inner + STRIP - 1) / STRIP);
    mt_parallel(strips, 32768 / (STRIP * (j.sp.red + 1)) + 1, cols_job, &j);
  } else mt_parallel(j.sp.kept, 32768 / (j.sp.red + 1) + 1, rows_job, &j);
  store(acc, j.sp.kept, rd, real, out);
  if (acc != &one) mt_free(acc);
  return mt_poll(c) ? NULL : out;
}

bool mt_each_row(Ctx *c, Tensor *x, uint64_t mask, DType d, RowFn f, void *ctx) {
  Split sp;
  if (c->err || mt_meta(x)) return !c->err;
  split(x, mask, &sp);
  size_t es = mt_dsize(d);
  char *row = mt_malloc(es * (size_t)(sp.red ? sp.red : 1));
  if (!row) { mt_nomem(c); return false; }
  Loop cast = mt_cast_loop(d, (DType)x->dtype);
  int64_t xs = (int64_t)mt_dsize(x->dtype), n0 = sp.rs[sp.nr - 1];
  for (int64_t i = 0; i < sp.kept && sp.red + 1 && !mt_poll(c); i++) {
    const char *base = (const char *)mt_data(x) + offset_of(sp.nk, sp.ks, sp.kst, i) * xs;
    for (int64_t at = 0; at < sp.red; at += n0)
      cast((char *[]){row + at * (int64_t)es,
                      (char *)base + offset_of(sp.nr - 1, sp.rs, sp.rst, at / n0) * xs},
           (int64_t[]){(int64_t)es, sp.rst[sp.nr - 1] * xs}, n0, NULL);
    f(ctx, row, sp.red, i);
  }
  mt_free(row);
  return !c->err;
}
