/* png.c: the PNG reader (ISO 15948): all colour types and depths, interlaced or not, to 8 bits a
 * channel. */
#include "image/image.h"
#include "zip/zip.h"
#include <string.h>

typedef struct png {
  uint32_t width, height;
  int depth, colour, interlaced, channels;
  uint8_t palette[256][4];
  int npalette;
  bool transparent;
  uint8_t *packed;               /* the IDAT chunks' bytes, together */
  size_t npacked;
} png;

static uint32_t be32(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool read_header(png *g, const uint8_t *d, uint32_t n, sys_err *e) {
  static const uint8_t channels[7] = {1, 0, 3, 1, 2, 0, 4};
  if (n != 13) return sys_fail(e, "png: a header of %u bytes", n);
  g->width = be32(d), g->height = be32(d + 4);
  g->depth = d[8], g->colour = d[9], g->interlaced = d[12];
  if (!g->width || !g->height || g->width > IMG_MAX_SIDE || g->height > IMG_MAX_SIDE)
    return sys_fail(e, "png: a size of %u x %u", g->width, g->height);
  bool depth_ok =
      g->depth == 8 || (g->depth == 16 && g->colour != 3) ||
      ((g->depth == 1 || g->depth == 2 || g->depth == 4) && (g->colour == 0 || g->colour == 3));
  if (g->colour > 6 || !channels[g->colour] || !depth_ok || d[10] || d[11] || g->interlaced > 1)
    return sys_fail(e, "png: colour type %d of %d bits is not known", g->colour, g->depth);
  g->channels = channels[g->colour];
  return true;
}

static bool read_palette(png *g, const uint8_t *d, uint32_t n, sys_err *e) {
  if (n % 3 || !n || n > 768 || g->npalette) return sys_fail(e, "png: an invalid palette");
  for (uint32_t i = 0; i < n / 3; i++) memcpy(g->palette[i], d + 3 * i, 3), g->palette[i][3] = 255;
  g->npalette = (int)(n / 3);
  return true;
}

/* Walks the chunks; the picture's data are gathered in place (they lie in order). */
static bool read_chunks(png *g, const uint8_t *p, size_t n, sys_err *e) {
  static const uint8_t magic[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  if (n < 8 || memcmp(p, magic, 8)) return sys_fail(e, "png: no magic bytes at byte 0");
  if (!(g->packed = mt_malloc(n))) return sys_fail(e, "not enough memory");
  for (size_t at = 8; n - at >= 12;) {
    uint32_t len = be32(p + at);
    const uint8_t *type = p + at + 4, *d = type + 4;
    if (len > n - at - 12)
      return sys_fail(e, "png: a chunk reaches past the end of the file at byte %zu", at);
    if (sys_crc32(0, type, len + 4) != be32(d + len))
      return sys_fail(e, "png: wrong CRC of the chunk at byte %zu", at);
    if (!g->width && memcmp(type, "IHDR", 4)) return sys_fail(e, "png: no header at byte %zu", at);
    if (!memcmp(type, "IHDR", 4)) {
      if (g->width) return sys_fail(e, "png: a second header at byte %zu", at);
      if (!read_header(g, d, len, e)) return false;
    } else if (!memcmp(type, "PLTE", 4)) {
      if (!read_palette(g, d, len, e)) return false;
    } else if (!memcmp(type, "tRNS", 4) && g->colour == 3) {
      if (len > (uint32_t)g->npalette)
        return sys_fail(e, "png: more transparencies than colours at byte %zu", at);
      for (uint32_t i = 0; i < len; i++) g->palette[i][3] = d[i];
      g->transparent = true;
    } else if (!memcmp(type, "IDAT", 4)) {
      memcpy(g->packed + g->npacked, d, len);
      g->npacked += len;
    } else if (!memcmp(type, "IEND", 4)) {
      return g->npacked >= 6 || sys_fail(e, "png: no picture data");
    } else if (!(type[0] & 32)) {
      return sys_fail(e, "png: an unknown chunk that must be understood at byte %zu", at);
    }
    at += 12 + (size_t)len;
  }
  return sys_fail(e, "png: the file ends early, at byte %zu", n);
}

/* ---- scan lines ---- */
static size_t line_bytes(const png *g, uint32_t width) {
  return ((size_t)width * (size_t)(g->channels * g->depth) + 7) / 8;
}

static uint8_t paeth(int a, int b, int c) {
  int p = a + b - c, pa = p > a ? p - a : a - p, pb = p > b ? p - b : b - p,
      pc = p > c ? p - c : c - p;
  return (uint8_t)(pa <= pb && pa <= pc ? a : pb <= pc ? b : c);
}

/* Undoes one line's filter in place; above is the line before it, undone, or NULL. */
static bool unfilter(uint8_t *line, const uint8_t *above, size_t n, size_t step, int filter) {
  for (size_t i = 0; i < n; i++) {
    int a = i >= step ? line[i - step] : 0, b = above ? above[i] : 0,
        c = above && i >= step ? above[i - step] : 0;
    switch (filter) {
      case 0: return true;
      case 1: line[i] = (uint8_t)(line[i] + a); break;
      case 2: line[i] = (uint8_t)(line[i] + b); break;
      case 3: line[i] = (uint8_t)(line[i] + (a + b) / 2); break;
      case 4: line[i] = (uint8_t)(line[i] + paeth(a, b, c)); break;
      default: return false;
    }
  }
  return filter <= 4;
}

/* Sample k of a line, scaled to 8 bits; a palette's index stays as it is. */
static uint8_t sample(const png *g, const uint8_t *line, size_t k) {
  if (g->depth == 8) return line[k];
  if (g->depth == 16) return line[2 * k];
  int bits = (int)(k * (size_t)g->depth), mask = (1 << g->depth) - 1;
  int v = line[bits / 8] >> (8 - g->depth - bits % 8) & mask;
  return (uint8_t)(g->colour == 3 ? v : v * 255 / mask);
}

static bool put_pixel(const png *g, picture *out, const uint8_t *line, uint32_t i, uint32_t x,
                      uint32_t y) {
  uint8_t *to = out->data + ((size_t)y * out->width + x) * (size_t)out->channels;
  if (g->colour == 3) {
    int index = sample(g, line, i);
    if (index >= g->npalette) return false;
    memcpy(to, g->palette[index], (size_t)out->channels);
    return true;
  }
  for (int c = 0; c < g->channels; c++)
    to[c] = sample(g, line, (size_t)i * (size_t)g->channels + (size_t)c);
  return true;
}

/* One pass of the picture: lines of its every dx-th pixel from x0, y0 on. */
typedef struct pass { uint8_t x0, y0, dx, dy; } pass;
static const pass whole = {0, 0, 1, 1};
static const pass adam7[7] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                              {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};

static uint32_t extent(uint32_t size, int from, int step) {
  return size > (uint32_t)from ? (size - (uint32_t)from + (uint32_t)step - 1) / (uint32_t)step : 0;
}

static size_t pass_bytes(const png *g, const pass *s) {
  uint32_t w = extent(g->width, s->x0, s->dx), h = extent(g->height, s->y0, s->dy);
  return w ? (size_t)h * (1 + line_bytes(g, w)) : 0;
}

static bool read_pass(const png *g, picture *out, uint8_t *raw, const pass *s, sys_err *e) {
  uint32_t w = extent(g->width, s->x0, s->dx), h = extent(g->height, s->y0, s->dy);
  size_t n = line_bytes(g, w), step = (size_t)(g->channels * g->depth + 7) / 8;
  const uint8_t *above = NULL;
  for (uint32_t y = 0; w && y < h; y++, raw += n + 1) {
    if (!unfilter(raw + 1, above, n, step, raw[0]))
      return sys_fail(e, "png: filter %d in line %u", raw[0], y);
    above = raw + 1;
    for (uint32_t x = 0; x < w; x++)
      if (!put_pixel(g, out, raw + 1, x, s->x0 + x * s->dx, s->y0 + y * s->dy))
        return sys_fail(e, "png: a colour that is not in the palette, in line %u", y);
    if (mt_interrupted) return sys_fail(e, "interrupted");
  }
  return true;
}

static uint32_t adler32(const uint8_t *p, size_t n) {
  uint32_t a = 1, b = 0;
  for (size_t i = 0; i < n; i++) {
    a += p[i], b += a;
    if (i % 4096 == 4095) a %= 65521, b %= 65521;
  }
  return (b % 65521) << 16 | a % 65521;
}

static bool unpack(png *g, uint8_t **raw, size_t *n, sys_err *e) {
  const pass *passes = g->interlaced ? adam7 : &whole;
  *n = 0;
  for (int i = 0; i < (g->interlaced ? 7 : 1); i++) *n += pass_bytes(g, &passes[i]);
  if (*n / 1032 > g->npacked) return sys_fail(e, "png: a size that the data cannot reach");
  if ((g->packed[0] & 15) != 8 || (g->packed[0] << 8 | g->packed[1]) % 31 || g->packed[1] & 32)
    return sys_fail(e, "png: no zlib stream");
  if (!(*raw = mt_malloc(*n))) return sys_fail(e, "not enough memory");
  if (!zip_inflate(*raw, *n, g->packed + 2, g->npacked - 6, e)) return false;
  return adler32(*raw, *n) == be32(g->packed + g->npacked - 4) ||
         sys_fail(e, "png: the data do not match their sum");
}

bool img_read_png(picture *out, const uint8_t *p, size_t n, sys_err *e) {
  png g = {.width = 0};
  uint8_t *raw = NULL;
  size_t nraw;
  *out = (picture){.width = 0};
  bool ok = read_chunks(&g, p, n, e);
  if (ok && g.colour == 3 && !g.npalette) ok = sys_fail(e, "png: no palette");
  ok = ok && unpack(&g, &raw, &nraw, e);
  if (ok) {
    out->width = g.width, out->height = g.height;
    out->channels = g.colour != 3 ? g.channels : g.transparent ? 4 : 3;
    out->data = mt_malloc((size_t)g.width * g.height * (size_t)out->channels);
    if (!out->data) ok = sys_fail(e, "not enough memory");
  }
  uint8_t *at = raw;
  for (int i = 0; ok && i < (g.interlaced ? 7 : 1); i++) {
    const pass *s = g.interlaced ? &adam7[i] : &whole;
    ok = read_pass(&g, out, at, s, e);
    at += pass_bytes(&g, s);
  }
  mt_free(raw);
  mt_free(g.packed);
  if (!ok) img_free(out);
  return ok;
}

void img_free(picture *pic) {
  mt_free(pic->data);
  *pic = (picture){.width = 0};
}

bool img_read(picture *out, const uint8_t *p, size_t n, sys_err *e) {
  if (n >= 3 && p[0] == 0xFF && p[1] == 0xD8 && p[2] == 0xFF) return img_read_jpeg(out, p, n, e);
  if (n >= 4 && !memcmp(p, "\x89PNG", 4)) return img_read_png(out, p, n, e);
  return sys_fail(e, "image: neither PNG nor JPEG at byte 0");
}
