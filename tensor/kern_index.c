/* kern_index.c: see kern_index.h.  Gathering one element at a time is faster than the CPUs' gather
 * instructions, so those loops stay scalar. */
#include "kern_index.h"
#include <string.h>

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
#ifdef __clang__
#define SCALAR
#define UNROLL _Pragma("unroll 4")
#else
#define SCALAR __attribute__((optimize("no-tree-vectorize")))
#define UNROLL _Pragma("GCC unroll 4")
#endif
/* Elements in whatever memory they lie: a row of two bytes moves as one of these. */
typedef uint16_t __attribute__((aligned(1), may_alias)) Any2;
typedef uint32_t __attribute__((aligned(1), may_alias)) Any4;
typedef uint64_t __attribute__((aligned(1), may_alias)) Any8;
typedef struct { uint64_t a, b; } __attribute__((packed, may_alias)) Wide;

static int64_t check(const int64_t *ix, int64_t is, int64_t n, int64_t size) {
  uint64_t bad = 0, s = (uint64_t)size;
  if (is == 1)
    for (int64_t i = 0; i < n; i++) bad |= (uint64_t)ix[i] >= s;
  else
    for (int64_t i = 0; i < n; i++) bad |= (uint64_t)ix[i * is] >= s;
  if (!bad) return -1;
  for (int64_t i = 0; i < n; i++) if ((uint64_t)ix[i * is] >= s) return i;
  return -1;
}

#define LINE(T)                                                    \
  T *s = (T *)(void *)l->self, *w = (T *)(void *)l->with;          \
  const int64_t *ix = l->ix, ss = l->ss, sj = l->sj, ws = l->ws, is = l->is, n = l->n;
/* Three shapes: indices in a row with one line; one index for a whole row; any. */
#define SHAPES(SIMPLE, ROW, ANY)                                      \
  if (is == 0 && sj == 1 && ws == 1) {                                \
    s += ix[0] * ss;                                                  \
    ROW;                                                              \
  } else if (is == 1 && ws == 1 && sj == 0 && ss == 1) {              \
    UNROLL for (int64_t i = 0; i < n; i++) SIMPLE;                    \
  } else {                                                            \
    UNROLL for (int64_t i = 0; i < n; i++) ANY;                       \
  }

#define MOVE(T, z)                                                                      \
  SCALAR static void take_##z(const MtIndexLine *l) {                                   \
    LINE(T)                                                                             \
    SHAPES(w[i] = s[ix[i]], memcpy(w, s, sizeof(T) * (size_t)n),                        \
           w[i * ws] = s[ix[i * is] * ss + i * sj])                                     \
  }                                                                                     \
  SCALAR static void put_##z(const MtIndexLine *l) {                                    \
    LINE(T)                                                                             \
    SHAPES(s[ix[i]] = w[i], memcpy(s, w, sizeof(T) * (size_t)n),                        \
           s[ix[i * is] * ss + i * sj] = w[i * ws])                                     \
  }                                                                                     \
  static void flip_##z(void *dst, const void *src, int64_t n) {                         \
    T *restrict o = dst;                                                                \
    const T *restrict x = src;                                                          \
    for (int64_t i = 0; i < n; i++) o[i] = x[n - 1 - i];                                \
  }
MOVE(uint8_t, 1)
MOVE(Any2, 2)
MOVE(Any4, 4)
MOVE(Any8, 8)
MOVE(Wide, 16)

/* Whether the mask is set decides how far the source moves, not whether a branch is taken. */
#define BLEND(T, on, a, b) ((T)(((a) & (T)-(T)(on)) | ((b) & (T) ~(T)-(T)(on))))
#define LAY(T, z, PUT)                                                                      \
  static void lay_##z(void *dst, const uint8_t *m, int64_t n, const void *src, int64_t ns) { \
    T *o = dst;                                                                             \
    const T *s = src;                                                                       \
    int64_t k = 0, i = 0;                                                                   \
    for (; i < n && k < ns; i++) {                                                          \
      PUT;                                                                                  \
      k += m[i];                                                                            \
    }                                                                                       \
  }
LAY(uint8_t, 1, o[i] = BLEND(uint8_t, m[i], s[k], o[i]))
LAY(uint16_t, 2, o[i] = BLEND(uint16_t, m[i], s[k], o[i]))
LAY(uint32_t, 4, o[i] = BLEND(uint32_t, m[i], s[k], o[i]))
LAY(uint64_t, 8, o[i] = BLEND(uint64_t, m[i], s[k], o[i]))
LAY(Wide, 16, if (m[i]) o[i] = s[k])

#define FOLD(T, name, EXPR)                                                   \
  static __attribute__((noinline)) void name##_row(T *restrict s, const T *restrict w,  \
                                                   int64_t n) {               \
    for (int64_t i = 0; i < n; i++) {                                         \
      const T a = s[i], b = w[i];                                             \
      s[i] = (T)(EXPR);                                                       \
    }                                                                         \
  }                                                                           \
  static inline void name##_at(T *p, const T *q) {                            \
    const T a = *p, b = *q;                                                   \
    *p = (T)(EXPR);                                                           \
  }                                                                           \
  SCALAR static void name(const MtIndexLine *l) {                             \
    LINE(T)                                                                   \
    SHAPES(name##_at(s + ix[i], w + i), name##_row(s, w, n),                  \
           name##_at(s + ix[i * is] * ss + i * sj, w + i * ws))               \
  }
/* b where on is 1, else a, without a branch: which it is cannot be foreseen. */
#define CHOICE(T, U, z)                                                       \
  static inline T either_##z(T a, T b, int on) {                              \
    U x, y;                                                                   \
    memcpy(&x, &a, sizeof x);                                                 \
    memcpy(&y, &b, sizeof y);                                                 \
    x = BLEND(U, on, y, x);                                                   \
    memcpy(&a, &x, sizeof x);                                                 \
    return a;                                                                 \
  }
