/* regex.c: the regular expressions that tokenizer.json files carry, matched as the reference's
 * engine (Oniguruma) does: leftmost, alternatives in order, greedy, lazy and possessive repeats,
 * look-around, classes with Unicode properties.
 *
 * Invariants.  A pattern is parsed to a tree (bounded depth), compiled to a flat program (bounded
 * size) and run by a backtracking loop whose stack is on the heap and whose steps are counted: a
 * hostile pattern ends in an error, never in a crash or an endless loop.  Sets answer ASCII from a
 * bitmap.  A matcher belongs to one thread at a time. */
#include "tokenizers/tk_int.h"
#include <stdlib.h>
#include <string.h>

#define MAX_PROG 20000
#define MAX_DEPTH 40
#define INF 0xFFFFFFFFu
typedef enum { ITEM_RANGE, ITEM_CATS, ITEM_FLAG, ITEM_SCRIPT, ITEM_SET } ItemKind;
typedef struct { uint8_t kind; bool neg; uint32_t a, b; } Item;
typedef struct { uint64_t ascii[2]; Item *item; size_t n, cap; int and; bool neg; } Set;

typedef enum { N_EMPTY, N_SET, N_CAT, N_ALT, N_REP, N_LOOK, N_ATOMIC, N_ASSERT } NodeOp;
typedef struct {
  uint8_t op, mode;
  bool neg, behind;
  int a, b, set;
  uint32_t min, max;
} Node; /* mode: 0 greedy 1 lazy 2 possessive */

typedef enum {
  I_SET,
  I_RUN,
  I_SPLIT,
  I_LAZY,
  I_TRY,
  I_JMP,
  I_LOOK,
  I_ATOMIC,
  I_ASSERT,
  I_MATCH
} InsOp;
typedef struct { uint8_t op, kind; bool neg; int x, set; uint32_t min, max; } Ins;
typedef struct {
  int pc;
  uint32_t pos, low;
} Back; /* low < pos: a run that may give characters back */
typedef struct {
  uint8_t bits[32];
} First; /* the bytes that a part may begin with */

struct TkRegex {
  Set *set; size_t sets, sets_cap;
  Node *node; size_t nodes, nodes_cap;
  Ins *ins; size_t n, cap;
  First *first; size_t firsts, firsts_cap;
  First start;
  Back *stack; size_t stack_cap;
  uint64_t steps;
};

/* ---- sets ---- */
static bool set_eval(const TkRegex *r, const Set *s, uint32_t cp) {
  bool in = false;
  for (size_t i = 0; i < s->n && !in; i++) {
    const Item *t = &s->item[i];
    bool hit = false;
    switch (t->kind) {
      case ITEM_RANGE: hit = cp >= t->a && cp <= t->b; break;
      case ITEM_CATS: hit = t->a >> tk_rec(cp)->cat & 1; break;
      case ITEM_FLAG: hit = tk_rec(cp)->flags & t->a; break;
      case ITEM_SCRIPT: hit = tk_in_script(t->a, cp); break;
      case ITEM_SET: hit = set_eval(r, &r->set[t->a], cp); break;
    }
    in = hit != t->neg;
  }
  if (s->and >= 0) in = in && set_eval(r, &r->set[s->and], cp);
  return in != s->neg;
}

static inline bool set_has(const TkRegex *r, const Set *s, uint32_t cp) {
  return cp < 128 ? s->ascii[cp >> 6] >> (cp & 63) & 1 : set_eval(r, s, cp);
}

static int set_new(TkRegex *r) {
  if (r->sets >= 4000 || !tk_grow(&r->set, &r->sets_cap, r->sets + 1, sizeof *r->set)) return -1;
  r->set[r->sets] = (Set){.and = -1};
  return (int)r->sets++;
}

static bool item(TkRegex *r, int set, Item it) {
  Set *s = &r->set[set];
  if (!tk_grow(&s->item, &s->cap, s->n + 1, sizeof it)) return false;
  s->item[s->n++] = it;
  return true;
}

static void set_close(TkRegex *r, int set) {
  Set *s = &r->set[set];
  for (uint32_t c = 0; c < 128; c++)
    if (set_eval(r, s, c)) s->ascii[c >> 6] |= (uint64_t)1 << (c & 63);
}

