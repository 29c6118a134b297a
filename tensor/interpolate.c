/* interpolate.c: F.interpolate and its relatives, adaptive average pools: arguments of _resample.
 */
#include "expr_rt.h"
#include "windows.h"
#include <math.h>
#include <string.h>

static Tensor *adaptive_avg(Ctx *c, int n, Tensor *x, IntList size) {
  int64_t out[3];
  if (!mt_adaptive_size(c, x, size, n, out)) return NULL;
  if (!mt_is_float(x->dtype))
    return mt_fail(c, "adaptive average pooling is not implemented for %s",
                   mt_dtypes[x->dtype].name);
  int64_t last[3] = {-1, -2, -3};
  if (out[0] * out[1] * out[2] == 1) return t_mean_dim(c, x, mt_il(last, n), true, -1);
  return t__resample(c, x, mt_last(out, n), "adaptive", mt_il(NULL, 0), (ScalarList){NULL, 0});
}
Tensor *k_F_adaptive_avg_pool1d(Ctx *c, Tensor *x, IntList size) {
  return adaptive_avg(c, 1, x, size);
}
Tensor *k_F_adaptive_avg_pool2d(Ctx *c, Tensor *x, IntList size) {
  return adaptive_avg(c, 2, x, size);
}
Tensor *k_F_adaptive_avg_pool3d(Ctx *c, Tensor *x, IntList size) {
  return adaptive_avg(c, 3, x, size);
}

/* ---- modes ---- */
typedef struct {
  const char *name, *kind, *smooth;
  int n;
  bool corners;
} Mode; /* n 0: any number of dimensions */
static const Mode modes[] = {{"nearest", "nearest", NULL, 0, false},
                             {"nearest-exact", "nearest-exact", NULL, 0, false},
                             {"area", "adaptive", NULL, 0, false},
                             {"linear", "linear", NULL, 1, true},
                             {"bilinear", "linear", "aa_linear", 2, true},
                             {"trilinear", "linear", NULL, 3, true},
                             {"bicubic", "cubic", "aa_cubic", 2, true}};

static const Mode *find_mode(Ctx *c, const char *name, int n) {
  for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
    if (strcmp(modes[i].name, name)) continue;
    if (!modes[i].n || modes[i].n == n) return &modes[i];
    return mt_fail(c, "mode '%s' needs an input of %d dimensions, got %d", name, modes[i].n + 2,
                   n + 2);
  }
  return mt_fail(
      c,
      "mode must be nearest, nearest-exact, linear, bilinear, bicubic, trilinear or area, got '%s'",
      name);
}

/* The output size; scales[i] is the factor that the positions follow, 0 where the sizes' quotient
 * does. */
static bool target(Ctx *c, const Tensor *x, int n, IntList size, ScalarList factor, bool recompute,
                   int64_t least, int64_t *out, Scalar *scales) {
  if ((size.n < 0) == (factor.n < 0)) {
    mt_fail(c, size.n < 0 ? "either size or scale_factor should be defined"
                          : "only one of size or scale_factor should be defined");
    return false;
  }
  int64_t given = size.n >= 0 ? size.n : factor.n;
  if (given != n && !(given == 1)) {
    mt_fail(c, "%s must have one entry per spatial dimension (%d) of input %s, got %lld",
            size.n >= 0 ? "size" : "scale_factor", n, mt_list_str(c, mt_sizes(x)),
            (long long)given);
    return false;
  }
  for (int i = 0; i < n; i++) {
    int64_t in = x->size[x->ndim - n + i];
    double f = size.n >= 0 ? 0 : mt_sre(factor.v[factor.n == 1 ? 0 : i]),
           whole = floor((double)in * f);
    if (size.n < 0 && !(whole >= -1e18 && whole <= 1e18)) {
      mt_fail(c, "scale_factor %g is out of range", f);
      return false;
    }
    out[i] = size.n >= 0 ? size.v[size.n == 1 ? 0 : i] : (int64_t)whole;
    scales[i] = mt_sd(recompute ? 0 : f);
    if (in < 1 || out[i] < least || out[i] > INT32_MAX) {
      mt_fail(c,
              "input and output sizes should be greater than 0, but got input size %lld and output "
              "size %lld",
              (long long)in, (long long)out[i]);
      return false;
    }
  }
  return true;
}

Tensor *k_F_interpolate(Ctx *c, Tensor *x, IntList size, ScalarList factor, const char *name,
                        int corners, int recompute, bool antialias) {
  int n = x->ndim - 2;
  int64_t out[3];
  Scalar scales[3];
  if (n < 1 || n > 3)
    return mt_fail(
        c, "expected input of 3, 4 or 5 dimensions (batch, channels and 1 to 3 more), got shape %s",
        mt_list_str(c, mt_sizes(x)));
  const Mode *m = find_mode(c, name, n);
  if (!m) return NULL;
  if (corners >= 0 && !m->corners)
    return mt_fail(
        c, "align_corners can only be set with mode linear, bilinear, bicubic or trilinear");
  if (antialias && !m->smooth)
    return mt_fail(c, "antialias is for bilinear and bicubic modes of 4-dimensional input");
  if (recompute > 0 && size.n >= 0)
    return mt_fail(c, "recompute_scale_factor is not meaningful with a fixed size");
  if (!target(c, x, n, size, factor, recompute > 0, strcmp(name, "area") != 0, out, scales))
    return NULL;
  if (!strcmp(m->kind, "adaptive")) return adaptive_avg(c, n, x, mt_il(out, n));
  for (int i = 1; i < x->ndim; i++)
    if (!x->size[i])
      return mt_fail(c, "expected input with non-zero sizes apart from the batch, got shape %s",
                     mt_list_str(c, mt_sizes(x)));
  if (!mt_is_float(x->dtype) && (x->dtype != MT_uint8 || (m->corners && n != 2)))
    return mt_fail(c, "mode '%s' is not implemented for %s", name, mt_dtypes[x->dtype].name);
  int64_t args[1] = {corners > 0};
  return t__resample(c, x, mt_il(out, n), antialias ? m->smooth : m->kind, mt_il(args, 1),
                     (ScalarList){scales, n});
}
Tensor *k_F_upsample(Ctx *c, Tensor *x, IntList size, ScalarList factor, const char *mode,
                     int corners) {
  return t_F_interpolate(c, x, size, factor, mode, corners, -1, false);
}
Tensor *k_F_upsample_nearest(Ctx *c, Tensor *x, IntList size, ScalarList factor) {
  return t_F_interpolate(c, x, size, factor, "nearest", -1, -1, false);
}
Tensor *k_F_upsample_bilinear(Ctx *c, Tensor *x, IntList size, ScalarList factor) {
  return t_F_interpolate(c, x, size, factor, "bilinear", 1, -1, false);
}
