/* decode.c: tokens back to text: a chain of steps over a list of strings, joined at the end.
 *
 * Invariant: a step takes the list and leaves a list; strings that a step makes live in one pool,
 * given by offset until the step is over, so that the pool may move.  The text that comes out is
 * valid UTF-8. */
#define _GNU_SOURCE                            /* memmem */
#include "tokenizers/tk_int.h"
#include <stdlib.h>
#include <string.h>

typedef enum {
  D_SEQ,
  D_BYTES,
  D_WORDPIECE,
  D_META,
  D_BPE,
  D_CTC,
  D_REPLACE,
  D_FUSE,
  D_STRIP,
  D_FALLBACK
} DecKind;
struct TkDec {
  DecKind kind;
  TkBuf a, b; /* prefix, suffix, pattern and content, pad and delimiter: by kind */
  TkRegex *regex;
  bool cleanup, keep_first;
  uint32_t ch; size_t start, stop;
  TkDec **sub; size_t n;
};

typedef struct { size_t at, n; } Str;          /* in the pool */
typedef struct { Str *p; size_t n, cap; TkBuf pool; bool ok; } List;

void tk_dec_free(TkDec *x) {
  if (!x) return;
  for (size_t i = 0; i < x->n; i++) tk_dec_free(x->sub[i]);
  mt_free(x->sub); mt_free(x->a.p); mt_free(x->b.p);
  tk_regex_free(x->regex);
  mt_free(x);
}

static void begin(List *l) {
  if (!l->ok || !(l->ok = tk_grow(&l->p, &l->cap, l->n + 1, sizeof *l->p))) return;
  l->p[l->n++] = (Str){l->pool.n, 0};
}
static void put(List *l, const char *s, size_t n) {
  if (!l->ok || !(l->ok = tk_put(&l->pool, s, n))) return;
  l->p[l->n - 1].n += n;
}
static const char *str(const List *l, size_t i) { return l->pool.p + l->p[i].at; }
static void clear(List *l) { l->n = 0; l->pool.n = 0; l->ok = true; }
static void drop(List *l) { mt_free(l->p); mt_free(l->pool.p); }

/* Copies s to the open string, every `from` replaced by `to`. */
static void put_replaced(List *l, const char *s, size_t n, const char *from, size_t nf,
                         const char *to, size_t nt) {
  while (nf) {
    const char *hit = n >= nf ? memmem(s, n, from, nf) : NULL;
    if (!hit) break;
    put(l, s, (size_t)(hit - s));
    put(l, to, nt);
    n -= (size_t)(hit - s) + nf;
    s = hit + nf;
  }
  put(l, s, n);
}

/* ---- the steps: in -> out ---- */
static void put_lossy(List *l, const char *s,
                      size_t n) { /* maximal invalid parts become U+FFFD, as Rust does */
  while (n) {
    size_t good = tk_utf8_bad(s, n);
    put(l, s, good);
    s += good;
    n -= good;
    if (!n) return;
    unsigned char c = (unsigned char)s[0];
    size_t want = c >= 0xC2 && c < 0xE0   ? 2
                  : c >= 0xE0 && c < 0xF0 ? 3
                  : c >= 0xF0 && c < 0xF5 ? 4
                                          : 1,
           k = 1;
    while (k < want && k < n) {
      unsigned char x = (unsigned char)s[k], lo = 0x80, hi = 0xBF;
      if (k == 1) {
        if (c == 0xE0) lo = 0xA0;
        if (c == 0xED) hi = 0x9F;
        if (c == 0xF0) lo = 0x90;
        if (c == 0xF4) hi = 0x8F;
      }
      if (x < lo || x > hi) break;
      k++;
    }
    put(l, "\xEF\xBF\xBD", 3);
    s += k;
    n -= k;
  }
}

static bool letters_to_bytes(TkBuf *out, const char *s, size_t n,
                             const int16_t *byte) { /* false: not all letters */
  size_t had = out->n;
  for (size_t i = 0; i < n;) {
    uint32_t cp = tk_next(s, &i);
    char c;
    if (cp >= 512 || byte[cp] < 0) { out->n = had; return false; }
    c = (char)byte[cp];
    if (!tk_put(out, &c, 1)) return false;
  }
  return true;
}

