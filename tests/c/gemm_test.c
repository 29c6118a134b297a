/* gemm_test.c: products of every type and layout against a plain triple loop. */
#include "gemm.h"
#include "half.h"
#include <complex.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int passed, failed;

static unsigned rng = 1;
static double rnd(void) {
  rng = rng * 1664525u + 1013904223u;
  return (double)(int32_t)rng / 2147483648.0;
}
static void fill_f32(float *p, int64_t n) { for (int64_t i = 0; i < n; i++) p[i] = (float)rnd(); }
static void fill_f64(double *p, int64_t n) { for (int64_t i = 0; i < n; i++) p[i] = rnd(); }

/* layout bits: 1 A turned, 2 B turned, 4 C turned, 8 A and B strided in both dimensions */
#define CASE(T, TYPE, NAME, TOL)                                                                   \
  static bool NAME(int64_t m, int64_t n, int64_t k, int layout, double alpha, double beta,         \
                   bool bias) {                                                                    \
    int64_t x = layout & 8 ? 2 : 1, lda = (layout & 1 ? m : k) + 3,                                \
            ldb = (layout & 2 ? k : n) + 5, ldc = (layout & 4 ? m : n) + 1;                        \
    int64_t na = ((layout & 1 ? k : m) + 1) * lda * x * x,                                         \
            nb = ((layout & 2 ? n : k) + 1) * ldb * x * x, nc = (layout & 4 ? n : m) * ldc;        \
    T *a = malloc((size_t)na * sizeof(T)), *b = malloc((size_t)nb * sizeof(T)),                    \
      *c = malloc((size_t)nc * sizeof(T)), *want = malloc((size_t)nc * sizeof(T)),                 \
      *bi = malloc((size_t)n * sizeof(T));                                                         \
    fill_##NAME(a, na);                                                                            \
    fill_##NAME(b, nb);                                                                            \
    fill_##NAME(c, nc);                                                                            \
    fill_##NAME(bi, n);                                                                            \
    if (beta == 0)                                                                                 \
      for (int64_t i = 0; i < nc; i++) c[i] = NAN;                                                 \
    memcpy(want, c, (size_t)nc * sizeof(T));                                                       \
    MtGemm g = {.type = TYPE,                                                                      \
                .m = m,                                                                            \
                .n = n,                                                                            \
                .k = k,                                                                            \
                .a = a,                                                                            \
                .b = b,                                                                            \
                .c = c,                                                                            \
                .alpha = alpha,                                                                    \
                .beta = beta,                                                                      \
                .bias = bias ? bi : NULL};                                                         \
    g.ars = layout & 1 ? x : lda * x;                                                              \
    g.acs = layout & 1 ? lda * x : x;                                                              \
    g.brs = layout & 2 ? x : ldb * x;                                                              \
    g.bcs = layout & 2 ? ldb * x : x;                                                              \
    g.crs = layout & 4 ? 1 : ldc;                                                                  \
    g.ccs = layout & 4 ? ldc : 1;                                                                  \
    double worst = 0;                                                                              \
    bool pad_ok = true;                                                                            \
    MtGemmStatus s = mt_gemm(&g);                                                                  \
    for (int64_t i = 0; i < m; i++)                                                                \
      for (int64_t j = 0; j < n; j++) {                                                            \
        double sum = 0;                                                                            \
        for (int64_t p = 0; p < k; p++)                                                            \
          sum += (double)a[i * g.ars + p * g.acs] * (double)b[p * g.brs + j * g.bcs];              \
        T *w = &want[i * g.crs + j * g.ccs];                                                       \
        double v = alpha * sum + (beta != 0 ? beta * (double)*w : 0) + (bias ? (double)bi[j] : 0); \
        double e = fabs(v - (double)c[i * g.crs + j * g.ccs]);                                     \
        if (!(e <= worst)) worst = e;                                                              \
        *w = c[i * g.crs + j * g.ccs];                                                             \
      }                                                                                            \
    if (memcmp(want, c, (size_t)nc * sizeof(T))) pad_ok = false;                                   \
    free(a);                                                                                       \
    free(b);                                                                                       \
    free(c);                                                                                       \
    free(want);                                                                                    \
    free(bi);                                                                                      \
    if (s == MT_GEMM_OK && pad_ok && worst <= TOL * (1 + sqrt((double)k))) {                       \
      passed++;                                                                                    \
      return true;                                                                                 \
    }                                                                                              \
    failed++;                                                                                      \
    printf(                                                                                        \
        "FAIL " #NAME                                                                              \
        " m=%d n=%d k=%d layout=%d alpha=%g beta=%g bias=%d: error %g, status %d, padding %s\n",   \
        (int)m, (int)n, (int)k, layout, alpha, beta, bias, worst, s,                               \
        pad_ok ? "kept" : "overwritten");                                                          \
    return false;                                                                                  \
  }
