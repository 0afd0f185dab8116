"""From a metric to its sheets in the model of the run, before and after selection."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from pytest_multiplicity.errors import ScoresError
from pytest_multiplicity.evaluation import Metric
from pytest_multiplicity.findings.beside import gap_report
from pytest_multiplicity.findings.copies import Firsts, once
from pytest_multiplicity.findings.family import FamilyFindings
from pytest_multiplicity.findings.model import SheetPair, SheetReport, Table
from pytest_multiplicity.findings.plain import plain
from pytest_multiplicity.statistics import DEFINITIONS, Sheet, chance, clusters, sources


def pairs(family: FamilyFindings) -> list[SheetPair]:
    """Return the sheets of every metric that specs measured."""
    return [
        pair
        for name, metric in family.metrics.items()
        for pair in family.tried(f"the sheet of {name}", partial(_pair, family, metric))
    ]


def _pair(family: FamilyFindings, metric: Metric) -> SheetPair:
    before = metric.sheet()
    screened = int((family.alive & ~before.present).sum())
    first = family.firsts(metric)
    after = _sheet(before.subset(family.survivors), first, before)
    whole = _sheet(before, first)
    enforced = metric.name in family.selecting
    return SheetPair(
        metric=metric.name,
        before=_unknown(whole) if screened else whole,
        after=_without_chance(after) if screened else after,
        screened=screened,
        kind="enforced" if enforced else "unforeseen",
        definition=_definition(metric),
        sources="" if screened else _sources(before),
        optimistic=enforced,
        percent=metric.proportion,
        unit="percent" if metric.proportion else metric.unit or "number",
        higher_is_better=metric.higher_is_better,
        data=metric.data,
        under=metric.under,
        gap=gap_report(metric.aside, metric.design.ids),
    )


def _sheet(sheet: Sheet, first: Firsts, before: Sheet | None = None) -> SheetReport:
    """Return a sheet as builtins; `before` is given for the sheet of the survivors.

    Of copies one counts for what chance would show.
    """
    distinct = once(first, sheet.present)
    noise = (sheet.subset(distinct) if distinct.sum() > 1 else sheet).noise
    at_most = sheet.noise_floor_at_most if noise is None else None
    present = sheet.scores[sheet.present]
    expected = None
    if before is not None and 0 < sheet.count <= before.count:
        drawn = before.scores[once(first, before.present)]
        expected = chance.expected_range(drawn, int(distinct.sum()))
    return SheetReport(
        count=sheet.count,
        delta_all=float(sheet.delta_all) if sheet.count else None,
        low=float(present.min()) if len(present) else None,
        high=float(present.max()) if len(present) else None,
        noise_floor=at_most if noise is None else noise.floor,
        noise_95=None if noise is None else noise.level_95,
        floor_at_most=at_most is not None,
        p_value=None if noise is None else noise.p_value,
        real_share=None if noise is None else noise.real_share,
        expected_delta_all=None if expected is None else float(expected.high - expected.low),
        expected_low=None if expected is None else float(expected.low),
        expected_high=None if expected is None else float(expected.high),
        tables={axis: _table(sheet, axis) for axis in (before or sheet).tables},
    )


def _unknown(sheet: SheetReport) -> SheetReport:
    """Return a sheet in which candidates are missing, with nothing of what all would show."""
    tables = {
        axis: replace(
            table,
            delta_by_seed=[None] * len(table.seeds),
            delta_by_option=[None] * len(table.options),
        )
        for axis, table in sheet.tables.items()
    }
    return SheetReport(count=sheet.count, delta_all=None, tables=tables)


def _without_chance(sheet: SheetReport) -> SheetReport:
    """Return what random candidates would show takes the scores of all."""
    return replace(sheet, expected_delta_all=None, expected_low=None, expected_high=None)


def _units(metric: Metric) -> str:
    """Say how many positions samples have, and what they have in common; nothing of others."""
    if metric.counted is None or metric.outcomes is None:
        return ""
    columns = metric.outcomes[:, metric.measured].T
    effects = [clusters.design_effect(column, metric.counted) for column in columns]
    known = [each for each in effects if each is not None]
    told = f", design effect {sum(known) / len(known):.3g} on average" if known else ""
    return f" with {int(metric.counted.sum()):,} positions{told}"


def _own(metric: Metric, measure: str) -> str:
    """Return the definition of a measure of ours, as the task of the data has it."""
    if metric.task is None:
        return DEFINITIONS[measure]
    from pytest_multiplicity.tasks import of_record

    return of_record(metric.task).defines(measure)


def _definition(metric: Metric) -> str:
    """Return what the number means: formula in words, on which data."""
    if metric.data is None:
        return f"{metric.name}, as recorded" + (f" on {metric.n} samples" if metric.n else "")
    samples = f", {metric.n:,} samples{_units(metric)}" if metric.n else ""
    measure = metric.name.removeprefix("worst ").partition(" on ")[0]
    measure = measure.partition(" within ")[0]
    if metric.aside is not None and metric.aside.get("kind") in DEFINITIONS:
        return f"{DEFINITIONS[metric.aside['kind']]}; here, of {metric.name}{samples}"
    own = measure in ("accuracy", "consistency", "membership privacy")
    text = _own(metric, measure) if own else f"{measure} of the logits and targets"
    text += f", in the {metric.unit}" if metric.unit not in ("", "number") else ""
    if metric.searched:
        return f"the worst that a search found; of one example: {text}"
    return f"{text}; on {metric.data}{samples}"


def _sources(sheet: Sheet) -> str:
    """Return where the multiplicity comes from, in a line; "" where that can't be told."""
    try:
        return sources(sheet).summary
    except ScoresError:
        return ""


def _table(sheet: Sheet, axis: str) -> Table:
    table = sheet.tables[axis]
    return Table(
        options=[plain(option) for option in table.columns],
        seeds=[int(seed) for seed in table.index],
        scores=[[_number(score) for score in row] for row in table.to_numpy().tolist()],
        delta_by_seed=[_number(delta) for delta in sheet.delta_by_seed(axis).tolist()],
        delta_by_option=[_number(delta) for delta in sheet.delta_by_option(axis).tolist()],
    )


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
