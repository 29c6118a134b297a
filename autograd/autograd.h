#include "op.h"
typedef struct AgNode AgNode;
typedef struct DerivRow { void (*fn)(Ctx *, AgNode *, Tensor **); const char *args, *rets, *diff, *text; } DerivRow;
extern const DerivRow ag_derivs[OP_COUNT];
