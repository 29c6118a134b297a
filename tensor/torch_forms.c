/* torch_forms.c: kernels of ops_torch.def and the lists of ops_copies.def: the torch.* forms of
 * norms, dropout, bags and convolutions.  All are made of other ops, so gradients pass through
 * them. */
#include "expr_rt.h"
#include "op.h"
#include <math.h>
#include <string.h>

#define LIST(...)                            \
  mt_il((const int64_t[]){__VA_ARGS__},      \
        (int64_t)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))

static Tensor *num(Ctx *c, double v) { return mt_wrap(c, mt_sd(v)); }

TensorList k__clones(Ctx *c, TensorList tensors) {
  TensorList l = {mt_tmp(c, sizeof(Tensor *) * (size_t)(tensors.n + 1)), tensors.n};
  if (!l.v) return (TensorList){NULL, 0};
  for (int64_t i = 0; i < l.n; i++) l.v[i] = t_clone(c, tensors.v[i], 0);
  return l;
}

/* ---- norms with their statistics ---- */
/* The means and 1 / deviations of x over dims, shaped as size; biased, outside every graph. */
static void statistics(Ctx *c, Tensor *x, IntList dims, IntList size, double eps, Val *r) {
  Val v[2];
  Tensor *d = t_detach(c, x);
  if (!d) return;
  t_var_mean(c, d, dims, mt_si(0), true, v);
  if (c->err) return;
  r[1].t = t_reshape(c, v[1].t, size);
  r[2].t = t_reshape(c, t_rsqrt(c, t_add(c, v[0].t, num(c, eps), mt_si(1))), size);
}
void k_native_layer_norm(Ctx *c, Tensor *input, IntList shape, Tensor *weight, Tensor *bias,
                         double eps, Val *r) {
  int64_t size[MT_MAXDIM], dims[MT_MAXDIM];
  r[0].t = t_F_layer_norm(c, input, shape, weight, bias, eps);
  if (c->err) return;
  int lead = input->ndim - (int)shape.n;
  for (int i = 0; i < input->ndim; i++) size[i] = i < lead ? input->size[i] : 1;
  for (int64_t i = 0; i < shape.n; i++) dims[i] = lead + i;
  statistics(c, input, mt_il(dims, shape.n), mt_il(size, input->ndim), eps, r);
}
void k_native_group_norm(Ctx *c, Tensor *input, Tensor *weight, Tensor *bias, int64_t N, int64_t C,
                         int64_t HxW, int64_t group, double eps, Val *r) {
  int64_t n = 0;
  if (N < 0 || C < 0 || HxW < 0 || __builtin_mul_overflow(N, C, &n) ||
      __builtin_mul_overflow(n, HxW, &n) || input->numel != n) {
    mt_fail(c, "expected an input of N * C * HxW = %lld * %lld * %lld elements, got shape %s",
            (long long)N, (long long)C, (long long)HxW, mt_list_str(c, mt_sizes(input)));
    return;
  }
  Tensor *y = t_F_group_norm(c, t_reshape(c, input, LIST(N, C, HxW)), group, weight, bias, eps);
  if (c->err) return;
  r[0].t = t_reshape(c, y, mt_sizes(input));
  statistics(c, t_reshape(c, input, LIST(N, group, C / group * HxW)), LIST(2), LIST(N, group), eps,
             r);
}
void k_native_batch_norm(Ctx *c, Tensor *input, Tensor *weight, Tensor *bias, Tensor *mean,
                         Tensor *var, bool training, double momentum, double eps, Val *r) {
  r[0].t = t_F_batch_norm(c, input, mean, var, weight, bias, training, momentum, eps);
  if (c->err) return;
  if (!training) {
    r[1].t = t_new_zeros(c, input, LIST(0), -1, -1, -1, -1, false);
    r[2].t = t_new_zeros(c, input, LIST(0), -1, -1, -1, -1, false);
    return;
  }
  int64_t dims[MT_MAXDIM], n = 0;
  for (int i = 0; i < input->ndim; i++) if (i != 1) dims[n++] = i;
  statistics(c, input, mt_il(dims, n), LIST(input->size[1]), eps, r);
}
Tensor *k_norm_except_dim(Ctx *c, Tensor *v, int64_t power, int64_t dim) {
  int64_t size[MT_MAXDIM];
  int nd = v->ndim;
  Scalar p = mt_si(power);
  if (dim == -1) return t_norm(c, v, p, mt_ilnone(), false, -1);
  if (nd == 0 || (dim && dim != nd - 1 && (dim < 0 || dim >= nd)))
    return mt_fail(c, "dim %lld is out of range for %d dimensions", (long long)dim, nd);
  for (int i = 0; i < nd; i++) size[i] = i == dim ? v->size[i] : 1;
  Tensor *rows = t_reshape(c, t_transpose(c, v, 0, dim), LIST(v->size[dim], -1));
  return t_reshape(c, t_norm(c, rows, p, LIST(1), false, -1), mt_il(size, nd));
}

