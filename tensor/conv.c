/* conv.c: kernels of ops_conv.def: argument checks and the three passes over conv_core.h.
 *
 * The public ops bring everything to one form: a batch dimension, lists of full length, the output
 * size computed; half types are convolved in float. */
#include "conv_core.h"
#include "expr_rt.h"
#include "iter.h"
#include "op.h"
#include "product.h"
#include "windows.h"
#include <string.h>

/* A list of n numbers from one of 1 or n. */
static bool spread(Ctx *c, IntList l, int n, const char *what, int64_t least, int64_t *out) {
  int64_t all[3];
  if (!mt_spread(c, l, n, what, least, all)) return false;
  memcpy(out, all + 3 - n, sizeof(int64_t) * (size_t)n);
  return true;
}

typedef struct { int n; int64_t stride[3], pad[3], dil[3], out[5]; } Geometry;

static bool check_shapes(Ctx *c, const Tensor *x, const Tensor *w, const Tensor *bias, int n,
                         int64_t groups, bool turned) {
  if (w->ndim != n + 2) {
    mt_fail(c, "expected weight of %d dimensions, got shape %s", n + 2,
            mt_list_str(c, mt_sizes(w)));
    return false;
  }
  if (x->ndim != n + 1 && x->ndim != n + 2) {
    mt_fail(c, "expected input of %d (unbatched) or %d dimensions, got shape %s", n + 1, n + 2,
            mt_list_str(c, mt_sizes(x)));
    return false;
  }
  int64_t channels = x->size[x->ndim - n - 1], grouped;
  if (groups < 1 || __builtin_mul_overflow(w->size[1], groups, &grouped)) {
    mt_fail(c, "groups must be at least 1 and divide the channels, got %lld", (long long)groups);
    return false;
  }
  int64_t ins = turned ? w->size[0] : grouped, outs = turned ? grouped : w->size[0];
  if (w->size[0] % groups || channels != ins) {
    mt_fail(c, "weight of shape %s and %lld groups do not fit input of shape %s",
            mt_list_str(c, mt_sizes(w)), (long long)groups, mt_list_str(c, mt_sizes(x)));
    return false;
  }
  if (bias && (bias->ndim != 1 || bias->size[0] != outs)) {
    mt_fail(c, "expected bias of %lld elements, got shape %s", (long long)outs,
            mt_list_str(c, mt_sizes(bias)));
    return false;
  }
  if (x->dtype != w->dtype || (bias && bias->dtype != x->dtype)) {
    mt_fail(c, "input (%s), weight (%s) and bias must have the same dtype",
            mt_dtypes[x->dtype].name, mt_dtypes[w->dtype].name);
    return false;
  }
  if (w->size[0] < 1) {
    mt_fail(c, "expected weight to be at least 1 at dimension 0, but got weight of size %s",
            mt_list_str(c, mt_sizes(w)));
    return false;
  }
  for (int i = 0; i < n; i++)
    if (w->size[2 + i] < 1) {
      mt_fail(c, "kernel sizes must be positive, got %s", mt_list_str(c, mt_sizes(w)));
      return false;
    }
  return true;
}

/* Output size along dimension i for a total padding of both sides. */
static bool out_size(Ctx *c, Geometry *g, const Tensor *x, const Tensor *w, int i,
                     int64_t padding) {
  int64_t in = x->size[x->ndim - g->n + i] + padding, span = g->dil[i] * (w->size[2 + i] - 1) + 1;
  if (in < span) {
    mt_fail(c, "the kernel (%lld with dilation) is larger than the padded input (%lld)",
            (long long)span, (long long)in);
    return false;
  }
  g->out[2 + i] = (in - span) / g->stride[i] + 1;
  return true;
}

static Tensor *with_batch(Ctx *c, Tensor *x, int n) {
  return x->ndim == n + 1 ? t_unsqueeze(c, x, 0) : x;
}
static Tensor *without(Ctx *c, Tensor *y, const Tensor *x, int n) {
  return x->ndim == n + 1 ? t_squeeze_dim(c, y, mt_il((int64_t[]){0}, 1)) : y;
}

