/* grid.c: F.grid_sample and F.affine_grid.
 *
 * A block of grid places becomes, once for all channels, a list of taps: a place in the plane
 * (below 0: outside, counts as zero), its weight and the weight's derivative by each coordinate.
 * The forward pass gathers taps, the gradient of the input scatters along them, the gradient of the
 * grid sums over channels what the derivatives weigh. */
#include "expr_rt.h"
#include "windows.h"
#include <math.h>
#include <string.h>

enum { BLOCK = 1024, MAX_TAPS = 16 };
typedef enum { BILINEAR, NEAREST, BICUBIC } Mode;
typedef enum { ZEROS, BORDER, REFLECTION } Padding;
static const char *const mode_names[] = {"bilinear", "nearest", "bicubic"};
static const char *const padding_names[] = {"zeros", "border", "reflection"};

typedef struct {
  int mode, padding, n, taps;                  /* n: spatial dimensions */
  bool align, single;
  int64_t size[3], plane;                      /* x, y, z extents: the last dimension first */
  int64_t batch, channels, places;             /* places: grid points of one image */
  const char *x, *grid, *grad;
  char *y, *gx, *ggrid, *mem;
  int64_t groups;                              /* channel groups that scatter side by side */
  size_t step;                                 /* scratch bytes a thread */
} Grid;

/* Scratch of one thread: taps of a block. */
typedef struct { int32_t *idx; void *w, *dw[3], *row; } Taps;
static size_t taps_bytes(void) {
  return BLOCK * MAX_TAPS * (sizeof(int32_t) + 4 * sizeof(double)) + BLOCK * sizeof(double);
}
static Taps taps_at(char *mem) {
  Taps t;
  t.idx = (int32_t *)(void *)mem;
  mem += BLOCK * MAX_TAPS * sizeof(int32_t);
  t.w = mem;
  for (int i = 0; i < 3; i++) t.dw[i] = mem + (size_t)(i + 1) * BLOCK * MAX_TAPS * sizeof(double);
  t.row = mem + 4 * (size_t)BLOCK * MAX_TAPS * sizeof(double);
  return t;
}

