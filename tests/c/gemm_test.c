/* gemm_test.c: products of every type and layout against a plain triple loop. */
#include "gemm.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int passed, failed;

static unsigned rng = 1;
static double rnd(void) { rng = rng * 1664525u + 1013904223u; return (double)(int32_t)rng / 2147483648.0; }
static void fill_f32(float *p, int64_t n) { for (int64_t i = 0; i < n; i++) p[i] = (float)rnd(); }
static void fill_f64(double *p, int64_t n) { for (int64_t i = 0; i < n; i++) p[i] = rnd(); }

/* layout bits: 1 A turned, 2 B turned, 4 C turned, 8 A and B strided in both dimensions */
#define CASE(T, TYPE, NAME, TOL)                                                                                       \
static bool NAME(int64_t m, int64_t n, int64_t k, int layout, double alpha, double beta, bool bias) {                  \
  int64_t x = layout & 8 ? 2 : 1, lda = (layout & 1 ? m : k) + 3, ldb = (layout & 2 ? k : n) + 5,                      \
          ldc = (layout & 4 ? m : n) + 1;                                                                              \
  int64_t na = ((layout & 1 ? k : m) + 1) * lda * x * x, nb = ((layout & 2 ? n : k) + 1) * ldb * x * x,                \
          nc = (layout & 4 ? n : m) * ldc;                                                                             \
  T *a = malloc((size_t)na * sizeof(T)), *b = malloc((size_t)nb * sizeof(T)), *c = malloc((size_t)nc * sizeof(T)),     \
    *want = malloc((size_t)nc * sizeof(T)), *bi = malloc((size_t)n * sizeof(T));                                       \
  fill_##NAME(a, na); fill_##NAME(b, nb); fill_##NAME(c, nc); fill_##NAME(bi, n);                                      \
  if (beta == 0) for (int64_t i = 0; i < nc; i++) c[i] = NAN;                                                          \
  memcpy(want, c, (size_t)nc * sizeof(T));                                                                             \
  MtGemm g = {.type = TYPE, .m = m, .n = n, .k = k, .a = a, .b = b, .c = c, .alpha = alpha, .beta = beta,              \
              .bias = bias ? bi : NULL};                                                                               \
  g.ars = layout & 1 ? x : lda * x; g.acs = layout & 1 ? lda * x : x;                                                  \
  g.brs = layout & 2 ? x : ldb * x; g.bcs = layout & 2 ? ldb * x : x;                                                  \
  g.crs = layout & 4 ? 1 : ldc; g.ccs = layout & 4 ? ldc : 1;                                                          \
  double worst = 0;                                                                                                    \
  bool pad_ok = true;                                                                                                  \
  MtGemmStatus s = mt_gemm(&g);                                                                                        \
  for (int64_t i = 0; i < m; i++)                                                                                      \
    for (int64_t j = 0; j < n; j++) {                                                                                  \
      double sum = 0;                                                                                                  \
      for (int64_t p = 0; p < k; p++) sum += (double)a[i * g.ars + p * g.acs] * (double)b[p * g.brs + j * g.bcs];      \
      T *w = &want[i * g.crs + j * g.ccs];                                                                             \
      double v = alpha * sum + (beta != 0 ? beta * (double)*w : 0) + (bias ? (double)bi[j] : 0);                       \
      double e = fabs(v - (double)c[i * g.crs + j * g.ccs]);                                                           \
      if (!(e <= worst)) worst = e;                                                                                    \
      *w = c[i * g.crs + j * g.ccs];                                                                                   \
    }                                                                                                                  \
  if (memcmp(want, c, (size_t)nc * sizeof(T))) pad_ok = false;                                                         \
  free(a); free(b); free(c); free(want); free(bi);                                                                     \
  if (s == MT_GEMM_OK && pad_ok && worst <= TOL * (1 + sqrt((double)k))) { passed++; return true; }                    \
  failed++;                                                                                                            \
  printf("FAIL " #NAME " m=%d n=%d k=%d layout=%d alpha=%g beta=%g bias=%d: error %g, status %d, padding %s\n",        \
         (int)m, (int)n, (int)k, layout, alpha, beta, bias, worst, s, pad_ok ? "kept" : "overwritten");                \
  return false;                                                                                                        \
}
CASE(float, MT_GEMM_F32, f32, 2e-6)
CASE(double, MT_GEMM_F64, f64, 1e-14)

int main(void) {
  static const int sizes[] = {1, 2, 3, 5, 7, 13, 14, 15, 16, 17, 31, 32, 33, 47, 64, 65, 100};
  int ns = (int)(sizeof sizes / sizeof *sizes);
  for (int layout = 0; layout < 16; layout++) {
    for (int r = 0; r < 60; r++) {
      int64_t m = sizes[(unsigned)(rnd() * 1e6 + 1e6) % ns], n = sizes[(unsigned)(rnd() * 1e6 + 1e6) % ns],
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
