/* rng_test.c: the generator against PyTorch's numbers (tests/data/rng_expect.txt: FNV hashes of the
 * bytes, sums with ~). */
#include "rng.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static int passed, failed;

static uint64_t fnv(const void *p, size_t n) {
  const uint8_t *b = p;
  uint64_t h = 0xcbf29ce484222325u;
  while (n--) h = (h ^ *b++) * 0x100000001b3u;
  return h;
}

typedef bool (*Fill)(Rng *, Elem, void *, int64_t, double, double);
static bool one(Rng *g, Elem e, void *o, int64_t n, double a, double b) {
  return mt_rng_exponential(g, e, o, n, a);
}
static bool geo(Rng *g, Elem e, void *o, int64_t n, double a, double b) {
  return mt_rng_geometric(g, e, o, n, a);
}
static bool ber(Rng *g, Elem e, void *o, int64_t n, double a, double b) {
  return mt_rng_bernoulli(g, e, o, n, a);
}
static bool any(Rng *g, Elem e, void *o, int64_t n, double a, double b) {
  return mt_rng_random(g, e, o, n);
}
static bool perm(Rng *g, Elem e, void *o, int64_t n, double a, double b) {
  return mt_rng_randperm(g, o, n);
}
static bool range(Rng *g, Elem e, void *o, int64_t n, double a, double b) {
  return mt_rng_randint(g, e, o, n, (uint64_t)(b - a), (int64_t)a);
}
static bool multi(Rng *g, Elem e, void *o, int64_t n, double a, double b) {
  float w[] = {1, 2, 3, 4, 5, 6, 7};
  double cum[7];
  return !mt_rng_multinomial(g, EL_f32, w, 7, o, n, cum);
}
static bool state(Rng *g, Elem e, void *o, int64_t n, double a, double b) {
  Rng copy;
  mt_rng_uniform(g, EL_f32, o, n, 0, 1);
  mt_rng_get_state(g, o);
  return mt_rng_set_state(&copy, o, MT_RNG_STATE_BYTES) && mt_rng_u32(&copy) == mt_rng_u32(g);
}
static const struct { const char *name; Fill f;
} fills[] = {
    {"uniform", mt_rng_uniform}, {"normal", mt_rng_normal}, {"log_normal", mt_rng_log_normal},
    {"cauchy", mt_rng_cauchy},   {"exponential", one},      {"geometric", geo},
    {"bernoulli", ber},          {"random", any},           {"randperm", perm},
    {"randint", range},          {"multinomial", multi},    {"state", state}};

static void check(const char *line) {
  static double buf[2048];
  char name[32], want[40], got[40];
  unsigned long long seed;
  long long n;
  int e;
  double a, b, sum = 0;
  Rng g;
  bool ok = sscanf(line, "%31s %d %lld %llu %lf %lf %39s", name, &e, &n, &seed, &a, &b, want) == 7;
  bool sums = name[0] == '~';
  mt_rng_manual_seed(&g, seed);
  for (size_t i = 0; ok && i < sizeof fills / sizeof *fills; i++)
    if (!strcmp(fills[i].name, name + sums)) ok = fills[i].f(&g, (Elem)e, buf, n, a, b);
  for (int64_t i = 0; sums && i < n; i++) sum += fabs(buf[i]);
  size_t bytes = !strcmp(name, "state") ? MT_RNG_STATE_BYTES : (size_t)n * el_size((Elem)e);
  snprintf(got, sizeof got, "%llx", (unsigned long long)fnv(buf, bytes));
  ok = ok && (sums ? fabs(sum - strtod(want, NULL)) <= 1e-12 * sum : !strcmp(got, want));
  if (ok) passed++;
  else failed++, printf("FAIL rng: %s", line);
}

int main(void) {
  char line[256];
  FILE *f = fopen("tests/data/rng_expect.txt", "r");
  if (!f) return puts("FAIL rng: run from the repository's root"), 1;
  while (fgets(line, sizeof line, f)) check(line);
  fclose(f);
  printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
