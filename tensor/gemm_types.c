/* gemm_types.c: products of half, complex and integer matrices.
 *
 * Blocks of A and B are converted into float or double planes (a complex block into two),
 * multiplied by the real product on the same thread, and written back with alpha, beta and bias; a
 * block is at most BLOCK x BLOCK elements of C with all of k, so a conversion costs little beside
 * its multiplications.  Half types therefore accumulate in float; bfloat16 skips the conversion
 * where the CPU has dot instructions for it (gemm_bf16.c).  Integers have loops of their own
 * (kern_integers.c). */
#include "cpu.h"
#include "gemm_bf16.h"
#include "gemm_impl.h"
#include "half.h"
#include <stdatomic.h>
#include <string.h>

enum { BLOCK = MT_INT_BLOCK };

static const struct { uint8_t size, plane; bool complex_, integer; } traits[MT_GEMM_TYPES] = {
  [MT_GEMM_F32] = {4, 4, false, false},   [MT_GEMM_F64] = {8, 8, false, false},
  [MT_GEMM_C64] = {8, 4, true, false},    [MT_GEMM_C128] = {16, 8, true, false},
  [MT_GEMM_F16] = {2, 4, false, false},   [MT_GEMM_BF16] = {2, 4, false, false},
  [MT_GEMM_I8] = {1, 1, false, true},     [MT_GEMM_U8] = {1, 1, false, true},
  [MT_GEMM_I16] = {2, 2, false, true},    [MT_GEMM_I32] = {4, 4, false, true},
  [MT_GEMM_I64] = {8, 8, false, true},
};

/* A block as the unit sees it: rows x cols at p, converted row-major (or column-major where that is
 * how it lies). */
typedef struct { const char *p; int64_t rows, cols, rs, cs; bool conj; } Src;

typedef struct { float re, im; } C64;
typedef struct { double re, im; } C128;

#define EACH_ROW(T, U, stmt)                                              \
  for (int64_t r = 0; r < s.rows; r++) {                                  \
    const T *x = (const T *)(const void *)s.p + r * s.rs;                 \
    U *y = (U *)re + r * s.cols, *z = (U *)im + r * s.cols;               \
    (void)z;                                                              \
    if (s.cs == 1) { const int64_t st = 1; for (int64_t i = 0; i < s.cols; i++) stmt; } \
    else { const int64_t st = s.cs; for (int64_t i = 0; i < s.cols; i++) stmt; }        \
  }

static void load_block(MtGemmType t, Src s, void *re, void *im) {
  switch (t) {
    case MT_GEMM_F16: EACH_ROW(uint16_t, float, y[i] = mt_half_to_float(x[i * st])) break;
    case MT_GEMM_BF16: EACH_ROW(uint16_t, float, y[i] = mt_bf16_to_float(x[i * st])) break;
    case MT_GEMM_C64: {
      float sign = s.conj ? -1 : 1;
      EACH_ROW(C64, float, (y[i] = x[i * st].re, z[i] = sign * x[i * st].im))
      break;
    }
    default: {
      double sign = s.conj ? -1 : 1;
      EACH_ROW(C128, double, (y[i] = x[i * st].re, z[i] = sign * x[i * st].im))
    }
  }
}

/* Rows and columns exchanged when the block lies column-major, so that conversion reads
 * contiguously. */
static bool orient(Src *s) {
  if (s->cs == 1 || s->rs != 1) return false;
  *s = (Src){s->p, s->cols, s->rows, s->cs, s->rs, s->conj};
  return true;
}

typedef struct {
  const MtGemm *g;
  int64_t mb, nb, units_m, units_n;
  char *mem;
  size_t per_thread, results; /* results: where in a thread's memory they begin, for bf16 */
  bool bf16;
  _Atomic int64_t next;
  _Atomic int status;
} Job;

static const char *at(const void *base, const int64_t *off, int64_t step, int64_t i, size_t size) {
  return (const char *)base + (off ? off[i] : i * step) * (int64_t)size;
}

/* out: m rows, ld apart. */
#define STORE_HALF(name, FROM, TO)                                                            \
  static void name(const MtGemm *g, char *c, const float *out, int64_t ld, int64_t i0,        \
                   int64_t j0, int64_t m, int64_t n) {                                        \
    float alpha = (float)g->alpha, beta = (float)g->beta;                                     \
    const uint16_t *bias = g->bias ? (const uint16_t *)g->bias + j0 : NULL;                   \
    for (int64_t i = 0; i < m; i++, out += ld) {                                              \
      uint16_t *d = (uint16_t *)(void *)c + (i0 + i) * g->crs + j0 * g->ccs;                  \
      if (g->ccs == 1 && beta == 0 && !bias)                                                  \
        for (int64_t j = 0; j < n; j++) d[j] = TO(alpha * out[j]);                            \
      else                                                                                    \
        for (int64_t j = 0; j < n; j++) {                                                     \
          float v = alpha * out[j];                                                           \
          if (beta != 0) v += beta * FROM(d[j * g->ccs]);                                     \
          if (bias) v += FROM(bias[j]);                                                       \
          d[j * g->ccs] = TO(v);                                                              \
        }                                                                                     \
    }                                                                                         \
  }
