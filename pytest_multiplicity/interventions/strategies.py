"""Strategies for hypothesis: interventions to search the worst of.

    @given(shift=pm.strategies.corruptions())
    def test_common_corruptions(candidate, digits, shift):
        assert candidate.accuracy(digits.select, under=shift) >= 0.7

hypothesis is imported when a strategy is made, not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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


def _corrupt(name: str, severity: int) -> Corrupt:
    return Corrupt(name, severity=severity)
