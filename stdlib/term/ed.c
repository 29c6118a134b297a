/* ed.c: the editor: what each key does, and the calls of term.h. */
#include "ed.h"
#include "base.h"
#include <stdlib.h>
#include <string.h>

/* ---- life ---- */
TermEd *term_new(const TermHooks *hooks, TermHist *hist) {
  TermEd *e = mt_calloc(sizeof *e);
  if (!e) return NULL;
  if (hooks) e->hooks = *hooks;
  e->hist = hist;
  e->rows = 24;
  e->cols = 80;
  e->color = true;
  return e;
}

void term_free(TermEd *e) {
  if (!e) return;
  TermBuf *all[] = {&e->in,    &e->out,        &e->paste, &e->prompt, &e->prompt2, &e->text,
                    &e->draft, &e->suggestion, &e->query, &e->before, &e->message};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) term_buf_free(all[i]);
  for (int i = 0; i < e->nkill; i++) term_buf_free(&e->kill[i]);
  for (size_t i = 0; i < e->menu.cap; i++)
    term_buf_free(&e->menu.v[i].text), term_buf_free(&e->menu.v[i].note);
  mt_free(e->menu.v);
  mt_free(e->found);
  mt_free(e->style);
  term_forget_undo(e);
  term_restart(e);
  mt_free(e);
}

void term_set_color(TermEd *e, bool color) { e->color = color; }
const char *term_text(const TermEd *e, size_t *n) {
  return *n = e->text.n, e->text.s ? e->text.s : "";
}
size_t term_cursor(const TermEd *e) { return e->cur; }
TermBuf *term_output(TermEd *e) { return &e->out; }
bool term_waiting(const TermEd *e) { return e->in.n > 0 && !e->pasting; }

void term_resize(TermEd *e, int rows, int cols) {
  if (rows < 1) rows = 24;
  if (cols < 4) cols = cols < 1 ? 80 : 4;
  if (rows == e->rows && cols == e->cols) return;
  if (e->nscreen) term_view_resized(e, rows, cols);
  e->rows = rows;
  e->cols = cols;
  e->dirty = true;
}

bool term_begin(TermEd *e, const char *prompt, const char *prompt2) {
  bool ok = term_buf_set(&e->prompt, prompt, strlen(prompt)) &&
            term_buf_set(&e->prompt2, prompt2, strlen(prompt2)) && term_buf_set(&e->text, "", 0);
  e->cur = e->suggestion.n = e->draft.n = e->prefix = 0;
  e->mode = MODE_EDIT;
  e->last = LAST_OTHER;
  e->hist_at = SIZE_MAX;
  term_forget_undo(e);
  term_restart(e);
  return ok;
}

bool term_set_text(TermEd *e, const char *s, size_t n) {
  if (!term_buf_set(&e->text, s, n)) return false;
  e->cur = n;
  return e->dirty = true;
}

/* ---- what a key does ---- */
static TermEvent finish(TermEd *e, TermEvent ev) {
  term_finish_view(e);
  if (ev == TERM_LINE || ev == TERM_CANCEL) {
    int err = term_hist_add(e->hist, e->text.s ? e->text.s : "", e->text.n);
    if (err) {
      term_buf_str(&e->out, "history is not being saved: ");
      term_buf_str(&e->out, strerror(err));
      term_buf_str(&e->out, "\r\n");
    }
  }
  return ev;
}

static TermEvent enter(TermEd *e) {
  size_t from, to;
  if (e->hooks.check && e->text.n &&
      e->hooks.check(e->hooks.ud, e->text.s, e->text.n, &from, &to) == TERM_INCOMPLETE) {
    term_newline(e);
    return TERM_MORE;
  }
  return finish(e, TERM_LINE);
}

static void move(TermEd *e, size_t to) {
  e->cur = to;
  e->dirty = true;
}

static void erase(TermEd *e, size_t from, size_t to) {
  if (from == to) return;
  term_save_undo(e, LAST_OTHER);
  term_buf_erase(&e->text, from, to);
  move(e, from);
}

