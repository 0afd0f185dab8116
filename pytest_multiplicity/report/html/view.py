"""What of a family the page shows: one frozen view, which its templates walk through."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from pytest_multiplicity.findings import (
    CandidateReport,
    Conflicts,
    FamilyReport,
    GateReport,
    Predictive,
    SheetPair,
    Table,
    known,
)
from pytest_multiplicity.report import answer, facts
from pytest_multiplicity.report.colours import css, of_metric
from pytest_multiplicity.report.columns import Column, columns
from pytest_multiplicity.report.html import agreement, glyphs, limits, pictures, plots, tradeoffs
from pytest_multiplicity.report.text import assignment, inert, isolated

ACT = ("failed", "not evaluated", "passed")
"""Outcomes of gates, those first on which somebody has to act."""


@dataclass(frozen=True)
class SheetView:
    """A sheet with its colour and scales."""

    pair: SheetPair
    colour: str
    scores: facts.Scale
    deltas: facts.Scale


@dataclass(frozen=True)
class CandidateView:
    """A candidate's page: the verdicts that say something, and the training curves."""

    candidate: CandidateReport
    verdicts: Sequence[tuple[str, str, str]]
    """Spec, verdict, reason."""
    kept: int
    """How many enforced specs kept it: their names would say nothing more."""
    curves: Sequence[pictures.Curve]


@dataclass(frozen=True)
class FamilyView:
    """What of a family is shown."""

    index: int
    family: FamilyReport
    gates: Sequence[GateReport]
    """Of this family, those first on which somebody has to act."""
    funnel: Sequence[facts.Step]
    unforeseen: Sequence[facts.Step]
    columns: Sequence[Column]
    widest: Sequence[answer.Spread]
    sheets: Sequence[SheetView]
    candidates: Sequence[CandidateView]
    metrics: Sequence[SheetView]
    plots: Sequence[tuple[str, Markup]]
    agreement: agreement.AgreementMap | None
    conflicts: Sequence[Conflicts]
    glyphs: Sequence[glyphs.Glyphs]
    tradeoffs: tradeoffs.TradeOffs | None
    predictive: Sequence[Predictive]
    definitions: Mapping[str, Sequence[str]]
    places: Mapping[str, int]
    """Candidate's id -> its place in the family."""
    spec_places: Mapping[str, int]
    """Specification's name -> its place in the family; behind all of them the training."""

    @property
    def screened(self) -> bool:
        """Whether any pair was not judged, since the candidate had been rejected."""
        return any(spec.screened for spec in self.family.specs)

    @property
    def marks(self) -> Sequence[str]:
        """The forms of the marks in pictures of trade-offs."""
        return tradeoffs.MARKS

    @property
    def people(self) -> bool:
        """Whether there is anything about single samples, or groups of them."""
        family = self.family
        told = (self.conflicts, family.individuals, family.regions, family.reachable)
        return any(map(bool, (*told, family.extremes, family.allocations, family.cascades)))

    @property
    def strictest(self) -> facts.Step | None:
        """The specification that rejects most, if any rejects."""
        most = max(self.funnel, key=lambda step: step.rejected, default=None)
        return most if most is not None and most.rejected else None


def view_of(index: int, family: FamilyReport, gates: Sequence[GateReport]) -> FamilyView:
    """Return what of a family is shown."""
    return FamilyView(
        index=index,
        family=family,
        gates=sorted(gates, key=lambda gate: ACT.index(gate.outcome)),
        funnel=facts.funnel(family)[: limits.SPECS],
        unforeseen=facts.unforeseen(family)[: limits.SPECS],
        columns=columns(family),
        widest=answer.widest(family),
        sheets=list(_sheets(family)),
        candidates=list(_candidates(family)),
        metrics=[_colourful(family, i) for i in range(len(family.sheets[: limits.METRIC_COLUMNS]))],
        plots=list(_plots(index, family)),
        agreement=agreement.drawn(family.agreement) if family.agreement else None,
        conflicts=family.conflicts[: limits.CONFLICT_SETS],
        glyphs=list(_glyphs(family)),
        tradeoffs=tradeoffs.drawn(family, answer.selecting(family)),
        predictive=family.predictive[: limits.ROWS],
        definitions=facts.definitions(family),
        places={each.id: place for place, each in enumerate(family.candidates)},
        spec_places={
            facts.TRAINING: len(family.specs),
            **{each.name: place for place, each in enumerate(family.specs)},
        },
    )


