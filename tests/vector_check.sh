#!/bin/sh
# vector_check.sh: every loop of tests/c/vmath_test.c over a function of tensor/vmath.h must vectorise
# at every CPU level.  Run by hand after a change to vmath.h (gcc, x86-64).
cd "$(dirname "$0")/.." || exit 1
flags="-w -O3 -std=gnu11 -fno-math-errno -fno-trapping-math -ffp-contract=off -Itensor -c -o /dev/null"
avx2="-mavx2 -mfma -mf16c -mbmi2"
want=32 bad=0
for level in "" "$avx2" "$avx2 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512"; do
  loops=$(gcc $flags $level -fopt-info-vec-optimized tests/c/vmath_test.c 2>&1 |
          grep -c 'c/vmath_test.c.*loop vectorized')
  [ "$loops" -ge $want ] || bad=1
  echo "level '$level': $loops loops vectorised, at least $want wanted"
done
exit $bad
