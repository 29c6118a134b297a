/* parse.c: C declarations as they stand in headers: typedefs, functions, variables, structs,
 * unions, enums, and #define of whole numbers.  No other preprocessor lines, no bit-fields, no
 * function bodies: those are errors that say so.
 *
 * Invariant: the parser's recursion is bounded (DEPTH), and what it makes belongs to the space. */
#include "ffi/ctype.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH = 60, MAX_FIELDS = 4096 };
typedef enum { T_END, T_NAME, T_NUMBER, T_CHAR, T_STRING, T_PUNCT, T_BAD } Kind;
typedef struct Parser {
  CSpace *s;
  sys_err *e;
  const char *p, *end, *from;    /* p: behind the token; from: its start */
  Kind kind;
  size_t len;
  bool line_start;
  int depth;
  int64_t number;
} Parser;
typedef struct Spec { CType *type; bool is_const, is_typedef, packed; } Spec;
typedef struct Decl { CType *type; bool is_const; const char *name, *symbol; } Decl;

static bool fail(Parser *p, const char *what) {
  char near[60];
  if (p->kind == T_END) return sys_fail(p->e, "C declaration: %s at the end of the text", what);
  return sys_fail(p->e, "C declaration: %s near '%s'", what,
                  sys_quote(near, sizeof near, p->from, p->len < 40 ? p->len : 40));
}
static bool no_memory(Parser *p) { return sys_fail(p->e, "not enough memory"); }

/* ---- tokens ---- */
static bool is_alpha(int c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$';
}
static bool is_digit(int c) { return c >= '0' && c <= '9'; }

static bool define_line(Parser *p, const char *line, const char *stop);

/* Skips blanks, comments and preprocessor lines; false after an error. */
static bool skip(Parser *p) {
  while (p->p < p->end) {
    char c = *p->p;
    if (c == '\n') p->line_start = true, p->p++;
    else if (c == ' ' || c == '\t' || c == '\r' || c == '\f') p->p++;
    else if (c == '/' && p->p + 1 < p->end && p->p[1] == '/') {
      while (p->p < p->end && *p->p != '\n') p->p++;
    } else if (c == '/' && p->p + 1 < p->end && p->p[1] == '*') {
      const char *q = p->p + 2;
      while (q + 1 < p->end && !(q[0] == '*' && q[1] == '/')) q++;
      p->p = q + 1 < p->end ? q + 2 : p->end;
    } else if (c == '#' && p->line_start) {
      const char *line = p->p, *stop = memchr(line, '\n', (size_t)(p->end - line));
      if (!stop) stop = p->end;
      p->p = stop;
      if (!define_line(p, line, stop)) return false;
    } else return true;
  }
  return true;
}

static int64_t char_value(const char *s, size_t n) {
  static const char from[] = "ntr0abfv\\'\"", to[] = "\n\t\r\0\a\b\f\v\\'\"";
  if (n == 3) return s[1];
  const char *at = n == 4 && s[1] == '\\' ? strchr(from, s[2]) : NULL;
  return at && *at ? to[at - from] : -1;
}

static bool next(Parser *p) {
  if (!skip(p)) return p->kind = T_BAD, false;
  p->from = p->p;
  p->len = 0;
  p->line_start = false;
  if (p->p >= p->end) return p->kind = T_END, true;
  char c = *p->p;
  if (is_alpha(c)) {
    while (p->p < p->end && (is_alpha(*p->p) || is_digit(*p->p))) p->p++;
    p->kind = T_NAME;
  } else if (is_digit(c)) {
    char text[40], *stop;
    while (p->p < p->end && (is_alpha(*p->p) || is_digit(*p->p) || *p->p == '.')) p->p++;
    size_t n = (size_t)(p->p - p->from);
    snprintf(text, sizeof text, "%.*s", n < 39 ? (int)n : 39, p->from);
    errno = 0;
    p->number = (int64_t)strtoull(text, &stop, 0);
    stop += strspn(stop, "uUlL");
    p->kind = *stop || errno || n > 39 ? T_BAD : T_NUMBER;
  } else if (c == '\'' || c == '"') {
    p->p++;
    while (p->p < p->end && *p->p != c && *p->p != '\n')
      p->p += *p->p == '\\' && p->p + 1 < p->end ? 2 : 1;
    if (p->p >= p->end || *p->p != c) p->kind = T_BAD;
    else {
      p->p++;
      p->kind = c == '"' ? T_STRING : T_CHAR;
      if (c == '\'') p->number = char_value(p->from, (size_t)(p->p - p->from));
    }
  } else {
    p->p++;
    if (c == '.' && p->end - p->p >= 2 && p->p[0] == '.' && p->p[1] == '.') p->p += 2;
    else if ((c == '<' || c == '>') && p->p < p->end && *p->p == c) p->p++;
    p->kind = T_PUNCT;
  }
  p->len = (size_t)(p->p - p->from);
  return p->kind != T_BAD || fail(p, "cannot read");
}

