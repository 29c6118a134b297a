/* kern_small.c: see kern_small.h.
 *
 * A matrix is worked on in columns of LD = 4, 8 or 16 places, so that every loop along a column has
 * a length the compiler knows.  Places that a step must not touch keep their value by selection and
 * not by a factor of zero: zero times infinity is not zero. */
#include "kern_small.h"
#include "vmath.h"
#include <math.h>

#pragma GCC diagnostic ignored "-Wmaybe-uninitialized" /* gcc loses sight of who fills x */
#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
#define UNROLL _Pragma("GCC unroll 4")
#define INLINE static inline __attribute__((always_inline))
/* Two to four rows are known to the compiler, too: their loops unroll. */
#define BY_SIZE(f, n, ...)                                                        \
  ((n) == 3 ? f(4, 3, __VA_ARGS__) : (n) == 2 ? f(4, 2, __VA_ARGS__)              \
   : (n) == 4 ? f(4, 4, __VA_ARGS__) : (n) <= 8 ? f(8, n, __VA_ARGS__) : f(16, n, __VA_ARGS__))

#define SMALL(T, S, ABS, SQRT, FMA)                                                               \
/* y -= f x below place k */                                                                      \
INLINE void below_##S(const int LD, int k, T f, const T *x, T *y) {                               \
  for (int i = 0; i < LD; i++) { T v = FMA(-f, x[i], y[i]); y[i] = i > k ? v : y[i]; }            \
}                                                                                                 \
INLINE void minus_##S(const int W, T f, const T *x, T *y) {                                       \
  for (int i = 0; i < W; i++) y[i] = FMA(-f, x[i], y[i]);                                         \
}                                                                                                 \
INLINE void divide_##S(const int W, T d, T *x) {                                                  \
  for (int i = 0; i < W; i++) x[i] /= d;                                                          \
}                                                                                                 \
/* A copy in columns of LD places, zeros around it; element (i, j) is at a[i * di + j * dj]. */   \
INLINE void spread_##S(const int LD, int n, const T *a, int di, int dj, T *w) {                   \
  for (int j = 0; j < n; j++)                                                                     \
    for (int i = 0; i < LD; i++) w[j * LD + i] = i < n ? a[i * di + j * dj] : 0;                  \
}                                                                                                 \
INLINE void gather_##S(const int LD, int n, const T *w, int di, int dj, T *a) {                   \
  for (int j = 0; j < n; j++)                                                                     \
    for (int i = 0; i < n; i++) a[i * di + j * dj] = w[j * LD + i];                               \
}                                                                                                 \
INLINE int pivot_##S(int k, int n, const T *x) {                                                  \
  int p = k;                                                                                      \
  T most = ABS(x[k]);                                                                             \
  UNROLL for (int i = k + 1; i < n; i++) {                                                        \
    T v = ABS(x[i]);                                                                              \
    p = v > most ? i : p;                                                                         \
    most = v > most ? v : most;                                                                   \
  }                                                                                               \
  return p;                                                                                       \
}                                                                                                 \
/* In registers, where places are few: vectors are slow to read after a write of a part. */       \
INLINE void swap_##S(const int LD, int k, int p, int n, T *x) {                                   \
  T t = x[k];                                                                                     \
  if (LD > 4) { x[k] = x[p]; x[p] = t; return; }                                                  \
  UNROLL for (int i = k + 1; i < n; i++) {                                                        \
    T v = x[i];                                                                                   \
    x[k] = i == p ? v : x[k];                                                                     \
    x[i] = i == p ? t : v;                                                                        \
  }                                                                                               \
}                                                                                                 \
INLINE int lu_ld_##S(const int LD, int n, T *a, int *piv) {                                       \
  T w[MT_SMALL * MT_SMALL];                                                                       \
  int info = 0;                                                                                   \
  spread_##S(LD, n, a, 1, n, w);                                                                  \
  UNROLL for (int k = 0; k < n; k++) {                                                            \
    T *x = w + k * LD;                                                                            \
    int p = pivot_##S(k, n, x);                                                                   \
    piv[k] = p + 1;                                                                               \
    UNROLL for (int j = 0; j < n; j++) swap_##S(LD, k, p, n, w + j * LD);                         \
    T d = x[k];                                                                                   \
    if (d == 0 && !info) info = k + 1;                                                            \
    if (d == 0) d = 1;                      /* what is below is zero, too */                      \
    for (int i = 0; i < LD; i++) { T v = x[i] / d; x[i] = i > k ? v : x[i]; }                     \
    UNROLL for (int j = k + 1; j < n; j++) below_##S(LD, k, w[j * LD + k], x, w + j * LD);        \
  }                                                                                               \
  gather_##S(LD, n, w, 1, n, a);                                                                  \
  return info;                                                                                    \
}                                                                                                 \
static int lu_##S(int n, T *a, int *piv) { return BY_SIZE(lu_ld_##S, n, a, piv); }                \
                                                                                                  \
