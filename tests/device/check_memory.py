"""Want of memory at every allocation of a small run: the same bits, or an error; never another end.

As SQLite's tests do it. EVERY=1 fails at each allocation, EVERY=7 at each seventh.
"""

from __future__ import annotations

import os
from itertools import count

import pytest
import simulated
import torch
from torch import nn

import pytest_multiplicity as pm
from pytest_multiplicity.compute import Machine, out_of_memory
from pytest_multiplicity.errors import EvaluationError
from pytest_multiplicity.inference.choice import Forms
from pytest_multiplicity.inference.counts import Counts
from pytest_multiplicity.inference.infer import Infer
from pytest_multiplicity.interventions import Chain
from pytest_multiplicity.training.engine import train

DEVICE = torch.device("cuda", 1)
EVERY = int(os.environ.get("EVERY", "7"))
MESSAGES = (
    simulated.OUT_OF_MEMORY,
    "CUDA error: out of memory",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3))


def trained(job, store, bar, count, **settings):
    """Return states and how they were trained."""
    jobs = [job(seed, model=network, epochs=1, batch_size=32, **settings) for seed in range(count)]
    machine = Machine(DEVICE, store, bar, cores=1)
    return {each.key: (result.state, result.way) for each, result in train(jobs, machine)}


def same(found, wanted):
    assert found.keys() == wanted.keys()
    for key, (state, way) in wanted.items():
        assert found[key][1] == way
        assert all(torch.equal(found[key][0][name], value) for name, value in state.items())


def ended(error: BaseException) -> bool:
    """Say whether an error tells of too little memory."""
    causes = [error, error.__cause__, error.__context__]
    return any(map(out_of_memory, causes)) and isinstance(error, EvaluationError | RuntimeError)


def outcomes(run, check):
    """Fail at one allocation after the other; return how often it went on all the same."""
    wanted = run()
    with simulated.counted() as counts:
        same_again = run()
    check(same_again, wanted)
    went_on = 0
    for which, number in zip(range(1, counts["allocation"] + 1, EVERY), count(), strict=False):
        found = errors = None
        with simulated.failing(which, MESSAGES[number % len(MESSAGES)]):
            try:
                found = run()
            except Exception as error:
                errors = error
        if errors is None:
            check(found, wanted)
            went_on += 1
        else:
            told = f"allocation {which} of {counts['allocation']}: {errors!r}"
            assert ended(errors), told
    check(run(), wanted)  # and nothing is left of it
    return went_on


@pytest.mark.parametrize(
    ("candidates", "settings"), [(1, {}), (3, {}), (1, {"optimizer": "adam"})], ids=str
)
def test_training(job, store, bar, candidates, settings):
    assert outcomes(lambda: trained(job, store, bar, candidates, **settings), same)


def test_evaluation():
    torch.manual_seed(0)
    models = [
        network().eval().requires_grad_(False).to(DEVICE) for _ in range(6)
    ]  # eight lanes or four
    data = pm.Data(torch.rand(20, 4), torch.arange(20) % 3, bounds=None)

    def run():
        infer = Infer(DEVICE, Counts(), Forms(DEVICE, lambda structure: 6))
        under = Chain((pm.PGD(0.01, steps=2),))
        found = infer(models, data, under, lambda steps: None)
        return {str(i): ({"": each}, str(infer.alike[0][1])) for i, each in enumerate(found)}

    assert outcomes(run, same)
