"""Who is kept: rules on the scores of a family, and what the verdicts of several specs add up to.

Scores are [K], nan for a candidate without one, which no rule keeps. Verdicts are matrices
[specs, K]. All comparisons are inclusive.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.errors import ScoresError

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

ROUNDING = 1e-9
"""Accuracies differ by 1/n or not at all: 0.93 is within 0.01 of 0.94, whatever floats say."""


def within(scores: Floats, eps: float, *, higher_is_better: bool = True) -> Mask:
    """Who is at most ``eps`` worse than the best: the Rashomon set [K]."""
    if not eps >= 0:
        raise ScoresError(f"within({eps!r}): eps is a distance, 0 or more")
    good = scores if higher_is_better else -scores
    kept: Mask = good >= np.fmax.reduce(good) - eps - ROUNDING
    return kept


def in_top(
    scores: Floats,
    k: float,
    *,
    copies: npt.NDArray[np.integer] | None = None,
    higher_is_better: bool = True,
) -> Mask:
    """Who is at least the ``ceil(k * n)``-th best of the n candidates with a score: [K].

    Ties are kept. ``copies`` ([K]) counts a candidate several times in the ranking: with
    ``table_counts(design)`` the cells of all tables are ranked, as in the paper, where the default
    configuration stands in every table.
    """
    if not 0 < k <= 1:
        raise ScoresError(f"in_top({k!r}): k is a share, over 0 and at most 1")
    good = scores if higher_is_better else -scores
    ranked = np.repeat(good, copies) if copies is not None else good
    ranked = np.sort(ranked[~np.isnan(ranked)])[::-1]
    if not len(ranked):
        return np.zeros(len(scores), dtype=bool)
    kept: Mask = good >= ranked[rank_of_share(k, len(ranked)) - 1] - ROUNDING
    return kept


def rank_of_share(k: float, count: int) -> int:
    """``ceil(k * count)``, where 0.7 of 10 is 7 although floats say a little more."""
    return max(1, math.ceil(k * count - ROUNDING))


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What every spec said of every candidate: all matrices are [specs, K].

    ``rejected`` holds what an unforeseen spec (one that is not ``enforced``, [specs]) would have
    rejected. ``undecided`` pairs are also kept or rejected, as the user chose. ``screened`` pairs
    were not judged, since another spec had rejected the candidate; None: nobody was screened.
    """

    names: tuple[str, ...]
    enforced: Mask
    judged: Mask
    rejected: Mask
    undecided: Mask
    screened: Mask | None = None

    @property
    def rejecting(self) -> Mask:
        """Rejections that count: those of enforced specs."""
        return self.rejected & self.judged & self.enforced[:, None]


@dataclass(frozen=True)
class FunnelRow:
    """How many candidates one spec judged, kept and rejected: ``judged == kept + rejected``."""

    name: str
    enforced: bool
    judged: int
    kept: int
    rejected: int
    """By an unforeseen spec: how many it would have rejected."""
    undecided: int
    only_here: int | None
    """Rejected by this enforced spec and by no other; None where others didn't judge them all."""
    screened: int = 0


def survivors(verdicts: Verdicts) -> Mask:
    """Candidates that no enforced spec rejected: [K]."""
    kept: Mask = ~np.logical_or.reduce(verdicts.rejecting, axis=0)
    return kept


def funnel(verdicts: Verdicts) -> tuple[FunnelRow, ...]:
    """One row per spec, in the order of the specs."""
    rejecting = verdicts.rejecting
    alone = rejecting & (rejecting.sum(axis=0) == 1)
    screened = np.zeros_like(alone) if verdicts.screened is None else verdicts.screened
    open_ = (screened & verdicts.enforced[:, None]).any(axis=0)  # who might be rejected by others
    rejected = verdicts.rejected & verdicts.judged
    undecided = verdicts.undecided & verdicts.judged
    return tuple(
        FunnelRow(
            name=name,
            enforced=bool(verdicts.enforced[s]),
            judged=int(verdicts.judged[s].sum()),
            kept=int((verdicts.judged[s] & ~rejected[s]).sum()),
            rejected=int(rejected[s].sum()),
            undecided=int(undecided[s].sum()),
            only_here=None if (alone[s] & open_).any() else int(alone[s].sum()),
            screened=int(screened[s].sum()),
        )
        for s, name in enumerate(verdicts.names)
    )


def redundant(verdicts: Verdicts) -> tuple[str, ...]:
    """Enforced specs that reject somebody, but nobody whom the others would keep.

    Each could go by itself. Two that reject the same candidates are both listed, and only one of
    them can go. A spec that rejects nobody is not listed: its row in the funnel says so.
    """
    return tuple(
        row.name for row in funnel(verdicts) if row.enforced and row.rejected and row.only_here == 0
    )


def conflicting(verdicts: Verdicts) -> tuple[tuple[str, str], ...]:
    """Pairs of enforced specs that together leave nobody, though each alone leaves somebody."""
    rejecting = verdicts.rejecting
    open_minded = np.flatnonzero(verdicts.enforced & ~rejecting.all(axis=1))
    return tuple(
        (verdicts.names[a], verdicts.names[b])
        for a, b in itertools.combinations(open_minded.tolist(), 2)
        if (rejecting[a] | rejecting[b]).all()
    )
