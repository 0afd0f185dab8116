"""How soon a cold run of a study says something: its verdicts, in shares of the whole run.

python -m benchmarks.first_verdict [--only test_selection] [--repeats 3] [--against DIR]

Each run is a process of its own with an empty store, timed from its start to its end. Told are when
the first verdict came and each quarter of them, and the processor's seconds, with those of worker
processes. `--against` runs another checkout in turn with this one, on the machine as it is then.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from contextlib import ExitStack, chdir
from pathlib import Path
from typing import Any

from benchmarks import common

STUDY = "specs/digits"
PLUGIN = "when_verdicts_came"
TOLD = """
import time
from pathlib import Path

came = []

def pytest_runtest_logreport(report):
    if "pair" in (getattr(report, "multiplicity", None) or {}):
        came.append(time.time())

def pytest_unconfigure():
    Path(__file__).with_name("came.txt").write_text(" ".join(map(str, came)))
"""
SHARES = {"first": 0.0, "quarter": 0.25, "half": 0.5, "3 quarters": 0.75, "last": 1.0}


def once(study: str, folder: Path) -> tuple[common.Spent, list[float]]:
    """Run a study cold; return what it took, and when verdicts came, in shares of that."""
    # worker processes import the package by the path, not from where a process was started
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path.cwd()), str(folder)])
    given = ["-q", "-n0", "-p", "no:cacheprovider", "-p", PLUGIN]
    with tempfile.TemporaryDirectory(dir=folder) as store:
        begun = time.time()
        spent = common.pytest_run(
            [*given, "--multiplicity-store", store, study], folder / "bytecode"
        )
    if " passed" not in spent.said or " failed" in spent.said or " error" in spent.said:
        raise RuntimeError(spent.said)
    came = [float(each) for each in (folder / "came.txt").read_text().split()]
    return spent, [(each - begun) / spent.seconds for each in came]


def row(case: str, runs: list[tuple[common.Spent, list[float]]]) -> dict[str, Any]:
    """Return the medians of a case's runs."""
    found: dict[str, Any] = {"case": case, "verdicts": len(runs[0][1])}
    for name, share in SHARES.items():
        at = [came[round(share * (len(came) - 1))] for _, came in runs]
        found[name] = f"{statistics.median(at):.1%}"
    firsts = [came[0] * spent.seconds for spent, came in runs]
    found["first s"] = statistics.median(firsts)
    found["whole s"] = statistics.median(spent.seconds for spent, _ in runs)
    found["processor s"] = statistics.median(spent.processor for spent, _ in runs)
    found["runs"], found["load"] = len(runs), round(os.getloadavg()[0], 1)
    return found


def main() -> None:
    parser = common.options(__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, help="another checkout, run in turn with this one")
    chosen = parser.parse_args()
    here = Path(__file__).parents[1]
    roots = {"here": here, **({"there": chosen.against} if chosen.against else {})}
    found = sorted(path.stem for path in (here / STUDY).glob("test_*.py"))
    study = next((f"{STUDY}/{name}.py" for name in found if chosen.only in name), STUDY)
    study = study if chosen.only else STUDY
    runs: dict[str, list[tuple[common.Spent, list[float]]]] = {name: [] for name in roots}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / f"{PLUGIN}.py").write_text(TOLD)
        for root in roots.values():  # which leaves bytecode behind, as it does for users
            with chdir(root):
                common.command(["python", "-m", "pytest", "--co", "-q", study], folder / "bytecode")
        for _ in range(chosen.repeats):
            for name, root in roots.items():
                with chdir(root):
                    runs[name].append(once(study, folder))
    common.report(study, [row(name, each) for name, each in runs.items()], chosen.json)


if __name__ == "__main__":
    main()
