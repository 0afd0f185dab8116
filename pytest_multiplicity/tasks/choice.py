"""Which task a data set's targets are of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from pytest_multiplicity.errors import DataError
from pytest_multiplicity.tasks.classification import Classification
from pytest_multiplicity.tasks.dense import IGNORE, Dense
from pytest_multiplicity.tasks.labels import named
from pytest_multiplicity.tasks.multilabel import Multilabel
from pytest_multiplicity.tasks.nothing import Nothing
from pytest_multiplicity.tasks.plain import check_finite
from pytest_multiplicity.tasks.regression import Regression
from pytest_multiplicity.tasks.task import Task

AsTensor = Callable[[Any, str], Tensor]


def of_targets(
    targets: Any,
    task: str | Task | None = None,
    tolerance: float | None = None,
    ignore: int = IGNORE,
    *,
    name: str = "data",
    as_tensor: AsTensor = lambda values, what: torch.as_tensor(values),
) -> tuple[Task, Tensor | None]:
    """Return the task of these targets and the targets in its form; None: there are none.

    Args:
        targets: ints, bools, text or categories `[n]`, floats `[n]` or `[n, k]`, ints `[n, ...]`,
            or None.
        task: its name, where the targets alone would say another, or a task of one's own.
        tolerance: of a regression.
        ignore: the target of positions that don't count, of dense labels.
        name: of the data set, for messages.
        as_tensor: makes numbers a tensor; the second argument says whose.

    Raises:
        DataError: they are none of the task's, or could be of two.
    """
    if not isinstance(ignore, int) or isinstance(ignore, bool):
        raise DataError(f"ignore={ignore!r}: give the int that stands for positions to be ignored")
    if targets is None:
        _check_none(task, name)
        return Nothing(tolerance), None
    known = None if isinstance(task, str) and task != "classification" else named(targets, name)
    tensor = known[0] if known else as_tensor(targets, f"targets of {name!r}").detach()
    if isinstance(task, str) or task is None:
        chosen = _task_of(tensor, name) if task is None else task
        task = _named_task(chosen, tolerance, ignore)
    if known and isinstance(task, Classification):
        task = Classification(known[1])
    if isinstance(task, Multilabel) and isinstance(targets, pd.DataFrame):
        task = Multilabel(tuple(targets.columns))
    if tolerance is not None and not hasattr(task, "tolerance"):
        raise DataError(
            f"tolerance={tolerance!r} is for values, and {name!r} is a {task.name}: leave it out, "
            "or say task='regression'"
        )
    return task, task.check_targets(tensor, name)


def _named_task(task: str, tolerance: float | None, ignore: int) -> Task:
    tasks: dict[str, Callable[[], Task]] = {
        "classification": Classification,
        "regression": lambda: Regression(tolerance),
        "multilabel": Multilabel,
        "dense": lambda: Dense(ignore),
    }
    if task not in tasks:
        raise DataError(f"task={task!r}: give one of {', '.join(map(repr, tasks))}, or None")
    return tasks[task]()


def _task_of(targets: Tensor, name: str) -> str:
    """Return the name of the task that targets are of."""
    check_finite(targets, name)
    if targets.is_floating_point():
        if targets.numel() and bool(((targets == 0) | (targets == 1)).all()):
            raise DataError(
                f"targets of {name!r} are floats, and all 0 or 1: say task='regression' where they "
                "are values, or task='classification' (task='multilabel' for several) where they "
                "are labels"
            )
        return "regression"
    if targets.ndim == 2 and targets.shape[1] != 1:
        return "multilabel" if bool(((targets == 0) | (targets == 1)).all()) else "dense"
    return "dense" if targets.ndim > 2 else "classification"


def _check_none(task: str | Task | None, name: str) -> None:
    if task is not None:
        raise DataError(f"{name!r} has no targets, and task={task!r} needs some: give them")
