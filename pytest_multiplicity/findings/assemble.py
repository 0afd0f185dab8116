"""From what a run found to the one model of it that every report renders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from typing import Any

from pytest_multiplicity.findings import (
    configurations,
    individuals,
    predictive,
    regions,
    sheets,
    verdicts,
)
from pytest_multiplicity.findings.beside import comparison_reports
from pytest_multiplicity.findings.copies import once, seed_has_no_effect
from pytest_multiplicity.findings.family import FamilyFindings
from pytest_multiplicity.findings.lasting import LookReport
from pytest_multiplicity.findings.model import FamilyReport, GateReport, RunReport
from pytest_multiplicity.findings.picking import pick
from pytest_multiplicity.findings.plain import plain, plain_config
from pytest_multiplicity.findings.records import GateRecord, Ledger
from pytest_multiplicity.findings.withheld import is_withheld, withheld

PACKAGES = ("pytest-multiplicity", "pytest", "torch", "torchvision", "numpy")


def assemble(
    ledger: Ledger,
    families: Sequence[FamilyFindings],
    gates: Iterable[tuple[GateRecord, str]],
    *,
    warnings: Iterable[str] = (),
    settings: Mapping[str, Any] | None = None,
) -> RunReport:
    """Return everything the run has to say, as plain builtins.

    Args:
        ledger: of all families, also of those that aren't reported.
        families: those to report, in definition order.
        gates: what became of each, with its family's title.
        warnings: of this process.
        settings: the options as text.
    """
    missing = next((each.seen.partial for each in families if each.seen.partial), None)
    told = [text for facts in ledger.facts.values() for text in facts.warnings]
    devices = [facts.device for facts in ledger.facts.values() if facts.device]
    reports = [withheld(_family(each), each) for each in families]
    lost = [text for each in families for text in each.lost]
    return RunReport(
        complete=missing is None,
        partial_reason=missing,
        device=devices[0] if devices else "none",
        versions={name: metadata.version(name) for name in PACKAGES},
        families=reports,
        gates=[_gate(record, title) for record, title in gates],
        warnings=list(dict.fromkeys([*lost, *told, *warnings])),  # once, whoever met it
        lost=lost,
        settings=settings or {},
    )


def _gate(record: GateRecord, family: str) -> GateReport:
    return GateReport(name=record.nodeid.rpartition("::")[2], family=family, **vars(record))


def _family(family: FamilyFindings) -> FamilyReport:
    design, facts = family.seen.design, family.facts
    on = predictive.predictions(family)
    people = individuals.reports(family, on)
    return FamilyReport(
        name=family.seen.title,
        design=design.kind,
        default=plain_config(design.default),
        axes={axis: tuple(map(plain, options)) for axis, options in design.axes.items()},
        seeds=design.seeds,
        candidates=verdicts.candidates(family),
        specs=verdicts.specs(family),
        sheets=sheets.pairs(family),
        predictive=predictive.numbers(family, on),
        configurations=configurations.reports(family),
        reachable=family.seen.reached,
        extremes=family.seen.extremes,
        allocations=family.seen.allocations,
        cascades=family.seen.cascades,
        agreement=predictive.agreement(family, on),
        conflicts=predictive.conflicts(family, on),
        pick=pick(family),
        individuals=people,
        comparisons=comparison_reports(
            [each.aside for each in family.every_metric], len(design.ids)
        ),
        regions=regions.reports(family, on),
        trained=facts.trained,
        ways=dict(family.training.ways),
        stored=facts.stored,
        from_store=facts.stored,
        looks={each.data: each.looks for each in family.seen.looks},
        optimism={each.data: each.optimism for each in family.seen.looks},
        notes=[
            *configurations.note(family),
            *_looks(family),
            *individuals.note(family, people),
            *_screened(family),
            *_copies(family),
            *_reruns(family),
        ],
    )


def _looks(family: FamilyFindings) -> list[str]:
    """Return how often data that report were looked at, and what that leaves of them."""
    return [_look(each) for each in family.seen.looks if each.reporting or each.looks > 1]


def _look(look: LookReport) -> str:
    times = "the first look" if look.looks == 1 else f"look {look.looks}"
    bound = "; what is measured there may be too good by any amount"
    if look.optimism is not None:
        bound = (
            f"; by chance an accuracy may be {100 * look.optimism:.1f} points too good there; a "
            f"difference {200 * look.optimism:.1f}"
        )
    if look.looks == 1:
        return f"{look.data}: {times}{bound}"
    known = ", for who knows of earlier looks what gates answered; who read more has no bound"
    return f"{look.data}: {times}{bound}{known if look.optimism is not None else ''}"


def _reruns(family: FamilyFindings) -> list[str]:
    """Return how many runs of a tracker are no candidates."""
    count = family.seen.design.reruns
    noun = "1 run of the tracker is" if count == 1 else f"{count} runs of the tracker are"
    return [f"{noun} left out: others have the same parameters and seed"] if count else []


def _copies(family: FamilyFindings) -> list[str]:
    """Return on which data candidates answer exactly alike."""
    notes = []
    for data, first in family.copies.items():
        measured = once(first, family.alive)
        if measured.sum() < family.alive.sum() and not is_withheld(family, data):
            idle = seed_has_no_effect(first, family.seen.design)
            remedy = "the seed has no effect: draw from config.seed, or say seeds=1; "
            notes.append(
                (remedy if idle else "copies: ")
                + f"{family.alive.sum()} candidates, {measured.sum()} distinct on {data}; "
                "equal answers count once in statistics"
            )
    return notes


def _screened(family: FamilyFindings) -> list[str]:
    """Return how much was screened, and what that doesn't change."""
    records = [record for spec in family.specs for record in family.records(spec).values()]
    left_out = sum(record.verdict == "screened" for record in records)
    if not left_out:
        return []
    return [
        f"screened: {left_out} of {family.seen.pairs} pairs were not judged, since another "
        "specification had rejected the candidate; comparisons within the family were made "
        "with all of it"
    ]
