/* hidden.c: what hidden ops ask of their arguments when Lua calls them as torch._ops.NAME.
 *
 * The ops of the public rows check for them and call them by t_NAME, so their kernels trust what
 * they get.  A caller from outside is held to the lines below.  An op without a line checks its
 * arguments itself or is made of ops that do; the fuzzer calls all of them.
 *
 * A line is words, alternatives divided by "||":
 *   x:b,m,n:f      tensor x (absent is fine) has these sizes: a letter is bound where it is met
 *                  first, a number stands for itself, "*" is any size, "#" in front any leading
 *                  dimensions, the same everywhere, "@y" the sizes of y, "a*b" a product, "2s+1"
 *                  such a sum; "-" alone asks nothing.  Behind it the kind of numbers: f floating,
 *                  c floating or complex, l the types of LAPACK, s float32, i int64, = that of the
 *                  line's first tensor, W contiguous in the type in which float work on that one
 *                  is done
 *   k@n            list k has n elements
 *   v{lo,hi} v{lo,hi)   the numbers of v (tensor, list, number, letter) lie there; an end may be a
 *                  number, a letter or a parameter; hi may be left out
 *   ends/k         the int64 numbers of ends do not decrease, begin at 0 or more and end with k
 *   ?name          the function `name` below has more to ask
 *   !              not for callers from outside */
#include "gemm_impl.h"
#include "hidden.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  Ctx *c;
  const OpRow *op;
  const Val *a;
  int64_t letter[128], lead[MT_MAXDIM];
  bool bound[128];
  int nlead;                                 /* -1: not met yet */
  const Tensor *first;
} Look;

static int find(const Look *k, const char *name, size_t n) {
  for (int i = 0; i < k->op->nparam; i++)
    if (strlen(k->op->params[i].name) == n && !strncmp(k->op->params[i].name, name, n)) return i;
  return -1;
}
static const Val *arg(const Look *k, const char *name) {
  int i = find(k, name, strlen(name));
  return i < 0 ? NULL : &k->a[i];
}
static bool refuse(Look *k, const char *name, size_t n, const char *why) {
  mt_fail(k->c, "argument '%.*s' %s", (int)n, name, why);
  return false;
}

/* The value of a letter, a number, "a*b", "2s+1" or a parameter. */
static int64_t value(const Look *k, const char *s, size_t n) {
  if (n == 1 && isalpha((unsigned char)*s)) return k->letter[(int)*s];
  if (n == 3 && s[1] == '*') return k->letter[(int)s[0]] * k->letter[(int)s[2]];
  if (n == 4 && s[2] == '+') return 2 * k->letter[(int)s[1]] + 1;
  if (*s == '-' || isdigit((unsigned char)*s)) return strtoll(s, NULL, 10);
  int i = find(k, s, n);
  return i < 0 ? 0 : k->a[i].i;
}

/* ---- sizes and types ---- */
static bool size_is(Look *k, int64_t size, const char *s, size_t n) {
  if (n == 1 && *s == '*') return true;
  if (n == 1 && isalpha((unsigned char)*s) && !k->bound[(int)*s]) {
    k->bound[(int)*s] = true;
    k->letter[(int)*s] = size;
    return true;
  }
  return value(k, s, n) == size;
}

static bool lead_is(Look *k, const Tensor *t, int n) {
  if (n < 0) return false;
  if (k->nlead < 0) {
    k->nlead = n;
    memcpy(k->lead, t->size, sizeof(int64_t) * (size_t)n);
  }
  return k->nlead == n && !memcmp(k->lead, t->size, sizeof(int64_t) * (size_t)n);
}

static bool sizes_are(Look *k, const Tensor *t, const char *s, const char *end) {
  const char *part[MT_MAXDIM];
  int n = 0, at = 0;
  if (*s == '-') return true;
  for (const char *p = s; p <= end && n < MT_MAXDIM; p++)
    if (p == s || p[-1] == ',') part[n++] = p;
  int others = n - (*s == '#' || *s == '@');
  if (*s == '#' && !lead_is(k, t, t->ndim - others)) return false;
  if (*s == '@') {
    size_t len = strcspn(s + 1, ",: ");
    const Tensor *like = k->a[find(k, s + 1, len)].t;
    if (!like || t->ndim != like->ndim + others ||
        memcmp(t->size, like->size, sizeof(int64_t) * (size_t)like->ndim))
      return false;
  }
  at = t->ndim - others;
  if (at < 0 || (at && others == n)) return false;
  for (int i = n - others; i < n; i++, at++)
    if (!size_is(k, t->size[at], part[i], strcspn(part[i], ",: "))) return false;
  return true;
}

