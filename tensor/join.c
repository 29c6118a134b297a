/* join.c: cat and stack. */
#include "op.h"
#include <string.h>

/* A 1-D tensor without elements is skipped by cat, as PyTorch still does. */
static bool skipped(const Tensor *t) { return t->ndim == 1 && t->size[0] == 0; }

Tensor *k_cat(Ctx *c, TensorList tensors, int64_t dim) {
  int64_t shape[MT_MAXDIM];
  Tensor *first = NULL;
  if (tensors.n <= 0) return mt_fail(c, "expects a non-empty list of tensors");
  for (int64_t i = 0; i < tensors.n; i++) {
    if (!tensors.v[i]->ndim)
      return mt_fail(c, "a 0-dim tensor (at position %lld) cannot be concatenated",
                     (long long)i + 1);
    if (!first || (skipped(first) && !skipped(tensors.v[i]))) first = tensors.v[i];
  }
  int d = mt_dim(c, dim, first->ndim);
  if (d < 0) return NULL;
  memcpy(shape, first->size, sizeof(int64_t) * first->ndim);
  shape[d] = 0;
  for (int64_t i = 0; i < tensors.n; i++) {
    Tensor *t = tensors.v[i];
    if (skipped(t) && first->ndim != 1) continue;
    bool same = t->ndim == first->ndim;
    for (int k = 0; same && k < t->ndim; k++) same = k == d || t->size[k] == first->size[k];
    if (!same)
      return mt_fail(
          c, "sizes must match except in dimension %d: tensor %lld has shape %s, the first %s", d,
          (long long)i + 1, mt_list_str(c, mt_sizes(t)), mt_list_str(c, mt_sizes(first)));
    shape[d] += t->size[d];
  }
  Tensor *out =
      mt_new(c, mt_il(shape, first->ndim), mt_result_type(c, tensors.v, (int)tensors.n), MT_CPU);
  int64_t at = 0;
  for (int64_t i = 0; out && i < tensors.n; i++) {
    Tensor *t = tensors.v[i];
    if (skipped(t) && first->ndim != 1) continue;
    int64_t sz[MT_MAXDIM];
    memcpy(sz, out->size, sizeof(int64_t) * out->ndim);
    sz[d] = t->size[d];
    Tensor *v = mt_view(c, out, out->ndim, sz, out->stride, out->offset + at * out->stride[d]);
    if (!v || !mt_copy_raw(c, v, t)) return NULL;
    at += t->size[d];
  }
  return out;
}

Tensor *k_stack(Ctx *c, TensorList tensors, int64_t dim) {
  if (tensors.n <= 0) return mt_fail(c, "expects a non-empty list of tensors");
  int d = mt_dim(c, dim, tensors.v[0]->ndim + 1);
  Tensor **v = mt_tmp(c, sizeof(Tensor *) * (size_t)tensors.n);
  if (d < 0 || !v) return NULL;
  for (int64_t i = 0; i < tensors.n; i++) {
    Tensor *t = tensors.v[i], *f = tensors.v[0];
    if (t->ndim != f->ndim || memcmp(t->size, f->size, sizeof(int64_t) * f->ndim))
      return mt_fail(c, "expects tensors of equal size, but got %s at entry 0 and %s at entry %lld",
                     mt_list_str(c, mt_sizes(f)), mt_list_str(c, mt_sizes(t)), (long long)i);
    v[i] = t_unsqueeze(c, t, d);
  }
  return c->err ? NULL : t_cat(c, (TensorList){v, tensors.n}, d);
}

TensorList k_cat_backward(Ctx *c, Tensor *grad, TensorList tensors, int64_t dim) {
  TensorList l = {mt_tmp(c, sizeof(Tensor *) * (size_t)(tensors.n + 1)), 0};
  int64_t at = 0;
  if (!l.v) return l;
  int d = mt_dim(c, dim, grad->ndim);
  for (int64_t i = 0; i < tensors.n && !c->err; i++) {
    Tensor *t = tensors.v[i];
    if (skipped(t) && grad->ndim != 1) {
      l.v[l.n++] = t_new_zeros(c, grad, mt_sizes(t), -1, -1, -1, -1, false);
      continue;
    }
    l.v[l.n++] = t_narrow(c, grad, d, at, t->size[d]);
    at += t->size[d];
  }
  return l;
}
