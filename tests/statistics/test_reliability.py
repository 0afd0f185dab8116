from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.reliable import auto, decided, wrong, wrong_by_rounds, wrong_in_mixed
from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.statistics import Decision, reliability

SEEDS = st.lists(st.booleans(), max_size=30)


def won(passed, share, bets):
    """What a gambler has who bet on every seed in turn, her capital spread over bets."""
    return sum(math.prod(1 + bet * (x - share) for x in passed) for bet in bets) / len(bets)


@given(SEEDS, st.sampled_from([0.1, 0.5, 0.8, 0.95]))
def test_capital_is_that_of_a_gambler_who_bets_seed_by_seed(passed, share):
    places = [k / 21 for k in range(1, 21)]
    high = [(1 - (1 - place) ** 2) / share for place in places]
    low = [place / (1 - share) for place in places]
    right, wrong_ = sum(passed), len(passed) - sum(passed)
    assert reliability.capital(right, wrong_, share) == pytest.approx(won(passed, share, high))
    against = won([1 - x for x in passed], 1 - share, low)
    assert reliability.capital_below(right, wrong_, share) == pytest.approx(against)


def test_few_of_a_thousand_families_at_the_border_are_decided():
    for at_least, count in ((0.8, 1), (0.5, 1), (0.8, 3)):
        assert sum(wrong(at_least, count, 1000, 40)) <= 0.05


def test_rounds_of_seeds_tell_few_of_two_hundred_families_wrong():
    assert wrong_by_rounds(0.8, 3, 200, 30) <= 0.05
    assert wrong_by_rounds(0.5, 1, 200, 30) <= 0.05
    mistaken, spent = wrong_in_mixed(0.5, 100, 20)
    assert mistaken <= 0.05
    assert spent < 0.9 * 20 * 9


@given(st.lists(st.one_of(st.none(), SEEDS), min_size=1, max_size=4), st.sampled_from([0.5, 0.8]))
def test_a_round_goes_to_the_undecided_and_wastes_none(counted, at_least):
    places, more = reliability.next_round(counted, at_least, 12)

    def decides(passed, further):
        found = reliability.trust([*passed, *further], at_least, len(counted)).decision
        return found is not Decision.UNDECIDED

    for place, passed in enumerate(counted):
        if place not in places:
            hopeless = passed is not None and not any(
                decides(passed, [good] * 12) for good in (True, False)
            )
            assert passed is None or decides(passed, []) or hopeless
            continue
        assert passed is not None
        assert not decides(passed, [])
        assert not any(decides(passed, [good] * (more - 1)) for good in (True, False))
    assert not places or any(
        decides(counted[place] or [], [good] * more) for place in places for good in (True, False)
    )


def test_a_family_is_told_in_as_many_rounds_as_its_slowest_needs():
    told = auto([1.0, 0.0], 0.5, 3, 20, np.random.default_rng(0))
    assert [each.decision for each in told] == [Decision.KEEP, Decision.REJECT]
    assert [each.seeds for each in told] == [8, 9]


@pytest.mark.parametrize(
    ("share", "at_least", "configurations", "seeds"),
    [
        (1, 0.8, 1, 21),
        (1, 0.8, 7, 30),
        (1, 0.5, 1, 7),
        (1, 0.5, 7, 10),
        (0, 0.8, 1, 4),
        (0, 0.8, 7, 5),
        (0, 0.5, 1, 8),
    ],
)
def test_it_is_decided_after_so_many_seeds(share, at_least, configurations, seeds):
    (found,) = decided(share, at_least, configurations, 1, 60)
    assert (found.decision is Decision.KEEP, found.seeds) == (share == 1, seeds)
    assert reliability.fewest([share == 1] * (seeds - 2), at_least, configurations, 40) == 2
    if share:
        assert reliability.fewest([True] * 4, at_least, configurations, seeds) is not None


def test_what_is_decided_stays_decided():
    first = [True] * 21
    later = reliability.trust([*first, *[False] * 40], 0.8, 1)
    assert later == reliability.trust(first, 0.8, 1)
    assert later.decision is Decision.KEEP


def test_where_too_few_seeds_are_left_none_is_needed():
    assert reliability.fewest([True, False] * 5, 0.8, 7, 4) is None


def test_the_interval_for_every_moment_covers_whenever_one_stops():
    rng, missed = np.random.default_rng(0), 0
    for _ in range(60):
        share = rng.choice([0.5, 0.8, 0.95])
        passed = (rng.random(25) < share).tolist()
        low, high = reliability.anytime_interval(passed)
        missed += not low <= share <= high
    assert missed <= 6
    assert reliability.anytime_interval([]) == (0, 1)


def test_enough_is_the_chance_that_all_seeds_missed_the_top():
    rng = np.random.default_rng(0)
    for count, share in ((10, 0.26), (30, 0.10), (60, 0.05)):
        assert reliability.beaten(count) == pytest.approx(share, abs=0.005)
        # the best of n uniform scores leaves 1 - max above it
        above = 1 - rng.random((4000, count)).max(axis=1)
        assert (above > reliability.beaten(count)).mean() == pytest.approx(0.05, abs=0.015)
    looked = [reliability.beaten(n, anytime=True) for n in (10, 30, 60)]
    assert looked == pytest.approx([0.54, 0.28, 0.17], abs=0.005)


@pytest.mark.parametrize("share", [0, 1, -0.1, 80, math.nan, "most"])
def test_a_share_lies_between_none_and_all(share):
    with pytest.raises(MeasurementError, match="give a share between 0 and 1"):
        reliability.trust([True], share, 1)
