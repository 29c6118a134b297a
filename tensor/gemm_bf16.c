/* gemm_bf16.c: see gemm_bf16.h.
 *
 * The dot instruction adds two neighbouring products to each lane, so both sides are read as pairs
 * along k: A's rows as they lie (copied only where k is not contiguous or odd), B packed into
 * panels of 32 columns, pair by pair.  A tile holds 14 x 32 sums in registers; k goes in pieces of
 * KC, so that a panel stays in the first-level cache and A in the second.  A few rows take plain
 * dot products. */
#include "gemm_bf16.h"
#include "cpu.h"
#include "gemm_impl.h"
#include <string.h>

enum { W = 32, KC = 512 };                     /* columns of a panel; k of a piece */

int64_t mt_bf16_ld(int64_t n) { return (n + W - 1) / W * W; }
static int64_t pairs(int64_t k) { return (k + 1) / 2; }

#if defined __x86_64__ && defined __GNUC__ && __GNUC__ >= 10
#include <immintrin.h>
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma")))
enum { MR = 14 };

bool mt_bf16_usable(void) { return mt_cpu_has_bf16(); }

/* kp pairs of the rows a, as elements apart, by a panel, added to c unless first. */
#define TILE(R)                                                                                \
  TARGET static void tile_##R(int64_t kp, const uint16_t *a, int64_t as, const uint32_t *b,    \
                              float *c, int64_t ldc, bool first) {                             \
    __m512 acc[R][2];                                                                          \
    _Pragma("GCC unroll 14") for (int r = 0; r < R; r++)                                       \
      _Pragma("GCC unroll 2") for (int v = 0; v < 2; v++)                                      \
        acc[r][v] = first ? _mm512_setzero_ps() : _mm512_loadu_ps(c + r * ldc + 16 * v);       \
    for (int64_t p = 0; p < kp; p++, b += W) {                                                 \
      __m512bh x = (__m512bh)_mm512_loadu_si512(b), y = (__m512bh)_mm512_loadu_si512(b + 16);  \
      _Pragma("GCC unroll 14") for (int r = 0; r < R; r++) {                                   \
        int32_t two;                                                                           \
        memcpy(&two, a + r * as + 2 * p, 4);                                                   \
        __m512bh s = (__m512bh)_mm512_set1_epi32(two);                                         \
        acc[r][0] = _mm512_dpbf16_ps(acc[r][0], x, s);                                         \
        acc[r][1] = _mm512_dpbf16_ps(acc[r][1], y, s);                                         \
      }                                                                                        \
    }                                                                                          \
    _Pragma("GCC unroll 14") for (int r = 0; r < R; r++)                                       \
      _Pragma("GCC unroll 2") for (int v = 0; v < 2; v++)                                      \
        _mm512_storeu_ps(c + r * ldc + 16 * v, acc[r][v]);                                     \
  }
#define EACH(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
EACH(TILE)
/* Few rows: dot products along k, four columns of B at a time, nothing packed. */
enum { FEW = 4 };
TARGET static void dots(int64_t m, int64_t n, int64_t k, MtBf16 a, MtBf16 b, float *out,
                        int64_t ld) {
  for (int64_t j = 0; j < n; j += 4) {
    int64_t wide = n - j < 4 ? n - j : 4;
    const uint16_t *col[4];
    for (int c = 0; c < 4; c++) col[c] = b.p + (j + (c < wide ? c : 0)) * b.cs;
    for (int64_t i = 0; i < m; i++) {
      const uint16_t *row = a.p + i * a.rs;
      __m512 acc[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),
                       _mm512_setzero_ps()};
      for (int64_t p = 0; p < k; p += 32) {
        __mmask32 in = k - p < 32 ? (__mmask32)((UINT64_C(1) << (k - p)) - 1) : 0xffffffff;
        __m512bh x = (__m512bh)_mm512_maskz_loadu_epi16(in, row + p);
        for (int c = 0; c < 4; c++)
          acc[c] = _mm512_dpbf16_ps(acc[c], x,
                                    (__m512bh)_mm512_maskz_loadu_epi16(in, col[c] + p));
      }
      for (int64_t c = 0; c < wide; c++) out[i * ld + j + c] = _mm512_reduce_add_ps(acc[c]);
    }
  }
}
/* kp pairs of rows of B, 32 columns, contiguous; with `last` the final pair has a second row. */
TARGET static void pair_rows(int64_t kp, const uint16_t *b, int64_t rs, bool last, uint32_t *to) {
  uint16_t pattern[2][32];
  for (int i = 0; i < 64; i++) pattern[i / 32][i % 32] = (uint16_t)(i / 2 + (i & 1) * 32);
  __m512i lo = _mm512_loadu_si512(pattern[0]), hi = _mm512_loadu_si512(pattern[1]);
  for (int64_t p = 0; p < kp; p++, b += 2 * rs, to += W) {
    bool both = p < kp - 1 || last;
    __m512i x = _mm512_loadu_si512(b);
    __m512i y = both ? _mm512_loadu_si512(b + rs) : _mm512_setzero_si512();
    _mm512_storeu_si512(to, _mm512_permutex2var_epi16(x, lo, y));
    _mm512_storeu_si512(to + 16, _mm512_permutex2var_epi16(x, hi, y));
  }
}
#define NAME(R) tile_##R,
static void (*const tiles[MR])(int64_t, const uint16_t *, int64_t, const uint32_t *, float *,
                               int64_t, bool) = {EACH(NAME)};
