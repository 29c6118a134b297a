/* matmul.c: kernels of ops_mm.def: products of tensors over the raw products of gemm.h. */
#include "expr_rt.h"
#include "iter.h"
#include "op.h"
#include "product.h"
#include <string.h>

/* The product's type of a dtype; MT_GEMM_TYPES: none. */
MtGemmType mt_product_type(int d) {
  switch (d) {
    case MT_uint8: return MT_GEMM_U8;
    case MT_int8: return MT_GEMM_I8;
    case MT_int16: return MT_GEMM_I16;
    case MT_int32: return MT_GEMM_I32;
    case MT_int64: return MT_GEMM_I64;
    case MT_float16: return MT_GEMM_F16;
    case MT_bfloat16: return MT_GEMM_BF16;
    case MT_float32: return MT_GEMM_F32;
    case MT_float64: return MT_GEMM_F64;
    case MT_complex64: return MT_GEMM_C64;
    case MT_complex128: return MT_GEMM_C128;
    default: return MT_GEMM_TYPES;
  }
}

static bool same_dtype(Ctx *c, const Tensor *a, const Tensor *b) {
  if (a->dtype == b->dtype) return true;
  mt_fail(c, "expected both matrices to have the same dtype, but got %s and %s",
          mt_dtypes[a->dtype].name, mt_dtypes[b->dtype].name);
  return false;
}

void mt_product_status(Ctx *c, MtGemmStatus s) {
  if (s == MT_GEMM_NOMEM) mt_nomem(c);
  else if (s == MT_GEMM_INTERRUPTED) mt_fail_kind(c, MT_INTERRUPTED, "interrupted");
}

/* Where the result goes: the running op's out when it fits and lies in rows, else a new tensor. */
static Tensor *result(Ctx *c, Tensor *a, Tensor *b, Tensor *self, int nd, const int64_t *size) {
  Tensor *in[3] = {a, b, self};
  Tensor *o = mt_take_out(c, nd, size, in, self ? 3 : 2);
  if (o && o->dtype == a->dtype && !mt_meta(o) && mt_is_contiguous(o)) return o;
  return mt_new(c, mt_il(size, nd), (DType)a->dtype,
                (Device)(mt_meta(a) || mt_meta(b) ? MT_META : MT_CPU));
}

/* beta * self + alpha * a @ b for matrices or batches of them whose sizes agree; self may be NULL.
 */
static Tensor *product(Ctx *c, Tensor *a, Tensor *b, Tensor *self, Scalar beta, Scalar alpha) {
  int nd = a->ndim;
  int64_t size[3] = {a->size[0], a->size[nd - 2], b->size[nd - 1]};
  if (nd == 2) { size[0] = a->size[0]; size[1] = b->size[1]; }
  MtGemmType type = mt_product_type(a->dtype);
  if (type == MT_GEMM_TYPES)
    return mt_fail(c, "matrix products are not implemented for %s", mt_dtypes[a->dtype].name);
  Tensor *out = result(c, a, b, self, nd, size);
  if (!out || mt_meta(out) || !out->numel) return out;
  if (mt_is_int(a->dtype)) {
    alpha = mt_si(mt_sint(alpha));
    beta = mt_si(mt_sint(beta));
  } /* as PyTorch: cut off */
  bool read = self && (mt_sre(beta) != 0 || beta.im != 0);
  bool as_bias = read && self->ndim == 1 && self->size[0] == size[nd - 1] && self->stride[0] == 1 &&
                 mt_sre(beta) == 1 && beta.im == 0;
  if (read && !as_bias && !mt_copy_raw(c, out, self)) return NULL;
  const int64_t *as = a->stride + nd - 2, *bs = b->stride + nd - 2;
  MtGemm g = {.type = type,
              .m = a->size[nd - 2],
              .k = a->size[nd - 1],
              .n = b->size[nd - 1],
              .a = mt_data(a),
              .ars = as[0],
              .acs = as[1],
              .b = mt_data(b),
              .brs = bs[0],
              .bcs = bs[1],
              .c = mt_data(out),
              .crs = size[nd - 1],
              .ccs = 1,
              .alpha = mt_sre(alpha),
              .alpha_im = alpha.kind == K_COMPLEX ? alpha.im : 0,
              .alpha_int = mt_sint(alpha)};
  if (as_bias) g.bias = mt_data(self);
  else if (read) {
    g.beta = mt_sre(beta);
    g.beta_im = beta.kind == K_COMPLEX ? beta.im : 0;
    g.beta_int = mt_sint(beta);
  }
  if (nd == 3) {
    g.batch = a->size[0];
    g.abs = a->stride[0];
    g.bbs = b->stride[0];
    g.cbs = size[1] * size[2];
  }
  mt_product_status(c, mt_gemm(&g));
  return c->err ? NULL : out;
}

