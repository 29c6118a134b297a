/* tty.c: the terminal behind the editor: raw mode, sizes, reading with time-outs.
 *
 * The terminal is raw only while a block is being read and is put back before anything else
 * runs, also when a signal ends the process.  Bytes typed meanwhile wait in the terminal's
 * queue. */
#define _GNU_SOURCE
#include "term.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct termios cooked;
static volatile sig_atomic_t raw_fd = -1, resized;
static struct sigaction old_winch, old_term;

void term_tty_cooked(void) {
  if (raw_fd >= 0) tcsetattr(raw_fd, TCSADRAIN, &cooked);
  raw_fd = -1;
}

static void on_winch(int sig) {
  (void)sig;
  resized = 1;
}

static void on_term(int sig) {
  term_tty_cooked();
  signal(sig, SIG_DFL);
  raise(sig);
}

bool term_tty_raw(int fd) {
  struct termios t;
  if (tcgetattr(fd, &cooked) != 0) return false;
  t = cooked;
  t.c_iflag &= ~(tcflag_t)(BRKINT | ICRNL | INLCR | INPCK | ISTRIP | IXON);
  t.c_oflag |= OPOST | ONLCR;
  t.c_cflag |= CS8;
  t.c_lflag &= ~(tcflag_t)(ECHO | ICANON | IEXTEN | ISIG);
  t.c_cc[VMIN] = 1;
  t.c_cc[VTIME] = 0;
  if (tcsetattr(fd, TCSADRAIN, &t) != 0) return false;
  raw_fd = fd;
  return true;
}

bool term_tty_size(int fd, int *rows, int *cols) {
  struct winsize w;
  if (ioctl(fd, TIOCGWINSZ, &w) != 0 || w.ws_col == 0) return false;
  *rows = w.ws_row;
  *cols = w.ws_col;
  return true;
}

static bool write_all(int fd, TermBuf *b) {
  size_t done = 0;
  while (done < b->n) {
    ssize_t k = write(fd, b->s + done, b->n - done);
    if (k > 0) done += (size_t)k;
    else if (errno == EAGAIN) poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, 1000);
    else if (errno != EINTR) break;
  }
  bool ok = done == b->n;
  b->n = 0;
  return ok;
}

static void update_size(TermEd *e, int out) {
  int rows, cols;
  resized = 0;
  if (term_tty_size(out, &rows, &cols)) term_resize(e, rows, cols);
}

/* Waits for input; 1 there is some, 0 time is up or the window changed, -1 the terminal is gone. */
static int wait_input(int fd, int ms) {
  struct pollfd p = {.fd = fd, .events = POLLIN};
  struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
  sigset_t none, block;
  sigemptyset(&block);
  sigaddset(&block, SIGWINCH);
  sigprocmask(SIG_BLOCK, &block, &none);
  int r = resized ? 0 : ppoll(&p, 1, ms < 0 ? NULL : &t, &none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  if (r < 0) return errno == EINTR ? 0 : -1;
  return r > 0 && !(p.revents & POLLIN) ? -1 : r;
}

/* Feeds what there is and what follows at once, so that a paste is drawn only when it is in. */
static TermEvent pump(TermEd *e, int in) {
  char s[65536];
  int r = wait_input(in, term_waiting(e) ? 50 : -1);
  if (r < 0) return TERM_CLOSED;
  if (r == 0) return term_waiting(e) && !resized ? term_timeout(e) : TERM_MORE;
  TermEvent ev;
  do {
    ssize_t n = read(in, s, sizeof s);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return TERM_MORE;
    if (n <= 0) return TERM_CLOSED;
    ev = term_feed(e, s, (size_t)n);
  } while (ev == TERM_MORE && wait_input(in, 0) > 0);
  return ev;
}

static void suspend(TermEd *e, int in, int out) {
  term_buf_str(term_output(e), "\r\n\033[?2004l");
  write_all(out, term_output(e));
  term_tty_cooked();
  raise(SIGTSTP);
  term_tty_raw(in);
  term_buf_str(term_output(e), "\033[?2004h");
  term_restart(e);
}

static void handle_signals(void) {
  struct sigaction sa;
  memset(&sa, 0, sizeof sa);
  sigemptyset(&sa.sa_mask);
  sa.sa_handler = on_winch;
  sigaction(SIGWINCH, &sa, &old_winch);
  sa.sa_handler = on_term;
  sigaction(SIGTERM, &sa, &old_term);
}

TermEvent term_tty_read(TermEd *e, int in, int out) {
  if (!term_tty_raw(in)) return TERM_CLOSED;
  handle_signals();
  update_size(e, out);
  term_buf_str(term_output(e), "\033[?2004h");
  TermEvent ev = term_feed(e, "", 0);
  while (ev == TERM_MORE || ev == TERM_SUSPEND) {
    if (ev == TERM_SUSPEND) suspend(e, in, out);
    if (resized) update_size(e, out);
    term_refresh(e);
    if (!write_all(out, term_output(e))) {
      ev = TERM_CLOSED;
      break;
    }
    ev = pump(e, in);
  }
  term_buf_str(term_output(e), "\033[?2004l");
  write_all(out, term_output(e));
  term_tty_cooked();
  sigaction(SIGWINCH, &old_winch, NULL);
  sigaction(SIGTERM, &old_term, NULL);
  return ev;
}
