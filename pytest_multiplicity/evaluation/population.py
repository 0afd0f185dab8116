"""What the candidates of a family are measured by, whether they are models or recorded scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from pytest_multiplicity.evaluation.allocated import AllocationFacts
from pytest_multiplicity.evaluation.candidate import Candidate, Measurer
from pytest_multiplicity.evaluation.cascaded import CascadeFacts
from pytest_multiplicity.evaluation.facts import Facts, TrainingFacts
from pytest_multiplicity.evaluation.metric import Metric
from pytest_multiplicity.evaluation.reached import ExtremeFacts, ReachedFacts

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data
    from pytest_multiplicity.inference import Asked, Foreseen, Under
    from pytest_multiplicity.training import Plan

Observer = Callable[[Metric], None]


@dataclass(frozen=True)
class BuiltModel:
    """A model that nobody trained, and what it is as good on."""

    candidate: Candidate
    select: str
    within: float


@dataclass
class Beside:
    """What gates made of a family beside its candidates: models that nobody trained."""

    reached: dict[str, ReachedFacts] = field(default_factory=dict)
    """What was asked, by what was asked."""
    extremes: dict[str, ExtremeFacts] = field(default_factory=dict)
    """The worst and the best models, by what was asked."""
    allocations: dict[str, AllocationFacts] = field(default_factory=dict)
    """Who gets what only some can have, by what was asked."""
    cascades: dict[str, CascadeFacts] = field(default_factory=dict)
    """Who is behind in several respects, by what was asked."""
    twins: dict[str, BuiltModel] = field(default_factory=dict)
    """Models, by what was asked."""


@dataclass
class Effort:
    """Passes of one candidate's samples through its model, by the logits they lead to.

    `asked` is what was asked for since it was last emptied; `everybody` are logits that the
    whole family was measured on. Groups and output noise need no logits of their own.
    """

    asked: dict[str, int] = field(default_factory=dict)
    everybody: set[str] = field(default_factory=set)

    def note(self, asked: Asked) -> None:
        """Something was asked for."""
        self.asked[asked.logits] = asked.passes

    def done(self, asked: Asked) -> None:
        """Take note that the whole family was measured."""
        self.everybody.add(asked.logits)


@dataclass(frozen=True)
class Measurement:
    """What is measured, of the candidates at the positions it is called with."""

    name: str
    asked: tuple[Asked, ...]
    of: Callable[[Sequence[int]], Metric]


class Population(Measurer, Protocol):
    """All candidates of a family; what is measured of one is measured of all, and told once."""

    candidates: tuple[Candidate, ...]
    metrics: dict[str, Metric]  # what was measured, by name
    unheard: list[Metric]  # what was measured while nobody observed
    observer: Observer
    role: str  # what is measured now is measured for this
    effort: Effort  # what that takes
    data_by_name: dict[str, Data]  # what was measured on
    beside: Beside  # models that nobody trained
    absent: list[str]  # incumbents that there are none of, once for each time they were asked for

    @property
    def alive(self) -> Sequence[int]:
        """Positions of the candidates that can be measured."""

    def searching(self) -> AbstractContextManager[Callable[[], None]]:
        """Inside, metrics are examples of a search; see `Measured.alone` for what is yielded."""

    def ask(self, data: Data | str, under: Under) -> Asked:
        """Return the question, checked. MeasurementError where there are no models to ask."""

    def answers(self, data: Data | str, under: Under = None) -> Metric:
        """Return a metric that holds what candidates predict; see `accuracies`."""

    def accuracies(self, data: Data | str, under: Under = None) -> Metric:
        """Return the accuracy of every candidate, or the recorded metric named `data`."""

    def plan(self) -> list[Plan]:
        """Return how what isn't trained yet would be."""

    def foreseen(self) -> Foreseen | None:
        """Return what calling a family's function would take; None for families of recipes."""

    def prepare_gates(self, selected_on: dict[str, str]) -> None:
        """From now on gates measure; enforced specs used these data sets (name -> fingerprint)."""

    def facts(self) -> Facts:
        """Return what reports say of the family beside its scores."""

    def facts_of_training(self) -> TrainingFacts | None:
        """Return what training left to tell; None before it is done."""