/* ---- parsing ---- */
typedef struct {
  TkRegex *r;
  const char *s;
  size_t i, n;
  bool icase;
  TkErr *e;
  int depth;
  size_t work;
} P;

static bool bad(P *p, const char *what) {
  return tk_fail(p->e, "regular expression: byte %zu: %s", p->i, what);
}
static bool more(const P *p) { return p->i < p->n; }
static char peek(const P *p) { return p->i < p->n ? p->s[p->i] : 0; }
static bool eat(P *p, const char *w) {
  size_t k = strlen(w);
  if (p->n - p->i < k || memcmp(p->s + p->i, w, k)) return false;
  p->i += k;
  return true;
}

static int node(P *p, Node n) {
  TkRegex *r = p->r;
  if (r->nodes > MAX_PROG) { bad(p, "too large"); return -1; }
  if (!tk_grow(&r->node, &r->nodes_cap, r->nodes + 1, sizeof n)) { tk_oom(p->e); return -1; }
  r->node[r->nodes] = n;
  return (int)r->nodes++;
}

static bool add_range(P *p, int set, uint32_t a, uint32_t b) {
  if (!item(p->r, set, (Item){ITEM_RANGE, false, a, b})) return tk_oom(p->e);
  if (!p->icase) return true;
  if (a == b) {
    uint32_t v[8];
    size_t k = tk_fold_variants(a, v);
    while (k--) if (!item(p->r, set, (Item){ITEM_RANGE, false, v[k], v[k]})) return tk_oom(p->e);
    return true;
  }
  for (uint32_t c = a; c <= b && c < 0x600;
       c++) { /* capitals beyond Armenian in a range: not asked for yet */
    uint32_t v[8];
    size_t k = tk_fold_variants(c, v);
    while (k--)
      if ((v[k] < a || v[k] > b) && !item(p->r, set, (Item){ITEM_RANGE, false, v[k], v[k]}))
        return tk_oom(p->e);
  }
  return true;
}

static const char CAT_NAMES[] = "LuLlLtLmLoMnMcMeNdNlNoPcPdPsPePiPfPoSmScSkSoZsZlZpCcCfCsCoCn";

static bool named_property(P *p, const char *s, size_t n, Item *out) {
  static const struct { const char *name; const char *cats;
  } LONG[] = {{"Letter", "L"},
              {"Alpha", "L"},
              {"Mark", "M"},
              {"Number", "N"},
              {"Digit", "Nd"},
              {"Punctuation", "P"},
              {"Punct", "P"},
              {"Symbol", "S"},
              {"Separator", "Z"},
              {"Other", "C"},
              {"Uppercase_Letter", "Lu"},
              {"Lowercase_Letter", "Ll"},
              {"Upper", "Lu"},
              {"Lower", "Ll"},
              {"Space_Separator", "Zs"},
              {"Decimal_Number", "Nd"},
              {"Control", "Cc"},
              {"Nonspacing_Mark", "Mn"},
              {"Other_Letter", "Lo"},
              {"Emoji", NULL}};
  *out = (Item){ITEM_CATS, false, 0, 0};
  for (size_t i = 0; i < sizeof LONG / sizeof *LONG; i++)
    if (LONG[i].cats && strlen(LONG[i].name) == n && memcmp(LONG[i].name, s, n) == 0) {
      s = LONG[i].cats;
      n = strlen(s);
      break;
    }
  for (int c = 0; c < 30; c++)
    if (n >= 1 && n <= 2 && CAT_NAMES[c * 2] == s[0] && (n == 1 || CAT_NAMES[c * 2 + 1] == s[1]))
      out->a |= 1u << c;
  if (out->a) return true;
  if (n == 5 && memcmp(s, "Space", 5) == 0) {
    *out = (Item){ITEM_FLAG, false, TK_WHITE, 0};
    return true;
  }
  if (n == 4 && memcmp(s, "Word", 4) == 0) {
    *out = (Item){ITEM_FLAG, false, TK_RXWORD, 0};
    return true;
  }
  if (n > 7 && memcmp(s, "Script=", 7) == 0) { s += 7; n -= 7; }
  int script = tk_script_named(s, n);
  if (script < 0) return bad(p, "unknown property");
  *out = (Item){ITEM_SCRIPT, false, (uint32_t)script, 0};
  return true;
}