#define GRID(T, S, FLOOR, FMOD, RINT, FABS)                                                       \
  /* The coordinate in elements; *slope is multiplied by its derivative. */                       \
  static T element_##S(T v, int64_t size, bool align, T *slope) {                                 \
    *slope *= (align ? (T)(size - 1) : (T)size) / 2;                                              \
    return align ? (v + 1) / 2 * (T)(size - 1) : ((v + 1) * (T)size - 1) / 2;                     \
  }                                                                                               \
  static T reflect_##S(T v, int64_t low2, int64_t high2, T *slope) {                              \
    if (low2 == high2) {                                                                          \
      *slope = 0;                                                                                 \
      return 0;                                                                                   \
    }                                                                                             \
    T low = (T)low2 / 2, span = (T)(high2 - low2) / 2, d = v - low;                               \
    if (d < 0) {                                                                                  \
      d = -d;                                                                                     \
      *slope = -*slope;                                                                           \
    }                                                                                             \
    T extra = FMOD(d, span), flips = FLOOR(d / span);                                             \
    if (FMOD(flips, 2) == 0) return extra + low;                                                  \
    *slope = -*slope;                                                                             \
    return span - extra + low;                                                                    \
  }                                                                                               \
  static T inside_##S(T v, int64_t size, int padding, bool align, T *slope) {                     \
    if (padding == ZEROS) return v;                                                               \
    if (padding == REFLECTION)                                                                    \
      v = align ? reflect_##S(v, 0, 2 * (size - 1), slope)                                        \
                : reflect_##S(v, -1, 2 * size - 1, slope);                                        \
    if (!(v > 0)) {                                                                               \
      *slope = 0;                                                                                 \
      return 0;                                                                                   \
    }                                                                                             \
    if (v >= (T)(size - 1)) {                                                                     \
      *slope = 0;                                                                                 \
      return (T)(size - 1);                                                                       \
    }                                                                                             \
    return v;                                                                                     \
  }                                                                                               \
  /* A whole coordinate as an index, -1 outside. */                                               \
  static int64_t index_##S(T v, int64_t size) { return v >= 0 && v < (T)size ? (int64_t)v : -1; } \
  static void cubic_##S(T t, T w[4], T d[4]) {                                                    \
    const T a = (T) - 0.75, near[2] = {t, 1 - t}, far[2] = {t + 1, 2 - t};                        \
    for (int i = 0; i < 2; i++) {                                                                 \
      T x = near[i], y = far[i];                                                                  \
      int sign = i ? -1 : 1;                                                                      \
      w[1 + i] = ((a + 2) * x - (a + 3)) * x * x + 1;                                             \
      d[1 + i] = (T)sign * (3 * (a + 2) * x - 2 * (a + 3)) * x;                                   \
      w[3 * i] = ((a * y - 5 * a) * y + 8 * a) * y - 4 * a;                                       \
      d[3 * i] = (T)sign * ((3 * a * y - 10 * a) * y + 8 * a);                                    \
    }                                                                                             \
  }                                                                                               \
  /* Taps along one dimension: indices, weights, derivatives; the value is how many. */           \
  static int along_##S(const Grid *g, int d, T v, int64_t idx[4], T w[4], T dw[4]) {              \
    int64_t size = g->size[d];                                                                    \
    T slope = 1, none = 1;                                                                        \
    v = element_##S(v, size, g->align, &slope);                                                   \
    if (g->mode != BICUBIC) v = inside_##S(v, size, g->padding, g->align, &slope);                \
    if (g->mode == NEAREST) {                                                                     \
      idx[0] = index_##S(RINT(v), size);                                                          \
      w[0] = 1;                                                                                   \
      dw[0] = 0;                                                                                  \
      return 1;                                                                                   \
    }                                                                                             \
    T low = FLOOR(v), t = v - low;                                                                \
    if (g->mode == BILINEAR) {                                                                    \
      idx[0] = index_##S(low, size);                                                              \
      w[0] = 1 - t;                                                                               \
      dw[0] = -slope;                                                                             \
      idx[1] = index_##S(low + 1, size);                                                          \
      w[1] = t;                                                                                   \
      dw[1] = slope;                                                                              \
      return 2;                                                                                   \
    }                                                                                             \
    cubic_##S(t, w, dw);                                                                          \
    for (int i = 0; i < 4; i++) {                                                                 \
      idx[i] = index_##S(inside_##S(low - 1 + (T)i, size, g->padding, g->align, &none), size);    \
      dw[i] *= slope;                                                                             \
    }                                                                                             \
    return 4;                                                                                     \
  }                                                                                               \
  static void find_##S(const Grid *g, const T *grid, int64_t m, const Taps *out,                  \
                       bool derivatives) {                                                        \
    T *w = out->w, *const dw[3] = {out->dw[0], out->dw[1], out->dw[2]};                           \
    for (int64_t o = 0; o < m; o++, grid += g->n) {                                               \
      int64_t ix[3][4] = {{0}}, at = o;                                                           \
      T wx[3][4] = {{1}, {1}, {1}}, dx[3][4] = {{0}};                                             \
      int k[3] = {1, 1, 1};                                                                       \
      for (int d = 0; d < g->n; d++) k[d] = along_##S(g, d, grid[d], ix[d], wx[d], dx[d]);        \
      for (int z = 0; z < k[2]; z++)                                                              \
        for (int y = 0; y < k[1]; y++)                                                            \
          for (int x = 0; x < k[0]; x++, at += m) {                                               \
            bool in = ix[0][x] >= 0 && ix[1][y] >= 0 && ix[2][z] >= 0;                            \
            out->idx[at] =                                                                        \
                in ? (int32_t)((ix[2][z] * g->size[1] + ix[1][y]) * g->size[0] + ix[0][x]) : -1;  \
            w[at] = wx[0][x] * wx[1][y] * wx[2][z];                                               \
            if (!derivatives) continue;                                                           \
            dw[0][at] = dx[0][x] * wx[1][y] * wx[2][z];                                           \
            dw[1][at] = wx[0][x] * dx[1][y] * wx[2][z];                                           \
            if (g->n == 3) dw[2][at] = wx[0][x] * wx[1][y] * dx[2][z];                            \
          }                                                                                       \
    }                                                                                             \
  }                                                                                               \
  static void scatter_##S(const Taps *t, int taps, int64_t m, const T *grad, T *gx) {             \
    const T *w = t->w;                                                                            \
    const int32_t *idx = t->idx;                                                                  \
    for (int k = 0; k < taps; k++, w += m, idx += m)                                              \
      for (int64_t o = 0; o < m; o++)                                                             \
        if (idx[o] >= 0) gx[idx[o]] += w[o] * grad[o];                                            \
  }                                                                                               \
  static void slopes_##S(const Grid *g, int d, int64_t m, const T *row, const T *grad, T *gg) {   \
    for (int64_t o = 0; o < m; o++) gg[o * g->n + d] += row[o] * grad[o];                         \
  }
