/* A kernel of one's own for scripts/examples/ffi_kernel.lua: y = x^3 / (1 + x^2),
 * and its derivative. */
#include <stddef.h>

void bend(const double *x, double *y, size_t n) {
  for (size_t i = 0; i < n; i++) y[i] = x[i] * x[i] * x[i] / (1 + x[i] * x[i]);
}

void bend_backward(const double *x, const double *g, double *gx, size_t n) {
  for (size_t i = 0; i < n; i++) {
    double s = x[i] * x[i], d = 1 + s;
    gx[i] = g[i] * (3 * s + s * s) / (d * d);
  }
}
