/* added.c: cuts added tokens out of a text: the leftmost, longest first, with their neighbouring
 * spaces when they ask.
 *
 * Invariant: the pieces appended cover [a, b) in order without gaps or overlap. */
#include "tokenizers/tk_int.h"

static bool word_before(const TkText *t, size_t a, size_t i) {
  if (i <= a) return false;
  size_t k = tk_prev(t->s, i);
  return tk_rec(tk_next(t->s, &k))->flags & TK_WORD;
}

static bool word_after(const TkText *t, size_t b, size_t i) {
  return i < b && (tk_rec(tk_next(t->s, &i))->flags & TK_WORD);
}

static size_t longest(const TkTrie *trie, const TkText *t, size_t at, size_t b, int32_t *which) {
  size_t end = 0;
  for (uint32_t node = trie->root[(unsigned char)t->s[at]]; node;
       node = tk_trie_step(trie, node, (uint8_t)t->s[at])) {
    at++;
    if (trie->value[node] >= 0) { *which = trie->value[node]; end = at; }
    if (at >= b) break;
  }
  return end;
}

static size_t spaces_before(const TkText *t, size_t low, size_t i) {
  while (i > low) {
    size_t k = tk_prev(t->s, i), j = k;
    if (!(tk_rec(tk_next(t->s, &j))->flags & TK_WHITE)) break;
    i = k;
  }
  return i;
}

static size_t spaces_after(const TkText *t, size_t b, size_t i) {
  while (i < b) {
    size_t j = i;
    if (!(tk_rec(tk_next(t->s, &j))->flags & TK_WHITE)) break;
    i = j;
  }
  return i;
}

bool tk_added_split(const TkAddedSet *set, const TkTrie *trie, const TkText *t, size_t a, size_t b,
                    TkPieces *out) {
  size_t from = a;                                           /* what is not yet in a piece */
  for (size_t i = a; trie->n && i < b;) {
    int32_t which = -1;
    if (!trie->root[(unsigned char)t->s[i]]) { i++; continue; }
    size_t end = longest(trie, t, i, b, &which), start = i;
    if (which < 0) { i++; continue; }
    const TkAdded *x = &set->tok[which];
    i = end;
    if (start < from) { if (end <= from) continue; start = from; }
    if (x->single_word && (word_before(t, a, start) || word_after(t, b, end))) continue;
    if (x->lstrip) start = spaces_before(t, from, start);
    if (x->rstrip) end = spaces_after(t, b, end);
    if (!tk_pieces_add(out, from, start, -1) || !tk_pieces_add(out, start, end, (int32_t)x->id))
      return false;
    from = end;
  }
  return tk_pieces_add(out, from, b, -1);
}
