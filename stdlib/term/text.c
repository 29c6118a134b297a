/* text.c: changes to the block of text: undo, kills, words, lines, what a paste becomes. */
#include "ed.h"
#include "base.h"
#include <ctype.h>
#include <string.h>

/* ---- undo: snapshots before changes; a run of typed characters is one change ---- */
static void drop_oldest(TermEd *e) {
  mt_free(e->undo[0].s);
  memmove(e->undo, e->undo + 1, sizeof e->undo[0] * (size_t)--e->nundo);
}

void term_save_undo(TermEd *e, int kind) {
  if (kind == LAST_TYPE && e->last == LAST_TYPE && e->nundo) return;
  size_t limit = e->text.n > (1 << 18) ? 8 : UNDO_MAX;     /* huge texts keep fewer steps */
  while ((size_t)e->nundo >= limit) drop_oldest(e);
  char *copy = mt_malloc(e->text.n + 1);
  if (!copy) return;
  if (e->text.n) memcpy(copy, e->text.s, e->text.n);
  e->undo[e->nundo++] = (Snapshot){copy, e->text.n, e->cur};
}

void term_undo(TermEd *e) {
  if (!e->nundo) return;
  Snapshot *u = &e->undo[--e->nundo];
  if (term_buf_set(&e->text, u->s, u->n)) e->cur = u->cur;
  mt_free(u->s);
  e->dirty = true;
}

void term_forget_undo(TermEd *e) {
  while (e->nundo) mt_free(e->undo[--e->nundo].s);
}

/* ---- changes ---- */
void term_insert(TermEd *e, const char *s, size_t n) {
  if (term_buf_insert(&e->text, e->cur, s, n)) e->cur += n;
  e->dirty = true;
}

void term_replace(TermEd *e, size_t from, size_t to, const char *s, size_t n) {
  if (!term_buf_insert(&e->text, to, s, n)) return;
  term_buf_erase(&e->text, from, to);
  e->cur = from + n;
  e->dirty = true;
}

size_t term_line_start(const TermEd *e, size_t at) {
  while (at > 0 && e->text.s[at - 1] != '\n') at--;
  return at;
}

size_t term_line_end(const TermEd *e, size_t at) {
  while (at < e->text.n && e->text.s[at] != '\n') at++;
  return at;
}

