from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.jobs import bar, blobs, images, job, store

__all__ = ["bar", "blobs", "images", "job", "store"]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture
def process() -> Callable[..., str]:
    """Run code in a process that sees so many devices; warnings are errors."""

    def run(*arguments: Any, devices: int = 2) -> str:
        shown = ",".join(map(str, range(devices)))
        paths = os.pathsep.join(map(str, (HERE, ROOT, ROOT / "tests")))
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": shown},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
        return done.stdout

    return run
