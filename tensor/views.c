/* views.c: kernels of ops_view.def.  Each derives a view's geometry from its tensor's; none touches
 * data. */
#include "op.h"
#include <string.h>

/* a b + c of sizes, strides and offsets, which may wrap where the tensor has no elements. */
static int64_t times(int64_t a, int64_t b, int64_t c) {
  return (int64_t)((uint64_t)a * (uint64_t)b + (uint64_t)c);
}

Tensor *k_alias(Ctx *c, Tensor *self) {
  return mt_view(c, self, self->ndim, self->size, self->stride, self->offset);
}
Tensor *k_detach(Ctx *c, Tensor *self) { return mt_alias(c, self); }

static Tensor *bits_view(Ctx *c, Tensor *t, uint8_t bit) {
  Tensor *v = k_alias(c, t);
  if (v) v->flags ^= bit;
  return v;
}
Tensor *k__conj(Ctx *c, Tensor *self) { return bits_view(c, self, MT_CONJ); }
Tensor *k__neg_view(Ctx *c, Tensor *self) { return bits_view(c, self, MT_NEG); }
Tensor *k_conj(Ctx *c, Tensor *self) {
  return mt_is_complex(self->dtype) ? t__conj(c, self) : self;
}
Tensor *k_positive(Ctx *c, Tensor *self) {
  return self->dtype == MT_bool ? mt_fail(c, "not implemented for bool tensors") : self;
}
Tensor *k_resolve_conj(Ctx *c, Tensor *self) {
  return self->flags & MT_CONJ ? t_clone(c, self, -1) : self;
}
Tensor *k_resolve_neg(Ctx *c, Tensor *self) {
  return self->flags & MT_NEG ? t_clone(c, self, -1) : self;
}

Tensor *k_as_strided(Ctx *c, Tensor *self, IntList size, IntList stride, int64_t storage_offset) {
  int64_t off = storage_offset == MT_NONE_INT ? self->offset : storage_offset;
  Tensor *t = mt_from_storage(c, self->st, size, stride, off, (DType)self->dtype);
  if (!t) return NULL;
  t->flags = self->flags & (MT_CONJ | MT_NEG | MT_INFERENCE);
  t->base = mt_retain(self->base ? self->base : self);
  return t;
}

Tensor *k_expand(Ctx *c, Tensor *self, IntList size, bool implicit) {
  int64_t sz[MT_MAXDIM], st[MT_MAXDIM];
  int lead = (int)size.n - self->ndim;
  if (size.n > MT_MAXDIM)
    return mt_fail(c, "%lld dimensions are more than the %d supported", (long long)size.n,
                   MT_MAXDIM);
  if (lead < 0)
    return mt_fail(c, "size %s has fewer dimensions than the tensor of shape %s",
                   mt_list_str(c, size), mt_list_str(c, mt_sizes(self)));
  for (int i = (int)size.n - 1; i >= 0; i--) {
    int64_t have = i >= lead ? self->size[i - lead] : 1, want = size.v[i];
    if (want == -1) {
      if (i < lead)
        return mt_fail(
            c,
            "size -1 at the new leading dimension %d; only existing dimensions may keep their size",
            i);
      want = have;
    }
    if (want < 0) return mt_fail(c, "size %s has a negative entry", mt_list_str(c, size));
    if (have != want && have != 1)
      return mt_fail(c, "size %lld at dimension %d must match the existing size %lld of shape %s",
                     (long long)want, i, (long long)have, mt_list_str(c, mt_sizes(self)));
    sz[i] = want;
    st[i] = have != want ? 0
            : i >= lead  ? self->stride[i - lead]
                         : (i + 1 < size.n ? sz[i + 1] * st[i + 1] : 1);
    if (i < lead && want != 1) st[i] = 0;
  }
  int64_t n;
  if (self->ndim == 0) memset(st, 0, sizeof st);
  if (!mt_numel(c, mt_il(sz, size.n), &n)) return NULL;
  return mt_view(c, self, (int)size.n, sz, st, self->offset);
}
Tensor *k_broadcast_to(Ctx *c, Tensor *self, IntList size) {
  return t_expand(c, self, size, false);
}
Tensor *k_expand_as(Ctx *c, Tensor *self, Tensor *other) {
  return t_expand(c, self, mt_sizes(other), false);
}

TensorList k_broadcast_tensors(Ctx *c, TensorList tensors) {
  int64_t shape[MT_MAXDIM];
  int n = 0;
  TensorList out = {mt_tmp(c, sizeof(Tensor *) * (size_t)(tensors.n + 1)), 0};
  for (int64_t i = 0; i < tensors.n; i++)
    if (!mt_broadcast(c, n, shape, tensors.v[i]->ndim, tensors.v[i]->size, &n, shape)) return out;
  for (int64_t i = 0; out.v && i < tensors.n; i++)
    out.v[out.n++] = t_expand(c, tensors.v[i], mt_il(shape, n), false);
  return out;
}

