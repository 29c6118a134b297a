/* models.c: a word to tokens: WordPiece, Unigram, WordLevel here, BPE in bpe.c; and the cache of
 * words in front of them.
 *
 * Invariant: the cache is direct-mapped and holds short words with few tokens, keyed by their exact
 * bytes, so a hit gives what the model would.  All models produce tokens whose offsets are bytes of
 * the word. */
#include "tokenizers/tk_int.h"
#include <string.h>

#define CACHE_FIRST 512u
#define CACHE_MOST 32768u
#define CACHE_KEY 30
#define CACHE_TOKENS 7
typedef struct {
  uint8_t klen, n;
  char key[CACHE_KEY];
  uint32_t id[CACHE_TOKENS];
  uint8_t a[CACHE_TOKENS], b[CACHE_TOKENS];
} Slot;
typedef enum { M_BPE, M_WORDPIECE, M_UNIGRAM, M_WORDLEVEL } ModelKind;
typedef struct { double score; uint32_t from, id; } Best;
struct TkModel {
  ModelKind kind;
  TkVocab vocab;
  TkBpe *bpe;
  TkTrie start, rest; /* WordPiece: at a word's start, after it; Unigram: start */
  bool has_unk, byte_fallback;
  uint32_t unk, fallback[256];
  size_t max_chars;
  double *score, unk_score;
  Best *best; size_t best_cap;
  Slot *cache; size_t slots, filled;           /* grows while it fills; power of two */
};

void tk_model_free(TkModel *m) {
  if (!m) return;
  tk_vocab_free(&m->vocab);
  tk_bpe_free(m->bpe);
  tk_trie_free(&m->start);
  tk_trie_free(&m->rest);
  mt_free(m->score); mt_free(m->best); mt_free(m->cache);
  mt_free(m);
}

const TkVocab *tk_model_vocab(const TkModel *m) { return &m->vocab; }

bool tk_tokens_add(TkTokens *t, uint32_t id, size_t a, size_t b) {
  if (!tk_grow(&t->p, &t->cap, t->n + 1, sizeof *t->p)) return false;
  t->p[t->n++] = (TkToken){id, (uint32_t)a, (uint32_t)b};
  return true;
}

static bool lone_unk(TkModel *m, size_t n, TkTokens *out, TkErr *e) {
  if (!m->has_unk)
    return tk_fail(
        e, "the unknown token is missing from the vocabulary, and the text has unknown words");
  return tk_tokens_add(out, m->unk, 0, n) || tk_oom(e);
}

/* ---- WordPiece: the longest piece first ---- */
static bool wordpiece(TkModel *m, const char *s, size_t n, TkTokens *out, TkErr *e) {
  size_t first = out->n;
  if (n > m->max_chars && tk_utf8_count(s, n) > m->max_chars) return lone_unk(m, n, out, e);
  for (size_t at = 0; at < n;) {
    const TkTrie *t = at ? &m->rest : &m->start;
    size_t end = 0, i = at + 1;
    int32_t id = -1;
    for (uint32_t node = t->root[(unsigned char)s[at]]; node;
         node = i < n ? tk_trie_step(t, node, (uint8_t)s[i++]) : 0) {
      if (t->value[node] >= 0) { id = t->value[node]; end = i; }
      if (i >= n) break;
    }
    if (id < 0) { out->n = first; return lone_unk(m, n, out, e); }
    if (!tk_tokens_add(out, (uint32_t)id, at, end)) return tk_oom(e);
    at = end;
  }
  return true;
}

/* ---- Unigram: the best path through the word ---- */
static void better(Best *to, double score, uint32_t from, uint32_t id) {
  if (to->from == UINT32_MAX || score > to->score) *to = (Best){score, from, id};
}

