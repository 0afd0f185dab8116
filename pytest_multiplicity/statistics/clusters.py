"""Shares of units that come in samples: positions of a mask, tags of a sentence.

Samples are independent, units of one are not. A share of all units is a ratio of sums over samples;
its variance is that of the linearised sums (Cochran, Sampling Techniques, 1977, chapter 6), its
design effect that variance over the one of as many independent units (Kish 1965), and its interval
Wilson's for as many independent units as have the same variance, with Student's quantile for few
samples (Korn and Graubard 1998).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from pytest_multiplicity.statistics.doubt import wilson

Floats = npt.NDArray[np.float64]


def weighed(shares: npt.NDArray[Any], counted: npt.NDArray[Any] | None) -> npt.NDArray[Any]:
    """Return outcomes `[n, K]` whose means are the shares of all units.

    `shares` `[K, n]` are those of each sample's own units, of which it has `counted` `[n]`; None:
    one each.
    """
    return shares.T if counted is None else (shares * (counted / counted.mean())).T


def ceiling(counted: npt.NDArray[Any] | None) -> float:
    """Return the largest value that outcomes can have: 1 where all samples count alike."""
    return 1.0 if counted is None else float(counted.max() / counted.mean())


def design_effect(outcomes: npt.NDArray[Any], counted: npt.NDArray[Any]) -> float | None:
    """Return how many times the variance of a share is that of as many independent units.

    `outcomes`: `[n]`, as `weighed` gives them. None where every unit says the same, or for one
    sample.
    """
    share, samples = float(outcomes.mean()), int((counted > 0).sum())
    if not 0 < share < 1 or samples < 2:
        return None
    residuals = outcomes - share * (counted / counted.mean())
    variance = samples / (samples - 1) * float((residuals**2).sum()) / len(outcomes) ** 2
    return variance / (share * (1 - share) / float(counted.sum()))


def interval(
    outcomes: npt.NDArray[Any], counted: npt.NDArray[Any], confidence: float = 0.95
) -> tuple[float, float]:
    """Return the interval of a share of units, robust to what samples have in common.

    Where all units say the same, a sample counts as one.
    """
    share = min(1.0, max(0.0, float(outcomes.mean())))
    samples, units = int((counted > 0).sum()), float(counted.sum())
    effect = design_effect(outcomes, counted)
    if effect is None:
        return wilson(share, samples, confidence)
    z = float(special.ndtri(0.5 + confidence / 2))
    t = float(special.stdtrit(samples - 1, 0.5 + confidence / 2))
    independent = units / max(1.0, effect) * (z / t) ** 2
    return wilson(share, max(1.0, independent), confidence)
