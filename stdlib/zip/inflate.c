/* inflate.c: DEFLATE (RFC 1951).
 *
 * A Huffman code is a table over the next 10 bits (symbol and length of every code that short) and
 * the canonical counts for longer ones.  Incomplete codes are refused except a single distance code
 * of one bit, over-subscribed ones always. */
#include "zip/zip.h"
#include <string.h>

enum { FAST = 10, MAX_BITS = 15 };

typedef struct huff {
  uint16_t fast[1 << FAST];      /* symbol << 4 | length; 0: longer than FAST, or no code */
  uint16_t count[MAX_BITS + 1];
  uint16_t symbol[288];
} huff;

typedef struct stream {
  const uint8_t *p, *end;
  uint64_t bits;
  int n;                         /* bits held; below 0: read past the end */
  uint8_t *o, *begin, *limit;
} stream;

static void fill(stream *s) {
  while (s->n <= 56 && s->p < s->end) {
    s->bits |= (uint64_t)*s->p++ << s->n;
    s->n += 8;
  }
}

static uint32_t take(stream *s, int k) {
  if (s->n < k) fill(s);
  uint32_t v = (uint32_t)(s->bits & (((uint64_t)1 << k) - 1));
  s->bits >>= k;
  s->n -= k;
  return v;
}

static uint32_t reverse(uint32_t v, int n) {
  uint32_t r = 0;
  while (n--) r = r << 1 | (v & 1), v >>= 1;
  return r;
}

static bool build(huff *h, const uint8_t *len, int n, bool may_be_single) {
  uint16_t at[MAX_BITS + 2] = {0};
  uint32_t code[MAX_BITS + 2] = {0};
  int left = 1, used = 0;
  memset(h, 0, sizeof *h);
  for (int i = 0; i < n; i++) h->count[len[i]]++;
  used = n - h->count[0];
  h->count[0] = 0;
  for (int b = 1; b <= MAX_BITS; b++) {
    left = (left << 1) - h->count[b];
    if (left < 0) return false;
    at[b + 1] = (uint16_t)(at[b] + h->count[b]);
    code[b + 1] = (code[b] + h->count[b]) << 1;
  }
  if (left && !(may_be_single && used <= 1 && used == h->count[1])) return false;
  for (int i = 0; i < n; i++) {
    int b = len[i];
    if (!b) continue;
    h->symbol[at[b]++] = (uint16_t)i;
    uint32_t c = code[b]++;
    if (b > FAST) continue;
    for (uint32_t k = reverse(c, b); k < 1u << FAST; k += 1u << b)
      h->fast[k] = (uint16_t)(i << 4 | b);
  }
  return true;
}

/* The next symbol, or -1. */
static int symbol(stream *s, const huff *h) {
  if (s->n < MAX_BITS) fill(s);
  int f = h->fast[s->bits & ((1u << FAST) - 1)];
  if (f) {
    s->bits >>= f & 15;
    s->n -= f & 15;
    return s->n < 0 ? -1 : f >> 4;
  }
  int code = 0, first = 0, index = 0;
  uint64_t b = s->bits;
  for (int len = 1; len <= MAX_BITS; len++, b >>= 1) {
    code |= (int)(b & 1);
    int count = h->count[len];
    if (code - count < first) {
      s->bits >>= len;
      s->n -= len;
      return s->n < 0 ? -1 : h->symbol[index + (code - first)];
    }
    index += count;
    first = (first + count) << 1;
    code <<= 1;
  }
  return -1;
}

static const char *stored(stream *s) {
  take(s, s->n & 7);
  uint32_t len = take(s, 16), inv = take(s, 16);
  if (s->n < 0 || len != (inv ^ 0xFFFF)) return "a stored block's length is wrong";
  while (len && s->n > 0) {
    if (s->o == s->limit) return "more data than declared";
    *s->o++ = (uint8_t)take(s, 8);
    len--;
  }
  if ((size_t)(s->end - s->p) < len) return "the data end early";
  if ((size_t)(s->limit - s->o) < len) return "more data than declared";
  memcpy(s->o, s->p, len);
  s->o += len, s->p += len;
  return NULL;
}

