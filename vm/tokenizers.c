/* tokenizers.c: the C part of the Lua module `tokenizers` (stdlib/tokenizers/init.lua adds loading
 * by folder).
 *
 * Invariants.  A Tokenizer and a batch of encodings are userdata that own their C memory and free
 * it in __gc, so a Lua error in between loses nothing.  encode, encode_batch and decode follow the
 * `tokenizers` package (settings live in the tokenizer, ids are plain lists); calling a tokenizer
 * follows transformers (settings come with the call, results are tensors of shape batch x length).
 */
#include "tokenizers/tk.h"
#include "moth.h"
#include "vm.h"
#include <string.h>


#define TOKENIZER "tokenizers.Tokenizer"
#define ENCODING "tokenizers.Encoding"
#define BATCH "tokenizers.batch"
typedef struct { TkTok *t; TkTrunc trunc; TkPad pad; } Tok;
typedef struct {
  TkEnc enc;
} Enc; /* uservalue 1: its tokenizer, 2: lists already made */
typedef struct { TkEnc *enc; size_t n; } Batch;

static Tok *totok(lua_State *L) {
  Tok *t = luaL_checkudata(L, 1, TOKENIZER);
  if (!t->t) luaL_error(L, "tokenizer is closed");
  return t;
}

static int tok_gc(lua_State *L) {
  Tok *t = luaL_checkudata(L, 1, TOKENIZER);
  tk_free(t->t);
  t->t = NULL;
  return 0;
}

static int enc_gc(lua_State *L) {
  Enc *e = luaL_checkudata(L, 1, ENCODING);
  tk_enc_free(&e->enc);
  return 0;
}

static int batch_gc(lua_State *L) {
  Batch *b = luaL_checkudata(L, 1, BATCH);
  for (size_t i = 0; i < b->n; i++) tk_enc_free(&b->enc[i]);
  mt_free(b->enc);
  b->enc = NULL;
  b->n = 0;
  return 0;
}

/* ---- loading ---- */
static Tok *newtok(lua_State *L) {
  Tok *t = lua_newuserdatauv(L, sizeof *t, 0);
  memset(t, 0, sizeof *t);
  luaL_setmetatable(L, TOKENIZER);
  return t;
}

static int loaded(lua_State *L, Tok *t, const TkErr *e) {
  if (!t->t) return luaL_error(L, "tokenizers: %s", e->msg);
  t->trunc = *tk_trunc(t->t);
  t->pad = *tk_padding(t->t);
  return 1;
}

static int from_file(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  TkErr e = {0};
  Tok *t = newtok(L);
  t->t = tk_load_file(path, &e);
  return loaded(L, t, &e);
}

static int from_string(lua_State *L) {
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n), *name = luaL_optstring(L, 2, "tokenizer.json");
  TkErr e = {0};
  Tok *t = newtok(L);
  t->t = tk_load(s, n, name, &e);
  return loaded(L, t, &e);
}

/* ---- options: a table at index i (or none); every key must be known ---- */
static void known_options(lua_State *L, int i, const char *fn, const char *const *names) {
  if (!i) return;
  for (lua_pushnil(L); lua_next(L, i); lua_pop(L, 1)) {
    const char *k = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
    int ok = 0;
    for (int j = 0; names[j] && !ok; j++) ok = !strcmp(names[j], k);
    if (!ok) luaL_error(L, "%s: unknown keyword '%s'", fn, k);
  }
}

static int field(lua_State *L, int i,
                 const char *name) { /* pushes the field; LUA_TNIL when not given */
  if (!i) { lua_pushnil(L); return LUA_TNIL; }
  int t = lua_getfield(L, i, name);
  if (t != LUA_TNIL && vm_isnone(L, -1)) { lua_pop(L, 1); lua_pushnil(L); t = LUA_TNIL; }
  return t;
}

