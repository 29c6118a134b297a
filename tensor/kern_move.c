/* kern_move.c: transposed copies and selections by a mask (kern_move.h).
 *
 * A transposition goes in small squares that live in vector registers: log2(n) rounds of
 * interleaving row i with row i + n/2 turn n rows of n elements into their columns.  Squares follow
 * each other along a row of dst, so whole cache lines are written; the lines of src wait in the
 * second-level cache for the square below. */
#include "kern.h"
#include "kern_move.h"
#include <string.h>
#ifdef __AVX512BW__
#include <immintrin.h>
#endif

#define PLAIN(T, i0, i1, k0, k1)                                 \
  for (int64_t i_ = i0; i_ < (i1); i_++)                         \
    for (int64_t k_ = k0; k_ < (k1); k_++)                       \
      ((T *)dst)[i_ * ds + k_] = ((const T *)src)[k_ * ss + i_];

#define TRANSPOSE(name, T, N, SQUARE)                                                \
  static void name(void *dst, int64_t ds, const void *src, int64_t ss, int64_t rows, \
                   int64_t cols) {                                                   \
    if (cols == 2 && ds == 2) {                                                      \
      const T *a = src, *b = a + ss;                                                 \
      T *o = dst;                                                                    \
      for (int64_t i = 0; i < rows; i++) {                                           \
        o[2 * i] = a[i];                                                             \
        o[2 * i + 1] = b[i];                                                         \
      }                                                                              \
      return;                                                                        \
    }                                                                                \
    int64_t r = rows - rows % N, c = cols - cols % N;                                \
    for (int64_t i = 0; i < r; i += N)                                               \
      for (int64_t k = 0; k < c; k += N)                                             \
        SQUARE((T *)dst + i * ds + k, ds, (const T *)src + k * ss + i, ss);          \
    PLAIN(T, 0, r, c, cols)                                                          \
    PLAIN(T, r, rows, 0, cols)                                                       \
  }

typedef uint32_t V4 __attribute__((vector_size(32), aligned(4), may_alias));
typedef uint64_t V8 __attribute__((vector_size(32), aligned(8), may_alias));
typedef uint16_t V2 __attribute__((vector_size(16), aligned(2), may_alias));
typedef uint8_t V1 __attribute__((vector_size(8), aligned(1), may_alias));
/* Interleaves a and b in their 128-bit halves; a last exchange of halves puts the columns in order.
 */
#define LO4 (V4){0, 8, 1, 9, 4, 12, 5, 13}
#define HI4 (V4){2, 10, 3, 11, 6, 14, 7, 15}
#define LO44 (V4){0, 1, 8, 9, 4, 5, 12, 13}
#define HI44 (V4){2, 3, 10, 11, 6, 7, 14, 15}
#define LOW (V4){0, 1, 2, 3, 8, 9, 10, 11}
#define HIGH (V4){4, 5, 6, 7, 12, 13, 14, 15}
#ifdef __AVX512F__
/* 16 by 16: each line of src is read once and whole, which matters where row strides are powers of
 * two and fight for a set. */
