/* tk.h: Hugging Face tokenizers: a tokenizer.json in, ids, offsets and decoded text out, equal to
 * the reference's.
 *
 * Invariants.  No Lua and no tensor in here.  A TkTok is immutable after loading except for its
 * cache of words, which tk_encode fills: one thread encodes with one TkTok at a time.  Every text
 * is checked UTF-8; offsets count characters (as the reference's do) unless byte_offsets is asked.
 * A function that can fail takes a TkErr, returns false or NULL on failure and leaves nothing
 * half-built.  Nothing recurses over input without a bound. */
#ifndef TK_H
#define TK_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct { bool set; char msg[400]; } TkErr;
typedef struct { uint32_t a, b; } TkSpan;
typedef struct TkTok TkTok;

/* One encoded text (or pair): parallel arrays of n entries, one allocation each, owned by the
 * caller's TkEnc. */
typedef struct {
  size_t n, cap;
  uint32_t *ids, *types;
  TkSpan *offsets;
  int32_t *words, *seqs;       /* -1: none (a special or padding token) */
  uint8_t *attention, *special;
} TkEnc;

typedef enum { TK_LONGEST_FIRST, TK_ONLY_FIRST, TK_ONLY_SECOND } TkStrategy;
typedef struct { bool on, left; size_t max_length; TkStrategy strategy; } TkTrunc;
typedef struct {
  bool on, left;
  size_t fixed, multiple;
  uint32_t id, type;
} TkPad; /* fixed 0: longest of batch */

TkTok *tk_load(const char *json, size_t n, const char *name, TkErr *e);
TkTok *tk_load_file(const char *path, TkErr *e);
void   tk_free(TkTok *t);

/* out is reset first.  pair may be NULL.  trunc and pad as given; NULL means none. */
typedef struct { const char *s; size_t n; } TkStr;
bool tk_encode(TkTok *t, const TkStr *text, const TkStr *pair, bool add_special,
               const TkTrunc *trunc, bool byte_offsets, TkEnc *out, TkErr *e);
bool tk_pad(TkEnc *encs, size_t n, const TkPad *pad, TkErr *e);
void tk_enc_free(TkEnc *enc);
/* The text in Unicode's form NFKC, for mt_free. */
bool tk_nfkc(const char *s, size_t n, char **out, size_t *len, TkErr *e);

/* Decodes into a fresh mt_malloc'ed string of *len bytes (closed by a zero). */
char *tk_decode(TkTok *t, const uint32_t *ids, size_t n, bool skip_special, size_t *len, TkErr *e);

const TkTrunc *tk_trunc(const TkTok *t); /* as the file says; .on tells whether it says anything */
const TkPad   *tk_padding(const TkTok *t);
size_t tk_vocab_size(const TkTok *t, bool with_added);
size_t tk_id_limit(const TkTok *t);            /* one more than the largest id */
bool   tk_id_to_token(const TkTok *t, uint32_t id, TkStr *out);
bool   tk_token_to_id(const TkTok *t, const char *s, size_t n, uint32_t *id);
bool   tk_is_special(const TkTok *t, uint32_t id);
size_t tk_num_special_added(const TkTok *t, bool pair);
#endif
