"""The store knows an intervention by every parameter it has, and by nothing that it did."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import v2

from pytest_multiplicity.data import Data
from pytest_multiplicity.interventions import PGD, Attack, Corrupt, Group, InputNoise, OutputNoise
from pytest_multiplicity.store import fingerprint


def brighter(images):
    return (images * 2).clamp(0, 1)


def attack(model):
    return lambda inputs, labels: inputs


DIFFERENT = [
    Group("age < 3"),
    Group("age < 4"),
    Group.worst("age"),
    Group.worst("age", min_size=2),
    Corrupt("blur", severity=1),
    Corrupt("blur", severity=2),
    Corrupt("noise", severity=1),
    Corrupt(v2.functional.rotate, angle=1),
    Corrupt(v2.functional.rotate, angle=2),
    Corrupt(v2.GaussianNoise(0.0, 0.1)),
    Corrupt(v2.GaussianNoise(0.0, 0.2)),
    Corrupt(brighter),
    Corrupt(lambda images: images / 2),
    Corrupt(lambda images: images / 3),
    InputNoise(0.1),
    InputNoise(0.2),
    InputNoise(0.1, seed=1),
    OutputNoise(0.1),
    OutputNoise(0.1, seed=1),
    PGD(0.1),
    PGD(0.1, steps=11),
    PGD(0.1, step_size=0.1),
    PGD(0.1, random_start=True),
    PGD(0.1, random_start=True, restarts=2),
    PGD(0.1, norm="l2"),
    PGD(0.1, targeted=1),
    PGD(0.1, seed=1),
    Attack(attack),
    Attack(lambda model: lambda inputs, labels: inputs / 2),
    PGD(0.1) | OutputNoise(0.1),
    OutputNoise(0.1) | Group("age < 3"),
    Group("age < 3") | OutputNoise(0.1),
]


def test_every_parameter_counts():
    assert len({fingerprint(step) for step in DIFFERENT}) == len(DIFFERENT)


@pytest.mark.parametrize(
    "step",
    [InputNoise(0.1), OutputNoise(0.1), Corrupt("noise", severity=1), Corrupt(brighter)],
    ids=repr,
)
def test_use_leaves_no_trace(step):
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    data = Data(images, [0, 1, 0, 1])
    before = fingerprint(step)

    step.apply(data.inputs, data.rows, data)

    assert fingerprint(step) == before
