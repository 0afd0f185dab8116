"""Interventions of a function, by the decorator."""

from __future__ import annotations

import pytest
import torch

from pytest_multiplicity.data import Data
from pytest_multiplicity.errors import InterventionError
from pytest_multiplicity.interventions import (
    PGD,
    InputIntervention,
    OutputIntervention,
    intervention,
)
from pytest_multiplicity.store import fingerprint

DATA = Data(torch.rand(8, 3, generator=torch.Generator().manual_seed(0)), [0, 1] * 4)


@intervention
def darker(images, by=0.2, *, floor=0.0):
    """Stand in for night shots."""
    return (images - by).clamp(floor, 1)


@intervention(on="logits")
def cooled(logits, temperature):
    return logits / temperature


@intervention
def speckled(images, **options):
    return images * torch.rand_like(images) ** options.get("power", 1)


def test_changes_the_input():
    step = darker(by=0.3)

    assert isinstance(step, InputIntervention)
    assert not step.needs_model
    changed = step.apply(DATA.inputs, DATA.rows, DATA)
    assert torch.equal(changed, (DATA.inputs - 0.3).clamp(0, 1))


def test_changes_the_output():
    step = cooled(2)

    assert isinstance(step, OutputIntervention)
    assert torch.equal(step.apply(DATA.inputs, DATA.rows, DATA), DATA.inputs / 2)
    assert step.expected_correct(DATA.inputs, DATA.targets) is None


def test_draws_numbers_that_belong_to_the_sample():
    step = speckled(power=2)

    whole = step.apply(DATA.inputs, DATA.rows, DATA)

    assert torch.equal(step.apply(DATA.inputs[3:5], DATA.rows[3:5], DATA), whole[3:5])


@pytest.mark.parametrize(
    ("step", "name"),
    [
        (darker(), "darker()"),
        (darker(0.3), "darker(by=0.3)"),
        (darker(by=0.2), "darker()"),
        (darker(0.3, floor=0.1), "darker(by=0.3, floor=0.1)"),
        (cooled(2.0), "cooled(temperature=2)"),
        (speckled(power=2), "speckled(power=2)"),
    ],
)
def test_is_named_as_it_was_called(step, name):
    assert repr(step) == name


def test_keeps_the_docstring_and_composes():
    assert darker.__doc__ == "Stand in for night shots."
    assert (
        darker(0.1) | PGD(0.1) | cooled(3)
    ).name == "darker(by=0.1) | PGD(0.1) | cooled(temperature=3)"


def test_is_known_by_its_function_and_parameters():
    known = {
        fingerprint(step) for step in (darker(), darker(0.3), speckled(), cooled(2), cooled(3))
    }

    assert len(known) == 5
    assert fingerprint(darker()) == fingerprint(darker(0.2))


def test_wrong_arguments():
    with pytest.raises(TypeError, match="unexpected keyword argument 'buy'"):
        darker(buy=0.3)
    with pytest.raises(TypeError, match="missing a required argument: 'temperature'"):
        cooled()
    with pytest.raises(InterventionError, match="on='output'"):
        intervention(on="output")
    with pytest.raises(InterventionError, match="3 is no function"):
        intervention(3)


def test_a_result_that_does_not_fit():
    @intervention(on="logits")
    def merged(logits):
        return logits[:, :2]

    with pytest.raises(InterventionError, match=r"merged\(\) turned a batch of shape \(8, 3\)"):
        merged().apply(DATA.inputs, DATA.rows, DATA)
