"""A small study for the scripts here: thirty candidates that train in a second, seven specs."""

from __future__ import annotations

from pathlib import Path

FAMILY = """
import os

import pandas as pd
import pytest
import torch
from torch import nn

import pytest_multiplicity as pm


@pytest.fixture(scope="session")
def data():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(600, 8, generator=generator)
    noise = 0.3 * torch.randn(600, 3, generator=generator)
    targets = (inputs @ torch.randn(8, 3, generator=generator) + noise).argmax(1)
    attributes = pd.DataFrame({"first": inputs[:, 0].numpy()})
    rest, train = pm.Data(inputs, targets, attributes, name="toy").split(0.7)
    return {"train": train, "rest": rest.split(0.5)}


@pm.family(
    default={"lr": 0.1, "width": 8},
    vary={"lr": [0.05, 0.01], "width": [4, 16]},
    seeds=int(os.environ.get("SMALL_SEEDS", "6")),
)
def candidate(config, data):
    return pm.Recipe(
        model=lambda: nn.Sequential(
            nn.Linear(8, config.width), nn.ReLU(), nn.Linear(config.width, 3)
        ),
        data=data["train"],
        epochs=40,
        batch_size=16,
        lr=config.lr,
    )
"""

SPECS = """
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pytest_multiplicity as pm


def test_accuracy(candidate, data):
    assert candidate.accuracy(data["rest"].select).within(0.05)


def test_group(candidate, data):
    assert candidate.accuracy(data["rest"].select.where("first < 0.5")) >= 0.75


def test_private(candidate, data):
    assert candidate.accuracy(data["rest"].select, under=pm.OutputNoise(1)).in_top(0.75)


@settings(max_examples=5)
@given(scale=st.floats(0.05, 0.3))
def test_noise(candidate, data, scale):
    assert candidate.accuracy(data["rest"].select, under=pm.InputNoise(scale)) >= 0.6


@pytest.mark.unforeseen
def test_attack(candidate, data):
    candidate.accuracy(data["rest"].report, under=pm.PGD(0.05))


def test_somebody_ships(survivors):
    assert len(survivors) >= 1


def test_choice_is_not_arbitrary(survivors, data):
    assert survivors.ambiguity(data["rest"].report) <= 0.5
"""


def write(folder: Path) -> None:
    """Make the study in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "conftest.py").write_text(FAMILY)
    (folder / "test_specs.py").write_text(SPECS)
