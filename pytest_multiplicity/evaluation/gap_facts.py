"""Rates of groups, and how sure the gaps between them are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.statistics import LEVEL, gaps, kept

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.integer]

DRAWS_OF_VALUES = 400
DRAWS_OF_MEASURES = 60
"""Of a floor, for each candidate: a measure is called for every group."""
MOST_RESAMPLES = 20_000


class Rates(Protocol):
    """The rates of groups of one candidate."""

    @property
    def groups(self) -> Codes:
        """Those of the samples that count, `[n]`."""

    def by_group(self, groups: Codes | None = None) -> Floats:
        """Return the rates `[G]`; with other groups of the same samples, theirs."""

    def interval(self, confidence: float, *, ratio: bool) -> tuple[float, float]:
        """Return the simultaneous interval of their gap."""

    def by_chance(self, *, ratio: bool) -> Floats:
        """Return gaps `[draws]` with membership drawn at random."""


@dataclass(frozen=True)
class MeanRates:
    """Means of what samples are worth: shares where values and weights are yes or no."""

    values: npt.NDArray[Any]
    weights: npt.NDArray[Any]
    groups: Codes
    strata: Codes

    @property
    def counts(self) -> bool:
        """Whether they are shares of samples, which are counted."""
        return self.values.dtype == self.weights.dtype == np.bool_

    def by_group(self, groups: Codes | None = None) -> Floats:
        """Return the means."""
        groups = self.groups if groups is None else groups
        total = np.bincount(groups, weights=self.values * self.weights)
        found: Floats = total / np.bincount(groups, weights=self.weights)
        return found

    def interval(self, confidence: float, *, ratio: bool) -> tuple[float, float]:
        """Return Newcombe's for counts, the bootstrap's for anything else."""
        if self.counts:
            sizes = np.bincount(self.groups)
            hits = np.bincount(self.groups, weights=self.values)
            low, high = gaps.interval(hits, sizes, confidence, ratio=ratio)
            return float(low), float(high)
        worth = self.values * self.weights

        def mean(rows: npt.NDArray[np.intp]) -> float:
            return float(worth[rows].sum() / self.weights[rows].sum())

        return _bootstrap(mean, self, confidence, ratio=ratio)

    def by_chance(self, *, ratio: bool) -> Floats:
        """Return gaps with labels permuted within strata, or over all samples for values."""
        if self.counts:
            return gaps.permuted(self.values, self.groups, self.strata, ratio=ratio)
        return gaps.shuffled(self.by_group, self.groups, draws=DRAWS_OF_VALUES, ratio=ratio)


@dataclass(frozen=True)
class MeasuredRates:
    """Values of a measure, which is asked of the rows of each group."""

    measured: Callable[[npt.NDArray[np.intp]], float]
    groups: Codes

    def by_group(self, groups: Codes | None = None) -> Floats:
        """Return the measure of each group."""
        groups = self.groups if groups is None else groups
        return np.array([self.measured(rows) for rows in gaps.rows_of(groups)])

    def interval(self, confidence: float, *, ratio: bool) -> tuple[float, float]:
        """Return the bootstrap's."""
        return _bootstrap(self.measured, self, confidence, ratio=ratio)

    def by_chance(self, *, ratio: bool) -> Floats:
        """Return gaps with labels permuted over all samples."""
        return gaps.shuffled(self.by_group, self.groups, draws=DRAWS_OF_MEASURES, ratio=ratio)


def _bootstrap(
    of: Callable[[npt.NDArray[np.intp]], float], rates: Rates, confidence: float, *, ratio: bool
) -> tuple[float, float]:
    observed = rates.by_group()
    draws = gaps.resamples_for(confidence, len(observed))
    if draws > MOST_RESAMPLES:
        raise MeasurementError(
            f"an interval of {confidence:.6g} between {len(observed)} groups takes {draws:,} "
            f"resamples, of at most {MOST_RESAMPLES:,}: compare the gap itself, or fewer groups"
        )
    drawn = [[of(rows) for rows in each] for each in gaps.resampled(rates.groups, draws)]
    return gaps.interval_of_resamples(np.array(drawn), observed, confidence, ratio=ratio)


@dataclass(frozen=True)
class GapFact:
    """What reports say of the gap of one candidate."""

    low: float | None
    high: float | None
    floor: float
    floor_95: float
    p_value: float
    lowest: str
    highest: str


def all_facts(all_rates: Sequence[Rates], names: Sequence[str], *, ratio: bool) -> list[GapFact]:
    """Return the intervals and floors of candidates with these rates."""
    return [_fact(rates, names, ratio=ratio) for rates in all_rates]


# of means, which are known by the samples that they are made of
facts_of = kept(GapFact, many=True)(all_facts)


def _fact(rates: Rates, names: Sequence[str], *, ratio: bool) -> GapFact:
    by_group = rates.by_group()
    point = float(gaps.extent(by_group, ratio=ratio))
    floor = gaps.floor(point, rates.by_chance(ratio=ratio), ratio=ratio)
    low, high = (None, None)
    if isinstance(rates, MeanRates):
        low, high = rates.interval(0.95, ratio=ratio)
    return GapFact(
        low=low,
        high=high,
        floor=floor.mean,
        floor_95=floor.level_95,
        p_value=floor.p_value,
        lowest=names[int(by_group.argmin())],
        highest=names[int(by_group.argmax())],
    )


class GapFacts:
    """Intervals and floors of the gaps of a family's candidates, found when they are asked for."""

    def __init__(
        self,
        rates: Callable[[int], Rates],
        chosen: Sequence[int],
        names: Sequence[str],
        *,
        ratio: bool,
        null: str,
    ) -> None:
        self._rates, self._chosen, self._names = rates, list(chosen), list(names)
        self._ratio, self._null = ratio, null

    def interval(self, index: int, confidence: float) -> tuple[float, float]:
        """Return the simultaneous interval of one candidate's gap."""
        return self._rates(index).interval(confidence, ratio=self._ratio)

    def limits(self, index: int, level: float) -> tuple[float, float]:
        """Return limits of which each is wrong at most at a level."""
        return self.interval(index, 1 - 2 * level)

    def record(self) -> Mapping[str, Any]:
        """Return the groups, and each candidate's rates, interval and floor."""
        return self._record

    @cached_property
    def _record(self) -> dict[str, Any]:
        rates = [self._rates(index) for index in self._chosen]
        known = facts_of if all(isinstance(each, MeanRates) for each in rates) else all_facts
        facts = known(rates, self._names, ratio=self._ratio)
        sizes = np.bincount(rates[0].groups).tolist() if rates else []
        return {
            "kind": "ratio" if self._ratio else "gap",
            "null": self._null,
            "groups": dict(zip(self._names, sizes, strict=False)),
            "floor": float(np.mean([each.floor for each in facts])) if facts else None,
            "floor_95": float(np.mean([each.floor_95 for each in facts])) if facts else None,
            "beyond": sum(each.p_value <= LEVEL for each in facts),
            "candidates": {
                str(index): dict(vars(each))
                for index, each in zip(self._chosen, facts, strict=True)
            },
        }
