"""A sheet as plain text: the paper's layout."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from pytest_multiplicity.design import option_text
from pytest_multiplicity.statistics.noise import Noise

GAP = "   "
ABSENT = "-"


def block(axis: str, table: pd.DataFrame) -> list[str]:
    """Return one table as lines of equal length: title, options, a line per seed, deltas.

    The last column is the delta across options, the last line the delta across seeds; a column of
    its own (no axis) has only the latter.
    """
    scores = table.to_numpy()
    rows = [[number(score) for score in row] for row in scores]
    header = [option_text(option) for option in table.columns]
    foot = [_delta(column) for column in scores.T]
    if len(header) > 1:
        header, foot = [*header, "delta"], [*foot, ""]
        rows = [[*cells, _delta(row)] for cells, row in zip(rows, scores, strict=True)]
    lines = _aligned(["seed", *(str(seed) for seed in table.index), "delta"], [header, *rows, foot])
    width = max(len(axis), *map(len, lines))
    return [line.ljust(width) for line in (axis, *lines)]


def side_by_side(blocks: list[list[str]], width: int | None) -> list[str]:
    """Return blocks side by side, as many as fit into `width` columns; a blank line after each."""
    lines: list[str] = []
    for row in _rows_of_blocks(blocks, width):
        lines += [GAP.join(parts).rstrip() for parts in zip(*row, strict=True)]
        lines.append("")
    return lines


def number(value: float) -> str:
    """Return two decimals, as in the paper; "-" for none."""
    return ABSENT if np.isnan(value) else f"{value:.2f}"


def noise_text(noise: Noise, scale: float) -> str:
    """Return `1.28 on average, 1.90 at most in 95%; p = 0.11: within test-set noise`."""
    verdict = "within" if noise.within_noise else "beyond"
    return (
        f"{number(noise.floor * scale)} on average, up to {number(noise.level_95 * scale)} in 95%; "
        f"p = {noise.p_value:.2g}: {verdict} test-set noise"
    )


def _delta(values: npt.NDArray[np.float64]) -> str:
    present = values[~np.isnan(values)]
    return number(float(np.ptp(present))) if len(present) > 1 else ABSENT


def _aligned(labels: list[str], rows: list[list[str]]) -> list[str]:
    first = max(map(len, labels))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([label.ljust(first), *(c.rjust(w) for c, w in zip(row, widths, strict=True))])
        for label, row in zip(labels, rows, strict=True)
    ]


def _rows_of_blocks(blocks: list[list[str]], width: int | None) -> list[list[list[str]]]:
    rows: list[list[list[str]]] = []
    used = 0
    for each in blocks:
        needed = len(each[0]) + len(GAP)
        if not rows or (width is not None and used + needed - len(GAP) > width):
            rows.append([])
            used = 0
        rows[-1].append(each)
        used += needed
    return rows