enum { SIDE4 = 16 };
typedef uint32_t V16 __attribute__((vector_size(64), aligned(4), may_alias));
static inline void square_4(uint32_t *d, int64_t ds, const uint32_t *s, int64_t ss) {
  V16 r[16], t[16];
  for (int k = 0; k < 16; k++) r[k] = *(const V16 *)(s + k * ss);
#define ROUND(from, to)                                                                           \
  for (int k = 0; k < 8; k++) {                                                                   \
    to[2 * k] = __builtin_shuffle(from[k], from[k + 8],                                           \
                                  (V16){0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23}); \
    to[2 * k + 1] =                                                                               \
        __builtin_shuffle(from[k], from[k + 8],                                                   \
                          (V16){8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31});   \
  }
  ROUND(r, t)
  ROUND(t, r)
  ROUND(r, t)
  ROUND(t, r)
  for (int k = 0; k < 16; k++) *(V16 *)(d + k * ds) = r[k];
}
#else
enum { SIDE4 = 8 };
static inline void square_4(uint32_t *d, int64_t ds, const uint32_t *s, int64_t ss) {
  V4 r[8], t[8];
  for (int k = 0; k < 8; k++) r[k] = *(const V4 *)(s + k * ss);
  for (int k = 0; k < 8; k += 2) {
    t[k] = __builtin_shuffle(r[k], r[k + 1], LO4);
    t[k + 1] = __builtin_shuffle(r[k], r[k + 1], HI4);
  }
  for (int k = 0; k < 8; k += 4)
    for (int j = 0; j < 2; j++) {
      r[k + 2 * j] = __builtin_shuffle(t[k + j], t[k + j + 2], LO44);
      r[k + 2 * j + 1] = __builtin_shuffle(t[k + j], t[k + j + 2], HI44);
    }
  for (int k = 0; k < 4; k++) {
    *(V4 *)(d + k * ds) = __builtin_shuffle(r[k], r[k + 4], LOW);
    *(V4 *)(d + (k + 4) * ds) = __builtin_shuffle(r[k], r[k + 4], HIGH);
  }
}
#endif
static inline void square_8(uint64_t *d, int64_t ds, const uint64_t *s, int64_t ss) {
  V8 r[4], t[4];
  for (int k = 0; k < 4; k++) r[k] = *(const V8 *)(s + k * ss);
  for (int k = 0; k < 4; k += 2) {
    t[k] = __builtin_shuffle(r[k], r[k + 1], (V8){0, 4, 2, 6});
    t[k + 1] = __builtin_shuffle(r[k], r[k + 1], (V8){1, 5, 3, 7});
  }
  for (int k = 0; k < 2; k++) {
    *(V8 *)(d + k * ds) = __builtin_shuffle(t[k], t[k + 2], (V8){0, 1, 4, 5});
    *(V8 *)(d + (k + 2) * ds) = __builtin_shuffle(t[k], t[k + 2], (V8){2, 3, 6, 7});
  }
}
static inline void square_2(uint16_t *d, int64_t ds, const uint16_t *s, int64_t ss) {
  V2 r[8], t[8];
  for (int k = 0; k < 8; k++) r[k] = *(const V2 *)(s + k * ss);
  for (int round = 0; round < 3; round++) {
    for (int k = 0; k < 4; k++) {
      t[2 * k] = __builtin_shuffle(r[k], r[k + 4], (V2){0, 8, 1, 9, 2, 10, 3, 11});
      t[2 * k + 1] = __builtin_shuffle(r[k], r[k + 4], (V2){4, 12, 5, 13, 6, 14, 7, 15});
    }
    memcpy(r, t, sizeof r);
  }
  for (int k = 0; k < 8; k++) *(V2 *)(d + k * ds) = r[k];
}
static inline void square_1(uint8_t *d, int64_t ds, const uint8_t *s, int64_t ss) {
  V1 r[8], t[8];
  for (int k = 0; k < 8; k++) r[k] = *(const V1 *)(s + k * ss);
  for (int round = 0; round < 3; round++) {
    for (int k = 0; k < 4; k++) {
      t[2 * k] = __builtin_shuffle(r[k], r[k + 4], (V1){0, 8, 1, 9, 2, 10, 3, 11});
      t[2 * k + 1] = __builtin_shuffle(r[k], r[k + 4], (V1){4, 12, 5, 13, 6, 14, 7, 15});
    }
    memcpy(r, t, sizeof r);
  }
  for (int k = 0; k < 8; k++) *(V1 *)(d + k * ds) = r[k];
}
TRANSPOSE(transpose_1, uint8_t, 8, square_1)
TRANSPOSE(transpose_2, uint16_t, 8, square_2)
TRANSPOSE(transpose_4, uint32_t, SIDE4, square_4)
TRANSPOSE(transpose_8, uint64_t, 4, square_8)

/* Masks are often random, so nothing branches on them: each element is stored, the place advances
 * by the mask.  The store after the last place would leave out, hence the buffer. */
