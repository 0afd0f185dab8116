"""What the plugin costs: 10,000 candidate-spec pairs against plain parametrized pytest.

python -m benchmarks.overhead [--candidates 100] [--specs 100] [--repeats 3] [--json out.json]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
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


def run(folder: Path, *arguments: str) -> tuple[float, str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null"]
    start = time.perf_counter()
    done = subprocess.run(
        [*command, "--rootdir", str(folder), str(folder), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    return time.perf_counter() - start, done.stdout.strip().splitlines()[-1]


def measure(candidates: int, specs: int, repeats: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        ours, plain = Path(name, "ours"), Path(name, "plain")
        for folder in (ours, plain):
            folder.mkdir()
        sizes = {"candidates": candidates, "specs": specs}
        (ours / "conftest.py").write_text(FAMILY.format(**sizes))
        (ours / "test_specs.py").write_text(SPECS.format(**sizes))
        (plain / "test_specs.py").write_text(PLAIN.format(**sizes))
        rows = []
        for _ in range(repeats):
            theirs, said_plain = run(plain, "-p", "no:multiplicity")
            spent, said = run(ours)
            rows.append((spent / theirs, spent, theirs))
    ratio, ours_seconds, plain_seconds = (statistics.median(c) for c in zip(*rows, strict=True))
    print(f"  ours: {said}\n  plain: {said_plain}")
    return {
        "case": f"{candidates * specs:,} pairs",
        "x plain pytest": ratio,
        "seconds": ours_seconds,
        "plain seconds": plain_seconds,
        "MiB largest": common.memory()["largest worker"],
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
