/* vocab.c: strings to ids and back, and a byte trie for longest and common prefixes.
 *
 * Invariants.  A vocabulary's strings live in one pool; ids may have holes, none is larger than the
 * number of strings allows (a hostile file cannot make it allocate by naming one huge id).  A
 * trie's nodes are laid out breadth first, the children of a node side by side in byte order; node
 * 0 is the root, and no child is ever node 0. */
#include "tokenizers/tk_int.h"
#include <stdlib.h>
#include <string.h>

uint64_t tk_hash(const char *s, size_t n) {
  uint64_t h = n * 0x9E3779B97F4A7C15u ^ 0x243F6A8885A308D3u, w;
  for (; n >= 8; s += 8, n -= 8) {
    memcpy(&w, s, 8);
    h = (h ^ w) * 0xFF51AFD7ED558CCDu;
    h ^= h >> 32;
  }
  if (n) {
    w = 0;
    memcpy(&w, s, n);
    h = (h ^ w) * 0xFF51AFD7ED558CCDu;
    h ^= h >> 32;
  }
  h *= 0xC4CEB9FE1A85EC53u;
  return h ^ h >> 29;
}

bool tk_vocab_reserve(TkVocab *v, size_t n) {
  size_t want = 16;
  while (want < n * 2) want *= 2;
  if (want <= v->slots) return true;
  uint32_t *slot = mt_calloc(want * sizeof *slot);
  if (!slot) return false;
  for (size_t i = 0; i < v->slots; i++) {
    if (!v->slot[i]) continue;
    uint32_t id = v->slot[i] - 1;
    size_t k = tk_hash(v->pool + v->off[id], v->len[id]) & (want - 1);
    while (slot[k]) k = (k + 1) & (want - 1);
    slot[k] = id + 1;
  }
  mt_free(v->slot);
  v->slot = slot;
  v->slots = want;
  return true;
}

static size_t slot_of(const TkVocab *v, const char *s, size_t n) {
  size_t k = tk_hash(s, n) & (v->slots - 1);
  for (; v->slot[k]; k = (k + 1) & (v->slots - 1)) {
    uint32_t id = v->slot[k] - 1;
    if (v->len[id] == n && memcmp(v->pool + v->off[id], s, n) == 0) break;
  }
  return k;
}

/* A string given twice keeps its last id (both ids still name it); an id given twice keeps its last
 * string. */
bool tk_vocab_add(TkVocab *v, const char *s, size_t n, uint32_t id, TkErr *e) {
  if (id >= 0x10000 && id >= v->limit)
    return tk_fail(e, "token id %u is too large for so few tokens", id);
  if (n > UINT32_MAX - 1 || v->pool_n + n > UINT32_MAX - 1)
    return tk_fail(e, "vocabulary too large");
  size_t cap = v->ids_cap;
  if (!tk_grow(&v->off, &cap, (size_t)id + 1, sizeof *v->off)) return tk_oom(e);
  cap = v->ids_cap;
  if (!tk_grow(&v->len, &cap, (size_t)id + 1, sizeof *v->len)) return tk_oom(e);
  v->ids_cap = cap;
  if (!tk_grow(&v->pool, &v->pool_cap, v->pool_n + n + 1, 1) || !tk_vocab_reserve(v, v->count + 1))
    return tk_oom(e);
  for (; v->ids <= id; v->ids++) { v->off[v->ids] = 0; v->len[v->ids] = UINT32_MAX; }
  size_t k = slot_of(v, s, n);
  if (v->slot[k]) {
    v->off[id] = v->off[v->slot[k] - 1];
    v->len[id] = (uint32_t)n;
    v->slot[k] = id + 1;
    return true;
  }
  if (v->len[id] != UINT32_MAX) return tk_fail(e, "token id %u is given to two tokens", id);
  v->off[id] = (uint32_t)v->pool_n;
  v->len[id] = (uint32_t)n;
  if (n) memcpy(v->pool + v->pool_n, s, n);
  v->pool_n += n;
  v->slot[k] = id + 1;
  v->count++;
  return true;
}

