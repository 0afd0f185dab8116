"""Comparisons that hold or fail only where the data decide (STATISTICS: exact binomial, Tango).

The procedures are in ``multiplicity/doubt.py``; here they meet a score, and what is undecided is
handed to whoever judges.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING

from pytest_multiplicity.multiplicity.doubt import Decision, Verdict

if TYPE_CHECKING:
    pass


def _keep(reason: str) -> bool:
    """Outside a spec nobody judges: an undecided comparison holds."""
    return True


JUDGE: ContextVar[Callable[[str], bool]] = ContextVar("JUDGE", default=_keep)
"""Told why a comparison is undecided, answers whether the candidate is kept."""


class Doubted:
    """The result of a comparison beyond doubt; its truth value is the verdict."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict

    def __bool__(self) -> bool:
        if self.verdict.decision is Decision.UNDECIDED:
            return JUDGE.get()(self.verdict.reason)
        return self.verdict.decision is Decision.KEEP

    def __repr__(self) -> str:
        return f"{self.verdict.decision.value}: {self.verdict.reason}"
