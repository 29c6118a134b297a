/* gemm.h: matrix products on raw buffers, and the kernel tables behind them.
 *
 * Invariants.  Strides count elements.  C must have unit stride along one of its dimensions; A and
 * B may have any strides.  C is read only when beta is not zero.  Each element sums its k terms in
 * an order that depends on the shape and the strides alone, so the result has the same bits for
 * every thread count.  No call runs longer than some milliseconds without polling mt_interrupted.
 */
#ifndef MT_GEMM_H
#define MT_GEMM_H
#include "base.h"

typedef enum { MT_GEMM_OK, MT_GEMM_INTERRUPTED, MT_GEMM_NOMEM } MtGemmStatus;

typedef enum {
  MT_GEMM_F32, MT_GEMM_F64, MT_GEMM_C64, MT_GEMM_C128, MT_GEMM_F16, MT_GEMM_BF16,
  MT_GEMM_I8, MT_GEMM_U8, MT_GEMM_I16, MT_GEMM_I32, MT_GEMM_I64, MT_GEMM_TYPES
} MtGemmType;

/* C[b] = alpha * op(A[b]) * op(B[b]) + beta * C[b] (+ bias along n), A m x k, B k x n; op
 * conjugates where asked. */
typedef struct MtGemm {
  MtGemmType type;
  bool conj_a, conj_b;
  int64_t m, n, k;
  const void *a; int64_t ars, acs;             /* row and column stride */
  const void *b; int64_t brs, bcs;
  void *c;       int64_t crs, ccs;
  double alpha, alpha_im, beta,
      beta_im; /* integers: the 64-bit values of alpha_int, beta_int instead */
  int64_t alpha_int, beta_int;
  const void *bias;                            /* n values with unit stride, or NULL */
  int64_t batch;                               /* 0 and 1 mean one product */
  int64_t abs, bbs, cbs; /* batch strides; or, where given, an offset for each product: */
  const int64_t *aoff, *boff, *coff;
} MtGemm;

MtGemmStatus mt_gemm(const MtGemm *g);

/* Lines a tile asks for while it computes: each of its k steps one, `step` bytes on; after `seg`
 * steps `gap` bytes on from where the last segment began. */
typedef struct { const char *p; int64_t step, seg, gap; } MtPrefetch;

/* A run of a packed row: len elements from `from` on go to `to`. */
typedef struct { int64_t from; int to, len; } MtSeg;

/* One CPU level's tile kernels for one type.  A tile is rows (1..mr) x vecs (1..2) vectors of vl
 * lanes: acc = sum_p a(i, p) * b[p * bs + j]; c[i * ldc + j] = alpha * acc + beta * c, c not read
 * when beta is 0. a(i, p) is a[i * as + p] in tile[0] (rows contiguous along k) and a[p * as + i]
 * in tile[1]. */
enum { MT_GEMM_MR = 14 };
#define MT_GEMM_KERNEL(T, N)                                                                       \
  typedef void (*MtTile##N)(int64_t k, const T *a, int64_t as, const T *b, int64_t bs, T *c,       \
                            int64_t ldc, T alpha, T beta, const MtPrefetch *pf);                   \
  typedef void (*MtCorr##N)(int64_t lines, int64_t len, const T *a, int64_t as, int64_t pitch,     \
                            const T *b, T *c, int64_t ldc);                                        \
  typedef struct {                                                                                 \
    int mr, vl;                                                                                    \
    MtTile##N tile[2][2][MT_GEMM_MR]; /* [layout][vecs - 1][rows - 1] */                           \
    /* dst[p * w + j] = src[j * ss + p] for j < w, p < k: the transposing pack */                  \
    void (*pack_t)(int64_t k, int w, const T *src, int64_t ss, T *dst);                            \
    /* c[j * ldc + i] = alpha * buf[i * 2vl + j] + beta * c for i < rows, j < w; buf has 16 rows   \
     */                                                                                            \
    void (*store_t)(int rows, int w, const T *buf, T *c, int64_t ldc, T alpha, T beta);            \
    /* dst[q * w + seg.to + i] = src[off[q] + seg.from + i] for i < seg.len; writes up to vl - 1   \
     * elements past dst's end */                                                                  \
    void (*pack_segs)(int64_t k, int w, const T *src, const int64_t *off, int nseg,                \
                      const MtSeg *seg, T *dst);                                                   \
    /* y[j] = b + sum_t w[t] * src[off[t] + j], j < n */                                           \
    void (*taps)(int64_t n, int nt, const T *src, const int64_t *off, const T *w, T b, T *y);      \
    /* The same for four rows of y, ldy apart, from rows of src that are `step` apart; rows of w   \
     * read rows `tap` apart, at the kx places in off. */                                          \
    void (*four_rows)(int ky, int kx, int64_t n, const T *src, int64_t step, int64_t tap,          \
                      const int64_t *off, const T *w, T b, T *y, int64_t ldy);                     \
    /* rows of n elements, xs apart, into rows of `row` with zeros on both sides */                \
    void (*pad_rows)(int64_t rows, int64_t left, int64_t n, int64_t row, const T *x, int64_t xs,   \
                     T *y);                                                                        \
    /* the same from elements `step` apart, into `len` places of rows that are ys apart */         \
    void (*phase_rows)(int64_t rows, int64_t left, int64_t n, int64_t len, int64_t step,           \
                       const T *x, int64_t xs, T *y, int64_t ys);                                  \
    /* c[i * ldc + j] += sum over r < lines, q < len of a[i * as + r * pitch + q] *                \
     * b[(r * len + q) * w + j]; w is vecs * vl: [vecs - 1][rows - 1] */                           \
    MtCorr##N corr[2][MT_GEMM_MR];                                                                 \
    /* dw[y * kx + x] += sum over r < lines, j < n of src[r * step + y * tap + off[x] + j] *       \
     * dy[r * ldy + j] */                                                                          \
    void (*corr_taps)(int64_t lines, int64_t n, int ky, int kx, const T *src, int64_t step,        \
                      int64_t tap, const int64_t *off, const T *dy, int64_t ldy, T *dw);           \
    /* y[i] = alpha * dot(a row i, x) + beta * y[i], unit stride along k */                        \
    void (*gemv_rows)(int64_t m, int64_t k, const T *a, int64_t as, const T *x, T *y, T alpha,     \
                      T beta);                                                                     \
    /* y[j] += sum_p x[p] * b[p * bs + j], j < n */                                                \
    void (*gemv_cols)(int64_t k, int64_t n, const T *x, int64_t xs, const T *b, int64_t bs, T *y); \
    /* y (+)= x . b, b packed in panels [panel][k][2vl]; y has room for whole panels */            \
    void (*gemv_panels)(int64_t k, int64_t panels, const T *x, const T *b, T *y, bool add);        \
  } MtGemmKern##N;
MT_GEMM_KERNEL(float, F32)
MT_GEMM_KERNEL(double, F64)
#endif
