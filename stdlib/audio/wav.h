/* wav.h: RIFF WAVE, PCM of 8 to 32 bits and floats, without Lua.
 *
 * Invariant: after wav_parse, data holds exactly frames * channels samples of `bits` bits, all
 * inside the given bytes. */
#ifndef WAV_H
#define WAV_H
#include "sys/sys.h"

typedef struct wav {
  const uint8_t *data;
  uint64_t frames;
  uint32_t rate;
  int channels, bits;
  bool is_float;
} wav;
bool wav_parse(wav *w, const uint8_t *p, size_t n, sys_err *e);
/* Samples of one channel as floats: integers scaled to [-1, 1). */
void wav_read(const wav *w, int channel, float *dst, uint64_t from, uint64_t n);
/* 16-bit PCM or float samples given as channels one after the other; clipped to [-1, 1]. */
bool wav_save(const char *path, const float *data, int channels, uint64_t frames, uint32_t rate,
              bool as_float, sys_err *e);
#endif
