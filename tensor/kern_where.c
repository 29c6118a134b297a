/* kern_where.c: where's loops.  where picks bits, so there is one loop a size of element, and no
 * branch: conditions are often random. */
#include "kern.h"

#define PICK(T, q, a, b) ((T)((b) ^ (((a) ^ (b)) & (T)(0 - (T)((q) != 0)))))
#define WHERE_LOOP(name, T)                                                                     \
  static void name(char **p, const int64_t *s, int64_t n, const void *par) {                    \
    const uint8_t *q = (const uint8_t *)p[1];                                                   \
    if (s[1] == 1 && s[0] == sizeof(T) && s[2] == sizeof(T) && s[3] == sizeof(T)) {             \
      T *o = (T *)p[0];                                                                         \
      const T *a = (const T *)p[2], *b = (const T *)p[3];                                       \
      VEC for (int64_t i = 0; i < n; i++) o[i] = PICK(T, q[i], a[i], b[i]);                     \
    } else if (s[1] == 1 && s[0] == sizeof(T) && s[2] == sizeof(T) && s[3] == 0) {              \
      T *o = (T *)p[0];                                                                         \
      const T *a = (const T *)p[2], b = *(const T *)p[3];                                       \
      VEC for (int64_t i = 0; i < n; i++) o[i] = PICK(T, q[i], a[i], b);                        \
    } else if (s[1] == 1 && s[0] == sizeof(T) && s[2] == 0 && s[3] == sizeof(T)) {              \
      T *o = (T *)p[0];                                                                         \
      const T a = *(const T *)p[2], *b = (const T *)p[3];                                       \
      VEC for (int64_t i = 0; i < n; i++) o[i] = PICK(T, q[i], a, b[i]);                        \
    } else if (s[1] == 1 && s[0] == sizeof(T) && s[2] == 0 && s[3] == 0) {                      \
      T *o = (T *)p[0];                                                                         \
      const T a = *(const T *)p[2], b = *(const T *)p[3];                                       \
      VEC for (int64_t i = 0; i < n; i++) o[i] = PICK(T, q[i], a, b);                           \
    } else                                                                                      \
      for (int64_t i = 0; i < n; i++)                                                           \
        *(T *)(p[0] + i * s[0]) =                                                               \
            PICK(T, q[i * s[1]], *(const T *)(p[2] + i * s[2]), *(const T *)(p[3] + i * s[3])); \
  }
WHERE_LOOP(where_1, uint8_t)
WHERE_LOOP(where_2, uint16_t)
WHERE_LOOP(where_4, uint32_t)
WHERE_LOOP(where_8, uint64_t)
static void where_16(char **p, const int64_t *s, int64_t n, const void *par) {
  for (int64_t i = 0; i < n; i++)
    *(cdouble *)(p[0] + i * s[0]) =
        *(const cdouble *)(*(uint8_t *)(p[1] + i * s[1]) ? p[2] + i * s[2] : p[3] + i * s[3]);
}
extern const Loop CAT(mt, where, KLEVEL)[5];
const Loop CAT(mt, where, KLEVEL)[5] = {where_1, where_2, where_4, where_8, where_16};
