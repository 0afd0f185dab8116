"""What a measure captures: never what the very candidate answered that it is asked of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.evaluation.candidate import RECENT, Candidate

DEPTH = 3  # of collections and partials that are looked into

INSTEAD = (
    "A measure is one function for the whole family. For the share of samples whose prediction an "
    "intervention leaves as it is, use candidate.consistency(data, under=...); values of samples "
    "go into the data's attributes, which a third parameter of the measure gets"
)


def check_captured(fn: Callable[..., Any], name: str | None, candidate: Candidate) -> None:
    """Raise MeasurementError where a measure is about the candidate that it is asked of.

    It would compare every other candidate with this one.
    """
    said = {_place(answers) for teller, answers in RECENT if teller is candidate}
    for value in _captured(fn, DEPTH):
        if value is candidate or (_place(value) or 0) in said:
            what = "captures" if value is candidate else "captures answers of"
            raise MeasurementError(
                f"the measure {name or getattr(fn, '__name__', fn)!r} {what} {candidate.id}, and "
                f"would compare all candidates with it. {INSTEAD}"
            )
    if name is not None and candidate.id in name:
        raise MeasurementError(
            f"the measure is named {name!r}, after the candidate {candidate.id}. {INSTEAD}"
        )


def _place(value: Any) -> int | None:
    """Return where in memory the numbers of a tensor or an array lie."""
    while isinstance(value, np.ndarray) and value.base is not None:
        value = value.base
    return value.untyped_storage().data_ptr() if isinstance(value, Tensor) else None


def _captured(value: Any, depth: int) -> Iterator[Any]:
    """Yield the values that a function captures, and what collections of them hold."""
    yield value
    if depth == 0:
        return
    inner: list[Any] = []
    if isinstance(value, partial):
        inner = [value.func, *value.args, *value.keywords.values()]
    elif isinstance(value, list | tuple | set):
        inner = list(value)
    elif isinstance(value, Mapping):
        inner = list(value.values())
    elif callable(value) and hasattr(value, "__code__"):
        inner = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
        for cell in value.__closure__ or ():
            try:
                inner.append(cell.cell_contents)
            except ValueError:  # not bound yet
                continue
    for each in inner:
        yield from _captured(each, depth - 1)
