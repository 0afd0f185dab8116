"""What a report says about a family, worked out once for all renderers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_multiplicity.findings import (
    CandidateReport,
    ComparisonReport,
    FamilyReport,
    GateReport,
    RegionReport,
    RunReport,
    SheetPair,
    SheetReport,
    SpecReport,
    Table,
    Valued,
    known,
)
from pytest_multiplicity.report.text import number, plural

TRAINING = "training"
"""The name under which diverged candidates are rejected."""

PLAIN_UNITS = ("percent", "number")

SEEDS_SHOWN, OPTIONS_SHOWN = 30, 24
"""Rows and columns of a table before the rest is only counted: the JSON report has them all."""


@dataclass(frozen=True)
class Step:
    """One step of the funnel: what it did to the candidates, and how many are left after it."""

    name: str
    kept: int
    rejected: int
    only_here: int | None
    left: int | None = None
    """Candidates that neither this step nor one above it rejected or failed to judge."""
    spec: SpecReport | None = None
    """None for the training itself."""

    @property
    def idle(self) -> bool:
        """Whether it judged everybody and nothing came of it."""
        asked = (self.spec.failed, self.spec.undecided, self.spec.screened) if self.spec else ()
        return not self.rejected and not any(asked)

    @property
    def unforeseen(self) -> bool:
        """Whether it only measures: then nobody is left out by it."""
        return self.spec is not None and self.spec.kind == "unforeseen"


def funnel(family: FamilyReport) -> tuple[Step, ...]:
    """Return the enforced specs in order, after the training where candidates diverged."""
    steps = []
    left = [{*each.rejected_by, *each.failed_in} for each in family.candidates]
    if any(each.diverged for each in family.candidates):
        gone = [names for names in left if TRAINING in names]
        left = [names for names in left if TRAINING not in names]
        alone = sum(names == {TRAINING} for names in gone)
        steps.append(Step(TRAINING, len(left), len(gone), alone, len(left)))
    for spec in family.specs:
        if spec.kind == "unforeseen":
            continue
        left = [names for names in left if spec.name not in names]
        steps.append(Step(spec.name, spec.kept, spec.rejected, spec.only_here, len(left), spec))
    return tuple(steps)


def unforeseen(family: FamilyReport) -> tuple[Step, ...]:
    """Return the specs that only measure, which leave everybody in."""
    return tuple(
        Step(spec.name, spec.judged, 0, None, spec=spec)
        for spec in family.specs
        if spec.kind == "unforeseen"
    )


def by_configuration(candidates: Sequence[CandidateReport]) -> dict[str, list[CandidateReport]]:
    """Return candidates by the readable name of their configuration: their id without the seed."""
    groups: dict[str, list[CandidateReport]] = {}
    for each in candidates:
        groups.setdefault(re.sub(r"-seed\d+$", "", each.id), []).append(each)
    return groups


def survival(family: FamilyReport) -> str:
    """Return `19 of 45 candidates survive`."""
    survivors, total = len(family.survivors), len(family.candidates)
    return (
        f"{survivors} of {plural(total, 'candidate')} {'survives' if survivors == 1 else 'survive'}"
    )


def origin(family: FamilyReport) -> str:
    """Return `30 candidates: 0 trained, 30 from the store`."""
    count, done = plural(len(family.candidates), "candidate"), family.trained + family.from_store
    if not done:
        return count
    if done < len(family.candidates) and all(c.status == "not judged" for c in family.candidates):
        return f"{done} of {count} trained and kept in the store"
    return f"{count}: {family.trained} trained, {family.from_store} from the store"


def trained(family: FamilyReport) -> list[str]:
    """Return how the candidates were trained: `trained 20 fused in workers, 5 plain`."""
    told = ", ".join(f"{count} {way}" for way, count in family.ways.items())
    return [f"trained {told}"] if told else []


def shape(family: FamilyReport) -> str:
    """Return `star design, 3 axes, 5 seeds`."""
    axes = f"{len(family.axes)} ax{'i' if len(family.axes) == 1 else 'e'}s"
    return f"{family.design} design, {axes}, {plural(len(family.seeds), 'seed')}"


def tally(gates: Sequence[GateReport]) -> str:
    """Return `2 passed, 1 failed`."""
    counts = Counter(gate.outcome for gate in gates)
    named = (f"{counts[outcome]} {outcome}" for outcome in ("failed", "passed", "not evaluated"))
    return ", ".join(part for part in named if not part.startswith("0 "))


def partial(run: RunReport) -> str:
    """Return `partial: 34 of 72 pairs`, or nothing for a complete run."""
    return "" if run.complete else f"partial: {run.partial_reason or 'not every pair was judged'}"


def narrowed(pair: SheetPair) -> bool:
    """Return whether selection left fewer candidates in the sheet than there were."""
    return pair.after.count < pair.before.count + pair.screened


def screened(pair: SheetPair) -> str:
    """Return `screened: not measured for 12 rejected candidates`, or nothing."""
    count = plural(pair.screened, "rejected candidate")
    return f"screened: not measured for {count}" if pair.screened else ""


def marks(pair: SheetPair) -> tuple[str, ...]:
    """Return what a reader must know to read the metric's numbers."""
    noise = ("within test-set noise",) if pair.before.within_noise else ()
    missed = (screened(pair),) if pair.screened else ()
    optimistic = ("optimistic",) if pair.optimistic and narrowed(pair) else ()
    return noise + missed + optimistic


