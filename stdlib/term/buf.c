/* buf.c: growing byte strings.  A function that cannot get memory changes nothing and says so. */
#include "term.h"
#include "base.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool room(TermBuf *b, size_t more) {
  if (more > SIZE_MAX / 4 || b->n + more + 1 > SIZE_MAX / 2) return false;
  if (b->n + more < b->cap) return true;
  size_t cap = b->cap ? b->cap * 2 : 64;
  while (cap <= b->n + more) cap *= 2;
  char *s = mt_realloc(b->s, cap);
  if (!s) return false;
  b->s = s;
  b->cap = cap;
  return true;
}

bool term_buf_insert(TermBuf *b, size_t at, const char *s, size_t n) {
  if (!room(b, n)) return false;
  memmove(b->s + at + n, b->s + at, b->n - at);
  if (n) memcpy(b->s + at, s, n);
  b->n += n;
  b->s[b->n] = 0;
  return true;
}

bool term_buf_add(TermBuf *b, const char *s, size_t n) { return term_buf_insert(b, b->n, s, n); }
bool term_buf_str(TermBuf *b, const char *s) { return term_buf_add(b, s, strlen(s)); }
bool term_buf_ch(TermBuf *b, char c) { return term_buf_add(b, &c, 1); }

bool term_buf_fmt(TermBuf *b, const char *fmt, ...) {
  char text[256];
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  return n >= 0 && term_buf_add(b, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

void term_buf_erase(TermBuf *b, size_t from, size_t to) {
  if (from >= to || to > b->n) return;
  memmove(b->s + from, b->s + to, b->n - to);
  b->n -= to - from;
  b->s[b->n] = 0;
}

bool term_buf_set(TermBuf *b, const char *s, size_t n) {
  if (n > b->n && !room(b, n - b->n)) return false;
  if (!b->s && !room(b, n)) return false;
  if (n) memmove(b->s, s, n);
  b->n = n;
  b->s[n] = 0;
  return true;
}

void term_buf_free(TermBuf *b) {
  mt_free(b->s);
  memset(b, 0, sizeof *b);
}
