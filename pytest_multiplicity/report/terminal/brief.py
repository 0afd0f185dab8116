"""What stands on one screen: of every family what decides. The rest is told with `-v`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from pytest_multiplicity.findings import FamilyReport, RunReport
from pytest_multiplicity.report import configurations, facts
from pytest_multiplicity.report.terminal import funnel, individuals, parts, reachable, spread
from pytest_multiplicity.report.terminal.page import DIM, WIDE, Page, indented, listed
from pytest_multiplicity.report.text import plural

SPREADS = 5
"""Metrics shown: those that spread most among survivors."""
SPECS = 12
"""Those that reject most."""
REGIONS = 2
SURVIVORS = 6
"""Configurations, where seeds say nothing of them."""
PREDICTIVE = ("ambiguity", "disagreement")


def blocks(page: Page, run: RunReport) -> Iterator[RenderableType]:
    """Yield every family in a few blocks, then what the signs mean, once."""
    for family in run.families:
        yield parts.header(page, run, family, [_clauses(page, note) for note in family.notes])
        yield Group(*_funnel(page, family), *_who(page, family))
        if family.sheets or family.predictive:
            yield _remains(page, family)
        yield from (reachable.numbers(page, each) for each in family.reachable)
        if family.extremes:
            yield Group(*reachable.extremes(page, family))
        yield from (individuals.line(page, each) for each in family.individuals)
    if told := [family for family in run.families if family.sheets or family.predictive]:
        yield Group(spread.legend(page, told), indented(Text(_more(told), DIM)))


def _more(families: Sequence[FamilyReport]) -> str:
    """Return what isn't on this screen."""
    hidden = sum(len(each.sheets) - len(facts.widest(each, SPREADS)) for each in families)
    smaller = f"{plural(hidden, 'smaller spread')}, " if hidden else ""
    return f"with -v {smaller}where each comes from, sheets, definitions"


def _clauses(page: Page, note: str) -> str:
    """Return as many clauses of a note as one line holds, at least the first."""
    first, *rest = note.split("; ")
    for clause in rest:
        if len(first) + 2 + len(clause) > page.width:
            break
        first += f"; {clause}"
    return first


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
    if idle := [page.name(step.name, 34) for step in facts.funnel(family) if step.idle]:
        yield indented(Text(f"nobody is rejected by {listed(idle, 1)}", DIM))
    if measuring := [_unforeseen(page, step) for step in facts.unforeseen(family)]:
        yield indented(Text(f"unforeseen: {listed(measuring, 3)}", DIM))


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
    for verdict, names in groups.items():
        yield indented(Text.assemble(f"{configurations.in_words(verdict)}  ", (listed(names), DIM)))
    below = (parts.comparisons(page, family), parts.regions(page, family, most=REGIONS))
    yield from (each for each in below if each is not None)


def _remains(page: Page, family: FamilyReport) -> RenderableType:
    """Return the largest spreads among survivors, where there is room each with its source."""
    pairs = facts.widest(family, SPREADS)
    headlines = [row for row in family.predictive if row.metric in PREDICTIVE]
    rows = [row for row in headlines if not row.optimistic] or headlines
    table, wide = spread.table(page, ()), page.width >= WIDE
    if wide:
        table.add_column("mostly", no_wrap=True)
    for pair in pairs:
        spread.add_metric(page, table, pair, (), facts.main_source(pair) * wide)
    for row in rows:
        spread.add_predictive(page, table, row, 0)
    return Group(table, *spread.gaps(page, pairs))
