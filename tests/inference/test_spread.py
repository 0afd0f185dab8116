"""Batches spread over several devices: here over this one, as if it were three."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

import pytest_multiplicity as pm
from pytest_multiplicity.compute import others_like
from pytest_multiplicity.inference import Counts, folding
from pytest_multiplicity.inference.choice import Forms
from pytest_multiplicity.inference.infer import Infer
from pytest_multiplicity.inference.spread import SpreadInfer
from pytest_multiplicity.interventions import chain

CPU = torch.device("cpu")
DATA = pm.Data(torch.rand(600, 4), torch.arange(600) % 3, bounds=None)


@pm.intervention
def noisy(batch):
    return batch + 0.1 * torch.rand_like(batch)


def spread(devices):
    infer = Infer(CPU, Counts(), Forms(CPU, lambda structure: 4))
    return SpreadInfer(infer, [CPU] * (devices - 1)), infer


@pytest.mark.parametrize("under", [None, noisy(), pm.PGD(0.05, steps=2)], ids=str)
@pytest.mark.parametrize("devices", [2, 5])
def test_answers_are_those_of_one_device(devices, under):
    models = [nn.Linear(4, 3).requires_grad_(False).eval() for _ in range(4)]
    alone = Infer(CPU, Counts(), Forms(CPU, lambda structure: 4))
    told: list[int] = []
    expected = alone(models, DATA, chain(under), lambda pairs: None)
    spreading, infer = spread(devices)
    for _ in range(2):
        found = spreading(models, DATA, chain(under), told.append)
        assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    assert sum(told) == 2 * 3 * 4
    assert infer.counts.inferred == 2 * alone.counts.inferred
    assert infer.counts.intervened == 2 * alone.counts.intervened


def test_what_computes_is_made_before_anything_is_computed(monkeypatch):
    """torch.fx, which folding traces by, has all calls of modules go its way meanwhile."""
    who = []
    trace = folding.fx.Tracer.trace

    def noted(*arguments):
        who.append(threading.current_thread())
        return trace(*arguments)

    monkeypatch.setattr(folding.fx.Tracer, "trace", noted)
    models = [nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).eval() for _ in range(4)]
    found = spread(3)[0](models, DATA, chain(None), lambda pairs: None)
    assert [each.shape for each in found] == [(600, 3)] * 4
    assert set(who) == {threading.main_thread()}


def test_an_error_on_another_device_is_the_question_s():
    class Sick(nn.Module):
        def forward(self, batch):
            return batch[:, :3] / (len(batch) - 88)  # not on the last batch

    spreading, _ = spread(2)
    with pytest.raises(pm.errors.MeasurementError, match="a model returned nan"):
        spreading([Sick().eval()], pm.Data(torch.zeros(600, 4), DATA.targets), chain(None), print)


def test_a_cpu_is_alone():
    assert others_like(CPU) == []
