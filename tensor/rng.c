/* rng.c: the generator's state, and fills by draws and transforms (see rng.h). */
#include "rng.h"
#include "cpu.h"
#include "kern_rng.h"
#include <math.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define PI 3.14159265358979323846
#define POLL_EVERY 4096                    /* elements between looks at the interrupt flag */

static const RngKern *kern(void) { return MT_AT_LEVEL(&mt_rngkern); }

/* ---- state ---- */

void mt_rng_manual_seed(Rng *g, uint64_t seed) {
  memset(g, 0, sizeof *g);
  g->seed = seed;
  g->state[0] = (uint32_t)seed;
  for (uint32_t i = 1; i < 624; i++)
    g->state[i] = 1812433253u * (g->state[i - 1] ^ g->state[i - 1] >> 30) + i;
  g->left = g->seeded = 1;
}

uint64_t mt_rng_entropy_seed(Rng *g) {
  uint64_t s = 0;
  FILE *f = fopen("/dev/urandom", "rb");
  if (!f || fread(&s, sizeof s, 1, f) != 1) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    s = ((uint64_t)t.tv_sec * 1000000007u) ^ (uint64_t)t.tv_nsec << 20 ^ (uint64_t)getpid();
  }
  if (f) fclose(f);
  s &= (1ull << 53) - 1;
  mt_rng_manual_seed(g, s);
  return s;
}

/* PyTorch's layout: seed, left and seeded, next, 624 words in 64 bits each, normal x, y, rho,
 * valid flag, float pair. */
void mt_rng_get_state(const Rng *g, uint8_t out[MT_RNG_STATE_BYTES]) {
  uint64_t next = g->next, word;
  int32_t valid = g->has_double, fvalid = g->has_float;
  memset(out, 0, MT_RNG_STATE_BYTES);
  memcpy(out, &g->seed, 8);
  memcpy(out + 8, &g->left, 4);
  memcpy(out + 12, &g->seeded, 4);
  memcpy(out + 16, &next, 8);
  for (int i = 0; i < 624; i++) word = g->state[i], memcpy(out + 24 + 8 * i, &word, 8);
  if (g->has_double) memcpy(out + 5024, &g->next_double, 8);
  memcpy(out + 5040, &valid, 4);
  if (g->has_float) memcpy(out + 5048, &g->next_float, 4);
  memcpy(out + 5052, &fvalid, 1);
}

bool mt_rng_set_state(Rng *g, const uint8_t *in, size_t n) {
  Rng r;
  uint64_t next, word;
  int32_t valid;
  if (n != MT_RNG_STATE_BYTES) return false;
  memset(&r, 0, sizeof r);
  memcpy(&r.seed, in, 8);
  memcpy(&r.left, in + 8, 4);
  memcpy(&r.seeded, in + 12, 4);
  memcpy(&next, in + 16, 8);
  for (int i = 0; i < 624; i++) memcpy(&word, in + 24 + 8 * i, 8), r.state[i] = (uint32_t)word;
  memcpy(&r.next_double, in + 5024, 8);
  memcpy(&valid, in + 5040, 4);
  memcpy(&r.next_float, in + 5048, 4);
  r.has_double = valid != 0;
  r.has_float = in[5052] != 0;
  if (r.seeded != 1 || r.left < 1 || r.left > 624 || next > 624) return false;
  r.next = (uint32_t)next;
  *g = r;
  return true;
}

/* ---- draws ---- */

/* Makes at least one word available at state[next]; returns how many are. */
static int ready(Rng *g) {
  if (g->left == 1) {
    kern()->twist(g->state);
    g->left = 625;
    g->next = 0;
  }
  return g->left - 1;
}

static inline uint32_t draw(Rng *g) {
  ready(g);
  uint32_t y = g->state[g->next++];
  g->left--;
  y ^= y >> 11;
  y ^= y << 7 & 0x9d2c5680u;
  y ^= y << 15 & 0xefc60000u;
  return y ^ y >> 18;
}

static void draw_many(Rng *g, uint32_t *out, int n) {
  for (int k; n > 0; n -= k, out += k) {
    k = ready(g);
    if (k > n) k = n;
    kern()->temper(g->state + g->next, out, k);
    g->next += (uint32_t)k;
    g->left -= k;
  }
}

