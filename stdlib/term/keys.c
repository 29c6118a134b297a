/* keys.c: bytes of the terminal to keys: UTF-8, control keys, CSI and SS3 sequences, bracketed
 * paste. */
#define _GNU_SOURCE
#include "ed.h"
#include <string.h>

static const char paste_end[] = "\033[201~";

static void consume(TermEd *e, size_t n) {
  e->in_at += n;
  if (e->in_at >= e->in.n) e->in_at = e->in.n = 0;
}

/* Moves pasted bytes to e->paste; true when the closing bracket came. */
static bool take_paste(TermEd *e) {
  const char *s = e->in.s + e->in_at;
  size_t left = e->in.n - e->in_at, end = sizeof paste_end - 1;
  const char *close = left >= end ? memmem(s, left, paste_end, end) : NULL;
  size_t n = close ? (size_t)(close - s) : left > end ? left - end : 0;
  term_buf_add(&e->paste, s, n);
  consume(e, close ? n + end : n);
  if (close) e->pasting = false;
  return close != NULL;
}

static uint32_t modifiers(int m) {
  m = m > 0 ? m - 1 : 0;
  return (m & 1 ? SHIFT : 0) | (m & 2 ? ALT : 0) | (m & 4 ? CTRL : 0);
}

static uint32_t letter_key(char c) {
  switch (c) {
    case 'A': return KEY_UP;
    case 'B': return KEY_DOWN;
    case 'C': return KEY_RIGHT;
    case 'D': return KEY_LEFT;
    case 'H': return KEY_HOME;
    case 'F': return KEY_END;
    case 'Z': return KEY_BACKTAB;
    case 'M': return '\r';
    default: return KEY_IGNORE;
  }
}

static uint32_t tilde_key(int n) {
  switch (n) {
    case 1: case 7: return KEY_HOME;
    case 3: return KEY_DELETE;
    case 4: case 8: return KEY_END;
    case 5: return KEY_PAGE_UP;
    case 6: return KEY_PAGE_DOWN;
    case 200: return KEY_PASTE;
    default: return KEY_IGNORE;
  }
}

/* A key sent by number (CSI 13;2u or CSI 27;2;13~). */
static uint32_t numbered_key(int code, uint32_t mods) {
  if (code <= 0 || code >= KEY_NONE) return KEY_IGNORE;
  if (mods & CTRL && code >= 'a' && code <= 'z') return (uint32_t)CTL(code) | (mods & ALT);
  return (uint32_t)code | mods;
}

/* The sequence after ESC [ at s; its length or 0 when unfinished. */
static size_t csi(const char *s, size_t n, uint32_t *key) {
  int v[4] = {0}, k = 0;
  for (size_t i = 0; i < n && i < 64; i++) {
    if (s[i] >= '0' && s[i] <= '9') {
      if (v[k] < 100000) v[k] = v[k] * 10 + (s[i] - '0');
    } else if (s[i] == ';') {
      if (k < 3) k++;
    } else if (s[i] >= 0x40 && s[i] <= 0x7E && !(i == 0 && s[i] == '[')) {
      uint32_t mods = modifiers(v[1]);
      if (s[i] == '~' && v[0] == 27) *key = numbered_key(v[2], mods);
      else if (s[i] == '~') *key = tilde_key(v[0]) | mods;
      else if (s[i] == 'u') *key = numbered_key(v[0], mods);
      else *key = letter_key(s[i]) == '\r' ? KEY_IGNORE : letter_key(s[i]) | mods;
      return i + 1;
    } else if (s[i] < 0x20 || s[i] > 0x7E) return *key = KEY_IGNORE, i;     /* broken off */
  }
  return n >= 64 ? (*key = KEY_IGNORE, 64) : 0;
}

/* The key at the front of s and its length; 0 when more is needed. */
static size_t escape(const char *s, size_t n, uint32_t *key) {
  if (n < 2) return 0;
  if (s[1] == '[') {
    size_t k = csi(s + 2, n - 2, key);
    return k ? k + 2 : 0;
  }
  if (s[1] == 'O') return n < 3 ? 0 : (*key = letter_key(s[2]), 3);
  if (s[1] == 27) {
    size_t k = n > 2 ? escape(s + 1, n - 1, key) : 0;
    if (k) *key |= ALT;
    return k ? k + 1 : 0;
  }
  uint32_t cp;
  size_t k = term_decode(s + 1, n - 1, &cp);
  *key = cp == TERM_BAD ? KEY_IGNORE : cp | ALT;
  return k + 1;
}

/* Is this the beginning of a longer UTF-8 character? */
static bool unfinished(const char *s, size_t n) {
  unsigned char c = (unsigned char)s[0];
  size_t need = c >= 0xF0 && c < 0xF5   ? 4
                : c >= 0xE0 && c < 0xF0 ? 3
                : c >= 0xC2 && c < 0xE0 ? 2
                                        : 1;
  if (n >= need) return false;
  for (size_t i = 1; i < n; i++)
    if (((unsigned char)s[i] & 0xC0) != 0x80) return false;
  return true;
}

uint32_t term_next_key(TermEd *e, bool flush, char raw[8], size_t *nraw) {
  uint32_t key = KEY_NONE;
  size_t k = 0, n = e->in.n - e->in_at;
  *nraw = 0;
  if (n == 0) return KEY_NONE;
  if (e->pasting) return take_paste(e) ? (uint32_t)KEY_PASTE : (uint32_t)KEY_NONE;
  const char *s = e->in.s + e->in_at;
  if (*s == 27) {
    k = escape(s, n, &key);
    if (k == 0 && !flush) return KEY_NONE;
    if (k == 0) key = 27, k = n < 3 ? 1 : n;
    consume(e, k);
    if ((key & KEY_CODE) != KEY_PASTE) return key;
    e->pasting = true;
    e->paste.n = 0;
    return term_next_key(e, flush, raw, nraw);
  }
  if (unfinished(s, n) && !flush) return KEY_NONE;
  k = term_decode(s, n, &key);
  memcpy(raw, s, *nraw = k);
  consume(e, k);
  return key == TERM_BAD ? (uint32_t)KEY_RAW : key;
}
