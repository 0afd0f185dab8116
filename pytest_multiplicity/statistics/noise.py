"""How large a sheet's delta would be if all candidates were equally good.

The finite test set alone makes scores differ. Under the hypothesis that all candidates have the
same population score, each sample's K values are exchangeable between the candidates, so permuting
them shows the deltas of noise alone. One column per distinct candidate, never per table cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import special

from pytest_multiplicity.errors import ScoresError
from pytest_multiplicity.statistics.kept import kept
from pytest_multiplicity.statistics.placed import permuted_sums
from pytest_multiplicity.statistics.votes import CHUNK

Floats = npt.NDArray[np.float64]
MetricFunction = Callable[[npt.NDArray[np.floating], npt.NDArray[np.integer]], float]

PERMUTATIONS = 1000
"""For outcomes that are right or wrong: cheap, because only counts or places are drawn."""
PERMUTATIONS_OF_VALUES = 250
"""Where every value has to be moved: real outcomes, and whole outputs."""
GAUSSIAN_DRAWS = 10_000
GAUSSIAN_CHUNK = 1 << 19
"""Numbers that are drawn at a time: 4 MiB, however many candidates there are."""
LEVEL = 0.05
TIE = 1e-9
"""Two ranges closer than this are equal: only rounding differs."""


@dataclass(frozen=True)
class Noise:
    """What test-set noise alone does to a delta, in the unit of the scores."""

    floor: float
    """Mean delta of equally good candidates."""
    level_95: float
    """The delta that equally good candidates stay below 95 times in 100."""
    p_value: float
    """How often they would show the observed delta or a larger one."""
    real_share: float
    """Share of the variance between the scores that noise does not explain, in [0, 1]."""

    @property
    def within_noise(self) -> bool:
        """Whether the observed delta can't be told from noise at the 5% level.

        Not the same as lying below the floor: half of pure noise lies above it.
        """
        return self.p_value > LEVEL


@kept(Noise)
def noise(
    outcomes: npt.NDArray[np.generic],
    *,
    permutations: int | None = None,
    seed: int = 0,
    most: float = 1.0,
) -> Noise:
    """Noise of a sheet whose scores are the column means of `outcomes`.

    `outcomes`: [n, K], 1 where candidate k is right on sample i and 0 where it is wrong, or
    values in between (the expected correctness under output noise). The p-value is the larger of
    two, a permutation test (mid-p) and a Gaussian one with the observed covariance: each alone is
    liberal where candidates form clusters or one is odd. The real share is `1 - (K - 1) / Q`
    with Q of Cochran's test, in a form that holds for real values too.

    Values may go up to `most` where samples count differently: one of many units for more. They
    are exchangeable between candidates sample by sample, whatever the units of one have in common.

    Raises ScoresError for fewer than two candidates, no samples, or values outside [0, `most`].
    """
    _check_outcomes(outcomes, most)
    rng = np.random.default_rng(seed)
    moments = _Moments.of(outcomes)
    if moments.no_variation:
        return Noise(floor=0.0, level_95=0.0, p_value=1.0, real_share=0.0)
    permuted = _permuted_ranges(outcomes, permutations, rng)
    observed, real = float(np.ptp(moments.deviations)), _real_share(moments.between, moments.within)
    gaussian = _gaussian_ranges(moments.into_covariance(), rng)
    return Noise(
        floor=float(permuted.mean()),
        level_95=float(np.quantile(permuted, 1 - LEVEL)),
        p_value=max(mid_p(permuted, observed), mid_p(gaussian, observed)),
        real_share=real,
    )


def noise_of_metric(
    metric: MetricFunction,
    outputs: npt.NDArray[np.floating],
    targets: npt.NDArray[np.integer],
    *,
    permutations: int = PERMUTATIONS_OF_VALUES,
    seed: int = 0,
) -> Noise:
    """Noise of a metric that is no mean over samples, such as a calibration error.

    `outputs`: [K, n, ...], `targets`: [n]; `metric(outputs[k], targets)` is candidate k's
    score. The candidates' whole outputs are permuted within each sample; the metric is evaluated
    `permutations * K` times. The p-value is the permutation test's alone, which is liberal when
    one candidate is unlike all others.
    """
    count, samples = outputs.shape[:2]
    if count < 2:
        raise ScoresError(f"{count} candidate: noise between candidates needs two or more")
    rng = np.random.default_rng(seed)
    everyone = np.tile(np.arange(count), (samples, 1))
    rows = np.arange(samples)
    observed = np.array([metric(each, targets) for each in outputs])
    scores = np.empty((permutations, count))
    for b in range(permutations):
        places = rng.permuted(everyone, axis=1)
        scores[b] = [metric(outputs[places[:, k], rows], targets) for k in range(count)]
    return noise_of_draws(scores, observed)


def noise_of_draws(drawn: Floats, observed: Floats) -> Noise:
    """Return the noise of scores `[K]`, of which `drawn` `[draws, K]` are what chance makes."""
    ranges, between = _ranges(drawn), float(observed.var())
    return Noise(
        floor=float(ranges.mean()),
        level_95=float(np.quantile(ranges, 1 - LEVEL)),
        p_value=mid_p(ranges, float(np.ptp(observed))),
        real_share=_real_share(
            between if between > TIE**2 else 0.0, float(drawn.var(axis=1).mean())
        ),
    )


def real_share(outcomes: npt.NDArray[np.generic], groups: npt.NDArray[np.integer]) -> float:
    """Share of the variance of the scores within groups that test-set noise does not explain.

    `outcomes`: [n, K]; `groups`: [K], equal for candidates of one group (a configuration).
    """
    moments = [_Moments.of(outcomes[:, groups == group]) for group in np.unique(groups)]
    return _real_share(sum(m.between for m in moments), sum(m.within for m in moments))


def floor_at_most(score: float, samples: int, count: int) -> float:
    """Upper bound of the noise floor from the number of samples alone, for recorded scores.

    `d2(count) * sqrt(p (1 - p) / n)`: the floor of `count` candidates that err independently;
    real ones err on the same samples and lie below. `score`: their mean accuracy p in [0, 1].
    """
    if not 0 <= score <= 1:
        raise ScoresError(f"score {score!r}: a noise floor from n needs an accuracy in [0, 1]")
    if samples < 1:
        raise ScoresError(f"n={samples!r}: give the number of samples, 1 or more")
    return mean_range_of_normals(count) * float(np.sqrt(score * (1 - score) / samples))


@lru_cache
def mean_range_of_normals(count: int) -> float:
    """d2: the mean range of `count` independent standard normals."""
    from scipy import integrate  # a third of a second, for runs that need it

    def excess(x: float) -> float:
        below = special.ndtr(x)
        return float(1 - below**count - (1 - below) ** count)

    return 2 * float(integrate.quad(excess, 0, 12, limit=200)[0])  # symmetric; nothing beyond 12


@dataclass(frozen=True)
class _Moments:
    """First and second moments of the row-centred outcomes: all that Q and S need."""

    deviations: Floats  # [K], column means minus their mean
    gram: Floats  # [K, K], of the row-centred outcomes
    samples: int

    @classmethod
    def of(cls, outcomes: npt.NDArray[np.generic]) -> _Moments:
        samples, count = outcomes.shape
        total, gram = np.zeros(count), None
        for part in _row_chunks(outcomes):
            part -= part.mean(axis=1, keepdims=True)
            total += part.sum(axis=0)
            if gram is None:
                gram = part.T @ part
                gram += 0.0  # as added to zeros: none is -0.0
            else:
                gram += part.T @ part
        assert gram is not None  # there are samples
        return cls(total / samples, gram, samples)

    @property
    def within(self) -> float:
        """Sum of squares within samples: n**2 times the expected `between` of pure noise."""
        return float(np.trace(self.gram)) / self.samples**2

    @property
    def between(self) -> float:
        """Sum of squares between the scores."""
        return float(self.deviations @ self.deviations)

    def into_covariance(self) -> Floats:
        """Covariance of the doubly centred outcomes, divided by n: that of the scores.

        It takes the place of `gram`, which of many candidates is large.
        """
        covariance = self.gram
        covariance /= self.samples
        for row, deviation in zip(covariance, self.deviations, strict=True):
            row -= deviation * self.deviations
        covariance /= self.samples
        return covariance

    @property
    def no_variation(self) -> bool:
        return self.within * self.samples**2 <= 1e-20 * self.samples * len(self.deviations)


def _real_share(between: float, within: float) -> float:
    """`max(0, 1 - (K - 1) / Q)`: Q / (K - 1) is between over within, for real values too."""
    return max(0.0, 1.0 - within / between) if between > 0 else 0.0


def _permuted_ranges(
    outcomes: npt.NDArray[np.generic], permutations: int | None, rng: np.random.Generator
) -> Floats:
    """Ranges of the column means under permutation of each sample's values: [permutations]."""
    samples, count = outcomes.shape
    varying = outcomes[(outcomes != outcomes[:, :1]).any(axis=1)]  # the others move nothing
    binary = bool(((varying == 0) | (varying == 1)).all())
    times = permutations or (PERMUTATIONS if binary else PERMUTATIONS_OF_VALUES)
    sums: npt.NDArray[np.generic]
    if binary:
        sums = permuted_sums(varying.astype(bool).sum(axis=1), count, times, rng)
    else:
        sums = _moved_sums(varying, times, rng)
    ranges: Floats = np.ptp(sums, axis=1) / samples
    return ranges


