/* expr_rt.h: the few plain functions that compiled expressions use beside the ops. */
#ifndef MT_EXPR_RT_H
#define MT_EXPR_RT_H
#include "moth.h"
#include <math.h>
#include <string.h>

static inline int64_t mt_numel_of(const Tensor *t) { return t ? t->numel : 0; }
static inline int64_t mt_len_of(IntList l) { return l.n; }
static inline int64_t mt_ndim_of(const Tensor *t) { return t ? t->ndim : 0; }
static inline int mt_dtype_of(const Tensor *t) { return t ? t->dtype : MT_float32; }
static inline bool mt_t_is_complex(const Tensor *t) { return t && mt_is_complex(t->dtype); }
static inline bool mt_streq(const char *a, const char *b) { return a && b && !strcmp(a, b); }
static inline int64_t mt_size_at(Ctx *c, const Tensor *t, int64_t d) {
  int k = t ? mt_dim(c, d, t->ndim) : -1;
  return k < 0 ? 0 : t->ndim ? t->size[k] : 1;
}
static inline Scalar mt_sconj(Scalar a) { a.im = -a.im; return a; }
Scalar mt_sneg(Scalar a);
Scalar mt_sop(Scalar a, char op, Scalar b);
#endif
