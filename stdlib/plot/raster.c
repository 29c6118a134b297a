/* raster.c: shapes on the canvas.  A shape first leaves its coverage in the mask, the greatest
 * where parts overlap, and is then blended once, so that joints and crossings of a line are not
 * darker. */
#include "plot/raster.h"
#include "plot/font.h"
#include <math.h>
#include <string.h>

bool plot_init(plot_canvas *c, int w, int h, plot_color ground) {
  memset(c, 0, sizeof *c);
  if (w < 1 || h < 1 || w > PLOT_MAX_SIDE || h > PLOT_MAX_SIDE) return false;
  size_t n = (size_t)w * (size_t)h;
  c->px = mt_malloc(3 * n);
  c->mask = mt_calloc(n);
  if (!c->px || !c->mask) { plot_free(c); return false; }
  c->w = w, c->h = h;
  c->clip[2] = w, c->clip[3] = h;
  for (size_t i = 0; i < n; i++)
    c->px[3 * i] = ground.r, c->px[3 * i + 1] = ground.g, c->px[3 * i + 2] = ground.b;
  return true;
}
void plot_free(plot_canvas *c) {
  mt_free(c->px);
  mt_free(c->mask);
  memset(c, 0, sizeof *c);
}

/* Whole pixels of a coordinate, kept where ints are safe; nan is far away. */
static int whole(double v) {
  return v > -1e6 && v < 1e6 ? (int)floor(v) : v >= 1e6 ? 1000000 : -1000000;
}
static int clamp(int v, int lo, int hi) { return v < lo ? lo : v > hi ? hi : v; }

void plot_clip(plot_canvas *c, double x0, double y0, double x1, double y1) {
  c->clip[0] = clamp(whole(x0), 0, c->w), c->clip[1] = clamp(whole(y0), 0, c->h);
  c->clip[2] = clamp(whole(ceil(x1)), 0, c->w), c->clip[3] = clamp(whole(ceil(y1)), 0, c->h);
}

typedef struct Box { int x0, y0, x1, y1; } Box;
static const Box nothing = {1 << 20, 1 << 20, -1, -1};

static Box inside(const plot_canvas *c, double x0, double y0, double x1, double y1) {
  Box b = {clamp(whole(x0), c->clip[0], c->clip[2]), clamp(whole(y0), c->clip[1], c->clip[3]),
           clamp(whole(x1) + 1, c->clip[0], c->clip[2]),
           clamp(whole(y1) + 1, c->clip[1], c->clip[3])};
  return b;
}
static void join(Box *a, Box b) {
  if (b.x0 >= b.x1 || b.y0 >= b.y1) return;
  if (b.x0 < a->x0) a->x0 = b.x0;
  if (b.y0 < a->y0) a->y0 = b.y0;
  if (b.x1 > a->x1) a->x1 = b.x1;
  if (b.y1 > a->y1) a->y1 = b.y1;
}
static void cover(plot_canvas *c, int x, int y, double v) {
  uint8_t *m = &c->mask[(size_t)y * (size_t)c->w + (size_t)x];
  int k = v >= 1 ? 255 : v > 0 ? (int)(v * 255 + 0.5) : 0;
  if (k > *m) *m = (uint8_t)k;
}

/* Blends the colour by the mask inside the box and clears the mask. */
static void blend(plot_canvas *c, Box b, plot_color k) {
  for (int y = b.y0; y < b.y1; y++) {
    uint8_t *m = c->mask + (size_t)y * (size_t)c->w, *p = c->px + 3 * (size_t)y * (size_t)c->w;
    for (int x = b.x0; x < b.x1; x++) {
      int a = m[x] * k.a / 255;
      m[x] = 0;
      if (!a) continue;
      uint8_t *q = p + 3 * x;
      q[0] = (uint8_t)(q[0] + (k.r - q[0]) * a / 255);
      q[1] = (uint8_t)(q[1] + (k.g - q[1]) * a / 255);
      q[2] = (uint8_t)(q[2] + (k.b - q[2]) * a / 255);
    }
  }
}

/* ---- shapes ---- */
static double overlap(double lo, double hi, int cell) {
  double a = lo > cell ? lo : cell, b = hi < cell + 1 ? hi : cell + 1;
  return b > a ? b - a : 0;
}
void plot_rect(plot_canvas *c, double x0, double y0, double x1, double y1, plot_color k) {
  if (x1 < x0) { double t = x0; x0 = x1; x1 = t; }
  if (y1 < y0) { double t = y0; y0 = y1; y1 = t; }
  Box b = inside(c, x0, y0, x1, y1);
  for (int y = b.y0; y < b.y1; y++)
    for (int x = b.x0; x < b.x1; x++) cover(c, x, y, overlap(x0, x1, x) * overlap(y0, y1, y));
  blend(c, b, k);
}

