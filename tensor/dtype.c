/* dtype.c: promotion and casting rules, and one element in and out of memory. */
#include "half.h"
#include "moth.h"

DType mt_complex_dtype(DType d) {
  return d == MT_float64 || d == MT_complex128 ? MT_complex128 : MT_complex64;
}

DType mt_real_dtype(DType d) {
  return d == MT_complex64 ? MT_float32 : d == MT_complex128 ? MT_float64 : d;
}

DType mt_promote(DType a, DType b) {
  if (a == b) return a;
  if (a > b) { DType t = a; a = b; b = t; }        /* a < b in the list's order */
  if (mt_is_complex(b)) return a == MT_float64 || b == MT_complex128 ? MT_complex128 : MT_complex64;
  if (a == MT_float16 && b == MT_bfloat16) return MT_float32;
  if (a == MT_uint8 && b == MT_int8) return MT_int16;
  return b;                                        /* bool < ints < floats, wider later */
}

bool mt_can_cast(DType from, DType to) {
  if (mt_dkind(from) == K_COMPLEX && mt_dkind(to) != K_COMPLEX) return false;
  if (mt_dkind(from) == K_FLOAT && mt_dkind(to) < K_FLOAT) return false;
  return from == MT_bool || to != MT_bool;
}

/* PyTorch's rule: tensors with dims, then 0-dim tensors, then bare numbers; a later class counts
 * only when its kind is higher. */
DType mt_result_type(Ctx *c, Tensor **v, int n) {
  int cls[3] = {-1, -1, -1};
  for (int i = 0; i < n; i++) {
    if (!v[i]) continue;
    int k = v[i]->flags & MT_WRAPPED ? 2 : v[i]->ndim == 0 ? 1 : 0;
    DType d = v[i]->dtype;
    if (k == 2 && mt_is_complex(d)) d = mt_complex_dtype(c->default_dtype);
    else if (k == 2 && mt_is_float(d)) d = c->default_dtype;
    cls[k] = cls[k] < 0 ? (int)d : (int)mt_promote((DType)cls[k], d);
  }
  int r = cls[0];
  for (int k = 1; k < 3; k++) {
    if (cls[k] < 0) continue;
    if (r < 0) r = cls[k];
    else if (mt_dkind(cls[k]) > mt_dkind(r)) {
      if (mt_is_complex(cls[k]) &&
          mt_is_float(r)) /* float64 + 1j stays double, float16 + 1j is complex64 */
        r = r == MT_float64 ? MT_complex128
            : k == 1        ? (int)mt_promote((DType)r, (DType)cls[k])
                            : MT_complex64;
      else r = cls[k];
    }
  }
  return r < 0 ? c->default_dtype : (DType)r;
}

Scalar mt_load(const void *p, DType d) {
  switch (d) {
    case MT_bool: return mt_sb(*(const uint8_t *)p != 0);
    case MT_uint8: return mt_si(*(const uint8_t *)p);
    case MT_int8: return mt_si(*(const int8_t *)p);
    case MT_int16: return mt_si(*(const int16_t *)p);
    case MT_int32: return mt_si(*(const int32_t *)p);
    case MT_int64: return mt_si(*(const int64_t *)p);
    case MT_float16: return mt_sd(mt_half_to_float(*(const uint16_t *)p));
    case MT_bfloat16: return mt_sd(mt_bf16_to_float(*(const uint16_t *)p));
    case MT_float32: return mt_sd(*(const float *)p);
    case MT_float64: return mt_sd(*(const double *)p);
    case MT_complex64: return mt_sc(((const float *)p)[0], ((const float *)p)[1]);
    default: return mt_sc(((const double *)p)[0], ((const double *)p)[1]);
  }
}

void mt_store(void *p, DType d, Scalar s) {
  switch (d) {
    case MT_bool: *(uint8_t *)p = s.kind >= K_FLOAT ? s.d != 0 || s.im != 0 : s.i != 0; break;
    case MT_uint8: *(uint8_t *)p = (uint8_t)mt_sint(s); break;
    case MT_int8: *(int8_t *)p = (int8_t)mt_sint(s); break;
    case MT_int16: *(int16_t *)p = (int16_t)mt_sint(s); break;
    case MT_int32: *(int32_t *)p = (int32_t)mt_sint(s); break;
    case MT_int64: *(int64_t *)p = mt_sint(s); break;
    case MT_float16: *(uint16_t *)p = mt_float_to_half((float)mt_sre(s)); break;
    case MT_bfloat16: *(uint16_t *)p = mt_float_to_bf16((float)mt_sre(s)); break;
    case MT_float32: *(float *)p = (float)mt_sre(s); break;
    case MT_float64: *(double *)p = mt_sre(s); break;
    case MT_complex64: ((float *)p)[0] = (float)mt_sre(s); ((float *)p)[1] = (float)s.im; break;
    default: ((double *)p)[0] = mt_sre(s); ((double *)p)[1] = s.im; break;
  }
}

Tensor *mt_scalar_tensor(Ctx *c, Scalar s, DType d) {
  Tensor *t = mt_new(c, mt_il(NULL, 0), d, MT_CPU);
  if (t) mt_store(mt_data(t), d, s);
  return t;
}

Tensor *mt_wrap(Ctx *c, Scalar s) {
  static const DType of[] = {MT_bool, MT_int64, MT_float64, MT_complex128};
  if (s.kind == K_NONE) return NULL;
  Tensor *t = mt_scalar_tensor(c, s, of[s.kind]);
  if (t) t->flags |= MT_WRAPPED;
  return t;
}

Scalar mt_item(Ctx *c, Tensor *t) {
  if (c->err || !t) return mt_si(0);
  if (t->numel != 1) {
    mt_fail(c,
            "a tensor with %lld elements cannot be converted to a number; it must have exactly one",
            (long long)t->numel);
    return mt_si(0);
  }
  if (mt_meta(t)) { mt_fail(c, "a meta tensor has no values"); return mt_si(0); }
  Scalar s = mt_load(mt_data(t), t->dtype);
  if (t->flags & MT_CONJ) s.im = -s.im;
  if (t->flags & MT_NEG) { s.d = -s.d; s.im = -s.im; }
  return s;
}
