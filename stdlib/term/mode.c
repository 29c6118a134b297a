/* mode.c: history by Up and Down, what it suggests, the live search (^R), and the completion
 * menu. */
#include "ed.h"
#include "base.h"
#include <ctype.h>
#include <string.h>

/* ---- history ---- */
static void show_entry(TermEd *e, size_t i) {
  size_t n;
  const char *s = term_hist_get(e->hist, i, &n);
  if (!s) s = e->draft.s ? e->draft.s : "", n = e->draft.n;
  term_buf_set(&e->text, s, n);
  e->cur = e->text.n;
  e->hist_at = i;
  e->dirty = true;
}

/* Shows the next entry in that direction that begins as the draft did up to its cursor, and
 * differs from the text. */
bool term_history(TermEd *e, int direction) {
  size_t count = term_hist_count(e->hist), n;
  if (e->hist_at > count) e->hist_at = count;
  if (e->hist_at == count && direction < 0 && e->last != LAST_HISTORY) {
    if (!term_buf_set(&e->draft, e->text.s ? e->text.s : "", e->text.n)) return false;
    e->prefix = memchr(e->text.s ? e->text.s : "", '\n', e->text.n) ? 0 : e->cur;
  }
  for (size_t i = e->hist_at; direction < 0 ? i-- > 0 : ++i <= count;) {
    const char *s = i == count ? NULL : term_hist_get(e->hist, i, &n);
    if (s && (n < e->prefix || memcmp(s, e->draft.s ? e->draft.s : "", e->prefix) != 0)) continue;
    if (s && n == e->text.n && memcmp(s, e->text.s, n) == 0) continue;
    term_save_undo(e, LAST_HISTORY);
    show_entry(e, i);
    return true;
  }
  return false;
}

void term_suggest(TermEd *e) {
  e->suggestion.n = 0;
  if (e->text.n == 0 || e->cur != e->text.n || e->mode != MODE_EDIT || e->text.n > 4096) return;
  size_t n;
  for (size_t i = term_hist_count(e->hist); i-- > 0;) {
    const char *s = term_hist_get(e->hist, i, &n);
    if (n <= e->text.n || memcmp(s, e->text.s, e->text.n) != 0) continue;
    term_buf_set(&e->suggestion, s + e->text.n, n - e->text.n);
    return;
  }
}

/* ---- search ---- */
static bool contains(const char *s, size_t n, const char *q, size_t nq) {
  bool exact = false;                      /* capitals in the query are meant */
  for (size_t i = 0; i < nq; i++) exact = exact || isupper((unsigned char)q[i]);
  for (size_t i = 0; i + nq <= n; i++) {
    size_t k = 0;
    while (k < nq && (exact ? s[i + k] == q[k]
                            : tolower((unsigned char)s[i + k]) == tolower((unsigned char)q[k])))
      k++;
    if (k == nq) return true;
  }
  return false;
}

static bool add_found(TermEd *e, size_t i) {
  if (e->nfound == e->found_cap) {
    size_t cap = e->found_cap ? e->found_cap * 2 : 64;
    size_t *v = mt_realloc(e->found, cap * sizeof *v);
    if (!v) return false;
    e->found = v;
    e->found_cap = cap;
  }
  e->found[e->nfound++] = i;
  return true;
}

static bool already_found(TermEd *e, const char *s, size_t n) {
  size_t m;
  for (size_t k = 0; k < e->nfound && k < 200; k++) {
    const char *t = term_hist_get(e->hist, e->found[k], &m);
    if (m == n && memcmp(s, t, n) == 0) return true;
  }
  return false;
}

static void search(TermEd *e) {
  size_t n;
  e->nfound = e->chosen = 0;
  for (size_t i = term_hist_count(e->hist); i-- > 0 && e->nfound < 1000;) {
    const char *s = term_hist_get(e->hist, i, &n);
    if (contains(s, n, e->query.s ? e->query.s : "", e->query.n) && !already_found(e, s, n))
      add_found(e, i);
  }
}

static void show_found(TermEd *e) {
  size_t n;
  const char *s = e->nfound ? term_hist_get(e->hist, e->found[e->chosen], &n) : NULL;
  if (s) term_buf_set(&e->text, s, n);
  else term_buf_set(&e->text, e->before.s ? e->before.s : "", e->before.n);
  e->cur = e->text.n;
  e->dirty = true;
}

void term_search_start(TermEd *e) {
  term_hist_sync(e->hist);
  if (!term_buf_set(&e->before, e->text.s ? e->text.s : "", e->text.n)) return;
  e->before_cur = e->cur;
  term_save_undo(e, LAST_OTHER);
  term_buf_set(&e->query, e->before.s, memchr(e->before.s, '\n', e->before.n) ? 0 : e->before.n);
  e->mode = MODE_SEARCH;
  search(e);
  show_found(e);
}

