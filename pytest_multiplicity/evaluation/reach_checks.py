"""What makes a question for models that nobody trained one that can't be answered."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any

from pytest_multiplicity.data import Data
from pytest_multiplicity.errors import DataError, MeasurementError


def check_number(within: Any) -> None:
    """Raise MeasurementError for a budget that is no distance between scores."""
    number = isinstance(within, int | float) and not isinstance(within, bool)
    if not number or not 0 <= within < math.inf:
        raise MeasurementError(
            f"within={within!r}: give how far below the best survivor a model may score, 0 or more"
        )


def check_data(given: Mapping[str, Any]) -> None:
    """Raise DataError, or MeasurementError, for data that are none, of two tasks, or unfit."""
    data = given["data"]
    for name, value in given.items():
        if not isinstance(value, Data) and not (value is None and name == "train"):
            raise DataError(f"{name}={value!r} is no pm.Data")
        if value is not None and value.task.name != data.task.name:
            raise DataError(
                f"{name}={value.name!r} is for {value.task.name}, and {data.name!r} for "
                f"{data.task.name}: give data of one task"
            )
    task = data.task
    if not task.has_targets or not task.has_accuracy:
        task.right(data.targets[:0], data.targets[:0])  # says what is missing
    if task.turning is None:
        raise MeasurementError(
            f"reachable is for classes, several labels and values, and {data.name!r} is for "
            f"{task.name}"
        )


def position_of(row: Any, count: int, name: str) -> int:
    """Return a position. Raises MeasurementError for one that no sample has."""
    try:
        position = operator.index(row)
    except TypeError:
        position = -1
    if not 0 <= position < count:
        raise MeasurementError(
            f"row={row!r}: give the position of a sample in {name!r}, from 0 to {count - 1}"
        )
    return position
