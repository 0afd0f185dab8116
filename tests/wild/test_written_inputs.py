"""Nobody sees what another one left: in a batch, in logits, in targets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.bench import bench
from torch import nn

import pytest_multiplicity as pm
from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.evaluation.measure import noise_of_measure
from pytest_multiplicity.inference.choice import Forms
from pytest_multiplicity.inference.form import Batch, Demand

__all__ = ["bench"]

WEIGHTS = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))


class Writing(nn.Module):
    """Normalises in place, as `Normalize(inplace=True)` does."""

    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(WEIGHTS.clone())

    def forward(self, x):
        x.sub_(0.5).div_(0.1)
        return x.flatten(1) @ self.weights


class WritingByNumpy(Writing):
    def forward(self, x):
        x.detach().numpy()[:] *= 3.0
        return x.flatten(1) @ self.weights


class WritingSomewhere(Writing):
    """Has a hook, so nothing is known of it."""

    def __init__(self):
        super().__init__()
        self.register_forward_pre_hook(lambda module, args: (args[0].mul_(2.0),))


def by_numpy(batch):
    array = batch.numpy()
    array -= 0.5
    array /= 0.1
    return array.reshape(len(array), -1) @ WEIGHTS.numpy()


def by_torch(batch):
    batch[:, :, 0] = 0
    return batch.flatten(1) @ WEIGHTS


@pytest.mark.parametrize("make", [
    Writing, WritingByNumpy, WritingSomewhere, lambda: by_numpy, lambda: by_torch,
])  # fmt: skip
def test_equal_models_that_write_answer_alike(make, bench):
    population = bench.family(lambda config: make(), seeds=3)
    answers = [each.logits(bench.test) for each in population.candidates]
    expected = torch.as_tensor(make()(bench.test.inputs.clone()))
    for each in answers:
        torch.testing.assert_close(each, expected.detach())


@pytest.mark.parametrize("under", [pm.PGD(0.1, steps=2), pm.PGD(0) | pm.InputNoise(0.1)], ids=str)
def test_attacks_meet_models_that_write(under, bench):
    written = bench.family(lambda config: Writing(), seeds=4).candidates
    plain = bench.family(lambda config: Clean(), seeds=4).candidates
    for one, other in zip(written, plain, strict=True):
        assert one.accuracy(bench.test, under=under) == other.accuracy(bench.test, under=under)


class Clean(Writing):
    def forward(self, x):
        return ((x - 0.5) / 0.1).flatten(1) @ self.weights


class WritingSometimes(Writing):
    def forward(self, x):
        if x.max() > 2:  # which no drawn sample is
            x.div_(255)
        return x.flatten(1) @ self.weights


def test_who_writes_into_some_batches_only_is_refused(bench):
    inputs = 255 * torch.rand(64, 1, 2, 2)  # a batch that needn't be filled up
    data = pm.Data(inputs, torch.arange(64) % 2, name="bytes", bounds=None)
    for candidate in bench.family(lambda config: WritingSometimes()).candidates:
        with pytest.raises(MeasurementError, match=r"begin its forward pass with a copy"):
            candidate.accuracy(data)


@pytest.mark.parametrize("gradients", [False, True])
def test_nothing_is_copied_where_nothing_is_written(gradients, bench):
    forms, data = Forms(torch.device("cpu"), lambda structure: 4), bench.test
    batch = Batch(data.inputs, data.targets, torch.arange(len(data)), data)
    demand = Demand(gradients=gradients, joint=True)
    copies = [form.copies for _, form in forms.of([Clean(), Writing()], batch, demand)]
    assert copies == [False, True]


def scribbles(images, by):
    images -= by
    return images.clamp_(0, 1)


def test_interventions_that_write_change_nobody_elses_inputs(bench):
    under = pm.Corrupt(scribbles, by=0.2)
    population = bench.family(lambda config: Clean())
    changed = (bench.test.inputs - 0.2).clamp(0, 1)
    before = bench.test.inputs.clone()
    for chain in (under, pm.PGD(0) | under):
        for candidate in population.candidates:
            torch.testing.assert_close(
                candidate.logits(bench.test, under=chain), Clean()(changed).detach()
            )
    assert torch.equal(bench.test.inputs, before)


def greedy(logits, targets):
    value = float((logits.argmax(1) == targets).float().mean())
    logits.zero_()
    targets.zero_()
    return value


def test_measures_that_write_measure_the_same(bench):
    def honest(logits, targets):
        return greedy(logits.clone(), targets.clone())

    population = bench.family()
    for candidate in population.candidates:
        expected = candidate.measure(honest, bench.test)
        assert candidate.measure(greedy, bench.test) == expected
        assert candidate.accuracy(bench.test) == pytest.approx(float(expected))
    logits = np.random.default_rng(0).normal(size=(3, 40, 2)).astype(np.float32)
    targets = bench.test.targets.numpy()
    kept = targets.copy()
    assert noise_of_measure(greedy, logits.copy(), targets) == noise_of_measure(
        honest, logits.copy(), targets
    )
    assert (targets == kept).all()
