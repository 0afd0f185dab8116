"""The page: what of the run it shows, and the template that shows it."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from pytest_multiplicity.findings import (
    CandidateReport,
    Conflicts,
    FamilyReport,
    Predictive,
    RunReport,
    SheetPair,
    Table,
    known,
)
from pytest_multiplicity.report import configurations, facts, individuals, reachable
from pytest_multiplicity.report.colours import GOLD, css, of_metric
from pytest_multiplicity.report.columns import Column, columns
from pytest_multiplicity.report.html import limits, pictures, plots
from pytest_multiplicity.report.text import assignment, inert, interval, isolated, number, option


def page(run: RunReport) -> str:
    """Return the whole page as text."""
    families = list(_families(run))
    script = _asset("page.js")
    text = (
        _environment()
        .get_template("page.html")
        .render(
            run=run,
            families=families,
            style=Markup(_asset("page.css")),
            script=Markup(script),
            script_hash=b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
            gold=css(GOLD),
            limits=limits,
            title=_title(run),
        )
    )
    return text.encode("utf-8", "replace").decode("utf-8")


def _families(run: RunReport) -> Iterator[Markup]:
    """Each family's part of the page, as long as they fit."""
    template = _environment().get_template("family.html")
    left = limits.FAMILY_BYTES
    for index, family in enumerate(run.families):
        text = template.render(view=_view(index, family), limits=limits)
        left -= len(text.encode("utf-8", "replace"))
        if left < 0:
            return
        yield Markup(text)


def _title(run: RunReport) -> str:
    if len(run.families) == 1:
        return facts.survival(run.families[0])
    return f"{len(run.families)} families"


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
    funnel: Sequence[facts.Step]
    unforeseen: Sequence[facts.Step]
    columns: Sequence[Column]
    sheets: Sequence[SheetView]
    candidates: Sequence[CandidateView]
    metrics: Sequence[SheetView]
    plots: Sequence[tuple[str, Markup]]
    agreement: Markup | None
    conflicts: Sequence[Conflicts]
    largest: SheetPair | None
    predictive: Sequence[Predictive]
    definitions: Mapping[str, Sequence[str]]
    places: Mapping[str, int]
    """Candidate's id -> its place in the family."""

    @property
    def screened(self) -> bool:
        """Whether any pair was not judged, since the candidate had been rejected."""
        return any(spec.screened for spec in self.family.specs)


def _view(index: int, family: FamilyReport) -> FamilyView:
    sheets = list(_sheets(family))
    agreement = family.agreement
    return FamilyView(
        index=index,
        family=family,
        funnel=facts.funnel(family)[: limits.SPECS],
        unforeseen=facts.unforeseen(family)[: limits.SPECS],
        columns=columns(family),
        sheets=sheets,
        candidates=list(_candidates(family)),
        metrics=[_colourful(family, i) for i in range(len(family.sheets[: limits.METRIC_COLUMNS]))],
        plots=list(_plots(index, family)),
        agreement=_agreement(index, family) if agreement and len(agreement.ids) > 1 else None,
        conflicts=family.conflicts[: limits.CONFLICT_SETS],
        largest=_largest(family),
        predictive=family.predictive[: limits.ROWS],
        definitions=facts.definitions(family),
        places={each.id: place for place, each in enumerate(family.candidates)},
    )


def _largest(family: FamilyReport) -> SheetPair | None:
    """Return the metric that spreads most after selection: what remains."""
    spread = [pair for pair in family.sheets if pair.percent and known(pair.after.delta_all)]
    return max(spread, key=lambda pair: pair.after.delta_all or 0.0, default=None)


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
    texts += [name for name, _, _ in view.verdicts]
    names = sum(len(escape(_name(text)).encode("utf-8", "replace")) for text in texts)
    points = sum(len(curve.points) + 250 for curve in view.curves)
    return 1000 + names + points + 60 * len(view.verdicts)


def _candidate(family: FamilyReport, candidate: CandidateReport) -> CandidateView:
    verdicts = list(_verdicts(family, candidate))
    spoken = {name for name, _, _ in verdicts}
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


def _agreement(index: int, family: FamilyReport) -> Markup:
    assert family.agreement is not None
    return Markup(plots.heat_map(family.agreement, salt=f"agreement-{index}"))


@cache
def _asset(name: str) -> str:
    return resources.files(__package__).joinpath("templates", name).read_text("utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        name=_name, prose=_prose, number=number, option=_option, assignment=_assignment,
        image=pictures.data_uri, scale=pictures.scale, slug=_slug,
    )  # fmt: skip
    environment.globals.update(
        facts=facts,
        configurations=configurations,
        individuals=individuals,
        reachable=reachable,
        interval=interval,
        known=known,
        share=_share,
    )
    return environment


def _name(text: str, limit: int = limits.NAME) -> str:
    return isolated(inert(str(text), limit))


def _prose(text: str) -> str:
    return isolated(inert(text, limits.PROSE))


def _option(value: Any) -> str:
    return _name(option(value), 24)


def _assignment(config: Mapping[str, Any]) -> str:
    return _name(assignment(config), 400)


def _slug(status: str) -> str:
    return status.replace(" ", "-")


def _share(value: float | None, low: float | None, high: float | None) -> int:
    """Return where the value lies between low and high, in percent: the geometry of a bar."""
    if not (known(value) and known(low) and known(high)) or high <= low:
        return 0
    return round(100 * min(1.0, max(0.0, (value - low) / (high - low))))
