#!/bin/sh
# run.sh: every test that needs no network and no Python: tests/lua/*_test.lua, tests/c/*_test.c, the golden cases.
# Each prints "N passed, N failed" last; the sum closes this run.  B names the build folder, T limits the tests by name.
# For a run under a checker: MOTH is the program's wrapper, UNDER the words before a C test, SKIP what is left out: a
# name (or its beginning) and the reason on each line.
set -u
cd "$(dirname "$0")/.."
B=${B:-build} CC=${CC:-cc} only=${T:-} limit=${LIMIT:-300}
moth=${MOTH:-$B/moth} under=${UNDER:-} skip=${SKIP:-}
[ -x "$moth" ] || moth=lua5.4
LUA_PATH="tests/lua/?.lua;;"
export LUA_PATH MOTH="$moth" B
log=$(mktemp); trap 'rm -f "$log"' EXIT
passed=0 failed=0

# skipped NAME: whether SKIP names it; then says so, with the reason.
skipped() {
  why=$(printf '%s\n' "$skip" | while read -r start reason; do
    case $1 in "${start:--}"*) echo "$reason"; break ;; esac
  done)
  [ -z "$why" ] || printf '%-40s left out: %s\n' "$1" "$why"
  [ -n "$why" ]
}

# one NAME COMMAND...: runs it, adds its closing line's counts, shows its output when anything failed.
one() {
  name=$1; shift
  case $name in *"$only"*) ;; *) return ;; esac
  if skipped "$name"; then return; fi
  timeout -s KILL "$limit" "$@" >"$log" 2>&1 </dev/null
  status=$?
  last=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1)
  if [ -z "$last" ]; then
    p=0 f=1
    echo "FAIL $name: ended with status $status and no closing line"
    tail -n 15 "$log"
  else
    p=${last%% *}; f=${last#*, }; f=${f%% *}
    if [ "$f" -eq 0 ] && [ "$status" -ne 0 ]; then
      f=1
      echo "FAIL $name: all cases passed but the status is $status"
      tail -n 15 "$log"
    elif [ "$f" -ne 0 ]; then
      grep -E '^FAIL' "$log" | head -n 40
    fi
  fi
  grep -E '^SKIP' "$log"
  passed=$((passed + p)) failed=$((failed + f))
  printf '%-40s %s passed, %s failed\n' "$name" "$p" "$f"
}

for t in tests/lua/*_test.lua; do
  [ -e "$t" ] && one "lua/$(basename "$t" .lua)" "$moth" "$t"
done

mkdir -p "$B/tests"
for t in tests/c/*_test.c; do
  [ -e "$t" ] || continue
  name=$(basename "$t" .c)
  case c/$name in *"$only"*) ;; *) continue ;; esac
  if skipped "c/$name"; then continue; fi
  if make -s --no-print-directory B="$B" "$B/tests/$name" >"$log" 2>&1; then
    one "c/$name" $under "$B/tests/$name"
  else
    echo "FAIL c/$name: does not build"; tail -n 15 "$log"
    failed=$((failed + 1))
  fi
done

for t in tests/*_test.sh; do
  [ -e "$t" ] && one "$(basename "$t" .sh)" sh "$t"
done

if [ "$moth" != lua5.4 ] && grep -q "^[^#]" tests/golden/ops_core.txt; then
  one golden lua5.4 tests/parity/run.lua tests/golden --moth "$moth" --list tests/golden/ops_core.txt --quiet --timeout "$limit"
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