static const char *codes(stream *s, const huff *lit, const huff *dist) {
  static const uint16_t len_base[29] = {3,  4,  5,  6,   7,   8,   9,   10,  11, 13,
                                        15, 17, 19, 23,  27,  31,  35,  43,  51, 59,
                                        67, 83, 99, 115, 131, 163, 195, 227, 258};
  static const uint8_t len_extra[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                        2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
  static const uint16_t dist_base[30] = {
      1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
      193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
  for (;;) {
    int c = symbol(s, lit);
    if (c < 0) return "invalid code";
    if (c < 256) {
      if (s->o == s->limit) return "more data than declared";
      *s->o++ = (uint8_t)c;
      continue;
    }
    if (c == 256) return NULL;
    if (c > 285) return "invalid code";
    size_t len = len_base[c - 257] + take(s, len_extra[c - 257]);
    int k = symbol(s, dist);
    if (k < 0 || k > 29) return "invalid distance";
    size_t d = dist_base[k] + take(s, k < 2 ? 0 : k / 2 - 1);
    if (s->n < 0) return "the data end early";
    if (d > (size_t)(s->o - s->begin)) return "a distance reaches before the start";
    if (len > (size_t)(s->limit - s->o)) return "more data than declared";
    const uint8_t *from = s->o - d;
    if (d >= len) memcpy(s->o, from, len), s->o += len;
    else while (len--) *s->o++ = *from++;
  }
}

static const char *dynamic(stream *s, huff *lit, huff *dist) {
  static const uint8_t order[19] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                    11, 4,  12, 3, 13, 2, 14, 1, 15};
  uint8_t len[320] = {0};
  int nlit = (int)take(s, 5) + 257, ndist = (int)take(s, 5) + 1, ncode = (int)take(s, 4) + 4;
  if (nlit > 286 || ndist > 30) return "invalid code counts";
  for (int i = 0; i < ncode; i++) len[order[i]] = (uint8_t)take(s, 3);
  if (!build(lit, len, 19, false)) return "invalid code lengths";
  memset(len, 0, sizeof len);
  for (int i = 0; i < nlit + ndist;) {
    int c = symbol(s, lit);
    if (c < 0) return "invalid code lengths";
    if (c < 16) {
      len[i++] = (uint8_t)c;
      continue;
    }
    if (c == 16 && i == 0) return "invalid code lengths";
    uint8_t v = c == 16 ? len[i - 1] : 0;
    int again = c == 16   ? 3 + (int)take(s, 2)
                : c == 17 ? 3 + (int)take(s, 3)
                          : 11 + (int)take(s, 7);
    if (i + again > nlit + ndist) return "invalid code lengths";
    while (again--) len[i++] = v;
  }
  if (!len[256]) return "no end code";
  if (!build(dist, len + nlit, ndist, true) || !build(lit, len, nlit, true))
    return "invalid code lengths";
  return codes(s, lit, dist);
}

/* The tables of the fixed codes are made once a call: a block can be as short as ten bits. */
static const char *fixed(stream *s, huff *lit, huff *dist, bool *made) {
  uint8_t len[288];
  if (*made) return codes(s, lit, dist);
  *made = true;
  for (int i = 0; i < 288; i++) len[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
  build(lit, len, 288, false);
  memset(len, 5, 32);                      /* codes 30 and 31 exist but are refused when used */
  build(dist, len, 32, false);
  return codes(s, lit, dist);
}

bool zip_inflate(uint8_t *dst, size_t dn, const uint8_t *src, size_t sn, sys_err *e) {
  stream s = {.p = src, .end = src + sn, .o = dst, .begin = dst, .limit = dst + dn};
  huff *h = mt_malloc(4 * sizeof *h);      /* 11 KB: too much for a small thread's stack */
  const char *what = NULL;
  bool last = false, made = false;
  if (!h) return sys_fail(e, "not enough memory");
  while (!last && !what) {
    last = take(&s, 1);
    switch (take(&s, 2)) {
      case 0: what = stored(&s); break;
      case 1: what = fixed(&s, &h[2], &h[3], &made); break;
      case 2: what = dynamic(&s, &h[0], &h[1]); break;
      default: what = "invalid block type";
    }
    if (!what && s.n < 0) what = "the data end early";
    if (mt_interrupted) what = "interrupted";
  }
  mt_free(h);
  if (!what && s.o != s.limit) what = "less data than declared";
  if (!what && (s.p != s.end || s.n > 7)) what = "bytes after the end of the data";
  return !what || sys_fail(e, "inflate: %s (at byte %zu of %zu)", what, (size_t)(s.p - src), sn);
}
