"""Which samples are in the first of two parts: drawn, the first in an order, or whole groups."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pytest_multiplicity.data.checks import check_fraction
from pytest_multiplicity.errors import DataError


def first_part(
    attributes: pd.DataFrame | None,
    n: int,
    fraction: Any,
    *,
    seed: Any,
    by: str | None,
    groups: str | None,
    name: str,
) -> tuple[Tensor, Tensor]:
    """Return the rows of the first part and of the second, each in order.

    Raises:
        DataError: one is empty, or an attribute can't be used.
    """
    first = check_fraction(fraction, n, name)
    if by is not None and groups is not None:
        raise DataError(
            f"split(by={by!r}, groups={groups!r}) of {name!r}: give one of them; what is known of "
            "whole groups, such as their first day, can be an attribute to go by"
        )
    if groups is not None:
        inside = _whole_groups(_column(attributes, groups, "groups", name), fraction, seed, name)
        return torch.from_numpy(np.flatnonzero(inside)), torch.from_numpy(np.flatnonzero(~inside))
    if by is None:
        order = torch.randperm(n, generator=_seeded(seed))
    else:
        order = _ordered(_column(attributes, by, "by", name), name)
    return order[:first].sort().values, order[first:].sort().values


def _seeded(seed: Any) -> torch.Generator:
    try:
        return torch.Generator().manual_seed(operator.index(seed))
    except (RuntimeError, TypeError, ValueError):
        raise DataError(f"seed={seed!r}: give a whole number of up to 64 bits") from None


def _column(
    attributes: pd.DataFrame | None, column: str, argument: str, name: str
) -> pd.Series[Any]:
    known: Sequence[str] = [] if attributes is None else list(attributes.columns)
    if attributes is None or column not in known:
        there = ", ".join(map(repr, known)) or "none: give some, as in Data(..., attributes=frame)"
        raise DataError(
            f"split({argument}={column!r}): {name!r} has no such attribute; there are {there}"
        )
    values: pd.Series[Any] = attributes[column]
    if missing := int(values.isna().sum()):
        raise DataError(
            f"split({argument}={column!r}): {missing} of the {len(values):,} samples of {name!r} "
            "have no value there: fill them in, or drop these samples"
        )
    return values


def _ordered(values: pd.Series[Any], name: str) -> Tensor:
    """Return the rows from the least value to the largest, equal ones as they stand."""
    try:
        return torch.from_numpy(np.array(values.argsort(kind="stable"), dtype=np.int64))
    except TypeError as error:
        raise DataError(
            f"split(by={values.name!r}): its values in {name!r} have no order ({error}): give "
            "numbers, dates or text"
        ) from None


def _whole_groups(values: pd.Series[Any], fraction: float, seed: Any, name: str) -> Any:
    """Return which rows are in the first part: groups as drawn, until it is nearest its size."""
    codes, _ = pd.factorize(values, sort=False)
    sizes = np.bincount(codes)
    if len(sizes) < 2:
        raise DataError(
            f"split(groups={values.name!r}): all samples of {name!r} are in one group: there is "
            "nothing to split"
        )
    drawn = torch.randperm(len(sizes), generator=_seeded(seed)).numpy()
    filled = sizes[drawn].cumsum()[:-1]  # a group is left for the second part
    count = 1 + int(np.abs(filled - float(fraction) * len(values)).argmin())
    return np.isin(codes, drawn[:count])
