/* tk_int.h: what the files of this folder share.
 *
 * Order of the layers: uni (code points), text (bytes with their origin), vocab (strings and ids),
 * regex, then the five stages of the pipeline: norm, added, pretok, the models, post; decode goes
 * back.  load.c builds all from JSON. */
#ifndef TK_INT_H
#define TK_INT_H
#include "base.h"
#include "tokenizers/tk.h"

#define TK_MAX_TEXT 0x40000000u
bool tk_fail(TkErr *e, const char *fmt, ...)
    __attribute__((format(printf, 2, 3))); /* always false; first one stays */
bool tk_oom(TkErr *e);

/* ---- growable arrays: p (pointer), n, cap; false when memory is out ---- */
bool tk_grow(void *pp, size_t *cap, size_t need, size_t size);
typedef struct { char *p; size_t n, cap; } TkBuf;
bool tk_put(TkBuf *b, const char *s, size_t n);

/* ---- uni.c ---- */
enum {
  TK_WHITE = 1,
  TK_PUNCT = 2,
  TK_NUMERIC = 4,
  TK_WORD = 8,
  TK_ACCENT = 16,
  TK_CONTROL = 32,
  TK_CJK = 64,
  TK_MARK = 128,
  TK_PICT = 256,
  TK_RXWORD = 512
}; /* RXWORD: \w of the patterns; WORD: of Whitespace and added tokens */
enum {
  TK_Lu,
  TK_Ll,
  TK_Lt,
  TK_Lm,
  TK_Lo,
  TK_Mn,
  TK_Mc,
  TK_Me,
  TK_Nd,
  TK_Nl,
  TK_No,
  TK_Pc,
  TK_Pd,
  TK_Ps,
  TK_Pe,
  TK_Pi,
  TK_Pf,
  TK_Po,
  TK_Sm,
  TK_Sc,
  TK_Sk,
  TK_So,
  TK_Zs,
  TK_Zl,
  TK_Zp,
  TK_Cc,
  TK_Cf,
  TK_Cs,
  TK_Co,
  TK_Cn
};
typedef struct { uint16_t cat, ccc, gcb, flags; } TkRec;
typedef enum { TK_NFC, TK_NFD, TK_NFKC, TK_NFKD } TkForm;
bool tk_uni_init(void);
extern const uint16_t *tk_uni_blocks;
extern uint16_t tk_uni_stage[0x1100];
extern const TkRec *tk_uni_recs;
static inline const TkRec *tk_rec(uint32_t cp) {
  return &tk_uni_recs[tk_uni_blocks[tk_uni_stage[cp >> 8] * 256u + (cp & 255)]];
}
uint32_t tk_lower(uint32_t cp); /* U+0130 gives 'i'; its second part is the caller's */
size_t tk_fold_variants(uint32_t cp,
                        uint32_t out[8]); /* other characters equal to cp but for case */
bool tk_nf_inert(TkForm f, uint32_t cp);  /* cp never changes and never combines in that form */
size_t tk_decompose(uint32_t cp, bool compat, const uint32_t **out,
                    uint32_t tmp[3]);                        /* 0: it stays */
uint32_t tk_compose(uint32_t a, uint32_t b);                 /* 0: they do not */
size_t tk_grapheme(const char *s, size_t n); /* bytes of the first grapheme cluster */

int      tk_script_named(const char *s, size_t n);           /* -1: not known */
bool     tk_in_script(uint32_t script, uint32_t cp);

/* ---- UTF-8.  tk_next expects checked text. ---- */
static inline uint32_t tk_next(const char *s, size_t *i) {
  const unsigned char *p = (const unsigned char *)s + *i;
  if (p[0] < 0x80) { *i += 1; return p[0]; }
  if (p[0] < 0xE0) { *i += 2; return (p[0] & 31u) << 6 | (p[1] & 63u); }
  if (p[0] < 0xF0) { *i += 3; return (p[0] & 15u) << 12 | (p[1] & 63u) << 6 | (p[2] & 63u); }
  *i += 4;
  return (p[0] & 7u) << 18 | (p[1] & 63u) << 12 | (p[2] & 63u) << 6 | (p[3] & 63u);
}
static inline size_t tk_char_len(unsigned char c) {
  return c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
}
static inline size_t tk_prev(const char *s,
                             size_t i) { /* start of the character that ends at i > 0 */
  do i--; while (((unsigned char)s[i] & 0xC0) == 0x80);
  return i;
}
size_t tk_utf8_put(char *out, uint32_t cp);
size_t tk_utf8_bad(const char *s,
                   size_t n); /* index of the first invalid byte, n when all is well */
