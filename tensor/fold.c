/* fold.c: F.unfold and F.fold: an image as columns of its sliding blocks and back; each other's
 * gradients. */
#include "expr_rt.h"
#include "windows.h"
#include <string.h>

typedef struct {
  const char *x; char *y;
  int64_t k[3], d[3], p[3], s[3];              /* entries 1 and 2: height, width */
  int64_t h, w, oh, ow;
  int es, dtype;
} Blocks;

static bool read_blocks(Ctx *c, Blocks *b, IntList size, IntList k, IntList d, IntList p,
                        IntList s) {
  if (!mt_spread(c, k, 2, "kernel_size", 1, b->k) || !mt_spread(c, d, 2, "dilation", 1, b->d) ||
      !mt_spread(c, p, 2, "padding", 0, b->p) || !mt_spread(c, s, 2, "stride", 1, b->s))
    return false;
  int64_t in[2] = {size.v[size.n - 2], size.v[size.n - 1]}, out[2];
  for (int i = 0; i < 2; i++) {
    int64_t room = in[i] + 2 * b->p[1 + i] - (b->d[1 + i] * (b->k[1 + i] - 1) + 1);
    if (in[i] > INT32_MAX || room < 0) {
      mt_fail(c, "size %s has no room for a block of kernel size %s", mt_list_str(c, mt_il(in, 2)),
              mt_list_str(c, mt_il(b->k + 1, 2)));
      return false;
    }
    out[i] = room / b->s[1 + i] + 1;
  }
  b->h = in[0]; b->w = in[1]; b->oh = out[0]; b->ow = out[1];
  return true;
}

/* Row r of the blocks (channel, tap): first column and how many lie inside the image, for output
 * row oy. */
typedef struct { int64_t y, lo, hi, x0; } Span;
static Span span_of(const Blocks *b, int64_t tap, int64_t oy) {
  Span s;
  int64_t st = b->s[2];
  s.y = oy * b->s[1] - b->p[1] + tap / b->k[2] * b->d[1];
  s.x0 = tap % b->k[2] * b->d[2] - b->p[2];
  s.lo = s.x0 < 0 ? (-s.x0 + st - 1) / st : 0;
  s.hi = s.x0 >= b->w ? 0 : (b->w - s.x0 + st - 1) / st;
  if (s.hi > b->ow) s.hi = b->ow;
  if (s.y < 0 || s.y >= b->h || s.hi < s.lo) s.lo = s.hi = 0;
  return s;
}

#define UNFOLD(T, name)                                                                            \
  static void name(const Blocks *b, int64_t ch, int64_t tap) {                                     \
    int64_t taps = b->k[1] * b->k[2], st = b->s[2];                                                \
    const T *x = (const T *)(const void *)b->x + ch * b->h * b->w;                                 \
    T *y = (T *)(void *)b->y + (ch * taps + tap) * b->oh * b->ow;                                  \
    for (int64_t oy = 0; oy < b->oh; oy++, y += b->ow) {                                           \
      Span s = span_of(b, tap, oy);                                                                \
      const T *row = x + s.y * b->w + s.x0;                                                        \
      memset(y, 0, sizeof(T) * (size_t)s.lo);                                                      \
      if (st == 1 && s.hi > s.lo) memcpy(y + s.lo, row + s.lo, sizeof(T) * (size_t)(s.hi - s.lo)); \
      else                                                                                         \
        for (int64_t o = s.lo; o < s.hi; o++) y[o] = row[o * st];                                  \
      memset(y + s.hi, 0, sizeof(T) * (size_t)(b->ow - s.hi));                                     \
    }                                                                                              \
  }
UNFOLD(uint8_t, unfold_1)
UNFOLD(uint16_t, unfold_2)
UNFOLD(uint32_t, unfold_4)
UNFOLD(uint64_t, unfold_8)
UNFOLD(cdouble, unfold_16)

static void unfold_range(void *ctx, int64_t lo, int64_t hi) {
  const Blocks *b = ctx;
  int64_t taps = b->k[1] * b->k[2];
  for (int64_t r = lo; r < hi && !mt_interrupted; r++)
    switch (b->es) {
      case 1: unfold_1(b, r / taps, r % taps); break;
      case 2: unfold_2(b, r / taps, r % taps); break;
      case 4: unfold_4(b, r / taps, r % taps); break;
      case 8: unfold_8(b, r / taps, r % taps); break;
      default: unfold_16(b, r / taps, r % taps);
    }
}

#define FOLD(T, name)                                                       \
  static void name(const Blocks *b, int64_t ch) {                           \
    int64_t taps = b->k[1] * b->k[2], st = b->s[2];                         \
    T *y = (T *)(void *)b->y + ch * b->h * b->w;                            \
    const T *x = (const T *)(const void *)b->x + ch * taps * b->oh * b->ow; \
    memset(y, 0, sizeof(T) * (size_t)(b->h * b->w));                        \
    for (int64_t tap = 0; tap < taps; tap++)                                \
      for (int64_t oy = 0; oy < b->oh; oy++, x += b->ow) {                  \
        Span s = span_of(b, tap, oy);                                       \
        T *row = y + s.y * b->w + s.x0;                                     \
        if (st == 1)                                                        \
          for (int64_t o = s.lo; o < s.hi; o++) row[o] += x[o];             \
        else                                                                \
          for (int64_t o = s.lo; o < s.hi; o++) row[o * st] += x[o];        \
      }                                                                     \
  }
FOLD(float, fold_f32)
FOLD(double, fold_f64)
FOLD(cfloat, fold_c64)
FOLD(cdouble, fold_c128)

