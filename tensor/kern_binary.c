/* kern_binary.c: loops and table of the binary kernels; the lines are in binary.inc. */
#include "kern.h"
#define KFILE "binary.inc"
#define B(name, expr) LOOP2(name, T, expr)
#define B_H(name, expr) LOOP2H(name, T, expr)
#define B_HB(name, expr) LOOP2H(name, uint8_t, expr)
#define B_B(name, expr) LOOP2(name, uint8_t, expr)
#define B_R(name, expr) LOOP2(name, TR, expr)
#define B_Q(name, expr) LOOP2Q(name, expr)
#include "kern_types.inc"
#undef B
#undef B_H
#undef B_HB
#undef B_B
#undef B_R
#undef B_Q

#define B(name, expr) [B_##name][DTV] = CAT(bin, name, CODE),
#define B_H(name, expr) B(name, expr)
#define B_HB(name, expr) B(name, expr)
#define B_B(name, expr) B(name, expr)
#define B_R(name, expr) B(name, expr)
#define B_Q(name, expr) B(name, expr)
extern const Loop CAT(mt, bin, KLEVEL)[][MT_NDTYPES];
const Loop CAT(mt, bin, KLEVEL)[B_COUNT_ + 1][MT_NDTYPES] = {
#include "kern_types.inc"
};
