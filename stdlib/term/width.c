/* width.c: UTF-8, user-perceived characters and their columns.
 *
 * A cluster is a base character with what joins it: combining marks, variation selectors, skin
 * tones, what follows a zero-width joiner, the second of a pair of regional indicators.  Emoji
 * shown as such take two columns. */
#include "term.h"
#include <stdio.h>

typedef struct { uint32_t lo, hi; } Range;
#include "width_tables.h"

static bool in_ranges(const Range *r, size_t n, uint32_t cp) {
  size_t lo = 0, hi = n;
  while (lo < hi) {
    size_t mid = (lo + hi) / 2;
    if (cp > r[mid].hi) lo = mid + 1;
    else if (cp < r[mid].lo) hi = mid;
    else return true;
  }
  return false;
}
#define IN(table, cp) in_ranges(table, sizeof table / sizeof table[0], cp)

size_t term_decode(const char *str, size_t n, uint32_t *cp) {
  const unsigned char *s = (const unsigned char *)str;
  static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
  if (n == 0) return *cp = 0, 0;
  if (s[0] < 0x80) return *cp = s[0], 1;
  size_t len = s[0] >= 0xF0 && s[0] < 0xF5   ? 4
               : s[0] >= 0xE0 && s[0] < 0xF0 ? 3
               : s[0] >= 0xC2 && s[0] < 0xE0 ? 2
                                             : 0;
  *cp = TERM_BAD;
  if (len == 0 || len > n) return 1;
  uint32_t c = s[0] & (0x7Fu >> len);
  for (size_t i = 1; i < len; i++) {
    if ((s[i] & 0xC0) != 0x80) return 1;
    c = c << 6 | (s[i] & 0x3F);
  }
  if (c < least[len] || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) return 1;
  *cp = c;
  return len;
}

int term_cp_width(uint32_t cp) {
  if (cp >= 0x20 && cp < 0x7F) return 1;
  if (cp < 0xA0 || cp == TERM_BAD) return -1;
  if (cp < 0x300) return 1;
  if (cp == 0x2028 || cp == 0x2029 || (cp >= 0x202A && cp <= 0x202E) ||
      (cp >= 0x2066 && cp <= 0x2069))
    return -1; /* bidi controls can disguise text */
  if (IN(zero_width, cp)) return 0;
  return IN(wide, cp) ? 2 : 1;
}

static bool regional(uint32_t cp) { return cp >= 0x1F1E6 && cp <= 0x1F1FF; }
static bool skin_tone(uint32_t cp) { return cp >= 0x1F3FB && cp <= 0x1F3FF; }

size_t term_cluster(const char *s, size_t n, int *width) {
  uint32_t cp, next;
  size_t len = term_decode(s, n, &cp);
  if (len == 0) return *width = 0, 0;
  if (cp == TERM_BAD) return *width = 4, 1;                 /* <FF> */
  int w = term_cp_width(cp);
  /* ^A, or <U+009B> below in six columns */
  if (w < 0) return *width = cp < 0x80 ? 2 : 6, len;
  if (cp < 0x80 && (len == n || (unsigned char)s[len] < 0x80)) return *width = w, len;
  bool joined = false;
  /* a mark without a base stands on a blank */
  if (w == 0) w = 1;
  while (len < n) {
    size_t k = term_decode(s + len, n - len, &next);
    if (next == TERM_BAD) break;
    bool mark = term_cp_width(next) == 0 || (skin_tone(next) && cp > 0x2000);
    bool pair = regional(cp) && regional(next) && !joined;
    if (!mark && !pair && !(joined && cp == 0x200D && next > 0x2000)) break;
    if (pair || next == 0xFE0F) w = 2;
    joined = true;
    cp = next;
    len += k;
  }
  return *width = w, len;
}

/* Clusters are found from the left, so start a little before, at a character that cannot join. */
size_t term_cluster_before(const char *s, size_t at) {
  if (at == 0) return 0;
  size_t from = at;
  while (from > 0 && at - from < 64) {
    from--;
    unsigned char c = (unsigned char)s[from];
    if (c < 0x80 && from + 1 < at) break;
    if (c < 0x80 && (from + 1 == at || from == 0)) break;
  }
  while (from < at && ((unsigned char)s[from] & 0xC0) == 0x80) from++;
  size_t last = 1;
  for (size_t i = from; i < at; i += last) {
    int w;
    last = term_cluster(s + i, at - i, &w);
  }
  return last > at ? 1 : last;
}

int term_width(const char *s, size_t n) {
  int total = 0, w;
  for (size_t i = 0; i < n;) {
    i += term_cluster(s + i, n - i, &w);
    total += w;
  }
  return total;
}

int term_show(TermBuf *out, const char *s, size_t n) {
  uint32_t cp;
  int w;
  term_decode(s, n, &cp);
  term_cluster(s, n, &w);
  if (cp == TERM_BAD) term_buf_fmt(out, "<%02X>", (unsigned char)*s);
  else if (term_cp_width(cp) >= 0) {
    if (term_cp_width(cp) == 0) term_buf_ch(out, ' ');
    term_buf_add(out, s, n);
  } else if (cp < 0x80) term_buf_fmt(out, "^%c", cp == 0x7F ? '?' : (int)cp + '@');
  else term_buf_fmt(out, "<%04X>", (unsigned)cp);
  return w;
}
