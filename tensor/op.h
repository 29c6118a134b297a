/* op.h: what an op row becomes at run time, and the one way to call it.
 *
 * Invariants.  Rows are data made by opgen.lua from the *.def files; a row's kernel is the C
 * function k_NAME with the schema's typed arguments, called through its thunk; t_NAME is the same
 * signature with dispatch (conjugate views resolved, meta device, autograd's hook, in-place and
 * out=).  Nobody calls k_NAME but the thunk. */
#ifndef MT_OP_H
#define MT_OP_H
#include "moth.h"

typedef enum {
  P_Tensor,
  P_TensorList,
  P_Scalar,
  P_ScalarList,
  P_int,
  P_IntList,
  P_float,
  P_bool,
  P_str,
  P_dtype,
  P_device,
  P_layout,
  P_memfmt,
  P_generator
} ParamType;
typedef struct Val {
  union {
    Tensor *t;
    TensorList tl;
    Scalar s;
    ScalarList sl;
    int64_t i;
    IntList il;
    double d;
    const char *str;
  };
} Val;
enum {
  PF_FIXED = 1, /* a bool that takes its default only: another overload has the other value */
  PF_PAIR
}; /* dims_self, before dims_other: both may come as one list `dims` of two lists */
typedef struct ParamRow {
  const char *name;
  uint8_t type, optional, kwonly, has_default, list_len,
      opt_elems;                           /* list_len: int[1] takes a bare int too */
  uint8_t form;                            /* PF_... */
  uint8_t number; /* a Tensor that may be given as a number; 2: also when all are */
  Val def;
  const char *def_text;
} ParamRow;
enum {
  OF_INPLACE = 1,
  OF_OUT = 2,
  OF_COMPOSITE = 4,
  OF_NODIFF = 8,
  OF_METHOD = 16,
  OF_FUNCTION = 32,
  OF_VIEW = 64,
  OF_CONJ = 128,
  OF_HIDDEN = 256,
  OF_META = 512,
  OF_PENDING = 1024,
  OF_RANDOM = 2048,
  OF_INPLACE_ONLY = 4096,
  OF_POINTWISE = 8192,
  OF_ATTR = 16384,
  OF_LISTRET = 32768,
  OF_COMPACT = 65536, /* absent results are left out, not nil */
  OF_OWN_OUT = 131072 /* out= has the result's dtype, no wider one */
};
struct DerivRow;
typedef struct OpRow {
  const char *name;                        /* C name: max_dim */
  const char *path; /* "torch.max", "torch.linalg.inv", "torch.nn.functional.relu" */
  const char *overload;                    /* "dim" or "" */
  const char *base;                        /* "max": name of method and in-place form */
  const char *schema, *aliases, *meta, *doc, *example, *see, *expr;
  uint32_t flags;
  uint8_t nparam, nret;
  const ParamRow *params;
  const char *const *ret_names;
  const uint8_t *ret_types;                /* ParamType of each result */
  void (*thunk)(Ctx *c, Val *a, Val *r);
  int id;
  uint32_t tmask, lmask; /* which parameters are tensors, which lists of tensors */
} OpRow;
extern const OpRow mt_ops[];
extern const int mt_nops;

/* Runs row op on args a; results in r (owned by the innermost scope).  out: NULL, or the tensors
 * that receive the results (out[0] == a[0].t for in-place). */
void mt_call(Ctx *c, const OpRow *op, Val *a, Val *r);
void mt_call_out(Ctx *c, const OpRow *op, Val *a, Val *r, Tensor **out, int nout, bool inplace);
/* Casts the arguments as mixed precision wants and calls; false: the op is in none of its lists. */
bool mt_autocast_call(Ctx *c, const OpRow *op, Val *a, Val *r);
/* The bare kernel with its scope closed behind it: for autograd. */
void mt_run_kernel(Ctx *c, const OpRow *op, Val *a, Val *r);
void mt_run_kernel_out(Ctx *c, const OpRow *op, Val *a, Val *r, Tensor **out, int nout,
                       bool inplace);
/* Autograd sets this; NULL: tensors never record. */
extern void (*mt_autograd_call)(Ctx *c, const OpRow *op, Val *a, Val *r, Tensor **out, int nout,
                                bool inplace);
/* t became its own view v (transpose_ and its like): autograd checks before (v NULL) and moves v's
 * history after. */
extern bool (*mt_autograd_adopt)(Ctx *c, Tensor *t, Tensor *v);
const OpRow *mt_find_op(const char *cname);

/* A profiler's or tracer's view of every op; NULL: off. */
extern void (*mt_op_observer)(Ctx *c, const OpRow *op, int begin);
#endif
