"""GitHub-flavoured markdown: for `$GITHUB_STEP_SUMMARY` and pull-request comments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_multiplicity.findings import (
    FamilyReport,
    GateOutcome,
    GateReport,
    IndividualsReport,
    Predictive,
    ReachedFacts,
    RunReport,
    SheetPair,
    Table,
)
from pytest_multiplicity.report import configurations, facts, individuals, reachable
from pytest_multiplicity.report.columns import Column, columns
from pytest_multiplicity.report.marks import code, folded, message, prose, table_of
from pytest_multiplicity.report.text import assignment, interval, number, option

SUMMARY_LIMIT = 1_000_000
"""GitHub takes 1 MiB for a step's summary."""
COMMENT_LIMIT = 60_000
"""GitHub takes 65,536 characters for a comment."""
SURVIVORS_SHOWN = 200

_SIGNS: dict[GateOutcome, str] = {"passed": "✅", "failed": "❌", "not evaluated": "⚪"}


def render(
    run: RunReport, *, limit: int = SUMMARY_LIMIT, full_report: str = "the JSON report"
) -> str:
    """Return the run as markdown of at most `limit` bytes of UTF-8.

    Parts that don't fit are left out, the least important first, and the last line says where
    the rest is.
    """
    chosen, left_out, used = [], 0, 0
    pointer = "\n_{} left out here: see {}._\n"
    room = limit - len(pointer.encode()) - 4 * len(prose(full_report)) - 40
    for part in _parts(run):
        size = len(part.encode()) + 1
        if used + size > room:
            left_out += 1
            continue
        chosen.append(part)
        used += size
    if left_out:
        parts = "1 part is" if left_out == 1 else f"{left_out} parts are"
        chosen.append(pointer.format(parts, prose(full_report)))
    return "\n".join(chosen)


def _parts(run: RunReport) -> Iterator[str]:
    """Self-contained pieces of markdown, the most important first."""
    yield _head(run)
    if run.gates:
        yield _gates(run.gates)
    for family in run.families:
        yield _verdict(family, alone=len(run.families) == 1)
        if family.specs:
            yield _funnel(family)
        if family.sheets or family.predictive:
            yield _multiplicity(family)
        if configurations.shown(family):
            yield _configurations(family)
        yield from map(_reachable, family.reachable)
        if family.extremes:
            yield _extremes(family)
        yield from map(_individuals, family.individuals)
        if family.comparisons:
            yield _comparisons(family)
        if family.regions:
            yield _regions(family)
        yield _survivors(family)
    for family in run.families:
        yield from (_sheet(family, pair) for pair in family.sheets)
        if facts.definitions(family):
            yield _definitions(family)


def _head(run: RunReport) -> str:
    parts = [facts.partial(run)] if not run.complete else []
    parts += [f"gates: {facts.tally(run.gates)}"] if run.gates else []
    lines = ["## Multiplicity", ""]
    lines += [f"**{prose(' · '.join(parts))}**", ""] if parts else []
    lines += [line for each in run.warnings for line in (f"> ⚠️ {prose(each)}", "")]
    return "\n".join(lines)


def _gates(gates: Sequence[GateReport]) -> str:
    rows = [
        (_SIGNS[gate.outcome], code(gate.name), gate.outcome, message(gate.message))
        for gate in gates
    ]
    return table_of(("", "gate", "outcome", ""), rows, left=4)


def _verdict(family: FamilyReport, *, alone: bool) -> str:
    title = [] if alone else [f"### {code(family.name)}", ""]
    about = f"{facts.origin(family)} · {facts.shape(family)}"
    notes = [line for note in (*family.notes, *facts.trained(family)) for line in (prose(note), "")]
    return "\n".join([*title, f"**{facts.survival(family)}** · {prose(about)}", "", *notes])


def _funnel(family: FamilyReport) -> str:
    shown = columns(family, markdown=True)
    rows = [
        (code(step.name) + (" unforeseen" if step.unforeseen else ""), *_cells(shown, step))
        for step in (*facts.funnel(family), *facts.unforeseen(family))
    ]
    return table_of(("specification", *(each.heading for each in shown)), rows)


def _cells(shown: Sequence[Column], step: facts.Step) -> Iterator[object]:
    for column in shown:
        cell = column.cell(step)
        yield f"**{cell}**" if column.stands_out(cell) else cell


def _multiplicity(family: FamilyReport) -> str:
    headings = ("metric", "range after", "Δ before", "Δ after", "by chance", "")
    rows = [_metric(pair) for pair in family.sheets]
    rows += [_predictive(row) for row in family.predictive]
    units = facts.units(family.sheets)
    legend = f"Δ: largest minus smallest, {units}; by chance: as many random candidates"
    return table_of(headings, rows) + f"\n{legend}\n"


def _metric(pair: SheetPair) -> tuple[str, ...]:
    before, after = pair.before, pair.after
    deltas = (before.delta_all, after.delta_all, after.expected_delta_all)
    numbers = [number(value, percent=pair.percent) for value in deltas]
    kind = ["unforeseen"] if pair.kind == "unforeseen" else []
    notes = ", ".join(
        filter(None, [*kind, facts.unit(pair), *facts.marks(pair), facts.beyond(pair)])
    )
    low_high = interval(after.low, after.high, percent=pair.percent)
    return (code(pair.metric), low_high, numbers[0], f"**{numbers[1]}**", numbers[2], notes)


