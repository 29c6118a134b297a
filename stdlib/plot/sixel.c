/* sixel.c: the canvas for terminals that draw sixels, and the question which ones do.
 *
 * Up to 256 colours are sent exactly; a picture with more is rounded to a palette of 6 x 7 x 6. */
#include "plot/raster.h"
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

typedef struct Out { char *p; size_t n, cap; bool failed; } Out;
static void add(Out *o, const char *s, size_t n) {
  if (o->n + n + 1 > o->cap && !o->failed) {
    size_t cap = 2 * o->cap + n + 4096;
    char *p = mt_realloc(o->p, cap);
    if (p) o->p = p, o->cap = cap; else o->failed = true;
  }
  if (o->failed) return;
  memcpy(o->p + o->n, s, n);
  o->n += n;
}
static void addf(Out *o, const char *fmt, int a, int b, int c, int d) {
  char text[64];
  add(o, text, (size_t)snprintf(text, sizeof text, fmt, a, b, c, d));
}

enum { COLORS = 256, SLOTS = 1024 };
typedef struct Palette {
  uint32_t color[COLORS];
  int n;
  int16_t slot[SLOTS];
  bool rounded;
} Palette;

static uint32_t rounded(const uint8_t *p) {
  uint32_t r = (p[0] * 5u + 127) / 255, g = (p[1] * 6u + 127) / 255, b = (p[2] * 5u + 127) / 255;
  return (r * 51) << 16 | (g * 255 / 6) << 8 | b * 51;
}
static int index_of(Palette *q, const uint8_t *p, bool make) {
  uint32_t k = q->rounded ? rounded(p) : (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
  for (uint32_t h = k * 2654435761u >> 22;; h = (h + 1) % SLOTS) {
    if (q->slot[h] < 0) {
      if (!make || q->n == COLORS) return -1;
      q->color[q->n] = k;
      return q->slot[h] = (int16_t)q->n++;
    }
    if (q->color[q->slot[h]] == k) return q->slot[h];
  }
}
static bool collect(Palette *q, const plot_canvas *c, bool round_them) {
  memset(q->slot, 0xFF, sizeof q->slot);
  q->n = 0;
  q->rounded = round_them;
  for (size_t i = 0; i < (size_t)c->w * (size_t)c->h; i++)
    if (index_of(q, c->px + 3 * i, true) < 0) return false;
  return true;
}

static void run(Out *o, char what, int n) {
  char text[24];
  if (n > 3) add(o, text, (size_t)snprintf(text, sizeof text, "!%d%c", n, what));
  else while (n-- > 0) add(o, &what, 1);
}

char *plot_sixel(const plot_canvas *c, size_t *n) {
  Palette q;
  Out o = {.n = 0};
  size_t w = (size_t)c->w;
  if (!collect(&q, c, false)) collect(&q, c, true);
  uint8_t *bits = mt_malloc(w * COLORS);
  if (!bits) return NULL;
  add(&o, "\033P0;1q", 6);
  addf(&o, "\"1;1;%d;%d", c->w, c->h, 0, 0);
  for (int i = 0; i < q.n; i++)
    addf(&o, "#%d;2;%d;%d;%d", i, (int)((q.color[i] >> 16) * 100 + 127) / 255,
         (int)((q.color[i] >> 8 & 255) * 100 + 127) / 255,
         (int)((q.color[i] & 255) * 100 + 127) / 255);
  for (int top = 0; top < c->h && !o.failed; top += 6) {
    bool used[COLORS] = {false};
    for (int y = top; y < top + 6 && y < c->h; y++)
      for (size_t x = 0; x < w; x++) {
        int k = index_of(&q, c->px + 3 * ((size_t)y * w + x), false);
        if (!used[k]) memset(bits + (size_t)k * w, 0, w), used[k] = true;
        bits[(size_t)k * w + x] |= (uint8_t)(1 << (y - top));
      }
    bool first = true;
    for (int k = 0; k < q.n; k++) {
      if (!used[k]) continue;
      if (!first) add(&o, "$", 1);
      first = false;
      addf(&o, "#%d", k, 0, 0, 0);
      const uint8_t *b = bits + (size_t)k * w;
      for (size_t x = 0; x < w;) {
        size_t end = x;
        while (end < w && b[end] == b[x]) end++;
        if (end < w || b[x]) run(&o, (char)(63 + b[x]), (int)(end - x));
        x = end;
      }
    }
    add(&o, "-", 1);
  }
  add(&o, "\033\\", 2);
  mt_free(bits);
  if (o.failed) { mt_free(o.p); return NULL; }
  *n = o.n;
  return o.p;
}

/* ---- questions to the terminal ---- */
static int left_of(const struct timespec *end) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  long ms = (end->tv_sec - t.tv_sec) * 1000 + (end->tv_nsec - t.tv_nsec) / 1000000;
  return ms > 0 ? (int)ms : 0;
}
size_t plot_query(int fd, const char *text, char until, int milliseconds, char *out, size_t room) {
  struct termios was, raw;
  struct pollfd p = {.fd = fd, .events = POLLIN};
  struct timespec end;
  size_t n = 0, len = strlen(text);
  if (!isatty(fd) || tcgetattr(fd, &was) != 0 || poll(&p, 1, 0) > 0) return 0;
  raw = was;
  raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
  raw.c_cc[VMIN] = 0, raw.c_cc[VTIME] = 0;
  if (tcsetattr(fd, TCSANOW, &raw) != 0) return 0;
  clock_gettime(CLOCK_MONOTONIC, &end);
  end.tv_nsec += milliseconds * 1000000L;
  end.tv_sec += end.tv_nsec / 1000000000L, end.tv_nsec %= 1000000000L;
  bool done = write(fd, text, len) != (ssize_t)len;
  while (!done && n + 1 < room && poll(&p, 1, left_of(&end)) > 0) {
    ssize_t got = read(fd, out + n, room - 1 - n);
    if (got <= 0) break;
    for (ssize_t i = 0; i < got; i++) done |= out[n + (size_t)i] == until;
    n += (size_t)got;
  }
  tcsetattr(fd, TCSANOW, &was);
  return n;
}
