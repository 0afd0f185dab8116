"""What survivors said of one sample, drawn: where in it they differ, and values on one scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.findings.pictured import SaidValues, Thumbnail

if TYPE_CHECKING:
    from pytest_multiplicity.tasks import Task

COLOUR = np.array([213.0, 94.0, 0.0])  # vermilion, told from grey by whoever sees few colours
OPAQUE = 0.65
LARGEST, LEAST = 64, 8  # pixels a side of what has no picture below it
STEPS = 48  # values of one sample that are drawn


def where(
    said: npt.NDArray[Any], target: npt.NDArray[Any], task: Task, below: Thumbnail | None
) -> Thumbnail | None:
    """Return the picture of a sample with the positions coloured on which survivors differ.

    Args:
        said: predictions `[survivors, ...]` of one sample.
        target: its target, by which positions are left out.
        task: says what differs.
        below: the sample's own picture; black where it has none.

    None where a prediction has no positions, or more than two dimensions of them.
    """
    apart = np.asarray(task.differ(said[:1], said))
    if apart.ndim not in (2, 3):
        return None
    counted = np.asarray(task.right(target, target))  # what is ignored never is
    mask = np.atleast_2d(apart.any(axis=0) & counted)
    height, width = (below.height, below.width) if below else map(_side, mask.shape)
    rows, columns = (
        np.arange(size) * of // size for size, of in zip((height, width), mask.shape, strict=True)
    )
    pixels = np.zeros((height, width, 3))
    if below is not None:
        pixels += np.frombuffer(below.pixels, np.uint8).reshape(height, width, -1)
    hit = mask[np.ix_(rows, columns)]
    pixels[hit] = (1 - OPAQUE) * pixels[hit] + OPAQUE * COLOUR
    return Thumbnail(width=width, height=height, pixels=pixels.round().astype(np.uint8).tobytes())


def _side(size: int) -> int:
    return max(LEAST, min(size, LARGEST))


def values(said: npt.NDArray[Any], target: npt.NDArray[Any]) -> SaidValues | None:
    """Return what survivors said, where these are values; the target too, where it is one."""
    if not np.issubdtype(said.dtype, np.floating):
        return None
    known = np.issubdtype(target.dtype, np.floating)
    return SaidValues(
        values=said.reshape(len(said), -1)[:, :STEPS].tolist(),
        target=target.reshape(-1)[:STEPS].tolist() if known else (),
    )
