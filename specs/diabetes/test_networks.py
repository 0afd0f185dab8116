"""What a network must do. It takes tensors, so it can be attacked as well."""

from __future__ import annotations

import pytest

import pytest_multiplicity as pm


def test_within_sixty(network, numbers):
    """Within eight points of the best."""
    assert network.accuracy(numbers.select).within(0.08)


def test_average_error(network, numbers):
    """The mean error, in the unit of progress."""
    assert network.measure("mae", numbers.select) <= 50


def test_age(network, numbers):
    """Those over sixty, too."""
    assert network.accuracy(numbers.select, under=pm.Group("age > 60")) >= 0.5


@pytest.mark.unforeseen
def test_worst_sex(network, numbers):
    """Whichever sex is told less well."""
    network.accuracy(numbers.report, under=pm.Group.worst("sex"))


@pytest.mark.unforeseen
def test_noise(network, numbers):
    """Every number is up to one or so too high: who is told the same?"""
    network.consistency(numbers.report, under=pm.InputNoise(1))


@pytest.mark.family("network")
def test_somebody_ships(survivors):
    """There is a network to ship."""
    assert len(survivors) >= 1


@pytest.mark.family("network")
def test_choice_is_not_arbitrary(survivors, numbers):
    """Whichever network ships, at most one patient in ten could have been told something else."""
    assert survivors.ambiguity(numbers.report) <= 0.1
