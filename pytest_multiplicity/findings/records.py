"""What happened in a run: verdicts of candidate-spec pairs, metrics, gates.

Everything here crosses processes under pytest-xdist, which takes exact builtins only: a numpy
float or a str enum kills the run. So each record has a `to_wire`, the one place where it is made of
builtins, and a `from_wire`; there are no other dictionaries of what a run found.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from pytest_multiplicity.evaluation import Facts, MetricRecord, TrainingFacts, Wired
from pytest_multiplicity.findings.model import GateOutcome, Status

Judgement = Literal["kept", "rejected", "failed", "screened"]


@dataclass(frozen=True)
class Spec:
    """A test that takes a candidate, without the candidate."""

    name: str
    nodeid: str
    unforeseen: bool
    text: str


@dataclass(frozen=True)
class News(Wired):
    """What a pair brings that the ledger doesn't know yet."""

    metrics: tuple[MetricRecord, ...] = ()
    facts: Facts = field(default_factory=Facts)
    training: TrainingFacts | None = None

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        """Return what `to_wire` wrote."""
        return cls(
            tuple(map(MetricRecord.from_wire, wire["metrics"])),
            Facts.from_wire(wire["facts"]),
            TrainingFacts.from_wire(wire["training"]) if wire["training"] else None,
        )


@dataclass(frozen=True)
class PairRecord(Wired):
    """The verdict of one spec on one candidate.

    `reason` says why it was rejected, or would have been by a spec that rejects nobody; `training`
    marks a candidate whose training diverged. A pair is `screened` when it was not judged, since
    another spec had rejected the candidate. `relative`: it was compared with others of its family.
    `added`: it wasn't declared, but added to decide; `candidate` counts those.
    `metrics` names what was measured.
    """

    family: str
    spec: str
    candidate: int
    verdict: Judgement
    reason: str = ""
    objected: bool = False
    undecided: bool = False
    training: bool = False
    relative: bool = False
    added: bool = False
    metrics: tuple[str, ...] = ()
    news: News | None = None

    @property
    def decided(self) -> bool:
        """Whether the spec itself judged the candidate, and didn't just find that it diverged."""
        return self.verdict in ("kept", "rejected") and not self.training

    def to_wire(self) -> dict[str, Any]:
        """Return it as exact builtins, its text without what UTF-8 can't hold."""
        reason = self.reason.encode("utf-8", "replace").decode()
        news = self.news and self.news.to_wire()
        return {**vars(self), "reason": reason, "news": news}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        """Return what `to_wire` wrote."""
        return cls(**{**wire, "news": News.from_wire(wire["news"]) if wire["news"] else None})


@dataclass(frozen=True)
class GateRecord(Wired):
    """What became of one gate."""

    nodeid: str
    outcome: GateOutcome
    message: str = ""
    path: str | None = None
    line: int | None = None


def status(records: Iterable[PairRecord], *, diverged: bool = False) -> Status:
    """Return what became of a candidate with these verdicts: the definition of who survives."""
    verdicts = {record.verdict for record in records}
    if diverged or "rejected" in verdicts:
        return "rejected"
    if verdicts & {"failed", "screened"}:
        return "failed"
    return "survivor" if verdicts else "not judged"


