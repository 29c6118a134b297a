/* pty.h: the prompt on a real pseudo-terminal, for tests/c/pty_*_test.c and pty_figures.c.
 *
 * Invariant: vt is the screen that a person would see after all that the program has written so
 * far; cases type keys and look at it.  $MOTH is the program ($B/moth by default).  Each program
 * includes this once, after defining _GNU_SOURCE, and calls pty_run. */
#ifndef TESTS_PTY_H
#define TESTS_PTY_H
#pragma GCC diagnostic ignored "-Wunused-function"
#include "../../stdlib/term/buf.c"
#include "../../stdlib/term/width.c"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

/* ---- the screen ---- */
enum { ROWS = 100, COLS = 240 };
typedef struct { char s[32]; bool bold; } Cell;     /* "" is the right half of a wide character */
static struct {
  int rows, cols, r, c;
  bool wrap, paste_mode;                   /* wrap: the next character goes to the next row */
  Cell cell[ROWS][COLS];
  TermBuf pending, raw;                    /* an unfinished sequence; everything written */
} vt;

static void clear_cells(int r, int from, int to) {
  for (int c = from; c < to; c++) strcpy(vt.cell[r][c].s, " ");
}

static void vt_reset(int rows, int cols) {
  vt.rows = rows;
  vt.cols = cols;
  vt.r = vt.c = 0;
  vt.wrap = vt.paste_mode = false;
  vt.pending.n = vt.raw.n = 0;
  for (int r = 0; r < ROWS; r++) clear_cells(r, 0, COLS);
}

static void line_feed(void) {
  if (vt.r + 1 < vt.rows) {
    vt.r++;
    return;
  }
  memmove(vt.cell[0], vt.cell[1], sizeof vt.cell[0] * (size_t)(vt.rows - 1));
  clear_cells(vt.rows - 1, 0, COLS);
}

static void put_cluster(const char *s, size_t n, int w) {
  if (w <= 0 || n >= sizeof vt.cell[0][0].s) return;
  if (vt.wrap || vt.c + w > vt.cols) {
    vt.c = 0;
    line_feed();
    vt.wrap = false;
  }
  memcpy(vt.cell[vt.r][vt.c].s, s, n);
  vt.cell[vt.r][vt.c].s[n] = 0;
  if (w == 2) vt.cell[vt.r][vt.c + 1].s[0] = 0;
  vt.c += w;
  if (vt.c >= vt.cols) {
    vt.c = vt.cols - 1;
    vt.wrap = true;
  }
}

static void csi_command(char final, const char *args) {
  int n = atoi(args);
  vt.wrap = false;
  switch (final) {
    case 'A': vt.r -= n ? n : 1; break;
    case 'B': vt.r += n ? n : 1; break;
    case 'C': vt.c += n ? n : 1; break;
    case 'D': vt.c -= n ? n : 1; break;
    case 'H': vt.r = vt.c = 0; break;
    case 'K': clear_cells(vt.r, vt.c, vt.cols); break;
    case 'J':
      if (n == 2) for (int r = 0; r < vt.rows; r++) clear_cells(r, 0, vt.cols);
      else {
        clear_cells(vt.r, vt.c, vt.cols);
        for (int r = vt.r + 1; r < vt.rows; r++) clear_cells(r, 0, vt.cols);
      }
      break;
    case 'h': case 'l':
      if (strcmp(args, "?2004") == 0) vt.paste_mode = final == 'h';
      break;
    default: break;
  }
  if (vt.r < 0) vt.r = 0;
  if (vt.r >= vt.rows) vt.r = vt.rows - 1;
  if (vt.c < 0) vt.c = 0;
  if (vt.c >= vt.cols) vt.c = vt.cols - 1;
}