/* A thick segment with round ends. */
static Box capsule(plot_canvas *c, double x0, double y0, double x1, double y1, double r) {
  double dx = x1 - x0, dy = y1 - y0, len2 = dx * dx + dy * dy, e = r + 1;
  if (!isfinite(len2)) return nothing;
  Box b = inside(c, fmin(x0, x1) - e, fmin(y0, y1) - e, fmax(x0, x1) + e, fmax(y0, y1) + e);
  for (int y = b.y0; y < b.y1; y++) {
    int from = b.x0, to = b.x1;
    if (fabs(dy) > 4 && len2 > 64) {       /* long: only the part of the row that is near */
      double t0 = (y - e - y0) / dy, t1 = (y + 1 + e - y0) / dy, lo = fmax(0, fmin(t0, t1)),
             hi = fmin(1, fmax(t0, t1));
      double xa = x0 + lo * dx, xb = x0 + hi * dx;
      from = clamp(whole(fmin(xa, xb) - e), b.x0, b.x1);
      to = clamp(whole(fmax(xa, xb) + e) + 1, b.x0, b.x1);
    }
    for (int x = from; x < to; x++) {
      double px = x + 0.5 - x0, py = y + 0.5 - y0;
      double t = len2 > 0 ? (px * dx + py * dy) / len2 : 0;
      t = t < 0 ? 0 : t > 1 ? 1 : t;
      double ex = px - t * dx, ey = py - t * dy;
      cover(c, x, y, r + 0.5 - sqrt(ex * ex + ey * ey));
    }
  }
  return b;
}
void plot_polyline(plot_canvas *c, const double *xy, size_t n, double width, plot_color k) {
  Box all = nothing;
  double r = width > 0.2 ? width / 2 : 0.1;
  for (size_t i = 0; i + 1 < n; i++) {
    join(&all, capsule(c, xy[2 * i], xy[2 * i + 1], xy[2 * i + 2], xy[2 * i + 3], r));
    if (mt_interrupted) break;
  }
  if (n == 1) join(&all, capsule(c, xy[0], xy[1], xy[0], xy[1], r));
  blend(c, all, k);
}
void plot_disc(plot_canvas *c, double x, double y, double r, plot_color k) {
  Box all = nothing;
  join(&all, capsule(c, x, y, x, y, r));
  blend(c, all, k);
}

/* Even-odd filling, four lines a pixel. */
void plot_polygon(plot_canvas *c, const double *xy, size_t n, plot_color k) {
  enum { SUB = 4, MOST = 64 };
  double lo = INFINITY, hi = -INFINITY, left = INFINITY, right = -INFINITY;
  for (size_t i = 0; i < n; i++) {
    if (!isfinite(xy[2 * i]) || !isfinite(xy[2 * i + 1])) return;
    lo = fmin(lo, xy[2 * i + 1]), hi = fmax(hi, xy[2 * i + 1]);
    left = fmin(left, xy[2 * i]), right = fmax(right, xy[2 * i]);
  }
  if (n < 3) return;
  Box b = inside(c, left, lo, right, hi);
  for (int y = b.y0; y < b.y1 && !mt_interrupted; y++)
    for (int s = 0; s < SUB; s++) {
      double at = y + (s + 0.5) / SUB, cut[MOST];
      int cuts = 0;
      for (size_t i = 0, j = n - 1; i < n && cuts < MOST; j = i++) {
        double y0 = xy[2 * j + 1], y1 = xy[2 * i + 1];
        if ((y0 <= at) == (y1 <= at)) continue;
        double x = xy[2 * j] + (at - y0) / (y1 - y0) * (xy[2 * i] - xy[2 * j]);
        int q = cuts++;
        for (; q > 0 && cut[q - 1] > x; q--) cut[q] = cut[q - 1];
        cut[q] = x;
      }
      for (int q = 0; q + 1 < cuts; q += 2)
        for (int x = clamp(whole(cut[q]), b.x0, b.x1); x < b.x1 && x <= cut[q + 1]; x++) {
          uint8_t *m = &c->mask[(size_t)y * (size_t)c->w + (size_t)x];
          int v = *m + (int)(overlap(cut[q], cut[q + 1], x) * 255 / SUB + 0.5);
          *m = (uint8_t)(v > 255 ? 255 : v);
        }
    }
  blend(c, b, k);
}

