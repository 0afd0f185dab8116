"""What reports are told of models that nobody trained: plain numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

ROUNDING = 1e-9  # shares differ by 1/n or not at all
MOST_CONTESTED = 100  # samples that are listed


@dataclass(frozen=True)
class Contested:
    """A sample, by its position, and the model that answers it otherwise."""

    row: int
    said: str
    """What the best survivor says."""
    to: str
    cost: float
    score: float
    fresh: float
    base: str


@dataclass(frozen=True)
class ReachedFacts:
    """One question and its answer: shares of samples, in [0, 1]."""

    data: str
    select: str
    within: float
    how: str
    specs: bool
    """Whether every enforced specification keeps the models, too."""
    loss: str
    by: str
    samples: int
    arbitrary: float
    share: float
    """Of all samples, those that are reachable."""
    as_good: float
    """Of all samples, those that are reachable within 0. With `specs` at least that."""
    cost: float | None
    """The median of the loss that turning a sample takes."""
    best: float
    """The best survivor's score on `select`."""
    fresh: tuple[float, float, float] | None
    """The models' scores on the data themselves: least, mean, largest."""
    fresh_base: float
    """The best survivor's there."""
    curve: tuple[tuple[float, float], ...]
    """How much worse than the best survivor -> the share that models turn which are no worse.

    Between the ends at least that: the cheapest models were built, not the best.
    """
    contested: Sequence[Contested]
    """The samples that are reachable, the cheapest first."""


@dataclass(frozen=True)
class ExtremeFacts:
    """The worst or the best model as good that was found, and what survivors have beside it."""

    id: str
    """As in the export."""
    end: str
    """`worst` or `best`."""
    of: str
    """What it has most or least of: `churn`, or a measure."""
    against: str | None
    """From whom churn is counted."""
    data: str
    select: str
    within: float
    percent: bool
    """Whether values are shares."""
    value: float
    survivors: tuple[float, float]
    """The least and the largest value among survivors."""
    score: float
    """On `select`, with that of the best survivor."""
    best: float
    fresh: float
    """On the data themselves, with that of the best survivor."""
    fresh_base: float
    base: str
    """The survivor it was built from."""
    specs: bool = False
    """Whether every enforced specification keeps the model, too."""


def of_samples(frame: pd.DataFrame, best: float, within: float, as_good: float) -> dict[str, Any]:
    """Return what of the facts is made of the samples alone; `best` is a survivor's score."""
    there = frame[frame.reachable]
    fresh = there.fresh.to_numpy(dtype=float)
    curve = _curve(frame, best, within, as_good)
    return {
        "samples": len(frame),
        "arbitrary": float(frame.arbitrary.mean()),
        "share": float(frame.reachable.mean()),
        "as_good": as_good,
        "cost": float(there.cost.median()) if len(there) else None,
        "fresh": tuple(map(float, (fresh.min(), fresh.mean(), fresh.max())))
        if len(fresh)
        else None,
        "curve": curve,
    }


def _curve(
    frame: pd.DataFrame, best: float, within: float, as_good: float
) -> tuple[tuple[float, float], ...]:
    """Return, for tenths of the budget, the share whose built model is as good as that.

    At the ends it is what was searched for, between them at least that.
    """
    import numpy as np  # which reports can do without

    short = best - frame.score.to_numpy(dtype=float)
    steps = np.linspace(0, within, 11) if within else np.zeros(1)
    known = [float((short <= step + ROUNDING).mean()) for step in steps]  # nan never is
    shares = [max(each, as_good) for each in known]
    return tuple(zip(steps.tolist(), shares, strict=True))


def contested(frame: pd.DataFrame, said: Callable[[int], str]) -> list[Contested]:
    """Return the samples that take the least, with what the best survivor says of each."""
    import numpy as np  # which reports can do without

    cost = frame.cost.to_numpy(dtype=float)
    first = np.argsort(cost, kind="stable")[: min(MOST_CONTESTED, int(frame.reachable.sum()))]
    return [
        Contested(
            row=row,
            said=said(row),
            to=str(frame.to[row]),
            cost=float(cost[row]),
            score=float(frame.score[row]),
            fresh=float(frame.fresh[row]),
            base=str(frame.base[row]),
        )
        for row in first.tolist()
    ]
