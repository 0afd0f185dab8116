"""Classes that a model names, matched with those of a data set; probabilities as logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.tasks.doubts import SUMS_TO_1

Names = tuple[Any, ...] | None


def logits_of(sure: Tensor, name: str) -> Tensor:
    """Return probabilities as logits; one for each sample is that of the second class.

    Raises MeasurementError where they are no probabilities.
    """
    one = sure.ndim == 1 or sure.shape[1] == 1
    rows = torch.stack([1 - sure.flatten(), sure.flatten()], dim=1) if one else sure
    off = (rows < 0) | (rows > 1)
    if bool(off.any()) or float((rows.sum(dim=1) - 1).abs().max()) > SUMS_TO_1:
        odd = off.any(dim=1) | ((rows.sum(dim=1) - 1).abs() > SUMS_TO_1)
        row = sure[int(odd.nonzero()[0])].reshape(-1).tolist()
        raise MeasurementError(
            f"{row} are no probabilities of a sample of {name!r}: they lie in [0, 1], and "
            "those of all classes sum to 1"
        )
    return rows.log()


def codes_of(labels: Any, names: Names, name: str) -> Tensor:
    """Return the indices [n], int64, of the classes that labels name.

    Raises MeasurementError for a label that no target of the data set `name` has.
    """
    listed = np.asarray(labels).tolist()
    known = _known(list(dict.fromkeys(listed)), names)
    for label in known:
        if known[label] is not None:
            continue
        those = (
            f"targets of {name!r} have no names: give pm.Data the labels themselves"
            if names is None
            else f"{name!r} has {', '.join(map(repr, names))}: give it the same names, "
            "all of them as categories of a pandas Categorical where it lacks some"
        )
        raise MeasurementError(f"a model names a class {label!r}, and {those}")
    return torch.tensor([known[label] for label in listed], dtype=torch.int64)


def _known(labels: Sequence[Any], given: Names) -> dict[Any, int | None]:
    """Return the index of each label: all of them by name, else all as indices themselves."""
    names = given or ()
    for same in (_itself, str):
        places = {same(each): index for index, each in enumerate(names)}
        if names and all(same(label) in places for label in labels):
            return {label: places[same(label)] for label in labels}
    top = len(names) if names else np.inf
    coded = all(isinstance(each, str) for each in names)
    if coded and all(_is_index(label, top) for label in labels):
        return {label: int(label) for label in labels}
    return {label: names.index(label) if label in names else None for label in labels}


def _itself(label: Any) -> Any:
    return label


def _is_index(label: Any, top: float) -> bool:
    return isinstance(label, int | float) and 0 <= label < top and int(label) == label
