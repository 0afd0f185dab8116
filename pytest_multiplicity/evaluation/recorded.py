"""A recorded family at run time: every metric is known, there are no models."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from pytest_multiplicity.design import Design, Recorded
from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.evaluation.candidate import Candidate
from pytest_multiplicity.evaluation.facts import Facts
from pytest_multiplicity.evaluation.metric import Metric
from pytest_multiplicity.evaluation.population import Beside, Effort, Observer
from pytest_multiplicity.evaluation.score import Score

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data
    from pytest_multiplicity.training import Plan


NOTHING = Facts()


class RecordedPopulation:
    """The candidates of a table of scores."""

    def __init__(self, definition: Recorded, design: Design) -> None:
        self.design = design
        self.candidates = tuple(Candidate(self, i) for i in range(len(design.ids)))
        self.metrics: dict[str, Metric] = {}
        self.unheard: list[Metric] = []  # what was read while nobody observed
        self.observer: Observer = self.unheard.append
        self.role, self.effort = "enforced", Effort()  # reading takes none
        self.data_by_name: dict[str, Data] = {}
        self.beside = Beside()
        self.absent: list[str] = []
        self._searching = False
        self._known = {
            name: Metric(
                name,
                np.array([scores[config] for config in design.configs]),
                design,
                n=definition.n.get(name),
            )
            for name, scores in definition.metrics.items()
        }

    @contextmanager
    def searching(self) -> Iterator[Callable[[], None]]:
        """Inside, metrics are examples of a search; reading scores takes nothing."""
        before, self._searching = self._searching, True
        try:
            yield lambda: None
        finally:
            self._searching = before

    @property
    def alive(self) -> list[int]:
        """Every recorded candidate has its scores."""
        return list(range(len(self.candidates)))

    def recorded(self, index: int, name: str) -> Score:
        """One candidate's score in the column `name`. MeasurementError for an unknown column."""
        metric = self.metrics.setdefault(name, self.known(name))
        if self._searching:
            metric = metric.example()
        self.observer(metric)
        return Score(metric, index)

    def accuracies(self, data: Any, under: Any = None) -> Metric:
        """Return the metric named `data`: gates on recorded scores give its name for the data."""
        if not isinstance(data, str) or under is not None:
            self._no_models()
        return self.known(data)

    answers = accuracies

    def known(self, name: str) -> Metric:
        """Return the metric in the column `name`. MeasurementError for an unknown column."""
        if name not in self._known:
            close = difflib.get_close_matches(name, self._known, 1)
            guess = f" (did you mean {close[0]!r}?)" if close else ""
            raise MeasurementError(
                f"no metric {name!r} was recorded{guess}; there are {', '.join(self._known)}"
            )
        return self._known[name]

    def plan(self) -> list[Plan]:
        """There is nothing to train."""
        return []

    def facts_of_training(self) -> None:
        """Return nothing: recorded candidates were trained elsewhere."""

    def foreseen(self) -> None:
        """Return nothing: no function is called."""

    def prepare_gates(self, selected_on: dict[str, str]) -> None:
        """Ignore the samples behind recorded scores: nothing is known of them."""

    def facts(self) -> Facts:
        """Return that there is nothing to say of recorded candidates beside their scores."""
        return NOTHING

    def _no_models(self, *args: Any, **options: Any) -> NoReturn:
        raise MeasurementError(
            "this family was recorded: it has scores, read by candidate.score(name), and no models"
        )

    ask = module = logits = accuracy = measure = consistency = privacy = compared = _no_models
