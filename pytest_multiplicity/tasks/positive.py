"""Which predictions are positive: of one of the classes, or that a sample has one of the labels."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.tasks.task import Task


def positives(
    task: Task, answers: Tensor, targets: Tensor, positive: Any, name: str
) -> tuple[Tensor, Tensor | None]:
    """Return which answers say `positive`, and which targets do, each `[n]` bools.

    Of two classes the second is meant where `positive` is None. No targets: None. Raises
    MeasurementError where it isn't said which is meant, or there is no such one.
    """
    said = task.predictions(answers)
    truth = targets if task.has_targets else None
    if said.is_floating_point() or said.ndim > 2:
        raise MeasurementError(
            f"{name}: a rate of positive predictions is one of classes, and the task of this "
            f'data is {task.name}: say of="accuracy", or give a measure'
        )
    if said.ndim == 2:
        place = _place(positive, task.names, said.shape[1], "labels", name)
        return said[:, place] == 1, None if truth is None else truth[:, place] == 1
    seen = [int(each.max()) + 1 for each in (said, truth) if each is not None and len(each)]
    columns = answers.shape[1] if answers.is_floating_point() and answers.ndim == 2 else 2
    place = _place(positive, task.names, max(columns, *seen), "classes", name)
    return said == place, None if truth is None else truth == place


def _place(positive: Any, names: tuple[Any, ...] | None, count: int, kind: str, name: str) -> int:
    """Return the index of what is meant."""
    known: list[Any] = list(names) if names else list(range(count))
    if positive is None and kind == "classes" and len(known) == 2:
        return 1
    if positive in known:
        return known.index(positive)
    shown = ", ".join(map(repr, known[:12])) + (", ..." if len(known) > 12 else "")
    given = "which of them is positive isn't said" if positive is None else f"got {positive!r}"
    raise MeasurementError(f"{name}: there are the {kind} {shown}, {given}: say positive=")
