/* pty_test.c: the prompt on a real pseudo-terminal.  A small model of a terminal keeps the
 * screen that a person would see; cases type keys and look at it.  $MOTH is the program ($B/moth
 * by default). */
#define _GNU_SOURCE
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
static const char *case_name;
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
    clearenv();
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

/* ---- the cases ---- */
static void t_echo(void) {
  keys("1 + 1\r");
  expect("2");
  keys("x = {1, 2, a = 'b'}\rx\r");
  expect("{ 1, 2, a = \"b\" }");
  keys("7 * 6;\r_ + 100000\r");
  expect("100042");
  keys("'a', 'b'\r");
  expect("\"b\"");
  keys("_1 + 40000\r");
  expect("40002");
  expect_prompt();
}

static void t_block(void) {
  keys("function f(a)\r");
  expect("   >>");
  keys("return a * 2\r");
  keys("end\r");
  keys("f(21)\r");
  expect("42");
  expect_prompt();
  keys("\033[A\033[A");                    /* the block again */
  settle();
  keys("\033[A\033[F\x7F" "3\r");          /* its second line: a * 3 */
  expect_prompt();
  keys("f(21)\r");
  expect("63");
  TermBuf h = history_text();
  if (!strstr(h.s, "function f(a)\n\t  return a * 2\n\tend\n"))
    fail("history lacks the block", h.s);
  term_buf_free(&h);
}

static void t_incomplete(void) {
  keys("y = (1 +\r");
  expect("   >>");
  keys("2)\ry\r");
  expect("3");
  keys("x = = 2\r");
  expect("unexpected symbol near '='");
  expect("    ^");
  keys("s = [[a\rb]]\r#s\r");
  expect("3");
  expect_prompt();
}

static void t_paste(void) {
  if (!vt.paste_mode) fail("bracketed paste is", "off");
  keys("\033[200~p = 1\nq = 2\n\np + q + 4000\n\033[201~");
  settle();
  expect("p + q + 4000");
  lacks("4003");
  keys("\r");
  expect("4003");
  expect_prompt();
  keys(
      "\033[200~moth> r = 5\nmoth> r * 1111\n5555\nmoth> function g()\n   >> return 8\n   >> "
      "end\n\033[201~\r");
  expect("5555");
  keys("g() * 1000\r");
  expect("8000");
  expect_prompt();
}

static void t_locals(void) {
  keys("local n = 10\rlocal function inc() n = n + 1 return n end\rinc()\r");
  expect("11");
  keys("n * 1000\r");
  expect("11000");
  keys("local n = 5; local k <const> = 7\rinc() * 100\r");
  expect("1200");                          /* inc keeps its own n */
  keys("n + k\r");
  expect("12");
  keys("k = 1\r");
  expect("attempt to assign to const variable 'k'");
  keys("local a, b = 3; error('boom')\ra * 700\r");
  expect("2100");
  expect_prompt();
}

static void t_errors(void) {
  keys("strng.rep('x', 3)\r");
  expect("attempt to index a nil value (global 'strng') (did you mean 'string'?)");
  expect("^~~~~");
  keys("('x'):rpe(3)\r");
  expect("method 'rpe'");
  keys("t = {value = 1}; t.valeu.x = 1\r");
  expect("did you mean 'value'?");
  keys("function outer() error('deep') end\router()\r");
  expect("called from [");
  expect_prompt();
}

static void t_search(void) {
  keys("alpha = 101\rbeta = 202\rgamma = 303\r");
  expect_prompt();
  keys("\022");
  expect("search:");
  keys("bet");
  expect("> beta = 202");
  keys("\r");
  settle();
  if (strcmp(last_row(), "moth> beta = 202") != 0) fail("found", last_row());
  keys("\003\022zzzz");
  expect("nothing found");
  keys("\007");
  expect_prompt();
}

static void t_suggest(void) {
  keys("longvariablename = 77\r");
  expect_prompt();
  keys("longv");
  expect("longvariablename = 77");
  keys("\033[C\r");
  expect_prompt();
  TermBuf h = history_text();
  if (strstr(h.s, "longv\n")) fail("suggestion not taken", h.s);
  term_buf_free(&h);
}

