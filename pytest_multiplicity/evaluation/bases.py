"""Survivors to build upon: their last layers, and the losses that they were trained with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pytest_multiplicity.data import Data
from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.evaluation.model_population import ModelPopulation
from pytest_multiplicity.inference import ToldAnswers
from pytest_multiplicity.reach import Base, Head, OnData, head_of
from pytest_multiplicity.training import Recipe, Seeds, training_rows


@dataclass(frozen=True, eq=False)
class Bases:
    """The candidates of a family, as what is asked looks at them: see `Reaching`."""

    family: ModelPopulation
    data: Data
    select: Data
    train: Data | None

    def trained(self, index: int) -> tuple[Data, Tensor]:
        """Return the data of a survivor's loss, and which of them it was trained on."""
        data, made = self.loss(index)[0], self.family.models.made.all[index]
        if self.train is not None or not isinstance(made, Recipe):
            return data, torch.arange(len(data))
        return data, training_rows(len(data), Seeds.of(self.family.design.configs[index]))

    def loss(self, index: int) -> tuple[Data, str, float, str]:
        """Return the data, name and decay of a survivor's loss, and all that in words."""
        losses = tuple(self.data.task.losses)
        recipe = self.family.models.made.all[index]
        if not isinstance(recipe, Recipe):
            data = self.train or self.select
            return data, losses[0], 0.0, f"{losses[0]} on {data.name}"
        data, loss = self.train or recipe.data, recipe.loss
        known = loss if isinstance(loss, str) and loss in losses else losses[0]
        decay = recipe.weight_decay if isinstance(recipe.optimizer, str) else 0.0
        instead = "" if known == loss else " (instead of the recipe's own loss)"
        instead += " (without its sample weights)" * (recipe.weight is not None)
        decayed = f" with weight decay {decay:g}" if decay else ""
        return data, known, decay, f"{known} on {data.name}{decayed}{instead}"

    def head(self, index: int) -> Head:
        """Return the last layer of a survivor."""
        models = self.family.models
        name = self.family.design.ids[index]
        if isinstance(models.made.all[index], ToldAnswers):
            raise MeasurementError(
                f"{name} is known by its recorded answers: reachable needs the model, whose last "
                "layer is changed; have the family's function return it"
            )
        return head_of(models.model(index), self.data, name)

    def base(self, index: int) -> Base:
        """Return a survivor to build on."""
        head = self.head(index)
        _, loss, decay, _ = self.loss(index)
        data, rows = self.trained(index)
        known = self.data.task.losses[loss]

        def seen(on: Data, some: Tensor | None = None) -> OnData:
            features, targets = head.features(on), on.targets.to(head.weights.device)
            return (
                OnData(features, targets) if some is None else OnData(features[some], targets[some])
            )

        return Base(
            self.family.design.ids[index],
            head,
            seen(self.data),
            seen(self.select),
            seen(data, rows),
            known.of_batch,
            known.of_lanes,
            decay,
        )
