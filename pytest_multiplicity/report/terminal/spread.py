"""Multiplicity: how far candidates spread before and after selection, and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pytest_multiplicity.findings import FamilyReport, Predictive, SheetPair
from pytest_multiplicity.report import facts
from pytest_multiplicity.report.terminal.page import (
    BOLD,
    CARE,
    DIM,
    WIDE,
    Page,
    add,
    calm_table,
    indented,
)

When = Literal["before", "after"]
"""Selection."""

HEADLINE = ("ambiguity", "discrepancy", "disagreement")


def block(page: Page, family: FamilyReport) -> RenderableType | None:
    """Return per metric the range before and after, beside what random candidates would show."""
    if not family.sheets and not family.predictive:
        return None
    ranges: Sequence[When] = ("before", "after") if page.width >= WIDE else ("after",)
    found = table(page, ranges)
    for pair in family.sheets:
        if pair.kind == "enforced":
            add_metric(page, found, pair, ranges)
    _subtitle(found, "unforeseen", [pair for pair in family.sheets if pair.kind == "unforeseen"])
    for pair in family.sheets:
        if pair.kind == "unforeseen":
            add_metric(page, found, pair, ranges)
    _subtitle(found, "predictive", family.predictive)
    for row in family.predictive:
        add_predictive(page, found, row, len(ranges))
    return Group(found, legend(page, [family]), *gaps(page, family.sheets))


def table(page: Page, ranges: Sequence[When]) -> Table:
    """Return the table without rows: ranges, the deltas before and after, and that by chance."""
    found = calm_table(page, "multiplicity")
    headings = [f"range {when}" for when in ranges]
    for heading in (*headings, f"{page.delta} before", "after", "chance", ""):
        found.add_column(heading, justify="right", no_wrap=True)
    return found


def _subtitle(table: Table, text: str, rows: Sequence[object]) -> None:
    if rows and table.row_count:
        add(table, text, style=DIM)


def add_metric(
    page: Page, table: Table, pair: SheetPair, ranges: Sequence[When], source: str = ""
) -> None:
    """Add the line of a metric; `source` stands at its end."""
    before, after = pair.before, pair.after
    sheets = [{"before": before, "after": after}[when] for when in ranges]
    shown = [page.interval(each.low, each.high, percent=pair.percent) for each in sheets]
    values = (before.delta_all, after.delta_all, after.expected_delta_all)
    deltas = _deltas(page, values, percent=pair.percent)
    mark = (page.noise if before.within_noise else "") + ("*" if _optimistic(pair) else "")
    mark += page.screened if pair.screened else ""
    cells = [*(Text(r, DIM) for r in shown), *deltas, Text(mark, CARE)]
    add(table, page.name(pair.metric), *cells, *([Text(page.name(source, 24), DIM)] * bool(source)))


def add_predictive(page: Page, table: Table, row: Predictive, blanks: int) -> None:
    """Add the line of a predictive number, which has no range."""
    values = (row.before, row.after, row.expected_after)
    deltas = _deltas(page, values, percent=row.percent)
    mark = Text("*" if row.optimistic else "", CARE)
    add(table, page.name(f"{row.metric} on {row.data}"), *[""] * blanks, *deltas, mark)


def _deltas(page: Page, values: Sequence[float | None], *, percent: bool) -> list[Text]:
    """Before, after, by chance."""
    texts = [page.number(value, percent=percent) for value in values]
    return [Text(text, style) for text, style in zip(texts, ("", BOLD, DIM), strict=True)]


def _optimistic(pair: SheetPair) -> bool:
    return "optimistic" in facts.marks(pair)


def legend(page: Page, families: Sequence[FamilyReport]) -> RenderableType:
    """Return what the signs in the tables of these families mean."""
    pairs = [pair for family in families for pair in family.sheets]
    rows = [row for family in families for row in family.predictive]
    notes = [f"{page.delta}: largest minus smallest, {facts.units(pairs)}"]
    notes += ["chance: as many random candidates"]
    if any(pair.before.within_noise for pair in pairs):
        notes += [f"{page.noise} within test-set noise"]
    if any(pair.screened for pair in pairs):
        notes += [f"{page.screened} screened: not measured for all, so unknown before"]
    if any(map(_optimistic, pairs)) or any(row.optimistic for row in rows):
        notes += ["* on the data that selected: optimistic"]
    return indented(Text(page.dot.join(notes), DIM))


def gaps(page: Page, pairs: Sequence[SheetPair]) -> list[RenderableType]:
    """Return a line for each gap: what chance alone would make of it."""
    said = [f"{page.name(pair.metric)}: {facts.gap(pair)}" for pair in pairs if facts.gap(pair)]
    return [indented(Text(each, DIM)) for each in said]


def sources(page: Page, family: FamilyReport) -> RenderableType | None:
    """Return where each metric's multiplicity comes from: one honest line each."""
    said = [pair for pair in family.sheets if pair.sources]
    if not said:
        return None
    table = calm_table(page, "where it comes from")
    table.add_column("", ratio=1, overflow="fold")
    for pair in said:
        add(table, page.name(pair.metric), Text(page.prose(pair.sources), DIM))
    return table
