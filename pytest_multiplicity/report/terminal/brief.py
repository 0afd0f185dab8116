"""What stands on one screen: of every family what decides. The rest is told with `-v`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.text import Text

from pytest_multiplicity.findings import FamilyReport, IndividualsReport, Predictive, RunReport
from pytest_multiplicity.report import configurations, facts
from pytest_multiplicity.report.terminal import funnel, individuals, parts, reachable, spread
from pytest_multiplicity.report.terminal.page import (
    BOLD,
    DIM,
    INDENT,
    WIDE,
    Page,
    fitting,
    indented,
    listed,
)
from pytest_multiplicity.report.text import plural

SPREADS = 5
"""Metrics shown of one family: those that spread most among survivors."""
SHARED, LEAST = 6, 2
"""Those that several families share, and what each has at least."""
SPECS = 12
"""Those that reject most."""
SURVIVORS = 6
"""Configurations, where seeds say nothing of them."""
NUMBERS = 34
"""Cells that a table's numbers take: a name beside them stays on its line."""
AboutData = TypeVar("AboutData", IndividualsReport, Predictive)
PREDICTIVE = ("ambiguity", "disagreement")


def blocks(page: Page, run: RunReport) -> Iterator[RenderableType]:
    """Yield every family in a block, then what the signs mean, once."""
    alone = len(run.families) == 1
    most = SPREADS if alone else max(LEAST, SHARED // len(run.families))
    for family in run.families:
        notes = [_clauses(page, each) for each in family.notes if each not in facts.looks(family)]
        header = parts.header(page, run, family, notes)
        below = [*_funnel(page, family), *_who(page, family)]
        if family.sheets or family.predictive:
            below += [Text()] * alone + [
                _remains(page, family, most, len(PREDICTIVE) if alone else 1)
            ]
        below += [reachable.numbers(page, each) for each in family.reachable]
        below += reachable.extreme_lines(page, family)
        below += [individuals.line(page, each) for each in _as_they_are(family.individuals)]
        yield from (header, Group(*below)) if alone else [Group(header, *below)]
    if told := [family for family in run.families if family.sheets or family.predictive]:
        lines = [*_looked(page, run.families), _more(told, most)]
        yield Group(spread.legend(page, told), *(indented(Text(each, DIM)) for each in lines))


def _looked(page: Page, families: Sequence[FamilyReport]) -> Iterator[str]:
    """Yield how often which data were looked at, and what that may hide in the worst case."""
    looks: dict[str, int] = {}
    for family in families:
        if facts.looks(family):
            looks |= family.looks
    known = [chance for family in families for chance in family.optimism.values() if chance]
    times = ", ".join(f"{page.name(data, 34)} {count}" for data, count in looks.items())
    if known:
        worst = f"by chance an accuracy may be {100 * max(known):.1f} points too good"
        yield f"looks at {times}: {worst}" if times else worst
    elif looks:
        yield f"looks at {times}: what is measured there may be too good by any amount"


def _more(families: Sequence[FamilyReport], most: int) -> str:
    """Return what isn't on this screen."""
    hidden = sum(len(each.sheets) - len(facts.widest(each, most)) for each in families)
    smaller = f"{plural(hidden, 'smaller spread')}, " if hidden else ""
    return f"with -v {smaller}where each comes from, sheets, definitions"


def _clauses(page: Page, note: str, beside: int = 0) -> str:
    """Return as many clauses of a note as one line holds beside something, at least the first."""
    first, *rest = note.split("; ")
    for clause in rest:
        if beside + len(first) + 2 + len(clause) > page.width:
            break
        first += f"; {clause}"
    return first


def _as_they_are(told: Sequence[AboutData]) -> Sequence[AboutData]:
    """Return what is told of data without interventions; everything where nothing is."""
    return [each for each in told if " under " not in each.data] or told


def _funnel(page: Page, family: FamilyReport) -> Iterator[RenderableType]:
    """Yield a line for each spec that did something; nothing where none did."""
    busy = [step for step in facts.funnel(family) if not step.idle]
    if busy:
        least = sorted((step.rejected for step in busy), reverse=True)[:SPECS][-1]
        shown = [step for step in busy if step.rejected >= least][:SPECS]
        rest = f"and {len(busy) - len(shown)} that reject no more than these"
        fewer = [indented(Text(rest, DIM))] if len(busy) > len(shown) else []
        table, remarks = funnel.table(page, family, shown), funnel.remarks(page, family.specs)
        yield from (table, *fewer, *remarks, *_others(page, family))


def _others(page: Page, family: FamilyReport) -> Iterator[RenderableType]:
    """Yield who rejects nobody, and who only measures."""
    idle = [page.name(step.name, 34) for step in facts.funnel(family) if step.idle]
    measuring = [_unforeseen(page, step) for step in facts.unforeseen(family)]
    said = f"nobody is rejected by {listed(idle, 1)}" if idle else ""
    if idle and measuring:
        said = f"rejecting nobody: {len(idle)}{page.dot}"
    if measuring:
        said += "unforeseen: "
        said += fitting(measuring, page.width - INDENT - len(said))
    if said:
        yield indented(Text(said, DIM))


def _unforeseen(page: Page, step: facts.Step) -> str:
    """Return its name, and how many it would have rejected: `test_pgd (7)`."""
    would = f" ({step.spec.would_reject})" if step.spec and step.spec.would_reject else ""
    return page.name(step.name, 34) + would


def _who(page: Page, family: FamilyReport) -> Iterator[RenderableType]:
    """Yield who survives, which configurations are reliable, and what else is known of them."""
    groups: dict[str, list[str]] = {}
    for each in configurations.shown(family):
        passed = f"{page.name(each.name, 34)} {each.passed}/{each.seeds}"
        groups.setdefault(configurations.decided(each), []).append(passed)
    listed_below = bool(groups) or len(family.survivors) == len(family.candidates)
    yield parts.survivors(page, family, 0 if listed_below else SURVIVORS)
    if all(step.idle for step in facts.funnel(family)):
        yield from _others(page, family)
    if groups:
        told = [f"{configurations.in_words(key)}  {listed(of)}" for key, of in groups.items()]
        yield from _joined(page, told)
    yield from _beside(page, family)


def _joined(page: Page, told: Sequence[str]) -> Iterator[RenderableType]:
    """Yield what is told beside each other while a line holds it, else below each other."""
    line = ""
    for each in told:
        longer = f"{line}{page.dot}{each}" if line else each
        if line and cell_len(longer) > page.width - INDENT:
            yield indented(Text(line, DIM))
            longer = each
        line = longer
    yield indented(Text(line, DIM))


def _beside(page: Page, family: FamilyReport) -> Iterator[RenderableType]:
    """Yield a line for each comparison on data that report, and for where survivors differ most."""
    for each in facts.fresh_comparisons(family):
        said = _clauses(page, facts.comparison(family, each), len("beside "))
        yield Text.assemble(("beside ", BOLD), page.prose(said))
    for region in family.regions[:1]:
        rest = f" and {len(family.regions) - 1} more" if family.regions[1:] else ""
        said = page.prose(facts.rates(region)) + rest
        yield Text.assemble((f"where {page.name(region.what)}  ", BOLD), (said, DIM))


def _remains(page: Page, family: FamilyReport, most: int, headlines: int) -> RenderableType:
    """Return the largest spreads among survivors, where there is room each with its source."""
    pairs = facts.widest(family, most)
    known = [row for row in family.predictive if row.metric in PREDICTIVE[:headlines]]
    rows = _as_they_are([row for row in known if not row.optimistic] or known)
    table, wide = spread.table(page, ()), page.width >= WIDE
    if wide:
        table.add_column("mostly", no_wrap=True)
    for pair in pairs:
        pair = replace(pair, metric=page.name(pair.metric, page.width - NUMBERS))
        spread.add_metric(page, table, pair, (), facts.main_source(pair) * wide)
    for row in rows:
        spread.add_predictive(page, table, row, 0)
    return Group(table, *spread.gaps(page, pairs))
