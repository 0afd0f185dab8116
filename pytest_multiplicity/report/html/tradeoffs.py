"""Two metrics against each other, and the survivors that no other beats in both.

A mark per candidate, its form the option of an axis, as in Ganesh et al., Different Horses for
Different Courses (2024), figures 2 to 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from pytest_multiplicity.findings import CandidateReport, FamilyReport, SheetPair, known
from pytest_multiplicity.report.html import limits
from pytest_multiplicity.report.html.glyphs import place_of
from pytest_multiplicity.report.text import brief

WIDTH, HEIGHT = 300, 190
MARKS = (
    "M3.6 0a3.6 3.6 0 1 1-7.2 0a3.6 3.6 0 1 1 7.2 0z",
    "M-3.2-3.2h6.4v6.4h-6.4z",
    "M0-4l4 7h-8z",
    "M0-4.4l4.4 4.4l-4.4 4.4l-4.4-4.4z",
    "M-4-3h8l-4 7z",
    "M-1.3-4h2.6v2.7h2.7v2.6h-2.7v2.7h-2.6v-2.7h-2.7v-2.6h2.7z",
    "M-2-3.5h4l2 3.5l-2 3.5h-4l-2-3.5z",
    "M-4 0a4 4 0 0 1 8 0v3h-8z",
)
"""In a box of 10 around the middle; the options beyond them have the last."""


@dataclass(frozen=True)
class Point:
    """A candidate."""

    x: float
    y: float
    place: int
    """In the family."""
    survives: bool
    options: Sequence[int]
    """Which option of each axis it has."""


@dataclass(frozen=True)
class TradeOff:
    """One picture: where all candidates lie, and the front of the survivors."""

    x: int
    y: int
    """The positions of the two sheets in the family."""
    points: Sequence[Point]
    front: str
    """A path."""
    sees: str


@dataclass(frozen=True)
class TradeOffs:
    """All pictures of a family, and what their marks mean."""

    plots: Sequence[TradeOff]
    axes: Sequence[tuple[str, Sequence[Any]]]
    """Axes with their options, those told apart."""
    first: int
    """The axis that is marked at first: the one that tells most."""


def drawn(family: FamilyReport, selecting: tuple[int, SheetPair] | None) -> TradeOffs | None:
    """Return the metric that chose against those in which survivors differ most; None of one."""
    spread = [i for i, pair in enumerate(family.sheets) if (pair.before.delta_all or 0.0) > 0]
    chosen = selecting[0] if selecting else None
    if chosen not in spread:
        chosen = spread[0] if spread else None
    others = sorted((i for i in spread if i != chosen), key=lambda i: -_size(family.sheets[i]))
    if chosen is None or not others:
        return None
    plots = [_plot(family, chosen, other) for other in others[: limits.TRADE_OFFS]]
    plots = [each for each in plots if each.points]
    if not plots:
        return None
    axes = [(axis, options[: len(MARKS)]) for axis, options in family.axes.items()]
    telling = [_told(family, axis, others[0]) for axis in family.axes]
    first = telling.index(max(telling)) if telling else 0
    return TradeOffs(plots, axes, first)


def _size(pair: SheetPair) -> float:
    """Return by how much survivors differ, shares before what has a unit of its own."""
    size = pair.after.delta_all if known(pair.after.delta_all) else 0.0
    return size + 1 if pair.percent else 0.0


def _plot(family: FamilyReport, x: int, y: int) -> TradeOff:
    across, up = family.sheets[x], family.sheets[y]
    shown = [
        (place, each, each.scores.get(across.metric), each.scores.get(up.metric))
        for place, each in enumerate(family.candidates[: limits.CANDIDATES])
    ]
    points = [
        Point(
            _scaled(a, across, WIDTH),
            HEIGHT - _scaled(b, up, HEIGHT),
            place,
            each.status == "survivor",
            [min(place_of(family, axis, each.config), len(MARKS) - 1) for axis in family.axes],
        )
        for place, each, a, b in shown
        if known(a) and known(b)
    ]
    best = front(family.survivors, across, up)
    steps = [(each.scores[across.metric], each.scores[up.metric]) for each in best]
    line = [
        f"{_scaled(a, across, WIDTH):.4g},{HEIGHT - _scaled(b, up, HEIGHT):.4g}" for a, b in steps
    ]
    path = "M" + "L".join(line) if len(line) > 1 else ""
    return TradeOff(x, y, points, path, _sees(best, across, up, len(family.survivors)))


def front(
    survivors: Sequence[CandidateReport], x: SheetPair, y: SheetPair
) -> list[CandidateReport]:
    """Return those that no other beats in one metric and equals in the other, best in `x` first.

    Of several with equal scores in both the first.
    """
    signs = [1 if pair.higher_is_better else -1 for pair in (x, y)]
    known_in_both = [
        (-signs[0] * a, -signs[1] * b, place)
        for place, each in enumerate(survivors)
        if known(a := each.scores.get(x.metric)) and known(b := each.scores.get(y.metric))
    ]
    kept, least = [], float("inf")
    for _, up, place in sorted(known_in_both):
        if up < least:
            kept.append(survivors[place])
            least = up
    return kept


def _scaled(value: float | None, pair: SheetPair, size: int) -> float:
    low, high = pair.before.low, pair.before.high
    if not (known(value) and known(low) and known(high)) or high <= low:
        return size / 2
    return round(size * (value - low) / (high - low), 1)


def _sees(best: Sequence[CandidateReport], x: SheetPair, y: SheetPair, count: int) -> str:
    """Return what the front says: one that is best in both, or what is traded."""
    if not best:
        return "no survivor has both"
    if len(best) == 1:
        return f"{best[0].id} is the best survivor in both: nothing is traded"
    first, last = best[0], best[-1]
    return (
        f"{len(best)} of {count} survivors are on the front, from {first.id} "
        f"({_pair(first, x, y)}) to {last.id} ({_pair(last, x, y)})"
    )


def _pair(each: CandidateReport, x: SheetPair, y: SheetPair) -> str:
    return ", ".join(
        brief(each.scores[pair.metric], percent=pair.percent, least=1) for pair in (x, y)
    )


def _told(family: FamilyReport, axis: str, position: int) -> float:
    """Return the share of a metric's variance that lies between the options of an axis."""
    groups: dict[int, list[float]] = {}
    for option, score in _by_option(family, axis, family.sheets[position].metric):
        groups.setdefault(option, []).append(score)
    everybody = [score for group in groups.values() for score in group]
    mean = fmean(everybody)
    total = sum((score - mean) ** 2 for score in everybody)
    between = sum(len(group) * (fmean(group) - mean) ** 2 for group in groups.values())
    return between / total if total else 0.0


def _by_option(family: FamilyReport, axis: str, metric: str) -> Iterator[tuple[int, float]]:
    for each in family.candidates:
        score = each.scores.get(metric)
        if known(score):
            yield place_of(family, axis, each.config), score
