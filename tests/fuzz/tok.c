/* tok.c: target tokenizer: a small tokenizer.json of random parts, then texts through it.
 *
 * The input is the JSON, a zero byte, and the text.  What loads must encode or refuse, with offsets
 * inside the text, one length of all arrays and decoded text that is UTF-8; ids out of the
 * vocabulary must decode to nothing. */
#include "fuzz.h"
#include "tokenizers/tk_int.h"

typedef const char *const Words[];

static void norm(buf *b, int depth) {
  static Words plain = {
      "{\"type\":\"NFC\"}",
      "{\"type\":\"NFD\"}",
      "{\"type\":\"NFKC\"}",
      "{\"type\":\"NFKD\"}",
      "{\"type\":\"Lowercase\"}",
      "{\"type\":\"StripAccents\"}",
      "{\"type\":\"Nmt\"}",
      "{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":true}",
      "{\"type\":\"Prepend\",\"prepend\":\"\xE2\x96\x81\"}",
      "{\"type\":\"ByteLevel\"}",
      "null",
      "{\"type\":\"Nope\"}",
      "{\"type\":\"BertNormalizer\",\"lowercase\":true,\"strip_accents\":null}",
      "{\"type\":\"BertNormalizer\",\"lowercase\":false}",
      "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xE2\x96\x81\"}",
      "{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},\"content\":\"x\"}",
      "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"\"}",
      "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"EAAAAAAEAAABAQAAAgAAgAMAAABhYgBj\"}"};
  static Words regex = {"a*",
                        "[aeiou]",
                        " {2,}",
                        "\\\\s+",
                        "(?<=a)b",
                        "x?",
                        "^a|b$",
                        "\\\\p{L}(?!b)",
                        "[^\\\\x00-\\\\x7f]",
                        "(a|b)+?c",
                        "(",
                        "a{3,1}",
                        "\\\\p{Han}+"};
  if (depth < 3 && chance(30)) {
    int n = (int)below(4);
    adds(b, "{\"type\":\"Sequence\",\"normalizers\":[");
    for (int i = 0; i < n; i++) { if (i) adds(b, ","); norm(b, depth + 1); }
    adds(b, "]}");
  } else if (chance(20))
    addf(b, "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"%s\"},\"content\":\"%s\"}", PICK(regex),
         chance(50) ? "" : "y\xC3\xA9");
  else if (chance(12)) { /* a random double array and strings, in base64 */
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned units = below(60), n;
    uint8_t raw[400];
    for (n = 0; n < units * 4 + 20; n++) raw[n + 4] = (uint8_t)rnd();
    for (unsigned u = 0; u < units && chance(95); u++) {     /* units that lead somewhere near */
      uint32_t x = (below(64) << 10) | (below(2) << 8) |
                   (chance(60) ? "abc \xC3\xA9"[below(6)] & 0xFF : 0) | (chance(20) ? 1u << 31 : 0);
      memcpy(raw + 4 + u * 4, &x, 4);
    }
    uint32_t size = chance(90) ? units * 4 : (uint32_t)odd_number();
    memcpy(raw, &size, 4);
    memcpy(raw + 4 + units * 4, "ab\0c\0\xC3\xA9\0 \0xyzabcdefgh", 20);
    n += 4;
    adds(b, "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"");
    for (unsigned i = 0; i + 3 <= n; i += 3) {
      uint32_t v = (uint32_t)raw[i] << 16 | (uint32_t)raw[i + 1] << 8 | raw[i + 2];
      for (int k = 18; k >= 0; k -= 6) add(b, &digits[v >> k & 63], 1);
    }
    adds(b, "\"}");
  } else adds(b, PICK(plain));
}

