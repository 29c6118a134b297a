/* kern_planes.c: pooling and resampling of one plane (see kern_planes.h), three element types. */
#include "kern_planes.h"
#include <math.h>
#include <string.h>

/* Compilers turn x[idx[i]] into gather instructions, which are slower than single loads. */
#ifdef __clang__
#define SCALAR
#define UNROLL _Pragma("unroll 4")
#else
#define SCALAR __attribute__((optimize("no-tree-vectorize")))
#define UNROLL _Pragma("GCC unroll 4")
#endif
#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)

#define T float
#define I int32_t
#define IMAX INT32_MAX
#define LOW (-INFINITY)
#define F(name) name##_f32
#include "planes.inc"
#undef T
#undef I
#undef IMAX
#undef LOW
#undef F
#define T double
#define I int64_t
#define IMAX INT64_MAX
#define LOW (-INFINITY)
#define F(name) name##_f64
#include "planes.inc"
#undef T
#undef LOW
#undef F
#define T int64_t
#define LOW INT64_MIN
#define F(name) name##_i64
#include "planes.inc"

const MtPlaneKerns CAT(mt_plane_kerns_, KLEVEL)[MT_PLANE_TYPES] = {
    {max_f32, along_f32, sample_f32, divide_f32, copies_f32},
    {max_f64, along_f64, sample_f64, divide_f64, copies_f64},
    {max_i64, along_i64, sample_i64, divide_i64, copies_i64}};