static bool opt_bool(lua_State *L, int i, const char *name, bool missing) {
  bool v = field(L, i, name) == LUA_TNIL ? missing : lua_toboolean(L, -1);
  lua_pop(L, 1);
  return v;
}

static size_t opt_size(lua_State *L, int i, const char *fn, const char *name, size_t missing) {
  int64_t v = (int64_t)missing;
  if (field(L, i, name) != LUA_TNIL && (!vm_toint(L, -1, &v) || v < 0 || v > 1000000000))
    luaL_error(L, "%s: %s: expected a whole number >= 0, got %s", fn, name,
               luaL_tolstring(L, -1, NULL));
  lua_pop(L, 1);
  return (size_t)v;
}

static bool opt_left(lua_State *L, int i, const char *fn, const char *name, bool missing) {
  if (field(L, i, name) == LUA_TNIL) { lua_pop(L, 1); return missing; }
  const char *s = lua_tostring(L, -1);
  bool left = s && !strcmp(s, "left");
  if (!s || (!left && strcmp(s, "right")))
    luaL_error(L, "%s: %s: expected 'left' or 'right'", fn, name);
  lua_pop(L, 1);
  return left;
}

static TkStrategy strategy(lua_State *L, const char *fn, const char *s) {
  static const char *const names[] = {"longest_first", "only_first", "only_second", NULL};
  for (int k = 0; names[k]; k++) if (s && !strcmp(names[k], s)) return (TkStrategy)k;
  luaL_error(L, "%s: truncation: expected 'longest_first', 'only_first' or 'only_second', got '%s'",
             fn, s ? s : "?");
  return TK_LONGEST_FIRST;
}

/* A keyword table: a table without metatable, whose first key is a string (empty counts). */
static bool is_options(lua_State *L, int i) {
  if (lua_type(L, i) != LUA_TTABLE || lua_getmetatable(L, i)) return false;
  return lua_rawlen(L, i) == 0;
}

/* ---- encodings as Lua values ---- */
static int enc_list(lua_State *L, const Enc *e,
                    const char *k) { /* pushes the list called k; false: no such field */
  const TkEnc *x = &e->enc;
  lua_Integer n = (lua_Integer)x->n;
#define LIST(push) do { lua_createtable(L, (int)n, 0); \
    for (lua_Integer i = 0; i < n; i++) { push; lua_rawseti(L, -2, i + 1); } return 1; } while (0)
  if (!strcmp(k, "ids")) LIST(lua_pushinteger(L, x->ids[i]));
  if (!strcmp(k, "type_ids")) LIST(lua_pushinteger(L, x->types[i]));
  if (!strcmp(k, "attention_mask")) LIST(lua_pushinteger(L, x->attention[i]));
  if (!strcmp(k, "special_tokens_mask")) LIST(lua_pushinteger(L, x->special[i]));
  if (!strcmp(k, "word_ids"))
    LIST(x->words[i] < 0 ? vm_pushnone(L) : lua_pushinteger(L, x->words[i]));
  if (!strcmp(k, "sequence_ids"))
    LIST(x->seqs[i] < 0 ? vm_pushnone(L) : lua_pushinteger(L, x->seqs[i]));
  if (!strcmp(k, "offsets"))
    LIST(lua_createtable(L, 2, 0); lua_pushinteger(L, x->offsets[i].a); lua_rawseti(L, -2, 1);
         lua_pushinteger(L, x->offsets[i].b); lua_rawseti(L, -2, 2));
  if (!strcmp(k, "tokens")) {
    lua_getiuservalue(L, 1, 1);
    const Tok *t = lua_touserdata(L, -1);
    TkStr s = {0};
    LIST(tk_id_to_token(t->t, x->ids[i], &s) ? lua_pushlstring(L, s.s, s.n)
                                             : lua_pushliteral(L, ""));
  }
  return 0;
}