CASE(float, MT_GEMM_F32, f32, 2e-6)
CASE(double, MT_GEMM_F64, f64, 1e-14)

/* Types that convert: every element is checked through one pair of load and store functions. */
static double _Complex get(MtGemmType t, const void *p, int64_t i) {
  switch (t) {
    case MT_GEMM_C64: return ((const float _Complex *)p)[i];
    case MT_GEMM_C128: return ((const double _Complex *)p)[i];
    case MT_GEMM_F16: return mt_half_to_float(((const uint16_t *)p)[i]);
    case MT_GEMM_BF16: return mt_bf16_to_float(((const uint16_t *)p)[i]);
    case MT_GEMM_I8: return ((const int8_t *)p)[i];
    case MT_GEMM_U8: return ((const uint8_t *)p)[i];
    case MT_GEMM_I16: return ((const int16_t *)p)[i];
    case MT_GEMM_I32: return ((const int32_t *)p)[i];
    default: return (double)((const int64_t *)p)[i];
  }
}
static void put(MtGemmType t, void *p, int64_t i) {
  double x = rnd(), y = rnd();
  int v = (int)(x * 3);
  switch (t) {
    case MT_GEMM_C64: ((float _Complex *)p)[i] = (float)x + (float)y * 1.0fi; break;
    case MT_GEMM_C128: ((double _Complex *)p)[i] = x + y * 1.0i; break;
    case MT_GEMM_F16: ((uint16_t *)p)[i] = mt_float_to_half((float)x); break;
    case MT_GEMM_BF16: ((uint16_t *)p)[i] = mt_float_to_bf16((float)x); break;
    case MT_GEMM_I8: ((int8_t *)p)[i] = (int8_t)(v % 2); break;
    case MT_GEMM_U8: ((uint8_t *)p)[i] = (uint8_t)(v & 1); break;
    case MT_GEMM_I16: ((int16_t *)p)[i] = (int16_t)v; break;
    case MT_GEMM_I32: ((int32_t *)p)[i] = v; break;
    default: ((int64_t *)p)[i] = v;
  }
}
static void other(MtGemmType t, int64_t m, int64_t n, int64_t k, int layout, int64_t batch) {
  static const double tol[] = {[MT_GEMM_C64] = 2e-6,
                               [MT_GEMM_C128] = 1e-14,
                               [MT_GEMM_F16] = 3e-3,
                               [MT_GEMM_BF16] = 2e-2,
                               [MT_GEMM_I64] = 0};
  size_t size = 16;
  char *a = calloc((size_t)(m * k * batch), size), *b = calloc((size_t)(n * k * batch), size),
       *c = calloc((size_t)(m * n * batch), size), *old = calloc((size_t)(m * n * batch), size);
  for (int64_t i = 0; i < m * k * batch; i++) put(t, a, i);
  for (int64_t i = 0; i < n * k * batch; i++) put(t, b, i);
  for (int64_t i = 0; i < m * n * batch; i++) put(t, c, i);
  memcpy(old, c, (size_t)(m * n * batch) * size);
  bool cplx = t == MT_GEMM_C64 || t == MT_GEMM_C128;
  MtGemm g = {.type = t,
              .m = m,
              .n = n,
              .k = k,
              .a = a,
              .b = b,
              .c = c,
              .alpha = 2,
              .alpha_im = cplx ? -1 : 0,
              .beta = 1,
              .alpha_int = 2,
              .beta_int = 1,
              .batch = batch,
              .abs = m * k,
              .bbs = n * k,
              .cbs = m * n,
              .conj_a = cplx && layout & 1,
              .conj_b = cplx && layout & 2};
  g.ars = layout & 1 ? 1 : k; g.acs = layout & 1 ? m : 1;
  g.brs = layout & 2 ? 1 : n; g.bcs = layout & 2 ? k : 1;
  g.crs = layout & 4 ? 1 : n; g.ccs = layout & 4 ? m : 1;
  double worst = 0;
  MtGemmStatus s = mt_gemm(&g);
  for (int64_t e = 0; e < batch; e++)
    for (int64_t i = 0; i < m; i++)
      for (int64_t j = 0; j < n; j++) {
        double _Complex sum = 0;
        for (int64_t p = 0; p < k; p++) {
          double _Complex x = get(t, a, e * m * k + i * g.ars + p * g.acs),
                          y = get(t, b, e * n * k + p * g.brs + j * g.bcs);
          sum += (g.conj_a ? conj(x) : x) * (g.conj_b ? conj(y) : y);
        }
        int64_t at = e * m * n + i * g.crs + j * g.ccs;
        sum = sum * (cplx ? 2 - 1.0i : 2) + get(t, old, at);
        double err = cabs(sum - get(t, c, at));
        if (t == MT_GEMM_U8) err = fmod(err, 256);
        if (t == MT_GEMM_I8) err = fmod(err, 256);
        if (!(err <= worst)) worst = err;
      }
  free(a); free(b); free(c); free(old);
  double limit = t >= MT_GEMM_I8 ? 0 : tol[t] * (1 + sqrt((double)k));
  if (s == MT_GEMM_OK && worst <= limit) { passed++; return; }
  failed++;
  printf("FAIL type %d m=%d n=%d k=%d layout=%d batch=%d: error %g, status %d\n", t, (int)m, (int)n,
         (int)k, layout, (int)batch, worst, s);
}

