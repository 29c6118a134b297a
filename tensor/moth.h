/* moth.h: the public header of libmoth: tensors, the context every call takes, and the ops
 * (generated from the rows).
 *
 * Invariants.
 *  - A Tensor is a view (sizes, strides, offset in elements) of a Storage; both are counted.
 * Arguments are borrowed, results belong to the innermost open scope of the Ctx, and who keeps one
 * retains it (mt_retain / mt_release).
 *  - The first failure sticks in the Ctx: later calls return NULL at once, so calls chain without
 * checks; one exit reports and clears it.  Nothing here aborts or jumps.
 *  - Every write to a storage through an op bumps its version.
 *  - Calls are for one thread at a time per Ctx; kernels use the pool of base.h inside. */
#ifndef MT_MOTH_H
#define MT_MOTH_H
#include "base.h"
#include <complex.h>
#undef I

typedef float _Complex cfloat;
typedef double _Complex cdouble;

typedef enum {
#define DT(name, ctype, kind, tname, code) MT_##name,
#include "dtype.def"
#undef DT
  MT_NDTYPES, MT_NODTYPE = -1
} DType;
typedef enum { K_NONE = -1, K_BOOL, K_INT, K_FLOAT, K_COMPLEX } Kind;
typedef struct { const char *name, *tname; uint8_t size, kind; } DTypeRow;
extern const DTypeRow mt_dtypes[MT_NDTYPES];
static inline size_t mt_dsize(int d) { return mt_dtypes[d].size; }
static inline int mt_dkind(int d) { return mt_dtypes[d].kind; }
static inline bool mt_is_float(int d) { return mt_dkind(d) == K_FLOAT; }
static inline bool mt_is_complex(int d) { return mt_dkind(d) == K_COMPLEX; }
static inline bool mt_is_int(int d) { return mt_dkind(d) <= K_INT; }      /* bool included */
DType mt_promote(DType a, DType b);
DType mt_real_dtype(DType d);              /* complex64 -> float32, others themselves */
DType mt_complex_dtype(DType d);           /* float32 -> complex64 */
bool mt_can_cast(DType from, DType to);

/* A number with its kind; K_NONE is an absent optional one. */
typedef struct { int8_t kind; union { int64_t i; double d; }; double im; } Scalar;
static inline Scalar mt_si(int64_t i) { Scalar s = {.kind = K_INT, .im = 0}; s.i = i; return s; }
static inline Scalar mt_sb(bool b) { Scalar s = {.kind = K_BOOL, .im = 0}; s.i = b; return s; }
static inline Scalar mt_sd(double d) { Scalar s = {.kind = K_FLOAT, .im = 0}; s.d = d; return s; }
static inline Scalar mt_sc(double re, double im) {
  Scalar s = {.kind = K_COMPLEX, .im = im};
  s.d = re;
  return s;
}
static inline Scalar mt_snone(void) { Scalar s = {.kind = K_NONE, .im = 0}; s.i = 0; return s; }
static inline bool mt_has(Scalar s) { return s.kind != K_NONE; }
static inline double mt_sre(Scalar s) { return s.kind >= K_FLOAT ? s.d : (double)s.i; }
static inline int64_t mt_sint(Scalar s) { return s.kind >= K_FLOAT ? (int64_t)s.d : s.i; }

#define MT_MAXDIM 72                        /* masks of dims hold 64: reductions end there */
#define MT_INLINE_DIMS 6
#define MT_NONE_INT INT64_MIN              /* an absent optional integer */
typedef enum { MT_CPU, MT_META } Device;
enum { MT_REQ_GRAD = 1, MT_WRAPPED = 2, MT_CONJ = 4, MT_NEG = 8, MT_INFERENCE = 16, MT_PARAM = 32,
       MT_LEAFVIEW = 64 /* a view made with gradients off: not part of its base's history */ };

typedef struct Storage {
  int32_t ref;
  uint8_t device, small;                   /* small: data lie behind the header */
  int32_t cls;                             /* size class of the caching allocator, -1 foreign */
  int64_t nbytes, version;
  char *data;
  void (*free_fn)(void *owner); /* foreign memory: called once when the last tensor goes */
  void *owner;
} Storage;