Tensor *k_permute(Ctx *c, Tensor *self, IntList dims) {
  int64_t sz[MT_MAXDIM], st[MT_MAXDIM];
  bool seen[MT_MAXDIM] = {false};
  if (dims.n != self->ndim)
    return mt_fail(c, "got %lld dims for a tensor of %d dimensions", (long long)dims.n, self->ndim);
  for (int i = 0; i < self->ndim; i++) {
    int d = mt_dim(c, dims.v[i], self->ndim);
    if (d < 0) return NULL;
    if (seen[d])
      return mt_fail(c, "dim %d appears more than once in %s", d, mt_list_str(c, dims));
    seen[d] = true;
    sz[i] = self->size[d];
    st[i] = self->stride[d];
  }
  return mt_view(c, self, self->ndim, sz, st, self->offset);
}

Tensor *k_transpose(Ctx *c, Tensor *self, int64_t dim0, int64_t dim1) {
  int a = mt_dim(c, dim0, self->ndim), b = a < 0 ? -1 : mt_dim(c, dim1, self->ndim);
  if (b < 0) return NULL;
  Tensor *v = k_alias(c, self);
  if (!v || a == b) return v;
  v->size[a] = self->size[b];
  v->size[b] = self->size[a];
  v->stride[a] = self->stride[b];
  v->stride[b] = self->stride[a];
  return v;
}

Tensor *k_t(Ctx *c, Tensor *self) {
  if (self->ndim > 2)
    return mt_fail(c, "expects a tensor with at most 2 dimensions, got shape %s",
                   mt_list_str(c, mt_sizes(self)));
  return self->ndim < 2 ? t_alias(c, self) : t_transpose(c, self, 0, 1);
}
static Tensor *reversed(Ctx *c, Tensor *self) {
  int64_t d[MT_MAXDIM];
  for (int i = 0; i < self->ndim; i++) d[i] = self->ndim - 1 - i;
  return t_permute(c, self, mt_il(d, self->ndim));
}
Tensor *k_T(Ctx *c, Tensor *self) { return reversed(c, self); }
Tensor *k_mT(Ctx *c, Tensor *self) {
  if (self->ndim < 2) return mt_fail(c, "mT needs at least 2 dimensions, got %d", self->ndim);
  return t_transpose(c, self, -2, -1);
}
Tensor *k_H(Ctx *c, Tensor *self) {
  if (self->ndim != 2 && self->ndim != 0)
    return mt_fail(c, "H needs a matrix (2 dimensions), got %d", self->ndim);
  if (self->ndim == 0) return t_conj(c, t_alias(c, self));
  return t_conj(c, t_transpose(c, self, 0, 1));
}
Tensor *k_mH(Ctx *c, Tensor *self) {
  if (self->ndim < 2) return mt_fail(c, "mH needs at least 2 dimensions, got %d", self->ndim);
  return t_conj(c, t_transpose(c, self, -2, -1));
}
Tensor *k_adjoint(Ctx *c, Tensor *self) {
  if (self->ndim < 2) return mt_fail(c, "needs at least 2 dimensions, got %d", self->ndim);
  return t_conj(c, t_transpose(c, self, -2, -1));
}

Tensor *k_movedim(Ctx *c, Tensor *self, IntList source, IntList destination) {
  int64_t order[MT_MAXDIM];
  bool src[MT_MAXDIM] = {0}, dst[MT_MAXDIM] = {0};
  int n = self->ndim;
  if (source.n != destination.n)
    return mt_fail(c, "source %s and destination %s must have one length", mt_list_str(c, source),
                   mt_list_str(c, destination));
  for (int64_t i = 0; i < source.n; i++) {
    int s = mt_dim(c, source.v[i], n), d = s < 0 ? -1 : mt_dim(c, destination.v[i], n);
    if (d < 0) return NULL;
    if (src[s] || dst[d])
      return mt_fail(c, "repeated dim in %s %s", src[s] ? "source" : "destination",
                     mt_list_str(c, src[s] ? source : destination));
    src[s] = dst[d] = true;
    order[d] = s;
  }
  for (int i = 0, s = 0; i < n; i++) {
    if (dst[i]) continue;
    while (src[s]) s++;
    order[i] = s++;
  }
  return n ? t_permute(c, self, mt_il(order, n)) : t_alias(c, self);
}

static Tensor *drop_dim(Ctx *c, Tensor *self, int d, int64_t offset) {
  int64_t sz[MT_MAXDIM], st[MT_MAXDIM];
  int m = 0;
  for (int i = 0; i < self->ndim; i++)
    if (i != d) {
      sz[m] = self->size[i];
      st[m++] = self->stride[i];
    }
  return mt_view(c, self, m, sz, st, offset);
}