static bool at(const Parser *p, const char *text) {
  return (p->kind == T_NAME || p->kind == T_PUNCT) && strlen(text) == p->len &&
         !memcmp(p->from, text, p->len);
}
static bool accept(Parser *p, const char *text) { return at(p, text) && next(p); }
static bool expect(Parser *p, const char *text) {
  char what[40];
  if (at(p, text)) return next(p);
  snprintf(what, sizeof what, "expected '%s'", text);
  return fail(p, what);
}

/* ---- constant expressions ---- */
static bool type_name(Parser *p, CType **t);
static bool begins_type(Parser *p);
static bool constant(Parser *p, int level, int64_t *v);

static bool size_of(Parser *p, int64_t *v) {
  CType *t;
  if (!expect(p, "(") || !type_name(p, &t)) return false;
  if (!t->complete) return fail(p, "sizeof of a type whose size is not known");
  *v = (int64_t)t->size;
  return expect(p, ")");
}

static bool primary(Parser *p, int64_t *v) {
  if (p->depth > DEPTH) return fail(p, "nested too deeply");
  if (p->kind == T_NUMBER || p->kind == T_CHAR) return *v = p->number, next(p);
  static const char *const unary[] = {"-", "+", "~", "!"};
  for (int i = 0; i < 4; i++)
    if (at(p, unary[i])) {
      p->depth++;
      bool ok = next(p) && primary(p, v);
      p->depth--;
      uint64_t u = (uint64_t)*v;
      *v = i == 0 ? (int64_t)(0 - u) : i == 1 ? *v : i == 2 ? (int64_t)~u : !u;
      return ok;
    }
  if (accept(p, "(")) {
    p->depth++;
    bool ok = constant(p, 0, v) && expect(p, ")");
    p->depth--;
    return ok;
  }
  if (accept(p, "sizeof")) return size_of(p, v);
  if (p->kind == T_NAME) {
    char name[128];
    snprintf(name, sizeof name, "%.*s", p->len < 127 ? (int)p->len : 127, p->from);
    const CDecl *d = ct_find(p->s, name);
    if (d && d->kind == CD_CONST) return *v = d->value, next(p);
  }
  return p->e->msg[0] ? false : fail(p, "expected a constant");
}

static int level_of(const Parser *p, char *op) {
  static const char *const levels[] = {"|", "^", "&", "<< >>", "+ -", "* / %"};
  if (p->kind != T_PUNCT || p->len > 2) return -1;
  for (int i = 0; i < 6; i++)
    for (const char *q = levels[i]; *q;) {
      size_t n = strcspn(q, " ");
      if (n == p->len && !memcmp(q, p->from, n)) return *op = *q, i;
      q += n + (q[n] == ' ');
    }
  return -1;
}

