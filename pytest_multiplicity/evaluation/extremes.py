"""The worst and the best model as good as the survivors: what is asked, and the candidate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from pytest_multiplicity.data import Data
from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.evaluation.candidate import Candidate
from pytest_multiplicity.evaluation.gap import RATES, Gap, GroupedGap
from pytest_multiplicity.evaluation.incumbent import Incumbent
from pytest_multiplicity.evaluation.measure import (
    Measure,
    Ours,
    apply_measure,
    as_measure,
    is_higher_better,
    measure_name,
    with_attributes,
)
from pytest_multiplicity.evaluation.reached import ExtremeFacts
from pytest_multiplicity.evaluation.reaching import Reaching
from pytest_multiplicity.evaluation.same_value import content_of
from pytest_multiplicity.reach import Extreme, Inverses, Reach, extreme
from pytest_multiplicity.store import Entry
from pytest_multiplicity.tasks import Task, Turning, share_right

CHURN = "churn"
BASES = 5  # survivors that are built on, those that score most
ASKED = 64  # samples that a measure is asked about one by one, the nearest to another answer


class Sought(Protocol):
    """What a model is to have much of, or little."""

    @property
    def sign(self) -> float:
        """1: much of it; -1: little."""

    def of_answers(self, answers: Tensor) -> float:
        """Return how much of it a model with such answers has."""

    def value(self, outputs: Tensor) -> float:
        """Return, of outputs of a last layer, what is to be large."""

    def gains(self, outputs: Tensor, turned: Tensor) -> Tensor:
        """Return what turning each sample adds to that."""


class Question(NamedTuple):
    """What is sought, how it is called, and its content; None: no store can know it."""

    sought: Sought
    name: str
    against: str | None
    percent: bool
    content: str | None


@dataclass(frozen=True, eq=False)
class Churn:
    """The share of answers that are others than those of a model."""

    task: Task
    turning: Turning
    theirs: Tensor
    sign: float

    def of_answers(self, answers: Tensor) -> float:
        """See `Sought`."""
        return self._share(self._differ(self.task.predictions(answers)))

    def value(self, outputs: Tensor) -> float:
        """See `Sought`."""
        return self.sign * self._share(self._differ(self.turning.said(outputs)))

    def gains(self, outputs: Tensor, turned: Tensor) -> Tensor:
        """See `Sought`."""
        now, then = (self._differ(self.turning.said(each)).double() for each in (outputs, turned))
        return self.sign * (then - now).to(outputs.device) / len(now)

    def _differ(self, said: Tensor) -> Tensor:
        return self.turning.differ(said.cpu().reshape(self.theirs.shape), self.theirs)

    def _share(self, differ: Tensor) -> float:
        return float(differ.double().mean())


@dataclass(frozen=True, eq=False)
class Scored:
    """A measure of the answers about a data set."""

    task: Task
    data: Data
    measure: Measure
    name: str
    sign: float

    def of_answers(self, answers: Tensor) -> float:
        """See `Sought`."""
        return apply_measure(self.measure, answers, self.data.targets, self.name, "a built model")

    def value(self, outputs: Tensor) -> float:
        """See `Sought`."""
        return self.sign * self.of_answers(self._read(outputs))

    def gains(self, outputs: Tensor, turned: Tensor) -> Tensor:
        """Return what turning each of the nearest samples adds; nothing is known of others."""
        near = (turned - outputs).norm(dim=1).argsort(stable=True)[:ASKED].tolist()
        now, found = self.value(outputs), torch.zeros(len(outputs), dtype=torch.float64)
        for row in near:
            alone = outputs.clone()
            alone[row] = turned[row]
            found[row] = self.value(alone) - now
        return found.to(outputs.device)

    def _read(self, outputs: Tensor) -> Tensor:
        return self.task.read_answers(outputs.cpu(), self.data.targets, self.data.name)


@dataclass(frozen=True, eq=False)
class GapBetween(Scored):
    """A gap of a rate between groups."""

    def gains(self, outputs: Tensor, turned: Tensor) -> Tensor:
        """Return what turning each sample adds to the rates of the extreme groups."""
        grouped, targets = self.measure, self.data.targets
        assert isinstance(grouped, GroupedGap)
        (now, weights), (then, _) = (
            grouped.of_samples(self._read(each), targets) for each in (outputs, turned)
        )
        rates = grouped.rates(self._read(outputs), targets).by_group()
        kept = weights > 0
        found = np.zeros(len(targets))
        for group, part in ((int(np.argmax(rates)), 1.0), (int(np.argmin(rates)), -1.0)):
            inside = kept & (grouped.groups == group)
            change = then[inside].astype(float) - now[inside].astype(float)
            found[inside] += part * change / inside.sum()
        sign = -self.sign if grouped.gap.ratio else self.sign
        return sign * torch.from_numpy(found).to(outputs.device)


def question(asked: Reaching, of: Any, against: Any, *, best: bool) -> Question:
    """Return what is sought. Raises MeasurementError for what can't be."""
    if isinstance(of, str) and of == CHURN:
        return _churn(asked, against, best=best)
    if against is not None:
        raise MeasurementError(f"against={against!r} is for of='churn': leave it out")
    if isinstance(of, str) and of == "gap":
        raise MeasurementError("of='gap': say between whom, as in of=pm.Gap('race')")
    if isinstance(of, Gap) and of.of not in RATES:
        raise MeasurementError(
            f"of={of!r}: give a gap of a rate, one of {', '.join(map(repr, RATES))}"
        )
    task, data = asked.data.task, asked.data
    measure = as_measure(of, task)
    sign = (1.0 if best else -1.0) * (1.0 if is_higher_better(measure, None) else -1.0)
    name = measure_name(measure, None)
    whole = with_attributes(measure, data, torch.arange(len(data)), name)
    kind = GapBetween if isinstance(of, Gap) else Scored
    percent = isinstance(measure, Ours) and measure.proportion
    content = content_of([name, of])
    return Question(kind(task, data, whole, name, sign), name, None, percent, content)


