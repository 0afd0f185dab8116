"""Checks of parameters: each returns the value as it is kept, or raises an InterventionError."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

from pytest_multiplicity.data import kinds
from pytest_multiplicity.errors import InterventionError

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data

_ANY = ("Group", "OutputNoise", "Corrupt(function)", "@pm.intervention")


def number(owner: str, name: str, value: Any, *, positive: bool = False) -> float:
    """Return a finite number that is not negative, or positive, as a float."""
    wanted = "a positive number" if positive else "a number, 0 or more"
    try:
        result = float(value)
    except (TypeError, ValueError):
        result = math.nan
    if not math.isfinite(result) or result < 0 or (positive and result == 0):
        raise InterventionError(f"{owner}: {name}={value!r} makes no sense: give {wanted}")
    return result


def count(owner: str, name: str, value: Any, *, least: int) -> int:
    """Return a whole number that is not below `least`."""
    try:
        result = operator.index(value)
    except TypeError:
        result = least - 1
    if result < least:
        raise InterventionError(
            f"{owner}: {name}={value!r} makes no sense: give a whole number, {least} or more"
        )
    return result


def acts_on_numbers(step: object, data: Data) -> None:
    """Raise where inputs have no floats in tensors, and no numeric columns, to add something to."""
    if not data.source.floats:
        wanted = "floats and the numeric columns of a DataFrame"
        raise InterventionError(_unfit(step, data, wanted))


def acts_on_gradients(step: object, data: Data) -> None:
    """Raise where inputs are no tensor of floats, by which a model can be derived."""
    if data.kind != kinds.TENSOR or not data.source.floats:
        raise InterventionError(_unfit(step, data, "one tensor of floats"))


def _unfit(step: object, data: Data, wanted: str) -> str:
    noise = ["InputNoise"] if data.source.floats else []
    return (
        f"{step!r} acts on {wanted}, and inputs of {data.name!r} are {kinds.NAMES[data.kind]} "
        f"({data.source.described}): what fits them is {', '.join([*_ANY, *noise])}"
    )
