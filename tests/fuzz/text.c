/* text.c: targets whose inputs are mostly text: JSON, safetensors, npy. */
#include "fuzz.h"
#include "json/json.h"
#include "npy/npy.h"
#include "safetensors/safetensors.h"

/* ---- JSON ---- */
static void json_value(buf *b, int depth) {
  static const char *const scalars[] = {"null",
                                        "true",
                                        "false",
                                        "0",
                                        "-0",
                                        "1",
                                        "-12",
                                        "1.5",
                                        "1e5",
                                        "1E-7",
                                        "2.5e+3",
                                        "9223372036854775807",
                                        "9223372036854775808",
                                        "-9223372036854775808",
                                        "18446744073709551616",
                                        "0.1",
                                        "\"\"",
                                        "\"abc\"",
                                        "\"\\n\\t\\\"\\\\\\/\\b\\f\\r\"",
                                        "\"\\u0041\\u00e9\\u20ac\"",
                                        "\"\\ud83d\\ude00\"",
                                        "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"",
                                        "\"a\xf4\x8f\xbf\xbf\\u0000\"",
                                        "123456789012345678901234567890.5",
                                        "1e400",
                                        "01",
                                        "1.",
                                        "-",
                                        "nul",
                                        "NaN",
                                        "-Infinity",
                                        "\"\\ud800\"",
                                        "\"\\x\"",
                                        "\"\xff\"",
                                        "\"\xed\xa0\x80\"",
                                        "\"\xe0\x80\x80\"",
                                        "\"\xf0\x80\x80\x80\"",
                                        "\"\xf4\x90\x80\x80\"",
                                        "\"\1\"",
                                        "\"open"};
  if (depth > 6 || chance(45)) {
    adds(b, chance(95) ? scalars[below(23)] : PICK(scalars));
    return;
  }
  int object = chance(50), n = (int)below(4);
  adds(b, object ? "{" : "[");
  for (int i = 0; i < n; i++) {
    if (i) adds(b, chance(98) ? "," : PICK(((const char *const[]){"", ",,", ";"})));
    if (chance(20)) adds(b, PICK(((const char *const[]){" ", "\n", "\t\r\n"})));
    if (object)
      adds(b, PICK(((const char *const[]){"\"a\":", "\"b\" :", "\"\":", "\"k\\u0065y\":"})));
    json_value(b, depth + 1);
  }
  adds(b, chance(98) ? (object ? "}" : "]") : "");
}

static void make_json(buf *b) {
  if (chance(2)) for (int i = (int)below(2000); i > 0; i--) adds(b, chance(50) ? "[" : "{\"a\":");
  json_value(b, 0);
}

static int run_json(const uint8_t *p, size_t n) {
  js_doc d;
  sys_err e = {{0}, 0};
  js_limits lim = {
      .depth = chance(50) ? 8 : 0, .nodes = chance(5) ? 10 : 0, .allow_nan = chance(50)};
  if (!js_parse(&d, (const char *)p, n, &lim, &e)) return 0;
  unsigned sum = 0;
  for (uint32_t i = 0; i < d.n; i++) {
    if (d.v[i].next <= i || d.v[i].next > d.n || d.v[i].at >= n) abort();
    if (d.v[i].type == JS_STR || d.v[i].type == JS_BIG)
      for (uint32_t k = 0; k < d.v[i].n; k++) sum += (unsigned char)d.v[i].u.s[k];
    if (d.v[i].type == JS_STR && js_utf8_check(d.v[i].u.s, d.v[i].n) != d.v[i].n) abort();
    char text[40];
    if (d.v[i].type == JS_REAL && d.v[i].u.d - d.v[i].u.d == 0)
      if (js_read_real(text, (size_t)js_print_real(text, d.v[i].u.d)) != d.v[i].u.d) abort();
  }
  sum += js_get(&d, d.v, "key") != NULL;
  js_free(&d);
  fuzz_sink += sum;
  return 1;
}
const target fuzz_json = {"json", make_json, run_json};

