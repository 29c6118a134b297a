/* fft_core.c: plans, passes and rows of the transforms (see fft_core.h). */
#include "fft_core.h"
#include <math.h>
#include <pthread.h>

typedef struct { double r, i; } Cx;
typedef struct Plan {
  int64_t n, len;                          /* len: complex numbers of scratch an execution needs */
  int refs, nfact, fact[64];
  Cx *twiddle[64], *root[64]; /* per factor: step twiddles; the factor's own roots of unity */
  struct Plan *conv;                       /* Bluestein: the transform of the convolution */
  Cx *chirp, *chirp_hat;
  uint64_t used;
} Plan;

static inline Cx add(Cx a, Cx b) { return (Cx){a.r + b.r, a.i + b.i}; }
static inline Cx sub(Cx a, Cx b) { return (Cx){a.r - b.r, a.i - b.i}; }
static inline Cx mul(Cx a, Cx b) { return (Cx){a.r * b.r - a.i * b.i, a.r * b.i + a.i * b.r}; }
static inline Cx conj_(Cx a) { return (Cx){a.r, -a.i}; }

/* exp(-2 pi i k / n), from an angle of at most an eighth turn. */
static Cx root_of_unity(int64_t k, int64_t n) {
  const long double pi2 = 6.28318530717958647692528676655900577L;
  k %= n;
  int64_t q = 8 * (k % n) / n; /* octant; 8 k < 2^63 for any length that fits in memory */
  long double a;
  switch (q) {
  case 0: a = pi2 * (long double)k / (long double)n; return (Cx){(double)cosl(a), -(double)sinl(a)};
  case 1:
  case 2:
    a = pi2 * ((long double)(4 * k - n) / (long double)(4 * n));
    return (Cx){-(double)sinl(a), -(double)cosl(a)};
  case 3:
  case 4:
    a = pi2 * ((long double)(2 * k - n) / (long double)(2 * n));
    return (Cx){-(double)cosl(a), (double)sinl(a)};
  case 5:
  case 6:
    a = pi2 * ((long double)(4 * k - 3 * n) / (long double)(4 * n));
    return (Cx){(double)sinl(a), (double)cosl(a)};
  default:
    a = pi2 * ((long double)(k - n) / (long double)n);
    return (Cx){(double)cosl(a), -(double)sinl(a)};
  }
}

/* ---- passes: cc[i + ido (j + ip k)] -> ch[i + ido (k + l1 m)] ---- */

typedef struct { int64_t ido, l1; const Cx *w; } Pass;
#define IN(j) cc[i + ido * ((j) + ip * k)]
#define OUT(m, v) ch[i + ido * (k + l1 * (m))] = (m) && i ? mul(v, p->w[((m) - 1) * ido + i]) : (v)

static void pass2(const Pass *p, const Cx *restrict cc, Cx *restrict ch) {
  const int64_t ido = p->ido, l1 = p->l1, ip = 2;
  for (int64_t k = 0; k < l1; k++)
    for (int64_t i = 0; i < ido; i++) {
      Cx a = IN(0), b = IN(1);
      OUT(0, add(a, b));
      OUT(1, sub(a, b));
    }
}

static void pass3(const Pass *p, const Cx *restrict cc, Cx *restrict ch) {
  const int64_t ido = p->ido, l1 = p->l1, ip = 3;
  const double s = -0.86602540378443864676;
  for (int64_t k = 0; k < l1; k++)
    for (int64_t i = 0; i < ido; i++) {
      Cx a = IN(0), b = IN(1), c = IN(2), t = add(b, c), d = sub(b, c);
      Cx m = {a.r - 0.5 * t.r, a.i - 0.5 * t.i}, q = {-s * d.i, s * d.r};
      OUT(0, add(a, t));
      OUT(1, add(m, q));
      OUT(2, sub(m, q));
    }
}

static void pass4(const Pass *p, const Cx *restrict cc, Cx *restrict ch) {
  const int64_t ido = p->ido, l1 = p->l1, ip = 4;
  for (int64_t k = 0; k < l1; k++)
    for (int64_t i = 0; i < ido; i++) {
      Cx a = IN(0), b = IN(1), c = IN(2), d = IN(3);
      Cx s = add(a, c), t = sub(a, c), u = add(b, d), v = sub(b, d), w = {v.i, -v.r};
      OUT(0, add(s, u));
      OUT(1, add(t, w));
      OUT(2, sub(s, u));
      OUT(3, sub(t, w));
    }
}

