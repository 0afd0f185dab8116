"""What stands behind a score that is no mean over samples: its own interval and floor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


class Behind(Protocol):
    """Knows how sure the scores of one metric are, candidate by candidate."""

    def interval(self, index: int, confidence: float) -> tuple[float, float]:
        """Return the two-sided interval of one candidate's score."""

    def limits(self, index: int, level: float) -> tuple[float, float]:
        """Return limits of which each is wrong at most at a level: see `beyond_doubt`."""

    def record(self) -> Mapping[str, Any]:
        """Return what reports say beside the scores, as builtins."""


@dataclass(frozen=True)
class JoinedBehind:
    """What is behind the scores of a family, and of one model that stands after these."""

    family: Behind
    own: Behind
    count: int
    """How many candidates the family has."""

    def interval(self, index: int, confidence: float) -> tuple[float, float]:
        """Return the two-sided interval of one score."""
        if index == self.count:
            return self.own.interval(0, confidence)
        return self.family.interval(index, confidence)

    def limits(self, index: int, level: float) -> tuple[float, float]:
        """Return limits of which each is wrong at most at a level."""
        own = index == self.count
        return self.own.limits(0, level) if own else self.family.limits(index, level)

    def record(self) -> Mapping[str, Any]:
        """Return what reports say of the family."""
        return self.family.record()