static bool constant(Parser *p, int level, int64_t *v) {
  char op = 0;
  if (!primary(p, v)) return false;
  for (int l; (l = level_of(p, &op)) >= level;) {
    int64_t w;
    if (!next(p) || !constant(p, l + 1, &w)) return false;
    uint64_t a = (uint64_t)*v, b = (uint64_t)w;
    if ((op == '/' || op == '%') && (w == 0 || (w == -1 && *v == INT64_MIN)))
      return fail(p, "division by zero");
    if ((op == '<' || op == '>') && b > 63) return fail(p, "a shift of more than 63 bits");
    *v = op == '|' ? (int64_t)(a | b) : op == '^' ? (int64_t)(a ^ b) : op == '&' ? (int64_t)(a & b)
       : op == '<' ? (int64_t)(a << b) : op == '>' ? *v >> b : op == '+' ? (int64_t)(a + b)
       : op == '-' ? (int64_t)(a - b) : op == '*' ? (int64_t)(a * b) : op == '/' ? *v / w : *v % w;
  }
  return true;
}

/* #define NAME whole-number; other defines without a value, #include, #pragma once and #ifndef
 * guards are skipped. */
static bool define_line(Parser *p, const char *line, const char *stop) {
  Parser q = *p;
  char name[128];
  q.p = line + 1;
  q.end = stop;
  q.line_start = false;
  q.depth = 0;
  if (!next(&q)) return false;
  if (!at(&q, "define")) {
    if (at(&q, "include") || at(&q, "endif") || at(&q, "ifndef") || at(&q, "undef")) return true;
    q.len = (size_t)(stop - line);
    q.from = line;
    return fail(&q,
                "only #define of whole numbers is understood (no conditionals, no #pragma pack)");
  }
  if (!next(&q) || q.kind != T_NAME) return q.e->msg[0] ? false : fail(&q, "#define needs a name");
  snprintf(name, sizeof name, "%.*s", q.len < 127 ? (int)q.len : 127, q.from);
  if (q.p < q.end && *q.p == '(') return true; /* macros with arguments are not ours */
  int64_t v;
  sys_err quiet = {{0}, 0};
  q.e = &quiet;
  if (!next(&q) || q.kind == T_END || !constant(&q, 0, &v) || q.kind != T_END) return true;
  const char *kept = ct_name(p->s, name, strlen(name));
  return kept && ct_add(p->s, &(CDecl){.kind = CD_CONST, .name = kept, .value = v}) ? true
                                                                                    : no_memory(p);
}

/* ---- specifiers ---- */
static bool attribute(Parser *p, Spec *spec) {
  int depth = 0;
  do {
    if (at(p, "(")) depth++;
    else if (at(p, ")")) depth--;
    else if (at(p, "packed") || at(p, "__packed__")) spec->packed = true;
    else if (at(p, "aligned") || at(p, "__aligned__") || at(p, "vector_size"))
      return fail(p, "this attribute changes the layout and is not supported");
    if (p->kind == T_END) return fail(p, "unfinished attribute");
    if (!next(p)) return false;
  } while (depth > 0);
  return true;
}

static bool qualifier(Parser *p, Spec *spec, bool *any) {
  static const char *const skipped[] = {"volatile",     "__volatile__", "restrict", "__restrict",
                                        "__restrict__", "inline",       "__inline", "__inline__",
                                        "static",       "extern",       "register", "_Noreturn",
                                        "__extension__"};
  *any = true;
  if (at(p, "const") || at(p, "__const")) return spec->is_const = true, next(p);
  if (at(p, "typedef")) return spec->is_typedef = true, next(p);
  if (at(p, "__attribute__") || at(p, "__attribute") || at(p, "_Alignas")) {
    if (at(p, "_Alignas")) return fail(p, "_Alignas is not supported");
    return next(p) && attribute(p, spec);
  }
  for (size_t i = 0; i < sizeof skipped / sizeof *skipped; i++)
    if (at(p, skipped[i])) return next(p);
  *any = false;
  return true;
}

static bool declarator(Parser *p, CType *base, bool is_const, Decl *out);
static bool specifiers(Parser *p, Spec *spec);

