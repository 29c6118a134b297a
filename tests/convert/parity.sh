#!/bin/sh
# parity.sh [ENV]: converted models against their sources on the CPU: makes a Python environment of its own in ENV (default
# build/convert-env) with torch and mindspore, converts tests/convert/models and scripts/convert/source, writes the tests and runs
# them. Needs a network once; not part of `make test`. PYTHON names the interpreter (3.9 to 3.12).
set -eu
cd "$(dirname "$0")/../.."
env=${1:-build/convert-env}
moth=${MOTH:-build/moth}
[ -x "$moth" ] || { echo "build moth first"; exit 2; }
if [ ! -x "$env/bin/python" ]; then
  ${PYTHON:-python3} -m venv "$env"
  "$env/bin/pip" install -q "mindspore==2.10.0" "numpy<2" torch pytest
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0
for source in tests/convert/models scripts/convert/source; do
  out=$work/$(echo "$source" | tr / _)
  "$moth" convert --src_root "$source" --dst_root "$out" --strict --quiet
  "$moth" convert tests --src_root "$source" --dst_root "$out" --out "$out/tests"
  GLOG_v=3 "$moth" convert validate --src_root "$source" --dst_root "$out" --tests "$out/tests" --python "$env/bin/python" || status=1
  sed -n '/^# parity/,$p' "$out/validation.md"
done
exit $status
