"""Who is kept: rules on the scores of a family.

Scores are [K], nan for a candidate without one, which no rule keeps. All comparisons are inclusive.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.errors import ScoresError

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

ROUNDING = 1e-9
"""Accuracies differ by 1/n or not at all: 0.93 is within 0.01 of 0.94, whatever floats say."""


def within(
    scores: Floats, eps: float, *, among: Floats | None = None, higher_is_better: bool = True
) -> Mask:
    """Return who is at most `eps` worse than the best: the Rashomon set [K].

    The best of `among`, [any number], where that is given, else of the scores themselves.
    """
    if not eps >= 0:
        raise ScoresError(f"within({eps!r}): eps is a distance, 0 or more")
    good, others = _rising(scores, among, higher_is_better=higher_is_better)
    kept: Mask = good >= np.fmax.reduce(others) - eps - ROUNDING
    return kept


def _rising(
    scores: Floats, among: Floats | None, *, higher_is_better: bool
) -> tuple[Floats, Floats]:
    """Return the scores, and those that they are compared with, the higher the better."""
    others = scores if among is None else among
    return (scores, others) if higher_is_better else (-scores, -others)


def in_top(
    scores: Floats,
    k: float,
    *,
    among: Floats | None = None,
    copies: npt.NDArray[np.integer] | None = None,
    higher_is_better: bool = True,
) -> Mask:
    """Return who is at least the `ceil(k * n)`-th best of the n candidates with a score: [K].

    Ties are kept. Ranked are the scores of `among`, where they are given. `copies` counts one of
    these several times in the ranking: with `table_counts(design)` the cells of all tables are
    ranked, as in the paper, where the default configuration stands in every table.
    """
    if not 0 < k <= 1:
        raise ScoresError(f"in_top({k!r}): k is a share, over 0 and at most 1")
    good, others = _rising(scores, among, higher_is_better=higher_is_better)
    ranked = np.repeat(others, copies) if copies is not None else others
    ranked = np.sort(ranked[~np.isnan(ranked)])[::-1]
    if not len(ranked):
        return np.zeros(len(scores), dtype=bool)
    kept: Mask = good >= ranked[rank_of_share(k, len(ranked)) - 1] - ROUNDING
    return kept


def rank_of_share(k: float, count: int) -> int:
    """Return `ceil(k * count)`, where 0.7 of 10 is 7 although floats say a little more."""
    return max(1, math.ceil(k * count - ROUNDING))
