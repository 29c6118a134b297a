/* bpe.c: byte pair encoding of one word, over characters or (when the pre-tokenizer ends in
 * ByteLevel) over raw bytes.
 *
 * Invariants.  Symbols of a word are a linked list in arrays; pair_rank[i] is the rank of the pair
 * that starts at symbol i, NONE when it has none or the symbol is gone, so an entry of the heap is
 * alive exactly when its rank is still there. Lowest rank first, leftmost first among equals.  The
 * scratch arrays grow and are kept. */
#include "tokenizers/tk_int.h"
#include <string.h>

#define NONE UINT32_MAX
typedef struct { uint64_t pair; uint32_t rank, id; } Merge;
typedef struct { uint32_t id, len, rank, merged; int32_t prev, next; } Sym;
struct TkBpe {
  Merge *merge; size_t slots;                  /* open addressing; rank NONE: free */
  bool bytelevel, byte_fallback, fuse_unk, ignore_merges, has_unk;
  uint32_t unk, letter[256], fallback[256];    /* ids of single bytes; NONE: not there */
  TkBuf prefix, suffix, piece;
  TkVocab raw; /* whole tokens as raw bytes, for ignore_merges over bytes */
  Sym *sym; size_t sym_cap;
  uint64_t *heap; size_t heap_n, heap_cap;
};

void tk_bpe_free(TkBpe *b) {
  if (!b) return;
  mt_free(b->merge);
  mt_free(b->prefix.p);
  mt_free(b->suffix.p);
  mt_free(b->piece.p);
  mt_free(b->sym);
  mt_free(b->heap);
  tk_vocab_free(&b->raw);
  mt_free(b);
}

static inline size_t pair_slot(const TkBpe *b, uint64_t pair) {
  uint64_t h = pair * 0x9E3779B97F4A7C15u;
  size_t k = (h ^ h >> 32) & (b->slots - 1);
  while (b->merge[k].rank != NONE && b->merge[k].pair != pair) k = (k + 1) & (b->slots - 1);
  return k;
}

static inline void look_up(const TkBpe *b, Sym *sym, size_t i) {
  sym[i].rank = NONE;
  if (sym[i].next < 0 || !b->slots) return;
  const Merge *m = &b->merge[pair_slot(b, (uint64_t)sym[i].id << 32 | sym[sym[i].next].id)];
  sym[i].rank = m->rank;
  sym[i].merged = m->id;
}

/* ---- the word's first symbols ---- */
static bool add_sym(TkBpe *b, size_t *n, uint32_t id, uint32_t len) {
  if (!tk_grow(&b->sym, &b->sym_cap, *n + 1, sizeof *b->sym)) return false;
  b->sym[*n] = (Sym){id, len, NONE, 0, (int32_t)*n - 1, (int32_t)*n + 1};
  ++*n;
  return true;
}

typedef struct { bool on; uint32_t len; } Unk;

static bool unknown(TkBpe *b, size_t *n, Unk *u, uint32_t len) {
  if (!b->has_unk) return true; /* the character is lost, as in the reference */
  if (u->on && b->fuse_unk) { u->len += len; return true; }
  if (u->on && !add_sym(b, n, b->unk, u->len)) return false;
  *u = (Unk){true, len};
  return true;
}

static bool known(TkBpe *b, size_t *n, Unk *u, uint32_t id, uint32_t len) {
  if (u->on && !add_sym(b, n, b->unk, u->len)) return false;
  u->on = false;
  return add_sym(b, n, id, len);
}

static bool fall_back(TkBpe *b, size_t *n, const char *s, size_t len, bool *did) {
  *did = b->byte_fallback;
  for (size_t i = 0; i < len && *did; i++) *did = b->fallback[(unsigned char)s[i]] != NONE;
  for (size_t i = 0; i < len && *did; i++)
    if (!add_sym(b, n, b->fallback[(unsigned char)s[i]], 1)) return false;
  return true;
}

