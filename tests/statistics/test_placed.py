from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_multiplicity.statistics import placed
from pytest_multiplicity.statistics.noise import noise
from pytest_multiplicity.statistics.placed import columns_of_counts, permuted_sums, placed_sums


def exact(ones, columns):
    """Return how likely each vector of column sums is: all choices of columns, enumerated."""
    rows = [
        [tuple(int(k in chosen) for k in range(columns)) for chosen in choices]
        for choices in (itertools.combinations(range(columns), each) for each in ones)
    ]
    found = Counter(
        tuple(map(sum, zip(*choice, strict=True))) for choice in itertools.product(*rows)
    )
    return {sums: count / found.total() for sums, count in found.items()}


def counted_sums(ones, columns, draws, rng):
    levels = np.bincount(ones, minlength=columns + 1)
    return np.stack([*columns_of_counts(levels, draws, rng)], axis=1)


def moved_sums(ones, columns, draws, rng):
    rows = np.arange(columns) < np.asarray(ones)[:, None]
    return np.stack([rng.permuted(rows, axis=1).sum(axis=0) for _ in range(draws)])


@pytest.mark.parametrize("ones", [[1], [2, 1], [3, 1, 2], [1, 1, 3], [2, 2, 2]])
@pytest.mark.parametrize("draw", [placed_sums, counted_sums])
def test_sums_are_as_likely_as_an_enumeration_says(draw, ones):
    drawn = draw(np.array(ones), 4, 20_000, np.random.default_rng(0))
    likely = exact(ones, 4)
    found = Counter(map(tuple, drawn.tolist()))
    assert found.keys() <= likely.keys()
    if len(likely) > 1:
        observed = [found[sums] for sums in likely]
        expected = [20_000 * share for share in likely.values()]
        assert stats.chisquare(observed, expected).pvalue > 0.001


@pytest.mark.parametrize(
    ("rows", "columns"), [(400, 6), (40, 40), (30, 300)], ids=["many rows", "square", "wide"]
)
def test_placing_counting_and_moving_agree(rows, columns):
    rng = np.random.default_rng(1)
    ones = rng.binomial(columns, rng.beta(4, 1, rows))  # dense rows, and a few with hardly a one
    ways = [way(ones, columns, 2000, rng) for way in (placed_sums, counted_sums, moved_sums)]
    for of in (np.ptp, np.max, np.std):
        ours, *others = ([of(each) for each in way] for way in ways)
        for other in others:
            assert stats.ks_2samp(ours, other).pvalue > 0.001
    assert all((way.sum(axis=1) == ones.sum()).all() for way in ways)


def test_a_row_is_independent_of_another():
    """Two rows of two ones each in four columns fall on the same columns once in six times."""
    drawn = placed_sums(np.array([2, 2]), 4, 30_000, np.random.default_rng(2))
    alike = (np.sort(drawn, axis=1) == [0, 0, 2, 2]).all(axis=1).mean()
    assert alike == pytest.approx(1 / 6, abs=0.01)


@given(st.lists(st.integers(0, 17), max_size=20))
@settings(deadline=None, max_examples=50)
def test_each_row_gets_its_ones(ones):
    ones = np.array(ones, dtype=np.int64)
    drawn = placed_sums(ones, 17, 5, np.random.default_rng(0))
    assert drawn.shape == (5, 17)
    assert (drawn.sum(axis=1) == ones.sum()).all()
    assert drawn.min() >= (ones == 17).sum()
    assert drawn.max() <= (ones > 0).sum()


@pytest.mark.parametrize("at_once", [1, 1 << 30])
def test_sums_of_more_rows_and_columns_than_a_byte_counts(monkeypatch, at_once):
    monkeypatch.setattr(placed, "_AT_ONCE", at_once)
    ones = np.full(600, 2050)
    drawn = placed_sums(ones, 2051, 2, np.random.default_rng(0))
    assert (drawn.sum(axis=1) == ones.sum()).all()
    assert drawn.max() > 595


@pytest.mark.parametrize("columns", [2, 30, 300])
def test_no_value_is_moved_for_zeros_and_ones(monkeypatch, columns):
    """Places take work for the ones that are missing, counts for the levels: neither moves."""
    moved = []
    monkeypatch.setattr(
        "pytest_multiplicity.statistics.noise._moved_sums", lambda *given: moved.append(given)
    )
    outcomes = np.random.default_rng(0).random((50, columns)) < 0.9
    assert noise(outcomes, permutations=20).floor > 0
    assert not moved


def test_few_rows_of_many_columns_are_placed():
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    few = permuted_sums(np.full(100, 500), 1000, 2, rng)
    rng.bit_generator.state = before
    assert (few == placed_sums(np.full(100, 500), 1000, 2, rng)).all()
    rng.bit_generator.state = before
    many = permuted_sums(np.full(100, 5), 10, 2, rng)
    rng.bit_generator.state = before
    assert (many == counted_sums(np.full(100, 5), 10, 2, rng)).all()
