"""The blocks of the summary, each a pure function of the page and the family."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pytest_multiplicity.findings import CandidateReport, FamilyReport, RunReport
from pytest_multiplicity.report import facts
from pytest_multiplicity.report.terminal.page import (
    BAD,
    BOLD,
    CARE,
    DIM,
    INDENT,
    Page,
    indented,
    listed,
    stack,
)
from pytest_multiplicity.report.text import plural

SURVIVORS_SHOWN = 12
"""Configurations listed before the rest is only counted."""


def line(page: Page, run: RunReport) -> Text:
    """Return everything in one line, what matters most first; a narrow terminal breaks it."""
    parts = [page.name(facts.partial(run))] if not run.complete else []
    parts += [f"gates: {facts.tally(run.gates)}"] if run.gates else []
    parts += [f"{page.name(each.name, 24)}: {facts.survival(each)}" for each in run.families]
    return Text("multiplicity  " + page.dot.join(parts))


def opening(page: Page, run: RunReport) -> list[RenderableType]:
    """Return what limits everything below: a partial run, warnings."""
    lines = [Text(page.name(facts.partial(run)), CARE)] if not run.complete else []
    lines += [Text(f"warning: {page.prose(each)}", CARE) for each in run.warnings]
    return [stack(lines)] if lines else []


def header(
    page: Page, run: RunReport, family: FamilyReport, notes: Sequence[str]
) -> RenderableType:
    """Return the family in a line, its design in another, then what is to be noted."""
    axes = [f"{page.name(axis, 32)} ({len(of)})" for axis, of in family.axes.items()]
    design = f"{page.name(family.design)} design, {plural(len(family.seeds), 'seed')}"
    varied = [", ".join(axes[:12])] if axes else []
    lines = [
        page.title(page.name(family.name), facts.origin(family)),
        Text(page.dot.join([design, *_device(page, run), *varied]), DIM),
        *(Text(page.prose(note), DIM) for note in notes),
    ]
    return stack(lines)


def _device(page: Page, run: RunReport) -> list[str]:
    """Return where it ran; recorded scores ran nowhere."""
    return [] if run.device == "none" else [page.name(run.device)]


def survivors(page: Page, family: FamilyReport, most: int = SURVIVORS_SHOWN) -> RenderableType:
    """Return who is left, by configuration, in as many columns as the width allows."""
    title = page.title("survivors", facts.survival(family))
    groups = facts.by_configuration(family.survivors)
    if all(each.status == "not judged" for each in family.candidates):
        return Text.assemble(("survivors", BOLD), ("  nobody was judged", DIM))
    if not groups:
        return Text.assemble(("survivors", BOLD), ("  nobody survives", BAD))
    if not most:
        return title
    entries = [_configuration(page, name, of) for name, of in groups.items()]
    rest = len(entries) - most
    more = [Text(f"and {plural(rest, 'more configuration')}", DIM)] if rest > 0 else []
    grid = _columns(page, entries[:most])
    return Group(title, indented(grid), *map(indented, more))


def _configuration(page: Page, name: str, candidates: Sequence[CandidateReport]) -> Text:
    seeds = _runs([each.seed for each in candidates])
    return Text.assemble(page.name(name, 34), (f"  seed {page.name(seeds, 24)}", DIM))


def _runs(numbers: Sequence[int]) -> str:
    """`0-3, 7`: consecutive numbers joined."""
    pairs = enumerate(sorted(numbers))
    runs = [[n for _, n in of] for _, of in groupby(pairs, key=lambda pair: pair[1] - pair[0])]
    joined = [[f"{run[0]}-{run[-1]}"] if len(run) > 2 else map(str, run) for run in runs]
    return ", ".join(part for parts in joined for part in parts)


def _columns(page: Page, entries: Sequence[Text]) -> Table:
    widest = max(entry.cell_len for entry in entries) + 3
    count = max(1, min(len(entries), (page.width - INDENT) // widest))
    height = -(-len(entries) // count)
    grid = Table.grid(padding=(0, 3, 0, 0))
    for row in range(height):
        grid.add_row(*entries[row::height])
    return grid


def comparisons(page: Page, family: FamilyReport) -> RenderableType | None:
    """Return how far the family is from what runs today, a line for each data set."""
    if not family.comparisons:
        return None
    lines = [Text(page.prose(facts.comparison(family, each))) for each in family.comparisons]
    return Group(Text("beside what runs today", BOLD), *map(indented, lines))


def regions(page: Page, family: FamilyReport) -> RenderableType | None:
    """Return where survivors disagree or flip, each region that other samples confirm."""
    lines = [
        indented(Text.assemble(f"{page.name(each.what)}  ", (page.prose(facts.region(each)), DIM)))
        for each in family.regions
    ]
    return Group(Text("where", BOLD), *lines) if lines else None


def definitions(page: Page, family: FamilyReport) -> RenderableType | None:
    """Return each definition once, with its metrics, then what the specs say of themselves."""
    lines = [
        (listed([page.name(name) for name in names], 4), text)
        for text, names in facts.definitions(family).items()
    ]
    lines += [(page.name(spec.name), spec.text) for spec in family.specs if spec.text]
    if not lines:
        return None
    items = [indented(Text.assemble(f"{name}: ", (page.prose(text), DIM))) for name, text in lines]
    return Group(Text("definitions", BOLD), *items)
