"""What is known of samples beside their inputs: a frame, of which parts take rows when asked."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_multiplicity.data.hashing import hash_rows_of_frame, hash_table
from pytest_multiplicity.errors import DataError


class Attributes:
    """A frame, or some rows of another one: nothing is copied until read, nothing hashed twice."""

    def __init__(self, frame: pd.DataFrame | None) -> None:
        self._whole = frame
        self._of: Attributes | None = None
        self._rows: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def part(self, rows: Tensor) -> Attributes:
        """Return the attributes of some samples."""
        part = Attributes(None)
        if self._of is not None or self._whole is not None:
            part._of, part._rows = self, rows.numpy()
        return part

    @cached_property
    def frame(self) -> pd.DataFrame | None:
        """The frame, with index 0 to n - 1."""
        if self._of is None or self._of.frame is None:
            return self._whole
        return self._of.frame.iloc[self._rows].reset_index(drop=True)

    @cached_property
    def _hashes(self) -> NDArray[np.uint64] | None:
        """A hash of every row."""
        if self._of is None:
            return None if self._whole is None else hash_rows_of_frame(self._whole)
        hashes = self._of._hashes
        return None if hashes is None else hashes[self._rows]

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the columns' names and values."""
        hashes = self._hashes
        if hashes is None:
            return "none"
        return hash_table(self.columns, hashes)

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """Each column as a tensor [n]: numbers as floats, anything else as codes of `categories`.

        What is missing is nan, or -1.
        """
        if self._of is not None:
            rows = torch.from_numpy(self._rows)
            return {name: column[rows] for name, column in self._of.tensors.items()}
        if self._whole is None:
            return {}
        return {str(name): _as_tensor(column) for name, column in self._whole.items()}

    @cached_property
    def categories(self) -> dict[str, tuple[Any, ...]]:
        """The values that stand behind codes, by column: sorted, or in a categorical's order.

        A part has those of the whole.
        """
        if self._of is not None:
            return self._of.categories
        if self._whole is None:
            return {}
        return {
            str(name): tuple(_coded(column).categories)
            for name, column in self._whole.items()
            if not _is_numeric(column)
        }

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        if self._of is not None:
            return self._of.columns
        return [] if self._whole is None else list(self._whole.columns)


def _is_numeric(column: pd.Series[Any]) -> bool:
    types = pd.api.types
    return types.is_numeric_dtype(column.dtype) and not types.is_complex_dtype(column.dtype)


def _coded(column: pd.Series[Any]) -> Any:
    try:
        return column.astype("category").cat
    except TypeError as error:
        raise DataError(
            f"the attribute {column.name!r} has no codes for a loss ({error}): give numbers or text"
        ) from None


def _as_tensor(column: pd.Series[Any]) -> Tensor:
    if _is_numeric(column):
        return torch.tensor(column.to_numpy(dtype=np.float32, na_value=np.nan))
    return torch.tensor(_coded(column).codes.to_numpy(dtype=np.int64))
