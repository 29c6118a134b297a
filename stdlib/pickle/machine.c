/* machine.c: the opcodes of pickle protocols 2 to 5 that build plain data.
 *
 * Values are numbered; the stack and the memo hold numbers, so shared and cyclic structures stay as
 * they are and nothing is freed before the whole file is.  Each opcode makes at most a few values,
 * hence memory is bounded by the input's length. */
#include "pickle/machine.h"
#include <inttypes.h>
#include <string.h>

#define NONE UINT32_MAX

void pk_note(pk_machine *m, const char *what) {
  sys_note(m->e, "pickle: %s at byte %" PRIu64, what, m->base + (uint64_t)(m->p - m->start));
}

uint32_t pk_new(pk_machine *m, int type) {
  pk_file *f = m->f;
  if (f->n == f->cap) {
    size_t cap = f->cap ? 2 * f->cap : 64;
    pk_value *v = cap < UINT32_MAX / 2 ? mt_realloc(f->v, cap * sizeof *v) : NULL;
    if (!v) return pk_bad(m, "not enough memory"), NONE;
    f->v = v, f->cap = cap;
    if (mt_interrupted) return sys_fail(m->e, "interrupted"), NONE;
  }
  f->v[f->n] = (pk_value){.type = (uint8_t)type};
  return (uint32_t)f->n++;
}

bool pk_append(pk_machine *m, uint32_t container, uint32_t value) {
  pk_value *c = &m->f->v[container];
  if (c->n == c->cap) {
    uint32_t cap = c->cap ? 2 * c->cap : 4;
    uint32_t *kids = cap < UINT32_MAX / 8 ? mt_realloc(c->u.kids, cap * sizeof *kids) : NULL;
    if (!kids) return pk_bad(m, "not enough memory");
    c->u.kids = kids, c->cap = cap;
  }
  c->u.kids[c->n++] = value;
  return true;
}

static bool push_number(uint32_t **v, size_t *n, size_t *cap, uint32_t x) {
  if (*n == *cap) {
    size_t grown = *cap ? 2 * *cap : 64;
    uint32_t *p = mt_realloc(*v, grown * sizeof *p);
    if (!p) return false;
    *v = p, *cap = grown;
  }
  (*v)[(*n)++] = x;
  return true;
}

static bool push(pk_machine *m, uint32_t v) {
  if (v == NONE) return false;
  return push_number(&m->stack, &m->nstack, &m->cap_stack, v) || pk_bad(m, "not enough memory");
}

/* Pops above the innermost mark only. */
static size_t floor_of(const pk_machine *m) { return m->nmarks ? m->marks[m->nmarks - 1] : 0; }

static bool pop(pk_machine *m, uint32_t *v) {
  if (m->nstack <= floor_of(m)) return pk_bad(m, "the stack is empty");
  *v = m->stack[--m->nstack];
  return true;
}

static bool top(pk_machine *m, uint32_t *v) {
  if (m->nstack <= floor_of(m)) return pk_bad(m, "the stack is empty");
  *v = m->stack[m->nstack - 1];
  return true;
}

/* Ends the innermost mark: the values above it are stack[*from ... nstack). */
static bool unmark(pk_machine *m, size_t *from) {
  if (!m->nmarks) return pk_bad(m, "no mark");
  *from = m->marks[--m->nmarks];
  return true;
}

static const uint8_t *bytes(pk_machine *m, uint64_t n) {
  if (n > (uint64_t)(m->end - m->p)) return pk_bad(m, "the data end early"), NULL;
  m->p += n;
  return m->p - n;
}

/* A little-endian count of k bytes, then as many bytes as it says, as a value. */
static bool text(pk_machine *m, int k, int type) {
  const uint8_t *h = bytes(m, (uint64_t)k);
  uint64_t n = 0;
  if (!h) return false;
  for (int i = 0; i < k; i++) n |= (uint64_t)h[i] << 8 * i;
  const uint8_t *s = bytes(m, n);
  if (!s) return false;
  if (n > INT32_MAX) return pk_bad(m, "a string is too long");
  uint32_t v = pk_new(m, type);
  if (v == NONE) return false;
  m->f->v[v].u.s = (const char *)s;
  m->f->v[v].n = (uint32_t)n;
  return push(m, v);
}

