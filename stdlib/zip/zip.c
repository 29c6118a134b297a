/* zip.c: the reader of the archive's directory. */
#include "zip/zip.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { CENTRAL = 46, LOCAL = 30, EOCD = 22, EOCD64 = 56, LOCATOR64 = 20 };
#define SIG_CENTRAL 0x02014b50u
#define SIG_LOCAL 0x04034b50u
#define SIG_EOCD 0x06054b50u
#define SIG_EOCD64 0x06064b50u
#define SIG_LOCATOR64 0x07064b50u

bool zip_is(const uint8_t *p, size_t n) {
  return n >= 4 && (fmt_u32(p) == SIG_LOCAL || fmt_u32(p) == SIG_EOCD);
}

typedef struct directory { uint64_t at, size, n; } directory;

/* The end record is the last thing in the file but for a comment that runs exactly to its end. */
static bool find_end(const uint8_t *p, size_t n, size_t *at) {
  size_t lowest = n > EOCD + 65535 ? n - EOCD - 65535 : 0;
  if (n < EOCD) return false;
  for (size_t i = n - EOCD;; i--) {
    if (fmt_u32(p + i) == SIG_EOCD && fmt_u16(p + i + 20) == n - i - EOCD) return *at = i, true;
    if (i == lowest) return false;
  }
}

static bool find_directory(const uint8_t *p, size_t n, directory *d, sys_err *e) {
  size_t end, limit;
  if (!find_end(p, n, &end))
    return sys_fail(e, "zip: no end of a central directory in %zu bytes (is the file cut off?)", n);
  const uint8_t *r = p + end;
  if (fmt_u16(r + 4) || fmt_u16(r + 6) || fmt_u16(r + 8) != fmt_u16(r + 10))
    return sys_fail(e, "zip: archives of several disks are not read");
  d->n = fmt_u16(r + 10), d->size = fmt_u32(r + 12), d->at = fmt_u32(r + 16);
  limit = end;
  bool wants64 = d->n == 0xFFFF || d->size == 0xFFFFFFFF || d->at == 0xFFFFFFFF;
  if (end >= LOCATOR64 && fmt_u32(r - LOCATOR64) == SIG_LOCATOR64) {
    uint64_t at = fmt_u64(r - LOCATOR64 + 8);
    if (end < LOCATOR64 + EOCD64 || at > end - LOCATOR64 - EOCD64 || fmt_u32(p + at) != SIG_EOCD64)
      return sys_fail(e, "zip: the zip64 end record is missing at byte %" PRIu64, at);
    const uint8_t *q = p + at;
    directory big = {.n = fmt_u64(q + 32), .size = fmt_u64(q + 40), .at = fmt_u64(q + 48)};
    /* Two end records that disagree are two archives in one file: readers would differ in what they
     * see. */
    if ((d->n != 0xFFFF && d->n != big.n) || (d->size != 0xFFFFFFFF && d->size != big.size) ||
        (d->at != 0xFFFFFFFF && d->at != big.at))
      return sys_fail(e, "zip: the two end records differ at byte %zu", end);
    *d = big;
    limit = at;
  } else if (wants64) {
    return sys_fail(e, "zip: no zip64 end record before byte %zu", end);
  }
  if (d->at > limit || d->size != limit - d->at)
    return sys_fail(e, "zip: the central directory does not lie before its end record at byte %zu",
                    limit);
  return true;
}

/* Takes the 64-bit values that stand in for 0xFFFFFFFF, in their fixed order, from the extra field.
 */
static bool read_zip64(const uint8_t *x, size_t n, uint64_t *usize, uint64_t *csize,
                       uint64_t *head) {
  uint64_t *want[3] = {usize, csize, head};
  bool missing = false;
  for (int k = 0; k < 3; k++) missing |= want[k] && *want[k] == 0xFFFFFFFF;
  while (missing && n >= 4) {
    size_t len = fmt_u16(x + 2);
    if (len > n - 4) return false;
    if (fmt_u16(x) == 1) {
      const uint8_t *q = x + 4, *end = q + len;
      for (int k = 0; k < 3; k++) {
        if (!want[k] || *want[k] != 0xFFFFFFFF) continue;
        if (end - q < 8) return false;
        *want[k] = fmt_u64(q);
        q += 8;
      }
      return true;
    }
    x += 4 + len;
    n -= 4 + len;
  }
  return !missing;
}

