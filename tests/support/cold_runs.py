"""A small family whose candidates are computed in every way there is, and what its runs leave.

Twelve candidates: a convolution with batch norm at three batch sizes and a linear model, with three
seeds each. What a cold run leaves (weights, logits, the JSON report) must not depend on how it
went.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

FAMILY = """
import os

import pytest
import torch
from torch import nn

import pytest_multiplicity as pm

SEEDS = int(os.environ.get("COLD_SEEDS", "3"))
NETS = {
    "conv": lambda: nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(128, 4),
    ),
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 4)),
}


@pytest.fixture(scope="session")
def data():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(700, 1, 8, 8, generator=generator)
    means = torch.stack([part.mean((1, 2, 3)) for part in inputs.split(2, dim=3)], 1)
    targets = (means + 0.02 * torch.randn(700, 4, generator=generator)).argmax(1)
    rest, train = pm.Data(inputs, targets, name="stripes").split(0.5)
    return {"train": train, "rest": rest.split(0.5)}


@pm.family(
    default={"net": "conv", "batch_size": 32},
    vary={"net": ["linear"], "batch_size": [16, 50]},
    seeds=SEEDS,
)
def candidate(config, data):
    return pm.Recipe(
        NETS[config.net], data["train"], epochs=int(os.environ.get("COLD_EPOCHS", "20")),
        batch_size=config.batch_size, lr=0.05,
    )
"""

SPECS = """
import pytest

import pytest_multiplicity as pm


def test_accuracy(candidate, data):
    assert candidate.accuracy(data["rest"].select).within(0.1)


def test_noise(candidate, data):
    assert candidate.accuracy(data["rest"].select, under=pm.InputNoise(0.05)) >= 0.2


@pytest.mark.unforeseen
def test_attack(candidate, data):
    candidate.accuracy(data["rest"].report, under=pm.PGD(0.02, steps=3))


def test_somebody_ships(survivors, data):
    assert len(survivors) >= 1
    assert survivors.ambiguity(data["rest"].report) <= 1
"""

OPTIONS = ["-q", "-p", "no:randomly", "-p", "no:cacheprovider"]
HISTORY = ("trained", "stored", "from_store", "ways", "notes")  # no results
WHERE = ("json", "html", "markdown", "store", "engine")


def write(folder: Path) -> None:
    """Make the study in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "conftest.py").write_text(FAMILY)
    (folder / "test_specs.py").write_text(SPECS)


def start(study: Path, store: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start a run whose report lies beside its store."""
    paths = [f"--multiplicity-store={store}", f"--multiplicity-json={store.with_suffix('.json')}"]
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", *OPTIONS, *paths, *options],
        cwd=study,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def left_by(store: Path) -> dict[str, Any]:
    """Return all results that a run left: its report, and the bits of weights and of logits."""
    report = json.loads(store.with_suffix(".json").read_text("utf-8"))
    for family in report["families"]:
        family |= dict.fromkeys(HISTORY)
    report["settings"] |= dict.fromkeys(WHERE)
    return {
        "report": report,
        "weights": digests(store, "weights"),
        "logits": digests(store, "logits"),
    }


def digests(store: Path, kind: str) -> dict[str, str]:
    """Return a digest of every entry's tensors by its key."""
    found = {}
    for path in sorted(store.glob(f"v1/{kind}/*/*.safetensors")):
        tensors = load_file(path)
        content = b"".join(name.encode() + tensors[name].tobytes() for name in sorted(tensors))
        found[path.stem] = hashlib.sha256(content).hexdigest()
    return found


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep so many cores busy with something else."""
    spinning = [sys.executable, "-c", "while True: sum(range(10_000))"]
    others = [subprocess.Popen(spinning) for _ in range(processes)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def weights(store: Path) -> int:
    """Return how many candidates lie in a store."""
    return len(list(store.glob("v1/weights/*/*.safetensors")))
