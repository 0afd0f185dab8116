"""The kinds of intervention, and what they have in common.

Intervention
├── Group, WorstGroup      choose samples
├── InputIntervention      changes inputs, the same for every model: Corrupt, InputNoise
├── ModelIntervention      changes inputs, for each model its own way: Attack
│   └── JointIntervention  and for several models at once: PGD
└── OutputIntervention     changes logits: OutputNoise
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor

from pytest_multiplicity.interventions.naming import call

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data
    from pytest_multiplicity.interventions.chain import Chain

Model = Callable[[Tensor], Tensor]


class Intervention:
    """A change under which accuracy is measured: `candidate.accuracy(data, under=...)`.

    Interventions are values: their parameters are all there is to them. `a | b` applies a, then b.
    """

    def __or__(self, other: Intervention | Chain) -> Chain:
        from pytest_multiplicity.interventions.chain import chain  # which is made of these

        return chain(self) | other

    def __repr__(self) -> str:
        return call(type(self).__name__, *self._arguments())

    def _arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """Return the first parameter, and of the others those that differ from their defaults."""
        first, *others = fields(self)  # type: ignore[arg-type]  # the parametrized are dataclasses
        values = {field.name: getattr(self, field.name) for field in others}
        changed = {
            field.name: values[field.name]
            for field in others
            if field.default is MISSING or values[field.name] != field.default
        }
        return [getattr(self, first.name)], changed

    @property
    def draws(self) -> str:
        """What the random numbers are drawn from; "" where none are, or none of its own."""
        return ""

    def check(self, data: Data) -> None:
        """Raise an InterventionError where the parameters don't fit `data`."""


class InputIntervention(Intervention, ABC):
    """Changes inputs, for every model alike."""

    needs_model: Literal[False] = False

    @abstractmethod
    def apply(self, inputs: Tensor, rows: Tensor, data: Data) -> Tensor:
        """Return the changed inputs [b, ...], on the device and of the dtype of the given ones.

        Args:
            inputs: samples [b, ...]; not written to.
            rows: their positions [b] in `data.root`, on which random numbers depend, on nothing
                else: a group under noise is the noise of the group.
            data: where the samples come from; its bounds hold.
        """


class ModelIntervention(Intervention, ABC):
    """Changes inputs, for every model its own way."""

    needs_model: Literal[True] = True

    @property
    def passes(self) -> int:
        """About how often a sample goes through the model for it, forwards or backwards.

        That of another library's attack is not known: as many as of ten steps are assumed.
        """
        return 20

    @abstractmethod
    def perturb(
        self, model: Model, inputs: Tensor, targets: Tensor, rows: Tensor, data: Data
    ) -> Tensor:
        """Return the inputs [b, ...] changed against `model`.

        Args:
            model: from a batch to logits, in eval mode, on the device of `inputs`.
            inputs: samples [b, ...]; not written to.
            targets: their classes [b], on the same device.
            rows: as for `InputIntervention.apply`.
            data: as for `InputIntervention.apply`.
        """


class JointIntervention(ModelIntervention, ABC):
    """Changes inputs, for every model its own way, and for several models at once."""

    @abstractmethod
    def perturb_all(
        self, models: Model, inputs: Tensor, targets: Tensor, rows: Tensor, data: Data
    ) -> Tensor:
        """Return the inputs [K, b, ...] changed against each of K models: all that perturb says.

        Args:
            models: from a batch for each model, [K, b, ...], to logits [K, b, classes].
            inputs: samples for each model, [K, b, ...]; not written to.
            targets: their classes [b], as in `perturb`.
            rows: as in `perturb`.
            data: as in `perturb`.
        """


class OutputIntervention(Intervention, ABC):
    """Changes logits."""

    @abstractmethod
    def apply(self, logits: Tensor, rows: Tensor, data: Data) -> Tensor:
        """Return the changed logits [b, classes]; see `InputIntervention.apply` for the rest."""

    def expected_correct(self, logits: Tensor, targets: Tensor) -> Tensor | None:
        """Return the probability [b], float64, that the changed logits predict the target.

        None where there is no closed form: the logits that `apply` returns then count.
        """
        return None
