"""What reports say of groups that are behind in several respects, worked out once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_multiplicity.findings import CascadeFacts

LEGEND = (
    "a cell is how far the group's accuracy lies from that of everybody else, in points: from the "
    "candidate that serves it worst to the one that serves it best; behind: below 0 beyond doubt"
)


@dataclass(frozen=True)
class Cell:
    """A group in one respect: where its least and its largest gap stand among the rows."""

    least: int
    most: int
    behind: int
    """For how many candidates it is behind."""
    of: int


def title(each: CascadeFacts) -> str:
    """Return `Behind in several respects: people by town`."""
    return f"Behind in several respects: {each.data} by {', '.join(each.groups)}"


def gist(each: CascadeFacts) -> str:
    """Return who is behind, whoever is picked, or for some picks."""
    always, some = list(each.behind), list(each.behind_for_some)
    if always:
        return f"{', '.join(always[:4])}: behind whichever survivor ships"
    if some:
        return f"{', '.join(some[:4])}: behind for some of the survivors"
    return "nobody is behind in two respects or more"


def respects(each: CascadeFacts) -> Sequence[str]:
    """Return the respects, as it is first."""
    return list(dict.fromkeys(row.under for row in each.rows))


def table(each: CascadeFacts) -> dict[str, list[Cell]]:
    """Return group -> a cell per respect."""
    places: dict[tuple[str, str], list[int]] = {}
    for index, row in enumerate(each.rows):
        places.setdefault((row.group, row.under), []).append(index)
    return {
        group: [_cell(each, places[group, under]) for under in respects(each)]
        for group in dict.fromkeys(row.group for row in each.rows)
    }


def _cell(each: CascadeFacts, places: Sequence[int]) -> Cell:
    ordered = sorted(places, key=lambda index: each.rows[index].gap)
    behind = sum(each.rows[index].behind for index in places)
    return Cell(ordered[0], ordered[-1], behind, len(places))