static bool matrices(Ctx *c, const Tensor *a, const Tensor *b, int nd) {
  if (a->ndim != nd || b->ndim != nd) {
    mt_fail(c, "expected two %d-dimensional tensors, got %s and %s", nd,
            mt_list_str(c, mt_sizes(a)), mt_list_str(c, mt_sizes(b)));
    return false;
  }
  if (a->size[nd - 1] != b->size[nd - 2] || (nd == 3 && a->size[0] != b->size[0])) {
    if (nd == 2)
      mt_fail(c, "mat1 and mat2 shapes cannot be multiplied (%lldx%lld and %lldx%lld)",
              (long long)a->size[0], (long long)a->size[1], (long long)b->size[0],
              (long long)b->size[1]);
    else
      mt_fail(c, "batches of shapes %s and %s cannot be multiplied", mt_list_str(c, mt_sizes(a)),
              mt_list_str(c, mt_sizes(b)));
    return false;
  }
  return same_dtype(c, a, b);
}

Tensor *k_mm(Ctx *c, Tensor *self, Tensor *mat2) {
  return matrices(c, self, mat2, 2) ? product(c, self, mat2, NULL, mt_si(0), mt_si(1)) : NULL;
}
Tensor *k_bmm(Ctx *c, Tensor *self, Tensor *mat2) {
  return matrices(c, self, mat2, 3) ? product(c, self, mat2, NULL, mt_si(0), mt_si(1)) : NULL;
}

/* The checks of the add... family on its scalars and on self. */
static bool addends(Ctx *c, const Tensor *self, const Tensor *a, Scalar beta, Scalar alpha, int nd,
                    const int64_t *size) {
  int64_t shape[MT_MAXDIM];
  int n;
  if (!mt_is_complex(a->dtype) && (beta.kind == K_COMPLEX || alpha.kind == K_COMPLEX)) {
    mt_fail(c, "for real tensors beta and alpha must be real");
    return false;
  }
  if (!same_dtype(c, self, a)) return false;
  if (!mt_broadcast(c, self->ndim, self->size, nd, size, &n, shape)) return false;
  if (n == nd && !memcmp(shape, size, sizeof(int64_t) * (size_t)nd)) return true;
  mt_fail(c, "self of shape %s cannot be broadcast to the product's shape %s",
          mt_list_str(c, mt_sizes(self)), mt_list_str(c, mt_il(size, nd)));
  return false;
}

Tensor *k_addmm(Ctx *c, Tensor *self, Tensor *mat1, Tensor *mat2, Scalar beta, Scalar alpha) {
  if (!matrices(c, mat1, mat2, 2)) return NULL;
  int64_t size[2] = {mat1->size[0], mat2->size[1]};
  return addends(c, self, mat1, beta, alpha, 2, size) ? product(c, mat1, mat2, self, beta, alpha)
                                                      : NULL;
}
Tensor *k_baddbmm(Ctx *c, Tensor *self, Tensor *batch1, Tensor *batch2, Scalar beta, Scalar alpha) {
  if (!matrices(c, batch1, batch2, 3)) return NULL;
  int64_t size[3] = {batch1->size[0], batch1->size[1], batch2->size[2]};
  return addends(c, self, batch1, beta, alpha, 3, size)
             ? product(c, batch1, batch2, self, beta, alpha)
             : NULL;
}

/* A batch of products summed is one product: the batch joins the summed dimension. */
Tensor *k_addbmm(Ctx *c, Tensor *self, Tensor *batch1, Tensor *batch2, Scalar beta, Scalar alpha) {
  if (!matrices(c, batch1, batch2, 3)) return NULL;
  int64_t b = batch1->size[0], n = batch1->size[1], m = batch1->size[2], p = batch2->size[2];
  Tensor *left = t_reshape(c, t_permute(c, batch1, mt_il((int64_t[]){1, 0, 2}, 3)),
                           mt_il((int64_t[]){n, b * m}, 2));
  return t_addmm(c, self, left, t_reshape(c, batch2, mt_il((int64_t[]){b * m, p}, 2)), beta, alpha);
}

