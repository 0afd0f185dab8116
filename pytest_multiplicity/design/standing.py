"""The model that runs today, as a user wrote it down: one, outside of every family."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from pytest_multiplicity.design.definition import RUN, Built
from pytest_multiplicity.design.design import Design, make_design
from pytest_multiplicity.errors import DefinitionError

CONFIG = "config"


@dataclass(frozen=True)
class Standing(Built):
    """An incumbent: a function of fixtures alone that returns one model."""

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Standing:
        """Return the definition that a function is."""
        return cls(function, {}, {}, 1, "star")

    @property
    def expected(self) -> tuple[str, str, str]:
        """What it is, what it returns a model for, and what that may be: for messages."""
        models = super().expected[-1]
        tables = "a table of its answers (a DataFrame, the path of a .csv or .parquet file)"
        return "incumbent", "what runs today", f"{tables}, None while there is none, {models}"

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """The function's parameters, but for those with a default: all are fixtures."""
        variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        return tuple(
            each.name
            for each in inspect.signature(self.function).parameters.values()
            if each.default is inspect.Parameter.empty and each.kind not in variadic
        )

    def design(self, seeds: int | None = None) -> Design:
        """Return one candidate, which is named as the function is."""
        return replace(make_design({}, {}, 1), ids=(self.function.__name__,))

    def check(self) -> None:
        """Raise DefinitionError where the function depends on what only a family has."""
        name = self.function.__name__
        taken = inspect.signature(self.function).parameters
        odd = [each for each in (CONFIG, RUN) if each in taken]
        if odd:
            raise DefinitionError(
                f"the incumbent {name!r} has a parameter {odd[0]!r}, which only a family's "
                "function gets: an incumbent is one model, outside the family; take session "
                "fixtures alone"
            )
