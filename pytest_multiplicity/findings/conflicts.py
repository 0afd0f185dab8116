"""The samples on which survivors disagree, with what shows each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.findings import drawn
from pytest_multiplicity.findings.examples import Example, examples
from pytest_multiplicity.findings.pictured import Conflict, Conflicts

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data
    from pytest_multiplicity.tasks import Task

SHOWN = 60


def divided(
    predictions: npt.NDArray[Any],
    ids: Sequence[str],
    targets: npt.NDArray[Any],
    name: str,
    data: Data | None,
    task: Task,
) -> Conflicts:
    """Return the most divided samples of a data set; `predictions` `[survivors, n, ...]`.

    `data` is the data set where this process knows it: pictures and attributes come from there.
    """
    said = task.said(predictions, targets)
    rows = np.flatnonzero(said.conflicts())
    divided = said.self_consistency()[rows]
    if predictions.ndim == 2 and np.issubdtype(predictions.dtype, np.integer):
        divided = np.array([_largest_share(predictions[:, row]) for row in rows])
    order = np.argsort(divided, kind="stable")[:SHOWN]
    known = data is not None and len(data) == len(targets)
    shown = examples(data, rows[order].tolist()) if known and data is not None else _nothing
    return Conflicts(
        data=name,
        total=len(rows),
        rows=[
            _conflict(row, predictions[:, row], targets[row], ids, task, shown(row))
            for row in rows[order].tolist()
        ],
    )


def _conflict(
    row: int,
    said: npt.NDArray[Any],
    target: npt.NDArray[Any],
    ids: Sequence[str],
    task: Task,
    example: Example,
) -> Conflict:
    return Conflict(
        row=row,
        target=task.shown(target),
        votes=_votes(said, ids, task),
        attributes=example.attributes,
        example=example.text,
        thumbnail=example.thumbnail,
        divided=drawn.where(said, target, task, example.thumbnail),
        scale=drawn.values(said, target),
    )


def _nothing(row: int) -> Example:
    """Show nothing of a sample whose data set this process doesn't know."""
    return Example()


def _largest_share(votes: npt.NDArray[Any]) -> float:
    return float(np.unique(votes, return_counts=True)[1].max() / len(votes))


def _votes(said: npt.NDArray[Any], ids: Sequence[str], task: Task) -> dict[str, list[str]]:
    """Return who said what of one sample."""
    found: dict[str, list[str]] = {}
    for candidate, vote in zip(ids, said, strict=True):
        found.setdefault(task.shown(vote), []).append(candidate)
    return found
