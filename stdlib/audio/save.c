/* save.c: WAVE files of 16-bit PCM or floats. */
#include "audio/wav.h"
#include "formats/fmt.h"
#include <inttypes.h>
#include <string.h>

bool wav_save(const char *path, const float *data, int channels, uint64_t frames, uint32_t rate,
              bool as_float, sys_err *e) {
  uint32_t bytes = as_float ? 4 : 2, block = bytes * (uint32_t)channels;
  uint8_t h[44];
  sys_save s;
  if (channels < 1 || channels > 65535 || !rate || frames > (UINT32_MAX - 64) / block)
    return sys_fail(e, "wav: %d channels of %" PRIu64 " frames do not fit the format", channels,
                    frames);
  memcpy(h, "RIFF....WAVEfmt ", 16);
  fmt_put(h + 4, 36 + frames * block + ((frames * block) & 1), 4), fmt_put(h + 16, 16, 4),
      fmt_put(h + 20, as_float ? 3 : 1, 2);
  fmt_put(h + 22, (uint64_t)channels, 2), fmt_put(h + 24, rate, 4),
      fmt_put(h + 28, (uint64_t)rate * block, 4);
  fmt_put(h + 32, block, 2), fmt_put(h + 34, 8 * bytes, 2);
  memcpy(h + 36, "data", 4);
  fmt_put(h + 40, frames * block, 4);
  if (!sys_save_begin(&s, path, e)) return false;
  sys_save_write(&s, h, 44, e);
  for (uint64_t i = 0; i < frames && !e->msg[0]; i++)
    for (int c = 0; c < channels; c++) {
      float v = data[(uint64_t)c * frames + i];
      uint8_t b[4];
      uint32_t x;
      memcpy(&x, &v, 4);
      float clipped = v != v ? 0 : v < -1 ? -1 : v > 1 ? 1 : v;
      int32_t q = (int32_t)(clipped * 32768.0f + (clipped < 0 ? -0.5f : 0.5f));
      fmt_put(b, as_float ? x : (uint64_t)(uint16_t)(int16_t)(q > 32767 ? 32767 : q), (int)bytes);
      sys_save_write(&s, b, bytes, e);
    }
  if ((frames * block) & 1) sys_save_pad(&s, 1, 0, e);
  return sys_save_commit(&s, e);
}
