"""Two models on the same samples: flips, gain and churn, with their intervals.

Of n samples a are right by both, b by the old model only, c by the new one only, d by neither. The
share of negative flips is b / n (Yan et al. 2021, positive-congruent training), the gain
(c - b) / n, backward trust a / (a + b) (Srivastava et al. 2020; Bansal et al. 2019), and churn the
share of changed answers, also among d.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import special

from pytest_multiplicity.errors import MeasurementError

Floats = npt.NDArray[np.float64]

STEPS = 50
"""Of bisection: to the last bits."""


def clopper_pearson(hits: float, samples: int, confidence: float) -> tuple[float, float]:
    """Return the exact interval of a share, two-sided: a tail of `(1 - confidence) / 2` each.

    Clopper and Pearson (Biometrika 26, 1934), as quantiles of beta distributions.
    """
    tail = (1 - confidence) / 2
    low = float(special.betaincinv(hits, samples - hits + 1, tail)) if hits > 0 else 0.0
    high = float(special.betainccinv(hits + 1, samples - hits, tail)) if hits < samples else 1.0
    return low, high


def tango(
    better: npt.ArrayLike, worse: npt.ArrayLike, samples: float, eps: npt.ArrayLike
) -> Floats:
    """Tango's score (1998, Statistics in Medicine 17) for a difference of paired shares.

    How far `(better - worse) / samples` lies above `eps`, in standard errors under it: the share
    behind `worse` is the root of the likelihood equation under a difference of `eps`.
    """
    b, c, e = (np.asarray(each, dtype=np.float64) for each in (better, worse, eps))
    linear = (2 * samples - b + c) * e - b - c
    constant = -c * e * (1 - e)
    q = (np.sqrt(np.maximum(linear**2 - 8 * samples * constant, 0.0)) - linear) / (4 * samples)
    variance = samples * (2 * q + e * (1 - e))
    above = b - c - samples * e
    return np.divide(above, np.sqrt(variance), out=np.zeros_like(above), where=variance > 0)


def tango_interval(better: int, worse: int, samples: int, confidence: float) -> tuple[float, float]:
    """Return Tango's interval of a difference of paired shares: where his score says neither."""
    z = float(-special.ndtri((1 - confidence) / 2))
    point = (better - worse) / samples
    return _root(better, worse, samples, z, point, -1.0), _root(
        better, worse, samples, -z, point, 1.0
    )


def _root(better: int, worse: int, samples: int, z: float, inside: float, outside: float) -> float:
    """Return the difference between the point and an end of [-1, 1] at which the score is z."""
    for _ in range(STEPS):
        middle = (inside + outside) / 2
        if abs(_score(better, worse, samples, middle)) < abs(z):
            inside = middle
        else:
            outside = middle
    return outside


def _score(b: int, c: int, n: int, e: float) -> float:
    """Return `tango` of plain numbers: a bisection asks it often."""
    linear = (2 * n - b + c) * e - b - c
    root = math.sqrt(max(linear * linear + 8 * n * c * e * (1 - e), 0.0))
    variance = (root - linear) / 2 + n * e * (1 - e)
    return (b - c - n * e) / math.sqrt(variance) if variance > 0 else 0.0


def mcnemar(better: int, worse: int) -> float:
    """Return the exact two-sided p-value of McNemar's test: are b and c equally likely?"""
    n = better + worse
    return min(1.0, 2 * float(special.bdtr(min(better, worse), n, 0.5))) if n else 1.0


def backward_trust(both: int, old_only: int) -> float:
    """Return the share of what the old model gets right that the new one does, too: a / (a + b).

    Raises MeasurementError where the old one is never right.
    """
    if both + old_only == 0:
        raise MeasurementError("backward trust: the incumbent is right about no sample")
    return both / (both + old_only)


def flips_per_error(old_only: int, neither: int) -> float:
    """Return the share of the new model's errors that are new: b / (b + d); 0 without errors."""
    wrong = old_only + neither
    return old_only / wrong if wrong else 0.0


def flips_between(right: npt.NDArray[np.generic]) -> Floats:
    """Return, unit by unit, the mean flips over ordered pairs of S models `[S, ...]`."""
    count = len(right)
    some = right.sum(axis=0, dtype=np.float64)
    flips: Floats = some * (count - some) / (count * (count - 1))
    return flips
