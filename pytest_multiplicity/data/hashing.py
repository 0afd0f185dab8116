"""Content hashes of tensors and frames."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from pytest_multiplicity.errors import DataError


def hash_rows(rows: Tensor) -> str:
    """Hash a list of positions or class indices."""
    return hashlib.sha256(raw(rows).data).hexdigest()


def hash_rows_of_frame(frame: pd.DataFrame) -> NDArray[np.uint64]:
    """Hash every row of attributes [n]."""
    try:
        hashed = pd.util.hash_pandas_object(frame, index=False)
    except TypeError as error:
        raise DataError(
            f"attributes can't be hashed ({error}): give numbers and text, not lists or dicts"
        ) from None
    return np.asarray(hashed, dtype=np.uint64)


def hash_table(columns: Sequence[str], hashes: NDArray[np.uint64]) -> str:
    """Hash the columns' names, and the values by the hashes of their rows."""
    digest = hashlib.sha256(repr(list(columns)).encode())
    digest.update(np.ascontiguousarray(hashes).data)
    return digest.hexdigest()


def combine(*parts: object) -> str:
    """Hash parts whose repr is their content."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def raw(tensor: Tensor) -> NDArray[np.generic]:
    """Return the values as an array, without copying contiguous ones."""
    array: NDArray[np.generic] = tensor.contiguous().numpy()
    return array