enum { BUF = 512 };
#define PICK(name, T)                                                           \
  static int64_t name(const void *x_, const uint8_t *m, int64_t n, void *out) { \
    const T *x = x_;                                                            \
    T *o = out, tmp[BUF];                                                       \
    int64_t at = 0;                                                             \
    for (int64_t i = 0; i < n; i += BUF) {                                      \
      int64_t w = 0, len = n - i < BUF ? n - i : BUF;                           \
      for (int64_t j = 0; j < len; j++) { tmp[w] = x[i + j]; w += m[i + j] != 0; } \
      memcpy(o + at, tmp, sizeof(T) * (size_t)w);                               \
      at += w;                                                                  \
    }                                                                           \
    return at;                                                                  \
  }
PICK(pick_1, uint8_t)
PICK(pick_2, uint16_t)
#ifdef __AVX512BW__
static int64_t pick_4(const void *x_, const uint8_t *m, int64_t n, void *out) {
  const uint32_t *x = x_;
  uint32_t *o = out;
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    __m128i b = _mm_loadu_si128((const __m128i *)(m + i));
    __mmask16 q = _mm_test_epi8_mask(b, b);
    int w = __builtin_popcount(q);
    _mm512_mask_storeu_epi32(o, (__mmask16)((1u << w) - 1),
                             _mm512_maskz_compress_epi32(q, _mm512_loadu_si512(x + i)));
    o += w;
  }
  for (; i < n; i++) if (m[i]) *o++ = x[i];
  return o - (uint32_t *)out;
}
static int64_t pick_8(const void *x_, const uint8_t *m, int64_t n, void *out) {
  const uint64_t *x = x_;
  uint64_t *o = out;
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    __m128i b = _mm_loadl_epi64((const __m128i *)(m + i));
    __mmask8 q = (__mmask8)_mm_test_epi8_mask(b, b);
    int w = __builtin_popcount(q);
    _mm512_mask_storeu_epi64(o, (__mmask8)((1u << w) - 1),
                             _mm512_maskz_compress_epi64(q, _mm512_loadu_si512(x + i)));
    o += w;
  }
  for (; i < n; i++) if (m[i]) *o++ = x[i];
  return o - (uint64_t *)out;
}
#else
PICK(pick_4, uint32_t)
PICK(pick_8, uint64_t)
#endif

/* Twice to four times is what upsampling and heads that share keys ask for. */
#define REPEAT(name, T)                                                                   \
  static void name(void *out, const void *x_, int64_t xs, int64_t n, int64_t r) {         \
    const T *x = x_;                                                                      \
    T *restrict o = out;                                                                  \
    if (xs == 1 && r == 2) for (int64_t i = 0; i < n; i++) o[2 * i] = o[2 * i + 1] = x[i]; \
    else if (xs == 1 && r == 3)                                                           \
      for (int64_t i = 0; i < n; i++) o[3 * i] = o[3 * i + 1] = o[3 * i + 2] = x[i];      \
    else if (xs == 1 && r == 4)                                                           \
      for (int64_t i = 0; i < n; i++)                                                     \
        o[4 * i] = o[4 * i + 1] = o[4 * i + 2] = o[4 * i + 3] = x[i];                     \
    else {                                                                                \
      /* whole vectors, whose ends the next element writes over, while they fit */         \
      typedef T V __attribute__((vector_size(64), aligned(sizeof(T)), may_alias));        \
      const int64_t lanes = (int64_t)(64 / sizeof(T)), wide = (r + lanes - 1) / lanes * lanes; \
      const T *end = o + n * r;                                                           \
      int64_t i = 0;                                                                      \
      for (; i < n && end - o >= wide; i++, o += r) {                                     \
        V v = (V){0} + x[i * xs];                                                         \
        for (int64_t j = 0; j < r; j += lanes) *(V *)(o + j) = v;                         \
      }                                                                                   \
      for (; i < n; i++) for (int64_t j = 0; j < r; j++) *o++ = x[i * xs];                \
    }                                                                                     \
  }
REPEAT(repeat_1, uint8_t)
REPEAT(repeat_2, uint16_t)
REPEAT(repeat_4, uint32_t)
REPEAT(repeat_8, uint64_t)

const MtMoveKerns CAT(mt_move, kerns, KLEVEL) = {
    {transpose_1, transpose_2, transpose_4, transpose_8},
    {pick_1, pick_2, pick_4, pick_8},
    {repeat_1, repeat_2, repeat_4, repeat_8}};
