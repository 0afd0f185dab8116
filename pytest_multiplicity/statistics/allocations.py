"""Who gets a scarce resource: the k that each model puts first, compared.

Many choices of k people do equally well where more are qualified than can be served (Jain, Wang,
Creel and Wilson, Allocation Multiplicity, FAccT 2025, arXiv 2503.16621). Arrays of choices are
`[S, n]`: whether model s chooses person i, k of them each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Unchosen:
    """Qualified people whom no model chooses: how many there are, and would be by independence."""

    count: int
    expected: float
    """The mean, were each model to choose as many of the qualified, whichever they are."""
    sd: float
    """The standard deviation of the same."""


def choose(scores: Floats, k: int, lots: Ints) -> tuple[Bools, int]:
    """Return who has the k highest scores `[n]`, and how many share a k-th place that is contested.

    Of equal scores the smaller lots come first; 0 where all who share the place are chosen.
    """
    order = np.lexsort((lots, -scores))
    chosen = np.zeros(len(scores), dtype=bool)
    chosen[order[:k]] = True
    level = scores == scores[order[k - 1]]
    return chosen, 0 if chosen[level].all() else int(level.sum())


def jaccard(chosen: Bools) -> Floats:
    """Return of each two choices whom both choose over whom either does: `[S, S]`."""
    counts = chosen.astype(np.int64)
    both = counts @ counts.T
    sizes = counts.sum(axis=1)
    found: Floats = both / (sizes[:, None] + sizes[None, :] - both)
    return found


def log_equal(qualified: int, people: int, k: int, served: npt.NDArray[np.integer]) -> Floats:
    """Return the logarithm of how many choices of k serve as many of the qualified.

    `log C(q, u) + log C(n - q, k - u)`, natural, for each u in `served`.
    """
    return _log_choose(qualified, served) + _log_choose(people - qualified, k - served)


def unchosen(chosen: Bools, qualified: Bools) -> Unchosen:
    """Return how many qualified `[n]` nobody chooses, beside what independence would give.

    Where model s chooses u_s of the q qualified at random, and all do so by themselves, one of them
    is chosen by nobody with probability `prod(1 - u_s / q)`, and two with
    `prod((q - u_s)(q - u_s - 1) / (q (q - 1)))`: the mean and the variance are exact.
    """
    among = chosen[:, qualified]
    q, served = among.shape[1], among.sum(axis=1).astype(np.float64)
    one = float(np.prod(1 - served / q))
    two = float(np.prod((q - served) * (q - served - 1) / (q * (q - 1)))) if q > 1 else 0.0
    variance = q * one + q * (q - 1) * two - (q * one) ** 2
    return Unchosen(int((~among.any(axis=0)).sum()), q * one, float(np.sqrt(max(0.0, variance))))


def drawn(votes: Ints, models: int, rng: np.random.Generator) -> Bools:
    """Return one choice of k in which each person's chance is the share of models that chose them.

    `votes` `[n]` are numbers of models, k times `models` together. Systematic sampling of the
    people in random order (Madow 1949): exactly k, each with exactly that chance.
    """
    order = rng.permutation(len(votes))
    after = np.cumsum(votes[order])
    start = int(rng.integers(models))
    marks = (after - start + models - 1) // models  # how many of start, start + models, ... below
    chosen = np.zeros(len(votes), dtype=bool)
    chosen[order] = np.diff(marks, prepend=0) > 0
    return chosen


def _log_choose(n: int, k: npt.NDArray[np.integer]) -> Floats:
    found: Floats = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    return found
