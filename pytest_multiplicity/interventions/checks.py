"""Checks of parameters: each returns the value as it is kept, or raises an InterventionError."""

from __future__ import annotations

import math
import operator
from typing import Any

from pytest_multiplicity.errors import InterventionError


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
