/* kern_scan.h: running sums of float32 in double; what kern_scan.c exports once per CPU level. */
#ifndef MT_KERN_SCAN_H
#define MT_KERN_SCAN_H
#include <stdint.h>
typedef struct {
  double (*sum)(const float *x, int64_t n);
  double (*scan)(const float *x, float *y, int64_t n, double from); /* the sum so far */
} ScanKerns;
extern const ScanKerns mt_scan_kerns_base, mt_scan_kerns_avx2, mt_scan_kerns_avx512;
#endif
