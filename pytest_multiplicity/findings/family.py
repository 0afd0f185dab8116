"""One family as a run saw it: its specs, the verdicts on its candidates, its metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.design import Design
from pytest_multiplicity.evaluation import (
    AllocationFacts,
    CascadeFacts,
    ExtremeFacts,
    Facts,
    Look,
    Metric,
    ReachedFacts,
    TrainingFacts,
)
from pytest_multiplicity.findings import copies
from pytest_multiplicity.findings.copies import Firsts
from pytest_multiplicity.findings.lasting import LookReport, Rung
from pytest_multiplicity.findings.lost import Made, tried
from pytest_multiplicity.findings.model import Status
from pytest_multiplicity.findings.people import PeopleAsked
from pytest_multiplicity.findings.records import Ledger, PairRecord, Spec, status

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class FurtherSeen:
    """The candidates beyond the declared ones, of a run that adds seeds until it is decided."""

    design: Design
    """All that may be added, seed by seed."""
    at_least: float
    """The share of passing seeds that is to be decided about."""
    specs: frozenset[str]
    """Node ids of the specs that judge them."""
    trained: int = 0
    stored: int = 0


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the process that reports knows of a family beside the ledger."""

    key: str
    title: str
    """The family's name in reports."""
    design: Design
    specs: Mapping[str, Spec]
    """By node id, in definition order."""
    pairs: int
    """How many candidate-spec pairs were generated."""
    partial: str | None
    """Why its matrix is incomplete; None where it is complete."""
    facts: Facts = field(default_factory=Facts)
    """What its population says by now: it counts where no pair was judged."""
    measured: Mapping[str, Metric] = field(default_factory=dict)
    """Metrics that specs measured in this process, by name."""
    gated: Mapping[str, Metric] = field(default_factory=dict)
    """All metrics of this process' population, by name: also what gates measured."""
    data: Mapping[str, Data] = field(default_factory=dict)
    """The data sets that this process measured on, by name."""
    reached: Sequence[ReachedFacts] = ()
    """What gates asked of models that nobody trained."""
    extremes: Sequence[ExtremeFacts] = ()
    """The worst and the best of these that gates asked for."""
    allocations: Sequence[AllocationFacts] = ()
    cascades: Sequence[CascadeFacts] = ()
    looks: Sequence[LookReport] = ()
    """At the data sets that were measured on."""
    ladder: Mapping[str, Rung] = field(default_factory=dict)
    """Data set that reports -> what is told of it, where all else is withheld."""
    further: FurtherSeen | None = None
    """None where no seeds are added."""
    people: PeopleAsked | None = None
    """What is asked of single samples; None: nothing."""


