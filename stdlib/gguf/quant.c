/* quant.c: ggml's block formats to floats, one function a format.  A block holds scales and small
 * integers; the comment over each function gives its layout.  d and m are float16. */
#include "gguf/gguf.h"
#include "gguf/quant.h"
#include <string.h>

static float half(const uint8_t *p) {
  uint32_t h = fmt_u16(p), sign = (h & 0x8000) << 16, e = h >> 10 & 31, f = h & 1023, x;
  float v;
  if (e == 0) {                                       /* zero and subnormal: f * 2^-24 is exact */
    v = (float)f * 0x1p-24f;
    return sign ? -v : v;
  }
  x = sign | (e == 31 ? 0x7F800000 | f << 13 : (e + 112) << 23 | f << 13);
  memcpy(&v, &x, 4);
  return v;
}

/* d, 16 bytes of two 4-bit values each: low halves first */
static void q4_0(float *y, const uint8_t *b) {
  float d = half(b);
  for (int j = 0; j < 16; j++) {
    y[j] = (float)((b[2 + j] & 15) - 8) * d;
    y[j + 16] = (float)((b[2 + j] >> 4) - 8) * d;
  }
}

/* d, m, 16 bytes as above */
static void q4_1(float *y, const uint8_t *b) {
  float d = half(b), m = half(b + 2);
  for (int j = 0; j < 16; j++) {
    y[j] = (float)(b[4 + j] & 15) * d + m;
    y[j + 16] = (float)(b[4 + j] >> 4) * d + m;
  }
}

/* The fifth bits of 32 values lie in one word. */
static int fifth(uint32_t h, int j) { return (int)(h >> j & 1) << 4; }

/* d, fifth bits, 16 bytes */
static void q5_0(float *y, const uint8_t *b) {
  float d = half(b);
  uint32_t h = fmt_u32(b + 2);
  for (int j = 0; j < 16; j++) {
    y[j] = (float)(((b[6 + j] & 15) | fifth(h, j)) - 16) * d;
    y[j + 16] = (float)(((b[6 + j] >> 4) | fifth(h, j + 16)) - 16) * d;
  }
}

/* d, m, fifth bits, 16 bytes */
static void q5_1(float *y, const uint8_t *b) {
  float d = half(b), m = half(b + 2);
  uint32_t h = fmt_u32(b + 4);
  for (int j = 0; j < 16; j++) {
    y[j] = (float)((b[8 + j] & 15) | fifth(h, j)) * d + m;
    y[j + 16] = (float)((b[8 + j] >> 4) | fifth(h, j + 16)) * d + m;
  }
}

/* d, 32 signed bytes */
static void q8_0(float *y, const uint8_t *b) {
  float d = half(b);
  for (int j = 0; j < 32; j++) y[j] = (float)(int8_t)b[2 + j] * d;
}

/* 16 bytes of scale (low half) and minimum, 64 bytes of four 2-bit values, d, dmin */
static void q2_k(float *y, const uint8_t *b) {
  float d = half(b + 80), dmin = half(b + 82);
  const uint8_t *q = b + 16;
  for (int i = 0; i < 16; i++) {                      /* groups of 16 values */
    float scale = d * (float)(b[i] & 15), min = dmin * (float)(b[i] >> 4);
    const uint8_t *g = q + 32 * (i / 8) + 16 * (i & 1);
    int shift = 2 * (i / 2 & 3);
    for (int l = 0; l < 16; l++) *y++ = scale * (float)(g[l] >> shift & 3) - min;
  }
}

/* 32 bytes of third bits (0 means 4 less), 64 bytes of 2-bit values, 16 scales of 6 bits in 12
 * bytes, d */
static void q3_k(float *y, const uint8_t *b) {
  float d = half(b + 108);
  const uint8_t *q = b + 32, *s = b + 96;
  for (int i = 0; i < 16; i++) {
    int low = i < 8 ? s[i] & 15 : s[i - 8] >> 4, high = s[8 + (i & 3)] >> 2 * (i / 4) & 3;
    float scale = d * (float)((low | high << 4) - 32);
    const uint8_t *g = q + 32 * (i / 8) + 16 * (i & 1), *h = b + 16 * (i & 1);
    int shift = 2 * (i / 2 & 3), bit = i / 2;
    for (int l = 0; l < 16; l++)
      *y++ = scale * (float)((g[l] >> shift & 3) - (h[l] >> bit & 1 ? 0 : 4));
  }
}

