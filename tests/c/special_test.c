/* special_test.c: special functions and complex functions against values recorded from PyTorch
 * (tests/data), and the kernels' special functions (kern_special.h) against those of special.h. */
#include "cmath.h"
#include "iter.h"
#include "op.h"
#include "special.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static int passed, failed;

typedef struct { const char *name; double (*one)(double), (*two)(double, double); } Fn;
static const Fn fns[] = {
#define X(n) {#n, mt_##n, NULL},
  MT_SPECIAL_ONE(X) X(erfinv) X(lgamma)
#undef X
#define X(n) {#n, NULL, mt_##n},
  MT_SPECIAL_TWO(X)
#undef X
};
typedef struct { const char *name; double _Complex (*f)(double _Complex); } CFn;
#define C(n) {#n, mt_c##n}
static const CFn cfns[] = {C(exp),     C(exp2),  C(expm1), C(log),  C(log2),  C(log10), C(log1p),
                           C(sqrt),    C(rsqrt), C(sin),   C(cos),  C(tan),   C(sinh),  C(cosh),
                           C(tanh),    C(asin),  C(acos),  C(atan), C(asinh), C(acosh), C(atanh),
                           C(sigmoid), C(silu),  C(sinc),  C(sgn),  C(recip)};

static int near(double a, double r, double size, double rtol) {
  if (isnan(r) || isnan(a)) return isnan(r) && isnan(a);
  if (isinf(r) || isinf(a)) return a == r;
  return fabs(a - r) <= rtol * fmax(size, fabs(r)) + 1e-300;
}
static void check_real(const char *name, double x, double y, double want) {
  for (size_t i = 0; i < sizeof fns / sizeof *fns; i++) {
    if (strcmp(fns[i].name, name)) continue;
    double got = fns[i].one ? fns[i].one(x) : fns[i].two(x, y);
    /* PyTorch's igamma and trigamma carry 1e-9 themselves, its J of negative arguments 1e-7 */
    double tol =
        !strncmp(name, "igamma", 6) || (!strcmp(name, "polygamma") && y == 1) ? 5e-9 : 2e-12;
    if (!strncmp(name, "bessel_j", 8)) tol = 1e-6;
    if (near(got, want, 1e-3, tol)) passed++;
    else
      failed++, printf("FAIL %s: of %.17g, %.17g: %.17g, expected %.17g\n", name, x, y, got, want);
    return;
  }
  failed++;
  printf("FAIL %s: no such function\n", name);
}
static void check_complex(const char *name, double re, double im, double wre, double wim) {
  for (size_t i = 0; i < sizeof cfns / sizeof *cfns; i++) {
    if (strcmp(cfns[i].name, name)) continue;
    double _Complex z = cfns[i].f(CMPLX(re, im));
    double a = __real__ z, b = __imag__ z, size = hypot(wre, wim);
    if (!isfinite(size)) size = 0;
    if (near(a, wre, size, 1e-13) && near(b, wim, size, 1e-13)) passed++;
    else
      failed++, printf("FAIL c%s: of %g%+gi: %.17g%+.17gi, expected %.17g%+.17gi\n", name, re, im,
                       a, b, wre, wim);
    return;
  }
  failed++;
  printf("FAIL c%s: no such function\n", name);
}

/* ---- the loops over arrays, at this CPU's level ---- */

static double erf_(double x) { return erf(x); }
static double erfc_(double x) { return erfc(x); }
/* ulp: the errors allowed in units of the double result (or of 1, where `from_one`: functions with
 * zeros); floats are allowed one of their own. */
typedef struct {
  const char *name;
  int loop;
  double (*one)(double), ulp;
  int from_one;
} Array;
static const Array arrays[] = {
#define A(n, ulp, from_one) {#n, U_##n, mt_##n, ulp, from_one}
    A(i0, 12, 0),        A(i0e, 12, 0),       A(i1, 14, 0),        A(i1e, 14, 0),
    A(k0, 16, 0),        A(k0e, 16, 0),       A(k1, 16, 0),        A(k1e, 16, 0),
    A(erfcx, 8, 0),      A(erfinv, 24, 0),     A(ndtr, 4, 1),       A(ndtri, 24, 0),
    A(log_ndtr, 16, 1),  A(digamma, 60, 1),   A(trigamma, 16, 0),  A(bessel_j0, 16, 1),
    A(bessel_j1, 16, 1), A(bessel_y0, 16, 1), A(bessel_y1, 16, 1), A(spherical_j0, 4, 1),
    A(airy_ai, 48, 1),
    {"erf", U_erf, erf_, 4, 0}, {"erfc", U_erfc, erfc_, 8, 0}};
