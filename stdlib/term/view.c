/* view.c: the screen.  A frame is a list of rows built anew and compared with the rows last
 * drawn; only rows that differ are written.
 *
 * Rows never rely on the terminal's wrapping: each ends before the last column is passed, and
 * the next begins with a carriage return and line feed.  When the block is taller than the
 * screen, the part around the cursor is shown. */
#include "ed.h"
#include "base.h"
#include <string.h>

static const char *const colors[TERM_STYLES] = {
    [TERM_PLAIN] = "",     [TERM_KEYWORD] = "35", [TERM_NUMBER] = "36", [TERM_STRING] = "32",
    [TERM_COMMENT] = "2",  [TERM_NAME] = "",      [TERM_PUNCT] = "",    [TERM_CALL] = "34",
    [TERM_ERROR] = "4;31", [TERM_COMMAND] = "33"};

typedef struct {
  TermEd *e;
  TermBuf *rows;                           /* finished and current row */
  int *width;
  int n, cap, col;
  int cur_row, cur_col;
  /* rows [first, first + limit) are kept, others only counted */
  int first, limit;
  int row;                                 /* number of the current row */
  const char *sgr;                         /* style in force in the current row */
} Frame;

static bool visible(const Frame *f) { return f->row >= f->first && f->row < f->first + f->limit; }
static TermBuf *current(Frame *f) { return visible(f) && f->n > 0 ? &f->rows[f->n - 1] : NULL; }

static void begin_row(Frame *f) {
  f->col = 0;
  f->sgr = "";
  if (!visible(f)) return;
  if (f->n == f->cap) {
    int cap = f->cap ? f->cap * 2 : 32;
    TermBuf *rows = mt_realloc(f->rows, (size_t)cap * sizeof *rows);
    if (rows) f->rows = rows;
    int *width = mt_realloc(f->width, (size_t)cap * sizeof *width);
    if (width) f->width = width;
    if (!rows || !width) {
      f->limit = f->n;                     /* no memory: show what there is */
      return;
    }
    f->cap = cap;
  }
  memset(&f->rows[f->n], 0, sizeof f->rows[0]);
  f->width[f->n++] = 0;
}

static void end_style(Frame *f) {
  TermBuf *b = current(f);
  if (b && *f->sgr) term_buf_str(b, "\033[0m");
  f->sgr = "";
}

static void next_row(Frame *f) {
  end_style(f);
  f->row++;
  begin_row(f);
}

static void set_style(Frame *f, const char *sgr) {
  TermBuf *b = current(f);
  if (!f->e->color || !b || strcmp(sgr, f->sgr) == 0) return;
  if (*f->sgr) term_buf_str(b, "\033[0m");
  if (*sgr) term_buf_fmt(b, "\033[%sm", sgr);
  f->sgr = sgr;
}

/* One cluster; goes to the next row when it does not fit. */
static void put(Frame *f, const char *s, size_t n, int w, const char *sgr) {
  if (f->col + w > f->e->cols) next_row(f);
  TermBuf *b = current(f);
  if (b) {
    set_style(f, sgr);
    if (*s == '\t') term_buf_add(b, "        ", (size_t)w);
    else term_show(b, s, n);
    f->width[f->n - 1] = f->col + w;
  }
  f->col += w;
}

static void put_text(Frame *f, const char *s, size_t n, const char *sgr) {
  int w;
  for (size_t i = 0, k; i < n; i += k) {
    k = term_cluster(s + i, n - i, &w);
    put(f, s + i, k, w, sgr);
  }
}

/* At most `room` columns of s, newlines shown as a mark; returns columns used. */
static int put_clipped(Frame *f, const char *s, size_t n, int room, const char *sgr) {
  int used = 0, w;
  for (size_t i = 0, k; i < n; i += k) {
    k = term_cluster(s + i, n - i, &w);
    bool nl = s[i] == '\n';
    if (nl || s[i] == '\t') w = 1;
    if (used + w > room - (i + k < n)) {
      if (room > 0) put(f, "\xE2\x80\xA6", 3, 1, sgr), used++;
      return used;
    }
    if (nl) put(f, "\xE2\x86\xB5", 3, 1, sgr);
    else put(f, s[i] == '\t' ? " " : s + i, s[i] == '\t' ? 1 : k, w, sgr);
    used += w;
  }
  return used;
}

