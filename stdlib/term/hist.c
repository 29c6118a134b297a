/* hist.c: the history of blocks, kept in a plain text file that several sessions share.
 *
 * An entry is its lines; every line but the first is stored behind a TAB (and an entry never
 * begins with one), so that the file can be read and searched by people.  The file is only ever
 * appended to, one write per entry under a lock, at once: a killed session loses nothing, a torn
 * last line is closed by the next writer.  A session reads what others appended whenever it
 * appends itself or searches.  When the disk refuses, entries live in memory and the caller is
 * told. */
#define _GNU_SOURCE
#include "term.h"
#include "base.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_LIMIT = 4 << 20 };             /* of a long file only the end is read */

typedef struct { char *s; size_t n; } Entry;
struct TermHist {
  Entry *v;
  size_t n, cap;
  char *path;
  off_t seen;                              /* the file's bytes up to here are in memory */
  bool loaded;
};

static bool push(TermHist *h, const char *s, size_t n) {
  if (h->n == h->cap) {
    size_t cap = h->cap ? h->cap * 2 : 256;
    Entry *v = mt_realloc(h->v, cap * sizeof *v);
    if (!v) return false;
    h->v = v;
    h->cap = cap;
  }
  char *copy = mt_malloc(n + 1);
  if (!copy) return false;
  memcpy(copy, s, n);
  copy[n] = 0;
  h->v[h->n++] = (Entry){copy, n};
  return true;
}

TermHist *term_hist_open(const char *path) {
  TermHist *h = mt_calloc(sizeof *h);
  if (!h || !path) return h;
  h->path = mt_malloc(strlen(path) + 1);
  if (!h->path) return mt_free(h), NULL;
  strcpy(h->path, path);
  return h;
}

void term_hist_free(TermHist *h) {
  if (!h) return;
  for (size_t i = 0; i < h->n; i++) mt_free(h->v[i].s);
  mt_free(h->v);
  mt_free(h->path);
  mt_free(h);
}

/* ---- reading ---- */
/* Adds the entries of s[0, n), which ends at an entry's end. */
static void take_in(TermHist *h, const char *s, size_t n) {
  TermBuf entry = {0};
  for (size_t i = 0; i < n;) {
    const char *nl = memchr(s + i, '\n', n - i);
    size_t end = nl ? (size_t)(nl - s) : n;
    if (s[i] == '\t') {
      term_buf_ch(&entry, '\n');
      term_buf_add(&entry, s + i + 1, end - i - 1);
    } else {
      if (entry.n) push(h, entry.s, entry.n);
      term_buf_set(&entry, s + i, end - i);
    }
    i = end + 1;
  }
  if (entry.n) push(h, entry.s, entry.n);
  term_buf_free(&entry);
}

/* Reads from h->seen to the end of the open, locked file. */
static void read_new(TermHist *h, int fd) {
  struct stat st;
  if (fstat(fd, &st) != 0) return;
  if (st.st_size < h->seen) h->seen = 0;   /* somebody cut the file */
  off_t from = st.st_size - h->seen > READ_LIMIT ? st.st_size - READ_LIMIT : h->seen;
  size_t want = (size_t)(st.st_size - from), got = 0;
  char *s = want ? mt_malloc(want) : NULL;
  while (s && got < want) {
    ssize_t k = pread(fd, s + got, want - got, from + (off_t)got);
    if (k < 0 && errno == EINTR) continue;
    if (k <= 0) break;
    got += (size_t)k;
  }
  size_t start = 0;
  if (from != h->seen) {                   /* begin with a whole entry */
    while (start < got && !(s[start] == '\n' && start + 1 < got && s[start + 1] != '\t')) start++;
    if (start < got) start++;
  }
  if (s) take_in(h, s + start, got - start);
  mt_free(s);
  h->seen = st.st_size;
}

/* The file opened and locked, what is new in it read; -1 and errno. */
static int open_locked(TermHist *h, int flags) {
  int fd = open(h->path, flags | O_CLOEXEC, 0600);
  if (fd < 0) return -1;
  while (flock(fd, flags & O_CREAT ? LOCK_EX : LOCK_SH) != 0 && errno == EINTR) {}
  read_new(h, fd);
  h->loaded = true;
  return fd;
}

void term_hist_sync(TermHist *h) {
  int fd = h && h->path ? open_locked(h, O_RDONLY) : -1;
  if (fd >= 0) close(fd);
  if (h) h->loaded = true;
}

static void load_once(TermHist *h) {
  if (!h->loaded) term_hist_sync(h);
}

size_t term_hist_count(TermHist *h) {
  if (!h) return 0;
  load_once(h);
  return h->n;
}

const char *term_hist_get(TermHist *h, size_t i, size_t *n) {
  if (i >= h->n) return *n = 0, NULL;
  *n = h->v[i].n;
  return h->v[i].s;
}

/* ---- writing ---- */
static void make_parents(char *path) {
  for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
    *p = 0;
    mkdir(path, 0700);
    *p = '/';
  }
}

/* The entry's text in the file; false without memory. */
static bool encode(TermBuf *b, const char *s, size_t n, bool close_torn) {
  bool ok = !close_torn || term_buf_ch(b, '\n');
  for (size_t i = 0; ok && i < n; i++)
    ok = s[i] == '\n' ? term_buf_add(b, "\n\t", 2) : s[i] ? term_buf_ch(b, s[i]) : true;
  return ok && term_buf_ch(b, '\n');
}

static int append(TermHist *h, int fd, const char *s, size_t n) {
  TermBuf b = {0};
  char last = '\n';
  if (h->seen > 0 && pread(fd, &last, 1, h->seen - 1) != 1) last = '\n';
  int err = encode(&b, s, n, last != '\n') ? 0 : ENOMEM;
  size_t done = 0;
  while (!err && done < b.n) {
    ssize_t k = write(fd, b.s + done, b.n - done);
    if (k > 0) done += (size_t)k;
    else if (errno != EINTR) err = errno;
  }
  if (err && done) {                       /* half an entry is worse than none */
    if (ftruncate(fd, h->seen) != 0) err = errno;
  } else h->seen += (off_t)done;
  term_buf_free(&b);
  return err;
}

int term_hist_add(TermHist *h, const char *s, size_t n) {
  if (!h) return 0;
  while (n > 0 && (s[n - 1] == '\n' || s[n - 1] == ' ')) n--;
  while (n > 0 && (*s == '\t' || *s == '\n')) s++, n--;
  if (n == 0) return 0;
  load_once(h);
  if (h->n && h->v[h->n - 1].n == n && memcmp(h->v[h->n - 1].s, s, n) == 0) return 0;
  int err = 0;
  if (h->path) {
    int fd = open_locked(h, O_RDWR | O_CREAT | O_APPEND);
    if (fd < 0 && errno == ENOENT) {
      make_parents(h->path);
      fd = open_locked(h, O_RDWR | O_CREAT | O_APPEND);
    }
    err = fd < 0 ? errno : append(h, fd, s, n);
    if (fd >= 0) close(fd);
  }
  if (!push(h, s, n) && !err) err = ENOMEM;
  return err;
}
