/* ed.h: inside the editor.  keys.c turns bytes into keys, text.c changes the block, mode.c holds
 * history search and the completion menu, view.c draws, ed.c decides what a key does. */
#ifndef TERM_ED_H
#define TERM_ED_H
#include "term.h"

/* A key: a code point or one of these, plus modifiers. */
enum {
  KEY_NONE = 0x110000,
  KEY_UP,
  KEY_DOWN,
  KEY_LEFT,
  KEY_RIGHT,
  KEY_HOME,
  KEY_END,
  KEY_DELETE,
  KEY_PAGE_UP,
  KEY_PAGE_DOWN,
  KEY_BACKTAB,
  KEY_PASTE,
  KEY_RAW,
  KEY_IGNORE
};
enum { ALT = 1 << 24, CTRL = 1 << 25, SHIFT = 1 << 26, KEY_CODE = ALT - 1 };
#define CTL(c) ((c) & 31)

typedef struct { char *s; size_t n, cur; } Snapshot;
enum { MODE_EDIT, MODE_SEARCH, MODE_MENU };
enum { UNDO_MAX = 200, KILLS = 16 };
enum { LAST_OTHER, LAST_TYPE, LAST_KILL, LAST_YANK, LAST_VERTICAL, LAST_HISTORY };

struct TermEd {
  TermHooks hooks;
  TermHist *hist;
  int rows, cols;
  bool color;
  /* bytes not yet understood (from in_at on); bytes for the screen */
  TermBuf in, out;
  size_t in_at;
  TermBuf paste;                           /* what stands between the paste brackets */
  bool pasting;
  TermBuf prompt, prompt2;

  TermBuf text;
  size_t cur;
  /* kind of the last command; column that Up and Down keep */
  int last, goal;
  Snapshot undo[UNDO_MAX];
  int nundo;
  TermBuf kill[KILLS];
  int nkill, yank_at;                      /* yank_at: which kill M-y showed */
  size_t yank_from;

  size_t hist_at;                          /* entry shown; hist count: the block being written */
  TermBuf draft;                           /* that block while history is shown */
  /* Up and Down keep to entries with this many bytes of the draft */
  size_t prefix;
  TermBuf suggestion;                      /* what the history would add at the end */

  int mode;
  TermBuf query;                           /* search */
  size_t *found, nfound, found_cap, chosen;
  TermBuf before;                          /* the text before the search or the menu */
  size_t before_cur;
  TermCompletion menu;
  long picked;                             /* -1: only shown */
  TermBuf message;                         /* one line under the text until the next key */

  TermBuf *screen;                         /* rows as last drawn */
  int nscreen, screen_cap, screen_row;     /* screen_row: where the cursor stands */
  int *row_width, screen_col;
  uint8_t *style;
  size_t style_cap;
  bool dirty, wrong_known;
  size_t wrong_from, wrong_to;
};

/* keys.c: the next key of e->in, KEY_NONE when more bytes are needed.  flush: no more will come. */
uint32_t term_next_key(TermEd *e, bool flush, char raw[8], size_t *nraw);

/* text.c */
void term_save_undo(TermEd *e, int kind);
void term_undo(TermEd *e);
void term_forget_undo(TermEd *e);
void term_insert(TermEd *e, const char *s, size_t n);
void term_replace(TermEd *e, size_t from, size_t to, const char *s, size_t n);
size_t term_line_start(const TermEd *e, size_t at);
size_t term_line_end(const TermEd *e, size_t at);
size_t term_word_left(const TermEd *e, size_t at);
size_t term_word_right(const TermEd *e, size_t at);
void term_kill_range(TermEd *e, size_t from, size_t to, bool before);
void term_yank(TermEd *e);
void term_yank_pop(TermEd *e);
bool term_vertical(TermEd *e, int direction);              /* false: there is no such line */
void term_change_case(TermEd *e, int how);                 /* 'u', 'l' or 'c' */
void term_transpose(TermEd *e);
void term_newline(TermEd *e);
void term_dedent(TermEd *e);                               /* after `end` and friends were typed */
void term_clean_paste(TermBuf *b);                         /* line ends, prompts of a transcript */

/* mode.c */
bool term_history(TermEd *e, int direction);
void term_suggest(TermEd *e);
void term_search_start(TermEd *e);
/* false: the key is for the text */
bool term_search_key(TermEd *e, uint32_t key, const char *raw, size_t nraw);
void term_complete(TermEd *e);
bool term_menu_key(TermEd *e, uint32_t key);
void term_menu_close(TermEd *e);

/* view.c */
/* last look of the block; the cursor goes below it */
void term_finish_view(TermEd *e);
void term_view_resized(TermEd *e, int rows, int cols);
#endif
