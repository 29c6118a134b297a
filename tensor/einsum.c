/* einsum.c: torch.einsum over permute, diagonal, sum and bmm.
 *
 * Invariant.  Every label is a number 0..LABELS-1: letters, then the dimensions of `...` counted
 * from the right.  Each operand is brought to one dimension per label of the whole equation, in the
 * order kept labels, then summed labels (size 1 where it lacks one); contraction goes from left to
 * right, a label is summed as soon as no later operand has it. */
#include "expr_rt.h"
#include "op.h"
#include <ctype.h>
#include <string.h>

enum { LETTERS = 52, LABELS = LETTERS + 12, MAX_OPERANDS = 32 };

typedef struct { int n; int label[MT_MAXDIM]; } Labels;

static int letter(char ch) { return ch >= 'a' ? 26 + ch - 'a' : ch - 'A'; }

/* Reads one operand's labels up to ',' or "->"; *dots is where `...` stood, or -1. */
static const char *read_labels(Ctx *c, const char *s, Labels *l, int *dots) {
  l->n = 0;
  *dots = -1;
  for (; *s && *s != ',' && *s != '-'; s++) {
    if (*s == ' ') continue;
    if (!strncmp(s, "...", 3)) {
      if (*dots >= 0) return mt_fail(c, "found '...' twice in one operand");
      *dots = l->n;
      s += 2;
    } else if (!isalpha((unsigned char)*s))
      return mt_fail(c, "invalid subscript '%c' in the equation", *s);
    else if (l->n == MT_MAXDIM) return mt_fail(c, "too many subscripts");
    else l->label[l->n++] = letter(*s);
  }
  return s;
}

/* Puts the labels of `count` dots in, the last of them always LABELS - 1. */
static void insert_dots(Labels *l, int dots, int count) {
  memmove(l->label + dots + count, l->label + dots, sizeof(int) * (size_t)(l->n - dots));
  for (int i = 0; i < count; i++) l->label[dots + i] = LABELS - count + i;
  l->n += count;
}

typedef struct {
  Labels in[MAX_OPERANDS], out;
  int n, dots;                     /* operands; the most dimensions any `...` stands for */
  int last[LABELS];                /* the last operand that has the label, -1 none */
  int64_t size[LABELS];
  int order[LABELS], norder;       /* labels in the common order; the first nout are kept */
  int place[LABELS];
} Eq;

static bool learn_sizes(Ctx *c, Eq *e, int i, const Tensor *t) {
  for (int d = 0; d < t->ndim; d++) {
    int l = e->in[i].label[d];
    e->last[l] = i;
    if (e->size[l] == 1) e->size[l] = t->size[d];
    else if (t->size[d] != 1 && t->size[d] != e->size[l]) {
      mt_fail(c, "a subscript has size %lld in operand %d but size %lld before",
              (long long)t->size[d], i, (long long)e->size[l]);
      return false;
    }
  }
  return true;
}

/* Without "->": the dots, then the letters that appear once, in alphabetical order. */
static void implicit_output(Eq *e) {
  int seen[LABELS] = {0};
  for (int i = 0; i < e->n; i++) for (int d = 0; d < e->in[i].n; d++) seen[e->in[i].label[d]]++;
  e->out.n = 0;
  for (int i = 0; i < e->dots; i++) e->out.label[e->out.n++] = LABELS - e->dots + i;
  for (int l = 0; l < LETTERS; l++) if (seen[l] == 1) e->out.label[e->out.n++] = l;
}