static inline uint64_t draw64(Rng *g) {
  uint64_t hi = draw(g);
  return hi << 32 | draw(g);
}

static inline double unit(Rng *g) {
  return (double)(int64_t)(draw64(g) & ((1ull << 53) - 1)) * 0x1p-53;
}
uint32_t mt_rng_u32(Rng *g) { return draw(g); }
uint64_t mt_rng_u64(Rng *g) { return draw64(g); }
double mt_rng_unit(Rng *g) { return unit(g); }

/* ---- stores ---- */

static inline int64_t whole(double v) {
  return v >= 0x1p63 ? INT64_MAX : v > -0x1p63 ? (int64_t)v : INT64_MIN;
}

static inline void put(Elem e, void *out, int64_t i, double v) {
  switch (e) {
  case EL_f64: ((double *)out)[i] = v; break;
  case EL_f32: ((float *)out)[i] = (float)v; break;
  case EL_f16: ((uint16_t *)out)[i] = el_f32_f16((float)v); break;
  case EL_bf16: ((uint16_t *)out)[i] = el_f32_bf16((float)v); break;
  case EL_i64: ((int64_t *)out)[i] = whole(v); break;
  case EL_i32: ((int32_t *)out)[i] = (int32_t)whole(v); break;
  case EL_i16: ((int16_t *)out)[i] = (int16_t)whole(v); break;
  case EL_bool: ((uint8_t *)out)[i] = v != 0; break;
  default: ((uint8_t *)out)[i] = (uint8_t)whole(v); break;
  }
}

static inline void put_int(Elem e, void *out, int64_t i, int64_t v) {
  switch (e) {
  case EL_i64: ((int64_t *)out)[i] = v; break;
  case EL_i32: ((int32_t *)out)[i] = (int32_t)v; break;
  case EL_i16: ((int16_t *)out)[i] = (int16_t)v; break;
  case EL_u8: case EL_i8: ((uint8_t *)out)[i] = (uint8_t)v; break;
  case EL_bool: ((uint8_t *)out)[i] = v != 0; break;
  default: put(e, out, i, e == EL_f64 ? (double)v : (double)(float)v); break;
  }
}

static inline bool stop(int64_t i) { return i % POLL_EVERY == 0 && mt_interrupted; }
/* Runs the statement for each i, looking at the flag now and then. */
#define EACH(i, n, stmt) \
  do { \
    for (int64_t i = 0; i < (n); i++) { \
      if (stop(i)) return false; \
      stmt; \
    } \
  } while (0)

/* ---- uniform ---- */

static float round_to(Elem e, double v) {
  float f = (float)v;
  return e == EL_f16 ? el_f16_f32(el_f32_f16(f)) : e == EL_bf16 ? el_bf16_f32(el_f32_bf16(f)) : f;
}

bool mt_rng_uniform(Rng *g, Elem e, void *out, int64_t n, double from, double to) {
  uint32_t raw[1024];
  float tmp[1024];
  float lo = (float)from, hi = round_to(e, to), range = (float)to - lo;
  int step = e == EL_f64 ? 512 : 1024;
  for (int64_t i = 0; i < n; i += step) {
    int k = (int)(n - i < step ? n - i : step);
    if (mt_interrupted) return false;
    draw_many(g, raw, e == EL_f64 ? 2 * k : k);
    if (e == EL_f64) kern()->unit_f64(raw, (double *)out + i, k, from, to - from);
    else if (e == EL_f32) kern()->unit_f32(raw, (float *)out + i, k, lo, range);
    else {
      kern()->unit_f32(raw, tmp, k, lo, range);
      for (int j = 0; j < k; j++) {        /* what rounds up to the excluded end is the start */
        float v = round_to(e, tmp[j]);
        put(e, out, i + j, v >= hi ? lo : v);
      }
    }
  }
  return true;
}

/* ---- normal ---- */

double mt_rng_normal1(Rng *g, double mean, double std) {
  double v = g->next_double;
  if (g->has_double) g->has_double = false;
  else {
    double u1 = unit(g), u2 = unit(g), r = sqrt(-2.0 * log1p(-u2)), theta = 2.0 * PI * u1;
    g->next_double = r * sin(theta);
    g->has_double = true;
    v = r * cos(theta);
  }
  return fma(v, std, mean);
}

