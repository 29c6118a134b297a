/* print.h: a tensor as text, character for character what PyTorch prints.
 *
 * Invariants.  The printer reads a strided view through a neutral description and never allocates
 * tensors; the text is one mt_malloc block that the caller frees.  NULL means that memory ran out
 * or that Ctrl-C came (mt_interrupted). */
#ifndef MT_PRINT_H
#define MT_PRINT_H
#include "moth.h"

typedef struct {
  int precision;                             /* digits after the point, 0..MT_PRINT_MAXPREC */
  int sci_mode;                              /* 1 always, 0 never, -1 as the values ask for */
  int64_t threshold; /* more elements than this are summarised; INT64_MAX: never */
  int64_t edgeitems, linewidth;
} PrintOpts;
#define MT_PRINT_MAXPREC 500

typedef struct {
  const void *data; /* the element at index 0, 0, ...; not read for meta tensors */
  DType dtype, default_dtype;
  int ndim;
  const int64_t *size, *stride;              /* strides in elements */
  bool conj, neg;                            /* lazily conjugated or negated data */
  bool meta, requires_grad;
  const char *grad_fn;                       /* name of the node, or NULL */
} PrintSpec;

extern PrintOpts mt_print_opts;              /* what torch.set_printoptions set */
bool mt_print_profile(PrintOpts *o,
                      const char *name); /* default, short, full; false: no such profile */
char *mt_tensor_format(const PrintSpec *s, const PrintOpts *o);
#endif
