"""Which task a data set's targets are of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_multiplicity.errors import DataError
from pytest_multiplicity.tasks.classification import Classification
from pytest_multiplicity.tasks.dense import IGNORE, Dense
from pytest_multiplicity.tasks.labels import named
from pytest_multiplicity.tasks.multilabel import Multilabel
from pytest_multiplicity.tasks.nothing import Nothing
from pytest_multiplicity.tasks.plain import check_finite, refuse_tolerance
from pytest_multiplicity.tasks.regression import Regression
from pytest_multiplicity.tasks.task import Task

AsTensor = Callable[[Any, str], Tensor]

TASKS: tuple[type[Any], ...] = (Classification, Regression, Multilabel, Dense, Nothing)
"""All tasks, which other processes and `task=` know by name."""


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
    if not isinstance(ignore, int | np.integer) or isinstance(ignore, bool):
        raise DataError(f"ignore={ignore!r}: give the int that stands for positions to be ignored")
    if targets is None:
        _check_none(task, name)
        return Nothing(tolerance), None
    known = named(targets, name) if _may_have_names(task) else None
    tensor = known[0] if known else as_tensor(targets, f"targets of {name!r}").detach()
    if isinstance(task, str) or task is None:
        chosen = _task_of(tensor, name) if task is None else task
        task = _named_task(chosen, tolerance, ignore)
    if known and isinstance(task, Classification):
        task = replace(task, names=known[1])
    if isinstance(task, Multilabel) and hasattr(targets, "columns"):  # a frame
        task = Multilabel(tuple(targets.columns))
    if tolerance is not None and not hasattr(task, "tolerance"):
        refuse_tolerance(tolerance, task.name, name)
    return task, task.check_targets(tensor, name)


def to_record(task: Task) -> dict[str, Any]:
    """Return a task as builtins, for other processes."""
    known = vars(task).items()
    return {"name": task.name, **{name: value for name, value in known if value is not None}}


def of_record(record: Mapping[str, Any]) -> Task:
    """Return the task of which `to_record` told."""
    options = {n: tuple(v) if isinstance(v, list) else v for n, v in record.items() if n != "name"}
    known = {each.name: each for each in TASKS}
    if record["name"] not in known:
        raise DataError(f"the task {record['name']!r} is not among {', '.join(known)}")
    found: Task = known[record["name"]](**options)
    return found


def _may_have_names(task: str | Task | None) -> bool:
    """Return whether names of classes are looked for in targets."""
    if not isinstance(task, str):
        return True
    return any(each.name == task and issubclass(each, Classification) for each in TASKS)


def _named_task(task: str, tolerance: float | None, ignore: int) -> Task:
    given = {"tolerance": tolerance, "ignore": ignore}
    tasks = {each.name: each for each in TASKS if each is not Nothing}
    if task not in tasks:
        raise DataError(f"task={task!r}: give one of {', '.join(map(repr, tasks))}, or None")
    takes = {each.name for each in fields(tasks[task])}
    found: Task = tasks[task](**{name: value for name, value in given.items() if name in takes})
    return found


def _task_of(targets: Tensor, name: str) -> str:
    """Return the name of the task that targets are of."""
    check_finite(targets, name)
    if targets.is_floating_point():
        if targets.numel() and bool(((targets == 0) | (targets == 1)).all()):
            labels = "task='classification' where they are labels"
            if targets.ndim > 1:
                labels = "task='multilabel' where they are labels (.argmax(1) of one-hot rows)"
            raise DataError(
                f"targets of {name!r} are floats, and all 0 or 1: say task='regression' where they "
                f"are values, or {labels}"
            )
        return "regression"
    if targets.ndim == 2 and targets.shape[1] != 1:
        return "multilabel" if bool(((targets == 0) | (targets == 1)).all()) else "dense"
    return "dense" if targets.ndim > 2 else "classification"


def _check_none(task: str | Task | None, name: str) -> None:
    if task is not None:
        raise DataError(f"{name!r} has no targets, and task={task!r} needs some: give them")
