/* kern_order.c: keys, extrema with indices and small selections; built once per CPU level (see
 * kern_order.h). */
#include "kern_order.h"

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
#define NAME(f) CAT(f, N)

/* Floats order as sign and magnitude; nan is a magnitude above infinity's.  Integers throughout,
 * so that it vectorises; nan says whether nan is the greatest key or the least. */
typedef uint32_t __attribute__((may_alias)) FloatBits;
typedef uint64_t __attribute__((may_alias)) DoubleBits;
static inline uint32_t key_f32(uint32_t u, bool nan) {
  uint32_t mag = u & 0x7fffffffu, k = u >> 31 ? 0x80000000u - mag : 0x80000000u + mag;
  uint32_t is_nan = (uint32_t)((int32_t)(0x7f800000u - mag) >>
                               31); /* masks: a branch here stops the vectoriser */
  return nan ? k | is_nan : k & ~is_nan;
}
static inline uint64_t key_f64(uint64_t u, bool nan) {
  uint64_t mag = u & 0x7fffffffffffffffu,
           k = u >> 63 ? 0x8000000000000000u - mag : 0x8000000000000000u + mag;
  uint64_t is_nan = (uint64_t)((int64_t)(0x7ff0000000000000u - mag) >> 63);
  return nan ? k | is_nan : k & ~is_nan;
}
static inline uint32_t key_16(uint16_t h, uint32_t inf, uint32_t nan) {
  uint32_t mag = h & 0x7fff, k = h & 0x8000 ? 0x8000 - mag : 0x8000 + mag;
  return mag > inf ? nan : k;
}

#define T uint8_t
#define K uint32_t
#define TOKEY(x) (uint32_t)(x)
#define TOKEY0(x) TOKEY(x)
#define N u8
#include "kern_order.inc"

#define T int8_t
#define K uint32_t
#define TOKEY(x) (uint32_t)((x) + 128)
#define TOKEY0(x) TOKEY(x)
#define N i8
#include "kern_order.inc"

#define T int16_t
#define K uint32_t
#define TOKEY(x) (uint32_t)((x) + 32768)
#define TOKEY0(x) TOKEY(x)
#define N i16
#include "kern_order.inc"

#define T int32_t
#define K uint32_t
#define TOKEY(x) ((uint32_t)(x) ^ 0x80000000u)
#define TOKEY0(x) TOKEY(x)
#define N i32
#include "kern_order.inc"

#define T int64_t
#define K uint64_t
#define TOKEY(x) ((uint64_t)(x) ^ 0x8000000000000000u)
#define TOKEY0(x) TOKEY(x)
#define N i64
#include "kern_order.inc"

#define T uint16_t
#define K uint32_t
#define TOKEY(x) key_16(x, 0x7c00, 0x10000)
#define TOKEY0(x) key_16(x, 0x7c00, 0)
#define N f16
#include "kern_order.inc"

#define T uint16_t
#define K uint32_t
#define TOKEY(x) key_16(x, 0x7f80, 0x10000)
#define TOKEY0(x) key_16(x, 0x7f80, 0)
#define N bf16
#include "kern_order.inc"

#define T FloatBits
#define K uint32_t
#define TOKEY(x) key_f32(x, true)
#define TOKEY0(x) key_f32(x, false)
#define N f32
#include "kern_order.inc"

#define T DoubleBits
#define K uint64_t
#define TOKEY(x) key_f64(x, true)
#define TOKEY0(x) key_f64(x, false)
#define N f64
#include "kern_order.inc"

/* top is kept sorted, two words (key, index) an entry; a block is looked at closely only when
 * one of its keys is below the bound.  Equal keys never displace earlier ones, so the result is
 * stable.  The bound starts from the least keys of 64 strands of the first block: at least k
 * keys are not above the k-th of those. */
