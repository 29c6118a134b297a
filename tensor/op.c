/* op.c: dispatch: what happens around every kernel, once for all ops.
 *
 * In order: conjugate and negative views are resolved for kernels that do not know them; autograd's
 * hook takes over when a gradient may be wanted; meta inputs are replaced by stand-ins; the kernel
 * runs in a scope of its own; in-place and out= results land in their tensors with PyTorch's checks
 * and the version is bumped. */
#include "iter.h"
#include "op.h"
#include <string.h>

void (*mt_autograd_call)(Ctx *c, const OpRow *op, Val *a, Val *r, Tensor **out, int nout,
                         bool inplace);
bool (*mt_autograd_adopt)(Ctx *c, Tensor *t, Tensor *v);
uint32_t (*mt_site)(void);
void (*mt_op_observer)(Ctx *c, const OpRow *op, int begin);

#define EACH_BIT(m, i)                                                                 \
  for (uint32_t m_ = (m), i; m_ && (i = (uint32_t)__builtin_ctz(m_), 1); m_ &= m_ - 1)

typedef struct { uint8_t flags; bool meta; } Seen;
/* A view of a tensor that gained a history through an in-place write has one too. */
static void look(Seen *s, const Tensor *t) {
  s->flags |= t->flags;
  s->meta |= t->device == MT_META;
  if (t->base && !(t->flags & MT_LEAFVIEW)) s->flags |= t->base->flags & MT_REQ_GRAD;
}
static Seen scan(const OpRow *op, const Val *a) {
  Seen s = {0, false};
  EACH_BIT(op->tmask, i) if (a[i].t) look(&s, a[i].t);
  EACH_BIT(op->lmask, i)
  for (int64_t k = 0; k < a[i].tl.n; k++) if (a[i].tl.v[k]) look(&s, a[i].tl.v[k]);
  return s;
}

static void no_result(const OpRow *op, Val *r) { memset(r, 0, sizeof(Val) * op->nret); }

static Tensor *resolve(Ctx *c, Tensor *t) {
  return t && (t->flags & (MT_CONJ | MT_NEG)) ? t_resolve_neg(c, t_resolve_conj(c, t)) : t;
}

static TensorList map_list(Ctx *c, TensorList l, Tensor *(*f)(Ctx *, Tensor *)) {
  if (l.n <= 0) return l;
  TensorList out = {mt_tmp(c, sizeof(Tensor *) * (size_t)l.n), l.n};
  if (!out.v) return l;
  for (int64_t k = 0; k < l.n; k++) out.v[k] = l.v[k] ? f(c, l.v[k]) : NULL;
  return out;
}

static void map_args(Ctx *c, const OpRow *op, Val *a, Tensor *(*f)(Ctx *, Tensor *)) {
  EACH_BIT(op->tmask, i) if (a[i].t) a[i].t = f(c, a[i].t);
  EACH_BIT(op->lmask, i) a[i].tl = map_list(c, a[i].tl, f);
}

/* A stand-in with one zero element behind every index. */
static Tensor *meta_standin(Ctx *c, Tensor *t) {
  if (!mt_meta(t)) return t;
  int64_t zero[MT_MAXDIM] = {0};
  Tensor *z = mt_scalar_tensor(c, mt_si(0), (DType)t->dtype);
  if (!z) return NULL;
  Tensor *v = mt_view(c, z, t->ndim, t->size, zero, 0);
  if (v) v->flags |= t->flags & MT_WRAPPED;
  return v;
}
static Tensor *to_meta(Ctx *c, Tensor *t) {
  return mt_meta(t)
             ? t
             : mt_new_strided(c, mt_sizes(t), mt_il(t->stride, t->ndim), (DType)t->dtype, MT_META);
}

