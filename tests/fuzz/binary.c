/* binary.c: targets whose inputs are binary: deflate, npz, checkpoints, GGUF, WAV. */
#include "fuzz.h"
#include "audio/wav.h"
#include "gguf/gguf.h"
#include "gguf/quant.h"
#include "image/image.h"
#include "npy/npy.h"
#include "pickle/pickle.h"
#include "zip/zip.h"

/* ---- deflate ---- */
/* Dynamic-Huffman data made by zlib: compressed length, length, bytes. */
static const struct { unsigned n, full; const char *p;
} deflated[] = {
    {137, 400,
     "\x65\x90\xdb\x11\x05\x21\x08\x43\x5b\x49\x6b\x80\x18\xfa\xaf\xe0\x2a\xc2\xae\xb3\xf7\xc3\xf1"
     "\x95"
     "\x93\x00\x50\x38\x87\x13\x1a\x01\xd8\x0c\x85\x38\x09\x38\xa6\xac\xad\xbf\x5d\x10\x7e\x44\x8e"
     "\x21"
     "\xeb\x3a\x95\xb9\x4a\x39\xc5\x6d\x2e\xb9\x94\xcb\x43\x2e\xec\xbc\x24\x90\xaa\xb6\x18\xee\xaf"
     "\xae"
     "\x7c\x76\x44\x90\x0c\x4b\xa0\x8e\xfb\xf5\x2f\x6c\xe3\x59\xac\x0d\x03\x45\xed\x1b\x5d\x11\x74"
     "\x37"
     "\x01\xc1\x89\x46\xeb\x72\x85\x89\x5c\x3e\xaf\xe1\x5b\xd4\x5e\x85\x75\xfd\x85\x8e\x35\x94\xf3"
     "\xaf"
     "\x62\x91\xbd\x5c\x4d\x9d\x61\xdd\xa9\x8f\x7b\x74\x6d\xcd\x69\xfc\x00"},
    {147, 460,
     "\x65\x50\x89\x0d\xc4\x20\x0c\x5b\xc5\xab\xc5\xf9\xd8\x7f\x82\x0b\xa5\x10\x4e\x45\x48\xe0\x3c"
     "\xb6"
     "\x93\xd0\x60\x64\x7a\x40\x65\xa4\x38\x52\xe5\xfe\x0a\x43\x1d\x43\x16\x88\x01\x50\x38\xdc\x89"
     "\x10"
     "\x51\x99\x00\x66\x04\xd5\x10\x87\xab\x73\x1d\xe3\x20\x92\xa8\x23\x66\x70\xa6\x25\x2c\x92\x5a"
     "\x81"
     "\x2c\xe6\xaa\xfa\x4f\x9e\xe8\x92\x0e\x1c\xa1\xae\x01\x2f\x85\xa7\xa6\xa5\x1f\xb8\xdd\xee\x17"
     "\xf3"
     "\xca\xd0\xea\x75\x20\xe5\xe2\x5a\xb8\xfb\xdf\x2d\xec\xf2\x7e\xf7\x28\xdf\x4d\x2c\x8a\x77\xaa"
     "\x52"
     "\x5a\xf8\xd2\x7e\x36\xd8\x8e\xe7\x64\xc9\xe5\x14\x5f\xb3\x4d\x34\x17\xe7\x76\xa8\xb7\x97\x36"
     "\x5f"
     "\xf9\xf8\x01"},
    {172, 520,
     "\x6d\x51\xd9\x15\x03\x21\x08\x6c\x65\x5a\x93\xbb\xff\x0a\xc2\xa1\xc6\xbc\x97\x8f\x55\x84\x39"
     "\x80"
     "\x75\x01\x40\x30\x0b\x05\x09\x8c\x54\x7d\xf1\x02\x59\xa6\xe3\x5c\x5e\x28\xcf\x80\x11\x22\x90"
     "\x95"
     "\xcf\x84\xc2\x3d\x48\xc2\x61\x41\x4f\xc9\xa1\x1c\xa9\xb7\xc2\xdd\x36\x4f\xd4\x10\xd0\x58\x72"
     "\x49"
     "\xd0\xf4\x33\x0f\xfc\x8d\x4a\xf2\xb8\xff\x31\xce\xd4\x17\x5b\xe6\x95\xa9\x5b\xdc\xf9\x76\xd0"
     "\xb6"
     "\x2f\xae\xe7\x6c\x85\xc1\x6d\xd2\x52\x66\xb6\xec\x8f\x88\x86\xd4\x47\x95\x77\xd3\x0d\x2f\x68"
     "\x17"
     "\xee\x9a\xce\x2c\xb3\xa0\x3a\x5a\xa2\xa3\x23\xda\x8f\xf6\x24\xe2\x19\xac\xbe\xc1\xcc\x8a\x7e"
     "\xf7"
     "\x37\x12\x7b\x84\xe3\x50\x80\xcb\x7f\x7f\xcb\x6e\xf0\x1d\xa3\xf7\xb1\x79\x37\x27\xa3\xbb\x1d"
     "\x6f"
     "\x73\x1b\xf6\x01"},
    {183, 580,
     "\x75\x51\x89\x11\xc3\x30\x08\x5b\x85\xd5\x78\x0c\xec\x3f\x41\x31\x8f\x5d\xf7\xae\x17\x27\x39"
     "\x83"
     "\x24\x04\x30\x92\x80\x0a\x82\x3b\x10\xb9\x09\x01\x39\xc9\x0e\x20\x80\xc5\xe7\x27\xea\x11\x85"
     "\x4c"
     "\x8a\x33\x21\xc1\xf2\xe5\x02\x93\x2f\x0a\xee\x87\x01\x18\x9d\x52\x7d\x73\x78\x97\x3a\xa9\xa1"
     "\xef"
     "\xac\x46\xc6\x48\x6f\xb2\x6b\x8a\x24\xb1\x5e\x36\x50\x4e\x38\xaa\x2a\x61\x89\x9f\xf8\x48\x94"
     "\x8d"
     "\xa3\x64\x2e\xee\xba\xda\xc0\x76\x83\xb6\x8c\x56\xb0\x46\xfa\x6d\xf0\xf8\x6a\xc1\x71\xdf\xa8"
     "\x09"
     "\x67\x33\xcf\x25\x4e\x1b\xcb\x19\xf4\x58\x6e\xb9\x1b\x0b\x4d\xd7\x42\x75\x87\xfd\x3b\x8d\x7d"
     "\x6b"
     "\x95\xc9\xe9\xe3\xa9\xdb\x98\x6d\xf1\x8c\x1f\x4a\xb8\x6a\x38\x3e\x7b\xf9\x37\xa4\x64\x25\x21"
     "\xe5"
     "\x13\x1b\x8b\xae\xd5\x8c\xff\x21\xd7\x86\x4b\x21\xe1\xf2\x01"},
};

