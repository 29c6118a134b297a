/* fft_core.c: plans of the transforms, their cache, and threads over lines (see fft_core.h,
 * kern_fft.h). */
#include "cpu.h"
#include "kern_fft.h"
#include <math.h>
#include <pthread.h>

static const MtFftKern *kern(bool wide) {
  return MT_AT_LEVEL(mt_fft_kern) + wide;
}

/* ---- roots of unity ---- */

typedef struct { long double r, i; } Cx;

/* exp(-2 pi i k / n), from an angle of at most an eighth turn. */
static Cx root_of_unity(int64_t k, int64_t n) {
  const long double pi2 = 6.28318530717958647692528676655900577L;
  k %= n;
  int64_t q = 8 * (k % n) / n; /* octant; 8 k < 2^63 for any length that fits in memory */
  long double a;
  switch (q) {
  case 0: a = pi2 * (long double)k / (long double)n; return (Cx){cosl(a), -sinl(a)};
  case 1:
  case 2:
    a = pi2 * ((long double)(4 * k - n) / (long double)(4 * n));
    return (Cx){-sinl(a), -cosl(a)};
  case 3:
  case 4:
    a = pi2 * ((long double)(2 * k - n) / (long double)(2 * n));
    return (Cx){-cosl(a), sinl(a)};
  case 5:
  case 6:
    a = pi2 * ((long double)(4 * k - 3 * n) / (long double)(4 * n));
    return (Cx){sinl(a), cosl(a)};
  default: a = pi2 * ((long double)(k - n) / (long double)n); return (Cx){cosl(a), -sinl(a)};
  }
}

/* All roots of order n as products of two out of tables of about sqrt(n). */
typedef struct { int64_t n, step; Cx *low, *high; } Roots;

static bool roots_init(Roots *r, int64_t n) {
  int64_t s = 1;
  while (s * s < n) s++;
  *r = (Roots){n, s, mt_malloc(sizeof(Cx) * (size_t)s), NULL};
  r->high = mt_malloc(sizeof(Cx) * (size_t)(n / s + 1));
  if (!r->low || !r->high) return false;
  for (int64_t k = 0; k < s; k++) r->low[k] = root_of_unity(k, n);
  for (int64_t k = 0; k <= n / s; k++) r->high[k] = root_of_unity(k * s, n);
  return true;
}
static void roots_free(Roots *r) {
  mt_free(r->low);
  mt_free(r->high);
}
static Cx root(const Roots *r, int64_t k) {
  Cx a = r->low[k % r->step], b = r->high[k / r->step];
  if (!(k / r->step)) return a;
  return k % r->step ? (Cx){a.r * b.r - a.i * b.i, a.r * b.i + a.i * b.r} : b;
}

/* ---- plans ---- */

static void *table(bool wide, int64_t n) {
  return mt_malloc((wide ? sizeof(double) : sizeof(float)) * 2 * (size_t)(n ? n : 1));
}
static void set(bool wide, void *t, int64_t re, int64_t im, Cx v) {
  if (wide) ((double *)t)[re] = (double)v.r, ((double *)t)[im] = (double)v.i;
  else ((float *)t)[re] = (float)v.r, ((float *)t)[im] = (float)v.i;
}

static void fft_free(MtFft *p) {
  if (!p) return;
  for (int f = 0; f < p->nfact; f++) {
    mt_free(p->twiddle[f]);
    mt_free(p->root[f]);
  }
  mt_free(p->mid);
  mt_free(p->chirp);
  mt_free(p->chirp_hat);
  mt_free(p->half);
  fft_free(p->cols);
  fft_free(p->rows);
  fft_free(p->conv);
  mt_free(p);
}

/* Eights first, then one 4 or 2, then odd primes; the greatest prime is returned. */
static int64_t factor(MtFft *p, int64_t n) {
  int64_t big = 1;
  p->nfact = 0;
  while (n % 8 == 0 && n != 16) p->fact[p->nfact++] = 8, n /= 8;
  while (n % 4 == 0) p->fact[p->nfact++] = 4, n /= 4;
  for (int64_t d = 2; d * d <= n; d++)
    while (n % d == 0) {
      if (d > big) big = d;
      p->fact[p->nfact++] = (int)(d < INT32_MAX ? d : 0);
      n /= d;
    }
  if (n > 1) {
    p->fact[p->nfact++] = (int)(n < INT32_MAX ? n : 0);
    if (n > big) big = n;
  }
  return big;
}

