"""What can't be trained is refused with what to do instead."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from support.bench import bench, linear
from torch import nn
from torch.nn import functional as F
from torchvision.transforms import v2

import pytest_multiplicity as pm
from pytest_multiplicity.errors import (
    DefinitionError,
    InterventionError,
    MeasurementError,
    RecipeError,
)

__all__ = ["bench"]


def double():
    return linear().double()


class Casting(nn.Module):
    """A model in float64 that converts what it is given."""

    def __init__(self):
        super().__init__()
        self.inner = double()

    def forward(self, x):
        return self.inner(x.double()).float()


class OneHot(nn.MSELoss):
    """A loss on values that makes its own of the classes."""

    def forward(self, logits, targets):
        return super().forward(logits, F.one_hot(targets, 2).to(logits))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "float64": ({"model": double}, r"parameters of torch.float64 .*\.float\(\)"),
    "float16": ({"model": lambda: linear().half()}, "parameters of torch.float16"),
    "LBFGS": ({"optimizer": torch.optim.LBFGS}, "LBFGS calls the loss several times a step"),
    "an optimizer": (
        {"optimizer": torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1)},
        r"optimizer is SGD \( Parameter Group 0 .*a factory",
    ),
    "MSELoss": ({"loss": nn.MSELoss()}, "MSELoss compares values of one shape"),
    "mse_loss": ({"loss": F.mse_loss}, "mse_loss compares values of one shape"),
    "BCE": ({"loss": nn.BCEWithLogitsLoss()}, "BCEWithLogitsLoss compares values"),
    "a loss class": ({"loss": nn.CrossEntropyLoss}, r"as in loss=CrossEntropyLoss\(...\)"),
    "a scheduler class": (
        {"schedule": torch.optim.lr_scheduler.StepLR},
        "schedule is the class StepLR.*give a function from a step",
    ),
    "a scheduler made late": (
        {"schedule": functools.partial(torch.optim.lr_scheduler.StepLR, step_size=3)},
        "schedule is the class StepLR",
    ),
    "MixUp": ({"augment": v2.MixUp(num_classes=2)}, "augment MixUp failed .*belong into a loss"),
    "CutMix": ({"augment": v2.CutMix(num_classes=2)}, "augment CutMix failed"),
    "an augmentation class": ({"augment": v2.RandomHorizontalFlip}, "give an object of it"),
    "uint8": (
        {"augment": v2.ToDtype(torch.uint8, scale=True)},
        r"into torch.uint8: let it end with v2.ToDtype\(torch.float32, scale=True\)",
    ),
    "doubles": ({"augment": lambda image: image.double()}, "into torch.float64"),
}


def trained(bench, settings):
    model = settings.pop("model", linear)
    family = bench.family(
        lambda config: pm.Recipe(model, bench.train, epochs=1, **settings), vary={}, seeds=2
    )
    return family.candidates[0].accuracy(bench.test)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(bench, name):
    settings, message = REFUSED[name]
    with pytest.raises(RecipeError, match=message):
        trained(bench, dict(settings))


@pytest.mark.parametrize(
    "settings",
    [
        {"model": lambda: double().float()},
        {"model": Casting},
        {"loss": OneHot()},
        {"loss": nn.CrossEntropyLoss()},
        {"loss": lambda logits, targets: F.mse_loss(logits, F.one_hot(targets, 2).float())},
        {"schedule": lambda step: 0.9**step},
        {"optimizer": torch.optim.RMSprop},
        {
            "augment": v2.Compose(
                [v2.ToDtype(torch.uint8, scale=True), v2.ToDtype(torch.float32, scale=True)]
            )
        },
    ],
)
def test_the_remedies_help(bench, settings):
    assert 0 <= trained(bench, settings) <= 1


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_half_of_few(bench, samples):
    few = pm.Data(bench.train.inputs[:samples], bench.train.targets[:samples], name="few")
    family = bench.family(
        lambda config: pm.Recipe(linear, few, epochs=1),
        default={"seed.subset": 0},
        vary={},
        seeds=1,
    )
    if samples < 2:
        with pytest.raises(RecipeError, match=r"seed.subset.*give 2 samples or more"):
            family.candidates[0].accuracy(bench.test)
    else:
        assert 0 <= family.candidates[0].accuracy(bench.test) <= 1


@pytest.mark.parametrize(
    ("corruption", "shape", "message"),
    [
        ("jpeg", (4, 8, 8), "for images of 1 or 3 channels, and these have 4"),
        ("jpeg", (2, 8, 8), "1 or 3 channels"),
        ("blur", (3, 2, 2), "4 x 4 pixels or more, and these have 2 x 2"),
        ("blur", (3, 8, 3), "4 x 4 pixels or more"),
        ("fog", (1, 1, 1), "2 x 2 pixels or more"),
    ],
)
def test_unusual_images(corruption, shape, message):
    data = pm.Data(torch.rand(4, *shape), [0, 1, 0, 1], name="odd")
    with pytest.raises(InterventionError, match=message):
        pm.Corrupt(corruption, severity=1).apply(data.inputs, data.rows, data)


@pytest.mark.parametrize(("corruption", "shape"), [("blur", (4, 4, 4)), ("fog", (2, 2, 2))])
def test_the_least_images(corruption, shape):
    data = pm.Data(torch.rand(4, *shape), [0, 1, 0, 1], name="odd")
    changed = pm.Corrupt(corruption, severity=1).apply(data.inputs, data.rows, data)
    assert changed.shape == data.inputs.shape


@pytest.mark.parametrize("seeds", [1, 4])
def test_given_models_of_other_dtypes(bench, seeds):
    family = bench.family(lambda config: double(), vary={}, seeds=seeds)
    with pytest.raises(MeasurementError, match=r"parameters of torch.float64 .*\.float\(\)"):
        family.candidates[0].accuracy(bench.test)
    for mended in (lambda config: double().float(), lambda config: Casting()):
        family = bench.family(mended, vary={}, seeds=seeds)
        assert 0 <= family.candidates[0].accuracy(bench.test) <= 1


@pytest.mark.parametrize("kind", [lambda: nn.LazyLinear(2), lambda: nn.Linear(4, 2, device="meta")])
def test_given_models_without_values(bench, kind):
    with pytest.raises(DefinitionError, match="parameters without values: call a lazy module"):
        bench.family(lambda config: kind())
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(2))
    lazy(bench.test.inputs[:1])
    family = bench.family(lambda config: lazy, vary={}, seeds=1)
    assert 0 <= family.candidates[0].accuracy(bench.test) <= 1


@pytest.mark.parametrize("measure", [None, 0.5])
def test_what_is_no_measure(bench, measure):
    with pytest.raises(MeasurementError, match="is no measure: give a function of logits"):
        bench.family().candidates[0].measure(measure, bench.test)


def test_an_attack_that_is_none(bench):
    with pytest.raises(InterventionError, match="make returned None: return an object"):
        bench.family().candidates[0].accuracy(
            bench.test, under=pm.Attack(lambda model: None, name="none")
        )