static bool members(Parser *p, CType *t) {
  CField *list = NULL;
  int n = 0, cap = 0;
  bool ok = true;
  while (ok && !at(p, "}")) {
    Spec spec = {0};
    if (!(ok = specifiers(p, &spec))) break;
    bool unnamed = at(p, ";") && spec.type->kind == CT_STRUCT;
    do {
      Decl d = {.type = spec.type, .is_const = spec.is_const};
      if (!unnamed && !(ok = declarator(p, spec.type, spec.is_const, &d))) break;
      if (at(p, ":")) { ok = fail(p, "bit-fields are not supported"); break; }
      if (!unnamed && !d.name) { ok = fail(p, "a member needs a name"); break; }
      if (n == MAX_FIELDS) { ok = fail(p, "too many members"); break; }
      if (n == cap) {
        CField *more = mt_realloc(list, sizeof *list * (size_t)(cap = 2 * cap + 8));
        if (!more) { ok = no_memory(p); break; }
        list = more;
      }
      list[n++] = (CField){.name = d.name, .type = d.type, .is_const = d.is_const};
    } while (!unnamed && accept(p, ","));
    ok = ok && expect(p, ";");
  }
  if (ok && (t->fields = ct_alloc(p->s, sizeof *list * (size_t)(n + 1)))) {
    if (n) memcpy(t->fields, list, sizeof *list * (size_t)n);
    t->nfields = n;
  } else if (ok) ok = no_memory(p);
  mt_free(list);
  return ok;
}

/* A header may be declared twice, as long as it says the same. */
static bool same_members(const CType *a, const CType *b) {
  bool same = a->nfields == b->nfields && a->size == b->size && a->align == b->align;
  for (int i = 0; same && i < a->nfields; i++) {
    const CField *f = &a->fields[i], *g = &b->fields[i];
    bool unnamed =
        f->type->kind == CT_STRUCT && strchr(f->type->name, '#') && g->type->kind == CT_STRUCT;
    same = (!f->name == !g->name) && (!f->name || !strcmp(f->name, g->name)) &&
           f->offset == g->offset &&
           (ct_same(f->type, g->type) || (unnamed && same_members(f->type, g->type)));
  }
  return same;
}

static bool struct_spec(Parser *p, Spec *spec, bool is_union) {
  char tag[140];
  static unsigned unnamed;
  Spec attr = {0};
  while (at(p, "__attribute__")) if (!next(p) || !attribute(p, &attr)) return false;
  if (p->kind == T_NAME) {
    snprintf(tag, sizeof tag, "%s %.*s", is_union ? "union" : "struct",
             p->len < 120 ? (int)p->len : 120, p->from);
    if (!next(p)) return false;
  } else snprintf(tag, sizeof tag, "%s #%u", is_union ? "union" : "struct", ++unnamed);
  CType *t = ct_tagged(p->s, tag, true);
  if (!t) return no_memory(p);
  spec->type = t;
  if (!at(p, "{")) return true;
  if (p->depth > DEPTH) return fail(p, "nested too deeply");
  CType made = *t;
  p->depth++;
  bool ok = next(p) && members(p, &made) && expect(p, "}");
  p->depth--;
  while (ok && at(p, "__attribute__")) ok = next(p) && attribute(p, &attr);
  made.packed = attr.packed;
  if (!ok || !ct_layout(&made, p->e)) return false;
  if (!t->complete) *t = made;
  return same_members(t, &made) ? true
                                : fail(p, "this struct was declared before with other members");
}

static bool enum_spec(Parser *p, Spec *spec) {
  int64_t v = 0;
  spec->type = ct_basic(p->s, "int");
  if (p->kind == T_NAME && !next(p)) return false;
  if (!at(p, "{")) return true;
  if (!next(p)) return false;
  while (!at(p, "}")) {
    if (p->kind != T_NAME) return fail(p, "expected a name");
    const char *name = ct_name(p->s, p->from, p->len);
    if (!name) return no_memory(p);
    if (!next(p)) return false;
    if (at(p, "=") && (!next(p) || !constant(p, 0, &v))) return false;
    if (v > INT32_MAX) spec->type = ct_basic(p->s, v > UINT32_MAX ? "long" : "unsigned int");
    if (!ct_add(p->s, &(CDecl){.kind = CD_CONST, .name = name, .value = v})) return no_memory(p);
    v++;
    if (!accept(p, ",")) break;
  }
  return expect(p, "}");
}