static bool integer(pk_machine *m, int k, bool is_signed) {
  const uint8_t *s = bytes(m, (uint64_t)k);
  uint64_t x = 0;
  if (!s) return false;
  for (int i = 0; i < k; i++) x |= (uint64_t)s[i] << 8 * i;
  if (is_signed && k && k < 8 && s[k - 1] & 0x80) x |= ~(uint64_t)0 << 8 * k;
  uint32_t v = pk_new(m, PK_INT);
  if (v == NONE) return false;
  m->f->v[v].u.i = (int64_t)x;
  return push(m, v);
}

/* LONG1 and LONG4: up to 8 bytes is an integer; longer ones (the old format's magic number) keep
 * their bytes. */
static bool big_integer(pk_machine *m, int k) {
  const uint8_t *h = m->p;
  if (!bytes(m, (uint64_t)k)) return false;
  uint32_t n = k == 1 ? h[0] : fmt_u32(h);
  if (n <= 8) return integer(m, (int)n, true);
  m->p = h;
  return text(m, k, PK_BIG);
}

static bool real(pk_machine *m) {
  const uint8_t *s = bytes(m, 8);
  uint64_t x = 0;
  if (!s) return false;
  for (int i = 0; i < 8; i++) x = x << 8 | s[i];
  uint32_t v = pk_new(m, PK_FLOAT);
  if (v == NONE) return false;
  memcpy(&m->f->v[v].u.f, &x, 8);
  return push(m, v);
}

static bool boolean(pk_machine *m, bool b) {
  uint32_t v = pk_new(m, PK_BOOL);
  if (v == NONE) return false;
  m->f->v[v].u.i = b;
  return push(m, v);
}

static bool container(pk_machine *m, int type) { return push(m, pk_new(m, type)); }

/* A container of the values above the mark. */
static bool gather(pk_machine *m, int type) {
  size_t from;
  if (!unmark(m, &from)) return false;
  uint32_t v = pk_new(m, type);
  if (v == NONE) return false;
  if (type == PK_DICT && (m->nstack - from) % 2)
    return pk_bad(m, "a dictionary with a key but no value");
  for (size_t i = from; i < m->nstack; i++)
    if (!pk_append(m, v, m->stack[i])) return false;
  m->nstack = from;
  return push(m, v);
}

static bool small_tuple(pk_machine *m, size_t n) {
  if (m->nstack < floor_of(m) + n) return pk_bad(m, "the stack is empty");
  uint32_t v = pk_new(m, PK_TUPLE);
  if (v == NONE) return false;
  for (size_t i = m->nstack - n; i < m->nstack; i++)
    if (!pk_append(m, v, m->stack[i])) return false;
  m->nstack -= n;
  return push(m, v);
}

/* Moves the values from stack[from] on into the container below them. */
static bool extend(pk_machine *m, size_t from, int type) {
  if (from <= floor_of(m)) return pk_bad(m, "the stack is empty");
  uint32_t c = m->stack[from - 1];
  if (m->f->v[c].type != type) return pk_bad(m, "items for what is not such a container");
  if (type == PK_DICT && (m->nstack - from) % 2)
    return pk_bad(m, "a dictionary with a key but no value");
  for (size_t i = from; i < m->nstack; i++)
    if (!pk_append(m, c, m->stack[i])) return false;
  m->nstack = from;
  return true;
}

static bool extend_marked(pk_machine *m, int type) {
  size_t from;
  return unmark(m, &from) && extend(m, from, type);
}