def widest(family: FamilyReport, most: int) -> tuple[SheetPair, ...]:
    """Return the metrics that spread most among survivors, shares before what can't be compared."""
    measured = sorted(
        family.sheets, key=lambda pair: (not pair.percent, -(pair.after.delta_all or 0))
    )
    return tuple(measured[:most])


def main_source(pair: SheetPair) -> str:
    """Return the largest part of where a metric's spread comes from: `81% seed`."""
    first = re.match(r"\d+% [^,;]+", pair.sources)
    return first.group() if first else ""


def unit(pair: SheetPair) -> str:
    """Return what the metric's numbers are in: `in the unit of the target`; "" for plain ones."""
    return "" if pair.unit in PLAIN_UNITS else f"in the {pair.unit}"


def gap(pair: SheetPair) -> str:
    """Return what chance alone would make of a gap; "" for what is none."""
    if pair.gap is None or not known(pair.gap.floor) or not known(pair.gap.floor_95):
        return ""
    floor, most = (
        number(each, percent=pair.percent) for each in (pair.gap.floor, pair.gap.floor_95)
    )
    whose = f"{pair.gap.beyond} of {plural(len(pair.gap.candidates), 'candidate')}"
    size = f"{floor}, 95% {most}" if floor != most else f"{floor}, however it falls"
    return f"chance alone ({pair.gap.null}) makes a {pair.gap.kind} of {size}: {whose} beyond it"


def comparison(family: FamilyReport, each: ComparisonReport) -> str:
    """Return `4.1% flips, of which 3.6% by retraining alone; ...`: the survivors' mean."""
    kept = [c.status == "survivor" for c in family.candidates]
    parts = []
    if (flips := _mean_of(each.flips, kept)) is not None:
        parts.append(f"{100 * flips:.1f}% flips{_alone(flips, each.flips_floor)}")
    if (gain := _mean_of(each.gain, kept)) is not None:
        parts.append(f"gain {100 * gain:+.1f} points")
    if (churn := _mean_of(each.churn, kept)) is not None:
        parts.append(f"{100 * churn:.1f}% churn{_alone(churn, each.churn_floor)}")
    compared = sum(value is not None for value in each.churn)
    whose = plural(sum(kept) or compared, "survivor" if any(kept) else "candidate")
    return f"{each.incumbent} on {each.data}: {'; '.join(parts)} (mean of {whose})"


def fresh_comparisons(family: FamilyReport) -> Sequence[ComparisonReport]:
    """Return the comparisons on data that selected nobody; all of them where there are none."""
    selecting = tuple(f"{pair.data} " for pair in family.sheets if pair.optimistic)
    fresh = [each for each in family.comparisons if not f"{each.data} ".startswith(selecting)]
    return fresh or family.comparisons


def _alone(mean: float, floor: float | None) -> str:
    """Return how much of it retraining alone makes; "" where every configuration has one seed."""
    if not known(floor):
        return ""
    return f", {'of which' if floor <= mean else 'and'} {100 * floor:.1f}% by retraining alone"


def _mean_of(values: Sequence[Valued | None], kept: Sequence[bool]) -> float | None:
    """Return the mean over survivors, or over everybody where nobody survives."""
    chosen = [v.value for v, wanted in zip(values, kept, strict=False) if v is not None and wanted]
    chosen = chosen or [v.value for v in values if v is not None]
    return sum(chosen) / len(chosen) if chosen else None


