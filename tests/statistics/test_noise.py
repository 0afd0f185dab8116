from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pytest_multiplicity.errors import ScoresError
from pytest_multiplicity.statistics import noise as noise_module
from pytest_multiplicity.statistics.noise import (
    floor_at_most,
    mean_range_of_normals,
    noise,
    noise_of_metric,
    real_share,
)

BINARY = arrays(bool, st.tuples(st.integers(2, 12), st.integers(2, 6)))


def all_permuted_ranges(outcomes):
    """Every way to permute each row: (K!)^n ranges of the column means."""
    rows = [list(itertools.permutations(row)) for row in outcomes.tolist()]
    ranges = []
    for choice in itertools.product(*rows):
        means = [sum(column) / len(choice) for column in zip(*choice, strict=True)]
        ranges.append(max(means) - min(means))
    return ranges


def cochran_q(outcomes):
    """The textbook's formula, for zeros and ones."""
    k = outcomes.shape[1]
    columns, rows = outcomes.sum(axis=0).tolist(), outcomes.sum(axis=1).tolist()
    mean = sum(columns) / k
    above = k * (k - 1) * sum((c - mean) ** 2 for c in columns)
    below = k * sum(rows) - sum(r * r for r in rows)
    return above / below if below else None


def equally_good(samples, count, *, share=0.7, level=1.3, seed=0):
    """Correctness of equally good candidates that err on the same hard samples."""
    rng = np.random.default_rng(seed)
    difficulty = rng.standard_normal((samples, 1))
    own = rng.standard_normal((samples, count))
    return share**0.5 * difficulty + (1 - share) ** 0.5 * own + level > 0


@pytest.mark.parametrize("dtype", [bool, np.int64, np.float32])
def test_floor_and_p_value_against_all_permutations(dtype):
    outcomes = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0]], dtype=dtype)
    ranges = all_permuted_ranges(outcomes)
    found = noise(outcomes, permutations=20_000)
    assert found.floor == pytest.approx(sum(ranges) / len(ranges), abs=0.01)
    assert found.p_value >= sum(0.5 * (r > 0.999) for r in ranges) / len(ranges) - 0.01


def test_real_values_against_all_permutations():
    outcomes = np.array([[0.9, 0.2, 0.1], [0.5, 0.7, 0.7], [0.1, 0.3, 0.8]])
    ranges = all_permuted_ranges(outcomes)
    found = noise(outcomes, permutations=20_000)
    assert found.floor == pytest.approx(sum(ranges) / len(ranges), abs=0.005)
    assert found.level_95 == pytest.approx(np.quantile(ranges, 0.95), abs=0.01)


@given(BINARY)
@settings(deadline=None, max_examples=50)
def test_the_real_share_is_cochrans(outcomes):
    q = cochran_q(outcomes)
    expected = 0.0 if not q else max(0.0, 1 - (outcomes.shape[1] - 1) / q)
    assert noise(outcomes, permutations=2).real_share == pytest.approx(expected, abs=1e-9)


@given(arrays(np.float64, (6, 4), elements=st.floats(0, 1)), st.permutations(range(4)))
@settings(deadline=None, max_examples=50)
def test_the_order_of_candidates_does_not_matter(outcomes, order):
    first, second = (
        real_share(outcomes, np.zeros(4, int)),
        real_share(outcomes[:, order], np.zeros(4, int)),
    )
    assert first == pytest.approx(second, abs=1e-6)


@given(BINARY)
@settings(deadline=None, max_examples=50)
def test_noise_lies_in_its_bounds(outcomes):
    found = noise(outcomes, permutations=20)
    assert 0 <= found.floor <= found.level_95 or found.floor <= 1
    assert 0 < found.p_value <= 1
    assert 0 <= found.real_share < 1


def test_the_same_model_twice_is_no_noise():
    same = np.tile(np.random.default_rng(0).random((50, 1)), (1, 4))
    found = noise(same)
    assert (found.floor, found.level_95, found.p_value, found.real_share) == (0, 0, 1, 0)


