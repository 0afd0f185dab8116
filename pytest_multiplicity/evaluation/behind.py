"""What stands behind a score that is no mean over samples: its own interval and floor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Behind(Protocol):
    """Knows how sure the scores of one metric are, candidate by candidate."""

    def interval(self, index: int, confidence: float) -> tuple[float, float]:
        """Return the two-sided interval of one candidate's score."""

    def record(self) -> Mapping[str, Any]:
        """Return what reports say beside the scores, as builtins."""
