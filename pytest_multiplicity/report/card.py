"""The card: what a reader of a model card asks, and what technical documentation asks of a run.

Markdown with Hugging Face's front matter. A number that it must have and the run has not is an
error, so that no card looks complete that isn't.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from pytest_multiplicity.errors import MultiplicityError
from pytest_multiplicity.findings import FamilyReport, RunReport
from pytest_multiplicity.report import card_numbers, configurations, facts
from pytest_multiplicity.report.card_index import front_matter
from pytest_multiplicity.report.card_numbers import CardNumber
from pytest_multiplicity.report.marks import code, prose, table_of
from pytest_multiplicity.report.text import assignment, number, option, plural

CLAIM = (
    "These are numbers of one run. That they stand here says nothing about whether the model, or "
    "this document, meets a law or a standard."
)
ROWS = 200
"""Lines of a table before the rest is only counted: the JSON report has them all."""


def render(run: RunReport) -> str:
    """Return the card. Raises MultiplicityError for a number that it must have and hasn't."""
    needs = [each.strip() for each in str(run.settings.get("card_needs", "")).split(",")]
    lacking = card_numbers.missing(run, [each for each in needs if each])
    if lacking:
        raise MultiplicityError(
            "the card lacks what it must have, and was not written: " + "; ".join(lacking)
        )
    json = run.settings.get("json")
    report = PurePath(str(json)).name if json else "the JSON report (--multiplicity-json)"
    parts = [front_matter(run), "# Model card", CLAIM]
    for family in run.families:
        parts += _family(family)
    if run.gates:
        parts += ["## Gates", _gates(run)]
    parts += ["## From requirement to number to file", *_annex(run, report)]
    parts += ["## What no tool can fill", _unfilled()]
    parts += ["## What made it", _made(run)]
    return (
        ("\n\n".join(part.rstrip() for part in parts) + "\n")
        .encode("utf-8", "replace")
        .decode("utf-8")
    )


def _family(family: FamilyReport) -> Iterator[str]:
    yield f"## {code(family.name)}: {prose(facts.survival(family))}"
    yield "### What varied"
    yield f"{prose(facts.shape(family))}. By default {code(assignment(family.default))}."
    if family.axes:
        axes = [(code(axis), _options(options)) for axis, options in family.axes.items()]
        yield table_of(("axis", "options, the default first"), axes, left=2)
    yield "### What was required, and by whom"
    yield _specs(family)
    yield "### Who survived"
    yield _survivors(family)
    yield "### Sheets"
    yield _sheets(family)
    yield "### Known conflicts"
    yield _conflicts(family)


def _options(options: object) -> str:
    shown = [code(option(each)) for each in list(options)[:ROWS]]  # type: ignore[call-overload]
    return ", ".join(shown)


def _specs(family: FamilyReport) -> str:
    rows = [
        (
            code(each.name),
            prose(each.text) or "no docstring says why",
            each.kind,
            f"{each.kept} of {each.judged}",
            code(each.nodeid.partition("::")[0]),
        )
        for each in family.specs[:ROWS]
    ]
    return table_of(("specification", "what it asks", "", "kept", "file"), rows, left=5)


def _survivors(family: FamilyReport) -> str:
    pick = family.pick
    assert pick is not None  # as the check of what is missing saw to
    by = f", best by {code(pick.by)}" if pick.by else ""
    lines = [f"The pick is {code(pick.id)}{by}: the results above are its own.", ""]
    groups = facts.by_configuration(family.survivors)
    lines += [
        f"- {code(name)}: {plural(len(of), 'seed')}" for name, of in list(groups.items())[:ROWS]
    ]
    for each in configurations.shown(family)[:ROWS]:
        words = configurations.decided(each)
        lines += [f"- {code(each.name)}, reliable at: {prose(words)}"] if words else []
    return "\n".join(lines)


def _sheets(family: FamilyReport) -> str:
    assert family.pick is not None
    pick = next(each for each in family.survivors if each.id == family.pick.id)
    rows = []
    for pair in family.sheets[:ROWS]:
        after = pair.after
        values = [pick.scores.get(pair.metric), after.low, after.high, after.delta_all,
                  after.noise_floor]  # fmt: skip
        shown = (number(value, percent=pair.percent) for value in values)
        selected = "these data selected: optimistic" if pair.optimistic else ""
        rows.append((code(pair.metric), code(pair.unit), *shown, selected))
    headings = ("metric", "in", "pick", "lowest", "highest", "range", "range by chance", "")
    return table_of(headings, rows, left=2) + "\nOf the survivors; the pick is one of them."


def _conflicts(family: FamilyReport) -> str:
    lines = [
        f"- {prose(each.metric)} on {prose(each.data)}: {number(each.after, percent=each.percent)}"
        f"{'%' if each.percent else ''} among survivors, "
        f"{number(each.before, percent=each.percent)}{'%' if each.percent else ''} among all"
        for each in family.predictive[:ROWS]
    ]
    lines += [
        f"- survivors differ on {each.total} samples of {prose(each.data)}"
        for each in family.conflicts[:ROWS]
    ]
    lines += [
        f"- {code(each.name)} leaves nobody with {', '.join(map(code, each.conflicts_with))}"
        for each in family.specs[:ROWS]
        if each.conflicts_with
    ]
    return "\n".join(lines) or "None was looked for."


def _gates(run: RunReport) -> str:
    rows = [
        (code(each.name), each.outcome, prose(each.message), code(each.nodeid.partition("::")[0]))
        for each in run.gates[:ROWS]
    ]
    return table_of(("gate", "outcome", "", "file"), rows, left=4)


def _annex(run: RunReport, report: str) -> list[str]:
    found = card_numbers.numbers(run)
    rows = [
        (each.point, prose(each.what), shown(each), code(each.pointer), code(each.file or report))
        for each in found[:ROWS]
    ]
    about = (
        f"Points of Annex IV of Regulation (EU) 2024/1689 for which this run has a number. The "
        f"place is a JSON pointer into {code(report)}."
    )
    rest = [f"and {len(found) - ROWS} more"] if len(found) > ROWS else []
    return [
        about,
        table_of(("asked for in", "what", "number", "place", "file"), rows, left=2),
        *rest,
    ]


def shown(each: CardNumber) -> str:
    """Return a number as the card prints it."""
    if each.value is None:
        return "unknown"
    if each.count:
        return str(int(each.value))
    return number(each.value, percent=each.percent) + ("%" if each.percent else "")


def _unfilled() -> str:
    about = "Annex IV asks for these, and only people know them:"
    return "\n".join([about, "", *(f"- {each}" for each in card_numbers.UNFILLED)])


def _made(run: RunReport) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    warnings = [f"- {prose(each)}" for each in run.warnings[:ROWS]]
    told = ["", "Warnings of the run:", "", *warnings] if warnings else []
    return "\n".join([f"On {prose(run.device)}, with {prose(versions)}.", *told])