/* "unsigned long int" and its permutations, counted word by word. */
static const char *basic_name(const int *n) {
  enum { VOID, CHAR, SHORT, INT, LONG, FLOAT, DOUBLE, SIGNED, UNSIGNED, BOOL, COMPLEX };
  if (n[VOID]) return "void";
  if (n[BOOL]) return "bool";
  if (n[COMPLEX]) return n[FLOAT] ? "float _Complex" : n[LONG] ? NULL : "double _Complex";
  if (n[FLOAT]) return "float";
  if (n[DOUBLE]) return n[LONG] ? "long double" : "double";
  if (n[CHAR]) return n[UNSIGNED] ? "unsigned char" : n[SIGNED] ? "signed char" : "char";
  if (n[SHORT]) return n[UNSIGNED] ? "unsigned short" : "short";
  if (n[LONG] > 1) return n[UNSIGNED] ? "unsigned long long" : "long long";
  if (n[LONG]) return n[UNSIGNED] ? "unsigned long" : "long";
  return n[UNSIGNED] ? "unsigned int" : "int";
}
static const char *const words[][2] = {
    {"void", ""},     {"char", ""},      {"short", ""},          {"int", ""},
    {"long", ""},     {"float", ""},     {"double", ""},         {"signed", "__signed__"},
    {"unsigned", ""}, {"_Bool", "bool"}, {"_Complex", "complex"}};
static int word_of(const Parser *p) {
  for (int i = 0; i < 11; i++)
    if (at(p, words[i][0]) || (words[i][1][0] && at(p, words[i][1]))) return i;
  return -1;
}
static const CDecl *typedef_at(const Parser *p) {
  char name[128];
  if (p->kind != T_NAME || p->len > 127) return NULL;
  snprintf(name, sizeof name, "%.*s", (int)p->len, p->from);
  const CDecl *d = ct_find(p->s, name);
  return d && d->kind == CD_TYPEDEF ? d : NULL;
}
static bool begins_type(Parser *p) {
  return word_of(p) >= 0 || at(p, "const") || at(p, "struct") || at(p, "union") || at(p, "enum") ||
         at(p, "volatile") || typedef_at(p);
}

static bool specifiers(Parser *p, Spec *spec) {
  int count[11] = {0}, total = 0;
  while (p->kind == T_NAME) {
    bool any;
    if (!qualifier(p, spec, &any)) return false;
    if (any) continue;
    int w = word_of(p);
    if (w >= 0) {
      if (spec->type) return fail(p, "two types in one declaration");
      count[w]++, total++;
      if (!next(p)) return false;
      continue;
    }
    if (total || spec->type) break;
    bool is_union = at(p, "union");
    if (is_union || at(p, "struct")) {
      if (!next(p) || !struct_spec(p, spec, is_union)) return false;
    } else if (at(p, "enum")) {
      if (!next(p) || !enum_spec(p, spec)) return false;
    } else {
      const CDecl *d = typedef_at(p);
      if (!d) return fail(p, "unknown type name");
      spec->type = d->type;
      spec->is_const |= d->is_const;
      if (!next(p)) return false;
    }
  }
  if (total) {
    const char *name = basic_name(count);
    spec->type = name ? ct_basic(p->s, name) : NULL;
    if (!spec->type) return fail(p, "this type is not supported");
  }
  return spec->type ? true : fail(p, "expected a type");
}