static int enc_index(lua_State *L) {
  Enc *e = luaL_checkudata(L, 1, ENCODING);
  const char *k = luaL_checkstring(L, 2);
  lua_settop(L, 2);
  if (lua_getiuservalue(L, 1, 2) == LUA_TNIL) {
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, 2);
    lua_replace(L, 3);
  }
  if (lua_getfield(L, 3, k) != LUA_TNIL) return 1;
  if (!enc_list(L, e, k)) return luaL_error(L, "an encoding has no field '%s'", k);
  lua_pushvalue(L, -1);
  lua_setfield(L, 3, k);
  return 1;
}

static int enc_len(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)((Enc *)luaL_checkudata(L, 1, ENCODING))->enc.n);
  return 1;
}

static int enc_tostring(lua_State *L) {
  lua_pushfstring(L,
                  "Encoding(num_tokens=%I, attributes=[ids, type_ids, tokens, offsets, "
                  "attention_mask, special_tokens_mask, "
                  "word_ids, sequence_ids])",
                  (LUAI_UACINT)((Enc *)luaL_checkudata(L, 1, ENCODING))->enc.n);
  return 1;
}

static Enc *newenc(lua_State *L, int tok) {
  Enc *e = lua_newuserdatauv(L, sizeof *e, 2);
  memset(e, 0, sizeof *e);
  luaL_setmetatable(L, ENCODING);
  lua_pushvalue(L, tok);
  lua_setiuservalue(L, -2, 1);
  return e;
}

/* ---- encode ---- */
static TkStr text_at(lua_State *L, int i, const char *fn, lua_Integer item) {
  TkStr s = {0};
  if (lua_type(L, i) == LUA_TSTRING) s.s = lua_tolstring(L, i, &s.n);
  else if (item)
    luaL_error(L, "%s: text %d: expected a string, got %s", fn, (int)item, luaL_typename(L, i));
  else luaL_error(L, "%s: expected a string, got %s", fn, luaL_typename(L, i));
  return s;
}

typedef struct { bool special; TkTrunc trunc; } How;

static void encode_into(lua_State *L, Tok *t, TkStr a, const TkStr *b, const How *h, TkEnc *out,
                        const char *fn, lua_Integer item) {
  TkErr e = {0};
  if (tk_encode(t->t, &a, b, h->special, &h->trunc, false, out, &e)) return;
  if (item) luaL_error(L, "%s: text %d: %s", fn, (int)item, e.msg);
  luaL_error(L, "%s: %s", fn, e.msg);
}

static const char *const encode_names[] = {"add_special_tokens", "pair", NULL};

static int tok_encode(lua_State *L) { /* (text [, pair] [, {add_special_tokens=}]) */
  Tok *t = totok(L);
  int top = lua_gettop(L), opt = top > 2 && is_options(L, top) ? top : 0;
  if (top - (opt != 0) > 3)
    return luaL_error(L, "encode: got %d arguments, expected (text [, pair] [, options])", top - 1);
  lua_settop(L, top);
  known_options(L, opt, "encode", encode_names);
  int pair = 0;
  if (opt != 3 && top >= 3 && !lua_isnil(L, 3)) pair = 3;
  else if (field(L, opt, "pair") != LUA_TNIL) pair = lua_gettop(L);
  How h = {opt_bool(L, opt, "add_special_tokens", true), t->trunc};
  TkStr a = text_at(L, 2, "encode", 0), b = {0};
  if (pair) b = text_at(L, pair, "encode", 0);
  Enc *x = newenc(L, 1);
  encode_into(L, t, a, pair ? &b : NULL, &h, &x->enc, "encode", 0);
  TkErr e = {0};
  if (t->pad.on && !tk_pad(&x->enc, 1, &t->pad, &e)) return luaL_error(L, "encode: %s", e.msg);
  return 1;
}

static Batch *newbatch(lua_State *L, size_t n) {
  Batch *b = lua_newuserdatauv(L, sizeof *b, 0);
  b->enc = NULL;
  b->n = 0;
  luaL_setmetatable(L, BATCH);
  if (!(b->enc = mt_calloc((n + 1) * sizeof *b->enc)))
    luaL_error(L, "tokenizer: not enough memory");
  b->n = n;
  return b;
}