Tensor *k_select(Ctx *c, Tensor *self, int64_t dim, int64_t index) {
  if (!self->ndim) return mt_fail_kind(c, MT_ERROR, "a 0-dim tensor cannot be indexed");
  int d = mt_dim(c, dim, self->ndim);
  if (d < 0) return NULL;
  int64_t n = self->size[d];
  if (index < -n || index >= n)
    return mt_fail(c, "index %lld is out of bounds for dimension %d with size %lld",
                   (long long)index, d, (long long)n);
  return drop_dim(c, self, d, times(index < 0 ? index + n : index, self->stride[d], self->offset));
}

Tensor *k_slice(Ctx *c, Tensor *self, int64_t dim, int64_t start, int64_t end, int64_t step) {
  if (!self->ndim) return mt_fail(c, "a 0-dim tensor cannot be sliced");
  int d = mt_dim(c, dim, self->ndim);
  if (d < 0) return NULL;
  if (step <= 0) return mt_fail(c, "slice step must be positive, got %lld", (long long)step);
  int64_t n = self->size[d];
  if (start == MT_NONE_INT) start = 0;
  if (end == MT_NONE_INT) end = n;
  if (start < 0) start = start < -n ? 0 : start + n;
  if (end < 0) end = end < -n ? 0 : end + n;
  if (start > n) start = n;
  if (end > n) end = n;
  if (end < start) end = start;
  Tensor *v = mt_view(c, self, self->ndim, self->size, self->stride,
                      times(start, self->stride[d], self->offset));
  if (!v) return NULL;
  int64_t len = (end - start) / step + ((end - start) % step != 0);
  v->size[d] = len;
  if (__builtin_mul_overflow(self->stride[d], step, &v->stride[d])) v->stride[d] = self->stride[d];
  v->numel = 1;
  for (int i = 0; i < v->ndim; i++) v->numel = times(v->numel, v->size[i], 0);
  return v;
}

Tensor *k_narrow(Ctx *c, Tensor *self, int64_t dim, int64_t start, int64_t length) {
  if (!self->ndim) return mt_fail(c, "a 0-dim tensor cannot be narrowed");
  int d = mt_dim(c, dim, self->ndim);
  if (d < 0) return NULL;
  int64_t n = self->size[d];
  if (length < 0) return mt_fail(c, "length must be 0 or more, got %lld", (long long)length);
  if (start < -n || start > n)
    return mt_fail(c, "start %lld is out of range for dimension %d of size %lld", (long long)start,
                   d, (long long)n);
  if (start < 0) start += n;
  if (start > n - length)
    return mt_fail(c, "start %lld and length %lld exceed the size %lld of dimension %d",
                   (long long)start, (long long)length, (long long)n, d);
  return t_slice(c, self, d, start, start + length, 1);
}
Tensor *k_narrow_Tensor(Ctx *c, Tensor *self, int64_t dim, Tensor *start, int64_t length) {
  if (start->ndim || !mt_is_int(start->dtype) || start->dtype == MT_bool)
    return mt_fail(c, "start must be a 0-dim integer tensor");
  return t_narrow(c, self, dim, mt_sint(mt_item(c, start)), length);
}

Tensor *k_diagonal(Ctx *c, Tensor *self, int64_t offset, int64_t dim1, int64_t dim2) {
  int64_t sz[MT_MAXDIM], st[MT_MAXDIM];
  int a = mt_dim(c, dim1, self->ndim), b = a < 0 ? -1 : mt_dim(c, dim2, self->ndim), m = 0;
  if (b < 0) return NULL;
  if (a == b || self->ndim < 2)
    return mt_fail(c, "diagonal dimensions cannot be identical (%lld, %lld)", (long long)dim1,
                   (long long)dim2);
  int64_t len =
      offset >= 0
          ? (self->size[b] - offset < self->size[a] ? self->size[b] - offset : self->size[a])
          : (self->size[a] + offset < self->size[b] ? self->size[a] + offset : self->size[b]);
  if (len < 0 || offset > self->size[b] || offset < -self->size[a]) len = 0;
  int64_t off = self->offset;
  if (len) off = offset >= 0 ? times(offset, self->stride[b], off)
                             : times(-offset, self->stride[a], off);
  for (int i = 0; i < self->ndim; i++)
    if (i != a && i != b) {
      sz[m] = self->size[i];
      st[m++] = self->stride[i];
    }
  sz[m] = len;
  st[m++] = times(1, self->stride[a], self->stride[b]);
  return mt_view(c, self, m, sz, st, off);
}
Tensor *k_linalg_diagonal(Ctx *c, Tensor *A, int64_t offset, int64_t dim1, int64_t dim2) {
  return t_diagonal(c, A, offset, dim1, dim2);
}

