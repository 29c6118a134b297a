/* write.c: checkpoints in PyTorch's zip form, readable by torch.load(weights_only=True).  Protocol
 * 2, no memo: a shared storage is shared by its number. */
#include "pickle/pickle.h"
#include "zip/zip.h"
#include <inttypes.h>
#include <string.h>

static void put(pk_writer *w, const void *p, size_t n) {
  if (w->cap - w->n < n && !w->failed) {
    size_t cap = 2 * (w->n + n) + 256;
    uint8_t *grown = mt_realloc(w->p, cap);
    if (!grown) w->failed = true;
    else w->p = grown, w->cap = cap;
  }
  if (w->failed) return;
  if (n) memcpy(w->p + w->n, p, n);
  w->n += n;
}

static void op(pk_writer *w, int c) {
  uint8_t b = (uint8_t)c;
  if (!w->n && !w->failed) put(w, "\x80\2", 2);
  put(w, &b, 1);
}

static void word(pk_writer *w, const char *s) { put(w, s, strlen(s)); }

static void global(pk_writer *w, const char *module, const char *name) {
  op(w, 'c');
  word(w, module), word(w, "\n"), word(w, name), word(w, "\n");
}

void pk_put_none(pk_writer *w) { op(w, 'N'); }
void pk_put_bool(pk_writer *w, bool b) { op(w, b ? 0x88 : 0x89); }

void pk_put_int(pk_writer *w, int64_t i) {
  uint8_t b[8];
  fmt_put(b, (uint64_t)i, 8);
  if (i >= INT32_MIN && i <= INT32_MAX) op(w, 'J'), put(w, b, 4);
  else op(w, 0x8a), put(w, "\x08", 1), put(w, b, 8);
}

void pk_put_float(pk_writer *w, double d) {
  uint64_t x;
  uint8_t b[8];
  memcpy(&x, &d, 8);
  fmt_put(b, __builtin_bswap64(x), 8);
  op(w, 'G');
  put(w, b, 8);
}

void pk_put_str(pk_writer *w, const char *s, size_t n) {
  uint8_t b[4];
  fmt_put(b, n, 4);
  op(w, 'X');
  put(w, b, 4);
  put(w, s, n);
}

void pk_put_dtype(pk_writer *w, int dtype) { global(w, "torch", fmt_types[dtype].name); }

void pk_begin_list(pk_writer *w) { op(w, ']'), op(w, '('); }
void pk_end_list(pk_writer *w) { op(w, 'e'); }

void pk_begin_dict(pk_writer *w, bool ordered) {
  if (ordered) global(w, "collections", "OrderedDict"), op(w, ')'), op(w, 'R');
  else op(w, '}');
  op(w, '(');
}
void pk_end_dict(pk_writer *w) { op(w, 'u'); }

static void put_dims(pk_writer *w, const int64_t *d, int n) {
  op(w, '(');
  for (int i = 0; i < n; i++) pk_put_int(w, d[i]);
  op(w, 't');
}

void pk_put_tensor(pk_writer *w, const fmt_tensor *t, int64_t storage, uint64_t numel,
                   uint64_t offset, bool parameter) {
  int64_t contiguous[FMT_MAX_DIMS], step = 1;
  char key[24];
  for (int i = t->ndim; i-- > 0; step *= t->shape[i] > 0 ? t->shape[i] : 1) contiguous[i] = step;
  if (parameter) global(w, "torch._utils", "_rebuild_parameter"), op(w, '(');
  global(w, "torch._utils", "_rebuild_tensor_v2");
  op(w, '(');
  op(w, '(');
  pk_put_str(w, "storage", 7);
  global(w, "torch", fmt_types[t->dtype].pt);
  pk_put_str(w, key, (size_t)snprintf(key, sizeof key, "%" PRId64, storage));
  pk_put_str(w, "cpu", 3);
  pk_put_int(w, (int64_t)numel);
  op(w, 't');
  op(w, 'Q');
  pk_put_int(w, (int64_t)offset);
  put_dims(w, t->shape, t->ndim);
  put_dims(w, t->strides ? t->strides : contiguous, t->ndim);
  pk_put_bool(w, t->requires_grad && !parameter);
  pk_begin_dict(w, true), pk_end_dict(w);
  op(w, 't');
  op(w, 'R');
  if (!parameter) return;
  pk_put_bool(w, t->requires_grad);
  pk_begin_dict(w, true), pk_end_dict(w);
  op(w, 't');
  op(w, 'R');
}

/* The folder inside the archive is named after the file, as PyTorch does. */
static void folder_name(char *buf, size_t size, const char *path) {
  const char *base = strrchr(path, '/'), *dot;
  base = base ? base + 1 : path;
  dot = strrchr(base, '.');
  size_t n = dot && dot > base ? (size_t)(dot - base) : strlen(base);
  if (!n || n >= size) base = "archive", n = 7;
  memcpy(buf, base, n);
  buf[n] = 0;
}

bool pk_save(const char *path, pk_writer *w, const pk_storage *storages, size_t n, sys_err *e) {
  char folder[128], name[192];
  zip_writer z;
  op(w, '.');
  if (w->failed) return sys_fail(e, "not enough memory");
  folder_name(folder, sizeof folder, path);
  if (!zip_begin(&z, path, e)) return false;
  const struct { const char *name; zip_piece text;
  } heads[] = {{"data.pkl", {w->p, w->n}},
               {".format_version", {"1", 1}},
               {".storage_alignment", {"64", 2}},
               {"byteorder", {"little", 6}}};
  for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
    snprintf(name, sizeof name, "%s/%s", folder, heads[i].name);
    zip_add(&z, name, &heads[i].text, 1, 64, e);
  }
  for (size_t i = 0; i < n; i++) {
    zip_piece piece = {storages[i].data, storages[i].nbytes};
    snprintf(name, sizeof name, "%s/data/%zu", folder, i);
    zip_add(&z, name, &piece, 1, 64, e);
  }
  snprintf(name, sizeof name, "%s/version", folder);
  zip_add(&z, name, &(zip_piece){"3\n", 2}, 1, 64, e);
  return zip_commit(&z, e);
}

void pk_writer_free(pk_writer *w) {
  mt_free(w->p);
  *w = (pk_writer){0};
}
