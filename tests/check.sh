#!/bin/sh
# check.sh [quick]: what `make check` runs: include directions, luacheck, warnings as errors, the sanitizer build, its
# tests and a minute of random calls in it.  quick is what CI runs: without the sanitizer run's longest part (the golden
# cases), and with the same calls every time.
set -u
cd "$(dirname "$0")/.."
mode=${1:-full} bad=0 jobs=${J:-2}
step() { echo "== $*"; }
failed() { echo "FAIL $*"; bad=$((bad + 1)); }

step include directions
sh tests/includes.sh || failed includes

step luacheck
if command -v luacheck >/dev/null 2>&1; then luacheck -q . --exclude-files 'build*' || failed luacheck
else echo "luacheck is not installed: left out"; fi

step layout
long=$(find tensor autograd nn vm stdlib tests scripts \( -name '*.c' -o -name '*.h' -o -name '*.inc' \) -exec grep -nHE '^.{101,}$' {} + | head)
[ -z "$long" ] || { echo "$long"; failed "C lines of more than 100 columns (make format breaks them)"; }
tabs=$(grep -rlP '\t' tensor autograd nn vm stdlib scripts tests --include='*.c' --include='*.h' --include='*.lua' 2>/dev/null | head)
[ -z "$tabs" ] || { echo "$tabs"; failed "tab characters"; }

step warnings as errors
make -s -j"$jobs" B=build-werror WERROR=1 || failed "build with WERROR=1"

step address and undefined-behaviour sanitizers
if make -s -j"$jobs" B=build-asan SAN=1 OPT=-O1; then
  export ASAN_OPTIONS=detect_leaks=${LEAKS:-1}:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1
  if [ "$mode" = quick ]; then B=build-asan LIMIT=600 T=lua/ sh tests/run.sh || failed "sanitizer run"
  else B=build-asan LIMIT=3600 sh tests/run.sh || failed "sanitizer run"; fi

  step a minute of random calls
  lua5.4 tests/fuzz/run.lua 1000000 --moth build-asan/moth --seconds 60 $([ "$mode" = quick ] && echo --seed 1) || failed "fuzzer"
else failed "sanitizer build"; fi

echo "$([ $bad -eq 0 ] && echo 1 || echo 0) passed, $bad failed"
[ $bad -eq 0 ]