static bool property(P *p, bool neg, Item *out) {             /* after \p or \P */
  size_t from, to;
  if (eat(p, "{")) {
    if (eat(p, "^")) neg = !neg;
    from = p->i;
    while (more(p) && peek(p) != '}') p->i++;
    to = p->i;
    if (!eat(p, "}")) return bad(p, "'}' missing");
  } else {
    from = p->i;
    if (more(p)) p->i++;
    to = p->i;
  }
  if (!named_property(p, p->s + from, to - from, out)) return false;
  out->neg = neg;
  return true;
}

static bool hex(P *p, size_t max, uint32_t *cp) {
  bool brace = eat(p, "{");
  *cp = 0;
  size_t k = 0;
  for (; more(p) && k < (brace ? 8 : max); k++, p->i++) {
    int c = peek(p), h = c >= '0' && c <= '9'                 ? c - '0'
                         : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                              : -1;
    if (h < 0) break;
    *cp = *cp * 16 + (uint32_t)h;
  }
  if (!k || *cp > 0x10FFFF || (brace && !eat(p, "}"))) return bad(p, "bad hexadecimal escape");
  return true;
}

/* An escape: either a class item (*is_item) or one character.  p->i is after the backslash. */
static bool escape(P *p, Item *it, bool *is_item, uint32_t *cp) {
  if (!more(p)) return bad(p, "pattern ends in a backslash");
  *is_item = true;
  char c = p->s[p->i];
  if ((unsigned char)c < 0x80) p->i++;
  switch (c) {
    case 'p': case 'P': return property(p, c == 'P', it);
    case 's': case 'S': *it = (Item){ITEM_FLAG, c == 'S', TK_WHITE, 0}; return true;
    case 'w': case 'W': *it = (Item){ITEM_FLAG, c == 'W', TK_RXWORD, 0}; return true;
    case 'd': case 'D': *it = (Item){ITEM_CATS, c == 'D', 1u << TK_Nd, 0}; return true;
  }
  *is_item = false;
  switch (c) {
    case 'n': *cp = '\n'; return true;
    case 'r': *cp = '\r'; return true;
    case 't': *cp = '\t'; return true;
    case 'f': *cp = '\f'; return true;
    case 'v': *cp = '\v'; return true;
    case 'a': *cp = 7; return true;
    case 'e': *cp = 27; return true;
    case '0': *cp = 0; return true;
    case 'x': return hex(p, 2, cp);
    case 'u': return hex(p, 4, cp);
  }
  if (((c | 32) >= 'a' && (c | 32) <= 'z') || (c >= '1' && c <= '9')) {
    p->i--;
    return bad(p, "this escape is not supported");
  }
  if ((unsigned char)c >= 0x80) *cp = tk_next(p->s, &p->i); else *cp = (unsigned char)c;
  return true;
}

static int klass(P *p);

static bool posix_item(P *p, int set, bool *hit) {
  static const struct { const char *name; uint32_t cats, flag;
  } K[] = {{"alpha:]", 0x1F, 0},
           {"digit:]", 1u << TK_Nd, 0},
           {"space:]", 0, TK_WHITE},
           {"upper:]", 1u << TK_Lu, 0},
           {"lower:]", 1u << TK_Ll, 0},
           {"alnum:]", 0x1F | 1u << TK_Nd, 0},
           {"punct:]", 0x7Fu << TK_Pc | 0xFu << TK_Sm, 0},
           {"cntrl:]", 1u << TK_Cc, 0},
           {"word:]", 0, TK_RXWORD}};
  size_t at = p->i;
  *hit = false;
  if (!eat(p, "[:")) return true;
  bool neg = eat(p, "^");
  for (size_t i = 0; i < sizeof K / sizeof *K && !*hit; i++)
    if ((*hit = eat(p, K[i].name)) && !item(p->r, set,
                                            K[i].flag ? (Item){ITEM_FLAG, neg, K[i].flag, 0}
                                                      : (Item){ITEM_CATS, neg, K[i].cats, 0}))
      return tk_oom(p->e);
  if (!*hit) p->i = at;
  return true;
}

