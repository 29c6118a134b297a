/* save.c: the writer.  The header is built in memory, so that a refusal comes before the first byte
 * is written. */
#include "safetensors/safetensors.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

typedef struct text { char *p; size_t n, cap; bool failed; } text;

static void put(text *t, const char *s, size_t n) {
  if (t->cap - t->n < n && !t->failed) {
    size_t cap = 2 * (t->n + n) + 256;
    char *p = mt_realloc(t->p, cap);
    if (!p) t->failed = true;
    else t->p = p, t->cap = cap;
  }
  if (t->failed) return;
  memcpy(t->p + t->n, s, n);
  t->n += n;
}

static void putf(text *t, const char *fmt, ...) SYS_PRINTF(2, 3);
static void putf(text *t, const char *fmt, ...) {
  char buf[96];
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(buf, sizeof buf, fmt, ap);
  va_end(ap);
  put(t, buf, (size_t)n);
}

static void put_string(text *t, const char *s) {
  static const char escapes[] = "\b\f\n\r\t\"\\", letters[] = "bfnrt\"\\";
  put(t, "\"", 1);
  for (; *s; s++) {
    const char *hit = strchr(escapes, *s);
    if (hit) putf(t, "\\%c", letters[hit - escapes]);
    else if ((unsigned char)*s < 32) putf(t, "\\u%04x", *s);
    else put(t, s, 1);
  }
  put(t, "\"", 1);
}

static int by_type_and_name(const void *a, const void *b) {
  const fmt_tensor *x = *(const fmt_tensor *const *)a, *y = *(const fmt_tensor *const *)b;
  return x->dtype != y->dtype ? y->dtype - x->dtype : strcmp(x->name, y->name);
}

static bool check(const fmt_list *l, sys_err *e) {
  char q[120];
  for (size_t i = 0; i < l->n; i++) {
    const fmt_tensor *t = &l->v[i];
    uint64_t nbytes;
    if (!fmt_check_name(t->name, strlen(t->name), e)) return false;
    sys_quote(q, sizeof q, t->name, strlen(t->name));
    if (!strcmp(t->name, "__metadata__"))
      return sys_fail(e, "a tensor cannot be named '__metadata__'");
    if (!fmt_types[t->dtype].st)
      return sys_fail(e, "tensor '%s': safetensors has no %s", q, fmt_types[t->dtype].name);
    if (t->strides || !fmt_nbytes(t->dtype, t->shape, t->ndim, &nbytes) || nbytes != t->nbytes)
      return sys_fail(e, "tensor '%s': not contiguous", q);
  }
  for (size_t i = 0; i < l->nmeta; i++)
    if (!fmt_check_name(l->meta[i].key, strlen(l->meta[i].key), e) ||
        !fmt_check_name(l->meta[i].value, strlen(l->meta[i].value), e)) return false;
  return fmt_check_unique(l, e);
}

static void build_header(text *h, const fmt_list *l, const fmt_tensor *const *sorted) {
  uint64_t at = 0;
  put(h, "{", 1);
  for (size_t i = 0; i < l->nmeta; i++) {
    put(h, i ? "," : "\"__metadata__\":{", i ? 1 : 16);
    put_string(h, l->meta[i].key);
    put(h, ":", 1);
    put_string(h, l->meta[i].value);
    if (i + 1 == l->nmeta) put(h, l->n ? "}," : "}", l->n ? 2 : 1);
  }
  for (size_t i = 0; i < l->n; i++) {
    const fmt_tensor *t = sorted[i];
    if (i) put(h, ",", 1);
    put_string(h, t->name);
    putf(h, ":{\"dtype\":\"%s\",\"shape\":[", fmt_types[t->dtype].st);
    for (int k = 0; k < t->ndim; k++) putf(h, "%s%" PRId64, k ? "," : "", t->shape[k]);
    putf(h, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", at, at + t->nbytes);
    at += t->nbytes;
  }
  put(h, "}", 1);
  while (h->n % 8 && !h->failed) put(h, " ", 1);
}

bool st_save(const char *path, const fmt_list *l, sys_err *e) {
  uint8_t len[8];
  text h = {0};
  sys_save s;
  if (!check(l, e)) return false;
  const fmt_tensor **sorted = mt_malloc((l->n + 1) * sizeof *sorted);
  if (!sorted) return sys_fail(e, "not enough memory");
  for (size_t i = 0; i < l->n; i++) sorted[i] = &l->v[i];
  if (l->n > 1) qsort(sorted, l->n, sizeof *sorted, by_type_and_name);
  build_header(&h, l, sorted);
  if (h.failed) sys_fail(e, "not enough memory");
  else if (h.n > 100000000)
    sys_fail(e, "the header would have %zu bytes; the format allows 100,000,000", h.n);
  else if (sys_save_begin(&s, path, e)) {
    fmt_put(len, h.n, 8);
    sys_save_write(&s, len, 8, e);
    sys_save_write(&s, h.p, h.n, e);
    for (size_t i = 0; i < l->n; i++) sys_save_write(&s, sorted[i]->data, sorted[i]->nbytes, e);
    sys_save_commit(&s, e);
  }
  mt_free(h.p);
  mt_free(sorted);
  return !e->msg[0];
}
