/* tokenizer.c: the pipeline: added tokens out, normalize, pre-tokenize, model, special tokens; and
 * its loading.
 *
 * Invariant: the work texts, token list and the two encodings are scratch that grows and is kept;
 * between two calls nothing in them matters.  A tokenizer that failed to load is freed whole. */
#include "tokenizers/tk_int.h"
#include <stdio.h>
#include <string.h>

struct TkTok {
  TkNorm *norm; TkPre *pre; TkModel *model; TkPost *post; TkDec *dec;
  TkAddedSet added;
  TkTrunc trunc; TkPad pad;
  TkWork w;
  TkTokens tokens;
  TkEnc a, b;
  uint32_t *chars;
  size_t chars_cap; /* character index of each byte of a text that is not ASCII */
};

void tk_free(TkTok *t) {
  if (!t) return;
  tk_norm_free(t->norm);
  tk_pre_free(t->pre);
  tk_model_free(t->model);
  tk_post_free(t->post);
  tk_dec_free(t->dec);
  mt_free(t->added.tok); mt_free(t->added.special);
  tk_trie_free(&t->added.raw); tk_trie_free(&t->added.norm);
  tk_vocab_free(&t->added.vocab);
  tk_text_free(&t->w.text);
  tk_text_free(&t->w.next);
  tk_text_free(&t->w.one);
  tk_text_free(&t->w.tmp);
  mt_free(t->w.pieces.p); mt_free(t->w.spare.p); mt_free(t->tokens.p); mt_free(t->chars);
  tk_enc_free(&t->a); tk_enc_free(&t->b);
  mt_free(t);
}

/* ---- encoding ---- */
static void swap_pieces(TkWork *w) {
  TkPieces t = w->pieces;
  w->pieces = w->spare;
  w->spare = t;
}

static bool normalize(TkTok *t, TkErr *e) {
  TkWork *w = &t->w;
  if (w->pieces.n == 1 && w->pieces.p[0].id < 0) {
    if (!tk_norm_apply(t->norm, &w->text, &w->tmp, e)) return false;
    w->pieces.n = 0;
    return tk_pieces_add(&w->pieces, 0, w->text.n, -1) || tk_oom(e);
  }
  w->next.n = 0;
  w->next.ident = false;
  w->spare.n = 0;
  for (size_t i = 0; i < w->pieces.n; i++) {
    TkPiece x = w->pieces.p[i];
    size_t from = w->next.n;
    if (x.id >= 0) { if (!tk_text_append(&w->next, &w->text, x.a, x.b)) return tk_oom(e); }
    else {
      w->one.n = 0;
      w->one.ident = false;
      if (!tk_text_append(&w->one, &w->text, x.a, x.b)) return tk_oom(e);
      if (!tk_norm_apply(t->norm, &w->one, &w->tmp, e)) return false;
      if (!tk_text_append(&w->next, &w->one, 0, w->one.n)) return tk_oom(e);
    }
    if (!tk_pieces_add(&w->spare, from, w->next.n, x.id)) return tk_oom(e);
  }
  TkText x = w->text;
  w->text = w->next;
  w->next = x;
  swap_pieces(w);
  return true;
}

static bool cut_normalized(TkTok *t, TkErr *e) {
  TkWork *w = &t->w;
  w->spare.n = 0;
  for (size_t i = 0; i < w->pieces.n; i++) {
    TkPiece x = w->pieces.p[i];
    bool ok = x.id >= 0 ? tk_pieces_add(&w->spare, x.a, x.b, x.id)
                        : tk_added_split(&t->added, &t->added.norm, &w->text, x.a, x.b, &w->spare);
    if (!ok) return tk_oom(e);
  }
  swap_pieces(w);
  return true;
}

