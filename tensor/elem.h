/* elem.h: element codes and half-precision conversion for the row cores (rng, sort, scan, fft).
 *
 * Invariant.  The codes follow dtype.def's order, so a DType may be passed where an Elem is wanted.
 * The cores see plain C rows and know nothing of tensors; a row of bool is bytes 0 and 1. */
#ifndef MT_ELEM_H
#define MT_ELEM_H
#include "base.h"
#include <string.h>

typedef enum {
  EL_bool,
  EL_u8,
  EL_i8,
  EL_i16,
  EL_i32,
  EL_i64,
  EL_f16,
  EL_bf16,
  EL_f32,
  EL_f64,
  EL_c64,
  EL_c128
} Elem;
typedef struct { uint16_t bits; } Half;
typedef struct { uint16_t bits; } Bf16;

static inline size_t el_size(Elem e) {
  static const uint8_t size[] = {1, 1, 1, 2, 4, 8, 2, 2, 4, 8, 8, 16};
  return size[e];
}

static inline float el_bf16_f32(uint16_t h) {
  uint32_t u = (uint32_t)h << 16;
  float f;
  memcpy(&f, &u, 4);
  return f;
}

static inline uint16_t el_f32_bf16(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  if (f != f) return 0x7fc0;
  return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static inline float el_f16_f32(uint16_t h) {
  uint32_t sign = (uint32_t)(h & 0x8000) << 16, mag = h & 0x7fff, u;
  float f;
  if (mag >= 0x7c00) u = sign | 0x7f800000 | (mag & 0x3ff) << 13;
  else if (mag >= 0x400) u = sign | ((mag << 13) + (112u << 23));
  else {                                             /* subnormal: mag * 2^-24 is exact */
    f = (float)mag * 0x1p-24f;
    memcpy(&u, &f, 4);
    u |= sign;
  }
  memcpy(&f, &u, 4);
  return f;
}

static inline uint16_t el_f32_f16(float f) {
  uint32_t u, sign;
  memcpy(&u, &f, 4);
  sign = u >> 16 & 0x8000;
  u &= 0x7fffffff;
  if (u > 0x7f800000) return (uint16_t)(sign | 0x7e00);
  if (u >= 0x477ff000) return (uint16_t)(sign | 0x7c00);
  if (u < 0x38800000) { /* adding 0.5 rounds at 2^-24, half's smallest step */
    float a;
    memcpy(&a, &u, 4);
    a += 0.5f;
    memcpy(&u, &a, 4);
    return (uint16_t)(sign | (u - 0x3f000000));
  }
  u += 0xfff + (u >> 13 & 1) - (112u << 23);
  return (uint16_t)(sign | u >> 13);
}
#endif
