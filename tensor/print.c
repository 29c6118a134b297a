/* print.c: tensor text.  Two passes as in PyTorch: the first looks at the values that will be shown
 * and fixes one width and style for all (a Style), the second writes brackets, wraps the innermost
 * rows and adds the suffixes. */
#include "print.h"
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

PrintOpts mt_print_opts = {
    .precision = 4, .sci_mode = -1, .threshold = 1000, .edgeitems = 3, .linewidth = 80};

bool mt_print_profile(PrintOpts *o, const char *name) {
  bool brief = !strcmp(name, "short"), full = !strcmp(name, "full");
  if (!brief && !full && strcmp(name, "default")) return false;
  o->precision = brief ? 2 : 4;
  o->threshold = full ? INT64_MAX : 1000;
  o->edgeitems = brief ? 2 : 3;
  o->linewidth = 80;
  return true;
}

/* ---- a growing text; after a failure it stays failed and further additions do nothing ---- */
typedef struct { char *s; size_t n, cap; bool bad; } Text;

static void put(Text *t, const char *s, size_t n) {
  if (t->bad) return;
  if (t->n + n + 1 > t->cap) {
    size_t cap = 2 * t->cap + n + 64;
    char *p = mt_realloc(t->s, cap);
    if (!p) { t->bad = true; return; }
    t->s = p;
    t->cap = cap;
  }
  memcpy(t->s + t->n, s, n);
  t->n += n;
  t->s[t->n] = 0;
}
static void puts_(Text *t, const char *s) { put(t, s, strlen(s)); }
static void pad(Text *t, int64_t n) { for (; n > 0 && !t->bad; n--) put(t, " ", 1); }

__attribute__((format(printf, 2, 3)))
static void putf(Text *t, const char *fmt, ...) {
  char tmp[256];
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(tmp, sizeof tmp, fmt, ap);
  va_end(ap);
  put(t, tmp, (size_t)n < sizeof tmp ? (size_t)n : sizeof tmp - 1);
}

/* ---- how all numbers of one tensor are written ---- */
typedef struct { bool floating, int_mode, sci; int precision; int width; } Style;
typedef struct {
  const PrintSpec *s;
  const PrintOpts *o;
  bool summarize;
  Style re, im;
  Text out;
} Printer;

enum {
  NUMBER_ROOM = 400 + MT_PRINT_MAXPREC
}; /* 309 digits of the largest double, sign, point, precision */

static int float_text(char *buf, double v, const Style *st) {
  if (isnan(v)) return sprintf(buf, "nan");
  if (isinf(v)) return sprintf(buf, v < 0 ? "-inf" : "inf");
  if (st->sci) return sprintf(buf, "%.*e", st->precision, v);
  if (st->int_mode) return sprintf(buf, "%.0f.", v);
  return sprintf(buf, "%.*f", st->precision, v);
}

static int number_text(char *buf, Scalar v, bool imag, const Style *st) {
  if (st->floating) return float_text(buf, imag ? v.im : mt_sre(v), st);
  if (v.kind == K_BOOL) return sprintf(buf, v.i ? "True" : "False");
  return sprintf(buf, "%" PRId64, v.i);
}

static Scalar load(const Printer *p, int64_t offset) {
  Scalar v =
      mt_load((const char *)p->s->data + offset * (int64_t)mt_dsize(p->s->dtype), p->s->dtype);
  if (p->s->conj && v.kind == K_COMPLEX) v.im = -v.im;
  if (p->s->neg) {
    if (v.kind >= K_FLOAT) { v.d = -v.d; v.im = -v.im; }
    else v.i = (int64_t)(0 - (uint64_t)v.i);
  }
  return v;
}

/* ---- first pass: visits the elements that will be shown ---- */
typedef struct { double min, max; bool any, fractions; int width; } Survey;
typedef void (*VisitFn)(Printer *p, Scalar v, void *ctx);

static bool skipped(const Printer *p, int d) {
  return p->summarize && p->s->size[d] > 2 * p->o->edgeitems;
}

static void visit(Printer *p, int d, int64_t offset, VisitFn fn, void *ctx) {
  if (d == p->s->ndim) { fn(p, load(p, offset), ctx); return; }
  if (mt_interrupted) { p->out.bad = true; return; }
  int64_t n = p->s->size[d], edge = p->o->edgeitems;
  for (int64_t i = 0; i < n && !p->out.bad; i++) {
    if (i == edge && skipped(p, d)) i = n - edge;
    if (i < n) visit(p, d + 1, offset + i * p->s->stride[d], fn, ctx);
  }
}

