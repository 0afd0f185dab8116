"""Multiplicity: how far candidates spread before and after selection, and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence

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

HEADLINE = ("ambiguity", "discrepancy", "disagreement")


def block(page: Page, family: FamilyReport, *, everything: bool = False) -> RenderableType | None:
    """Return per metric the range before and after, beside what random candidates would show.

    Of the predictive numbers the summary shows those on predictions; `everything` shows all.
    """
    if not family.sheets and not family.predictive:
        return None
    table = calm_table(page, "multiplicity")
    ranges = ["range before", "range after"] if page.width >= WIDE else ["range after"]
    for heading in (*ranges, f"{page.delta} before", "after", "chance", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    for pair in family.sheets:
        if pair.kind == "enforced":
            _add_metric(page, table, pair)
    _subtitle(table, "unforeseen", [pair for pair in family.sheets if pair.kind == "unforeseen"])
    for pair in family.sheets:
        if pair.kind == "unforeseen":
            _add_metric(page, table, pair)
    _subtitle(table, "predictive", family.predictive)
    for row in family.predictive:
        if not everything and row.metric not in HEADLINE:
            continue
        _add_predictive(page, table, row, len(ranges))
    return Group(table, _legend(page, family))


def _subtitle(table: Table, text: str, rows: Sequence[object]) -> None:
    if rows and table.row_count:
        add(table, text, style=DIM)


def _add_metric(page: Page, table: Table, pair: SheetPair) -> None:
    before, after = pair.before, pair.after
    ranges = [page.interval(each.low, each.high, percent=pair.percent) for each in (before, after)]
    shown = ranges if page.width >= WIDE else ranges[1:]
    values = (before.delta_all, after.delta_all, after.expected_delta_all)
    deltas = _deltas(page, values, percent=pair.percent)
    mark = (page.noise if before.within_noise else "") + ("*" if _optimistic(pair) else "")
    mark += page.screened if pair.screened else ""
    add(table, page.name(pair.metric), *(Text(r, DIM) for r in shown), *deltas, Text(mark, CARE))


def _add_predictive(page: Page, table: Table, row: Predictive, blanks: int) -> None:
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


def _legend(page: Page, family: FamilyReport) -> RenderableType:
    pairs = family.sheets
    notes = [f"{page.delta}: largest minus smallest, {facts.units(family)}"]
    notes += ["chance: as many random candidates"]
    if any(pair.before.within_noise for pair in pairs):
        notes += [f"{page.noise} within test-set noise"]
    if any(pair.screened for pair in pairs):
        notes += [f"{page.screened} screened: not measured for all, so unknown before"]
    if any(map(_optimistic, pairs)) or any(row.optimistic for row in family.predictive):
        notes += ["* on the data that selected: optimistic"]
    gaps = [f"{page.name(pair.metric)}: {facts.gap(pair)}" for pair in pairs if facts.gap(pair)]
    return indented(Group(Text(page.dot.join(notes), DIM), *(Text(each, DIM) for each in gaps)))


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
