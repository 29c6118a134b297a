/* json.c: the JSON parser.  One loop over the text with a stack of open containers of fixed size:
 * no recursion. */
#include "json/json.h"
#include <math.h>
#include <string.h>

enum { MAX_DEPTH = 1024, DEFAULT_DEPTH = 512 };

typedef struct parser {
  const char *text, *p, *end;
  js_doc *d;
  sys_err *e;
  uint32_t limit_nodes, limit_depth, depth;
  bool allow_nan;
  char *arena_p;
  uint32_t open[MAX_DEPTH];      /* node indices of the containers we are in */
} parser;

static bool fail_at(parser *q, const char *at, const char *what) {
  return sys_fail(q->e, "JSON: %s at byte %zu", what, (size_t)(at - q->text));
}

static js_node *add(parser *q, int type, const char *at) {
  js_doc *d = q->d;
  if (d->n >= q->limit_nodes) return fail_at(q, at, "too many values"), NULL;
  if (d->n == d->cap) {
    uint64_t cap = d->cap ? d->cap + d->cap / 2 : 16 + (uint64_t)(q->end - q->p) / 16;
    if (cap > UINT32_MAX - 1) cap = UINT32_MAX - 1;
    js_node *v = mt_realloc(d->v, cap * sizeof *v);
    if (!v) return fail_at(q, at, "not enough memory"), NULL;
    d->v = v, d->cap = (uint32_t)cap;
    if (mt_interrupted) return sys_fail(q->e, "interrupted"), NULL;
  }
  js_node *nd = &d->v[d->n++];
  *nd = (js_node){.type = (uint8_t)type, .at = (uint32_t)(at - q->text), .next = d->n};
  return nd;
}

static void skip_space(parser *q) {
  while (q->p < q->end && (*q->p == ' ' || *q->p == '\n' || *q->p == '\r' || *q->p == '\t')) q->p++;
}

/* Length of the valid UTF-8 sequence that begins with a byte >= 0x80, or 0. */
static int utf8_length(const uint8_t *s, const uint8_t *end) {
  int n = s[0] >= 0xC2 && s[0] < 0xE0   ? 2
          : s[0] >= 0xE0 && s[0] < 0xF0 ? 3
          : s[0] >= 0xF0 && s[0] < 0xF5 ? 4
                                        : 0;
  if (!n || end - s < n) return 0;
  for (int i = 1; i < n; i++)
    if ((s[i] & 0xC0) != 0x80) return 0;
  if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F))
    return 0; /* overlong; surrogate */
  if ((s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))
    return 0; /* overlong; past U+10FFFF */
  return n;
}

size_t js_utf8_check(const char *s, size_t n) {
  const uint8_t *p = (const uint8_t *)s, *end = p + n;
  while (p < end) {
    int k = *p < 0x80 ? 1 : utf8_length(p, end);
    if (!k) break;
    p += k;
  }
  return (size_t)(p - (const uint8_t *)s);
}

static int hex4(const char *p, const char *end) {
  int v = 0;
  if (end - p < 4) return -1;
  for (int i = 0; i < 4; i++) {
    int c = p[i], x = c >= '0' && c <= '9'                 ? c - '0'
                      : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                           : -1;
    if (x < 0) return -1;
    v = v << 4 | x;
  }
  return v;
}

static char *put_utf8(char *o, uint32_t c) {
  if (c < 0x80) return *o++ = (char)c, o;
  if (c < 0x800) *o++ = (char)(0xC0 | c >> 6);
  else if (c < 0x10000) *o++ = (char)(0xE0 | c >> 12), *o++ = (char)(0x80 | (c >> 6 & 63));
  else
    *o++ = (char)(0xF0 | c >> 18), *o++ = (char)(0x80 | (c >> 12 & 63)),
    *o++ = (char)(0x80 | (c >> 6 & 63));
  return *o++ = (char)(0x80 | (c & 63)), o;
}

/* The escape at *pp (just past the backslash) to UTF-8 at o; NULL on an error. */
static char *unescape(parser *q, const char **pp, char *o) {
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  const char *p = *pp, *hit;
  if (p < q->end && *p && (hit = strchr(from, *p)) != NULL)
    return *pp = p + 1, *o++ = to[hit - from], o;
  int c = p < q->end && *p == 'u' ? hex4(p + 1, q->end) : -1;
  if (c < 0) return fail_at(q, p - 1, "invalid escape"), NULL;
  p += 5;
  if (c >= 0xD800 && c < 0xE000) {
    int low =
        c < 0xDC00 && q->end - p >= 6 && p[0] == '\\' && p[1] == 'u' ? hex4(p + 2, q->end) : -1;
    if (low < 0xDC00 || low > 0xDFFF) return fail_at(q, p - 6, "half of a surrogate pair"), NULL;
    c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
    p += 6;
  }
  return *pp = p, put_utf8(o, (uint32_t)c);
}

