"""The funnel: what each spec did to the candidates, in order."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pytest_multiplicity.findings import FamilyReport, SpecReport
from pytest_multiplicity.report import facts
from pytest_multiplicity.report.columns import Column, columns, is_nought
from pytest_multiplicity.report.terminal.page import (
    BOLD,
    DIM,
    WIDE,
    Page,
    add,
    calm_table,
    indented,
    listed,
)

NARROW = 72
"""From this width on bars have room too."""


def block(page: Page, family: FamilyReport) -> RenderableType | None:
    """Return each spec in order, and remarks on them; nothing where there is none."""
    steps = facts.funnel(family)
    if not family.specs and not steps:
        return None
    found = table(page, family, (*steps, *facts.unforeseen(family)))
    return Group(found, *_redundant(page, family.specs), *remarks(page, family.specs))


def table(page: Page, family: FamilyReport, steps: Sequence[facts.Step]) -> Table:
    """Return a line for each step: kept, rejected, rejected alone, and how many are left."""
    table = calm_table(page, "specification")
    shown = columns(family)
    for column in shown:
        table.add_column(column.heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for step in steps:
        cells = [_cell(page, column, step) for column in shown]
        bar = _bar(page, step.left or 0, len(family.candidates))
        last, style = ("unforeseen", DIM) if step.unforeseen else (bar, "")
        add(table, page.name(step.name), *cells, last, style=style)
    return table


def _cell(page: Page, column: Column, step: facts.Step) -> Text:
    """Return a nought is a dot, so that what happened stands out."""
    cell = column.cell(step)
    text = page.glyph("·", ".") if is_nought(cell) else str(cell)
    return Text(text, BOLD if column.stands_out(cell) else "")


def _bar(page: Page, part: int, whole: int) -> Text:
    length = 24 if page.width >= WIDE else 12 if page.width >= NARROW else 0
    filled = round(length * part / whole) if whole else 0
    full, empty = page.glyph("━", "#"), page.glyph("─", ".")
    return Text.assemble((full * filled, "cyan"), (empty * (length - filled), DIM))


def _redundant(page: Page, specs: Sequence[SpecReport]) -> list[RenderableType]:
    """Return which specs others make superfluous, in a sentence."""
    names = [page.name(spec.name, 40) for spec in specs if spec.redundant]
    each = "each rejects" if len(names) > 1 else "rejects"
    said = f"{listed(names)}: {each} nobody that others don't reject too"
    return [indented(Text(said, DIM))] if names else []


def remarks(page: Page, specs: Sequence[SpecReport]) -> list[RenderableType]:
    """Return what a reader must know of the funnel, a sentence each."""
    said = []
    for spec in specs:
        if others := [page.name(name, 40) for name in spec.conflicts_with if name > spec.name]:
            said.append(f"{page.name(spec.name, 40)} with {listed(others)}: nobody is left")
    if any(spec.only_here is None for spec in specs):
        said.append("?: others did not judge them all; screened: not judged, rejected before")
    if any(spec.would_reject for spec in specs):
        said.append("(n): would have rejected n, had it been enforced")
    failed = [f"{page.name(spec.name, 40)} {spec.failed}" for spec in specs if spec.failed]
    if failed:
        said.append(f"errors and skips: {listed(failed)}")
    return [indented(Text(remark, DIM)) for remark in said]
