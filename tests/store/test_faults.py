"""Small versions of the fault injections under tests/faults."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FAULTS = Path(__file__).parents[1] / "faults"


def output_of(*command: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_corrupted_stores_give_no_wrong_answers() -> None:
    output = output_of(str(FAULTS / "store_corrupt.py"), "--stores", "40", "--seed", "1")
    assert output.startswith("40 corrupted stores: 0 tracebacks, 0 wrong answers; ")


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_killed_writers_leave_no_faults() -> None:
    output = output_of(str(FAULTS / "store_kills.py"), "--kills", "8", "--seed", "1")
    assert ": 0 faults, " in output
