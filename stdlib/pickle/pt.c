/* pt.c: the two containers of a checkpoint, and the tensors' check against their storages.
 *
 * Zip (since PyTorch 1.6): FOLDER/data.pkl, FOLDER/data/KEY.  Stream (before): a magic number, a
 * version, facts about the machine, the value, the storages' keys, each a pickle; then per key a
 * count of 8 bytes and the data. */
#include "pickle/machine.h"
#include "zip/zip.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static bool count_bytes(pk_machine *m, const pk_store *s, uint64_t *nbytes) {
  int64_t one = s->count;
  if (s->dtype < 0) return *nbytes = (uint64_t)s->count, true;
  return fmt_nbytes(s->dtype, &one, 1, nbytes) || sys_fail(m->e, "a storage is too large");
}

/* A storage found: it must have exactly the bytes that its description needs. */
static bool set_store(pk_machine *m, pk_store *s, const uint8_t *data, uint64_t nbytes) {
  uint64_t want;
  char q[80];
  if (!count_bytes(m, s, &want)) return false;
  if (want != nbytes)
    return sys_fail(m->e, "storage '%s' needs %" PRIu64 " bytes, the file has %" PRIu64,
                    sys_quote(q, sizeof q, s->key, s->key_len), want, nbytes);
  s->data = data;
  s->nbytes = nbytes;
  return true;
}

/* Each tensor inside its storage; rows that are contiguous lose their strides. */
static bool place_tensors(pk_machine *m, bool swapped) {
  fmt_list *l = &m->f->list;
  for (size_t i = 0; i < l->n; i++) {
    fmt_tensor *t = &l->v[i];
    const pk_store *s = &m->stores[t->storage];
    uint64_t extent, size = (uint64_t)fmt_types[t->dtype].bits / 8, from, want;
    if (fmt_types[t->dtype].bits % 8) return sys_fail(m->e, "tensor %zu: its type is not read", i);
    if (!s->data) return sys_fail(m->e, "tensor %zu: its storage is not in the file", i);
    if (!fmt_extent(t->dtype, t->shape, t->strides, t->ndim, &extent) ||
        __builtin_mul_overflow(t->at, size, &from) || from > s->nbytes || extent > s->nbytes - from)
      return sys_fail(m->e, "tensor %zu reaches past its storage of %" PRIu64 " bytes", i,
                      s->nbytes);
    t->data = s->data + from;
    t->nbytes = extent;
    t->storage_data = s->data;
    t->storage_bytes = s->nbytes;
    t->at = (uint64_t)(t->data - m->start);
    t->swapped = swapped && size > 1;
    if (!fmt_nbytes(t->dtype, t->shape, t->ndim, &want))
      return sys_fail(m->e, "tensor %zu is too large", i);
    bool plain = true;
    int64_t step = 1;
    for (int k = t->ndim; k-- > 0; step *= t->shape[k] > 0 ? t->shape[k] : 1)
      plain &= t->shape[k] == 1 || t->strides[k] == step;
    if (plain || !want) t->strides = NULL, t->nbytes = want;
  }
  return true;
}

/* ---- zip ---- */
static bool has_suffix(const zip_member *z, const char *s) {
  size_t n = strlen(s);
  return z->name_len >= n && !memcmp(z->name + z->name_len - n, s, n) &&
         (z->name_len == n || z->name[z->name_len - n - 1] == '/');
}

static const zip_member *in_folder(const zip_file *z, const zip_member *pkl, const char *name,
                                   size_t n) {
  size_t folder = pkl->name_len - strlen("data.pkl");
  for (size_t i = 0; i < z->n; i++)
    if (z->v[i].name_len == folder + n && !memcmp(z->v[i].name, pkl->name, folder) &&
        !memcmp(z->v[i].name + folder, name, n)) return &z->v[i];
  return NULL;
}

