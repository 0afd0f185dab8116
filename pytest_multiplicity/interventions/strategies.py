"""Strategies for hypothesis: interventions to search the worst of.

    @given(shift=pm.strategies.corruptions())
    def test_common_corruptions(candidate, digits, shift):
        assert candidate.accuracy(digits.select, under=shift) >= 0.7

hypothesis is imported when a strategy is made, not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_multiplicity.data import kinds
from pytest_multiplicity.errors import InterventionError
from pytest_multiplicity.interventions.columns import columns_of
from pytest_multiplicity.interventions.columns import missing as emptied
from pytest_multiplicity.interventions.columns import shifted as moved
from pytest_multiplicity.interventions.columns import swapped as exchanged
from pytest_multiplicity.interventions.corrupt import Corrupt
from pytest_multiplicity.interventions.corruptions import CORRUPTIONS, SEVERITIES
from pytest_multiplicity.interventions.group import Group

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from pytest_multiplicity.data import Data


def severities() -> SearchStrategy[int]:
    """Draw a severity from 1 to 5; the smallest that fails is reported."""
    from hypothesis.strategies import integers

    return integers(min(SEVERITIES), max(SEVERITIES))


def corruptions(*names: str) -> SearchStrategy[Corrupt]:
    """Draw one of the named corruptions, all of them by default, at a severity from 1 to 5.

    Raises:
        InterventionError: there is no corruption of a name.
    """
    from hypothesis.strategies import builds, sampled_from

    for name in names:
        Corrupt(name, severity=1)
    return builds(_corrupt, sampled_from(names or sorted(CORRUPTIONS)), severities())


def groups(data: Data, *columns: str, min_size: int = 30) -> SearchStrategy[Group]:
    """Draw one of the groups that the values of columns make in `data`; see `Group.worst`.

    Raises:
        DataError: an attribute is missing, or no group has `min_size` samples.
    """
    from hypothesis.strategies import sampled_from

    return sampled_from(Group.worst(*columns, min_size=min_size).groups(data))


def shifted(data: Data, *columns: str, most: float = 1.0) -> SearchStrategy[Corrupt]:
    """Draw a shift of one column of numbers, the same for all rows.

    Args:
        data: whose inputs are a DataFrame.
        columns: among which one is drawn; all of numbers by default.
        most: the largest shift, up or down, in standard deviations of the column.

    Raises:
        InterventionError: the inputs are no frame, or have no such column of numbers.
    """
    from hypothesis.strategies import floats, sampled_from, tuples

    spreads = {name: data.source.spreads[name] for name in columns_of(data, columns, numeric=True)}
    drawn = tuples(sampled_from(list(spreads)), floats(-most, most))
    return drawn.map(lambda pair: Corrupt(moved, column=pair[0], by=pair[1] * spreads[pair[0]]))


def swapped(data: Data, *columns: str) -> SearchStrategy[Corrupt]:
    """Draw two values of one column that change places, such as "own" and "rent".

    Args:
        data: whose inputs are a DataFrame.
        columns: among which one is drawn; by default those of text, categories and bools.

    Raises:
        InterventionError: the inputs are no frame, or have no such column of several values.
    """
    from hypothesis.strategies import permutations, sampled_from

    frame = columns_of(data, columns)
    plain = frame if columns else frame.drop(columns=kinds.numeric(frame))
    values = {name: plain[name].dropna().unique().tolist() for name in plain}
    several = {name: found for name, found in values.items() if len(found) > 1}
    if not several:
        raise InterventionError(
            f"no column of {', '.join(map(repr, frame))} of {data.name!r} has two values to swap"
        )

    def pairs(name: Any) -> SearchStrategy[Corrupt]:
        return permutations(several[name]).map(
            lambda order: Corrupt(exchanged, column=name, one=order[0], other=order[1])
        )

    return sampled_from(list(several)).flatmap(pairs)


def missing(data: Data, *columns: str) -> SearchStrategy[Corrupt]:
    """Draw a column whose values are all missing.

    Args:
        data: whose inputs are a DataFrame.
        columns: among which one is drawn; all by default.

    Raises:
        InterventionError: the inputs are no frame, or have no such column.
    """
    from hypothesis.strategies import sampled_from

    names = list(columns_of(data, columns))
    return sampled_from(names).map(lambda name: Corrupt(emptied, column=name))


def _corrupt(name: str, severity: int) -> Corrupt:
    return Corrupt(name, severity=severity)
