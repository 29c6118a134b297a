/* save.c: the PNG writer, and the deflate compressor it needs: LZ77 with hash chains over 32 KB,
 * fixed Huffman codes. */
#include "image/image.h"
#include "formats/fmt.h"
#include <stdlib.h>
#include <string.h>

enum { WINDOW = 32768, HASH_BITS = 15, CHAIN = 32, MIN_MATCH = 3, MAX_MATCH = 258 };

typedef struct bits { uint8_t *p; size_t n, cap; uint64_t held; int count; bool failed; } bits;

static void put(bits *b, uint32_t v, int n) {
  b->held |= (uint64_t)v << b->count;
  b->count += n;
  while (b->count >= 8) {
    if (b->n == b->cap && !b->failed) {
      size_t cap = 2 * b->cap + 1024;
      uint8_t *p = mt_realloc(b->p, cap);
      if (p) b->p = p, b->cap = cap;
      else b->failed = true;
    }
    if (!b->failed) b->p[b->n++] = (uint8_t)b->held;
    b->held >>= 8;
    b->count -= 8;
  }
}

static uint32_t reversed(uint32_t v, int n) {
  uint32_t r = 0;
  while (n--) r = r << 1 | (v & 1), v >>= 1;
  return r;
}

/* The fixed code of a literal or length symbol. */
static void put_symbol(bits *b, int s) {
  if (s < 144) put(b, reversed(0x30 + (uint32_t)s, 8), 8);
  else if (s < 256) put(b, reversed(0x190 + (uint32_t)s - 144, 9), 9);
  else if (s < 280) put(b, reversed((uint32_t)s - 256, 7), 7);
  else put(b, reversed(0xC0 + (uint32_t)s - 280, 8), 8);
}

/* Lengths and distances are a symbol and extra bits: 2^k values a symbol, in groups of four and two
 * symbols. */
static void put_match(bits *b, int len, int dist) {
  int v = len - 3, k = 0;
  if (len == 258) put_symbol(b, 285);
  else if (v < 8) put_symbol(b, 257 + v);
  else {
    for (k = 0; v >> (k + 3); k++) {}
    put_symbol(b, 257 + 4 * k + (v >> k));
    put(b, (uint32_t)(v & ((1 << k) - 1)), k);
  }
  v = dist - 1;
  if (v < 4) {
    put(b, reversed((uint32_t)v, 5), 5);
    return;
  }
  for (k = 0; v >> (k + 2); k++) {}
  put(b, reversed((uint32_t)(2 * k + (v >> k)), 5), 5);
  put(b, (uint32_t)(v & ((1 << k) - 1)), k);
}

static uint32_t hash3(const uint8_t *p) {
  return ((p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16) * 2654435761u) >> (32 - HASH_BITS);
}

/* The longest match for p[at...] among the last CHAIN positions of its hash. */
static int longest(const uint8_t *p, size_t n, size_t at, const int64_t *head, const int64_t *prev,
                   int *dist) {
  int best = 0, limit = n - at < MAX_MATCH ? (int)(n - at) : MAX_MATCH;
  int64_t j = head[hash3(p + at)];
  for (int tries = 0; j >= 0 && (int64_t)at - j <= WINDOW && tries < CHAIN;
       tries++, j = prev[j % WINDOW]) {
    int len = 0;
    while (len < limit && p[j + len] == p[at + (size_t)len]) len++;
    if (len > best) best = len, *dist = (int)((int64_t)at - j);
  }
  return best >= MIN_MATCH ? best : 0;
}

