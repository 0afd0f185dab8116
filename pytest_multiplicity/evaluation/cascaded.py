"""What reports are told of groups that are behind in several respects: plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CascadeOf:
    """A group beside everybody else, in one respect, as one candidate serves them."""

    candidate: str
    group: str
    under: str
    """The respect: an intervention, `as it is`, `membership privacy`."""
    samples: int
    score: float
    rest: float
    gap: float
    low: float
    """With `high` an interval; all intervals of a cascade hold together."""
    high: float
    behind: bool


@dataclass(frozen=True)
class CascadeFacts:
    """One question and its answer: which groups are behind, and in what."""

    data: str
    groups: Sequence[str]
    """The attributes whose values are groups."""
    behind: Mapping[str, Sequence[str]]
    """Group -> two respects or more in which it is behind, whichever candidate is asked."""
    behind_for_some: Mapping[str, Sequence[str]]
    """The same of at least one candidate."""
    rows: Sequence[CascadeOf]


def cascade_facts(attrs: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> CascadeFacts:
    """Return what `cascade` found, as plain numbers."""
    kinds = {"samples": int, "behind": bool, "candidate": str, "group": str, "under": str}
    plain = [{name: kinds.get(name, float)(each) for name, each in row.items()} for row in rows]
    return CascadeFacts(
        data=str(attrs["data"]),
        groups=list(map(str, attrs["groups"])),
        behind=attrs["behind"],
        behind_for_some=attrs["behind_for_some"],
        rows=[CascadeOf(**row) for row in plain],
    )