/* ---- dropout ---- */
void k_native_dropout(Ctx *c, Tensor *input, double p, int train, Val *r) {
  if (p < 0 || p > 1 || isnan(p)) {
    mt_fail(c, "dropout probability has to be between 0 and 1, but got %g", p);
    return;
  }
  Tensor *mask;
  if (!train || p == 0) {
    r[0].t = t_clone(c, input, -1);
    mask = t_full_like(c, input, mt_sb(1), MT_bool, -1, -1, -1, false, -1);
  } else {
    mask = t_bernoulli_p(c, t_detach(c, input), 1 - p, NULL);
    r[0].t = t_mul(c, input, t_mul(c, mask, num(c, p == 1 ? 0 : 1 / (1 - p))));
    mask = t_to_dtype(c, mask, MT_bool, false, -1);
  }
  r[1].t = mask;
}

/* ---- bags ---- */
/* Of each index which bag it is in; sizes: how many indices of a bag are not padding. */
static Tensor *bags(Ctx *c, Tensor *indices, Tensor *offsets, bool last, int64_t padding,
                    Tensor **sizes) {
  Tensor *o = mt_contig_as(c, offsets, MT_int64), *ix = mt_contig_as(c, indices, MT_int64);
  int64_t n = o ? o->numel - last : 0;
  Tensor *bag = mt_new(c, LIST(indices->numel), MT_int64, MT_CPU),
         *s = mt_new(c, LIST(n), MT_int64, MT_CPU);
  if (!o || !ix || !bag || !s) return NULL;
  const int64_t *at = mt_data(o), *v = mt_data(ix);
  int64_t i = 0;
  for (int64_t k = 0; k < n; k++) {
    int64_t end = k + 1 < o->numel ? at[k + 1] : indices->numel, count = 0;
    for (; i < end; i++) { ((int64_t *)mt_data(bag))[i] = k; count += v[i] != padding; }
    ((int64_t *)mt_data(s))[k] = count;
  }
  for (; i < bag->numel; i++)                /* behind the last bag's end */
    ((int64_t *)mt_data(bag))[i] = n ? n - 1 : 0;
  *sizes = s;
  return bag;
}
/* For mode max: the rows that gave each bag's largest values, by column. */
static Tensor *chosen(Ctx *c, Tensor *weight, Tensor *ix, Tensor *bag, Tensor *result,
                      int64_t padding) {
  Tensor *rows = t_new_zeros(c, ix, mt_sizes(result), MT_int64, -1, -1, -1, false);
  Tensor *w = mt_contig_as(c, t_detach(c, weight), MT_float64),
         *y = mt_contig_as(c, t_detach(c, result), MT_float64),
         *flat = mt_contig_as(c, ix, MT_int64);
  if (!rows || !w || !y || !flat) return NULL;
  int64_t width = weight->size[1];
  const int64_t *v = mt_data(flat), *b = mt_data(bag);
  for (int64_t i = ix->numel - 1; result->numel && i >= 0; i--) /* the first of equals stays */
    for (int64_t k = 0; v[i] != padding && k < width; k++)
      if (((double *)mt_data(w))[v[i] * width + k] == ((double *)mt_data(y))[b[i] * width + k])
        ((int64_t *)mt_data(rows))[b[i] * width + k] = v[i];
  return rows;
}
void k_embedding_bag(Ctx *c, Tensor *weight, Tensor *indices, Tensor *offsets, bool scale,
                     int64_t mode, bool sparse, Tensor *psw, bool last, int64_t padding, Val *r) {
  static const char *const modes[] = {"sum", "mean", "max"};
  if (mode < 0 || mode > 2) {
    mt_fail(c, "mode must be 0, 1 or 2, got %lld", (long long)mode);
    return;
  }
  r[0].t = t_F_embedding_bag(c, indices, weight, offsets, mt_snone(), 2, scale, modes[mode], sparse,
                             psw, last, padding);
  if (c->err) return;
  Tensor *sizes = NULL;
  if (padding != MT_NONE_INT && padding < 0) padding += weight->size[0];
  r[1].t = bags(c, indices, offsets, last, padding, &sizes);
  if (c->err) return;
  if (mode == 0) {                         /* summing needs neither: PyTorch leaves zeros */
    if (padding == MT_NONE_INT)
      r[1].t = t_new_zeros(c, indices, LIST(0), MT_int64, -1, -1, -1, false);
    sizes = t_zeros_like(c, offsets, MT_int64, -1, -1, -1, false, -1);
  }
  r[2].t = sizes;
  r[3].t = mode == 2 ? chosen(c, weight, indices, r[1].t, r[0].t, padding) : t_clone(c, sizes, -1);
}
Tensor *k_embedding_renorm_(Ctx *c, Tensor *self, Tensor *indices, double max_norm,
                            double norm_type) {
  return t_F_embedding(c, indices, self, MT_NONE_INT, mt_sd(max_norm), norm_type, false, false)
             ? self
             : NULL;
}