static bool to_pieces(TkTok *t, TkStr s, TkErr *e) {
  TkWork *w = &t->w;
  w->pieces.n = 0;
  if (!tk_text_set(&w->text, s.s, 0, s.n, true) ||
      !tk_added_split(&t->added, &t->added.raw, &w->text, 0, s.n, &w->pieces)) return tk_oom(e);
  if (t->norm && w->pieces.n && !normalize(t, e)) return false;
  if (t->added.norm.n && !cut_normalized(t, e)) return false;
  return !t->pre || tk_pre_apply(t->pre, w, e);
}

static bool count_chars(TkTok *t, TkStr s) {
  if (!tk_grow(&t->chars, &t->chars_cap, s.n + 1, sizeof *t->chars)) return false;
  uint32_t k = 0;
  for (size_t i = 0; i < s.n;) {
    size_t len = tk_char_len((unsigned char)s.s[i]);
    for (size_t j = i; j < i + len; j++) t->chars[j] = k;
    i += len;
    k++;
  }
  t->chars[s.n] = k;
  return true;
}

typedef struct { const TkText *text; const uint32_t *chars; } Origin;

static TkSpan origin(const Origin *o, size_t a, size_t b) {
  if (a >= b) return (TkSpan){0, 0};
  if (o->text->ident && !o->chars) {
    TkSpan x = tk_text_at(o->text, a);
    return (TkSpan){x.a, tk_text_at(o->text, b - 1).b};
  }
  TkSpan x = {tk_text_at(o->text, a).a, tk_text_at(o->text, b - 1).b};
  return o->chars ? (TkSpan){o->chars[x.a], o->chars[x.b]} : x;
}

static int32_t spaces_taken(const TkText *t, TkPiece x) {
  int32_t lead = 0, trail = 0;
  for (size_t i = 0; lead < 4095 && tk_space_letter(t->s + x.a, x.b - x.a, &i, false);) lead++;
  for (size_t i = x.b - x.a; trail < 4095 && tk_space_letter(t->s + x.a, x.b - x.a, &i, true);)
    trail++;
  return lead << 12 | trail;
}

static bool encode_one(TkTok *t, TkStr s, uint32_t type, bool byte_offsets, TkEnc *enc, TkErr *e) {
  enc->n = 0;
  if (s.n > TK_MAX_TEXT / 4) return tk_fail(e, "text of %zu bytes is too long", s.n);
  bool ascii = tk_is_ascii(s.s, s.n);
  size_t wrong = ascii ? s.n : tk_utf8_bad(s.s, s.n);
  if (wrong < s.n) return tk_fail(e, "text is not valid UTF-8 at byte %zu", wrong);
  if (!to_pieces(t, s, e)) return false;
  if (!ascii && !byte_offsets && !count_chars(t, s)) return tk_oom(e);
  Origin o = {&t->w.text, ascii || byte_offsets ? NULL : t->chars};
  for (size_t i = 0; i < t->w.pieces.n; i++) {
    TkPiece x = t->w.pieces.p[i];
    if (x.id >= 0) {
      if (!tk_enc_push(enc, (uint32_t)x.id, type, origin(&o, x.a, x.b), (int32_t)i,
                       spaces_taken(&t->w.text, x), false))
        return tk_oom(e);
      continue;
    }
    t->tokens.n = 0;
    if (!tk_model_tokenize(t->model, t->w.text.s + x.a, x.b - x.a, &t->tokens, e)) return false;
    for (size_t k = 0; k < t->tokens.n; k++) {
      TkToken *y = &t->tokens.p[k];
      if (!tk_enc_push(enc, y->id, type, origin(&o, x.a + y->a, x.a + y->b), (int32_t)i, -1, false))
        return tk_oom(e);
    }
  }
  return true;
}

bool tk_encode(TkTok *t, const TkStr *text, const TkStr *pair, bool add_special,
               const TkTrunc *trunc, bool byte_offsets, TkEnc *out, TkErr *e) {
  out->n = 0;
  if (!encode_one(t, *text, 0, byte_offsets, &t->a, e) ||
      (pair && !encode_one(t, *pair, 1, byte_offsets, &t->b, e)))
    return false;
  if (trunc && trunc->on) {
    TkTrunc x = *trunc;
    size_t extra = add_special ? tk_post_added(t->post, pair != NULL) : 0;
    if (x.max_length < extra)
      return tk_fail(e, "truncation: max_length %zu is less than the %zu special tokens",
                     x.max_length, extra);
    x.max_length -= extra;
    if (!tk_truncate(&t->a, pair ? &t->b : NULL, &x, e)) return false;
  }
  return tk_post_apply(t->post, tk_model_vocab(t->model), &t->a, pair ? &t->b : NULL, add_special,
                       out, e);
}

