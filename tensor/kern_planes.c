/* kern_planes.c: pooling and resampling of one plane (see kern_planes.h), three element types. */
#include "kern_planes.h"
#include <math.h>
#include <string.h>

/* Compilers turn x[idx[i]] into gather instructions, which are slower than single loads. */
#ifdef __clang__
#define SCALAR
#define UNROLL _Pragma("unroll 4")
#else
#define SCALAR __attribute__((optimize("no-tree-vectorize")))
#define UNROLL _Pragma("GCC unroll 4")
#endif
#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)

#define T float
#define I int32_t
#define IMAX INT32_MAX
#define LOW (-INFINITY)
#define F(name) name##_f32
#include "planes.inc"
#undef T
#undef I
#undef IMAX
#undef LOW
#undef F
#define T double
#define I int64_t
#define IMAX INT64_MAX
#define LOW (-INFINITY)
#define F(name) name##_f64
#include "planes.inc"
#undef T
#undef LOW
#undef F
#define T int64_t
#define LOW INT64_MIN
#define F(name) name##_i64
#include "planes.inc"

/* ---- places of a grid ---- */
enum { PLACES = 256 };
/* A coordinate in elements, from every second number of v; `low`: as an index, -1 or less and
 * `size` or more outside. */
#define PLACES_OF(T, S, FLOOR, RINT)                                                            \
  static inline void elements_##S(int64_t n, const T *v, int32_t size, const MtPlaces *p, T *x) { \
    const T z = (T)size, last = (T)(size - 1);                                                  \
    if (p->align) for (int64_t i = 0; i < n; i++) x[i] = (v[2 * i] + 1) / 2 * last;             \
    else for (int64_t i = 0; i < n; i++) x[i] = ((v[2 * i] + 1) * z - 1) / 2;                   \
    if (p->border)                                                                              \
      for (int64_t i = 0; i < n; i++) x[i] = !(x[i] > 0) ? 0 : x[i] >= last ? last : x[i];      \
  }                                                                                             \
  static inline void lows_##S(int64_t n, const T *low, int32_t size, int32_t *at) {             \
    const T z = (T)size;                                                                        \
    for (int64_t i = 0; i < n; i++)                                                             \
      at[i] = (int32_t)(low[i] >= -2 ? (low[i] <= z ? low[i] : z) : -2);                        \
  }                                                                                             \
  static void places_##S(const MtPlaces *p, int64_t m, const void *grid_, int32_t *idx,         \
                         void *w_) {                                                            \
    const uint32_t width = (uint32_t)p->width, height = (uint32_t)p->height;                    \
    const T *grid = grid_;                                                                      \
    T *w = w_;                                                                                  \
    for (int64_t o = 0; o < m; o += PLACES, grid += 2 * PLACES, idx += PLACES, w += PLACES) {   \
      T x[PLACES], y[PLACES], fx[PLACES], fy[PLACES];                                           \
      int32_t ax[PLACES], ay[PLACES];                                                           \
      const int64_t n = m - o < PLACES ? m - o : PLACES;                                        \
      elements_##S(n, grid, p->width, p, x);                                                    \
      elements_##S(n, grid + 1, p->height, p, y);                                               \
      for (int64_t i = 0; i < n; i++) {                                                         \
        fx[i] = p->nearest ? RINT(x[i]) : FLOOR(x[i]);                                          \
        fy[i] = p->nearest ? RINT(y[i]) : FLOOR(y[i]);                                          \
      }                                                                                         \
      lows_##S(n, fx, p->width, ax);                                                            \
      lows_##S(n, fy, p->height, ay);                                                           \
      for (int k = 0; k < (p->nearest ? 1 : 4); k++) {                                          \
        const int right = k & 1, below = k >> 1;                                                \
        int32_t *to = idx + k * m;                                                              \
        T *share = w + k * m;                                                                   \
        VEC for (int64_t i = 0; i < n; i++) {                                                   \
          uint32_t c = (uint32_t)(ax[i] + right), r = (uint32_t)(ay[i] + below);                \
          T tx = x[i] - fx[i], ty = y[i] - fy[i];                                               \
          to[i] = (c < width) & (r < height) ? (int32_t)(r * width + c) : -1;                   \
          share[i] = p->nearest ? 1 : (right ? tx : 1 - tx) * (below ? ty : 1 - ty);            \
        }                                                                                       \
      }                                                                                         \
    }                                                                                           \
  }
#define VEC _Pragma("GCC ivdep")
PLACES_OF(float, f32, floorf, rintf)
PLACES_OF(double, f64, floor, rint)

const MtPlaneKerns CAT(mt_plane_kerns_, KLEVEL)[MT_PLANE_TYPES] = {
    {max_f32, along_f32, sample_f32, divide_f32, copies_f32, places_f32},
    {max_f64, along_f64, sample_f64, divide_f64, copies_f64, places_f64},
    {max_i64, along_i64, sample_i64, divide_i64, copies_i64, NULL}};
