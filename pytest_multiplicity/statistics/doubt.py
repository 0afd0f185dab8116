"""Verdicts that the data decide: keep, reject, or undecided.

A comparison of point estimates flips with the test set. Here one is kept or rejected only beyond
doubt: the chance of a wrong verdict anywhere in the family is at most `BUDGET`, split over the
candidates by Bonferroni, so that a verdict never depends on which others were asked for. All
functions are pure functions of outcomes: correctness in {0, 1}, or expected correctness in [0, 1].
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.statistics.pairs import Pairs, upper_quantile
from pytest_multiplicity.statistics.selection import rank_of_share

Floats = npt.NDArray[np.float64]
Outcomes = npt.NDArray[np.generic]

BUDGET = 0.05
"""Chance of any wrong verdict in a family, per comparison and direction."""
POWER = 0.8
"""With as many samples as `Verdict.samples` says, this is the chance of a decision."""
ROUNDING = 1e-6
"""Sums of real values this close to a whole number are one."""


class Decision(enum.Enum):
    """What the data say of one comparison."""

    KEEP = "keep"
    REJECT = "reject"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Verdict:
    """A decision and its reason."""

    decision: Decision
    reason: str
    """`0.897 [0.884, 0.909] of 2,272: about 62,000 samples would decide`."""
    samples: int | None = None
    """About how many samples would decide; None when decided, or when no number would."""


def wilson(score: float, samples: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval for a share `score` of `samples`: (low, high).

    Raises MeasurementError for a confidence outside (0, 1), a score outside [0, 1], no samples.
    """
    if not 0 < confidence < 1:
        raise MeasurementError(f"confidence={confidence!r}: give a value between 0 and 1")
    if not 0 <= score <= 1:
        raise MeasurementError(f"an interval of {score!r}: only a share in [0, 1] has one")
    if samples < 1:
        raise MeasurementError(f"an interval of {samples!r} samples: one or more are needed")
    z = float(special.ndtri(0.5 + confidence / 2))
    centre = (score + z * z / (2 * samples)) / (1 + z * z / samples)
    half = z * math.sqrt(score * (1 - score) / samples + (z / (2 * samples)) ** 2)
    half /= 1 + z * z / samples
    return max(0.0, centre - half), min(1.0, centre + half)


def at_least(
    outcomes: Outcomes, threshold: float, candidates: int, *, most: float = 1.0
) -> Verdict:
    """Return whether one candidate's accuracy is `threshold` or more, beyond doubt.

    `outcomes`: [n]; `candidates`: the size of the family; `most`: the largest value that outcomes
    can have, where samples count differently. Exact binomial test, one-sided
    `BUDGET / candidates` each way.

    Like all functions here it raises MeasurementError for outcomes that are none.
    """
    if threshold <= 0:
        return Verdict(Decision.KEEP, f"no accuracy lies below {threshold:g}")
    return _against(outcomes, threshold, candidates, most, Decision.KEEP, Decision.REJECT)


def at_most(outcomes: Outcomes, threshold: float, candidates: int, *, most: float = 1.0) -> Verdict:
    """Return whether an accuracy is `threshold` or less, beyond doubt: see `at_least`."""
    if threshold >= 1:
        return Verdict(Decision.KEEP, f"no accuracy lies above {threshold:g}")
    return _against(outcomes, threshold, candidates, most, Decision.REJECT, Decision.KEEP)


def by_limits(
    score: float, limits: tuple[float, float], threshold: float, samples: int | None, *, least: bool
) -> Verdict:
    """Return whether a score is `threshold` or more (`least`), or less, by its own interval.

    `limits` are those at the level that one candidate of a family has for both directions. Where
    `samples` are None, it is said how many times as many would decide.
    """
    if not math.isfinite(threshold):
        raise MeasurementError(f"a threshold of {threshold!r}: give a finite number")
    low, high = limits
    what = f"{score:.3f}, beyond doubt in [{low:.3f}, {high:.3f}]"
    above, below = (
        (low >= threshold, high < threshold) if least else (low > threshold, high <= threshold)
    )
    if above or below:
        keep = above is least
        side = "above" if above else "below"
        return Verdict(
            Decision.KEEP if keep else Decision.REJECT, f"{what}: {side} {threshold:g} beyond doubt"
        )
    half = high - score if score < threshold else score - low
    apart = abs(score - threshold)
    z = upper_quantile(BUDGET / 2)
    ahead = (1 + upper_quantile(1 - POWER) / z) ** 2
    times = max(ahead * (half / apart) ** 2, 1.0) if apart else math.inf
    if samples is None and math.isfinite(times):
        reason = f"{what}: about {times:.2g} times as many samples would decide"
        return Verdict(Decision.UNDECIDED, reason)
    return _undecided(what, times * (samples or 1))


