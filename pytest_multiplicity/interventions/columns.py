"""Changes to a column of a DataFrame, for `Corrupt`: `Corrupt(shifted, column="age", by=5)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_multiplicity.data import kinds
from pytest_multiplicity.errors import InterventionError

if TYPE_CHECKING:
    import pandas as pd

    from pytest_multiplicity.data import Data


def shifted(frame: pd.DataFrame, column: Any, by: float) -> pd.DataFrame:
    """Return the frame with a column of numbers shifted, in its unit; missing values stay."""
    return _with(frame, column, frame[column] + by)


def swapped(frame: pd.DataFrame, column: Any, one: Any, other: Any) -> pd.DataFrame:
    """Return the frame with one value in place of another in a column, and the other way round."""
    values = frame[column]
    changed = values.mask(values == one, other).mask(values == other, one)
    return _with(frame, column, changed.astype(values.dtype))


def missing(frame: pd.DataFrame, column: Any) -> pd.DataFrame:
    """Return the frame with no value in a column, as where a field is left empty."""
    import pandas as pd

    values = frame[column]
    keeps = pd.api.types.is_extension_array_dtype(values.dtype) or values.dtype.kind in "fcOmM"
    empty = pd.Series(pd.NA if keeps and values.dtype.kind not in "fcO" else None, values.index)
    return _with(frame, column, empty.astype(values.dtype if keeps else float))


def _with(frame: pd.DataFrame, column: Any, values: Any) -> pd.DataFrame:
    changed = frame.copy()
    changed[column] = values
    return changed


def columns_of(data: Data, names: tuple[Any, ...], *, numeric: bool = False) -> pd.DataFrame:
    """Return some columns of the inputs; all, or all of numbers, where none is named.

    Raises:
        InterventionError: the inputs are no frame, or have no such columns.
    """
    if data.kind != kinds.FRAME:
        raise InterventionError(
            f"inputs of {data.name!r} are {kinds.NAMES[data.kind]}, which has no columns: give "
            "data whose inputs are a DataFrame"
        )
    frame: pd.DataFrame = data.inputs
    fitting = kinds.numeric(frame) if numeric else list(frame.columns)
    if odd := [name for name in names if name not in fitting]:
        what = "column of numbers" if numeric else "column"
        raise InterventionError(
            f"inputs of {data.name!r} have no {what} {odd[0]!r}: there are "
            f"{', '.join(map(repr, fitting)) or 'none'}"
        )
    chosen = list(names) or fitting
    if not chosen:
        raise InterventionError(f"inputs of {data.name!r} have no columns of numbers to shift")
    return frame[chosen]
