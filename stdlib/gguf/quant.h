/* quant.h: the table of ggml's tensor types. */
#ifndef GGUF_QUANT_H
#define GGUF_QUANT_H
#include "formats/fmt.h"

typedef void (*gg_unpack)(float *y, const uint8_t *block);
typedef struct gg_type {
  const char *name;              /* NULL: not a type */
  int dtype;                     /* of a plain type; -1: quantised */
  int block, bytes;              /* elements and bytes of a block */
  gg_unpack unpack;              /* NULL for a quantised type: known, but not read */
} gg_type;
enum { GG_NTYPES = 40 };
extern const gg_type gg_types[GG_NTYPES];
#endif
