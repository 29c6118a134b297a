/* safetensors.h: reading and writing .safetensors, without Lua.
 *
 * Invariant: a file is accepted only if its header starts with '{', is at most 100 MB of strict
 * JSON of the one known form, names every tensor once, and the tensors' byte ranges fill the rest
 * of the file exactly: no overlap, no hole, no tail. */
#ifndef SAFETENSORS_H
#define SAFETENSORS_H
#include "formats/fmt.h"

/* Fills l (in the order of the data) from a file that is mapped and then held by l, or from bytes
 * of the caller's. */
bool st_open(fmt_list *l, const char *path, sys_err *e);
bool st_parse(fmt_list *l, const uint8_t *p, size_t n, sys_err *e);
/* Writes atomically, byte for byte as the reference package does: sorted by type, then name; header
 * padded to 8. */
bool st_save(const char *path, const fmt_list *l, sys_err *e);
#endif