GRID(float, f32, floorf, fmodf, rintf, fabsf)
GRID(double, f64, floor, fmod, rint, fabs)

static size_t es_of(const Grid *g) { return g->single ? 4 : 8; }
static void find(const Grid *g, int64_t image, int64_t at, int64_t m, const Taps *t,
                 bool derivatives) {
  const char *p = g->grid + (size_t)((image * g->places + at) * g->n) * es_of(g);
  if (g->n == 2 && !derivatives && g->mode != BICUBIC && g->padding != REFLECTION &&
      g->size[0] < 1 << 24 && g->size[1] < 1 << 24) {
    MtPlaces all = {(int32_t)g->size[0], (int32_t)g->size[1], g->align, g->padding == BORDER,
                    g->mode == NEAREST};
    mt_plane_kerns(g->single ? MT_PLANE_F32 : MT_PLANE_F64)->places(&all, m, p, t->idx, t->w);
    return;
  }
  if (g->single) find_f32(g, (const float *)(const void *)p, m, t, derivatives);
  else find_f64(g, (const double *)(const void *)p, m, t, derivatives);
}
/* Plane of channel ch of an image in a buffer with `len` elements a plane. */
static char *plane_at(const Grid *g, const char *base, int64_t image, int64_t ch, int64_t len,
                      int64_t at) {
  return (char *)(uintptr_t)base + (size_t)((image * g->channels + ch) * len + at) * es_of(g);
}
static int64_t blocks_of(const Grid *g) { return (g->places + BLOCK - 1) / BLOCK; }
static int64_t block_len(const Grid *g, int64_t at) {
  return g->places - at < BLOCK ? g->places - at : BLOCK;
}