/* ---- the text ---- */
static void put_prompt(Frame *f, const TermBuf *p) {
  if (p->n && term_width(p->s, p->n) < f->e->cols) put_text(f, p->s, p->n, "1;36");
}

static const char *style_at(TermEd *e, size_t i, size_t pair_a, size_t pair_b) {
  if (i == pair_a || i == pair_b) return pair_b == e->text.n ? "1;31" : "1;4";
  if (e->wrong_known && i >= e->wrong_from && i < e->wrong_to) return colors[TERM_ERROR];
  return e->style ? colors[e->style[i]] : "";
}

static void mark_cursor(Frame *f) {
  if (f->col >= f->e->cols) next_row(f);
  f->cur_row = f->row;
  f->cur_col = f->col;
}

/* The bracket under or before the cursor and its partner; n for none. */
static void find_pair(TermEd *e, size_t *a, size_t *b) {
  *a = *b = SIZE_MAX;
  if (!e->style || e->text.n > (1 << 16)) return;
  for (int k = 0; k < 2; k++) {
    if (k && !e->cur) return;
    size_t at = e->cur - (size_t)k, m = term_lua_match(e->text.s, e->style, e->text.n, at);
    if (m > e->text.n || (m == e->text.n && strchr("([{", e->text.s[at]))) continue;
    *a = at;
    *b = m;
    return;
  }
}

static void put_block(Frame *f, bool final) {
  TermEd *e = f->e;
  const char *s = e->text.s;
  size_t a, b, k;
  int w;
  find_pair(e, &a, &b);
  if (final) a = b = SIZE_MAX;
  put_prompt(f, &e->prompt);
  for (size_t i = 0; i < e->text.n; i += k) {
    if (i == e->cur) mark_cursor(f);
    k = 1;
    if (s[i] == '\n') {
      next_row(f);
      put_prompt(f, &e->prompt2);
    } else if (s[i] == '\t') put(f, s + i, 1, 4 - (f->col & 3), "");
    else if (s[i] >= ' ' && s[i] < 127 && (i + 1 == e->text.n || (signed char)s[i + 1] >= 0) &&
             !visible(f)) {
      if (++f->col > e->cols) next_row(f), f->col = 1;
    } else {
      k = term_cluster(s + i, e->text.n - i, &w);
      put(f, s + i, k, w, style_at(e, i, a, b));
    }
  }
  if (e->cur >= e->text.n) mark_cursor(f);
  if (!final && e->suggestion.n && f->e->color) {
    size_t nl = 0;
    while (nl < e->suggestion.n && e->suggestion.s[nl] != '\n') nl++;
    bool more = nl < e->suggestion.n;
    put_clipped(f, e->suggestion.s, nl + (more && nl + 1 < e->suggestion.n), e->cols - f->col, "2");
  }
}

/* ---- what stands below the text ---- */
static void put_hint(Frame *f, const TermBuf *h, int rows) {
  next_row(f);
  const char *sgr = "2";
  int w;
  for (size_t i = 0, k; i < h->n && rows > 0; i += k) {
    k = 1;
    if (h->s[i] == 1) sgr = "1";
    else if (h->s[i] == 2) sgr = "2";
    else if (h->s[i] == '\n') {
      if (--rows > 0) next_row(f);
    } else {
      k = term_cluster(h->s + i, h->n - i, &w);
      if (f->col + w > f->e->cols && --rows <= 0) break;
      put(f, h->s + i, k, w, sgr);
    }
  }
}

