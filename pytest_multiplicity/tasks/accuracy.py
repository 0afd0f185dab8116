"""The share of what is right, for every task that knows of right and wrong."""

from __future__ import annotations

from torch import Tensor

from pytest_multiplicity.tasks.task import Task


def share_right(task: Task, predictions: Tensor, targets: Tensor) -> float:
    """Return the accuracy of one model's predictions `[n, ...]`: of samples, or of positions."""
    shares, weights = task.by_sample(task.right(predictions[None], targets), targets)
    if weights is None:
        return float(shares[0].double().mean())
    return float((shares[0].double() * weights).sum() / weights.sum())
