/* kern_rng.c: inner loops of the generator; built once per CPU level (see kern_rng.h). */
#include "kern_rng.h"
#include <math.h>
#include <string.h>

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)

static inline uint32_t mix(uint32_t a, uint32_t b, uint32_t far) {
  uint32_t y = (a & 0x80000000u) | (b & 0x7fffffffu);
  return far ^ (y >> 1) ^ (-(b & 1) & 0x9908b0dfu);
}

/* The reads at i + 397 - 624 trail the writes by 227, so vectors up to that length are safe. */
static void twist(uint32_t s[624]) {
  for (int i = 0; i < 227; i++) s[i] = mix(s[i], s[i + 1], s[i + 397]);
#pragma GCC ivdep
  for (int i = 227; i < 454; i++) s[i] = mix(s[i], s[i + 1], s[i - 227]);
#pragma GCC ivdep
  for (int i = 454; i < 623; i++) s[i] = mix(s[i], s[i + 1], s[i - 227]);
  s[623] = mix(s[623], s[0], s[396]);
}

static void temper(const uint32_t *restrict s, uint32_t *restrict out, int n) {
  for (int i = 0; i < n; i++) {
    uint32_t y = s[i];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    out[i] = y ^ y >> 18;
  }
}

static void unit_f32(const uint32_t *restrict u, float *restrict out, int n, float from,
                     float range) {
  for (int i = 0; i < n; i++)
    out[i] = fmaf((float)(int32_t)(u[i] & 0xffffff) * 0x1p-24f, range, from);
}

static void unit_f64(const uint32_t *restrict u, double *restrict out, int n, double from,
                     double range) {
  for (int i = 0; i < n; i++) {
    uint64_t v = ((uint64_t)u[2 * i] << 32 | u[2 * i + 1]) & ((1ull << 53) - 1);
    out[i] = fma((double)(int64_t)v * 0x1p-53, range, from);
  }
}

/* Cephes' single precision logarithm, argument in (0, 1].  The grouping of the fused steps is part
 * of the result. */
static inline float log_unit(float x) {
  uint32_t i;
  memcpy(&i, &x, 4);
  float e = (float)((int32_t)(i >> 23) - 126);
  i = (i & 0x807fffffu) | 0x3f000000u;
  memcpy(&x, &i, 4);
  int low = x < 0.707106781186547524f;
  float back = low ? x : 0.0f;
  x = x - 1.0f + back;
  e -= low ? 1.0f : 0.0f;
  float z = x * x, y = 7.0376836292e-2f;
  y = fmaf(y, x, -1.1514610310e-1f);
  y = fmaf(y, x, 1.1676998740e-1f);
  y = fmaf(y, x, -1.2420140846e-1f);
  y = fmaf(y, x, 1.4249322787e-1f);
  y = fmaf(y, x, -1.6668057665e-1f);
  y = fmaf(y, x, 2.0000714765e-1f);
  y = fmaf(y, x, -2.4999993993e-1f);
  y = fmaf(y, x, 3.3333331174e-1f);
  y = fmaf(y * x, z, e * -2.12194440e-4f);
  y = fmaf(-0.5f, z, y);
  return fmaf(e, 0.693359375f, x + y);
}

/* Cephes' sine and cosine for 0 <= x < 2 pi, reduced by octants. */
static inline void sincos_turn(float x, float *s, float *c) {
  int32_t j = ((int32_t)(x * 1.27323954473516f) + 1) & ~1;
  float y = (float)j;
  x = fmaf(y, -0.78515625f, x);
  x = fmaf(y, -2.4187564849853515625e-4f, x);
  x = fmaf(y, -3.77489497744594108e-8f, x);
  float z = x * x;
  float yc = fmaf(fmaf(2.443315711809948e-5f, z, -1.388731625493765e-3f), z, 4.166664568298827e-2f);
  yc = fmaf(yc * z, z, -0.5f * z) + 1.0f;
  float ys = fmaf(fmaf(-1.9515295891e-4f, z, 8.3321608736e-3f), z, -1.6666654611e-1f);
  ys = fmaf(ys * z, x, x);
  float a = j & 2 ? yc : ys, b = j & 2 ? ys : yc;
  *s = j & 4 ? -a : a;
  *c = (j + 2) & 4 ? -b : b;
}

static void box_muller(float *d, int64_t blocks, float mean, float std) {
  const float turn = (float)6.283185307179586;
  for (; blocks-- > 0; d += 16) {
    float n1[8], n2[8];
    for (int i = 0; i < 8; i++) {
      float r = sqrtf(-2.0f * log_unit(1.0f - d[i])), s, c;
      sincos_turn(turn * d[i + 8], &s, &c);
      n1[i] = fmaf(r * c, std, mean);
      n2[i] = fmaf(r * s, std, mean);
    }
    memcpy(d, n1, sizeof n1);
    memcpy(d + 8, n2, sizeof n2);
  }
}

const RngKern CAT(mt_rngkern_, KLEVEL) = {twist, temper, unit_f32, unit_f64, box_muller};
