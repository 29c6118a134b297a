/* kern_fft.h: Fourier transforms of many lines at once, built once per CPU level.
 *
 * Invariants.  A plan is immutable and belongs to one length, one element type and one CPU level.
 * Its heart, FFT_PASSES, transforms as many lines side by side as a vector has lanes: the vectors
 * of real and imaginary parts of element j of all lines are X[j].  FFT_SPLIT cuts one long row into
 * a matrix whose columns, then rows, are such lines; FFT_CONV (lengths with a great prime factor)
 * turns a row into a convolution, done by two transforms of a good length.  Forward transforms
 * only: inverse ones exchange real and imaginary parts before and after. */
#ifndef MT_KERN_FFT_H
#define MT_KERN_FFT_H
#include "fft_core.h"

typedef enum { FFT_PASSES, FFT_SPLIT, FFT_CONV } FftHow;
enum { FFT_DIRECT = 61 };                  /* greatest prime summed directly */

/* Tables are pairs (real, imaginary) of float or double. */
typedef struct MtFft {
  FftHow how;
  int64_t n;
  int nfact, fact[64];
  void *twiddle[64], *root[64];  /* pass f: [i][m - 1]; roots of unity of primes above 5 */
  struct MtFft *cols, *rows;     /* SPLIT: n = cols->n * rows->n */
  void *mid;                     /* exp(-2 pi i k l / n): [lanes of l][k][re lanes, im lanes] */
  struct MtFft *conv;            /* CONV */
  void *chirp, *chirp_hat;
  void *half;                    /* of a real line of 2 n: exp(-pi i k / n), k <= n / 2; or NULL */
} MtFft;

typedef struct {
  FftKind kind;
  bool inverse;
  const void *in;
  void *out;
  int64_t n, inner; /* a line's real length; lines lie inner elements apart (columns only) */
  double scale;
  const MtFft *plan;
} MtFftJob;

typedef struct MtFftKern {
  int lanes;
  size_t (*room)(const MtFft *p, int64_t n);   /* bytes of scratch for real length n */
  /* Rows lo <= r < hi; blocks of lanes columns, counted over all outer dims: false: interrupted. */
  bool (*rows)(const MtFftJob *job, void *room, int64_t lo, int64_t hi);
  bool (*cols)(const MtFftJob *job, void *room, int64_t lo, int64_t hi);
  void (*plain)(const MtFft *p, void *row, void *room); /* one complex row in place */
} MtFftKern;
/* [0]: float, [1]: double */
extern const MtFftKern mt_fft_kern_base[2], mt_fft_kern_avx2[2], mt_fft_kern_avx512[2];
#endif