/* A pattern put together from pieces, mostly balanced. */
static void pattern(buf *b, int depth) {
  static Words atoms = {"a",
                        "b",
                        " ",
                        ".",
                        "\\\\p{L}",
                        "\\\\p{N}",
                        "\\\\P{Lu}",
                        "[a-c]",
                        "[^\\\\s\\\\p{L}]",
                        "\\\\s",
                        "\\\\S",
                        "\\\\w",
                        "\\\\d",
                        "[\\\\r\\\\n]",
                        "\\\\b",
                        "^",
                        "$",
                        "\\\\A",
                        "\\\\z",
                        "[[:alpha:]]",
                        "[a&&[^b]]",
                        "\xC3\xA9",
                        "[\xC3\xA0-\xC3\xBF]",
                        "\\\\u00e9",
                        "\\\\x{41}",
                        "[]a]",
                        "[a-",
                        "\\\\q",
                        "\\\\p{Nope}",
                        "\\\\p{Han}"};
  static Words reps = {"*",   "+",     "?",    "*?",   "+?",  "??",     "*+",      "++", "?+",
                       "{2}", "{1,3}", "{,2}", "{2,}", "{0}", "{1000}", "{99999}", "{",  "{a}"};
  static Words opens = {"(",   "(?:",  "(?=",  "(?!",   "(?<=", "(?<!",
                        "(?>", "(?i:", "(?i)", "(?-i:", "(?<x>"};
  int n = 1 + (int)below(4);
  for (int i = 0; i < n; i++) {
    if (i && chance(25)) adds(b, "|");
    if (depth < 4 && chance(25)) {
      adds(b, PICK(opens));
      pattern(b, depth + 1);
      if (chance(98)) adds(b, ")");
    } else adds(b, PICK(atoms));
    if (chance(40)) adds(b, PICK(reps));
  }
}

static void pre(buf *b, int depth) {
  static Words plain = {
      "{\"type\":\"BertPreTokenizer\"}",
      "{\"type\":\"Whitespace\"}",
      "{\"type\":\"WhitespaceSplit\"}",
      "{\"type\":\"Digits\",\"individual_digits\":true}",
      "{\"type\":\"Digits\"}",
      "{\"type\":\"Punctuation\",\"behavior\":\"MergedWithNext\"}",
      "{\"type\":\"Metaspace\",\"prepend_scheme\":\"first\"}",
      "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"add_prefix_space\":true,\"split\":false}",
      "{\"type\":\"CharDelimiterSplit\",\"delimiter\":\"b\"}",
      "{\"type\":\"FixedLength\",\"length\":2}",
      "{\"type\":\"ByteLevel\"}",
      "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}",
      "null"};
  static Words how = {"Removed",        "Isolated",   "MergedWithPrevious",
                      "MergedWithNext", "Contiguous", "Else"};
  if (depth < 3 && chance(35)) {
    int n = (int)below(4);
    adds(b, "{\"type\":\"Sequence\",\"pretokenizers\":[");
    for (int i = 0; i < n; i++) { if (i) adds(b, ","); pre(b, depth + 1); }
    adds(b, "]}");
  } else if (chance(45)) {
    addf(b, "{\"type\":\"Split\",\"invert\":%s,\"behavior\":\"%s\",\"pattern\":{\"Regex\":\"",
         chance(30) ? "true" : "false", how[below(chance(95) ? 5 : 6)]);
    pattern(b, 0);
    adds(b, "\"}}");
  } else adds(b, PICK(plain));
}

static Words PIECES = {"a",
                       "b",
                       "c",
                       "ab",
                       "bc",
                       "abc",
                       " ",
                       "##a",
                       "##bc",
                       "\xE2\x96\x81",
                       "\xE2\x96\x81"
                       "ab",
                       "\xC3\xA9",
                       "\xC4\xA0",
                       "\xC4\xA0"
                       "a",
                       "<0xC3>",
                       "<0xA9>",
                       "<unk>",
                       "[UNK]",
                       "1",
                       "23",
                       ".",
                       "a</w>",
                       "\xE5\xBE\xAE",
                       "\xF0\x9F\x98\x80",
                       ""};

