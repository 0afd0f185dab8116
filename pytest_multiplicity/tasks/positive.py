"""Which predictions are positive: of one of the classes, or that a sample has one of the labels.

And how sure a model is of that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.tasks.task import Task


def positives(
    task: Task,
    answers: Tensor,
    targets: Tensor,
    positive: Any,
    name: str,
    argument: str = "positive",
) -> tuple[Tensor, Tensor | None]:
    """Return which answers say `positive`, and which targets do, each `[n]` bools.

    Of two classes the second is meant where `positive` is None. No targets: None. Raises
    MeasurementError, which tells what `argument` can be, where it isn't said which is meant, or
    there is no such one.
    """
    said, place = _which(task, answers, targets, positive, name, argument)
    truth = targets if task.has_targets else None
    if said.ndim == 2:
        return said[:, place] == 1, None if truth is None else truth[:, place] == 1
    return said == place, None if truth is None else truth == place


def sure_of(
    task: Task,
    answers: Tensor,
    targets: Tensor,
    positive: Any,
    name: str,
    argument: str = "positive",
) -> npt.NDArray[np.float64]:
    """Return the log-odds `[n]` that answers give `positive`; see `positives`.

    Raises MeasurementError for answers that are labels, too.
    """
    said, place = _which(task, answers, targets, positive, name, argument)
    if said.ndim == 1:
        return task.sureness(answers.numpy(), np.full(len(said), place))
    task.probabilities(answers[:1])  # says what labels lack
    return np.asarray(answers[:, place].numpy(), dtype=np.float64)


def _which(
    task: Task, answers: Tensor, targets: Tensor, positive: Any, name: str, argument: str
) -> tuple[Tensor, int]:
    """Return what answers predict, and the index of what is meant."""
    said = task.predictions(answers)
    if said.is_floating_point() or said.ndim > 2:
        raise MeasurementError(
            f"{name}: a rate of positive predictions is one of classes, and the task of this "
            f"data is {task.name}" + ': say of="accuracy", or give a measure' * (argument != "by")
        )
    if said.ndim == 2:
        return said, _place(positive, task.names, said.shape[1], "labels", name, argument)
    there = [said, targets] if task.has_targets else [said]
    seen = [int(each.max()) + 1 for each in there if len(each)]
    columns = answers.shape[1] if answers.is_floating_point() and answers.ndim == 2 else 2
    return said, _place(positive, task.names, max(columns, *seen), "classes", name, argument)


def _place(
    positive: Any,
    names: tuple[Any, ...] | None,
    count: int,
    kind: str,
    name: str,
    argument: str,
) -> int:
    """Return the index of what is meant."""
    known: list[Any] = list(names) if names else list(range(count))
    if positive is None and kind == "classes" and len(known) == 2:
        return 1
    if positive in known:
        return known.index(positive)
    shown = ", ".join(map(repr, known[:12])) + (", ..." if len(known) > 12 else "")
    given = "which of them is positive isn't said" if positive is None else f"got {positive!r}"
    raise MeasurementError(f"{name}: there are the {kind} {shown}, {given}: say {argument}=")