bool tk_vocab_find(const TkVocab *v, const char *s, size_t n, uint32_t *id) {
  if (!v->slots) return false;
  size_t k = slot_of(v, s, n);
  if (!v->slot[k]) return false;
  *id = v->slot[k] - 1;
  return true;
}

bool tk_vocab_str(const TkVocab *v, uint32_t id, TkStr *out) {
  if (id >= v->ids || v->len[id] == UINT32_MAX) return false;
  *out = (TkStr){v->pool + v->off[id], v->len[id]};
  return true;
}

void tk_vocab_free(TkVocab *v) {
  mt_free(v->pool); mt_free(v->off); mt_free(v->len); mt_free(v->slot);
  *v = (TkVocab){0};
}

/* ---- trie ---- */
static int by_bytes(const void *x, const void *y) {
  const TkKey *a = x, *b = y;
  size_t n = a->n < b->n ? a->n : b->n;
  int c = n ? memcmp(a->s, b->s, n) : 0;
  if (c) return c;
  if (a->n != b->n) return a->n < b->n ? -1 : 1;
  return a->value < b->value ? -1 : a->value > b->value;
}

static bool trie_room(TkTrie *t, size_t n) {
  size_t c1 = t->cap, c2 = t->cap, c3 = t->cap, c4 = t->cap;
  if (n <= t->cap) return true;
  if (n > INT32_MAX || !tk_grow(&t->first, &c1, n, sizeof *t->first) ||
      !tk_grow(&t->count, &c2, n, sizeof *t->count) || !tk_grow(&t->label, &c3, n, 1) ||
      !tk_grow(&t->value, &c4, n, sizeof *t->value))
    return false;
  t->cap = c1;
  return true;
}

/* Breadth first: the keys below a node at depth d are a range of the sorted keys; each byte at d
 * makes a child. */
bool tk_trie_build(TkTrie *t, TkKey *keys, size_t n) {
  typedef struct { uint32_t lo, hi; } Range;
  Range *range = NULL;
  size_t cap = 0;
  qsort(keys, n, sizeof *keys, by_bytes);
  *t = (TkTrie){0};
  if (!trie_room(t, 1) || !tk_grow(&range, &cap, 1, sizeof *range)) goto fail;
  range[0] = (Range){0, (uint32_t)n};
  t->label[0] = 0;
  t->n = 1;
  size_t depth = 0, level_end = 1;
  for (size_t node = 0; node < t->n; node++) {
    if (node == level_end) { depth++; level_end = t->n; }
    uint32_t lo = range[node].lo, hi = range[node].hi;
    t->value[node] = -1;
    for (; lo < hi && keys[lo].n == depth; lo++) t->value[node] = keys[lo].value;
    t->first[node] = (uint32_t)t->n;
    while (lo < hi) {
      uint8_t c = (uint8_t)keys[lo].s[depth];
      uint32_t from = lo;
      while (lo < hi && (uint8_t)keys[lo].s[depth] == c) lo++;
      if (!trie_room(t, t->n + 1) || !tk_grow(&range, &cap, t->n + 1, sizeof *range)) goto fail;
      t->label[t->n] = c;
      range[t->n++] = (Range){from, lo};
    }
    t->count[node] = (uint16_t)(t->n - t->first[node]);
  }
  mt_free(range);
  for (uint32_t k = t->first[0]; k < t->first[0] + t->count[0]; k++) t->root[t->label[k]] = k;
  return true;
fail:
  mt_free(range);
  tk_trie_free(t);
  return false;
}

void tk_trie_free(TkTrie *t) {
  mt_free(t->first); mt_free(t->count); mt_free(t->label); mt_free(t->value);
  *t = (TkTrie){0};
}
