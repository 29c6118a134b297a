/* fork.c: a child that goes on with our memory: what a DataLoader's workers are.
 *
 * Invariant.  The child has pipes as standard input and output, a process group of its own (a
 * terminal's Ctrl-C does not reach it), default signals, no other thread, and dies with its parent.
 * It must leave through _exit, so that nothing of the parent's is flushed or freed twice. */
#define _GNU_SOURCE
#include "sys.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <string.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

static void settle_child(int in, int out, pid_t parent) {
  struct sigaction dfl;
  memset(&dfl, 0, sizeof dfl);
  dfl.sa_handler = SIG_DFL;
  for (int s = 1; s < 32; s++) sigaction(s, &dfl, NULL);
#ifdef __linux__
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(0);
#endif
  setpgid(0, 0);
  dup2(in, 0);
  dup2(out, 1);
  __fpurge(stdin); /* what the parent had read ahead is the parent's */
}

bool sys_fork(sys_proc *p, bool *is_child, sys_err *e) {
  int to[2], from[2];
  pid_t self = getpid();
  *p = (sys_proc){.in = -1, .out = -1, .err = -1, .group = true};
  *is_child = false;
  if (pipe2(to, O_CLOEXEC)) return sys_fail_errno(e, "cannot make a pipe for", "a worker");
  if (pipe2(from, O_CLOEXEC)) {
    sys_fail_errno(e, "cannot make a pipe for", "a worker");
    close(to[0]), close(to[1]);
    return false;
  }
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) {
    *is_child = true;
    settle_child(to[0], from[1], self);
  } else if (pid < 0) {
    sys_fail_errno(e, "cannot start", "a worker");
    close(to[1]), close(from[0]);
  }
  close(to[0]), close(from[1]);
  if (pid == 0) close(to[1]), close(from[0]);
  if (pid <= 0) return pid == 0;
  p->pid = pid, p->in = to[1], p->out = from[0];
  return true;
}
