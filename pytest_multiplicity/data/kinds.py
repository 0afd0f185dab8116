"""The kinds that inputs come in, and what is done with each: whoever minds the kind asks here.

A batch is a tensor, a dict or a tuple of tensors, a pandas DataFrame, or a list of objects. A
sample is a row of each of its tensors, a row of the frame, an object of the list. pandas is
imported by those who have a frame, and by nobody for this.
"""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pytest_multiplicity.errors import MeasurementError

Batch = Any  # Tensor | dict[str, Tensor] | tuple[Tensor, ...] | pandas.DataFrame | list[Any]

PINNED_BYTES = 64 << 20  # of memory that a device may read by itself: more is sent piece by piece
TENSOR, DICT, TUPLE, FRAME, LIST = "tensor", "dict", "tuple", "frame", "list"
NAMES = {
    TENSOR: "a tensor",
    DICT: "a dict of tensors",
    TUPLE: "a tuple of tensors",
    FRAME: "a DataFrame",
    LIST: "a list of objects",
}


def kind(batch: Batch) -> str:
    """Return which of the kinds a batch is."""
    if isinstance(batch, Tensor):
        return TENSOR
    if isinstance(batch, dict):
        return DICT
    if isinstance(batch, tuple):
        return TUPLE
    return FRAME if is_frame(batch) else LIST


def is_frame(value: object) -> bool:
    """Say whether it is a DataFrame, which nothing is before pandas was imported."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def tensors(batch: Batch) -> dict[str, Tensor]:
    """Return the tensors of a batch by what they are called; of frames and lists there are none."""
    match kind(batch):
        case "tensor":
            return {"": batch}
        case "dict":
            return {f"[{name!r}]": tensor for name, tensor in batch.items()}
        case "tuple":
            return {f"[{place}]": tensor for place, tensor in enumerate(batch)}
    return {}


def mapped(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """Return the batch with each of its tensors changed; frames and lists as they are."""
    match kind(batch):
        case "tensor":
            return change(batch)
        case "dict":
            return {name: change(tensor) for name, tensor in batch.items()}
        case "tuple":
            return tuple(change(tensor) for tensor in batch)
    return batch


def length(batch: Batch) -> int:
    """Return the number of samples."""
    return len(next(iter(tensors(batch).values()), batch))


def take(batch: Batch, rows: Tensor) -> Batch:
    """Return a copy of the samples at these positions; of a list, the same objects."""
    match kind(batch):
        case "frame":
            return batch.iloc[rows.numpy()]
        case "list":
            return [batch[row] for row in rows.tolist()]
    return mapped(batch, lambda tensor: tensor.index_select(0, rows))  # quicker than indexing


def floats_as(batch: Batch, dtype: torch.dtype) -> Batch:
    """Return the batch with its floats in another dtype."""
    return mapped(batch, lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor)


def split(batch: Batch, size: int, dim: int = 0) -> Iterator[Batch]:
    """Yield consecutive samples of tensors, so many at a time, which lie along `dim`: views."""
    match kind(batch):
        case "dict":
            several = zip(*(torch.split(each, size, dim) for each in batch.values()), strict=True)
            yield from (dict(zip(batch, each, strict=True)) for each in several)
        case "tuple":
            yield from zip(*(torch.split(each, size, dim) for each in batch), strict=True)
        case _:
            yield from torch.split(batch, size, dim)


def slices(batch: Batch, *bounds: int | None) -> Batch:
    """Return the samples from one position to another, of tensors; see `slice`."""
    return mapped(batch, lambda tensor: tensor[slice(*bounds)])


def join(batches: Sequence[Batch]) -> Batch:
    """Return the samples of several batches of a kind as one."""
    first = batches[0]
    match kind(first):
        case "tensor":
            return torch.cat(list(batches))
        case "dict":
            return {name: torch.cat([batch[name] for batch in batches]) for name in first}
        case "tuple":
            return tuple(torch.cat(parts) for parts in zip(*batches, strict=True))
        case "frame":
            return sys.modules["pandas"].concat(batches)
    return [sample for batch in batches for sample in batch]


def to(batch: Batch, device: torch.device | str) -> Batch:
    """Return the batch with its tensors on a device; none waits there until it has come."""
    return mapped(batch, lambda tensor: _sent(tensor, torch.device(device)))


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device, on its way from memory of the host that stays in its place."""
    if device.type == "cpu" or tensor.device.type != "cpu" or tensor.nbytes > PINNED_BYTES:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def copied(batch: Batch) -> Batch:
    """Return a batch that may be written to."""
    if kind(batch) == FRAME:
        return batch.copy()
    return copy.deepcopy(batch) if kind(batch) == LIST else mapped(batch, Tensor.clone)


