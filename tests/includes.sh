#!/bin/sh
# includes.sh: the layers' direction, read off the #include lines.  tensor knows no other folder, autograd knows tensor,
# nn knows both, only vm includes lua.h, only vm/ffi*.c ffi.h, stdlib's C sees libc and tensor's public header.
set -u
cd "$(dirname "$0")/.."
bad=0

complain() { echo "FAIL includes: $1: $2"; bad=$((bad + 1)); }

# forbid FOLDER PATTERN WHY [EXCEPT]
forbid() {
  [ -d "$1" ] || return 0
  for hit in $(grep -rnE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]($2)" "$1" --include='*.[ch]' --include='*.inc' \
               --include='*.def' | sed 's/[[:space:]]//g' | grep -vE "${4:-^$}"); do
    complain "$hit" "$3"
  done
}

headers() { ls "$1" 2>/dev/null | grep '\.h$' | paste -sd'|' - | sed 's/\./\\./g'; }
lua='lua\.h|lauxlib\.h|lualib\.h|luaconf\.h|lua5\.4/'
autograd=$(headers autograd); nn=$(headers nn); vm=$(headers vm)

for d in tensor autograd nn stdlib; do forbid $d "$lua" "only vm may include Lua's headers"; done
for d in tensor autograd nn stdlib; do forbid $d 'ffi\.h' "only vm/ffi*.c may include ffi.h"; done
forbid vm 'ffi\.h' "only vm/ffi*.c may include ffi.h" '^vm/ffi[^/]*\.[ch]:'
for d in tensor autograd nn stdlib; do
  forbid $d "(\.\./)*vm/" "vm is above"
  [ -n "$vm" ] && forbid $d "($vm)\"" "vm is above"
done
for d in tensor autograd stdlib; do
  forbid $d "(\.\./)*nn/" "nn is above"
  [ -n "$nn" ] && forbid $d "($nn)\"" "nn is above"
done
for d in tensor stdlib; do
  forbid $d "(\.\./)*autograd/" "autograd is above"
  [ -n "$autograd" ] && forbid $d "($autograd)\"" "autograd is above"
done
# stdlib's C: of tensor only its public header and the base.
if [ -d stdlib ]; then
  private=$(ls tensor/*.h 2>/dev/null | xargs -r -n1 basename | grep -vxE 'moth\.h|base\.h' | paste -sd'|' - | sed 's/\./\\./g')
  [ -n "$private" ] && forbid stdlib "(\.\./)*(tensor/)?($private)\"" "stdlib sees tensor's public header only"
fi

# Modules reached only through their own folder: one file of tensor knows OpenBLAS.
n=$(grep -lE '#[[:space:]]*include[[:space:]]*[<"](cblas|openblas)' -r tensor autograd nn vm stdlib 2>/dev/null | wc -l)
[ "$n" -le 1 ] || complain "OpenBLAS" "included by $n files, one may know it"

echo "$([ $bad -eq 0 ] && echo 1 || echo 0) passed, $bad failed"
[ $bad -eq 0 ]
