"""What as many candidates taken at random would show: the yardstick for everything after selection.

Fewer candidates spread less by count alone. Both expectations run over all subsets of `m` out of
`K` candidates, in closed form. The weights are ratios of binomial coefficients, built from one
exact value by their recurrence: no factorial, no logarithm, nothing that overflows at K = 10,000.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.errors import ScoresError
from pytest_multiplicity.statistics.votes import vote_chunks

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Range:
    """Expected smallest and largest score."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """Expected delta: largest minus smallest."""
        return self.high - self.low


def expected_range(scores: npt.ArrayLike, m: int) -> Range:
    """Return expected minimum and maximum of `m` of the scores, drawn without replacement.

    `E max = sum_i x_(i) C(i-1, m-1) / C(K, m)` over the K sorted scores; nan is left out.
    Raises ScoresError unless `1 <= m <= K`.
    """
    values = np.asarray(scores, dtype=np.float64)
    values = np.sort(values[~np.isnan(values)])
    weights = _weights_of_maximum(len(values), m)
    low, high = float(weights @ values[::-1]), float(weights @ values)
    return Range(low=min(low, high), high=max(low, high))  # one alone: equal but for rounding


def expected_ambiguity(predictions: npt.NDArray[np.integer], m: int) -> float:
    """Return expected ambiguity (baseline-free) of `m` of the candidates.

    `predictions`: [K, n] classes. `1 - mean_i sum_k C(B_ik, m) / C(K, m)`, where `B_ik`
    candidates say class k of sample i. Raises ScoresError unless `1 <= m <= K`.
    """
    unanimous = _chance_of_unanimity(len(predictions), m)
    agreed = sum(float(unanimous[votes].sum()) for votes in vote_chunks(predictions))
    samples: int = predictions.shape[1]
    return 1.0 - agreed / samples


def _weights_of_maximum(count: int, m: int) -> Floats:
    """`C(i-1, m-1) / C(K, m)` for i = 1..K: the chance that the i-th smallest is the maximum."""
    _check_size(m, count)
    i = np.arange(count, 1, -1)
    steps = np.clip((i - m) / (i - 1), 0.0, None)  # the weight of i - 1 over that of i
    return (m / count * np.cumprod(np.concatenate([[1.0], steps])))[::-1]


def _chance_of_unanimity(count: int, m: int) -> Floats:
    """`C(b, m) / C(K, m)` for b = 0..K: the chance that m drawn candidates are all among b."""
    _check_size(m, count)
    b = np.arange(count, 0, -1)
    steps = np.clip((b - m) / b, 0.0, None)
    return np.cumprod(np.concatenate([[1.0], steps]))[::-1]


def _check_size(m: int, count: int) -> None:
    if not 1 <= m <= count:
        raise ScoresError(f"m={m!r} of {count} candidates: ask for 1 to {count} of them")
