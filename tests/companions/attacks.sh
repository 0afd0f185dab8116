#!/usr/bin/env bash
# Compares PGD with torchattacks and foolbox, and runs their attacks and ART's through Attack.
#
#   tests/companions/attacks.sh [FOLDER]
#
# These libraries pin old packages (torchattacks a requests of 2020), so they get a virtual
# environment of their own, in FOLDER or a temporary one. It sees the packages of the Python it is
# made with (PYTHON, else python3), torch and this project among them: only the peers are downloaded.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python3}
folder=${1:-$(mktemp -d)}

"$python" -m venv "$folder"
parent=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
own=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "import site; site.addsitedir('$parent')" > "$own/parent.pth"

"$folder/bin/python" -m pip install --quiet --no-deps \
  torchattacks==3.5.1 \
  foolbox==3.3.4 eagerpy==0.30.0 \
  adversarial-robustness-toolbox==1.20.1 \
  GitPython gitdb smmap requests urllib3 idna certifi charset-normalizer six tqdm 'setuptools<81'

cd "$root"
"$folder/bin/python" -m pytest tests/companions/test_attacks.py -rs "${@:2}"
