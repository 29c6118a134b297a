/* half.h: float16 and bfloat16 to float and back, round to nearest even, branch-free so that loops
 * vectorise. */
#ifndef MT_HALF_H
#define MT_HALF_H
#include <stdint.h>
#include <string.h>
#ifdef __F16C__
#include <immintrin.h>
#endif

static inline float mt_bits_f(uint32_t u) { float f; memcpy(&f, &u, 4); return f; }
static inline uint32_t mt_f_bits(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }
static inline float mt_bf16_to_float(uint16_t h) { return mt_bits_f((uint32_t)h << 16); }
static inline uint16_t mt_float_to_bf16(float f) {
  uint32_t u = mt_f_bits(f), r = (u + 0x7fff + (u >> 16 & 1)) >> 16;
  return f != f ? 0x7fc0 : (uint16_t)r;
}
#ifdef __F16C__
static inline float mt_half_to_float(uint16_t h) { _Float16 x; memcpy(&x, &h, 2); return (float)x; }
static inline uint16_t mt_float_to_half(float f) {
  _Float16 x = (_Float16)f;
  uint16_t h;
  memcpy(&h, &x, 2);
  return h;
}
#else
static inline float mt_half_to_float(uint16_t h) {
  uint32_t w = (uint32_t)h << 16, sign = w & 0x80000000u, two_w = w + w;
  float norm =
      mt_bits_f((two_w >> 4) + (0xe0u << 23)) * 0x1.0p-112f;  /* exponent rebias by a product */
  float sub = mt_bits_f((two_w >> 17) | (126u << 23)) - 0.5f; /* subnormals by a subtraction */
  return mt_bits_f(sign | (two_w < (1u << 27) ? mt_f_bits(sub) : mt_f_bits(norm)));
}
static inline uint16_t mt_float_to_half(float f) {
  uint32_t w = mt_f_bits(f), shl1 = w + w, sign = w & 0x80000000u;
  float base = (mt_bits_f(w & 0x7fffffffu) * 0x1.0p+112f) * 0x1.0p-110f;
  uint32_t bias = shl1 & 0xff000000u;
  if (bias < 0x71000000u) bias = 0x71000000u;
  base = mt_bits_f((bias >> 1) + 0x07800000u) + base;
  uint32_t bits = mt_f_bits(base), nonsign = (bits >> 13 & 0x7c00u) + (bits & 0x0fffu);
  return (uint16_t)(sign >> 16 | (shl1 > 0xff000000u ? 0x7e00u : nonsign));
}
#endif

/* n halves at once: the compiler does not vectorise the conversion by itself. */
static inline void mt_halves_to_floats(int64_t n, const uint16_t *x, float *y) {
#ifdef __AVX512F__
  const int64_t step = 16, whole = n - n % step;
  for (int64_t i = 0; i < whole; i += step)
    _mm512_storeu_ps(y + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(x + i))));
#elif defined(__F16C__)
  const int64_t step = 8, whole = n - n % step;
  for (int64_t i = 0; i < whole; i += step)
    _mm256_storeu_ps(y + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(x + i))));
#else
  const int64_t whole = 0;
#endif
  for (int64_t i = whole; i < n; i++) y[i] = mt_half_to_float(x[i]);
}
#endif
