"""What a recipe minimises: of a batch, and of the batches of several recipes at once.

With `weight` it is the weighted mean, sum(w_i l_i) / sum(w_i) over the samples i of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pytest_multiplicity.design import (
    call_with_attributes,
    call_with_targets,
    takes_a_third,
    takes_targets_second,
)
from pytest_multiplicity.errors import RecipeError
from pytest_multiplicity.tasks import Loss, Task, fitted
from pytest_multiplicity.training.batches import StepBatch

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data

Own = Callable[..., Tensor]

_OF_VALUES = (
    *(nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss, nn.BCELoss, nn.BCEWithLogitsLoss),
    *(nn.KLDivLoss, nn.PoissonNLLLoss, nn.MultiLabelSoftMarginLoss),
)
_FUNCTIONS_OF_VALUES = (
    *(F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss, F.binary_cross_entropy),
    *(F.binary_cross_entropy_with_logits, F.kl_div, F.poisson_nll_loss),
)


def takes_attributes(loss: object) -> bool:
    """Return whether a recipe's loss gets the attributes of a batch."""
    return callable(loss) and takes_a_third(loss)


@dataclass(frozen=True)
class Criterion:
    """A recipe's loss, as training computes it.

    Args:
        own: as a function of answers, targets and, where it `takes_attributes`, these.
        known: the same as tasks know it, where they do.
        weight: the attribute that samples are weighed by.
    """

    own: Own
    known: Loss | None = None
    weight: str | None = None

    @classmethod
    def of(cls, loss: str | Own, task: Task, weight: str | None = None) -> Criterion:
        """Return a task's loss by its name, or a function."""
        if isinstance(loss, str):
            return cls(task.losses[loss].of_batch, task.losses[loss], weight)
        alike = (each for each in task.losses.values() if any(loss is own for own in each.alike))
        return cls(loss, next(alike, None), weight)

    def of_batch(self, answers: Tensor, batch: StepBatch) -> Tensor:
        """Return the loss of a batch, a scalar; of `own` whatever it gives."""
        if self.weight is None:
            return self._called(answers, batch.targets, batch.attributes)
        if self.known is not None:
            return _of_lanes(self.known, answers[None], batch.changed(lambda x: x[None]), self)[0]
        each = self._called(answers, batch.targets, batch.attributes)
        weights = batch.attributes[self.weight]
        if not isinstance(each, Tensor) or each.shape != weights.shape:
            shape = tuple(each.shape) if isinstance(each, Tensor) else type(each).__name__
            raise RecipeError(
                f"the loss gives {shape} for a batch of {len(weights)} samples, and weight="
                f"{self.weight!r} weighs the loss of each: return a tensor of {len(weights)}, as "
                "with reduction='none', or weigh inside the loss, whose third parameter gets the "
                "attributes"
            )
        return _mean(each[None], 1, weights[None])[0]

    @cached_property
    def _called(self) -> Own:
        """The function as one of answers, targets and attributes; how it is, is asked once."""
        own = self.own
        if takes_attributes(own):
            return partial(call_with_attributes, own)
        if is_of_values(own):
            return lambda answers, targets, _: own(*fitted(answers, targets))
        if takes_targets_second(own):
            return lambda answers, targets, _: own(answers, targets)
        return lambda answers, targets, _: call_with_targets(own, answers, targets)


def of_lanes(criteria: Sequence[Criterion], answers: Tensor, batch: StepBatch) -> Tensor | None:
    """Return the losses [K] of K recipes, where a task knows to compute them at once.

    None where it doesn't.
    """
    first = criteria[0].known
    if first is None or any(each.known is not first for each in criteria):
        return None
    if criteria[0].weight is None:
        return first.of_lanes(answers, batch.targets)
    return _of_lanes(first, answers, batch, criteria[0])


def _of_lanes(loss: Loss, answers: Tensor, batch: StepBatch, criterion: Criterion) -> Tensor:
    assert loss.of_each is not None  # which a recipe has been checked for
    assert criterion.weight is not None
    return _mean(*loss.of_each(answers, batch.targets), batch.attributes[criterion.weight])


def _mean(sums: Tensor, counts: Tensor | int, weights: Tensor) -> Tensor:
    """Return weighted means [K] of losses that are sums [K, b] over so many, [K, b] or 1 each."""
    weights = weights.to(sums.dtype).contiguous()  # so that no row is added up by its neighbours'
    total = (weights * counts).sum(1).clamp_min(torch.finfo(sums.dtype).tiny)
    return (weights * sums).sum(1) / total


def is_of_values(loss: object) -> bool:
    """Return whether it is one of torch's that compare values of one shape."""
    return type(loss) in _OF_VALUES or any(loss is each for each in _FUNCTIONS_OF_VALUES)


def check_loss_of(data: Data, loss: Any, weight: object) -> None:
    """Check that a loss, and what samples are weighed by, fit the data.

    Raises:
        RecipeError: they don't.
    """
    if is_of_values(loss) and "cross_entropy" in data.task.losses:
        name = getattr(loss, "__name__", type(loss).__name__)
        raise RecipeError(
            f"the loss {name} compares values of one shape, and targets of {data.name!r} are "
            "classes: give loss='cross_entropy', or a function that makes one-hot rows of them, "
            "as in lambda logits, targets: F.mse_loss(logits, torch.eye(C)[targets])"
        )
    if takes_attributes(loss) and not data.attribute_tensors:
        name = getattr(loss, "__name__", type(loss).__name__)
        raise RecipeError(
            f"the loss {name} takes a third parameter, which gets the attributes of the samples, "
            f"and {data.name!r} has none: pm.Data(inputs, targets, attributes=frame), or give the "
            "parameter a default"
        )
    if weight is not None:
        _check_weight(data, loss, weight)


def _check_weight(data: Data, loss: Any, weight: object) -> None:
    known = data.attribute_tensors
    if not isinstance(weight, str) or weight not in known:
        shown = repr(weight) if isinstance(weight, str) else f"<{type(weight).__name__}>"
        names = ", ".join(map(repr, known)) or "none: pm.Data(inputs, targets, attributes=frame)"
        raise RecipeError(
            f"weight={shown}: give the name of an attribute of {data.name!r}; there are {names}"
        )
    column = known[weight]
    if not column.is_floating_point():
        raise RecipeError(f"weight={weight!r} of {data.name!r} is no column of numbers")
    bad = ~(column.isfinite() & (column >= 0))
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        raise RecipeError(
            f"weight={weight!r} of {data.name!r} is {float(column[row]):g} for sample {row}: "
            "weights are finite numbers, 0 or more"
        )
    if not bool(column.any()):
        raise RecipeError(f"weight={weight!r} of {data.name!r} is 0 for all samples")
    criterion = Criterion.of(loss, data.task, weight)
    if criterion.known is not None and criterion.known.of_each is None:
        raise RecipeError(
            f"weight={weight!r}: the loss {loss!r} of {data.task.name} can't weigh samples: give "
            "a function that returns the loss of each, [batch]"
        )
