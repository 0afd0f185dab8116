"""A score: a float that knows its metric, its candidate and what the data can say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.errors import MeasurementError, guarded
from pytest_multiplicity.evaluation.doubts import BeyondDoubt, Doubted, not_worse
from pytest_multiplicity.evaluation.metric import Metric
from pytest_multiplicity.statistics import clusters, doubt, selection, table_counts

if TYPE_CHECKING:
    from pytest_multiplicity.evaluation.incumbent import Incumbent


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


def check_confidence(confidence: object) -> None:
    """Raise MeasurementError for what is no share strictly between 0 and 1."""
    if not isinstance(confidence, int | float) or not 0 < confidence < 1:
        raise MeasurementError(f"confidence={confidence!r}: give a value between 0 and 1")


class Score(float):
    """One candidate's value of one metric; an accuracy lies in [0, 1].

    It compares and computes as a float. Its repr shows what a rejection needs: the value, its 95%
    interval, the metric, and the family's best once it was compared within the family: before, not
    everybody need be trained.
    """

    metric: Metric
    index: int
    among: Metric | None = None  # of all whom it was compared with

    def __new__(cls, metric: Metric, index: int) -> Score:
        """Return the score of the candidate at `index`."""
        score = super().__new__(cls, metric.scores[index])
        score.metric, score.index = metric, index
        return score

    def within(self, eps: float) -> bool:
        """Return whether it is at most `eps` worse than the family's best, inclusive.

        Raises MeasurementError where `eps` is over 1 and scores are shares.
        """
        self.metric.check_distance(eps, "within")
        metric = self._everybody()
        kept = metric.judged(
            ("within", eps),
            lambda: selection.within(
                metric.scores,
                eps,
                among=metric.among.scores,
                higher_is_better=metric.higher_is_better,
            ),
        )
        return bool(kept[self.index])

    def in_top(self, k: float, *, cells: bool = False) -> bool:
        """Return whether it is at least the `ceil(k * n)`-th best of the n distinct candidates.

        Ties are kept. `cells=True` ranks the cells of all tables, as the paper does: the default
        configuration then counts once per table (star designs only).
        """
        metric = self._everybody()
        if cells and metric.design.kind != "star":
            raise MeasurementError(
                f"in_top(cells=True) ranks the tables of a star design; this one is "
                f"{metric.design.kind}: leave cells out"
            )
        kept = metric.judged(
            ("in_top", k, cells),
            lambda: selection.in_top(
                metric.scores,
                k,
                among=metric.among.scores,
                copies=_copies(metric.among) if cells else None,
                higher_is_better=metric.higher_is_better,
            ),
        )
        return bool(kept[self.index])

    def not_worse_than(self, incumbent: Incumbent, by: float = 0.0) -> Doubted | bool:
        """Return whether the data show that it is at most `by` worse than the incumbent's accuracy.

        Non-inferiority on the same samples: Tango's score of the difference lies above `-by`, at
        5% over the family's candidates. Undecided is False. True where there is no incumbent.

        Raises MeasurementError for what is no accuracy on given samples, and for a `by` below 0.
        """
        from pytest_multiplicity.evaluation.incumbent import check_incumbent

        found = check_incumbent(incumbent, "not_worse_than")
        with guarded("the evaluation"):
            return not_worse(self.metric, self.index, found, by) if found else True

    def interval(self, confidence: float = 0.95) -> Interval:
        """Wilson's interval for a share of n samples; see `design_effect` for one of positions.

        A gap has one that is simultaneous over its groups.

        Raises MeasurementError where the metric is no share of samples, or n is unknown.
        """
        check_confidence(confidence)
        if self.metric.behind is not None:
            return Interval(*self.metric.behind.interval(self.index, confidence))
        if self.metric.n is None:
            raise MeasurementError(
                f"{self.metric.name} has no interval: it is no share of a known number of samples"
            )
        outcomes, counted = self.metric.outcomes, self.metric.counted
        if outcomes is None or counted is None:
            return Interval(*doubt.wilson(float(self), self.metric.n, confidence))
        return Interval(*clusters.interval(outcomes[:, self.index], counted, confidence))

    @property
    def design_effect(self) -> float | None:
        """How many times its variance is that of as many independent units.

        Of dense labels, whose positions aren't independent within a sample; None for anything else.
        """
        outcomes, counted = self.metric.outcomes, self.metric.counted
        if outcomes is None or counted is None:
            return None
        return clusters.design_effect(outcomes[:, self.index], counted)

    def __repr__(self) -> str:
        shown = f"{float(self):.4f}"
        if self.metric.n is not None:
            low, high = self.interval()
            shown += f" [{low:.4f}, {high:.4f}]"
        told = [visible(self.metric.name)]
        if self.among is not None:
            told.append(f"best {self.among.best:.4f}")
        if self.design_effect is not None:
            told.append(f"design effect {self.design_effect:.3g}")
        return f"{shown} ({'; '.join(told)})"

    def __reduce__(self) -> tuple[type[float], tuple[float]]:
        return float, (float(self),)  # a copy elsewhere is the number alone

    @property
    def beyond_doubt(self) -> BeyondDoubt:
        """The same comparisons, holding or failing only where the data decide."""
        return BeyondDoubt(self.metric, self.index, self, self._everybody)

    def _everybody(self) -> Metric:
        """Return the metric with scores of the whole family, to compare with."""
        self.among = self.metric.of_everybody()
        return self.among


def visible(text: str) -> str:
    """Without what a terminal would obey: pytest prints this as it is."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _copies(metric: Metric) -> npt.NDArray[np.integer]:
    """Return in how many tables each score stands; what was made of candidates counts once."""
    declared = table_counts(metric.design)
    return np.pad(declared, (0, len(metric.scores) - len(declared)), constant_values=1)
