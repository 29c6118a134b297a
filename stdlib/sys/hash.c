/* hash.c: SHA-256 (FIPS 180-4), MD5 (RFC 1321), HMAC (RFC 2104) and CRC-32 (the reflected
 * 0xEDB88320 of zip and PNG). The state holds len % 64 bytes in buf; everything before them has
 * been absorbed. */
#include "sys.h"
#include <pthread.h>
#include <string.h>

static uint32_t ror(uint32_t x, int n) { return x >> n | x << (32 - n); }
static uint32_t rol(uint32_t x, int n) { return x << n | x >> (32 - n); }

/* Feeds whole blocks to fn, keeping the rest in buf. */
static void absorb(uint32_t *h, uint64_t *len, uint8_t *buf, const void *data, size_t n,
                   void (*fn)(uint32_t *, const uint8_t *)) {
  const uint8_t *p = data;
  size_t fill = *len & 63;
  if (!n) return;
  *len += n;
  if (fill) {
    size_t take = n < 64 - fill ? n : 64 - fill;
    memcpy(buf + fill, p, take);
    p += take, n -= take;
    if (fill + take < 64) return;
    fn(h, buf);
  }
  for (; n >= 64; p += 64, n -= 64) fn(h, p);
  memcpy(buf, p, n);
}

/* The closing 0x80, zeros and bit length that both hashes share; big: byte order of the length. */
static void finish(uint32_t *h, uint64_t *len, uint8_t *buf, bool big,
                   void (*fn)(uint32_t *, const uint8_t *)) {
  static const uint8_t pad[64] = {0x80};
  uint64_t bits = *len * 8;
  uint8_t tail[8];
  for (int i = 0; i < 8; i++) tail[i] = (uint8_t)(bits >> (big ? 56 - 8 * i : 8 * i));
  absorb(h, len, buf, pad, 1 + ((119 - (*len & 63)) & 63), fn);
  absorb(h, len, buf, tail, 8, fn);
}