static void t_complete(void) {
  keys("string.for\t");
  settle();
  expect("string.format");
  keys("\025math.s\t");
  expect("sqrt");
  keys("\t");
  settle();
  expect("moth> math.sin");
  keys("\033");
  settle();
  keys("\025math.sq\t");
  settle();
  expect("moth> math.sqrt");
  keys("(16)\r");
  expect("4.0");
  keys("whi\t");
  settle();
  expect("moth> while");
  keys("\025mine = {first = 1, fist = 2}\rmine.fi\t");
  expect("fist");
  keys("\033");
  settle();
  keys("\025require 'repl.sug\t");
  settle();
  expect("require 'repl.suggest");
  keys("\025");
  expect_prompt();
}

static void t_hint(void) {
  keys("string.find(");
  expect("find(s, pattern, init=1, plain=false)");
  keys("\025function mul(left, right) return left * right end\r");
  expect_prompt();
  keys("mul(");
  expect("mul(left, right)");
  settle();
  keys("\025");
  expect_prompt();
  lacks("mul(left, right)\n");
}

static void t_help(void) {
  keys("?string.rep\r");
  expect("n copies of s");
  keys("string.rep?\r");
  expect_prompt();
  keys("help(string.upper)\r");
  expect("letters made capital");
  keys("apropos \"bytecode\"\r");
  expect("string.dump");
  keys("?nosuchthing\r");
  expect("nothing is documented under 'nosuchthing'");
  expect_prompt();
}

static void t_commands(void) {
  keys("who_a = 5\r%who\r");
  expect("who_a");
  keys("%time 1 + 1\r");
  expect("(CPU");
  keys("%tme 1\r");
  expect("did you mean %time?");
  keys("!echo shell-$((1+1))\r");
  expect("shell-2");
  keys("%mem\r");
  expect("Lua ");
  char text[200];
  snprintf(text, sizeof text,
           "local sv = 12\r%%save %s/s.lua\rsv = 1\r%%restore %s/s.lua\rsv * 100\r", tmp, tmp);
  keys(text);
  expect("1200");
  expect_prompt();
}

static void interrupt_of(const char *code) {
  keys("kept = 12345\r");
  expect_prompt();
  keys(code);
  usleep(250000);
  pump(0);
  keys("\003");
  expect("interrupted");
  expect_prompt();
  keys("kept + 1\r");
  expect("12346");
  expect_prompt();
  keys("\014");                            /* a clean screen for the next */
  settle();
}

static void t_interrupt(void) {
  interrupt_of("while true do end\r");
  interrupt_of("string.find(string.rep('a', 100000), '.*b')\r");
  interrupt_of("while true do pcall(function() while true do end end) end\r");
  interrupt_of("coroutine.wrap(function() while true do end end)()\r");
  interrupt_of(
      "t = {} for i = 1, 3e6 do t[i] = (i * 7919) % 1000003 end while true do table.sort(t) end\r");
  interrupt_of("io.read()\r");
  interrupt_of("while true do string.rep('x', 1000, 'y') end\r");
  interrupt_of("while true do print('line') end\r");
  interrupt_of("(('x'):rep(3e7)):gsub('.', '%0%0')\r");
}

/* Interrupts at random moments of random work; $PTY_INTERRUPTS says how many (30).  Nothing is
 * lost. */
