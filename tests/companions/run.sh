#!/usr/bin/env bash
# Runs tests/companions beside the plugins it is about, in environments of their own.
#
#   tests/companions/run.sh [FOLDER]
#
# Each environment lies in FOLDER, or a temporary one, and sees the packages of the Python it is made
# with (PYTHON, else python3), torch and this project among them: only what differs is installed.
# Environments: the newest pytest, the oldest that is supported, the lowest versions of our
# dependencies, and one with Ray, for its engine's tests. ENVIRONMENTS names some of them, such as
# "oldest". Libraries that models come from have a script of their own: tests/docs/run.sh.
set -uo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python3}
folder=${1:-$(mktemp -d)}
companions=(pytest-xdist pytest-cov pytest-html pytest-randomly pytest-rerunfailures pytest-timeout
  pytest-benchmark syrupy hypothesis anyio pytest-asyncio)
declare -A differs=(
  [newest]="pytest"
  [oldest]="pytest==8.4.2"
  [lowest]="pytest==8.4.2 numpy==2.1.* pandas==2.2.3 scipy==1.14.1 rich==13.9.* safetensors==0.5.* filelock==3.16.*"
  [ray]="ray>=2.50"
)
ours="tests/companions/test_companions.py -o asyncio_default_fixture_loop_scope=function -p no:benchmark"
failed=0

for name in ${ENVIRONMENTS:-newest oldest lowest ray}; do
  "$python" -m venv "$folder/$name"
  parent=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  own=$("$folder/$name/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  echo "import site; site.addsitedir('$parent')" > "$own/parent.pth"
  beside="${companions[*]}" tests=$ours
  if [ "$name" = ray ]; then
    beside=pytest-xdist tests="tests/companions/test_ray.py tests/training/test_ray.py"
  fi
  # shellcheck disable=SC2086 # several requirements in one string
  "$folder/$name/bin/python" -m pip install --quiet --disable-pip-version-check \
    $beside ${differs[$name]} || { failed=1; continue; }
  echo "== $name: $("$folder/$name/bin/python" -m pytest --version 2>&1 | tail -1)"
  # shellcheck disable=SC2086 # several arguments in one string
  (cd "$root" && "$folder/$name/bin/python" -m pytest $tests -q -rs) || failed=1
done
exit $failed
