"""The families of a run: found at collection, built when a spec first asks for a candidate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pytest_multiplicity.design import Definition, Design, further
from pytest_multiplicity.errors import Attempt, DefinitionError
from pytest_multiplicity.findings import Spec

if TYPE_CHECKING:
    from pytest_multiplicity.evaluation import Population


Place = tuple[str, tuple[Path, ...]]
"""A family's base, and its home with the folders above."""


@dataclass
class Round:
    """Candidates beyond the declared ones that are trained together: positions among these."""

    positions: tuple[int, ...]
    population: Population | None = None


@dataclass
class Family:
    """One decorated function: where it stands, its candidates, its specs."""

    name: str
    base: str  # home as a text, below the root where it can be; then the class, if any
    above: tuple[Path, ...]  # its home (the conftest's folder, or the module) and what holds that
    definition: Definition
    design: Design
    dependencies: dict[str, Any] = field(default_factory=dict)
    specs: dict[str, Spec] = field(default_factory=dict)
    tests: dict[str, Any] = field(default_factory=dict)
    """What asks about it: name of a spec or a gate -> its function."""
    picked: dict[str, set[int]] = field(default_factory=dict)
    """Spec's node id -> the candidates it is about, where its author picked some by id."""
    selected: set[int] = field(default_factory=set)
    """Candidates that a pair of this run is about, after deselection."""
    population: Population | None = None
    further: Design | None = None
    """The candidates that may be added to decide; None where none may."""
    adding: set[str] = field(default_factory=set)
    """Node ids of the enforced specs that judge these."""
    rounds: list[Round] = field(default_factory=list)
    planned: int = 0
    """How many added seeds the rounds go through."""
    decided: bool = False
    """Whether no further round is needed."""
    building: Attempt = field(init=False)

    def __post_init__(self) -> None:
        self.building = Attempt(f"building {self.name}")

    @property
    def home(self) -> Path:
        """The conftest's folder, or the module, in which it is defined."""
        return self.above[0]

    @cached_property
    def key(self) -> str:
        """The same in every process of a run, and in no two families."""
        return f"{self.base}::{self.name}"

    @property
    def pairs(self) -> int:
        """How many candidate-spec pairs were generated."""
        everyone = len(self.design.ids)
        return sum(len(self.picked[s]) if s in self.picked else everyone for s in self.specs)

    @property
    def further_ids(self) -> tuple[str, ...]:
        """Ids of the candidates that may be added."""
        return () if self.further is None else self.further.ids

    def round_of(self, position: int) -> Round:
        """Return the round of an added candidate."""
        return next(each for each in self.rounds if position in each.positions)


class Families:
    """Every family seen so far, in definition order.

    `seeds`: how many of its declared ones each has; `most`: how many a configuration may get, where
    seeds are added.
    """

    def __init__(self, seeds: int | None, most: int | None = None) -> None:
        self._seeds, self._most = seeds, most
        self._by_definition: dict[int, Family] = {}

    def __iter__(self) -> Iterator[Family]:
        return iter(self._by_definition.values())

    def __len__(self) -> int:
        return len(self._by_definition)

    def find(self, name: str, definition: Definition, place: Callable[[], Place]) -> Family:
        """Return the family of a fixture, made on first sight. Raises DefinitionError."""
        if id(definition) not in self._by_definition:
            try:
                design = definition.design(self._seeds)
            except (ValueError, TypeError) as error:
                raise DefinitionError(f"family {name!r} ({definition.where}): {error}") from error
            family = self._by_definition[id(definition)] = Family(
                name, *place(), definition, design
            )
            if self._most is not None and definition.takes_seeds:
                family.further = further(design, self._most)
        return self._by_definition[id(definition)]

    def get(self, key: str) -> Family:
        """Return the family with this key."""
        return next(family for family in self if family.key == key)

    def of(self, definition: Definition) -> Family:
        """Return the family of a definition that was seen at collection."""
        return self._by_definition[id(definition)]

    def titles(self) -> dict[str, str]:
        """Key -> the name in reports: `candidate`, or `sub::candidate` for a later namesake."""
        titles: dict[str, str] = {}
        by_depth = sorted(self, key=lambda family: len(PurePosixPath(family.base).parts))
        for family in by_depth:
            parts = [
                part for part in PurePosixPath(family.base).parts if part not in (".", "..", "/")
            ]
            title = family.name
            while title in titles.values() and parts:
                title = (
                    f"{parts.pop()}::{title}" if "::" not in title else (f"{parts.pop()}/{title}")
                )
            titles[family.key] = title
        return titles
