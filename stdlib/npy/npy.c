/* npy.c: the header, read and written, and the archives made of such files. */
#include "npy/npy.h"
#include "zip/zip.h"
#include <inttypes.h>
#include <string.h>

enum { MAX_HEADER = 1 << 20 };

typedef struct header {
  const uint8_t *start;
  const char *p, *end;
  sys_err *e;
  char descr[16];
  int64_t shape[FMT_MAX_DIMS];
  int ndim;
  bool fortran, seen[3];
} header;

static bool bad(header *h, const char *what) {
  return sys_fail(h->e, "npy: %s at byte %zu", what, (size_t)((const uint8_t *)h->p - h->start));
}

static void skip_space(header *h) {
  while (h->p < h->end && (*h->p == ' ' || *h->p == '\t' || *h->p == '\n' || *h->p == '\r')) h->p++;
}

static bool take(header *h, char c) {
  skip_space(h);
  if (h->p == h->end || *h->p != c) return false;
  h->p++;
  return true;
}

/* A quoted word without escapes. */
static bool quoted(header *h, char *buf, size_t size, const char *what) {
  char quote;
  size_t n = 0;
  skip_space(h);
  if (h->p == h->end || (*h->p != '\'' && *h->p != '"')) return bad(h, what);
  for (quote = *h->p++; h->p < h->end && *h->p != quote; h->p++) {
    if (n + 1 >= size || *h->p < 32 || *h->p == '\\') return bad(h, what);
    buf[n++] = *h->p;
  }
  if (h->p == h->end) return bad(h, what);
  h->p++;
  buf[n] = 0;
  return true;
}

static bool read_bool(header *h) {
  skip_space(h);
  size_t room = (size_t)(h->end - h->p);
  h->fortran = room >= 4 && !memcmp(h->p, "True", 4);
  if (!h->fortran && !(room >= 5 && !memcmp(h->p, "False", 5)))
    return bad(h, "expected True or False");
  h->p += h->fortran ? 4 : 5;
  return true;
}

static bool read_dim(header *h) {
  int64_t v = 0;
  const char *from = h->p;
  if (h->ndim == FMT_MAX_DIMS) return bad(h, "more than 64 dimensions");
  for (; h->p < h->end && *h->p >= '0' && *h->p <= '9'; h->p++)
    if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *h->p - '0', &v))
      return bad(h, "a dimension is too large");
  if (h->p == from) return bad(h, "expected a dimension");
  if (h->p < h->end && *h->p == 'L') h->p++;               /* Python 2's long */
  h->shape[h->ndim++] = v;
  return true;
}

static bool read_shape(header *h) {
  if (!take(h, '(')) return bad(h, "expected '('");
  while (!take(h, ')')) {
    if (!read_dim(h)) return false;
    if (take(h, ',')) continue;
    if (h->ndim == 1 || !take(h, ')')) return bad(h, "expected ',' or ')'");
    break;
  }
  return true;
}

static bool read_dict(header *h) {
  static const char *const keys[] = {"descr", "fortran_order", "shape"};
  char key[20];
  if (!take(h, '{')) return bad(h, "expected '{'");
  while (!take(h, '}')) {
    int k = 0;
    if (!quoted(h, key, sizeof key, "expected a key")) return false;
    while (k < 3 && strcmp(key, keys[k])) k++;
    if (k == 3 || h->seen[k]) return bad(h, k == 3 ? "unknown key" : "repeated key");
    h->seen[k] = true;
    if (!take(h, ':')) return bad(h, "expected ':'");
    skip_space(h);
    if (k == 0 && h->p < h->end && *h->p == '[') return bad(h, "record arrays are not read");
    if (!(k == 0   ? quoted(h, h->descr, sizeof h->descr, "expected a type")
          : k == 1 ? read_bool(h)
                   : read_shape(h)))
      return false;
    if (take(h, ',')) continue;
    if (!take(h, '}')) return bad(h, "expected ',' or '}'");
    break;
  }
  skip_space(h);
  if (h->p != h->end) return bad(h, "text after the dictionary");
  return (h->seen[0] && h->seen[1] && h->seen[2]) ||
         bad(h, "descr, fortran_order or shape is missing");
}

static bool read_descr(header *h, fmt_tensor *t) {
  const char *d = h->descr;
  char order = '=';
  if (strchr("<>=|", *d) && *d) order = *d++;
  if (*d == 'O') return bad(h, "an array of Python objects (pickle) is never read");
  if (!strcmp(d, "?")) d = "b1";
  for (t->dtype = 0; t->dtype < FMT_NTYPES; t->dtype++)
    if (fmt_types[t->dtype].np && !strcmp(fmt_types[t->dtype].np, d)) break;
  if (t->dtype == FMT_NTYPES) {
    char q[40];
    return sys_fail(h->e, "npy: no tensor type for descr '%s'",
                    sys_quote(q, sizeof q, h->descr, strlen(h->descr)));
  }
  t->swapped = order == '>' && fmt_types[t->dtype].bits > 8;
  return true;
}

