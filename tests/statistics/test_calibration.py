"""The noise test's promises, at a smaller size than ``python -m benchmarks.calibration``."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def simulation(benchmark_module):
    return benchmark_module("calibration")


@pytest.mark.parametrize("name", ["alike, latent 0.92", "3 clusters", "one odd candidate"])
def test_equally_good_candidates_are_rarely_called_different(simulation, name):
    family = simulation.FAMILIES[name]
    assert simulation.rejected(family, 52, 12, 200) <= 0.07
    assert simulation.rejected(family, 300, 12, 200) <= 0.07


@pytest.mark.parametrize("name", ["alike, latent 0.92", "3 clusters", "one odd candidate"])
def test_a_planted_spread_of_twice_the_floor_is_detected(simulation, name):
    assert simulation.detected(simulation.FAMILIES[name], 300, 20, 30) >= 0.9


def test_the_test_is_not_idle(simulation):
    """A test that never rejects is calibrated and useless: at n = 1,000 it comes near its 5%."""
    rate = simulation.rejected(simulation.FAMILIES["alike, latent 0.92"], 1000, 10, 300)
    assert 0.03 <= rate <= 0.07
