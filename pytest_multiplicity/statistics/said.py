"""What candidates said of the same samples, compared: answers that are equal or not, and values.

Predictive multiplicity needs no more than when two of them disagree. Tasks say which of the two
kinds theirs is. A sample has one unit or several (positions of a mask): shares are over units, and
what is said of a sample is the mean over its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy import special

from pytest_multiplicity.errors import ScoresError
from pytest_multiplicity.statistics import chance, predictive
from pytest_multiplicity.statistics.votes import CHUNK

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Rows = Sequence[int] | npt.NDArray[Any]


class Said(Protocol):
    """What K candidates said. A `baseline` is the position of one among them."""

    def __len__(self) -> int: ...

    def of(self, rows: Rows) -> Said:
        """Return what some candidates said."""

    def conflicts(self) -> Floats:
        """Per sample, the share of its units on which any two differ: [n]."""

    def ambiguity(self, baseline: int | None = None) -> float:
        """Return the share of units on which any two differ, or any differs from the baseline."""

    def discrepancy(self, baseline: int | None = None) -> float:
        """Return the largest share of units on which two differ, or one and the baseline do."""

    def disagreement(self) -> float:
        """Return the mean share of units on which two differ, over unordered pairs."""

    def self_consistency(self) -> Floats:
        """Per sample, the share of pairs that say the same, the mean over its units: [n]."""

    def agreement(self) -> Floats:
        """Share of units on which each two say the same: [K, K]."""

    def expected_ambiguity(self, m: int) -> float | None:
        """Return the ambiguity that `m` of them drawn at random would show; None: not known."""


@dataclass(frozen=True, eq=False)
class Codes:
    """Answers that are equal or not, as codes from 0: `[K, units]`.

    `samples` says of which of `count` samples each unit is; None: each of its own.
    """

    codes: npt.NDArray[np.integer[Any]]
    samples: npt.NDArray[np.integer[Any]] | None = None
    count: int = 0

    def __len__(self) -> int:
        return len(self.codes)

    def of(self, rows: Rows) -> Codes:
        """Return what some candidates said."""
        return Codes(self.codes[rows], self.samples, self.count)

    def conflicts(self) -> Floats:
        """Per sample, the share of its units on which any two differ: [n]."""
        return self._by_sample(predictive.conflicts(self.codes).astype(np.float64))

    def ambiguity(self, baseline: int | None = None) -> float:
        """Return the share of units on which any two differ, or any differs from the baseline."""
        return predictive.ambiguity(self.codes, self._row(baseline))

    def discrepancy(self, baseline: int | None = None) -> float:
        """Return the largest share of units on which two differ, or one and the baseline do."""
        return predictive.discrepancy(self.codes, self._row(baseline))

    def disagreement(self) -> float:
        """Return the mean share of units on which two differ, over unordered pairs."""
        return predictive.disagreement(self.codes)

    def self_consistency(self) -> Floats:
        """Per sample, the share of pairs that say the same, the mean over its units: [n]."""
        return self._by_sample(predictive.self_consistency(self.codes))

    def agreement(self) -> Floats:
        """Share of units on which each two say the same: [K, K]."""
        return predictive.agreement(self.codes)

    def expected_ambiguity(self, m: int) -> float | None:
        """Return the ambiguity that `m` of them drawn at random would show."""
        return float(chance.expected_ambiguity(self.codes, m))

    def _row(self, baseline: int | None) -> npt.NDArray[np.integer[Any]] | None:
        return None if baseline is None else self.codes[baseline]

    def _by_sample(self, values: Floats) -> Floats:
        return values if self.samples is None else mean_by(self.samples, values, self.count)


@dataclass(frozen=True, eq=False)
class Values:
    """Values `[K, n, k]`, finite: two differ where any of the k is more than `tolerance` apart."""

    values: npt.NDArray[Any]
    tolerance: float

    def __len__(self) -> int:
        return len(self.values)

    def of(self, rows: Rows) -> Values:
        """Return what some candidates said."""
        return Values(self.values[rows], self.tolerance)

    def conflicts(self) -> Floats:
        """Per sample, 1 where any two differ: [n]."""
        apart: Bools = np.ptp(self.values, axis=0) > self.tolerance
        return np.asarray(apart.any(axis=-1), dtype=np.float64)

    def ambiguity(self, baseline: int | None = None) -> float:
        """Return the share of samples on which any two differ, or any differs from a baseline."""
        if baseline is None:
            return float(self.conflicts().mean())
        return float(self._apart(self.values[baseline], self.values).any(axis=0).mean())

    def discrepancy(self, baseline: int | None = None) -> float:
        """Return the largest share of samples on which two differ, or one and the baseline do."""
        if baseline is None:
            return float(1 - self.agreement().min())
        return float(self._apart(self.values[baseline], self.values).mean(axis=1).max())

    def disagreement(self) -> float:
        """Return the mean share of samples on which two differ, over unordered pairs."""
        return float(1 - self.self_consistency().mean())

    def self_consistency(self) -> Floats:
        """Per sample, the share of pairs that are within the tolerance: [n]."""
        return self._pairs[1]

    def agreement(self) -> Floats:
        """Share of samples on which each two are within the tolerance: [K, K]."""
        return self._pairs[0]

    def expected_ambiguity(self, m: int) -> float | None:
        """Return the ambiguity that `m` of them drawn at random would show.

        A drawn set agrees where all of it lie within the tolerance above its smallest:
        `1 - mean over samples of sum_i C(c_i, m - 1) / C(K, m)`, with c_i the number of values
        after the i-th smallest that are. None where a sample has several values: no such form.
        """
        count, samples, several = self.values.shape
        if not 1 <= m <= count:
            raise ScoresError(f"m={m!r} of {count} candidates: ask for 1 to {count} of them")
        if several > 1:
            return None
        ordered = np.sort(self.values[:, :, 0], axis=0)
        chances = _log_choose(np.arange(count), m - 1) - _log_choose(np.array([count]), m)
        agreed = 0.0
        for i in range(count):
            near = (ordered[i + 1 :] - ordered[i] <= self.tolerance).sum(axis=0)
            agreed += float(np.exp(chances[near]).sum())
        return max(0.0, 1.0 - agreed / float(samples))

    def _apart(self, some: npt.NDArray[Any], others: npt.NDArray[Any]) -> Bools:
        apart: Bools = (np.abs(others - some) > self.tolerance).any(axis=-1)
        return apart

    @cached_property
    def _pairs(self) -> tuple[Floats, Floats]:
        """What pairs agree on: shares of samples `[K, K]`, and shares of pairs `[n]`."""
        count, samples = self.values.shape[:2]
        shares, alike = np.zeros((count, count)), np.zeros(samples)
        for rows in _chunks(samples, self.values[:, 0].size):
            part = self.values[:, rows]
            for k in range(count - 1):
                same = ~self._apart(part[k], part[k + 1 :])
                shares[k, k + 1 :] += same.sum(axis=1)
                alike[rows] += same.sum(axis=0)
        shares = (shares + shares.T) / samples + np.eye(count)
        pairs = count * (count - 1) / 2
        return shares, alike / pairs if pairs else np.ones(samples)


def ranges(values: npt.NDArray[Any]) -> Floats:
    """Return the lowest and the highest of what K candidates give each unit, `[K, units]`."""
    return np.stack([values.min(axis=0), values.max(axis=0)], axis=1).astype(np.float64)


def variances(values: npt.NDArray[Any]) -> Floats:
    """Return the variance (ddof 1) of what K candidates give each unit, `[K, units]`."""
    if len(values) == 1:
        return np.zeros(values.shape[1])
    step = max(1, CHUNK // len(values))
    parts = [
        values[:, start : start + step].astype(np.float64).var(axis=0, ddof=1)
        for start in range(0, values.shape[1], step)
    ]
    return np.concatenate(parts)


def within_samples(codes: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.integer[Any]]:
    """Return codes `[K, n]` below K that are equal in a sample where the given ones are.

    Each is the position of the first candidate that says the same: what takes many codes over all
    samples takes few in each.
    """
    small = np.repeat(np.arange(len(codes))[:, None], codes.shape[1], axis=1)
    for k in range(1, len(codes)):
        for j in range(k - 1, -1, -1):
            small[k] = np.where(codes[j] == codes[k], small[j], small[k])
    return small


def mean_by(samples: npt.NDArray[np.integer[Any]], values: Floats, count: int) -> Floats:
    """Return the mean of values `[units]` in each of `count` samples; 0 where there are none."""
    sums = np.bincount(samples, values, minlength=count)
    return sums / np.maximum(np.bincount(samples, minlength=count), 1)


def _chunks(samples: int, each: int) -> Iterator[slice]:
    step = max(1, CHUNK // max(1, each))
    for start in range(0, samples, step):
        yield slice(start, min(start + step, samples))


def _log_choose(count: npt.NDArray[Any], m: int) -> Floats:
    """Return log C(count, m); minus infinity where that is 0."""
    enough = count >= m
    some = np.where(enough, count, m)
    log = special.gammaln(some + 1) - special.gammaln(m + 1) - special.gammaln(some - m + 1)
    found: Floats = np.where(enough, log, -np.inf)
    return found
