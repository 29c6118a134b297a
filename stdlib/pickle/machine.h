/* machine.h: the pickle machine's state, shared by machine.c (opcodes) and rebuild.c (what the
 * allowed names do). */
#ifndef PICKLE_MACHINE_H
#define PICKLE_MACHINE_H
#include "pickle/pickle.h"

typedef struct pk_store {
  const char *key;
  uint32_t key_len;
  int dtype;                     /* -1: untyped, counted in bytes */
  int64_t count;                 /* elements it should have */
  const uint8_t *data;
  uint64_t nbytes;
} pk_store;

typedef struct pk_machine {
  pk_file *f;
  const uint8_t *start, *p, *end;
  uint64_t base;                 /* of start in the file, for messages */
  sys_err *e;
  uint32_t *stack, *marks, *memo;
  size_t nstack, cap_stack, nmarks, cap_marks, nmemo;
  pk_store *stores;
  size_t nstores, cap_stores;
  uint32_t *table;               /* hash of the stores' keys: number + 1, or 0 */
  size_t ntable;                 /* a power of two, at least twice nstores */
} pk_machine;

enum { /* the names a pickle may use; dtypes follow from G_DTYPE on */
       G_ORDERED_DICT,
       G_SIZE,
       G_DEVICE,
       G_REBUILD2,
       G_REBUILD3,
       G_PARAMETER,
       G_UNTYPED,
       G_SET,
       G_STORAGE,
       G_DTYPE = 1000
};

/* Runs one pickle from m->p to its STOP; its value is *result.  m->p is then just past it. */
bool pk_run(pk_machine *m, uint32_t *result);
void pk_machine_free(pk_machine *m);
void pk_note(pk_machine *m, const char *what);
#define pk_bad(m, what) (pk_note((m), (what)), sys_false())
pk_store *pk_find_store(pk_machine *m, const char *key, uint32_t n);       /* NULL: none */
uint32_t pk_new(pk_machine *m, int type);                  /* UINT32_MAX: failed */
bool pk_append(pk_machine *m, uint32_t container, uint32_t value);
/* rebuild.c */
bool pk_global(pk_machine *m, const char *module, size_t nm, const char *name, size_t nn,
               uint32_t *out);
bool pk_reduce(pk_machine *m, uint32_t fn, uint32_t args, uint32_t *out);
bool pk_persistent(pk_machine *m, uint32_t id, uint32_t *out);
#endif
