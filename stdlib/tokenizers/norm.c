/* norm.c: normalizers: each rewrites a text and keeps, byte by byte, where it came from.
 *
 * Invariant: tk_norm_apply leaves in t the rewritten text; tmp is scratch.  A text that a
 * normalizer does not change keeps its cheap identity alignment; one that needs rewriting gets its
 * own first.  The change counts handed to tk_xf_put are the reference's, quirks included, because
 * offsets are compared with it. */
#define _GNU_SOURCE                            /* memmem */
#include "tokenizers/tk_int.h"
#include <stdlib.h>
#include <string.h>

typedef enum {
  NM_SEQ,
  NM_BERT,
  NM_FORM,
  NM_LOWER,
  NM_STRIP,
  NM_ACCENTS,
  NM_REPLACE,
  NM_PREPEND,
  NM_NMT,
  NM_PRECOMPILED,
  NM_BYTES
} NmKind;
struct TkNorm {
  NmKind kind;
  TkForm form;
  bool clean, cjk, accents, lower;             /* BertNormalizer */
  bool left, right;                            /* Strip */
  TkBuf from, to;                              /* Replace (a plain string), Prepend */
  TkRegex *regex;
  uint32_t *units; size_t nunits;              /* Precompiled: double array and its strings */
  TkNorm **sub; size_t n;
};

void tk_norm_free(TkNorm *nm) {
  if (!nm) return;
  for (size_t i = 0; i < nm->n; i++) tk_norm_free(nm->sub[i]);
  mt_free(nm->sub); mt_free(nm->from.p); mt_free(nm->to.p); mt_free(nm->units);
  tk_regex_free(nm->regex);
  mt_free(nm);
}

static void swap_texts(TkText *a, TkText *b) { TkText t = *a; *a = *b; *b = t; }

static bool done(TkXf *x, TkText *t, TkText *tmp, TkErr *e) {
  if (!x->ok) return tk_oom(e);
  swap_texts(t, tmp);
  return true;
}

/* ---- normal forms: decompose, order the marks, compose; each character drags its change count
 * along ---- */
typedef struct { uint32_t cp; int change; uint8_t ccc; } Mark;
typedef struct { Mark *p; size_t n, cap; } Marks;

static bool push_mark(Marks *m, uint32_t cp, int change) {
  if (!tk_grow(&m->p, &m->cap, m->n + 1, sizeof *m->p)) return false;
  m->p[m->n++] = (Mark){cp, change, (uint8_t)tk_rec(cp)->ccc};
  return true;
}

static bool decompose_all(const TkText *t, bool compat, Marks *m) {
  for (size_t i = 0; i < t->n;) {
    uint32_t cp = tk_next(t->s, &i), tmp[3];
    const uint32_t *d = NULL;
    size_t k = cp < 128 ? 0 : tk_decompose(cp, compat, &d, tmp);
    if (!k && !push_mark(m, cp, 0)) return false;
    for (size_t j = 0; j < k; j++) if (!push_mark(m, d[j], j > 0)) return false;
  }
  for (size_t i = 0; i < m->n;) { /* stable order within each run of marks */
    if (!m->p[i].ccc) { i++; continue; }
    size_t from = i;
    for (; i < m->n && m->p[i].ccc; i++) {
      Mark x = m->p[i];
      size_t k = i;
      if (i - from > 400) continue; /* hostile: leave the rest of an absurd run as it stands */
      for (; k > from && m->p[k - 1].ccc > x.ccc; k--) m->p[k] = m->p[k - 1];
      m->p[k] = x;
    }
  }
  return true;
}

static size_t compose_all(Mark *p, size_t n) {               /* in place; returns the new count */
  size_t out = 0, i = 0;
  while (i < n) {
    if (p[i].ccc) { p[out++] = p[i++]; continue; }
    Mark base = p[i++];
    size_t at = out++; /* base's place; its left-over marks follow */
    int last = -1;
    for (; i < n; i++) {
      uint32_t c = 0;
      if (last < (int)p[i].ccc || last < 0) c = tk_compose(base.cp, p[i].cp);
      if (c) { base.change += p[i].change - 1; base.cp = c; continue; }
      if (!p[i].ccc) break;
      last = p[i].ccc;
      p[out++] = p[i];
    }
    p[at] = base;
  }
  return out;
}