static void sample_range(void *ctx, int64_t lo, int64_t hi) {
  const Grid *g = ctx;
  Taps t = taps_at(g->mem + (size_t)mt_thread_id() * g->step);
  for (int64_t u = lo; u < hi && !mt_interrupted; u++) {
    int64_t image = u / blocks_of(g), at = u % blocks_of(g) * BLOCK, m = block_len(g, at);
    find(g, image, at, m, &t, false);
    for (int64_t ch = 0; ch < g->channels; ch++)
      mt_plane_kerns(g->single ? MT_PLANE_F32 : MT_PLANE_F64)
          ->sample(m, g->taps, t.idx, t.w, plane_at(g, g->x, image, ch, g->plane, 0),
                   plane_at(g, g->y, image, ch, g->places, at));
  }
}
/* A group of channels of one image: nobody else writes its planes. */
static void input_range(void *ctx, int64_t lo, int64_t hi) {
  const Grid *g = ctx;
  Taps t = taps_at(g->mem + (size_t)mt_thread_id() * g->step);
  for (int64_t u = lo; u < hi; u++) {
    int64_t image = u / g->groups, q = u % g->groups, first = g->channels * q / g->groups,
            end = g->channels * (q + 1) / g->groups;
    for (int64_t at = 0; at < g->places && !mt_interrupted; at += BLOCK) {
      int64_t m = block_len(g, at);
      find(g, image, at, m, &t, false);
      for (int64_t ch = first; ch < end; ch++) {
        void *grad = plane_at(g, g->grad, image, ch, g->places, at),
             *gx = plane_at(g, g->gx, image, ch, g->plane, 0);
        if (g->single) scatter_f32(&t, g->taps, m, grad, gx);
        else scatter_f64(&t, g->taps, m, grad, gx);
      }
    }
  }
}
static void grid_range(void *ctx, int64_t lo, int64_t hi) {
  const Grid *g = ctx;
  const MtPlaneKerns *kern = mt_plane_kerns(g->single ? MT_PLANE_F32 : MT_PLANE_F64);
  Taps t = taps_at(g->mem + (size_t)mt_thread_id() * g->step);
  for (int64_t u = lo; u < hi && !mt_interrupted; u++) {
    int64_t image = u / blocks_of(g), at = u % blocks_of(g) * BLOCK, m = block_len(g, at);
    void *gg = g->ggrid + (size_t)((image * g->places + at) * g->n) * es_of(g);
    find(g, image, at, m, &t, true);
    for (int64_t ch = 0; ch < g->channels; ch++) {
      const void *x = plane_at(g, g->x, image, ch, g->plane, 0),
                 *grad = plane_at(g, g->grad, image, ch, g->places, at);
      for (int d = 0; d < g->n; d++) {
        kern->sample(m, g->taps, t.idx, t.dw[d], x, t.row);
        if (g->single) slopes_f32(g, d, m, t.row, grad, gg);
        else slopes_f64(g, d, m, t.row, grad, gg);
      }
    }
  }
}

static bool describe(Ctx *c, Grid *g, const Tensor *x, const Tensor *grid, int64_t mode,
                     int64_t padding, bool align) {
  *g = (Grid){.mode = (int)mode,
              .padding = (int)padding,
              .n = x->ndim - 2,
              .align = align,
              .single = x->dtype != MT_float64,
              .size = {1, 1, 1},
              .plane = 1,
              .batch = x->size[0],
              .channels = x->size[1],
              .places = 1,
              .groups = 1};
  for (int i = 0; i < g->n; i++) g->plane *= g->size[i] = x->size[x->ndim - 1 - i];
  for (int i = 1; i < grid->ndim - 1; i++) g->places *= grid->size[i];
  g->taps = mode == NEAREST ? 1 : mode == BICUBIC ? 16 : 1 << g->n;
  if (g->plane <= INT32_MAX) return true;
  mt_fail(c, "an input plane of %lld elements is too large", (long long)g->plane);
  return false;
}
static bool with_scratch(Ctx *c, Grid *g) {
  g->step = taps_bytes();
  g->mem = mt_malloc(g->step * (size_t)mt_num_threads());
  if (!g->mem) mt_nomem(c);
  return g->mem != NULL;
}
static IntList out_shape(const Tensor *x, const Tensor *grid, int64_t *size) {
  size[0] = x->size[0];
  size[1] = x->size[1];
  memcpy(size + 2, grid->size + 1, sizeof(int64_t) * (size_t)(x->ndim - 2));
  return mt_il(size, x->ndim);
}
static Tensor *zeros(Ctx *c, const Tensor *like, DType d) {
  return t_zeros(c, mt_sizes(like), d, -1, -1, -1, false);
}

