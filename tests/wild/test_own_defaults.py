"""Parameters with defaults are the user's: ours come by name, or where a position asks for them."""

from __future__ import annotations

import functools

import pytest
import torch
from support.bench import bench, linear
from torch.nn import functional as F

import pytest_multiplicity as pm
from pytest_multiplicity.design import Built
from pytest_multiplicity.errors import RecipeError
from pytest_multiplicity.training.batches import StepBatch
from pytest_multiplicity.training.jobs import criterion
from pytest_multiplicity.training.recipe import build_optimizer, lr_factor

__all__ = ["bench"]


def warm(step, warmup=4):
    return min(1, (step + 1) / warmup)


def keyword(step, *, scale=0.5):
    return scale


def share(step, steps=None, power=1):
    return (step / steps) ** power


def every(*counts):
    return counts[0] / counts[1]


class Scheduled:
    def __call__(self, step, decay=0.5):
        return decay**step


@pytest.mark.parametrize(
    ("schedule", "factor"),
    [
        (warm, 0.75),
        (functools.partial(warm, warmup=8), 0.375),
        (keyword, 0.5),
        (share, 0.2),
        (lambda step, steps: step / steps, 0.2),
        (lambda step, of, power=2: (step / of) ** power, 0.04),
        (every, 0.2),
        (Scheduled(), 0.25),
        (float, 2.0),
    ],
)
def test_schedules(bench, schedule, factor):
    if isinstance(schedule, type):
        with pytest.raises(RecipeError, match="schedule is the class float"):
            pm.Recipe(linear, bench.train, epochs=1, schedule=schedule)
        return
    recipe = pm.Recipe(linear, bench.train, epochs=1, schedule=schedule)
    assert lr_factor(recipe, 2, 10) == pytest.approx(factor)


def nesterov(params, momentum=0.9, *, lr=0.3):
    return torch.optim.SGD(params, lr, momentum, nesterov=True)


@pytest.mark.parametrize(
    ("factory", "momentum"),
    [
        (nesterov, 0.9),
        (torch.optim.SGD, 0),
        (functools.partial(torch.optim.SGD, momentum=0.8), 0.8),
        (lambda params, rate: torch.optim.SGD(params, rate), 0),
    ],
)
def test_optimizers(bench, factory, momentum):
    recipe = pm.Recipe(linear, bench.train, epochs=1, lr=0.25, optimizer=factory)
    group = build_optimizer(recipe, linear()).param_groups[0]
    assert (group["lr"], group["momentum"]) == (0.25, momentum)


@pytest.mark.parametrize(
    "factory",
    [lambda params: torch.optim.SGD(params, 0.1), lambda params, momentum=0.9: None],
)
def test_an_optimizer_without_lr(bench, factory):
    recipe = pm.Recipe(linear, bench.train, epochs=1, optimizer=factory)
    with pytest.raises(RecipeError, match="doesn't take lr"):
        build_optimizer(recipe, linear())


def of_answers(logits, scale=2.0):
    return float(logits.abs().mean()) * scale


def named(logits, scale=2.0, *, targets=None):
    return float(len(targets)) * scale


def labelled(logits, labels=None):
    return float(len(labels))


@pytest.mark.parametrize(
    ("measure", "value"),
    [
        (of_answers, None),
        (named, 80.0),
        (labelled, 40.0),
        (lambda logits, truth: float(len(truth)), 40.0),
        (lambda *both: float(len(both)), 2.0),
    ],
)
def test_measures(bench, measure, value):
    candidate = bench.family().candidates[0]
    score = candidate.measure(measure, bench.test, name="mine")
    expected = of_answers(candidate.logits(bench.test)) if value is None else value
    assert score == pytest.approx(expected)


def entropy(logits, weight=1.0):
    return weight * logits.softmax(1).square().sum(1).mean()


def smoothed(logits, smoothing=0.1, target=None):
    return F.cross_entropy(logits, target, label_smoothing=smoothing)


@pytest.mark.parametrize("loss", [entropy, smoothed, functools.partial(smoothed, smoothing=0.2)])
def test_losses(bench, loss):
    family = bench.family(lambda config: bench.recipe(config, loss=loss), vary={}, seeds=3)
    assert 0 <= family.candidates[0].accuracy(bench.test) <= 1
    logits, targets = torch.eye(2), torch.tensor([0, 1])
    recipe = pm.Recipe(linear, bench.train, epochs=1, loss=loss)
    own = loss(logits) if loss is entropy else loss(logits, target=targets)
    assert torch.equal(criterion(recipe).of_batch(logits, StepBatch(logits, targets, {})), own)


def test_a_known_loss_is_itself(bench):
    recipe = pm.Recipe(linear, bench.train, epochs=1, loss=F.cross_entropy)
    assert criterion(recipe).known is recipe.data.task.losses["cross_entropy"]


@pytest.mark.parametrize(
    "attack",
    [
        lambda inputs, by=0.1: inputs - by * inputs,
        lambda inputs, labels=None, by=0.1: inputs * (1 - by * (labels >= 0).all()),
        lambda inputs, truth: inputs * (1 - 0.1 * (truth >= 0).all()),
    ],
)
def test_attacks(bench, attack):
    under = pm.Attack(lambda model: attack, name="darker")
    few = bench.test.inputs[:3]
    changed = under.perturb(linear(), few, bench.test.targets[:3], torch.arange(3), bench.test)
    assert torch.allclose(changed, few * 0.9)


def test_parameters_of_a_family():
    def candidate(config, data, verbose=False, *extra, width, depth=3, **more):
        return verbose

    assert Built(candidate, {}, {}, 1, "star").parameters == ("data", "width")
