"""Map-style datasets become sources: read into memory, or streamed where they don't fit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pytest_multiplicity.data.checks import Bounds
from pytest_multiplicity.data.inputs import Dataset, InMemory, Source, Streamed, row_blocks
from pytest_multiplicity.errors import DataError

IN_MEMORY_BYTES = 2**30
PROBED = 4  # samples that are read twice: enough to notice nearly every random transform


def read_dataset(
    dataset: Dataset, *, name: str, bounds: Bounds | None, targets: Any, stream: bool | None
) -> tuple[Source, Any]:
    """Return the inputs as a source, and the targets, unchecked: given, declared or read."""
    streamed = _open(dataset, name, bounds)
    _check_stable(streamed)
    if stream is None:
        stream = 4 * len(streamed) * streamed.shape.numel() > IN_MEMORY_BYTES
    if not stream:
        inputs, read = streamed.read(torch.arange(len(streamed)))
        return InMemory(inputs), _numbers(read, name) if targets is None else targets
    if targets is None:
        targets = _declared_targets(dataset)
    if targets is None:
        read = [target for rows in row_blocks(streamed) for target in streamed.read(rows)[1]]
        targets = _numbers(read, name)
    return streamed, targets


def _open(dataset: Dataset, name: str, bounds: Bounds | None) -> Streamed:
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise DataError(
            f"{type(dataset).__name__} can't be read by position: give a map-style dataset, "
            "with len(dataset) and dataset[i]"
        )
    if len(dataset) == 0:
        raise DataError(f"the dataset of {name!r} has no samples")
    return Streamed(dataset, bounds, name)


def _check_stable(streamed: Streamed) -> None:
    """Raise where the dataset's transform is random: candidates must see the same samples."""
    rows = torch.arange(min(PROBED, len(streamed)))
    if not torch.equal(streamed.take(rows), streamed.take(rows)):
        raise DataError(
            f"the dataset of {streamed.name!r} gives other inputs when it is read again: take the "
            "random transform out of it (augmentation is Recipe(augment=...), a shift is Corrupt)"
        )


def _declared_targets(dataset: Any) -> Any:
    """Return torchvision's `.targets`, which spare reading every image; None where they may lie.

    They are the targets before any transform of them: `target_transform`, or a joint `transforms`.
    """
    joint = getattr(dataset, "transforms", None) and not getattr(dataset, "transform", None)
    if joint or getattr(dataset, "target_transform", None):
        return None
    return getattr(dataset, "targets", None)


def _numbers(targets: list[Any], name: str) -> list[Any]:
    if not targets:
        raise DataError(f"the dataset of {name!r} gives inputs alone: pass targets=[...], one each")
    return [target.item() if isinstance(target, Tensor) else target for target in targets]
