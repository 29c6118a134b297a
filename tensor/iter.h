/* iter.h: the one place that walks strides.  An Iter broadcasts its operands, orders and merges
 * their dimensions, casts where a loop wants another dtype, splits work over threads, and calls a
 * loop over n elements of one dimension.
 *
 * Invariant: a Loop sees p[i] (outputs first) advancing by s[i] bytes, every operand in the dtype
 * the loop was made for, and never walks outside what the tensors cover. */
#ifndef MT_ITER_H
#define MT_ITER_H
#include "moth.h"

enum { MT_MAXOPS = 8 };
typedef void (*Loop)(char **p, const int64_t *s, int64_t n, const void *par);
typedef struct Iter {
  int nop, nout, ndim;
  int64_t numel;
  uint8_t dt[MT_MAXOPS], ct[MT_MAXOPS];    /* dtype in memory, dtype the loop works on */
  bool cast, meta;
  Tensor *t[MT_MAXOPS];
  char *data[MT_MAXOPS];
  int64_t size[MT_MAXDIM];
  int64_t stride[MT_MAXOPS][MT_MAXDIM];
} Iter;

/* t: outputs then inputs; a NULL output is allocated with dtype ct[i] and the inputs' memory order.
 */
bool mt_iter_init(Ctx *c, Iter *it, int nout, int nop, Tensor **t, const DType *ct);
bool mt_iter_run(Ctx *c, Iter *it, Loop loop, const void *par);
void mt_iter_run_serial(Iter *it, Loop loop, const void *par); /* one thread, in order of memory */

/* The running op's `out` if it fits this shape and may be written while in[] are read; else NULL.
 */
Tensor *mt_take_out(Ctx *c, int ndim, const int64_t *size, Tensor **in, int nin);

/* ---- pointwise kernels ---- */
typedef enum {
  MT_P_SAME,
  MT_P_FLOAT,
  MT_P_BOOL,
  MT_P_ABS,
  MT_P_ARITH,
  MT_P_COMPARE,
  MT_P_LOGICAL
} Promo;
typedef union KArg { int64_t i; double d; } KArg;
typedef struct KPar {
  KArg re[4], im[4];
} KPar; /* scalars in the compute kind */
Tensor *mt_unary(Ctx *c, int k, Promo p, Tensor *x, const Scalar *s, int ns);
Tensor *mt_binary(Ctx *c, int k, Promo p, Tensor *x, Tensor *y, const Scalar *s, int ns);
Tensor *mt_ternary(Ctx *c, int k, Promo p, Tensor *x, Tensor *y, Tensor *z, const Scalar *s,
                   int ns);
/* The loop of kernel k for compute dtype *d, which is widened when only a wider one exists; NULL
 * when unsupported. */
Loop mt_unary_loop(int k, DType *d);
Loop mt_binary_loop(int k, DType *d);
Loop mt_ternary_loop(int k, DType *d);
void mt_kpar(KPar *k, const Scalar *s, int ns, DType d);
Loop mt_cast_loop(DType to, DType from);
Loop mt_where_loop(DType d);               /* out <- bool condition, a, b; of dtype d */
DType mt_default_float(Ctx *c, DType d);   /* integers become the default dtype */
void mt_kernels_select(void);
const char *mt_type_word(DType d);         /* "Long", as PyTorch's messages name it */
#endif
