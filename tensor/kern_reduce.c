/* kern_reduce.c: the folds of reduce.h, in lanes that vectorise; one copy per CPU level.
 *
 * A row goes through LANES parallel accumulators, CHUNK elements at a time, and then on in the wide
 * accumulator; columns through an accumulator each, COLROWS rows at a time.  Both widths are the
 * same at every CPU level, so that levels agree wherever rounding is theirs. */
#include "kern.h"
#include "kern_exp.h"
#include "reduce.h"

enum { LANES = 32, CHUNK = 1024, COLROWS = 64, COLS = MT_RED_COLS, THIN = 8 };
#define EACH(l) for (int l = 0; l < LANES; l++)
/* Lanes l and m meet, pair by pair, as vectors while there are enough. */
#define MEET(w, ...) for (int l = 0; l < w; l++) { const int m = l + w; __VA_ARGS__ }
#define MEETV(w, ...) _Pragma("GCC unroll 1") MEET(w, __VA_ARGS__)
#define HALVE(...)                                                                           \
  MEETV(16, __VA_ARGS__) MEETV(8, __VA_ARGS__) MEETV(4, __VA_ARGS__) MEET(2, __VA_ARGS__)    \
  MEET(1, __VA_ARGS__)
#define LEAST(a, b) ((a) < (b) ? (a) : (b))

/* How LANES elements come from memory, or the last `left` of them: as they are, or float16
 * converted at once. */
#define PLAIN(X, q, p, left) const X *q = (p);
#define HALVES(X, q, p, left)                                                                \
  float q[LANES];                                                                            \
  if (left == LANES) mt_halves_to_floats(LANES, p, q);                                       \
  else for (int k_ = 0; k_ < left; k_++) q[k_] = mt_half_to_float((p)[k_]);

/* The same for n elements of a row, the k-th of eight; FETCH_SPACE makes room for them. */
#define PLAIN_ROW(X, q, p, k) const X *q = (p);
#define PLAIN_SPACE
#define HALVES_ROW(X, q, p, k)                                                               \
  const float *q = row_ + k * COLS;                                                          \
  mt_halves_to_floats(n, p, row_ + k * COLS);
#define HALVES_SPACE float row_[8 * COLS];

#define ID(x) (x)
#define BF(x) mt_bf16_to_float(x)
#define HF(x) mt_half_to_float(x)
#define DBL(x) ((double)(x))
#define ABSF(x) __builtin_fabsf(x)
#define ABSD(x) __builtin_fabs(x)
#define ABSFD(x) ((double)__builtin_fabsf(x))

#define ADD(a, b) ((a) + (b))
#define UADD(a, b) ((int64_t)((uint64_t)(a) + (uint64_t)(b)))
#define MUL(a, b) ((a) * (b))
#define UMUL(a, b) ((int64_t)((uint64_t)(a) * (uint64_t)(b)))
#define FMAX_(a, b) ((b) > (a) || (b) != (b) ? (b) : (a))
#define FMIN_(a, b) ((b) < (a) || (b) != (b) ? (b) : (a))
/* The square of a float is exact in double, fused or not; that of a double is rounded always. */
#define ADDSQF(a, b) MT_FMA(b, b, a)
#define ADDSQ(a, b) ((a) + (b) * (b))
#define ADDCUBE(a, b) ((a) + (b) * (b) * (b))
#define ADDNUM(a, b) ((a) + ((b) == (b) ? (b) : 0))
#define COUNTNUM(a, b) ((a) + ((b) == (b)))
#define ORNZ(a, b) ((a) | ((b) != 0))
#define ANDNZ(a, b) ((a) & ((b) != 0))
#define COUNTNZ(a, b) ((a) + ((b) != 0))
/* Floats answer any/all in their own type as 0 or 1. */
#define FOR(a, b) ((b) != 0 ? 1 : (a))
#define FAND(a, b) ((b) != 0 ? (a) : 0)
#define OR2(a, b) ((a) != 0 || (b) != 0)
#define AND2(a, b) ((a) != 0 && (b) != 0)

/* ---- shared by all folds: rows, columns and the meeting of partial results ----
 * X: type in memory, A: of a lane, FIELD of RAcc; LOAD of what FETCH gave. */