static size_t after(const TermEd *e) {
  int w;
  return e->cur + term_cluster(e->text.s + e->cur, e->text.n - e->cur, &w);
}
static size_t before(const TermEd *e) { return e->cur - term_cluster_before(e->text.s, e->cur); }

/* Backspace inside leading blanks goes back one step of indentation. */
static void backspace(TermEd *e) {
  size_t start = term_line_start(e, e->cur), i = start;
  while (i < e->cur && e->text.s[i] == ' ') i++;
  bool indent = i == e->cur && e->cur - start >= 2 && start > 0;
  erase(e, indent ? e->cur - 2 : before(e), e->cur);
}

/* Takes the suggestion, or its next word; false when there is none. */
static bool accept_suggestion(TermEd *e, bool word) {
  term_suggest(e);
  if (e->suggestion.n == 0) return false;
  size_t n = e->suggestion.n;
  term_save_undo(e, LAST_OTHER);
  size_t from = e->cur;
  term_insert(e, e->suggestion.s, n);
  if (word) {
    size_t end = term_word_right(e, from);
    term_buf_erase(&e->text, end, e->text.n);
    e->cur = end;
  }
  return true;
}

static void type_text(TermEd *e, const char *raw, size_t n) {
  term_save_undo(e, LAST_TYPE);
  term_insert(e, raw, n);
  e->last = LAST_TYPE;
  if (n == 1 && strchr("de})]l", *raw)) term_dedent(e);
}

static void pasted(TermEd *e) {
  term_clean_paste(&e->paste);
  term_save_undo(e, LAST_OTHER);
  term_insert(e, e->paste.s ? e->paste.s : "", e->paste.n);
  term_buf_free(&e->paste);
}

static void up_or_down(TermEd *e, int direction) {
  int last = e->last;
  if (last != LAST_HISTORY && term_vertical(e, direction)) e->last = LAST_VERTICAL;
  else if (last == LAST_HISTORY && direction < 0 && term_line_start(e, e->cur) > 0 &&
           term_vertical(e, direction))
    e->last = LAST_VERTICAL;               /* first through the lines of a recalled block */
  else if (last == LAST_HISTORY && direction > 0 && term_vertical(e, direction))
    e->last = LAST_VERTICAL;
  else {
    e->last = last == LAST_VERTICAL && e->hist_at <= term_hist_count(e->hist) ? LAST_HISTORY : last;
    term_history(e, direction);
    e->last = LAST_HISTORY;
  }
}

/* Motion, deletion and the like; false when the key is none of these.  e->last is set by the
 * caller to LAST_OTHER unless the command says otherwise. */
static bool edit_key(TermEd *e, uint32_t key) {
  switch (key) {
    case CTL('a'): case KEY_HOME: move(e, term_line_start(e, e->cur)); break;
    case CTL('e'): case KEY_END:
      if (!(e->cur == e->text.n && accept_suggestion(e, false))) move(e, term_line_end(e, e->cur));
      break;
    case CTL('b'): case KEY_LEFT: move(e, before(e)); break;
    case CTL('f'): case KEY_RIGHT:
      if (!(e->cur == e->text.n && accept_suggestion(e, false))) move(e, after(e));
      break;
    case ALT | 'b':
    case CTRL | KEY_LEFT:
    case ALT | KEY_LEFT: move(e, term_word_left(e, e->cur)); break;
    case ALT | 'f': case CTRL | KEY_RIGHT: case ALT | KEY_RIGHT:
      if (!(e->cur == e->text.n && accept_suggestion(e, true))) move(e, term_word_right(e, e->cur));
      break;
    case ALT | '<': case CTRL | KEY_HOME: move(e, 0); break;
    case ALT | '>': case CTRL | KEY_END: move(e, e->text.n); break;
    case 127: case 8: backspace(e); break;
    case KEY_DELETE: erase(e, e->cur, after(e)); break;
    case ALT | 'u': case ALT | 'l': case ALT | 'c': term_change_case(e, (int)(key & 127)); break;
    case CTL('t'): term_transpose(e); break;
    case CTL('_'): term_undo(e); break;
    case CTL('l'):
      term_buf_str(&e->out, "\033[H\033[2J");
      term_restart(e);
      break;
    case ALT | '\r': case ALT | '\n': case CTRL | '\r': case SHIFT | '\r': term_newline(e); break;
    case '\t': term_complete(e); break;
    case CTL('r'): case CTL('s'): term_search_start(e); break;
    case KEY_PASTE: pasted(e); break;
    default: return false;
  }
  return true;
}