/* Everything above mark in the pool goes, except the results. */
static void collapse(Ctx *c, const OpRow *op, Val *r, Scope mark) {
  if (c->npool == mark || (op->nret == 1 && c->npool == mark + 1 && op->ret_types[0] == P_Tensor &&
                           c->pool[mark] == r[0].t))
    return;
  for (int k = 0; k < op->nret; k++) {
    if (op->ret_types[k] == P_Tensor) mt_retain(r[k].t);
    else if (op->ret_types[k] == P_TensorList)
      for (int64_t j = 0; j < r[k].tl.n; j++) mt_retain(r[k].tl.v[j]);
  }
  while (c->npool > mark) mt_release(c->pool[--c->npool]);
  for (int k = 0; k < op->nret; k++) {
    if (op->ret_types[k] == P_Tensor) mt_own(c, r[k].t);
    else if (op->ret_types[k] == P_TensorList)
      for (int64_t j = 0; j < r[k].tl.n; j++) mt_own(c, r[k].tl.v[j]);
  }
}

static void run_thunk(Ctx *c, const OpRow *op, Val *a, Val *r) {
  Scope mark = mt_open(c);
  bool outer = !c->op;
  if (outer) c->op = op;
  if (mt_op_observer) mt_op_observer(c, op, 1);
  op->thunk(c, a, r);
  if (mt_op_observer) mt_op_observer(c, op, 0);
  c->out = NULL;
  if (c->err) no_result(op, r);
  collapse(c, op, r, mark);
  if (outer) c->op = NULL;
}

void mt_run_kernel(Ctx *c, const OpRow *op, Val *a, Val *r) {
  Val local[32];
  if (c->err) { no_result(op, r); return; }
  if (!(op->flags & (OF_VIEW | OF_COMPOSITE | OF_META)) && scan(op, a).meta) {
    memcpy(local, a, sizeof(Val) * op->nparam);
    map_args(c, op, local, meta_standin);
    run_thunk(c, op, local, r);
    for (int k = 0; !c->err && k < op->nret; k++) {
      if (op->ret_types[k] == P_Tensor && r[k].t) r[k].t = to_meta(c, r[k].t);
      else if (op->ret_types[k] == P_TensorList) r[k].tl = map_list(c, r[k].tl, to_meta);
    }
    return;
  }
  run_thunk(c, op, a, r);
}

static bool records(Ctx *c, const OpRow *op, uint8_t flags) {
  return (flags & MT_REQ_GRAD) && c->grad_mode && mt_autograd_call &&
         !(op->flags & (OF_COMPOSITE | OF_NODIFF));
}

/* Views made without gradient mode stay outside their base's history. */
static void mark_views(const OpRow *op, Val *r) {
  if (op->ret_types[0] == P_Tensor) { if (r[0].t) r[0].t->flags |= MT_LEAFVIEW; }
  else for (int64_t k = 0; k < r[0].tl.n; k++) r[0].tl.v[k]->flags |= MT_LEAFVIEW;
}

/* An input wanted gradients and the results will not: remembered for the person who asks why. */
static void mark_cut(Ctx *c, const OpRow *op, Val *r, bool outer) {
  uint32_t why = c->grad_mode ? mt_why(MT_CUT_OP, op->id, outer && mt_site ? mt_site() : 0)
                              : mt_why(MT_CUT_NOGRAD, op->id, c->site);
  for (int k = 0; k < op->nret && !c->err; k++)
    if (op->ret_types[k] == P_Tensor && r[k].t && !(r[k].t->flags & MT_REQ_GRAD)) r[k].t->why = why;
}

void mt_call(Ctx *c, const OpRow *op, Val *a, Val *r) {
  if (c->err) { no_result(op, r); return; }
  if (__builtin_expect(c->autocast, 0) && mt_autocast_call(c, op, a, r)) return;
  if (op->flags &
      OF_INPLACE_ONLY) { /* copy_ and its like write their first argument however they are called */
    Tensor *self[1] = {a[0].t};
    mt_call_out(c, op, a, r, self, 1, true);
    return;
  }
  c->out = NULL;
  Seen s = scan(op, a);
  Val local[32];
  if ((s.flags & (MT_CONJ | MT_NEG)) && !(op->flags & (OF_CONJ | OF_COMPOSITE | OF_VIEW))) {
    memcpy(local, a, sizeof(Val) * op->nparam);
    map_args(c, op, local, resolve);
    a = local;
  }
  if (records(c, op, s.flags)) mt_autograd_call(c, op, a, r, NULL, 0, false);
  else {
    mt_run_kernel(c, op, a, r);
    if (op->flags & OF_VIEW && !c->grad_mode) mark_views(op, r);
    if (s.flags & MT_REQ_GRAD && !(op->flags & OF_COMPOSITE) && mt_autograd_call)
      mark_cut(c, op, r, !c->op);
  }
}