static bool word_byte(char c) {
  return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

size_t term_word_left(const TermEd *e, size_t at) {
  while (at > 0 && !word_byte(e->text.s[at - 1])) at--;
  while (at > 0 && word_byte(e->text.s[at - 1])) at--;
  return at;
}

size_t term_word_right(const TermEd *e, size_t at) {
  while (at < e->text.n && !word_byte(e->text.s[at])) at++;
  while (at < e->text.n && word_byte(e->text.s[at])) at++;
  return at;
}

/* ---- kills ---- */
/* Removes the range; kills in a row make one, `before` puts the new piece in front. */
void term_kill_range(TermEd *e, size_t from, size_t to, bool before) {
  if (from >= to) return;
  term_save_undo(e, LAST_KILL);
  if (e->last != LAST_KILL || !e->nkill) {
    if (e->nkill == KILLS) {
      term_buf_free(&e->kill[0]);
      memmove(e->kill, e->kill + 1, sizeof e->kill[0] * (KILLS - 1));
      e->nkill--;
      memset(&e->kill[e->nkill], 0, sizeof e->kill[0]);
    }
    e->kill[e->nkill++].n = 0;
  }
  TermBuf *k = &e->kill[e->nkill - 1];
  term_buf_insert(k, before ? 0 : k->n, e->text.s + from, to - from);
  term_buf_erase(&e->text, from, to);
  e->cur = from;
  e->dirty = true;
}

void term_yank(TermEd *e) {
  if (!e->nkill) return;
  term_save_undo(e, LAST_YANK);
  e->yank_at = e->nkill - 1;
  e->yank_from = e->cur;
  term_insert(e, e->kill[e->yank_at].s, e->kill[e->yank_at].n);
}

void term_yank_pop(TermEd *e) {
  if (e->last != LAST_YANK || e->nkill < 2 || e->yank_from > e->cur) return;
  e->yank_at = (e->yank_at + e->nkill - 1) % e->nkill;
  term_replace(e, e->yank_from, e->cur, e->kill[e->yank_at].s, e->kill[e->yank_at].n);
}

/* ---- lines ---- */
bool term_vertical(TermEd *e, int direction) {
  size_t start = term_line_start(e, e->cur), target;
  if (e->last != LAST_VERTICAL) e->goal = term_width(e->text.s + start, e->cur - start);
  if (direction < 0) {
    if (start == 0) return false;
    target = term_line_start(e, start - 1);
  } else {
    size_t end = term_line_end(e, e->cur);
    if (end == e->text.n) return false;
    target = end + 1;
  }
  size_t end = term_line_end(e, target), at = target;
  for (int col = 0, w; at < end; col += w) {
    size_t k = term_cluster(e->text.s + at, end - at, &w);
    if (col + w > e->goal) break;
    at += k;
  }
  e->cur = at;
  e->dirty = true;
  return true;
}

void term_change_case(TermEd *e, int how) {
  size_t to = term_word_right(e, e->cur), at = e->cur;
  while (at < to && !word_byte(e->text.s[at])) at++;
  term_save_undo(e, LAST_OTHER);
  for (bool first = true; at < to; at++, first = false) {
    unsigned char c = (unsigned char)e->text.s[at];
    e->text.s[at] = (char)(how == 'u' || (how == 'c' && first) ? toupper(c) : tolower(c));
  }
  e->cur = to;
  e->dirty = true;
}

void term_transpose(TermEd *e) {
  size_t at = e->cur;
  int w;
  if (at == e->text.n || e->text.s[at] == '\n') at -= term_cluster_before(e->text.s, at);
  size_t a = at - term_cluster_before(e->text.s, at);
  size_t k = term_cluster(e->text.s + at, e->text.n - at, &w);
  if (a == at || at == 0 || k == 0 || k > 32 || e->text.s[a] == '\n') return;
  char second[32];
  term_save_undo(e, LAST_OTHER);
  memcpy(second, e->text.s + at, k);
  memmove(e->text.s + a + k, e->text.s + a, at - a);
  memcpy(e->text.s + a, second, k);
  e->cur = at + k;
  e->dirty = true;
}

static void set_indent(TermEd *e, size_t line) {
  char blanks[96];
  size_t k = line;
  while (k < e->text.n && (e->text.s[k] == ' ' || e->text.s[k] == '\t')) k++;
  size_t want = (size_t)term_lua_indent(e->text.s, e->text.n, line), old = e->cur;
  memset(blanks, ' ', want);
  if (old < k) old = k;
  if (k - line == want) return;
  term_replace(e, line, k, blanks, want);
  e->cur = old - (k - line) + want;
}

void term_newline(TermEd *e) {
  term_save_undo(e, LAST_OTHER);
  while (e->cur < e->text.n && e->text.s[e->cur] == ' ') e->cur++;
  term_insert(e, "\n", 1);
  set_indent(e, e->cur);
}

void term_dedent(TermEd *e) {
  static const char *const words[] = {"end", "else", "elseif", "until", "}", ")", "]"};
  size_t start = term_line_start(e, e->cur), i = start;
  if (start == 0 || e->text.n > (1 << 16)) return;
  while (i < e->cur && e->text.s[i] == ' ') i++;
  for (size_t k = 0; k < sizeof words / sizeof words[0]; k++)
    if (strlen(words[k]) == e->cur - i && memcmp(words[k], e->text.s + i, e->cur - i) == 0) {
      size_t want = (size_t)term_lua_indent(e->text.s, e->text.n, start);
      if (want < i - start) set_indent(e, start);
      return;
    }
}

/* ---- paste ---- */
/* The length of a prompt ("> ", ">> ", "moth> ", "   >> ") at the start of a line, 0 for none. */
static size_t prompt_length(const char *s, size_t n, bool *more) {
  size_t i = 0;
  if (n >= 4 && memcmp(s, "moth", 4) == 0) i = 4;
  else while (i < n && s[i] == ' ') i++;
  if (i >= n || s[i] != '>') return 0;
  i++;
  *more = i < n && s[i] == '>';
  if (*more) i++;
  if (i < n && s[i] != ' ' && s[i] != '\n') return 0;
  return i + (i < n && s[i] == ' ');
}

/* One kind of line end, and of a transcript (its first line has a prompt) only what was typed. */
void term_clean_paste(TermBuf *b) {
  size_t w = 0;
  for (size_t i = 0; i < b->n; i++) {
    if (b->s[i] == '\r') {
      b->s[w++] = '\n';
      if (i + 1 < b->n && b->s[i + 1] == '\n') i++;
    } else b->s[w++] = b->s[i];
  }
  b->n = w;
  bool more = false;
  if (!b->n || !prompt_length(b->s, b->n, &more)) return;
  w = 0;
  for (size_t i = 0, end; i < b->n; i = end) {
    for (end = i; end < b->n && b->s[end] != '\n'; end++) {}
    if (end < b->n) end++;
    size_t k = prompt_length(b->s + i, end - i, &more);
    if (!k) continue;
    memmove(b->s + w, b->s + i + k, end - i - k);
    w += end - i - k;
  }
  b->n = w;
}