static bool normal_form(TkForm f, TkText *t, TkText *tmp, TkErr *e) {
  bool inert = tk_is_ascii(t->s, t->n);
  if (!inert) {
    inert = true;
    for (size_t i = 0; i < t->n && inert;) {
      if ((unsigned char)t->s[i] < 0x80) i++;
      else inert = tk_nf_inert(f, tk_next(t->s, &i));
    }
  }
  if (inert) return true;
  Marks m = {0};
  bool ok = tk_text_own(t) && decompose_all(t, f == TK_NFKC || f == TK_NFKD, &m);
  if (ok && (f == TK_NFC || f == TK_NFKC)) m.n = compose_all(m.p, m.n);
  TkXf x = tk_xf(t, tmp);
  for (size_t i = 0; ok && i < m.n; i++) tk_xf_put(&x, m.p[i].cp, m.p[i].change);
  mt_free(m.p);
  return ok ? done(&x, t, tmp, e) : tk_oom(e);
}

bool tk_nfkc(const char *s, size_t n, char **out, size_t *len, TkErr *e) {
  TkText t = {0}, tmp = {0};
  bool ok = ((tk_uni_init() && tk_text_set(&t, s, 0, n, true)) || tk_oom(e)) &&
            normal_form(TK_NFKC, &t, &tmp, e);
  if (ok) {
    *out = mt_malloc(t.n + 1);
    ok = *out || tk_oom(e);
  }
  if (ok) {
    if (t.n) memcpy(*out, t.s, t.n);
    (*out)[t.n] = 0;
    *len = t.n;
  }
  tk_text_free(&t);
  tk_text_free(&tmp);
  return ok;
}

/* ---- filters and maps ---- */
static bool lower_text(TkText *t, TkText *tmp, TkErr *e) {
  bool same = true; /* every capital has a small letter of as many bytes */
  for (size_t i = 0; i < t->n;) {
    size_t at = i;
    uint32_t cp = tk_next(t->s, &i), low = cp < 128 ? cp : tk_lower(cp);
    char c[4];
    if (low != cp && tk_utf8_put(c, low) != i - at) { same = false; break; }
    if (low != cp && cp == 0x130) { same = false; break; }
  }
  if (same) {
    for (size_t i = 0; i < t->n;) {
      size_t at = i;
      uint32_t cp = tk_next(t->s, &i);
      if (cp < 128) { if (cp - 'A' < 26u) t->s[at] |= 32; }
      else tk_utf8_put(t->s + at, tk_lower(cp));
    }
    return true;
  }
  if (!tk_text_own(t)) return tk_oom(e);
  TkXf x = tk_xf(t, tmp);
  for (size_t i = 0; i < t->n;) {
    uint32_t cp = tk_next(t->s, &i);
    tk_xf_put(&x, tk_lower(cp), 0);
    if (cp == 0x130) tk_xf_put(&x, 0x307, 1);
  }
  return done(&x, t, tmp, e);
}

/* Keeps the characters whose record has none of the flags. */
static bool drop_flagged(TkText *t, unsigned flags) {
  size_t out = 0;
  bool any = false;
  for (size_t i = 0; i < t->n && !any;) any = tk_rec(tk_next(t->s, &i))->flags & flags;
  if (!any) return true;
  if (!tk_text_own(t)) return false;
  for (size_t i = 0; i < t->n;) {
    size_t at = i;
    if (tk_rec(tk_next(t->s, &i))->flags & flags) continue;
    for (size_t k = at; k < i; k++, out++) { t->s[out] = t->s[k]; t->al[out] = t->al[k]; }
  }
  t->n = out;
  return true;
}