/* ---- safetensors ---- */
static void make_safetensors(buf *b) {
  static const struct {
    const char *name;
    int bits;
  } types[] = {{"F32", 32}, {"F16", 16}, {"BF16", 16},   {"I64", 64}, {"U8", 8},
               {"BOOL", 8}, {"C64", 64}, {"F8_E4M3", 8}, {"F4", 4},   {"F64", 64}};
  static const char *const names[] = {"a",       "layer.0.weight", "\xc3\xa9", "", "x\\ny",
                                      "\\u0041", "__metadata__",   "b",        "z"};
  buf h = {.n = 0};
  uint64_t at = 0;
  int first = 1;
  adds(&h, "{");
  if (chance(30))
    adds(&h,
         PICK(((const char *const[]){"\"__metadata__\":{\"format\":\"pt\"}", "\"__metadata__\":{}",
                                     "\"__metadata__\":{\"a\":1}", "\"__metadata__\":null"}))),
        first = 0;
  for (int i = (int)below(5), k = (int)below(9); i > 0; i--, k = (k + 1) % 9) {
    int dims = (int)below(4), t = (int)below(10), bad = chance(12) ? (int)below(9) : -1;
    uint64_t n = 1;
    if (!first) adds(&h, ",");
    first = 0;
    addf(&h, "\"%s\":{", chance(95) && k == 6 ? "m" : names[k]);
    if (bad == 0) adds(&h, "\"extra\":[1],");
    if (bad != 1) addf(&h, "\"dtype\":\"%s\",", bad == 2 ? "F33" : types[t].name);
    adds(&h, "\"shape\":[");
    for (int d = 0; d < dims; d++) {
      unsigned s = below(4);
      if (bad == 3) addf(&h, "%s%llu", d ? "," : "", (unsigned long long)odd_number());
      else addf(&h, "%s%u", d ? "," : "", s);
      n *= s;
    }
    uint64_t size = n * (uint64_t)types[t].bits / 8;
    if (bad == 4) size += below(3);
    if (bad == 5) at += below(3) * 4;
    if (bad == 6) at -= below(2) && at ? 1 : 0;
    if (bad == 7)
      addf(&h, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)odd_number(),
           (unsigned long long)odd_number());
    else
      addf(&h, "],\"data_offsets\":[%llu,%llu%s]}", (unsigned long long)at,
           (unsigned long long)(at + size), bad == 8 ? ",0" : "");
    at += size;
  }
  adds(&h, "}");
  while (h.n % 8 && chance(95)) adds(&h, " ");
  if (chance(25)) mutate(&h, 1 + (int)below(3)); /* inside the header, whose length stays right */
  addn(b, chance(97) ? h.n : odd_number(), 8);
  add(b, h.p, h.n);
  for (uint64_t i = 0; i < at && i < 2000; i++) addn(b, i, 1);
  if (chance(3)) addn(b, 0, 1);
}

static int run_safetensors(const uint8_t *p, size_t n) {
  fmt_list l = {0};
  sys_err e = {{0}, 0};
  bool ok = st_parse(&l, p, n, &e);
  if (ok) read_all(&l);
  else if (!e.msg[0]) abort();
  fmt_free(&l);
  return ok;
}
const target fuzz_safetensors = {"safetensors", make_safetensors, run_safetensors};

/* ---- npy ---- */
void make_npy(buf *b) {
  static const struct {
    const char *name;
    int bytes;
  } types[] = {{"<f4", 4}, {"|u1", 1}, {"<i8", 8}, {">f8", 8}, {"<c16", 16},
               {"|b1", 1}, {"?", 1},   {"=i2", 2}, {"<u4", 4}, {"<f2", 2},
               {"|O", 8},  {"<V2", 2}, {"<f3", 3}, {"", 1},    {"<U4", 16}};
  buf h = {.n = 0};
  int t = chance(90) ? (int)below(10) : (int)below(15), dims = (int)below(4),
      bad = chance(15) ? (int)below(8) : -1;
  uint64_t n = 1;
  const char *q = chance(90) ? "'" : "\"";
  addf(&h, "{%sdescr%s: ", q, q);
  if (bad == 0) adds(&h, "[('a', '<f4')]"); else addf(&h, "%s%s%s", q, types[t].name, q);
  addf(&h, ", %s%s%s: %s, ", q, bad == 1 ? "fortran" : "fortran_order", q,
       bad == 2     ? "None"
       : chance(50) ? "True"
                    : "False");
  if (bad == 3) adds(&h, "'descr': '<f4', ");
  addf(&h, "%sshape%s: (", q, q);
  for (int d = 0; d < dims; d++) {
    unsigned s = below(5);
    if (bad == 4) addf(&h, "%llu", (unsigned long long)odd_number());
    else addf(&h, "%u%s", s, chance(3) ? "L" : "");
    adds(&h, d + 1 < dims ? ", " : dims == 1 && bad != 5 ? "," : "");
    n *= s;
  }
  adds(&h, bad == 6 ? ")" : chance(80) ? "), }" : ")}");
  while ((h.n + 11) % 64) adds(&h, " ");
  adds(&h, "\n");
  if (chance(20)) mutate(&h, 1 + (int)below(3));
  int version = chance(70) ? 1 : 1 + (int)below(4);
  adds(b, "\x93NUMPY");
  addn(b, (uint64_t)version, 1), addn(b, 0, 1);
  addn(b, chance(97) ? h.n : odd_number(), version == 1 ? 2 : 4);
  add(b, h.p, h.n);
  n *= (uint64_t)types[t].bytes;
  for (uint64_t i = 0; i < n && i < 2000; i++) addn(b, i, 1);
  if (bad == 7) addn(b, 0, 1);
}

static int run_npy(const uint8_t *p, size_t n) {
  fmt_list l = {0};
  sys_err e = {{0}, 0};
  bool ok = npy_parse(&l, "x", 1, p, n, &e);
  if (ok) read_all(&l);
  else if (!e.msg[0]) abort();
  fmt_free(&l);
  return ok;
}
const target fuzz_npy = {"npy", make_npy, run_npy};
