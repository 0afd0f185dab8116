"""A model that was built, not trained: measured by itself, and compared with its family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from pytest_multiplicity.compute import Machine
from pytest_multiplicity.design import Config
from pytest_multiplicity.evaluation.behind import JoinedBehind
from pytest_multiplicity.evaluation.candidate import Candidate
from pytest_multiplicity.evaluation.further import Undeclared
from pytest_multiplicity.evaluation.metric import Metric
from pytest_multiplicity.evaluation.model_population import ModelPopulation
from pytest_multiplicity.evaluation.score import Score
from pytest_multiplicity.inference import Models


class TwinPopulation(Undeclared):
    """One built model; its scores stand after those of the family, as an ensemble's do."""

    def __init__(
        self, family: ModelPopulation, model: Any, config: Config, id: str, machine: Machine
    ) -> None:
        made = family.models.made
        design = replace(family.design, configs=(config,), ids=(id,))
        models = Models(
            family.models.name,
            made.definition,
            design,
            [model],
            machine=machine,
            run_id=made.run_id,
        )
        super().__init__(models, family.leakage, family)
        self.role, self.absent = family.role, family.absent

    def among(self, score: Score, ask: Callable[[int], Score]) -> Score:
        """Return the score after those of the family."""
        family = self.declared
        observer, family.observer = family.observer, lambda metric: None
        try:
            theirs = ask(family.alive[0]).metric.of_everybody()
        finally:
            family.observer = observer
        return Score(_joined(theirs, score.metric), len(theirs.scores))


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
    return TwinPopulation(family, model, config, id, machine).candidates[0]