static int by_name(const void *a, const void *b) {
  const zip_member *x = *(zip_member *const *)a, *y = *(zip_member *const *)b;
  size_t n = x->name_len < y->name_len ? x->name_len : y->name_len;
  int c = memcmp(x->name, y->name, n);
  return c ? c : x->name_len < y->name_len ? -1 : x->name_len > y->name_len;
}

/* Looks the storages up in a sorted view of the directory: thousands of members cost no quadratic
 * search. */
static bool find_stores(pk_machine *m, const zip_file *z, const zip_member *pkl) {
  size_t folder = pkl->name_len - strlen("data.pkl");
  const zip_member **sorted = mt_malloc((z->n + 1) * sizeof *sorted);
  char *name = mt_malloc(folder + 5 + 65536), q[80];
  bool ok = (sorted && name) || pk_bad(m, "not enough memory");
  for (size_t i = 0; ok && i < z->n; i++) sorted[i] = &z->v[i];
  if (ok && z->n > 1) qsort(sorted, z->n, sizeof *sorted, by_name);
  if (ok) memcpy(name, pkl->name, folder), memcpy(name + folder, "data/", 5);
  for (size_t i = 0; ok && i < m->nstores; i++) {
    pk_store *s = &m->stores[i];
    zip_member want = {.name = name, .name_len = folder + 5 + s->key_len}, *key = &want;
    const zip_member **hit = NULL;
    if (s->key_len < 65536) {
      memcpy(name + folder + 5, s->key, s->key_len);
      hit = bsearch(&key, sorted, z->n, sizeof *sorted, by_name);
    }
    if (!hit)
      ok = sys_fail(m->e, "storage '%s' is not in the file",
                    sys_quote(q, sizeof q, s->key, s->key_len));
    const uint8_t *data = ok ? zip_read(z, *hit, &m->f->list, m->e) : NULL;
    ok = data && set_store(m, s, data, (*hit)->usize);
  }
  mt_free(sorted);
  mt_free(name);
  return ok;
}

static bool read_zip(pk_machine *m, const uint8_t *p, size_t n) {
  zip_file z;
  const zip_member *pkl = NULL;
  bool big_endian = false;
  if (!zip_open(&z, p, n, m->e)) return false;
  for (size_t i = 0; i < z.n; i++)
    if (has_suffix(&z.v[i], "data.pkl") && (!pkl || z.v[i].name_len < pkl->name_len)) pkl = &z.v[i];
  bool ok = pkl || sys_fail(m->e, "a zip file without data.pkl is no checkpoint");
  if (ok && in_folder(&z, pkl, "constants.pkl", 13))
    ok = sys_fail(m->e, "a TorchScript archive is not read");
  const zip_member *order = ok ? in_folder(&z, pkl, "byteorder", 9) : NULL;
  if (order) {
    const uint8_t *s = zip_read(&z, order, &m->f->list, m->e);
    big_endian = s && order->usize == 3 && !memcmp(s, "big", 3);
    ok = s && (big_endian || (order->usize == 6 && !memcmp(s, "little", 6)) ||
               sys_fail(m->e, "an unknown byte order"));
  }
  const uint8_t *code = ok ? zip_read(&z, pkl, &m->f->list, m->e) : NULL;
  ok = code != NULL;
  if (ok) {
    m->start = m->p = code;
    m->end = code + pkl->usize;
    m->base = pkl->deflated ? 0 : pkl->at;
    ok = pk_run(m, &m->f->root) && (m->p == m->end || pk_bad(m, "bytes after the pickle"));
  }
  ok = ok && find_stores(m, &z, pkl);
  m->start = p;
  ok = ok && place_tensors(m, big_endian);
  zip_close(&z);
  return ok;
}

/* ---- the older stream ---- */
static const char magic[] = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"; /* an integer of 10 bytes */

static bool is_magic(const pk_value *v) {
  return v->type == PK_BIG && v->n == 10 && !memcmp(v->u.s, magic, 10);
}

