/* term_test.c: the editor without a terminal: keys in, text and screen out; random input; the
 * history file shared by eight processes. */
#define _GNU_SOURCE
#include "../../stdlib/term/buf.c"
#include "../../stdlib/term/ed.c"
#include "../../stdlib/term/hist.c"
#include "../../stdlib/term/keys.c"
#include "../../stdlib/term/lualex.c"
#include "../../stdlib/term/mode.c"
#include "../../stdlib/term/text.c"
#include "../../stdlib/term/view.c"
#include "../../stdlib/term/width.c"
#include <stdio.h>
#include <sys/wait.h>

static int passed, failed;

static void result(const char *name, bool ok, const char *got) {
  if (ok) passed++;
  else failed++, printf("FAIL %s: got '%s'\n", name, got);
}

/* A block is complete when its brackets are. */
static TermVerdict check(void *ud, const char *s, size_t n, size_t *from, size_t *to) {
  int depth = 0;
  for (size_t i = 0; i < n; i++) depth += (s[i] == '(') - (s[i] == ')');
  if (depth < 0) return *from = n - 1, *to = n, TERM_WRONG;
  return depth > 0 ? TERM_INCOMPLETE : TERM_COMPLETE;
}

static void complete(void *ud, const char *s, size_t n, size_t cursor, TermCompletion *out) {
  static const char *const words[] = {"alpha", "alphabet", "beta"};
  size_t from = cursor;
  while (from > 0 && isalpha((unsigned char)s[from - 1])) from--;
  out->from = from;
  for (int i = 0; i < 3; i++)
    if (strncmp(words[i], s + from, cursor - from) == 0)
      term_candidate(out, words[i], strlen(words[i]), "a note");
}

static void hint(void *ud, const char *s, size_t n, size_t cursor, TermBuf *out) {
  if (n && s[n - 1] == '(') term_buf_str(out, "f(\1first\2, second)");
}

static const TermHooks hooks = {NULL, check, complete, hint};

/* The text after the keys; screen work is done after each byte when slow. */
static const char *typed(TermEd *e, const char *keys, size_t n, bool slow) {
  size_t len;
  term_begin(e, "> ", ">> ");
  if (!slow) term_feed(e, keys, n);
  for (size_t i = 0; slow && i < n; i++) {
    term_feed(e, keys + i, 1);
    term_refresh(e);
    term_output(e)->n = 0;
  }
  return term_text(e, &len);
}

static void keys_case(const char *name, const char *keys, const char *want) {
  TermHist *h = term_hist_open(NULL);
  term_hist_add(h, "old entry", 9);
  term_hist_add(h, "alpha beta\nsecond line", 22);
  TermEd *e = term_new(&hooks, h);
  for (int slow = 0; slow < 2; slow++) {
    const char *got = typed(e, keys, strlen(keys), slow);
    result(name, strcmp(got, want) == 0, got);
  }
  term_free(e);
  term_hist_free(h);
}

static void t_keys(void) {
  keys_case("plain", "abc", "abc");
  keys_case("arrows", "ac\033[Db", "abc");
  keys_case("home and end", "bc\001a\005d", "abcd");
  keys_case("words", "one two\033bX", "one Xtwo");
  keys_case("kill and yank", "one two\027\001\031", "twoone ");
  keys_case("two kills are one", "one two\027\027\031", "one two");
  keys_case("yank pop", "one\025two\025\031\033y", "one");
  keys_case("undo", "abc def\027\037", "abc def");
  keys_case("transpose", "ab\024", "ba");
  keys_case("case", "abc\001\033u", "ABC");
  keys_case("delete", "abc\001\033[3~", "bc");
  keys_case("backspace over a cluster", "e\xCC\x81\x7F", "");
  keys_case("wide", "\xE6\x97\xA5\xE6\x9C\xAC\033[D\x7F", "\xE6\x9C\xAC");
  keys_case("incomplete", "f(\ra)", "f(\n  a)");
  keys_case("alt enter", "a\033\rb", "a\nb");
  keys_case("up takes the last block", "\033[A", "alpha beta\nsecond line");
  keys_case("up by prefix", "old\033[A", "old entry");
  keys_case("up and down again", "draft\033[A\033[B", "draft");
  keys_case("suggestion", "old\033[C", "old entry");
  keys_case("one word of it", "alpha\033f", "alpha beta");
  keys_case("search", "\022second\r", "alpha beta\nsecond line");
  keys_case("search left", "mine\022zzz\007", "mine");
  keys_case("complete one", "b\t", "beta");
  keys_case("complete the prefix", "al\t", "alpha");
  keys_case("through the menu", "al\t\t\t", "alphabet");
  keys_case("paste", "\033[200~a\r\nb\n\033[201~", "a\nb\n");
  keys_case("paste of a transcript", "\033[200~> x = 1\n> x\n1\n\033[201~", "x = 1\nx\n");
  keys_case("paste with escapes in it", "\033[200~a\033[31mb\033[201~", "a\033[31mb");
  keys_case("unknown sequences", "a\033[99;99Xb\033[1;5Pc", "abc");
  keys_case("modified arrows", "one two\033[1;5D\033[1;5D-", "-one two");
  keys_case("broken UTF-8", "a\xFF\xC3(b)", "a\xFF\xC3(b)");
}

