"""The multiplicity sheet: one metric of a family, as Ganesh (WACV 2024, arXiv 2311.14859) has it.

Three levels: the scores, a table per axis (nothing is lost); the deltas, maximum minus minimum, of
every row and column of a table; and the delta over all distinct candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from pytest_multiplicity.design import Config, Design, Recorded, option_text
from pytest_multiplicity.errors import ScoresError
from pytest_multiplicity.statistics import layout
from pytest_multiplicity.statistics.noise import Noise, floor_at_most, noise
from pytest_multiplicity.statistics.tables import (
    ABSENT,
    option_positions,
    seed_positions,
    spread,
    table_cells,
    table_counts,
)

__all__ = ["Sheet", "Unit", "table_counts"]

Floats = npt.NDArray[np.float64]
Unit = Literal["fraction", "percent", "number"]
"""Of the scores: fractions are printed as percent, the other two as they are."""


@dataclass(frozen=True, eq=False)
class Sheet:
    """One metric of one family: its scores, their deltas, and what noise alone would show.

    `scores` has one value per candidate of `design`, in its order; nan for a candidate that is
    not in the sheet (diverged, or rejected in the sheet of the survivors).

    The table of an axis holds the candidates that differ from the default configuration in that
    axis alone: a row per seed, a column per option, the default option first. For each design:

    - star: every candidate is in a table, and all tables share the default column;
    - grid: the table is the slice through the default configuration; `marginals` has the means
      over all other axes beside it, and `delta_all` covers the whole grid;
    - explicit: an axis has a table where two options or more have such candidates.

    A delta of a single score is 0, and a delta of none is nan: with one seed only, every
    `delta_by_option` is 0; an axis with one option only does not vary and has no table.
    """

    metric: str
    design: Design = field(repr=False)
    scores: Floats
    outcomes: npt.NDArray[np.generic] | None = field(default=None, repr=False)
    """[n, K] values in [0, 1] whose column means the scores are; None: the noise is unknown."""
    most: float = 1.0
    """The largest value that outcomes can have, where samples count differently."""
    unit: Unit = "fraction"
    samples: int | None = None
    """On how many samples recorded scores were measured, where that is all we know."""
    noise_of: Callable[[npt.NDArray[np.intp]], Noise | None] | None = field(
        default=None, repr=False
    )
    """For a metric that is no mean over samples: the noise between the candidates at positions."""

    def __post_init__(self) -> None:
        count = len(self.design.configs)
        if self.scores.shape != (count,):
            raise ScoresError(
                f"{self.metric}: scores of shape {self.scores.shape} for {count} candidates"
            )
        if np.isinf(self.scores).any():
            raise ScoresError(f"{self.metric}: an infinite score; give finite ones, nan for none")
        if self.outcomes is not None and self.outcomes.shape[1:] != (count,):
            raise ScoresError(
                f"{self.metric}: outcomes of shape {self.outcomes.shape} for {count} candidates: "
                "give [samples, candidates]"
            )

    @classmethod
    def from_scores(
        cls,
        frame: pd.DataFrame,
        *,
        metric: str,
        default: Mapping[str, Any],
        seed: str = "seed",
        unit: Unit = "percent",
        n: int | None = None,
    ) -> Sheet:
        """Return the sheet of the column `metric` of a table with a row per candidate.

        The keys of `default` name the columns that are axes, its values the configuration that
        all tables share; `seed` names the column of seeds. Other columns are other metrics. The
        design is what the rows make it: star, grid, or explicit. Scores are kept in their `unit`;
        `n` says on how many samples they were measured.

        Raises ScoresError for a column that is missing or is no number, nan, a seed and option
        without a score, and a candidate that stands there twice with different scores.
        """
        recorded = Recorded(
            _columns(frame, metric, default, seed), default, seed, "fraction", {}, "from_scores"
        )
        scores, design = recorded.metrics[metric], recorded.design()
        _check_complete(design, metric)
        values = np.array([scores[config] for config in design.configs])
        return cls(metric, design, values, unit=unit, samples=n)

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """Which candidates are in the sheet: [K]."""
        return ~np.isnan(self.scores)

    @property
    def count(self) -> int:
        """How many candidates are in the sheet."""
        return int(np.count_nonzero(self.present))

    def subset(self, mask: npt.NDArray[np.bool_]) -> Sheet:
        """Return the sheet of the candidates in `mask` ([K]): how it stands after selection."""
        if mask.shape != self.scores.shape or mask.dtype != bool:
            raise ScoresError(
                f"a mask of {mask.dtype} {mask.shape} for {len(self.scores)} candidates: give one "
                "truth value for each"
            )
        return replace(self, scores=np.where(mask, self.scores, np.nan))

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Axis -> table, seeds x options, the default option first; nan: not in the sheet."""
        tables = {}
        for axis in self.design.axes:
            cells = table_cells(self.design, axis)
            used = (cells != ABSENT).any(axis=0)
            if np.count_nonzero(used) > 1:
                tables[axis] = self._frame(axis, self._at(cells)).loc[:, used]
        return tables

    @cached_property
    def marginals(self) -> dict[str, pd.DataFrame]:
        """Axis -> mean score of each seed and option over all other axes; empty unless a grid."""
        if self.design.kind != "grid":
            return {}
        return {axis: self._frame(axis, self._means(axis)) for axis in self.design.axes}

    def delta_by_seed(self, axis: str) -> pd.Series[float]:
        """Return, for every seed, maximum minus minimum across the options of `axis`."""
        table = self._table(axis)
        return pd.Series(spread(table.to_numpy(), axis=1), index=table.index)

    def delta_by_option(self, axis: str) -> pd.Series[float]:
        """Return, for every option of `axis`, maximum minus minimum across the seeds."""
        table = self._table(axis)
        return pd.Series(spread(table.to_numpy(), axis=0), index=table.columns)

    @property
    def delta_all(self) -> float:
        """Maximum minus minimum of the unrounded scores of all distinct candidates."""
        return float(spread(self.scores, axis=0))

    @cached_property
    def noise(self) -> Noise | None:
        """What test-set noise does to `delta_all`; None where it can't be known.

        Among the candidates in this sheet, each counted once. None for fewer than two of them, and
        for scores without outcomes: see `noise_floor_at_most`.
        """
        columns = np.flatnonzero(self.present)
        if len(columns) < 2:
            return None
        if self.outcomes is not None:
            return noise(self.outcomes[:, columns], most=self.most)
        return self.noise_of(columns) if self.noise_of else None

    @property
    def noise_floor(self) -> float | None:
        """The delta-all that equally good candidates would show on average, or None: unknown."""
        return self.noise.floor if self.noise else None

    @property
    def noise_floor_at_most(self) -> float | None:
        """Upper bound of the floor for recorded accuracies of known `samples`, or None."""
        if self.samples is None or self.count < 2:
            return None
        scale = 100.0 if self.unit == "percent" else 1.0
        mean = float(np.nanmean(self.scores)) / scale
        return scale * floor_at_most(mean, self.samples, self.count)

    def to_frame(self) -> pd.DataFrame:
        """Return a row per candidate in the sheet: options, seed and score, as `from_scores` reads.

        Nothing is lost: `Sheet.from_scores(sheet.to_frame(), metric=sheet.metric, ...)` gives the
        same scores.
        """
        rows = [
            {**vars(config), self.metric: score}
            for config, score in zip(self.design.configs, self.scores.tolist(), strict=True)
            if score == score
        ]
        columns = [*vars(self.design.configs[0]), self.metric]
        return pd.DataFrame(rows, columns=columns)

    def to_text(self, width: int | None = None) -> str:
        """Return the paper's layout in plain text, scores in percent with two decimals.

        Tables stand side by side, one per axis, as many as fit into `width` columns; rows are
        seeds; the last column is the delta across options, the last row the delta across seeds, the
        corner is empty; below stand the default configuration and the delta over all. "-": a
        candidate that is not in the sheet, or a delta of fewer than two scores.
        """
        scale = 100.0 if self.unit == "fraction" else 1.0
        tables = self.tables or {"": self._only_column()}
        blocks = [layout.block(axis, table * scale) for axis, table in tables.items()]
        title = self.metric if self.unit == "number" else f"{self.metric} (percent)"
        lines = [title, "", *layout.side_by_side(blocks, width), *self._below(scale)]
        return "\n".join(lines) + "\n"

    def _below(self, scale: float) -> list[str]:
        default = ", ".join(f"{a}={option_text(o)}" for a, o in self.design.default.items())
        return [
            f"default: {default or 'no axis'}",
            f"delta over all {self.count}: {layout.number(self.delta_all * scale)}",
            f"test-set noise: {self._noise_text(scale)}",
        ]

    def _noise_text(self, scale: float) -> str:
        if self.noise is not None:
            return layout.noise_text(self.noise, scale)
        if self.noise_floor_at_most is not None:
            return f"at most {layout.number(self.noise_floor_at_most * scale)} on average"
        return "unknown"

    def _only_column(self) -> pd.DataFrame:
        """All scores below each other: the sheet of a family in which no axis has a table."""
        rows = pd.Index([config.seed for config in self.design.configs], name="seed")
        return pd.DataFrame({"default": self.scores}, index=rows)

    def _table(self, axis: str) -> pd.DataFrame:
        if axis not in self.tables:
            known = ", ".join(self.tables) or "no axis"
            raise ScoresError(f"no table for {axis!r}: this sheet has tables for {known}")
        return self.tables[axis]

    def _at(self, cells: npt.NDArray[np.intp]) -> Floats:
        return np.where(cells == ABSENT, np.nan, self.scores[cells])

    def _means(self, axis: str) -> Floats:
        rows, columns = seed_positions(self.design), option_positions(self.design, axis)
        shape = (len(self.design.seeds), len(self.design.axes[axis]))
        total, number = np.zeros(shape), np.zeros(shape)
        np.add.at(total, (rows[self.present], columns[self.present]), self.scores[self.present])
        np.add.at(number, (rows[self.present], columns[self.present]), 1)
        number[number == 0] = np.nan
        means: Floats = total / number
        return means

    def _frame(self, axis: str, values: Floats) -> pd.DataFrame:
        return pd.DataFrame(
            values,
            index=pd.Index(self.design.seeds, name="seed"),
            columns=pd.Index(self.design.axes[axis], name=axis, tupleize_cols=False),
        )


def _columns(
    frame: pd.DataFrame, metric: str, default: Mapping[str, Any], seed: str
) -> pd.DataFrame:
    """Return the columns that make this sheet. Raises ScoresError for one that is unusable."""
    for name in (metric, seed, *default):
        if name not in frame.columns:
            raise ScoresError(
                f"{name!r} is no column of the table, which has {', '.join(map(str, frame))}"
            )
    if metric in (seed, *default):
        raise ScoresError(f"{metric!r} is an axis or the seed here: name a column of scores")
    for name in (seed, *default):
        if frame[name].isna().any():
            row = int(np.flatnonzero(frame[name].isna())[0]) + 1
            raise ScoresError(
                f"column {name!r} is empty in row {row}: write the option there, or drop the row"
            )
    return frame[[*default, seed, metric]]


def _check_complete(design: Design, metric: str) -> None:
    known = set(design.configs)
    for config in design.configs:
        options = {axis: option for axis, option in vars(config).items() if axis != "seed"}
        for seed in design.seeds:
            if Config(options, seed) not in known:
                raise ScoresError(
                    f"no score of {metric!r} for {options!r} and seed {seed}: add it, or drop that "
                    "seed or configuration everywhere"
                )
