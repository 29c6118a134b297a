/* post.c: what happens to ids after the model: truncation, special tokens around them, padding.
 *
 * Invariant: the arrays of a TkEnc have one length; a failed push leaves them as they were. */
#include "tokenizers/tk_int.h"
#include <stdlib.h>
#include <string.h>

bool tk_enc_push(TkEnc *e, uint32_t id, uint32_t type, TkSpan off, int32_t word, int32_t seq,
                 bool special) {
  if (e->n == e->cap) {
    size_t c[7], need = e->n < 16 ? 32 : e->n * 2;
    for (int i = 0; i < 7; i++) c[i] = e->cap;
    if (!tk_grow(&e->ids, &c[0], need, 4) || !tk_grow(&e->types, &c[1], need, 4) ||
        !tk_grow(&e->offsets, &c[2], need, 8) || !tk_grow(&e->words, &c[3], need, 4) ||
        !tk_grow(&e->seqs, &c[4], need, 4) || !tk_grow(&e->attention, &c[5], need, 1) ||
        !tk_grow(&e->special, &c[6], need, 1))
      return false;
    e->cap = c[0];
  }
  size_t i = e->n++;
  e->ids[i] = id; e->types[i] = type; e->offsets[i] = off; e->words[i] = word; e->seqs[i] = seq;
  e->attention[i] = 1; e->special[i] = special;
  return true;
}

void tk_enc_free(TkEnc *e) {
  mt_free(e->ids); mt_free(e->types); mt_free(e->offsets); mt_free(e->words); mt_free(e->seqs);
  mt_free(e->attention); mt_free(e->special);
  *e = (TkEnc){0};
}

static void shift(TkEnc *e, size_t from, size_t to, size_t n) {
#define MOVE(a) memmove(e->a + to, e->a + from, n * sizeof *e->a)
  MOVE(ids); MOVE(types); MOVE(offsets); MOVE(words); MOVE(seqs); MOVE(attention); MOVE(special);
}

static void cut(TkEnc *e, size_t n, bool left) {
  if (n >= e->n) return;
  if (left && n) shift(e, e->n - n, 0, n);
  e->n = n;
}

/* The rule for two texts, word for word the reference's: the longer one loses first. */
static void share(size_t *n1, size_t *n2, size_t max) {
  bool swap = *n1 > *n2;
  size_t a = swap ? *n2 : *n1, b;
  b = a > max ? a : a > max - a ? a : max - a;
  if (a + b > max) { a = max / 2; b = a + max % 2; }
  *n1 = swap ? b : a;
  *n2 = swap ? a : b;
}

bool tk_truncate(TkEnc *a, TkEnc *b, const TkTrunc *t, TkErr *e) {
  size_t total = a->n + (b ? b->n : 0);
  if (total <= t->max_length) return true;
  if (t->max_length == 0) {
    a->n = 0;
    if (b) b->n = 0;
    return true;
  }
  size_t drop = total - t->max_length;
  if (t->strategy == TK_LONGEST_FIRST) {
    size_t n1 = a->n, n2 = b ? b->n : 0;
    if (!b) { cut(a, t->max_length, t->left); return true; }
    share(&n1, &n2, t->max_length);
    cut(a, n1, t->left);
    cut(b, n2, t->left);
    return true;
  }
  TkEnc *x = t->strategy == TK_ONLY_FIRST ? a : b;
  if (!x) return tk_fail(e, "truncation 'only_second' needs a pair of texts");
  if (x->n <= drop)
    return tk_fail(e, "truncation: the text to cut has %zu tokens, %zu must go", x->n, drop);
  cut(x, x->n - drop, t->left);
  return true;
}

bool tk_pad(TkEnc *encs, size_t n, const TkPad *pad, TkErr *e) {
  size_t len = pad->fixed;
  for (size_t i = 0; i < n && !pad->fixed; i++) if (encs[i].n > len) len = encs[i].n;
  if (pad->multiple && len % pad->multiple) len += pad->multiple - len % pad->multiple;
  for (size_t i = 0; i < n; i++) {
    TkEnc *x = &encs[i];
    size_t had = x->n;
    if (had >= len) continue;
    while (x->n < len) {
      if (!tk_enc_push(x, pad->id, pad->type, (TkSpan){0, 0}, -1, -1, true)) return tk_oom(e);
      x->attention[x->n - 1] = 0;
    }
    if (!pad->left) continue;
    shift(x, 0, len - had, had);
    for (size_t k = 0; k < len - had; k++) {
      x->ids[k] = pad->id;
      x->types[k] = pad->type;
      x->offsets[k] = (TkSpan){0, 0};
      x->words[k] = x->seqs[k] = -1;
      x->attention[k] = 0; x->special[k] = 1;
    }
  }
  return true;
}