#define SHELL(name, X, A, FIELD, FETCH, LOAD, LANE0, STEP, WIDE)                             \
  static void rows_##name(const void *x_, int64_t rows, int64_t rs, int64_t n, RAcc acc) {  \
    const X *x = x_;                                                                         \
    for (int64_t r = 0; r < rows; r++, x += rs)                                              \
      if (n <= THIN) {                                                                       \
        A v = thin_##name(x, n);                                                             \
        acc.d[r].FIELD = WIDE(acc.d[r].FIELD, v);                                                \
      } else                                                                                 \
        for (int64_t k = 0; k < n; k += CHUNK) {                                             \
          A v = lanes_##name(x + k, LEAST(CHUNK, n - k));                                    \
          acc.d[r].FIELD = WIDE(acc.d[r].FIELD, v);                                              \
        }                                                                                    \
  }                                                                                          \
  static void col_##name(const void *x_, int64_t n, int64_t rows, int64_t rs, RAcc acc) {    \
    A part[COLS];                                                                            \
    FETCH##_SPACE                                                                            \
    for (int64_t r0 = 0; r0 < rows; r0 += COLROWS) {                                         \
      int64_t r = r0, r1 = LEAST(rows, r0 + COLROWS);                                        \
      for (int64_t j = 0; j < n; j++) part[j] = LANE0;                                       \
      for (; r + 8 <= r1; r += 8) {                                                          \
        const X *x = (const X *)x_ + r * rs;                                                 \
        FETCH##_ROW(X, a0, x, 0)                                                             \
        FETCH##_ROW(X, a1, x + rs, 1)                                                        \
        FETCH##_ROW(X, a2, x + 2 * rs, 2)                                                    \
        FETCH##_ROW(X, a3, x + 3 * rs, 3)                                                    \
        FETCH##_ROW(X, a4, x + 4 * rs, 4)                                                    \
        FETCH##_ROW(X, a5, x + 5 * rs, 5)                                                    \
        FETCH##_ROW(X, a6, x + 6 * rs, 6)                                                    \
        FETCH##_ROW(X, a7, x + 7 * rs, 7)                                                    \
        VEC for (int64_t j = 0; j < n; j++) {                                                \
          A v = part[j], e = LOAD(a0[j]), f = LOAD(a1[j]), g = LOAD(a2[j]), h = LOAD(a3[j]); \
          v = STEP(v, e);                                                                    \
          v = STEP(v, f);                                                                    \
          v = STEP(v, g);                                                                    \
          v = STEP(v, h);                                                                    \
          e = LOAD(a4[j]);                                                                   \
          f = LOAD(a5[j]);                                                                   \
          g = LOAD(a6[j]);                                                                   \
          h = LOAD(a7[j]);                                                                   \
          v = STEP(v, e);                                                                    \
          v = STEP(v, f);                                                                    \
          v = STEP(v, g);                                                                    \
          part[j] = STEP(v, h);                                                              \
        }                                                                                    \
      }                                                                                      \
      for (; r < r1; r++) {                                                                  \
        const X *x = (const X *)x_ + r * rs;                                                 \
        FETCH##_ROW(X, a, x, 0)                                                              \
        VEC for (int64_t j = 0; j < n; j++) { A e = LOAD(a[j]); part[j] = STEP(part[j], e); } \
      }                                                                                      \
      for (int64_t j = 0; j < n; j++) { A v = part[j]; acc.d[j].FIELD = WIDE(acc.d[j].FIELD, v); } \
    }                                                                                        \
  }                                                                                          \
  static void join_##name(RAcc a, int64_t as, RAcc b, int64_t n) {                   \
    for (int64_t i = 0; i < n; i++) a.d[i * as].FIELD = WIDE(a.d[i * as].FIELD, b.d[i].FIELD);     \
  }

