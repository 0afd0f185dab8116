"""Every single sample as CSV: what survivors say of it."""

from __future__ import annotations

import csv
import io

from pytest_multiplicity.findings import Individual, RunReport, known
from pytest_multiplicity.report.cells import cell

COLUMNS = (
    "family",
    "data",
    "sample",
    "id",
    "target",
    "answer",
    "conflict",
    "consistency",
    "turned_by",
    "reachable_to",
    "reachable_cost",
    "rejecting",
    "rejected_by_pick",
)


def render(run: RunReport) -> str:
    """Return a line per sample; nothing in a cell is what can't be known. Floats are exact."""
    file = io.StringIO()
    writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(COLUMNS)
    for family in run.families:
        for report in family.individuals:
            where = cell(family.name), cell(report.data)
            writer.writerows((*where, *_cells(each)) for each in report.everybody)
    return file.getvalue().encode("utf-8", "replace").decode("utf-8")


def _cells(each: Individual) -> list[str | int | float]:
    values = [getattr(each, name) for name in COLUMNS[2:]]
    return [_one(value) for value in values]


def _one(value: str | float | None) -> str | int | float:
    if isinstance(value, str):
        return cell(value)
    if not known(value):
        return ""
    return int(value) if isinstance(value, bool) else value
