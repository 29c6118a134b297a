/* linalg_job.c: see linalg_job.h. */
#include "linalg_job.h"
#include "expr_rt.h"
#include "product.h"
#include <math.h>
#include <string.h>

void mt_job_free(void *p) {
  Job *j = p;
  if (!j) return;
  mt_free(j->a);
  mt_free(j->b);
  mt_free(j->s);
  mt_free(j->u);
  mt_free(j->v);
  mt_free(j->piv);
  mt_free(j->info);
  mt_free(j);
}

static void job_range(void *ctx, int64_t lo, int64_t hi) {
  Job *j = ctx;
  for (int64_t i = lo; i < hi && !atomic_load(&j->failure); i++)
    if (mt_interrupted) atomic_store(&j->failure, MT_LAPACK_INTERRUPTED);
    else j->one(j, i);
}
static void job_run(void *ctx) {
  Job *j = ctx;
  mt_parallel(j->batch, j->n > 16 ? 1 : 64, job_range, j);
}
void mt_job_note(Job *j, int64_t i, int info) {
  if (info < -1000) atomic_store(&j->failure, info);
  else j->info[i] = info;
}

int64_t mt_batch_of(const Tensor *t, int last) {
  int64_t n = 1;
  for (int i = 0; i < t->ndim - last; i++) n *= t->size[i];
  return n;
}

bool mt_job_takes(Ctx *c, const Tensor *a, bool square) {
  if (a->ndim < 2) {
    mt_fail(c, "expected a matrix or a batch of matrices, got shape %s",
            mt_list_str(c, mt_sizes(a)));
    return false;
  }
  if (square && a->size[a->ndim - 1] != a->size[a->ndim - 2]) {
    mt_fail(c, "expected square matrices, got shape %s", mt_list_str(c, mt_sizes(a)));
    return false;
  }
  if (!mt_is_complex(a->dtype) && a->dtype != MT_float32 && a->dtype != MT_float64) {
    mt_fail(c, "expected a float32, float64 or complex tensor, got %s", mt_dtypes[a->dtype].name);
    return false;
  }
  if (a->size[a->ndim - 1] > INT32_MAX / 4 || a->size[a->ndim - 2] > INT32_MAX / 4) {
    mt_fail(c, "the matrix is too large");
    return false;
  }
  return true;
}

typedef struct { char *to; const char *from; size_t step, size; int64_t m, n; } Fill;
static void whole(void *ctx, int64_t lo, int64_t hi) {
  const Fill *f = ctx;
  size_t bytes = (size_t)(f->m * f->n) * f->size;
  if (bytes == f->step)
    memcpy(f->to + (size_t)lo * bytes, f->from + (size_t)lo * bytes, (size_t)(hi - lo) * bytes);
  else
    for (int64_t i = lo; i < hi; i++)
      memcpy(f->to + (size_t)i * f->step, f->from + (size_t)i * bytes, bytes);
}
/* Columns of matrices whose rows lie one after the other. */
#define TURN(T)                                                                   \
  for (int64_t i = lo; i < hi; i++) {                                             \
    T *to = (T *)(void *)(f->to + (size_t)i * f->step);                           \
    const T *from = (const T *)(const void *)f->from + i * f->m * f->n;           \
    for (int64_t q = 0; q < f->n; q++)                                            \
      for (int64_t p = 0; p < f->m; p++) *to++ = from[p * f->n + q];              \
  }
static void turn(void *ctx, int64_t lo, int64_t hi) {
  const Fill *f = ctx;
  if (f->size == 4) { TURN(uint32_t) }
  else if (f->size == 8) { TURN(uint64_t) }
  else { TURN(cdouble) }
}
bool mt_job_fill(Ctx *c, char *to, size_t step, Tensor *t, bool columns) {
  enum { SMALL = 1024, CHUNK = 1 << 15 };
  int64_t m = t->size[t->ndim - 2], n = t->size[t->ndim - 1];
  Tensor *turned = columns ? t_transpose(c, t, -2, -1) : t;
  bool direct = turned != t && m * n <= SMALL && mt_is_contiguous(t) && !mt_is_contiguous(turned) &&
                !(t->flags & (MT_CONJ | MT_NEG));
  Tensor *flat = direct ? t : mt_contig(c, turned);
  if (!flat) return false;
  Fill f = {to, mt_data(flat), step, mt_dsize(t->dtype), m, n};
  int64_t bytes = (int64_t)f.size * m * n;
  if (bytes) mt_parallel(mt_batch_of(t, 2), CHUNK / bytes, direct ? turn : whole, &f);
  return true;
}

Job *mt_job_new(Ctx *c, Tensor *a, bool columns) {
  Job *j = c->err ? NULL : mt_calloc(sizeof *j);
  if (!j) return c->err ? NULL : mt_nomem(c);
  j->type = mt_product_type(a->dtype);
  j->size = mt_dsize(a->dtype);
  j->real = mt_dsize(mt_real_dtype((DType)a->dtype));
  j->batch = mt_batch_of(a, 2);
  j->m = (int)a->size[a->ndim - 2];
  j->n = (int)a->size[a->ndim - 1];
  j->k = j->m < j->n ? j->m : j->n;
  j->as = (size_t)j->m * (size_t)j->n * j->size;
  j->a = mt_malloc((size_t)j->batch * j->as + mt_lapack_slack(j->m));
  j->info = mt_calloc((size_t)j->batch * sizeof(int));
  if (j->a && j->info && mt_job_fill(c, j->a, j->as, a, columns)) return j;
  mt_job_free(j);
  return c->err ? NULL : mt_nomem(c);
}

