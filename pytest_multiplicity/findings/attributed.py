"""What data must have for individuals to be told of: attributes, ids, the class that is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.errors import DataError, MeasurementError
from pytest_multiplicity.findings.people import PeopleAsked

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_multiplicity.data import Data
    from pytest_multiplicity.tasks import Task

Bools = npt.NDArray[np.bool_]


def check_people(data: Data, asked: PeopleAsked) -> None:
    """Raise what reports would of a data set: known before anybody is trained.

    DataError where it lacks an attribute, MeasurementError for ids that are none, and for a
    class that there is none of.
    """
    task, positive = data.task, asked.positive
    if not (task.has_targets and task.compares):
        return
    try:
        groups_by(data, asked.groups)
        if asked.id is not None:
            ids_by(data, asked.id)
    except DataError as error:
        raise DataError(f"{error} (multiplicity_individuals_id or _groups)") from None
    if positive is not None and task.names:
        says(task, data.targets, data.targets, positive)


def groups_by(data: Data, attributes: Sequence[str]) -> list[tuple[str, str, Bools]]:
    """Return attribute, value, and who has it `[n]`, of every value. Raises DataError."""
    from pytest_multiplicity.data import grouped

    groups = []
    for attribute in attributes:
        codes, names = grouped(data.attributes, [attribute], data.name)
        groups += [(attribute, name, codes == code) for code, name in enumerate(names)]
    return groups


def ids_by(data: Data, name: str) -> list[str]:
    """Return what an attribute calls the samples. Raises MeasurementError where that is no id."""
    from pytest_multiplicity.data import grouped

    codes, _ = grouped(data.attributes, [name], data.name)
    assert data.attributes is not None  # as `grouped` has seen
    ids = [str(each) for each in data.attributes[name]]
    if (codes < 0).any():
        raise MeasurementError(
            f"{(codes < 0).sum()} samples of {data.name!r} have no {name!r}: an id names every "
            "sample (multiplicity_individuals_id)"
        )
    ordered = sorted(ids)
    twice = next((a for a, b in pairwise(ordered) if a == b), None)
    if twice is not None:
        raise MeasurementError(
            f"ids repeat: {ids.count(twice)} samples of {data.name!r} have {name} {twice!r}; name "
            "an attribute with a value of its own for each (multiplicity_individuals_id)"
        )
    return ids


def says(task: Task, said: Tensor, targets: Tensor, wanted: str) -> Bools:
    """Return where answers say the class of that name, or number: `[n]`."""
    from pytest_multiplicity.tasks import positives

    named = {str(each): each for each in task.names or (0, 1)}
    label = named.get(wanted, int(wanted) if wanted.isdecimal() else wanted)
    shown = "multiplicity_individuals_positive"
    yes: Bools = positives(task, said, targets, label, shown, shown)[0].numpy()
    return yes
