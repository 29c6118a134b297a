/* conv_core.c: convolutions through the matrix product (see conv_core.h).
 *
 * The forward pass of float and double copies a group of an image once into a padded buffer, split
 * by the stride's phase along the last dimension, so that every tap of the kernel reads a
 * contiguous run; the product gathers its panels from there.  Depthwise groups sum taps directly.
 * Everything else goes through columns (im2col), in chunks of output positions that fit the cache.
 */
#include "conv_impl.h"
#include "gemm_impl.h"
#include <stdatomic.h>
#include <string.h>

#define sizes mt_conv_sizes
#define prod mt_conv_prod
#define kernel_len mt_conv_klen

/* --- forward, float and double --- */
typedef struct {
  const MtConv *c;
  MtPadded p;
  const char *x, *w, *bias;
  char *y, *mem;
  int64_t *off, *row;
  size_t per_thread;
  int inner_threads;
  bool few;                     /* outputs: taps are summed directly */
  int64_t images;               /* that are convolved together: more columns for the product */
  size_t image_bytes;           /* of a group, padded */
  _Atomic int64_t next;
  _Atomic int status;
} Fwd;

typedef struct { const Fwd *f; const char *x; char *dst; } PadJob;
static void pad_range(void *ctx, int64_t lo, int64_t hi) {
  const PadJob *j = ctx;
  const MtConv *c = j->f->c;
  int64_t size = sizes[c->type];
  for (int64_t i = lo; i < hi; i++)
    mt_conv_pad(c, &j->f->p, j->x + i * prod(c->in) * size, j->dst + i * j->f->p.channel * size);
}

/* One plane of outputs from one padded channel, four rows at a time; the last four may do some rows
 * twice. */
#define PLANE(T, SUF)                                                                              \
  static void plane_##SUF(const Fwd *f, const T *mem, const T *w, T bias, T *y) {                  \
    const MtConv *c = f->c;                                                                        \
    const __typeof__(*mt_gemm_kerns()->SUF) *g = mt_gemm_kerns()->SUF;                             \
    int64_t n = c->out[2], rows = c->out[0] * c->out[1];                                           \
    bool four = c->cin == c->groups && c->k[0] == 1 && c->out[0] == 1 && rows >= 4;                \
    for (int64_t r = 0; r < rows && four; r += 4) {                                                \
      if (r > rows - 4) r = rows - 4;                                                              \
      g->four_rows((int)c->k[1], (int)c->k[2], n, mem + f->row[r], c->stride[1] * f->p.row,        \
                   c->dil[1] * f->p.row, f->off, w, bias, y + r * n, n);                           \
    }                                                                                              \
    for (int64_t r = 0; r < rows && !four; r++)                                                    \
      g->taps(n, (int)kernel_len(c), mem + f->row[r], f->off, w, bias, y + r * n);                 \
  }
PLANE(float, f32)
PLANE(double, f64)

/* A group with few outputs: each is the sum of its taps, one channel's or all channels'. */
static void few_outputs(const Fwd *f, int64_t image, int64_t group, char *mem) {
  const MtConv *c = f->c;
  int64_t size = sizes[c->type], cin = c->cin / c->groups, cout = c->cout / c->groups;
  for (int64_t i = 0; i < cin; i++)
    mt_conv_pad(c, &f->p, f->x + (image * c->cin + group * cin + i) * prod(c->in) * size,
                mem + i * f->p.channel * size);
  for (int64_t o = group * cout; o < (group + 1) * cout; o++) {
    const void *w = f->w + o * kernel_len(c) * size, *bias = f->bias ? f->bias + o * size : NULL;
    void *y = f->y + (image * c->cout + o) * prod(c->out) * size;
    if (c->type == MT_GEMM_F32)
      plane_f32(f, (const float *)(void *)mem, w, bias ? *(const float *)bias : 0, y);
    else plane_f64(f, (const double *)(void *)mem, w, bias ? *(const double *)bias : 0, y);
  }
}

