/* ctype.c: making, laying out, comparing and showing C types. */
#include "ffi/ctype.h"
#include <string.h>

enum { BLOCK = 8192 };
typedef struct Block { struct Block *next; size_t used, size; max_align_t data[]; } Block;
struct CSpace {
  Block *blocks;
  CType *tagged;
  CDecl *decls;
  struct { const char *name; CType *type; } basic[32];
  int nbasic;
};

void *ct_alloc(CSpace *s, size_t n) {
  n = (n + 15) & ~(size_t)15;
  if (!s->blocks || s->blocks->size - s->blocks->used < n) {
    size_t size = n > BLOCK ? n : BLOCK;
    Block *b = mt_calloc(sizeof *b + size);
    if (!b) return NULL;
    b->size = size;
    b->next = s->blocks;
    s->blocks = b;
  }
  void *p = (char *)s->blocks->data + s->blocks->used;
  s->blocks->used += n;
  return p;
}

const char *ct_name(CSpace *s, const char *p, size_t n) {
  char *q = ct_alloc(s, n + 1);
  if (q) memcpy(q, p, n);
  return q;
}

CType *ct_make(CSpace *s, CKind kind, size_t size, size_t align) {
  CType *t = ct_alloc(s, sizeof *t);
  if (!t) return NULL;
  t->kind = (uint8_t)kind;
  t->size = size;
  t->align = align;
  t->complete = size > 0;
  return t;
}

/* ---- C's own types ---- */
static const struct { const char *name; uint8_t kind, size, is_unsigned, is_char;
} basics[] = {{"void", CT_VOID, 0, 0, 0},
              {"bool", CT_BOOL, sizeof(bool), 1, 0},
              {"char", CT_INT, 1, (char)-1 > 0, 1},
              {"signed char", CT_INT, 1, 0, 1},
              {"unsigned char", CT_INT, 1, 1, 1},
              {"short", CT_INT, 2, 0, 0},
              {"unsigned short", CT_INT, 2, 1, 0},
              {"int", CT_INT, 4, 0, 0},
              {"unsigned int", CT_INT, 4, 1, 0},
              {"long", CT_INT, sizeof(long), 0, 0},
              {"unsigned long", CT_INT, sizeof(long), 1, 0},
              {"long long", CT_INT, 8, 0, 0},
              {"unsigned long long", CT_INT, 8, 1, 0},
              {"float", CT_FLOAT, 4, 0, 0},
              {"double", CT_FLOAT, 8, 0, 0},
              {"long double", CT_FLOAT, sizeof(long double), 0, 0},
              {"float _Complex", CT_COMPLEX, 8, 0, 0},
              {"double _Complex", CT_COMPLEX, 16, 0, 0}};
static const struct { const char *name, *is;
} aliases[] = {{"int8_t", "signed char"},
               {"uint8_t", "unsigned char"},
               {"int16_t", "short"},
               {"uint16_t", "unsigned short"},
               {"int32_t", "int"},
               {"uint32_t", "unsigned int"},
               {"int64_t", "long"},
               {"uint64_t", "unsigned long"},
               {"size_t", "unsigned long"},
               {"ssize_t", "long"},
               {"ptrdiff_t", "long"},
               {"intptr_t", "long"},
               {"uintptr_t", "unsigned long"},
               {"intmax_t", "long"},
               {"uintmax_t", "unsigned long"},
               {"off_t", "long"},
               {"time_t", "long"},
               {"clock_t", "long"},
               {"wchar_t", "int"},
               {"char16_t", "unsigned short"},
               {"char32_t", "unsigned int"},
               {"pid_t", "int"},
               {"uint", "unsigned int"}};

CType *ct_basic(CSpace *s, const char *name) {
  for (int i = 0; i < s->nbasic; i++)
    if (!strcmp(s->basic[i].name, name)) return s->basic[i].type;
  return NULL;
}

