from __future__ import annotations

import inspect
import math
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pytest_multiplicity.data import Data
from pytest_multiplicity.errors import RecipeError
from pytest_multiplicity.training.jobs import initial_module
from pytest_multiplicity.training.recipe import Recipe, build_optimizer, lr_factor
from pytest_multiplicity.training.seeds import Seeds


def linear() -> nn.Module:
    return nn.Linear(4, 3)


def test_has_the_signature_of_the_contract() -> None:
    signature = inspect.signature(Recipe)
    positional = [
        p.name for p in signature.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    keywords = {
        p.name: p.default for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY
    }
    assert positional == ["model", "data"]
    assert keywords == {
        "epochs": inspect.Parameter.empty,
        "batch_size": 128,
        "optimizer": "sgd",
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 0.0,
        "schedule": "cosine",
        "loss": None,  # the task's
        "augment": None,
        "precision": "float32",
        "weight": None,
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": nn.Linear(4, 3)}, "which all candidates would share"),
        ({"model": None}, "model is None: give a function"),
        ({"data": [1, 2]}, "data is a list: give a pm.Data"),
        ({"epochs": 0}, "epochs is 0: give a whole number, 1 or more"),
        ({"epochs": 1.5}, "epochs is 1.5"),
        ({"batch_size": True}, "batch_size is True"),
        ({"batch_size": -4}, "batch_size is -4"),
        ({"lr": math.nan}, "lr is nan: give a finite number, 0 or more"),
        ({"lr": "0.1"}, "lr is '0.1'"),
        ({"momentum": 1.0}, "momentum is 1.0: give a finite number, 0 or more and below 1"),
        ({"weight_decay": -1e-4}, "weight_decay is -0.0001"),
        ({"optimizer": "SGD"}, "optimizer is 'SGD': give 'sgd', 'adam', 'adamw' or a factory"),
        ({"optimizer": None}, "optimizer is None"),
        ({"schedule": "linear"}, "schedule is 'linear': give 'cosine', 'constant' or a callable"),
        ({"loss": "mse"}, "loss is 'mse': give 'cross_entropy', 'binary_cross_entropy' or a"),
        ({"precision": "fp16"}, "precision is 'fp16': give 'float32', 'tf32', 'bf16'"),
        ({"augment": "auto"}, "augment is 'auto': give 'rand', 'trivial' or a torchvision"),
        ({"augment": "rand"}, "is for images of 1 or 3 channels in [0, 1]"),
    ],
)
def test_bad_values_are_named_with_a_remedy(blobs: Data, change: dict[str, Any], said: str) -> None:
    settings: dict[str, Any] = {"model": linear, "data": blobs, "epochs": 1} | change
    with pytest.raises(RecipeError, match=r".*") as caught:
        Recipe(settings.pop("model"), settings.pop("data"), **settings)
    assert said in str(caught.value)


def test_numbers_of_other_libraries_become_builtins(blobs: Data) -> None:
    recipe = Recipe(linear, blobs, epochs=np.int64(2), batch_size=np.int32(8), lr=np.float32(0.5))
    assert (type(recipe.epochs), type(recipe.batch_size), type(recipe.lr)) == (int, int, float)


def test_cosine_starts_at_one_and_ends_just_above_zero(blobs: Data) -> None:
    factors = [lr_factor(Recipe(linear, blobs, epochs=1), step, 10) for step in range(11)]
    assert factors[0] == 1.0
    assert factors[5] == pytest.approx(0.5)
    assert factors[10] == pytest.approx(0.0)
    assert factors == sorted(factors, reverse=True)


def test_schedules_of_one_and_of_two_arguments(blobs: Data) -> None:
    per_step = Recipe(linear, blobs, epochs=1, schedule=lambda step: 0.5**step)
    per_share = Recipe(linear, blobs, epochs=1, schedule=lambda step, steps: step / steps)
    assert lr_factor(per_step, 2, 10) == 0.25
    assert lr_factor(per_share, 2, 10) == 0.2


def test_a_schedule_that_gives_no_number(blobs: Data) -> None:
    recipe = Recipe(linear, blobs, epochs=1, schedule=lambda step: None)
    with pytest.raises(RecipeError, match="the schedule returned None at step 3"):
        lr_factor(recipe, 3, 10)


def test_optimizers_carry_the_settings(blobs: Data) -> None:
    def group(**settings: Any) -> dict[str, Any]:
        recipe = Recipe(linear, blobs, epochs=1, **settings)
        return build_optimizer(recipe, linear()).param_groups[0]

    sgd = group(lr=0.3, momentum=0.5, weight_decay=0.01)
    assert (sgd["lr"], sgd["momentum"], sgd["weight_decay"]) == (0.3, 0.5, 0.01)
    adam = group(optimizer="adam", lr=0.01, momentum=0.8)
    assert (adam["lr"], adam["betas"]) == (0.01, (0.8, 0.999))
    adamw = group(optimizer="adamw", weight_decay=0.0)
    assert adamw["weight_decay"] == 0.0
    custom = group(optimizer=lambda params, lr: torch.optim.RMSprop(params, lr))
    assert custom["lr"] == 0.1


def test_an_optimizer_factory_that_gives_something_else(blobs: Data) -> None:
    recipe = Recipe(linear, blobs, epochs=1, optimizer=lambda params, lr: None)
    with pytest.raises(RecipeError, match="factory returned None: return a torch Optimizer"):
        build_optimizer(recipe, linear())


def test_a_model_without_parameters(blobs: Data) -> None:
    recipe = Recipe(nn.Flatten, blobs, epochs=1)
    with pytest.raises(RecipeError, match="Flatten has no parameters to train"):
        build_optimizer(recipe, nn.Flatten())


def test_a_model_function_that_returns_no_module(blobs: Data) -> None:
    with pytest.raises(RecipeError, match="model function returned 3"):
        initial_module(Recipe(lambda: 3, blobs, epochs=1), Seeds(0, 0, 0, 0))  # type: ignore[arg-type, return-value]


def test_the_initial_module_depends_on_the_init_seed_only(blobs: Data) -> None:
    def weights(seeds: Seeds) -> torch.Tensor:
        return next(initial_module(Recipe(linear, blobs, epochs=1), seeds).parameters())

    assert torch.equal(weights(Seeds(1, 2, 3, 4)), weights(Seeds(1, 5, 6, 7)))
    assert not torch.equal(weights(Seeds(1, 2, 3, 4)), weights(Seeds(2, 2, 3, 4)))


def test_a_lazy_module_is_completed(blobs: Data) -> None:
    module = initial_module(Recipe(lambda: nn.LazyLinear(3), blobs, epochs=1), Seeds(0, 0, 0, 0))
    assert next(module.parameters()).shape == (3, 4)
    assert module.training


def test_building_leaves_the_global_generators_alone(blobs: Data) -> None:
    def build() -> nn.Module:
        random.random()
        np.random.rand()  # noqa: NPY002 - what user code may do
        return linear()

    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    initial_module(Recipe(build, blobs, epochs=1), Seeds(0, 0, 0, 0))
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    assert before[2] == random.getstate()
