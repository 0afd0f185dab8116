"""Checks of what candidates say, and votes per class, a bounded chunk of samples at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.errors import ScoresError

CHUNK = 1 << 22
"""Elements of the largest temporary array: 32 MiB of float64."""
SUM_TOLERANCE = 1e-3
"""Probabilities in half precision sum to 1 up to this."""


def vote_chunks(predictions: npt.NDArray[np.integer]) -> Iterator[npt.NDArray[np.int64]]:
    """Votes `[samples, classes]` of consecutive chunks of the samples.

    `predictions`: [K, n] classes, 0 or more. Raises ScoresError for another shape or type.
    """
    check_predictions(predictions)
    candidates, samples = predictions.shape
    classes = int(predictions.max()) + 1
    step = max(1, CHUNK // max(classes, candidates))
    for start in range(0, samples, step):
        part = predictions[:, start : start + step].astype(np.int64)
        width = part.shape[1]
        cells = part + classes * np.arange(width)
        yield np.bincount(cells.ravel(), minlength=width * classes).reshape(width, classes)


def most_voted(predictions: npt.NDArray[np.integer]) -> list[int]:
    """Return what most candidates say of each sample; of those with as many votes the first.

    `predictions`: [K, n], as in `vote_chunks`.
    """
    return [said for votes in vote_chunks(predictions) for said in votes.argmax(axis=1).tolist()]


def check_predictions(predictions: npt.NDArray[np.integer]) -> None:
    """Raise ScoresError unless `predictions` are classes [K, n] with K and n of 1 or more."""
    if predictions.ndim != 2 or 0 in predictions.shape:
        raise ScoresError(
            f"predictions of shape {predictions.shape}: give [candidates, samples], one or more "
            "of each"
        )
    if not np.issubdtype(predictions.dtype, np.integer):
        raise ScoresError(f"predictions are {predictions.dtype}: give classes as integers")
    if predictions.min() < 0:
        raise ScoresError(f"class {predictions.min()} among the predictions: classes start at 0")


def check_probabilities(probabilities: npt.NDArray[np.floating]) -> None:
    """Raise ScoresError unless these are probabilities [K, n, C] that sum to 1 over the classes."""
    if probabilities.ndim != 3 or 0 in probabilities.shape:
        raise ScoresError(
            f"probabilities of shape {probabilities.shape}: give [candidates, samples, classes], "
            "one or more of each"
        )
    for each in probabilities:
        low, off = float(each.min()), float(np.abs(each.sum(axis=1) - 1).max())
        if not (low >= 0 and off <= SUM_TOLERANCE):  # nan fails both
            raise ScoresError(
                f"probabilities from {low:g} that miss a sum of 1 by up to {off:g}: give "
                "probabilities, not logits"
            )
