/* safetensors.c: the reader.  8 bytes of header length, a JSON header, the data. */
#include "safetensors/safetensors.h"
#include "json/json.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_HEADER = 100000000 };

typedef struct reader {
  fmt_list *l;
  js_doc d;
  uint64_t room;                 /* bytes after the header */
  sys_err *e;
} reader;

/* Messages count bytes of the file: the header's text begins at 8. */
static bool bad(reader *r, const js_node *nd, const char *name, const char *what) {
  char q[120];
  if (!name) return sys_fail(r->e, "%s at byte %" PRIu32, what, nd->at + 8);
  return sys_fail(r->e, "tensor '%s': %s at byte %" PRIu32,
                  sys_quote(q, sizeof q, name, strlen(name)), what, nd->at + 8);
}

/* A JSON integer >= 0 ("-0" is a float to the reference reader, so it is refused here too). */
static bool is_count(const char *header, const js_node *nd) {
  return nd->type == JS_INT && nd->u.i >= 0 && header[nd->at] != '-';
}

static bool read_dtype(reader *r, fmt_tensor *t, const js_node *nd) {
  t->dtype = -1;
  for (int i = 0; i < FMT_NTYPES; i++)
    if (fmt_types[i].st && js_is(nd, fmt_types[i].st)) t->dtype = i;
  return t->dtype >= 0 || bad(r, nd, t->name, "unknown dtype");
}

static bool read_shape(reader *r, fmt_tensor *t, const char *header, const js_node *nd) {
  if (nd->type != JS_ARR) return bad(r, nd, t->name, "'shape' is not a list");
  if (nd->n > FMT_MAX_DIMS) return bad(r, nd, t->name, "more than 64 dimensions");
  int64_t *shape = fmt_alloc(r->l, nd->n * sizeof *shape);
  if (!shape) return sys_fail(r->e, "not enough memory");
  for (uint32_t i = 0; i < nd->n; i++) {
    const js_node *x = nd + 1 + i;
    if (!is_count(header, x)) return bad(r, x, t->name, "a dimension is not a whole number >= 0");
    shape[i] = x->u.i;
  }
  t->shape = shape;
  t->ndim = (int)nd->n;
  return true;
}

static bool read_offsets(reader *r, fmt_tensor *t, const char *header, const js_node *nd) {
  if (nd->type != JS_ARR || nd->n != 2 || !is_count(header, nd + 1) || !is_count(header, nd + 2))
    return bad(r, nd, t->name, "'data_offsets' is not two whole numbers >= 0");
  int64_t from = nd[1].u.i, to = nd[2].u.i;
  if (to < from || (uint64_t)to > r->room)
    return bad(r, nd, t->name, "'data_offsets' lie outside the file");
  t->at = (uint64_t)from;
  t->nbytes = (uint64_t)(to - from);
  return true;
}

static bool read_tensor(reader *r, const char *header, const js_node *key, const js_node *info) {
  static const char *const fields[] = {"dtype", "shape", "data_offsets"};
  const js_node *field[3] = {NULL, NULL, NULL};
  uint64_t nbytes;
  if (!fmt_check_name(key->u.s, key->n, r->e)) return false;
  fmt_tensor *t = fmt_add(r->l, r->e);
  if (!t) return false;
  if (!(t->name = fmt_copy(r->l, key->u.s, key->n))) return sys_fail(r->e, "not enough memory");
  if (info->type != JS_OBJ) return bad(r, info, t->name, "not an object");
  for (uint32_t i = (uint32_t)(info - r->d.v) + 1; i < info->next; i = r->d.v[i + 1].next) {
    int k = 0;
    while (k < 3 && !js_is(&r->d.v[i], fields[k])) k++;
    if (k == 3) return bad(r, &r->d.v[i], t->name, "unknown field");
    if (field[k]) return bad(r, &r->d.v[i], t->name, "repeated field");
    field[k] = &r->d.v[i + 1];
  }
  for (int k = 0; k < 3; k++)
    if (!field[k])
      return bad(r, info, t->name,
                 k == 0   ? "no 'dtype'"
                 : k == 1 ? "no 'shape'"
                          : "no 'data_offsets'");
  if (!read_dtype(r, t, field[0]) || !read_shape(r, t, header, field[1]) ||
      !read_offsets(r, t, header, field[2]))
    return false;
  if (!fmt_nbytes(t->dtype, t->shape, t->ndim, &nbytes))
    return bad(r, field[1], t->name, "the shape is too large");
  return nbytes == t->nbytes ||
         bad(r, field[2], t->name, "'data_offsets' do not span what dtype and shape need");
}

