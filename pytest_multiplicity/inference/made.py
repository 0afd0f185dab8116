"""What a family's function returned, and what the store knows it by."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pytest_multiplicity.compute import Machine
from pytest_multiplicity.data import Data
from pytest_multiplicity.design import Built, Design, run_of
from pytest_multiplicity.errors import DefinitionError, MeasurementError, StoreError
from pytest_multiplicity.inference.choice import structure_of
from pytest_multiplicity.inference.estimators import is_estimator
from pytest_multiplicity.inference.given import frozen, is_compiled
from pytest_multiplicity.keeping import Given, check_fixtures
from pytest_multiplicity.store import RESULTS_VERSION, fingerprint
from pytest_multiplicity.training import (
    Job,
    Recipe,
    Seeds,
    initial_module,
    settings_of,
    training_rows,
)

TORCHVISION = metadata.version("torchvision")  # importing it would take a second


class Known(NamedTuple):
    """What a candidate is known by in the store, and whether beyond this run; and how it is built.

    `structure` is what it has in common with those that it may be evaluated side by side with.
    """

    key: str
    structure: str | None = None
    lasting: bool = True


@dataclass(frozen=True, eq=False)
class Made:
    """What the function of a family returned for every configuration: `all`, in their order."""

    name: str
    definition: Built
    design: Design
    all: Sequence[Recipe | nn.Module | Given | Callable[..., Any]]
    machine: Machine
    run_id: str
    _commons: dict[str | None, str] = field(default_factory=dict)
    _beside: list[Made] = field(default_factory=list)

    def __post_init__(self) -> None:
        for made in self.all:
            _check(made, self.name, self.definition)
        if self.given is not None:
            check_fixtures(self.given.fixtures, self.name)

    def compute_as(self, declared: Made) -> None:
        """Take what bits depend on from the declared candidates: these were added to them."""
        self._beside.append(declared)
        self._commons.update(declared._commons)

    @property
    def declared_ones(self) -> Made | None:
        """The declared candidates that these were added to; None where these are declared."""
        return next(iter(self._beside), None)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """What the store knows each candidate by."""
        return tuple(each.key for each in self._known)

    @cached_property
    def identity(self) -> str:
        """What all candidates are known by, in every run: who they are, as far as can be told."""
        return fingerprint([self._lasting_name(index) for index in range(len(self.all))])

    def _lasting_name(self, index: int) -> list[str]:
        if self._known[index].lasting:
            return [self.keys[index]]
        try:
            return [fingerprint([self.definition.function, self.design.configs[index]])]
        except StoreError:
            return [self.name, self.design.ids[index]]

    def key_now(self, index: int) -> str:
        """Return what a ready-made module would be known by if it were met only now."""
        with self.machine.as_new():
            return self._know(index).key

    @cached_property
    def _known(self) -> tuple[Known, ...]:
        with self.machine.as_new():
            return tuple(self._know(index) for index in range(len(self.all)))

    @cached_property
    def recipes(self) -> tuple[int, ...]:
        """The positions of those that are trained."""
        return tuple(index for index, made in enumerate(self.all) if isinstance(made, Recipe))

    @property
    def given(self) -> Given | None:
        """What calls of the function have in common, where the family keeps."""
        return self.all[0] if isinstance(self.all[0], Given) else None

    @property
    def data(self) -> list[Data]:
        """The data of every recipe."""
        return [made.data for made in self.all if isinstance(made, Recipe)]

    def alike(self, structure: str) -> int:
        """Return how many candidates of a structure were declared."""
        if self.declared_ones is not None:
            return self.declared_ones.alike(structure)
        count = sum(each.structure == structure for each in self._known)
        return max(1, round(count * self.declared / len(self.all)))

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
        return None if all(self._known[index].lasting for index in indices) else self.run_id

    def _know(self, index: int) -> Known:
        try:
            return self._know_by(index, self.definition.version)
        except StoreError as error:
            if self.definition.version is not None or not self._has_key(index, version=""):
                raise
            raise StoreError(f"{error}, or set `version=` on the family") from error

    def _has_key(self, index: int, version: str) -> bool:
        try:
            return bool(self._know_by(index, version))
        except StoreError:
            return False

    def _know_by(self, index: int, version: str | None) -> Known:
        made = self.all[index]
        if isinstance(made, Recipe):
            return self._know_recipe(made, index, version)
        if isinstance(made, Given):
            common = self._common(made, version)
            config = self.design.configs[index]
            run = run_of(config)  # a function may read what belongs to it
            return Known(fingerprint(["kept", config, common, *([] if run is None else [run])]))
        if isinstance(made, nn.Module) and not is_compiled(made):
            code = made if version is None else [version, made.state_dict()]
            key = fingerprint(["module", code, versions()])
            return Known(key, _structure_when_frozen(made))
        declared = getattr(made, "fingerprint", None)
        here = [*self.here, self.definition.where, self.design.ids[index]]
        return Known(fingerprint(["callable", declared or here]), lasting=bool(declared))

    def _common(self, given: Given, version: str | None) -> str:
        """Return what calls of a function depend on beside the configuration, hashed once."""
        if version not in self._commons:
            code = given.function if version is None else version
            held = {name: _content(name, value) for name, value in given.fixtures.items()}
            known = [code, held, versions()]
            self._commons[version] = fingerprint(known)
        return self._commons[version]

    def _know_recipe(self, recipe: Recipe, index: int, version: str | None) -> Known:
        config = self.design.configs[index]
        module = initial_module(recipe, Seeds.of(config))
        settings = settings_of(recipe)
        code: Any = [self.definition.function, recipe.model, module]
        if version is not None:
            settings = {name: s for name, s in settings.items() if not callable(s)}
            code = [version, module.state_dict()]
        key = fingerprint(["recipe", config, settings, code, versions()])
        return Known(key, _structure_when_frozen(module))


def _structure_when_frozen(module: nn.Module) -> str | None:
    """Return what `structure_of` says of it when it is evaluated, and leave it as it is."""
    learning = [each for each in module.parameters() if each.requires_grad]
    known = structure_of(frozen(module))
    for parameter in learning:
        parameter.requires_grad_()
    return known


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


def versions() -> list[str]:
    """Return the versions that can change a candidate's bits.

    Not the class of device: what one made is known by it, and used on others.
    """
    return [
        f"results {RESULTS_VERSION}",
        f"torch {torch.__version__}",
        f"torchvision {TORCHVISION}",
        f"numpy {np.__version__}",
    ]


def _content(name: str, value: Any) -> str:
    """Return the fingerprint of what a fixture holds."""
    try:
        return fingerprint(value)
    except StoreError as error:
        raise DefinitionError(f"the fixture {name!r}: {error}") from error


def _check(made: Any, name: str, definition: Built) -> None:
    noun, what, expected = definition.expected
    if isinstance(made, nn.Module) and any(is_lazy(p) or p.is_meta for p in made.parameters()):
        raise DefinitionError(
            f"{noun} {name!r} returned a {type(made).__name__} that has parameters without "
            "values: call a lazy module on a batch, load weights into one of the device 'meta' "
            "(to_empty), or return a pm.Recipe that trains it"
        )
    if isinstance(made, Recipe | nn.Module | Given) or is_estimator(made) or callable(made):
        return
    hint = "did you forget to return it? " if made is None else ""
    raise DefinitionError(
        f"{noun} {name!r} returned {reprlib.repr(made)} for {what}: {hint}Return {expected}"
    )