static bool class_member(P *p, int set) {
  Item it;
  bool is_item = false, hit;
  uint32_t a, b;
  if (!posix_item(p, set, &hit)) return false;
  if (hit) return true;
  if (peek(p) == '[') {
    int sub = klass(p);
    return sub >= 0 && (item(p->r, set, (Item){ITEM_SET, false, (uint32_t)sub, 0}) || tk_oom(p->e));
  }
  if (eat(p, "\\")) {
    if (peek(p) == 'b') { p->i++; a = 8; }
    else if (!escape(p, &it, &is_item, &a)) return false;
    if (is_item) return item(p->r, set, it) || tk_oom(p->e);
  } else a = tk_next(p->s, &p->i);
  b = a;
  if (peek(p) == '-' && p->i + 1 < p->n && p->s[p->i + 1] != ']' && p->s[p->i + 1] != '[') {
    size_t at = p->i++;
    if (eat(p, "\\")) {
      if (!escape(p, &it, &is_item, &b)) return false;
      if (is_item) {
        p->i = at;
        b = a;
        return add_range(p, set, a, a) && eat(p, "-") && add_range(p, set, '-', '-');
      }
    } else b = tk_next(p->s, &p->i);
    if (b < a) return bad(p, "empty range in a class");
  }
  return add_range(p, set, a, b);
}

static int klass(P *p) {                                      /* at '[' */
  if (++p->depth > MAX_DEPTH) { bad(p, "nested too deeply"); return -1; }
  int set = set_new(p->r), cur = set;
  if (set < 0) { tk_oom(p->e); return -1; }
  p->i++;
  bool neg = eat(p, "^"), first = true;
  for (;; first = false) {
    if (!more(p)) { bad(p, "']' missing"); return -1; }
    if (peek(p) == ']' && !first) break;
    if (eat(p, "&&")) {
      int next = set_new(p->r);
      if (next < 0) { tk_oom(p->e); return -1; }
      p->r->set[cur].and = next;
      cur = next;
      continue;
    }
    if (!class_member(p, cur)) return -1;
  }
  p->i++;
  p->r->set[set].neg = neg;
  set_close(p->r, set);
  p->depth--;
  return set;
}

static int alternatives(P *p);

static int set_node(P *p, int set) {
  return set < 0 ? -1 : node(p, (Node){.op = N_SET, .set = set});
}

static int char_node(P *p, uint32_t cp) {
  int set = set_new(p->r);
  if (set < 0 || !add_range(p, set, cp, cp)) { tk_oom(p->e); return -1; }
  set_close(p->r, set);
  return set_node(p, set);
}

static int item_node(P *p, Item it) {
  int set = set_new(p->r);
  if (set < 0 || !item(p->r, set, it)) { tk_oom(p->e); return -1; }
  set_close(p->r, set);
  return set_node(p, set);
}

static int group(P *p) {                                      /* after '(' */
  Node n = {.op = N_EMPTY};
  bool icase = p->icase;
  if (eat(p, "?:")) ;
  else if (eat(p, "?=")) n = (Node){.op = N_LOOK};
  else if (eat(p, "?!")) n = (Node){.op = N_LOOK, .neg = true};
  else if (eat(p, "?<=")) n = (Node){.op = N_LOOK, .behind = true};
  else if (eat(p, "?<!")) n = (Node){.op = N_LOOK, .behind = true, .neg = true};
  else if (eat(p, "?>")) n = (Node){.op = N_ATOMIC};
  else if (eat(p, "?i:")) p->icase = true;
  else if (eat(p, "?-i:")) p->icase = false;
  else if (eat(p, "?i)")) { /* to the end of the enclosing group */ p->icase = true;
    return alternatives(p);
  } else if (peek(p) == '?') {
    bad(p, "this kind of group is not supported");
    return -1;
  }
  int a = alternatives(p);
  if (a < 0) return -1;
  if (!eat(p, ")")) { bad(p, "')' missing"); return -1; }
  p->icase = icase;
  if (n.op == N_EMPTY) return a;
  n.a = a;
  return node(p, n);
}

