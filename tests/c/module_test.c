/* module_test.c: the module tree without Lua: order, walks, sharing, refusals, moves of dtype, no
 * leaks. */
#include "nn.h"
#include <stdio.h>
#include <string.h>

static int passed, failed;
static void check(const char *name, bool ok) {
  if (ok) passed++;
  else { failed++; printf("FAIL %s: not as expected\n", name); }
}

static Tensor *param(Ctx *c, int64_t n) {
  Tensor *t = t_ones(c, mt_il(&n, 1), MT_float32, -1, -1, -1, false);
  return nn_parameter(c, t, true);
}
static bool names_are(NnList l, const char *want) {
  char text[256] = "";
  for (int64_t i = 0; i < l.n; i++) { strcat(text, l.v[i].name); strcat(text, " "); }
  return !strcmp(text, want);
}

static void tree(Ctx *c) {
  Scope s = mt_open(c);
  NnModule *root = nn_new(c), *a = nn_new(c), *b = nn_new(c);
  Tensor *shared = param(c, 3);
  nn_set_tensor(c, a, NN_PARAM, "weight", shared, false);
  nn_set_tensor(c, b, NN_PARAM, "weight", shared, false);
  nn_set_tensor(c, b, NN_PARAM, "bias", NULL, false);
  nn_set_child(c, root, "a", a);
  nn_set_child(c, root, "b", b);
  nn_set_tensor(c, root, NN_BUFFER, "count", t_ones(c, mt_il(NULL, 0), MT_int64, -1, -1, -1, false),
                true);
  check("modules in order", names_are(nn_modules(c, root, "", true), " a b "));
  check("shared once", names_are(nn_tensors(c, root, NN_PARAM, "m", true, true), "m.a.weight "));
  check("shared twice",
        names_are(nn_tensors(c, root, NN_PARAM, "", true, false), "a.weight b.weight "));
  check("path", !strcmp(nn_path_of(c, root, b), "b"));
  nn_set_child(c, b, "loop", root);
  check("a cycle is refused", c->err && b->n[NN_CHILD] == 0);
  mt_clear(c);
  nn_set_tensor(c, b, NN_PARAM, "a.b", NULL, false);
  check("a dot is refused", c->err != MT_OK);
  mt_clear(c);
  nn_train(c, root, false);
  check("eval reaches all", !a->training && !b->training);
  nn_to(c, root, MT_float64, true, -1);
  check("floats move, integers stay",
        shared->dtype == MT_float64 && root->e[NN_BUFFER][0].t->dtype == MT_int64);
  check("parameters stay parameters", shared->flags & MT_PARAM && shared->flags & MT_REQ_GRAD);
  nn_set_tensor(c, root, NN_PARAM, "a", shared, false);
  check("a name has one entry", root->n[NN_CHILD] == 1 && root->n[NN_PARAM] == 1);
  check("remove", nn_remove(root, "b") && !nn_remove(root, "b"));
  nn_release(a);
  nn_release(b);
  nn_release(root);
  mt_leave(c, s);
}

static void chain(Ctx *c) {                  /* released by a loop, walked by a loop */
  NnModule *top = nn_new(c);
  for (int i = 0; i < 200000; i++) {
    NnModule *outer = nn_new(c);
    outer->e[NN_CHILD] = mt_calloc(sizeof(NnEntry));
    char *name = mt_malloc(2);
    if (!outer->e[NN_CHILD] || !name) return;
    strcpy(name, "m");
    outer->e[NN_CHILD][0] = (NnEntry){.name = name, .m = top};
    outer->n[NN_CHILD] = outer->cap[NN_CHILD] = 1;
    top = outer;
  }
  check("a deep chain", top->n[NN_CHILD] == 1);
  nn_release(top);
}

int main(void) {
  Ctx *c = mt_ctx_new();
  ag_init();
  int64_t live = mt_live_tensors();
  tree(c);
  check("nothing is left", mt_live_tensors() == live);
  chain(c);
  mt_ctx_free(c);
  printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