int main(void) {
  for (int t = MT_GEMM_C64; t < MT_GEMM_TYPES; t++)
    for (int layout = 0; layout < 8; layout++) {
      mt_set_num_threads(1 + layout % 2);
      other((MtGemmType)t, 1, 1, 1, layout, 1);
      other((MtGemmType)t, 5, 7, 3, layout, 3);
      other((MtGemmType)t, 70, 300, 40, layout, 1);
      other((MtGemmType)t, 300, 20, 33, layout, 2);
    }

  static const int sizes[] = {1, 2, 3, 5, 7, 13, 14, 15, 16, 17, 31, 32, 33, 47, 64, 65, 100};
  int ns = (int)(sizeof sizes / sizeof *sizes);
  for (int layout = 0; layout < 16; layout++) {
    for (int r = 0; r < 60; r++) {
      int64_t m = sizes[(unsigned)(rnd() * 1e6 + 1e6) % ns],
              n = sizes[(unsigned)(rnd() * 1e6 + 1e6) % ns],
              k = sizes[(unsigned)(rnd() * 1e6 + 1e6) % ns];
      double alpha = r % 3 ? 1 : 0.5, beta = r % 4 == 0 ? 1 : r % 4 == 1 ? 0.25 : 0;
      f32(m, n, k, layout, alpha, beta, r % 5 == 0);
      f64(m, n, k, layout, alpha, beta, r % 5 == 0);
    }
    mt_set_num_threads(1 + layout % 3);
    f32(150, 170, 900, layout, 1, 0, false);
    f32(300, 40, 520, layout, 1, 1, true);
    f32(20, 400, 130, layout, 1, 0, true);
    f64(150, 170, 400, layout, 1, 0, false);
    f32(9, 9, 0, layout, 1, 0.5, true);
  }
  printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