/* ---- post-processors ---- */
typedef enum { POST_SEQ, POST_TEMPLATE, POST_BERT, POST_ROBERTA, POST_BYTES } PostKind;
typedef struct {
  int seq;
  uint32_t type, id;
} Item; /* seq: 0 first text, 1 second, -1 the token id */
typedef struct { Item *p; size_t n, cap; } Items;
struct TkPost {
  PostKind kind;
  bool trim, add_space;
  uint32_t cls, sep;
  Items single, pair;
  TkPost **sub; size_t n;
};

void tk_post_free(TkPost *p) {
  if (!p) return;
  for (size_t i = 0; i < p->n; i++) tk_post_free(p->sub[i]);
  mt_free(p->sub); mt_free(p->single.p); mt_free(p->pair.p);
  mt_free(p);
}

size_t tk_post_added(const TkPost *p, bool pair) {
  size_t k = 0;
  if (!p) return 0;
  for (size_t i = 0; i < p->n; i++) k += tk_post_added(p->sub[i], pair);
  const Items *it = pair ? &p->pair : &p->single;
  for (size_t i = 0; i < it->n; i++) k += it->p[i].seq < 0;
  return k;
}

/* ---- ByteLevel: spaces inside a token do not count in its offsets.  Until the texts are put
 * together seqs holds, for an added token, the spaces of the text that it took: leading * 4096 +
 * trailing. ---- */
bool tk_space_letter(const char *s, size_t n, size_t *i, bool back) {
  size_t k = *i;
  if (back ? k == 0 : k >= n) return false;
  size_t at = back ? tk_prev(s, k) : k, end = at;
  uint32_t cp = tk_next(s, &end);
  if (cp != 0x120 && !(tk_rec(cp)->flags & TK_WHITE)) return false;
  *i = back ? at : end;
  return true;
}

static void trim_offsets(TkEnc *e, const TkVocab *v, bool add_space) {
  for (size_t k = 0; k < e->n; k++) {
    TkStr t;
    TkSpan *o = &e->offsets[k];
    uint32_t lead = 0, trail = 0;
    if (e->seqs[k] >= 0) {
      lead = (uint32_t)e->seqs[k] >> 12;
      trail = e->seqs[k] & 0xFFF;
      t = (TkStr){"", 0};
    } else if (!tk_vocab_str(v, e->ids[k], &t)) continue;
    for (size_t i = 0; tk_space_letter(t.s, t.n, &i, false);) lead++;
    for (size_t i = t.n; tk_space_letter(t.s, t.n, &i, true);) trail++;
    if (lead) {
      if ((k == 0 || o->a == 0) && add_space && lead == 1)
        lead = 0; /* the space that was added, not the text's */
      o->a = o->a + lead < o->b ? o->a + lead : o->b;
    }
    if (trail && o->b >= trail) o->b = o->b - trail > o->a ? o->b - trail : o->a;
  }
}

static bool take(TkEnc *out, const TkEnc *in, uint32_t type, bool set_type, int32_t seq) {
  for (size_t i = 0; i < in->n; i++) {
    if (!tk_enc_push(out, in->ids[i], set_type ? type : in->types[i], in->offsets[i], in->words[i],
                     seq, in->special[i]))
      return false;
    out->attention[out->n - 1] = in->attention[i];
  }
  return true;
}

static bool apply_items(const TkPost *p, TkEnc *a, TkEnc *b, bool add_special, TkEnc *out,
                        TkErr *e) {
  const Items *it = b ? &p->pair : &p->single;
  for (size_t i = 0; i < it->n; i++) {
    Item x = it->p[i];
    bool ok = true;
    if (x.seq >= 0) ok = take(out, x.seq ? b : a, x.type, true, x.seq);
    else if (add_special) ok = tk_enc_push(out, x.id, x.type, (TkSpan){0, 0}, -1, -1, true);
    if (!ok) return tk_oom(e);
  }
  return true;
}