static void t_random_interrupts(void) {
  static const char *const work[] = {
    "while true do local t = {} for i = 1, 100 do t[i] = {i} end end\r",
    "while true do string.find(string.rep('a', 5000), '.*b') end\r",
    "while true do local t = {} for i = 1, 5000 do t[i] = -i end table.sort(t) end\r",
    "while true do pcall(error, 'x') end\r",
    "while true do coroutine.wrap(function() coroutine.yield(1) end)() end\r",
    "while true do x = torch.randn(300, 300):add(1):mul(2) end\r",
    "while true do x = torch.ones(200, 200):matmul(torch.ones(200, 200)) end\r",
    "while true do print(('x'):rep(50)) end\r",
    "while true do load('return ' .. ('1 + '):rep(1000) .. '1')() end\r",
    "while true do local s = 'x' for i = 1, 1000 do s = s:gsub('x', 'xx', 1) end end\r"};
  const char *wanted = getenv("PTY_INTERRUPTS");
  int n = wanted ? atoi(wanted) : 30;
  long worst = 0;
  unsigned seed = 42;
  keys("kept = {}; for i = 1, 100 do kept[i] = i end\r");
  for (int i = 0; i < n && !case_failed; i++) {
    seed = seed * 1664525u + 1013904223u;
    keys(work[(seed >> 8) % (sizeof work / sizeof work[0])]);
    long until = now_ms() + 30 + (long)((seed >> 16) % 60);
    while (now_ms() < until) pump(2);
    long from = now_ms();
    keys("\003");
    /* the prompt is drawn in colour after the word */
    while (!(on_screen("interrupted") && strcmp(last_row(), "moth>") == 0) &&
           now_ms() - from < 5000)
      pump(5);
    long took = now_ms() - from;
    if (took > worst) worst = took;
    if (took >= 5000) fail("no prompt after interrupt of", work[(seed >> 8) % 10]);
    keys("\014");
    pump(20);
  }
  keys("table.concat(kept, '') == table.concat(kept) and #kept * 100\r");
  expect("10000");
  if (wanted) printf("%d interrupts, the slowest answer took %ld ms\n", n, worst);
}

static void t_cancel(void) {
  keys("abandoned text");
  settle();
  keys("\003");
  expect("abandoned text^C");
  expect_prompt();
  keys("\033[A");                          /* it can be had back */
  settle();
  if (strcmp(last_row(), "moth> abandoned text") != 0) fail("recalled", last_row());
  keys("\025");
}

static void t_unicode(void) {
  keys("-- \xE6\x97\xA5\xE6\x9C\xAC");     /* two wide characters */
  cursor_at(6 + 3 + 4);
  keys("e\xCC\x81");                       /* e with a combining accent */
  cursor_at(6 + 3 + 5);
  keys("\xF0\x9F\x91\x8D\xF0\x9F\x8F\xBD"); /* thumb with a skin tone */
  cursor_at(6 + 3 + 7);
  keys("\033[D\033[D");
  cursor_at(6 + 3 + 4);
  keys("\x7F");
  cursor_at(6 + 3 + 2);
  keys("\005\025s = '\xCE\xBB'\r#s * 1000\r");
  expect("2000");
  expect_prompt();
}

static void t_emacs(void) {
  keys("bbb ccc\001aaa \005 ddd");
  settle();
  expect("aaa bbb ccc ddd");
  keys("\027\027\001\013");                /* ^W ^W ^A ^K */
  settle();
  keys("\031");                            /* ^Y */
  settle();
  expect("moth> aaa bbb");
  keys("\037");                            /* undo */
  lacks("moth> aaa bbb");
  keys("\025x1y\002\024");                 /* ^B ^T */
  settle();
  keys("\025--one two\033b\033d");
  settle();
  if (strcmp(last_row(), "moth> --one") != 0) fail("M-d left", last_row());
  keys("\025");
  expect_prompt();
}

static void t_resize(void) {
  keys("abc = 'a text that is longer than thirty columns to be sure'");
  settle();
  vt_reset(24, 30);
  set_size(24, 30);
  settle();
  keys("\r");
  settle();
  set_size(24, 80);
  vt_reset(24, 80);
  keys("#abc * 1000\r");
  expect("52000");
  expect_prompt();
}

static void t_narrow(void) {
  stop();
  start_with(10, 20, NULL);
  expect("moth>");
  keys("value = 'abcdefghijklmnopqrstuvwxyz'");
  settle();
  expect("moth> value = 'abcde");
  expect("fghijklmnopqrstuvwxy");
  keys("\r#value * 100\r");
  expect("2600");
  keys("math.\t\t\t");
  settle();
  keys(
      "\025for i = 1, 3 do\rfor j = 1, 3 do\rk = i\rl = j\rm = 1\rn = 2\ro = 3\rp = 4\rq = 5\rr = "
      "6\rs = 7\rend\rend\r");
  keys("o * 1111\r");
  expect("3333");
  settle();
}

