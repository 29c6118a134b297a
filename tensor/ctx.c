/* ctx.c: the context: sticky errors, scopes that own results, scratch memory. */
#include "moth.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Block { struct Block *next; size_t used, cap; char mem[]; } Block;

Ctx *mt_ctx_new(void) {
  Ctx *c = mt_calloc(sizeof *c);
  if (!c) return NULL;
  c->grad_mode = true;
  c->default_dtype = MT_float32;
  c->autocast_dtype = MT_bfloat16;
  c->autocast_cache = true;
  return c;
}

static void arena_free(Ctx *c) {
  for (Block *b = c->arena, *next; b; b = next) { next = b->next; mt_free(b); }
  c->arena = NULL;
}

void mt_ctx_free(Ctx *c) {
  if (!c) return;
  mt_autocast_clear(c);
  mt_close(c, 0);
  arena_free(c);
  mt_free(c->pool);
  mt_free(c->rng);
  mt_free(c);
}

static void fail_va(Ctx *c, ErrKind k, const char *fmt, va_list ap) {
  if (c->err) return;
  c->err = k;
  size_t at = 0;
  if (c->op) {
    const char *path = c->op->path, *shown = strncmp(path, "torch.", 6) ? path : path + 6;
    if (!strncmp(shown, "nn.functional.", 14)) shown += 14;
    at = (size_t)snprintf(c->msg, sizeof c->msg, "%s: ", shown);
    size_t plain = strlen(shown);                 /* no "matmul: matmul: ..." */
    if (!strncmp(fmt, shown, plain) && (fmt[plain] == ':' || fmt[plain] == '(')) at = 0;
  }
  vsnprintf(c->msg + at, sizeof c->msg - at, fmt, ap);
}

void *mt_fail(Ctx *c, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  fail_va(c, MT_ERROR, fmt, ap);
  va_end(ap);
  return NULL;
}

void *mt_fail_kind(Ctx *c, ErrKind k, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  fail_va(c, k, fmt, ap);
  va_end(ap);
  return NULL;
}

void *mt_nomem(Ctx *c) { return mt_fail_kind(c, MT_NOMEM, "not enough memory"); }

bool mt_poll(Ctx *c) {
  if (mt_interrupted && !c->err) mt_fail_kind(c, MT_INTERRUPTED, "interrupted");
  return c->err != MT_OK;
}

void mt_clear(Ctx *c) { c->err = MT_OK; c->msg[0] = 0; c->op = NULL; c->out = NULL; }

Tensor *mt_own(Ctx *c, Tensor *t) {
  if (!t) return NULL;
  if (c->npool == c->pool_cap) {
    int32_t cap = c->pool_cap ? 2 * c->pool_cap : 64;
    Tensor **p = mt_realloc(c->pool, (size_t)cap * sizeof *p);
    if (!p) { mt_release(t); return mt_nomem(c); }
    c->pool = p;
    c->pool_cap = cap;
  }
  return c->pool[c->npool++] = t;
}

void mt_close(Ctx *c, Scope s) {
  while (c->npool > s) mt_release(c->pool[--c->npool]);
}

void mt_leave(Ctx *c, Scope s) {
  mt_close(c, s);
  if (s == 0 && c->busy == 0 && c->arena) arena_free(c);
}

Tensor *mt_close_with(Ctx *c, Scope s, Tensor *keep) {
  if (keep) keep->ref++;
  while (c->npool > s) mt_release(c->pool[--c->npool]);
  return mt_own(c, keep);
}

void *mt_tmp(Ctx *c, size_t n) {
  if (n > PTRDIFF_MAX - 4096) return mt_nomem(c);
#ifdef MT_SAN
  size_t least = 0;                        /* a block each, of its very size */
#else
  size_t least = 4096;
  n = (n + 15) & ~(size_t)15;
#endif
  Block *b = c->arena;
  if (!least || !b || b->cap - b->used < n) {
    size_t cap = n > least ? n : least;
    b = mt_malloc(sizeof *b + cap);
    if (!b) return mt_nomem(c);
    b->used = 0;
    b->cap = cap;
    b->next = c->arena;
    c->arena = b;
  }
  void *p = b->mem + b->used;
  b->used += n;
  return p;
}
