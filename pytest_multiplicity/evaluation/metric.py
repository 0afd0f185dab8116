"""A metric: one score for every candidate of a family, with what it was computed from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.design import Design
from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.evaluation.behind import Behind
from pytest_multiplicity.evaluation.facts import MetricRecord
from pytest_multiplicity.statistics import Noise, Sheet, clusters

if TYPE_CHECKING:
    from pytest_multiplicity.evaluation.comparing import Compared
    from pytest_multiplicity.evaluation.incumbent import Incumbent
    from pytest_multiplicity.store import Entry

Floats = npt.NDArray[np.float64]
NoiseOf = Callable[[npt.NDArray[np.intp]], Noise | None]
Look = Callable[[str, str], "Entry | None"]
"""Reads the store: an entry by kind and key, None where there is none."""
RightOf = Callable[["Incumbent"], npt.NDArray[Any]]
Judged = TypeVar("Judged")


BARE: dict[str, Any] = dict.fromkeys((
    "outcomes", "predictions", "targets", "counted", "noise_of", "portable", "behind", "right_of",
    "key", "n",
))  # fmt: skip
"""What a metric has of the samples behind it: nothing."""


def _unheard() -> None:
    """Nobody minds."""


COMPARED: ContextVar[Callable[[], None]] = ContextVar("COMPARED", default=_unheard)
"""Told that a candidate was compared with others of its family."""


@dataclass(frozen=True, eq=False)
class Metric:
    """One number per candidate, in the family's order; nan for a candidate that has none.

    `outcomes` are the per-sample values in [0, 1] whose means the scores are (`[n, K]`), or
    None where a score is no mean over samples; `key` is what the store knows them by. Where there
    are none, `noise_of` gives the test-set noise between the candidates at some positions.
    `n` is the number of samples, None where unknown; `counted` `[n]` how many units each of them
    has that are right or wrong by themselves, None where it is one. `proportion`: a share, shown
    as percent. Where it is none, `unit` says what scores are in, in words.
    `whole` is False for a view of a data set. `searched` marks the worst scores that a search
    over interventions found so far. `logits` holds, on a whole data set without intervention,
    what the store knows each candidate's logits by. `task` is that of the
    data, as a record. `complete` measures the candidates that were
    left out because specs had rejected them; None where nobody was. `portable` finds the noise in
    another process. `behind` knows intervals that are no share's, and `aside` is
    what it tells reports. `reference` is the same metric of the candidates that these are compared
    with, where that isn't the family that they are of.
    `right_of` says how right an incumbent is about each sample of an accuracy, and
    `beside` holds the incumbents that it was compared with since.
    """

    name: str
    scores: Floats
    design: Design = field(repr=False)
    n: int | None = None
    higher_is_better: bool = True
    data: str | None = None
    data_key: str | None = None
    whole: bool = True
    under: str = ""
    key: str | None = None
    outcomes: npt.NDArray[np.generic] | None = field(default=None, repr=False)
    predictions: npt.NDArray[Any] | None = field(default=None, repr=False)
    targets: npt.NDArray[Any] | None = field(default=None, repr=False)
    counted: npt.NDArray[np.integer] | None = field(default=None, repr=False)
    logits: Mapping[int, str] = field(default_factory=dict, repr=False)
    noise_of: NoiseOf | None = field(default=None, repr=False)
    task: Mapping[str, Any] | None = field(default=None, repr=False)
    proportion: bool = True
    unit: str = ""
    searched: bool = False
    complete: Callable[[], Metric] | None = field(default=None, repr=False)
    portable: Callable[[], str | None] | None = field(default=None, repr=False)
    reference: Callable[[], Metric] | None = field(default=None, repr=False)
    behind: Behind | None = field(default=None, repr=False)
    aside: Mapping[str, Any] | None = field(default=None, repr=False)
    right_of: RightOf | None = field(default=None, repr=False)
    beside: Mapping[Incumbent, Compared] = field(default_factory=dict, repr=False)
    _judged: dict[tuple[object, ...], Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def where(self) -> str:
        """`test`, or `test under PGD(0.005)`."""
        return f"{self.data} under {self.under}" if self.under else str(self.data)

    @property
    def most(self) -> float:
        """The largest value that outcomes can have."""
        return clusters.ceiling(self.counted)

    @cached_property
    def among(self) -> Metric:
        """The metric of those that are compared with: the family's own, or a reference."""
        return self if self.reference is None else self.reference()

    @cached_property
    def best(self) -> float:
        """The best score of the family."""
        scores = self.among.scores
        return float(np.nanmax(scores) if self.higher_is_better else np.nanmin(scores))

    def check_distance(self, eps: float, what: str) -> None:
        """Raise MeasurementError for a distance that no two scores in [0, 1] can have."""
        if not (self.proportion and 1 < eps < math.inf):  # asked with every pair
            return
        known = self.scores[self.measured]
        if np.all((known >= 0) & (known <= 1)):
            raise MeasurementError(
                f"{what}({eps!r}): no two scores lie more than 1 apart ({self.name}), so everybody "
                f"would pass; if it is in percent, give a share, such as {eps / 100:g}"
            )

    def score(self, index: int) -> float | None:
        """Return one candidate's score; None for a candidate that has none."""
        score = float(self.scores[index])
        return None if math.isnan(score) else score

    @cached_property
    def measured(self) -> list[int]:
        """Positions of the candidates that have a score."""
        return np.flatnonzero(~np.isnan(self.scores)).tolist()

    def of_everybody(self) -> Metric:
        """Return the metric with scores of the whole family: what comparisons within it need."""
        COMPARED.get()()
        return self if self.complete is None else self.complete()

    def judged(self, by: tuple[object, ...], judge: Callable[[], Judged]) -> Judged:
        """Return what a rule says of all candidates, worked out for the first who asks."""
        if by not in self._judged:
            self._judged[by] = judge()
        judged: Judged = self._judged[by]
        return judged

    def lacks(self, positions: Iterable[int]) -> bool:
        """Return whether any of these candidates has no score."""
        return any(math.isnan(self.scores[index]) for index in positions)

    def hand_on(self, whole: Metric) -> None:
        """Have the same metric of more candidates compared with whom this was compared."""
        if whole.right_of is not None:
            for incumbent in self.beside:
                whole.right_of(incumbent)

    def bare(self) -> Metric:
        """Return the scores alone, without the samples behind them."""
        return replace(self, **BARE)

    def example(self) -> Metric:
        """Return one example of a search, as small as the hundreds that a search sees should be."""
        return replace(self, **{**BARE, "n": self.n, "searched": True})

    def only(self, index: int) -> Metric:
        """Return what it says of one candidate, and nothing of the others."""
        scores = np.full(len(self.scores), np.nan)
        scores[index] = self.scores[index]
        return replace(self, scores=scores)

    def worse_of(self, other: Metric) -> Metric:
        """Return, candidate by candidate, the worse of two scores."""
        pick = np.fmin if self.higher_is_better else np.fmax
        scores = pick(self.scores, other.scores)
        return replace(self, **{**BARE, "scores": scores, "searched": True})

    def sheet(self) -> Sheet:
        """Return the sheet of this metric."""
        return Sheet(
            self.name,
            self.design,
            self.scores,
            outcomes=self.outcomes,
            most=self.most,
            samples=self.n if self.behind is None and "kind" not in (self.aside or {}) else None,
            unit="fraction" if self.proportion else "number",
            noise_of=self.noise_of,
        )

    def record(self, *, far: bool = False) -> MetricRecord:
        """Return what reports need of it; `far`: in another process than this one."""
        return MetricRecord(
            name=self.name,
            scores=tuple(map(self.score, range(len(self.scores)))),
            n=self.n,
            higher_is_better=self.higher_is_better,
            data=self.data,
            data_key=self.data_key,
            under=self.under,
            key=self.key,
            searched=self.searched,
            proportion=self.proportion,
            unit=self.unit,
            whole=self.whole,
            logits=dict(self.logits),
            task=self.task,
            portable=self.portable() if far and self.portable else None,
            aside=self._aside(),
        )

    def _aside(self) -> Mapping[str, Any] | None:
        """Return what reports say beside the scores."""
        if self.behind is not None:
            return self.behind.record()
        told = [compared.told for compared in self.beside.values()]
        return {"comparisons": told} if told else self.aside

    @classmethod
    def from_record(
        cls, record: MetricRecord, design: Design, look: Look, here: Metric | None = None
    ) -> Metric:
        """Return the metric of a record, with the samples behind it.

        `look` reads the store. `here` is the metric of that name that this process measured, if it
        did: its samples are taken where they are those of the record, and its noise in any case.
        """
        scores = np.array([np.nan if score is None else score for score in record.scores])
        if here is not None and here.key == record.key:
            found = replace(here, scores=scores, logits=record.logits, n=record.n)
            return replace(found, aside=record.aside)
        found = cls(**{**vars(record), "scores": scores, "portable": None}, design=design)
        noise_of = here.noise_of if here is not None else _noise_of(record, look)
        return _with_samples(replace(found, noise_of=noise_of), look)