#else
enum { MR = 1, FEW = 0 };
bool mt_bf16_usable(void) { return false; }
static void dots(int64_t m, int64_t n, int64_t k, MtBf16 a, MtBf16 b, float *out, int64_t ld) {}
static void pair_rows(int64_t kp, const uint16_t *b, int64_t rs, bool last, uint32_t *to) {}
static void none(int64_t kp, const uint16_t *a, int64_t as, const uint32_t *b, float *c,
                 int64_t ldc, bool first) {}
static void (*const tiles[MR])(int64_t, const uint16_t *, int64_t, const uint32_t *, float *,
                               int64_t, bool) = {none};
#endif

size_t mt_bf16_bytes(int64_t m, int64_t n, int64_t k) {
  int64_t kp = pairs(k < KC ? k : KC);
  return (size_t)(4 * (m * kp + W * kp * 2 + 64));
}

/* Columns [0, n) of a piece of B into one panel; spare: room for W rows of kp pairs. */
static void pack_panel(MtBf16 b, int64_t n, int64_t k, uint32_t *spare, uint32_t *to) {
  int64_t kp = pairs(k);
  uint16_t *half = (void *)to;
  if (b.cs == 1 && n == W) { pair_rows(kp, b.p, b.rs, !(k & 1), to); return; }
  if (b.rs != 1) { /* two rows of B meet */
    for (int64_t p = 0; p < kp; p++)
      for (int64_t j = 0; j < W; j++) {
        const uint16_t *x = b.p + 2 * p * b.rs + j * b.cs;
        half[(p * W + j) * 2] = j < n ? x[0] : 0;
        half[(p * W + j) * 2 + 1] = j < n && 2 * p + 1 < k ? x[b.rs] : 0;
      }
    return;
  }
  for (int64_t j = 0; j < W; j++) { /* columns of B are rows of pairs */
    if (j >= n) { memset(spare + j * kp, 0, 4 * (size_t)kp); continue; }
    if (k & 1) spare[j * kp + kp - 1] = 0;
    memcpy(spare + j * kp, b.p + j * b.cs, 2 * (size_t)k);
  }
  mt_gemm_kerns()->f32->pack_t(kp, W, (const float *)(const void *)spare, kp, (float *)(void *)to);
}

void mt_bf16_block(int64_t m, int64_t n, int64_t k, MtBf16 a, MtBf16 b, float *out, void *scratch) {
  int64_t most = pairs(k < KC ? k : KC), ld = mt_bf16_ld(n);
  uint32_t *rows = scratch, *panel = rows + (m * most + 15) / 16 * 16, *spare = panel + W * most;
  if (m <= FEW && a.cs == 1 && b.rs == 1) { dots(m, n, k, a, b, out, ld); return; }
  if (!k) memset(out, 0, sizeof(float) * (size_t)(m * ld));
  for (int64_t k0 = 0; k0 < k && !mt_interrupted; k0 += KC) {
    int64_t kc = k - k0 < KC ? k - k0 : KC, kp = pairs(kc), as = a.rs;
    const uint16_t *from = a.p + k0 * a.cs;
    if (a.cs != 1 || kc & 1) {
      uint16_t *to = (void *)rows;
      as = 2 * kp;
      for (int64_t i = 0; i < m; i++, to += as) {
        for (int64_t p = 0; p < kc; p++) to[p] = from[i * a.rs + p * a.cs];
        if (kc & 1) to[kc] = 0;
      }
      from = (const void *)rows;
    }
    for (int64_t j = 0; j < n; j += W) {
      MtBf16 piece = {b.p + k0 * b.rs + j * b.cs, b.rs, b.cs};
      pack_panel(piece, n - j < W ? n - j : W, kc, spare, panel);
      for (int64_t i = 0; i < m; i += MR) {
        int64_t high = m - i < MR ? m - i : MR;
        tiles[high - 1](kp, from + i * as, as, panel, out + i * ld + j, ld, k0 == 0);
      }
    }
  }
}