Tensor *k_unfold(Ctx *c, Tensor *self, int64_t dimension, int64_t size, int64_t step) {
  int64_t sz[MT_MAXDIM], st[MT_MAXDIM];
  int d = mt_dim(c, dimension, self->ndim), n = self->ndim;
  if (d < 0) return NULL;
  int64_t len = n ? self->size[d] : 1;
  if (size < 0 || size > len)
    return mt_fail(c, "size %lld must be at most %lld, the size of dimension %d", (long long)size,
                   (long long)len, d);
  if (step <= 0) return mt_fail(c, "step must be positive, got %lld", (long long)step);
  if (n >= MT_MAXDIM) return mt_fail(c, "too many dimensions");
  for (int i = 0; i < n; i++) { sz[i] = self->size[i]; st[i] = self->stride[i]; }
  if (n) { /* one window: its stride says nothing */
    sz[d] = (len - size) / step + 1;
    st[d] = times(self->stride[d], step, 0);
  }
  sz[n] = size;
  st[n] = n ? self->stride[d] : 1;
  return mt_view(c, self, n + 1, sz, st, self->offset);
}

static Tensor *squeeze_mask(Ctx *c, Tensor *self, uint64_t mask) {
  int64_t sz[MT_MAXDIM], st[MT_MAXDIM];
  int m = 0;
  for (int i = 0; i < self->ndim; i++)
    if (!(i > 63 ? mask == ~0ull : mask >> i & 1) || self->size[i] != 1) {
      sz[m] = self->size[i];
      st[m++] = self->stride[i];
    }
  return mt_view(c, self, m, sz, st, self->offset);
}
Tensor *k_squeeze(Ctx *c, Tensor *self) { return squeeze_mask(c, self, ~0ull); }
Tensor *k_squeeze_dim(Ctx *c, Tensor *self, IntList dim) {
  uint64_t m = dim.n ? mt_dim_mask(c, dim, self->ndim) : 0;
  return c->err ? NULL : squeeze_mask(c, self, m);
}

Tensor *k_unsqueeze(Ctx *c, Tensor *self, int64_t dim) {
  int64_t sz[MT_MAXDIM], st[MT_MAXDIM];
  int d = mt_dim(c, dim, self->ndim + 1), m = 0;
  if (d < 0) return NULL;
  if (self->ndim >= MT_MAXDIM) return mt_fail(c, "too many dimensions");
  for (int i = 0; i <= self->ndim; i++) {
    if (i == d) {
      sz[m] = 1;
      st[m++] = i < self->ndim ? times(self->size[i], self->stride[i], 0) : 1;
    }
    if (i < self->ndim) { sz[m] = self->size[i]; st[m++] = self->stride[i]; }
  }
  return mt_view(c, self, m, sz, st, self->offset);
}

/* The strides that give self's elements in order under a new shape, or false. */
static bool view_strides(const Tensor *t, int n, const int64_t *size, int64_t *stride) {
  if (t->numel == 0) {
    uint64_t acc = 1;                        /* may wrap beside the size 0 */
    for (int i = n - 1; i >= 0; i--) {
      stride[i] = (int64_t)acc;
      acc *= (uint64_t)(size[i] > 1 ? size[i] : 1);
    }
    if (n == t->ndim && !memcmp(size, t->size, sizeof(int64_t) * (size_t)n))
      memcpy(stride, t->stride, sizeof(int64_t) * (size_t)n);
    return true;
  }
  int d = n - 1;
  int64_t base = t->ndim ? t->stride[t->ndim - 1] : 1, tn = 1, vn = 1;
  for (int i = t->ndim - 1; i >= 0; i--) {
    tn *= t->size[i];
    if (i == 0 || (t->size[i - 1] != 1 && t->stride[i - 1] != tn * base)) {
      while (d >= 0 && (vn < tn || size[d] == 1)) {
        stride[d] = vn * base;
        vn *= size[d--];
      }
      if (vn != tn) return false;
      if (i > 0) { base = t->stride[i - 1]; tn = vn = 1; }
    }
  }
  if (!t->ndim) while (d >= 0) { stride[d] = 1; d--; }
  return d == -1;
}

