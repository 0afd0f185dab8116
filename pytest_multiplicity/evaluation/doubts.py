"""Comparisons that hold or fail only where the data decide.

The procedures are in `statistics/doubt.py`; here they meet a score, and what is undecided is
handed to whoever judges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.evaluation.metric import Metric
from pytest_multiplicity.statistics import BUDGET, Decision, Verdict, doubt

if TYPE_CHECKING:
    from pytest_multiplicity.evaluation.incumbent import Incumbent


def _keep(reason: str) -> bool:
    """Outside a spec nobody judges: an undecided comparison holds."""
    return True


JUDGE: ContextVar[Callable[[str], bool]] = ContextVar("JUDGE", default=_keep)
"""Told why a comparison is undecided, answers whether the candidate is kept."""


class Doubted:
    """The result of a comparison beyond doubt; its truth value is the verdict."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict

    def __bool__(self) -> bool:
        if self.verdict.decision is Decision.UNDECIDED:
            return JUDGE.get()(self.verdict.reason)
        return self.verdict.decision is Decision.KEEP

    def __repr__(self) -> str:
        return f"<{self.verdict.decision.value}: {self.verdict.reason}>"


def not_worse(metric: Metric, index: int, incumbent: Incumbent, by: float) -> Doubted:
    """Return whether the data show a candidate to be at most `by` worse than an incumbent."""
    if not isinstance(by, int | float) or not 0 <= by < 1:
        raise MeasurementError(
            f"not_worse_than(by={by!r}): by is a distance from 0 to 1, such as 0.05 for 5 points"
        )
    if metric.right_of is None or metric.outcomes is None:
        raise MeasurementError(
            f"not_worse_than compares accuracies sample by sample, and {metric.name} is none: ask "
            "an accuracy on one group at a time, outside of a search"
        )
    pair = np.column_stack([metric.outcomes[:, index], metric.right_of(incumbent)])
    candidates, whom = len(metric.among.scores), incumbent.name
    return Doubted(doubt.not_worse(pair, by, candidates, whom, most=metric.most))


class BeyondDoubt:
    """A score whose comparisons keep or reject only what the data decide, at 5% in a family.

    The budget is split over the family's candidates (Bonferroni), so that a verdict doesn't depend
    on which other pairs ran. Between the two a comparison is undecided.
    """

    def __init__(
        self, metric: Metric, index: int, score: float, everybody: Callable[[], Metric]
    ) -> None:
        if metric.searched:
            raise MeasurementError(
                "beyond_doubt under @given: a search for the worst example voids the test; "
                "compare the score itself"
            )
        if metric.outcomes is None and metric.behind is None:
            raise MeasurementError(
                f"beyond_doubt needs the outcome of every sample, which {metric.name} doesn't "
                "have: compare the score itself"
            )
        self._metric, self._index, self._score = metric, index, score
        self._everybody = everybody
        self._candidates = len(metric.among.scores)

    def __repr__(self) -> str:
        return f"{self._score!r} beyond doubt"

    def __ge__(self, threshold: float) -> Doubted:
        return Doubted(self._against(threshold, least=True))

    def __le__(self, threshold: float) -> Doubted:
        return Doubted(self._against(threshold, least=False))

    def _against(self, threshold: float, *, least: bool) -> Verdict:
        """Compare with a threshold, by the outcomes or by the score's own interval."""
        metric, level = self._metric, BUDGET / self._candidates
        if metric.behind is not None:
            limits = metric.behind.limits(self._index, level)
            return doubt.by_limits(self._score, limits, threshold, metric.n, least=least)
        assert metric.outcomes is not None  # as was checked
        own, most = metric.outcomes[:, self._index], metric.most
        judge = doubt.at_least if least else doubt.at_most
        return judge(own, threshold, self._candidates, most=most)

    def within(self, eps: float) -> Doubted:
        """Return whether no other candidate is more than `eps` better; see `Score.within`."""
        self._metric.check_distance(eps, "within")
        judge = partial(doubt.within, eps=eps, most=self._metric.most)
        return self._verdict(("beyond doubt within", eps), judge)

    def in_top(self, k: float) -> Doubted:
        """Return whether it is among the best `ceil(k * n)`; rarely decided."""
        judge = partial(doubt.in_top, k=k, most=self._metric.most)
        return self._verdict(("beyond doubt in_top", k), judge)

    def _verdict(
        self,
        by: tuple[object, ...],
        judge: Callable[[npt.NDArray[np.generic]], Sequence[Verdict]],
    ) -> Doubted:
        metric = self._everybody()
        outcomes = metric.outcomes
        if outcomes is None:
            raise MeasurementError(
                f"beyond_doubt compares candidates sample by sample, and {metric.name} is no mean "
                "over samples: compare it with a threshold, or leave beyond_doubt out"
            )
        if metric.reference is not None:
            declared, own = metric.among, outcomes[:, self._index]
            assert declared.outcomes is not None  # as it is the same metric
            others = declared.outcomes[:, declared.measured]
            return Doubted(judge(_right(metric, np.column_stack([others, own])))[-1])
        verdicts = metric.judged(by, lambda: judge(_right(metric, outcomes[:, metric.measured])))
        return Doubted(verdicts[metric.measured.index(self._index)])


def _right(metric: Metric, outcomes: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Return outcomes of which more is better, as the procedures take them."""
    if metric.higher_is_better:
        return outcomes
    return metric.most - outcomes.astype(np.float64) if metric.most != 1 else 1 - outcomes