/* ---- declarators ---- */
static bool parameters(Parser *p, CType *fn) {
  CField list[64];
  int n = 0;
  if (at(p, "void")) {                     /* (void) */
    Parser save = *p;
    if (!next(p)) return false;
    if (at(p, ")")) return true;
    *p = save;
  }
  while (!at(p, ")")) {
    Spec spec = {0};
    Decl d = {0};
    if (accept(p, "...")) { fn->variadic = true; break; }
    if (!specifiers(p, &spec) || !declarator(p, spec.type, spec.is_const, &d)) return false;
    if (n == 64) return fail(p, "too many parameters");
    if (d.type->kind == CT_ARRAY) d.type = ct_pointer(p->s, d.type->to, d.type->to_const);
    else if (d.type->kind == CT_FUNC) d.type = ct_pointer(p->s, d.type, false);
    if (!d.type) return no_memory(p);
    if (d.type->kind == CT_VOID) return fail(p, "a parameter of type void");
    list[n++] = (CField){.name = d.name, .type = d.type};
    if (!accept(p, ",")) break;
  }
  if (p->e->msg[0]) return false;
  fn->fields = ct_alloc(p->s, sizeof *list * (size_t)(n + 1));
  if (!fn->fields) return no_memory(p);
  memcpy(fn->fields, list, sizeof *list * (size_t)n);
  fn->nfields = n;
  return true;
}

static bool array_size(Parser *p, int64_t *n) {
  while (at(p, "const") || at(p, "static") || at(p, "restrict")) if (!next(p)) return false;
  *n = -1;
  if (at(p, "]")) return next(p);
  if (at(p, "?")) return next(p) && expect(p, "]");          /* the count comes when one is made */
  if (!constant(p, 0, n)) return false;
  return *n < 0 ? fail(p, "a negative array size") : expect(p, "]");
}

/* [n] and (parameters) behind a declarator, applied from the right. */
static bool suffixes(Parser *p, CType **t, bool *is_const) {
  if (p->depth > DEPTH) return fail(p, "nested too deeply");
  if (accept(p, "[")) {
    int64_t n;
    if (!array_size(p, &n)) return false;
    p->depth++;
    bool ok = suffixes(p, t, is_const);
    p->depth--;
    if (!ok) return false;
    *t = ct_array(p->s, *t, n, *is_const, p->e);
    *is_const = false;
    return *t != NULL;
  }
  if (at(p, "(")) {
    CType *fn = ct_make(p->s, CT_FUNC, 0, 1);
    if (!fn) return no_memory(p);
    p->depth++;
    bool ok = next(p) && parameters(p, fn) && expect(p, ")") && suffixes(p, t, is_const);
    p->depth--;
    if (!ok) return false;
    if ((*t)->kind == CT_ARRAY || (*t)->kind == CT_FUNC)
      return fail(p, "a function cannot return this type");
    fn->to = *t;
    *t = fn;
    *is_const = false;
  }
  return !p->e->msg[0];
}

/* The declarator proper; a parenthesised one is read twice: first skipped, then applied to the type
 * its suffixes made. */
static bool declarator(Parser *p, CType *base, bool is_const, Decl *out) {
  if (p->depth++ > DEPTH) return fail(p, "nested too deeply");
  while (accept(p, "*")) {
    base = ct_pointer(p->s, base, is_const);
    if (!base) return no_memory(p);
    is_const = false;
    Spec q = {0};
    for (bool any = true; any && p->kind == T_NAME;) if (!qualifier(p, &q, &any)) return false;
    is_const = q.is_const;
  }
  if (p->e->msg[0]) return false;
  Parser inner = *p;
  bool nested = false;
  if (at(p, "(")) {
    Parser look = *p;
    if (!next(&look)) return false;
    nested = at(&look, "*") || at(&look, "(") || (look.kind == T_NAME && !begins_type(&look)) ||
             at(&look, "__attribute__");
  }
  if (nested) {
    int depth = 0;
    do {
      if (at(p, "(")) depth++;
      if (at(p, ")")) depth--;
      if (p->kind == T_END) return fail(p, "expected ')'");
      if (!next(p)) return false;
    } while (depth > 0);
  } else if (p->kind == T_NAME) {
    out->name = ct_name(p->s, p->from, p->len);
    if (!out->name) return no_memory(p);
    if (!next(p)) return false;
  }
  if (!suffixes(p, &base, &is_const)) return false;
  if (nested) {
    if (!next(&inner) || !declarator(&inner, base, is_const, out) || !expect(&inner, ")"))
      return false;
  } else out->type = base, out->is_const = is_const;
  while (at(p, "__attribute__") || at(p, "__asm__") || at(p, "asm") || at(p, "__asm")) {
    bool symbol = !at(p, "__attribute__");
    Spec ignored = {0};
    if (!next(p)) return false;
    if (symbol) {
      if (!expect(p, "(")) return false;
      if (p->kind != T_STRING) return fail(p, "expected a symbol's name");
      out->symbol = ct_name(p->s, p->from + 1, p->len - 2);
      if (!out->symbol) return no_memory(p);
      if (!next(p) || !expect(p, ")")) return false;
    } else if (!attribute(p, &ignored)) return false;
  }
  p->depth--;
  return true;
}