static size_t inflated_size;

static void make_inflate(buf *b) {
  int kind = (int)below(4);
  if (kind < 2) {
    int i = (int)below(4);
    add(b, deflated[i].p, deflated[i].n);
    inflated_size = deflated[i].full;
  } else if (kind == 2) {                                  /* stored blocks */
    inflated_size = 0;
    for (int blocks = 1 + (int)below(3); blocks > 0; blocks--) {
      unsigned n = below(100);
      addn(b, blocks == 1, 1), addn(b, n, 2), addn(b, ~n & 0xFFFF, 2);
      for (unsigned i = 0; i < n; i++) addn(b, i, 1);
      inflated_size += n;
    }
  } else { /* fixed codes: random bits mostly decode */
    addn(b, 3 | (unsigned)below(256) << 3, 2);
    for (int i = (int)below(60); i > 0; i--) addn(b, rnd(), 1);
    inflated_size = below(500);
  }
  if (chance(10)) inflated_size = below(3000);
}

static int run_inflate(const uint8_t *p, size_t n) {
  sys_err e = {{0}, 0};
  uint8_t *out = malloc(inflated_size + 1);
  if (!out) exit(2);
  bool ok = zip_inflate(out, inflated_size, p, n, &e);
  for (size_t i = 0; ok && i < inflated_size; i++) fuzz_sink += out[i];
  free(out);
  return ok;
}
const target fuzz_inflate = {"inflate", make_inflate, run_inflate};