/* Fills in a -1; out gets the full size. */
static bool infer_size(Ctx *c, const Tensor *t, IntList size, int64_t *out) {
  int64_t known = 1;
  int hole = -1;
  if (size.n > MT_MAXDIM) {
    mt_fail(c, "%lld dimensions are more than the %d supported", (long long)size.n, MT_MAXDIM);
    return false;
  }
  for (int i = 0; i < size.n; i++) {
    out[i] = size.v[i];
    if (size.v[i] == -1) {
      if (hole >= 0) {
        mt_fail(c, "only one dimension may be -1, got %s", mt_list_str(c, size));
        return false;
      }
      hole = i;
    } else if (size.v[i] < 0) {
      mt_fail(c, "invalid dimension %lld in %s", (long long)size.v[i], mt_list_str(c, size));
      return false;
    } else if (__builtin_mul_overflow(known, size.v[i], &known)) {
      mt_fail(c, "size %s has too many elements", mt_list_str(c, size));
      return false;
    }
  }
  if (hole >= 0 && known == 0 && t->numel == 0) {
    mt_fail(c, "cannot tell the size of the dimension -1 in %s: the tensor has no elements",
            mt_list_str(c, size));
    return false;
  }
  if (hole >= 0 && known && t->numel % known == 0) { out[hole] = t->numel / known; return true; }
  if (hole >= 0 || known != t->numel) {
    mt_fail(c, "shape %s is invalid for a tensor of %lld elements (shape %s)", mt_list_str(c, size),
            (long long)t->numel, mt_list_str(c, mt_sizes(t)));
    return false;
  }
  return true;
}

Tensor *k_view(Ctx *c, Tensor *self, IntList size) {
  int64_t sz[MT_MAXDIM], st[MT_MAXDIM];
  if (!infer_size(c, self, size, sz)) return NULL;
  if (!view_strides(self, (int)size.n, sz, st))
    return mt_fail(c,
                   "size %s is not compatible with the tensor's size %s and stride %s; use reshape",
                   mt_list_str(c, mt_il(sz, size.n)), mt_list_str(c, mt_sizes(self)),
                   mt_list_str(c, mt_il(self->stride, self->ndim)));
  return mt_view(c, self, (int)size.n, sz, st, self->offset);
}

Tensor *k_reshape(Ctx *c, Tensor *self, IntList shape) {
  int64_t sz[MT_MAXDIM], st[MT_MAXDIM];
  if (!infer_size(c, self, shape, sz)) return NULL;
  if (view_strides(self, (int)shape.n, sz, st)) return t_view(c, self, mt_il(sz, shape.n));
  return t_view(c, t_clone(c, self, 0), mt_il(sz, shape.n));
}
Tensor *k_view_as(Ctx *c, Tensor *self, Tensor *other) { return t_view(c, self, mt_sizes(other)); }
Tensor *k_reshape_as(Ctx *c, Tensor *self, Tensor *other) {
  return t_reshape(c, self, mt_sizes(other));
}

Tensor *k_view_dtype(Ctx *c, Tensor *self, int dtype) {
  int64_t a = (int64_t)mt_dsize(self->dtype), b = (int64_t)mt_dsize(dtype);
  if (self->flags & (MT_CONJ | MT_NEG))
    return mt_fail(c, "a conjugate or negative view has no bytes of its own; resolve it first");
  if (a != b && !self->ndim)
    return mt_fail(c, "a 0-dim tensor can only be viewed as a dtype of its own size");
  Tensor *v = k_alias(c, self);
  if (!v) return NULL;
  int last = v->ndim - 1;
  if (a != b) {
    if (v->stride[last] != 1)
      return mt_fail(
          c, "the last dimension must be contiguous (stride 1) to view as a dtype of another size");
    for (int i = 0; i < last; i++) {
      if (v->stride[i] * a % b)
        return mt_fail(c, "stride %lld at dimension %d does not divide into the new dtype",
                       (long long)v->stride[i], i);
      v->stride[i] = v->stride[i] * a / b;
    }
    if (v->size[last] * a % b || v->offset * a % b)
      return mt_fail(c,
                     "the last dimension's size or the offset does not divide into the new dtype");
    v->size[last] = v->size[last] * a / b;
    v->offset = v->offset * a / b;
    v->numel = v->numel * a / b;
  }
  v->dtype = (uint8_t)dtype;
  return v;
}

Tensor *k_flatten(Ctx *c, Tensor *self, int64_t start_dim, int64_t end_dim) {
  int64_t sz[MT_MAXDIM], n = 1;
  int a = mt_dim(c, start_dim, self->ndim), b = a < 0 ? -1 : mt_dim(c, end_dim, self->ndim), m = 0;
  if (b < 0) return NULL;
  if (a > b)
    return mt_fail(c, "start_dim %lld comes after end_dim %lld", (long long)start_dim,
                   (long long)end_dim);
  if (!self->ndim) return t_reshape(c, self, mt_il((int64_t[]){1}, 1));
  if (a == b) return self;
  for (int i = 0; i < a; i++) sz[m++] = self->size[i];
  for (int i = a; i <= b; i++) n *= self->size[i];
  sz[m++] = n;
  for (int i = b + 1; i < self->ndim; i++) sz[m++] = self->size[i];
  return t_reshape(c, self, mt_il(sz, m));
}