/* Encodes the list at index i: strings, or pairs {a, b}; seconds may be a list of second texts (0:
 * none). */
static Batch *encode_list(lua_State *L, Tok *t, int i, int seconds, const How *h, const char *fn) {
  lua_Integer n = (lua_Integer)lua_rawlen(L, i);
  if (seconds && (lua_Integer)lua_rawlen(L, seconds) != n)
    luaL_error(L, "%s: %d texts but %d second texts", fn, (int)n, (int)lua_rawlen(L, seconds));
  Batch *x = newbatch(L, (size_t)n);
  for (lua_Integer k = 1; k <= n; k++) {
    int top = lua_gettop(L);
    bool pair = lua_rawgeti(L, i, k) == LUA_TTABLE || seconds;
    if (seconds) lua_rawgeti(L, seconds, k);
    else if (pair) {
      if (lua_rawlen(L, -1) != 2) luaL_error(L, "%s: text %d: a pair has two texts", fn, (int)k);
      lua_rawgeti(L, -1, 1);
      lua_rawgeti(L, -2, 2);
    }
    TkStr a = text_at(L, pair ? -2 : -1, fn, k), b = {0};
    if (pair) b = text_at(L, -1, fn, k);
    encode_into(L, t, a, pair ? &b : NULL, h, &x->enc[k - 1], fn, k);
    lua_settop(L, top);
  }
  return x;
}