CHOICE(float, uint32_t, f32)
CHOICE(double, uint64_t, f64)

#define INTS(T, U, z)                                                         \
  FOLD(T, add_##z, (U)a + (U)b)                                               \
  FOLD(T, mul_##z, (U)a * (U)b)                                               \
  FOLD(T, max_##z, b > a ? b : a)                                             \
  FOLD(T, min_##z, b < a ? b : a)
#define FLOATS(T, z)                                                          \
  FOLD(T, add_##z, a + b)                                                     \
  FOLD(T, mul_##z, a * b)                                                     \
  FOLD(T, max_##z, either_##z(a, b, (b > a) | (b != b)))                                 \
  FOLD(T, min_##z, either_##z(a, b, (b < a) | (b != b)))
INTS(uint8_t, uint32_t, u8)
INTS(int8_t, uint32_t, i8)
INTS(int16_t, uint32_t, i16)
INTS(int32_t, uint32_t, i32)
INTS(int64_t, uint64_t, i64)
FLOATS(float, f32)
FLOATS(double, f64)

static int64_t count(const uint8_t *m, int64_t n) {
  int64_t total = 0;
  for (int64_t i = 0; i < n;) {
    int64_t end = n - i < 4096 ? n : i + 4096;
    uint32_t part = 0;
    for (; i < end; i++) part += m[i];
    total += part;
  }
  return total;
}

static void ramp_i64(int64_t *o, int64_t n, int64_t start, int64_t step) {
  for (int64_t i = 0; i < n; i++) o[i] = (int64_t)((uint64_t)start + (uint64_t)i * (uint64_t)step);
}
/* Places count in int32, which every level converts in vectors. */
#define RAMP(T, name)                                                               \
  static void name(T *o, int64_t from, int64_t n, double start, double step) {      \
    for (int64_t at = 0; at < n; at += 1 << 30) {                                   \
      int32_t m = (int32_t)(n - at < 1 << 30 ? n - at : 1 << 30);                   \
      double base = (double)(from + at);                                            \
      for (int32_t i = 0; i < m; i++) o[at + i] = (T)(start + (base + i) * step);   \
    }                                                                               \
  }
RAMP(float, ramp_f32)
RAMP(double, ramp_f64)

/* A strip of columns stays in registers while the rows pass; rows lie anywhere, so the first strip
 * asks for those to come. */
enum { STRIP = 64, AHEAD = 12 };
#define ROWS_OF(T, m, ADD)                                                                  \
  for (int64_t i = 0; i < n; i++) {                                                         \
    if (j == 0 && i + AHEAD < ahead)                                                        \
      for (int64_t at = 0; at < width && at < 1024; at += 64 / (int64_t)sizeof(T))          \
        __builtin_prefetch(w + ix[i + AHEAD] * width + at);                                 \
    if (ix[i] == but) continue;                                                             \
    const T *row = w + ix[i] * width + j;                                                   \
    for (int64_t l = 0; l < (m); l++) ADD;                                                  \
  }
#define STRIPS(T, ADD)                                                                      \
  for (; j + STRIP <= width; j += STRIP) {                                                  \
    T acc[STRIP] = {0};                                                                     \
    ROWS_OF(T, STRIP, ADD)                                                                  \
    memcpy(o + j, acc, sizeof acc);                                                         \
  }                                                                                         \
  if (j < width) {                                                                          \
    T acc[STRIP] = {0};                                                                     \
    ROWS_OF(T, width - j, ADD)                                                              \
    memcpy(o + j, acc, sizeof(T) * (size_t)(width - j));                                    \
  }
#define BAG(T, name)                                                                        \
  static void name(T *o, int64_t width, const T *w, const int64_t *ix, int64_t n,           \
                   int64_t ahead, int64_t but, const T *by) {                               \
    int64_t j = 0;                                                                          \
    if (by) { STRIPS(T, acc[l] += by[i] * row[l]) } else { STRIPS(T, acc[l] += row[l]) }    \
  }
BAG(float, bag_f32)
BAG(double, bag_f64)

#define BY_SIZE(f) {f##_1, f##_2, f##_4, f##_8, f##_16}
#define FOLDS(z) {NULL, add_##z, mul_##z, max_##z, min_##z}
const MtIndexKerns CAT(mt_index_kerns_, KLEVEL) = {
    check,
    BY_SIZE(take),
    BY_SIZE(put),
    {[MT_uint8] = FOLDS(u8),
     [MT_int8] = FOLDS(i8),
     [MT_int16] = FOLDS(i16),
     [MT_int32] = FOLDS(i32),
     [MT_int64] = FOLDS(i64),
     [MT_float32] = FOLDS(f32),
     [MT_float64] = FOLDS(f64)},
    BY_SIZE(flip),
    BY_SIZE(lay),
    count,
    ramp_i64,
    ramp_f32,
    ramp_f64,
    bag_f32,
    bag_f64};
