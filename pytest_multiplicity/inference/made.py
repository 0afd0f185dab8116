"""What a family's function returned, and what the store knows it by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from importlib import metadata
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pytest_multiplicity.compute import Machine, device_class
from pytest_multiplicity.data import Data
from pytest_multiplicity.design import Built, Design
from pytest_multiplicity.errors import DefinitionError, MeasurementError
from pytest_multiplicity.store import RESULTS_VERSION, fingerprint
from pytest_multiplicity.training import Job, Recipe, Seeds, initial_module, training_rows

TORCHVISION = metadata.version("torchvision")  # importing it would take a second


@dataclass(frozen=True, eq=False)
class Made:
    """What the function of a family returned for every configuration: `all`, in their order."""

    name: str
    definition: Built
    design: Design
    all: Sequence[Recipe | nn.Module | Callable[..., Any]]
    machine: Machine
    run_id: str

    def __post_init__(self) -> None:
        for made in self.all:
            _check(made, self.name)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """What the store knows each candidate by."""
        return tuple(self._key(index) for index in range(len(self.all)))

    @property
    def recipes(self) -> list[int]:
        """The positions of those that are trained."""
        return [index for index, made in enumerate(self.all) if isinstance(made, Recipe)]

    @property
    def data(self) -> list[Data]:
        """The data of every recipe."""
        return [made.data for made in self.all if isinstance(made, Recipe)]

    @property
    def declared(self) -> int:
        """How many candidates were declared, whichever are selected and added now."""
        return len(self.definition.design(None).ids)

    @property
    def here(self) -> list[str]:
        """This family in this run: another one may share its networks, which it finds stored."""
        return [self.run_id, self.name]

    def job(self, index: int) -> Job:
        """Return the training of a recipe."""
        recipe, seeds = self.all[index], Seeds.of(self.design.configs[index])
        assert isinstance(recipe, Recipe)
        return Job(self.design.ids[index], self.keys[index], recipe, seeds)

    def trained_half(self, index: int, data: Data) -> Tensor:
        """Positions in `data`, the recipe's own, of the half that a candidate was trained on.

        Raises MeasurementError where the recipe has other data, or was trained on all of it.
        """
        made, seeds = self.all[index], Seeds.of(self.design.configs[index])
        if not isinstance(made, Recipe) or made.data.fingerprint != data.fingerprint:
            raise MeasurementError(
                f"{self.design.ids[index]} was not trained on {data.name!r}: give privacy() the "
                "data of the recipes, or members and non-members, privacy(members, nonmembers)"
            )
        if seeds.subset is None:
            raise MeasurementError(
                f"{self.design.ids[index]} was trained on all of {data.name!r}: give non-members, "
                "privacy(members, nonmembers), or let candidates train on random halves, with an "
                "axis 'seed.subset'"
            )
        return training_rows(len(data), seeds)

    def run_of(self, indices: Sequence[int]) -> str | None:
        """Return the run in which alone these results are known; None: in every run."""
        made = [self.all[index] for index in indices]
        opaque = [m for m in made if not isinstance(m, Recipe | nn.Module)]
        return None if all(getattr(m, "fingerprint", None) for m in opaque) else self.run_id

    def _key(self, index: int) -> str:
        made = self.all[index]
        if isinstance(made, Recipe):
            return self._recipe_key(made, index)
        if isinstance(made, nn.Module):
            return fingerprint(["module", made, versions(self.machine.device)])
        here = [*self.here, self.definition.where, index]
        return fingerprint(["callable", getattr(made, "fingerprint", None) or here])

    def _recipe_key(self, recipe: Recipe, index: int) -> str:
        config = self.design.configs[index]
        module = initial_module(recipe, Seeds.of(config))
        settings = {f.name: getattr(recipe, f.name) for f in fields(recipe) if f.name != "model"}
        code: Any = [self.definition.function, recipe.model, module]
        if self.definition.version is not None:
            settings = {name: s for name, s in settings.items() if not callable(s)}
            code = [self.definition.version, module.state_dict()]
        return fingerprint(["recipe", config, settings, code, versions(self.machine.device)])


def versions(device: torch.device) -> list[str]:
    """Return the versions, and the class of device, that can change a candidate's bits."""
    kind = device_class(device)
    return [
        f"results {RESULTS_VERSION}",
        f"torch {torch.__version__}",
        f"torchvision {TORCHVISION}",
        f"numpy {np.__version__}",
        kind,
    ]


def _check(made: Any, family: str) -> None:
    if isinstance(made, Recipe | nn.Module) or callable(made):
        return
    hint = "did you forget to return it? " if made is None else ""
    raise DefinitionError(
        f"family {family!r} returned {made!r} for a candidate: {hint}Return a pm.Recipe, "
        "a torch.nn.Module, or a callable from a batch to logits"
    )
