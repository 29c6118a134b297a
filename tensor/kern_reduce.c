/* kern_reduce.c: the folds of reduce.h, in lanes that vectorise; one copy per CPU level. */
#include "kern.h"
#include "reduce.h"

enum { LANES = 16, CHUNK = 1024, COLROWS = 64, COLS = 512 };

/* Float sums run in lanes over at most CHUNK elements, then go on in the wide accumulator. */
#define FOLD_BLOCK(name, T, W, FIELD, LANE0, STEP, JOIN, WIDE)                                \
  static void block_##name(const void *x_, int64_t n, RAcc *acc) {                            \
    const T *x = x_;                                                                          \
    W total = acc->FIELD;                                                                     \
    while (n > 0) {                                                                           \
      int64_t m = n < CHUNK ? n : CHUNK, i = 0;                                               \
      T v[LANES];                                                                             \
      for (int l = 0; l < LANES; l++) v[l] = LANE0;                                           \
      for (; i + LANES <= m; i += LANES)                                                      \
        for (int l = 0; l < LANES; l++) { T e = x[i + l]; v[l] = STEP(v[l], e); }             \
      for (; i < m; i++) { T e = x[i]; v[i % LANES] = STEP(v[i % LANES], e); }                \
      for (int w = LANES / 2; w; w /= 2) for (int l = 0; l < w; l++) v[l] = JOIN(v[l], v[l + w]); \
      total = WIDE(total, (W)v[0]);                                                           \
      x += m;                                                                                 \
      n -= m;                                                                                 \
    }                                                                                         \
    acc->FIELD = total;                                                                       \
  }                                                                                           \
  static void col_##name(const void *x_, int64_t n, int64_t rows, int64_t rs, RAcc *acc) {    \
    T part[COLS];                                                                             \
    for (int64_t r0 = 0; r0 < rows; r0 += COLROWS) {                                          \
      int64_t r1 = r0 + COLROWS < rows ? r0 + COLROWS : rows;                                 \
      for (int64_t j = 0; j < n; j++) part[j] = LANE0;                                        \
      for (int64_t r = r0; r < r1; r++) {                                                     \
        const T *x = (const T *)x_ + r * rs;                                                  \
        VEC for (int64_t j = 0; j < n; j++) { T e = x[j]; part[j] = STEP(part[j], e); }       \
      }                                                                                       \
      for (int64_t j = 0; j < n; j++) acc[j].FIELD = WIDE(acc[j].FIELD, (W)part[j]);          \
    }                                                                                         \
  }
#define ADD(a, b) ((a) + (b))
#define UADD(a, b) ((int64_t)((uint64_t)(a) + (uint64_t)(b)))
#define MUL(a, b) ((a) * (b))
#define UMUL(a, b) ((int64_t)((uint64_t)(a) * (uint64_t)(b)))
#define FMAX_(a, b) ((b) > (a) || (b) != (b) ? (b) : (a))
#define FMIN_(a, b) ((b) < (a) || (b) != (b) ? (b) : (a))
#define IMAX(a, b) ((b) > (a) ? (b) : (a))
#define IMIN(a, b) ((b) < (a) ? (b) : (a))
#define ADDSQ(a, b) ((a) + (b) * (b))
#define ADDABSF(a, b) ((a) + __builtin_fabsf(b))
#define ADDABS(a, b) ((a) + __builtin_fabs(b))
#define MAXABSF(a, b) FMAX_(a, __builtin_fabsf(b))
#define MAXABS(a, b) FMAX_(a, __builtin_fabs(b))
#define MINABSF(a, b) FMIN_(a, __builtin_fabsf(b))
#define MINABS(a, b) FMIN_(a, __builtin_fabs(b))
#define ORNZ(a, b) ((a) | ((b) != 0))
#define ANDNZ(a, b) ((a) & ((b) != 0))
#define COUNTNZ(a, b) ((a) + ((b) != 0))
/* Floats answer any/all in their own type as 0 or 1. */
#define FOR(a, b) ((b) != 0 ? 1 : (a))
#define FAND(a, b) ((b) != 0 ? (a) : 0)
#define OR2(a, b) ((a) != 0 || (b) != 0)
#define AND2(a, b) ((a) != 0 && (b) != 0)

