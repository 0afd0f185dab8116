"""Other libraries' attacks, by the three forms that they have; the real ones are companions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pytest_multiplicity.data import Data
from pytest_multiplicity.errors import InterventionError
from pytest_multiplicity.interventions import Attack

INPUTS = torch.rand(8, 3, generator=torch.Generator().manual_seed(0))
DATA = Data(INPUTS, [0, 1] * 4, bounds=(0, 1))


def model(inputs):
    return inputs[:, :2]


class Evasion:
    """As in ART."""

    def __init__(self, estimator):
        self.estimator = estimator

    def generate(self, x, y):
        assert isinstance(x, np.ndarray)
        assert y.shape == (len(x),)
        return x * 0.5


def fooled(make, inputs=DATA.inputs, rows=DATA.rows, data=DATA):
    targets = data.targets[: len(inputs)]
    return Attack(make).perturb(model, inputs, targets, rows, data)


@pytest.mark.parametrize(
    "make",
    [
        Evasion,
        lambda model: lambda inputs, labels: inputs * 0.5,
        lambda model: lambda inputs, labels: ([9], inputs * 0.5, [True]),
        lambda model: lambda inputs, labels: inputs.mul_(0.5),
    ],
    ids=["art", "torchattacks", "foolbox", "in place"],
)
def test_every_form_of_attack(make):
    before = DATA.inputs.clone()

    assert torch.equal(fooled(make), DATA.inputs * 0.5)
    assert torch.equal(DATA.inputs, before)


def test_gets_a_module_in_eval_mode_with_gradients():
    def fgsm(module):
        assert isinstance(module, nn.Module)
        assert not module.training

        def attack(inputs, labels):
            inputs.requires_grad_()
            loss = nn.functional.cross_entropy(module(inputs), labels, reduction="sum")
            return (inputs + 0.1 * torch.autograd.grad(loss, inputs)[0].sign()).clamp(0, 1)

        return attack

    with torch.no_grad():
        result = fooled(fgsm)

    assert not result.requires_grad
    assert (result - DATA.inputs).abs().max() > 0.09


def test_a_module_is_handed_on_as_it_is():
    module = nn.Linear(3, 2).eval()
    seen = []

    def make(given):
        seen.append(given)
        return lambda inputs, labels: inputs

    Attack(make).perturb(module, DATA.inputs, DATA.targets, DATA.rows, DATA)

    assert seen[0] is module


def test_an_attack_that_leaves_the_model_in_training_mode():
    module = nn.Sequential(nn.Linear(3, 2), nn.Dropout()).eval()

    def make(given):
        given.train()
        return lambda inputs, labels: inputs

    Attack(make).perturb(module, DATA.inputs, DATA.targets, DATA.rows, DATA)

    assert not any(part.training for part in module.modules())


def noisy(module):
    return lambda inputs, labels: (inputs + 0.1 * torch.rand_like(inputs)).clamp(0, 1)


def test_random_attacks_repeat_and_leave_the_global_generators_alone():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first = fooled(noisy)
        drawn = torch.rand(1)
        torch.manual_seed(1)
        assert torch.equal(torch.rand(1), drawn)
        assert torch.equal(fooled(noisy), first)
    assert not torch.equal(fooled(noisy, DATA.inputs[4:], DATA.rows[4:]), first[4:])


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda inputs: inputs[1:], "keep the number of samples"),
        (lambda inputs: inputs / 0, "returned nan or infinity"),
        (lambda inputs: None, "returned NoneType"),
        (lambda inputs: inputs + 0.5, r"left the bounds \(0, 1\) of 'data': tell the attack"),
        (lambda inputs: inputs - 1, "left the bounds"),
    ],
)
def test_unfitting_results(result, message):
    with pytest.raises(InterventionError, match=message):
        fooled(lambda module: lambda inputs, labels: result(inputs))


def test_rounding_over_the_bounds_is_clamped_and_no_bounds_are_none():
    free = Data(DATA.inputs, DATA.targets, bounds=None)

    over = fooled(lambda module: lambda inputs, labels: inputs * 0 + 1 + 1e-6)
    far = fooled(lambda module: lambda inputs, labels: inputs + 5, data=free)

    assert over.max() == 1
    assert far.min() >= 5


def test_what_is_no_attack():
    with pytest.raises(InterventionError, match=r"Attack\(3\): give a function from a model to an"):
        Attack(3)
