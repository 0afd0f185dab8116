#!/usr/bin/env bash
# Compares PGD with torchattacks and foolbox, and runs their attacks and ART's through Attack.
#
#   tests/companions/attacks.sh [FOLDER]
#
# These libraries pin old packages (torchattacks a requests of 2020), so they get a virtual
# environment of their own, in FOLDER or a temporary one: only the peers are downloaded.
set -euo pipefail

folder=$(realpath -m "${1:-$(mktemp -d)}")
cd "$(dirname "$0")/../.."
. tests/beside.sh "$folder"

"$beside" -m pip install --quiet --no-deps \
  torchattacks==3.5.1 \
  foolbox==3.3.4 eagerpy==0.30.0 \
  adversarial-robustness-toolbox==1.20.1 \
  GitPython gitdb smmap requests urllib3 idna certifi charset-normalizer six tqdm 'setuptools<81'

"$beside" -m pytest tests/companions/test_attacks.py -rs "${@:2}"
