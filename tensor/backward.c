/* backward.c: kernels of ops_backward.def. */
#include "op.h"
#include <string.h>

static Tensor *zeros(Ctx *c, Tensor *grad, IntList sizes) {
  return t_new_zeros(c, grad, sizes, -1, -1, -1, -1, false);
}

Tensor *k_permute_backward(Ctx *c, Tensor *grad, IntList dims) {
  int64_t inv[MT_MAXDIM];
  for (int64_t i = 0; i < dims.n; i++) inv[dims.v[i] < 0 ? dims.v[i] + dims.n : dims.v[i]] = i;
  return t_permute(c, grad, mt_il(inv, dims.n));
}

/* These run below autograd (they have derivatives of their own), so raw writes are fine. */
Tensor *k_select_backward(Ctx *c, Tensor *grad, IntList sizes, int64_t dim, int64_t index) {
  Tensor *z = zeros(c, grad, sizes);
  Tensor *v = t_select(c, z, dim, index);
  return v && mt_copy_raw(c, v, grad) ? z : NULL;
}
Tensor *k_slice_backward(Ctx *c, Tensor *grad, IntList sizes, int64_t dim, int64_t start,
                         int64_t end, int64_t step) {
  Tensor *z = zeros(c, grad, sizes);
  Tensor *v = t_slice(c, z, dim, start, end, step);
  return v && mt_copy_raw(c, v, grad) ? z : NULL;
}
Tensor *k_diagonal_backward(Ctx *c, Tensor *grad, IntList sizes, int64_t offset, int64_t dim1,
                            int64_t dim2) {
  Tensor *z = zeros(c, grad, sizes);
  Tensor *v = t_diagonal(c, z, offset, dim1, dim2);
  return v && mt_copy_raw(c, v, grad) ? z : NULL;
}
Tensor *k_unfold_backward(Ctx *c, Tensor *grad, IntList sizes, int64_t dim, int64_t size,
                          int64_t step) {
  Tensor *z = zeros(c, grad, sizes);
  if (!z) return NULL;
  if (!z->ndim) return t_select(c, grad, 0, 0);
  int d = mt_dim(c, dim, z->ndim);
  if (d < 0 || !size || !grad->numel) return z;
  /* every m-th window overlaps none of its kind: added at once through a view of the input */
  const int64_t windows = grad->size[d], m = (size - 1) / step + 1;
  for (int64_t r = 0; r < m && r < windows && !c->err; r++) {
    int64_t last = r + (windows - 1 - r) / m * m;
    Tensor *src = t_slice(c, grad, d, r, windows, m),
           *dst = t_slice(c, z, d, r * step, last * step + size, 1);
    dst = dst ? t_unfold(c, dst, d, size, m * step) : NULL;
    if (dst && src) t_add_(c, dst, src, mt_si(1));
  }
  return z;
}
Tensor *k_sum_backward(Ctx *c, Tensor *grad, IntList sizes, IntList dim, bool keepdim) {
  uint64_t m = mt_dim_mask(c, dim, (int)sizes.n);
  if (c->err) return NULL;
  if (!keepdim)
    for (int i = 0; i < sizes.n; i++) if (m >> i & 1) grad = t_unsqueeze(c, grad, i);
  return t_expand(c, grad, sizes, false);
}
Tensor *k_index_backward(Ctx *c, Tensor *grad, IntList sizes, TensorList indices) {
  return t_index_put(c, zeros(c, grad, sizes), indices, grad, true);
}

/* The gradient of a window into a storage: overlapping windows add up. */
Tensor *k_not_implemented(Ctx *c, Tensor *self, const char *what) {
  (void)self;
  return mt_fail_kind(c, MT_NOTIMPL, "the derivative for '%s' is not implemented", what);
}

static int64_t span_of(IntList size, IntList stride) {
  int64_t n = 1;
  for (int64_t i = 0; i < size.n; i++) {
    if (size.v[i] == 0) return 0;
    n += (size.v[i] - 1) * stride.v[i];
  }
  return n;
}
/* The places of a geometry in its storage, as one list of indices. */
static Tensor *places(Ctx *c, int64_t n, IntList size, IntList stride, int64_t off) {
  Tensor *lin = t_arange(c, mt_si(0), mt_si(n), mt_si(1), MT_int64, -1, -1, -1, false);
  return t_reshape(c, t_as_strided(c, lin, size, stride, off), mt_il((int64_t[]){-1}, 1));
}
/* grad is summed into the part of the storage that both geometries cover, and read there through
 * the input's; where the input's own elements share memory, they share the gradient. */
Tensor *k_as_strided_backward(Ctx *c, Tensor *grad, Tensor *like, IntList size, IntList stride,
                              int64_t storage_offset) {
  int64_t in_off = like->offset, out_off = storage_offset == MT_NONE_INT ? in_off : storage_offset;
  int64_t low = in_off < out_off ? in_off : out_off;
  IntList in_size = mt_sizes(like), in_stride = mt_il(like->stride, like->ndim),
          all = mt_il((int64_t[]){-1}, 1);
  int64_t a = span_of(in_size, in_stride), b = span_of(size, stride);
  if (a == 0 || b == 0) return zeros(c, grad, in_size);
  in_off -= low;
  out_off -= low;
  int64_t n = in_off + a > out_off + b ? in_off + a : out_off + b;
  Tensor *flat = zeros(c, grad, mt_il(&n, 1)), *ix[1] = {places(c, n, size, stride, out_off)};
  flat = t_index_put(c, flat, (TensorList){ix, 1}, t_reshape(c, grad, all), true);
  if (!mt_is_dense(like) && !c->err) {
    Tensor *at[1] = {places(c, n, in_size, in_stride, in_off)};
    Tensor *one = t_ones_like(c, t_index(c, flat, (TensorList){at, 1}), -1, -1, -1, -1, false, -1);
    Tensor *count = t_index_put(c, zeros(c, grad, mt_il(&n, 1)), (TensorList){at, 1}, one, true);
    count = t_detach(c, mt_is_complex(grad->dtype) ? t_real(c, count) : count);
    flat = t_div(c, flat, t_clamp_min(c, count, mt_wrap(c, mt_si(1))), NULL);
  }
  return t_as_strided(c, flat, in_size, in_stride, in_off);
}

/* One less than a number is computed here: as tensors, both would count as numbers of the default
 * dtype. */
Tensor *k_pow_backward(Ctx *c, Tensor *grad, Tensor *self, Tensor *exponent) {
  Tensor *one = mt_wrap(c, mt_si(1)), *zero = mt_wrap(c, mt_si(0));
  if (exponent->flags & MT_WRAPPED) {
    Scalar e = mt_item(c, exponent);
    if (e.kind != K_COMPLEX && mt_sre(e) == 0)
      return t_zeros_like(c, grad, -1, -1, -1, -1, false, -1);
    Scalar less = e;
    if (e.kind >= K_FLOAT) less.d -= 1; else less = mt_si((int64_t)((uint64_t)e.i - 1));
    return t_mul(c, grad, t_conj(c, t_mul(c, exponent, t_pow(c, self, mt_wrap(c, less)))));
  }
  Tensor *g = t_mul(
      c, grad, t_conj(c, t_mul(c, exponent, t_pow(c, self, t_sub(c, exponent, one, mt_si(1))))));
  return t_where(c, t_eq(c, exponent, zero), zero, g);
}
