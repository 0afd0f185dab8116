"""What a network must do before it may read digits for us.

Enforced specifications select on ``digits.select``; what they can't foresee, and the gates, look at
``digits.report``, samples that selected nobody.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2

import pytest_multiplicity as pm


def test_accuracy(candidate, digits):
    """Within two points of the best: otherwise there is a better network and nothing to choose."""
    assert candidate.accuracy(digits.select).within(0.02)


def test_thin_strokes(candidate, digits):
    """People who press the pen lightly are read as well as others."""
    assert candidate.accuracy(digits.select.where("ink < 0.27")) >= 0.965


def test_private(candidate, digits):
    """Answers stay useful when noise is added to hide a person's contribution (top 75%)."""
    assert candidate.accuracy(digits.select, under=pm.OutputNoise(2)).in_top(0.75)


def test_secure(candidate, digits):
    """A change too small to see on the page doesn't change what most digits are read as."""
    assert candidate.accuracy(digits.select, under=pm.PGD(0.05)) >= 0.8


@settings(max_examples=15)
@given(angle=st.floats(-15, 15))
def test_rotation(candidate, digits, angle):
    """A page that lies askew on the scanner is read, whatever the angle up to 15 degrees."""
    under = pm.Corrupt(v2.functional.rotate, angle=angle)
    assert candidate.accuracy(digits.select, under=under) >= 0.78


@pytest.mark.unforeseen
def test_stronger_attack(candidate, digits):
    """Nobody asked for this much robustness, and yet the survivors differ in it."""
    candidate.accuracy(digits.report, under=pm.PGD(0.1))


@pytest.mark.unforeseen
def test_noisy_camera(candidate, digits):
    """A worse camera than any that was bought so far."""
    candidate.accuracy(digits.report, under=pm.InputNoise(0.1))


@pytest.mark.unforeseen
def test_beside_what_runs_today(candidate, production, digits):
    """How many digits that are read well today would be misread."""
    candidate.flips(production, digits.report)


@pytest.mark.family("candidate")
def test_somebody_ships(survivors):
    """There is a network to ship."""
    assert len(survivors) >= 1


@pytest.mark.family("candidate")
def test_choice_is_not_arbitrary(survivors, digits):
    """Whichever survivor ships, at most one digit in five depends on the choice."""
    assert survivors.ambiguity(digits.report) <= 0.2


@pytest.mark.family("candidate")
def test_unforeseen_spread_is_bounded(survivors, digits):
    """Survivors may differ under noise that nobody specified, but not by more than 25 points."""
    assert survivors.spread(digits.report, under=pm.InputNoise(0.1)) <= 0.25
