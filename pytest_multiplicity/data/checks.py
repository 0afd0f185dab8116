"""What a data set must satisfy: checks raise, and return values in the form `Data` keeps."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pytest_multiplicity.data.arrays import as_tensor
from pytest_multiplicity.data.kinds import FRAME, LIST, NAMES, Batch, tensors
from pytest_multiplicity.errors import DataError
from pytest_multiplicity.tasks import Task, of_targets

Bounds = tuple[float, float]
AUTO = "auto"
IMAGE_DIMS = 3


class Described(Protocol):
    """What bounds depend on."""

    kind: str
    shape: torch.Size
    floats: bool


def check_targets(
    targets: Any,
    n: int,
    name: str,
    *,
    task: str | Task | None = None,
    tolerance: float | None = None,
    ignore: int = -100,
) -> tuple[Task, Tensor]:
    """Return the task of the targets, and these as a CPU tensor [n, ...] in its form."""
    found, tensor = of_targets(targets, task, tolerance, ignore, name=name, as_tensor=as_tensor)
    if tensor is None:
        return found, torch.zeros(n, dtype=torch.int64)
    if len(tensor) != n:
        raise DataError(f"{name!r} has {n} inputs but {len(tensor)} targets: give one per input")
    return found, tensor


def check_attributes(attributes: Any, n: int, name: str) -> pd.DataFrame | None:
    """Return the attributes as a frame of their own, with index 0 to n - 1."""
    if attributes is None:
        return None
    try:
        frame = pd.DataFrame(attributes).reset_index(drop=True).copy()
    except (TypeError, ValueError) as error:
        raise DataError(
            f"attributes of {name!r} can't be made a DataFrame ({error}): give one, or a dict of "
            f"columns, with {n} rows"
        ) from None
    if len(frame) != n:
        raise DataError(f"{name!r} has {n} inputs but {len(frame)} rows of attributes")
    if not frame.columns.is_unique or not all(isinstance(c, str) for c in frame.columns):
        raise DataError(
            f"attributes of {name!r} need distinct names that are text, to be used in queries: "
            f"got {list(frame.columns)}"
        )
    return frame


def check_bounds(bounds: Any, name: str, *, of: Described) -> Bounds | None:
    """Return (low, high) as floats, or None for inputs without bounds.

    "auto" is (0, 1) for floats of three dimensions a sample, which are images, else None.
    """
    if isinstance(bounds, str) and bounds == AUTO:
        bounds = (0, 1) if of.floats and len(of.shape) == IMAGE_DIMS else None
    if bounds is None:
        return None
    if of.kind in (FRAME, LIST):
        raise DataError(
            f"bounds={bounds!r} of {name!r}: its inputs are {NAMES[of.kind]}, which has no bounds: "
            "leave them out"
        )
    try:
        low, high = (float(bound) for bound in bounds)
    except (TypeError, ValueError):
        low, high = math.nan, math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise DataError(
            f"bounds of {name!r} are {bounds!r}: give a pair of numbers (low, high), or None"
        )
    return low, high


def check_values(inputs: Batch, bounds: Bounds | None, name: str) -> None:
    """Raise where floats are not finite or leave their bounds. Allocates nothing."""
    for part, tensor in tensors(inputs).items():
        if tensor.is_floating_point() and tensor.numel():
            _check_floats(tensor, bounds, f"inputs{part} of {name!r}")


def _check_floats(inputs: Tensor, bounds: Bounds | None, what: str) -> None:
    low, high = (float(value) for value in torch.aminmax(inputs))
    if not (math.isfinite(low) and math.isfinite(high)):
        bad = ~torch.isfinite(inputs.reshape(len(inputs), -1)).all(1)
        raise DataError(
            f"{what} contain nan or infinity, in {int(bad.sum())} of {len(bad)} "
            "samples: drop or impute them first, and scale what is beyond float32"
        )
    if bounds is not None and not (bounds[0] <= low and high <= bounds[1]):
        raise DataError(
            f"{what} range from {low:.6g} to {high:.6g}, outside their bounds "
            f"({bounds[0]:g}, {bounds[1]:g}): scale images to [0, 1] and normalise inside the "
            "model, or state bounds=(low, high), or bounds=None"
        )


def check_fraction(fraction: Any, n: int, name: str) -> int:
    """Return how many of `n` samples a fraction is, where that leaves some on both sides."""
    share = fraction if isinstance(fraction, int | float | np.number) else math.nan
    first = round(float(share) * n) if math.isfinite(share) else 0
    if not 0 < first < n:
        raise DataError(
            f"a fraction of {fraction!r} of the {n} samples of {name!r} leaves one part empty: "
            "give one between 0 and 1"
        )
    return first
