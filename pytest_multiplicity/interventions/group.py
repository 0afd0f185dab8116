"""Accuracy on a group, and on the worst of several."""

from __future__ import annotations

import keyword
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from pytest_multiplicity.data import matching_rows
from pytest_multiplicity.errors import DataError, InterventionError
from pytest_multiplicity.interventions import checks
from pytest_multiplicity.interventions.base import SampleIntervention
from pytest_multiplicity.interventions.naming import call

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data

NAMED = 5  # groups that a message names before it counts the others


class SmallGroupWarning(UserWarning):
    """A group has fewer samples than `min_size` asks for."""


@dataclass(frozen=True, repr=False)
class Group(SampleIntervention):
    """The samples whose attributes match a pandas query: `Group("race == 'Asian'")`.

    Stands for fairness: accuracy for a minority (Ganesh, arXiv 2311.14859, section 3). Joined by
    `|`, groups intersect.

    Args:
        query: a condition on the data's attributes.
        min_size: warn where the group has fewer samples, since its accuracy then says little.

    Raises:
        InterventionError: the query is no text, or `min_size` is below 1.
        DataError: when measured, an attribute is missing or no sample matches.
    """

    query: str
    min_size: int = 1

    def __post_init__(self) -> None:
        if not (isinstance(self.query, str) and self.query.strip()):
            raise InterventionError(
                f"Group({self.query!r}): give a pandas query, as in Group(\"race == 'Asian'\")"
            )
        checks.count("Group", "min_size", self.min_size, least=1)

    @staticmethod
    def worst(*columns: str, min_size: int = 30) -> WorstGroup:
        """Return the group with the worst score among those that the columns' values make.

        `Group.worst("race", "gender")` looks at every intersection of the two. Groups of fewer
        than `min_size` samples are left out, with a warning.
        """
        return WorstGroup(columns, min_size)

    def rows(self, data: Data) -> Tensor:
        """Return the positions of the group's samples in `data`, at least one."""
        rows = matching_rows(data.attributes, self.query, data.name)
        self._warn_if_small(len(rows), data)
        return rows

    def restrict(self, data: Data) -> Data:
        """Return the group as a view of `data`."""
        group = data.where(self.query)
        self._warn_if_small(len(group), data)
        return group

    def _warn_if_small(self, size: int, data: Data) -> None:
        if size < self.min_size:
            warnings.warn(
                f"{self!r} has {size} of the {len(data):,} samples of {data.name!r}, fewer than "
                f"{self.min_size}: one sample is {100 / size:.3g} points of its accuracy",
                SmallGroupWarning,
                stacklevel=3,
            )


@dataclass(frozen=True, repr=False)
class WorstGroup(SampleIntervention):
    """The worst score among the groups that the values of columns make; see `Group.worst`.

    Stands for fairness: worst-group accuracy (Sagawa et al., arXiv 1911.08731). A sample with a
    missing value is in no group. It is a score over groups, and has no samples of its own.
    """

    columns: tuple[str, ...]
    min_size: int = 30

    def __post_init__(self) -> None:
        if not self.columns or not all(isinstance(column, str) for column in self.columns):
            raise InterventionError(
                f"{self!r}: name the attributes whose values make the groups, as in "
                "Group.worst('race', 'gender')"
            )
        checks.count("Group.worst", "min_size", self.min_size, least=1)

    def __repr__(self) -> str:
        changed = {} if self.min_size == 30 else {"min_size": self.min_size}
        return call("Group.worst", self.columns, changed)

    def restrict(self, data: Data) -> Data:
        """Return all samples: each of the groups has some of them, see `Chain.expand`."""
        return data

    def groups(self, data: Data) -> list[Group]:
        """Return the groups of at least `min_size` samples, in the order of the values.

        Raises:
            DataError: an attribute is missing, or no group is big enough.
        """
        sizes = self._sizes(data)
        groups = [Group(query) for query, size in sizes.items() if size >= self.min_size]
        small = [f"{query} ({n})" for query, n in sizes.items() if n < self.min_size]
        if not groups:
            raise DataError(
                f"{self!r}: none of the {len(sizes):,} groups of {data.name!r} has "
                f"{self.min_size} samples: {_some(small)}; lower min_size, or bin the values, as "
                "in attributes['decade'] = attributes['age'] // 10"
            )
        if small:
            warnings.warn(
                f"{self!r} leaves out {len(small)} groups of {data.name!r} with fewer than "
                f"{self.min_size} samples: {_some(small)}",
                SmallGroupWarning,
                stacklevel=2,
            )
        return groups

    def rows(self, data: Data) -> Tensor:
        """Raise an InterventionError: each of the groups has rows, see `Chain.expand`."""
        raise InterventionError(
            f"{self!r} is a score over groups and has no samples of its own: ask for the accuracy "
            "under it, or name one group, as in Group(\"race == 'Asian'\")"
        )

    def _sizes(self, data: Data) -> dict[str, int]:
        """Return the number of samples of every group, by its query."""
        columns = list(self.columns)
        frame = data.attributes
        missing = columns if frame is None else [c for c in columns if c not in frame.columns]
        if frame is None or missing:
            present = "none" if frame is None else ", ".join(map(repr, frame.columns))
            raise DataError(
                f"{self!r}: {data.name!r} has no attribute {', '.join(map(repr, missing))}; "
                f"there are {present}"
            )
        sizes = frame.groupby(columns, observed=True, sort=True).size()
        return {self._query(values): int(size) for values, size in sizes.items()}

    def _query(self, values: Any) -> str:
        together = values if isinstance(values, tuple) else (values,)
        pairs = zip(self.columns, together, strict=True)
        return " and ".join(f"{_column(name)} == {self._literal(value)}" for name, value in pairs)

    def _literal(self, value: Any) -> str:
        plain = value.item() if isinstance(value, np.generic) else value
        if not isinstance(plain, bool | int | float | str):
            raise DataError(
                f"{self!r}: {plain!r} is {type(plain).__name__}, which a query can't name: turn "
                "the attribute into text or numbers, as in .astype(str)"
            )
        return repr(plain)


def _column(name: str) -> str:
    plain = name.isidentifier() and not keyword.iskeyword(name)
    return name if plain else f"`{name}`"


def _some(items: list[str]) -> str:
    more = [f"and {len(items) - NAMED:,} more"] if len(items) > NAMED else []
    return ", ".join(items[:NAMED] + more)