/* ---- in place and out= ---- */
/* In place these touch only some elements of self: one place may be among them several times. */
static bool writes_some(const OpRow *op) {
  return op->id == OP_masked_fill || op->id == OP_masked_fill_Tensor || op->id == OP_index_fill ||
         op->id == OP_index_fill_Tensor || op->id == OP_tril || op->id == OP_triu;
}
/* These go through self's first dimension from front to back, each step on what the last left. */
static bool goes_stepwise(const OpRow *op) { return op->id == OP_addmv || op->id == OP_baddbmm; }
/* PyTorch's list.  Filling may meet one place twice; conjugates of real numbers and repaired
 * integers write nothing; index_put writes in the order of its values. */
static bool may_overlap(const OpRow *op, const Tensor *t) {
  return op->id == OP_fill || op->id == OP_fill_Tensor || op->id == OP_zero ||
         op->id == OP_threshold || op->id == OP_index_put || writes_some(op) ||
         (goes_stepwise(op) && t->size[0] > 1 && t->stride[0] == 0) ||
         (op->id == OP_conj_physical && !mt_is_complex(t->dtype)) ||
         (op->id == OP_nan_to_num && mt_is_int(t->dtype));
}
static bool check_written(Ctx *c, const OpRow *op, Tensor *t, bool inplace) {
  if (inplace && op->id == OP_abs && mt_is_complex(t->dtype)) {
    mt_fail(c, "in-place abs is not supported for complex tensors: the result is real");
    return false;
  }
  if (mt_overlaps_itself(t) && !(inplace && (may_overlap(op, t) || may_overlap(c->op, t)))) {
    mt_fail(c, "several elements of the tensor written to share one memory location (an expanded "
               "tensor); clone() it first");
    return false;
  }
  return true;
}

/* Two different tensors that share some but not all of their memory layout: reading one while
 * writing the other is undefined. */
static bool partly_overlap(const Tensor *a, const Tensor *b) {
  if (a == b || a->st != b->st || !a->numel || !b->numel || a->dtype != b->dtype) return false;
  if (a->offset == b->offset && a->numel == b->numel && a->ndim == b->ndim &&
      !memcmp(a->size, b->size, sizeof(int64_t) * a->ndim) &&
      !memcmp(a->stride, b->stride, sizeof(int64_t) * a->ndim))
    return false;
  if (!mt_is_dense(a) || !mt_is_dense(b)) return false; /* as PyTorch: too hard to tell */
  int64_t ae = a->offset + a->numel, be = b->offset + b->numel;
  return a->offset < be && b->offset < ae;
}

/* n: the elements a will have once it fits its result */
static bool same_memory(const Tensor *a, int64_t n, const Tensor *b) {
  if (a->st != b->st || !n || !b->numel || !mt_is_dense(a) || !mt_is_dense(b)) return false;
  int64_t size = (int64_t)mt_dsize(a->dtype), bsize = (int64_t)mt_dsize(b->dtype);
  return a->offset * size < (b->offset + b->numel) * bsize &&
         b->offset * bsize < (a->offset + n) * size;
}

