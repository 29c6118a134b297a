/* pty_editor_test.c: the editor on a pseudo-terminal: blocks, pastes, search, keys, widths, sizes,
 * colours, and what is no text at all. */
#define _GNU_SOURCE
#include "pty.h"

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

/* Noise inside a paste is text, not keys; what cannot be Lua is an error and the session goes on.
 */
static void t_garbage_paste(void) {
  char noise[4000];
  unsigned seed = 7;
  memcpy(noise, "\033[200~", 6);
  for (size_t i = 6; i < sizeof noise; i++) {
    seed = seed * 1103515245u + 12345u;
    noise[i] = (char)(seed >> 16);
    if (noise[i] == 27 || noise[i] == 3) noise[i] = '?'; /* ends no paste */
  }
  send_bytes(noise, sizeof noise);
  keys("\033[201~");
  settle();
  keys("\003");
  expect_prompt();
  keys("\014555 + 111\r");
  expect("666");
  expect_prompt();
}

/* A pasted program of 2,000 lines is one block. */
static void t_long_paste(void) {
  TermBuf b = {0};
  char line[64];
  term_buf_str(&b, "\033[200~total = 0\n");
  for (int i = 1; i <= 2000; i++) {
    snprintf(line, sizeof line, i % 50 ? "total = total + %d\n" : "\n-- %d\n", i);
    term_buf_str(&b, line);
  }
  term_buf_str(&b, "\033[201~");
  send_bytes(b.s, b.n);
  term_buf_free(&b);
  settle();
  keys("\rtotal\r");
  expect("1960000");
  expect_prompt();
}

/* The bracket before the cursor and its partner are drawn in inverse or bold. */
static void t_brackets(void) {
  keys("f(a, (b)");
  settle();
  vt.raw.n = 0;
  keys(")");
  settle();
  term_buf_ch(&vt.raw, 0);
  const char *first = strstr(vt.raw.s, "\033[1;");
  if (!first) fail("no mark for", "the matching bracket");
  else if (!strstr(first + 3, "\033[1;")) fail("one mark only for", "two brackets");
  keys("\025\"(\"");                     /* a bracket in a string has no partner */
  settle();
}

/* Arrows inside a block move between its lines; Home and End within one. */
static void t_arrows(void) {
  keys("if true then\rx = 1\rend\033[A\033[H\033[3~\033[3~\033[F5\r");
  expect_prompt();
  keys("\033[A");
  settle();
  expect("moth> if true then");
  keys("\033[B\033[B\033[B\025");
  expect_prompt();
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

int main(int argc, char **argv) {
  static const PtyCase cases[] = {
      {"block", t_block},
      {"incomplete", t_incomplete},
      {"paste", t_paste},
      {"search", t_search},
      {"suggest", t_suggest},
      {"cancel", t_cancel},
      {"unicode", t_unicode},
      {"emacs", t_emacs},
      {"resize", t_resize},
      {"narrow", t_narrow},
      {"tall", t_tall},
      {"garbage", t_garbage},
      {"garbage_paste", t_garbage_paste},
      {"long_paste", t_long_paste},
      {"brackets", t_brackets},
      {"arrows", t_arrows},
      {"long_line", t_long_line},
      {"color", t_color},
      {"dumb", t_dumb}};
  return pty_run(cases, sizeof cases / sizeof cases[0], argc > 1 ? argv[1] : NULL);
}