static bool type_is(Look *k, const Tensor *t, char kind) {
  int d = t->dtype;
  switch (kind) {
    case 'f': return mt_is_float(d);
    case 'c': return mt_is_float(d) || mt_is_complex(d);
    case 's': return d == MT_float32;
    case 'l': return d == MT_float32 || d == MT_float64 || mt_is_complex(d);
    case 'i': return d == MT_int64 && mt_is_contiguous(t);
    case 'd': return d == MT_float64 && mt_is_contiguous(t);
    case '=': return d == k->first->dtype;
    case 'W':
      return d == (k->first->dtype == MT_float64 ? MT_float64 : MT_float32) && mt_is_contiguous(t);
    default: return true;
  }
}

static bool tensor_fits(Look *k, const char *word, size_t name_len) {
  int i = find(k, word, name_len);
  const Tensor *t = i < 0 ? NULL : k->a[i].t;
  const char *s = word + name_len + 1, *end = s + strcspn(s, ": ");
  if (!t) return true;
  if (!k->first) k->first = t;
  if (!sizes_are(k, t, s, end - 1))
    return refuse(k, word, name_len, "has a shape that does not fit the others");
  if (*end == ':' && !type_is(k, t, end[1]))
    return refuse(k, word, name_len, "has a dtype or layout that this op does not take");
  return true;
}

/* ---- numbers ---- */
static bool range_fits(Look *k, const char *word, size_t name_len) {
  const char *lo_ = word + name_len + 1, *hi_ = strchr(lo_, ',') + 1;
  size_t hi_len = strcspn(hi_, "})");
  int64_t lo = value(k, lo_, strcspn(lo_, ",")), hi = hi_len ? value(k, hi_, hi_len) : INT64_MAX;
  if (hi_[hi_len] == ')') hi--;
  int i = find(k, word, name_len);
  const int64_t *v = i < 0 ? &k->letter[(int)*word] : &k->a[i].i;
  int64_t n = 1;
  if (i >= 0 && k->op->params[i].type == P_IntList) { v = k->a[i].il.v; n = k->a[i].il.n; }
  if (i >= 0 && k->op->params[i].type == P_Tensor) {
    if (!k->a[i].t || mt_meta(k->a[i].t)) return true;
    Tensor *t = mt_contig_as(k->c, k->a[i].t, MT_int64);
    if (!t) return false;
    v = mt_data(t);
    n = t->numel;
  }
  for (int64_t j = 0; j < n; j++)
    if (v[j] < lo || v[j] > hi) {
      mt_fail(k->c, "argument '%.*s': %lld is outside of %lld to %lld", (int)name_len, word,
              (long long)v[j], (long long)lo, (long long)hi);
      return false;
    }
  return true;
}

static bool ends_fit(Look *k, const char *word, size_t name_len) {
  Tensor *t = k->a[find(k, word, name_len)].t;
  int64_t n = k->letter[(int)word[name_len + 1]], last = 0;
  if (mt_meta(t)) return true;
  if (!(t = mt_contig(k->c, t))) return false;
  for (int64_t i = 0; i < t->numel; i++) {
    int64_t v = ((const int64_t *)mt_data(t))[i];
    if (v < last) return refuse(k, word, name_len, "must not decrease");
    last = v;
  }
  return last == n && mt_is_contiguous(k->a[find(k, word, name_len)].t)
             ? true : refuse(k, word, name_len, "must be contiguous and end with all indices");
}

/* ---- what needs more than a line ---- */
enum { MOST = 1 << 30 };
static bool between(IntList l, int n, int64_t lo) {
  if (l.n != n) return false;
  for (int i = 0; i < n; i++) if (l.v[i] < lo || l.v[i] > MOST) return false;
  return true;
}
/* Windows of k, s, p, d over `in` elements give at most this many outputs; -1: none. */
static int64_t windows(int64_t in, int64_t k, int64_t s, int64_t p, int64_t d) {
  int64_t room = in + 2 * p - (k - 1) * d - 1;
  return room < 0 ? -1 : room / s + 1;
}

