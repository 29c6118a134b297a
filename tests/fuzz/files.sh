#!/bin/sh
# files.sh [N] [TARGET] [SEED]: mutated inputs for every parser of files, under the address and undefined-behaviour
# sanitizers; then the share of each parser's lines that 40,000 inputs reach (at least 90 % each, or it fails).
set -eu
cd "$(dirname "$0")/../.."
n=${1:-1000000} target=${2:-all} seed=${3:-1} B=${B:-build-fuzz} CC=${CC:-cc}
flags="-std=gnu11 -g -Wall -Wextra -Itensor -Istdlib -Itests/fuzz"
src="tests/fuzz/main.c tests/fuzz/text.c tests/fuzz/binary.c tests/fuzz/tok.c tensor/base.c"
for d in sys json formats safetensors npy zip pickle gguf audio image tokenizers; do src="$src $(echo stdlib/$d/*.c)"; done

# build FOLDER FLAGS...: one object a source, remade when the source or a header is newer
build() {
  out=$1; shift
  objects=
  newest=$(ls -t stdlib/*/*.h tests/fuzz/*.h tensor/base.h | head -n 1)
  for f in $src; do
    o=$out/$(echo "${f%.c}" | tr / _).o
    objects="$objects $o"
    if [ ! -e "$o" ] || [ "$f" -nt "$o" ] || [ "$newest" -nt "$o" ]; then $CC $flags "$@" -c -o "$o" "$f"; fi
  done
  $CC "$@" -o "$out/fuzz" $objects -lm -ldl -lpthread
}

mkdir -p "$B/san" "$B/cov"
build "$B/san" -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
"$B/san/fuzz" "$n" "$target" "$seed"

command -v gcov >/dev/null 2>&1 || exit 0
rm -f "$B"/cov/*.gcda
build "$B/cov" -O0 --coverage
"$B/cov/fuzz" 40000 all "$seed" >/dev/null
echo "lines reached:"
low=0
for f in json/json json/number formats/fmt safetensors/safetensors npy/npy zip/inflate zip/zip pickle/machine \
         pickle/rebuild pickle/pt gguf/gguf gguf/quant audio/wav image/png tokenizers/added tokenizers/bpe tokenizers/decode \
         tokenizers/json tokenizers/models tokenizers/norm tokenizers/post tokenizers/pretok \
         tokenizers/regex tokenizers/tokenizer tokenizers/vocab; do
  o=$B/cov/stdlib_$(echo $f | tr / _).gcda
  p=$(gcov -n "$o" 2>/dev/null | grep -A1 "File 'stdlib/$f.c'" | sed -n 's/Lines executed:\([0-9.]*\)%.*/\1/p')
  printf '  %-28s %s %%\n' "stdlib/$f.c" "$p"
  case $p in 9[0-9].*|100.*) ;; *) low=$((low + 1)) ;; esac
done
echo "$([ $low -eq 0 ] && echo 1 || echo 0) passed, $low failed"
[ $low -eq 0 ]
