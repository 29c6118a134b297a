/* zip.h: zip archives (zip64 too) in memory or mapped, and inflate, without Lua.
 *
 * Invariants of an opened archive.  Every member's central record agrees with its local header,
 * names are unique, no two members' bytes overlap, sizes lie inside the file, and a deflated size
 * is one that deflate can reach (at most 1032:1), so whoever allocates usize bytes allocates no
 * more than the file can fill.  A member's CRC-32 is checked when it is read. */
#ifndef ZIP_H
#define ZIP_H
#include "formats/fmt.h"

/* Decompresses exactly dn bytes from exactly sn bytes of deflate data. */
bool zip_inflate(uint8_t *dst, size_t dn, const uint8_t *src, size_t sn, sys_err *e);

typedef struct zip_member {
  const char *name;
  size_t name_len;
  uint64_t at, csize,
      usize; /* where the data lie; their bytes in the file; their bytes when read */
  uint64_t head;                 /* where the local header lies */
  uint32_t crc;
  bool deflated;
} zip_member;
typedef struct zip_file {
  const uint8_t *p;
  size_t size;
  zip_member *v;
  size_t n;
} zip_file;

bool zip_is(const uint8_t *p, size_t n);                       /* begins as a zip archive does */
bool zip_open(zip_file *z, const uint8_t *p, size_t n, sys_err *e);
void zip_close(zip_file *z);
const zip_member *zip_find(const zip_file *z, const char *name, size_t len);
/* The checked bytes of a member: in the file itself when stored, else inflated into memory of l. */
const uint8_t *zip_read(const zip_file *z, const zip_member *m, fmt_list *l, sys_err *e);

/* Writing: members are stored, their data aligned to `align` bytes (a power of two, by an extra
 * field as PyTorch does). */
typedef struct zip_entry {
  char *name;
  uint64_t head, size;
  uint32_t crc;
  uint16_t extra;
} zip_entry;
typedef struct zip_writer {
  sys_save save;
  zip_entry *v;
  size_t n, cap;
} zip_writer;
typedef struct zip_piece { const void *p; uint64_t n; } zip_piece;
bool zip_begin(zip_writer *w, const char *path, sys_err *e);
bool zip_add(zip_writer *w, const char *name, const zip_piece *pieces, int npieces, unsigned align,
             sys_err *e);
bool zip_commit(zip_writer *w, sys_err *e);
void zip_abort(zip_writer *w);
#endif
