/* fft_core.h: discrete Fourier transforms of rows, any length.
 *
 * Invariants.  All arithmetic is double precision with twiddles rounded from long double, so
 * float32 rows come out correctly rounded but for the last bit.  Lengths factor into 2, 3, 4, 5
 * and other primes; a prime too big for the direct sum goes through Bluestein's convolution.
 * Plans are immutable, shared through a locked cache and counted. */
#ifndef MT_FFT_CORE_H
#define MT_FFT_CORE_H
#include "sort_core.h"

typedef enum { FFT_C2C, FFT_R2C, FFT_C2R } FftKind;
/* rows transforms of length n: C2C n complex to n complex; R2C n real to n/2 + 1 complex; C2R
 * n/2 + 1 complex (of a Hermitian spectrum) to n real.  wide: double instead of float.  inverse:
 * exp(+i) instead of exp(-i); results are multiplied by scale.  out may not overlap in. */
CoreStatus mt_fft_rows(FftKind kind, bool wide, bool inverse, const void *in, void *out, int64_t n,
                       int64_t rows, double scale);
void mt_fft_forget(void);                  /* drops the cached plans nobody uses */
#endif
