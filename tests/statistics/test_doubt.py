from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import optimize, stats

from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.statistics import doubt
from pytest_multiplicity.statistics.doubt import Decision, at_least, at_most, in_top, wilson, within
from pytest_multiplicity.statistics.pairs import Pairs

KEEP, REJECT, UNDECIDED = Decision.KEEP, Decision.REJECT, Decision.UNDECIDED
MATRICES = arrays(bool, st.tuples(st.integers(1, 40), st.integers(2, 5)))


def right_of(right, samples):
    return np.arange(samples) < right


def normal_upper(level):
    """The upper quantile of the standard normal, by bisection of the error function."""
    return optimize.brentq(lambda z: 0.5 * math.erfc(z / math.sqrt(2)) - level, -10, 10, xtol=1e-13)


# thresholds


def tail(right, samples, p, *, upper):
    rights = range(right, samples + 1) if upper else range(right + 1)
    return sum(math.comb(samples, r) * p**r * (1 - p) ** (samples - r) for r in rights)


@given(st.integers(0, 60), st.sampled_from([0.1, 0.5, 0.8, 0.97]), st.sampled_from([1, 7, 50]))
def test_thresholds_are_the_exact_binomial(right, threshold, candidates):
    level = 0.05 / candidates
    found = at_least(right_of(right, 60), threshold, candidates).decision
    mirrored = at_most(right_of(right, 60), threshold, candidates).decision
    if tail(right, 60, threshold, upper=True) <= level:
        assert (found, mirrored) == (KEEP, REJECT)
    elif tail(right, 60, threshold, upper=False) <= level:
        assert (found, mirrored) == (REJECT, KEEP)
    else:
        assert (found, mirrored) == (UNDECIDED, UNDECIDED)


def test_the_reason_reads_as_promised():
    verdict = at_least(right_of(round(0.897 * 2272), 2272), 0.9, 1)
    assert verdict.reason == "0.897 [0.884, 0.909] of 2,272: about 63,000 samples would decide"
    assert verdict.samples == 63_000
    assert at_least(right_of(95, 100), 0.5, 1).reason.endswith("of 100: above 0.5 beyond doubt")
    assert at_least(right_of(5, 100), 0.5, 1).reason.endswith("of 100: below 0.5 beyond doubt")


def test_samples_needed_are_those_of_the_formula():
    p, t, z = 0.9, 0.92, normal_upper(0.05 / 10)
    spread = z * math.sqrt(t * (1 - t)) + normal_upper(0.2) * math.sqrt(p * (1 - p))
    expected = (spread / (p - t)) ** 2
    found = at_least(right_of(900, 1000), 0.92, 10).samples
    assert found == pytest.approx(expected, rel=0.05)
    assert found > 1000


def test_as_many_samples_as_promised_decide_four_times_in_five():
    needed = at_least(right_of(180, 200), 0.93, 5).samples
    rng = np.random.default_rng(0)
    decisions = [at_least(rng.random(needed) < 0.9, 0.93, 5).decision for _ in range(300)]
    assert decisions.count(REJECT) / 300 == pytest.approx(0.8, abs=0.07)


def test_a_score_on_the_threshold_stays_undecided():
    verdict = at_least(right_of(9, 10), 0.9, 1)
    assert (verdict.decision, verdict.samples) == (UNDECIDED, None)
    assert "too close for any number of samples to decide" in verdict.reason


@pytest.mark.parametrize(
    ("right", "threshold", "least", "most"),
    [
        (0, 0.0, KEEP, UNDECIDED),
        (3, 0.0, KEEP, REJECT),
        (10, 1.0, UNDECIDED, KEEP),
        (9, 1.0, REJECT, KEEP),
        (5, -0.5, KEEP, REJECT),
        (5, 1.5, REJECT, KEEP),
    ],
)
def test_thresholds_at_the_ends(right, threshold, least, most):
    assert at_least(right_of(right, 10), threshold, 1).decision is least
    assert at_most(right_of(right, 10), threshold, 1).decision is most


def test_expected_correctness_is_judged_more_strictly():
    level = 0.05
    outcomes = np.full(100, 0.6)
    for threshold in np.linspace(0.4, 0.8, 41):
        found = at_least(outcomes, threshold, 1).decision
        above = tail(60, 100, threshold, upper=True) <= level / math.e
        below = tail(60, 100, threshold, upper=False) <= level / math.e
        assert found is (KEEP if above else REJECT if below else UNDECIDED)


# within


def tango(b, c, n, eps):
    """The score test from its definition: the likelihood is maximised numerically."""
    if n * eps == b - c:
        return 0.0

    def loss(q):  # c's probability; b's is q + eps
        rest = max(1 - 2 * q - eps, 1e-300)
        terms = ((b, q + eps), (c, q), (n - b - c, rest))
        return -sum(count * math.log(max(p, 1e-300)) for count, p in terms if count)

    top = (1 - eps) / 2
    q = optimize.minimize_scalar(loss, bounds=(0, top), options={"xatol": 1e-12}).x
    return (b - c - n * eps) / math.sqrt(n * (2 * q + eps - eps * eps))


