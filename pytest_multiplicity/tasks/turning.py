"""How a linear head's outputs have to move for a sample to be answered otherwise, task by task.

Outputs are what a model's last layer gives, `[..., n, k]`: a column for each class, label or value,
or one for two classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

MOST_WAYS = 3  # to turn one sample: the runner-up and the two after it


class Ways(NamedTuple):
    """Up to `o` ways to turn each of `n` samples, the shortest first.

    Along a way `directions[which] @ outputs` moves by more than `amounts`.
    """

    directions: Tensor
    """`[P, k]`, float64."""
    which: Tensor
    """`[n, o]`, rows of `directions`."""
    amounts: Tensor
    """`[n, o]`, float64; infinite where there is no further way."""


class Turning(Protocol):
    """What a task knows of a last layer's outputs."""

    def said(self, outputs: Tensor) -> Tensor:
        """Return what outputs `[..., n, k]` predict, as the task's predictions are."""

    def ways(self, outputs: Tensor, said: Tensor) -> Ways:
        """Return ways from outputs `[n, k]` to an answer that is in none of `said` `[S, n, ...]`.

        What `outputs` predict is among `said`.
        """

    def right(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        """Return which of outputs `[b, n, k]` are right, `[b, n]`.

        None: what they predict tells as quickly.
        """

    def differ(self, some: Tensor, others: Tensor) -> Tensor:
        """Return which of n predictions differ from n others."""


def _nearest(amounts: Tensor) -> tuple[Tensor, Tensor]:
    """Return the columns of the smallest amounts of each row, and these."""
    found = amounts.sort(dim=1, stable=True)
    return found.indices[:, :MOST_WAYS], found.values[:, :MOST_WAYS]


def _signed(count: int) -> Tensor:
    """Return directions along each output, first all upwards, then all downwards."""
    up = torch.eye(count, dtype=torch.float64)
    return torch.cat([up, -up])


@dataclass(frozen=True)
class TurnClasses:
    """One of several classes, of which the largest output is said; one output is the second's."""

    def said(self, outputs: Tensor) -> Tensor:
        """Return the class, int64."""
        if outputs.shape[-1] == 1:
            return (outputs[..., 0] > 0).long()
        return outputs.argmax(-1)

    def right(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        """Return where the target's output is largest: quicker than which is, unless some tie."""
        k = outputs.shape[-1]
        if k == 1 or not bool(((targets >= 0) & (targets < k)).all()):
            return None
        column = targets.expand(outputs.shape[:2])[:, :, None]
        own = outputs.gather(-1, column)[:, :, 0]
        hidden = torch.zeros(k, len(targets), dtype=outputs.dtype, device=outputs.device)
        hidden.scatter_(0, targets[None], -torch.inf)
        most = (outputs + hidden.T).amax(-1)
        right = own > most
        if bool((own == most).any()):  # the first of the largest is said
            right = outputs.contiguous().argmax(-1) == targets
        return right

    def differ(self, some: Tensor, others: Tensor) -> Tensor:
        """Return where classes are two."""
        return some != others

    def ways(self, outputs: Tensor, said: Tensor) -> Ways:
        """Return the runner-up classes that nobody says."""
        if outputs.shape[1] == 1:
            return _the_other(outputs[:, 0], said.long())
        n, k = outputs.shape
        own = outputs.argmax(1, keepdim=True)
        short = outputs.gather(1, own) - outputs
        short = short.scatter(1, said.long().T.clamp(0, k - 1), torch.inf)
        to, amounts = _nearest(short.scatter(1, own, torch.inf))
        pairs, which = torch.unique(own * k + to, return_inverse=True)
        directions = torch.zeros(len(pairs), k, dtype=torch.float64)
        rows = torch.arange(len(pairs))
        directions[rows, pairs % k] = 1.0
        directions[rows, pairs // k] -= 1.0
        return Ways(directions, which.reshape(n, -1), amounts.double())


def _the_other(outputs: Tensor, said: Tensor) -> Ways:
    other = (outputs <= 0).long()
    amounts = outputs.abs().double().masked_fill((said == other).any(0), torch.inf)
    return Ways(_signed(1), (1 - other)[:, None], amounts[:, None])


@dataclass(frozen=True)
class TurnLabels:
    """Several labels: a sample has those whose output is above 0; any that turns is another answer.

    A way turns one label.
    """

    def said(self, outputs: Tensor) -> Tensor:
        """Return the labels, int64."""
        return (outputs > 0).long()

    def right(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        """Return None."""
        return None

    def differ(self, some: Tensor, others: Tensor) -> Tensor:
        """Return where any label differs."""
        return (some != others).any(-1)

    def ways(self, outputs: Tensor, said: Tensor) -> Ways:
        """Return the labels that nobody turns, given the others."""
        own, k = self.said(outputs), outputs.shape[1]
        amounts = outputs.abs().double()
        for each in said:
            apart = own != each.long()
            alone = apart & (apart.sum(1, keepdim=True) == 1)  # turned by itself, that is said
            amounts = amounts.masked_fill(alone, torch.inf)
        labels, found = _nearest(amounts)
        return Ways(_signed(k), labels + k * own.gather(1, labels), found)


@dataclass(frozen=True)
class TurnValues:
    """Values: another answer is farther than the tolerance from everybody's."""

    tolerance: float

    def said(self, outputs: Tensor) -> Tensor:
        """Return the values, `[..., n, k]`."""
        return outputs

    def right(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        """Return None."""
        return None

    def differ(self, some: Tensor, others: Tensor) -> Tensor:
        """Return where a value is more than the tolerance apart."""
        columns = len(some), -1  # [n, 1] against [n] would compare everybody with everybody
        gaps = some.reshape(columns) - others.reshape(columns)
        return (gaps.abs() > self.tolerance).any(-1)

    def ways(self, outputs: Tensor, said: Tensor) -> Ways:
        """Return upwards and downwards, beyond the tolerance of everybody's value."""
        k, values = outputs.shape[1], outputs.double()
        others = said.double().reshape(len(said), len(values), k)
        up = others.amax(0).maximum(values) + self.tolerance - values
        down = values - others.amin(0).minimum(values) + self.tolerance
        which, amounts = _nearest(torch.cat([up, down], dim=1))
        return Ways(_signed(k), which, amounts)