static int tok_encode_batch(lua_State *L) {
  Tok *t = totok(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  int opt = lua_gettop(L) > 2 && is_options(L, 3) ? 3 : 0;
  known_options(L, opt, "encode_batch", encode_names);
  How h = {opt_bool(L, opt, "add_special_tokens", true), t->trunc};
  Batch *x = encode_list(L, t, 2, 0, &h, "encode_batch");
  TkErr e = {0};
  if (t->pad.on && !tk_pad(x->enc, x->n, &t->pad, &e))
    return luaL_error(L, "encode_batch: %s", e.msg);
  lua_createtable(L, (int)x->n, 0);
  for (size_t k = 0; k < x->n; k++) {
    Enc *y = newenc(L, 1);
    y->enc = x->enc[k];
    x->enc[k] = (TkEnc){0};
    lua_rawseti(L, -2, (lua_Integer)k + 1);
  }
  return 1;
}

/* ---- calling: transformers' way ---- */
static const char *const call_names[] = {"padding",
                                         "truncation",
                                         "max_length",
                                         "add_special_tokens",
                                         "return_tensors",
                                         "padding_side",
                                         "truncation_side",
                                         "pad_to_multiple_of",
                                         "return_offsets_mapping",
                                         "return_special_tokens_mask",
                                         "return_token_type_ids",
                                         "return_attention_mask",
                                         "pair",
                                         "return_length",
                                         NULL};

static TkTrunc call_trunc(lua_State *L, int opt, const char *fn, size_t max) {
  TkTrunc t = {.left = opt_left(L, opt, fn, "truncation_side", false), .max_length = max};
  int type = field(L, opt, "truncation");
  if (type == LUA_TSTRING) { t.on = true; t.strategy = strategy(L, fn, lua_tostring(L, -1)); }
  else t.on = type != LUA_TNIL && lua_toboolean(L, -1);
  lua_pop(L, 1);
  if (t.on && !max) luaL_error(L, "%s: truncation needs max_length", fn);
  return t;
}

static TkPad call_pad(lua_State *L, Tok *t, int opt, const char *fn, size_t max) {
  TkPad p = {.left = opt_left(L, opt, fn, "padding_side", t->pad.left),
             .id = t->pad.id,
             .type = t->pad.type};
  int type = field(L, opt, "padding");
  const char *s = type == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
  if (s && strcmp(s, "longest") && strcmp(s, "max_length") && strcmp(s, "do_not_pad"))
    luaL_error(L, "%s: padding: expected true, 'longest', 'max_length' or 'do_not_pad', got '%s'",
               fn, s);
  p.on = type != LUA_TNIL && lua_toboolean(L, -1) && !(s && !strcmp(s, "do_not_pad"));
  if (s && !strcmp(s, "max_length")) {
    if (!max) luaL_error(L, "%s: padding 'max_length' needs max_length", fn);
    p.fixed = max;
  }
  lua_pop(L, 1);
  p.multiple = opt_size(L, opt, fn, "pad_to_multiple_of", 0);
  return p;
}

typedef int64_t (*Getter)(const TkEnc *e, size_t i, int part);
static int64_t get_id(const TkEnc *e, size_t i, int part) { return e->ids[i]; }
static int64_t get_type(const TkEnc *e, size_t i, int part) { return e->types[i]; }
static int64_t get_mask(const TkEnc *e, size_t i, int part) { return e->attention[i]; }
static int64_t get_special(const TkEnc *e, size_t i, int part) { return e->special[i]; }
static int64_t get_offset(const TkEnc *e, size_t i, int part) {
  return part ? e->offsets[i].b : e->offsets[i].a;
}

static void set_lists(lua_State *L, const Batch *x, const char *name, Getter f, int parts) {
  lua_createtable(L, (int)x->n, 0);
  for (size_t k = 0; k < x->n; k++) {
    lua_createtable(L, (int)x->enc[k].n, 0);
    for (size_t i = 0; i < x->enc[k].n; i++) {
      if (parts == 1) lua_pushinteger(L, f(&x->enc[k], i, 0));
      else {
        lua_createtable(L, 2, 0);
        for (int p = 0; p < 2; p++) {
          lua_pushinteger(L, f(&x->enc[k], i, p));
          lua_rawseti(L, -2, p + 1);
        }
      }
      lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_rawseti(L, -2, (lua_Integer)k + 1);
  }
  lua_setfield(L, -2, name);
}

static void set_tensor(lua_State *L, const Batch *x, const char *name, Getter f, int parts) {
  Ctx *c = vm_ctx(L);
  Scope s = mt_open(c);
  int64_t len = x->n ? (int64_t)x->enc[0].n : 0, size[3] = {(int64_t)x->n, len, parts};
  Tensor *t = mt_new(c, mt_il(size, parts > 1 ? 3 : 2), MT_int64, MT_CPU);
  int64_t *p = t ? mt_data(t) : NULL;
  for (size_t k = 0; p && k < x->n; k++)
    for (size_t i = 0; i < x->enc[k].n; i++)
      for (int part = 0; part < parts; part++) *p++ = f(&x->enc[k], i, part);
  if (t) vm_pushtensor(L, t);
  vm_leave(L, c, s, 1);
  lua_setfield(L, -2, name);
}

static void set_all(lua_State *L, const Batch *x, int opt, bool tensors) {
  static const struct { const char *key, *want; bool missing; Getter f; int parts;
  } K[] = {{"input_ids", "input_ids", true, get_id, 1},
           {"token_type_ids", "return_token_type_ids", true, get_type, 1},
           {"attention_mask", "return_attention_mask", true, get_mask, 1},
           {"special_tokens_mask", "return_special_tokens_mask", false, get_special, 1},
           {"offset_mapping", "return_offsets_mapping", false, get_offset, 2}};
  lua_createtable(L, 0, 3);
  for (size_t k = 0; k < sizeof K / sizeof *K; k++) {
    if (!opt_bool(L, opt, K[k].want, K[k].missing)) continue;
    if (tensors) set_tensor(L, x, K[k].key, K[k].f, K[k].parts);
    else set_lists(L, x, K[k].key, K[k].f, K[k].parts);
  }
}

static int tok_call(lua_State *L) { /* tokenizer(texts [, pairs] [, options]) */
  static const char fn[] = "tokenizer";
  Tok *t = totok(L);
  int top = lua_gettop(L), opt = top > 2 && is_options(L, top) ? top : 0;
  if (top < 2 || top - (opt != 0) > 3)
    return luaL_error(L, "tokenizer: expected (texts [, pairs] [, options])");
  known_options(L, opt, fn, call_names);
  int second = opt != 3 && top >= 3 && !lua_isnil(L, 3) ? 3 : 0;
  if (!second && field(L, opt, "pair") != LUA_TNIL) second = lua_gettop(L);
  size_t max = opt_size(L, opt, fn, "max_length", 0);
  How h = {opt_bool(L, opt, "add_special_tokens", true), call_trunc(L, opt, fn, max)};
  TkPad pad = call_pad(L, t, opt, fn, max);
  bool tensors = opt_bool(L, opt, "return_tensors", true);
  int list = 2;
  if (lua_type(L, 2) == LUA_TSTRING) {                        /* one text: a batch of one */
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, 2);
    lua_rawseti(L, -2, 1);
    list = lua_gettop(L);
    if (second) {
      lua_createtable(L, 1, 0);
      lua_pushvalue(L, second);
      lua_rawseti(L, -2, 1);
      second = lua_gettop(L);
    }
  } else if (lua_type(L, 2) != LUA_TTABLE)
    return luaL_error(L, "tokenizer: expected a text or a list of texts, got %s",
                      luaL_typename(L, 2));
  if (second && lua_type(L, second) != LUA_TTABLE)
    return luaL_error(L, "tokenizer: expected a list of second texts");
  Batch *x = encode_list(L, t, list, second, &h, fn);
  if (!x->n) return luaL_error(L, "tokenizer: the batch is empty");
  TkErr e = {0};
  if (pad.on && !tk_pad(x->enc, x->n, &pad, &e)) return luaL_error(L, "tokenizer: %s", e.msg);
  for (size_t k = 1; tensors && k < x->n; k++)
    if (x->enc[k].n != x->enc[0].n)
      return luaL_error(L,
                        "tokenizer: texts 1 and %d have %d and %d tokens; pass padding = true (or "
                        "return_tensors = false)",
                        (int)k + 1, (int)x->enc[0].n, (int)x->enc[k].n);
  set_all(L, x, opt, tensors);
  return 1;
}

/* ---- decode and look-ups ---- */
static uint32_t *ids_at(lua_State *L, int i,
                        size_t *n) { /* scratch memory as a userdata on the stack */
  Tensor *x = vm_totensor(L, i);
  int64_t v;
  if (x && (x->ndim > 1 || !mt_is_int(x->dtype)))
    luaL_error(L, "decode: expected a list of ids or a 1-D integer tensor");
  if (!x && lua_type(L, i) != LUA_TTABLE)
    luaL_error(L, "decode: expected a list of ids or a 1-D integer tensor, got %s",
               luaL_typename(L, i));
  *n = x ? (size_t)x->numel : lua_rawlen(L, i);
  uint32_t *ids = lua_newuserdatauv(L, (*n + 1) * sizeof *ids, 0);
  for (size_t k = 0; k < *n; k++) {
    bool ok = true;
    if (x)
      v = mt_sint(mt_load((char *)mt_data(x) + (x->ndim ? x->stride[0] : 0) * (int64_t)k *
                                                   (int64_t)mt_dsize(x->dtype),
                          x->dtype));
    else { lua_rawgeti(L, i, (lua_Integer)k + 1); ok = vm_toint(L, -1, &v); lua_pop(L, 1); }
    if (!ok || v < 0 || v > UINT32_MAX)
      luaL_error(L, "decode: id %d is not a whole number >= 0", (int)k + 1);
    ids[k] = (uint32_t)v;
  }
  return ids;
}

static void push_decoded(lua_State *L, Tok *t, int i, bool skip) {
  size_t n, len;
  TkErr e = {0};
  uint32_t *ids = ids_at(L, i, &n);
  char *s = tk_decode(t->t, ids, n, skip, &len, &e);
  if (!s) luaL_error(L, "decode: %s", e.msg);
  luaL_Buffer b; /* a full buffer first: then no error can lose s */
  char *to = luaL_buffinitsize(L, &b, len);
  memcpy(to, s, len);
  mt_free(s);
  luaL_pushresultsize(&b, len);
  lua_remove(L, -2);
}

static const char *const decode_names[] = {"skip_special_tokens", NULL};

static int tok_decode(lua_State *L) {
  Tok *t = totok(L);
  int opt = lua_gettop(L) > 2 && is_options(L, 3) ? 3 : 0;
  known_options(L, opt, "decode", decode_names);
  push_decoded(L, t, 2,
               opt ? opt_bool(L, opt, "skip_special_tokens", true)
                   : lua_isnoneornil(L, 3) || lua_toboolean(L, 3));
  return 1;
}

static int tok_decode_batch(lua_State *L) {
  Tok *t = totok(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  int opt = lua_gettop(L) > 2 && is_options(L, 3) ? 3 : 0;
  known_options(L, opt, "decode_batch", decode_names);
  bool skip = opt_bool(L, opt, "skip_special_tokens", true);
  lua_Integer n = (lua_Integer)lua_rawlen(L, 2);
  lua_createtable(L, (int)n, 0);
  for (lua_Integer k = 1; k <= n; k++) {
    lua_rawgeti(L, 2, k);
    push_decoded(L, t, lua_gettop(L), skip);
    lua_rawseti(L, -3, k);
    lua_pop(L, 1);
  }
  return 1;
}

static int tok_token_to_id(lua_State *L) {
  Tok *t = totok(L);
  size_t n;
  uint32_t id;
  const char *s = luaL_checklstring(L, 2, &n);
  if (tk_token_to_id(t->t, s, n, &id)) lua_pushinteger(L, id); else lua_pushnil(L);
  return 1;
}

static int tok_id_to_token(lua_State *L) {
  Tok *t = totok(L);
  lua_Integer id = luaL_checkinteger(L, 2);
  TkStr s;
  if (id >= 0 && id < UINT32_MAX && tk_id_to_token(t->t, (uint32_t)id, &s))
    lua_pushlstring(L, s.s, s.n);
  else lua_pushnil(L);
  return 1;
}

static int tok_vocab_size(lua_State *L) {
  Tok *t = totok(L);
  int opt = is_options(L, 2) ? 2 : 0;
  lua_pushinteger(
      L, (lua_Integer)tk_vocab_size(t->t, opt ? opt_bool(L, opt, "with_added_tokens", true)
                                              : lua_isnoneornil(L, 2) || lua_toboolean(L, 2)));
  return 1;
}

static int tok_special_added(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)tk_num_special_added(totok(L)->t, lua_toboolean(L, 2)));
  return 1;
}

