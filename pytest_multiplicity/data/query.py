"""Pandas queries on the attributes of samples."""

from __future__ import annotations

import difflib
from typing import Any

import numpy as np
import pandas as pd
import torch
from pandas.errors import UndefinedVariableError
from torch import Tensor

from pytest_multiplicity.errors import DataError

SHOWN_VALUES = 5


def matching_rows(attributes: pd.DataFrame | None, query: str, name: str) -> Tensor:
    """Return the positions of the rows that a query selects, at least one of them."""
    if attributes is None:
        raise DataError(
            f"{name!r} has no attributes to query with {query!r}: give it some, "
            "as in Data(inputs, targets, attributes=frame)"
        )
    rows = torch.from_numpy(np.flatnonzero(_evaluate(attributes, query, name)))
    if len(rows) == 0:
        raise DataError(
            f"no sample of {name!r} matches {query!r}: there are {_describe(attributes)}"
        )
    return rows


def _evaluate(
    attributes: pd.DataFrame, query: str, name: str
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return the query's value for every row.

    Variables of the caller (`@name`) are hidden from it, so that a query's text says all of it.
    """
    try:
        mask = attributes.eval(query, engine="python", local_dict={}, global_dict={})
    except UndefinedVariableError as error:
        guess = _guess(str(error), attributes)
        raise DataError(
            f"{error} in the query {query!r} on {name!r}{guess}: there are "
            f"{_describe(attributes)} (put values of variables into the query's text)"
        ) from None
    except Exception as error:
        raise DataError(
            f"{query!r} is no query that pandas can evaluate on {name!r} "
            f"({type(error).__name__}: {error}): there are {_describe(attributes)}"
        ) from error
    if not (isinstance(mask, pd.Series) and pd.api.types.is_bool_dtype(mask)):
        raise DataError(
            f'{query!r} is no condition on {name!r}: compare with ==, < or in, as in "age < 30"'
        )
    return mask.fillna(False).to_numpy(dtype=np.bool_)


def _guess(message: str, attributes: pd.DataFrame) -> str:
    """Return which column was meant by the name that a message quotes, if one is like it."""
    wrong = message.split("'")[1] if "'" in message else ""
    close = difflib.get_close_matches(wrong, map(str, attributes), 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _describe(attributes: pd.DataFrame) -> str:
    """Return the columns and what is in them: "age (16 to 90), race ('Asian', 'Black', ...)"."""
    if not len(attributes.columns):
        return "no attributes"
    return ", ".join(f"{column} ({_values(attributes[column])})" for column in attributes)


def _values(column: pd.Series[Any]) -> str:
    values = column.dropna()
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return f"{values.min()} to {values.max()}" if len(values) else "all missing"
    unique = [repr(value) for value in values.unique()]
    return ", ".join(unique[:SHOWN_VALUES] + ["..."] * (len(unique) > SHOWN_VALUES))
