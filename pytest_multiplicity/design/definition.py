"""What a user wrote down as a family, before any candidate exists."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from pytest_multiplicity.design.design import Design, check_seeds, make_design, own_seeds
from pytest_multiplicity.errors import DefinitionError

RUN = "run"  # the parameter that tells a function of its training


class Definition(Protocol):
    """A family as pytest sees it: a design, and the fixtures its candidates need."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the fixtures that building a candidate needs."""

    @property
    def where(self) -> str:
        """`file:line`, for messages."""

    @property
    def takes_seeds(self) -> bool:
        """Whether a candidate can be had for any seed, also for one that wasn't declared."""

    def design(self, seeds: int | None = None) -> Design:
        """Return the candidates; `seeds` is `--multiplicity-seeds`. Raises DefinitionError."""


@dataclass(frozen=True)
class Built:
    """A family whose candidates a function builds, one configuration at a time."""

    function: Callable[..., Any]
    default: Mapping[str, Any]
    vary: Mapping[str, Iterable[Any]]
    seeds: int | Iterable[int]
    kind: str | Iterable[Mapping[str, Any]]
    version: str | None = None
    keep: bool = False
    _designs: dict[int | None, Design] = field(default_factory=dict, repr=False, compare=False)

    @property
    def expected(self) -> tuple[str, str, str]:
        """What it is, what it returns a model for, and what that may be: for messages."""
        return (
            "family",
            "a candidate",
            "a pm.Recipe, a torch.nn.Module, a fitted estimator, or a callable from a batch to "
            "logits",
        )

    @property
    def takes_run(self) -> bool:
        """Whether the function has a parameter `run`, which is ours to give."""
        return RUN in inspect.signature(self.function).parameters

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """The function's parameters that are fixtures: not `config`, `run`, or with a default."""
        others = list(inspect.signature(self.function).parameters.values())[1:]
        variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        return tuple(
            each.name
            for each in others
            if each.default is inspect.Parameter.empty
            and each.kind not in variadic
            and each.name != RUN
        )

    @property
    def takes_seeds(self) -> bool:
        """Whether configurations don't tell their own seeds."""
        return own_seeds(self.kind) is None

    @property
    def where(self) -> str:
        """`file:line` of the function."""
        code = inspect.unwrap(self.function).__code__
        return f"{code.co_filename}:{code.co_firstlineno}"

    def design(self, seeds: int | None = None) -> Design:
        """Return the candidates, listed once per value of `seeds` if given, else of its own."""
        if seeds not in self._designs:
            self._check_signature()
            self._designs[seeds] = make_design(
                self.default, self.vary, self._seeds(seeds), self.kind
            )
        return self._designs[seeds]

    def _seeds(self, wanted: int | None) -> int | Iterable[int]:
        given = own_seeds(self.kind) or self.seeds
        if wanted is None or isinstance(given, int):
            return given if wanted is None else wanted
        listed = check_seeds(given)
        if wanted > len(listed):
            raise DefinitionError(
                f"--multiplicity-seeds {wanted}: the family lists only {len(listed)} seeds "
                f"({', '.join(map(str, listed))}); ask for fewer, or give it a count"
            )
        return listed[:wanted]

    def _check_signature(self) -> None:
        names = list(inspect.signature(self.function).parameters)
        if names[:1] != ["config"]:
            raise DefinitionError(
                f"the first parameter of {self.function.__name__} is "
                f"{names[0] if names else 'missing'!r}: call it 'config'"
            )
        if self.takes_run and not self.keep:
            raise DefinitionError(
                f"{self.function.__name__} has a parameter 'run', which functions get that train "
                "and are kept: say keep=True, or give the fixture another name"
            )