Tensor *k__grid_sample(Ctx *c, Tensor *input, Tensor *grid, int64_t mode, int64_t padding,
                       bool align) {
  Grid g;
  int64_t size[MT_MAXDIM];
  IntList shape = out_shape(input, grid, size);
  if (mt_meta(input) || mt_meta(grid)) return mt_new(c, shape, (DType)input->dtype, MT_META);
  if (!describe(c, &g, input, grid, mode, padding, align)) return NULL;
  DType w = g.single ? MT_float32 : MT_float64;
  Tensor *y = mt_new(c, shape, w, MT_CPU), *x = mt_contig_as(c, input, w),
         *p = mt_contig_as(c, grid, w);
  if (c->err) return NULL;
  if (y->numel) {
    g.x = mt_data(x); g.grid = mt_data(p); g.y = mt_data(y);
    if (!with_scratch(c, &g)) return NULL;
    mt_parallel(g.batch * blocks_of(&g), 1 + 64 / (g.channels + 1), sample_range, &g);
    mt_free(g.mem);
    if (mt_poll(c)) return NULL;
  }
  return mt_cast(c, y, (DType)input->dtype);
}
void k__grid_sample_backward(Ctx *c, Tensor *grad, Tensor *input, Tensor *grid, int64_t mode,
                             int64_t padding, bool align, bool need_input, bool need_grid, Val *r) {
  Grid g;
  r[0].t = r[1].t = NULL;
  if (mt_meta(grad)) {
    if (need_input) r[0].t = mt_new(c, mt_sizes(input), (DType)input->dtype, MT_META);
    if (need_grid) r[1].t = mt_new(c, mt_sizes(grid), (DType)grid->dtype, MT_META);
    return;
  }
  if (!describe(c, &g, input, grid, mode, padding, align)) return;
  DType w = g.single ? MT_float32 : MT_float64;
  Tensor *x = mt_contig_as(c, input, w), *p = mt_contig_as(c, grid, w),
         *dy = mt_contig_as(c, grad, w);
  Tensor *gx = need_input ? zeros(c, input, w) : NULL, *gg = need_grid ? zeros(c, grid, w) : NULL;
  if (c->err) return;
  if (dy->numel) {
    g.x = mt_data(x); g.grid = mt_data(p); g.grad = mt_data(dy);
    if (!with_scratch(c, &g)) return;
    g.groups = g.channels < mt_num_threads() ? g.channels : mt_num_threads();
    if (gx) {
      g.gx = mt_data(gx);
      mt_parallel(g.batch * g.groups, 1 + 4096 / (g.places + 1), input_range, &g);
    }
    if (gg && mode != NEAREST) {
      g.ggrid = mt_data(gg);
      mt_parallel(g.batch * blocks_of(&g), 1 + 64 / (g.channels + 1), grid_range, &g);
    }
    mt_free(g.mem);
    if (mt_poll(c)) return;
  }
  if (gx) r[0].t = mt_cast(c, gx, (DType)input->dtype);
  if (gg) r[1].t = mt_cast(c, gg, (DType)grid->dtype);
}

static int name_index(Ctx *c, const char *what, const char *name, const char *const list[3]) {
  for (int i = 0; i < 3; i++) if (!strcmp(name, list[i])) return i;
  mt_fail(c, "expected %s to be '%s', '%s' or '%s', but got: '%s'", what, list[0], list[1], list[2],
          name);
  return -1;
}
Tensor *k_F_grid_sample(Ctx *c, Tensor *x, Tensor *grid, const char *mode, const char *padding,
                        int align) {
  int m = name_index(c, "mode", mode, mode_names),
      p = name_index(c, "padding_mode", padding, padding_names);
  if (c->err) return NULL;
  if ((x->ndim != 4 && x->ndim != 5) || x->ndim != grid->ndim)
    return mt_fail(c,
                   "expected 4D or 5D input and grid with same number of dimensions, but got input "
                   "with sizes %s and grid with sizes %s",
                   mt_list_str(c, mt_sizes(x)), mt_list_str(c, mt_sizes(grid)));
  if (grid->size[grid->ndim - 1] != x->ndim - 2)
    return mt_fail(c, "expected grid to have size %d in last dimension, but got grid with sizes %s",
                   x->ndim - 2, mt_list_str(c, mt_sizes(grid)));
  if (x->size[0] != grid->size[0])
    return mt_fail(c,
                   "expected grid and input to have same batch size, but got input with sizes %s "
                   "and grid with sizes %s",
                   mt_list_str(c, mt_sizes(x)), mt_list_str(c, mt_sizes(grid)));
  for (int i = 2; i < x->ndim; i++)
    if (!x->size[i])
      return mt_fail(c, "expected input to have non-empty spatial dimensions, but got shape %s",
                     mt_list_str(c, mt_sizes(x)));
  if (x->dtype != grid->dtype)
    return mt_fail(c, "expected input and grid to have one dtype, got %s and %s",
                   mt_dtypes[x->dtype].name, mt_dtypes[grid->dtype].name);
  if (!mt_is_float(x->dtype))
    return mt_fail(c, "is not implemented for %s", mt_dtypes[x->dtype].name);
  if (m == BICUBIC && x->ndim == 5)
    return mt_fail(c, "bicubic interpolation only supports 4D input");
  return t__grid_sample(c, x, grid, m, p, align > 0);
}

