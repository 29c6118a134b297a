/* proc.c: child processes, clocks, facts about the machine.
 *
 * A child is started by vfork and exec: no fork handlers of BLAS run, no page tables are copied,
 * and the child's only acts between the two are system calls.  All signals are blocked meanwhile,
 * so none of our handlers can run in the child.  A process is reaped exactly once (done says so),
 * so a recycled pid is never signalled. */
#define _GNU_SOURCE
#include "sys.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

typedef struct launch {
  const sys_spawn_opts *o;
  const char *exe;
  int fd[3];                     /* what the child gets as 0, 1, 2; -1: ours */
  sigset_t mask;
  volatile int failed;           /* errno of the child's first failure: vfork shares our memory */
  volatile int step;
} launch;

static void set_limit(int what, uint64_t value) {
  struct rlimit r;
  if (getrlimit(what, &r)) return;
  rlim_t v = (rlim_t)value;
  if (r.rlim_max == RLIM_INFINITY || v < r.rlim_max) r.rlim_max = v;
  r.rlim_cur = r.rlim_max;
  setrlimit(what, &r);
}

/* Runs in the child, on the parent's memory: it must not touch anything but the launch record. */
static void child(launch *l) {
  struct sigaction dfl;
  memset(&dfl, 0, sizeof dfl);
  dfl.sa_handler = SIG_DFL;
  for (int s = 1; s < 32; s++) sigaction(s, &dfl, NULL);
  if (l->o->group) setpgid(0, 0);
  for (int i = 0; i < 3; i++) {
    if (l->fd[i] < 0) continue;
    if (dup2(l->fd[i], i) < 0) goto fail;
  }
  if (l->o->err == SYS_TO_STDOUT && dup2(1, 2) < 0) goto fail;
  l->step = 1;
  if (l->o->cwd && chdir(l->o->cwd)) goto fail;
  l->step = 2;
  if (l->o->memory) set_limit(RLIMIT_AS, l->o->memory);
  if (l->o->cpu > 0) set_limit(RLIMIT_CPU, (uint64_t)(l->o->cpu + 0.999));
  sigprocmask(SIG_SETMASK, &l->mask, NULL);
  execve(l->exe, (char *const *)l->o->argv,
         (char *const *)(l->o->envp ? l->o->envp : (const char *const *)environ));
fail:
  l->failed = errno ? errno : EINVAL;
  _exit(127);
}

__attribute__((noinline)) static pid_t start(launch *l) {
  pid_t pid = vfork();
  if (pid == 0) child(l);
  return pid;
}

/* The file that argv[0] names, by PATH when it has no slash; NULL: none (errno set). */
static char *find_program(const char *name) {
  const char *path = getenv("PATH");
  if (strchr(name, '/')) return sys_join("", name);
  if (!path) path = "/usr/local/bin:/usr/bin:/bin";
  for (int denied = 0;;) {
    size_t n = strcspn(path, ":");
    char *dir = mt_malloc(n + 2), *full;
    if (!dir) return errno = ENOMEM, NULL;
    memcpy(dir, path, n);
    strcpy(dir + n, n ? "" : ".");
    full = sys_join(dir, name);
    mt_free(dir);
    if (!full) return errno = ENOMEM, NULL;
    if (!access(full, X_OK)) return full;
    denied |= errno == EACCES;
    mt_free(full);
    if (!path[n]) return errno = denied ? EACCES : ENOENT, NULL;
    path += n + 1;
  }
}

static void close_fd(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

/* The child's ends must not be 0..2 themselves, or setting one up would overwrite another. */
static int above_stdio(int fd) {
  if (fd < 0 || fd > 2) return fd;
  int up = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  close(fd);
  return up;
}

/* Makes one channel: *ours is our end of a pipe (or -1), *theirs what the child gets (or -1:
 * inherit). */
static bool channel(int mode, bool child_reads, int *ours, int *theirs) {
  int p[2];
  *ours = *theirs = -1;
  if (mode == SYS_NULL) return (*theirs = above_stdio(open("/dev/null", O_RDWR | O_CLOEXEC))) >= 0;
  if (mode != SYS_PIPE) return true;
  if (pipe2(p, O_CLOEXEC)) return false;
  *theirs = above_stdio(p[child_reads ? 0 : 1]);
  *ours = above_stdio(p[child_reads ? 1 : 0]);
  return *theirs >= 0 && *ours >= 0;
}

bool sys_spawn(sys_proc *p, const sys_spawn_opts *o, sys_err *e) {
  launch l = {.o = o, .fd = {-1, -1, -1}};
  sigset_t all;
  *p = (sys_proc){.in = -1, .out = -1, .err = -1, .group = o->group};
  char *exe = find_program(o->argv[0]);
  if (!exe) return sys_fail_errno(e, "cannot run", o->argv[0]);
  l.exe = exe;
  bool ok = channel(o->in, true, &p->in, &l.fd[0]) && channel(o->out, false, &p->out, &l.fd[1]) &&
            channel(o->err, false, &p->err, &l.fd[2]);
  if (!ok) {
    sys_fail_errno(e, "cannot make a pipe for", o->argv[0]);
  } else {
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &l.mask);
    pid_t pid = start(&l);
    int code = errno;
    sigprocmask(SIG_SETMASK, &l.mask, NULL);
    if (pid < 0) {
      errno = code, ok = sys_fail_errno(e, "cannot run", o->argv[0]);
    } else if (l.failed) {
      waitpid(pid, NULL, 0);
      errno = l.failed;
      ok = sys_fail_errno(e, l.step == 1 ? "cannot enter" : "cannot run",
                          l.step == 1 ? o->cwd : o->argv[0]);
    } else {
      p->pid = pid;
    }
  }
  for (int i = 0; i < 3; i++) close_fd(&l.fd[i]);
  if (!ok) close_fd(&p->in), close_fd(&p->out), close_fd(&p->err);
  mt_free(exe);
  return ok;
}

