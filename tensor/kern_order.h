/* kern_order.h: order-preserving keys and extrema with indices, one table per CPU level.
 *
 * Invariant.  A key is an unsigned number whose order is PyTorch's sorting order: -0 equals 0,
 * every nan is equal and greater than all else; with desc the order is reversed by complement.
 * Elements of up to 32 bits have 32-bit keys, i64 and f64 64-bit ones.  An arg-extremum is the
 * first of equal ones, the first nan where there is one. */
#ifndef MT_KERN_ORDER_H
#define MT_KERN_ORDER_H
#include "elem.h"
typedef void (*KeyFn)(const void *in, int64_t n, bool desc, void *keys);
typedef int64_t (*ArgFn)(const void *in, int64_t n);
/* Folds n rows of m elements, stride apart (in elements), into best and at; the first row's
 * index is base. */
typedef void (*ArgColsFn)(const void *in, int64_t n, int64_t m, int64_t stride, void *best,
                          int64_t *at);
typedef struct {
  KeyFn keys[10];
  ArgFn argmax[10], argmin[10];
  ArgColsFn argmax_cols[10], argmin_cols[10];
  /* The k smallest of n keys in stable order; top holds key and index by turns of the pair types
   * below. */
  void (*least32)(const uint32_t *key, int64_t n, int64_t base, uint64_t *top, int64_t k,
                  int64_t *have);
  void (*least64)(const uint64_t *key, int64_t n, int64_t base, uint64_t *top, int64_t k,
                  int64_t *have);
} OrderKern;
extern const OrderKern mt_orderkern_base, mt_orderkern_avx2, mt_orderkern_avx512;
#endif