@dataclass
class Ledger:
    """Every verdict, metric and gate of the run, as the reports tell it."""

    pairs: dict[tuple[str, str], dict[int, PairRecord]] = field(default_factory=dict)
    metrics: dict[str, dict[str, MetricRecord]] = field(default_factory=dict)
    facts: dict[str, Facts] = field(default_factory=dict)
    training: dict[str, TrainingFacts] = field(default_factory=dict)
    gates: dict[str, GateRecord] = field(default_factory=dict)
    added: dict[tuple[str, str], dict[int, PairRecord]] = field(default_factory=dict)
    """Verdicts on candidates beyond the declared ones, which nothing else counts."""
    _told: dict[str, dict[str, Facts]] = field(default_factory=dict)  # by each process
    _rejected: dict[str, dict[int, dict[str, None]]] = field(default_factory=dict)

    def enter(self, record: PairRecord, process: str = "") -> None:
        """Add a verdict; a later one of the same pair (a rerun) replaces it.

        `process` is the worker that judged: each counts what it trained itself.
        """
        if record.added:
            added = self.added.setdefault((record.family, record.spec), {})
            added[record.candidate] = record
            return
        pairs = self.pairs.setdefault((record.family, record.spec), {})
        if record.verdict == "screened" and record.candidate in pairs:
            return  # another process has judged the same pair
        pairs[record.candidate] = record if record.news is None else replace(record, news=None)
        self._note_rejection(record)
        if record.news is not None:
            self.learn(record.family, record.news, process)

    def _note_rejection(self, record: PairRecord) -> None:
        family = self._rejected.setdefault(record.family, {})
        specs = family.setdefault(record.candidate, {})
        specs.pop(record.spec, None)
        if record.verdict == "rejected":
            specs[record.spec] = None
        if not specs:
            del family[record.candidate]

    def learn(self, family: str, news: News, process: str = "") -> None:
        """Take in what a process found of a family."""
        known = self.metrics.setdefault(family, {})
        for metric in news.metrics:
            before = known.get(metric.name)
            known[metric.name] = metric if before is None else before.merged(metric)
        told = self._told.setdefault(family, {})
        told[process] = news.facts
        self.facts[family] = _together(self.facts.get(family, Facts()), told.values(), news.facts)
        if news.training is not None:
            self.training[family] = news.training

    def of(self, family: str, candidate: int) -> dict[str, PairRecord]:
        """Return the verdicts on one candidate, by spec."""
        return {
            spec: records[candidate]
            for (name, spec), records in self.pairs.items()
            if name == family and candidate in records
        }

    def standing(self, family: str, candidates: Iterable[int]) -> list[int]:
        """Return those of some candidates that no spec rejected or failed to judge."""
        out = ("rejected", "failed")
        return [i for i in candidates if status(self.of(family, i).values()) not in out]

    def rejected(self, family: str) -> Mapping[int, Collection[str]]:
        """Return the rejected candidates, each with the specs that rejected it."""
        return self._rejected.get(family, {})

    def judged(self, family: str, spec: str) -> dict[int, PairRecord]:
        """Return the pairs of a spec that have a verdict, or need none: somebody rejected them."""
        records, out = self.pairs.get((family, spec), {}), self.rejected(family)
        return {
            i: record
            for i, record in records.items()
            if record.verdict != "failed" and (record.verdict != "screened" or i in out)
        }

    def missing(self, family: str, specs: Iterable[str], pairs: int) -> str | None:
        """Return which of a family's pairs have no verdict: `34 of 72 pairs`; None for none."""
        if not pairs:
            return "no specification of this family was run"
        done = sum(len(self.judged(family, spec)) for spec in specs)
        return None if done >= pairs else f"{done} of {pairs} pairs"


def _together(known: Facts, told: Collection[Facts], latest: Facts) -> Facts:
    """Return the facts of a run from those of its processes: what one trained, others found stored.

    `trained_now` also counts what processes trained that died before they could tell; warnings
    stand in an order that all runs share.
    """
    now = max(known.trained_now, latest.trained_now)
    trained = max(now, sum(each.trained for each in told))
    candidates = max(each.trained + each.stored for each in told)
    return Facts(
        device=latest.device or known.device,
        trained=trained,
        stored=max(0, candidates - trained),
        trained_now=now,
        warnings=tuple(sorted({*known.warnings, *latest.warnings})),
        candidates=latest.candidates or known.candidates,
    )


def gates_of(ledger: Ledger, nodeids: Sequence[str]) -> list[GateRecord]:
    """Return what became of each gate; one that never had its turn was not evaluated."""
    stopped = "the run stopped before this gate"
    return [
        ledger.gates.get(nodeid) or GateRecord(nodeid, "not evaluated", stopped)
        for nodeid in nodeids
    ]