STORE_HALF(store_f16, mt_half_to_float, mt_float_to_half)
STORE_HALF(store_bf16, mt_bf16_to_float, mt_float_to_bf16)

#define STORE_COMPLEX(T, name)                                                                 \
  static void name(const MtGemm *g, char *c, const T *re, const T *im, int64_t i0, int64_t j0, \
                   int64_t m, int64_t n) {                                                     \
    T ar = (T)g->alpha, ai = (T)g->alpha_im, br = (T)g->beta, bi = (T)g->beta_im;              \
    for (int64_t i = 0; i < m; i++)                                                            \
      for (int64_t j = 0; j < n; j++) {                                                        \
        T *d = (T *)(void *)c + 2 * ((i0 + i) * g->crs + (j0 + j) * g->ccs);                   \
        T x = re[i * n + j], y = im[i * n + j];                                                \
        T u = ai != 0 ? ar * x - ai * y : ar * x, v = ai != 0 ? ar * y + ai * x : ar * y;      \
        if (br != 0 || bi != 0) {                                                              \
          u += br * d[0] - bi * d[1];                                                          \
          v += br * d[1] + bi * d[0];                                                          \
        }                                                                                      \
        if (g->bias) {                                                                         \
          u += ((const T *)g->bias)[2 * (j0 + j)];                                             \
          v += ((const T *)g->bias)[2 * (j0 + j) + 1];                                         \
        }                                                                                      \
        d[0] = u;                                                                              \
        d[1] = v;                                                                              \
      }                                                                                        \
  }
STORE_COMPLEX(float, store_c64)
STORE_COMPLEX(double, store_c128)

/* out = A B on converted planes, serially. */
static MtGemmStatus planes(const MtGemm *g, const void *a, bool at_, const void *b, bool bt,
                           void *out, int64_t m, int64_t n, double alpha, double beta) {
  MtGemm r = {.type = traits[g->type].plane == 4 ? MT_GEMM_F32 : MT_GEMM_F64,
              .m = m,
              .n = n,
              .k = g->k,
              .a = a,
              .b = b,
              .c = out,
              .crs = n,
              .ccs = 1,
              .alpha = alpha,
              .beta = beta};
  r.ars = at_ ? 1 : g->k; r.acs = at_ ? m : 1;
  r.brs = bt ? 1 : n; r.bcs = bt ? g->k : 1;
  return mt_gemm_serial(&r);
}

static MtGemmStatus unit(const Job *j, int64_t u, char *mem) {
  const MtGemm *g = j->g;
  size_t size = traits[g->type].size, plane = traits[g->type].plane;
  int64_t per = j->units_m * j->units_n, batch = u / per, i0 = u % per / j->units_n * j->mb,
          j0 = u % j->units_n * j->nb;
  int64_t m = g->m - i0 < j->mb ? g->m - i0 : j->mb, n = g->n - j0 < j->nb ? g->n - j0 : j->nb;
  Src a = {at(g->a, g->aoff, g->abs, batch, size) + i0 * g->ars * (int64_t)size,
           m,
           g->k,
           g->ars,
           g->acs,
           g->conj_a};
  Src b = {at(g->b, g->boff, g->bbs, batch, size) + j0 * g->bcs * (int64_t)size,
           g->k,
           n,
           g->brs,
           g->bcs,
           g->conj_b};
  char *c = (char *)(uintptr_t)at(g->c, g->coff, g->cbs, batch, size);
  char *ar = mem, *ai = ar + (size_t)(j->mb * g->k) * plane,
       *br = ai + (size_t)(j->mb * g->k) * plane, *bi = br + (size_t)(j->nb * g->k) * plane,
       *cr = bi + (size_t)(j->nb * g->k) * plane, *ci = cr + (size_t)(j->mb * j->nb) * plane;
  if (j->bf16) {
    cr = mem + j->results;
    MtBf16 x = {(const uint16_t *)(const void *)a.p, a.rs, a.cs},
           y = {(const uint16_t *)(const void *)b.p, b.rs, b.cs};
    mt_bf16_block(m, n, g->k, x, y, (float *)(void *)cr, mem);
    store_bf16(g, c, (float *)(void *)cr, mt_bf16_ld(n), i0, j0, m, n);
    return MT_GEMM_OK;
  }
  bool ta = orient(&a), tb = orient(&b);
  load_block(g->type, a, ar, ai);
  load_block(g->type, b, br, bi);
  MtGemmStatus s = planes(g, ar, ta, br, tb, cr, m, n, 1, 0);
  if (traits[g->type].complex_) {
    if (!s) s = planes(g, ai, ta, bi, tb, cr, m, n, -1, 1);
    if (!s) s = planes(g, ar, ta, bi, tb, ci, m, n, 1, 0);
    if (!s) s = planes(g, ai, ta, br, tb, ci, m, n, 1, 1);
  }
  if (s) return s;
  if (g->type == MT_GEMM_C64)
    store_c64(g, c, (float *)(void *)cr, (float *)(void *)ci, i0, j0, m, n);
  else if (g->type == MT_GEMM_C128)
    store_c128(g, c, (double *)(void *)cr, (double *)(void *)ci, i0, j0, m, n);
  else if (g->type == MT_GEMM_F16) store_f16(g, c, (float *)(void *)cr, n, i0, j0, m, n);
  else store_bf16(g, c, (float *)(void *)cr, n, i0, j0, m, n);
  return MT_GEMM_OK;
}

