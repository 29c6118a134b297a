/* resample_map.c: which inputs make an output, and with what weights (see resample.h).
 *
 * Positions and weights are computed in the element's own precision, as PyTorch does: in float the
 * source position of a large output differs from the exact one, and a nearest neighbour with it (so
 * does its rounding: one fma). */
#include "resample.h"
#include <math.h>
#include <string.h>

typedef struct { Map *m; int64_t cap, n; } Fill;

static bool map_alloc(Ctx *c, Map *m, int64_t in, int64_t out, int64_t entries) {
  if (in > INT32_MAX || out > INT32_MAX || entries > INT32_MAX) {
    mt_fail(c, "a dimension is too large to resample: %lld to %lld", (long long)in, (long long)out);
    return false;
  }
  m->in = in;
  m->out = out;
  m->by = NULL;
  m->first = mt_tmp(c, sizeof(int32_t) * (size_t)(out + 1));
  m->idx = mt_tmp(c, sizeof(int32_t) * (size_t)(entries + 1));
  m->w = mt_tmp(c, sizeof(double) * (size_t)(entries + 1));
  if (!c->err) m->first[0] = 0;
  return !c->err;
}
static void put(Map *m, int64_t *e, int64_t i, double w) {
  m->idx[*e] = (int32_t)i;
  m->w[(*e)++] = w;
}
static int64_t clamp(int64_t v, int64_t lo, int64_t hi) { return v < lo ? lo : v > hi ? hi : v; }

/* ---- means ---- */
/* A run of inputs for each output, divided by its length or another count. */
static bool runs(Ctx *c, Map *m, int64_t in, int64_t out, const int64_t *from, const int64_t *to,
                 const double *by) {
  int64_t total = 0, e = 0;
  for (int64_t o = 0; o < out; o++) {
    total += to[o] > from[o] ? to[o] - from[o] : 0;
    if (total > INT32_MAX) break;
  }
  if (!map_alloc(c, m, in, out, total)) return false;
  m->by = mt_tmp(c, sizeof(double) * (size_t)(out + 1));
  if (!m->by) return false;
  for (int64_t o = 0; o < out; o++) {
    for (int64_t i = from[o]; i < to[o]; i++) put(m, &e, i, 1);
    m->first[o + 1] = (int32_t)e;
    m->by[o] = by[o];
  }
  return true;
}
static bool mean_map(Ctx *c, Map *m, int64_t in, int64_t out, int i, int n, IntList args) {
  int64_t k = args.v[i], s = args.v[n + i], p = args.v[2 * n + i], divisor = args.v[3 * n + 1];
  int64_t *from = mt_tmp(c, sizeof(int64_t) * 2 * (size_t)(out + 1)), *to = from + out;
  double *by = mt_tmp(c, sizeof(double) * (size_t)(out + 1));
  if (!from || !by) return false;
  for (int64_t o = 0; o < out; o++) {
    int64_t a = o * s - p, b = a + k < in + p ? a + k : in + p, all = b - a;
    from[o] = a < 0 ? 0 : a;
    to[o] = b > in ? in : b;
    by[o] = divisor         ? i == 0 ? (double)divisor : 1
            : args.v[3 * n] ? (double)all
                            : (double)(to[o] - from[o]);
    if (by[o] == 0) by[o] = 1;
  }
  return runs(c, m, in, out, from, to, by);
}
static bool adaptive_map(Ctx *c, Map *m, int64_t in, int64_t out) {
  int64_t *from = mt_tmp(c, sizeof(int64_t) * 2 * (size_t)(out + 1)), *to = from + out;
  double *by = mt_tmp(c, sizeof(double) * (size_t)(out + 1));
  if (!from || !by) return false;
  for (int64_t o = 0; o < out; o++) {
    from[o] = (int64_t)((__int128)o * in / out);
    to[o] = (int64_t)(((__int128)(o + 1) * in + out - 1) / out);
    by[o] = (double)(to[o] - from[o]);
  }
  return runs(c, m, in, out, from, to, by);
}

/* ---- padding ---- */
int64_t mt_pad_source(const char *mode, int64_t i, int64_t n, int64_t a, int64_t b) {
  int64_t k = i - a;
  if (*mode == 'c') {                          /* what is left after cropping repeats */
    int64_t lo = a < 0 ? -a : 0, len = n - lo - (b < 0 ? -b : 0);
    return len > 0 ? lo + ((k - lo) % len + len) % len : 0;
  }
  if (!strcmp(mode, "reflect")) k = k < 0 ? -k : k >= n ? 2 * n - 2 - k : k;
  return clamp(k, 0, n - 1);
}
static bool pad_map(Ctx *c, Map *m, const char *mode, int64_t in, int64_t out, int64_t a,
                    int64_t b) {
  int64_t e = 0;
  if (!map_alloc(c, m, in, out, out)) return false;
  while (e < out) {
    put(m, &e, mt_pad_source(mode, e, in, a, b), 1);
    m->first[e] = (int32_t)e;
  }
  return true;
}

