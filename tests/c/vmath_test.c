/* vmath_test.c: the functions of tensor/vmath.h against libm, in ulp, over a dense sample of all
 * floats and over the special values; the loops here are also what tests/vector_check.sh wants to
 * see vectorised. */
#include "vmath.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 4096 };
static int passed, failed;

#define LOOPF(name, expr)                                                                       \
  static __attribute__((noinline)) void lf_##name(const float *restrict x,                      \
                                                  const float *restrict w, float *restrict y) { \
    (void)w;                                                                                    \
    for (int i = 0; i < N; i++) y[i] = expr;                                                    \
  }
#define LOOPD(name, expr) \
  static __attribute__((noinline)) void ld_##name(const double *restrict x, double *restrict y) { \
    for (int i = 0; i < N; i++) y[i] = expr; \
  }
#define VLOOPF(name)                                                                           \
  static void lf_##name(const float *restrict x, const float *restrict w, float *restrict y) { \
    (void)w;                                                                                   \
    mt_v##name##f(N, x, y);                                                                    \
  }
#define VLOOPD(name)                                                                           \
  static void ld_##name(const double *restrict x, double *restrict y) { mt_v##name(N, x, y); }
/* name, bound in ulp: the reference is libm's double (long double) function of that name */
#define FLOATS(X)                                                                        \
  X(exp, 1)                                                                              \
  X(exp2, 1.2) X(expm1, 1.5) X(log, 1) X(log2, 1) X(log10, 1) X(log1p, 1.2) X(asin, 2)   \
      X(acos, 1.5) X(atan, 1) X(sinh, 1) X(cosh, 1) X(tanh, 1.5) X(asinh, 1) X(acosh, 1) \
          X(atanh, 1) X(erf, 1.5) X(erfc, 1)
#define VFLOATS(X) X(sin, 1.7) X(cos, 1.7) X(tan, 1.3)
#define DOUBLES(X)                                                                               \
  X(exp, 1) X(exp2, 1.2) X(expm1, 1.5) X(log, 1) X(log2, 1) X(log10, 1) X(log1p, 1) X(tanh, 2.6)
#define VDOUBLES(X) X(sin, 1) X(cos, 1)
#define DEF(n, u) LOOPF(n, mt_##n##f(x[i]))
FLOATS(DEF)
#undef DEF
#define DEF(n, u) VLOOPF(n)
VFLOATS(DEF)
#undef DEF
#define DEF(n, u) LOOPD(n, mt_##n(x[i]))
DOUBLES(DEF)
#undef DEF
#define DEF(n, u) VLOOPD(n)
VDOUBLES(DEF)
#undef DEF
LOOPF(pow, mt_powf(x[i], w[i]))
LOOPF(atan2, mt_atan2f(x[i], w[i]))
LOOPF(sigmoid, mt_sigmoidf(x[i]))
LOOPF(silu, mt_siluf(x[i]))
LOOPF(gelu, mt_geluf(x[i]))
LOOPF(softplus, mt_softplusf(x[i], 1.f, 20.f))

static double ulps(double a, long double r, int digits, int emin, double max) {
  if (isnan((double)r)) return isnan(a) ? 0 : 1e9;
  if (isnan(a)) return 1e9;
  if (isinf(a) || isinf((double)r) || fabsl(r) > max) {
    double lim = r > max || r < -max ? copysign(INFINITY, (double)r) : (double)r;
    return a == lim                                                               ? 0
           : fabs(a) >= max && fabsl(r) >= max * 0.9999999L && (a > 0) == (r > 0) ? 1
                                                                                  : 1e9;
  }
  if (r == 0 && a == 0) return !signbit(a) == !signbit((double)r) ? 0 : 1e9;
  int e;
  frexpl(r, &e);
  return (double)(fabsl((long double)a - r) / ldexpl(1, e - digits < emin ? emin : e - digits));
}
static void report(const char *name, double worst, double at, double limit) {
  if (worst <= limit) passed++;
  else failed++, printf("FAIL %s: %g ulp at %.17g, %g allowed\n", name, worst, at, limit);
}
static const float special[] = {0,      -0.f,       INFINITY,  -INFINITY,  NAN,      1,
                                -1,     2,          -2,        .5f,        -.5f,     3,
                                -3,     1e-40f,     -1e-40f,   3.4e38f,    -3.4e38f, 1e-45f,
                                88.72f, 88.73f,     -103.9f,   -104.1f,    1e5f,     1.00001e5f,
                                -3e9f,  16777216.f, 8388609.f, -8388609.f, 1.5f,     2.5f};
enum { NS = sizeof special / sizeof *special };

