"""Choosing one survivor, and by how little it won."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.evaluation.candidate import Candidate
from pytest_multiplicity.evaluation.metric import Metric
from pytest_multiplicity.evaluation.score import Score, visible
from pytest_multiplicity.statistics import BUDGET, Pairs, upper_quantile

if TYPE_CHECKING:
    from pytest_multiplicity.evaluation.incumbent import Incumbent


@dataclass(frozen=True)
class Choice:
    """The best of the survivors by one score. `str` says by how little it won."""

    candidate: Candidate | Incumbent
    """The incumbent itself where it was to be kept and nobody is better."""
    score: float
    runner_up: Candidate | Incumbent | None
    """None where there is but one survivor."""
    margin: float
    """How much better it is than the runner-up, 0 or more; 0 without one."""
    peers: tuple[Candidate | Incumbent, ...] | None
    """Those whom the data don't tell from it, paired and corrected for their number; None where
    the outcome of every sample is not known."""
    metric: str = ""

    def __str__(self) -> str:
        told = f"{self.candidate.id} with {float(self.score):.4g}"
        told += f" ({visible(self.metric)})" if self.metric else ""
        if self.runner_up is None:
            return f"{told}, the only survivor"
        lead = f"{self.margin:.4g} ahead of" if self.margin else "level with"
        told += f", {lead} {self.runner_up.id}"
        if self.peers is None:
            return told
        others = f"{len(self.peers)} other{'s' if len(self.peers) != 1 else ''}"
        return f"{told}; the data don't tell it from {others}"


def choose(
    candidates: Sequence[Candidate],
    indices: Sequence[int],
    by: Callable[[Any], float],
    keep: Incumbent | None = None,
) -> Choice:
    """Return the best candidate; of equals the first, and before all of them who is to be kept.

    `indices`: places in the family. Raises MeasurementError for a score that is no finite number.
    """
    scores = [_finite(by(candidate), candidate) for candidate in candidates]
    metric = scores[0].metric if isinstance(scores[0], Score) else None
    if keep is not None:
        scores = [_finite(by(keep), keep), *scores]
        return _chosen([keep, *candidates], indices, scores, metric)
    return _chosen(candidates, indices, scores, metric)


def _chosen(
    candidates: Sequence[Candidate | Incumbent],
    indices: Sequence[int],
    scores: Sequence[float],
    metric: Metric | None,
) -> Choice:
    sign = -1 if metric is not None and not metric.higher_is_better else 1
    order = sorted(range(len(scores)), key=lambda i: -sign * scores[i])
    first, second = order[0], order[1] if len(order) > 1 else None
    return Choice(
        candidate=candidates[first],
        score=scores[first],
        runner_up=None if second is None else candidates[second],
        margin=0.0 if second is None else abs(float(scores[first]) - float(scores[second])),
        peers=_peers(candidates, indices, first, metric),
        metric="" if metric is None else metric.name,
    )


def _finite(score: float, candidate: Candidate | Incumbent) -> float:
    if not isinstance(score, int | float | np.number) or not math.isfinite(score):
        raise MeasurementError(
            f"pick: the score of {candidate.id} is {score!r}: give by= a data set, or a function "
            "from a candidate to a finite number"
        )
    return score


def _peers(
    candidates: Sequence[Candidate | Incumbent],
    indices: Sequence[int],
    first: int,
    metric: Metric | None,
) -> tuple[Candidate | Incumbent, ...] | None:
    """Return those whom the winner does not beat at 5%, over all pairs, of which it is the best."""
    if metric is None or metric.outcomes is None:
        return None
    count = len(candidates)
    level = upper_quantile(BUDGET / max(1, count * (count - 1)))
    outcomes = metric.outcomes[:, list(indices)]
    if count > len(indices):  # the incumbent is among them, the first
        today = candidates[0]
        if metric.right_of is None or isinstance(today, Candidate):
            return None
        outcomes = np.column_stack([metric.right_of(today), outcomes])
    if metric.most != 1:
        outcomes = outcomes.astype(np.float64) / metric.most
    z = Pairs.of(outcomes).z(0.0)[first]
    return tuple(c for i, c in enumerate(candidates) if i != first and z[i] <= level)