static bool forward(TkModel *m, const char *s, size_t n, TkErr *e) {
  const TkTrie *t = &m->start;
  Best *best = m->best;
  for (size_t i = 0; i <= n; i++) best[i] = (Best){0, UINT32_MAX, 0};
  for (size_t at = 0, k; at < n; at += k) {
    double here = best[at].score;
    bool single = false;
    k = tk_char_len((unsigned char)s[at]);
    size_t i = at + 1;
    for (uint32_t node = t->root[(unsigned char)s[at]]; node; i++) {
      int32_t id = t->value[node];
      if (id >= 0) {
        better(&best[i], m->score[id] + here, (uint32_t)at, (uint32_t)id);
        single = single || i - at == k;
      }
      if (i >= n) break;
      node = tk_trie_step(t, node, (uint8_t)s[i]);
    }
    if (single) continue;
    if (!m->has_unk)
      return tk_fail(e, "Unigram: the text has unknown characters and the model no unk_id");
    better(&best[at + k], m->unk_score + here, (uint32_t)at, m->unk);
  }
  return true;
}

static bool fallen_back(TkModel *m, const char *s, size_t a, size_t b, TkTokens *out, bool *did) {
  *did = m->byte_fallback;
  for (size_t i = a; i < b && *did; i++) *did = m->fallback[(unsigned char)s[i]] != UINT32_MAX;
  for (size_t i = a; i < b && *did; i++) /* the caller turns the word round: last byte first */
    if (!tk_tokens_add(out, m->fallback[(unsigned char)s[b - 1 - (i - a)]], a, b)) return false;
  return true;
}

static bool unigram(TkModel *m, const char *s, size_t n, TkTokens *out, TkErr *e) {
  if (!tk_grow(&m->best, &m->best_cap, n + 1, sizeof *m->best)) return tk_oom(e);
  if (!forward(m, s, n, e)) return false;
  size_t first = out->n;
  for (size_t end = n; end > 0;) {
    Best b = m->best[end];
    size_t from = b.from;
    bool unk = m->has_unk && b.id == m->unk, did = false;
    if (unk) { /* neighbouring unknowns are one token */
      while (from > 0 && m->best[from].id == m->unk) from = m->best[from].from;
      uint32_t id;
      if (tk_vocab_find(&m->vocab, s + from, end - from, &id)) b.id = id;
      else if (!fallen_back(m, s, from, end, out, &did)) return tk_oom(e);
    }
    if (!did && !tk_tokens_add(out, b.id, from, end)) return tk_oom(e);
    end = from;
  }
  for (size_t i = first, j = out->n; i + 1 < j; i++) {
    TkToken t = out->p[i];
    out->p[i] = out->p[--j];
    out->p[j] = t;
  }
  return true;
}

static bool wordlevel(TkModel *m, const char *s, size_t n, TkTokens *out, TkErr *e) {
  uint32_t id;
  if (!tk_vocab_find(&m->vocab, s, n, &id)) return lone_unk(m, n, out, e);
  return tk_tokens_add(out, id, 0, n) || tk_oom(e);
}

static bool by_model(TkModel *m, const char *s, size_t n, TkTokens *out, TkErr *e) {
  switch (m->kind) {
    case M_BPE: return tk_bpe_word(m->bpe, &m->vocab, s, n, out, e);
    case M_WORDPIECE: return wordpiece(m, s, n, out, e);
    case M_UNIGRAM: return unigram(m, s, n, out, e);
    default: return wordlevel(m, s, n, out, e);
  }
}

/* ---- the cache ---- */
static void cache_room(TkModel *m) { /* without memory the cache stays as it is */
  size_t want = m->slots ? m->slots * 4 : CACHE_FIRST;
  if (m->filled < m->slots || want > CACHE_MOST) return;
  Slot *more = mt_calloc(want * sizeof *more);
  if (!more) return;
  for (size_t i = 0; i < m->slots; i++)
    if (m->cache[i].n) more[tk_hash(m->cache[i].key, m->cache[i].klen) & (want - 1)] = m->cache[i];
  mt_free(m->cache);
  m->cache = more;
  m->slots = want;
  m->filled = 0;
}

