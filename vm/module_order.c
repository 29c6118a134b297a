/* module_order.c: `self.up, self.down = nn.Linear(..), nn.Linear(..)` registers up, then down, as
 * in PyTorch, although Lua evaluates from left to right and then assigns from right to left.
 *
 * Invariant: an entry moves only before one that the same activation of a function has just
 * registered from the same line in the same module, and only when it is the older of two that were
 * both made since the module was.  Statements of their own lines never change each other's order.
 */
#include "host.h"
#include "module.h"
#include "vm.h"

enum { RECENT = 1024 };
static struct { const Tensor *t; uint64_t serial; } recent[RECENT];   /* parameters made last */
static unsigned next_recent;

void vm_module_made_param(const Tensor *t) {
  recent[next_recent].t = t;
  recent[next_recent].serial = nn_serial();
  next_recent = (next_recent + 1) % RECENT;
}

/* 0 when it is not known; of entries with one address (its tensor is gone) the last counts. */
static uint64_t param_serial(const Tensor *t) {
  uint64_t found = 0;
  for (int i = 0; i < RECENT; i++)
    if (recent[i].t == t && recent[i].serial > found) found = recent[i].serial;
  return found;
}

static const void *entry_at(const NnModule *m, NnKind k, int i) {
  const NnEntry *e = &m->e[k][i];
  return k == NN_CHILD ? (const void *)e->m : (const void *)e->t;
}

void vm_module_in_order(lua_State *L, NnModule *m, NnKind k) {
  static struct {
    const void *module, *frame, *entry;
    int line, at;
    uint64_t serial;
  } last[NN_KINDS];
  lua_Debug ar;
  int at = m->n[k] - 1;
  if (at < 0 || !lua_getstack(L, 1, &ar) || !lua_getinfo(L, "l", &ar)) return;
  const void *entry = entry_at(m, k, at);
  bool same = last[k].module == m && last[k].frame == ar.i_ci && ar.currentline > 0 &&
              last[k].line == ar.currentline && last[k].at < at &&
              entry_at(m, k, last[k].at) == last[k].entry;
  uint64_t serial = !entry ? 0 : k == NN_CHILD ? m->e[k][at].m->serial : param_serial(entry);
  if (same && serial > m->serial && serial < last[k].serial) {
    nn_move_last(m, k, last[k].at);
    at = last[k].at;
  }
  last[k].module = m;
  last[k].frame = ar.i_ci;
  last[k].entry = entry;
  last[k].line = ar.currentline;
  last[k].at = at;
  last[k].serial = serial;
}
