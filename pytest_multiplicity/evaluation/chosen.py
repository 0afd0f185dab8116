"""Whom candidates put first, of those who are asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.evaluation.candidate import Candidate
from pytest_multiplicity.evaluation.copies import distinct
from pytest_multiplicity.statistics import allocations as formulas

if TYPE_CHECKING:
    from pytest_multiplicity.inference import Asked, Under

LOTS = 0
"""The seed of the lots that break ties, the same for every candidate."""
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Chosen:
    """Whom some candidates put first: `[S, n]`, each k of the samples that were asked about."""

    asked: Asked
    k: int
    by: Any
    whom: Bools
    qualified: Bools
    """`[n]`: whose target is the class."""
    tied: Sequence[int]
    """How many share a k-th place that not all of them get, by candidate."""
    copies: int
    """How many candidates answer as one before them."""
    first: Sequence[int]
    """The positions of all others."""

    @property
    def people(self) -> int:
        """How many are asked about."""
        return len(self.qualified)


def chosen(asked: Asked, candidates: Sequence[Candidate], k: int, by: Any, under: Under) -> Chosen:
    """Return whom each candidate chooses. Raises MeasurementError, see `allocations`."""
    from pytest_multiplicity.tasks import positives, sure_of

    count, name = len(asked.rows), f"{k!r} of the {len(asked.rows)} samples of {asked.name}"
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= count:
        raise MeasurementError(f"k={name}: give a whole number from 1 to {count}")
    answers = [each.logits(asked.data, under) for each in candidates]
    named = f"allocations on {asked.name}"
    given = [(asked.task, each, asked.targets, by, named, "by") for each in answers]
    truth = positives(*given[0])[1]
    if truth is None:
        raise MeasurementError(
            f"{named}: who is qualified is known by targets, and {asked.data.name!r} has none"
        )
    sure = [sure_of(*each) for each in given]
    if not truth.any():
        raise MeasurementError(
            f"{named}: none of the {count} samples is of class {by!r}, so nobody is qualified: ask "
            "for a class that is there, or for other data"
        )
    lots = np.random.default_rng(LOTS).permutation(len(asked.source))[asked.rows.numpy()]
    found = [formulas.choose(each, int(k), lots) for each in sure]
    first = distinct(np.stack(sure), answers.__getitem__)
    return Chosen(
        asked=asked,
        k=int(k),
        by=by,
        whom=np.stack([whom for whom, _ in found]),
        qualified=truth.numpy(),
        tied=[tied for _, tied in found],
        copies=len(candidates) - len(first),
        first=first,
    )
