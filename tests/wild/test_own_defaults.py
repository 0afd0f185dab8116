"""Parameters with defaults are the user's: ours come by name, or where a position asks for them."""

from __future__ import annotations

import functools

import pytest
import torch
from support.bench import bench, linear

import pytest_multiplicity as pm
from pytest_multiplicity.design import Built
from pytest_multiplicity.errors import RecipeError
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


def test_parameters_of_a_family():
    def candidate(config, data, verbose=False, *extra, width, depth=3, **more):
        return verbose

    assert Built(candidate, {}, {}, 1, "star").parameters == ("data", "width")