/* --- integers --- */
static const MtIntUnit *int_units(void) {
  return MT_AT_LEVEL(mt_int_units);
}

static MtGemmStatus int_unit(const Job *j, int64_t u) {
  const MtGemm *g = j->g;
  size_t size = traits[g->type].size;
  int64_t per = j->units_m * j->units_n, batch = u / per, i0 = u % per / j->units_n * j->mb,
          j0 = u % j->units_n * j->nb;
  int64_t i1 = i0 + j->mb < g->m ? i0 + j->mb : g->m, j1 = j0 + j->nb < g->n ? j0 + j->nb : g->n;
  const char *a = at(g->a, g->aoff, g->abs, batch, size),
             *b = at(g->b, g->boff, g->bbs, batch, size);
  char *c = (char *)(uintptr_t)at(g->c, g->coff, g->cbs, batch, size);
  int_units()[size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3](g, a, b, c, i0, i1, j0, j1);
  return mt_interrupted ? MT_GEMM_INTERRUPTED : MT_GEMM_OK;
}

static void work(void *ctx, int64_t lo, int64_t hi) {
  Job *j = ctx;
  int64_t batches = j->g->batch > 1 ? j->g->batch : 1, units = batches * j->units_m * j->units_n, u;
  (void)hi;
  while ((u = atomic_fetch_add(&j->next, 1)) < units && !atomic_load(&j->status)) {
    MtGemmStatus s = mt_interrupted ? MT_GEMM_INTERRUPTED
                   : traits[j->g->type].integer ? int_unit(j, u)
                   : unit(j, u, j->mem + (size_t)lo * j->per_thread);
    if (s) atomic_store(&j->status, (int)s);
  }
}

MtGemmStatus mt_gemm_other(const MtGemm *g) {
  Job j = {.g = g, .mb = g->m < BLOCK ? g->m : BLOCK, .nb = g->n < BLOCK ? g->n : BLOCK};
  int64_t batches = g->batch > 1 ? g->batch : 1;
  double all = (double)batches * (double)g->m * (double)g->n * (double)g->k;
  int threads = MT_TOO_LITTLE(all, 2e5) ? 1 : mt_num_threads();
  if (threads > 1 &&
      batches == 1) { /* a single product is cut finer, rows or columns, whichever are more */
    if (g->n >= g->m) j.nb = j.nb > 64 && g->n < 2 * threads * BLOCK ? 64 : j.nb;
    else j.mb = j.mb > 64 && g->m < 2 * threads * BLOCK ? 64 : j.mb;
  }
  j.units_m = (g->m + j.mb - 1) / j.mb;
  j.units_n = (g->n + j.nb - 1) / j.nb;
  if (!traits[g->type].integer) {
    int64_t k = g->k > 0 ? g->k : 1;
    j.per_thread =
        ((size_t)(2 * (j.mb * k + j.nb * k + j.mb * j.nb)) * traits[g->type].plane + 127) / 64 * 64;
    j.bf16 = g->type == MT_GEMM_BF16 && mt_bf16_usable();
    if (j.bf16) {
      j.results = (mt_bf16_bytes(j.mb, j.nb, k) + 127) / 64 * 64;
      j.per_thread = j.results + (size_t)(j.mb * mt_bf16_ld(j.nb)) * sizeof(float);
    }
    if (!(j.mem = mt_malloc_aligned(j.per_thread * (size_t)threads))) return MT_GEMM_NOMEM;
  }
  mt_parallel(threads, 1, work, &j);
  mt_free_aligned(j.mem);
  return (MtGemmStatus)atomic_load(&j.status);
}