static void step_bytes(const List *in, List *out) {
  const uint16_t *letter = tk_byte_letter();
  int16_t byte[512];
  TkBuf raw = {0};
  memset(byte, 0xFF, sizeof byte);
  for (int i = 0; i < 256; i++) byte[letter[i]] = (int16_t)i;
  for (size_t i = 0; i < in->n && out->ok; i++)
    if (!letters_to_bytes(&raw, str(in, i), in->p[i].n, byte))
      out->ok = tk_put(&raw, str(in, i), in->p[i].n);
  begin(out);
  if (raw.n) put_lossy(out, raw.p, raw.n);
  mt_free(raw.p);
}

static void clean(List *l, const char *s, size_t n) {
  static const char *const rule[][2] = {{" .", "."},     {" ?", "?"},           {" !", "!"},
                                        {" ,", ","},     {" ' ", "'"},          {" n't", "n't"},
                                        {" 'm", "'m"},   {" do not", " don't"}, {" 's", "'s"},
                                        {" 've", "'ve"}, {" 're", "'re"}};
  List work = {.ok = true}, next = {.ok = true};
  begin(&work);
  put(&work, s, n);
  for (size_t k = 0; k < sizeof rule / sizeof *rule && work.ok; k++) {
    clear(&next);
    begin(&next);
    put_replaced(&next, str(&work, 0), work.p[0].n, rule[k][0], strlen(rule[k][0]), rule[k][1],
                 strlen(rule[k][1]));
    List t = work;
    work = next;
    next = t;
  }
  if (work.ok) put(l, str(&work, 0), work.p[0].n); else l->ok = false;
  drop(&work);
  drop(&next);
}

static void step_wordpiece(const TkDec *x, const List *in, List *out) {
  TkBuf piece = {0};
  for (size_t i = 0; i < in->n && out->ok; i++) {
    const char *s = str(in, i);
    size_t n = in->p[i].n;
    bool follows = i && n >= x->a.n && (!x->a.n || memcmp(s, x->a.p, x->a.n) == 0);
    piece.n = 0;
    if (i && !follows) out->ok = tk_put(&piece, " ", 1);
    out->ok = out->ok && tk_put(&piece, s + (follows ? x->a.n : 0), n - (follows ? x->a.n : 0));
    begin(out);
    if (!out->ok) break;
    if (x->cleanup) clean(out, piece.p, piece.n); else put(out, piece.p, piece.n);
  }
  mt_free(piece.p);
}

static void step_meta(const TkDec *x, const List *in, List *out) {
  for (size_t i = 0; i < in->n && out->ok; i++) {
    begin(out);
    bool lose = i == 0 && !x->keep_first;
    put_replaced(out, str(in, i), in->p[i].n, x->a.p, x->a.n, " ", lose ? 0 : 1);
  }
}

static void step_fallback(const List *in, List *out) {
  TkBuf raw = {0};
  for (size_t i = 0; i <= in->n && out->ok; i++) {
    const char *s = i < in->n ? str(in, i) : "";
    char *end, hex[3] = {0};
    if (i < in->n && in->p[i].n == 6 && memcmp(s, "<0x", 3) == 0 && s[5] == '>') {
      memcpy(hex, s + 3, 2);
      long v = strtol(hex, &end, 16);
      bool digits = end == hex + 2 && hex[0] != '-' && hex[0] != ' ' && ((hex[0] | 32) != 'x') &&
                    ((hex[1] | 32) != 'x');
      char c = (char)v;
      if (digits) { out->ok = tk_put(&raw, &c, 1); continue; }
    }
    if (raw.n && tk_utf8_bad(raw.p, raw.n) == raw.n) { begin(out); put(out, raw.p, raw.n); }
    else for (size_t k = 0; k < raw.n; k++) { begin(out); put(out, "\xEF\xBF\xBD", 3); }
    raw.n = 0;
    if (i < in->n) { begin(out); put(out, s, in->p[i].n); }
  }
  mt_free(raw.p);
}

static void step_strip(const TkDec *x, const List *in, List *out) {
  for (size_t i = 0; i < in->n && out->ok; i++) {
    const char *s = str(in, i);
    size_t a = 0, b = in->p[i].n, k;
    for (k = 0; k < x->start && a < b; k++) {
      size_t j = a;
      if (tk_next(s, &j) != x->ch) break;
      a = j;
    }
    for (k = 0; k < x->stop && b > a; k++) {
      size_t j = tk_prev(s, b), q = j;
      if (tk_next(s, &q) != x->ch) break;
      b = j;
    }
    begin(out);
    put(out, s + a, b - a);
  }
}

