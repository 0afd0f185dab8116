"""Samples by the values of attributes: the groups that a gap is between."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pytest_multiplicity.errors import DataError, MeasurementError

NOBODY = -1
SHOWN = 8


def attributes_named(given: Any, argument: str) -> tuple[str, ...]:
    """Return the attributes that an argument names, one or several that differ.

    Raises MeasurementError for none, for one that stands twice, and for what is no name.
    """
    alone = isinstance(given, str) or not isinstance(given, Iterable)
    found = (given,) if alone else tuple(given)
    if (
        not found
        or not all(isinstance(each, str) for each in found)
        or len(set(found)) < len(found)
    ):
        raise MeasurementError(
            f"{argument}={reprlib.repr(given)}: name an attribute, or several different ones in a "
            "list"
        )
    return found


def check_minimum(minimum: object) -> None:
    """Raise MeasurementError for what is no least number of samples of a group."""
    if not isinstance(minimum, int | np.integer) or isinstance(minimum, bool) or minimum < 1:
        raise MeasurementError(f"minimum={minimum!r}: give a number of samples, 1 or more")


def grouped(
    attributes: pd.DataFrame | None,
    by: Sequence[str],
    name: str,
    rows: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the group of each sample `[n]`, and the groups' names; intersections of several.

    With `rows`, those of the samples there, and the groups that any of these is in. A sample with a
    missing value is in no group: -1. Raises DataError for an attribute that the
    data set `name` doesn't have.
    """
    if attributes is None:
        raise DataError(
            f"{name!r} has no attributes to be grouped by {', '.join(by)}: give it some, as in "
            "Data(inputs, targets, attributes=frame)"
        )
    for each in by:
        if each not in attributes.columns:
            close = difflib.get_close_matches(each, map(str, attributes), 1)
            guess = f" (did you mean {close[0]!r}?)" if close else ""
            there = ", ".join(map(str, attributes)) or "none"
            raise DataError(f"{name!r} has no attribute {each!r}{guess}: there are {there}")
    if rows is not None:
        attributes = attributes.iloc[rows]
    found = attributes.groupby(list(by), observed=True, sort=True, dropna=True)
    codes = found.ngroup().fillna(NOBODY).to_numpy().astype(np.int64)
    first = [int(np.argmax(codes == group)) for group in range(int(codes.max(initial=-1)) + 1)]
    told = [attributes[each].astype(str).to_numpy() for each in by]
    return codes, tuple(", ".join(str(column[row]) for column in told) for row in first)


def check_groups(
    counts: NDArray[np.int64], names: Sequence[str], minimum: int, whose: str, name: str
) -> None:
    """Raise DataError where there are fewer than two groups, or some are too small.

    `counts` `[G]` are the samples of `whose`: "samples", "positives".
    """
    check_minimum(minimum)
    small = [
        f"{group} ({count})"
        for group, count in zip(names, counts.tolist(), strict=True)
        if count < minimum
    ]
    if small:
        more = f" and {len(small) - SHOWN} more" if len(small) > SHOWN else ""
        raise DataError(
            f"{name}: fewer than {minimum} {whose} in {', '.join(small[:SHOWN])}{more}: put small "
            "groups together in an attribute of their own (pandas.cut for numbers), collect more, "
            "or say minimum="
        )
    if len(names) < 2:
        there = f"only {names[0]!r}" if names else "none"
        raise DataError(f"{name}: a gap is between two groups or more, and there is {there}")
