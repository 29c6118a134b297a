/* main.c: the driver.  fuzz N [TARGET] [SEED]: N inputs for each target (or the one); prints rate
 * and share accepted. */
#include "fuzz.h"
#include "formats/fmt.h"
#include <inttypes.h>
#include <stdarg.h>
#include <time.h>

uint64_t fuzz_state;
volatile unsigned fuzz_sink;

void addf(buf *b, const char *fmt, ...) {
  char t[1024];
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(t, sizeof t, fmt, ap);
  va_end(ap);
  add(b, t, n < (int)sizeof t ? (size_t)n : sizeof t - 1);
}

uint64_t odd_number(void) {
  static const uint64_t v[] = {0,
                               1,
                               2,
                               3,
                               4,
                               7,
                               8,
                               15,
                               16,
                               31,
                               32,
                               63,
                               64,
                               127,
                               128,
                               255,
                               256,
                               1000,
                               4095,
                               4096,
                               65535,
                               65536,
                               0x7FFFFFFF,
                               0x80000000,
                               0xFFFFFFFF,
                               0x100000000,
                               0x7FFFFFFFFFFFFFFF,
                               0x8000000000000000,
                               0xFFFFFFFFFFFFFFFF,
                               0xFFFFFFFFFFFFFFF0,
                               (uint64_t)1 << 47,
                               (uint64_t)1 << 61};
  return PICK(v) + (chance(20) ? (uint64_t)below(9) - 4 : 0);
}

/* One change of bytes: a bit, a byte, a number, an insertion, a removal, a repetition, a swap, a
 * cut. */
static void change(buf *b) {
  size_t at = below((unsigned)b->n + 1), k = 1 + below(chance(80) ? 4 : 40);
  uint64_t v = odd_number();
  if (k > b->n - at) k = b->n - at;
  switch (below(8)) {
    case 0: if (at < b->n) b->p[at] ^= (uint8_t)(1 << below(8)); break;
    case 1: if (at < b->n) b->p[at] = (uint8_t)rnd(); break;
    case 2: {
      size_t w = (size_t)1 << below(4);
      if (b->n - at >= w) memcpy(b->p + at, &v, w);
      break;
    }
    case 3: if (b->n + k <= FUZZ_MAX) {
      memmove(b->p + at + k, b->p + at, b->n - at);
      for (size_t i = 0; i < k; i++) b->p[at + i] = (uint8_t)rnd();
      b->n += k;
      break;
    } break;
    case 4: memmove(b->p + at, b->p + at + k, b->n - at - k); b->n -= k; break;
    case 5:
      if (b->n + k <= FUZZ_MAX) memmove(b->p + at + k, b->p + at, b->n - at), b->n += k;
      break;
    case 6: {
      size_t to = below((unsigned)b->n + 1);
      if (to + k <= b->n) memmove(b->p + to, b->p + at, k);
      break;
    }
    default:
      if (chance(30)) b->n = at;
      else if (at < b->n) b->p[at] = (uint8_t)(b->p[at] + (chance(50) ? 1 : 255));
  }
}

void mutate(buf *b, int times) { while (times-- > 0) change(b); }

/* Every byte that the list says is there, and every element at its strides. */
void read_all(const void *list) {
  const fmt_list *l = list;
  unsigned sum = 0;
  for (size_t i = 0; i < l->n; i++) {
    const fmt_tensor *t = &l->v[i];
    for (uint64_t k = 0; k < t->nbytes; k++) sum += t->data[k];
    for (const char *s = t->name; *s; s++) sum += (unsigned char)*s;
    uint8_t turned[16];
    if (fmt_type_named(fmt_types[t->dtype].name) != t->dtype) abort();
    if (t->swapped && t->nbytes) fmt_swap(t->dtype, turned, t->data, 1), sum += turned[0];
    uint64_t last = 0;
    int64_t numel;
    if (!fmt_numel(t->shape, t->ndim, &numel)) abort();
    for (int k = 0; k < t->ndim && t->strides; k++)
      if (t->shape[k] > 0) last += (uint64_t)(t->shape[k] - 1) * (uint64_t)t->strides[k];
    if (numel && t->strides) sum += t->data[last * (uint64_t)fmt_types[t->dtype].bits / 8];
  }
  for (size_t i = 0; i < l->nmeta; i++)
    sum += (unsigned)strlen(l->meta[i].key) + (unsigned)strlen(l->meta[i].value);
  fuzz_sink += sum;
}

static void drive(const target *t, long n, uint64_t seed) {
  static buf b;
  long accepted = 0;
  struct timespec a, z;
  clock_gettime(CLOCK_MONOTONIC, &a);
  fuzz_state = seed * 0x9E3779B97F4A7C15u + 1;
  for (long i = 0; i < n; i++) {
    b.n = 0;
    t->make(&b);
    if (chance(60)) mutate(&b, 1 + (int)below(chance(70) ? 3 : 30));
    uint8_t *copy = malloc(b.n ? b.n : 1);
    if (!copy) exit(2);
    memcpy(copy, b.p, b.n);
    accepted += t->run(copy, b.n);
    free(copy);
  }
  clock_gettime(CLOCK_MONOTONIC, &z);
  double s = (double)(z.tv_sec - a.tv_sec) + 1e-9 * (double)(z.tv_nsec - a.tv_nsec);
  printf("%-12s %9ld inputs, %5.1f%% accepted, %.0f a second\n", t->name, n,
         100.0 * (double)accepted / (double)n, (double)n / s);
  fflush(stdout);
}

int main(int argc, char **argv) {
  const target *all[] = {&fuzz_safetensors, &fuzz_json,   &fuzz_npy,  &fuzz_npz, &fuzz_inflate,
                         &fuzz_pickle,      &fuzz_stream, &fuzz_gguf, &fuzz_wav, &fuzz_png,
                         &fuzz_tokenizer};
  long n = argc > 1 ? atol(argv[1]) : 100000;
  uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
  int ran = 0;
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (argc < 3 || !strcmp(argv[2], "all") || !strcmp(argv[2], all[i]->name))
      drive(all[i], n, seed), ran++;
  printf("%d passed, %d failed\n", ran, ran == 0);
  return ran == 0;
}
