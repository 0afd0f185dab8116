"""What the plugin costs: 10,000 candidate-spec pairs against plain parametrized pytest.

python -m benchmarks.overhead [--candidates 100] [--specs 100] [--repeats 3] [--json out.json]

The plain tests skip where ours reject: failing, they would take five times as long. Without
pytest-rerunfailures, which keeps the exception of every rejection.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import common

FAMILY = """
import pandas as pd
import pytest_multiplicity as pm

rows = [{{"lr": lr, "seed": seed, "accuracy": 90 + (seed * 7 + i) % 10}}
        for i, lr in enumerate([0.1, 0.01]) for seed in range({candidates} // 2)]
candidate = pm.recorded(pd.DataFrame(rows), default={{"lr": 0.1}})
"""
SPECS = """
import pytest

@pytest.mark.parametrize("level", range({specs}))
def test_spec(candidate, level):
    assert candidate.score("accuracy") >= 0.9 + (level % 10) / 100
"""
PLAIN = """
import pytest

SCORES = [(90 + (i * 7) % 10) / 100 for i in range({candidates})]

@pytest.mark.parametrize("candidate", range({candidates}))
@pytest.mark.parametrize("level", range({specs}))
def test_spec(candidate, level):
    score = SCORES[candidate]
    if score < 0.9 + (level % 10) / 100:
        pytest.skip("rejected")
"""


def run(folder: Path, *arguments: str) -> common.Spent:
    quiet = ["-q", "-p", "no:cacheprovider", "-p", "no:rerunfailures", "-c", "/dev/null"]
    place = ["--rootdir", str(folder), str(folder)]
    return common.pytest_run([*quiet, *place, *arguments], folder.parent / "bytecode")


def measure(candidates: int, specs: int, repeats: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        ours, plain = Path(name, "ours"), Path(name, "plain")
        for folder in (ours, plain):
            folder.mkdir()
        sizes = {"candidates": candidates, "specs": specs}
        (ours / "conftest.py").write_text(FAMILY.format(**sizes))
        (ours / "test_specs.py").write_text(SPECS.format(**sizes))
        (plain / "test_specs.py").write_text(PLAIN.format(**sizes))
        for folder in (plain, ours):
            run(folder, "-k", "nothing")  # which leaves bytecode behind
        pairs = [(run(ours), run(plain, "-p", "no:multiplicity")) for _ in range(repeats)]
    for spent in pairs[-1]:
        print(f"  {spent.said.splitlines()[-1]}")
    figures = [
        (a.seconds / b.seconds, a.processor / b.processor, a.processor, b.processor, a.mebibytes)
        for a, b in pairs
    ]
    wall, ratio, ours_processor, plain_processor, peak = (
        statistics.median(column) for column in zip(*figures, strict=True)
    )
    return {
        "case": f"{candidates * specs:,} pairs",
        "x plain pytest": wall,
        "x processor time": ratio,
        "processor s": ours_processor,
        "plain processor s": plain_processor,
        "MiB": peak,
    }


def main() -> None:
    parser = common.options(__doc__.splitlines()[0])
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--specs", type=int, default=100)
    chosen = parser.parse_args()
    row = measure(chosen.candidates, chosen.specs, chosen.repeats)
    common.report("overhead", [row], chosen.json)


if __name__ == "__main__":
    main()
