"""On whom arbitrariness falls: how far survivors disagree about one group and about another."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.evaluation.allocating import Allocating
from pytest_multiplicity.evaluation.gap_facts import MeanRates
from pytest_multiplicity.evaluation.score import Interval, check_confidence
from pytest_multiplicity.statistics import Said, gaps

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data
    from pytest_multiplicity.inference import Asked, Under

OF = ("ambiguity", "self-consistency")


class DisagreementGap(float):
    """How much more survivors disagree about one group than about another: largest minus smallest.

    A float that knows the groups (`groups`: a DataFrame, `samples` and `value` of each), its
    interval, and the gap that drawing membership at random makes (`floor`: its mean, level_95 and
    p_value).
    """

    groups: pd.DataFrame
    of: str
    _rates: MeanRates

    def __new__(cls, of: str, rates: MeanRates, names: Sequence[str]) -> DisagreementGap:
        """Return the gap of what samples are worth."""
        values = rates.by_group()
        made = super().__new__(cls, float(np.ptp(values)))
        made.of, made._rates = of, rates
        made.groups = pd.DataFrame(
            {"samples": np.bincount(rates.groups), "value": values},
            index=pd.Index(names, name="group"),
        )
        return made

    def interval(self, confidence: float = 0.95) -> Interval:
        """Return the interval that is simultaneous over the pairs of groups."""
        check_confidence(confidence)
        return Interval(*self._rates.interval(confidence, ratio=False))

    @cached_property
    def floor(self) -> gaps.Floor:
        """What drawing membership at random makes: groups and disagreement are independent."""
        return gaps.floor(float(self), self._rates.by_chance(ratio=False), ratio=False)

    def __repr__(self) -> str:
        low, high = self.interval()
        each = ", ".join(f"{name} {value:.4f}" for name, value in self.groups["value"].items())
        return (
            f"{float(self):.4f} [{low:.4f}, {high:.4f}] ({self.of}: {each}; by chance "
            f"{self.floor.mean:.4f}, p = {self.floor.p_value:.2g})"
        )


class Dividing(Allocating):
    """Candidates that disagree: `Survivors`."""

    def _compared(self, data: Data, under: Under, baseline: Any = None) -> Said:
        raise NotImplementedError

    def gap(
        self,
        data: Data,
        by: str | Sequence[str],
        of: str = "ambiguity",
        minimum: int = 20,
        under: Under = None,
    ) -> DisagreementGap:
        """Return how much more survivors disagree about one group than about another.

        `of`: "ambiguity" or "self-consistency", of each group (`.groups`); largest minus smallest,
        with an interval and the gap that drawing membership at random makes (`.floor`). `by` names
        an attribute, or several for their intersections; groups below `minimum` are an error.

        Raises MeasurementError where there are fewer than two survivors: one disagrees with nobody.
        """
        self._need(2)
        asked = self._population.ask(data, under)
        return disagreement_gap(self._compared(data, under), asked, by, of, minimum)


def disagreement_gap(
    said: Said, asked: Asked, by: str | Sequence[str], of: str, minimum: int
) -> DisagreementGap:
    """Return the gap between the groups of the samples asked about."""
    from pytest_multiplicity.data import attributes_named, check_groups, grouped

    if of not in OF:
        raise MeasurementError(f"a gap of {of!r} between survivors: there are {', '.join(OF)}")
    columns = attributes_named(by, "by")
    named = f"{of} gap by {' and '.join(columns)} on {asked.name}"
    positions = asked.positions.numpy()
    codes, names = grouped(asked.data.attributes, columns, asked.data.name, positions)
    kept = codes >= 0
    groups = codes[kept]
    check_groups(np.bincount(groups), names, minimum, "samples", named)
    values = _worth(said, of)[kept]
    everybody = np.ones(len(values), dtype=bool)
    rates = MeanRates(values, everybody, groups, np.zeros(len(values), dtype=np.int64))
    return DisagreementGap(of, rates, names)


def _worth(said: Said, of: str) -> npt.NDArray[np.generic]:
    """Return what each sample adds: whether any two differ, or the share of pairs that agree."""
    if of == "self-consistency":
        return said.self_consistency()
    values = np.asarray(said.conflicts())
    return values.astype(bool) if bool(((values == 0) | (values == 1)).all()) else values
