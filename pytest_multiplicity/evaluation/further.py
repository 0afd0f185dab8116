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


def _among_declared(method: Asks) -> Asks:
    """Return a question to one candidate, whose answer knows those of the declared ones."""

    @wraps(method)
    def asked(self: FurtherPopulation, index: int, *args: Any, **options: Any) -> Score:
        score = method(self, index, *args, **options)
        return self.among(score, lambda first: method(self.declared, first, *args, **options))

    return cast("Asks", asked)


class FurtherPopulation(ModelPopulation):
    """Seeds that were added to decide: thresholds within the family are those of the `declared`."""

    def __init__(
        self, models: Models, names: dict[str, str], leakage: Leakage, declared: ModelPopulation
    ) -> None:
        super().__init__(models, names, leakage)
        self.declared = declared
        self._compared: dict[str, tuple[Metric, Metric]] = {}

    @contextmanager
    def searching(self) -> Iterator[None]:
        """Inside, metrics are examples of a search, also those of the declared candidates."""
        with super().searching(), self.declared.searching():
            yield

    accuracy = _among_declared(ModelPopulation.accuracy)
    measure = _among_declared(ModelPopulation.measure)
    consistency = _among_declared(ModelPopulation.consistency)
    privacy = _among_declared(ModelPopulation.privacy)
    compared = _among_declared(ModelPopulation.compared)

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
