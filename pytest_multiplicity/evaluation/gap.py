"""Gaps between groups: a measure that knows its counts, its interval and its floor."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pytest_multiplicity.data import attributes_named, check_groups, check_minimum, grouped
from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.evaluation.gap_facts import GapFacts, MeanRates, MeasuredRates, Rates
from pytest_multiplicity.evaluation.measure import (
    Measure,
    Ours,
    apply_measure,
    as_measure,
    bounded_noise,
    measure_name,
)
from pytest_multiplicity.statistics import Noise, gaps
from pytest_multiplicity.tasks import Named, Task, positives

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data

RATES = {
    "accuracy": "samples",
    "positive rate": "samples",
    "true positive rate": "positives",
    "false positive rate": "negatives",
}
"""Rates, and what they are shares of."""


@dataclass(frozen=True)
class Gap(Ours):
    """The gap of a rate between groups: `candidate.measure(pm.Gap("race"), data)`.

    Largest minus smallest over the groups that the values of an attribute make, or the smallest
    over the largest; a sample with a missing value is in no group.

    Args:
        by: an attribute, or several: then the groups are their intersections.
        of: "accuracy", "positive rate" (demographic parity), "true positive rate" (equal
            opportunity), "false positive rate", or a measure: a name or a function.
        ratio: the smallest over the largest instead.
        positive: the class that the rates are of; of two classes the second.
        minimum: groups with fewer samples are an error, which names them.

    Raises:
        MeasurementError: no such rate; which class is positive isn't said.
        DataError: no such attribute, fewer than two groups, a group that is too small.
    """

    by: str | Sequence[str]
    of: str | Measure = "accuracy"
    ratio: bool = False
    positive: Any = None
    minimum: int = 20

    def __post_init__(self) -> None:
        object.__setattr__(self, "by", attributes_named(self.by, "by"))
        check_minimum(self.minimum)

    @property
    def __name__(self) -> str:
        of = self.of if isinstance(self.of, str) else measure_name(self.of, None)
        which = "" if self.positive is None else f" of {self.positive!r}"
        few = "" if self.minimum == 20 else f" (minimum {self.minimum})"
        return f"{of}{which} {self.kind} by {' and '.join(self.by)}{few}"

    @property
    def kind(self) -> str:
        """`gap` or `ratio`."""
        return "ratio" if self.ratio else "gap"

    @property
    def higher_is_better(self) -> bool:
        """Of ratios only: a gap had better be small."""
        return self.ratio

    @property
    def unit(self) -> str:
        """That of the measure; nothing for rates and ratios, which are shares."""
        return self.of.unit if isinstance(self.of, Named) and not self.ratio else ""

    @property
    def proportion(self) -> bool:
        """Whether it is a share."""
        return self.ratio or self.of in RATES

    def for_task(self, task: Task) -> Gap:
        """Return the gap with the measure that a name means for a task."""
        found = self
        if isinstance(self.of, str) and self.of not in RATES:
            rates = ", ".join(map(repr, RATES))
            try:
                found = replace(self, of=as_measure(self.of, task))
            except MeasurementError as error:
                raise MeasurementError(f"no gap of {self.of!r}: there are {rates}, and measures; "
                                       f"{error}") from None  # fmt: skip
        if self.positive is not None and (self.of == "accuracy" or self.of not in RATES):
            raise MeasurementError(
                f"positive={self.positive!r} is for rates of positives, and this is the "
                f"{replace(found, positive=None).__name__}: leave it out"
            )
        return found

    def among(self, data: Data, rows: Tensor, name: str) -> GroupedGap:
        """Return the measure on some samples, whose groups are known."""
        codes, names = grouped(data.attributes, self.by, data.name, rows.numpy())
        return GroupedGap(self, data.task, codes, names, name)


@dataclass(frozen=True)
class GroupedGap:
    """A gap on certain samples: a measure of the answers about them."""

    gap: Gap
    task: Task
    groups: npt.NDArray[np.int64]
    """`[n]`, -1 for a sample in no group."""
    names: tuple[str, ...]
    name: str

    def __call__(self, answers: Tensor, targets: Tensor) -> float:
        """Return its value."""
        return self.value(self.rates(answers, targets))

    def value(self, rates: Rates) -> float:
        """Return the gap of rates. Raises MeasurementError for a ratio of zeros, or below 0."""
        by_group = rates.by_group()
        if self.gap.ratio and by_group.min() < 0:
            raise MeasurementError(
                f"{self.name}: {by_group.min():g} in {self.names[int(by_group.argmin())]}, and "
                "what lies below 0 has no ratio: ask for the gap"
            )
        found = float(gaps.extent(by_group, ratio=self.gap.ratio))
        if math.isnan(found):
            raise MeasurementError(
                f"{self.name}: the rate is 0 in every group, which has no ratio: ask for the gap"
            )
        return found

    def rates(self, answers: Tensor, targets: Tensor) -> Rates:
        """Return the rates of the groups, with the samples behind them."""
        if self.gap.of not in RATES:
            return self._measured(answers, targets)
        values, weights = self.of_samples(answers, targets)
        kept = (self.groups >= 0) & (weights > 0)
        groups = self.groups[kept]
        counts = np.bincount(groups, minlength=len(self.names))
        check_groups(counts, self.names, self.gap.minimum, RATES[str(self.gap.of)], self.name)
        return MeanRates(values[kept], weights[kept], groups, self._strata(targets)[kept])

    def of_samples(
        self, answers: Tensor, targets: Tensor
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return what is counted of each sample `[n]`, and how much it counts `[n]`."""
        if self.gap.of == "accuracy":
            right = self.task.right(self.task.predictions(answers)[None], targets)
            shares, counted = self.task.by_sample(right, targets)
            weights = np.ones(len(targets), dtype=bool) if counted is None else counted.numpy()
            return shares[0].numpy(), weights
        said, truth = positives(self.task, answers, targets, self.gap.positive, self.name)
        if self.gap.of == "positive rate":
            return said.numpy(), np.ones(len(said), dtype=bool)
        if truth is None:
            raise MeasurementError(
                f"{self.name}: a {self.gap.of} needs targets, and this data set has none; "
                'of="positive rate" doesn\'t'
            )
        return said.numpy(), (truth if self.gap.of == "true positive rate" else ~truth).numpy()

    def _strata(self, targets: Tensor) -> npt.NDArray[np.int64]:
        """Return within what labels of groups are exchangeable: classes of the target."""
        if not self.given_target:
            return np.zeros(len(targets), dtype=np.int64)
        codes: npt.NDArray[np.int64] = np.unique(targets.numpy(), return_inverse=True)[1]
        return codes

    @property
    def given_target(self) -> bool:
        """Whether the floor's hypothesis is that there is no gap given the target."""
        return self.task.chooses and self.gap.of in RATES and self.gap.of != "positive rate"

    def _measured(self, answers: Tensor, targets: Tensor) -> MeasuredRates:
        kept = np.flatnonzero(self.groups >= 0)
        groups, fn = self.groups[kept], self.gap.of
        counts = np.bincount(groups, minlength=len(self.names))
        check_groups(counts, self.names, self.gap.minimum, "samples", self.name)
        assert callable(fn)  # as `for_task` made it

        def measured(rows: npt.NDArray[np.intp]) -> float:
            chosen = torch.from_numpy(kept[rows])
            return apply_measure(fn, answers[chosen], targets[chosen], self.name, "a group")

        return MeasuredRates(measured, groups)

    # --- what is behind it

    def noise(self, outputs: npt.NDArray[np.floating], targets: npt.NDArray[Any]) -> Noise | None:
        """Return the noise of the sheet: outputs `[K, n, ...]` permuted between candidates."""
        truth = torch.from_numpy(targets)
        found = [self.rates(torch.from_numpy(each), truth) for each in outputs]
        if len(found) > 1 and all(isinstance(each, MeanRates) and each.counts for each in found):
            hits = np.stack([each.values for each in found if isinstance(each, MeanRates)], axis=1)
            return gaps.noise(hits, found[0].groups, ratio=self.gap.ratio)
        return bounded_noise(
            lambda out, _: self(torch.from_numpy(out), truth), outputs, targets, len(self.names)
        )

    def behind(
        self, answers: Callable[[int], Tensor], targets: Tensor, chosen: Sequence[int]
    ) -> GapFacts:
        """Return intervals and floors of the candidates at some positions."""
        null = "no gap given the target" if self.given_target else "group and answer independent"
        return GapFacts(
            lambda index: self.rates(answers(index), targets),
            chosen,
            self.names,
            ratio=self.gap.ratio,
            null=null,
        )
