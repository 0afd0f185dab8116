"""Models of several tensors compute side by side, and answer what they answer by themselves."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pytest_multiplicity.data import Data, kinds
from pytest_multiplicity.inference.choice import Forms
from pytest_multiplicity.inference.counts import Counts
from pytest_multiplicity.inference.infer import Infer
from pytest_multiplicity.interventions import chain

N = 300
GENERATOR = torch.Generator().manual_seed(0)
IDS = torch.randint(0, 20, (N, 8), generator=GENERATOR)
X = torch.rand(N, 8, generator=GENERATOR)


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.out = nn.Embedding(20, 16), nn.Sequential(nn.Linear(16, 32), nn.ReLU())
        self.last = nn.Linear(32, 3)

    def forward(self, ids, x=None):
        words = self.words(ids)
        return self.last(self.out((words if x is None else words * x[..., None]).mean(1)))


class Pair(Words):
    def forward(self, x, ids):  # type: ignore[override]
        return super().forward(ids, x)


def models(kind, count=6):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return [kind().eval() for _ in range(count)]


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [(Words, IDS), (Words, {"ids": IDS, "x": X}), (Words, {"x": X, "ids": IDS}), (Pair, (X, IDS))],
    ids=["ids", "dict", "other order", "tuple"],
)
def test_several_tensors_are_evaluated_side_by_side(kind, inputs):
    data = Data(inputs, [0] * N)
    cpu = torch.device("cpu")
    infer = Infer(cpu, Counts(), Forms(cpu, lambda structure: 6), cores=1)
    each = models(kind)

    found = infer(each, data, chain(None), lambda done: None)

    ((positions, form),) = infer.alike
    assert len(positions) == 6
    assert form.arithmetic.fused
    with torch.no_grad():
        for model, answers in zip(each, found, strict=True):
            assert torch.allclose(answers, kinds.call(model, data.inputs), atol=1e-5)


class Writing(Words):
    def forward(self, ids, x):  # type: ignore[override]
        x.zero_()
        return super().forward(ids, x)


def test_who_writes_into_a_part_gets_a_copy():
    data = Data({"ids": IDS, "x": X.clone()}, [0] * N)
    cpu = torch.device("cpu")
    infer = Infer(cpu, Counts(), Forms(cpu, lambda structure: 6), cores=1)

    infer(models(Writing), data, chain(None), lambda done: None)

    ((_, form),) = infer.alike
    assert form.copies
    assert torch.equal(data.inputs["x"], X)
