/* kern_cast.c: conversion loops between all pairs of dtypes, p[0] <- p[1]. */
#include "kern.h"
#undef bool                                  /* the lists name the dtype so */

/* Loads give a value of an arithmetic C type; stores take one. */
#define LD_bool(v) ((uint8_t)((v) != 0))
#define LD_uint8(v) (v)
#define LD_int8(v) (v)
#define LD_int16(v) (v)
#define LD_int32(v) (v)
#define LD_int64(v) (v)
#define LD_float16(v) mt_half_to_float(v)
#define LD_bfloat16(v) mt_bf16_to_float(v)
#define LD_float32(v) (v)
#define LD_float64(v) (v)
#define LD_complex64(v) crealf(v)
#define LD_complex128(v) creal(v)
/* Narrow integers go through int64 so that negative and large floats wrap as PyTorch's do. */
#define ST_bool(v) ((uint8_t)((v) != 0))
#define ST_uint8(v) ((uint8_t)(int64_t)(v))
#define ST_int8(v) ((int8_t)(int64_t)(v))
#define ST_int16(v) ((int16_t)(int64_t)(v))
#define ST_int32(v) ((int32_t)(v))
#define ST_int64(v) ((int64_t)(v))
#define ST_float16(v) mt_float_to_half((float)(v))
#define ST_bfloat16(v) mt_float_to_bf16((float)(v))
#define ST_float32(v) ((float)(v))
#define ST_float64(v) ((double)(v))
#define ST_complex64(v) ((cfloat)(float)(v))
#define ST_complex128(v) ((cdouble)(double)(v))

/* Half precision has instructions for whole vectors that the compiler does not choose itself. */
#if defined __F16C__
#include <immintrin.h>
enum { HALF_LOOPS = 1 };
static void half_to_float(int64_t n, const void *from, void *to) {
  const uint16_t *a = from;
  float *o = to;
  int64_t i = 0;
#ifdef __AVX512F__
  for (; i + 16 <= n; i += 16)
    _mm512_storeu_ps(o + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(a + i))));
#endif
  for (; i + 8 <= n; i += 8)
    _mm256_storeu_ps(o + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(a + i))));
  for (; i < n; i++) o[i] = _cvtsh_ss(a[i]);
}
static void float_to_half(int64_t n, const void *from, void *to) {
  const float *a = from;
  uint16_t *o = to;
  int64_t i = 0;
#ifdef __AVX512F__
  for (; i + 16 <= n; i += 16)
    _mm256_storeu_si256((__m256i *)(o + i), _mm512_cvtps_ph(_mm512_loadu_ps(a + i), 0));
#endif
  for (; i + 8 <= n; i += 8)
    _mm_storeu_si128((__m128i *)(o + i), _mm256_cvtps_ph(_mm256_loadu_ps(a + i), 0));
  for (; i < n; i++) o[i] = _cvtss_sh(a[i], 0);
}
#else
enum { HALF_LOOPS = 0 };
static void half_to_float(int64_t n, const void *from, void *to) {}
static void float_to_half(int64_t n, const void *from, void *to) {}
#endif