static const uint32_t K256[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static void sha256_block(uint32_t *h, const uint8_t *p) {
  uint32_t w[64], s[8];
  for (int i = 0; i < 16; i++)
    w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 |
           p[4 * i + 3];
  for (int i = 16; i < 64; i++) {
    uint32_t a = w[i - 15], b = w[i - 2];
    w[i] = w[i - 16] + w[i - 7] + (ror(a, 7) ^ ror(a, 18) ^ a >> 3) +
           (ror(b, 17) ^ ror(b, 19) ^ b >> 10);
  }
  memcpy(s, h, sizeof s);
  for (int i = 0; i < 64; i++) {
    uint32_t e = s[4], a = s[0];
    uint32_t t1 =
        s[7] + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + ((e & s[5]) ^ (~e & s[6])) + K256[i] + w[i];
    uint32_t t2 = (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
    memmove(s + 1, s, 7 * sizeof *s);
    s[4] += t1;
    s[0] = t1 + t2;
  }
  for (int i = 0; i < 8; i++) h[i] += s[i];
}

void sys_sha256_init(sys_sha256 *c) {
  static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  memcpy(c->h, start, sizeof start);
  c->len = 0;
}
void sys_sha256_add(sys_sha256 *c, const void *p, size_t n) {
  absorb(c->h, &c->len, c->buf, p, n, sha256_block);
}
void sys_sha256_end(sys_sha256 *c, uint8_t out[32]) {
  finish(c->h, &c->len, c->buf, true, sha256_block);
  for (int i = 0; i < 32; i++) out[i] = (uint8_t)(c->h[i / 4] >> (24 - 8 * (i % 4)));
}

void sys_hmac_sha256(const void *key, size_t nkey, const void *p, size_t n, uint8_t out[32]) {
  uint8_t k[64] = {0}, pad[64];
  sys_sha256 c;
  if (nkey > 64) {
    sys_sha256_init(&c);
    sys_sha256_add(&c, key, nkey);
    sys_sha256_end(&c, k);
  } else if (nkey) {
    memcpy(k, key, nkey);
  }
  for (int i = 0; i < 64; i++) pad[i] = k[i] ^ 0x36;
  sys_sha256_init(&c);
  sys_sha256_add(&c, pad, 64);
  sys_sha256_add(&c, p, n);
  sys_sha256_end(&c, out);
  for (int i = 0; i < 64; i++) pad[i] = k[i] ^ 0x5c;
  sys_sha256_init(&c);
  sys_sha256_add(&c, pad, 64);
  sys_sha256_add(&c, out, 32);
  sys_sha256_end(&c, out);
}

static const uint32_t KMD5[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391};

static void md5_block(uint32_t *h, const uint8_t *p) {
  static const uint8_t turn[4][4] = {
      {7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
  uint32_t a = h[0], b = h[1], c = h[2], d = h[3], w[16];
  for (int i = 0; i < 16; i++)
    w[i] = p[4 * i] | (uint32_t)p[4 * i + 1] << 8 | (uint32_t)p[4 * i + 2] << 16 |
           (uint32_t)p[4 * i + 3] << 24;
  for (int i = 0; i < 64; i++) {
    uint32_t f;
    int g;
    if (i < 16) f = (b & c) | (~b & d), g = i;
    else if (i < 32) f = (d & b) | (~d & c), g = (5 * i + 1) & 15;
    else if (i < 48) f = b ^ c ^ d, g = (3 * i + 5) & 15;
    else f = c ^ (b | ~d), g = (7 * i) & 15;
    f += a + KMD5[i] + w[g];
    a = d, d = c, c = b;
    b += rol(f, turn[i / 16][i & 3]);
  }
  h[0] += a, h[1] += b, h[2] += c, h[3] += d;
}

void sys_md5_init(sys_md5 *c) {
  static const uint32_t start[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
  memcpy(c->h, start, sizeof start);
  c->len = 0;
}
void sys_md5_add(sys_md5 *c, const void *p, size_t n) {
  absorb(c->h, &c->len, c->buf, p, n, md5_block);
}
void sys_md5_end(sys_md5 *c, uint8_t out[16]) {
  finish(c->h, &c->len, c->buf, false, md5_block);
  for (int i = 0; i < 16; i++) out[i] = (uint8_t)(c->h[i / 4] >> (8 * (i % 4)));
}

/* CRC-32 by eight bytes a step; the tables are made by the first call. */
static uint32_t crc_table[8][256];
static pthread_once_t crc_ready = PTHREAD_ONCE_INIT;

static void crc_init(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int k = 0; k < 8; k++) c = c & 1 ? 0xEDB88320u ^ c >> 1 : c >> 1;
    crc_table[0][i] = c;
  }
  for (int t = 1; t < 8; t++)
    for (int i = 0; i < 256; i++)
      crc_table[t][i] = crc_table[0][crc_table[t - 1][i] & 255] ^ crc_table[t - 1][i] >> 8;
}

static uint32_t crc_bytes(uint32_t c, const uint8_t *p, size_t n) {
  for (; n >= 8; p += 8, n -= 8) {
    uint32_t lo = (p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24) ^ c;
    c = crc_table[7][lo & 255] ^ crc_table[6][lo >> 8 & 255] ^ crc_table[5][lo >> 16 & 255] ^
        crc_table[4][lo >> 24] ^ crc_table[3][p[4]] ^ crc_table[2][p[5]] ^ crc_table[1][p[6]] ^
        crc_table[0][p[7]];
  }
  while (n--) c = crc_table[0][(c ^ *p++) & 255] ^ c >> 8;
  return c;
}

#if defined(__x86_64__)
#include <immintrin.h>
/* Folds 64 bytes a step by carry-less products (constants: x^k mod P, reflected, for k = 544, 480,
 * 160, 96), then leaves the last 16 bytes to the tables: their CRC from zero equals the CRC of all
 * that was folded into them. */
__attribute__((target("pclmul,sse4.1")))
static uint32_t crc_fold(uint32_t c, const uint8_t **pp, size_t *pn) {
  const uint8_t *p = *pp;
  size_t n = *pn;
  const __m128i k4 = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4),
                k1 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
  __m128i x[4];
  for (int i = 0; i < 4; i++) x[i] = _mm_loadu_si128((const __m128i *)(p + 16 * i));
  x[0] = _mm_xor_si128(x[0], _mm_cvtsi32_si128((int)c));
  for (p += 64, n -= 64; n >= 64; p += 64, n -= 64)
    for (int i = 0; i < 4; i++) {
      __m128i lo = _mm_clmulepi64_si128(x[i], k4, 0x00), hi = _mm_clmulepi64_si128(x[i], k4, 0x11);
      x[i] = _mm_xor_si128(_mm_xor_si128(lo, hi), _mm_loadu_si128((const __m128i *)(p + 16 * i)));
    }
  for (int i = 1; i < 4; i++) {
    __m128i lo = _mm_clmulepi64_si128(x[0], k1, 0x00), hi = _mm_clmulepi64_si128(x[0], k1, 0x11);
    x[0] = _mm_xor_si128(_mm_xor_si128(lo, hi), x[i]);
  }
  uint8_t rest[16];
  _mm_storeu_si128((__m128i *)rest, x[0]);
  *pp = p, *pn = n;
  return crc_bytes(0, rest, 16);
}
#endif

uint32_t sys_crc32(uint32_t crc, const void *data, size_t n) {
  const uint8_t *p = data;
  if (!n) return crc;
  pthread_once(&crc_ready, crc_init);
  crc = ~crc;
#if defined(__x86_64__)
  if (n >= 128 && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1"))
    crc = crc_fold(crc, &p, &n);
#endif
  return ~crc_bytes(crc, p, n);
}
