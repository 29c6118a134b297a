/* gguf.h: GGUF files (versions 2 and 3), without Lua.
 *
 * Invariants.  Every count is checked against the bytes that are left before anything is allocated;
 * the alignment is a power of two of at most 64 KiB; each tensor begins exactly where the one
 * before it (padded) ended, as the reference requires; keys and names are unique.  A value's
 * pointer leads into the file and has been walked, so it can be read without checks. */
#ifndef GGUF_H
#define GGUF_H
#include "formats/fmt.h"

enum {
  GG_U8,
  GG_I8,
  GG_U16,
  GG_I16,
  GG_U32,
  GG_I32,
  GG_F32,
  GG_BOOL,
  GG_STR,
  GG_ARR,
  GG_U64,
  GG_I64,
  GG_F64
};

typedef struct gg_pair {
  const char *key;
  size_t key_len;
  uint32_t type;                 /* GG_ARR: of elem */
  uint32_t elem;
  uint64_t count;                /* elements of an array */
  const uint8_t *value; /* of GG_STR: its 8 bytes of length; of GG_ARR: the first element */
} gg_pair;

typedef struct gg_file {
  fmt_list
      list; /* quant >= 0: dtype is float32 and data are blocks, to be given to gg_dequantize */
  gg_pair *kv;
  size_t nkv;
  uint32_t version;
} gg_file;

bool gg_open(gg_file *f, const char *path, sys_err *e);
bool gg_parse(gg_file *f, const uint8_t *p, size_t n, sys_err *e);
void gg_free(gg_file *f);
const char *gg_type_name(int quant);
/* n elements (a multiple of the block) of a quantised type as floats. */
void gg_dequantize(int quant, float *dst, const uint8_t *src, uint64_t n);
#endif
