/* pickle.h: PyTorch's checkpoints (.pt, .pth, .bin; zip and the older stream), without Lua and
 * without Python.
 *
 * Invariants.  A pickle here is data: its opcodes build the values below and nothing else.  A
 * global is one of a fixed list (containers, dtypes, storages, the functions that rebuild tensors),
 * an application of any other name is an error that names it and its byte.  Stack, memo and values
 * are bounded by the pickle's length.  Every tensor has been checked against its storage, and every
 * storage against the bytes that hold it. */
#ifndef PICKLE_H
#define PICKLE_H
#include "formats/fmt.h"

enum {
  PK_NONE,
  PK_BOOL,
  PK_INT,
  PK_FLOAT,
  PK_STR,
  PK_BYTES,
  PK_BIG,
  PK_TUPLE,
  PK_LIST,
  PK_SET,
  PK_DICT,
  PK_SIZE,   /* children; a dict's are key, value, key, value */
  PK_TENSOR, /* i: index into the list of tensors */
  PK_DTYPE,  /* i: FMT_... */
  PK_DEVICE, /* its name, as a string */
  PK_GLOBAL,
  PK_STORAGE /* only inside the reader */
};

typedef struct pk_value {
  uint8_t type;
  uint32_t n, cap;               /* bytes of s, or children */
  union { int64_t i; double f; const char *s; uint32_t *kids; } u;
} pk_value;

typedef struct pk_file {
  fmt_list list;                 /* the tensors, named by their order ("0", "1", ...) */
  pk_value *v;
  size_t n, cap;
  uint32_t root;
} pk_file;

bool pk_open(pk_file *f, const char *path, sys_err *e);
bool pk_parse(pk_file *f, const uint8_t *p, size_t n, sys_err *e);
void pk_free(pk_file *f);

/* ---- writing: a pickle is emitted value by value, tensors by reference; pk_save puts it and the
 * storages in a zip ---- */
typedef struct pk_storage { const void *data; uint64_t nbytes; int dtype; } pk_storage;
typedef struct pk_writer {
  uint8_t *p;
  size_t n, cap;
  bool failed;                   /* out of memory */
} pk_writer;
void pk_put_none(pk_writer *w);
void pk_put_bool(pk_writer *w, bool b);
void pk_put_int(pk_writer *w, int64_t i);
void pk_put_float(pk_writer *w, double d);
void pk_put_str(pk_writer *w, const char *s, size_t n);
void pk_put_dtype(pk_writer *w, int dtype);
void pk_begin_list(pk_writer *w);                  /* then the values */
void pk_end_list(pk_writer *w);
void pk_begin_dict(pk_writer *w,
                   bool ordered); /* then keys and values in turn; ordered: an OrderedDict */
void pk_end_dict(pk_writer *w);
/* A view of storage number `storage` (of `numel` elements): offset and strides in elements. */
void pk_put_tensor(pk_writer *w, const fmt_tensor *t, int64_t storage, uint64_t numel,
                   uint64_t offset, bool parameter);
bool pk_save(const char *path, pk_writer *w, const pk_storage *storages, size_t n, sys_err *e);
void pk_writer_free(pk_writer *w);
#endif