/* ---- zip, assembled from members with their true CRC ---- */
typedef struct member {
  const char *name;
  buf data;
  int deflate;
  unsigned full;
  uint32_t crc;
} member;

static void local_fields(buf *b, const member *m, int big) {
  addn(b, big ? 45 : 20, 2), addn(b, 0, 2), addn(b, m->deflate ? 8 : 0, 2), addn(b, 0, 4),
      addn(b, m->crc, 4);
  addn(b, big ? 0xFFFFFFFF : m->data.n, 4), addn(b, big ? 0xFFFFFFFF : m->full, 4);
  addn(b, strlen(m->name), 2), addn(b, big ? 20 : 0, 2);
}

static void big_fields(buf *b, const member *m) {
  addn(b, 1, 2), addn(b, 16, 2), addn(b, m->full, 8), addn(b, m->data.n, 8);
}

static void make_zip(buf *b, member *m, int n) {
  size_t heads[8], dir;
  int big = chance(10), end64 = chance(10), bad = chance(10) ? (int)below(6) : -1;
  for (int i = 0; i < n; i++) {
    heads[i] = b->n;
    addn(b, 0x04034b50, 4);
    local_fields(b, &m[i], big);
    adds(b, m[i].name);
    if (big) big_fields(b, &m[i]);
    add(b, m[i].data.p, m[i].data.n);
  }
  dir = b->n;
  if (bad == 0) m[0].crc ^= 1;
  for (int i = 0; i < n; i++) {
    addn(b, 0x02014b50, 4), addn(b, 45, 2);
    local_fields(b, &m[i], big);
    addn(b, 0, 2), addn(b, 0, 2), addn(b, 0, 2), addn(b, 0, 4);
    addn(b, bad == 1 ? odd_number() : bad == 2 ? heads[0] : heads[i], 4);
    adds(b, m[i].name);
    if (big) big_fields(b, &m[i]);
  }
  size_t end = b->n;
  if (end64) {
    addn(b, 0x06064b50, 4), addn(b, 44, 8), addn(b, 45, 2), addn(b, 45, 2), addn(b, 0, 8);
    addn(b, (unsigned)n, 8), addn(b, (unsigned)n, 8), addn(b, end - dir, 8),
        addn(b, bad == 3 ? odd_number() : dir, 8);
    addn(b, 0x07064b50, 4), addn(b, 0, 4), addn(b, bad == 4 ? odd_number() : end, 8), addn(b, 1, 4);
  }
  addn(b, 0x06054b50, 4), addn(b, 0, 4), addn(b, end64 ? 0xFFFF : (unsigned)n, 2),
      addn(b, end64 ? 0xFFFF : (unsigned)n, 2);
  addn(b, end64 ? 0xFFFFFFFF : end - dir, 4),
      addn(b,
           end64      ? 0xFFFFFFFF
           : bad == 5 ? odd_number()
                      : dir,
           4),
      addn(b, 0, 2);
}

void make_npy(buf *b);

static void finish_member(member *m) {
  m->full = (unsigned)m->data.n;
  m->crc = sys_crc32(0, m->data.p, m->data.n);
  if (!chance(25)) return;                                 /* as one stored block of deflate */
  buf d = {.n = 0};
  addn(&d, 1, 1), addn(&d, m->data.n, 2), addn(&d, ~m->data.n & 0xFFFF, 2);
  add(&d, m->data.p, m->data.n);
  m->data = d;
  m->deflate = 1;
}

