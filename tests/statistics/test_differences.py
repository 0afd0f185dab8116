"""Differences of shares: Newcombe's published example, and coverage in a simulation."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_multiplicity.statistics import combined
from pytest_multiplicity.statistics.doubt import wilson


def share(hits: int, count: int) -> tuple[float, float, float]:
    return hits / count, *wilson(hits / count, count)


@pytest.mark.parametrize(
    ("some", "others", "low", "high"),
    [((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090),
     ((10, 10), (0, 20), 0.6791, 1.0)],
)  # fmt: skip
def test_newcombes_examples(some, others, low, high):
    """Table II of his paper, method 10."""
    found = combined([1, -1], [share(*some), share(*others)])
    assert found[0] == pytest.approx(some[0] / some[1] - others[0] / others[1])
    assert found[1:] == pytest.approx((low, high), abs=6e-5)


def test_four_shares_are_covered():
    """A difference of two balanced accuracies, as of attacks on two groups."""
    rng, weights = np.random.default_rng(0), [-0.5, -0.5, 0.5, 0.5]
    counts, truth = [60, 40, 200, 150], [0.7, 0.55, 0.6, 0.5]
    inside = 0
    for _ in range(1000):
        shares = [share(rng.binomial(n, p), n) for n, p in zip(counts, truth, strict=True)]
        _, low, high = combined(weights, shares)
        inside += low <= np.dot(weights, truth) <= high
    assert 0.935 <= inside / 1000 <= 0.975
