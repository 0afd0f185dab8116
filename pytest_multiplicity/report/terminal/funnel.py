"""The funnel: what each spec did to the candidates, in order."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from pytest_multiplicity.findings import FamilyReport, SpecReport
from pytest_multiplicity.report import facts
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
    """Each spec in order: kept, rejected, rejected alone, and how many are left after it."""
    steps = facts.funnel(family)
    if not family.specs and not steps:
        return None
    undecided = any(spec.undecided for spec in family.specs)
    screened = any(spec.screened for spec in family.specs)
    table = calm_table(page, "specification")
    for heading in ("kept", "rejected", "alone", *(["undecided"] if undecided else [])):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in (*(["screened"] if screened else []), "left", ""):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for step in steps:
        of = step.spec.undecided if step.spec else 0
        numbers = [step.kept, step.rejected, step.only_here, *([of] if undecided else [])]
        numbers += [step.spec.screened if step.spec else 0] if screened else []
        left = Text(str(step.left), BOLD)
        bar = _bar(page, step.left, len(family.candidates))
        add(table, page.name(step.name), *(_count(page, n) for n in numbers), left, bar)
    for spec in facts.unforeseen(family):
        would = f"({spec.would_reject})" if spec.would_reject else _count(page, 0)
        kept = spec.judged - spec.would_reject
        cells = [str(kept) if spec.judged else _count(page, 0), would, ""]
        cells += [_count(page, spec.undecided)] if undecided else []
        cells += [_count(page, spec.screened)] if screened else []
        add(table, page.name(spec.name), *cells, "", "unforeseen", style=DIM)
    return Group(table, *_remarks(page, family.specs))


def _count(page: Page, number: int | None) -> str:
    """A nought is a dot, so that what happened stands out."""
    if number is None:
        return "?"
    return str(number) if number else page.glyph("·", ".")


def _bar(page: Page, part: int, whole: int) -> Text:
    length = 24 if page.width >= WIDE else 12 if page.width >= NARROW else 0
    filled = round(length * part / whole) if whole else 0
    full, empty = page.glyph("━", "#"), page.glyph("─", ".")
    return Text.assemble((full * filled, "cyan"), (empty * (length - filled), DIM))


def _remarks(page: Page, specs: Sequence[SpecReport]) -> list[RenderableType]:
    """What stands out in the funnel, a sentence each."""
    remarks = []
    if redundant := [page.name(spec.name, 40) for spec in specs if spec.redundant]:
        each = "each rejects" if len(redundant) > 1 else "rejects"
        remarks.append(f"{listed(redundant)}: {each} nobody that others don't reject too")
    for spec in specs:
        if others := [page.name(name, 40) for name in spec.conflicts_with if name > spec.name]:
            remarks.append(f"{page.name(spec.name, 40)} with {listed(others)}: nobody is left")
    if any(spec.only_here is None for spec in specs):
        remarks.append("?: others did not judge them all; screened: not judged, rejected before")
    if any(spec.would_reject for spec in specs):
        remarks.append("(n): would have rejected n, had it been enforced")
    failed = [f"{page.name(spec.name, 40)} {spec.failed}" for spec in specs if spec.failed]
    if failed:
        remarks.append(f"errors and skips: {listed(failed)}")
    return [indented(Text(remark, DIM)) for remark in remarks]
