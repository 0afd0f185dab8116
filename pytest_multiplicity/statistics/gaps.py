"""Gaps of a rate between groups of samples: how large, how sure, and how large by chance.

The gap is the largest rate minus the smallest, the ratio the smallest over the largest. Arrays end
in the groups: hits `[..., G]` of counts `[G]`. Three rates of 20 samples each lie .11 apart on
average where there is no gap at all, so every gap has an interval, and a floor: what it would be if
membership of a group were drawn at random.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import numpy.typing as npt
from scipy import special

from pytest_multiplicity.statistics.kept import kept
from pytest_multiplicity.statistics.noise import LEVEL, Noise, mid_p, noise_of_draws
from pytest_multiplicity.statistics.placed import permuted_sums

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.integer]

DRAWS = 1000
"""Of group labels, for a floor."""
PERMUTATIONS = 250
"""Of outcomes between candidates, for the noise floor of a sheet of gaps."""
TAIL = 10
"""Resamples that a bootstrap needs beyond each end of an interval."""


@dataclass(frozen=True)
class Floor:
    """How large a gap chance alone makes: group labels permuted, in the unit of the gap."""

    mean: float
    level_95: float
    """The gap (of a ratio: the ratio) that chance stays on this side of 95 times in 100."""
    p_value: float
    """How often chance alone makes a gap this large (a ratio this small)."""


def extent(rates: Floats, *, ratio: bool) -> Floats:
    """Return the gap or the ratio of rates `[..., G]`; nan for a ratio where all are 0."""
    low, high = rates.min(axis=-1), rates.max(axis=-1)
    if not ratio:
        return np.asarray(high - low)
    found: Floats = np.divide(low, high, out=np.full_like(high, np.nan), where=high > 0)
    return found


def interval(
    hits: npt.NDArray[np.generic], counts: Codes, confidence: float, *, ratio: bool
) -> tuple[Floats, Floats]:
    """Return the simultaneous interval of the gap between shares, (low, high), each `[...]`.

    Of each pair of groups Newcombe's hybrid score interval of the difference (Statistics in
    Medicine 17, 1998, method 10) at level 1 - alpha / pairs, of ratios the interval of the
    logarithm with 0.5 added to hits and misses; together the largest limits of a
    pair (of ratios the smallest). The bootstrap of the extremes covers a gap of 0 too seldom.
    """
    x, n = np.asarray(hits, dtype=np.float64), counts.astype(np.float64)
    z = _quantile(confidence, len(counts))
    point = extent(x / n, ratio=ratio)
    limits = _ratio_limits(x, n, z) if ratio else _difference_limits(x, n, z)
    if ratio:
        low, high = limits[0].min(axis=0), limits[1].min(axis=0)
        return np.fmin(low, point), np.fmax(np.minimum(high, 1.0), point)
    low, high = limits[0].max(axis=0), limits[1].max(axis=0)
    return np.clip(low, 0.0, point), np.maximum(high, point)


def _quantile(confidence: float, groups: int) -> float:
    """Return z of each pair's interval, two-sided."""
    alpha = (1 - confidence) / (groups * (groups - 1) / 2)
    return float(-special.ndtri(alpha / 2))


def _ordered(groups: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return all ordered pairs of groups."""
    pairs = np.array(list(permutations(range(groups), 2)), dtype=np.intp)
    return pairs[:, 0], pairs[:, 1]


def _difference_limits(x: Floats, n: Floats, z: float) -> tuple[Floats, Floats]:
    """Newcombe's limits of p_i - p_j for all ordered pairs: [pairs, ...]."""
    p = x / n
    centre, spread = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + (z / (2 * n)) ** 2)
    low, high = (np.clip((centre + s * spread) / (1 + z**2 / n), 0, 1) for s in (-1, 1))
    i, j = _ordered(len(n))
    p, low, high = (np.moveaxis(each, -1, 0) for each in (p, low, high))
    d = p[i] - p[j]
    below = np.sqrt((p[i] - low[i]) ** 2 + (high[j] - p[j]) ** 2)
    above = np.sqrt((high[i] - p[i]) ** 2 + (p[j] - low[j]) ** 2)
    return d - below, d + above


def _ratio_limits(x: Floats, n: Floats, z: float) -> tuple[Floats, Floats]:
    """Limits of p_i / p_j for all ordered pairs: [pairs, ...]."""
    logs = np.moveaxis(np.log((x + 0.5) / (n + 1)), -1, 0)
    variances = np.moveaxis(1 / (x + 0.5) - 1 / (n + 1), -1, 0)
    i, j = _ordered(len(n))
    d, s = logs[i] - logs[j], z * np.sqrt(variances[i] + variances[j])
    return np.exp(d - s), np.exp(d + s)


def resamples_for(confidence: float, groups: int) -> int:
    """Return how many resamples an interval of values takes: each pair's ends must be seen."""
    pairs = groups * (groups - 1) / 2
    return int(np.ceil(TAIL * 2 * pairs / (1 - confidence)))


