"""What built models score: exactly, or no further than shows that it is too little."""

from __future__ import annotations

from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from pytest_multiplicity.reach.base import Base, OnData, at_once, outputs_of
from pytest_multiplicity.tasks import Task, Turning

EQUAL = 1e-9  # shares differ by 1/n or not at all
FEW = 1 << 18  # outputs, which are computed quicker than in two parts
NEAR = 8  # one of so many samples that a base has right is asked about first


class Halves(NamedTuple):
    """A data set in two: on which most models that are worse than their base show it, and on."""

    first: OnData
    rest: OnData


class Scoring:
    """Measures models with weights `[b, k, F]`, all built from one base."""

    def __init__(self, task: Task, turning: Turning) -> None:
        self._task, self._turning = task, turning
        self._parts = WeakKeyDictionary[Base, Halves]()

    def share_right(self, said: Tensor, targets: Tensor) -> float:
        """Return the accuracy of one model's predictions of a data set."""
        right = self._task.right(said.reshape(len(said), *targets.shape[1:]), targets)
        return float(right.double().mean())

    def scores(self, on: OnData, built: Tensor) -> Tensor:
        """Return the accuracies `[b]`, float64 on the CPU, of models on a data set."""
        return self._count(on, built) / len(on.targets)

    def good(self, base: Base, built: Tensor, least: Tensor) -> Tensor:
        """Return the accuracies `[b]` on a base's selecting data; nan: it is less than `least`."""
        if base.select.targets.numel() * built[:, :, 0].numel() < FEW:
            score = self.scores(base.select, built)
            return torch.where(score >= least - EQUAL, score, torch.nan)
        first, rest = self._parted(base)
        n, more = len(base.select.targets), len(rest.targets)
        found = torch.full((len(built),), torch.nan, dtype=torch.float64)
        right = self._count(first, built)
        open = ((right + more) / n >= least - EQUAL).nonzero().flatten()
        score = (right[open] + self._count(rest, built[open.to(built.device)])) / n
        found[open] = torch.where(score >= least[open] - EQUAL, score, torch.nan)
        return found

    def _parted(self, base: Base) -> Halves:
        if base not in self._parts:
            self._parts[base] = self._by_hardness(base)
        return self._parts[base]

    def _by_hardness(self, base: Base) -> Halves:
        on = base.select
        outputs = (on.features.double() @ base.head.weights.T).cpu()
        said = self._turning.said(outputs)
        right = self._right(outputs[None], on.targets.cpu())[0]
        short = self._turning.ways(outputs, said[None]).amounts[:, 0].masked_fill(~right, -1.0)
        order = short.argsort(stable=True).to(on.targets.device)
        wrong = int((~right).sum())
        count = wrong + (len(right) - wrong) // NEAR
        return Halves(on.some(order[:count]), on.some(order[count:]))

    def _count(self, on: OnData, built: Tensor) -> Tensor:
        """Return how many samples each model has right, `[b]`, float64 on the CPU."""
        found = torch.zeros(len(built), dtype=torch.float64)
        if not found.numel() or not on.targets.numel():
            return found
        done = 0
        for each in torch.split(built, at_once(on.features, built)):
            few = each[:, :, 0].numel() * on.targets.numel() < FEW
            outputs = (outputs_of if few else _outputs)(each, on.features)
            right = None if few else self._turning.right(outputs, on.targets)
            if right is None:
                right = self._right(outputs, on.targets)
            found[done : done + len(each)] = right.sum(1).cpu()
            done += len(each)
        return found

    def _right(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return what models have right, `[b, n]`."""
        said = self._turning.said(outputs)
        form = (*said.shape[:2], *targets.shape[1:])
        right: Tensor = self._task.right(said.reshape(form), targets)
        return right


def _outputs(weights: Tensor, features: Tensor) -> Tensor:
    """Return `outputs_of`, output by output in memory: quick to compare with each other."""
    count, k, width = weights.shape
    found = weights.transpose(0, 1).reshape(k * count, width) @ features.T
    return found.reshape(k, count, len(features)).permute(1, 2, 0)
