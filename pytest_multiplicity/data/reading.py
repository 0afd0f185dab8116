"""Map-style datasets become sources: read into memory, or streamed where they don't fit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pytest_multiplicity.data.arrays import as_tensor
from pytest_multiplicity.data.inputs import (
    Dataset,
    InMemory,
    Source,
    Streamed,
    agree,
    row_blocks,
)
from pytest_multiplicity.errors import DataError

IN_MEMORY_BYTES = 2**30
PROBED = 4  # samples that are read twice: enough to notice nearly every random transform


def read_dataset(
    dataset: Dataset, *, name: str, bounds: Any, targets: Any, stream: bool | None
) -> tuple[Source, Any]:
    """Return the inputs as a source, and the targets, unchecked: given, declared or read."""
    streamed = _open(dataset, name, bounds)
    said = _probed(streamed)
    if stream is None:
        stream = 4 * len(streamed) * streamed.shape.numel() > IN_MEMORY_BYTES
    if not stream:
        inputs, read = streamed.read(torch.arange(len(streamed)))
        return InMemory(inputs), _numbers(read, name) if targets is None else targets
    if targets is None:
        targets = streamed.declared = _declared_targets(streamed, said)
    if targets is None:
        read = [target for rows in row_blocks(streamed) for target in streamed.read(rows)[1]]
        targets = _numbers(read, name)
    return streamed, targets


def _open(dataset: Dataset, name: str, bounds: Any) -> Streamed:
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise DataError(
            f"{type(dataset).__name__} can't be read by position: give a map-style dataset, "
            "with len(dataset) and dataset[i]"
        )
    if len(dataset) == 0:
        raise DataError(f"the dataset of {name!r} has no samples")
    try:
        return Streamed(dataset, bounds, name)
    except (LookupError, NotImplementedError, TypeError) as error:
        raise DataError(
            f"{type(dataset).__name__}: dataset[0] of {name!r} can't be read ({error!r}): give a "
            "map-style dataset, whose samples have positions from 0 to len(dataset) - 1"
        ) from error


def _probed(streamed: Streamed) -> dict[int, Any]:
    """Return what a few samples, from the first on, say their targets are.

    Raises where the dataset's transform is random: candidates must see the same samples.
    """
    count = min(PROBED, len(streamed))
    rows = torch.arange(count) * (len(streamed) // count)
    inputs, said = streamed.read(rows)
    if not torch.equal(inputs, streamed.take(rows)):
        raise DataError(
            f"the dataset of {streamed.name!r} gives other inputs when it is read again: take the "
            "random transform out of it (augmentation is Recipe(augment=...), a shift is Corrupt)"
        )
    return dict(zip(rows.tolist(), said, strict=False))  # some may have none


def _declared_targets(streamed: Streamed, said: dict[int, Any]) -> Tensor | None:
    """Return torchvision's `.targets`, which spare reading every image; None where they may lie.

    They are the targets before any transform of them: `target_transform`, or a joint `transforms`.
    What samples `said` counts: some were asked, and all of them are when they are read.
    """
    dataset: Any = streamed.dataset
    joint = getattr(dataset, "transforms", None) and not getattr(dataset, "transform", None)
    if joint or getattr(dataset, "target_transform", None):
        return None
    try:
        declared = as_tensor(getattr(dataset, "targets", None), "targets").detach().cpu()
    except DataError:
        return None
    one_each = declared.ndim == 1 and len(declared) == len(streamed)
    believed = one_each and all(agree(target, declared[row]) for row, target in said.items())
    return declared if believed else None


def _numbers(targets: list[Any], name: str) -> Any:
    if not targets:
        raise DataError(f"the dataset of {name!r} gives inputs alone: pass targets=[...], one each")
    if all(target.numel() == 1 for target in targets if isinstance(target, Tensor)):
        return [target.item() if isinstance(target, Tensor) else target for target in targets]
    try:
        return torch.stack(targets)
    except (RuntimeError, TypeError):
        raise DataError(f"targets of {name!r} differ in shape: give one class per sample") from None