static Tensor *run_conv(Ctx *c, Tensor *x, Tensor *w, Tensor *bias, Geometry *g, int64_t groups) {
  g->out[0] = g->out[1] = 0;
  Tensor *y = t__conv(c, with_batch(c, x, g->n), w, bias, mt_il(g->stride, g->n),
                      mt_il(g->pad, g->n), mt_il(g->dil, g->n), groups, mt_il(g->out, g->n + 2));
  return without(c, y, x, g->n);
}

static Tensor *conv(Ctx *c, int n, Tensor *x, Tensor *w, Tensor *bias, IntList stride,
                    IntList padding, IntList dilation, int64_t groups) {
  Geometry g = {.n = n};
  if (!check_shapes(c, x, w, bias, n, groups, false) ||
      !spread(c, stride, n, "stride", 1, g.stride) || !spread(c, padding, n, "padding", 0, g.pad) ||
      !spread(c, dilation, n, "dilation", 1, g.dil))
    return NULL;
  for (int i = 0; i < n; i++) if (!out_size(c, &g, x, w, i, 2 * g.pad[i])) return NULL;
  return run_conv(c, x, w, bias, &g, groups);
}

static Tensor *conv_same(Ctx *c, int n, Tensor *x, Tensor *w, Tensor *bias, IntList stride,
                         const char *padding, IntList dilation, int64_t groups) {
  Geometry g = {.n = n};
  if (!strcmp(padding, "valid"))
    return conv(c, n, x, w, bias, stride, mt_il((int64_t[]){0}, 1), dilation, groups);
  if (strcmp(padding, "same"))
    return mt_fail(c, "padding must be 'valid' or 'same', got '%s'", padding);
  if (!check_shapes(c, x, w, bias, n, groups, false) ||
      !spread(c, stride, n, "stride", 1, g.stride) || !spread(c, dilation, n, "dilation", 1, g.dil))
    return NULL;
  for (int i = 0; i < n; i++) {
    int64_t total = g.dil[i] * (w->size[2 + i] - 1);
    if (g.stride[i] != 1) return mt_fail(c, "padding='same' needs stride 1");
    g.pad[i] = total / 2;                     /* an odd one more comes behind */
    if (!out_size(c, &g, x, w, i, total)) return NULL;
  }
  return run_conv(c, x, w, bias, &g, groups);
}

static bool is_half(const Tensor *t) { return t->dtype == MT_float16 || t->dtype == MT_bfloat16; }

static Tensor *conv_turned(Ctx *c, int n, Tensor *x, Tensor *w, Tensor *bias, IntList stride,
                           IntList padding, IntList extra, int64_t groups, IntList dilation) {
  Geometry g = {.n = n};
  int64_t more[3];
  if (!check_shapes(c, x, w, bias, n, groups, true) ||
      !spread(c, stride, n, "stride", 1, g.stride) || !spread(c, padding, n, "padding", 0, g.pad) ||
      !spread(c, extra, n, "output_padding", 0, more) ||
      !spread(c, dilation, n, "dilation", 1, g.dil))
    return NULL;
  bool empty = x->ndim == n + 2 && x->size[0] == 0; /* an empty batch passes with any output size */
  for (int i = 0; i < n; i++) {
    if (!empty && more[i] >= g.stride[i] && more[i] >= g.dil[i])
      return mt_fail(c, "output_padding must be smaller than stride or dilation, got %lld",
                     (long long)more[i]);
    g.out[2 + i] = (x->size[x->ndim - n + i] - 1) * g.stride[i] - 2 * g.pad[i] +
                   g.dil[i] * (w->size[2 + i] - 1) + more[i] + 1;
    if (!empty && x->size[x->ndim - n + i] == 0)
      return mt_fail(c, "only the batch may be empty, got input of shape %s",
                     mt_list_str(c, mt_sizes(x)));
    if (g.out[2 + i] < !empty)
      return mt_fail(c, "the output would have size %lld", (long long)g.out[2 + i]);
  }
  g.out[0] = g.out[1] = 0;
  int half = bias && is_half(x) ? x->dtype : -1; /* the bias joins before the result is rounded */
  if (half >= 0) {
    x = t_to_dtype(c, x, MT_float32, false, -1);
    w = t_to_dtype(c, w, MT_float32, false, -1);
    bias = t_to_dtype(c, bias, MT_float32, false, -1);
    if (c->err) return NULL;
  }
  Tensor *y = t__conv_input(c, with_batch(c, x, n), w, mt_il(g.stride, n), mt_il(g.pad, n),
                            mt_il(g.dil, n), groups, mt_il(g.out, n + 2));
  int64_t per_channel[5] = {1, bias ? bias->size[0] : 1, 1, 1, 1};
  if (bias) y = t_add(c, y, t_reshape(c, bias, mt_il(per_channel, n + 2)), mt_si(1));
  if (half >= 0 && y) y = t_to_dtype(c, y, half, false, -1);
  return without(c, y, x, n);
}