/* ---- decoding and look-ups ---- */
bool tk_id_to_token(const TkTok *t, uint32_t id, TkStr *out) {
  return tk_vocab_str(&t->added.vocab, id, out) || tk_vocab_str(tk_model_vocab(t->model), id, out);
}

bool tk_token_to_id(const TkTok *t, const char *s, size_t n, uint32_t *id) {
  return tk_vocab_find(&t->added.vocab, s, n, id) ||
         tk_vocab_find(tk_model_vocab(t->model), s, n, id);
}

bool tk_is_special(const TkTok *t, uint32_t id) {
  return id < t->added.specials && t->added.special[id];
}

char *tk_decode(TkTok *t, const uint32_t *ids, size_t n, bool skip_special, size_t *len, TkErr *e) {
  TkStr *tok = mt_malloc((n + 1) * sizeof *tok);
  if (!tok) { tk_oom(e); return NULL; }
  size_t k = 0;
  for (size_t i = 0; i < n; i++)
    if (!(skip_special && tk_is_special(t, ids[i])) && tk_id_to_token(t, ids[i], &tok[k])) k++;
  TkBuf text = {0};
  bool ok = tk_dec_apply(t->dec, tok, k, &text, e);
  mt_free(tok);
  if (!ok) { mt_free(text.p); return NULL; }
  *len = text.n;
  return text.p;
}

const TkTrunc *tk_trunc(const TkTok *t) { return &t->trunc; }
const TkPad *tk_padding(const TkTok *t) { return &t->pad; }
size_t tk_num_special_added(const TkTok *t, bool pair) { return tk_post_added(t->post, pair); }

size_t tk_id_limit(const TkTok *t) {
  size_t a = tk_model_vocab(t->model)->ids, b = t->added.vocab.ids;
  return a > b ? a : b;
}

size_t tk_vocab_size(const TkTok *t, bool with_added) {
  size_t n = tk_model_vocab(t->model)->count;
  TkStr s;
  uint32_t id;
  for (size_t i = 0; with_added && i < t->added.n; i++)
    if (tk_vocab_str(&t->added.vocab, t->added.tok[i].id, &s) &&
        !tk_vocab_find(tk_model_vocab(t->model), s.s, s.n, &id))
      n++;
  return n;
}

/* ---- loading ---- */
static bool truth(const TjDoc *d, const Tj *j, const char *key) {
  const Tj *x = tj_get(d, j, key);
  return x && x->t == TJ_TRUE;
}

static bool whole(const Tj *x, size_t *out) {
  if (!x || x->t != TJ_NUM || !(x->num >= 0 && x->num <= 1e9)) return false;
  *out = (size_t)x->num;
  return true;
}

static bool one_added(TkTok *t, const TjDoc *d, const Tj *c, TkErr *e) {
  const Tj *s = tj_get(d, c, "content");
  size_t id;
  uint32_t known;
  TkAddedSet *set = &t->added;
  if (!s || s->t != TJ_STR)
    return tk_fail(e, "added_tokens[%zu].content: expected a string", set->n);
  if (!s->len) return true;
  if (!whole(tj_get(d, c, "id"), &id))
    return tk_fail(e, "added_tokens[%zu].id: expected a whole number", set->n);
  if (tk_vocab_find(tk_model_vocab(t->model), s->s, s->len, &known)) id = known;
  if (tk_vocab_find(&set->vocab, s->s, s->len, &known)) return true;
  if (!tk_vocab_add(&set->vocab, s->s, s->len, (uint32_t)id, e)) return false;
  set->tok[set->n++] =
      (TkAdded){(uint32_t)id,          truth(d, c, "special"), truth(d, c, "single_word"),
                truth(d, c, "lstrip"), truth(d, c, "rstrip"),  truth(d, c, "normalized")};
  return true;
}

