"""The same logits in every process, whatever lies in its memory and however many cores it has."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

import pytest_multiplicity as pm
from pytest_multiplicity.compute import Machine, machine_class, threads
from pytest_multiplicity.inference import Counts, models, weights
from pytest_multiplicity.inference.choice import Forms
from pytest_multiplicity.inference.infer import Infer
from pytest_multiplicity.interventions import chain

SCRIPT = """
import hashlib, sys
import pytest_multiplicity as pm

pm.family(seeds=1)(lambda config: None)  # as a conftest does, before anything is computed

import torch
from torch import nn
from pytest_multiplicity.inference import Counts
from pytest_multiplicity.inference.choice import Forms
from pytest_multiplicity.inference.given import frozen
from pytest_multiplicity.inference.infer import Infer
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
        forms = Forms(torch.device("cpu"), lambda structure: declared)
        infer = Infer(torch.device("cpu"), Counts(), forms)
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


def test_what_was_just_computed_is_not_read_back(bench, monkeypatch):
    population, get, read = bench.family(), bench.store.get, []

    def noted(kind, key):
        read.append(kind)
        return get(kind, key)

    monkeypatch.setattr(bench.store, "get", noted)
    score = population.candidates[0].accuracy(bench.test)
    assert "logits" not in read
    assert bench.family().candidates[0].accuracy(bench.test) == score


def test_a_resumed_evaluation_gives_the_same(bench):
    """Some candidates' logits are lost, as where a run ended early."""
    under = pm.PGD(0.05)
    first = [c.logits(bench.test, under=under) for c in bench.family().candidates]
    population = bench.family()
    asked = population.ask(bench.test, under)
    keys = population._measuring.logits.keys(asked, range(4))
    bench.store._file("logits", keys[1]).unlink()
    again = [c.logits(bench.test, under=under) for c in population.candidates]
    assert population.models.counts.inferred == 1
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))


def test_what_another_class_of_machine_made_is_used_and_said(bench):
    with pytest.MonkeyPatch.context() as patch:
        other = replace(machine_class(torch.device("cpu")), name="an abacus")
        patch.setattr(Machine, "kind", other)
        elsewhere = bench.family()
        elsewhere.candidates[0].logits(bench.test)
        assert elsewhere.facts().warnings == ()
    here = bench.family()
    for candidate in here.candidates:
        candidate.logits(bench.test)
    counts = here.models.counts
    assert (counts.trained, counts.inferred) == (0, 0)
    (told,) = here.facts().warnings  # once, whatever it made
    assert told.startswith("some results in the store were made by an abacus, ")
    assert f"; this machine, {here.models.machine.kind}, might compute other last bits" in told


def test_weights_that_a_gpu_trained_are_judged_on_a_cpu(bench):
    with pytest.MonkeyPatch.context() as patch:
        there = replace(machine_class(torch.device("cpu")), device="cuda", name="NVIDIA B200")
        patch.setattr(Machine, "kind", there)
        for module in (models, weights):
            patch.setattr(module, "device_class", lambda device: there.name)
        bench.family().candidates[0].logits(bench.test)

    def here():
        population = bench.family()
        population.candidates[0].logits(bench.test)
        counts = population.models.counts
        return (counts.trained, counts.inferred), population.facts().warnings

    evaluated, (told,) = here()
    assert evaluated == (0, 4)  # what a GPU computed is another result
    assert told.startswith("some results in the store were made by NVIDIA B200")
    assert here() == ((0, 0), (told,))
    for key in bench.family().models.made.keys:
        bench.store._file("weights", key).unlink()
    bench.family().models.weights.ready()
    assert here() == ((0, 4), ())  # which are not those that a GPU trained


def test_however_many_threads_there_are_an_intervention_has_one() -> None:
    seen = []

    def noticed(batch: torch.Tensor) -> torch.Tensor:
        seen.append(torch.get_num_threads())
        return batch

    data = pm.Data(torch.rand(300, 2), torch.arange(300) % 2)
    device = torch.device("cpu")
    infer = Infer(device, Counts(), Forms(device, lambda structure: 1))
    with threads(2):
        infer([torch.nn.Linear(2, 2).eval()], data, chain(pm.Corrupt(noticed)), lambda pairs: None)
        assert torch.get_num_threads() == 2
    assert seen == [1, 1]
