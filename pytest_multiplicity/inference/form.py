"""In which form models are evaluated, and what is asked of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from pytest_multiplicity.compute import Arithmetic
from pytest_multiplicity.data import Data, kinds
from pytest_multiplicity.interventions import (
    InputIntervention,
    JointIntervention,
    ModelIntervention,
)
from pytest_multiplicity.training import LACKING

PLAIN = Arithmetic()
Step = InputIntervention | ModelIntervention


@dataclass(frozen=True)
class Batch:
    """Samples, tensors on the device, and the steps that are each model's own."""

    inputs: kinds.Batch
    targets: Tensor
    rows: Tensor
    data: Data
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Form:
    """How models are evaluated.

    Args:
        arithmetic: what their bits depend on.
        lanes: numbers of models side by side that give the same bits.
        in_turn: one model after the other, with all threads that there are, as code is run that may
            mind company. Other units compute at once, with a thread each.
        copies: each model computes on a copy of its inputs, since it may write into them.
        whole: the samples of a batch act on each other, so none is added and none left out.
        lacking: memory ran out for what the rule says.
    """

    arithmetic: Arithmetic = PLAIN
    lanes: tuple[int, ...] = (1,)
    in_turn: bool = False
    copies: bool = False
    whole: bool = False
    lacking: bool = False

    def __str__(self) -> str:
        told = f"{self.arithmetic}{', in turn' * self.in_turn}{', whole batches' * self.whole}"
        return told + f" ({LACKING})" * self.lacking

    def width(self, models: int, cores: int) -> int:
        """Return how many of so many models to put side by side, that no core is idle."""
        wanted = math.ceil(models / cores)
        return next((lanes for lanes in self.lanes if lanes >= wanted), self.lanes[-1])

    def fewer(self, lanes: int) -> int | None:
        """Return the next smaller number of models side by side; None: there is none."""
        return max((each for each in self.lanes if each < lanes), default=None)

    @property
    def alone(self) -> Form:
        """The form of each model by itself, where memory ran out for several."""
        arithmetic = replace(self.arithmetic.alone, channels_last=False)
        return replace(self, arithmetic=arithmetic, lanes=(1,), lacking=True)


IN_TURN = Form(in_turn=True, copies=True)

Alike = tuple[tuple[int, ...], Form]  # positions of models, and the form that they are evaluated in


@dataclass(frozen=True)
class Demand:
    """What a measurement asks of models.

    `gradients` with respect to inputs; `joint`: nothing of it needs one model by itself, or may
    mind threads.
    """

    gradients: bool
    joint: bool

    @classmethod
    def of(cls, steps: Sequence[Step]) -> Demand:
        """Return what steps that are each model's own ask."""
        return cls(
            gradients=any(step.needs_model for step in steps),
            joint=all(isinstance(step, JointIntervention) for step in steps),
        )
