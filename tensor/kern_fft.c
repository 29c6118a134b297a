/* kern_fft.c: the passes and rows of Fourier transforms in float and double (see kern_fft.h). */
#ifndef __clang__
#pragma GCC optimize("fp-contract=fast")
#endif
#include "kern_fft.h"
#include <string.h>

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
#define ALWAYS static inline __attribute__((always_inline))

/* Lane patterns by count: the lower and upper halves of two vectors interleaved, every second
 * element, all in reverse. */
#define LO2 0, 2
#define HI2 1, 3
#define EVEN2 0, 2
#define ODD2 1, 3
#define REV2 1, 0
#define LO4 0, 4, 1, 5
#define HI4 2, 6, 3, 7
#define EVEN4 0, 2, 4, 6
#define ODD4 1, 3, 5, 7
#define REV4 3, 2, 1, 0
#define LO8 0, 8, 1, 9, 2, 10, 3, 11
#define HI8 4, 12, 5, 13, 6, 14, 7, 15
#define EVEN8 0, 2, 4, 6, 8, 10, 12, 14
#define ODD8 1, 3, 5, 7, 9, 11, 13, 15
#define REV8 7, 6, 5, 4, 3, 2, 1, 0
#define LO16 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HI16 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define EVEN16 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ODD16 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#define REV16 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0

#ifdef __AVX512F__
#define BYTES 64
#elif defined __AVX2__
#define BYTES 32
#else
#define BYTES 16
#endif

#define T float
#define TI int32_t
#define S f32
#if BYTES == 64
#define L 16
#elif BYTES == 32
#define L 8
#else
#define L 4
#endif
#include "kern_fft.inc"
#undef T
#undef TI
#undef S
#undef L
#define T double
#define TI int64_t
#define S f64
#if BYTES == 64
#define L 8
#elif BYTES == 32
#define L 4
#else
#define L 2
#endif
#include "kern_fft.inc"

const MtFftKern CAT(mt_fft_kern_, KLEVEL)[2] = {KERN(f32), KERN(f64)};
