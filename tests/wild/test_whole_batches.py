"""Answers that depend on the batch are those of the module by itself, on the same batches."""

from __future__ import annotations

import pytest
import torch
from support.bench import bench
from torch import nn

import pytest_multiplicity as pm
from pytest_multiplicity.inference.agreeing import samples_interact

__all__ = ["bench"]


class Of(nn.Module):
    """Applies a function of the batch to what a layer gives."""

    def __init__(self, function, features=4):
        super().__init__()
        self.layer = nn.Linear(features, 2)
        self.function = function

    def forward(self, x):
        return self.function(self.layer(x.flatten(1)))


def adapted(x):
    return (x - x.mean(0)) / (x.std(0) + 0.1)


INTERACTING = {
    "batch norm": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(4, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.Linear(8, 2)
    ),
    "centred": lambda: Of(adapted),
    "softmax over the batch": lambda: Of(lambda x: x.softmax(0)),
    "sorted": lambda: Of(lambda x: x.sort(0).values),
    "largest": lambda: Of(lambda x: x / x.abs().max()),
    "first": lambda: Of(lambda x: x - x[:1]),
    "last": lambda: Of(lambda x: x - x[-1:]),
    "neighbours": lambda: Of(lambda x: x + x.roll(1, 0)),
}
APART = {
    "running statistics": lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4), nn.Linear(4, 2)),
    "layer norm": lambda: nn.Sequential(nn.Flatten(), nn.LayerNorm(4), nn.Linear(4, 2)),
    "softmax": lambda: Of(lambda x: x.softmax(1)),
    "infinite": lambda: Of(lambda x: x.masked_fill(x < 0, -torch.inf)),
    "half precision": lambda: Of(lambda x: x.bfloat16()),
}


@pytest.mark.parametrize("name", INTERACTING)
def test_they_are_evaluated_as_they_are_alone(name, bench):
    """40 samples of one batch, which side by side would be filled up to 64."""

    def made(config):
        torch.manual_seed(config.seed)
        return INTERACTING[name]()

    population = bench.family(made, seeds=4)
    for candidate in population.candidates:
        with torch.no_grad():
            expected = candidate.module(bench.test.inputs)
        torch.testing.assert_close(candidate.logits(bench.test), expected)


@pytest.mark.parametrize("name", INTERACTING | APART)
def test_who_minds_company_is_found(name):
    inputs = torch.rand(32, 4, generator=torch.Generator().manual_seed(0))
    for seed in range(5):
        torch.manual_seed(seed)
        model = (INTERACTING | APART)[name]().eval()
        assert samples_interact(model, inputs) == (name in INTERACTING)


@pytest.mark.parametrize("name", ["centred", "batch norm"])
@pytest.mark.parametrize("under", [
    pm.PGD(0.1, steps=4), pm.PGD(0.1, steps=3, random_start=True, restarts=2),
], ids=str)  # fmt: skip
def test_attacks_leave_no_sample_out(name, under, bench):
    sizes = set()

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = INTERACTING[name]()

        def forward(self, x):
            sizes.add(len(x))
            return self.inner(x)

    def made(config):
        torch.manual_seed(config.seed)
        return Watched()

    population = bench.family(made, seeds=4)
    population.models.model(0)(bench.test.inputs)  # the checks of its form meet other sizes
    population.candidates[0].accuracy(bench.test, under=pm.PGD(0.1, steps=1))
    sizes.clear()
    scores = [float(each.accuracy(bench.test, under=under)) for each in population.candidates]
    assert sizes == {40}
    assert all(
        score <= float(each.accuracy(bench.test))
        for score, each in zip(scores, population.candidates, strict=True)
    )


def test_callables_under_attack_keep_their_batches(bench):
    sizes = []

    def made(config):
        weights = torch.randn(4, 2, generator=torch.Generator().manual_seed(config.seed))

        def answer(batch):
            sizes.append(len(batch))
            return adapted(batch.flatten(1)) @ weights

        return answer

    population = bench.family(made, seeds=2)
    population.candidates[0].accuracy(bench.test, under=pm.PGD(0.2, steps=4))
    assert set(sizes) == {8, 32, 40}  # some samples, by themselves and among others, and all
    sizes.clear()
    population.candidates[0].accuracy(bench.test)
    assert set(sizes) == {40}