def _churn(asked: Reaching, against: Any, *, best: bool) -> Question:
    if best and against is None:
        raise MeasurementError(
            "the least churn against a survivor is its own, 0: give against=, an incumbent or a "
            "candidate"
        )
    task = asked.data.task
    if against is None:
        place = int(np.nanargmax(asked.scores))
        theirs, whom = torch.from_numpy(asked.said[place]), asked.id_of(place)
    elif not isinstance(against, Candidate | Incumbent):
        raise MeasurementError(
            f"against={against!r}: give an incumbent, or a candidate such as survivors[0]"
        )
    else:
        theirs, whom = against.predictions(asked.data), against.id
    assert task.turning is not None  # as was checked
    churn = Churn(task, task.turning, theirs, -1.0 if best else 1.0)
    return Question(churn, CHURN, whom, True, content_of([CHURN, theirs]))


def most_extreme(asked: Reaching, of: Any, against: Any, *, best: bool) -> Candidate:
    """Return the worst model within the budget, or the best, of those that were built.

    It is looked up where the store has it. Raises MeasurementError where none is good enough, as
    last layers compute by themselves.
    """
    sought = question(asked, of, against, best=best)
    end = "best" if best else "worst"
    unknown = sought.content is None or asked.judge is not None
    key = None if unknown else asked.key(end, sought.content)
    threshold = asked.threshold  # trains who isn't yet
    entry = asked.looked_up(key, lambda: _searched(asked, sought.sought, threshold))
    place, index = int(entry.meta["base"]), asked.indices[int(entry.meta["base"])]
    weights = entry.tensors["weights"]
    what = f"{end} {sought.name}" + " that specs keep" * (asked.judge is not None)
    found = asked.candidate(asked.built(index, weights), index, what, held=weights)
    theirs = [
        sought.sought.of_answers(asked.family.logits(i, asked.data, None)) for i in asked.indices
    ]
    first = int(np.nanargmax(asked.scores))
    fresh = share_right(asked.data.task, torch.from_numpy(asked.said[first]), asked.data.targets)
    asked.family.beside.extremes[key or found.id] = ExtremeFacts(
        id=found.id,
        end=end,
        of=sought.name,
        against=sought.against,
        data=asked.data.name,
        select=asked.select.name,
        within=float(asked.within),
        percent=sought.percent,
        value=sought.sought.sign * float(entry.meta["value"]),
        survivors=(min(theirs), max(theirs)),
        score=float(entry.meta["score"]),
        best=float(asked.scores[first]),
        fresh=float(entry.meta["fresh"]),
        fresh_base=fresh,
        base=asked.id_of(place),
        specs=asked.judge is not None,
    )
    return found


def _searched(asked: Reaching, sought: Sought, threshold: float) -> Entry:
    """Return the weights of the most extreme model, and what it has."""
    order: Sequence[int] = np.argsort(-asked.scores, kind="stable")[:BASES].tolist()
    reach = Reach(asked.data.task, torch.from_numpy(asked.said), threshold)
    there: list[tuple[Extreme, int]] = []
    for place in order:
        base = asked.bases.base(asked.indices[place])
        inverse = Inverses([base]).of(0)
        keeps = partial(asked.keeps, base, place)
        found = extreme(base, inverse, reach, sought.value, sought.gains, keeps)
        if found is not None:
            there.append((found, place))
    if not there:
        raise MeasurementError(
            f"no model that was built scores {threshold:.4g} on {asked.select.name!r}"
            + " and is kept by every enforced specification" * (asked.judge is not None)
            + ", also none with a survivor's own weights: its answers are rounded otherwise there; "
            "give within= more than one sample is worth"
        )
    most, place = max(there, key=lambda pair: pair[0].value)
    numbers = {"value": most.value, "score": most.score, "fresh": most.fresh}
    return Entry({"weights": most.weights}, {"base": place, **numbers})
