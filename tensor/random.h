/* random.h: the context's generator.
 *
 * Invariant.  Every random op draws from the generator it was given, else from the context's
 * own, which comes to life on first use with PyTorch's default seed.  An op's `generator`
 * argument is the Rng itself. */
#ifndef MT_RANDOM_H
#define MT_RANDOM_H
#include "moth.h"
#include "rng.h"
#define MT_DEFAULT_SEED 67280421310721ull
Rng *mt_default_rng(Ctx *c);               /* NULL and an error when memory is short */
#endif