/* w <= W columns of B at once, as rows of W places: no step then waits for a single number. */   \
INLINE void two_triangles_##S(const int W, int n, int w, bool turned, const T *lu,                \
                              const int *row, T *b) {                                             \
  T x[MT_SMALL * MT_SMALL];                                                                       \
  int si = turned ? n : 1, sk = turned ? 1 : n;                                                   \
  for (int k = 0; k < n; k++)                                                                     \
    for (int q = 0; q < W; q++) x[k * W + q] = q < w ? b[q * n + (turned ? k : row[k])] : 0;      \
  for (int k = 0; k < n; k++) {                                                                   \
    if (turned) divide_##S(W, lu[k * n + k], x + k * W);                                          \
    for (int i = k + 1; i < n; i++) minus_##S(W, lu[i * si + k * sk], x + k * W, x + i * W);      \
  }                                                                                               \
  for (int k = n - 1; k >= 0; k--) {                                                              \
    if (!turned) divide_##S(W, lu[k * n + k], x + k * W);                                         \
    for (int i = 0; i < k; i++) minus_##S(W, lu[i * si + k * sk], x + k * W, x + i * W);          \
  }                                                                                               \
  for (int k = 0; k < n; k++)                                                                     \
    for (int q = 0; q < w; q++) b[q * n + (turned ? row[k] : k)] = x[k * W + q];                  \
}                                                                                                 \
INLINE void lu_solve_ld_##S(int LD, int n, int nrhs, bool turned, const T *lu, const int *piv,    \
                            T *b) {                                                               \
  int row[MT_SMALL];                                                                              \
  if (n < 1) return;                                                                              \
  for (int k = 0; k < n; k++) row[k] = k;                                                         \
  for (int k = 0; k < n; k++) { int t = row[k], p = piv[k] - 1; row[k] = row[p]; row[p] = t; }    \
  for (int r = 0; r < nrhs; r += 16, b += 16 * n) {                                               \
    int w = nrhs - r;                                                                             \
    if (w == 1) two_triangles_##S(1, n, 1, turned, lu, row, b);                                   \
    else if (w <= 4) two_triangles_##S(4, n, w, turned, lu, row, b);                              \
    else if (w <= 8) two_triangles_##S(8, n, w, turned, lu, row, b);                              \
    else two_triangles_##S(16, n, w < 16 ? w : 16, turned, lu, row, b);                           \
  }                                                                                               \
}                                                                                                 \
static void lu_solve_##S(int n, int nrhs, bool turned, const T *lu, const int *piv, T *b) {       \
  if (n <= 8) BY_SIZE(lu_solve_ld_##S, n, nrhs, turned, lu, piv, b);                              \
  else lu_solve_ld_##S(16, n, nrhs, turned, lu, piv, b);                                          \
}                                                                                                 \
                                                                                                  \
INLINE int cholesky_ld_##S(const int LD, int n, bool upper, T *a) {                               \
  T w[MT_SMALL * MT_SMALL];                                                                       \
  int di = upper ? n : 1, dj = upper ? 1 : n;                                                     \
  spread_##S(LD, n, a, di, dj, w);                                                                \
  for (int k = 0; k < n; k++) {                                                                   \
    T *x = w + k * LD, d = SQRT(x[k]);                                                            \
    if (!(x[k] > 0)) return k + 1;                                                                \
    for (int i = 0; i < LD; i++) { T v = x[i] / d; x[i] = i >= k ? v : x[i]; }                    \
    x[k] = d;                                                                                     \
    for (int j = k + 1; j < n; j++) below_##S(LD, k, x[j], x, w + j * LD);                        \
  }                                                                                               \
  for (int j = 0; j < n; j++)                                                                     \
    for (int i = j; i < n; i++) a[i * di + j * dj] = w[j * LD + i];                               \
  return 0;                                                                                       \
}                                                                                                 \
static int cholesky_##S(int n, bool upper, T *a) {                                                \
  return BY_SIZE(cholesky_ld_##S, n, upper, a);                                                   \
}
SMALL(float, f32, fabsf, sqrtf, MT_FMAF)
SMALL(double, f64, fabs, sqrt, MT_FMA)
const MtSmallKerns CAT(mt_small_kerns_, KLEVEL) = {lu_f32, lu_solve_f32, cholesky_f32,
                                                   lu_f64, lu_solve_f64, cholesky_f64};