def _with_samples(metric: Metric, look: Look) -> Metric:
    """Return the metric with what the store holds of it; nothing for recorded scores."""
    entry = look("scores", metric.key) if metric.key else None
    if entry is None:
        return metric
    arrays = {name: tensor.numpy() for name, tensor in entry.tensors.items()}
    return replace(metric, **samples_of(arrays))


def samples_of(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """Return what a metric has of the samples, from what the store holds of them."""
    counted = arrays.get("counted")
    if "predictions" not in arrays:
        return {"outcomes": arrays["expected"].T, "counted": counted}
    right = arrays.get("right")
    return {
        "outcomes": None if right is None else clusters.weighed(right, counted),
        "predictions": _narrow(arrays["predictions"]),
        "targets": arrays.get("targets"),
        "counted": counted,
    }


def _narrow(said: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return classes in the fewest bytes that hold them: every metric of a family has its own."""
    if said.dtype != np.int32 or not said.size:
        return said
    low, high = said.min(), said.max()
    fit = (t for t in (np.int8, np.int16) if np.iinfo(t).min <= low and high <= np.iinfo(t).max)
    return said.astype(next(fit, np.int32), copy=False)


def _noise_of(record: MetricRecord, look: Look) -> NoiseOf | None:
    """Return what finds the noise of a measure that another process took."""
    if record.portable is None:
        return None
    from pytest_multiplicity.evaluation.portable import Portable  # which needs torch

    measure = Portable.from_text(record.portable)
    return lambda positions: measure.noise(look, positions)
