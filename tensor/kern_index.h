/* kern_index.h: loops that move or fold elements to and from indexed places, built once per CPU
 * level.
 *
 * Invariant.  Indices were checked before (check); they and all steps count elements.  Element i of
 * the indexed side lies at index * ss + i * sj: sj is 0 where the line runs along the indexed
 * dimension.  Loops go up, so the last of several writes to one place stays.  By-size tables are
 * for 1, 2, 4, 8 and 16 bytes. */
#ifndef MT_KERN_INDEX_H
#define MT_KERN_INDEX_H
#include "moth.h"

typedef struct {
  char *self;                              /* the indexed side */
  char *with;                              /* the side beside the indices */
  const int64_t *ix;
  int64_t ss, sj, ws, is, n;
} MtIndexLine;
typedef void (*MtIndexFn)(const MtIndexLine *l);
typedef enum { MT_FOLD_SET, MT_FOLD_ADD, MT_FOLD_MUL, MT_FOLD_MAX, MT_FOLD_MIN, MT_FOLDS } MtFold;

typedef struct {
  /* The first place whose index is outside [0, size), or -1. */
  int64_t (*check)(const int64_t *ix, int64_t is, int64_t n, int64_t size);
  MtIndexFn take[5], put[5];
  MtIndexFn fold[MT_NDTYPES][MT_FOLDS];    /* NULL: bool, halves, complex numbers; MT_FOLD_SET */
  void (*flip[5])(void *dst, const void *src, int64_t n);
  /* dst[i] <- the next of ns source elements where mask[i] is 1, as long as there are any */
  void (*lay[5])(void *dst, const uint8_t *mask, int64_t n, const void *src, int64_t ns);
  int64_t (*count)(const uint8_t *mask, int64_t n);          /* bytes of value 1; others are 0 */
  void (*ramp_i64)(int64_t *o, int64_t n, int64_t start, int64_t step);
  /* o[i] <- start + (from + i) step, computed in double */
  void (*ramp_f32)(float *o, int64_t from, int64_t n, double start, double step);
  void (*ramp_f64)(double *o, int64_t from, int64_t n, double start, double step);
  /* o <- the sum, in order, of the rows of w at ix[0] to ix[n - 1] but those of index `but`, each
   * times by[i] (NULL: as it is); ix may be read to ix[ahead - 1] */
  void (*bag_f32)(float *o, int64_t width, const float *w, const int64_t *ix, int64_t n,
                  int64_t ahead, int64_t but, const float *by);
  void (*bag_f64)(double *o, int64_t width, const double *w, const int64_t *ix, int64_t n,
                  int64_t ahead, int64_t but, const double *by);
} MtIndexKerns;
extern const MtIndexKerns mt_index_kerns_base, mt_index_kerns_avx2, mt_index_kerns_avx512;
const MtIndexKerns *mt_index_kerns(void);
static inline int mt_size_class(size_t es) {
  return es == 1 ? 0 : es == 2 ? 1 : es == 4 ? 2 : es == 8 ? 3 : 4;
}
#endif
