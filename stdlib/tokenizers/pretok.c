/* pretok.c: pre-tokenizers: each cuts the pieces of the work's text finer, some rewrite the text
 * first.
 *
 * Invariant: the pieces always cover parts of w->text in order, never empty, cut between
 * characters; pieces that are added tokens (id >= 0) pass through untouched.  A rewriting step
 * builds w->next and swaps. */
#define _GNU_SOURCE                            /* memmem */
#include "tokenizers/tk_int.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef enum {
  P_SEQ,
  P_BERT,
  P_BYTES,
  P_SPLIT,
  P_WORDS,
  P_SPACES,
  P_PUNCT,
  P_DIGITS,
  P_META,
  P_CHAR,
  P_FIXED
} PreKind;
typedef enum { B_REMOVED, B_ISOLATED, B_PREVIOUS, B_NEXT, B_CONTIGUOUS } Behavior;
typedef enum { ALWAYS, FIRST, NEVER } Prefix;
struct TkPre {
  PreKind kind;
  Behavior behavior;
  Prefix prefix;
  bool invert, add_space, map, individual, split;
  uint32_t ch; size_t length;
  TkBuf text;                                  /* Split's plain string; Metaspace's replacement */
  TkRegex *regex;
  TkPre **sub; size_t n;
};

void tk_pre_free(TkPre *p) {
  if (!p) return;
  for (size_t i = 0; i < p->n; i++) tk_pre_free(p->sub[i]);
  mt_free(p->sub); mt_free(p->text.p);
  tk_regex_free(p->regex);
  mt_free(p);
}

bool tk_pieces_add(TkPieces *p, size_t a, size_t b, int32_t id) {
  if (a >= b) return true;
  if (!tk_grow(&p->p, &p->cap, p->n + 1, sizeof *p->p)) return false;
  p->p[p->n++] = (TkPiece){(uint32_t)a, (uint32_t)b, id};
  return true;
}

