/* map.c: mapped files that survive truncation, and atomic saves.
 *
 * A page of a mapping whose file has shrunk raises SIGBUS when touched.  The handler looks the
 * address up in a small table of live mappings, puts a page of zeros there, marks the mapping
 * broken and returns; addresses of nobody go to the previous handler.  Slots are claimed and freed
 * by atomic stores, because the handler may run at any moment. */
#define _GNU_SOURCE
#include "sys.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SLOTS = 1024, SAVE_BUF = 1 << 16 };
static sys_map *volatile live[SLOTS];
static struct sigaction old_bus;
static volatile int bus_installed;

/* Whoever reads zeros for data must not go on as if nothing had happened: the running code is
 * interrupted as by Ctrl-C, where somebody handles that.  The signal is the process's, because this
 * may be a pool thread, which takes no SIGINT. */
static void report(void) {
  static const char text[] =
      "moth: a mapped file became shorter while in use; its lost pages read as zeros\n";
  struct sigaction sa;
  ssize_t n = write(2, text, sizeof text - 1);
  (void)n;
  if (!sigaction(SIGINT, NULL, &sa) && sa.sa_handler != SIG_DFL && sa.sa_handler != SIG_IGN)
    kill(getpid(), SIGINT);
}

static void on_bus(int sig, siginfo_t *info, void *ctx) {
  uintptr_t a = (uintptr_t)info->si_addr, page = (uintptr_t)sysconf(_SC_PAGESIZE);
  for (int i = 0; i < SLOTS; i++) {
    sys_map *m = __atomic_load_n(&live[i], __ATOMIC_ACQUIRE);
    if (!m || a < (uintptr_t)m->data || a >= (uintptr_t)m->data + m->size) continue;
    void *at = (void *)(a / page * page);
    if (mmap(at, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
        MAP_FAILED)
      break;
    if (!m->broken) report();
    m->broken = 1;
    return;
  }
  if (old_bus.sa_flags & SA_SIGINFO) {
    if (old_bus.sa_sigaction) old_bus.sa_sigaction(sig, info, ctx);
  } else if (old_bus.sa_handler != SIG_DFL && old_bus.sa_handler != SIG_IGN) {
    old_bus.sa_handler(sig);
  } else {
    signal(sig, SIG_DFL); /* the access repeats and ends the process as it would have */
  }
}

static void watch(sys_map *m) {
  if (!__atomic_exchange_n(&bus_installed, 1, __ATOMIC_ACQ_REL)) {
    struct sigaction sa = {.sa_flags = SA_SIGINFO | SA_NODEFER};
    sa.sa_sigaction = on_bus;
    sigemptyset(&sa.sa_mask);
    sigaction(SIGBUS, &sa, &old_bus);
  }
  for (int i = 0; i < SLOTS; i++) {
    sys_map *none = NULL;
    if (__atomic_compare_exchange_n(&live[i], &none, m, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
      return;
  }
}

static void unwatch(sys_map *m) {
  for (int i = 0; i < SLOTS; i++)
    if (__atomic_load_n(&live[i], __ATOMIC_RELAXED) == m)
      __atomic_store_n(&live[i], NULL, __ATOMIC_RELEASE);
}

sys_map *sys_map_open(const char *path, sys_err *e) {
  struct stat st;
  sys_map *m = mt_calloc(sizeof *m);
  if (!m) return sys_fail(e, "not enough memory"), NULL;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);  /* a fifo must not hang us */
  if (fd < 0) {
    sys_fail_errno(e, "cannot open", path);
    goto fail;
  }
  if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
    errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
    sys_fail_errno(e, "cannot map", path);
    goto fail_fd;
  }
  m->size = (size_t)st.st_size;
  m->refs = 1;
  /* Private and writable: whoever writes into a tensor of the file changes his copy of the page,
   * never the file. */
  void *p = m->size
                ? mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0)
                : NULL;
  if (p == MAP_FAILED) {
    sys_fail_errno(e, "cannot map", path);
    goto fail_fd;
  }
  close(fd);
  m->data = p ? p : (const void *)"";
  if (p) watch(m);
  return m;
fail_fd:
  close(fd);
fail:
  mt_free(m);
  return NULL;
}

void sys_map_retain(sys_map *m) { __atomic_add_fetch(&m->refs, 1, __ATOMIC_RELAXED); }

void sys_map_close(sys_map *m) {
  if (!m || __atomic_sub_fetch(&m->refs, 1, __ATOMIC_ACQ_REL)) return;
  if (m->size) {
    unwatch(m);
    munmap((void *)(uintptr_t)m->data, m->size);
  }
  mt_free(m);
}

