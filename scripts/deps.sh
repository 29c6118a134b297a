#!/bin/sh
# deps.sh: installs through apt what is missing for the build and the tests, and says what it installs.
# usage: scripts/deps.sh [build|test|check]     (sudo is used when not root; without apt it names what is missing)
set -eu
want=${1:-build}

packages="gcc libc6-dev make lua5.4 liblua5.4-dev libopenblas-openmp-dev libffi-dev libgomp1"
[ "$want" = check ] && packages="$packages lua-check"

any() { for f; do [ -e "$f" ] && return 0; done; return 1; }   # one of the files that the patterns name is there
have() {   # is the package's purpose met, whoever installed it
  case $1 in
    gcc) command -v cc >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1 ;;
    make|lua5.4) command -v "$1" >/dev/null 2>&1 ;;
    libc6-dev) [ -e /usr/include/stdio.h ] ;;
    liblua5.4-dev) [ -e /usr/include/lua5.4/lua.h ] ;;
    libopenblas-openmp-dev) any /usr/lib/*/openblas-openmp/libopenblas.so* /usr/lib/libopenblas.so* ;;
    libffi-dev) any /usr/include/ffi.h /usr/include/*/ffi.h ;;
    libgomp1) any /usr/lib/*/libgomp.so.1 ;;
    lua-check) command -v luacheck >/dev/null 2>&1 ;;
    *) false ;;
  esac
}

missing=""
for p in $packages; do have "$p" || missing="$missing $p"; done
[ -z "$missing" ] && exit 0

if ! command -v apt-get >/dev/null 2>&1; then
  echo "missing:$missing (Debian's names), and there is no apt-get here: install them with your package manager" >&2
  exit 1
fi

root=""
if [ "$(id -u)" != 0 ]; then
  if ! command -v sudo >/dev/null 2>&1; then
    echo "missing:$missing; become root or install sudo, then run: apt-get install$missing" >&2
    exit 1
  fi
  root="sudo"
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() { $root env DEBIAN_FRONTEND=noninteractive apt-get -y -q --no-install-recommends "$@" >"$log" 2>&1; }
echo "installing with apt-get${root:+ (sudo)}:$missing"
apt update || { cat "$log" >&2; echo "warning: apt-get update failed, trying with the lists at hand" >&2; }
apt install $missing || { cat "$log" >&2; echo "apt-get could not install:$missing" >&2; exit 1; }
