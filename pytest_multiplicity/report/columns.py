"""The columns of the funnel, once for the terminal, the page and markdown, which loop over them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pytest_multiplicity.findings import FamilyReport
from pytest_multiplicity.report.facts import Step

Cell = int | str
"""A count; or what stands for one: `?` where it can't be known, `(3)`, nothing."""
UNKNOWN = "?"
WITHHELD = "-"


@dataclass(frozen=True)
class Column:
    """One column, the specification's name left of it."""

    heading: str
    cell: Callable[[Step], Cell]
    shown: Callable[[FamilyReport], bool] = lambda family: True
    strong: bool = False
    """Whether it is what the eye should find first."""
    in_markdown: bool = True
    key: str = ""
    """Of what is counted, in the JSON report; "" for what is worked out here."""

    def stands_out(self, cell: Cell) -> bool:
        """Return whether this cell is to be emphasised."""
        return self.strong and cell != ""


def columns(family: FamilyReport, *, markdown: bool = False) -> list[Column]:
    """Return the columns that say something of this family."""
    return [each for each in COLUMNS if each.shown(family) and (each.in_markdown or not markdown)]


def is_nought(cell: Cell) -> bool:
    """Return whether nothing happened."""
    return cell in (0, "(0)")


def _kept(step: Step) -> Cell:
    if step.spec is None or not step.unforeseen:
        return step.kept
    if step.spec.would_reject is None:
        return WITHHELD
    kept = step.spec.judged - step.spec.would_reject
    return str(kept) if step.spec.judged else 0


def _rejected(step: Step) -> Cell:
    if not step.spec or not step.unforeseen:
        return step.rejected
    return WITHHELD if step.spec.would_reject is None else f"({step.spec.would_reject})"


def _alone(step: Step) -> Cell:
    if step.unforeseen:
        return ""
    return UNKNOWN if step.only_here is None else step.only_here


def _undecided(step: Step) -> Cell:
    return step.spec.undecided or 0 if step.spec else 0


def _screened(step: Step) -> Cell:
    return step.spec.screened if step.spec else 0


def _left(step: Step) -> Cell:
    return "" if step.left is None else str(step.left)


COLUMNS = (
    Column("kept", _kept, key="kept"),
    Column("rejected", _rejected, key="rejected"),
    Column("alone", _alone, key="only_here"),
    Column(
        "undecided",
        _undecided,
        shown=lambda family: any(spec.undecided for spec in family.specs),
        in_markdown=False,
        key="undecided",
    ),
    Column(
        "screened",
        _screened,
        shown=lambda family: any(spec.screened for spec in family.specs),
        key="screened",
    ),
    Column("left", _left, strong=True),
)