static bool kill_key(TermEd *e, uint32_t key) {
  size_t at = e->cur, end = term_line_end(e, at);
  int kind = LAST_KILL;
  switch (key) {
    case CTL('k'):
      term_kill_range(e, at, at == end && end < e->text.n ? end + 1 : end, false);
      break;
    case CTL('u'): term_kill_range(e, term_line_start(e, at), at, true); break;
    case CTL('w'):
    case ALT | 127:
    case ALT | 8: term_kill_range(e, term_word_left(e, at), at, true); break;
    case ALT | 'd': term_kill_range(e, at, term_word_right(e, at), false); break;
    case CTL('y'): term_yank(e); kind = e->nkill ? LAST_YANK : LAST_OTHER; break;
    case ALT | 'y': term_yank_pop(e); kind = e->last == LAST_YANK ? LAST_YANK : LAST_OTHER; break;
    case CTL('p'): case KEY_UP: up_or_down(e, -1); return true;
    case CTL('n'): case KEY_DOWN: up_or_down(e, 1); return true;
    case KEY_PAGE_UP: term_history(e, -1); kind = LAST_HISTORY; break;
    case KEY_PAGE_DOWN: term_history(e, 1); kind = LAST_HISTORY; break;
    default: return false;
  }
  e->last = kind;
  return true;
}

static TermEvent cancel(TermEd *e) {
  TermEvent ev = finish(e, TERM_CANCEL);
  if (e->out.n >= 2) {                     /* "^C" behind the abandoned text */
    e->out.n -= 2;
    term_buf_str(&e->out, "^C\r\n");
  }
  return ev;
}

static TermEvent do_key(TermEd *e, uint32_t key, const char *raw, size_t nraw) {
  e->message.n = 0;
  e->dirty = true;
  if (e->mode != MODE_EDIT) e->last = LAST_OTHER;
  if (e->mode == MODE_SEARCH && term_search_key(e, key, raw, nraw)) return TERM_MORE;
  if (e->mode == MODE_MENU && term_menu_key(e, key)) return TERM_MORE;
  switch (key) {
    case '\r': case '\n': return enter(e);
    case CTL('c'): return cancel(e);
    case CTL('d'):
      if (e->text.n == 0) return finish(e, TERM_EOF);
      erase(e, e->cur, after(e));
      return TERM_MORE;
    case CTL('z'): return TERM_SUSPEND;
    case CTL('x'): return term_finish_view(e), TERM_EDIT;  /* into the user's own editor */
    default: break;
  }
  if (kill_key(e, key)) return TERM_MORE;
  int last = e->last;
  e->last = LAST_OTHER;
  if (edit_key(e, key)) return TERM_MORE;
  e->last = last;
  if ((key >= 32 && key < KEY_NONE) || key == KEY_RAW) type_text(e, raw, nraw);
  return TERM_MORE;
}

static TermEvent run_keys(TermEd *e, bool flush) {
  char raw[8];
  size_t nraw;
  for (;;) {
    uint32_t key = term_next_key(e, flush, raw, &nraw);
    if (key == KEY_NONE) return TERM_MORE;
    TermEvent ev = do_key(e, key, raw, nraw);
    if (ev != TERM_MORE) return ev;
  }
}

TermEvent term_feed(TermEd *e, const char *s, size_t n) {
  if (n) term_buf_add(&e->in, s, n);
  return run_keys(e, false);
}

TermEvent term_timeout(TermEd *e) { return run_keys(e, true); }