static void make_npz(buf *b) {
  static const char *const names[] = {"a.npy", "b.npy", "c/d.npy", "\xc3\xa9.npy",
                                      "x.txt", "",      "a.npy"};
  static member m[4];
  int n = (int)below(4);
  memset(m, 0, sizeof m);
  for (int i = 0; i < n; i++) {
    m[i].name = names[chance(92) ? i : (int)below(7)];
    make_npy(&m[i].data);
    if (m[i].data.n > 700) m[i].data.n = 700;
    finish_member(&m[i]);
  }
  make_zip(b, m, n);
}

static int run_npz(const uint8_t *p, size_t n) {
  fmt_list l = {0};
  sys_err e = {{0}, 0};
  bool ok = npz_parse(&l, p, n, &e);
  if (ok) read_all(&l);
  else if (!e.msg[0]) abort();
  fmt_free(&l);
  return ok;
}
const target fuzz_npz = {"npz", make_npz, run_npz};

/* ---- pickles ---- */
static unsigned store_count[4];
static int store_size[4];

static void text(buf *b, const char *s) { adds(b, "X"), addn(b, strlen(s), 4), adds(b, s); }
static void small(buf *b, unsigned v) {
  if (v < 256 && chance(80)) adds(b, "K"), addn(b, v, 1);
  else if (chance(90)) adds(b, "M"), addn(b, v, 2);
  else adds(b, "\x8a\x08"), addn(b, odd_number(), 8);
}

static void tensor(buf *b, int stream) {
  static const struct {
    const char *name;
    int size;
  } kinds[] = {{"FloatStorage", 4}, {"LongStorage", 8}, {"ByteStorage", 1}, {"BFloat16Storage", 2}};
  int k = (int)below(4), dims = (int)below(4), bad = chance(12) ? (int)below(7) : -1;
  unsigned n = 1, shape[4];
  for (int d = 0; d < dims; d++) n *= shape[d] = below(4);
  int v3 = chance(8), param = chance(15);
  if (param) adds(b, "ctorch._utils\n_rebuild_parameter\n(");
  adds(b, v3 ? "ctorch._utils\n_rebuild_tensor_v3\n((" : "ctorch._utils\n_rebuild_tensor_v2\n((");
  text(b, bad == 0 ? "module" : "storage");
  if (v3) adds(b, "ctorch.storage\nUntypedStorage\n"); else addf(b, "ctorch\n%s\n", kinds[k].name);
  char key[4] = {(char)('0' + k), 0};
  text(b, key);
  text(b, "cpu");
  store_size[k] = v3 ? 1 : kinds[k].size;
  store_count[k] = 40;
  small(b, bad == 1 ? below(50) : 40);
  if (stream && chance(50)) adds(b, "N");
  adds(b, "tQ");
  small(b, bad == 2 ? below(60) : 0);
  adds(b, "(");
  for (int d = 0; d < dims; d++) small(b, bad == 3 ? below(50) : shape[d]);
  adds(b, "t(");
  unsigned step = n && chance(70) ? n : 1;
  for (int d = 0; d < dims; d++) small(b, bad == 4 ? below(50) : shape[d] ? (step /= shape[d]) : 1);
  adds(b, chance(90) ? "t\x89" : "tN");
  adds(b, "ccollections\nOrderedDict\n)R");
  if (v3) adds(b, "ctorch\nfloat32\n");
  if (chance(10)) adds(b, "}"), text(b, bad == 5 ? "odd" : "conj"), adds(b, "\x88s");
  adds(b, bad == 6 ? "t" : "tR");
  if (param) adds(b, "\x88" "ccollections\nOrderedDict\n)RtR");
}

