"""What reports are told of allocations: plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

RATE = "rate "


@dataclass(frozen=True)
class AllocationOf:
    """Whom one survivor chooses."""

    id: str
    qualified: int
    utility: float
    tied: int
    jaccard: float
    """The mean over the others; `nan` where there are none."""
    log_equal: float
    rates: Mapping[str, float]
    """Group -> the share of it that is chosen."""


@dataclass(frozen=True)
class AllocationFacts:
    """One question and its answer: who gets what `k` of some people can have."""

    data: str
    k: int
    by: str
    people: int
    qualified: int
    copies: int
    jaccard: float | None
    """The mean over pairs of survivors."""
    ever: int
    always: int
    unchosen: int
    """Qualified people whom no survivor chooses."""
    unchosen_expected: float
    unchosen_sd: float
    groups: Mapping[str, int]
    without: Sequence[str]
    """Groups of which nobody is chosen by anybody."""
    ties: str
    survivors: Sequence[AllocationOf]


def allocation_facts(data: str, frame: pd.DataFrame) -> AllocationFacts:
    """Return what `Survivors.allocations` found, as plain numbers."""
    names = [each for each in frame.columns if each.startswith(RATE)]
    common: dict[str, Any] = {"groups": {}, "without": []}
    common |= {str(name): value for name, value in frame.attrs.items()}
    del common["jaccards"]
    common["by"] = str(common["by"])
    survivors = [
        AllocationOf(
            id=str(id),
            qualified=int(row["qualified"]),
            utility=float(row["utility"]),
            tied=int(row["tied"]),
            jaccard=float(row["jaccard"]),
            log_equal=float(row["log_equal"]),
            rates={name.removeprefix(RATE): float(row[name]) for name in names},
        )
        for id, row in zip(frame.index, frame.to_dict("records"), strict=True)
    ]
    return AllocationFacts(data=data, survivors=survivors, **common)
