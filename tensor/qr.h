/* qr.h: QR of one larger matrix, and products with its Q.
 *
 * Invariants.  Panels of columns are factored by LAPACK's recursive routine; everything else is
 * products of matrices on all threads (on one inside mt_parallel).  Q is the product of I - V T V^H
 * over the panels; R has the signs that geqrf gives.  Values: LAPACK's info, or MT_LAPACK_... */
#ifndef MT_QR_H
#define MT_QR_H
#include "blas.h"

typedef struct { MtGemmType type; int m, k, nb; char *v, *t; } MtQr; /* V is m x k, T nb x k */

bool mt_qr_pays(int m, int n);                    /* or is geqrf faster? */
int mt_qr_factor(MtQr *q, MtGemmType t, int m, int n, void *a); /* a: as geqrf leaves it */
/* C = Q^H C, or Q C, for m x cols numbers. */
int mt_qr_apply(const MtQr *q, bool adjoint, int cols, void *c);
int mt_qr_columns(const MtQr *q, int cols, void *c);     /* C = the first columns of Q */
/* The n x n upper triangle of a factored matrix with zeros below, to be freed; NULL: no memory. */
char *mt_qr_triangle(MtGemmType t, int m, int n, const void *a);
void mt_qr_free(MtQr *q);
#endif