/* ---- settings ---- */
static int tok_enable_truncation(lua_State *L) { /* (max_length [, {strategy=, direction=}]) */
  static const char fn[] = "enable_truncation";
  static const char *const names[] = {"max_length", "strategy", "direction", NULL};
  Tok *t = totok(L);
  int opt = is_options(L, 2) ? 2 : lua_gettop(L) > 2 && is_options(L, 3) ? 3 : 0;
  known_options(L, opt, fn, names);
  TkTrunc x = {.on = true, .left = opt_left(L, opt, fn, "direction", false)};
  x.max_length =
      opt == 2 ? opt_size(L, opt, fn, "max_length", 512) : (size_t)luaL_checkinteger(L, 2);
  if (x.max_length > 1000000000) return luaL_error(L, "%s: max_length out of range", fn);
  if (field(L, opt, "strategy") != LUA_TNIL) x.strategy = strategy(L, fn, lua_tostring(L, -1));
  t->trunc = x;
  return 0;
}

static int tok_enable_padding(lua_State *L) {
  static const char fn[] = "enable_padding";
  static const char *const names[] = {
      "direction", "pad_id", "pad_type_id", "pad_token", "length", "pad_to_multiple_of", NULL};
  Tok *t = totok(L);
  int opt = is_options(L, 2) ? 2 : 0;
  known_options(L, opt, fn, names);
  TkPad p = {.on = true, .left = opt_left(L, opt, fn, "direction", false)};
  size_t n;
  uint32_t id = 0;
  if (field(L, opt, "pad_token") != LUA_TNIL) {
    const char *s = luaL_checklstring(L, -1, &n);
    if (!tk_token_to_id(t->t, s, n, &id))
      return luaL_error(L, "%s: pad_token '%s' is not in the vocabulary", fn, s);
  }
  p.id = (uint32_t)opt_size(L, opt, fn, "pad_id", id);
  p.type = (uint32_t)opt_size(L, opt, fn, "pad_type_id", 0);
  p.fixed = opt_size(L, opt, fn, "length", 0);
  p.multiple = opt_size(L, opt, fn, "pad_to_multiple_of", 0);
  t->pad = p;
  return 0;
}