static bool vector_of(Ctx *c, const Tensor *mat, const Tensor *vec) {
  if (mat->ndim == 2 && vec->ndim == 1 && mat->size[1] == vec->size[0])
    return same_dtype(c, mat, vec);
  mt_fail(c, "a matrix of shape %s and a vector of shape %s cannot be multiplied",
          mt_list_str(c, mt_sizes(mat)), mt_list_str(c, mt_sizes(vec)));
  return false;
}
Tensor *k_mv(Ctx *c, Tensor *self, Tensor *vec) {
  return vector_of(c, self, vec)
             ? t_squeeze_dim(c, t_mm(c, self, t_unsqueeze(c, vec, 1)), mt_il((int64_t[]){1}, 1))
             : NULL;
}
Tensor *k_addmv(Ctx *c, Tensor *self, Tensor *mat, Tensor *vec, Scalar beta, Scalar alpha) {
  if (!vector_of(c, mat, vec)) return NULL;
  if (self->ndim > 1)
    return mt_fail(c, "self must be a vector or a number, got shape %s",
                   mt_list_str(c, mt_sizes(self)));
  Tensor *col = self->ndim ? t_unsqueeze(c, self, 1) : self;
  return t_squeeze_dim(c, t_addmm(c, col, mat, t_unsqueeze(c, vec, 1), beta, alpha),
                       mt_il((int64_t[]){1}, 1));
}

static bool two_vectors(Ctx *c, const Tensor *a, const Tensor *b, bool same_size) {
  if (a->ndim != 1 || b->ndim != 1) {
    mt_fail(c, "expected two vectors, got shapes %s and %s", mt_list_str(c, mt_sizes(a)),
            mt_list_str(c, mt_sizes(b)));
    return false;
  }
  if (!same_size) return true;
  if (a->size[0] == b->size[0]) return same_dtype(c, a, b);
  mt_fail(c, "inconsistent vector sizes: %lld and %lld", (long long)a->size[0],
          (long long)b->size[0]);
  return false;
}
Tensor *k_dot(Ctx *c, Tensor *self, Tensor *tensor) {
  if (!two_vectors(c, self, tensor, true)) return NULL;
  return t_squeeze(c, t_mm(c, t_unsqueeze(c, self, 0), t_unsqueeze(c, tensor, 1)));
}
Tensor *k_vdot(Ctx *c, Tensor *self, Tensor *other) {
  return two_vectors(c, self, other, true) ? t_dot(c, t_conj(c, self), other) : NULL;
}
Tensor *k_outer(Ctx *c, Tensor *self, Tensor *vec2) {
  return two_vectors(c, self, vec2, false) ? t_mul(c, t_unsqueeze(c, self, 1), vec2) : NULL;
}
Tensor *k_addr(Ctx *c, Tensor *self, Tensor *vec1, Tensor *vec2, Scalar beta, Scalar alpha) {
  if (!two_vectors(c, vec1, vec2, false)) return NULL;
  int64_t size[2] = {vec1->size[0], vec2->size[0]}, shape[MT_MAXDIM];
  int n;
  if (!mt_broadcast(c, self->ndim, self->size, 2, size, &n, shape)) return NULL;
  if (n != 2 || shape[0] != size[0] || shape[1] != size[1])
    return mt_fail(c, "self of shape %s cannot be broadcast to %s", mt_list_str(c, mt_sizes(self)),
                   mt_list_str(c, mt_il(size, 2)));
  DType d = mt_promote((DType)self->dtype, mt_promote((DType)vec1->dtype, (DType)vec2->dtype));
  if (mt_is_int(d) && (beta.kind > K_INT || alpha.kind > K_INT))
    return mt_fail(c, "for integer tensors beta and alpha must be integers");
  if (!mt_is_complex(d) && (beta.kind == K_COMPLEX || alpha.kind == K_COMPLEX))
    return mt_fail(c, "for real tensors beta and alpha must be real");
  Tensor *o = t_outer(c, vec1, vec2);
  if (!(alpha.kind <= K_INT && mt_sint(alpha) == 1)) o = t_mul(c, o, mt_wrap(c, alpha));
  if (mt_sre(beta) == 0 && beta.im == 0)
    return o && o->dtype == d ? o : t_to_dtype(c, o, d, false, -1);
  if (!(beta.kind <= K_INT && mt_sint(beta) == 1)) self = t_mul(c, self, mt_wrap(c, beta));
  return d == MT_bool ? t_logical_or(c, self, o) : t_add(c, self, o, mt_si(1));
}

