/* optim.h: the optimizers' arithmetic: which state each one keeps, and a step over many parameters
 * in one parallel pass.
 *
 * Invariants.
 *  - State is the caller's: per parameter one tensor for each name of the kind's row, NULL while
 * there is none.
 *  - nn_opt_add only checks and plans; nn_opt_run writes.  A parameter that fails its checks leaves
 * everything as it was.
 *  - Numbers are those of PyTorch's step made of single tensor operations: scalars are computed in
 * double, every stored intermediate is rounded to the parameter's dtype, complex parameters are
 * treated as pairs of real numbers.
 *  - Parameter, gradient and state are written in the memory order that they have; where the orders
 * differ, copies are used. */
#ifndef NN_OPTIM_H
#define NN_OPTIM_H
#include "autograd.h"
#include "kern_optim.h"

typedef enum {
  NN_SGD,
  NN_ADAM,
  NN_ADAMAX,
  NN_NADAM,
  NN_RADAM,
  NN_ADAGRAD,
  NN_ADADELTA,
  NN_RMSPROP,
  NN_RPROP,
  NN_ASGD,
  NN_ADAFACTOR,
  NN_MUON,
  NN_OPT_KINDS
} NnOptKind;
enum { NN_OPT_STATES = 4 };

/* The options of a group, one field for each name that any optimizer has. */
typedef struct NnOptions {
  double lr, weight_decay, momentum, dampening, beta1, beta2, eps, lr_decay,
      initial_accumulator_value, rho, alpha, lambd, t0, eta_minus, eta_plus, step_min, step_max,
      momentum_decay, beta2_decay, eps2, d, ns[3];
  int64_t ns_steps;
  bool maximize, nesterov, amsgrad, centered, decoupled_weight_decay, wide_step,
      no_eps1; /* wide_step: new counters are float64 */
  char adjust_lr_fn; /* Muon: 'o'riginal, 'm'atch_rms_adamw */
} NnOptions;

typedef struct NnOptRow {
  const char *name, *state[NN_OPT_STATES];
} NnOptRow;
extern const NnOptRow nn_opt_rows[NN_OPT_KINDS];

typedef struct NnOptItem {
  MtOptLoop loop;
  void *ptr[MT_OPT_PTRS];
  int64_t n, esize;
  MtOptPar par;
  struct {
    Tensor *t;
    double v;
  } set[3]; /* counters to store when the step is made */
  struct {
    Tensor *to, *from;
  } back[MT_OPT_PTRS]; /* copies to bring back */
  Tensor *touched[MT_OPT_PTRS];
  bool fresh; /* the third is new state that the step fills */
} NnOptItem;
typedef struct NnOptBatch {
  NnOptKind kind;
  const NnOptions *o;
  NnOptItem *v;
  int64_t n, cap;
  bool serial; /* a parameter occurs twice: one after the other */
} NnOptBatch;

/* Makes the missing ones of p's state s[] (owned by the scope); false and an error when it cannot.
 */
bool nn_opt_init(Ctx *c, const NnOptBatch *b, Tensor *p, Tensor *g, Tensor **s);
bool nn_opt_add(Ctx *c, NnOptBatch *b, Tensor *p, Tensor *g, Tensor **s);
bool nn_opt_run(Ctx *c, NnOptBatch *b);

const MtOptKerns *nn_opt_kernels(void); /* of this CPU */

/* optim_matrix.c: the optimizers of whole matrices, made of ops; they write at once. */
void nn_opt_adafactor(Ctx *c, const NnOptions *o, Tensor *p, Tensor *g, Tensor **s);
void nn_opt_muon(Ctx *c, const NnOptions *o, Tensor *p, Tensor *g, Tensor **s);
#endif
