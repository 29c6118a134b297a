/* image.h: pictures as bytes, without Lua: PNG read and written here, JPEG read through
 * libturbojpeg where it is present.
 *
 * Invariants.  A picture's data hold height * width * channels bytes, row by row, channels
 * interleaved; 1 channel is gray, 2 gray and alpha, 3 RGB, 4 RGBA.  Sizes are checked against the
 * compressed data before anything is allocated (deflate reaches 1032:1 at most), every chunk's CRC
 * and the stream's Adler sum are checked. */
#ifndef IMAGE_H
#define IMAGE_H
#include "sys/sys.h"

typedef struct picture {
  uint32_t width, height;
  int channels;
  uint8_t *data;                 /* mt_free */
} picture;
enum { IMG_MAX_SIDE = 65535 };

bool img_read(picture *out, const uint8_t *p, size_t n, sys_err *e);       /* by the first bytes */
bool img_read_png(picture *out, const uint8_t *p, size_t n, sys_err *e);
bool img_read_jpeg(picture *out, const uint8_t *p, size_t n, sys_err *e);
/* The file's bytes, to be mt_free'd; NULL and e filled. */
uint8_t *img_encode_png(const picture *pic, size_t *size, sys_err *e);
bool img_save_png(const char *path, const picture *pic, sys_err *e);
void img_free(picture *pic);
/* A zlib stream of the bytes (deflate with fixed codes), to be mt_free'd; NULL: out of memory. */
uint8_t *img_deflate(const uint8_t *p, size_t n, size_t *out_n);
#endif
