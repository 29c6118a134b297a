/* file.c: errors, paths, folders, whole files.  Every descriptor and allocation is released on
 * every path out. */
#define _GNU_SOURCE
#include "sys.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void sys_note(sys_err *e, const char *fmt, ...) {
  va_list ap;
  if (!e || e->msg[0]) return;
  va_start(ap, fmt);
  vsnprintf(e->msg, sizeof e->msg, fmt, ap);
  va_end(ap);
  if (!e->msg[0]) strcpy(e->msg, "error");
}

void sys_note_errno(sys_err *e, const char *what, const char *path) {
  int code = errno;
  char name[160];
  if (!e || e->msg[0]) return;
  e->code = code;
  sys_note(e, "%s '%s': %s", what, sys_quote(name, sizeof name, path, strlen(path)),
           strerror(code));
}

const char *sys_quote(char *buf, size_t size, const char *s, size_t n) {
  size_t used = 0;
  for (size_t i = 0; i < n && used + 5 < size; i++) {
    unsigned char c = (unsigned char)s[i];
    /* U+0080..U+009F are control characters too; in UTF-8 they begin with 0xC2. */
    if (c < 32 || c == 127 || (c == 0xC2 && i + 1 < n && (unsigned char)s[i + 1] < 0xA0))
      used += (size_t)snprintf(buf + used, size - used, "\\x%02x", c);
    else
      buf[used++] = (char)c;
  }
  if (size) buf[used] = 0;
  return buf;
}

bool sys_strs_add(sys_strs *s, const char *text) {
  if (s->n == s->cap) {
    size_t cap = s->cap ? 2 * s->cap : 16;
    char **v = mt_realloc(s->v, cap * sizeof *v);
    if (!v) return false;
    s->v = v, s->cap = cap;
  }
  size_t n = strlen(text) + 1;
  char *copy = mt_malloc(n);
  if (!copy) return false;
  memcpy(copy, text, n);
  s->v[s->n++] = copy;
  return true;
}

