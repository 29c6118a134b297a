/* json.c: reads a whole JSON text into an array of nodes.
 *
 * Invariant: a parsed document owns a copy of its text; strings are decoded in place in that copy
 * (they only shrink), are valid UTF-8 and closed by a zero.  Nesting is bounded, numbers are
 * doubles, and every error names the byte offset. Node 0 is the root; index 0 as next or child
 * means none, which the root never is. */
#include "tokenizers/tk_int.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 120
typedef struct { TjDoc *d; char *s; size_t i, n; const char *name; TkErr *e; } P;

static bool bad(P *p, const char *what) {
  return tk_fail(p->e, "%s: byte %zu: %s", p->name, p->i, what);
}

static void space(P *p) {
  while (p->i < p->n &&
         (p->s[p->i] == ' ' || p->s[p->i] == '\n' || p->s[p->i] == '\r' || p->s[p->i] == '\t'))
    p->i++;
}

static bool add(P *p, TjType t, uint32_t *at) {
  TjDoc *d = p->d;
  if (d->n >= UINT32_MAX - 1 || !tk_grow(&d->node, &d->cap, d->n + 1, sizeof *d->node))
    return tk_oom(p->e);
  d->node[d->n] = (Tj){.t = t};
  *at = (uint32_t)d->n++;
  return true;
}

static int hex4(const char *s) {
  int v = 0;
  for (int i = 0; i < 4; i++) {
    int c = s[i], h = c >= '0' && c <= '9'                 ? c - '0'
                      : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                           : -1;
    if (h < 0) return -1;
    v = v * 16 + h;
  }
  return v;
}

static bool escape(P *p, size_t *out) {
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  char c = p->i + 1 < p->n ? p->s[p->i + 1] : 0;
  const char *k = c ? strchr(from, c) : NULL;
  if (k) { p->s[(*out)++] = to[k - from]; p->i += 2; return true; }
  int hi = c == 'u' && p->n - p->i >= 6 ? hex4(p->s + p->i + 2) : -1;
  if (hi < 0) return bad(p, "bad escape in a string");
  uint32_t cp = (uint32_t)hi;
  size_t used = 6;
  if (cp - 0xD800 < 0x400) {
    int lo = p->n - p->i >= 12 && p->s[p->i + 6] == '\\' && p->s[p->i + 7] == 'u'
                 ? hex4(p->s + p->i + 8)
                 : -1;
    if (lo < 0xDC00 || lo > 0xDFFF) return bad(p, "half of a surrogate pair");
    cp = 0x10000 + ((cp - 0xD800) << 10) + ((uint32_t)lo - 0xDC00);
    used = 12;
  } else if (cp - 0xDC00 < 0x400) return bad(p, "half of a surrogate pair");
  p->i += used;
  *out += tk_utf8_put(p->s + *out, cp);
  return true;
}

static bool string(P *p, const char **s, uint32_t *len) {
  size_t start = ++p->i, out = start;
  for (;;) {
    size_t from = p->i;
    while (p->i < p->n && p->s[p->i] != '"' && p->s[p->i] != '\\' &&
           (unsigned char)p->s[p->i] >= 32)
      p->i++;
    if (out != from) memmove(p->s + out, p->s + from, p->i - from);
    out += p->i - from;
    if (p->i >= p->n) return bad(p, "string not closed");
    if (p->s[p->i] == '"') break;
    if (p->s[p->i] != '\\') return bad(p, "control character in a string");
    if (!escape(p, &out)) return false;
  }
  if (out - start > UINT32_MAX) return bad(p, "string too long");
  *s = p->s + start;
  *len = (uint32_t)(out - start);
  p->s[out] = 0; /* at most the place of the closing quote */
  p->i++;
  return true;
}

/* A number as the reference's reader makes it: the digits that fit 64 bits, scaled by one power of
 * ten.  That is not always the nearest double, and ties between Unigram paths hang on the last bit.
 */
static double scaled(uint64_t digits, int exponent) {
  double f = (double)digits;
  if (f == 0) return 0;
  for (; exponent < -308; exponent += 308) f /= 1e308;
  char power[16];
  snprintf(power, sizeof power, "1e%d", exponent < 0 ? -exponent : exponent);
  return exponent < 0 ? f / strtod(power, NULL) : f * strtod(power, NULL);
}