def _glyphs(family: FamilyReport) -> Iterator[glyphs.Glyphs]:
    for each in family.conflicts[: limits.GLYPH_SETS]:
        found = glyphs.drawn(family, each.data, each.rows)
        if found is not None:
            yield found


def _sheets(family: FamilyReport) -> Iterator[SheetView]:
    left = limits.CELLS
    for position, pair in enumerate(family.sheets[: limits.SHEETS]):
        left -= 2 * sum(map(_cells, pair.before.tables.values()))
        if left < 0:
            return
        yield _colourful(family, position)


def _cells(table: Table) -> int:
    rows = min(len(table.seeds), facts.SEEDS_SHOWN) + 1
    return rows * (min(len(table.options), facts.OPTIONS_SHOWN) + 1)


def _colourful(family: FamilyReport, position: int) -> SheetView:
    pair = family.sheets[position]
    return SheetView(pair, css(of_metric(position)), *facts.scales(pair.before))


def _candidates(family: FamilyReport) -> Iterator[CandidateView]:
    left = limits.CANDIDATE_BYTES
    for candidate in family.candidates[: limits.CANDIDATES]:
        view = _candidate(family, candidate)
        left -= _bytes(view)
        if left < 0:
            return
        yield view


def _bytes(view: CandidateView) -> int:
    """About how much of the page a candidate takes: its names as they are written, and the tags."""
    texts = [view.candidate.id, view.candidate.id, assignment(view.candidate.config)]
    texts += [text for _, *words in view.verdicts for text in words]
    texts += [spec for spec, _, _ in view.verdicts]
    names = sum(len(escape(name(text)).encode("utf-8", "replace")) for text in texts)
    points = sum(len(curve.points) + 250 for curve in view.curves)
    return 1000 + names + points + 60 * len(view.verdicts)


def _candidate(family: FamilyReport, candidate: CandidateReport) -> CandidateView:
    verdicts = list(_verdicts(family, candidate))
    spoken = {spec for spec, _, _ in verdicts}
    judged = candidate.status in ("survivor", "rejected")
    enforced = [spec for spec in family.specs if spec.kind == "enforced"]
    silent = {*spoken, *candidate.screened}
    kept = sum(spec.name not in silent for spec in enforced) if judged else 0
    return CandidateView(candidate, verdicts, kept, pictures.curves(candidate.history))


def _verdicts(family: FamilyReport, candidate: CandidateReport) -> Iterator[tuple[str, str, str]]:
    if candidate.diverged:
        yield facts.TRAINING, "rejected", candidate.diverged
    for spec in family.specs[: limits.SPECS]:
        reason = candidate.reasons.get(spec.name, "")
        if spec.name in candidate.rejected_by:
            yield spec.name, "rejected", reason
        elif spec.name in candidate.undecided:
            yield spec.name, "undecided", reason
        elif reason:
            verdict = "would reject" if spec.kind == "unforeseen" else "no verdict"
            yield spec.name, verdict, reason


def _plots(index: int, family: FamilyReport) -> Iterator[tuple[str, Markup]]:
    """Yield every metric by what it is for: before and after."""
    left = limits.STRIPS
    kinds = ((kind, list(_strips(family, kind))) for kind in ("enforced", "unforeseen"))
    for position, (kind, strips) in enumerate((kind, strips) for kind, strips in kinds if strips):
        rows = strips[:left]
        left -= len(rows)
        if rows:
            svg = plots.strips(rows, salt=f"strips-{index}-{position}")
            yield f"{kind} metrics", Markup(svg)


def _strips(family: FamilyReport, kind: str) -> Iterator[plots.Strip]:
    for position, pair in enumerate(family.sheets):
        if pair.kind == kind and pair.percent:
            before = list(_scores(family.candidates, pair.metric))
            after = list(_scores(family.survivors, pair.metric))
            yield plots.Strip(pair.metric, before, after, of_metric(position))


def _scores(candidates: Iterable[CandidateReport], metric: str) -> Iterator[float]:
    for each in candidates:
        score = each.scores.get(metric)
        if known(score):
            yield score


def name(text: str, limit: int = limits.NAME) -> str:
    """Return a name as the page writes it, before it is escaped."""
    return isolated(inert(str(text), limit))
