"""The samples on which survivors disagree, with a small picture of each where it is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.findings.model import Conflict, Conflicts, Thumbnail

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data
    from pytest_multiplicity.tasks import Task

SHOWN = 60
LARGEST = 64  # pixels a side of a thumbnail


def divided(
    predictions: npt.NDArray[Any],
    ids: Sequence[str],
    targets: npt.NDArray[Any],
    name: str,
    data: Data | None,
    task: Task,
) -> Conflicts:
    """Return the most divided samples of a data set; `predictions` `[survivors, n, ...]`.

    `data` is the data set where this process knows it: pictures and attributes come from there.
    """
    said = task.said(predictions, targets)
    rows = np.flatnonzero(said.conflicts())
    divided = said.self_consistency()[rows]
    if predictions.ndim == 2 and np.issubdtype(predictions.dtype, np.integer):
        divided = np.array([_largest_share(predictions[:, row]) for row in rows])
    order = np.argsort(divided, kind="stable")[:SHOWN]
    known = data if data is not None and len(data) == len(targets) else None
    return Conflicts(
        data=name,
        total=len(rows),
        rows=[
            Conflict(
                row=row,
                target=task.shown(targets[row]),
                votes=_votes(predictions[:, row], ids, task),
                attributes={} if known is None else _attributes(known, row),
                thumbnail=None if known is None else _thumbnail(known, row),
            )
            for row in rows[order].tolist()
        ],
    )


def _largest_share(votes: npt.NDArray[Any]) -> float:
    return float(np.unique(votes, return_counts=True)[1].max() / len(votes))


def _votes(said: npt.NDArray[Any], ids: Sequence[str], task: Task) -> dict[str, list[str]]:
    """Return who said what of one sample."""
    found: dict[str, list[str]] = {}
    for candidate, vote in zip(ids, said, strict=True):
        found.setdefault(task.shown(vote), []).append(candidate)
    return found


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