/* A string with escapes, from p (its first byte) on: decoded into the arena, which is as long as
 * the rest of the text when it is made and never filled faster than the text is read. */
static bool escaped_string(parser *q, js_node *nd, const char *start, const char *p) {
  if (!q->d->arena) {
    q->d->arena = q->arena_p = mt_malloc((size_t)(q->end - start));
    if (!q->d->arena) return fail_at(q, start, "not enough memory");
  }
  char *o = q->arena_p;
  memcpy(o, start, (size_t)(p - start));
  nd->u.s = o;
  o += p - start;
  while (p < q->end && *p != '"') {
    const uint8_t c = (uint8_t)*p;
    if (c == '\\') {
      p++;
      if (!(o = unescape(q, &p, o))) return false;
    } else if (c < 0x20) {
      return fail_at(q, p, "control character in a string");
    } else {
      int k = c < 0x80 ? 1 : utf8_length((const uint8_t *)p, (const uint8_t *)q->end);
      if (!k) return fail_at(q, p, "invalid UTF-8");
      while (k--) *o++ = *p++;
    }
  }
  if (p == q->end) return fail_at(q, start - 1, "unfinished string");
  nd->n = (uint32_t)(o - nd->u.s);
  q->arena_p = o;
  q->p = p + 1;
  return true;
}

static bool string(parser *q) {
  const char *start = q->p + 1, *p = start;
  js_node *nd = add(q, JS_STR, q->p);
  if (!nd) return false;
  while (p < q->end && *p != '"') {
    uint8_t c = (uint8_t)*p;
    if (c == '\\') return escaped_string(q, nd, start, p);
    if (c < 0x20) return fail_at(q, p, "control character in a string");
    int k = c < 0x80 ? 1 : utf8_length((const uint8_t *)p, (const uint8_t *)q->end);
    if (!k) return fail_at(q, p, "invalid UTF-8");
    p += k;
  }
  if (p == q->end) return fail_at(q, start - 1, "unfinished string");
  nd->u.s = start;
  nd->n = (uint32_t)(p - start);
  q->p = p + 1;
  return true;
}

static bool is_digit(const parser *q, const char *p) {
  return p < q->end && *p >= '0' && *p <= '9';
}

static bool number(parser *q) {
  const char *start = q->p, *p = start, *digits;
  bool minus = *p == '-', real = false, fits = true;
  uint64_t v = 0;
  digits = p += minus;
  if (!is_digit(q, p)) return fail_at(q, start, "invalid number");
  for (; is_digit(q, p); p++) {
    fits = fits && (v < UINT64_MAX / 10 || (v == UINT64_MAX / 10 && *p <= '5'));
    v = v * 10 + (uint64_t)(*p - '0');
  }
  if (*digits == '0' && p - digits > 1) return fail_at(q, start, "number with a leading zero");
  if (p < q->end && *p == '.') {
    real = true;
    if (!is_digit(q, ++p)) return fail_at(q, start, "invalid number");
    while (is_digit(q, p)) p++;
  }
  if (p < q->end && (*p == 'e' || *p == 'E')) {
    real = true;
    p++;
    if (p < q->end && (*p == '+' || *p == '-')) p++;
    if (!is_digit(q, p)) return fail_at(q, start, "invalid number");
    while (is_digit(q, p)) p++;
  }
  fits = fits && v <= (uint64_t)INT64_MAX + minus;
  js_node *nd = add(q, real ? JS_REAL : fits ? JS_INT : JS_BIG, start);
  if (!nd) return false;
  nd->n = (uint32_t)(p - start);
  if (real) {
    nd->u.d = js_read_real(start, nd->n);
    if (!isfinite(nd->u.d)) return fail_at(q, start, "number out of range");
  } else if (fits) {
    nd->u.i = (int64_t)(minus ? 0 - v : v);
  } else {
    nd->u.s = start;
  }
  q->p = p;
  return true;
}

