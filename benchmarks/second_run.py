"""A second run of a study, which trains nothing, to what it takes to import the same modules.

python -m benchmarks.second_run [--only credit] [--repeats 5] [--store DIR] [--json out.json]

The first run fills the store and leaves bytecode behind, as it does for users. Then pairs are timed
in turn, each a process of its own: the run, and nothing but its imports. Seconds are the
processor's, and what is told are medians of the pairs and of their ratios.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import common

STUDIES = ("specs/digits", "specs/credit")
PLUGIN = "modules_of_the_run"
TOLD = f"""
import sys
from pathlib import Path

def pytest_unconfigure():
    skipped = ("__main__", "specs", {PLUGIN!r})
    names = [name for name in sys.modules if name.partition(".")[0] not in skipped]
    Path(__file__).with_name("modules.txt").write_text("\\n".join(names))
"""
IMPORTS = """
import importlib, sys, warnings
warnings.simplefilter("ignore")
for name in open(sys.argv[1]).read().split():
    try:
        importlib.import_module(name)
    except Exception:  # what only its package can import, which did
        pass
print(len(sys.modules))
"""


def once(study: str, folder: Path, store: Path) -> common.Spent:
    """Run a study with the plugin that writes down what it imported."""
    given = ["-q", "-n0", "-p", "no:cacheprovider", "-p", PLUGIN]
    spent = common.pytest_run(
        [*given, "--multiplicity-store", str(store), study], folder / "bytecode"
    )
    if " passed" not in spent.said or " failed" in spent.said or " error" in spent.said:
        raise RuntimeError(spent.said)
    return spent


def imports(folder: Path) -> common.Spent:
    """Import what the last run had imported at its end."""
    told = str(folder / "modules.txt")
    return common.command([sys.executable, "-c", IMPORTS, told], folder / "bytecode")


def measure(study: str, folder: Path, store: Path, repeats: int) -> dict[str, Any]:
    """Return the medians of a study's pairs."""
    once(study, folder, store)
    imports(folder)
    pairs = [(once(study, folder, store), imports(folder)) for _ in range(repeats)]
    ratios = [run.processor / alone.processor for run, alone in pairs]
    return {
        "case": study,
        "run s": statistics.median(run.processor for run, _ in pairs),
        "imports s": statistics.median(alone.processor for _, alone in pairs),
        "x imports": statistics.median(ratios),
        "from": min(ratios),
        "to": max(ratios),
        "MB": statistics.median(run.mebibytes for run, _ in pairs),
        "modules": int(pairs[-1][1].said.split()[-1]),
        "load": round(os.getloadavg()[0], 1),
    }


def main() -> None:
    parser = common.options(__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, help="a store that is there; default: a new one")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / f"{PLUGIN}.py").write_text(TOLD)
        places = [str(folder), os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, places))
        store = chosen.store or folder / "store"
        rows = [
            measure(study, folder, store, chosen.repeats)
            for study in STUDIES
            if chosen.only in study
        ]
    common.report("second run, processor seconds", rows, chosen.json)


if __name__ == "__main__":
    main()