static bool bad(const zip_member *m, uint64_t at, const char *what, sys_err *e) {
  char q[120];
  return sys_fail(e, "zip: member '%s': %s at byte %" PRIu64,
                  sys_quote(q, sizeof q, m->name, m->name_len), what, at);
}

/* The local header must say the same as the central record; sizes and CRC may be zero there when
 * they follow the data. */
static bool check_local(const zip_file *z, zip_member *m, unsigned flags, uint64_t limit,
                        sys_err *e) {
  if (m->head > limit || limit - m->head < LOCAL || fmt_u32(z->p + m->head) != SIG_LOCAL)
    return bad(m, m->head, "no local header", e);
  const uint8_t *h = z->p + m->head;
  size_t nn = fmt_u16(h + 26), nx = fmt_u16(h + 28);
  if (nn + nx > limit - m->head - LOCAL) return bad(m, m->head, "the local header is cut off", e);
  if (nn != m->name_len || memcmp(h + LOCAL, m->name, nn))
    return bad(m, m->head + LOCAL, "another name in the local header", e);
  if (fmt_u16(h + 6) != flags) return bad(m, m->head + 6, "other flags in the local header", e);
  if (fmt_u16(h + 8) != (m->deflated ? 8 : 0))
    return bad(m, m->head + 8, "another method in the local header", e);
  uint64_t usize = fmt_u32(h + 22), csize = fmt_u32(h + 18);
  if (!read_zip64(h + LOCAL + nn, nx, &usize, &csize, NULL) && !(flags & 8))
    return bad(m, m->head, "no 64-bit sizes in the local header", e);
  bool later = (flags & 8) && (usize == 0 || usize == 0xFFFFFFFF) && !fmt_u32(h + 14);
  if (!later && (usize != m->usize || csize != m->csize || fmt_u32(h + 14) != m->crc))
    return bad(m, m->head + 14, "other sizes or CRC in the local header", e);
  m->at = m->head + LOCAL + nn + nx;
  if (m->csize > limit - m->at) return bad(m, m->at, "the data do not fit in the file", e);
  return true;
}

static bool read_record(zip_file *z, zip_member *m, const uint8_t **pp, const uint8_t *end,
                        uint64_t limit, sys_err *e) {
  const uint8_t *c = *pp;
  uint64_t at = (uint64_t)(c - z->p);
  if (end - c < CENTRAL || fmt_u32(c) != SIG_CENTRAL)
    return sys_fail(e, "zip: no central record at byte %" PRIu64, at);
  size_t nn = fmt_u16(c + 28), nx = fmt_u16(c + 30), nc = fmt_u16(c + 32);
  if ((size_t)(end - c - CENTRAL) < nn + nx + nc)
    return sys_fail(e, "zip: central record cut off at byte %" PRIu64, at);
  unsigned flags = fmt_u16(c + 8), method = fmt_u16(c + 10);
  *m = (zip_member){.name = (const char *)c + CENTRAL,
                    .name_len = nn,
                    .crc = fmt_u32(c + 16),
                    .csize = fmt_u32(c + 20),
                    .usize = fmt_u32(c + 24),
                    .head = fmt_u32(c + 42),
                    .deflated = method == 8};
  *pp = c + CENTRAL + nn + nx + nc;
  if (!nn || memchr(m->name, 0, nn))
    return sys_fail(e, "zip: invalid name at byte %" PRIu64, at + CENTRAL);
  if (!read_zip64(c + CENTRAL + nn, nx, &m->usize, &m->csize, &m->head))
    return bad(m, at, "no 64-bit sizes", e);
  if (flags & 0x2041) return bad(m, at + 8, "encrypted", e);
  if (method != 0 && method != 8)
    return bad(m, at + 10, "compressed by a method other than deflate", e);
  if (fmt_u16(c + 34)) return bad(m, at + 34, "on another disk", e);
  if (!m->deflated && m->csize != m->usize) return bad(m, at + 20, "stored, but with two sizes", e);
  if (m->deflated && m->usize / 1032 > m->csize)
    return bad(m, at + 24, "a size that deflate cannot reach", e);
  return check_local(z, m, flags, limit, e);
}