/* true, false, null and, where allowed, Python's words for what is not finite. */
static bool word(parser *q) {
  static const struct { const char *s; uint8_t n, type, nan; double d;
  } words[] = {{"true", 4, JS_TRUE, 0, 0},
               {"false", 5, JS_FALSE, 0, 0},
               {"null", 4, JS_NULL, 0, 0},
               {"NaN", 3, JS_REAL, 1, NAN},
               {"Infinity", 8, JS_REAL, 1, INFINITY},
               {"-Infinity", 9, JS_REAL, 1, -INFINITY}};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    if (q->end - q->p < words[i].n || memcmp(q->p, words[i].s, words[i].n)) continue;
    if (words[i].nan && !q->allow_nan) return fail_at(q, q->p, "NaN and Infinity are not JSON");
    js_node *nd = add(q, words[i].type, q->p);
    if (!nd) return false;
    nd->u.d = words[i].d;
    q->p += words[i].n;
    return true;
  }
  return fail_at(q, q->p, "unexpected character");
}

/* Skips space and takes c if it is next. */
static bool take(parser *q, char c) {
  skip_space(q);
  if (q->p == q->end || *q->p != c) return false;
  q->p++;
  return true;
}

static bool key(parser *q) {
  skip_space(q);
  if (q->p == q->end || *q->p != '"') return fail_at(q, q->p, "expected a string as key");
  return string(q) && (take(q, ':') || fail_at(q, q->p, "expected ':'"));
}

/* A value begins at p: a scalar is read whole; an opening bracket is read and *opened set. */
static bool value(parser *q, bool *opened) {
  *opened = false;
  skip_space(q);
  if (q->p == q->end) return fail_at(q, q->p, "unexpected end");
  char c = *q->p;
  if (c == '"') return string(q);
  if (c == '-' && q->end - q->p > 1 && q->p[1] == 'I') return word(q);
  if (c == '-' || (c >= '0' && c <= '9')) return number(q);
  if (c != '[' && c != '{') return word(q);
  if (q->depth == q->limit_depth) return fail_at(q, q->p, "nested too deeply");
  q->open[q->depth++] = q->d->n;
  if (!add(q, c == '[' ? JS_ARR : JS_OBJ, q->p)) return false;
  q->p++;
  *opened = true;
  return true;
}

/* After a value (or an opening bracket: fresh), to where the next value begins.  Closes what ends
 * here; *more false: the root is complete. */
static bool advance(parser *q, bool fresh, bool *more) {
  for (; q->depth; fresh = false) {
    js_node *c = &q->d->v[q->open[q->depth - 1]];
    bool obj = c->type == JS_OBJ;
    *more = true;
    if (!fresh) c->n++;
    if (take(q, obj ? '}' : ']')) {
      c->next = q->d->n;
      q->depth--;
      continue;
    }
    if (!fresh && !take(q, ',')) {
      skip_space(q);
      return fail_at(q, q->p, obj ? "expected ',' or '}'" : "expected ',' or ']'");
    }
    return !obj || key(q);
  }
  *more = false;
  return true;
}

bool js_parse(js_doc *d, const char *text, size_t n, const js_limits *limits, sys_err *e) {
  parser q = {.text = text,
              .p = text,
              .end = text + n,
              .d = d,
              .e = e,
              .limit_nodes = UINT32_MAX - 1,
              .limit_depth = DEFAULT_DEPTH};
  bool opened, more = true;
  *d = (js_doc){0};
  if (limits && limits->nodes) q.limit_nodes = limits->nodes;
  if (limits && limits->depth)
    q.limit_depth = limits->depth < MAX_DEPTH ? limits->depth : MAX_DEPTH;
  q.allow_nan = limits && limits->allow_nan;
  bool ok = n < UINT32_MAX || sys_fail(e, "JSON: the text is longer than 4 GB");
  while (ok && more) ok = value(&q, &opened) && advance(&q, opened, &more);
  if (ok) {
    skip_space(&q);
    ok = q.p == q.end || fail_at(&q, q.p, "text after the value");
  }
  if (!ok) js_free(d);
  return ok;
}

void js_free(js_doc *d) {
  mt_free(d->v);
  mt_free(d->arena);
  *d = (js_doc){0};
}

bool js_is(const js_node *str, const char *text) {
  return str->type == JS_STR && str->n == strlen(text) && !memcmp(str->u.s, text, str->n);
}

const js_node *js_get(const js_doc *d, const js_node *obj, const char *name) {
  const js_node *found = NULL;
  if (!obj || obj->type != JS_OBJ) return NULL;
  for (uint32_t i = (uint32_t)(obj - d->v) + 1; i < obj->next; i = d->v[i + 1].next)
    if (js_is(&d->v[i], name)) found = &d->v[i + 1];
  return found;
}
