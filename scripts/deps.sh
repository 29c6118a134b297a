#!/bin/sh
# deps.sh: installs through apt what is missing for the build and the tests, and says what it installs.
# usage: scripts/deps.sh [build|test|check]     (sudo is used when not root; without apt it names what is missing)
# libdnnl2 (oneDNN) is opened at run time and optional: a distribution without it still gets a working Moth.
set -eu
want=${1:-build}

packages="gcc libc6-dev make lua5.4 liblua5.4-dev libopenblas-openmp-dev libffi-dev libgomp1"
optional="libdnnl2"
[ "$want" = check ] && packages="$packages lua-check"

have() {   # is the package's purpose met, whoever installed it
  case $1 in
    gcc) command -v cc >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1 ;;
    make|lua5.4) command -v "$1" >/dev/null 2>&1 ;;
    libc6-dev) [ -e /usr/include/stdio.h ] ;;
    liblua5.4-dev) [ -e /usr/include/lua5.4/lua.h ] ;;
    libopenblas-openmp-dev) ls /usr/lib/*/openblas-openmp/libopenblas.so* /usr/lib/libopenblas.so* >/dev/null 2>&1 ;;
    libffi-dev) ls /usr/include/ffi.h /usr/include/*/ffi.h >/dev/null 2>&1 ;;
    libgomp1) ls /usr/lib/*/libgomp.so.1 >/dev/null 2>&1 ;;
    libdnnl2) ls /usr/lib/*/libdnnl.so.2 /usr/lib/*/libdnnl.so.3 >/dev/null 2>&1 ;;
    lua-check) command -v luacheck >/dev/null 2>&1 ;;
    *) false ;;
  esac
}

missing="" extra=""
for p in $packages; do have "$p" || missing="$missing $p"; done
for p in $optional; do have "$p" || extra="$extra $p"; done
[ -z "$missing$extra" ] && exit 0

if ! command -v apt-get >/dev/null 2>&1; then
  [ -z "$missing" ] && exit 0
  echo "missing:$missing (Debian's names), and there is no apt-get here: install them with your package manager" >&2
  exit 1
fi

root=""
if [ "$(id -u)" != 0 ]; then
  if ! command -v sudo >/dev/null 2>&1; then
    [ -z "$missing" ] && exit 0
    echo "missing:$missing; become root or install sudo, then run: apt-get install$missing$extra" >&2
    exit 1
  fi
  root="sudo"
  # Only the optional part is missing: do not ask for a password for it.
  if [ -z "$missing" ] && ! sudo -n true 2>/dev/null; then exit 0; fi
fi

mark=/tmp/.moth-no-optional-$(id -u)
if [ -z "$missing" ] && [ -e "$mark" ]; then exit 0; fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() { $root env DEBIAN_FRONTEND=noninteractive apt-get -y -q --no-install-recommends "$@" >"$log" 2>&1; }
echo "installing with apt-get${root:+ (sudo)}:$missing$extra"
apt update || { cat "$log" >&2; echo "warning: apt-get update failed, trying with the lists at hand" >&2; }
if [ -n "$missing" ]; then
  apt install $missing || { cat "$log" >&2; echo "apt-get could not install:$missing" >&2; exit 1; }
fi
if [ -n "$extra" ]; then
  apt install $extra || { : > "$mark"; echo "not available here, going on without:$extra"; }
fi
