from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_multiplicity.errors import ScoresError
from pytest_multiplicity.statistics.chance import expected_ambiguity, expected_range

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=7)


def predictions_of(candidates, samples, classes=3):
    rng = np.random.default_rng(candidates * 100 + samples)
    return rng.integers(0, classes, (candidates, samples))


@given(SCORES, st.data())
def test_expected_range_is_the_mean_over_all_subsets(scores, data):
    m = data.draw(st.integers(1, len(scores)))
    subsets = list(itertools.combinations(scores, m))
    found = expected_range(scores, m)
    assert found.high == pytest.approx(sum(map(max, subsets)) / len(subsets), abs=1e-9)
    assert found.low == pytest.approx(sum(map(min, subsets)) / len(subsets), abs=1e-9)
    assert found.width == found.high - found.low


@pytest.mark.parametrize("m", [1, 2, 5])
def test_expected_ambiguity_is_the_mean_over_all_subsets(m):
    predictions = predictions_of(5, 40)
    ambiguities = []
    for subset in itertools.combinations(range(5), m):
        differing = [len({predictions[j, i] for j in subset}) > 1 for i in range(40)]
        ambiguities.append(sum(differing) / 40)
    expected = sum(ambiguities) / len(ambiguities)
    assert expected_ambiguity(predictions, m) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("m", [1, 2, 137, 9_999, 10_000])
def test_ten_thousand_candidates(m):
    scores = np.linspace(0, 1, 10_000)
    # the mean maximum of m out of 1..K is m (K + 1) / (m + 1)
    expected = (Fraction(m * 10_001, m + 1) - 1) / 9_999
    assert expected_range(scores, m).high == pytest.approx(float(expected), abs=1e-9)
    votes = np.zeros((10_000, 1), dtype=int)
    votes[:10] = 1
    unanimous = Fraction(math.comb(9_990, m) + math.comb(10, m), math.comb(10_000, m))
    assert expected_ambiguity(votes, m) == pytest.approx(float(1 - unanimous), abs=1e-9)


@given(SCORES)
def test_everybody_spreads_as_much_as_everybody(scores):
    assert expected_range(scores, len(scores)).width == pytest.approx(max(scores) - min(scores))
    assert expected_range(scores, 1).width == pytest.approx(0, abs=1e-12)


@given(SCORES)
def test_more_candidates_spread_more(scores):
    widths = [expected_range(scores, m).width for m in range(1, len(scores) + 1)]
    assert all(b >= a - 1e-12 for a, b in itertools.pairwise(widths))


def test_candidates_without_a_score_are_left_out():
    assert expected_range([0.1, np.nan, 0.3], 2).width == pytest.approx(0.2)


def test_the_papers_numbers(paper_scores):
    """What 19 random models of the 45 would show: STATISTICS on the published scores."""
    for metric, expected in (("pgd_0.01", 12.12), ("group_age_59_116", 3.12)):
        assert expected_range(paper_scores[metric], 19).width == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("m", [0, 4, -1])
def test_sizes_that_do_not_exist(m):
    with pytest.raises(ScoresError, match=f"m={m} of 3 candidates: ask for 1 to 3"):
        expected_range([0.1, 0.2, 0.3], m)
    with pytest.raises(ScoresError, match=f"m={m} of 3 candidates"):
        expected_ambiguity(predictions_of(3, 4), m)


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        (np.zeros((3, 4)), "float64: give classes as integers"),
        (np.zeros(3, dtype=int), r"shape \(3,\)"),
        (np.zeros((3, 0), dtype=int), "one or more"),
        (np.full((2, 2), -1), "class -1"),
    ],
)
def test_predictions_that_are_none(predictions, message):
    with pytest.raises(ScoresError, match=message):
        expected_ambiguity(predictions, 1)