static bool extend_by(pk_machine *m, size_t n, int type) {
  if (m->nstack < floor_of(m) + n + 1) return pk_bad(m, "the stack is empty");
  return extend(m, m->nstack - n, type);
}

/* Picklers number the memo from 0 up; a number past the input's length cannot come from one. */
static bool memo_put(pk_machine *m, uint64_t i) {
  uint32_t v;
  if (!top(m, &v)) return false;
  if (i > (uint64_t)(m->end - m->start)) return pk_bad(m, "a memo number out of range");
  if (i >= m->nmemo) {
    size_t n = (size_t)i + i / 2 + 64;
    uint32_t *p = mt_realloc(m->memo, n * sizeof *p);
    if (!p) return pk_bad(m, "not enough memory");
    memset(p + m->nmemo, 0xFF, (n - m->nmemo) * sizeof *p);
    m->memo = p, m->nmemo = n;
  }
  m->memo[i] = v;
  return true;
}

static bool memo_get(pk_machine *m, uint64_t i) {
  if (i >= m->nmemo || m->memo[i] == NONE)
    return pk_bad(m, "nothing in the memo under this number");
  return push(m, m->memo[i]);
}

static bool memoize(pk_machine *m, uint64_t *next) { return memo_put(m, (*next)++); }

static const uint8_t *line(pk_machine *m, size_t *n) {
  const uint8_t *s = m->p, *nl = memchr(s, '\n', (size_t)(m->end - s));
  if (!nl) return pk_bad(m, "the data end early"), NULL;
  *n = (size_t)(nl - s);
  m->p = nl + 1;
  return s;
}

static bool global(pk_machine *m) {
  size_t nm, nn;
  uint32_t v;
  const uint8_t *module = line(m, &nm), *name = module ? line(m, &nn) : NULL;
  return name && pk_global(m, (const char *)module, nm, (const char *)name, nn, &v) && push(m, v);
}

static bool stack_global(pk_machine *m) {
  uint32_t name, module, v;
  if (!pop(m, &name) || !pop(m, &module)) return false;
  const pk_value *a = &m->f->v[module], *b = &m->f->v[name];
  if (a->type != PK_STR || b->type != PK_STR) return pk_bad(m, "a global's name is not a string");
  return pk_global(m, a->u.s, a->n, b->u.s, b->n, &v) && push(m, v);
}

static bool apply(pk_machine *m) {
  uint32_t args, fn, v;
  if (!pop(m, &args) || !pop(m, &fn)) return false;
  return pk_reduce(m, fn, args, &v) && push(m, v);
}

/* State is accepted for dictionaries only (a state_dict's _metadata), and dropped. */
static bool build(pk_machine *m) {
  uint32_t state, obj;
  if (!pop(m, &state) || !top(m, &obj)) return false;
  if (m->f->v[obj].type != PK_DICT || m->f->v[state].type != PK_DICT)
    return pk_bad(m, "state for an object (BUILD) is refused");
  return true;
}

static bool persistent(pk_machine *m) {
  uint32_t id, v;
  return pop(m, &id) && pk_persistent(m, id, &v) && push(m, v);
}

static bool drop(pk_machine *m) {
  uint32_t v;
  if (m->nmarks && m->nstack == floor_of(m))
    return m->nmarks--, true; /* POP right after MARK takes the mark */
  return pop(m, &v);
}

static bool mark(pk_machine *m) {
  if (m->nstack >= UINT32_MAX) return pk_bad(m, "not enough memory");
  return push_number(&m->marks, &m->nmarks, &m->cap_marks, (uint32_t)m->nstack) ||
         pk_bad(m, "not enough memory");
}

static bool duplicate(pk_machine *m) {
  uint32_t v;
  return top(m, &v) && push(m, v);
}

static bool pop_mark(pk_machine *m) {
  size_t from;
  return unmark(m, &from) && (m->nstack = from, true);
}

static bool unknown(pk_machine *m, int op) {
  return sys_fail(m->e, "pickle: opcode 0x%02x is not one of a checkpoint's at byte %" PRIu64, op,
                  m->base + (uint64_t)(m->p - m->start) - 1);
}