#define CAST(to, TO, from, TI)                                                             \
  static void cast_##to##_##from(char **p, const int64_t *s, int64_t n, const void *par) { \
    int run = s[0] == sizeof(TO) && s[1] == sizeof(TI);                                    \
    if (run && HALF_LOOPS && MT_##to == MT_float32 && MT_##from == MT_float16)             \
      half_to_float(n, p[1], p[0]);                                                        \
    else if (run && HALF_LOOPS && MT_##to == MT_float16 && MT_##from == MT_float32)        \
      float_to_half(n, p[1], p[0]);                                                        \
    else if (run && HALF_LOOPS && MT_##to == MT_float16)                                   \
      for (int64_t at = 0, m; at < n; at += m) { /* through float */                        \
        float part[512];                                                                   \
        const TI *a = (const TI *)p[1] + at;                                               \
        m = n - at < 512 ? n - at : 512;                                                   \
        VEC for (int64_t i = 0; i < m; i++) part[i] = (float)LD_##from(a[i]);              \
        float_to_half(m, part, (uint16_t *)p[0] + at);                                     \
      }                                                                                    \
    else if (run && HALF_LOOPS && MT_##from == MT_float16)                                 \
      for (int64_t at = 0, m; at < n; at += m) {                                           \
        float part[512];                                                                   \
        TO *o = (TO *)p[0] + at;                                                           \
        m = n - at < 512 ? n - at : 512;                                                   \
        half_to_float(m, (const uint16_t *)p[1] + at, part);                               \
        VEC for (int64_t i = 0; i < m; i++) o[i] = ST_##to(part[i]);                       \
      }                                                                                    \
    else if (run) {                                                                        \
      TO *o = (TO *)p[0];                                                                  \
      const TI *a = (const TI *)p[1];                                                      \
      VEC for (int64_t i = 0; i < n; i++) o[i] = ST_##to(LD_##from(a[i]));                 \
    } else {                                                                               \
      char *o = p[0];                                                                      \
      const char *a = p[1];                                                                \
      for (int64_t i = 0; i < n; i++)                                                      \
        *(TO *)(o + i * s[0]) = ST_##to(LD_##from(*(const TI *)(a + i * s[1])));           \
    }                                                                                      \
  }
/* Same dtype: bits move unchanged. */
#define SAME(to, TO)                                                                       \
  static void cast_##to##_##to(char **p, const int64_t *s, int64_t n, const void *par) {   \
    if (s[0] == sizeof(TO) && s[1] == sizeof(TO))                                          \
      __builtin_memmove(p[0], p[1], (size_t)n * sizeof(TO));                               \
    else if (s[0] == sizeof(TO) && s[1] == 0) {                                            \
      TO v = *(const TO *)p[1], *o = (TO *)p[0];                                           \
      for (int64_t i = 0; i < n; i++) o[i] = v;                                            \
    } else {                                                                               \
      char *o = p[0];                                                                      \
      const char *a = p[1];                                                                \
      for (int64_t i = 0; i < n; i++) *(TO *)(o + i * s[0]) = *(const TO *)(a + i * s[1]); \
    }                                                                                      \
  }
#define FROM_REALS(to, TO, X)                                                                \
  X(to, TO, bool, uint8_t)                                                                   \
  X(to, TO, uint8, uint8_t) X(to, TO, int8, int8_t) X(to, TO, int16, int16_t)                \
      X(to, TO, int32, int32_t) X(to, TO, int64, int64_t) X(to, TO, float16, uint16_t)       \
          X(to, TO, bfloat16, uint16_t) X(to, TO, float32, float) X(to, TO, float64, double)
#define FROM_ALL(to, TO, X)                                                         \
  FROM_REALS(to, TO, X) X(to, TO, complex64, cfloat) X(to, TO, complex128, cdouble)
/* The diagonal is named cast_x_x by SAME; generating it by CAST too would clash, so those carry
 * another name. */

#define cast_bool_bool cast_unused_b
#define cast_uint8_uint8 cast_unused_u8
#define cast_int8_int8 cast_unused_i8
#define cast_int16_int16 cast_unused_i16
#define cast_int32_int32 cast_unused_i32
#define cast_int64_int64 cast_unused_i64
#define cast_float16_float16 cast_unused_f16
#define cast_bfloat16_bfloat16 cast_unused_bf16
#define cast_float32_float32 cast_unused_f32
#define cast_float64_float64 cast_unused_f64
#define cast_float32_float16 cast_unused_f32_f16
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
FROM_ALL(bool, uint8_t, CAST)
FROM_ALL(uint8, uint8_t, CAST)
FROM_ALL(int8, int8_t, CAST)
FROM_ALL(int16, int16_t, CAST)
FROM_ALL(int32, int32_t, CAST)
FROM_ALL(int64, int64_t, CAST)
FROM_ALL(float16, uint16_t, CAST)
FROM_ALL(bfloat16, uint16_t, CAST)
FROM_ALL(float32, float, CAST)
FROM_ALL(float64, double, CAST)
FROM_REALS(complex64, cfloat, CAST)
FROM_REALS(complex128, cdouble, CAST)
#pragma GCC diagnostic pop
#undef cast_bool_bool
#undef cast_uint8_uint8
#undef cast_int8_int8
#undef cast_int16_int16
#undef cast_int32_int32
#undef cast_int64_int64
#undef cast_float16_float16
#undef cast_bfloat16_bfloat16
#undef cast_float32_float32
#undef cast_float64_float64
#undef cast_float32_float16
static void cast_float32_float16(char **p, const int64_t *s, int64_t n, const void *par) {
  if (s[0] == 4 && s[1] == 2) mt_halves_to_floats(n, (const uint16_t *)p[1], (float *)p[0]);
  else cast_unused_f32_f16(p, s, n, par);
}
SAME(bool, uint8_t)
SAME(uint8, uint8_t)
SAME(int8, int8_t)
SAME(int16, int16_t)
SAME(int32, int32_t)
SAME(int64, int64_t)
SAME(float16, uint16_t)
SAME(bfloat16, uint16_t)
SAME(float32, float)
SAME(float64, double)
SAME(complex64, cfloat)
SAME(complex128, cdouble)
static void cast_complex64_complex128(char **p, const int64_t *s, int64_t n, const void *par) {
  for (int64_t i = 0; i < n; i++)
    *(cfloat *)(p[0] + i * s[0]) = (cfloat) * (const cdouble *)(p[1] + i * s[1]);
}
static void cast_complex128_complex64(char **p, const int64_t *s, int64_t n, const void *par) {
  for (int64_t i = 0; i < n; i++)
    *(cdouble *)(p[0] + i * s[0]) = *(const cfloat *)(p[1] + i * s[1]);
}
/* A complex number is true when either part is. */
#define CBOOL(from, TI)                                                              \
  static void castb_##from(char **p, const int64_t *s, int64_t n, const void *par) { \
    for (int64_t i = 0; i < n; i++) {                                                \
      TI v = *(const TI *)(p[1] + i * s[1]);                                         \
      *(uint8_t *)(p[0] + i * s[0]) = v != 0;                                        \
    }                                                                                \
  }
CBOOL(complex64, cfloat)
CBOOL(complex128, cdouble)

#define ROW(to, TO, from, TI) [MT_##to][MT_##from] = cast_##to##_##from,
extern const Loop CAT(mt, cast, KLEVEL)[][MT_NDTYPES];
const Loop CAT(mt, cast, KLEVEL)[MT_NDTYPES][MT_NDTYPES] = {
    FROM_REALS(bool, , ROW)[MT_bool][MT_complex64] = castb_complex64,
    [MT_bool][MT_complex128] = castb_complex128,
    FROM_ALL(uint8, , ROW) FROM_ALL(int8, , ROW) FROM_ALL(int16, , ROW) FROM_ALL(int32, , ROW)
        FROM_ALL(int64, , ROW) FROM_ALL(float16, , ROW) FROM_ALL(bfloat16, , ROW)
            FROM_ALL(float32, , ROW) FROM_ALL(float64, , ROW) FROM_ALL(complex64, , ROW)
                FROM_ALL(complex128, , ROW)};
