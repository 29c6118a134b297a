/* kern_pow.h: x^e over an array for one exponent e, in kernel files.
 *
 * With AVX-512 and |e| <= 8, log2(x) is the exponent plus -log2(c[j]) plus log2(1 + r), where c[j]
 * is about 1 / m, j the first five bits of the mantissa m, and r = m c[j] - 1 at most 2^-5.7: two
 * permutations, a cubic and no double.  c[j] is the float near 1 / m whose logarithm comes closest
 * to a multiple of 2^-16, so that the sum with the exponent is exact.  Zeros, infinities, nan and
 * negative bases are what vfixupimm is made for. */
#ifndef MT_KERN_POW_H
#define MT_KERN_POW_H
#include "vmath.h"

#ifdef __AVX512F__
#include <immintrin.h>
typedef struct { __m512 e, inv[2], log[2]; __m512i sign, special; } PowBy;

static inline PowBy mt_pow_by_(float e, int32_t odd, int32_t nonint) {
  static const float inv[32] = {
      0.98538524f, 0.9518073f, 0.9284319f, 0.89840865f, 0.8733375f, 0.85496724f, 0.82906276f,
      0.8128179f, 0.79056156f, 0.770274f, 0.75013405f, 0.7355602f, 0.71641123f, 0.7043078f,
      0.6884801f, 0.67311484f, 0.6594791f, 0.6464955f, 0.6336402f, 0.6192041f, 0.6102191f,
      0.59682137f, 0.5887151f, 0.57674026f, 0.5677586f, 0.55632186f, 0.54857415f, 0.535787f,
      0.530857f, 0.52043325f, 0.5119547f, 0.5038967f};
  static const uint16_t log[32] = { /* -log2(inv) 2^16 */
      1392, 4670, 7021, 10129, 12805, 14815, 17724, 19595, 22220, 24678, 27183, 29038, 31532,
      33143, 35292, 37426, 39361, 41241, 43140, 45319, 46701, 48800, 50093, 52036, 53520,
      55444, 56770, 59000, 59874, 61749, 63302, 64802};
  /* responses of vfixupimm by the kind of x */
  enum { KEEP, X, QUIET, NAN_, NEG_INF, INF, INF_OF_X, NEG_ZERO, ZERO };
  int at_inf = e > 0 ? INF : ZERO;
  int at_zero = odd ? (e > 0 ? X : INF_OF_X) : e > 0 ? ZERO : INF;
  int at_neg_inf = odd ? (e > 0 ? NEG_INF : NEG_ZERO) : at_inf;
  int kinds[8] = {QUIET, QUIET, at_zero, KEEP, at_neg_inf, at_inf, nonint ? NAN_ : KEEP, KEEP};
  PowBy p = {.e = _mm512_set1_ps(e), .sign = _mm512_set1_epi32(INT32_MIN & odd)};
  int table = 0;
  for (int k = 0; k < 8; k++) table |= kinds[k] << 4 * k;
  p.special = _mm512_set1_epi32(table);
  for (int k = 0; k < 2; k++) {
    p.inv[k] = _mm512_loadu_ps(inv + 16 * k);
    __m256i l = _mm256_loadu_si256((const __m256i *)(log + 16 * k));
    p.log[k] = _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(l));
    p.log[k] = _mm512_mul_ps(p.log[k], _mm512_set1_ps(0x1p-16f));
  }
  return p;
}
static inline __m512 mt_pow16_(__m512 x, const PowBy *p) {
#define POW_C_(v) _mm512_set1_ps(v)
  __m512 m = _mm512_getmant_ps(x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_zero);
  __m512i j = _mm512_srli_epi32(_mm512_castps_si512(m), 18);
  __m512 r = _mm512_permutex2var_ps(p->inv[0], j, p->inv[1]);
  r = _mm512_fmsub_ps(m, r, POW_C_(1.f));
  __m512 q = _mm512_fmadd_ps(r, POW_C_(-0.36075562f), POW_C_(0.48099658f));
  q = _mm512_fmadd_ps(r, q, POW_C_(-0.7213475f));
  q = _mm512_mul_ps(r, _mm512_fmadd_ps(r, q, POW_C_(1.442695f)));
  __m512 l = _mm512_permutex2var_ps(p->log[0], j, p->log[1]);
  l = _mm512_add_ps(_mm512_getexp_ps(x), l);
  /* e (l + q) as an integer n and the rest r */
  __m512 t = _mm512_mul_ps(p->e, l), n = _mm512_fmadd_ps(p->e, q, t);
  n = _mm512_roundscale_ps(n, 0);
  r = _mm512_fmadd_ps(p->e, q, _mm512_fmsub_ps(p->e, l, t));
  r = _mm512_add_ps(_mm512_sub_ps(t, n), r);
  q = _mm512_fmadd_ps(r, POW_C_(0.000153514964f), POW_C_(0.00133989053f));
  q = _mm512_fmadd_ps(r, q, POW_C_(0.00961844437f));
  q = _mm512_fmadd_ps(r, q, POW_C_(0.0555033237f));
  q = _mm512_fmadd_ps(r, q, POW_C_(0.240226477f));
  q = _mm512_fmadd_ps(r, q, POW_C_(0.693147182f));
  q = _mm512_scalef_ps(_mm512_fmadd_ps(r, q, POW_C_(1.f)), n);
  enum { A_OR_B_AND_C = 0xf8 };
  __m512i y = _mm512_ternarylogic_epi32(_mm512_castps_si512(q), _mm512_castps_si512(x), p->sign,
                                        A_OR_B_AND_C);
  return _mm512_fixupimm_ps(_mm512_castsi512_ps(y), x, p->special, 0);
#undef POW_C_
}
static inline void mt_vpow_small_(int64_t n, const float *x, float e, int32_t odd, int32_t nonint,
                                  float *y) {
  const PowBy p = mt_pow_by_(e, odd, nonint);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) _mm512_storeu_ps(y + i, mt_pow16_(_mm512_loadu_ps(x + i), &p));
  if (i == n) return;
  __mmask16 rest = (__mmask16)((1u << (n - i)) - 1);
  _mm512_mask_storeu_ps(y + i, rest, mt_pow16_(_mm512_maskz_loadu_ps(rest, x + i), &p));
}
#else
/* mt_powf_masked_ for |c| <= 8, where log2 as a float and its rest will do; with fma only. */
MT_VM float mt_powf_small_(float x0, float c, int32_t odd, int32_t nonint) {
#if MT_HAS_FMA
  float x = mt_absf(x0), y = x < 1.17549435e-38f ? x * 8388608.f : x,
        k = x < 1.17549435e-38f ? -23.f : 0.f;
  float w = x == 0.f ? -INFINITY : 0.f;
  w = x < INFINITY ? w : x;
  int32_t b = (int32_t)((uint32_t)mt_bitsf(y) -
                        0x3f2aaaabu); /* may wrap for x < 0, whose result is nan anyway */
  float f = mt_fbits((b & 0x7fffff) + 0x3f2aaaab) - 1.f, e = (float)(b >> 23) + k;
  /* log(1 + f) = u + lo with u = f - f^2 / 2 rounded */
  float g = f * f, ge = MT_FMAF(f, f, -g), u = MT_FMAF(-0.5f, g, f), ue = MT_FMAF(-0.5f, g, f - u);
  float lo = MT_FMAF(f * g, mt_log_tailf_(f), MT_FMAF(-0.5f, ge, ue));
  float h = u * 1.44269502f;
  lo = MT_FMAF(lo, 1.44269502f, MT_FMAF(u, 1.92596299e-8f, MT_FMAF(u, 1.44269502f, -h)));
  float s = e + h, l = s + (lo += (e - s) + h);
  lo = (s - l) + lo;
  l += w;
  float t = c * l, m = t + MT_RNDF2, r = (t - (m - MT_RNDF2)) + MT_FMAF(c, lo, MT_FMAF(c, l, -t));
  float v = mt_scalef_(MT_FMAF(r, mt_exp2qf_(r), 1.f), m);
  v = t > 151.f ? INFINITY : v;
  return mt_pow_sign_(t < -151.f ? 0.f : v, x0, odd, nonint);
#else
  return mt_powf_masked_(x0, c, odd, nonint);
#endif
}
static inline void mt_vpow_small_(int64_t n, const float *x, float e, int32_t odd, int32_t nonint,
                                  float *y) {
  for (int64_t i = 0; i < n; i++) y[i] = mt_powf_small_(x[i], e, odd, nonint);
}
#endif