static bool plan_passes(MtFft *p, bool wide) {
  int64_t l1 = 1, n = p->n;
  Roots r;
  bool ok = roots_init(&r, n);
  for (int f = 0; ok && f < p->nfact; f++) {
    int64_t ip = p->fact[f], ido = n / (l1 * ip);
    void *w = p->twiddle[f] = table(wide, (ip - 1) * ido);
    void *o = p->root[f] = table(wide, ip);
    ok = w && o;
    for (int64_t i = 0; ok && i < ido && !mt_interrupted; i++)
      for (int64_t m = 1; m < ip; m++) {
        int64_t at = 2 * (i * (ip - 1) + m - 1);
        set(wide, w, at, at + 1, root(&r, m * l1 * i));
      }
    for (int64_t j = 0; ok && j < ip; j++) set(wide, o, 2 * j, 2 * j + 1, root_of_unity(j, ip));
    l1 *= ip;
  }
  roots_free(&r);
  return ok;
}

/* The divisor n1 of n by which a row is best cut: both parts fill vectors and none is long.  0:
 * better not. */
static int64_t best_cut(int64_t n, int64_t lanes) {
  int64_t best = 0;
  double least = INFINITY;
  for (int64_t d = 2; d <= n / d; d++)
    for (int turn = 0; n % d == 0 && turn < 2; turn++) {
      int64_t a = turn ? n / d : d, b = n / a;
      double up_a = (double)((a + lanes - 1) / lanes * lanes),
             up_b = (double)((b + lanes - 1) / lanes * lanes);
      double cost = up_a / (double)a + up_b / (double)b + 0.01 * (double)(a + b) / sqrt((double)n);
      if (cost < least) least = cost, best = a;
    }
  return n <= 128 || (n <= 1024 && least > 3) ? 0 : best;
}

static MtFft *plan_new(int64_t n, bool wide, bool beside);

static bool plan_split(MtFft *p, bool wide, int64_t n1) {
  int64_t n2 = p->n / n1, lanes = kern(wide)->lanes;
  Roots r;
  p->how = FFT_SPLIT;
  p->nfact = 0;
  p->cols = plan_new(n1, wide, true);
  p->rows = plan_new(n2, wide, true);
  p->mid = table(wide, (n2 + lanes - 1) / lanes * lanes * n1);
  bool ok = roots_init(&r, p->n) && p->cols && p->rows && p->mid;
  for (int64_t i = 0; ok && i < (n2 + lanes - 1) / lanes * lanes && !mt_interrupted; i++)
    for (int64_t k = 0; k < n1; k++) {
      int64_t at = 2 * lanes * (i / lanes * n1 + k) + i % lanes;
      set(wide, p->mid, at, at + lanes, i < n2 ? root(&r, i * k) : (Cx){1, 0});
    }
  roots_free(&r);
  return ok;
}

/* A length of at least `least` that is cut without waste: 256 times few twos, threes and fives. */
static int64_t good_size(int64_t least) {
  int64_t q = (least + 255) / 256, best = 1;
  while (best < q) best *= 2;
  for (int64_t a = 1; a < best; a *= 5)
    for (int64_t b = a; b < best; b *= 3) {
      int64_t v = b;
      while (v < q) v *= 2;
      if (v < best) best = v;
    }
  return 256 * best;
}

static bool plan_conv(MtFft *p, bool wide) {
  int64_t n = p->n, m = good_size(2 * n - 1);
  p->how = FFT_CONV;
  p->nfact = 0;
  p->conv = plan_new(m, wide, false);
  p->chirp = table(wide, n);
  p->chirp_hat = table(wide, m);
  void *room = p->conv ? mt_malloc(kern(wide)->room(p->conv, m)) : NULL;
  Roots r;
  bool ok = roots_init(&r, 2 * n) && p->conv && p->chirp && p->chirp_hat && room;
  for (int64_t i = 0; ok && i < m; i++) set(wide, p->chirp_hat, 2 * i, 2 * i + 1, (Cx){0, 0});
  for (int64_t i = 0, sq = 0; ok && i < n && !mt_interrupted; i++) {
    Cx c = root(&r, sq);                   /* exp(-pi i k^2 / n): k^2 modulo 2n is exact */
    set(wide, p->chirp, 2 * i, 2 * i + 1, c);
    c = (Cx){c.r / (long double)m, -c.i / (long double)m};
    set(wide, p->chirp_hat, 2 * i, 2 * i + 1, c);
    if (i) set(wide, p->chirp_hat, 2 * (m - i), 2 * (m - i) + 1, c);
    sq = (sq + 2 * i + 1) % (2 * n);
  }
  if (ok) kern(wide)->plain(p->conv, p->chirp_hat, room);
  roots_free(&r);
  mt_free(room);
  return ok;
}

static MtFft *plan_new(int64_t n, bool wide, bool beside) {
  MtFft *p = mt_calloc(sizeof *p);
  if (!p) return NULL;
  p->n = n;
  bool ok;
  if (factor(p, n) > FFT_DIRECT) ok = plan_conv(p, wide);
  else {
    int64_t cut = beside ? 0 : best_cut(n, kern(wide)->lanes);
    ok = cut ? plan_split(p, wide, cut) : plan_passes(p, wide);
  }
  if (ok) return p;
  fft_free(p);
  return NULL;
}

