"""The table of configurations: how many seeds of each pass, and what rejects the others."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from pytest_multiplicity.findings import FamilyReport
from pytest_multiplicity.report import configurations
from pytest_multiplicity.report.terminal.page import (
    BOLD,
    DIM,
    WIDE,
    Page,
    add,
    calm_table,
    indented,
)

SHOWN = 12
"""Configurations listed before the rest is only counted."""


def block(page: Page, family: FamilyReport) -> RenderableType | None:
    """Return a line per configuration; nothing where none has two seeds that were judged."""
    found = configurations.shown(family)
    if not found:
        return None
    table = calm_table(page, "configuration")
    for heading in ("seeds", "passed", "95% interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("reliable at", no_wrap=True)
    wide = page.width >= WIDE
    if wide:
        table.add_column("rejected by", overflow="fold", max_width=40)
    for each in found[:SHOWN]:
        rejecting = ", ".join(page.name(text, 40) for text in configurations.rejecting(each))
        aside = f" ({rejecting})" if rejecting and not wide else ""
        cells = [
            Text(str(each.seeds)),
            Text(str(each.passed), BOLD),
            Text(page.interval(each.low, each.high), DIM),
            Text(configurations.decided(each)),
            *([Text(rejecting)] if wide else []),
        ]
        add(table, page.name(each.name) + aside, *cells)
    notes = [configurations.LEGEND]
    if len(found) > SHOWN:
        notes = [f"and {len(found) - SHOWN} more configurations", *notes]
    return Group(table, *(indented(Text(note, DIM)) for note in notes))