uint8_t *img_deflate(const uint8_t *p, size_t n, size_t *out_n) {
  bits b = {.n = 0};
  int64_t *head = mt_malloc(sizeof *head << HASH_BITS), *prev = mt_malloc(sizeof *prev * WINDOW);
  uint32_t a = 1, s = 0;
  put(&b, 0x78, 8), put(&b, 0x01, 8);
  put(&b, 3, 3);                           /* the last block, fixed codes */
  if (head && prev)
    memset(head, 0xFF, sizeof *head << HASH_BITS), memset(prev, 0xFF, sizeof *prev * WINDOW);
  else b.failed = true;
  for (size_t at = 0; at < n && !b.failed;) {
    int dist = 0, len = n - at >= MIN_MATCH ? longest(p, n, at, head, prev, &dist) : 0;
    if (len) put_match(&b, len, dist);
    else put_symbol(&b, p[at]), len = 1;
    for (; len > 0; len--, at++) {
      if (n - at < MIN_MATCH) continue;
      uint32_t h = hash3(p + at);
      prev[at % WINDOW] = head[h];
      head[h] = (int64_t)at;
    }
    if (mt_interrupted) b.failed = true;
  }
  put_symbol(&b, 256);
  put(&b, 0, (8 - b.count) & 7);
  for (size_t i = 0; i < n; i++) {
    a += p[i], s += a;
    if (i % 4096 == 4095) a %= 65521, s %= 65521;
  }
  a %= 65521, s %= 65521;
  put(&b, s >> 8, 8), put(&b, s & 255, 8), put(&b, a >> 8, 8), put(&b, a & 255, 8);
  mt_free(head);
  mt_free(prev);
  if (b.failed) mt_free(b.p), b.p = NULL;
  *out_n = b.n;
  return b.p;
}

/* ---- PNG ---- */
static void put_be32(uint8_t *p, uint32_t v) {
  for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* Each line with the filter (none, left, up) whose bytes have the least sum as signed numbers. */
static void filter_lines(const picture *pic, uint8_t *out) {
  size_t n = (size_t)pic->width * (size_t)pic->channels, step = (size_t)pic->channels;
  for (uint32_t y = 0; y < pic->height; y++, out += n + 1) {
    const uint8_t *line = pic->data + y * n, *above = y ? line - n : NULL;
    uint64_t best = UINT64_MAX;
    for (int f = 0; f < 3; f++) {
      uint64_t sum = 0;
      for (size_t i = 0; i < n; i++) {
        int v = line[i] - (f == 1 && i >= step ? line[i - step] : f == 2 && above ? above[i] : 0);
        sum += (uint64_t)abs((int8_t)v);
      }
      if (sum < best) best = sum, out[0] = (uint8_t)f;
    }
    for (size_t i = 0; i < n; i++)
      out[1 + i] = (uint8_t)(line[i] - (out[0] == 1 && i >= step ? line[i - step]
                                        : out[0] == 2 && above   ? above[i]
                                                                 : 0));
  }
}

static uint8_t *put_chunk(uint8_t *to, const char *type, const void *p, size_t n) {
  put_be32(to, (uint32_t)n);
  memcpy(to + 4, type, 4);
  if (n) memcpy(to + 8, p, n);
  put_be32(to + 8 + n, sys_crc32(sys_crc32(0, type, 4), p, n));
  return to + 12 + n;
}

uint8_t *img_encode_png(const picture *pic, size_t *size, sys_err *e) {
  static const uint8_t colour[5] = {0, 0, 4, 2, 6};
  uint8_t header[13] = {0};
  size_t n = ((size_t)pic->width * (size_t)pic->channels + 1) * pic->height, packed = 0;
  if (!pic->width || !pic->height || pic->width > IMG_MAX_SIDE || pic->height > IMG_MAX_SIDE) {
    sys_note(e, "png: a picture of %u x %u cannot be saved", pic->width, pic->height);
    return NULL;
  }
  uint8_t *raw = mt_malloc(n), *data = NULL, *png = NULL;
  if (raw) filter_lines(pic, raw), data = img_deflate(raw, n, &packed);
  mt_free(raw);
  if (data && packed <= INT32_MAX) png = mt_malloc(8 + 12 + 13 + 12 + packed + 12);
  if (!png) sys_note(e, mt_interrupted ? "interrupted" : "not enough memory");
  else {
    put_be32(header, pic->width), put_be32(header + 4, pic->height);
    header[8] = 8, header[9] = colour[pic->channels];
    memcpy(png, "\x89PNG\r\n\x1a\n", 8);
    uint8_t *at = put_chunk(png + 8, "IHDR", header, 13);
    *size = (size_t)(put_chunk(put_chunk(at, "IDAT", data, packed), "IEND", "", 0) - png);
  }
  mt_free(data);
  return png;
}

bool img_save_png(const char *path, const picture *pic, sys_err *e) {
  sys_save s;
  size_t n;
  uint8_t *png = img_encode_png(pic, &n, e);
  if (png && sys_save_begin(&s, path, e)) {
    sys_save_write(&s, png, n, e);
    sys_save_commit(&s, e);
  }
  mt_free(png);
  return !e->msg[0];
}
