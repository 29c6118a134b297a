/* rng.h: random numbers, PyTorch's CPU generator draw for draw.
 *
 * Invariants.
 *  - The generator is the 32-bit Mersenne twister; a 64-bit draw takes two 32-bit ones, high half
 *    first.  The state that mt_rng_get_state writes is PyTorch's own 5056 bytes, so states can be
 *    exchanged with it.
 *  - Every fill consumes exactly the draws PyTorch consumes, in memory order of the row.  Values
 *    are equal bit for bit on the same C library; where a transform needs log, cos or exp they are
 *    the C library's, except normals of 16 and more elements below float64, which have their own.
 *    bernoulli and exponential follow the path of machines without a vendor library (on Intel CPUs
 *    PyTorch lets MKL draw them).
 *  - gamma may return 0 where PyTorch returns the smallest normal number of the tensor's type: the
 *    caller clamps.
 *  - Fills return false when interrupted (the row is then partly written), true otherwise.  e is a
 *    floating code unless said otherwise.  Arguments are checked by the caller. */
#ifndef MT_RNG_H
#define MT_RNG_H
#include "elem.h"

#define MT_RNG_STATE_BYTES 5056
typedef struct Rng {
  uint64_t seed;
  uint32_t state[624];
  int32_t left, seeded; /* left: draws until the next twist, plus one; PyTorch's bookkeeping */
  uint32_t next;
  bool has_double, has_float;              /* the second value of a normal pair waits */
  float next_float;
  double next_double;
} Rng;

void mt_rng_manual_seed(Rng *g, uint64_t seed);
uint64_t mt_rng_entropy_seed(
    Rng *g); /* PyTorch's seed(): seeds from the system (53 bits), returns the seed */
void mt_rng_get_state(const Rng *g, uint8_t out[MT_RNG_STATE_BYTES]);
bool mt_rng_set_state(Rng *g, const uint8_t *in, size_t n);    /* false: not a state; g unchanged */
uint32_t mt_rng_u32(Rng *g);
uint64_t mt_rng_u64(Rng *g);
double mt_rng_unit(Rng *g);                /* 53 bits in [0, 1) */
double mt_rng_normal1(Rng *g, double mean, double std);

bool mt_rng_uniform(Rng *g, Elem e, void *out, int64_t n, double from, double to);
/* The path of contiguous tensors: pairs by blocks when n >= 16. */
bool mt_rng_normal(Rng *g, Elem e, void *out, int64_t n, double mean, double std);
/* The path of strided tensors: one value after the other, whatever n. */
bool mt_rng_normal_serial(Rng *g, Elem e, void *out, int64_t n, double mean, double std);
bool mt_rng_log_normal(Rng *g, Elem e, void *out, int64_t n, double mean, double std);
bool mt_rng_cauchy(Rng *g, Elem e, void *out, int64_t n, double median, double sigma);
bool mt_rng_exponential(Rng *g, Elem e, void *out, int64_t n, double lambda);
bool mt_rng_geometric(Rng *g, Elem e, void *out, int64_t n,
                      double p); /* any code but complex, bool */
bool mt_rng_bernoulli(Rng *g, Elem e, void *out, int64_t n, double p); /* any code but complex */
/* out[i] = draw < p[i]; p holds float (p64 NULL) or double probabilities. */
bool mt_rng_bernoulli_p(Rng *g, Elem e, void *out, int64_t n, const float *p32, const double *p64);
/* Integers in [base, base + range), range > 0; random_() of a whole type has range 0 and uses
 * mt_rng_random. */
bool mt_rng_randint(Rng *g, Elem e, void *out, int64_t n, uint64_t range, int64_t base);
bool mt_rng_random(Rng *g, Elem e, void *out, int64_t n);   /* PyTorch's random_() */
bool mt_rng_random_full64(Rng *g, int64_t *out, int64_t n); /* random_(INT64_MIN, None) */
bool mt_rng_randperm(Rng *g, int64_t *out, int64_t n);
double mt_rng_poisson1(Rng *g, double rate);
double mt_rng_gamma1(Rng *g, double alpha);
int64_t mt_rng_binomial1(Rng *g, double count, double prob);
/* With replacement: k indices drawn from one row of n weights (e: f16, bf16, f32 or f64); cum:
 * scratch of n doubles. NULL, or why the row is no distribution. */
const char *mt_rng_multinomial(Rng *g, Elem e, const void *weights, int64_t n, int64_t *out,
                               int64_t k, void *cum);
#endif