static bool parse(Ctx *c, Eq *e, const char *s, TensorList ts) {
  int dots;
  if (ts.n < 1 || ts.n > MAX_OPERANDS) {
    mt_fail(c, "expected 1 to %d operands, got %lld", MAX_OPERANDS, (long long)ts.n);
    return false;
  }
  for (int l = 0; l < LABELS; l++) { e->last[l] = -1; e->size[l] = 1; e->place[l] = -1; }
  for (e->n = 0; e->n < ts.n; e->n++) {
    int i = e->n;
    if (!(s = read_labels(c, s, &e->in[i], &dots))) return false;
    int more = ts.v[i]->ndim - e->in[i].n;
    if (more < 0 || (more > 0 && dots < 0) || more > LABELS - LETTERS) {
      mt_fail(c, "operand %d has %d dimensions but %d subscripts", i, ts.v[i]->ndim, e->in[i].n);
      return false;
    }
    if (dots >= 0) insert_dots(&e->in[i], dots, more);
    if (dots >= 0 && more > e->dots) e->dots = more;
    if (!learn_sizes(c, e, i, ts.v[i])) return false;
    if (i + 1 < ts.n && *s++ != ',') {
      mt_fail(c, "fewer operands in the equation than given");
      return false;
    }
  }
  if (*s == ',') { mt_fail(c, "more operands in the equation than given"); return false; }
  if (!*s) { implicit_output(e); return true; }
  if (strncmp(s, "->", 2)) { mt_fail(c, "expected '->' in the equation"); return false; }
  if (!(s = read_labels(c, s + 2, &e->out, &dots))) return false;
  if (*s) { mt_fail(c, "the equation goes on after its output"); return false; }
  if (dots >= 0) insert_dots(&e->out, dots, e->dots);
  return true;
}

static bool common_order(Ctx *c, Eq *e) {
  for (int d = 0; d < e->out.n; d++) {
    int l = e->out.label[d];
    if (e->place[l] >= 0) { mt_fail(c, "an output subscript appears twice"); return false; }
    if (e->last[l] < 0 && l < LETTERS) {
      mt_fail(c, "an output subscript appears in no operand");
      return false;
    }
    e->place[l] = e->norder;
    e->order[e->norder++] = l;
    e->last[l] = MAX_OPERANDS;                /* kept */
  }
  for (int l = 0; l < LABELS; l++)
    if (e->last[l] >= 0 && e->place[l] < 0) { e->place[l] = e->norder; e->order[e->norder++] = l; }
  return true;
}

/* Operand i with repeated labels taken along their diagonal and one dimension per common label. */
static Tensor *normal(Ctx *c, const Eq *e, int i, Tensor *t) {
  int label[MT_MAXDIM], n = t->ndim;
  int64_t perm[LABELS];
  memcpy(label, e->in[i].label, sizeof(int) * (size_t)n);
  for (int a = 0; a < n; a++)
    for (int b = a + 1; b < n; b++) {
      if (label[a] != label[b]) continue;
      if (t->size[a] != t->size[b])
        return mt_fail(c, "a repeated subscript has sizes %lld and %lld", (long long)t->size[a],
                       (long long)t->size[b]);
      int l = label[a];
      t = t_diagonal(c, t, 0, a, b);          /* the diagonal becomes the last dimension */
      if (!t) return NULL;
      memmove(label + b, label + b + 1, sizeof(int) * (size_t)(n - b - 1));
      memmove(label + a, label + a + 1, sizeof(int) * (size_t)(n - a - 2));
      label[n -= 2] = l;
      n++;
      a = -1;
      break;
    }
  for (int k = 0; k < e->norder; k++) {
    int at = -1;
    for (int d = 0; d < n; d++) if (label[d] == e->order[k]) at = d;
    if (at < 0) { t = t_unsqueeze(c, t, at = t ? t->ndim : 0); if (!t) return NULL; }
    perm[k] = at;
  }
  return t_permute(c, t, mt_il(perm, e->norder));
}

static Tensor *sum_over(Ctx *c, Tensor *t, const int64_t *dims, int n) {
  return n ? t_sum_dim(c, t, mt_il(dims, n), true, -1) : t;
}

/* One contraction through bmm: shared kept labels are the batch, then a's own, b's own, and the
 * summed ones. */
