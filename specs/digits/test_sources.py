"""Which randomness does the multiplicity come from: the initial weights, or the order of the data?

The family ``source`` varies one of the two at a time; everything else is the same in all of it.
"""

from __future__ import annotations

import pytest

import pytest_multiplicity as pm

ATTACK = pm.PGD(0.1)


@pytest.mark.unforeseen
def test_accuracy(source, digits):
    """Both move it by about as much as the test set alone would."""
    source.accuracy(digits.report)


@pytest.mark.unforeseen
def test_attack(source, digits):
    """How robust a network is, is mostly in the weights it starts from."""
    source.accuracy(digits.report, under=ATTACK)


@pytest.mark.family("source")
def test_initial_weights_move_robustness_more_than_the_order_does(survivors, digits):
    """Whoever ships for robustness should try initial weights, and need not shuffle again."""
    sheet = survivors.sheet(digits.report, under=ATTACK)
    by_init, by_order = (sheet.delta_by_seed(axis).item() for axis in ("seed.init", "seed.order"))
    assert by_init > 2 * by_order
