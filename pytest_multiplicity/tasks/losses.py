"""The losses that recipes know by name, of a batch and of several models' batches at once.

Of one model answers are `[b, ...]` and targets `[b]`, `[b, k]` or `[b, ...]`, as the task has them;
of several, lanes, both have K first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional as F

from pytest_multiplicity.tasks.task import Loss

# Torch computes exponentials of a whole stretch of numbers at once, and of what is left at the end
# of a tensor one by one, in other last bits: so a model's numbers fill whole stretches.
WIDTH = 64


def as_logits(answers: Tensor, targets: Tensor) -> Tensor:
    """Return logits; of one `[...]` or `[..., 1]`, that of the second of two classes, [0, z]."""
    answers = answers if answers.ndim > targets.ndim else answers[..., None]
    if answers.shape[-1] != 1:
        return answers
    return torch.cat([torch.zeros_like(answers), answers], dim=-1)


def _cross_entropy(answers: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(as_logits(answers, targets), targets)


def _each_cross_entropy(answers: Tensor, targets: Tensor) -> tuple[Tensor, int]:
    # Over [K, C, b]: with few classes this is three times quicker than over rows.
    logits = as_logits(answers, targets).transpose(1, 2)
    return F.cross_entropy(logits, targets, reduction="none"), 1


def _lanes_cross_entropy(answers: Tensor, targets: Tensor) -> Tensor:
    return _each_cross_entropy(answers, targets)[0].mean(1)


def fitted(answers: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return both in the targets' shape and the answers' dtype: `[b, 1]` never broadcasts."""
    return answers.reshape(targets.shape), targets.to(answers.dtype)


def _of_batch(function: Callable[..., Tensor], answers: Tensor, targets: Tensor) -> Tensor:
    return function(*fitted(answers, targets))


def _each(function: Callable[..., Tensor], answers: Tensor, targets: Tensor) -> Tensor:
    """Return the losses of all numbers of K models, [K, n]: the same bits beside any neighbours."""
    pair = [each.flatten(1) for each in fitted(answers, targets)]
    count = pair[0].shape[1]
    whole = [F.pad(each, (0, -count % WIDTH)) for each in pair]
    return function(*whole, reduction="none")[:, :count]


def _of_lanes(function: Callable[..., Tensor], answers: Tensor, targets: Tensor) -> Tensor:
    return _each(function, answers, targets).mean(1)


def _of_each(
    function: Callable[..., Tensor], answers: Tensor, targets: Tensor
) -> tuple[Tensor, int]:
    each = _each(function, answers, targets)
    return each.reshape(*targets.shape[:2], -1).mean(2), 1


def _of_numbers(function: Callable[..., Tensor]) -> Loss:
    """Return the loss of answers of the targets' shape, from torch's function."""
    batch, lanes = partial(_of_batch, function), partial(_of_lanes, function)
    return Loss(batch, lanes, of_each=partial(_of_each, function))


CROSS_ENTROPY = Loss(_cross_entropy, _lanes_cross_entropy, (F.cross_entropy,), _each_cross_entropy)
BINARY = _of_numbers(F.binary_cross_entropy_with_logits)
OF_CLASSES: Mapping[str, Loss] = MappingProxyType(
    {"cross_entropy": CROSS_ENTROPY, "binary_cross_entropy": BINARY}
)
OF_LABELS: Mapping[str, Loss] = MappingProxyType({"binary_cross_entropy": BINARY})
OF_VALUES: Mapping[str, Loss] = MappingProxyType(
    {"mse": _of_numbers(F.mse_loss), "huber": _of_numbers(F.huber_loss)}
)


def by_position(answers: Tensor, targets: Tensor, ignore: int) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy of every position `[b, ...]`, 0 where ignored, and what counts."""
    counted = targets != ignore
    each = F.cross_entropy(answers, torch.where(counted, targets, 0), reduction="none")
    return torch.where(counted, each, torch.zeros_like(each)), counted


@dataclass(frozen=True)
class CrossEntropy:
    """The mean cross-entropy over the positions of a batch that count."""

    ignore: int

    def __call__(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Return it for answers `[b, C, ...]` and targets `[b, ...]`."""
        each, counted = by_position(answers, targets, self.ignore)
        return each.sum() / counted.sum().clamp_min(1)

    def of_each(self, answers: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sums and the counts of each sample of K models, `[K, b]`."""
        shape = targets.shape[:2]
        rows = answers.flatten(0, 1), targets.flatten(0, 1)
        each, counted = by_position(*rows, self.ignore)
        return each.flatten(1).sum(1).view(shape), counted.flatten(1).sum(1).view(shape)

    def of_lanes(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Return those of K models, for answers `[K, b, C, ...]` and targets `[K, b, ...]`."""
        each, counted = by_position(answers.flatten(0, 1), targets.flatten(0, 1), self.ignore)
        sums = each.reshape(len(targets), -1).sum(1)
        return sums / counted.reshape(len(targets), -1).sum(1).clamp_min(1)


@cache
def of_positions(ignore: int) -> Mapping[str, Loss]:
    """Return the losses of dense labels, of which some are to be ignored."""
    loss = CrossEntropy(ignore)
    return MappingProxyType({"cross_entropy": Loss(loss, loss.of_lanes, of_each=loss.of_each)})
