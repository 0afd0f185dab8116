"""The blocks of the summary, each a pure function of the page and the family."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pytest_multiplicity.report import facts
from pytest_multiplicity.report.model import Candidate, Family, Run, SheetPair, Spec
from pytest_multiplicity.report.text import plural

from .page import BAD, BOLD, CARE, DIM, INDENT, Page, stack

SURVIVORS_SHOWN = 12
"""Configurations listed before the rest is only counted."""
WIDE, NARROW = 110, 72
"""Widths from which on ranges before selection, and bars in the funnel, have room too."""
WIDEST = 116
"""Wider tables would only put the numbers further from their names."""


def line(page: Page, run: Run) -> Text:
    """Everything in one line, what matters most first."""
    parts = [page.name(facts.partial(run))] if not run.complete else []
    parts += [f"gates: {facts.tally(run.gates)}"] if run.gates else []
    parts += [f"{page.name(each.name, 24)}: {facts.survival(each)}" for each in run.families]
    text = Text("multiplicity  " + page.dot.join(parts), no_wrap=True, overflow="crop")
    text.truncate(page.width)
    return text


def opening(page: Page, run: Run) -> list[RenderableType]:
    """What limits everything below: a partial run, warnings."""
    lines = [Text(page.name(facts.partial(run)), CARE)] if not run.complete else []
    lines += [Text(f"warning: {page.prose(each)}", CARE) for each in run.warnings]
    return [stack(lines)] if lines else []


def header(page: Page, run: Run, family: Family) -> RenderableType:
    """The family in a line, its design in another, then what is to be noted."""
    axes = [f"{page.name(axis, 32)} ({len(of)})" for axis, of in family.axes.items()]
    lines = [
        page.title(page.name(family.name), facts.origin(family)),
        Text(page.dot.join([facts.shape(family), page.name(run.device)]), DIM),
        *([Text("axes: " + ", ".join(axes[:12]), DIM)] if axes else []),
        *(Text(page.prose(note), DIM) for note in family.notes),
    ]
    return stack(lines)


def funnel(page: Page, family: Family) -> RenderableType | None:
    """Each spec in order: kept, rejected, rejected alone, and how many are left after it."""
    steps = facts.funnel(family)
    if not family.specs and not steps:
        return None
    undecided = any(spec.undecided for spec in family.specs)
    table = _table(page, "specification")
    for heading in ("kept", "rejected", "alone", *(["undecided"] if undecided else []), "left", ""):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for step in steps:
        of = step.spec.undecided if step.spec else 0
        numbers = [step.kept, step.rejected, step.only_here, *([of] if undecided else [])]
        left = Text(str(step.left), BOLD)
        bar = _bar(page, step.left, len(family.candidates))
        table.add_row(page.name(step.name), *(_count(page, n) for n in numbers), left, bar)
    for spec in facts.unforeseen(family):
        would = f"({spec.would_reject})" if spec.would_reject else _count(page, 0)
        cells = [str(spec.judged - spec.would_reject), would, ""]
        cells += [_count(page, spec.undecided)] if undecided else []
        table.add_row(page.name(spec.name), *cells, "", "unforeseen", style=DIM)
    return Group(table, *_remarks(page, family.specs))


def _count(page: Page, number: int) -> str:
    """A nought is a dot, so that what happened stands out."""
    return str(number) if number else page.glyph("·", ".")


def _bar(page: Page, part: int, whole: int) -> Text:
    length = 24 if page.width >= WIDE else 12 if page.width >= NARROW else 0
    filled = round(length * part / whole) if whole else 0
    full, empty = page.glyph("━", "#"), page.glyph("─", ".")
    return Text.assemble((full * filled, "cyan"), (empty * (length - filled), DIM))


def _remarks(page: Page, specs: Sequence[Spec]) -> list[RenderableType]:
    """What stands out in the funnel, a sentence each."""
    remarks = []
    if redundant := [page.name(spec.name, 40) for spec in specs if spec.redundant]:
        remarks.append(f"{_listed(redundant)}: rejects nobody that others don't reject too")
    for spec in specs:
        if others := [page.name(name, 40) for name in spec.conflicts_with if name > spec.name]:
            remarks.append(f"{page.name(spec.name, 40)} with {_listed(others)}: nobody is left")
    if any(spec.would_reject for spec in specs):
        remarks.append("(n): would have rejected n, had it been enforced")
    failed = [f"{page.name(spec.name, 40)} {spec.failed}" for spec in specs if spec.failed]
    if failed:
        remarks.append(f"errors and skips: {_listed(failed)}")
    return [_indented(Text(remark, DIM)) for remark in remarks]


def _listed(names: Sequence[str], shown: int = 6) -> str:
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest} more" if rest > 0 else "")


def survivors(page: Page, family: Family) -> RenderableType:
    """Who is left, by configuration, in as many columns as the width allows."""
    title = page.title("survivors", facts.survival(family))
    groups = facts.by_configuration(family.survivors)
    if not groups:
        return Text.assemble(("survivors", BOLD), ("  nobody survives", BAD))
    entries = [_configuration(page, name, of) for name, of in groups.items()]
    rest = len(entries) - SURVIVORS_SHOWN
    more = [Text(f"and {plural(rest, 'more configuration')}", DIM)] if rest > 0 else []
    grid = _columns(page, entries[:SURVIVORS_SHOWN])
    return Group(title, _indented(grid), *map(_indented, more))


def _configuration(page: Page, name: str, candidates: Sequence[Candidate]) -> Text:
    seeds = _runs([each.seed for each in candidates])
    return Text.assemble(page.name(name, 34), (f"  seed {page.name(seeds, 24)}", DIM))


def _runs(numbers: Sequence[int]) -> str:
    """``0-3, 7``: consecutive numbers joined."""
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


def multiplicity(page: Page, family: Family) -> RenderableType | None:
    """Per metric the range before and after, beside what as many random candidates would show."""
    if not family.sheets and not family.predictive:
        return None
    table = _table(page, "multiplicity")
    wide = page.width >= WIDE
    headings = ["range before", "range after"] if wide else ["range after"]
    for heading in (*headings, f"{page.delta} before", "after", "chance", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    for pair in _ordered(family.sheets):
        _add_metric(page, table, pair, wide=wide)
    for row in family.predictive:
        values = [page.number(v, percent=row.percent) for v in (row.before, row.after)]
        chance = page.number(row.expected_after, percent=row.percent)
        blanks = [""] * len(headings)
        name = page.name(f"{row.metric} on {row.data}")
        mark = "*" if row.optimistic else ""
        table.add_row(name, *blanks, values[0], Text(values[1], BOLD), chance, mark)
    return Group(table, *_legend(page, family))


def _ordered(pairs: Sequence[SheetPair]) -> list[SheetPair]:
    return sorted(pairs, key=lambda pair: pair.kind == "unforeseen")


def _add_metric(page: Page, table: Table, pair: SheetPair, *, wide: bool) -> None:
    before, after = pair.before, pair.after
    ranges = [page.interval(each.low, each.high, percent=pair.percent) for each in (before, after)]
    deltas = [
        page.number(each, percent=pair.percent)
        for each in (before.delta_all, after.delta_all, after.expected_delta_all)
    ]
    mark = (page.noise if before.within_noise else "") + ("*" if _optimistic(pair) else "")
    cells = [Text(deltas[0]), Text(deltas[1], BOLD), Text(deltas[2], DIM), Text(mark, CARE)]
    shown = ranges if wide else ranges[1:]
    style = "italic" if pair.kind == "unforeseen" else ""
    table.add_row(Text(page.name(pair.metric), style), *(Text(r, DIM) for r in shown), *cells)


def _optimistic(pair: SheetPair) -> bool:
    return "optimistic" in facts.marks(pair)


def _legend(page: Page, family: Family) -> list[RenderableType]:
    pairs = family.sheets
    notes = [f"{page.delta}: largest minus smallest, in points of percent"]
    notes += ["chance: as many random candidates"]
    if any(pair.kind == "unforeseen" for pair in pairs):
        notes += ["italic: unforeseen"]
    if any(pair.before.within_noise for pair in pairs):
        notes += [f"{page.noise} within test-set noise"]
    if any(map(_optimistic, pairs)) or any(row.optimistic for row in family.predictive):
        notes += ["* on the data that selected: optimistic"]
    return [_indented(Text(page.dot.join(notes), DIM))]


def sources(page: Page, family: Family) -> RenderableType | None:
    """Where each metric's multiplicity comes from: one honest line each."""
    said = [pair for pair in _ordered(family.sheets) if pair.sources]
    if not said:
        return None
    table = _table(page, "where it comes from")
    table.add_column("", ratio=1, overflow="fold")
    for pair in said:
        table.add_row(page.name(pair.metric), Text(page.prose(pair.sources), DIM))
    return table


def definitions(page: Page, family: Family) -> RenderableType | None:
    """Each definition once, with the metrics it defines, then what the specs say of themselves."""
    named: dict[str, list[str]] = {}
    for pair in family.sheets:
        named.setdefault(pair.definition, []).append(page.name(pair.metric))
    for row in family.predictive:
        named.setdefault(row.definition, []).append(page.name(f"{row.metric} on {row.data}"))
    lines = [(_listed(names, 4), text) for text, names in named.items() if text]
    lines += [(page.name(spec.name), spec.text) for spec in family.specs if spec.text]
    if not lines:
        return None
    items = [
        _indented(Text.assemble((name, ""), ("  " + page.prose(text), DIM))) for name, text in lines
    ]
    return Group(Text("definitions", BOLD), *items)


def _table(page: Page, title: str) -> Table:
    """A calm table: no lines, its first column as wide as what the others leave."""
    table = Table(
        box=None,
        padding=(0, 2, 0, 0),
        pad_edge=False,
        width=min(page.width, WIDEST),
        header_style=DIM,
    )
    table.add_column(Text(title, BOLD), ratio=1, overflow="fold", min_width=16)
    return table


def _indented(block: RenderableType) -> Padding:
    return Padding(block, (0, 0, 0, INDENT))
