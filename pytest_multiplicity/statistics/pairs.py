"""Tests of the differences between all pairs of candidates, on the same samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from pytest_multiplicity.statistics.paired import tango

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """Sums over samples for all pairs: `[i, j]` compares i, the better one perhaps, with j."""

    scores: Floats  # [K]
    differences: Floats  # [K, K] sums of x_i - x_j
    squares: Floats  # [K, K] sums of (x_i - x_j)**2: for zeros and ones, how often they differ
    samples: int
    binary: bool

    @classmethod
    def of(cls, outcomes: npt.NDArray[np.generic]) -> Pairs:
        """Return the pairs of the columns of `outcomes`: [n, K]."""
        x = outcomes.astype(np.float64)  # [n, K]
        gram = x.T @ x
        own = gram.diagonal()
        sums = x.sum(axis=0)
        return cls(
            scores=sums / len(x),
            differences=sums[:, None] - sums[None, :],
            squares=own[:, None] + own[None, :] - 2 * gram,
            samples=len(x),
            binary=bool(((x == 0) | (x == 1)).all()),
        )

    @property
    def count(self) -> int:
        """How many candidates there are: K."""
        return len(self.scores)

    @property
    def difference(self) -> Floats:
        """By how much the score of i is higher than that of j: [K, K]."""
        means: Floats = self.differences / self.samples
        return means

    def z(self, eps: float) -> Floats:
        """Return how far each pair lies above a difference of `eps`, in standard errors: [K, K].

        Of Tango's score and the smoothed Wald the one nearer 0, or 0 when their signs differ. Real
        values have no score test: the smoothed Wald alone.
        """
        wald = self._smoothed_wald(eps)
        if not self.binary:
            return wald
        tango = self._tango(eps)
        nearer = np.where(np.abs(tango) < np.abs(wald), tango, wald)
        return np.where(tango * wald > 0, nearer, 0.0)

    def samples_for(self, eps: float, z: float, power: float) -> Floats:
        """Return samples at which each pair is told apart from `eps`: [K, K], inf where never.

        At the critical value `z`, with probability `power`.
        """
        d = self.difference
        variance = np.clip(self.squares / self.samples - d**2, 0.0, None)
        distance = np.abs(d - eps)
        spread = (z + upper_quantile(1 - power)) ** 2 * variance
        samples: Floats = np.full_like(d, np.inf)
        np.divide(spread, distance**2, out=samples, where=distance > 0)
        return samples

    def _smoothed_wald(self, eps: float) -> Floats:
        """Wald's z with one more sample of each kind of disagreement."""
        n, d = self.samples + 2, self.differences
        variance = (self.squares + 2 - d**2 / n) / n**2
        z: Floats = (d / n - eps) / np.sqrt(variance)
        return z

    def _tango(self, eps: float) -> Floats:
        """Tango's score, of b samples on which only i is right and c on which only j is."""
        b, c = (self.squares + self.differences) / 2, (self.squares - self.differences) / 2
        return tango(b, c, self.samples, eps)


def upper_quantile(level: float) -> float:
    """Return the standard normal's upper quantile: 1.64 for 0.05."""
    return float(-special.ndtri(level))
