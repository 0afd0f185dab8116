"""Inputs as users have them become a batch of one of the kinds (`data/kinds.py`), checked."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pytest_multiplicity.data import kinds
from pytest_multiplicity.data.arrays import as_tensor
from pytest_multiplicity.data.kinds import Batch
from pytest_multiplicity.errors import DataError

_NUMBERS = (numbers.Number, np.generic, np.ndarray, Tensor, list, tuple, bytearray, memoryview)


def as_inputs(values: Any, name: str) -> Batch:
    """Return inputs as a batch on the CPU, of the same memory where possible.

    Raises:
        DataError: they are of no kind, ragged, or none.
    """
    what = f"inputs of {name!r}"
    batch = _of_kind(values, what)
    if kinds.length(batch) == 0 or not all(t.numel() for t in kinds.tensors(batch).values()):
        raise DataError(f"{what} have {_shape(batch)}: give at least one sample, samples first")
    return batch


def _shape(batch: Batch) -> str:
    if isinstance(batch, Tensor):
        return f"shape {tuple(batch.shape)}"
    return "no samples, or samples without values"


def _of_kind(values: Any, what: str) -> Batch:
    if isinstance(values, pd.DataFrame):
        return _frame(values, what)
    if isinstance(values, Mapping):
        return _dict(values, what)
    if isinstance(values, tuple) and values and all(_is_array(each) for each in values):
        parts = tuple(_tensor(each, f"{what}[{i}]") for i, each in enumerate(values))
        return _of_one_length(parts, what)
    if isinstance(values, str | bytes):
        raise DataError(f"{what} are one text, {values[:20]!r}: give a list of them")
    if hasattr(values, "toarray") or hasattr(values, "to_pandas"):
        raise DataError(
            f"{what} are a {type(values).__module__.split('.')[0]} {type(values).__name__}: give "
            "an array or a DataFrame, a sparse matrix by .toarray(), other tables by .to_pandas()"
        )
    objects = _objects(values)
    return _tensor(values, what) if objects is None else _list(objects, what)


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray) and value.ndim > 0


def _tensor(values: Any, what: str) -> Tensor:
    """Return a tensor [n, ...]: floats as float32, others in their dtype."""
    tensor = as_tensor(values, what).detach().cpu()
    if tensor.is_complex():
        raise DataError(
            f"{what} are {tensor.dtype}: give real numbers, as by torch.view_as_real(inputs)"
        )
    if tensor.ndim == 0:
        raise DataError(f"{what} have shape (): give at least one sample, samples first")
    return tensor.to(torch.float32) if tensor.is_floating_point() else tensor


def _dict(values: Mapping[Any, Any], what: str) -> dict[str, Tensor]:
    if not values or not all(isinstance(name, str) for name in values):
        raise DataError(
            f"{what} are a dict with the keys {list(values)}: give a tensor or an array under each "
            "name of a parameter of the model"
        )
    parts = {name: _tensor(each, f"{what}[{name!r}]") for name, each in values.items()}
    checked: dict[str, Tensor] = _of_one_length(parts, what)
    return checked


def _of_one_length(parts: Batch, what: str) -> Batch:
    lengths = {f"inputs{name}": len(each) for name, each in kinds.tensors(parts).items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {count}" for name, count in lengths.items())
        raise DataError(f"{what} differ in their number of samples: {told}; give as many of each")
    return parts


def _frame(frame: pd.DataFrame, what: str) -> pd.DataFrame:
    """Return the frame with index 0 to n - 1; its columns are shared where pandas shares them."""
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise DataError(
            f"{what} have the column {twice[0]!r} more than once: rename it, or drop one, as by "
            "frame.loc[:, ~frame.columns.duplicated()]"
        )
    if not len(frame.columns):
        raise DataError(f"{what} are a DataFrame without columns: give at least one")
    odd = [name for name in frame if getattr(frame[name].dtype, "kind", "") == "c"]
    if odd:
        raise DataError(
            f"{what} have complex numbers in column {odd[0]!r}: give the real and the imaginary "
            "part as two columns"
        )
    return frame.reset_index(drop=True)


def _objects(values: Any) -> list[Any] | None:
    """Return a sequence of objects as a list; None for numbers."""
    if isinstance(values, pd.Series | pd.Index | np.ndarray):
        kind = getattr(values.dtype, "kind", "O")
        return list(values) if kind in "OUST" and values.ndim == 1 else None
    if not (hasattr(values, "__len__") and hasattr(values, "__getitem__")):
        return None
    if isinstance(values, _NUMBERS) and not isinstance(values, list | tuple):
        return None
    items = [values[i] for i in range(len(values))]
    return None if not items or all(map(_is_number, items)) else items


def _is_number(item: Any) -> bool:
    return isinstance(item, _NUMBERS) and not isinstance(item, str | bytes)  # numpy's text is both


def _list(objects: list[Any], what: str) -> list[Any]:
    """Return objects of one type, each of which says something."""
    types = {_type(each): row for row, each in reversed(list(enumerate(objects)))}
    if len(types) > 1:
        (first, _), (other, row) = sorted(types.items(), key=lambda pair: pair[1])[:2]
        raise DataError(
            f"{what} are objects of several types: sample 0 is {first}, sample {row} is {other}; "
            "give one type, and columns of several as a DataFrame"
        )
    if isinstance(objects[0], numbers.Number):
        raise DataError(f"{what} are numbers kept as objects: give them by .astype(float)")
    for row, each in enumerate(objects):
        if isinstance(each, str | bytes) and not each.strip():
            raise DataError(f"sample {row} of {what} is an empty text: drop it, or fill it in")
    return objects


def _type(value: Any) -> str:
    return "Path" if isinstance(value, PurePath) else type(value).__name__
