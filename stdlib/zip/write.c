/* write.c: archives of stored members.  Sizes of 4 GB and more go into zip64 fields, which appear
 * only when needed. */
#include "zip/zip.h"
#include <string.h>

bool zip_begin(zip_writer *w, const char *path, sys_err *e) {
  *w = (zip_writer){0};
  return sys_save_begin(&w->save, path, e);
}

static zip_entry *new_entry(zip_writer *w, const char *name, sys_err *e) {
  if (w->n == w->cap) {
    size_t cap = w->cap ? 2 * w->cap : 32;
    zip_entry *v = mt_realloc(w->v, cap * sizeof *v);
    if (!v) return sys_fail(e, "not enough memory"), NULL;
    w->v = v, w->cap = cap;
  }
  size_t n = strlen(name);
  char *copy = mt_malloc(n + 1);
  if (!copy) return sys_fail(e, "not enough memory"), NULL;
  memcpy(copy, name, n + 1);
  zip_entry *m = &w->v[w->n++];
  *m = (zip_entry){.name = copy};
  return m;
}

/* The fields that local header and central record share, from "version needed" to "extra length";
 * 26 bytes. */
static void put_common(uint8_t *p, const zip_entry *m, bool big, unsigned extra) {
  fmt_put(p, big ? 45 : 20, 2);
  fmt_put(p + 2, 0x800, 2);                               /* names are UTF-8 */
  fmt_put(p + 4, 0, 2);                                   /* stored */
  fmt_put(p + 6, 0, 2); /* 00:00:00 on 1980-01-01: equal tensors give equal files */
  fmt_put(p + 8, 0x21, 2);
  fmt_put(p + 10, m->crc, 4);
  fmt_put(p + 14, big ? 0xFFFFFFFF : m->size, 4);
  fmt_put(p + 18, big ? 0xFFFFFFFF : m->size, 4);
  fmt_put(p + 22, strlen(m->name), 2);
  fmt_put(p + 24, extra, 2);
}

bool zip_add(zip_writer *w, const char *name, const zip_piece *pieces, int npieces, unsigned align,
             sys_err *e) {
  uint8_t h[30], x[20];
  if (e->msg[0] || strlen(name) > 65535) return sys_fail(e, "zip: a member's name is too long");
  zip_entry *m = new_entry(w, name, e);
  if (!m) return false;
  for (int i = 0; i < npieces; i++) {
    for (uint64_t at = 0; at < pieces[i].n; at += 1 << 24) {
      uint64_t left = pieces[i].n - at;
      m->crc = sys_crc32(m->crc, (const char *)pieces[i].p + at, left < 1 << 24 ? left : 1 << 24);
      if (mt_interrupted) return sys_fail(e, "interrupted");
    }
    m->size += pieces[i].n;
  }
  m->head = w->save.at;
  bool big = m->size >= 0xFFFFFFFF;
  uint64_t before = m->head + 30 + strlen(name) + (big ? 20 : 0);
  unsigned pad = align > 1 ? (unsigned)(-(before + 4) & (align - 1)) + 4 : 0;
  fmt_put(h, 0x04034b50, 4);
  put_common(h + 4, m, big, (big ? 20 : 0) + pad);
  sys_save_write(&w->save, h, 30, e);
  sys_save_write(&w->save, name, strlen(name), e);
  fmt_put(x, 1, 2), fmt_put(x + 2, 16, 2), fmt_put(x + 4, m->size, 8), fmt_put(x + 12, m->size, 8);
  if (big) sys_save_write(&w->save, x, 20, e);
  if (pad) { /* an extra field 'FB' of padding, PyTorch's way */
    x[0] = 'F', x[1] = 'B';
    fmt_put(x + 2, pad - 4, 2);
    sys_save_write(&w->save, x, 4, e);
    sys_save_pad(&w->save, pad - 4, 'Z', e);
  }
  for (int i = 0; i < npieces; i++) sys_save_write(&w->save, pieces[i].p, pieces[i].n, e);
  return !e->msg[0];
}

static void put_record(zip_writer *w, const zip_entry *m, sys_err *e) {
  uint8_t c[46] = {0}, x[28];
  bool big = m->size >= 0xFFFFFFFF, far = m->head >= 0xFFFFFFFF;
  unsigned nx = big || far ? 4 + (big ? 16 : 0) + (far ? 8 : 0) : 0;
  fmt_put(c, 0x02014b50, 4);
  fmt_put(c + 4, 45, 2);
  put_common(c + 6, m, big || far, nx);
  if (!big) fmt_put(c + 20, m->size, 4), fmt_put(c + 24, m->size, 4);
  fmt_put(c + 42, far ? 0xFFFFFFFF : m->head, 4);
  sys_save_write(&w->save, c, 46, e);
  sys_save_write(&w->save, m->name, strlen(m->name), e);
  fmt_put(x, 1, 2), fmt_put(x + 2, nx - 4, 2);
  if (big) fmt_put(x + 4, m->size, 8), fmt_put(x + 12, m->size, 8);
  if (far) fmt_put(x + (big ? 20 : 4), m->head, 8);
  if (nx) sys_save_write(&w->save, x, nx, e);
}

static void put_end(zip_writer *w, uint64_t at, sys_err *e) {
  uint8_t r[76] = {0}, q[22] = {0};
  uint64_t end = w->save.at, size = end - at;
  if (w->n >= 0xFFFF || end >= 0xFFFFFFFF) {
    fmt_put(r, 0x06064b50, 4), fmt_put(r + 4, 44, 8), fmt_put(r + 12, 45, 2),
        fmt_put(r + 14, 45, 2);
    fmt_put(r + 24, w->n, 8), fmt_put(r + 32, w->n, 8), fmt_put(r + 40, size, 8),
        fmt_put(r + 48, at, 8);
    fmt_put(r + 56, 0x07064b50, 4), fmt_put(r + 64, end, 8), fmt_put(r + 72, 1, 4);
    sys_save_write(&w->save, r, 76, e);
  }
  fmt_put(q, 0x06054b50, 4);
  fmt_put(q + 8, w->n < 0xFFFF ? w->n : 0xFFFF, 2),
      fmt_put(q + 10, w->n < 0xFFFF ? w->n : 0xFFFF, 2);
  fmt_put(q + 12, size < 0xFFFFFFFF ? size : 0xFFFFFFFF, 4),
      fmt_put(q + 16, at < 0xFFFFFFFF ? at : 0xFFFFFFFF, 4);
  sys_save_write(&w->save, q, 22, e);
}

bool zip_commit(zip_writer *w, sys_err *e) {
  uint64_t at = w->save.at;
  for (size_t i = 0; i < w->n && !e->msg[0]; i++) put_record(w, &w->v[i], e);
  if (!e->msg[0]) put_end(w, at, e);
  bool ok = sys_save_commit(&w->save, e);
  zip_abort(w);
  return ok;
}

void zip_abort(zip_writer *w) {
  for (size_t i = 0; i < w->n; i++) mt_free(w->v[i].name);
  mt_free(w->v);
  sys_save_abort(&w->save);
  *w = (zip_writer){.save.fd = -1};
}