/* x^e for one exponent, with PyTorch's shortcuts. */
static inline void mt_vpowf(int64_t n, const float *x, float e, float *y) {
#define MT_POW_CASE_(v, expr)         \
  if (e == (v)) {                     \
    for (int64_t i = 0; i < n; i++) { \
      float a = x[i];                 \
      y[i] = expr;                    \
    }                                 \
    return;                           \
  }
  MT_POW_CASE_(0.f, ((void)a, 1.f))
  MT_POW_CASE_(0.5f, sqrtf(a))
  MT_POW_CASE_(1.f, a)
  MT_POW_CASE_(2.f, a * a)
  MT_POW_CASE_(3.f, a * a * a)
  MT_POW_CASE_(-0.5f, 1.f / sqrtf(a))
  MT_POW_CASE_(-1.f, 1.f / a)
  MT_POW_CASE_(-2.f, 1.f / (a * a))
#undef MT_POW_CASE_
  if (e != e) { for (int64_t i = 0; i < n; i++) y[i] = x[i] == 1.f ? 1.f : e; return; }
  int32_t nonint, odd = mt_pow_odd_(e, &nonint);
  float c = mt_pow_clamp_(e);
  if (mt_absf(c) <= 8.f) mt_vpow_small_(n, x, c, odd, nonint, y);
  else for (int64_t i = 0; i < n; i++) y[i] = mt_powf_masked_(x[i], c, odd, nonint);
}
static inline void mt_vpow(int64_t n, const double *x, double e, double *y) {
  if (e == 1) for (int64_t i = 0; i < n; i++) y[i] = x[i];
  else if (e == 2) for (int64_t i = 0; i < n; i++) y[i] = x[i] * x[i];
  else if (e == 3) for (int64_t i = 0; i < n; i++) y[i] = x[i] * x[i] * x[i];
  else if (e == 0.5) for (int64_t i = 0; i < n; i++) y[i] = __builtin_sqrt(x[i]);
  else if (e == -0.5) for (int64_t i = 0; i < n; i++) y[i] = 1 / __builtin_sqrt(x[i]);
  else if (e == -1) for (int64_t i = 0; i < n; i++) y[i] = 1 / x[i];
  else if (e == -2) for (int64_t i = 0; i < n; i++) y[i] = 1 / (x[i] * x[i]);
  else for (int64_t i = 0; i < n; i++) y[i] = pow(x[i], e);
}
#endif
