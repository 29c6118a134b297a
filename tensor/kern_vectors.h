/* kern_vectors.h: kernels over two contiguous vectors, built once per CPU level. */
#ifndef MT_KERN_VECTORS_H
#define MT_KERN_VECTORS_H
#include <stdint.h>

#define MT_VECTOR_KERNS(T, S)                                                                   \
  void (*axpy_##S)(int64_t n, T a, const T *x, T *y);                /* y += a x */             \
  /* the 2-norms of x - y[i] */                                                                 \
  void (*euclid_##S)(int64_t n, const T *x, const T *const y[4], double out[4]);                \
  double (*apart_##S)(int64_t n, const T *x, const T *y, double p);  /* the p-norm, p not 2 */
typedef struct {
  MT_VECTOR_KERNS(float, f32)
  MT_VECTOR_KERNS(double, f64)
} MtVectorKerns;
extern const MtVectorKerns mt_vector_kerns_base, mt_vector_kerns_avx2, mt_vector_kerns_avx512;
const MtVectorKerns *mt_vectors(void);     /* those of this processor */
#endif
