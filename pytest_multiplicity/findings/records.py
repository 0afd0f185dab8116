"""What happened in a run: verdicts of candidate-spec pairs, metrics, gates.

Everything here crosses processes under pytest-xdist, which takes exact builtins only: a numpy
float or a str enum kills the run. So each record is made of builtins, once, where it is born.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Verdict = Literal["kept", "rejected", "failed", "screened"]


@dataclass(frozen=True)
class PairRecord:
    """The verdict of one spec on one candidate.

    ``reason`` says why it was rejected, or would have been by a spec that rejects nobody;
    ``training`` marks a candidate whose training diverged. A pair is ``screened`` when it was not
    judged, since another spec had rejected the candidate.
    """

    family: str
    spec: str
    candidate: int
    verdict: Verdict
    reason: str = ""
    objected: bool = False
    undecided: bool = False
    training: bool = False
    metrics: tuple[str, ...] = ()
    news: Mapping[str, Any] = field(default_factory=dict)

    def wire(self) -> dict[str, Any]:
        """As builtins."""
        reason = self.reason.encode("utf-8", "replace").decode()
        return {**vars(self), "metrics": list(self.metrics), "reason": reason}

    @classmethod
    def from_wire(cls, record: Mapping[str, Any]) -> PairRecord:
        """The record that ``wire`` wrote."""
        return cls(**{**record, "metrics": tuple(record["metrics"])})


@dataclass(frozen=True)
class GateRecord:
    """What became of one gate."""

    nodeid: str
    outcome: Literal["passed", "failed", "not evaluated"]
    message: str = ""
    path: str | None = None
    line: int | None = None


@dataclass
class Ledger:
    """Every verdict, metric and gate of the run, as the reports tell it."""

    pairs: dict[tuple[str, str], dict[int, PairRecord]] = field(default_factory=dict)
    metrics: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    work: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    gates: dict[str, GateRecord] = field(default_factory=dict)
    _rejected: dict[str, dict[int, dict[str, None]]] = field(default_factory=dict)

    def enter(self, record: PairRecord, process: str = "") -> None:
        """Add a verdict; a later one of the same pair (a rerun) replaces it.

        ``process`` is the worker that judged: each counts its own work.
        """
        pairs = self.pairs.setdefault((record.family, record.spec), {})
        if record.verdict == "screened" and record.candidate in pairs:
            return  # another process has judged the same pair
        pairs[record.candidate] = replace(record, news={}) if record.news else record
        self._note_rejection(record)
        if not record.news:
            return
        known = self.metrics.setdefault(record.family, {})
        for name, metric in record.news.get("metrics", {}).items():
            known[name] = _merged(known.get(name), metric)
        self._learn(record.family, record.news.get("facts", {}), process)

    def _note_rejection(self, record: PairRecord) -> None:
        family = self._rejected.setdefault(record.family, {})
        specs = family.setdefault(record.candidate, {})
        specs.pop(record.spec, None)
        if record.verdict == "rejected":
            specs[record.spec] = None
        if not specs:
            del family[record.candidate]

    def _learn(self, family: str, facts: Mapping[str, Any], process: str) -> None:
        known = self.facts.setdefault(family, {})
        warned = {*known.get("warnings", ()), *facts.get("warnings", ())}
        trained = max(known.get("trained_now", 0), facts.get("trained_now", 0))
        # warnings in an order that all runs share
        known.update(facts, warnings=sorted(warned), trained_now=trained)
        if "work" in facts:
            works = self.work.setdefault(family, {})
            works[process] = facts["work"]
            known["work"] = _total(works.values(), trained)

    def judged(self, family: str, spec: str) -> dict[int, PairRecord]:
        """The pairs of one spec that have a verdict, or need none: somebody rejected them."""
        records, out = self.pairs.get((family, spec), {}), self.rejected(family)
        return {
            i: record
            for i, record in records.items()
            if record.verdict != "failed" and (record.verdict != "screened" or i in out)
        }

    def rejected(self, family: str) -> Mapping[int, Collection[str]]:
        """Rejected candidates -> the specs that rejected them."""
        return self._rejected.get(family, {})


def _total(works: Iterable[Mapping[str, int]], trained: int) -> dict[str, int]:
    """Counts of a run from those of its processes: what one trained, the others found stored.

    ``trained`` were so in this run, also by processes that died before they could tell.
    """
    works = list(works)
    total = {name: sum(work[name] for work in works) for name in works[0]}
    candidates = max(work["trained"] + work["stored"] for work in works)
    trained = max(trained, total["trained"])
    return {**total, "trained": trained, "stored": max(0, candidates - trained)}


def _merged(known: dict[str, Any] | None, metric: dict[str, Any]) -> dict[str, Any]:
    """Two processes searched different examples: the worst of both is the worst found.

    Of what they measured for different candidates, the more, with what it was computed from.
    """
    if known is None:
        return metric
    if not metric["searched"]:
        return max(metric, known, key=lambda each: len(each["scores"]) - each["scores"].count(None))
    pick = min if metric["higher_is_better"] else max
    scores = [
        b if a is None else a if b is None else pick(a, b)
        for a, b in zip(known["scores"], metric["scores"], strict=True)
    ]
    return {**metric, "scores": scores}
