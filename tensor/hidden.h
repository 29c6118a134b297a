/* hidden.h: do a hidden op's arguments fit, when they come from outside (torch._ops)? */
#ifndef MT_HIDDEN_H
#define MT_HIDDEN_H
#include "op.h"
bool mt_hidden_args(Ctx *c, const OpRow *op, const Val *a);
#endif
