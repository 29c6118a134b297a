/* kern_rng.h: the random generator's inner loops, one table per CPU level.
 *
 * Invariant.  Every level gives the same bits: fused multiply-adds are written out, nothing is
 * contracted. */
#ifndef MT_KERN_RNG_H
#define MT_KERN_RNG_H
#include <stdint.h>
typedef struct {
  void (*twist)(uint32_t s[624]);
  void (*temper)(const uint32_t *s, uint32_t *out, int n);
  void (*unit_f32)(const uint32_t *u, float *out, int n, float from, float range);
  void (*unit_f64)(const uint32_t *u, double *out, int n, double from,
                   double range);                                      /* u: 2n words, high first */
  void (*box_muller)(float *d, int64_t blocks, float mean, float std); /* blocks of 16 units */
} RngKern;
extern const RngKern mt_rngkern_base, mt_rngkern_avx2, mt_rngkern_avx512;
#endif
