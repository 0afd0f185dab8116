"""Content hashes of tensors and frames."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from pytest_multiplicity.errors import DataError


def hash_rows(rows: Tensor) -> str:
    """Hash a list of positions or class indices."""
    return hashlib.sha256(raw(rows).data).hexdigest()


def hash_frame(frame: pd.DataFrame | None) -> str:
    """Hash the columns' names and values."""
    if frame is None:
        return "none"
    digest = hashlib.sha256(repr(list(frame.columns)).encode())
    try:
        digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().data)
    except TypeError as error:
        raise DataError(
            f"attributes can't be hashed ({error}): give numbers and text, not lists or dicts"
        ) from None
    return digest.hexdigest()


def combine(*parts: object) -> str:
    """Hash parts whose repr is their content."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def raw(tensor: Tensor) -> NDArray[np.generic]:
    """Return the values as an array, without copying contiguous ones."""
    array: NDArray[np.generic] = tensor.contiguous().numpy()
    return array