#define S(text) {text, sizeof text - 1}
static void pickle_value(buf *b, int depth, int stream) {
  static const struct { const char *p; uint8_t n;
  } scalars[] = {S("N"),
                 S("\x88"),
                 S("\x89"),
                 S("K\x05"),
                 S("J\xff\xff\xff\xff"),
                 S("G\x3f\xf8\0\0\0\0\0\0"),
                 S("X\2\0\0\0hi"),
                 S("\x8c\1a"),
                 S("C\1z"),
                 S("\x8a\0"),
                 S("\x8a\1\xff"),
                 S(")"),
                 S("]"),
                 S("}"),
                 S("\x8f"),
                 S("ctorch\nbfloat16\n"),
                 S("h\0"),
                 S("h\1"),
                 S("ctorch\ndevice\nX\3\0\0\0cpu\x85R"),
                 S("ctorch\nSize\n(K\1K\2t\x85R"),
                 S("cposix\nsystem\n"),
                 S("cbuiltins\nset\n]\x85R"),
                 S("\x93"),
                 S("R"),
                 S("b"),
                 S("Q"),
                 S("0"),
                 S("1"),
                 S("2"),
                 S("("),
                 S("t"),
                 S("\x94"),
                 S("q\1"),
                 S("a"),
                 S("s")};
  if (depth > 4 || chance(30)) {
    int i = (int)below(chance(97) ? 16 : 35);
    add(b, scalars[i].p, scalars[i].n);
    return;
  }
  if (chance(50)) { tensor(b, stream); return; }
  int dict = chance(60), n = (int)below(4);
  adds(b, dict ? (chance(50) ? "}" : "ccollections\nOrderedDict\n)R") : "]");
  if (chance(30)) adds(b, "q"), addn(b, below(3), 1);
  else if (chance(20)) adds(b, "\x94");
  if (dict && chance(20)) {
    text(b, "k"), pickle_value(b, depth + 1, stream), adds(b, "s");
    return;
  }
  adds(b, "(");
  for (int i = 0; i < n; i++) {
    if (dict) text(b, PICK(((const char *const[]){"weight", "bias", "a", "0"})));
    pickle_value(b, depth + 1, stream);
  }
  adds(b, dict ? "u" : chance(80) ? "e" : "t");
  if (dict && chance(10)) adds(b, "}b");
}

static void make_pickle(buf *b) {
  static member m[6];
  int n = 0;
  memset(m, 0, sizeof m);
  memset(store_count, 0, sizeof store_count);
  m[n].name = "a/data.pkl";
  adds(&m[n].data, "\x80\2");
  pickle_value(&m[n].data, 0, 0);
  if (chance(20)) mutate(&m[n].data, 1 + (int)below(3));
  adds(&m[n++].data, ".");
  static const char *const names[] = {"a/data/0", "a/data/1", "a/data/2", "a/data/3"};
  for (int k = 0; k < 4; k++) {
    if (!store_count[k]) continue;
    m[n].name = names[k];
    for (unsigned i = 0; i < store_count[k] * (unsigned)store_size[k]; i++) addn(&m[n].data, i, 1);
    if (chance(3)) addn(&m[n].data, 0, 1);
    n++;
  }
  if (n < 6 && chance(30))
    m[n].name = "a/byteorder", adds(&m[n++].data, chance(80)   ? "little"
                                                  : chance(50) ? "big"
                                                               : "none");
  for (int i = 0; i < n; i++) finish_member(&m[i]);
  make_zip(b, m, n);
}

static void make_stream(buf *b) {
  memset(store_count, 0, sizeof store_count);
  adds(b, "\x80\2\x8a\n\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\2M\xe9\3.");
  adds(b, "\x80\2}("), text(b, "little_endian"), adds(b, chance(90) ? "\x88u." : "\x89u.");
  adds(b, "\x80\2");
  pickle_value(b, 0, 1);
  adds(b, ".\x80\2](");
  int order[4] = {0, 1, 2, 3}, k = (int)below(4);
  order[0] = k, order[k] = 0;
  for (int i = 0; i < 4; i++) {
    char key[2] = {(char)('0' + order[i]), 0};
    if (store_count[order[i]]) text(b, key);
  }
  adds(b, "e.");
  for (int i = 0; i < 4; i++) {
    k = order[i];
    if (!store_count[k]) continue;
    addn(b, chance(97) ? store_count[k] : odd_number(), 8);
    for (unsigned j = 0; j < store_count[k] * (unsigned)store_size[k]; j++) addn(b, j, 1);
  }
  if (chance(3)) adds(b, "x");
}

