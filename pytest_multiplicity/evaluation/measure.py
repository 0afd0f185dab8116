"""Measures: how a metric's scores come from logits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from pytest_multiplicity.errors import MeasurementError

Measure = Callable[[torch.Tensor, torch.Tensor], Any]


def measure_name(fn: Measure, name: str | None) -> str:
    """The name under which a measure stands in sheets: given, or the function's own."""
    own = getattr(fn, "__name__", None) or type(fn).__name__
    if name is None and own in ("<lambda>", "partial"):
        raise MeasurementError(f"a {own} has no name for the sheets: say measure(..., name='...')")
    return name or str(own)


def apply_measure(
    fn: Measure, logits: torch.Tensor, targets: torch.Tensor, name: str, candidate: str
) -> float:
    """``fn(logits, targets)`` as a finite float. Shapes ``[n, C]`` and ``[n]``.

    Raises MeasurementError when the result has several elements, is nan, or is no number.
    """
    result = fn(logits, targets)
    if isinstance(result, torch.Tensor):
        if result.numel() != 1:
            raise MeasurementError(
                f"{name} returned a tensor of shape {tuple(result.shape)} for {candidate}: "
                "a measure returns one number"
            )
        result = result.item()
    try:
        value = float(result)
    except (TypeError, ValueError):
        raise MeasurementError(
            f"{name} returned {result!r} for {candidate}: a measure returns one number"
        ) from None
    if not math.isfinite(value):
        raise MeasurementError(f"{name} is {value} for {candidate}: a score must be finite")
    return value