typedef struct { Survey re, im; } Both;

static void survey_one(Survey *s, double v) {
  if (!isfinite(v) || v == 0) return;
  double a = fabs(v);
  if (!s->any || a < s->min) s->min = a;
  if (!s->any || a > s->max) s->max = a;
  s->any = true;
  if (v != ceil(v)) s->fractions = true;
}
static void survey_visit(Printer *p, Scalar v, void *ctx) {
  Both *b = ctx;
  survey_one(&b->re, mt_sre(v));
  if (v.kind == K_COMPLEX) survey_one(&b->im, v.im);
}

static void widen(Style *st, Scalar v, bool imag) {
  char buf[NUMBER_ROOM];
  if (st->floating) { /* zeros and non-finite values do not count */
    double d = imag ? v.im : mt_sre(v);
    if (!isfinite(d) || d == 0) return;
  }
  int n = number_text(buf, v, imag, st);
  if (n > st->width) st->width = n;
}
static void width_visit(Printer *p, Scalar v, void *ctx) {
  widen(&p->re, v, false);
  if (v.kind == K_COMPLEX) widen(&p->im, v, true);
}

static void choose(Style *st, const Survey *s, const PrintOpts *o) {
  st->floating = true;
  st->precision = o->precision < 0                  ? 0
                  : o->precision > MT_PRINT_MAXPREC ? MT_PRINT_MAXPREC
                                                    : o->precision;
  st->int_mode = !s->fractions;
  st->sci = false;
  if (!s->any) return;
  st->sci = o->sci_mode >= 0 ? o->sci_mode
                             : s->max / s->min > 1000.0 || s->max > 1.0e8 || s->min < 1.0e-4;
}

static void fix_styles(Printer *p) {
  p->re = p->im =
      (Style){.floating = mt_dkind(p->s->dtype) >= K_FLOAT, .int_mode = true, .width = 1};
  if (p->re.floating) {
    Both b = {0};
    visit(p, 0, 0, survey_visit, &b);
    choose(&p->re, &b.re, p->o);
    choose(&p->im, &b.im, p->o);
  }
  visit(p, 0, 0, width_visit, NULL);
}

/* ---- second pass ---- */
static void put_part(Text *t, Scalar v, bool imag, const Style *st, bool padded) {
  char buf[NUMBER_ROOM];
  int n = number_text(buf, v, imag, st);
  if (padded) pad(t, st->width - n);
  put(t, buf, (size_t)n);
}

static void put_value(Printer *p, int64_t offset) {
  Scalar v = load(p, offset);
  put_part(&p->out, v, false, &p->re, true);
  if (v.kind != K_COMPLEX) return;
  char buf[NUMBER_ROOM];
  number_text(buf, v, true, &p->im);
  if (buf[0] != '-') puts_(&p->out, "+");
  puts_(&p->out, buf);
  puts_(&p->out, "j");
}

static int64_t values_per_line(const Printer *p, int64_t indent) {
  int64_t each = p->re.width + 2, room = p->o->linewidth - indent;
  if (mt_is_complex(p->s->dtype)) each += p->im.width + 1;
  return room < each ? 1 : room / each;
}

static void put_row(Printer *p, int d, int64_t offset, int64_t indent) {
  Text *t = &p->out;
  int64_t n = p->s->size[d], edge = p->o->edgeitems, per_line = values_per_line(p, indent), at = 0;
  bool cut = skipped(p, d);
  puts_(t, "[");
  for (int64_t i = 0; i < n && !t->bad; i++, at++) {
    if (at > 0 && at % per_line == 0) { puts_(t, ",\n"); pad(t, indent + 1); }
    else if (at > 0) puts_(t, ", ");
    if (cut && i == edge) {
      puts_(t, edge ? " ..." : "...");
      i = n - edge - 1;
    } else {
      put_value(p, offset + i * p->s->stride[d]);
    }
    if (mt_interrupted) t->bad = true;
  }
  puts_(t, "]");
}