static bool number(P *p, double *out) {
  size_t i = p->i, d;
  const char *s = p->s;
  uint64_t digits = 0;
  int exponent = 0, written = 0;
  bool neg = s[i] == '-', full = false, minus = false;
#define DIGITS(after) \
  for (d = i; i < p->n && s[i] >= '0' && s[i] <= '9'; i++) { \
    full = full || digits > (UINT64_MAX - (uint64_t)(s[i] - '0')) / 10; \
    if (!full) digits = digits * 10 + (uint64_t)(s[i] - '0'); \
    exponent += full ? !(after) : -(after); \
    if (i - d > 100000) return bad(p, "number too long"); \
  } \
  if (d == i) return bad(p, "bad number")
  if (neg) i++;
  if (i < p->n && s[i] == '0') i++; else { DIGITS(0); }
  if (i < p->n && s[i] == '.') { i++; DIGITS(1); }
  if (i < p->n && (s[i] == 'e' || s[i] == 'E')) {
    i++;
    if (i < p->n && (s[i] == '+' || s[i] == '-')) minus = s[i++] == '-';
    for (d = i; i < p->n && s[i] >= '0' && s[i] <= '9'; i++)
      if (written < 1000000) written = written * 10 + (s[i] - '0');
    if (d == i) return bad(p, "bad number");
  }
  exponent += minus ? -written : written;
  *out = exponent ? scaled(digits, exponent) : (double)digits;
  if (neg) *out = -*out;
  p->i = i;
  return true;
}

static bool word(P *p, const char *w, TjType t, uint32_t *at) {
  size_t n = strlen(w);
  if (p->n - p->i < n || memcmp(p->s + p->i, w, n)) return bad(p, "unexpected character");
  p->i += n;
  return add(p, t, at);
}

static bool value(P *p, uint32_t *at, int depth);

static bool members(P *p, uint32_t self, bool obj, int depth) {
  uint32_t last = 0, at, count = 0;
  char close = obj ? '}' : ']';
  p->i++;
  space(p);
  if (p->i < p->n && p->s[p->i] == close) { p->i++; return true; }
  for (;;) {
    const char *key = NULL;
    uint32_t klen = 0;
    space(p);
    if (obj) {
      if (p->i >= p->n || p->s[p->i] != '"') return bad(p, "expected a member's name");
      if (!string(p, &key, &klen)) return false;
      space(p);
      if (p->i >= p->n || p->s[p->i] != ':') return bad(p, "expected ':'");
      p->i++;
    }
    if (!value(p, &at, depth + 1)) return false;
    Tj *n = p->d->node;
    n[at].key = key;
    n[at].klen = klen;
    if (last) n[last].next = at; else n[self].child = at;
    last = at;
    count++;
    space(p);
    if (p->i < p->n && p->s[p->i] == ',') { p->i++; continue; }
    if (p->i >= p->n || p->s[p->i] != close)
      return bad(p, obj ? "expected ',' or '}'" : "expected ',' or ']'");
    p->i++;
    n[self].len = count;
    return true;
  }
}

static bool value(P *p, uint32_t *at, int depth) {
  space(p);
  if (p->i >= p->n) return bad(p, "unexpected end");
  if (depth > MAX_DEPTH) return bad(p, "nested too deeply");
  char c = p->s[p->i];
  if (c == '{' || c == '[')
    return add(p, c == '{' ? TJ_OBJ : TJ_ARR, at) && members(p, *at, c == '{', depth);
  if (c == '"') return add(p, TJ_STR, at) && string(p, &p->d->node[*at].s, &p->d->node[*at].len);
  if (c == 't') return word(p, "true", TJ_TRUE, at);
  if (c == 'f') return word(p, "false", TJ_FALSE, at);
  if (c == 'n') return word(p, "null", TJ_NULL, at);
  if (c == '-' || (c >= '0' && c <= '9'))
    return add(p, TJ_NUM, at) && number(p, &p->d->node[*at].num);
  return bad(p, "unexpected character");
}

bool tj_parse(TjDoc *d, const char *text, size_t n, const char *name, TkErr *e) {
  *d = (TjDoc){0};
  size_t wrong = tk_utf8_bad(text, n);
  if (wrong < n) return tk_fail(e, "%s: byte %zu: invalid UTF-8", name, wrong);
  d->text = mt_malloc(n + 1);
  if (!d->text) return tk_oom(e);
  if (n) memcpy(d->text, text, n);
  d->text[n] = 0;
  d->len = n;
  P p = {d, d->text, 0, n, name, e};
  uint32_t root;
  bool ok = value(&p, &root, 0);
  space(&p);
  if (ok && p.i < n) ok = bad(&p, "text after the end of the value");
  if (!ok) tj_free(d);
  return ok;
}

void tj_free(TjDoc *d) {
  mt_free(d->node);
  mt_free(d->text);
  *d = (TjDoc){0};
}

bool tj_is(const Tj *x, const char *s) {
  return x && x->t == TJ_STR && x->len == strlen(s) && memcmp(x->s, s, x->len) == 0;
}

const Tj *tj_get(const TjDoc *d, const Tj *obj, const char *key) {
  size_t n = strlen(key);
  const Tj *found = NULL;
  if (!obj || obj->t != TJ_OBJ) return NULL;
  for (const Tj *c = tj_child(d, obj); c; c = tj_next(d, c))
    if (c->klen == n && memcmp(c->key, key, n) == 0) found = c;
  return found && found->t != TJ_NULL ? found : NULL;
}
