#!/usr/bin/env bash
# Runs the examples of docs/ways_in.md with all the libraries that they are about.
#
#   tests/docs/run.sh [FOLDER]
#
# These libraries are large, so they get a virtual environment of their own, in FOLDER or a temporary
# one. It sees the packages of the Python it is made with (PYTHON, else python3), torch and this
# project among them, and changes none of their versions.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python3}
folder=${1:-$(mktemp -d)}

"$python" -m venv "$folder"
parent=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
own=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "import site; site.addsitedir('$parent')" > "$own/parent.pth"

"$python" -m pip freeze --exclude-editable | grep -E '^[A-Za-z0-9._-]+==' > "$folder/constraints.txt"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
  --constraint "$folder/constraints.txt" lightning timm transformers onnx onnxruntime

cd "$root"
"$folder/bin/python" -m pytest tests/docs -q -rs "${@:2}"
