"""What a large family costs: recorded candidates, collected, judged and reported.

python -m benchmarks.scale [--candidates 10000] [--specs 10] [--reports json html markdown]
    [--keep FOLDER]: the reports stay there, as with 200 candidates and 20 specs a page to look at
    [--trained]: of networks that the run trains, with what it takes beside their training
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import common

STAGES = "stages.json"
REPORTS = ("json", "html", "markdown")
SEEDS = 10  # of every configuration
FAMILY = """
import numpy as np
import pandas as pd
import pytest_multiplicity as pm

DRAWN = np.random.default_rng(0)
ROWS = [(lr, width, seed) for lr in range({configurations}) for width in (16, 32)
        for seed in range({seeds})]
TABLE = pd.DataFrame(ROWS, columns=["lr", "width", "seed"])
for metric in range({specs}):
    TABLE[f"metric{{metric}}"] = DRAWN.normal(90, 2, len(TABLE)).round(3)
candidate = pm.recorded(
    TABLE, default={{"lr": 0, "width": 16}}, n={{f"metric{{i}}": 5000 for i in range({specs})}}
)
"""
SPECS = """
import pytest
import pytest_multiplicity as pm

{specs}

def test_gate(survivors):
    assert len(survivors) >= 1
"""
SPEC = """
{mark}
def test_{number:02}(candidate):
    assert candidate.score("metric{number}"){rule}
"""
TRAINED = """
import torch
from sklearn.datasets import load_digits
from torch import nn
import pytest
import pytest_multiplicity as pm

@pytest.fixture(scope="session")
def digits():
    bunch = load_digits()
    images = torch.tensor(bunch.images / 16.0, dtype=torch.float32).unsqueeze(1)
    return pm.Data(images, torch.tensor(bunch.target), name="digits").split(0.5)

@pm.family(default={{"lr": 0}}, vary={{"lr": range(1, {configurations})}}, seeds={seeds})
def candidate(config, digits):
    return pm.Recipe(
        model=lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)),
        data=digits[0], epochs=5, batch_size=64, lr=0.05 + 0.0001 * config.lr,
    )
"""
MEASURED = """
{mark}
def test_{number:02}(candidate, digits):
    assert candidate.accuracy(digits[1], under=pm.InputNoise(0.05 * {number})) >= {least}
"""
LEAST = (0.5, 0.8, 0.1)
RULES = (" >= 0.86", ".within(0.11)", ".in_top(0.97)")
"""Absolute and relative ones, each rejecting a few in a hundred."""


def project(folder: Path, candidates: int, specs: int, *, trained: bool = False) -> None:
    """Write a family and its specs: eight of ten enforced, the rest unforeseen."""
    each = SEEDS if trained else 2 * SEEDS
    sizes = {"configurations": candidates // each, "seeds": SEEDS, "specs": specs}
    (folder / "conftest.py").write_text((TRAINED if trained else FAMILY).format(**sizes))
    written = [
        (MEASURED if trained else SPEC).format(
            number=number,
            rule=RULES[number % len(RULES)],
            least=LEAST[number % len(LEAST)],
            mark="@pytest.mark.unforeseen" if number % 10 >= 8 else "",
        )
        for number in range(specs)
    ]
    (folder / "test_specs.py").write_text(SPECS.format(specs="".join(written)))


def arguments(folder: Path, sheets: str, reports: tuple[str, ...]) -> list[str]:
    """Of a run in ``folder``."""
    quiet = ["-q", "-p", "no:cacheprovider", "-c", "/dev/null"]
    place = ["--rootdir", str(folder), str(folder), f"--multiplicity-sheets={sheets}"]
    return quiet + place + [f"--multiplicity-{kind}={folder / kind}" for kind in reports]


def measure(
    candidates: int,
    specs: int,
    sheets: str,
    reports: tuple[str, ...],
    profile: Path | None,
    keep: Path | None = None,
    *,
    trained: bool = False,
) -> dict[str, Any]:
    """Run once in a process of its own: seconds, processor time and peak memory."""
    with tempfile.TemporaryDirectory() as name:
        folder, bytecode = Path(name, "project"), Path(name, "bytecode")
        folder.mkdir()
        project(folder, candidates, specs, trained=trained)
        common.pytest_run([*arguments(folder, sheets, ()), "-k", "nothing"], bytecode)
        timed = [f"--multiplicity-profile={folder / STAGES}"] * trained
        given = [*arguments(folder, sheets, reports), *timed]
        spent = common.pytest_run(given, bytecode, profile)
        if not re.search(r"\d+ passed", spent.said):
            raise SystemExit(spent.said[-4000:])
        print(f"  {spent.said.splitlines()[-1]}")
        for kind in reports if keep else ():
            keep.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / kind, keep / f"report.{kind}")
        stages = json.loads((folder / STAGES).read_text())["stages"] if trained else {}
        sizes = {kind: (folder / kind).stat().st_size / 1e6 for kind in reports}
    return {
        "candidates": candidates,
        "specs": specs,
        "reports": " ".join(reports) or "none",
        "seconds": spent.seconds,
        "beside training": spent.seconds - stages.get("train", 0.0),
        "processor s": spent.processor,
        "ms a pair": 1000 * spent.processor / (candidates * specs),
        "MiB": spent.mebibytes,
        **{f"{kind} MB": size for kind, size in sizes.items()},
    }


def main() -> None:
    """Measure what the arguments say."""
    parser = common.options(__doc__.splitlines()[0])
    parser.add_argument("--candidates", type=int, default=10_000)
    parser.add_argument("--specs", type=int, default=10)
    parser.add_argument("--sheets", choices=("none", "summary", "full"), default="summary")
    parser.add_argument("--reports", nargs="*", choices=REPORTS, default=())
    parser.add_argument("--profile", type=Path, help="write what cProfile saw there")
    parser.add_argument("--keep", type=Path, help="leave the reports in this folder")
    parser.add_argument("--trained", action="store_true", help="networks, instead of recorded ones")
    chosen = parser.parse_args()
    sizes = (chosen.candidates, chosen.specs, chosen.sheets, tuple(chosen.reports))
    row = measure(*sizes, chosen.profile, chosen.keep, trained=chosen.trained)
    common.report("scale", [row], chosen.json)


if __name__ == "__main__":
    main()
