"""A family made from a table of answers that were given elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytest_multiplicity.design.config import Config
from pytest_multiplicity.design.definition import Built
from pytest_multiplicity.design.design import Design
from pytest_multiplicity.design.recorded import Recorded
from pytest_multiplicity.design.tables import read_table
from pytest_multiplicity.errors import ScoresError

if TYPE_CHECKING:
    import pandas as pd

CANDIDATE = "candidate"  # the axis of a table with a column per candidate
_SAID = "what it said"
_METRIC = "answers are no metric"

Probabilities = bool | str | Sequence[str] | Mapping[Any, str] | None


@dataclass(frozen=True)
class Told:
    """What one candidate said: a row per sample, known by `ids`."""

    ids: tuple[Any, ...]
    said: pd.DataFrame
    """One column of labels or values, or columns of probabilities."""
    probabilities: bool
    classes: tuple[Any, ...] | None
    """Of the columns, where that was said."""
    names: tuple[str, ...] = ()
    """What any candidate of the table said, where that is text."""


@dataclass(frozen=True)
class AnswerTable:
    """Answers by sample and candidate: a row for each pair, or a column per candidate.

    See `pm.answers` for the arguments. `where` is `file:line` of the call.
    """

    table: Any
    default: Mapping[str, Any] | None
    id: str
    candidate: str | None
    predict: str | Sequence[str] | None
    probabilities: Probabilities
    seed: str
    task: str | None
    where: str

    def design(self, seeds: int | None = None) -> Design:
        """Return the candidates in the table; `seeds` keeps the first so many seeds."""
        options, frame = self._family
        known = frame[[*options, self.seed]].drop_duplicates().assign(**{_METRIC: 0.0})
        return Recorded(known, options, self.seed, "fraction", {}, self.where).design(seeds)

    def told(self, config: Config) -> Told:
        """Return what a candidate said. Raises ScoresError for a sample that stands twice."""
        options, _ = self._family
        rows = self._rows[*(getattr(config, axis) for axis in options), config.seed]
        ids = rows[self.id].tolist()
        if len(set(ids)) < len(ids):
            twice = next(each for each in ids if ids.count(each) > 1)
            raise ScoresError(
                f"sample {twice!r} stands {ids.count(twice)} times for one candidate of the table "
                f"({config}): keep one row for each sample and candidate"
            )
        columns, classes = self._columns
        said = rows[list(columns)].reset_index(drop=True)
        return Told(tuple(ids), said, bool(self.probabilities), classes, self._names)

    @cached_property
    def _rows(self) -> dict[tuple[Any, ...], pd.DataFrame]:
        options, frame = self._family
        keys = [*options, self.seed]
        found = {}
        for _, rows in frame.groupby(keys, sort=False, dropna=False):
            first = rows.iloc[[0]]
            own = tuple(first[axis].tolist()[0] for axis in keys)  # builtins, as configs hold them
            found[own] = rows
        return found

    @cached_property
    def _given(self) -> pd.DataFrame:
        table = read_table(self.table, self.where, "answers")
        if table.empty:
            raise ScoresError("the table of answers has no rows: an empty family")
        if self.id not in table.columns:
            raise ScoresError(
                f"the table of answers has no column {self.id!r}, which id= names; it has "
                f"{', '.join(map(str, table))}"
            )
        return table

    @property
    def _is_long(self) -> bool:
        return self.candidate is not None or any(
            axis in self._given.columns for axis in self.default or {}
        )

    @cached_property
    def _family(self) -> tuple[dict[str, Any], pd.DataFrame]:
        """Return the default configuration, and a row for each candidate and sample."""
        table = self._given if self._is_long else self._melted
        options = dict(self.default or {})
        if not options:
            axis = self.candidate or CANDIDATE
            options = {axis: table[axis].tolist()[0]} if axis in table.columns else {axis: None}
        wanted = [*options, *([self.candidate] if self.candidate else [])]
        if missing := [axis for axis in wanted if axis not in table.columns]:
            raise ScoresError(
                f"the table of answers has no column {missing[0]!r}; it has "
                f"{', '.join(map(str, self._given))}"
            )
        if self.seed not in table.columns:
            table = table.assign(**{self.seed: self._reruns(table, options)})
        return options, table

    def _reruns(self, table: pd.DataFrame, options: Mapping[str, Any]) -> Any:
        """Return seeds: candidates of one configuration are its reruns, in their order."""
        if self.candidate is None or self.candidate in options:
            return 0
        groups = table.groupby(list(options), sort=False)[self.candidate]
        return groups.transform(
            lambda names: names.map({n: i for i, n in enumerate(names.unique())})
        )

    @property
    def _melted(self) -> pd.DataFrame:
        """Return a table with a column per candidate as one with a row per candidate."""
        chosen = self.predict if self.predict is not None else self.probabilities
        if isinstance(chosen, str):
            chosen = [chosen]
        listed = None if chosen is None or isinstance(chosen, bool) else list(chosen)
        names = listed or [each for each in self._given if each != self.id]
        if missing := [name for name in names if name not in self._given.columns]:
            raise ScoresError(
                f"the table of answers has no column {missing[0]!r}; it has "
                f"{', '.join(map(str, self._given))}"
            )
        axis = next(iter(self.default or {}), CANDIDATE)
        parts = [
            self._given[[self.id]].assign(**{axis: str(name), _SAID: self._given[name]})
            for name in names
        ]
        import pandas as pd

        return pd.concat(parts, ignore_index=True)

    @cached_property
    def _columns(self) -> tuple[tuple[str, ...], tuple[Any, ...] | None]:
        """Return the columns that hold answers, and the classes that they are about."""
        if not self._is_long:
            return (_SAID,), None
        options, frame = self._family
        if isinstance(self.probabilities, Mapping):
            columns = tuple(self.probabilities.values())
            return self._checked(columns), tuple(self.probabilities)
        if isinstance(self.probabilities, str):
            return self._checked((self.probabilities,)), None
        if self.probabilities and not isinstance(self.probabilities, bool):
            return self._checked(tuple(self.probabilities)), None
        if isinstance(self.predict, str):
            return self._checked((self.predict,)), None
        others = {self.id, self.seed, self.candidate, *options}
        left = tuple(str(each) for each in frame if each not in others)
        if len(left) != 1:
            raise ScoresError(
                f"which column of the table holds the answers? Say predict= or probabilities=; "
                f"there are {', '.join(left) or 'none left'}"
            )
        return left, None

    @cached_property
    def _names(self) -> tuple[str, ...]:
        columns, _ = self._columns
        said = self._family[1][columns[0]]
        return tuple(sorted({each for each in said.tolist() if isinstance(each, str)}))

    def _checked(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        if missing := [each for each in columns if each not in self._given.columns]:
            raise ScoresError(
                f"the table of answers has no column {missing[0]!r}; it has "
                f"{', '.join(map(str, self._given))}"
            )
        return columns


def _ranks(names: pd.Series[Any]) -> dict[Any, int]:
    return {name: rank for rank, name in enumerate(names.unique())}


@dataclass(frozen=True)
class Answered(Built):
    """A family whose candidates are read from a table of their answers."""

    table: AnswerTable | None = None

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """Recorded candidates need no fixture."""
        return ()

    @property
    def takes_seeds(self) -> bool:
        """Whether more can be had than the table holds: no."""
        return False

    @property
    def where(self) -> str:
        """`file:line` of the call."""
        assert self.table is not None
        return self.table.where

    def design(self, seeds: int | None = None) -> Design:
        """Return the candidates, read once per value of `seeds`."""
        assert self.table is not None
        if seeds not in self._designs:
            self._designs[seeds] = self.table.design(seeds)
        return self._designs[seeds]