static bool conv_fits(Look *k, const int64_t *x, const int64_t *w, const int64_t *y, int n) {
  IntList s = arg(k, "stride")->il, p = arg(k, "padding")->il, d = arg(k, "dilation")->il;
  int64_t groups = arg(k, "groups")->i;
  bool ok = groups >= 1 && groups <= MOST && between(s, n, 1) && between(p, n, 0) &&
            between(d, n, 1);
  for (int i = 0; i < n + 2; i++)
    ok = ok && x[i] >= 0 && w[i] >= 0 && y[i] >= 0 && x[i] <= MOST && w[i] <= MOST && y[i] <= MOST;
  ok = ok && x[0] == y[0] && w[0] == y[1] && w[1] * groups == x[1] && w[0] % groups == 0;
  for (int i = 0; ok && i < n; i++)
    ok = w[i + 2] >= 1 && y[i + 2] <= windows(x[i + 2], w[i + 2], s.v[i], p.v[i], d.v[i]);
  if (!ok) mt_fail(k->c, "sizes, stride, padding, dilation and groups do not fit each other");
  return ok;
}
static bool conv(Look *k) {
  static const char *const given[3][2] = {{"input", "weight"}, {"gy", "weight"}, {"input", "gy"}};
  int what = !strcmp(k->op->name, "_conv") ? 0 : !strcmp(k->op->name, "_conv_input") ? 1 : 2;
  const Tensor *t = arg(k, given[what][0])->t, *u = arg(k, given[what][1])->t;
  IntList size = arg(k, what ? "size" : "out")->il;
  int n = t->ndim - 2;
  if (arg(k, "groups")->i < 1 || arg(k, "groups")->i > MOST) {
    mt_fail(k->c, "groups must be positive, got %lld", (long long)arg(k, "groups")->i);
    return false;
  }
  if (n < 1 || n > 3 || u->ndim != t->ndim || size.n != t->ndim || t->dtype != u->dtype) {
    mt_fail(k->c, "needs two tensors of one dtype and a size of 3 to 5 dimensions each");
    return false;
  }
  int64_t full[5];
  memcpy(full, size.v, sizeof(int64_t) * (size_t)(n + 2));
  if (what == 0) { /* its first two numbers are not read */
    full[0] = t->size[0];
    full[1] = u->size[0];
    const Tensor *b = arg(k, "bias")->t;
    if (b && (b->ndim != 1 || b->size[0] != u->size[0] || b->dtype != t->dtype))
      return refuse(k, "bias", 4, "must have an element an output channel, of the same dtype");
    return conv_fits(k, t->size, u->size, full, n);
  }
  if (what == 2) return conv_fits(k, t->size, full, u->size, n);
  full[0] = t->size[0];
  full[1] = u->size[1] * arg(k, "groups")->i;
  return conv_fits(k, full, u->size, t->size, n);
}

static bool pool(Look *k) {
  const Tensor *x = arg(k, "self")->t;
  IntList w = arg(k, "kernel")->il, s = arg(k, "stride")->il, p = arg(k, "padding")->il,
          d = arg(k, "dilation")->il, out = arg(k, "out")->il;
  int n = (int)w.n;
  bool ok = n >= 1 && n <= 3 && x->ndim >= n && between(w, n, 1) && between(s, n, 1) &&
            between(p, n, 0) && between(d, n, 1) && between(out, n, 0);
  for (int i = 0; ok && i < n; i++) {
    int64_t in = x->size[x->ndim - n + i];
    ok = 2 * p.v[i] <= w.v[i] && in >= 1 && windows(in, w.v[i], s.v[i], p.v[i], d.v[i]) >= 1 &&
         (out.v[i] - 1) * s.v[i] < in + p.v[i];
  }
  if (!ok) mt_fail(k->c, "kernel, stride, padding, dilation and out do not fit shape %s",
                   mt_list_str(k->c, mt_sizes(x)));
  return ok;
}
static bool adaptive(Look *k) {
  const Tensor *x = arg(k, "self")->t;
  IntList out = arg(k, "out")->il;
  int n = (int)out.n;
  bool ok = n >= 1 && n <= 3 && x->ndim >= n && mt_is_float(x->dtype) && between(out, n, 0);
  for (int i = 0; ok && i < n; i++) ok = x->size[x->ndim - n + i] >= 1 && out.v[i] <= 1 << 24;
  if (!ok || strcmp(k->op->name, "_fractional_max_pool")) {
    if (!ok) mt_fail(k->c, "out does not fit shape %s", mt_list_str(k->c, mt_sizes(x)));
    return ok;
  }
  IntList w = arg(k, "kernel")->il;
  Tensor *u = arg(k, "samples")->t;
  int64_t planes = 1;
  for (int i = 0; i < x->ndim - n; i++) planes *= x->size[i];
  ok = between(w, n, 1) && mt_is_float(u->dtype) && u->numel == planes * n;
  for (int i = 0; ok && i < n; i++) ok = w.v[i] + out.v[i] - 1 <= x->size[x->ndim - n + i];
  Tensor *all = ok && !mt_meta(u) ? mt_contig_as(k->c, u, MT_float64) : NULL;
  for (int64_t i = 0; all && ok && i < u->numel; i++) {
    double v = ((const double *)mt_data(all))[i];
    ok = v >= 0 && v <= 1;
  }
  if (!ok) mt_fail(k->c, "kernel, out and samples (0 to 1) do not fit shape %s",
                   mt_list_str(k->c, mt_sizes(x)));
  return ok;
}

