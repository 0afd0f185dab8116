"""Candidates beyond the declared ones: measured as these are, and compared with these alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, wraps
from typing import Any, TypeVar, cast

from pytest_multiplicity.evaluation.leakage import Leakage
from pytest_multiplicity.evaluation.metric import Metric
from pytest_multiplicity.evaluation.model_population import ModelPopulation
from pytest_multiplicity.evaluation.score import Score
from pytest_multiplicity.inference import Models

Asks = TypeVar("Asks", bound=Callable[..., Score])


def _beside_declared(method: Asks) -> Asks:
    """Return a question to one candidate, whose answer knows those of the declared ones."""

    @wraps(method)
    def asked(self: Undeclared, index: int, *args: Any, **options: Any) -> Score:
        score = method(self, index, *args, **options)
        return self.among(score, lambda first: method(self.declared, first, *args, **options))

    return cast("Asks", asked)


class Undeclared(ModelPopulation):
    """Candidates beyond the `declared` ones, whose scores say what they are compared with."""

    def __init__(self, models: Models, leakage: Leakage, declared: ModelPopulation) -> None:
        super().__init__(models, declared.names, leakage)
        self.declared = declared

    accuracy = _beside_declared(ModelPopulation.accuracy)
    measure = _beside_declared(ModelPopulation.measure)
    consistency = _beside_declared(ModelPopulation.consistency)
    compared = _beside_declared(ModelPopulation.compared)

    def among(self, score: Score, ask: Callable[[int], Score]) -> Score:
        """Return a score that knows the declared candidates' answers to the same question."""
        raise NotImplementedError


class FurtherPopulation(Undeclared):
    """Seeds that were added to decide: thresholds within the family are those of the `declared`."""

    def __init__(self, models: Models, leakage: Leakage, declared: ModelPopulation) -> None:
        super().__init__(models, leakage, declared)
        self._compared: dict[str, tuple[Metric, Metric]] = {}

    @contextmanager
    def searching(self) -> Iterator[Callable[[], None]]:
        """Inside, metrics are examples of a search, also those of the declared candidates."""
        with super().searching() as alone, self.declared.searching() as those_alone:

            def all_alone() -> None:
                alone()
                those_alone()

            yield all_alone

    privacy = _beside_declared(ModelPopulation.privacy)

    def among(self, score: Score, ask: Callable[[int], Score]) -> Score:
        """Return the score with the declared candidates' metric, asked for when it is needed."""
        source, compared = self._compared.get(score.metric.name, (None, score.metric))
        if source is not score.metric:

            @cache
            def declared() -> Metric:
                metric = ask(self.declared.alive[0]).metric
                return metric if metric.complete is None else metric.complete()

            compared = replace(score.metric, reference=declared)
            self._compared[score.metric.name] = score.metric, compared
        return Score(compared, score.index)