static void model(buf *b) {
  int n = 2 + (int)below(24), from = (int)below(3);
  static Words extra = {"\"unk_token\":\"<unk>\",",
                        "\"unk_token\":\"[UNK]\",\"fuse_unk\":true,",
                        "\"byte_fallback\":true,\"unk_token\":\"<unk>\",",
                        "\"ignore_merges\":true,",
                        "\"continuing_subword_prefix\":\"##\",",
                        "\"end_of_word_suffix\":\"</w>\",",
                        "\"max_input_chars_per_word\":3,\"unk_token\":\"[UNK]\",",
                        "",
                        "\"dropout\":0.5,"};
  switch (below(4)) {
    case 0: addf(b, "{\"type\":\"BPE\",%s\"vocab\":{", extra[below(chance(97) ? 8 : 9)]); break;
    case 1: addf(b, "{\"type\":\"WordPiece\",%s\"vocab\":{", PICK(extra)); break;
    case 2: addf(b, "{\"type\":\"WordLevel\",%s\"vocab\":{", PICK(extra)); break;
    default:
      addf(b, "{\"type\":\"Unigram\",\"unk_id\":%d,\"byte_fallback\":%s,\"vocab\":[",
           chance(95) ? (int)below((unsigned)n) : -1, chance(40) ? "true" : "false");
      for (int i = 0; i < n; i++)
        addf(b, "%s[\"%s\",-%u.%u]", i ? "," : "", PIECES[(i + from) % 25], below(12), below(1000));
      adds(b, "]}");
      return;
  }
  for (int i = 0; i < n; i++)
    addf(b, "%s\"%s\":%d", i ? "," : "", PIECES[(i * (chance(95) ? 1 : 2) + from) % 25],
         chance(98) ? i : (int)(odd_number() & 0xFFFFFF));
  adds(b, "}");
  if (chance(60))
    adds(b, chance(60)   ? ",\"merges\":[\"a b\",\"b c\",\"ab c\",\"a bc\"]"
            : chance(50) ? ",\"merges\":[[\"a\",\"b\"]]"
                         : ",\"merges\":[]");
  adds(b, "}");
}

static void rest(buf *b) {
  static Words post = {
      "{\"type\":\"ByteLevel\",\"trim_offsets\":true,\"add_prefix_space\":true}",
      "{\"type\":\"BertProcessing\",\"sep\":[\"a\",1],\"cls\":[\"b\",0]}",
      "{\"type\":\"RobertaProcessing\",\"sep\":[\"a\",1],\"cls\":[\"b\",0],\"trim_offsets\":true,"
      "\"add_prefix_space\":true}",
      "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\",\"type_id\":0}}"
      ",{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[{\"Sequence\":{\"id\":\"B\","
      "\"type_id\":1}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"special_tokens\":{\"x\":{"
      "\"id\":\"x\",\"ids\":[1,2],\"tokens\":[\"x\"]}}}",
      "{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\",\"trim_offsets\":true},{"
      "\"type\":\"BertProcessing\",\"sep\":[\"a\",1],\"cls\":[\"b\",0]}]}",
      "null"};
  static Words dec = {"{\"type\":\"ByteLevel\"}",
                      "{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}",
                      "{\"type\":\"Metaspace\",\"prepend_scheme\":\"always\"}",
                      "{\"type\":\"BPEDecoder\",\"suffix\":\"</w>\"}",
                      "{\"type\":\"CTC\",\"pad_token\":\"a\",\"cleanup\":true}",
                      "{\"type\":\"Fuse\"}",
                      "{\"type\":\"ByteFallback\"}",
                      "{\"type\":\"Strip\",\"content\":\"a\",\"start\":1,\"stop\":1}",
                      "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a*\"},\"content\":\"q\"}",
                      "{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"\"}"};
  if (chance(60)) addf(b, ",\"post_processor\":%s", PICK(post));
  if (chance(30)) {
    int n = (int)below(4);
    adds(b, ",\"decoder\":{\"type\":\"Sequence\",\"decoders\":[");
    for (int i = 0; i < n; i++) addf(b, "%s%s", i ? "," : "", PICK(dec));
    adds(b, "]}");
  } else if (chance(80)) addf(b, ",\"decoder\":%s", PICK(dec));
  if (chance(50)) {
    int n = (int)below(4);
    adds(b, ",\"added_tokens\":[");
    for (int i = 0; i < n; i++)
      addf(b,
           "%s{\"id\":%u,\"content\":\"%s\",\"special\":%s,\"lstrip\":%s,\"rstrip\":%s,\"single_"
           "word\":%s,\"normalized\":%s}",
           i ? "," : "", 20 + below(20),
           PICK(((Words){"<s>", "ab", "  ", "A\xCC\x81", " x ", "c", "<unk>"})),
           chance(50) ? "true" : "false", chance(30) ? "true" : "false",
           chance(30) ? "true" : "false", chance(30) ? "true" : "false",
           chance(50) ? "true" : "false");
    adds(b, "]");
  }
  if (chance(20))
    addf(b, ",\"truncation\":{\"max_length\":%u,\"strategy\":\"%s\"}", below(9),
         PICK(((Words){"LongestFirst", "OnlyFirst", "OnlySecond"})));
  if (chance(20))
    addf(b,
         ",\"padding\":{\"strategy\":{\"Fixed\":%u},\"pad_to_multiple_of\":%u,\"pad_id\":3,"
         "\"direction\":\"%s\"}",
         below(20), below(5), chance(50) ? "Left" : "Right");
}