/* Shape, and for Fortran's order the strides, into memory of the list. */
static bool set_shape(fmt_list *l, fmt_tensor *t, const header *h) {
  int64_t *shape = fmt_alloc(l, 2 * FMT_MAX_DIMS * sizeof *shape), step = 1;
  if (!shape) return sys_fail(h->e, "not enough memory");
  memcpy(shape, h->shape, (size_t)h->ndim * sizeof *shape);
  t->shape = shape;
  t->ndim = h->ndim;
  if (!fmt_nbytes(t->dtype, shape, h->ndim, &t->nbytes))
    return sys_fail(h->e, "npy: the shape is too large");
  if (!h->fortran || h->ndim < 2) return true;
  int64_t *strides = shape + FMT_MAX_DIMS;
  for (int i = 0; i < h->ndim; i++) {
    strides[i] = step;
    step *= shape[i] > 0 ? shape[i] : 1;
  }
  t->strides = strides;
  return true;
}

bool npy_parse(fmt_list *l, const char *name, size_t name_len, const uint8_t *p, size_t n,
               sys_err *e) {
  header h = {.start = p, .e = e};
  if (n < 10 || memcmp(p, "\x93NUMPY", 6)) return sys_fail(e, "npy: no magic bytes at byte 0");
  if (p[6] < 1 || p[6] > 3 || p[7])
    return sys_fail(e, "npy: version %d.%d is not known", p[6], p[7]);
  size_t skip = p[6] == 1 ? 10 : 12;
  if (n < skip) return sys_fail(e, "npy: the file ends at byte %zu, inside its header", n);
  uint64_t len = p[6] == 1 ? fmt_u16(p + 8) : fmt_u32(p + 8);
  if (len > MAX_HEADER) return sys_fail(e, "npy: a header of %" PRIu64 " bytes", len);
  if (len > n - skip) return sys_fail(e, "npy: the file ends at byte %zu, inside its header", n);
  h.p = (const char *)p + skip;
  h.end = h.p + len;
  if (!fmt_check_name(name, name_len, e)) return false;
  fmt_tensor *t = fmt_add(l, e);
  if (!t || !read_dict(&h) || !read_descr(&h, t) || !set_shape(l, t, &h)) return false;
  if (!(t->name = fmt_copy(l, name, name_len))) return sys_fail(e, "not enough memory");
  t->at = skip + len;
  t->data = p + t->at;
  uint64_t room = n - t->at;
  if (room < t->nbytes)
    return sys_fail(
        e, "npy: the data need %" PRIu64 " bytes from byte %" PRIu64 " on, the file has %" PRIu64,
        t->nbytes, t->at, room);
  return room == t->nbytes ||
         sys_fail(e, "npy: %" PRIu64 " bytes after the data at byte %" PRIu64, room - t->nbytes,
                  t->at + t->nbytes);
}

static bool finish(fmt_list *l, const char *path, bool ok, const sys_err *inner, sys_err *e) {
  char q[200];
  if (ok) return true;
  fmt_free(l);
  return sys_fail(e, "%s: %s", sys_quote(q, sizeof q, path, strlen(path)), inner->msg);
}

bool npy_open(fmt_list *l, const char *path, sys_err *e) {
  sys_err inner = {{0}, 0};
  *l = (fmt_list){0};
  if (!(l->map = sys_map_open(path, e))) return false;
  return finish(l, path, npy_parse(l, "", 0, l->map->data, l->map->size, &inner), &inner, e);
}

bool npz_parse(fmt_list *l, const uint8_t *p, size_t n, sys_err *e) {
  zip_file z;
  if (!zip_open(&z, p, n, e)) return false;
  bool ok = true;
  for (size_t i = 0; ok && i < z.n; i++) {
    const zip_member *m = &z.v[i];
    size_t len = m->name_len;
    if (len < 4 || memcmp(m->name + len - 4, ".npy", 4)) {
      char q[120];
      ok = sys_fail(e, "npz: member '%s' is no .npy file", sys_quote(q, sizeof q, m->name, len));
      continue;
    }
    const uint8_t *data = zip_read(&z, m, l, e);
    sys_err inner = {{0}, 0};
    char q[120];
    ok = data != NULL;
    if (ok && !npy_parse(l, m->name, len - 4, data, m->usize, &inner))
      ok = sys_fail(e, "npz: member '%s': %s", sys_quote(q, sizeof q, m->name, len), inner.msg);
    else if (ok) l->v[l->n - 1].at += m->deflated ? 0 : m->at;
  }
  ok = ok && fmt_check_unique(l, e);
  zip_close(&z);
  return ok;
}

bool npz_open(fmt_list *l, const char *path, sys_err *e) {
  sys_err inner = {{0}, 0};
  *l = (fmt_list){0};
  if (!(l->map = sys_map_open(path, e))) return false;
  return finish(l, path, npz_parse(l, l->map->data, l->map->size, &inner), &inner, e);
}