static bool little_endian(pk_machine *m, uint32_t info, bool *little) {
  const pk_value *d = &m->f->v[info];
  *little = true;
  if (d->type != PK_DICT) return pk_bad(m, "invalid facts about the machine");
  for (uint32_t i = 0; i < d->n; i += 2) {
    const pk_value *k = &m->f->v[d->u.kids[i]], *v = &m->f->v[d->u.kids[i + 1]];
    if (v->type == PK_BOOL && k->n == 13 && (k->type == PK_STR || k->type == PK_BYTES) &&
        !memcmp(k->u.s, "little_endian", 13))
      *little = v->u.i;
  }
  return true;
}

static bool read_stores(pk_machine *m, uint32_t keys) {
  const pk_value *list = &m->f->v[keys];
  if (list->type != PK_LIST) return pk_bad(m, "no list of storages");
  for (uint32_t i = 0; i < list->n; i++) {
    const pk_value *k = &m->f->v[list->u.kids[i]];
    if (k->type != PK_STR && k->type != PK_BYTES)
      return pk_bad(m, "a storage's key is not a string");
    pk_store *s = pk_find_store(m, k->u.s, k->n);
    if (!s) return pk_bad(m, "a storage that nothing refers to");
    if (s->data) return pk_bad(m, "a storage twice");
    if (m->end - m->p < 8) return pk_bad(m, "the data end early");
    int64_t count = (int64_t)fmt_u64(m->p);
    uint64_t nbytes;
    if (count != s->count) return pk_bad(m, "a storage of another size than described");
    m->p += 8;
    if (!count_bytes(m, s, &nbytes)) return false;
    if (nbytes > (uint64_t)(m->end - m->p)) return pk_bad(m, "the data end early");
    if (!set_store(m, s, m->p, nbytes)) return false;
    m->p += nbytes;
  }
  return m->p == m->end || pk_bad(m, "bytes after the last storage");
}

static bool read_stream(pk_machine *m, const uint8_t *p, size_t n) {
  uint32_t first, version, info, keys;
  bool little;
  m->end = p + n;
  if (!pk_run(m, &first)) return false;
  if (!is_magic(&m->f->v[first]))
    return sys_fail(m->e, "not a PyTorch checkpoint (no magic number at byte 0)");
  if (!pk_run(m, &version)) return false;
  if (m->f->v[version].type != PK_INT || m->f->v[version].u.i != 1001)
    return pk_bad(m, "an unknown version");
  if (!pk_run(m, &info) || !little_endian(m, info, &little)) return false;
  return pk_run(m, &m->f->root) && pk_run(m, &keys) && read_stores(m, keys) &&
         place_tensors(m, !little);
}

bool pk_parse(pk_file *f, const uint8_t *p, size_t n, sys_err *e) {
  pk_machine m = {.f = f, .e = e, .start = p, .p = p, .end = p + n};
  bool ok;
  if (zip_is(p, n)) ok = read_zip(&m, p, n);
  else if (n > 2 && p[0] == 0x80 && p[1] <= 5) ok = read_stream(&m, p, n);
  else ok = sys_fail(e, "not a PyTorch checkpoint (neither a zip archive nor a pickle at byte 0)");
  pk_machine_free(&m);
  return ok;
}

bool pk_open(pk_file *f, const char *path, sys_err *e) {
  sys_err inner = {{0}, 0};
  char q[200];
  *f = (pk_file){0};
  if (!(f->list.map = sys_map_open(path, e))) return false;
  if (pk_parse(f, f->list.map->data, f->list.map->size, &inner)) return true;
  pk_free(f);
  return sys_fail(e, "%s: %s", sys_quote(q, sizeof q, path, strlen(path)), inner.msg);
}

void pk_free(pk_file *f) {
  for (size_t i = 0; i < f->n; i++)
    if (f->v[i].type >= PK_TUPLE && f->v[i].type <= PK_SIZE) mt_free(f->v[i].u.kids);
  mt_free(f->v);
  fmt_free(&f->list);
  *f = (pk_file){0};
}
