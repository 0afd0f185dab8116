"""Kill runs of a small study at random moments, resume each, and compare what comes of it.

    python tests/faults/kills.py [--kills 50] [--seed 0] [--signal KILL]

A study of thirty candidates is run once undisturbed. Then, each time on a store of its own, a run
is killed somewhere between its first and its last moment and run again: no candidate that was
stored may be trained again, no verdict may change, and the report must equal the undisturbed one.
With ``--signal INT`` (Ctrl-C) the interrupted run must also leave a report that says nothing wrong.
Exits with 1 otherwise.

The runs are forked from one process that has torch loaded, so that they are killed in their work
and not in their imports.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import reports
import small
import torch

import pytest_multiplicity.findings.assemble  # noqa: F401 - so that forked runs need not

OPTIONS = ["-q", "-p", "no:randomly", "-p", "no:cacheprovider"]


@dataclass
class Tally:
    """What was seen."""

    signal: signal.Signals
    kills: int = 0
    finished: int = 0  # candidates that were stored when a run was killed
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {self.finished} candidates finished before them: "
            f"{len(self.faults)} faults"
        )


def start(study: Path, store: Path, report: Path) -> int:
    """Fork a run of the study; gives its process id."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.chdir(study)
            arguments = [f"--multiplicity-store={store}", f"--multiplicity-json={report}"]
            with Path(os.devnull).open("w") as silence:
                os.dup2(silence.fileno(), 1)
                os.dup2(silence.fileno(), 2)
                code = int(pytest.main([*OPTIONS, *arguments]))
        finally:
            os._exit(code)
    return pid


def run(study: Path, store: Path, report: Path) -> int:
    """Run the study to its end; gives the exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(start(study, store, report), 0)[1])


def stored(store: Path) -> int:
    """How many candidates lie in a store."""
    return len(list(store.glob("v1/weights/*/*.safetensors")))


def trained(report: dict[str, Any]) -> int:
    return int(report["families"][0]["trained"])


def kill_and_resume(
    study: Path, folder: Path, whole: dict[str, Any], seconds: float, number: int, tally: Tally
) -> None:
    """One kill after so many seconds, the run that resumes, and what is wrong with it."""
    store, report = folder / f"store{number}", folder / f"report{number}.json"
    pid = start(study, store, report)
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, tally.signal)
    os.waitpid(pid, 0)
    before = stored(store)
    tally.kills, tally.finished = tally.kills + 1, tally.finished + before
    if report.exists():
        tally.faults += wrong_verdicts(whole, reports.read(report), number)
        report.unlink()
    code = run(study, store, report)
    if code != 0:
        tally.faults.append(f"kill {number}: the resumed run ended with {code}")
        return
    resumed = reports.raw(report)
    candidates = len(whole["families"][0]["candidates"])
    if trained(resumed) != candidates - before:
        tally.faults.append(f"kill {number}: {trained(resumed)} trained beside {before} stored")
    differences = reports.differences(whole, reports.comparable(resumed))
    tally.faults += [f"kill {number}: {line}" for line in differences[:5]]


def wrong_verdicts(whole: dict[str, Any], part: dict[str, Any], number: int) -> list[str]:
    """Verdicts of an interrupted run that the undisturbed one doesn't have."""
    found = []
    for family, full in zip(part["families"], whole["families"], strict=True):
        for some, every in zip(family["candidates"], full["candidates"], strict=True):
            if not set(some["rejected_by"]) <= set(every["rejected_by"]):
                found.append(f"kill {number}: {some['id']} was rejected by {some['rejected_by']}")
    gates = [gate["name"] for gate in part["gates"] if gate["outcome"] == "failed"]
    if gates and not part["complete"]:
        found.append(f"kill {number}: gates were evaluated on a part: {gates}")
    return found


def two_at_once(study: Path, folder: Path, whole: dict[str, Any]) -> list[str]:
    """Two runs on one store: each candidate is trained by one of them."""
    files = [folder / "first.json", folder / "second.json"]
    processes = [start(study, folder / "shared", file) for file in files]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in processes]
    if codes != [0, 0]:
        return [f"two runs at once ended with {codes}"]
    found = [reports.raw(file) for file in files]
    count = sum(map(trained, found))
    faults = [f"two runs at once trained {count} candidates"]
    faults = [] if count == len(whole["families"][0]["candidates"]) else faults
    for report in found:
        faults += reports.differences(whole, reports.comparable(report))[:5]
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--signal", choices=["KILL", "INT", "TERM"], default="KILL")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the runs are forked
    rng = random.Random(options.seed)
    tally = Tally(signal.Signals[f"SIG{options.signal}"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small.write(study := folder / "study")
        began = time.monotonic()
        if run(study, folder / "store", folder / "report.json") != 0:
            print("the undisturbed run failed", file=sys.stderr)
            return 1
        length = time.monotonic() - began
        whole = reports.read(folder / "report.json")
        for number in range(options.kills):
            kill_and_resume(study, folder, whole, rng.uniform(0, length), number, tally)
        tally.faults += two_at_once(study, folder, whole)
    for fault in tally.faults:
        print(fault, file=sys.stderr)
    print(f"a run takes {length:.1f} s; {tally}; two runs at once: compared")
    return bool(tally.faults)


if __name__ == "__main__":
    sys.exit(main())
