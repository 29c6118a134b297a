/* kern_scan.c: see kern_scan.h.
 *
 * Invariant: eight elements are summed among themselves first (three steps of shifted additions),
 * then the sum so far is added to all of them: one addition per eight depends on the last.  The
 * order of additions is the same at every CPU level. */
#include "kern_scan.h"
#include "kern.h"

static double sum_f32(const float *x, int64_t n) {
  double lane[16] = {0}, sum = 0;
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) for (int j = 0; j < 16; j++) lane[j] += (double)x[i + j];
  for (; i < n; i++) sum += (double)x[i];
  for (int j = 0; j < 16; j++) sum += lane[j];
  return sum;
}

#ifdef __AVX512F__
typedef double V8 __attribute__((vector_size(64)));
typedef float F8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef int64_t I8 __attribute__((vector_size(64)));
#define SHUF(a, b, ...) __builtin_shuffle(a, b, (I8){__VA_ARGS__})
static double scan_f32(const float *x, float *y, int64_t n, double from) {
  const V8 none = {0};
  V8 so_far = none + from;
  for (; n >= 8; n -= 8, x += 8, y += 8) {
    V8 v = __builtin_convertvector(*(const F8 *)x, V8);
    v += SHUF(v, none, 8, 0, 1, 2, 8, 4, 5, 6);
    v += SHUF(v, none, 8, 8, 0, 1, 8, 8, 4, 5);
    v += SHUF(v, none, 8, 8, 8, 8, 3, 3, 3, 3);
    *(F8 *)y = __builtin_convertvector(v + so_far, F8);
    so_far += SHUF(v, v, 7, 7, 7, 7, 7, 7, 7, 7);
  }
  from = so_far[0];
  for (int64_t i = 0; i < n; i++) y[i] = (float)(from += (double)x[i]);
  return from;
}
#else
static double scan_f32(const float *x, float *y, int64_t n, double from) {
  for (; n >= 8; n -= 8, x += 8, y += 8) {
    double a = x[0], b = x[1], c = x[2], d = x[3], e = x[4], f = x[5], g = x[6], h = x[7];
    h += g, g += f, f += e, d += c, c += b, b += a;
    h += f, g += e, d += b, c += a;
    e += d, f += d, g += d, h += d;
    y[0] = (float)(a + from), y[1] = (float)(b + from), y[2] = (float)(c + from);
    y[3] = (float)(d + from), y[4] = (float)(e + from), y[5] = (float)(f + from);
    y[6] = (float)(g + from), y[7] = (float)(h + from);
    from += h;
  }
  for (int64_t i = 0; i < n; i++) y[i] = (float)(from += (double)x[i]);
  return from;
}
#endif
const ScanKerns CAT(mt_scan, kerns, KLEVEL) = {sum_f32, scan_f32};