#undef A
enum { POINTS = 4099, EDGES = 40 };
static double points[POINTS];

static void make_points(void) {
  static const double edges[EDGES / 2] = {0,       1,     0.5,   0.25,  0.75,    2,   8,
                                          16,      16.5,  30,    100,   700,     1e5, 1e6,
                                          2e6,     1e30,  1e-30, 1e-45, INFINITY, NAN};
  unsigned seed = 1;
  for (int i = 0; i < POINTS; i++) {
    seed = seed * 1664525 + 1013904223;
    double r = seed / 4294967296.;
    points[i] = i % 4 == 0   ? r
                : i % 4 == 1 ? r * 40 - 20
                : i % 4 == 2 ? r * 4 - 2
                             : exp(r * 40 - 30);
    if (i < EDGES) points[i] = i % 2 ? -edges[i / 2] : edges[i / 2];
  }
}
static int array_ok(const Array *f, double x, double got, double want, int single) {
  /* at trigamma's poles, float's value (PyTorch's) is not the double one */
  if (single && f->loop == U_trigamma && x < 0 && x == floor(x)) return 1;
  if (isnan(want) || isnan(got)) return isnan(want) && isnan(got);
  if (isinf(want) || isinf(got)) return got == want || (single && fabs(want) > 3.4e38);
  double size = f->from_one ? fmax(1, fabs(want)) : fabs(want);
  if (!strcmp(f->name, "erfcx") && x < 0) size *= 4; /* special.h's own error of the exponential */
  double bound = f->ulp * size * (single && f->from_one ? 0x1p-33 : 0x1p-53);
  return fabs(got - want) <= bound + (single ? fmax(fabs(want) * 0x1p-23, 0x1p-149) : 1e-307);
}
static void check_array(const Array *f, int single, int in_place) {
  DType d = single ? MT_float32 : MT_float64;
  static double x[POINTS], y[POINTS];
  static float xf[POINTS], yf[POINTS];
  for (int i = 0; i < POINTS; i++) {
    xf[i] = (float)points[i];
    x[i] = single ? xf[i] : points[i];
  }
  void *from = single ? (void *)xf : (void *)x, *to = single ? (void *)yf : (void *)y;
  double *copy = x;
  static double kept[POINTS];
  if (in_place) memcpy(copy = kept, x, sizeof x), to = from;
  int64_t size = single ? 4 : 8;
  mt_unary_loop(f->loop, &d)((char *[]){to, from}, (int64_t[]){size, size}, POINTS, NULL);
  for (int i = 0; i < POINTS; i++) {
    double got = single ? ((float *)to)[i] : ((double *)to)[i], want = f->one(copy[i]);
    if (array_ok(f, copy[i], got, want, single)) { passed++; continue; }
    if (failed++ < 40)
      printf("FAIL %s%s: of %.17g: %.17g, expected %.17g\n", f->name, single ? "f" : "", copy[i],
             got, want);
  }
}

int main(void) {
  make_points();
  /* The tables are fitted in long double, which valgrind computes in 53 bits. */
  volatile long double one = 1, little = 0x1p-60L;
  const int wider = one + little != one;
  if (!wider) printf("SKIP arrays: long double is no wider than double here\n");
  for (size_t i = 0; wider && i < sizeof arrays / sizeof *arrays; i++)
    for (int k = 0; k < 4; k++) check_array(&arrays[i], k & 1, k >> 1);
  char line[256], name[32];
  double a, b, c, d;
  FILE *f = fopen("tests/data/special.txt", "r");
  while (f && fgets(line, sizeof line, f))
    if (sscanf(line, "%31s %lf %lf %lf", name, &a, &b, &c) == 4) check_real(name, a, b, c);
  if (f) fclose(f);
  FILE *g = fopen("tests/data/complex.txt", "r");
  while (g && fgets(line, sizeof line, g))
    if (sscanf(line, "%31s %lf %lf %lf %lf", name, &a, &b, &c, &d) == 5)
      check_complex(name, a, b, c, d);
  if (g) fclose(g);
  if (!f || !g) failed++, printf("FAIL data: run from the top folder, tests/data is missing\n");
  printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
