#!/usr/bin/env bash
# Runs pytest's own test suite without our plugin and with it, and compares every outcome.
#
#   tests/faults/pytest_suite.sh [FOLDER] [TESTS...]
#
# The suite comes from the source distribution of VERSION, else of the newest pytest, into FOLDER or
# a temporary one; TESTS are paths in it, else all of it. The environment holds pytest, what its
# tests need, and the plugin, but not torch: without a family it is never imported. Exits with 1 when
# an outcome differs.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python3}
folder=${1:-$(mktemp -d)}
tests=("${@:2}")

mkdir -p "$folder"
"$python" -m pip download --quiet --no-deps --no-binary pytest --dest "$folder" \
  "pytest${VERSION:+==$VERSION}"
tar -xzf "$folder"/pytest-*.tar.gz -C "$folder"
suite=$(echo "$folder"/pytest-*/)
"$python" -m venv "$folder/venv"
venv=$folder/venv/bin/python
"$venv" -m pip install --quiet "$suite[dev]" pytest-xdist

outcomes() {
  (cd "$suite" && "$venv" -m pytest -q -n "${WORKERS:-4}" -p no:cacheprovider \
    --junitxml="$folder/$1.xml" "${tests[@]}" > "$folder/$1.log" 2>&1) || true
  "$venv" - "$folder/$1.xml" > "$folder/$1.txt" <<'PYTHON'
import sys
from xml.etree import ElementTree

for case in ElementTree.parse(sys.argv[1]).iter("testcase"):
    kinds = sorted({child.tag for child in case} & {"failure", "error", "skipped"})
    print(case.get("classname"), case.get("name"), *(kinds or ["passed"]))
PYTHON
  sort -o "$folder/$1.txt" "$folder/$1.txt"
}

outcomes without
"$venv" -m pip install --quiet --no-deps "$root"
outcomes with
if diff "$folder/without.txt" "$folder/with.txt"; then
  echo "$(wc -l < "$folder/with.txt") tests of pytest: the same with the plugin as without"
else
  exit 1
fi