/* A group of a few images, from the given one on. */
static MtGemmStatus one_group(const Fwd *f, int64_t image, int64_t group, char *mem) {
  const MtConv *c = f->c;
  int64_t size = sizes[c->type], cin = c->cin / c->groups, cout = c->cout / c->groups,
          plane = prod(c->out), images = c->n - image < f->images ? c->n - image : f->images;
  char *y = f->y + (image * c->cout + group * cout) * plane * size, *to = y;
  if (images > 1) to = mem + (size_t)f->images * f->image_bytes + MT_CONV_SLACK * size;
  for (int64_t i = 0; i < images; i++) {
    PadJob pad = {f, f->x + ((image + i) * c->cin + group * cin) * prod(c->in) * size,
                  mem + (size_t)i * f->image_bytes};
    if (f->inner_threads > 1) mt_parallel(cin, 1 + 16384 / (f->p.channel + 1), pad_range, &pad);
    else pad_range(&pad, 0, cin);
  }
  MtGather gather = {f->off, f->row, c->out[2]};
  MtGemmStatus s = mt_gemm_gather(c->type, cout, images * plane, kernel_len(c),
                                  f->w + group * cout * kernel_len(c) * size, mem, &gather, to,
                                  f->bias ? f->bias + group * cout * size : NULL, f->inner_threads);
  for (int64_t i = 0; i < images && images > 1 && !s; i++)
    for (int64_t o = 0; o < cout; o++)
      memcpy(y + (i * c->cout + o) * plane * size, to + (o * images + i) * plane * size,
             (size_t)(plane * size));
  return s;
}

static void fwd_work(void *ctx, int64_t lo, int64_t hi) {
  Fwd *f = ctx;
  int64_t units = (f->c->n + f->images - 1) / f->images * f->c->groups, u;
  char *mem = f->mem + (size_t)lo * f->per_thread;
  (void)hi;
  while ((u = atomic_fetch_add(&f->next, 1)) < units && !atomic_load(&f->status)) {
    MtGemmStatus s = MT_GEMM_OK;
    int64_t image = u / f->c->groups * f->images, group = u % f->c->groups;
    if (mt_interrupted) s = MT_GEMM_INTERRUPTED;
    else if (f->few) few_outputs(f, image, group, mem);
    else s = one_group(f, image, group, mem);
    if (s) atomic_store(&f->status, (int)s);
  }
}

/* How many images go together: as many as their columns fill panels and their copies the cache. */
static int64_t together(const Fwd *f, int threads) {
  const MtConv *c = f->c;
  int64_t channels = c->cin / c->groups, images = MT_CONV_BLOCK / prod(c->out),
          fit = MT_CONV_FIT / (channels * f->p.channel + c->cout / c->groups * prod(c->out)),
          share = c->n * c->groups / threads;
  if (f->few) return 1;
  if (images > fit) images = fit;
  if (images > share) images = share;
  if (images > c->n) images = c->n;
  return images < 1 ? 1 : images;
}

