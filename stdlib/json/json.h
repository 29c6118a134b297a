/* json.h: strict JSON (RFC 8259) as a flat array of nodes, without Lua.
 *
 * Invariants.  Nodes lie in the order of the text; a container's node is followed by its members
 * (an object's by key, value, key, value, ...) and `next` is the index just past its last
 * descendant, so a walk needs no recursion.  Integers that fit keep all 64 bits; a larger one is
 * JS_BIG and keeps its digits.  Strings are valid UTF-8 without their escapes and may contain zero
 * bytes.  The text must outlive the document: strings without escapes point into it. */
#ifndef JSON_H
#define JSON_H
#include "sys/sys.h"

enum { JS_NULL, JS_FALSE, JS_TRUE, JS_INT, JS_BIG, JS_REAL, JS_STR, JS_ARR, JS_OBJ };

typedef struct js_node {
  union { int64_t i; double d; const char *s; } u;   /* s: text of JS_STR, digits of JS_BIG */
  uint32_t n;                    /* bytes of s; elements of an array; pairs of an object */
  uint32_t next;
  uint32_t at;                   /* byte offset in the text */
  uint8_t type;
} js_node;

typedef struct js_limits {
  uint32_t depth;                /* 0: 512; at most 1024 */
  uint32_t nodes;                /* 0: as many as fit */
  bool allow_nan;                /* NaN, Infinity and -Infinity, as Python writes them */
} js_limits;

typedef struct js_doc {
  js_node *v;                    /* v[0] is the root */
  uint32_t n, cap;
  char *arena;                   /* the strings that had escapes */
} js_doc;

/* Parses all of text (one value, white space around it).  A message ends in "at byte N". */
bool js_parse(js_doc *d, const char *text, size_t n, const js_limits *limits, sys_err *e);
void js_free(js_doc *d);
/* The value of a key (the last one of that name), or NULL. */
const js_node *js_get(const js_doc *d, const js_node *obj, const char *key);
bool js_is(const js_node *str, const char *text);

/* Checks UTF-8: the offset of the first byte that is not part of a valid sequence, or n. */
size_t js_utf8_check(const char *s, size_t n);
/* The shortest text that reads back as d (always with a point or an exponent); d must be finite.
 * Returns its length. */
int js_print_real(char buf[40], double d);
double js_read_real(const char *s, size_t n); /* of a number that follows the grammar; no locale */
#endif