static void text(buf *b, int n) {
  static Words bits = {"a",
                       "b",
                       "ab",
                       "abc",
                       " ",
                       "  ",
                       "\t",
                       "\n",
                       "A",
                       "\xC3\xA9",
                       "e\xCC\x81",
                       "\xCC\xA3\xCC\x87",
                       "\xE5\xBE\xAE",
                       "\xF0\x9F\x98\x80",
                       "\xE2\x80\x8D",
                       "1",
                       "23",
                       ".",
                       ",",
                       "<s>",
                       "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8",
                       "\xEA\xB0\x81",
                       "\xC4\xB0",
                       "\xEF\xAC\x81",
                       "\xC2\xA0",
                       "\xE3\x80\x80",
                       "\xE2\x96\x81",
                       "\x01",
                       "\xEF\xBF\xBD",
                       "it's",
                       "\xF0\x9F\x87\xA9\xF0\x9F\x87\xAA",
                       "\xE0\xA4\x95\xE0\xA5\x8D",
                       "\xFF",
                       "\xC3"};
  for (; n > 0; n--) adds(b, bits[below(chance(99) ? 32 : 34)]);
}

static void make_tokenizer(buf *b) {
  adds(b, "{\"model\":");
  model(b);
  if (chance(60)) { adds(b, ",\"normalizer\":"); norm(b, 0); }
  if (chance(70)) { adds(b, ",\"pre_tokenizer\":"); pre(b, 0); }
  rest(b);
  adds(b, "}");
  add(b, "", 1);
  text(b, (int)below(chance(90) ? 12 : 120));
}

static void check(TkTok *t, const TkEnc *e, size_t n, bool bytes) {
  unsigned sum = 0;
  for (size_t i = 0; i < e->n; i++) {
    if (e->offsets[i].a > e->offsets[i].b || e->offsets[i].b > n) abort();
    sum += e->ids[i] + e->types[i] + (unsigned)e->words[i] + (unsigned)e->seqs[i] +
           e->attention[i] + e->special[i] + bytes;
  }
  fuzz_sink += sum;
}

static int run_tokenizer(const uint8_t *p, size_t n) {
  const uint8_t *zero = memchr(p, 0, n);
  size_t json = zero ? (size_t)(zero - p) : n;
  TkErr e = {.set = false};
  TkTok *t = tk_load((const char *)p, json, "fuzz", &e);
  if (!t) { if (!e.set) abort(); return 0; }
  TkStr s = {(const char *)p + json + (zero != NULL), n - json - (zero != NULL)},
        half = {s.s, s.n / 2}, other = {"ab a", 4};
  TkEnc enc = {0};
  uint32_t odd[4] = {0, 1, 0xFFFFFFFF, 1u << 25};
  for (int pass = 0; pass < 4; pass++) {
    bool bytes = pass & 1;
    TkTrunc cut = {
        .on = true, .max_length = below(6), .left = pass & 1, .strategy = (TkStrategy)below(3)};
    const TkStr *one = pass == 2 ? &half : &s;
    e.set = false;
    if (!tk_encode(t, one, pass == 1 ? &other : NULL, pass != 3, pass == 2 ? &cut : tk_trunc(t),
                   bytes, &enc, &e)) {
      if (!e.set) abort();
      continue;
    }
    check(t, &enc, one->n > 4 ? one->n : 4, bytes);
    TkPad pad = *tk_padding(t);
    if (pad.on && !tk_pad(&enc, 1, &pad, &e)) abort();
    for (int k = 0; k < 2; k++) {
      size_t len;
      char *d = k ? tk_decode(t, odd, 4, false, &len, &e)
                  : tk_decode(t, enc.ids, enc.n, pass & 1, &len, &e);
      if (!d && !e.set) abort();
      if (d && tk_utf8_bad(d, len) != len) abort();
      mt_free(d);
    }
  }
  fuzz_sink += (unsigned)tk_vocab_size(t, true) + (unsigned)tk_id_limit(t);
  tk_enc_free(&enc);
  tk_free(t);
  return 1;
}
const target fuzz_tokenizer = {"tokenizer", make_tokenizer, run_tokenizer};
