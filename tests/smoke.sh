#!/bin/sh
# smoke.sh: at most 20 seconds: does the engine start, and do a few things of each kind still work?
set -u
cd "$(dirname "$0")/.."
B=${B:-build}
moth=$B/moth
[ -x "$moth" ] || { echo "no $moth"; exit 0; }
LUA_PATH="tests/lua/?.lua;;"; export LUA_PATH
fail() { echo "smoke: $*"; exit 1; }

timeout 5 "$moth" -e "" || fail "moth -e '' fails"
[ "$(timeout 5 "$moth" -e 'print(1 + 1)')" = 2 ] || fail "moth -e does not print"
if timeout 5 "$moth" -e 'require "torch"' 2>/dev/null; then
  [ "$(timeout 5 "$moth" -e 'print(torch.ones(2):add(1)[0]:item())')" = 2.0 ] || fail "torch.ones(2):add(1)[0]:item()"
  if [ -s tests/golden/smoke.txt ]; then
    timeout -s KILL 15 lua5.4 tests/parity/run.lua tests/golden --moth "$moth" --list tests/golden/smoke.txt --quiet \
      || fail "golden cases of tests/golden/smoke.txt"
  fi
fi
echo "smoke: ok"