/* PyTorch forbids even a full overlap to ops that read out of order. */
static bool check_apart(Ctx *c, const OpRow *op, const Val *a, Tensor *out, int64_t n) {
  if (op->id != OP_cat && op->id != OP_gather && op->id != OP_masked_select &&
      op->id != OP_index_select && op->id != OP_take && op->id != OP_kthvalue)
    return true;
  bool bad = false;
  EACH_BIT(op->tmask, i) bad |= a[i].t && same_memory(out, n, a[i].t);
  EACH_BIT(op->lmask, i)
  for (int64_t k = 0; k < a[i].tl.n; k++) bad |= a[i].tl.v[k] && same_memory(out, n, a[i].tl.v[k]);
  if (bad)
    mt_fail(c, "unsupported operation: an input shares memory with out; clone() one of them first");
  return !bad;
}

static bool check_overlap(Ctx *c, const OpRow *op, const Val *a, Tensor *out, bool inplace) {
  if (!inplace && !check_apart(c, op, a, out, out->numel)) return false;
  if (!(op->flags & OF_POINTWISE)) return true;
  EACH_BIT(op->tmask, i)
    if (a[i].t && partly_overlap(out, a[i].t)) {
      mt_fail(
          c,
          "the tensor written to and argument '%s' partly share memory; clone() one of them first",
          op->params[i].name);
      return false;
    }
  return true;
}

/* Gives out the result's shape; only out= may do that, and addbmm_. */
static bool fit_out(Ctx *c, const OpRow *op, Tensor *out, const Tensor *res, bool inplace) {
  if (out->ndim == res->ndim && !memcmp(out->size, res->size, sizeof(int64_t) * res->ndim))
    return true;
  if (inplace && op->id != OP_addbmm) {
    mt_fail(c, "output with shape %s doesn't match the broadcast shape %s",
            mt_list_str(c, mt_sizes(out)), mt_list_str(c, mt_sizes(res)));
    return false;
  }
  return t_resize_(c, out, mt_sizes(res), -1) != NULL;
}

/* Some ops write no other dtype than their result's, float_power_ even in place; transforms to
 * real numbers write real ones. */
static bool own_dtype(Ctx *c, const OpRow *op, const Tensor *out, const Tensor *res, bool inplace) {
  if (!res || out->dtype == res->dtype) return true;
  bool real = !strncmp(op->path, "torch.fft.", 10) && mt_is_complex(out->dtype) &&
              !mt_is_complex(res->dtype);
  if (!real && (inplace ? op->id != OP_float_power : !(op->flags & OF_OWN_OUT))) return true;
  mt_fail(c, "expected out to have dtype %s, got %s", mt_dtypes[res->dtype].name,
          mt_dtypes[out->dtype].name);
  return false;
}

static bool land(Ctx *c, const OpRow *op, Tensor *out, Tensor *res, bool inplace) {
  if (c->err || !res) return false;
  if (res == out) return true;
  if (!mt_can_cast((DType)res->dtype, (DType)out->dtype) && op->id != OP_bernoulli) {
    mt_fail(c, "result type %s can't be cast to the desired output type %s",
            mt_type_word((DType)res->dtype), mt_type_word((DType)out->dtype));
    return false;
  }
  if (!fit_out(c, op, out, res, inplace)) return false;
  return mt_copy_raw(c, out, res) != NULL;
}

/* The elements of res that differ from was go to their places in out, which may share them. */
static bool land_changes(Ctx *c, const OpRow *op, Tensor *out, Tensor *was, Tensor *res) {
  res = mt_contig_as(c, res, (DType)out->dtype);
  if (!res || !fit_out(c, op, out, res, true)) return false;
  size_t size = mt_dsize(out->dtype);
  const char *a = mt_data(was), *b = mt_data(res);
  char *o = mt_data(out);
  int64_t at[MT_MAXDIM] = {0};
  for (int64_t i = 0; i < out->numel; i++, a += size, b += size) {
    if (memcmp(a, b, size)) memcpy(o, b, size);
    for (int d = out->ndim - 1; d >= 0; d--) {
      o += out->stride[d] * (int64_t)size;
      if (++at[d] < out->size[d]) break;
      o -= at[d] * out->stride[d] * (int64_t)size;
      at[d] = 0;
    }
  }
  return true;
}
static void run_some(Ctx *c, const OpRow *op, Val *a, Tensor *out) {
  Tensor *was = t_clone(c, mt_contig(c, out), -1);
  Val res[8];
  c->out = NULL;
  mt_run_kernel(c, op, a, res);
  if (!c->err) land_changes(c, op, out, was, res[0].t);
}

