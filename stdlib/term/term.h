/* term.h: a line editor for the terminal that can be driven without one.
 *
 * Invariants.  A TermEd takes bytes (term_feed), keeps a block of text with a cursor, and leaves
 * in its output buffer the bytes that bring the screen up to date; it never reads, writes or
 * waits itself (tty.c does).  It knows no Lua: what is complete, what could follow and how to
 * colour comes through TermHooks.  Text may hold any bytes; what is not UTF-8 or not printable
 * is shown escaped, so nothing typed or pasted can reach the terminal as a command.  A failed
 * allocation loses the key that needed it, never the text. */
#ifndef TERM_H
#define TERM_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- byte strings ---- */
typedef struct { char *s; size_t n, cap; } TermBuf;        /* s is NULL or ends in a NUL beyond n */
/* all or nothing, as every function of this group */
bool term_buf_add(TermBuf *b, const char *s, size_t n);
bool term_buf_str(TermBuf *b, const char *s);
bool term_buf_ch(TermBuf *b, char c);
bool term_buf_fmt(TermBuf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool term_buf_insert(TermBuf *b, size_t at, const char *s, size_t n);
void term_buf_erase(TermBuf *b, size_t from, size_t to);
bool term_buf_set(TermBuf *b, const char *s, size_t n);
void term_buf_free(TermBuf *b);

/* ---- Unicode ---- */
/* bytes used; an invalid byte is 1 and TERM_BAD */
size_t term_decode(const char *s, size_t n, uint32_t *cp);
#define TERM_BAD 0xFFFFFFFFu
int term_cp_width(uint32_t cp);                            /* 0, 1, 2; -1 control or invalid */
/* bytes of the next user-perceived character */
size_t term_cluster(const char *s, size_t n, int *width);
size_t term_cluster_before(const char *s, size_t at);      /* bytes of the one that ends at `at` */
int term_width(const char *s, size_t n);                   /* columns as shown by term_show */
/* Appends a printable form of one cluster (controls as ^A, bad bytes as <FF>); columns used. */
int term_show(TermBuf *out, const char *s, size_t n);

/* ---- Lua text ---- */
enum {
  TERM_PLAIN,
  TERM_KEYWORD,
  TERM_NUMBER,
  TERM_STRING,
  TERM_COMMENT,
  TERM_NAME,
  TERM_PUNCT,
  TERM_CALL,
  TERM_ERROR,
  TERM_COMMAND,
  TERM_STYLES
};
void term_lua_styles(const char *s, size_t n, uint8_t *style);             /* one style per byte */
/* columns for the line that starts there */
int term_lua_indent(const char *s, size_t n, size_t line);
/* The bracket that pairs with the one at `at`: its offset, or n when there is none; n + 1: not a
 * bracket of code. */
size_t term_lua_match(const char *s, const uint8_t *style, size_t n, size_t at);

/* ---- history ---- */
typedef struct TermHist TermHist;
/* NULL path: memory only; NULL when out of memory */
TermHist *term_hist_open(const char *path);
void term_hist_free(TermHist *h);
/* 0, or the errno that kept it from the disk */
int term_hist_add(TermHist *h, const char *s, size_t n);
/* takes in what other sessions appended */
void term_hist_sync(TermHist *h);
size_t term_hist_count(TermHist *h);
const char *term_hist_get(TermHist *h, size_t i, size_t *n);

/* ---- the editor ---- */
typedef struct { TermBuf text, note; } TermCandidate;
typedef struct {
  size_t from;                                             /* candidates replace [from, cursor) */
  TermCandidate *v;
  size_t n, cap;
} TermCompletion;
bool term_candidate(TermCompletion *c, const char *text, size_t n, const char *note);

typedef enum { TERM_INCOMPLETE, TERM_COMPLETE, TERM_WRONG } TermVerdict;
typedef struct {
  void *ud;
  /* from..to: what is wrong */
  TermVerdict (*check)(void *ud, const char *s, size_t n, size_t *from, size_t *to);
  void (*complete)(void *ud, const char *s, size_t n, size_t cursor, TermCompletion *out);
  /* \1 .. \2 stands out */
  void (*hint)(void *ud, const char *s, size_t n, size_t cursor, TermBuf *out);
} TermHooks;

typedef enum {
  TERM_MORE,
  TERM_LINE,
  TERM_EOF,
  TERM_CANCEL,
  TERM_SUSPEND,
  TERM_EDIT,
  TERM_CLOSED
} TermEvent;
typedef struct TermEd TermEd;
TermEd *term_new(const TermHooks *hooks, TermHist *hist);
void term_free(TermEd *e);
void term_resize(TermEd *e, int rows, int cols);
void term_set_color(TermEd *e, bool color);
/* a new block; pending input is kept */
bool term_begin(TermEd *e, const char *prompt, const char *prompt2);
/* stops after an event; the rest waits for n = 0 */
TermEvent term_feed(TermEd *e, const char *s, size_t n);
/* no more bytes came: an Escape was the key */
TermEvent term_timeout(TermEd *e);
/* an unfinished key sequence is pending */
bool term_waiting(const TermEd *e);
/* screen up to date, in the output buffer */
void term_refresh(TermEd *e);
/* the screen is not what it was: draw anew from here */
void term_restart(TermEd *e);
const char *term_text(const TermEd *e, size_t *n);
bool term_set_text(TermEd *e, const char *s, size_t n);
size_t term_cursor(const TermEd *e);
/* to be written and emptied by the caller */
TermBuf *term_output(TermEd *e);

/* ---- the terminal (tty.c) ---- */
bool term_tty_size(int fd, int *rows, int *cols);
bool term_tty_raw(int fd);
void term_tty_cooked(void);
/* Lets the user write the block begun: TERM_LINE, TERM_EOF, TERM_CANCEL, TERM_EDIT or
 * TERM_CLOSED; the text is in e. */
TermEvent term_tty_read(TermEd *e, int in, int out);
#endif
