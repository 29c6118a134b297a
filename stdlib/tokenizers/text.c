/* text.c: texts that remember where each byte came from, growable arrays, errors.
 *
 * Invariant: in a text that owns its alignment (ident false) al has n entries; in one that does
 * not, byte i stands for the original's character around byte i.  A failed reservation leaves the
 * text as it was. */
#include "tokenizers/tk_int.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool tk_fail(TkErr *e, const char *fmt, ...) {
  if (e->set) return false;
  e->set = true;
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(e->msg, sizeof e->msg, fmt, ap);
  va_end(ap);
  return false;
}

bool tk_oom(TkErr *e) { return tk_fail(e, "not enough memory"); }

bool tk_grow(void *pp, size_t *cap, size_t need, size_t size) {
  if (need <= *cap) return true;
  size_t want = *cap + *cap / 2 + 16;
  if (want < need) want = need;
  if (want > SIZE_MAX / size) return false;
  void *p;
  memcpy(&p, pp, sizeof p);
  p = mt_realloc(p, want * size);
  if (!p) return false;
  memcpy(pp, &p, sizeof p);
  *cap = want;
  return true;
}

bool tk_put(TkBuf *b, const char *s, size_t n) {
  if (!tk_grow(&b->p, &b->cap, b->n + n + 1, 1)) return false;
  if (n) memcpy(b->p + b->n, s, n);
  b->p[b->n += n] = 0;
  return true;
}

bool tk_text_reserve(TkText *t, size_t n) {
  if (n <= t->cap) return true;
  size_t cap = t->cap, cap2 = t->cap;
  if (n > TK_MAX_TEXT || !tk_grow(&t->s, &cap, n, 1) || !tk_grow(&t->al, &cap2, n, sizeof *t->al))
    return false;
  t->cap = cap < cap2 ? cap : cap2;
  return true;
}

/* The bytes [a, b) of an original.  Only a text that starts at the original's start may be ident.
 */
bool tk_text_set(TkText *t, const char *orig, size_t a, size_t b, bool ident) {
  t->n = 0;
  if (!tk_text_reserve(t, b - a)) return false;
  if (b > a) memcpy(t->s, orig + a, b - a);
  t->n = b - a;
  t->ident = ident && a == 0;
  if (t->ident) return true;
  for (size_t i = 0; i < t->n;) {
    size_t k = tk_char_len((unsigned char)t->s[i]);
    for (size_t j = i; j < i + k; j++)
      t->al[j] = (TkSpan){(uint32_t)(a + i), (uint32_t)(a + i + k)};
    i += k;
  }
  return true;
}

bool tk_text_own(TkText *t) {
  if (!t->ident) return true;
  for (size_t i = 0; i < t->n;) {
    size_t k = tk_char_len((unsigned char)t->s[i]);
    for (size_t j = i; j < i + k; j++) t->al[j] = (TkSpan){(uint32_t)i, (uint32_t)(i + k)};
    i += k;
  }
  t->ident = false;
  return true;
}

bool tk_text_append(TkText *t, const TkText *from, size_t a, size_t b) {
  if (!tk_text_reserve(t, t->n + (b - a))) return false;
  if (b > a) memcpy(t->s + t->n, from->s + a, b - a);
  if (from->ident) for (size_t i = a; i < b; i++) t->al[t->n + i - a] = tk_text_at(from, i);
  else if (b > a) memcpy(t->al + t->n, from->al + a, (b - a) * sizeof *t->al);
  t->n += b - a;
  return true;
}

void tk_text_free(TkText *t) {
  mt_free(t->s);
  mt_free(t->al);
  *t = (TkText){0};
}

TkXf tk_xf(const TkText *in, TkText *out) {
  out->n = 0;
  out->ident = false;
  return (TkXf){in, out, 0, true};
}

void tk_xf_skip(TkXf *x, size_t chars) {
  for (; chars && x->off < x->in->n; chars--)
    x->off += tk_char_len((unsigned char)x->in->s[x->off]);
}

void tk_xf_bytes(TkXf *x, const char *s, size_t n, TkSpan al) {
  TkText *o = x->out;
  if (!x->ok || !(x->ok = tk_text_reserve(o, o->n + n))) return;
  if (n) memcpy(o->s + o->n, s, n);
  for (size_t i = 0; i < n; i++) o->al[o->n++] = al;
}

void tk_xf_put(TkXf *x, uint32_t cp, int change) {
  const TkText *in = x->in;
  TkSpan al = {0, 0};
  if (change > 0) { if (x->off > 0) al = in->al[x->off - 1]; }
  else if (x->off < in->n) al = in->al[x->off];
  if (change <= 0) tk_xf_skip(x, 1 + (size_t)-change);
  char c[4];
  tk_xf_bytes(x, c, tk_utf8_put(c, cp), al);
}