static void put_menu(Frame *f, int rows) {
  TermEd *e = f->e;
  TermCompletion *m = &e->menu;
  int widest = 1;
  for (size_t i = 0; i < m->n; i++) {
    int w = term_width(m->v[i].text.s, m->v[i].text.n);
    if (w > widest) widest = w;
  }
  int cell = widest + 2 < e->cols ? widest + 2 : e->cols, per_row = e->cols / cell;
  int total = ((int)m->n + per_row - 1) / per_row, first = 0;
  if (rows > 8) rows = 8;
  if (total > rows) {
    rows--;
    first = e->picked < 0 ? 0 : (int)e->picked / per_row - rows / 2;
    if (first > total - rows) first = total - rows;
    if (first < 0) first = 0;
  }
  for (int r = first; r < total && r < first + rows; r++) {
    next_row(f);
    for (int c = 0; c < per_row; c++) {
      size_t i = (size_t)(r * per_row + c);
      if (i >= m->n) break;
      int used =
          put_clipped(f, m->v[i].text.s, m->v[i].text.n, cell - 2, (long)i == e->picked ? "7" : "");
      for (; used < cell && c + 1 < per_row; used++) put(f, " ", 1, 1, "");
    }
  }
  TermBuf line = {0};
  if (e->picked >= 0 && m->v[e->picked].note.n)
    term_buf_add(&line, m->v[e->picked].note.s, m->v[e->picked].note.n);
  else if (total > rows) term_buf_fmt(&line, "%zu names, TAB to go through them", m->n);
  if (line.n) put_hint(f, &line, 1);
  term_buf_free(&line);
}

static void put_search(Frame *f, int rows) {
  TermEd *e = f->e;
  next_row(f);
  put_clipped(f, "search: ", 8, e->cols - 4, "1;36");
  put_clipped(f, e->query.s, e->query.n, e->cols - f->col - 1, "");
  mark_cursor(f);
  if (e->nfound == 0) put_clipped(f, "  nothing found", 15, e->cols - f->col, "2");
  if (rows > 8) rows = 8;
  size_t first = e->chosen >= (size_t)rows ? e->chosen - (size_t)rows + 1 : 0, n;
  for (size_t i = first; i < e->nfound && i < first + (size_t)rows; i++) {
    const char *s = term_hist_get(e->hist, e->found[i], &n);
    next_row(f);
    put_clipped(f, i == e->chosen ? "> " : "  ", 2, 2, "1;36");
    put_clipped(f, s, n, e->cols - 3, i == e->chosen ? "1" : "2");
  }
}

static void put_below(Frame *f, int rows) {
  TermEd *e = f->e;
  if (e->mode == MODE_SEARCH) put_search(f, rows - 1);
  else if (rows <= 0) return;
  else if (e->mode == MODE_MENU) put_menu(f, rows);
  else if (e->message.n) put_hint(f, &e->message, rows > 3 ? 3 : rows);
  else if (e->hooks.hint && e->text.n < (1 << 16)) {
    TermBuf h = {0};
    e->hooks.hint(e->hooks.ud, e->text.s ? e->text.s : "", e->text.n, e->cur, &h);
    if (h.n) put_hint(f, &h, rows > 4 ? 4 : rows);
    term_buf_free(&h);
  }
}

/* ---- drawing ---- */
static void style_text(TermEd *e) {
  if (e->text.n > e->style_cap) {
    size_t cap = e->text.n * 2;
    uint8_t *s = mt_realloc(e->style, cap);
    if (!s) return mt_free(e->style), e->style = NULL, (void)(e->style_cap = 0);
    e->style = s;
    e->style_cap = cap;
  }
  if (e->style && e->text.n) term_lua_styles(e->text.s, e->text.n, e->style);
  e->wrong_known = false;
  if (!e->hooks.check || e->text.n > 8192 || e->mode != MODE_EDIT) return;
  size_t from = 0, to = 0;
  if (e->text.n && e->hooks.check(e->hooks.ud, e->text.s, e->text.n, &from, &to) == TERM_WRONG &&
      to > from && to <= e->text.n && to < e->cur + (e->cur == e->text.n ? 0 : e->text.n)) {
    e->wrong_known = true;
    e->wrong_from = from;
    e->wrong_to = to;
  }
}

static void free_rows(TermBuf *rows, int *width, int n) {
  for (int i = 0; i < n; i++) term_buf_free(&rows[i]);
  mt_free(rows);
  mt_free(width);
}