#define FOLD(name, X, A, FIELD, FETCH, LOAD, LOAD1, LANE0, STEP, JOIN, WIDE)                 \
  static inline A thin_##name(const X *x, int64_t n) {                                       \
    A v = LANE0;                                                                             \
    for (int64_t k = 0; k < n; k++) { A e = LOAD1(x[k]); v = STEP(v, e); }                   \
    return v;                                                                                \
  }                                                                                          \
  static inline A lanes_##name(const X *x, int64_t n) {                                      \
    A v[LANES];                                                                              \
    EACH(l) v[l] = LANE0;                                                                    \
    for (; n >= LANES; n -= LANES, x += LANES) {                                             \
      FETCH(X, q, x, LANES)                                                                  \
      EACH(l) { A e = LOAD(q[l]); v[l] = STEP(v[l], e); }                                    \
    }                                                                                        \
    if (n) {                                                                                 \
      int left = (int)n;                                                                     \
      FETCH(X, q, x, left)                                                                   \
      EACH(l) {                                                                              \
        A e = 0;                                                                             \
        if (l < left) e = LOAD(q[l]);                                                        \
        v[l] = l < left ? STEP(v[l], e) : v[l];                                              \
      }                                                                                      \
    }                                                                                        \
    HALVE(v[l] = JOIN(v[l], v[m]);)                                                          \
    return v[0];                                                                             \
  }                                                                                          \
  SHELL(name, X, A, FIELD, FETCH, LOAD, LANE0, STEP, WIDE)

/* Largest and least.  Comparisons pass over nan, which is looked for beside them: bad lanes, of
 * integers B as wide as the lanes. */
#define EXTREME(name, X, A, B, FIELD, FETCH, LOAD, LOAD1, WORST, OP, STEP, NONE)             \
  static inline A thin_##name(const X *x, int64_t n) {                                       \
    A v = WORST;                                                                             \
    int bad = 0;                                                                             \
    for (int64_t k = 0; k < n; k++) { A e = LOAD1(x[k]); v = e OP v ? e : v; bad |= e != e; } \
    return bad ? NONE : v;                                                                   \
  }                                                                                          \
  static inline A lanes_##name(const X *x, int64_t n) {                                      \
    A v[LANES];                                                                              \
    B bad[LANES];                                                                            \
    EACH(l) { v[l] = WORST; bad[l] = 0; }                                                    \
    for (; n >= LANES; n -= LANES, x += LANES) {                                             \
      FETCH(X, q, x, LANES)                                                                  \
      EACH(l) { A e = LOAD(q[l]); v[l] = e OP v[l] ? e : v[l]; bad[l] |= e != e; }           \
    }                                                                                        \
    if (n) {                                                                                 \
      int left = (int)n;                                                                     \
      FETCH(X, q, x, left)                                                                   \
      EACH(l) {                                                                              \
        A e = WORST;                                                                         \
        if (l < left) e = LOAD(q[l]);                                                        \
        v[l] = e OP v[l] ? e : v[l];                                                         \
        bad[l] |= e != e;                                                                    \
      }                                                                                      \
    }                                                                                        \
    HALVE(v[l] = v[m] OP v[l] ? v[m] : v[l]; bad[l] |= bad[m];)                              \
    return bad[0] ? NONE : v[0];                                                             \
  }                                                                                          \
  SHELL(name, X, A, FIELD, FETCH, LOAD, WORST, STEP, STEP)