static bool step_replace(const TkDec *x, const List *in, List *out, TkErr *e) {
  for (size_t i = 0; i < in->n && out->ok; i++) {
    const char *s = str(in, i);
    size_t n = in->p[i].n, at = 0, ms, me;
    begin(out);
    if (!x->regex) { put_replaced(out, s, n, x->a.p, x->a.n, x->b.p, x->b.n); continue; }
    while (at < n) {
      int k = tk_regex_find(x->regex, s, n, at, &ms, &me, e);
      if (k < 0) return false;
      if (!k) break;
      if (me == ms) me += ms < n ? tk_char_len((unsigned char)s[ms]) : 0, put(out, s + at, me - at);
      else { put(out, s + at, ms - at); put(out, x->b.p, x->b.n); }
      if (me == at) break;
      at = me;
    }
    put(out, s + at, n - at);
  }
  return true;
}

static void step_bpe(const TkDec *x, const List *in, List *out) {
  for (size_t i = 0; i < in->n && out->ok; i++) {
    begin(out);
    put_replaced(out, str(in, i), in->p[i].n, x->a.p, x->a.n, " ", i + 1 < in->n ? 1 : 0);
  }
}

static void step_ctc(const TkDec *x, const List *in,
                     List *out) { /* a: padding token, b: word delimiter */
  for (size_t i = 0; i < in->n && out->ok; i++) {
    const char *s = str(in, i);
    size_t n = in->p[i].n;
    if (i && in->p[i - 1].n == n && memcmp(str(in, i - 1), s, n) == 0) continue;
    List one = {.ok = true}, two = {.ok = true};
    begin(&one);
    put_replaced(&one, s, n, x->a.p, x->a.n, "", 0);
    begin(&two);
    if (one.ok && x->cleanup) clean(&two, str(&one, 0), one.p[0].n);
    else if (one.ok) put(&two, str(&one, 0), one.p[0].n);
    if (!(out->ok = out->ok && one.ok && two.ok)) ;
    else if (two.p[0].n) {
      begin(out);
      put_replaced(out, str(&two, 0), two.p[0].n, x->b.p, x->cleanup ? x->b.n : 0, " ", 1);
    }
    drop(&one);
    drop(&two);
  }
}

static bool step(const TkDec *x, List *in, List *out, TkErr *e) {
  clear(out);
  switch (x->kind) {
    case D_SEQ:
      for (size_t i = 0; i < x->n; i++) {
        if (!step(x->sub[i], in, out, e)) return false;
        List t = *in;
        *in = *out;
        *out = t;
      }
      List t = *in;                                          /* the caller swaps once more */
      *in = *out;
      *out = t;
      return true;
    case D_BYTES: step_bytes(in, out); break;
    case D_WORDPIECE: step_wordpiece(x, in, out); break;
    case D_META: step_meta(x, in, out); break;
    case D_BPE: step_bpe(x, in, out); break;
    case D_CTC: step_ctc(x, in, out); break;
    case D_REPLACE: if (!step_replace(x, in, out, e)) return false; break;
    case D_STRIP: step_strip(x, in, out); break;
    case D_FALLBACK: step_fallback(in, out); break;
    case D_FUSE:
      begin(out);
      for (size_t i = 0; i < in->n && out->ok; i++) put(out, str(in, i), in->p[i].n);
      break;
  }
  return out->ok || tk_oom(e);
}

bool tk_dec_apply(const TkDec *x, const TkStr *tokens, size_t n, TkBuf *text, TkErr *e) {
  List in = {.ok = true}, out = {.ok = true};
  for (size_t i = 0; i < n && in.ok; i++) {
    begin(&in);
    if (!x && i) put(&in, " ", 1);
    put(&in, tokens[i].s, tokens[i].n);
  }
  bool ok = in.ok || tk_oom(e);
  if (ok && x) {
    ok = step(x, &in, &out, e);
    List t = in;
    in = out;
    out = t;
  }
  for (size_t i = 0; ok && i < in.n; i++) ok = tk_put(text, str(&in, i), in.p[i].n) || tk_oom(e);
  if (ok && !text->p) ok = tk_put(text, "", 0) || tk_oom(e);
  drop(&in);
  drop(&out);
  return ok;
}