static int run_pickle(const uint8_t *p, size_t n) {
  pk_file f = {.n = 0};
  sys_err e = {{0}, 0};
  bool ok = pk_parse(&f, p, n, &e);
  if (ok) {
    read_all(&f.list);
    for (size_t i = 0; i < f.n; i++) {
      const pk_value *v = &f.v[i];
      if (v->type >= PK_TUPLE && v->type <= PK_SIZE)
        for (uint32_t k = 0; k < v->n; k++) if (v->u.kids[k] >= f.n) abort();
      if (v->type == PK_STR || v->type == PK_BYTES || v->type == PK_DEVICE)
        for (uint32_t k = 0; k < v->n; k++) fuzz_sink += (unsigned char)v->u.s[k];
      if (v->type == PK_TENSOR && (size_t)v->u.i >= f.list.n) abort();
    }
  } else if (!e.msg[0]) abort();
  pk_free(&f);
  return ok;
}
const target fuzz_pickle = {"pickle", make_pickle, run_pickle},
             fuzz_stream = {"stream", make_stream, run_pickle};

/* ---- GGUF ---- */
static void gg_string(buf *b, const char *s) {
  addn(b, chance(99) ? strlen(s) : odd_number(), 8), adds(b, s);
}

static void make_gguf(buf *b) {
  static const char *const keys[] = {"general.name", "a.b", "tokens", "x", "general.alignment"};
  static const int sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  unsigned npairs = below(5), ntensors = below(5), alignment = 32, bad = chance(10) ? below(6) : 99;
  adds(b, "GGUF");
  addn(b, chance(97) ? 2 + below(2) : odd_number(), 4);
  addn(b, bad == 0 ? odd_number() : ntensors, 8), addn(b, bad == 1 ? odd_number() : npairs, 8);
  for (unsigned i = 0; i < npairs; i++) {
    unsigned type = below(13), elem = below(13), count = 1;
    gg_string(b, keys[chance(95) ? i : below(5)]);
    if (i == 4) type = 4;
    addn(b, chance(98) ? type : odd_number(), 4);
    if (type == 9) {
      if (elem == 9 && chance(90)) elem = 8;
      count = below(4);
      addn(b, elem, 4), addn(b, chance(97) ? count : odd_number(), 8);
      type = elem;
    }
    for (unsigned k = 0; k < count; k++) {
      if (i == 4) alignment = 1u << below(chance(95) ? 8 : 20), addn(b, alignment, 4);
      else if (type == 8) gg_string(b, "token");
      else addn(b, type == 7 ? below(2) : rnd(), sizes[type]);
    }
  }
  static const char *const names[] = {"t0", "blk.0.w", "z", "y", "t0"};
  uint64_t at = 0, ends[5] = {0};
  for (unsigned i = 0; i < ntensors; i++) {
    static const int types[] = {0, 1, 2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 24, 26, 27, 28, 30, 16, 5};
    int type = types[below(chance(97) ? 17 : 19)], dims = (int)below(chance(98) ? 4 : 6);
    uint64_t n = (uint64_t)gg_types[type].block * (1 + below(2));
    gg_string(b, names[chance(97) ? i : below(5)]);
    addn(b, (unsigned)dims, 4);
    for (int d = 0; d < dims; d++) {
      uint64_t s = d == 0 ? n : below(3);
      addn(b, bad == 2 ? odd_number() : s, 8);
      if (d) n *= s;
    }
    if (!dims) n = 1;
    addn(b, (unsigned)type, 4), addn(b, bad == 3 ? odd_number() : at, 8);
    ends[i] = at + (gg_types[type].block
                        ? n / (unsigned)gg_types[type].block * (unsigned)gg_types[type].bytes
                        : 0);
    at = (ends[i] + alignment - 1) & ~(uint64_t)(alignment - 1);
  }
  if (!ntensors && chance(90)) return;
  while (b->n % alignment && b->n < FUZZ_MAX) addn(b, 0, 1);
  uint64_t total = chance(50) ? at : ntensors ? ends[ntensors - 1] : 0;
  for (uint64_t i = 0; i < total && b->n < FUZZ_MAX; i++) addn(b, i, 1);
  if (bad == 4) addn(b, 0, 1);
}