static bool first_symbols(TkBpe *b, const TkVocab *v, const char *s, size_t len, size_t *n) {
  Unk u = {false, 0};
  bool dressed = b->prefix.n || b->suffix.n, did;
  for (size_t i = 0, k; i < len; i += k) {
    k = b->bytelevel ? 1 : tk_char_len((unsigned char)s[i]);
    const char *p = s + i;
    size_t pn = k;
    uint32_t id = NONE;
    if (dressed) {
      b->piece.n = 0;
      if ((i && !tk_put(&b->piece, b->prefix.p, b->prefix.n)) || !tk_put(&b->piece, p, k) ||
          (i + k == len && !tk_put(&b->piece, b->suffix.p, b->suffix.n))) return false;
      p = b->piece.p;
      pn = b->piece.n;
    }
    if (k == 1 && !dressed) id = b->letter[(unsigned char)*p];
    else if (!tk_vocab_find(v, p, pn, &id)) id = NONE;
    if (id != NONE) { if (!known(b, n, &u, id, (uint32_t)k)) return false; continue; }
    if (!b->bytelevel) {
      if (!fall_back(b, n, p, pn, &did)) return false;
      if (did) continue;
    }
    if (!unknown(b, n, &u, (uint32_t)k)) return false;
  }
  return !u.on || add_sym(b, n, b->unk, u.len);
}

/* ---- merging ---- */
static void join(const TkBpe *b, Sym *sym, size_t i) {
  size_t r = (size_t)sym[i].next;
  sym[i].id = sym[i].merged;
  sym[i].len += sym[r].len;
  sym[i].next = sym[r].next;
  sym[r].len = 0;
  sym[r].rank = NONE;
  if (sym[i].next >= 0) sym[sym[i].next].prev = (int32_t)i;
  look_up(b, sym, i);
  if (sym[i].prev >= 0) look_up(b, sym, (size_t)sym[i].prev);
}

static void merge_short(const TkBpe *b, Sym *sym) {
  for (;;) {
    uint32_t best = NONE;
    int32_t at = -1;
    for (int32_t i = 0; i >= 0; i = sym[i].next)
      if (sym[i].rank < best) {
        best = sym[i].rank;
        at = i;
      }
    if (at < 0) return;
    join(b, sym, (size_t)at);
  }
}

static void sift_down(uint64_t *h, size_t n, size_t i) {
  uint64_t x = h[i];
  for (size_t c; (c = i * 2 + 1) < n; i = c) {
    if (c + 1 < n && h[c + 1] < h[c]) c++;
    if (h[c] >= x) break;
    h[i] = h[c];
  }
  h[i] = x;
}

static bool heap_push(TkBpe *b, size_t i) {
  if (b->sym[i].rank == NONE) return true;
  if (!tk_grow(&b->heap, &b->heap_cap, b->heap_n + 1, sizeof *b->heap)) return false;
  uint64_t x = (uint64_t)b->sym[i].rank << 32 | i;
  size_t k = b->heap_n++;
  for (; k && b->heap[(k - 1) / 2] > x; k = (k - 1) / 2) b->heap[k] = b->heap[(k - 1) / 2];
  b->heap[k] = x;
  return true;
}

static bool merge_long(TkBpe *b, size_t n) {
  Sym *sym = b->sym;
  b->heap_n = 0;
  for (size_t i = 0; i < n; i++) {                           /* gathered first, ordered at once */
    if (sym[i].rank == NONE) continue;
    if (!tk_grow(&b->heap, &b->heap_cap, b->heap_n + 1, sizeof *b->heap)) return false;
    b->heap[b->heap_n++] = (uint64_t)sym[i].rank << 32 | i;
  }
  for (size_t i = b->heap_n / 2; i-- > 0;) sift_down(b->heap, b->heap_n, i);
  while (b->heap_n) {
    uint64_t top = b->heap[0];
    size_t i = top & NONE;
    b->heap[0] = b->heap[--b->heap_n];
    if (b->heap_n) sift_down(b->heap, b->heap_n, 0);
    if (sym[i].rank != top >> 32) continue;
    join(b, sym, i);
    if (!heap_push(b, i) || (sym[i].prev >= 0 && !heap_push(b, (size_t)sym[i].prev))) return false;
  }
  return true;
}

