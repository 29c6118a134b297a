/* qr.c: see qr.h. */
#include "qr.h"
#include <string.h>

static size_t size_of(MtGemmType t) {
  return t == MT_GEMM_F32 ? 4 : t == MT_GEMM_C128 ? 16 : 8;
}
static int least(int a, int b) { return a < b ? a : b; }
bool mt_qr_pays(int m, int n) { return m >= 48 && n >= 24; }

/* C = alpha op(A) B + beta C, column by column; A is m x k, or k x m when turned (and conjugated).
 */
typedef struct { MtGemmType type; bool turned; int m, n, k; } Shape;
static int product(Shape s, double alpha, const void *a, int lda, const void *b, int ldb,
                   double beta, void *c, int ldc) {
  MtGemm g = {.type = s.type, .m = s.m, .n = s.n, .k = s.k, .conj_a = s.turned,
              .a = a, .ars = s.turned ? lda : 1, .acs = s.turned ? 1 : lda,
              .b = b, .brs = 1, .bcs = ldb, .c = c, .crs = 1, .ccs = ldc,
              .alpha = alpha, .beta = beta, .batch = 1};
  MtGemmStatus st = mt_gemm(&g);
  return st == MT_GEMM_OK ? 0
         : st == MT_GEMM_INTERRUPTED ? MT_LAPACK_INTERRUPTED : MT_LAPACK_NOMEM;
}

/* C (from row j on) by panel j: C -= V T (V^H C), with T^H when adjoint. */
static int apply_panel(const MtQr *q, int j, bool adjoint, int cols, char *c, int ldc, char *w) {
  MtGemmType t = q->type;
  size_t size = size_of(t), row = (size_t)j * size;
  int jb = least(q->nb, q->k - j), rows = q->m - j;
  const char *v = q->v + (size_t)j * (size_t)q->m * size + row,
             *tau = q->t + (size_t)j * (size_t)q->nb * size;
  char *w2 = w + (size_t)q->nb * (size_t)cols * size;
  int err = product((Shape){t, true, jb, cols, rows}, 1, v, q->m, c + row, ldc, 0, w, q->nb);
  if (!err) err = product((Shape){t, adjoint, jb, cols, jb}, 1, tau, q->nb, w, q->nb, 0, w2, q->nb);
  if (!err)
    err = product((Shape){t, false, rows, cols, jb}, -1, v, q->m, w2, q->nb, 1, c + row, ldc);
  return err;
}
static char *workspace(const MtQr *q, int cols) {
  size_t column = (size_t)q->nb * size_of(q->type);
  return mt_malloc(2 * column * (size_t)(cols + 1) + mt_lapack_slack(q->nb));
}

static void set_one(MtGemmType t, char *p) {
  if (t == MT_GEMM_F32 || t == MT_GEMM_C64) *(float *)(void *)p = 1;
  else *(double *)(void *)p = 1;
}
/* Panel j's reflectors from below a's diagonal, with the ones and zeros that are not stored. */
static void copy_reflectors(MtQr *q, int j, const char *a) {
  size_t size = size_of(q->type), m = (size_t)q->m;
  for (int i = j; i < least(j + q->nb, q->k); i++) {
    size_t at = ((size_t)i * m + (size_t)i) * size;
    memset(q->v + (size_t)i * m * size, 0, ((size_t)i + 1) * size);
    set_one(q->type, q->v + at);
    memcpy(q->v + at + size, a + at + size, (m - 1 - (size_t)i) * size);
  }
}

void mt_qr_free(MtQr *q) {
  mt_free(q->v);
  mt_free(q->t);
}
int mt_qr_factor(MtQr *q, MtGemmType t, int m, int n, void *a) {
  size_t size = size_of(t);
  int k = least(m, n), nb = k <= 64 ? k : k < 512 ? 32 : 64, err = 0;
  *q = (MtQr){t, m, k, nb, mt_malloc((size_t)m * (size_t)k * size + mt_lapack_slack(m)),
              mt_calloc((size_t)nb * (size_t)k * size + mt_lapack_slack(nb))};
  char *w = n > nb ? workspace(q, n - nb) : NULL;
  if (!q->v || !q->t || (n > nb && !w)) err = MT_LAPACK_NOMEM;
  for (int j = 0; j < k && !err; j += nb) {
    int jb = least(nb, k - j);
    char *panel = (char *)a + ((size_t)j * (size_t)m + (size_t)j) * size;
    err = mt_geqrt3(t, m - j, jb, panel, m, q->t + (size_t)j * (size_t)nb * size, nb);
    if (err) break;
    copy_reflectors(q, j, a);
    if (j + jb < n)
      err = apply_panel(q, j, true, n - j - jb, (char *)a + (size_t)(j + jb) * (size_t)m * size, m,
                        w);
  }
  mt_free(w);
  return err;
}
int mt_qr_apply(const MtQr *q, bool adjoint, int cols, void *c) {
  int panels = (q->k + q->nb - 1) / q->nb, err = 0;
  char *w = workspace(q, cols);
  for (int i = 0; w && i < panels && !err; i++)
    err = apply_panel(q, (adjoint ? i : panels - 1 - i) * q->nb, adjoint, cols, c, q->m, w);
  mt_free(w);
  return w ? err : MT_LAPACK_NOMEM;
}
/* Q times the identity: before panel j, the columns from j on are zero above row j. */
int mt_qr_columns(const MtQr *q, int cols, void *c) {
  size_t size = size_of(q->type), m = (size_t)q->m;
  int panels = (q->k + q->nb - 1) / q->nb, err = 0;
  char *w = workspace(q, cols);
  memset(c, 0, m * (size_t)cols * size);
  for (int i = 0; i < least(q->m, cols); i++)
    set_one(q->type, (char *)c + (size_t)i * (m + 1) * size);
  for (int j = (panels - 1) * q->nb; w && j >= 0 && !err; j -= q->nb)
    err = apply_panel(q, j, false, cols - j, (char *)c + (size_t)j * m * size, q->m, w);
  mt_free(w);
  return w ? err : MT_LAPACK_NOMEM;
}
char *mt_qr_triangle(MtGemmType t, int m, int n, const void *a) {
  size_t col = (size_t)n * size_of(t), lda = (size_t)m * size_of(t);
  char *r = mt_calloc((size_t)n * col + mt_lapack_slack(n));
  for (size_t q = 0; r && q < (size_t)n; q++)
    memcpy(r + q * col, (const char *)a + q * lda, (q + 1) * size_of(t));
  return r;
}
