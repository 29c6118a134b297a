#!/bin/sh
# saves_test.sh [KILLS]: saves that fail at every system call, or are killed at random moments, leave the old file or the new.
set -eu
cd "$(dirname "$0")/.."
B=${B:-build} CC=${CC:-cc} kills=${1:-${KILLS:-25}}
mkdir -p "$B/tests"
src="tests/fuzz/saves.c tensor/base.c"
for d in sys json formats safetensors npy zip pickle; do src="$src $(echo stdlib/$d/*.c)"; done
wrap="-Wl"
for f in write fsync rename close mkostemp fchmod mt_malloc mt_calloc mt_realloc; do wrap="$wrap,--wrap=$f"; done
$CC -std=gnu11 -O1 -g -Itensor -Istdlib "$wrap" -o "$B/tests/saves" $src -lm -ldl
exec "$B/tests/saves" "$kills"