static bool reap(sys_proc *p) {
  int status;
  struct rusage u;
  pid_t r = wait4(p->pid, &status, WNOHANG, &u);
  if (r == 0 || (r < 0 && errno == EINTR)) return false;
  p->done = true;
  p->code = -1;
  if (r < 0) return true; /* reaped by somebody else (SIGCHLD ignored) */
  if (WIFEXITED(status)) p->code = WEXITSTATUS(status);
  else if (WIFSIGNALED(status)) p->signal = WTERMSIG(status);
  p->peak_rss = (double)u.ru_maxrss * 1024;
  p->cpu_seconds = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                   1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
  return true;
}

bool sys_wait(sys_proc *p, double deadline) {
  double nap = 0.0001;
  if (!p->pid) return true;
  while (!p->done && !reap(p)) {
    double now = sys_clock();
    if (mt_interrupted || (deadline >= 0 && now >= deadline)) return false;
    double d = deadline >= 0 && deadline - now < nap ? deadline - now : nap;
    struct timespec ts = {(time_t)d, (long)((d - (double)(time_t)d) * 1e9)};
    nanosleep(&ts, NULL);
    if (nap < 0.005) nap *= 1.5;
  }
  return true;
}

void sys_kill(sys_proc *p, int signal) {
  if (!p->pid || p->done || reap(p)) return;
  if (!p->group || kill(-p->pid, signal)) kill(p->pid, signal);
}

int sys_poll_ms(double deadline) {
  double left = deadline < 0 ? 1 : deadline - sys_clock();
  return left <= 0 ? 0 : left < 0.05 ? (int)(left * 1000) + 1 : 50;
}

static bool ready(int fd, short what, double deadline, sys_err *e) {
  struct pollfd f = {.fd = fd, .events = what};
  for (;;) {
    int r = poll(&f, 1, sys_poll_ms(deadline));
    if (r > 0) return true;
    if (r < 0 && errno != EINTR) return sys_fail_errno(e, "cannot poll", "pipe");
    if (mt_interrupted) return sys_fail(e, "interrupted");
    if (deadline >= 0 && sys_clock() >= deadline) return sys_fail(e, "timed out");
  }
}

/* SIGPIPE is blocked for the call and taken back if it came: the host program's disposition is not
 * ours to change. */
long sys_pipe_write(int fd, const void *data, size_t n, double deadline, sys_err *e) {
  sigset_t pipe_set, old, pending;
  ssize_t r;
  if (!ready(fd, POLLOUT, deadline, e)) return -1;
  sigemptyset(&pipe_set);
  sigaddset(&pipe_set, SIGPIPE);
  sigpending(&pending);
  pthread_sigmask(SIG_BLOCK, &pipe_set, &old);
  do r = write(fd, data, n < PIPE_BUF ? n : PIPE_BUF); while (r < 0 && errno == EINTR);
  int code = errno;
  if (r < 0 && code == EPIPE && !sigismember(&pending, SIGPIPE)) {
    struct timespec none = {0, 0};
    sigtimedwait(&pipe_set, NULL, &none);
  }
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (r < 0 && code == EPIPE) return 0;
  if (r < 0) return errno = code, sys_fail_errno(e, "cannot write to", "pipe"), -1;
  return (long)r;
}

long sys_pipe_read(int fd, void *data, size_t n, double deadline, sys_err *e) {
  ssize_t r;
  if (!ready(fd, POLLIN, deadline, e)) return -1;
  do r = read(fd, data, n); while (r < 0 && errno == EINTR);
  if (r < 0) return sys_fail_errno(e, "cannot read from", "pipe"), -1;
  return (long)r;
}

void sys_proc_close(sys_proc *p) {
  close_fd(&p->in), close_fd(&p->out), close_fd(&p->err);
  if (p->pid && !p->done) {
    sys_kill(p, SIGKILL);
    while (!p->done && waitpid(p->pid, NULL, 0) < 0 && errno == EINTR) {}
    p->done = true;
  }
  p->pid = 0;
}

double sys_clock(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double sys_time(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

bool sys_sleep(double seconds) {
  double end = sys_clock() + seconds;
  for (double left; (left = end - sys_clock()) > 0;) {
    if (mt_interrupted) return false;
    double d =
        left < 0.02 ? left : 0.02; /* the flag may be set without a signal reaching this thread */
    struct timespec ts = {0, (long)(d * 1e9)};
    nanosleep(&ts, NULL);
  }
  return !mt_interrupted;
}

int sys_cpu_count(void) {
  cpu_set_t set;
  if (!sched_getaffinity(0, sizeof set, &set)) return CPU_COUNT(&set);
  long n = sysconf(_SC_NPROCESSORS_ONLN);
  return n > 0 ? (int)n : 1;
}

/* A field of /proc/self/status, in bytes. */
static uint64_t status_field(const char *name) {
  char line[128];
  unsigned long long kb = 0;
  FILE *f = fopen("/proc/self/status", "re");
  if (!f) return 0;
  while (fgets(line, sizeof line, f))
    if (!strncmp(line, name, strlen(name))) {
      kb = strtoull(line + strlen(name), NULL, 10);
      break;
    }
  fclose(f);
  return kb * 1024;
}

uint64_t sys_rss(void) { return status_field("VmRSS:"); }

uint64_t sys_peak_rss(void) {
  struct rusage u;
  uint64_t v = status_field("VmHWM:");
  if (v || getrusage(RUSAGE_SELF, &u)) return v;
  return (uint64_t)u.ru_maxrss * 1024;
}

uint64_t sys_total_memory(void) {
  long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
  return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;
}
