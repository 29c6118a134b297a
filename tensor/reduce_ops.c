/* reduce_ops.c: kernels of ops_reduce.def over the driver of reduce.h. */
#include "iter.h"
#include "op.h"
#include "reduce.h"
#include <string.h>

static DType sum_dtype(const Tensor *x, int dtype) {
  return dtype >= 0 ? (DType)dtype : mt_is_int(x->dtype) ? MT_int64 : (DType)x->dtype;
}
/* x as a sum in d adds it: converted first, unless the loops widen it as they go. */
static Tensor *summand(Ctx *c, Tensor *x, DType d) {
  bool widens = mt_dkind(d) == mt_dkind(x->dtype) && mt_dsize(d) > mt_dsize(x->dtype);
  return d == (DType)x->dtype || widens ? x : mt_cast(c, x, d);
}

/* Of n equal numbers (an expanded gradient) one is taken, *times n. */
static Tensor *take_once(Ctx *c, Tensor *x, uint64_t mask, double *times) {
  for (int d = 0; x && d < x->ndim; d++)
    if (mask >> d & 1 && x->stride[d] == 0 && x->size[d] > 1) {
      *times *= (double)x->size[d];
      x = t_narrow(c, x, d, 0, 1);
    }
  return x;
}
Tensor *k_sum_dim(Ctx *c, Tensor *self, IntList dim, bool keepdim, int dtype) {
  DType d = sum_dtype(self, dtype);
  uint64_t m = mt_dim_mask(c, dim, self->ndim);
  if (c->err) return NULL;
  if (dtype >= 0) self = summand(c, self, d);
  double times = 1;
  if (self && !c->out && mt_is_float(d) && !mt_meta(self)) /* complex infinities would be nan */
    self = take_once(c, self, m, &times);
  Tensor *s = self ? mt_reduce(c, R_sum, self, m, keepdim, d) : NULL;
  if (times == 1 || !s) return s;
  return mt_binary(c, B_mul, MT_P_ARITH, s, mt_wrap(c, mt_sd(times)), NULL, 0);
}
Tensor *k_sum(Ctx *c, Tensor *self, int dtype) {
  return k_sum_dim(c, self, mt_ilnone(), false, dtype);
}

Tensor *k_mean_dim(Ctx *c, Tensor *self, IntList dim, bool keepdim, int dtype) {
  DType d = dtype >= 0 ? (DType)dtype : (DType)self->dtype;
  if (mt_is_int(d))
    return mt_fail(
        c, "the dtype must be floating point or complex, got %s; pass dtype=", mt_dtypes[d].name);
  uint64_t m = mt_dim_mask(c, dim, self->ndim);
  int64_t n = 1;
  if (c->err) return NULL;
  for (int i = 0; i < self->ndim; i++) if (m >> i & 1) n *= self->size[i];
  bool half = d == MT_float16 || d == MT_bfloat16;
  if (!(self = summand(c, self, half ? MT_float32 : d))) return NULL;
  if (mt_is_complex(d)) {
    Tensor *s = mt_reduce(c, R_sum, self, m, keepdim, d);
    return s ? mt_binary(c, B_div_true, MT_P_FLOAT, s, mt_wrap(c, mt_sd((double)n)), NULL, 0) : s;
  }
  return mt_reduce_as(c, R_sum, self, m, keepdim, d, (double)n, RE_mean);
}
Tensor *k_mean(Ctx *c, Tensor *self, int dtype) {
  return k_mean_dim(c, self, mt_ilnone(), false, dtype);
}

Tensor *k_sum_to_size(Ctx *c, Tensor *self, IntList size) {
  int64_t dims[MT_MAXDIM];
  int n = 0, lead = self->ndim - (int)size.n;
  if (lead < 0)
    return mt_fail(c, "size %s has more dimensions than the tensor of shape %s",
                   mt_list_str(c, size), mt_list_str(c, mt_sizes(self)));
  for (int i = 0; i < self->ndim; i++) {
    if (i < lead) { dims[n++] = i; continue; }
    int64_t want = size.v[i - lead];
    if (want == self->size[i]) continue;
    if (want != 1)
      return mt_fail(c, "size %s is not expandable to the tensor's shape %s", mt_list_str(c, size),
                     mt_list_str(c, mt_sizes(self)));
    dims[n++] = i;
  }
  if (!size.n) return t_sum(c, self, -1);
  if (!n) return self;
  Tensor *s = t_sum_dim(c, self, mt_il(dims, n), true, -1);
  return lead ? t_view(c, s, size) : s;
}

static Tensor *truth(Ctx *c, RedKind k, Tensor *self, IntList dim, bool keepdim) {
  uint64_t m = mt_dim_mask(c, dim, self->ndim);
  if (dim.n == 0) m = 0; /* any(dim={}) reduces nothing */
  return c->err ? NULL
                : mt_reduce(c, k, self, m, keepdim, self->dtype == MT_uint8 ? MT_uint8 : MT_bool);
}
Tensor *k_any_dim(Ctx *c, Tensor *self, IntList dim, bool keepdim) {
  return truth(c, R_any, self, dim, keepdim);
}
Tensor *k_any(Ctx *c, Tensor *self) { return truth(c, R_any, self, mt_ilnone(), false); }
Tensor *k_all_dim(Ctx *c, Tensor *self, IntList dim, bool keepdim) {
  return truth(c, R_all, self, dim, keepdim);
}
Tensor *k_all(Ctx *c, Tensor *self) { return truth(c, R_all, self, mt_ilnone(), false); }
