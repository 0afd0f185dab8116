"""The samples on which survivors disagree, with a small picture of each where it is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.findings.model import Conflict, Conflicts, Thumbnail

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data

Classes = npt.NDArray[np.integer[Any]]

SHOWN = 60
LARGEST = 64  # pixels a side of a thumbnail


def divided(
    predictions: Classes, ids: Sequence[str], targets: Classes, name: str, data: Mapping[str, Data]
) -> Conflicts:
    """Return the most divided samples of a data set; `predictions` `[survivors, n]`.

    `data` holds the data sets that this process knows by name: pictures and attributes come from
    there, and are left out for others.
    """
    rows = np.flatnonzero((predictions != predictions[0]).any(axis=0))
    order = np.argsort([_largest_share(predictions[:, row]) for row in rows], kind="stable")
    return Conflicts(
        data=name,
        total=len(rows),
        rows=[
            _conflict(int(row), predictions[:, row], ids, targets, data.get(name))
            for row in rows[order][:SHOWN]
        ],
    )


def _largest_share(votes: Classes) -> float:
    return float(np.unique(votes, return_counts=True)[1].max() / len(votes))


def _conflict(
    row: int, votes: Classes, ids: Sequence[str], targets: Classes, data: Data | None
) -> Conflict:
    shown: Callable[[Any], str] = str if data is None else data.task.shown
    said: dict[str, list[str]] = {}
    for candidate, vote in zip(ids, votes.tolist(), strict=True):
        said.setdefault(shown(vote), []).append(candidate)
    known = data is not None and len(data) == len(targets)
    return Conflict(
        row=row,
        target=shown(targets[row]),
        votes=said,
        attributes=_attributes(data, row) if known and data is not None else {},
        thumbnail=_thumbnail(data, row) if known and data is not None else None,
    )


def _attributes(data: Data, row: int) -> dict[str, str]:
    if data.attributes is None:
        return {}
    return {str(name): str(value) for name, value in data.attributes.iloc[row].items()}


def _thumbnail(data: Data, row: int) -> Thumbnail | None:
    """Return a picture of an image, `[1 or 3, height, width]`; None for anything else."""
    import torch

    if data.bounds is None or len(data.shape) != 3 or data.shape[0] not in (1, 3):
        return None
    low, high = data.bounds
    image = (data.take(torch.tensor([row]))[0] - low) / (high - low)
    if max(image.shape[1:]) > LARGEST:
        scale = LARGEST / max(image.shape[1:])
        image = torch.nn.functional.interpolate(
            image.unsqueeze(0), scale_factor=scale, mode="area"
        )[0]
    pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous()
    height, width = pixels.shape[:2]
    return Thumbnail(width=width, height=height, pixels=pixels.numpy().tobytes())