static int tok_no_truncation(lua_State *L) { totok(L)->trunc.on = false; return 0; }
static int tok_no_padding(lua_State *L) { totok(L)->pad.on = false; return 0; }

static int tok_tostring(lua_State *L) {
  lua_pushfstring(L, "Tokenizer(vocab_size=%I)", (LUAI_UACINT)tk_vocab_size(totok(L)->t, true));
  return 1;
}

/* nfkc(text) */
static int nfkc(lua_State *L) {
  size_t n, len;
  const char *s = luaL_checklstring(L, 1, &n);
  char *out = NULL;
  TkErr e = {0};
  if (!tk_nfkc(s, n, &out, &len, &e)) {
    mt_free(out);
    return luaL_error(L, "nfkc: %s", e.msg);
  }
  lua_pushlstring(L, out, len);
  mt_free(out);
  return 1;
}

int luaopen_tokenizers_core(lua_State *L) {
  static const luaL_Reg tok[] = {{"encode", tok_encode},
                                 {"encode_batch", tok_encode_batch},
                                 {"decode", tok_decode},
                                 {"decode_batch", tok_decode_batch},
                                 {"token_to_id", tok_token_to_id},
                                 {"id_to_token", tok_id_to_token},
                                 {"get_vocab_size", tok_vocab_size},
                                 {"num_special_tokens_to_add", tok_special_added},
                                 {"enable_truncation", tok_enable_truncation},
                                 {"no_truncation", tok_no_truncation},
                                 {"enable_padding", tok_enable_padding},
                                 {"no_padding", tok_no_padding},
                                 {NULL, NULL}};
  static const luaL_Reg tok_meta[] = {
      {"__gc", tok_gc}, {"__call", tok_call}, {"__tostring", tok_tostring}, {NULL, NULL}};
  static const luaL_Reg enc_meta[] = {{"__gc", enc_gc},
                                      {"__index", enc_index},
                                      {"__len", enc_len},
                                      {"__tostring", enc_tostring},
                                      {NULL, NULL}};
  static const luaL_Reg fns[] = {
      {"from_file", from_file}, {"from_string", from_string}, {"nfkc", nfkc}, {NULL, NULL}};
  luaL_newmetatable(L, TOKENIZER);
  luaL_setfuncs(L, tok_meta, 0);
  luaL_newlib(L, tok);
  lua_setfield(L, -2, "__index");
  luaL_newmetatable(L, ENCODING);
  luaL_setfuncs(L, enc_meta, 0);
  luaL_newmetatable(L, BATCH);
  lua_pushcfunction(L, batch_gc);
  lua_setfield(L, -2, "__gc");
  luaL_newlib(L, fns);
  return 1;
}
