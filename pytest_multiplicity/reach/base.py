"""A survivor that models are built from: its last layer, what that sees, and its loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pytest_multiplicity.compute import free_bytes
from pytest_multiplicity.reach.curvature import (
    DAMPING,
    Inverse,
    LossOf,
    Slopes,
    gradient,
    inverse_of,
    slopes,
)
from pytest_multiplicity.reach.parts import Head

MEASURED_BYTES = 1 << 26  # outputs of as many models as are measured at once
MOST_EXACT = 1 << 24  # models times training samples whose losses are computed in float64
HELD_BYTES = 1 << 30  # inverses that are kept from round to round, or a quarter of what is free


@dataclass(frozen=True, eq=False)
class OnData:
    """A data set as a last layer sees it: features `[n, F]`, and targets."""

    features: Tensor
    targets: Tensor

    def some(self, rows: Tensor) -> OnData:
        """Return some of the samples."""
        return OnData(self.features[rows], self.targets[rows])


@dataclass(frozen=True, eq=False)
class Base:
    """A survivor; `loss` is of one model, `losses` of several side by side."""

    name: str
    head: Head
    data: OnData
    select: OnData
    train: OnData
    loss: LossOf
    losses: Callable[[Tensor, Tensor], Tensor]
    """Outputs `[b, n, k]` and targets `[b, n, ...]` -> `[b]`."""
    decay: float = 0.0

    @cached_property
    def outputs(self) -> Tensor:
        """What it gives for the data, `[n, k]`, float64."""
        return self.data.features.double() @ self.head.weights.T

    @cached_property
    def slopes(self) -> Slopes:
        """The derivatives of its training loss by its outputs."""
        outputs = self.train.features.double() @ self.head.weights.T
        return slopes(self.loss, outputs, self.train.targets)

    @property
    def ridge(self) -> float:
        """What is added to the Hessian's diagonal."""
        return self.decay + DAMPING

    @cached_property
    def gradient(self) -> Tensor:
        """The gradient of its training loss, `[k, F]`: zero where the head converged."""
        features = self.train.features.double()
        return gradient(self.slopes, features, self.head.weights, self.decay)

    def inverse(self) -> Inverse:
        """Return the inverse of its training loss's Hessian."""
        features = self.train.features.double()
        return inverse_of(self.slopes.second, features, self.decay, self.name)

    @cached_property
    def lost(self) -> Tensor:
        """Its own training loss, with the decay."""
        return self.losses_of(self.head.rounded(self.head.weights)[None])[0]

    @cached_property
    def plain_loss(self) -> Tensor:
        """Its own training loss without the decay."""
        return self.loss(self.train.features.double() @ self.head.weights.T, self.train.targets)

    def losses_of(self, weights: Tensor) -> Tensor:
        """Return the training losses, with the decay, of models with weights `[b, k, F]`, float64.

        Where there are very many, outputs are computed as the model itself computes them.
        """
        few = len(self.data.targets) * len(self.train.targets) <= MOST_EXACT
        kind = torch.float64 if few else self.head.dtype
        features, targets = self.train.features.to(kind), self.train.targets
        found = []
        for each in torch.split(weights.to(kind), at_once(features, weights)):
            many = targets.expand(len(each), *targets.shape)
            size = self.decay / 2 * (each.double() ** 2).sum((1, 2))
            found.append(self.losses(outputs_of(each, features), many).double() + size)
        return torch.cat(found)

    def turned(self, inverse: Inverse, rows: Tensor, turns: Tensor, amounts: Tensor) -> Tensor:
        """Return weights `[b, k, F]`, as the model holds them, that move rows by amounts `[b]`.

        `turns` `[b, k]` are directions of outputs. W' = W + amount / (v'u) u, where v = turn (x)
        phi and u = H^-1 v: of all weights that do it, those of the least loss, to second order.
        """
        features = self.data.features[rows].double()
        turns, amounts = turns.to(features.device), amounts.to(features.device)
        steps = inverse.steps(features, turns)
        reach = (torch.bmm(steps, features[:, :, None])[:, :, 0] * turns).sum(1)
        moved = self.head.weights + (amounts / reach)[:, None, None] * steps
        return self.head.rounded(moved)


def outputs_of(weights: Tensor, features: Tensor) -> Tensor:
    """Return what models with weights `[b, k, F]` give for features `[n, F]`: `[b, n, k]`."""
    count, k, width = weights.shape
    found = features @ weights.reshape(count * k, width).T
    return found.reshape(len(features), count, k).transpose(0, 1)


def at_once(features: Tensor, weights: Tensor) -> int:
    """Return how many models with such weights are measured at once."""
    return max(1, MEASURED_BYTES // (8 * len(features) * weights.shape[1]))


class Inverses:
    """The inverses of bases, kept as far as there is room, in their order."""

    def __init__(self, bases: Sequence[Base]) -> None:
        self._bases, self._held = bases, dict[int, Inverse]()
        self._room = max(HELD_BYTES, free_bytes(bases[0].head.weights.device) // 4)

    def of(self, position: int) -> Inverse:
        """Return the inverse of one base, computed anew where it was not kept."""
        if position not in self._held:
            base = self._bases[position]
            inverse = base.inverse()
            if inverse.size > self._room:
                return inverse
            self._room -= inverse.size
            self._held[position] = inverse
        return self._held[position]