static bool planes(Look *k) {
  const Tensor *x = arg(k, "self")->t, *at = arg(k, "indices")->t;
  int64_t n = arg(k, "n")->i;
  const Val *to = arg(k, "size");
  const int64_t *size = to ? to->il.v : x->size;
  int ndim = to ? (int)to->il.n : x->ndim;
  bool ok = n >= 1 && n <= 3 && n <= at->ndim && at->dtype == MT_int64 && ndim == at->ndim;
  for (int i = 0; ok && i < ndim - n; i++) ok = size[i] == at->size[i];
  if (to) {
    ok = ok && x->ndim == at->ndim && !memcmp(x->size, at->size, sizeof(int64_t) * (size_t)ndim);
    ok = ok && x->dtype != MT_bool;
    for (int i = 0; ok && i < ndim; i++) ok = size[i] >= 0;
  }
  if (!ok) mt_fail(k->c, "shapes do not fit for planes of %lld dimensions", (long long)n);
  return ok;
}

static bool sdpa(Look *k) {
  const Tensor *q = arg(k, "query")->t, *x = arg(k, "key")->t, *v = arg(k, "value")->t,
               *mask = arg(k, "attn_mask")->t;
  int n = q->ndim;
  bool ok = n >= 2 && x->ndim == n && v->ndim == n && q->numel && x->numel && v->numel &&
            (q->dtype == MT_float32 || q->dtype == MT_float16 || q->dtype == MT_bfloat16) &&
            x->dtype == q->dtype && v->dtype == q->dtype;
  for (int i = 0; ok && i < n - 1; i++) ok = x->size[i] == v->size[i];
  for (int i = 0; ok && i < n - 2; i++)
    ok = i == n - 3 ? q->size[i] % x->size[i] == 0 : q->size[i] == x->size[i];
  ok = ok && q->size[n - 1] == x->size[n - 1] && q->size[n - 1] <= 512 && v->size[n - 1] <= 512;
  for (int i = 1; mask && ok && i <= mask->ndim; i++) {
    int64_t m = mask->size[mask->ndim - i];
    ok = i <= n && (m == 1 || m == (i == 1 ? x->size[n - 2] : q->size[n - i]));
  }
  ok = ok && (!mask || mask->dtype == MT_bool || mask->dtype == q->dtype ||
              mask->dtype == MT_float32);
  const Val *g = arg(k, "grad");
  if (g && ok) {
    const Tensor *r = arg(k, "result")->t, *lse = arg(k, "lse")->t;
    ok = g->t->ndim == n && r->ndim == n && lse->ndim == n - 1 && lse->dtype == MT_float32 &&
         mt_is_contiguous(lse) && g->t->dtype == q->dtype && r->dtype == q->dtype;
    for (int i = 0; ok && i < n; i++) {
      int64_t want = i == n - 1 ? v->size[i] : q->size[i];
      ok = g->t->size[i] == want && r->size[i] == want && (i == n - 1 || lse->size[i] == want);
    }
  }
  if (!ok) mt_fail(k->c, "shapes or dtypes of query, key, value and the others do not fit");
  return ok;
}

