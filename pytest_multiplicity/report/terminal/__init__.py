"""The summary in the terminal, as rich renderables or as text."""

from __future__ import annotations

import io
from enum import IntEnum

from rich.console import Console, RenderableType
from rich.text import Text

from pytest_multiplicity.findings import FamilyReport, RunReport
from pytest_multiplicity.report import facts
from pytest_multiplicity.report.terminal import (
    brief,
    configurations,
    funnel,
    gates,
    individuals,
    parts,
    profile,
    reachable,
    sheets,
    spread,
)
from pytest_multiplicity.report.terminal.page import Page

__all__ = ["Level", "render", "summary"]


class Level(IntEnum):
    """How much to print."""

    NOTHING = 0
    LINE = 1
    SUMMARY = 2
    SHEETS = 3
    DEFINITIONS = 4


def summary(
    run: RunReport,
    *,
    width: int,
    level: Level = Level.SUMMARY,
    unicode: bool = True,
    truecolor: bool = True,
) -> list[RenderableType]:
    """Return the run in blocks that fit the width, in reading order.

    Nothing in them is rich markup, and no character of a name reaches the terminal that could do
    anything there. Without `truecolor` shades are those of a 256-colour terminal.
    """
    page = Page(max(width, 40), unicode, truecolor)
    if level is Level.NOTHING or not run.families:
        return []
    if level is Level.LINE:
        return [parts.line(page, run)]
    blocks = [*parts.opening(page, run)]
    if level is Level.SUMMARY:
        blocks += brief.blocks(page, run)
    else:
        blocks += [each for family in run.families for each in _family(page, run, family, level)]
    blocks += gates.block(page, run.gates, brief=level is Level.SUMMARY)
    blocks += profile.block(page, run.profile) if level is Level.DEFINITIONS else []
    return [each for block in blocks for each in (block, Text())][:-1]


def render(
    run: RunReport,
    *,
    width: int,
    level: Level = Level.SUMMARY,
    unicode: bool = True,
    color: bool = False,
    truecolor: bool = True,
) -> str:
    """Return the summary as text, its lines at most `width` cells wide.

    Without `color` there is no escape sequence, without `unicode` nothing but ASCII.
    """
    file = io.StringIO()
    console = Console(
        file=file,
        width=max(width, 40),
        force_terminal=color,
        color_system="truecolor" if color else None,
        no_color=not color,
        legacy_windows=False,
        highlight=False,
        _environ={},
    )
    for block in summary(run, width=width, level=level, unicode=unicode, truecolor=truecolor):
        console.print(block)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def _family(page: Page, run: RunReport, family: FamilyReport, level: Level) -> list[RenderableType]:
    blocks = [
        parts.header(page, run, family, [*family.notes, *facts.trained(family)]),
        funnel.block(page, family),
        parts.survivors(page, family),
        parts.comparisons(page, family),
        parts.regions(page, family),
        configurations.block(page, family),
        spread.block(page, family),
        spread.sources(page, family),
        reachable.block(page, family),
        individuals.block(page, family),
    ]
    blocks += [sheets.block(page, family, i) for i in range(len(family.sheets))]
    if level >= Level.DEFINITIONS:
        blocks += [parts.definitions(page, family)]
    return [block for block in blocks if block is not None]