static bool type_name(Parser *p, CType **t) {
  *t = NULL;
  Spec spec = {0};
  Decl d = {0};
  if (!specifiers(p, &spec) || !declarator(p, spec.type, spec.is_const, &d)) return false;
  if (d.name) return fail(p, "a type was expected, without a name");
  *t = d.type;
  return true;
}

/* ---- declarations ---- */
static bool add(Parser *p, const Spec *spec, const Decl *d) {
  CDecl new = {.name = d->name, .symbol = d->symbol, .type = d->type, .is_const = d->is_const};
  new.kind = spec->is_typedef ? CD_TYPEDEF : d->type->kind == CT_FUNC ? CD_FUNC : CD_VAR;
  char a[160], b[160];
  const CDecl *old = ct_find(p->s, d->name);
  if (old && old->kind == new.kind && old->kind != CD_CONST && ct_same(old->type, new.type))
    return true;
  if (old && old->kind != CD_CONST)
    return sys_fail(p->e, "C declaration: '%s' was declared as '%s' and now as '%s'", d->name,
                    ct_show(old->type, false, "", a, sizeof a),
                    ct_show(new.type, false, "", b, sizeof b));
  return ct_add(p->s, &new) ? true : no_memory(p);
}

static bool declaration(Parser *p) {
  Spec spec = {0};
  if (accept(p, ";")) return true;
  if (at(p, "extern")) {                   /* extern "C" { ... } */
    if (!next(p)) return false;
    if (p->kind == T_STRING) {
      if (!next(p)) return false;
      if (!accept(p, "{")) return declaration(p);
      while (!at(p, "}"))
        if (p->kind == T_END ? !fail(p, "expected '}'") : !declaration(p)) return false;
      return next(p);
    }
  }
  if (!specifiers(p, &spec)) return false;
  if (accept(p, ";")) return true;         /* a struct or enum alone */
  do {
    Decl d = {0};
    if (!declarator(p, spec.type, spec.is_const, &d)) return false;
    if (!d.name) return fail(p, "a declaration needs a name");
    if (at(p, "{"))
      return fail(p, "function bodies cannot be given here: compile them into a library");
    if (!add(p, &spec, &d)) return false;
  } while (accept(p, ","));
  return p->e->msg[0] ? false : p->kind == T_END ? true : expect(p, ";");
}

bool ct_declare(CSpace *s, const char *text, size_t n, sys_err *e) {
  Parser p = {.s = s, .e = e, .p = text, .end = text + n, .line_start = true};
  CDecl *before = (CDecl *)(uintptr_t)ct_decls(s);
  bool ok = next(&p);
  while (ok && p.kind != T_END) ok = declaration(&p);
  if (!ok || e->msg[0]) ct_set_decls(s, before);
  return ok && !e->msg[0];
}

CType *ct_parse(CSpace *s, const char *text, size_t n, const char **name, sys_err *e) {
  Parser p = {.s = s, .e = e, .p = text, .end = text + n, .line_start = true};
  Spec spec = {0};
  Decl d = {0};
  if (!next(&p) || !specifiers(&p, &spec) || !declarator(&p, spec.type, spec.is_const, &d))
    return NULL;
  if (name) accept(&p, ";");
  if (p.kind != T_END) fail(&p, "unexpected text");
  else if (!name && d.name) fail(&p, "a type was expected, without a name");
  else if (name && !d.name) sys_fail(e, "C declaration: a function needs a name");
  else if (name) *name = d.symbol ? d.symbol : d.name;
  return e->msg[0] ? NULL : d.type;
}