def _predictive(row: Predictive) -> tuple[str, ...]:
    values = (row.before, row.after, row.expected_after)
    before, after, chance = (number(value, percent=row.percent) for value in values)
    name = code(f"{row.metric} on {row.data}")
    return (name, "", before, f"**{after}**", chance, "optimistic" if row.optimistic else "")


def _configurations(family: FamilyReport) -> str:
    rows = [
        (
            code(each.name),
            each.seeds,
            f"**{each.passed}**",
            interval(each.low, each.high),
            configurations.decided(each),
            ", ".join(map(code, configurations.rejecting(each))),
        )
        for each in configurations.shown(family)[:SURVIVORS_SHOWN]
    ]
    rest = len(configurations.shown(family)) - len(rows)
    legend = configurations.LEGEND + (f"; and {rest} more configurations" if rest else "")
    return table_of(configurations.HEADINGS, rows) + f"\n{legend}\n"


def _reachable(reached: ReachedFacts) -> str:
    numbers = ", ".join(f"**{value}** {words}" for value, words in reachable.three(reached))
    told = [*reachable.notes(reached), f"points below the best: {reachable.curve(reached)}"]
    rows = [tuple(map(code, row)) for row in reachable.rows(reached)]
    table = table_of(reachable.HEADINGS, rows, left=4) if rows else ""
    heading = f"{prose(reachable.title(reached))}: {numbers}"
    legend = "\n".join(f"- {prose(each)}" for each in (*told, reachable.LEGEND))
    return f"{heading}\n\n{folded('Most contested', f'{table}{chr(10)}{legend}')}"


def _extremes(family: FamilyReport) -> str:
    found = reachable.extremes(family.extremes)
    rows = [(code(first), *map(prose, rest)) for first, *rest in found]
    table = table_of(reachable.EXTREMES, rows)
    return f"The worst and the best model as good\n\n{table}\n{reachable.EXTREMES_LEGEND}\n"


def _individuals(report: IndividualsReport) -> str:
    rows = [(code(row[0]), *row[1:]) for row in individuals.groups(report)]
    lines = "\n".join(f"- {prose(each)}" for each in individuals.notes(report))
    table = table_of(individuals.GROUPS, rows)
    return f"{prose(individuals.title(report).capitalize())}\n\n{table}{chr(10)}{lines}\n"


def _comparisons(family: FamilyReport) -> str:
    lines = [f"- {prose(facts.comparison(family, each))}" for each in family.comparisons]
    return "\n".join(["**Beside what runs today**", "", *lines, ""])


def _regions(family: FamilyReport) -> str:
    lines = [f"- {prose(each.what)}: {prose(facts.region(each))}" for each in family.regions]
    return "\n".join(["**Where**", "", *lines, ""])


def _survivors(family: FamilyReport) -> str:
    groups = facts.by_configuration(family.survivors)
    lines = [
        f"- {code(name)}: seeds {', '.join(str(each.seed) for each in of[:SURVIVORS_SHOWN])}"
        for name, of in list(groups.items())[:SURVIVORS_SHOWN]
    ]
    rest = len(groups) - SURVIVORS_SHOWN
    lines += [f"- and {rest} more"] if rest > 0 else []
    return folded("Survivors", "\n".join(lines) or "Nobody survives.")


def _sheet(family: FamilyReport, pair: SheetPair) -> str:
    tables = [_axis(axis, table, pair) for axis, table in pair.before.tables.items()]
    delta = number(pair.before.delta_all, percent=pair.percent)
    below = [
        f"Δ all **{delta}**",
        facts.in_words(pair.before, percent=pair.percent),
        prose(pair.sources),
    ]
    below = [*below, prose(facts.gap(pair)), facts.screened(pair)]
    below += [f"default {code(assignment(family.default))}"]
    below += ["× rejected"] if facts.narrowed(pair) and tables else []  # noqa: RUF001
    text = " · ".join(part for part in below if part)
    return folded(code(pair.metric), "\n".join([*tables, text]))


def _axis(axis: str, table: Table, pair: SheetPair) -> str:
    options = table.options[: facts.OPTIONS_SHOWN]
    headings = (code(axis), *(code(option(each)) for each in options), "Δ")
    after = pair.after.tables[axis].scores
    rows = [
        (
            str(seed),
            *(_score(score, survivor, pair) for score, survivor in zip(scores, kept, strict=True)),
            number(delta, percent=pair.percent),
        )
        for seed, scores, kept, delta in _shown(table, after, len(options))
    ]
    deltas = (number(each, percent=pair.percent) for each in table.delta_by_option[: len(options)])
    hidden = facts.cut(table)
    return table_of(headings, [*rows, ("Δ", *deltas, "")]) + (f"\nand {hidden}\n" if hidden else "")


def _shown(
    table: Table, after: Sequence[Sequence[float | None]], columns: int
) -> Iterator[tuple[int, Sequence[float | None], Sequence[float | None], float | None]]:
    """Seed, scores, scores after selection and delta of the rows that are shown."""
    rows = zip(table.seeds, table.scores, after, table.delta_by_seed, strict=True)
    for seed, scores, kept, delta in list(rows)[: facts.SEEDS_SHOWN]:
        yield seed, scores[:columns], kept[:columns], delta


def _score(score: float | None, survivor: float | None, pair: SheetPair) -> str:
    gone = score is not None and survivor is None
    return number(score, percent=pair.percent) + ("×" if gone else "")  # noqa: RUF001


def _definitions(family: FamilyReport) -> str:
    lines = [
        f"- {', '.join(map(code, names))}: {prose(text)}"
        for text, names in facts.definitions(family).items()
    ]
    return folded("Definitions", "\n".join(lines))