static bool nmt_drops(uint32_t c) {
  return (c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F ||
         c == 0x9F;
}
static bool nmt_space(uint32_t c) {
  return c == 9 || c == 10 || c == 12 || c == 13 || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
         c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
}

static bool nmt(TkText *t, TkText *tmp, TkErr *e) {
  if (!tk_text_own(t)) return tk_oom(e);
  TkXf x = tk_xf(t, tmp);
  for (size_t i = 0; i < t->n;) {
    size_t at = i;
    uint32_t cp = tk_next(t->s, &i);
    if (nmt_drops(cp)) continue;
    tk_xf_bytes(&x, nmt_space(cp) ? " " : t->s + at, nmt_space(cp) ? 1 : i - at, t->al[at]);
  }
  return done(&x, t, tmp, e);
}

static bool bert_clean(TkText *t, TkText *tmp, TkErr *e) {
  if (!drop_flagged(t, TK_CONTROL)) return tk_oom(e);
  bool wide = false;
  for (size_t i = 0; i < t->n;) {
    size_t at = i;
    uint32_t cp = tk_next(t->s, &i);
    if (cp == 9 || cp == 10 || cp == 13) t->s[at] = ' ';
    else if (cp >= 128 && tk_rec(cp)->flags & TK_WHITE) wide = true;
  }
  if (!wide) return true;
  if (!tk_text_own(t)) return tk_oom(e);
  TkXf x = tk_xf(t, tmp);
  for (size_t i = 0; i < t->n;) {
    uint32_t cp = tk_next(t->s, &i);
    tk_xf_put(&x, tk_rec(cp)->flags & TK_WHITE ? ' ' : cp, 0);
  }
  return done(&x, t, tmp, e);
}

static bool bert_cjk(TkText *t, TkText *tmp, TkErr *e) {
  bool any = false;
  for (size_t i = 0; i < t->n && !any;) any = tk_rec(tk_next(t->s, &i))->flags & TK_CJK;
  if (!any) return true;
  if (!tk_text_own(t)) return tk_oom(e);
  TkXf x = tk_xf(t, tmp);
  for (size_t i = 0; i < t->n;) {
    uint32_t cp = tk_next(t->s, &i);
    if (!(tk_rec(cp)->flags & TK_CJK)) { tk_xf_put(&x, cp, 0); continue; }
    tk_xf_put(&x, ' ', 0);
    tk_xf_put(&x, cp, 1);
    tk_xf_put(&x, ' ', 1);
  }
  return done(&x, t, tmp, e);
}

static bool bert_ascii(const TkNorm *nm, TkText *t) {        /* false: needs the long way */
  for (size_t i = 0; i < t->n; i++) {
    unsigned char c = (unsigned char)t->s[i];
    if (c >= 127 || (nm->clean && c < 32 && c != 9 && c != 10 && c != 13)) return false;
  }
  for (size_t i = 0; i < t->n; i++) {
    unsigned char c = (unsigned char)t->s[i];
    if (nm->lower && c >= 'A' && c <= 'Z') t->s[i] = (char)(c | 32);
    else if (nm->clean && c < 32) t->s[i] = ' ';
  }
  return true;
}

static bool bert(const TkNorm *nm, TkText *t, TkText *tmp, TkErr *e) {
  if (bert_ascii(nm, t)) return true;
  if (nm->clean && !bert_clean(t, tmp, e)) return false;
  if (nm->cjk && !bert_cjk(t, tmp, e)) return false;
  if (nm->accents &&
      (!normal_form(TK_NFD, t, tmp, e) || !(drop_flagged(t, TK_ACCENT) || tk_oom(e))))
    return false;
  return !nm->lower || lower_text(t, tmp, e);
}

static bool strip(TkText *t, bool left, bool right, TkErr *e) {
  size_t a = 0, b = t->n;
  while (left && a < t->n) {
    size_t i = a;
    if (!(tk_rec(tk_next(t->s, &i))->flags & TK_WHITE)) break;
    a = i;
  }
  while (right && b > a) {
    size_t i = tk_prev(t->s, b), j = i;
    if (!(tk_rec(tk_next(t->s, &j))->flags & TK_WHITE)) break;
    b = i;
  }
  if (a == 0 && b == t->n) return true;
  if (!tk_text_own(t)) return tk_oom(e);
  memmove(t->s, t->s + a, b - a);
  memmove(t->al, t->al + a, (b - a) * sizeof *t->al);
  t->n = b - a;
  return true;
}

/* ---- replace, prepend ---- */
static const char *find_bytes(const char *s, size_t n, const TkBuf *what) {
  return what->n && what->n <= n ? memmem(s, n, what->p, what->n) : NULL;
}

static bool replace(TkNorm *nm, TkText *t, TkText *tmp, TkErr *e) {
  size_t at = 0, ms = 0, me = 0;
  TkXf x = {0};
  for (bool first = true;; first = false) {
    if (nm->regex) {
      int k = tk_regex_find(nm->regex, t->s, t->n, at, &ms, &me, e);
      if (k < 0) return false;
      if (!k) break;
    } else {
      const char *hit = find_bytes(t->s + at, t->n - at, &nm->from);
      if (!hit) break;
      ms = (size_t)(hit - t->s);
      me = ms + nm->from.n;
    }
    if (first) {
      if (!tk_text_own(t)) return tk_oom(e);
      x = tk_xf(t, tmp);
    }
    if (x.ok && !(x.ok = tk_text_append(tmp, t, at, ms))) break;
    tk_xf_bytes(&x, nm->to.p, nm->to.n, me ? t->al[me - 1] : (TkSpan){0, 0});
    at = me;
    if (me == ms) { /* an empty match: the next character stays */
      if (me >= t->n) break;
      at = me + tk_char_len((unsigned char)t->s[me]);
      if (x.ok) x.ok = tk_text_append(tmp, t, me, at);
    }
  }
  if (!x.in) return true;
  if (x.ok && at < t->n) x.ok = tk_text_append(tmp, t, at, t->n);
  return done(&x, t, tmp, e);
}

static bool prepend(TkNorm *nm, TkText *t, TkText *tmp, TkErr *e) {
  if (!t->n) return true;
  if (!tk_text_own(t)) return tk_oom(e);
  TkXf x = tk_xf(t, tmp);
  tk_xf_bytes(&x, nm->to.p, nm->to.n, t->al[0]);
  if (x.ok) x.ok = tk_text_append(tmp, t, 0, t->n);
  return done(&x, t, tmp, e);
}

static bool bytes_to_letters(TkText *t, TkText *tmp, TkErr *e) {
  const uint16_t *letter = tk_byte_letter();
  if (!tk_text_own(t)) return tk_oom(e);
  TkXf x = tk_xf(t, tmp);
  for (size_t i = 0; i < t->n; i++) {
    char c[4];
    tk_xf_bytes(&x, c, tk_utf8_put(c, letter[(unsigned char)t->s[i]]), t->al[i]);
  }
  return done(&x, t, tmp, e);
}

/* ---- Precompiled: SentencePiece's own table, a double array of units over bytes ---- */
static const char *charsmap(const TkNorm *nm, const char *s, size_t n, size_t *len) {
  size_t pos = 0;
  uint32_t unit = nm->nunits ? nm->units[0] : 0;
#define OFFSET(u) (((size_t)(u) >> 10) << (((u) & (1u << 9)) >> 6))
  pos ^= OFFSET(unit);
  for (size_t i = 0; i < n; i++) {
    unsigned char c = (unsigned char)s[i];
    if (!c) return NULL;
    pos ^= c;
    if (pos >= nm->nunits) return NULL;
    unit = nm->units[pos];
    if ((unit & (1u << 31 | 0xFF)) != c) return NULL;
    pos ^= OFFSET(unit);
    if (unit >> 8 & 1) { /* the shortest entry wins, as in the reference */
      size_t at = pos < nm->nunits ? nm->units[pos] & 0x7FFFFFFF : SIZE_MAX;
      if (at > nm->from.n) return NULL;
      *len = strlen(nm->from.p + at);
      return nm->from.p + at;
    }
  }
  return NULL;
}

/* What disappears is charged to the character before it, so that one waits until its successor is
 * known. */
typedef struct { TkXf x; uint32_t cp; int change; bool any; } Waiting;

static void put_waiting(Waiting *w, uint32_t cp, int change) {
  if (w->any) tk_xf_put(&w->x, w->cp, w->change);
  w->cp = cp;
  w->change = change;
  w->any = true;
}

static void put_mapped(Waiting *w, size_t old, const char *s, size_t n) {
  size_t now = tk_utf8_count(s, n), k = 0;
  for (size_t i = 0; i < n; k++) put_waiting(w, tk_next(s, &i), now > old && k >= old);
  if (now < old && w->any) w->change -= (int)(old - now);
}

static bool precompiled(const TkNorm *nm, TkText *t, TkText *tmp, TkErr *e) {
  if (!tk_text_own(t)) return tk_oom(e);
  Waiting w = {.x = tk_xf(t, tmp)};
  for (size_t i = 0, end; i < t->n; i = end) {
    size_t k = tk_grapheme(t->s + i, t->n - i), len;
    const char *to;
    end = i + k;
    if (k < 6 && (to = charsmap(nm, t->s + i, k, &len))) {
      put_mapped(&w, tk_utf8_count(t->s + i, k), to, len);
      continue;
    }
    for (size_t j = i; j < end;) {
      size_t at = j;
      uint32_t cp = tk_next(t->s, &j);
      if ((to = charsmap(nm, t->s + at, j - at, &len))) put_mapped(&w, 1, to, len);
      else put_waiting(&w, cp, 0);
    }
  }
  if (w.any) tk_xf_put(&w.x, w.cp, w.change);
  return done(&w.x, t, tmp, e);
}

bool tk_norm_apply(TkNorm *nm, TkText *t, TkText *tmp, TkErr *e) {
  switch (nm->kind) {
    case NM_SEQ:
      for (size_t i = 0; i < nm->n; i++) if (!tk_norm_apply(nm->sub[i], t, tmp, e)) return false;
      return true;
    case NM_BERT: return bert(nm, t, tmp, e);
    case NM_FORM: return normal_form(nm->form, t, tmp, e);
    case NM_LOWER: return lower_text(t, tmp, e);
    case NM_STRIP: return strip(t, nm->left, nm->right, e);
    case NM_ACCENTS: return drop_flagged(t, TK_MARK) || tk_oom(e);
    case NM_REPLACE: return replace(nm, t, tmp, e);
    case NM_PREPEND: return prepend(nm, t, tmp, e);
    case NM_NMT: return nmt(t, tmp, e);
    case NM_PRECOMPILED: return precompiled(nm, t, tmp, e);
    case NM_BYTES: return bytes_to_letters(t, tmp, e);
  }
  return true;
}

/* ---- loading ---- */
static bool truth(const TjDoc *d, const Tj *j, const char *key, bool missing) {
  const Tj *x = tj_get(d, j, key);
  return x ? x->t == TJ_TRUE : missing;
}

static bool take(TkBuf *b, const Tj *s, const char *what, TkErr *e) {
  if (!s || s->t != TJ_STR) return tk_fail(e, "normalizer: %s: expected a string", what);
  return tk_put(b, s->s, s->len) || tk_oom(e);
}

static bool load_pattern(TkNorm *nm, const TjDoc *d, const Tj *j, TkErr *e) {
  const Tj *p = tj_get(d, j, "pattern"), *s = tj_get(d, p, "String"), *r = tj_get(d, p, "Regex");
  if (r && r->t == TJ_STR) { if (!(nm->regex = tk_regex(r->s, r->len, e))) return false; }
  else if (!take(&nm->from, s, "Replace.pattern", e)) return false;
  return take(&nm->to, tj_get(d, j, "content"), "Replace.content", e);
}

static bool load_charsmap(TkNorm *nm, const Tj *s, TkErr *e) {
  static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (!s || s->t != TJ_STR)
    return tk_fail(e, "normalizer: Precompiled.precompiled_charsmap: expected a string");
  TkBuf raw = {0};
  uint32_t acc = 0, bits = 0;
  for (uint32_t i = 0; i < s->len && s->s[i] != '='; i++) {
    const char *k = s->s[i] ? strchr(alphabet, s->s[i]) : NULL;
    if (!k) {
      mt_free(raw.p);
      return tk_fail(e, "normalizer: Precompiled.precompiled_charsmap: bad base64 at %u", i);
    }
    acc = acc << 6 | (uint32_t)(k - alphabet);
    if ((bits += 6) >= 8) {
      char c = (char)(acc >> (bits -= 8));
      if (!tk_put(&raw, &c, 1)) { mt_free(raw.p); return tk_oom(e); }
    }
  }
  uint32_t size = 0;
  bool ok = raw.n >= 4;
  if (ok) memcpy(&size, raw.p, 4);
  ok = ok && size % 4 == 0 && size <= raw.n - 4 &&
       tk_utf8_bad(raw.p + 4 + size, raw.n - 4 - size) == raw.n - 4 - size;
  if (!ok) tk_fail(e, "normalizer: Precompiled.precompiled_charsmap: broken table");
  if (ok && size && !(nm->units = mt_malloc(size))) ok = tk_oom(e);
  if (ok && !tk_put(&nm->from, raw.p + 4 + size, raw.n - 4 - size)) ok = tk_oom(e);
  if (ok && size) { memcpy(nm->units, raw.p + 4, size); nm->nunits = size / 4; }
  mt_free(raw.p);
  return ok;
}

static bool load_sequence(TkNorm *nm, const TjDoc *d, const Tj *list, int depth, TkErr *e) {
  if (!list || list->t != TJ_ARR)
    return tk_fail(e, "normalizer: Sequence.normalizers: expected an array");
  if (!(nm->sub = mt_calloc((list->len + 1) * sizeof *nm->sub))) return tk_oom(e);
  for (const Tj *c = tj_child(d, list); c; c = tj_next(d, c), nm->n++)
    if (!(nm->sub[nm->n] = tk_norm_load(d, c, depth + 1, e))) return false;
  return true;
}

static bool fill(TkNorm *nm, const TjDoc *d, const Tj *j, int depth, TkErr *e) {
  static const struct { const char *name; NmKind kind; TkForm form;
  } K[] = {{"Sequence", NM_SEQ, 0},
           {"BertNormalizer", NM_BERT, 0},
           {"NFC", NM_FORM, TK_NFC},
           {"NFD", NM_FORM, TK_NFD},
           {"NFKC", NM_FORM, TK_NFKC},
           {"NFKD", NM_FORM, TK_NFKD},
           {"Lowercase", NM_LOWER, 0},
           {"Strip", NM_STRIP, 0},
           {"StripAccents", NM_ACCENTS, 0},
           {"Replace", NM_REPLACE, 0},
           {"Prepend", NM_PREPEND, 0},
           {"Nmt", NM_NMT, 0},
           {"Precompiled", NM_PRECOMPILED, 0},
           {"ByteLevel", NM_BYTES, 0}};
  const Tj *type = tj_get(d, j, "type");
  size_t k = 0, n = sizeof K / sizeof *K;
  while (k < n && !tj_is(type, K[k].name)) k++;
  if (k == n)
    return tk_fail(e, "normalizer: unknown type '%.60s'",
                   type && type->t == TJ_STR ? type->s : "?");
  nm->kind = K[k].kind;
  nm->form = K[k].form;
  switch (nm->kind) {
    case NM_SEQ: return load_sequence(nm, d, tj_get(d, j, "normalizers"), depth, e);
    case NM_BERT:
      nm->clean = truth(d, j, "clean_text", true);
      nm->cjk = truth(d, j, "handle_chinese_chars", true);
      nm->lower = truth(d, j, "lowercase", true);
      nm->accents = truth(d, j, "strip_accents", nm->lower);
      return true;
    case NM_STRIP:
      nm->left = truth(d, j, "strip_left", true);
      nm->right = truth(d, j, "strip_right", true);
      return true;
    case NM_REPLACE: return load_pattern(nm, d, j, e);
    case NM_PREPEND: return take(&nm->to, tj_get(d, j, "prepend"), "Prepend.prepend", e);
    case NM_PRECOMPILED: return load_charsmap(nm, tj_get(d, j, "precompiled_charsmap"), e);
    default: return true;
  }
}

TkNorm *tk_norm_load(const TjDoc *d, const Tj *j, int depth, TkErr *e) {
  if (depth > 8) { tk_fail(e, "normalizer: nested too deeply"); return NULL; }
  TkNorm *nm = mt_calloc(sizeof *nm);
  if (!nm) { tk_oom(e); return NULL; }
  if (fill(nm, d, j, depth, e)) return nm;
  tk_norm_free(nm);
  return NULL;
}