/* ---- loading ---- */
static bool take(TkBuf *b, const Tj *s, const char *missing, const char *what, TkErr *e) {
  if (s && s->t != TJ_STR) return tk_fail(e, "decoder: %s: expected a string", what);
  if (!s && !missing) return tk_fail(e, "decoder: %s is missing", what);
  return (s ? tk_put(b, s->s, s->len) : tk_put(b, missing, strlen(missing))) || tk_oom(e);
}

static bool truth(const TjDoc *d, const Tj *j, const char *key, bool missing) {
  const Tj *x = tj_get(d, j, key);
  return x ? x->t == TJ_TRUE : missing;
}

static size_t whole(const TjDoc *d, const Tj *j, const char *key) {
  const Tj *x = tj_get(d, j, key);
  return x && x->t == TJ_NUM && x->num >= 0 && x->num < 1e9 ? (size_t)x->num : 0;
}

static bool load_sequence(TkDec *x, const TjDoc *d, const Tj *list, int depth, TkErr *e) {
  if (!list || list->t != TJ_ARR)
    return tk_fail(e, "decoder: Sequence.decoders: expected an array");
  if (!(x->sub = mt_calloc((list->len + 1) * sizeof *x->sub))) return tk_oom(e);
  for (const Tj *c = tj_child(d, list); c; c = tj_next(d, c), x->n++)
    if (!(x->sub[x->n] = tk_dec_load(d, c, depth + 1, e))) return false;
  return true;
}

static bool load_replace(TkDec *x, const TjDoc *d, const Tj *j, TkErr *e) {
  const Tj *pat = tj_get(d, j, "pattern"), *s = tj_get(d, pat, "String"),
           *r = tj_get(d, pat, "Regex");
  if (r && r->t == TJ_STR) { if (!(x->regex = tk_regex(r->s, r->len, e))) return false; }
  else if (!take(&x->a, s, NULL, "Replace.pattern", e)) return false;
  return take(&x->b, tj_get(d, j, "content"), NULL, "Replace.content", e);
}

static bool fill(TkDec *x, const TjDoc *d, const Tj *j, int depth, TkErr *e) {
  static const char *const name[] = {"Sequence",   "ByteLevel",   "WordPiece", "Metaspace",
                                     "BPEDecoder", "CTC",         "Replace",   "Fuse",
                                     "Strip",      "ByteFallback"};
  const Tj *type = tj_get(d, j, "type"), *s;
  size_t k = 0, i = 0;
  while (k < 10 && !tj_is(type, name[k])) k++;
  if (k == 10)
    return tk_fail(e, "decoder: unknown type '%.60s'", type && type->t == TJ_STR ? type->s : "?");
  x->cleanup = truth(d, j, "cleanup", true);
  switch (x->kind = (DecKind)k) {
    case D_SEQ: return load_sequence(x, d, tj_get(d, j, "decoders"), depth, e);
    case D_WORDPIECE: return take(&x->a, tj_get(d, j, "prefix"), "##", "WordPiece.prefix", e);
    case D_META:
      x->keep_first =
          tj_is(tj_get(d, j, "prepend_scheme"), "never") || !truth(d, j, "add_prefix_space", true);
      return take(&x->a, tj_get(d, j, "replacement"), "\xE2\x96\x81", "Metaspace.replacement", e);
    case D_BPE: return take(&x->a, tj_get(d, j, "suffix"), "</w>", "BPEDecoder.suffix", e);
    case D_CTC:
      return take(&x->a, tj_get(d, j, "pad_token"), "<pad>", "CTC.pad_token", e) &&
             take(&x->b, tj_get(d, j, "word_delimiter_token"), "|", "CTC.word_delimiter_token", e);
    case D_REPLACE: return load_replace(x, d, j, e);
    case D_STRIP:
      if (!(s = tj_get(d, j, "content")) || s->t != TJ_STR || !s->len)
        return tk_fail(e, "decoder: Strip.content: expected a character");
      x->ch = tk_next(s->s, &i);
      x->start = whole(d, j, "start");
      x->stop = whole(d, j, "stop");
      return true;
    default: return true;
  }
}

TkDec *tk_dec_load(const TjDoc *d, const Tj *j, int depth, TkErr *e) {
  if (depth > 8) { tk_fail(e, "decoder: nested too deeply"); return NULL; }
  TkDec *x = mt_calloc(sizeof *x);
  if (!x) { tk_oom(e); return NULL; }
  if (fill(x, d, j, depth, e)) return x;
  tk_dec_free(x);
  return NULL;
}