/* Bytes of one item at s; 0 when it is unfinished. */
static size_t vt_item(const char *s, size_t n) {
  if (s[0] == '\r') return vt.c = 0, vt.wrap = false, 1;
  if (s[0] == '\n') return line_feed(), 1;
  if (s[0] == 8) return vt.c -= vt.c > 0, 1;
  if (s[0] == 7) return 1;
  if (s[0] == 27) {
    if (n < 2) return 0;
    if (s[1] != '[') return 2;
    for (size_t i = 2; i < n; i++)
      if (s[i] >= '@' && s[i] <= '~') {
        char args[64] = "";
        if (i - 2 < sizeof args) memcpy(args, s + 2, i - 2), args[i - 2] = 0;
        csi_command(s[i], args);
        return i + 1;
      }
    return 0;
  }
  int w;
  size_t k = term_cluster(s, n, &w);
  if ((signed char)s[0] < 0 && k == n && n < 4) {           /* perhaps half a character */
    uint32_t cp;
    term_decode(s, n, &cp);
    if (cp == TERM_BAD) return 0;
  }
  put_cluster(s, k, w);
  return k;
}

static void vt_write(const char *s, size_t n) {
  term_buf_add(&vt.raw, s, n);
  term_buf_add(&vt.pending, s, n);
  size_t at = 0;
  while (at < vt.pending.n) {
    size_t k = vt_item(vt.pending.s + at, vt.pending.n - at);
    if (k == 0) break;
    at += k;
  }
  term_buf_erase(&vt.pending, 0, at);
}

/* Row r as text without blanks at its end, in a static buffer. */
static const char *row_text(int r) {
  static char text[COLS * 32];
  size_t n = 0;
  for (int c = 0; c < vt.cols; c++) {
    size_t k = strlen(vt.cell[r][c].s);
    memcpy(text + n, vt.cell[r][c].s, k);
    n += k;
  }
  while (n > 0 && text[n - 1] == ' ') n--;
  text[n] = 0;
  return text;
}

static bool on_screen(const char *text) {
  for (int r = 0; r < vt.rows; r++)
    if (strstr(row_text(r), text)) return true;
  return false;
}

/* ---- the program ---- */
static int master = -1;
static pid_t child;
static char tmp[64];                       /* a folder of this run */
static int passed, failed;
static const char *case_name = "";
static bool case_failed;

static void fail(const char *what, const char *text) {
  case_failed = true;
  printf("FAIL %s: %s '%s'\n", case_name, what, text);
  if (getenv("PTY_SHOW"))
    for (int r = 0; r < vt.rows; r++) printf("  |%s\n", row_text(r));
}

static long now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool pump(int ms) {
  static char s[1 << 16];
  struct pollfd p = {.fd = master, .events = POLLIN};
  if (poll(&p, 1, ms) <= 0) return false;
  ssize_t n = read(master, s, sizeof s);
  if (n <= 0) return false;
  vt_write(s, (size_t)n);
  return true;
}

static void set_size(int rows, int cols) {
  struct winsize w = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols};
  ioctl(master, TIOCSWINSZ, &w);
}

/* env: "NAME=value" strings up to a NULL, on top of a plain environment */
static void start_with(int rows, int cols, const char *const *env) {
  const char *moth = getenv("MOTH");
  char path[512], hist[128], *own = NULL;
  snprintf(path, sizeof path, "%s%s", getenv("B") ? getenv("B") : "build", "/moth");
  if (moth) snprintf(path, sizeof path, "%s", moth);
  snprintf(hist, sizeof hist, "MOTH_HISTORY=%s/history", tmp);
  vt_reset(rows, cols);
  master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  grantpt(master);
  unlockpt(master);
  own = strdup(ptsname(master));
  set_size(rows, cols);
  fflush(stdout);
  child = fork();
  if (child == 0) {
    setsid();
    int fd = open(own, O_RDWR);
    ioctl(fd, TIOCSCTTY, 0);
    for (int i = 0; i < 3; i++) dup2(fd, i);
    const char *san = getenv("ASAN_OPTIONS"); /* of a sanitizer build */
    clearenv();
    if (san) setenv("ASAN_OPTIONS", san, 1);
    putenv("TERM=xterm-256color");
    putenv("LANG=C.UTF-8");
    putenv("PATH=/usr/bin:/bin");
    putenv(hist);
    for (; env && *env; env++) putenv((char *)*env);
    execl(path, "moth", (char *)NULL);
    _exit(127);
  }
  free(own);
}

static void send_bytes(const char *s, size_t n) {
  while (n > 0) {
    struct pollfd p = {.fd = master, .events = POLLIN | POLLOUT};
    poll(&p, 1, 1000);
    if (p.revents & POLLIN) pump(0);
    if (!(p.revents & POLLOUT)) continue;
    ssize_t k = write(master, s, n < 1024 ? n : 1024);
    if (k <= 0) return;
    s += k;
    n -= (size_t)k;
  }
}
static void keys(const char *s) { send_bytes(s, strlen(s)); }

