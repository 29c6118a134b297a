/* jpeg.c: JPEG through libturbojpeg, opened when the first one is read.  Its simple interface needs
 * no header: the few declarations below are its stable ABI. */
#include "image/image.h"
#include <dlfcn.h>

enum { TJ_RGB = 0, TJ_GRAY = 6, TJ_ACCURATE = 4096, TJ_GRAY_SPACE = 2 };

typedef void *(*tj_init)(void);
typedef int (*tj_header)(void *, const unsigned char *, unsigned long, int *, int *, int *, int *);
typedef int (*tj_decode)(void *, const unsigned char *, unsigned long, unsigned char *, int, int,
                         int, int, int);
typedef int (*tj_destroy)(void *);
typedef char *(*tj_error)(void *);

typedef struct turbo {
  tj_init init;
  tj_header header;
  tj_decode decode;
  tj_destroy destroy;
  tj_error error;
} turbo;

static bool open_turbo(turbo *t, sys_err *e) {
  static void *lib;
  if (!lib) lib = dlopen("libturbojpeg.so.0", RTLD_NOW | RTLD_LOCAL);
  if (!lib) lib = dlopen("libturbojpeg.so", RTLD_NOW | RTLD_LOCAL);
  if (!lib) return sys_fail(e, "jpeg: libturbojpeg is not installed (package libturbojpeg0)");
  /* POSIX gives function pointers as void *: the copy by the pointer's bytes is the allowed way. */
  *(void **)&t->init = dlsym(lib, "tjInitDecompress");
  *(void **)&t->header = dlsym(lib, "tjDecompressHeader3");
  *(void **)&t->decode = dlsym(lib, "tjDecompress2");
  *(void **)&t->destroy = dlsym(lib, "tjDestroy");
  *(void **)&t->error = dlsym(lib, "tjGetErrorStr2");
  return (t->init && t->header && t->decode && t->destroy && t->error) ||
         sys_fail(e, "jpeg: libturbojpeg lacks a function");
}

bool img_read_jpeg(picture *out, const uint8_t *p, size_t n, sys_err *e) {
  turbo t;
  int w = 0, h = 0, sampling = 0, space = 0;
  *out = (picture){.width = 0};
  if (!open_turbo(&t, e)) return false;
  void *tj = t.init();
  if (!tj) return sys_fail(e, "not enough memory");
  bool ok = t.header(tj, p, n, &w, &h, &sampling, &space) == 0 && w > 0 && h > 0;
  if (!ok) sys_note(e, "jpeg: %s", t.error(tj));
  /* A progressive file may name any size; a picture needs at least a bit for 64 samples. */
  if (ok && (uint64_t)w * (uint64_t)h / 512 > n)
    ok = sys_fail(e, "jpeg: a size that the data cannot reach");
  if (ok) {
    out->width = (uint32_t)w, out->height = (uint32_t)h;
    out->channels = space == TJ_GRAY_SPACE ? 1 : 3;
    out->data = mt_malloc((size_t)w * (size_t)h * (size_t)out->channels);
    if (!out->data) ok = sys_fail(e, "not enough memory");
  }
  if (ok && t.decode(tj, p, n, out->data, w, 0, h, space == TJ_GRAY_SPACE ? TJ_GRAY : TJ_RGB,
                     TJ_ACCURATE))
    ok = sys_fail(e, "jpeg: %s", t.error(tj));
  t.destroy(tj);
  if (!ok) img_free(out);
  return ok;
}