static int atom(P *p) {
  char c = peek(p);
  Item it;
  bool is_item;
  uint32_t cp;
  if (c == '(') { p->i++; return group(p); }
  if (c == '[') return set_node(p, klass(p));
  if (c == '.') {
    p->i++;
    return item_node(p, (Item){ITEM_RANGE, true, '\n', '\n'});
  }
  if (c == '^' || c == '$') { p->i++; return node(p, (Node){.op = N_ASSERT, .set = c}); }
  if (c == '*' || c == '+' || c == '?') { bad(p, "nothing to repeat"); return -1; }
  if (c != '\\') return char_node(p, tk_next(p->s, &p->i));
  p->i++;
  c = peek(p);
  if (c == 'A' || c == 'z' || c == 'Z' || c == 'b' || c == 'B') {
    p->i++;
    return node(p, (Node){.op = N_ASSERT, .set = c});
  }
  if (!escape(p, &it, &is_item, &cp)) return -1;
  return is_item ? item_node(p, it) : char_node(p, cp);
}

static bool count_of(P *p, uint32_t *min,
                     uint32_t *max) { /* {n} {n,} {,m} {n,m}; otherwise a plain brace */
  size_t at = p->i++;
  uint32_t v[2] = {0, INF};
  bool got[2] = {false, false};
  for (int k = 0; k < 2; k++) {
    uint32_t x = 0;
    for (; more(p) && peek(p) >= '0' && peek(p) <= '9'; p->i++, got[k] = true)
      x = x < 100000 ? x * 10 + (uint32_t)(peek(p) - '0') : x;
    if (got[k]) v[k] = x;
    if (k == 0 && !eat(p, ",")) { v[1] = v[0]; break; }
  }
  if ((!got[0] && !got[1]) || !eat(p, "}") || v[0] > v[1]) { p->i = at; return false; }
  *min = v[0];
  *max = v[1];
  return true;
}

static int repeated(P *p) {
  int a = atom(p);
  while (a >= 0 && more(p)) {
    Node n = {.op = N_REP, .a = a};
    char c = peek(p);
    if (c == '*') n.max = INF, p->i++;
    else if (c == '+') n.min = 1, n.max = INF, p->i++;
    else if (c == '?') n.max = 1, p->i++;
    else if (c != '{' || !count_of(p, &n.min, &n.max)) break;
    if (eat(p, "?")) n.mode = 1;
    else if (c != '{' && eat(p, "+")) n.mode = 2;
    a = node(p, n);
  }
  return a;
}

static int sequence(P *p) {
  int left = -1;
  while (more(p) && peek(p) != '|' && peek(p) != ')') {
    int right;
    if (peek(p) == '{') { p->i++; right = char_node(p, '{'); } else right = repeated(p);
    if (right < 0) return -1;
    left = left < 0 ? right : node(p, (Node){.op = N_CAT, .a = left, .b = right});
    if (left < 0) return -1;
  }
  return left < 0 ? node(p, (Node){.op = N_EMPTY}) : left;
}

static int alternatives(P *p) {
  if (++p->depth > MAX_DEPTH) { bad(p, "nested too deeply"); return -1; }
  int left = sequence(p);
  while (left >= 0 && eat(p, "|")) {
    int right = sequence(p);
    left = right < 0 ? -1 : node(p, (Node){.op = N_ALT, .a = left, .b = right});
  }
  p->depth--;
  return left;
}

/* ---- what a part can begin with, and how wide it is.  CAT and ALT chains lean left and may be
 * long: depth is bounded by MAX_CHAIN, checked before anything recurses over the tree. ---- */
#define MAX_CHAIN 2000
static int tree_depth(const TkRegex *r, int at, int depth) {
  const Node *n = &r->node[at];
  if (depth > MAX_CHAIN) return depth;
  int a = 0, b = 0;
  if (n->op == N_CAT || n->op == N_ALT || n->op == N_REP || n->op == N_LOOK || n->op == N_ATOMIC)
    a = tree_depth(r, n->a, depth + 1);
  if (n->op == N_CAT || n->op == N_ALT) b = tree_depth(r, n->b, depth + 1);
  return a > b ? (a > depth ? a : depth) : (b > depth ? b : depth);
}

static bool beyond_ascii(const Set *s) {
  if (s->neg || s->and >= 0) return true;
  for (size_t i = 0; i < s->n; i++)
    if (s->item[i].kind != ITEM_RANGE || s->item[i].neg || s->item[i].b >= 128) return true;
  return false;
}

