"""Run a small family cold, again and again, under all circumstances, and compare every bit.

    python tests/faults/bits.py [--runs 20] [--seed 0]

Each run has a store of its own and random load beside it. Some are plain, some are killed at a
random moment and resumed, some are spread by `-n 2`, some train and evaluate on Ray (where it is
installed). All must leave the same weights, the same logits and the same JSON, but for paths and
counts of work. Exits with 1 otherwise.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import reports

sys.path.insert(0, str(Path(__file__).parents[1]))
from support import cold_runs

WAYS = ["plain", "killed", "-n2", *(["ray"] if find_spec("ray") else [])]
OPTIONS = {"-n2": ["-n2"], "ray": ["--multiplicity-engine=ray"]}


def run(study: Path, store: Path, way: str, length: float, rng: random.Random) -> list[str]:
    """Run once, and return what is wrong with how it ended."""
    with cold_runs.busy(rng.randrange(4)):
        if way == "killed":
            process = cold_runs.start(study, store)
            time.sleep(rng.uniform(0.3, 1.0) * length)
            process.kill()
            process.communicate()
        process = cold_runs.start(study, store, *OPTIONS.get(way, []))
        said, _ = process.communicate(timeout=1200)
    if process.returncode:
        return [f"{store.name}: exit code {process.returncode}\n{said.decode()[-3000:]}"]
    return []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    faults: list[str] = []
    done: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cold_runs.write(study := folder / "study")
        began = time.monotonic()
        faults += run(study, folder / "first", "plain", 0, random.Random(3))
        length = time.monotonic() - began
        first = None if faults else cold_runs.left_by(folder / "first")
        for number in range(1, options.runs if first else 0):
            way = WAYS[number % len(WAYS)]
            store = folder / f"{number}, {way}"
            wrong = run(study, store, way, length, rng)
            wrong = wrong or reports.differences(first, cold_runs.left_by(store))[:5]
            faults += [f"run {number} ({way}): {line}" for line in wrong]
            done[way] += 1
            print(f"run {number} ({way}): {len(wrong)} differences", flush=True)
        shown = len(first["weights"]) if first else 0, len(first["logits"]) if first else 0
    for fault in faults:
        print(fault, file=sys.stderr)
    print(
        f"{1 + done.total()} cold runs ({dict(done)} after the first), {shown[0]} weights and "
        f"{shown[1]} logits each: {len(faults)} faults"
    )
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