def smoothed_wald(b, c, n, eps):
    b, c, n = b + 1, c + 1, n + 2
    d = (b - c) / n
    return (d - eps) / math.sqrt(((b + c) / n - d * d) / n)


def slow_z(better, other, eps):
    n = len(better)
    b = sum(bool(x) and not y for x, y in zip(better, other, strict=True))
    c = sum(bool(y) and not x for x, y in zip(better, other, strict=True))
    first, second = tango(b, c, n, eps), smoothed_wald(b, c, n, eps)
    if first * second <= 0:
        return 0.0
    return min(first, second, key=abs)


@given(MATRICES, st.sampled_from([0.0, 0.02, 0.1, 0.5]))
@settings(deadline=None, max_examples=60)
def test_pairs_are_tangos_score_and_the_smoothed_wald(outcomes, eps):
    pairs = Pairs.of(outcomes)
    z = pairs.z(eps)
    for i in range(outcomes.shape[1]):
        for j in range(outcomes.shape[1]):
            if i != j:
                expected = slow_z(outcomes[:, i], outcomes[:, j], eps)
                assert z[i, j] == pytest.approx(expected, abs=2e-4)


def planted(samples=1500, seed=1):
    """Five candidates at 0.97, 0.96, 0.94, 0.92 and 0.88 that err on the same samples."""
    rng = np.random.default_rng(seed)
    hard = rng.random((samples, 1))
    own = 0.01 * rng.standard_normal((samples, 5))
    return hard + own < np.array([0.97, 0.96, 0.94, 0.92, 0.88])


@pytest.mark.parametrize("eps", [0.0, 0.01, 0.04, 0.3])
def test_within_against_every_other_candidate(eps):
    outcomes = planted()
    count = outcomes.shape[1]
    for j, verdict in enumerate(within(outcomes, eps)):
        z = [slow_z(outcomes[:, i], outcomes[:, j], eps) for i in range(count) if i != j]
        reject = max(z) > normal_upper(0.05 / (count * (count - 1)))
        keep = max(z) < -normal_upper(0.05 / count)
        assert verdict.decision is (KEEP if keep else REJECT if reject else UNDECIDED)
        assert (verdict.samples is None) or verdict.decision is UNDECIDED


def test_within_says_how_many_samples_would_decide():
    outcomes = planted(300)
    verdict = within(outcomes, 0.03)[3]
    assert verdict.decision is UNDECIDED
    n, d = len(outcomes), outcomes[:, 0].mean() - outcomes[:, 3].mean()
    disagreement = (outcomes[:, 0] != outcomes[:, 3]).mean()
    z = normal_upper(0.05 / 20) + normal_upper(0.2)
    expected = (z / (d - 0.03)) ** 2 * (disagreement - d * d)
    assert verdict.samples == pytest.approx(max(n, expected), rel=0.05)


def test_within_of_equal_models_and_of_one():
    assert [v.decision for v in within(np.ones((5, 1)), 0.1)] == [KEEP]
    assert [v.decision for v in within(planted(20), 1.0)] == [KEEP] * 5
    same = np.tile(right_of(900, 1000)[:, None], (1, 3))
    assert {v.decision for v in within(same, 0.05)} == {KEEP}
    assert {v.decision for v in within(same, 0.0)} == {UNDECIDED}


def test_within_of_expected_correctness():
    values = planted() * 0.9 + 0.05
    n = len(values)
    z = Pairs.of(values).z(0.01)
    sums = values[:, 0] - values[:, 4]
    squares = float((sums**2).sum()) + 2
    mean = float(sums.sum()) / (n + 2)
    expected = (mean - 0.01) / math.sqrt((squares / (n + 2) - mean**2) / (n + 2))
    assert z[0, 4] == pytest.approx(expected, abs=1e-9)
    assert within(values, 0.01)[4].decision is REJECT


@given(MATRICES, st.permutations(range(5)))
@settings(deadline=None, max_examples=30)
def test_verdicts_follow_their_candidates(outcomes, order):
    order = [i for i in order if i < outcomes.shape[1]]
    for rule in (lambda x: within(x, 0.05), lambda x: in_top(x, 0.5)):
        first = [v.decision for v in rule(outcomes)]
        second = [v.decision for v in rule(outcomes[:, order])]
        assert second == [first[i] for i in order]


# in_top


@pytest.mark.parametrize("k", [0.2, 0.5, 0.75, 1.0])
def test_in_top_by_ranks(k):
    outcomes = planted(3000)
    last = math.ceil(k * 5)
    level = normal_upper(0.05 / 20)
    for j, verdict in enumerate(in_top(outcomes, k)):
        z = [slow_z(outcomes[:, i], outcomes[:, j], 0.0) for i in range(5) if i != j]
        best, worst = 1 + sum(x > level for x in z), 5 - sum(x < -level for x in z)
        assert f"rank {best} to {worst} of 5" in verdict.reason
        expected = KEEP if worst <= last else REJECT if best > last else UNDECIDED
        assert verdict.decision is expected