CSpace *ct_new(void) {
  CSpace *s = mt_calloc(sizeof *s);
  bool ok = s != NULL;
  for (size_t i = 0; ok && i < sizeof basics / sizeof *basics; i++) {
    size_t size = basics[i].size, align = basics[i].kind == CT_COMPLEX ? size / 2 : size;
    CType *t = ct_make(s, basics[i].kind, size, align ? align : 1);
    if (!(ok = t != NULL)) break;
    t->is_unsigned = basics[i].is_unsigned;
    t->is_char = basics[i].is_char;
    t->name = basics[i].name;
    s->basic[s->nbasic].name = basics[i].name;
    s->basic[s->nbasic++].type = t;
  }
  for (size_t i = 0; ok && i < sizeof aliases / sizeof *aliases; i++)
    ok = ct_add(
        s,
        &(CDecl){.kind = CD_TYPEDEF, .name = aliases[i].name, .type = ct_basic(s, aliases[i].is)});
  CType *file = ok ? ct_tagged(s, "struct _IO_FILE", true) : NULL;
  if (file) file->name = "FILE";
  if (ok && file) ok = ct_add(s, &(CDecl){.kind = CD_TYPEDEF, .name = "FILE", .type = file});
  if (ok && file) return s;
  ct_free(s);
  return NULL;
}

void ct_free(CSpace *s) {
  if (!s) return;
  for (Block *b = s->blocks, *next; b; b = next) next = b->next, mt_free(b);
  mt_free(s);
}

/* ---- names ---- */
const CDecl *ct_find(const CSpace *s, const char *name) {
  for (const CDecl *d = s->decls; d; d = d->next)
    if (!strcmp(d->name, name)) return d;
  return NULL;
}
const CDecl *ct_decls(const CSpace *s) { return s->decls; }
void ct_set_decls(CSpace *s, CDecl *first) { s->decls = first; }

bool ct_add(CSpace *s, const CDecl *d) {
  CDecl *q = ct_alloc(s, sizeof *q);
  if (!q) return false;
  *q = *d;
  if (!q->symbol) q->symbol = q->name;
  q->next = s->decls;
  s->decls = q;
  return true;
}

CType *ct_tagged(CSpace *s, const char *tag, bool make) {
  for (CType *t = s->tagged; t; t = t->next)
    if (!strcmp(t->name, tag)) return t;
  if (!make) return NULL;
  CType *t = ct_make(s, CT_STRUCT, 0, 1);
  if (!t || !(t->name = ct_name(s, tag, strlen(tag)))) return NULL;
  t->is_union = !strncmp(tag, "union", 5);
  t->next = s->tagged;
  s->tagged = t;
  return t;
}

/* ---- derived types ---- */
CType *ct_pointer(CSpace *s, CType *to, bool to_const) {
  CType *t = to->pointer[to_const];
  if (!t && (t = ct_make(s, CT_PTR, sizeof(void *), sizeof(void *))))
    t->to = to, t->to_const = to_const, to->pointer[to_const] = t;
  return t;
}

CType *ct_array(CSpace *s, CType *of, int64_t count, bool to_const, sys_err *e) {
  char buf[120];
  if (!of->complete || of->flexible || of->kind == CT_FUNC) {
    sys_fail(e, "an array of '%s', whose size is not known",
             ct_show(of, false, "", buf, sizeof buf));
    return NULL;
  }
  if (count > 0 && (uint64_t)count > ((uint64_t)1 << 46) / of->size) {
    sys_fail(e, "an array of %lld elements is too big", (long long)count);
    return NULL;
  }
  CType *t = ct_make(s, CT_ARRAY, count > 0 ? (size_t)count * of->size : 0, of->align);
  if (!t) return sys_fail(e, "not enough memory") ? NULL : NULL;
  t->to = of;
  t->to_const = to_const;
  t->count = count;
  t->flexible = count < 0;
  t->complete = count >= 0;
  return t;
}