bool tk_bpe_word(TkBpe *b, const TkVocab *v, const char *s, size_t len, TkTokens *out, TkErr *e) {
  uint32_t id;
  size_t n = 0, at = 0;
  if (b->ignore_merges && tk_vocab_find(b->bytelevel ? &b->raw : v, s, len, &id))
    return tk_tokens_add(out, id, 0, len) || tk_oom(e);
  if (!first_symbols(b, v, s, len, &n)) return tk_oom(e);
  if (!n) return true;
  b->sym[n - 1].next = -1;
  for (size_t i = 0; i < n; i++) look_up(b, b->sym, i);
  if (n <= 24) merge_short(b, b->sym);
  else if (!merge_long(b, n)) return tk_oom(e);
  for (int32_t i = 0; i >= 0; i = b->sym[i].next) {
    if (!tk_tokens_add(out, b->sym[i].id, at, at + b->sym[i].len)) return tk_oom(e);
    at += b->sym[i].len;
  }
  return true;
}

/* ---- loading ---- */
static bool merge_parts(const TjDoc *d, const Tj *m, TkStr *a, TkStr *b) {
  if (m->t == TJ_STR) {
    const char *gap = memchr(m->s, ' ', m->len);
    if (!gap) return false;
    *a = (TkStr){m->s, (size_t)(gap - m->s)};
    *b = (TkStr){gap + 1, m->len - a->n - 1};
    return memchr(b->s, ' ', b->n) == NULL;
  }
  const Tj *x = m->t == TJ_ARR && m->len == 2 ? tj_child(d, m) : NULL,
           *y = x ? tj_next(d, x) : NULL;
  if (!y || x->t != TJ_STR || y->t != TJ_STR) return false;
  *a = (TkStr){x->s, x->len};
  *b = (TkStr){y->s, y->len};
  return true;
}

static bool load_merge(TkBpe *b, const TkVocab *v, TkStr x, TkStr y, uint32_t rank, TkErr *e) {
  uint32_t ix, iy, id;
  size_t cut = b->prefix.n && y.n >= b->prefix.n ? b->prefix.n : 0;
  b->piece.n = 0;
  if (!tk_put(&b->piece, x.s, x.n) || !tk_put(&b->piece, y.s + cut, y.n - cut)) return tk_oom(e);
  if (!tk_vocab_find(v, x.s, x.n, &ix) || !tk_vocab_find(v, y.s, y.n, &iy) ||
      !tk_vocab_find(v, b->piece.p, b->piece.n, &id))
    return tk_fail(e, "model.merges[%u]: token '%.80s' is not in the vocabulary", rank, b->piece.p);
  uint64_t pair = (uint64_t)ix << 32 | iy;
  b->merge[pair_slot(b, pair)] = (Merge){pair, rank, id};
  return true;
}

static bool load_merges(TkBpe *b, const TkVocab *v, const TjDoc *d, const Tj *list, TkErr *e) {
  if (!list || list->t != TJ_ARR) return tk_fail(e, "model.merges: expected an array");
  for (b->slots = 16; b->slots < (size_t)list->len * 2; b->slots *= 2) ;
  if (!(b->merge = mt_malloc(b->slots * sizeof *b->merge))) return tk_oom(e);
  for (size_t i = 0; i < b->slots; i++) b->merge[i] = (Merge){0, NONE, 0};
  uint32_t rank = 0;
  for (const Tj *m = tj_child(d, list); m; m = tj_next(d, m), rank++) {
    TkStr x, y;
    if (!merge_parts(d, m, &x, &y))
      return tk_fail(e, "model.merges[%u]: expected two tokens", rank);
    if (!load_merge(b, v, x, y, rank, e)) return false;
  }
  return true;
}

