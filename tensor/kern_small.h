/* kern_small.h: factorisations of small real matrices, built once per CPU level.
 *
 * Invariants.  Matrices are column-major and dense, of n <= MT_SMALL rows and columns.  Pivots,
 * triangles and info mean what LAPACK's getrf, getrs and potrf mean by them; LAPACK itself spends
 * more on a call than such a matrix has work. */
#ifndef MT_KERN_SMALL_H
#define MT_KERN_SMALL_H
#include <stdbool.h>

enum { MT_SMALL = 16 };
#define MT_SMALL_KERNS(T, S)                                                                   \
  int (*lu_##S)(int n, T *a, int *piv);          /* info: the first pivot that is zero, from 1 */ \
  /* B = A^-1 B, or A^-T B when turned, from lu's results */                                   \
  void (*lu_solve_##S)(int n, int nrhs, bool turned, const T *lu, const int *piv, T *b);       \
  int (*cholesky_##S)(int n, bool upper, T *a);  /* info: the first minor that is not positive */
typedef struct {
  MT_SMALL_KERNS(float, f32)
  MT_SMALL_KERNS(double, f64)
} MtSmallKerns;
extern const MtSmallKerns mt_small_kerns_base, mt_small_kerns_avx2, mt_small_kerns_avx512;
const MtSmallKerns *mt_small(void);              /* those of this processor */
#endif