Tensor *k_unflatten(Ctx *c, Tensor *self, int64_t dim, IntList sizes) {
  int64_t sz[MT_MAXDIM], known = 1;
  int d = mt_dim(c, dim, self->ndim), m = 0, hole = -1;
  if (d < 0) return NULL;
  if (sizes.n <= 0) return mt_fail(c, "sizes must not be empty");
  if (!self->ndim) return mt_fail(c, "a 0-dim tensor cannot be unflattened");
  if (self->ndim + sizes.n > MT_MAXDIM) return mt_fail(c, "too many dimensions");
  for (int i = 0; i < d; i++) sz[m++] = self->size[i];
  for (int64_t i = 0; i < sizes.n; i++) {
    if (sizes.v[i] == -1) {
      if (hole >= 0) return mt_fail(c, "only one size may be -1, got %s", mt_list_str(c, sizes));
      hole = m;
    } else if (sizes.v[i] < 0) return mt_fail(c, "invalid size %lld", (long long)sizes.v[i]);
    else if (__builtin_mul_overflow(known, sizes.v[i], &known)) known = INT64_MAX;
    sz[m++] = sizes.v[i];
  }
  if (hole >= 0 && known && self->size[d] % known == 0) sz[hole] = self->size[d] / known;
  else if (hole >= 0 || known != self->size[d])
    return mt_fail(c, "sizes %s don't multiply up to the size of dim %d (%lld)",
                   mt_list_str(c, sizes), d, (long long)self->size[d]);
  for (int i = d + 1; i < self->ndim; i++) sz[m++] = self->size[i];
  return t_view(c, self, mt_il(sz, m));
}
Tensor *k_ravel(Ctx *c, Tensor *self) {
  return t_reshape(c, mt_is_contiguous(self) ? self : t_contiguous(c, self, -1),
                   mt_il((int64_t[]){-1}, 1));
}

Tensor *k_view_as_real(Ctx *c, Tensor *self) {
  int64_t sz[MT_MAXDIM], st[MT_MAXDIM];
  if (!mt_is_complex(self->dtype))
    return mt_fail(c, "needs a complex tensor, got %s", mt_dtypes[self->dtype].name);
  if (self->flags & MT_CONJ)
    return mt_fail(c, "a conjugate view cannot be viewed as real; call resolve_conj() first");
  if (self->ndim >= MT_MAXDIM) return mt_fail(c, "too many dimensions");
  for (int i = 0; i < self->ndim; i++) {
    sz[i] = self->size[i];
    st[i] = times(self->stride[i], 2, 0);
  }
  sz[self->ndim] = 2;
  st[self->ndim] = 1;
  Tensor *v = mt_view(c, self, self->ndim + 1, sz, st, self->offset * 2);
  if (v) v->dtype = (uint8_t)mt_real_dtype((DType)self->dtype);
  return v;
}

Tensor *k_view_as_complex(Ctx *c, Tensor *self) {
  int64_t st[MT_MAXDIM];
  if (self->dtype != MT_float32 && self->dtype != MT_float64)
    return mt_fail(c, "needs a float32 or float64 tensor, got %s", mt_dtypes[self->dtype].name);
  int n = self->ndim - 1;
  if (n < 0 || self->size[n] != 2)
    return mt_fail(c, "the last dimension must have size 2, got shape %s",
                   mt_list_str(c, mt_sizes(self)));
  if (self->stride[n] != 1) return mt_fail(c, "the last dimension must have stride 1");
  if (self->offset % 2) return mt_fail(c, "the storage offset must be even");
  for (int i = 0; i < n; i++) {
    if (self->stride[i] % 2) return mt_fail(c, "the stride of dimension %d must be even", i);
    st[i] = self->stride[i] / 2;
  }
  Tensor *v = mt_view(c, self, n, self->size, st, self->offset / 2);
  if (v) v->dtype = (uint8_t)mt_complex_dtype((DType)self->dtype);
  return v;
}

Tensor *k_real(Ctx *c, Tensor *self) {
  if (!mt_is_complex(self->dtype)) return self;
  Tensor *plain = self->flags & MT_CONJ ? t__conj(c, self) : self;
  return t_select(c, t_view_as_real(c, plain), -1, 0);
}
Tensor *k_imag(Ctx *c, Tensor *self) {
  if (!mt_is_complex(self->dtype))
    return mt_fail(c, "is not implemented for tensors with non-complex dtypes");
  if (self->flags & MT_CONJ)
    return t__neg_view(c, t_select(c, t_view_as_real(c, t__conj(c, self)), -1, 1));
  return t_select(c, t_view_as_real(c, self), -1, 1);
}

/* ---- lists of views ---- */
static TensorList list(Ctx *c, int64_t n) {
  TensorList l = {mt_tmp(c, sizeof(Tensor *) * (size_t)(n > 0 ? n : 1)), 0};
  return l;
}