static void pass5(const Pass *p, const Cx *restrict cc, Cx *restrict ch) {
  const int64_t ido = p->ido, l1 = p->l1, ip = 5;
  const double c1 = 0.3090169943749474241, s1 = -0.95105651629515357212;
  const double c2 = -0.8090169943749474241, s2 = -0.58778525229247312917;
  for (int64_t k = 0; k < l1; k++)
    for (int64_t i = 0; i < ido; i++) {
      Cx a = IN(0), b = IN(1), c = IN(2), d = IN(3), e = IN(4);
      Cx t1 = add(b, e), t2 = add(c, d), d1 = sub(b, e), d2 = sub(c, d);
      Cx m1 = {a.r + c1 * t1.r + c2 * t2.r, a.i + c1 * t1.i + c2 * t2.i};
      Cx m2 = {a.r + c2 * t1.r + c1 * t2.r, a.i + c2 * t1.i + c1 * t2.i};
      Cx q1 = {-(s1 * d1.i + s2 * d2.i), s1 * d1.r + s2 * d2.r};
      Cx q2 = {-(s2 * d1.i - s1 * d2.i), s2 * d1.r - s1 * d2.r};
      OUT(0, add(a, add(t1, t2)));
      OUT(1, add(m1, q1));
      OUT(2, add(m2, q2));
      OUT(3, sub(m2, q2));
      OUT(4, sub(m1, q1));
    }
}

/* An odd prime: pairs j and ip - j share their products. */
static void pass_any(const Pass *p, int64_t ip, const Cx *root, const Cx *restrict cc,
                     Cx *restrict ch) {
  const int64_t ido = p->ido, l1 = p->l1, half = (ip - 1) / 2;
  Cx s[64], d[64];
  for (int64_t k = 0; k < l1; k++)
    for (int64_t i = 0; i < ido; i++) {
      Cx a = IN(0), sum = a;
      for (int64_t j = 1; j <= half; j++) {
        s[j] = add(IN(j), IN(ip - j));
        d[j] = sub(IN(j), IN(ip - j));
        sum = add(sum, s[j]);
      }
      OUT(0, sum);
      for (int64_t m = 1; m <= half; m++) {
        Cx e = a, o = {0, 0};
        for (int64_t j = 1, t = m; j <= half; j++, t = t + m >= ip ? t + m - ip : t + m) {
          e.r += root[t].r * s[j].r;
          e.i += root[t].r * s[j].i;
          o.r -= root[t].i * d[j].i;
          o.i += root[t].i * d[j].r;
        }
        OUT(m, add(e, o));
        OUT(ip - m, sub(e, o));
      }
    }
}
#undef IN
#undef OUT

#define MAX_DIRECT 61 /* greatest prime summed directly: pass_any keeps 64 pairs at most */

/* Forward transform of a (n numbers) with scratch b (p->len numbers); the result is in a.
 * False: interrupted. */
static bool run(const Plan *p, Cx *a, Cx *b);

static bool run_bluestein(const Plan *p, Cx *a, Cx *b) {
  const Plan *q = p->conv;
  int64_t n = p->n, m = q->n;
  Cx *work = b, *scratch = b + m;
  for (int64_t i = 0; i < n; i++) work[i] = mul(a[i], p->chirp[i]);
  memset(work + n, 0, sizeof(Cx) * (size_t)(m - n));
  if (!run(q, work, scratch)) return false;
  for (int64_t i = 0; i < m; i++) work[i] = conj_(mul(work[i], p->chirp_hat[i]));
  if (!run(q, work, scratch))
    return false; /* the inverse, as the conjugate of a forward transform */
  for (int64_t i = 0; i < n; i++) a[i] = mul(conj_(work[i]), p->chirp[i]);
  return true;
}

static bool run(const Plan *p, Cx *a, Cx *b) {
  Cx *from = a, *to = b;
  int64_t l1 = 1;
  if (p->conv) return run_bluestein(p, a, b);
  for (int f = 0; f < p->nfact; f++) {
    int64_t ip = p->fact[f];
    Pass s = {p->n / (l1 * ip), l1, p->twiddle[f]};
    if (mt_interrupted) return false;
    switch (ip) {
    case 2: pass2(&s, from, to); break;
    case 3: pass3(&s, from, to); break;
    case 4: pass4(&s, from, to); break;
    case 5: pass5(&s, from, to); break;
    default: pass_any(&s, ip, p->root[f], from, to);
    }
    Cx *t = from;
    from = to;
    to = t;
    l1 *= ip;
  }
  if (from != a) memcpy(a, from, sizeof(Cx) * (size_t)p->n);
  return true;
}

