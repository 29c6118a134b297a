/* uni.c: what a code point is: category, combining class, case, normal forms, grapheme clusters.
 *
 * Invariant: after tk_uni_init returned true all tables are there and never change.  The generated
 * runs are unfolded into a two-stage table once per process; look-ups are two loads. */
#include "tokenizers/tk_int.h"
#include "tokenizers/uni_tables.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define NF_LIMIT 0x30000u
const uint16_t *tk_uni_blocks;
uint16_t tk_uni_stage[0x1100];
const TkRec *tk_uni_recs;
static TkRec recs[COUNT(UNI_RECORDS) / 4];
static uint8_t *inert[4]; /* a bit per code point below NF_LIMIT: not inert in that form */
static uint32_t *canon_at, *compat_at;       /* positions of the entries, for bisection */
static size_t canon_n, compat_n;
static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
static bool ready;

static const uint32_t *find(const uint32_t *table, const uint32_t *at, size_t n, uint32_t cp) {
  size_t lo = 0, hi = n;
  while (lo < hi) {
    size_t mid = (lo + hi) / 2;
    if (table[at[mid]] < cp) lo = mid + 1; else hi = mid;
  }
  return lo < n && table[at[lo]] == cp ? table + at[lo] + 1 : NULL;
}

uint32_t tk_compose(uint32_t a, uint32_t b) {
  if (a - 0x1100u < 19 && b - 0x1161u < 21) return 0xAC00 + ((a - 0x1100) * 21 + (b - 0x1161)) * 28;
  if (a - 0xAC00u < 11172 && (a - 0xAC00) % 28 == 0 && b - 0x11A8u < 27) return a + (b - 0x11A7);
  size_t lo = 0, hi = COUNT(UNI_PAIRS) / 3;
  while (lo < hi) {
    size_t mid = (lo + hi) / 2;
    const uint32_t *p = UNI_PAIRS + mid * 3;
    if (p[0] < a || (p[0] == a && p[1] < b)) lo = mid + 1; else hi = mid;
  }
  const uint32_t *p = UNI_PAIRS + lo * 3;
  return lo < COUNT(UNI_PAIRS) / 3 && p[0] == a && p[1] == b ? p[2] : 0;
}

size_t tk_decompose(uint32_t cp, bool compat, const uint32_t **out, uint32_t tmp[3]) {
  if (cp - 0xAC00u < 11172) {
    uint32_t k = cp - 0xAC00;
    tmp[0] = 0x1100 + k / 588; tmp[1] = 0x1161 + k % 588 / 28; tmp[2] = 0x11A7 + k % 28;
    *out = tmp;
    return k % 28 ? 3 : 2;
  }
  const uint32_t *d = compat ? find(UNI_COMPAT, compat_at, compat_n, cp) : NULL;
  if (!d) d = find(UNI_CANON, canon_at, canon_n, cp);
  if (!d) return 0;
  *out = d + 1;
  return d[0];
}

bool tk_nf_inert(TkForm f, uint32_t cp) {
  if (cp >= NF_LIMIT) return true;
  if ((f == TK_NFD || f == TK_NFKD) && cp - 0xAC00u < 11172) return false;
  return !(inert[f][cp >> 3] >> (cp & 7) & 1);
}

static void mark(TkForm f, uint32_t cp) {
  if (cp < NF_LIMIT) inert[f][cp >> 3] |= (uint8_t)(1 << (cp & 7));
}

static void mark_forms(void) {
  for (uint32_t cp = 0; cp < NF_LIMIT; cp++)
    if (tk_rec(cp)->ccc) for (int f = 0; f < 4; f++) mark((TkForm)f, cp);
  for (size_t i = 0; i < canon_n; i++)
    for (int f = 0; f < 4; f++) mark((TkForm)f, UNI_CANON[canon_at[i]]);
  for (size_t i = 0; i < COUNT(UNI_PAIRS);
       i += 3) /* what composes back is at rest in NFC and NFKC */
    for (int f = 0; f < 4; f += 2)
      inert[f][UNI_PAIRS[i + 2] >> 3] &= (uint8_t)~(1 << (UNI_PAIRS[i + 2] & 7));
  for (size_t i = 0; i < COUNT(UNI_PAIRS); i += 3) {
    mark(TK_NFC, UNI_PAIRS[i + 1]);
    mark(TK_NFKC, UNI_PAIRS[i + 1]);
  }
  for (size_t i = 0; i < compat_n; i++) {
    mark(TK_NFKC, UNI_COMPAT[compat_at[i]]);
    mark(TK_NFKD, UNI_COMPAT[compat_at[i]]);
  }
  for (uint32_t c = 0x1161; c < 0x1176; c++) { mark(TK_NFC, c); mark(TK_NFKC, c); }
  for (uint32_t c = 0x11A8; c < 0x11C3; c++) { mark(TK_NFC, c); mark(TK_NFKC, c); }
}