/* ---- matmul ---- */
/* Dimensions but the last two of a and b, broadcast; the sizes of the full result in shape. */
static bool batch_shape(Ctx *c, const Tensor *a, const Tensor *b, int64_t *shape, int *n) {
  if (!mt_broadcast(c, a->ndim - 2, a->size, b->ndim - 2, b->size, n, shape)) return false;
  return true;
}
static Tensor *to_batch(Ctx *c, Tensor *t, const int64_t *shape, int n, int64_t count) {
  int64_t full[MT_MAXDIM + 2];
  memcpy(full, shape, sizeof(int64_t) * (size_t)n);
  memcpy(full + n, t->size + t->ndim - 2, 2 * sizeof(int64_t));
  int64_t flat[3] = {count, full[n], full[n + 1]};
  bool same = t->ndim == n + 2 && !memcmp(full, t->size, sizeof(int64_t) * (size_t)(n + 2));
  Tensor *e = same ? t : t_expand(c, t, mt_il(full, n + 2), false);
  return e && e->ndim == 3 ? e : t_reshape(c, e, mt_il(flat, 3));
}
static Tensor *batched(Ctx *c, Tensor *a, Tensor *b) {
  int64_t shape[MT_MAXDIM + 2], count = 1;
  int n;
  if (!batch_shape(c, a, b, shape, &n)) return NULL;
  if (a->size[a->ndim - 1] != b->size[b->ndim - 2])
    return mt_fail(c, "shapes %s and %s cannot be multiplied", mt_list_str(c, mt_sizes(a)),
                   mt_list_str(c, mt_sizes(b)));
  for (int i = 0; i < n; i++) count *= shape[i];
  Tensor *r = t_bmm(c, to_batch(c, a, shape, n, count), to_batch(c, b, shape, n, count));
  shape[n] = a->size[a->ndim - 2];
  shape[n + 1] = b->size[b->ndim - 1];
  return n == 1 ? r : t_view(c, r, mt_il(shape, n + 2));
}
/* [..., k] times a matrix or vector: the leading dimensions are rows of one product. */
static Tensor *folded(Ctx *c, Tensor *a, Tensor *b) {
  int64_t size[MT_MAXDIM], rows = 1, k = a->size[a->ndim - 1];
  int n = a->ndim - 1;
  memcpy(size, a->size, sizeof(int64_t) * (size_t)n);
  for (int i = 0; i < n; i++) rows *= size[i];
  if (k != b->size[0])
    return mt_fail(c, "shapes %s and %s cannot be multiplied", mt_list_str(c, mt_sizes(a)),
                   mt_list_str(c, mt_sizes(b)));
  Tensor *flat = t_reshape(c, a, mt_il((int64_t[]){rows, k}, 2));
  if (b->ndim == 1) return t_view(c, t_mv(c, flat, b), mt_il(size, n));
  size[n] = b->size[1];
  return t_view(c, t_mm(c, flat, b), mt_il(size, n + 1));
}
Tensor *k_matmul(Ctx *c, Tensor *self, Tensor *other) {
  int x = self->ndim, y = other->ndim;
  if (!x || !y) return mt_fail(c, "both arguments need at least 1 dimension, got %d and %d", x, y);
  if (x == 2 && y == 2) return t_mm(c, self, other);
  if (x == 1 && y == 1) return t_dot(c, self, other);
  if (x == 2 && y == 1) return t_mv(c, self, other);
  if (!same_dtype(c, self, other)) return NULL;
  if (y <= 2 && x > 2) return folded(c, self, other);
  int64_t last = -1, before = -2;
  Tensor *r = batched(c, x == 1 ? t_unsqueeze(c, self, 0) : self,
                      y == 1 ? t_unsqueeze(c, other, 1) : other);
  if (x == 1) r = t_squeeze_dim(c, r, mt_il(&before, 1));
  return y == 1 ? t_squeeze_dim(c, r, mt_il(&last, 1)) : r;
}