static void t_width(void) {
  static const struct { const char *s; int w;
  } rows[] = {{"abc", 3},
              {"\xC3\xA9", 1},
              {"e\xCC\x81", 1},
              {"\xE6\x97\xA5", 2},
              {"\xF0\x9F\x91\x8D", 2},
              {"\xF0\x9F\x91\x8D\xF0\x9F\x8F\xBD", 2},
              {"\xF0\x9F\x87\xA9\xF0\x9F\x87\xAA", 2},
              {"\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x92\xBB", 2},
              {"\xFF", 4},
              {"\001", 2},
              {"\xE2\x80\x8B", 1},
              {"\xEA\xB0\x80", 2},
              {"\xE2\x9D\xA4\xEF\xB8\x8F", 2},
              {"\xE2\x80\xAE", 6},
              {"", 0}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char got[16];
    snprintf(got, sizeof got, "%d", term_width(rows[i].s, strlen(rows[i].s)));
    result(rows[i].s, atoi(got) == rows[i].w, got);
  }
}

static void t_styles(void) {
  static const struct { const char *s, *want;
  } rows[] = {{"if x", "1105"},
              {"\"a\\\"b\" c", "33333305"},
              {"--[[ x ]] y", "44444444405"},
              {"[==[ ]] ]==]x", "3333333333335"},
              {"0x1p-2", "222222"},
              {"f(1)", "7626"},
              {"%time x", "9999905"},
              {"a..b", "5665"}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    uint8_t style[64];
    size_t n = strlen(rows[i].s);
    term_lua_styles(rows[i].s, n, style);
    for (size_t k = 0; k < n; k++) style[k] += '0';
    style[n] = 0;
    result(rows[i].s, strcmp((char *)style, rows[i].want) == 0, (char *)style);
  }
}

static unsigned seed;
static unsigned rnd(unsigned n) {
  seed = seed * 1664525u + 1013904223u;
  return (seed >> 8) % n;
}

/* Random keys, sizes and refreshes: nothing may break, and what is drawn has no control byte but
 * our own. */
static void t_random(int rounds) {
  static const char *const bits[] = {
      "\033[A",    "\033[B",       "\033[C",    "\033[D",
      "\t",        "\022",         "\r",        "(",
      ")",         "\xE6\x97\xA5", "\xCC\x81",  "\033[200~",
      "\033[201~", "\x7F",         "\027",      "\031",
      "\037",      "\033y",        "\001",      "\005",
      "word ",     "\xFF",         "\033",      "\xF0\x9F\x91\xA9\xE2\x80\x8D",
      "\003",      "\t\t",         "\033[1;5C", "\n",
      "\013",      "\024",         "\033u",     "\033d",
      "\007",      "\004"};
  bool clean = true;
  TermHist *h = term_hist_open(NULL);
  TermEd *e = term_new(&hooks, h);
  term_begin(e, "> ", ">> ");
  for (int i = 0; i < rounds; i++) {
    TermEvent ev = TERM_MORE;
    if (rnd(4)) {
      const char *s = bits[rnd(sizeof bits / sizeof bits[0])];
      ev = term_feed(e, s, strlen(s));
    } else {
      char c = (char)rnd(256);
      ev = term_feed(e, &c, 1);
    }
    if (rnd(20) == 0) ev = term_timeout(e);
    if (rnd(50) == 0) term_resize(e, 1 + (int)rnd(30), 1 + (int)rnd(100));
    if (rnd(3) == 0) term_refresh(e);
    for (size_t k = 0; k < term_output(e)->n; k++) {
      unsigned char c = (unsigned char)term_output(e)->s[k];
      if (c < 32 && c != '\r' && c != '\n' && c != 27) clean = false;
    }
    term_output(e)->n = 0;
    if (e->cur > e->text.n) clean = false;
    if (ev != TERM_MORE || e->text.n > 3000) term_begin(e, "> ", ">> ");
  }
  result("random keys", clean, "a control byte on the screen or a cursor outside");
  term_free(e);
  term_hist_free(h);
}