static bool wait_limit(const char *text, int ms) {
  long end = now_ms() + ms;
  while (!on_screen(text))
    if (now_ms() > end || (!pump(20) && now_ms() > end)) return false;
  return true;
}
static void expect(const char *text) {
  if (!wait_limit(text, 10000)) fail("the screen lacks", text);
}

/* Everything written so far is on the screen and nothing follows for a moment. */
static void settle(void) { while (pump(70)) {} }

/* The last row that is not empty. */
static const char *last_row(void) {
  for (int r = vt.rows - 1; r >= 0; r--)
    if (*row_text(r)) return row_text(r);
  return "";
}

static void expect_prompt(void) {
  long end = now_ms() + 10000;
  do { settle(); } while (strcmp(last_row(), "moth>") != 0 && now_ms() < end);
  if (strcmp(last_row(), "moth>") != 0) fail("no prompt but", last_row());
}

static void lacks(const char *text) {
  settle();
  if (on_screen(text)) fail("the screen has", text);
}

static void cursor_at(int col) {
  settle();
  char text[64];
  snprintf(text, sizeof text, "column %d, want %d", vt.c, col);
  if (vt.c != col) fail("cursor in", text);
}

static int wait_exit(int ms) {
  int status;
  for (long end = now_ms() + ms; now_ms() < end; usleep(2000)) {
    pump(0);
    if (waitpid(child, &status, WNOHANG) == child) {
      child = 0;
      return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
    }
  }
  return -1;
}

static void stop(void) {
  if (child > 0) {
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    child = 0;
  }
  if (master >= 0) close(master);
  master = -1;
}

static void start(void) {
  start_with(24, 80, NULL);
  expect("moth>");
}

static TermBuf history_text(void) {
  char path[128];
  TermBuf b = {0};
  snprintf(path, sizeof path, "%s/history", tmp);
  FILE *f = fopen(path, "r");
  for (int c; f && (c = getc(f)) != EOF;) term_buf_ch(&b, (char)c);
  if (f) fclose(f);
  if (!b.s) term_buf_str(&b, "");
  return b;
}

static void forget_history(void) {
  char path[128];
  snprintf(path, sizeof path, "%s/history", tmp);
  unlink(path);
}

/* ---- the run ---- */
typedef struct { const char *name; void (*fn)(void); } PtyCase;

static bool pty_begin(void) {
  signal(SIGPIPE, SIG_IGN);
  strcpy(tmp, "/tmp/moth-pty-XXXXXX");
  return mkdtemp(tmp) != NULL;
}

static void pty_end(void) {
  char command[128];
  snprintf(command, sizeof command, "rm -r %s", tmp);
  if (system(command) != 0) puts("the temporary folder stays");
}

/* Does this machine give pseudo-terminals?  A bare container may not have /dev/pts. */
static bool has_terminals(void) {
  int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  int slave = fd >= 0 && grantpt(fd) == 0 && unlockpt(fd) == 0 && ptsname(fd)
                  ? open(ptsname(fd), O_RDWR | O_NOCTTY)
                  : -1;
  bool ok = slave >= 0;
  if (ok) close(slave);
  if (fd >= 0) close(fd);
  return ok;
}

/* Runs the cases whose name has `only` in it, each in a fresh session; the exit status. */
static int pty_run(const PtyCase *cases, size_t n, const char *only) {
  if (!has_terminals()) {
    printf("SKIP %zu cases at the prompt: no pseudo-terminal here (%s)\n0 passed, 0 failed\n", n,
           strerror(errno));
    return 0;
  }
  if (!pty_begin()) return 1;
  for (size_t i = 0; i < n; i++) {
    if (only && !strstr(cases[i].name, only)) continue;
    case_name = cases[i].name;
    case_failed = false;
    forget_history();
    start();
    cases[i].fn();
    stop();
    if (case_failed) failed++; else passed++;
  }
  pty_end();
  printf("%d passed, %d failed\n", passed, failed);
  return failed > 0 || passed == 0;
}
#endif