/* Trimming steps run on the texts where they stand in the sequence; one step may add special
 * tokens.  A second adder would have to wrap what the first made; no file seen does that, and
 * loading refuses it. */
static void trims(const TkPost *p, const TkVocab *v, TkEnc *a, TkEnc *b) {
  for (size_t i = 0; i < p->n; i++) trims(p->sub[i], v, a, b);
  if (!p->trim) return;
  trim_offsets(a, v, p->add_space);
  if (b) trim_offsets(b, v, p->add_space);
}

static const TkPost *adder(const TkPost *p) {
  if (p->kind == POST_TEMPLATE || p->kind == POST_BERT || p->kind == POST_ROBERTA) return p;
  for (size_t i = 0; i < p->n; i++) { const TkPost *x = adder(p->sub[i]); if (x) return x; }
  return NULL;
}

static size_t adders(const TkPost *p) {
  size_t k = p->kind == POST_TEMPLATE || p->kind == POST_BERT || p->kind == POST_ROBERTA;
  for (size_t i = 0; i < p->n; i++) k += adders(p->sub[i]);
  return k;
}

bool tk_post_apply(const TkPost *p, const TkVocab *v, TkEnc *a, TkEnc *b, bool add_special,
                   TkEnc *out, TkErr *e) {
  if (p) trims(p, v, a, b);
  const TkPost *x = p ? adder(p) : NULL;
  if (x && (add_special || x->kind == POST_TEMPLATE))
    return apply_items(x, a, b, add_special, out, e);
  if (x && x->kind == POST_ROBERTA)                          /* its types are all 0 in any case */
    return (take(out, a, 0, true, 0) && (!b || take(out, b, 0, true, 1))) || tk_oom(e);
  return (take(out, a, 0, false, 0) && (!b || take(out, b, 1, false, 1))) || tk_oom(e);
}

/* ---- loading ---- */
static bool truth(const TjDoc *d, const Tj *j, const char *key, bool missing) {
  const Tj *x = tj_get(d, j, key);
  return x ? x->t == TJ_TRUE : missing;
}

static bool whole(const Tj *x, uint32_t *out) {
  if (!x || x->t != TJ_NUM || !(x->num >= 0 && x->num <= 0x2000000)) return false;
  *out = (uint32_t)x->num;
  return true;
}

static bool add_item(Items *it, int seq, uint32_t type, uint32_t id) {
  if (!tk_grow(&it->p, &it->cap, it->n + 1, sizeof *it->p)) return false;
  it->p[it->n++] = (Item){seq, type, id};
  return true;
}

static bool special_items(Items *it, const TjDoc *d, const Tj *special, const Tj *name,
                          uint32_t type, TkErr *e) {
  const Tj *def = name && name->t == TJ_STR ? tj_get(d, special, name->s) : NULL,
           *ids = tj_get(d, def, "ids");
  if (!ids || ids->t != TJ_ARR)
    return tk_fail(e, "post_processor: special token '%.60s' is not defined",
                   name && name->t == TJ_STR ? name->s : "?");
  for (const Tj *c = tj_child(d, ids); c; c = tj_next(d, c)) {
    uint32_t id;
    if (!whole(c, &id))
      return tk_fail(e, "post_processor: special_tokens: an id is not a whole number");
    if (!add_item(it, -1, type, id)) return tk_oom(e);
  }
  return true;
}

static bool load_template(Items *it, const TjDoc *d, const Tj *list, const Tj *special, bool pair,
                          TkErr *e) {
  if (!list || list->t != TJ_ARR)
    return tk_fail(e, "post_processor: TemplateProcessing: expected an array");
  for (const Tj *c = tj_child(d, list); c; c = tj_next(d, c)) {
    const Tj *seq = tj_get(d, c, "Sequence"), *sp = tj_get(d, c, "SpecialToken"),
             *x = seq ? seq : sp;
    uint32_t type = 0;
    if (!x || (tj_get(d, x, "type_id") && !whole(tj_get(d, x, "type_id"), &type)))
      return tk_fail(e,
                     "post_processor: TemplateProcessing: expected a Sequence or a SpecialToken");
    if (sp) {
      if (!special_items(it, d, special, tj_get(d, sp, "id"), type, e)) return false;
      continue;
    }
    bool second = tj_is(tj_get(d, seq, "id"), "B");
    if (second && !pair)
      return tk_fail(e, "post_processor: TemplateProcessing: sequence B in the single template");
    if (!add_item(it, second, type, 0)) return tk_oom(e);
  }
  return true;
}

