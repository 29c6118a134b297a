/* kern_planes.h: kernels over one plane (the last one to three dimensions of one channel), built
 * once per CPU level.
 *
 * Invariants.  Planes are contiguous.  Sizes are three, unused leading ones 1 (stride 1, padding
 * 0).  Every kernel comes for float, double and int64_t, in that order in the table; whoever has
 * another type casts. */
#ifndef MT_KERN_PLANES_H
#define MT_KERN_PLANES_H
#include <stdbool.h>
#include <stdint.h>

/* Windows of a max pool. */
typedef struct { int64_t k[3], s[3], p[3], d[3], in[3], out[3]; } MtWindows;

/* A linear map along one dimension: out[o] is the sum of w[e] * in[idx[e]] for e from first[o] to
 * first[o + 1].  When every output has `taps` terms they lie a second time tap by tap: tidx[t * out
 * + o], tw.  Outputs lo to hi - 1 are plain copies of neighbouring inputs. */
typedef struct {
  int64_t in, out, lo, hi, taps;               /* taps 0: counts differ */
  const int32_t *first, *idx, *tidx;
  const void *w, *tw;
  bool plain, twice;                           /* all outputs are copies; output o of input o / 2 */
} MtAxis;

/* How pairs of numbers from -1 to 1 are places in a plane of fewer than 2^24 by 2^24 elements. */
typedef struct { int32_t width, height; bool align, border, nearest; } MtPlaces;

typedef struct {
  /* The largest element of each window; NaN counts as largest and the last one wins, else the first
   * of equals.  at: their places in the plane, or NULL.  row: scratch of 2 * mt_max_row() elements.
   */
  void (*max)(const MtWindows *m, const void *x, void *y, int64_t *at, void *row);
  /* x [outer, in, inner] -> y [outer, out, inner] */
  void (*along)(const MtAxis *a, int64_t outer, int64_t inner, const void *x, void *y);
  /* y[o] = the sum over taps of w[t * n + o] * x[idx[t * n + o]]; a place below 0 counts as an
   * element 0. */
  void (*sample)(int64_t n, int64_t taps, const int32_t *idx, const void *w, const void *x,
                 void *y);
  void (*divide)(int64_t n, const void *x, const void *by, double factor,
                 void *y); /* y = x / (by * factor) */
  /* One plane along axes that are all plain. */
  void (*copies)(const MtAxis *const a[3], const void *x, void *y);
  /* What `sample` takes, of m places: the four neighbours or the nearest.  Not for int64_t. */
  void (*places)(const MtPlaces *p, int64_t m, const void *grid, int32_t *idx, void *w);
} MtPlaneKerns;
typedef enum { MT_PLANE_F32, MT_PLANE_F64, MT_PLANE_I64, MT_PLANE_TYPES } MtPlaneType;
extern const MtPlaneKerns mt_plane_kerns_base[MT_PLANE_TYPES], mt_plane_kerns_avx2[MT_PLANE_TYPES],
    mt_plane_kerns_avx512[MT_PLANE_TYPES];
const MtPlaneKerns *mt_plane_kerns(MtPlaneType t);

/* Elements of a window row: the input's row with padding on both sides. */
static inline int64_t mt_max_row(const MtWindows *m) {
  int64_t a = (m->out[2] - 1) * m->s[2] + (m->k[2] - 1) * m->d[2] + 1, b = m->in[2] + m->p[2];
  return (a > b ? a : b) + 16;
}
#endif
