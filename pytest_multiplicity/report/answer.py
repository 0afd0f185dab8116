"""The short answer of a run: can it ship, which one, what remains, and for whom.

Every number comes with its place in the JSON report, so that a reader can follow it there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_multiplicity.findings import (
    ComparisonReport,
    ConfigurationReport,
    FamilyReport,
    RunReport,
    SheetPair,
    known,
)
from pytest_multiplicity.report import configurations, facts
from pytest_multiplicity.report.text import plural

Tone = Literal["good", "bad", "care"]
WIDEST = 3
"""Spreads that are named."""
RELIABLE = 3
"""Configurations that are named."""


@dataclass(frozen=True)
class Shipping:
    """Whether anything of the run can ship, in a few words."""

    tone: Tone
    word: str
    """`Ready`, `Not yet`, `Undecided`."""
    because: str


@dataclass(frozen=True)
class Number:
    """A number, and where it stands in the JSON report: steps from the top, or from the family.

    A step `@2` is the third entry of an object, whose key may be anything.
    """

    value: float | None
    at: str
    percent: bool = True


@dataclass(frozen=True)
class Line:
    """A sentence with one number in it: before the number, and after it."""

    before: str
    number: Number
    unit: str
    after: str
    warns: bool = False
    """Whether it is something to worry about."""


@dataclass(frozen=True)
class Spread:
    """How far survivors still lie apart in one metric."""

    position: int
    """Of the sheet in the family."""
    pair: SheetPair
    words: str
    """What the specification that measured it says; "" where it says nothing."""


def verdict(run: RunReport) -> Shipping:
    """Return what the gates say of the run, or why they say nothing."""
    counts = dict.fromkeys(("passed", "failed", "not evaluated"), 0)
    for gate in run.gates:
        counts[gate.outcome] += 1
    total, failed = plural(len(run.gates), "gate"), counts["failed"]
    if not run.complete:
        return Shipping("care", "Undecided", facts.partial(run))
    empty = [each for each in run.families if each.candidates and not each.survivors]
    if empty:
        none = f"none of {plural(len(empty[0].candidates), 'candidate')} meets everything"
        return Shipping("bad", "Not yet", f"{none}, {failed} of {total} failed" if failed else none)
    if failed:
        return Shipping("bad", "Not yet", f"{failed} of {total} failed")
    if counts["not evaluated"]:
        open_ = f"{counts['not evaluated']} of {total} not evaluated"
        return Shipping("care", "Undecided", open_)
    if not run.gates:
        return Shipping("care", "Undecided", "no gate says what is good enough")
    return Shipping(
        "good", "Ready", "the gate passed" if total == "1 gate" else f"all {total} passed"
    )


def widest(family: FamilyReport, most: int = WIDEST) -> list[Spread]:
    """Return where survivors lie farthest apart, of what is measured in percent."""
    spread = [
        (position, pair)
        for position, pair in enumerate(family.sheets)
        if pair.percent and known(pair.after.delta_all) and pair.after.delta_all > 0
    ]
    spread.sort(key=lambda each: -(each[1].after.delta_all or 0.0))
    return [Spread(place, pair, words(family, pair.metric)) for place, pair in spread[:most]]


def words(family: FamilyReport, metric: str) -> str:
    """Return the first sentence of the specification that measured this metric and no other."""
    told = [each.text.strip() for each in family.specs if list(each.metrics) == [metric]]
    return told[0].split("\n\n")[0].split(". ")[0].rstrip(".") if told else ""


def picked(family: FamilyReport) -> tuple[int, str] | None:
    """Return the pick's place among the candidates, and where its score stands."""
    ids = [each.id for each in family.candidates]
    if family.pick is None or family.pick.id not in ids:
        return None
    place = ids.index(family.pick.id)
    return (
        place,
        f"candidates/{place}/scores/{step(family.candidates[place].scores, family.pick.by)}",
    )


def step(mapping: object, key: str | None) -> str:
    """Return the step to a key of an object: its position, whatever it is called."""
    names = list(mapping) if isinstance(mapping, dict) else []
    return f"@{names.index(key)}" if key in names else ""


def selecting(family: FamilyReport) -> tuple[int, SheetPair] | None:
    """Return the sheet of the metric that the pick is best by."""
    for position, pair in enumerate(family.sheets):
        if family.pick is not None and pair.metric == family.pick.by:
            return position, pair
    return None


def people(family: FamilyReport) -> Iterator[Line]:
    """Yield for whom it matters which survivor ships, the plainest first."""
    yield from _ambiguous(family)
    yield from _gaps(family)
    yield from _groups(family)
    for each in family.regions[:1]:
        inside = Number(each.inside, "regions/0/inside")
        yield Line(f"{each.what}, most where {each.query}:", inside, "%", f"of {each.data}", True)
    yield from _shared_out(family)
    for reached in family.reachable[:1]:
        share = Number(reached.share, "reachable/0/share")
        yield Line(
            "", share, "%", f"of {reached.data}: a model as good that nobody trained differs"
        )