bool mt_rng_normal_serial(Rng *g, Elem e, void *out, int64_t n, double mean, double std) {
  EACH(i, n, put(e, out, i, mt_rng_normal1(g, mean, std)));
  return true;
}

static void block_f64(double *d, double mean, double std) {
  for (int j = 0; j < 8; j++) {
    double r = sqrt(-2 * log(1 - d[j])), theta = 2.0 * PI * d[j + 8];
    d[j] = fma(r * cos(theta), std, mean);
    d[j + 8] = fma(r * sin(theta), std, mean);
  }
}

static void normal_blocks(Elem e, void *out, int64_t blocks, double mean, double std) {
  if (e == EL_f32) kern()->box_muller(out, blocks, (float)mean, (float)std);
  else for (int64_t b = 0; b < blocks; b++) block_f64((double *)out + 16 * b, mean, std);
}

/* Half types are computed in float, 16 values at a time, and rounded once. */
static bool normal_half(Rng *g, Elem e, uint16_t *out, int64_t n, double mean, double std) {
  float tmp[1024];
  for (int64_t i = 0, whole = n / 16 * 16; i < whole; i += 1024) {
    int k = (int)(whole - i < 1024 ? whole - i : 1024);
    if (!mt_rng_uniform(g, EL_f32, tmp, k, 0, 1)) return false;
    kern()->box_muller(tmp, k / 16, (float)mean, (float)std);
    for (int j = 0; j < k; j++) put(e, out, i + j, tmp[j]);
  }
  if (n % 16 == 0) return true;
  return normal_half(g, e, out + n - 16, 16, mean, std);
}

bool mt_rng_normal(Rng *g, Elem e, void *out, int64_t n, double mean, double std) {
  char *tail = (char *)out + (n - 16) * (int64_t)el_size(e);
  if (n < 16) return mt_rng_normal_serial(g, e, out, n, mean, std);
  if (e == EL_f16 || e == EL_bf16) return normal_half(g, e, out, n, mean, std);
  if (!mt_rng_uniform(g, e, out, n, 0, 1)) return false;
  for (int64_t b = 0; b < n / 16; b += 256) {
    int64_t k = n / 16 - b;
    if (mt_interrupted) return false;
    normal_blocks(e, (char *)out + b * 16 * (int64_t)el_size(e), k < 256 ? k : 256, mean, std);
  }
  if (n % 16 == 0) return true;
  if (!mt_rng_uniform(g, e, tail, 16, 0, 1)) return false;     /* the last 16 are drawn again */
  normal_blocks(e, tail, 1, mean, std);
  return true;
}

/* ---- other floating distributions, one draw after the other ---- */

bool mt_rng_log_normal(Rng *g, Elem e, void *out, int64_t n, double mean, double std) {
  EACH(i, n, put(e, out, i, exp(mt_rng_normal1(g, mean, std))));
  return true;
}

bool mt_rng_cauchy(Rng *g, Elem e, void *out, int64_t n, double median, double sigma) {
  EACH(i, n, put(e, out, i, median + sigma * tan(PI * (unit(g) - 0.5))));
  return true;
}

bool mt_rng_exponential(Rng *g, Elem e, void *out, int64_t n, double lambda) {
  EACH(i, n, put(e, out, i, -1.0 / lambda * log1p(-unit(g))));
  return true;
}

bool mt_rng_geometric(Rng *g, Elem e, void *out, int64_t n, double p) {
  double scale = log1p(-p);
  EACH(i, n, put(e, out, i, ceil(log(unit(g)) / scale)));
  return true;
}

bool mt_rng_bernoulli(Rng *g, Elem e, void *out, int64_t n, double p) {
  EACH(i, n, put_int(e, out, i, unit(g) < p));
  return true;
}

bool mt_rng_bernoulli_p(Rng *g, Elem e, void *out, int64_t n, const float *p32, const double *p64) {
  if (p64) EACH(i, n, put_int(e, out, i, unit(g) < p64[i]));
  else EACH(i, n, put_int(e, out, i, (float)(draw(g) & 0xffffff) * 0x1p-24f < p32[i]));
  return true;
}