static bool first_of(const TkRegex *r, int at,
                     First *f) { /* adds to f; true when the part may be empty */
  const Node *n = &r->node[at];
  bool a;
  switch (n->op) {
    case N_SET: {
      const Set *s = &r->set[n->set];
      for (unsigned c = 0; c < 128; c++)
        if (s->ascii[c >> 6] >> (c & 63) & 1) f->bits[c >> 3] |= (uint8_t)(1 << (c & 7));
      if (beyond_ascii(s)) memset(f->bits + 16, 0xFF, 16);
      return false;
    }
    case N_CAT: return first_of(r, n->a, f) && first_of(r, n->b, f);
    case N_ALT: a = first_of(r, n->a, f); return first_of(r, n->b, f) || a;
    case N_REP: a = first_of(r, n->a, f); return a || n->min == 0;
    case N_ATOMIC: return first_of(r, n->a, f);
    default: return true;
  }
}

static bool nullable(const TkRegex *r, int at) { First f = {{0}}; return first_of(r, at, &f); }

static int width(const TkRegex *r, int at) {                  /* in characters; -1: not fixed */
  const Node *n = &r->node[at];
  int a, b;
  switch (n->op) {
    case N_SET: return 1;
    case N_EMPTY: case N_LOOK: case N_ASSERT: return 0;
    case N_ATOMIC: return width(r, n->a);
    case N_CAT: a = width(r, n->a); b = width(r, n->b); return a < 0 || b < 0 ? -1 : a + b;
    case N_ALT: a = width(r, n->a); b = width(r, n->b); return a == b ? a : -1;
    default:
      a = width(r, n->a);
      return a < 0 || n->min != n->max || n->min > 1000 ? -1 : a * (int)n->min;
  }
}

/* ---- compiling ---- */
static int emit(P *p, Ins in) {
  TkRegex *r = p->r;
  if (r->n >= MAX_PROG) { tk_fail(p->e, "regular expression: too large"); return -1; }
  if (!tk_grow(&r->ins, &r->cap, r->n + 1, sizeof in)) { tk_oom(p->e); return -1; }
  r->ins[r->n] = in;
  return (int)r->n++;
}

static bool compile(P *p, int at);

static bool compile_alt(P *p, int at) { /* TRY first: skips to the next alternative at once */
  TkRegex *r = p->r;
  Node n = r->node[at];
  First f = {{0}};
  int head;
  if (first_of(r, n.a, &f)) head = emit(p, (Ins){.op = I_SPLIT});
  else {
    if (!tk_grow(&r->first, &r->firsts_cap, r->firsts + 1, sizeof f)) return tk_oom(p->e);
    r->first[r->firsts++] = f;
    head = emit(p, (Ins){.op = I_TRY, .set = (int)r->firsts - 1});
  }
  if (head < 0 || !compile(p, n.a)) return false;
  int jump = emit(p, (Ins){.op = I_JMP});
  if (jump < 0) return false;
  r->ins[head].x = (int)r->n;
  if (!compile(p, n.b)) return false;
  r->ins[jump].x = (int)r->n;
  return true;
}

static bool compile_rep(P *p, int at) {
  TkRegex *r = p->r;
  Node n = r->node[at];
  if (n.mode == 2) {
    int head = emit(p, (Ins){.op = I_ATOMIC});
    r->node[at].mode = 0;
    bool ok = head >= 0 && compile_rep(p, at) && emit(p, (Ins){.op = I_MATCH}) >= 0;
    r->node[at].mode = 2;
    if (ok) r->ins[head].x = (int)r->n;
    return ok;
  }
  if (r->node[n.a].op == N_SET && n.mode == 0)
    return emit(p, (Ins){.op = I_RUN, .set = r->node[n.a].set, .min = n.min, .max = n.max}) >= 0;
  if (n.max == INF && nullable(r, n.a))
    return tk_fail(p->e, "regular expression: endless repeat of a part that may be empty");
  if (n.min > 1000 || (n.max != INF && n.max > 1000))
    return tk_fail(p->e, "regular expression: repeat count too large");
  for (uint32_t i = 0; i < n.min; i++) if (!compile(p, n.a)) return false;
  uint8_t op = n.mode ? I_LAZY : I_SPLIT;
  if (n.max == INF) {
    int head = emit(p, (Ins){.op = op});
    if (head < 0 || !compile(p, n.a) || emit(p, (Ins){.op = I_JMP, .x = head}) < 0) return false;
    r->ins[head].x = (int)r->n;
    return true;
  }
  int prev = -1; /* the optional copies all leave to the same end: a chain */
  for (uint32_t i = n.min; i < n.max; i++) {
    int head = emit(p, (Ins){.op = op, .x = prev});
    if (head < 0 || !compile(p, n.a)) return false;
    prev = head;
  }
  while (prev >= 0) { int up = r->ins[prev].x; r->ins[prev].x = (int)r->n; prev = up; }
  return true;
}