static int run_gguf(const uint8_t *p, size_t n) {
  gg_file f = {.nkv = 0};
  sys_err e = {{0}, 0};
  bool ok = gg_parse(&f, p, n, &e);
  if (ok) read_all(&f.list);
  else if (!e.msg[0]) abort();
  for (size_t i = 0; ok && i < f.list.n; i++) {
    const fmt_tensor *t = &f.list.v[i];
    int64_t numel;
    if (t->quant < 0 || !gg_types[t->quant].unpack || !fmt_numel(t->shape, t->ndim, &numel) ||
        numel > 100000)
      continue;
    float *y = malloc((size_t)numel * 4 + 4);
    if (!y) exit(2);
    gg_dequantize(t->quant, y, t->data, (uint64_t)numel);
    if (numel) fuzz_sink += y[numel - 1] > 0;
    free(y);
  }
  for (size_t i = 0; ok && i < f.nkv; i++)
    fuzz_sink += f.kv[i].value - p + (f.kv[i].key_len ? (unsigned char)f.kv[i].key[0] : 0);
  gg_free(&f);
  return ok;
}
const target fuzz_gguf = {"gguf", make_gguf, run_gguf};

/* ---- WAV ---- */
static void make_wav(buf *b) {
  static const unsigned bits[] = {8, 16, 24, 32, 32, 64, 12};
  unsigned k = below(chance(97) ? 6 : 7), channels = 1 + below(3), block = channels * bits[k] / 8,
           frames = below(20), ext = chance(20);
  adds(b, "RIFF"), addn(b, odd_number(), 4), adds(b, "WAVE");
  if (chance(20)) adds(b, "LIST"), addn(b, 5, 4), adds(b, "abcde"), addn(b, 0, 1);
  adds(b, "fmt "), addn(b, ext ? 40 : 16, 4),
      addn(b,
           ext      ? 0xFFFE
           : k >= 4 ? 3
                    : 1,
           2),
      addn(b, channels, 2), addn(b, 16000, 4);
  addn(b, 16000 * block, 4), addn(b, block, 2), addn(b, bits[k], 2);
  if (ext)
    addn(b, 22, 2), addn(b, bits[k], 2), addn(b, 3, 4), addn(b, k >= 4 ? 3 : 1, 2), addn(b, 0, 8),
        addn(b, 0, 6);
  adds(b, "data"), addn(b, chance(90) ? frames * block : odd_number(), 4);
  for (unsigned i = 0; i < frames * block; i++) addn(b, rnd(), 1);
}

static int run_wav(const uint8_t *p, size_t n) {
  wav w;
  sys_err e = {{0}, 0};
  float x[64];
  if (!wav_parse(&w, p, n, &e)) { if (!e.msg[0]) abort(); return 0; }
  for (int c = 0; c < w.channels; c++)
    for (uint64_t at = 0; at < w.frames; at += 64) {
      wav_read(&w, c, x, at, w.frames - at < 64 ? w.frames - at : 64);
      fuzz_sink += x[0] > 0;
    }
  return 1;
}
const target fuzz_wav = {"wav", make_wav, run_wav};

/* ---- PNG ---- */
static void chunk(buf *b, const char *type, const buf *data) {
  uint8_t len[4] = {0, 0, (uint8_t)(data->n >> 8), (uint8_t)data->n};
  uint32_t crc = sys_crc32(sys_crc32(0, type, 4), data->p, data->n);
  if (chance(2)) crc ^= 1;
  add(b, len, 4), add(b, type, 4), add(b, data->p, data->n);
  for (int i = 3; i >= 0; i--) addn(b, crc >> 8 * i, 1);
}