static uint32_t *index_of(const uint32_t *table, size_t n, size_t *count) {
  uint32_t *at = mt_malloc(n / 3 * sizeof *at + sizeof *at);
  *count = 0;
  if (!at) return NULL;
  for (size_t i = 0; i < n; i += table[i + 1] + 2) at[(*count)++] = (uint32_t)i;
  return at;
}

/* The runs (distance, record) become blocks of 256; a block of one record only is stored once per
 * record. */
static bool unfold(void) {
  uint16_t *flat = mt_malloc(0x110000 * sizeof *flat), *blocks = NULL,
           plain[COUNT(UNI_RECORDS) / 4];
  if (!flat) return false;
  uint32_t cp = 0;
  for (size_t i = 0; i < COUNT(UNI_RUNS); i += 2) {
    cp += UNI_RUNS[i];
    uint32_t end = i + 2 < COUNT(UNI_RUNS) ? cp + UNI_RUNS[i + 2] : 0x110000;
    for (uint32_t c = cp; c < end; c++) flat[c] = (uint16_t)UNI_RUNS[i + 1];
  }
  memset(plain, 0xFF, sizeof plain);
  size_t n = 0;
  for (uint32_t b = 0; b < 0x1100; b++) {
    const uint16_t *p = flat + b * 256;
    bool same = memcmp(p, p + 1, 255 * sizeof *p) == 0;
    if (same && plain[p[0]] != 0xFFFF) { tk_uni_stage[b] = plain[p[0]]; continue; }
    memmove(flat + n * 256, p, 256 * sizeof *p); /* n <= b: blocks gather at the front */
    if (same) plain[flat[n * 256]] = (uint16_t)n;
    tk_uni_stage[b] = (uint16_t)n++;
  }
  blocks = mt_realloc(flat, n * 256 * sizeof *flat);
  tk_uni_blocks = blocks ? blocks : flat;
  return true;
}

static void init(void) {
  for (size_t i = 0; i < COUNT(recs); i++)
    recs[i] = (TkRec){UNI_RECORDS[i * 4], UNI_RECORDS[i * 4 + 1], UNI_RECORDS[i * 4 + 2],
                      UNI_RECORDS[i * 4 + 3]};
  tk_uni_recs = recs;
  uint8_t *bits = mt_calloc(4 * NF_LIMIT / 8);
  canon_at = index_of(UNI_CANON, COUNT(UNI_CANON), &canon_n);
  compat_at = index_of(UNI_COMPAT, COUNT(UNI_COMPAT), &compat_n);
  if (!bits || !canon_at || !compat_at || !unfold()) {
    mt_free(bits); mt_free(canon_at); mt_free(compat_at);
    return;
  }
  for (int f = 0; f < 4; f++) inert[f] = bits + (size_t)f * (NF_LIMIT / 8);
  mark_forms();
  ready = true;
}

bool tk_uni_init(void) {                     /* without memory: the next call tries again */
  pthread_mutex_lock(&once);
  if (!ready) init();
  bool ok = ready;
  pthread_mutex_unlock(&once);
  return ok;
}

uint32_t tk_lower(uint32_t cp) {
  if (cp < 128) return cp - 'A' < 26u ? cp + 32 : cp;
  if (cp == 0x130) return 'i';
  size_t lo = 0, hi = COUNT(UNI_LOWER) / 4;
  while (lo < hi) { /* the last run that starts at or before cp */
    size_t mid = (lo + hi) / 2;
    if ((uint32_t)UNI_LOWER[mid * 4] <= cp) lo = mid + 1; else hi = mid;
  }
  if (!lo) return cp;
  const int32_t *r = UNI_LOWER + (lo - 1) * 4;
  if ((int32_t)cp <= r[1] && ((int32_t)cp - r[0]) % r[2] == 0) return cp + (uint32_t)r[3];
  return cp;
}

size_t tk_fold_variants(uint32_t cp, uint32_t out[8]) {
  size_t n = 0;
  uint32_t low = tk_lower(cp);
  if (low != cp) out[n++] = low;
  for (size_t i = 0; i < COUNT(UNI_LOWER) && n < 6; i += 4) {
    int32_t src = (int32_t)low - UNI_LOWER[i + 3];
    if (src >= UNI_LOWER[i] && src <= UNI_LOWER[i + 1] &&
        (src - UNI_LOWER[i]) % UNI_LOWER[i + 2] == 0 && (uint32_t)src != cp)
      out[n++] = (uint32_t)src;
  }
  if (low == 's') out[n++] = 0x17F; /* long s folds to s, but is no capital of it */
  return n;
}

