"""Interventions joined by `|`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_multiplicity.errors import InterventionError
from pytest_multiplicity.interventions.base import (
    InputIntervention,
    Intervention,
    ModelIntervention,
    OutputIntervention,
)
from pytest_multiplicity.interventions.group import Group, WorstGroup

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data


@dataclass(frozen=True, repr=False)
class Chain:
    """Interventions that are applied from left to right; none at all is the clean measurement.

    Groups may stand anywhere: they choose samples, and change none. A change of the output comes
    after all changes of the input.

    Raises:
        InterventionError: the order makes no sense, or two steps would draw the same numbers.
    """

    steps: tuple[Intervention, ...] = ()

    def __post_init__(self) -> None:
        _check_order(self.steps)
        _check_draws(self.steps)

    def __or__(self, other: Intervention | Chain) -> Chain:
        return Chain(self.steps + chain(other).steps)

    def __repr__(self) -> str:
        return self.name or "Chain()"

    @property
    def name(self) -> str:
        """What reports call it: the steps joined by " | ", "" for none."""
        return " | ".join(map(repr, self.steps))

    @property
    def groups(self) -> tuple[Group | WorstGroup, ...]:
        """The steps that choose samples."""
        return tuple(step for step in self.steps if isinstance(step, Group | WorstGroup))

    @property
    def inputs(self) -> tuple[InputIntervention | ModelIntervention, ...]:
        """The steps that change the input, in order."""
        kinds = InputIntervention | ModelIntervention
        return tuple(step for step in self.steps if isinstance(step, kinds))

    @property
    def outputs(self) -> tuple[OutputIntervention, ...]:
        """The steps that change the output, in order."""
        return tuple(step for step in self.steps if isinstance(step, OutputIntervention))

    @property
    def needs_model(self) -> bool:
        """Whether inputs are changed for each model its own way."""
        return any(step.needs_model for step in self.inputs)

    @property
    def passes(self) -> int:
        """About how often a sample goes through a model until its logits are known."""
        attacks = (step for step in self.inputs if isinstance(step, ModelIntervention))
        return 1 + sum(step.passes for step in attacks)

    def check(self, data: Data) -> None:
        """Raise a DataError or InterventionError where this can't be measured on `data`.

        Groups are looked for and parameters compared with the bounds; nothing is computed.
        """
        self.expand(data)
        self.restrict(data)
        for step in self.steps:
            step.check(data)

    def restrict(self, data: Data) -> Data:
        """Return the samples that are in all groups, as a view of `data`.

        Raises:
            DataError: there are none, or an attribute is missing.
        """
        for group in self.groups:
            if isinstance(group, Group):
                data = group.restrict(data)
        return data

    def expand(self, data: Data) -> list[Chain]:
        """Return a chain for each group among which the worst is sought; itself where none is.

        A score under this chain is the worst of the scores under those.
        """
        for position, step in enumerate(self.steps):
            if isinstance(step, WorstGroup):
                before, after = self.steps[:position], self.steps[position + 1 :]
                return [
                    expanded
                    for group in step.groups(self.restrict(data))
                    for expanded in Chain((*before, group, *after)).expand(data)
                ]
        return [self]


def chain(under: Any) -> Chain:
    """Return what `under=` was given as a chain: an intervention, several joined, or None."""
    if under is None:
        return Chain()
    if isinstance(under, Chain):
        return under
    if isinstance(under, Intervention):
        return Chain((under,))
    raise InterventionError(f"{under!r} is no intervention: {_remedy(under)}")


def _remedy(under: Any) -> str:
    if isinstance(under, type) and issubclass(under, Intervention):
        return f"give its parameters, as in {under.__name__}(...)"
    if isinstance(under, str):
        return f"a group is Group({under!r}), a named corruption Corrupt(name, severity=3)"
    if callable(under):
        return "wrap it, as in Corrupt(function)"
    return "give one such as Group('age < 30') or PGD(0.005), or several joined by |"


def _check_order(steps: tuple[Intervention, ...]) -> None:
    output: Intervention | None = None
    for step in steps:
        if isinstance(step, OutputIntervention):
            output = step
        elif output is not None and isinstance(step, InputIntervention | ModelIntervention):
            raise InterventionError(
                f"{step!r} changes the input, but stands after {output!r}, which changes the "
                f"output: write {step!r} | {output!r}"
            )


def _check_draws(steps: tuple[Intervention, ...]) -> None:
    counts = Counter(step.draws for step in steps if step.draws)
    for draws, times in counts.items():
        if times > 1:
            raise InterventionError(
                f"{' | '.join(map(repr, steps))} draws the numbers of {draws} {times} times: "
                "give each step a seed of its own, seed=1, seed=2"
            )