static Tensor *pair(Ctx *c, const Eq *e, Tensor *a, Tensor *b, int step) {
  int64_t batch[LABELS], own_a[LABELS], own_b[LABELS], sum[LABELS], only_a[LABELS], only_b[LABELS];
  int nb = 0, na = 0, no = 0, ns = 0, sa = 0, sb = 0;
  for (int k = 0; k < e->norder; k++) {
    bool in_a = a->size[k] != 1, in_b = b->size[k] != 1, summed = e->last[e->order[k]] <= step;
    if (summed && in_a && in_b) sum[ns++] = k;
    else if (summed && in_a) only_a[sa++] = k;
    else if (summed && in_b) only_b[sb++] = k;
    else if (in_a && in_b) batch[nb++] = k;
    else if (in_a) own_a[na++] = k;
    else if (in_b) own_b[no++] = k;
  }
  a = sum_over(c, a, only_a, sa);
  b = sum_over(c, b, only_b, sb);
  if (!ns) return t_mul(c, a, b);
  if (c->err) return NULL;
  DType d = mt_promote((DType)a->dtype, (DType)b->dtype);     /* sums of small integers are int64 */
  if (a->dtype != d) a = t_to_dtype(c, a, d, false, -1);
  if (b->dtype != d) b = t_to_dtype(c, b, d, false, -1);
  if (c->err) return NULL;
  int64_t pa[LABELS], pb[LABELS], out[LABELS], inv[LABELS], B = 1, M = 1, N = 1, K = 1,
                                                            size[LABELS];
  int n = 0;
  for (int k = 0; k < nb; k++) { pa[n] = pb[n] = batch[k]; B *= a->size[batch[k]]; n++; }
  int x = n, y = n;
  for (int k = 0; k < na; k++) { pa[x++] = own_a[k]; M *= a->size[own_a[k]]; }
  for (int k = 0; k < ns; k++) { pa[x++] = pb[y++] = sum[k]; K *= a->size[sum[k]]; }
  for (int k = 0; k < no; k++) { pb[y++] = own_b[k]; N *= b->size[own_b[k]]; }
  bool used_a[LABELS] = {false}, used_b[LABELS] = {false};
  for (int k = 0; k < x; k++) used_a[pa[k]] = true;
  for (int k = 0; k < y; k++) used_b[pb[k]] = true;
  for (int k = 0; k < e->norder; k++) { if (!used_a[k]) pa[x++] = k; if (!used_b[k]) pb[y++] = k; }
  Tensor *p = t_reshape(c, t_permute(c, a, mt_il(pa, x)), mt_il((int64_t[]){B, M, K}, 3));
  Tensor *q = t_reshape(c, t_permute(c, b, mt_il(pb, y)), mt_il((int64_t[]){B, K, N}, 3));
  Tensor *r = t_bmm(c, p, q);
  n = 0;
  for (int k = 0; k < nb; k++) { size[n] = a->size[batch[k]]; out[n++] = batch[k]; }
  for (int k = 0; k < na; k++) { size[n] = a->size[own_a[k]]; out[n++] = own_a[k]; }
  for (int k = 0; k < no; k++) { size[n] = b->size[own_b[k]]; out[n++] = own_b[k]; }
  bool used[LABELS] = {false};
  for (int k = 0; k < n; k++) used[out[k]] = true;
  for (int k = 0; k < e->norder; k++) if (!used[k]) { size[n] = 1; out[n++] = k; }
  for (int k = 0; k < n; k++) inv[out[k]] = k;
  return t_permute(c, t_reshape(c, r, mt_il(size, n)), mt_il(inv, n));
}

Tensor *k_einsum(Ctx *c, const char *equation, TensorList tensors) {
  Eq e = {.n = 0};
  if (!parse(c, &e, equation, tensors) || !common_order(c, &e)) return NULL;
  if (e.norder > MT_MAXDIM - 2) return mt_fail(c, "too many subscripts");
  Tensor *r = normal(c, &e, 0, tensors.v[0]);
  int64_t dims[LABELS];
  int n = 0;
  for (int k = 0; r && k < e.norder; k++)
    if (e.last[e.order[k]] == 0 && (e.n == 1 || r->size[k] != 1)) dims[n++] = k;
  r = r ? sum_over(c, r, dims, n) : NULL;
  for (int i = 1; r && i < e.n; i++) {
    Tensor *t = normal(c, &e, i, tensors.v[i]);
    r = t ? pair(c, &e, r, t, i) : NULL;
  }
  int64_t size[LABELS];
  for (int k = 0; k < e.out.n; k++) size[k] = e.size[e.order[k]];
  if (!r) return NULL;
  for (int k = 0; k < e.out.n; k++) if (r->size[k] != size[k]) size[k] = r->size[k];
  return t_reshape(c, r, mt_il(size, e.out.n));
}
