/* special_table.c: fits the tables of special_table.h, by Chebyshev series through 32 nodes a unit.
 */
#define _GNU_SOURCE
#include "special_table.h"
#include "special.h"
#include <math.h>
#include <stdbool.h>
#include <pthread.h>
#include <stdatomic.h>

enum { NODES = 32, TERMS = MT_TABLE_DEGREE + 1, UNITS = 16 };
#define PIL 3.141592653589793238462643383279502884L

static long double far(double u, double a, double c) {
  return ((long double)16 * a + (long double)c * u) / (16 - u);
}

/* ---- the functions ---- */

static long double t_i0e(double u) {
  double x = (double)far(u, 0, 3);
  return mt_i0e(x) * sqrtl(x + 3.L);
}
static long double t_i1e(double u) {
  double x = (double)far(u, 0, 3);
  return mt_i1e(x) / x * (x + 3.L) * sqrtl(x + 3.L);
}
static long double t_k0e(double u) {
  double x = (double)far(u, 1, 0);
  return mt_k0e(x) * sqrtl(x);
}
static long double t_k1e(double u) {
  double x = (double)far(u, 1, 0);
  return mt_k1e(x) * sqrtl(x);
}
/* The series of I_m and K_m over z = x^2, without their factors x^m and logarithm. */
static long double t_i0z(double u) { return mt_i0(sqrt(u / 16)); }
static long double t_i1z(double u) { return mt_i1(sqrt(u / 16)) / sqrt(u / 16); }
static long double k_series(double z, int m) {
  const long double euler = 0.577215664901532860606512L, ln2 = 0.693147180559945309417232L;
  long double s = 0, t = m ? -0.5L : 1, psi = -euler, psim = m ? 1 - euler : -euler;
  for (int k = 0; k < 30; k++) {
    s += t * ((psi + psim) / 2 + ln2);
    psi += 1.L / (k + 1);
    psim += 1.L / (k + 1 + m);
    t *= z / 4 / ((k + 1.L) * (k + 1 + m));
  }
  return s;
}
static long double t_k0z(double u) { return k_series(u / 16, 0); }
static long double t_k1z(double u) { return k_series(u / 16, 1); }
static long double t_erfcx(double u) {
  long double x = far(u, 0, 3.75), z = 0.5L / (x * x), root_pi = 1.772453850905516027298167L;
  long double e = x < 50 ? expl(x * x) * erfcl(x)
                         : (1 - z * (1 - 3 * z * (1 - 5 * z * (1 - 7 * z)))) / (root_pi * x);
  return e * (x + 3.75L);
}
static long double t_erf(double u) { return erfl(0.5L * u) / (0.5L * u); }
/* The x with log ndtr(-x) = -s^2 / 2, by Newton's steps. */
static long double t_tail(double u) {
  double s = (MT_TAIL_U * MT_TAIL_A + MT_TAIL_C * u) / (MT_TAIL_U - u), x = s;
  for (int i = 0; i < 12; i++) {
    double e = mt_erfcx(x * 0.70710678118654752440);
    x -= (0.5 * (x * x - s * s) - log(0.5 * e)) * e * 1.2533141373155002512;
  }
  return x / s;
}
static long double t_centre(double u) {
  double d = sqrt(u / 256);
  return mt_erfinv(2 * d) * 1.41421356237309504880 / d;
}
static long double t_digamma(double u) {
  /* the asymptotic series about y = w + k has no odd term; each step up adds 1 / (1 + x) */
  static const long double c[] = {1.L / 24,        -7.L / 960,   31.L / 8064,
                                  -127.L / 30720,  511.L / 67584, -1414477.L / 67092480,
                                  8191.L / 98304};
  long double w = far(u, 0, 0.5) + 0.5L, y = w, s = 0, r = 0;
  for (; y < 24; y++) r += 1 / (y + 0.5L) - log1pl(1 / y);
  for (int k = 6; k >= 0; k--) s = s / (y * y) + c[k];
  return (s / (y * y) - r) * w * w;
}
static long double t_trigamma(double u) {
  double x = (double)far(u, 0, 0.5);
  return mt_trigamma(1 + x) * (x + 0.5L);
}
static long double t_airy(double u) {
  double r = MT_AIRY_C * u / (MT_AIRY_U - u), x = r * r;
  return mt_airy_ai_e(x) * sqrtl(sqrtl(x + 1.L));
}
static long double t_airy_neg(double u) { return mt_airy_ai(-u); }
static long double t_j0(double u) { return j0l(u); }
static long double t_j1(double u) { return j1l(u) / u; }
static long double t_y0(double u) { return y0l(u) - 2 / PIL * logl(u) * j0l(u); }
static long double t_y1(double u) {
  return y1l(u) - 2 / PIL * (logl(u) * j1l(u) - 1.L / u);
}
/* J + i Y = sqrt(2 / (pi x)) (P + i Q) e^(i (x - pi/4 - m pi/2)) */
static long double phase(double u, int m, int odd) {
  long double x = far(u, 16, 0), a = x - PIL / 4 - (m ? PIL / 2 : 0), f = sqrtl(PIL * x / 2),
              j = m ? j1l(x) : j0l(x), y = m ? y1l(x) : y0l(x);
  return odd ? f * (y * cosl(a) - j * sinl(a)) : f * (j * cosl(a) + y * sinl(a));
}
static long double t_p0(double u) { return phase(u, 0, 0); }
static long double t_q0(double u) { return phase(u, 0, 1); }
static long double t_p1(double u) { return phase(u, 1, 0); }
static long double t_q1(double u) { return phase(u, 1, 1); }