/* ---- atomic saves ---- */
bool sys_save_begin(sys_save *s, const char *path, sys_err *e) {
  struct stat st;
  mode_t mode = 0666;
  *s = (sys_save){.fd = -1};
  /* Through a link the file it names is replaced, not the link. */
  char *real = realpath(path, NULL);
  const char *target = real ? real : path;
  if (!stat(target, &st)) {
    if (!S_ISREG(st.st_mode)) {
      free(real);
      errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
      return sys_fail_errno(e, "cannot save to", path);
    }
    mode = st.st_mode & 0777;
  } else {
    mode_t mask = umask(0);
    umask(mask);
    mode &= ~mask;
  }
  size_t n = strlen(target);
  s->path = mt_malloc(n + 1);
  s->tmp = mt_malloc(n + 16);
  s->buf = mt_malloc(SAVE_BUF);
  if (s->path && s->tmp && s->buf) {
    memcpy(s->path, target, n + 1);
    snprintf(s->tmp, n + 16, "%s.tmp-XXXXXX", target);
    s->fd = mkostemp(s->tmp, O_CLOEXEC);
    if (s->fd < 0) {
      sys_fail_errno(e, "cannot create a file beside", path);
      s->tmp[0] = 0;                                      /* not ours to unlink */
    } else if (fchmod(s->fd, mode)) {
      sys_fail_errno(e, "cannot set the mode of", s->tmp);
    } else {
      free(real);
      return true;
    }
  } else {
    sys_fail(e, "not enough memory");
    if (s->tmp) s->tmp[0] = 0;
  }
  free(real);
  sys_save_abort(s);
  return false;
}

static bool write_all(sys_save *s, const uint8_t *p, size_t n, sys_err *e) {
  while (n) {
    ssize_t r = write(s->fd, p, n < 1u << 26 ? n : 1u << 26);
    if (r < 0 && errno == EINTR && !mt_interrupted) continue;
    if (mt_interrupted) return sys_fail(e, "interrupted");
    if (r < 0) return sys_fail_errno(e, "cannot write", s->path);
    if (r == 0) return errno = ENOSPC, sys_fail_errno(e, "cannot write", s->path);
    p += r;
    n -= (size_t)r;
  }
  return true;
}

bool sys_save_write(sys_save *s, const void *data, size_t n, sys_err *e) {
  if (e->msg[0]) return false;
  s->at += n;
  if (n <= SAVE_BUF - s->fill) {
    if (n) memcpy(s->buf + s->fill, data, n);
    s->fill += n;
    return true;
  }
  if (!write_all(s, s->buf, s->fill, e)) return false;
  s->fill = 0;
  if (n >= SAVE_BUF) return write_all(s, data, n, e);
  memcpy(s->buf, data, n);
  s->fill = n;
  return true;
}

bool sys_save_pad(sys_save *s, size_t n, int byte, sys_err *e) {
  uint8_t block[256];
  memset(block, byte, sizeof block);
  for (; n && !e->msg[0]; n -= n < sizeof block ? n : sizeof block)
    sys_save_write(s, block, n < sizeof block ? n : sizeof block, e);
  return !e->msg[0];
}

static bool sync_folder(const char *path, sys_err *e) {
  char *dir = mt_malloc(strlen(path) + 2);
  if (!dir) return sys_fail(e, "not enough memory");
  strcpy(dir, path);
  char *slash = strrchr(dir, '/');
  if (!slash) strcpy(dir, ".");
  else slash[slash == dir] = 0;
  int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  bool ok = true;
  /* Some file systems cannot flush a folder; the rename has happened by then, so that is no failure
   * of the save. */
  if (fd >= 0) {
    if (fsync(fd) && errno == EIO) ok = sys_fail_errno(e, "cannot flush the folder of", path);
    close(fd);
  }
  mt_free(dir);
  return ok;
}

bool sys_save_commit(sys_save *s, sys_err *e) {
  bool ok = !e->msg[0] && write_all(s, s->buf, s->fill, e);
  if (ok && fsync(s->fd)) ok = sys_fail_errno(e, "cannot flush", s->path);
  if (s->fd >= 0 && close(s->fd) && ok) ok = sys_fail_errno(e, "cannot close", s->path);
  s->fd = -1;
  if (ok && rename(s->tmp, s->path)) ok = sys_fail_errno(e, "cannot replace", s->path);
  if (ok) {
    s->tmp[0] = 0;
    ok = sync_folder(s->path, e);
  }
  sys_save_abort(s);
  return ok;
}

void sys_save_abort(sys_save *s) {
  if (s->fd >= 0) close(s->fd);
  if (s->tmp && s->tmp[0]) unlink(s->tmp);
  mt_free(s->tmp);
  mt_free(s->path);
  mt_free(s->buf);
  *s = (sys_save){.fd = -1};
}