static bool is(const Tensor *t, int n, int64_t a, int64_t b, int64_t d) {
  int64_t want[3] = {a, b, d};
  return t && t->dtype == MT_float32 && t->ndim == n &&
         !memcmp(t->size, want, sizeof(int64_t) * (size_t)n);
}
static bool rnn(Look *k) {
  const Tensor *x = arg(k, "input")->t, *h = arg(k, "hx")->t, *cell = arg(k, "cx")->t;
  IntList bs = arg(k, "batch_sizes")->il;
  TensorList p = arg(k, "params")->tl;
  const char *mode = arg(k, "mode")->str;
  bool lstm = !strcmp(mode, "lstm"), gru = !strcmp(mode, "gru"), biases = arg(k, "has_biases")->i;
  int64_t gates = lstm ? 4 : gru ? 3 : 1, per = biases ? 4 : 2, sum = 0;
  bool ok = x->ndim == 2 && x->dtype == MT_float32 && h->ndim == 3 && h->dtype == MT_float32 &&
            (h->size[0] == 1 || h->size[0] == 2) && bs.n >= 1 && h->size[1] == bs.v[0] &&
            p.n == h->size[0] * per && x->size[1] >= 1 && h->size[2] >= 1 &&
            (lstm || gru || !strcmp(mode, "tanh") || !strcmp(mode, "relu"));
  for (int64_t i = 0; ok && i < bs.n; i++) {
    ok = bs.v[i] >= 1 && (!i || bs.v[i] <= bs.v[i - 1]) && bs.v[i] <= x->size[0];
    sum += bs.v[i];
  }
  int64_t N = x->size[0], H = ok ? h->size[2] : 0, sides = ok ? h->size[0] : 0;
  ok = ok && sum == N && lstm == (cell != NULL) &&
       (!cell || is(cell, 3, sides, h->size[1], H));
  for (int64_t i = 0; ok && i < p.n; i++)
    ok = i % per == 0 ? is(p.v[i], 2, gates * H, x->size[1], 0)
         : i % per == 1 ? is(p.v[i], 2, gates * H, H, 0) : is(p.v[i], 1, gates * H, 0, 0);
  if (ok && arg(k, "grad")) {
    const Tensor *y = arg(k, "output")->t, *g = arg(k, "gates")->t, *cs = arg(k, "cells")->t;
    int64_t wide = 2 * mt_gemm_kerns()->f32->vl;           /* as the layer pads its gates */
    ok = is(arg(k, "grad")->t, 2, N, sides * H, 0) && is(y, 2, N, sides * H, 0) &&
         is(arg(k, "grad_h")->t, 3, sides, h->size[1], H) &&
         (!lstm || is(arg(k, "grad_c")->t, 3, sides, h->size[1], H)) && mt_is_contiguous(y) &&
         is(g, 3, sides, lstm || gru ? N : 0, g->ndim == 3 ? g->size[2] : -1) &&
         is(cs, 3, sides, lstm ? N : 0, H) && mt_is_contiguous(g) && mt_is_contiguous(cs) &&
         ((!lstm && !gru) || g->size[2] == (gru ? 4 * H : (4 * H + wide - 1) / wide * wide));
  }
  if (!ok) mt_fail(k->c, "shapes, dtypes (float32) or batch sizes do not make a layer of '%s'",
                   mode);
  return ok;
}
static bool pairs(Look *k) { /* pdist: n (n - 1) / 2 of them */
  if (k->letter['p'] == k->letter['n'] * (k->letter['n'] - 1) / 2) return true;
  return refuse(k, "grad", 4, "must have an element a pair of rows");
}