/* One opcode per line: the table of the format. */
static bool step(pk_machine *m, int op, uint64_t *memo_next) {
  const uint8_t *s;
  switch (op) {
    case 0x80:
      return (s = bytes(m, 1)) && (*s <= 5 || pk_bad(m, "an unknown protocol")); /* PROTO */
    case 0x95: return bytes(m, 8) != NULL;                                       /* FRAME */
    case '(': return mark(m);
    case '0': return drop(m);
    case '1': return pop_mark(m);
    case '2': return duplicate(m);
    case 'N': return container(m, PK_NONE);
    case 0x88: return boolean(m, true);
    case 0x89: return boolean(m, false);
    case 'K': return integer(m, 1, false);
    case 'M': return integer(m, 2, false);
    case 'J': return integer(m, 4, true);
    case 0x8a: return big_integer(m, 1);
    case 0x8b: return big_integer(m, 4);
    case 'G': return real(m);
    case 'U': return text(m, 1, PK_BYTES); /* SHORT_BINSTRING: Python 2's str */
    case 'T': return text(m, 4, PK_BYTES);
    case 'C': return text(m, 1, PK_BYTES);
    case 'B': return text(m, 4, PK_BYTES);
    case 0x8e: return text(m, 8, PK_BYTES);
    case 0x96: return text(m, 8, PK_BYTES);
    case 0x8c: return text(m, 1, PK_STR);
    case 'X': return text(m, 4, PK_STR);
    case 0x8d: return text(m, 8, PK_STR);
    case ')': return container(m, PK_TUPLE);
    case 0x85: case 0x86: case 0x87: return small_tuple(m, (size_t)(op - 0x84));
    case 't': return gather(m, PK_TUPLE);
    case ']': return container(m, PK_LIST);
    case 'l': return gather(m, PK_LIST);
    case 'a': return extend_by(m, 1, PK_LIST);
    case 'e': return extend_marked(m, PK_LIST);
    case '}': return container(m, PK_DICT);
    case 'd': return gather(m, PK_DICT);
    case 's': return extend_by(m, 2, PK_DICT);
    case 'u': return extend_marked(m, PK_DICT);
    case 0x8f: return container(m, PK_SET);
    case 0x90: return extend_marked(m, PK_SET);
    case 0x91: return gather(m, PK_SET);
    case 'c': return global(m);
    case 0x93: return stack_global(m);
    case 'R': return apply(m);
    case 'b': return build(m);
    case 'Q': return persistent(m);
    case 'q': return (s = bytes(m, 1)) && memo_put(m, *s);
    case 'r': return (s = bytes(m, 4)) && memo_put(m, fmt_u32(s));
    case 0x94: return memoize(m, memo_next);
    case 'h': return (s = bytes(m, 1)) && memo_get(m, *s);
    case 'j': return (s = bytes(m, 4)) && memo_get(m, fmt_u32(s));
    default: return unknown(m, op);
  }
}

bool pk_run(pk_machine *m, uint32_t *result) {
  uint64_t memo_next = 0;
  m->nstack = m->nmarks = 0;
  if (m->nmemo) memset(m->memo, 0xFF, m->nmemo * sizeof *m->memo);
  for (;;) {
    if (m->p == m->end) return pk_bad(m, "the data end without a STOP");
    int op = *m->p++;
    if (op == '.') break;
    if (!step(m, op, &memo_next)) return m->e->msg[0] ? false : pk_bad(m, "invalid data");
  }
  if (m->nmarks || m->nstack != 1) return pk_bad(m, "values left on the stack at the end");
  *result = m->stack[0];
  return true;
}

void pk_machine_free(pk_machine *m) {
  mt_free(m->stack);
  mt_free(m->marks);
  mt_free(m->memo);
  mt_free(m->stores);
  mt_free(m->table);
}