/* ---- plans ---- */

static void plan_free(Plan *p) {
  if (!p) return;
  for (int f = 0; f < p->nfact; f++) {
    mt_free(p->twiddle[f]);
    mt_free(p->root[f]);
  }
  mt_free(p->chirp);
  mt_free(p->chirp_hat);
  plan_free(p->conv);
  mt_free(p);
}

static int64_t factor(Plan *p) {
  int64_t n = p->n, big = 1;
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

static bool plan_twiddles(Plan *p) {
  int64_t l1 = 1;
  for (int f = 0; f < p->nfact; f++) {
    int64_t ip = p->fact[f], ido = p->n / (l1 * ip);
    p->twiddle[f] = mt_malloc(sizeof(Cx) * (size_t)((ip - 1) * ido));
    p->root[f] = ip > 5 ? mt_malloc(sizeof(Cx) * (size_t)ip) : NULL;
    if (!p->twiddle[f] || (ip > 5 && !p->root[f])) return false;
    for (int64_t m = 1; m < ip; m++)
      for (int64_t i = 0; i < ido; i++)
        p->twiddle[f][(m - 1) * ido + i] = root_of_unity(m * l1 * i, p->n);
    for (int64_t j = 0; ip > 5 && j < ip; j++) p->root[f][j] = root_of_unity(j, ip);
    l1 *= ip;
  }
  p->len = p->n;
  return true;
}

static int64_t good_size(int64_t least) {
  int64_t best = 1;
  while (best < least) best *= 2;
  for (int64_t a = 1; a < best; a *= 5)
    for (int64_t b = a; b < best; b *= 3) {
      int64_t v = b;
      while (v < least) v *= 2;
      if (v < best) best = v;
    }
  return best;
}

static Plan *plan_new(int64_t n);

static bool plan_bluestein(Plan *p) {
  int64_t n = p->n, m = good_size(2 * n - 1);
  p->nfact = 0;
  p->conv = plan_new(m);
  p->chirp = mt_malloc(sizeof(Cx) * (size_t)n);
  p->chirp_hat = mt_calloc(sizeof(Cx) * (size_t)m);
  Cx *scratch = mt_malloc(sizeof(Cx) * (size_t)(p->conv ? p->conv->len : 1));
  bool ok = p->conv && p->chirp && p->chirp_hat && scratch;
  for (int64_t i = 0, sq = 0; ok && i < n;
       i++) { /* exp(-pi i k^2 / n): k^2 modulo 2n stays exact */
    p->chirp[i] = root_of_unity(sq, 2 * n);
    Cx c = conj_(p->chirp[i]);
    p->chirp_hat[i] = (Cx){c.r / (double)m, c.i / (double)m};
    if (i) p->chirp_hat[m - i] = p->chirp_hat[i];
    sq = (sq + 2 * i + 1) % (2 * n);
  }
  ok = ok && run(p->conv, p->chirp_hat, scratch);
  mt_free(scratch);
  p->len = p->conv ? m + p->conv->len : 0;
  return ok;
}

static Plan *plan_new(int64_t n) {
  Plan *p = mt_calloc(sizeof *p);
  if (!p) return NULL;
  p->n = n;
  bool ok = factor(p) > MAX_DIRECT ? plan_bluestein(p) : plan_twiddles(p);
  if (ok) return p;
  plan_free(p);
  return NULL;
}

#define CACHE 16
static Plan *cache[CACHE];
static uint64_t clock_;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static Plan *plan_get(int64_t n) {
  Plan *p = NULL;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < CACHE; i++) if (cache[i] && cache[i]->n == n) p = cache[i];
  if (p) p->refs++, p->used = ++clock_;
  pthread_mutex_unlock(&lock);
  if (p || !(p = plan_new(n))) return p;
  pthread_mutex_lock(&lock);
  int slot = -1;
  for (int i = 0; i < CACHE; i++)
    if (!cache[i] ||
        (cache[i]->refs == 0 && (slot < 0 || (cache[slot] && cache[i]->used < cache[slot]->used))))
      slot = i;
  p->refs = 1;
  if (slot >= 0) {
    plan_free(cache[slot]);
    cache[slot] = p;
    p->used = ++clock_;
  } else p->used = 0;                      /* not cached: freed by its only user */
  pthread_mutex_unlock(&lock);
  return p;
}

