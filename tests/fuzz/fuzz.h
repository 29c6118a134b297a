/* fuzz.h: what the mutation fuzzers of the parsers share: a generator of numbers, a growing buffer,
 * mutators, a driver.
 *
 * A target makes an input that is valid or nearly so (structure-aware: its parts are assembled with
 * right lengths, offsets and checksums, then some are made wrong), the driver may change bytes on
 * top, and the parser runs on an exact-size copy, so that the sanitizers see every read past its
 * end.  What was accepted is then read completely. */
#ifndef FUZZ_H
#define FUZZ_H
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FUZZ_MAX = 4096 };
typedef struct buf { uint8_t p[FUZZ_MAX]; size_t n; } buf;

extern uint64_t fuzz_state;
static inline uint64_t rnd(void) {
  fuzz_state ^= fuzz_state << 13, fuzz_state ^= fuzz_state >> 7, fuzz_state ^= fuzz_state << 17;
  return fuzz_state * 0x2545F4914F6CDD1Du;
}
static inline unsigned below(unsigned n) { return n ? (unsigned)((rnd() >> 33) % n) : 0; }
static inline int chance(unsigned percent) { return below(100) < percent; }
#define PICK(array) ((array)[below(sizeof(array) / sizeof *(array))])

static inline void add(buf *b, const void *p, size_t n) {
  if (n > FUZZ_MAX - b->n) n = FUZZ_MAX - b->n;
  if (n) memcpy(b->p + b->n, p, n);
  b->n += n;
}
static inline void adds(buf *b, const char *s) { add(b, s, strlen(s)); }
static inline void addn(buf *b, uint64_t v, int bytes) {
  uint8_t t[8];
  for (int i = 0; i < 8; i++) t[i] = (uint8_t)(v >> 8 * i);
  add(b, t, (size_t)bytes);
}
void addf(buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
uint64_t odd_number(void);                       /* an integer that parsers trip over */
void mutate(buf *b, int times);

typedef struct target {
  const char *name;
  void (*make)(buf *b);                          /* a seed with its own structural faults */
  int (*run)(const uint8_t *p, size_t n);        /* 1: accepted */
} target;
extern const target fuzz_safetensors, fuzz_json, fuzz_npy, fuzz_npz, fuzz_inflate, fuzz_pickle,
    fuzz_stream, fuzz_gguf, fuzz_wav, fuzz_png;
extern const target fuzz_tokenizer;
extern volatile unsigned fuzz_sink;              /* what accepted data are summed into */
void read_all(const void *fmt_list);
#endif
