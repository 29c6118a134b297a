/* example_test.c: the engine from C, as a program that links libmoth would use it: one scope, a few
 * ops, an error. */
#include <stdio.h>
#include <string.h>
#include "moth.h"

static int passed, failed;
static void expect(const char *what, bool ok) {
  if (ok) { passed++; return; }
  failed++;
  printf("FAIL %s\n", what);
}

int main(void) {
  Ctx *c = mt_ctx_new();
  if (!c) return 1;
  int64_t before = mt_live_tensors();
  Scope s = mt_open(c);

  /* x = arange(6).reshape(2, 3); y = x + 2 * x: no checks in between, the first failure sticks */
  Tensor *x = t_reshape(c, t_arange_end(c, mt_si(6), MT_float32, -1, MT_CPU, -1, false),
                        mt_il((int64_t[]){2, 3}, 2));
  Tensor *y = t_add(c, x, x, mt_si(2));
  expect("no error", !mt_bad(c));
  const float *v = y ? mt_data(y) : NULL;
  expect("shape", y && y->ndim == 2 && y->size[0] == 2 && y->size[1] == 3);
  expect("values", v && v[0] == 0 && v[1] == 3 && v[5] == 15);

  Tensor *bad = t_add(c, x, t_transpose(c, x, 0, 1), mt_si(1)); /* 2x3 and 3x2 do not broadcast */
  expect("an error makes NULL", bad == NULL && mt_bad(c));
  expect("its message names the op", strstr(c->msg, "add") != NULL);
  expect("later calls do nothing", t_add(c, x, x, mt_si(1)) == NULL);
  mt_clear(c);
  expect("x is as it was", ((float *)mt_data(x))[5] == 5);

  mt_leave(c, s);
  expect("nothing is left", mt_live_tensors() == before);
  mt_ctx_free(c);
  printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