static void t_tall(void) {
  for (int i = 0; i < 40; i++) {
    char line[64];
    snprintf(line, sizeof line, "v%d = {%s", i, i == 0 ? "\r" : "}\033\r");
    keys(i == 0 ? "all = {\r" : "1,\r");
  }
  settle();
  keys("}\r#all * 1000\r");
  expect("39000");
  expect_prompt();
}

static void t_garbage(void) {
  char noise[3000];
  unsigned seed = 1;
  for (size_t i = 0; i < sizeof noise; i++) {
    seed = seed * 1103515245u + 12345u;
    noise[i] = (char)(seed >> 16);
    if (noise[i] == 4 || noise[i] == 26 || noise[i] == '!' || noise[i] == 24 || noise[i] == '\r' ||
        noise[i] == '\n')
      noise[i] = '.';
  }
  send_bytes(noise, sizeof noise);
  settle();
  keys("\033[201~\003\003\007\007\003");
  settle();
  keys("\025\013555 + 111\r");
  expect("666");
}

static void t_long_line(void) {
  size_t n = 1000000;
  char *s = malloc(n + 32);
  memcpy(s, "\033[200~#'", 8);
  memset(s + 8, 'x', n);
  memcpy(s + 8 + n, "'\033[201~\r", 9);
  send_bytes(s, n + 8 + 8);
  free(s);
  expect("1000000");
  expect_prompt();
}

static void t_color(void) {
  keys("return 5\r");
  expect_prompt();
  term_buf_ch(&vt.raw, 0);
  if (!strstr(vt.raw.s, "\033[35mreturn")) fail("no colour for", "return");
  stop();
  const char *env[] = {"NO_COLOR=1", NULL};
  start_with(24, 80, env);
  expect("moth>");
  keys("return 'x'\rnosuch.x = 1\r");
  expect("nosuch");
  expect_prompt();
  term_buf_ch(&vt.raw, 0);
  for (char *p = vt.raw.s; (p = strstr(p, "\033[")) != NULL; p++)
    if (strspn(p + 2, "0123456789;") && p[2 + strspn(p + 2, "0123456789;")] == 'm')
      return fail("colour", "with NO_COLOR");
}

static void t_dumb(void) {
  stop();
  const char *env[] = {"TERM=dumb", NULL};
  start_with(24, 80, env);
  expect("moth>");
  keys("function f()\nreturn 123\nend\nf() * 2\n");
  expect("246");
  settle();
  term_buf_ch(&vt.raw, 0);
  if (strchr(vt.raw.s, 27)) fail("escape codes on a", "dumb terminal");
}

static void t_exit(void) {
  keys("\004");
  if (wait_exit(5000) != 0) fail("status of ^D is not", "0");
  stop();
  start();
  keys("os.exit(7)\r");
  if (wait_exit(5000) != 7) fail("status is not", "7");
}

static void t_hangup(void) {
  keys("x = 1\r");
  settle();
  close(master);
  master = -1;
  int status;
  for (int i = 0; i < 500; i++) {
    if (waitpid(child, &status, WNOHANG) == child) {
      child = 0;
      return;
    }
    usleep(10000);
  }
  fail("still running after the terminal", "closed");
}

static void t_kill(void) {
  keys("precious = 4711\r");
  expect_prompt();
  kill(child, SIGKILL);
  stop();
  TermBuf h = history_text();
  if (!strstr(h.s, "precious = 4711\n")) fail("history lost", h.s);
  term_buf_free(&h);
  start();
  keys("prec");
  expect("precious = 4711");
}

static void t_full_disk(void) {
  stop();
  const char *env[] = {"MOTH_HISTORY=/dev/full", NULL};
  start_with(24, 80, env);
  expect("moth>");
  keys("1 + 1\r");
  expect("history is not being saved");
  keys("20 + 22\r");
  expect("42");
  keys("\033[A\033[A");
  settle();
  expect("moth> 1 + 1");
}

/* Writes a file into the folder of this run; returns nothing, the tests see what is missing. */
static void write_file(const char *name, const char *text) {
  char path[160];
  snprintf(path, sizeof path, "%s/%s", tmp, name);
  FILE *f = fopen(path, "w");
  if (!f) return;
  fputs(text, f);
  fclose(f);
}

