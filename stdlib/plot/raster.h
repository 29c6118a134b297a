/* raster.h: pictures drawn into memory, without Lua: anti-aliased lines, discs, rectangles, text
 * and images on an RGB canvas, and the canvas as sixels.
 *
 * Invariants.  Coordinates are pixels from the upper left corner, pixel centres at .5; everything
 * is clipped to the canvas and to the clip rectangle, whatever the numbers (nan included) are.  A
 * function that needs memory returns false (or NULL) without it and leaves the canvas whole. */
#ifndef PLOT_RASTER_H
#define PLOT_RASTER_H
#include "base.h"

typedef struct plot_canvas {
  int w, h;
  uint8_t *px;                   /* 3 bytes a pixel; mt_free */
  uint8_t *mask;                 /* coverage of the shape being drawn */
  int clip[4];                   /* x0, y0, x1, y1: half open */
} plot_canvas;
typedef struct plot_color { uint8_t r, g, b, a; } plot_color;
enum { PLOT_MAX_SIDE = 16384 };

bool plot_init(plot_canvas *c, int w, int h, plot_color ground);
void plot_free(plot_canvas *c);
void plot_clip(plot_canvas *c, double x0, double y0, double x1, double y1);
void plot_rect(plot_canvas *c, double x0, double y0, double x1, double y1, plot_color k);
void plot_polyline(plot_canvas *c, const double *xy, size_t n, double width, plot_color k);
void plot_disc(plot_canvas *c, double x, double y, double r, plot_color k);
void plot_polygon(plot_canvas *c, const double *xy, size_t n, plot_color k);
/* h, v: -1 left/top, 0 centre, 1 right/bottom of the text is at x, y.  up: turned to read upwards.
 */
void plot_text(plot_canvas *c, double x, double y, double size, int h, int v, bool up,
               const char *s, plot_color k);
double plot_text_width(const char *s, double size);
/* An RGB picture of iw x ih stretched over the rectangle, nearest pixels. */
void plot_image(plot_canvas *c, const uint8_t *rgb, int iw, int ih, double x0, double y0, double x1,
                double y1);
/* The canvas as a sixel sequence; mt_free.  NULL: out of memory. */
char *plot_sixel(const plot_canvas *c, size_t *n);
/* Writes text to the terminal and reads what it answers until `until` comes or the time is up;
 * bytes read.  Reads nothing when input is already waiting or fd is no terminal. */
size_t plot_query(int fd, const char *text, char until, int milliseconds, char *out, size_t room);
#endif