static int by_bytes(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

void sys_strs_sort(sys_strs *s, bool unique) {
  size_t kept = 0;
  if (s->n > 1) qsort(s->v, s->n, sizeof *s->v, by_bytes);
  if (!unique) return;
  for (size_t i = 0; i < s->n; i++)
    if (kept && !strcmp(s->v[kept - 1], s->v[i])) mt_free(s->v[i]);
    else s->v[kept++] = s->v[i];
  s->n = kept;
}

void sys_strs_free(sys_strs *s) {
  for (size_t i = 0; i < s->n; i++) mt_free(s->v[i]);
  mt_free(s->v);
  *s = (sys_strs){0};
}

char *sys_join(const char *dir, const char *name) {
  size_t nd = strlen(dir), nn = strlen(name);
  bool slash = nd && dir[nd - 1] != '/';
  char *p = mt_malloc(nd + slash + nn + 1);
  if (!p) return NULL;
  memcpy(p, dir, nd);
  if (slash) p[nd] = '/';
  memcpy(p + nd + slash, name, nn + 1);
  return p;
}

static bool no_memory(sys_err *e) {
  if (e) e->code = ENOMEM;
  return sys_fail(e, "not enough memory");
}

static bool list_into(const char *dir, sys_strs *out, sys_err *e) {
  DIR *d = opendir(dir);
  struct dirent *ent;
  bool ok = true;
  if (!d) return sys_fail_errno(e, "cannot list", dir);
  for (errno = 0; ok && (ent = readdir(d)) != NULL; errno = 0)
    if (strcmp(ent->d_name, ".") && strcmp(ent->d_name, ".."))
      if (!sys_strs_add(out, ent->d_name)) ok = no_memory(e);
  if (ok && errno) ok = sys_fail_errno(e, "cannot list", dir);
  closedir(d);
  return ok;
}

bool sys_list(const char *dir, sys_strs *out, sys_err *e) {
  *out = (sys_strs){0};
  if (!list_into(dir, out, e)) {
    sys_strs_free(out);
    return false;
  }
  sys_strs_sort(out, false);
  return true;
}

/* ---- glob: a work list of (folder reached, rest of the pattern) ---- */
typedef struct { char *base; const char *rest; } glob_item;
typedef struct { glob_item *v; size_t n, cap; sys_strs *out; } glob_state;

static bool glob_push(glob_state *g, const char *dir, const char *name, const char *rest) {
  if (g->n == g->cap) {
    size_t cap = g->cap ? 2 * g->cap : 32;
    glob_item *v = mt_realloc(g->v, cap * sizeof *v);
    if (!v) return false;
    g->v = v, g->cap = cap;
  }
  char *base = sys_join(dir, name);
  if (!base) return false;
  g->v[g->n++] = (glob_item){base, rest};
  return true;
}

static bool is_dir(const char *path, bool follow) {
  struct stat st;
  const char *p = *path ? path : ".";
  return !(follow ? stat(p, &st) : lstat(p, &st)) && S_ISDIR(st.st_mode);
}

/* One component of the pattern against one folder; what matches goes on the list. */
static bool glob_step(glob_state *g, const char *base, const char *rest, sys_err *e) {
  char part[256];
  struct stat st;
  size_t n = strcspn(rest, "/");
  if (!n && !rest[0]) {
    if (!lstat(base, &st) && !sys_strs_add(g->out, base)) return no_memory(e);
    return true;
  }
  if (n >= sizeof part) return true;                      /* no file name is that long */
  memcpy(part, rest, n);
  part[n] = 0;
  const char *next = rest + n + strspn(rest + n, "/");
  bool last = !next[0], deep = !strcmp(part, "**");
  if (!deep && !strpbrk(part, "*?[\\")) {
    char *p = sys_join(base, part);
    bool ok = p && (lstat(p, &st) || glob_push(g, base, part, next));
    mt_free(p);
    return ok || no_memory(e);
  }
  sys_strs names = {0};
  bool ok = true;
  if (deep && !last) ok = glob_push(g, base, "", next);
  if (!is_dir(base, !deep || !*base) || !list_into(*base ? base : ".", &names, NULL)) {
    sys_strs_free(&names);                                /* an unreadable folder matches nothing */
    return ok || no_memory(e);
  }
  for (size_t i = 0; ok && i < names.n; i++) {
    const char *name = names.v[i];
    if (deep) {
      if (name[0] == '.') continue;
      if (last) ok = glob_push(g, base, name, "");
      char *p = ok ? sys_join(base, name) : NULL;
      ok = ok && p && (!is_dir(p, false) || glob_push(g, base, name, rest));
      mt_free(p);
    } else if (!fnmatch(part, name, FNM_PERIOD)) {
      char *p = sys_join(base, name);
      ok = p && ((!last && !is_dir(p, true)) || glob_push(g, base, name, next));
      mt_free(p);
    }
  }
  sys_strs_free(&names);
  return ok || no_memory(e);
}

bool sys_glob(const char *pattern, sys_strs *out, sys_err *e) {
  size_t lead = strspn(pattern, "/");
  glob_state g = {.out = out};
  *out = (sys_strs){0};
  bool ok = !pattern[0] || glob_push(&g, lead ? "/" : "", "", pattern + lead) || no_memory(e);
  while (ok && g.n) {
    glob_item it = g.v[--g.n];
    ok = glob_step(&g, it.base, it.rest, e);
    mt_free(it.base);
    if (mt_interrupted) ok = sys_fail(e, "interrupted");
  }
  while (g.n) mt_free(g.v[--g.n].base);
  mt_free(g.v);
  if (ok) sys_strs_sort(out, true);
  else sys_strs_free(out);
  return ok;
}

bool sys_mkdirs(const char *path, unsigned mode, sys_err *e) {
  size_t n = strlen(path);
  struct stat st;
  char *p = mt_malloc(n + 1);
  bool ok = true;
  if (!p) return no_memory(e);
  memcpy(p, path, n + 1);
  for (size_t i = 1; ok && i <= n; i++) {
    if (p[i] && p[i] != '/') continue;
    p[i] = 0;
    if (mkdir(p, i == n ? mode : mode | 0300)) {
      int code =
          errno; /* a read-only parent says EROFS or EACCES also for a folder that is there */
      if (stat(p, &st) || !S_ISDIR(st.st_mode))
        errno = code, ok = sys_fail_errno(e, "cannot make folder", p);
    }
    if (i < n) p[i] = '/';
  }
  if (!n) errno = ENOENT, ok = sys_fail_errno(e, "cannot make folder", path);
  mt_free(p);
  return ok;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
  (void)st, (void)flag, (void)ftw;
  return remove(path) ? errno : 0;
}

bool sys_remove_tree(const char *path, sys_err *e) {
  int r = nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS);
  if (!r) return true;
  if (r > 0) errno = r;
  return sys_fail_errno(e, "cannot remove", path);
}

bool sys_read_file(const char *path, char **data, size_t *n, sys_err *e) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat st;
  char *buf = NULL;
  size_t fill = 0, cap = 0;
  *data = NULL;
  *n = 0;
  if (fd < 0) return sys_fail_errno(e, "cannot open", path);
  if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size > 0) cap = (size_t)st.st_size;
  if (!cap) cap = 4096;
  bool ok = (buf = mt_malloc(cap + 1)) != NULL || no_memory(e);
  while (ok) {
    ssize_t r = read(fd, buf + fill, cap - fill < 1u << 30 ? cap - fill : 1u << 30);
    if (r < 0 && errno == EINTR) continue;
    if (r < 0) ok = sys_fail_errno(e, "cannot read", path);
    if (r <= 0) break;
    fill += (size_t)r;
    if (fill < cap) continue;
    char more;                                            /* the usual end: exactly st_size bytes */
    do r = read(fd, &more, 1); while (r < 0 && errno == EINTR);
    if (r < 0) ok = sys_fail_errno(e, "cannot read", path);
    if (r <= 0) break;
    char *grown = mt_realloc(buf, 2 * cap + 1);
    if (!grown) ok = no_memory(e);
    else buf = grown, cap *= 2, buf[fill++] = more;
  }
  close(fd);
  if (!ok) {
    mt_free(buf);
    return false;
  }
  buf[fill] = 0;
  *data = buf, *n = fill;
  return true;
}