static void put_block(Printer *p, int d, int64_t offset, int64_t indent) {
  int left = p->s->ndim - d;
  if (left == 0) { put_value(p, offset); return; }
  if (left == 1) { put_row(p, d, offset, indent); return; }
  Text *t = &p->out;
  int64_t n = p->s->size[d], edge = p->o->edgeitems;
  bool cut = skipped(p, d);
  puts_(t, "[");
  for (int64_t i = 0; i < n && !t->bad; i++) {
    if (i > 0) {
      puts_(t, ",");
      for (int k = 0; k < left - 1; k++) puts_(t, "\n");
      pad(t, indent + 1);
    }
    if (cut && i == edge) {
      puts_(t, "...");
      i = n - edge - 1;
    } else {
      put_block(p, d + 1, offset + i * p->s->stride[d], indent + 1);
    }
  }
  puts_(t, "]");
}

/* ---- suffixes: device, size, dtype, gradient state; each on the last line while it fits ---- */
typedef struct { int64_t last; int64_t indent, linewidth; } Tail;

static void suffix(Text *t, Tail *tail, const char *s, size_t n) {
  if (tail->last + (int64_t)n + 2 > tail->linewidth) {
    puts_(t, ",\n");
    pad(t, tail->indent);
    tail->last = tail->indent + (int64_t)n;
  } else {
    puts_(t, ", ");
    tail->last += (int64_t)n + 2;
  }
  put(t, s, n);
}

static void size_suffix(Text *t, Tail *tail, const PrintSpec *s) {
  Text one = {0};
  puts_(&one, "size=(");
  for (int d = 0; d < s->ndim; d++) putf(&one, d ? ", %" PRId64 : "%" PRId64, s->size[d]);
  puts_(&one, s->ndim == 1 ? ",)" : ")");
  if (one.bad) t->bad = true;
  else suffix(t, tail, one.s, one.n);
  mt_free(one.s);
}

static void dtype_suffix(Text *t, Tail *tail, DType d) {
  char buf[64];
  int n = snprintf(buf, sizeof buf, "dtype=torch.%s", mt_dtypes[d].name);
  suffix(t, tail, buf, (size_t)n);
}

static bool shows_dtype(const PrintSpec *s, bool empty) {
  if (s->dtype == s->default_dtype) return false;
  if (s->meta || empty) return true;
  DType c = s->default_dtype == MT_float64 ? MT_complex128 : MT_complex64;
  return s->dtype != c && s->dtype != MT_int64 && s->dtype != MT_bool;
}

static void put_suffixes(Printer *p, bool empty, int64_t indent) {
  const PrintSpec *s = p->s;
  Text *t = &p->out;
  if (t->bad) return;
  const char *nl = strrchr(t->s, '\n');
  Tail tail = {.indent = indent, .linewidth = p->o->linewidth};
  tail.last = nl ? (int64_t)(t->s + t->n - nl) + 1 : (int64_t)t->n + 2;
  if (s->meta) suffix(t, &tail, "device='meta'", 13);
  if (s->meta || (empty && s->ndim != 1) || (!empty && !p->o->edgeitems)) size_suffix(t, &tail, s);
  if (shows_dtype(s, empty)) dtype_suffix(t, &tail, s->dtype);
  if (s->grad_fn) {
    char buf[128];
    int n = snprintf(buf, sizeof buf, "grad_fn=<%.100s>", s->grad_fn);
    suffix(t, &tail, buf, (size_t)n);
  } else if (s->requires_grad) {
    suffix(t, &tail, "requires_grad=True", 18);
  }
  puts_(t, ")");
}

char *mt_tensor_format(const PrintSpec *s, const PrintOpts *o) {
  static const char prefix[] = "tensor(";
  const int64_t indent = sizeof prefix - 1;
  Printer p = {.s = s, .o = o};
  double numel = 1; /* only compared, so that it cannot overflow */
  for (int d = 0; d < s->ndim; d++) numel *= (double)s->size[d];
  p.summarize = o->threshold != INT64_MAX && numel > (double)o->threshold;
  puts_(&p.out, prefix);
  if (s->meta) {
    puts_(&p.out, "...");
  } else if (numel == 0) {
    puts_(&p.out, "[]");
  } else {
    fix_styles(&p);
    put_block(&p, 0, 0, indent);
  }
  put_suffixes(&p, numel == 0, indent);
  if (!p.out.bad) return p.out.s;
  mt_free(p.out.s);
  return NULL;
}