Tensor *k_inner(Ctx *c, Tensor *self, Tensor *other) {
  if (!self->ndim || !other->ndim) return t_mul(c, self, other);
  int64_t k = self->size[self->ndim - 1], size[2 * MT_MAXDIM];
  if (k != other->size[other->ndim - 1])
    return mt_fail(c, "the last dimensions of %s and %s differ", mt_list_str(c, mt_sizes(self)),
                   mt_list_str(c, mt_sizes(other)));
  if (self->ndim + other->ndim - 2 > MT_MAXDIM) return mt_fail(c, "too many dimensions");
  int n = 0;
  int64_t rows = 1, cols = 1;
  for (int i = 0; i + 1 < self->ndim; i++) rows *= size[n++] = self->size[i];
  for (int i = 0; i + 1 < other->ndim; i++) cols *= size[n++] = other->size[i];
  Tensor *b = t_t(c, t_reshape(c, other, mt_il((int64_t[]){cols, k}, 2)));
  return t_reshape(c, t_mm(c, t_reshape(c, self, mt_il((int64_t[]){rows, k}, 2)), b),
                   mt_il(size, n));
}

/* ---- linear ---- */
Tensor *k__linear(Ctx *c, Tensor *input, Tensor *weight, Tensor *bias) {
  Tensor *wt = mt_view(c, weight, 2, (int64_t[]){weight->size[1], weight->size[0]},
                       (int64_t[]){weight->stride[1], weight->stride[0]}, weight->offset);
  return wt ? product(c, input, wt, bias, mt_si(1), mt_si(1)) : NULL;
}
Tensor *k_F_linear(Ctx *c, Tensor *input, Tensor *weight, Tensor *bias) {
  int64_t k = input->ndim ? input->size[input->ndim - 1] : 0;
  if (!input->ndim || weight->ndim < 1 || weight->ndim > 2 || weight->size[weight->ndim - 1] != k)
    return mt_fail(c, "expects [*, %lld], got %s (weight of shape %s)",
                   (long long)(weight->ndim ? weight->size[weight->ndim - 1] : 0),
                   mt_list_str(c, mt_sizes(input)), mt_list_str(c, mt_sizes(weight)));
  if (weight->ndim == 1) {
    Tensor *y = t_matmul(c, input, weight);
    return bias ? t_add(c, y, bias, mt_si(1)) : y;
  }
  if (!same_dtype(c, input, weight) || (bias && !same_dtype(c, bias, weight))) return NULL;
  int64_t size[MT_MAXDIM], out = weight->size[0];
  if (bias && !(bias->ndim == 1 && bias->size[0] == out)) {
    Tensor *y = t_F_linear(c, input, weight, NULL);
    return t_add(c, y, bias, mt_si(1));
  }
  if (input->ndim == 2) return t__linear(c, input, weight, bias);
  memcpy(size, input->size, sizeof(int64_t) * input->ndim);
  int64_t rows = 1;
  for (int i = 0; i + 1 < input->ndim; i++) rows *= size[i];
  size[input->ndim - 1] = out;
  Tensor *y = t__linear(c, t_reshape(c, input, mt_il((int64_t[]){rows, k}, 2)), weight, bias);
  return t_view(c, y, mt_il(size, input->ndim));
}
/* x1 [n, i], weight [o, i, j], x2 [n, j]: one product with weight as [i, o * j], then one per row.
 */