static MtGemmStatus forward_real(const MtConv *c, const char *x, const char *w, const char *bias,
                                 char *y) {
  Fwd f = {.c = c, .p = mt_conv_padded(c), .x = x, .w = w, .bias = bias, .y = y};
  int64_t taps = prod(c->k), rows = c->out[0] * c->out[1], cin = c->cin / c->groups,
          klen = cin * taps;
  int threads = mt_num_threads();
  double flops = 2.0 * (double)(c->n * c->cout) * (double)prod(c->out) * (double)klen;
  int64_t cout = c->cout / c->groups;
  f.few = cin == 1 ? cout <= 8 : cout <= 3 && klen <= INT32_MAX;
  bool split = c->n * c->groups >= threads || f.few;
  if (MT_TOO_LITTLE(flops, 5e5)) threads = 1;
  f.inner_threads = split ? 1 : threads;
  int outer = split ? threads : 1;
  f.images = together(&f, threads);
  f.image_bytes = (size_t)(cin * f.p.channel * sizes[c->type]);
  size_t out_bytes = f.images > 1 ? (size_t)(f.images * cout * prod(c->out) * sizes[c->type]) : 0;
  f.per_thread = (f.image_bytes * (size_t)f.images + out_bytes +
                  2 * MT_CONV_SLACK * sizes[c->type] + 127) / 64 * 64;
  f.mem = mt_scratch_take(f.per_thread * (size_t)outer +
                          (size_t)(klen + rows * f.images) * sizeof(int64_t));
  if (!f.mem) return MT_GEMM_NOMEM;
  f.off = (int64_t *)(void *)(f.mem + f.per_thread * (size_t)outer);
  f.row = f.off + klen;
  for (int64_t q = 0; q < klen; q++)
    f.off[q] = q / taps * f.p.channel + mt_conv_tap(c, &f.p, q % taps);
  for (int64_t r = 0; r < rows * f.images; r++)
    f.row[r] = r / rows * cin * f.p.channel + mt_conv_row(c, &f.p, r % rows);
  if (outer > 1) mt_parallel(outer, 1, fwd_work, &f);
  else fwd_work(&f, 0, 1);
  mt_scratch_give(f.mem);
  return (MtGemmStatus)atomic_load(&f.status);
}

/* --- columns, any type --- */
/* Columns of output positions [j0, j1) of one group of one image: col[q * (j1 - j0) + j - j0]; with
 * `back` they are added to x instead of read from it. */
typedef struct { const MtConv *c; char *x; char *col; int64_t j0, j1; bool back; } Cols;

/* Columns lo to hi - 1 of a run whose first source element is x0 lie inside the image. */
static void inside(int64_t x0, int64_t step, int64_t in, int64_t len, int64_t *lo, int64_t *hi) {
  *lo = x0 < 0 ? (-x0 + step - 1) / step : 0;
  *hi = x0 >= in ? 0 : (in - x0 + step - 1) / step;
  if (*hi > len) *hi = len;
  if (*lo > *hi) *lo = *hi = 0;
}

#define COLS(T, name)                                                                              \
  static void name(const Cols *s) {                                                                \
    const MtConv *c = s->c;                                                                        \
    int64_t taps = prod(c->k), n = s->j1 - s->j0, cin = c->cin / c->groups, st = c->stride[2], lo, \
            hi;                                                                                    \
    for (int64_t q = 0; q < cin * taps; q++) {                                                     \
      T *x = (T *)(void *)s->x + q / taps * prod(c->in), *col = (T *)(void *)s->col + q * n;       \
      int64_t kz = q % taps / (c->k[1] * c->k[2]), ky = q / c->k[2] % c->k[1], kx = q % c->k[2];   \
      for (int64_t j = s->j0; j < s->j1;) {                                                        \
        int64_t ox = j % c->out[2], r = j / c->out[2],                                             \
                len = c->out[2] - ox < s->j1 - j ? c->out[2] - ox : s->j1 - j;                     \
        int64_t z = r / c->out[1] * c->stride[0] + kz * c->dil[0] - c->pad[0];                     \
        int64_t y = r % c->out[1] * c->stride[1] + ky * c->dil[1] - c->pad[1];                     \
        int64_t x0 = ox * st + kx * c->dil[2] - c->pad[2];                                         \
        T *row = x + (z * c->in[1] + y) * c->in[2] + x0;                                           \
        inside(x0, st, c->in[2], len, &lo, &hi);                                                   \
        if (z < 0 || y < 0 || z >= c->in[0] || y >= c->in[1]) lo = hi = 0;                         \
        if (s->back) {                                                                             \
          if (st == 1)                                                                             \
            for (int64_t i = lo; i < hi; i++) row[i] = (T)(row[i] + col[i]);                       \
          else                                                                                     \
            for (int64_t i = lo; i < hi; i++) row[i * st] = (T)(row[i * st] + col[i]);             \
        } else {                                                                                   \
          memset(col, 0, (size_t)lo * sizeof(T));                                                  \
          if (st == 1 && hi > lo) memcpy(col + lo, row + lo, (size_t)(hi - lo) * sizeof(T));       \
          else                                                                                     \
            for (int64_t i = lo; i < hi; i++) col[i] = row[i * st];                                \
          memset(col + hi, 0, (size_t)(len - hi) * sizeof(T));                                     \
        }                                                                                          \
        col += len;                                                                                \
        j += len;                                                                                  \
      }                                                                                            \
    }                                                                                              \
  }