static bool compile(P *p, int at) {
  TkRegex *r = p->r;
  Node n = r->node[at];
  int head;
  if (++p->work > 200000)
    return tk_fail(p->e, "regular expression: too large"); /* repeats of what emits nothing */
  switch (n.op) {
    case N_EMPTY: return true;
    case N_SET: return emit(p, (Ins){.op = I_SET, .set = n.set}) >= 0;
    case N_ASSERT: return emit(p, (Ins){.op = I_ASSERT, .set = n.set}) >= 0;
    case N_CAT: return compile(p, n.a) && compile(p, n.b);
    case N_ALT: return compile_alt(p, at);
    case N_REP: return compile_rep(p, at);
    case N_ATOMIC: head = emit(p, (Ins){.op = I_ATOMIC}); break;
    default: {
      int w = n.behind ? width(r, n.a) : 0;
      if (w < 0)
        return tk_fail(p->e, "regular expression: look-behind of varying length is not supported");
      head = emit(p, (Ins){.op = I_LOOK, .neg = n.neg, .kind = n.behind, .min = (uint32_t)w});
    }
  }
  if (head < 0 || !compile(p, n.a) || emit(p, (Ins){.op = I_MATCH}) < 0) return false;
  r->ins[head].x = (int)r->n;
  return true;
}

TkRegex *tk_regex(const char *pat, size_t n, TkErr *e) {
  if (n > 8192) { tk_fail(e, "regular expression: too long (%zu bytes)", n); return NULL; }
  TkRegex *r = mt_calloc(sizeof *r);
  if (!r) { tk_oom(e); return NULL; }
  P p = {.r = r, .s = pat, .n = n, .e = e};
  int root = alternatives(&p);
  if (root >= 0 && more(&p)) { bad(&p, "unmatched ')'"); root = -1; }
  if (root >= 0 && tree_depth(r, root, 0) > MAX_CHAIN) {
    tk_fail(e, "regular expression: too large");
    root = -1;
  }
  if (root < 0 || !compile(&p, root) || emit(&p, (Ins){.op = I_MATCH}) < 0) {
    if (!e->set) tk_oom(e);
    tk_regex_free(r);
    return NULL;
  }
  if (first_of(r, root, &r->start)) memset(&r->start, 0xFF, sizeof r->start);
  return r;
}

void tk_regex_free(TkRegex *r) {
  if (!r) return;
  for (size_t i = 0; i < r->sets; i++) mt_free(r->set[i].item);
  mt_free(r->set); mt_free(r->node); mt_free(r->ins); mt_free(r->first); mt_free(r->stack);
  mt_free(r);
}

/* ---- running ---- */
static bool word_at(const char *s, size_t n, size_t i) {
  if (i >= n) return false;
  return tk_rec(tk_next(s, &i))->flags & TK_RXWORD;
}

static bool assertion(const char *s, size_t n, size_t i, int kind) {
  switch (kind) {
    case '^': return i == 0 || s[i - 1] == '\n';
    case '$': return i == n || s[i] == '\n';
    case 'A': return i == 0;
    case 'z': return i == n;
    case 'Z': return i == n || (i + 1 == n && s[i] == '\n');
    default: {
      bool before = i > 0 && word_at(s, n, tk_prev(s, i));
      return (before != word_at(s, n, i)) == (kind == 'b');
    }
  }
}

