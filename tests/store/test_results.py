"""Bits that change without `RESULTS_VERSION`: old results would be taken for new ones.

Two families are trained and measured in a run of their own, on one thread. In the first all numbers
are small multiples of a power of two, so that no sum or product is ever rounded: in whatever order
a machine computes, and on whatever processor, the bits are the same, and the digest of a release
holds everywhere. The second is an ordinary one, whose bits belong to a class of machines.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from pytest_multiplicity.compute import available_cores, machine_class
from pytest_multiplicity.store import RESULTS_VERSION

RECORDED = Path(__file__).with_name("results.json")

FAMILIES = '''
import hashlib, json
from pathlib import Path
import pytest, torch
from torch import nn
import pytest_multiplicity as pm

class Flip(nn.Module):
    """Turn some images over, as torch's global generator says."""
    def forward(self, image):
        return image.flip(-1) if torch.randint(2, (1,)) else image

@pytest.fixture(scope="session")
def data():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(-2, 3, (22, 1, 6, 6), generator=generator).float()
    return pm.Data(inputs, torch.arange(22) % 3, name="data", bounds=(-4, 4))

def whole(module):
    """Give every parameter multiples of 1/2 from -1 to 1, drawn from the seed of the weights."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randint(-2, 3, parameter.shape) / 2)
    return module

def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 3))

def convolution():
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten())

def margin(logits, targets):
    """A loss that is linear in the logits: its gradients are whole numbers of the weights."""
    ours = nn.functional.one_hot(targets, 3).to(logits)
    return (logits * (1 - 3 * ours)).sum() / 4

@pm.family(
    default={"net": linear, "batch_size": 8, "augment": None},
    vary={"net": [convolution], "batch_size": [5], "augment": [Flip()]}, seeds=2,
)
def exact(config, data):
    return pm.Recipe(lambda: whole(config.net()), data, epochs=2, batch_size=config.batch_size,
                     lr=1 / 8, momentum=0.5, schedule=lambda step, steps: 0.5 if step > 1 else 1.0,
                     loss=margin, augment=config.augment)

def normed():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
                         nn.Dropout(0.2), nn.Linear(64, 3))

@pm.family(
    default={"net": linear, "batch_size": 8, "optimizer": "sgd"},
    vary={"net": [normed], "batch_size": [5], "optimizer": ["adam"]}, seeds=2,
)
def ordinary(config, data):
    return pm.Recipe(config.net, data, epochs=2, batch_size=config.batch_size, lr=0.05,
                     optimizer=config.optimizer)
'''
SPECS = """
import hashlib, json
from pathlib import Path
import pytest
import pytest_multiplicity as pm

FOUND = {}

def note(digest, *tensors):
    for tensor in tensors:
        digest.update(tensor.contiguous().numpy().tobytes())

def measured(candidate, data, *more):
    digest = hashlib.sha256()
    state = candidate.module.state_dict()
    note(digest, *(state[name] for name in sorted(state)), candidate.logits(data))
    for under in (pm.PGD(0.25, steps=2, step_size=0.125), pm.InputNoise(0.25), *more):
        note(digest, candidate.predictions(data, under=under))
    assert candidate.accuracy(data) >= 0
    return f"{candidate.id} {digest.hexdigest()[:16]}"

def test_exact(exact, data):
    parts = [each.double() * 2**16 for each in exact.module.state_dict().values()]
    if not all((each == each.round()).all() and each.abs().max() < 2**20 for each in parts):
        raise RuntimeError("this family is rounded somewhere, and holds for one machine only")
    FOUND.setdefault("exact", []).append(measured(exact, data))

def test_ordinary(ordinary, data):
    FOUND.setdefault("ordinary", []).append(measured(ordinary, data, pm.OutputNoise(0.5)))

def test_write():
    Path("found.json").write_text(json.dumps(FOUND))
"""


def machine() -> str:
    """What the bits of ordinary arithmetic belong to."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "")
    libraries = ", ".join(machine_class(torch.device("cpu")).versions)  # and numpy's kernels
    widest = torch.backends.cpu.get_cpu_capability()
    return f"{name or platform.machine()}, {widest}, {available_cores()} cores, {libraries}"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    folder = tmp_path_factory.mktemp("results")
    (folder / "conftest.py").write_text(FAMILIES)
    (folder / "test_specs.py").write_text(SPECS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    digests: dict[str, list[str]] = json.loads((folder / "found.json").read_text())
    return digests


def recorded() -> dict[str, Any]:
    versions: dict[str, Any] = json.loads(RECORDED.read_text())
    return versions.get(str(RESULTS_VERSION), {})  # type: ignore[no-any-return]


def said(what: str, found: list[str]) -> str:
    return (
        f"the bits of results have changed, or RESULTS_VERSION has: raise RESULTS_VERSION (in "
        f"pytest_multiplicity/store/store.py) to what no release has had, and record under it in "
        f"{RECORDED.name}, as {what!r}: {json.dumps(found, indent=2)}"
    )


def test_exact_results_have_the_bits_of_their_version(found: dict[str, list[str]]) -> None:
    assert recorded().get("exact") == found["exact"], said("exact", found["exact"])


def test_ordinary_results_have_the_bits_of_their_version(found: dict[str, list[str]]) -> None:
    known = recorded().get("ordinary", {}).get(machine())
    if known is None:
        pytest.skip(f"nothing recorded for {machine()}: {json.dumps(found['ordinary'])}")
    assert known == found["ordinary"], said(f"ordinary, {machine()}", found["ordinary"])
