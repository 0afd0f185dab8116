"""Applies other people's functions to samples of any kind, and checks what they return."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_multiplicity.data import kinds
from pytest_multiplicity.errors import InterventionError
from pytest_multiplicity.interventions.randomness import Stream, lent

Transform = Callable[[Any], Any]


def transformed(
    transform: Transform, samples: kinds.Batch, rows: Tensor, *, name: str, stream: Stream
) -> kinds.Batch:
    """Return the transformed samples, computed on the CPU whatever their device.

    A transform that draws nothing from the global generators sees the batch as it is. One that
    does sees the samples one by one, with numbers of their own: then a sample's result depends on
    the sample alone, and on no other of its batch.
    """
    batch = kinds.mapped(samples, lambda tensor: tensor.detach().cpu())
    with lent(torch.device("cpu")) as numbers, torch.no_grad():
        numbers.seed(stream.seed(int(rows[0])))
        before = numbers.state
        result = fitting(transform(kinds.copied(batch)), batch, name)
        if numbers.state != before:
            alone = []
            for position, row in enumerate(rows.tolist()):
                numbers.seed(stream.seed(row))
                sample = kinds.take(batch, torch.tensor([position]))
                alone.append(fitting(transform(kinds.copied(sample)), sample, name))
            result = kinds.join(alone)
    devices = {tensor.device for tensor in kinds.tensors(samples).values()}
    return kinds.to(result, devices.pop()) if len(devices) == 1 else result


def fitting(result: Any, samples: kinds.Batch, name: str) -> kinds.Batch:
    """Return the result as a batch of the samples' kind; raise where it isn't what they became."""
    match kinds.kind(samples):
        case "tensor":
            return _tensor(result, samples, name, "")
        case "frame":
            return _frame(result, samples, name)
        case "list":
            return _list(result, samples, name)
    wanted = kinds.tensors(samples)
    same_kind = isinstance(result, dict | tuple) and kinds.kind(result) == kinds.kind(samples)
    given = kinds.tensors(result) if same_kind else {}
    if given.keys() != wanted.keys():
        raise InterventionError(
            f"{name} returned {_what(result)} for {kinds.described(samples)}: return all of it, "
            "changed or not, under the same names"
        )
    checked = iter(_tensor(given[part], wanted[part], name, part) for part in wanted)
    return kinds.mapped(samples, lambda _: next(checked))


def _tensor(result: Any, samples: Tensor, name: str, part: str) -> Tensor:
    """Return a tensor with the dtype of the samples."""
    if not isinstance(result, Tensor):
        raise InterventionError(
            f"{name} returned {type(result).__name__}{part}: return the changed batch as a tensor"
        )
    if result.shape != samples.shape:
        raise InterventionError(
            f"{name} turned a batch{part} of shape {tuple(samples.shape)} into "
            f"{tuple(result.shape)}: "
            "it must keep the number of samples and their shape (resize back, or pad)"
        )
    if result.is_floating_point() != samples.is_floating_point() or result.is_complex():
        wanted = "floats, in the range that they came in"
        if not samples.is_floating_point():
            wanted = f"{samples.dtype}, as they came in"
        raise InterventionError(f"{name} returned {result.dtype}{part}: return {wanted}")
    if result.is_floating_point() and not torch.isfinite(result).all():
        raise InterventionError(f"{name} returned nan or infinity{part}: check its parameters")
    return result.detach().as_subclass(Tensor).to(samples)


def _frame(result: Any, samples: Any, name: str) -> Any:
    """Return a frame with the samples' columns and index; values may be missing, types others."""
    if not kinds.is_frame(result):
        raise InterventionError(
            f"{name} returned {_what(result)}: return the changed frame, a row for each of the "
            f"{len(samples)} samples"
        )
    if list(result.columns) != list(samples.columns):
        odd = sorted(map(repr, set(result.columns) ^ set(samples.columns)))
        told = f"other columns ({', '.join(odd[:5])})" if odd else "columns in another order"
        raise InterventionError(
            f"{name} returned {told}: keep the columns as they are, which models know them by"
        )
    if len(result) != len(samples):
        raise InterventionError(
            f"{name} turned {len(samples)} rows into {len(result)}: keep each sample's row, with "
            "missing values where something is dropped"
        )
    return result.set_axis(samples.index)


def _list(result: Any, samples: list[Any], name: str) -> list[Any]:
    if isinstance(result, str | bytes) or not hasattr(result, "__len__"):
        raise InterventionError(
            f"{name} returned {_what(result)} for a list of {len(samples)} samples: a function "
            "sees the whole list, as in lambda texts: [text.lower() for text in texts]"
        )
    if len(result) != len(samples):
        raise InterventionError(
            f"{name} turned {len(samples)} samples into {len(result)}: return one for each"
        )
    return result.tolist() if isinstance(result, np.ndarray) else list(result)


def _what(result: Any) -> str:
    """Return what was returned, in a few words."""
    if isinstance(result, dict):
        return f"a dict with the keys {list(result)}"
    return f"{len(result)} parts" if isinstance(result, tuple) else type(result).__name__