/* addmv_ and baddbmm_ of a self whose first dimension is expanded. */
static void run_steps(Ctx *c, const OpRow *op, Val *a, Tensor *out) {
  Val whole[8], part[8], r[8];
  c->out = NULL;
  mt_run_kernel(c, op, a, whole);                    /* what is wrong is said before a write */
  if (!c->err) fit_out(c, op, out, whole[0].t, true);
  for (int64_t i = 0; !c->err && i < out->size[0]; i++) {
    memcpy(part, a, sizeof(Val) * op->nparam);
    part[0].t = t_narrow(c, out, 0, i, 1);
    part[1].t = t_narrow(c, a[1].t, 0, i, 1);
    if (op->id == OP_baddbmm) part[2].t = t_narrow(c, a[2].t, 0, i, 1);
    if (!c->err) mt_call_out(c, op, part, r, &part[0].t, 1, true);
  }
}

void mt_run_kernel_out(Ctx *c, const OpRow *op, Val *a, Val *r, Tensor **out, int nout,
                       bool inplace) {
  Val res[8];
  bool outer = !c->op;
  if (outer) c->op = op;
  memset(res, 0, sizeof res);
  bool shared = inplace && mt_overlaps_itself(out[0]) && !mt_meta(out[0]) &&
                !(out[0]->flags & (MT_CONJ | MT_NEG));
  if (inplace && op->flags & OF_INPLACE_ONLY) mt_run_kernel(c, op, a, res);
  else if (shared && writes_some(op)) run_some(c, op, a, out[0]);
  else if (shared && goes_stepwise(op)) run_steps(c, op, a, out[0]);
  else {
    if (!(op->flags & OF_COMPOSITE)) c->out = out[0];
    mt_run_kernel(c, op, a, res);
    for (int k = 0; !inplace && k < nout && res[k].t; k++)
      check_apart(c, op, a, out[k], res[k].t->numel);
    for (int k = 0; k < nout && !c->err; k++) own_dtype(c, op, out[k], res[k].t, inplace);
    for (int k = 0; k < nout; k++) if (!land(c, op, out[k], res[k].t, inplace)) break;
  }
  if (c->err) no_result(op, r);
  else {
    for (int k = 0; k < op->nret; k++) {
      if (k < nout) { r[k].t = out[k]; out[k]->st->version++; }
      else r[k] = res[k];
    }
  }
  if (outer) c->op = NULL;
}

/* Creation ops and those that add up compute in the dtype of out; one given beside it must be
 * the same. */
static bool take_dtype(Ctx *c, const OpRow *op, Val *a, const Tensor *out) {
  bool made = false, adds = op->id == OP_cumsum || op->id == OP_cumprod || op->id == OP_nansum ||
                            op->id == OP_sum || op->id == OP_sum_dim || op->id == OP_prod_dim;
  int at = -1;
  for (int i = 0; i < op->nparam; i++) {
    made |= op->params[i].type == P_layout;
    if (op->params[i].type == P_dtype) at = i;
  }
  if (at < 0 || !(made || adds)) return true;
  if (a[at].i < 0) a[at].i = out->dtype;
  if (a[at].i == out->dtype) return true;
  mt_fail(c, "dtype %s does not match the dtype of out, %s", mt_dtypes[a[at].i].name,
          mt_dtypes[out->dtype].name);
  return false;
}

static bool changes_geometry(const OpRow *op) { return op->flags & OF_VIEW || op->id == OP_t; }

/* transpose_ and its like: the tensor becomes its own view. */
static void call_geometry(Ctx *c, const OpRow *op, Val *a, Val *r, Tensor *t) {
  bool track = mt_autograd_adopt && c->grad_mode;
  if (track && !mt_autograd_adopt(c, t, NULL)) return;
  mt_call(c, op, a, r);
  if (c->err || r[0].t == t || !mt_become(c, t, r[0].t)) return;
  if (track) mt_autograd_adopt(c, t, r[0].t);
  r[0].t = t;
  t->st->version++;
}

