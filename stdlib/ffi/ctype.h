/* ctype.h: C types and declarations, without Lua and without libffi.
 *
 * Invariants.  A CSpace owns every type, name and declaration made in it, until ct_free; types are
 * never changed once complete, and equal pointers mean equal types only for structs, unions and
 * basic types (ct_same compares the rest).  Text that does not parse changes nothing but memory:
 * declarations join the space when all of the text was read.  Sizes and offsets are the compiler's
 * for this machine (LP64, natural alignment). */
#ifndef FFI_CTYPE_H
#define FFI_CTYPE_H
#include "sys/sys.h"

typedef enum {
  CT_VOID,
  CT_BOOL,
  CT_INT,
  CT_FLOAT,
  CT_COMPLEX,
  CT_PTR,
  CT_ARRAY,
  CT_STRUCT,
  CT_FUNC
} CKind;
typedef struct CType CType;
typedef struct CField { const char *name; CType *type; size_t offset; bool is_const; } CField;
struct CType {
  uint8_t kind;
  bool is_unsigned, is_char;     /* of integers */
  bool is_union, packed;         /* of structs */
  bool complete;                 /* its size is known */
  bool to_const;                 /* what it points to, or its elements, must not be written */
  bool variadic;                 /* of functions */
  bool flexible;                 /* an array without a count, or a struct that ends in one */
  size_t size, align;
  CType *to;                     /* pointee, element, result */
  int64_t count;                 /* of array elements */
  int nfields;
  CField *fields;                /* members; parameters (names may be NULL) */
  const char *name;              /* "struct point", "int"; NULL for derived types */
  CType *pointer[2];             /* pointers to it, made once: to it as it is, to it const */
  CType *next;                   /* the space's list of tagged types */
  void *native;                  /* the binding's slot */
};

typedef enum { CD_TYPEDEF, CD_FUNC, CD_VAR, CD_CONST } CDeclKind;
typedef struct CDecl {
  struct CDecl *next;
  CDeclKind kind;
  const char *name, *symbol;     /* symbol: the name in the library */
  CType *type;
  int64_t value;                 /* of CD_CONST */
  bool is_const;
} CDecl;

typedef struct CSpace CSpace;
CSpace *ct_new(void); /* with C's basic types and those of stdint.h, stddef.h */
void ct_free(CSpace *s);
/* Reads declarations; false and e filled when they do not parse. */
bool ct_declare(CSpace *s, const char *text, size_t n, sys_err *e);
/* One type name ("const char *", "int[4]", "int (*)(int)") or, with name not NULL, one declaration
 * of a function ("double pow(double, double)"), whose name is stored there.  An array without a
 * size, or with '?' as size, is flexible.  NULL and e filled when it does not parse. */
CType *ct_parse(CSpace *s, const char *text, size_t n, const char **name, sys_err *e);
const CDecl *ct_find(const CSpace *s, const char *name);
const CDecl *ct_decls(const CSpace *s);    /* newest first */
CType *ct_pointer(CSpace *s, CType *to, bool to_const);
CType *ct_array(CSpace *s, CType *of, int64_t count, bool to_const, sys_err *e);
CType *ct_basic(CSpace *s, const char *name); /* "int", "char", ...; NULL when it is none */
bool ct_same(const CType *a, const CType *b);
const CField *ct_field(const CType *t, const char *name,
                       size_t *offset); /* of nested unnamed members too */
/* The type as C text, with name (or "") in its place; returns buf. */
const char *ct_show(const CType *t, bool is_const, const char *name, char *buf, size_t n);

/* ---- shared by ctype.c and parse.c ---- */
void *ct_alloc(CSpace *s, size_t n);       /* zeroed, owned by the space; NULL: out of memory */
const char *ct_name(CSpace *s, const char *p, size_t n);
CType *ct_make(CSpace *s, CKind kind, size_t size, size_t align);
CType *ct_tagged(CSpace *s, const char *tag, bool make);  /* "struct point" */
bool ct_layout(CType *t,
               sys_err *e); /* offsets, size and alignment of a struct whose fields are set */
bool ct_add(CSpace *s, const CDecl *d);
void ct_set_decls(CSpace *s, CDecl *first);
#endif
