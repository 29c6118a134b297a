/* kern_exp.h: the largest element and powers of e over a row, as softmax and attention need them,
 * in kernel files.
 *
 * With AVX-512 one permutation looks up 2^(j/16), which leaves so small a rest that a cubic will
 * do: 8 multiplications where the polynomial of vmath.h takes 11, and they are what the loop waits
 * for. */
#ifndef MT_KERN_EXP_H
#define MT_KERN_EXP_H
#include "vmath.h"

#ifdef __AVX512F__
#include <immintrin.h>

static inline __m512 mt_exp_bias16_(__m512 x, int bias) {
  static const float root[16] = {1,           1.04427378f, 1.09050773f, 1.13878863f,
                                 1.18920712f, 1.24185781f, 1.29683955f, 1.35425555f,
                                 1.41421356f, 1.47682615f, 1.54221083f, 1.61049033f,
                                 1.68179283f, 1.75625216f, 1.83400809f, 1.91520656f};
  const __m512 round = _mm512_set1_ps(MT_RNDF);
  __m512 t = _mm512_fmadd_ps(x, _mm512_set1_ps((float)(16 * MT_LOG2E)), round);
  __m512 n = _mm512_sub_ps(t, round);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(MT_LN2HIF / 16), x);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(MT_LN2LOF / 16), r);
  __m512i k = _mm512_castps_si512(t); /* n in its low bits: 4 of them a sixteenth's number */
  __m512i two = _mm512_castps_si512(_mm512_permutexvar_ps(k, _mm512_loadu_ps(root)));
  two = _mm512_add_epi32(two, _mm512_set1_epi32(bias << 23));
  two = _mm512_add_epi32(two, _mm512_slli_epi32(_mm512_srli_epi32(k, 4), 23));
  __m512 p = _mm512_fmadd_ps(r, _mm512_set1_ps(1.f / 6), _mm512_set1_ps(0.5f));
  p = _mm512_fmadd_ps(_mm512_mul_ps(r, r), p, r);
  __mmask16 held = _mm512_cmp_ps_mask(x, _mm512_set1_ps(MT_EXP_LEAST(bias)), _CMP_NLT_UQ);
  return _mm512_maskz_fmadd_ps(held, _mm512_castsi512_ps(two), p, _mm512_castsi512_ps(two));
}
#endif

/* The largest of x, at least m; nan is passed over. */
#define MT_LARGEST(T, S)                                                              \
  static inline T mt_largest_##S(int64_t n, const T *x, T m) {                        \
    enum { LANES_ = 32 };                                                             \
    T acc[LANES_];                                                                    \
    int64_t i = 0;                                                                    \
    for (int l = 0; l < LANES_; l++) acc[l] = m;                                      \
    for (; i + LANES_ <= n; i += LANES_)                                              \
      for (int l = 0; l < LANES_; l++) acc[l] = x[i + l] > acc[l] ? x[i + l] : acc[l]; \
    for (int l = 0; l < LANES_; l++) m = acc[l] > m ? acc[l] : m;                     \
    for (; i < n; i++) m = x[i] > m ? x[i] : m;                                       \
    return m;                                                                         \
  }
MT_LARGEST(double, f64)
#ifdef __AVX512F__
static inline float mt_largest_f32(int64_t n, const float *x, float m) {
  __m512 a = _mm512_set1_ps(m), b = a;
  int64_t i = 0;
  for (; i + 32 <= n; i += 32) { /* of a nan and a number the second operand is taken */
    a = _mm512_max_ps(_mm512_loadu_ps(x + i), a);
    b = _mm512_max_ps(_mm512_loadu_ps(x + i + 16), b);
  }
  for (; i < n; i += 16) {
    __mmask16 in = n - i < 16 ? (__mmask16)((1u << (n - i)) - 1) : 0xffff;
    a = _mm512_mask_max_ps(a, in, _mm512_maskz_loadu_ps(in, x + i), a);
  }
  return _mm512_reduce_max_ps(_mm512_max_ps(a, b));
}
#else
MT_LARGEST(float, f32)
#endif

/* y = 2^bias e^(x - m) where x <= m, or nan; returns the sum.  y may be x.  bias: 0 or 32, see
 * mt_exp_biasf_. */
static inline float mt_powers_f32(int64_t n, const float *x, float m, float *y, int bias) {
  float s = 0;
#ifdef __AVX512F__
  int64_t i = 0;
  __m512 top = _mm512_set1_ps(m), even = _mm512_setzero_ps(), odd = even;
  for (; i + 32 <= n; i += 32) {
    __m512 a = mt_exp_bias16_(_mm512_sub_ps(_mm512_loadu_ps(x + i), top), bias);
    __m512 b = mt_exp_bias16_(_mm512_sub_ps(_mm512_loadu_ps(x + i + 16), top), bias);
    _mm512_storeu_ps(y + i, a);
    _mm512_storeu_ps(y + i + 16, b);
    even = _mm512_add_ps(even, a);
    odd = _mm512_add_ps(odd, b);
  }
  for (; i < n; i += 16) {
    __mmask16 in = n - i < 16 ? (__mmask16)((1u << (n - i)) - 1) : 0xffff;
    __m512 a = _mm512_sub_ps(_mm512_maskz_loadu_ps(in, x + i), top);
    a = _mm512_maskz_mov_ps(in, mt_exp_bias16_(a, bias));
    _mm512_mask_storeu_ps(y + i, in, a);
    even = _mm512_add_ps(even, a);
  }
  s = _mm512_reduce_add_ps(_mm512_add_ps(even, odd));
#else
  _Pragma("omp simd reduction(+ : s)") for (int64_t i = 0; i < n; i++) {
    float e = mt_exp_biasf_(x[i] - m, bias);
    y[i] = e;
    s += e;
  }
#endif
  return s;
}
static inline double mt_powers_f64(int64_t n, const double *x, double m, double *y, int bias) {
  double s = 0;
  _Pragma("omp simd reduction(+ : s)") for (int64_t i = 0; i < n; i++) {
    double e = mt_exp(x[i] - m);
    y[i] = e;
    s += e;
  }
  return s;
}
#endif
