"""Gaps between groups: against loops, a formula written out, and promises simulated."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_multiplicity.statistics import gaps

counts = st.lists(
    st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    min_size=2,
    max_size=5,
)


def wilson(x, n, z):
    p = x / n
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return tuple((p + z * z / (2 * n) + sign * half) / (1 + z * z / n) for sign in (-1, 1))


@given(counts, st.sampled_from([0.8, 0.95, 0.9999]))
def test_interval_of_a_gap_is_newcombes_pair_by_pair(groups, confidence):
    hits, sizes = (np.array(each) for each in zip(*groups, strict=True))
    pairs = list(combinations(range(len(groups)), 2))
    z = stats.norm.isf((1 - confidence) / len(pairs) / 2)
    lows, highs = [0.0], []
    for pair in pairs:
        for i, j in (pair, pair[::-1]):
            (p, n), (q, m) = groups[i], groups[j]
            (l1, u1), (l2, u2) = wilson(p, n, z), wilson(q, m, z)
            d = p / n - q / m
            lows.append(d - math.hypot(p / n - l1, u2 - q / m))
            highs.append(d + math.hypot(u1 - p / n, q / m - l2))
    low, high = gaps.interval(hits, sizes, confidence, ratio=False)
    point = max(p / n for p, n in groups) - min(p / n for p, n in groups)
    assert float(low) == pytest.approx(min(max(lows), point), abs=1e-9)
    assert float(high) == pytest.approx(max(*highs, point), abs=1e-9)
    assert low <= gaps.extent(hits / sizes, ratio=False) <= high


@given(counts)
def test_interval_of_a_ratio_holds_it(groups):
    hits, sizes = (np.array(each) for each in zip(*groups, strict=True))
    if not hits.any():
        assert np.isnan(gaps.extent(hits / sizes, ratio=True))
        return
    low, high = gaps.interval(hits, sizes, 0.95, ratio=True)
    assert 0 <= low <= gaps.extent(hits / sizes, ratio=True) <= high <= 1
    wider = gaps.interval(hits, sizes, 0.99, ratio=True)
    assert wider[0] <= low
    assert high <= wider[1]


def labelled(seed=0, n=240):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 3, n)
    classes = (rng.random(n) < 0.3 + 0.2 * groups).astype(np.int64)
    return groups, classes, rng.random(n) < np.where(classes == 1, 0.6, 0.9)


def test_floor_is_that_of_labels_permuted_within_classes():
    groups, classes, right = labelled()
    rng = np.random.default_rng(1)
    drawn = []
    for _ in range(1500):
        mixed = groups.copy()
        for each in (0, 1):
            rows = np.flatnonzero(classes == each)
            mixed[rows] = groups[rng.permutation(rows)]
        drawn.append(np.ptp([right[mixed == g].mean() for g in range(3)]))
    chance = gaps.permuted(right, groups, classes, ratio=False)
    assert chance.mean() == pytest.approx(np.mean(drawn), rel=0.05)
    assert np.quantile(chance, 0.95) == pytest.approx(np.quantile(drawn, 0.95), rel=0.08)


def every_gap(hits, groups, strata):
    """The gap under every way to label samples within their strata, as often as it occurs."""
    labelled = [groups]
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        ones = [list(each) for each in combinations(rows, int(groups[rows].sum()))]
        labelled = [_relabelled(each, rows, some) for each in labelled for some in ones]
    return [abs(hits[each == 0].mean() - hits[each == 1].mean()) for each in labelled]


def _relabelled(groups, rows, ones):
    found = groups.copy()
    found[rows], found[ones] = 0, 1
    return found


@pytest.mark.parametrize(
    ("sizes", "wrong", "by_class", "one_value"),
    [
        ((6, 6), [0], False, True),  # one miss, in one group or the other: a gap of 1/6
        ((5, 7), [0], False, False),
        ((6, 6), [0, 7], False, False),
        ((5, 7), [0, 3, 8], True, False),
    ],
)
def test_floor_is_that_of_every_way_to_label(sizes, wrong, by_class, one_value):
    groups = np.repeat([0, 1], sizes)
    strata = np.arange(len(groups)) % 2 if by_class else np.zeros(len(groups), dtype=int)
    hits = np.ones(len(groups), dtype=bool)
    hits[wrong] = False
    every = every_gap(hits, groups, strata)
    floor = gaps.floor(0.5, gaps.permuted(hits, groups, strata, ratio=False), ratio=False)
    assert floor.mean == pytest.approx(np.mean(every), abs=0.01)
    assert floor.level_95 == pytest.approx(np.quantile(every, 0.95))
    assert (floor.mean == pytest.approx(floor.level_95)) is one_value


def test_floor_of_values_permutes_all_labels():
    groups, _, _ = labelled()
    values = np.random.default_rng(2).normal(size=len(groups))

    def means(labels):
        return np.array([values[labels == g].mean() for g in range(3)])

    chance = gaps.shuffled(means, groups, draws=400, ratio=False)
    spread = gaps.floor(float(np.ptp(means(groups))), chance, ratio=False)
    assert 0 < spread.mean < spread.level_95
    assert spread.p_value > 0.01


def test_noise_of_a_sheet_is_that_of_outcomes_exchanged_between_candidates():
    groups, _, right = labelled()
    rng = np.random.default_rng(3)
    outcomes = np.stack([right ^ (rng.random(len(right)) < 0.1) for _ in range(5)], axis=1)

    def extents(x):
        return [np.ptp([x[groups == g, k].mean() for g in range(3)]) for k in range(5)]

    drawn = [np.ptp(extents(rng.permuted(outcomes, axis=1))) for _ in range(1000)]
    noise = gaps.noise(outcomes, groups, ratio=False)
    assert noise.floor == pytest.approx(np.mean(drawn), rel=0.08)
    assert noise.level_95 == pytest.approx(np.quantile(drawn, 0.95), rel=0.12)
    observed = np.ptp(extents(outcomes))
    assert noise.p_value == pytest.approx(np.mean(np.array(drawn) >= observed), abs=0.08)


def test_bootstrap_of_values_covers_the_gap_of_their_means():
    rng, covered = np.random.default_rng(4), 0
    groups = np.repeat([0, 1], [60, 90])
    for _ in range(60):
        values = rng.normal(size=150) + 0.5 * groups
        drawn = np.array(
            [[values[r].mean() for r in rows] for rows in gaps.resampled(groups, 400, seed=1)]
        )
        rates = np.array([values[groups == g].mean() for g in (0, 1)])
        low, high = gaps.interval_of_resamples(drawn, rates, 0.95, ratio=False)
        assert low <= np.ptp(rates) <= high
        covered += low <= 0.5 <= high
    assert covered >= 52


def test_promises_hold(benchmark_module):
    promises = benchmark_module("promises")
    for sizes in ((20, 20), (20, 200), (100, 100, 100)):
        for gap in (0.0, 0.1):
            covered, inside = promises.coverage_of_gap(sizes, gap, 4000)
            assert covered >= 0.935
            assert inside
    assert promises.rejected_without_gap((20, 200), (0.8, 0.3), 300) <= 0.08