static int by_head(const void *a, const void *b) {
  const zip_member *x = *(zip_member *const *)a, *y = *(zip_member *const *)b;
  return x->head < y->head ? -1 : x->head > y->head;
}

static int by_name(const void *a, const void *b) {
  const zip_member *x = *(zip_member *const *)a, *y = *(zip_member *const *)b;
  size_t n = x->name_len < y->name_len ? x->name_len : y->name_len;
  int c = memcmp(x->name, y->name, n);
  return c ? c : x->name_len < y->name_len ? -1 : x->name_len > y->name_len;
}

static bool check_apart(zip_file *z, sys_err *e) {
  zip_member **v = mt_malloc((z->n + 1) * sizeof *v);
  if (!v) return sys_fail(e, "not enough memory");
  for (size_t i = 0; i < z->n; i++) v[i] = &z->v[i];
  bool ok = true;
  if (z->n > 1) qsort(v, z->n, sizeof *v, by_head);
  for (size_t i = 1; ok && i < z->n; i++)
    if (v[i]->head < v[i - 1]->at + v[i - 1]->csize)
      ok = bad(v[i], v[i]->head, "overlaps another member", e);
  if (z->n > 1) qsort(v, z->n, sizeof *v, by_name);
  for (size_t i = 1; ok && i < z->n; i++)
    if (!by_name(&v[i - 1], &v[i])) ok = bad(v[i], v[i]->head, "a second member of this name", e);
  mt_free(v);
  return ok;
}

bool zip_open(zip_file *z, const uint8_t *p, size_t n, sys_err *e) {
  directory d = {0};
  *z = (zip_file){.p = p, .size = n};
  if (!find_directory(p, n, &d, e)) return false;
  if (d.n > d.size / CENTRAL)
    return sys_fail(e, "zip: %" PRIu64 " members cannot fit in the central directory", d.n);
  z->v = mt_malloc((d.n + 1) * sizeof *z->v);
  if (!z->v) return sys_fail(e, "not enough memory");
  const uint8_t *c = p + d.at, *end = c + d.size;
  bool ok = true;
  while (ok && z->n < d.n) ok = read_record(z, &z->v[z->n++], &c, end, d.at, e);
  if (ok && c != end)
    ok = sys_fail(e, "zip: bytes after the last central record at byte %zu", (size_t)(c - p));
  ok = ok && check_apart(z, e);
  if (!ok) zip_close(z);
  return ok;
}

void zip_close(zip_file *z) {
  mt_free(z->v);
  *z = (zip_file){0};
}

const zip_member *zip_find(const zip_file *z, const char *name, size_t len) {
  for (size_t i = 0; i < z->n; i++)
    if (z->v[i].name_len == len && !memcmp(z->v[i].name, name, len)) return &z->v[i];
  return NULL;
}

/* CRC in steps, so that an interrupt is answered in a large file. */
static uint32_t crc_of(const uint8_t *p, uint64_t n) {
  uint32_t crc = 0;
  for (uint64_t at = 0; at < n && !mt_interrupted; at += 1 << 24)
    crc = sys_crc32(crc, p + at, n - at < 1 << 24 ? (size_t)(n - at) : 1 << 24);
  return crc;
}

const uint8_t *zip_read(const zip_file *z, const zip_member *m, fmt_list *l, sys_err *e) {
  const uint8_t *data = z->p + m->at;
  if (m->deflated) {
    uint8_t *out = fmt_alloc(l, m->usize);
    if (!out) return sys_fail(e, "not enough memory"), NULL;
    sys_err inner = {{0}, 0};
    if (!zip_inflate(out, m->usize, data, m->csize, &inner))
      return bad(m, m->at, inner.msg, e), NULL;
    data = out;
  }
  uint32_t crc = crc_of(data, m->usize);
  if (mt_interrupted) return sys_fail(e, "interrupted"), NULL;
  if (crc != m->crc) return bad(m, m->at, "the data do not match their CRC-32", e), NULL;
  return data;
}