bool   tk_is_ascii(const char *s, size_t n);
size_t tk_utf8_count(const char *s, size_t n);

/* ---- text.c: a text and, for each byte, the bytes of the original that it stands for.  ident says
 * that byte i stands for the original's character at byte i, and al is not filled. ---- */
typedef struct { char *s; TkSpan *al; size_t n, cap; bool ident; } TkText;
bool tk_text_reserve(TkText *t, size_t n);
bool tk_text_set(TkText *t, const char *orig, size_t a, size_t b, bool ident);
bool tk_text_own(TkText *t);                                 /* fills al */
bool tk_text_append(TkText *t, const TkText *from, size_t a, size_t b);
void tk_text_free(TkText *t);
static inline TkSpan tk_text_at(const TkText *t, size_t i) {
  if (!t->ident) return t->al[i];
  size_t a = i, b;
  while (((unsigned char)t->s[a] & 0xC0) == 0x80) a--;
  b = a + tk_char_len((unsigned char)t->s[a]);
  return (TkSpan){(uint32_t)a, (uint32_t)b};
}
/* A rewriting of in (own alignment) to out: change 0 replaces one character, > 0 inserts, -k
 * replaces and drops k more */
typedef struct { const TkText *in; TkText *out; size_t off; bool ok; } TkXf;
TkXf tk_xf(const TkText *in, TkText *out);
void tk_xf_skip(TkXf *x, size_t chars);
void tk_xf_put(TkXf *x, uint32_t cp, int change);
void tk_xf_bytes(TkXf *x, const char *s, size_t n, TkSpan al);

/* ---- vocab.c ---- */
typedef struct { /* string <-> id; strings are not owned twice */
  char *pool; size_t pool_n, pool_cap;
  uint32_t *off; uint32_t *len; size_t ids, ids_cap;         /* by id; len UINT32_MAX: no such id */
  uint32_t *slot; size_t slots, count;                       /* open addressing; id + 1 */
  size_t limit; /* ids from here on (and from 65536) are refused */
} TkVocab;
bool tk_vocab_reserve(TkVocab *v, size_t n);
bool tk_vocab_add(TkVocab *v, const char *s, size_t n, uint32_t id, TkErr *e);
bool tk_vocab_find(const TkVocab *v, const char *s, size_t n, uint32_t *id);
bool tk_vocab_str(const TkVocab *v, uint32_t id, TkStr *out);
void tk_vocab_free(TkVocab *v);
uint64_t tk_hash(const char *s, size_t n);

typedef struct { /* trie over bytes: children of a node lie side by side */
  uint32_t *first; uint16_t *count; uint8_t *label; int32_t *value; size_t n, cap;
  uint32_t root[256];
} TkTrie;
typedef struct { const char *s; size_t n; int32_t value; } TkKey;
bool tk_trie_build(TkTrie *t, TkKey *keys,
                   size_t n); /* sorts keys; of equal ones the last given stays */
void tk_trie_free(TkTrie *t);
static inline uint32_t tk_trie_step(const TkTrie *t, uint32_t node, uint8_t c) {   /* 0: no child */
  uint32_t k = t->first[node], e = k + t->count[node];
  for (; k < e; k++)
    if (t->label[k] >= c) return t->label[k] == c ? k : 0;
  return 0;
}

/* ---- json.c ---- */
typedef enum { TJ_NULL, TJ_FALSE, TJ_TRUE, TJ_NUM, TJ_STR, TJ_ARR, TJ_OBJ } TjType;
typedef struct Tj {
  TjType t;
  uint32_t len, klen; /* bytes of the string; members of an array or object */
  const char *key, *s; double num;
  uint32_t next, child;                                      /* indices of nodes; 0: none */
} Tj;
typedef struct { Tj *node; size_t n, cap; char *text; size_t len; } TjDoc;
bool tj_parse(TjDoc *d, const char *text, size_t n, const char *name, TkErr *e);
void tj_free(TjDoc *d);
const Tj *tj_get(const TjDoc *d, const Tj *obj, const char *key);      /* NULL: none, or null */
static inline const Tj *tj_child(const TjDoc *d, const Tj *x) {
  return x->child ? &d->node[x->child] : NULL;
}
static inline const Tj *tj_next(const TjDoc *d, const Tj *x) {
  return x->next ? &d->node[x->next] : NULL;
}
bool tj_is(const Tj *x, const char *s);