/* GPT-2's letters: printable Latin-1 stands for itself, the other bytes for 256, 257, ... */
static uint16_t letters[256];
static pthread_once_t letters_once = PTHREAD_ONCE_INIT;
static void init_letters(void) {
  uint16_t next = 256;
  for (unsigned b = 0; b < 256; b++)
    letters[b] =
        (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE ? (uint16_t)b : next++;
}
const uint16_t *tk_byte_letter(void) {
  pthread_once(&letters_once, init_letters);
  return letters;
}

/* ---- cutting one piece: segments arrive in order, alternating or not, and are joined as the
 * behaviour says ---- */
typedef struct {
  TkPieces *out;
  Behavior how;
  bool invert, before, ok;
  uint32_t a, b;
  bool open;
} Cut;

static void flush(Cut *c) {
  if (c->open && c->ok) c->ok = tk_pieces_add(c->out, c->a, c->b, -1);
  c->open = false;
}

static void segment(Cut *c, size_t a, size_t b, bool match) {
  bool join = false, was = c->before;
  match = match != c->invert;
  c->before = match;
  switch (c->how) {
    case B_REMOVED: if (match) return; break;
    case B_ISOLATED: break;
    case B_CONTIGUOUS: join = match == was; break;
    case B_PREVIOUS: join = match && !was; break;
    case B_NEXT:
      join = !match && was && c->open;
      break; /* a match waits for what follows; another match frees it */
  }
  if (join && c->open) { c->b = (uint32_t)b; return; }
  flush(c);
  c->a = (uint32_t)a; c->b = (uint32_t)b; c->open = true;
}

static bool cut_regex(TkRegex *r, Cut *c, const char *s, size_t n, size_t base, TkErr *e) {
  size_t prev = 0, at = 0, ms, me;
  for (;;) {
    int k = at <= n ? tk_regex_find(r, s, n, at, &ms, &me, e) : 0;
    if (k < 0) return false;
    if (!k) break;
    if (prev != ms) segment(c, base + prev, base + ms, false);
    segment(c, base + ms, base + me, true);
    prev = me;
    at = me > ms ? me : me < n ? me + tk_char_len((unsigned char)s[me]) : n + 1;
  }
  if (prev < n) segment(c, base + prev, base + n, false);
  return true;
}

static void cut_string(const TkBuf *what, Cut *c, const char *s, size_t n, size_t base) {
  size_t prev = 0;
  while (what->n) {
    const char *hit = n - prev >= what->n ? memmem(s + prev, n - prev, what->p, what->n) : NULL;
    if (!hit) break;
    size_t at = (size_t)(hit - s);
    if (at > prev) segment(c, base + prev, base + at, false);
    segment(c, base + at, base + at + what->n, true);
    prev = at + what->n;
  }
  if (prev < n) segment(c, base + prev, base + n, false);
}

static void cut_class(unsigned flags, uint32_t ch, Cut *c, const char *s, size_t n, size_t base) {
  size_t prev = 0;
  for (size_t i = 0; i < n;) {
    size_t at = i;
    uint32_t cp = tk_next(s, &i);
    if (flags ? !(tk_rec(cp)->flags & flags) : cp != ch) continue;
    if (at > prev) segment(c, base + prev, base + at, false);
    segment(c, base + at, base + i, true);
    prev = i;
  }
  if (prev < n) segment(c, base + prev, base + n, false);
}

static bool cut_bert(TkPieces *out, const char *s, size_t a, size_t b) {
  size_t from = a;
  for (size_t i = a; i < b;) {
    size_t at = i;
    unsigned f = tk_rec(tk_next(s, &i))->flags;
    if (!(f & (TK_WHITE | TK_PUNCT))) continue;
    if (!tk_pieces_add(out, from, at, -1) || (!(f & TK_WHITE) && !tk_pieces_add(out, at, i, -1)))
      return false;
    from = i;
  }
  return tk_pieces_add(out, from, b, -1);
}

/* \w+|[^\w\s]+ as the reference's other engine has it, where the joiners count as letters */
static bool cut_words(TkPieces *out, const char *s, size_t a, size_t b) {
  size_t from = a;
  unsigned was = TK_WHITE;
  for (size_t i = a; i < b;) {
    size_t at = i;
    unsigned f = tk_rec(tk_next(s, &i))->flags, now = f & TK_WORD ? TK_WORD : f & TK_WHITE;
    if (now == was) continue;
    if (was != TK_WHITE && !tk_pieces_add(out, from, at, -1)) return false;
    from = at;
    was = now;
  }
  return was == TK_WHITE || tk_pieces_add(out, from, b, -1);
}

static bool cut_fixed(TkPieces *out, const char *s, size_t a, size_t b, size_t length) {
  size_t from = a, k = 0;
  for (size_t i = a; i < b;) {
    tk_next(s, &i);
    if (++k < length && i < b) continue;
    if (!tk_pieces_add(out, from, i, -1)) return false;
    from = i;
    k = 0;
  }
  return true;
}

static bool cut_piece(TkPre *p, TkWork *w, TkPiece x, TkErr *e) {
  const char *s = w->text.s + x.a;
  size_t n = x.b - x.a;
  Cut c = {.out = &w->spare, .how = p->behavior, .invert = p->invert, .ok = true};
  switch (p->kind) {
    case P_BERT: return cut_bert(c.out, w->text.s, x.a, x.b) || tk_oom(e);
    case P_WORDS: return cut_words(c.out, w->text.s, x.a, x.b) || tk_oom(e);
    case P_FIXED: return cut_fixed(c.out, w->text.s, x.a, x.b, p->length) || tk_oom(e);
    case P_SPACES: c.how = B_REMOVED; cut_class(TK_WHITE, 0, &c, s, n, x.a); break;
    case P_PUNCT: cut_class(TK_PUNCT, 0, &c, s, n, x.a); break;
    case P_DIGITS:
      c.how = p->individual ? B_ISOLATED : B_CONTIGUOUS;
      cut_class(TK_NUMERIC, 0, &c, s, n, x.a);
      break;
    case P_CHAR: c.how = B_REMOVED; cut_class(0, p->ch, &c, s, n, x.a); break;
    case P_META: c.how = B_NEXT; cut_string(&p->text, &c, s, n, x.a); break;
    default:
      if (!p->regex) cut_string(&p->text, &c, s, n, x.a);
      else if (!cut_regex(p->regex, &c, s, n, x.a, e)) return false;
  }
  flush(&c);
  return c.ok || tk_oom(e);
}

static bool cut_all(TkPre *p, TkWork *w, TkErr *e) {
  w->spare.n = 0;
  for (size_t i = 0; i < w->pieces.n; i++) {
    TkPiece x = w->pieces.p[i];
    if (x.id >= 0 ? !(tk_pieces_add(&w->spare, x.a, x.b, x.id) || tk_oom(e))
                  : !cut_piece(p, w, x, e))
      return false;
  }
  TkPieces t = w->pieces;
  w->pieces = w->spare;
  w->spare = t;
  return true;
}

/* ---- rewriting steps ---- */
static bool starts_with(const TkText *t, size_t a, size_t b, const char *s, size_t n) {
  return b - a >= n && memcmp(t->s + a, s, n) == 0;
}

static bool put_copy(TkText *t, const char *s, size_t n, TkSpan al) {
  if (!tk_text_reserve(t, t->n + n)) return false;
  if (n) memcpy(t->s + t->n, s, n);
  for (size_t i = 0; i < n; i++) t->al[t->n + i] = al;
  t->n += n;
  return true;
}

typedef bool (*Rewriter)(const TkPre *p, TkWork *w, TkPiece x);

static bool rewrite_all(const TkPre *p, TkWork *w, Rewriter f, TkErr *e) {
  w->next.n = 0;
  w->next.ident = false;
  if (!tk_text_reserve(&w->next, w->text.n + w->text.n / 2)) return tk_oom(e);
  for (size_t i = 0; i < w->pieces.n; i++) {
    TkPiece *x = &w->pieces.p[i];
    size_t from = w->next.n;
    if (!(x->id >= 0 ? tk_text_append(&w->next, &w->text, x->a, x->b) : f(p, w, *x)))
      return tk_oom(e);
    x->a = (uint32_t)from;
    x->b = (uint32_t)w->next.n;
  }
  TkText t = w->text;
  w->text = w->next;
  w->next = t;
  return true;
}

static bool meta_piece(const TkPre *p, TkWork *w, TkPiece x) {
  const TkText *t = &w->text;
  bool has = t->s[x.a] == ' ' || starts_with(t, x.a, x.b, p->text.p, p->text.n);
  TkSpan first = tk_text_at(t, x.a);
  if (!has && (p->prefix == ALWAYS || (p->prefix == FIRST && first.a == 0)) &&
      !put_copy(&w->next, p->text.p, p->text.n, first))
    return false;
  for (size_t i = x.a; i < x.b;) {
    if (t->s[i] == ' ') {
      if (!put_copy(&w->next, p->text.p, p->text.n, tk_text_at(t, i))) return false;
      i++;
      continue;
    }
    size_t from = i;
    while (i < x.b && t->s[i] != ' ') i++;
    if (!tk_text_append(&w->next, t, from, i)) return false;
  }
  return true;
}

static bool space_piece(const TkPre *p, TkWork *w, TkPiece x) {
  return (w->text.s[x.a] == ' ' || put_copy(&w->next, " ", 1, tk_text_at(&w->text, x.a))) &&
         tk_text_append(&w->next, &w->text, x.a, x.b);
}

static bool letter_piece(const TkPre *p, TkWork *w, TkPiece x) {
  for (size_t i = x.a; i < x.b; i++) {
    char c[4];
    if (!put_copy(&w->next, c, tk_utf8_put(c, letters[(unsigned char)w->text.s[i]]),
                  tk_text_at(&w->text, i)))
      return false;
  }
  return true;
}

static bool bytes_step(TkPre *p, TkWork *w, TkErr *e) {
  bool need = false;
  for (size_t i = 0; i < w->pieces.n && p->add_space && !need; i++)
    need = w->pieces.p[i].id < 0 && w->text.s[w->pieces.p[i].a] != ' ';
  if (need && !rewrite_all(p, w, space_piece, e)) return false;
  if (p->regex && !cut_all(p, w, e)) return false;
  return !p->map || rewrite_all(p, w, letter_piece, e);
}

bool tk_pre_apply(TkPre *p, TkWork *w, TkErr *e) {
  switch (p->kind) {
    case P_SEQ:
      for (size_t i = 0; i < p->n; i++) if (!tk_pre_apply(p->sub[i], w, e)) return false;
      return true;
    case P_BYTES: return bytes_step(p, w, e);
    case P_META: return rewrite_all(p, w, meta_piece, e) && (!p->split || cut_all(p, w, e));
    default: return cut_all(p, w, e);
  }
}

static bool has_bytes(const TkPre *p) {
  bool any = p->kind == P_BYTES;
  for (size_t i = 0; i < p->n; i++) any = any || has_bytes(p->sub[i]);
  return any;
}

bool tk_pre_ends_bytelevel(TkPre *p) {
  if (p->kind == P_BYTES) { p->map = false; return true; }
  if (p->kind != P_SEQ || !p->n) return false;
  for (size_t i = 0; i + 1 < p->n; i++) if (has_bytes(p->sub[i])) return false;
  return tk_pre_ends_bytelevel(p->sub[p->n - 1]);
}

/* ---- loading ---- */
static bool truth(const TjDoc *d, const Tj *j, const char *key, bool missing) {
  const Tj *x = tj_get(d, j, key);
  return x ? x->t == TJ_TRUE : missing;
}

static bool load_behavior(TkPre *p, const Tj *j, Behavior missing, TkErr *e) {
  static const char *const name[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext",
                                     "Contiguous"};
  p->behavior = missing;
  if (!j) return true;
  for (int i = 0; i < 5; i++) if (tj_is(j, name[i])) { p->behavior = (Behavior)i; return true; }
  return tk_fail(e, "pre_tokenizer: unknown behavior");
}

static bool load_split(TkPre *p, const TjDoc *d, const Tj *j, TkErr *e) {
  const Tj *pat = tj_get(d, j, "pattern"), *s = tj_get(d, pat, "String"),
           *r = tj_get(d, pat, "Regex");
  p->invert = truth(d, j, "invert", false);
  if (!load_behavior(p, tj_get(d, j, "behavior"), B_ISOLATED, e)) return false;
  if (r && r->t == TJ_STR) return (p->regex = tk_regex(r->s, r->len, e)) != NULL;
  if (!s || s->t != TJ_STR)
    return tk_fail(e, "pre_tokenizer: Split.pattern: expected a String or a Regex");
  return tk_put(&p->text, s->s, s->len) || tk_oom(e);
}

static bool load_meta(TkPre *p, const TjDoc *d, const Tj *j, TkErr *e) {
  const Tj *rep = tj_get(d, j, "replacement"), *scheme = tj_get(d, j, "prepend_scheme");
  if (rep && rep->t != TJ_STR)
    return tk_fail(e, "pre_tokenizer: Metaspace.replacement: expected a string");
  if (!(rep && rep->len ? tk_put(&p->text, rep->s, rep->len) : tk_put(&p->text, "\xE2\x96\x81", 3)))
    return tk_oom(e);
  p->prefix = tj_is(scheme, "never") || !truth(d, j, "add_prefix_space", true) ? NEVER
              : tj_is(scheme, "first")                                         ? FIRST
                                                                               : ALWAYS;
  p->split = truth(d, j, "split", true);
  return true;
}

static bool load_sequence(TkPre *p, const TjDoc *d, const Tj *list, int depth, TkErr *e) {
  if (!list || list->t != TJ_ARR)
    return tk_fail(e, "pre_tokenizer: Sequence.pretokenizers: expected an array");
  if (!(p->sub = mt_calloc((list->len + 1) * sizeof *p->sub))) return tk_oom(e);
  for (const Tj *c = tj_child(d, list); c; c = tj_next(d, c), p->n++)
    if (!(p->sub[p->n] = tk_pre_load(d, c, depth + 1, e))) return false;
  return true;
}

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
static bool pattern(TkPre *p, const char *s, TkErr *e) {
  return (p->regex = tk_regex(s, strlen(s), e)) != NULL;
}

static bool fill(TkPre *p, const TjDoc *d, const Tj *j, int depth, TkErr *e) {
  static const struct { const char *name; PreKind kind;
  } K[] = {{"Sequence", P_SEQ},      {"BertPreTokenizer", P_BERT},
           {"ByteLevel", P_BYTES},   {"Split", P_SPLIT},
           {"Whitespace", P_WORDS},  {"WhitespaceSplit", P_SPACES},
           {"Punctuation", P_PUNCT}, {"Digits", P_DIGITS},
           {"Metaspace", P_META},    {"CharDelimiterSplit", P_CHAR},
           {"FixedLength", P_FIXED}};
  const Tj *type = tj_get(d, j, "type"), *x;
  size_t k = 0, n = sizeof K / sizeof *K, i = 0;
  while (k < n && !tj_is(type, K[k].name)) k++;
  if (k == n)
    return tk_fail(e, "pre_tokenizer: unknown type '%.60s'",
                   type && type->t == TJ_STR ? type->s : "?");
  switch (p->kind = K[k].kind) {
    case P_SEQ: return load_sequence(p, d, tj_get(d, j, "pretokenizers"), depth, e);
    case P_BYTES:
      tk_byte_letter();
      p->map = true;
      p->add_space = truth(d, j, "add_prefix_space", true);
      p->behavior = B_ISOLATED;
      return !truth(d, j, "use_regex", true) || pattern(p, GPT2, e);
    case P_SPLIT: return load_split(p, d, j, e);
    case P_PUNCT: return load_behavior(p, tj_get(d, j, "behavior"), B_ISOLATED, e);
    case P_DIGITS: p->individual = truth(d, j, "individual_digits", false); return true;
    case P_META: return load_meta(p, d, j, e);
    case P_CHAR:
      if (!(x = tj_get(d, j, "delimiter")) || x->t != TJ_STR || !x->len)
        return tk_fail(e, "pre_tokenizer: CharDelimiterSplit.delimiter: expected a character");
      p->ch = tk_next(x->s, &i);
      return true;
    case P_FIXED:
      x = tj_get(d, j, "length");
      if (x && (x->t != TJ_NUM || !(x->num >= 1 && x->num < 1e9)))
        return tk_fail(e, "pre_tokenizer: FixedLength.length: expected a positive number");
      p->length = x ? (size_t)x->num : 5;
      return true;
    default: return true;
  }
}

TkPre *tk_pre_load(const TjDoc *d, const Tj *j, int depth, TkErr *e) {
  if (depth > 8) { tk_fail(e, "pre_tokenizer: nested too deeply"); return NULL; }
  TkPre *p = mt_calloc(sizeof *p);
  if (!p) { tk_oom(e); return NULL; }
  if (fill(p, d, j, depth, e)) return p;
  tk_pre_free(p);
  return NULL;
}