TensorList k_unbind(Ctx *c, Tensor *self, int64_t dim) {
  TensorList l = list(c, 0);
  if (!self->ndim) {
    mt_fail(c, "dimension specified as %lld but tensor has no dimensions", (long long)dim);
    return l;
  }
  int d = mt_dim(c, dim, self->ndim);
  if (d < 0) return l;
  l = list(c, self->size[d]);
  for (int64_t i = 0; l.v && i < self->size[d]; i++) {
    Tensor *v = drop_dim(c, self, d, times(i, self->stride[d], self->offset));
    if (!v) break;
    l.v[l.n++] = v;
  }
  return l;
}

TensorList k_split_with_sizes(Ctx *c, Tensor *self, IntList sizes, int64_t dim) {
  TensorList l = list(c, sizes.n);
  if (!self->ndim) { mt_fail(c, "expects at least a 1-dimensional tensor"); return l; }
  int d = mt_dim(c, dim, self->ndim);
  if (d < 0) return l;
  int64_t sum = 0;
  for (int64_t i = 0; i < sizes.n; i++) {
    if (sizes.v[i] < 0) {
      mt_fail(c, "split sizes must be 0 or more, got %s", mt_list_str(c, sizes));
      return l;
    }
    if (__builtin_add_overflow(sum, sizes.v[i], &sum)) sum = INT64_MAX;
  }
  if (sum != self->size[d]) {
    mt_fail(c, "split sizes %s must sum to %lld, the size of dimension %d", mt_list_str(c, sizes),
            (long long)self->size[d], d);
    return l;
  }
  int64_t at = 0;
  for (int64_t i = 0; l.v && i < sizes.n; i++) {
    Tensor *v = k_slice(c, self, d, at, at + sizes.v[i], 1);
    if (!v) break;
    l.v[l.n++] = v;
    at += sizes.v[i];
  }
  return l;
}
TensorList k_split_sizes(Ctx *c, Tensor *self, IntList sizes, int64_t dim) {
  return t_split_with_sizes(c, self, sizes, dim);
}

TensorList k_split(Ctx *c, Tensor *self, int64_t split_size, int64_t dim) {
  TensorList l = list(c, 0);
  if (!self->ndim) { mt_fail(c, "expects at least a 1-dimensional tensor"); return l; }
  int d = mt_dim(c, dim, self->ndim);
  if (d < 0) return l;
  int64_t n = self->size[d];
  if (split_size < 0 || (split_size == 0 && n)) {
    mt_fail(c, "split_size must be positive, got %lld", (long long)split_size);
    return l;
  }
  int64_t k = split_size ? n / split_size + (n % split_size != 0) : 1;
  if (k < 1) k = 1;
  int64_t *sizes = mt_tmp(c, sizeof(int64_t) * (size_t)k);
  if (!sizes) return l;
  for (int64_t i = 0; i < k; i++) sizes[i] = i + 1 < k ? split_size : n - split_size * (k - 1);
  return t_split_with_sizes(c, self, mt_il(sizes, k), d);
}

TensorList k_chunk(Ctx *c, Tensor *self, int64_t chunks, int64_t dim) {
  TensorList l = list(c, 0);
  if (!self->ndim) { mt_fail(c, "expects at least a 1-dimensional tensor"); return l; }
  if (chunks <= 0) { mt_fail(c, "chunks must be positive, got %lld", (long long)chunks); return l; }
  int d = mt_dim(c, dim, self->ndim);
  if (d < 0) return l;
  int64_t n = self->size[d], per = n ? (n - 1) / chunks + 1 : 0;
  if (per == 0) {
    if (chunks > INT32_MAX) { mt_fail(c, "%lld chunks are too many", (long long)chunks); return l; }
    int64_t *z = mt_tmp(c, sizeof(int64_t) * (size_t)chunks);
    if (!z) return l;
    memset(z, 0, sizeof(int64_t) * (size_t)chunks);
    return t_split_with_sizes(c, self, mt_il(z, chunks), d);
  }
  return t_split(c, self, per, d);
}

TensorList k_tensor_split(Ctx *c, Tensor *self, int64_t sections, int64_t dim) {
  TensorList l = list(c, 0);
  if (!self->ndim) { mt_fail(c, "expects at least a 1-dimensional tensor"); return l; }
  if (sections <= 0) {
    mt_fail(c, "the number of sections must be positive, got %lld", (long long)sections);
    return l;
  }
  if (sections > INT32_MAX) {
    mt_fail(c, "%lld sections are too many", (long long)sections);
    return l;
  }
  int d = mt_dim(c, dim, self->ndim);
  if (d < 0) return l;
  l = list(c, sections);
  int64_t n = self->size[d], at = 0;
  for (int64_t i = 0; l.v && i < sections; i++) {
    int64_t len = n / sections + (i < n % sections);
    Tensor *v = t_slice(c, self, d, at, at + len, 1);
    if (!v) break;
    l.v[l.n++] = v;
    at += len;
  }
  return l;
}