/* Are these dimensions of t, each once? */
static bool once(IntList dim, int ndim) {
  uint64_t seen = 0;
  for (int64_t i = 0; i < dim.n; i++) {
    if (dim.v[i] < 0 || dim.v[i] >= ndim || seen >> dim.v[i] & 1) return false;
    seen |= (uint64_t)1 << dim.v[i];
  }
  return true;
}
static bool dims(Look *k) {
  const Tensor *t = arg(k, "self")->t;
  return once(arg(k, "dim")->il, t->ndim) ||
         refuse(k, "dim", 3, "must have dimensions of self, not negative, each once");
}
static bool spectrum(Look *k) { /* dim is not empty and of the tensor; sizes has it too */
  IntList d = arg(k, "dim")->il;
  const Tensor *t = k->a[0].t;
  const Val *sizes = arg(k, "sizes");
  bool ok = d.n >= 1 && once(d, t->ndim) && (!sizes || sizes->il.n == t->ndim);
  for (int i = 0; ok && i < t->ndim; i++)
    ok = t->size[i] >= 1 && (!sizes || (sizes->il.v[i] >= 1 && sizes->il.v[i] <= MOST));
  const Val *last = arg(k, "last");
  if (ok && last) ok = last->i >= 1 && last->i <= MOST;
  if (!ok) mt_fail(k->c, "dim, sizes or last do not fit shape %s",
                   mt_list_str(k->c, mt_sizes(t)));
  return ok;
}
static bool perm(Look *k) {
  IntList d = arg(k, "dims")->il;
  int n = arg(k, "grad")->t->ndim;
  bool ok = d.n == n && n < MT_MAXDIM;
  int64_t at[MT_MAXDIM];
  for (int i = 0; ok && i < n; i++) at[i] = d.v[i] < 0 ? d.v[i] + n : d.v[i];
  return (ok && once(mt_il(at, n), n)) || refuse(k, "dims", 4, "must name each dimension once");
}
static bool strided(Look *k) {
  IntList size = arg(k, "size")->il, stride = arg(k, "stride")->il;
  const Tensor *g = arg(k, "grad")->t, *like = arg(k, "like")->t;
  int64_t off = arg(k, "storage_offset")->i, reach = 0;
  bool ok = g->ndim == size.n && between(stride, g->ndim, 0) &&
            (off == MT_NONE_INT || (off >= 0 && off <= MOST));
  for (int i = 0; ok && i < g->ndim; i++)
    ok = g->size[i] == size.v[i] &&
         !__builtin_add_overflow(reach, (size.v[i] - 1) * stride.v[i], &reach) && reach <= MOST;
  for (int i = 0; ok && i < like->ndim; i++) ok = like->stride[i] >= 0;
  if (!ok) mt_fail(k->c, "grad, size, stride and storage_offset do not fit each other");
  return ok;
}
static bool unfold(Look *k) {
  IntList sizes = arg(k, "sizes")->il;
  const Tensor *g = arg(k, "grad")->t;
  int64_t d = arg(k, "dim")->i, size = arg(k, "size")->i, step = arg(k, "step")->i;
  bool ok = sizes.n >= 1 && sizes.n < MT_MAXDIM && between(sizes, (int)sizes.n, 0) && d >= 0 &&
            d < sizes.n && step >= 1 && step <= MOST && size >= 0 && size <= sizes.v[d] &&
            g->ndim == sizes.n + 1 && g->size[g->ndim - 1] == size;
  for (int i = 0; ok && i < sizes.n; i++)
    ok = g->size[i] == (i == d ? (sizes.v[d] - size) / step + 1 : sizes.v[i]);
  if (!ok) mt_fail(k->c, "grad is not of the shape of windows of %lld by %lld in sizes",
                   (long long)size, (long long)step);
  return ok;
}
static bool image(Look *k) { /* _col2im: as many blocks as the image has */
  const Tensor *x = arg(k, "self")->t;
  IntList size = arg(k, "size")->il, w = arg(k, "kernel_size")->il, s = arg(k, "stride")->il,
          p = arg(k, "padding")->il, d = arg(k, "dilation")->il;
  int64_t taps = 1, blocks = 1;
  bool ok = size.n >= 2 && between(size, (int)size.n, 0) && between(w, 2, 1) && between(s, 2, 1) &&
            between(p, 2, 0) && between(d, 2, 1) && x->ndim == 3 && x->dtype != MT_bool;
  for (int i = 0; ok && i < 2; i++) {
    int64_t out = windows(size.v[size.n - 2 + i], w.v[i], s.v[i], p.v[i], d.v[i]);
    ok = out >= 1 && !__builtin_mul_overflow(blocks, out, &blocks) &&
         !__builtin_mul_overflow(taps, w.v[i], &taps);
  }
  ok = ok && x->size[1] % taps == 0 && x->size[2] == blocks;
  if (!ok) mt_fail(k->c, "size and the blocks do not fit shape %s",
                   mt_list_str(k->c, mt_sizes(x)));
  return ok;
}

static bool histogram(Look *k) {
  const Tensor *x = arg(k, "self")->t, *w = arg(k, "weight")->t;
  TensorList edges = arg(k, "edges")->tl;
  int64_t how = arg(k, "how")->i;
  bool ok = (x->dtype == MT_float32 || x->dtype == MT_float64) && x->ndim == 2 && edges.n >= 1 &&
            edges.n < MT_MAXDIM && x->size[1] == edges.n && how >= 0 && how <= 2 &&
            (!w || w->numel == x->size[0]);
  for (int64_t i = 0; ok && i < edges.n; i++)
    ok = edges.v[i]->dtype == x->dtype && edges.v[i]->ndim == 1 && edges.v[i]->numel >= 2;
  if (!ok) mt_fail(k->c, "needs points of float32 or float64, a row each, a weight a point, two or "
                         "more edges a column, of the same dtype, and how in 0 to 2");
  return ok;
}

