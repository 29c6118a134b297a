/* sort_core.h: ordering rows: sort, selection, extrema with indices, runs, binary search.
 *
 * Invariants.
 *  - Order is PyTorch's: nan is the greatest value, all nans and both zeros are equal; every order
 *    is stable, so among equal elements the one of lower index comes first, ascending or
 *    descending.
 *  - Rows are contiguous; in may not overlap the outputs.  e is any code but the complex ones.
 *  - Nothing is allocated that is not freed; results are valid only after CORE_OK.  Long work
 *    polls mt_interrupted and uses the pool. */
#ifndef MT_SORT_CORE_H
#define MT_SORT_CORE_H
#include "elem.h"

typedef enum { CORE_OK, CORE_NOMEM, CORE_INTERRUPTED } CoreStatus;

/* rows rows of n elements each; values or index may be NULL. */
CoreStatus mt_sort_rows(Elem e, const void *in, int64_t rows, int64_t n, bool desc, void *values,
                        int64_t *index);
/* The first k of the order just described, sorted. */
CoreStatus mt_topk_rows(Elem e, const void *in, int64_t rows, int64_t n, int64_t k, bool largest,
                        void *values, int64_t *index);
/* The element of rank k (from 0, ascending); among equal ones the index PyTorch's quickselect
 * ends on. */
CoreStatus mt_kth_rows(Elem e, const void *in, int64_t rows, int64_t n, int64_t k, void *values,
                       int64_t *index);
/* The lower median; a row with nan gives its first nan, unless skip_nan, which ranks the others
 * only. */
CoreStatus mt_median_rows(Elem e, const void *in, int64_t rows, int64_t n, bool skip_nan,
                          void *values, int64_t *index);
/* The most frequent value, the smallest of several; the index PyTorch's unstable sort leaves
 * last. */
CoreStatus mt_mode_rows(Elem e, const void *in, int64_t rows, int64_t n, void *values,
                        int64_t *index);
/* First place of the extremum, nan counting as both greatest and least; values may be NULL, n >
 * 0. */
CoreStatus mt_argext_rows(Elem e, const void *in, int64_t rows, int64_t n, bool max, void *values,
                          int64_t *index);
/* The same over the middle dimension of outer x n x inner. */
CoreStatus mt_argext_cols(Elem e, const void *in, int64_t outer, int64_t n, int64_t inner, bool max,
                          void *values, int64_t *index);
/* Groups equal elements of a row of n: order (n indices, sorted and stable), start (n + 1: group
 * g is order[start[g]] .. order[start[g + 1] - 1]), groups their count.  Every nan is a group of
 * its own. */
CoreStatus mt_group_row(Elem e, const void *in, int64_t n, int64_t *order, int64_t *start,
                        int64_t *groups);
/* out[i]: the first place of edges (ascending; through sorter when given) that is >= x[i], or >
 * x[i] with right. e is i64, f32 or f64; rows of edges (nedge) and x (nx) go by pairs, or one
 * row of edges serves all (shared). */
CoreStatus mt_searchsorted(Elem e, const void *edges, const int64_t *sorter, int64_t nedge,
                           bool shared, const void *x, int64_t rows, int64_t nx, bool right,
                           int64_t *out);
#endif