static void fold_range(void *ctx, int64_t lo, int64_t hi) {
  const Blocks *b = ctx;
  for (int64_t ch = lo; ch < hi && !mt_interrupted; ch++)
    switch (b->dtype) {
      case MT_float32: fold_f32(b, ch); break;
      case MT_float64: fold_f64(b, ch); break;
      case MT_complex64: fold_c64(b, ch); break;
      default: fold_c128(b, ch);
    }
}

/* self [n, c, h, w] -> [n, c * taps, blocks] */
Tensor *k__im2col(Ctx *c, Tensor *self, IntList k, IntList d, IntList p, IntList s) {
  Blocks b = {.es = (int)mt_dsize(self->dtype)};
  int64_t rows;
  if (!read_blocks(c, &b, mt_sizes(self), k, d, p, s)) return NULL;
  int64_t size[3] = {self->size[0], 0, 0};
  if (__builtin_mul_overflow(self->size[1], b.k[1] * b.k[2], &size[1]) ||
      __builtin_mul_overflow(b.oh, b.ow, &size[2]) ||
      __builtin_mul_overflow(size[0], size[1], &rows))
    return mt_fail(c, "the result is too large");
  Tensor *y = mt_new(c, mt_il(size, 3), (DType)self->dtype, mt_meta(self) ? MT_META : MT_CPU);
  if (!y || mt_meta(y) || !y->numel) return y;
  Tensor *x = mt_contig(c, self);
  if (!x) return NULL;
  b.x = mt_data(x);
  b.y = mt_data(y);
  mt_parallel(rows, 1 + 16384 / (size[2] + 1), unfold_range, &b);
  return mt_poll(c) ? NULL : y;
}
/* self [n, c * taps, blocks] -> [n, c, h, w] with h and w the last of size */
Tensor *k__col2im(Ctx *c, Tensor *self, IntList size, IntList k, IntList d, IntList p, IntList s) {
  Blocks b = {.dtype = self->dtype};
  if (!read_blocks(c, &b, size, k, d, p, s)) return NULL;
  int64_t full[4] = {self->size[0], self->size[1] / (b.k[1] * b.k[2]), b.h, b.w};
  bool narrow = self->dtype == MT_float16 || self->dtype == MT_bfloat16 || mt_is_int(self->dtype);
  DType w = narrow ? MT_float32 : (DType)self->dtype;
  if (mt_meta(self)) return mt_new(c, mt_il(full, 4), (DType)self->dtype, MT_META);
  b.dtype = w;
  Tensor *y = mt_new(c, mt_il(full, 4), w, MT_CPU), *x = mt_contig_as(c, self, w);
  if (c->err || !y->numel) return y ? mt_cast(c, y, (DType)self->dtype) : NULL;
  b.x = mt_data(x);
  b.y = mt_data(y);
  mt_parallel(full[0] * full[1], 1 + 16384 / (b.k[1] * b.k[2] * b.oh * b.ow + 1), fold_range, &b);
  return mt_poll(c) ? NULL : mt_cast(c, y, (DType)self->dtype);
}

/* ---- the public ops ---- */
static bool check_fold(Ctx *c, const Tensor *x, int n) {
  if (!mt_is_float(x->dtype) && !mt_is_complex(x->dtype) && x->dtype != MT_bool) {
    mt_fail(c, "is not implemented for %s", mt_dtypes[x->dtype].name);
    return false;
  }
  bool ok = x->ndim == n || x->ndim == n - 1;
  for (int i = x->ndim == n; ok && i < x->ndim; i++) ok = x->size[i] > 0;
  if (!ok)
    mt_fail(c,
            "expected input of %d or %d dimensions with non-zero sizes apart from the batch, got "
            "shape %s",
            n - 1, n, mt_list_str(c, mt_sizes(x)));
  return ok;
}
static Tensor *unbatched(Ctx *c, Tensor *y, bool squeeze) {
  return squeeze ? t_squeeze_dim(c, y, mt_il((int64_t[]){0}, 1)) : y;
}
Tensor *k_F_unfold(Ctx *c, Tensor *input, IntList k, IntList d, IntList p, IntList s) {
  if (!check_fold(c, input, 4)) return NULL;
  bool single = input->ndim == 3;
  return unbatched(c, t__im2col(c, single ? t_unsqueeze(c, input, 0) : input, k, d, p, s), single);
}
Tensor *k_F_fold(Ctx *c, Tensor *input, IntList size, IntList k, IntList d, IntList p, IntList s) {
  Blocks b;
  int64_t out[3];
  bool single = input->ndim == 2;
  if (!check_fold(c, input, 3) || !mt_spread(c, size, 2, "output_size", 1, out)) return NULL;
  if (!read_blocks(c, &b, mt_il(out + 1, 2), k, d, p, s)) return NULL;
  int64_t rows = input->size[input->ndim - 2], cols = input->size[input->ndim - 1],
          taps = b.k[1] * b.k[2];
  if (rows % taps)
    return mt_fail(c,
                   "expected size of input's dimension 1 to be divisible by the product of "
                   "kernel_size (%lld), got %lld",
                   (long long)taps, (long long)rows);
  if (cols != b.oh * b.ow)
    return mt_fail(c, "expected %lld x %lld blocks in input's dimension 2, got %lld",
                   (long long)b.oh, (long long)b.ow, (long long)cols);
  return unbatched(
      c, t__col2im(c, single ? t_unsqueeze(c, input, 0) : input, mt_il(out + 1, 2), k, d, p, s),
      single);
}