@dataclass(frozen=True)
class FamilyFindings:
    """What was seen of a family, and judged: what its part of the report is made of."""

    seen: Seen
    ledger: Ledger
    look: Look
    lost: list[str] = field(default_factory=list)
    """What of its part of the report could not be made, and why."""

    def tried(self, part: str, make: Callable[[], Made]) -> list[Made]:
        """Return a part of the report, alone in a list; nothing where it can't be made."""
        return tried(f"{self.seen.title}: {part}", make, self.lost)

    @property
    def specs(self) -> Mapping[str, Spec]:
        """The specs by node id."""
        return self.seen.specs

    @cached_property
    def facts(self) -> Facts:
        """What its population said last."""
        return self.ledger.facts.get(self.seen.key, self.seen.facts)

    @cached_property
    def training(self) -> TrainingFacts:
        """What its training said, if there was one."""
        return self.ledger.training.get(self.seen.key, TrainingFacts())

    @property
    def everyone(self) -> range:
        """The positions of all candidates."""
        return range(len(self.seen.design.ids))

    # --- verdicts

    def records(self, spec: str) -> dict[int, PairRecord]:
        """Return a spec's verdicts by candidate."""
        return self.ledger.pairs.get((self.seen.key, spec), {})

    def of(self, index: int) -> dict[str, PairRecord]:
        """Return the verdicts on one candidate by spec, in the order of the specs."""
        found = {spec: self.records(spec).get(index) for spec in self.specs}
        return {spec: record for spec, record in found.items() if record is not None}

    @cached_property
    def names(self) -> dict[str, str]:
        """Spec's node id -> its name in the report: as short as is unique."""
        short = [spec.name for spec in self.specs.values()]
        return {
            nodeid: spec.name if short.count(spec.name) == 1 else nodeid
            for nodeid, spec in self.specs.items()
        }

    @cached_property
    def statuses(self) -> list[Status]:
        """What became of each candidate."""
        diverged = self.training.diverged
        return [status(self.of(i).values(), diverged=i in diverged) for i in self.everyone]

    @cached_property
    def survivors(self) -> Bools:
        """Who survives: [K]."""
        return np.array([each == "survivor" for each in self.statuses])

    @cached_property
    def alive(self) -> Bools:
        """Who has a model or recorded scores: [K]."""
        return np.array([i not in self.training.diverged for i in self.everyone])

    @property
    def selected(self) -> bool:
        """Whether anybody was rejected: where nobody was, nothing after is optimistic."""
        return bool((self.alive & ~self.survivors).any())

    def passed(self, index: int) -> bool | None:
        """Return whether an added candidate passes everything; None where that isn't known."""
        assert self.seen.further is not None
        known = [
            self.ledger.added.get((self.seen.key, spec), {}).get(index)
            for spec in self.seen.further.specs
        ]
        if any(record is not None and record.verdict == "rejected" for record in known):
            return False
        out = any(record is None or record.verdict == "failed" for record in known)
        return None if out or not known else True

    @property
    def relative(self) -> bool:
        """Whether an enforced spec compares candidates with others of the family."""
        return any(r.relative for spec in self.enforced for r in self.records(spec).values())

    @property
    def enforced(self) -> list[str]:
        """The specs that reject."""
        return [nodeid for nodeid, spec in self.specs.items() if not spec.unforeseen]

    # --- metrics

    def measured_by(self, spec: str) -> list[str]:
        """Return the names of the metrics that a spec measured."""
        records = self.records(spec).values()
        return list(dict.fromkeys(name for record in records for name in record.metrics))

    @cached_property
    def metrics(self) -> dict[str, Metric]:
        """Every metric that specs measured, in the order of the specs."""
        known = self.ledger.metrics.get(self.seen.key, {})
        ordered = dict.fromkeys(name for spec in self.specs for name in self.measured_by(spec))
        return {
            name: metric
            for name in ordered
            if name in known
            for metric in self.tried(name, partial(self._metric, name))
        }

    def _metric(self, name: str) -> Metric:
        record = self.ledger.metrics[self.seen.key][name]
        here = self.seen.measured.get(name)
        return Metric.from_record(record, self.seen.design, self.look, here)

    @cached_property
    def copies(self) -> dict[str, Firsts]:
        """Who answers as whom, by the name of the data set."""
        plain = [each for each in self.every_metric if each.logits]
        return {
            str(metric.data): first
            for metric in plain
            for first in self.tried(
                f"who answers alike on {metric.data}", partial(copies.firsts, metric, self.look)
            )
        }

    def firsts(self, metric: Metric) -> Firsts:
        """Return who counts as whom for a metric: copies on its data whose scores are equal too."""
        itself = np.arange(len(metric.scores))
        first = self.copies.get(str(metric.data), itself)
        return np.where(metric.scores[first] == metric.scores, first, itself)

    @cached_property
    def selecting(self) -> set[str]:
        """Names of the metrics that enforced specs measured."""
        return {name for nodeid in self.enforced for name in self.measured_by(nodeid)}

    @cached_property
    def gated(self) -> Sequence[Metric]:
        """What gates looked at and no spec did, with what it tells as in records."""
        only = [each for name, each in self.seen.gated.items() if name not in self.metrics]
        return [replace(each, aside=each.record().aside) for each in only]

    @property
    def every_metric(self) -> Sequence[Metric]:
        """What specs measured, then what gates alone did."""
        return [*self.metrics.values(), *self.gated]