/* ---- convolution ---- */
Tensor *k_convolution(Ctx *c, Tensor *x, Tensor *w, Tensor *b, IntList stride, IntList padding,
                      IntList dilation, bool transposed, IntList out, int64_t groups) {
  int n = w->ndim - 2;
  if (n < 1 || n > 3)
    return mt_fail(c, "expected a weight of 3 to 5 dimensions, got shape %s",
                   mt_list_str(c, mt_sizes(w)));
  int64_t full[4][3];
  IntList *l[] = {&stride, &padding, &dilation, &out};
  for (int k = 0; k < 4; k++) {
    if (l[k]->n != 1 && l[k]->n != n)
      return mt_fail(
          c, "stride, padding, dilation and output_padding must have 1 or %d entries, got %lld", n,
          (long long)l[k]->n);
    for (int i = 0; i < n; i++) full[k][i] = l[k]->v[l[k]->n == 1 ? 0 : i];
    *l[k] = mt_il(full[k], n);
  }
  if (!transposed)
    return n == 1   ? t_F_conv1d(c, x, w, b, stride, padding, dilation, groups)
           : n == 2 ? t_F_conv2d(c, x, w, b, stride, padding, dilation, groups)
                    : t_F_conv3d(c, x, w, b, stride, padding, dilation, groups);
  return n == 1   ? t_F_conv_transpose1d(c, x, w, b, stride, padding, out, groups, dilation)
         : n == 2 ? t_F_conv_transpose2d(c, x, w, b, stride, padding, out, groups, dilation)
                  : t_F_conv_transpose3d(c, x, w, b, stride, padding, out, groups, dilation);
}
