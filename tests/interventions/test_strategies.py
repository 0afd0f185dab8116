"""Strategies for hypothesis."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import find, given, settings

from pytest_multiplicity.data import Data
from pytest_multiplicity.errors import DataError, InterventionError
from pytest_multiplicity.interventions import Corrupt, Group, SmallGroupWarning, strategies

IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
FRAME = {"race": ["Asian", "Black"] * 3, "age": [10, 10, 20, 20, 30, 30]}
DATA = Data(IMAGES, [0, 1] * 3, FRAME)


@given(strategies.corruptions())
@settings(max_examples=20)
def test_corruptions_can_be_applied(corrupt):
    assert isinstance(corrupt, Corrupt)
    assert corrupt.apply(DATA.inputs, DATA.rows, DATA).shape == IMAGES.shape


@given(strategies.corruptions("blur", "fog"), strategies.severities())
def test_corruptions_are_of_the_names_given(corrupt, severity):
    assert repr(corrupt).startswith(("Corrupt(blur, severity=", "Corrupt(fog, severity="))
    assert severity in range(1, 6)


def test_the_smallest_severity_that_fails_is_found():
    mild = find(strategies.corruptions("blur", "noise"), lambda c: c.parameters["severity"] > 2)

    assert repr(mild) == "Corrupt(blur, severity=3)"


@given(strategies.groups(DATA, "race", min_size=1))
def test_groups_exist_in_the_data(group):
    assert group in (Group("race == 'Asian'"), Group("race == 'Black'"))
    assert len(group.rows(DATA)) == 3


def test_intersections_and_small_groups():
    assert len(strategies.groups(DATA, "race", "age", min_size=1).elements) == 6
    uneven = Data(IMAGES, [0, 1] * 3, {"race": ["Asian"] + ["Black"] * 5})
    with pytest.warns(SmallGroupWarning, match="leaves out 1 groups"):
        assert strategies.groups(uneven, "race", min_size=2).elements == (Group("race == 'Black'"),)


def test_a_strategy_that_never_yields_is_an_error_when_it_is_made():
    with pytest.raises(DataError, match="none of the 2 groups of 'data' has 30 samples"):
        strategies.groups(DATA, "race")
    with pytest.raises(DataError, match="no attribute 'sex'"):
        strategies.groups(DATA, "sex")
    with pytest.raises(InterventionError, match="no corruption named 'blurr'"):
        strategies.corruptions("blurr")


def test_hypothesis_is_imported_only_when_a_strategy_is_made():
    code = (
        "import sys, pytest_multiplicity.interventions.strategies;"
        "sys.exit('hypothesis' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