/* The tries: tokens found in the text as given, and tokens found in normalized text, themselves
 * normalized.  The names that ids have, for decoding too, are the normalized ones, as in the
 * reference. */
static bool added_tries(TkTok *t, TkErr *e) {
  TkAddedSet *set = &t->added;
  TkKey *raw = mt_malloc((set->n + 1) * sizeof *raw),
        *norm = mt_malloc((set->n + 1) * sizeof *norm);
  TkVocab names = {.limit = set->vocab.limit};
  size_t nr = 0, nn = 0;
  bool ok = raw && norm;
  for (size_t i = 0; ok && i < set->n; i++) {
    TkStr s = {0};
    uint32_t id = set->tok[i].id;
    tk_vocab_str(&set->vocab, id, &s);
    if (set->tok[i].normalized) {
      ok = tk_text_set(&t->w.one, s.s, 0, s.n, true) &&
           (!t->norm || tk_norm_apply(t->norm, &t->w.one, &t->w.tmp, e));
      if (ok && t->w.one.n) s = (TkStr){t->w.one.s, t->w.one.n};
    }
    ok = ok && tk_vocab_add(&names, s.s, s.n, id, e);
  }
  for (size_t i = 0; ok && i < set->n; i++) {
    TkStr s = {0};
    tk_vocab_str(&names, set->tok[i].id, &s);
    if (set->tok[i].normalized) norm[nn++] = (TkKey){s.s, s.n, (int32_t)i};
    else raw[nr++] = (TkKey){s.s, s.n, (int32_t)i};
  }
  ok = ok && (!nr || tk_trie_build(&set->raw, raw, nr)) &&
       (!nn || tk_trie_build(&set->norm, norm, nn));
  mt_free(raw);
  mt_free(norm);
  if (!ok) { tk_vocab_free(&names); return tk_oom(e); }
  tk_vocab_free(&set->vocab);
  set->vocab = names;
  return true;
}

/* Special is a matter of the string: ids that name the same string (Unigram has them) are special
 * together. */
static bool mark_specials(TkTok *t, TkErr *e) {
  TkAddedSet *set = &t->added;
  const TkVocab *v = tk_model_vocab(t->model);
  TkStr s;
  uint32_t id;
  set->specials = tk_id_limit(t);
  if (!(set->special = mt_calloc(set->specials + 1))) return tk_oom(e);
  for (size_t i = 0; i < set->n; i++) set->special[set->tok[i].id] = set->tok[i].special;
  for (uint32_t i = 0; v->count < v->ids && i < v->ids; i++)
    if (!tk_vocab_str(&set->vocab, i, &s) && tk_vocab_str(v, i, &s) &&
        tk_vocab_find(&set->vocab, s.s, s.n, &id))
      set->special[i] = set->special[id];
  return true;
}

static bool load_added(TkTok *t, const TjDoc *d, const Tj *list, TkErr *e) {
  TkAddedSet *set = &t->added;
  if (!list) return true;
  if (list->t != TJ_ARR) return tk_fail(e, "added_tokens: expected an array");
  if (!(set->tok = mt_malloc((list->len + 1) * sizeof *set->tok))) return tk_oom(e);
  set->vocab.limit = (tk_model_vocab(t->model)->ids + list->len) * 8;
  for (const Tj *c = tj_child(d, list); c; c = tj_next(d, c))
    if (!one_added(t, d, c, e)) return false;
  return mark_specials(t, e) && added_tries(t, e);
}

