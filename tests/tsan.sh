#!/bin/sh
# tsan.sh: tests/run.sh under ThreadSanitizer with four threads.  In this build the smallest job is cut and each thread
# takes a piece (MT_CUT_ALL, tensor/base.h), so tests of a few numbers run every kernel side by side; free lists are off
# (-DMT_SAN).  No race is suppressed: OpenBLAS runs on one thread, as Moth always sets it.
set -u
cd "$(dirname "$0")/.."
B=${B:-build-tsan} DEFS=-DMT_SAN; export B DEFS
logs=$PWD/$B/races; rm -rf "$logs"; mkdir -p "$logs"

# Left out, by name, with the reason:
SKIP="
lua/cli_test       a signal reaches a loop of pure Lua only when it calls the system
c/pty_interrupt    the same: most of its loops are pure Lua
lua/rocks_test     a plain lua5.4 cannot load a sanitizer's build
lua/examples_test  trains models for minutes at full speed; what they call, other tests call too
lua/memory_test    counts resident memory; the sanitizer's own is several times as much
lua/sandbox_test   its caps on memory and processor time are lower than the sanitizer itself needs
saves_test         builds its own program, which has no threads
"
export SKIP

SLOW=4 OMP_NUM_THREADS=${OMP_NUM_THREADS:-4} LIMIT=${LIMIT:-1800} CC="${CC:-cc} -fsanitize=thread" T=${T:-} \
  TSAN_OPTIONS="die_after_fork=0:second_deadlock_stack=1:exitcode=66:log_path=$logs/race" sh tests/run.sh
status=$?
bad=$(ls "$logs" | wc -l)
for f in "$logs"/*; do [ -e "$f" ] && head -n 80 "$f"; done
echo "tsan: $bad processes with findings"
[ "$status" -eq 0 ] && [ "$bad" -eq 0 ]
