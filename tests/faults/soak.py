"""Two hundred candidates by twenty specs, three times over in one process: nothing may leak.

    python tests/faults/soak.py [--seeds 40] [--runs 3]

Each run has a store of its own, so it trains and evaluates everything. The last run's peak of
memory must lie within a tenth of the first's, and no process, thread, open file, temporary file or
lock may be left. Linux, which tells all that. Exits with 1 otherwise.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import small
import torch

import pytest_multiplicity.findings.assemble  # noqa: F401 - its imports are no leak
from pytest_multiplicity.store import LocalStore

SPECS = """
import pytest

import pytest_multiplicity as pm

LEVELS = [1, 2, 3, 4, 5]


@pytest.mark.parametrize("level", LEVELS)
def test_accuracy(candidate, data, level):
    query = f"first < {level / 5}"
    assert candidate.accuracy(data["rest"].select.where(query)) >= 0.5


@pytest.mark.parametrize("level", LEVELS)
def test_noise(candidate, data, level):
    under = pm.InputNoise(level / 50)
    assert candidate.accuracy(data["rest"].select, under=under).in_top(0.9)


@pytest.mark.parametrize("level", LEVELS)
def test_private(candidate, data, level):
    assert candidate.accuracy(data["rest"].select, under=pm.OutputNoise(level)) >= 0.3


@pytest.mark.unforeseen
@pytest.mark.parametrize("level", LEVELS)
def test_attack(candidate, data, level):
    candidate.accuracy(data["rest"].report, under=pm.PGD(level / 100, steps=2))


def test_somebody_ships(survivors, data):
    assert survivors.ambiguity(data["rest"].report) <= 1
"""
PLUGINS = ("randomly", "cacheprovider", "xdist", "html", "cov", "benchmark")
OPTIONS = ["-q", "--import-mode=importlib", *(w for p in PLUGINS for w in ("-p", f"no:{p}"))]


class Left(NamedTuple):
    """What a process has open."""

    processes: int
    threads: int
    files: int

    @classmethod
    def now(cls) -> Left:
        gc.collect()
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        return cls(len(children), threading.active_count(), len(os.listdir("/proc/self/fd")))


def peak_of(study: Path, store: Path) -> float:
    """Run the study; the peak of this process's memory in the meantime, in MB."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before, here, said = set(sys.modules), Path.cwd(), io.StringIO()
    os.chdir(study)
    try:
        with contextlib.redirect_stdout(said):
            code = pytest.main([*OPTIONS, f"--multiplicity-store={store}"])
    finally:
        os.chdir(here)
    for name in set(sys.modules) - before:
        if name.startswith(("conftest", "test_specs")):
            del sys.modules[name]
    if code != 0:
        raise SystemExit(f"the run ended with {code}:\n{said.getvalue()[-2000:]}")
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def leftovers(store: Path) -> list[str]:
    """What is left in a store once it is opened again, which tidies."""
    LocalStore(store).close()
    patterns = ("v1/**/*.tmp", "runs/*", "locks/*")
    return [f"{path} is left" for pattern in patterns for path in store.glob(pattern)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["SMALL_SEEDS"] = str(options.seeds)
    peaks: list[float] = []
    left: list[Left] = []
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small.write(study := folder / "study")
        (study / "test_specs.py").write_text(SPECS)
        for number in range(options.runs):
            began = time.monotonic()
            peaks.append(peak_of(study, store := folder / f"store{number}"))
            left.append(Left.now())
            faults += leftovers(store)
            print(
                f"{time.monotonic() - began:.0f} s, peak {peaks[-1]:.0f} MB, {left[-1]}", flush=True
            )
    if peaks[-1] > 1.1 * peaks[0]:
        faults.append(f"the peak grew from {peaks[0]:.0f} to {peaks[-1]:.0f} MB")
    if any(after > before for after, before in zip(left[-1], left[0], strict=True)):
        faults.append(f"{left[0]} became {left[-1]}")
    for fault in faults:
        print(fault, file=sys.stderr)
    print(
        f"{options.runs} runs of {5 * options.seeds} candidates by 20 specs: {len(faults)} faults"
    )
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
