/* fmt.h: what every tensor file format shares: element types, and the list of tensors that a reader
 * gives or a writer takes.
 *
 * Invariants.  A reader's entries have been checked: the element count does not overflow, strides
 * keep every element inside [data, data + nbytes), and the bytes lie inside the mapping or a buffer
 * that the list owns.  Names are valid UTF-8, free of zero bytes, and unique.  Nothing a file
 * declares is allocated before it is known to fit what the file holds. */
#ifndef FMT_H
#define FMT_H
#include "sys/sys.h"

/* id, Moth's name, bits, safetensors' code, numpy's kind and size, the class of PyTorch's storage.
 * The order is the one safetensors sorts by when it writes. */
#define FMT_TYPES(X) \
  X(BOOL, "bool", 8, "BOOL", "b1", "BoolStorage") \
  X(F4, "float4", 4, "F4", NULL, NULL) \
  X(F6A, "float6_e2m3", 6, "F6_E2M3", NULL, NULL) \
  X(F6B, "float6_e3m2", 6, "F6_E3M2", NULL, NULL) \
  X(U8, "uint8", 8, "U8", "u1", "ByteStorage") \
  X(I8, "int8", 8, "I8", "i1", "CharStorage") \
  X(F8A, "float8_e5m2", 8, "F8_E5M2", NULL, NULL) \
  X(F8B, "float8_e4m3fn", 8, "F8_E4M3", NULL, NULL) \
  X(F8C, "float8_e8m0fnu", 8, "F8_E8M0", NULL, NULL) \
  X(F8D, "float8_e4m3fnuz", 8, "F8_E4M3FNUZ", NULL, NULL) \
  X(F8E, "float8_e5m2fnuz", 8, "F8_E5M2FNUZ", NULL, NULL) \
  X(I16, "int16", 16, "I16", "i2", "ShortStorage") \
  X(U16, "uint16", 16, "U16", "u2", NULL) \
  X(F16, "float16", 16, "F16", "f2", "HalfStorage") \
  X(BF16, "bfloat16", 16, "BF16", NULL, "BFloat16Storage") \
  X(I32, "int32", 32, "I32", "i4", "IntStorage") \
  X(U32, "uint32", 32, "U32", "u4", NULL) \
  X(C32, "complex32", 32, NULL, NULL, "ComplexHalfStorage") \
  X(F32, "float32", 32, "F32", "f4", "FloatStorage") \
  X(C64, "complex64", 64, "C64", "c8", "ComplexFloatStorage") \
  X(F64, "float64", 64, "F64", "f8", "DoubleStorage") \
  X(I64, "int64", 64, "I64", "i8", "LongStorage") \
  X(U64, "uint64", 64, "U64", "u8", NULL) \
  X(C128, "complex128", 128, NULL, "c16", "ComplexDoubleStorage")

#define FMT_ENUM(id, name, bits, st, np, pt) FMT_##id,
enum { FMT_TYPES(FMT_ENUM) FMT_NTYPES };
typedef struct fmt_type { const char *name; int bits; const char *st, *np, *pt; } fmt_type;
extern const fmt_type fmt_types[FMT_NTYPES];
int fmt_type_named(const char *name);            /* Moth's name; -1: none */

enum { FMT_MAX_DIMS = 64, FMT_MAX_TENSORS = 1000000 };
#define FMT_MAX_BYTES ((uint64_t)1 << 47)

typedef struct fmt_tensor {
  const char *name;
  int dtype;                     /* FMT_... */
  int ndim;
  const int64_t *shape;
  const int64_t *strides;        /* in elements; NULL: contiguous */
  const uint8_t *data;           /* of the first element; NULL in a list that only describes */
  uint64_t nbytes;               /* all that the strides reach (contiguous: shape times size) */
  uint64_t at;                   /* where the data lie in the file (readers) */
  int64_t storage;               /* entries with the same number >= 0 share one storage ... */
  const uint8_t *storage_data;   /* ... which lies here */
  uint64_t storage_bytes;
  int quant;                     /* GGUF's type when quantised, else -1; data are its blocks */
  bool swapped;                  /* big-endian elements */
  bool requires_grad, conj,
      neg; /* PyTorch's flags: the value is the conjugate, the negative, of what is stored */
} fmt_tensor;

typedef struct fmt_pair { const char *key, *value; } fmt_pair;
struct fmt_chunk;
typedef struct fmt_list {
  fmt_tensor *v;
  size_t n, cap;
  fmt_pair *meta;
  size_t nmeta, cap_meta;
  sys_map *map;                  /* held; may be NULL */
  struct fmt_chunk *chunks;      /* what names and shapes lie in; freed with the list */
} fmt_list;

void *fmt_alloc(fmt_list *l,
                size_t n); /* aligned to 64; lives as long as the list; NULL: no memory */
char *fmt_copy(fmt_list *l, const char *s, size_t n);         /* with a zero byte after it */
fmt_tensor *fmt_add(fmt_list *l, sys_err *e);                 /* zeroed, quant = storage = -1 */
bool fmt_add_meta(fmt_list *l, const char *key, size_t nk, const char *value, size_t nv,
                  sys_err *e);
void fmt_free(fmt_list *l);
/* Names: valid UTF-8 without zero bytes?  Unique? */
bool fmt_check_name(const char *s, size_t n, sys_err *e);
bool fmt_check_unique(const fmt_list *l, sys_err *e);
/* Product of the dims and bytes for that many elements; false on a negative dim, an overflow, or
 * more than 2^47 bytes. */
bool fmt_numel(const int64_t *shape, int ndim, int64_t *numel);
bool fmt_nbytes(int dtype, const int64_t *shape, int ndim, uint64_t *nbytes);
/* Bytes that elements at these strides (>= 0) reach past the first one's start; 0 when there is no
 * element. */
bool fmt_extent(int dtype, const int64_t *shape, const int64_t *strides, int ndim,
                uint64_t *nbytes);

static inline uint16_t fmt_u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static inline uint32_t fmt_u32(const uint8_t *p) {
  return fmt_u16(p) | (uint32_t)fmt_u16(p + 2) << 16;
}
static inline uint64_t fmt_u64(const uint8_t *p) {
  return fmt_u32(p) | (uint64_t)fmt_u32(p + 4) << 32;
}
void fmt_put(uint8_t *p, uint64_t v, int bytes);              /* little-endian */
/* dst gets n elements of the type with their bytes in the other order (of a complex number: per
 * part). */
void fmt_swap(int dtype, uint8_t *dst, const uint8_t *src, uint64_t n);
#endif