static void plan_put(Plan *p) {
  pthread_mutex_lock(&lock);
  bool drop = --p->refs == 0 && p->used == 0;
  pthread_mutex_unlock(&lock);
  if (drop) plan_free(p);
}

void mt_fft_forget(void) {
  pthread_mutex_lock(&lock);
  for (int i = 0; i < CACHE; i++)
    if (cache[i] && cache[i]->refs == 0) {
      plan_free(cache[i]);
      cache[i] = NULL;
    }
  pthread_mutex_unlock(&lock);
}

/* ---- rows ---- */

typedef struct {
  FftKind kind;
  bool wide, inverse;
  const char *in;
  char *out;
  int64_t n;
  double scale;
  const Plan *plan;
  volatile CoreStatus status;
} Rows;

static inline Cx load(const Rows *r, const char *p, int64_t i) {
  if (r->wide) return (Cx){((const double *)p)[2 * i], ((const double *)p)[2 * i + 1]};
  return (Cx){((const float *)p)[2 * i], ((const float *)p)[2 * i + 1]};
}
static inline void store(const Rows *r, char *p, int64_t i, Cx v) {
  if (r->wide) ((double *)p)[2 * i] = v.r * r->scale, ((double *)p)[2 * i + 1] = v.i * r->scale;
  else
    ((float *)p)[2 * i] = (float)(v.r * r->scale),
                     ((float *)p)[2 * i + 1] = (float)(v.i * r->scale);
}

/* Inverse transforms are forward ones of conjugates, conjugated. */
static void load_row(const Rows *r, const char *p, Cx *a) {
  int64_t n = r->n;
  if (r->kind == FFT_R2C) {
    for (int64_t i = 0; i < n; i++)
      a[i] = (Cx){r->wide ? ((const double *)p)[i] : (double)((const float *)p)[i], 0};
    return;
  }
  int64_t m = r->kind == FFT_C2R ? n / 2 + 1 : n;
  for (int64_t i = 0; i < m; i++) a[i] = r->inverse ? conj_(load(r, p, i)) : load(r, p, i);
  if (r->kind == FFT_C2C) return;
  a[0].i = 0;
  if (n % 2 == 0) a[n / 2].i = 0;
  for (int64_t i = m; i < n; i++) a[i] = conj_(a[n - i]);
}
static void store_row(const Rows *r, char *p, const Cx *a) {
  int64_t n = r->n, m = r->kind == FFT_R2C ? n / 2 + 1 : n;
  if (r->kind == FFT_C2R) {
    for (int64_t i = 0; i < n; i++)
      if (r->wide) ((double *)p)[i] = a[i].r * r->scale;
      else ((float *)p)[i] = (float)(a[i].r * r->scale);
  } else for (int64_t i = 0; i < m; i++) store(r, p, i, r->inverse ? conj_(a[i]) : a[i]);
}

static void some_rows(void *ctx, int64_t lo, int64_t hi) {
  Rows *r = ctx;
  size_t num = r->wide ? 8 : 4, half = (size_t)(r->n / 2 + 1) * 2 * num,
         full = (size_t)r->n * 2 * num, real = (size_t)r->n * num;
  size_t bin = r->kind == FFT_R2C ? real : r->kind == FFT_C2R ? half : full;
  size_t bout = r->kind == FFT_R2C ? half : r->kind == FFT_C2R ? real : full;
  Cx *a = mt_malloc(sizeof(Cx) * (size_t)(r->n + r->plan->len));
  if (!a) { r->status = CORE_NOMEM; return; }
  for (int64_t i = lo; i < hi; i++) {
    load_row(r, r->in + (size_t)i * bin, a);
    if (mt_interrupted || !run(r->plan, a, a + r->n)) { r->status = CORE_INTERRUPTED; break; }
    store_row(r, r->out + (size_t)i * bout, a);
  }
  mt_free(a);
}

CoreStatus mt_fft_rows(FftKind kind, bool wide, bool inverse, const void *in, void *out, int64_t n,
                       int64_t rows, double scale) {
  if (rows == 0 || n == 0) return CORE_OK;
  Plan *p = plan_get(n);
  if (!p) return mt_interrupted ? CORE_INTERRUPTED : CORE_NOMEM;
  Rows r = {kind, wide, inverse, in, out, n, scale, p, CORE_OK};
  mt_parallel(rows, 4096 / n + 1, some_rows, &r);
  plan_put(p);
  return r.status;
}