typedef struct Tensor {
  int32_t ref;
  uint8_t dtype, ndim, device, flags;
  uint32_t why; /* why it has no gradient history (mt_why), 0: nothing cut it */
  int64_t numel, offset;                   /* offset in elements */
  int64_t *size, *stride;
  Storage *st;
  struct Tensor *base; /* the tensor this is a view of (never a view itself), retained */
  struct AgMeta *ag;   /* autograd's slot: gradient, node, hooks; NULL for most */
  void *box;                               /* the binding's slot: its object for this tensor */
  int64_t dims[2 * MT_INLINE_DIMS];
} Tensor;

typedef struct {
  Tensor **v;
  int64_t n;
} TensorList; /* entries may be NULL where the schema says Tensor? */
typedef struct { const int64_t *v; int64_t n; } IntList;   /* n < 0: not given */
typedef struct { const Scalar *v; int64_t n; } ScalarList; /* n < 0: not given */
static inline IntList mt_il(const int64_t *v, int64_t n) { IntList l = {v, n}; return l; }
static inline IntList mt_ilnone(void) { IntList l = {NULL, -1}; return l; }
static inline IntList mt_sizes(const Tensor *t) {
  return mt_il(t ? t->size : NULL, t ? t->ndim : 0);
}

/* ---- context: error, scopes, modes ---- */
typedef enum { MT_OK, MT_ERROR, MT_NOMEM, MT_INTERRUPTED, MT_NOTIMPL } ErrKind;
typedef struct Ctx {
  ErrKind err;
  bool grad_mode, inference, deterministic;
  DType default_dtype;
  bool autocast,
      autocast_cache; /* mixed precision (autocast.c) is on; casts of parameters are kept */
  DType autocast_dtype;
  int32_t autocast_depth;                  /* regions open: casts are kept until it is zero */
  struct MtCasts *casts;
  uint32_t site; /* the line that switched gradients off, for Tensor.why */
  Tensor *out;   /* where the running op's first result is wanted, or NULL */
  Tensor **pool; int32_t npool, pool_cap;  /* tensors owned by open scopes */
  const struct OpRow *op;                  /* the op named in error messages */
  void *arena;                             /* small blocks freed when the outermost caller leaves */
  int32_t busy; /* walks under way that call back into the host: scratch memory stays */
  struct Rng *rng;
  void *user;                              /* the binding's */
  char msg[1024];
} Ctx;

Ctx *mt_ctx_new(void);
void mt_ctx_free(Ctx *c);
/* Records an error unless one is there; always returns NULL so that `return mt_fail(...)` reads
 * well. */