static bool load_limits(TkTok *t, const TjDoc *d, const Tj *root, TkErr *e) {
  const Tj *tr = tj_get(d, root, "truncation"), *pad = tj_get(d, root, "padding"), *s;
  size_t id = 0, type = 0;
  if (tr) {
    s = tj_get(d, tr, "strategy");
    t->trunc = (TkTrunc){true, tj_is(tj_get(d, tr, "direction"), "Left"), 0,
                         tj_is(s, "OnlyFirst")    ? TK_ONLY_FIRST
                         : tj_is(s, "OnlySecond") ? TK_ONLY_SECOND
                                                  : TK_LONGEST_FIRST};
    if (!whole(tj_get(d, tr, "max_length"), &t->trunc.max_length))
      return tk_fail(e, "truncation.max_length: expected a whole number");
  }
  if (pad) {
    t->pad = (TkPad){.on = true, .left = tj_is(tj_get(d, pad, "direction"), "Left")};
    whole(tj_get(d, tj_get(d, pad, "strategy"), "Fixed"), &t->pad.fixed);
    whole(tj_get(d, pad, "pad_to_multiple_of"), &t->pad.multiple);
    whole(tj_get(d, pad, "pad_id"), &id);
    whole(tj_get(d, pad, "pad_type_id"), &type);
    t->pad.id = (uint32_t)id;
    t->pad.type = (uint32_t)type;
  }
  return true;
}

static bool fill(TkTok *t, const TjDoc *d, TkErr *e) {
  const Tj *root = d->node, *x;
  if (root->t != TJ_OBJ) return tk_fail(e, "expected an object");
  if ((x = tj_get(d, root, "normalizer")) && !(t->norm = tk_norm_load(d, x, 0, e))) return false;
  if ((x = tj_get(d, root, "pre_tokenizer")) && !(t->pre = tk_pre_load(d, x, 0, e))) return false;
  x = tj_get(d, root, "model");
  if (!x) return tk_fail(e, "model is missing");
  const Tj *prefix = tj_get(d, x, "continuing_subword_prefix"),
           *suffix = tj_get(d, x, "end_of_word_suffix");
  bool plain = !(prefix && prefix->len) && !(suffix && suffix->len) &&
               (tj_is(tj_get(d, x, "type"), "BPE") || tj_get(d, x, "merges"));
  bool bytes = plain && t->pre && tk_pre_ends_bytelevel(t->pre);
  if (!(t->model = tk_model_load(d, x, bytes, e))) return false;
  if ((x = tj_get(d, root, "post_processor")) && !(t->post = tk_post_load(d, x, 0, e)))
    return false;
  if ((x = tj_get(d, root, "decoder")) && !(t->dec = tk_dec_load(d, x, 0, e))) return false;
  return load_added(t, d, tj_get(d, root, "added_tokens"), e) && load_limits(t, d, root, e);
}

TkTok *tk_load(const char *json, size_t n, const char *name, TkErr *e) {
  TjDoc d;
  TkErr inner = {0};
  if (!tk_uni_init()) { tk_oom(e); return NULL; }
  if (!tj_parse(&d, json, n, name, e)) return NULL;
  TkTok *t = mt_calloc(sizeof *t);
  bool ok = t ? fill(t, &d, &inner) : tk_oom(&inner);
  tj_free(&d);
  if (ok) return t;
  tk_free(t);
  tk_fail(e, "%s: %s", name, inner.msg);
  return NULL;
}

TkTok *tk_load_file(const char *path, TkErr *e) {
  FILE *f = fopen(path, "rb");
  TkBuf text = {0};
  TkTok *t = NULL;
  if (!f) { tk_fail(e, "%s: cannot open", path); return NULL; }
  bool ok = true;
  for (size_t got = 1; ok && got;) {
    ok = tk_grow(&text.p, &text.cap, text.n + 65536, 1);
    if (!ok) break;
    got = fread(text.p + text.n, 1, text.cap - text.n, f);
    text.n += got;
  }
  if (ok && ferror(f)) tk_fail(e, "%s: cannot read", path);
  else if (ok) t = tk_load(text.p, text.n, path, e);
  else tk_oom(e);
  fclose(f);
  mt_free(text.p);
  return t;
}
