"""What else than a prediction survivors can agree on: any outcome of each sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.evaluation.candidate import Candidate
from pytest_multiplicity.statistics import Codes

Outcome = Callable[[Candidate], Any]
"""From a candidate to what it makes of every sample `[n]`: bools, numbers, texts."""


def agreement_on(
    fn: Outcome, candidates: Iterable[Candidate], count: int
) -> npt.NDArray[np.float64]:
    """Return, per sample, the share of pairs of candidates whose outcomes are equal: `[n]`.

    Raises MeasurementError for what is no outcome of each of `count` samples.
    """
    if not callable(fn):
        raise MeasurementError(
            f"of={fn!r}: give a function from a candidate to an outcome of every sample, as in "
            "of=lambda candidate: candidate.predictions(data, under=pm.PGD(0.01))"
        )
    found = [_checked(fn(each), each.id, count) for each in candidates]
    codes = np.unique(np.stack(found), return_inverse=True)[1].reshape(len(found), count)
    return Codes(codes.astype(np.int64)).self_consistency()


def _checked(outcomes: Any, name: str, count: int) -> npt.NDArray[Any]:
    found = np.asarray(outcomes)
    if found.shape != (count,):
        raise MeasurementError(
            f"of= returned something of shape {found.shape} for {name}: one outcome of each of "
            f"the {count} samples is needed"
        )
    if found.dtype.kind == "f" and np.isnan(found).any():
        raise MeasurementError(f"of= returned nan for {name}: whether that agrees isn't known")
    return found.astype(str) if found.dtype.kind == "O" else found