static size_t run_of(const TkRegex *r, const Set *set, const char *s, size_t n, size_t i,
                     uint32_t max, uint32_t *count) {
  uint32_t k = 0;
  while (i < n && k < max) {
    unsigned char c = (unsigned char)s[i];
    size_t j = i;
    if (c < 128) { if (!(set->ascii[c >> 6] >> (c & 63) & 1)) break; j++; }
    else if (!set_eval(r, set, tk_next(s, &j))) break;
    i = j;
    k++;
  }
  *count = k;
  return i;
}

static bool push(TkRegex *r, size_t *top, Back b) {
  if (*top >= 4000000 || !tk_grow(&r->stack, &r->stack_cap, *top + 1, sizeof b)) return false;
  r->stack[(*top)++] = b;
  return true;
}

/* 1 matched (*end), 0 not, -1 out of steps or memory.  The stack above base is this call's. */
static int run(TkRegex *r, int pc, const char *s, size_t n, size_t pos, size_t base, size_t *end) {
  size_t top = base, sub;
  for (;;) {
    const Ins *in = &r->ins[pc];
    bool ok = true;
    int k;
    if (++r->steps > 50000000) return -1;
    switch (in->op) {
      case I_MATCH: *end = pos; return 1;
      case I_SET: {
        size_t j = pos;
        if ((ok = pos < n) && (ok = set_has(r, &r->set[in->set], tk_next(s, &j)))) {
          pos = j;
          pc++;
        }
        break;
      }
      case I_RUN: {
        uint32_t got;
        size_t low = pos, stop = run_of(r, &r->set[in->set], s, n, pos, in->max, &got);
        if (!(ok = got >= in->min)) break;
        if (got > in->min) {
          for (uint32_t i = 0; i < in->min; i++) low += tk_char_len((unsigned char)s[low]);
          if (!push(r, &top, (Back){pc + 1, (uint32_t)stop, (uint32_t)low})) return -1;
        }
        pos = stop;
        pc++;
        break;
      }
      case I_TRY:
        if (pos >= n || !(r->first[in->set].bits[(unsigned char)s[pos] >> 3] >> (s[pos] & 7) & 1)) {
          pc = in->x;
          break;
        }
        /* fallthrough */
      case I_SPLIT:
        if (!push(r, &top, (Back){in->x, (uint32_t)pos, (uint32_t)pos})) return -1;
        pc++;
        break;
      case I_LAZY:
        if (!push(r, &top, (Back){pc + 1, (uint32_t)pos, (uint32_t)pos})) return -1;
        pc = in->x;
        break;
      case I_JMP: pc = in->x; break;
      case I_ASSERT: if ((ok = assertion(s, n, pos, in->set))) pc++; break;
      case I_ATOMIC:
        if ((k = run(r, pc + 1, s, n, pos, top, &sub)) < 0) return -1;
        if ((ok = k)) { pos = sub; pc = r->ins[pc].x; }
        break;
      default: {                                              /* I_LOOK */
        size_t at = pos;
        uint32_t back = in->kind ? in->min : 0;
        for (; back && at > 0; back--) at = tk_prev(s, at);
        k = back ? 0 : run(r, pc + 1, s, n, at, top, &sub);
        if (k < 0) return -1;
        if ((ok = (k != 0) != r->ins[pc].neg)) pc = r->ins[pc].x;
      }
    }
    if (ok) continue;
    if (top == base) return 0;
    Back *b = &r->stack[--top];
    pc = b->pc;
    pos = b->pos;
    if (b->low < b->pos) { /* a run gives back its last character */
      pos = tk_prev(s, pos);
      if (b->low < pos) { b->pos = (uint32_t)pos; top++; }
    }
  }
}

int tk_regex_find(TkRegex *r, const char *s, size_t n, size_t at, size_t *ms, size_t *me,
                  TkErr *e) {
  r->steps = 0;
  for (size_t i = at; i <= n; i += i < n ? tk_char_len((unsigned char)s[i]) : 1) {
    if (i < n ? !(r->start.bits[(unsigned char)s[i] >> 3] >> (s[i] & 7) & 1)
              : r->start.bits[0] != 0xFF)
      continue;
    int k = run(r, 0, s, n, i, 0, me);
    if (k < 0) {
      tk_fail(e, "regular expression: too many steps or not enough memory at byte %zu of the text",
              i);
      return -1;
    }
    if (k) { *ms = i; return 1; }
  }
  return 0;
}
