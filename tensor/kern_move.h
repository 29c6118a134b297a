/* kern_move.h: loops that move elements without looking at them, by element size (log2: 1, 2, 4, 8
 * bytes), once per CPU level. */
#ifndef MT_KERN_MOVE_H
#define MT_KERN_MOVE_H
#include <stdint.h>

typedef struct MtMoveKerns {
  /* dst[i][k] <- src[k][i] for i < rows, k < cols; row strides in elements. */
  void (*transpose[4])(void *dst, int64_t ds, const void *src, int64_t ss, int64_t rows,
                       int64_t cols);
  /* Elements of x whose mask byte is not 0, packed into out, which has room for exactly those. */
  int64_t (*pick[4])(const void *x, const uint8_t *mask, int64_t n, void *out);
  /* n elements xs apart, each r times */
  void (*repeat[4])(void *out, const void *x, int64_t xs, int64_t n, int64_t r);
} MtMoveKerns;
extern const MtMoveKerns mt_move_kerns_base, mt_move_kerns_avx2, mt_move_kerns_avx512;
const MtMoveKerns *mt_move_kerns(void);
#endif
