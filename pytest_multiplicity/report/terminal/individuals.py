"""Single samples, as far as a terminal tells of them: how many, and in which groups."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from pytest_multiplicity.findings import FamilyReport, IndividualsReport
from pytest_multiplicity.report import individuals
from pytest_multiplicity.report.terminal.page import DIM, Page, add, calm_table, indented


def block(page: Page, family: FamilyReport) -> RenderableType | None:
    """Return a table per data set; nothing where nobody asked."""
    parts = [part for each in family.individuals for part in _one(page, each)]
    return Group(*parts) if parts else None


def line(page: Page, report: IndividualsReport) -> RenderableType:
    """Return whose individuals they are, how many survivors answered, and what holds for all."""
    answered, everybody = next(individuals.notes(report)), individuals.groups(report, most=0)[0]
    named = zip(individuals.GROUPS, everybody, strict=True)
    told = [f"{name} {value}" for name, value in named if value.endswith("%")]
    title = page.title(page.name(individuals.title(report)), page.prose(answered))
    return Group(title, indented(Text(", ".join(told), DIM)))


def _one(page: Page, report: IndividualsReport) -> list[RenderableType]:
    rows = individuals.groups(report)
    shown = [i for i in range(1, len(individuals.GROUPS)) if any(row[i] for row in rows)]
    table = calm_table(page, individuals.GROUPS[0])
    for i in shown:
        table.add_column(individuals.GROUPS[i], justify="right", overflow="fold")
    for row in rows:
        add(table, page.name(row[0], 40), *(row[i] for i in shown))
    notes = [indented(Text(page.prose(each), DIM)) for each in individuals.notes(report)]
    rest = len(report.people) - len(rows)
    more = [indented(Text(f"and {rest} more groups", DIM))] if rest > 0 else []
    return [page.title(page.name(individuals.title(report))), indented(table), *more, *notes]
