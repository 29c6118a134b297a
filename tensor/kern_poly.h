/* kern_poly.h: orthogonal polynomials of one degree over arrays, in kernel files.
 *
 * f(0) = 1, f(k + 1) = ((a x + b) f(k) - c f(k - 1)) / d in double, blocks of POLY_BLOCK numbers
 * at a time: the recurrences of special.h's functions, which keep the degrees that they have other
 * formulas for. */
#ifndef MT_KERN_POLY_H
#define MT_KERN_POLY_H
#include <math.h>
#include <stdbool.h>
#include <stdint.h>

enum { POLY_BLOCK = 256 };
typedef enum {
  MT_POLY_CHEBYSHEV_T,
  MT_POLY_CHEBYSHEV_U,
  MT_POLY_CHEBYSHEV_V,
  MT_POLY_CHEBYSHEV_W,
  MT_POLY_HERMITE_H,
  MT_POLY_HERMITE_HE,
  MT_POLY_LAGUERRE_L,
  MT_POLY_LEGENDRE_P
} MtPoly;

static inline bool poly_takes(MtPoly f, double degree) {
  return degree >= 1 && degree < (f <= MT_POLY_CHEBYSHEV_W ? 7 : 1000);
}
/* n <= POLY_BLOCK; poly_takes(f, degree). */
static __attribute__((noinline, unused)) void poly_block(MtPoly f, int64_t degree, int64_t n,
                                                         const double *x, double *y) {
  static const double first[][2] = {{1, 0}, {2, 0},  {2, -1}, {2, 1},
                                    {2, 0}, {1, 0}, {-1, 1}, {1, 0}};   /* f(1) = first x + .. */
  double last[POLY_BLOCK];
  for (int64_t i = 0; i < n; i++) {
    last[i] = 1;
    y[i] = first[f][0] * x[i] + first[f][1];
  }
  for (int64_t k = 1; k < degree; k++) {
    double a = f == MT_POLY_LEGENDRE_P   ? (double)(2 * k + 1)
               : f == MT_POLY_LAGUERRE_L ? -1
               : f == MT_POLY_HERMITE_HE ? 1
                                         : 2;
    double b = f == MT_POLY_LAGUERRE_L ? (double)(2 * k + 1) : 0;
    double c = f <= MT_POLY_CHEBYSHEV_W ? 1 : f == MT_POLY_HERMITE_H ? (double)(2 * k) : (double)k;
    for (int64_t i = 0; i < n; i++) {
      double t = (a * x[i] + b) * y[i] - c * last[i];
      last[i] = y[i];
      y[i] = t;
    }
    if (f >= MT_POLY_LAGUERRE_L) for (int64_t i = 0; i < n; i++) y[i] /= (double)(k + 1);
  }
}
#endif
