"""What an install brings, and what a run imports: packages, modules, megabytes, seconds.

python -m benchmarks.imports [--repeats 3] [--only TEXT] [--json out.json]

Every case is a process of its own; memory is the largest resident set, seconds are the processor's.
A worker is one that calls the function of a family that keeps. Of packages those count that
`pip install pytest-multiplicity` needs here, with their files on disk; PyTorch's build for the CPU
needs none of NVIDIA's.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks import common

HEAVY = ("torch", "torchvision", "scipy", "pandas", "sklearn")
TOLD = """
import json, sys, time

def told():
    known = [name for name in {heavy} if name in sys.modules]
    status = open("/proc/self/status").read()  # ru_maxrss begins with what the parent had
    size = int(status.partition("VmHWM:")[2].split()[0]) // 1024
    return {{"modules": len(sys.modules), "MB": size, "s": time.process_time(),
             "of these": ", ".join(known)}}
"""
IMPORT = """
import sys
from told import told
{code}
import json
print("@" + json.dumps(told()))
"""
PYTEST = """
import pytest
plugins = ["-p", "pytest_multiplicity.plugin"]
sys.stdout.flush()
if pytest.main([*plugins, *{arguments}]):
    raise SystemExit(1)
"""
QUIET = ["-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir=."]
HEAD = """
import json
from pathlib import Path

import pytest
import pytest_multiplicity as pm
from told import told

"""
NOBODY = "def test_it():\n    pass\n"
SPEC = """
def test_accuracy(candidate, patients):
    assert candidate.accuracy(patients.report).within(0.05)

def test_gate(survivors, patients):
    assert survivors.ambiguity(patients.report) <= 0.5
"""
DATA = """
@pytest.fixture(scope="session")
def patients():
    from sklearn.datasets import load_breast_cancer

    frame, said = load_breast_cancer(return_X_y=True, as_frame=True)
    return pm.Data({inputs}, said, frame, name="patients").split(0.5)
"""
ESTIMATORS = (
    HEAD
    + DATA.format(inputs="frame")
    + """
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

@pm.family(default={"C": 1.0}, vary={"C": [0.1]}, seeds=1, keep=True)
def candidate(config, patients):
    model = make_pipeline(StandardScaler(), LogisticRegression(C=config.C))
    model.fit(patients.select.inputs, patients.select.targets)
    Path(__file__).with_name("worker.json").write_text(json.dumps(told()))
    return model
"""
)
NETWORKS = (
    HEAD
    + DATA.format(inputs='((frame - frame.mean()) / frame.std()).to_numpy("float32")')
    + """
@pm.family(default={"lr": 0.1}, vary={"lr": [0.05]}, seeds=2)
def candidate(config, patients):
    from torch import nn

    return pm.Recipe(lambda: nn.Linear(30, 2), patients.select, epochs=2, lr=config.lr)
"""
)
SCORES = """
import pandas as pd
import pytest_multiplicity as pm

scores = pd.DataFrame({"lr": [1, 2], "seed": [0, 0], "accuracy": [90.0, 91.0]})
candidate = pm.recorded(scores, default={"lr": 1})
"""
SCORED = "def test_it(candidate):\n    assert candidate.score('accuracy') >= 0.5\n"
CASES: dict[str, tuple[str, str, list[str]]] = {
    "pytest, no family": ("", NOBODY, []),
    "recorded scores": (SCORES, SCORED, []),
    "estimators on a DataFrame, collected": (ESTIMATORS, SPEC, ["--collect-only"]),
    "estimators, first run": (ESTIMATORS, SPEC, []),
    "estimators, all from the store": (ESTIMATORS, SPEC, []),
    "networks, first run": (NETWORKS, SPEC, []),
    "networks, all from the store": (NETWORKS, SPEC, []),
}
WORKER = "estimators, a worker"
ALONE = {
    "nothing": "",
    "import pytest_multiplicity": "import pytest_multiplicity",
    "import torch": "import torch",
    "import torchvision.transforms.v2": "import torchvision.transforms.v2",
    "import pandas, sklearn.pipeline": "import pandas, sklearn.pipeline",
}


def _told(folder: Path, code: str) -> dict[str, Any]:
    """Return what a process says of itself at its end."""
    (folder / "told.py").write_text(TOLD.format(heavy=HEAVY))
    command = [sys.executable, "-c", IMPORT.format(code=code)]
    alone = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=alone
    )
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.rpartition("@")[2])
    return found


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Return what one case takes, in a folder that the cases of one repeat share."""
    if name in ALONE:
        return _told(folder, ALONE[name])
    if name == WORKER:
        found: dict[str, Any] = json.loads((folder / "estimators" / "worker.json").read_text())
        return found
    conftest, specs, more = CASES[name]
    project = folder / name.partition(",")[0].partition(" ")[0]
    project.mkdir(exist_ok=True)
    (project / "conftest.py").write_text(conftest)
    (project / "test_it.py").write_text(specs)
    return _told(project, PYTEST.format(arguments=[*QUIET, *more]))


def packages() -> list[dict[str, Any]]:
    """Return the packages that the plugin needs here, largest first."""
    known: dict[str, int] = {}
    todo = ["pytest-multiplicity"]
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in known:
            continue
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # for another platform
            continue
        files = [Path(str(found.locate_file(file))) for file in found.files or ()]
        known[name] = sum(file.stat().st_size for file in files if file.is_file())
        wanted = [each for each in found.requires or () if "extra ==" not in each]
        todo += [re.match(r"[\w.-]+", each)[0] for each in wanted]  # type: ignore[index]
    rows = sorted(known.items(), key=lambda each: -each[1])
    return [{"package": name, "MB": round(size / 1e6)} for name, size in rows]


def summed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the large packages, and sums: of NVIDIA's, of the others, of all."""
    theirs = ("nvidia", "cuda", "triton")
    sums = {
        "NVIDIA's and triton": [r["MB"] for r in rows if r["package"].startswith(theirs)],
        "the others": [r["MB"] for r in rows[10:] if not r["package"].startswith(theirs)],
        "all": [r["MB"] for r in rows],
    }
    large = [row for row in rows[:10] if not row["package"].startswith(theirs)]
    return [*large, *({"package": f"{n} ({len(s)})", "MB": sum(s)} for n, s in sums.items())]


def main() -> None:
    parser = common.options(__doc__ or "")
    arguments = parser.parse_args()
    names = [*ALONE, *CASES]
    names.insert(names.index("estimators, all from the store"), WORKER)
    found: dict[str, list[dict[str, Any]]] = {}
    for _ in range(arguments.repeats):
        with tempfile.TemporaryDirectory() as folder:
            for name in names:
                if arguments.only in name:
                    found.setdefault(name, []).append(measure(name, Path(folder)))
    rows = [
        {
            "case": name,
            "modules": told[-1]["modules"],
            "MB": round(statistics.median(each["MB"] for each in told)),
            "s": round(statistics.median(each["s"] for each in told), 2),
            "of these": told[-1]["of these"],
        }
        for name, told in found.items()
    ]
    common.report("what is installed", summed(packages()), None)
    common.report("what is imported", rows, arguments.json)


if __name__ == "__main__":
    main()