void *mt_fail(Ctx *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void *mt_fail_kind(Ctx *c, ErrKind k, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void *mt_nomem(Ctx *c);
bool mt_poll(Ctx *c);                      /* true (and an error) when interrupted */
static inline bool mt_bad(const Ctx *c) { return c->err != MT_OK; }
void mt_clear(Ctx *c);
void mt_autocast_clear(Ctx *c);            /* forgets the parameters' casts */

typedef int32_t Scope;
static inline Scope mt_open(Ctx *c) { return c->npool; }
void mt_close(Ctx *c, Scope s);
void mt_leave(Ctx *c, Scope s); /* the way out to the caller: closes and, when outermost, empties
                                   the scratch memory */
Tensor *mt_close_with(Ctx *c, Scope s, Tensor *keep); /* closes; keep moves to the outer scope */
Tensor *mt_own(Ctx *c, Tensor *t);         /* hands a counted reference to the innermost scope */
void *mt_tmp(Ctx *c,
             size_t n); /* scratch memory until the outermost mt_leave; NULL and an error if none */

/* ---- why a tensor has no history: kind, op id and script line in one word ---- */
enum { MT_CUT_NONE, MT_CUT_NOGRAD, MT_CUT_OP };
static inline uint32_t mt_why(int kind, int op, uint32_t site) {
  return (uint32_t)kind << 30 | (uint32_t)op << 18 | (site & 0x3ffff);
}
extern uint32_t (*mt_site)(void); /* the host's number for the line that runs now; NULL: unknown */

/* ---- tensors ---- */
static inline Tensor *mt_retain(Tensor *t) { if (t) t->ref++; return t; }
void mt_release(Tensor *t);
void mt_storage_release(Storage *s);
Storage *mt_storage_new(Ctx *c, int64_t nbytes, Device dev);
Storage *mt_storage_foreign(Ctx *c, void *data, int64_t nbytes, void (*free_fn)(void *),
                            void *owner);
bool mt_storage_resize(Ctx *c, Storage *s, int64_t nbytes);
Tensor *mt_new(Ctx *c, IntList size, DType d, Device dev); /* contiguous, uninitialised */
Tensor *mt_new_strided(Ctx *c, IntList size, IntList stride, DType d, Device dev);
Tensor *mt_new_like(Ctx *c, const Tensor *t, DType d);                  /* same shape, contiguous */
/* A tensor over storage st; checks that every element lies inside. */
Tensor *mt_from_storage(Ctx *c, Storage *st, IntList size, IntList stride, int64_t offset, DType d);
Tensor *mt_view(Ctx *c, Tensor *t, int ndim, const int64_t *size, const int64_t *stride,
                int64_t offset);
bool mt_become(Ctx *c, Tensor *t,
               const Tensor *v);     /* t takes over v's storage, shape and strides; same dtype */
Tensor *mt_alias(Ctx *c, Tensor *t); /* a new tensor object over the same data, no autograd ties */
Tensor *mt_scalar_tensor(Ctx *c, Scalar s, DType d);
Tensor *mt_wrap(Ctx *c, Scalar s);         /* 0-dim tensor of a number that promotes like one */
Scalar mt_item(Ctx *c, Tensor *t);         /* the value of a one-element tensor */
Scalar mt_load(const void *p, DType d);
void mt_store(void *p, DType d, Scalar s);
bool mt_is_contiguous(const Tensor *t);
bool mt_suggests(const Tensor *t,
                 int fmt); /* do t's strides read as that memory format (any: preserve)? */
bool mt_is_dense(const Tensor *t);         /* non-overlapping and without gaps */
bool mt_overlaps_itself(const Tensor *t);  /* two indices share an element (stride 0) */
Tensor *mt_contig(Ctx *c, Tensor *t);      /* t itself or a row-major copy */
Tensor *mt_cast(Ctx *c, Tensor *t, DType d);
Tensor *mt_contig_as(Ctx *c, Tensor *t, DType d);
Tensor *mt_copy_raw(Ctx *c, Tensor *dst,
                    Tensor *src); /* dst <- src with broadcast and cast; no autograd, no version */
static inline void *mt_data(const Tensor *t) {
  return t->st->data ? t->st->data + t->offset * (int64_t)mt_dsize(t->dtype) : NULL;
}
static inline bool mt_meta(const Tensor *t) { return t->device == MT_META; }
int64_t mt_live_bytes(void);               /* bytes of live tensor data, for the collector */
int64_t mt_live_tensors(void);
bool mt_numel(Ctx *c, IntList size, int64_t *numel); /* product with overflow and sign checks */
int mt_dim(Ctx *c, int64_t dim, int ndim); /* wraps a negative dim; -1 and an error when outside */
uint64_t mt_dim_mask(Ctx *c, IntList dims, int ndim);     /* bit set of dims; empty list: all */
const char *mt_shape_str(Ctx *c, const Tensor *t);        /* "3x4", in scratch memory */
const char *mt_list_str(Ctx *c, IntList l);               /* "[3, 4]" */
bool mt_broadcast(Ctx *c, int ndim_a, const int64_t *a, int ndim_b, const int64_t *b, int *n,
                  int64_t *out);
DType mt_result_type(Ctx *c, Tensor **v, int n);

#include "ops_gen.h"
#include "op.h"
#endif
