"""The lock: what a run decided, small enough to commit, and what has drifted from it since.

Verdicts must agree exactly; scores, and the share of samples whose prediction flipped, up to a
tolerance, so that another machine's rounding passes. `lock_file` writes and reads it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pytest_multiplicity.findings import FamilyReport, RunReport, SheetReport, known
from pytest_multiplicity.report import reachable
from pytest_multiplicity.report.text import inert, plural

NAMED = 20
"""Changes of one kind that are named; the rest is counted."""
MOST_SAMPLES = 100_000
"""Of larger data sets no predictions are kept."""
KEPT = "survivor"
EVERYBODY = ", all"

Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Majority:
    """What the majority of the survivors says of each sample of a data set."""

    targets: str
    """A digest of the targets: samples are compared only where these are the same."""
    classes: int
    """How many there are: targets and predictions lie below."""
    majority: tuple[int, ...]


@dataclass(frozen=True)
class Locked:
    """One family."""

    verdicts: Mapping[str, str] = field(default_factory=dict)
    """Candidate -> `survivor`, or `rejected by test_private`."""
    scores: Mapping[str, Numbers] = field(default_factory=dict)
    """`accuracy on test, survivors` -> lowest and highest; `ambiguity on test` -> value."""
    samples: Mapping[str, Majority] = field(default_factory=dict)
    comparisons: Mapping[str, Numbers] = field(default_factory=dict)
    """`churn against production on test, survivors` -> lowest and highest; floors -> value.

    Nothing where nobody compared, or in a lock from before comparisons were in it."""
    screened: bool = False
    """Not every spec judged every candidate: who else rejects it, and what it scores, is open."""


Lock = Mapping[str, Locked]


@dataclass(frozen=True)
class Drift:
    """What differs from the lock beyond the tolerance."""

    verdicts: tuple[str, ...] = ()
    scores: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    """Families in the lock and not in the run: not compared, and no drift."""

    @property
    def lines(self) -> list[str]:
        """What differs, a line each."""
        return [*self.families, *self.verdicts, *self.scores, *self.samples]

    def __str__(self) -> str:
        """Return a line that counts, and the lines themselves."""
        counts = [
            (self.families, "family", "new"),
            (self.verdicts, "verdict", "changed"),
            (self.scores, "score", "drifted"),
            (self.samples, "data set", "with flipped samples"),
        ]
        told = [f"{plural(len(lines), noun)} {what}" for lines, noun, what in counts if lines]
        absent = [f"not in this run, not compared: {', '.join(map(inert, self.absent))}"]
        shown = [line for lines, *_ in counts for line in _some(lines)]
        return "\n".join([", ".join(told) or "no drift", *shown, *(absent if self.absent else [])])


# --- what a run decided


def of_run(
    run: RunReport,
    samples: Mapping[str, Mapping[str, Majority]],
    searched: Mapping[str, Collection[str]],
) -> Lock:
    """Return the run as a lock.

    `samples`: family -> data set -> what the survivors say of it. `searched`: family -> metrics
    that a search found, which are left out: with another past it looks elsewhere.
    """
    return {
        family.name: Locked(
            verdicts={each.id: _verdict(each.rejected_by) for each in family.candidates},
            scores=dict(_scores(family, searched.get(family.name, ()))),
            samples={
                data: each
                for data, each in samples.get(family.name, {}).items()
                if len(each.majority) <= MOST_SAMPLES
            },
            comparisons=dict(_comparisons(family)),
            screened=any(each.screened for each in family.specs),
        )
        for family in run.families
    }


def _verdict(rejected_by: Sequence[str]) -> str:
    return f"rejected by {', '.join(rejected_by)}" if rejected_by else KEPT


def _scores(family: FamilyReport, searched: Collection[str]) -> Iterator[tuple[str, Numbers]]:
    for pair in family.sheets:
        if pair.metric in searched:
            continue
        for who, sheet in ((EVERYBODY, pair.before), (", survivors", pair.after)):
            if (ends := _ends(sheet)) is not None:
                yield f"{pair.metric}{who}", ends
    for row in family.predictive:
        if known(row.after):
            yield f"{row.metric} on {row.data}", (_rounded(row.after),)
    for each in family.reachable:
        asked = f" within {each.within:g}" + ", kept by all specifications" * each.specs
        how = "" if each.how == "last layer" else f" by {each.how}"
        yield f"{reachable.title(each)}{asked}{how}", (_rounded(each.share),)
    for extreme in family.extremes:
        yield reachable.of_extreme(extreme), (_rounded(extreme.value),)


def _comparisons(family: FamilyReport) -> Iterator[tuple[str, Numbers]]:
    """Yield what stands beside an incumbent: of survivors the ends, and what retraining does."""
    kept = [place for place, each in enumerate(family.candidates) if each.status == KEPT]
    for each in family.comparisons:
        of = f"against {each.incumbent} on {each.data}"
        for kind, values in (("flips", each.flips), ("churn", each.churn), ("gain", each.gain)):
            known_of = [one.value for place in kept if values and (one := values[place])]
            if known_of:
                ends = min(known_of), max(known_of)
                yield f"{kind} {of}, survivors", (_rounded(ends[0]), _rounded(ends[1]))
        for kind, floor in (("flips", each.flips_floor), ("churn", each.churn_floor)):
            if known(floor):
                yield f"{kind} by retraining alone on {each.data}{EVERYBODY}", (_rounded(floor),)


def _ends(sheet: SheetReport) -> Numbers | None:
    if known(sheet.low) and known(sheet.high):
        return _rounded(sheet.low), _rounded(sheet.high)
    return None


def _rounded(value: float) -> float:
    """Four digits: more would change with the machine, fewer would hide a drift."""
    return float(f"{value:.4g}")


# --- what differs


def compare(locked: Lock, now: Lock, tolerance: float) -> Drift:
    """Return what `now` differs in, beyond `tolerance` (see `drifted`)."""
    both = [(name, locked[name], now[name]) for name in now if name in locked]
    one = len(now) == 1
    named = [("" if one else f"{inert(name)}: ", before, after) for name, before, after in both]
    return Drift(
        verdicts=tuple(f"{at}{line}" for at, a, b in named for line in _verdicts(a, b)),
        scores=tuple(f"{at}{line}" for at, a, b in named for line in _drifts(a, b, tolerance)),
        samples=tuple(f"{at}{line}" for at, a, b in named for line in _flips(a, b, tolerance)),
        families=tuple(f"{inert(name)}: new" for name in now if name not in locked),
        absent=tuple(name for name in locked if name not in now),
    )


def _verdicts(locked: Locked, now: Locked) -> Iterator[str]:
    for candidate in {**locked.verdicts, **now.verdicts}:
        before, after = locked.verdicts.get(candidate), now.verdicts.get(candidate)
        open_ = _screened(locked, now) and KEPT not in (before, after)
        if before != after and not (open_ and before and after):
            yield f"{inert(candidate)}: {_became(before, after)}"


def _screened(locked: Locked, now: Locked) -> bool:
    """Return whether one of the two leaves open what becomes of rejected candidates."""
    return locked.screened or now.screened


def _became(before: str | None, after: str | None) -> str:
    if before is None:
        return f"new, {inert(after or '')}"
    return f"was {inert(before)}, is {'gone' if after is None else inert(after)}"


def _drifts(locked: Locked, now: Locked, tolerance: float) -> Iterator[str]:
    old, new = dict(locked.scores), dict(now.scores)
    if locked.comparisons:
        old, new = {**old, **locked.comparisons}, {**new, **now.comparisons}
    for name in {**old, **new}:
        before, after = old.get(name), new.get(name)
        if before is None or after is None:
            if not (_screened(locked, now) and name.endswith(EVERYBODY)):
                yield f"{inert(name)}: {'new' if before is None else 'gone'}"
        elif drifted(before, after, tolerance):
            yield f"{inert(name)}: {_moved(before, after)}"


def drifted(before: Numbers, after: Numbers, tolerance: float) -> bool:
    """Return whether a number moved by more than `tolerance`; of numbers above 1, by that share."""
    if len(before) != len(after):
        return True
    moves = zip(before, after, strict=True)
    return any(abs(b - a) > tolerance * max(1.0, abs(a)) + 1e-9 for a, b in moves)


def _moved(before: Numbers, after: Numbers) -> str:
    told = f"{_shown(before)} became {_shown(after)}"
    if len(before) == len(after) == 2:
        growth = (after[1] - after[0]) - (before[1] - before[0])
        how = "grew" if growth > 0 else "shrank"
        told = f"range {how} by {abs(growth):.4g}: {told}" if abs(growth) > 1e-9 else told
    return told


def _shown(numbers: Numbers) -> str:
    return " to ".join(f"{each:.4g}" for each in numbers)


def _flips(locked: Locked, now: Locked, tolerance: float) -> Iterator[str]:
    for data, before in locked.samples.items():
        after = now.samples.get(data)
        if after is None:
            yield f"{inert(data)}: its samples were not looked at"
        elif after.targets != before.targets or len(after.majority) != len(before.majority):
            yield f"{inert(data)}: other samples than those of the lock"
        elif len(flipped := _flipped(before, after)) > tolerance * len(before.majority):
            yield f"{inert(data)}: {_named(flipped, before, after)}"


def _flipped(before: Majority, after: Majority) -> list[int]:
    pairs = zip(before.majority, after.majority, strict=True)
    return [row for row, (a, b) in enumerate(pairs) if a != b]


def _named(rows: Sequence[int], before: Majority, after: Majority) -> str:
    shown = ", ".join(f"{i} ({before.majority[i]} to {after.majority[i]})" for i in rows[:NAMED])
    more = f", and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return f"{len(rows)} of {len(before.majority)} samples flipped: {shown}{more}"


def _some(lines: Sequence[str]) -> list[str]:
    more = [f"and {len(lines) - NAMED} more"] if len(lines) > NAMED else []
    return [*lines[:NAMED], *more]


def updated(locked: Lock, now: Lock, tolerance: float) -> Lock:
    """Return the lock of `now`, with the old numbers wherever they did not drift: a small diff."""
    merged = {
        name: _merged(locked[name], each, tolerance) if name in locked else each
        for name, each in now.items()
    }
    return {**{name: each for name, each in locked.items() if name not in now}, **merged}


def _merged(locked: Locked, now: Locked, tolerance: float) -> Locked:
    still = {} if any(_flips(locked, now, tolerance)) else locked.samples
    return Locked(
        now.verdicts,
        _still(locked.scores, now.scores, tolerance),
        {**now.samples, **still},
        _still(locked.comparisons, now.comparisons, tolerance),
        now.screened,
    )


def _still(
    locked: Mapping[str, Numbers], now: Mapping[str, Numbers], tolerance: float
) -> dict[str, Numbers]:
    """Return the numbers of now, the old ones where they did not drift."""
    return {
        name: locked[name]
        if name in locked and not drifted(locked[name], numbers, tolerance)
        else numbers
        for name, numbers in now.items()
    }


def lacks_comparisons(locked: Lock, now: Lock) -> bool:
    """Return whether a family of the lock has none, and the run compares it with an incumbent."""
    return any(
        each.comparisons and name in locked and not locked[name].comparisons
        for name, each in now.items()
    )