static void t_long_line(void) {
  size_t n = 1000000, len;
  char *s = mt_malloc(n);
  memset(s, 'x', n);
  TermEd *e = term_new(&hooks, NULL);
  term_begin(e, "> ", ">> ");
  term_feed(e, s, n);
  term_refresh(e);
  term_feed(e, "\001\033[C", 4);
  term_refresh(e);
  term_text(e, &len);
  result("a line of 1,000,000 bytes", len == n && term_cursor(e) == 1 && term_output(e)->n < 100000,
         "");
  term_free(e);
  mt_free(s);
}

/* Eight processes add 500 entries each to one file: none is lost or mixed, also of several
 * lines. */
static void t_parallel_history(void) {
  char path[] = "/tmp/moth-hist-XXXXXX", line[64];
  enum { SESSIONS = 8, ENTRIES = 500 };
  static bool seen[SESSIONS][ENTRIES];
  close(mkstemp(path));
  fflush(stdout);
  for (int p = 0; p < SESSIONS; p++)
    if (fork() == 0) {
      TermHist *h = term_hist_open(path);
      for (int i = 0; i < ENTRIES; i++) {
        snprintf(line, sizeof line, "session %d\n  entry %d\nend", p, i);
        if (term_hist_add(h, line, strlen(line)) != 0) _exit(1);
      }
      term_hist_free(h);
      _exit(0);
    }
  int status, good = 0;
  while (wait(&status) > 0) good += status == 0;
  TermHist *h = term_hist_open(path);
  size_t count = term_hist_count(h), n, whole = 0;
  for (size_t i = 0; i < count; i++) {
    int p, k, end = 0;
    const char *s = term_hist_get(h, i, &n);
    if (sscanf(s, "session %d\n entry %d\nend%n", &p, &k, &end) != 2 || end != (int)n || seen[p][k])
      continue;
    seen[p][k] = true;
    whole++;
  }
  result("parallel history", good == SESSIONS && count == SESSIONS * ENTRIES && whole == count,
         "entries lost or mixed");
  term_hist_free(h);
  unlink(path);
}

static void t_torn_history(void) {
  char path[] = "/tmp/moth-hist-XXXXXX";
  int fd = mkstemp(path);
  if (write(fd, "one\ntwo\n\tmore\nto", 16) != 16) return;
  close(fd);
  TermHist *h = term_hist_open(path);
  term_hist_add(h, "four", 4);
  size_t n, count = term_hist_count(h);
  term_hist_free(h);
  h = term_hist_open(path);
  bool ok =
      count == 4 && term_hist_count(h) == 4 && strcmp(term_hist_get(h, 1, &n), "two\nmore") == 0 &&
      strcmp(term_hist_get(h, 2, &n), "to") == 0 && strcmp(term_hist_get(h, 3, &n), "four") == 0;
  result("a torn last line", ok, "");
  term_hist_free(h);
  unlink(path);
}

int main(int argc, char **argv) {
  seed = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
  t_keys();
  t_width();
  t_styles();
  t_random(argc > 1 ? atoi(argv[1]) : 20000);
  t_long_line();
  t_parallel_history();
  t_torn_history();
  printf("%d passed, %d failed\n", passed, failed);
  return failed > 0;
}
