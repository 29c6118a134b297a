/* sys.h: the operating system as Moth sees it, without Lua: errors, paths, mapped files, atomic
 * saves, processes, hashes.
 *
 * Invariants.  A function that can fail returns false (or NULL) and has filled the sys_err it was
 * given; the first failure sticks, so a sequence of calls may be checked once.  Nothing here
 * recurses on input, aborts, or forks after threads exist (children start by vfork and exec).  A
 * save that has not been committed leaves the target file as it was. */
#ifndef SYS_H
#define SYS_H
#include "base.h"
#include <stdio.h>
#include <sys/types.h>

/* ---- errors ---- */
typedef struct sys_err {
  char msg[400];                 /* empty: no failure so far */
  int  code;                     /* errno of the failing call, or 0 */
} sys_err;

#define SYS_PRINTF(a, b) __attribute__((format(printf, a, b)))
void sys_note(sys_err *e, const char *fmt, ...) SYS_PRINTF(2, 3);    /* keeps an earlier message */
void sys_note_errno(sys_err *e, const char *what, const char *path); /* "what 'path': strerror" */
/* The same as expressions that are false, which the compiler can see. */
static inline bool sys_false(void) { return false; }
#define sys_fail(e, ...) (sys_note((e), __VA_ARGS__), sys_false())
#define sys_fail_errno(e, what, path) (sys_note_errno((e), (what), (path)), sys_false())
/* Copies at most n bytes of a file-supplied name for a message: control bytes and non-ASCII
 * lead-ins cannot reach the terminal as escapes.  Returns buf. */
const char *sys_quote(char *buf, size_t size, const char *s, size_t n);

/* ---- lists of strings ---- */
typedef struct sys_strs { char **v; size_t n, cap; } sys_strs;
bool sys_strs_add(sys_strs *s, const char *text);    /* false: out of memory */
void sys_strs_sort(sys_strs *s, bool unique);
void sys_strs_free(sys_strs *s);
char *sys_join(const char *dir,
               const char *name); /* "dir/name", to be mt_free'd; NULL: out of memory */

/* ---- the file system ---- */
bool sys_list(const char *dir, sys_strs *out, sys_err *e); /* sorted names without . and .. */
bool sys_glob(const char *pattern, sys_strs *out,
              sys_err *e); /* sorted; * ? [a-z] and ** for any depth of folders */
bool sys_mkdirs(const char *path, unsigned mode,
                sys_err *e); /* with parents; an existing folder is fine */
bool sys_remove_tree(const char *path, sys_err *e);                 /* follows no link */
bool sys_read_file(const char *path, char **data, size_t *n,
                   sys_err *e); /* NUL after data[n]; mt_free it */

/* ---- mapped files ---- */
/* A private mapping.  Should the file shrink while mapped, the lost pages read as zeros,
 * `broken` is set, and the process lives on.  Count of holders: sys_map_retain, sys_map_close. */
typedef struct sys_map {
  const uint8_t *data;           /* not NULL, also for an empty file */
  size_t size;
  _Atomic int broken;
  int refs;
} sys_map;
sys_map *sys_map_open(const char *path, sys_err *e);
void sys_map_retain(sys_map *m);
void sys_map_close(sys_map *m);

/* ---- atomic saves ---- */
/* Written to a temporary file beside the target; sys_save_commit flushes it to the disk, renames it
 * over the target and flushes the folder.  After a failure, or sys_save_abort, the target is
 * untouched and the temporary file gone. */
typedef struct sys_save {
  int fd;
  char *path, *tmp;
  uint8_t *buf;
  size_t fill;
  uint64_t at;                   /* bytes written so far */
} sys_save;
bool sys_save_begin(sys_save *s, const char *path, sys_err *e);
bool sys_save_write(sys_save *s, const void *data, size_t n, sys_err *e);
bool sys_save_pad(sys_save *s, size_t n, int byte, sys_err *e);
bool sys_save_commit(sys_save *s, sys_err *e);
void sys_save_abort(sys_save *s);

/* ---- processes ---- */
enum { SYS_INHERIT, SYS_PIPE, SYS_NULL, SYS_TO_STDOUT };
typedef struct sys_spawn_opts {
  const char *const *argv;       /* NULL-terminated; argv[0] is looked up in PATH */
  const char *const *envp;       /* NULL: ours */
  const char *cwd;               /* NULL: ours */
  int in, out, err;              /* SYS_INHERIT ... */
  uint64_t memory;               /* cap of address space in bytes; 0: none */
  double cpu;                    /* cap of CPU seconds; 0: none */
  bool group; /* a process group of its own, so that a kill reaches its children */
} sys_spawn_opts;
typedef struct sys_proc {
  pid_t pid;                     /* 0: none */
  int in, out, err;              /* our ends of the pipes, or -1 */
  bool group, done;
  int code, signal;              /* once done: exit code, or -1 and the signal that ended it */
  double peak_rss, cpu_seconds;
} sys_proc;
bool sys_spawn(sys_proc *p, const sys_spawn_opts *o, sys_err *e);
/* A child that goes on from here with our memory (fork.c): *is_child tells who one is. */
bool sys_fork(sys_proc *p, bool *is_child, sys_err *e);
/* Waits until the process ends, the deadline (sys_clock time; < 0: none) or an interrupt; true when
 * it has ended. */
bool sys_wait(sys_proc *p, double deadline);
void sys_kill(sys_proc *p, int signal);
/* One write to / read from a pipe by the deadline: bytes moved, 0 at the end (reading) or when
 * nobody reads (writing), -1 on failure with e filled ("timed out" and "interrupted" included). */
long sys_pipe_write(int fd, const void *data, size_t n, double deadline, sys_err *e);
long sys_pipe_read(int fd, void *data, size_t n, double deadline, sys_err *e);
/* Milliseconds for poll(2) until the deadline, at most 50 so that interrupts are seen. */
int sys_poll_ms(double deadline);
void sys_proc_close(sys_proc *p); /* closes pipes; a process still running is killed and reaped */

/* ---- time and machine ---- */
double sys_clock(void);                    /* monotonic seconds */
double sys_time(void);                     /* seconds since 1970 */
bool   sys_sleep(double seconds);          /* false: interrupted */
int    sys_cpu_count(void);                /* that this process may use */
uint64_t sys_rss(void), sys_peak_rss(void), sys_total_memory(void);

/* ---- hashes ---- */
typedef struct sys_sha256 { uint32_t h[8]; uint64_t len; uint8_t buf[64]; } sys_sha256;
void sys_sha256_init(sys_sha256 *c);
void sys_sha256_add(sys_sha256 *c, const void *p, size_t n);
void sys_sha256_end(sys_sha256 *c, uint8_t out[32]);
typedef struct sys_md5 { uint32_t h[4]; uint64_t len; uint8_t buf[64]; } sys_md5;
void sys_md5_init(sys_md5 *c);
void sys_md5_add(sys_md5 *c, const void *p, size_t n);
void sys_md5_end(sys_md5 *c, uint8_t out[16]);
void sys_hmac_sha256(const void *key, size_t nkey, const void *p, size_t n, uint8_t out[32]);
uint32_t sys_crc32(uint32_t crc, const void *p, size_t n);      /* zlib's; starts at 0 */
#endif