typedef float _Complex c64;
typedef double _Complex c128;
COLS(float, cols_f32)
COLS(double, cols_f64)
COLS(c64, cols_c64)
COLS(c128, cols_c128)
COLS(uint8_t, cols_8)
COLS(uint16_t, cols_16)
COLS(uint32_t, cols_32)
COLS(uint64_t, cols_64)

static void cols(const Cols *s) {
  switch (s->c->type) {
    case MT_GEMM_F32: cols_f32(s); break;
    case MT_GEMM_F64: cols_f64(s); break;
    case MT_GEMM_C64: cols_c64(s); break;
    case MT_GEMM_C128: cols_c128(s); break;
    case MT_GEMM_I8: case MT_GEMM_U8: cols_8(s); break;
    case MT_GEMM_I32: cols_32(s); break;
    case MT_GEMM_I64: cols_64(s); break;
    default: cols_16(s);
  }
}

static int64_t chunk_len(const MtConv *c) {
  int64_t len = 1048576 / (kernel_len(c) * sizes[c->type] + 1), all = prod(c->out);
  if (len < 256) len = 256;
  return len < all ? len : all;
}

static MtGemmStatus product(const MtConv *c, int64_t m, int64_t n, int64_t k, const char *a,
                            int64_t ars, int64_t acs, const char *b, int64_t brs, int64_t bcs,
                            char *out, int64_t crs, bool add) {
  MtGemm g = {.type = c->type,
              .m = m,
              .n = n,
              .k = k,
              .a = a,
              .ars = ars,
              .acs = acs,
              .b = b,
              .brs = brs,
              .bcs = bcs,
              .c = out,
              .crs = crs,
              .ccs = 1,
              .alpha = 1,
              .beta = add,
              .alpha_int = 1,
              .beta_int = add};
  return mt_gemm(&g);
}

/* What the three passes through columns share: for each image, group and chunk, step().  Images and
 * groups are shared out among threads; what they add into one place (the weights' gradient) every
 * piece of the work keeps for itself. */
typedef struct Pass {
  const MtConv *c;
  const char *x, *w, *y;
  char *out, *col;
  MtGemmStatus (*step)(struct Pass *p, int64_t image, int64_t group, int64_t j0, int64_t j1);
  size_t col_bytes, own_bytes;                 /* of one piece; own_bytes 0: pieces write apart */
  char *own;
  int64_t pieces;
  _Atomic int status;
} Pass;

static void pass_range(void *ctx, int64_t lo, int64_t hi) {
  Pass *all = ctx;
  const MtConv *c = all->c;
  int64_t len = chunk_len(c), units = c->n * c->groups;
  for (int64_t piece = lo; piece < hi; piece++) {
    Pass p = {.c = c,
              .x = all->x,
              .w = all->w,
              .y = all->y,
              .out = all->out,
              .col = all->col + (size_t)piece * all->col_bytes};
    if (all->own_bytes && piece) p.out = all->own + (size_t)(piece - 1) * all->own_bytes;
    for (int64_t u = units * piece / all->pieces; u < units * (piece + 1) / all->pieces; u++)
      for (int64_t j = 0; j < prod(c->out); j += len) {
        MtGemmStatus s = mt_interrupted
                             ? MT_GEMM_INTERRUPTED
                             : all->step(&p, u / c->groups, u % c->groups, j,
                                         j + len < prod(c->out) ? j + len : prod(c->out));
        if (s) { atomic_store(&all->status, (int)s); return; }
      }
  }
}