/* ---- fits ---- */

static long double (*const functions[])(double) = {
#define X(name) t_##name,
    MT_TABLES(X)
#undef X
};
/* series[k][i]: term k of unit i's Chebyshev series. */
static void fit(int which, long double series[TERMS][UNITS]) {
  long double cosine[4 * NODES];
  for (int j = 0; j < 4 * NODES; j++) cosine[j] = cosl(PIL * j / (2 * NODES));
  for (int i = 0; i < UNITS; i++) {
    long double value[NODES];
    for (int j = 0; j < NODES; j++)
      value[j] = functions[which](i + 0.5 + 0.5 * (double)cosine[2 * j + 1]);
    for (int k = 0; k < TERMS; k++) {
      long double s = 0;
      for (int j = 0; j < NODES; j++) s += value[j] * cosine[k * (2 * j + 1) % (4 * NODES)];
      series[k][i] = s * (k ? 2 : 1) / NODES;
    }
  }
}
/* The shortest table whose left out terms are below `least` of `size` and of the largest value. */
static void cut(long double series[TERMS][UNITS], double least, double size, MtTable *t) {
  for (int i = 0; i < UNITS; i++) size = fmax(size, (double)fabsl(series[0][i]));
  int n = TERMS;
  for (bool small = true; small && n > 2; n -= small)
    for (int i = 0; i < UNITS; i++) small &= fabsl(series[n - 1][i]) < least * size;
  t->degree = n - 1;
  for (int i = 0; i < UNITS; i++) {
    long double sum[TERMS] = {0}, a[TERMS] = {1}, b[TERMS] = {0, 1}; /* T_k and T_k+1 in powers */
    for (int k = 0; k < n; k++) {
      long double next[TERMS];
      for (int j = 0; j < n; j++) {
        sum[j] += series[k][i] * a[j];
        next[j] = (j ? 2 * b[j - 1] : 0) - a[j];
      }
      for (int j = 0; j < n; j++) {
        a[j] = b[j];
        b[j] = next[j];
      }
    }
    for (int j = 0; j < n; j++) t->c[j][i] = (double)sum[j];
  }
}

static MtTable tables[MT_T_COUNT][2];
static atomic_bool made[MT_T_COUNT];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

const MtTable *mt_table(int which, int is_float) {
  if (!atomic_load_explicit(&made[which], memory_order_acquire)) {
    pthread_mutex_lock(&lock);
    if (!atomic_load_explicit(&made[which], memory_order_relaxed)) {
      long double series[TERMS][UNITS];
      fit(which, series);
      double size = which == MT_T_j1 ? 0.0625 : 1; /* j1 will be multiplied by up to 16 */
      /* those not made of rounded doubles */
      bool exact = which == MT_T_erf || which == MT_T_erfcx || which == MT_T_digamma;
      double least = exact ? 0x1p-56 : which >= MT_T_p0 ? 0x1p-51 : 0x1p-52;
      cut(series, least, size, &tables[which][0]);
      cut(series, 0x1p-31, size, &tables[which][1]);
      atomic_store_explicit(&made[which], true, memory_order_release);
    }
    pthread_mutex_unlock(&lock);
  }
  return &tables[which][is_float];
}