/* The lines of one pass: a filter and random bytes each. */
static void add_lines(buf *raw, unsigned w, unsigned h, int bits) {
  for (unsigned y = 0; w && y < h; y++) {
    addn(raw, chance(99) ? below(5) : 7, 1);
    for (unsigned n = (w * (unsigned)bits + 7) / 8; n > 0; n--)
      addn(raw, chance(50) ? 0 : rnd(), 1);
  }
}

/* As our own compressor writes it, or (much faster) as one stored block. */
static void zlib_stream(buf *d, const buf *raw) {
  uint32_t a = 1, s = 0;
  if (chance(2)) {
    size_t n;
    uint8_t *z = img_deflate(raw->p, raw->n, &n);
    if (!z) exit(2);
    add(d, z, n);
    mt_free(z);
    return;
  }
  adds(d, "\x78\x01");
  addn(d, 1, 1), addn(d, raw->n, 2), addn(d, ~raw->n & 0xFFFF, 2);
  add(d, raw->p, raw->n);
  for (size_t i = 0; i < raw->n; i++) a = (a + raw->p[i]) % 65521, s = (s + a) % 65521;
  addn(d, s >> 8, 1), addn(d, s, 1), addn(d, a >> 8, 1), addn(d, a, 1);
}

static void make_png(buf *b) {
  static const int kinds[][2] = {{0, 1},  {0, 2}, {0, 4},  {0, 8},  {0, 16}, {2, 8},
                                 {2, 16}, {3, 1}, {3, 2},  {3, 4},  {3, 8},  {4, 8},
                                 {4, 16}, {6, 8}, {6, 16}, {3, 16}, {1, 8}};
  static const int channels[7] = {1, 1, 3, 1, 2, 1, 4};
  static const uint8_t passes[7][4] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                                       {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};
  int k = (int)below(chance(97) ? 15 : 17), colour = kinds[k][0], depth = kinds[k][1],
      adam = chance(30);
  unsigned w = 1 + below(9), h = 1 + below(9);
  static buf d, raw;
  d.n = raw.n = 0;
  adds(b, "\x89PNG\r\n\x1a\n");
  addn(&d, 0, 3), addn(&d, w, 1), addn(&d, 0, 3), addn(&d, h, 1), addn(&d, (unsigned)depth, 1),
      addn(&d, (unsigned)colour, 1);
  addn(&d, 0, 2), addn(&d, chance(98) ? (unsigned)adam : 2, 1);
  if (chance(3)) mutate(&d, 1);
  chunk(b, "IHDR", &d);
  d.n = 0;
  unsigned colours = 1u << (depth < 8 ? depth : chance(50) ? 8 : 3);
  for (unsigned i = 0; i < 3 * colours && d.n < 768; i++) addn(&d, i, 1);
  if (colour == 3 && chance(97)) chunk(b, "PLTE", &d);
  d.n = 0;
  addn(&d, rnd(), 2);
  if (chance(20)) chunk(b, chance(90) ? "tRNS" : "teXt", &d);
  if (!adam) add_lines(&raw, w, h, channels[colour] * depth);
  for (int i = 0; adam && i < 7; i++) {
    const uint8_t *s = passes[i];
    unsigned pw = w > s[0] ? (w - s[0] + s[2] - 1) / s[2] : 0,
             ph = h > s[1] ? (h - s[1] + s[3] - 1) / s[3] : 0;
    add_lines(&raw, pw, ph, channels[colour] * depth);
  }
  d.n = 0;
  zlib_stream(&d, &raw);
  if (chance(3)) mutate(&d, 1);
  chunk(b, "IDAT", &d);
  d.n = 0;
  if (chance(98)) chunk(b, "IEND", &d);
}

static int run_png(const uint8_t *p, size_t n) {
  picture pic;
  sys_err e = {{0}, 0};
  if (!img_read_png(&pic, p, n, &e)) {
    if (!e.msg[0]) abort();
    return 0;
  }
  for (size_t i = 0; i < (size_t)pic.width * pic.height * (size_t)pic.channels; i++)
    fuzz_sink += pic.data[i];
  img_free(&pic);
  return 1;
}
const target fuzz_png = {"png", make_png, run_png};
