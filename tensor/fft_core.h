/* fft_core.h: discrete Fourier transforms of lines, any length.
 *
 * Invariants.  float32 is transformed in float32, as PyTorch does; twiddles are rounded from long
 * double.  Lengths factor into 2, 3, 4, 5, 8 and other primes; a prime too big for the direct sum
 * goes through Bluestein's convolution.  Plans are immutable, shared through a locked cache and
 * counted. */
#ifndef MT_FFT_CORE_H
#define MT_FFT_CORE_H
#include "sort_core.h"

typedef enum { FFT_C2C, FFT_R2C, FFT_C2R } FftKind;
/* Transforms of length n along the middle dimension of outer x n x inner: C2C n complex to n
 * complex; R2C n real to n/2 + 1 complex; C2R n/2 + 1 complex (of a Hermitian spectrum) to n real.
 * wide: double instead of float.  inverse: exp(+i) instead of exp(-i) (C2R always, R2C never);
 * results are multiplied by scale.  out may not overlap in.  inner > 1 only where
 * mt_fft_columns. */
CoreStatus mt_fft_lines(FftKind kind, bool wide, bool inverse, const void *in, void *out,
                        int64_t outer, int64_t n, int64_t inner, double scale);
/* Are columns of this length transformed where they lie? */
bool mt_fft_columns(int64_t n, int64_t inner);
void mt_fft_forget(void);                  /* drops the cached plans nobody uses */
#endif