static bool plan_half(MtFft *p, bool wide) {
  int64_t h = p->n;
  Roots r;
  p->half = table(wide, h / 2 + 1);
  bool ok = roots_init(&r, 2 * h) && p->half;
  for (int64_t k = 0; ok && k <= h / 2; k++) set(wide, p->half, 2 * k, 2 * k + 1, root(&r, k));
  roots_free(&r);
  return ok;
}

/* ---- cache ---- */

typedef struct { int64_t n; bool wide, beside, half; } Key;
typedef struct { Key key; MtFft *p; int refs; uint64_t used; } Slot;
#define CACHE 16
static Slot *cache[CACHE];
static uint64_t clock_;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void slot_free(Slot *s) {
  if (!s) return;
  fft_free(s->p);
  mt_free(s);
}
static Slot *slot_new(Key k) {
  Slot *s = mt_calloc(sizeof *s);
  if (!s) return NULL;
  s->key = k;
  s->p = plan_new(k.n, k.wide, k.beside);
  if (s->p && (!k.half || plan_half(s->p, k.wide)) && !mt_interrupted) return s;
  slot_free(s);
  return NULL;
}
static bool same(Key a, Key b) {
  return a.n == b.n && a.wide == b.wide && a.beside == b.beside && a.half == b.half;
}

static Slot *slot_get(Key k) {
  Slot *s = NULL;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < CACHE; i++) if (cache[i] && same(cache[i]->key, k)) s = cache[i];
  if (s) s->refs++, s->used = ++clock_;
  pthread_mutex_unlock(&lock);
  if (s || !(s = slot_new(k))) return s;
  pthread_mutex_lock(&lock);
  int at = -1;
  for (int i = 0; i < CACHE; i++)
    if (!cache[i] ||
        (cache[i]->refs == 0 && (at < 0 || (cache[at] && cache[i]->used < cache[at]->used))))
      at = i;
  s->refs = 1;
  if (at >= 0) {
    slot_free(cache[at]);
    cache[at] = s;
    s->used = ++clock_;
  } else s->used = 0;                      /* not cached: freed by its only user */
  pthread_mutex_unlock(&lock);
  return s;
}

static void slot_put(Slot *s) {
  pthread_mutex_lock(&lock);
  bool drop = --s->refs == 0 && s->used == 0;
  pthread_mutex_unlock(&lock);
  if (drop) slot_free(s);
}

void mt_fft_forget(void) {
  pthread_mutex_lock(&lock);
  for (int i = 0; i < CACHE; i++)
    if (cache[i] && cache[i]->refs == 0) {
      slot_free(cache[i]);
      cache[i] = NULL;
    }
  pthread_mutex_unlock(&lock);
}

/* ---- lines ---- */

typedef struct {
  MtFftJob job;
  const MtFftKern *k;
  size_t room;
  _Atomic CoreStatus status;
} Lines;

static void some_lines(void *ctx, int64_t lo, int64_t hi) {
  Lines *l = ctx;
  char *room = mt_malloc(l->room + 64);
  if (!room) { l->status = CORE_NOMEM; return; }
  void *at = room + (64 - ((uintptr_t)room & 63));
  if (!(l->job.inner > 1 ? l->k->cols : l->k->rows)(&l->job, at, lo, hi))
    l->status = CORE_INTERRUPTED;
  mt_free(room);
}

bool mt_fft_columns(int64_t n, int64_t inner) {
  MtFft p;
  return n <= 2048 && inner >= 6 && factor(&p, n) <= FFT_DIRECT;
}

CoreStatus mt_fft_lines(FftKind kind, bool wide, bool inverse, const void *in, void *out,
                        int64_t outer, int64_t n, int64_t inner, double scale) {
  if (outer == 0 || n == 0 || inner == 0) return CORE_OK;
  bool half = kind != FFT_C2C && n % 2 == 0;
  Slot *s = slot_get((Key){half ? n / 2 : n, wide, inner > 1, half});
  if (!s) return mt_interrupted ? CORE_INTERRUPTED : CORE_NOMEM;
  Lines l = {{kind, inverse, in, out, n, inner, scale, s->p}, kern(wide), 0, CORE_OK};
  l.room = l.k->room(s->p, n);
  int64_t lanes = l.k->lanes, units = inner > 1 ? outer * ((inner + lanes - 1) / lanes) : outer;
  int64_t grain = 8192 / n + 1;
  if (inner > 1) grain = (grain + lanes - 1) / lanes;
  else if (s->p->how == FFT_PASSES) grain = (grain + lanes - 1) / lanes * lanes;
  mt_parallel(units, grain, some_lines, &l);
  slot_put(s);
  return l.status;
}