Tensor *k_F_bilinear(Ctx *c, Tensor *input1, Tensor *input2, Tensor *weight, Tensor *bias) {
  int nd = input1->ndim;
  if (!nd || input2->ndim != nd || weight->ndim != 3 ||
      memcmp(input1->size, input2->size, sizeof(int64_t) * (size_t)(nd - 1)) ||
      input1->size[nd - 1] != weight->size[1] || input2->size[nd - 1] != weight->size[2])
    return mt_fail(c, "inputs of shapes %s and %s do not fit weight of shape %s",
                   mt_list_str(c, mt_sizes(input1)), mt_list_str(c, mt_sizes(input2)),
                   mt_list_str(c, mt_sizes(weight)));
  if (bias && (bias->ndim != 1 || bias->size[0] != weight->size[0]))
    return mt_fail(c, "bias of shape %s does not fit weight of shape %s",
                   mt_list_str(c, mt_sizes(bias)), mt_list_str(c, mt_sizes(weight)));
  int64_t o = weight->size[0], i = weight->size[1], j = weight->size[2], n = 1, size[MT_MAXDIM];
  for (int d = 0; d + 1 < nd; d++) n *= size[d] = input1->size[d];
  size[nd - 1] = o;
  Tensor *w = t_reshape(c, t_permute(c, weight, mt_il((int64_t[]){1, 0, 2}, 3)),
                        mt_il((int64_t[]){i, o * j}, 2));
  Tensor *h = t_mm(c, t_reshape(c, input1, mt_il((int64_t[]){n, i}, 2)), w);
  Tensor *y = t_bmm(c, t_reshape(c, h, mt_il((int64_t[]){n, o, j}, 3)),
                    t_reshape(c, input2, mt_il((int64_t[]){n, j, 1}, 3)));
  y = t_reshape(c, y, mt_il(size, nd));
  return bias ? t_add(c, y, bias, mt_si(1)) : y;
}

/* ---- chains ---- */
enum { MAX_CHAIN = 64 };
static Tensor *chain(Ctx *c, Tensor **m, int (*split)[MAX_CHAIN], int i, int j) {
  if (i == j) return m[i];
  Tensor *left = chain(c, m, split, i, split[i][j]);
  return t_mm(c, left, chain(c, m, split, split[i][j] + 1, j));
}
/* The classic order of least multiplications, by dynamic programming. */
static Tensor *cheapest(Ctx *c, Tensor **m, int n) {
  double cost[MAX_CHAIN][MAX_CHAIN];
  int split[MAX_CHAIN][MAX_CHAIN];
  for (int i = 0; i < n; i++) cost[i][i] = 0;
  for (int len = 1; len < n; len++)
    for (int i = 0; i + len < n; i++) {
      int j = i + len;
      cost[i][j] = INFINITY;
      for (int k = i; k < j; k++) {
        double v = cost[i][k] + cost[k + 1][j] +
                   (double)m[i]->size[0] * (double)m[k]->size[1] * (double)m[j]->size[1];
        if (v < cost[i][j]) { cost[i][j] = v; split[i][j] = k; }
      }
    }
  return chain(c, m, split, 0, n - 1);
}
static Tensor *multi(Ctx *c, TensorList l, bool vectors) {
  Tensor *m[MAX_CHAIN];
  if (l.n < 1 || l.n > MAX_CHAIN || (vectors && l.n < 2))
    return mt_fail(c, "expected 2 to %d tensors, got %lld", MAX_CHAIN, (long long)l.n);
  memcpy(m, l.v, sizeof *m * (size_t)l.n);
  bool row = vectors && m[0]->ndim == 1, col = vectors && m[l.n - 1]->ndim == 1;
  if (row) m[0] = t_unsqueeze(c, m[0], 0);
  if (col) m[l.n - 1] = t_unsqueeze(c, m[l.n - 1], 1);
  if (c->err) return NULL;
  for (int i = 0; i < l.n; i++) {
    if (m[i]->ndim != 2)
      return mt_fail(c, "tensor %d must be a matrix, got shape %s", i,
                     mt_list_str(c, mt_sizes(m[i])));
    if (i && !matrices(c, m[i - 1], m[i], 2)) return NULL;
  }
  Tensor *r = cheapest(c, m, (int)l.n);
  int64_t zero = 0, last = -1;
  if (col) r = t_squeeze_dim(c, r, mt_il(&last, 1));
  return row ? t_squeeze_dim(c, r, mt_il(&zero, 1)) : r;
}
Tensor *k_chain_matmul(Ctx *c, TensorList matrices_) { return multi(c, matrices_, false); }
Tensor *k_linalg_multi_dot(Ctx *c, TensorList tensors) { return multi(c, tensors, true); }