#define CONV(N)                                                                            \
  Tensor *k_F_conv##N##d(Ctx *c, Tensor *x, Tensor *w, Tensor *b, IntList st, IntList pad, \
                         IntList dil, int64_t g) {                                         \
    return conv(c, N, x, w, b, st, pad, dil, g);                                           \
  }                                                                                        \
  Tensor *k_F_conv##N##d_padding(Ctx *c, Tensor *x, Tensor *w, Tensor *b, IntList st,      \
                                 const char *pad, IntList dil, int64_t g) {                \
    return conv_same(c, N, x, w, b, st, pad, dil, g);                                      \
  }                                                                                        \
  Tensor *k_F_conv_transpose##N##d(Ctx *c, Tensor *x, Tensor *w, Tensor *b, IntList st,    \
                                   IntList pad, IntList extra, int64_t g, IntList dil) {   \
    return conv_turned(c, N, x, w, b, st, pad, extra, g, dil);                             \
  }
CONV(1)
CONV(2)
CONV(3)

/* Time first: input [t, batch, channels], weight [kernel, in, out]. */
Tensor *k_F_conv_tbc(Ctx *c, Tensor *x, Tensor *w, Tensor *bias, int64_t pad) {
  if (x->ndim != 3 || w->ndim != 3 || bias->ndim != 1)
    return mt_fail(
        c, "expected input and weight of 3 dimensions and bias of 1, got shapes %s, %s and %s",
        mt_list_str(c, mt_sizes(x)), mt_list_str(c, mt_sizes(w)), mt_list_str(c, mt_sizes(bias)));
  IntList front = mt_il((int64_t[]){1, 2, 0}, 3), back = mt_il((int64_t[]){2, 0, 1}, 3),
          one = mt_il((int64_t[]){1}, 1);
  x = t_permute(c, x, front);
  w = t_permute(c, w, mt_il((int64_t[]){2, 1, 0}, 3));
  return t_permute(c, t_F_conv1d(c, x, w, bias, one, mt_il(&pad, 1), one, 1), back);
}

/* ---- the three passes ---- */

/* The core's description; x, w, y sizes with batch and channels in front, n spatial dimensions
 * moved to the end of three. */
static MtConv describe(const int64_t *x, const int64_t *w, const int64_t *y, int n, IntList stride,
                       IntList pad, IntList dil, int64_t groups, MtGemmType type) {
  MtConv d = {.type = type, .n = x[0], .groups = groups, .cin = w[1] * groups, .cout = w[0]};
  for (int i = 0; i < 3; i++) {
    int j = i - (3 - n);
    d.in[i] = j < 0 ? 1 : x[2 + j];
    d.out[i] = j < 0 ? 1 : y[2 + j];
    d.k[i] = j < 0 ? 1 : w[2 + j];
    d.stride[i] = j < 0 ? 1 : stride.v[j];
    d.pad[i] = j < 0 ? 0 : pad.v[j];
    d.dil[i] = j < 0 ? 1 : dil.v[j];
  }
  return d;
}

static Tensor *place(Ctx *c, const int64_t *size, int n, const Tensor *like, const Tensor *other) {
  return mt_new(c, mt_il(size, n + 2), (DType)like->dtype,
                mt_meta(like) || mt_meta(other) ? MT_META : MT_CPU);
}

static bool supported(Ctx *c, const Tensor *t) {
  if (mt_product_type(t->dtype) != MT_GEMM_TYPES) return true;
  mt_fail(c, "convolution is not implemented for %s", mt_dtypes[t->dtype].name);
  return false;
}