static const struct { const char *name; bool (*fn)(Look *k);
} more[] = {{"dims", dims},     {"spectrum", spectrum}, {"perm", perm}, {"strided", strided},
            {"unfold", unfold}, {"image", image},       {"conv", conv}, {"pool", pool},
            {"adaptive", adaptive}, {"planes", planes}, {"sdpa", sdpa}, {"rnn", rnn},
            {"pairs", pairs},   {"histogram", histogram}};

#define BAG "indices:k:i indices{0,n) ends:b:i ends/k"
#define BAG_OF "indices:k:i num_weights{0,} indices{0,num_weights) ends:b:i ends/k"
#define GROUPS "grad:n,g,c,l:f input:n,g,c,l:= weight:g*c:f mean:n*g:W rstd:n*g:W"
#define CHANNELS "input:n,c,l:f weight:c:f"
#define CTC "log_probs:t,n,c:f targets:n,s:i targets{0,c) input_lengths@n target_lengths@n " \
            "input_lengths{0,t} target_lengths{0,s} blank{0,c)"
static const char *const lines[][2] = {
    {"_sdpa", "?sdpa"},
    {"_sdpa_grads", "?sdpa"},
    {"_sdpa_backward", "?sdpa"},
    {"_conv", "?conv"},
    {"_conv_input", "?conv"},
    {"_conv_weight", "?conv"},
    {"_cdist", "x1:b,m,d:f x2:b,n,d:="},
    {"_cdist_backward", "grad:b,m,n:f x1:b,m,d:f x2:b,n,d:f result:b,m,n:f"},
    {"_pdist", "self:n,d:f"},
    {"_pdist_backward", "grad:p:f self:n,d:f result:p:f ?pairs"},
    {"embedding_rows", "weight:n,w indices:-:i indices{0,n)"},
    {"embedding_backward", "grad:@indices,w:c indices:-:i num_weights{0,} indices{0,num_weights)"},
    {"_embedding_bag", "weight:n,w:f per_sample_weights:k:= " BAG},
    {"_embedding_bag_max", "weight:n,w:f " BAG},
    {"_embedding_bag_weights", "weight:n,w:f grad:b,w:f " BAG},
    {"_embedding_bag_backward", "grad:b,w:f per_sample_weights:k:f " BAG_OF},
    {"_embedding_bag_max_backward",
     "grad:b,w:f rows:b,w:i num_weights{0,1099511627776} rows{-1,num_weights)"},
    {"_grid_sample", "input:n,c,h,w:f grid:n,a,b,2:= mode{0,2} padding{0,2} h{1,} w{1,} || "
                     "input:n,c,d,h,w:f grid:n,a,b,e,3:= mode{0,1} padding{0,2} d{1,} h{1,} w{1,}"},
    {"_grid_sample_backward",
     "grad:n,c,a,b:f input:n,c,h,w:= grid:n,a,b,2:= mode{0,2} padding{0,2} h{1,} w{1,} || "
     "grad:n,c,a,b,e:f input:n,c,d,h,w:= grid:n,a,b,e,3:= mode{0,1} padding{0,2} d{1,} h{1,} "
     "w{1,}"},
    {"_eigh_backward", "V:#,n,n:c gV:#,n,n:c L:#,n:c gL:#,n:c"},
    {"_svd_backward",
     "U:#,m,a:c S:#,k:f Vh:#,b,n:c gU:#,m,a:c gS:#,k:f gVh:#,b,n:c a{k,} b{k,}"},
    {"_multilabel_margin", "self:r,n:f target:r,n:i target{-1,n)"},
    {"_ctc_loss", CTC},
    {"_ctc_loss_backward", CTC " grad:n:f loss:n:f alpha:n,t,2s+1:d"},
    {"mvdigamma", "p{1,100000}"},
    {"_linear", "input:m,k:c weight:n,k:= bias:n:="},
    {"_layer_norm", "input:m,n:f weight:n:f bias:n:f"},
    {"_layer_norm_backward", "grad:m,n:f input:m,n:= weight:n:f mean:m:f rstd:m:f"},
    {"_norm_rows_backward", "grad:m,n:f input:m,n:= weight:n:f mean:m:f rstd:m:f"},
    {"_rms_norm", "input:m,n:f weight:n:f"},
    {"_rms_norm_backward", "grad:m,n:f input:m,n:= weight:n:f rstd:m:f"},
    {"_group_norm", "input:n,g,c,l:f weight:g*c:f bias:g*c:f"},
    {"_group_norm_backward", GROUPS},
    {"_norm_groups_backward", GROUPS},
    {"_batch_norm", CHANNELS " bias:c:f"},
    {"_fixed_norm", CHANNELS " bias:c:f mean:c:f var:c:f"},
    {"_batch_norm_backward", CHANNELS " grad:n,c,l:= mean:c:W var:c:W"},
    {"_norm_channels_backward", CHANNELS " grad:n,c,l:= mean:c:W var:c:W"},
    {"_fixed_norm_backward", CHANNELS " grad:n,c,l:= mean:c:f var:c:f"},
    {"_max_pool", "?pool"},
    {"_max_pool_values", "?pool"},
    {"_adaptive_max_pool", "?adaptive"},
    {"_fractional_max_pool", "?adaptive"},
    {"_scatter_planes", "?planes"},
    {"_gather_planes", "?planes"},
    {"_fft_c2c", "?spectrum"},
    {"_fft_r2c", "?spectrum"},
    {"_fft_c2r", "?spectrum"},
    {"_fft_r2c_backward", "?spectrum"},
    {"_fft_c2r_backward", "?spectrum"},
    {"_resample", "!"},
    {"_resample_backward", "!"},
    {"_vnorm", "self:-:c ?dims"},
    {"_vnorm_backward", "self:-:c ?dims"},
    {"_pinv", "A:#,m,n:c"},
    {"_lstsq", "A:#,m,n:l B:#,m,r:="},
    {"_lstsq_backward", "A:#,m,n:l B:#,m,r:= grad:#,n,r:="},
    {"_householder", "A:#,m,n:l tau:#,k:= n{0,m} k{0,n}"},
    {"_apply_reflectors", "left{1,1} A:#,m,n:l C:#,m,r:= tau:#,k:= k{0,n} k{0,m} || "
                          "left{0,0} A:#,m,n:l C:#,r,m:= tau:#,k:= k{0,n} k{0,m}"},
    {"_ldl_solve", "LD:#,n,n:l B:#,n,r:= pivots:#,n"},
    {"_histogramdd", "?histogram"},
    {"_pivots_to_permutation", "m{0,65536}"},
    {"permute_backward", "?perm"},
    {"as_strided_backward", "?strided"},
    {"unfold_backward", "?unfold"},
    {"masked_scatter_backward", "sizes{0,1048576}"},
    {"_im2col", "self:n,c,h,w kernel_size@2 dilation@2 padding@2 stride@2 kernel_size{1,65536} "
                "dilation{1,65536} padding{0,65536} stride{1,65536}"},
    {"_col2im", "?image"},
    {"_rnn_layer", "?rnn"},
    {"_rnn_backward", "?rnn"},
};