/* ---- affine grids ---- */
/* n coordinates from -1 to 1, of pixel centres unless the corners are aligned. */
static Tensor *steps(Ctx *c, int64_t n, bool align, int dtype) {
  if (n <= 1) return t_zeros(c, mt_il(&n, 1), dtype, -1, -1, -1, false);
  Tensor *t = t_linspace(c, mt_sd(-1), mt_sd(1), n, dtype, -1, -1, -1, false);
  return align ? t : t_mul(c, t, mt_wrap(c, mt_sd((double)(n - 1) / (double)n)));
}
Tensor *k_F_affine_grid(Ctx *c, Tensor *theta, IntList size, int align) {
  int n = (int)size.n - 2;
  int64_t whole[5], count = 1;
  if (!mt_is_float(theta->dtype))
    return mt_fail(c, "expected theta to have floating point type, but got %s",
                   mt_dtypes[theta->dtype].name);
  if (n != 2 && n != 3)
    return mt_fail(c, "size must have 4 or 5 entries, got %s", mt_list_str(c, size));
  if (theta->ndim != 3 || theta->size[1] != n || theta->size[2] != n + 1 ||
      theta->size[0] != size.v[0])
    return mt_fail(
        c, "expected a batch of %lld affine matrices of shape %dx%d for size %s, got shape %s",
        (long long)size.v[0], n, n + 1, mt_list_str(c, size), mt_list_str(c, mt_sizes(theta)));
  for (int i = 0; i < size.n; i++)
    if (size.v[i] < 1 || (i > 1 && __builtin_mul_overflow(count, size.v[i], &count)))
      return mt_fail(c, "expected non-zero, positive output size, got %s", mt_list_str(c, size));
  Tensor *part[4];
  for (int d = 0; d < n;
       d++) { /* x, y, z: coordinates along the last, last but one ... dimension */
    int64_t shape[3] = {1, 1, 1};
    whole[d] = shape[d] = size.v[2 + d];
    part[n - 1 - d] =
        t_reshape(c, steps(c, size.v[2 + d], align > 0, theta->dtype), mt_il(shape, n));
  }
  part[n] = t_ones(c, mt_il((int64_t[]){1}, 1), theta->dtype, -1, -1, -1, false);
  for (int d = 0; d <= n && !c->err; d++) part[d] = t_expand(c, part[d], mt_il(whole, n), false);
  if (c->err) return NULL;
  Tensor *base = t_reshape(c, t_stack(c, (TensorList){part, n + 1}, -1),
                           mt_il((int64_t[]){1, count, n + 1}, 3));
  Tensor *y = t_matmul(c, base, t_transpose(c, theta, 1, 2));
  int64_t shape[5] = {size.v[0]};
  memcpy(shape + 1, whole, sizeof(int64_t) * (size_t)n);
  shape[n + 1] = n;
  return t_reshape(c, y, mt_il(shape, n + 2));
}
