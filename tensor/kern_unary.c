/* kern_unary.c: loops and table of the unary kernels; the lines are in unary.inc. */
#include "kern.h"
#include "kern_pow.h"
#define KFILE "unary.inc"
#define U(name, expr) LOOP1(name, T, expr)
#define U_H(name, expr) LOOP1H(name, T, expr)
#define U_B(name, expr) LOOP1(name, uint8_t, expr)
#define U_R(name, expr) LOOP1(name, TR, expr)
#define U_V(name, fn) LOOP1V(name, fn)
#include "kern_types.inc"
#undef U
#undef U_H
#undef U_B
#undef U_R
#undef U_V

#define U(name, expr) [U_##name][DTV] = CAT(un, name, CODE),
#define U_H(name, expr) U(name, expr)
#define U_B(name, expr) U(name, expr)
#define U_R(name, expr) U(name, expr)
#define U_V(name, fn) U(name, fn)
extern const Loop CAT(mt, un, KLEVEL)[][MT_NDTYPES];
const Loop CAT(mt, un, KLEVEL)[U_COUNT_ + 1][MT_NDTYPES] = {
#include "kern_types.inc"
};