void mt_call_out(Ctx *c, const OpRow *op, Val *a, Val *r, Tensor **out, int nout, bool inplace) {
  if (c->err) { no_result(op, r); return; }
  Seen s = scan(op, a);
  Val local[32];
  bool outer = !c->op;
  if (outer) c->op = op;
  for (int k = 0; k < nout; k++) {
    if (out[k]->flags & MT_INFERENCE && !c->inference) {
      mt_fail(c, "Inplace update to inference tensor outside InferenceMode is not allowed; clone() "
                 "it to get a normal tensor first");
      goto done;
    }
  }
  if (inplace && changes_geometry(op)) {
    call_geometry(c, op, a, r, out[0]);
    goto done;
  }
  for (int k = 0; k < nout; k++) {
    if (!check_written(c, op, out[k], inplace) || !check_overlap(c, op, a, out[k], inplace))
      goto done;
    if (s.meta && !mt_meta(out[k])) {
      mt_fail(c, "arguments are on the meta device but the output is not");
      goto done;
    }
  }
  if ((s.flags & (MT_CONJ | MT_NEG)) && !(op->flags & (OF_CONJ | OF_COMPOSITE | OF_VIEW))) {
    memcpy(local, a, sizeof(Val) * op->nparam);
    map_args(c, op, local, resolve);
    a = local;
  }
  bool grad =
      c->grad_mode && mt_autograd_call && !(op->flags & OF_NODIFF) && (s.flags & MT_REQ_GRAD);
  if (!inplace) {
    for (int k = 0; k < nout; k++) grad |= c->grad_mode && (out[k]->flags & MT_REQ_GRAD);
    if (grad) {
      mt_fail(c, "functions with out=... arguments don't support automatic differentiation, but "
                 "one of the arguments requires grad");
      goto done;
    }
    if (a != local) memcpy(local, a, sizeof(Val) * op->nparam);
    if (take_dtype(c, op, local, out[0])) mt_run_kernel_out(c, op, local, r, out, nout, false);
  } else if (c->grad_mode && mt_autograd_call && ((s.flags & MT_REQ_GRAD) || out[0]->base)) {
    if (op->flags & OF_COMPOSITE && !(s.flags & MT_REQ_GRAD) && mt_overlaps_itself(out[0]))
      mt_run_kernel_out(c, op, a, r, out, nout, true);
    else if (op->flags & OF_COMPOSITE) { /* recorded as its own ops, then a copy */
      Val res[8];
      Tensor *before = t_clone(c, out[0], -1);      /* what the ops save must survive the copy */
      if (a != local) memcpy(local, a, sizeof(Val) * op->nparam);
      EACH_BIT(op->tmask, i) if (local[i].t == out[0]) local[i].t = before;
      mt_run_kernel(c, op, local, res);
      if (!c->err && (res[0].t->ndim != out[0]->ndim ||
                      memcmp(res[0].t->size, out[0]->size, sizeof(int64_t) * out[0]->ndim)))
        fit_out(c, op, out[0], res[0].t, true);
      if (!c->err) own_dtype(c, op, out[0], res[0].t, true);
      if (!c->err && !mt_can_cast((DType)res[0].t->dtype, (DType)out[0]->dtype))
        land(c, op, out[0], res[0].t, true);
      r[0].t = t_copy_(c, out[0], res[0].t, false);
    } else mt_autograd_call(c, op, a, r, out, 1, true);
  } else mt_run_kernel_out(c, op, a, r, out, nout, inplace);
done:
  if (c->err) no_result(op, r);
  if (outer) c->op = NULL;
}

const OpRow *mt_find_op(const char *cname) {
  for (int i = 0; i < mt_nops; i++) if (!strcmp(mt_ops[i].name, cname)) return &mt_ops[i];
  return NULL;
}