/* ---- tensordot and kron ---- */
Tensor *k_tensordot_lists(Ctx *c, Tensor *self, Tensor *other, IntList da, IntList db) {
  if (da.n != db.n)
    return mt_fail(c, "both dimension lists must have the same length, got %lld and %lld",
                   (long long)da.n, (long long)db.n);
  int64_t pa[MT_MAXDIM], pb[MT_MAXDIM], size[2 * MT_MAXDIM], k = 1, rows = 1, cols = 1;
  bool sa[MT_MAXDIM] = {false}, sb[MT_MAXDIM] = {false};
  int na = 0, nb = 0, n = 0;
  for (int64_t i = 0; i < da.n; i++) {
    int x = mt_dim(c, da.v[i], self->ndim), y = mt_dim(c, db.v[i], other->ndim);
    if (x < 0 || y < 0) return NULL;
    if (sa[x] || sb[y]) return mt_fail(c, "a dimension appears twice");
    sa[x] = sb[y] = true;
    if (self->size[x] == other->size[y]) continue;
    if (self->size[x] == 1) other = t_sum_dim(c, other, mt_il(&(int64_t){y}, 1), true, self->dtype);
    else if (other->size[y] == 1)
      self = t_sum_dim(c, self, mt_il(&(int64_t){x}, 1), true, other->dtype);
    else
      return mt_fail(c, "contracted dimensions need to match, got %lld and %lld",
                     (long long)self->size[x], (long long)other->size[y]);
    if (c->err) return NULL;
  }
  for (int i = 0; i < self->ndim; i++)
    if (!sa[i]) {
      pa[na++] = i;
      rows *= size[n++] = self->size[i];
    }
  for (int64_t i = 0; i < da.n; i++) {
    pa[na++] = mt_dim(c, da.v[i], self->ndim);
    pb[nb++] = mt_dim(c, db.v[i], other->ndim);
    k *= self->size[pa[na - 1]];
  }
  for (int i = 0; i < other->ndim; i++)
    if (!sb[i]) {
      pb[nb++] = i;
      cols *= size[n++] = other->size[i];
    }
  Tensor *a = t_reshape(c, t_permute(c, self, mt_il(pa, na)), mt_il((int64_t[]){rows, k}, 2));
  Tensor *b = t_reshape(c, t_permute(c, other, mt_il(pb, nb)), mt_il((int64_t[]){k, cols}, 2));
  return t_reshape(c, t_mm(c, a, b), mt_il(size, n));
}
Tensor *k_tensordot(Ctx *c, Tensor *self, Tensor *other, int64_t dims) {
  int64_t da[MT_MAXDIM], db[MT_MAXDIM];
  if (dims < 0 || dims > self->ndim || dims > other->ndim)
    return mt_fail(c, "dims must be between 0 and both numbers of dimensions, got %lld",
                   (long long)dims);
  for (int64_t i = 0; i < dims; i++) { da[i] = self->ndim - dims + i; db[i] = i; }
  return t_tensordot_lists(c, self, other, mt_il(da, dims), mt_il(db, dims));
}
Tensor *k_kron(Ctx *c, Tensor *self, Tensor *other) {
  int n = self->ndim > other->ndim ? self->ndim : other->ndim;
  int64_t a[2 * MT_MAXDIM], b[2 * MT_MAXDIM], r[MT_MAXDIM];
  if (2 * n > MT_MAXDIM) return mt_fail(c, "too many dimensions");
  for (int i = 0; i < n; i++) {
    int x = i - (n - self->ndim), y = i - (n - other->ndim);
    a[2 * i] = x < 0 ? 1 : self->size[x];
    a[2 * i + 1] = b[2 * i] = 1;
    b[2 * i + 1] = y < 0 ? 1 : other->size[y];
    r[i] = a[2 * i] * b[2 * i + 1];
  }
  Tensor *x = t_reshape(c, self, mt_il(a, 2 * n)), *y = t_reshape(c, other, mt_il(b, 2 * n));
  if (n > 1 && a[2 * n - 2] < 256 && b[2 * n - 1] < 256) { /* short rows: spread first, so that
                                                              products run over both last sizes */
    a[2 * n - 1] = b[2 * n - 1];
    b[2 * n - 2] = a[2 * n - 2];
    x = t_contiguous(c, t_expand(c, x, mt_il(a, 2 * n), false), -1);
    y = t_contiguous(c, t_expand(c, y, mt_il(b, 2 * n), false), -1);
  }
  return t_reshape(c, t_mul(c, x, y), mt_il(r, n));
}