static void check_float(const char *name, void (*f)(const float *, const float *, float *),
                        double (*ref)(double), double limit) {
  static float x[N], w[N], y[N];
  double worst = 0, at = 0;
  for (uint64_t b = 0; b < (uint64_t)1 << 32;) {
    for (int i = 0; i < N; i++, b += 14173) {
      uint32_t u = (uint32_t)b;
      memcpy(&x[i], &u, 4);
      if (b < 14173 * NS) x[i] = special[i];
    }
    f(x, w, y);
    for (int i = 0; i < N; i++) {
      double u = ulps(y[i], ref(x[i]), 24, -149, 3.4028234663852886e38);
      if (u > worst) worst = u, at = x[i];
    }
  }
  report(name, worst, at, limit);
}
static void check_double(const char *name, void (*f)(const double *, double *),
                         long double (*ref)(long double), double limit) {
  static double x[N], y[N];
  double worst = 0, at = 0;
  for (int k = 0; k < 40; k++) {
    for (int i = 0; i < N; i++) {
      double u = 2. * rand() / RAND_MAX - 1 + 1e-9 * rand() / RAND_MAX;
      uint64_t b = ((uint64_t)rand() << 42) ^ ((uint64_t)rand() << 21) ^ (uint64_t)rand();
      memcpy(&x[i], &b, 8);
      x[i] = k % 4 == 0 ? x[i] : k % 4 == 1 ? u * 10 : k % 4 == 2 ? u * 750 : u * 1.5;
      if (k == 0 && i < NS) x[i] = special[i];
    }
    f(x, y);
    for (int i = 0; i < N; i++) {
      double u = ulps(y[i], ref(x[i]), 53, -1074, 1.7976931348623157e308);
      if (u > worst) worst = u, at = x[i];
    }
  }
  report(name, worst, at, limit);
}
static void check_two(const char *name, void (*f)(const float *, const float *, float *),
                      double (*ref)(double, double), double limit) {
  static float x[N], w[N], y[N];
  double worst = 0, at = 0;
  for (int k = 0; k < 60; k++) {
    for (int i = 0; i < N; i++) {
      uint32_t b = ((uint32_t)rand() << 16) ^ (uint32_t)rand();
      memcpy(&x[i], &b, 4);
      w[i] = i % 4 ? (rand() / (float)RAND_MAX * 2 - 1) * 150 / (fabsf(log2f(fabsf(x[i]))) + .01f)
                   : (float)(rand() % 41 - 20);
      if (k == 0 && i < NS * NS) x[i] = special[i % NS], w[i] = special[i / NS];
    }
    f(x, w, y);
    for (int i = 0; i < N; i++) {
      double u = ulps(y[i], ref(x[i], w[i]), 24, -149, 3.4028234663852886e38);
      if (u > worst) worst = u, at = x[i];
    }
  }
  report(name, worst, at, limit);
}
/* Absolute error in units of 2^-24 of the argument's size: what PyTorch's own formulas reach. */
static void check_act(const char *name, void (*f)(const float *, const float *, float *),
                      double (*ref)(double)) {
  static float x[N], w[N], y[N];
  double worst = 0, at = 0;
  for (int i = 0; i < N; i++) x[i] = (i - N / 2) / 64.f;
  f(x, w, y);
  for (int i = 0; i < N; i++) {
    double u = fabs(y[i] - ref(x[i])) * 16777216 / (fabs(x[i]) + 1);
    if (!(u <= worst)) worst = u, at = x[i];
  }
  report(name, worst, at, 3);
}
static double ref_sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double ref_silu(double x) { return x / (1 + exp(-x)); }
static double ref_gelu(double x) { return 0.5 * x * erfc(-x * M_SQRT1_2); }
static double ref_softplus(double x) { return x > 20 ? x : log1p(exp(x)); }

int main(void) {
#define DEF(n, u) check_float(#n "f", lf_##n, n, u);
  FLOATS(DEF) VFLOATS(DEF)
#undef DEF
  /* Valgrind computes long double in 53 bits, which says nothing of doubles. */
  volatile long double one = 1, little = 0x1p-60L;
  if (one + little == one) printf("SKIP doubles: long double is no wider here\n");
  else {
#define DEF(n, u) check_double(#n, ld_##n, n##l, u);
    DOUBLES(DEF) VDOUBLES(DEF)
#undef DEF
  }
  check_two("powf", lf_pow, pow, 1.6);
  check_two("atan2f", lf_atan2, atan2, 1);
  check_act("sigmoid", lf_sigmoid, ref_sigmoid);
  check_act("silu", lf_silu, ref_silu);
  check_act("gelu", lf_gelu, ref_gelu);
  check_act("softplus", lf_softplus, ref_softplus);
  printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
