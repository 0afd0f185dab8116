"""The same logits in every process, whatever lies in its memory and however many cores it has."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import hashlib, sys
import pytest_multiplicity as pm

pm.family(seeds=1)(lambda config: None)  # as a conftest does, before anything is computed

import torch
from torch import nn
from pytest_multiplicity.inference import Counts
from pytest_multiplicity.inference.form import Forms
from pytest_multiplicity.inference.infer import Infer, frozen
from pytest_multiplicity.interventions import chain

offset, threads, count = map(int, sys.argv[1:])
torch.set_num_threads(threads)
clutter = [torch.empty(1000 * i + 1) for i in range(5 * offset)]


def moved(values):
    \"\"\"Put values where they begin so many of them after a cache line.\"\"\"
    memory = torch.empty(values.numel() + 32)
    begin = (offset - memory.data_ptr() // 4) % 16
    return memory[begin : begin + values.numel()].view(values.shape).copy_(values)


def made(seed):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 5, 2), nn.Flatten()]
    module = nn.Sequential(*layers, nn.Linear(125, 37), nn.ReLU(), nn.Linear(37, 10))
    for parameter in module.parameters():
        parameter.data = moved(parameter.data)
    return frozen(module, torch.device("cpu"))


inputs = torch.rand(300, 1, 8, 8, generator=torch.Generator().manual_seed(0))
data = pm.Data(moved(inputs), torch.arange(300) % 10)
for declared in (1, 9):  # alone and fused
    for under in (None, pm.PGD(0.02, steps=3)):
        infer = Infer(torch.device("cpu"), Counts(), Forms(torch.device("cpu"), declared))
        models = [made(seed) for seed in range(count)]
        logits = infer(models, data, chain(under), lambda pairs: None)
        print(hashlib.sha256(logits[0].numpy().tobytes()).hexdigest())
"""


def digests(offset: int, threads: int, count: int) -> list[str]:
    """Run the script in a new process; give what it says of the first model's logits."""
    environment = {name: value for name, value in os.environ.items() if name != "MKL_CBWR"}
    arguments = [sys.executable, "-c", SCRIPT, *map(str, (offset, threads, count))]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, env=environment)
    return done.stdout.split()


@pytest.fixture(scope="module")
def expected() -> list[str]:
    found = digests(0, 1, 9)
    assert len(found) == 4
    return found


@pytest.mark.parametrize(("offset", "threads", "count"), [(1, 2, 9), (5, 3, 1)])
def test_the_same_in_another_process(offset, threads, count, expected):
    """Weights and inputs lie elsewhere, there are more threads, and fewer candidates are asked."""
    assert digests(offset, threads, count) == expected