bool ct_layout(CType *t, sys_err *e) {
  size_t at = 0, align = 1, most = 0;
  for (int i = 0; i < t->nfields; i++) {
    CField *f = &t->fields[i];
    bool last = i == t->nfields - 1;
    char buf[120];
    if (f->type->flexible && last && !t->is_union) t->flexible = true;
    else if (!f->type->complete || f->type->flexible || f->type->kind == CT_FUNC)
      return sys_fail(e, "member '%s' of %s has type '%s', whose size is not known",
                      f->name ? f->name : "?", t->name,
                      ct_show(f->type, false, "", buf, sizeof buf));
    size_t a = t->packed ? 1 : f->type->align;
    if (t->is_union) f->offset = 0;
    else f->offset = at = (at + a - 1) / a * a, at += f->type->size;
    if (f->type->size > most) most = f->type->size;
    if (a > align) align = a;
  }
  if (t->is_union) at = most;
  if (at > (size_t)1 << 46) return sys_fail(e, "%s is too big", t->name);
  t->align = align;
  t->size = (at + align - 1) / align * align;
  t->complete = true;
  return true;
}

const CField *ct_field(const CType *t, const char *name, size_t *offset) {
  for (int i = 0; t->complete && i < t->nfields; i++) {
    const CField *f = &t->fields[i];
    if (f->name && !strcmp(f->name, name)) { *offset = f->offset; return f; }
    size_t inner;
    if (!f->name && f->type->kind == CT_STRUCT) {
      const CField *g = ct_field(f->type, name, &inner);
      if (g) { *offset = f->offset + inner; return g; }
    }
  }
  return NULL;
}

bool ct_same(const CType *a, const CType *b) {
  if (a == b) return true;
  if (a->kind != b->kind || a->size != b->size) return false;
  switch (a->kind) {
    case CT_VOID: case CT_BOOL: case CT_FLOAT: case CT_COMPLEX: return true;
    case CT_INT: return a->is_unsigned == b->is_unsigned;
    case CT_PTR: return ct_same(a->to, b->to);
    case CT_ARRAY: return a->count == b->count && ct_same(a->to, b->to);
    case CT_FUNC:
      if (a->nfields != b->nfields || a->variadic != b->variadic || !ct_same(a->to, b->to))
        return false;
      for (int i = 0; i < a->nfields; i++)
        if (!ct_same(a->fields[i].type, b->fields[i].type)) return false;
      return true;
    default: return false;                 /* structs are the same only when they are one */
  }
}

/* ---- as text ---- */
/* C writes types around the name: what stands inside is built first, then wrapped. */
const char *ct_show(const CType *t, bool is_const, const char *name, char *buf, size_t n) {
  char inner[160], args[160];
  snprintf(inner, sizeof inner, "%s", name);
  for (int depth = 0; depth < 12; depth++) {
    char next[160];
    bool wrap = inner[0] == '*';
    if (t->kind == CT_PTR)
      snprintf(next, sizeof next, "*%s%.150s", is_const ? "const " : "", inner);
    else if (t->kind == CT_ARRAY && t->count < 0)
      snprintf(next, sizeof next, wrap ? "(%.150s)[]" : "%.150s[]", inner);
    else if (t->kind == CT_ARRAY)
      snprintf(next, sizeof next, wrap ? "(%.120s)[%lld]" : "%.120s[%lld]", inner,
               (long long)t->count);
    else if (t->kind == CT_FUNC) {
      size_t used = 0;
      args[0] = 0;
      for (int i = 0; i < t->nfields && used < sizeof args - 40; i++) {
        char one[80];
        ct_show(t->fields[i].type, false, "", one, sizeof one);
        used += (size_t)snprintf(args + used, sizeof args - used, "%s%.60s", i ? ", " : "", one);
        if (used >= sizeof args) used = sizeof args - 1;
      }
      if (t->variadic && used < sizeof args - 6) snprintf(args + used, sizeof args - used, ", ...");
      snprintf(next, sizeof next, wrap ? "(%.60s)(%.90s)" : "%.60s(%.90s)", inner, args);
    } else break;
    is_const = t->kind == CT_PTR || t->kind == CT_ARRAY ? t->to_const : false;
    memcpy(inner, next, sizeof inner);
    t = t->to;
  }
  snprintf(buf, n, "%s%s%s%s", is_const ? "const " : "", t->name ? t->name : "?",
           inner[0] ? " " : "", inner);
  return buf;
}
