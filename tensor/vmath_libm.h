#ifndef MT_VMATH_LIBM_H
#define MT_VMATH_LIBM_H
#include <math.h>
#define W(n_) static inline double mt_##n_(double x) { return n_(x); } static inline float mt_##n_##f(float x) { return n_##f(x); }
W(fabs) W(sqrt) W(ceil) W(floor) W(trunc) W(rint) W(exp) W(log) W(sin) W(cos) W(tanh) W(erf)
#undef W
#endif