def looks(family: FamilyReport) -> list[str]:
    """Return the notes on how often data were looked at."""
    return [each for each in family.notes if each.startswith(tuple(f"{d}: " for d in family.looks))]


def rates(each: RegionReport) -> str:
    """Return `age >= 60 and device == 'B': 11.0%, 2.1% elsewhere`."""
    return f"{each.query}: {100 * each.inside:.1f}%, {100 * each.elsewhere:.1f}% elsewhere"


def region(each: RegionReport) -> str:
    """Return `age >= 60 and device == 'B': 11.0%, 2.1% elsewhere (...)`: of whom, how sure."""
    return (
        f"{rates(each)} "
        f"({each.samples:,} of {each.of:,} samples of {each.data}, p = {each.p_value:.2g}; found "
        f"on {each.found_on})"
    )


def beyond(pair: SheetPair) -> str:
    """Return for how many candidates a gap is more than chance; "" for what is no gap."""
    if pair.gap is None:
        return ""
    return f"{pair.gap.kind} beyond chance: {pair.gap.beyond} of {len(pair.gap.candidates)}"


def units(pairs: Iterable[SheetPair]) -> str:
    """Return what the numbers of a table of metrics are in."""
    others = [pair.unit for pair in pairs if pair.unit not in PLAIN_UNITS[:1]]
    named = " or ".join(dict.fromkeys("plain" if u == "number" else f"in the {u}" for u in others))
    return "in points of percent" + (f"; of what is no share, {named}" if named else "")


def definitions(family: FamilyReport) -> dict[str, list[str]]:
    """Return each definition once, and the metrics that it defines."""
    named: dict[str, list[str]] = {}
    for pair in family.sheets:
        named.setdefault(pair.definition, []).append(pair.metric)
    for row in family.predictive:
        named.setdefault(row.definition, []).append(f"{row.metric} on {row.data}")
    return {text: names for text, names in named.items() if text}


def bounds(values: Sequence[float | None]) -> tuple[float, float] | None:
    """Return the smallest and the largest known value; None where none is known."""
    numbers = [value for value in values if known(value)]
    return (min(numbers), max(numbers)) if numbers else None


def cut(table: Table) -> str:
    """Return what the shown part of a table leaves out: `20 more seeds, 6 more options`."""
    hidden = (
        (len(table.seeds) - SEEDS_SHOWN, "seed"),
        (len(table.options) - OPTIONS_SHOWN, "option"),
    )
    return ", ".join(plural(count, f"more {name}") for count, name in hidden if count > 0)


@dataclass(frozen=True)
class Scale:
    """Maps a sheet's values to shades in [0, 1]: one scale for scores, one for deltas.

    Scores go from the sheet's smallest to its largest; deltas, which have a natural zero, from 0.
    """

    low: float
    high: float

    def shade(self, value: float | None) -> float | None:
        """Return how far from white; None for a value that is not in the sheet."""
        if not known(value):
            return None
        return (value - self.low) / (self.high - self.low) if self.high > self.low else 0.0


def scales(sheet: SheetReport) -> tuple[Scale, Scale]:
    """Return the scale of the scores and that of the deltas."""
    tables = sheet.tables.values()
    scores = bounds([score for table in tables for row in table.scores for score in row])
    deltas = bounds([d for t in tables for d in (*t.delta_by_seed, *t.delta_by_option)])
    return Scale(*(scores or (0.0, 0.0))), Scale(0.0, deltas[1] if deltas else 0.0)


def in_words(sheet: SheetReport, *, percent: bool = True) -> str:
    """Return what the noise floor says about the sheet's delta, in a sentence."""
    if not known(sheet.noise_floor):
        return ""
    at_most = "at most " if sheet.floor_at_most else ""
    floor = at_most + number(sheet.noise_floor, percent=percent)
    if sheet.floor_at_most or not known(sheet.p_value):
        return f"noise floor {floor}"
    verdict = "within test-set noise" if sheet.within_noise else "beyond test-set noise"
    share = f", {100 * sheet.real_share:.0f}% real" if known(sheet.real_share) else ""
    return f"noise floor {floor}, p = {sheet.p_value:.2g}: {verdict}{share}"