static void t_edit(void) {
  write_file("editor", "#!/bin/sh\necho 'edited_here = 6 * 7' >> \"$1\"\n");
  char editor[96];
  snprintf(editor, sizeof editor, "EDITOR=sh %s/editor", tmp);
  stop();
  const char *env[] = {editor, NULL};
  start_with(24, 80, env);
  expect("moth>");
  keys("%edit\r");
  expect("edited_here");
  keys("edited_here + 1\r");
  expect("43");
  keys("typed = 1\030");                          /* ^X: the block being typed */
  expect("edited_here = 6 * 7");
  keys("\rtyped + edited_here\r");
  expect("43");
  expect_prompt();
}

static void t_reload(void) {
  char text[200];
  write_file("fresh.lua", "return { value = 'old one' }\n");
  snprintf(text, sizeof text, "package.path = '%s/?.lua;' .. package.path\r", tmp);
  keys(text);
  keys("fresh = require 'fresh'; keep = fresh; fresh.value\r");
  expect("old one");
  write_file("fresh.lua", "return { value = 'new one' }\n");
  keys("%reload fresh\r");
  expect("loaded fresh");
  keys("keep.value\r");
  expect("new one");
  write_file("fresh.lua", "return {\n");
  keys("%reload fresh\r");
  expect("error");
  keys("keep.value .. '!'\r");
  expect("new one!");
  keys("%reload nosuch\r");
  expect("no module 'nosuch'");
  expect_prompt();
}

static void t_measuring(void) {
  keys("x = torch.ones(4)\r%timeit x + 1\r");
  expect("1 tensor allocated");
  expect("per call, median");
  expect_prompt();
  keys("%prof for i = 1, 50 do y = x * 2 end\r");
  expect("mul");
  expect_prompt();
  keys("%history\r");
  expect("%prof for i");
  keys("%tour\r");
  expect_prompt();
}

/* The first minute of a person who knows PyTorch: what is typed is no Lua yet. */
static void t_python(void) {
  keys("import torch\r");
  expect("torch, nn, F and optim are there already");
  keys("x = torch.arange(12):view(3, 4)\rx[1:3]\r");
  expect("write  x[\"1:3\"]");
  keys("for i in range(3):\r"); /* Enter does not wait for the end of such a block */
  expect("write  for i = 0, 2 do ... end");
  keys("x.sum(dim=1)\r");
  expect("write  x:sum({dim = 1})");
  keys("x:sum({dim = 1})\r");
  expect("tensor([ 6, 22, 38])");
  keys("x[3]\r");
  expect("indices begin at 0: 0 to 2");
  keys("v = x['1:']\rv\r");
  expect("view of x");
  keys("torch.manual_seed(0)\r'quiet'\r");
  expect("quiet");
  lacks("initial_seed");
  expect_prompt();
}

/* Eight sessions write their histories at once: no entry is lost or mixed. */
static void t_parallel(void) {
  enum { SESSIONS = 8, ENTRIES = 12 };
  pid_t pids[SESSIONS];
  stop();
  fflush(stdout);
  for (int k = 0; k < SESSIONS; k++) {
    pids[k] = fork();
    if (pids[k]) continue;
    char text[64];
    case_failed = false;
    start();
    for (int i = 0; i < ENTRIES; i++) {
      snprintf(text, sizeof text, "parallel_%d_%d = 1\r", k, i);
      keys(text);
    }
    keys("'end' .. 'ed'\r");
    expect("ended");
    stop(); /* kill -9: what was entered is there all the same */
    _exit(case_failed);
  }
  for (int k = 0; k < SESSIONS; k++) {
    int status = 0;
    waitpid(pids[k], &status, 0);
    if (status != 0) fail("a session of eight", "failed");
  }
  TermBuf b = history_text();
  for (int k = 0; k < SESSIONS; k++) {
    for (int i = 0; i < ENTRIES; i++) {
      char want[64];
      snprintf(want, sizeof want, "parallel_%d_%d = 1\n", k, i);
      if (!strstr(b.s, want)) fail("lost from the history", want);
    }
  }
  term_buf_free(&b);
}