def within(outcomes: Outcomes, eps: float, *, most: float = 1.0) -> tuple[Verdict, ...]:
    """Return whether each candidate's accuracy is within `eps` of the best one's, beyond doubt.

    `outcomes`: [n, K], of all candidates on the same samples; returns K verdicts. A candidate is
    rejected when any other is more than `eps` better, and kept when none is: not compared with
    the one picked as best, whose lead is partly luck. Cost: one K x n x K product.
    """
    if not eps >= 0:
        raise MeasurementError(f"within({eps!r}): eps is a distance, 0 or more")
    pairs = _pairs(outcomes, most)
    count = pairs.count
    if count == 1 or eps >= 1:
        return (Verdict(Decision.KEEP, f"nobody can lie more than {eps:g} below"),) * count
    z = _off_diagonal(pairs.z(eps / most), -np.inf)
    hardest = z.argmax(axis=0)  # who stands most in the way of each candidate
    reject, keep = upper_quantile(BUDGET / (count * (count - 1))), upper_quantile(BUDGET / count)
    needed = np.where(
        pairs.difference > eps / most,
        pairs.samples_for(eps / most, reject, POWER),
        pairs.samples_for(eps / most, keep, POWER),
    )
    return tuple(
        _verdict(
            _describe(float(pairs.scores[j]) * most, pairs.samples),
            keep=z[i, j] < -keep,
            reject=z[i, j] > reject,
            kept=f"within {eps:g} of the best beyond doubt",
            rejected=f"more than {eps:g} below the best beyond doubt",
            needed=max(float(needed[i, j]), float(pairs.samples)),
        )
        for j, i in enumerate(hardest.tolist())
    )


def not_worse(
    pair: Outcomes, by: float, candidates: int, whom: str, *, most: float = 1.0
) -> Verdict:
    """Return whether the first of two columns is shown to be at most `by` worse than the second.

    `pair`: [n, 2], a candidate and an incumbent. Non-inferiority at level `BUDGET / candidates`;
    what the data don't decide is rejected.
    """
    pairs = _pairs(pair, most)
    z, level = float(pairs.z(-by / most)[0, 1]), upper_quantile(BUDGET / candidates)
    gain = float(pairs.difference[0, 1]) * most
    what = f"{_describe(float(pairs.scores[0]) * most, pairs.samples)}, {gain:+.3f} against {whom}"
    if z > level:
        return Verdict(Decision.KEEP, f"{what}: at most {by:g} worse beyond doubt")
    needed = float(pairs.samples_for(-by / most, level, POWER)[0, 1])
    shown = f"{what}: not shown to be at most {by:g} worse"
    if gain <= -by or not math.isfinite(needed):
        return Verdict(Decision.REJECT, shown)
    samples = _two_digits(max(needed, pairs.samples))
    return Verdict(Decision.REJECT, f"{shown}; about {samples:,} samples would decide", samples)


def in_top(outcomes: Outcomes, k: float, *, most: float = 1.0) -> tuple[Verdict, ...]:
    """Return whether each candidate ranks among the best `ceil(k * K)`, beyond doubt.

    `outcomes`: [n, K]; returns K verdicts. A candidate's rank lies between 1 + the number that
    are significantly better and K - the number significantly worse. Below 10,000 samples nearly
    always undecided.
    """
    if not 0 < k <= 1:
        raise MeasurementError(f"in_top({k!r}): k is a share, over 0 and at most 1")
    pairs = _pairs(outcomes, most)
    count, last = pairs.count, rank_of_share(k, pairs.count)
    level = upper_quantile(BUDGET / max(1, count * (count - 1)))
    z = _off_diagonal(pairs.z(0.0), 0.0)
    best, worst = 1 + (z > level).sum(axis=0), count - (z < -level).sum(axis=0)
    needed = _off_diagonal(pairs.samples_for(0.0, level, POWER), np.inf)
    return tuple(
        _verdict(
            f"{_describe(score * most, pairs.samples)}, rank {best[j]} to {worst[j]} of {count}",
            keep=bool(worst[j] <= last),
            reject=bool(best[j] > last),
            kept=f"among the best {last} beyond doubt",
            rejected=f"not among the best {last} beyond doubt",
            needed=max(
                _samples_for_rank(needed[:, j], pairs.difference[:, j], last), pairs.samples
            ),
        )
        for j, score in enumerate(pairs.scores.tolist())
    )


def samples_beyond(threshold: float, distance: float, candidates: int) -> int | None:
    """Return how many samples decide about an accuracy that lies `distance` from a threshold.

    On the side that takes more of them; None where neither side is a share.
    """
    sides = [p for p in (threshold - distance, threshold + distance) if 0 <= p <= 1]
    z = upper_quantile(BUDGET / candidates)
    needed = [_samples_for_threshold(p, threshold, z) for p in sides]
    return _two_digits(max(needed)) if needed else None


def samples_within(eps: float, distance: float, candidates: int, differing: float) -> int | None:
    """Return how many samples decide about `within(eps)`, `distance` from its border.

    `differing`: the share of samples on which one of two candidates is right and the other wrong.
    None for a family of one, of which nothing is asked.
    """
    if candidates < 2:
        return None
    keep, reject = (upper_quantile(BUDGET / n) for n in (candidates, candidates * (candidates - 1)))
    needed = [
        ((z + upper_quantile(1 - POWER)) / distance) ** 2 * (max(differing, abs(d)) - d * d)
        for z, d in ((keep, eps - distance), (reject, eps + distance))
    ]
    return _two_digits(max(needed))