/* ---- interpolation, in float or double ---- */
static double conv_near(double x, double a) { return ((a + 2) * x - (a + 3)) * x * x + 1; }
static double conv_far(double x, double a) { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a; }

#define INTERPOLATION(T, S, FLOOR, CEIL, FMA)                                                    \
  static T scale_##S(int64_t in, int64_t out, bool align, double scale) {                        \
    if (align) return out > 1 ? (T)(in - 1) / (T)(out - 1) : 0;                                  \
    return scale > 0 ? (T)(1.0 / scale) : (T)in / (T)out;                                        \
  }                                                                                              \
  static T source_##S(T scale, int64_t o, bool align) {                                          \
    return align ? scale * (T)o : FMA(scale, (T)o + (T)0.5, (T) - 0.5);                          \
  }                                                                                              \
  static void nearest_##S(Map *m, bool exact, T scale) {                                         \
    int64_t e = 0;                                                                               \
    for (int64_t o = 0; o < m->out; o++) {                                                       \
      int64_t i =                                                                                \
          (int64_t)floorf((float)(exact ? source_##S(scale, o, false) + (T)0.5 : scale * (T)o)); \
      put(m, &e, clamp(i, 0, m->in - 1), 1);                                                     \
      m->first[o + 1] = (int32_t)e;                                                              \
    }                                                                                            \
  }                                                                                              \
  static void linear_##S(Map *m, bool align, T scale) {                                          \
    int64_t e = 0;                                                                               \
    for (int64_t o = 0; o < m->out; o++) {                                                       \
      T x = source_##S(scale, o, align), f;                                                      \
      if (x < 0) x = 0;                                                                          \
      int64_t i = clamp((int64_t)x, 0, m->in - 1);                                               \
      f = x - (T)i < 0 ? 0 : x - (T)i > 1 ? 1 : x - (T)i;                                        \
      put(m, &e, i, (T)1 - f);                                                                   \
      put(m, &e, clamp(i + 1, 0, m->in - 1), f);                                                 \
      m->first[o + 1] = (int32_t)e;                                                              \
    }                                                                                            \
  }                                                                                              \
  static void cubic_##S(Map *m, bool align, T scale) {                                           \
    int64_t e = 0;                                                                               \
    const double a = -0.75;                                                                      \
    for (int64_t o = 0; o < m->out; o++) {                                                       \
      T x = source_##S(scale, o, align), f;                                                      \
      T low = FLOOR(x) < (T)m->in - 1 ? FLOOR(x) : (T)(m->in - 1);                               \
      int64_t i = (int64_t)low;                                                                  \
      f = x - low < 0 ? 0 : x - low > 1 ? 1 : x - low;                                           \
      const double w[4] = {conv_far(f + 1.0, a), conv_near(f, a), conv_near(1.0 - f, a),         \
                           conv_far(2.0 - f, a)};                                                \
      for (int j = 0; j < 4; j++) put(m, &e, clamp(i - 1 + j, 0, m->in - 1), (T)w[j]);           \
      m->first[o + 1] = (int32_t)e;                                                              \
    }                                                                                            \
  }                                                                                              \
  /* A filter widened by the scale: half its width in inputs, and the range for output o. */     \
  static T support_##S(T scale, int size) {                                                      \
    return scale >= 1 ? (T)(size * 0.5) * scale : (T)(size * 0.5);                               \
  }                                                                                              \
  static void range_##S(int64_t in, T center, T support, int64_t *from, int64_t *n) {            \
    int64_t a = (int64_t)(center - support + (T)0.5), b = (int64_t)(center + support + (T)0.5);  \
    int64_t most = (int64_t)CEIL(support) * 2 + 1;                                               \
    *from = a < 0 ? 0 : a;                                                                       \
    *n = clamp((b < in ? b : in) - *from, 0, most);                                              \
  }                                                                                              \
  static T smooth_##S(Map *m, int size, T scale) {                                               \
    int64_t e = 0, from, n;                                                                      \
    T support = support_##S(scale, size), inv = scale >= 1 ? 1 / scale : 1, total = 0;           \
    for (int64_t o = 0; o < m->out; o++) {                                                       \
      T center = scale * ((T)o + (T)0.5);                                                        \
      int64_t start = e;                                                                         \
      range_##S(m->in, center, support, &from, &n);                                              \
      total = 0;                                                                                 \
      for (int64_t j = 0; j < n; j++) {                                                          \
        double x = fabs((double)(((T)(j + from) - center + (T)0.5) * inv)), w;                   \
        if (size == 2) w = x < 1 ? 1 - x : 0;                                                    \
        else w = x < 1 ? conv_near(x, -0.5) : x < 2 ? conv_far(x, -0.5) : 0;                     \
        put(m, &e, from + j, (T)w);                                                              \
        total += (T)w;                                                                           \
      }                                                                                          \
      for (int64_t j = start; total != 0 && j < e; j++) m->w[j] = (T)((T)m->w[j] / total);       \
      m->first[o + 1] = (int32_t)e;                                                              \
    }                                                                                            \
    return total;                                                                                \
  }                                                                                              \
  static int64_t smooth_count_##S(int64_t in, int64_t out, int size, T scale) {                  \
    int64_t total = 0, from, n;                                                                  \
    for (int64_t o = 0; o < out && total <= INT32_MAX; o++) {                                    \
      range_##S(in, scale * ((T)o + (T)0.5), support_##S(scale, size), &from, &n);               \
      total += n;                                                                                \
    }                                                                                            \
    return total;                                                                                \
  }