static const struct { const char *name; void (*fn)(void);
} cases[] = {{"echo", t_echo},
             {"block", t_block},
             {"incomplete", t_incomplete},
             {"paste", t_paste},
             {"locals", t_locals},
             {"errors", t_errors},
             {"search", t_search},
             {"suggest", t_suggest},
             {"complete", t_complete},
             {"hint", t_hint},
             {"help", t_help},
             {"commands", t_commands},
             {"edit", t_edit},
             {"reload", t_reload},
             {"measuring", t_measuring},
             {"python", t_python},
             {"parallel", t_parallel},
             {"interrupt", t_interrupt},
             {"random_interrupts", t_random_interrupts},
             {"cancel", t_cancel},
             {"unicode", t_unicode},
             {"emacs", t_emacs},
             {"resize", t_resize},
             {"narrow", t_narrow},
             {"tall", t_tall},
             {"garbage", t_garbage},
             {"long_line", t_long_line},
             {"color", t_color},
             {"dumb", t_dumb},
             {"exit", t_exit},
             {"hangup", t_hangup},
             {"kill", t_kill},
             {"full_disk", t_full_disk}};

/* ---- figures, not tests: pty_test --measure ---- */
static double now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}
static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}
static void show(const char *what, double *v, size_t n) {
  qsort(v, n, sizeof *v, by_value);
  printf("%-28s median %7.2f ms  p99 %7.2f ms  max %7.2f ms\n", what, v[n / 2] / 1e3,
         v[n * 99 / 100] / 1e3, v[n - 1] / 1e3);
}

/* Time from a key to the first byte of the answer. */
static double answer_to(const char *key) {
  double from = now_us();
  keys(key);
  pump(2000);
  double took = now_us() - from;
  while (pump(1)) {}
  return took;
}

static void measure(void) {
  static double v[2000];
  size_t n = 0;
  for (int i = 0; i < 30; i++) {
    double from = now_us();
    start_with(24, 80, NULL);
    while (!on_screen("moth>")) pump(100);
    v[n++] = now_us() - from;
    stop();
  }
  show("start to prompt", v, n);
  start();
  const char *text = "local total = string.format('%d', 12) .. tostring(math.floor(x:sum()))";
  for (n = 0; n < 2000;) {
    for (const char *p = text; *p && n < 2000; p++) v[n++] = answer_to((char[]){*p, 0});
    keys("\025");
    settle();
  }
  show("key to echo", v, n);
  static const char *const owners[] = {"torch.", "nn.", "F.", "string.", "optim."};
  keys("x = torch.ones(2)\r");
  settle();
  for (n = 0; n < 520; n++) { /* 500 and more prefixes: owner and two letters, or a global */
    char prefix[16];
    snprintf(prefix, sizeof prefix, "%s%c%s", n % 6 == 5 ? "x:" : owners[n % 6 % 5],
             'a' + (int)(n / 6 % 26),
             n / 156 == 0   ? ""
             : n / 156 == 1 ? "e"
             : n / 156 == 2 ? "o"
                            : "i");
    keys(prefix);
    while (pump(5)) {}
    v[n] = answer_to("\t");
    keys("\033");
    while (pump(60)) {}
    keys("\025");
    while (pump(5)) {}
  }
  show("TAB to list", v, n);
  stop();
}

int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN);
  strcpy(tmp, "/tmp/moth-pty-XXXXXX");
  if (!mkdtemp(tmp)) return 1;
  if (argc > 1 && strcmp(argv[1], "--measure") == 0) return measure(), 0;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    if (argc > 1 && !strstr(cases[i].name, argv[1])) continue;
    case_name = cases[i].name;
    case_failed = false;
    forget_history();
    start();
    cases[i].fn();
    stop();
    if (case_failed) failed++; else passed++;
  }
  char command[128];
  snprintf(command, sizeof command, "rm -r %s", tmp);
  if (system(command) != 0) puts("the temporary folder stays");
  printf("%d passed, %d failed\n", passed, failed);
  return failed > 0 || passed == 0;
}
