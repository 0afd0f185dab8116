"""What a data set must satisfy: checks raise, and return values in the form `Data` keeps."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pytest_multiplicity.errors import DataError
from pytest_multiplicity.tasks import Task

Bounds = tuple[float, float]


def check_inputs(inputs: Any, name: str) -> Tensor:
    """Return the inputs as a CPU float32 tensor [n, ...], of the same memory where possible."""
    tensor = as_tensor(inputs).detach()
    if not tensor.is_floating_point():
        raise DataError(
            f"inputs of {name!r} are {tensor.dtype}: give floats, images as values in [0, 1] "
            "(divide 8-bit ones by 255), anything else with .float() and its bounds"
        )
    if tensor.ndim < 2 or tensor.numel() == 0:
        raise DataError(
            f"inputs of {name!r} have shape {tuple(tensor.shape)}: give at least one sample, "
            "samples first, as in (n, channels, height, width) or (n, features)"
        )
    return tensor.to("cpu", torch.float32)


def check_targets(targets: Any, n: int, task: Task, name: str) -> Tensor:
    """Return the targets as a CPU tensor [n, ...] in the form of a task."""
    tensor = task.check_targets(as_tensor(targets).detach(), name)
    if len(tensor) != n:
        raise DataError(f"{name!r} has {n} inputs but {len(tensor)} targets: give one per input")
    return tensor


def check_attributes(attributes: Any, n: int, name: str) -> pd.DataFrame | None:
    """Return the attributes as a frame of their own, with index 0 to n - 1."""
    if attributes is None:
        return None
    frame = pd.DataFrame(attributes).reset_index(drop=True).copy()
    if len(frame) != n:
        raise DataError(f"{name!r} has {n} inputs but {len(frame)} rows of attributes")
    if not frame.columns.is_unique or not all(isinstance(c, str) for c in frame.columns):
        raise DataError(
            f"attributes of {name!r} need distinct names that are text, to be used in queries: "
            f"got {list(frame.columns)}"
        )
    return frame


def check_bounds(bounds: Any, name: str) -> Bounds | None:
    """Return (low, high) as floats, or None for inputs without bounds."""
    if bounds is None:
        return None
    try:
        low, high = (float(bound) for bound in bounds)
    except (TypeError, ValueError):
        low, high = math.nan, math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise DataError(
            f"bounds of {name!r} are {bounds!r}: give a pair of numbers (low, high), or None"
        )
    return low, high


def check_values(inputs: Tensor, bounds: Bounds | None, name: str) -> None:
    """Raise where inputs [b, ...] are not finite or leave their bounds. Allocates nothing."""
    if inputs.numel() == 0:
        return
    low, high = (float(value) for value in torch.aminmax(inputs))
    if not (math.isfinite(low) and math.isfinite(high)):
        bad = ~torch.isfinite(inputs.flatten(1)).all(1)
        raise DataError(
            f"inputs of {name!r} contain nan or infinity, in {int(bad.sum())} of {len(bad)} "
            "samples: drop or impute them first"
        )
    if bounds is not None and not (bounds[0] <= low and high <= bounds[1]):
        raise DataError(
            f"inputs of {name!r} range from {low:.6g} to {high:.6g}, outside their bounds "
            f"({bounds[0]:g}, {bounds[1]:g}): scale images to [0, 1] and normalise inside the "
            "model, or state bounds=(low, high), or bounds=None"
        )


def as_tensor(values: Any) -> Tensor:
    """Return values as a tensor that shares their memory where that is possible."""
    if isinstance(values, Tensor):
        return values
    array = np.asarray(values)
    if any(stride < 0 for stride in array.strides):
        array = np.ascontiguousarray(array)
    try:
        with warnings.catch_warnings():  # on read-only arrays: nothing here writes to its inputs
            warnings.filterwarnings("ignore", message="The given NumPy array is not writ")
            return torch.from_numpy(array)
    except TypeError:
        raise DataError(
            f"an array of {array.dtype} can't be used: give numbers (class names as indices, "
            "by pandas.factorize)"
        ) from None
