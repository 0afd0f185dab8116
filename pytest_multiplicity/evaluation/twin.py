"""A model that was built, not trained: measured by itself, and compared with its family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from pytest_multiplicity.compute import Machine
from pytest_multiplicity.data import Data
from pytest_multiplicity.design import Config
from pytest_multiplicity.evaluation.behind import JoinedBehind
from pytest_multiplicity.evaluation.candidate import Candidate
from pytest_multiplicity.evaluation.incumbent import Incumbent
from pytest_multiplicity.evaluation.measure import Measure, Ours
from pytest_multiplicity.evaluation.metric import Metric
from pytest_multiplicity.evaluation.model_population import ModelPopulation
from pytest_multiplicity.evaluation.score import Score
from pytest_multiplicity.inference import Models, Under


class TwinPopulation:
    """One built model; its scores stand after those of the family, as an ensemble's do."""

    def __init__(
        self, family: ModelPopulation, model: Any, config: Config, id: str, machine: Machine
    ) -> None:
        made = family.models.made
        self.design = replace(family.design, configs=(config,), ids=(id,))
        models = Models(
            family.models.name,
            made.definition,
            self.design,
            [model],
            machine=machine,
            run_id=made.run_id,
        )
        self._family, self.absent = family, family.absent
        self.alone = ModelPopulation(models, family.names, family.leakage)
        self.alone.role = family.role

    def module(self, index: int) -> nn.Module:
        """Return its module."""
        return self.alone.module(index)

    def logits(self, index: int, data: Data, under: Under) -> Tensor:
        """Return its logits."""
        return self.alone.logits(index, data, under)

    def accuracy(
        self, index: int, data: Data, under: Under, tolerance: float | None = None
    ) -> Score:
        """Return its accuracy, with those of the family."""
        return self._among(lambda each, i: each.accuracy(i, data, under, tolerance))

    def measure(
        self,
        index: int,
        fn: Measure | Ours | str,
        data: Data,
        under: Under,
        *,
        name: str | None,
        higher_is_better: bool | None,
    ) -> Score:
        """Return its value of `fn`, with those of the family."""
        return self._among(
            lambda each, i: each.measure(
                i, fn, data, under, name=name, higher_is_better=higher_is_better
            )
        )

    def consistency(self, index: int, data: Data, under: Under) -> Score:
        """Return its consistency, with those of the family."""
        return self._among(lambda each, i: each.consistency(i, data, under))

    def compared(
        self, index: int, kind: str, incumbent: Incumbent, data: Data, under: Under
    ) -> Score:
        """Return its flips, churn or gain, with those of the family."""
        return self._among(lambda each, i: each.compared(i, kind, incumbent, data, under))

    def privacy(
        self, index: int, members: Data, nonmembers: Data | None, *, references: bool
    ) -> Score:
        """Return its privacy, by itself."""
        return self.alone.privacy(index, members, nonmembers, references=references)

    def recorded(self, index: int, name: str) -> Score:
        """Raise MeasurementError: a model has no recorded scores."""
        return self.alone.recorded(index, name)

    def _among(self, measured: Callable[[ModelPopulation, int], Score]) -> Score:
        family = self._family
        observer, family.observer = family.observer, lambda metric: None
        try:
            theirs = measured(family, family.alive[0]).metric.of_everybody()
        finally:
            family.observer = observer
        own = measured(self.alone, 0).metric
        return Score(_joined(theirs, own), len(theirs.scores))


def _joined(family: Metric, own: Metric) -> Metric:
    outcomes = None
    if family.outcomes is not None and own.outcomes is not None:
        outcomes = np.column_stack([family.outcomes, own.outcomes])
    behind = None
    if family.behind is not None and own.behind is not None:
        behind = JoinedBehind(family.behind, own.behind, len(family.scores))
    return replace(
        family,
        scores=np.append(family.scores, own.scores),
        outcomes=outcomes,
        behind=behind,
        predictions=None,
        targets=None,
        logits={},
        noise_of=None,
        portable=None,
        key=None,
        complete=None,
        aside=None,
    )


def twin(
    family: ModelPopulation, model: Any, config: Config, id: str, machine: Machine | None = None
) -> Candidate:
    """Return a built model as a candidate, on another machine than the family's if one is given."""
    machine = machine or family.models.machine
    return Candidate(TwinPopulation(family, model, config, id, machine), 0)