TensorList k_tensor_split_indices(Ctx *c, Tensor *self, IntList indices, int64_t dim) {
  TensorList l = list(c, indices.n + 1);
  if (!self->ndim) { mt_fail(c, "expects at least a 1-dimensional tensor"); return l; }
  int d = mt_dim(c, dim, self->ndim);
  if (d < 0) return l;
  int64_t at = 0;
  for (int64_t i = 0; l.v && i <= indices.n; i++) {
    int64_t end = i < indices.n ? indices.v[i] : self->size[d];
    Tensor *v = t_slice(c, self, d, at, end, 1);
    if (!v) break;
    l.v[l.n++] = v;
    at = end;
  }
  return l;
}

TensorList k_tensor_split_Tensor(Ctx *c, Tensor *self, Tensor *t, int64_t dim) {
  TensorList l = list(c, 0);
  if (t->ndim > 1 || t->dtype != MT_int64) {
    mt_fail(c, "sections or indices must be an int64 tensor of 0 or 1 dimensions");
    return l;
  }
  if (t->ndim == 0) return t_tensor_split(c, self, mt_sint(mt_item(c, t)), dim);
  Tensor *flat = mt_contig(c, t);
  return flat ? t_tensor_split_indices(c, self, mt_il(mt_data(flat), flat->numel), dim) : l;
}

static TensorList even_split(Ctx *c, Tensor *self, int64_t sections, int dim, int need) {
  TensorList l = list(c, 0);
  if (self->ndim < need) {
    mt_fail(c, "needs at least %d dimensions, got %d", need, self->ndim);
    return l;
  }
  if (sections <= 0 || self->size[dim] % sections) {
    mt_fail(c, "the size %lld of dimension %d must divide into %lld sections",
            (long long)self->size[dim], dim, (long long)sections);
    return l;
  }
  return t_tensor_split(c, self, sections, dim);
}
static TensorList index_split(Ctx *c, Tensor *self, IntList ix, int dim, int need) {
  TensorList l = list(c, 0);
  if (self->ndim < need) {
    mt_fail(c, "needs at least %d dimensions, got %d", need, self->ndim);
    return l;
  }
  return t_tensor_split_indices(c, self, ix, dim);
}
TensorList k_hsplit(Ctx *c, Tensor *self, int64_t sections) {
  return even_split(c, self, sections, self->ndim == 1 ? 0 : 1, 1);
}
TensorList k_hsplit_indices(Ctx *c, Tensor *self, IntList ix) {
  return index_split(c, self, ix, self->ndim == 1 ? 0 : 1, 1);
}
TensorList k_vsplit(Ctx *c, Tensor *self, int64_t sections) {
  return even_split(c, self, sections, 0, 2);
}
TensorList k_vsplit_indices(Ctx *c, Tensor *self, IntList ix) {
  return index_split(c, self, ix, 0, 2);
}
TensorList k_dsplit(Ctx *c, Tensor *self, int64_t sections) {
  return even_split(c, self, sections, 2, 3);
}
TensorList k_dsplit_indices(Ctx *c, Tensor *self, IntList ix) {
  return index_split(c, self, ix, 2, 3);
}

static Tensor *atleast(Ctx *c, Tensor *t, int n) {
  if (t->ndim >= n) return t;
  if (t->ndim == 0) { int64_t one[3] = {1, 1, 1}; return t_reshape(c, t, mt_il(one, n)); }
  if (t->ndim == 1) t = t_unsqueeze(c, t, 0);
  return n == 3 ? t_unsqueeze(c, t, -1) : t;
}
static TensorList atleast_each(Ctx *c, TensorList in, int n) {
  TensorList l = {mt_tmp(c, sizeof(Tensor *) * (size_t)(in.n + 1)), 0};
  for (; l.v && l.n < in.n; l.n++) l.v[l.n] = atleast(c, in.v[l.n], n);
  return l;
}
TensorList k_atleast_1d_list(Ctx *c, TensorList tensors) { return atleast_each(c, tensors, 1); }
TensorList k_atleast_2d_list(Ctx *c, TensorList tensors) { return atleast_each(c, tensors, 2); }
TensorList k_atleast_3d_list(Ctx *c, TensorList tensors) { return atleast_each(c, tensors, 3); }
Tensor *k_atleast_1d(Ctx *c, Tensor *self) { return atleast(c, self, 1); }
Tensor *k_atleast_2d(Ctx *c, Tensor *self) { return atleast(c, self, 2); }
Tensor *k_atleast_3d(Ctx *c, Tensor *self) { return atleast(c, self, 3); }