static bool read_metadata(reader *r, const js_node *obj) {
  if (obj->type != JS_OBJ) return bad(r, obj, NULL, "'__metadata__' is not an object");
  for (uint32_t i = (uint32_t)(obj - r->d.v) + 1; i < obj->next; i = r->d.v[i + 1].next) {
    const js_node *k = &r->d.v[i], *v = k + 1;
    if (v->type != JS_STR) return bad(r, v, NULL, "a value in '__metadata__' is not a string");
    if (memchr(k->u.s, 0, k->n) || memchr(v->u.s, 0, v->n))
      return bad(r, k, NULL, "zero byte in '__metadata__'");
    if (!fmt_add_meta(r->l, k->u.s, k->n, v->u.s, v->n, r->e)) return false;
  }
  return true;
}

static int by_place(const void *a, const void *b) {
  const fmt_tensor *x = a, *y = b;
  if (x->at != y->at) return x->at < y->at ? -1 : 1;
  if (x->nbytes != y->nbytes) return x->nbytes < y->nbytes ? -1 : 1;
  return strcmp(x->name, y->name);
}

/* In the order of their places, each tensor must begin where the one before ended, and the last end
 * where the file does. */
static bool check_places(reader *r) {
  fmt_list *l = r->l;
  uint64_t at = 0;
  char q[120];
  if (l->n > 1) qsort(l->v, l->n, sizeof *l->v, by_place);
  for (size_t i = 0; i < l->n; i++) {
    const fmt_tensor *t = &l->v[i];
    if (t->at != at)
      return sys_fail(r->e, "tensor '%s' %s at byte %" PRIu64 " of the data",
                      sys_quote(q, sizeof q, t->name, strlen(t->name)),
                      t->at < at ? "overlaps the one before" : "leaves a hole before it", at);
    at += t->nbytes;
  }
  return at == r->room ||
         sys_fail(r->e,
                  "%" PRIu64 " bytes after the last tensor's data at byte %" PRIu64 " of the data",
                  r->room - at, at);
}

static bool read_header(reader *r, const uint8_t *p, uint64_t len) {
  const char *header = (const char *)p + 8;
  const js_limits lim = {.depth = 16, .nodes = 12 * FMT_MAX_TENSORS + 1024};
  const js_node *metadata = NULL;
  if (len == 0 || header[0] != '{')
    return sys_fail(r->e, "the header does not begin with '{' at byte 8");
  sys_err inner = {{0}, 0};
  if (!js_parse(&r->d, header, len, &lim, &inner))
    return sys_fail(r->e, "in the header, which begins at byte 8: %s", inner.msg);
  for (uint32_t i = 1; i < r->d.v[0].next; i = r->d.v[i + 1].next) {
    const js_node *k = &r->d.v[i], *v = k + 1;
    bool meta = js_is(k, "__metadata__");
    if (meta && metadata) return bad(r, k, NULL, "a second '__metadata__'");
    if (meta) metadata = v;
    if (!(meta ? read_metadata(r, v) : read_tensor(r, header, k, v))) return false;
  }
  return check_places(r) && fmt_check_unique(r->l, r->e);
}

bool st_parse(fmt_list *l, const uint8_t *p, size_t n, sys_err *e) {
  reader r = {.l = l, .e = e};
  if (n < 8) return sys_fail(e, "not a safetensors file: only %zu bytes", n);
  uint64_t len = fmt_u64(p);
  if (len > MAX_HEADER)
    return sys_fail(
        e, "not a safetensors file: a header of %" PRIu64 " bytes (at most 100,000,000)", len);
  if (len > n - 8)
    return sys_fail(e, "the file ends at byte %zu, inside its header of %" PRIu64 " bytes", n, len);
  r.room = n - 8 - len;
  bool ok = read_header(&r, p, len);
  js_free(&r.d);
  for (size_t i = 0; ok && i < l->n; i++) {
    l->v[i].at += 8 + len;
    l->v[i].data = p + l->v[i].at;
  }
  return ok;
}

bool st_open(fmt_list *l, const char *path, sys_err *e) {
  char q[200];
  sys_err inner = {{0}, 0};
  *l = (fmt_list){0};
  if (!(l->map = sys_map_open(path, e))) return false;
  if (st_parse(l, l->map->data, l->map->size, &inner)) return true;
  fmt_free(l);
  return sys_fail(e, "%s: %s", sys_quote(q, sizeof q, path, strlen(path)), inner.msg);
}