INTERPOLATION(float, f32, floorf, ceilf, fmaf)
INTERPOLATION(double, f64, floor, ceil, fma)

static bool interpolation(Ctx *c, Map *m, const char *kind, int64_t in, int64_t out, bool align,
                          double scale, bool wide) {
  bool smooth = !strncmp(kind, "aa_", 3), near = !strncmp(kind, "nearest", 7);
  int size = strstr(kind, "cubic") ? 4 : 2;
  double s = wide ? scale_f64(in, out, align, scale) : (double)scale_f32(in, out, align, scale);
  int64_t entries = near ? out : out * size;
  if (smooth)
    entries = wide ? smooth_count_f64(in, out, size, s) : smooth_count_f32(in, out, size, (float)s);
  if (!map_alloc(c, m, in, out, entries)) return false;
  if (in == out && (smooth || (!near && size == 2))) { /* the same, whatever the scale says */
    for (int64_t o = 0; o < out; o++) {
      m->idx[o] = (int32_t)o;
      m->w[o] = 1;
      m->first[o + 1] = (int32_t)(o + 1);
    }
    return true;
  }
  if (wide) {
    if (near) nearest_f64(m, kind[7] != 0, s);
    else if (smooth) smooth_f64(m, size, s);
    else if (size == 2) linear_f64(m, align, s);
    else cubic_f64(m, align, s);
  } else {
    if (near) nearest_f32(m, kind[7] != 0, (float)s);
    else if (smooth) smooth_f32(m, size, (float)s);
    else if (size == 2) linear_f32(m, align, (float)s);
    else cubic_f32(m, align, (float)s);
  }
  return true;
}

bool mt_resample_map(Ctx *c, Map *m, const char *kind, int64_t in, int64_t out, int i, int n,
                     IntList args, ScalarList scales, bool wide) {
  if (in < 1) { mt_fail(c, "the input is empty"); return false; }
  if (!strcmp(kind, "mean")) return mean_map(c, m, in, out, i, n, args);
  if (!strcmp(kind, "adaptive")) return adaptive_map(c, m, in, out);
  if (!strncmp(kind, "re", 2) || !strcmp(kind, "circular"))
    return pad_map(c, m, kind, in, out, args.v[i], args.v[n + i]);
  double scale = i < scales.n ? mt_sre(scales.v[i]) : 0;
  return interpolation(c, m, kind, in, out, args.n > 0 && args.v[0], scale, wide);
}

bool mt_resample_turn(Ctx *c, const Map *m, Map *t) {
  int64_t total = m->first[m->out];
  if (!map_alloc(c, t, m->out, m->in, total)) return false;
  int32_t *at = t->first;
  memset(at, 0, sizeof(int32_t) * (size_t)(t->out + 1));
  for (int64_t e = 0; e < total; e++) at[m->idx[e] + 1]++;
  for (int64_t i = 0; i < t->out; i++) at[i + 1] += at[i];
  for (int64_t o = 0; o < m->out; o++)
    for (int64_t e = m->first[o]; e < m->first[o + 1]; e++) {
      int32_t slot = at[m->idx[e]]++;
      t->idx[slot] = (int32_t)o;
      t->w[slot] = m->w[e];
    }
  for (int64_t i = t->out; i > 0; i--) at[i] = at[i - 1]; /* every start had moved to its end */
  at[0] = 0;
  t->by = m->by;
  return true;
}