bool mt_job_room(Ctx *c, const Job *j, char **p, size_t *step, size_t bytes) {
  *step = bytes;
  int ld = j->m > j->n ? j->m : j->n;
  if ((*p = mt_malloc((size_t)j->batch * bytes + mt_lapack_slack(ld)))) return true;
  mt_nomem(c);
  return false;
}

bool mt_job_finite(Ctx *c, const Job *j, char part) {
  int w = (int)(j->size / j->real);
  for (int64_t i = 0; i < j->batch; i++)
    for (int64_t k = 0; k < j->n; k++) {
      int64_t lo = part == 'L' ? k : 0, hi = part == 'U' ? k + 1 : j->m;
      const char *col = j->a + (size_t)i * j->as + (size_t)(k * j->m) * j->size;
      bool ok = true;
      if (j->real == 8)
        for (int64_t e = lo * w; e < hi * w; e++) ok &= isfinite(((const double *)col)[e]);
      else for (int64_t e = lo * w; e < hi * w; e++) ok &= isfinite(((const float *)col)[e]);
      if (ok) continue;
      mt_fail(c, "the matrix (batch element %lld) contains infinities or nans", (long long)i);
      return false;
    }
  return true;
}

bool mt_job_finish(Ctx *c, Job *j, double each) {
  int st = 0;
  if (j->batch && j->n + j->m)
    st = mt_run_detached(job_run, j, mt_job_free, each * (double)j->batch);
  if (st == MT_LAPACK_INTERRUPTED) { mt_fail_kind(c, MT_INTERRUPTED, "interrupted"); return false; }
  int failure = atomic_load(&j->failure);
  if (failure == MT_LAPACK_INTERRUPTED) mt_fail_kind(c, MT_INTERRUPTED, "interrupted");
  else if (failure == MT_LAPACK_MISSING)
    mt_fail(c, "needs LAPACK, which is not installed (libopenblas)");
  else if (failure) mt_nomem(c);
  if (failure) mt_job_free(j);
  return !failure;
}

Tensor *mt_job_unload(Ctx *c, const Tensor *a, int last, DType d, const char *p, size_t step,
                      int64_t m, int64_t n) {
  int64_t size[MT_MAXDIM], stride[MT_MAXDIM], acc;
  int nb = a->ndim - last, nd = nb + (n < 0 ? 1 : 2);
  size_t bytes = (size_t)m * (size_t)(n < 0 ? 1 : n) * mt_dsize(d);
  if (nd > MT_MAXDIM) return mt_fail(c, "too many dimensions");
  memcpy(size, a->size, sizeof(int64_t) * (size_t)nb);
  size[nb] = m;
  stride[nb] = 1;
  acc = m > 1 ? m : 1;
  if (n >= 0) { size[nb + 1] = n; stride[nb + 1] = acc; acc *= n > 1 ? n : 1; }
  for (int i = nb - 1; i >= 0; i--) { stride[i] = acc; acc *= size[i] > 1 ? size[i] : 1; }
  Tensor *t =
      mt_new_strided(c, mt_il(size, nd), mt_il(stride, nd), d, mt_meta(a) ? MT_META : MT_CPU);
  if (!t || mt_meta(t) || !t->numel) return t;
  int64_t batch = mt_batch_of(a, last);
  if (step == bytes) memcpy(mt_data(t), p, (size_t)batch * bytes);
  else
    for (int64_t i = 0; i < batch; i++)
      memcpy((char *)mt_data(t) + (size_t)i * bytes, p + (size_t)i * step, bytes);
  return t;
}
Tensor *mt_job_unload_rows(Ctx *c, const Tensor *like, const char *p) {
  Tensor *t = mt_new(c, mt_sizes(like), (DType)like->dtype, mt_meta(like) ? MT_META : MT_CPU);
  if (t && !mt_meta(t) && t->numel) memcpy(mt_data(t), p, (size_t)t->numel * mt_dsize(t->dtype));
  return t;
}
Tensor *mt_job_infos(Ctx *c, const Tensor *a, const Job *j) {
  int64_t size[MT_MAXDIM];
  memcpy(size, a->size, sizeof(int64_t) * (size_t)(a->ndim - 2));
  Tensor *t = mt_new(c, mt_il(size, a->ndim - 2), MT_int32, mt_meta(a) ? MT_META : MT_CPU);
  if (t && !mt_meta(t) && !j->info) memset(mt_data(t), 0, (size_t)t->numel * sizeof(int));
  else if (t && !mt_meta(t)) memcpy(mt_data(t), j->info, (size_t)t->numel * sizeof(int));
  return t;
}

static void columns_range(void *ctx, int64_t lo, int64_t hi) {
  MtColumns *s = ctx;
  size_t size = s->type == MT_GEMM_F32 ? 4 : s->type == MT_GEMM_C128 ? 16 : 8;
  char *b = (char *)s->b + (size_t)lo * (size_t)s->ldb * size;
  int n = s->n, ld = n > 1 ? n : 1, cols = (int)(hi - lo),
      info = s->piv ? mt_getrs(s->type, s->trans, n, cols, s->a, ld, s->piv, b, s->ldb)
                    : mt_trtrs(s->type, s->uplo, s->trans, s->diag, n, cols, s->a, ld, b, s->ldb);
  if (info) atomic_store(&s->info, info);
}
int mt_solve_columns(MtColumns *s, int nrhs) {
  enum { FEW = 32, WORK = 1 << 20 };
  int64_t grain = WORK / ((int64_t)s->n * s->n + 1);
  if (nrhs) mt_parallel(nrhs, grain > FEW ? grain : FEW, columns_range, s);
  return atomic_load(&s->info);
}