def test_in_top_says_how_many_samples_would_decide():
    outcomes = planted(300)
    verdicts = in_top(outcomes, 0.4)
    undecided = [v for v in verdicts if v.decision is UNDECIDED]
    assert undecided
    assert all(v.samples is None or v.samples >= 300 for v in undecided)
    same = np.tile(right_of(900, 1000)[:, None], (1, 3))
    assert all("too close" in v.reason for v in in_top(same, 0.5))


# the interval


@given(st.integers(0, 80), st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_wilson_holds_what_the_score_test_does_not_reject(right, confidence):
    p, n, z = right / 80, 80, normal_upper((1 - confidence) / 2)
    low, high = wilson(p, n, confidence)
    for end, limit in ((low, 0.0), (high, 1.0)):
        if end == pytest.approx(limit, abs=1e-12):
            assert p == limit
        else:
            assert abs(p - end) == pytest.approx(z * math.sqrt(end * (1 - end) / n), abs=1e-9)
    assert 0 <= low <= p <= high + 1e-12 <= 1 + 1e-9


# promises, in simulation


def test_wilsons_coverage_is_nominal(benchmark_module):
    simulation = benchmark_module("doubt")
    values = [simulation.coverage(200, p) for p in np.linspace(0.5, 0.99, 25)]
    assert np.mean(values) > 0.948
    assert min(values) > 0.93


def test_any_wrong_verdict_in_at_most_one_family_in_twenty(benchmark_module):
    simulation = benchmark_module("doubt")
    for name, (judge, accuracies, wrong) in simulation.worst_cases().items():
        assert simulation.any_wrong(judge, accuracies, 500, 60, wrong) <= 0.05, name


def test_power_is_not_below_what_is_promised(benchmark_module):
    simulation = benchmark_module("doubt")
    accuracies = np.repeat([0.92, 0.89], 25)
    judge = simulation.within(0.01)
    assert simulation.decided(judge, accuracies, 2000, 20, REJECT) >= 0.64


# bad input


@pytest.mark.parametrize("confidence", [0, 1, -0.5, 1.5, math.nan])
def test_confidences_that_are_none(confidence):
    with pytest.raises(MeasurementError, match=r"give a value between 0 and 1"):
        wilson(0.5, 10, confidence)


def test_other_bad_input():
    with pytest.raises(MeasurementError, match=r"an interval of 1\.5"):
        wilson(1.5, 10)
    with pytest.raises(MeasurementError, match="0 samples"):
        wilson(0.5, 0)
    with pytest.raises(MeasurementError, match="a threshold of nan"):
        at_least(np.ones(3), math.nan, 1)
    with pytest.raises(MeasurementError, match="eps is a distance"):
        within(np.ones((3, 2)), -0.1)
    with pytest.raises(MeasurementError, match="k is a share"):
        in_top(np.ones((3, 2)), 0)
    with pytest.raises(MeasurementError, match=r"outcomes of shape \(0, 2\)"):
        within(np.ones((0, 2)), 0.1)
    with pytest.raises(MeasurementError, match=r"give \[samples\], not empty"):
        at_most(np.ones((3, 2)), 0.5, 2)
    with pytest.raises(MeasurementError, match="outcomes from -1 to 1"):
        at_least(np.array([-1.0, 1.0]), 0.5, 1)
    with pytest.raises(MeasurementError, match="outcomes from nan"):
        in_top(np.array([[math.nan, 1.0]]), 0.5)


def test_samples_beforehand_are_those_of_the_formulas():
    z = stats.norm.isf(0.05 / 7)
    below = (z * np.sqrt(0.9 * 0.1) + 0.8416 * np.sqrt(0.88 * 0.12)) / 0.02
    assert doubt.samples_beyond(0.9, 0.02, 7) == pytest.approx(below**2, rel=0.06)
    assert doubt.samples_beyond(0.99, 0.02, 7) is not None
    assert doubt.samples_beyond(0.5, 0.6, 7) is None
    z = stats.norm.isf(0.05 / 42)
    reject = ((z + 0.8416) / 0.02) ** 2 * (0.08 - 0.03**2)
    assert doubt.samples_within(0.01, 0.02, 7, 0.08) == pytest.approx(reject, rel=0.06)
    assert doubt.samples_within(0.01, 0.02, 1, 0.08) is None


def test_how_many_samples_decide_does_not_depend_on_how_much_one_may_count():
    outcomes = np.random.default_rng(0).random(500) < 0.6
    plain = doubt.at_least(outcomes / 2, 0.31, 5)
    scaled = doubt.at_least(outcomes.astype(float), 0.62, 5, most=2.0)
    assert plain.samples == scaled.samples is not None