def shape(batch: Batch) -> torch.Size:
    """Return the shape of one sample; of what is no tensor it is ()."""
    return batch.shape[1:] if isinstance(batch, Tensor) else torch.Size(())


def sample_bytes(batch: Batch) -> int:
    """Return about how many bytes a sample has: 1 or more."""
    count = max(1, length(batch))
    if kind(batch) == FRAME:
        return max(1, int(batch.memory_usage(index=False).sum()) // count)
    if kind(batch) == LIST:
        return max(map(sys.getsizeof, batch[:100]), default=1)
    return max(1, sum(tensor.nbytes for tensor in tensors(batch).values()) // count)


def described(batch: Batch) -> str:
    """Return what a sample is, as reports and errors say it: "(3, 32, 32)"."""
    match kind(batch):
        case "frame":
            return f"{batch.shape[1]} columns"
        case "list":
            return type(batch[0]).__name__ if batch else "objects"
        case "tensor":
            return _described(batch)
    if kind(batch) == DICT:
        return f"{{{', '.join(f'{name}: {_described(part)}' for name, part in batch.items())}}}"
    return f"({', '.join(map(_described, batch))})"


def _described(tensor: Tensor) -> str:
    dtype = "" if tensor.dtype is torch.float32 else f" {str(tensor.dtype).removeprefix('torch.')}"
    return f"{tuple(tensor.shape[1:])}{dtype}"


def signature(batch: Batch) -> tuple[Any, ...]:
    """Return what all batches of a data set have in common, hashable."""
    parts = ((n, tuple(t.shape[1:]), str(t.dtype)) for n, t in tensors(batch).items())
    return (kind(batch), *parts)


def has_floats(batch: Batch) -> bool:
    """Say whether there are floats in tensors, or numbers in columns, that noise may change."""
    if kind(batch) == FRAME:
        return bool(numeric(batch))
    return any(tensor.is_floating_point() for tensor in tensors(batch).values())


def numeric(frame: Any) -> list[Any]:
    """Return the names of a frame's columns of numbers."""
    types = sys.modules["pandas"].api.types
    return [
        name
        for name, dtype in frame.dtypes.items()
        if types.is_numeric_dtype(dtype) and not types.is_bool_dtype(dtype)
    ]


def spreads(frame: Any) -> dict[Any, float]:
    """Return the standard deviation of each column of numbers; 0 where it can't be told."""
    found = ((name, float(frame[name].std())) for name in numeric(frame))
    return {name: spread if math.isfinite(spread) else 0.0 for name, spread in found}


def call(model: Callable[..., Any], batch: Batch) -> Any:
    """Return what a model says of a batch: a module gets a dict as keywords, a tuple by position.

    Everybody else gets the batch as it is.
    """
    if isinstance(model, nn.Module):
        match kind(batch):
            case "dict":
                return model(**batch)
            case "tuple":
                return model(*batch)
            case "frame" | "list":
                raise MeasurementError(
                    f"a module can't compute on {NAMES[kind(batch)]}: return a callable that makes "
                    "tensors of it, or give the data tensors, a dict or a tuple of them (columns "
                    "by frame.to_numpy(dtype='float32'), texts by their tokenizer)"
                )
    return model(batch)


FIELDS = ("logits", "out")  # of transformers' classifiers, of torchvision's segmentation


def answers(given: Any) -> Any:
    """Return what holds a model's answers: what it gave, or its first or best known part."""
    if isinstance(given, Tensor):
        return given
    for name in FIELDS:
        if isinstance(given, Mapping) and name in given:
            return given[name]
        if isinstance(getattr(given, name, None), Tensor):
            return getattr(given, name)
    if isinstance(given, tuple) and given and isinstance(given[0], Tensor | np.ndarray):
        return given[0]
    return given


def versions(batch: Batch) -> tuple[int, ...]:
    """Return what changes when a tensor is written to; of one from inference mode nothing tells."""
    return tuple(0 if t.is_inference() else t._version for t in tensors(batch).values())
