"""Which candidate stands in which cell of a sheet's tables, whatever their scores."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.design import Design

Floats = npt.NDArray[np.float64]

ABSENT = -1
"""The cell of a candidate that the design does not have."""


def spread(values: Floats, axis: int) -> Floats:
    """Return maximum minus minimum along `axis`, nan left out: 0 for one value, nan for none."""
    delta: Floats = np.fmax.reduce(values, axis=axis) - np.fmin.reduce(values, axis=axis)
    return delta


def table_cells(design: Design, axis: str) -> npt.NDArray[np.intp]:
    """Return who stands in each cell of the table of `axis`: [seeds, options], or ABSENT."""
    columns = option_positions(design, axis)
    others = [other for other in design.axes if other != axis]
    alone = np.all([_at_default(design, other) for other in others] or [columns >= 0], axis=0)
    cells = np.full((len(design.seeds), len(design.axes[axis])), ABSENT)
    candidates = np.flatnonzero(alone)
    cells[seed_positions(design)[candidates], columns[candidates]] = candidates
    return cells


def table_counts(design: Design) -> npt.NDArray[np.intp]:
    """Return in how many cells of the tables every candidate stands: [K].

    In a star design the default configuration stands in every table, all others in one. Without an
    axis there is a single column, in which each stands once.
    """
    if not design.axes:
        return np.ones(len(design.configs), dtype=np.intp)
    cells = np.concatenate([table_cells(design, axis).ravel() for axis in design.axes])
    return np.bincount(cells[cells != ABSENT], minlength=len(design.configs))


def option_positions(design: Design, axis: str) -> npt.NDArray[np.intp]:
    """Return the position of every candidate's option among those of `axis`: [K]."""
    position = _positions(design.axes[axis])
    return np.array([position(vars(config)[axis]) for config in design.configs])


def seed_positions(design: Design) -> npt.NDArray[np.intp]:
    """Return the position of every candidate's seed among the design's: [K]."""
    places = {seed: row for row, seed in enumerate(design.seeds)}
    return np.array([places[config.seed] for config in design.configs])


def _at_default(design: Design, axis: str) -> npt.NDArray[np.bool_]:
    """Return who has the default option, which stands first if any candidate has it: [K]."""
    first = design.axes[axis][0]
    used = _positions((first,))(design.default.get(axis, first)) == 0
    at_default: npt.NDArray[np.bool_] = used & (option_positions(design, axis) == 0)
    return at_default


def _positions(options: Sequence[Any]) -> Callable[[Any], int]:
    """Return where an option stands, or ABSENT. Identity first: arrays have no plain equality."""
    by_identity: dict[int, int] = {}
    by_value: dict[Any, int] = {}
    for position, option in enumerate(options):
        by_identity.setdefault(id(option), position)
        with contextlib.suppress(TypeError):  # what has no hash is compared with each
            by_value.setdefault(option, position)

    def place(option: Any) -> int:
        if id(option) in by_identity:
            return by_identity[id(option)]
        try:
            return by_value.get(option, ABSENT)
        except TypeError:
            return next((i for i, other in enumerate(options) if other == option), ABSENT)

    return place
