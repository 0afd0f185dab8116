"""Run a small study with pytest-xdist's workers, also with one killed, and compare the reports.

    python tests/faults/workers.py [--times 10] [--seed 0]

``-n 2``, ``-n 4``, and ``-n 4`` with a worker killed at a random moment, so many times each on
stores of their own: the report must equal that of one process, and each candidate must have been
trained once. Exits with 1 otherwise.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import reports
import small

OPTIONS = ["-q", "-p", "no:randomly", "-p", "no:cacheprovider"]


def start(study: Path, store: Path, report: Path, *options: str) -> subprocess.Popen[bytes]:
    paths = [f"--multiplicity-store={store}", f"--multiplicity-json={report}"]
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", *OPTIONS, *paths, *options],
        cwd=study,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def workers(controller: int) -> list[int]:
    """The process ids of the workers, and of the process that they are forked from; Linux."""
    children = Path(f"/proc/{controller}/task/{controller}/children")
    with contextlib.suppress(FileNotFoundError):
        found = [int(word) for word in children.read_text().split()]
        return [*found, *(each for child in found for each in workers(child))]
    return []


def kill_one(process: subprocess.Popen[bytes], seconds: float, rng: random.Random) -> bool:
    """Kill a worker after so many seconds, unless the run is over."""
    time.sleep(seconds)
    found = workers(process.pid)
    if not found:
        return False
    os.kill(rng.choice(found), signal.SIGKILL)
    return True


def compared(
    whole: dict[str, Any], process: subprocess.Popen[bytes], report: Path, what: str
) -> list[str]:
    """What is wrong with a run, once it has ended."""
    said, _ = process.communicate(timeout=600)
    if process.returncode != 0:
        return [f"{what}: exit code {process.returncode}\n{said.decode()[-3000:]}"]
    found = reports.raw(report)
    (family,) = found["families"]
    faults = [f"{what}: {line}" for line in reports.differences(whole, reports.comparable(found))]
    counts = family["trained"], family["from_store"]
    if counts != (len(family["candidates"]), 0):
        faults.append(f"{what}: {counts[0]} trained, {counts[1]} from the store")
    return faults[:5]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    faults: list[str] = []
    killed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small.write(study := folder / "study")
        report = folder / "report.json"
        start(study, folder / "alone", report).communicate()
        whole = reports.read(report)
        for number in range(options.times):
            for count in (2, 4):
                began = time.monotonic()
                store = folder / f"{count} {number}"
                process = start(study, store, report, f"-n{count}")
                faults += compared(whole, process, report, f"-n{count}, run {number}")
                length = time.monotonic() - began
            store = folder / f"killed {number}"
            process = start(study, store, report, "-n4")
            killed += kill_one(process, rng.uniform(0.2, 0.9) * length, rng)
            faults += compared(whole, process, report, f"-n4 with one killed, run {number}")
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{options.times} times -n2, -n4 and -n4 with {killed} killed: {len(faults)} faults")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