bool tk_model_tokenize(TkModel *m, const char *s, size_t n, TkTokens *out, TkErr *e) {
  if (n > CACHE_KEY || m->kind == M_WORDLEVEL) return by_model(m, s, n, out, e);
  cache_room(m);
  if (!m->cache) return by_model(m, s, n, out, e);
  Slot *c = &m->cache[tk_hash(s, n) & (m->slots - 1)];
  size_t first = out->n;
  if (c->klen == n && c->n && memcmp(c->key, s, n) == 0) {
    if (!tk_grow(&out->p, &out->cap, first + c->n, sizeof *out->p)) return tk_oom(e);
    for (unsigned i = 0; i < c->n; i++) out->p[out->n++] = (TkToken){c->id[i], c->a[i], c->b[i]};
    return true;
  }
  if (!by_model(m, s, n, out, e)) return false;
  size_t k = out->n - first;
  if (k == 0 || k > CACHE_TOKENS) return true;
  m->filled++;
  c->klen = (uint8_t)n;
  c->n = (uint8_t)k;
  memcpy(c->key, s, n);
  for (size_t i = 0; i < k; i++) {
    c->id[i] = out->p[first + i].id;
    c->a[i] = (uint8_t)out->p[first + i].a;
    c->b[i] = (uint8_t)out->p[first + i].b;
  }
  return true;
}

/* ---- loading ---- */
bool tk_vocab_load(TkVocab *v, const TjDoc *d, const Tj *obj, TkErr *e) {
  if (!obj || obj->t != TJ_OBJ) return tk_fail(e, "model.vocab: expected an object");
  if (!tk_vocab_reserve(v, obj->len)) return tk_oom(e);
  v->limit = (size_t)obj->len * 8;
  for (const Tj *c = tj_child(d, obj); c; c = tj_next(d, c)) {
    if (c->t != TJ_NUM || !(c->num >= 0 && c->num <= 0x2000000) ||
        c->num != (double)(uint32_t)c->num)
      return tk_fail(e, "model.vocab: the id of '%.60s' is not a whole number", c->key);
    if (!tk_vocab_add(v, c->key, c->klen, (uint32_t)c->num, e)) return false;
  }
  return true;
}

static bool load_wordpiece(TkModel *m, const TjDoc *d, const Tj *j, TkErr *e) {
  const Tj *p = tj_get(d, j, "continuing_subword_prefix"),
           *max = tj_get(d, j, "max_input_chars_per_word");
  TkStr prefix = p && p->t == TJ_STR ? (TkStr){p->s, p->len} : (TkStr){"##", 2}, s;
  m->max_chars =
      max && max->t == TJ_NUM && max->num >= 0 && max->num < 1e9 ? (size_t)max->num : 100;
  TkKey *key = mt_malloc((m->vocab.ids + 1) * sizeof *key);
  if (!key) return tk_oom(e);
  size_t n = 0, k = 0;
  for (uint32_t id = 0; id < m->vocab.ids; id++)
    if (tk_vocab_str(&m->vocab, id, &s) && s.n) key[n++] = (TkKey){s.s, s.n, (int32_t)id};
  bool ok = tk_trie_build(&m->start, key, n);
  for (size_t i = 0; i < n; i++)
    if (key[i].n > prefix.n && memcmp(key[i].s, prefix.s, prefix.n) == 0)
      key[k++] = (TkKey){key[i].s + prefix.n, key[i].n - prefix.n, key[i].value};
  ok = ok && tk_trie_build(&m->rest, key, k);
  mt_free(key);
  return ok || tk_oom(e);
}

static bool unigram_entry(TkModel *m, const TjDoc *d, const Tj *c, uint32_t id, double *min,
                          TkErr *e) {
  const Tj *s = c->t == TJ_ARR && c->len == 2 ? tj_child(d, c) : NULL,
           *x = s ? tj_next(d, s) : NULL;
  if (!x || s->t != TJ_STR || x->t != TJ_NUM)
    return tk_fail(e, "model.vocab[%u]: expected [token, score]", id);
  m->score[id] = x->num;
  if (id == 0 || x->num < *min) *min = x->num;
  return tk_vocab_add(&m->vocab, s->s, s->len, id, e);
}