#define ADD_UP(T)                                                                          \
  for (int64_t i = 0; i < n; i++)                                                          \
    ((T *)(void *)to)[i] = (T)(((T *)(void *)to)[i] + ((const T *)(const void *)from)[i]);
static void add_up(const MtConv *c, char *to, const char *from, int64_t n) {
  switch (c->type) {
    case MT_GEMM_F32: ADD_UP(float) break;
    case MT_GEMM_F64: ADD_UP(double) break;
    case MT_GEMM_C64: ADD_UP(c64) break;
    case MT_GEMM_C128: ADD_UP(c128) break;
    case MT_GEMM_I8: case MT_GEMM_U8: ADD_UP(uint8_t) break;
    case MT_GEMM_I32: ADD_UP(uint32_t) break;
    case MT_GEMM_I64: ADD_UP(uint64_t) break;
    default: ADD_UP(uint16_t)
  }
}

/* shared: every unit adds into all of out, which holds `count` elements. */
static MtGemmStatus run_pass(Pass *p, bool shared, int64_t count) {
  const MtConv *c = p->c;
  int64_t units = c->n * c->groups, threads = mt_num_threads();
  if (prod(c->out) == 0) return MT_GEMM_OK;
  double work = (double)units * (double)kernel_len(c) * (double)prod(c->out) * (double)c->cout /
                (double)c->groups;
  p->pieces = units >= threads && !MT_TOO_LITTLE(work, 1e5) ? threads : 1;
  p->col_bytes = ((size_t)(kernel_len(c) * chunk_len(c)) * sizes[c->type] + 63) / 64 * 64;
  p->own_bytes = shared && p->pieces > 1 ? ((size_t)count * sizes[c->type] + 63) / 64 * 64 : 0;
  p->col =
      mt_malloc_aligned(p->col_bytes * (size_t)p->pieces + p->own_bytes * (size_t)(p->pieces - 1));
  if (!p->col) return MT_GEMM_NOMEM;
  p->own = p->col + p->col_bytes * (size_t)p->pieces;
  memset(p->own, 0, p->own_bytes * (size_t)(p->pieces - 1));
  atomic_init(&p->status, MT_GEMM_OK);
  if (p->pieces > 1) mt_parallel(p->pieces, 1, pass_range, p);
  else pass_range(p, 0, 1);
  for (int64_t i = 1; p->own_bytes && i < p->pieces; i++)
    add_up(c, p->out, p->own + (size_t)(i - 1) * p->own_bytes, count);
  mt_free_aligned(p->col);
  return (MtGemmStatus)atomic_load(&p->status);
}

static const char *group_at(const MtConv *c, const char *base, int64_t image, int64_t group,
                            int64_t channels, int64_t plane) {
  return base +
         (image * channels + group * (channels / c->groups)) * plane * (int64_t)sizes[c->type];
}
static const char *weight_at(const MtConv *c, const char *w, int64_t group) {
  return w + group * (c->cout / c->groups) * kernel_len(c) * (int64_t)sizes[c->type];
}

static MtGemmStatus step_forward(Pass *p, int64_t image, int64_t group, int64_t j0, int64_t j1) {
  const MtConv *c = p->c;
  Cols s = {c,      (char *)(uintptr_t)group_at(c, p->x, image, group, c->cin, prod(c->in)),
            p->col, j0,
            j1,     false};
  char *y = (char *)(uintptr_t)group_at(c, p->out, image, group, c->cout, prod(c->out)) +
            j0 * (int64_t)sizes[c->type];
  cols(&s);
  return product(c, c->cout / c->groups, j1 - j0, kernel_len(c), weight_at(c, p->w, group),
                 kernel_len(c), 1, p->col, j1 - j0, 1, y, prod(c->out), false);
}