static void search_cancel(TermEd *e) {
  term_buf_set(&e->text, e->before.s, e->before.n);
  e->cur = e->before_cur;
  e->mode = MODE_EDIT;
  e->dirty = true;
}

bool term_search_key(TermEd *e, uint32_t key, const char *raw, size_t nraw) {
  e->dirty = true;
  switch (key) {
    case CTL('g'): case 27: case CTL('c'): return search_cancel(e), true;
    case '\r': case '\n': return e->mode = MODE_EDIT, true;
    case CTL('r'): case KEY_DOWN: case CTL('n'):
      if (e->chosen + 1 < e->nfound) e->chosen++;
      return show_found(e), true;
    case CTL('s'): case KEY_UP: case CTL('p'):
      if (e->chosen) e->chosen--;
      return show_found(e), true;
    case 127: case 8:
      if (e->query.n) e->query.n -= term_cluster_before(e->query.s, e->query.n);
      break;
    case CTL('u'): case CTL('w'): e->query.n = 0; break;
    default:
      if ((key >= 32 && key < KEY_NONE) || key == KEY_RAW) term_buf_add(&e->query, raw, nraw);
      else return e->mode = MODE_EDIT, false;
  }
  search(e);
  show_found(e);
  return true;
}

/* ---- completion ---- */
bool term_candidate(TermCompletion *c, const char *text, size_t n, const char *note) {
  if (c->n == c->cap) {
    size_t cap = c->cap ? c->cap * 2 : 64;
    TermCandidate *v = mt_realloc(c->v, cap * sizeof *v);
    if (!v) return false;
    memset(v + c->cap, 0, (cap - c->cap) * sizeof *v);
    c->v = v;
    c->cap = cap;
  }
  TermCandidate *k = &c->v[c->n];
  k->note.n = 0;
  if (!term_buf_set(&k->text, text, n) || (note && !term_buf_str(&k->note, note))) return false;
  c->n++;
  return true;
}

static size_t common_prefix(const TermCompletion *c) {
  size_t n = c->v[0].text.n;
  for (size_t i = 1; i < c->n; i++) {
    size_t k = 0;
    while (k < n && k < c->v[i].text.n && c->v[i].text.s[k] == c->v[0].text.s[k]) k++;
    n = k;
  }
  while (n > 0 && n < c->v[0].text.n && ((unsigned char)c->v[0].text.s[n] & 0xC0) == 0x80) n--;
  return n;
}

static bool only_blanks_before(TermEd *e) {
  size_t start = term_line_start(e, e->cur);
  while (start < e->cur && e->text.s[start] == ' ') start++;
  return start == e->cur;
}

void term_complete(TermEd *e) {
  if (only_blanks_before(e) && e->text.n) {
    term_save_undo(e, LAST_OTHER);
    term_insert(e, "  ", 2);
    return;
  }
  if (!e->hooks.complete) return;
  e->menu.n = 0;
  e->menu.from = e->cur;
  e->hooks.complete(e->hooks.ud, e->text.s ? e->text.s : "", e->text.n, e->cur, &e->menu);
  if (e->menu.n == 0 || e->menu.from > e->cur) return;
  size_t n = common_prefix(&e->menu);
  if (e->menu.n == 1 || n > e->cur - e->menu.from) {
    term_save_undo(e, LAST_OTHER);
    term_replace(e, e->menu.from, e->cur, e->menu.v[0].text.s, n);
  }
  if (e->menu.n == 1) return;
  e->mode = MODE_MENU;
  e->picked = -1;
  e->dirty = true;
  term_buf_set(&e->before, e->text.s, e->text.n);
  e->before_cur = e->cur;
}

static void pick(TermEd *e, long to) {
  e->picked = to < 0 ? (long)e->menu.n - 1 : to >= (long)e->menu.n ? 0 : to;
  TermBuf *t = &e->menu.v[e->picked].text;
  term_buf_set(&e->text, e->before.s, e->before.n);
  e->cur = e->before_cur;
  term_replace(e, e->menu.from, e->cur, t->s, t->n);
}

void term_menu_close(TermEd *e) {
  if (e->mode == MODE_MENU) e->mode = MODE_EDIT;
  e->dirty = true;
}

bool term_menu_key(TermEd *e, uint32_t key) {
  switch (key) {
    case '\t': return pick(e, e->picked + 1), true;
    case KEY_BACKTAB: return pick(e, e->picked < 0 ? -1 : e->picked - 1), true;
    case KEY_RIGHT: case KEY_DOWN:
      if (e->picked < 0) break;
      return pick(e, e->picked + 1), true;
    case KEY_LEFT: case KEY_UP:
      if (e->picked < 0) break;
      return pick(e, e->picked - 1), true;
    case '\r': case '\n':
      if (e->picked < 0) break;
      return term_menu_close(e), true;
    case 27: case CTL('g'):
      term_buf_set(&e->text, e->before.s, e->before.n);
      e->cur = e->before_cur;
      return term_menu_close(e), true;
    default: break;
  }
  term_menu_close(e);
  return false;
}