/* ---- regex.c ---- */
typedef struct TkRegex TkRegex;
TkRegex *tk_regex(const char *pat, size_t n, TkErr *e);
void tk_regex_free(TkRegex *r);
/* next match in [at, n) of s; 1 found, 0 none, -1 failure */
int tk_regex_find(TkRegex *r, const char *s, size_t n, size_t at, size_t *ms, size_t *me, TkErr *e);

/* ---- norm.c ---- */
typedef struct TkNorm TkNorm;
TkNorm *tk_norm_load(const TjDoc *d, const Tj *j, int depth, TkErr *e);
void tk_norm_free(TkNorm *nm);
bool tk_norm_apply(TkNorm *nm, TkText *t, TkText *tmp, TkErr *e);

/* ---- pieces and pre-tokenizers ---- */
typedef struct {
  uint32_t a, b;
  int32_t id;
} TkPiece; /* bytes [a, b) of the text; id >= 0: an added token */
typedef struct { TkPiece *p; size_t n, cap; } TkPieces;
bool tk_pieces_add(TkPieces *p, size_t a, size_t b, int32_t id);
typedef struct { TkText text, next, one, tmp; TkPieces pieces, spare; } TkWork;
typedef struct TkPre TkPre;
TkPre *tk_pre_load(const TjDoc *d, const Tj *j, int depth, TkErr *e);
void tk_pre_free(TkPre *p);
bool tk_pre_ends_bytelevel(
    TkPre *p); /* drops the final mapping to byte letters when that is last */
bool tk_pre_apply(TkPre *p, TkWork *w, TkErr *e);
const uint16_t *tk_byte_letter(void);                 /* GPT-2's letter for each byte */

/* ---- added.c ---- */
typedef struct { uint32_t id; bool special, single_word, lstrip, rstrip, normalized; } TkAdded;
typedef struct {
  TkAdded *tok;
  size_t n;
  TkTrie raw, norm;
  TkVocab vocab;
  uint8_t *special;
  size_t specials;
} TkAddedSet; /* special: by id */
bool tk_added_split(const TkAddedSet *set, const TkTrie *trie, const TkText *t, size_t a, size_t b,
                    TkPieces *out);

/* ---- models ---- */
typedef struct { uint32_t id, a, b; } TkToken;
typedef struct { TkToken *p; size_t n, cap; } TkTokens;
bool tk_tokens_add(TkTokens *t, uint32_t id, size_t a, size_t b);
typedef struct TkModel TkModel;
TkModel *tk_model_load(const TjDoc *d, const Tj *j, bool bytelevel, TkErr *e);
void tk_model_free(TkModel *m);
const TkVocab *tk_model_vocab(const TkModel *m);
bool tk_model_tokenize(TkModel *m, const char *s, size_t n, TkTokens *out,
                       TkErr *e);                                        /* offsets relative to s */
bool tk_vocab_load(TkVocab *v, const TjDoc *d, const Tj *obj, TkErr *e); /* {"token": id, ...} */
typedef struct TkBpe TkBpe;
TkBpe *tk_bpe_load(const TkVocab *v, const TjDoc *d, const Tj *j, bool bytelevel, TkErr *e);
void tk_bpe_free(TkBpe *b);
bool tk_bpe_word(TkBpe *b, const TkVocab *v, const char *s, size_t n, TkTokens *out, TkErr *e);

/* ---- post.c ---- */
typedef struct TkPost TkPost;
TkPost *tk_post_load(const TjDoc *d, const Tj *j, int depth, TkErr *e);
void tk_post_free(TkPost *p);
size_t tk_post_added(const TkPost *p, bool pair);
bool tk_post_apply(const TkPost *p, const TkVocab *v, TkEnc *a, TkEnc *b, bool add_special,
                   TkEnc *out, TkErr *e);
bool tk_space_letter(const char *s, size_t n, size_t *i,
                     bool back); /* steps over one space or its letter */
bool tk_truncate(TkEnc *a, TkEnc *b, const TkTrunc *t, TkErr *e);
bool tk_enc_push(TkEnc *e, uint32_t id, uint32_t type, TkSpan off, int32_t word, int32_t seq,
                 bool special);

/* ---- decode.c ---- */
typedef struct TkDec TkDec;
TkDec *tk_dec_load(const TjDoc *d, const Tj *j, int depth, TkErr *e);
void tk_dec_free(TkDec *x);
bool tk_dec_apply(const TkDec *x, const TkStr *tokens, size_t n, TkBuf *out, TkErr *e);
#endif