void plot_image(plot_canvas *c, const uint8_t *rgb, int iw, int ih, double x0, double y0, double x1,
                double y1) {
  if (iw < 1 || ih < 1 || !(x1 > x0) || !(y1 > y0)) return;
  Box b = inside(c, x0, y0, x1 - 1e-9, y1 - 1e-9);
  for (int y = b.y0; y < b.y1; y++) {
    int sy = clamp((int)((y + 0.5 - y0) / (y1 - y0) * ih), 0, ih - 1);
    for (int x = b.x0; x < b.x1; x++) {
      int sx = clamp((int)((x + 0.5 - x0) / (x1 - x0) * iw), 0, iw - 1);
      memcpy(c->px + 3 * ((size_t)y * (size_t)c->w + (size_t)x),
             rgb + 3 * ((size_t)sy * (size_t)iw + (size_t)sx), 3);
    }
  }
}

/* ---- text: the dots of a glyph are joined into strokes, which scale ---- */
static bool dot(const uint8_t *g, int x, int y) {
  return x >= 0 && x < 5 && y >= 0 && y < 8 && g[x] >> y & 1;
}

typedef struct Pen { double x, y, unit; bool up; } Pen;      /* the glyph's upper left corner */
static void at(const Pen *p, double x, double y, double *ox, double *oy) {
  *ox = p->up ? p->x + y * p->unit : p->x + x * p->unit;
  *oy = p->up ? p->y - x * p->unit : p->y + y * p->unit;
}
static Box stroke(plot_canvas *c, const Pen *p, int x0, int y0, int x1, int y1) {
  double a[4];
  at(p, x0, y0, &a[0], &a[1]);
  at(p, x1, y1, &a[2], &a[3]);
  return capsule(c, a[0], a[1], a[2], a[3], p->unit * 0.42);
}
static void glyph(plot_canvas *c, const Pen *p, const uint8_t *g, Box *all) {
  for (int x = 0; x < 5; x++)
    for (int y = 0; y < 8; y++) {
      if (!dot(g, x, y)) continue;
      bool alone = true;
      if (dot(g, x + 1, y)) join(all, stroke(c, p, x, y, x + 1, y)), alone = false;
      if (dot(g, x, y + 1)) join(all, stroke(c, p, x, y, x, y + 1)), alone = false;
      if (dot(g, x + 1, y + 1) && !dot(g, x + 1, y) && !dot(g, x, y + 1))
        join(all, stroke(c, p, x, y, x + 1, y + 1)), alone = false;
      if (dot(g, x - 1, y + 1) && !dot(g, x - 1, y) && !dot(g, x, y + 1))
        join(all, stroke(c, p, x, y, x - 1, y + 1)), alone = false;
      if (alone) join(all, stroke(c, p, x, y, x, y));
    }
}

/* One character of UTF-8; what the font lacks becomes a box. */
static const uint8_t *next_glyph(const char **s) {
  static const uint8_t box[5] = {0x7F, 0x41, 0x41, 0x41, 0x7F};
  unsigned char b = (unsigned char)*(*s)++;
  if (b >= 32 && b < 127) return plot_font[b - 32];
  if (b == 0xC2 || b == 0xC3 || b == 0xE2) {
    static const struct { const char *bytes, *as;
    } same[] = {{"\xC2\xB7", "."},     {"\xC2\xB5", "u"}, {"\xC3\x97", "x"},
                {"\xE2\x88\x92", "-"}, {"\xC2\xB1", "+"}, {"\xE2\x80\x93", "-"}};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
      if (!strncmp(*s - 1, same[i].bytes, strlen(same[i].bytes))) {
        *s += strlen(same[i].bytes) - 1;
        return plot_font[same[i].as[0] - 32];
      }
  }
  while (((unsigned char)**s & 0xC0) == 0x80) ++*s;
  return box;
}
double plot_text_width(const char *s, double size) {
  size_t n = 0;
  while (*s) next_glyph(&s), n++;
  return n ? ((double)n * 6 - 1) * size / 10 : 0;
}
void plot_text(plot_canvas *c, double x, double y, double size, int h, int v, bool up,
               const char *s, plot_color k) {
  double unit = size / 10, w = plot_text_width(s, size), tall = 7 * unit;
  double along = h < 0 ? 0 : h == 0 ? -w / 2 : -w, across = v < 0 ? 0 : v == 0 ? -tall / 2 : -tall;
  Pen p = {.unit = unit, .up = up};
  p.x = up ? x + across + unit / 2 : x + along + unit / 2;
  p.y = up ? y - along - unit / 2 : y + across + unit / 2;
  Box all = nothing;
  while (*s) {
    glyph(c, &p, next_glyph(&s), &all);
    if (up) p.y -= 6 * unit; else p.x += 6 * unit;
  }
  blend(c, all, k);
}