def _moved_sums(
    values: npt.NDArray[np.generic], permutations: int, rng: np.random.Generator
) -> Floats:
    """Column sums after permuting each row: [permutations, K]."""
    sums = np.zeros((permutations, values.shape[1]))
    for part in _row_chunks(values):
        for b in range(permutations):
            sums[b] += rng.permuted(part, axis=1).sum(axis=0)
    return sums


def _gaussian_ranges(covariance: Floats, rng: np.random.Generator) -> Floats:
    """Ranges of draws from N(0, covariance): [draws]. The covariance is singular: rows sum to 0."""
    values, root = np.linalg.eigh(covariance)
    root *= np.sqrt(np.clip(values, 0.0, None))
    step = max(1, GAUSSIAN_CHUNK // len(root))
    sizes = [min(step, GAUSSIAN_DRAWS - done) for done in range(0, GAUSSIAN_DRAWS, step)]
    return np.concatenate(
        [_ranges(rng.standard_normal((size, len(root))) @ root.T) for size in sizes]
    )


def _ranges(means: Floats) -> Floats:
    ranges: Floats = np.ptp(means, axis=1)
    return ranges


def mid_p(ranges: Floats, observed: float) -> float:
    """Return how often a drawn value is larger than the observed one; ties count half."""
    greater = np.count_nonzero(ranges > observed + TIE)
    equal = np.count_nonzero(np.abs(ranges - observed) <= TIE)
    return float((0.5 + greater + 0.5 * equal) / (len(ranges) + 1))


def _row_chunks(values: npt.NDArray[np.generic]) -> Iterator[Floats]:
    step = max(1, CHUNK // values.shape[1])
    for start in range(0, len(values), step):
        yield values[start : start + step].astype(np.float64)


def _check_outcomes(outcomes: npt.NDArray[np.generic], most: float) -> None:
    if outcomes.ndim != 2 or outcomes.shape[0] < 1 or outcomes.shape[1] < 2:
        raise ScoresError(
            f"outcomes of shape {outcomes.shape}: give [samples, candidates], one sample and two "
            "candidates or more"
        )
    low, high = float(outcomes.min()), float(outcomes.max())  # nan passes through both
    if not (low >= 0 and high <= most + TIE):
        raise ScoresError(
            f"outcomes from {low:g} to {high:g}: give correctness, or values in [0, {most:g}]"
        )