static bool token_pair(const TjDoc *d, const Tj *x, uint32_t *id) {   /* ["[SEP]", 102] */
  const Tj *s = x && x->t == TJ_ARR && x->len == 2 ? tj_child(d, x) : NULL;
  return s && whole(tj_next(d, s), id);
}

static bool load_bert(TkPost *p, const TjDoc *d, const Tj *j, bool roberta, TkErr *e) {
  if (!token_pair(d, tj_get(d, j, "sep"), &p->sep) || !token_pair(d, tj_get(d, j, "cls"), &p->cls))
    return tk_fail(e, "post_processor: sep and cls: expected [token, id]");
  uint32_t second = roberta ? 0 : 1;
  bool ok = add_item(&p->single, -1, 0, p->cls) && add_item(&p->single, 0, 0, 0) &&
            add_item(&p->single, -1, 0, p->sep) && add_item(&p->pair, -1, 0, p->cls) &&
            add_item(&p->pair, 0, 0, 0) && add_item(&p->pair, -1, 0, p->sep) &&
            (!roberta || add_item(&p->pair, -1, 0, p->sep)) && add_item(&p->pair, 1, second, 0) &&
            add_item(&p->pair, -1, second, p->sep);
  return ok || tk_oom(e);
}

static bool load_sequence(TkPost *p, const TjDoc *d, const Tj *list, int depth, TkErr *e) {
  if (!list || list->t != TJ_ARR)
    return tk_fail(e, "post_processor: Sequence.processors: expected an array");
  if (!(p->sub = mt_calloc((list->len + 1) * sizeof *p->sub))) return tk_oom(e);
  for (const Tj *c = tj_child(d, list); c; c = tj_next(d, c), p->n++)
    if (!(p->sub[p->n] = tk_post_load(d, c, depth + 1, e))) return false;
  return adders(p) <= 1 ||
         tk_fail(e, "post_processor: more than one step adds special tokens: not supported");
}

static bool fill(TkPost *p, const TjDoc *d, const Tj *j, int depth, TkErr *e) {
  static const char *const name[] = {"Sequence", "TemplateProcessing", "BertProcessing",
                                     "RobertaProcessing", "ByteLevel"};
  const Tj *type = tj_get(d, j, "type"), *special = tj_get(d, j, "special_tokens");
  int k = 0;
  while (k < 5 && !tj_is(type, name[k])) k++;
  switch (k) {
    case POST_SEQ:
      p->kind = POST_SEQ;
      return load_sequence(p, d, tj_get(d, j, "processors"), depth, e);
    case POST_TEMPLATE:
      p->kind = POST_TEMPLATE;
      return load_template(&p->single, d, tj_get(d, j, "single"), special, false, e) &&
             load_template(&p->pair, d, tj_get(d, j, "pair"), special, true, e);
    case POST_BERT: p->kind = POST_BERT; return load_bert(p, d, j, false, e);
    case POST_ROBERTA: case POST_BYTES:
      p->kind = (PostKind)k;
      p->trim = truth(d, j, "trim_offsets", true);
      p->add_space = truth(d, j, "add_prefix_space", true);
      return k == POST_BYTES || load_bert(p, d, j, true, e);
    default:
      return tk_fail(e, "post_processor: unknown type '%.60s'",
                     type && type->t == TJ_STR ? type->s : "?");
  }
}

TkPost *tk_post_load(const TjDoc *d, const Tj *j, int depth, TkErr *e) {
  if (depth > 8) { tk_fail(e, "post_processor: nested too deeply"); return NULL; }
  TkPost *p = mt_calloc(sizeof *p);
  if (!p) { tk_oom(e); return NULL; }
  if (fill(p, d, j, depth, e)) return p;
  tk_post_free(p);
  return NULL;
}