/* ---- integers ---- */

bool mt_rng_randint(Rng *g, Elem e, void *out, int64_t n, uint64_t range, int64_t base) {
  if (range >= 1ull << 28)                 /* 32 bits would favour small values too much */
    EACH(i, n, put_int(e, out, i, (int64_t)(draw64(g) % range + (uint64_t)base)));
  else
    EACH(i, n, put_int(e, out, i, (int64_t)(draw(g) % (uint32_t)range + (uint64_t)base)));
  return true;
}

bool mt_rng_random(Rng *g, Elem e, void *out, int64_t n) {
  static const uint32_t mod[] = {
      [EL_u8] = 256,   [EL_i8] = 128,   [EL_i16] = 32768,         [EL_i32] = 0x80000000u,
      [EL_f16] = 2049, [EL_bf16] = 257, [EL_f32] = (1u << 24) + 1};
  if (e == EL_bool) EACH(i, n, put_int(e, out, i, draw(g) & 1));
  else if (e == EL_f64) EACH(i, n, put_int(e, out, i, (int64_t)(draw64(g) % ((1ull << 53) + 1))));
  else if (e == EL_i64) EACH(i, n, put_int(e, out, i, (int64_t)(draw64(g) % (1ull << 63))));
  else EACH(i, n, put_int(e, out, i, draw(g) % mod[e]));
  return true;
}

bool mt_rng_random_full64(Rng *g, int64_t *out, int64_t n) {
  EACH(i, n, out[i] = (int64_t)draw64(g));
  return true;
}

bool mt_rng_randperm(Rng *g, int64_t *out, int64_t n) {
  bool small = n < (int64_t)(UINT32_MAX / 20);
  for (int64_t i = 0; i < n; i++) out[i] = i;
  EACH(i, n - 1, {
    int64_t z = i + (int64_t)((small ? draw(g) : draw64(g)) % (uint64_t)(n - i));
    int64_t t = out[i];
    out[i] = out[z];
    out[z] = t;
  });
  return true;
}

/* ---- rejection samplers ---- */

/* Hoermann's transformed rejection for rates of 10 and more, products of uniforms below. */
static double poisson_large(Rng *g, double rate) {
  double slam = sqrt(rate), loglam = log(rate), b = 0.931 + 2.53 * slam, a = -0.059 + 0.02483 * b;
  double invalpha = 1.1239 + 1.1328 / (b - 3.4), vr = 0.9277 - 3.6224 / (b - 2);
  while (!mt_interrupted) {
    double u = unit(g) - 0.5, v = unit(g), us = 0.5 - fabs(u);
    double k = floor((2 * a / us + b) * u + rate + 0.43);
    if (us >= 0.07 && v <= vr) return k;
    if (k < 0 || (us < 0.013 && v > us)) continue;
    if (log(v) + log(invalpha) - log(a / (us * us) + b) <= -rate + k * loglam - lgamma(k + 1))
      return k;
  }
  return 0;
}

double mt_rng_poisson1(Rng *g, double rate) {
  if (rate >= 10) return poisson_large(g, rate);
  if (!(rate > 0)) return 0;
  double floor_ = exp(-rate), prod = 1, x = 0;
  while ((prod *= unit(g)) > floor_) x++;
  return x;
}

/* Marsaglia and Tsang; a small alpha is raised by one and scaled back.  Their squeeze's
 * constants are single precision in the reference, and count towards the result. */
double mt_rng_gamma1(Rng *g, double alpha) {
  double scale = 1;
  if (alpha < 1) {
    if (alpha == 0) return 0;
    scale = pow(1 - unit(g), 1 / alpha);
    alpha += 1;
  }
  double d = alpha - 1.0f / 3.0f, c = 1 / sqrt(9 * d);
  while (!mt_interrupted) {
    double x, y;
    do {
      x = mt_rng_normal1(g, 0, 1);
      y = 1 + c * x;
    } while (y <= 0);
    double v = y * y * y, u = 1 - unit(g), xx = x * x;
    if (u < 1 - 0.0331f * xx * xx || log(u) < 0.5 * xx + d * (1 - v + log(v))) return scale * d * v;
  }
  return 0;
}