def _shared_out(family: FamilyReport) -> Iterator[Line]:
    """Yield whom nobody chooses, and who is behind in several respects."""
    for given in family.allocations[:1]:
        alone = Number(given.unchosen, "allocations/0/unchosen", percent=False)
        words = f"qualified are chosen by no survivor, where {given.k} of {given.people} can be"
        yield Line("", alone, "", words, warns=given.unchosen > given.unchosen_expected)
    for each in family.cascades[:1]:
        if behind := each.behind or each.behind_for_some:
            who = "whichever survivor ships" if each.behind else "for some of the survivors"
            count = Number(len(behind), "cascades/0/behind", percent=False)
            words = f"of the groups of {each.data} behind in several respects, {who}"
            yield Line("", count, "", words, warns=True)


def _ambiguous(family: FamilyReport) -> Iterator[Line]:
    """Yield how many samples are answered as the choice falls, on data that didn't select first."""
    rows = [
        (index, row)
        for index, row in enumerate(family.predictive)
        if row.metric == "ambiguity" and known(row.after)
    ]
    rows.sort(key=lambda each: each[1].optimistic)
    for index, row in rows[:1]:
        share = Number(row.after, f"predictive/{index}/after")
        words = f"of {row.data}: the answer depends on which survivor ships"
        yield Line("", share, "%", words, warns=True)
    for conflicts in () if rows else family.conflicts[:1]:
        total = Number(conflicts.total, "conflicts/0/total", percent=False)
        words = f"samples of {conflicts.data}: the answer depends on which survivor ships"
        yield Line("", total, "", words, warns=True)


def _gaps(family: FamilyReport) -> Iterator[Line]:
    """Yield the pick's gaps between groups, the largest first."""
    found = picked(family)
    if found is None:
        return
    place, _ = found
    scores = family.candidates[place].scores
    gaps = [
        (value, pair.metric)
        for pair in family.sheets
        if pair.gap is not None and pair.gap.kind == "gap"
        if known(value := scores.get(pair.metric))
    ]
    for value, metric in sorted(gaps, key=lambda each: -each[0])[:2]:
        at = f"candidates/{place}/scores/{step(scores, metric)}"
        yield Line("", Number(value, at), "points", f"{metric}, of the pick")


def _groups(family: FamilyReport) -> Iterator[Line]:
    """Yield the group whose samples survivors contest most, and whom the pick alone rejects."""
    for report in family.individuals[:1]:
        at = "individuals/0/people/"
        groups = [each for each in enumerate(report.people) if each[0] and known(each[1].contested)]
        if groups:
            row, each = max(groups, key=lambda pair: pair[1].contested)
            share = Number(each.contested, f"{at}{row}/contested")
            before = f"most for {each.attribute} {each.group}:"
            yield Line(before, share, "%", "of them are contested", warns=True)
        alone = report.people[0].rejected_by_pick_only
        if known(alone) and alone > 0:
            share = Number(alone, f"{at}0/rejected_by_pick_only")
            yield Line("", share, "%", f"of {report.data} are rejected by the pick alone")


def reliable(family: FamilyReport) -> Sequence[tuple[int, ConfigurationReport]]:
    """Return the configurations whose seeds pass most often, the surest first, with positions."""
    shown = list(enumerate(configurations.shown(family)))
    shown.sort(key=lambda each: (-(each[1].low or 0.0), each[0]))
    return [each for each in shown if each[1].passed][:RELIABLE]


def decided(family: FamilyReport) -> str:
    """Return how many configurations pass as often as is asked for, as far as that is decided."""
    shown = configurations.shown(family)
    shares = sorted({float(share) for each in shown for share in each.reliable}, reverse=True)
    for share in shares:
        sure = [
            e for e in shown if any(float(s) == share and said for s, said in e.reliable.items())
        ]
        if sure:
            return f"{len(sure)} of {plural(len(shown), 'configuration')} decided at {share:.0%}"
    clean = sum(each.passed == each.seeds > 0 for each in shown)
    told = f"{clean} of {plural(len(shown), 'configuration')} with no seed rejected"
    return f"{told}; too few seeds to decide" if shares else told


def beside(family: FamilyReport) -> Iterator[tuple[ComparisonReport, list[Line]]]:
    """Yield what the pick changes against each incumbent, on samples that selected nobody."""
    found = picked(family)
    if found is None:
        return
    place, _ = found
    fresh = facts.fresh_comparisons(family)
    for index, each in enumerate(family.comparisons):
        if each not in fresh:
            continue
        lines = []
        for kind, floor, text in (
            ("flips", each.flips_floor, "right today and wrong then"),
            ("churn", each.churn_floor, "answered otherwise"),
        ):
            values = getattr(each, kind)
            if values and values[place] is not None:
                value = values[place].value
                alone = f", {100 * floor:.1f}% by retraining alone" if known(floor) else ""
                at = f"comparisons/{index}/{kind}/{place}/value"
                beyond = kind == "flips" and not (known(floor) and value <= floor)
                lines.append(Line("", Number(value, at), "%", text + alone, warns=beyond))
        gain = each.gain[place] if each.gain else None
        if gain is not None:
            at = f"comparisons/{index}/gain/{place}/value"
            words = "accuracy beside today's, above 0 is better"
            lines.append(Line("", Number(gain.value, at), "points", words, gain.value < 0))
        if lines:
            yield each, lines
