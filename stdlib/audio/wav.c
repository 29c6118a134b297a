/* wav.c: the chunks of a WAVE file.  Unknown chunks are skipped, "fmt " must come before "data". */
#include "audio/wav.h"
#include "formats/fmt.h"
#include <inttypes.h>
#include <string.h>

static bool read_format(wav *w, const uint8_t *c, uint32_t size, size_t at, sys_err *e) {
  if (size < 16) return sys_fail(e, "wav: a format chunk of %u bytes at byte %zu", size, at);
  unsigned tag = fmt_u16(c), block = fmt_u16(c + 12);
  w->channels = fmt_u16(c + 2);
  w->rate = fmt_u32(c + 4);
  w->bits = fmt_u16(c + 14);
  if (tag == 0xFFFE && size >= 40)
    tag = fmt_u16(c + 24); /* extensible: the real tag begins a GUID */
  if (tag != 1 && tag != 3)
    return sys_fail(e, "wav: compression %u is not read (only PCM and floats) at byte %zu", tag,
                    at);
  w->is_float = tag == 3;
  bool known = w->is_float ? w->bits == 32 || w->bits == 64
                           : w->bits == 8 || w->bits == 16 || w->bits == 24 || w->bits == 32;
  if (!known) return sys_fail(e, "wav: samples of %d bits at byte %zu", w->bits, at);
  if (!w->channels || block != (unsigned)(w->channels * w->bits / 8) || !w->rate)
    return sys_fail(e, "wav: channels, rate or block size make no sense at byte %zu", at);
  return true;
}

bool wav_parse(wav *w, const uint8_t *p, size_t n, sys_err *e) {
  *w = (wav){0};
  if (n < 12 || memcmp(p, "RIFF", 4) || memcmp(p + 8, "WAVE", 4))
    return sys_fail(e, "wav: no RIFF WAVE at byte 0");
  for (size_t at = 12; n - at >= 8;) {
    uint32_t size = fmt_u32(p + at + 4);
    bool data = !memcmp(p + at, "data", 4);
    /* A stream's writer may leave the last length open; then the data run to the end of the file.
     */
    if (data && (size == 0xFFFFFFFF || size == 0))
      size = n - at - 8 < UINT32_MAX ? (uint32_t)(n - at - 8) : UINT32_MAX;
    if (size > n - at - 8)
      return sys_fail(e, "wav: a chunk of %u bytes reaches past the end of the file at byte %zu",
                      size, at);
    if (!memcmp(p + at, "fmt ", 4)) {
      if (w->rate) return sys_fail(e, "wav: a second format chunk at byte %zu", at);
      if (!read_format(w, p + at + 8, size, at, e)) return false;
    }
    if (data) {
      if (!w->rate) return sys_fail(e, "wav: data before their format at byte %zu", at);
      uint32_t block = (uint32_t)(w->channels * w->bits / 8);
      w->data = p + at + 8;
      w->frames = size / block;
      return size % block == 0 ||
             sys_fail(e, "wav: the data are no whole number of frames at byte %zu", at);
    }
    size_t step = 8 + (size_t)size + (size & 1);
    if (step > n - at) break;
    at += step;
  }
  return sys_fail(e, "wav: no data chunk in %zu bytes", n);
}

static float sample(const wav *w, const uint8_t *s) {
  uint64_t bits;
  float f;
  double d;
  switch (w->bits) {
    case 8: return ((float)*s - 128.0f) / 128.0f;
    case 16: return (float)(int16_t)fmt_u16(s) / 32768.0f;
    case 24:
      return (float)((int32_t)((uint32_t)fmt_u16(s) << 8 | (uint32_t)s[2] << 24) >> 8) / 8388608.0f;
    case 64: bits = fmt_u64(s); memcpy(&d, &bits, 8); return (float)d;
    default: break;
  }
  uint32_t x = fmt_u32(s);
  if (!w->is_float) return (float)((double)(int32_t)x / 2147483648.0);
  memcpy(&f, &x, 4);
  return f;
}

void wav_read(const wav *w, int channel, float *dst, uint64_t from, uint64_t n) {
  size_t bytes = (size_t)w->bits / 8, step = bytes * (size_t)w->channels;
  const uint8_t *s = w->data + from * step + (size_t)channel * bytes;
  for (uint64_t i = 0; i < n; i++, s += step) dst[i] = sample(w, s);
}
