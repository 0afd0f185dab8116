"""What stands beside scores in the model of the run: gaps between groups and their floors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class GapOf:
    """One candidate's gap."""

    id: str
    low: float | None
    """Of the interval that holds for all pairs of groups; None where it wasn't asked for."""
    high: float | None
    floor: float
    """The gap that drawing membership at random would make, on average."""
    floor_95: float
    p_value: float
    """How often it would make a gap this large."""
    lowest: str
    """The group with the smallest rate."""
    highest: str


@dataclass(frozen=True, kw_only=True)
class GapReport:
    """What is known of a gap, or a ratio, beside its sheet."""

    kind: Literal["gap", "ratio"]
    null: str
    """What the floor supposes: `no gap given the target`, `group and answer independent`."""
    groups: Mapping[str, int]
    """Group -> how many samples of it are counted."""
    floor: float | None
    """Mean over the candidates of what drawing membership at random would make."""
    floor_95: float | None
    beyond: int
    """Candidates whose gap chance alone makes less than 5 times in 100."""
    candidates: Sequence[GapOf] = field(default_factory=tuple)


def gap_report(aside: Mapping[str, Any] | None, ids: Sequence[str]) -> GapReport | None:
    """Return what a metric says of its groups; None for one that is no gap."""
    if aside is None or aside.get("kind") not in ("gap", "ratio"):
        return None
    each = aside["candidates"]
    found = [GapOf(id=ids[int(index)], **each[index]) for index in sorted(each, key=int)]
    return GapReport(**{**aside, "candidates": found})
