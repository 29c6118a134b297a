/* kern_ternary.c: loops and table of the ternary kernels; the lines are in ternary.inc. */
#include "kern.h"
#define KFILE "ternary.inc"
#define T3(name, expr) LOOP3(name, T, expr)
#define T_B(name, expr) LOOP3(name, uint8_t, expr)
#define T_R(name, expr) LOOP3(name, TR, expr)
#include "kern_types.inc"
#undef T3
#undef T_B
#undef T_R

#define T3(name, expr) [T_##name][DTV] = CAT(ter, name, CODE),
#define T_B(name, expr) T3(name, expr)
#define T_R(name, expr) T3(name, expr)
extern const Loop CAT(mt, ter, KLEVEL)[][MT_NDTYPES];
const Loop CAT(mt, ter, KLEVEL)[T_COUNT_ + 1][MT_NDTYPES] = {
#include "kern_types.inc"
};
