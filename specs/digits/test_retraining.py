"""What is shipped is trained again every month: would it be fit to replace what runs today?

Three configurations, each trained nine times: as many seeds as decide of one that passes with all.
"""

from __future__ import annotations

import pytest

import pytest_multiplicity as pm

from .conftest import small_cnn


@pm.family(
    default={"lr": 0.1, "width": 16},
    vary={"lr": [0.01], "width": [32]},
    seeds=9,
)
def monthly(config, digits):
    """A network that could replace what runs today: as it is, wider, or learning slowly."""
    return pm.Recipe(
        model=lambda: small_cnn(config.width),
        data=digits.train,
        epochs=10,
        batch_size=32,
        lr=config.lr,
    )


def test_not_worse(monthly, production, digits):
    """It loses three points at most against what runs today, and the samples show it."""
    assert monthly.accuracy(digits.select).not_worse_than(production, by=0.03)


def test_few_flips(monthly, production, digits):
    """What is read well today is read well tomorrow, but for two digits in a hundred."""
    assert monthly.flips(production, digits.select) <= 0.02


@pytest.mark.unforeseen
def test_flips_on_fresh_digits(monthly, production, digits):
    """How many flip on digits that selected nobody."""
    monthly.flips(production, digits.report)


@pytest.mark.family("monthly")
def test_the_wider_network_would_pass_again(survivors, smoke):
    """Of the wider network it is decided that half of its seeds or more pass."""
    if smoke:
        pytest.skip("two seeds decide nothing")
    assert {"lr": 0.1, "width": 32} in survivors.reliable(at_least=0.5)


@pytest.mark.family("monthly")
def test_months_agree(survivors, digits):
    """From one month to the next at most three digits in twenty are read otherwise."""
    assert survivors.ambiguity(digits.report) <= 0.15