def _against(
    outcomes: Outcomes,
    threshold: float,
    candidates: int,
    most: float,
    above: Decision,
    below: Decision,
) -> Verdict:
    if not math.isfinite(threshold):
        raise MeasurementError(f"a threshold of {threshold!r}: give a finite number")
    if most != 1:
        outcomes = outcomes.astype(np.float64) / most
    _check(outcomes, dimensions=1)
    samples, right = len(outcomes), float(outcomes.sum(dtype=np.float64))
    what = _describe(right / samples * most, samples)
    is_above, is_below = _beyond(outcomes, right, threshold / most, BUDGET / candidates)
    if is_above:
        return Verdict(above, f"{what}: above {threshold:g} beyond doubt")
    if is_below:
        return Verdict(below, f"{what}: below {threshold:g} beyond doubt")
    z = upper_quantile(BUDGET / candidates)
    needed = _samples_for_threshold(right / samples, threshold / most, z)
    return _undecided(what, max(needed, samples))


def _beyond(outcomes: Outcomes, right: float, threshold: float, level: float) -> tuple[bool, bool]:
    """Return whether the accuracy is significantly above the threshold, and below it."""
    if not 0 <= threshold <= 1:
        return threshold < 0, threshold > 1
    if not ((outcomes == 0) | (outcomes == 1)).all():
        # the binomial's tail, e times, bounds that of any values in [0, 1]: Bentkus (2004)
        level /= math.e
    samples = len(outcomes)
    at_or_above = special.bdtrc(math.floor(right + ROUNDING) - 1, samples, threshold)
    at_or_below = special.bdtr(math.ceil(right - ROUNDING), samples, threshold)
    return bool(at_or_above <= level), bool(at_or_below <= level)


def _samples_for_threshold(score: float, threshold: float, z: float) -> float:
    """Sample size of the one-sided test of a share, with the normal approximation."""
    if score == threshold:
        return math.inf
    spread = z * math.sqrt(threshold * (1 - threshold))
    spread += upper_quantile(1 - POWER) * math.sqrt(score * (1 - score))
    return (spread / (score - threshold)) ** 2


def _samples_for_rank(needed: Floats, lead: Floats, last: int) -> float:
    """Return samples that would settle one candidate's rank, if all differ as they seem to.

    `needed` and `lead`: [K], against every other. It is in when all but `last` are known to
    be worse, out when `last` are known to be better.
    """
    better, worse = np.sort(needed[lead > 0]), np.sort(needed[lead < 0])
    if len(better) >= last:
        return float(better[last - 1])
    required = len(needed) - last
    return float(worse[required - 1]) if 0 < required <= len(worse) else math.inf


def _verdict(
    what: str, *, keep: bool, reject: bool, kept: str, rejected: str, needed: float
) -> Verdict:
    if keep:
        return Verdict(Decision.KEEP, f"{what}: {kept}")
    if reject:
        return Verdict(Decision.REJECT, f"{what}: {rejected}")
    return _undecided(what, needed)


def _undecided(what: str, needed: float) -> Verdict:
    if not math.isfinite(needed):
        return Verdict(Decision.UNDECIDED, f"{what}: too close for any number of samples to decide")
    samples = _two_digits(needed)
    reason = f"{what}: about {samples:,} samples would decide"
    return Verdict(Decision.UNDECIDED, reason, samples)


def _two_digits(value: float) -> int:
    """Round to two significant digits: no needed size is known better than that."""
    return int(float(f"{value:.1e}"))


def _describe(score: float, samples: int) -> str:
    low, high = wilson(min(score, 1.0), samples)
    return f"{score:.3f} [{low:.3f}, {high:.3f}] of {samples:,}"


def _pairs(outcomes: Outcomes, most: float) -> Pairs:
    """Compare all pairs of candidates; values that go up to `most` are made at most 1."""
    scaled = outcomes if most == 1 else outcomes.astype(np.float64) / most
    return Pairs.of(_check(scaled, dimensions=2))


def _off_diagonal(values: Floats, diagonal: float) -> Floats:
    values = values.copy()
    np.fill_diagonal(values, diagonal)
    return values


def _check(outcomes: Outcomes, dimensions: int) -> Outcomes:
    if outcomes.ndim != dimensions or 0 in outcomes.shape:
        wanted = "[samples]" if dimensions == 1 else "[samples, candidates]"
        raise MeasurementError(f"outcomes of shape {outcomes.shape}: give {wanted}, not empty")
    low, high = float(outcomes.min()), float(outcomes.max())  # nan passes through both
    if not (low >= 0 and high <= 1):
        raise MeasurementError(
            f"outcomes from {low:g} to {high:g}: a verdict beyond doubt needs correctness, or "
            "values in [0, 1]"
        )
    return outcomes
