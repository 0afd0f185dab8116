"""Kill processes that write to one store, at random moments, and look at what they leave.

    python tests/faults/store_kills.py [--kills 50] [--seed 0]

After each kill the store is opened anew: every entry in it must be right, every entry whose
writing had returned must be there, and no temporary file, marker or lock may be left. Exits with 1
otherwise.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

from pytest_multiplicity.store import LocalStore

KEYS = [f"{number:04x}" for number in range(20)]


def write_forever(root: Path, report: int) -> None:
    """Overwrite the entries in turn; report each that is written by its number, as one byte."""
    with LocalStore(root) as store:
        for version in itertools.count():
            number = version % len(KEYS)
            with store.lock(KEYS[number]):
                tensor = torch.full((200_000 + number,), float(version))
                store.put("weights", KEYS[number], {"x": tensor}, {"version": version})
            os.write(report, bytes([number]))


def start_writer(root: Path) -> tuple[int, int]:
    """A process that writes, forked so that it needs not import torch; gives it and its reports."""
    reports, report = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            write_forever(root, report)
        finally:
            os._exit(1)
    os.close(report)
    return pid, reports


def kill_one(root: Path, rng: random.Random) -> set[str]:
    """Let a process write for a moment and kill it; gives the keys that it said it had written."""
    pid, reports = start_writer(root)
    said = os.read(reports, 1)
    time.sleep(rng.uniform(0, 0.1))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    while more := os.read(reports, 4096):
        said += more
    os.close(reports)
    return {KEYS[number] for number in said}


def faults(root: Path, written: set[str]) -> list[str]:
    """What is wrong with the store after a kill."""
    found: list[str] = []
    with LocalStore(root, warn=found.append) as store:
        for number, key in enumerate(KEYS):
            entry = store.get("weights", key)
            if entry is None:
                found += [f"{key} is lost"] * (key in written)
                continue
            expected = torch.full((200_000 + number,), float(entry.meta["version"]))
            if not torch.equal(entry.tensors["x"], expected):
                found.append(f"{key} is wrong")
    found += [f"{path} is left" for path in garbage(root)]
    return found


def garbage(root: Path) -> list[Path]:
    return [*root.glob("v1/**/*.tmp"), *root.glob("runs/*"), *root.glob("locks/*")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)  # the writers are forked
    rng = random.Random(options.seed)
    found: list[str] = []
    written: set[str] = set()
    amidst = 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for _ in range(options.kills):
            written |= kill_one(root, rng)
            amidst += any(path.suffix == ".tmp" for path in garbage(root))
            found += faults(root, written)
    for fault in found:
        print(fault, file=sys.stderr)
    print(
        f"{options.kills} kills, {amidst} of them while a file was written: {len(found)} faults, "
        f"{len(written)} of {len(KEYS)} entries written and found"
    )
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