static bool word_fits(Look *k, const char *w) {
  size_t n = strcspn(w, ":@{/ ");
  if (*w == '!') {
    mt_fail(k->c, "is a part of other ops and cannot be called by itself");
    return false;
  }
  if (*w == '?') {
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
      if (!strncmp(w + 1, more[i].name, strlen(more[i].name))) return more[i].fn(k);
    return false;
  }
  if (w[n] == ':') return tensor_fits(k, w, n);
  if (w[n] == '{') return range_fits(k, w, n);
  if (w[n] == '/') return ends_fit(k, w, n);
  int i = find(k, w, n);
  return k->a[i].il.n == value(k, w + n + 1, strcspn(w + n + 1, " ")) ||
         refuse(k, w, n, "has another length than the others ask for");
}

static bool fits(Ctx *c, const OpRow *op, const Val *a) {
  const char *line = NULL;
  for (size_t i = 0; !line && i < sizeof lines / sizeof *lines; i++)
    if (!strcmp(lines[i][0], op->name)) line = lines[i][1];
  while (line) {
    Look k = {.c = c, .op = op, .a = a, .nlead = -1};
    const char *next = strstr(line, "|| ");
    bool ok = true;
    for (const char *w = line; ok && *w && *w != '|';) {
      ok = word_fits(&k, w);
      w += strcspn(w, " ");
      w += *w == ' ';
    }
    if (ok) return true;
    if (!next) return false;
    mt_clear(c);
    line = next + 3;
  }
  return true;
}

bool mt_hidden_args(Ctx *c, const OpRow *op, const Val *a) {
  const OpRow *outer = c->op;
  c->op = op;                                /* messages begin with its name */
  bool ok = fits(c, op, a);
  c->op = outer;
  return ok && !mt_bad(c);
}