/* log(k!) - Stirling's main terms */
static double stirling_tail(double k) {
  static const double table[] = {0.0810614667953272,  0.0413406959554092, 0.0276779256849983,
                                 0.02079067210376509, 0.0166446911898211, 0.0138761288230707,
                                 0.0118967099458917,  0.0104112652619720, 0.00925546218271273,
                                 0.00833056343336287};
  if (k <= 9) return table[(int)k];
  double s = (k + 1) * (k + 1);
  return (1.0 / 12 - (1.0 / 360 - 1.0 / 1260 / s) / s) / (k + 1);
}

static double binomial_inversion(Rng *g, double count, double prob) {
  double sum = 0, x = 0, logq = log1p(-prob);
  while (!mt_interrupted) {
    sum += ceil(log(unit(g)) / logq);
    if (sum > count) break;
    x++;
  }
  return x;
}

/* Hoermann's BTRS */
static double binomial_btrs(Rng *g, double count, double prob) {
  double std = sqrt(count * prob * (1 - prob)), b = 1.15 + 2.53 * std,
         a = -0.0873 + 0.0248 * b + 0.01 * prob;
  double c = count * prob + 0.5, vr = 0.92 - 4.2 / b, r = prob / (1 - prob);
  double alpha = (2.83 + 5.1 / b) * std, m = floor((count + 1) * prob);
  while (!mt_interrupted) {
    double u = unit(g) - 0.5, v = unit(g), us = 0.5 - fabs(u), k = floor((2 * a / us + b) * u + c);
    if (us >= 0.07 && v <= vr) return k;
    if (k < 0 || k > count) continue;
    v = log(v * alpha / (a / (us * us) + b));
    double bound = (m + 0.5) * log((m + 1) / (r * (count - m + 1))) +
                   (count + 1) * log((count - m + 1) / (count - k + 1)) +
                   (k + 0.5) * log(r * (count - k + 1) / (k + 1)) + stirling_tail(m) +
                   stirling_tail(count - m) - stirling_tail(k) - stirling_tail(count - k);
    if (v <= bound) return k;
  }
  return 0;
}

int64_t mt_rng_binomial1(Rng *g, double count, double prob) {
  if (!(count > 0) || !(count < 0x1p62) || !(prob > 0)) return 0;
  if (prob >= 1) return (int64_t)count;
  if (prob > 0.5) return (int64_t)count - mt_rng_binomial1(g, count, 1 - prob);
  return (int64_t)(count * prob >= 10 ? binomial_btrs(g, count, prob)
                                      : binomial_inversion(g, count, prob));
}

/* ---- multinomial with replacement ---- */

static double weight(Elem e, const void *w, int64_t i) {
  switch (e) {
  case EL_f64: return ((const double *)w)[i];
  case EL_f32: return (double)((const float *)w)[i];
  case EL_f16: return (double)el_f16_f32(((const uint16_t *)w)[i]);
  default: return (double)el_bf16_f32(((const uint16_t *)w)[i]);
  }
}

/* Sums and quotients are rounded to the weights' own precision (float for the half types). */
const char *mt_rng_multinomial(Rng *g, Elem e, const void *weights, int64_t n, int64_t *out,
                               int64_t k, void *cum) {
  double *c = cum, sum = 0;
  bool wide = e == EL_f64;
  for (int64_t i = 0; i < n; i++) {
    double w = weight(e, weights, i);
    if (!(w >= 0)) return "probability tensor contains either `inf`, `nan` or element < 0";
    if (isinf(w)) return "probability tensor contains either `inf`, `nan` or element < 0";
    sum = wide ? sum + w : (double)((float)sum + (float)w);
    c[i] = sum;
  }
  if (!(sum > 0)) return "invalid multinomial distribution (sum of probabilities <= 0)";
  for (int64_t i = 0; i < n; i++) c[i] = wide ? c[i] / sum : (double)((float)c[i] / (float)sum);
  c[n - 1] = 1;
  for (int64_t j = 0; j < k && !(stop(j)); j++) {
    double u = unit(g);
    int64_t lo = 0, hi = n;
    while (lo < hi) {
      int64_t mid = lo + (hi - lo) / 2;
      if (c[mid] < u) lo = mid + 1;
      else hi = mid;
    }
    out[j] = lo;
  }
  return NULL;
}
