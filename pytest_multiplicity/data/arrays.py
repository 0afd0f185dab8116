"""What users have their numbers in, as tensors: arrays, frames, lists, buffers."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pytest_multiplicity.errors import DataError

_UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)  # which torch can store, and little else


def as_tensor(values: Any, what: str) -> Tensor:
    """Return values as a tensor that shares their memory where that is possible.

    Raises DataError for what isn't numbers, or not all there; `what` says whose.
    """
    tensor = values if isinstance(values, Tensor) else _of_array(_array(values, what), values, what)
    if (odd := _oddity(tensor)) is not None:
        raise DataError(
            f"{what} are {odd}: give a dense tensor with its values (.to_dense(), "
            ".to_padded_tensor(0) or .dequantize())"
        )
    if tensor.dtype is torch.uint64 and tensor.numel():
        most = int(tensor.detach().cpu().numpy().max())
        if most >= 2**63:
            raise DataError(f"{what} go up to {most}, beyond 64 bits: give smaller ones")
    return tensor.to(torch.int64) if tensor.dtype in _UNSIGNED else tensor


def _oddity(tensor: Tensor) -> str | None:
    kinds = {
        "a nested tensor": tensor.is_nested,
        "on the device meta": tensor.is_meta,
        "quantised": tensor.is_quantized,
        f"a tensor of {tensor.layout}": tensor.layout is not torch.strided,
    }
    return next((kind for kind, it_is in kinds.items() if it_is), None)


def _array(values: Any, what: str) -> np.ndarray[Any, Any]:
    """Return values as an array that torch can share: of this machine's bytes, and forwards."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        count = int(np.ma.getmaskarray(values).sum())
        raise DataError(
            f"{count} of the values are masked in {what}, which means that they are missing: fill "
            "them in with .filled(value), or drop their samples"
        )
    try:
        array = np.asarray(values)
    except (RuntimeError, TypeError, ValueError) as error:
        told = _ragged(values) or f"that can't be made an array ({error})"
        raise DataError(
            f"{what} are a {type(values).__name__} {told}: give numbers, as many for each sample"
        ) from None
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return np.ascontiguousarray(native) if any(s < 0 for s in native.strides) else native


def _of_array(array: np.ndarray[Any, Any], values: Any, what: str) -> Tensor:
    try:
        with warnings.catch_warnings():  # on read-only arrays: nothing here writes to its inputs
            warnings.filterwarnings("ignore", message="The given NumPy array is not writ")
            return torch.from_numpy(array)
    except (TypeError, ValueError):
        if array.dtype == object and array.size and all(map(_is_int, array.flat)):
            raise DataError(f"{what} have ints beyond 64 bits: give smaller ones") from None
        raise DataError(
            f"{what} are an array of {array.dtype}{_columns(values)}: give numbers, as by "
            ".astype(float), and of texts their tokens; inputs of several kinds as a DataFrame, "
            "texts as a list, a sparse matrix by .toarray()"
        ) from None


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _ragged(values: Any) -> str | None:
    """Say which rows have another length than the first; None where that isn't it."""
    lengths = [len(each) if hasattr(each, "__len__") else 0 for each in values]
    other = next((row for row, length in enumerate(lengths) if length != lengths[0]), None)
    if other is None:
        return None
    return f"of rows of several lengths (row 0 has {lengths[0]}, row {other} has {lengths[other]})"


def _columns(values: Any) -> str:
    """Say which columns of a frame hold no plain numbers."""
    if not isinstance(values, pd.DataFrame):
        return ""
    odd = [
        str(name)
        for name, dtype in values.dtypes.items()
        if not isinstance(dtype, np.dtype) or dtype.kind not in "biufc"
    ]
    return f" (columns {', '.join(odd[:5])}{', ...' if len(odd) > 5 else ''})"