/* The byte that each letter stands for: the table's inverse, built on the stack. */
static bool raw_bytes(TkBuf *out, TkStr token) {
  const uint16_t *letter = tk_byte_letter();
  uint8_t byte[512];
  bool is[512] = {false};
  for (unsigned i = 0; i < 256; i++) { byte[letter[i]] = (uint8_t)i; is[letter[i]] = true; }
  out->n = 0;
  for (size_t i = 0; i < token.n;) {
    uint32_t cp = tk_next(token.s, &i);
    if (cp >= 512 || !is[cp] || !tk_put(out, (const char *)&byte[cp], 1)) return false;
  }
  return token.n > 0;
}

static bool load_letters(TkBpe *b, const TkVocab *v, TkErr *e) {
  const uint16_t *letter = tk_byte_letter();
  for (unsigned i = 0; i < 256; i++) {
    char c[8];
    static const char digit[] = "0123456789ABCDEF", fb[] = {'<', '0', 'x', 0, 0, '>'};
    size_t n = 1;
    c[0] = (char)i;
    if (b->bytelevel) n = tk_utf8_put(c, letter[i]);
    if ((!b->bytelevel && i >= 128) || !tk_vocab_find(v, c, n, &b->letter[i])) b->letter[i] = NONE;
    memcpy(c, fb, 6);
    c[3] = digit[i >> 4]; c[4] = digit[i & 15];
    if (!tk_vocab_find(v, c, 6, &b->fallback[i])) b->fallback[i] = NONE;
  }
  b->raw.limit = v->ids;
  for (uint32_t id = 0; b->bytelevel && b->ignore_merges && id < v->ids; id++) {
    TkStr t;
    if (tk_vocab_str(v, id, &t) && raw_bytes(&b->piece, t) &&
        !tk_vocab_add(&b->raw, b->piece.p, b->piece.n, id, e))
      return false;
  }
  return true;
}

static bool load_string(TkBuf *b, const Tj *x, const char *what, TkErr *e) {
  if (!x) return true;
  if (x->t != TJ_STR) return tk_fail(e, "model.%s: expected a string", what);
  return !x->len || tk_put(b, x->s, x->len) || tk_oom(e);
}

static bool fill(TkBpe *b, const TkVocab *v, const TjDoc *d, const Tj *j, TkErr *e) {
  const Tj *unk = tj_get(d, j, "unk_token"), *x;
  const char *flag[] = {"byte_fallback", "fuse_unk", "ignore_merges"};
  bool *to[] = {&b->byte_fallback, &b->fuse_unk, &b->ignore_merges};
  for (int i = 0; i < 3; i++) *to[i] = (x = tj_get(d, j, flag[i])) && x->t == TJ_TRUE;
  if ((x = tj_get(d, j, "dropout")) && x->t == TJ_NUM && x->num > 0)
    return tk_fail(e, "model.dropout: not supported");
  if (unk) {
    if (unk->t != TJ_STR) return tk_fail(e, "model.unk_token: expected a string");
    b->has_unk = tk_vocab_find(v, unk->s, unk->len, &b->unk);
  }
  if (!load_string(&b->prefix, tj_get(d, j, "continuing_subword_prefix"),
                   "continuing_subword_prefix", e) ||
      !load_string(&b->suffix, tj_get(d, j, "end_of_word_suffix"), "end_of_word_suffix", e))
    return false;
  if (b->prefix.n || b->suffix.n) b->bytelevel = false;
  return load_merges(b, v, d, tj_get(d, j, "merges"), e) && load_letters(b, v, e);
}

TkBpe *tk_bpe_load(const TkVocab *v, const TjDoc *d, const Tj *j, bool bytelevel, TkErr *e) {
  TkBpe *b = mt_calloc(sizeof *b);
  if (!b) { tk_oom(e); return NULL; }
  b->bytelevel = bytelevel;
  if (fill(b, v, d, j, e)) return b;
  tk_bpe_free(b);
  return NULL;
}
