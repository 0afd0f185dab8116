"""Where the time went, with `-v`, where that was asked for."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pytest_multiplicity.findings import ProfileReport
from pytest_multiplicity.report import profile
from pytest_multiplicity.report.terminal.page import BOLD, DIM, Page

SHOWN = 8
"""Tests, of those that took longest."""


def block(page: Page, found: ProfileReport | None) -> list[RenderableType]:
    """Return the stages, then the tests that took longest."""
    if found is None:
        return []
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(overflow="fold")
    for row in profile.stages(found):
        grid.add_row(Text(f"  {row.seconds}"), Text.assemble(row.name, (f"  {row.about}", DIM)))
    for row in profile.tests(found)[:SHOWN]:
        grid.add_row(
            Text(f"  {row.seconds}"),
            Text.assemble(page.name(row.name, 200), (f"  {row.about}", DIM)),
        )
    return [Group(Text.assemble(("time", BOLD), (f"  {profile.told(found)}", DIM)), grid)]