/* Builds the frame in two passes: where the cursor falls, then the rows around it. */
static void build(TermEd *e, Frame *f, bool final) {
  int limit = e->rows > 1 ? e->rows - 1 : 1;
  *f = (Frame){.e = e, .first = 0, .limit = final ? 1 << 30 : 0};
  if (!final) {
    begin_row(f);
    put_block(f, false);
    int total = f->row + 1, cur = f->cur_row, show = total < limit ? total : limit;
    int first = cur - show / 2;
    if (first > total - show) first = total - show;
    if (first < 0) first = 0;
    *f = (Frame){.e = e, .first = first, .limit = limit};
  }
  begin_row(f);
  put_block(f, final);
  if (!final) {
    int used = f->row + 1 - f->first;
    if (used < limit || e->mode == MODE_SEARCH) put_below(f, limit - used);
  }
  end_style(f);
}

static bool same_row(const TermBuf *a, const TermBuf *b) {
  return a->n == b->n && (a->n == 0 || memcmp(a->s, b->s, a->n) == 0);
}

static void write_frame(TermEd *e, Frame *f) {
  TermBuf *o = &e->out;
  int at = e->screen_row;                  /* row the terminal's cursor is in */
  int shown = f->n > 0 ? f->n : 1;
  for (int i = 0; i < f->n; i++) {
    if (i < e->nscreen && same_row(&f->rows[i], &e->screen[i])) continue;
    if (at > i) term_buf_fmt(o, "\033[%dA", at - i);
    for (; at < i; at++) term_buf_str(o, "\r\n");
    at = i;
    term_buf_str(o, "\r\033[K");
    if (f->rows[i].n) term_buf_add(o, f->rows[i].s, f->rows[i].n);
  }
  if (e->nscreen > shown) {                /* rows that are gone */
    if (at > shown - 1) term_buf_fmt(o, "\033[%dA", at - shown + 1);
    for (; at < shown - 1; at++) term_buf_str(o, "\r\n");
    term_buf_str(o, "\r\n\033[J\033[A");
    at = shown - 1;
  }
  int row = f->cur_row - f->first;
  if (row >= shown) row = shown - 1;
  if (row < 0) row = 0;
  if (at > row) term_buf_fmt(o, "\033[%dA", at - row);
  for (; at < row; at++) term_buf_str(o, "\r\n");
  term_buf_ch(o, '\r');
  if (f->cur_col > 0) term_buf_fmt(o, "\033[%dC", f->cur_col);
  free_rows(e->screen, e->row_width, e->nscreen);
  e->screen = f->rows;
  e->row_width = f->width;
  e->nscreen = f->n;
  e->screen_row = row;
  e->screen_col = f->cur_col;
}

void term_refresh(TermEd *e) {
  if (!e->dirty) return;
  Frame f;
  style_text(e);
  term_suggest(e);
  build(e, &f, false);
  write_frame(e, &f);
  e->dirty = false;
}

/* Everything drawn is forgotten; the cursor is at the start of a fresh row. */
void term_restart(TermEd *e) {
  free_rows(e->screen, e->row_width, e->nscreen);
  e->screen = NULL;
  e->row_width = NULL;
  e->nscreen = e->screen_row = e->screen_col = 0;
  e->dirty = true;
}

void term_finish_view(TermEd *e) {
  Frame f;
  e->suggestion.n = e->message.n = 0;
  e->mode = MODE_EDIT;
  e->cur = e->text.n;
  style_text(e);
  e->wrong_known = false;
  bool tall = e->nscreen >= e->rows - 1;   /* part of it is hidden: draw all of it once, below */
  if (tall && e->screen_row) term_buf_fmt(&e->out, "\033[%dA", e->screen_row);
  if (tall) {
    term_buf_str(&e->out, "\r\033[J");
    term_restart(e);
  }
  build(e, &f, true);
  write_frame(e, &f);
  term_buf_str(&e->out, "\r\n");
  term_restart(e);
  e->dirty = false;
}

/* Terminals of today wrap rows that have become too long; the cursor moves down by as many rows. */
void term_view_resized(TermEd *e, int rows, int cols) {
  int above = 0;
  for (int i = 0; i < e->screen_row && i < e->nscreen; i++)
    above += e->row_width[i] > cols ? (e->row_width[i] + cols - 1) / cols : 1;
  above += e->screen_col / cols;
  if (above > rows - 1) above = rows - 1;
  if (above > 0) term_buf_fmt(&e->out, "\033[%dA", above);
  term_buf_str(&e->out, "\r\033[J");
  term_restart(e);
}
