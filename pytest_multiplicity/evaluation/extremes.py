"""The worst and the best model as good as the survivors: what is asked, and the candidate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
    as_measure,
    is_higher_better,
    measure_name,
)
from pytest_multiplicity.evaluation.reaching import Reaching
from pytest_multiplicity.reach import Base, Inverses, Reach, extreme
from pytest_multiplicity.tasks import Task, Turning

Rebuild = Callable[[Tensor], Any]
CHURN = "churn"
BASES = 5  # survivors that are built on, those that score most
ASKED = 64  # samples that a measure is asked about one by one, the nearest to another answer


@dataclass(frozen=True, eq=False)
class Churn:
    """The share of answers that are others than those of a model."""

    turning: Turning
    theirs: Tensor

    def value(self, outputs: Tensor) -> float:
        """Return the share."""
        return float(self._differ(outputs).double().mean())

    def gains(self, outputs: Tensor, turned: Tensor) -> Tensor:
        """Return what turning each sample adds."""
        more = self._differ(turned).double() - self._differ(outputs).double()
        return more.to(outputs.device) / len(more)

    def _differ(self, outputs: Tensor) -> Tensor:
        said = self.turning.said(outputs).cpu()
        return self.turning.differ(said.reshape(self.theirs.shape), self.theirs)


@dataclass(frozen=True, eq=False)
class Scored:
    """A measure of the answers about a data set, `sign` times."""

    task: Task
    data: Data
    measure: Measure
    sign: float

    def value(self, outputs: Tensor) -> float:
        """Return what is to be large."""
        return self.sign * float(self.measure(self._read(outputs), self.data.targets))

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


def asked_of(asked: Reaching, of: Any, against: Any, *, best: bool) -> tuple[Any, str]:
    """Return what is to be large, and its name. Raises MeasurementError for what can't be asked."""
    task, data = asked.data.task, asked.data
    if isinstance(of, str) and of == CHURN:
        if best and against is None:
            raise MeasurementError(
                "the least churn against a survivor is its own, 0: give against=, an incumbent or "
                "a candidate"
            )
        if against is None:
            theirs = torch.from_numpy(asked.said[int(np.nanargmax(asked.scores))])
        elif not isinstance(against, Candidate | Incumbent):
            raise MeasurementError(
                f"against={against!r}: give an incumbent, or a candidate such as survivors[0]"
            )
        else:
            theirs = against.predictions(data)
        assert task.turning is not None  # as was checked
        return (_Less if best else Churn)(task.turning, theirs), CHURN
    if against is not None:
        raise MeasurementError(f"against={against!r} is for of='churn': leave it out")
    if isinstance(of, str) and of == "gap":
        raise MeasurementError("of='gap': say between whom, as in of=pm.Gap('race')")
    if isinstance(of, Gap) and of.of not in RATES:
        raise MeasurementError(
            f"of={of!r}: give a gap of a rate, one of {', '.join(map(repr, RATES))}"
        )
    measure = as_measure(of, task)
    higher = is_higher_better(measure, None)
    sign = (1.0 if best else -1.0) * (1.0 if higher else -1.0)
    name = measure_name(measure, None)
    if isinstance(of, Gap):
        grouped = of.among(data, torch.arange(len(data)), name)
        return GapBetween(task, data, grouped, sign), name
    return Scored(task, data, measure, sign), name


class _Less(Churn):
    """As little churn as there can be."""

    def value(self, outputs: Tensor) -> float:
        """Return what is to be large."""
        return -super().value(outputs)

    def gains(self, outputs: Tensor, turned: Tensor) -> Tensor:
        """Return what turning each sample adds."""
        return -super().gains(outputs, turned)


def most_extreme(asked: Reaching, of: Any, against: Any, *, best: bool) -> Candidate:
    """Return the worst model within the budget, or the best, of those that were built.

    Raises MeasurementError where none is good enough, as last layers compute by themselves.
    """
    wanted, name = asked_of(asked, of, against, best=best)
    order = np.argsort(-asked.scores, kind="stable")[:BASES].tolist()
    said = torch.from_numpy(asked.said)
    with asked.computing():
        reach = Reach(asked.data.task, said, asked.threshold)
        found = [(_of(asked.base(asked.indices[i]), reach, wanted), i) for i in order]
    there = [(each, place) for each, place in found if each is not None]
    if not there:
        raise MeasurementError(
            f"no model that was built scores {asked.threshold:.4g} on {asked.select.name!r}, also "
            "none with a survivor's own weights: its answers are rounded otherwise there; give "
            "within= more than one sample is worth"
        )
    (weights, _, built), place = max(there, key=lambda pair: pair[0][1])
    what = f"{'best' if best else 'worst'} {name}"
    return asked.candidate(built(weights), asked.indices[place], what)


def _of(base: Base, reach: Reach, wanted: Any) -> tuple[Tensor, float, Rebuild] | None:
    """Return weights, what they reach, and what makes a model of them."""
    found = extreme(base, Inverses([base]).of(0), reach, wanted.value, wanted.gains)
    return None if found is None else (found.weights, found.value, base.head.built)
