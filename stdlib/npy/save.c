/* save.c: .npy and .npz as NumPy writes them, byte for byte in the headers. */
#include "npy/npy.h"
#include "zip/zip.h"
#include <inttypes.h>
#include <string.h>

enum { HEADER_ROOM = 2048 };       /* 64 dims of at most 19 digits */

/* The whole header, as NumPy pads it: space for the first dimension to grow to 21 digits, then to a
 * multiple of 64. */
static size_t build_header(char *buf, const fmt_tensor *t) {
  const fmt_type *ty = &fmt_types[t->dtype];
  int n = 10, digits = 0;
  n += snprintf(buf + n, HEADER_ROOM - n, "{'descr': '%c%s', 'fortran_order': False, 'shape': (",
                ty->bits > 8 ? '<' : '|', ty->np);
  for (int i = 0; i < t->ndim; i++) {
    int k = snprintf(buf + n, (size_t)(HEADER_ROOM - n), "%" PRId64, t->shape[i]);
    if (i == 0) digits = k;
    n += k;
    n += snprintf(buf + n, (size_t)(HEADER_ROOM - n), "%s",
                  i + 1 < t->ndim ? ", "
                  : t->ndim == 1  ? ","
                                  : "");
  }
  n += snprintf(buf + n, (size_t)(HEADER_ROOM - n), "), }");
  for (int i = digits; t->ndim && i < 21; i++) buf[n++] = ' ';
  do buf[n++] = ' '; while (n % 64);
  buf[n - 1] = '\n';
  memcpy(buf, "\x93NUMPY\1", 8);
  fmt_put((uint8_t *)buf + 8, (uint64_t)n - 10, 2);
  return (size_t)n;
}

static bool check(const fmt_tensor *t, sys_err *e) {
  uint64_t nbytes;
  if (!fmt_types[t->dtype].np)
    return sys_fail(e, "npy has no %s (save as .safetensors, or convert to float32)",
                    fmt_types[t->dtype].name);
  return (!t->strides && t->ndim <= FMT_MAX_DIMS &&
          fmt_nbytes(t->dtype, t->shape, t->ndim, &nbytes) && nbytes == t->nbytes) ||
         sys_fail(e, "npy: the tensor is not contiguous");
}

bool npy_save(const char *path, const fmt_tensor *t, sys_err *e) {
  char buf[HEADER_ROOM + 128];
  sys_save s;
  if (!check(t, e) || !sys_save_begin(&s, path, e)) return false;
  sys_save_write(&s, buf, build_header(buf, t), e);
  sys_save_write(&s, t->data, t->nbytes, e);
  return sys_save_commit(&s, e);
}

bool npz_save(const char *path, const fmt_list *l, sys_err *e) {
  char buf[HEADER_ROOM + 128], name[65536];
  zip_writer w;
  for (size_t i = 0; i < l->n; i++)
    if (!fmt_check_name(l->v[i].name, strlen(l->v[i].name), e) || !check(&l->v[i], e)) return false;
  if (!fmt_check_unique(l, e) || !zip_begin(&w, path, e)) return false;
  for (size_t i = 0; i < l->n && !e->msg[0]; i++) {
    const fmt_tensor *t = &l->v[i];
    zip_piece pieces[2] = {{buf, build_header(buf, t)}, {t->data, t->nbytes}};
    if (snprintf(name, sizeof name, "%s.npy", t->name) >= (int)sizeof name)
      sys_fail(e, "npz: a name is too long");
    else zip_add(&w, name, pieces, 2, 64, e);
  }
  return zip_commit(&w, e);
}