def test_a_planted_spread_is_found():
    outcomes = equally_good(2000, 10)
    assert noise(outcomes).within_noise
    outcomes[: 2000 // 8, 0] = False
    found = noise(outcomes)
    assert not found.within_noise
    assert found.real_share > 0.8


def test_one_odd_candidate_among_clones_is_not_called_real():
    """The permutation test alone is liberal here: the Gaussian one holds the level."""
    rng = np.random.default_rng(5)
    clones = np.tile(rng.random((60, 1)) < 0.8, (1, 34))
    odd = rng.random((60, 1)) < 0.8
    outcomes = np.hstack([clones, odd])
    centred = outcomes - outcomes.mean(axis=1, keepdims=True)
    centred -= centred.mean(axis=0)
    draws = rng.multivariate_normal(
        np.zeros(35), centred.T @ centred / 60**2, size=20_000, method="eigh"
    )
    p_gauss = (np.ptp(draws, axis=1) > np.ptp(outcomes.mean(axis=0))).mean()
    assert noise(outcomes).p_value >= p_gauss - 0.02


def test_the_same_seed_gives_the_same_noise_and_global_state_is_left():
    outcomes = equally_good(200, 5)
    before = np.random.get_state()[1].tolist()  # noqa: NPY002 (the global state is the point)
    assert noise(outcomes, seed=3) == noise(outcomes, seed=3)
    assert noise(outcomes, seed=3) != noise(outcomes, seed=4)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_memory_is_bounded_by_chunks(monkeypatch):
    outcomes = equally_good(300, 5).astype(float) * 0.9
    whole = real_share(outcomes, np.zeros(5, int))
    monkeypatch.setattr(noise_module, "CHUNK", 70)
    seen = [part.size for part in noise_module._row_chunks(outcomes)]
    assert max(seen) <= 70
    assert sum(seen) == outcomes.size
    assert real_share(outcomes, np.zeros(5, int)) == pytest.approx(whole, abs=1e-9)
    assert noise(outcomes, permutations=50).floor > 0


def test_real_share_within_groups_pools_sums_of_squares():
    outcomes = equally_good(300, 4)
    outcomes[:60, 2:] = False  # the second group is worse: not within groups
    groups = np.array([7, 7, 3, 3])
    between = within = 0.0
    for members in ([0, 1], [2, 3]):
        part = outcomes[:, members]
        means = part.mean(axis=0)
        between += float(((means - means.mean()) ** 2).sum())
        rows = part - part.mean(axis=1, keepdims=True)
        within += float((rows**2).sum()) / 300**2
    expected = max(0.0, 1 - within / between)
    assert real_share(outcomes, groups) == pytest.approx(expected, abs=1e-9)
    assert real_share(outcomes, np.zeros(4, int)) > 0.9


# real-valued metrics


def brier(outputs, targets):
    return float(np.mean((1 - outputs[np.arange(len(targets)), targets]) ** 2))


def test_noise_of_a_metric_that_is_a_mean_is_the_noise_of_its_values():
    rng = np.random.default_rng(1)
    outputs, targets = rng.dirichlet(np.ones(3), (5, 80)), rng.integers(0, 3, 80)
    values = (1 - outputs[:, np.arange(80), targets]).T ** 2
    as_metric = noise_of_metric(brier, outputs, targets, permutations=400)
    as_mean = noise(values, permutations=400)
    assert as_metric.floor == pytest.approx(as_mean.floor, rel=0.05)
    assert as_metric.level_95 == pytest.approx(as_mean.level_95, rel=0.1)
    assert as_metric.real_share == pytest.approx(as_mean.real_share, abs=0.1)


def test_noise_of_a_metric_counts_its_evaluations():
    calls = []

    def counted(outputs, targets):
        calls.append(outputs.shape)
        return brier(outputs, targets)

    outputs = np.full((3, 10, 2), 0.5)
    noise_of_metric(counted, outputs, np.zeros(10, dtype=int), permutations=7)
    assert calls == [(10, 2)] * (3 + 3 * 7)


def test_a_planted_calibration_error_is_found():
    rng = np.random.default_rng(2)
    outputs = np.repeat(rng.dirichlet(np.ones(3), (1, 300)), 4, axis=0)
    targets = np.array([rng.choice(3, p=p) for p in outputs[0]])
    outputs[0] = outputs[0] ** 16 / (outputs[0] ** 16).sum(axis=1, keepdims=True)
    assert noise_of_metric(brier, outputs, targets, permutations=100).p_value < 0.02


# recorded scores


def test_mean_range_of_normals_is_tippetts():
    # Tippett (1925), Biometrika 17, table X; 10,000: by simulation of the extremes
    known = {2: 1.12838, 5: 2.32593, 10: 3.07751, 20: 3.73495, 100: 5.01519, 1000: 6.48287}
    for count, expected in known.items():
        assert mean_range_of_normals(count) == pytest.approx(expected, abs=1e-4)
    assert mean_range_of_normals(10_000) == pytest.approx(7.7, abs=0.02)
    assert mean_range_of_normals(1) == pytest.approx(0)


def test_the_papers_groups_differ_in_size_not_in_multiplicity():
    """Noise alone would make the fairness delta 3.1 times the accuracy delta (it is 2.9)."""
    ratio = floor_at_most(0.888, 709, 45) / floor_at_most(0.925, 4742, 45)
    assert ratio == pytest.approx(3.1, abs=0.05)


def test_the_floor_from_n_is_an_upper_bound():
    outcomes = equally_good(1000, 20)
    assert noise(outcomes).floor <= floor_at_most(float(outcomes.mean()), 1000, 20)
    independent = equally_good(1000, 20, share=0)
    bound = floor_at_most(float(independent.mean()), 1000, 20)
    assert noise(independent).floor == pytest.approx(bound, rel=0.03)


# bad input


@pytest.mark.parametrize(
    ("outcomes", "message"),
    [
        (np.zeros((5, 1)), r"shape \(5, 1\)"),
        (np.zeros((0, 3)), r"shape \(0, 3\)"),
        (np.zeros(4), r"shape \(4,\)"),
        (np.array([[0.0, 2.0]]), "from 0 to 2"),
        (np.array([[-0.5, 1.0]]), "from -0.5 to 1"),
        (np.array([[math.nan, 1.0]]), "nan"),
    ],
)
def test_outcomes_that_are_none(outcomes, message):
    with pytest.raises(ScoresError, match=message):
        noise(outcomes)


def test_bad_bounds_and_metrics():
    with pytest.raises(ScoresError, match=r"score 88\.8"):
        floor_at_most(88.8, 709, 45)
    with pytest.raises(ScoresError, match="n=0"):
        floor_at_most(0.9, 0, 45)
    with pytest.raises(ScoresError, match="two or more"):
        noise_of_metric(brier, np.zeros((1, 5, 2)), np.zeros(5, dtype=int))
