"""What is reachable: three numbers beside each other, and the most contested samples."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from pytest_multiplicity.findings import FamilyReport, ReachedFacts
from pytest_multiplicity.report import reachable
from pytest_multiplicity.report.terminal.page import (
    BOLD,
    DIM,
    WIDE,
    Page,
    add,
    calm_table,
    indented,
)
from pytest_multiplicity.report.text import DASH


def block(page: Page, family: FamilyReport) -> RenderableType | None:
    """Return what gates asked; nothing where none did."""
    parts = [part for each in family.reachable for part in _one(page, each)]
    parts += extremes(page, family) if family.extremes else []
    return Group(*parts) if parts else None


def extremes(page: Page, family: FamilyReport) -> list[RenderableType]:
    """Return the worst and the best model as good that gates asked for, as a table."""
    table = calm_table(page, reachable.EXTREMES[0])
    kept = reachable.EXTREMES[1:] if page.width >= WIDE else reachable.EXTREMES[1:4]
    for heading in kept:
        table.add_column(heading, justify="right", overflow="fold")
    for first, *rest in reachable.extremes(family.extremes, page.glyph(DASH, "-")):
        add(table, page.name(first, 200), *(page.name(each, 40) for each in rest[: len(kept)]))
    legend = Text(page.prose(reachable.EXTREMES_LEGEND), DIM)
    return [page.title("the worst and the best model as good"), indented(table), indented(legend)]


def extreme_lines(page: Page, family: FamilyReport) -> list[RenderableType]:
    """Return a line for each of them: what it is about, its value, and those of the survivors."""
    told = []
    for what, value, survivors, *_ in reachable.extremes(family.extremes, page.glyph(DASH, "-")):
        said = Text.assemble(page.name(what, 200), "  ", (value, BOLD))
        told.append(said.append(f", survivors have {survivors}", DIM))
    return [page.title("nobody trained, as good"), *map(indented, told)] if told else []


def numbers(page: Page, reached: ReachedFacts) -> RenderableType:
    """Return the three numbers beside each other, with their words."""
    lines = [
        indented(Text.assemble((value.rjust(7), BOLD), f"  {words}"))
        for value, words in reachable.three(reached)
    ]
    return Group(page.title(page.name(reachable.title(reached))), *lines)


def _one(page: Page, reached: ReachedFacts) -> list[RenderableType]:
    told = [*reachable.notes(reached), f"points below the best: {reachable.curve(reached)}"]
    notes = [indented(Text(page.prose(each), DIM)) for each in (*told, reachable.LEGEND)]
    blocks: list[RenderableType] = [numbers(page, reached)]
    if rows := reachable.rows(reached):
        wide = page.width >= WIDE
        table = calm_table(page, reachable.HEADINGS[0])
        kept = reachable.HEADINGS[1:] if wide else reachable.HEADINGS[1:5]
        for heading in kept:
            table.add_column(heading, justify="right", overflow="fold")
        for first, *rest in rows:
            add(table, first, *(page.name(each, 24) for each in rest[: len(kept)]))
        blocks.append(indented(table))
        rest_of = round(reached.share * reached.samples) - len(rows)
        notes = [indented(Text(f"and {rest_of} more", DIM))] * (rest_of > 0) + notes
    return [*blocks, *notes]