static bool load_unigram(TkModel *m, const TjDoc *d, const Tj *j, TkErr *e) {
  const Tj *list = tj_get(d, j, "vocab"), *unk = tj_get(d, j, "unk_id"), *x;
  if (!list || list->t != TJ_ARR) return tk_fail(e, "model.vocab: expected an array");
  if (!tk_vocab_reserve(&m->vocab, list->len) ||
      !(m->score = mt_malloc((list->len + 1) * sizeof *m->score)))
    return tk_oom(e);
  double min = 0;
  uint32_t n = 0;
  m->vocab.limit = list->len;
  for (const Tj *c = tj_child(d, list); c; c = tj_next(d, c), n++)
    if (!unigram_entry(m, d, c, n, &min, e)) return false;
  m->unk_score = min - 10;
  m->byte_fallback = (x = tj_get(d, j, "byte_fallback")) && x->t == TJ_TRUE;
  if (unk) {
    if (unk->t != TJ_NUM || !(unk->num >= 0 && unk->num < n))
      return tk_fail(e, "model.unk_id: not an index of the vocabulary");
    m->has_unk = true;
    m->unk = (uint32_t)unk->num;
  }
  for (unsigned i = 0; i < 256; i++) {
    const char digit[] = "0123456789ABCDEF",
               c[6] = {'<', '0', 'x', digit[i >> 4], digit[i & 15], '>'};
    if (!tk_vocab_find(&m->vocab, c, 6, &m->fallback[i])) m->fallback[i] = UINT32_MAX;
  }
  TkKey *key = mt_malloc((n + 1) * sizeof *key);
  if (!key) return tk_oom(e);
  size_t k = 0;
  for (uint32_t id = 0; id < n; id++) {
    TkStr s;
    if (tk_vocab_str(&m->vocab, id, &s) && s.n) key[k++] = (TkKey){s.s, s.n, (int32_t)id};
  }
  bool ok = tk_trie_build(&m->start, key, k);
  mt_free(key);
  return ok || tk_oom(e);
}

static ModelKind kind_of(const TjDoc *d, const Tj *j, const Tj *type) {
  const Tj *v = tj_get(d, j, "vocab");
  if (tj_is(type, "BPE") || (!type && tj_get(d, j, "merges"))) return M_BPE;
  if (tj_is(type, "WordPiece") || (!type && tj_get(d, j, "continuing_subword_prefix")))
    return M_WORDPIECE;
  if (tj_is(type, "Unigram") || (!type && v && v->t == TJ_ARR)) return M_UNIGRAM;
  return M_WORDLEVEL;
}

static bool fill(TkModel *m, const TjDoc *d, const Tj *j, bool bytelevel, TkErr *e) {
  const Tj *type = tj_get(d, j, "type"), *unk = tj_get(d, j, "unk_token");
  if (!j || j->t != TJ_OBJ) return tk_fail(e, "model: expected an object");
  m->kind = kind_of(d, j, type);
  if (m->kind == M_WORDLEVEL && type && !tj_is(type, "WordLevel"))
    return tk_fail(e, "model: unknown type '%.60s'", type->t == TJ_STR ? type->s : "?");
  if (m->kind == M_UNIGRAM) return load_unigram(m, d, j, e);
  if (!tk_vocab_load(&m->vocab, d, tj_get(d, j, "vocab"), e)) return false;
  if (unk && unk->t == TJ_STR) m->has_unk = tk_vocab_find(&m->vocab, unk->s, unk->len, &m->unk);
  else if (!unk && m->kind == M_WORDPIECE)
    m->has_unk = tk_vocab_find(&m->vocab, "[UNK]", 5, &m->unk);
  if (m->kind == M_WORDPIECE) return load_wordpiece(m, d, j, e);
  return m->kind != M_BPE || (m->bpe = tk_bpe_load(&m->vocab, d, j, bytelevel, e));
}

TkModel *tk_model_load(const TjDoc *d, const Tj *j, bool bytelevel, TkErr *e) {
  TkModel *m = mt_calloc(sizeof *m);
  if (!m) { tk_oom(e); return NULL; }
  if (fill(m, d, j, bytelevel, e)) return m;
  tk_model_free(m);
  return NULL;
}
