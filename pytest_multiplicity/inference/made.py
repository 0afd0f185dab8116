"""What a family's function returned, and what the store knows it by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from importlib import metadata
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pytest_multiplicity.compute import Machine, device_class
from pytest_multiplicity.data import Data
from pytest_multiplicity.design import Built, Design
from pytest_multiplicity.errors import DefinitionError, MeasurementError, StoreError
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
        with self.machine.as_new():
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
        try:
            return self._key_with(index, self.definition.version)
        except StoreError as error:
            if self.definition.version is not None or not self._has_key(index, version=""):
                raise
            raise StoreError(f"{error}, or set `version=` on the family") from error

    def _has_key(self, index: int, version: str) -> bool:
        try:
            return bool(self._key_with(index, version))
        except StoreError:
            return False

    def _key_with(self, index: int, version: str | None) -> str:
        made = self.all[index]
        if isinstance(made, Recipe):
            return self._recipe_key(made, index, version)
        if isinstance(made, nn.Module):
            code = made if version is None else [version, made.state_dict()]
            return fingerprint(["module", code, versions(self.machine.device)])
        here = [*self.here, self.definition.where, index]
        return fingerprint(["callable", getattr(made, "fingerprint", None) or here])

    def _recipe_key(self, recipe: Recipe, index: int, version: str | None) -> str:
        config = self.design.configs[index]
        module = initial_module(recipe, Seeds.of(config))
        settings = {f.name: getattr(recipe, f.name) for f in fields(recipe) if f.name != "model"}
        code: Any = [self.definition.function, recipe.model, module]
        if version is not None:
            settings = {name: s for name, s in settings.items() if not callable(s)}
            code = [version, module.state_dict()]
        return fingerprint(["recipe", config, settings, code, versions(self.machine.device)])


def common_data(made: Iterable[Any]) -> list[Any]:
    """Return what a family's function made, with one object for all data sets that are equal.

    So data that are made anew for every candidate are held once.
    """
    known: dict[tuple[str, str], Data] = {}

    def common(each: Any) -> Any:
        if not isinstance(each, Recipe):
            return each
        data = known.setdefault((each.data.name, each.data.fingerprint), each.data)
        return each if data is each.data else replace(each, data=data)

    return [common(each) for each in made]


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