#define STRANDS 64
#define CANDS 48
#define BLOCK 16
#define LEAST(fname, K) \
  static K fname##_bound(const K *restrict key, int64_t n, int64_t k) { \
    K m[STRANDS], bound = 0; \
    for (int j = 0; j < STRANDS; j++) m[j] = key[j]; \
    for (int64_t i = STRANDS; i + STRANDS <= n; i += STRANDS) \
      for (int j = 0; j < STRANDS; j++) m[j] = key[i + j] < m[j] ? key[i + j] : m[j]; \
    for (int j = 0; j < STRANDS; j++) {              /* the greatest with fewer than k below it */ \
      K v = m[j], below = 0; \
      for (int i = 0; i < STRANDS; i++) below += m[i] < v; \
      K c = below < (K)k ? v : 0; \
      bound = c > bound ? c : bound; \
    } \
    return bound; \
  } \
  /* One block of 256 to 1024 keys: gathers what is within the bound, ranks it by counting. */ \
  static bool fname##_block(const K *restrict key, int64_t n, int64_t k, uint64_t *restrict top) { \
    K bound = fname##_bound(key, n, k), cand[CANDS + BLOCK]; \
    int32_t at[CANDS + BLOCK], c = 0; \
    for (int64_t i = 0; i < n; i += BLOCK) { \
      K least = (K)~(K)0; \
      int e = (int)(n - i < BLOCK ? n - i : BLOCK); \
      if (e == BLOCK) { \
        for (int j = 0; j < BLOCK; j++) least = key[i + j] < least ? key[i + j] : least; \
        if (least > bound) continue; \
      } \
      for (int j = 0; j < e; j++) { \
        cand[c] = key[i + j]; \
        at[c] = (int32_t)i + j; \
        c += key[i + j] <= bound; \
      } \
      if (c >= CANDS) return false; \
    } \
    for (int32_t i = 0; i < c; i++) { \
      K v = cand[i], rank = 0; \
      for (int32_t j = 0; j < i; j++) rank += cand[j] <= v; \
      for (int32_t j = i; j < c; j++) rank += cand[j] < v; \
      if (rank >= (K)k) continue; \
      top[2 * rank] = v; \
      top[2 * rank + 1] = (uint64_t)at[i]; \
    } \
    return true; \
  } \
  static void fname(const K *restrict key, int64_t n, int64_t base, uint64_t *restrict top, \
                    int64_t k, int64_t *have) { \
    int64_t h = *have, i = 0; \
    if (base == 0 && n >= 4 * STRANDS && k <= STRANDS / 2 && fname##_block(key, n, k, top)) { \
      *have = k; \
      return; \
    } \
    K bound = h == k ? (K)top[2 * k - 2] - 1 : (K)~(K)0; \
    if (h == k && top[2 * k - 2] == 0) return; \
    while (i < n) { \
      int64_t e = n - i < BLOCK ? n : i + BLOCK; \
      K least = (K)~(K)0; \
      if (e - i == BLOCK) \
        for (int j = 0; j < BLOCK; j++) least = key[i + j] < least ? key[i + j] : least; \
      else for (int64_t j = i; j < e; j++) least = key[j] < least ? key[j] : least; \
      if (least > bound) { i = e; continue; } \
      for (; i < e; i++) { \
        K v = key[i]; \
        int64_t p = h; \
        if (v > bound) continue; \
        if (h == k) p = k - 1; \
        else h++; \
        for (; p > 0 && (K)top[2 * p - 2] > v; p--) { \
          top[2 * p] = top[2 * p - 2]; \
          top[2 * p + 1] = top[2 * p - 1]; \
        } \
        top[2 * p] = v; \
        top[2 * p + 1] = (uint64_t)(base + i); \
        if (h < k) continue; \
        if (top[2 * k - 2] == 0) { *have = h; return; } \
        bound = (K)top[2 * k - 2] - 1; \
      } \
    } \
    *have = h; \
  }
LEAST(least32, uint32_t)
LEAST(least64, uint64_t)

#define TEN(f) {f##u8, f##u8, f##i8, f##i16, f##i32, f##i64, f##f16, f##bf16, f##f32, f##f64}
const OrderKern CAT(mt_orderkern_, KLEVEL) = {
  TEN(keys_), TEN(argmax_), TEN(argmin_), TEN(argmax_cols_), TEN(argmin_cols_), least32, least64};
