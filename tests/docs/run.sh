#!/usr/bin/env bash
# Runs the examples of docs/ways_in.md with all the libraries that they are about.
#
#   tests/docs/run.sh [FOLDER]
#
# These libraries are large, so they get a virtual environment of their own, in FOLDER or a temporary
# one. It changes no versions of the packages that there are.
set -euo pipefail

folder=$(realpath -m "${1:-$(mktemp -d)}")
cd "$(dirname "$0")/../.."
. tests/beside.sh "$folder"

"$parent_python" -m pip freeze --exclude-editable \
  | grep -E '^[A-Za-z0-9._-]+==' > "$folder/constraints.txt"
"$beside" -m pip install --quiet --disable-pip-version-check \
  --constraint "$folder/constraints.txt" lightning timm transformers onnx onnxruntime

"$beside" -m pytest tests/docs -q -rs "${@:2}"
