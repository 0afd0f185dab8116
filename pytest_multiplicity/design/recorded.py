"""A family made from a table of scores that were measured elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytest_multiplicity.design.config import Config
from pytest_multiplicity.design.design import Design, Kind
from pytest_multiplicity.design.ids import configuration_ids, seed_texts
from pytest_multiplicity.design.tables import read_table
from pytest_multiplicity.errors import DefinitionError, ScoresError

if TYPE_CHECKING:
    import pandas as pd

UNITS = {"percent": 100.0, "fraction": 1.0}
ROUNDING = 1e-9  # repeated rows of one candidate may differ by this much


@dataclass(frozen=True)
class Recorded:
    """Scores by configuration and seed: no candidate is built, all metrics are known.

    `scores` is a path of a CSV file or a DataFrame; the columns named in `default` are axes,
    `seed` names the seed's column, every other column is a metric.
    """

    scores: Any
    default: Mapping[str, Any]
    seed: str
    unit: str
    n: Mapping[str, int]
    where: str
    _designs: dict[int | None, Design] = field(default_factory=dict, repr=False, compare=False)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Recorded candidates need no fixture."""
        return ()

    @property
    def takes_seeds(self) -> bool:
        """Whether more can be had than the table holds: no."""
        return False

    @cached_property
    def metrics(self) -> dict[str, dict[Config, float]]:
        """Every metric's score, as a fraction, of every candidate."""
        table = self._table
        scale = UNITS[self.unit]
        configs = self._configs(table)
        return {
            name: dict(zip(configs, (table[name] / scale).tolist(), strict=True))
            for name in self._metric_names(table)
        }

    def design(self, seeds: int | None = None) -> Design:
        """Return the candidates in the table; `seeds` keeps the first so many seeds."""
        if seeds not in self._designs:
            self._designs[seeds] = self._design(seeds)
        return self._designs[seeds]

    def _design(self, wanted: int | None) -> Design:
        everyone = dict.fromkeys(self._configs(self._table))
        known_seeds = tuple(dict.fromkeys(config.seed for config in everyone))
        seeds = known_seeds[:wanted]
        chosen = set(seeds)
        own: dict[tuple[tuple[str, Any], ...], set[int]] = {}  # configuration -> its seeds
        for config in everyone:
            if config.seed in chosen:
                own.setdefault(tuple(_options(config).items()), set()).add(config.seed)
        options = list(own)
        default = tuple(self.default.items())
        if default not in options:
            raise DefinitionError(
                f"no row of the table has the default configuration {dict(self.default)!r}"
            )
        options.sort(key=lambda row: row != default)  # the default first, the others as they stand
        axes = {
            axis: tuple(dict.fromkeys([self.default[axis], *(dict(row)[axis] for row in options)]))
            for axis in self.default
        }
        texts = configuration_ids(
            [dict(row) for row in options],
            [[a for a, o in row if o != self.default[a]] for row in options],
        )
        places = {seed: place for place, seed in enumerate(seeds)}
        named = dict(zip(seeds, seed_texts(seeds), strict=True))
        ordered = [
            (Config(dict(row), seed), f"{text}-{named[seed]}")
            for row, text in zip(options, texts, strict=True)
            for seed in sorted(own[row], key=places.__getitem__)
        ]
        return Design(
            kind=_kind([dict(row) for row in options], dict(self.default), axes),
            default=dict(self.default),
            axes={axis: found for axis, found in axes.items() if len(found) > 1},
            seeds=seeds,
            configs=tuple(config for config, _ in ordered),
            ids=tuple(text for _, text in ordered),
        )

    def doubts_about_unit(self) -> list[str]:
        """Return what makes the unit look wrong, in a sentence; nothing where it looks right."""
        largest = {
            name: max(abs(score) for score in scores.values())
            for name, scores in self.metrics.items()
        }
        name, top = max(largest.items(), key=lambda each: each[1])
        if self.unit == "percent" and top <= 0.01:
            return ["every recorded score is 1 percent at most: fractions? say unit='fraction'"]
        if self.unit == "fraction" and min(largest.values()) > 1:
            return [f"recorded scores go up to {top:g} ({name!r}): percent? say unit='percent'"]
        return []

    @cached_property
    def _table(self) -> pd.DataFrame:
        table = read_table(self.scores, self.where, "scores")
        missing = [c for c in (*self.default, self.seed) if c not in table.columns]
        if missing:
            raise ScoresError(
                f"the table has no column {missing[0]!r}; it has {', '.join(map(str, table))}"
            )
        if self.unit not in UNITS:
            raise ScoresError(f"unit={self.unit!r}: choose one of {', '.join(UNITS)}")
        if table.empty:
            raise ScoresError("the table has no rows: an empty family")
        self._check_seeds(table)
        self._check_metrics(table)
        self._check_repeats(table)
        return table

    def _check_seeds(self, table: pd.DataFrame) -> None:
        for value in table[self.seed].tolist():
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ScoresError(
                    f"seed {value!r} in column {self.seed!r}: seeds are integers from 0 up"
                )

    def _check_metrics(self, table: pd.DataFrame) -> None:
        import pandas as pd

        names = self._metric_names(table)
        if not names:
            raise ScoresError("the table has no metric: every column is an axis or the seed")
        for name in names:
            column = table[name]
            if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
                example = next((v for v in column if isinstance(v, str)), column.iloc[0])
                raise ScoresError(
                    f"column {name!r} holds {example!r}, which is no score: name the column in "
                    "default if it is an axis, or drop it"
                )
            bad = column[~column.abs().lt(float("inf"))]
            if len(bad):
                raise ScoresError(
                    f"column {name!r} holds {bad.iloc[0]} in row {bad.index[0] + 1}: every "
                    "candidate needs a score"
                )
        if unknown := [name for name in self.n if name not in names]:
            raise ScoresError(f"n names {unknown[0]!r}, which is no metric of the table")

    def _check_repeats(self, table: pd.DataFrame) -> None:
        groups = table.groupby([*self.default, self.seed], sort=False)[self._metric_names(table)]
        spread = groups.max() - groups.min()
        for name in spread:
            worst = spread[name].idxmax()
            if spread[name].max() > ROUNDING:
                raise ScoresError(
                    f"candidate {worst!r} stands twice with different scores of {name!r}: "
                    "keep one row"
                )

    def _metric_names(self, table: pd.DataFrame) -> list[str]:
        return [str(column) for column in table if column not in (*self.default, self.seed)]

    def _configs(self, table: pd.DataFrame) -> list[Config]:
        axes = [table[axis].tolist() for axis in self.default]
        seeds = [int(seed) for seed in table[self.seed]]
        return (
            [
                Config(dict(zip(self.default, row, strict=True)), seed)
                for row, seed in zip(zip(*axes, strict=True), seeds, strict=True)
            ]
            if axes
            else [Config({}, seed) for seed in seeds]
        )


def _options(config: Config) -> dict[str, Any]:
    return {axis: option for axis, option in vars(config).items() if axis != "seed"}


def _kind(
    configurations: list[dict[str, Any]], default: dict[str, Any], axes: dict[str, tuple[Any, ...]]
) -> Kind:
    if all(sum(o[a] != default[a] for a in axes) <= 1 for o in configurations):
        return "star"
    size = 1
    for options in axes.values():
        size *= len(options)
    return "grid" if size == len(configurations) else "explicit"