static Tensor *back_to(Ctx *c, Tensor *r, int dtype) {
  return r ? mt_cast(c, r, (DType)dtype) : NULL;
}

Tensor *k__conv(Ctx *c, Tensor *input, Tensor *weight, Tensor *bias, IntList stride,
                IntList padding, IntList dilation, int64_t groups, IntList out) {
  int n = weight->ndim - 2;
  if (is_half(input) && !mt_meta(input))
    return back_to(c,
                   k__conv(c, mt_cast(c, input, MT_float32), mt_cast(c, weight, MT_float32),
                           bias ? mt_cast(c, bias, MT_float32) : NULL, stride, padding, dilation,
                           groups, out),
                   input->dtype);
  if (c->err || !supported(c, input)) return NULL;
  int64_t size[5] = {input->size[0], weight->size[0]};
  memcpy(size + 2, out.v + 2, sizeof(int64_t) * (size_t)n);
  Tensor *y = place(c, size, n, input, weight);
  if (!y || mt_meta(y) || !y->numel) return y;
  Tensor *x = mt_contig(c, input), *w = mt_contig(c, weight), *b = bias ? mt_contig(c, bias) : NULL;
  if (c->err) return NULL;
  MtConv d = describe(x->size, w->size, size, n, stride, padding, dilation, groups,
                      mt_product_type(x->dtype));
  mt_product_status(c,
                    mt_conv_forward(&d, mt_data(x), mt_data(w), b ? mt_data(b) : NULL, mt_data(y)));
  return c->err ? NULL : y;
}

Tensor *k__conv_input(Ctx *c, Tensor *grad, Tensor *weight, IntList stride, IntList padding,
                      IntList dilation, int64_t groups, IntList size) {
  int n = weight->ndim - 2;
  if (is_half(grad) && !mt_meta(grad))
    return back_to(c,
                   k__conv_input(c, mt_cast(c, grad, MT_float32), mt_cast(c, weight, MT_float32),
                                 stride, padding, dilation, groups, size),
                   grad->dtype);
  if (c->err || !supported(c, grad)) return NULL;
  int64_t full[5] = {grad->size[0], weight->size[1] * groups};
  memcpy(full + 2, size.v + 2, sizeof(int64_t) * (size_t)n);
  Tensor *x = place(c, full, n, grad, weight);
  if (!x || mt_meta(x) || !x->numel) return x;
  Tensor *g = mt_contig(c, grad), *w = mt_contig(c, weight);
  if (c->err) return NULL;
  MtConv d = describe(full, w->size, g->size, n, stride, padding, dilation, groups,
                      mt_product_type(g->dtype));
  mt_product_status(c, mt_conv_input(&d, mt_data(g), mt_data(w), mt_data(x)));
  return c->err ? NULL : x;
}

Tensor *k__conv_weight(Ctx *c, Tensor *input, Tensor *grad, IntList stride, IntList padding,
                       IntList dilation, int64_t groups, IntList size) {
  int n = (int)size.n - 2;
  if (is_half(input) && !mt_meta(input))
    return back_to(c,
                   k__conv_weight(c, mt_cast(c, input, MT_float32), mt_cast(c, grad, MT_float32),
                                  stride, padding, dilation, groups, size),
                   input->dtype);
  if (c->err || !supported(c, input)) return NULL;
  Tensor *w = place(c, size.v, n, input, grad);
  if (!w || mt_meta(w) || !w->numel) return w;
  Tensor *x = mt_contig(c, input), *g = mt_contig(c, grad);
  if (c->err) return NULL;
  MtConv d = describe(x->size, size.v, g->size, n, stride, padding, dilation, groups,
                      mt_product_type(x->dtype));
  mt_product_status(c, mt_conv_weight(&d, mt_data(x), mt_data(g), mt_data(w)));
  return c->err ? NULL : w;
}

Tensor *k__channel_sum(Ctx *c, Tensor *self) {
  int64_t dims[MT_MAXDIM];
  int n = 0;
  for (int i = 0; i < self->ndim; i++) if (i != 1) dims[n++] = i;
  return t_sum_dim(c, self, mt_il(dims, n), false, -1);
}
