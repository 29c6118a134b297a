/* pointwise.c: unary, binary and ternary ops over the kernel tables: promotion, choice of loop, one
 * pass of the iterator. */
#include "cpu.h"
#include "iter.h"
#include <string.h>

/* Tables are indexed [kernel][dtype]; one set per CPU level, made in kern_*.c. */
#define LEVEL_TABLES(l)                                                                          \
  extern const Loop mt_un_##l[][MT_NDTYPES], mt_bin_##l[][MT_NDTYPES], mt_ter_##l[][MT_NDTYPES], \
      mt_cast_##l[][MT_NDTYPES];                                                                 \
  extern const Loop mt_where_##l[5];
LEVEL_TABLES(base)
#if defined(__x86_64__)
LEVEL_TABLES(avx2)
LEVEL_TABLES(avx512)
#endif
static const Loop (*un)[MT_NDTYPES], (*bin)[MT_NDTYPES], (*ter)[MT_NDTYPES], (*cast)[MT_NDTYPES],
    *where;

#define USE(l)                                                                                   \
  (un = mt_un_##l, bin = mt_bin_##l, ter = mt_ter_##l, cast = mt_cast_##l, where = mt_where_##l)
__attribute__((constructor)) void mt_kernels_select(void) {
  USE(base);
#if defined(__x86_64__)
  int level = mt_cpu_level();
  if (level == MT_CPU_AVX512) USE(avx512);
  else if (level == MT_CPU_AVX2) USE(avx2);
#endif
}

/* The next wider dtype whose loop computes the same values. */
static int wider(int d) {
  switch (d) {
    case MT_uint8: case MT_int8: case MT_int16: return MT_int32;
    case MT_int32: return MT_int64;
    case MT_float16: case MT_bfloat16: return MT_float32;
    case MT_float32: return MT_float64;
    case MT_complex64: return MT_complex128;
    default: return -1;
  }
}

static Loop pick(const Loop *row, DType *d) {
  for (int k = *d; k >= 0; k = wider(k))
    if (row[k]) { *d = (DType)k; return row[k]; }
  return NULL;
}
Loop mt_unary_loop(int k, DType *d) { return pick(un[k], d); }
Loop mt_binary_loop(int k, DType *d) { return pick(bin[k], d); }
Loop mt_ternary_loop(int k, DType *d) { return pick(ter[k], d); }
Loop mt_cast_loop(DType to, DType from) { return cast[to][from]; }
Loop mt_where_loop(DType d) { return where[__builtin_ctzl(mt_dsize(d))]; }

DType mt_default_float(Ctx *c, DType d) { return mt_is_int(d) ? c->default_dtype : d; }

const char *mt_type_word(DType d) {
  static const char *const w[] = {"Bool",  "Byte",   "Char",         "Short",
                                  "Int",   "Long",   "Half",         "BFloat16",
                                  "Float", "Double", "ComplexFloat", "ComplexDouble"};
  return w[d];
}

void mt_kpar(KPar *k, const Scalar *s, int ns, DType d) {
  for (int i = 0; i < ns && i < 4; i++) {
    if (mt_is_int(d)) k->re[i].i = mt_sint(s[i]);
    else k->re[i].d = mt_sre(s[i]);
    k->im[i].d = s[i].im;
  }
}

static void unsupported(Ctx *c, DType d) {
  mt_fail(c, "not implemented for '%s'", mt_type_word(d));
}

static DType loop_out(Promo p, DType compute) {
  if (p == MT_P_BOOL || p == MT_P_COMPARE || p == MT_P_LOGICAL) return MT_bool;
  return p == MT_P_ABS ? mt_real_dtype(compute) : compute;
}

/* One number seen as many, as the gradient of a sum is. */
static bool constant(const Tensor *t) {
  for (int d = 0; d < t->ndim; d++) if (t->size[d] > 1 && t->stride[d]) return false;
  return t->numel > 0;
}
static Tensor *run(Ctx *c, Loop loop, Promo p, DType result, DType compute, int n, Tensor **in,
                   const Scalar *s, int ns);
/* A loop over constants runs once, the rest is a copy of its result. */
static Tensor *run_once(Ctx *c, Loop loop, Promo p, DType result, DType compute, int n, Tensor **in,
                        const Scalar *s, int ns) {
  Tensor *one[3];
  int nd = in[0]->ndim;
  int64_t shape[MT_MAXDIM];
  memcpy(shape, in[0]->size, sizeof(int64_t) * (size_t)nd);
  for (int i = 0; i < n; i++) {
    if (i && !mt_broadcast(c, nd, shape, in[i]->ndim, in[i]->size, &nd, shape)) return NULL;
    if (!(one[i] = mt_alias(c, in[i]))) return NULL;
    for (int d = 0; d < one[i]->ndim; d++) one[i]->size[d] = 1;
    one[i]->numel = 1;
  }
  Tensor *r = run(c, loop, p, result, compute, n, one, s, ns);
  Tensor *out = r ? mt_new(c, mt_il(shape, nd), result, MT_CPU) : NULL;
  return out ? mt_copy_raw(c, out, r) : NULL;
}

/* Runs loop over out <- in[0..n-1], where `result` is the dtype the user sees and `compute` the
 * loop's. */
static Tensor *run(Ctx *c, Loop loop, Promo p, DType result, DType compute, int n, Tensor **in,
                   const Scalar *s, int ns) {
  Tensor *t[1 + 3];
  DType ct[1 + 3];
  Iter it;
  int nd = in[0]->ndim;
  int64_t shape[MT_MAXDIM];
  KPar par;
  bool same = !c->out && in[0]->numel > 256;
  for (int i = 0; same && i < n; i++) same = constant(in[i]) && !mt_meta(in[i]);
  if (same) return run_once(c, loop, p, result, compute, n, in, s, ns);
  t[0] = NULL;
  if (c->out) {
    memcpy(shape, in[0]->size, sizeof(int64_t) * (size_t)nd);
    for (int i = 1; i < n; i++)
      if (!mt_broadcast(c, nd, shape, in[i]->ndim, in[i]->size, &nd, shape)) return NULL;
    t[0] = mt_take_out(c, nd, shape, in, n);
    bool own = c->op && c->op->flags & OF_OWN_OUT;
    if (t[0] && (own ? t[0]->dtype != result : !mt_can_cast(result, (DType)t[0]->dtype)))
      t[0] = NULL;                                   /* dispatch reports it */
  }
  ct[0] = t[0] ? loop_out(p, compute) : result;      /* a fresh output has the result's dtype */
  for (int i = 0; i < n; i++) { t[1 + i] = in[i]; ct[1 + i] = compute; }
  if (!mt_iter_init(c, &it, 1, n + 1, t, ct)) return NULL;
  it.ct[0] = (uint8_t)loop_out(p, compute);
  it.cast |= it.dt[0] != it.ct[0];
  if (ns) mt_kpar(&par, s, ns, compute);
  mt_iter_run(c, &it, loop, &par);
  return t[0];
}

Tensor *mt_unary(Ctx *c, int k, Promo p, Tensor *x, const Scalar *s, int ns) {
  if (c->err || !x) return NULL;
  DType compute = p == MT_P_FLOAT ? mt_default_float(c, x->dtype) : x->dtype,
        result = loop_out(p, compute), asked = compute;
  Loop loop = pick(un[k], &compute);
  if (!loop) { unsupported(c, asked); return NULL; }
  return run(c, loop, p, result, compute, 1, &x, s, ns);
}

Tensor *mt_binary(Ctx *c, int k, Promo p, Tensor *x, Tensor *y, const Scalar *s, int ns) {
  if (c->err || !x || !y) return NULL;
  Tensor *in[2] = {x, y};
  DType d = x->dtype == y->dtype && !((x->flags | y->flags) & MT_WRAPPED)
                ? (DType)x->dtype
                : mt_result_type(c, in, 2);
  if (p == MT_P_FLOAT) d = mt_default_float(c, d);
  for (int i = 0; i < ns; i++) {
    if (s[i].kind == K_BOOL && d != MT_bool) {
      mt_fail(c, "boolean alpha only supported for boolean results");
      return NULL;
    }
    if (mt_is_int(d) && s[i].kind >= K_FLOAT) {
      mt_fail(c, "for integral inputs the scalar argument must not be a floating point number");
      return NULL;
    }
    if (s[i].kind == K_COMPLEX && !mt_is_complex(d)) {
      mt_fail(c, "for non-complex inputs the scalar argument must not be a complex number");
      return NULL;
    }
  }
  DType compute = d, result = loop_out(p, d);
  Loop loop = pick(bin[k], &compute);
  if (!loop) { unsupported(c, d); return NULL; }
  return run(c, loop, p, result, compute, 2, in, s, ns);
}

Tensor *mt_ternary(Ctx *c, int k, Promo p, Tensor *x, Tensor *y, Tensor *z, const Scalar *s,
                   int ns) {
  if (c->err || !x || !y || !z) return NULL;
  Tensor *in[3] = {x, y, z};
  DType d = mt_result_type(c, in, 3);
  if (p == MT_P_FLOAT) d = mt_default_float(c, d);
  DType compute = d, result = loop_out(p, d);
  Loop loop = pick(ter[k], &compute);
  if (!loop) { unsupported(c, d); return NULL; }
  return run(c, loop, p, result, compute, 3, in, s, ns);
}
