"""Shares of units that come in samples: intervals and floors hold when units hang together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pytest_multiplicity.statistics import clusters, doubt
from pytest_multiplicity.statistics.noise import noise

Floats = npt.NDArray[np.float64]

DRAWS = 400
SHARE = 0.8


def drawn(
    samples: int, units: int, candidates: int, rng: np.random.Generator
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Shares `[K, n]` of right units of equally good candidates, and how many units count `[n]`.

    Easy samples are easy for everybody, and a candidate is good or bad at a sample as a whole.
    """
    counted = rng.integers(1, 2 * units, samples)
    ease = rng.beta(8, 2, samples)
    own = rng.beta(20 * ease, 20 * (1 - ease), (candidates, samples))
    return rng.binomial(counted, own) / counted, counted


@pytest.mark.parametrize("samples", [20, 100])
def test_intervals_cover_what_independent_units_would_not(samples: int) -> None:
    rng = np.random.default_rng(samples)
    covered = naive = 0
    effects = []
    for _ in range(DRAWS):
        shares, counted = drawn(samples, 50, 1, rng)
        outcomes = clusters.weighed(shares, counted)[:, 0]
        low, high = clusters.interval(outcomes, counted)
        covered += low <= SHARE <= high
        low, high = doubt.wilson(float(outcomes.mean()), int(counted.sum()))
        naive += low <= SHARE <= high
        effects.append(clusters.design_effect(outcomes, counted) or 0.0)
    assert covered / DRAWS > 0.92
    assert naive / DRAWS < 0.7
    assert np.mean(effects) > 3


def test_equally_good_candidates_are_seldom_told_apart() -> None:
    rng = np.random.default_rng(0)
    small, floors, deltas = 0, [], []
    for _ in range(100):
        shares, counted = drawn(40, 30, 5, rng)
        outcomes = clusters.weighed(shares, counted)
        found = noise(outcomes, most=clusters.ceiling(counted), permutations=100)
        small += found.p_value < 0.05
        floors.append(found.floor)
        deltas.append(np.ptp(outcomes.mean(axis=0)))
    assert small <= 10
    assert np.mean(floors) == pytest.approx(np.mean(deltas), rel=0.15)


def test_no_equally_good_candidate_is_rejected_beyond_doubt() -> None:
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(100):
        shares, counted = drawn(40, 30, 5, rng)
        outcomes, most = clusters.weighed(shares, counted), clusters.ceiling(counted)
        verdicts = [*doubt.within(outcomes, 0.0, most=most)]
        verdicts += [doubt.at_least(column, SHARE, 5, most=most) for column in outcomes.T]
        wrong += any(each.decision is doubt.Decision.REJECT for each in verdicts)
    assert wrong <= 10


def test_outcomes_weigh_samples_by_their_units() -> None:
    shares, counted = np.array([[1.0, 0.5, 0.0]]), np.array([2, 4, 0])
    outcomes = clusters.weighed(shares, counted)
    assert outcomes.mean() == pytest.approx(4 / 6)
    assert clusters.ceiling(counted) == 2.0
    verdict = doubt.at_least(outcomes[:, 0], 0.5, 1, most=2.0)
    assert verdict.reason.startswith("0.667 ")


def test_units_that_all_say_the_same_count_as_samples_do() -> None:
    ones, counted = np.ones(10), np.full(10, 100)
    assert clusters.design_effect(ones, counted) is None
    assert clusters.interval(ones, counted) == doubt.wilson(1.0, 10)


def test_independent_units_have_a_design_effect_of_one() -> None:
    rng = np.random.default_rng(2)
    counted = np.full(2000, 20)
    outcomes = rng.binomial(counted, 0.3) / counted
    assert clusters.design_effect(outcomes, counted) == pytest.approx(1, abs=0.1)
    low, high = clusters.interval(outcomes, counted)
    assert high - low == pytest.approx(np.subtract(*doubt.wilson(0.3, 40_000)[::-1]), rel=0.1)
