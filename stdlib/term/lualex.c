/* lualex.c: Lua's tokens as an editor sees them: colours, indentation, brackets.  It never
 * fails: unfinished text is the normal case.  Every byte gets exactly one style. */
#include "term.h"
#include <string.h>

static bool alpha(int c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
static bool digit(int c) { return c >= '0' && c <= '9'; }
static bool one_of(int c, const char *set) { return c && strchr(set, c) != NULL; }
static bool space(int c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static bool is_word(const char *s, size_t n, const char *const *list) {
  for (; *list; list++)
    if (strlen(*list) == n && memcmp(*list, s, n) == 0) return true;
  return false;
}

static const char *const keywords[] = {"and",   "break", "do",       "else",  "elseif", "end",
                                       "false", "for",   "function", "goto",  "if",     "in",
                                       "local", "nil",   "not",      "or",    "repeat", "return",
                                       "then",  "true",  "until",    "while", NULL};

/* [[, [=[ ...: the number of '=' signs, or -1. */
static int long_bracket(const char *s, size_t n, char c) {
  size_t i = 1;
  if (n < 2 || s[0] != c) return -1;
  while (i < n && s[i] == '=') i++;
  return i < n && s[i] == c ? (int)i - 1 : -1;
}

/* The end of a long string that opens at i with `level` signs; n when unfinished. */
static size_t long_end(const char *s, size_t n, size_t i, int level) {
  for (i += (size_t)level + 2; i < n; i++)
    if (s[i] == ']' && long_bracket(s + i, n - i, ']') == level) return i + (size_t)level + 2;
  return n;
}

static size_t string_end(const char *s, size_t n, size_t i) {
  char quote = s[i++];
  while (i < n && s[i] != quote && s[i] != '\n') {
    if (s[i] == '\\' && i + 1 < n) {
      i++;
      if (s[i] == 'z')
        while (i + 1 < n && space(s[i + 1])) i++;
    }
    i++;
  }
  return i < n && s[i] == quote ? i + 1 : i;
}

static size_t number_end(const char *s, size_t n, size_t i) {
  bool hex = s[i] == '0' && i + 1 < n && (s[i + 1] | 32) == 'x';
  if (hex) i += 2;
  while (i < n) {
    int c = s[i] | 32;
    bool exponent = hex ? c == 'p' : c == 'e';
    if (exponent && i + 1 < n && (s[i + 1] == '+' || s[i + 1] == '-')) i += 2;
    else if (alpha(s[i]) || digit(s[i]) || (s[i] == '.' && !(i + 1 < n && s[i + 1] == '.'))) i++;
    else break;
  }
  return i;
}

/* The end of the token at i (at least one byte) and its style. */
static size_t token(const char *s, size_t n, size_t i, uint8_t *style) {
  size_t j = i + 1;
  int level;
  if (space(s[i])) return *style = TERM_PLAIN, j;
  if (s[i] == '-' && j < n && s[j] == '-') {
    *style = TERM_COMMENT;
    if ((level = long_bracket(s + i + 2, n - i - 2, '[')) >= 0) return long_end(s, n, i + 2, level);
    while (j < n && s[j] != '\n') j++;
    return j;
  }
  if (s[i] == '"' || s[i] == '\'') return *style = TERM_STRING, string_end(s, n, i);
  if ((level = long_bracket(s + i, n - i, '[')) >= 0)
    return *style = TERM_STRING, long_end(s, n, i, level);
  if (digit(s[i]) || (s[i] == '.' && j < n && digit(s[j])))
    return *style = TERM_NUMBER, number_end(s, n, i);
  if (alpha(s[i])) {
    while (j < n && (alpha(s[j]) || digit(s[j]))) j++;
    *style = TERM_NAME;
    if (is_word(s + i, j - i, keywords)) *style = TERM_KEYWORD;
    else {
      size_t k = j;
      while (k < n && s[k] == ' ') k++;
      if (k < n && (s[k] == '(' || s[k] == '{' || s[k] == '"')) *style = TERM_CALL;
    }
    return j;
  }
  return *style = (unsigned char)s[i] < 0x80 ? TERM_PUNCT : TERM_PLAIN, j;
}

void term_lua_styles(const char *s, size_t n, uint8_t *style) {
  uint8_t st;
  size_t i = 0, j;
  /* a command of the prompt, up to the first blank */
  if (n && (s[0] == '%' || s[0] == '!' || s[0] == '?')) {
    for (j = 0; j < n && !space(s[j]); j++) {}
    memset(style, TERM_COMMAND, j);
    i = j;
    if (s[0] == '!') {
      memset(style + i, TERM_PLAIN, n - i);
      return;
    }
  }
  for (; i < n; i = j) {
    j = token(s, n, i, &st);
    memset(style + i, st, j - i);
  }
}

/* ---- indentation ---- */
static const char *const openers[] = {"do", "then", "repeat", "function", "else", NULL};
static const char *const closers[] = {"end", "until", "else", "elseif", NULL};

/* Depth of open blocks and brackets before `line`, less what closes at its start. */
int term_lua_indent(const char *s, size_t n, size_t line) {
  int depth = 0;
  uint8_t st;
  size_t j;
  for (size_t i = 0; i < line; i = j) {
    j = token(s, n, i, &st);
    if (st == TERM_STRING && j > line) return 0;            /* inside a long string: hands off */
    if (st == TERM_PUNCT) depth += one_of(s[i], "({[") - one_of(s[i], ")}]");
    if (st != TERM_KEYWORD) continue;
    if (is_word(s + i, j - i, closers)) depth--;
    if (is_word(s + i, j - i, openers)) depth++;
  }
  size_t i = line;
  while (i < n && (s[i] == ' ' || s[i] == '\t')) i++;
  if (i < n) {
    j = token(s, n, i, &st);
    if ((st == TERM_KEYWORD && is_word(s + i, j - i, closers)) ||
        (st == TERM_PUNCT && one_of(s[i], ")}]")))
      depth--;
  }
  return depth > 0 ? 2 * (depth < 40 ? depth : 40) : 0;
}

/* ---- brackets ---- */
size_t term_lua_match(const char *s, const uint8_t *style, size_t n, size_t at) {
  static const char pairs[] = "()[]{}";
  if (at >= n || style[at] != TERM_PUNCT || !s[at]) return n + 1;
  const char *p = strchr(pairs, s[at]);
  if (!p) return n + 1;
  bool forward = (p - pairs) % 2 == 0;
  int depth = 0;
  for (size_t i = at; i < n; i += forward ? 1 : (size_t)-1) {
    if (style[i] == TERM_PUNCT && one_of(s[i], pairs)) {
      depth += (strchr(pairs, s[i]) - pairs) % 2 == 0 ? 1 : -1;
      if (depth == 0) return (strchr(pairs, s[i]) - pairs) / 2 == (p - pairs) / 2 ? i : n;
    }
    if (!forward && i == 0) break;
  }
  return n;
}
