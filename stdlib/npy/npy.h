/* npy.h: NumPy's .npy and .npz, without Lua.
 *
 * Invariant: a file is accepted only if its header is a dictionary literal of exactly descr,
 * fortran_order and shape, and the data fill the rest exactly.  Arrays of objects (pickles) and
 * records are refused, never interpreted. */
#ifndef NPY_H
#define NPY_H
#include "formats/fmt.h"

/* One array from bytes, added to l under the name given. */
bool npy_parse(fmt_list *l, const char *name, size_t name_len, const uint8_t *p, size_t n,
               sys_err *e);
bool npy_open(fmt_list *l, const char *path, sys_err *e);          /* one array, named "" */
bool npz_open(fmt_list *l, const char *path, sys_err *e);          /* names without ".npy" */
bool npz_parse(fmt_list *l, const uint8_t *p, size_t n, sys_err *e);
bool npy_save(const char *path, const fmt_tensor *t, sys_err *e);  /* as numpy.save writes it */
bool npz_save(const char *path, const fmt_list *l, sys_err *e);    /* stored, as numpy.savez */
#endif