#define EXTREMES(c, X, A, B, FETCH, LOAD, LOAD1)                                             \
  EXTREME(max_##c, X, A, B, d, FETCH, LOAD, LOAD1, -INFINITY, >, FMAX_, NAN)                 \
  EXTREME(min_##c, X, A, B, d, FETCH, LOAD, LOAD1, INFINITY, <, FMIN_, NAN)
/* F: fabs, WF: the same widened, SQ: the step of squares */
#define REAL(c, T, B, F, WF, SQ)                                                             \
  FOLD(sum_##c, T, T, d, PLAIN, ID, ID, 0, ADD, ADD, ADD)                                    \
  FOLD(prod_##c, T, T, d, PLAIN, ID, ID, 1, MUL, MUL, MUL)                                   \
  FOLD(any_##c, T, T, d, PLAIN, ID, ID, 0, FOR, OR2, OR2)                                    \
  FOLD(all_##c, T, T, d, PLAIN, ID, ID, 1, FAND, AND2, AND2)                                 \
  FOLD(nnz_##c, T, T, d, PLAIN, ID, ID, 0, COUNTNZ, ADD, ADD)                                \
  FOLD(sumnum_##c, T, T, d, PLAIN, ID, ID, 0, ADDNUM, ADD, ADD)                              \
  FOLD(nums_##c, T, T, d, PLAIN, ID, ID, 0, COUNTNUM, ADD, ADD)                              \
  FOLD(sumsq_##c, T, double, d, PLAIN, DBL, DBL, 0, SQ, ADD, ADD)                            \
  FOLD(sumabs_##c, T, double, d, PLAIN, WF, WF, 0, ADD, ADD, ADD)                            \
  FOLD(sumcube_##c, T, double, d, PLAIN, WF, WF, 0, ADDCUBE, ADD, ADD)                       \
  EXTREMES(c, T, T, B, PLAIN, ID, ID)                                                        \
  EXTREME(absmax_##c, T, T, B, d, PLAIN, F, F, 0, >, FMAX_, NAN)                             \
  EXTREME(absmin_##c, T, T, B, d, PLAIN, F, F, INFINITY, <, FMIN_, NAN)
REAL(f32, float, int32_t, ABSF, ABSFD, ADDSQF)
REAL(f64, double, int64_t, ABSD, ABSD, ADDSQ)
#define HALF(c, FETCH, LOAD, LOAD1)                                                          \
  FOLD(sum_##c, uint16_t, float, d, FETCH, LOAD, LOAD1, 0, ADD, ADD, ADD)                    \
  FOLD(sumsq_##c, uint16_t, double, d, FETCH, LOAD, LOAD1, 0, ADDSQF, ADD, ADD)              \
  EXTREMES(c, uint16_t, float, int32_t, FETCH, LOAD, LOAD1)
HALF(bf16, PLAIN, BF, BF)
HALF(f16, HALVES, ID, HF)

FOLD(sum_i64, int64_t, int64_t, i, PLAIN, ID, ID, 0, UADD, UADD, UADD)
FOLD(prod_i64, int64_t, int64_t, i, PLAIN, ID, ID, 1, UMUL, UMUL, UMUL)
EXTREME(max_i64, int64_t, int64_t, int64_t, i, PLAIN, ID, ID, INT64_MIN, >, FMAX_, 0)
EXTREME(min_i64, int64_t, int64_t, int64_t, i, PLAIN, ID, ID, INT64_MAX, <, FMIN_, 0)
FOLD(any_i64, int64_t, int64_t, i, PLAIN, ID, ID, 0, ORNZ, OR2, OR2)
FOLD(all_i64, int64_t, int64_t, i, PLAIN, ID, ID, 1, ANDNZ, AND2, AND2)
FOLD(nnz_i64, int64_t, int64_t, i, PLAIN, ID, ID, 0, COUNTNZ, ADD, ADD)

/* ---- variances: n elements of mean d, squared deviations e, merged pair by pair ---- */

static inline void var_add(RAcc a, int64_t i, double n, double mean, double e) {
  if (!n) return;
  double t = a.n[i].d + n, d = mean - a.d[i].d;
  if (a.n[i].d == 0) { a.d[i].d = mean; a.e[i].d = e; }
  else { a.d[i].d += d * (n / t); a.e[i].d += e + d * d * (a.n[i].d * (n / t)); }
  a.n[i].d = t;
}
static void join_var(RAcc a, int64_t as, RAcc b, int64_t n) {
  for (int64_t i = 0; i < n; i++) var_add(a, i * as, b.n[i].d, b.d[i].d, b.e[i].d);
}
#define VAR(c, T)                                                                            \
  static void chunk_var_##c(const T *x, int64_t n, RAcc acc, int64_t r) {                   \
    double v[LANES], mean = 0;                                                               \
    int64_t i = 0, whole = n - n % LANES;                                                    \
    EACH(l) v[l] = 0;                                                                        \
    for (; i < whole; i += LANES) EACH(l) v[l] += (double)x[i + l];                          \
    HALVE(v[l] += v[m];)                                                                     \
    for (mean = v[0]; i < n; i++) mean += (double)x[i];                                      \
    mean /= (double)n;                                                                       \
    EACH(l) v[l] = 0;                                                                        \
    for (i = 0; i < whole; i += LANES)                                                       \
      EACH(l) { double d = (double)x[i + l] - mean; v[l] = MT_FMA(d, d, v[l]); }             \
    HALVE(v[l] += v[m];)                                                                     \
    for (; i < n; i++) { double d = (double)x[i] - mean; v[0] += d * d; }                    \
    var_add(acc, r, (double)n, mean, v[0]);                                                     \
  }                                                                                          \
  static void rows_var_##c(const void *x_, int64_t rows, int64_t rs, int64_t n, RAcc acc) { \
    for (int64_t r = 0; r < rows; r++)                                                       \
      for (int64_t k = 0; k < n; k += CHUNK)                                                 \
        chunk_var_##c((const T *)x_ + r * rs + k, LEAST(CHUNK, n - k), acc, r);             \
  }                                                                                          \
  static void col_var_##c(const void *x_, int64_t n, int64_t rows, int64_t rs, RAcc acc) {  \
    double mean[COLS], dev[COLS];                                                            \
    for (int64_t r0 = 0; r0 < rows; r0 += COLROWS) {                                         \
      const T *x = (const T *)x_ + r0 * rs;                                                  \
      int64_t m = LEAST(COLROWS, rows - r0);                                                 \
      for (int64_t j = 0; j < n; j++) mean[j] = dev[j] = 0;                                  \
      for (int64_t r = 0; r < m; r++)                                                        \
        VEC for (int64_t j = 0; j < n; j++) mean[j] += (double)x[r * rs + j];                \
      for (int64_t j = 0; j < n; j++) mean[j] /= (double)m;                                  \
      for (int64_t r = 0; r < m; r++)                                                        \
        VEC for (int64_t j = 0; j < n; j++) {                                                \
          double d = (double)x[r * rs + j] - mean[j];                                        \
          dev[j] = MT_FMA(d, d, dev[j]);                                                     \
        }                                                                                    \
      for (int64_t j = 0; j < n; j++) var_add(acc, j, (double)m, mean[j], dev[j]);          \
    }                                                                                        \
  }
VAR(f32, float)
VAR(f64, double)

/* ---- sums of powers of e: e times e^d, d the largest so far (0 where it is infinite) ---- */

static void lse_add(RAcc a, int64_t i, double top, double sum) {
  if (isinf(top)) a.e[i].d += sum; /* 0 of all -inf, inf, or nan */
  else if (top <= a.d[i].d) a.e[i].d += sum * exp(top - a.d[i].d);
  else {
    a.e[i].d = (isfinite(a.e[i].d) ? a.e[i].d * exp(a.d[i].d - top) : a.e[i].d) + sum;
    a.d[i].d = top;
  }
}
static void join_lse(RAcc a, int64_t as, RAcc b, int64_t n) {
  for (int64_t i = 0; i < n; i++) lse_add(a, i * as, b.d[i].d, b.e[i].d);
}
#define LSE(c, T, EXP, LARGEST)                                                              \
  static T inf_or_nan_##c(int64_t n, const T *x, T top) {                                    \
    T s = top > 0 ? INFINITY : 0;                                                            \
    for (int64_t i = 0; i < n; i++) s = x[i] != x[i] ? NAN : s;                              \
    return s;                                                                                \
  }                                                                                          \
  static void rows_lse_##c(const void *x_, int64_t rows, int64_t rs, int64_t n, RAcc acc) { \
    T power[CHUNK];                                                                          \
    for (int64_t r = 0; r < rows; r++)                                                       \
      for (int64_t k = 0; k < n; k += CHUNK) {                                               \
        const T *x = (const T *)x_ + r * rs + k;                                             \
        int64_t m = LEAST(CHUNK, n - k);                                                     \
        T top = LARGEST(m, x, -INFINITY);                                                    \
        lse_add(acc, r, top, isinf(top) ? inf_or_nan_##c(m, x, top)                         \
                                         : mt_powers_##c(m, x, top, power, 0));              \
      }                                                                                      \
  }                                                                                          \
  static void col_lse_##c(const void *x_, int64_t n, int64_t rows, int64_t rs, RAcc acc) {  \
    T top[COLS], less[COLS], sum[COLS];                                                      \
    for (int64_t r0 = 0; r0 < rows; r0 += COLROWS) {                                         \
      const T *x = (const T *)x_ + r0 * rs;                                                  \
      int64_t m = LEAST(COLROWS, rows - r0);                                                 \
      for (int64_t j = 0; j < n; j++) { top[j] = -INFINITY; sum[j] = 0; }                    \
      for (int64_t r = 0; r < m; r++)                                                        \
        VEC for (int64_t j = 0; j < n; j++) {                                                \
          T e = x[r * rs + j];                                                               \
          top[j] = e > top[j] ? e : top[j];                                                  \
        }                                                                                    \
      for (int64_t j = 0; j < n; j++) less[j] = isinf(top[j]) ? 0 : top[j];                  \
      for (int64_t r = 0; r < m; r++)                                                        \
        VEC for (int64_t j = 0; j < n; j++) sum[j] += EXP(x[r * rs + j] - less[j]);          \
      for (int64_t j = 0; j < n; j++) lse_add(acc, j, top[j], sum[j]);                      \
    }                                                                                        \
  }
static inline double largest_f64(int64_t n, const double *x, double m) {
  double v[LANES];
  int64_t i = 0;
  EACH(l) v[l] = m;
  for (; i + LANES <= n; i += LANES) EACH(l) v[l] = x[i + l] > v[l] ? x[i + l] : v[l];
  EACH(l) m = v[l] > m ? v[l] : m;
  for (; i < n; i++) m = x[i] > m ? x[i] : m;
  return m;
}
LSE(f32, float, mt_expf, mt_largest_f32)
LSE(f64, double, mt_exp, largest_f64)

/* ---- sums of any power, which stands in v.n ---- */

static void join_sumpow(RAcc a, int64_t as, RAcc b, int64_t n) {
  for (int64_t i = 0; i < n; i++) a.d[i * as].d += b.d[i].d;
}
/* A float's logarithm in double is good enough for a float's power; a double needs pow itself. */
#define POWF(x, p) mt_exp2((p) * mt_log2((double)__builtin_fabsf(x)))
#define POWD(x, p) pow(__builtin_fabs(x), p)
#define SUMPOW(c, T, POW)                                                                    \
  static void rows_sumpow_##c(const void *x_, int64_t rows, int64_t rs, int64_t n,           \
                              RAcc acc) {                                                   \
    double part[CHUNK];                                                                      \
    for (int64_t r = 0; r < rows; r++)                                                       \
      for (int64_t k = 0; k < n; k += CHUNK) {                                               \
        const T *x = (const T *)x_ + r * rs + k;                                             \
        int64_t m = LEAST(CHUNK, n - k);                                                     \
        double p = acc.n[r].d;                                                               \
        VEC for (int64_t i = 0; i < m; i++) part[i] = POW(x[i], p);                          \
        acc.d[r].d += lanes_sum_f64(part, m);                                                \
      }                                                                                      \
  }                                                                                          \
  static void col_sumpow_##c(const void *x_, int64_t n, int64_t rows, int64_t rs,            \
                             RAcc acc) {                                                    \
    double part[COLS], p = acc.n[0].d;                                                       \
    for (int64_t j = 0; j < n; j++) part[j] = 0;                                             \
    for (int64_t r = 0; r < rows; r++) {                                                     \
      const T *x = (const T *)x_ + r * rs;                                                   \
      VEC for (int64_t j = 0; j < n; j++) part[j] += POW(x[j], p);                           \
    }                                                                                        \
    for (int64_t j = 0; j < n; j++) acc.d[j].d += part[j];                                   \
  }
SUMPOW(f32, float, POWF)
SUMPOW(f64, double, POWD)

/* ---- complex folds: sums in lanes of both parts, the rest in plain loops of the wide type ---- */
#define CSUM(c, T)                                                                           \
  static void rows_sum_##c(const void *x_, int64_t rows, int64_t rs, int64_t n, RAcc acc) { \
    for (int64_t r = 0; r < rows; r++)                                                       \
      for (int64_t k = 0; k < 2 * n; k += CHUNK) {                                           \
        const T *x = (const T *)x_ + 2 * r * rs + k;                                         \
        int64_t m = LEAST(CHUNK, 2 * n - k), i = 0;                                          \
        T v[LANES];                                                                          \
        EACH(l) v[l] = 0;                                                                    \
        for (; i + LANES <= m; i += LANES) EACH(l) v[l] += x[i + l];                         \
        for (; i < m; i++) v[i % LANES] += x[i];                                             \
        for (int w = LANES / 2; w > 1; w /= 2) for (int l = 0; l < w; l++) v[l] += v[l + w]; \
        acc.d[r].d += (double)v[0];                                                         \
        acc.e[r].d += (double)v[1];                                                         \
      }                                                                                      \
  }                                                                                          \
  static void col_sum_##c(const void *x_, int64_t n, int64_t rows, int64_t rs, RAcc acc) {  \
    T part[2 * COLS];                                                                        \
    for (int64_t r0 = 0; r0 < rows; r0 += COLROWS) {                                         \
      for (int64_t j = 0; j < 2 * n; j++) part[j] = 0;                                       \
      for (int64_t r = r0; r < rows && r < r0 + COLROWS; r++) {                              \
        const T *x = (const T *)x_ + 2 * r * rs;                                             \
        VEC for (int64_t j = 0; j < 2 * n; j++) part[j] += x[j];                             \
      }                                                                                      \
      for (int64_t j = 0; j < n; j++) {                                                      \
        acc.d[j].d += (double)part[2 * j];                                                  \
        acc.e[j].d += (double)part[2 * j + 1];                                              \
      }                                                                                      \
    }                                                                                        \
  }                                                                                          \
  static void join_sum_##c(RAcc a, int64_t as, RAcc b, int64_t n) {                  \
    for (int64_t i = 0; i < n; i++) {                                                        \
      a.d[i * as].d += b.d[i].d;                                                             \
      a.e[i * as].d += b.e[i].d;                                                             \
    }                                                                                        \
  }
CSUM(c64, float)
CSUM(c128, double)

/* BODY takes a number re + im i into D, E of power N; JOIN an accumulator re, im. */
#define CFOLD(name, T, RE, IM, BODY, JOIN)                                                   \
  static void rows_##name(const void *x_, int64_t rows, int64_t rs, int64_t n, RAcc acc) {   \
    for (int64_t r = 0; r < rows; r++) {                                                     \
      const T *x = (const T *)x_ + r * rs;                                                   \
      double D = acc.d[r].d, E_ = acc.e[r].d, N UNUSED = acc.n[r].d;                         \
      for (int64_t i = 0; i < n; i++) {                                                      \
        double re = (double)RE(x[i]), im = (double)IM(x[i]);                                 \
        BODY                                                                                 \
      }                                                                                      \
      acc.d[r].d = D;                                                                        \
      acc.e[r].d = E_;                                                                       \
    }                                                                                        \
  }                                                                                          \
  static void col_##name(const void *x_, int64_t n, int64_t rows, int64_t rs, RAcc acc) {    \
    for (int64_t r = 0; r < rows; r++) {                                                     \
      const T *x = (const T *)x_ + r * rs;                                                   \
      for (int64_t j = 0; j < n; j++) {                                                      \
        double re = (double)RE(x[j]), im = (double)IM(x[j]);                                 \
        double D = acc.d[j].d, E_ = acc.e[j].d, N UNUSED = acc.n[j].d;                       \
        BODY                                                                                 \
        acc.d[j].d = D;                                                                      \
        acc.e[j].d = E_;                                                                     \
      }                                                                                      \
    }                                                                                        \
  }                                                                                          \
  static void join_##name(RAcc a, int64_t as, RAcc b, int64_t n) {                           \
    for (int64_t i = 0; i < n; i++) {                                                        \
      double D = a.d[i * as].d, E_ = a.e[i * as].d, re = b.d[i].d, im UNUSED = b.e[i].d;     \
      JOIN                                                                                   \
      a.d[i * as].d = D;                                                                     \
      a.e[i * as].d = E_;                                                                    \
    }                                                                                        \
  }
#define CPROD double t = D * re - E_ * im; E_ = D * im + E_ * re; D = t;
#define CPLX(c, T, RE, IM)                                                                   \
  CFOLD(prod_##c, T, RE, IM, CPROD, CPROD)                                                   \
  CFOLD(any_##c, T, RE, IM, if (re != 0 || im != 0) D = 1;, if (re != 0) D = 1;)             \
  CFOLD(all_##c, T, RE, IM, if (re == 0 && im == 0) D = 0;, if (re == 0) D = 0;)             \
  CFOLD(nnz_##c, T, RE, IM, D += re != 0 || im != 0;, D += re;)                              \
  CFOLD(sumsq_##c, T, RE, IM, D += re * re + im * im;, D += re;)                             \
  CFOLD(sumabs_##c, T, RE, IM, D += hypot(re, im);, D += re;)                                \
  CFOLD(sumpow_##c, T, RE, IM, D += pow(hypot(re, im), N);, D += re;)                        \
  CFOLD(absmax_##c, T, RE, IM, double h = hypot(re, im); D = FMAX_(D, h);, D = FMAX_(D, re);) \
  CFOLD(absmin_##c, T, RE, IM, double h = hypot(re, im); D = FMIN_(D, h);, D = FMIN_(D, re);)
CPLX(c64, cfloat, crealf, cimagf)
CPLX(c128, cdouble, creal, cimag)

#define E(k, c) [RD_##c] = {rows_##k##_##c, col_##k##_##c, join_##k##_##c}
#define HALFS(k) E(k, bf16), E(k, f16)
#define FLOATS(k) E(k, f32), E(k, f64)
#define CPLXS(k) E(k, c64), E(k, c128)
#define OWN(k, c, j) [RD_##c] = {rows_##k##_##c, col_##k##_##c, j}
extern const RedLoops CAT(mt, red, KLEVEL)[R_COUNT][RD_COUNT];
const RedLoops CAT(mt, red, KLEVEL)[R_COUNT][RD_COUNT] = {
    [R_sum] = {E(sum, i64), HALFS(sum), FLOATS(sum), CPLXS(sum)},
    [R_prod] = {E(prod, i64), FLOATS(prod), CPLXS(prod)},
    [R_max] = {E(max, i64), HALFS(max), FLOATS(max)},
    [R_min] = {E(min, i64), HALFS(min), FLOATS(min)},
    [R_any] = {E(any, i64), FLOATS(any), CPLXS(any)},
    [R_all] = {E(all, i64), FLOATS(all), CPLXS(all)},
    [R_nnz] = {E(nnz, i64), FLOATS(nnz), CPLXS(nnz)},
    [R_sumnum] = {FLOATS(sumnum)},
    [R_nums] = {FLOATS(nums)},
    [R_absmax] = {FLOATS(absmax), CPLXS(absmax)},
    [R_absmin] = {FLOATS(absmin), CPLXS(absmin)},
    [R_sumsq] = {HALFS(sumsq), FLOATS(sumsq), CPLXS(sumsq)},
    [R_sumabs] = {FLOATS(sumabs), CPLXS(sumabs)},
    [R_sumcube] = {FLOATS(sumcube)},
    [R_sumpow] = {OWN(sumpow, f32, join_sumpow), OWN(sumpow, f64, join_sumpow), CPLXS(sumpow)},
    [R_var] = {OWN(var, f32, join_var), OWN(var, f64, join_var)},
    [R_lse] = {OWN(lse, f32, join_lse), OWN(lse, f64, join_lse)}};

/* ---- results ---- */

static void end_mean(RAcc a, int64_t n, double count) {
  _Pragma("omp simd") for (int64_t i = 0; i < n; i++) a.d[i].d /= count;
}
static void end_root(RAcc a, int64_t n, double par) {
  _Pragma("omp simd") for (int64_t i = 0; i < n; i++) a.d[i].d = sqrt(a.d[i].d);
}
static void end_power(RAcc a, int64_t n, double order) {
  for (int64_t i = 0; i < n; i++) a.d[i].d = pow(a.d[i].d, 1 / order);
}
static void end_var(RAcc a, int64_t n, double correction) {
  for (int64_t i = 0; i < n; i++) {
    double div = a.n[i].d - correction;
    a.d[i].d = a.e[i].d / (div > 0 ? div : 0);
  }
}
static void end_lse(RAcc a, int64_t n, double par) {
  for (int64_t i = 0; i < n; i++) a.d[i].d = log(a.e[i].d) + (isinf(a.d[i].d) ? 0 : a.d[i].d);
}
extern const RedEndFn CAT(mt, red_end, KLEVEL)[RE_COUNT];
const RedEndFn CAT(mt, red_end, KLEVEL)[RE_COUNT] = {
    [RE_mean] = end_mean, end_root, end_power, end_var, end_lse};