static MtGemmStatus step_input(Pass *p, int64_t image, int64_t group, int64_t j0, int64_t j1) {
  const MtConv *c = p->c;
  const char *y =
      group_at(c, p->y, image, group, c->cout, prod(c->out)) + j0 * (int64_t)sizes[c->type];
  MtGemmStatus st =
      product(c, kernel_len(c), j1 - j0, c->cout / c->groups, weight_at(c, p->w, group), 1,
              kernel_len(c), y, prod(c->out), 1, p->col, j1 - j0, false);
  if (st) return st;
  Cols s = {c,      (char *)(uintptr_t)group_at(c, p->out, image, group, c->cin, prod(c->in)),
            p->col, j0,
            j1,     true};
  cols(&s);
  return MT_GEMM_OK;
}

static MtGemmStatus step_weight(Pass *p, int64_t image, int64_t group, int64_t j0, int64_t j1) {
  const MtConv *c = p->c;
  Cols s = {c,      (char *)(uintptr_t)group_at(c, p->x, image, group, c->cin, prod(c->in)),
            p->col, j0,
            j1,     false};
  const char *y =
      group_at(c, p->y, image, group, c->cout, prod(c->out)) + j0 * (int64_t)sizes[c->type];
  cols(&s);
  return product(c, c->cout / c->groups, kernel_len(c), j1 - j0, y, prod(c->out), 1, p->col, 1,
                 j1 - j0, (char *)(uintptr_t)weight_at(c, p->out, group), kernel_len(c), true);
}

#define ADD_BIAS(T)                                                                            \
  for (int64_t r = 0; r < c->n * c->cout; r++)                                                 \
    for (int64_t j = 0; j < plane; j++)                                                        \
      ((T *)y)[r * plane + j] = (T)(((T *)y)[r * plane + j] + ((const T *)bias)[r % c->cout]);
static void add_bias(const MtConv *c, const void *bias, void *y) {
  int64_t plane = prod(c->out);
  switch (c->type) {
    case MT_GEMM_C64: ADD_BIAS(c64) break;
    case MT_GEMM_C128: ADD_BIAS(c128) break;
    case MT_GEMM_I8: case MT_GEMM_U8: ADD_BIAS(uint8_t) break;
    case MT_GEMM_I32: ADD_BIAS(uint32_t) break;
    case MT_GEMM_I64: ADD_BIAS(uint64_t) break;
    default: ADD_BIAS(uint16_t)
  }
}

MtGemmStatus mt_conv_forward(const MtConv *c, const void *x, const void *w, const void *bias,
                             void *y) {
  if (c->n * c->cout * prod(c->out) == 0) return MT_GEMM_OK;
  if (c->type == MT_GEMM_F32 || c->type == MT_GEMM_F64) return forward_real(c, x, w, bias, y);
  Pass p = {.c = c, .x = x, .w = w, .out = y, .step = step_forward};
  MtGemmStatus s = run_pass(&p, false, 0);
  if (!s && bias) add_bias(c, bias, y);
  return s;
}

MtGemmStatus mt_conv_input(const MtConv *c, const void *dy, const void *w, void *dx) {
  MtGemmStatus status;
  int64_t count = c->n * c->cin * prod(c->in);
  if (count == 0) return MT_GEMM_OK;
  if (mt_conv_input_real(c, dy, w, dx, &status)) return status;
  memset(dx, 0, (size_t)count * sizes[c->type]);
  Pass p = {.c = c, .y = dy, .w = w, .out = dx, .step = step_input};
  return run_pass(&p, false, 0);
}

MtGemmStatus mt_conv_weight(const MtConv *c, const void *x, const void *dy, void *dw) {
  if (c->type == MT_GEMM_F32 || c->type == MT_GEMM_F64) return mt_conv_weight_real(c, x, dy, dw);
  memset(dw, 0, (size_t)(c->cout * kernel_len(c)) * sizes[c->type]);
  Pass p = {.c = c, .x = x, .y = dy, .out = dw, .step = step_weight};
  return run_pass(&p, true, c->cout * kernel_len(c));
}
