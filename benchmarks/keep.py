"""Functions that train by themselves, kept: a run of pytest against the loop and against joblib.

python -m benchmarks.keep [--fits 24] [--rows 18000] [--repeats 3] [--json out.json]

The same pipelines are fitted one after the other, by `joblib.Parallel(n_jobs=2)`, and by a family
with `keep=True` in a first run of pytest. A second run fits none. Each is a process of its own; of
the runs of pytest what it takes to import the same modules is subtracted ("beside imports"), the
loop and joblib are timed without their imports.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import common

PROJECT = """
import sys
from sklearn.datasets import make_classification
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def rows():
    return make_classification({rows}, 20, n_informative=8, random_state=0)


def fitted(seed, x, y):
    forest = GradientBoostingClassifier(n_estimators=60, subsample=0.5, random_state=seed)
    return make_pipeline(StandardScaler(), forest).fit(x, y)
"""
CONFTEST = """
import sys
from pathlib import Path

import pytest
import pytest_multiplicity as pm
from project import fitted, rows


@pytest.fixture(scope="session")
def clients():
    return pm.Data(*rows(), name="clients").split(0.5)


@pm.family(seeds={fits}, keep=True)
def candidate(config, clients):
    with Path(__file__).with_name("fits.txt").open("a") as file:
        file.write(".")
    return fitted(config.seed, clients.select.inputs, clients.select.targets)


def pytest_unconfigure():
    Path(__file__).with_name("modules.txt").write_text("\\n".join(sys.modules))
"""
SPEC = """
def test_accuracy(candidate, clients):
    assert candidate.accuracy(clients.report) >= 0.5
"""
RIVAL = """
import sys, time
from joblib import Parallel, delayed
from project import fitted, rows
import pytest_multiplicity as pm

clients = pm.Data(*rows(), name="clients").split(0.5)
x, y = clients.select.inputs.numpy(), clients.select.targets.numpy()
begun = time.perf_counter()
if sys.argv[1] == "loop":
    for seed in range({fits}):
        fitted(seed, x, y)
else:
    Parallel(n_jobs=2)(delayed(fitted)(seed, x, y) for seed in range({fits}))
print(time.perf_counter() - begun)
"""
IMPORTS = """
import importlib, time, warnings
begun = time.perf_counter()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    for name in open("modules.txt").read().split():
        if name not in ("__main__", "conftest") and not name.startswith(("test_", "tests")):
            try:
                importlib.import_module(name)
            except Exception:
                pass
print(time.perf_counter() - begun)
"""


def _printed(folder: Path, code: str, *arguments: str) -> float:
    """Return the seconds that a script says it took."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _run(folder: Path, fits: int, *arguments: str) -> float:
    """Return the seconds of a run of pytest after which so many fits were made in all."""
    place = ["--rootdir", str(folder), "-c", "/dev/null", "-q", "-p", "no:cacheprovider"]
    store = ["--multiplicity-store", str(folder / "store")]
    spent = common.pytest_run([*place, *store, *arguments, str(folder)], folder / "bytecode")
    made = len((folder / "fits.txt").read_text())
    assert made == fits, f"{made} fits, not {fits}: {spent.said}"
    return spent.seconds


def measure(fits: int, rows: int) -> dict[str, float]:
    """Return the seconds of each way, in one folder that is new."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "project.py").write_text(PROJECT.format(rows=rows))
        (folder / "conftest.py").write_text(CONFTEST.format(fits=fits))
        (folder / "test_it.py").write_text(SPEC)
        rival = RIVAL.format(fits=fits)
        (folder / "fits.txt").touch()
        _run(folder, 0, "-k", "nothing")  # which leaves bytecode behind
        loop = _printed(folder, rival, "loop")
        first = _run(folder, fits)
        joblib = _printed(folder, rival, "joblib")
        second = _run(folder, fits)
        imports = _printed(folder, IMPORTS)
    return {
        "loop s": loop,
        "joblib s": joblib,
        "first run s": first,
        "second run s": second,
        "imports s": imports,
        "x loop": (first - imports) / loop,
        "x joblib": (first - imports) / joblib,
        "second, beside imports s": second - imports,
    }


def main() -> None:
    parser = common.options(__doc__.splitlines()[0])
    parser.add_argument("--fits", type=int, default=24)
    parser.add_argument("--rows", type=int, default=18000)
    chosen = parser.parse_args()
    found = [measure(chosen.fits, chosen.rows) for _ in range(chosen.repeats)]
    row: dict[str, Any] = {"case": f"{chosen.fits} fits"}
    row |= {name: statistics.median(each[name] for each in found) for name in found[0]}
    common.report("keep", [row], chosen.json)


if __name__ == "__main__":
    main()