#define REAL(c, T, F, A0, A1)                                                                 \
  FOLD_BLOCK(sum_##c, T, double, d, 0, ADD, ADD, ADD)                                         \
  FOLD_BLOCK(prod_##c, T, double, d, 1, MUL, MUL, MUL)                                        \
  FOLD_BLOCK(max_##c, T, double, d, -INFINITY, FMAX_, FMAX_, FMAX_)                           \
  FOLD_BLOCK(min_##c, T, double, d, INFINITY, FMIN_, FMIN_, FMIN_)                            \
  FOLD_BLOCK(any_##c, T, double, d, 0, FOR, OR2, OR2)                                         \
  FOLD_BLOCK(all_##c, T, double, d, 1, FAND, AND2, AND2)                                      \
  FOLD_BLOCK(absmax_##c, T, double, d, 0, MAXABS##F, FMAX_, FMAX_)                            \
  FOLD_BLOCK(absmin_##c, T, double, d, INFINITY, MINABS##F, FMIN_, FMIN_)                     \
  FOLD_BLOCK(sumsq_##c, T, double, d, 0, ADDSQ, ADD, ADD)                                     \
  FOLD_BLOCK(sumabs_##c, T, double, d, 0, ADDABS##F, ADD, ADD)                                \
  FOLD_BLOCK(nnz_##c, T, double, d, 0, COUNTNZ, ADD, ADD)
REAL(f32, float, F, , )
REAL(f64, double, , , )
FOLD_BLOCK(sum_i64, int64_t, int64_t, i, 0, UADD, UADD, UADD)
FOLD_BLOCK(prod_i64, int64_t, int64_t, i, 1, UMUL, UMUL, UMUL)
FOLD_BLOCK(max_i64, int64_t, int64_t, i, INT64_MIN, IMAX, IMAX, IMAX)
FOLD_BLOCK(min_i64, int64_t, int64_t, i, INT64_MAX, IMIN, IMIN, IMIN)
FOLD_BLOCK(any_i64, int64_t, int64_t, i, 0, ORNZ, OR2, OR2)
FOLD_BLOCK(all_i64, int64_t, int64_t, i, 1, ANDNZ, AND2, AND2)
FOLD_BLOCK(nnz_i64, int64_t, int64_t, i, 0, COUNTNZ, ADD, ADD)

/* Complex folds: plain loops in the wide type. */
#define CFOLD(name, T, RE, IM, BODY)                                                       \
  static void block_##name(const void *x_, int64_t n, RAcc *acc) {                         \
    const T *x = x_;                                                                       \
    for (int64_t i = 0; i < n; i++) {                                                      \
      double re = (double)RE(x[i]), im = (double)IM(x[i]);                                 \
      RAcc *a = acc;                                                                       \
      BODY                                                                                 \
    }                                                                                      \
  }                                                                                        \
  static void col_##name(const void *x_, int64_t n, int64_t rows, int64_t rs, RAcc *acc) { \
    for (int64_t r = 0; r < rows; r++) {                                                   \
      const T *x = (const T *)x_ + r * rs;                                                 \
      for (int64_t j = 0; j < n; j++) {                                                    \
        double re = (double)RE(x[j]), im = (double)IM(x[j]);                               \
        RAcc *a = &acc[j];                                                                 \
        BODY                                                                               \
      }                                                                                    \
    }                                                                                      \
  }
#define CPLX(c, T, RE, IM)                                                             \
  CFOLD(sum_##c, T, RE, IM, a->z.re += re; a->z.im += im;)                             \
  CFOLD(prod_##c, T, RE, IM, double t = a->z.re * re - a->z.im * im;                   \
        a->z.im = a->z.re * im + a->z.im * re; a->z.re = t;)                           \
  CFOLD(any_##c, T, RE, IM, if (re != 0 || im != 0) a->z.re = 1;)                      \
  CFOLD(all_##c, T, RE, IM, if (re == 0 && im == 0) a->z.re = 0;)                      \
  CFOLD(nnz_##c, T, RE, IM, a->z.re += re != 0 || im != 0;)                            \
  CFOLD(sumsq_##c, T, RE, IM, a->z.re += re * re + im * im;)                           \
  CFOLD(sumabs_##c, T, RE, IM, a->z.re += hypot(re, im);)                              \
  CFOLD(absmax_##c, T, RE, IM, double h = hypot(re, im); a->z.re = FMAX_(a->z.re, h);) \
  CFOLD(absmin_##c, T, RE, IM, double h = hypot(re, im); a->z.re = FMIN_(a->z.re, h);)
CPLX(c64, cfloat, crealf, cimagf)
CPLX(c128, cdouble, creal, cimag)

#define E(k, c) {block_##k##_##c, col_##k##_##c}
#define ALL5(k) {E(k, i64), E(k, f32), E(k, f64), E(k, c64), E(k, c128)}
#define NOINT(k) {{NULL, NULL}, E(k, f32), E(k, f64), E(k, c64), E(k, c128)}
#define NOCPLX(k) {E(k, i64), E(k, f32), E(k, f64), {NULL, NULL}, {NULL, NULL}}
extern const RedLoops CAT(mt, red, KLEVEL)[R_COUNT][RD_COUNT];
const RedLoops CAT(mt, red, KLEVEL)[R_COUNT][RD_COUNT] = {
    [R_sum] = ALL5(sum),        [R_prod] = ALL5(prod),      [R_max] = NOCPLX(max),
    [R_min] = NOCPLX(min),      [R_any] = ALL5(any),        [R_all] = ALL5(all),
    [R_absmax] = NOINT(absmax), [R_absmin] = NOINT(absmin), [R_sumsq] = NOINT(sumsq),
    [R_sumabs] = NOINT(sumabs), [R_nnz] = ALL5(nnz)};
