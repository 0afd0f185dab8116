"""What one spec measures while it judges one candidate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.findings import News
from pytest_multiplicity.plugin.searching import Names, Search

if TYPE_CHECKING:
    from pytest_multiplicity.evaluation import Metric, Population
    from pytest_multiplicity.plugin.state import State


ONCE = "facts of training"  # told with the first metrics, not with every pair


class Recorder:
    """Collects the metrics of one pair; while it is entered, the population reports to it."""

    def __init__(self, population: Population, *, policy: str, role: str) -> None:
        self.population, self.policy, self.role = population, policy, role
        self.metrics: dict[str, Metric] = {}  # what was measured, by name
        self.undecided: list[str] = []
        self.relative = False  # whether the candidate was compared with others of its family
        self._absent = len(population.absent)
        self._search: Search | None = None

    def __enter__(self) -> Recorder:
        from pytest_multiplicity.evaluation import COMPARED, JUDGE

        for metric in self.population.unheard:  # in a fixture, which was set up for this spec
            self._observe(metric)
        self.population.observer, self.population.role = self._observe, self.role
        self._tokens = JUDGE.set(self._doubt), COMPARED.set(self._compared)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        from pytest_multiplicity.evaluation import COMPARED, JUDGE

        judge, compared = self._tokens
        JUDGE.reset(judge)
        COMPARED.reset(compared)
        self.population.observer = self.population.unheard.append

    @contextmanager
    def searching(self, names: Names, index: int) -> Iterator[Search]:
        """Record what the candidate at `index` is asked inside: only the worst of each metric."""
        with self.population.searching() as alone:
            self._search = Search(names, index, alone)
            try:
                yield self._search
            finally:
                self.metrics |= self._search.metrics
                self._search = None

    @property
    def measured(self) -> bool:
        """Whether anything was, or would have been but that there is no incumbent."""
        return bool(self.metrics) or len(self.population.absent) > self._absent

    def _observe(self, metric: Metric) -> None:
        if self._search is None:
            self.metrics[metric.name] = metric  # perhaps with more candidates than before
        else:
            self._search.add(metric)

    def _compared(self) -> None:
        self.relative = True

    def _doubt(self, reason: str) -> bool:
        """Answer whether a candidate that the data don't decide is kept."""
        self.undecided.append(reason)
        if self.policy == "fail":
            raise MeasurementError(f"undecided: {reason} (multiplicity_undecided = fail)")
        return self.policy == "keep"


def news_of(
    population: Population, metrics: Mapping[str, Metric], key: str, state: State
) -> News | None:
    """Return what the ledger doesn't know yet of a family: metrics, and facts about it."""
    told = state.told.setdefault(key, set())
    facts = population.facts()
    if state.warnings:
        facts = replace(facts, warnings=(*facts.warnings, *state.warnings))
    training = None if ONCE in told else population.facts_of_training()
    if training is not None:
        told.add(ONCE)
    known = state.metrics.setdefault(key, {})
    fresh = {n: m for n, m in metrics.items() if known.get(n) is not m or m.searched}
    known.update(fresh)
    if not fresh and training is None and state.facts.get(key) == facts:
        return None
    state.facts[key] = facts
    records = [metric.record(far=state.worker) for metric in fresh.values()]
    return News(tuple(records), facts, training)