/* 8 scales and 8 minima of 6 bits in 12 bytes. */
static void scale_min(const uint8_t *s, int j, int *scale, int *min) {
  if (j < 4) {
    *scale = s[j] & 63;
    *min = s[j + 4] & 63;
  } else {
    *scale = (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
    *min = s[j + 4] >> 4 | s[j] >> 6 << 4;
  }
}

/* d, dmin, scales and minima, 128 bytes of two 4-bit values */
static void q4_k(float *y, const uint8_t *b) {
  float d = half(b), dmin = half(b + 2);
  for (int j = 0; j < 8; j++) {
    int s, m;
    scale_min(b + 4, j, &s, &m);
    float scale = d * (float)s, min = dmin * (float)m;
    const uint8_t *q = b + 16 + 32 * (j / 2);
    for (int l = 0; l < 32; l++) *y++ = scale * (float)(q[l] >> 4 * (j & 1) & 15) - min;
  }
}

/* d, dmin, scales and minima, 32 bytes of fifth bits, 128 bytes of two 4-bit values */
static void q5_k(float *y, const uint8_t *b) {
  float d = half(b), dmin = half(b + 2);
  const uint8_t *h = b + 16;
  for (int j = 0; j < 8; j++) {
    int s, m;
    scale_min(b + 4, j, &s, &m);
    float scale = d * (float)s, min = dmin * (float)m;
    const uint8_t *q = b + 48 + 32 * (j / 2);
    for (int l = 0; l < 32; l++)
      *y++ = scale * (float)((q[l] >> 4 * (j & 1) & 15) + (h[l] >> j & 1 ? 16 : 0)) - min;
  }
}

/* 128 bytes of low halves, 64 bytes of upper 2 bits, 16 signed scales, d */
static void q6_k(float *y, const uint8_t *b) {
  float d = half(b + 208);
  const int8_t *scale = (const int8_t *)(b + 192);
  for (int i = 0; i < 8; i++) {                       /* groups of 32 values */
    const uint8_t *low = b + 64 * (i / 4) + 32 * (i & 1), *high = b + 128 + 32 * (i / 4);
    int shift = 4 * (i / 2 & 1), up = 2 * (i & 3);
    for (int l = 0; l < 32; l++) {
      int q = ((low[l] >> shift & 15) | (high[l] >> up & 3) << 4) - 32;
      *y++ = d * (float)scale[2 * i + l / 16] * (float)q;
    }
  }
}

#define PLAIN(name, dtype, bytes) {name, dtype, 1, bytes, NULL}
const gg_type gg_types[GG_NTYPES] = {
    [0] = PLAIN("F32", FMT_F32, 4),        [1] = PLAIN("F16", FMT_F16, 2),
    [2] = {"Q4_0", -1, 32, 18, q4_0},      [3] = {"Q4_1", -1, 32, 20, q4_1},
    [6] = {"Q5_0", -1, 32, 22, q5_0},      [7] = {"Q5_1", -1, 32, 24, q5_1},
    [8] = {"Q8_0", -1, 32, 34, q8_0},      [9] = {"Q8_1", -1, 32, 36, NULL},
    [10] = {"Q2_K", -1, 256, 84, q2_k},    [11] = {"Q3_K", -1, 256, 110, q3_k},
    [12] = {"Q4_K", -1, 256, 144, q4_k},   [13] = {"Q5_K", -1, 256, 176, q5_k},
    [14] = {"Q6_K", -1, 256, 210, q6_k},   [15] = {"Q8_K", -1, 256, 292, NULL},
    [16] = {"IQ2_XXS", -1, 256, 66, NULL}, [17] = {"IQ2_XS", -1, 256, 74, NULL},
    [18] = {"IQ3_XXS", -1, 256, 98, NULL}, [19] = {"IQ1_S", -1, 256, 50, NULL},
    [20] = {"IQ4_NL", -1, 32, 18, NULL},   [21] = {"IQ3_S", -1, 256, 110, NULL},
    [22] = {"IQ2_S", -1, 256, 82, NULL},   [23] = {"IQ4_XS", -1, 256, 136, NULL},
    [24] = PLAIN("I8", FMT_I8, 1),         [25] = PLAIN("I16", FMT_I16, 2),
    [26] = PLAIN("I32", FMT_I32, 4),       [27] = PLAIN("I64", FMT_I64, 8),
    [28] = PLAIN("F64", FMT_F64, 8),       [29] = {"IQ1_M", -1, 256, 56, NULL},
    [30] = PLAIN("BF16", FMT_BF16, 2),     [34] = {"TQ1_0", -1, 256, 54, NULL},
    [35] = {"TQ2_0", -1, 256, 66, NULL},   [39] = {"MXFP4", -1, 32, 17, NULL},
};

const char *gg_type_name(int quant) {
  return quant >= 0 && quant < GG_NTYPES && gg_types[quant].name ? gg_types[quant].name : "unknown";
}

void gg_dequantize(int quant, float *dst, const uint8_t *src, uint64_t n) {
  const gg_type *t = &gg_types[quant];
  for (uint64_t i = 0; i < n; i += (uint64_t)t->block, src += t->bytes) t->unpack(dst + i, src);
}
