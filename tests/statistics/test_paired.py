"""Two models on the same samples: intervals against other code, and promises simulated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.statistics import doubt, paired


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_clopper_pearson_is_scipys(counts):
    hits, n = counts
    exact = stats.binomtest(hits, n).proportion_ci(0.95, method="exact")
    assert paired.clopper_pearson(hits, n, 0.95) == pytest.approx((exact.low, exact.high), abs=1e-9)


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_a_sign_test(better, worse):
    known = stats.binomtest(better, better + worse).pvalue if better + worse else 1.0
    assert paired.mcnemar(better, worse) == pytest.approx(known)


def likeliest(b, c, n, d):
    """The likeliest share behind c under a difference d, by searching for it."""
    low, high = max(0.0, -d), (1 - d) / 2

    def minus(q):
        p = q + d
        terms = [(b, p), (c, q), (n - b - c, 1 - p - q)]
        return -sum(k * np.log(max(x, 1e-300)) for k, x in terms if k)

    return optimize.minimize_scalar(
        minus, bounds=(low, high), method="bounded", options={"xatol": 1e-12}
    ).x


@pytest.mark.parametrize(("b", "c", "n"), [(10, 20, 100), (1, 0, 44), (0, 7, 60), (9, 9, 400)])
def test_tangos_interval_is_where_his_score_says_neither(b, c, n):
    for end, z in zip(paired.tango_interval(b, c, n, 0.95), (1.959964, -1.959964), strict=True):
        q = likeliest(b, c, n, end)
        score = (b - c - n * end) / np.sqrt(n * (2 * q + end * (1 - end)))
        assert score == pytest.approx(z, abs=2e-3)
    low, high = paired.tango_interval(b, c, n, 0.95)
    assert low < (b - c) / n < high
    swapped = paired.tango_interval(c, b, n, 0.95)
    assert swapped == pytest.approx((-high, -low))


def test_nothing_changed_is_no_certainty():
    low, high = paired.tango_interval(0, 0, 100, 0.95)
    assert low == pytest.approx(-high)
    assert 0.02 < high < 0.05


def test_flips_between_reruns_are_those_of_all_ordered_pairs():
    right = np.random.default_rng(0).random((5, 40)) < 0.8
    pairs = [right[i] & ~right[j] for i in range(5) for j in range(5) if i != j]
    assert paired.flips_between(right) == pytest.approx(np.mean(pairs, axis=0))


def test_trust_and_flips_per_error():
    assert paired.backward_trust(90, 10) == 0.9
    assert paired.flips_per_error(3, 9) == 0.25
    assert paired.flips_per_error(0, 0) == 0.0
    with pytest.raises(MeasurementError, match="right about no sample"):
        paired.backward_trust(0, 0)


def test_not_worse_holds_only_where_it_is_shown():
    rng = np.random.default_rng(1)
    old = rng.random(4000) < 0.9
    better = old | (rng.random(4000) < 0.3)
    assert doubt.not_worse(np.column_stack([better, old]), 0.0, 10, "it").decision.value == "keep"
    same = doubt.not_worse(np.column_stack([old, old]), 0.0, 10, "it")
    assert same.decision.value == "reject"
    close = old ^ (rng.random(4000) < 0.02)
    verdict = doubt.not_worse(np.column_stack([close[:100], old[:100]]), 0.03, 10, "it")
    assert verdict.decision.value == "reject"
    assert "not shown to be at most 0.03 worse" in verdict.reason


def test_not_worse_says_scores_and_distances_as_they_are_where_samples_count_differently():
    rng = np.random.default_rng(0)
    old = rng.uniform(0, 1.6, 400)
    pair = np.column_stack([np.clip(old + rng.normal(0, 0.1, 400), 0, 2), old])
    for by, decision in ((0.1, "keep"), (0.0, "reject")):
        verdict = doubt.not_worse(pair, by, 10, "it", most=2.0)
        assert verdict.decision.value == decision
        assert verdict.decision is doubt.not_worse(pair / 2, by / 2, 10, "it").decision
        assert f"{pair[:, 0].mean():.3f} [" in verdict.reason
        assert f"{pair[:, 0].mean() - old.mean():+.3f} against it" in verdict.reason
        assert f"at most {by:g} worse" in verdict.reason


def test_promises_hold(benchmark_module):
    promises = benchmark_module("promises")
    for samples, rate in ((52, 0.02), (500, 0.02), (1000, 0.1)):
        assert promises.coverage_of_flips(samples, rate, 4000) >= 0.95 - 0.01
    assert promises.wrong_not_worse(500, 0.02, 20, 100) <= 0.05 + 0.03
