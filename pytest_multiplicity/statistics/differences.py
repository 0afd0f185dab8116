"""Differences of shares with intervals, from the interval of each share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def combined(
    weights: Sequence[float], shares: Sequence[tuple[float, float, float]]
) -> tuple[float, float, float]:
    """Return `sum(weight * share)` of independent shares, and its interval: (value, low, high).

    `shares`: (value, low, high) each. The variance at each end is recovered from the shares' own
    limits (Zou and Donner, Statistics in Medicine 27, 2008); of two shares with Wilson's limits,
    weighed 1 and -1, it is Newcombe's interval of their difference (1998, method 10).
    """
    w = np.asarray(weights, dtype=np.float64)
    value, low, high = np.asarray(shares, dtype=np.float64).T
    total = float(w @ value)
    down, up = (value - low) * w, (high - value) * w
    below = np.sqrt((np.where(w > 0, down, up) ** 2).sum())
    above = np.sqrt((np.where(w > 0, up, down) ** 2).sum())
    return total, total - float(below), total + float(above)