/* ---- grapheme clusters (extended, without the Indic conjunct rule) ---- */
enum {
  G_OTHER,
  G_CR,
  G_LF,
  G_CTL,
  G_EXTEND,
  G_ZWJ,
  G_RI,
  G_PREPEND,
  G_SPACING,
  G_L,
  G_V,
  G_T,
  G_LV,
  G_LVT
};

static bool joins(unsigned a, unsigned b, bool pict_zwj, bool next_pict, size_t ris) {
  if (a == G_CR) return b == G_LF;
  if (a == G_LF || a == G_CTL || b == G_CR || b == G_LF || b == G_CTL) return false;
  if (a == G_L && (b == G_L || b == G_V || b == G_LV || b == G_LVT)) return true;
  if ((a == G_LV || a == G_V) && (b == G_V || b == G_T)) return true;
  if ((a == G_LVT || a == G_T) && b == G_T) return true;
  if (b == G_EXTEND || b == G_ZWJ || b == G_SPACING || a == G_PREPEND) return true;
  if (pict_zwj && next_pict) return true;
  return a == G_RI && b == G_RI && ris % 2 == 1;
}

size_t tk_grapheme(const char *s, size_t n) {
  size_t i = 0, end;
  const TkRec *r = tk_rec(tk_next(s, &i));
  bool pict = r->flags & TK_PICT, pict_zwj = false;
  unsigned prev = r->gcb;
  size_t ris = prev == G_RI;
  for (end = i; end < n; end = i) {
    r = tk_rec(tk_next(s, &i));
    if (!joins(prev, r->gcb, pict_zwj, r->flags & TK_PICT, ris)) return end;
    pict_zwj = pict && r->gcb == G_ZWJ;
    if (r->flags & TK_PICT) pict = true;
    else if (r->gcb != G_EXTEND && r->gcb != G_ZWJ) pict = false;
    ris += r->gcb == G_RI;
    prev = r->gcb;
  }
  return end;
}

/* ---- UTF-8 ---- */
size_t tk_utf8_put(char *out, uint32_t cp) {
  if (cp < 0x80) { out[0] = (char)cp; return 1; }
  if (cp < 0x800) { out[0] = (char)(0xC0 | cp >> 6); out[1] = (char)(0x80 | (cp & 63)); return 2; }
  if (cp < 0x10000) {
    out[0] = (char)(0xE0 | cp >> 12);
    out[1] = (char)(0x80 | (cp >> 6 & 63));
    out[2] = (char)(0x80 | (cp & 63));
    return 3;
  }
  out[0] = (char)(0xF0 | cp >> 18); out[1] = (char)(0x80 | (cp >> 12 & 63));
  out[2] = (char)(0x80 | (cp >> 6 & 63)); out[3] = (char)(0x80 | (cp & 63));
  return 4;
}

bool tk_is_ascii(const char *s, size_t n) {
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    uint64_t w;
    memcpy(&w, s + i, 8);
    if (w & 0x8080808080808080u) return false;
  }
  for (; i < n; i++) if (s[i] & 0x80) return false;
  return true;
}

size_t tk_utf8_bad(const char *s, size_t n) {
  const unsigned char *p = (const unsigned char *)s;
  for (size_t i = 0; i < n;) {
    unsigned c = p[i];
    if (c < 0x80) { i++; continue; }
    size_t k = c >= 0xC2 && c < 0xE0   ? 1
               : c >= 0xE0 && c < 0xF0 ? 2
               : c >= 0xF0 && c < 0xF5 ? 3
                                       : 0;
    if (!k || n - i <= k) return i;
    for (size_t j = 1; j <= k; j++) if ((p[i + j] & 0xC0) != 0x80) return i;
    if ((c == 0xE0 && p[i + 1] < 0xA0) || (c == 0xED && p[i + 1] >= 0xA0) ||
        (c == 0xF0 && p[i + 1] < 0x90) || (c == 0xF4 && p[i + 1] >= 0x90))
      return i;
    i += k + 1;
  }
  return n;
}

size_t tk_utf8_count(const char *s, size_t n) {
  size_t k = 0;
  for (size_t i = 0; i < n; i++) k += ((unsigned char)s[i] & 0xC0) != 0x80;
  return k;
}

/* ---- scripts ---- */
int tk_script_named(const char *s, size_t n) {
  const char *p = UNI_SCRIPT_NAMES;
  for (int k = 0; *p; k++) {
    size_t len = strcspn(p, " ");
    if (len == n && memcmp(p, s, n) == 0) return k;
    p += len + (p[len] == ' ');
  }
  return -1;
}

bool tk_in_script(uint32_t script, uint32_t cp) {
  const uint32_t *p = UNI_SCRIPTS;
  for (; script; script--) p += 1 + *p * 2;
  for (uint32_t i = 0; i < *p && p[1 + i * 2] <= cp; i++) if (cp <= p[2 + i * 2]) return true;
  return false;
}