def interval_of_resamples(
    drawn: Floats, rates: Floats, confidence: float, *, ratio: bool
) -> tuple[float, float]:
    """Return the simultaneous interval of what is no share, from resampled rates `[B, G]`.

    The percentile bootstrap of each pair of groups at level 1 - alpha / pairs.
    """
    tail = (1 - confidence) / (len(rates) * (len(rates) - 1) / 2) / 2
    i, j = _ordered(len(rates))
    point = float(extent(rates, ratio=ratio))
    if ratio:
        apart = np.divide(
            drawn[:, i], drawn[:, j], out=np.full((len(drawn), len(i)), np.inf),
            where=drawn[:, j] > 0,
        )  # fmt: skip
        low, high = np.quantile(apart, [tail, 1 - tail], axis=0, method="inverted_cdf")
        return min(float(low.min()), point), max(min(float(high.min()), 1.0), point)
    low, high = np.quantile(drawn[:, i] - drawn[:, j], [tail, 1 - tail], axis=0)
    return min(max(float(low.max()), 0.0), point), max(float(high.max()), point)


def floor(point: float, chance: Floats, *, ratio: bool) -> Floor:
    """Return what chance makes of a gap, from gaps `[draws]` with group labels permuted."""
    observed, drawn = (1 - point, 1 - chance) if ratio else (point, chance)
    level = float(np.quantile(drawn, 1 - LEVEL))
    return Floor(float(chance.mean()), 1 - level if ratio else level, mid_p(drawn, observed))


def permuted(
    hits: npt.NDArray[np.bool_], groups: Codes, strata: Codes, *, ratio: bool, seed: int = 0
) -> Floats:
    """Return gaps of shares `[DRAWS]` with group labels permuted within strata.

    `hits`, `groups`, `strata`: `[n]`. Nothing is permuted: of the hits of a stratum, how many fall
    into each group is multivariate hypergeometric.
    """
    rng, count = np.random.default_rng(seed), int(groups.max()) + 1
    sizes = np.zeros((int(strata.max()) + 1, count), dtype=np.int64)
    np.add.at(sizes, (strata, groups), 1)
    found = np.bincount(strata, weights=hits, minlength=len(sizes)).astype(np.int64)
    drawn = np.zeros((DRAWS, count))
    for size, right in zip(sizes, found, strict=True):
        drawn += rng.multivariate_hypergeometric(size, right, size=DRAWS, method="marginals")
    known = extent(drawn / sizes.sum(axis=0), ratio=ratio)
    return known[~np.isnan(known)]


def shuffled(
    rates: Callable[[Codes], Floats], groups: Codes, *, draws: int, ratio: bool, seed: int = 0
) -> Floats:
    """Return gaps `[draws]` of any rates of groups, over all samples: labels are permuted."""
    rng = np.random.default_rng(seed)
    drawn = np.stack([rates(rng.permutation(groups)) for _ in range(draws)])
    known = extent(drawn, ratio=ratio)
    return known[~np.isnan(known)]


def resampled(groups: Codes, draws: int, seed: int = 0) -> Iterator[list[npt.NDArray[np.intp]]]:
    """Yield rows of each group drawn with replacement, the same for everybody who asks."""
    rng, members = np.random.default_rng(seed), rows_of(groups)
    for _ in range(draws):
        yield [rows[rng.integers(len(rows), size=len(rows))] for rows in members]


def rows_of(groups: Codes) -> list[npt.NDArray[np.intp]]:
    """Return the rows of each group."""
    return [np.flatnonzero(groups == group) for group in range(int(groups.max()) + 1)]


@kept(Noise)
def noise(
    outcomes: npt.NDArray[np.bool_], groups: Codes, *, ratio: bool, seed: int = 0
) -> Noise | None:
    """Return the noise of a sheet of gaps: how far those of equal candidates lie apart.

    `outcomes`: `[n, K]`, of which each sample's are permuted between the candidates; `groups`:
    `[n]`. As `noise_of_metric` would find by moving them, but nothing is moved.
    """
    count, rng = outcomes.shape[1], np.random.default_rng(seed)
    members = [outcomes[rows] for rows in rows_of(groups)]
    if any(len(each) == 0 for each in members):
        return None
    sizes = np.array([len(each) for each in members])
    drawn = np.empty((PERMUTATIONS, count, len(members)))
    for g, each in enumerate(members):
        drawn[:, :, g] = permuted_sums(each.sum(axis=1), count, PERMUTATIONS, rng)
    chance = extent(drawn / sizes, ratio=ratio)
    observed = extent(np.stack([each.mean(axis=0) for each in members], axis=-1), ratio=ratio)
    if np.isnan(chance).any() or np.isnan(observed).any():
        return None
    return noise_of_draws(chance, observed)
